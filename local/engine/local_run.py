"""What does it take to bring the whole system up on this machine, tell how it is, and leave nothing behind?"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local.engine import deploy, engine, process, simulators, toolchain
from local.engine.progress import OnProgress, ProgressEvent, in_silence, step
from local.engine.simulators import SimulatorSpec
from local.engine.state import HOST, EngineState, RunDirectory, RunState, SimulatorState, StateUnreadable, TenantState, write_private

_ENGINE_PORT = "engine"

OverlayMaker = Callable[[Mapping[str, Mapping[str, str]]], dict[str, Any]]
"""From the simulators' addresses (tenant -> connection -> URL) to the deployment overlay the CDK app merges last."""


class NotUp(RuntimeError):
    """Nothing is up, or what was up has died; the message says what to do."""


@dataclass(frozen=True)
class UpRequest:
    """What shall be up."""

    tenants: Sequence[str]
    simulators: Sequence[SimulatorSpec] = ()
    overlay: OverlayMaker | None = None
    enforce_iam: bool = False
    engine_port: int | None = None
    """Where a new engine shall listen; any free port without it."""
    functions_endpoint: str | None = None
    """A proxy before the engine, through which the functions shall speak to AWS: it may record, delay, refuse or lose."""
    exchanges_file: Path | None = None
    """Where the simulators record their traffic, one JSON line each."""


@dataclass(frozen=True)
class Health:
    """How one started thing is."""

    name: str
    running: bool
    healthy: bool
    url: str
    log: Path


@dataclass(frozen=True)
class Status:
    """How the run is."""

    up: bool
    """Everything that was started runs and answers."""
    state: RunState | None
    parts: list[Health] = field(default_factory=list)
    leftovers: int = 0
    """Processes of a run that nothing remembers any more; `down` ends them."""


