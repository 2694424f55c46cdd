"""Is exactly what belongs to a run ended, and nothing else?"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from local.engine import process
from local.engine.process import ProcessRecord
from local.engine.state import RunDirectory

IGNORES_TERM = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
PARENT = "import subprocess, sys, time; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); print(child.pid, flush=True); time.sleep(60)"


def until(question: Callable[[], object], within_s: float = 10.0) -> None:
    give_up = time.monotonic() + within_s
    while not question():
        assert time.monotonic() < give_up, "it never happened"
        time.sleep(0.01)


def said(record: ProcessRecord) -> str:
    return process.last_lines(record.log)


def test_a_launched_process_is_recognised_until_it_is_ended(run: RunDirectory, launch: Callable[..., ProcessRecord]) -> None:
    record = launch()

    assert process.is_running(record)
    assert [found.pid for found in process.belonging_to(run.path)] == [record.pid]
    assert process.end_all_of(run.path) == 1
    assert not process.is_running(record)
    assert process.belonging_to(run.path) == []


def test_a_launched_process_lives_in_its_own_session_so_that_closing_the_terminal_does_not_end_it(launch: Callable[..., ProcessRecord]) -> None:
    record = launch()

    assert os.getsid(record.pid) == record.pid != os.getsid(0)


def test_a_stranger_who_got_the_number_of_our_process_is_neither_found_nor_ended(run: RunDirectory) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        born = psutil.Process(stranger.pid).create_time()
        record = ProcessRecord(pid=stranger.pid, started=born - 3600, what="engine", log=run.logs / "engine.log")

        assert process.find(record) is None
        assert process.end_all_of(run.path, [record], grace_s=0) == 0
        assert stranger.poll() is None
        stranger.kill()


def test_processes_of_another_checkout_are_left_alone(run: RunDirectory, launch: Callable[..., ProcessRecord], tmp_path: Path) -> None:
    other = RunDirectory(tmp_path / "other")
    other.root.mkdir()
    other.create()
    theirs, ours = launch(directory=other), launch()
    until(lambda: process.belonging_to(run.path) and process.belonging_to(other.path))  # a process has its mark only when it has become another program

    process.end_all_of(run.path)

    assert not process.is_running(ours)
    assert process.is_running(theirs)
    process.end_all_of(other.path, grace_s=0)


def test_what_an_engine_started_is_ended_even_after_the_engine_itself_was_killed(run: RunDirectory, launch: Callable[..., ProcessRecord]) -> None:
    parent = launch(PARENT)
    until(lambda: said(parent))
    orphan = psutil.Process(int(said(parent)))
    process.end([psutil.Process(parent.pid)], grace_s=0)
    assert orphan.is_running()

    assert process.end_all_of(run.path) == 1
    assert not psutil.pid_exists(orphan.pid) or orphan.status() == psutil.STATUS_ZOMBIE


def test_a_process_that_will_not_end_is_killed(launch: Callable[..., ProcessRecord]) -> None:
    record = launch(IGNORES_TERM)
    until(lambda: said(record) == "ready")

    process.end([psutil.Process(record.pid)], grace_s=0.1)

    assert not process.is_running(record)


def test_a_process_that_ends_by_itself_when_asked_gets_the_time_to_do_so(launch: Callable[..., ProcessRecord]) -> None:
    tidy = "import signal, sys, time\ndef bye(*_): print('tidied', flush=True); sys.exit(0)\nsignal.signal(signal.SIGTERM, bye); print('ready', flush=True); time.sleep(60)"
    record = launch(tidy)
    until(lambda: said(record) == "ready")

    process.end([psutil.Process(record.pid)])

    assert said(record).endswith("tidied")


def test_a_command_started_inside_the_run_never_ends_itself_or_its_callers(run: RunDirectory, launch: Callable[..., ProcessRecord]) -> None:
    program = f"from pathlib import Path; from local.engine import process; print('ended', process.end_all_of(Path({str(run.path)!r})), flush=True)"
    record = launch(program)
    until(lambda: "ended" in said(record) or not process.is_running(record))

    assert said(record) == "ended 0"


def test_a_program_that_ends_at_once_leaves_a_record_of_nothing_and_a_log_that_says_why(launch: Callable[..., ProcessRecord]) -> None:
    record = launch("raise SystemExit('no port')")
    until(lambda: not process.is_running(record))

    assert said(record) == "no port"


def test_the_log_of_something_never_started_is_empty(tmp_path: Path) -> None:
    assert process.last_lines(tmp_path / "none.log") == ""


def test_no_real_account_and_no_proxy_reaches_a_local_run() -> None:
    given = {"AWS_PROFILE": "production", "AWS_SESSION_TOKEN": "x", "AWS_CA_BUNDLE": "/ca", "NO_PROXY": "corp", "HOME": "/h", "PYTHONDONTWRITEBYTECODE": "1"}

    clean = process.environment_for_children(given)

    assert clean == {"AWS_CA_BUNDLE": "/ca", "NO_PROXY": "corp,127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost", "HOME": "/h"}


def test_a_session_names_its_processes_also_after_the_first_of_them_ended() -> None:
    orphaned = f"import subprocess, sys; print(subprocess.Popen([{sys.executable!r}, '-c', 'import time; time.sleep(60)'], stdout=subprocess.DEVNULL).pid)"
    first = subprocess.Popen([sys.executable, "-c", orphaned], stdout=subprocess.PIPE, text=True, start_new_session=True)
    left = int(first.communicate()[0])
    try:
        assert [member.pid for member in process.of_session(first.pid)] == [left]
    finally:
        process.end(process.of_session(first.pid), grace_s=0)

    assert process.of_session(first.pid) == []
