"""What exactly does Shopify send and expect, field by field, in its own words?

Webhook bodies carry exact 64-bit numbers in ``id``, but tools in between round them: ``admin_graphql_api_id`` is the key. Amounts
without ``_set`` are in the shop's currency, the order's ``currency``. Only fields that are used are named; others may come and go.
Bodies: https://shopify.dev/docs/api/webhooks, answers: https://shopify.dev/docs/api/admin-graphql (2026-10).
"""

# ruff: noqa: N815 - field names are the vendor's, to the letter
from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from crossdock.domain.model import Instant

Gid = Annotated[str, StringConstraints(pattern=r"^gid://shopify/[A-Za-z]{1,60}/[0-9]{1,20}(\?.{0,100})?$")]
OrderGid = Annotated[str, StringConstraints(pattern=r"^gid://shopify/Order/[0-9]{1,20}$")]
LineItemGid = Annotated[str, StringConstraints(pattern=r"^gid://shopify/LineItem/[0-9]{1,20}$")]
CurrencyCode = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
CountryCode = Annotated[str, StringConstraints(pattern=r"^\s*([A-Za-z]{2})?\s*$")]
Id = Annotated[int, Field(ge=0, lt=10**20)]
Email = Annotated[str, StringConstraints(max_length=200)]
HalfName = Annotated[str, StringConstraints(max_length=127)]
"""First and last name together fit where one name fits."""
Line = Annotated[str, StringConstraints(max_length=255)]
Text = Annotated[str, StringConstraints(max_length=1000)]


def _exact(value: object) -> object:
    """Amounts are decimal strings; a truth value or a binary float is none."""
    if isinstance(value, bool | float):
        raise ValueError("an amount is a decimal string")
    return value


Amount = Annotated[Decimal, BeforeValidator(_exact), Field(ge=0, max_digits=15, decimal_places=6)]
"""Never negative: refunds and discounts have fields of their own. Short enough that any line of them multiplies and adds up exactly."""


class Inbound(BaseModel):
    """Something Shopify says: more may come with it, what is used must be what it claims to be."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Outbound(BaseModel):
    """Something said to Shopify: nothing it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# ------------------------------------------------------------------------------------------------ webhook bodies
class Address(Inbound):
    first_name: HalfName | None = None
    last_name: HalfName | None = None
    name: Line | None = None
    company: Line | None = None
    address1: Line | None = None
    address2: Line | None = None
    city: Line | None = None
    zip: Line | None = None
    province: Line | None = None
    province_code: Line | None = None
    country_code: CountryCode | None = None
    phone: Line | None = None


class Customer(Inbound):
    admin_graphql_api_id: Gid
    email: Email | None = None
    first_name: Line | None = None
    last_name: Line | None = None


class Company(Inbound):
    """Of a business buyer; Shopify gives the numbers only."""

    id: Id | None = None
    location_id: Id | None = None


class TaxLine(Inbound):
    price: Amount


class DiscountAllocation(Inbound):
    amount: Amount


class LineProperty(Inbound):
    name: str
    value: str | int | Decimal | bool | None = None


class LineItem(Inbound):
    admin_graphql_api_id: LineItemGid
    sku: Annotated[str, StringConstraints(max_length=120)] | None = None
    title: str = ""
    name: str = ""
    quantity: Annotated[int, Field(gt=0, lt=10**9, strict=True)]
    price: Amount
    """Of one piece, before discounts."""
    requires_shipping: bool = True
    gift_card: bool = False
    variant_id: Id | None = None
    sales_line_item_group_id: Id | None = None
    tax_lines: list[TaxLine] = Field(default_factory=list)
    discount_allocations: list[DiscountAllocation] = Field(default_factory=list)
    """The line's share of every discount, of the line and of the order."""
    properties: list[LineProperty] = Field(default_factory=list)


class ShippingLine(Inbound):
    title: str | None = None
    code: str | None = None
    price: Amount
    is_removed: bool = False
    tax_lines: list[TaxLine] = Field(default_factory=list)
    discount_allocations: list[DiscountAllocation] = Field(default_factory=list)


class Order(Inbound):
    """Body of orders/create and orders/updated."""

    admin_graphql_api_id: OrderGid
    name: Annotated[Line, StringConstraints(min_length=1)]
    created_at: Instant
    updated_at: Instant
    currency: CurrencyCode
    taxes_included: bool = False
    total_price: Amount
    email: Email | None = None
    contact_email: Email | None = None
    note: str | None = None
    po_number: Text | None = None
    customer: Customer | None = None
    company: Company | None = None
    shipping_address: Address | None = None
    billing_address: Address | None = None
    line_items: Annotated[list[LineItem], Field(min_length=1, max_length=500)]
    shipping_lines: list[ShippingLine] = Field(default_factory=list)


