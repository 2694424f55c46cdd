"""What stands in the dead-letter queues, and how does it go round again?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any

import typer

from crossdock.domain.dead_letter import Letter
from crossdock.domain.stage import QueueName
from crossdock.flows import dead_letters
from local.cli.options import DryRun, Match, UsageProblem, actor, on_stack
from local.cli.rendering import Screen
from local.cli.stack import Stack

app = typer.Typer()


@app.command("list")
@on_stack
def list_queues(stack: Stack, screen: Screen, match: Match = None) -> None:
    """How many messages stand in each dead-letter queue, by exception class."""
    found = []
    for queue in QueueName:
        letters = _fitting(stack, queue, match)
        codes = Counter(letter["code"] or "(not indexed yet)" for letter in letters)
        found.append({"queue": queue.value, "messages": len(letters), "codes": dict(codes.most_common())})
    screen.show(
        found,
        lambda: screen.table("dead letters", ["queue", "messages", "classes"], [(line["queue"], line["messages"], _counted(line["codes"])) for line in found]),
    )


def _counted(codes: Any) -> str:
    return ", ".join(f"{code} {count}" for code, count in codes.items())


@app.command("peek")
@on_stack
def peek(
    stack: Stack,
    screen: Screen,
    queue: Annotated[QueueName, typer.Argument(help="Which queue's dead letters.")],
    match: Match = None,
    limit: Annotated[int, typer.Option("--limit", min=1)] = 50,
) -> None:
    """Look at dead letters with their reasons; they stay where they are."""
    found = _fitting(stack, queue, match)[:limit]
    screen.show(
        found,
        lambda: screen.table(
            f"dead letters of {queue.value}",
            ["subject", "code", "connection", "what", "tries", "sent", "detail", "exception"],
            [
                (
                    line["subject"],
                    line["code"],
                    line["connection"],
                    line["command"],
                    line["tries"],
                    line["sent_at"][:19],
                    line["detail"][:90],
                    line["exception_id"],
                )
                for line in found
            ],
            empty="none",
        ),
    )


def _fitting(stack: Stack, queue: QueueName, match: str | None) -> list[dict[str, Any]]:
    fits = _matcher(stack, match)
    # The walk is finished before anything is shown: letters are hidden from others while it lasts.
    return [dict(dead_letters.as_json(letter, stack.services)) for letter in list(stack.letters.look(queue)) if fits(letter)]


def _matcher(stack: Stack, match: str | None) -> Callable[[Letter], bool]:
    return dead_letters.matcher(match, lambda letter: dead_letters.describe(letter, stack.services))


@app.command("redrive")
@on_stack
def redrive(
    stack: Stack,
    screen: Screen,
    queue: Annotated[QueueName | None, typer.Argument(help="Which queue's dead letters; or --all.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All three queues.")] = False,
    match: Match = None,
    dry_run: DryRun = False,
    rate: Annotated[float, typer.Option("--rate", min=0.1, max=100, help="Messages a second.")] = 10.0,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many.")] = None,
) -> None:
    """Send dead letters round again, slowly; what was done already is not done twice."""
    if (queue is None) == (not every):
        raise UsageProblem("name one queue, or --all")
    left = limit
    results: list[tuple[QueueName, dead_letters.Redriven]] = []
    for each in [queue] if queue is not None else list(QueueName):
        report = dead_letters.redrive(
            each,
            letters=stack.letters,
            services=stack.services,
            actor=actor(),
            match=_matcher(stack, match),
            dry_run=dry_run,
            per_second=rate,
            limit=left,
            on_progress=lambda sent: screen.say(f"{sent} sent") if sent % 25 == 0 else None,
        )
        results.append((each, report))
        if left is not None:
            left -= report.matched
            if left <= 0:
                break
    title = "would be sent round again" if dry_run else "sent round again"
    total = {"matched": sum(report.matched for _, report in results), "sent": sum(report.sent for _, report in results), "dry_run": dry_run}
    value = {**total, "queues": [{"queue": each.value, "matched": report.matched, "sent": report.sent} for each, report in results]}
    screen.show(
        value,
        lambda: screen.table(title, ["queue", "matched", "sent"], [(each.value, report.matched, report.sent) for each, report in results]),
    )
