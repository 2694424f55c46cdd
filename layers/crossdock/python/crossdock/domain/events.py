"""Which facts travel on the tenant's bus, and in which envelope?"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter

from crossdock.domain.customer import Account
from crossdock.domain.identifiers import ConnectionName, ExternalId, OrderId, ReturnId
from crossdock.domain.model import Instant, Model, Text
from crossdock.domain.order import Order
from crossdock.domain.price import Price
from crossdock.domain.product import Product
from crossdock.domain.return_ import Return, ReturnReceipt
from crossdock.domain.shipment import Shipment
from crossdock.domain.stock import StockAdjustment, StockReading


class OrderPlaced(Model):
    type: Literal["OrderPlaced"] = "OrderPlaced"
    order: Order

    @property
    def subject(self) -> str:
        return self.order.order_id


class OrderUpdated(Model):
    """The storefront's newer version of an order; only what may change after placing is taken over."""

    type: Literal["OrderUpdated"] = "OrderUpdated"
    order: Order

    @property
    def subject(self) -> str:
        return self.order.order_id


class OrderCancelled(Model):
    type: Literal["OrderCancelled"] = "OrderCancelled"
    order_id: OrderId
    reason: Text = ""
    cancelled_at: Instant

    @property
    def subject(self) -> str:
        return self.order_id


class FulfillmentAcknowledged(Model):
    """A warehouse has accepted a part. Found by our part id, or by the sender's own id of it."""

    type: Literal["FulfillmentAcknowledged"] = "FulfillmentAcknowledged"
    part_reference: Annotated[str, StringConstraints(min_length=1, max_length=160)]
    external_id: ExternalId | None = None
    order_id: OrderId | None = None
    acknowledged_at: Instant

    @property
    def subject(self) -> str:
        return self.order_id or self.part_reference


class FulfillmentRefused(Model):
    """A warehouse cannot or will not ship a part (out of stock, bad address, on hold ...)."""

    type: Literal["FulfillmentRefused"] = "FulfillmentRefused"
    part_reference: Annotated[str, StringConstraints(min_length=1, max_length=160)]
    external_id: ExternalId | None = None
    order_id: OrderId | None = None
    reason: Text
    final: bool = False
    """True when the warehouse has given the part up (cancelled), False when it waits for somebody."""
    refused_at: Instant

    @property
    def subject(self) -> str:
        return self.order_id or self.part_reference


class ShipmentDispatched(Model):
    type: Literal["ShipmentDispatched"] = "ShipmentDispatched"
    shipment: Shipment

    @property
    def subject(self) -> str:
        return self.shipment.order_id or self.shipment.part_reference or self.shipment.shipment_id


class ShipmentDelivered(Model):
    type: Literal["ShipmentDelivered"] = "ShipmentDelivered"
    shipment_id: Annotated[str, StringConstraints(min_length=1, max_length=160)]
    part_reference: Text = ""
    order_id: OrderId | None = None
    delivered_at: Instant

    @property
    def subject(self) -> str:
        return self.order_id or self.part_reference or self.shipment_id


class StockCounted(Model):
    """The owner of a location's stock states what it holds there."""

    type: Literal["StockCounted"] = "StockCounted"
    reading: StockReading

    @property
    def occurred_at(self) -> datetime:
        return self.reading.as_of

    @property
    def subject(self) -> str:
        return f"{self.reading.sku}@{self.reading.location}"


class StockAdjusted(Model):
    """The owner of a location's stock reports one movement there."""

    type: Literal["StockAdjusted"] = "StockAdjusted"
    adjustment: StockAdjustment

    @property
    def occurred_at(self) -> datetime:
        return self.adjustment.occurred_at

    @property
    def subject(self) -> str:
        return f"{self.adjustment.sku}@{self.adjustment.location}"


class ReturnAnnounced(Model):
    """A storefront says that a return was requested, and no more: what is to come back is asked for."""

    type: Literal["ReturnAnnounced"] = "ReturnAnnounced"
    return_id: ReturnId
    external_id: ExternalId
    announced_at: Instant

    @property
    def subject(self) -> str:
        return self.return_id


class ReturnRequested(Model):
    type: Literal["ReturnRequested"] = "ReturnRequested"
    return_: Return = Field(alias="return")

    @property
    def subject(self) -> str:
        return self.return_.return_id


class ReturnWithdrawn(Model):
    """The customer keeps the goods (or the storefront's people have called the return off)."""

    type: Literal["ReturnWithdrawn"] = "ReturnWithdrawn"
    return_id: ReturnId
    reason: Text = ""
    withdrawn_at: Instant

    @property
    def subject(self) -> str:
        return self.return_id


class ReturnReceived(Model):
    """Goods of a return have come and were graded."""

    type: Literal["ReturnReceived"] = "ReturnReceived"
    receipt: ReturnReceipt

    @property
    def subject(self) -> str:
        return self.receipt.return_reference


class PriceChanged(Model):
    """The owner of prices says what one of a SKU's prices is since a moment; ``ended``: from that moment on there is no such price any more."""

    type: Literal["PriceChanged"] = "PriceChanged"
    price: Price
    as_of: Instant
    requested_by: Text = ""
    """Who changed it, as far as the sender says."""
    ended: bool = False

    @property
    def subject(self) -> str:
        return self.price.sku


class ProductChanged(Model):
    """The owner of product data describes an item."""

    type: Literal["ProductChanged"] = "ProductChanged"
    product: Product
    as_of: Instant

    @property
    def subject(self) -> str:
        return self.product.sku


class AccountChanged(Model):
    """The owner of customer data describes an account and its terms."""

    type: Literal["AccountChanged"] = "AccountChanged"
    account: Account
    as_of: Instant
    requested_by: Text = ""

    @property
    def subject(self) -> str:
        return self.account.account


Fact = Annotated[
    OrderPlaced
    | OrderUpdated
    | OrderCancelled
    | FulfillmentAcknowledged
    | FulfillmentRefused
    | ShipmentDispatched
    | ShipmentDelivered
    | StockCounted
    | StockAdjusted
    | ReturnAnnounced
    | ReturnRequested
    | ReturnWithdrawn
    | ReturnReceived
    | PriceChanged
    | ProductChanged
    | AccountChanged,
    Field(discriminator="type"),
]
FACT: TypeAdapter[Fact] = TypeAdapter(Fact, config=ConfigDict(defer_build=True))
FACT_VERSION = 1


class Event(Model):
    """The one envelope: a fact with where it came from, when, and what caused it."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=260)]
    version: int = FACT_VERSION
    tenant: str
    source: ConnectionName
    """The connection that told us."""
    subject: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    occurred_at: Instant
    received_at: Instant
    correlation_id: str
    """Of the order or, before one is known, of the delivery."""
    causation_id: str
    """The delivery (or command) that brought this about."""
    fact: Fact

    @property
    def type(self) -> str:
        return self.fact.type


def event_id(causation_id: str, position: int) -> str:
    """Deterministic: translating one delivery twice gives the same event ids, so consumers can dedupe."""
    return f"{causation_id}#{position}"


def fingerprint(value: dict[str, Any] | str) -> str:
    """SHA-256 of the value in canonical JSON (sorted keys, no spaces): equal content, equal fingerprint."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
