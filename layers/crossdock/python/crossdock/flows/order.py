"""The order workflow's own steps: checks, reservation, and what the workflow asks for and waits on."""

from __future__ import annotations

import json
from datetime import timedelta

from crossdock.domain.connector import PriceQuestion
from crossdock.domain.errors import NeedsPerson
from crossdock.domain.exception_record import HoldDetails
from crossdock.domain.messages import OutboundMessage, StepRequest, StuckNotice
from crossdock.domain.order_record import OrderRecord, OrderStatus, Part, Step, Waiting
from crossdock.domain.policy import Hold, address_hold, credit_hold, erp_total_hold, freight_hold, not_approved, price_hold, tax_hold, total_hold
from crossdock.domain.price import Price
from crossdock.domain.shipment import PartStatus
from crossdock.domain.stock import Reservation
from crossdock.domain.tenant import HoldKind
from crossdock.flows import allocate, progress, raise_exception
from crossdock.flows.services import Services

Outcome = dict[str, object]
"""What a check answers: {"outcome": "passed" | "held" | "cancelled", "hold": {...}}."""

PASSED: Outcome = {"outcome": "passed"}
CANCELLED: Outcome = {"outcome": "cancelled"}


def _held(hold: Hold) -> Outcome:
    return {
        "outcome": "held",
        "hold": {"kind": hold.kind.value, "code": hold.code, "detail": hold.detail, "remedy": hold.remedy, "seen": dict(hold.seen), "fingerprint": hold.fingerprint},
    }


def _from_error(error: NeedsPerson, record: OrderRecord) -> Outcome:
    """A cross-reference or unit that is missing inside the checks holds the order for the person who keeps the tables."""
    kind = HoldKind.UNIT if error.code == "NON_INTEGRAL_QUANTITY" or "unit" in error.detail else HoldKind.SKU
    return _held(Hold(kind, error.code, error.detail, error.remedy, {"order": record.order_id, "problem": error.detail}))


def _current(order_id: str, services: Services) -> OrderRecord:
    record = services.orders.get(order_id)
    if record is None:
        raise NeedsPerson("ORDER_UNKNOWN", f"there is no order {order_id}", remedy="replay the delivery that brought it")
    return record


def validate(order_id: str, services: Services) -> Outcome:
    """Complete address, an order that adds up, freight and tax as the policy says, units that convert."""
    record = _current(order_id, services)
    if record.cancel_requested_at:
        return CANCELLED
    order = record.placed
    for hold in (address_hold(order), total_hold(order, services.spec), tax_hold(order, services.spec), freight_hold(order, services.spec)):
        remaining = not_approved(hold, record.approvals)
        if remaining is not None:
            return _held(remaining)
    try:
        allocate.needs_of(order, services.xref)
    except NeedsPerson as error:
        return _from_error(error, record)
    return PASSED


def check_price(order_id: str, services: Services) -> Outcome:
    """Each unit price against the ERP's for this account, in the ordered unit."""
    record = _current(order_id, services)
    if record.cancel_requested_at:
        return CANCELLED
    order, erp = record.placed, services.spec.erp
    try:
        questions = [
            PriceQuestion(
                sku=services.xref.their_sku(erp, line.sku), unit=services.xref.their_unit(erp, line.quantity.unit), quantity=line.quantity.value, currency=order.currency
            )
            for line in order.lines
        ]
    except NeedsPerson as error:
        return _from_error(error, record)
    account = record.account or order.customer.account or ""
    answers = services.connectors.connector(erp).prices(account, questions)
    prices: dict[str, Price | None] = {}
    for line, question, answer in zip(order.lines, questions, answers, strict=True):
        prices[line.line_id] = _per_ordered_unit(answer, line.sku, question, services)
    hold = not_approved(price_hold(order, prices, services.spec), record.approvals)
    return PASSED if hold is None else _held(hold)


def _per_ordered_unit(price: Price | None, sku: str, question: PriceQuestion, services: Services) -> Price | None:
    """An ERP that prices the base unit only is asked for a case: its price times the pieces in the case."""
    if price is None or price.unit == question.unit:
        return price
    base = services.xref.article(sku).base_unit
    if price.unit != services.xref.their_unit(services.spec.erp, base):
        return None
    ours = services.xref.our_unit(services.spec.erp, question.unit)
    numerator, denominator = services.xref.conversion(sku, ours)
    return price.model_copy(update={"unit": question.unit, "price": (price.price * numerator).model_copy(update={"amount": price.price.amount * numerator / denominator})})


def check_credit(order_id: str, services: Services) -> Outcome:
    record = _current(order_id, services)
    if record.cancel_requested_at:
        return CANCELLED
    account = record.account or record.placed.customer.account or ""
    standing = services.connectors.connector(services.spec.erp).credit(account)
    hold = not_approved(credit_hold(record.placed, standing, account), record.approvals)
    return PASSED if hold is None else _held(hold)


