"""Brings the system up once with a proxy inside it; after each fault the invariants are checked, and at the end it is told what was survived."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from local.engine.local_run import LocalRun
from local.engine.state import free_port
from tests.faults.closing_table import ClosingTable, Met
from tests.faults.system import Faulty, Observed, Proxy, start_proxy
from tests.faults.witness import Witness
from tests.invariants.history import History
from tests.invariants.invariants import check
from tests.scenarios.system import ROOT, Tenant, bring_up, crossdock

LOG = ROOT / "build" / "faults-proxy.log"
TABLE = pytest.StashKey[ClosingTable]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault(number, name): a fault of the closing table")
    config.stash[TABLE] = ClosingTable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """By number, so that the progress reads as the table does."""
    ours = sorted((item for item in items if item.get_closest_marker("fault")), key=lambda item: item.get_closest_marker("fault").args[0])  # type: ignore[union-attr]
    places = [index for index, item in enumerate(items) if item.get_closest_marker("fault")]
    for index, item in zip(places, ours, strict=True):
        items[index] = item


# ------------------------------------------------------------------------------------------------ the system


@pytest.fixture(scope="session")
def system() -> Iterator[tuple[dict[str, Tenant], Proxy]]:
    """Both tenants up, their functions speaking to AWS through the proxy."""
    keep = os.environ.get("CROSSDOCK_FAULTS_KEEP") == "1"
    engine_port, proxy_port = _standing_ports() if keep else (free_port(), free_port())
    proxy = Proxy(f"http://127.0.0.1:{proxy_port}")
    if not keep:
        crossdock("local", "down", check=False)
    started = None if proxy.is_up() else start_proxy(proxy_port, f"http://127.0.0.1:{engine_port}", log=LOG, stays=keep)
    try:
        proxy.clear()
        yield bring_up("--engine-port", str(engine_port), "--functions-endpoint", proxy.url), proxy
    finally:
        if not keep:
            crossdock("local", "down", timeout=120)
            if started is not None:
                started.terminate()
                started.wait(timeout=10)


def _standing_ports() -> tuple[int, int]:
    """Of the system that is up with a proxy; new ones when none is."""
    state = LocalRun().status().state
    if state is None or state.engine is None or state.engine.functions_endpoint is None:
        return free_port(), free_port()
    return int(state.engine.url.rpartition(":")[2]), int(state.engine.functions_endpoint.rpartition(":")[2])


@pytest.fixture(scope="session")
def witness() -> Witness:
    return Witness()


@pytest.fixture
def faulty(system: tuple[dict[str, Tenant], Proxy], witness: Witness, request: pytest.FixtureRequest) -> Iterator[Faulty]:
    """The system for one fault; the ten invariants are checked when the test is through, also when it failed."""
    tenants, proxy = system
    history = History()
    acme = Observed(**{item.name: getattr(tenants["acme_industrial"], item.name) for item in dataclasses.fields(Tenant)}, history=history)
    made = Faulty(acme=acme, harbor=tenants["harbor_supply"], proxy=proxy, history=history)
    began = time.time()
    before = witness.before(made)
    yield made
    proxy.clear()
    acme.clear_faults()
    for connection in ("erp", "threepl"):
        acme.autopilot(connection, enabled=True)
    table = request.config.stash[TABLE]
    table.met[request.node.nodeid].done = "; ".join(made.deeds)
    seen = witness.at_rest(made, before, began)
    verdicts = check(history, seen)
    table.judged(request.node.name, verdicts)
    violations = [f"{name}: {violation}" for name, verdict in verdicts.items() for violation in verdict.violations]
    known = {record["exception_id"] for record in before.exceptions}
    left = [
        f"{record['code']} of {record.get('order_id') or record['subject']}: {record['detail']}"
        for record in seen.exceptions
        if record["code"] not in made.expected and record["exception_id"] not in known
    ]
    assert not violations, "\n".join(violations)
    assert not left, "exceptions left behind that the test does not expect:\n" + "\n".join(left)


# ------------------------------------------------------------------------------------------------ the closing table


def pytest_runtest_setup(item: pytest.Item) -> None:
    marker = item.get_closest_marker("fault")
    if marker is not None:
        item.config.stash[TABLE].met[item.nodeid] = Met(marker.args[0], marker.args[1], item.name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    met = item.config.stash[TABLE].met.get(item.nodeid)
    if met is None:
        return report
    # Bringing the system up is no fault's time.
    met.seconds += 0.0 if report.when == "setup" else report.duration
    if report.failed:
        met.failed = "FAILED" if report.when == "call" else (met.failed or "VIOLATED")
    elif report.skipped:
        met.failed = "skipped"
    if report.when == "teardown":
        writer = item.config.pluginmanager.get_plugin("terminalreporter")
        if writer is not None:
            writer.ensure_newline()
            writer.write_line(f"{met.number:>2}  {met.failed or 'survived':<9} {met.seconds:6.1f} s  {met.name}: {met.done or met.test}")
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    table = config.stash[TABLE]
    if table.met:
        terminalreporter.section("faults and invariants")
        for line in table.lines():
            terminalreporter.write_line(line)
