"""Does the connector do each thing once, against a shop that is strict, slow, busy, or lost its answer?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from crossdock import bootstrap
from crossdock.connectors.shopify import client
from crossdock.connectors.shopify.client import ShopifyConnector
from crossdock.domain.commands import CancelFulfillment, CancelOrder, ConfirmShipment, PublishStock
from crossdock.domain.connector import ConnectionContext
from crossdock.domain.delivery import Delivery
from crossdock.domain.errors import ContractDrift, CrossdockError, NeedsPerson, Rejected, RetryLater, UnknownOutcome
from crossdock.domain.model import rfc3339
from crossdock.domain.shipment import Package, Shipment, ShippedLine
from crossdock.http import Answer, OutboundHttp
from local.simulators import exact_json
from local.simulators.clock import ManualClock
from local.simulators.server import Config, ConnectionDropped, Harness, Served
from local.simulators.shopify.schema import available_versions

pytestmark = pytest.mark.skipif(not available_versions(), reason="npm package @shopify/dev-mcp is not installed")

TOKEN = "shpat_connector"
CHICAGO, DALLAS = 71001001, 71001002
SEED: dict[str, Any] = {
    "locations": [{"id": CHICAGO, "name": "Chicago"}, {"id": DALLAS, "name": "Dallas"}, {"id": 71001009, "name": "Old", "is_active": False}],
    "variants": [
        {"sku": "DRILL-18V", "title": "Drill", "price": "129.00", "vendor": "K", "inventory_item_id": 501, "stock": {str(CHICAGO): 40, str(DALLAS): 7}},
        {"sku": 'BIT 1/4" \\ x', "title": "Bit", "price": "2.00", "vendor": "K", "inventory_item_id": 502, "stock": {str(CHICAGO): 90}},
        {"sku": "TWIN", "title": "Twin one", "price": "2.00", "vendor": "K", "stock": {str(CHICAGO): 1}},
        {"sku": "twin", "title": "Twin two", "price": "2.00", "vendor": "K", "stock": {str(CHICAGO): 1}},
        {"sku": "NOT-COUNTED", "title": "Service", "price": "2.00", "vendor": "K", "tracked": False, "stock": {str(CHICAGO): 1}},
    ],
    "customers": [{"id": 1, "email": "a@b.example", "default_address": {"address1": "1 St", "city": "X"}}],
    "throttle": {"maximum_available": 20000, "restore_rate": 1000},
}


@dataclass
class InProcess:
    """The HttpPort over a simulator in this process, with the port's own manners about failures."""

    shop: Harness
    before: Callable[[str], None] = lambda _query: None
    sent: list[str] = field(default_factory=list)

    def send(self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None, writes: bool, timeout_seconds: float | None = None) -> Answer:
        given = json.loads(body or b"")
        self.sent.append(given["query"].split()[1].split("(")[0])
        assert writes == given["query"].startswith("mutation")
        self.before(given["query"])
        try:
            answer = self.shop.call(method, url.removeprefix("https://shop.example"), headers=headers, body=body)
        except ConnectionDropped as error:
            raise (UnknownOutcome if writes else RetryLater)("UNKNOWN_OUTCOME", "no answer") from error
        if answer.status == 429 or answer.status >= 500:
            raise (UnknownOutcome if writes and answer.status != 429 else RetryLater)("VENDOR_UNAVAILABLE", str(answer.status))
        return Answer(answer.status, answer.headers, answer.raw())


@pytest.fixture
def http() -> Iterator[InProcess]:
    config = {"vendor": "shopify", "credentials": {"access_token": TOKEN, "shop_domain": "acme.myshopify.com"}, "seed": SEED}
    shop = Harness(Config.read(config), clock=ManualClock())
    yield InProcess(shop)
    shop.close()


def connect(http: Any, *, base_url: str = "https://shop.example", token: str = TOKEN, **settings: str) -> ShopifyConnector:
    return ShopifyConnector(
        ConnectionContext(
            manifest=bootstrap.load_manifest("shopify"),
            tenant="acme",
            connection="storefront",
            base_url=base_url,
            settings=settings,
            credentials=lambda: {"access_token": token} if token else {},
            http=http,
            clock=ManualClock(),
        )
    )


