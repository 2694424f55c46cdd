"""Do all events get onto the bus, or is it said that they did not?"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from crossdock.aws.bus import TRIES, EventBridgeBus
from crossdock.aws.clients import Clients
from crossdock.domain.errors import RetryLater
from crossdock.domain.events import Event, OrderCancelled
from tests.aws.account import Account

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
Entry = dict[str, Any]


def event(number: int, *, reason: str = "") -> Event:
    fact = OrderCancelled(order_id=f"shop-{number}", reason=reason, cancelled_at=NOW)
    return Event(id=f"d#{number}", tenant="acme", source="shop", subject=fact.subject, occurred_at=NOW, received_at=NOW, correlation_id=fact.subject, causation_id="d", fact=fact)


class FakeService(Clients):
    """EventBridge that refuses entries as ``refuse`` (attempt, entry) says, and remembers what it took."""

    def __init__(self, refuse: Callable[[int, Entry], bool] = lambda _attempt, _entry: False) -> None:
        super().__init__()
        self.calls: list[list[Entry]] = []
        self.taken: list[str] = []
        self._refuse = refuse

    @property
    def events(self) -> Any:
        return self

    def put_events(self, Entries: list[Entry]) -> Any:  # noqa: N803 - the service's name
        self.calls.append(Entries)
        results = []
        for entry in Entries:
            if self._refuse(len(self.calls), entry):
                results.append({"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"})
            else:
                self.taken.append(json.loads(entry["Detail"])["subject"])
                results.append({"EventId": "1"})
        return {"FailedEntryCount": sum("ErrorCode" in result for result in results), "Entries": results}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossdock.aws.bus.time.sleep", lambda _seconds: None)


def test_the_service_takes_the_events_as_they_are_written(account: Account) -> None:
    EventBridgeBus(account.clients, "facts").publish([event(number) for number in range(12)])


def test_an_event_says_whose_it_is_and_what_it_is() -> None:
    service = FakeService()

    EventBridgeBus(service, "facts").publish([event(1)])

    ((entry,),) = service.calls
    assert (entry["EventBusName"], entry["Source"], entry["DetailType"], entry["Time"]) == ("facts", "crossdock.shop", "OrderCancelled", NOW)
    assert Event.model_validate_json(entry["Detail"]) == event(1)


def test_no_more_than_ten_go_at_once_and_none_is_left_out() -> None:
    service = FakeService()

    EventBridgeBus(service, "facts").publish([event(number) for number in range(25)])

    assert [len(call) for call in service.calls] == [10, 10, 5]
    assert service.taken == [f"shop-{number}" for number in range(25)]


def test_no_request_is_larger_than_the_service_takes() -> None:
    service = FakeService()

    EventBridgeBus(service, "facts").publish([event(number, reason="\u00e9" * 1000).model_copy(update={"correlation_id": "x" * 60_000}) for number in range(9)])

    assert len(service.calls) > 1
    assert len(service.taken) == 9
    assert max(sum(len(entry["Detail"].encode()) for entry in call) for call in service.calls) < 256 * 1024


def test_only_the_refused_entries_are_sent_again() -> None:
    service = FakeService(lambda attempt, entry: attempt == 1 and "shop-2" in entry["Detail"])

    EventBridgeBus(service, "facts").publish([event(number) for number in range(4)])

    assert [len(call) for call in service.calls] == [4, 1]
    assert sorted(service.taken) == ["shop-0", "shop-1", "shop-2", "shop-3"]


def test_an_entry_that_is_never_taken_is_said_in_the_end() -> None:
    service = FakeService(lambda _attempt, entry: "shop-2" in entry["Detail"])

    with pytest.raises(RetryLater, match="BUS_UNAVAILABLE") as caught:
        EventBridgeBus(service, "facts").publish([event(number) for number in range(4)])

    assert [len(call) for call in service.calls] == [4] + [1] * (TRIES - 1)
    assert "1 event(s)" in caught.value.detail
    assert "slow down" in caught.value.detail


def test_nothing_to_say_calls_nobody() -> None:
    service = FakeService()

    EventBridgeBus(service, "facts").publish([])

    assert service.calls == []
