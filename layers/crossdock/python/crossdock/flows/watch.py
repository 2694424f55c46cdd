"""Every minute: what should have happened by now and has not? Deadlines, forgotten deliveries, polls and stock counts that are due."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from crossdock.domain.delivery import DeliveryStatus, inbound_message
from crossdock.domain.errors import Cause, CrossdockError, NeedsPerson, RetryLater
from crossdock.domain.events import Event
from crossdock.domain.exception_record import ExceptionRecord
from crossdock.domain.messages import OutboundMessage, work_body
from crossdock.domain.order_record import TERMINAL, OrderRecord, OrderStatus
from crossdock.domain.shipment import PartStatus
from crossdock.domain.stage import QueueName
from crossdock.domain.tenant import HoldKind
from crossdock.domain.waiting import Step
from crossdock.flows import order as order_flow
from crossdock.flows import prices, progress, raise_exception, reconcile, reroute, returns, stock
from crossdock.flows.services import Services

FORGOTTEN_AFTER = timedelta(minutes=2)
AT_ONCE = 200
LOOK_AGAIN = timedelta(minutes=5)
STOCK_EVERY_MINUTES = 360
CHECKS_AGAIN_AT_LEAST_EVERY = timedelta(hours=6)


@dataclass(frozen=True)
class Watched:
    orders: int
    """Orders and returns."""
    deliveries: int
    parked: int
    polls: int


def watch(services: Services) -> Watched:
    """One round. Every action is safe to repeat, so two rounds at once do no harm."""
    now = services.clock.now()
    orders = services.orders.due(now, AT_ONCE)
    for order_id in orders:
        _watched(order_id, services, now)
    returned = services.returns.due(now, AT_ONCE)
    for return_id in returned:
        _watched_return(return_id, services, now)
    deliveries = 0
    for note in services.deliveries.waiting(now - FORGOTTEN_AFTER, AT_ONCE):
        services.queues.send(QueueName.INBOUND, inbound_message(note.delivery_id), group=note.connection)
        services.deliveries.settle(note.delivery_id, DeliveryStatus.RECEIVED, now=now, reason="queued again by the watch")
        deliveries += 1
    parked = services.orders.overdue_parked(now, AT_ONCE)
    for name, item in parked:
        _unmatched(name, Event.model_validate_json(item.event_json), services)
        services.orders.forget_parked(name, item)
    return Watched(len(orders) + len(returned), deliveries, len(parked), _polls(services, now))


def _watched(order_id: str, services: Services, now: datetime) -> None:
    """One order that cannot be looked after must not keep the watch from all the others: it becomes an exception itself."""
    try:
        _order(order_id, services, now)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is put on record and the others go on
        code = error.code if isinstance(error, CrossdockError) else "WATCH_FAILED"
        record = services.orders.change(order_id, lambda current: current.model_copy(update={"due_at": now + LOOK_AGAIN}) if current.due_at is not None else None)
        if not isinstance(error, RetryLater):
            raise_exception.business(
                code,
                f"the watch could not look after the order: {type(error).__name__}: {error}"[:900],
                record=record,
                services=services,
                what="watch",
                cause=Cause.PLATFORM,
                remedy="look at the log of watch_deadlines at that time",
                since=now,
            )


def _watched_return(return_id: str, services: Services, now: datetime) -> None:
    """As above."""
    try:
        returns.watched(return_id, services, now)
    except Exception as error:  # noqa: BLE001 - as above
        code = error.code if isinstance(error, CrossdockError) else "WATCH_FAILED"
        services.returns.change(return_id, lambda current: current.model_copy(update={"due_at": now + LOOK_AGAIN}))
        if not isinstance(error, RetryLater):
            raise_exception.episode(
                code,
                return_id,
                f"the watch could not look after the return: {type(error).__name__}: {error}"[:900],
                what="watch",
                cause=Cause.PLATFORM,
                remedy="look at the log of watch_deadlines at that time",
                services=services,
            )


def _order(order_id: str, services: Services, now: datetime) -> None:
    record = services.orders.get(order_id)
    if record is None or record.due_at is None or record.due_at > now:
        return
    again = now + LOOK_AGAIN
    if record.status is OrderStatus.ANNOUNCED:
        raise_exception.business(
            "ORDER_NEVER_ARRIVED",
            "something about this order came, the order itself did not",
            record=record,
            services=services,
            cause=Cause.SOURCE_DATA,
            connection=record.source,
            remedy="ask the storefront for the order, or resolve it when it never was one",
            since=record.accepted_at,
        )
        again = now + timedelta(hours=24)
    elif record.status is OrderStatus.HELD:
        again = _held(record, services, now)
    elif record.status is OrderStatus.CANCELLING:
        _stalled(record, services, now)
    else:
        _late(record, services, now)
        _stalled(record, services, now)
    services.orders.change(order_id, lambda current: current.model_copy(update={"due_at": again}) if current.due_at is not None and current.due_at <= now else None)


def _held(record: OrderRecord, services: Services, now: datetime) -> datetime:
    """A hold's deadline (or, for a backorder that waits, its next try)."""
    standing = [services.exceptions.get(name) for name in record.open_exceptions]
    hold = next((item for item in standing if item is not None and item.hold is not None and not item.closed), None)
    if hold is None or hold.hold is None or record.waiting is None:
        _stalled(record, services, now)  # nobody is asked: it is decided, and whoever was to hear of it may be gone
        return now + LOOK_AGAIN
    if now < hold.due_at:
        if hold.hold.kind is HoldKind.WAREHOUSE and services.spec.routing.backorder == "wait" and record.waiting.step is Step.HOLD:
            order_flow.answer_hold(record.order_id, "retry", services)
            return now + timedelta(minutes=services.spec.routing.backorder_retry_minutes)
        if hold.code == "CHECKS_FAILED" and record.waiting.step is Step.HOLD:
            return _checks_again(hold, services, now)
        return hold.due_at
    policy = services.spec.hold_policy(hold.hold.kind)
    backorder = hold.hold.kind is HoldKind.WAREHOUSE and services.spec.routing.backorder_cancel_days is not None
    if policy.on_expiry == "cancel" or backorder:
        order_flow.request_cancel(record.order_id, reason=f"{hold.code}: nobody decided in time", tell_source=True, actor=raise_exception.SYSTEM, services=services)
        return now + LOOK_AGAIN
    raise_exception.business(
        "HOLD_EXPIRED",
        f"nobody has decided on {hold.code} within {policy.deadline_minutes} minutes",
        record=record,
        services=services,
        what=hold.code,
        cause=Cause.PLATFORM,
        remedy="decide now: approve or reject",
        since=hold.due_at,
    )
    return now + timedelta(hours=24)