def place(http: InProcess, *lines: tuple[str, int], **changes: Any) -> dict[str, Any]:
    wanted = lines or (("DRILL-18V", 5),)
    made = http.shop.act("place_order", {"customer": {"id": 1}, "lines": [{"sku": sku, "quantity": n} for sku, n in wanted], **changes})
    assert isinstance(made, dict)
    return made


def shipped(order: dict[str, Any], *quantities: int, number: str = "1Z1", shipment_id: str = "threepl-1", notify: bool = True) -> ConfirmShipment:
    lines = tuple((str(line["id"]), Decimal(quantity)) for line, quantity in zip(order["line_items"], quantities, strict=False) if quantity)
    packages = (Package(tracking_number=number, carrier="UPS", tracking_url=f"https://u.example/{number}"),) if number else ()
    return ConfirmShipment(
        order_id=f"storefront-{order['id']}",
        order_external_id=order["admin_graphql_api_id"],
        shipment=Shipment(
            shipment_id=shipment_id,
            connection="threepl",
            external_id="1",
            lines=(ShippedLine(sku="x", quantity=Decimal(1)),),
            packages=packages,
            dispatched_at=datetime(2026, 3, 2, tzinfo=UTC),
        ),
        lines=lines,
        notify_customer=notify,
    )


def cancelling(order: dict[str, Any]) -> CancelOrder:
    return CancelOrder(order_id=f"storefront-{order['id']}", external_id=order["admin_graphql_api_id"], reason="credit refused")


def publishing(available: int | str, *, sku: str = "DRILL-18V", location: int = CHICAGO, sequence: int = 1) -> PublishStock:
    return PublishStock(sku="OURS", storefront_sku=sku, location_code=str(location), available=Decimal(available), sequence=sequence)


def fault(http: InProcess, **spec: Any) -> None:
    http.shop.ctx.faults.add(spec)


def fulfillments(http: InProcess) -> list[Any]:
    found = http.shop.state()["fulfillments"]
    assert isinstance(found, list)
    return found


# ------------------------------------------------------------------ shipments
def test_a_shipment_is_confirmed_with_its_tracking(http: InProcess) -> None:
    order = place(http)
    receipt = connect(http).execute(shipped(order, 3))
    (made,) = fulfillments(http)
    assert receipt.external_id == made["admin_graphql_api_id"] and receipt.number == f"{order['name']}.1" and not receipt.found
    assert made["tracking_numbers"] == ["1Z1"] and made["tracking_company"] == "UPS" and made["line_items"][0]["quantity"] == 3


def test_a_confirmation_whose_answer_was_lost_is_found_and_not_repeated(http: InProcess) -> None:
    order = place(http)
    intent = shipped(order, 3)
    connector = connect(http)
    assert connector.look_up(intent) is None
    fault(http, match="fulfillmentCreate", drop_after_commit=True)
    with pytest.raises(UnknownOutcome):
        connector.execute(intent)
    found = connector.look_up(intent)
    assert found is not None and found.found and found.external_id == fulfillments(http)[0]["admin_graphql_api_id"]
    assert connector.execute(intent).found and len(fulfillments(http)) == 1


def test_two_equal_shipments_are_two_confirmations(http: InProcess) -> None:
    order = place(http)
    connector = connect(http)
    first = connector.execute(shipped(order, 2, number="", shipment_id="erp-1"))
    second = connector.execute(shipped(order, 2, number="", shipment_id="erp-2"))
    assert first.external_id != second.external_id and connector.execute(shipped(order, 2, number="", shipment_id="erp-1")).found


def test_a_confirmation_that_stopped_half_way_is_completed(http: InProcess) -> None:
    order = place(http, ("DRILL-18V", 5), ('BIT 1/4" \\ x', 4))
    connector = connect(http)
    connector.execute(shipped(order, 5, 0))
    intent = shipped(order, 5, 4)
    assert connector.look_up(intent) is None
    connector.execute(intent)
    assert [[line["quantity"] for line in made["line_items"]] for made in fulfillments(http)] == [[5], [4]]
    assert connector.look_up(intent) is not None


