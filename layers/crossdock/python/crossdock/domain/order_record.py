"""Where does an order stand? The one record that says what was decided and done, and which step may come next."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from pydantic import Field

from crossdock.domain.errors import Rejected
from crossdock.domain.identifiers import ConnectionName, ExternalId, LineId, LocationCode, OrderId, PartId, ShipmentId
from crossdock.domain.model import ExactDecimal, Instant, Model, Name, Text
from crossdock.domain.money import Money
from crossdock.domain.order import Order
from crossdock.domain.shipment import Fulfillment, Package, PartStatus, Shipment
from crossdock.domain.stock import ReservedLine
from crossdock.domain.tenant import HoldKind
from crossdock.domain.waiting import Waiting


class OrderStatus(StrEnum):
    ANNOUNCED = "announced"
    """Something about the order came before the order itself; parked."""
    ACCEPTED = "accepted"
    HELD = "held"
    RESERVED = "reserved"
    POSTED = "posted"
    RELEASED = "released"
    PARTIALLY_SHIPPED = "partially_shipped"
    SHIPPED = "shipped"
    COMPLETED = "completed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


TERMINAL = frozenset({OrderStatus.COMPLETED, OrderStatus.CANCELLED})

# What may follow what (requirement 38). A repeat of the same status is always a no-op.
_FOLLOWS: dict[OrderStatus, frozenset[OrderStatus]] = {
    OrderStatus.ANNOUNCED: frozenset({OrderStatus.ACCEPTED, OrderStatus.CANCELLED}),
    OrderStatus.ACCEPTED: frozenset({OrderStatus.HELD, OrderStatus.RESERVED, OrderStatus.CANCELLING, OrderStatus.CANCELLED}),
    OrderStatus.HELD: frozenset({OrderStatus.ACCEPTED, OrderStatus.RESERVED, OrderStatus.POSTED, OrderStatus.CANCELLING, OrderStatus.CANCELLED}),
    OrderStatus.RESERVED: frozenset({OrderStatus.POSTED, OrderStatus.HELD, OrderStatus.CANCELLING}),
    OrderStatus.POSTED: frozenset({OrderStatus.RELEASED, OrderStatus.HELD, OrderStatus.CANCELLING}),
    OrderStatus.RELEASED: frozenset({OrderStatus.PARTIALLY_SHIPPED, OrderStatus.SHIPPED, OrderStatus.CANCELLING}),
    OrderStatus.PARTIALLY_SHIPPED: frozenset({OrderStatus.SHIPPED, OrderStatus.CANCELLING}),
    OrderStatus.SHIPPED: frozenset({OrderStatus.COMPLETED}),
    OrderStatus.CANCELLING: frozenset({OrderStatus.CANCELLED, OrderStatus.RELEASED, OrderStatus.PARTIALLY_SHIPPED, OrderStatus.SHIPPED}),
    OrderStatus.COMPLETED: frozenset(),
    OrderStatus.CANCELLED: frozenset(),
}


def may_follow(current: OrderStatus, following: OrderStatus) -> bool:
    return following is current or following in _FOLLOWS[current]


class Approval(Model):
    """A person let this difference pass. It covers what they saw (``fingerprint``), not a later, other difference."""

    kind: HoldKind
    fingerprint: str
    by: Name
    at: Instant
    note: Text = ""


class Part(Model):
    """A part with how far it is."""

    plan: Fulfillment
    status: PartStatus = PartStatus.PLANNED
    external_id: ExternalId | None = None
    released_at: Instant | None = None
    acknowledged_at: Instant | None = None
    acknowledge_by: Instant | None = None
    ship_by: Instant | None = None
    shipped: dict[LineId, ExactDecimal] = Field(default_factory=dict)
    cancel_refused: bool = False
    """The warehouse would not cancel it any more: it ships."""
    moves_to: Fulfillment | None = None
    """Its location has given it up: where it is to go instead."""
    stock_moved: bool = False
    """What is reserved for it is reserved there already."""
    rerouted: bool = False
    """It is over because another part took its place."""

    @property
    def open(self) -> bool:
        return self.status not in (PartStatus.SHIPPED, PartStatus.CANCELLED)

    def remaining(self, line_id: str) -> Decimal:
        planned = sum((line.quantity.value for line in self.plan.lines if line.line_id == line_id), Decimal(0))
        return planned - self.shipped.get(line_id, Decimal(0))


class BookedLine(Model):
    """What of one order line a shipment carried."""

    line_id: LineId
    quantity: ExactDecimal


class BookedShipment(Model):
    """A shipment joined to its part, and how far its consequences are."""

    shipment: Shipment
    part_id: PartId
    location: LocationCode
    lines: tuple[BookedLine, ...]
    confirmed: bool = False
    invoice_number: str | None = None
    late: bool = False


class SalesOrder(Model):
    """The ERP's document. ``total`` is what the ERP computed, tax included."""

    external_id: ExternalId
    number: str
    line_ids: dict[str, str] = Field(default_factory=dict)
    total: Money | None = None
    cancelled: bool = False


