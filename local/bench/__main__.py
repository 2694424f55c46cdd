"""``python -m local.bench``: which benchmark is to run, and how is its result told?

``run`` measures everything (or the sections named) and writes docs/benchmarks.md, .json and the pictures. A section that fails is recorded and the others
go on; the run then ends with 1. Sections can be measured one at a time, each merged into docs/benchmarks.json: ``run --sections operations``, later
``run --sections idle load``; the page is written as soon as the record holds every section. ``check`` measures again what holds from
run to run and compares it with docs/benchmarks.json; a figure that is on record and missing now fails it too. ``imports`` and ``sizes`` print and write nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from infra import tenant_files
from local.bench import bare_engine, figures, imports, machine, operations, page, prices, quiet_aws, running_system, sizes, stock_updates, template, throughput
from local.engine import toolchain

DEFAULT_TENANT = "acme_industrial"
SECTIONS = ("imports", "sizes", "operations", "idle", "load", "stock")


def _say(line: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")


def measure_imports(root: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    with quiet_aws.running(list(tenant_files.load(arguments.tenant, root).connections)) as endpoint:
        found = imports.subjects(root, arguments.tenant, endpoint)
        wanted = [subject for subject in found if not arguments.only or subject.name in arguments.only]
        return {"found": imports.measure(wanted, runs=arguments.runs, say=_say)}


def measure_sizes(root: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    return {"found": sizes.measure(root, arguments.tenant)}


def measure_operations(root: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    found = operations.measure(
        root,
        arguments.tenant,
        template.synthesised(root, arguments.tenant),
        orders=arguments.orders,
        sizes=arguments.sizes,
        open_at_once=arguments.open_at_once,
        budget_seconds=arguments.minutes * 60,
        say=_say,
    )
    return {"found": found, "bill": operations.bill(found)}


def measure_idle(root: Path, arguments: argparse.Namespace, ticks: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    stack = template.synthesised(root, arguments.tenant)
    lines = prices.price_template(stack, ticks)
    shown = [{**asdict(line), "quantity": round(float(line.quantity), 6), "usd": round(float(line.usd), 6)} for line in lines]
    return {"lines": shown, "total": round(float(prices.total(lines)), 4), "after_rotations": round(float(prices.after_rotations(stack)), 2)}


def measure_load(root: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    with bare_engine.running(root) as bare, running_system.up(root, arguments.tenant, _say) as system:
        return {
            "webhooks": throughput.webhooks(system, bare, rounds=arguments.rounds, each=arguments.each, at_once=8, say=_say),
            "hot_sku": throughput.hot_sku(system, say=_say),
            "backlog": throughput.backlog(system, orders_per_hour=arguments.orders_per_hour, minutes=30, say=_say),
        }


def measure_stock(root: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    with running_system.up(root, arguments.tenant, _say, laid_over=stock_updates.COUNTED_BY_CLIENTS) as system:
        return {
            # In this order: the flood tells of an hour ago, which nothing newer may have been heard of.
            "flood": stock_updates.flood(system, reports=arguments.reports, say=_say),
            "shown_after": stock_updates.shown_after(system, changes=arguments.changes, every=1.0, say=_say),
            "contention": stock_updates.contention(system, reservations=1000, at_once=20, say=_say),
        }


def measure_intake(root: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Of the load only what the check compares."""
    with bare_engine.running(root) as bare, running_system.up(root, arguments.tenant, _say) as system:
        return {"webhooks": {"intake_alone": throughput.intake_alone(system, bare, rounds=arguments.rounds, each=arguments.each, at_once=8, say=_say)}}


Measure = Callable[[Path, argparse.Namespace], dict[str, Any]]


def measured(root: Path, arguments: argparse.Namespace, sections: Sequence[str], known: Mapping[str, Any], load: Measure) -> dict[str, Any]:
    """Each section measured now, with the machine it was measured on."""
    results: dict[str, Any] = {}
    for section in SECTIONS:
        if section not in sections:
            continue
        where = machine.described()
        _say(f"--- {section}")
        if section == "idle":
            operated = results.get("operations") or known.get("operations")
            if operated is None:
                raise running_system.BenchFailed("what runs on the clock consumes is counted with the section operations: measure it first")
            found = measure_idle(root, arguments, operated["found"]["ticks"])
        else:
            found = {"imports": measure_imports, "sizes": measure_sizes, "operations": measure_operations, "load": load, "stock": measure_stock}[section](root, arguments)
        results[section] = {"machine": where, **found}
    return results


