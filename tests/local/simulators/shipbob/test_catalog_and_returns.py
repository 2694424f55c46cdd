"""Does the simulator show products, stock and places, and take goods back, as ShipBob's contract says?"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.local.simulators.shipbob.conftest import SEED, Account, OpenAccount, order


def test_stock_is_shown_per_item_and_per_location(account: Account) -> None:
    everywhere = account.call("GET", "/inventory-level/locations").body
    first = everywhere["items"][0]

    assert (first["sku"], [(place["location_id"], place["on_hand_quantity"]) for place in first["locations"]]) == ("BOLT-M8", [(1, 100), (2, 10)])
    assert account.call("GET", f"/inventory-level/{first['inventory_id']}/locations").body == first
    assert account.call("GET", f"/inventory-level/{first['inventory_id']}").body["total_fulfillable_quantity"] == 110
    assert account.call("GET", f"/inventory/{first['inventory_id']}").body["variant"]["is_active"] is True
    assert len(account.call("GET", "/inventory").body["items"]) == 4


@pytest.mark.parametrize(
    ("query", "count"),
    [("SearchBy=m8", 2), ("IsActive=false", 1), ("LocationId=2", 2), ("InventoryIds=20001,20003", 2), ("IsDigital=true", 0), ("SearchBy=20004", 1)],
)
def test_stock_is_filtered_as_asked(account: Account, query: str, count: int) -> None:
    assert len(account.call("GET", f"/inventory-level/locations?{query}").body["items"]) == count


def test_stock_comes_in_pages_that_the_next_link_goes_through(account: Account) -> None:
    seen, link = [], "/inventory-level/locations?PageSize=3"
    while link:
        page = account.call("GET", link.removeprefix("/2026-01")).body
        seen += [item["sku"] for item in page["items"]]
        link = page["next"]

    assert seen == ["BOLT-M8", "NUT-M8", "GLOVE-L", "OLD-1"]


def test_unknown_things_are_not_found_and_bad_questions_refused(account: Account) -> None:
    for path in ("/inventory/9", "/inventory-level/9", "/inventory-level/9/locations", "/product/9", "/product/9/variants", "/return/9"):
        assert account.call("GET", path).status == 404, path
    for path in ("/inventory-level?Colour=red", "/inventory-level?PageSize=0", "/product?PageSize=x", "/location?X=1", "/fulfillment-center?X=1"):
        assert account.call("GET", path).status == 400, path


def test_a_product_is_made_once_per_sku_and_found_again(account: Account) -> None:
    made = account.call("POST", "/product", {"name": "Washer", "variants": [{"sku": "WASHER", "name": "Washer M8"}]})

    assert made.status == 201
    assert account.call("GET", f"/product/{made.body['id']}").body["variants"][0]["sku"] == "WASHER"
    assert account.call("GET", f"/product/{made.body['id']}/variants").body[0]["inventory"]["on_hand_qty"] == 0
    assert account.call("POST", "/product", {"name": "Washer", "variants": [{"sku": "WASHER"}]}).status == 422
    assert account.call("POST", "/product", {"name": "Washer", "variants": []}).status == 400


@pytest.mark.parametrize("query", ["SKU=NUT-M8", "Search=nut", "Name=nut", "ProductId=60002", "VariantId=40002", "InventoryId=20002"])
def test_products_are_found_by_what_is_asked(account: Account, query: str) -> None:
    found = account.call("GET", f"/product?{query}").body["items"]

    assert [product["variants"][0]["sku"] for product in found] == ["NUT-M8"]


def test_places_channels_and_methods_are_listed(account: Account) -> None:
    assert [center["name"] for center in account.call("GET", "/fulfillment-center").body] == ["Cicero (IL)", "Ontario (CA)"]
    assert [place["id"] for place in account.call("GET", "/location?AccessGranted=true").body] == [1, 2]
    assert account.call("GET", "/channel").body["items"][0]["id"] == 4711
    assert account.call("GET", "/shipping-method?Limit=1").body[0]["name"] == "Standard"


def test_a_returned_item_is_on_the_shelf_again(account: Account) -> None:
    shipped = account.ordered(("NUT-M8", 2))
    account.act("ship", order_id=shipped["id"])
    item = shipped["shipments"][0]["products"][0]["inventory_items"][0]["id"]
    wanted = _return(item, shipped["shipments"][0]["id"])
    made = account.call("POST", "/return", wanted)
    assert made.status == 201

    account.act("complete_return", return_id=made.body["id"])

    assert account.call("GET", f"/inventory-level/{item}").body["total_on_hand_quantity"] == 5
    assert account.call("GET", f"/return/{made.body['id']}").body["status"] == "Completed"
    assert account.call("POST", "/return", wanted).status == 422
    assert account.call("POST", f"/return/{made.body['id']}:cancel").status == 400
    account.harness.run_due()
    assert [headers["x-webhook-topic"] for _, headers, _ in account.receiver.got] == ["order.shipped", "return.created", "return.completed"]


def test_a_return_can_be_cancelled_and_listed(account: Account) -> None:
    first = account.call("POST", "/return", _return(20001)).body
    account.call("POST", "/return", {**_return(20001), "reference_id": "RMA-2"})

    assert account.call("POST", f"/return/{first['id']}:cancel").status == 200
    assert [each["reference_id"] for each in account.call("GET", "/return?Status=Cancelled").body["items"]] == ["RMA-1"]
    assert [each["reference_id"] for each in account.call("GET", "/return?SortOrder=Desc&Limit=1").body["items"]] == ["RMA-2"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"reference_id": "x" * 51}, 400),
        ({"inventory": []}, 400),
        ({"inventory": [{"id": 9, "quantity": 1, "requested_action": "Restock"}]}, 422),
        ({"inventory": [{"id": 20001, "quantity": 1, "requested_action": "Burn"}]}, 400),
        ({"fulfillment_center": {"id": 9}}, 422),
        ({"original_shipment_id": 9}, 422),
    ],
)
def test_a_return_that_cannot_be_is_refused(account: Account, change: dict[str, Any], status: int) -> None:
    assert account.call("POST", "/return", {**_return(20001), **change}).status == status


def _return(inventory_id: int, shipment_id: int | None = None) -> dict[str, Any]:
    return {
        "reference_id": "RMA-1",
        "fulfillment_center": {"id": 1, "name": "Cicero (IL)"},
        "inventory": [{"id": inventory_id, "quantity": 2, "requested_action": "Restock"}],
        "original_shipment_id": shipment_id,
    }


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"credentials": {"access_token": "x"}}, "channel_id"),
        ({"seed": {"colour": 1}}, "colour"),
        ({"seed": {**SEED, "products": [{"sku": "A", "stock": {"9": 1}}]}}, "center 9"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(open_account: OpenAccount, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        open_account(**changes)


def test_an_account_without_a_seed_has_one_center(open_account: OpenAccount) -> None:
    assert [center["name"] for center in open_account(seed={}).call("GET", "/fulfillment-center").body] == ["Cicero (IL)"]


@pytest.mark.parametrize(("status", "body"), [(429, {"errors": ["injected fault"]}), (503, None)])
def test_an_injected_status_has_the_vendors_shape(account: Account, status: int, body: Any) -> None:
    account.harness.ctx.faults.add({"match": "order.create", "status": status})

    answer = account.call("POST", "/order", order())

    assert (answer.status, answer.body) == (status, body)
    assert (answer.headers.get("x-retry-after") == "1") is (status == 429)


CHECKER = Path(__file__).parents[5] / "shared" / "contracts" / "check_exchanges.py"


@pytest.mark.skipif(not CHECKER.exists(), reason="the vendors' contracts (../shared) are not on this machine")
@pytest.mark.skipif(shutil.which("uv") is None, reason="uv is not on this machine")
def test_recorded_traffic_keeps_the_vendors_contract(account: Account, tmp_path: Path) -> None:
    _tour(account)

    done = subprocess.run(
        ["uv", "run", "--no-project", "--script", str(CHECKER), str(tmp_path / "exchanges.jsonl"), "--need", "shipbob", "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "VIRTUAL_ENV": ""},
    )

    report = json.loads(done.stdout)
    assert report["findings"] == {}
    assert (report["violations"], report["toothless"], report["missing"]) == (0, [], [])
    assert done.returncode == 0


def _tour(account: Account) -> None:
    """Every operation once, with everything optional filled in."""
    placed = account.ordered(
        ("BOLT-M8", 4),
        ("NUT-M8", 1),
        ("GLOVE-L", 1),
        purchase_date="2026-03-02T09:00:00Z",
        tags=[{"name": "order", "value": "shop-1"}],
        shipping_terms={"carrier_type": "Parcel", "payment_term": "Prepaid"},
    )
    account.act("acknowledge", order_id=placed["id"])
    account.act("ship", order_id=placed["id"], lines=[{"sku": "BOLT-M8", "quantity": 3}])
    account.act("deliver", order_id=placed["id"])
    stopped = account.ordered(("NUT-M8", 50))
    account.act("acknowledge", order_id=stopped["id"])
    held = account.ordered()
    account.act("hold", order_id=held["id"])
    cancelled = account.ordered()
    account.call("POST", f"/order/{cancelled['id']}:cancel")
    account.call("POST", f"/order/{cancelled['id']}:cancel")
    single = account.ordered()["shipments"][0]["id"]
    account.call("POST", f"/shipment/{single}:cancel")
    account.call("POST", "/shipment:batchCancel", {"shipment_ids": [single]})
    account.call("POST", "/order", {**order(), "reference_id": placed["reference_id"]})
    shipment = account.order(placed["id"])["shipments"][0]["id"]
    for path in (
        "/order?Limit=250&SortOrder=Oldest&ReferenceIds=part-1",
        "/order",
        f"/order/{placed['id']}/shipment",
        f"/order/{placed['id']}/shipment/{shipment}",
        f"/shipment/{shipment}",
        f"/shipment/{shipment}/timeline",
        f"/shipment/{shipment}/logs",
        "/inventory",
        "/inventory/20001",
        "/inventory-level?PageSize=100",
        "/inventory-level/20001",
        "/inventory-level/locations",
        "/inventory-level/20001/locations",
        "/inventory-level/9",
        "/product",
        "/product/60001",
        "/product/60001/variants",
        "/product/9",
        "/location",
        "/fulfillment-center",
        "/channel",
        "/shipping-method",
    ):
        account.call("GET", path)
    account.call("POST", "/product", {"name": "Washer", "variants": [{"sku": "WASHER", "name": "Washer M8"}]})
    made = account.call("POST", "/webhook", {"topics": ["order.shipped"], "url": "https://hooks.example.com/a"}).body
    account.call("GET", "/webhook")
    account.call("DELETE", f"/webhook/{made['id']}")
    back = account.call("POST", "/return", _return(20001, shipment)).body
    account.call("GET", "/return")
    account.call("GET", f"/return/{back['id']}")
    account.call("GET", "/return/9")
    account.call("POST", f"/return/{back['id']}:cancel")
    account.harness.run_due()
