"""What does API v2.0 consist of? Entities with their fields, types, lengths and enums, and what may be done with them.

Facts of a tenant's own $metadata document; which controls are read-only is known from the API pages' behaviour.
Written by itself and not shared with the connector, so that a mistake in one of them shows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

NO_ID = "00000000-0000-0000-0000-000000000000"
"""An unset reference."""
NO_DATE = "0001-01-01"
"""An unset date."""

ENUMS: dict[str, tuple[str, ...]] = {
    "analysisSourceType": ("_x0020_", "Customer", "Vendor", "Item"),
    "contactType": ("Company", "Person"),
    "customerBlocked": ("_x0020_", "Ship", "Invoice", "All"),
    "invoiceEntityAggregateStatus": ("_x0020_", "Draft", "In_x0020_Review", "Open", "Paid", "Canceled", "Corrective"),
    "invoiceLineAggLineType": (
        "Comment",
        "Account",
        "Item",
        "Resource",
        "Fixed_x0020_Asset",
        "Charge",
        "Allocation_x0020_Account",
    ),
    "itemLedgerDocumentType": (
        "_x0020_",
        "Sales_x0020_Shipment",
        "Sales_x0020_Invoice",
        "Sales_x0020_Return_x0020_Receipt",
        "Sales_x0020_Credit_x0020_Memo",
        "Purchase_x0020_Receipt",
        "Purchase_x0020_Invoice",
        "Purchase_x0020_Return_x0020_Shipment",
        "Purchase_x0020_Credit_x0020_Memo",
        "Transfer_x0020_Shipment",
        "Transfer_x0020_Receipt",
        "Service_x0020_Shipment",
        "Service_x0020_Invoice",
        "Service_x0020_Credit_x0020_Memo",
        "Posted_x0020_Assembly",
        "Inventory_x0020_Receipt",
        "Inventory_x0020_Shipment",
        "Direct_x0020_Transfer",
    ),
    "itemLedgerEntryType": (
        "Purchase",
        "Sale",
        "Positive_x0020_Adjmt_x002E_",
        "Negative_x0020_Adjmt_x002E_",
        "Transfer",
        "Consumption",
        "Output",
        "_x0020_",
        "Assembly_x0020_Consumption",
        "Assembly_x0020_Output",
    ),
    "itemType": ("Inventory", "Service", "Non_x002D_Inventory"),
    "salesCrMemoEntityBufferStatus": ("Draft", "In_x0020_Review", "Open", "Canceled", "Corrective", "Paid"),
    "salesLineType": (
        "_x0020_",
        "G_x002F_L_x0020_Account",
        "Item",
        "Resource",
        "Fixed_x0020_Asset",
        "Charge_x0020__x0028_Item_x0029_",
        "Allocation_x0020_Account",
        "Service_x0020_Object",
    ),
    "salesOrderEntityBufferStatus": ("Draft", "In_x0020_Review", "Open"),
}


@dataclass(frozen=True)
class Field:
    """One property. `kind` is text, guid, date, datetime, decimal, int, bigint, bool or the name of an enum."""

    name: str
    kind: str
    max_length: int | None = None
    nullable: bool = True

    @property
    def is_enum(self) -> bool:
        return self.kind in ENUMS


@dataclass(frozen=True)
class Entity:
    """One entity type under the name of its set, and what a client may do with it."""

    set_name: str
    table: str
    """What the vendor's messages call it."""
    fields: dict[str, Field]
    read_only: frozenset[str] = frozenset()
    expands: dict[str, str] = field(default_factory=dict)
    """Navigation property -> set name of what it leads to."""
    insert: bool = True
    modify: bool = True
    delete: bool = True
    actions: frozenset[str] = frozenset()
    webhooks: bool = False
    """The vendor sends notifications for it."""


def _fields(text: str) -> dict[str, Field]:
    """`name:kind`; a number as kind is a text of that length; `!` at the end = never null."""
    found: dict[str, Field] = {}
    for word in text.split():
        name, kind = word.rstrip("!").split(":")
        length = int(kind) if kind.isdigit() else None
        found[name] = Field(name, "text" if length else kind, length, nullable=not word.endswith("!"))
    return found


