"""What stands in the dead-letter queues, and how does it go round again: filtered, counted first, slowly, and safe to run twice?"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from crossdock.domain.dead_letter import DeadLetters, Letter
from crossdock.domain.delivery import DeliveryStatus
from crossdock.domain.errors import NeedsPerson, Rejected
from crossdock.domain.exception_record import ExceptionRecord, ExceptionStatus
from crossdock.domain.messages import InboundMessage, OutboundMessage, StepRequest, StuckNotice, work_message
from crossdock.domain.stage import QueueName
from crossdock.flows import raise_exception
from crossdock.flows.services import Services


@dataclass(frozen=True)
class Redriven:
    matched: int
    sent: int
    dry_run: bool


_TERM = re.compile(r"^\s*([a-z_.]+)\s*(!=|=|~)\s*(.*?)\s*$")


def matcher(expression: str | None, describe: Callable[[Letter], dict[str, str]]) -> Callable[[Letter], bool]:
    """``field=value``, ``field!=value`` or ``field~part`` joined by ``,`` (and): over code, connection, subject, order_id, command, detail, body."""
    if not expression:
        return lambda letter: True
    terms = []
    for text in expression.split(","):
        found = _TERM.match(text)
        if found is None:
            raise Rejected("INVALID_MATCH", f"{text!r} is no filter", remedy="use field=value, field!=value or field~part, joined by commas")
        terms.append(found.groups())

    def match(letter: Letter) -> bool:
        facts = describe(letter)
        for name, operator, value in terms:
            if name not in facts:
                raise Rejected("INVALID_MATCH", f"there is no field {name!r}", remedy=f"one of: {', '.join(sorted(facts))}")
            actual = facts[name]
            if (operator == "=" and actual != value) or (operator == "!=" and actual == value) or (operator == "~" and value.lower() not in actual.lower()):
                return False
        return True

    return match


def describe(letter: Letter, services: Services) -> dict[str, str]:
    """What a person needs to know of a letter, and what filters work on."""
    standing = services.exceptions.get(raise_exception.message_exception_id(letter.queue, letter.body))
    subject, connection, command = about(letter.queue, letter.body)
    return {
        "queue": letter.queue.value,
        "code": standing.code if standing else "",
        "category": standing.category.value if standing else "",
        "connection": connection or "",
        "subject": subject,
        "order_id": (standing.order_id if standing else None) or (subject if letter.queue is not QueueName.INBOUND else ""),
        "command": command,
        "detail": standing.detail if standing else "",
        "exception_id": standing.exception_id if standing else "",
        "body": letter.body,
        "sent_at": letter.sent_at.isoformat(),
        "tries": str(letter.receive_count),
    }


def about(queue: QueueName, body: str) -> tuple[str, str | None, str]:
    """(subject, connection, command or event) of a message, as far as it can be read."""
    try:
        if queue is QueueName.INBOUND:
            delivery_id = InboundMessage.model_validate_json(body).delivery_id
            return delivery_id, delivery_id.partition(".")[0], ""
        if queue is QueueName.OUTBOUND:
            message = OutboundMessage.model_validate_json(body)
            return message.return_id or message.order_id or message.connection, message.connection, message.command
        work = work_message(body)
        if work.event is not None:
            return work.event.subject, work.event.source, work.event.type
        request = work.step or work.stuck
        known = None if request is None else request.order_id if isinstance(request, StepRequest) else request.return_id
        if isinstance(request, StuckNotice):
            known = request.return_id or request.order_id
        return known or "unreadable", None, str(request.request) if request else ""
    except (ValueError, KeyError):
        return "unreadable", None, ""


def redrive(
    queue: QueueName,
    *,
    letters: DeadLetters,
    services: Services,
    actor: str,
    match: Callable[[Letter], bool],
    dry_run: bool,
    per_second: float = 10.0,
    limit: int | None = None,
    on_progress: Callable[[int], None] | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> Redriven:
    """Sends matching letters to their source queue and deletes them, in that order: a crash between leaves a copy, which is recognised as done.

    Twice is as once: the workers know what was done. ``per_second`` keeps a mass redrive from flooding the systems behind.
    """
    matched = sent = 0
    for letter in letters.look(queue):
        if limit is not None and matched >= limit:
            break
        if not match(letter):
            continue
        matched += 1
        if dry_run:
            continue
        _before(letter, services)
        services.queues.send(queue, letter.body, group=about(queue, letter.body)[1] or about(queue, letter.body)[0])
        letters.delete(letter)
        _after(letter, actor, services)
        sent += 1
        if on_progress is not None:
            on_progress(sent)
        pause(1.0 / per_second)
    return Redriven(matched=matched, sent=sent, dry_run=dry_run)


def _before(letter: Letter, services: Services) -> None:
    if letter.queue is QueueName.INBOUND:
        try:
            delivery_id = raise_exception.delivery_of(letter.body)
        except ValueError:
            return  # not one of our messages: it goes round as it is and its next failure says why
        note = services.deliveries.note(delivery_id)
        if note is not None and note.status is DeliveryStatus.EXCEPTION:
            services.deliveries.settle(delivery_id, DeliveryStatus.RECEIVED, now=services.clock.now(), reason="redriven")


def _after(letter: Letter, actor: str, services: Services) -> None:
    name = raise_exception.message_exception_id(letter.queue, letter.body)
    standing = services.exceptions.get(name)
    if standing is None:
        return
    services.exceptions.change(name, lambda current: current.model_copy(update={"status": ExceptionStatus.RETRYING}) if not current.closed else None)
    services.audit.append(
        standing.order_id or standing.subject,
        actor=actor,
        action="MessageRedriven",
        summary=f"{standing.code}: sent round again from the dead letters",
        details={"exception_id": name},
        at=services.clock.now(),
    )


def index(queue: QueueName, *, letters: DeadLetters, services: Services) -> int:
    """Makes sure that every message in the dead letters has its exception record, whatever road it took (a crashed worker writes none). New records."""
    made = 0
    for letter in letters.look(queue):
        name = letter.attributes.get("exception_id") or raise_exception.message_exception_id(queue, letter.body)
        standing = services.exceptions.get(name)
        if standing is not None and not _came_back(standing, letter):
            continue
        subject, connection, command = about(queue, letter.body)
        order_id = subject if queue is not QueueName.INBOUND and services.orders.get(subject) is not None else None
        error = NeedsPerson(
            standing.code if standing is not None else "WORKER_CRASHED",
            standing.detail if standing is not None else f"{command or 'the message'} used up its tries without a recorded reason: the worker crashed or ran out of time",
            remedy="look at the function's log at that time; `crossdock dlq redrive` sends it round again",
        )
        # The delivery first: an exception that is open already is not looked at again.
        if queue is QueueName.INBOUND and subject != "unreadable" and services.deliveries.note(subject) is not None:
            raise_exception.mark_delivery(letter.body, error.code, services)
        raise_exception.for_message(error, queue=queue, message=letter.body, subject=subject, connection=connection, services=services, order_id=order_id, dead_letter=False)
        made += 1
    return made


def _came_back(standing: ExceptionRecord, letter: Letter) -> bool:
    """A record that was sent round again or closed, and the message is in the dead letters anew. A letter older than the closing is a
    copy of what has gone through since (a redrive that broke off before it deleted the letter): sending it round again does nothing."""
    if standing.status is ExceptionStatus.RESOLVED:
        return standing.resolved_at is None or letter.sent_at > standing.resolved_at
    return standing.status is ExceptionStatus.RETRYING and letter.sent_at > standing.last_seen_at


def as_json(letter: Letter, services: Services) -> dict[str, object]:
    found: dict[str, object] = dict(describe(letter, services))
    try:
        found["message"] = json.loads(letter.body)
    except ValueError:
        found["message"] = letter.body
    return found
