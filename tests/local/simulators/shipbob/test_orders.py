"""Does the simulator take, refuse, split and cancel orders as ShipBob does?"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.local.simulators.shipbob.conftest import Account, OpenAccount, order


def at(path: str, value: Any) -> dict[str, Any]:
    """A good order with one field (dotted path) replaced, or removed when value is `...`."""
    body = order()
    *parents, last = path.split(".")
    place: Any = body
    for parent in parents:
        place = place[int(parent)] if parent.isdigit() else place[parent]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return body


def test_a_good_order_is_queued_and_awaits_its_stock(account: Account) -> None:
    placed = account.ordered(("BOLT-M8", 2), ("NUT-M8", 1))

    assert placed["status"] == "Processing"
    assert placed["channel"]["id"] == 4711
    assert [shipment["estimated_fulfillment_date_status"] for shipment in placed["shipments"]] == ["AwaitingInventoryAllocation"]
    assert [product["reference_id"] for product in placed["shipments"][0]["products"]] == ["BOLT-M8", "NUT-M8"]
    assert "tracking" not in placed["shipments"][0]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (at("reference_id", ...), "reference_id"),
        (at("reference_id", "x" * 301), "reference_id"),
        (at("reference_id", 7), "reference_id"),
        (at("type", "Retail"), "type"),
        (at("shipping_method", ""), "shipping_method"),
        (at("products", []), "products"),
        (at("products.0.quantity", 0), "products[0].quantity"),
        (at("products.0.quantity", Decimal("1.5")), "products[0].quantity"),
        (at("products.0.quantity", "2"), "products[0].quantity"),
        (at("products.0.quantity", True), "products[0].quantity"),
        (at("products.0.name", ...), "products[0].name"),
        (at("products.0.colour", "red"), "products[0].colour"),
        (at("recipient.name", ""), "recipient.name"),
        (at("recipient.email", "dana"), "recipient.email"),
        (at("recipient.phone_number", "1" * 51), "recipient.phone_number"),
        (at("recipient.address.city", ...), "recipient.address.city"),
        (at("recipient.address.country", ""), "recipient.address.country"),
        (at("order_number", "1" * 401), "order_number"),
        (at("purchase_date", "yesterday"), "purchase_date"),
        (at("purchase_date", "2026-03-02T09:00:00"), "purchase_date"),
        (at("purchase_date", 7), "purchase_date"),
        (at("financials", {"total_price": "12"}), "financials.total_price"),
        (at("tags", [{"name": "x" * 51, "value": "y"}]), "tags[0].name"),
        (at("location_id", "1"), "location_id"),
        (at("sales_channel", "shop"), "sales_channel"),
        (at("colour", "red"), "colour"),
    ],
)
def test_a_body_that_breaks_the_contract_is_refused_with_the_field(account: Account, body: Any, field: str) -> None:
    answer = account.call("POST", "/order", body)

    assert answer.status == 400
    assert field in answer.body
    assert account.call("GET", "/order").body == []


def test_an_optional_field_of_every_kind_is_taken(account: Account) -> None:
    placed = account.ordered(
        ("BOLT-M8", 1),
        purchase_date="2026-03-02T09:00:00Z",
        financials={"total_price": Decimal("12.50")},
        tags=[{"name": "order", "value": "shop-1"}],
        location_id=2,
        shipping_terms={"carrier_type": "Parcel"},
    )

    assert placed["financials"] == {"total_price": Decimal("12.50")}
    assert placed["shipments"][0]["location"]["id"] == 2


def test_a_reference_id_is_taken_once(account: Account) -> None:
    assert account.call("POST", "/order", order()).status == 201

    answer = account.call("POST", "/order", order())

    assert answer.status == 422
    assert "part-1 already exists" in answer.body["errors"][0]
    assert len(account.call("GET", "/order").body) == 1


def test_an_unknown_location_or_product_id_is_refused(account: Account) -> None:
    assert account.call("POST", "/order", order(location_id=9)).status == 422
    assert account.call("POST", "/order", order(products=[{"id": 9, "quantity": 1}])).status == 422


def test_a_product_can_be_named_by_its_id(account: Account) -> None:
    variant = account.call("GET", "/product?SKU=NUT-M8").body["items"][0]["variants"][0]

    placed = account.call("POST", "/order", order(products=[{"id": variant["id"], "quantity": 1}])).body

    assert placed["products"][0]["sku"] == "NUT-M8"


@pytest.mark.parametrize(("channel", "token", "status"), [(None, "pat-test", 400), ("x", "pat-test", 400), ("1", "pat-test", 403), ("4711", "no", 401)])
def test_a_stranger_is_refused(account: Account, channel: str | None, token: str, status: int) -> None:
    assert account.call("POST", "/order", order(), channel=channel, token=token).status == status


def test_what_the_api_does_not_have_is_not_found(account: Account) -> None:
    assert account.call("GET", "/nothing").status == 404
    assert account.call("GET", "/order/1").status == 404
    assert account.call("GET", "/order/abc").status == 400
    assert account.call("DELETE", "/order").status == 405
    assert account.harness.call("GET", "/2025-07/order").status == 404


def test_a_body_that_is_no_json_is_refused(account: Account) -> None:
    headers = {"authorization": "Bearer pat-test", "shipbob_channel_id": "4711"}

    assert account.harness.call("POST", "/2026-01/order", headers=headers, body=b"{}").status == 415
    headers["content-type"] = "application/json"
    assert account.harness.call("POST", "/2026-01/order", headers=headers, body=b"{").status == 400


def test_an_order_that_no_center_holds_whole_is_split(account: Account) -> None:
    placed = account.ordered(("NUT-M8", 2), ("GLOVE-L", 1))

    assert [(each["location"]["id"], each["products"][0]["sku"]) for each in placed["shipments"]] == [(1, "NUT-M8"), (2, "GLOVE-L")]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["part-3", "part-2", "part-1"]),
        ("?SortOrder=Oldest&Limit=2", ["part-1", "part-2"]),
        ("?SortOrder=Oldest&Limit=2&Page=2", ["part-3"]),
        ("?ReferenceIds=part-2,part-9", ["part-2"]),
        ("?IDs=300001", ["part-1"]),
        ("?HasTracking=true", ["part-1"]),
        ("?HasTracking=false&SortOrder=Oldest", ["part-2", "part-3"]),
        ("?IsTrackingUploaded=true", []),
        ("?LastUpdateStartDate=2026-03-02T09:00:20Z", ["part-1"]),
        ("?LastUpdateEndDate=2026-03-02T09:00:01%2B00:00&SortOrder=Oldest", ["part-2"]),
        ("?StartDate=2026-03-02T09:00:10Z", ["part-3"]),
        ("?LastTrackingUpdateStartDate=2026-03-02T09:00:00Z", ["part-1"]),
    ],
)
def test_orders_are_listed_by_what_is_asked(account: Account, query: str, expected: list[str]) -> None:
    first = account.ordered()
    account.ordered()
    account.pass_time(10)
    account.ordered()
    account.pass_time(10)
    account.act("ship", order_id=first["id"])

    assert [each["reference_id"] for each in account.call("GET", f"/order{query}").body] == expected


@pytest.mark.parametrize("query", ["Colour=red", "Limit=251", "Page=0", "Page=x", "HasTracking=yes", "StartDate=now", "StartDate=2026-01-01T00:00:00", "SortOrder=Asc", "IDs=a"])
def test_a_query_that_the_contract_does_not_know_is_refused(account: Account, query: str) -> None:
    assert account.call("GET", f"/order?{query}").status == 400


def test_a_cancelled_order_frees_its_stock_and_cannot_be_cancelled_again(account: Account) -> None:
    placed = account.ordered(("BOLT-M8", 4))
    account.act("acknowledge", order_id=placed["id"])

    answer = account.call("POST", f"/order/{placed['id']}:cancel")

    assert (answer.status, answer.body["status"], answer.body["order"]["status"]) == (200, "Success", "Cancelled")
    level = account.call("GET", "/inventory-level?SearchBy=BOLT").body["items"][0]
    assert (level["total_committed_quantity"], level["total_on_hand_quantity"]) == (0, 110)
    assert account.call("POST", f"/order/{placed['id']}:cancel").status == 422


@pytest.mark.parametrize("step", ["pick", "ship"])
def test_a_cancel_comes_too_late_once_it_is_picked_or_shipped(account: Account, step: str) -> None:
    placed = account.ordered()
    account.act("acknowledge", order_id=placed["id"])
    account.act(step, order_id=placed["id"])

    assert account.call("POST", f"/order/{placed['id']}:cancel").status == 422
    assert account.call("POST", f"/shipment/{placed['shipments'][0]['id']}:cancel").status == 422


def test_a_cancel_of_a_half_shipped_order_succeeds_in_part(account: Account) -> None:
    placed = account.ordered(("NUT-M8", 1), ("GLOVE-L", 1))
    account.act("ship", shipment_id=placed["shipments"][0]["id"])

    answer = account.call("POST", f"/order/{placed['id']}:cancel").body

    assert answer["status"] == "PartialSuccess"
    assert [result["is_success"] for result in answer["canceled_shipment_results"]] == [False, True]
    assert account.order(placed["id"])["status"] == "Fulfilled"


def test_one_shipment_of_an_order_can_be_cancelled(account: Account) -> None:
    placed = account.ordered(("NUT-M8", 1), ("GLOVE-L", 1))
    first, second = (shipment["id"] for shipment in placed["shipments"])

    assert account.call("POST", f"/order/{placed['id']}/shipment/{first}:cancel").body["status"] == "Cancelled"
    assert account.call("POST", "/shipment:batchCancel", {"shipment_ids": [second, first]}).body["results"][1]["is_success"] is False
    assert account.call("POST", "/shipment:batchCancel", {"shipment_ids": [1]}).status == 422
    assert account.order(placed["id"])["status"] == "Cancelled"


def test_a_shipment_is_found_by_itself_and_under_its_order_only(account: Account) -> None:
    placed = account.ordered()
    key = placed["shipments"][0]["id"]

    assert account.call("GET", f"/shipment/{key}").body == placed["shipments"][0]
    assert account.call("GET", f"/order/{placed['id']}/shipment/{key}").status == 200
    assert account.call("GET", f"/order/{placed['id']}/shipment").body == placed["shipments"]
    assert account.call("GET", f"/order/1/shipment/{key}").status == 404
    assert [entry["log_type_name"] for entry in account.call("GET", f"/shipment/{key}/timeline").body] == ["OrderPlaced"]
    assert account.call("GET", f"/order/{placed['id']}/shipment/{key}/logs").status == 200


def test_a_restart_keeps_orders_stock_and_what_staff_was_about_to_do(open_account: OpenAccount) -> None:
    account = open_account(autopilot={"enabled": True})
    placed = account.ordered(("BOLT-M8", 4))
    account.pass_time(0.3)

    reopened = open_account(autopilot={"enabled": True})
    assert reopened.order(placed["id"])["shipments"][0]["estimated_fulfillment_date_status"] == "PendingOnTime"
    reopened.pass_time(0.6)

    assert reopened.order(placed["id"])["status"] == "Fulfilled"
    assert [headers["x-webhook-topic"] for _, headers, _ in reopened.receiver.got] == ["order.shipped"]
