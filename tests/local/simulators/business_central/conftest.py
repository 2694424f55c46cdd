"""Which company stands before each test? A fresh one with two customers, three items and three locations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local.simulators.business_central.desk import Desk, config


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    opened = Desk(config(exchanges_file=str(tmp_path / "exchanges.jsonl")))
    yield opened
    opened.harness.close()
