"""What do the two open doors, the webhooks and /v1, make of whatever is sent to them? The real handlers, over AWS as moto plays it.

The property: never a 5xx; nothing stored of what is not authentic; and of what is, either it goes its way or a person finds it by a field path.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossdock import bootstrap, intake
from crossdock.domain.delivery import DeliveryStatus
from crossdock.domain.tenant import TenantSpec
from crossdock.domain.webhook import WebhookContract
from crossdock.flows.balance import balance
from infra.tenant_files import load as load_tenant
from tests.functions.tenant import ROOT, Tenant, running
from tests.fuzz import hostile

TENANTS = sorted(path.stem for path in (ROOT / "tenants").glob("[!_]*.yaml"))
KEY = base64.b64encode(b"thirty-two bytes of a test secret").decode()
ORDER = json.loads((ROOT / "layers/crossdock/python/crossdock/connectors/direct/samples/orders.submit.json").read_text(encoding="utf-8"))
_numbers = itertools.count(1)


def contracts(spec: TenantSpec) -> dict[str, WebhookContract]:
    found = {name: bootstrap.load_manifest(connection.connector).webhooks for name, connection in spec.connections.items()}
    return {name: contract for name, contract in found.items() if contract is not None}


SPECS = {name: load_tenant(name, ROOT) for name in TENANTS}
HOOKS = [(tenant, connection) for tenant in TENANTS for connection in contracts(SPECS[tenant])]


@dataclass
class Door:
    """One connection's webhook of one tenant."""

    tenant: Tenant
    connection: str
    contract: WebhookContract
    topic: str

    def headers(self, body: bytes, **more: str) -> dict[str, str]:
        """What the vendor would send with this body, rightly signed."""
        number, scheme = f"fuzz-{next(_numbers)}", self.contract.signature
        found = {self.contract.topic_header or "x-topic": self.topic}
        if self.contract.delivery_id_header:
            found[self.contract.delivery_id_header] = number
        if self.contract.event_id_header:
            found[self.contract.event_id_header] = number
        found.update(more)
        if scheme.scheme == "standard_webhooks":
            found = {"webhook-id": number, "webhook-timestamp": str(int(time.time())), **found}
            signed = f"{found['webhook-id']}.{found['webhook-timestamp']}.".encode("utf-8", "surrogatepass") + body
            mac = hmac.new(base64.b64decode(KEY), signed, hashlib.sha256).digest()
            return {"webhook-signature": f"v1,{base64.b64encode(mac).decode()}", **found}
        mac = hmac.new(KEY.encode(), body, hashlib.sha256).digest()
        return {scheme.signature_header: base64.b64encode(mac).decode(), **found}

    def call(self, sent: bytes, signed: dict[str, Any], **changes: Any) -> dict[str, Any]:
        event: dict[str, Any] = {
            "resource": "/webhooks/{connection}",
            "path": f"/webhooks/{self.connection}",
            "httpMethod": "POST",
            "headers": signed,
            "multiValueHeaders": None,
            "pathParameters": {"connection": self.connection},
            "queryStringParameters": None,
            "requestContext": {"requestId": "r-1"},
            "body": base64.b64encode(sent).decode(),
            "isBase64Encoded": True,
            **changes,
        }
        return _answered(self.tenant.run("receive_webhook", {name: value for name, value in event.items() if value is not ...}))

    def stored(self) -> int:
        return sum(1 for _ in self.tenant.services.deliveries.every())

    def settled(self) -> None:
        """What was taken goes its way, or a person finds it with the place that is wrong; nothing of it is lost."""
        services = self.tenant.services
        self.tenant.work_off("translate_delivery", "inbound")
        records = {record.subject: record for record in services.exceptions.listed()}
        for note in services.deliveries.every():
            assert note.status in (DeliveryStatus.DONE, DeliveryStatus.IGNORED, DeliveryStatus.EXCEPTION), note
            if note.status is DeliveryStatus.EXCEPTION:
                record = records[note.delivery_id]
                assert record.fields or record.code == "UNKNOWN_EVENT", f"{record} names no field"
        assert not list(services.orders.every())
        found = balance(services)
        assert found.adds_up, found.deliveries


def _answered(answer: dict[str, Any]) -> dict[str, Any]:
    assert answer["statusCode"] < 500, answer
    if answer["statusCode"] >= 400:
        document = json.loads(answer["body"])
        assert answer["headers"]["Content-Type"] == "application/problem+json"
        assert {"type", "title", "status", "detail", "correlation_id"} <= set(document)
    assert all("\r" not in value and "\n" not in value for value in answer["headers"].values())
    return answer


