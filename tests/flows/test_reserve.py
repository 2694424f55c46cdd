"""Is what an order needs committed once, bundles by what they are made of, within what each location takes on a day?"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from crossdock.domain.events import ReturnReceived, ReturnRequested, StockCounted
from crossdock.domain.quantity import Quantity
from crossdock.domain.return_ import Disposition, ReceivedLine, Return, ReturnLine, ReturnReceipt
from crossdock.domain.stock import ReservedLine, StockReading
from crossdock.flows import exceptions
from tests.fakes import START
from tests.flows.world import SPEC, World, an_order, line, spec, taking_returns, usd

KIT = {"codes": {"erp": "KIT-1"}, "components": {"BOLT": "2", "NUT": "1"}, "units": [{"unit": "CS", "numerator": 3}]}


def a_world(**changes: Any) -> World:
    world = World(spec(articles={"KIT": KIT}, **changes), manifests=taking_returns())
    world.erp.price_list["KIT-1"] = world.erp.price_list["70010"].model_copy(update={"sku": "KIT-1"})
    return world


def placed(world: World, *lines: Any, number: int = 1) -> str:
    world.place(an_order(number, list(lines)))
    world.run()
    return world.status(f"shop-{number}")


def kit(count: str, line_id: str = "1", **more: Any) -> Any:
    return line(line_id, "KIT", count, more.pop("price", "10"), **more)


# ------------------------------------------------------------------ bundles


def test_a_bundle_commits_its_components_summed_with_lines_of_the_same_sku() -> None:
    world = a_world()
    assert placed(world, kit("3"), line("2", "BOLT", "4", "10"), kit("1", "3", unit="CS", price="30")) == "released"
    assert world.record().reserved == (
        ReservedLine(sku="BOLT", location="CHI", quantity=Decimal(2 * 3 + 4 + 2 * 3)),
        ReservedLine(sku="NUT", location="CHI", quantity=Decimal(3 + 3)),
    )
    assert world.stock.level("KIT", "CHI") is None
    (part,) = world.record().parts
    assert [(found.sku, found.quantity.value) for found in part.plan.lines] == [("KIT", 3), ("BOLT", 4), ("KIT", 1)]


def test_a_bundle_that_left_takes_its_components_off_the_shelf() -> None:
    world = a_world()
    world.autopilot()
    before = {sku: world.stock.shelf[sku, "CHI"].on_hand for sku in ("BOLT", "NUT")}
    assert placed(world, kit("3"), line("2", "BOLT", "4", "10")) == "completed"
    after = {sku: world.stock.shelf[sku, "CHI"] for sku in ("BOLT", "NUT")}
    assert {sku: before[sku] - level.on_hand for sku, level in after.items()} == {"BOLT": 10, "NUT": 3}
    assert all(level.committed == 0 for level in after.values())


@pytest.mark.parametrize("shipped", [{"KIT": "2"}, {"BOLT": "4", "NUT": "2"}], ids=["as the bundle", "as what it is made of"])
def test_a_bundle_that_a_warehouse_packs_is_shipped_whichever_way_it_tells_of_it(shipped: dict[str, str]) -> None:
    world = a_world(routing={"rules": [{"locations": ["MOR"]}]})
    world.stock.count(StockReading(sku="NUT", location="MOR", on_hand=Decimal(40), as_of=START + timedelta(minutes=1)), safety=Decimal(0), source="threepl")
    assert placed(world, kit("2")) == "released"
    world.tell("threepl", world.acknowledgement("shop-1.1"))
    left = world.dispatch_of("threepl", "shop-1.1", [(sku, Decimal(count)) for sku, count in shipped.items()])
    for _ in range(2):  # told again it is no more than it was
        world.tell("threepl", left)
        world.run()
    assert (world.status(), world.open_codes()) == ("completed", [])
    assert [(done.line_id, done.quantity) for booked in world.record().shipments for done in booked.lines] == [("1", Decimal(2))]
    assert world.stock.shelf["BOLT", "MOR"].committed == world.stock.shelf["NUT", "MOR"].committed == 0


def test_parts_of_a_bundle_and_more_than_was_ordered_are_told_as_too_much() -> None:
    world = a_world(routing={"rules": [{"locations": ["MOR"]}]})
    placed(world, kit("2"))
    world.tell("threepl", world.dispatch_of("threepl", "shop-1.1", [("BOLT", Decimal(7)), ("NUT", Decimal(2))]))
    world.run()
    assert "3 of BOLT" in world.the_exception("OVER_SHIPMENT").detail
    assert world.stock.shelf["NUT", "MOR"].committed == 0


def test_a_cancelled_bundle_gives_its_components_back() -> None:
    world = a_world()
    before = {key: level.available for key, level in world.stock.shelf.items()}
    placed(world, kit("3"))
    world.cancel()
    world.run()
    assert world.status() == "cancelled"
    assert {key: level.available for key, level in world.stock.shelf.items()} == before


def test_a_bundle_of_which_one_component_is_short_is_held_with_what_is_short() -> None:
    world = a_world()
    assert placed(world, kit("120")) == "held"
    hold = world.the_exception("NO_VALID_WAREHOUSE").hold
    assert hold is not None
    assert "needs 240" in hold.seen["BOLT"]
    assert "CHI has 100" in hold.seen["BOLT"]


def test_a_returned_bundle_puts_its_components_back() -> None:
    world = World(
        spec(articles={"KIT": KIT}, locations={"CHI": {"title": "Chicago", "connection": "erp", "stock_from": "erp", "codes": {"erp": "CHI", "shop": "1"}}}),
        manifests=taking_returns(),
    )
    world.erp.price_list["KIT-1"] = world.erp.price_list["70010"].model_copy(update={"sku": "KIT-1"})
    world.autopilot()
    placed(world, kit("3"))
    asked = Return(
        return_id="RMA-shop-R1",
        connection="shop",
        external_id="R1",
        number="#R1",
        order_id="shop-1",
        requested_at=START,
        lines=(ReturnLine(sku="KIT", quantity=Quantity.of(2, "EA")),),
    )
    world.tell("shop", ReturnRequested.model_validate({"return": asked.model_dump()}))
    world.run()
    world.clock.pass_by(minutes=1)
    before = {sku: world.available(sku, "CHI") for sku in ("BOLT", "NUT")}
    came = ReturnReceipt(
        receipt_id="W1",
        return_reference="RMA-shop-R1",
        lines=(ReceivedLine(sku="KIT-1", quantity=Decimal(2), disposition=Disposition.RESTOCK),),
        received_at=world.clock.now(),
    )
    world.tell("erp", ReturnReceived(receipt=came))
    world.run()
    assert {sku: world.available(sku, "CHI") - before[sku] for sku in before} == {"BOLT": 4, "NUT": 2}


# ------------------------------------------------------------------ what a location takes on a day


def test_a_location_that_is_full_is_passed_over_until_the_next_day() -> None:
    world = World(spec(locations={"CHI": {**SPEC["locations"]["CHI"], "daily_orders": 2}}))
    for number in (1, 2, 3):
        placed(world, line("1", "BOLT", "1", "10"), number=number)
    assert [world.record(f"shop-{number}").parts[0].plan.location for number in (1, 2, 3)] == ["CHI", "CHI", "DAL"]
    world.clock.pass_by(hours=24)
    placed(world, line("1", "BOLT", "1", "10"), number=4)
    assert world.record("shop-4").parts[0].plan.location == "CHI"


def test_an_order_that_finds_its_plan_full_meanwhile_is_planned_anew() -> None:
    world = World(spec(locations={"CHI": {**SPEC["locations"]["CHI"], "daily_orders": 1}}))
    world.stock.before_reserve.append(lambda: world.stock.parts.update({("CHI", f"{world.clock.now():%Y-%m-%d}"): 1}))
    assert placed(world, line("1", "BOLT", "1", "10")) == "released"
    assert world.record().parts[0].plan.location == "DAL"


def test_where_all_are_full_the_hold_says_so() -> None:
    places = {name: {**place, "daily_orders": 1} for name, place in SPEC["locations"].items()}
    world = World(spec(locations=places))
    for number in range(1, 5):
        placed(world, line("1", "BOLT", "1", "10"), number=number)
    hold = world.the_exception("NO_VALID_WAREHOUSE").hold
    assert hold is not None
    assert hold.seen["full today"] == "CHI, DAL, MOR"


def test_whoever_has_least_of_the_day_comes_first_where_the_rule_balances() -> None:
    world = World(spec(routing={"rules": [{"locations": ["CHI", "DAL"], "sort": "balance"}]}))
    for number in range(1, 5):
        placed(world, line("1", "BOLT", "1", "10"), number=number)
    assert [world.record(f"shop-{number}").parts[0].plan.location for number in range(1, 5)] == ["CHI", "DAL", "CHI", "DAL"]


def test_nobody_counts_where_no_rule_asks() -> None:
    world = World()
    placed(world, line("1", "BOLT", "1", "10"))
    assert not world.stock.parts


def test_an_order_may_take_what_the_channels_are_not_shown() -> None:
    chicago = {**SPEC["locations"]["CHI"], "safety_stock": {"BOLT": "98"}, "routing_safety_stock": {"BOLT": "0"}}
    world = World(spec(locations={"CHI": chicago}, routing={"rules": [{"locations": ["CHI"]}]}))
    assert world.available("BOLT", "CHI") == 2
    assert placed(world, line("1", "BOLT", "100", "10")) == "released"
    level = world.stock.shelf["BOLT", "CHI"]
    assert (level.on_hand, level.committed, level.available) == (100, 100, -98)
    assert placed(world, line("1", "BOLT", "1", "10"), number=2) == "held"


# ------------------------------------------------------------------ what cannot be filled


def test_an_order_that_stays_unfilled_is_called_off_so_many_days_after_it_was_accepted() -> None:
    world = World(spec(routing={"backorder": "wait", "backorder_retry_minutes": 600, "backorder_cancel_days": 3}))
    assert placed(world, line("1", "PUMP", "9", "300")) == "held"
    due = world.the_exception("NO_VALID_WAREHOUSE").due_at
    assert due == world.record().accepted_at + timedelta(days=3)
    for _ in range(5):
        world.later(1, hours=12)
        assert world.status() == "held"
    assert world.the_exception("NO_VALID_WAREHOUSE").due_at == due, "trying again does not begin it anew"
    world.later(3, hours=6)
    assert world.status() == "cancelled"
    assert [subject for kind, subject in world.shop.done if kind == "CancelOrder"] == ["shop-1"]


def test_the_days_count_from_the_acceptance_whatever_else_the_order_was_held_for() -> None:
    world = World(spec(routing={"backorder_cancel_days": 3}))
    world.erp.accounts["C10010"] = world.erp.accounts["C10010"].model_copy(update={"limit": usd(1)})
    placed(world, line("1", "PUMP", "9", "300"))
    world.clock.pass_by(hours=50)
    exceptions.resolve(world.the_exception("CREDIT_LIMIT").exception_id, decision="approve", note="paid", actor="mia", services=world.services, letters=world.letters)
    world.run()
    assert world.the_exception("NO_VALID_WAREHOUSE").due_at == world.record().accepted_at + timedelta(days=3)


def test_an_order_that_can_be_filled_in_time_is_not_called_off() -> None:
    world = World(spec(routing={"backorder": "wait", "backorder_retry_minutes": 60, "backorder_cancel_days": 3}))
    placed(world, line("1", "PUMP", "9", "300"))
    world.later(1, hours=12)
    world.tell("threepl", StockCounted(reading=StockReading(sku="PUMP", location="129", on_hand=Decimal(20), as_of=world.clock.now())))
    world.later(2, hours=2)
    assert world.status() == "released"
    world.later(4, hours=24)
    assert world.record().status.value != "cancelled"
