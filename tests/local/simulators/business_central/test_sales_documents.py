"""Are sales orders taken, priced, taxed, changed and refused as Business Central does?"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from local.simulators.business_central.contract import NO_ID
from tests.local.simulators.business_central.desk import EAST, THREE_PL, WEST, Desk


def item(number: str = "BOLT", quantity: object = 1, **more: Any) -> dict[str, Any]:
    return {"lineType": "Item", "lineObjectNumber": number, "quantity": quantity, **more}


def test_a_deep_insert_makes_one_order_with_its_lines_and_totals(desk: Desk) -> None:
    order = desk.order(
        item(quantity=12, locationId=EAST),
        item("NUT", 3, locationId=THREE_PL),
        {"lineType": "Account", "lineObjectNumber": "44100", "quantity": 1, "unitPrice": Decimal("15.50")},
        externalDocumentNumber="web-1001",
        shipToName="Dock 4",
    )

    assert (order["number"], order["status"], order["externalDocumentNumber"]) == ("SO000001", "Draft", "web-1001")
    assert (order["customerName"], order["shipToName"], order["shipToCity"]) == ("Bolt & Sons", "Dock 4", "Austin")
    # 12 x 9.00 (sales price from 10 pieces) + 3 x 0.33 + 15.50 freight; 8.25 % on 108.00 and 0.99, freight untaxed
    assert order["totalAmountExcludingTax"] == Decimal("124.49")
    assert order["totalTaxAmount"] == Decimal("8.99")
    assert order["totalAmountIncludingTax"] == Decimal("133.48")
    assert [line["sequence"] for line in order["salesOrderLines"]] == [10000, 20000, 30000]


def test_tax_over_many_lines_is_the_tax_of_their_sum(desk: Desk) -> None:
    order = desk.order(*[item("NUT", 1) for _ in range(10)])

    assert order["totalAmountExcludingTax"] == Decimal("3.30")
    assert order["totalTaxAmount"] == Decimal("0.27")  # ten lines rounded alone would make 0.30
    assert sum(line["netTaxAmount"] for line in order["salesOrderLines"]) == order["totalTaxAmount"]


@pytest.mark.parametrize(
    ("line", "price"),
    [
        ({"quantity": 9}, "10.00"),
        ({"quantity": 10}, "9.00"),
        ({"quantity": 10, "unitPrice": Decimal("8.5")}, "8.5"),
        ({"quantity": 1, "unitOfMeasureCode": "CASE"}, "120"),
    ],
)
def test_a_line_without_a_price_gets_the_best_the_customer_has(desk: Desk, line: dict[str, Any], price: str) -> None:
    order = desk.order({"lineObjectNumber": "BOLT", **line})

    assert order["salesOrderLines"][0]["unitPrice"] == Decimal(price)


def test_a_sales_price_holds_for_its_customer_and_its_dates_only(desk: Desk) -> None:
    desk.harness.act("set_price", {"item": "NUT", "customer": "C-1", "unit_price": "0.20", "ending": "2026-03-01"})
    desk.harness.act("set_price", {"item": "NUT", "customer": "C-9", "unit_price": "0.01"})
    assert desk.order(item("NUT"))["salesOrderLines"][0]["unitPrice"] == Decimal("0.33")

    desk.harness.act("set_price", {"item": "NUT", "customer": "C-1", "unit_price": "0.25", "starting": "2026-03-02"})
    assert desk.order(item("NUT"))["salesOrderLines"][0]["unitPrice"] == Decimal("0.25")

    desk.harness.act("set_price", {"item": "NUT", "unit_price": "0.21"})
    assert desk.get("items", filter="number eq 'NUT'")["value"][0]["unitPrice"] == Decimal("0.21")


def test_line_and_invoice_discounts_come_off_before_tax(desk: Desk) -> None:
    order = desk.order(
        item(quantity=2, discountPercent=10),
        item("NUT", 10, discountAmount=Decimal("0.30")),
        discountAmount=Decimal("1.05"),
    )

    bolts, nuts = order["salesOrderLines"]
    assert (bolts["discountAmount"], nuts["discountPercent"]) == (Decimal("2.00"), Decimal("9.09"))
    assert bolts["invoiceDiscountAllocation"] + nuts["invoiceDiscountAllocation"] == Decimal("1.05")
    assert order["totalAmountExcludingTax"] == Decimal("19.95")
    assert order["totalTaxAmount"] == Decimal("1.65")


def test_the_same_external_number_twice_is_two_orders(desk: Desk) -> None:
    desk.order(item(), externalDocumentNumber="web-7")
    desk.order(item(), externalDocumentNumber="web-7")

    assert len(desk.get("salesOrders", filter="externalDocumentNumber eq 'web-7'")["value"]) == 2


@pytest.mark.parametrize(
    ("header", "code", "words"),
    [
        ({"customerNumber": None}, "BadRequest_RequiredParamNotProvided", "customerNumber"),
        ({"customerNumber": "C-9"}, "Application_DialogException", "cannot be found"),
        ({"customerId": NO_ID, "customerNumber": "C-2"}, "Application_DialogException", "blocked with type All"),
        ({"externalDocumentNumber": "x" * 36}, "Application_StringExceededLength", "less than or equal to 35"),
        ({"externalDocumentNumber": 7}, "BadRequest", "Edm.String"),
        ({"orderDate": "2026-02-30"}, "BadRequest", "Edm.Date"),
        ({"orderNumber": "SO1"}, "BadRequest", "does not exist on type"),
        ({"number": "SO1"}, "BadRequest_InvalidOperation", "read-only"),
        ({"totalTaxAmount": 1}, "BadRequest_InvalidOperation", "read-only"),
        ({"currencyCode": "XXX"}, "Application_DialogException", "currencyCode"),
        ({"paymentTermsId": EAST}, "Application_DialogException", "paymentTermsId"),
        ({"pricesIncludeTax": True}, "Application_DialogException", "pricesIncludeTax"),
        ({"partialShipping": "yes"}, "BadRequest", "Edm.Boolean"),
        ({"salesOrderLines": {"quantity": 1}}, "BadRequest", "Invalid Request Body"),
    ],
)
def test_a_wrong_header_is_refused_and_leaves_nothing(desk: Desk, header: dict[str, Any], code: str, words: str) -> None:
    status, found, message = desk.bad("POST", "salesOrders", {"customerNumber": "C-1", **header})

    assert (status, found) == (400, code)
    assert words in message
    assert desk.get("salesOrders")["value"] == []


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        (
            {"lineType": "Item", "lineObjectNumber": "GHOST", "quantity": 1},
            "Application_DialogException",
            "Item does not",
        ),
        (
            {"lineType": "Item", "lineObjectNumber": "OLD", "quantity": 1},
            "Application_FieldValidationException",
            "Blocked",
        ),
        (item(quantity=0), "Application_FieldValidationException", "positive"),
        (item(quantity=-1), "Application_FieldValidationException", "positive"),
        (item(quantity="1"), "BadRequest", "Edm.Decimal"),
        (item(locationId=NO_ID.replace("0", "9")), "Internal_InvalidTableRelation", "Location"),
        (item(unitOfMeasureCode="KG"), "Internal_InvalidTableRelation", "Item Unit of Measure"),
        (item(unitOfMeasureCode="TON"), "Internal_InvalidTableRelation", "Unit of Measure"),
        (item(shipQuantity=2), "Application_DialogException", "cannot ship more than 1"),
        (item(invoiceQuantity=2), "Application_DialogException", "cannot invoice more than 1"),
        (item(unitPrice=-1), "Application_FieldValidationException", "Unit Price"),
        (item(discountPercent=101), "Application_FieldValidationException", "Discount"),
        (item(shippedQuantity=1), "BadRequest_InvalidOperation", "read-only"),
        (item(description="x" * 101), "Application_StringExceededLength", "100"),
        ({"lineType": "Gift", "lineObjectNumber": "BOLT"}, "Application_EvaluateException", "Gift"),
        ({"lineType": "Resource", "lineObjectNumber": "BOLT"}, "Application_DialogException", "not set up"),
        ({"lineType": "Account", "lineObjectNumber": "1"}, "Application_DialogException", "Account does not"),
        ({"lineObjectNumber": "BOLT"}, "Application_FieldValidationException", "Comment"),
    ],
)
def test_a_wrong_line_refuses_the_whole_order(desk: Desk, line: dict[str, Any], code: str, words: str) -> None:
    body = {"customerNumber": "C-1", "salesOrderLines": [item(), line]}
    status, found, message = desk.bad("POST", "salesOrders", body)

    assert (status, found) == (400, code)
    assert words in message
    assert desk.get("salesOrders")["value"] == []
    assert desk.order(item())["number"] == "SO000001"  # not even a number was used up


def test_a_line_can_be_added_changed_and_deleted(desk: Desk) -> None:
    order = desk.order(item(), externalDocumentNumber="web-2")
    path = f"salesOrders({order['id']})/salesOrderLines"
    added = desk.call("POST", path, item("NUT", 2)).json()
    assert added["sequence"] == 20000

    line = f"{path}({added['id']})"
    changed = desk.call("PATCH", line, {"quantity": 4}, etag=added["@odata.etag"]).json()
    assert (changed["quantity"], changed["shipQuantity"], changed["invoiceQuantity"]) == (4, 4, 4)
    assert desk.get(f"salesOrders({order['id']})")["totalAmountExcludingTax"] == Decimal("11.32")

    assert desk.bad("PATCH", line, {"lineObjectNumber": "BOLT"}, etag="*")[1] == "Application_DialogException"
    assert desk.bad("PATCH", line, {"quantity": 4}, etag=added["@odata.etag"])[:2] == (409, "Request_EntityChanged")
    assert desk.bad("PATCH", line, {"quantity": 4})[:2] == (400, "BadRequest_InvalidToken")
    assert desk.bad("DELETE", line)[:2] == (400, "BadRequest_InvalidToken")
    assert desk.call("DELETE", line, etag="*").status == 204
    assert desk.bad("DELETE", line, etag="*")[:2] == (404, "Internal_RecordNotFound")


def test_a_header_change_needs_the_token_of_the_version_it_saw(desk: Desk) -> None:
    order = desk.order(item())
    path = f"salesOrders({order['id']})"
    first = desk.call("PATCH", path, {"shipToContact": "Ann"}, etag=order["@odata.etag"])
    assert (first.status, first.json()["shipToContact"]) == (200, "Ann")

    assert desk.bad("PATCH", path, {"shipToContact": "Bob"}, etag=order["@odata.etag"])[0] == 409
    assert desk.bad("PATCH", path, {"customerNumber": "C-2"}, etag="*")[1] == "Application_DialogException"
    assert desk.get(path)["shipToContact"] == "Ann"


def test_a_changed_line_makes_the_headers_token_stale(desk: Desk) -> None:
    order = desk.order(item(locationId=WEST))
    desk.plan(order["id"], 0, shipQuantity=0)

    assert desk.bad("DELETE", f"salesOrders({order['id']})", etag=order["@odata.etag"])[0] == 409


def test_an_order_that_was_not_shipped_can_be_deleted(desk: Desk) -> None:
    order = desk.order(item())

    assert desk.call("DELETE", f"salesOrders({order['id']})", etag=order["@odata.etag"]).status == 204
    assert desk.bad("GET", f"salesOrders({order['id']})")[:2] == (404, "Internal_RecordNotFound")


def test_a_draft_invoice_and_credit_memo_are_posted_by_their_action(desk: Desk) -> None:
    lines = {"salesInvoiceLines": [item(quantity=2, locationId=EAST)]}
    invoice = desk.call("POST", "salesInvoices", {"customerNumber": "C-1", **lines}).json()
    assert (invoice["status"], invoice["remainingAmount"]) == ("Draft", 0)
    assert desk.call("POST", f"salesInvoices({invoice['id']})/Microsoft.NAV.post").status == 204
    posted = desk.get(f"salesInvoices({invoice['id']})")
    assert (posted["status"], posted["remainingAmount"], posted["dueDate"]) == ("Open", Decimal("21.65"), "2026-04-01")
    assert desk.stock("BOLT") == 148
    assert desk.bad("POST", f"salesInvoices({invoice['id']})/Microsoft.NAV.post")[0] == 400
    assert desk.bad("PATCH", f"salesInvoices({invoice['id']})", {"email": "a@b.c"}, etag="*")[0] == 400

    lines = {"salesCreditMemoLines": [item(quantity=1, locationId=EAST)]}
    memo = desk.call("POST", "salesCreditMemos", {"customerNumber": "C-1", **lines}).json()
    assert desk.call("POST", f"salesCreditMemos({memo['id']})/Microsoft.NAV.post").status == 204
    assert desk.stock("BOLT") == 149
    customer = desk.get("customers", filter="number eq 'C-1'")["value"][0]
    assert customer["balanceDue"] == Decimal("10.82")  # 21.65 - 10.83
