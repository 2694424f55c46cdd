"""How are the vendor simulators of a run started, found, stopped and started again?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.engine import process
from local.engine.engine import answers, wait_answering
from local.engine.state import HOST, RunDirectory, SimulatorState, write_private
from local.simulators import exact_json

_READY_WITHIN_S = 30.0


class SimulatorNotReady(RuntimeError):
    """A simulator did not come up; the message ends with what its log says."""


@dataclass(frozen=True)
class SimulatorSpec:
    """One simulator to run: what stands in its configuration besides port and files, which the run chooses."""

    vendor: str
    tenant: str
    connection: str
    settings: dict[str, Any] = field(default_factory=dict)
    """credentials, webhook, seed, autopilot ... as `local.simulators` reads them."""

    @property
    def name(self) -> str:
        """TENANT.CONNECTION."""
        return f"{self.tenant}.{self.connection}"


def start(run: RunDirectory, spec: SimulatorSpec, port: int, exchanges_file: Path | None = None) -> SimulatorState:
    """Start one simulator detached. Its state file decides where it continues; a new run begins with none."""
    config_file = run.simulators / f"{spec.name}.json"
    config = {
        **spec.settings,
        "vendor": spec.vendor,
        "tenant": spec.tenant,
        "connection": spec.connection,
        "port": port,
        "state_file": str(run.simulators / f"{spec.name}.state"),
        "exchanges_file": str(exchanges_file) if exchanges_file else None,
    }
    write_private(config_file, exact_json.dumps(config, indent=1))
    record = _launch(run, spec.name, config_file)
    return SimulatorState(process=record, vendor=spec.vendor, tenant=spec.tenant, connection=spec.connection, url=f"http://{HOST}:{port}", config_file=config_file)


def wait_ready(simulator: SimulatorState, within_s: float = _READY_WITHIN_S) -> None:
    """Return when the simulator tells its state. Raises SimulatorNotReady."""
    if not wait_answering(f"{simulator.url}/_state", simulator.process, within_s):
        raise SimulatorNotReady(
            f"the {simulator.vendor} simulator of {simulator.tenant}/{simulator.connection} did not come up; "
            f"its log {simulator.process.log} says:\n{process.last_lines(simulator.process.log)}"
        )


def is_healthy(simulator: SimulatorState) -> bool:
    """Whether the simulator that was started still runs and answers."""
    return process.is_running(simulator.process) and answers(f"{simulator.url}/_state")


def stop(simulator: SimulatorState, *, kill: bool = False) -> None:
    """End one simulator; `kill` gives it no chance to finish what it does."""
    found = process.find(simulator.process)
    if found is not None:
        process.end([found], grace_s=0 if kill else 3.0)


def restart(run: RunDirectory, simulator: SimulatorState, *, kill: bool = False) -> SimulatorState:
    """End one simulator and start it again on the same port with the same state; the caller stores the new record."""
    stop(simulator, kill=kill)
    record = _launch(run, f"{simulator.tenant}.{simulator.connection}", simulator.config_file)
    again = simulator.model_copy(update={"process": record})
    wait_ready(again)
    return again


def names(specs: Sequence[SimulatorSpec]) -> list[str]:
    """The names under which the run remembers ports and records. Raises ValueError when two specs want the same."""
    found = [spec.name for spec in specs]
    doubled = sorted({name for name in found if found.count(name) > 1})
    if doubled:
        raise ValueError(f"two simulators for one connection: {', '.join(doubled)}")
    return found


def _launch(run: RunDirectory, name: str, config_file: Path) -> process.ProcessRecord:
    return process.launch(
        [sys.executable, "-m", "local.simulators", str(config_file)],
        what=f"simulator {name}",
        log=run.logs / f"simulator-{name}.log",
        environment={**process.environment_for_children(), "TMPDIR": str(run.temporary), "PYTHONUNBUFFERED": "1"},
        cwd=run.root,
        run_directory=run.path,
    )