def test_an_order_of_many_lines_is_read_page_by_page(http: InProcess) -> None:
    order = place(http, *[("DRILL-18V", 1)] * 130)
    connector = connect(http)
    connector.execute(shipped(order, *[1] * 130))
    assert http.sent.count("CrossdockOpenLines") == 2 and len(fulfillments(http)[0]["line_items"]) == 130
    assert connector.look_up(shipped(order, *[1] * 130)) is not None
    assert http.sent.count("CrossdockFulfilledLines") == 2


def test_the_buyer_is_told_unless_the_connection_or_the_command_says_no(http: InProcess) -> None:
    order = place(http)
    told: list[bool] = []
    original = http.shop.call

    def spy(method: str, target: str, **given: Any) -> Any:
        sent = json.loads(given["body"])
        if "fulfillment" in sent["variables"]:
            told.append(sent["variables"]["fulfillment"]["notifyCustomer"])
        return original(method, target, **given)

    http.shop.call = spy  # type: ignore[method-assign]
    connect(http).execute(shipped(order, 1, number="A"))
    connect(http, notify_customer=" False ").execute(shipped(order, 1, number="B"))
    connect(http).execute(shipped(order, 1, number="C", notify=False))
    assert told == [True, False, False]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda http, order: http.shop.act("cancel_order", {"order": order["id"]}), "VENDOR_REFUSED: order #1001 is cancelled"),
        (lambda http, order: connect(http).execute(shipped(order, 5, number="other")), "VENDOR_REFUSED: order #1001 has not enough left"),
        (lambda http, order: order.update(admin_graphql_api_id="gid://shopify/Order/9"), "NOT_FOUND: "),
    ],
)
def test_a_shipment_that_cannot_be_confirmed_is_refused(http: InProcess, change: Callable[[InProcess, dict[str, Any]], Any], says: str) -> None:
    order = place(http)
    change(http, order)
    with pytest.raises(Rejected, match=f"^{says}"):
        connect(http).execute(shipped(order, 1))


def test_a_refusal_in_the_last_moment_comes_in_the_vendors_words(http: InProcess) -> None:
    order = place(http)

    def meanwhile(query: str) -> None:
        if "mutation" in query:
            http.before = lambda _query: None
            http.shop.act("cancel_order", {"order": order["id"]})

    http.before = meanwhile
    with pytest.raises(Rejected, match="unfulfillable status= closed") as caught:
        connect(http).execute(shipped(order, 1))
    assert caught.value.code == "VENDOR_REFUSED" and caught.value.fields[0].path == "fulfillment"


# ------------------------------------------------------------------ cancellations
def test_an_order_is_cancelled_once_and_its_money_goes_back(http: InProcess) -> None:
    order = place(http)
    connector = connect(http)
    assert connector.look_up(cancelling(order)) is None
    fault(http, match="orderCancel", drop_after_commit=True)
    with pytest.raises(UnknownOutcome):
        connector.execute(cancelling(order))
    found = connector.look_up(cancelling(order))
    assert found is not None and found.found and connector.execute(cancelling(order)).found
    state = http.shop.state()
    assert state["orders"][0]["cancel_reason"] == "other" and len(state["refunds"]) == 1


def test_the_money_stays_when_the_connection_says_so(http: InProcess) -> None:
    connect(http, refund_on_cancel="false").execute(cancelling(place(http)))
    assert http.shop.state()["refunds"] == [] and http.shop.state()["orders"][0]["cancelled_at"]


def test_a_shipped_order_is_not_cancelled(http: InProcess) -> None:
    order = place(http)
    connect(http).execute(shipped(order, 1))
    with pytest.raises(Rejected) as caught:
        connect(http).execute(cancelling(order))
    assert caught.value.code == "ALREADY_SHIPPED"


def test_a_refused_cancellation_comes_in_the_vendors_words() -> None:
    errors = [{"message": "Order has an active return", "field": ["orderId"], "code": "INVALID"}]
    script = Scripted({"orderCancel": {"job": None, "orderCancelUserErrors": errors}}, CANCELLATION_STATE)
    with pytest.raises(Rejected, match="active return"):
        connect(script).execute(cancelling(ORDER))


