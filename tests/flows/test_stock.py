"""Is the owner's word on stock believed once and in order, and does every sales channel end at what can be sold?"""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdock.domain.commands import PublishStock
from crossdock.domain.errors import Rejected, RetryLater, UnknownOutcome
from crossdock.domain.events import StockAdjusted, StockCounted
from crossdock.domain.stock import ChannelStock, StockAdjustment, StockLevel, StockReading, bundled, promised
from crossdock.flows import views
from tests.fakes import START
from tests.flows.world import MANIFESTS, World, an_order, line, manifest, spec

SELLS = {"shop": manifest("shop", "storefront", ["ConfirmShipment", "CancelOrder", "PublishStock"])}


def selling(**inventory: Any) -> World:
    return World(spec(inventory={"publish": "event", **inventory}), manifests=SELLS)


def counted(sku: str, on_hand: int, at: datetime, location: str = "129", **more: Any) -> StockCounted:
    return StockCounted(reading=StockReading(sku=sku, location=location, on_hand=Decimal(on_hand), as_of=at, **more))


def moved(sku: str, change: int, at: datetime, name: str, location: str = "129") -> StockAdjusted:
    return StockAdjusted(adjustment=StockAdjustment(sku=sku, location=location, adjustment_id=name, change=Decimal(change), occurred_at=at))


def published(world: World) -> list[tuple[str, str, Decimal]]:
    told = [intent for intent in world.systems["shop"].intents.values() if isinstance(intent, PublishStock)]
    return [(intent.sku, intent.location_code, intent.available) for intent in told]


def latest(world: World) -> dict[tuple[str, str], Decimal]:
    """What the shop shows in the end: the last figure it was told of each SKU and location."""
    return {(sku, location): figure for sku, location, figure in published(world)}


def on_hand(world: World, sku: str = "BOLT", location: str = "MOR") -> StockLevel:
    found = world.stock.level(sku, location)
    assert found is not None
    return found


# ------------------------------------------------------------------ what owners report


def test_a_movement_changes_what_is_on_hand_once_however_often_it_is_told() -> None:
    world = selling()
    move = moved("BOLT", 30, START + timedelta(minutes=1), "WMS-1")
    for number in range(3):
        world.tell("threepl", move, event_id=f"told-{number}")
    world.run()
    assert (on_hand(world).on_hand, on_hand(world).duplicates) == (40, 2)


def test_a_movement_that_a_later_count_holds_is_late_and_counted() -> None:
    world = selling()
    world.tell("threepl", counted("BOLT", 50, START + timedelta(minutes=5)))
    world.tell("threepl", moved("BOLT", 30, START + timedelta(minutes=1), "WMS-1"))
    world.run()
    assert (on_hand(world).on_hand, on_hand(world).late) == (50, 1)


def test_a_count_that_arrives_after_a_movement_it_does_not_hold_keeps_the_movement() -> None:
    world = selling()
    world.tell("threepl", moved("BOLT", -4, START + timedelta(minutes=9), "WMS-1"))
    world.run()
    world.tell("threepl", counted("BOLT", 50, START + timedelta(minutes=5)))
    world.run()
    assert on_hand(world).on_hand == 46


REPORTS = [
    counted("BOLT", 50, START + timedelta(minutes=1)),
    moved("BOLT", 7, START + timedelta(minutes=2), "a"),
    counted("BOLT", 55, START + timedelta(minutes=3)),
    moved("BOLT", -5, START + timedelta(minutes=4), "b"),
    moved("BOLT", 2, START + timedelta(minutes=5), "c"),
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(len(REPORTS)))), ids=lambda order: "".join(map(str, order)))
def test_reports_in_any_order_end_in_the_same_stock(order: tuple[int, ...]) -> None:
    """The last count and what moved after it: 55 - 5 + 2, whatever came when; told twice in between."""
    world = World()
    for position in (*order, order[0]):
        report = REPORTS[position]
        if isinstance(report, StockCounted):
            world.stock.count(report.reading, safety=Decimal(0), source="threepl")
        else:
            world.stock.adjust(report.adjustment, safety=Decimal(0), source="threepl", at=START + timedelta(hours=1))
    found = world.stock.level("BOLT", "129")
    assert found is not None and found.on_hand == 52


