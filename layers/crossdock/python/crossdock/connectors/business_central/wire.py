"""What does Business Central send and take? The parts of API v2.0 that are used, in the vendor's own names, types and lengths.

Entities: https://learn.microsoft.com/dynamics365/business-central/dev-itpro/api-reference/v2.0/
"""
# ruff: noqa: N815 - the names are the vendor's

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from crossdock.domain.model import ExactDecimal, Instant, plain

NO_ID = "00000000-0000-0000-0000-000000000000"
"""An unset reference."""


def _text(max_length: int) -> StringConstraints:
    return StringConstraints(max_length=max_length)


Code10 = Annotated[str, _text(10)]
Code20 = Annotated[str, _text(20)]
Text30 = Annotated[str, _text(30)]
Text35 = Annotated[str, _text(35)]
Text50 = Annotated[str, _text(50)]
Text80 = Annotated[str, _text(80)]
Text100 = Annotated[str, _text(100)]
Key = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
NotNegative = Annotated[ExactDecimal, Field(ge=0)]
Sequence32 = Annotated[int, Field(ge=0, lt=2**31)]


# ------------------------------------------------------------------ what it sends
class Inbound(BaseModel):
    """New properties of the vendor are no concern of ours; missing or mistyped ones that we use are."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class Versioned(Inbound):
    etag: str = Field(alias="@odata.etag")
    """The concurrency token for If-Match."""
    id: Key


class SalesOrderLine(Versioned):
    sequence: int
    lineType: str
    lineObjectNumber: str
    quantity: ExactDecimal
    shippedQuantity: ExactDecimal
    invoicedQuantity: ExactDecimal
    shipQuantity: ExactDecimal
    invoiceQuantity: ExactDecimal
    netAmount: ExactDecimal
    netAmountIncludingTax: ExactDecimal
    locationId: str


class SalesOrder(Versioned):
    number: str
    externalDocumentNumber: str
    currencyCode: Currency
    totalAmountIncludingTax: ExactDecimal
    totalTaxAmount: ExactDecimal
    salesOrderLines: tuple[SalesOrderLine, ...]


class CreditMemo(Inbound):
    """A draft, or posted under its final number."""

    id: Key
    number: Code20
    currencyCode: Currency
    totalAmountIncludingTax: ExactDecimal
    totalTaxAmount: ExactDecimal
    status: Literal["Draft", "In_x0020_Review", "Open", "Canceled", "Corrective", "Paid"]


class SalesInvoiceLine(Inbound):
    sequence: int
    quantity: ExactDecimal
    locationId: str


class SalesInvoice(Inbound):
    id: Key
    number: Code20
    orderNumber: Annotated[Code20, StringConstraints(min_length=1)]
    currencyCode: Currency
    totalAmountIncludingTax: ExactDecimal
    totalTaxAmount: ExactDecimal
    status: str
    lastModifiedDateTime: Instant
    salesInvoiceLines: tuple[SalesInvoiceLine, ...] = ()


class SalesShipmentLine(Inbound):
    sequence: Sequence32
    lineType: str
    lineObjectNumber: Code20
    description: Text100
    description2: Text50
    quantity: ExactDecimal


class SalesShipment(Inbound):
    number: Annotated[Code20, StringConstraints(min_length=1)]
    externalDocumentNumber: Text35
    orderNumber: Code20
    lastModifiedDateTime: Instant
    salesShipmentLines: tuple[SalesShipmentLine, ...]


class PolledShipment(Inbound):
    """What a poll hands on: the vendor's shipment, and the location codes of its lines by sequence.

    The vendor's shipment lines do not say where they left from; its order and invoice lines do. A line that neither
    knows any more is absent.
    """

    salesShipment: SalesShipment
    locationCodes: dict[Sequence32, Code10]


class OpenOrderLine(Inbound):
    quantity: ExactDecimal
    invoicedQuantity: ExactDecimal
    netAmountIncludingTax: ExactDecimal


class OpenOrder(Inbound):
    salesOrderLines: tuple[OpenOrderLine, ...]


class Customer(Inbound):
    number: Annotated[Code20, StringConstraints(min_length=1)]
    creditLimit: ExactDecimal
    balanceDue: ExactDecimal
    blocked: str
    currencyCode: Currency


class Item(Inbound):
    number: Code20
    unitPrice: ExactDecimal
    priceIncludesTax: bool
    baseUnitOfMeasureCode: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{1,10}$")]
    blocked: bool


class ChangedItem(Item):
    number: Annotated[Code20, StringConstraints(min_length=1)]
    unitPrice: NotNegative
    displayName: Text100
    gtin: str
    lastModifiedDateTime: Instant


class Stamped(Inbound):
    lastModifiedDateTime: Instant


class PolledItems(Inbound):
    """What a poll of items hands on: some of those that have changed, as the vendor shows them."""

    items: tuple[ChangedItem, ...]


class ChangedCustomer(Inbound):
    number: Annotated[Code20, StringConstraints(min_length=1)]
    displayName: Text100
    creditLimit: NotNegative
    taxLiable: bool
    blocked: str
    currencyCode: Currency
    paymentTermsId: str
    lastModifiedDateTime: Instant


class PolledCustomers(Inbound):
    """Some of the customers that have changed, and the codes of their payment terms by id."""

    customers: tuple[ChangedCustomer, ...]
    paymentTermsCodes: dict[str, Code10]


class PaymentTerm(Inbound):
    id: str
    code: Code10


class Location(Inbound):
    id: str
    code: str


class Token(Inbound):
    access_token: Annotated[str, StringConstraints(min_length=1)]
    expires_in: Annotated[int, Field(ge=0, le=10**7)]


class ErrorDetail(Inbound):
    code: str
    message: str


class ErrorBody(Inbound):
    error: ErrorDetail


class Page(Inbound):
    """A page of a collection; its records are validated one by one, so that a mistake names its place."""

    value: tuple[dict[str, object], ...]
    next_link: str | None = Field(default=None, alias="@odata.nextLink")


# ------------------------------------------------------------------ what it takes
class Outbound(BaseModel):
    """Nothing leaves that the vendor's contract does not name, and nothing longer than it holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class NewSalesOrderLine(Outbound):
    """The vendor validates a line's properties in the order they are sent: what it is about comes first."""

    sequence: int
    lineType: str
    lineObjectNumber: Code20
    locationId: str | None = None
    description: Text100 | None = None
    description2: Text50 | None = None
    unitOfMeasureCode: Code10 | None = None
    quantity: ExactDecimal
    unitPrice: ExactDecimal
    discountAmount: ExactDecimal | None = None


