"""Is every order found whose webhook never came, once, and without asking for what is known?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from crossdock import bootstrap
from crossdock.connectors.shopify import client
from crossdock.connectors.shopify.client import ShopifyConnector
from crossdock.domain.connector import ConnectionContext, PolledItem, Translation
from crossdock.domain.delivery import Delivery
from crossdock.domain.model import rfc3339
from local.simulators import exact_json
from local.simulators.clock import ManualClock
from local.simulators.server import Config, Harness
from local.simulators.shopify.schema import available_versions
from tests.connectors.shopify.test_shopify_client import SEED, TOKEN, InProcess, place

pytestmark = pytest.mark.skipif(not available_versions(), reason="npm package @shopify/dev-mcp is not installed")


class Shop:
    """A shop and its connector on one clock, the shop's webhooks going nowhere."""

    def __init__(self, **seed: Any) -> None:
        self.clock = ManualClock()
        config = {"vendor": "shopify", "credentials": {"access_token": TOKEN, "shop_domain": "acme.myshopify.com"}, "seed": {**SEED, **seed}}
        self.http = InProcess(Harness(Config.read(config), clock=self.clock))
        self.connector = ShopifyConnector(
            ConnectionContext(
                manifest=bootstrap.load_manifest("shopify"),
                tenant="acme",
                connection="storefront",
                base_url="https://shop.example",
                settings={},
                credentials=lambda: {"access_token": TOKEN},
                http=self.http,
                clock=self.clock,
            )
        )
        self.cursor: str | None = None
        self.versions: dict[str, str] = {}
        self.asked: list[str] = []

    def poll(self) -> list[PolledItem]:
        result = self.connector.poll("orders", self.cursor, self._known)
        self.cursor = result.cursor
        self.more = result.more
        return list(result.items)

    def _known(self, order_id: str, version: str, topic: str, key: str) -> bool:
        self.asked.append(order_id)
        return self.versions.get(order_id, "") >= version

    def read(self, topic: str, body: bytes) -> Translation:
        return self.connector.translate(Delivery(delivery_id="d", connection="storefront", topic=topic, body=body, received_at=datetime.now(UTC)))


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    assert made.poll() == [], "what was there before is not asked for"
    yield made
    made.http.shop.close()


def pass_by(shop: Shop, seconds: float) -> None:
    shop.clock.advance(seconds)


def test_a_lost_order_becomes_exactly_what_its_webhook_would_have_made_of_it(shop: Shop) -> None:
    order = place(shop.http, ("DRILL-18V", 5), ("TWIN", 2), shipping_price="9", tax=[{"rate": "0.07"}], note="leave at dock")
    pass_by(shop, 60)
    (item,) = shop.poll()
    told = shop.read("orders/create", exact_json.dumps(order).encode()).occurrences
    found = shop.read(item.topic, item.body).occurrences
    assert [occurrence.fact for occurrence in found[:1]] == [occurrence.fact for occurrence in told]
    assert found[0].fact.type == "OrderPlaced"
    assert item.topic in shop.connector.manifest.handled


def test_what_is_known_at_its_version_is_listed_and_not_fetched(shop: Shop) -> None:
    order = place(shop.http)
    pass_by(shop, 60)
    shop.versions[f"storefront-{order['id']}"] = rfc3339(datetime.fromisoformat(order["updated_at"]))
    shop.http.sent.clear()
    assert shop.poll() == []
    assert shop.asked == [f"storefront-{order['id']}"]
    assert shop.http.sent == ["CrossdockChangedOrders"], "an idle or healthy shop costs one small query"


def test_a_fresh_change_is_left_to_its_webhook(shop: Shop) -> None:
    place(shop.http)
    pass_by(shop, 10)
    assert shop.poll() == []
    pass_by(shop, 300)
    assert len(shop.poll()) == 1, "and found by the next poll when that did not come"


def test_the_same_finding_has_the_same_key_and_a_later_change_another(shop: Shop) -> None:
    order = place(shop.http)
    pass_by(shop, 60)
    first, again = shop.poll(), shop.poll()
    assert [item.key for item in first] == [item.key for item in again]
    shop.http.shop.act("cancel_order", {"order": order["id"], "reason": "customer"})
    pass_by(shop, 60)
    (later,) = shop.poll()
    assert later.key != first[0].key
    placed, cancelled = (occurrence.fact for occurrence in shop.read(later.topic, later.body).occurrences)
    assert (placed.type, cancelled.type) == ("OrderPlaced", "OrderCancelled")


def test_an_order_with_more_lines_than_a_page_is_whole(shop: Shop) -> None:
    order = place(shop.http, *[("DRILL-18V", 1)] * 60)
    pass_by(shop, 60)
    (item,) = shop.poll()
    fact: Any = shop.read(item.topic, item.body).occurrences[0].fact
    assert len(fact.order.lines) == len(order["line_items"]) == 60


def test_more_than_one_poll_takes_is_read_on_from_where_it_stopped(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "WHOLE_PER_POLL", 4)
    placed = []
    for _ in range(10):
        placed.append(f"storefront-{place(shop.http)['id']}")
        pass_by(shop, 1)
    pass_by(shop, 60)
    found: list[str] = []
    rounds = 0
    while rounds == 0 or shop.more:
        rounds += 1
        assert rounds < 10, "it gets on"
        for item in shop.poll():
            fact: Any = shop.read(item.topic, item.body).occurrences[0].fact
            found.append(fact.order.order_id)
            shop.versions[fact.order.order_id] = fact.order.source_version
    assert found == placed, "all of them, the oldest first, each once"
    assert rounds == 3


def test_a_gap_between_polls_loses_nothing(shop: Shop) -> None:
    pass_by(shop, 3600)
    order = place(shop.http)
    pass_by(shop, 6 * 3600)
    assert [item.key.partition("@")[0] for item in shop.poll()] == [str(order["id"])]


def test_a_business_buyer_is_known_by_the_same_names_whichever_way_the_order_came() -> None:
    company = {"id": 501, "name": "Northwind", "location_id": 502, "external_id": "C-100"}
    made = Shop(customers=[{"id": 1, "email": "a@b.example", "company": company, "default_address": {"address1": "1 St", "city": "X", "province_code": "ID", "zip": "83702"}}])
    try:
        made.poll()
        order = place(made.http)
        pass_by(made, 60)
        (item,) = made.poll()
        told: Any = made.read("orders/create", exact_json.dumps(order).encode()).occurrences[0].fact
        found: Any = made.read(item.topic, item.body).occurrences[0].fact
        assert found.order.customer == told.order.customer
        assert "gid://shopify/CompanyLocation/502" in found.order.customer.external_ids
    finally:
        made.http.shop.close()