def _entities(*entities: Entity) -> dict[str, Entity]:
    return {entity.set_name: entity for entity in entities}


def _names(*groups: str | Iterable[str]) -> frozenset[str]:
    return frozenset(name for group in groups for name in (group.split() if isinstance(group, str) else group))


_COMPANY = _fields(
    """
    id:guid! systemVersion:text timestamp:bigint name:30 displayName:250 businessProfileId:250
    systemCreatedAt:datetime systemCreatedBy:guid systemModifiedAt:datetime systemModifiedBy:guid
    """
)
_CURRENCY = _fields(
    """
    id:guid! code:10! displayName:30 symbol:10 amountDecimalPlaces:5! amountRoundingPrecision:decimal
    lastModifiedDateTime:datetime
    """
)
_CUSTOMER = _fields(
    """
    id:guid! number:20 displayName:100! type:contactType! addressLine1:100 addressLine2:50 city:30 state:30
    country:10 postalCode:20 phoneNumber:30 email:80 website:80 salespersonCode:20 balanceDue:decimal
    creditLimit:decimal taxLiable:bool taxAreaId:guid taxAreaDisplayName:text taxRegistrationNumber:text
    currencyId:guid currencyCode:text paymentTermsId:guid shipmentMethodId:guid paymentMethodId:guid
    blocked:customerBlocked! lastModifiedDateTime:datetime
    """
)
_ITEM = _fields(
    """
    id:guid! number:20 displayName:100 displayName2:50 type:itemType! itemCategoryId:guid itemCategoryCode:20
    blocked:bool gtin:14 inventory:decimal unitPrice:decimal priceIncludesTax:bool unitCost:decimal
    taxGroupId:guid taxGroupCode:20 baseUnitOfMeasureId:guid baseUnitOfMeasureCode:10
    generalProductPostingGroupId:guid generalProductPostingGroupCode:20 inventoryPostingGroupId:guid
    inventoryPostingGroupCode:20 lastModifiedDateTime:datetime
    """
)
_ITEM_LEDGER_ENTRY = _fields(
    """
    id:guid! entryNumber:int itemNumber:20 postingDate:date entryType:itemLedgerEntryType! sourceNumber:20
    sourceType:analysisSourceType! documentNumber:20 documentType:itemLedgerDocumentType! description:100
    quantity:decimal salesAmountActual:decimal costAmountActual:decimal lastModifiedDateTime:datetime
    """
)
_ITEM_VARIANT = _fields(
    """
    id:guid! itemId:guid itemNumber:20 code:10! description:100 lastModifiedDateTime:datetime
    """
)
_LOCATION = _fields(
    """
    id:guid! code:10! displayName:100 contact:100 addressLine1:100 addressLine2:50 city:30 state:30 country:10
    postalCode:20 phoneNumber:30 email:80 website:90 lastModifiedDateTime:datetime
    """
)
_PAYMENT_TERM = _fields(
    """
    id:guid! code:10! displayName:100 dueDateCalculation:text discountDateCalculation:text
    discountPercent:decimal calculateDiscountOnCreditMemos:bool lastModifiedDateTime:datetime
    """
)
_SHIPMENT_METHOD = _fields(
    """
    id:guid! code:10! displayName:100 lastModifiedDateTime:datetime
    """
)
_UNIT_OF_MEASURE = _fields(
    """
    id:guid! code:10! displayName:50 internationalStandardCode:10 symbol:10 lastModifiedDateTime:datetime
    """
)
_SALES_ORDER = _fields(
    """
    id:guid! number:20 externalDocumentNumber:35 orderDate:date postingDate:date customerId:guid
    customerNumber:20! customerName:100 billToName:100 billToCustomerId:guid billToCustomerNumber:20!
    shipToName:100 shipToContact:100 sellToAddressLine1:100 sellToAddressLine2:50 sellToCity:30 sellToCountry:10
    sellToState:30 sellToPostCode:20 billToAddressLine1:100 billToAddressLine2:50 billToCity:30 billToCountry:10
    billToState:30 billToPostCode:20 shipToAddressLine1:100 shipToAddressLine2:50 shipToCity:30 shipToCountry:10
    shipToState:30 shipToPostCode:20 shortcutDimension1Code:20 shortcutDimension2Code:20 currencyId:guid
    currencyCode:text pricesIncludeTax:bool paymentTermsId:guid shipmentMethodId:guid salesperson:20
    partialShipping:bool requestedDeliveryDate:date discountAmount:decimal discountAppliedBeforeTax:bool
    totalAmountExcludingTax:decimal totalTaxAmount:decimal totalAmountIncludingTax:decimal fullyShipped:bool
    status:salesOrderEntityBufferStatus! lastModifiedDateTime:datetime phoneNumber:30 email:80
    """
)
_SALES_ORDER_LINE = _fields(
    """
    id:guid! documentId:guid sequence:int itemId:guid accountId:guid lineType:invoiceLineAggLineType!
    lineObjectNumber:20 description:100 description2:50 unitOfMeasureId:guid unitOfMeasureCode:10
    quantity:decimal unitPrice:decimal discountAmount:decimal discountPercent:decimal
    discountAppliedBeforeTax:bool amountExcludingTax:decimal taxCode:50 taxPercent:decimal
    totalTaxAmount:decimal amountIncludingTax:decimal invoiceDiscountAllocation:decimal netAmount:decimal
    netTaxAmount:decimal netAmountIncludingTax:decimal shipmentDate:date shippedQuantity:decimal
    invoicedQuantity:decimal invoiceQuantity:decimal shipQuantity:decimal itemVariantId:guid locationId:guid
    """
)
_SALES_SHIPMENT = _fields(
    """
    id:guid! number:20 externalDocumentNumber:35 invoiceDate:date postingDate:date dueDate:date
    customerPurchaseOrderReference:35 customerId:guid customerNumber:20! customerName:100 billToCustomerId:guid
    billToName:100 billToCustomerNumber:20! shipToName:100 shipToContact:100 sellToAddressLine1:100
    sellToAddressLine2:50 sellToCity:30 sellToCountry:10 sellToState:30 sellToPostCode:20 billToAddressLine1:100
    billToAddressLine2:50 billToCity:30 billToCountry:10 billToState:30 billToPostCode:20 shipToAddressLine1:100
    shipToAddressLine2:50 shipToCity:30 shipToCountry:10 shipToState:30 shipToPostCode:20 currencyCode:text
    orderNumber:20 paymentTermsCode:10 shipmentMethodCode:10 salesperson:20 pricesIncludeTax:bool
    lastModifiedDateTime:datetime phoneNumber:30 email:80
    """
)
_SALES_SHIPMENT_LINE = _fields(
    """
    id:guid! documentId:guid documentNo:20 sequence:int lineType:salesLineType! lineObjectNumber:20
    description:100 description2:50 unitOfMeasureCode:10 unitPrice:decimal quantity:decimal
    discountPercent:decimal taxPercent:decimal shipmentDate:date
    """
)
_SALES_INVOICE = _fields(
    """
    id:guid! number:20 externalDocumentNumber:35 invoiceDate:date postingDate:date dueDate:date
    promisedPayDate:date customerPurchaseOrderReference:35 customerId:guid customerNumber:20! customerName:100
    billToName:100 billToCustomerId:guid billToCustomerNumber:20! shipToName:100 shipToContact:100
    sellToAddressLine1:100 sellToAddressLine2:50 sellToCity:30 sellToCountry:10 sellToState:30 sellToPostCode:20
    billToAddressLine1:100 billToAddressLine2:50 billToCity:30 billToCountry:10 billToState:30 billToPostCode:20
    shipToAddressLine1:100 shipToAddressLine2:50 shipToCity:30 shipToCountry:10 shipToState:30 shipToPostCode:20
    currencyId:guid shortcutDimension1Code:20 shortcutDimension2Code:20 currencyCode:text orderId:guid
    orderNumber:20 paymentTermsId:guid shipmentMethodId:guid salesperson:20 disputeStatusId:guid
    disputeStatus:10 pricesIncludeTax:bool remainingAmount:decimal discountAmount:decimal
    discountAppliedBeforeTax:bool totalAmountExcludingTax:decimal totalTaxAmount:decimal
    totalAmountIncludingTax:decimal status:invoiceEntityAggregateStatus! lastModifiedDateTime:datetime
    phoneNumber:30 email:80
    """
)
_SALES_INVOICE_LINE = _fields(
    """
    id:guid! documentId:guid sequence:int itemId:guid accountId:guid lineType:invoiceLineAggLineType!
    lineObjectNumber:20 description:100 description2:50 unitOfMeasureId:guid unitOfMeasureCode:10
    quantity:decimal unitPrice:decimal discountAmount:decimal discountPercent:decimal
    discountAppliedBeforeTax:bool amountExcludingTax:decimal taxCode:50 taxPercent:decimal
    totalTaxAmount:decimal amountIncludingTax:decimal invoiceDiscountAllocation:decimal netAmount:decimal
    netTaxAmount:decimal netAmountIncludingTax:decimal shipmentDate:date itemVariantId:guid locationId:guid
    """
)
_SALES_CREDIT_MEMO = _fields(
    """
    id:guid! number:20 externalDocumentNumber:35 creditMemoDate:date postingDate:date dueDate:date
    customerId:guid customerNumber:20! customerName:100 billToName:100 billToCustomerId:guid
    billToCustomerNumber:20! sellToAddressLine1:100 sellToAddressLine2:50 sellToCity:30 sellToCountry:10
    sellToState:30 sellToPostCode:20 billToAddressLine1:100 billToAddressLine2:50 billToCity:30 billToCountry:10
    billToState:30 billToPostCode:20 shortcutDimension1Code:20 shortcutDimension2Code:20 currencyId:guid
    currencyCode:text paymentTermsId:guid shipmentMethodId:guid salesperson:20 pricesIncludeTax:bool
    discountAmount:decimal discountAppliedBeforeTax:bool totalAmountExcludingTax:decimal totalTaxAmount:decimal
    totalAmountIncludingTax:decimal status:salesCrMemoEntityBufferStatus! lastModifiedDateTime:datetime
    invoiceId:guid invoiceNumber:20 phoneNumber:30 email:80 customerReturnReasonId:guid
    """
)
_SALES_CREDIT_MEMO_LINE = _fields(
    """
    id:guid! documentId:guid sequence:int itemId:guid accountId:guid lineType:invoiceLineAggLineType!
    lineObjectNumber:20 description:100 description2:50 unitOfMeasureId:guid unitOfMeasureCode:10
    unitPrice:decimal quantity:decimal discountAmount:decimal discountPercent:decimal
    discountAppliedBeforeTax:bool amountExcludingTax:decimal taxCode:50 taxPercent:decimal
    totalTaxAmount:decimal amountIncludingTax:decimal invoiceDiscountAllocation:decimal netAmount:decimal
    netTaxAmount:decimal netAmountIncludingTax:decimal shipmentDate:date itemVariantId:guid locationId:guid
    """
)
_SUBSCRIPTIONS = _fields(
    """
    subscriptionId:150! notificationUrl:text! resource:text! timestamp:bigint userId:guid
    lastModifiedDateTime:datetime clientState:2048 expirationDateTime:datetime systemCreatedAt:datetime
    systemCreatedBy:guid systemModifiedAt:datetime systemModifiedBy:guid
    """
)

