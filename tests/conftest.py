"""Fixtures that every folder may use."""

from __future__ import annotations

import pytest

from tests.fakes import SetClock


@pytest.fixture
def clock() -> SetClock:
    return SetClock()