def run(root: Path, arguments: argparse.Namespace) -> tuple[dict[str, Any], str, int]:
    """Measures, keeps what was not measured again, and writes the page."""
    record = root / "docs" / "benchmarks.json"
    known = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    results = {section: found for section, found in known.items() if section in SECTIONS}
    failed: dict[str, str] = {}
    for section in [section for section in SECTIONS if section in (arguments.sections or SECTIONS)]:
        try:
            results = {**results, **measured(root, arguments, [section], results, measure_load)}
        except Exception as error:  # noqa: BLE001 - one section's failure is told at the end and costs no other section
            failed[section] = f"{type(error).__name__}: {error}"[:500]
            _say(f"section {section} FAILED: {failed[section]}")
        # After each: what was measured stays when a later section fails.
        kept = {name: results[name] for name in SECTIONS if name in results}
        record.write_text(json.dumps({**kept, **({"failed": failed} if failed else {})}, indent=1) + "\n", encoding="utf-8")
    lines = [f"{'met    ' if goal.met else 'NOT MET'} {goal.what}: {goal.measured} (goal {goal.goal})" for goal in figures.goals(results)]
    missing = [section for section in SECTIONS if section not in results]
    if not missing:
        _write_page(root, results, failed)
    lines += [f"FAILED  section {section}: {why}" for section, why in failed.items()]
    lines += [f"MISSING section {section}: the page is written when `run --sections {section}` has been run" for section in missing]
    return {**results, "failed": failed}, "\n".join(lines), 1 if failed or missing else 0


def _write_page(root: Path, results: Mapping[str, Any], failed: dict[str, str]) -> None:
    """The page with what is on record. Pictures that cannot be drawn are a failure like a section's: the tables stand without them."""
    pictures: list[str] = []
    try:
        from local.bench import plots  # here: its packages are only for whoever draws

        pictures = plots.draw(results, root / "docs" / "benchmarks")
    except ImportError as error:
        failed["pictures"] = f"{error}: `make bench` installs what draws them"
    (root / "docs" / "benchmarks.md").write_text(page.written(results, pictures), encoding="utf-8")


def check(root: Path, arguments: argparse.Namespace) -> tuple[dict[str, Any], str, int]:
    """1 when a figure got worse by more than the tolerance, also when what looked worse was measured a second time; or is missing; or could not be measured."""
    record = root / "docs" / "benchmarks.json"
    if not record.exists():
        raise running_system.BenchFailed("docs/benchmarks.json is not there: `make bench` makes it")
    before = json.loads(record.read_text(encoding="utf-8"))
    arguments.sizes = []
    after: dict[str, Any] = {}
    failed: dict[str, str] = {section: "is not on record" for section in (arguments.sections or SECTIONS) if section not in before}
    for section in [section for section in (arguments.sections or SECTIONS) if section in before]:
        try:
            after |= measured(root, arguments, [section], {**before, **after}, measure_intake)
        except Exception as error:  # noqa: BLE001 - told at the end, with exit code 1; the other sections are still compared
            failed[section] = f"{type(error).__name__}: {error}"[:500]
            _say(f"section {section} FAILED: {failed[section]}")
    rows = figures.compare(before, after)
    if any(row.worse for row in rows) and "imports" in after:
        _say("something looks worse: the imports once more, in case the machine was busy")
        again = measure_imports(root, arguments)
        for name, one in again["found"].items():
            after["imports"]["found"][name]["cpu_ms"]["low"] = min(after["imports"]["found"][name]["cpu_ms"]["low"], one["cpu_ms"]["low"])
        rows = figures.compare(before, after)
    worse = [row.name for row in rows if row.worse]
    gone = [row.name for row in rows if row.missing]
    verdict = [f"worse by more than {figures.TOLERANCE:.0%}: {', '.join(worse)}"] if worse else ["nothing got worse"]
    verdict += [f"section {section} could not be compared: {why}" for section, why in failed.items()]
    verdict += [f"on record but not measured any more: {', '.join(gone)}"] if gone else []
    text = figures.table(rows) + "\n\n" + "\n".join(verdict)
    return {"compared": [asdict(row) for row in rows], "worse": worse, "missing": gone, "failed": failed}, text, 1 if worse or gone or failed else 0