def reserve(order_id: str, services: Services) -> Outcome:
    """Plans over the stock as it is and commits it in one conditional write; another order's reservation in between means planning again."""
    record = _current(order_id, services)
    if record.cancel_requested_at:
        return CANCELLED
    if record.parts:
        return PASSED
    order = record.placed
    try:
        needs = allocate.needs_of(order, services.xref)
    except NeedsPerson as error:
        return _from_error(error, record)
    locations = allocate.candidates(order, services.spec)
    levels = services.stock.levels((need.sku, location) for need in needs for location in locations)
    for _ in range(allocate.MAX_REPLANS):
        standing = services.stock.reservation(order_id)
        made = allocate.assign(needs, locations, levels, services.spec) if standing is None else None
        if standing is None and made is None:
            break
        if made is not None:
            parts = allocate.parts_of(order, made, locations, services.spec)
            now = services.clock.now()
            short = services.stock.reserve(Reservation(order_id=order_id, lines=allocate.reserved_lines(parts), parts=tuple(parts), made_at=now))
            if short is not None:
                levels = services.stock.levels((need.sku, location) for need in needs for location in locations)
                continue
            standing = services.stock.reservation(order_id)
        if standing is not None:
            return _note_reservation(record, standing, services)
    return _held(allocate.no_warehouse(order, needs, locations, levels))


def _note_reservation(record: OrderRecord, reservation: Reservation, services: Services) -> Outcome:
    now = services.clock.now()

    def note(current: OrderRecord) -> OrderRecord | None:
        if current.parts:
            return None
        return progress.with_status(current, OrderStatus.RESERVED, now).model_copy(
            update={"parts": tuple(Part(plan=plan) for plan in reservation.parts), "reserved": reservation.lines, "due_at": now + timedelta(seconds=services.spec.service_level.accept_seconds)}
        )

    services.orders.change(record.order_id, note)
    services.audit.append(
        record.order_id,
        actor=raise_exception.SYSTEM,
        action="StockReserved",
        summary=f"reserved in {len(reservation.parts)} part(s)",
        details={line.sku + "@" + line.location: f"{line.quantity:f}" for line in reservation.lines},
        at=now,
    )
    progress.rejoin([record.order_id, *(part.part_id for part in reservation.parts)], record.order_id, services)
    return PASSED


def request(message: StepRequest, services: Services) -> None:
    """The workflow asks for a step: the token is kept with the order first, then the work is sent out. A repeated request does no harm."""
    handlers = {Step.POST: _post, Step.RELEASE: _release, Step.SETTLE: _settle, Step.HOLD: _hold, Step.COMPENSATE: _start_compensation}
    handlers[message.request](message, services)


def _wait(message: StepRequest, services: Services, **updates: object) -> OrderRecord:
    now = services.clock.now()

    def keep(current: OrderRecord) -> OrderRecord:
        changed = current.model_copy(update={"waiting": Waiting(step=message.request, token=message.token, since=now), "updated_at": now, **updates})
        return changed.model_copy(update={"due_at": progress.next_deadline(changed, services)})

    return services.orders.change(message.order_id, keep)


def _post(message: StepRequest, services: Services) -> None:
    record = _wait(message, services)
    if record.cancel_requested_at is None and record.sales_order is None:
        progress.send(OutboundMessage(command="CreateSalesOrder", connection=services.spec.erp, order_id=record.order_id), services)
    progress.advance(message.order_id, services)


def _release(message: StepRequest, services: Services) -> None:
    now = services.clock.now()
    level = services.spec.service_level

    def arm(current: OrderRecord) -> OrderRecord:
        parts = tuple(
            part.model_copy(
                update={
                    "acknowledge_by": part.acknowledge_by or now + timedelta(minutes=level.acknowledge_minutes),
                    "ship_by": part.ship_by or now + timedelta(hours=level.ship_hours),
                }
            )
            for part in current.parts
        )
        changed = current.model_copy(update={"parts": parts, "waiting": Waiting(step=Step.RELEASE, token=message.token, since=now), "updated_at": now})
        return changed.model_copy(update={"due_at": progress.next_deadline(changed, services)})

    record = services.orders.change(message.order_id, arm)
    if record.cancel_requested_at is None:
        for part in record.parts:
            if part.status is PartStatus.PLANNED:
                progress.send(OutboundMessage(command="ReleaseFulfillment", connection=part.plan.connection, order_id=record.order_id, part_id=part.plan.part_id), services)
    if not record.parts:
        # Nothing of the order needs shipping (services, digital goods): there is nothing to wait for.
        services.workflow.succeed(message.token, {"shipped": True})
        return
    progress.advance(message.order_id, services)


def _settle(message: StepRequest, services: Services) -> None:
    record = _wait(message, services)
    progress.send_settlement(record, services)
    progress.advance(message.order_id, services)


