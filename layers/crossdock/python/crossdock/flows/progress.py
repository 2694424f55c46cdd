"""Something about an order has changed: which answers and commands are due now? Asked after every change, safe to ask again."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from crossdock.domain.commands import BusinessId
from crossdock.domain.effect import EffectState
from crossdock.domain.events import Event
from crossdock.domain.exception_record import QueueName
from crossdock.domain.messages import OutboundMessage, work_body
from crossdock.domain.order_record import BookedShipment, OrderRecord, OrderStatus, Part, Step, may_follow
from crossdock.domain.policy import erp_total_hold, not_approved
from crossdock.domain.shipment import PartStatus
from crossdock.flows import raise_exception
from crossdock.flows.services import Services

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
            send(OutboundMessage(command="ConfirmShipment", connection=record.source, order_id=record.order_id, shipment_id=booked.shipment.shipment_id), services)
    send_next_invoice(record, services)


def send_next_invoice(record: OrderRecord, services: Services) -> None:
    waiting = next((booked for booked in record.shipments if booked.invoice_number is None), None)
    if waiting is not None and record.sales_order is not None:
        send(OutboundMessage(command="PostInvoice", connection=services.spec.erp, order_id=record.order_id, shipment_id=waiting.shipment.shipment_id), services)


def advance(order_id: str, services: Services) -> OrderRecord:
    """Answers the waiting workflow if its question can be answered now. Every caller has already written what it knows."""
    record = services.orders.get(order_id)
    if record is None:
        raise LookupError(order_id)
    waiting = record.waiting
    if waiting is None:
        return record
    if waiting.step is Step.COMPENSATE:
        return _compensate(record, services)
    if record.cancel_requested_at is not None and waiting.step is not Step.SETTLE:
        services.workflow.fail(waiting.token, error=CANCELLED, cause=record.cancel_reason or "cancelled")
        return record
    if waiting.step is Step.POST:
        return _answer_post(record, services)
    if waiting.step is Step.RELEASE and record.everything_shipped:
        services.workflow.succeed(waiting.token, {"shipped": True})
    if waiting.step is Step.SETTLE and record.everything_settled and not _blocking(record, services):
        return _complete(record, services)
    return record


def _blocking(record: OrderRecord, services: Services) -> bool:
    """An exception about the order that is still open and means that something failed: completing would hide it."""
    for name in record.open_exceptions:
        standing = services.exceptions.get(name)
        if standing is not None and not standing.closed and standing.code not in ("SHIPPED_LATE", "ACKNOWLEDGEMENT_MISSING", "SHIPMENT_OVERDUE", "ORDER_CHANGED_AFTER_POSTING", "RETURN_REQUESTED"):
            return True
    return False


def _complete(record: OrderRecord, services: Services) -> OrderRecord:
    now = services.clock.now()
    token = record.waiting.token if record.waiting else ""
    first = False

    def complete(current: OrderRecord) -> OrderRecord | None:
        nonlocal first
        first = current.status is not OrderStatus.COMPLETED
        if not first:
            return None
        return with_status(current, OrderStatus.COMPLETED, now).model_copy(update={"completed_at": now, "due_at": None, "waiting": None})

    changed = services.orders.change(record.order_id, complete)
    if first:
        services.audit.append(
            record.order_id,
            actor=raise_exception.SYSTEM,
            action="OrderCompleted",
            summary=f"{len(changed.shipments)} shipment(s) confirmed and invoiced",
            details={"invoices": ", ".join(booked.invoice_number or "" for booked in changed.shipments)},
            at=now,
        )
    services.workflow.succeed(token, {"completed": True})
    return changed


def _answer_post(record: OrderRecord, services: Services) -> OrderRecord:
    """The sales order stands and agrees (or somebody accepted the difference): go on to release."""
    if record.sales_order is None or record.waiting is None:
        return record
    hold = not_approved(erp_total_hold(record.placed, record.sales_order.total, services.spec), record.approvals)
    if hold is not None:
        return record
    services.workflow.succeed(record.waiting.token, {"sales_order": record.sales_order.number})
    return record


def _compensate(record: OrderRecord, services: Services) -> OrderRecord:
    """Undoes exactly what was done, one kind after the other: parts, the sales order, the storefront, the reservation."""
    waiting = record.waiting
    if waiting is None:
        return record
    for part in record.parts:
        if not part.open or part.cancel_refused:
            continue
        effect = services.effects.get(effect_key(part.plan.connection, "ReleaseFulfillment", part.plan.part_id))
        if effect is not None and effect.state in (EffectState.INTENDED, EffectState.UNKNOWN):
            return record  # its own delivery settles it and asks again
        if effect is not None and effect.state is EffectState.CONFIRMED:
            send(OutboundMessage(command="CancelFulfillment", connection=part.plan.connection, order_id=record.order_id, part_id=part.plan.part_id), services)
            return record
        record = services.orders.change(record.order_id, lambda current, part_id=part.plan.part_id: _part_cancelled(current, part_id))  # type: ignore[misc]
    if any(part.cancel_refused for part in record.parts) or record.shipments:
        return _cancel_refused(record, services)
    effect = services.effects.get(effect_key(services.spec.erp, "CreateSalesOrder", record.order_id))
    if effect is not None and effect.state in (EffectState.INTENDED, EffectState.UNKNOWN):
        return record
    if effect is not None and effect.state is EffectState.CONFIRMED and not (record.sales_order and record.sales_order.cancelled):
        if record.sales_order is not None:
            send(OutboundMessage(command="CancelSalesOrder", connection=services.spec.erp, order_id=record.order_id), services)
        return record
    if record.tell_source:
        if can(record.source, "CancelOrder", services):
            send(OutboundMessage(command="CancelOrder", connection=record.source, order_id=record.order_id), services)
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
    token = record.waiting.token if record.waiting else ""
    now = services.clock.now()
    open_lines = sum(1 for part in record.parts if part.status is PartStatus.CANCELLED)
    raise_exception.business(
        "CANCEL_REFUSED",
        f"the cancellation came too late: {len(record.shipments)} shipment(s) left or cannot be stopped, {open_lines} part(s) were cancelled",
        record=record,
        services=services,
        remedy="agree with the customer: a return for what ships; correct the sales order for what was cancelled",
        what="cancel",
    )

    def go_on(current: OrderRecord) -> OrderRecord:
        status = shipping_status(current) or OrderStatus.RELEASED
        return with_status(current, status, now).model_copy(update={"cancel_requested_at": None, "waiting": None})

    changed = services.orders.change(record.order_id, go_on)
    services.workflow.succeed(token, {"cancelled": False})
    return changed


def _cancelled(record: OrderRecord, services: Services) -> OrderRecord:
    now = services.clock.now()
    token = record.waiting.token if record.waiting else ""
    if not record.released_stock:
        # What is reserved is what the reservation says, not what the record remembers: a crash may lie between the two.
        reservation = services.stock.reservation(record.order_id)
        if reservation is not None:
            services.stock.release(record.order_id, reservation.lines, token=f"{record.order_id}:cancel")

    first = False

    def finish(current: OrderRecord) -> OrderRecord | None:
        nonlocal first
        first = current.status is not OrderStatus.CANCELLED
        if not first:
            return None
        return with_status(current, OrderStatus.CANCELLED, now).model_copy(update={"released_stock": True, "waiting": None, "due_at": None, "completed_at": now})

    changed = services.orders.change(record.order_id, finish)
    if first:
        services.audit.append(record.order_id, actor=raise_exception.SYSTEM, action="OrderCancelled", summary=record.cancel_reason or "cancelled", details={}, at=now)
    for name in record.open_exceptions:
        raise_exception.close(name, actor=raise_exception.SYSTEM, note="the order was cancelled", services=services)
    services.workflow.succeed(token, {"cancelled": True})
    return changed