def _checks_again(hold: ExceptionRecord, services: Services, now: datetime) -> datetime:
    """Checks that could not be run are run again by themselves: after as long as that has lasted already, and not while the ERP is out. When to look next."""
    again = hold.last_seen_at + max(LOOK_AGAIN, min(hold.last_seen_at - hold.opened_at, CHECKS_AGAIN_AT_LEAST_EVERY))
    if again > now:
        return min(again, hold.due_at)
    if not services.circuits.of(services.spec.erp).is_open():
        order_flow.answer_hold(hold.subject, "retry", services)
    return now + LOOK_AGAIN


def _late(record: OrderRecord, services: Services, now: datetime) -> None:
    for part in record.parts:
        if not part.open:
            continue
        if part.acknowledged_at is None and part.acknowledge_by is not None and part.acknowledge_by <= now and part.status in (PartStatus.PLANNED, PartStatus.RELEASED):
            raise_exception.business(
                "ACKNOWLEDGEMENT_MISSING",
                f"{part.plan.connection} has not acknowledged part {part.plan.part_id} in time",
                record=record,
                services=services,
                what=part.plan.part_id,
                connection=part.plan.connection,
                remedy="ask the warehouse whether it has the order",
                since=part.acknowledge_by,
            )
        if part.ship_by is not None and part.ship_by <= now:
            raise_exception.business(
                "SHIPMENT_OVERDUE",
                f"part {part.plan.part_id} has not left {part.plan.location} within the promised window",
                record=record,
                services=services,
                what=part.plan.part_id,
                connection=part.plan.connection,
                remedy="ask the warehouse; tell the customer",
                since=part.ship_by,
            )