def _reason(message: StepRequest | StuckNotice) -> Hold:
    """What the failed child said: the hold its check found, or (anything else) that the checks themselves could not run."""
    why = message.why
    text = json.dumps(why) if isinstance(why, dict) else (why or "")
    found = _hold_in(why if isinstance(why, dict) else _json(text))
    if found is not None:
        return Hold(
            HoldKind(str(found["kind"])), str(found["code"]), str(found["detail"]), str(found.get("remedy", "")), {str(key): str(value) for key, value in dict(found.get("seen") or {}).items()}  # type: ignore[call-overload]
        )
    return Hold(HoldKind.CHECKS, "CHECKS_FAILED", f"the checks could not be run: {text[:600]}", "look at the cause, then retry", {"why": text[:300]})


def _json(text: str) -> object:
    start = text.find("{")
    if start < 0:
        return None
    try:
        return json.JSONDecoder().raw_decode(text[start:])[0]
    except json.JSONDecodeError:
        return None


def _hold_in(value: object) -> dict[str, object] | None:
    """The hold wherever the engine wrapped it (Error, Cause, nested JSON text)."""
    if isinstance(value, dict):
        if {"kind", "code", "detail"} <= set(value):
            return value
        for inner in value.values():
            found = _hold_in(_json(inner) if isinstance(inner, str) else inner)
            if found is not None:
                return found
    return None


def _hold(message: StepRequest, services: Services) -> None:
    record = _current(message.order_id, services)
    now = services.clock.now()
    if record.cancel_requested_at is not None:
        _wait(message, services)
        progress.advance(message.order_id, services)
        return
    open_hold(_reason(message), message, services)
    services.audit.append(message.order_id, actor=raise_exception.SYSTEM, action="OrderHeld", summary=_reason(message).detail[:500], details={"kind": _reason(message).kind.value}, at=now)


def open_hold(hold: Hold, message: StepRequest | None, services: Services, *, order_id: str | None = None) -> None:
    """Puts the order on hold with its deadline and opens the exception on which a person decides."""
    name = message.order_id if message else order_id or ""
    now = services.clock.now()
    policy = services.spec.hold_policy(hold.kind)
    deadline = now + timedelta(minutes=policy.deadline_minutes)
    due = deadline
    if hold.kind is HoldKind.WAREHOUSE and services.spec.routing.backorder == "wait":
        due = min(deadline, now + timedelta(minutes=services.spec.routing.backorder_retry_minutes))

    def held(current: OrderRecord) -> OrderRecord:
        changed = progress.with_status(current, OrderStatus.HELD, now).model_copy(update={"due_at": due, "updated_at": now})
        if message is not None:
            changed = changed.model_copy(update={"waiting": Waiting(step=Step.HOLD, token=message.token, since=now)})
        return changed

    record = services.orders.change(name, held)
    raise_exception.business(
        hold.code,
        hold.detail,
        record=record,
        services=services,
        what=hold.kind.value,
        remedy=hold.remedy,
        hold=HoldDetails(kind=hold.kind, fingerprint=hold.fingerprint, seen=dict(hold.seen)),
        due_at=deadline,
    )


def erp_difference(record: OrderRecord, services: Services) -> Hold | None:
    """The unapproved difference between the ERP's total and the storefront's, if there is one."""
    if record.sales_order is None or record.status in (OrderStatus.CANCELLING, OrderStatus.CANCELLED):
        return None
    return not_approved(erp_total_hold(record.placed, record.sales_order.total, services.spec), record.approvals)


def _start_compensation(message: StepRequest, services: Services) -> None:
    now = services.clock.now()

    def cancelling(current: OrderRecord) -> OrderRecord:
        return progress.with_status(current, OrderStatus.CANCELLING, now).model_copy(update={"waiting": Waiting(step=Step.COMPENSATE, token=message.token, since=now), "updated_at": now})

    services.orders.change(message.order_id, cancelling)
    progress.advance(message.order_id, services)


def stuck(notice: StuckNotice, services: Services) -> None:
    """The workflow gave up in a way it should not: the order stays where it is and a person must look."""
    record = services.orders.get(notice.order_id)
    if record is None:
        return
    raise_exception.business(
        "WORKFLOW_STOPPED",
        f"the order workflow stopped: {json.dumps(notice.why)[:600]}",
        record=record,
        services=services,
        remedy="look at the execution, then `crossdock exceptions retry` starts it again from the checks",
        what="workflow",
    )


def request_cancel(order_id: str, *, reason: str, tell_source: bool, actor: str, services: Services) -> OrderRecord:
    """Marks the order as to be cancelled and wakes the workflow; whatever is running sees the mark at its next step."""
    now = services.clock.now()

    def ask(current: OrderRecord) -> OrderRecord | None:
        if current.cancel_requested_at is not None or current.status in (OrderStatus.CANCELLED, OrderStatus.COMPLETED):
            return None
        return current.model_copy(update={"cancel_requested_at": now, "cancel_reason": reason[:500], "tell_source": tell_source, "updated_at": now})

    before = _current(order_id, services)
    record = services.orders.change(order_id, ask)
    if before.cancel_requested_at is None and record.cancel_requested_at is not None:
        services.audit.append(order_id, actor=actor, action="CancellationRequested", summary=reason[:500] or "cancelled", details={}, at=now)
    return progress.advance(order_id, services)