def test_nobody_but_the_owner_moves_stock() -> None:
    world = selling()
    before = on_hand(world)
    world.tell("erp", moved("70010", 30, START + timedelta(minutes=1), "X", location="MOR"))
    world.run()
    assert on_hand(world) == before
    assert world.audit.actions("BOLT@MOR") == ["WriteRefused"]


def test_goods_that_left_before_the_count_are_not_taken_off_twice() -> None:
    """The 3PL counts after the truck has gone, and tells of the shipment later."""
    world = selling()
    world.place(an_order(lines=[line("1", "PUMP", "2", "300")]))
    world.run()
    part = world.record().parts[0]
    assert part.plan.location == "MOR"
    left = world.dispatch(part.plan.part_id)
    at = left.shipment.dispatched_at
    world.tell("threepl", counted("PUMP", 3, at + timedelta(seconds=1)))
    world.run()
    world.tell("threepl", left)
    world.run()
    assert (on_hand(world, "PUMP").on_hand, on_hand(world, "PUMP").committed, on_hand(world, "PUMP").available) == (3, 0, 3)


# ------------------------------------------------------------------ what sales channels are told


def test_a_movement_at_the_warehouse_is_published_to_the_shop_and_never_to_the_counter_itself() -> None:
    world = selling()
    world.tell("threepl", moved("BOLT", 30, START + timedelta(minutes=1), "WMS-1"))
    world.run()
    assert published(world) == [("BOLT", "73", Decimal(40))]


def test_many_changes_within_the_window_are_one_publication_of_the_newest() -> None:
    world = selling()
    for number in range(1, 20):
        world.tell("threepl", moved("BOLT", 1, START + timedelta(seconds=number), f"WMS-{number}"))
    world.run()
    assert published(world)[-1] == ("BOLT", "73", Decimal(29))
    assert len(published(world)) < 5


def test_a_reservation_and_its_release_are_published() -> None:
    world = selling()
    world.systems["threepl"].fail("ReleaseFulfillment", RetryLater("VENDOR_UNAVAILABLE", "not now"), times=10**6)
    world.place(an_order(lines=[line("1", "PUMP", "2", "300")]))
    world.run(until=timedelta(minutes=5))
    assert latest(world)["PUMP", "73"] == 3
    world.cancel()
    world.run()
    assert latest(world)["PUMP", "73"] == 5


@pytest.mark.parametrize("mode", ["event", "schedule"])
def test_both_modes_end_in_the_same_state(mode: str) -> None:
    world = selling(publish=mode, schedule_minutes=5)
    world.tell("threepl", moved("BOLT", 30, START + timedelta(minutes=1), "WMS-1"))
    world.tell("threepl", counted("VALVE", 12, START + timedelta(minutes=1), location="129"))
    world.run()
    world.later(3, minutes=6)
    world.run()
    shown = latest(world)
    assert (shown["BOLT", "73"], shown.get(("NUT", "73"))) == (40, Decimal(40))


def test_who_counts_a_location_is_not_told_what_it_has_there() -> None:
    counts = {"title": "Chicago", "connection": "erp", "stock_from": "shop", "codes": {"erp": "CHI", "shop": "71"}}
    world = World(spec(inventory={"publish": "schedule", "schedule_minutes": 1}, locations={"CHI": counts}), manifests=SELLS)
    world.later(2, minutes=2)
    world.run()
    assert {location for _, location in latest(world)} == {"72", "73"}


