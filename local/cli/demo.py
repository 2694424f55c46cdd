"""Can one see the whole thing work, from nothing, in a few minutes?"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated, Any

import typer

from crossdock.domain.audit import broken_links
from infra import tenant_files
from local.cli import bring_up, orders
from local.cli.balance import draw as draw_balance
from local.cli.local_engine import EnforceIam, telling
from local.cli.options import NotOk, UsageProblem, with_screen
from local.cli.rendering import Screen
from local.cli.stack import Stack, local
from local.cli.story import Story
from local.cli.witness import Witness
from local.engine.local_run import LocalRun
from local.seed import world

_USUAL = "acme_industrial"


@with_screen
def command(
    screen: Screen,
    tenant: Annotated[str | None, typer.Option("--tenant", metavar="NAME", help=f"Whose story; {_USUAL} without it.")] = None,
    enforce_iam: EnforceIam = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything up afterwards.")] = False,
) -> None:
    """The story of an order and of what can go wrong with it; exit code 0 only if every step was seen in the systems."""
    began = time.monotonic()
    run = LocalRun()
    name = tenant or _USUAL
    if name not in tenant_files.names(run.directory.root):
        raise UsageProblem(f"there is no tenant {name!r}; there are: {', '.join(tenant_files.names(run.directory.root))}")
    before = run.status()
    found_up = before.up and before.state is not None
    if found_up and before.state is not None and before.state.engine is not None and before.state.engine.enforce_iam != enforce_iam:
        raise UsageProblem("an engine is up with the other IAM setting: `crossdock local down` first, or leave out or add --enforce-iam")
    screen.say(f"The demo: {name}, on {'the engine that is up' if found_up else 'an engine of its own'}{', IAM enforced' if enforce_iam else ''}")
    try:
        doors = bring_up.up(run, [name], enforce_iam=enforce_iam, on_progress=telling(screen))
        stack = local(name, run.directory.root)
        story = Story(Witness(stack, doors["tenants"][name], world.of(stack.spec)), screen.say)
        ok = story.tell()
        _end(screen, stack, story, ok=ok, seconds=time.monotonic() - began, stays=keep or found_up)
    finally:
        if not (keep or found_up):
            run.down(telling(screen))
    if not ok:
        raise NotOk("not everything was seen")


def _end(screen: Screen, stack: Stack, story: Story, *, ok: bool, seconds: float, stays: bool) -> None:
    records = orders.listed(stack, None, 50)
    first = next((record for record in records if story.told and record.order_id == story.told[0].order_id), None)
    entries = stack.services.audit.entries(first.order_id) if first else []
    value: dict[str, Any] = {
        "ok": ok,
        "seconds": round(seconds, 1),
        "steps": [asdict(told) for told in story.told],
        "orders": [orders.summary(record) for record in records],
        "timeline": entries,
        "balance": story.balance.as_json() if story.balance else None,
    }

    def draw() -> None:
        orders.draw_list(screen, records)
        if first is not None:
            orders.draw_trace(screen, first, entries, broken_links(entries))
        if story.balance is not None:
            draw_balance(screen, story.balance)
        screen.table(
            "the story",
            ["step", "seen", "seconds", "what is missing"],
            [(told.title, told.ok, told.seconds, told.problem) for told in story.told],
        )
        screen.write("where to look next: docs/tutorial.md leads through the same by hand")
        if stays:
            screen.write("it is still up: crossdock orders list, crossdock orders trace ID, crossdock exceptions list --all, crossdock balance; crossdock local down ends it")
        else:
            screen.write("it is taken down now; `crossdock demo --keep`, or `crossdock local up`, leaves it up for looking around")
        screen.write(f"{'every step was seen' if ok else 'NOT every step was seen'}, {seconds:.0f} s in all")

    screen.show(value, draw)
