"""Fixtures of the bad-input tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

STUCK_SECONDS = 120
"""No single test of bad input may work this long in the quick profile: what hangs is as bad as what crashes."""


@pytest.fixture(autouse=True)
def never_stuck(request: pytest.FixtureRequest) -> Iterator[None]:
    """Ends a test that hangs with the traceback of where it hangs."""

    def stuck(*_: object) -> None:
        raise AssertionError("bad input kept it busy: it hangs")

    before = signal.signal(signal.SIGALRM, stuck)
    signal.alarm(STUCK_SECONDS * (20 if soaking() else 1))
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def soaking() -> bool:
    from hypothesis import settings

    return settings().max_examples > 1000
