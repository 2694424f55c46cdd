"""Goods come back: is it allowed, have they come, and have the warehouse, the ERP and the storefront heard of it, each once?

Every public function is safe to call again: it writes what it knows first and asks ``advance`` what is due now.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal

from crossdock.domain.commands import (
    ApproveReturn,
    CallOffReturn,
    CloseReturn,
    CreditedLine,
    DeclineReturn,
    ExpectedItem,
    ExpectReturn,
    Intent,
    PostCreditMemo,
    Receipt,
    RefundedItem,
    RefundReturn,
    ReturnedItem,
)
from crossdock.domain.delivery import Delivery, inbound_message
from crossdock.domain.effect import EffectState
from crossdock.domain.errors import Cause, NeedsPerson, Rejected, RetryLater
from crossdock.domain.events import Event, OrderPlaced, ReturnAnnounced, ReturnReceived, ReturnRequested, ReturnWithdrawn, event_id
from crossdock.domain.exception_record import HoldDetails, exception_id
from crossdock.domain.messages import OutboundMessage, ReturnStepRequest, StuckNotice, work_body
from crossdock.domain.model import plain, rfc3339
from crossdock.domain.money import Money
from crossdock.domain.order import Order, OrderLine
from crossdock.domain.order_record import Approval, OrderRecord, Parked
from crossdock.domain.policy import Hold, expected_tax, not_approved, within
from crossdock.domain.quantity import Quantity, to_base
from crossdock.domain.return_ import Disposition, Return
from crossdock.domain.return_policy import all_here, for_a_person, not_eligible, settled, unit_price, value_of
from crossdock.domain.return_record import AgreedLine, CreditMemo, ReturnRecord, ReturnStatus
from crossdock.domain.stage import QueueName
from crossdock.domain.stock import StockAdjustment
from crossdock.domain.tenant import HoldKind
from crossdock.domain.waiting import ReturnStep
from crossdock.flows import circuit, progress, raise_exception, stock
from crossdock.flows.receive import safe_id
from crossdock.flows.services import Services

CALLED_OFF = "CalledOff"
"""The error by which the workflow is told that nothing comes of the return."""
FETCH = "FetchReturn"
DIRECT = "direct"
PARKED_FOR = timedelta(hours=24)
LOOK_AGAIN = timedelta(minutes=5)
LOOK_AFTER = timedelta(hours=12)
"""Goods may be on their way for weeks; that their workflow still runs is looked at more often."""
LOCK_SECONDS = 20
_FORWARD = ("ApproveReturn", "ExpectReturn")
"""Commands that must not leave any more once nothing is to come of the return."""
_AWAITED = (ReturnStatus.AUTHORISED, ReturnStatus.PARTIALLY_RECEIVED)
_FOR_APPROVAL = ("RETURN_AUTHORISATION", "RETURN_TOTAL_DIFFERENCE")


# ------------------------------------------------------------------ what is told from outside


def announced(event: Event, fact: ReturnAnnounced, services: Services) -> None:
    """The storefront is asked what is to come back; its answer comes the way of a webhook."""
    if services.returns.get(fact.return_id) is None:
        progress.send(OutboundMessage(command=FETCH, connection=event.source, return_id=fact.return_id, arguments={"return": fact.external_id}), services)


def fetch(message: OutboundMessage, services: Services) -> None:
    """Takes one return in, as a delivery with its lines."""
    connector = services.connectors.connector(message.connection)
    item = circuit.asked(message.connection, lambda: connector.returned(message.arguments["return"]), services)
    delivery = Delivery(
        delivery_id=safe_id(message.connection, item.topic, item.key),
        connection=message.connection,
        topic=item.topic,
        body=item.body,
        headers={"x-polled": "return"},
        received_at=services.clock.now(),
    )
    services.deliveries.add(delivery)
    services.queues.send(QueueName.INBOUND, inbound_message(delivery.delivery_id), group=message.connection)


def requested(event: Event, fact: ReturnRequested, services: Services) -> None:
    asked = fact.return_
    if services.returns.get(asked.return_id) is None:
        order = services.orders.get(asked.order_id)
        if order is None or order.order is None:
            _park(event, asked.order_id, services, is_here=lambda: _is_placed(services.orders.get(asked.order_id)))
            return
        now = services.clock.now()
        fresh = ReturnRecord(
            return_id=asked.return_id,
            status=ReturnStatus.REQUESTED,
            request=asked,
            order_id=asked.order_id,
            source=event.source,
            storefront=order.source,
            accepted_at=event.received_at,
            updated_at=now,
            storefront_id=asked.external_id if event.source == order.source else None,
            due_at=now + timedelta(seconds=services.spec.service_level.accept_seconds),
        )
        services.returns.add(fresh)
    for subject in (asked.return_id, asked.order_id):
        raise_exception.note_once(
            subject,
            actor=event.source,
            action="ReturnRequested",
            summary=f"{asked.number}: {len(asked.lines)} line(s) of order {asked.order_id}",
            details={"return": asked.return_id, "delivery": event.causation_id},
            at=event.received_at,
            services=services,
        )
    services.workflow.start(asked.return_id)
    progress.rejoin([asked.return_id, asked.external_id], asked.return_id, services)


def _is_placed(record: OrderRecord | None) -> bool:
    """More than announced by something that overtook it."""
    return record is not None and record.order is not None


def withdrawn(event: Event, fact: ReturnWithdrawn, services: Services) -> None:
    record = services.returns.get(fact.return_id)
    if record is None:
        _park(event, fact.return_id, services, is_here=lambda: services.returns.get(fact.return_id) is not None)
        return
    if record.receipts or record.status is ReturnStatus.SETTLING:
        _episode(
            "RETURN_WITHDRAWN_LATE",
            record,
            f"{event.source} calls the return off, but goods of it have come",
            services,
            connection=event.source,
            cause=Cause.SOURCE_DATA,
            remedy="agree with the customer: what came is credited and refunded as it stands",
        )
        return
    _end(fact.return_id, ReturnStatus.WITHDRAWN, fact.reason or "withdrawn", actor=event.source, services=services)


def received(event: Event, fact: ReturnReceived, services: Services) -> None:
    """Books what came. Stock goes up only on the word of whoever owns its count: here when that is the sender, else with the owner's next count."""
    receipt = fact.receipt

    def find() -> ReturnRecord | None:
        found = services.returns.get(receipt.return_reference) if receipt.return_reference.startswith("RMA-") else None
        for reference in (receipt.external_id, receipt.return_reference) if found is None else ():
            known = services.orders.referred(event.source, f"return:{reference}") if reference else None
            found = found or (services.returns.get(known[0]) if known else None)
        return found

    record = find()
    if record is None or record.location is None:
        _park(event, receipt.return_reference, services, is_here=lambda: _is_agreed(find()))
        return
    place = services.spec.locations[record.location]
    if event.source not in (place.connection, DIRECT):
        summary = f"what comes to {record.location} is {place.connection}'s to receive, not {event.source}'s"
        raise_exception.write_refused(record.return_id, source=event.source, summary=summary, delivery=event.causation_id, services=services)
        return
    now = services.clock.now()
    late = False

    def book(current: ReturnRecord) -> ReturnRecord | None:
        nonlocal late
        late = current.over or current.status is ReturnStatus.SETTLING
        if any(known.receipt_id == receipt.receipt_id for known in current.receipts):
            late = late and not any(known == receipt for known in current.receipts)
            return None
        status = current.status if late else ReturnStatus.PARTIALLY_RECEIVED
        return current.model_copy(update={"receipts": (*current.receipts, receipt), "status": status, "updated_at": now})

    record = services.returns.change(record.return_id, book)
    for position, line in enumerate(receipt.lines):
        if line.disposition is Disposition.RESTOCK and event.source == place.stock_from:
            for sku, count in _stocked(line.sku, line.quantity, services).items():
                back = StockAdjustment(
                    sku=sku,
                    location=record.location,
                    adjustment_id=f"{record.return_id}/{receipt.receipt_id}/{position}{'' if sku == line.sku else '/' + sku}"[:120],
                    change=count,
                    reason="returned",
                    occurred_at=receipt.received_at,
                )
                stock.adjusted(back, source=event.source, reference=event.causation_id, services=services)
    raise_exception.note_once(
        record.return_id,
        actor=event.source,
        action="ReturnReceived",
        summary="; ".join(f"{plain(line.quantity)} of {line.sku}: {line.disposition.value}" for line in receipt.lines)[:500] or "nothing came",
        details={"receipt": receipt.receipt_id, "complete": str(receipt.complete).lower(), "location": record.location or ""},
        at=receipt.received_at,
        services=services,
    )
    if late:
        _episode(
            "RETURN_OVER_RECEIPT",
            record,
            f"goods came with {receipt.receipt_id} after the return was {record.status.value}",
            services,
            what=receipt.receipt_id,
            connection=event.source,
            remedy="credit them by hand, or send them back to the customer",
        )
    advance(record.return_id, services)


