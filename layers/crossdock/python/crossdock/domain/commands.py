"""What may one system be told to do? Commands are imperatives to a single connection."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter

from crossdock.domain.identifiers import ConnectionName, ExternalId, LocationCode, OrderId, PartId, ReturnId, ShipmentId, Sku
from crossdock.domain.model import ExactDecimal, Instant, Model, Text
from crossdock.domain.money import Money
from crossdock.domain.order import Order
from crossdock.domain.shipment import Fulfillment, Shipment

BusinessId = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class AllocatedLine(Model):
    """One line of the ERP's order: a share of an order line at one location (a split line becomes two).

    ``location_code`` is the ERP's code for the location, ``erp_sku``/``erp_unit`` its names, all cross-referenced.
    """

    line_id: str
    sku: Sku
    erp_sku: str
    erp_unit: str
    quantity: ExactDecimal
    unit_price: Money
    discount: Money
    location: LocationCode
    location_code: str
    description: Text = ""


class CreateSalesOrder(Model):
    """To the ERP: the order with where each share of a line will ship from. Business id: the order id."""

    type: Literal["CreateSalesOrder"] = "CreateSalesOrder"
    order: Order
    account: str
    lines: tuple[AllocatedLine, ...] = Field(min_length=1)

    @property
    def business_id(self) -> str:
        return self.order.order_id


class CancelSalesOrder(Model):
    type: Literal["CancelSalesOrder"] = "CancelSalesOrder"
    order_id: OrderId
    external_id: ExternalId
    """The ERP's id of the sales order."""

    @property
    def business_id(self) -> str:
        return self.order_id


class MovedLine(Model):
    """``erp_line_id`` is the ERP's id of the line, as the receipt of the sales order named it."""

    line_id: str
    erp_line_id: str
    quantity: ExactDecimal


class MoveSalesOrderLines(Model):
    """To the ERP: these lines ship from another location. Business id: the part that takes the place of the one that was given up."""

    type: Literal["MoveSalesOrderLines"] = "MoveSalesOrderLines"
    order_id: OrderId
    part_id: PartId
    sales_order_id: ExternalId
    location_code: str
    """The ERP's code of the new location."""
    lines: tuple[MovedLine, ...] = Field(min_length=1)

    @property
    def business_id(self) -> str:
        return self.part_id


class ReleaseFulfillment(Model):
    """To whoever works a location: ship this part. Business id: the part id, which the other side stores as its reference."""

    type: Literal["ReleaseFulfillment"] = "ReleaseFulfillment"
    order: Order
    part: Fulfillment
    location_code: str
    """The receiver's own code or id of the location."""
    skus: dict[str, str] = Field(default_factory=dict)
    """Our SKU to the receiver's; every SKU of the part is in it."""
    sales_order_id: ExternalId | None = None
    """The ERP's id of the sales order, for a warehouse that is worked in the ERP."""

    @property
    def business_id(self) -> str:
        return self.part.part_id


class CancelFulfillment(Model):
    type: Literal["CancelFulfillment"] = "CancelFulfillment"
    order_id: OrderId
    part_id: PartId
    external_id: ExternalId
    """The warehouse's id of the part."""

    @property
    def business_id(self) -> str:
        return self.part_id


class ConfirmShipment(Model):
    """To the storefront: this left, with this tracking. Business id: the shipment id."""

    type: Literal["ConfirmShipment"] = "ConfirmShipment"
    order_id: OrderId
    order_external_id: ExternalId
    shipment: Shipment
    lines: tuple[tuple[ExternalId, ExactDecimal], ...]
    """(the storefront's line id, quantity)."""
    notify_customer: bool = True

    @property
    def business_id(self) -> str:
        return self.shipment.shipment_id


class InvoicedLine(Model):
    """A line of the ERP order to invoice now. ``*_before`` are what this side knows as done before this command."""

    line_id: str
    location: LocationCode
    quantity: ExactDecimal
    invoiced_before: ExactDecimal
    erp_line_id: str = ""