def _stalled(record: OrderRecord, services: Services, now: datetime) -> None:
    """Nothing is armed that would move the order: is its workflow alive, and has its open question been sent out?"""
    record = progress.advance(record.order_id, services)  # first of all: whoever should have answered may have died
    if record.status in TERMINAL:
        return
    running = services.workflow.running(record.order_id)
    if running is None and record.order is not None:
        services.workflow.start(record.order_id)
        return
    if running is False:
        raise_exception.business(
            "WORKFLOW_STOPPED",
            f"the order is {record.status.value} but its workflow does not run",
            record=record,
            services=services,
            what="workflow",
            cause=Cause.PLATFORM,
            remedy="`crossdock exceptions retry` starts it again from the checks",
            since=now,
        )
        return
    waiting = record.waiting
    if waiting is None:
        return
    # Commands are safe to send again: the effect ledger knows what was done.
    if waiting.step is Step.POST and record.sales_order is None:
        progress.send_again(OutboundMessage(command="CreateSalesOrder", connection=services.spec.erp, order_id=record.order_id), record, services)
    order_flow.hold_difference(record, services)
    if waiting.step is Step.RELEASE:
        reroute.go_on(record, services)
        for part in order_flow.unreleased(record):
            progress.send_again(
                OutboundMessage(command="ReleaseFulfillment", connection=part.plan.connection, order_id=record.order_id, part_id=part.plan.part_id), record, services
            )
    if record.shipments and not record.everything_settled:
        for booked in record.shipments:
            if not booked.confirmed:
                progress.send_again(
                    OutboundMessage(command="ConfirmShipment", connection=record.source, order_id=record.order_id, shipment_id=booked.shipment.shipment_id), record, services
                )
        first = next((booked for booked in record.shipments if booked.invoice_number is None), None)
        if first is not None:
            progress.send_again(
                OutboundMessage(command="PostInvoice", connection=services.spec.erp, order_id=record.order_id, shipment_id=first.shipment.shipment_id), record, services
            )


def _unmatched(name: str, event: Event, services: Services) -> None:
    error = NeedsPerson(
        "UNMATCHED_EVENT", f"{event.type} of {event.source} belongs to nothing that is known here ({name})", remedy="find the order it belongs to; discard it when it is not ours"
    )
    raise_exception.for_message(error, queue=QueueName.WORK, message=work_body(event), subject=name, connection=event.source, services=services)


def _polls(services: Services, now: datetime) -> int:
    """Ordinary rhythm of every poll, and the stock counts of whoever is believed for a location."""
    sent = 0
    for connection in services.spec.connections:
        for resource, contract in services.connectors.manifest(connection).polls.items():
            if services.cursors.claim(f"poll#{connection}#{resource}#base", until=now + timedelta(seconds=contract.every_seconds), now=now):
                progress.send(OutboundMessage(command="PollConnection", connection=connection, arguments={"resource": resource}), services)
                sent += 1
    for connection in sorted({location.stock_from for location in services.spec.locations.values()}):
        last = services.cursors.get(f"stock#{connection}")
        stock.stale(connection, last, services, now)
        if "stock" not in services.connectors.manifest(connection).queries:
            continue  # it reports by itself
        every = timedelta(minutes=services.spec.inventory.count_minutes.get(connection, STOCK_EVERY_MINUTES))
        if (last is None or now - datetime.fromisoformat(last) > every) and services.cursors.claim(f"stock#{connection}#claim", until=now + timedelta(minutes=5), now=now):
            progress.send(OutboundMessage(command="PullStock", connection=connection), services)
            sent += 1
    return sent + stock.watch(services, now) + prices.watch(services, now, limit=AT_ONCE) + reconcile.watch(services, now)
