"""How much of a SKU is there, committed and to be promised, by location?"""

from __future__ import annotations

from typing import Annotated

import typer

from crossdock.flows import views
from local.cli.options import NotOk, on_stack
from local.cli.rendering import Screen
from local.cli.stack import Stack

app = typer.Typer()


@app.callback()
def inventory() -> None:
    """Stock as it is promised."""


@app.command("show")
@on_stack
def show(stack: Stack, screen: Screen, sku: Annotated[str, typer.Argument(help="Our SKU.")]) -> None:
    """On hand, committed, safety stock and available to promise, by location."""
    levels = [level for _, level in sorted(stack.services.stock.levels((sku, location) for location in stack.spec.locations).items())]
    article = stack.spec.articles.get(sku)
    unit = article.base_unit if article else ""
    screen.show(
        views.inventory(sku, levels) | {"title": article.title if article else "", "unit": unit},
        lambda: screen.table(
            f"{sku} {article.title if article else ''}".strip(),
            ["location", "on hand", "committed", "safety", f"available ({unit})", "counted"],
            [(level.location, level.on_hand, level.committed, level.safety, level.available, level.as_of) for level in levels],
            empty="no stock of it is known",
        ),
    )
    if not levels:
        raise NotOk(f"no stock of {sku} is known" + ("" if article else f": it is no SKU of {stack.tenant}"))
