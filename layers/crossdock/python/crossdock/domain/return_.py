"""What does a customer send back, why, and what of it came?"""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from crossdock.domain.identifiers import ConnectionName, ExternalId, LineId, OrderId, ReturnId, Sku
from crossdock.domain.model import ExactDecimal, Instant, Model, Name, Text
from crossdock.domain.money import Money
from crossdock.domain.quantity import Quantity


class ReturnLine(Model):
    """``line_id`` is the order line's; without it the line is found by SKU. ``quantity`` in any unit of the SKU."""

    sku: Sku
    quantity: Quantity
    line_id: LineId | None = None
    reason: Text = ""


class ExchangeLine(Model):
    """What the customer wants instead; ``unit_price`` net per unit as agreed."""

    sku: Sku
    quantity: Quantity
    unit_price: Money


class Return(Model):
    """A return request (RMA). ``return_id`` is ``RMA-{connection}-{the sender's id}``."""

    return_id: ReturnId
    connection: ConnectionName
    external_id: ExternalId
    number: Name
    """The number people use."""
    order_id: OrderId
    requested_at: Instant
    lines: tuple[ReturnLine, ...] = Field(min_length=1, max_length=200)
    exchange: tuple[ExchangeLine, ...] = ()
    note: Text = ""
    needs_person: Text = ""
    """Why a person must look at it, where the sender says something that is not carried over."""


class Disposition(StrEnum):
    """What becomes of goods that came back, decided by whoever looks at them."""

    RESTOCK = "restock"
    REFURBISH = "refurbish"
    """Not to be sold as it is: it goes to repair or quarantine."""
    SCRAP = "scrap"


class ReceivedLine(Model):
    """So many base units of the SKU came and were graded."""

    sku: Sku
    quantity: ExactDecimal = Field(gt=0)
    disposition: Disposition
    note: Text = ""


class ReturnReceipt(Model):
    """What a warehouse says has come back. ``receipt_id`` is the warehouse's own: the same id is the same receipt, however often it is told."""

    receipt_id: ExternalId
    return_reference: ExternalId
    """Our return id, or the warehouse's own id of the return it expects."""
    external_id: ExternalId | None = None
    """The warehouse's own id of the return, where ``return_reference`` is ours."""
    lines: tuple[ReceivedLine, ...] = Field(max_length=200)
    received_at: Instant
    complete: bool = False
    """True: nothing more is expected, whatever is missing."""