def show_imports(found: Mapping[str, Any]) -> str:
    rows = [f"{'':20} {'import ms (low-high)':>22} {'x ref':>6} {'1st call':>9} {'warm':>7} {'MB':>6} {'MB after':>8} {'modules':>8}  compiled"]
    reference = found.get(imports.REFERENCE, {}).get("cpu_ms", {}).get("low")
    for name, one in found.items():
        wall = one["wall_ms"]
        spread = f"{wall['median']:.0f} ({wall['low']:.0f}-{wall['high']:.0f})"
        relative = f"{one['cpu_ms']['low'] / reference:.2f}" if reference else ""
        called = [f"{one[figure]['median']:.0f}" if figure in one else "" for figure in ("first_call_ms", "second_call_ms", "resident_after_mb")]
        compiled = len(one["compiled_sources"])
        rows.append(f"{name:20} {spread:>22} {relative:>6} {called[0]:>9} {called[1]:>7} {one['resident_mb']['median']:>6.0f} {called[2]:>8} {one['modules']:>8}  {compiled}")
    for name, one in found.items():
        if name not in (imports.REFERENCE, imports.FIELD):
            rows.append(f"\n{name}: " + ", ".join(f"{package['package']} {package['self_ms']:.0f} ms/{package['modules']}" for package in one["packages"][:14]))
            rows.append("  top: " + ", ".join(f"{module['module']} {module['self_ms']:.0f}" for module in one["top_modules"]))
    return "\n".join(rows)


def show_sizes(found: Mapping[str, Any]) -> str:
    rows = []
    for name, one in found.items():
        unpacked, zipped, bytecode = (f"{one[figure] / 1e6:.1f} MB" for figure in ("unpacked_bytes", "zipped_bytes", "bytecode_bytes"))
        rows.append(f"{name}: {unpacked} unpacked, {zipped} zipped, {one['files']} files, {bytecode} of bytecode")
        rows.append("  " + ", ".join(f"{package['package']} {package['bytes'] / 1e6:.2f}" for package in one["packages"]))
    return "\n".join(rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--tenant", default=DEFAULT_TENANT)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("run", "measure and write the page"), ("check", "measure again and compare"), ("imports", "only print"), ("sizes", "only print")):
        command = commands.add_parser(name, help=text)
        command.add_argument("--runs", type=int, default=9, help="rounds of imports")
        command.add_argument("--only", nargs="*", help="of the imports, some functions by name (and: reference, field)")
        command.add_argument("--sections", nargs="*", choices=SECTIONS, help="only these; the rest stays as it is on record")
        command.add_argument("--orders", type=int, default=6, help="orders whose operations are counted")
        command.add_argument("--sizes", type=int, nargs="*", default=[10, 100, 1000, 10000], help="how many orders at a time, rising")
        command.add_argument("--open-at-once", type=int, default=20)
        command.add_argument("--minutes", type=float, default=8, help="for the sizes: what does not fit is left out and named")
        command.add_argument("--rounds", type=int, default=5, help="rounds of webhooks")
        command.add_argument("--each", type=int, default=200, help="webhooks in a round")
        command.add_argument("--reports", type=int, default=3000, help="reports on stock, as fast as they are taken")
        command.add_argument("--changes", type=int, default=60, help="changes of stock, one a second, that are waited for in the shop")
        command.add_argument("--orders-per-hour", type=int, default=40, help="the normal load whose half an hour piles up in an outage")
    return parser


def main(given: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(given)
    root = toolchain.project_root()
    status = 0
    if arguments.command == "run":
        found, text, status = run(root, arguments)
    elif arguments.command == "check":
        found, text, status = check(root, arguments)
    elif arguments.command == "imports":
        found = {"machine": machine.described(), **measure_imports(root, arguments)}
        text = show_imports(found["found"])
    else:
        found = {"machine": machine.described(), **measure_sizes(root, arguments)}
        text = show_sizes(found["found"])
    sys.stdout.write((json.dumps(found, indent=1) if arguments.json else text) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
