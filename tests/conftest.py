"""Fixtures that every folder may use."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from tests.fakes import SetClock

# `quick` is part of every run; `soak` (CROSSDOCK_TESTS=soak) looks for as long as it takes.
settings.register_profile("quick", deadline=None, max_examples=100, print_blob=True)
settings.register_profile("soak", deadline=None, max_examples=5000, print_blob=True)
settings.load_profile(os.environ.get("CROSSDOCK_TESTS", "quick"))


@pytest.fixture
def clock() -> SetClock:
    return SetClock()
