"""Does a number that got worse fail the check, and does one that got better not?"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.bench import __main__ as bench
from local.bench import figures, page, prices

MACHINE = {"date": "2026-11-22", "processor": "a processor", "cores": "2", "system": "Linux x86_64", "python": "3.13.0", "load": "0.1"}


def spread(value: float) -> dict[str, float]:
    return {"median": value, "low": value * 0.9, "high": value * 1.2}


def imported(milliseconds: float) -> dict[str, Any]:
    return {
        "runs": 9,
        "wall_ms": spread(milliseconds),
        "cpu_ms": spread(milliseconds),
        "resident_mb": spread(40),
        "first_call_ms": spread(50),
        "second_call_ms": spread(9),
        "resident_after_mb": spread(50),
        "modules": 300,
        "packages": [{"package": "pydantic", "self_ms": 40.0, "modules": 40}],
        "top_modules": [{"module": "ssl", "self_ms": 9.0}],
        "compiled_sources": [],
    }


@pytest.fixture
def record() -> dict[str, Any]:
    """What `make bench` leaves, with every goal met."""
    size = {"unpacked_bytes": 12_000_000, "zipped_bytes": 4_000_000, "bytecode_bytes": 1_000_000, "files": 500, "packages": [{"package": "pydantic", "bytes": 3_000_000}]}
    rates = {
        "rounds": 5,
        "ours_per_second": spread(90),
        "bare_per_second": spread(100),
        "ratio": spread(0.9),
        "answer_ms": {"p50": 20.0, "p99": 60.0, "slowest": 80.0},
    }
    per_order = {"apply_event": {"lambda_requests": 5.0, "dynamodb_write_units": 10.0, "(PutItem)": 4.0}, "workflow": {"workflow_transitions": 4.0}}
    scale = {
        "open_at_once": 20,
        "sizes": [{"orders": orders, "seconds": 2.0 * orders, "seconds_per_order": 2.0, "usd_per_1000": 0.13, "usd_per_1000_without_lambda_time": 0.12} for orders in (10, 100)],
        "left_out": [{"orders": 10_000, "why": "would take about 333 minutes"}],
    }
    return {
        "imports": {"machine": MACHINE, "found": {"receive_webhook": imported(100), "apply_event": imported(400), "field": imported(1500), "reference": imported(100)}},
        "sizes": {"machine": MACHINE, "found": {"dependencies": size}},
        "operations": {
            "machine": MACHINE,
            "found": {"orders": 6, "per_order": per_order, "ticks": {}, "poll": {}, "scale": scale},
            "bill": {
                "by_part": {"apply_event": {"DynamoDB": 0.0063, "Lambda": 0.02}, "workflow": {"Step Functions": 0.1}},
                "by_service": {"Step Functions": 0.1, "Lambda": 0.02, "DynamoDB": 0.0063},
                "total": 0.1263,
                "of_it_lambda_time": 0.019,
                "per_poll_million": 5.0,
            },
        },
        "idle": {
            "machine": MACHINE,
            "lines": [{"what": "KMS::Key: key_months", "service": "KMS", "quantity": 1.0, "usd": 1.0}],
            "total": 2.5,
            "after_rotations": 2.0,
        },
        "stock": {
            "machine": MACHINE,
            "flood": {"reports": 3000, "taken_seconds": 2.5, "seconds": 20.0, "per_second": 170.0, "share_of_goal": 1.02, "lost": 0, "newest_does_not_hold": 0},
            "shown_after": {"changes": 60, "every_seconds": 1.0, "p50": 5.0, "p95": 6.0, "slowest": 7.0},
            "contention": [{"skus": 1, "reservations": 1000, "at_once": 20, "per_second": 900, "told_to_come_again": 0}],
        },
        "load": {
            "machine": MACHINE,
            "webhooks": {"body_bytes": 4500, "at_once": 8, "each": 200, "intake_alone": rates, "everything": rates},
            "hot_sku": {"units": 100, "callers": 200, "reserved": 100, "committed": 100, "available": 0, "oversold": 0, "sent_round_again": 3, "seconds": 2.0},
            "backlog": {"orders": 20, "orders_per_hour": 40, "minutes": 30, "outage_seconds": 60.0, "waiting": 20, "drain_seconds": 50.0},
        },
    }


Change = Callable[[dict[str, Any]], None]


def slower_import(results: dict[str, Any]) -> None:
    results["imports"]["found"]["receive_webhook"]["cpu_ms"]["low"] *= 1.2


def more_modules(results: dict[str, Any]) -> None:
    results["imports"]["found"]["apply_event"]["modules"] = 340


def source_compiled(results: dict[str, Any]) -> None:
    results["imports"]["found"]["apply_event"]["compiled_sources"] = ["opt/crossdock/edge.py"]


def bigger_layer(results: dict[str, Any]) -> None:
    results["sizes"]["found"]["dependencies"]["unpacked_bytes"] = 14_000_000


def dearer_order(results: dict[str, Any]) -> None:
    results["operations"]["bill"]["total"] += 0.02


def more_writes(results: dict[str, Any]) -> None:
    results["operations"]["found"]["per_order"]["apply_event"]["dynamodb_write_units"] = 12.0


def dearer_idle(results: dict[str, Any]) -> None:
    results["idle"]["total"] = 2.9


def fewer_webhooks(results: dict[str, Any]) -> None:
    results["load"]["webhooks"]["intake_alone"]["ratio"]["median"] = 0.7


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (slower_import, "receive_webhook: import against the reference"),
        (more_modules, "apply_event: modules imported"),
        (source_compiled, "apply_event: sources compiled"),
        (bigger_layer, "layer dependencies: unpacked"),
        (dearer_order, "1,000 orders, without Lambda's time"),
        (more_writes, "an order: dynamodb write units"),
        (dearer_idle, "a month of an idle tenant"),
        (fewer_webhooks, "webhooks against the bare engine"),
    ],
)
def test_a_figure_that_got_worse_by_more_than_a_tenth_is_named(record: dict[str, Any], change: Change, name: str) -> None:
    after = copy.deepcopy(record)
    change(after)

    rows = figures.compare(record, after)

    assert [row.name for row in rows if row.worse] == [name]
    assert f"{name}" in figures.table(rows).splitlines()[1]
    assert figures.table(rows).splitlines()[1].endswith("WORSE")


def test_within_a_tenth_and_better_is_no_reason_to_fail(record: dict[str, Any]) -> None:
    after = copy.deepcopy(record)
    after["idle"]["total"] *= 1.09
    after["operations"]["bill"]["total"] *= 0.5
    after["load"]["webhooks"]["intake_alone"]["ratio"]["median"] = 1.4

    assert not [row.name for row in figures.compare(record, after) if row.worse]


def test_the_time_of_the_functions_is_this_machine_s_and_fails_nothing(record: dict[str, Any]) -> None:
    after = copy.deepcopy(record)
    after["operations"]["bill"]["total"] += 0.5
    after["operations"]["bill"]["of_it_lambda_time"] += 0.5

    assert not [row.name for row in figures.compare(record, after) if row.worse]


def test_a_section_that_was_not_measured_again_is_not_compared(record: dict[str, Any]) -> None:
    names = {row.name for row in figures.compare(record, {"idle": record["idle"]})}

    assert names == {"a month of an idle tenant"}


@pytest.fixture
def project(tmp_path: Path, record: dict[str, Any]) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "benchmarks.json").write_text(json.dumps(record))
    return tmp_path


def checked(project: Path, monkeypatch: pytest.MonkeyPatch, now: dict[str, Any]) -> int:
    """The check's exit code when ``now`` is what it measures."""
    monkeypatch.setattr(bench.toolchain, "project_root", lambda: project)
    monkeypatch.setattr(bench, "measured", lambda *_: copy.deepcopy(now))
    monkeypatch.setattr(bench, "measure_imports", lambda *_: copy.deepcopy(now["imports"]))
    return bench.main(["check"])