class CancelledOrder(Inbound):
    """What matters in the body of orders/cancelled."""

    admin_graphql_api_id: OrderGid
    cancelled_at: Instant
    cancel_reason: Text | None = None


# ------------------------------------------------------------------------------------------------ GraphQL answers
class Throttle(Inbound):
    currentlyAvailable: Decimal
    restoreRate: Decimal


class Cost(Inbound):
    requestedQueryCost: Decimal | None = None
    throttleStatus: Throttle | None = None


class AnswerExtensions(Inbound):
    cost: Cost | None = None


class ErrorExtensions(Inbound):
    code: str | None = None


class GraphQLProblem(Inbound):
    message: str
    path: list[str | int] | None = None
    extensions: ErrorExtensions | None = None


class GraphQLAnswer(Inbound):
    """Every answer of the endpoint with status 200. ``errors`` is a text where the request never reached GraphQL."""

    data: dict[str, Any] | None = None
    errors: list[GraphQLProblem] | str | None = None
    extensions: AnswerExtensions | None = None


class UserError(Inbound):
    message: str
    field: list[str] | None = None
    code: str | None = None


class PageInfo(Inbound):
    hasNextPage: bool
    endCursor: str | None = None


class ShopMoney(Inbound):
    amount: Amount


class MoneyBag(Inbound):
    shopMoney: ShopMoney


class PolledAddress(Inbound):
    firstName: HalfName | None = None
    lastName: HalfName | None = None
    name: Line | None = None
    company: Line | None = None
    address1: Line | None = None
    address2: Line | None = None
    city: Line | None = None
    zip: Line | None = None
    province: Line | None = None
    provinceCode: Line | None = None
    countryCodeV2: CountryCode | None = None
    phone: Line | None = None


class PolledCustomer(Inbound):
    id: Gid
    firstName: Line | None = None
    lastName: Line | None = None
    email: Email | None = None


class GivenId(Inbound):
    id: Gid


class Purchaser(Inbound):
    """Of a private buyer both are absent: the fragment asks for companies only."""

    company: GivenId | None = None
    location: GivenId | None = None


class PolledTaxLine(Inbound):
    priceSet: MoneyBag


class PolledAllocation(Inbound):
    allocatedAmountSet: MoneyBag


class Attribute(Inbound):
    key: str
    value: str | None = None


class PolledLine(Inbound):
    id: LineItemGid
    sku: Annotated[str, StringConstraints(max_length=120)] | None = None
    title: str = ""
    name: str = ""
    quantity: Annotated[int, Field(gt=0, lt=10**9, strict=True)]
    requiresShipping: bool = True
    isGiftCard: bool = False
    variant: GivenId | None = None
    lineItemGroup: GivenId | None = None
    originalUnitPriceSet: MoneyBag
    taxLines: list[PolledTaxLine] = Field(default_factory=list)
    discountAllocations: list[PolledAllocation] = Field(default_factory=list)
    customAttributes: list[Attribute] = Field(default_factory=list)


class PolledCode(Inbound):
    """What of an order line says what it is and how it is counted."""

    id: LineItemGid
    sku: Annotated[str, StringConstraints(max_length=120)] | None = None
    variant: GivenId | None = None
    customAttributes: list[Attribute] = Field(default_factory=list)


class PolledShippingLine(Inbound):
    title: str | None = None
    code: str | None = None
    isRemoved: bool = False
    originalPriceSet: MoneyBag
    taxLines: list[PolledTaxLine] = Field(default_factory=list)
    discountAllocations: list[PolledAllocation] = Field(default_factory=list)


class PolledLines(Inbound):
    nodes: Annotated[list[PolledLine], Field(min_length=1, max_length=500)]


class PolledShippingLines(Inbound):
    nodes: list[PolledShippingLine]


class PolledOrder(Inbound):
    """An order as the Admin API tells it, with all its lines."""

    id: OrderGid
    name: Annotated[Line, StringConstraints(min_length=1)]
    createdAt: Instant
    updatedAt: Instant
    cancelledAt: Instant | None = None
    cancelReason: Text | None = None
    currencyCode: CurrencyCode
    taxesIncluded: bool = False
    totalPriceSet: MoneyBag
    email: Email | None = None
    note: str | None = None
    poNumber: Text | None = None
    customer: PolledCustomer | None = None
    purchasingEntity: Purchaser | None = None
    shippingAddress: PolledAddress | None = None
    billingAddress: PolledAddress | None = None
    lineItems: PolledLines
    shippingLines: PolledShippingLines


class PolledPage(Inbound):
    nodes: list[dict[str, Any]]
    pageInfo: PageInfo


