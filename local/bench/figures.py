"""Which figures must not get worse, which goals were set, and how does a new measurement compare with the one on record?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.bench.imports import FIELD, REFERENCE

TOLERANCE = 0.10


@dataclass(frozen=True)
class Figure:
    """One number that is watched."""

    value: float
    unit: str
    more_is_better: bool = False


@dataclass(frozen=True)
class Compared:
    """One figure before and after. ``change``: positive is more; None: it is new or gone."""

    name: str
    unit: str
    before: float | None
    after: float | None
    change: float | None
    worse: bool

    @property
    def missing(self) -> bool:
        """On record, and not found although its section was measured."""
        return self.before is not None and self.after is None


def figures(results: Mapping[str, Any]) -> dict[str, Figure]:
    """The watched numbers of what was measured: only those that hold from run to run and from machine to machine."""
    found: dict[str, Figure] = {}
    imports = results.get("imports", {}).get("found", {})
    for name, one in imports.items():
        if name in (REFERENCE, FIELD):
            continue
        found[f"{name}: modules imported"] = Figure(one["modules"], "")
        found[f"{name}: sources compiled"] = Figure(len(one["compiled_sources"]), "")
        if REFERENCE in imports:
            found[f"{name}: import against the reference"] = Figure(one["cpu_ms"]["low"] / imports[REFERENCE]["cpu_ms"]["low"], "x")
    for name, one in results.get("sizes", {}).get("found", {}).items():
        if one["unpacked_bytes"] > 100_000:
            found[f"layer {name}: unpacked"] = Figure(one["unpacked_bytes"] / 1e6, "MB")
            found[f"layer {name}: zipped"] = Figure(one["zipped_bytes"] / 1e6, "MB")
    if "operations" in results:
        made = results["operations"]["bill"]
        # Without the seconds of the functions: those are this machine's, the counts are not.
        found["1,000 orders, without Lambda's time"] = Figure(made["total"] - made["of_it_lambda_time"], "$")
        counted = results["operations"]["found"]["per_order"]
        for name in ("lambda_requests", "dynamodb_write_units", "dynamodb_read_units", "sqs_requests", "workflow_transitions"):
            found[f"an order: {name.replace('_', ' ')}"] = Figure(sum(counts.get(name, 0) for counts in counted.values()), "")
    if "idle" in results:
        found["a month of an idle tenant"] = Figure(results["idle"]["total"], "$")
    if "load" in results:
        found["webhooks against the bare engine"] = Figure(results["load"]["webhooks"]["intake_alone"]["ratio"]["median"], "x", more_is_better=True)
    return found


def compare(before: Mapping[str, Any], after: Mapping[str, Any], *, tolerance: float = TOLERANCE) -> list[Compared]:
    """Every figure of either side; worse is what moved to the wrong side by more than the tolerance. A figure of a section that was not measured
    again is left out; one that vanished from a measured section, or is new, is shown without a verdict."""
    measured = {name: value for name, value in before.items() if name in after}
    old, new = figures(measured), figures(after)
    rows = []
    for name in dict.fromkeys([*old, *new]):
        was, now = old.get(name), new.get(name)
        change = _change(was.value, now.value) if was and now else None
        worse = change is not None and (change < -tolerance if (was or now).more_is_better else change > tolerance)  # type: ignore[union-attr]
        rows.append(Compared(name, (now or was).unit, was.value if was else None, now.value if now else None, change, worse))  # type: ignore[union-attr]
    return rows


def _change(before: float, after: float) -> float:
    """As a share of before; what comes out of nothing has grown without bound."""
    if before == 0:
        return 0.0 if after == 0 else math.inf
    return after / before - 1


def table(rows: list[Compared]) -> str:
    """The comparison as lines of text, what got worse first."""
    shown = [f"{'':52} {'before':>10} {'after':>10} {'change':>8}"]
    for row in sorted(rows, key=lambda row: (not row.worse, row.name)):
        before, after = (f"{value:.3g} {row.unit}".strip() if value is not None else "-" for value in (row.before, row.after))
        change = f"{row.change:+.1%}" if row.change is not None else ""
        shown.append(f"{row.name:52} {before:>10} {after:>10} {change:>8}{'  WORSE' if row.worse else ''}")
    return "\n".join(shown)


@dataclass(frozen=True)
class Goal:
    """A number that was promised, and what was measured."""

    what: str
    goal: str
    measured: str
    met: bool


def goals(results: Mapping[str, Any]) -> list[Goal]:
    """Every goal whose figure was measured."""
    found: list[Goal] = []
    imports = results.get("imports", {}).get("found", {})
    if "receive_webhook" in imports:
        one, workers = imports["receive_webhook"], {name: value for name, value in imports.items() if name not in (REFERENCE, FIELD, "receive_webhook")}
        field = f" (the field's handler: {imports[FIELD]['wall_ms']['median']:,.0f} ms)" if FIELD in imports else ""
        found.append(Goal("cold import of `receive_webhook`", "<= 120 ms", f"{one['wall_ms']['median']:.0f} ms{field}", one["wall_ms"]["median"] <= 120))
        slowest = max(workers, key=lambda name: workers[name]["wall_ms"]["median"])
        longest = workers[slowest]["wall_ms"]["median"]
        found.append(Goal("cold import of the slowest other function", "<= 450 ms", f"{longest:.0f} ms (`{slowest}`)", longest <= 450))
        held = {name: value.get("resident_after_mb", value["resident_mb"])["median"] for name, value in imports.items() if name not in (REFERENCE, FIELD)}
        most = max(held, key=lambda name: held[name])
        found.append(Goal("resident memory after a call", "<= 64 MB", f"{held[most]:.0f} MB (`{most}`)", held[most] <= 64))
    if "sizes" in results:
        size = results["sizes"]["found"]["dependencies"]["unpacked_bytes"] / 1e6
        found.append(Goal("dependency layer, unpacked", "<= 14 MB", f"{size:.1f} MB", size <= 14))
    if "operations" in results:
        made = results["operations"]["bill"]["total"]
        found.append(Goal("1,000 orders of three lines at list price", "<= $0.15 (moonshot $0.097)", f"${made:.3f}", made <= 0.15))
        sizes = results["operations"]["found"].get("scale", {}).get("sizes", [])
        if len(sizes) > 1:
            for figure, what in (("usd_per_1000_without_lambda_time", "cost"), ("seconds_per_order", "time")):
                spread = max(size[figure] for size in sizes) / sizes[0][figure] - 1
                what = f"{what} per order from {sizes[0]['orders']:,} to {sizes[-1]['orders']:,} orders"
                found.append(Goal(what, "flat within 10 %", f"at most {spread:+.1%} of the smallest", spread <= 0.10))
    if "idle" in results:
        found.append(Goal("a month of an idle tenant", "<= $3 (moonshot $2)", f"${results['idle']['total']:.2f}", results["idle"]["total"] <= 3))
    if "load" in results:
        load = results["load"]
        ratio = load["webhooks"]["intake_alone"]["ratio"]["median"]
        found.append(Goal("webhooks a second against an empty function on the bare engine", ">= 0.8", f"{ratio:.2f}", ratio >= 0.8))
        hot = load["hot_sku"]
        right = hot["reserved"] == hot["units"] and hot["oversold"] == 0
        outcome = f"{hot['reserved']} reserved, {hot['oversold']} oversold"
        found.append(Goal(f"one SKU, {hot['units']} units, {hot['callers']} at once", f"exactly {hot['units']}, 0 oversold", outcome, right))
    return found
