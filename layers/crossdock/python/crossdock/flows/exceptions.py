"""What can a person do with an exception: edit, try again, decide, hand over; each safe to repeat and on the record."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from crossdock.domain.dead_letter import DeadLetters
from crossdock.domain.delivery import DeliveryStatus
from crossdock.domain.errors import CrossdockError, FieldProblem, NeedsPerson, Rejected
from crossdock.domain.events import fingerprint
from crossdock.domain.exception_record import ExceptionRecord, ExceptionStatus, HistoryEntry
from crossdock.domain.exception_record import exception_id as the_id
from crossdock.domain.order import Order
from crossdock.domain.order_record import TERMINAL, Approval, OrderRecord, OrderStatus
from crossdock.domain.stage import QueueName
from crossdock.domain.tenant import HoldKind
from crossdock.flows import allocate, customers, prices, progress, raise_exception, returns
from crossdock.flows import order as order_flow
from crossdock.flows.dead_letters import redrive
from crossdock.flows.raise_exception import delivery_of
from crossdock.flows.services import Services
from crossdock.flows.translate import events_of


@dataclass(frozen=True)
class Preflight:
    """What an edited payload would become, found out without any effect."""

    ok: bool
    problems: tuple[FieldProblem, ...]
    events: tuple[dict[str, Any], ...]
    code: str = ""


def _standing(exception_id: str, services: Services) -> ExceptionRecord:
    record = services.exceptions.get(exception_id)
    if record is None:
        raise Rejected("NOT_FOUND", f"there is no exception {exception_id}", remedy="see `crossdock exceptions list`")
    return record


def _note(exception_id: str, *, actor: str, action: str, note: str, services: Services, **updates: object) -> ExceptionRecord:
    now = services.clock.now()

    def change(current: ExceptionRecord) -> ExceptionRecord:
        # It may have succeeded (and been closed) while this was being done: a closed record stays closed.
        kept = {} if current.closed else updates
        return current.model_copy(update={"history": (*current.history, HistoryEntry(at=now, actor=actor, action=action, note=note[:1000])), **kept})

    changed = services.exceptions.change(exception_id, change)
    services.audit.append(
        changed.order_id or changed.subject,
        actor=actor,
        action=f"Exception{action.capitalize()}",
        summary=(f"{changed.code}: {note}" if note else changed.code)[:500],
        details={"exception_id": exception_id},
        at=now,
    )
    return changed


def assign(exception_id: str, *, to: str, actor: str, services: Services) -> ExceptionRecord:
    standing = _standing(exception_id, services)
    status = ExceptionStatus.ACKNOWLEDGED if standing.status is ExceptionStatus.OPEN else standing.status
    return _note(exception_id, actor=actor, action="assigned", note=f"to {to}", services=services, assigned_to=to, status=status)


def payload(exception_id: str, services: Services) -> tuple[str, bytes]:
    """(what it is, its bytes): the delivery's newest body, or the order as it stands."""
    standing = _standing(exception_id, services)
    if standing.queue is QueueName.INBOUND:
        return "delivery", services.deliveries.load(delivery_of(standing.message)).body
    if standing.order_id is not None:
        record = services.orders.get(standing.order_id)
        if record is not None and record.order is not None:
            return "order", json.dumps(record.order.as_json(), indent=2, ensure_ascii=False).encode()
    return "message", standing.message.encode()


def preflight(exception_id: str, body: bytes, services: Services) -> Preflight:
    """Would the edited payload go through? Runs the same translation and checks as the real thing, calls nobody."""
    standing = _standing(exception_id, services)
    try:
        if standing.queue is QueueName.INBOUND:
            delivery = replace(services.deliveries.load(delivery_of(standing.message)), body=body)
            events, ignored = events_of(delivery, services)
            shown: tuple[dict[str, Any], ...] = tuple(event.as_json() for event in events) if ignored is None else ({"ignored": ignored},)
        else:
            shown = (_edited_order(standing, body, services).as_json(),)
    except CrossdockError as error:
        return Preflight(False, error.fields or (FieldProblem("(document)", error.detail),), (), error.code)
    return Preflight(True, (), shown)