def _stocked(sku: str, quantity: Decimal, services: Services) -> dict[str, Decimal]:
    """The stock that so much of it is: of a bundle, its components."""
    article = services.spec.articles.get(sku)
    return {component: count * quantity for component, count in article.components.items()} if article and article.components else {sku: quantity}


def _is_agreed(record: ReturnRecord | None) -> bool:
    return record is not None and record.location is not None


def _park(event: Event, name: str, services: Services, *, is_here: Callable[[], bool]) -> None:
    """It came before what it belongs to. ``is_here`` is asked once more afterwards: what came in between has looked for it too early."""
    now = services.clock.now()
    services.orders.park(name, source=event.source, item=Parked(event_json=event.model_dump_json(by_alias=True, exclude_none=True), parked_at=now, until=now + PARKED_FOR))
    services.audit.append(name, actor=event.source, action="EventParked", summary=f"{event.type} came before what it belongs to", details={"delivery": event.causation_id}, at=now)
    if is_here():
        progress.rejoin([name], name, services)


# ------------------------------------------------------------------ what the workflow asks for


def request(message: ReturnStepRequest, services: Services) -> None:
    """The workflow asks for a step: the token is kept first, then what the step needs is done. A repeated request does no harm."""
    now = services.clock.now()
    late = False

    def keep(current: ReturnRecord) -> ReturnRecord | None:
        nonlocal late
        waiting = progress.waits(current, message.request, message.token, now)
        late = waiting is None
        if waiting is None:
            return None
        calling_off = message.request is ReturnStep.CALL_OFF and not waiting.over
        changed = waiting.model_copy(update={"updated_at": now, **({"status": ReturnStatus.CALLING_OFF} if calling_off else {})})
        return changed.model_copy(update={"due_at": next_deadline(changed, services)})

    services.returns.change(message.return_id, keep)
    if message.request is ReturnStep.AUTHORISE and not late:
        authorise(message.return_id, services)
    else:
        advance(message.return_id, services)


def stuck(notice: StuckNotice, services: Services) -> None:
    """The workflow gave up in a way it should not: the return stays where it is and a person must look."""
    record = services.returns.get(notice.return_id or "")
    if record is not None and not record.over:
        _stopped(record, f"the workflow of the return stopped: {json.dumps(notice.why)[:600]}", services)


def _stopped(record: ReturnRecord, detail: str, services: Services) -> None:
    _episode("WORKFLOW_STOPPED", record, detail, services, cause=Cause.PLATFORM, remedy="look at the execution, then `crossdock exceptions retry` starts it again")


