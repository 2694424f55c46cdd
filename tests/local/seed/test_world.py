"""Is the world that a local run starts with the tenant's own, whatever the tenant?"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from infra import tenant_files
from local.seed import world
from tests.flows.world import spec

ROOT = Path(__file__).resolve().parents[3]
WORLDS = sorted(file.stem for file in (ROOT / "local/seed/worlds").glob("*.yaml"))


@pytest.mark.parametrize("name", WORLDS)
def test_a_world_has_a_price_and_stock_for_every_article_and_an_account_for_every_buyer(name: str) -> None:
    tenant = tenant_files.load(name, ROOT)
    found = world.of(tenant)

    assert set(found.list_prices) == set(found.stock) == set(tenant.articles)
    accounts = {account for table in tenant.cross_references.customers.values() for account in table.values()}
    assert accounts <= {buyer.account for buyer in found.buyers}
    assert all(item.sku not in tenant.articles and item.means in tenant.articles for item in found.unmapped)


@pytest.mark.parametrize("name", WORLDS)
def test_a_world_offers_what_the_demo_tells(name: str) -> None:
    tenant = tenant_files.load(name, ROOT)
    found = world.of(tenant)
    outside = {code for code, place in tenant.locations.items() if place.connection != tenant.erp}
    stocked = [{code for code, count in shelf.items() if count} for shelf in found.stock.values()]

    assert any(places and places <= outside for places in stocked), "an article that only the 3PL has"
    assert any(places and not places & outside for places in stocked), "an article that only own warehouses have"
    assert found.unmapped


def test_a_tenant_without_a_world_gets_one_from_its_configuration(tmp_path: Path) -> None:
    found = world.of(spec(), tmp_path)

    assert set(found.stock) == {"BOLT", "NUT", "PUMP", "VALVE", "SETUP"}
    assert {buyer.account for buyer in found.buyers} == {"C10010", "C10020"}
    assert all(isinstance(price, Decimal) and price > 0 for price in found.list_prices.values())


def test_a_world_that_names_unknown_articles_or_places_is_refused(tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text("stock:\n  GHOST: {CHI: 1}\n  NUT: {MARS: 1}\n")

    with pytest.raises(world.WorldUnusable, match=r"GHOST, MARS"):
        world.of(spec(), tmp_path)


def test_a_world_that_is_no_world_is_refused_with_its_fields(tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text("buyers:\n  - account: C1\nweather: fine\n")

    with pytest.raises(world.WorldUnusable, match=r"acme.yaml: .*weather"):
        world.of(spec(), tmp_path)
