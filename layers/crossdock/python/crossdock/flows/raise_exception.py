"""Something failed or is not as it should be: how does it become a record that somebody owns, and how is that record closed?"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from crossdock.domain.delivery import DeliveryStatus
from crossdock.domain.errors import Category, Cause, CrossdockError
from crossdock.domain.exception_record import (
    ExceptionRecord,
    ExceptionStatus,
    FieldNote,
    HistoryEntry,
    HoldDetails,
    exception_id,
    incident_fingerprint,
)
from crossdock.domain.messages import InboundMessage
from crossdock.domain.money import Money
from crossdock.domain.order_record import TERMINAL, OrderRecord, OrderStatus
from crossdock.domain.stage import QueueName
from crossdock.flows.services import Services

SYSTEM = "crossdock"


def message_exception_id(queue: QueueName, message: str) -> str:
    """One record per message, whatever goes wrong with it: its success is the evidence that closes it."""
    return f"{queue.value}-{hashlib.sha256(message.encode()).hexdigest()[:20]}"


def runbook(code: str) -> str:
    return f"docs/runbooks/{code.lower().replace('_', '-')}.md"


def _at_risk(record: OrderRecord | None) -> dict[str, object]:
    if record is None or record.order is None:
        return {}
    dates = [part.ship_by for part in record.parts if part.ship_by is not None and part.open]
    return {"money_at_risk": record.order.total, "ship_by": min(dates) if dates else None}


def for_message(
    error: CrossdockError,
    *,
    queue: QueueName,
    message: str,
    subject: str,
    connection: str | None,
    services: Services,
    order_id: str | None = None,
    dead_letter: bool = True,
) -> ExceptionRecord:
    """Records why the message cannot go on and (``dead_letter``) puts the message into the queue's dead letters, where it waits for a redrive.

    The record is written first: a crash between the two leaves a record without a message, and the message itself comes round again.
    """
    now = services.clock.now()
    route = services.spec.route(error.code)
    record = services.orders.get(order_id) if order_id else None
    made = services.exceptions.open(
        ExceptionRecord(
            exception_id=message_exception_id(queue, message),
            code=error.code,
            category=error.category,
            cause=error.cause,
            status=ExceptionStatus.OPEN,
            detail=error.detail[:1000],
            remedy=error.remedy[:1000],
            fields=tuple(FieldNote(path=note.path, problem=note.problem[:1000]) for note in error.fields[:50]),
            kind="message",
            subject=subject,
            order_id=order_id,
            connection=connection,
            queue=queue,
            message=message,
            fingerprint=incident_fingerprint(error.code, connection, error.detail),
            owner=route.owner,
            opened_at=now,
            last_seen_at=now,
            due_at=now + timedelta(minutes=route.deadline_minutes),
            runbook=runbook(error.code),
            history=(HistoryEntry(at=now, actor=SYSTEM, action="opened", note=error.code),),
            **_at_risk(record),
        )
    )
    _mark_order(record, made.exception_id, services)
    services.audit.append(
        order_id or subject,
        actor=SYSTEM,
        action="ExceptionOpened",
        summary=f"{error.code}: {error.detail}"[:500],
        details={"exception_id": made.exception_id, "queue": queue.value},
        at=now,
    )
    if dead_letter:
        services.queues.send_to_dead_letters(queue, message, group=connection or subject, exception_id=made.exception_id)
    return made


def business(
    code: str,
    detail: str,
    *,
    record: OrderRecord,
    services: Services,
    what: str = "",
    remedy: str = "",
    cause: Cause = Cause.WAREHOUSE,
    connection: str | None = None,
    hold: HoldDetails | None = None,
    due_at: datetime | None = None,
    since: datetime | None = None,
) -> ExceptionRecord:
    """A fact that should not be (or, with ``hold``, a decision that a person must take) although every call went well.

    ``since``: when the fact came about. A record of it that is open, or was closed after that, stands as it is: hearing of the same
    fact again is no contradiction. Only a fact newer than the closing reopens.
    """
    now = services.clock.now()
    name = exception_id(code, record.order_id, what)
    standing = services.exceptions.get(name) if since is not None else None
    if standing is not None and since is not None and (standing.resolved_at is None or not standing.closed or since <= standing.resolved_at):
        if not standing.closed and name not in record.open_exceptions:
            _on_record(standing, record.order_id, services)
            _mark_order(record, name, services)
        return standing
    route = services.spec.route(code)
    made = services.exceptions.open(
        ExceptionRecord(
            exception_id=name,
            code=code,
            category=Category.NEEDS_PERSON,
            cause=cause,
            status=ExceptionStatus.OPEN,
            detail=detail[:1000],
            remedy=remedy[:1000],
            kind="hold" if hold else "business",
            subject=record.order_id,
            order_id=record.order_id,
            connection=connection,
            hold=hold,
            fingerprint=incident_fingerprint(code, connection, detail),
            owner=services.spec.hold_policy(hold.kind).owner if hold else route.owner,
            opened_at=now,
            last_seen_at=now,
            due_at=due_at or now + timedelta(minutes=route.deadline_minutes),
            runbook=runbook(code),
            history=(HistoryEntry(at=now, actor=SYSTEM, action="opened", note=code),),
            **_at_risk(record),
        )
    )
    services.audit.append(record.order_id, actor=SYSTEM, action="ExceptionOpened", summary=f"{code}: {detail}"[:500], details={"exception_id": made.exception_id}, at=now)
    _mark_order(record, made.exception_id, services)
    return made


def connection_down(connection: str, detail: str, *, since: datetime, services: Services) -> ExceptionRecord:
    """One exception for the whole outage of a system, whatever waits for it."""
    return episode(
        "CONNECTION_DOWN",
        connection,
        f"{connection} has not worked since {since:%Y-%m-%d %H:%M:%S} UTC: {detail}",
        connection=connection,
        cause=Cause.PLATFORM,
        category=Category.RETRY_LATER,
        remedy="nothing is lost: its commands wait and go on by themselves; ask the system's people when it will be back",
        services=services,
    )


def episode(
    code: str,
    subject: str,
    detail: str,
    *,
    services: Services,
    what: str = "",
    connection: str | None = None,
    cause: Cause,
    category: Category = Category.NEEDS_PERSON,
    remedy: str,
    hold: HoldDetails | None = None,
    due_at: datetime | None = None,
    money_at_risk: Money | None = None,
) -> ExceptionRecord:
    """A state that lasts, of something that is no order: one record from when it begins until it is over, however often it is seen meanwhile.

    The next time it begins the same record is reopened, with its history. With ``hold`` a person decides on it; what is to be decided
    on may become another while it stands."""
    now = services.clock.now()
    name = exception_id(code, subject, what)
    standing = services.exceptions.get(name)
    if standing is not None and not standing.closed and standing.hold == hold:
        return standing
    route = services.spec.route(code)
    made = services.exceptions.open(
        ExceptionRecord(
            exception_id=name,
            code=code,
            category=category,
            cause=cause,
            status=ExceptionStatus.OPEN,
            detail=detail[:1000],
            remedy=remedy[:1000],
            kind="hold" if hold else "business",
            subject=subject,
            connection=connection,
            hold=hold,
            money_at_risk=money_at_risk,
            fingerprint=incident_fingerprint(code, connection, ""),
            owner=services.spec.hold_policy(hold.kind).owner if hold else route.owner,
            opened_at=now,
            last_seen_at=now,
            due_at=due_at or now + timedelta(minutes=route.deadline_minutes),
            runbook=runbook(code),
            history=(HistoryEntry(at=now, actor=SYSTEM, action="opened", note=code),),
        )
    )
    services.audit.append(subject, actor=SYSTEM, action="ExceptionOpened", summary=f"{code}: {detail}"[:500], details={"exception_id": made.exception_id}, at=now)
    return made


def connection_works(connection: str, services: Services) -> None:
    """It has answered: whatever was recorded about its outage is settled by that."""
    close(exception_id("CONNECTION_DOWN", connection), actor=SYSTEM, note=f"{connection} works again", services=services)


def _on_record(standing: ExceptionRecord, subject: str, services: Services) -> None:
    summary = f"{standing.code}: {standing.detail}"[:500]
    note_once(subject, actor=SYSTEM, action="ExceptionOpened", summary=summary, details={"exception_id": standing.exception_id}, at=services.clock.now(), services=services)


def _mark_order(record: OrderRecord | None, opened: str, services: Services) -> None:
    if record is None or opened in record.open_exceptions:
        return

    def mark(current: OrderRecord) -> OrderRecord | None:
        if opened in current.open_exceptions:
            return None
        return current.model_copy(update={"open_exceptions": (*current.open_exceptions, opened)})

    services.orders.change(record.order_id, mark)


def close(opened: str, *, actor: str, note: str, services: Services) -> ExceptionRecord | None:
    """Closes a record because the thing has happened (or a person has decided). None when there is none, or it is closed."""
    standing = services.exceptions.get(opened)
    now = services.clock.now()
    if standing is None or standing.closed:
        if standing is not None and standing.order_id:
            _settle_order(standing, standing.history[-1].actor, note, now, services)  # the first time may have ended before that
        return None

    def resolve(current: ExceptionRecord) -> ExceptionRecord | None:
        if current.closed:
            return None
        return current.model_copy(
            update={"status": ExceptionStatus.RESOLVED, "resolved_at": now, "history": (*current.history, HistoryEntry(at=now, actor=actor, action="resolved", note=note[:1000]))}
        )

    closed = services.exceptions.change(opened, resolve)
    services.audit.append(
        closed.order_id or closed.subject, actor=actor, action="ExceptionResolved", summary=f"{closed.code}: {note}"[:500], details={"exception_id": opened}, at=now
    )
    if closed.order_id:
        _settle_order(closed, actor, note, now, services)
    return closed


def _settle_order(closed: ExceptionRecord, actor: str, note: str, now: datetime, services: Services) -> None:
    """Takes the closed exception off its order. Whether it stands there still shows that nobody has come this far before."""
    opened, order = closed.exception_id, services.orders.get(closed.order_id or "")
    if order is None or opened not in order.open_exceptions:
        return
    details = {"exception_id": opened}
    if not any(entry.action == "ExceptionResolved" and entry.details == details and entry.at >= closed.last_seen_at for entry in services.audit.entries(order.order_id)):
        services.audit.append(order.order_id, actor=actor, action="ExceptionResolved", summary=f"{closed.code}: {note}"[:500], details=details, at=now)
    services.orders.change(order.order_id, lambda current: _without(current, opened, now))


def _without(order: OrderRecord, opened: str, now: datetime) -> OrderRecord | None:
    """The order without that exception; the watch looks soon whether it can go on now."""
    if opened not in order.open_exceptions:
        return None
    changed = order.model_copy(update={"open_exceptions": tuple(name for name in order.open_exceptions if name != opened)})
    return changed if order.status in TERMINAL or order.status is OrderStatus.ANNOUNCED else changed.model_copy(update={"due_at": now})


def note_once(subject: str, *, actor: str, action: str, summary: str, details: dict[str, str], at: datetime, services: Services) -> None:
    """Puts it on the record unless it stands there: for whoever comes a second time, after a crash that may lie before the first note."""
    services.audit.append_once(subject, actor=actor, action=action, summary=summary, details=details, at=at)


def write_refused(subject: str, *, source: str, summary: str, delivery: str, services: Services) -> None:
    """On record, once per delivery: the source wrote what another system owns (systems_of_record), and nothing came of it."""
    note_once(subject, actor=source, action="WriteRefused", summary=summary, details={"delivery": delivery}, at=services.clock.now(), services=services)


def close_for_message(queue: QueueName, message: str, *, services: Services) -> None:
    """The message went through: whatever was recorded about it is settled by that."""
    close(message_exception_id(queue, message), actor=SYSTEM, note="the message went through", services=services)


def delivery_of(message: str) -> str:
    return InboundMessage.model_validate_json(message).delivery_id


def mark_delivery(message: str, code: str, services: Services) -> None:
    services.deliveries.settle(delivery_of(message), DeliveryStatus.EXCEPTION, now=services.clock.now(), reason=code)
