"""Something about an order has changed: which answers and commands are due now? Asked after every change, safe to ask again."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TypeVar

from crossdock.domain.commands import BusinessId
from crossdock.domain.effect import EffectState
from crossdock.domain.events import Event
from crossdock.domain.messages import OutboundMessage, work_body
from crossdock.domain.order_record import BookedLine, BookedShipment, OrderRecord, OrderStatus, Part, may_follow
from crossdock.domain.policy import erp_total_hold, not_approved
from crossdock.domain.return_record import ReturnRecord
from crossdock.domain.shipment import PartLine, PartStatus, Shipment, ShippedLine
from crossdock.domain.stage import QueueName
from crossdock.domain.stock import ReservedLine
from crossdock.domain.waiting import ReturnStep, Step, Waiting
from crossdock.flows import raise_exception, stock
from crossdock.flows.services import Services

Waits = TypeVar("Waits", OrderRecord, ReturnRecord)
"""What a workflow waits for with a token."""

CANCELLED = "Cancelled"
"""The error by which the workflow is told to compensate."""


def with_status(record: OrderRecord, status: OrderStatus, now: datetime) -> OrderRecord:
    """The record in the next status; a step that may not follow leaves it where it is (a late repeat of an earlier step)."""
    if not may_follow(record.status, status):
        return record
    return record.model_copy(update={"status": status, "updated_at": now})


def replace_part(record: OrderRecord, part: Part) -> OrderRecord:
    return record.model_copy(update={"parts": tuple(part if old.plan.part_id == part.plan.part_id else old for old in record.parts)})


def replace_shipment(record: OrderRecord, booked: BookedShipment) -> OrderRecord:
    return record.model_copy(update={"shipments": tuple(booked if old.shipment.shipment_id == booked.shipment.shipment_id else old for old in record.shipments)})


_ON_THE_WAY = (OrderStatus.POSTED, OrderStatus.RELEASED, OrderStatus.PARTIALLY_SHIPPED, OrderStatus.SHIPPED)


def caught_up(record: OrderRecord, now: datetime) -> OrderRecord:
    """The record in the status that its parts have reached: a shipment may be known before the step that led to it is noted."""
    reached = shipping_status(record)
    if reached is None or record.status not in _ON_THE_WAY or _ON_THE_WAY.index(reached) <= _ON_THE_WAY.index(record.status):
        return record
    return record.model_copy(update={"status": reached, "updated_at": now})


def token_mark(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()[:16]


def waits(record: Waits, step: Step | ReturnStep, token: str, now: datetime) -> Waits | None:
    """The record waiting for that step. None for a late copy of a request that was answered or replaced: it must not displace a newer one."""
    found: Waiting | None = record.waiting
    if found is None:
        return None if token_mark(token) in record.answered else record.model_copy(update={"waiting": Waiting(step=step, token=token, since=now)})
    standing: Waiting = found
    if token_mark(token) in record.answered or token in standing.older or (standing.token == token and standing.answer is not None):
        return None
    if standing.token == token:
        return record
    if standing.step is step and standing.answer is None:
        return record.model_copy(update={"waiting": Waiting(step=step, token=token, since=now, older=standing.tokens[-4:])})
    over = (*record.answered, *map(token_mark, standing.tokens))[-24:]
    return record.model_copy(update={"waiting": Waiting(step=step, token=token, since=now), "answered": over})


def shipping_status(record: OrderRecord) -> OrderStatus | None:
    """How far the parts say the order is, or None when nothing has been released."""
    if record.everything_shipped:
        return OrderStatus.SHIPPED
    if record.shipments:
        return OrderStatus.PARTIALLY_SHIPPED
    if any(part.status is not PartStatus.PLANNED for part in record.parts):
        return OrderStatus.RELEASED
    return None


def next_deadline(record: OrderRecord, services: Services) -> datetime | None:
    """The earliest moment at which the watch must look at the order again."""
    level = services.spec.service_level
    if record.status in (OrderStatus.COMPLETED, OrderStatus.CANCELLED):
        return None
    if record.status is OrderStatus.ANNOUNCED:
        return record.due_at
    if record.status is OrderStatus.HELD:
        return record.due_at
    if record.status is OrderStatus.CANCELLING:
        return record.updated_at + timedelta(seconds=level.accept_seconds)
    deadlines = [part.acknowledge_by for part in record.parts if part.open and part.acknowledged_at is None and part.acknowledge_by]
    deadlines += [part.ship_by for part in record.parts if part.open and part.ship_by]
    if record.everything_shipped:
        deadlines.append(record.updated_at + timedelta(minutes=level.post_minutes))
    if not deadlines:
        deadlines.append(record.updated_at + timedelta(seconds=level.accept_seconds))
    return min(deadlines)


def rejoin(names: Iterable[str], group: str, services: Services) -> None:
    """What waited under these names (an order, a part, another system's id) can be joined now: round it goes again."""
    for name in names:
        for item in services.orders.parked(name):
            services.queues.send(QueueName.WORK, work_body(Event.model_validate_json(item.event_json)), group=group)
            services.orders.forget_parked(name, item)


def send(message: OutboundMessage, services: Services, *, delay_seconds: int = 0) -> None:
    services.queues.send(QueueName.OUTBOUND, message.text(), group=message.group, delay_seconds=delay_seconds)


def send_again(message: OutboundMessage, record: OrderRecord, services: Services) -> None:
    """For a command that may stand in the queue already (the ledger knows what was done). Not while an exception stands for that very message: a person has it.
    Nor while its connection is out: it waits in the queue, and copies would only add up."""
    if services.circuits.of(message.connection).is_open():
        return
    name = raise_exception.message_exception_id(QueueName.OUTBOUND, message.text())
    standing = services.exceptions.get(name) if name in record.open_exceptions else None
    if standing is None or standing.closed:
        send(message, services)


def effect_key(connection: str, command: str, business_id: BusinessId) -> str:
    return f"{connection}#{command}#{business_id}"


def can(connection: str, command: str, services: Services) -> bool:
    """Whether the connection's connector executes that command at all (an API client has nothing to be confirmed to)."""
    return command in services.connectors.manifest(connection).commands


def send_settlement(record: OrderRecord, services: Services) -> None:
    """Confirmations of every unconfirmed shipment, and the invoice of the first one not invoiced: invoices of one order go one after the other,
    because the ERP posts an order's lines together."""
    for booked in record.shipments:
        if not booked.confirmed:
            send_again(OutboundMessage(command="ConfirmShipment", connection=record.source, order_id=record.order_id, shipment_id=booked.shipment.shipment_id), record, services)
    send_next_invoice(record, services)


def send_next_invoice(record: OrderRecord, services: Services) -> None:
    waiting = next((booked for booked in record.shipments if booked.invoice_number is None), None)
    if waiting is not None and record.sales_order is not None:
        send_again(OutboundMessage(command="PostInvoice", connection=services.spec.erp, order_id=record.order_id, shipment_id=waiting.shipment.shipment_id), record, services)


def advance(order_id: str, services: Services) -> OrderRecord:
    """Answers the waiting workflow if its question can be answered now. Every caller has already written what it knows."""
    record = services.orders.get(order_id)
    if record is None:
        raise LookupError(order_id)
    waiting = record.waiting
    if waiting is None:
        return record
    if waiting.answer is not None:
        return _answer_again(record, waiting, services)
    if waiting.step is Step.COMPENSATE:
        return _compensate(record, services)
    if record.cancel_requested_at is not None:
        for token in (waiting.token, *waiting.older):
            services.workflow.fail(token, error=CANCELLED, cause=record.cancel_reason or "cancelled")
        return record
    if waiting.step is Step.POST:
        return _answer_post(record, services)
    if waiting.step is Step.RELEASE:
        record = _hand_over(record, services)
        if record.everything_settled and not _blocking(record, services):
            return _complete(record, services)
    return record


def answer(waiting: Waiting, output: dict[str, str | bool], services: Services) -> bool:
    """Tells everybody who waits; whether anybody did."""
    heard = [services.workflow.succeed(token, output) for token in (waiting.token, *waiting.older)]
    return any(heard)


def _succeed_or_look_soon(record: OrderRecord, waiting: Waiting, output: dict[str, str | bool], services: Services) -> OrderRecord:
    """When nobody waits any more, the answer was given a moment ago, or the workflow was stopped: the watch finds out soon, not at the order's next deadline."""
    if answer(waiting, output, services):
        return record
    soon = services.clock.now() + timedelta(seconds=services.spec.service_level.accept_seconds)

    def hurry(current: OrderRecord) -> OrderRecord | None:
        late = current.waiting == waiting and (current.due_at is None or current.due_at > soon)
        return current.model_copy(update={"due_at": soon}) if late else None

    return services.orders.change(record.order_id, hurry)


def _answer_again(record: OrderRecord, waiting: Waiting, services: Services) -> OrderRecord:
    """It is decided; whoever decided may have died before the rest was done."""
    if record.status is OrderStatus.CANCELLED:
        _after_cancellation(record, services)
    if record.status is OrderStatus.COMPLETED:
        _note_completion(record, services)
    answer(waiting, waiting.answer or {}, services)
    return record


def is_intangible(part: Part, record: OrderRecord) -> bool:
    """Lines that nobody packs: the part is worked by nobody and belongs to the order's own source."""
    return part.plan.connection == record.source


def _hand_over(record: OrderRecord, services: Services) -> OrderRecord:
    """Lines that nobody packs are handed over when everything else has left (until then a cancellation takes them back too)."""
    part = next((part for part in record.parts if is_intangible(part, record)), None)
    if part is None or any(other.open and not is_intangible(other, record) for other in record.parts):
        return record
    if not part.open:
        handed = record.shipment(part.plan.part_id)
        if handed is not None and not handed.confirmed:  # whoever handed it over may have died before anybody was told
            send_settlement(record, services)
        return record
    now = services.clock.now()
    shipment = Shipment(
        shipment_id=part.plan.part_id,
        connection=record.source,
        external_id=part.plan.part_id,
        order_id=record.order_id,
        part_reference=part.plan.part_id,
        lines=tuple(ShippedLine(sku=line.sku, quantity=line.quantity.value, line_id=line.line_id) for line in part.plan.lines),
        dispatched_at=now,
    )
    lines = tuple(BookedLine(line_id=line.line_id, quantity=line.quantity.value) for line in part.plan.lines)
    booked = BookedShipment(shipment=shipment, part_id=part.plan.part_id, location=part.plan.location, lines=lines)
    done = part.model_copy(update={"status": PartStatus.SHIPPED, "released_at": now, "acknowledged_at": now, "shipped": {line.line_id: line.quantity for line in lines}})

    def hand_over(current: OrderRecord) -> OrderRecord | None:
        if current.shipment(shipment.shipment_id) is not None or current.cancel_requested_at is not None:
            return None
        changed = replace_part(current, done).model_copy(update={"shipments": (*current.shipments, booked), "updated_at": now})
        changed = caught_up(changed, now)
        return changed.model_copy(update={"due_at": next_deadline(changed, services)})

    services.orders.refer("shipment", shipment.shipment_id, record.order_id, part.plan.part_id)
    changed = services.orders.change(record.order_id, hand_over)
    send_settlement(changed, services)
    return changed


def _blocking(record: OrderRecord, services: Services) -> bool:
    """An exception about the order that is still open and means that something failed: completing would hide it."""
    for name in record.open_exceptions:
        standing = services.exceptions.get(name)
        if standing is not None and not standing.closed and standing.code not in ("SHIPPED_LATE", "ACKNOWLEDGEMENT_MISSING", "SHIPMENT_OVERDUE", "ORDER_CHANGED_AFTER_POSTING"):
            return True
    return False


def _complete(record: OrderRecord, services: Services) -> OrderRecord:
    now = services.clock.now()

    def complete(current: OrderRecord) -> OrderRecord | None:
        if current.status is OrderStatus.COMPLETED or current.waiting is None:
            return None
        completed = with_status(caught_up(current, now), OrderStatus.COMPLETED, now)
        answered = current.waiting.model_copy(update={"answer": {"completed": True}})
        over = completed.model_copy(update={"completed_at": now, "due_at": None, "waiting": answered})
        # Never told to be completed while its record says otherwise: the watch goes on looking at it.
        return over if completed.status is OrderStatus.COMPLETED else None

    changed = services.orders.change(record.order_id, complete)
    return _answer_again(changed, changed.waiting, services) if changed.waiting and changed.status is OrderStatus.COMPLETED else changed


def _note_completion(record: OrderRecord, services: Services) -> None:
    for name in record.open_exceptions:
        standing = services.exceptions.get(name)
        if standing is not None and standing.closed:  # whoever closed it died before it was taken off the order
            raise_exception.close(name, actor=raise_exception.SYSTEM, note="closed before", services=services)
    raise_exception.note_once(
        record.order_id,
        actor=raise_exception.SYSTEM,
        action="OrderCompleted",
        summary=f"{len(record.shipments)} shipment(s) confirmed and invoiced",
        details={"invoices": ", ".join(booked.invoice_number or "" for booked in record.shipments)[:500]},
        at=services.clock.now(),
        services=services,
    )


def _answer_post(record: OrderRecord, services: Services) -> OrderRecord:
    """The sales order stands and agrees (or somebody accepted the difference): go on to release."""
    if record.sales_order is None or record.waiting is None:
        return record
    hold = not_approved(erp_total_hold(record.placed, record.sales_order.total, services.spec), record.approvals)
    if hold is not None:
        return record
    return _succeed_or_look_soon(record, record.waiting, {"sales_order": record.sales_order.number}, services)


def _compensate(record: OrderRecord, services: Services) -> OrderRecord:
    """Undoes exactly what was done, one kind after the other: parts, the sales order, the storefront, the reservation."""
    for part in record.parts:
        if not part.open or part.cancel_refused:
            continue
        effect = services.effects.get(effect_key(part.plan.connection, "ReleaseFulfillment", part.plan.part_id))
        if effect is not None and effect.state in (EffectState.INTENDED, EffectState.UNKNOWN):
            return record  # its own delivery settles it and asks again
        if effect is not None and effect.state is EffectState.CONFIRMED:
            if part.external_id is not None:  # else its delivery has not noted it yet; it does, and asks again
                send_again(OutboundMessage(command="CancelFulfillment", connection=part.plan.connection, order_id=record.order_id, part_id=part.plan.part_id), record, services)
            return record
        record = services.orders.change(record.order_id, lambda current, part_id=part.plan.part_id: _part_cancelled(current, part_id))  # type: ignore[misc]
    if any(part.cancel_refused for part in record.parts) or record.shipments:
        return _cancel_refused(record, services)
    effect = services.effects.get(effect_key(services.spec.erp, "CreateSalesOrder", record.order_id))
    if effect is not None and effect.state in (EffectState.INTENDED, EffectState.UNKNOWN):
        return record
    if effect is not None and effect.state is EffectState.CONFIRMED and not (record.sales_order and record.sales_order.cancelled):
        if record.sales_order is not None:
            send_again(OutboundMessage(command="CancelSalesOrder", connection=services.spec.erp, order_id=record.order_id), record, services)
        return record
    if record.tell_source:
        if can(record.source, "CancelOrder", services):
            send_again(OutboundMessage(command="CancelOrder", connection=record.source, order_id=record.order_id), record, services)
            return record
        record = services.orders.change(record.order_id, lambda current: current.model_copy(update={"tell_source": False}))
    return _cancelled(record, services)


def _part_cancelled(record: OrderRecord, part_id: str) -> OrderRecord | None:
    part = record.part(part_id)
    if part is None or part.status is PartStatus.CANCELLED:
        return None
    return replace_part(record, part.model_copy(update={"status": PartStatus.CANCELLED}))


def _cancel_refused(record: OrderRecord, services: Services) -> OrderRecord:
    """Something has left already: the order goes on with what could not be stopped, and a person must settle the rest with the customer."""
    now = services.clock.now()
    open_lines = sum(1 for part in record.parts if part.status is PartStatus.CANCELLED)
    for part in record.parts:
        if part.status is PartStatus.CANCELLED:
            _release(record.order_id, left_of(part), token=f"{part.plan.part_id}:cancel", services=services)
    raise_exception.business(
        "CANCEL_REFUSED",
        f"the cancellation came too late: {len(record.shipments)} shipment(s) left or cannot be stopped, {open_lines} part(s) were cancelled",
        record=record,
        services=services,
        remedy="agree with the customer: a return for what ships; correct the sales order for what was cancelled",
        what="cancel",
        since=record.cancel_requested_at,
    )

    def go_on(current: OrderRecord) -> OrderRecord | None:
        if current.waiting is None or current.waiting.answer is not None:
            return None
        status = shipping_status(current) or OrderStatus.RELEASED
        answered = current.waiting.model_copy(update={"answer": {"cancelled": False}})
        changed = with_status(current, status, now).model_copy(update={"cancel_requested_at": None, "cancel_refused_at": now, "tell_source": False, "waiting": answered})
        return changed.model_copy(update={"due_at": next_deadline(changed, services)})

    changed = services.orders.change(record.order_id, go_on)
    return _answer_again(changed, changed.waiting, services) if changed.waiting else changed


def in_base_units(planned: PartLine, quantity: Decimal) -> Decimal:
    """So much of the line's ordered unit, counted in pieces. A share of a case is kept with five decimals: what is a piece but for their rounding is a piece."""
    exact = Fraction(planned.base_quantity) * Fraction(quantity) / Fraction(planned.quantity.value)
    whole = round(exact)
    return Decimal(whole) if abs(exact - whole) < Fraction(1, 50) else Decimal(exact.numerator) / Decimal(exact.denominator)


def left_of(part: Part) -> list[ReservedLine]:
    """What of the part's reserved stock has not left, in base units."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for line in part.plan.lines:
        for sku, count in line.takes(in_base_units(line, part.remaining(line.line_id))).items():
            sums[sku] += count
    location = part.moves_to.location if part.moves_to is not None and part.stock_moved else part.plan.location
    return [ReservedLine(sku=sku, location=location, quantity=quantity) for sku, quantity in sums.items() if quantity > 0]


def give_back(order_id: str, services: Services) -> None:
    """What is reserved is what the reservation says, not what the record remembers: a crash may lie between the two."""
    reservation = services.stock.reservation(order_id)
    if reservation is not None:
        _release(order_id, reservation.lines, token=f"{order_id}:cancel", services=services)


def _release(order_id: str, lines: Sequence[ReservedLine], *, token: str, services: Services) -> None:
    services.stock.release(order_id, lines, token=token)
    stock.changed(((line.sku, line.location) for line in lines), services)


def _cancelled(record: OrderRecord, services: Services) -> OrderRecord:
    now = services.clock.now()
    give_back(record.order_id, services)

    def finish(current: OrderRecord) -> OrderRecord | None:
        if current.status is OrderStatus.CANCELLED or current.shipments or current.waiting is None:
            return None
        answered = current.waiting.model_copy(update={"answer": {"cancelled": True}})
        return with_status(current, OrderStatus.CANCELLED, now).model_copy(update={"released_stock": True, "waiting": answered, "due_at": None, "completed_at": now})

    changed = services.orders.change(record.order_id, finish)
    if changed.status is not OrderStatus.CANCELLED:
        return _cancel_refused(changed, services)  # goods left between the look and the write
    return _answer_again(changed, changed.waiting, services) if changed.waiting else changed


def _after_cancellation(record: OrderRecord, services: Services) -> None:
    give_back(record.order_id, services)  # again: a check that outlived its time-out may have reserved after the first look
    raise_exception.note_once(
        record.order_id, actor=raise_exception.SYSTEM, action="OrderCancelled", summary=record.cancel_reason or "cancelled", details={}, at=services.clock.now(), services=services
    )
    for name in record.open_exceptions:
        standing = services.exceptions.get(name)
        if standing is not None and (record.completed_at is None or standing.last_seen_at <= record.completed_at):  # not what came to light since
            raise_exception.close(name, actor=raise_exception.SYSTEM, note="the order was cancelled", services=services)
