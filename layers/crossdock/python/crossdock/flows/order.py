"""The order workflow's own steps: checks, reservation, and what the workflow asks for and waits on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import timedelta
from decimal import Decimal

from crossdock.domain.connector import PriceQuestion
from crossdock.domain.errors import ConcurrentChange, NeedsPerson
from crossdock.domain.exception_record import HoldDetails
from crossdock.domain.messages import OutboundMessage, StepRequest, StuckNotice
from crossdock.domain.model import rfc3339
from crossdock.domain.order import Order
from crossdock.domain.order_record import TERMINAL, OrderRecord, OrderStatus, Part
from crossdock.domain.policy import Hold, address_hold, credit_hold, erp_total_hold, freight_hold, not_approved, price_hold, tax_hold, total_hold
from crossdock.domain.price import Price
from crossdock.domain.shipment import Fulfillment
from crossdock.domain.stock import Reservation
from crossdock.domain.tenant import HoldKind
from crossdock.domain.waiting import Step
from crossdock.flows import allocate, circuit, customers, progress, raise_exception, stock
from crossdock.flows.prices import governed_price
from crossdock.flows.services import Services

Outcome = dict[str, object]
"""What a check answers: {"outcome": "passed" | "held" | "cancelled", "hold": {...}}."""

CHECKS_AGAIN_AFTER = timedelta(minutes=5)

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


def _decided(record: OrderRecord) -> Outcome | None:
    """What needs no check any more: the order is called off, or it stands in the ERP (a workflow that was started again)."""
    if record.cancel_requested_at:
        return CANCELLED
    return PASSED if record.sales_order is not None else None


def validate(order_id: str, services: Services) -> Outcome:
    """Complete address, an order that adds up, freight and tax as the policy says, units that convert."""
    record = _current(order_id, services)
    decided = _decided(record)
    if decided is not None:
        return decided
    order = record.placed
    if not any(line.quantity.value > 0 for line in order.lines):
        return _held(
            Hold(
                HoldKind.CHECKS,
                "ORDER_EMPTY",
                "no line of the order has a quantity",
                "reject it, or wait for the storefront's newer version and retry",
                {"lines": str(len(order.lines))},
            )
        )
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
    decided = _decided(record)
    if decided is not None:
        return decided
    order, erp = record.placed, services.spec.erp
    try:
        questions = [
            PriceQuestion(sku=services.xref.their_sku(erp, line.sku), unit=services.xref.their_unit(erp, line.quantity.unit), quantity=line.quantity.value, currency=order.currency)
            for line in order.lines
        ]
    except NeedsPerson as error:
        return _from_error(error, record)
    account = record.account or order.customer.account or ""
    answers = circuit.asked_now(erp, lambda: services.connectors.connector(erp).prices(account, questions), services)
    prices: dict[str, Price | None] = {}
    for line, question, answer in zip(order.lines, questions, answers, strict=True):
        asked = _per_ordered_unit(answer, line.sku, question, services)
        prices[line.line_id] = asked and governed_price(asked, sku=line.sku, account=account, quantity=line.quantity, services=services)
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
    decided = _decided(record)
    if decided is not None:
        return decided
    account = record.account or record.placed.customer.account or ""
    erp = services.spec.erp
    standing = circuit.asked_now(erp, lambda: services.connectors.connector(erp).credit(account), services)
    customers.heard(account, standing, services)
    hold = not_approved(credit_hold(record.placed, customers.governed_standing(standing, services), account), record.approvals)
    return PASSED if hold is None else _held(hold)


def reserve(order_id: str, services: Services) -> Outcome:
    """Plans over the stock as it is and commits it in one conditional write; another order's reservation in between means planning again."""
    record = _current(order_id, services)
    if record.cancel_requested_at:
        return CANCELLED
    if record.parts:
        # A second time: what the first one may not have come to is done now.
        reservation = services.stock.reservation(order_id)
        return PASSED if reservation is None else _after_reservation(record, reservation, services)
    order = record.placed
    try:
        needs = allocate.needs_of(order, services.xref)
    except NeedsPerson as error:
        return _from_error(error, record)
    spec, day = services.spec, f"{services.clock.now():%Y-%m-%d}"
    for _ in range(allocate.MAX_REPLANS):
        load = services.stock.load(spec.locations, day=day) if spec.counts_parts else {}
        found = allocate.routes(order, spec, load)
        levels = services.stock.levels((sku, location) for need in needs for sku in need.skus for location in allocate.places(found))
        standing = services.stock.reservation(order_id)
        if standing is None:
            made = allocate.plan(needs, found, allocate.free_of(levels, spec), spec) if needs else ([], allocate.Route((), split=False))
            if made is None:
                return _held(allocate.no_warehouse(order, needs, found, levels, spec))
            assignment, route = made
            parts = allocate.parts_of(order, assignment, route.locations, spec)
            slots = allocate.slots_of(parts, spec, day=day)
            intangible = allocate.intangible_part(order, number=len(parts) + 1, location=next(iter([*route.locations, *spec.locations])))
            parts += [intangible] if intangible else []
            lines = allocate.reserved_lines(parts, levels, spec)
            planned = Reservation(order_id=order_id, lines=lines, slots=slots, parts=tuple(parts), made_at=services.clock.now())
            if services.stock.reserve(planned) is not None:
                continue  # somebody else was first: what is left is looked at again
            standing = services.stock.reservation(order_id) or planned  # an earlier run's, if there was one
        stock.changed(((line.sku, line.location) for line in standing.lines), services)
        return _note_reservation(record, standing, services)
    raise ConcurrentChange("STOCK_CONTENTION", f"order {order_id}: other orders took the planned stock {allocate.MAX_REPLANS} times in a row", after_seconds=1)