def test_a_cancellation_that_is_taken_but_not_done_is_an_unknown_outcome() -> None:
    taken = {"orderCancel": {"job": {"id": "gid://shopify/Job/1"}, "orderCancelUserErrors": []}}
    with pytest.raises(UnknownOutcome):
        connect(Scripted(taken, CANCELLATION_STATE)).execute(cancelling(ORDER))
    with pytest.raises(UnknownOutcome):
        connect(Scripted(taken, RetryLater("VENDOR_UNAVAILABLE", "busy"))).execute(cancelling(ORDER))
    with pytest.raises(RetryLater) as caught:
        connect(Scripted(RetryLater("VENDOR_UNAVAILABLE", "busy"))).look_up(cancelling(ORDER))
    assert not isinstance(caught.value, UnknownOutcome)


# ------------------------------------------------------------------ stock
def available(http: InProcess, item: int = 501, location: int = CHICAGO) -> int:
    level = next(level for level in http.shop.state()["inventory_levels"] if (level["inventory_item_id"], level["location_id"]) == (item, location))
    return int(level["available"])


def test_stock_is_published_with_an_idempotency_key_and_only_when_it_differs(http: InProcess) -> None:
    connector = connect(http)
    assert connector.look_up(publishing(31)) is None
    assert not connector.execute(publishing(31)).found and available(http) == 31
    assert connector.execute(publishing(31, sequence=2)).found and http.sent.count("CrossdockSetQuantities") == 1
    found = connector.look_up(publishing(31))
    assert found is not None and found.external_id == "gid://shopify/InventoryItem/501"
    (answer,) = http.shop.state()["idempotent_answers"]
    assert len(answer["key"]) == 36


def test_the_same_publication_after_a_change_there_is_a_new_write(http: InProcess) -> None:
    connector = connect(http)
    connector.execute(publishing(31))
    http.shop.ctx.clock.advance(60)  # type: ignore[attr-defined]
    http.shop.act("set_stock", {"sku": "DRILL-18V", "available": 40})
    connector.execute(publishing(31))
    assert available(http) == 31, "an answer remembered under the old key was taken for a new write"


def test_a_publication_whose_answer_was_lost_is_found(http: InProcess) -> None:
    connector = connect(http)
    fault(http, match={"operation": "inventorySetQuantities"}, drop_after_commit=True)
    with pytest.raises(UnknownOutcome):
        connector.execute(publishing(12))
    assert connector.look_up(publishing(12)) is not None and connector.look_up(publishing(13)) is None


def test_stock_sold_in_between_is_read_again(http: InProcess) -> None:
    sold = iter([39, 38])

    def meanwhile(query: str) -> None:
        if "inventorySetQuantities" in query and (left := next(sold, None)) is not None:
            http.shop.act("set_stock", {"sku": "DRILL-18V", "available": left})

    http.before = meanwhile
    connect(http).execute(publishing(20))
    assert available(http) == 20 and http.sent.count("CrossdockSetQuantities") == 3


def test_stock_that_never_stands_still_is_tried_again_later(http: InProcess) -> None:
    left = iter(range(30, 0, -1))
    http.before = lambda query: http.shop.act("set_stock", {"sku": "DRILL-18V", "available": next(left)}) if "inventorySetQuantities" in query else None
    with pytest.raises(RetryLater) as caught:
        connect(http).execute(publishing(99))
    assert caught.value.code == "VENDOR_UNAVAILABLE" and not isinstance(caught.value, UnknownOutcome)


def test_a_sku_with_quotes_and_spaces_is_found_and_twins_are_told_apart(http: InProcess) -> None:
    connector = connect(http)
    connector.execute(publishing(5, sku='BIT 1/4" \\ x'))
    assert available(http, 502) == 5
    connector.execute(publishing(9, sku="twin"))
    http.shop.simulator.shop.add_variant(type(http.shop.simulator.shop.seed.variants[0])(sku="TWIN", title="third", price=Decimal(1)))  # type: ignore[attr-defined]
    with pytest.raises(Rejected, match="2 variants"):
        connector.execute(publishing(9, sku="TWIN"))


