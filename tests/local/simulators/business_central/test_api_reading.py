"""Are queries understood, paged and refused as the vendor does, and are paths and sign-in checked?"""

from __future__ import annotations

from typing import Any

import pytest

from local.simulators.clock import ManualClock
from local.simulators.server import Harness
from tests.local.simulators.business_central.desk import COMPANY, CREDENTIALS, EAST, ROOT, SEED, Desk, config


def numbers(desk: Desk, **options: object) -> list[str]:
    return [record["number"] for record in desk.get("items", **options)["value"]]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("number eq 'BOLT'", ["BOLT"]),
        ("number ne 'BOLT'", ["NUT", "OLD"]),
        ("unitPrice gt 0.33", ["BOLT", "OLD"]),
        ("unitPrice ge 0.33 and unitPrice lt 10", ["NUT", "OLD"]),
        ("unitPrice le 1", ["NUT", "OLD"]),
        ("number eq 'BOLT' or number eq 'OLD'", ["BOLT", "OLD"]),
        ("not (number eq 'BOLT') and blocked eq false", ["NUT"]),
        ("startswith(number,'B') and endswith(displayName,'lt')", ["BOLT"]),
        ("contains(displayName, 'l')", ["BOLT", "OLD"]),
        ("type eq 'Inventory' and blocked eq true", ["OLD"]),
        ("displayName eq 'it''s'", []),
        ("lastModifiedDateTime ge 2026-03-02T09:00:00Z", ["BOLT", "NUT", "OLD"]),
        ("lastModifiedDateTime gt 2026-03-02T10:00:00+01:00", []),
    ],
)
def test_a_filter_finds_what_it_says(desk: Desk, condition: str, expected: list[str]) -> None:
    assert numbers(desk, filter=condition) == expected


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"$filter": "price eq 1"}, 400),
        ({"$filter": "number eq BOLT"}, 400),
        ({"$filter": "number eq 'BOLT"}, 400),
        ({"$filter": "number 'BOLT'"}, 400),
        ({"$filter": "number eq 'A' and"}, 400),
        ({"$filter": "(number eq 'A'"}, 400),
        ({"$filter": "number eq 'A') "}, 400),
        ({"$filter": "id eq 'A'"}, 400),
        ({"$filter": "id eq A"}, 400),
        ({"$filter": "unitPrice eq x"}, 400),
        ({"$filter": "unitPrice eq '1'"}, 400),
        ({"$filter": "blocked eq maybe"}, 400),
        ({"$filter": "lastModifiedDateTime gt 2026-03-02T09:00:00"}, 400),
        ({"$filter": "lastModifiedDateTime gt yesterday"}, 400),
        ({"$filter": "contains(unitPrice,'1')"}, 400),
        ({"$filter": "number eq 'A' or displayName eq 'A'"}, 501),
        ({"$select": "number,price"}, 400),
        ({"$expand": "salesOrderLines"}, 400),
        ({"$expand": "itemVariants($filter=code eq 'A')"}, 400),
        ({"$expand": "itemVariants("}, 400),
        ({"$orderby": "number upwards"}, 400),
        ({"$orderby": "price"}, 400),
        ({"$top": "-1"}, 400),
        ({"$skip": "x"}, 400),
        ({"$count": "yes"}, 400),
        ({"$skiptoken": "x"}, 400),
        ({"$apply": "x"}, 400),
    ],
)
def test_a_query_the_vendor_does_not_understand_is_refused(desk: Desk, options: dict[str, str], status: int) -> None:
    query = "&".join(f"{name}={value.replace('+', '%2B')}" for name, value in options.items())
    assert desk.bad("GET", f"items?{query}")[0] == status


def test_select_order_top_skip_and_count_shape_the_answer(desk: Desk) -> None:
    body = desk.get("items", select="number,unitPrice", orderby="unitPrice desc,number", top=2, skip=1, count="true")

    assert body["@odata.count"] == 3
    assert [sorted(record) for record in body["value"]] == [["@odata.etag", "id", "number", "unitPrice"]] * 2
    assert [record["number"] for record in body["value"]] == ["OLD", "NUT"]
    assert body["@odata.context"].endswith(f"$metadata#companies({COMPANY})/items")


