"""Where does a return stand? The one record that says what was agreed, what came, and what was done about it in each system."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from crossdock.domain.identifiers import ConnectionName, ExternalId, LineId, LocationCode, OrderId, ReturnId, Sku
from crossdock.domain.model import ExactDecimal, Instant, Model, Name, Text
from crossdock.domain.money import Money
from crossdock.domain.order_record import Approval
from crossdock.domain.quantity import Quantity
from crossdock.domain.return_ import Disposition, Return, ReturnReceipt
from crossdock.domain.waiting import Waiting


class ReturnStatus(StrEnum):
    REQUESTED = "requested"
    HELD = "held"
    """A person decides whether it is authorised."""
    AUTHORISED = "authorised"
    """The goods are expected."""
    PARTIALLY_RECEIVED = "partially_received"
    SETTLING = "settling"
    """What came is being credited and refunded."""
    CLOSED = "closed"
    CALLING_OFF = "calling_off"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"
    """By the customer, before anything came."""
    EXPIRED = "expired"
    """Nothing came within the time the policy gives."""


OVER = frozenset({ReturnStatus.CLOSED, ReturnStatus.DECLINED, ReturnStatus.WITHDRAWN, ReturnStatus.EXPIRED})


class AgreedLine(Model):
    """One line of the return against the line of the order: base units, and the whole order line's amounts to take the share from."""

    line_id: LineId
    external_line_id: ExternalId
    """The storefront's id of the line."""
    sku: Sku
    requested: Quantity
    """As it was asked for."""
    quantity: ExactDecimal
    """Base units that may come back."""
    ordered: ExactDecimal
    """Base units of the whole order line."""
    returned_before: ExactDecimal
    """Base units that other returns of the order hold."""
    net: Money
    tax: Money
    reason: Text = ""


class SettledLine(Model):
    """So many base units of a line came and are paid for: ``net`` and ``tax`` are what is given back."""

    line_id: LineId
    sku: Sku
    quantity: ExactDecimal
    disposition: Disposition
    net: Money
    tax: Money


class CreditMemo(Model):
    """The ERP's document. ``total`` is what the ERP computed, tax included."""

    external_id: ExternalId
    number: Name
    total: Money | None = None


class ReturnRecord(Model):
    """The aggregate. Changed only by ``change`` through conditional writes on ``version``."""

    return_id: ReturnId
    version: int = 0
    status: ReturnStatus
    request: Return
    order_id: OrderId
    source: ConnectionName
    """Who asked for it."""
    storefront: ConnectionName
    """Where the order was placed: it shows the return to the customer and gives the money back."""
    accepted_at: Instant
    updated_at: Instant
    location: LocationCode | None = None
    """Where the goods are to come."""
    lines: tuple[AgreedLine, ...] = ()
    approvals: tuple[Approval, ...] = ()
    authorised_at: Instant | None = None
    expected_by: Instant | None = None
    receipts: tuple[ReturnReceipt, ...] = ()
    settled: tuple[SettledLine, ...] = ()
    storefront_id: ExternalId | None = None
    """The storefront's id of the return."""
    warehouse_id: ExternalId | None = None
    """The warehouse's id of the return it expects."""
    credit_memo: CreditMemo | None = None
    refunded: Money | None = None
    exchange_order: OrderId | None = None
    ending: ReturnStatus | None = None
    """Nothing is to come of it: how it will end once everybody has been told."""
    ending_reason: Text = ""
    sent: tuple[str, ...] = ()
    """Commands that have been sent out."""
    told: tuple[str, ...] = ()
    """Commands whose effect is confirmed (or that the system in question does not take)."""
    waiting: Waiting | None = None
    answered: tuple[str, ...] = ()
    """Marks of tokens that wait no more."""
    due_at: Instant | None = None
    closed_at: Instant | None = None

    @property
    def over(self) -> bool:
        return self.status in OVER

    @property
    def held_base(self) -> dict[str, Decimal]:
        """Base units per order line that no other return may claim: what is agreed and may still come, or what came."""
        if self.status in (ReturnStatus.DECLINED, ReturnStatus.WITHDRAWN, ReturnStatus.EXPIRED):
            return {}
        if self.settled:
            sums: dict[str, Decimal] = {}
            for line in self.settled:
                sums[line.line_id] = sums.get(line.line_id, Decimal(0)) + line.quantity
            return sums
        return {line.line_id: line.quantity for line in self.lines}

    @property
    def value(self) -> Money | None:
        """What is given back, tax included; None before it is known."""
        if not self.settled:
            return None
        return Money.sum((amount for line in self.settled for amount in (line.net, line.tax)), self.settled[0].net.currency)
