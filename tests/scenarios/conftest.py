"""Brings the whole system up once for all stories, with permissions enforced, and takes it down again."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.scenarios.system import ROOT, Tenant, bring_up, crossdock

EXCHANGES = ROOT / "build" / "exchanges.jsonl"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The closing account comes after every story, whatever the order of the files."""
    items.sort(key=lambda item: "test_zz_" in item.nodeid)


@pytest.fixture(scope="session")
def system() -> Iterator[dict[str, Tenant]]:
    """Both tenants, up. ``CROSSDOCK_SCENARIOS_KEEP=1`` uses what is up already and leaves it up (for working on a story)."""
    keep = os.environ.get("CROSSDOCK_SCENARIOS_KEEP") == "1"
    if not keep:
        crossdock("local", "down", check=False)
        EXCHANGES.parent.mkdir(exist_ok=True)
        EXCHANGES.unlink(missing_ok=True)
    yield bring_up("--record", str(EXCHANGES))
    if not keep:
        crossdock("local", "down", timeout=120)


@pytest.fixture
def acme(system: dict[str, Tenant]) -> Iterator[Tenant]:
    tenant = system["acme_industrial"]
    yield tenant
    tenant.clear_faults()
    for connection in ("erp", "threepl"):
        tenant.autopilot(connection, enabled=True)


@pytest.fixture
def harbor(system: dict[str, Tenant]) -> Iterator[Tenant]:
    tenant = system["harbor_supply"]
    yield tenant
    tenant.clear_faults()