class PostInvoice(Model):
    """To the ERP: invoice what this shipment sent. ``already_shipped``: the ERP's own people posted the shipment there."""

    type: Literal["PostInvoice"] = "PostInvoice"
    order_id: OrderId
    sales_order_id: ExternalId
    sales_order_number: str
    shipment_id: ShipmentId
    shipment_external_id: str = ""
    lines: tuple[InvoicedLine, ...] = Field(min_length=1)
    already_shipped: bool
    dispatched_at: Instant

    @property
    def business_id(self) -> str:
        return self.shipment_id


class CancelOrder(Model):
    """To the storefront: this order is off (hold refused or expired). Business id: the order id."""

    type: Literal["CancelOrder"] = "CancelOrder"
    order_id: OrderId
    external_id: ExternalId
    reason: Text

    @property
    def business_id(self) -> str:
        return self.order_id


class PublishStock(Model):
    """To a storefront: what can be sold of a SKU from a location (ATP). Absolute: sent again it says the same, or something newer.
    Business id: SKU, location and the level's sequence."""

    type: Literal["PublishStock"] = "PublishStock"
    sku: Sku
    storefront_sku: str
    location_code: str
    available: ExactDecimal
    sequence: int

    @property
    def business_id(self) -> str:
        return f"{self.sku}@{self.location_code}@{self.sequence}"


class SetPrice(Model):
    """To a storefront: what one of a SKU costs there. Absolute: sent again it says the same, or something newer. Business id: SKU and the record's version."""

    type: Literal["SetPrice"] = "SetPrice"
    sku: Sku
    storefront_sku: str
    price: Money
    version: int

    @property
    def business_id(self) -> str:
        return f"{self.sku}@{self.version}"


class ReturnedItem(Model):
    """``external_line_id`` is the storefront's id of the order line; ``quantity`` in the line's ordered unit."""

    external_line_id: ExternalId
    quantity: ExactDecimal
    reason: Text = ""


class ApproveReturn(Model):
    """To the storefront: the customer may send this back. ``external_id`` None: the return was asked for elsewhere, it is to be made there.
    Business id: the return id."""

    type: Literal["ApproveReturn"] = "ApproveReturn"
    return_id: ReturnId
    external_id: ExternalId | None = None
    order_external_id: ExternalId
    lines: tuple[ReturnedItem, ...] = Field(min_length=1)

    @property
    def business_id(self) -> str:
        return self.return_id


class DeclineReturn(Model):
    """To the storefront: a return it asked for is refused. Business id: the return id."""

    type: Literal["DeclineReturn"] = "DeclineReturn"
    return_id: ReturnId
    external_id: ExternalId
    reason: Text = ""

    @property
    def business_id(self) -> str:
        return self.return_id


class CloseReturn(Model):
    """To the storefront: the return is over; ``called_off``: nothing came of one that was approved. Business id: the return id."""

    type: Literal["CloseReturn"] = "CloseReturn"
    return_id: ReturnId
    external_id: ExternalId
    called_off: bool = False

    @property
    def business_id(self) -> str:
        return self.return_id


class ExpectedItem(Model):
    """``sku`` is the warehouse's own; ``quantity`` in base units."""

    sku: str
    quantity: ExactDecimal


class ExpectReturn(Model):
    """To whoever works a location: this will come back under this number. Business id: the return id, which the other side stores as its reference."""

    type: Literal["ExpectReturn"] = "ExpectReturn"
    return_id: ReturnId
    location_code: str
    shipment_external_id: str = ""
    """The warehouse's id of the shipment that the goods left with, where it shipped them itself."""
    lines: tuple[ExpectedItem, ...] = Field(min_length=1)

    @property
    def business_id(self) -> str:
        return self.return_id


class CallOffReturn(Model):
    """To the warehouse: it will not come. Business id: the return id."""

    type: Literal["CallOffReturn"] = "CallOffReturn"
    return_id: ReturnId
    external_id: ExternalId

    @property
    def business_id(self) -> str:
        return self.return_id


