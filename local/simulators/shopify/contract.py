"""What does Shopify demand beyond its GraphQL schema, and what may a seed or a staff action say?

The Admin schema itself is Shopify's own (see schema.py). This file holds the rules the schema cannot express, with the
vendor page each comes from, and the shapes of what people at the shop tell the simulator to do.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

# https://shopify.dev/docs/api/usage/idempotent-requests: mandatory from 2026-04, invisible in the schema.
IDEMPOTENT_FROM = "2026-04"
IDEMPOTENT_MUTATIONS = frozenset({"inventorySetQuantities", "inventoryAdjustQuantities", "refundCreate"})
# From 2026-04 the key must be present in each entry; null opts out of the comparison.
COMPARE_FIELD = "changeFromQuantity"

MAX_PAGE = 250
MAX_QUERY_COST = 1000
MAX_TAGS = 250
MAX_TAG_LENGTH = 40
MAX_METAFIELDS_PER_CALL = 25
MAX_STAFF_NOTE = 255
MAX_NOTE = 5000
MAX_FULFILLMENT_LINES = 512
MAX_INVENTORY_QUANTITY = 1_000_000_000
MAX_INVENTORY_DELTA = 2_000_000_000

SETTABLE_QUANTITY_NAMES = frozenset({"available", "on_hand"})
ADJUSTABLE_QUANTITY_NAMES = frozenset({"available", "damaged", "quality_control", "reserved", "safety_stock", "incoming"})
READABLE_QUANTITY_NAMES = frozenset({"available", "committed", "damaged", "incoming", "on_hand", "quality_control", "reserved", "safety_stock"})
# https://shopify.dev/docs/apps/build/orders-fulfillment/inventory-management-apps/manage-quantities-states
INVENTORY_REASONS = frozenset(
    {
        "correction",
        "cycle_count_available",
        "damaged",
        "movement_created",
        "movement_updated",
        "movement_received",
        "movement_canceled",
        "other",
        "promotion",
        "quality_control",
        "received",
        "reservation_created",
        "reservation_deleted",
        "reservation_updated",
        "restock",
        "safety_stock",
        "shrinkage",
    }
)

TOPICS = frozenset(
    {
        "orders/create",
        "orders/updated",
        "orders/cancelled",
        "orders/fulfilled",
        "orders/partially_fulfilled",
        "fulfillments/create",
        "fulfillments/update",
        "inventory_levels/update",
        "refunds/create",
        "returns/approve",
        "returns/cancel",
        "returns/close",
        "returns/decline",
        "returns/request",
    }
)

Money = Annotated[Decimal, Field(ge=0, max_digits=14, decimal_places=2)]
ShopifyId = Annotated[int, Field(gt=0, lt=2**63)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Sku = Annotated[str, Field(min_length=1, max_length=255)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Address(Strict):
    first_name: str = "Receiving"
    last_name: str = "Dock"
    company: str | None = None
    address1: Annotated[str, Field(min_length=1, max_length=255)]
    address2: str | None = None
    city: Annotated[str, Field(min_length=1)]
    zip: str = ""
    province: str = ""
    province_code: str = ""
    country: str = "United States"
    country_code: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] = "US"
    phone: str = ""


class SeedLocation(Strict):
    id: ShopifyId
    name: str
    address1: str = ""
    city: str = ""
    zip: str = ""
    province_code: str = ""
    country_code: str = "US"
    is_active: bool = True


class SeedVariant(Strict):
    sku: Sku
    title: str
    price: Money
    product_id: ShopifyId | None = None
    variant_id: ShopifyId | None = None
    inventory_item_id: ShopifyId | None = None
    vendor: str = ""
    barcode: str | None = None
    grams: Annotated[int, Field(ge=0)] = 0
    taxable: bool = True
    requires_shipping: bool = True
    gift_card: bool = False
    tracked: bool = True
    # on hand at the start, by location id; a location that is absent does not stock the item
    stock: dict[str, int] = Field(default_factory=dict)


class SeedCompany(Strict):
    id: ShopifyId
    name: str
    location_id: ShopifyId
    location_name: str = "Head office"
    external_id: str | None = None


class SeedCustomer(Strict):
    id: ShopifyId | None = None
    email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]
    first_name: str = ""
    last_name: str = ""
    phone: str | None = None
    tags: str = ""
    tax_exempt: bool = False
    company: SeedCompany | None = None
    default_address: Address | None = None


class Throttle(Strict):
    """The standard plan's bucket (https://shopify.dev/docs/api/usage/limits); a Plus shop has ten times as much."""

    maximum_available: Annotated[float, Field(gt=0)] = 2000.0
    restore_rate: Annotated[float, Field(gt=0)] = 100.0


