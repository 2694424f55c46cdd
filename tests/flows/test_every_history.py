"""Eight facts of one order in every order in which they can come, each of them repeated at any distance: is the end always the same?"""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest

from crossdock.domain.events import Fact, OrderPlaced, OrderUpdated, ReturnRequested, ShipmentDelivered
from crossdock.domain.quantity import Quantity
from tests.fakes import START
from tests.flows.world import World, an_order, line

EVENTS = 8
PERMUTATIONS = tuple(order for order in itertools.permutations(range(EVENTS)) if order.index(4) < order.index(5))
"""All 40,320: the two halves (4 and 5) are alike but for their name, so each order stands for the one with the halves exchanged too."""
SAMPLED_EVERY = 401
"""A prime: a smaller step would meet the same tails again and again."""


def _history(world: World) -> list[tuple[str, Fact]]:
    """Placed, a newer version, accepted, two parts in three shipments of which one is delivered, and a return."""
    lines = [line("1", "BOLT", "2", "120", unit="CS"), line("2", "VALVE", "2", "120", unit="CS")]
    order = an_order(lines=lines)
    half = line("x", "VALVE", "6", "1").quantity.value
    wanted = {
        "return_id": "RMA-shop-R1",
        "connection": "shop",
        "external_id": "R1",
        "number": "#R1",
        "order_id": "shop-1",
        "requested_at": START,
        "lines": [{"sku": "BOLT", "quantity": Quantity.of("1", "EA").model_dump(mode="json")}],
    }
    return [
        ("shop", OrderPlaced(order=order)),
        ("shop", OrderUpdated(order=order.model_copy(update={"source_version": "2026-10-05T08:05:00Z", "note": "gift wrap"}))),
        ("erp", world.acknowledgement("shop-1.1")),
        ("erp", world.dispatch_of("erp", "shop-1.1", [("BOLT", lines[0].quantity.value)])),
        ("threepl", world.dispatch_of("threepl", "shop-1.2", [("VALVE", half)], "half-1")),
        ("threepl", world.dispatch_of("threepl", "shop-1.2", [("VALVE", half)], "half-2")),
        ("erp", ShipmentDelivered(shipment_id="erp-S-shop-1.1", delivered_at=START)),
        ("shop", ReturnRequested.model_validate({"return": wanted})),
    ]


def _end(world: World) -> dict[str, Any]:
    record = world.record()
    return {
        "orders": len(world.orders.every()),
        "status": record.status.value,
        "shipped": {part.plan.part_id: (part.status.value, {name: str(count) for name, count in part.shipped.items()}) for part in record.parts},
        "shipments": sorted((booked.shipment.shipment_id, [str(one.quantity) for one in booked.lines], booked.confirmed, booked.invoice_number) for booked in record.shipments),
        # A part that has left before it was released is not released any more: the one effect that depends on the order of things.
        "effects": [effect for effect in world.effects_done() if effect[0] != "ReleaseFulfillment"],
        "releases": all(times == 1 for times in (world.effects_done().count(effect) for effect in world.effects_done())),
        "stock": {f"{sku}@{place}": (str(level.on_hand), str(level.committed)) for (sku, place), level in sorted(world.stock.shelf.items())},
        "return": world.returns.records["RMA-shop-R1"].status.value,
        "open": world.open_codes(),
        "parked": sum(len(items) for items in world.orders.waiting_room.values()),
        "told": sorted(action for action in world.audit.actions("shop-1") if action.startswith("Shipment")),
        "balance": world.balance().adds_up,
        "workflow": world.workflow.running("shop-1"),
        "left to do": [message.body for messages in world.queues.messages.values() for message in messages],
    }


EXPECTED = {
    "orders": 1,
    "status": "completed",
    "shipped": {"shop-1.1": ("shipped", {"1": "2"}), "shop-1.2": ("shipped", {"2": "2"})},
    "shipments": [
        ("erp-S-shop-1.1", ["2"], True, "INV-erp-S-shop-1.1"),
        ("threepl-half-1", ["1"], True, "INV-threepl-half-1"),
        ("threepl-half-2", ["1"], True, "INV-threepl-half-2"),
    ],
    "effects": [
        *[("ConfirmShipment", name) for name in ("erp-S-shop-1.1", "threepl-half-1", "threepl-half-2")],
        ("CreateSalesOrder", "shop-1"),
        *[("PostInvoice", name) for name in ("erp-S-shop-1.1", "threepl-half-1", "threepl-half-2")],
    ],
    "releases": True,
    "stock": {
        "BOLT@CHI": ("76", "0"),
        "BOLT@DAL": ("50", "0"),
        "BOLT@MOR": ("10", "0"),
        "NUT@CHI": ("100", "0"),
        "NUT@MOR": ("40", "0"),
        "PUMP@MOR": ("5", "0"),
        "VALVE@MOR": ("24", "0"),
    },
    "return": "authorised",
    "open": [],
    "parked": 0,
    "told": [*["ShipmentConfirmed"] * 3, "ShipmentDelivered", *["ShipmentDispatched"] * 3],
    "balance": True,
    "workflow": False,
    "left to do": [],
}