def _open(name: str, patch: pytest.MonkeyPatch, tenant: Tenant) -> Tenant:
    spec = SPECS[name]
    found = {each: bootstrap.load_manifest(connection.connector).webhooks for each, connection in spec.connections.items()}
    patch.setattr(bootstrap, "deployed_spec", lambda: spec)
    patch.setattr(intake, "deployed_webhooks", lambda: (found, spec.limits.webhook_bytes))
    tenant.account.secret({each: {"webhook_secret": KEY} for each in spec.connections})
    tenant.services = bootstrap.services(tenant.account.settings, spec, tenant.account.clients)
    return tenant


@pytest.fixture(params=HOOKS, ids=[f"{tenant}-{connection}" for tenant, connection in HOOKS])
def door(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    name, connection = request.param
    manifest = bootstrap.load_manifest(SPECS[name].connections[connection].connector)
    assert manifest.webhooks is not None
    with running(monkeypatch) as tenant:
        yield Door(_open(name, monkeypatch, tenant), connection, manifest.webhooks, next(topic for topic in manifest.handled if not topic.startswith("poll.")))


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tenant]:
    with running(monkeypatch) as tenant:
        yield _open("acme_industrial", monkeypatch, tenant)


# ------------------------------------------------------------------ bodies
UNREADABLE = {
    "nothing": b"",
    "blank": b" \n",
    "zero byte": b"\x00",
    "cut off": b'{"id": 1, "line_items": [{"sku": "A',
    "a page": b"<html></html>",
    "packed": gzip.compress(b"[" * 3_000_000, 9),
    "not utf-8": b'{"id": "\xff\xfe"}',
    "utf-16": '{"id": 1}'.encode("utf-16"),
    "two marks before it": b"\xef\xbb\xbf\xef\xbb\xbf{}",
    "same key twice": b'{"id": 1, "id": 2}',
    "deep list": b"[" * 100_000 + b"]" * 100_000,
    "deep object": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "nan": b'{"id": NaN}',
    "infinity": b'{"id": -Infinity}',
    "huge exponent": b'{"id": 1e999999999}',
    "exponent too large to read": b'{"id": 1e99999999999999999999999}',
    "tiny exponent": b'{"id": 1e-99999999999999999999999}',
    "ten thousand digits": b'{"id": ' + b"9" * 10_000 + b"}",
    "half a character": b'{"id": "\\ud800"}',
    "control character": b'{"id": "\x01"}',
    "comment": b'{"id": 1} // x',
    "form": b"id=1&name=x",
}
READABLE = {
    "empty object": b"{}",
    "list": b"[]",
    "null": b"null",
    "text": b'"x"',
    "number": b"7",
    "mark before it": b"\xef\xbb\xbf{}",
    "other keys": b'{"__proto__": {}, "": 1, "\\u0000": 2}',
}


def test_an_authentic_body_that_cannot_be_read_is_400_and_kept_with_its_reason(door: Door) -> None:
    for name, body in UNREADABLE.items():
        answer = door.call(body, door.headers(body, **{"Content-Encoding": "gzip"} if name == "packed" else {}))

        assert answer["statusCode"] == 400, f"{name}: {answer}"
        assert json.loads(answer["body"])["errors"][0]["path"], name
    assert {note.status for note in door.tenant.services.deliveries.every()} == {DeliveryStatus.EXCEPTION}
    records = door.tenant.services.exceptions.listed()
    assert len(records) == len(UNREADABLE) and all(record.fields for record in records)
    assert balance(door.tenant.services).adds_up


def test_an_authentic_body_of_another_shape_is_taken_and_stands_before_a_person_with_its_field(door: Door) -> None:
    for body in READABLE.values():
        answer = door.call(body, door.headers(body))

        assert answer["statusCode"] == 200, answer
    door.settled()


@pytest.mark.parametrize("size", [1_048_577, 6_000_000])
def test_a_body_over_the_limit_is_413_and_leaves_nothing(door: Door, size: int) -> None:
    body = b'{"id": 1, "note": "' + b"x" * size + b'"}'

    assert door.call(body, door.headers(body))["statusCode"] == 413
    assert door.stored() == 0


def test_without_a_right_signature_no_body_leaves_anything(door: Door) -> None:
    for body in (*UNREADABLE.values(), *READABLE.values()):
        headers = door.headers(body + b" ")
        assert door.call(body, headers)["statusCode"] == 401
    assert (door.stored(), door.tenant.services.exceptions.listed(), list(door.tenant.services.orders.every())) == (0, [], [])


# ------------------------------------------------------------------ headers
ODD = ("", " ", ",", "=", "a,b", "v1", "v1,", "v1,=", "v1 ,x", "v1,!!!", "!!!!", "====", "é", "\u202e", "x\r\nX-Evil: 1", "\x00", "\ud800", "A" * 10_000, "v1," * 3000, "None")


