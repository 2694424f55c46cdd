"""Is a turn given to one caller at a time?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from botocore.model import OperationModel

from crossdock.aws.cursors import DynamoCursors
from crossdock.aws.table import StateTable
from tests.aws.account import Account, OneAtATime, at_once

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


def test_a_cursor_is_what_was_last_put(table: StateTable) -> None:
    cursors = DynamoCursors(table)
    assert cursors.get("poll#erp") is None

    cursors.put("poll#erp", "1")
    cursors.put("poll#erp", "2")

    assert cursors.get("poll#erp") == "2"


def test_a_claim_is_one_callers_until_it_ends(table: StateTable) -> None:
    cursors = DynamoCursors(table)

    assert cursors.claim("watch", until=LATER, now=NOW)
    assert not cursors.claim("watch", until=LATER, now=NOW)
    assert not cursors.claim("watch", until=LATER, now=LATER - timedelta(microseconds=1))
    assert cursors.claim("watch", until=LATER + timedelta(minutes=5), now=LATER)


def test_whoever_asks_in_vain_pays_for_a_read_and_no_write(account: Account) -> None:
    cursors = DynamoCursors(account.table)
    cursors.claim("watch", until=LATER, now=NOW)
    asked: list[str] = []
    events, name = account.table.client.meta.events, "before-call.dynamodb.*"

    def noted(model: OperationModel, **_: object) -> None:
        asked.append(model.name)

    events.register(name, noted)
    try:
        assert not cursors.claim("watch", until=LATER, now=NOW)
    finally:
        events.unregister(name, noted)

    assert asked == ["GetItem"]


def test_of_thirty_who_claim_at_once_one_gets_it(account: Account) -> None:
    cursors = DynamoCursors(StateTable(OneAtATime(account.clients), "state"))

    assert at_once(30, lambda _number: cursors.claim("watch", until=LATER, now=NOW)).count(True) == 1


def test_a_released_claim_is_free_and_the_cursor_of_that_name_stays(table: StateTable) -> None:
    cursors = DynamoCursors(table)
    cursors.put("poll", "7")
    cursors.claim("poll", until=LATER, now=NOW)

    cursors.release_claim("poll")

    assert cursors.claim("poll", until=LATER, now=NOW)
    assert cursors.get("poll") == "7"
