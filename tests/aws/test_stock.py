"""Is stock never sold twice, never given back twice, and never lost?"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError

from crossdock.aws.stock import MOST_LINES, DynamoStock
from crossdock.aws.table import StateTable
from crossdock.domain.errors import NeedsPerson, RetryLater
from crossdock.domain.stock import EntryKind, Outcome, Reservation, ReservedLine, Slot, StockAdjustment, StockLevel, StockReading
from tests.aws.account import Account, OneAtATime, at_once

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def line(quantity: int | str, sku: str = "BEARING", location: str = "CHI") -> ReservedLine:
    return ReservedLine(sku=sku, location=location, quantity=Decimal(quantity))


def wish(order_id: str, *lines: ReservedLine) -> Reservation:
    return Reservation(order_id=order_id, lines=lines, made_at=NOW)


def stocked(table: StateTable, on_hand: int = 100, *, safety: int = 0, sku: str = "BEARING", location: str = "CHI") -> DynamoStock:
    stock = DynamoStock(table)
    assert stock.count(StockReading(sku=sku, location=location, on_hand=Decimal(on_hand), as_of=NOW), safety=Decimal(safety), source="erp")
    return stock


def numbers(stock: DynamoStock, table: StateTable) -> tuple[int, int, int]:
    """On hand, committed and available, whole."""
    found = level(stock)
    return int(found.on_hand), int(found.committed), int(available(table))


def level(stock: DynamoStock, sku: str = "BEARING", location: str = "CHI") -> StockLevel:
    found = stock.level(sku, location)
    assert found is not None
    return found


def available(table: StateTable, sku: str = "BEARING", location: str = "CHI") -> Decimal:
    """What the table itself keeps as available: the number that reservations are checked against."""
    item = table.get(f"STOCK#{sku}", location)
    assert item is not None
    return Decimal(item["available"]["N"])


def conflicted(operation: str) -> ClientError:
    reasons: list[Any] = [{"Code": "None"}, {"Code": "TransactionConflict"}]
    return ClientError({"Error": {"Code": "TransactionCanceledException", "Message": ""}, "CancellationReasons": reasons}, operation)


def test_forty_orders_at_once_get_no_more_than_there_is(account: Account) -> None:
    chance = random.Random(7)

    def disturb(operation: str, _arguments: dict[str, Any]) -> None:
        if operation == "transact_write_items" and chance.random() < 0.3:
            raise conflicted(operation)

    stock = stocked(StateTable(OneAtATime(account.clients, disturb), "state"), 100)

    shorts = at_once(40, lambda number: stock.reserve(wish(f"order-{number}", line(3))))

    assert shorts.count(None) == 33
    assert set(shorts) == {None, "BEARING@CHI"}
    assert level(stock).committed == 99
    assert level(stock).available == available(account.table) == 1
    assert sum(sum(each.quantity for each in lines) for _, lines in stock.outstanding()) == 99


def test_safety_stock_is_not_sold(table: StateTable) -> None:
    stock = stocked(table, 10, safety=4)

    assert stock.reserve(wish("a", line(7))) == "BEARING@CHI"
    assert stock.reserve(wish("b", line(6))) is None
    assert level(stock).available == 0


def test_an_order_may_reach_so_far_into_the_safety_stock_and_no_further(table: StateTable) -> None:
    stock = stocked(table, 10, safety=4)

    def reaching(order_id: str, quantity: int, reach: int) -> str | None:
        return stock.reserve(wish(order_id, line(quantity).model_copy(update={"reach": Decimal(reach)})))

    assert reaching("a", 9, 2) == "BEARING@CHI"
    assert reaching("b", 8, 2) is None
    assert numbers(stock, table) == (10, 8, -2)
    assert reaching("c", 1, 2) == "BEARING@CHI"
    assert reaching("d", 1, -3) == "BEARING@CHI"
    stock.release("b", [line(8)], token="b:cancel")
    assert reaching("e", 4, -3) == "BEARING@CHI", "three more must stay than the safety stock"
    assert reaching("f", 3, -3) is None


def test_a_location_takes_so_many_parts_a_day_however_many_ask_at_once(account: Account) -> None:
    stock = stocked(account.table, 100)
    stock = DynamoStock(StateTable(OneAtATime(account.clients), "state"))
    today = Slot(location="CHI", day="2026-03-02", limit=7)

    answers = at_once(30, lambda number: stock.reserve(wish(f"order-{number}", line(1)).model_copy(update={"slots": (today,)})))

    assert answers.count(None) == 7
    assert set(answers) == {None, "@CHI"}
    assert stock.load(["CHI", "DAL"], day="2026-03-02") == {"CHI": 7, "DAL": 0}
    assert level(stock).committed == 7, "what found no slot has committed nothing"
    tomorrow = today.model_copy(update={"day": "2026-03-03"})
    assert stock.reserve(wish("late", line(1)).model_copy(update={"slots": (tomorrow,)})) is None
    counted = today.model_copy(update={"limit": None})
    assert stock.reserve(wish("counted", line(1)).model_copy(update={"slots": (counted,)})) is None
    assert stock.load(["CHI"], day="2026-03-02") == {"CHI": 8}


def test_two_hundred_orders_on_bundles_and_their_pieces_at_once_promise_what_is_there(account: Account) -> None:
    """Two bolts and a nut make a kit: kits, bolts and lines that share a SKU are ordered at once while the owner counts and moves stock."""
    stock = stocked(account.table, 150, sku="BOLT")
    stocked(account.table, 60, sku="NUT")
    stock = DynamoStock(StateTable(OneAtATime(account.clients), "state"))

    def act(number: int) -> object:
        if number % 10 == 9:
            return stock.adjust(
                StockAdjustment(sku="BOLT", location="CHI", adjustment_id=f"m{number}", change=Decimal(1), occurred_at=NOW + timedelta(seconds=number)),
                safety=Decimal(0),
                source="erp",
                at=NOW,
            )
        wanted = [line(2, "BOLT"), line(1, "NUT")] if number % 2 else [line(1, "BOLT"), line(1, "BOLT")]
        return stock.reserve(wish(f"order-{number}", *wanted))

    answers = at_once(222, act)

    kept = [number for number, answer in enumerate(answers) if answer is None]
    bolts, nuts = level(stock, "BOLT"), level(stock, "NUT")
    assert bolts.committed == sum(2 for _ in kept) <= bolts.on_hand == 150 + 22
    assert nuts.committed == sum(1 for number in kept if number % 2) <= 60
    assert bolts.on_hand - bolts.committed < 2 or nuts.committed == 60, "and all that could be promised was"


def test_all_lines_or_none(table: StateTable) -> None:
    stock = stocked(table, 10)
    stocked(table, 1, sku="VALVE")

    assert stock.reserve(wish("a", line(5), line(2, "VALVE"))) == "VALVE@CHI"

    assert level(stock).committed == 0
    assert stock.reservation("a") is None


def test_two_lines_of_one_sku_need_both_quantities(table: StateTable) -> None:
    stock = stocked(table, 10)

    assert stock.reserve(wish("a", line(6), line(5))) == "BEARING@CHI"
    assert stock.reserve(wish("b", line(6), line(4))) is None

    assert level(stock).committed == 10
    assert dict(stock.outstanding()) == {"b": [line(10)]}
    stock.consume("b", [line(6), line(4)], token="s1", at=NOW)
    assert level(stock).on_hand == 0


def test_what_was_never_counted_cannot_be_reserved(table: StateTable) -> None:
    assert DynamoStock(table).reserve(wish("a", line(1))) == "BEARING@CHI"


def test_reserving_twice_is_reserving_once(table: StateTable) -> None:
    stock = stocked(table, 10)

    assert stock.reserve(wish("a", line(8))) is None
    assert stock.reserve(wish("a", line(8))) is None

    assert level(stock).committed == 8
    kept = stock.reservation("a")
    assert kept is not None
    assert kept.lines == (line(8),)


def test_ten_copies_of_one_order_reserve_once(account: Account) -> None:
    stock = stocked(StateTable(OneAtATime(account.clients), "state"), 10)

    assert at_once(10, lambda _number: stock.reserve(wish("a", line(7)))) == [None] * 10
    assert level(stock).committed == 7


def test_an_order_that_needs_more_positions_than_one_write_takes_is_for_a_person(table: StateTable) -> None:
    lines = [line(1, f"SKU-{number}") for number in range(MOST_LINES + 1)]

    with pytest.raises(NeedsPerson, match="ORDER_TOO_LARGE"):
        DynamoStock(table).reserve(wish("a", *lines))


def test_stock_that_everybody_wants_at_once_is_tried_again_later(account: Account) -> None:
    stocked(account.table)

    def always(operation: str, _arguments: dict[str, Any]) -> None:
        if operation == "transact_write_items":
            raise conflicted(operation)

    stock = DynamoStock(StateTable(OneAtATime(account.clients, always), "state"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("crossdock.aws.stock.time.sleep", lambda _seconds: None)
        with pytest.raises(RetryLater, match="STORE_BUSY"):
            stock.reserve(wish("a", line(1)))


def test_a_release_gives_back_once_per_token(table: StateTable) -> None:
    stock = stocked(table, 10)
    stock.reserve(wish("a", line(8)))

    stock.release("a", [line(8)], token="a:cancel")
    stock.release("a", [line(8)], token="a:cancel")

    assert numbers(stock, table) == (10, 0, 10)
    assert list(stock.outstanding()) == []


def test_what_is_reserved_moves_once_per_token_or_not_at_all(table: StateTable) -> None:
    stock = stocked(table, 10)
    stocked(table, 5, location="DAL")
    stock.reserve(wish("order-1", line(4)))

    assert not stock.move("order-1", [line(4)], [line(6, location="DAL")], token="too much")
    assert (int(level(stock).committed), int(level(stock, location="DAL").committed)) == (4, 0)
    assert not stock.move("order-1", [line(4)], [line(4, location="NEVER_COUNTED")], token="unknown")
    assert not stock.move("order-2", [line(4)], [line(4, location="DAL")], token="nothing reserved")
    for _ in range(2):
        assert stock.move("order-1", [line(4)], [line(4, location="DAL")], token="part-1:move:DAL")

    assert (int(level(stock).committed), int(available(table))) == (0, 10)
    assert (int(level(stock, location="DAL").committed), int(available(table, location="DAL"))) == (4, 1)
    assert [(order_id, [each for each in lines if each.quantity]) for order_id, lines in stock.outstanding()] == [("order-1", [line(4, location="DAL")])]
    stock.consume("order-1", [line(4, location="DAL")], at=NOW, token="shipped")
    assert (int(level(stock, location="DAL").on_hand), int(level(stock, location="DAL").committed)) == (1, 0)
    assert list(stock.outstanding()) == []


def test_what_was_given_back_does_not_move(table: StateTable) -> None:
    stock = stocked(table, 10)
    stocked(table, 5, location="DAL")
    stock.reserve(wish("order-1", line(4)))
    stock.release("order-1", [line(4)], token="cancelled")

    assert not stock.move("order-1", [line(4)], [line(4, location="DAL")], token="late")

    assert (int(level(stock).committed), int(available(table))) == (0, 10)
    assert (int(level(stock, location="DAL").committed), int(available(table, location="DAL"))) == (0, 5)
    assert list(stock.outstanding()) == []


def test_twenty_parts_that_move_to_the_same_last_pieces_never_take_more_than_there_is(account: Account) -> None:
    stock = stocked(StateTable(OneAtATime(account.clients), "state"), 60)
    stocked(account.table, 20, location="DAL")
    for number in range(20):
        stock.reserve(wish(f"order-{number}", line(3)))

    moved = at_once(20, lambda number: stock.move(f"order-{number}", [line(3)], [line(3, location="DAL")], token="move"))

    assert moved.count(True) == 6
    assert int(level(stock, location="DAL").committed) == 18
    assert int(level(stock).committed) == 42
    assert sum(each.quantity for _, lines in stock.outstanding() for each in lines) == 60


def test_a_shipment_is_consumed_once_per_token(table: StateTable) -> None:
    stock = stocked(table, 10)
    stock.reserve(wish("a", line(8)))

    stock.consume("a", [line(3)], token="shipment-1", at=NOW)
    stock.consume("a", [line(3)], token="shipment-1", at=NOW)

    assert numbers(stock, table) == (7, 5, 2)
    assert dict(stock.outstanding()) == {"a": [line(5)]}


def test_never_more_is_given_up_than_is_left(table: StateTable) -> None:
    stock = stocked(table, 10)
    stock.reserve(wish("a", line(8)))

    stock.consume("a", [line(5)], token="shipment-1", at=NOW)
    stock.consume("a", [line(5)], token="shipment-2", at=NOW)
    stock.release("a", [line(8)], token="a:cancel")
    stock.consume("a", [line(1, "VALVE")], token="of another article", at=NOW)

    assert numbers(stock, table) == (2, 0, 2)


def test_giving_up_an_order_that_reserved_nothing_does_nothing(table: StateTable) -> None:
    stock = stocked(table, 10)

    stock.release("a", [line(8)], token="t")

    assert level(stock).available == 10


def test_twenty_shipments_and_repeats_at_once_leave_the_right_stock(account: Account) -> None:
    stock = stocked(StateTable(OneAtATime(account.clients), "state"), 100)
    stock.reserve(wish("a", line(10)))

    at_once(20, lambda number: stock.consume("a", [line(1)], token=f"shipment-{number % 10}", at=NOW))

    assert numbers(stock, account.table) == (90, 0, 90)


def test_a_stale_count_is_ignored(table: StateTable) -> None:
    stock = stocked(table, 10)
    older = StockReading(sku="BEARING", location="CHI", on_hand=Decimal(50), as_of=NOW - timedelta(seconds=1))

    assert stock.count(older, safety=Decimal(0), source="erp").outcome is Outcome.LATE
    assert stock.count(older.model_copy(update={"as_of": NOW}), safety=Decimal(0), source="erp").outcome is Outcome.DUPLICATE, "the same moment once more"

    assert level(stock).on_hand == 10


def test_a_newer_count_keeps_what_is_committed(table: StateTable) -> None:
    stock = stocked(table, 10)
    stock.reserve(wish("a", line(8)))

    newer = StockReading(sku="BEARING", location="CHI", on_hand=Decimal("20.5"), as_of=NOW + timedelta(microseconds=1))
    assert stock.count(newer, safety=Decimal(2), source="threepl").outcome is Outcome.APPLIED

    found = level(stock)
    assert found == StockLevel(sku="BEARING", location="CHI", on_hand=Decimal("20.5"), committed=Decimal(8), safety=Decimal(2), source="threepl", as_of=newer.as_of, changes=3)
    assert found.available == available(table) == Decimal("10.5")


def test_levels_are_found_by_place_and_everywhere(table: StateTable) -> None:
    stock = stocked(table, 10)
    stocked(table, 5, location="DAL")

    assert [(each.location, int(each.on_hand)) for each in stock.everywhere("BEARING")] == [("CHI", 10), ("DAL", 5)]
    assert set(stock.levels([("BEARING", "CHI"), ("BEARING", "MOR"), ("BEARING", "CHI")])) == {("BEARING", "CHI")}


# ------------------------------------------------------------------ the ledger


def move(change: int, minutes: int, name: str) -> StockAdjustment:
    return StockAdjustment(sku="BEARING", location="CHI", adjustment_id=name, change=Decimal(change), occurred_at=NOW + timedelta(minutes=minutes))


def recount(on_hand: int, minutes: int, **more: Any) -> StockReading:
    return StockReading(sku="BEARING", location="CHI", on_hand=Decimal(on_hand), as_of=NOW + timedelta(minutes=minutes), **more)


HEARD = NOW + timedelta(hours=1)


def test_a_movement_is_applied_once_and_stands_in_the_ledger(table: StateTable) -> None:
    stock = stocked(table, 10)
    stock.reserve(wish("a", line(4)))

    outcomes = [stock.adjust(move(5, 1, "m1"), safety=Decimal(0), source="wms", at=HEARD).outcome for _ in range(3)]

    assert outcomes == [Outcome.APPLIED, Outcome.DUPLICATE, Outcome.DUPLICATE]
    assert numbers(stock, table) == (15, 4, 11)
    assert level(stock).duplicates == 2
    newest = stock.ledger("BEARING", "CHI", limit=1)[0]
    assert (newest.kind, newest.change, newest.source, newest.reference, newest.at) == (EntryKind.ADJUSTMENT, 5, "wms", "m1", NOW + timedelta(minutes=1))


def test_forty_workers_with_the_same_movement_apply_it_once(account: Account) -> None:
    table = StateTable(OneAtATime(account.clients), "state")
    stock = stocked(table, 10)
    at_once(40, lambda number: stock.adjust(move(1, 1, f"m{number % 4}"), safety=Decimal(0), source="wms", at=HEARD))
    assert numbers(stock, table) == (14, 0, 14)


def test_the_first_word_on_an_article_may_be_a_movement(table: StateTable) -> None:
    stock = DynamoStock(table)
    change = stock.adjust(move(5, 1, "m1"), safety=Decimal(2), source="wms", at=HEARD)
    assert change.moved and numbers(stock, table) == (5, 0, 3)


@pytest.mark.parametrize(
    ("first", "then", "on_hand"),
    [
        (move(-4, 9, "m"), recount(50, 5), 46),  # the count was taken before and comes after
        (recount(50, 9), move(-4, 5, "m"), 50),  # the count holds the movement
        (recount(50, 5), move(-4, 9, "m"), 46),
        (move(-4, 5, "m"), recount(50, 9), 50),
    ],
    ids=["movement kept", "movement late", "in order", "counted anew"],
)
def test_a_count_and_a_movement_end_alike_whichever_is_heard_first(table: StateTable, first: Any, then: Any, on_hand: int) -> None:
    stock = stocked(table, 10)
    for report in (first, then, then, first):
        if isinstance(report, StockReading):
            stock.count(report, safety=Decimal(0), source="erp")
        else:
            stock.adjust(report, safety=Decimal(0), source="erp", at=HEARD)
    assert numbers(stock, table) == (on_hand, 0, on_hand)


def test_late_and_repeated_reports_are_counted_and_seen_in_the_ledger(table: StateTable) -> None:
    stock = stocked(table, 10)
    stock.count(recount(30, 0), safety=Decimal(0), source="another")
    stock.count(recount(20, -5), safety=Decimal(0), source="erp")
    stock.adjust(move(3, -1, "old"), safety=Decimal(0), source="erp", at=HEARD)
    stock.adjust(move(3, -1, "old"), safety=Decimal(0), source="erp", at=HEARD)
    found = level(stock)
    assert (found.on_hand, found.late, found.duplicates) == (10, 3, 1)
    assert [entry.outcome for entry in stock.ledger("BEARING", "CHI", limit=10) if entry.outcome is not Outcome.APPLIED] == [Outcome.LATE] * 3


def test_what_is_expected_is_kept_and_never_reserved(table: StateTable) -> None:
    stock = stocked(table, 10)
    change = stock.count(recount(10, 1, expected=Decimal(90), expected_at=NOW + timedelta(days=2)), safety=Decimal(0), source="erp")
    assert change.moved, "more is coming"
    assert (level(stock).expected, level(stock).expected_at) == (90, NOW + timedelta(days=2))
    assert stock.reserve(wish("a", line(11))) == "BEARING@CHI"
    stock.count(recount(10, 2), safety=Decimal(0), source="erp")
    assert level(stock).expected == 90, "a count that says nothing of it leaves it"
    stock.count(recount(10, 3, expected=Decimal(5)), safety=Decimal(0), source="erp")
    assert level(stock).expected == 5


def test_a_count_that_finds_what_was_known_is_no_entry(table: StateTable) -> None:
    stock = stocked(table, 10)
    assert not stock.count(recount(10, 1), safety=Decimal(0), source="erp").moved
    assert len(stock.ledger("BEARING", "CHI", limit=10)) == 1


def test_what_left_before_the_count_is_not_taken_off_again(table: StateTable) -> None:
    stock = stocked(table, 10)
    stocked(table, 10, sku="VALVE")
    stock.reserve(wish("a", line(4), line(3, "VALVE")))
    stock.count(recount(6, 5), safety=Decimal(0), source="wms")

    for _ in range(2):
        stock.consume("a", [line(4), line(3, "VALVE")], token="s1", at=HEARD, left_at=NOW + timedelta(minutes=4))

    assert numbers(stock, table) == (6, 0, 6)
    assert (level(stock, "VALVE").on_hand, level(stock, "VALVE").committed) == (7, 0)


def test_a_count_from_before_the_departure_that_comes_late_does_not_bring_the_goods_back(table: StateTable) -> None:
    stock = stocked(table, 10)
    stock.reserve(wish("a", line(4)))
    stock.consume("a", [line(4)], token="s1", at=HEARD, left_at=NOW + timedelta(minutes=4))
    stock.count(recount(10, 3), safety=Decimal(0), source="wms")
    assert numbers(stock, table) == (6, 0, 6)


def test_two_hundred_orders_and_the_owners_reports_at_once_promise_what_is_there(account: Account) -> None:
    """A hundred pieces, two hundred orders of one, reports coming in between: a hundred get theirs."""
    table = StateTable(OneAtATime(account.clients), "state")
    stock = stocked(table, 60)
    stocked(table, 60, sku="VALVE")

    def act(number: int) -> str | None:
        if number % 6 == 5:
            stock.adjust(move(1, 1 + number, f"m{number}"), safety=Decimal(0), source="wms", at=HEARD)
            return "reported"
        return stock.reserve(wish(f"order-{number}", line(1), line(1, "VALVE")))

    answers = at_once(240, act)
    reserved = sum(answer is None for answer in answers)
    assert answers.count("reported") == 40 and reserved == 60, "the valves are the scarcer half of each"
    assert numbers(stock, account.table) == (100, 60, 40)
    assert level(stock, "VALVE").available == 0


def test_a_count_under_many_movements_gives_up_for_another_try(table: StateTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossdock.aws.stock.time.sleep", lambda _: None)
    stock = stocked(table, 10)
    stock.adjust(move(1, 5, "first"), safety=Decimal(0), source="erp", at=HEARD)
    real, names = stock._entries, iter(range(100))

    def while_it_looks(sku: str, location: str, *, after: datetime) -> Any:
        stock.adjust(move(1, 6, f"m{next(names)}"), safety=Decimal(0), source="erp", at=HEARD)
        return real(sku, location, after=after)

    monkeypatch.setattr(stock, "_entries", while_it_looks)
    with pytest.raises(RetryLater, match="STORE_BUSY"):
        stock.count(recount(50, 4), safety=Decimal(0), source="erp")
