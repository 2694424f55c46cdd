"""How does a submitted order become the canonical one?"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal, localcontext
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from crossdock.connectors.direct import wire
from crossdock.domain.address import Address
from crossdock.domain.customer import Account, Customer, Terms
from crossdock.domain.errors import FieldProblem, Rejected
from crossdock.domain.events import AccountChanged, PriceChanged, StockAdjusted, StockCounted
from crossdock.domain.money import Money
from crossdock.domain.order import Order, OrderLine
from crossdock.domain.price import Price
from crossdock.domain.quantity import Quantity
from crossdock.domain.return_ import ExchangeLine, ReceivedLine, Return, ReturnLine, ReturnReceipt
from crossdock.domain.stock import StockAdjustment, StockReading

MOST_DIGITS, MOST_INTEGER_DIGITS = 24, 14
"""Of one line's worth; 500 lines, their tax and the freight then still add up exactly."""


Submitted = TypeVar("Submitted", bound=BaseModel)


def parsed(kind: type[Submitted], value: object) -> Submitted:
    """The wire document, or ``Rejected`` INVALID_BODY with every field path that is wrong."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        problems = [FieldProblem(".".join(str(part) for part in problem["loc"]) or "(body)", problem["msg"]) for problem in error.errors(include_input=False, include_url=False)]
        raise Rejected("INVALID_BODY", f"{len(problems)} field(s) are not valid", remedy="correct the fields named and send it again", fields=problems) from error


def stock_from_wire(report: wire.StockReport) -> list[StockCounted | StockAdjusted]:
    """One fact per report, in the order given."""
    return [_fact(one) for one in report.reports]


def _fact(one: wire.ReportedStock) -> StockCounted | StockAdjusted:
    if one.change is not None:
        moved = StockAdjustment(sku=one.sku, location=one.location, adjustment_id=one.adjustment_id or "", change=one.change, reason=one.reason, occurred_at=one.at)
        return StockAdjusted(adjustment=moved)
    on_hand = one.on_hand if one.on_hand is not None else Decimal(0)
    return StockCounted(reading=StockReading(sku=one.sku, location=one.location, on_hand=on_hand, as_of=one.at, expected=one.expected, expected_at=one.expected_at))


def prices_from_wire(report: wire.PriceReport) -> list[PriceChanged]:
    """One fact per price, in the order given."""
    return [
        PriceChanged(
            price=Price(
                sku=one.sku,
                unit=one.unit,
                price=Money(amount=one.amount, currency=one.currency),
                account=one.account,
                minimum=None if one.minimum is None else Quantity(value=one.minimum, unit=one.unit),
                valid_from=one.valid_from,
                valid_until=one.valid_until,
            ),
            as_of=one.as_of,
            requested_by=one.requested_by,
            ended=one.ended,
        )
        for one in report.prices
    ]


def accounts_from_wire(report: wire.AccountReport) -> list[AccountChanged]:
    """One fact per account, in the order given."""
    found = []
    for one in report.accounts:
        limit = None if one.credit_limit is None else Money(amount=one.credit_limit.amount, currency=one.credit_limit.currency)
        terms = Terms(credit_limit=limit, payment=one.payment_terms, tax_liable=one.tax_liable)
        found.append(AccountChanged(account=Account(account=one.account, name=one.name, blocked=one.blocked, terms=terms), as_of=one.as_of, requested_by=one.requested_by))
    return found


def _exact_amounts(order: wire.SubmittedOrder) -> None:
    """Refuses a line whose quantity times price is too large to be held exactly: rounding it silently would change what is paid."""
    problems = []
    with localcontext(prec=60):
        for index, line in enumerate(order.lines):
            gross = line.quantity * line.unit_price
            if gross.adjusted() > MOST_INTEGER_DIGITS or len(gross.normalize().as_tuple().digits) > MOST_DIGITS:
                problems.append(FieldProblem(f"lines.{index}.quantity", "times unit_price has more digits than can be held exactly"))
            elif line.discount > gross:
                problems.append(FieldProblem(f"lines.{index}.discount", "is more than the line is worth"))
    if problems:
        raise Rejected("INVALID_BODY", f"{len(problems)} line(s) do not add up", remedy="correct the fields named and send it again", fields=problems)


def _address_from_wire(address: wire.SubmittedAddress) -> Address:
    return Address(**address.model_dump())


def order_from_wire(order: wire.SubmittedOrder, *, connection: str, received_at: datetime) -> Order:
    """Amounts in the order's currency; a total that is not stated is what the parts make."""

    _exact_amounts(order)

    def money(amount: Decimal) -> Money:
        return Money(amount=amount, currency=order.currency)

    lines = tuple(
        OrderLine(
            line_id=line.line_id or str(position),
            external_id=line.line_id or str(position),
            sku=line.sku,
            description=line.description,
            quantity=Quantity(value=line.quantity, unit=line.unit),
            unit_price=money(line.unit_price),
            discount=money(line.discount),
            tax=money(line.tax),
            group=line.group or None,
        )
        for position, line in enumerate(order.lines, start=1)
    )
    try:
        made = Order(
            order_id=f"{connection}-{order.external_id}",
            connection=connection,
            external_id=order.external_id,
            number=order.number or order.external_id,
            placed_at=order.placed_at or received_at,
            currency=order.currency,
            customer=Customer(external_ids=(order.account,), name=order.ship_to.name, email=order.ship_to.email, company=order.ship_to.company),
            ship_to=_address_from_wire(order.ship_to),
            bill_to=_address_from_wire(order.bill_to) if order.bill_to else None,
            lines=lines,
            freight=money(order.freight),
            freight_tax=money(order.freight_tax),
            shipping_method=order.shipping_method,
            total=money(order.total if order.total is not None else Decimal(0)),
            purchase_order=order.purchase_order,
            note=order.note,
        )
        return made if order.total is not None else made.model_copy(update={"total": made.computed_total})
    except ValidationError as error:
        problems = [FieldProblem(".".join(str(part) for part in problem["loc"]) or "lines", problem["msg"]) for problem in error.errors(include_input=False, include_url=False)]
        raise Rejected("INVALID_BODY", "the order contradicts itself", remedy="correct the fields named and send it again", fields=problems) from error


def return_from_wire(asked: wire.SubmittedReturn, *, connection: str, received_at: datetime) -> Return:
    return Return(
        return_id=f"RMA-{connection}-{asked.external_id}"[:78],
        connection=connection,
        external_id=asked.external_id,
        number=asked.number or asked.external_id,
        order_id=asked.order_id,
        requested_at=asked.requested_at or received_at,
        lines=tuple(ReturnLine(sku=line.sku, quantity=Quantity(value=line.quantity, unit=line.unit), line_id=line.line_id, reason=line.reason) for line in asked.lines),
        exchange=tuple(
            ExchangeLine(sku=line.sku, quantity=Quantity(value=line.quantity, unit=line.unit), unit_price=Money.of(line.unit_price, asked.currency or ""))
            for line in asked.exchange
        ),
        note=asked.note,
    )


def receipt_from_wire(told: wire.AddressedReceipt, *, received_at: datetime) -> ReturnReceipt:
    receipt = told.receipt
    return ReturnReceipt(
        receipt_id=receipt.receipt_id,
        return_reference=told.return_id,
        lines=tuple(ReceivedLine(sku=line.sku, quantity=line.quantity, disposition=line.disposition, note=line.note) for line in receipt.lines),
        received_at=receipt.received_at or received_at,
        complete=receipt.complete,
    )