class NewSalesOrder(Outbound):
    customerNumber: Code20
    externalDocumentNumber: Text35
    orderDate: str
    currencyCode: Code10
    shipToName: Text100
    shipToContact: Text100
    shipToAddressLine1: Text100
    shipToAddressLine2: Text50
    shipToCity: Text30
    shipToCountry: Code10
    shipToState: Text30
    shipToPostCode: Code20
    phoneNumber: Text30 | None = None
    email: Text80 | None = None
    salesOrderLines: tuple[NewSalesOrderLine, ...]


class NewCreditMemoLine(Outbound):
    """As of a sales order: what it is about comes first."""

    sequence: int
    lineType: str
    lineObjectNumber: Code20
    locationId: str | None = None
    description: Text100 | None = None
    unitOfMeasureCode: Code10 | None = None
    quantity: ExactDecimal
    unitPrice: ExactDecimal
    discountAmount: ExactDecimal | None = None


class NewCreditMemo(Outbound):
    customerNumber: Code20
    externalDocumentNumber: Text35
    currencyCode: Code10
    salesCreditMemoLines: tuple[NewCreditMemoLine, ...]


class LineLocation(Outbound):
    locationId: Key


class LineQuantities(Outbound):
    """What the next posting is to do with one line."""

    shipQuantity: ExactDecimal
    invoiceQuantity: ExactDecimal


def body_of(model: Outbound) -> bytes:
    """The model as JSON with exact numbers; what is None is left out."""
    return to_json(model.model_dump(exclude_none=True))


def to_json(value: Mapping[str, object]) -> bytes:
    """A JSON object with its decimals as exact numbers."""
    return _json(value).encode()


def _json(value: object) -> str:
    # The standard encoder writes decimals only as binary floats or as texts; the vendor takes neither for money.
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(name)}:{_json(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(_json(inner) for inner in value) + "]"
    return json.dumps(value)


def text_literal(text: str) -> str:
    """A text as OData writes it."""
    return "'" + text.replace("'", "''") + "'"


def moment_literal(moment: datetime) -> str:
    """A point in time (UTC) as OData writes it, to the millisecond the vendor keeps."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
