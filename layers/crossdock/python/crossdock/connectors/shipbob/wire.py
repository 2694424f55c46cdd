"""What travels to and from ShipBob, in ShipBob's own names and limits (API 2026-01)?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from crossdock.domain.errors import FieldProblem, Rejected


class Inbound(BaseModel):
    """Read: the fields that are used are typed strictly, what ShipBob adds later does no harm."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, defer_build=True)


class Outbound(BaseModel):
    """Written: nothing that ShipBob's contract does not know, nothing longer than it takes."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


def _moment(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be a date-time text")
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("must carry a time zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is before the year 1 or after 9999 in UTC") from error


Moment = Annotated[datetime, BeforeValidator(_moment)]
Id = Annotated[int, Field(ge=0, lt=2**63)]
Count = Annotated[int, Field(ge=0, lt=2**31)]
Reference = Annotated[str, StringConstraints(max_length=160)]
"""Of what we gave it: ours are shorter. A longer one was made by somebody else."""
Code = Annotated[str, StringConstraints(max_length=120)]
Text = Annotated[str, StringConstraints(max_length=1000)]


class InventoryItem(Inbound):
    """``quantity`` is a count of stocked units, whatever unit was ordered."""

    id: Id
    quantity: Count


class ShippedProduct(Inbound):
    reference_id: Code | None = None
    """The reference under which we ordered it: the receiver's SKU."""
    sku: Code | None = None
    inventory_items: list[InventoryItem]


class StatusDetail(Inbound):
    name: str | None = None
    description: str | None = None


class Tracking(Inbound):
    carrier: Text | None = None
    tracking_number: Text | None = None
    tracking_url: Text | None = None
    shipping_date: Moment | None = None


class Shipment(Inbound):
    """Body of ``GET /shipment/{id}``, of the shipment webhooks, and inside an order."""

    id: Id
    order_id: Id
    reference_id: Reference | None = None
    """The reference we gave the order: our part id."""
    status: str
    status_details: list[StatusDetail] | None = None
    estimated_fulfillment_date_status: str | None = None
    created_date: Moment
    last_update_at: Moment | None = None
    actual_fulfillment_date: Moment | None = None
    delivery_date: Moment | None = None
    products: list[ShippedProduct]
    tracking: Tracking | None = None


class Order(Inbound):
    """Body of ``GET /order/{id}`` and of the answer to ``POST /order``."""

    id: Id
    reference_id: Reference | None = None
    order_number: Code | None = None
    status: str
    created_date: Moment
    shipments: list[Shipment] = Field(default_factory=list)


class CancelledShipment(Inbound):
    shipment_id: int
    is_success: bool
    reason: str | None = None


class CancelResult(Inbound):
    """Answer to ``POST /order/{id}:cancel``."""

    order_id: Id
    status: str
    canceled_shipment_results: list[CancelledShipment]


class StockAtLocation(Inbound):
    location_id: Id
    on_hand_quantity: Count


class StockedItem(Inbound):
    sku: Code | None = None
    locations: list[StockAtLocation]


class StockPage(Inbound):
    """Answer to ``GET /inventory-level/locations``."""

    items: list[StockedItem]
    next: str | None = None


class StockedId(Inbound):
    inventory_id: Id
    sku: Code | None = None


class StockedIds(Inbound):
    """Answer to ``GET /inventory-level``."""

    items: list[StockedId]
    next: str | None = None


class ActionTaken(Inbound):
    action: str
    quantity_processed: Count


class ReturnedItem(Inbound):
    sku: Code | None = None
    quantity: Count
    action_taken: list[ActionTaken] | None = None


class ReturnOrder(Inbound):
    """Body of ``GET /return/{id}`` and of the return webhooks."""

    id: Id
    reference_id: Reference | None = None
    status: str
    completed_date: Moment | None = None
    inventory: list[ReturnedItem]


class MadeReturn(Inbound):
    """Answer to ``POST /return`` and an item of ``GET /return``."""

    id: Id
    reference_id: Reference | None = None
    status: str


class ReturnPage(Inbound):
    items: list[MadeReturn]


class Facility(Outbound):
    id: Annotated[int, Field(ge=1, le=2_147_483_647)]


class ReturnInventory(Outbound):
    id: Annotated[int, Field(ge=1, le=2_147_483_647)]
    quantity: Annotated[int, Field(ge=1, le=2_147_483_647)]
    requested_action: Literal["Default", "Restock", "Quarantine", "Dispose"]


class NewReturn(Outbound):
    """Body of ``POST /return``."""

    reference_id: Annotated[str, StringConstraints(min_length=1, max_length=50)]
    fulfillment_center: Facility
    inventory: Annotated[tuple[ReturnInventory, ...], Field(min_length=1)]

    def body(self) -> bytes:
        return self.model_dump_json(exclude_none=True).encode()


class RecipientAddress(Outbound):
    address1: Annotated[str, StringConstraints(min_length=1)]
    address2: str | None = None
    company_name: str | None = None
    city: Annotated[str, StringConstraints(min_length=1)]
    state: str | None = None
    zip_code: str | None = None
    country: Annotated[str, StringConstraints(min_length=1)]


class Recipient(Outbound):
    name: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    address: RecipientAddress
    email: Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$")] | None = None
    phone_number: Annotated[str, StringConstraints(max_length=50)] | None = None


class OrderedProduct(Outbound):
    reference_id: Annotated[str, StringConstraints(min_length=1)]
    name: str
    quantity: Annotated[int, Field(ge=1, le=2_147_483_647)]


class Tag(Outbound):
    name: Annotated[str, StringConstraints(min_length=1, max_length=50)]
    value: Annotated[str, StringConstraints(min_length=1, max_length=500)]


class NewOrder(Outbound):
    """Body of ``POST /order``."""

    reference_id: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    order_number: Annotated[str, StringConstraints(max_length=400)]
    type: Literal["DTC", "DropShip", "B2B"]
    shipping_method: Annotated[str, StringConstraints(min_length=1)]
    purchase_date: str
    recipient: Recipient
    products: Annotated[tuple[OrderedProduct, ...], Field(min_length=1)]
    tags: tuple[Tag, ...]
    location_id: Annotated[int, Field(ge=1, le=2_147_483_647)] | None = None

    def body(self) -> bytes:
        """As sent: absent optionals left out."""
        return self.model_dump_json(exclude_none=True).encode()


Wire = TypeVar("Wire", bound=BaseModel)


def read(kind: type[Wire], value: object) -> Wire:
    """The value as this wire model. Raises ``Rejected`` INVALID_BODY with the path of every field that is wrong."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise Rejected(
            "INVALID_BODY",
            f"ShipBob's {kind.__name__} does not have the agreed shape",
            remedy="compare the body with the vendor's contract; correct it or extend wire.py",
            fields=problems(error),
        ) from error


def problems(error: ValidationError) -> list[FieldProblem]:
    return [FieldProblem(".".join(str(part) for part in entry["loc"]) or "(body)", entry["msg"]) for entry in error.errors(include_url=False)]
