"""Does posting move exactly the quantities the lines say, once, and end an order when all of it is invoiced?"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.simulators.server import ActionRefused
from tests.local.simulators.business_central.desk import EAST, SEED, THREE_PL, WEST, Desk, config


def bolts(quantity: object, location: str = EAST) -> dict[str, Any]:
    return {"lineObjectNumber": "BOLT", "quantity": quantity, "locationId": location}


def test_ship_and_invoice_posts_what_the_lines_say_and_no_more(desk: Desk) -> None:
    order = desk.order(bolts(5), bolts(4, THREE_PL), externalDocumentNumber="web-1")
    desk.plan(order["id"], 0, shipQuantity=2, invoiceQuantity=1)
    desk.plan(order["id"], 1, shipQuantity=0)

    assert desk.post_order(order["id"]).status == 204

    east, third = desk.get(f"salesOrders({order['id']})/salesOrderLines")["value"]
    assert (east["shippedQuantity"], east["invoicedQuantity"]) == (2, 1)
    assert (third["shippedQuantity"], third["invoicedQuantity"]) == (0, 0)
    # the vendor proposes everything that is left again, on every line
    assert (east["shipQuantity"], east["invoiceQuantity"], third["shipQuantity"]) == (3, 4, 4)
    [shipment] = desk.get("salesShipments", expand="salesShipmentLines")["value"]
    assert (shipment["orderNumber"], shipment["externalDocumentNumber"]) == (order["number"], "web-1")
    assert [(line["sequence"], line["quantity"]) for line in shipment["salesShipmentLines"]] == [(10000, 2)]
    [invoice] = desk.get("salesInvoices", expand="salesInvoiceLines")["value"]
    assert (invoice["orderNumber"], invoice["orderId"], invoice["status"]) == (order["number"], order["id"], "Open")
    assert invoice["totalAmountIncludingTax"] == Decimal("10.83")
    assert invoice["salesInvoiceLines"][0]["locationId"] == EAST
    [entry] = desk.get("itemLedgerEntries")["value"]
    assert (entry["quantity"], entry["documentNumber"], entry["salesAmountActual"]) == (-2, shipment["number"], 10)
    assert desk.stock("BOLT") == 148


def test_a_completely_invoiced_order_is_gone_and_its_documents_remain(desk: Desk) -> None:
    order = desk.order(bolts(2), externalDocumentNumber="web-1")
    assert desk.post_order(order["id"]).status == 204

    assert desk.bad("GET", f"salesOrders({order['id']})")[0] == 404
    assert desk.bad("POST", f"salesOrders({order['id']})/Microsoft.NAV.shipAndInvoice")[0] == 404
    assert desk.get("salesOrders")["value"] == []
    [invoice] = desk.get("salesInvoices", filter="externalDocumentNumber eq 'web-1'")["value"]
    assert (invoice["orderNumber"], invoice["totalAmountIncludingTax"]) == (order["number"], Decimal("21.65"))
    [customer] = desk.get("customers", filter="number eq 'C-1'")["value"]
    assert customer["balanceDue"] == Decimal("21.65")


def test_shipping_first_and_invoicing_later_are_two_postings(desk: Desk) -> None:
    order = desk.order(bolts(3))
    desk.plan(order["id"], 0, invoiceQuantity=0)
    desk.post_order(order["id"])
    assert desk.get(f"salesOrders({order['id']})")["fullyShipped"] is True
    assert desk.get("salesInvoices")["value"] == []
    assert desk.bad("DELETE", f"salesOrders({order['id']})", etag="*")[1] == "Application_FieldValidationException"

    desk.plan(order["id"], 0, shipQuantity=0, invoiceQuantity=3)
    assert desk.post_order(order["id"]).status == 204
    assert len(desk.get("salesShipments")["value"]) == 1
    assert desk.get("salesOrders")["value"] == []


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        ("nothing planned", "nothing to post"),
        ("too little stock", "insufficient quantity"),
        ("customer blocked", "blocked with type Ship"),
        ("item blocked", "Blocked must be equal"),
        ("complete only", "shipped completely"),
        ("no quantity", "no quantity"),
    ],
)
def test_what_cannot_be_posted_is_refused_and_changes_nothing(desk: Desk, prepare: str, words: str) -> None:
    order = desk.order(bolts(2) if prepare != "too little stock" else bolts(51), bolts(1, THREE_PL))
    if prepare == "nothing planned":
        desk.plan(order["id"], 0, shipQuantity=0)
        desk.plan(order["id"], 1, shipQuantity=0)
    elif prepare == "customer blocked":
        desk.harness.act("block_customer", {"customer": "C-1", "blocked": "Ship"})
    elif prepare == "item blocked":
        desk.harness.act("set_item_blocked", {"item": "BOLT"})
    elif prepare == "complete only":
        desk.call("PATCH", f"salesOrders({order['id']})", {"partialShipping": False}, etag="*")
        desk.plan(order["id"], 0, shipQuantity=1)
    elif prepare == "no quantity":
        body = {"lineType": "Item", "lineObjectNumber": "NUT"}
        desk.call("POST", f"salesOrders({order['id']})/salesOrderLines", body)

    status, _, message = desk.bad("POST", f"salesOrders({order['id']})/Microsoft.NAV.shipAndInvoice")

    assert status == 400
    assert words in message
    assert desk.get("salesShipments")["value"] == []
    assert desk.stock("BOLT") == 150


def test_the_action_takes_no_body_and_no_stale_token(desk: Desk) -> None:
    order = desk.order(bolts(1))
    path = f"salesOrders({order['id']})/Microsoft.NAV.shipAndInvoice"
    desk.plan(order["id"], 0, invoiceQuantity=0)

    assert desk.bad("POST", path, {"ship": True})[:2] == (400, "BadRequest")
    assert desk.bad("POST", path, etag=order["@odata.etag"])[:2] == (409, "Request_EntityChanged")
    assert desk.bad("GET", path)[:2] == (405, "BadRequest_MethodNotAllowed")
    assert desk.bad("POST", f"salesOrders({order['id']})/Microsoft.NAV.release")[1] == "BadRequest_MethodNotImplemented"


def test_cases_take_base_units_from_stock(desk: Desk) -> None:
    order = desk.order({**bolts(2), "unitOfMeasureCode": "CASE"})
    desk.post_order(order["id"])

    assert desk.stock("BOLT") == 126
    assert desk.get("itemLedgerEntries")["value"][0]["quantity"] == -24


def test_a_shipped_line_keeps_its_quantity_and_place(desk: Desk) -> None:
    order = desk.order(bolts(3))
    desk.plan(order["id"], 0, shipQuantity=2, invoiceQuantity=0)
    desk.post_order(order["id"])
    line = desk.get(f"salesOrders({order['id']})/salesOrderLines")["value"][0]
    path = f"salesOrders({order['id']})/salesOrderLines({line['id']})"

    assert desk.bad("PATCH", path, {"quantity": 1}, etag="*")[1] == "Application_FieldValidationException"
    assert desk.bad("PATCH", path, {"locationId": WEST}, etag="*")[1] == "Application_FieldValidationException"
    assert desk.bad("PATCH", path, {"shipQuantity": 2}, etag="*")[1] == "Application_DialogException"
    assert desk.bad("DELETE", path, etag="*")[1] == "Application_FieldValidationException"
    assert desk.call("PATCH", path, {"quantity": 2}, etag="*").json()["quantity"] == 2


def test_with_blank_as_default_nothing_is_shipped_unless_said(desk: Desk) -> None:
    blank = Desk(config(seed={**SEED, "setup": {"default_quantity_to_ship": "Blank"}}))
    order = blank.order(bolts(2), bolts(1, THREE_PL))
    assert [line["shipQuantity"] for line in order["salesOrderLines"]] == [0, 0]
    assert blank.bad("POST", f"salesOrders({order['id']})/Microsoft.NAV.shipAndInvoice")[0] == 400

    blank.plan(order["id"], 1, shipQuantity=1, invoiceQuantity=1)
    assert blank.post_order(order["id"]).status == 204
    lines = blank.get(f"salesOrders({order['id']})/salesOrderLines")["value"]
    assert [(line["shippedQuantity"], line["shipQuantity"]) for line in lines] == [(0, 0), (1, 0)]


def test_staff_post_a_part_with_a_tracking_number_in_a_comment_line(desk: Desk) -> None:
    order = desk.order(bolts(5), bolts(1, THREE_PL))
    body = {"order": order["number"], "lines": [{"sequence": 10000, "quantity": 2}]}
    desk.harness.act("post_shipment", {**body, "tracking": {"carrier": "UPS", "number": "1Z42"}})

    [shipment] = desk.get("salesShipments", expand="salesShipmentLines")["value"]
    lines = [(line["lineType"], line["quantity"], line["description"]) for line in shipment["salesShipmentLines"]]
    assert lines == [("Item", 2, "Bolt"), ("_x0020_", 0, "TRACKING UPS 1Z42")]
    with pytest.raises(ActionRefused, match="cannot ship more than 3"):
        desk.harness.act("post_shipment", {**body, "lines": [{"sequence": 10000, "quantity": 4}]})
    with pytest.raises(ActionRefused, match="no sales order"):
        desk.harness.act("post_shipment", {"order": "SO9"})


def test_staff_ship_their_own_locations_by_themselves_and_leave_the_rest(desk: Desk) -> None:
    desk.harness.ctx.change_autopilot({"enabled": True})
    order = desk.order(bolts(2), {"lineObjectNumber": "NUT", "quantity": 8, "locationId": WEST}, bolts(1, THREE_PL))
    desk.clock.advance(0.5)
    desk.harness.run_due()
    assert desk.get("salesShipments")["value"] == []

    desk.clock.advance(0.5)
    desk.harness.run_due()

    lines = desk.get(f"salesOrders({order['id']})/salesOrderLines")["value"]
    assert [line["shippedQuantity"] for line in lines] == [2, 5, 0]  # WEST has 5 nuts on the shelf
    assert len(desk.get("salesShipments")["value"]) == 2
    desk.harness.act("adjust_inventory", {"item": "NUT", "location": "WEST", "delta": 10})
    desk.clock.advance(1)
    desk.harness.run_due()
    assert desk.get(f"salesOrders({order['id']})/salesOrderLines")["value"][1]["shippedQuantity"] == 8
    assert desk.get("salesInvoices")["value"] == []


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=6), st.integers(1, 9))
def test_however_it_is_posted_the_invoices_add_up_to_the_order(steps: list[tuple[int, int]], quantity: int) -> None:
    desk = Desk(config())
    order = desk.order({**bolts(quantity), "discountPercent": 5})
    for ship, invoice in [*steps, (99, 99)]:
        lines = desk.call("GET", f"salesOrders({order['id']})/salesOrderLines").json().get("value")
        if lines is None:
            break
        outstanding = lines[0]["quantity"] - lines[0]["shippedQuantity"]
        ship = min(ship, outstanding)
        invoice = min(invoice, lines[0]["shippedQuantity"] + ship - lines[0]["invoicedQuantity"])
        desk.plan(order["id"], 0, shipQuantity=ship, invoiceQuantity=invoice)
        assert desk.post_order(order["id"]).status == (204 if ship or invoice else 400)
    invoices = desk.get("salesInvoices", expand="salesInvoiceLines")["value"]
    shipments = desk.get("salesShipments", expand="salesShipmentLines")["value"]
    assert sum(line["quantity"] for one in invoices for line in one["salesInvoiceLines"]) == quantity
    assert sum(line["quantity"] for one in shipments for line in one["salesShipmentLines"]) == quantity
    assert desk.stock("BOLT") == 150 - quantity
    assert desk.get("salesOrders")["value"] == []
    net = sum(one["totalAmountExcludingTax"] for one in invoices)
    assert abs(net - order["totalAmountExcludingTax"]) <= Decimal("0.01") * len(invoices)
    desk.harness.close()
