"""Are listings whole beyond the service's page and batch limits, and are documents what they were?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.aws.table import StateTable, moment, packed, stamp, text, unpacked
from crossdock.domain.errors import RetryLater
from tests.aws.account import Account, OneAtATime


def fill(table: StateTable, count: int, *, listing: str = "L", padding: int = 0) -> None:
    items = [{"pk": text(f"P#{number:04d}{'x' * padding}"), "sk": text("S"), "listing": text(listing), "sort": text(f"{number:04d}")} for number in range(count)]
    for start in range(0, count, 25):
        table.client.batch_write_item(RequestItems={table.name: [{"PutRequest": {"Item": item}} for item in items[start : start + 25]]})


def names(items: Any) -> list[str]:
    return [item["pk"]["S"][2:6] for item in items]


def test_a_listing_of_more_than_one_batch_keeps_its_order(table: StateTable) -> None:
    fill(table, 230)

    assert names(table.listed("L")) == [f"{number:04d}" for number in range(230)]
    assert names(table.listed("L", newest_first=True, limit=150)) == [f"{number:04d}" for number in range(229, 79, -1)]
    assert names(table.listed("L", up_to="0104")) == [f"{number:04d}" for number in range(105)]
    assert names(table.listed("other")) == []


def test_a_listing_of_more_than_one_page_is_whole(table: StateTable) -> None:
    fill(table, 650, padding=1800)  # the keys alone are more than a megabyte

    assert len(names(table.listed("L"))) == 650
    assert len(names(table.listed("L", limit=620))) == 620


def test_what_moves_between_two_pages_is_asked_for_once(account: Account) -> None:
    """A new sort value puts an item onto the next page as well; one batch must not name it twice."""
    fill(account.table, 3)
    page = {"Items": [{"pk": text("P#0000"), "sk": text("S")}, {"pk": text("P#0001"), "sk": text("S")}], "LastEvaluatedKey": {}}
    pages = [page, {"Items": [{"pk": text("P#0000"), "sk": text("S")}, {"pk": text("P#0002"), "sk": text("S")}]}]

    class Paged:
        def query(self, **_arguments: Any) -> Any:
            return pages.pop(0)

        def batch_get_item(self, **arguments: Any) -> Any:
            return account.clients.dynamodb.batch_get_item(**arguments)

    class Made(StateTable):
        @property
        def client(self) -> Any:
            return Paged()

    assert names(Made(account.clients, "state").listed("L")) == ["0000", "0001", "0002"]


def test_reads_the_service_did_not_answer_are_asked_again(account: Account) -> None:
    fill(account.table, 5)
    asked = []

    class Half(StateTable):
        @property
        def client(self) -> Any:
            return Hesitant()

    class Hesitant:
        query = staticmethod(account.clients.dynamodb.query)

        def batch_get_item(self, RequestItems: Any) -> Any:  # noqa: N803 - the service's name
            keys = RequestItems["state"]["Keys"]
            asked.append(len(keys))
            answer = account.clients.dynamodb.batch_get_item(RequestItems={"state": {"Keys": keys[:2]}})
            return {**answer, "UnprocessedKeys": {"state": {"Keys": keys[2:]}} if keys[2:] else {}}

    assert len(names(Half(account.clients, "state").listed("L"))) == 5
    assert asked == [5, 3, 1]


def test_a_table_that_answers_nothing_is_asked_again_later(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossdock.aws.table.time.sleep", lambda _seconds: None)
    fill(account.table, 1)

    class Silent(StateTable):
        @property
        def client(self) -> Any:
            return Nothing()

    class Nothing:
        query = staticmethod(account.clients.dynamodb.query)

        def batch_get_item(self, RequestItems: Any) -> Any:  # noqa: N803
            return {"Responses": {}, "UnprocessedKeys": RequestItems}

    with pytest.raises(RetryLater, match="STORE_BUSY"):
        list(Silent(account.clients, "state").listed("L"))


def test_a_taken_key_answers_what_stands_there(table: StateTable) -> None:
    item = {"pk": text("P"), "sk": text("S"), "value": text("first")}

    assert table.put_new(item) is None
    assert table.put_new({**item, "value": text("second")}) == item


def test_the_platforms_own_failures_are_not_taken_for_a_taken_key(account: Account) -> None:
    from botocore.exceptions import ClientError

    def throttle(operation: str, _arguments: dict[str, Any]) -> None:
        if operation == "put_item":
            raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException", "Message": ""}}, operation)

    table = StateTable(OneAtATime(account.clients, throttle), "state")
    with pytest.raises(ClientError):
        table.put_new({"pk": text("P"), "sk": text("S")})
    with pytest.raises(ClientError):
        table.put_version({"pk": text("P"), "sk": text("S")}, 0)


@given(st.text(max_size=200))
def test_a_packed_document_is_read_as_it_was(document: str) -> None:
    document = document.encode("utf-8", "ignore").decode()

    assert unpacked(packed(document)) == document


@given(st.lists(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-6))])), min_size=2, max_size=2))
def test_text_order_of_stamps_is_time_order(times: list[datetime]) -> None:
    first, second = (each.replace(year=2026) if not (each.month == 2 and each.day == 29) else each.replace(year=2026, day=28) for each in times)

    assert (stamp(first) < stamp(second)) == (first < second)
    assert moment(stamp(first)) == first