def test_off_publishes_nothing() -> None:
    world = selling(publish="off")
    world.tell("threepl", moved("BOLT", 30, START + timedelta(minutes=1), "WMS-1"))
    world.later(5, hours=7)
    world.run()
    assert published(world) == []


def test_a_shop_that_is_out_is_told_the_newest_figure_when_it_is_back() -> None:
    world = selling()
    world.systems["shop"].fail("PublishStock", RetryLater("VENDOR_UNAVAILABLE", "out"), times=8)
    world.tell("threepl", moved("BOLT", 30, START + timedelta(minutes=1), "WMS-1"))
    world.run(until=timedelta(minutes=1))
    world.tell("threepl", moved("BOLT", 5, START + timedelta(minutes=2), "WMS-2"))
    world.run()
    world.later(3, minutes=10)
    world.run()
    assert latest(world)["BOLT", "73"] == 45


def test_a_publication_whose_answer_is_lost_says_the_same_again() -> None:
    world = selling()
    world.systems["shop"].fail("PublishStock", UnknownOutcome("UNKNOWN_OUTCOME", "no answer"), after_commit=True)
    world.tell("threepl", moved("BOLT", 30, START + timedelta(minutes=1), "WMS-1"))
    world.run()
    assert set(published(world)) == {("BOLT", "73", Decimal(40))}
    assert not world.open_codes()


def test_a_publication_the_shop_refuses_is_an_exception() -> None:
    world = selling()
    world.systems["shop"].fail("PublishStock", Rejected("NOT_FOUND", "no such variant"))
    world.tell("threepl", moved("BOLT", 30, START + timedelta(minutes=1), "WMS-1"))
    world.run()
    assert world.open_codes() == ["NOT_FOUND"]


def test_what_was_told_already_is_not_told_again() -> None:
    world = selling()
    world.tell("threepl", counted("BOLT", 12, START + timedelta(minutes=1)))
    world.run()
    world.later(4, hours=7)
    world.run()
    figures = [figure for sku, location, figure in published(world) if (sku, location) == ("BOLT", "73")]
    assert figures == [Decimal(12)]
    world.later(2, hours=7)
    world.run()
    assert len(world.systems["shop"].called_at) == 1 + 6, "MOR's bolts by event, the other six places by the first sweep, none again"


def test_a_sweep_of_more_than_one_message_goes_on_behind_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossdock.flows.stock.AT_ONCE", 1)
    world = selling(publish="schedule", schedule_minutes=1)
    world.later(3, minutes=2)
    world.run()
    assert {sku for sku, location in latest(world) if location == "73"} >= {"BOLT", "NUT", "PUMP", "VALVE"}


def test_a_bundle_is_sold_as_far_as_its_scarcest_component_goes() -> None:
    articles = {"KIT": {"codes": {"erp": "80001"}, "components": {"BOLT": "4", "NUT": "4"}}, "SOLO": {"codes": {"erp": "80002"}, "components": {"SETUP": "1"}}}
    world = World(spec(articles=articles), manifests=SELLS)
    world.tell("threepl", moved("BOLT", 7, START + timedelta(minutes=1), "WMS-1"))
    world.run()
    assert latest(world)["KIT", "73"] == 4, "17 bolts are four kits"
    shown = views.inventory("KIT", [], world.services)
    assert {(each["location"], each["available"]) for each in shown["channels"]} >= {("MOR", "4")}
    assert views.inventory("SOLO", [], world.services)["channels"] == [], "nothing is known of its component"


@pytest.mark.parametrize("components", [{"NOBODY": "1"}, {"KIT": "1"}])
def test_a_bundle_of_what_has_no_stock_is_refused(components: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="components names"):
        spec(articles={"KIT": {"components": components}})


def test_a_channel_sees_its_share_less_its_buffer_and_what_is_coming_by_policy() -> None:
    world = selling(channels={"shop": {"share_percent": 50, "buffer": 2, "expected_days": 7}})
    world.tell("threepl", counted("BOLT", 11, START + timedelta(minutes=1), expected=Decimal(10), expected_at=START + timedelta(days=3)))
    world.run()
    assert latest(world)["BOLT", "73"] == 8, "half of 11 + 10, rounded down, less 2"


