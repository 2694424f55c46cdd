"""The figures as pictures. Needs the dependency group ``bench``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt

from local.bench.imports import FIELD, REFERENCE
from local.bench.operations import STEPS

_OURS, _THEIRS, _GOAL = "#2b6cb0", "#a0aec0", "#c53030"
# Each service keeps its colour, whichever of them is dearest.
_SERVICES = ("Step Functions", "DynamoDB", "Lambda", "S3", "X-Ray", "CloudWatch Logs", "API Gateway", "SQS", "Secrets Manager", "KMS", "EventBridge", "CloudWatch", "WAF")
_COLOURS = dict(zip(_SERVICES, [mpl.colormaps["tab20"](number % 20) for number in (*range(0, 20, 2), *range(1, 20, 2))], strict=False))


def draw(results: Mapping[str, Any], folder: Path) -> list[str]:
    """One SVG for each thing that was measured; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    mpl.rcParams.update({"svg.hashsalt": "crossdock", "svg.fonttype": "path", "text.parse_math": False, "font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    drawn = []
    for name, picture in (("imports", _imports), ("cost", _cost), ("idle", _idle), ("scale", _scale)):
        figure = picture(results)
        if figure is not None:
            figure.savefig(folder / f"{name}.svg", bbox_inches="tight", metadata={"Date": None})
            plt.close(figure)
            drawn.append(f"{name}.svg")
    return drawn


def _imports(results: Mapping[str, Any]) -> Any:
    if "imports" not in results:
        return None
    found = results["imports"]["found"]
    names = sorted((name for name in found if name != REFERENCE), key=lambda name: found[name]["wall_ms"]["median"])
    figure, axes = plt.subplots(figsize=(9, 0.38 * len(names) + 1.2))
    values = [found[name]["wall_ms"] for name in names]
    medians = [value["median"] for value in values]
    errors = [[value["median"] - value["low"] for value in values], [value["high"] - value["median"] for value in values]]
    axes.barh(range(len(names)), medians, xerr=errors, color=[_THEIRS if name == FIELD else _OURS for name in names], error_kw={"elinewidth": 1, "ecolor": "#4a5568"})
    axes.set_yticks(range(len(names)), [name if name != FIELD else "a handler of the field" for name in names])
    for place, value in enumerate(values):
        axes.text(value["high"], place, f"  {value['median']:.0f}", va="center")
    for goal, label in ((120, "goal: intake"), (450, "goal: others")):
        axes.axvline(goal, color=_GOAL, linewidth=1, linestyle="--")
        axes.text(goal, len(names) - 0.4, label, color=_GOAL, fontsize=8, ha="center", va="bottom")
    axes.set_xlabel("milliseconds in a fresh process, median with lowest and highest")
    return figure


def _cost(results: Mapping[str, Any]) -> Any:
    if "operations" not in results:
        return None
    made = results["operations"]["bill"]
    parts = [part for part in STEPS if part in made["by_part"]][::-1]
    figure, axes = plt.subplots(figsize=(9, 0.45 * len(parts) + 1.6))
    left = [0.0] * len(parts)
    for service in made["by_service"]:
        values = [made["by_part"][part].get(service, 0.0) for part in parts]
        axes.barh(range(len(parts)), values, left=left, label=service, color=_COLOURS[service])
        left = [before + value for before, value in zip(left, values, strict=True)]
    for place, value in enumerate(left):
        axes.text(value, place, f"  ${value:.3f}", va="center")
    axes.set_yticks(range(len(parts)), [STEPS[part] for part in parts])
    axes.set_xlabel(f"dollars for 1,000 orders of three lines; in all ${made['total']:.3f}")
    axes.set_xlim(right=max(left) * 1.12)
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _idle(results: Mapping[str, Any]) -> Any:
    if "idle" not in results:
        return None
    lines = [line for line in results["idle"]["lines"] if line["usd"] >= 0.01][::-1]
    figure, axes = plt.subplots(figsize=(9, 0.34 * len(lines) + 1.2))
    axes.barh(range(len(lines)), [line["usd"] for line in lines], color=[_COLOURS[line["service"]] for line in lines])
    axes.set_yticks(range(len(lines)), [line["what"].replace("_", " ") for line in lines])
    for place, line in enumerate(lines):
        axes.text(line["usd"], place, f"  ${line['usd']:.2f}", va="center")
    axes.set_xlabel(f"dollars a month with nothing to do; in all ${results['idle']['total']:.2f}, the goal is $3")
    return figure


def _scale(results: Mapping[str, Any]) -> Any:
    sizes = results.get("operations", {}).get("found", {}).get("scale", {}).get("sizes", [])
    if len(sizes) < 2:
        return None
    figure, (pace, cost) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    names = [f"{size['orders']:,}" for size in sizes]
    pace.plot(names, [size["seconds_per_order"] for size in sizes], marker="o", color=_OURS)
    pace.set_ylabel("seconds per order")
    cost.plot(names, [size["usd_per_1000_without_lambda_time"] for size in sizes], marker="o", color=_OURS)
    cost.set_ylabel("dollars per 1,000 orders,\nwithout Lambda's time")
    for axes in (pace, cost):
        axes.set_xlabel("orders")
        axes.set_ylim(0, axes.get_ylim()[1] * 1.15)
        axes.margins(x=0.2)
    return figure