def test_a_signature_that_is_none_is_401_whatever_it_looks_like(door: Door) -> None:
    body = b'{"id": 1}'
    names = {door.contract.signature.signature_header, *(["webhook-id", "webhook-timestamp"] if door.contract.signature.scheme == "standard_webhooks" else [])}
    for name in names:
        for odd in (*ODD, None):
            answer = door.call(body, {**door.headers(body), name: odd})
            assert answer["statusCode"] == 401, f"{name}: {odd!r:.40}: {answer}"
    assert door.stored() == 0


@pytest.mark.soak
def test_names_of_an_authentic_message_may_be_odd_and_nothing_is_lost(door: Door) -> None:
    body = b'{"id": 1}'
    for name in {door.contract.topic_header, door.contract.delivery_id_header, door.contract.event_id_header, "X-Anything"} - {None, ""}:
        for odd in ODD:
            answer = door.call(body, door.headers(body, **{str(name): odd}))
            assert answer["statusCode"] in (200, 400, 401), f"{name}: {odd!r:.40}: {answer}"
    door.settled()


def test_the_same_header_in_two_spellings_is_no_way_in(door: Door) -> None:
    body, name = b'{"id": 1}', door.contract.signature.signature_header
    right = door.headers(body)
    wrong = {**right, name.lower(): "AAAA", name.upper(): "AAAA"}
    wrong.pop(name, None) if name not in (name.lower(), name.upper()) else None

    assert door.call(body, wrong)["statusCode"] == 401
    assert door.stored() == 0


# ------------------------------------------------------------------ the gateway's event
def test_an_event_of_the_gateway_that_lacks_something_is_no_failure_of_ours(door: Door) -> None:
    body = b'{"id": 1}'
    signed = door.headers(body)
    for changes in (
        {"headers": None},
        {"headers": ...},
        {"pathParameters": None},
        {"pathParameters": ...},
        {"pathParameters": {"connection": None}},
        {"pathParameters": {"connection": "../" * 50}},
        {"pathParameters": {"connection": "\x00"}},
        {"requestContext": None},
        {"requestContext": ...},
        {"multiValueHeaders": ...},
        {"body": None},
        {"body": ...},
        {"body": "%%%"},
        {"body": "{}"},
        {"body": "ü"},
        {"isBase64Encoded": None, "body": "\ud800"},
        {"isBase64Encoded": False},
        {"isBase64Encoded": ...},
    ):
        answer = door.call(body, signed, **changes)
        taken = changes in ({"requestContext": None}, {"requestContext": ...}, {"multiValueHeaders": ...})
        assert answer["statusCode"] in ((200,) if taken else (400, 401, 404)), f"{changes}: {answer}"
    assert door.stored() == 1, "only the whole ones were believed, and they are one"


# ------------------------------------------------------------------ /v1
def _v1(tenant: Tenant, method: str, path: str, *, body: bytes | None = None, query: dict[str, str] | None = None, **headers: str) -> dict[str, Any]:
    event = {
        "resource": "/v1/{proxy+}",
        "path": f"/v1/{path}",
        "httpMethod": method,
        "headers": {"x-api-key": "k", **headers},
        "multiValueHeaders": None,
        "pathParameters": {"proxy": path},
        "queryStringParameters": query,
        "requestContext": {"requestId": "r-1"},
        "body": None if body is None else base64.b64encode(body).decode(),
        "isBase64Encoded": body is not None,
    }
    return _answered(tenant.run("serve_api", event))


def test_an_order_that_cannot_be_read_is_refused_by_its_field_and_never_accepted(api: Tenant) -> None:
    for name, body in {**UNREADABLE, **READABLE}.items():
        answer = _v1(api, "POST", "orders", body=body, **{"Idempotency-Key": f"k-{next(_numbers)}"})
        assert answer["statusCode"] == 400, f"{name}: {answer}"
        assert json.loads(answer["body"]).get("errors") or name == "nothing"
    assert [*api.services.deliveries.every()] == []


def test_an_order_with_one_wrong_field_is_refused_by_it_or_taken_as_it_is(api: Tenant) -> None:
    """Every kind of field once with a few of the oddities: all of them meet the mapping itself."""
    values = (None, [], -1, hostile.Raw("1e999999999"), "\x00", "\u202e", "=1+1", "x" * 300, "0001-01-01T00:00:00+14:00")
    document = {**ORDER, "placed_at": "2026-03-02T09:00:00Z"}
    seen = set()
    for path in hostile.paths(document):
        if hostile.shape(path) in seen:
            continue
        seen.add(hostile.shape(path))
        for what, body in hostile.changes(document, path, values=values):
            answer = _v1(api, "POST", "orders", body=body, **{"Idempotency-Key": f"k-{next(_numbers)}"})
            assert answer["statusCode"] in (202, 400, 409, 422), f"{hostile.dotted(path)} {what}: {answer}"
            if answer["statusCode"] in (400, 422):
                assert json.loads(answer["body"])["errors"], f"{hostile.dotted(path)} {what}: {answer}"