def test_pages_follow_each_other_without_loss_or_repetition() -> None:
    desk = Desk(config(seed={**SEED, "setup": {"page_size": 2}}))
    first = desk.get("items", filter="unitPrice gt 0", orderby="number")
    link = first["@odata.nextLink"]
    assert link.startswith(f"http://127.0.0.1:9{ROOT}/companies({COMPANY})/items?")
    headers = {"authorization": f"Bearer {desk.token}"}
    second = desk.harness.call("GET", link.removeprefix("http://127.0.0.1:9"), headers=headers).json()

    assert [item["number"] for item in (*first["value"], *second["value"])] == ["BOLT", "NUT", "OLD"]
    assert "@odata.nextLink" not in second


def test_a_client_may_ask_for_smaller_pages_and_survives_a_vanished_record(desk: Desk) -> None:
    for _ in range(3):
        desk.order({"lineObjectNumber": "BOLT", "quantity": 1})
    first = desk.call("GET", "salesOrders", prefer="odata.maxpagesize=2").json()
    token = first["@odata.nextLink"].rpartition("skiptoken=")[2]
    desk.call("DELETE", f"salesOrders({first['value'][1]['id']})", etag="*")
    rest = desk.call("GET", f"salesOrders?$skiptoken={token}").json()["value"]

    assert len(first["value"]) == 2
    assert [order["number"] for order in rest] == []  # it starts at the old place: the vendor's pages are no snapshot


def test_expanded_lines_carry_their_own_selection_and_tokens(desk: Desk) -> None:
    order = desk.order({"lineObjectNumber": "BOLT", "quantity": 1})
    shown = desk.get(f"salesOrders({order['id']})", expand="salesOrderLines($select=sequence,quantity)", select="number")

    assert set(shown) == {"@odata.context", "@odata.etag", "id", "number", "salesOrderLines"}
    assert set(shown["salesOrderLines"][0]) == {"@odata.etag", "id", "sequence", "quantity"}
    assert "salesOrderLines" in desk.get(f"salesOrders({order['id']})", expand="*")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "salesQuotes", 404, "BadRequest_ResourceNotFound"),
        ("GET", "salesOrderLines", 404, "BadRequest_ResourceNotFound"),
        ("GET", "items(BOLT)", 400, "BadRequest_NotFound"),
        ("GET", f"items({EAST})", 404, "Internal_RecordNotFound"),
        ("GET", "items/salesOrders", 404, "BadRequest_ResourceNotFound"),
        ("GET", "it ems", 404, "BadRequest_ResourceNotFound"),
        ("PUT", "items", 405, "BadRequest_MethodNotAllowed"),
        ("POST", "salesShipments", 405, "BadRequest_MethodNotAllowed"),
        ("POST", "itemLedgerEntries", 405, "BadRequest_MethodNotAllowed"),
    ],
)
def test_a_wrong_path_or_method_is_refused(desk: Desk, method: str, path: str, status: int, code: str) -> None:
    body: dict[str, Any] | None = {} if method != "GET" else None
    assert desk.bad(method, path, body)[:2] == (status, code)


def test_posted_shipments_cannot_be_changed(desk: Desk) -> None:
    order = desk.order({"lineObjectNumber": "BOLT", "quantity": 1, "locationId": EAST})
    desk.post_order(order["id"])
    shipment = desk.get("salesShipments")["value"][0]
    path = f"salesShipments({shipment['id']})"

    for method, below in (("PATCH", ""), ("DELETE", ""), ("POST", "/salesShipmentLines")):
        assert desk.bad(method, path + below, {}, etag="*")[0] == 405
    line = desk.get(f"{path}/salesShipmentLines")["value"][0]
    assert desk.get(f"{path}/salesShipmentLines({line['id']})")["quantity"] == 1
    assert desk.bad("GET", f"{path}/salesShipmentLines({EAST})")[0] == 404
    assert desk.bad("GET", f"{path}/salesOrderLines")[0] == 404
    assert desk.bad("GET", f"{path}/salesShipmentLines({line['id']})/x")[0] == 404