class ChangedOrder(Inbound):
    id: OrderGid
    updatedAt: Instant


class ChangedOrders(Inbound):
    nodes: list[ChangedOrder]
    pageInfo: PageInfo


class Identified(Inbound):
    id: Gid


class TrackingInfo(Inbound):
    company: str | None = None
    number: str | None = None
    url: str | None = None


class FulfilledLine(Inbound):
    quantity: int | None = None
    lineItem: Identified


class FulfilledLines(Inbound):
    nodes: list[FulfilledLine]
    pageInfo: PageInfo


FulfillmentStatus = Literal["SUCCESS", "OPEN", "PENDING", "CANCELLED", "ERROR", "FAILURE"]


class Fulfillment(Inbound):
    id: Gid
    name: str
    status: FulfillmentStatus
    trackingInfo: list[TrackingInfo]
    fulfillmentLineItems: FulfilledLines


class OpenLine(Inbound):
    id: Gid
    remainingQuantity: int
    lineItem: Identified


class OpenLines(Inbound):
    nodes: list[OpenLine]
    pageInfo: PageInfo


class AssignedLocation(Inbound):
    location: Identified | None = None


class FulfillmentOrder(Inbound):
    id: Gid
    status: Literal["OPEN", "IN_PROGRESS", "ON_HOLD", "SCHEDULED", "CLOSED", "CANCELLED", "INCOMPLETE"]
    assignedLocation: AssignedLocation
    lineItems: OpenLines


class FulfillmentOrders(Inbound):
    nodes: list[FulfillmentOrder]
    pageInfo: PageInfo


class OrderState(Inbound):
    """An order as far as its fulfilment and cancellation go."""

    id: OrderGid
    name: str
    cancelledAt: AwareDatetime | None
    fulfillments: list[Fulfillment]
    fulfillmentOrders: FulfillmentOrders


class CancellationState(Inbound):
    """An order as far as its cancellation goes; ``fulfillments`` tells whether anything left."""

    id: OrderGid
    name: str
    cancelledAt: AwareDatetime | None
    fulfillments: list[FulfillmentState]


class FulfillmentState(Inbound):
    status: FulfillmentStatus


class CreatedFulfillment(Inbound):
    id: Gid
    name: str


class FulfillmentCreated(Inbound):
    fulfillment: CreatedFulfillment | None
    userErrors: list[UserError]


class OrderCancelAnswer(Inbound):
    job: Identified | None = None
    orderCancelUserErrors: list[UserError]


class NamedQuantity(Inbound):
    name: str
    quantity: Annotated[int, Field(gt=-(10**10), lt=10**10)]


class Level(Inbound):
    """An item at a location; null where the location does not stock it."""

    quantities: list[NamedQuantity]
    updatedAt: str


class VariantItem(Inbound):
    id: Gid
    tracked: bool
    inventoryLevel: Level | None


class Variant(Inbound):
    sku: str | None
    inventoryItem: VariantItem


class Variants(Inbound):
    nodes: list[Variant]


class ShopCurrency(Inbound):
    currencyCode: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]


class PricedVariant(Inbound):
    sku: str | None
    price: Amount


class PricedVariants(Inbound):
    nodes: list[PricedVariant]
    pageInfo: PageInfo


class ProductOf(Inbound):
    id: Gid


class VariantToPrice(Inbound):
    id: Gid
    sku: str | None
    price: Amount
    product: ProductOf


class VariantsToPrice(Inbound):
    nodes: list[VariantToPrice]


class PricesSet(Inbound):
    userErrors: list[UserError]


class QuantitiesSet(Inbound):
    inventoryAdjustmentGroup: Identified | None = None
    userErrors: list[UserError]


class Location(Inbound):
    id: Gid
    isActive: bool


class Locations(Inbound):
    nodes: list[Location]
    pageInfo: PageInfo


class StockedItem(Inbound):
    sku: Annotated[str, StringConstraints(max_length=120)] | None
    tracked: bool


class StockedLevel(Inbound):
    item: StockedItem
    quantities: list[NamedQuantity]


class StockedLevels(Inbound):
    nodes: list[StockedLevel]
    pageInfo: PageInfo


class LocationStock(Inbound):
    inventoryLevels: StockedLevels


# ------------------------------------------------------------------------------------------------ GraphQL inputs
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$", max_length=2048)]
TrackingText = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class FulfillmentTrackingInput(Outbound):
    company: TrackingText | None = None
    numbers: list[TrackingText]
    urls: list[Url] | None = None


class FulfillmentOrderLineItemInput(Outbound):
    id: Gid
    quantity: Annotated[int, Field(gt=0)]