@pytest.mark.parametrize("sku", ["NO-SUCH", "DRILL"])
def test_an_unknown_sku_is_refused(http: InProcess, sku: str) -> None:
    with pytest.raises(Rejected) as caught:
        connect(http).execute(publishing(1, sku=sku))
    assert caught.value.code == "NOT_FOUND"


def test_an_item_the_location_does_not_stock_has_none(http: InProcess) -> None:
    connector = connect(http)
    sku = 'BIT 1/4" \\ x'
    with pytest.raises(Rejected, match="not stocked"):
        connector.execute(publishing(1, sku=sku, location=DALLAS))
    assert connector.execute(publishing("-3", sku=sku, location=DALLAS)).found
    assert connector.look_up(publishing(0, sku=sku, location=DALLAS)) is not None and connector.look_up(publishing(1, sku=sku, location=DALLAS)) is None


@pytest.mark.parametrize(
    ("code", "kind"),
    [("IDEMPOTENCY_CONCURRENT_REQUEST", RetryLater), ("INVALID_LOCATION", Rejected), (None, Rejected)],
)
def test_the_vendors_refusals_of_a_stock_write_are_told_apart(code: str | None, kind: type[CrossdockError]) -> None:
    refused = {"inventorySetQuantities": {"userErrors": [{"message": "no", "code": code, "field": ["input"]}]}}
    with pytest.raises(kind) as caught:
        connect(Scripted(AVAILABLE, refused)).execute(publishing(1))
    assert type(caught.value) is kind


def test_counts_are_read_from_every_active_location_page_by_page(http: InProcess) -> None:
    for number in range(120):
        http.shop.simulator.shop.add_variant(  # type: ignore[attr-defined]
            type(http.shop.simulator.shop.seed.variants[0])(sku=f"V{number}", title="v", price=Decimal(1), stock={str(CHICAGO): number})  # type: ignore[attr-defined]
        )
    place(http)
    readings = connect(http).stock()
    held = {(reading.sku, reading.location): reading.on_hand for reading in readings}
    assert held[("DRILL-18V", str(CHICAGO))] == 40 and held[("DRILL-18V", str(DALLAS))] == 7 and held[("V119", str(CHICAGO))] == 119
    assert ("NOT-COUNTED", str(CHICAGO)) not in held and len(held) == len(readings) == 125
    assert {reading.as_of for reading in readings} == {ManualClock().now()} and http.sent.count("CrossdockOnHand") == 3


# ------------------------------------------------------------------ the endpoint in bad moods
ORDER: dict[str, Any] = {"id": 17, "admin_graphql_api_id": "gid://shopify/Order/17", "name": "#17", "line_items": [{"id": 1}]}
CANCELLATION_STATE = {"order": {"id": "gid://shopify/Order/17", "name": "#17", "cancelledAt": None, "fulfillments": []}}
AVAILABLE = {
    "productVariants": {
        "nodes": [
            {
                "sku": "DRILL-18V",
                "inventoryItem": {
                    "id": "gid://shopify/InventoryItem/5",
                    "tracked": True,
                    "inventoryLevel": {"updatedAt": "2026-03-02T09:00:00Z", "quantities": [{"name": "available", "quantity": 3}]},
                },
            }
        ]
    }
}


