"""Do shipments move on as a 3PL's do, with the vendor's webhooks for each step?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from local.simulators.clock import SystemClock
from local.simulators.server import ActionRefused
from tests.local.simulators.shipbob.conftest import SECRET, Account, OpenAccount


def told(account: Account) -> list[tuple[str, Any]]:
    """(topic, body) of each webhook so far."""
    account.harness.run_due()
    return [(headers["x-webhook-topic"], json.loads(body)) for _, headers, body in account.receiver.got]


def level(account: Account, sku: str) -> dict[str, Any]:
    return account.call("GET", f"/inventory-level?SearchBy={sku}").body["items"][0]  # type: ignore[no-any-return]


def test_an_acknowledged_shipment_has_its_stock_and_a_date(account: Account) -> None:
    placed = account.ordered(("BOLT-M8", 4))

    account.act("acknowledge", reference_id=placed["reference_id"])

    shipment = account.order(placed["id"])["shipments"][0]
    assert shipment["estimated_fulfillment_date_status"] == "PendingOnTime"
    assert shipment["estimated_fulfillment_date"] == "2026-03-03T09:00:00.000000Z"
    assert shipment["products"][0]["inventory_items"][0]["quantity_committed"] == 4
    assert level(account, "BOLT")["total_committed_quantity"] == 4
    assert told(account) == []


def test_the_autopilot_acknowledges_then_ships_and_delivers_when_asked_to(open_account: OpenAccount) -> None:
    account = open_account(autopilot={"deliver_after_s": 5})
    placed = account.ordered(("BOLT-M8", 4))
    account.pass_time(0.3)
    assert account.order(placed["id"])["status"] == "Processing"
    account.pass_time(0.6)
    account.pass_time(5)

    shipment = account.order(placed["id"])["shipments"][0]
    assert shipment["tracking"]["tracking_number"].startswith("1Z")
    assert shipment["delivery_date"] is not None
    assert [topic for topic, _ in told(account)] == ["order.shipped", "order.shipment.delivered"]
    assert level(account, "BOLT")["total_on_hand_quantity"] == 106


def test_a_shipped_webhook_shows_the_shipment_with_tracking(account: Account) -> None:
    placed = account.ordered(("BOLT-M8", 4))

    account.act("ship", order_id=placed["id"], tracking_number="TRK-1", carrier="FedEx")

    ((topic, body),) = told(account)
    assert (topic, body["status"], body["reference_id"], body["order_id"]) == ("order.shipped", "Completed", placed["reference_id"], placed["id"])
    assert (body["tracking"]["tracking_number"], body["tracking"]["carrier"]) == ("TRK-1", "FedEx")


def test_a_partial_shipment_leaves_the_rest_in_a_shipment_of_its_own(account: Account) -> None:
    placed = account.ordered(("BOLT-M8", 4), ("NUT-M8", 2))
    account.act("acknowledge", order_id=placed["id"])

    account.act("ship", order_id=placed["id"], lines=[{"sku": "BOLT-M8", "quantity": 3}])

    current = account.order(placed["id"])
    assert current["status"] == "PartiallyFulfilled"
    held = [[(p["sku"], p["inventory_items"][0]["quantity"]) for p in each["products"]] for each in current["shipments"]]
    assert held == [[("BOLT-M8", 3)], [("BOLT-M8", 1), ("NUT-M8", 2)]]
    account.act("ship", order_id=placed["id"])
    assert account.order(placed["id"])["status"] == "Fulfilled"
    assert (level(account, "BOLT")["total_on_hand_quantity"], level(account, "BOLT")["total_committed_quantity"]) == (106, 0)


@pytest.mark.parametrize("lines", [[{"sku": "BOLT-M8", "quantity": 5}], [{"sku": "BOLT-M8", "quantity": 0}], [{"sku": "X", "quantity": 1}]])
def test_nobody_ships_more_than_was_ordered(account: Account, lines: list[dict[str, Any]]) -> None:
    placed = account.ordered(("BOLT-M8", 4))

    with pytest.raises(ActionRefused):
        account.act("ship", order_id=placed["id"], lines=lines)

    assert account.order(placed["id"])["status"] == "Processing"
    assert level(account, "BOLT")["total_committed_quantity"] == 0


@pytest.mark.parametrize(("sku", "quantity", "detail"), [("NUT-M8", 6, "OutOfStock"), ("OLD-1", 1, "InactiveSku"), ("NEVER-HEARD-OF", 1, "UnknownSku")])
def test_what_cannot_be_fulfilled_goes_into_exception(account: Account, sku: str, quantity: int, detail: str) -> None:
    placed = account.ordered((sku, quantity))
    account.act("acknowledge", order_id=placed["id"])

    ((topic, body),) = told(account)
    assert (topic, body["status"], body["status_details"][0]["name"]) == ("order.shipment.exception", "Exception", detail)
    assert account.order(placed["id"])["status"] == "Exception"


def test_an_exception_is_over_when_stock_arrives(account: Account) -> None:
    placed = account.ordered(("NUT-M8", 6))
    account.act("acknowledge", order_id=placed["id"])
    account.act("adjust_stock", sku="NUT-M8", delta=1)

    account.act("resume", order_id=placed["id"])
    account.act("ship", order_id=placed["id"])

    assert account.order(placed["id"])["status"] == "Fulfilled"


def test_an_address_without_state_goes_on_hold(account: Account) -> None:
    placed = account.ordered(recipient={"name": "Dana", "address": {"address1": "1 A St", "city": "Joliet", "country": "US"}})
    account.act("acknowledge", order_id=placed["id"])

    ((topic, body),) = told(account)
    assert (topic, body["status_details"][0]["name"]) == ("order.shipment.on_hold", "InvalidAddress")


@pytest.mark.parametrize(
    ("verb", "topic", "status"),
    [
        ("hold", "order.shipment.on_hold", "OnHold"),
        ("exception", "order.shipment.exception", "Exception"),
        ("cancel", "order.shipment.cancelled", "Cancelled"),
        ("reject", "order.shipment.cancelled", "Cancelled"),
    ],
)
def test_staff_can_stop_a_shipment_and_its_stock_is_free_again(account: Account, verb: str, topic: str, status: str) -> None:
    placed = account.ordered()
    account.act("acknowledge", order_id=placed["id"])

    account.act(verb, order_id=placed["id"])

    assert [(told_topic, body["status"]) for told_topic, body in told(account)] == [(topic, status)]
    assert level(account, "BOLT")["total_committed_quantity"] == 0


def test_a_shipped_shipment_can_be_delivered_once(account: Account) -> None:
    placed = account.ordered()
    account.act("ship", order_id=placed["id"])
    account.act("deliver", order_id=placed["id"])

    with pytest.raises(ActionRefused):
        account.act("deliver", order_id=placed["id"])

    assert [topic for topic, _ in told(account)] == ["order.shipped", "order.shipment.delivered"]


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("ship", {"order_id": 1}),
        ("ship", {"shipment_id": 1}),
        ("ship", {"reference_id": "none"}),
        ("adjust_stock", {"sku": "none", "delta": 1}),
        ("adjust_stock", {"sku": "NUT-M8", "delta": -6}),
        ("adjust_stock", {"sku": "NUT-M8", "delta": 1, "fulfillment_center_id": 9}),
        ("complete_return", {"return_id": 1}),
    ],
)
def test_an_impossible_staff_action_is_refused(account: Account, verb: str, body: dict[str, Any]) -> None:
    with pytest.raises(ActionRefused):
        account.act(verb, **body)


def test_staff_cannot_ship_what_is_on_hold_nor_acknowledge_it(account: Account) -> None:
    placed = account.ordered()
    account.act("hold", order_id=placed["id"], reason="PaymentDeclined")

    for verb in ("ship", "acknowledge", "pick"):
        with pytest.raises(ActionRefused):
            account.act(verb, order_id=placed["id"])


def test_what_cannot_be_allocated_does_not_ship(account: Account) -> None:
    placed = account.ordered(("NUT-M8", 6))

    with pytest.raises(ActionRefused, match="Exception"):
        account.act("ship", order_id=placed["id"])

    assert account.order(placed["id"])["status"] == "Processing"


def test_the_signature_satisfies_the_reference_verifier(open_account: OpenAccount) -> None:
    account = open_account()
    account.harness.ctx.webhooks._clock = SystemClock()  # the reference library only accepts the present
    placed = account.ordered()
    account.act("ship", order_id=placed["id"])
    account.harness.run_due()
    account.harness.run_due()

    ((_, headers, body),) = account.receiver.got
    assert Webhook(SECRET).verify(body.decode(), dict(headers))["order_id"] == placed["id"]
    assert headers["webhook-id"].startswith("msg_")


@pytest.mark.parametrize("secret", ["C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_!"])
def test_a_secret_that_cannot_sign_is_refused(open_account: OpenAccount, secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        open_account(webhook={"url": "http://127.0.0.1:9/", "secret": secret})


def test_a_subscription_gets_its_topics_signed_with_its_own_secret(open_account: OpenAccount) -> None:
    account = open_account(webhook=None)
    made = account.call("POST", "/webhook", {"topics": ["order.shipped"], "url": "https://hooks.example.com/a"}).body
    listed = account.call("GET", "/webhook").body["items"]
    assert [(each["id"], each["enabled"], "secret" in each) for each in listed] == [(made["id"], True, False)]
    placed = account.ordered()
    account.act("ship", order_id=placed["id"])
    account.act("deliver", order_id=placed["id"])
    account.harness.run_due()

    assert [url for url, _, _ in account.receiver.got] == ["https://hooks.example.com/a"]
    assert account.call("DELETE", f"/webhook/{made['id']}").status == 204
    assert account.call("GET", "/webhook").body["items"] == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"topics": ["order.unheard"], "url": "https://a.example"}, 400),
        ({"topics": [], "url": "https://a.example"}, 400),
        ({"topics": ["order.shipped"]}, 400),
        ({"topics": ["order.shipped"], "url": "http://a.example"}, 422),
        ({"topics": ["order.shipped"], "url": "a"}, 422),
        ({"topics": ["order.shipped"], "url": "https://a.example", "secret": "short"}, 400),
        ({"topics": ["order.shipped"], "url": "http://127.0.0.1:9/x"}, 200),
        ({"topics": ["order.shipped"], "url": "http://localhost:9/x"}, 200),
    ],
)
def test_a_subscription_that_the_contract_does_not_allow_is_refused(account: Account, body: dict[str, Any], status: int) -> None:
    assert account.call("POST", "/webhook", body).status == status
