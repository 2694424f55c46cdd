"""Can clients keep master data, with the vendor's keys, references and stock adjustments?"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from local.simulators.business_central.masters import id_of
from tests.local.simulators.business_central.desk import EAST, Desk


def test_a_customer_is_created_changed_and_deleted(desk: Desk) -> None:
    created = desk.call("POST", "customers", {"displayName": "New", "creditLimit": Decimal("99.5"), "type": "Company"})
    customer = created.json()
    assert created.status == 201
    assert created.headers["location"].endswith(f"/customers({customer['id']})")
    assert (customer["number"], customer["blocked"], customer["creditLimit"]) == ("C00001", "_x0020_", Decimal("99.5"))

    path = f"customers({customer['id']})"
    changed = desk.call("PATCH", path, {"blocked": "Invoice", "email": None}, etag=customer["@odata.etag"]).json()
    assert (changed["blocked"], changed["email"]) == ("Invoice", "")
    assert desk.call("DELETE", path, etag=changed["@odata.etag"]).status == 204


@pytest.mark.parametrize(
    ("set_name", "body", "code"),
    [
        ("customers", {}, "Application_DialogException"),
        ("customers", {"displayName": "A", "number": "C-1"}, "Internal_EntityWithSameKeyExists"),
        ("customers", {"displayName": "A", "balanceDue": 1}, "BadRequest_InvalidOperation"),
        ("customers", {"displayName": "A", "blocked": "Maybe"}, "Application_EvaluateException"),
        ("customers", {"displayName": None}, "BadRequest_RequiredParamNotProvided"),
        ("customers", {"displayName": "A", "currencyId": EAST}, "Application_DialogException"),
        ("items", {"displayName": "A", "inventory": 5}, "Application_DialogException"),
        ("items", {"displayName": "A", "baseUnitOfMeasureCode": "TON"}, "Application_DialogException"),
        ("items", {"displayName": "A", "gtin": "123456789012345"}, "Application_StringExceededLength"),
        ("locations", {"displayName": "no code"}, "BadRequest_RequiredParamNotProvided"),
        ("locations", {"code": "EAST"}, "Internal_EntityWithSameKeyExists"),
        ("itemVariants", {"code": "RED", "itemId": EAST}, "Internal_InvalidTableRelation"),
    ],
)
def test_wrong_master_data_is_refused(desk: Desk, set_name: str, body: dict[str, Any], code: str) -> None:
    assert desk.bad("POST", set_name, body)[:2] == (400, code)


def test_a_key_cannot_be_taken_by_a_change(desk: Desk) -> None:
    path = f"items({id_of('items', 'BOLT')})"
    assert desk.bad("PATCH", path, {"number": "NUT"}, etag="*")[1] == "Internal_EntityWithSameKeyExists"
    assert desk.bad("PATCH", f"customers({id_of('customers', 'C-1')})", {"displayName": ""}, etag="*")[0] == 400


def test_patching_the_inventory_posts_an_adjustment_but_leaves_the_shelves(desk: Desk) -> None:
    bolt = id_of("items", "BOLT")
    assert desk.call("PATCH", f"items({bolt})", {"inventory": 160}, etag="*").json()["inventory"] == 160
    [entry] = desk.get("itemLedgerEntries")["value"]
    assert (entry["entryType"], entry["quantity"]) == ("Positive_x0020_Adjmt_x002E_", 10)


def test_stock_counted_by_staff_changes_the_ledger_and_not_the_item_record(desk: Desk) -> None:
    before = desk.get("items", filter="number eq 'NUT'")["value"][0]
    desk.harness.act("adjust_inventory", {"item": "NUT", "location": "WEST", "quantity": 2})

    after = desk.get("items", filter="number eq 'NUT'")["value"][0]
    assert (after["inventory"], after["@odata.etag"]) == (2, before["@odata.etag"])
    [entry] = desk.get("itemLedgerEntries", filter="itemNumber eq 'NUT'")["value"]
    assert (entry["entryType"], entry["quantity"]) == ("Negative_x0020_Adjmt_x002E_", -3)


def test_variants_belong_to_their_item(desk: Desk) -> None:
    bolt = id_of("items", "BOLT")
    red = desk.call("POST", f"items({bolt})/itemVariants", {"code": "RED"}).json()
    assert red["itemNumber"] == "BOLT"
    [shown] = desk.get("items", filter="number eq 'BOLT'", expand="itemVariants")["value"]
    assert [variant["code"] for variant in shown["itemVariants"]] == ["RED"]
    line = {"lineObjectNumber": "BOLT", "quantity": 1, "itemVariantId": red["id"]}
    assert desk.order(line)["salesOrderLines"][0]["itemVariantId"] == red["id"]
    wrong = {"customerNumber": "C-1", "salesOrderLines": [{**line, "lineType": "Item", "lineObjectNumber": "NUT"}]}
    assert desk.bad("POST", "salesOrders", wrong)[1] == "Internal_InvalidTableRelation"


def test_what_documents_still_need_cannot_be_deleted(desk: Desk) -> None:
    desk.order({"lineObjectNumber": "BOLT", "quantity": 1})
    assert desk.bad("DELETE", f"items({id_of('items', 'BOLT')})", etag="*")[1] == "Application_DialogException"
    assert desk.bad("DELETE", f"customers({id_of('customers', 'C-1')})", etag="*")[1] == "Application_DialogException"


def test_a_credit_limit_is_shown_and_paid_invoices_leave_the_balance(desk: Desk) -> None:
    desk.harness.act("set_credit_limit", {"customer": "C-1", "credit_limit": "20"})
    order = desk.order({"lineObjectNumber": "BOLT", "quantity": 9, "locationId": EAST})  # the API does not check it
    desk.post_order(order["id"])
    invoice = desk.get("salesInvoices")["value"][0]
    customer = desk.get(f"customers({order['customerId']})")
    assert (customer["creditLimit"], customer["balanceDue"]) == (20, invoice["totalAmountIncludingTax"])

    desk.harness.act("pay_invoice", {"invoice": invoice["number"]})
    assert desk.get(f"customers({order['customerId']})")["balanceDue"] == 0
    assert desk.get(f"salesInvoices({invoice['id']})")["status"] == "Paid"


def test_a_foreign_currency_is_taken_by_code_or_id(desk: Desk) -> None:
    order = desk.order({"lineObjectNumber": "BOLT", "quantity": 1}, currencyCode="EUR")
    assert order["currencyId"] == id_of("currencies", "EUR")
    assert desk.order({"lineObjectNumber": "BOLT", "quantity": 1}, currencyId=id_of("currencies", "EUR"))["currencyCode"] == "EUR"