def _sample(name: str) -> Any:
    return json.loads((ROOT / f"layers/crossdock/python/crossdock/connectors/direct/samples/{name}.json").read_text(encoding="utf-8"))


OTHER_DOORS = {"inventory": _sample("inventory.report"), "prices": _sample("prices.submit"), "customers": _sample("customers.submit"), "returns": _sample("returns.submit")}


@pytest.fixture
def owner(api: Tenant, monkeypatch: pytest.MonkeyPatch) -> Tenant:
    """The tenant whose clients are the system of record of prices, customers and one location's stock."""
    spec = api.services.spec
    for domain in ("prices", "customers"):
        monkeypatch.setitem(spec.systems_of_record, domain, "direct")  # type: ignore[arg-type]
    place = spec.locations["CHI"]
    monkeypatch.setitem(spec.locations, "CHI", place.model_copy(update={"stock_from": "direct", "codes": {**place.codes, "direct": "CHI"}}))
    return api


@pytest.mark.parametrize("door", OTHER_DOORS)
def test_what_cannot_be_read_is_refused_at_every_door_and_never_accepted(owner: Tenant, door: str) -> None:
    for name, body in {**UNREADABLE, **READABLE}.items():
        answer = _v1(owner, "POST", door, body=body, **{"Idempotency-Key": f"k-{next(_numbers)}"})
        assert answer["statusCode"] == 400, f"{name}: {answer}"
    assert [*owner.services.deliveries.every()] == []


@pytest.mark.parametrize("door", OTHER_DOORS)
def test_one_wrong_field_is_refused_by_it_or_taken_as_it_is_at_every_door(owner: Tenant, door: str) -> None:
    values = (None, [], -1, hostile.Raw("1e999999999"), "\x00", "\u202e", "=1+1", "x" * 300, "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")
    seen = set()
    for path in hostile.paths(OTHER_DOORS[door]):
        if hostile.shape(path) in seen:
            continue
        seen.add(hostile.shape(path))
        for what, body in hostile.changes(OTHER_DOORS[door], path, values=values):
            answer = _v1(owner, "POST", door, body=body, **{"Idempotency-Key": f"k-{next(_numbers)}"})
            assert answer["statusCode"] in (202, 400, 409, 422), f"{hostile.dotted(path)} {what}: {answer}"
            if answer["statusCode"] in (400, 409, 422):
                assert json.loads(answer["body"])["errors"], f"{hostile.dotted(path)} {what}: {answer}"


def test_a_key_that_is_none_is_400(api: Tenant) -> None:
    for odd in (*(odd for odd in ODD if odd not in ("\ud800", ",", "=", "a,b", "v1", "v1,", "v1,=", "v1,!!!", "!!!!", "====", "None")), "x" * 201):
        assert _v1(api, "POST", "orders", body=json.dumps(ORDER).encode(), **{"Idempotency-Key": odd})["statusCode"] == 400, repr(odd)[:40]


@given(path=st.text(max_size=60) | st.sampled_from(hostile.TEXTS), data=st.data())
@settings(max_examples=settings().max_examples // 2, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_path_or_query_of_any_kind_is_answered_and_never_a_failure(api: Tenant, path: str, data: st.DataObject) -> None:
    route = data.draw(st.sampled_from(["", "orders/", "inventory/", "shipments/", "exceptions/", "orders/x/timeline/", "prices/", "customers/", "returns/"]))
    query = data.draw(st.none() | st.dictionaries(st.sampled_from(["limit", "status", "cursor", "x"]), st.text(max_size=30) | st.sampled_from(hostile.TEXTS), max_size=3))
    answer = _v1(api, data.draw(st.sampled_from(["GET", "POST", "PUT", "DELETE", "TRACE", "x"])), route + path, query=query)

    assert answer["statusCode"] in (200, 400, 404, 405)


def test_an_event_of_the_gateway_that_lacks_something_is_answered_by_v1_too(api: Tenant) -> None:
    for event in ({}, {"headers": None, "pathParameters": None, "queryStringParameters": None, "requestContext": None}, {"httpMethod": "GET", "pathParameters": {"proxy": None}}):
        assert _answered(api.run("serve_api", event))["statusCode"] in (404, 405)
