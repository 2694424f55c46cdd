"""Does every route of /v1 answer what its contract says, exactly, and refuse with the path of what is wrong?"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from crossdock import openapi, v1
from crossdock.domain.errors import Rejected
from crossdock.domain.events import PriceChanged
from crossdock.domain.money import Money
from crossdock.domain.order_record import BookedLine, BookedShipment, OrderStatus
from crossdock.domain.price import Price
from crossdock.domain.quantity import Quantity
from crossdock.domain.return_ import Return, ReturnLine
from crossdock.domain.return_record import ReturnRecord, ReturnStatus
from crossdock.domain.shipment import Package, Shipment, ShippedLine
from crossdock.flows import prices
from tests.fakes import START
from tests.flows.world import event as told
from tests.functions.tenant import ORDER_ID, Tenant, event

ORDER: dict[str, Any] = {
    "external_id": "P-1",
    "currency": "USD",
    "account": "C10010",
    "ship_to": {"name": "Nora Whitfield", "line1": "480 Foundry Street", "city": "Rockford", "region": "IL", "postal_code": "61101", "country": "US"},
    "lines": [{"sku": "AC-VLV-075", "quantity": "2", "unit_price": "18.75", "tax": "2.34"}],
}


Answer = tuple[int, Any, dict[str, str]]


def call(tenant: Tenant, method: str, path: str, body: Any = None, *, query: dict[str, str] | None = None, headers: dict[str, str] | None = None) -> Answer:
    """(status, document, headers) of a call as the gateway hands it on. A number with a point in an answer is a mistake."""
    given = event("serve_api/health")
    text = body if isinstance(body, str) or body is None else json.dumps(body)
    made = {
        **given,
        "httpMethod": method,
        "path": f"/v1/{path}",
        "pathParameters": {"proxy": path},
        "body": text,
        "queryStringParameters": query,
        "headers": {"x-api-key": "example", **(headers or {})},
    }
    answer = tenant.run("serve_api", made)
    assert answer["headers"]["X-Correlation-Id"] == given["requestContext"]["requestId"]
    document = json.loads(answer["body"], parse_float=str if path == "openapi.json" else _no_float, parse_constant=_no_float)  # a schema may write its bounds so
    if answer["statusCode"] >= 400:
        assert answer["headers"]["Content-Type"] == "application/problem+json"
        assert {"type", "title", "status", "detail", "correlation_id"} <= document.keys()
        assert document["status"] == answer["statusCode"]
    return answer["statusCode"], document, answer["headers"]


def _no_float(text: str) -> Any:
    raise AssertionError(f"{text} is a binary float to most readers")


def submit(tenant: Tenant, body: Any = None, *, key: str | None = "k-1", **headers: str) -> Answer:
    if key is not None:
        headers["Idempotency-Key"] = key
    return call(tenant, "POST", "orders", ORDER if body is None else body, headers=headers)


def changed(**updates: Any) -> dict[str, Any]:
    return {**ORDER, **updates}


def line(**updates: Any) -> dict[str, Any]:
    return changed(lines=[{**ORDER["lines"][0], **updates}])


def paths(problem: dict[str, Any]) -> list[str]:
    return [field["path"] for field in problem["errors"]]


def inbound(tenant: Tenant) -> list[str]:
    return [json.loads(message["Body"])["delivery_id"] for message in tenant.account.messages(tenant.account.settings.inbound_queue_url)]


# ------------------------------------------------------------------ submitting
def test_an_order_is_accepted_stored_and_queued(tenant: Tenant) -> None:
    status, document, headers = submit(tenant)

    assert (status, document["status"], document["order_id"]) == (202, "accepted", "direct-P-1")
    assert headers["Location"] == "/v1/orders/direct-P-1"
    assert inbound(tenant) == [document["delivery_id"]]
    assert json.loads(tenant.services.deliveries.load(document["delivery_id"]).body) == ORDER


def test_an_accepted_order_becomes_one(tenant: Tenant) -> None:
    from crossdock.domain.messages import work_body
    from tests.functions.tenant import batch

    _, document, _ = submit(tenant)
    tenant.run("translate_delivery", batch(json.dumps({"delivery_id": document["delivery_id"]})))
    tenant.run("apply_event", batch(*(work_body(fact) for fact in tenant.facts(document["delivery_id"]))))

    status, order, _ = call(tenant, "GET", "orders/direct-P-1")
    assert (status, order["status"], order["account"], order["source"]) == (200, "accepted", "C10010", "direct")
    assert order["total"] == {"amount": "39.84", "currency": "USD"}
    assert order["lines"][0]["quantity"] == {"value": "2", "unit": "EA"}


def test_the_same_key_and_body_answer_the_same_and_are_queued_once(tenant: Tenant) -> None:
    answers = [submit(tenant) for _ in range(3)]

    assert answers[0] == answers[1] == answers[2]
    assert len(inbound(tenant)) == 1


def test_another_body_under_the_same_key_is_a_conflict_and_leaves_the_first(tenant: Tenant) -> None:
    _, document, _ = submit(tenant)

    status, problem, _ = submit(tenant, changed(external_id="P-2"))

    assert (status, problem["code"]) == (409, "IDEMPOTENCY_KEY_REUSED")
    assert json.loads(tenant.services.deliveries.load(document["delivery_id"]).body) == ORDER


def test_keys_of_two_clients_do_not_meet(tenant: Tenant) -> None:
    first, second = submit(tenant), submit(tenant, changed(external_id="P-2"), **{"x-api-key": "another"})

    assert (first[0], second[0]) == (202, 202)
    assert first[1]["delivery_id"] != second[1]["delivery_id"]


def test_an_order_needs_a_key_that_can_be_remembered(tenant: Tenant) -> None:
    for key in (None, "", " ", "two words", "é", "x" * 201, "a\n", "tab\t"):
        status, problem, _ = submit(tenant, key=key)
        assert (status, problem["code"]) == (400, "IDEMPOTENCY_KEY_MISSING"), key
    assert inbound(tenant) == []


def test_any_printable_key_of_up_to_two_hundred_characters_is_taken(tenant: Tenant) -> None:
    keys = ("a", "x" * 200, "!~", "3f2a-77/b+c=")

    assert [submit(tenant, key=key)[0] for key in keys] == [202] * len(keys)


# ------------------------------------------------------------------ refusing
@pytest.mark.parametrize(
    ("body", "status", "where"),
    [
        ("", 400, None),
        ("{", 400, ["(body)"]),
        ("[]", 400, ["(body)"]),
        ('{"a": 1, "a": 2}', 400, ["(body)"]),
        (json.dumps(ORDER).replace('"18.75"', "NaN"), 400, ["(body)"]),
        (changed(currency="usd"), 400, ["currency"]),
        (changed(coupon="SAVE"), 400, ["coupon"]),
        (changed(lines=[]), 400, ["lines"]),
        (line(quantity="0"), 400, ["lines.0.quantity"]),
        (line(quantity="-1"), 400, ["lines.0.quantity"]),
        (line(unit_price="1.1234567"), 400, ["lines.0.unit_price"]),
        (line(unit_price="Infinity"), 400, ["lines.0.unit_price"]),
        (line(quantity=True), 400, ["lines.0.quantity"]),
        (line(quantity="123456789012.123456", unit_price="123456789012.123456"), 400, ["lines.0.quantity"]),
        (changed(placed_at="yesterday"), 400, ["placed_at"]),
        (line(sku="NO-SUCH-SKU"), 422, ["lines.0.sku"]),
        (line(unit="BX"), 422, ["lines.0.unit"]),
        (changed(account="C99999"), 422, ["account"]),
        (changed(account="C99999", lines=[ORDER["lines"][0], {**ORDER["lines"][0], "sku": "X", "unit": "BX"}]), 422, ["account", "lines.1.sku", "lines.1.unit"]),
    ],
    ids=lambda value: None if isinstance(value, int | list) else str(value)[:40],
)
def test_a_body_that_cannot_be_taken_is_refused_with_every_path_and_kept(body: Any, status: int, where: list[str] | None, tenant: Tenant) -> None:
    found, problem, _ = submit(tenant, body)

    assert found == status
    assert problem["code"] == ("INVALID_BODY" if status == 400 else "MISSING_XREF")
    assert inbound(tenant) == []
    if where is not None:
        assert paths(problem) == where
        raw = (body if isinstance(body, str) else json.dumps(body)).encode()
        kept, metadata = tenant.services.archive.get(f"deliveries/refused/{hashlib.sha256(raw).hexdigest()}")
        assert kept == raw
        assert metadata["client"] == hashlib.sha256(b"example").hexdigest()[:12]


def test_a_refused_key_may_be_used_for_the_corrected_body(tenant: Tenant) -> None:
    assert submit(tenant, changed(currency="usd"))[0] == 400
    assert submit(tenant)[0] == 202


def test_a_body_that_is_too_large_is_refused(tenant: Tenant) -> None:
    limit = tenant.services.spec.limits.webhook_bytes
    text = json.dumps(changed(note="x" * 500))

    assert submit(tenant, text + " " * (limit - len(text)))[0] == 202
    status, problem, _ = submit(tenant, text + " " * (limit - len(text) + 1), key="k-2")
    assert (status, problem["title"]) == (413, "Too large")


def test_an_encoding_that_cannot_be_read_is_refused(tenant: Tenant) -> None:
    given = {**event("serve_api/submit_order"), "body": "no base64!", "isBase64Encoded": True}

    assert tenant.run("serve_api", given)["statusCode"] == 400
    assert tenant.run("serve_api", {**given, "body": "\ud83d", "isBase64Encoded": False})["statusCode"] == 400


def test_prices_are_taken_to_the_last_digit(tenant: Tenant) -> None:
    text = json.dumps(ORDER).replace('"18.75"', "0.1").replace('"2"', "3").replace('"2.34"', "0")

    _, document, _ = submit(tenant, text)

    (fact,) = tenant.facts(document["delivery_id"])
    assert fact.fact.order.total.amount == Decimal("0.3")  # type: ignore[union-attr]


# ------------------------------------------------------------------ reading
def test_an_order_its_timeline_and_its_place_in_the_list(tenant: Tenant) -> None:
    tenant.place()

    status, order, _ = call(tenant, "GET", f"orders/{ORDER_ID}")
    assert (status, order["order_id"], order["total"]) == (200, ORDER_ID, {"amount": "111.56", "currency": "USD"})
    status, timeline, _ = call(tenant, "GET", f"orders/{ORDER_ID}/timeline")
    assert (status, timeline["order_id"], timeline["chain"]["whole"]) == (200, ORDER_ID, True)
    assert [entry["action"] for entry in timeline["entries"]] == ["OrderPlaced"]
    status, listed, _ = call(tenant, "GET", "orders")
    assert [found["order_id"] for found in listed["orders"]] == [ORDER_ID]


def test_a_status_is_found_behind_many_newer_orders_of_another(tenant: Tenant) -> None:
    tenant.place()
    first = tenant.services.orders.get(ORDER_ID)
    assert first is not None
    for number in range(8):
        newer = first.model_copy(update={"order_id": f"storefront-{number}", "status": OrderStatus.HELD, "accepted_at": tenant.services.clock.now()})
        tenant.services.orders.add(newer)

    _, listed, _ = call(tenant, "GET", "orders", query={"status": "accepted", "limit": "3"})
    assert [found["order_id"] for found in listed["orders"]] == [ORDER_ID]
    _, listed, _ = call(tenant, "GET", "orders", query={"limit": "3"})
    assert [found["order_id"] for found in listed["orders"]] == ["storefront-7", "storefront-6", "storefront-5"]
    _, listed, _ = call(tenant, "GET", "orders", query={"status": "completed"})
    assert listed["orders"] == []


def test_stock_is_told_by_place_and_in_all(tenant: Tenant) -> None:
    tenant.stock(100)

    status, found, _ = call(tenant, "GET", "inventory/AC-BRG-6204")
    assert (status, found["available"], found["locations"][0]["location"], found["locations"][0]["on_hand"]) == (200, "76", "CHI", "100")
    status, found, _ = call(tenant, "GET", "inventory/AC-PMP-200")
    assert (status, found) == (200, {"sku": "AC-PMP-200", "available": "0", "locations": [], "channels": []})


REPORTED = {"reports": [{"sku": "AC-TAP-PTF", "location": "WHS", "at": "2026-03-02T08:58:30Z", "change": "-12", "adjustment_id": "W-1", "reason": "damaged"}]}


def report(tenant: Tenant, body: Any, *, key: str = "s-1") -> Answer:
    return call(tenant, "POST", "inventory", body, headers={"Idempotency-Key": key})


@pytest.fixture
def counting(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> Tenant:
    """The tenant with a warehouse that reports its stock through /v1."""
    place = tenant.services.spec.locations["CHI"]
    codes = {**place.codes, "direct": "WHS"}
    monkeypatch.setitem(tenant.services.spec.locations, "CHI", place.model_copy(update={"stock_from": "direct", "codes": codes}))
    return tenant


def test_a_stock_report_is_taken_once_per_key(counting: Tenant) -> None:
    first, again = report(counting, REPORTED), report(counting, REPORTED)
    assert first[0] == again[0] == 202
    assert first[1] == again[1] == {"delivery_id": first[1]["delivery_id"], "reports": 1, "status": "accepted"}
    assert report(counting, {"reports": [{**REPORTED["reports"][0], "change": "-13"}]})[1]["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert report(counting, REPORTED, key="")[1]["code"] == "IDEMPOTENCY_KEY_MISSING"


def test_a_report_names_what_is_wrong_with_it(counting: Tenant) -> None:
    assert report(counting, "", key="e")[1]["code"] == "INVALID_BODY"
    status, problem, _ = report(counting, {"reports": [{**REPORTED["reports"][0], "sku": "NOBODY", "location": "MOON"}]})
    assert (status, [entry["path"] for entry in problem["errors"]]) == (422, ["reports.0.sku", "reports.0.location"])
    assert report(counting, "[" * 2_000_000)[0] == 413


def test_a_report_on_stock_that_another_system_owns_is_refused_and_on_record(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tenant.services.spec.locations["CHI"]
    monkeypatch.setitem(tenant.services.spec.locations, "CHI", place.model_copy(update={"codes": {**place.codes, "direct": "WHS"}}))
    status, problem, _ = report(tenant, REPORTED)
    assert (status, problem["code"], problem["errors"][0]["path"]) == (409, "NOT_SYSTEM_OF_RECORD", "reports.0.location")
    assert tenant.services.audit.entries("inventory")[-1].action == "WriteRefused"


PRICED = {"prices": [{"sku": "AC-TAP-PTF", "amount": "1.95", "currency": "USD", "as_of": "2026-03-02T08:58:30Z", "requested_by": "ines"}]}
ACCOUNTS = {"accounts": [{"account": "C10010", "name": "Calder", "credit_limit": {"amount": "9000", "currency": "USD"}, "as_of": "2026-03-02T08:58:30Z"}]}


@pytest.fixture
def owning(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> Tenant:
    """The tenant whose own clients are the system of record for prices and customers."""
    for domain in ("prices", "customers"):
        monkeypatch.setitem(tenant.services.spec.systems_of_record, domain, "direct")  # type: ignore[arg-type]
    return tenant


@pytest.mark.parametrize(("path", "body", "name"), [("prices", PRICED, "prices"), ("customers", ACCOUNTS, "accounts")])
def test_a_report_of_its_owner_is_taken_once_per_key(owning: Tenant, path: str, body: dict[str, Any], name: str) -> None:
    def sent() -> Answer:
        return call(owning, "POST", path, body, headers={"Idempotency-Key": "k-1"})

    first, again = sent(), sent()
    assert first[0] == again[0] == 202
    assert first[1] == again[1] == {"delivery_id": first[1]["delivery_id"], name: 1, "status": "accepted"}
    assert call(owning, "POST", path, body)[1]["code"] == "IDEMPOTENCY_KEY_MISSING"
    assert call(owning, "POST", path, "", headers={"Idempotency-Key": "k-2"})[1]["code"] == "INVALID_BODY"


@pytest.mark.parametrize(("path", "body", "name"), [("prices", PRICED, "prices"), ("customers", ACCOUNTS, "accounts")])
def test_a_report_on_what_another_system_owns_is_refused_and_on_record(tenant: Tenant, path: str, body: dict[str, Any], name: str) -> None:
    status, problem, _ = call(tenant, "POST", path, body, headers={"Idempotency-Key": "k-1"})
    assert (status, problem["code"], problem["errors"][0]["path"]) == (409, "NOT_SYSTEM_OF_RECORD", f"{name}.0")
    assert tenant.services.audit.entries(name)[-1].action == "WriteRefused"


def test_a_price_of_what_nobody_knows_is_refused_by_its_path(owning: Tenant) -> None:
    owning.services.spec.systems_of_record["customers"] = "erp"
    wrong = {"prices": [{**PRICED["prices"][0], "sku": "NOBODY", "unit": "BARREL", "account": "C9"}]}
    status, problem, _ = call(owning, "POST", "prices", wrong, headers={"Idempotency-Key": "k-1"})
    assert (status, [entry["path"] for entry in problem["errors"]]) == (422, ["prices.0.sku", "prices.0.unit", "prices.0.account"])


def test_the_owner_of_customers_names_accounts_that_nobody_knew(owning: Tenant) -> None:
    new = {"accounts": [{**ACCOUNTS["accounts"][0], "account": "C77777"}]}
    assert call(owning, "POST", "customers", new, headers={"Idempotency-Key": "k-1"})[0] == 202


def test_a_price_is_told_with_what_counts_and_what_waits(owning: Tenant) -> None:
    assert call(owning, "GET", "prices/NOBODY")[0] == 404
    status, found, _ = call(owning, "GET", "prices/AC-TAP-PTF")
    assert (status, found["list_price"], found["prices"]) == (200, None, [])
    for amount, minute in (("2", 1), ("3", 2)):
        fact = PriceChanged(price=Price(sku="AC-TAP-PTF", unit="EA", price=Money.of(amount, "USD")), as_of=START + timedelta(minutes=minute), requested_by="ines")
        prices.changed(told("direct", fact), fact, owning.services)
    _, found, _ = call(owning, "GET", "prices/AC-TAP-PTF")
    assert (found["list_price"], found["stale"]) == ({"amount": "2", "currency": "USD"}, True)
    assert found["prices"][0]["waits_for_approval"]["value"]["price"] == {"amount": "3", "currency": "USD"}
    assert [entry["action"] for entry in found["entries"]][:2] == ["PriceChanged", "PriceChangeProposed"]


def test_a_sku_with_a_slash_or_a_space_can_be_asked_for(tenant: Tenant) -> None:
    assert call(tenant, "GET", "inventory/M10/40 A2")[1]["detail"] == "There is no SKU M10/40 A2."


def test_a_shipment_is_found_by_its_id(tenant: Tenant) -> None:
    tenant.reserve()
    shipment = Shipment(
        shipment_id="erp-102033 A",
        connection="erp",
        external_id="102033",
        lines=(ShippedLine(sku="AC-BRG-6204", quantity=Decimal(10)),),
        packages=(Package(tracking_number="1Z"),),
        dispatched_at=tenant.services.clock.now(),
    )
    booked = BookedShipment(shipment=shipment, part_id=f"{ORDER_ID}.1", location="CHI", lines=(BookedLine(line_id="1", quantity=Decimal(10)),))
    tenant.services.orders.change(ORDER_ID, lambda current: current.model_copy(update={"shipments": (booked,)}))
    tenant.services.orders.refer("shipment", "erp-102033 A", ORDER_ID)

    status, found, _ = call(tenant, "GET", "shipments/erp-102033 A")

    assert (status, found["order_id"], found["lines"], found["packages"][0]["tracking_number"]) == (200, ORDER_ID, [{"line_id": "1", "quantity": "10"}], "1Z")


def test_exceptions_are_told_open_or_resolved(tenant: Tenant) -> None:
    from crossdock.flows import raise_exception

    tenant.run("deliver_command", event("deliver_command/unknown_order"))

    (found,) = call(tenant, "GET", "exceptions")[1]["exceptions"]
    assert (found["code"], found["status"]) == ("ORDER_UNKNOWN", "open")
    assert call(tenant, "GET", "exceptions", query={"status": "resolved"})[1]["exceptions"] == []
    raise_exception.close(found["exception_id"], actor="ana", note="gone", services=tenant.services)
    assert call(tenant, "GET", "exceptions", query={"status": "open"})[1]["exceptions"] == []
    assert len(call(tenant, "GET", "exceptions", query={"status": "resolved"})[1]["exceptions"]) == 1


def test_health_names_the_tenant_and_what_is_open(tenant: Tenant) -> None:
    tenant.run("deliver_command", event("deliver_command/unknown_order"))

    status, found, _ = call(tenant, "GET", "health")

    assert (status, found["status"], found["tenant"], found["open_exceptions"]) == (200, "ok", "acme_industrial", 1)


def test_the_contract_is_served_under_the_partners_name(tenant: Tenant) -> None:
    status, found, _ = call(tenant, "GET", "openapi.json")

    assert status == 200
    assert found["info"]["title"] == f"{tenant.services.spec.branding.product_name} API"
    assert found == json.loads(json.dumps(openapi.document(title=tenant.services.spec.branding.product_name)), parse_float=str)


# ------------------------------------------------------------------ refusing to read
NOWHERE = ["orders/storefront-404", "orders/storefront-404/timeline", "inventory/NO-SUCH", "shipments/404", "nothing", "", "orders/a/b", "orders/\n", "orders\n", "ORDERS"]


def test_what_is_not_there_is_not_found(tenant: Tenant) -> None:
    assert {path: call(tenant, "GET", path)[0] for path in NOWHERE} == dict.fromkeys(NOWHERE, 404)


OTHER_METHODS = [
    ("PUT", "orders", "GET, POST"),
    ("DELETE", "orders/storefront-1", "GET"),
    ("POST", "health", "GET"),
    ("HEAD", "openapi.json", "GET"),
    ("PATCH", "inventory/X", "GET"),
]


def test_a_method_that_is_not_offered_names_those_that_are(tenant: Tenant) -> None:
    for method, path, allowed in OTHER_METHODS:
        status, _, headers = call(tenant, method, path)
        assert (status, headers["Allow"]) == (405, allowed), path


@pytest.mark.parametrize("path", ["orders", "exceptions"])
def test_a_parameter_that_means_nothing_is_refused_with_its_name(path: str, tenant: Tenant) -> None:
    wrong = [("limit", value) for value in ("0", "501", "-1", "ten", "1.5", "", "٣", "9" * 5000, "1\n")] + [("status", "lost"), ("status", "")]
    for name, value in wrong:
        status, problem, _ = call(tenant, "GET", path, query={name: value})
        assert (status, problem["code"], paths(problem)) == (400, "INVALID_PARAMETER", [name]), value


def test_a_failure_of_ours_is_no_stack_trace(tenant: Tenant) -> None:
    tenant.place()
    tenant.account.clients.dynamodb.delete_table(TableName="state")

    status, problem, _ = call(tenant, "GET", "orders")

    assert (status, problem["title"]) == (500, "Unexpected")
    assert "ResourceNotFound" not in json.dumps(problem)
    (line,) = tenant.logged("call failed unexpectedly")
    assert line["failure"][0]["operation"] == "Query"


def test_a_store_that_is_busy_asks_for_another_try(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    from crossdock.aws.orders import DynamoOrders
    from crossdock.domain.errors import RetryLater

    def busy(self: DynamoOrders, order_id: str) -> None:
        raise RetryLater("STORE_BUSY", "the state table did not answer all reads", after_seconds=3)

    monkeypatch.setattr(DynamoOrders, "get", busy)
    status, problem, headers = call(tenant, "GET", "orders/storefront-1")

    assert (status, problem["code"], headers["Retry-After"]) == (503, "STORE_BUSY", "3")


# ------------------------------------------------------------------ the contract
def test_the_routes_are_the_contracts() -> None:
    """The published document names exactly what is served."""
    offered = {(method, re.sub(r"\([^)]*\)", "{}", json.loads(pattern)).strip("^$").replace("\\.", ".")) for method, pattern in v1.routes()}
    published = {(method.upper(), re.sub(r"\{[^}]*\}", "{}", path)) for path, methods in openapi.document()["paths"].items() for method in methods}

    assert offered == published


def test_a_tenant_that_takes_no_orders_here_says_so(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = tenant.services.spec
    without = spec.model_copy(update={"connections": {name: each for name, each in spec.connections.items() if name != "direct"}})
    monkeypatch.setattr("crossdock.bootstrap.deployed_spec", lambda: without)

    assert submit(tenant)[0] == 404


def test_an_error_without_a_place_of_its_own_is_the_callers(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise Rejected("VENDOR_REFUSED", "no")

    monkeypatch.setattr("crossdock.v1.receive.submit", refuse)
    assert submit(tenant)[0] == 400


# ------------------------------------------------------------------ what comes back, and who buys

RETURN: dict[str, Any] = {"external_id": "r-1", "order_id": ORDER_ID, "lines": [{"sku": "AC-BRG-6204", "quantity": "2", "reason": "too many"}]}
RMA = "RMA-direct-r-1"


def post(tenant: Tenant, path: str, body: Any, *, key: str = "k-r") -> Answer:
    return call(tenant, "POST", path, body, headers={"Idempotency-Key": key})


def a_return(tenant: Tenant) -> None:
    now = tenant.services.clock.now()
    asked = Return(
        return_id=RMA,
        connection="direct",
        external_id="r-1",
        number="r-1",
        order_id=ORDER_ID,
        requested_at=now,
        lines=(ReturnLine(sku="AC-BRG-6204", quantity=Quantity.of(2, "EA")),),
    )
    record = ReturnRecord(return_id=RMA, status=ReturnStatus.REQUESTED, request=asked, order_id=ORDER_ID, source="direct", storefront="storefront", accepted_at=now, updated_at=now)
    assert tenant.services.returns.add(record)


def test_a_return_is_taken_once_and_named(tenant: Tenant) -> None:
    tenant.reserve()

    status, found, headers = post(tenant, "returns", RETURN)

    assert (status, found["return_id"], headers["Location"]) == (202, RMA, f"/v1/returns/{RMA}")
    assert post(tenant, "returns", RETURN)[1] == found
    assert post(tenant, "returns", {**RETURN, "note": "another"})[0] == 409


def test_a_return_names_every_field_that_is_not_known(tenant: Tenant) -> None:
    wrong = {
        **RETURN,
        "order_id": "nothing",
        "lines": [{"sku": "NO", "quantity": 1, "unit": "XX"}],
        "exchange": [{"sku": "NEITHER", "quantity": 1, "unit_price": 1}],
        "currency": "USD",
    }

    status, problem, _ = post(tenant, "returns", wrong)

    assert (status, paths(problem)) == (422, ["lines.0.sku", "lines.0.unit", "exchange.0.sku", "order_id"])
    assert post(tenant, "returns", "")[0] == 400
    assert call(tenant, "POST", "returns", RETURN)[0] == 400, "without an Idempotency-Key nothing is taken"
    assert post(tenant, "returns", {"lines": []})[0] == 400


def test_returns_are_listed_and_shown_with_what_happened(tenant: Tenant) -> None:
    a_return(tenant)
    tenant.services.audit.append(RMA, actor="direct", action="ReturnRequested", summary="asked", at=tenant.services.clock.now())

    assert [each["return_id"] for each in call(tenant, "GET", "returns")[1]["returns"]] == [RMA]
    assert call(tenant, "GET", "returns", query={"status": "closed"})[1]["returns"] == []
    status, found, _ = call(tenant, "GET", f"returns/{RMA}")
    assert (status, found["status"], found["entries"][0]["action"], found["chain"]["whole"]) == (200, "requested", "ReturnRequested", True)
    assert call(tenant, "GET", "returns/RMA-other")[0] == 404


def test_a_receipt_is_taken_for_a_return_that_is_there(tenant: Tenant) -> None:
    came = {"receipt_id": "dock-1", "lines": [{"sku": "AC-BRG-6204", "quantity": "2", "disposition": "restock"}]}
    assert post(tenant, f"returns/{RMA}/receipts", came)[0] == 404
    a_return(tenant)

    assert post(tenant, f"returns/{RMA}/receipts", came)[0] == 202

    status, problem, _ = post(tenant, f"returns/{RMA}/receipts", {**came, "lines": [{"sku": "AC-BRG-6204", "quantity": "2", "disposition": "eaten"}]}, key="k-2")
    assert (status, paths(problem)) == (400, ["receipt.lines.0.disposition"])
    assert post(tenant, f"returns/{RMA}/receipts", "", key="k-3")[0] == 400
    assert post(tenant, f"returns/{RMA}/receipts", '{"receipt_id": "x"}, "return_id": "RMA-direct-other"', key="k-4")[0] == 400, "a body cannot address another return"
    assert call(tenant, "POST", f"returns/{RMA}/receipts", came)[0] == 400


def test_a_customer_is_shown_with_its_names_and_where_it_is_missing(tenant: Tenant) -> None:
    status, found, _ = call(tenant, "GET", "customers/C10040")

    assert (status, found["known_as"], found["missing_in"], found["status"]) == (200, {"direct": ["C10040"]}, ["storefront"], "partial")
    assert call(tenant, "GET", "customers/C99999")[0] == 404
