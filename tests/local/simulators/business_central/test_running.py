"""Does the simulator survive a kill, meet its faults, notify its subscribers and keep to the vendor's contract?"""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from local.simulators import exact_json
from local.simulators.business_central.notifications import shake_hands
from local.simulators.business_central.service import BusinessCentral
from local.simulators.clock import ManualClock
from local.simulators.server import ConnectionDropped, Served
from local.simulators.webhooks import Target
from tests.local.simulators.business_central.desk import COMPANY, EAST, ROOT, THREE_PL, Desk, config

CHECKER = Path(__file__).resolve().parents[5] / "shared" / "contracts" / "check_exchanges.py"
RESOURCE = f"/api/v2.0/companies({COMPANY})/"


def agreed(_url: str, _token: str) -> bool:
    """A receiver that returns every validation token."""
    return True


def bolts(quantity: object = 1, location: str = EAST) -> dict[str, Any]:
    return {"lineObjectNumber": "BOLT", "quantity": quantity, "locationId": location}


def test_a_restarted_simulator_goes_on_where_it_was(tmp_path: Path) -> None:
    settings = config(state_file=str(tmp_path / "state.sqlite"), autopilot={"enabled": True})
    first = Desk(settings)
    order = first.order(bolts(2), bolts(1, THREE_PL), externalDocumentNumber="web-1")
    token, clock = first.token, first.clock
    first.harness.close()

    second = Desk(settings, clock)
    second.token = token
    assert second.get(f"salesOrders({order['id']})", expand="salesOrderLines") == {
        **second.get(f"salesOrders({order['id']})"),
        "salesOrderLines": order["salesOrderLines"],
    }
    clock.advance(1)
    second.harness.run_due()  # the pick list survived as well
    lines = second.get(f"salesOrders({order['id']})/salesOrderLines")["value"]
    assert [line["shippedQuantity"] for line in lines] == [2, 0]
    assert second.order(bolts())["number"] == "SO000002"


def test_a_reset_brings_the_seed_back(desk: Desk) -> None:
    desk.order(bolts())
    desk.harness.reset()
    desk.token = desk.sign_in().json()["access_token"]

    assert desk.get("salesOrders")["value"] == []
    assert desk.stock("BOLT") == 150
    assert desk.order(bolts())["number"] == "SO000001"


def test_an_injected_status_comes_in_the_vendors_shape_and_does_nothing(desk: Desk) -> None:
    desk.harness.ctx.faults.add({"match": {"method": "POST", "operation": "salesOrders"}, "status": 429})
    status, code, _ = desk.bad("POST", "salesOrders", {"customerNumber": "C-1"})
    assert (status, code) == (429, "Application_TooManyRequests")
    assert desk.get("salesOrders")["value"] == []
    assert desk.order(bolts())["number"] == "SO000001"


def test_a_dropped_answer_leaves_the_work_done(desk: Desk) -> None:
    order = desk.order(bolts())
    desk.harness.ctx.faults.add({"match": {"operation": "salesOrders.shipAndInvoice"}, "drop_after_commit": True})
    with pytest.raises(ConnectionDropped):
        desk.post_order(order["id"])
    assert len(desk.get("salesInvoices")["value"]) == 1