def _told_in(order: tuple[int, ...], *, pause: timedelta = timedelta(0)) -> dict[str, Any]:
    world = World()
    history = _history(world)
    for number in order:
        world.tell(*history[number])
        world.run()
        world.clock.at += pause
    return _end(world)


def _differing(found: dict[str, Any]) -> dict[str, Any]:
    return {name: (value, found[name]) for name, value in EXPECTED.items() if found[name] != value}


@pytest.mark.parametrize("slice_number", range(4))
def test_a_sample_of_all_permutations_ends_in_the_same_state(slice_number: int) -> None:
    for order in PERMUTATIONS[slice_number * SAMPLED_EVERY // 4 :: SAMPLED_EVERY]:
        assert not _differing(_told_in(order)), order


@pytest.mark.soak
@pytest.mark.parametrize("slice_number", range(16))
def test_every_permutation_ends_in_the_same_state(slice_number: int) -> None:
    for order in PERMUTATIONS[slice_number::16]:
        assert not _differing(_told_in(order)), order


@pytest.mark.parametrize("repeated", range(EVENTS))
def test_each_fact_repeated_at_each_later_place_changes_nothing(repeated: int) -> None:
    """As a new delivery each time: the sender's ids do not help."""
    for place in range(repeated + 1, EVENTS + 1):
        order = list(range(EVENTS))
        order.insert(place, repeated)
        assert not _differing(_told_in(tuple(order))), order


@pytest.mark.parametrize("order", [tuple(range(EVENTS)), tuple(reversed(range(EVENTS))), (3, 0, 6, 2, 5, 1, 7, 4)])
def test_the_whole_history_three_times_over_is_once(order: tuple[int, ...]) -> None:
    assert not _differing(_told_in((*order, *order, *order)))


LATER = [timedelta(**span) for span in ({"minutes": 5}, {"hours": 1, "seconds": 1}, {"hours": 4}, {"hours": 76}, {"hours": 96})]


@pytest.mark.parametrize("after", LATER, ids=str)
@pytest.mark.parametrize("same_delivery", [True, False], ids=["the same delivery", "another delivery id"])
def test_a_copy_of_everything_after_a_long_while_makes_nothing_new(after: timedelta, same_delivery: bool) -> None:
    """Longer than any queue's deduplication window and any cache: only what is on record can know it again."""
    world = World()
    history = _history(world)
    for number, (connection, fact) in enumerate(history):
        world.tell(connection, fact, event_id=f"first-{number}")
        world.run()
    before, accepted = _end(world), len(world.deliveries.every())
    bodies = {name: delivered[0].body for name, delivered in world.deliveries.revisions.items()}
    world.clock.at += after
    for number, (name, body) in enumerate(bodies.items()):
        connection = name.partition(".")[0]
        answer = world.post(connection, body, topic="told", event_id=f"first-{number}" if same_delivery else f"second-{number}")
        assert (answer.status, answer.duplicate) == (200, same_delivery)
        world.run()
    world.watch()
    world.run()
    assert not _differing(before)
    assert not _differing(_end(world))
    assert len(world.deliveries.every()) == accepted * (1 if same_delivery else 2)
    assert len(world.workflow.executions) == 2, "one of the order, one of the return"


@pytest.mark.parametrize("after", LATER, ids=str)
def test_a_copy_while_the_order_still_waits_makes_no_second_one(after: timedelta) -> None:
    world = World()
    history = _history(world)
    for _ in range(2):
        for connection, fact in history[:2]:
            world.tell(connection, fact)
            world.run()
        world.clock.at += after
        world.watch()
        world.run()
    assert len(world.orders.every()) == len(world.workflow.executions) == 1
    assert world.status() == "released"
    assert sorted(world.effects_done()) == [("CreateSalesOrder", "shop-1"), ("ReleaseFulfillment", "shop-1.1"), ("ReleaseFulfillment", "shop-1.2")]
