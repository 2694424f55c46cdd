"""Which processes belong to this run, do they still live, and how are they ended without touching anybody else's?"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import psutil
from pydantic import BaseModel

MARKER = "CROSSDOCK_RUN_DIR"
"""Every process of a run, and every process those start, carries the run directory under this name in its environment."""

_SAME_START_S = 1.0
"""Two readings of one process's start time may differ by rounding; a number that was given away again starts later than that."""

_KILLED_WITHIN_S = 5.0

_T = TypeVar("_T")
_started_here: list[subprocess.Popen[bytes]] = []
"""Kept so that a child which ends while this program still runs is reaped and leaves no zombie."""


class ProcessRecord(BaseModel):
    """What is remembered of a started process: enough to recognise it and to refuse a stranger with its number."""

    pid: int
    started: float
    """Seconds since the epoch, as the operating system tells it."""
    what: str
    log: Path


def launch(command: Sequence[str], *, what: str, log: Path, environment: Mapping[str, str], cwd: Path, run_directory: Path) -> ProcessRecord:
    """Start a program that outlives this one, in a session of its own, its output in `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**environment, MARKER: str(run_directory)},
            cwd=cwd,
            start_new_session=True,
        )
    _started_here.append(child)
    try:
        started = psutil.Process(child.pid).create_time()
    except psutil.NoSuchProcess:
        # It ended at once. The record then matches no process, and its log says why.
        started = 0.0
    return ProcessRecord(pid=child.pid, started=started, what=what, log=log)


def find(record: ProcessRecord) -> psutil.Process | None:
    """The recorded process if it still lives; None when it ended, also when another program has its number now."""
    process = _read(lambda: psutil.Process(record.pid), None)
    if process is None or not _alive(process):
        return None
    started = _read(process.create_time, None)
    return process if started is not None and abs(started - record.started) <= _SAME_START_S else None


def is_running(record: ProcessRecord) -> bool:
    """Whether the very process that was started still lives."""
    return find(record) is not None


def belonging_to(run_directory: Path, records: Iterable[ProcessRecord] = ()) -> list[psutil.Process]:
    """Every living process of the run: those that carry its mark, and the recorded ones with their descendants. Never this program or the ones that started it."""
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        environment: dict[str, str] = _read(process.environ, {})
        if environment.get(MARKER) == str(run_directory):
            found[process.pid] = process
    for record in records:
        recorded = find(record)
        if recorded is not None:
            for process in (recorded, *_related(lambda parent: parent.children(recursive=True), recorded)):
                found[process.pid] = process
    itself = psutil.Process()
    for process in (itself, *_related(lambda child: child.parents(), itself)):
        found.pop(process.pid, None)
    return [process for process in found.values() if _alive(process)]


def of_session(session: int) -> list[psutil.Process]:
    """Every living process of an operating system session, children whose parent is gone included."""
    return [member for member in psutil.process_iter() if _session_of(member.pid) == session and _alive(member)]


def end(processes: Sequence[psutil.Process], grace_s: float = 3.0) -> None:
    """Ask the processes to end, wait, then end those that did not: afterwards none of them runs. Without grace they are killed at once."""
    if grace_s > 0:
        for process in processes:
            _read(process.terminate, None)
        psutil.wait_procs([process for process in processes if _alive(process)], timeout=grace_s)
    for process in processes:
        if _alive(process):
            _read(process.kill, None)
    psutil.wait_procs([process for process in processes if _alive(process)], timeout=_KILLED_WITHIN_S)
    reap()


def end_all_of(run_directory: Path, records: Iterable[ProcessRecord] = (), grace_s: float = 3.0) -> int:
    """End every process of the run, also those that were started while it was being ended; returns how many there were."""
    known = list(records)
    ended = 0
    for _ in range(5):
        processes = belonging_to(run_directory, known)
        if not processes:
            break
        ended += len(processes)
        end(processes, grace_s)
    return ended


def reap() -> None:
    """Collect what was started here and has ended."""
    _started_here[:] = [child for child in _started_here if child.poll() is None]


def environment_for_children(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The caller's environment as a local run wants it: no AWS settings (a real account's must not leak in), no proxy for local addresses, bytecode kept."""
    given = os.environ if base is None else base
    clean = {name: value for name, value in given.items() if not name.startswith("AWS_") or name == "AWS_CA_BUNDLE"}
    # Some images set it; without bytecode every function worker compiles its packages anew, half a second each time.
    clean.pop("PYTHONDONTWRITEBYTECODE", None)
    local = "127.0.0.1,localhost"
    for name in ("NO_PROXY", "no_proxy"):
        clean[name] = f"{clean[name]},{local}" if clean.get(name) else local
    return clean


def last_lines(log: Path, count: int = 20) -> str:
    """The end of a log file; empty when there is none."""
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])
    except FileNotFoundError:
        return ""


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _related(question: Callable[[psutil.Process], list[psutil.Process]], process: psutil.Process) -> list[psutil.Process]:
    return _read(lambda: question(process), [])


def _alive(process: psutil.Process) -> bool:
    return bool(_read(lambda: process.is_running() and process.status() != psutil.STATUS_ZOMBIE, False))


def _read(question: Callable[[], _T], otherwise: _T) -> _T:
    """Ask about a process that may end, or may not be ours to ask about, at any moment."""
    try:
        return question()
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return otherwise
