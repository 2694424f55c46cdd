"""What does a long step of the local run tell the person who waits for it?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ProgressEvent:
    """One thing worth showing: a step began, said something, ended or failed."""

    step: str
    state: Literal["started", "said", "done", "failed"]
    detail: str = ""
    seconds: float = 0.0
    """How long the step has taken, at `done` and `failed`."""


OnProgress = Callable[[ProgressEvent], None]


def in_silence(_event: ProgressEvent) -> None:
    """For callers who show nothing."""


@contextmanager
def step(on_progress: OnProgress, name: str, detail: str = "") -> Iterator[Callable[[str], None]]:
    """Tell that a step starts and how it ended; yields a function by which the step says what it is at."""
    began = time.monotonic()
    on_progress(ProgressEvent(name, "started", detail))
    try:
        yield lambda text: on_progress(ProgressEvent(name, "said", text))
    except BaseException as error:
        on_progress(ProgressEvent(name, "failed", str(error) or type(error).__name__, time.monotonic() - began))
        raise
    on_progress(ProgressEvent(name, "done", detail, time.monotonic() - began))