def test_a_subscription_needs_the_handshake_and_a_supported_resource(desk: Desk) -> None:
    simulator = desk.harness.simulator
    assert isinstance(simulator, BusinessCentral)
    tokens: list[str] = []

    def handshake(url: str, token: str) -> bool:
        tokens.append(token)
        return url.startswith("http://good")

    simulator.notifications.handshake = handshake
    path = f"{ROOT}/subscriptions"
    headers = {"authorization": f"Bearer {desk.token}"}
    negative = {**headers, "x-negative-control": "1"}
    body = {"notificationUrl": "http://good/hook", "resource": f"{RESOURCE}items", "clientState": "s3cret"}

    made = desk.harness.call("POST", path, headers=headers, json=body)
    assert made.status == 201
    record = made.json()
    assert (record["expirationDateTime"], record["clientState"]) == ("2026-03-05T09:00:00Z", "s3cret")
    refused = [
        {**body, "notificationUrl": "http://bad/hook"},
        {**body, "resource": f"{RESOURCE}salesShipments"},
        {**body, "resource": f"{RESOURCE}itemLedgerEntries"},
        {**body, "resource": "items"},
        {"notificationUrl": "http://good/hook"},
        body,
        {**body, "secret": "x"},
    ]
    for wrong in refused:
        assert desk.harness.call("POST", path, headers=negative, json=wrong).status == 400

    one = f"{path}('{record['subscriptionId']}')"
    desk.clock.advance(3600)
    desk.token = desk.sign_in().json()["access_token"]
    fresh = {"authorization": f"Bearer {desk.token}", "if-match": record["@odata.etag"]}
    renewed = desk.harness.call("PATCH", one, headers=fresh, json={"clientState": "new"})
    assert renewed.json()["expirationDateTime"] == "2026-03-05T10:00:00Z"
    assert desk.harness.call("GET", path, headers=fresh).json()["value"][0]["clientState"] == "new"
    assert desk.harness.call("GET", one, headers=fresh).status == 200
    assert desk.harness.call("DELETE", one, headers={**fresh, "if-match": "*"}).status == 204
    assert desk.harness.call("GET", one, headers={**fresh, "x-negative-control": "1"}).status == 404
    assert len(set(tokens)) == len(tokens)


def test_changes_within_the_delay_are_one_notification_without_data(desk: Desk) -> None:
    simulator = desk.harness.simulator
    assert isinstance(simulator, BusinessCentral)
    simulator.notifications.handshake = agreed
    headers = {"authorization": f"Bearer {desk.token}"}
    body = {"notificationUrl": "http://good/hook", "resource": f"{RESOURCE}salesOrders", "clientState": "s3cret"}
    desk.harness.call("POST", f"{ROOT}/subscriptions", headers=headers, json=body)
    order = desk.order(bolts(2))
    desk.plan(order["id"], 0, shipQuantity=1)
    desk.harness.act("set_price", {"item": "BOLT", "unit_price": 11})  # nobody subscribed to items
    desk.clock.advance(0.3)
    desk.harness.run_due()
    desk.harness.run_due()

    [(url, _, raw)] = desk.posted
    [notification] = json.loads(raw)["value"]
    assert url == "http://good/hook"
    assert notification["resource"] == f"api/v2.0/companies({COMPANY})/salesOrders({order['id']})"
    assert (notification["changeType"], notification["clientState"]) == ("created", "s3cret")
    assert set(notification) == {
        "subscriptionId", "clientState", "expirationDateTime", "resource", "changeType", "lastModifiedDateTime",
    }  # fmt: skip

    desk.call("DELETE", f"salesOrders({order['id']})", etag="*")
    desk.clock.advance(0.3)
    desk.harness.run_due()
    assert json.loads(desk.posted[-1][2])["value"][0]["changeType"] == "deleted"
    desk.clock.advance(3 * 86400)  # expired: nothing is sent any more
    desk.token = desk.sign_in().json()["access_token"]
    desk.order(bolts())
    desk.clock.advance(0.3)
    desk.harness.run_due()
    assert len(desk.posted) == 2


def test_the_target_of_the_deployment_hears_of_every_supported_resource(desk: Desk) -> None:
    desk.harness.ctx.webhooks.target = Target("http://stack/webhooks/erp", "whole-secret")
    desk.harness.act("set_price", {"item": "BOLT", "unit_price": 11})
    desk.harness.act("set_credit_limit", {"customer": "C-1", "credit_limit": 1})
    desk.harness.act("adjust_inventory", {"item": "BOLT", "location": "EAST", "delta": -1})  # only the ledger knows
    desk.clock.advance(0.3)
    desk.harness.run_due()

    [(_, _, raw)] = desk.posted
    values = json.loads(raw)["value"]
    assert [value["resource"].partition(")/")[2].partition("(")[0] for value in values] == ["items", "customers"]
    assert {value["clientState"] for value in values} == {"whole-secret"}


def test_the_handshake_wants_the_token_back_as_plain_text() -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            good = urlsplit(self.path).path == "/good"
            body = query["validationToken"][0] if good else "hello"
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        assert shake_hands(f"{base}/good?key=1", "a b&c") is True
        assert shake_hands(f"{base}/other", "token") is False
        server.shutdown()
    assert shake_hands("http://127.0.0.1:9/", "token") is False


