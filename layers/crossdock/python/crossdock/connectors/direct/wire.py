"""What may a client send to POST /v1/orders, /v1/inventory, /v1/prices, /v1/customers and /v1/returns?

Closed: an unknown field is refused, so that nothing a client means is dropped silently.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from crossdock.domain.identifiers import LocationCode, ReturnId, Sku
from crossdock.domain.model import Instant
from crossdock.domain.return_ import Disposition

Amount = Annotated[Decimal, Field(ge=0, max_digits=18, decimal_places=6, allow_inf_nan=False)]
Text = Annotated[str, StringConstraints(max_length=255)]


def _printable(value: str) -> str:
    if any(ord(char) < 32 for char in value):
        raise ValueError("control characters are not allowed")
    return value


def _not_float(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a truth value is no number")
    return value


AccountNumber = Annotated[str, StringConstraints(min_length=1, max_length=60), AfterValidator(_printable)]
Exact = Annotated[Amount, BeforeValidator(_not_float)]
Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,60}$")]


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", defer_build=True)


class SubmittedAddress(Closed):
    name: Text = ""
    company: Text = ""
    line1: Annotated[Text, AfterValidator(_printable)] = ""
    line2: Text = ""
    city: Text = ""
    region: Text = ""
    postal_code: Text = ""
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
    phone: Text = ""
    email: Text = ""


class SubmittedLine(Closed):
    """``unit_price`` net per ordered unit, ``discount`` and ``tax`` of the whole line."""

    line_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,60}$")] | None = None
    sku: Annotated[str, StringConstraints(min_length=1, max_length=120)]
    description: Text = ""
    quantity: Annotated[Exact, Field(gt=0)]
    unit: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{1,10}$")] = "EA"
    unit_price: Exact
    discount: Exact = Decimal(0)
    tax: Exact = Decimal(0)
    group: Text | None = None


class ReportedStock(Closed):
    """What the owner of a location's stock says of one SKU there, in the SKU's base unit: either a count (``on_hand``) at one moment,
    or one movement (``change`` with the owner's own ``adjustment_id``)."""

    sku: Sku
    location: LocationCode
    at: Instant
    on_hand: Exact | None = None
    change: Annotated[Decimal, Field(max_digits=18, decimal_places=6, allow_inf_nan=False), BeforeValidator(_not_float)] | None = None
    adjustment_id: Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,120}$")] | None = None
    reason: Text = ""
    expected: Exact | None = None
    expected_at: Instant | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> ReportedStock:
        if (self.on_hand is None) == (self.change is None):
            raise ValueError("needs either on_hand (a count) or change (a movement)")
        if (self.change is None) != (self.adjustment_id is None):
            raise ValueError("adjustment_id goes with change: your own id of the movement")
        if self.change == 0:
            raise ValueError("a movement of nothing is none")
        if self.change is not None and (self.expected is not None or self.expected_at is not None):
            raise ValueError("expected goes with a count")
        if self.expected_at is not None and self.expected is None:
            raise ValueError("expected_at needs expected")
        return self


class StockReport(Closed):
    """POST /v1/inventory: up to 200 counts and movements; each is taken by itself, the newest of a SKU and location is what holds."""

    reports: Annotated[list[ReportedStock], Field(min_length=1, max_length=200)]


class SubmittedPrice(Closed):
    """One net price per ``unit`` of a SKU since ``as_of``: the list price; or with ``account`` that account's own, with ``minimum`` from that quantity on,
    with ``valid_from`` and ``valid_until`` for a time. ``requested_by``: who changed it, for the one who has to let it pass. ``ended``: it is valid no more."""

    sku: Sku
    unit: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{1,10}$")] = "EA"
    amount: Annotated[Exact, Field(gt=0)]
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    account: AccountNumber | None = None
    minimum: Annotated[Exact, Field(gt=0)] | None = None
    valid_from: Instant | None = None
    valid_until: Instant | None = None
    as_of: Instant
    requested_by: Text = ""
    ended: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> SubmittedPrice:
        if self.valid_from is not None and self.valid_until is not None and self.valid_until <= self.valid_from:
            raise ValueError("valid_until must be after valid_from")
        return self


