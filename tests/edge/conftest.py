"""Fixtures of the edge's tests: a tenant's functions over an account of moto's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.functions.tenant import Tenant, running


@pytest.fixture
def tenant(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tenant]:
    with running(monkeypatch) as made:
        yield made