def next_deadline(record: ReturnRecord, services: Services) -> datetime | None:
    """The moment at which the watch must look at the return again."""
    level = services.spec.service_level
    if record.over:
        return None
    if record.status is ReturnStatus.HELD:
        return record.due_at
    if record.status in _AWAITED and record.expected_by is not None:
        return min(record.expected_by, record.updated_at + (LOOK_AFTER if _told(record) else timedelta(minutes=level.post_minutes)))
    if record.status is ReturnStatus.SETTLING:
        return record.updated_at + timedelta(minutes=level.post_minutes)
    return record.updated_at + timedelta(seconds=level.accept_seconds)


def _told(record: ReturnRecord) -> bool:
    """Whether storefront and warehouse know of it."""
    return all(command in record.told for command in _FORWARD)


# ------------------------------------------------------------------ may it come back


def authorise(return_id: str, services: Services) -> ReturnRecord:
    """Checks the request against what has left and the policy: authorised, or held for a person. One return of an order at a time."""
    record = _current(return_id, services)
    if record.authorised_at is not None or record.ending is not None:
        return advance(return_id, services)
    lock, now = f"returns#{record.order_id}", services.clock.now()
    if not services.cursors.claim(lock, until=now + timedelta(seconds=LOCK_SECONDS), now=now):
        raise RetryLater("BUSY", f"another return of order {record.order_id} is being authorised", after_seconds=LOCK_SECONDS // 2)
    try:
        _authorise(record, services)
    finally:
        services.cursors.release_claim(lock)
    return advance(return_id, services)


def goods_left(order_id: str, services: Services) -> None:
    """Something of the order has left: what was asked back before that may be allowed now."""
    for record in services.returns.of_order(order_id):
        if record.status is ReturnStatus.HELD:
            authorise(record.return_id, services)


def _authorise(record: ReturnRecord, services: Services) -> None:
    order = _order_of(record, services)
    now = services.clock.now()
    shipped = shipped_base(order)
    others = [other for other in services.returns.of_order(record.order_id) if other.return_id != record.return_id]
    lines: tuple[AgreedLine, ...] = ()
    try:
        lines, unknown = agreed_lines(record.request, order, others, services)
        hold = _unknown_lines(unknown) or not_eligible(lines, shipped)
    except NeedsPerson as error:
        hold = Hold(HoldKind.RETURN, error.code, error.detail, error.remedy, {"problem": error.detail})
    place, shipped_at = _came_from(order, lines)
    location = services.spec.returns.location or place
    if hold is None:
        value = value_of(lines, order.placed.currency)
        hold = not_approved(for_a_person(record.request, lines, shipped_at=shipped_at or now, value=value, policy=services.spec.returns), record.approvals)
    if hold is not None:
        _hold(record, hold, lines, services)
        return

    def agree(current: ReturnRecord) -> ReturnRecord | None:
        if current.authorised_at is not None or current.ending is not None:
            return None
        changed = current.model_copy(
            update={
                "status": ReturnStatus.AUTHORISED,
                "lines": lines,
                "location": location,
                "authorised_at": now,
                "expected_by": now + timedelta(days=services.spec.returns.arrive_within_days),
                "updated_at": now,
            }
        )
        return changed.model_copy(update={"due_at": next_deadline(changed, services)})

    changed = services.returns.change(record.return_id, agree)
    by = next((approval.by for approval in changed.approvals), raise_exception.SYSTEM)
    raise_exception.note_once(
        record.return_id,
        actor=by,
        action="ReturnAuthorised",
        summary=f"{len(lines)} line(s) to {location}, worth {value_of(lines, order.placed.currency)}",
        details={"location": location or "", "by": "policy" if by == raise_exception.SYSTEM else by},
        at=now,
        services=services,
    )
    _close_holds(record.return_id, "it is authorised", services)
    progress.rejoin([record.return_id], record.return_id, services)


def _unknown_lines(unknown: Mapping[str, str]) -> Hold | None:
    if not unknown:
        return None
    return Hold(HoldKind.RETURN, "RETURN_NOT_ELIGIBLE", f"not of this order: {'; '.join(unknown.values())}"[:900], "reject it, or ask the customer which order it is", unknown)


def shipped_base(order: OrderRecord) -> dict[str, Decimal]:
    """Base units per order line that have left."""
    sums: dict[str, Decimal] = {}
    for booked in order.shipments:
        part = order.part(booked.part_id)
        planned = {line.line_id: line for line in part.plan.lines} if part else {}
        for line in (line for line in booked.lines if line.line_id in planned):
            sums[line.line_id] = sums.get(line.line_id, Decimal(0)) + progress.in_base_units(planned[line.line_id], line.quantity)
    return sums


def agreed_lines(request: Return, order: OrderRecord, others: list[ReturnRecord], services: Services) -> tuple[tuple[AgreedLine, ...], dict[str, str]]:
    """The return's lines against the order's, in base units; and what of it the order does not have. A share of a base unit raises ``NON_INTEGRAL_QUANTITY``."""
    found: dict[str, AgreedLine] = {}
    unknown: dict[str, str] = {}
    for position, asked in enumerate(request.lines):
        line = _order_line(order.placed, asked.line_id, asked.sku)
        if line is None:
            unknown[str(position)] = f"{asked.quantity} of {asked.sku}"
            continue
        base = _base(line.sku, asked.quantity, services)
        standing = found.get(line.line_id)
        if standing is not None:
            found[line.line_id] = standing.model_copy(update={"quantity": standing.quantity + base})
            continue
        found[line.line_id] = AgreedLine(
            line_id=line.line_id,
            external_line_id=line.external_id,
            sku=line.sku,
            requested=asked.quantity,
            quantity=base,
            ordered=_base(line.sku, line.quantity, services),
            returned_before=sum((other.held_base.get(line.line_id, Decimal(0)) for other in others), Decimal(0)),
            net=line.net,
            tax=line.tax,
            reason=asked.reason,
        )
    return tuple(found.values()), unknown


def _order_line(order: Order, line_id: str | None, sku: str) -> OrderLine | None:
    return next((line for line in order.lines if (line.line_id == line_id if line_id else line.sku == sku)), None)


def _base(sku: str, quantity: Quantity, services: Services) -> Decimal:
    article = services.xref.article(sku)
    numerator, denominator = (1, 1) if quantity.unit == article.base_unit else services.xref.conversion(sku, quantity.unit)
    return to_base(quantity, base_unit=article.base_unit, numerator=numerator, denominator=denominator).value


def _came_from(order: OrderRecord, lines: tuple[AgreedLine, ...]) -> tuple[str | None, datetime | None]:
    """(location that shipped the first of the lines, when the last of them left)."""
    wanted = [line.line_id for line in lines]
    carrying = [booked for booked in order.shipments if any(line.line_id in wanted for line in booked.lines)]
    first = next((booked.location for line_id in wanted for booked in carrying if any(line.line_id == line_id for line in booked.lines)), None)
    return first, max((booked.shipment.dispatched_at for booked in carrying), default=None)


def _hold(record: ReturnRecord, hold: Hold, lines: tuple[AgreedLine, ...], services: Services) -> None:
    now = services.clock.now()
    deadline = now + timedelta(minutes=services.spec.hold_policy(HoldKind.RETURN).deadline_minutes)

    def held(current: ReturnRecord) -> ReturnRecord | None:
        if current.ending is not None or current.authorised_at is not None:
            return None
        return current.model_copy(update={"status": ReturnStatus.HELD, "lines": lines, "due_at": deadline, "updated_at": now})

    changed = services.returns.change(record.return_id, held)
    if changed.ending is None and changed.authorised_at is None:
        _ask(changed, hold, deadline, services)


def _ask(record: ReturnRecord, hold: Hold, deadline: datetime, services: Services) -> None:
    raise_exception.episode(
        hold.code,
        record.return_id,
        f"return {record.request.number} of order {record.order_id}: {hold.detail}",
        connection=record.source,
        cause=Cause.SOURCE_DATA,
        remedy=hold.remedy,
        hold=HoldDetails(kind=hold.kind, fingerprint=hold.fingerprint, seen=dict(hold.seen)),
        due_at=deadline,
        money_at_risk=_at_risk(record),
        services=services,
    )


def _at_risk(record: ReturnRecord) -> Money | None:
    if record.value is not None:
        return record.value
    return value_of(record.lines, record.lines[0].net.currency) if record.lines else None


def decide(return_id: str, *, approve: bool, hold: HoldDetails, code: str, actor: str, note: str, services: Services) -> str:
    """A person's decision on a hold of the return."""
    record = _current(return_id, services)
    if not approve:
        if record.status is ReturnStatus.SETTLING:
            raise Rejected("INVALID_DECISION", "the goods have come and the credit is posted: it cannot be refused any more", remedy="correct the credit memo in the ERP and retry")
        _end(return_id, ReturnStatus.DECLINED, note or "declined", actor=actor, services=services)
        return "rejected: the customer is told"
    if code not in _FOR_APPROVAL:
        raise Rejected("INVALID_DECISION", f"{code} cannot be approved away", remedy="mend the cause and retry, or reject")
    approval = Approval(kind=hold.kind, fingerprint=hold.fingerprint, by=actor, at=services.clock.now(), note=note)
    services.returns.change(return_id, lambda current: None if approval in current.approvals else current.model_copy(update={"approvals": (*current.approvals, approval)}))
    check_again(return_id, services)
    return "approved: the return goes on"


def check_again(return_id: str, services: Services) -> None:
    """The hold's question is asked anew: what was mended or approved lets the return go on."""
    record = _current(return_id, services)
    if record.status is ReturnStatus.HELD or (record.authorised_at is None and record.ending is None):
        authorise(return_id, services)
    else:
        advance(return_id, services)


# ------------------------------------------------------------------ what is due now


def advance(return_id: str, services: Services, *, again: bool = False) -> ReturnRecord:
    """Sends what is due and answers the waiting workflow if its question can be answered now. ``again``: also what was sent before and not confirmed."""
    record = _current(return_id, services)
    waiting = record.waiting
    if waiting is None:
        return record
    if waiting.answer is not None:
        if record.over:
            _note_end(record, services)
        progress.answer(waiting, waiting.answer, services)
        return record
    if waiting.step is ReturnStep.CALL_OFF:
        return _call_off(record, services, again)
    if record.ending is not None:
        for token in waiting.tokens:
            services.workflow.fail(token, error=CALLED_OFF, cause=record.ending_reason or record.ending.value)
        return record
    if waiting.step is ReturnStep.AUTHORISE:
        return _answer(record, {"authorised": True}, services) if record.authorised_at is not None else record
    if waiting.step is ReturnStep.RECEIVE:
        record = _expect(record, services, again)
        return _settle_up(record, services) if all_here(record) else record
    return _settle(record, services, again)


def _answer(record: ReturnRecord, answer: dict[str, str | bool], services: Services, **updates: object) -> ReturnRecord:
    """Decided: on record first, then the workflow hears it."""
    now = services.clock.now()

    def decided(current: ReturnRecord) -> ReturnRecord | None:
        if current.waiting is None or current.waiting.answer is not None or current.waiting.step is not (record.waiting.step if record.waiting else None):
            return None
        changed = current.model_copy(update={**updates, "waiting": current.waiting.model_copy(update={"answer": answer}), "updated_at": now})
        return changed.model_copy(update={"due_at": next_deadline(changed, services)})

    changed = services.returns.change(record.return_id, decided)
    return advance(record.return_id, services) if changed.waiting is not None and changed.waiting.answer is not None else changed


def _tell(record: ReturnRecord, command: str, connection: str, services: Services, again: bool) -> ReturnRecord:
    """Sends the command once; a system that takes no such command is told by that."""
    if command in record.told:
        return record
    if command != "PostCreditMemo" and not progress.can(connection, command, services):
        raise_exception.note_once(
            record.return_id,
            actor=raise_exception.SYSTEM,
            action=f"{command}NotApplicable",
            summary=f"{connection} takes no {command}",
            details={"connection": connection},
            at=services.clock.now(),
            services=services,
        )
        return _mark(record.return_id, "told", command, services)
    if command not in record.sent or again:
        message = OutboundMessage(command=command, connection=connection, return_id=record.return_id)
        if again and (services.circuits.of(connection).is_open() or _in_exception(message, services)):
            return record
        progress.send(message, services)
        return _mark(record.return_id, "sent", command, services)
    return record


def _in_exception(message: OutboundMessage, services: Services) -> bool:
    standing = services.exceptions.get(raise_exception.message_exception_id(QueueName.OUTBOUND, message.text()))
    return standing is not None and not standing.closed


def _mark(return_id: str, where: str, command: str, services: Services) -> ReturnRecord:
    def mark(current: ReturnRecord) -> ReturnRecord | None:
        marks = getattr(current, where)
        return None if command in marks else current.model_copy(update={where: (*marks, command)})

    return services.returns.change(return_id, mark)


def _worker(record: ReturnRecord, services: Services) -> str:
    return services.spec.locations[record.location or ""].connection


def _expect(record: ReturnRecord, services: Services, again: bool) -> ReturnRecord:
    record = _tell(record, "ApproveReturn", record.storefront, services, again)
    return _tell(record, "ExpectReturn", _worker(record, services), services, again)


def _settle_up(record: ReturnRecord, services: Services) -> ReturnRecord:
    """No more is awaited: what came is reckoned up, once; the amounts stand from now on."""
    lines, beyond = settled(record, services.spec.returns)
    if beyond:
        _episode(
            "RETURN_OVER_RECEIPT",
            record,
            f"more came than was agreed: {'; '.join(f'{plain(quantity)} of {sku}' for sku, quantity in sorted(beyond.items()))}",
            services,
            connection=_worker(record, services),
            remedy="credit them by hand, or send them back to the customer; what was agreed is credited",
        )
    if not lines:
        _not_arrived(record, "nothing of what was agreed has come", services)
        return _end(record.return_id, ReturnStatus.EXPIRED, "nothing of what was agreed has come", actor=raise_exception.SYSTEM, services=services)
    agreed = sum((line.quantity for line in record.lines), Decimal(0))
    came = sum((line.quantity for line in lines), Decimal(0))
    if came < agreed:
        raise_exception.note_once(
            record.return_id,
            actor=raise_exception.SYSTEM,
            action="ReturnShort",
            summary=f"{plain(came)} of {plain(agreed)} base units came; what came is credited",
            details={},
            at=services.clock.now(),
            services=services,
        )
    return _answer(record, {"received": True}, services, settled=lines, status=ReturnStatus.SETTLING)


def _settle(record: ReturnRecord, services: Services, again: bool) -> ReturnRecord:
    """Credit memo, refund, exchange, and the storefront's own closing: one after the other, so that nothing is paid out that is not in the books."""
    value = record.value
    if value is not None and value.amount > 0:
        record = _tell(record, "PostCreditMemo", services.spec.erp, services, again)
        if "PostCreditMemo" not in record.told or _total_differs(record, services):
            return record
        record = _exchange(record, services)
        record = _tell(record, "RefundReturn", record.storefront, services, again)
        if "RefundReturn" not in record.told:
            return record
    if record.storefront_id is not None:
        record = _tell(record, "CloseReturn", record.storefront, services, again)
        if "CloseReturn" not in record.told:
            return record
    return _over(record, ReturnStatus.CLOSED, {"closed": True}, services)


def _over(record: ReturnRecord, status: ReturnStatus, answer: dict[str, str | bool], services: Services) -> ReturnRecord:
    return _answer(record, answer, services, status=status, closed_at=services.clock.now())


def _total_differs(record: ReturnRecord, services: Services) -> bool:
    """The ERP credits another amount than is to be refunded: nothing is paid out before a person has looked."""
    memo, value = record.credit_memo, record.value
    if memo is None or memo.total is None or value is None or within(services.spec.erp_total_tolerance, expected=value, actual=memo.total):
        return False
    hold = Hold(
        HoldKind.RETURN,
        "RETURN_TOTAL_DIFFERENCE",
        f"the ERP credits {memo.total}, {value} is to be given back",
        "correct the credit memo in the ERP, or approve: the amount to be given back stays",
        {"erp": str(memo.total), "refund": str(value)},
    )
    if not_approved(hold, record.approvals) is None:
        raise_exception.close(exception_id(hold.code, record.return_id), actor=raise_exception.SYSTEM, note="it is approved", services=services)
        return False
    _ask(record, hold, services.clock.now() + timedelta(minutes=services.spec.hold_policy(HoldKind.RETURN).deadline_minutes), services)
    return True


def _call_off(record: ReturnRecord, services: Services, again: bool) -> ReturnRecord:
    """Whoever was told of the return is told that nothing comes of it."""
    for command, worker in (("ApproveReturn", record.storefront), ("ExpectReturn", _worker(record, services) if record.location else "")):
        if command in record.sent and command not in record.told:
            effect = services.effects.get(progress.effect_key(worker, command, record.return_id))
            if effect is not None and effect.state in (EffectState.INTENDED, EffectState.UNKNOWN, EffectState.CONFIRMED):
                return record  # its own delivery settles it and asks again
    due: list[tuple[str, str]] = []
    if "ApproveReturn" in record.told and record.storefront_id is not None and not (record.ending is ReturnStatus.WITHDRAWN and record.source == record.storefront):
        due.append(("CloseReturn", record.storefront))
    if "ApproveReturn" not in record.told and record.ending is ReturnStatus.DECLINED and record.storefront_id is not None:
        due.append(("DeclineReturn", record.storefront))
    if record.warehouse_id is not None:
        due.append(("CallOffReturn", _worker(record, services)))
    for command, connection in due:
        record = _tell(record, command, connection, services, again)
    if any(command not in record.told for command, _ in due):
        return record
    return _over(record, record.ending or ReturnStatus.DECLINED, {"called_off": True}, services)


def _end(return_id: str, ending: ReturnStatus, reason: str, *, actor: str, services: Services) -> ReturnRecord:
    now = services.clock.now()

    def end(current: ReturnRecord) -> ReturnRecord | None:
        if current.ending is not None or current.over or current.status is ReturnStatus.SETTLING:
            return None
        return current.model_copy(
            update={"ending": ending, "ending_reason": reason[:500], "updated_at": now, "due_at": now + timedelta(seconds=services.spec.service_level.accept_seconds)}
        )

    record = services.returns.change(return_id, end)
    if record.ending is not None:
        raise_exception.note_once(return_id, actor=actor, action=f"Return{record.ending.value.capitalize()}", summary=record.ending_reason, details={}, at=now, services=services)
        _close_holds(return_id, record.ending_reason, services)
    return advance(return_id, services)


def _close_holds(return_id: str, note: str, services: Services) -> None:
    for code in ("RETURN_AUTHORISATION", "RETURN_NOT_ELIGIBLE", "MISSING_XREF", "NON_INTEGRAL_QUANTITY", "HOLD_EXPIRED"):
        raise_exception.close(exception_id(code, return_id), actor=raise_exception.SYSTEM, note=note, services=services)


def _note_end(record: ReturnRecord, services: Services) -> None:
    done = {"credit_memo": record.credit_memo.number if record.credit_memo else "", "refunded": str(record.refunded) if record.refunded else "", "return": record.return_id}
    for subject in (record.return_id, record.order_id):
        raise_exception.note_once(
            subject,
            actor=raise_exception.SYSTEM,
            action="ReturnClosed",
            summary=f"{record.request.number}: {record.status.value}" + (f", {record.value} given back" if record.value else ""),
            details=done,
            at=record.closed_at or services.clock.now(),
            services=services,
        )


def _episode(
    code: str, record: ReturnRecord, detail: str, services: Services, *, remedy: str, what: str = "", connection: str | None = None, cause: Cause = Cause.WAREHOUSE
) -> None:
    raise_exception.episode(
        code, record.return_id, f"return {record.request.number} of order {record.order_id}: {detail}", what=what, connection=connection, cause=cause, remedy=remedy,
        money_at_risk=_at_risk(record), services=services,
    )  # fmt: skip


def _current(return_id: str, services: Services) -> ReturnRecord:
    record = services.returns.get(return_id)
    if record is None:
        raise NeedsPerson("RETURN_UNKNOWN", f"there is no return {return_id}", remedy="replay the delivery that brought it")
    return record


# ------------------------------------------------------------------ what each system is told


def intent_of(message: OutboundMessage, services: Services) -> Intent:
    """The command's content, made from the return's record at the moment it is delivered."""
    record = _current(message.return_id or "", services)
    makers: dict[str, Callable[[ReturnRecord, str, Services], Intent]] = {
        "ApproveReturn": _approve_return,
        "DeclineReturn": lambda found, _, __: DeclineReturn(return_id=found.return_id, external_id=_at_storefront(found), reason=found.ending_reason),
        "CloseReturn": lambda found, _, __: CloseReturn(return_id=found.return_id, external_id=_at_storefront(found), called_off=found.ending is not None),
        "ExpectReturn": _expect_return,
        "CallOffReturn": lambda found, _, __: CallOffReturn(return_id=found.return_id, external_id=found.warehouse_id or found.return_id),
        "PostCreditMemo": _post_credit_memo,
        "RefundReturn": _refund_return,
    }
    maker = makers.get(message.command)
    if maker is None:
        raise NeedsPerson("UNKNOWN_COMMAND", f"there is no command {message.command!r}", remedy="discard the message")
    return maker(record, message.connection, services)


def _at_storefront(record: ReturnRecord) -> str:
    if record.storefront_id is None:
        raise NeedsPerson("RETURN_UNKNOWN", f"{record.storefront} has no return {record.return_id}", remedy="discard the message")
    return record.storefront_id


def _order_of(record: ReturnRecord, services: Services) -> OrderRecord:
    order = services.orders.get(record.order_id)
    if order is None:
        raise NeedsPerson("ORDER_UNKNOWN", f"there is no order {record.order_id}", remedy="discard the message")
    return order


def _in_ordered_units(record: ReturnRecord, line_id: str, base: Decimal, order: Order) -> Decimal:
    """Of what was ordered, as many units as the base units make; rounded down to the storefront's whole units."""
    line = next(agreed for agreed in record.lines if agreed.line_id == line_id)
    ordered = order.line(line_id).quantity.value
    return (base * ordered / line.ordered).to_integral_value(ROUND_FLOOR)


def _approve_return(record: ReturnRecord, connection: str, services: Services) -> Intent:
    order = _order_of(record, services).placed
    lines = tuple(
        ReturnedItem(external_line_id=line.external_line_id, quantity=_in_ordered_units(record, line.line_id, line.quantity, order), reason=line.reason) for line in record.lines
    )
    return ApproveReturn(
        return_id=record.return_id, external_id=record.request.external_id if record.source == connection else None, order_external_id=order.external_id, lines=lines
    )


def _expect_return(record: ReturnRecord, connection: str, services: Services) -> Intent:
    order = _order_of(record, services)
    wanted = {line.line_id for line in record.lines}
    left_with = next((booked for booked in order.shipments if booked.shipment.connection == connection and any(line.line_id in wanted for line in booked.lines)), None)
    sums: dict[str, Decimal] = {}
    for line in record.lines:
        theirs = services.xref.their_sku(connection, line.sku)
        sums[theirs] = sums.get(theirs, Decimal(0)) + line.quantity
    return ExpectReturn(
        return_id=record.return_id,
        location_code=services.xref.their_location(connection, record.location or ""),
        shipment_external_id=left_with.shipment.external_id if left_with else "",
        lines=tuple(ExpectedItem(sku=sku, quantity=quantity) for sku, quantity in sums.items()),
    )


def _post_credit_memo(record: ReturnRecord, connection: str, services: Services) -> Intent:
    order = _order_of(record, services)
    lines = []
    for line in record.settled:
        if line.net.amount == 0:
            continue
        price, discount = unit_price(line.net, line.quantity)
        lines.append(
            CreditedLine(
                line_id=line.line_id,
                erp_sku=services.xref.their_sku(connection, line.sku),
                erp_unit=services.xref.their_unit(connection, services.xref.article(line.sku).base_unit),
                quantity=line.quantity,
                unit_price=price,
                discount=discount,
                tax=line.tax,
                restocked=line.disposition is Disposition.RESTOCK,
                location_code=services.xref.their_location(connection, record.location or ""),
                description=order.placed.line(line.line_id).description[:100],
            )
        )
    invoices = {
        booked.invoice_number for booked in order.shipments if booked.invoice_number and any(line.line_id == done.line_id for line in booked.lines for done in record.settled)
    }
    return PostCreditMemo(
        return_id=record.return_id,
        order_id=record.order_id,
        account=order.account or "",
        currency=order.placed.currency,
        invoice_number=next(iter(invoices)) if len(invoices) == 1 else "",
        lines=tuple(lines),
    )


def _refund_return(record: ReturnRecord, connection: str, services: Services) -> Intent:
    order = _order_of(record, services).placed
    place = services.spec.locations[record.location or ""]
    items: list[RefundedItem] = []
    for line in record.settled:
        quantity = _in_ordered_units(record, line.line_id, line.quantity, order)
        if quantity > 0:
            # Where the storefront owns the count, its shelf goes up by its own refund; elsewhere the owner's count tells.
            back = line.disposition is Disposition.RESTOCK and place.stock_from == connection
            external = next(agreed.external_line_id for agreed in record.lines if agreed.line_id == line.line_id)
            items.append(RefundedItem(external_line_id=external, quantity=quantity, location_code=place.codes.get(connection) if back else None))
    return RefundReturn(return_id=record.return_id, external_id=record.storefront_id, order_external_id=order.external_id, lines=tuple(items), amount=_to_refund(record, services))


def _to_refund(record: ReturnRecord, services: Services) -> Money:
    value = record.value
    if value is None:
        raise NeedsPerson("RETURN_UNKNOWN", f"return {record.return_id} is not settled", remedy="discard the message")
    exchange = exchange_order(record, services)
    if exchange is None:
        return value
    return Money(amount=max(Decimal(0), value.amount - exchange.total.amount), currency=value.currency)


def recorded(message: OutboundMessage, receipt: Receipt, services: Services) -> None:
    """Writes what a confirmed effect means for the return, and moves it on. Safe to repeat: a redelivery comes here again."""
    command, now = message.command, services.clock.now()
    updates: dict[str, object] = {}
    if command == "ApproveReturn":
        updates["storefront_id"] = receipt.external_id
    elif command == "ExpectReturn":
        updates["warehouse_id"] = receipt.external_id
        services.orders.refer(message.connection, f"return:{receipt.external_id}", message.return_id or "")
    elif command == "PostCreditMemo":
        updates["credit_memo"] = CreditMemo(external_id=receipt.external_id, number=receipt.number or receipt.external_id, total=receipt.total)
    elif command == "RefundReturn":
        updates["refunded"] = receipt.total

    def note(current: ReturnRecord) -> ReturnRecord | None:
        if command in current.told:
            return None
        changed = current.model_copy(update={**updates, "told": (*current.told, command), "updated_at": now})
        return changed.model_copy(update={"due_at": next_deadline(changed, services)})

    record = services.returns.change(message.return_id or "", note)
    raise_exception.note_once(
        record.return_id,
        actor=message.connection,
        action=_DONE[command],
        summary=f"{command}: {receipt.number or receipt.external_id}" + (f", {receipt.total}" if receipt.total else "") + (" (found by look-up)" if receipt.found else ""),
        details={"external_id": receipt.external_id},
        at=now,
        services=services,
    )
    raise_exception.close_for_message(QueueName.OUTBOUND, message.text(), services=services)
    if command == "ExpectReturn":
        progress.rejoin([record.return_id, receipt.external_id], record.return_id, services)
    advance(record.return_id, services)


_DONE = {
    "ApproveReturn": "ReturnApproved",
    "DeclineReturn": "ReturnDeclineTold",
    "CloseReturn": "ReturnClosedInStorefront",
    "ExpectReturn": "ReturnExpected",
    "CallOffReturn": "ReturnCalledOffAtWarehouse",
    "PostCreditMemo": "CreditMemoPosted",
    "RefundReturn": "ReturnRefunded",
}


def is_off(message: OutboundMessage, services: Services) -> bool:
    """Whether the command must not leave any more. Asked after the intent is on the ledger, so that whoever calls off sees one or the other."""
    record = services.returns.get(message.return_id or "")
    return message.command in _FORWARD and record is not None and record.ending is not None


# ------------------------------------------------------------------ something else instead


def exchange_order(record: ReturnRecord, services: Services) -> Order | None:
    """The order for what the customer wants instead, taxed by the tenant's policy; None when nothing is wanted."""
    if not record.request.exchange:
        return None
    original = _order_of(record, services).placed
    name = f"X-{record.request.external_id}"[:60]
    currency = original.currency
    lines = tuple(
        OrderLine(
            line_id=str(position),
            external_id=str(position),
            sku=wanted.sku,
            quantity=wanted.quantity,
            unit_price=wanted.unit_price,
            discount=Money.zero(currency),
            tax=Money.zero(currency),
        )
        for position, wanted in enumerate(record.request.exchange, start=1)
    )
    bare = original.model_copy(
        update={
            "order_id": f"{DIRECT}-{name}",
            "connection": DIRECT,
            "external_id": name,
            "number": f"{record.request.number}-X"[:255],
            "placed_at": record.closed_at or record.updated_at,
            "lines": lines,
            "freight": Money.zero(currency),
            "freight_tax": Money.zero(currency),
            "shipping_method": "",
            "note": f"in exchange for return {record.return_id}",
            "source_version": "",
            "total": Money.zero(currency),
        }
    )
    tax = expected_tax(bare, services.spec) or Money.zero(currency)
    taxed = lines if tax.amount == 0 else _with_tax(lines, tax)
    whole = bare.model_copy(update={"lines": taxed})
    return whole.model_copy(update={"total": whole.computed_total})


def _with_tax(lines: tuple[OrderLine, ...], tax: Money) -> tuple[OrderLine, ...]:
    """The tax spread over the lines by their worth, to the cent and exactly."""
    goods = Money.sum((line.net for line in lines), tax.currency).amount
    given, made = Money.zero(tax.currency), []
    for position, line in enumerate(lines, start=1):
        share = tax - given if position == len(lines) else Money(amount=tax.amount * line.net.amount / goods, currency=tax.currency).rounded()
        given = given + share
        made.append(line.model_copy(update={"tax": share}))
    return tuple(made)


def _exchange(record: ReturnRecord, services: Services) -> ReturnRecord:
    """Places the replacement's order once the goods have come and are credited: the same id each time, so it is one order."""
    order = exchange_order(record, services)
    if order is None or record.exchange_order is not None:
        return record
    if DIRECT not in services.spec.connections:
        raise NeedsPerson("UNKNOWN_CONNECTION", "an exchange needs the connection 'direct' to place the replacement's order", remedy="add it to the tenant file, then retry")
    now = services.clock.now()
    event = Event(
        id=event_id(record.return_id, 0),
        tenant=services.spec.tenant,
        source=DIRECT,
        subject=order.order_id,
        occurred_at=now,
        received_at=now,
        correlation_id=order.order_id,
        causation_id=record.return_id,
        fact=OrderPlaced(order=order),
    )
    services.queues.send(QueueName.WORK, work_body(event), group=order.order_id)
    raise_exception.note_once(
        record.return_id,
        actor=raise_exception.SYSTEM,
        action="ExchangeOrdered",
        summary=f"{order.order_id}: {order.total}",
        details={"order": order.order_id},
        at=now,
        services=services,
    )
    return services.returns.change(record.return_id, lambda current: current.model_copy(update={"exchange_order": order.order_id}) if current.exchange_order is None else None)


# ------------------------------------------------------------------ what has not happened


def watched(return_id: str, services: Services, now: datetime) -> None:
    """The return's deadline has passed: goods that did not come, a decision nobody took, an answer that got lost."""
    record = services.returns.get(return_id)
    if record is None or record.due_at is None or record.due_at > now:
        return
    again = now + LOOK_AGAIN
    if record.status is ReturnStatus.HELD and record.ending is None:
        again = _undecided(record, services, now)
    elif record.ending is None and record.expected_by is not None and record.expected_by <= now and record.status in _AWAITED:
        if record.receipts and record.waiting is not None and record.waiting.step is ReturnStep.RECEIVE:
            _settle_up(record, services)
        else:
            _not_arrived(record, f"nothing has come by {rfc3339(record.expected_by)}", services)
            _end(return_id, ReturnStatus.EXPIRED, "the goods did not come in time", actor=raise_exception.SYSTEM, services=services)
    else:
        _stalled(record, services)
        if record.status in _AWAITED and record.expected_by is not None and record.ending is None and _told(record):
            again = min(record.expected_by, now + LOOK_AFTER)  # nothing but the goods is missing
    services.returns.change(return_id, lambda current: current.model_copy(update={"due_at": again}) if current.due_at is not None and current.due_at <= now else None)


def _not_arrived(record: ReturnRecord, detail: str, services: Services) -> None:
    _episode(
        "RETURN_NOT_ARRIVED",
        record,
        detail,
        services,
        connection=_worker(record, services),
        remedy="tell the customer; what comes later is an exception of its own",
        cause=Cause.SOURCE_DATA,
    )


def _undecided(record: ReturnRecord, services: Services, now: datetime) -> datetime:
    policy = services.spec.hold_policy(HoldKind.RETURN)
    if policy.on_expiry == "cancel":
        _end(record.return_id, ReturnStatus.DECLINED, "nobody decided in time", actor=raise_exception.SYSTEM, services=services)
        return now + LOOK_AGAIN
    _episode(
        "HOLD_EXPIRED",
        record,
        f"nobody has decided within {policy.deadline_minutes} minutes",
        services,
        cause=Cause.PLATFORM,
        remedy="decide now: approve or reject",
    )
    return now + timedelta(hours=24)


def _stalled(record: ReturnRecord, services: Services) -> None:
    record = advance(record.return_id, services, again=True)  # first of all: whoever should have answered may have died
    if record.over:
        return
    running = services.workflow.running(record.return_id)
    if running is None:
        services.workflow.start(record.return_id)
    elif running is False:
        _stopped(record, f"the return is {record.status.value} but its workflow does not run", services)


def restart(return_id: str, *, attempt: int, services: Services) -> None:
    """A person starts the workflow again from its first step; what is done is answered at once."""
    record = services.returns.get(return_id)
    if record is not None and not record.over and not services.workflow.running(return_id):
        services.workflow.start(return_id, attempt=attempt)