def _edited_order(standing: ExceptionRecord, body: bytes, services: Services) -> Order:
    record = services.orders.get(standing.order_id or "")
    if record is None or record.order is None:
        raise Rejected("NOT_EDITABLE", f"exception {standing.exception_id} has no payload to edit", remedy="resolve it instead")
    if record.sales_order is not None:
        raise Rejected("NOT_EDITABLE", "the order is posted in the ERP: an edit here would part the two", remedy="correct it in the ERP, or cancel and place anew")
    try:
        edited = Order.model_validate_json(body)
    except ValidationError as error:
        problems = [FieldProblem(".".join(str(part) for part in problem["loc"]) or "(document)", problem["msg"]) for problem in error.errors(include_input=False)]
        raise Rejected("INVALID_BODY", "the edited order is not valid", remedy="correct the fields named", fields=problems) from error
    if (edited.order_id, edited.external_id, edited.connection) != (record.order.order_id, record.order.external_id, record.order.connection):
        raise Rejected("INVALID_BODY", "an edit cannot make it another order", remedy="leave order_id, external_id and connection", fields=[FieldProblem("order_id", "must stay")])
    allocate.needs_of(edited, services.xref)
    for line in edited.lines:
        services.xref.article(line.sku)
    if record.parts and _shape(edited) != _shape(record.order):
        raise Rejected(
            "NOT_EDITABLE",
            "stock is reserved for these lines and quantities",
            remedy="edit prices, address and texts only, or cancel and place anew",
            fields=[FieldProblem("lines", "SKU, unit and quantity must stay")],
        )
    return edited


def _shape(order: Order) -> list[tuple[str, str, str, bool]]:
    """What of an order the warehouses are told."""
    return sorted((line.line_id, line.sku, str(line.quantity), line.requires_shipping) for line in order.lines)


def edit(exception_id: str, body: bytes, *, actor: str, services: Services) -> Preflight:
    """Keeps the edited payload (beside the original) if it passes the pre-flight; an edit that would fail again is refused, with the reason."""
    standing = _standing(exception_id, services)
    if standing.closed:
        raise Rejected("ALREADY_RESOLVED", f"exception {exception_id} is closed", remedy="nothing is to be edited")
    found = preflight(exception_id, body, services)
    if not found.ok:
        return found
    if standing.queue is QueueName.INBOUND:
        revision = services.deliveries.revise(delivery_of(standing.message), body, actor=actor, now=services.clock.now())
        _note(exception_id, actor=actor, action="edited", note=f"revision {revision}, sha256 {fingerprint(body.decode('utf-8', 'replace'))[:16]}", services=services)
    else:
        edited = _edited_order(standing, body, services)
        services.orders.change(
            edited.order_id, lambda current: current.model_copy(update={"order": edited, "account": edited.customer.account}) if current.sales_order is None else None
        )
        _note(exception_id, actor=actor, action="edited", note="the order's record", services=services)
    return found


def retry(exception_id: str, *, actor: str, services: Services, letters: DeadLetters) -> str:
    """Sends the thing round again; the record closes when it has gone through. A sentence that says what was done."""
    standing = _standing(exception_id, services)
    if standing.closed:
        return _closed_already(standing, services)
    if _is_returns(standing):
        returns.check_again(standing.subject, services)
        return "the return is checked again"
    if standing.hold is not None and standing.hold.kind in _MASTER_DATA:
        raise Rejected("NOT_RETRYABLE", "a change waits for a decision", remedy="`crossdock exceptions resolve` with --decision approve or reject")
    if standing.kind == "hold":
        return _answer_hold(standing, "retry", actor=actor, note="checks again", services=services)
    if standing.kind == "business":
        if standing.code == "WORKFLOW_STOPPED":
            return _restart(standing, actor=actor, services=services)
        raise Rejected("NOT_RETRYABLE", f"{standing.code} is a fact, not a failed message", remedy="settle it, then `crossdock exceptions resolve`")
    if standing.queue is None:
        raise Rejected("NOT_RETRYABLE", "no message belongs to it", remedy="`crossdock exceptions resolve`")
    wanted = standing.message
    report = redrive(standing.queue, letters=letters, services=services, actor=actor, match=lambda letter: letter.body == wanted, dry_run=False, per_second=50.0)
    if report.sent == 0:
        # Not in the dead letters (redriven before, or older than the queue's retention): the store has it.
        _reopen_delivery(standing.queue, wanted, services)
        services.queues.send(standing.queue, wanted, group=standing.connection or standing.subject)
    _note(exception_id, actor=actor, action="retried", note="sent round again", services=services, status=ExceptionStatus.RETRYING)
    return "sent round again"


