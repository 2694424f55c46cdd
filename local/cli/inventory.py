"""How much of a SKU is there, committed and to be promised, by location and sales channel, and how did it come to be?"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from html import escape
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from pydantic import ValidationError

from crossdock.domain.messages import OutboundMessage
from crossdock.domain.model import rfc3339
from crossdock.domain.stage import QueueName
from crossdock.domain.tenant import Routing
from crossdock.flows import reconcile as reconciliation
from crossdock.flows import simulate as simulation
from crossdock.flows import views
from local.cli.options import NotOk, UsageProblem, on_stack
from local.cli.rendering import Screen
from local.cli.replay import moment
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


_SAY_EVERY_SECONDS = 2.0


@app.command("reconcile")
@on_stack
def reconcile(
    stack: Stack,
    screen: Screen,
    since: Annotated[str, typer.Option("--since", metavar="T", help="Orders that changed since then: RFC 3339 time, a date, or how long ago: 6h, 7d.")] = "7d",
    apply: Annotated[bool, typer.Option("--apply", help="Send the repair of every open difference that has one.")] = False,
    report_file: Annotated[Path | None, typer.Option("--report", metavar="FILE", help="Write everything that was found there, as JSON.")] = None,
) -> None:
    """Compare what storefront, ERP and warehouses hold with what they confirmed, and what they show with what is true; each difference is one exception.

    Orders that never arrived are taken in at once. Exit code 1 when something differs."""
    services = stack.services
    report, known = reconciliation.Report(), reconciliation.standing(services)
    began, opened = time.monotonic(), 0
    start = moment(since, services.clock.now())
    ids = reconciliation.window(services, since=start)
    tell = _teller(screen)

    def settled(page: reconciliation.Report) -> int:
        report.add(page)
        return reconciliation.settle(page, services, known)

    for number, order_id in enumerate(ids, start=1):
        page = reconciliation.Report()
        reconciliation.order(order_id, services, page)
        opened += settled(page)
        tell(f"{_bar(number, len(ids))} {number} of {len(ids)} orders compared, {len(report.differences)} differences")
    for connection, compare in reconciliation.sides(services):
        cursor = rfc3339(start) if compare is reconciliation.arrived else None
        for number, (page, _) in enumerate(reconciliation.pages(connection, compare, cursor, services), start=1):
            opened += settled(page)
            tell(f"{compare.__name__} of {connection}: {number} pages, {sum(report.compared.values())} things compared, {len(report.differences)} differences")
        screen.say(f"{compare.__name__} of {connection}: compared")
    repaired = reconciliation.repair_all(services) if apply else 0
    differing = Counter(difference.code for difference in report.differences)
    value: dict[str, Any] = {
        "orders": len(ids),
        "compared": dict(report.compared),
        "in_flight": dict(report.in_flight),
        "differing": dict(differing),
        "differences": [asdict(difference) | {"repair": difference.repair.as_json() if difference.repair else None} for difference in report.differences],
        "opened": opened,
        "repairs_sent": repaired,
        "seconds": round(time.monotonic() - began, 1),
    }
    if report_file is not None:
        report_file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")

    def draw() -> None:
        kinds = sorted({*report.compared, *report.in_flight})
        screen.table("compared", ["what", "compared", "under way"], [(kind, report.compared[kind], report.in_flight[kind]) for kind in kinds], empty="nothing")
        with_repair = Counter(difference.code for difference in report.differences if difference.repair)
        screen.table("by class", ["class", "differing", "with a repair"], [(code, differing[code], with_repair[code]) for code in sorted(differing)], empty="nothing differs")
        screen.table(
            "differences",
            ["class", "of", "who is right", "what", "likely", "repair"],
            [(each.code, each.subject, each.owner, each.detail, each.cause, "yes" if each.repair else "by a person") for each in report.differences],
            empty="none: the systems agree",
        )
        screen.write(f"{opened} exceptions opened, {repaired} repairs sent; {value['seconds']} s")
        if report.differences and not apply:
            screen.write("`crossdock inventory reconcile --apply` sends the repairs; `crossdock exceptions retry ID` one of them")

    screen.show(value, draw)
    if report.differences:
        raise NotOk(f"{len(report.differences)} differences")


def _bar(done: int, of: int, width: int = 20) -> str:
    filled = width * done // of
    return f"[{'#' * filled}{'.' * (width - filled)}]"


def _teller(screen: Screen) -> Callable[[str], None]:
    """Says how far it is, not more often than one reads."""
    last = time.monotonic()

    def tell(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= _SAY_EVERY_SECONDS:
            last = time.monotonic()
            screen.say(text)

    return tell


@app.command("simulate")
@on_stack
def simulate(
    stack: Stack,
    screen: Screen,
    rules: Annotated[
        Path | None, typer.Option("--rules", exists=True, dir_okay=False, help="YAML: name of a variant to what it changes in `routing` (as in the tenant file).")
    ] = None,
    orders: Annotated[int, typer.Option("--orders", min=1, max=100_000, help="So many of the newest orders.")] = 1000,
    part_cost: Annotated[str, typer.Option("--part-cost", help="What shipping one part costs, in the tenant's currency.")] = "8.00",
    plot: Annotated[Path | None, typer.Option("--plot", help="Draws the comparison into this SVG file.")] = None,
) -> None:
    """What other routing rules would have made of the orders that came: fill rate, splits, unfillable, promised date met, freight. Changes nothing."""
    variants = {"as it is": stack.spec.routing, **(_variants(rules, stack.spec.routing) if rules else _usual_variants(stack.spec.routing))}
    records = simulation.recorded(stack.services, orders)
    if not records:
        raise NotOk("there are no orders yet: nothing to simulate")
    before = simulation.stock_before(records, stack.services)
    results = []
    for name, routing in variants.items():
        screen.say(f"{name}: {len(records)} order(s)")
        results.append(simulation.simulate(name, routing, records, before, stack.spec, stack.services, part_cost=_amount(part_cost)))
    if plot is not None:
        plot.write_text(bars(results), encoding="utf-8")
        screen.say(f"drawn into {plot}")
    screen.show({"orders": len(records), "variants": [result.as_json() for result in results]}, lambda: _draw_variants(screen, results))


def _amount(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation as error:
        raise UsageProblem(f"--part-cost: {text!r} is no amount") from error
    if not amount.is_finite() or amount < 0:
        raise UsageProblem("--part-cost must not be negative")
    return amount


def _variants(path: Path, routing: Routing) -> dict[str, Routing]:
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(given, dict) or not all(isinstance(changes, dict) for changes in given.values()):
            raise UsageProblem(f"{path}: must be names of variants, each with what it changes in `routing`")
        return {str(name): Routing.model_validate({**routing.model_dump(), **changes}) for name, changes in given.items()}
    except (yaml.YAMLError, ValidationError) as error:
        raise UsageProblem(f"{path}: {error}") from error


def _usual_variants(routing: Routing) -> dict[str, Routing]:
    """What one asks first."""
    turned = tuple(rule.model_copy(update={"locations": tuple(reversed(rule.locations))}) for rule in routing.rules)
    return {
        "never split" if routing.split else "split": routing.model_copy(update={"split": not routing.split}),
        "two parts at most": routing.model_copy(update={"max_parts": 2}),
        "locations in reverse": routing.model_copy(update={"rules": turned}),
    }


def _draw_variants(screen: Screen, results: list[simulation.Simulated]) -> None:
    rows = []
    for result in results:
        told = result.as_json()
        rate = result.filled / result.orders
        rows.append(
            (
                result.variant,
                f"{told['fill_rate_percent']} % {'█' * round(rate * 20)}",
                f"{told['unit_fill_rate_percent'] or '-'} %",
                result.split,
                result.parts,
                result.unfillable,
                f"{told['on_time_percent']} %" if told["on_time_percent"] else "not known",
                str(result.freight or ""),
                ", ".join(f"{location} {count}" for location, count in result.by_location.items()),
            )
        )
    screen.table(f"{results[0].orders} orders planned again", ["rules", "filled whole", "units", "split", "parts", "unfillable", "on time", "freight", "parts from"], rows)


def bars(results: list[simulation.Simulated]) -> str:
    """An SVG: for each variant how many orders are filled from one place, split, and not filled."""
    wide, row, left = 560, 34, 180
    colours = (("from one place", "#2f6f4f"), ("split", "#d79a2b"), ("not filled", "#b5432f"))
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + wide + 20}" height="{row * len(results) + 50}" font-family="sans-serif" font-size="13">']
    for number, result in enumerate(results):
        top, start = 10 + number * row, float(left)
        parts.append(f'<text x="{left - 8}" y="{top + 17}" text-anchor="end">{escape(result.variant)}</text>')
        for (name, colour), count in zip(colours, (result.filled - result.split, result.split, result.unfillable), strict=True):
            length = wide * count / result.orders
            if count:
                parts.append(f'<rect x="{start:.1f}" y="{top}" width="{length:.1f}" height="24" fill="{colour}"><title>{name}: {count}</title></rect>')
                parts.append(f'<text x="{start + 5:.1f}" y="{top + 17}" fill="white">{count}</text>')
            start += length
    for number, (name, colour) in enumerate(colours):
        at = left + number * 150
        parts.append(f'<rect x="{at}" y="{row * len(results) + 20}" width="12" height="12" fill="{colour}"/><text x="{at + 18}" y="{row * len(results) + 31}">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
