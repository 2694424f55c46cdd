"""What is up at the moment, on which ports, and where does the run keep its files?"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from local.engine.process import ProcessRecord

HOST = "127.0.0.1"


class StateUnreadable(RuntimeError):
    """The state file is there but is not one of ours: an interrupted disk, an edit, another version."""


class RunBusy(RuntimeError):
    """Another command is bringing this run up or down right now."""


class EngineState(BaseModel):
    """The local AWS engine."""

    process: ProcessRecord
    url: str
    enforce_iam: bool
    functions_endpoint: str | None = None
    """Where the functions find AWS when something stands between them and the engine."""


class SimulatorState(BaseModel):
    """One vendor simulator."""

    process: ProcessRecord
    vendor: str
    tenant: str
    connection: str
    url: str
    config_file: Path


class TenantState(BaseModel):
    """One deployed stack."""

    stack: str
    outputs: dict[str, str]


class RunState(BaseModel):
    """Everything one `crossdock local up` left running."""

    format: Literal[1] = 1
    started_at: datetime
    engine: EngineState | None = None
    simulators: dict[str, SimulatorState] = Field(default_factory=dict)
    """By TENANT.CONNECTION."""
    tenants: dict[str, TenantState] = Field(default_factory=dict)

    def processes(self) -> list[ProcessRecord]:
        """All that was started."""
        return [*([self.engine.process] if self.engine else []), *(simulator.process for simulator in self.simulators.values())]


class RunDirectory:
    """`.crossdock/` in the checkout: never committed, safe to delete while nothing is up."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.path = self.root / ".crossdock"

    @property
    def state_file(self) -> Path:
        return self.path / "state.json"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def temporary(self) -> Path:
        """TMPDIR of everything the run starts, so that one deletion removes what a killed process left."""
        return self.path / "tmp"

    @property
    def engine_data(self) -> Path:
        return self.path / "engine"

    @property
    def simulators(self) -> Path:
        """Configurations (with credentials) and states of the simulators."""
        return self.path / "simulators"

    @property
    def assembly(self) -> Path:
        """The synthesised stacks."""
        return self.path / "cdk.out"

    @property
    def overlay_file(self) -> Path:
        return self.path / "overlay.json"

    def create(self) -> None:
        """Make the folders; private, because simulator credentials lie in them."""
        self.path.mkdir(mode=0o700, exist_ok=True)
        for folder in (self.logs, self.temporary, self.engine_data, self.simulators):
            folder.mkdir(mode=0o700, exist_ok=True)

    def read(self) -> RunState | None:
        """None when nothing was left up. Raises StateUnreadable."""
        try:
            return RunState.model_validate_json(self.state_file.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise StateUnreadable(f"{self.state_file} is not readable: run `crossdock local down`, which ends what is left and removes it") from error

    def write(self, state: RunState) -> None:
        """Replace the state in one step: a reader sees the old or the new, never a half."""
        write_private(self.state_file, state.model_dump_json(indent=1))

    def forget(self) -> None:
        """Remove everything a run leaves except its logs, its remembered ports and the synthesised stacks."""
        self.state_file.unlink(missing_ok=True)
        for folder in (self.temporary, self.engine_data, self.simulators):
            shutil.rmtree(folder, ignore_errors=True)

    def rotate_logs(self) -> None:
        """Keep the logs of the run before this one as `*.log.1`."""
        for log in self.logs.glob("*.log"):
            log.replace(log.with_name(log.name + ".1"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one command at a time may change what is up; the lock ends with the process. Raises RunBusy."""
        self.path.mkdir(mode=0o700, exist_ok=True)
        with (self.path / "lock").open("a+", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                lock.seek(0)
                raise RunBusy(f"another crossdock command (process {lock.read().strip() or 'unknown'}) is changing the local run: wait for it to finish") from error
            lock.seek(0)
            lock.truncate()
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def ports(self, names: Sequence[str]) -> dict[str, int]:
        """A free port for each name; the one it had last time whenever that is free, so that addresses (and the stacks synthesised from them) stay the same."""
        remembered_file = self.path / "ports.json"
        try:
            remembered: dict[str, int] = {str(name): int(port) for name, port in json.loads(remembered_file.read_text(encoding="utf-8")).items()}
        except (OSError, ValueError, AttributeError, TypeError):
            remembered = {}
        chosen: dict[str, int] = {}
        for name in names:
            port = remembered.get(name, 0)
            taken = {*chosen.values(), *(other for key, other in remembered.items() if key != name)}
            while not port or port in chosen.values() or not is_free(port):
                candidate = free_port()
                port = candidate if candidate not in taken else 0
            chosen[name] = port
        write_private(remembered_file, json.dumps({**remembered, **chosen}, indent=1, sort_keys=True))
        return chosen


def write_private(path: Path, text: str) -> None:
    """Write a file only its owner may read, atomically."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def free_port() -> int:
    """A port nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now; connections of a former server still closing do not matter."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