def _closed_already(standing: ExceptionRecord, services: Services) -> str:
    """Whoever closed it may have died before the order went on."""
    raise_exception.close(standing.exception_id, actor=raise_exception.SYSTEM, note="closed before", services=services)
    if standing.order_id and services.orders.get(standing.order_id) is not None:
        progress.advance(standing.order_id, services)
    return "it is closed already: nothing to do"


def _reopen_delivery(queue: QueueName, message: str, services: Services) -> None:
    if queue is QueueName.INBOUND:
        note = services.deliveries.note(delivery_of(message))
        if note is not None and note.status is DeliveryStatus.EXCEPTION:
            services.deliveries.settle(note.delivery_id, DeliveryStatus.RECEIVED, now=services.clock.now(), reason="retried")


def _restart(standing: ExceptionRecord, *, actor: str, services: Services) -> str:
    order_id = standing.order_id or ""
    record = services.orders.get(order_id)
    if record is not None and record.status not in TERMINAL and not services.workflow.running(order_id):
        services.workflow.start(order_id, attempt=standing.occurrences)
    if not standing.order_id:
        returns.restart(standing.subject, attempt=standing.occurrences, services=services)
    raise_exception.close(standing.exception_id, actor=actor, note="the workflow was started again", services=services)
    return "the workflow was started again"


def resolve(exception_id: str, *, decision: str, note: str, actor: str, services: Services, letters: DeadLetters) -> str:
    """A person decides. Holds: ``approve`` or ``reject``; messages: ``discard``; business facts: ``done``. ``note`` is the reason on record."""
    standing = _standing(exception_id, services)
    if standing.closed:
        return _closed_already(standing, services)
    deciders: dict[str, tuple[str, Callable[[], str]]] = {
        "hold": ("approve or reject", lambda: _decide_hold(standing, decision, note=note, actor=actor, services=services)),
        "message": ("discard", lambda: _discard(standing, note=note, actor=actor, services=services, letters=letters)),
        "business": ("done", lambda: _settled(standing, note=note, actor=actor, services=services)),
    }
    allowed, act = deciders[standing.kind]
    if decision not in allowed.split(" or "):
        raise Rejected("INVALID_DECISION", f"{decision!r} is no decision for a {standing.kind} exception", remedy=f"use --decision {allowed}")
    if not note.strip():
        raise Rejected("NOTE_MISSING", "a decision needs its reason on record", remedy='add --note "why"')
    return act()


def _settled(standing: ExceptionRecord, *, note: str, actor: str, services: Services) -> str:
    if standing.code == "ORDER_NEVER_ARRIVED":
        _never_arrived(standing, services)
    raise_exception.close(standing.exception_id, actor=actor, note=note, services=services)
    if standing.order_id:
        progress.advance(standing.order_id, services)
    return "closed"


def _never_arrived(standing: ExceptionRecord, services: Services) -> None:
    """Only its cancellation ever came: there is nothing to cancel, and nothing is awaited any more."""
    now = services.clock.now()
    services.orders.change(
        standing.order_id or "",
        lambda current: (
            progress.with_status(current, OrderStatus.CANCELLED, now).model_copy(update={"due_at": None, "completed_at": now}) if current.status is OrderStatus.ANNOUNCED else None
        ),
    )


def _is_returns(standing: ExceptionRecord) -> bool:
    return standing.hold is not None and standing.hold.kind is HoldKind.RETURN


_MASTER_DATA = frozenset({HoldKind.PRICE_CHANGE, HoldKind.TERMS_CHANGE})


