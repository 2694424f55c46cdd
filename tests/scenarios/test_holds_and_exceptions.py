"""When a person must decide: is the order held before anything leaves, and does the decision move the same order on?"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

from tests.scenarios.orders import IL, LAKESIDE, PRICES, place
from tests.scenarios.system import Tenant, eventually

WI = {**IL, "address1": "77 Harbor Avenue", "city": "Kenosha", "province_code": "WI", "zip": "53140"}


def _untouched(tenant: Tenant, order_id: str) -> None:
    assert tenant.sales_orders(order_id) == [] and tenant.threepl_orders(order_id) == [], "nothing leaves before all checks have passed"


def test_an_order_over_the_credit_limit_is_held_approved_and_completes(acme: Tenant) -> None:
    order_id = place(acme, [("AC-PMP-200", 6)], customer=LAKESIDE, address=WI, rate=Decimal("0.05"))
    acme.reaches(order_id, "held")
    record = acme.exception(order_id=order_id)
    assert record["code"] == "CREDIT_LIMIT" and record["kind"] == "hold"
    assert {"limit", "balance", "order"} <= set(record["hold"]["seen"])
    _untouched(acme, order_id)

    acme.cli("exceptions", "resolve", record["exception_id"], "--decision", "approve", "--note", "paid by wire today")
    acme.reaches(order_id, "completed")
    assert len(acme.invoices(order_id)) == 1
    assert acme.exceptions(order_id=order_id) == []


def test_a_price_that_differs_is_held_with_both_prices_shown(acme: Tenant) -> None:
    order_id = place(acme, [("AC-BRG-6204", 3)], prices={**PRICES, "AC-BRG-6204": Decimal("7.40")})
    acme.reaches(order_id, "held")
    record = acme.exception(order_id=order_id)
    assert record["code"] == "PRICE_DIFFERENCE"
    assert "7.40" in record["hold"]["seen"]["AC-BRG-6204"] and "8.40" in record["hold"]["seen"]["AC-BRG-6204"]
    _untouched(acme, order_id)

    acme.cli("exceptions", "resolve", record["exception_id"], "--decision", "reject", "--note", "old price list")
    acme.reaches(order_id, "cancelled")
    _untouched(acme, order_id)
    shown = eventually(
        lambda: [order for order in acme.state("storefront")["orders"] if f"storefront-{order['id']}" == order_id and order.get("cancelled_at")],
        "the storefront knows that it is cancelled",
    )
    assert shown


def test_tax_and_freight_that_disagree_are_held_before_posting(acme: Tenant) -> None:
    taxed = place(acme, [("AC-BRG-6204", 40)], rate=Decimal("0.09"))
    freighted = place(acme, [("AC-BRG-6204", 4)], freight=Decimal("99.00"))
    acme.reaches(taxed, "held")
    acme.reaches(freighted, "held")
    assert acme.exception(order_id=taxed)["code"] == "TAX_DIFFERENCE"
    assert acme.exception(order_id=freighted)["code"] == "FREIGHT_DIFFERENCE"
    for order_id in (taxed, freighted):
        _untouched(acme, order_id)
        acme.cli("exceptions", "resolve", acme.exception(order_id=order_id)["exception_id"], "--decision", "reject", "--note", "test")
        acme.reaches(order_id, "cancelled")


def test_an_incomplete_address_is_held_corrected_and_completes(acme: Tenant) -> None:
    order_id = place(acme, [("AC-VLV-075", 2)], address={**IL, "zip": ""})
    acme.reaches(order_id, "held")
    record = acme.exception(order_id=order_id)
    assert record["code"] == "ADDRESS_INCOMPLETE"

    acme.cli("exceptions", "edit", record["exception_id"], "--set", "ship_to.postal_code=60432")
    acme.cli("exceptions", "retry", record["exception_id"])
    done = acme.reaches(order_id, "completed")
    assert done["ship_to"]["postal_code"] == "60432"


def test_an_order_that_no_warehouse_can_ship_is_an_exception_and_completes_when_stock_comes(acme: Tenant) -> None:
    order_id = place(acme, [("AC-MTR-050", 5000)], freight=Decimal("0.00"), customer={"email": "purchasing@blueridge-fab.example"})
    acme.reaches(order_id, "held", within=60)
    codes = {record["code"] for record in acme.exceptions(order_id=order_id)}
    if codes == {"CREDIT_LIMIT"}:
        acme.cli("exceptions", "resolve", acme.exception(order_id=order_id)["exception_id"], "--decision", "approve", "--note", "large order agreed")
    record = eventually(lambda: acme.exceptions(order_id=order_id, code="NO_VALID_WAREHOUSE"), "no valid warehouse is an exception within a minute", within=60)[0]
    assert "needs 5000" in record["hold"]["seen"]["AC-MTR-050"]
    acme.cli("exceptions", "resolve", record["exception_id"], "--decision", "reject", "--note", "cannot be filled")
    acme.reaches(order_id, "cancelled")


def test_an_unmappable_order_is_corrected_and_redriven_and_completes(acme: Tenant, tmp_path: Path) -> None:
    order_id = place(acme, [("BRG-6204-OLD", 4)])
    record = acme.exception(code="MISSING_XREF")
    assert "BRG-6204-OLD" in record["detail"] and record["queue"] == "inbound" and acme.order(order_id) is None

    standing = acme.cli("dlq", "list")
    assert any(entry["queue"] == "inbound" and int(entry["messages"]) >= 1 for entry in standing), standing
    counted = acme.cli("dlq", "redrive", "inbound", "--match", f"exception_id={record['exception_id']}", "--dry-run")
    assert counted["matched"] == 1 and counted["sent"] == 0

    shown = acme.cli("exceptions", "show", record["exception_id"])
    body = json.dumps(shown["payload"]).replace("BRG-6204-OLD", "AC-BRG-6204")
    edited = tmp_path / "order.json"
    edited.write_text(body)
    acme.cli("exceptions", "edit", record["exception_id"], "--file", str(edited))
    first = acme.cli("dlq", "redrive", "inbound", "--match", f"exception_id={record['exception_id']}")
    second = acme.cli("dlq", "redrive", "inbound", "--match", f"exception_id={record['exception_id']}")
    assert (first["sent"], second["sent"]) == (1, 0)

    acme.reaches(order_id, "completed")
    assert len(acme.invoices(order_id)) == 1
    eventually(lambda: not [left for left in acme.exceptions() if left["exception_id"] == record["exception_id"]], "the exception closed by itself")


def test_an_edit_that_would_fail_again_is_refused_with_the_field(acme: Tenant, tmp_path: Path) -> None:
    place(acme, [("BRG-6204-OLD", 1)])
    record = acme.exception(code="MISSING_XREF")
    edited = tmp_path / "order.json"
    edited.write_text('{"id": "not an order"}')
    refused = acme.cli("exceptions", "edit", record["exception_id"], "--file", str(edited), check=False)
    assert refused.get("ok") is False and refused["problems"], refused
    acme.cli("exceptions", "resolve", record["exception_id"], "--decision", "discard", "--note", "sent by the test")
