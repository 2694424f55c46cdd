"""Does every order in which the facts of one order can arrive, and every repetition, end the same?"""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from crossdock.domain.events import Fact, FulfillmentRefused, OrderPlaced, OrderUpdated, ShipmentDelivered, StockCounted
from crossdock.domain.order import OrderLine
from crossdock.domain.stock import StockReading
from tests.fakes import START
from tests.flows.world import World, an_order, line


def _lines() -> list[OrderLine]:
    return [line("1", "BOLT", "2", "120", unit="CS"), line("2", "VALVE", "2", "120", unit="CS")]


def _history(world: World) -> list[tuple[str, Fact]]:
    """A newer version with the same content, two parts, the second of which leaves in two shipments; the 3PL names pieces and its own SKU."""
    order = an_order(lines=_lines())
    return [
        ("shop", OrderPlaced(order=order)),
        ("shop", OrderUpdated(order=order.model_copy(update={"source_version": "2026-10-05T08:05:00Z", "note": "gift wrap"}))),
        ("erp", world.acknowledgement("shop-1.1")),
        ("erp", world.dispatch_of("erp", "shop-1.1", [("BOLT", order.lines[0].quantity.value)])),
        ("threepl", world.dispatch_of("threepl", "shop-1.2", [("VALVE", line("x", "VALVE", "6", "1").quantity.value)], "half-1")),
        ("threepl", world.dispatch_of("threepl", "shop-1.2", [("VALVE", line("x", "VALVE", "6", "1").quantity.value)], "half-2")),
    ]


def _end(world: World) -> dict[str, Any]:
    record = world.record()
    return {
        "status": record.status.value,
        "shipped": {part.plan.part_id: (part.status.value, {name: str(count) for name, count in part.shipped.items()}) for part in record.parts},
        "shipments": sorted((booked.shipment.shipment_id, [str(one.quantity) for one in booked.lines], booked.confirmed, booked.invoice_number) for booked in record.shipments),
        "effects": [effect for effect in world.effects_done() if effect[0] != "ReleaseFulfillment"],
        "stock": {f"{sku}@{place}": (str(level.on_hand), str(level.committed)) for (sku, place), level in sorted(world.stock.shelf.items())},
        "open": world.open_codes(),
        "parked": sum(len(items) for items in world.orders.waiting_room.values()),
        "adds up": world.balance().adds_up,
        "workflow": world.workflow.running("shop-1"),
    }


EXPECTED = {
    "status": "completed",
    "shipped": {"shop-1.1": ("shipped", {"1": "2"}), "shop-1.2": ("shipped", {"2": "2"})},
    "shipments": [
        ("erp-S-shop-1.1", ["2"], True, "INV-erp-S-shop-1.1"),
        ("threepl-half-1", ["1"], True, "INV-threepl-half-1"),
        ("threepl-half-2", ["1"], True, "INV-threepl-half-2"),
    ],
    "open": [],
    "parked": 0,
    "adds up": True,
    "workflow": False,
}


@pytest.mark.parametrize("first", range(6))
def test_every_permutation_ends_in_the_same_state(first: int) -> None:
    for order in itertools.permutations(range(6)):
        if order[0] != first or order.index(4) > order.index(5):  # the two halves are alike
            continue
        world = World()
        history = _history(world)
        for number in order:
            world.tell(history[number][0], history[number][1])
            world.run()
        found = _end(world)
        differing = {name: (value, found[name]) for name, value in EXPECTED.items() if found[name] != value}
        assert not differing, f"{order}: {differing}"
        assert found["stock"]["BOLT@CHI"] == ("76", "0")
        assert found["stock"]["VALVE@MOR"] == ("24", "0")


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5), (5, 4, 3, 2, 1, 0), (3, 0, 2, 5, 1, 4), (1, 3, 0, 4, 2, 5)])
def test_every_fact_told_three_times_over_counts_once(order: tuple[int, ...]) -> None:
    world = World()
    history = _history(world)
    for number in (*order, *order, *order):  # as new messages each time: the sender's ids do not help
        world.tell(*history[number])
        world.run()
    found = _end(world)
    assert {name: found[name] for name in EXPECTED} == EXPECTED
    assert max(world.effects_done().count(effect) for effect in world.effects_done()) == 1
    assert world.audit.actions("shop-1").count("ShipmentDispatched") == 3


def test_everything_at_once_before_any_worker_runs() -> None:
    for order in itertools.permutations(range(4)):
        world = World()
        history = _history(world)
        for number in (*order, 4, 5):
            world.tell(*history[number])
        world.run()
        assert {name: _end(world)[name] for name in EXPECTED} == EXPECTED, order