_COMPUTED_LINE = _names(
    "id discountAppliedBeforeTax amountExcludingTax taxPercent totalTaxAmount amountIncludingTax",
    "invoiceDiscountAllocation netAmount netTaxAmount netAmountIncludingTax",
)
_COMPUTED_HEADER = _names(
    "id number customerName billToName billToAddressLine1 billToAddressLine2 billToCity billToCountry billToState",
    "billToPostCode discountAppliedBeforeTax totalAmountExcludingTax totalTaxAmount totalAmountIncludingTax status",
    "lastModifiedDateTime",
)
_STAMPED = _names("id lastModifiedDateTime")

ENTITIES = _entities(
    Entity("companies", "Company", _COMPANY, insert=False, modify=False, delete=False),
    Entity("currencies", "Currency", _CURRENCY, _STAMPED, webhooks=True),
    Entity("customers", "Customer", _CUSTOMER, _names(_STAMPED, "balanceDue taxAreaDisplayName"), webhooks=True),
    Entity("items", "Item", _ITEM, _STAMPED, {"itemVariants": "itemVariants"}, webhooks=True),
    Entity("itemVariants", "Item Variant", _ITEM_VARIANT, _STAMPED),
    Entity("locations", "Location", _LOCATION, _STAMPED),
    Entity("paymentTerms", "Payment Terms", _PAYMENT_TERM, _STAMPED, webhooks=True),
    Entity("shipmentMethods", "Shipment Method", _SHIPMENT_METHOD, _STAMPED, webhooks=True),
    Entity("unitsOfMeasure", "Unit of Measure", _UNIT_OF_MEASURE, _STAMPED, webhooks=True),
    Entity(
        "salesOrders",
        "Sales Order Entity Buffer",
        _SALES_ORDER,
        _names(_COMPUTED_HEADER, "fullyShipped"),
        {"salesOrderLines": "salesOrderLines"},
        actions=frozenset({"shipAndInvoice"}),
        webhooks=True,
    ),
    Entity(
        "salesOrderLines",
        "Sales Invoice Line Aggregate",
        _SALES_ORDER_LINE,
        _names(_COMPUTED_LINE, "shippedQuantity invoicedQuantity"),
    ),
    Entity(
        "salesInvoices",
        "Sales Invoice Entity Aggregate",
        _SALES_INVOICE,
        _names(_COMPUTED_HEADER, "orderId orderNumber remainingAmount promisedPayDate"),
        {"salesInvoiceLines": "salesInvoiceLines"},
        actions=frozenset({"post"}),
        webhooks=True,
    ),
    Entity("salesInvoiceLines", "Sales Invoice Line Aggregate", _SALES_INVOICE_LINE, _COMPUTED_LINE),
    Entity(
        "salesCreditMemos",
        "Sales Cr. Memo Entity Buffer",
        _SALES_CREDIT_MEMO,
        _names(_COMPUTED_HEADER, "invoiceId invoiceNumber"),
        {"salesCreditMemoLines": "salesCreditMemoLines"},
        actions=frozenset({"post"}),
        webhooks=True,
    ),
    Entity("salesCreditMemoLines", "Sales Invoice Line Aggregate", _SALES_CREDIT_MEMO_LINE, _COMPUTED_LINE),
    Entity(
        "salesShipments",
        "Sales Shipment Header",
        _SALES_SHIPMENT,
        expands={"salesShipmentLines": "salesShipmentLines"},
        insert=False,
        modify=False,
        delete=False,
    ),
    Entity("salesShipmentLines", "Sales Shipment Line", _SALES_SHIPMENT_LINE, insert=False, modify=False, delete=False),
    Entity("itemLedgerEntries", "Item Ledger Entry", _ITEM_LEDGER_ENTRY, insert=False, modify=False, delete=False),
    Entity(
        "subscriptions",
        "Subscription",
        _SUBSCRIPTIONS,
        _names(
            "subscriptionId timestamp userId lastModifiedDateTime expirationDateTime systemCreatedAt systemCreatedBy",
            "systemModifiedAt systemModifiedBy",
        ),
    ),
)

PARENT_OF_LINES = {
    "salesOrderLines": "salesOrders",
    "salesInvoiceLines": "salesInvoices",
    "salesCreditMemoLines": "salesCreditMemos",
    "salesShipmentLines": "salesShipments",
}
"""Sets that exist only under their document."""