class Scripted:
    """Answers in order: data, a whole answer with its status, or an error."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def send(self, method: str, url: str, **_: Any) -> Answer:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, tuple):
            return Answer(answer[0], {}, answer[1] if isinstance(answer[1], bytes) else exact_json.dumps(answer[1]).encode())
        return Answer(200, {}, exact_json.dumps({"data": answer}).encode())


def erring(code: str | None, message: str = "no") -> dict[str, Any]:
    return {"errors": [{"message": message, "extensions": {"code": code} if code else None}]}


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        ((401, {"errors": "[API] Invalid API key"}), NeedsPerson, "NOT_AUTHORISED"),
        ((402, b""), NeedsPerson, "NOT_AUTHORISED"),
        ((423, b"\xff"), NeedsPerson, "NOT_AUTHORISED"),
        ((430, b""), RetryLater, "RATE_LIMITED"),
        ((404, {"errors": "Not Found"}), ContractDrift, "UNEXPECTED_ANSWER"),
        ((301, b""), ContractDrift, "UNEXPECTED_ANSWER"),
        ((200, b"<html>"), ContractDrift, "UNEXPECTED_ANSWER"),
        ((200, {"data": None}), ContractDrift, "UNEXPECTED_ANSWER"),
        ((200, {"errors": "nope"}), ContractDrift, "UNEXPECTED_ANSWER"),
        ((200, erring("THROTTLED")), RetryLater, "RATE_LIMITED"),
        ((200, erring("ACCESS_DENIED")), NeedsPerson, "NOT_AUTHORISED"),
        ((200, erring("INTERNAL_SERVER_ERROR")), RetryLater, "VENDOR_UNAVAILABLE"),
        ((200, erring("undefinedField")), ContractDrift, "UNEXPECTED_ANSWER"),
        ((200, erring(None)), ContractDrift, "UNEXPECTED_ANSWER"),
        ({"order": {"id": 5}}, ContractDrift, "UNEXPECTED_ANSWER"),
        ({"order": None}, Rejected, "NOT_FOUND"),
        ({"order": {**CANCELLATION_STATE["order"], "fulfillments": [{"status": "TELEPORTED"}]}}, ContractDrift, "UNKNOWN_STATUS"),
    ],
)
def test_every_bad_answer_to_a_read_has_its_class(answer: Any, kind: type[CrossdockError], code: str) -> None:
    with pytest.raises(CrossdockError) as caught:
        connect(Scripted(answer)).look_up(cancelling(ORDER))
    assert type(caught.value) is kind and caught.value.code == code


@pytest.mark.parametrize("answer", [(200, erring("INTERNAL_SERVER_ERROR")), (200, b"<html>"), (200, b'{"data": 7}')])
def test_a_write_whose_answer_is_unclear_is_an_unknown_outcome(answer: Any) -> None:
    with pytest.raises(UnknownOutcome):
        connect(Scripted(answer)).execute(cancelling(ORDER))


def test_a_throttled_write_was_not_done_and_waits_as_long_as_the_bucket_needs() -> None:
    cost = {"requestedQueryCost": 335, "throttleStatus": {"currentlyAvailable": 35, "restoreRate": Decimal("100.0")}}
    with pytest.raises(RetryLater) as caught:
        connect(Scripted((200, {**erring("THROTTLED"), "extensions": {"cost": cost}}))).execute(cancelling(ORDER))
    assert caught.value.after_seconds == 4 and not isinstance(caught.value, UnknownOutcome)


def test_a_stock_answer_with_another_number_of_quantities_is_drift() -> None:
    twice = json.loads(json.dumps(AVAILABLE))
    twice["productVariants"]["nodes"][0]["inventoryItem"]["inventoryLevel"]["quantities"] *= 2
    with pytest.raises(ContractDrift):
        connect(Scripted(twice)).execute(publishing(1))


def test_a_fulfillment_that_is_neither_made_nor_refused_is_drift(http: InProcess) -> None:
    order = place(http)
    real = http.send

    class Silent:
        def send(self, method: str, url: str, **given: Any) -> Answer:
            if given["writes"]:
                return Answer(200, {}, b'{"data": {"fulfillmentCreate": {"fulfillment": null, "userErrors": []}}}')
            return real(method, url, **given)

    with pytest.raises(ContractDrift):
        connect(Silent()).execute(shipped(order, 1))


def test_a_connection_without_token_needs_a_person() -> None:
    with pytest.raises(NeedsPerson) as caught:
        connect(Scripted(), token="").look_up(cancelling(ORDER))
    assert caught.value.code == "NOT_AUTHORISED"


def test_what_a_storefront_cannot_do_is_said() -> None:
    connector = connect(Scripted())
    foreign = CancelFulfillment(order_id="o", part_id="p", external_id="e")
    for ask in (
        lambda: connector.execute(foreign),
        lambda: connector.look_up(foreign),
        lambda: connector.poll("customers", None),
        lambda: connector.credit("C1"),
        lambda: connector.prices("C1", []),
        lambda: connector.sales_order_total("x"),
    ):
        with pytest.raises(NeedsPerson) as caught:
            ask()
        assert caught.value.code == "COMMAND_NOT_SUPPORTED"


# ------------------------------------------------------------------ in
def test_a_webhook_of_the_simulated_shop_means_what_was_bought(http: InProcess) -> None:
    order = place(http, ("DRILL-18V", 5), shipping_price="9", tax=[{"rate": "0.07"}])
    body = exact_json.dumps(order).encode()
    translation = connect(http).translate(Delivery(delivery_id="d", connection="storefront", topic="orders/create", body=body, received_at=datetime.now(UTC)))
    fact = translation.occurrences[0].fact
    assert fact.type == "OrderPlaced" and fact.order.computed_total == fact.order.total and fact.order.order_id == f"storefront-{order['id']}"


def test_a_body_too_long_for_its_field_is_refused_with_its_path(http: InProcess) -> None:
    order = place(http)
    order["shipping_address"]["city"] = "x" * 300
    delivery = Delivery(delivery_id="d", connection="storefront", topic="orders/create", body=exact_json.dumps(order).encode(), received_at=datetime.now(UTC))
    with pytest.raises(Rejected) as caught:
        connect(http).translate(delivery)
    assert caught.value.code == "INVALID_BODY" and caught.value.fields


SAMPLES = Path(__file__).parents[3] / "layers/crossdock/python/crossdock/connectors/shopify/samples"


def delivered(topic: str, body: bytes) -> Delivery:
    return Delivery(delivery_id="d", connection="storefront", topic=topic, body=body, received_at=datetime(2026, 3, 2, tzinfo=UTC))


def test_each_topic_means_its_own_fact_at_its_own_time() -> None:
    connector = connect(Scripted())
    found = {}
    for stem, topic in (("orders.create", "orders/create"), ("orders.updated.new_address", "orders/updated"), ("orders.cancelled", "orders/cancelled")):
        (occurrence,) = connector.translate(delivered(topic, (SAMPLES / f"{stem}.json").read_bytes())).occurrences
        found[occurrence.fact.type] = occurrence.occurred_at.strftime("%H:%M")
    assert found == {"OrderPlaced": "09:00", "OrderUpdated": "10:00", "OrderCancelled": "09:10"}


def test_a_topic_is_ignored_by_name_or_it_is_drift() -> None:
    connector = connect(Scripted())
    assert "echo" in str(connector.translate(delivered("fulfillments/create", b"anything")).ignored)
    with pytest.raises(ContractDrift) as caught:
        connector.translate(delivered("app/uninstalled", b"{}"))
    assert caught.value.code == "UNKNOWN_EVENT"


def test_pages_of_locations_and_fulfillment_orders_are_all_read() -> None:
    def page(more: bool) -> dict[str, Any]:
        return {"hasNextPage": more, "endCursor": "c" if more else None}

    def location(number: int, more: bool) -> dict[str, Any]:
        return {"locations": {"nodes": [{"id": f"gid://shopify/Location/{number}", "isActive": True}], "pageInfo": page(more)}}

    none = {"location": {"inventoryLevels": {"nodes": [], "pageInfo": page(False)}}}
    script = Scripted(location(1, True), location(2, False), none, none)
    assert connect(script).stock() == [] and script.answers == []

    def documents(number: int, more: bool) -> dict[str, Any]:
        line = {"id": f"gid://shopify/FulfillmentOrderLineItem/{number}", "remainingQuantity": 1, "lineItem": {"id": "gid://shopify/LineItem/1"}}
        node = {"id": f"gid://shopify/FulfillmentOrder/{number}", "status": "OPEN", "assignedLocation": {"location": None}, "lineItems": {"nodes": [line], "pageInfo": page(False)}}
        return {"order": {**CANCELLATION_STATE["order"], "fulfillmentOrders": {"nodes": [node], "pageInfo": page(more)}}}

    made = {"fulfillmentCreate": {"fulfillment": {"id": "gid://shopify/Fulfillment/3", "name": "#17.1"}, "userErrors": []}}
    script = Scripted(documents(1, True), documents(2, False), made)
    assert connect(script).execute(shipped(ORDER, 2)).external_id == "gid://shopify/Fulfillment/3" and script.answers == []


# ------------------------------------------------------------------ snapshots
def test_a_snapshot_gives_every_location_and_article_once_page_by_page(http: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "STOCK_PAGE", 2)
    connector, found, cursor = connect(http), [], None
    for _ in range(20):
        page = connector.snapshot("shown", cursor)
        assert len(page.readings) <= 2
        found += page.readings
        cursor = page.cursor
        if cursor is None:
            break
    assert sorted((reading.sku, reading.location, int(reading.on_hand)) for reading in found) == [
        ('BIT 1/4" \\ x', str(CHICAGO), 90),
        ("DRILL-18V", str(CHICAGO), 40),
        ("DRILL-18V", str(DALLAS), 7),
        ("TWIN", str(CHICAGO), 1),
        ("twin", str(CHICAGO), 1),
    ]
    assert http.sent.count("CrossdockLocations") == 1, "the cursor knows the locations"


def test_a_price_list_is_read_page_by_page(http: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "STOCK_PAGE", 2)
    first = connect(http).snapshot("list_prices", None)
    assert len(first.prices) == 2 and first.cursor is not None
    second = connect(http).snapshot("list_prices", first.cursor)
    assert {price.sku for price in (*first.prices, *second.prices)} >= {"DRILL-18V", "TWIN"}


def test_an_order_of_a_snapshot_is_fetched_as_the_poll_would_bring_it(http: InProcess) -> None:
    order = place(http)
    connector = connect(http)
    [changed] = connector.snapshot("orders", "2020-01-01T00:00:00Z").orders
    assert changed.external_id == str(order["id"])
    item = connector.placed(changed.external_id)
    delivery = Delivery(delivery_id="d-1", connection="storefront", topic=item.topic, body=item.body, received_at=datetime(2026, 3, 2, 9, tzinfo=UTC))
    assert connector.translate(delivery).occurrences[0].fact.type == "OrderPlaced"
    assert item.key == f"{changed.external_id}@{rfc3339(changed.changed_at)}", "the poll's own key: one delivery, whoever brings it"
    with pytest.raises(Rejected):
        connector.placed("17")


def test_only_what_a_storefront_holds_can_be_looked_through(http: InProcess) -> None:
    for ask in (lambda: connect(http).snapshot("customers", None), lambda: connect(http).snapshot("orders", None), lambda: connect(http).sales_order("x")):
        with pytest.raises(NeedsPerson, match="cannot be asked"):
            ask()


# ------------------------------------------------------------------ over a real socket
def test_over_http_a_lost_answer_is_looked_up_and_a_busy_shop_is_waited_for() -> None:
    config = {"vendor": "shopify", "credentials": {"access_token": TOKEN, "shop_domain": "acme.myshopify.com"}, "seed": SEED}
    with Served(Config.read(config)) as served:
        http = InProcess(served.harness)
        connector = connect(OutboundHttp(hosts=["127.0.0.1"], name="storefront"), base_url=served.url)
        order = place(http)
        intent = shipped(order, 2)
        fault(http, match="fulfillmentCreate", drop_after_commit=True)
        with pytest.raises(UnknownOutcome):
            connector.execute(intent)
        assert connector.look_up(intent) is not None and len(fulfillments(http)) == 1
        fault(http, match="CrossdockFulfilment", status=429, headers={"retry-after": "7"})
        with pytest.raises(RetryLater) as caught:
            connector.look_up(intent)
        assert caught.value.after_seconds == 7
        fault(http, match="inventorySetQuantities", status=500)
        with pytest.raises(UnknownOutcome):
            connector.execute(publishing(3))
        assert connector.look_up(publishing(3)) is None and not connector.execute(publishing(3)).found