class LocalRun:
    """The one run a checkout can have. Bringing it up again repairs and updates it; a crashed one is cleaned first."""

    def __init__(self, root: Path | None = None) -> None:
        self.directory = RunDirectory(root or toolchain.project_root())

    def up(self, request: UpRequest, on_progress: OnProgress = in_silence) -> RunState:
        """Start or repair engine, simulators and stacks. On failure, what this call started is ended again and the reason raised; logs stay."""
        if not request.tenants:
            raise ValueError("name at least one tenant to bring up")
        simulator_names = simulators.names(request.simulators)
        tell = _one_at_a_time(on_progress)
        with self.directory.locked():
            state = self._continue_or_clean(request, tell)
            fresh = state is None
            try:
                return self._bring_up(request, simulator_names, state, tell)
            except BaseException:
                if fresh:
                    self._end_everything(None)
                raise

    def down(self, on_progress: OnProgress = in_silence) -> int:
        """End everything the run started and remove its temporary files; returns how many processes were ended. Works without a state file too."""
        with self.directory.locked(), step(on_progress, "stop the local run"):
            return self._end_everything(self._read_if_readable())

    def status(self) -> Status:
        """How everything is, without changing it."""
        state = self._read_if_readable()
        if state is None:
            return Status(up=False, state=None, leftovers=len(process.belonging_to(self.directory.path)))
        parts: list[Health] = []
        if state.engine is not None:
            parts.append(_health("engine", state.engine, engine.is_healthy(state.engine)))
        parts.extend(_health(name, simulator, simulators.is_healthy(simulator)) for name, simulator in state.simulators.items())
        return Status(up=bool(state.engine) and all(part.healthy for part in parts), state=state, parts=parts)

    def require(self) -> RunState:
        """The state of a run that is up. Raises NotUp when there is none or its engine died."""
        state = self.directory.read()
        if state is None or state.engine is None:
            raise NotUp("nothing is up here: run `crossdock local up`")
        if not engine.is_healthy(state.engine):
            raise NotUp(f"the engine of this run no longer answers (log: {state.engine.process.log}): run `crossdock local up` again")
        return state

    def restart_simulator(self, tenant: str, connection: str, *, kill: bool = False) -> SimulatorState:
        """End one simulator and start it again with the state it had."""
        with self.directory.locked():
            state = self.require()
            name = f"{tenant}.{connection}"
            if name not in state.simulators:
                raise NotUp(f"no simulator {name} is up; there are {', '.join(sorted(state.simulators)) or 'none'}")
            state.simulators[name] = simulators.restart(self.directory, state.simulators[name], kill=kill)
            self.directory.write(state)
            return state.simulators[name]

    def kill_workers(self) -> int:
        """Kill every function worker of the engine, as a crashed host would."""
        return engine.kill_workers(self.directory)

    # ------------------------------------------------------------------------------------------------------ bringing up
    def _continue_or_clean(self, request: UpRequest, tell: OnProgress) -> RunState | None:
        """The state to go on from; None after cleaning away a run that died, is unreadable or ran under other settings of the engine."""
        state = self._read_if_readable()
        asked = (request.enforce_iam, request.functions_endpoint)
        if state and state.engine and engine.is_healthy(state.engine) and (state.engine.enforce_iam, state.engine.functions_endpoint) == asked:
            return state
        if state is not None or process.belonging_to(self.directory.path):
            with step(tell, "clean up the previous run"):
                self._end_everything(state)
        return None

    def _bring_up(self, request: UpRequest, simulator_names: list[str], state: RunState | None, tell: OnProgress) -> RunState:
        run = self.directory
        if state is None:
            # What a run that was cleaned away left in the folders is gone; begin with empty ones.
            run.forget()
            run.create()
            run.rotate_logs()
            state = RunState(started_at=datetime.now(UTC))
        run.create()
        # Running servers keep their ports, of course; ports() would find those taken.
        kept = {name: simulator for name, simulator in state.simulators.items() if name in simulator_names and simulators.is_healthy(simulator)}
        ports = run.ports([name for name in (_ENGINE_PORT, *simulator_names) if name not in kept and not (name == _ENGINE_PORT and state.engine)])
        urls: dict[str, dict[str, str]] = {}
        for spec in request.simulators:
            urls.setdefault(spec.tenant, {})[spec.connection] = kept[spec.name].url if spec.name in kept else f"http://{HOST}:{ports[spec.name]}"
        overlay: Path | None = None
        if request.overlay is not None:
            overlay = run.overlay_file
            write_private(overlay, json.dumps(request.overlay(urls), indent=1, sort_keys=True))
        tools = toolchain.prepare(run.root, tell)
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="crossdock-up") as beside:
            # Synthesis needs a processor for ten seconds and no engine; everything else needs little.
            servers = beside.submit(self._start_servers, request, state, kept, ports, tools, tell)
            try:
                with step(tell, "synthesise the stacks") as say:
                    assembly = deploy.synthesise(run, tools, request.tenants, overlay, say)
                    if assembly.reused:
                        say("nothing changed since the last time")
            finally:
                engine_state = servers.result()
        with step(tell, "deploy", ", ".join(request.tenants)) as say:
            outputs = deploy.deploy(run, tools, engine_state.url, assembly, request.tenants, say)
        for tenant, values in outputs.items():
            state.tenants[tenant] = TenantState(stack=deploy.stack_name(tenant), outputs=values)
        run.write(state)
        return state

    def _start_servers(
        self, request: UpRequest, state: RunState, kept: Mapping[str, SimulatorState], ports: Mapping[str, int], tools: toolchain.Toolchain, tell: OnProgress
    ) -> EngineState:
        run = self.directory
        if state.engine is None:
            with step(tell, "start the engine", "IAM enforced" if request.enforce_iam else ""):
                port = request.engine_port or ports[_ENGINE_PORT]
                state.engine = engine.start(run, port, enforce_iam=request.enforce_iam, functions_endpoint=request.functions_endpoint)
                run.write(state)
                engine.wait_ready(state.engine)
        new = [spec for spec in request.simulators if spec.name not in kept]
        if new:
            with step(tell, "start the simulators", ", ".join(spec.name for spec in new)):
                for spec in new:
                    if spec.name in state.simulators:
                        simulators.stop(state.simulators[spec.name])
                    state.simulators[spec.name] = simulators.start(run, spec, ports[spec.name], request.exchanges_file)
                    run.write(state)
                for spec in new:
                    simulators.wait_ready(state.simulators[spec.name])
        with step(tell, "bootstrap the engine") as say:
            deploy.bootstrap(run, tools, state.engine.url, say)
        return state.engine

    # ------------------------------------------------------------------------------------------------------ taking down
    def _end_everything(self, state: RunState | None) -> int:
        ended = process.end_all_of(self.directory.path, state.processes() if state else ())
        self.directory.forget()
        return ended

    def _read_if_readable(self) -> RunState | None:
        try:
            return self.directory.read()
        except StateUnreadable:
            # Every process of the run carries its mark, so it can be found and ended without its state file.
            return None


def _health(name: str, part: EngineState | SimulatorState, healthy: bool) -> Health:
    return Health(name, process.is_running(part.process), healthy, part.url, part.process.log)


def _one_at_a_time(on_progress: OnProgress) -> OnProgress:
    """Events come from two threads; the one who shows them need not care."""
    lock = threading.Lock()

    def tell(event: ProgressEvent) -> None:
        with lock:
            on_progress(event)

    return tell
