"""What must somebody look at, and what can they do about it: edit, try again, decide, hand over?"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from crossdock.domain import strict_json
from crossdock.domain.errors import CrossdockError, Rejected
from crossdock.domain.exception_record import ExceptionRecord
from crossdock.flows import dead_letters, exceptions, views
from local.cli.options import DryRun, Match, NotOk, UsageProblem, actor, on_stack
from local.cli.rendering import Screen, Verbatim
from local.cli.stack import Stack
from local.simulators import exact_json

app = typer.Typer()

ExceptionId = Annotated[str, typer.Argument(metavar="ID", help="The exception's id, or enough of its beginning.")]


class Decision(StrEnum):
    """What a person may decide: holds are approved or rejected, messages discarded, facts done."""

    APPROVE = "approve"
    REJECT = "reject"
    DISCARD = "discard"
    DONE = "done"


@app.command("list")
@on_stack
def list_exceptions(
    stack: Stack,
    screen: Screen,
    every: Annotated[bool, typer.Option("--all", help="Closed ones too.")] = False,
    match: Match = None,
) -> None:
    """What is open, the most urgent first: overdue, then money at risk, then ship-by time."""
    records = listed(stack, every=every, match=match)
    screen.show([views.exception(record) for record in records], lambda: draw_list(screen, records))


def listed(stack: Stack, *, every: bool, match: str | None) -> list[ExceptionRecord]:
    """Open records (or all) that the filter leaves, ranked."""
    found = stack.services.exceptions.listed(closed=False)
    if every:
        found = [*found, *stack.services.exceptions.listed(closed=True)]
    fits = cast("Callable[[ExceptionRecord], bool]", dead_letters.matcher(match, cast("Any", _facts)))
    now = stack.services.clock.now()

    def urgency(record: ExceptionRecord) -> tuple[bool, bool, Decimal, object, object]:
        money = record.money_at_risk.amount if record.money_at_risk else Decimal(0)
        return (record.closed, record.due_at > now, -money, record.ship_by or record.due_at, record.opened_at)

    return sorted((record for record in found if fits(record)), key=urgency)


def _facts(record: ExceptionRecord) -> dict[str, str]:
    """What filters work on."""
    return {
        "exception_id": record.exception_id,
        "code": record.code,
        "category": record.category.value,
        "status": record.status.value,
        "kind": record.kind,
        "subject": record.subject,
        "order_id": record.order_id or "",
        "connection": record.connection or "",
        "queue": record.queue.value if record.queue else "",
        "owner": record.owner,
        "assigned_to": record.assigned_to or "",
        "fingerprint": record.fingerprint,
        "detail": record.detail,
    }


def draw_list(screen: Screen, records: list[ExceptionRecord]) -> None:
    screen.table(
        "exceptions",
        ["id", "status", "code", "about", "detail", "at risk", "owner", "due", "seen"],
        [
            (
                record.exception_id,
                record.status,
                record.code,
                record.order_id or record.subject,
                record.detail[:110],
                str(record.money_at_risk or ""),
                record.assigned_to or record.owner,
                record.due_at,
                record.occurrences,
            )
            for record in records
        ],
        empty="none",
    )


def find(stack: Stack, name: str) -> ExceptionRecord:
    """The record by its id or by an unambiguous beginning. Raises NotOk."""
    record = stack.services.exceptions.get(name)
    if record is not None:
        return record
    store = stack.services.exceptions
    found = [each for each in (*store.listed(closed=False), *store.listed(closed=True)) if each.exception_id.startswith(name)]
    if len(found) != 1:
        raise NotOk(f"several exceptions begin with {name}" if found else f"there is no exception {name}: see `crossdock exceptions list --all`")
    return found[0]


@app.command("show")
@on_stack
def show(stack: Stack, screen: Screen, exception_id: ExceptionId) -> None:
    """Everything about one exception: what, why, whose, its history, and the payload it is about."""
    record = find(stack, exception_id)
    kind, body = exceptions.payload(record.exception_id, stack.services)

    def draw() -> None:
        screen.facts(
            record.exception_id,
            {
                "code": record.code,
                "status": record.status,
                "detail": record.detail,
                "what helps": record.remedy,
                "fields": [f"{field.path}: {field.problem}" for field in record.fields],
                "seen": "; ".join(f"{name}: {value}" for name, value in record.hold.seen.items()) if record.hold else "",
                "about": record.order_id or record.subject,
                "connection": record.connection,
                "queue": record.queue,
                "cause": record.cause,
                "money at risk": str(record.money_at_risk or ""),
                "owner": record.assigned_to or record.owner,
                "due": record.due_at,
                "occurrences": record.occurrences,
                "runbook": record.runbook,
            },
        )
        screen.table(
            "history",
            ["at", "who", "what", "note"],
            [(entry.at, entry.actor, entry.action, entry.note) for entry in record.history],
            empty="none yet",
        )
        screen.write(f"{kind}:")
        screen.write(body.decode(errors="replace"))

    screen.show({**views.exception(record), "payload_kind": kind, "payload": _document(body)}, draw)


def _document(body: bytes) -> Verbatim:
    """The payload as the JSON it is, or as the text it is."""
    try:
        return Verbatim(strict_json.loads(body))
    except Rejected:
        return Verbatim(body.decode(errors="replace"))


@app.command("edit")
@on_stack
def edit(
    stack: Stack,
    screen: Screen,
    exception_id: ExceptionId,
    file: Annotated[Path | None, typer.Option("--file", metavar="F", help="The corrected payload; - is standard input.")] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change one field, such as line_items.0.sku=AC-1; repeatable.")] = None,
    editor: Annotated[bool, typer.Option("--editor", help="Open the payload in $EDITOR.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Correct the payload. What would fail again is refused, with the reason; the original is kept beside it."""
    if sum((file is not None, bool(changes), editor)) != 1:
        raise UsageProblem("give exactly one of --file, --set, --editor")
    record = find(stack, exception_id)
    _, body = exceptions.payload(record.exception_id, stack.services)
    if changes:
        body = changed(body, changes)
    elif file is not None:
        body = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    else:
        body = _in_editor(body)
    services = stack.services
    found = exceptions.preflight(record.exception_id, body, services) if dry_run else exceptions.edit(record.exception_id, body, actor=actor(), services=services)
    value = {
        "exception_id": record.exception_id,
        "ok": found.ok,
        "kept": found.ok and not dry_run,
        "code": found.code,
        "problems": [{"path": path, "problem": problem} for path, problem in found.problems],
        "becomes": list(found.events),
    }

    def draw() -> None:
        if not found.ok:
            screen.table(f"refused: it would fail again ({found.code})", ["field", "problem"], list(found.problems))
            return
        named = [str(event.get("ignored") or event.get("fact", {}).get("type") or "the order as edited") for event in found.events]
        screen.write(f"it goes through and becomes: {', '.join(named)}")
        following = "`crossdock dlq redrive`" if record.queue is not None else "`crossdock exceptions retry`"
        screen.write("nothing was kept (dry run)" if dry_run else f"kept; now {following} sends it round again")

    screen.show(value, draw)
    if not found.ok:
        raise NotOk("")


