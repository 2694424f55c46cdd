"""Is a subject's chain whole, whoever writes to it at once?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from crossdock.aws.audit import DynamoAudit
from crossdock.domain.audit import GENESIS, AuditEntry, broken_links
from crossdock.domain.errors import ConcurrentChange
from tests.aws.account import Account, OneAtATime, at_once

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def note(audit: DynamoAudit, subject: str = "shop-1", action: str = "OrderPlaced", **details: str) -> AuditEntry:
    return audit.append(subject, actor="crossdock", action=action, summary="it happened", details=details, at=NOW)


def test_entries_are_chained_from_the_beginning(account: Account) -> None:
    audit = DynamoAudit(account.clients, "audit")

    first, second = note(audit), note(audit, action="StockReserved")

    assert audit.entries("shop-1") == [first, second]
    assert (first.sequence, first.previous, second.sequence, second.previous) == (1, GENESIS, 2, first.hash)
    assert broken_links(audit.entries("shop-1")) == []


def test_each_subject_has_its_own_chain(account: Account) -> None:
    audit = DynamoAudit(account.clients, "audit")
    note(audit)

    assert note(audit, "shop-2").sequence == 1
    assert len(audit.entries("shop-1")) == 1
    assert audit.entries("shop-3") == []


def test_twenty_writers_at_once_leave_no_gap(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossdock.aws.audit.TRIES", 300)
    audit = DynamoAudit(OneAtATime(account.clients), "audit")

    at_once(20, lambda number: note(audit, action=f"Happened{number}"))

    entries = audit.entries("shop-1")
    assert [entry.sequence for entry in entries] == list(range(1, 21))
    assert {entry.action for entry in entries} == {f"Happened{number}" for number in range(20)}
    assert broken_links(entries) == []


def test_a_chain_that_everybody_writes_to_is_tried_again_later(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossdock.aws.audit.time.sleep", lambda _seconds: None)
    audit = DynamoAudit(account.clients, "audit")
    note(audit)
    monkeypatch.setattr(audit, "_last", lambda _subject: None)  # always too late

    with pytest.raises(ConcurrentChange):
        note(audit)


class AnswerLost:
    """A client whose first write is carried out and not answered: it sends it again by itself, and hears of its own first try."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._lost = False

    @property
    def dynamodb(self) -> Any:
        return self

    def query(self, **arguments: Any) -> Any:
        return self._client.query(**arguments)

    def put_item(self, **arguments: Any) -> Any:
        answer = self._client.put_item(**arguments)
        if self._lost:
            return answer
        self._lost = True
        try:
            return self._client.put_item(**arguments)
        except ClientError as error:
            error.response["ResponseMetadata"]["RetryAttempts"] = 1
            raise


def test_an_entry_whose_answer_was_lost_stands_once(account: Account) -> None:
    entry = note(DynamoAudit(AnswerLost(account.clients.dynamodb), "audit"))  # type: ignore[arg-type]

    assert DynamoAudit(account.clients, "audit").entries("shop-1") == [entry]


def test_a_chain_of_many_pages_is_read_whole(account: Account) -> None:
    audit = DynamoAudit(account.clients, "audit")
    entry = note(audit)
    for sequence in range(2, 6):
        # Random-looking text, so that compression leaves it long: five entries are more than a page of one megabyte.
        entry = AuditEntry.chained(
            subject="shop-1", sequence=sequence, at=NOW, actor="a", action="Noted", summary="", previous=entry.hash, details={"text": _incompressible(sequence)}
        )
        from crossdock.aws.table import packed, text

        account.clients.dynamodb.put_item(TableName="audit", Item={"pk": text("shop-1"), "sk": text(f"{sequence:09d}"), "document": packed(entry.model_dump_json())})

    assert broken_links(audit.entries("shop-1")) == []
    assert len(audit.entries("shop-1")) == 5


def _incompressible(seed: int) -> str:
    import random

    return random.Random(seed).randbytes(280_000).hex()


def test_long_words_are_cut_and_do_not_stop_the_work(account: Account) -> None:
    entry = DynamoAudit(account.clients, "audit").append("s", actor="a", action="A", summary="x" * 5000, details={"why": "y" * 5000}, at=NOW)

    assert (len(entry.summary), len(entry.details["why"])) == (1000, 500)


def test_what_is_to_stand_once_stands_once_however_often_and_by_how_many_it_is_said(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossdock.aws.audit.TRIES", 300)
    audit = DynamoAudit(OneAtATime(account.clients), "audit")

    def say(number: int) -> None:
        audit.append_once("shop-1", actor="crossdock", action="StockReserved", summary="reserved", details={"part": str(number % 3)}, at=NOW)

    at_once(12, say)
    say(1)

    entries = audit.entries("shop-1")
    assert sorted(entry.details["part"] for entry in entries) == ["0", "1", "2"]
    assert broken_links(entries) == []
