"""Is what left joined to what was ordered: in part, in other units, from several places, too much, by whatever name?"""

from __future__ import annotations

import itertools
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdock.domain.errors import ConcurrentChange, RetryLater
from crossdock.domain.events import FulfillmentAcknowledged, OrderPlaced, ShipmentDispatched
from crossdock.domain.messages import OutboundMessage
from crossdock.domain.order_record import BookedLine, OrderStatus
from crossdock.domain.quantity import Quantity
from crossdock.domain.shipment import PartLine, PartStatus, Shipment, ShippedLine
from crossdock.flows import commands_of, deliver, facts, progress, views
from tests.fakes import START
from tests.flows.world import World, an_order, event, line


def shipped(world: World, part_id: str) -> dict[str, str]:
    return {name: str(quantity) for name, quantity in world.part(part_id).shipped.items()}


def test_a_part_may_leave_in_several_shipments_each_confirmed_and_invoiced() -> None:
    world = World()
    world.place()
    world.run()
    world.tell("erp", world.dispatch("shop-1.1", "A", BOLT="1"))
    world.run()
    assert world.status() == "partially_shipped"
    assert [booked.invoice_number for booked in world.record().shipments] == ["INV-erp-A"]
    world.tell("erp", world.dispatch("shop-1.1", "B", BOLT="2", NUT="2"))
    world.run()
    assert world.status() == "completed"
    assert shipped(world, "shop-1.1") == {"1": "3", "2": "2"}
    confirmed = [intent.lines for (kind, _), intent in world.shop.intents.items() if kind == "ConfirmShipment"]  # type: ignore[union-attr]
    assert confirmed == [(("shop-line-1", 1),), (("shop-line-1", 2), ("shop-line-2", 2))]


def test_an_order_is_not_complete_while_its_storefront_has_not_heard_of_a_shipment() -> None:
    world = World()
    world.autopilot()
    world.shop.fail("ConfirmShipment", RetryLater("BUSY", "the shop is being updated", after_seconds=900))
    world.place()
    world.run(until=timedelta(minutes=10))
    assert [(booked.invoice_number, booked.confirmed) for booked in world.record().shipments] == [("INV-erp-S-shop-1.1", False)]
    assert (world.status(), world.open_codes()) == ("shipped", [])
    world.run()
    assert world.status() == "completed"


@given(pieces=st.lists(st.integers(1, 12), min_size=1, max_size=24))
@settings(max_examples=60, deadline=None)
def test_cases_that_leave_piece_by_piece_add_up_to_the_case(pieces: list[int]) -> None:
    """The 3PL counts pieces: five of a case of six, then one. Thirds and sixths must not leave 0.00001 of a case behind."""
    total = 36
    counts = [count for count, before in zip(pieces, itertools.accumulate(pieces, initial=0), strict=False) if before + count <= total]
    counts += [total - sum(counts)] if sum(counts) < total else []
    world = World()
    world.place(an_order(lines=[line("1", "VALVE", "6", "120", unit="CS")]))
    world.run()
    for number, count in enumerate(counts):
        world.tell("threepl", world.dispatch("shop-1.1", f"S{number}", VALVE=str(count)))
        world.run()
    assert world.status() == "completed"
    assert shipped(world, "shop-1.1") == {"1": "6"}
    assert world.open_codes() == []
    assert world.stock.outstanding() == []
    level = world.stock.level("VALVE", "MOR")
    assert level is not None
    assert (level.on_hand, level.committed) == (0, 0)
    assert sum(booked.lines[0].quantity for booked in world.record().shipments) == 6


def test_what_is_more_than_was_ordered_is_an_exception_once() -> None:
    world = World()
    world.place()
    world.run()
    too_much = world.dispatch_of("erp", "shop-1.1", [("BOLT", Decimal(5)), ("NUT", Decimal(2)), ("PUMP", Decimal(1))])
    for _ in range(3):
        world.tell("erp", too_much)
        world.run()
    found = world.the_exception("OVER_SHIPMENT")
    assert found.occurrences == 1
    assert "2 of BOLT; 1 of PUMP" in found.detail
    assert shipped(world, "shop-1.1") == {"1": "3", "2": "2"}
    assert world.available("BOLT", "CHI") == 97, "only what was reserved is taken off"


