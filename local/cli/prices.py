"""What does each SKU cost whom, what waits for somebody's approval, and what do the sales channels show?"""

from __future__ import annotations

from typing import Annotated

import typer

from crossdock.domain.audit import AuditEntry
from crossdock.domain.catalog import CatalogRecord
from crossdock.domain.errors import Rejected
from crossdock.domain.price import Price
from crossdock.flows import prices, views
from local.cli.options import on_stack
from local.cli.rendering import Screen
from local.cli.stack import Stack

app = typer.Typer()


@app.command("list")
@on_stack
def list_prices(
    stack: Stack,
    screen: Screen,
    stale: Annotated[bool, typer.Option("--stale", help="Only what is not as its owner says, or not shown by a sales channel.")] = False,
) -> None:
    """Every SKU with its list price and how many other prices it has."""
    records = sorted((record for record in stack.services.catalog.every() if record.stale or not stale), key=lambda record: record.sku)
    screen.show([views.prices(record, stack.services) for record in records], lambda: _draw_list(stack, screen, records))


def _draw_list(stack: Stack, screen: Screen, records: list[CatalogRecord]) -> None:
    rows = []
    for record in records:
        listed = prices.list_price(record, stack.services)
        waits = [governed.proposed.value.price.exact() for governed in record.prices.values() if governed.proposed is not None]
        shown = [f"{name} {told.price.exact() if told.price else 'nothing'}{' (stale)' if told.stale else ''}" for name, told in sorted(record.shown.items())]
        rows.append((record.sku, listed.price.exact() if listed else "", str(max(0, len(record.prices) - 1) or ""), ", ".join(waits), ", ".join(shown)))
    screen.table("prices", ["SKU", "list price", "others", "waits for approval", "shown"], rows, empty="none: `crossdock prices sync` asks their owner")


@app.command("show")
@on_stack
def show(stack: Stack, screen: Screen, sku: Annotated[str, typer.Argument(help="Our SKU.")]) -> None:
    """One SKU: each of its prices, what its owner says of it, who let it pass, and what happened."""
    record = stack.services.catalog.get(sku)
    if record is None:
        raise Rejected("NOT_FOUND", f"no price of {sku} is known", remedy="`crossdock prices sync` asks the owner of prices; see `crossdock prices list`")
    entries = stack.services.audit.entries(prices.subject_of(sku))
    screen.show({**views.prices(record, stack.services), **views.timeline(entries)}, lambda: _draw(stack, screen, record, entries))


def _draw(stack: Stack, screen: Screen, record: CatalogRecord, entries: list[AuditEntry]) -> None:
    listed = prices.list_price(record, stack.services)
    product = record.product
    screen.facts(
        record.sku,
        {
            "product": product.description if product else "",
            "base unit": product.base_unit if product else "",
            "barcodes": ", ".join(product.barcodes) if product else "",
            "list price now": listed.price.exact() if listed else "",
        },
    )

    def told(price: Price | None, by: str) -> str:
        return "" if price is None else f"{price.price.exact()}{f' ({by})' if by else ''}"

    rows = []
    for governed in record.prices.values():
        standing, proposed, refused = governed.standing, governed.proposed, governed.refused
        about = next((one.value.about for one in (standing, proposed, refused) if one is not None), "")
        rows.append(
            (
                about,
                told(standing.value if standing else None, f"let pass by {standing.approved_by}" if standing and standing.approved_by else ""),
                told(proposed.value if proposed else None, f"asked for by {proposed.requested_by}" if proposed else ""),
                told(refused.value if refused else None, ""),
                f"{standing.as_of:%Y-%m-%d %H:%M}" if standing else "",
            )
        )
    screen.table("prices", ["of what", "counts", "waits for approval", "refused", "since"], rows, empty="none")
    channels = [(name, shown.price.exact() if shown.price else "nothing", shown.stale, f"{shown.at:%Y-%m-%d %H:%M}") for name, shown in sorted(record.shown.items())]
    screen.table("shown", ["sales channel", "shows", "why it is stale", "since"], channels, empty="nobody was told yet")
    screen.table("what happened", ["at", "who", "what", ""], [(f"{one.at:%Y-%m-%d %H:%M:%S}", one.actor, one.action, one.summary) for one in entries], empty="nothing")


@app.command("sync")
@on_stack
def sync(stack: Stack, screen: Screen) -> None:
    """Asks the owners of prices, products and accounts what has changed, and has every sales channel told what differs."""
    asked, told = prices.ask_owners(stack.services), prices.sweep_now(stack.services)
    facts = {"asked": ", ".join(asked) or "nobody can be asked", "told what differs": ", ".join(told) or "no sales channel"}
    screen.show({"asked": asked, "told": told}, lambda: screen.facts("under way", facts))