def changed(body: bytes, changes: list[str]) -> bytes:
    """The JSON document with single fields replaced. Raises UsageProblem for a path that is not in it."""
    try:
        document = strict_json.loads(body)
    except Rejected as error:
        raise UsageProblem(f"the payload is no JSON ({error.detail}): use --file") from error
    for change in changes:
        path, sign, value = change.partition("=")
        if not sign or not path:
            raise UsageProblem(f"{change!r} is no change: write path=value")
        _put(document, path.split("."), value)
    return exact_json.dumps(document).encode()


def _put(document: Any, path: list[str], value: str) -> None:
    here = document
    for step in path[:-1]:
        here = _inside(here, step, path)
    last = path[-1]
    if isinstance(here, list):
        standing = _inside(here, last, path)
        here[int(last)] = _typed(value, standing)
    elif isinstance(here, dict):
        here[last] = _typed(value, here.get(last))
    else:
        raise UsageProblem(f"{'.'.join(path)} is not in the payload")


def _inside(here: Any, step: str, path: list[str]) -> Any:
    if isinstance(here, list) and step.isdigit() and int(step) < len(here):
        return here[int(step)]
    if isinstance(here, dict) and step in here:
        return here[step]
    raise UsageProblem(f"{'.'.join(path)} is not in the payload: there is no {step!r}")


