"""When a system fails, tells late or tells twice, and when the customer changes their mind."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest

from tests.scenarios.orders import arrived, place
from tests.scenarios.system import Tenant, eventually


@pytest.mark.parametrize(
    ("connection", "match"),
    [("erp", {"method": "POST", "path": "/salesOrders"}), ("threepl", {"method": "POST", "path": "/order"}), ("storefront", "fulfillmentCreate"), ("erp", "shipAndInvoice")],
    ids=["sales order", "3PL order", "fulfilment", "invoice"],
)
def test_an_answer_lost_after_the_commit_ends_with_exactly_one_document(acme: Tenant, connection: str, match: object) -> None:
    acme.fault(connection, match=match, drop_after_commit=True, times=1)
    order_id = place(acme, [("AC-LUB-WHT", 3)])
    done = acme.reaches(order_id, "completed", within=90)

    fired = acme.session.get(acme.simulators[connection] + "/_faults", timeout=30).json()
    assert sum(fault["fired"] for fault in (fired if isinstance(fired, list) else fired["faults"])) == 1, "the fault was really met"
    assert len(acme.invoices(order_id)) == 1
    assert len({shipment["orderNumber"] for shipment in acme.state("erp")["salesShipments"] if shipment.get("externalDocumentNumber") == order_id}) == 1
    assert len(acme.threepl_orders(order_id)) == 1
    [shown] = [order for order in acme.state("storefront")["orders"] if f"storefront-{order['id']}" == order_id]
    assert len(shown["fulfillments"]) == len(done["shipments"]) == 1


def test_a_system_that_asks_for_patience_gets_it(acme: Tenant) -> None:
    acme.fault("erp", match="*", status=429, headers={"Retry-After": "1"}, times=3)
    acme.fault("threepl", match={"method": "POST", "path": "/order"}, status=503, times=2)
    order_id = place(acme, [("AC-TAP-PTF", 3)])
    acme.reaches(order_id, "completed", within=90)
    assert len(acme.invoices(order_id)) == 1 and len(acme.threepl_orders(order_id)) == 1


def test_a_refusal_of_the_3pl_is_an_exception_and_never_a_completed_order(acme: Tenant) -> None:
    acme.fault("threepl", match={"method": "POST", "path": "/order"}, status=422, times=1)
    order_id = place(acme, [("AC-TAP-PTF", 2)])
    record = acme.exception(order_id=order_id, queue="outbound")
    assert acme.order(order_id)["status"] != "completed"  # type: ignore[index]
    acme.cli("exceptions", "retry", record["exception_id"])
    acme.reaches(order_id, "completed")
    eventually(lambda: not acme.exceptions(order_id=order_id), "the exception closed on the evidence")


SEATTLE = {
    "first_name": "Nora",
    "last_name": "Castillo",
    "company": "Blue Ridge Fabrication",
    "address1": "85 Pike Street",
    "city": "Seattle",
    "province_code": "WA",
    "country_code": "US",
    "zip": "98101",
}


def test_what_the_3pl_gives_up_ships_from_the_next_warehouse_where_the_tenant_says_so(acme: Tenant) -> None:
    acme.autopilot("threepl", enabled=False)
    order_id = place(acme, [("AC-BRG-6204", 4)], address=SEATTLE, rate=Decimal(0))
    taxed = acme.exception(order_id=order_id)  # the ERP taxes by the account's area, and the account is of Illinois
    acme.cli("exceptions", "resolve", taxed["exception_id"], "--decision", "approve", "--note", "sold to another state")
    [threepl_order] = eventually(lambda: acme.threepl_orders(order_id), "the 3PL has the order")
    [given_up] = [one for one in acme.state("threepl")["shipments"] if one["order_id"] == threepl_order["id"]]

    acme.act("threepl", "reject", shipment_id=int(given_up["id"]))

    done = acme.reaches(order_id, "completed", within=90)
    assert [(part["location"], part["status"]) for part in done["parts"]] == [("DAL", "shipped"), ("MOR", "cancelled")]
    assert {"FulfillmentRerouting", "FulfillmentRerouted"} <= {entry["action"] for entry in acme.timeline(order_id)}
    assert len(acme.invoices(order_id)) == 1
    assert acme.exceptions(order_id=order_id) == []


def test_a_cancellation_after_release_undoes_everything(acme: Tenant) -> None:
    acme.autopilot("erp", enabled=False)
    acme.autopilot("threepl", enabled=False)
    order_id = place(acme, [("AC-PMP-200", 1), ("AC-LUB-WHT", 2)])
    acme.reaches(order_id, "released")
    eventually(
        lambda: [part for part in (acme.order(order_id) or {})["parts"] if part["status"] in ("released", "acknowledged")] and len(acme.threepl_orders(order_id)) == 1,
        "both parts released",
    )

    acme.act("storefront", "cancel_order", order=order_id.removeprefix("storefront-"))
    acme.reaches(order_id, "cancelled", within=60)

    assert acme.sales_orders(order_id) == [], "the sales order is gone from the ERP"
    assert {order["status"] for order in acme.threepl_orders(order_id)} == {"Cancelled"}
    for sku in ("AC-PMP-200", "AC-LUB-WHT"):
        held = [reservation for reservation in acme.cli("balance", check=False)["stock_committed_without_order"] if order_id in reservation]
        assert held == [], sku
    assert acme.invoices(order_id) == []


def test_a_cancellation_while_held_leaves_nothing_behind(acme: Tenant) -> None:
    order_id = place(
        acme,
        [("AC-BRG-6204", 4)],
        address={"first_name": "N", "last_name": "C", "address1": "418 Foundry Road", "city": "Joliet", "province_code": "IL", "country_code": "US", "zip": ""},
    )
    acme.reaches(order_id, "held")
    acme.act("storefront", "cancel_order", order=order_id.removeprefix("storefront-"))
    acme.reaches(order_id, "cancelled")
    assert acme.sales_orders(order_id) == []
    eventually(lambda: not acme.exceptions(order_id=order_id), "the hold is closed with its order")


def test_a_cancellation_that_comes_before_the_order_wins(acme: Tenant) -> None:
    acme.fault("storefront", match={"topic": "orders/create"}, reorder=True, times=1)
    order_id = place(acme, [("AC-BRG-6204", 1)])
    acme.act("storefront", "cancel_order", order=order_id.removeprefix("storefront-"))
    acme.reaches(order_id, "cancelled")
    assert acme.sales_orders(order_id) == []


def test_a_shipment_told_before_the_acknowledgement_still_joins(acme: Tenant) -> None:
    acme.autopilot("threepl", enabled=False)
    order_id = place(acme, [("AC-LUB-WHT", 2)])
    [threepl_order] = eventually(lambda: acme.threepl_orders(order_id), "the 3PL has the order")
    _ship(acme, threepl_order)
    done = acme.reaches(order_id, "completed")
    assert done["parts"][0]["status"] == "shipped"


def _ship(tenant: Tenant, threepl_order: dict[str, object], **more: object) -> None:
    shipments = [
        shipment for shipment in tenant.state("threepl")["shipments"] if shipment["order_id"] == threepl_order["id"] and shipment["status"] not in ("Completed", "Cancelled")
    ]
    for shipment in shipments:
        tenant.act("threepl", "ship", shipment_id=int(shipment["id"]), **more)


def test_partial_shipments_are_each_confirmed_and_invoiced_once(acme: Tenant) -> None:
    acme.autopilot("threepl", enabled=False)
    order_id = place(acme, [("AC-LUB-WHT", 5)])
    [threepl_order] = eventually(lambda: acme.threepl_orders(order_id), "the 3PL has the order")
    _ship(acme, threepl_order, lines=[{"sku": "SB-LUB-WHT", "quantity": 2}])
    partly = acme.reaches(order_id, "partially_shipped")
    assert partly["parts"][0]["status"] == "partially_shipped"
    eventually(lambda: len(acme.invoices(order_id)) == 1, "the first shipment is invoiced at once")
    _ship(acme, threepl_order)
    done = acme.reaches(order_id, "completed")
    assert len(done["shipments"]) == 2 and len(acme.invoices(order_id)) == 2


def test_a_lost_answer_of_the_platform_itself_is_never_a_second_order(acme: Tenant) -> None:
    """The sender never heard the 2xx and sends the same again a little later."""
    order_id = place(acme, [("AC-BRG-6204", 2)])
    arrived(acme, order_id)
    acme.fault("storefront", match={"topic": "orders/create"}, duplicate=3, times=1)
    again = place(acme, [("AC-BRG-6204", 2)])
    acme.reaches(again, "completed")
    acme.reaches(order_id, "completed")
    time.sleep(1)
    assert len(acme.invoices(again)) == len(acme.invoices(order_id)) == 1
