"""How is everything brought up on this machine, looked at, and taken down again?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from local.cli import bring_up
from local.cli.options import NotOk, with_screen
from local.cli.rendering import Screen
from local.engine.local_run import LocalRun
from local.engine.progress import OnProgress, ProgressEvent

app = typer.Typer()

EnforceIam = Annotated[bool, typer.Option("--enforce-iam", help="Let the engine enforce IAM: a permission that is not granted is denied.")]


@app.command("up")
@with_screen
def up_command(
    screen: Screen,
    tenant: Annotated[list[str] | None, typer.Option("--tenant", metavar="NAME", help="Repeatable; all tenants without it.")] = None,
    enforce_iam: EnforceIam = False,
    engine_port: Annotated[int | None, typer.Option("--engine-port", metavar="PORT", help="Where the engine shall listen; any free port without it.")] = None,
    functions_endpoint: Annotated[
        str | None,
        typer.Option("--functions-endpoint", metavar="URL", help="Where the functions find AWS: a proxy of yours before the engine (faults, delays, recording)."),
    ] = None,
    record: Annotated[Path | None, typer.Option("--record", metavar="FILE", help="Record every exchange with the simulators, one JSON line each.")] = None,
) -> None:
    """Start engine and simulators, deploy the stacks, print the doors. Returns; everything stays up."""
    began = time.monotonic()
    run = LocalRun()
    before = run.status()
    if before.up and before.state and before.state.engine and before.state.engine.enforce_iam == enforce_iam:
        screen.say(f"already up at {before.state.engine.url}: repairing and updating it")
    doors = bring_up.up(
        run,
        tenant or [],
        enforce_iam=enforce_iam,
        engine_port=engine_port,
        functions_endpoint=functions_endpoint.rstrip("/") if functions_endpoint else None,
        exchanges_file=record,
        on_progress=telling(screen),
    )
    screen.say(f"up in {time.monotonic() - began:.1f} s")
    screen.show(doors, lambda: draw(screen, doors))


@app.command("down")
@with_screen
def down(screen: Screen) -> None:
    """End everything that was started here and remove its temporary files."""
    ended = LocalRun().down(telling(screen))
    screen.show({"ended": ended}, lambda: screen.write(f"down: {ended} processes ended" if ended else "nothing was up"))


@app.command("status")
@with_screen
def status(screen: Screen) -> None:
    """How everything is that was started here; exit code 1 unless all of it is well."""
    found = LocalRun().status()
    tenants = sorted(found.state.tenants) if found.state else []
    value = {"up": found.up, "tenants": tenants, "parts": found.parts, "leftovers": found.leftovers}

    def table() -> None:
        screen.table(
            "",
            ["part", "running", "answers", "address", "log"],
            [(part.name, part.running, part.healthy, part.url, part.log) for part in found.parts],
            empty="nothing is up",
        )
        if tenants:
            screen.write(f"tenants: {', '.join(tenants)}")
        if found.leftovers:
            screen.write(f"{found.leftovers} processes of an earlier run are left: `crossdock local down` ends them")

    screen.show(value, table)
    if not found.up:
        raise NotOk("")


def telling(screen: Screen) -> OnProgress:
    """Shows the steps of a long command as they happen."""

    def tell(event: ProgressEvent) -> None:
        if event.state == "started":
            screen.say(f"  ... {event.step}" + (f" ({event.detail})" if event.detail else ""))
        elif event.state == "done":
            screen.say(f"  ok  {event.step} {event.seconds:.1f} s")
        elif event.state == "failed":
            screen.say(f"  !!  {event.step}: {event.detail.splitlines()[0] if event.detail else 'failed'}")
        elif "left out" in event.detail or "have not come" in event.detail or "local engine:" in event.detail:
            screen.say(f"      {event.detail}")

    return tell


def draw(screen: Screen, doors: dict[str, Any]) -> None:
    """The doors as tables."""
    screen.write(f"engine   {doors['engine_url']}")
    for name, tenant in doors["tenants"].items():
        rows = [("/v1", f"{tenant['api_url']}/v1", "")]
        rows += [(f"key {client}", key, "x-api-key") for client, key in tenant["api_keys"].items()]
        rows += [(f"webhook {connection}", hook["url"], hook["scheme"]) for connection, hook in tenant["webhooks"].items()]
        rows += [(f"simulator {connection}", f"{url}/_state", "") for connection, url in tenant["simulators"].items()]
        screen.table(name, ["door", "where", "how"], rows)
    screen.write("next: crossdock demo, or crossdock orders list --tenant NAME; crossdock local down ends it all")