def _note_reservation(record: OrderRecord, reservation: Reservation, services: Services) -> Outcome:
    now = services.clock.now()

    def note(current: OrderRecord) -> OrderRecord | None:
        if current.parts or current.status in TERMINAL or not _covers(reservation.parts, current.placed):
            return None
        return progress.with_status(current, OrderStatus.RESERVED, now).model_copy(
            update={
                "parts": tuple(Part(plan=plan) for plan in reservation.parts),
                "reserved": reservation.lines,
                "due_at": now + timedelta(seconds=services.spec.service_level.accept_seconds),
            }
        )

    changed = services.orders.change(record.order_id, note)
    if changed.status is OrderStatus.CANCELLED:
        progress.give_back(record.order_id, services)  # this check outlived its workflow
        return CANCELLED
    if not changed.parts:
        return _held(
            Hold(
                HoldKind.CHECKS,
                "ORDER_CHANGED_WHILE_RESERVING",
                "the storefront changed the order while its stock was being reserved: the reservation is for the older version",
                "reject to cancel and give the stock back; place the order anew",
                {"version": changed.placed.source_version},
            )
        )
    return _after_reservation(changed, reservation, services)


def _covers(parts: Iterable[Fulfillment], order: Order) -> bool:
    """Whether the plan ships exactly what the order asks for."""
    planned: dict[tuple[str, str], Decimal] = {}
    for line in (line for part in parts for line in part.lines):
        planned[line.line_id, line.sku] = planned.get((line.line_id, line.sku), Decimal(0)) + line.quantity.value
    return planned == {(line.line_id, line.sku): line.quantity.value for line in order.lines if line.quantity.value > 0}


def _after_reservation(record: OrderRecord, reservation: Reservation, services: Services) -> Outcome:
    now = services.clock.now()
    raise_exception.note_once(
        record.order_id,
        actor=raise_exception.SYSTEM,
        action="StockReserved",
        summary=f"reserved in {len(reservation.parts)} part(s)",
        details={line.sku + "@" + line.location: f"{line.quantity:f}" for line in reservation.lines},
        at=now,
        services=services,
    )
    _close_holds(record, services)
    progress.rejoin([record.order_id, *(part.part_id for part in reservation.parts)], record.order_id, services)
    return PASSED