class Seed(Strict):
    name: str = "Simulated shop"
    currency: Currency = "USD"
    first_order_number: int = 1001
    locations: list[SeedLocation] = Field(min_length=1)
    variants: list[SeedVariant] = Field(default_factory=list)
    customers: list[SeedCustomer] = Field(default_factory=list)
    throttle: Throttle = Field(default_factory=Throttle)

    @model_validator(mode="after")
    def _stock_names_known_locations(self) -> Seed:
        known = {str(location.id) for location in self.locations}
        for variant in self.variants:
            unknown = set(variant.stock) - known
            if unknown:
                raise ValueError(f"variant {variant.sku}: stock at unknown location {', '.join(sorted(unknown))}")
        return self


class Credentials(Strict):
    access_token: Annotated[str, Field(min_length=1)]
    shop_domain: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*\.myshopify\.com$")]


class TaxSpec(Strict):
    title: str = "Sales tax"
    # of one: 0.0825 is 8.25 %
    rate: Annotated[Decimal, Field(ge=0, lt=1)]


class CustomerRef(Strict):
    """A customer the shop knows (by id or email), or a new one to be made."""

    id: ShopifyId | None = None
    email: str | None = None
    first_name: str = ""
    last_name: str = ""
    phone: str | None = None
    company: str | None = None

    @model_validator(mode="after")
    def _says_who(self) -> CustomerRef:
        if self.id is None and self.email is None:
            raise ValueError("a customer needs an id or an email")
        return self


class OrderLineSpec(Strict):
    sku: Sku
    quantity: Annotated[int, Field(gt=0)]
    # unit price; absent = the variant's list price
    price: Money | None = None
    title: str | None = None
    discount: Money = Decimal(0)
    taxable: bool = True
    gift_card: bool = False
    requires_shipping: bool = True
    properties: dict[str, str] = Field(default_factory=dict)


class PlaceOrder(Strict):
    customer: CustomerRef | None = None
    lines: list[OrderLineSpec] = Field(min_length=1)
    shipping_address: Address | None = None
    billing_address: Address | None = None
    shipping_price: Money = Decimal(0)
    shipping_title: str = "Standard freight"
    shipping_code: str | None = "STANDARD"
    # one amount for the whole order, or rates applied to every taxable line and to shipping
    tax: Money | list[TaxSpec] = Decimal(0)
    discount_code: str | None = None
    currency: Currency | None = None
    note: str | None = None
    note_attributes: dict[str, str] = Field(default_factory=dict)
    tags: list[str] = Field(default_factory=list)
    po_number: str | None = None
    name: str | None = None
    location_id: ShopifyId | None = None
    paid: bool = True
    # an order the outside world already knows by this number (adoption, replays)
    id: ShopifyId | None = None
    line_ids: list[ShopifyId] | None = None


class OrderRef(Strict):
    """An order by number, GID or name."""

    order: str | int


class CancelOrder(OrderRef):
    reason: Annotated[str, Field(pattern="^(customer|declined|fraud|inventory|other|staff)$")] = "customer"
    restock: bool = True
    refund: bool = True
    note: str | None = None


class UpdateOrder(OrderRef):
    note: str | None = None
    tags: list[str] | None = None
    shipping_address: Address | None = None
    email: str | None = None
    po_number: str | None = None


class SetStock(Strict):
    sku: Sku
    available: int
    location_id: ShopifyId | None = None


class SetPrice(Strict):
    sku: Sku
    price: Annotated[Decimal, Field(ge=0)]


class RefundLine(Strict):
    sku: Sku
    quantity: Annotated[int, Field(gt=0)]
    restock: bool = False


class RefundOrder(OrderRef):
    lines: list[RefundLine] = Field(default_factory=list)
    shipping: Money = Decimal(0)
    note: str = ""


class RequestReturn(OrderRef):
    lines: list[RefundLine] = Field(min_length=1)
    reason: str = "UNWANTED"
    note: str = ""


class SendWebhook(Strict):
    """Send any body under a topic, signed as the shop would: for payloads no action makes."""

    topic: str
    body: dict[str, Any]