def _typed(value: str, standing: object) -> Any:
    """A text stays a text; anything else is read as JSON when it is JSON."""
    if isinstance(standing, str):
        return value
    try:
        return strict_json.loads(value.encode())
    except Rejected:
        return value


def _in_editor(body: bytes) -> bytes:
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    with tempfile.TemporaryDirectory(prefix="crossdock-edit-") as folder:
        file = Path(folder) / "payload.json"
        file.write_bytes(body)
        if subprocess.run([*command, str(file)], check=False).returncode != 0:
            raise NotOk("the editor ended with an error: nothing was changed")
        return file.read_bytes()


@app.command("retry")
@on_stack
def retry(stack: Stack, screen: Screen, exception_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="One or more.")]) -> None:
    """Send the thing round again, or run a hold's checks again; safe to repeat."""
    results: list[dict[str, Any]] = []
    for name in exception_ids:
        try:
            record = find(stack, name)
            results.append(
                {
                    "exception_id": record.exception_id,
                    "ok": True,
                    "result": exceptions.retry(record.exception_id, actor=actor(), services=stack.services, letters=stack.letters),
                }
            )
        except NotOk as error:
            results.append({"exception_id": name, "ok": False, "result": str(error)})
        except CrossdockError as error:
            results.append({"exception_id": name, "ok": False, "result": _sentence(error)})
    screen.show(
        results,
        lambda: screen.table("", ["exception", "ok", "result"], [(line["exception_id"], line["ok"], line["result"]) for line in results]),
    )
    if not all(line["ok"] for line in results):
        raise NotOk("")


def _sentence(error: CrossdockError) -> str:
    return f"{error.code}: {error.detail}" + (f"; {error.remedy}" if error.remedy else "")


@app.command("resolve")
@on_stack
def resolve(
    stack: Stack,
    screen: Screen,
    exception_id: ExceptionId,
    decision: Annotated[Decision, typer.Option("--decision", help="Holds: approve or reject. Messages: discard. Facts: done.")],
    note: Annotated[str, typer.Option("--note", help="Why, for the record.")] = "",
) -> None:
    """Decide; the reason goes on the record."""
    record = find(stack, exception_id)
    result = exceptions.resolve(record.exception_id, decision=decision.value, note=note, actor=actor(), services=stack.services, letters=stack.letters)
    _shown(stack, screen, record.exception_id, result)


@app.command("assign")
@on_stack
def assign(stack: Stack, screen: Screen, exception_id: ExceptionId, to: Annotated[str, typer.Option("--to", help="Who takes it.")]) -> None:
    """Hand it to somebody."""
    record = exceptions.assign(find(stack, exception_id).exception_id, to=to, actor=actor(), services=stack.services)
    _shown(stack, screen, record.exception_id, f"assigned to {to}")


def _shown(stack: Stack, screen: Screen, exception_id: str, result: str) -> None:
    standing = stack.services.exceptions.get(exception_id)
    value: Mapping[str, Any] = {"exception_id": exception_id, "result": result, "status": standing.status if standing else None}
    screen.show(value, lambda: screen.write(f"{exception_id}: {result}"))