def test_companies_are_listed_and_others_do_not_exist(desk: Desk) -> None:
    headers = {"authorization": f"Bearer {desk.token}", "x-negative-control": "1"}

    def get(path: str) -> Any:
        return desk.harness.call("GET", path, headers=headers)

    assert get(f"{ROOT}/companies").json()["value"][0]["name"] == "Acme Industrial"
    assert get(f"{ROOT}/companies({COMPANY})").json()["id"] == COMPANY
    assert get(f"/v2.0/production/api/v2.0/companies({COMPANY})").status == 200
    assert get(f"{ROOT}/companies({EAST})/items").json()["error"]["code"] == "Internal_CompanyNotFound"
    assert get("/v2.0/other.example/Production/api/v2.0/companies").json()["error"]["code"] == "NoEnvironment"
    assert get("/v2.0/acme.example/Sandbox/api/v2.0/companies").status == 404
    assert get(f"{ROOT}/entities").status == 404
    assert get("/nothing").status == 404


def test_without_a_good_token_nothing_is_told(desk: Desk) -> None:
    for header in ("", "Bearer", "Bearer nonsense", f"Basic {desk.token}"):
        answer = desk.harness.call("GET", f"{ROOT}/companies", headers={"authorization": header})
        assert (answer.status, answer.json()["error"]["code"]) == (401, "Authentication_InvalidCredentials")
    desk.clock.advance(3599)
    assert desk.bad("GET", "items")[0] == 401
    desk.token = desk.sign_in().json()["access_token"]
    assert desk.call("GET", "items").status == 200
    desk.harness.act("expire_tokens", {})
    assert desk.bad("GET", "items")[0] == 401


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"client_id": "x"}, 400, "unauthorized_client"),
        ({"client_secret": "x"}, 401, "invalid_client"),
        ({"scope": "https://graph.microsoft.com/.default"}, 400, "invalid_scope"),
    ],
)
def test_wrong_credentials_get_no_token(desk: Desk, form: dict[str, str], status: int, error: str) -> None:
    answer = desk.sign_in(**form)
    assert (answer.status, answer.json()["error"]) == (status, error)


def test_the_token_endpoint_knows_its_tenant_method_and_form(desk: Desk) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert desk.harness.call("GET", "/acme.example/oauth2/v2.0/token").status == 405
    assert desk.harness.call("POST", "/acme.example/oauth2/v2.0/token", json={}).status == 400
    assert desk.harness.call("POST", "/x.example/oauth2/v2.0/token", headers=form).json()["error"] == "invalid_request"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"NaN"])
def test_a_body_that_is_no_object_is_refused(desk: Desk, body: bytes) -> None:
    headers = {"authorization": f"Bearer {desk.token}", "content-type": "application/json", "x-negative-control": "1"}
    answer = desk.harness.call("POST", f"{ROOT}/companies({COMPANY})/items", headers=headers, body=body)
    assert (answer.status, answer.json()["error"]["code"]) == (400, "BadRequest")
    wrong = {**headers, "content-type": "text/plain"}
    assert desk.harness.call("POST", f"{ROOT}/companies({COMPANY})/items", headers=wrong, body=body).status == 415


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"credentials": {**CREDENTIALS, "client_id": ""}}, "client_id"),
        ({"seed": {"wares": []}}, "wares"),
        ({"seed": {"setup": {"colour": 1}}}, "colour"),
        ({"seed": {"items": [{"number": "A", "baseUnitOfMeasureCode": "EA"}]}}, "unitsOfMeasure"),
        ({"seed": {"customers": [{"number": "C", "taxAreaCode": "NY"}]}}, "NY"),
        ({"seed": {"locations": [{"code": "A", "floor": 2}]}}, "floor"),
        (
            {
                "seed": {
                    "unitsOfMeasure": [{"code": "EA"}],
                    "items": [{"number": "A", "baseUnitOfMeasureCode": "EA", "stock": {"X": 1}}],
                }
            },
            "location X",
        ),
    ],
)
def test_a_configuration_nobody_understands_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Harness(config(**changes), clock=ManualClock())
