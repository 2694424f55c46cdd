"""Does every channel show what can be sold, is nothing sold twice, and is what was changed behind everybody's back found and mended?"""

from __future__ import annotations

import time
from typing import Any

from tests.scenarios import orders as shop
from tests.scenarios.system import Tenant, eventually

SKU, THEIRS, MORENO = "AC-LUB-WHT", "SB-LUB-WHT", 71001003


def _shown(tenant: Tenant, sku: str = SKU, location: int = MORENO) -> int:
    """What the shop offers of it at the location."""
    state = tenant.state("storefront")
    item = next(variant["inventory_item_id"] for variant in state["variants"] if variant["sku"] == sku)
    return int(next(level["available"] for level in state["inventory_levels"] if level["inventory_item_id"] == item and int(level["location_id"]) == location))


def _promised(tenant: Tenant, sku: str = SKU) -> int:
    return int(next(each["available"] for each in tenant.get(f"/v1/inventory/{sku}")["channels"] if each["location"] == "MOR"))


def test_a_change_at_the_warehouse_is_shown_in_the_shop(acme: Tenant) -> None:
    eventually(lambda: _shown(acme) == _promised(acme), "the shop shows what can be sold", within=60)
    before = _promised(acme)
    acme.act("threepl", "adjust_stock", sku=THEIRS, delta=77)
    began = time.monotonic()
    assert acme.cli("inventory", "count", "--connection", "threepl")["asked"] == ["threepl"]
    eventually(lambda: _shown(acme) == before + 77, "the new figure is in the shop", within=30)
    assert time.monotonic() - began < 30
    entry = next(at for at in acme.get(f"/v1/inventory/{SKU}")["locations"] if at["location"] == "MOR")["ledger"][0]
    assert (entry["kind"], entry["change"], entry["source"]) == ("count", "77", "threepl")


def test_what_an_order_takes_is_shown_in_the_shop_and_given_back_with_it(acme: Tenant) -> None:
    eventually(lambda: _shown(acme) == _promised(acme), "the shop shows what can be sold", within=60)
    before = _promised(acme)
    acme.autopilot("threepl", enabled=False)
    order_id = shop.place(acme, [(SKU, 9)])
    acme.reaches(order_id, "released", within=60)
    eventually(lambda: _promised(acme) == before - 9 and _shown(acme) == before - 9, "nine fewer are shown", within=30)
    acme.act("storefront", "cancel_order", order=order_id.removeprefix("storefront-"))
    acme.reaches(order_id, "cancelled", within=60)
    eventually(lambda: _promised(acme) == before and _shown(acme) == before, "and shown again", within=30)


def test_what_was_changed_behind_our_back_is_found_once_and_mended_by_one_command(acme: Tenant) -> None:
    order_id = shop.place(acme, [(SKU, 2)])
    acme.reaches(order_id, "completed", within=60)
    eventually(lambda: _shown(acme) == _promised(acme), "the shop shows what can be sold", within=60)
    acme.act("storefront", "set_stock", sku=SKU, available=_promised(acme) + 500, location_id=MORENO)

    for _ in range(2):
        report: dict[str, Any] = acme.cli("inventory", "reconcile", check=False)
        assert _drifts(report) == [f"storefront#{SKU}@MOR"], report
    assert len(acme.exceptions(code="STOCK_SHOWN_DRIFT")) == 1

    acme.cli("inventory", "reconcile", "--apply", check=False)
    eventually(lambda: _shown(acme) == _promised(acme), "mended", within=30)
    eventually(lambda: not acme.exceptions(code="STOCK_SHOWN_DRIFT"), "closed by the evidence", within=30)
    assert _drifts(acme.cli("inventory", "reconcile", check=False)) == []


def _drifts(report: dict[str, Any]) -> list[str]:
    """Of what the shop shows. Other stories' orders leave differences of their own: a shop takes goods off the location it routed an order to."""
    return [each["subject"] for each in report["differences"] if each["code"] == "STOCK_SHOWN_DRIFT"]


def test_a_count_that_is_another_systems_is_refused_at_the_door(acme: Tenant) -> None:
    body = {"reports": [{"sku": SKU, "location": "MOR", "at": "2026-03-02T09:00:00Z", "on_hand": 1}]}
    headers = {"x-api-key": next(iter(acme.api_keys.values())), "Idempotency-Key": f"count-{time.time_ns()}"}
    answer = acme.session.post(f"{acme.api_url}/v1/inventory", json=body, headers=headers, timeout=30)
    assert answer.status_code == 422 and answer.json()["errors"][0]["path"] == "reports.0.location", "it is not even named among the API's locations"
