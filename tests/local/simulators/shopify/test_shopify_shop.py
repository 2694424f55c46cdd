"""Does the simulated shop keep its books over a restart, adopt foreign orders, and stand up to the contract checker?"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from shopify_visit import OpenShop, Visitor
from test_shopify_api import CANCEL, REFUND, SET, set_input
from test_shopify_webhooks import a_day_in_the_shop

from local.simulators.server import Config, ConnectionDropped, Harness

CHECKER = Path(__file__).resolve().parents[5] / "shared" / "contracts" / "check_exchanges.py"


def test_a_restarted_shop_goes_on_where_it_was(open_shop: OpenShop) -> None:
    shop = open_shop()
    order = shop.place()
    shop.ask(SET, {"input": set_input(entry={"quantity": 5, "changeFromQuantity": None}), "key": "k"})
    before = shop.harness.state()
    shop = open_shop()
    after = shop.harness.state()
    assert after["orders"] == before["orders"] and after["inventory_levels"] == before["inventory_levels"]
    assert shop.harness.seconds_to_next() is not None, "the webhook that was not sent yet is still to be sent"
    again = shop.ask(SET, {"input": set_input(entry={"quantity": 5, "changeFromQuantity": None}), "key": "k"})["inventorySetQuantities"]
    assert again["userErrors"] == [] and len(again["inventoryAdjustmentGroup"]["changes"]) == 2
    assert shop.place()["order_number"] == order["order_number"] + 1


def test_a_reset_empties_to_the_seed(shop: Visitor) -> None:
    shop.place()
    shop.harness.reset()
    state = shop.harness.state()
    assert state["orders"] == [] and len(state["variants"]) == 3


def test_an_answer_lost_after_the_commit_leaves_the_work_done(shop: Visitor) -> None:
    order = shop.place()
    document = shop.fulfillment_order(order)
    shop.harness.ctx.faults.add({"match": "fulfillmentCreate", "drop_after_commit": True})
    with pytest.raises(ConnectionDropped):
        shop.fulfil(lineItemsByFulfillmentOrder=[{"fulfillmentOrderId": document["id"]}])
    assert len(shop.harness.state()["fulfillments"]) == 1


def test_an_injected_status_comes_in_shopifys_shape_and_does_nothing(shop: Visitor) -> None:
    shop.harness.ctx.faults.add({"match": {"operation": "orderCancel"}, "status": 429})
    order = shop.place()
    answer = shop.post(CANCEL, {"id": order["admin_graphql_api_id"], "restock": True})
    assert answer.status == 429 and answer.headers["retry-after"] == "2.0" and "errors" in answer.json()
    assert shop.harness.state()["orders"][0]["cancelled_at"] is None


@pytest.mark.parametrize("field", ["access_token", "shop_domain"])
def test_a_shop_without_credentials_does_not_open(field: str) -> None:
    credentials = {"access_token": "t", "shop_domain": "a.myshopify.com"}
    del credentials[field]
    with pytest.raises(ValueError, match=field):
        Harness(Config.read({"vendor": "shopify", "credentials": credentials, "seed": {"locations": [{"id": 1, "name": "x"}]}}))


def test_stock_at_a_place_that_does_not_exist_is_no_seed() -> None:
    seed = {"locations": [{"id": 1, "name": "x"}], "variants": [{"sku": "A", "title": "A", "price": "1", "stock": {"2": 5}}]}
    with pytest.raises(ValueError, match="unknown location 2"):
        Harness(Config.read({"vendor": "shopify", "credentials": {"access_token": "t", "shop_domain": "a.myshopify.com"}, "seed": seed}))


# ------------------------------------------------------------------ adoption
@pytest.fixture
def deployment() -> Iterator[dict[str, Any]]:
    """A stack that knows one order, and notes who asked for it."""
    known: dict[str, Any] = {"asked": [], "orders": {}}

    class Orders(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known["asked"].append((self.path, self.headers["x-api-key"]))
            body = known["orders"].get(self.path.rsplit("/", 1)[-1])
            self.send_response(200 if body is not None else 404)
            self.end_headers()
            self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Orders)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    known["url"] = f"http://127.0.0.1:{server.server_port}/prod/v1/orders"
    yield known
    server.shutdown()
    server.server_close()


ADOPTED = {
    "number": "#9999",
    "lines": [
        {"external_id": "487817672276298554", "sku": "BOLT-M8", "quantity": {"value": "3", "unit": "EA"}, "unit_price": {"amount": "89.99", "currency": "USD"}},
        {"external_id": "976318377106520349", "sku": "SKU2006-020", "quantity": {"value": 1}, "unit_price": None},
    ],
}


def test_an_order_announced_by_somebody_else_is_taken_into_the_books(open_shop: OpenShop, deployment: dict[str, Any]) -> None:
    deployment["orders"]["storefront-820982911946154508"] = ADOPTED
    shop = open_shop(adopt={"orders_url": deployment["url"], "api_key": "key-1"})
    document = shop.fulfillment_order({"admin_graphql_api_id": "gid://shopify/Order/820982911946154508"})
    assert [line["lineItem"]["id"] for line in document["lineItems"]["nodes"]] == ["gid://shopify/LineItem/487817672276298554", "gid://shopify/LineItem/976318377106520349"]
    assert deployment["asked"] == [("/prod/v1/orders/storefront-820982911946154508", "key-1")]
    assert shop.fulfil(lineItemsByFulfillmentOrder=[{"fulfillmentOrderId": document["id"]}])["userErrors"] == []
    assert "orders/create" not in shop.received.topics() and len(deployment["asked"]) == 1


@pytest.mark.parametrize("answer", [None, b"<html>", [], {"lines": [{"sku": "x"}]}, {"lines": [{"external_id": "1", "sku": "x", "quantity": {"value": "0"}}]}])
def test_what_cannot_be_adopted_stays_unknown(open_shop: OpenShop, deployment: dict[str, Any], answer: Any) -> None:
    deployment["orders"]["storefront-5"] = answer
    shop = open_shop(adopt={"orders_url": deployment["url"], "api_key": "key-1"})
    assert shop.ask('{ order(id: "gid://shopify/Order/5") { id } }') == {"order": None}
    assert shop.harness.state()["orders"] == []


def test_an_unreachable_deployment_adopts_nothing(open_shop: OpenShop) -> None:
    shop = open_shop(adopt={"orders_url": "http://127.0.0.1:9/v1/orders", "api_key": "k"})
    assert shop.ask('{ order(id: "gid://shopify/Order/5") { id } }') == {"order": None}


# ------------------------------------------------------------------ the vendor's contract
@pytest.mark.skipif(not CHECKER.exists() or shutil.which("uv") is None, reason="the contract checker (../shared/contracts) or uv is not here")
def test_the_recorded_traffic_holds_against_the_vendors_contract(shop: Visitor, tmp_path: Path) -> None:
    a_day_in_the_shop(shop)
    order = shop.place()
    shop.ask(SET, {"input": set_input(entry={"changeFromQuantity": None}), "key": "k"})
    line = {"lineItemId": order["line_items"][0]["admin_graphql_api_id"], "quantity": 1}
    shop.ask(REFUND, {"input": {"orderId": order["admin_graphql_api_id"], "refundLineItems": [line]}, "key": "r"})
    shop.ask(CANCEL, {"id": order["admin_graphql_api_id"], "restock": True, "note": None})
    shop.deliver()
    checked = subprocess.run(
        ["uv", "run", "--script", str(CHECKER), str(tmp_path / "exchanges.jsonl"), "--need", "shopify"], capture_output=True, text=True, check=False, timeout=300
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