def test_a_hundred_copies_of_the_webhook_make_one_order() -> None:
    world = World()
    world.autopilot()
    order = an_order()
    answers = [world.tell("shop", OrderPlaced(order=order), topic="orders/create", event_id="the-same") for _ in range(100)]
    assert [answer.status for answer in answers] == [200] * 100
    assert sum(answer.duplicate for answer in answers) == 99
    world.run()
    assert len(world.orders.every()) == 1
    assert world.effects_done().count(("CreateSalesOrder", "shop-1")) == 1
    assert len(world.workflow.executions) == 1


def test_a_shipment_before_its_acknowledgement_counts_as_both() -> None:
    world = World()
    world.place(an_order(lines=_lines()))
    world.run()
    world.clock.pass_by(hours=2)
    world.watch()
    assert world.open_codes() == ["ACKNOWLEDGEMENT_MISSING"] * 2
    world.tell("erp", world.dispatch("shop-1.1"))
    world.run()
    assert world.open_codes() == ["ACKNOWLEDGEMENT_MISSING"], "what has left has been accepted"
    world.tell("erp", world.acknowledgement("shop-1.1"))
    world.run()
    assert world.part("shop-1.1").status.value == "shipped"


def test_a_delivery_told_before_the_dispatch_waits_for_it() -> None:
    world = World()
    world.place()
    world.run()
    world.tell("erp", ShipmentDelivered(shipment_id="erp-S-shop-1.1", delivered_at=START))
    world.run()
    assert "ShipmentDelivered" not in world.audit.actions("shop-1")
    world.tell("erp", world.dispatch("shop-1.1"))
    world.run()
    assert world.audit.actions("shop-1").count("ShipmentDelivered") == 1
    world.tell("erp", ShipmentDelivered(shipment_id="erp-S-shop-1.1", delivered_at=START))
    world.tell("erp", ShipmentDelivered(shipment_id="unknown", part_reference="shop-1.1", delivered_at=START))
    world.run()
    assert world.audit.actions("shop-1").count("ShipmentDelivered") == 2


def test_a_refusal_that_was_overtaken_by_the_shipment_is_no_exception() -> None:
    world = World()
    world.place()
    world.run()
    refused = FulfillmentRefused(part_reference="shop-1.1", reason="no stock", refused_at=START)
    world.tell("erp", refused)
    world.run()
    assert world.open_codes() == ["FULFILLMENT_REFUSED"]
    world.tell("erp", refused)
    world.run()
    assert world.the_exception("FULFILLMENT_REFUSED").occurrences == 1, "the same refusal again is no news"
    world.tell("erp", world.dispatch("shop-1.1"))
    world.run()
    assert world.open_codes() == [], "it shipped: that settles the refusal"
    assert world.status() == "completed"
    world.tell("erp", refused)
    world.run()
    assert world.open_codes() == []


def test_a_refusal_before_its_order_is_joined() -> None:
    world = World()
    world.tell("erp", FulfillmentRefused(part_reference="shop-1.1", reason="no stock", refused_at=START))
    world.run()
    world.place()
    world.run()
    assert world.open_codes() == ["FULFILLMENT_REFUSED"]


def test_what_arrives_between_the_look_and_the_parking_is_joined_at_once() -> None:
    """The part is released right after the acknowledgement was looked up and before it is parked: nobody would ask for it again."""
    world = World()
    world.tell("erp", world.acknowledgement("shop-1.1"))
    park = world.orders.park

    def released_first(name: str, **more: Any) -> None:
        world.orders.park = park  # type: ignore[method-assign]
        world.place()
        while world._step():
            pass
        assert world.part("shop-1.1").released_at
        park(name, **more)

    world.orders.park = released_first  # type: ignore[method-assign]
    world.run()
    assert world.part("shop-1.1").acknowledged_at is not None


def test_only_the_owner_of_a_locations_stock_may_count_it() -> None:
    world = World()
    later = START.replace(hour=9)
    world.tell("threepl", StockCounted(reading=StockReading(sku="BOLT", location="129", on_hand=line("x", "BOLT", "7", "1").quantity.value, as_of=later)))
    world.tell("shop", StockCounted(reading=StockReading(sku="BOLT", location="71", on_hand=line("x", "BOLT", "1", "1").quantity.value, as_of=later)))
    world.run()
    assert world.available("BOLT", "MOR") == 7
    assert world.available("BOLT", "CHI") == 100
    assert world.audit.actions("BOLT@CHI") == ["WriteRefused"]


def test_an_older_count_is_ignored() -> None:
    world = World()
    for hour, count in [(10, "7"), (9, "99")]:
        world.tell("threepl", StockCounted(reading=StockReading(sku="BOLT", location="129", on_hand=line("x", "BOLT", count, "1").quantity.value, as_of=START.replace(hour=hour))))
    world.run()
    assert world.available("BOLT", "MOR") == 7
