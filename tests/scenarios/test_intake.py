"""What is let in, what is turned away, and is nothing stored or lost by it?"""

from __future__ import annotations

import json

import pytest

from tests.scenarios.system import Tenant


def _accepted(tenant: Tenant) -> int:
    return int(tenant.cli("balance", check=False)["deliveries"]["accepted"])


def test_a_wrong_signature_is_401_and_nothing_is_stored(acme: Tenant) -> None:
    before = _accepted(acme)
    answer = acme.shopify("orders/create", {"id": 1}, signature="bm90IHRoZSBzaWduYXR1cmU=")
    assert answer.status_code == 401
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert {"type", "title", "status", "detail", "correlation_id"} <= set(answer.json())
    assert _accepted(acme) == before


def test_an_unknown_connection_is_404(acme: Tenant) -> None:
    url = acme.webhooks["storefront"]["url"].replace("/storefront", "/nobody")
    answer = acme.session.post(url, data=b"{}", timeout=30)
    assert answer.status_code == 404 and answer.json()["status"] == 404


def test_a_body_over_the_limit_is_413(acme: Tenant) -> None:
    body = json.dumps({"id": 1, "note": "x" * 1_200_000}).encode()
    answer = acme.shopify("orders/create", None, raw=body)
    assert answer.status_code == 413 and answer.json()["status"] == 413


@pytest.mark.parametrize("body", [b'{"id": 1', b"\xff\xfe not utf-8", b'{"id": NaN}', b'{"id": 1, "id": 2}', b"[" * 200 + b"]" * 200])
def test_an_authentic_body_that_is_no_json_is_400_and_stands_in_the_exception_queue(acme: Tenant, body: bytes) -> None:
    answer = acme.shopify("orders/create", None, raw=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"][0]["path"]
    found = [record for record in acme.exceptions(code="INVALID_BODY") if record["queue"] == "inbound"]
    assert found and any(record["fields"] for record in found)
    for record in found:
        acme.cli("exceptions", "resolve", record["exception_id"], "--decision", "discard", "--note", "sent by the test")


def test_a_body_that_breaks_the_vendors_contract_is_kept_with_its_field_path(acme: Tenant) -> None:
    answer = acme.shopify("orders/create", {"id": 42, "admin_graphql_api_id": "gid://shopify/Order/42", "line_items": "none"})
    assert answer.status_code == 200, "a known sender's body that only fails the schema is acknowledged: else the vendor drops the subscription"
    record = acme.exception(code="INVALID_BODY", queue="inbound")
    assert any("line_items" in note["path"] for note in record["fields"]), record["fields"]
    acme.cli("exceptions", "resolve", record["exception_id"], "--decision", "discard", "--note", "sent by the test")


def test_an_undeclared_topic_is_an_exception_and_a_declared_one_is_ignored_by_name(acme: Tenant) -> None:
    assert acme.shopify("orders/teleported", {"id": 7}).status_code == 200
    record = acme.exception(code="UNKNOWN_EVENT")
    assert record["category"] == "contract_drift"
    acme.cli("exceptions", "resolve", record["exception_id"], "--decision", "discard", "--note", "sent by the test")


def test_no_route_of_v1_answers_without_a_key(acme: Tenant) -> None:
    for path in ("orders", "orders/x", "orders/x/timeline", "inventory/AC-BRG-6204", "shipments/x", "exceptions", "health", "openapi.json", "nothing"):
        answer = acme.session.get(f"{acme.api_url}/v1/{path}", timeout=30)
        assert answer.status_code == 403, path
        assert answer.headers["Content-Type"].split(",")[-1].strip().startswith("application/problem+json")


def test_errors_of_v1_are_problem_documents(acme: Tenant) -> None:
    assert acme.get("/v1/orders/none-such", expect=404)["title"] == "Not found"
    assert acme.get("/v1/orders?limit=lots", expect=400)["code"] == "INVALID_PARAMETER"
    key = next(iter(acme.api_keys.values()))
    answer = acme.session.delete(f"{acme.api_url}/v1/orders", headers={"x-api-key": key}, timeout=30)
    assert answer.status_code == 405 and "POST" in answer.headers["Allow"]
    refused = acme.submit({"external_id": "X", "currency": "USD", "lines": []}, key="k1")
    assert refused.status_code == 400
    assert {note["path"] for note in refused.json()["errors"]} >= {"account", "ship_to", "lines"}


def test_the_tenants_see_nothing_of_each_other(acme: Tenant, harbor: Tenant) -> None:
    theirs = next(iter(harbor.api_keys.values()))
    acme.get("/v1/orders", expect=403, key=theirs)
    harbor.get("/v1/orders", expect=403, key=next(iter(acme.api_keys.values())))

    body = json.dumps({"id": 1}).encode()
    answer = harbor.session.post(
        harbor.webhooks["storefront"]["url"],
        data=body,
        headers={"X-Shopify-Topic": "orders/create", "X-Shopify-Hmac-Sha256": acme.sign_shopify(body), "X-Shopify-Event-Id": "cross"},
        timeout=30,
    )
    assert answer.status_code == 401, "a secret of one tenant signs nothing for the other"
    assert not {order["order_id"] for order in acme.get("/v1/orders?limit=500")["orders"]} & {order["order_id"] for order in harbor.get("/v1/orders?limit=500")["orders"]}