def test_everything_held_is_in_the_state(desk: Desk) -> None:
    order = desk.order(bolts(2))
    desk.post_order(order["id"])
    state = desk.harness.state()

    assert [invoice["orderNumber"] for invoice in state["salesInvoices"]] == [order["number"]]
    assert state["items"][0]["stock_by_location"] == {"EAST": 48, "3PL": 100}
    assert state["counters"]["salesOrders"] == 1
    assert "_version" not in state["items"][0]


def test_it_is_a_real_server(tmp_path: Path) -> None:
    desk = Desk(config())
    with Served(config(state_file=str(tmp_path / "state.sqlite"))) as served:
        connection = http.client.HTTPConnection(urlsplit(served.url).netloc, timeout=5)
        form = "grant_type=client_credentials&client_id=5a6b7c8d-0000-4000-8000-000000000001"
        form += "&client_secret=a+secret+of+the+tests&scope=https://api.businesscentral.dynamics.com/.default"
        connection.request("POST", "/acme.example/oauth2/v2.0/token", form, {"content-type": "application/x-www-form-urlencoded"})
        token = json.loads(connection.getresponse().read())["access_token"]
        path = f"{ROOT}/companies({COMPANY})/items?$filter=number%20eq%20'BOLT'"
        connection.request("GET", path, headers={"authorization": f"Bearer {token}"})
        body = exact_json.loads(connection.getresponse().read())
        connection.close()
    assert [item["number"] for item in body["value"]] == ["BOLT"]
    assert desk.stock("BOLT") == 150


@pytest.mark.skipif(not CHECKER.exists() or shutil.which("uv") is None, reason="../shared/contracts is not here, or uv is not")
def test_recorded_traffic_keeps_the_vendors_contract(desk: Desk, tmp_path: Path) -> None:
    simulator = desk.harness.simulator
    assert isinstance(simulator, BusinessCentral)
    simulator.notifications.handshake = agreed
    headers = {"authorization": f"Bearer {desk.token}"}
    body = {"notificationUrl": "http://good/hook", "resource": f"{RESOURCE}items", "clientState": "s"}
    desk.harness.call("POST", f"{ROOT}/subscriptions", headers=headers, json=body)
    order = desk.order(bolts(3), bolts(1, THREE_PL), externalDocumentNumber="web-1", requestedDeliveryDate="2026-03-09")
    desk.plan(order["id"], 0, shipQuantity=1, invoiceQuantity=1)
    desk.call("PATCH", f"salesOrders({order['id']})", {"shipToContact": "Ann"}, etag="*")
    desk.post_order(order["id"])
    extra = desk.call("POST", f"salesOrders({order['id']})/salesOrderLines", {"lineType": "Item", **bolts()}).json()
    desk.call("DELETE", f"salesOrders({order['id']})/salesOrderLines({extra['id']})", etag="*")
    desk.post_order(order["id"])
    for set_name in (
        "items",
        "customers",
        "locations",
        "currencies",
        "paymentTerms",
        "shipmentMethods",
        "unitsOfMeasure",
    ):
        for record in desk.get(set_name, count="true")["value"]:
            desk.get(f"{set_name}({record['id']})")
    desk.get("salesShipments", expand="salesShipmentLines")
    desk.get("salesInvoices", expand="salesInvoiceLines", filter="externalDocumentNumber eq 'web-1'")
    desk.get("itemLedgerEntries", orderby="entryNumber desc")
    desk.call("PATCH", f"customers({order['customerId']})", {"creditLimit": 7}, etag="*")
    desk.call("POST", "items", {"displayName": "Washer", "baseUnitOfMeasureCode": "EA", "type": "Inventory"})
    desk.call("DELETE", f"salesOrders({desk.order(bolts())['id']})", etag="*")
    invoice = {"customerNumber": "C-1", "salesInvoiceLines": [{"lineType": "Item", **bolts()}]}
    posted = desk.call("POST", "salesInvoices", invoice).json()
    desk.call("POST", f"salesInvoices({posted['id']})/Microsoft.NAV.post")

    recorded = tmp_path / "exchanges.jsonl"
    command = ["uv", "run", "--script", str(CHECKER), str(recorded), "--need", "business_central"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_clock_is_all_the_time_there_is() -> None:
    clock = ManualClock()
    desk = Desk(config(), clock)
    clock.advance(60)
    assert desk.order(bolts())["lastModifiedDateTime"] == "2026-03-02T09:01:00.000Z"