@pytest.mark.parametrize("connection", ["erp", "threepl"])
def test_a_surplus_is_raised_though_the_worker_died_before_it(connection: str) -> None:
    world = World()
    sku, count = ("BOLT", "2") if connection == "erp" else ("VALVE", "1")
    world.place(an_order(lines=[line("1", sku, count, "120", unit="CS")]))
    world.run()
    told = world.dispatch_of(connection, "shop-1.1", [(sku, Decimal(3 if connection == "erp" else 7))])
    real = world.stock.consume
    world.stock.consume = lambda *_, **__: (_ for _ in ()).throw(ConnectionError())  # type: ignore[method-assign]
    fact = told.model_copy(update={"shipment": told.shipment.model_copy(update={"lines": (told.shipment.lines[0].model_copy(update={"sku": sku}),)})})
    with pytest.raises(ConnectionError):
        facts.apply(event(connection, fact), world.services)
    world.stock.consume = real  # type: ignore[method-assign]
    facts.apply(event(connection, fact), world.services)
    assert f"1 of {sku}" in world.the_exception("OVER_SHIPMENT").detail
    assert world.audit.actions("shop-1").count("ShipmentDispatched") == 1


def test_goods_of_a_part_that_was_called_back_are_booked_nowhere_and_told() -> None:
    world = World()
    world.place()
    world.run()
    told = world.dispatch("shop-1.1")
    world.cancel()
    world.run()
    assert world.status() == "cancelled"
    world.clock.pass_by(seconds=1)
    world.tell("erp", told)
    world.run()
    assert world.open_codes() == ["OVER_SHIPMENT"]
    assert world.status() == "cancelled"


def test_a_shipment_that_names_only_the_order_is_spread_over_its_parts() -> None:
    """A warehouse system that knows the sales order, not our parts: what belongs where follows from the SKUs."""
    world = World()
    world.place(an_order(lines=[line("1", "BOLT", "130", "10")]))
    world.run()
    assert [part.plan.location for part in world.record().parts] == ["CHI", "DAL"]
    world.tell("erp", world.dispatch_of("erp", "SO-shop-1", [("BOLT", Decimal(120))], "X"))
    world.run()
    assert [(booked.shipment.shipment_id, booked.location, booked.lines) for booked in world.record().shipments] == [
        ("erp-X.1", "CHI", (BookedLine(line_id="1", quantity=Decimal(100)),)),
        ("erp-X.2", "DAL", (BookedLine(line_id="1", quantity=Decimal(20)),)),
    ]
    told = world.dispatch_of("erp", "", [("BOLT", Decimal(10))], "Y")
    world.tell("erp", told.model_copy(update={"shipment": told.shipment.model_copy(update={"order_id": "shop-1"})}))
    world.run()
    assert world.status() == "completed"


def test_a_line_named_by_the_warehouse_goes_to_that_line() -> None:
    world = World()
    world.place(an_order(lines=[line("1", "BOLT", "3", "10"), line("2", "BOLT", "2", "10")]))
    world.run()
    shipment = world.dispatch_of("erp", "shop-1.1", [("BOLT", Decimal(2))]).shipment
    facts.book("shop-1", "shop-1.1", shipment.model_copy(update={"lines": (ShippedLine(sku="BOLT", quantity=Decimal(2), line_id="2"),)}), source="erp", services=world.services)
    assert shipped(world, "shop-1.1") == {"2": "2"}


def test_a_shipment_that_names_nothing_waits_under_its_own_id() -> None:
    world = World()
    told = world.dispatch_of("erp", "", [("BOLT", Decimal(1))], "Z")
    assert ShipmentDispatched(shipment=told.shipment).subject == "erp-Z"
    world.tell("erp", told)
    world.run()
    assert list(world.orders.waiting_room) == [next(iter(world.orders.waiting_room))]
    assert world.open_codes() == []


@pytest.mark.parametrize("reference", ["W-shop-1.1", "shop-1.1"])
def test_a_part_is_found_by_our_id_and_by_the_warehouses(reference: str) -> None:
    world = World()
    world.place()
    world.run()
    world.tell("erp", FulfillmentAcknowledged(part_reference=reference, acknowledged_at=START))
    world.run()
    assert world.part("shop-1.1").status is PartStatus.ACKNOWLEDGED


def test_a_reference_to_an_order_that_is_gone_finds_nothing() -> None:
    world = World()
    world.orders.refer("erp", "old", "shop-9")
    world.tell("erp", FulfillmentAcknowledged(part_reference="old", order_id="shop-9", acknowledged_at=START))
    world.tell("erp", FulfillmentAcknowledged(part_reference="other", external_id="old", acknowledged_at=START))
    world.run()
    assert {name for name, items in world.orders.waiting_room.items() if items} == {"old", "other"}


def test_a_warehouse_that_accepts_with_its_answer_needs_no_acknowledgement() -> None:
    world = World()
    world.erp.acknowledges_at_once = True
    world.place()
    world.run()
    assert world.part("shop-1.1").acknowledged_at == world.clock.now()
    assert world.audit.actions("shop-1").count("FulfillmentAcknowledged") == 1