class Parked(Model):
    """A fact that came before what it belongs to."""

    event_json: str
    parked_at: Instant
    until: Instant


class OrderRecord(Model):
    """The aggregate. Changed only by ``change`` through conditional writes on ``version``."""

    order_id: OrderId
    version: int = 0
    status: OrderStatus
    accepted_at: Instant
    updated_at: Instant
    source: ConnectionName
    order: Order | None = None
    source_content: Text = ""
    """Fingerprint of what the source last sent: its updates are compared with that and not with what a person has corrected since."""
    account: Name | None = None
    parts: tuple[Part, ...] = ()
    reserved: tuple[ReservedLine, ...] = ()
    sales_order: SalesOrder | None = None
    shipments: tuple[BookedShipment, ...] = ()
    approvals: tuple[Approval, ...] = ()
    waiting: Waiting | None = None
    answered: tuple[str, ...] = ()
    """Marks of tokens that wait no more: a late copy of an old request is known by them."""
    open_exceptions: tuple[str, ...] = ()
    cancel_requested_at: Instant | None = None
    cancel_reason: Text = ""
    cancel_refused_at: Instant | None = None
    """A cancellation came too late: the storefront's repeats of it change nothing any more."""
    tell_source: bool = False
    """True while the storefront must still be told of the cancellation; False when it told us, or knows."""
    released_stock: bool = False
    """Cancellation: the reservation has been given back."""
    due_at: Instant | None = None
    """The next deadline armed for this order, for the watch."""
    completed_at: Instant | None = None

    @property
    def placed(self) -> Order:
        if self.order is None:
            raise Rejected("ORDER_UNKNOWN", f"order {self.order_id} has been announced but not received", remedy="wait for the storefront's order, or pull it")
        return self.order

    def part(self, part_id: str) -> Part | None:
        return next((part for part in self.parts if part.plan.part_id == part_id), None)

    def shipment(self, shipment_id: str) -> BookedShipment | None:
        return next((booked for booked in self.shipments if booked.shipment.shipment_id == shipment_id), None)

    @property
    def everything_shipped(self) -> bool:
        """Something has left and nothing is left to ship (a part may have shipped in part and been cancelled for the rest)."""
        return bool(self.shipments) and not any(part.open for part in self.parts)

    @property
    def everything_settled(self) -> bool:
        """Every shipment confirmed to the storefront and invoiced, nothing left to ship, no open exception."""
        return self.everything_shipped and all(booked.confirmed and booked.invoice_number for booked in self.shipments)

    @property
    def packages(self) -> list[Package]:
        return [package for booked in self.shipments for package in booked.shipment.packages]

    def find_booked(self, shipment_id: ShipmentId) -> BookedShipment:
        booked = self.shipment(shipment_id)
        if booked is None:
            raise Rejected("SHIPMENT_UNKNOWN", f"order {self.order_id} has no shipment {shipment_id}")
        return booked