def _close_holds(record: OrderRecord, services: Services) -> None:
    """The checks have passed: whatever they were held for is settled by that."""
    for name in record.open_exceptions:
        standing = services.exceptions.get(name)
        if standing is not None and ((standing.hold is not None and standing.hold.kind is not HoldKind.ERP_TOTAL) or standing.code == "HOLD_EXPIRED"):
            raise_exception.close(name, actor=raise_exception.SYSTEM, note="the checks have passed", services=services)


def request(message: StepRequest, services: Services) -> None:
    """The workflow asks for a step: the token is kept with the order first, then the work is sent out. A repeated request does no harm."""
    handlers = {Step.POST: _post, Step.RELEASE: _release, Step.HOLD: _hold, Step.COMPENSATE: _start_compensation}
    handlers[message.request](message, services)


def _wait(message: StepRequest, services: Services, change: Callable[[OrderRecord], OrderRecord] = lambda record: record) -> OrderRecord | None:
    """Keeps the token (with ``change`` in the same write). None for a late copy of a request that is over; what it decided is answered again."""
    now = services.clock.now()
    late = False

    def keep(current: OrderRecord) -> OrderRecord | None:
        nonlocal late
        waiting = progress.waits(current, message.request, message.token, now)
        late = waiting is None
        if waiting is None:
            return None
        changed = change(waiting).model_copy(update={"updated_at": now})
        return changed.model_copy(update={"due_at": progress.next_deadline(changed, services)})

    record = services.orders.change(message.order_id, keep)
    if late:
        progress.advance(message.order_id, services)
    return None if late else record


def _post(message: StepRequest, services: Services) -> None:
    record = _wait(message, services)
    if record is None:
        return
    if record.cancel_requested_at is None and record.sales_order is None:
        progress.send(OutboundMessage(command="CreateSalesOrder", connection=services.spec.erp, order_id=record.order_id), services)
    hold_difference(progress.advance(message.order_id, services), services)


def unreleased(record: OrderRecord) -> list[Part]:
    """Parts that somebody works and that have not been released yet (an acknowledgement may be known before the answer to the release)."""
    return [part for part in record.parts if part.open and part.released_at is None and not progress.is_intangible(part, record)]


def _release(message: StepRequest, services: Services) -> None:
    now = services.clock.now()
    level = services.spec.service_level

    def arm(current: OrderRecord) -> OrderRecord:
        deadlines = {"acknowledge_by": now + timedelta(minutes=level.acknowledge_minutes), "ship_by": now + timedelta(hours=level.ship_hours)}
        for part in current.parts:
            if not progress.is_intangible(part, current):
                current = progress.replace_part(current, part.model_copy(update={name: getattr(part, name) or moment for name, moment in deadlines.items()}))
        return current

    record = _wait(message, services, arm)
    if record is None:
        return
    for part in unreleased(record) if record.cancel_requested_at is None else []:
        progress.send(OutboundMessage(command="ReleaseFulfillment", connection=part.plan.connection, order_id=record.order_id, part_id=part.plan.part_id), services)
    progress.send_settlement(record, services)  # what left before anybody asked, or before a cancellation that came too late
    progress.advance(message.order_id, services)


