"""What do the tests of the local runner share: a project folder of their own, and programs that just live."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.engine import process
from local.engine.process import ProcessRecord
from local.engine.state import RunDirectory

LIVES = "import time; time.sleep(60)"

Launcher = Callable[..., ProcessRecord]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    """An empty run directory; whatever a test leaves running in it is ended."""
    directory = RunDirectory(tmp_path)
    directory.create()
    yield directory
    process.end_all_of(directory.path, grace_s=0)


@pytest.fixture
def launch(run: RunDirectory) -> Launcher:
    """Start a Python program that belongs to the run."""

    def start(program: str = LIVES, directory: RunDirectory = run) -> ProcessRecord:
        return process.launch(
            [sys.executable, "-c", program],
            what="test",
            log=directory.logs / "test.log",
            environment=process.environment_for_children(),
            cwd=directory.path,
            run_directory=directory.path,
        )

    return start