@given(
    on_hand=st.integers(-50, 500),
    committed=st.integers(0, 500),
    safety=st.integers(0, 50),
    expected=st.integers(0, 100),
    days=st.integers(0, 30),
    policy=st.integers(0, 30),
    share=st.integers(0, 100),
    buffer=st.integers(0, 50),
)
@settings(max_examples=300, deadline=None)
def test_atp_is_what_the_oracle_says(on_hand: int, committed: int, safety: int, expected: int, days: int, policy: int, share: int, buffer: int) -> None:
    level = StockLevel(
        sku="A", location="B", on_hand=Decimal(on_hand), committed=Decimal(committed), safety=Decimal(safety), expected=Decimal(expected), expected_at=START + timedelta(days=days)
    )
    channel = ChannelStock(share_percent=Decimal(share), buffer=Decimal(buffer), expected_days=policy)
    pieces = on_hand - committed - safety + (expected if policy and days <= policy else 0)
    assert promised(level, channel, now=START) == max(0, pieces * share // 100 - buffer)


def test_no_bundle_is_made_of_nothing() -> None:
    assert bundled({"A": Decimal(2)}, {}) == 0
    assert bundled({"A": Decimal(2), "B": Decimal(3)}, {"A": Decimal(9), "B": Decimal(8)}) == 2


# ------------------------------------------------------------------ what people are told


def test_low_stock_is_one_exception_until_there_is_enough_again() -> None:
    world = selling(low_stock={"PUMP": "4"})
    world.tell("threepl", moved("PUMP", -2, START + timedelta(minutes=1), "a"))
    world.tell("threepl", moved("PUMP", -1, START + timedelta(minutes=2), "b"))
    world.run()
    assert world.open_codes() == ["LOW_STOCK"] and world.the_exception("LOW_STOCK").occurrences == 1
    world.tell("threepl", moved("PUMP", 9, START + timedelta(minutes=3), "c"))
    world.run()
    assert world.open_codes() == []
    world.tell("threepl", moved("PUMP", -9, START + timedelta(minutes=4), "d"))
    world.run()
    assert world.open_codes() == ["LOW_STOCK"] and world.the_exception("LOW_STOCK").occurrences == 2


def test_a_counter_that_falls_silent_is_one_exception_until_it_counts() -> None:
    manifests = {"threepl": manifest("threepl", "warehouse", list(MANIFESTS["threepl"].commands), ships_in_base_units=True)}
    world = World(spec(inventory={"stale_hours": 2, "count_minutes": {"erp": 30}}), manifests=manifests)
    world.tell("threepl", counted("BOLT", 11, START + timedelta(minutes=1)))
    world.run()
    world.later(4, hours=1)
    assert world.open_codes() == ["STOCK_STALE"] and world.the_exception("STOCK_STALE").occurrences == 1
    world.tell("threepl", counted("BOLT", 12, world.clock.now()))
    world.run()
    assert world.open_codes() == []


def test_the_ledger_tells_every_change_with_who_and_when() -> None:
    world = selling()
    world.tell("threepl", counted("BOLT", 50, START + timedelta(minutes=5)))
    world.tell("threepl", moved("BOLT", -4, START + timedelta(minutes=9), "WMS-1"))
    world.run()
    [at] = [each for each in views.inventory("BOLT", world.stock.everywhere("BOLT"), world.services)["locations"] if each["location"] == "MOR"]
    assert [(entry["kind"], entry["source"], entry.get("change"), entry.get("on_hand")) for entry in at["ledger"]][:2] == [
        ("adjustment", "threepl", "-4", None),
        ("count", "threepl", None, "50"),
    ]
    assert (at["on_hand"], at["source"]) == ("46", "threepl")
