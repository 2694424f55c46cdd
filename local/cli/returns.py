"""What is coming back, how far is it, and what was done about it?"""

from __future__ import annotations

from typing import Annotated

import typer

from crossdock.domain.errors import Rejected
from crossdock.domain.model import plain
from crossdock.domain.return_record import ReturnRecord, ReturnStatus
from crossdock.flows import views
from local.cli.options import on_stack
from local.cli.rendering import Screen
from local.cli.stack import Stack

app = typer.Typer()


@app.command("list")
@on_stack
def list_returns(
    stack: Stack,
    screen: Screen,
    status: Annotated[ReturnStatus | None, typer.Option("--status", help="Only returns in this status.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000)] = 50,
) -> None:
    """The newest returns first."""
    fetch = limit if status is None else 10_000
    found = [record for closed in (False, True) for record in stack.services.returns.listed(closed=closed, limit=fetch)]
    records = sorted((record for record in found if status in (None, record.status)), key=lambda record: record.accepted_at, reverse=True)[:limit]
    screen.show([views.return_(record) for record in records], lambda: _draw_list(screen, records))


def _draw_list(screen: Screen, records: list[ReturnRecord]) -> None:
    rows = [
        (record.return_id, record.order_id, record.status.value, record.location or "", str(record.value or ""), str(record.refunded or ""), f"{record.accepted_at:%Y-%m-%d %H:%M}")
        for record in records
    ]
    screen.table("returns", ["return", "order", "status", "goes to", "worth", "refunded", "asked for"], rows, empty="none")


@app.command("show")
@on_stack
def show(stack: Stack, screen: Screen, return_id: Annotated[str, typer.Argument(help="The return's id (RMA-...).")]) -> None:
    """One return: what was agreed, what came, and what each system was told."""
    record = stack.services.returns.get(return_id)
    if record is None:
        raise Rejected("NOT_FOUND", f"there is no return {return_id}", remedy="see `crossdock returns list`")
    entries = stack.services.audit.entries(return_id)
    screen.show(
        {**views.return_(record), **views.timeline(entries)},
        lambda: _draw(screen, record, [(f"{one.at:%Y-%m-%d %H:%M:%S}", one.actor, one.action, one.summary) for one in entries]),
    )


def _draw(screen: Screen, record: ReturnRecord, happened: list[tuple[str, str, str, str]]) -> None:
    screen.facts(
        record.return_id,
        {
            "order": record.order_id,
            "status": record.status.value,
            "goes to": record.location or "",
            "expected by": f"{record.expected_by:%Y-%m-%d %H:%M} UTC" if record.expected_by else "",
            "worth": str(record.value or ""),
            "credit memo": record.credit_memo.number if record.credit_memo else "",
            "refunded": str(record.refunded or ""),
        },
    )
    came: dict[str, list[str]] = {}
    for line in (line for receipt in record.receipts for line in receipt.lines):
        came.setdefault(line.sku, []).append(f"{plain(line.quantity)} {line.disposition.value}")
    agreed = [(line.line_id, line.sku, plain(line.quantity), ", ".join(came.pop(line.sku, [])), line.reason) for line in record.lines]
    screen.table(
        "goods", ["line", "SKU", "agreed", "came", "reason"], [*agreed, *(("", sku, "", ", ".join(graded), "not agreed") for sku, graded in came.items())], empty="nothing agreed"
    )
    screen.table("what happened", ["at", "who", "what", ""], happened, empty="nothing")