class CreditedLine(Model):
    """What is given back for one line, in the SKU's base unit. ``net`` is exact: ``unit_price * quantity - discount``."""

    line_id: str
    erp_sku: str
    erp_unit: str
    quantity: ExactDecimal
    unit_price: Money
    discount: Money
    tax: Money
    restocked: bool
    """False: the goods do not go back on the shelf, the credit moves no stock."""
    location_code: str
    description: Text = ""

    @property
    def net(self) -> Money:
        return self.unit_price * self.quantity - self.discount


class PostCreditMemo(Model):
    """To the ERP: credit what came back. Business id: the return id, which the ERP stores as its external document number."""

    type: Literal["PostCreditMemo"] = "PostCreditMemo"
    return_id: ReturnId
    order_id: OrderId
    account: str
    currency: str
    invoice_number: str = ""
    """Of the invoice that billed the goods, where one number billed them all."""
    lines: tuple[CreditedLine, ...] = Field(min_length=1)

    @property
    def business_id(self) -> str:
        return self.return_id


class RefundedItem(Model):
    """``quantity`` in the line's ordered unit, whole; ``location_code``: the storefront's own stock there goes up by it (it owns the count)."""

    external_line_id: ExternalId
    quantity: ExactDecimal
    location_code: str | None = None


class RefundReturn(Model):
    """To the storefront: give the money back, at most what was paid there. Business id: the return id."""

    type: Literal["RefundReturn"] = "RefundReturn"
    return_id: ReturnId
    external_id: ExternalId | None = None
    order_external_id: ExternalId
    lines: tuple[RefundedItem, ...] = ()
    amount: Money

    @property
    def business_id(self) -> str:
        return self.return_id


class PollConnection(Model):
    """Ask a system that sends no webhook what is new since the last time. Not an effect: it changes nothing there."""

    type: Literal["PollConnection"] = "PollConnection"
    resource: Annotated[str, StringConstraints(min_length=1, max_length=60)]
    """A key of the manifest's ``polls``."""

    @property
    def business_id(self) -> str:
        return self.resource


Intent = Annotated[
    CreateSalesOrder
    | CancelSalesOrder
    | MoveSalesOrderLines
    | ReleaseFulfillment
    | CancelFulfillment
    | ConfirmShipment
    | PostInvoice
    | CancelOrder
    | PublishStock
    | SetPrice
    | ApproveReturn
    | DeclineReturn
    | CloseReturn
    | ExpectReturn
    | CallOffReturn
    | PostCreditMemo
    | RefundReturn
    | PollConnection,
    Field(discriminator="type"),
]
INTENT: TypeAdapter[Intent] = TypeAdapter(Intent, config=ConfigDict(defer_build=True))


class Command(Model):
    """An intent addressed to one connection, with what caused it and who waits for the answer."""

    tenant: str
    connection: ConnectionName
    intent: Intent
    correlation_id: str
    causation_id: str
    issued_at: Instant

    @property
    def type(self) -> str:
        return self.intent.type

    @property
    def effect_key(self) -> str:
        """(connection, command, business id): one effect ever under this key within the tenant."""
        return f"{self.connection}#{self.intent.type}#{self.intent.business_id}"


class Receipt(Model):
    """What a system answered to a command: the proof of the effect, in canonical words."""

    external_id: ExternalId
    """The other system's id of what was made or changed."""
    number: str = ""
    """The number its people use."""
    acknowledged: bool = False
    """For a release: the warehouse has already accepted it with this answer."""
    total: Money | None = None
    """For a document with amounts: what the other system computed, tax included."""
    tax: Money | None = None
    line_ids: dict[str, str] = Field(default_factory=dict)
    """Key ``line_id@location`` to the other system's line id."""
    found: bool = False
    """True when it was found by lookup after an unknown outcome rather than made now."""