def _reason(message: StepRequest | StuckNotice) -> Hold:
    """What the failed child said: the hold its check found, or (anything else) that the checks themselves could not run."""
    why = message.why
    text = json.dumps(why) if isinstance(why, dict) else (why or "")
    found = _hold_in(why if isinstance(why, dict) else _json(text))
    if found is not None:
        return Hold(
            HoldKind(str(found["kind"])),
            str(found["code"]),
            str(found["detail"]),
            str(found.get("remedy", "")),
            {str(key): str(value) for key, value in dict(found.get("seen") or {}).items()},  # type: ignore[call-overload]
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
    open_hold(_reason(message), message, services)
    progress.advance(message.order_id, services)  # a cancellation may have come meanwhile


def open_hold(hold: Hold, message: StepRequest | None, services: Services, *, order_id: str | None = None) -> None:
    """Puts the order on hold with its deadline and opens the exception on which a person decides. Not while it is being cancelled."""
    name = message.order_id if message else order_id or ""
    now = services.clock.now()
    deadline = now + timedelta(minutes=services.spec.hold_policy(hold.kind).deadline_minutes)
    if hold.kind is HoldKind.WAREHOUSE and (days := services.spec.routing.backorder_cancel_days) is not None:
        deadline = max(now, _current(name, services).accepted_at + timedelta(days=days))  # counted once: trying again does not begin it anew
    due = deadline
    if hold.kind is HoldKind.WAREHOUSE and services.spec.routing.backorder == "wait":
        due = min(deadline, now + timedelta(minutes=services.spec.routing.backorder_retry_minutes))
    if hold.code == "CHECKS_FAILED":
        due = min(deadline, now + CHECKS_AGAIN_AFTER)
    late = False

    def held(current: OrderRecord) -> OrderRecord | None:
        nonlocal late
        waiting = progress.waits(current, message.request, message.token, now) if message is not None else current
        late = waiting is None
        if waiting is None or waiting.cancel_requested_at is not None:
            return waiting
        return progress.with_status(waiting, OrderStatus.HELD, now).model_copy(update={"due_at": due, "updated_at": now})

    record = services.orders.change(name, held)
    if late or record.cancel_requested_at is not None:
        return
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
    services.audit.append(name, actor=raise_exception.SYSTEM, action="OrderHeld", summary=hold.detail[:500], details={"kind": hold.kind.value}, at=now)


def answer_hold(order_id: str, decision: str, services: Services) -> OrderRecord:
    """The hold is decided: on record first, then the workflow hears it. Harmless when it was decided before or the order has moved on."""
    now = services.clock.now()

    def decide(current: OrderRecord) -> OrderRecord | None:
        waiting = current.waiting
        if waiting is None or waiting.step is not Step.HOLD or waiting.answer is not None:
            return None
        answered = waiting.model_copy(update={"answer": {"decision": decision}})
        # A workflow that was started again runs the checks anew over stock that is reserved already.
        resumed = OrderStatus.RESERVED if current.parts else OrderStatus.ACCEPTED
        changed = progress.with_status(current, resumed, now).model_copy(update={"waiting": answered, "updated_at": now})
        return changed.model_copy(update={"due_at": progress.next_deadline(changed, services)})

    services.orders.change(order_id, decide)
    return progress.advance(order_id, services)


def hold_difference(record: OrderRecord, services: Services) -> Hold | None:
    """Holds an order whose sales order has another total than the customer agreed to, while it waits for the posting. The hold, if there is one."""
    waiting = record.waiting
    if waiting is None or waiting.step is not Step.POST or record.cancel_requested_at is not None:
        return None
    hold = erp_difference(record, services)
    if hold is not None:
        open_hold(hold, None, services, order_id=record.order_id)
    return hold


def erp_difference(record: OrderRecord, services: Services) -> Hold | None:
    """The unapproved difference between the ERP's total and the storefront's, if there is one."""
    if record.sales_order is None or record.status in (OrderStatus.CANCELLING, OrderStatus.CANCELLED):
        return None
    return not_approved(erp_total_hold(record.placed, record.sales_order.total, services.spec), record.approvals)


def _start_compensation(message: StepRequest, services: Services) -> None:
    now = services.clock.now()
    if _wait(message, services, lambda current: progress.with_status(current, OrderStatus.CANCELLING, now)) is not None:
        progress.advance(message.order_id, services)


def stuck(notice: StuckNotice, services: Services) -> None:
    """The workflow gave up in a way it should not: the order stays where it is and a person must look."""
    record = services.orders.get(notice.order_id or "")
    if record is None or record.status in TERMINAL:
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

    _current(order_id, services)
    record = services.orders.change(order_id, ask)
    if record.cancel_requested_at is not None and record.status not in TERMINAL:
        details = {"requested_at": rfc3339(record.cancel_requested_at)}
        raise_exception.note_once(order_id, actor=actor, action="CancellationRequested", summary=reason[:500] or "cancelled", details=details, at=now, services=services)
    return progress.advance(order_id, services)
