"""Which request bodies does ShipBob's 2026-01 API accept? Its facts, written down independently of any connector."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

INT32_MAX = 2_147_483_647

Topic = Literal[
    "order.shipped",
    "order.shipment.delivered",
    "order.shipment.exception",
    "order.shipment.on_hold",
    "order.shipment.cancelled",
    "return.created",
    "return.updated",
    "return.completed",
    "billing.charge.created",
    "billing.refund.created",
    "billing.credit.created",
]


class Body(BaseModel):
    """A request body: closed, and JSON types are not converted into one another."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _time(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be a date-time text")
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("must carry a time zone")
    return moment


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError("must be a number")
    return Decimal(value)


def _email(value: object) -> object:
    if value is not None and (not isinstance(value, str) or not re.fullmatch(r"[^@\s]+@[^@\s]+", value)):
        raise ValueError("must be an e-mail address")
    return value


Int32 = Annotated[int, Field(ge=-INT32_MAX - 1, le=INT32_MAX)]
Time = Annotated[datetime, BeforeValidator(_time)]
Number = Annotated[Decimal, BeforeValidator(_number)]
Filled = Annotated[str, StringConstraints(min_length=1)]


class Address(Body):
    address1: Filled
    address2: str | None = None
    city: Filled
    company_name: str | None = None
    country: Filled
    state: str | None = None
    zip_code: str | None = None


class TypedAddress(Address):
    type: Literal["MarkFor", "ShipFrom"]


class Recipient(Body):
    address: Address | TypedAddress
    name: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    email: Annotated[str | None, BeforeValidator(_email)] = None
    phone_number: Annotated[str, StringConstraints(max_length=50)] | None = None


class _OrderedProduct(Body):
    quantity: Annotated[int, Field(ge=1, le=INT32_MAX)]
    quantity_unit_of_measure_code: str | None = None
    external_line_id: Int32 | None = None


class ProductByReference(_OrderedProduct):
    reference_id: Filled
    name: str | None
    gtin: Annotated[str, StringConstraints(max_length=50)] | None = None
    sku: str | None = None
    unit_price: Number | None = None
    upc: Annotated[str, StringConstraints(max_length=50)] | None = None


class ProductById(_OrderedProduct):
    id: Int32


class Financials(Body):
    total_price: Number | None = None


class Tag(Body):
    name: Annotated[str, StringConstraints(min_length=1, max_length=50)]
    value: Annotated[str, StringConstraints(min_length=1, max_length=500)]


class ShippingTerms(Body):
    carrier_type: Literal["Parcel", "Freight"] | None = None
    payment_term: Literal["Collect", "ThirdParty", "Prepaid", "MerchantResponsible"] | None = None


class RetailerProgramData(Body):
    purchase_order_number: Filled | None = None
    retailer_program_type: Filled | None = None
    addresses: list[TypedAddress] | None = None
    customer_ticket_number: str | None = None
    delivery_date: Time | None = None
    department: str | None = None
    doNotShipBeforeDate: Time | None = None  # noqa: N815 - the vendor's spelling
    mark_for_store: str | None = None
    shipByDate: Time | None = None  # noqa: N815 - the vendor's spelling


class CreateOrder(Body):
    """POST /order."""

    reference_id: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    type: Literal["DTC", "DropShip", "B2B"]
    shipping_method: Filled
    recipient: Recipient
    products: Annotated[list[ProductByReference | ProductById], Field(min_length=1)]
    order_number: Annotated[str, StringConstraints(max_length=400)] | None = None
    location_id: Int32 | None = None
    purchase_date: Time | None = None
    requested_delivery_date: Time | None = None
    gift_message: Annotated[str, StringConstraints(max_length=500)] | None = None
    origin_platform_program: Annotated[str, StringConstraints(max_length=100)] | None = None
    financials: Financials | None = None
    retailer_program_data: RetailerProgramData | None = None
    sales_channel: (
        Literal[
            "amazon", "bigcommerce", "ebay", "faire", "macy", "magento", "shein", "shopify", "squarespace",
            "targetplus", "temu", "tiktok", "unleashed", "walmart", "woocommerce",
        ]
        | None
    ) = None  # fmt: skip
    shipping_terms: ShippingTerms | None = None
    tags: list[Tag] | None = None


class CreateWebhook(Body):
    """POST /webhook."""

    topics: Annotated[list[Topic], Field(min_length=1)]
    url: Filled
    description: str | None = None
    secret: Annotated[str, StringConstraints(pattern=r"^whsec_[a-zA-Z0-9+/]{32}$")] | None = None


class VariantToCreate(BaseModel):
    """The part of a new variant that this simulator acts on; its other contract fields are taken and kept out of sight."""

    model_config = ConfigDict(strict=True)

    sku: Filled
    name: str | None = None


class CreateProduct(Body):
    """POST /product."""

    name: Filled
    variants: Annotated[list[VariantToCreate], Field(min_length=1)]
    type_id: Literal[1, 2] = 1
    taxonomy_id: Int32 | None = None
    is_quarantine: bool = False


class Facility(Body):
    id: Int32
    name: str | None = None


class ReturnedItem(Body):
    id: Int32
    quantity: Annotated[int, Field(ge=1, le=INT32_MAX)]
    requested_action: Literal["Default", "Restock", "Quarantine", "Dispose"]
    lot_date: Time | None = None
    lot_number: str | None = None


class CreateReturn(Body):
    """POST /return."""

    reference_id: Annotated[str, StringConstraints(min_length=1, max_length=50)]
    fulfillment_center: Facility
    inventory: Annotated[list[ReturnedItem], Field(min_length=1)]
    original_shipment_id: Int32 | None = None
    tracking_number: Annotated[str, StringConstraints(max_length=500)] | None = None


class BatchCancel(Body):
    """POST /shipment:batchCancel."""

    shipment_ids: Annotated[list[Int32], Field(min_length=1)]


_Parsed = TypeVar("_Parsed", bound=BaseModel)


def problems(error: ValidationError) -> dict[str, list[str]]:
    """Field path to what is wrong, in the shape of ShipBob's 400 answers."""
    found: dict[str, list[str]] = {}
    for entry in error.errors():
        path = "".join(
            f"[{part}]" if isinstance(part, int) else f".{part}"
            for part in entry["loc"]
            if not (isinstance(part, str) and part[:1].isupper())  # names of union branches are no fields
        )
        found.setdefault(path.lstrip(".") or "body", []).append(entry["msg"])
    return found


def parse(kind: type[_Parsed], value: Any) -> _Parsed:
    """Raises pydantic's ValidationError."""
    return kind.model_validate(value)