class FulfillmentOrderLineItemsInput(Outbound):
    fulfillmentOrderId: Gid
    fulfillmentOrderLineItems: Annotated[list[FulfillmentOrderLineItemInput], Field(min_length=1, max_length=512)]


class FulfillmentInput(Outbound):
    lineItemsByFulfillmentOrder: Annotated[list[FulfillmentOrderLineItemsInput], Field(min_length=1)]
    trackingInfo: FulfillmentTrackingInput
    notifyCustomer: bool


class InventoryQuantityInput(Outbound):
    inventoryItemId: Gid
    locationId: Gid
    quantity: Annotated[int, Field(ge=0, le=1_000_000_000)]
    changeFromQuantity: int
    """What we read it to be: the write is refused when somebody changed it since."""


class InventorySetQuantitiesInput(Outbound):
    name: Literal["available"]
    reason: Literal["correction"]
    referenceDocumentUri: str
    quantities: Annotated[list[InventoryQuantityInput], Field(min_length=1, max_length=250)]


class OrderCancelArguments(Outbound):
    """Variables of the orderCancel mutation."""

    orderId: OrderGid
    reason: Literal["OTHER"]
    restock: bool
    refundMethod: OrderCancelRefundMethodInput
    notifyCustomer: bool
    staffNote: Annotated[str, StringConstraints(max_length=255)]


class OrderCancelRefundMethodInput(Outbound):
    originalPaymentMethodsRefund: bool


CancellationState.model_rebuild()
OrderCancelArguments.model_rebuild()


# ------------------------------------------------------------------------------------------------ what comes back
ReturnGid = Annotated[str, StringConstraints(pattern=r"^gid://shopify/Return/\d{1,20}$")]
ReturnStatus = Literal["CANCELED", "CLOSED", "DECLINED", "OPEN", "REQUESTED"]


class ToldReturn(Inbound):
    """The body of ``returns/request``, ``returns/cancel`` and ``returns/decline``: it names no lines."""

    admin_graphql_api_id: ReturnGid


class ReturnedFrom(Inbound):
    lineItem: PolledCode


class ReturnedLine(Inbound):
    quantity: Annotated[int, Field(gt=0, lt=10**9, strict=True)]
    returnReason: Annotated[str, StringConstraints(max_length=60)]
    returnReasonNote: Annotated[str, StringConstraints(max_length=1000)] = ""
    customerNote: Annotated[str, StringConstraints(max_length=1000)] | None = None
    fulfillmentLineItem: ReturnedFrom


class ReturnedLines(Inbound):
    nodes: Annotated[list[ReturnedLine], Field(min_length=1, max_length=200)]


class Identities(Inbound):
    nodes: list[Identified] = Field(default_factory=list)


class OrderOfReturn(Inbound):
    id: OrderGid


class PolledReturn(Inbound):
    """A return as the Admin API tells it, with its lines."""

    id: ReturnGid
    name: Annotated[Line, StringConstraints(min_length=1)]
    status: ReturnStatus
    createdAt: Instant
    order: OrderOfReturn
    returnLineItems: ReturnedLines
    exchangeLineItems: Identities = Identities()


class ReturnState(Inbound):
    id: ReturnGid
    name: str
    status: ReturnStatus


class ReturnAnswer(Inbound):
    """Of every mutation of a return."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True, populate_by_name=True)

    return_: ReturnState | None = Field(default=None, alias="return")
    userErrors: list[UserError]


class NotedLine(Inbound):
    returnReasonNote: str = ""


class NotedLines(Inbound):
    nodes: list[NotedLine]


class NotedReturn(ReturnState):
    returnLineItems: NotedLines


class NotedReturns(Inbound):
    nodes: list[NotedReturn]


class SentLine(Inbound):
    """A line of a fulfillment: what of an order line left with it."""

    id: str
    quantity: int
    lineItem: Identified


class SentLines(Inbound):
    nodes: list[SentLine]


class SentFulfillment(Inbound):
    status: str
    fulfillmentLineItems: SentLines


class OrderForReturn(Inbound):
    id: OrderGid
    returns: NotedReturns
    fulfillments: list[SentFulfillment]


class PaidAmount(Inbound):
    amount: Amount
    currencyCode: CurrencyCode


class PaidBag(Inbound):
    shopMoney: PaidAmount


class MadeRefund(Inbound):
    id: str
    note: str | None = None
    totalRefundedSet: PaidBag


class Payment(Inbound):
    id: str
    kind: str
    status: str
    gateway: str | None = None
    amountSet: PaidBag


class OrderToRefund(Inbound):
    id: OrderGid
    netPaymentSet: PaidBag
    refunds: list[MadeRefund]
    transactions: list[Payment]


class RefundAnswer(Inbound):
    refund: MadeRefund | None = None
    userErrors: list[UserError]
