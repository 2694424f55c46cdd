"""Do orders and exceptions lose no change, and are they found again under every name and listing?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crossdock.aws.exceptions import DynamoExceptions
from crossdock.aws.orders import DynamoOrders
from crossdock.aws.table import StateTable
from crossdock.domain.errors import Category, Cause, ConcurrentChange, Rejected
from crossdock.domain.exception_record import ExceptionRecord, ExceptionStatus, HistoryEntry
from crossdock.domain.order_record import OrderRecord, OrderStatus, Parked
from tests.aws.account import Account, OneAtATime, at_once

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def minutes(count: float) -> datetime:
    return NOW + timedelta(minutes=count)


def order(name: str = "shop-1", *, status: OrderStatus = OrderStatus.ACCEPTED, **more: Any) -> OrderRecord:
    return OrderRecord(**{"order_id": name, "status": status, "accepted_at": NOW, "updated_at": NOW, "source": "shop", "due_at": NOW, **more})


def exception(name: str = "e-1", **more: Any) -> ExceptionRecord:
    opened = HistoryEntry(at=NOW, actor="crossdock", action="opened", note="VENDOR_REFUSED")
    made = {
        "exception_id": name,
        "code": "VENDOR_REFUSED",
        "category": Category.REJECTED,
        "cause": Cause.SOURCE_DATA,
        "status": ExceptionStatus.OPEN,
        "detail": "the vendor said no",
        "kind": "message",
        "subject": "shop-1",
        "fingerprint": "f",
        "owner": "operations",
        "opened_at": NOW,
        "last_seen_at": NOW,
        "due_at": NOW,
        "history": (opened,),
    }
    return ExceptionRecord.model_validate({**made, **more})


@pytest.fixture
def orders(table: StateTable) -> DynamoOrders:
    return DynamoOrders(table)


@pytest.fixture
def exceptions(table: StateTable) -> DynamoExceptions:
    return DynamoExceptions(table)


# ------------------------------------------------------------------ versions
def test_an_order_is_added_once(orders: DynamoOrders) -> None:
    assert orders.add(order(cancel_reason="first")) is True
    assert orders.add(order(cancel_reason="second")) is False

    kept = orders.get("shop-1")
    assert kept is not None
    assert kept.cancel_reason == "first"


def test_of_a_hundred_copies_at_once_one_is_added(account: Account) -> None:
    orders = DynamoOrders(StateTable(OneAtATime(account.clients), "state"))

    assert at_once(100, lambda _number: orders.add(order())).count(True) == 1


def test_changes_at_once_are_all_kept(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossdock.aws.records.TRIES", 200)
    orders = DynamoOrders(StateTable(OneAtATime(account.clients), "state"))
    orders.add(order())

    def add(number: int) -> None:
        orders.change("shop-1", lambda current: current.model_copy(update={"open_exceptions": (*current.open_exceptions, f"e-{number}")}))

    at_once(20, add)

    found = orders.get("shop-1")
    assert found is not None
    assert sorted(found.open_exceptions) == sorted(f"e-{number}" for number in range(20))
    assert found.version == 20


def test_a_change_decides_again_on_what_another_writer_left(orders: DynamoOrders) -> None:
    orders.add(order())
    seen = []

    def decide(current: OrderRecord) -> OrderRecord:
        seen.append(current.version)
        if len(seen) == 1:
            orders.change("shop-1", lambda other: other.model_copy(update={"cancel_reason": "by another"}))
        return current.model_copy(update={"tell_source": True})

    changed = orders.change("shop-1", decide)

    assert seen == [0, 1]
    assert (changed.cancel_reason, changed.tell_source, changed.version) == ("by another", True, 2)


def test_nothing_is_written_when_nothing_is_decided(orders: DynamoOrders) -> None:
    orders.add(order())

    assert orders.change("shop-1", lambda _current: None).version == 0


def test_a_record_that_everybody_changes_is_tried_again_later(orders: DynamoOrders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossdock.aws.records.time.sleep", lambda _seconds: None)
    orders.add(order())

    def decide(current: OrderRecord) -> OrderRecord:
        inner = orders._table.get("ORDER#shop-1", "RECORD")
        assert inner is not None
        orders._table.put_version({**inner, "version": {"N": str(current.version + 1)}}, current.version)
        return current

    with pytest.raises(ConcurrentChange):
        orders.change("shop-1", decide)


def test_what_is_not_there_cannot_be_changed(orders: DynamoOrders) -> None:
    with pytest.raises(Rejected, match="NOT_FOUND"):
        orders.change("nobody", lambda current: current)


# ------------------------------------------------------------------ finding orders
def test_an_order_is_found_by_the_first_meaning_of_another_systems_id(orders: DynamoOrders) -> None:
    orders.refer("erp", "SO-1", "shop-1", "shop-1.1")
    orders.refer("erp", "SO-1", "shop-2")

    assert orders.referred("erp", "SO-1") == ("shop-1", "shop-1.1")
    assert orders.referred("threepl", "SO-1") is None


def test_orders_that_are_due_come_earliest_first_and_none_that_is_over(orders: DynamoOrders) -> None:
    for name, due in (("c", 3), ("a", 1), ("b", 2), ("later", 9)):
        orders.add(order(name, due_at=minutes(due)))
    orders.add(order("over", status=OrderStatus.COMPLETED, completed_at=NOW, due_at=None))

    assert orders.due(minutes(3), 10) == ["a", "b", "c"]
    assert orders.due(minutes(3), 2) == ["a", "b"]


def test_a_new_deadline_moves_the_order(orders: DynamoOrders) -> None:
    orders.add(order())
    orders.change("shop-1", lambda current: current.model_copy(update={"due_at": minutes(60)}))

    assert orders.due(minutes(59), 10) == []
    assert orders.due(minutes(60), 10) == ["shop-1"]


def test_the_newest_open_orders_are_listed_whatever_their_deadlines(orders: DynamoOrders) -> None:
    for number in range(12):
        orders.add(order(f"shop-{number}", accepted_at=minutes(number), due_at=minutes(1000 - number)))

    assert [each.order_id for each in orders.listed(closed=False, limit=3)] == ["shop-11", "shop-10", "shop-9"]
    assert orders.listed(closed=True, limit=3) == []


def test_closed_orders_are_listed_by_when_they_closed(orders: DynamoOrders) -> None:
    for number in range(5):
        orders.add(order(f"shop-{number}", status=OrderStatus.COMPLETED, accepted_at=minutes(number), completed_at=minutes(10 + number)))

    assert [each.order_id for each in orders.listed(closed=True, limit=2)] == ["shop-4", "shop-3"]


def test_more_orders_than_one_read_takes_are_all_listed_once(orders: DynamoOrders) -> None:
    for number in range(120):
        orders.add(order(f"shop-{number}", accepted_at=minutes(number)))

    met = [each.order_id for each in orders.every()]
    assert len(met) == len(set(met)) == 120
    assert len(orders.listed(closed=False, limit=500)) == 120
    assert len(orders.due(minutes(1), 110)) == 110


def test_an_order_that_closes_while_they_are_walked_is_met_once(orders: DynamoOrders) -> None:
    orders.add(order("shop-1"))
    orders.add(order("shop-2", status=OrderStatus.COMPLETED, completed_at=NOW))
    met = []
    for each in orders.every():
        met.append(each.order_id)
        if each.order_id == "shop-1":
            orders.change("shop-1", lambda current: current.model_copy(update={"status": OrderStatus.CANCELLED, "completed_at": minutes(1)}))

    assert sorted(met) == ["shop-1", "shop-2"]


# ------------------------------------------------------------------ parked
def parked(text: str = "{}", until: datetime = NOW) -> Parked:
    return Parked(event_json=text, parked_at=NOW, until=until)


def test_the_same_event_is_parked_once_and_forgotten_by_its_content(orders: DynamoOrders) -> None:
    first, second = parked('{"id": "1"}'), parked('{"id": "2"}', minutes(5))
    for item in (first, first, second):
        orders.park("shop-1.1", source="threepl", item=item)

    assert {item.event_json for item in orders.parked("shop-1.1")} == {first.event_json, second.event_json}
    assert orders.overdue_parked(minutes(4), 10) == [("shop-1.1", first)]

    orders.forget_parked("shop-1.1", first)
    assert orders.parked("shop-1.1") == [second]
    assert orders.parked("shop-1.2") == []


def test_parked_events_of_more_than_a_megabyte_are_all_found(orders: DynamoOrders) -> None:
    for number in range(5):
        orders.park("shop-1", source="threepl", item=parked(f'{{"id": "{number}", "text": "{"x" * 300_000}"}}'))

    assert len(orders.parked("shop-1")) == 5


# ------------------------------------------------------------------ exceptions
def test_the_same_exception_again_is_counted_and_not_a_second_record(exceptions: DynamoExceptions) -> None:
    exceptions.open(exception())
    again = exceptions.open(exception(detail="the vendor said no again", last_seen_at=minutes(5), due_at=minutes(60)))

    assert again == exceptions.get("e-1")
    assert (again.occurrences, again.detail, again.opened_at, again.last_seen_at) == (2, "the vendor said no again", NOW, minutes(5))
    assert again.due_at == NOW, "an open exception keeps its deadline"
    assert [entry.action for entry in again.history] == ["opened"]


def test_copies_of_an_exception_at_once_are_one_record_that_counts_them(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossdock.aws.records.TRIES", 200)
    exceptions = DynamoExceptions(StateTable(OneAtATime(account.clients), "state"))

    at_once(10, lambda _number: exceptions.open(exception()))

    (found,) = exceptions.listed()
    assert found.occurrences == 10


@pytest.mark.parametrize("status", [ExceptionStatus.RESOLVED, ExceptionStatus.RETRYING])
def test_an_exception_reopens_with_its_history(exceptions: DynamoExceptions, status: ExceptionStatus) -> None:
    exceptions.open(exception())
    settled = HistoryEntry(at=minutes(1), actor="ana", action="resolved", note="fixed")
    resolved_at = minutes(1) if status is ExceptionStatus.RESOLVED else None
    exceptions.change(
        "e-1", lambda current: current.model_copy(update={"status": status, "resolved_at": resolved_at, "assigned_to": "ana", "history": (*current.history, settled)})
    )

    reopened = exceptions.open(exception(due_at=minutes(60)))

    assert reopened.status is ExceptionStatus.OPEN
    assert (reopened.resolved_at, reopened.assigned_to, reopened.due_at, reopened.occurrences) == (None, "ana", minutes(60), 2)
    assert [entry.action for entry in reopened.history] == ["opened", "resolved", "reopened"]
    assert [each.exception_id for each in exceptions.listed()] == ["e-1"]
    assert exceptions.listed(closed=True) == []


def test_an_acknowledged_exception_stays_with_whoever_has_it(exceptions: DynamoExceptions) -> None:
    exceptions.open(exception())
    exceptions.change("e-1", lambda current: current.model_copy(update={"status": ExceptionStatus.ACKNOWLEDGED, "assigned_to": "ana"}))

    again = exceptions.open(exception())

    assert (again.status, again.assigned_to) == (ExceptionStatus.ACKNOWLEDGED, "ana")


def test_a_history_of_a_thousand_reopenings_keeps_its_newest_fifty(exceptions: DynamoExceptions) -> None:
    exceptions.open(exception(history=tuple(HistoryEntry(at=minutes(n), actor="a", action=f"n{n}") for n in range(60)), status=ExceptionStatus.RESOLVED))

    assert len(exceptions.open(exception()).history) == 50


def test_open_exceptions_come_by_deadline_and_closed_ones_newest_first(exceptions: DynamoExceptions) -> None:
    for number in range(3):
        exceptions.open(exception(f"open-{number}", due_at=minutes(10 - number)))
        exceptions.open(exception(f"closed-{number}", status=ExceptionStatus.RESOLVED, resolved_at=minutes(number)))

    assert [each.exception_id for each in exceptions.listed()] == ["open-2", "open-1", "open-0"]
    assert [each.exception_id for each in exceptions.listed(closed=True, limit=2)] == ["closed-2", "closed-1"]