def test_the_check_passes_on_what_is_on_record(project: Path, record: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(project, monkeypatch, record) == 0
    assert "nothing got worse" in capsys.readouterr().out


def test_the_check_fails_with_exit_code_1_and_the_name_of_what_got_worse(
    project: Path, record: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dearer_idle(record)

    assert checked(project, monkeypatch, record) == 1
    assert "worse by more than 10%: a month of an idle tenant" in capsys.readouterr().out


def test_an_import_that_is_slow_once_is_measured_again_before_it_counts(project: Path, record: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    slow = copy.deepcopy(record)
    slower_import(slow)
    monkeypatch.setattr(bench.toolchain, "project_root", lambda: project)
    monkeypatch.setattr(bench, "measured", lambda *_: slow)
    monkeypatch.setattr(bench, "measure_imports", lambda *_: record["imports"])

    assert bench.main(["check"]) == 0


def test_the_check_fails_when_a_figure_on_record_is_not_measured_any_more(
    project: Path, record: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    del record["imports"]["found"]["apply_event"]

    assert checked(project, monkeypatch, record) == 1
    assert "on record but not measured any more: apply_event: modules imported" in capsys.readouterr().out


def test_the_check_fails_when_a_section_is_not_on_record(project: Path, record: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    del record["load"]
    (project / "docs" / "benchmarks.json").write_text(json.dumps(record))

    assert checked(project, monkeypatch, record) == 1
    assert "section load could not be compared: is not on record" in capsys.readouterr().out


def measuring(project: Path, monkeypatch: pytest.MonkeyPatch, record: dict[str, Any], *, breaking: str = "") -> None:
    """A bench whose sections answer what is on ``record``; one of them breaks."""

    def one(_: Path, __: object, sections: list[str], *___: object) -> dict[str, Any]:
        if breaking in sections:
            raise RuntimeError("the engine went away")
        return {section: record[section] for section in sections}

    monkeypatch.setattr(bench.toolchain, "project_root", lambda: project)
    monkeypatch.setattr(bench, "measured", one)
    monkeypatch.setattr(bench, "_write_page", lambda *_: (project / "docs" / "benchmarks.md").write_text("written"))


def test_a_section_that_fails_costs_no_other_section_and_the_run_ends_with_1(
    tmp_path: Path, record: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    measuring(tmp_path, monkeypatch, record, breaking="operations")

    assert bench.main(["run"]) == 1

    kept = json.loads((tmp_path / "docs" / "benchmarks.json").read_text())
    assert set(kept) == {"imports", "sizes", "idle", "load", "stock", "failed"}
    assert "FAILED  section operations: RuntimeError: the engine went away" in capsys.readouterr().out
    assert not (tmp_path / "docs" / "benchmarks.md").exists(), "a page that is not whole would look like one"


def test_one_section_measured_alone_is_merged_into_the_record_and_completes_the_page(tmp_path: Path, record: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    measuring(tmp_path, monkeypatch, record, breaking="operations")
    bench.main(["run"])
    measuring(tmp_path, monkeypatch, record)

    assert bench.main(["run", "--sections", "operations"]) == 0

    assert set(json.loads((tmp_path / "docs" / "benchmarks.json").read_text())) == set(bench.SECTIONS)
    assert (tmp_path / "docs" / "benchmarks.md").read_text() == "written"


def test_every_goal_is_judged_by_its_own_figure(record: dict[str, Any]) -> None:
    assert all(goal.met for goal in figures.goals(record))
    for change, number in (
        (lambda results: results["imports"]["found"]["receive_webhook"]["wall_ms"].update(median=121), 0),
        (lambda results: results["imports"]["found"]["apply_event"]["wall_ms"].update(median=451), 1),
        (lambda results: results["imports"]["found"]["apply_event"]["resident_after_mb"].update(median=65), 2),
        (lambda results: results["sizes"]["found"]["dependencies"].update(unpacked_bytes=14_100_000), 3),
        (lambda results: results["operations"]["bill"].update(total=0.151), 4),
        (lambda results: results["operations"]["found"]["scale"]["sizes"][1].update(usd_per_1000_without_lambda_time=0.14), 5),
        (lambda results: results["operations"]["found"]["scale"]["sizes"][1].update(seconds_per_order=2.3), 6),
        (lambda results: results["idle"].update(total=3.01), 7),
        (lambda results: results["load"]["webhooks"]["intake_alone"]["ratio"].update(median=0.79), 8),
        (lambda results: results["load"]["hot_sku"].update(reserved=101, oversold=1), 9),
    ):
        missed = copy.deepcopy(record)
        change(missed)
        judged = figures.goals(missed)
        assert [place for place, goal in enumerate(judged) if not goal.met] == [number], judged[number]


def test_the_page_tells_every_section_with_machine_and_date_and_leaves_no_placeholder(record: dict[str, Any]) -> None:
    text = page.written(record, ["imports.svg", "scale.svg"])

    assert "$where" not in text
    assert "${" not in text
    assert text.count("Measured 2026-11-22 on a processor, 2 cores") == 5
    assert "| dependencies | 12.00 | 4.00 |" in text
    assert "**0.1263**" in text
    assert "Not run: 10,000 orders, which would take about 333 minutes." in text
    assert str(prices.table()["date"]) in text
