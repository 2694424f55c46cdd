"""May this come back without asking anybody, and what is given back for what came? Pure rules over the order, the return and the tenant's policy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from fractions import Fraction

from crossdock.domain.model import plain
from crossdock.domain.money import Money
from crossdock.domain.policy import HUNDRED, Hold
from crossdock.domain.return_ import Disposition, ReceivedLine, Return
from crossdock.domain.return_record import AgreedLine, ReturnRecord, SettledLine
from crossdock.domain.tenant import HoldKind, Returns

FINEST_PRICE = Decimal("0.0001")


def not_eligible(lines: Iterable[AgreedLine], shipped: Mapping[str, Decimal]) -> Hold | None:
    """More than has left and is not coming back already. No approval helps: the customer does not have it."""
    wrong = {
        line.line_id: f"{plain(line.quantity)} of {line.sku} to come back, {plain(max(Decimal(0), shipped.get(line.line_id, Decimal(0)) - line.returned_before))} can"
        for line in lines
        if line.quantity > shipped.get(line.line_id, Decimal(0)) - line.returned_before
    }
    if not wrong:
        return None
    told = "; ".join(wrong.values())
    return Hold(HoldKind.RETURN, "RETURN_NOT_ELIGIBLE", f"more is asked for than can come back: {told}"[:900], "reject it, or retry when more has been shipped", wrong)


def for_a_person(request: Return, lines: Iterable[AgreedLine], *, shipped_at: datetime, value: Money, policy: Returns) -> Hold | None:
    """What the policy does not authorise by itself."""
    reasons: dict[str, str] = {}
    if request.requested_at > shipped_at + timedelta(days=policy.window_days):
        reasons["window"] = f"asked for {(request.requested_at - shipped_at).days} days after the goods left, the policy gives {policy.window_days}"
    if value.amount > policy.authorise_up_to:
        reasons["value"] = f"worth {value}, the policy authorises up to {plain(policy.authorise_up_to)}"
    for line in lines:
        word = next((word for word in policy.reasons_for_a_person if word.lower() in line.reason.lower()), None)
        if word is not None:
            reasons[f"reason {line.line_id}"] = line.reason[:200]
    if request.needs_person:
        reasons["sender"] = request.needs_person
    if not reasons:
        return None
    return Hold(HoldKind.RETURN, "RETURN_AUTHORISATION", "; ".join(reasons.values())[:900], "approve, and the goods are expected; reject, and the customer is told", reasons)


def worth(line: AgreedLine, quantity: Decimal, *, before: Decimal) -> tuple[Money, Money]:
    """(net, tax) of so many base units of the order line, ``before`` of which were given back already.

    Each share is what the running total grows by, so however a line is split, all of it is never more than was paid."""

    def share(amount: Money, part: Decimal) -> Money:
        exact = Fraction(amount.amount) * Fraction(part) / Fraction(line.ordered)
        return Money(amount=(Decimal(exact.numerator) / Decimal(exact.denominator)), currency=amount.currency).rounded()

    def grown(amount: Money) -> Money:
        return share(amount, before + quantity) - share(amount, before)

    return grown(line.net), grown(line.tax)


def value_of(lines: Iterable[AgreedLine], currency: str) -> Money:
    return Money.sum((amount for line in lines for amount in worth(line, line.quantity, before=line.returned_before)), currency)


def settled(record: ReturnRecord, policy: Returns) -> tuple[tuple[SettledLine, ...], dict[str, Decimal]]:
    """What is paid for of everything that came; and, by SKU, what came beyond what was agreed (base units)."""
    left = {line.line_id: line.quantity for line in record.lines}
    given: dict[str, Decimal] = {line.line_id: line.returned_before for line in record.lines}
    sums: dict[tuple[str, Disposition], SettledLine] = {}
    beyond: dict[str, Decimal] = {}
    for received in _in_order(record):
        remaining = received.quantity
        for line in (line for line in record.lines if line.sku == received.sku):
            taken = min(remaining, left[line.line_id])
            if taken > 0:
                percent = policy.percent(received.disposition) / HUNDRED
                net, tax = (amount * percent for amount in worth(line, taken, before=given[line.line_id]))
                left[line.line_id] -= taken
                given[line.line_id] += taken
                remaining -= taken
                key = (line.line_id, received.disposition)
                before = sums.get(key)
                sums[key] = SettledLine(
                    line_id=line.line_id,
                    sku=line.sku,
                    quantity=taken + (before.quantity if before else Decimal(0)),
                    disposition=received.disposition,
                    net=net.rounded() + (before.net if before else Money.zero(net.currency)),
                    tax=tax.rounded() + (before.tax if before else Money.zero(tax.currency)),
                )
        if remaining > 0:
            beyond[received.sku] = beyond.get(received.sku, Decimal(0)) + remaining
    return tuple(sums.values()), beyond


def _in_order(record: ReturnRecord) -> list[ReceivedLine]:
    """By when and under which id they came: the same receipts make the same settlement, in whatever order they were heard of."""
    return [line for receipt in sorted(record.receipts, key=lambda receipt: (receipt.received_at, receipt.receipt_id)) for line in receipt.lines]


def all_here(record: ReturnRecord) -> bool:
    """Whether everything agreed has come, or the warehouse says that no more will."""
    if any(receipt.complete for receipt in record.receipts):
        return True
    wanted: dict[str, Decimal] = {}
    for line in record.lines:
        wanted[line.sku] = wanted.get(line.sku, Decimal(0)) + line.quantity
    for received in _in_order(record):
        wanted[received.sku] = wanted.get(received.sku, Decimal(0)) - received.quantity
    return bool(record.lines) and all(left <= 0 for sku, left in wanted.items() if any(line.sku == sku for line in record.lines))


def unit_price(net: Money, quantity: Decimal) -> tuple[Money, Money]:
    """(unit price, discount) of which ``unit_price * quantity - discount`` is exactly ``net``; the price is rounded up to the hundredth of a cent."""
    price = (net.amount / quantity).quantize(FINEST_PRICE, ROUND_CEILING)
    return Money(amount=price, currency=net.currency), Money(amount=price * quantity - net.amount, currency=net.currency)