def test_an_acknowledgement_of_a_part_that_is_not_there_changes_nothing() -> None:
    world = World()
    world.place()
    world.run()
    facts.acknowledge("shop-1", "shop-1.9", at=START, actor="erp", external_id=None, services=world.services)
    assert "FulfillmentAcknowledged" not in world.audit.actions("shop-1")


def test_in_base_units_a_share_of_a_case_is_a_whole_piece_again() -> None:
    planned = PartLine(line_id="1", sku="BOLT", quantity=Quantity.of(1, "CS"), base_quantity=Decimal(12))
    assert progress.in_base_units(planned, Decimal("0.41667")) == 5
    assert progress.in_base_units(planned, Decimal("0.125")) == Decimal("1.5")


def test_a_booking_for_a_part_that_vanished_is_kept_without_it() -> None:
    world = World()
    world.place()
    world.run()
    world.tell("erp", world.dispatch("shop-1.1"))
    world.run()
    record = world.record()
    booked = record.shipments[0].model_copy(update={"lines": (BookedLine(line_id="9", quantity=Decimal(1)),)})
    assert facts._base_lines(record, booked) == []
    assert facts._base_lines(record, booked.model_copy(update={"part_id": "gone"})) == []


def test_an_order_that_appears_and_vanishes_is_tried_again() -> None:
    world = World()
    world.orders.add = lambda record: False  # type: ignore[method-assign]
    order = an_order().model_copy(update={"customer": an_order().customer.model_copy(update={"account": "C10010"})})
    with pytest.raises(ConcurrentChange):
        facts.apply(event("shop", OrderPlaced(order=order)), world.services)


def test_two_cancellations_of_an_unknown_order_at_once_announce_it_once() -> None:
    from crossdock.domain.events import OrderCancelled

    world = World()
    cancelled = OrderCancelled(order_id="shop-1", cancelled_at=START)
    real = world.orders.get
    answers = iter([None])
    facts.apply(event("shop", cancelled), world.services)
    world.orders.get = lambda order_id: next(answers, real(order_id))  # type: ignore[method-assign]
    facts.apply(event("shop", cancelled), world.services)
    assert world.status() == "announced"
    assert world.audit.actions("shop-1") == ["EventParked"]


# ------------------------------------------------------------------ small rules of progress


def test_asking_an_unknown_order_to_go_on_is_a_bug() -> None:
    with pytest.raises(LookupError):
        progress.advance("shop-9", World().services)


def test_a_status_never_goes_back() -> None:
    world = World()
    world.autopilot()
    world.place()
    world.run()
    record = world.record()
    for status in OrderStatus:
        assert progress.with_status(record, status, START).status is OrderStatus.COMPLETED
    assert progress.caught_up(record, START) is record
    assert progress.next_deadline(record, world.services) is None


def test_an_announced_order_keeps_its_deadline() -> None:
    world = World()
    world.cancel()
    world.run()
    assert progress.next_deadline(world.record(), world.services) == world.record().due_at


def test_what_is_shown_of_an_order_is_plain_json() -> None:
    import json

    world = World()
    world.autopilot()
    world.place(an_order(lines=[line("1", "BOLT", "3", "10")], total=an_order().total))
    world.run()
    shown = views.order(world.record())
    assert shown["status"] == "held"
    assert shown["waiting_for"] == "hold"
    world.place(an_order(2))
    world.run()
    done = views.order(world.record("shop-2"))
    json.dumps(done)
    assert (done["status"], done["waiting_for"], done["shipments"][0]["confirmed"]) == ("completed", None, True)
    assert views.find_shipment("erp-S-shop-2.1", world.services) == done["shipments"][0]
    assert views.find_shipment("nothing", world.services) is None
    assert views.timeline(world.audit.entries("shop-2"))["chain"]["whole"]
    assert views.timeline([])["chain"]["head"] is None
    assert views.inventory("BOLT", world.stock.everywhere("BOLT"), world.services)["available"] == "157"
    assert views.exception(world.exceptions.listed()[0])["code"] == "TOTAL_MISMATCH"
    world.cancel("shop-3")
    world.run()
    assert views.order(world.record("shop-3"))["number"] is None


def test_a_confirmation_names_the_storefronts_own_lines() -> None:
    world = World()
    world.place()
    world.run()
    world.tell("erp", world.dispatch("shop-1.1"))
    while not world.record().shipments:
        world._step()
    message = OutboundMessage(command="ConfirmShipment", connection="shop", order_id="shop-1", shipment_id="erp-S-shop-1.1")
    intent: Any = commands_of.intent_of(message, world.record(), world.services)
    assert intent.lines == (("shop-line-1", 3), ("shop-line-2", 2))
    assert isinstance(intent.shipment, Shipment)
    deliver.deliver(message, world.services)
    deliver.deliver(message, world.services)
    assert world.effects_done().count(("ConfirmShipment", "erp-S-shop-1.1")) == 1
