"""One order, all the way: does every system agree at the end, and is each step on the record?"""

from __future__ import annotations

import time
from decimal import Decimal

from tests.scenarios.orders import PRICES, arrived, place
from tests.scenarios.system import Tenant, at_once, eventually


def test_an_order_split_over_a_warehouse_and_the_3pl_reaches_its_posted_invoices(acme: Tenant) -> None:
    order_id = place(acme, [("AC-PMP-200", 2), ("AC-BRG-6204", 10), ("AC-LUB-WHT", 6)])
    done = acme.reaches(order_id, "completed")

    assert {part["location"] for part in done["parts"]} == {"CHI", "MOR"}
    assert all(shipment["confirmed"] and shipment["invoice_number"] for shipment in done["shipments"])

    invoices = acme.invoices(order_id)
    assert len(invoices) == len(done["shipments"]) == 2
    total = sum(Decimal(str(invoice["totalAmountIncludingTax"])) for invoice in invoices)
    assert abs(total - Decimal(done["total"]["amount"])) <= Decimal("0.05"), "the invoices make the order's total"

    [fulfilled] = acme.threepl_orders(order_id)
    assert fulfilled["reference_id"] == next(part["part_id"] for part in done["parts"] if part["location"] == "MOR")

    actions = [entry["action"] for entry in acme.timeline(order_id)]
    for earlier, later in (
        ("OrderPlaced", "StockReserved"),
        ("StockReserved", "SalesOrderPosted"),
        ("SalesOrderPosted", "FulfillmentReleased"),
        ("FulfillmentReleased", "ShipmentDispatched"),
        ("ShipmentDispatched", "ShipmentConfirmed"),
        ("ShipmentDispatched", "InvoicePosted"),
        ("InvoicePosted", "OrderCompleted"),
    ):
        assert actions.index(earlier) < actions.index(later), actions
    assert actions.count("OrderCompleted") == 1


def test_the_storefront_shows_the_tracking_of_every_package(acme: Tenant) -> None:
    order_id = place(acme, [("AC-TAP-PTF", 5)])
    done = acme.reaches(order_id, "completed")
    number = order_id.removeprefix("storefront-")

    tracking = {package["tracking_number"] for shipment in done["shipments"] for package in shipment["packages"]} - {""}
    [shown] = [order for order in acme.state("storefront")["orders"] if str(order["id"]) == number]
    assert tracking and tracking <= {text for fulfillment in shown["fulfillments"] for text in fulfillment["tracking_numbers"]}
    assert shown["fulfillment_status"] == "fulfilled"


def test_stock_is_committed_while_the_order_is_open_and_gone_when_it_has_left(acme: Tenant) -> None:
    before = _level(acme, "AC-PMP-200", "CHI")
    order_id = place(acme, [("AC-PMP-200", 3)])
    acme.reaches(order_id, "completed")
    after = _level(acme, "AC-PMP-200", "CHI")

    assert Decimal(after["committed"]) == Decimal(before["committed"])
    assert Decimal(before["available"]) - Decimal(after["available"]) == 3


def test_the_same_webhook_twenty_times_at_once_makes_one_order(acme: Tenant) -> None:
    order_id = place(acme, [("AC-VLV-100", 2)])
    arrived(acme, order_id)
    number = order_id.removeprefix("storefront-")
    [shown] = [order for order in acme.state("storefront")["orders"] if str(order["id"]) == number]
    copy = {**_copy_of(acme, shown), "id": int(number) + 9_000_000_000, "admin_graphql_api_id": f"gid://shopify/Order/{int(number) + 9_000_000_000}", "name": f"#C{number[-5:]}"}

    answers = at_once(lambda _: acme.shopify("orders/create", copy, event_id=f"copies-{number}"), 20)
    assert {answer.status_code for answer in answers} == {200}

    copied = f"storefront-{int(number) + 9_000_000_000}"
    acme.reaches(copied, "completed")
    assert len(acme.invoices(copied)) == 1
    assert [entry["action"] for entry in acme.timeline(copied)].count("OrderPlaced") == 1


def _copy_of(tenant: Tenant, shown: dict[str, object]) -> dict[str, object]:
    """The order as the shop sends it, with JSON-safe numbers."""
    import json

    return dict(json.loads(json.dumps(shown, default=str)))


def _level(tenant: Tenant, sku: str, location: str) -> dict[str, str]:
    def look() -> object:
        return next((level for level in tenant.get(f"/v1/inventory/{sku}")["locations"] if level["location"] == location), None)

    found: dict[str, str] = eventually(look, f"stock of {sku} at {location}")
    return found


def test_an_order_submitted_through_the_api_is_posted_like_any_other(acme: Tenant) -> None:
    document = {
        "external_id": f"API-{time.time_ns()}",
        "currency": "USD",
        "account": "C10010",
        "ship_to": {"name": "Nora Castillo", "line1": "418 Foundry Road", "city": "Joliet", "region": "IL", "postal_code": "60432", "country": "US"},
        "lines": [{"sku": "AC-BRG-6305", "quantity": "4", "unit": "EA", "unit_price": str(PRICES["AC-BRG-6305"]), "tax": "3.69"}],
        "freight": "0.00",
    }
    first = acme.submit(document, key=f"key-{document['external_id']}")
    again = acme.submit(document, key=f"key-{document['external_id']}")
    other = acme.submit({**document, "note": "changed"}, key=f"key-{document['external_id']}")

    assert (first.status_code, again.status_code, other.status_code) == (202, 202, 409), (first.text, again.text, other.text)
    assert first.json()["order_id"] == again.json()["order_id"]
    done = acme.reaches(first.json()["order_id"], "completed")
    assert len(acme.invoices(done["order_id"])) == 1
