"""How are stored deliveries sent round again, after a mapping or a cross-reference was corrected?

Safe to repeat: what they brought is known by its business keys, and the effect ledger knows what was done.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, cast

import typer

from crossdock.domain.delivery import DeliveryNote, DeliveryStatus, inbound_message
from crossdock.domain.stage import QueueName
from crossdock.flows import dead_letters
from crossdock.flows.services import Services
from local.cli.options import DryRun, Match, UsageProblem, actor, on_stack
from local.cli.rendering import Screen
from local.cli.stack import Stack

_AGO = re.compile(r"(\d+)([smhd])")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@on_stack
def command(
    stack: Stack,
    screen: Screen,
    connection: Annotated[str, typer.Option("--connection", metavar="C", help="Whose deliveries.")],
    since: Annotated[str, typer.Option("--since", metavar="T", help="RFC 3339 time, a date, or how long ago: 30m, 6h, 2d.")],
    until: Annotated[str | None, typer.Option("--until", metavar="T", help="The same; now without it.")] = None,
    match: Match = None,
    dry_run: DryRun = False,
    rate: Annotated[float, typer.Option("--rate", min=0.1, max=100, help="Deliveries a second.")] = 10.0,
    limit: Annotated[int | None, typer.Option("--limit", min=1)] = None,
) -> None:
    """Send stored deliveries through translation again; counted first, then slowly."""
    if connection not in stack.spec.connections:
        raise UsageProblem(f"{stack.tenant} has no connection {connection!r}; there are: {', '.join(stack.spec.connections)}")
    now = stack.services.clock.now()
    begin, end = moment(since, now), moment(until, now) if until else now
    found = chosen(stack.services, connection, begin, end, match)[:limit]
    screen.say(f"{len(found)} deliveries of {connection} between {begin:%Y-%m-%d %H:%M:%S} and {end:%Y-%m-%d %H:%M:%S} UTC")
    sent = (
        0
        if dry_run
        else replay(
            found,
            stack.services,
            actor=actor(),
            per_second=rate,
            on_progress=lambda count: screen.say(f"{count} sent") if count % 25 == 0 else None,
        )
    )
    topics = Counter(note.topic for note in found)
    value: dict[str, Any] = {
        "connection": connection,
        "since": begin,
        "until": end,
        "matched": len(found),
        "sent": sent,
        "dry_run": dry_run,
        "topics": dict(topics),
        "deliveries": [note.delivery_id for note in found],
    }
    title = "would be sent round again" if dry_run else "sent round again"
    screen.show(value, lambda: screen.table(title, ["topic", "deliveries"], topics.most_common(), empty="none"))


def moment(text: str, now: datetime) -> datetime:
    """A time as people write it, in UTC when it says no zone. Raises UsageProblem."""
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now - timedelta(seconds=int(ago[1]) * _UNIT_SECONDS[ago[2]])
    try:
        given = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageProblem(f"{text!r} is no time: write 2026-11-22T08:00:00Z, 2026-11-22, or 30m, 6h, 2d") from error
    return given if given.tzinfo is not None else given.replace(tzinfo=UTC)


def chosen(services: Services, connection: str, since: datetime, until: datetime, match: str | None) -> list[DeliveryNote]:
    """The stored deliveries in question, the oldest first."""
    fits = cast("Callable[[DeliveryNote], bool]", dead_letters.matcher(match, cast("Any", _facts)))
    found = [note for note in services.deliveries.every() if note.connection == connection and since <= note.received_at <= until and fits(note)]
    return sorted(found, key=lambda note: note.received_at)


def _facts(note: DeliveryNote) -> dict[str, str]:
    """What filters work on."""
    return {
        "topic": note.topic,
        "status": note.status.value,
        "delivery_id": note.delivery_id,
        "events": " ".join(note.events),
        "connection": note.connection,
    }


def replay(
    notes: list[DeliveryNote],
    services: Services,
    *,
    actor: str,
    per_second: float,
    on_progress: Callable[[int], None] = lambda sent: None,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Each delivery is open again before its message goes out: were this to end in between, the watch would find it and queue it."""
    for sent, note in enumerate(notes, start=1):
        now = services.clock.now()
        services.deliveries.settle(note.delivery_id, DeliveryStatus.RECEIVED, now=now, reason=f"replayed by {actor}")
        services.queues.send(QueueName.INBOUND, inbound_message(note.delivery_id), group=note.connection)
        services.audit.append(
            note.delivery_id,
            actor=actor,
            action="DeliveryReplayed",
            summary=f"{note.topic} sent round again",
            details={"was": note.status.value},
            at=now,
        )
        on_progress(sent)
        pause(1.0 / per_second)
    return len(notes)