class PriceReport(Closed):
    """POST /v1/prices: up to 200 prices; each is taken by itself, the newest word on a price is what holds."""

    prices: Annotated[list[SubmittedPrice], Field(min_length=1, max_length=200)]


class SubmittedCredit(Closed):
    amount: Exact
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]


class SubmittedAccount(Closed):
    """An account with its terms since ``as_of``. ``credit_limit`` left out: there is no limit. ``requested_by``: who changed it."""

    account: AccountNumber
    name: Text = ""
    blocked: bool = False
    credit_limit: SubmittedCredit | None = None
    payment_terms: Text | None = None
    tax_liable: bool | None = None
    as_of: Instant
    requested_by: Text = ""


class AccountReport(Closed):
    """POST /v1/customers: up to 200 accounts."""

    accounts: Annotated[list[SubmittedAccount], Field(min_length=1, max_length=200)]


class SubmittedReturnLine(Closed):
    """``line_id`` is the order line's; without it the line is found by SKU. ``quantity`` in any unit of the SKU."""

    sku: Sku
    line_id: Annotated[str, StringConstraints(min_length=1, max_length=80)] | None = None
    quantity: Annotated[Exact, Field(gt=0)]
    unit: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{1,10}$")] = "EA"
    reason: Text = ""


class WantedLine(Closed):
    """What is wanted instead; ``unit_price`` net per unit as agreed with the customer."""

    sku: Sku
    quantity: Annotated[Exact, Field(gt=0)]
    unit: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{1,10}$")] = "EA"
    unit_price: Exact


class SubmittedReturn(Closed):
    """``external_id`` is the client's own id of the return, ``order_id`` the order's id here. ``currency`` goes with ``exchange``."""

    external_id: Key
    number: Annotated[str, StringConstraints(min_length=1, max_length=60)] | None = None
    order_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,78}$")]
    requested_at: Instant | None = None
    lines: Annotated[list[SubmittedReturnLine], Field(min_length=1, max_length=200)]
    exchange: Annotated[list[WantedLine], Field(max_length=50)] = []
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] | None = None
    note: Annotated[str, StringConstraints(max_length=1000)] = ""

    @model_validator(mode="after")
    def _priced(self) -> SubmittedReturn:
        if self.exchange and self.currency is None:
            raise ValueError("exchange needs the currency of its prices")
        return self


class SubmittedReceiptLine(Closed):
    """So many base units of the SKU came; ``disposition``: what becomes of them."""

    sku: Sku
    quantity: Annotated[Exact, Field(gt=0)]
    disposition: Disposition
    note: Text = ""


class SubmittedReceipt(Closed):
    """POST /v1/returns/{id}/receipts. ``receipt_id`` is the sender's own; ``complete``: nothing more is expected."""

    receipt_id: Key
    received_at: Instant | None = None
    lines: Annotated[list[SubmittedReceiptLine], Field(max_length=200)] = []
    complete: bool = False


class AddressedReceipt(Closed):
    """The receipt with the return it was posted to."""

    return_id: ReturnId
    receipt: SubmittedReceipt


class SubmittedOrder(Closed):
    """``external_id`` is the client's own id of the order: the same id is the same order, whatever Idempotency-Key it comes under."""

    external_id: Key
    number: Annotated[str, StringConstraints(min_length=1, max_length=60)] | None = None
    placed_at: Instant | None = None
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    account: Annotated[str, StringConstraints(min_length=1, max_length=60)]
    ship_to: SubmittedAddress
    bill_to: SubmittedAddress | None = None
    lines: Annotated[list[SubmittedLine], Field(min_length=1, max_length=500)]
    freight: Exact = Decimal(0)
    freight_tax: Exact = Decimal(0)
    shipping_method: Text = ""
    total: Exact | None = None
    purchase_order: Text = ""
    note: Annotated[str, StringConstraints(max_length=1000)] = ""
