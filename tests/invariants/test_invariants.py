"""Can every invariant fail? Each is shown a good run, and then histories and states in which something went wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tests.invariants.evidence import Evidence, Letter, Level
from tests.invariants.history import History
from tests.invariants.invariants import INVARIANTS, check, title

ORDER = "storefront-1001"
PART = f"{ORDER}.1"


def an_order(**more: Any) -> dict[str, Any]:
    """Placed, shipped from one location, confirmed and invoiced."""
    return {
        "order_id": ORDER,
        "status": "completed",
        "lines": [{"line_id": "1", "sku": "A"}],
        "reserved": [{"sku": "A", "location": "MOR", "quantity": "3"}],
        "sales_order": {"external_id": "so-1", "number": "SO1"},
        "parts": [
            {
                "part_id": PART,
                "location": "MOR",
                "connection": "threepl",
                "status": "shipped",
                "external_id": "77",
                "lines": [{"line_id": "1", "sku": "A", "quantity": {"value": "3", "unit": "EA"}, "base_quantity": "3"}],
                "shipped": {"1": "3"},
            }
        ],
        "shipments": [{"shipment_id": "sh-1", "confirmed": True, "invoice_number": "INV1"}],
        **more,
    }


def entries() -> list[dict[str, Any]]:
    return [
        {"action": "OrderPlaced", "summary": "1 line", "details": {}},
        {"action": "SalesOrderPosted", "summary": "sales order SO1", "details": {"external_id": "so-1"}},
        {"action": "FulfillmentReleased", "summary": "released", "details": {"part": PART, "external_id": "77"}},
        {"action": "ShipmentDispatched", "summary": "left", "details": {"shipment": "sh-1"}},
        {"action": "ShipmentConfirmed", "summary": "told", "details": {"shipment": "sh-1", "external_id": "f-1"}},
        {"action": "InvoicePosted", "summary": "invoice INV1 for sh-1", "details": {"external_id": "i-1"}},
        {"action": "OrderCompleted", "summary": "all", "details": {}},
    ]


def side(**more: Any) -> dict[str, Any]:
    return {"accepted": 1, "done": 1, "held": 0, "exception": 0, "in_flight": 0, "missing": [], **more}


def a_good_run() -> tuple[History, Evidence]:
    history = History()
    message = {"order_id": ORDER, "topic": "orders/create", "key": "event-1"}
    history.add("sent", **message)
    history.add("unanswered", **message, error="ReadTimeout")
    history.add("answered", **message, status=503)
    history.add("answered", **message, status=200)
    for status in ("accepted", "accepted", "posted", "completed"):
        history.add("status", order_id=ORDER, status=status)
    history.add("redriven", queue="inbound", messages=1, once={"salesOrders": 1}, twice={"salesOrders": 1})
    seen = Evidence(
        orders={ORDER: an_order()},
        timelines={ORDER: {"entries": entries(), "chain": {"whole": True, "problems": []}}},
        balance={"deliveries": side(), "orders": side(), "returns": side(), "stock_committed_without_order": [], "adds_up": True},
        dead_letters=[Letter("inbound", "d-1", "CONTRACT_DRIFT", "contract-drift-1")],
        levels_before={"A@MOR": Level(Decimal(10), Decimal(0), Decimal(0), "t0")},
        levels={"A@MOR": Level(Decimal(7), Decimal(0), Decimal(0), "t0")},
        erp={
            "salesOrders": [],
            "salesShipments": [{"externalDocumentNumber": ORDER, "orderNumber": "SO1"}],
            "salesInvoices": [{"externalDocumentNumber": ORDER, "number": "INV1"}],
        },
        threepl={"orders": [{"reference_id": PART}]},
        storefront={"orders": [{"id": 1001, "fulfillments": [{"id": 5, "tracking_number": "1Z5"}]}]},
        neighbour_before={"item a": "x"},
        neighbour={"item a": "x"},
        log_lines=[("receive_webhook", "webhook answered")],
        secrets={"the secret of the ERP": "hunter2hunter2"},
    )
    return history, seen


def test_a_good_run_holds_every_invariant_and_each_has_looked_at_something() -> None:
    verdicts = check(*a_good_run())

    assert {name: verdict.violations for name, verdict in verdicts.items() if verdict.violations} == {}
    assert [name for name, verdict in verdicts.items() if verdict.looked_at == 0] == []
    assert [name for name in INVARIANTS if not title(name)] == []


def test_an_empty_run_neither_holds_nor_violates_what_it_has_nothing_of() -> None:
    _, seen = a_good_run()
    verdicts = check(History(), Evidence(balance=seen.balance))

    assert {name for name, verdict in verdicts.items() if verdict.looked_at} == {"I6"}


Damage = Callable[[History, Evidence], None]


def told(kind: str, **facts: Any) -> Damage:
    return lambda history, seen: history.add(kind, **facts)


def another(place: str, collection: str, document: dict[str, Any]) -> Damage:
    return lambda history, seen: getattr(seen, place)[collection].append(document)


def order(**changes: Any) -> Damage:
    return lambda history, seen: seen.orders.update({ORDER: an_order(**changes)})


def without(place: str, collection: str) -> Damage:
    return lambda history, seen: getattr(seen, place).update({collection: []})


def trail(change: Callable[[list[dict[str, Any]]], Any]) -> Damage:
    def damage(history: History, seen: Evidence) -> None:
        change(seen.timelines[ORDER]["entries"])

    return damage


def put(place: str, name: str, value: Any) -> Damage:
    return lambda history, seen: getattr(seen, place).update({name: value})


def line(text: str) -> Damage:
    return lambda history, seen: seen.log_lines.append(("apply_event", text))


def level(on_hand: int, committed: int, *, position: str = "A@MOR", as_of: str = "t0") -> Damage:
    return put("levels", position, Level(Decimal(on_hand), Decimal(committed), Decimal(0), as_of))


SO2 = {"externalDocumentNumber": ORDER, "orderNumber": "SO2", "number": "SO2"}
BAD: list[tuple[str, str, Damage]] = [
    ("I1", "acknowledged and nowhere", told("answered", order_id="storefront-2", topic="orders/create", key="e2", status=200)),
    ("I1", "two sales orders", another("erp", "salesShipments", SO2)),
    ("I1", "no sales order", without("erp", "salesShipments")),
    ("I1", "a part twice at the 3PL", another("threepl", "orders", {"reference_id": PART})),
    ("I1", "no 3PL order", without("threepl", "orders")),
    ("I1", "not confirmed", put("storefront", "orders", [{"id": 1001, "fulfillments": []}])),
    ("I1", "two invoices", another("erp", "salesInvoices", {"externalDocumentNumber": ORDER, "number": "INV2"})),
    ("I1", "stuck and nobody asked", order(status="released")),
    ("I1", "cancelled and still in the ERP", lambda history, seen: (order(status="cancelled")(history, seen), another("erp", "salesOrders", SO2)(history, seen))[0]),
    ("I2", "never acknowledged", told("answered", order_id="storefront-2", topic="orders/create", key="e2", status=503)),
    ("I2", "refused when sent again", told("answered", order_id=ORDER, topic="orders/create", key="event-1", status=409)),
    ("I2", "acknowledged at last and lost", lambda history, seen: seen.orders.clear()),
    ("I2", "each try an order", another("erp", "salesShipments", SO2)),
    ("I3", "stock vanished", level(6, 0)),
    ("I3", "stock came from nowhere", level(8, 0)),
    ("I3", "committed for nobody", level(7, 1)),
    ("I3", "oversold", lambda history, seen: (order(status="posted", parts=[])(history, seen), level(2, 3, as_of="t1")(history, seen))[0]),
    ("I3", "held and not committed", order(status="posted", parts=[])),
    ("I3", "held where nothing is", order(status="posted", parts=[], reserved=[{"sku": "B", "location": "DAL", "quantity": "1"}])),
    ("I4", "a later status and then an earlier one", told("status", order_id=ORDER, status="reserved")),
    ("I4", "seen completed, now released", order(status="released")),
    ("I5", "two sales orders", another("erp", "salesOrders", SO2)),
    ("I5", "a part twice", another("threepl", "orders", {"reference_id": PART})),
    ("I5", "a shipment shown twice", put("storefront", "orders", [{"id": 1001, "fulfillments": [{"id": 5, "tracking_number": "1Z5"}, {"id": 6, "tracking_number": "1Z5"}]}])),
    ("I5", "more invoices than shipments", another("erp", "salesInvoices", {"externalDocumentNumber": ORDER, "number": "INV2"})),
    ("I6", "a delivery is missing", put("balance", "deliveries", side(missing=["delivery d-1"]))),
    ("I6", "one more accepted than found", put("balance", "orders", side(accepted=2))),
    ("I6", "stock held by nobody", put("balance", "stock_committed_without_order", ["order x"])),
    ("I6", "it does not add up", put("balance", "adds_up", False)),
    ("I6", "a dead letter without a reason", lambda history, seen: seen.dead_letters.append(Letter("work", "x", None, None))),
    ("I7", "broken chain", lambda history, seen: seen.timelines[ORDER]["chain"].update(whole=False)),
    ("I7", "a record and no state", lambda history, seen: seen.orders.clear()),
    ("I7", "posted and not told", trail(lambda found: found.pop(1))),
    ("I7", "told and not invoiced", order(shipments=[{"shipment_id": "sh-1", "confirmed": True, "invoice_number": None}])),
    ("I7", "shipped and not told", trail(lambda found: found.pop(3))),
    ("I7", "released and not told", trail(lambda found: found.pop(2))),
    ("I7", "confirmed and not told", trail(lambda found: found.pop(4))),
    ("I7", "completed and not told", trail(lambda found: found.pop(6))),
    ("I7", "never placed", trail(lambda found: found.pop(0))),
    ("I8", "changed", put("neighbour", "item a", "y")),
    ("I8", "appeared", put("neighbour", "item b", "y")),
    ("I8", "vanished", lambda history, seen: seen.neighbour.clear()),
    ("I9", "a secret in a log", line('{"password": "hunter2hunter2"}')),
    ("I10", "twice is more than once", told("redriven", queue="work", messages=1, once={"salesOrders": 1}, twice={"salesOrders": 2})),
]


@pytest.mark.parametrize(("name", "damage"), [(name, damage) for name, _, damage in BAD], ids=[f"{name}-{what}" for name, what, _ in BAD])
def test_what_went_wrong_is_seen(name: str, damage: Damage) -> None:
    history, seen = a_good_run()
    damage(history, seen)

    assert check(history, seen)[name].violations != []


def test_every_invariant_is_shown_something_wrong() -> None:
    assert {name for name, _, _ in BAD} == set(INVARIANTS)


def test_a_held_order_and_one_with_an_exception_are_somebodys() -> None:
    history, seen = a_good_run()
    seen.orders[ORDER] = an_order(status="held", parts=[], shipments=[], reserved=[])
    assert check(history, seen)["I1"].violations == []

    seen.orders[ORDER] = an_order(status="posted", parts=[], shipments=[], reserved=[])
    assert check(history, seen)["I1"].violations != []
    seen.exceptions = [{"subject": "x", "order_id": ORDER}]
    assert check(history, seen)["I1"].violations == []


def test_a_new_absolute_count_begins_a_new_account() -> None:
    history, seen = a_good_run()
    level(500, 0, as_of="t1")(history, seen)
    assert check(history, seen)["I3"].violations == []


def test_the_history_only_grows() -> None:
    history, _ = a_good_run()
    before = copy.deepcopy(list(history))
    history.add("sent", order_id="storefront-2")
    assert list(history)[: len(before)] == before
    assert [entry.number for entry in history] == list(range(len(before) + 1))
    assert history.order_ids() == [ORDER, "storefront-2"]
