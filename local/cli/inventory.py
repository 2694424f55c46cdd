"""How much of a SKU is there, committed and to be promised, by location and sales channel, and how did it come to be?"""

from __future__ import annotations

from typing import Annotated

import typer

from crossdock.domain.messages import OutboundMessage
from crossdock.domain.stage import QueueName
from crossdock.flows import views
from local.cli.options import NotOk, UsageProblem, on_stack
from local.cli.rendering import Screen
from local.cli.stack import Stack

app = typer.Typer()


@app.callback()
def inventory() -> None:
    """Stock as it is promised."""


@app.command("show")
@on_stack
def show(stack: Stack, screen: Screen, sku: Annotated[str, typer.Argument(help="Our SKU.")]) -> None:
    """On hand, committed, safety stock and available to promise, by location; what each sales channel is told; the ledger."""
    levels = sorted(stack.services.stock.everywhere(sku), key=lambda level: level.location)
    article = stack.spec.articles.get(sku)
    unit = article.base_unit if article else ""
    found = views.inventory(sku, levels, stack.services)

    def draw() -> None:
        screen.table(
            f"{sku} {article.title if article else ''}".strip(),
            ["location", "on hand", "committed", "safety", f"available ({unit})", "expected", "counted", "by", "late", "again"],
            [
                (level.location, level.on_hand, level.committed, level.safety, level.available, level.expected, level.as_of, level.source, level.late, level.duplicates)
                for level in levels
            ],
            empty="no stock of it is known",
        )
        if found["channels"]:
            screen.table(
                "what sales channels may sell",
                ["channel", "location", f"available ({unit})", "told last"],
                [(each["connection"], each["location"], each["available"], each["told"]) for each in found["channels"]],
            )
        entries = sorted(((entry["at"], at["location"], entry) for at in found["locations"] for entry in at["ledger"]), key=lambda row: row[0], reverse=True)
        screen.table(
            "the ledger, the newest first",
            ["when", "location", "what", "change", "counted", "by", "reference", "outcome"],
            [
                (when, place, entry["kind"], entry.get("change"), entry.get("on_hand"), entry["source"], entry.get("reference"), entry["outcome"])
                for when, place, entry in entries[:20]
            ],
            empty="nothing has changed what is on hand",
        )

    screen.show(found | {"title": article.title if article else "", "unit": unit}, draw)
    if not levels and not found["channels"]:
        raise NotOk(f"no stock of {sku} is known" + ("" if article else f": it is no SKU of {stack.tenant}"))


@app.command("count")
@on_stack
def count(stack: Stack, screen: Screen, connection: Annotated[str, typer.Option("--connection", help="Who is asked; everybody who can be without it.")] = "") -> None:
    """Asks the systems that are believed for stock to count now."""
    able = sorted({place.stock_from for place in stack.spec.locations.values() if "stock" in stack.services.connectors.manifest(place.stock_from).queries})
    if connection and connection not in able:
        raise UsageProblem(f"{connection} cannot be asked for stock; there are: {', '.join(able) or 'none'}")
    asked = [connection] if connection else able
    for name in asked:
        message = OutboundMessage(command="PullStock", connection=name)
        stack.services.queues.send(QueueName.OUTBOUND, message.text(), group=message.group)
    screen.show({"asked": asked}, lambda: screen.write(f"asked: {', '.join(asked) or 'nobody'}; `crossdock inventory show SKU` shows what they say in a moment"))
