"""Does bringing the system up begin, repair or refuse as it should, and does taking it down leave nothing?"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from local.engine import deploy, engine, local_run, process, simulators, toolchain
from local.engine.deploy import Assembly, CommandFailed
from local.engine.local_run import LocalRun, NotUp, UpRequest
from local.engine.progress import ProgressEvent
from local.engine.simulators import SimulatorSpec
from local.engine.state import EngineState, RunBusy, RunDirectory, SimulatorState, free_port

SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"{}")
    def log_message(self, *_): pass
HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""
SIMULATORS = [SimulatorSpec("shipbob", "acme", "threepl"), SimulatorSpec("shopify", "acme", "shop")]


class Deployments:
    """What would have been deployed, and with what; fails when told to."""

    def __init__(self) -> None:
        self.deployed: list[tuple[list[str], str]] = []
        self.overlays: list[str | None] = []
        self.fails = False

    def synthesise(self, run: RunDirectory, _tools: object, _tenants: object, overlay: Path | None, _say: object) -> Assembly:
        self.overlays.append(overlay.read_text() if overlay else None)
        return Assembly(run.assembly, reused=False)

    def deploy(self, _run: object, _tools: object, engine_url: str, _assembly: object, tenants: list[str], _say: object) -> dict[str, dict[str, str]]:
        if self.fails:
            raise CommandFailed("no such layer")
        self.deployed.append((list(tenants), engine_url))
        return {tenant: {"Tenant": tenant} for tenant in tenants}


@pytest.fixture
def deployments(monkeypatch: pytest.MonkeyPatch) -> Deployments:
    """Engine and simulators are small servers, the CDK command line is a notebook."""
    notebook = Deployments()

    def serve(run: RunDirectory, what: str, port: int) -> process.ProcessRecord:
        environment = process.environment_for_children()
        return process.launch([sys.executable, "-c", SERVER, str(port)], what=what, log=run.logs / f"{what}.log", environment=environment, cwd=run.path, run_directory=run.path)

    def start_engine(run: RunDirectory, port: int, *, enforce_iam: bool, functions_endpoint: str | None = None) -> EngineState:
        return EngineState(process=serve(run, "engine", port), url=f"http://127.0.0.1:{port}", enforce_iam=enforce_iam, functions_endpoint=functions_endpoint)

    def start_simulator(run: RunDirectory, spec: SimulatorSpec, port: int, _exchanges: Path | None = None) -> SimulatorState:
        record = serve(run, spec.name, port)
        return SimulatorState(
            process=record, vendor=spec.vendor, tenant=spec.tenant, connection=spec.connection, url=f"http://127.0.0.1:{port}", config_file=run.simulators / "none"
        )

    monkeypatch.setattr(toolchain, "prepare", lambda *_: toolchain.Toolchain(Path(sys.executable), Path("cdk")))
    monkeypatch.setattr(engine, "start", start_engine)
    monkeypatch.setattr(simulators, "start", start_simulator)
    monkeypatch.setattr(deploy, "bootstrap", lambda *_: None)
    monkeypatch.setattr(deploy, "synthesise", notebook.synthesise)
    monkeypatch.setattr(deploy, "deploy", notebook.deploy)
    return notebook


@pytest.fixture
def local(tmp_path: Path, deployments: Deployments) -> Iterator[LocalRun]:
    run = LocalRun(tmp_path)
    yield run
    process.end_all_of(run.directory.path, grace_s=0)


def request(*tenants: str, **more: Any) -> UpRequest:
    return UpRequest(tenants=tenants or ("acme",), simulators=more.pop("simulators", SIMULATORS), **more)


def test_up_starts_everything_and_status_and_down_know_it(local: LocalRun) -> None:
    state = local.up(request())

    status = local.status()
    assert status.up
    assert [part.name for part in status.parts] == ["engine", "acme.threepl", "acme.shop"]
    assert state.tenants["acme"].outputs == {"Tenant": "acme"}
    assert local.require() == state
    assert local.down() == 3
    assert process.belonging_to(local.directory.path) == []
    assert not local.status().up
    assert sorted(path.name for path in local.directory.path.iterdir()) == ["lock", "logs", "ports.json"]


def test_the_overlay_names_the_simulators_addresses(local: LocalRun, deployments: Deployments) -> None:
    state = local.up(request(overlay=lambda urls: {"urls": dict(urls)}))

    for simulator in state.simulators.values():
        assert simulator.url in str(deployments.overlays[0])


def test_up_again_keeps_what_runs_and_deploys_again(local: LocalRun, deployments: Deployments) -> None:
    first = local.up(request())
    again = local.up(request())

    assert again.processes() == first.processes()
    assert len(deployments.deployed) == 2


def test_functions_that_shall_find_aws_elsewhere_need_a_new_engine(local: LocalRun) -> None:
    first = local.up(request())
    port = free_port()
    again = local.up(request(engine_port=port, functions_endpoint="http://127.0.0.1:9"))

    assert first.engine is not None and again.engine is not None
    assert not process.is_running(first.engine.process)
    assert again.engine.functions_endpoint == "http://127.0.0.1:9"
    assert again.engine.url == f"http://127.0.0.1:{port}"
    assert local.up(request(functions_endpoint="http://127.0.0.1:9")).engine == again.engine


def test_another_tenant_joins_those_that_are_up(local: LocalRun) -> None:
    first = local.up(request())
    again = local.up(request("harbor", simulators=[SimulatorSpec("shopify", "harbor", "shop")]))

    assert again.engine == first.engine
    assert set(again.tenants) == {"acme", "harbor"}
    assert set(again.simulators) == {"acme.threepl", "acme.shop", "harbor.shop"}
    assert local.status().up


def test_a_simulator_that_died_is_started_again_on_its_address(local: LocalRun) -> None:
    first = local.up(request())
    process.end([psutil.Process(first.simulators["acme.shop"].process.pid)], grace_s=0)
    assert not local.status().up

    again = local.up(request())

    assert again.engine == first.engine
    assert again.simulators["acme.shop"].url == first.simulators["acme.shop"].url
    assert local.status().up


def test_a_run_whose_engine_died_is_cleaned_and_begun_anew(local: LocalRun) -> None:
    first = local.up(request())
    assert first.engine is not None
    process.end([psutil.Process(first.engine.process.pid)], grace_s=0)
    (local.directory.temporary / "ministack-lambda-x").mkdir()
    with pytest.raises(NotUp, match="no longer answers"):
        local.require()

    again = local.up(request())

    assert local.status().up
    assert not process.is_running(first.simulators["acme.shop"].process)
    assert not (local.directory.temporary / "ministack-lambda-x").exists()
    assert again.engine is not None
    assert again.engine.url == first.engine.url


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_run_nobody_remembers_is_found_and_replaced(local: LocalRun, damage: str) -> None:
    first = local.up(request())
    if damage == "cut":
        local.directory.state_file.write_text("{")
    else:
        local.directory.state_file.unlink()
    assert local.status().leftovers == 3

    local.up(request())

    assert not any(process.is_running(record) for record in first.processes())
    assert local.down() == 3


def test_down_ends_a_run_nobody_remembers(local: LocalRun) -> None:
    local.up(request())
    local.directory.state_file.unlink()

    assert local.down() == 3
    assert local.down() == 0


def test_the_other_iam_setting_begins_anew(local: LocalRun) -> None:
    first = local.up(request())
    again = local.up(request(enforce_iam=True))

    assert first.engine is not None
    assert again.engine is not None
    assert again.engine.enforce_iam
    assert again.engine.process.pid != first.engine.process.pid
    assert len(process.belonging_to(local.directory.path)) == 3


def test_a_first_up_that_fails_leaves_nothing_but_logs(local: LocalRun, deployments: Deployments) -> None:
    deployments.fails = True
    events: list[ProgressEvent] = []

    with pytest.raises(CommandFailed, match="no such layer"):
        local.up(request(), events.append)

    assert process.belonging_to(local.directory.path) == []
    assert local.directory.read() is None
    assert (local.directory.logs / "engine.log").exists()
    assert [(event.step, event.state) for event in events][-1] == ("deploy", "failed")


def test_a_failed_update_leaves_the_running_system_running(local: LocalRun, deployments: Deployments) -> None:
    first = local.up(request())
    deployments.fails = True

    with pytest.raises(CommandFailed):
        local.up(request())

    assert local.status().up
    assert local.require().processes() == first.processes()


def test_nothing_is_brought_up_while_another_command_does(local: LocalRun) -> None:
    with local.directory.locked(), pytest.raises(RunBusy):
        local.up(request())


def test_no_tenant_is_an_error_and_not_an_empty_system(local: LocalRun) -> None:
    with pytest.raises(ValueError, match="at least one tenant"):
        local.up(UpRequest(tenants=[]))


def test_a_command_that_needs_a_run_says_how_to_get_one(local: LocalRun) -> None:
    with pytest.raises(NotUp, match="crossdock local up"):
        local.require()


def test_restarting_an_unknown_simulator_names_those_there_are(local: LocalRun) -> None:
    local.up(request())

    with pytest.raises(NotUp, match=r"acme\.shop, acme\.threepl"):
        local.restart_simulator("acme", "warehouse")


def test_a_restarted_simulator_is_remembered(local: LocalRun, monkeypatch: pytest.MonkeyPatch) -> None:
    state = local.up(request())
    replaced = state.engine and state.engine.process
    assert replaced is not None

    def restart(_run: object, simulator: SimulatorState, *, kill: bool) -> SimulatorState:
        return simulator.model_copy(update={"process": replaced if kill else simulator.process})

    monkeypatch.setattr(local_run.simulators, "restart", restart)
    local.restart_simulator("acme", "shop", kill=True)

    assert local.require().simulators["acme.shop"].process == replaced


def test_events_of_two_threads_arrive_one_at_a_time() -> None:
    busy: list[int] = []

    def listener(_event: ProgressEvent) -> None:
        busy.append(1)
        assert len(busy) == 1
        busy.clear()

    tell = local_run._one_at_a_time(listener)

    def talk() -> None:
        for _ in range(200):
            tell(ProgressEvent("s", "said"))

    with ThreadPoolExecutor(4) as pool:
        for talking in [pool.submit(talk) for _ in range(4)]:
            talking.result()
