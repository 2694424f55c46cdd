"""How are the measurements told to a reader? The tables for page.md, with what, where, when and how often it was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from local.bench import prices
from local.bench.figures import goals
from local.bench.imports import FIELD, REFERENCE
from local.bench.operations import STEPS

_IN_KILOBYTES = {"archived_event_gb": "archived event KB", "log_gb": "log KB"}


def written(results: Mapping[str, Any], pictures: Sequence[str]) -> str:
    """docs/benchmarks.md. Needs every section; a KeyError names the one that was not measured."""
    template = Template(Path(__file__).with_name("page.md").read_text(encoding="utf-8"))
    made = {"goals": _goals(results), **_imports(results["imports"]), **_sizes(results["sizes"]), **_operations(results["operations"])}
    made |= {**_idle(results["idle"]), **_scale(results["operations"], pictures), **_load(results["load"]), **_stock(results["stock"])}
    return template.substitute(made)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]], *, text_columns: int = 1) -> str:
    line = ["---" if number < text_columns else "---:" for number in range(len(head))]
    return "\n".join("| " + " | ".join(str(cell) for cell in row) + " |" for row in (head, line, *rows))


def _where(section: Mapping[str, Any]) -> str:
    machine = section["machine"]
    return f"Measured {machine['date']} on {machine['processor']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}, load at the start {machine['load']}."


def _spread(value: Mapping[str, float], digits: int = 0) -> str:
    return f"{value['median']:.{digits}f} ({value['low']:.{digits}f}-{value['high']:.{digits}f})"


def _goals(results: Mapping[str, Any]) -> str:
    return _table(("what", "goal", "measured", "met"), [(goal.what, goal.goal, goal.measured, "yes" if goal.met else "**no**") for goal in goals(results)], text_columns=4)


def _imports(section: Mapping[str, Any]) -> dict[str, object]:
    found = section["found"]
    rows, loaded = [], []
    for name, one in sorted(found.items(), key=lambda item: float(item[1]["wall_ms"]["median"])):
        calls = [f"{one[figure]['median']:.0f}" if figure in one else "" for figure in ("first_call_ms", "second_call_ms", "resident_after_mb")]
        ratio = f"{one['cpu_ms']['low'] / found[REFERENCE]['cpu_ms']['low']:.2f}"
        shown = {FIELD: "*a handler of the field*", REFERENCE: "*the reference import*"}.get(name, f"`{name}`")
        rows.append((shown, _spread(one["wall_ms"]), ratio, one["modules"], f"{one['resident_mb']['median']:.0f}", *calls, len(one["compiled_sources"])))
        if name not in (FIELD, REFERENCE):
            packages = ", ".join(f"{package['package']} {package['self_ms']:.0f}" for package in one["packages"][:9] if package["self_ms"] >= 1)
            loaded.append((shown, packages, ", ".join(f"{module['module']} {module['self_ms']:.0f}" for module in one["top_modules"][:5])))
    head = ("function", "import ms (low-high)", "x reference", "modules", "MB", "1st call ms", "2nd call ms", "MB after", "compiled")
    return {
        "imports_where": _where(section),
        "imports_runs": found[REFERENCE]["runs"],
        "imports": _table(head, rows),
        "loaded": _table(("function", "packages", "modules"), loaded, text_columns=3),
    }


def _sizes(section: Mapping[str, Any]) -> dict[str, object]:
    found = section["found"]
    rows = [(name, *(f"{one[figure] / 1e6:.2f}" for figure in ("unpacked_bytes", "zipped_bytes", "bytecode_bytes")), one["files"]) for name, one in found.items()]
    biggest = [(package["package"], f"{package['bytes'] / 1e6:.2f}") for package in found["dependencies"]["packages"]]
    return {"sizes": _table(("layer", "unpacked MB", "zipped MB", "of it bytecode MB", "files"), rows), "packages": _table(("package", "MB"), biggest)}


def _operations(section: Mapping[str, Any]) -> dict[str, object]:
    made, found = section["bill"], section["found"]
    services = list(made["by_service"])
    parts = [part for part in STEPS if part in made["by_part"]]
    rows = [(STEPS[part], *(_dollars(made["by_part"][part].get(service, 0)) for service in services), _dollars(sum(made["by_part"][part].values()))) for part in parts]
    rows.append(("**in all**", *(_dollars(made["by_service"][service]) for service in services), f"**{made['total']:.4f}**"))
    names = sorted({name for counts in found["per_order"].values() for name in counts if not name.startswith("(")})
    counted = [(_IN_KILOBYTES.get(name, name.replace("_", " ")), *(_count(found["per_order"].get(part, {}).get(name, 0), name) for part in parts)) for name in names]
    return {
        "operations_where": _where(section),
        "operations_orders": found["orders"],
        "time_usd": f"{made['of_it_lambda_time']:.3f}",
        "poll_usd": f"{made['per_poll_million']:.2f}",
        "region": prices.table()["region"],
        "price_date": prices.table()["date"],
        "bill": _table(("step", *services, "in all"), rows),
        "counted": _table(("", *(STEPS[part] for part in parts)), counted),
    }


def _dollars(value: float) -> str:
    return f"{value:.4f}" if value >= 0.00005 else ""


def _count(value: float, name: str) -> str:
    return f"{value * (1e6 if name in _IN_KILOBYTES else 1):.2f}" if value else ""


def _idle(section: Mapping[str, Any]) -> dict[str, object]:
    rows = [(line["what"].replace("_", " "), line["service"], f"{line['quantity']:,.4g}", f"{line['usd']:.3f}") for line in section["lines"]]
    rows.append(("**in all**", "", "", f"**{section['total']:.2f}**"))
    return {"idle": _table(("what", "service", "quantity", "$"), rows, text_columns=2), "rotation_usd": f"{section['after_rotations']:.2f}"}


def _scale(section: Mapping[str, Any], pictures: Sequence[str]) -> dict[str, object]:
    scale = section["found"]["scale"]
    rows = []
    for size in scale["sizes"]:
        costs = (f"{size[figure]:.4f}" for figure in ("usd_per_1000_without_lambda_time", "usd_per_1000"))
        rows.append((f"{size['orders']:,}", f"{size['seconds']:.0f}", f"{size['seconds_per_order']:.2f}", f"{size['orders'] / size['seconds']:.2f}", *costs))
    head = ("orders", "seconds", "seconds per order", "orders a second", "$ per 1,000 without Lambda's time", "$ per 1,000")
    return {
        "scale_picture": "![scale](benchmarks/scale.svg)\n\n" if "scale.svg" in pictures else "",
        "scale_where": _where(section),
        "open_at_once": scale["open_at_once"],
        "left_out": "\n".join(f"Not run: {out['orders']:,} orders, which {out['why']}." for out in scale["left_out"]),
        "scale": _table(head, rows),
    }


def _stock(section: Mapping[str, Any]) -> dict[str, object]:
    shown, flood = section["shown_after"], section["flood"]
    rows = [(one["skus"], f"{one['reservations']:,}", one["at_once"], f"{one['per_second']:,}", one["told_to_come_again"]) for one in section["contention"]]
    return {
        "stock_where": _where(section),
        "shown_changes": shown["changes"],
        "shown_every": f"{shown['every_seconds']:g}",
        **{f"shown_{name}": f"{shown[name]:.1f}" for name in ("p50", "p95", "slowest")},
        "flood_reports": f"{flood['reports']:,}",
        "flood_taken": f"{flood['taken_seconds']:.0f}",
        "flood_seconds": f"{flood['seconds']:.0f}",
        "flood_rate": f"{flood['per_second']:.0f}",
        "flood_share": f"{flood['share_of_goal']:.0%}",
        "flood_lost": flood["lost"],
        "flood_wrong": flood["newest_does_not_hold"],
        "contention": _table(("SKUs", "reservations", "at once", "a second", "told to come again"), rows, text_columns=0),
    }


def _load(section: Mapping[str, Any]) -> dict[str, object]:
    hooks, hot, after = section["webhooks"], section["hot_sku"], section["backlog"]
    rows = []
    for name, one in (("the intake alone", hooks["intake_alone"]), ("with everything behind it at work", hooks["everything"])):
        answers = (f"{one['answer_ms'][point]:.0f}" for point in ("p50", "p99", "slowest"))
        rows.append((name, _spread(one["ours_per_second"]), _spread(one["bare_per_second"]), _spread(one["ratio"], 2), one["rounds"], *answers))
    return {
        "load_where": _where(section),
        "body_bytes": f"{hooks['body_bytes']:,}",
        "senders": hooks["at_once"],
        "each": hooks["each"],
        "webhooks": _table(("webhooks", "a second (low-high)", "empty function", "ratio", "rounds", "p50 ms", "p99 ms", "slowest ms"), rows),
        **{f"hot_{name}": hot[name] for name in ("units", "callers", "reserved", "oversold", "available")},
        "hot_seconds": f"{hot['seconds']:.1f}",
        "hot_again": hot["sent_round_again"],
        "after_orders": after["orders"],
        "after_rate": after["orders_per_hour"],
        "after_minutes": after["minutes"],
        "after_outage": f"{after['outage_seconds']:.0f}",
        "after_waiting": after["waiting"],
        "after_drain": f"{after['drain_seconds']:.0f}",
    }