def _decide_hold(standing: ExceptionRecord, decision: str, *, note: str, actor: str, services: Services) -> str:
    if standing.hold is not None and standing.hold.kind in _MASTER_DATA:
        approve = decision == "approve"
        if standing.hold.kind is HoldKind.PRICE_CHANGE:
            done = prices.decide(standing.exception_id, standing.subject, approve=approve, actor=actor, note=note, services=services)
        else:
            done = customers.decide(standing.subject, approve=approve, actor=actor, note=note, services=services)
        raise_exception.close(standing.exception_id, actor=actor, note=f"{decision}: {note}", services=services)
        return done
    if standing.hold is not None and _is_returns(standing):
        done = returns.decide(standing.subject, approve=decision == "approve", hold=standing.hold, code=standing.code, actor=actor, note=note, services=services)
        raise_exception.close(standing.exception_id, actor=actor, note=f"{decision}: {note}", services=services)
        return done
    if decision == "reject":
        order_flow.request_cancel(standing.order_id or "", reason=f"{standing.code} refused by {actor}: {note}", tell_source=True, actor=actor, services=services)
        raise_exception.close(standing.exception_id, actor=actor, note=f"rejected: {note}", services=services)
        return "rejected: the order is being cancelled"
    hold = standing.hold
    if hold is None:
        raise NeedsPerson("HOLD_UNKNOWN", "the record does not say what is held", remedy="reject it, or retry the checks")
    if hold.kind in _NOT_FOR_APPROVAL or standing.code == "MISSING_XREF":
        raise Rejected("INVALID_DECISION", f"{standing.code} cannot be approved away: the order could not go on", remedy="mend the cause and retry, or reject")
    now = services.clock.now()
    approval = Approval(kind=hold.kind, fingerprint=hold.fingerprint, by=actor, at=now, note=note)
    services.orders.change(
        standing.order_id or "", lambda current: None if approval in current.approvals else current.model_copy(update={"approvals": (*current.approvals, approval)})
    )
    return _answer_hold(standing, "approve", actor=actor, note=note, services=services)


_NOT_FOR_APPROVAL = frozenset({HoldKind.WAREHOUSE, HoldKind.UNIT, HoldKind.CHECKS})


def _answer_hold(standing: ExceptionRecord, decision: str, *, actor: str, note: str, services: Services) -> str:
    """Answers first, closes then: who finds it half done does it again to the same end."""
    order_id = standing.order_id or ""
    record = services.orders.get(order_id)
    if record is None or record.waiting is None:
        raise NeedsPerson("NOT_WAITING", f"order {order_id} does not wait for a decision", remedy="see `crossdock orders show`")
    if standing.hold is not None and standing.hold.kind is HoldKind.ERP_TOTAL:
        return _answer_erp_hold(standing, record, decision, actor=actor, note=note, services=services)
    order_flow.answer_hold(order_id, decision, services)
    raise_exception.close(standing.exception_id, actor=actor, note=f"{decision}: {note}", services=services)
    raise_exception.close(the_id("HOLD_EXPIRED", order_id, standing.code), actor=actor, note="it is decided", services=services)
    return "approved: the order goes on" if decision == "approve" else "the checks run again"


def _answer_erp_hold(standing: ExceptionRecord, record: OrderRecord, decision: str, *, actor: str, note: str, services: Services) -> str:
    """The sales order stands but its total differs: approved, the order goes on; retried, the ERP is asked what it says now."""
    now = services.clock.now()
    if decision == "retry" and record.sales_order is not None:
        total = services.connectors.connector(services.spec.erp).sales_order_total(record.sales_order.external_id)
        services.orders.change(
            record.order_id,
            lambda current: current.model_copy(update={"sales_order": current.sales_order.model_copy(update={"total": total})}) if current.sales_order and total else None,
        )

    def go_on(current: OrderRecord) -> OrderRecord | None:
        if current.status is not OrderStatus.HELD or order_flow.erp_difference(current, services) is not None:
            return None
        changed = progress.caught_up(progress.with_status(current, OrderStatus.POSTED, now), now)
        return changed.model_copy(update={"due_at": progress.next_deadline(changed, services)})

    changed = services.orders.change(record.order_id, go_on)
    if order_flow.hold_difference(changed, services) is not None:
        return "the totals still differ: the hold stays"
    progress.advance(record.order_id, services)
    raise_exception.close(standing.exception_id, actor=actor, note=f"{decision}: {note}", services=services)
    raise_exception.close(the_id("HOLD_EXPIRED", record.order_id, standing.code), actor=actor, note="it is decided", services=services)
    return "the order goes on"


def _discard(standing: ExceptionRecord, *, note: str, actor: str, services: Services, letters: DeadLetters) -> str:
    if standing.queue is not None:
        letters.remove(standing.queue, lambda letter: letter.body == standing.message)
        if standing.queue is QueueName.INBOUND:
            services.deliveries.settle(delivery_of(standing.message), DeliveryStatus.DISCARDED, now=services.clock.now(), reason=note[:500])
    raise_exception.close(standing.exception_id, actor=actor, note=f"discarded: {note}", services=services)
    return "discarded, with the reason on record"
