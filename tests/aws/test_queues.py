"""Does every message get where it belongs, and can dead letters be looked at without taking them away?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from crossdock.aws.clients import Clients
from crossdock.aws.dead_letters import LOOK_SECONDS, SqsDeadLetters
from crossdock.aws.queues import LONGEST_PUT_OFF_SECONDS, SqsDelay, SqsQueues
from crossdock.aws.settings import Settings
from crossdock.domain.stage import QueueName
from tests.aws.account import Account


@pytest.fixture
def queues(account: Account) -> SqsQueues:
    return SqsQueues(account.clients, account.settings)


@pytest.fixture
def letters(account: Account) -> SqsDeadLetters:
    return SqsDeadLetters(account.clients, account.settings)


def bury(queues: SqsQueues, count: int) -> None:
    for number in range(count):
        queues.send_to_dead_letters(QueueName.OUTBOUND, f'{{"n":{number}}}', group="erp", exception_id=f"e-{number}")


@pytest.mark.parametrize(("group", "kept"), [("erp", "erp"), ("shop/é 1", "shop-1"), ("", "none"), ("é", "none"), ("x" * 300, "x" * 100)])
def test_a_message_goes_to_its_queue_in_its_systems_group(account: Account, queues: SqsQueues, group: str, kept: str) -> None:
    queues.send(QueueName.WORK, "{}", group=group)

    (message,) = account.messages(account.settings.work_queue_url)
    assert (message["Body"], message["Attributes"]["MessageGroupId"]) == ("{}", kept)
    assert queues.depth(QueueName.WORK) == 1
    assert queues.depth(QueueName.INBOUND) == 0


def test_messages_that_are_worked_on_or_put_off_count_as_in_the_queue(account: Account, queues: SqsQueues) -> None:
    for _ in range(2):
        queues.send(QueueName.WORK, "{}", group="g")
    queues.send(QueueName.WORK, "{}", group="g", delay_seconds=600)
    account.clients.sqs.receive_message(QueueUrl=account.settings.work_queue_url)

    assert queues.depth(QueueName.WORK) == 3


def test_each_dead_letter_is_shown_once_and_stands_there_again_afterwards(account: Account, queues: SqsQueues, letters: SqsDeadLetters) -> None:
    bury(queues, 37)

    for _ in range(2):
        seen = list(letters.look(QueueName.OUTBOUND))
        assert sorted(letter.attributes["exception_id"] for letter in seen) == sorted(f"e-{number}" for number in range(37))
        assert {letter.queue for letter in seen} == {QueueName.OUTBOUND}
    assert all(letter.receive_count == 2 and letter.sent_at.tzinfo for letter in seen)
    assert letters.count(QueueName.OUTBOUND) == 37
    assert len(account.messages(account.settings.outbound_dlq_url)) == 37


def test_a_walk_that_is_broken_off_leaves_everything_visible(account: Account, queues: SqsQueues, letters: SqsDeadLetters) -> None:
    bury(queues, 12)

    walk = letters.look(QueueName.OUTBOUND)
    next(walk)
    assert isinstance(walk, Iterator)
    walk.close()  # type: ignore[attr-defined]

    assert len(account.messages(account.settings.outbound_dlq_url)) == 12


def test_while_they_are_looked_at_others_do_not_see_them(account: Account, queues: SqsQueues, letters: SqsDeadLetters) -> None:
    bury(queues, 3)

    walk = letters.look(QueueName.OUTBOUND)
    next(walk)

    assert account.messages(account.settings.outbound_dlq_url) == []
    assert len(list(walk)) == 2


def test_what_matches_is_removed_and_the_rest_stays(account: Account, queues: SqsQueues, letters: SqsDeadLetters) -> None:
    bury(queues, 15)

    assert letters.remove(QueueName.OUTBOUND, lambda letter: letter.body == '{"n":7}') == 1

    assert letters.count(QueueName.OUTBOUND) == 14
    assert '{"n":7}' not in [message["Body"] for message in account.messages(account.settings.outbound_dlq_url)]


class SlowSqs(Clients):
    """A queue of ``count`` messages whose short polls sometimes answer nothing, as the real one's do, and in which hidden messages come back in time."""

    def __init__(self, count: int, *, blind: set[int] | None = None) -> None:
        super().__init__()
        self.now = 0.0
        self.hidden_until = dict.fromkeys(range(count), 0.0)
        self.asked = 0
        self.waits: list[int] = []
        self._blind = blind or set()

    @property
    def sqs(self) -> Any:
        return self

    def receive_message(self, VisibilityTimeout: int, WaitTimeSeconds: int, **_: Any) -> Any:  # noqa: N803
        self.asked += 1
        self.waits.append(WaitTimeSeconds)
        if self.asked in self._blind:
            return {}
        found = [number for number, until in self.hidden_until.items() if until <= self.now][:10]
        for number in found:
            self.hidden_until[number] = self.now + VisibilityTimeout
        return {"Messages": [{"MessageId": str(n), "ReceiptHandle": str(n), "Body": str(n), "Attributes": {"SentTimestamp": "0"}} for n in found]}

    def get_queue_attributes(self, **_: Any) -> Any:
        return {"Attributes": {"ApproximateNumberOfMessages": str(sum(until <= self.now for until in self.hidden_until.values()))}}

    def change_message_visibility_batch(self, Entries: list[dict[str, Any]], **_: Any) -> Any:  # noqa: N803
        for entry in Entries:
            self.hidden_until[int(entry["ReceiptHandle"])] = self.now + entry["VisibilityTimeout"]

    def letters(self, *, walk_seconds: float | None = None) -> SqsDeadLetters:
        return SqsDeadLetters(self, Settings(outbound_dlq_url="https://queue.test/dead"), walk_seconds=walk_seconds, clock=lambda: self.now)


def test_an_empty_answer_is_not_believed_while_the_count_says_otherwise() -> None:
    sqs = SlowSqs(25, blind={1, 3})

    assert len(list(sqs.letters().look(QueueName.OUTBOUND))) == 25
    assert sqs.waits[1] == 1, "after an empty answer all servers are asked"


def test_a_slow_walk_shows_each_message_once_and_keeps_them_hidden_until_it_ends() -> None:
    sqs = SlowSqs(100)
    seen = []
    for letter in sqs.letters().look(QueueName.OUTBOUND):
        seen.append(letter.body)
        sqs.now += LOOK_SECONDS / 10  # a redrive of a few a second: ten times as long as one look lasts
        assert all(sqs.hidden_until[int(name)] > sqs.now for name in seen), "seen by somebody else meanwhile"

    assert sorted(seen, key=int) == [str(number) for number in range(100)]
    assert set(sqs.hidden_until.values()) == {sqs.now}


def test_a_walk_with_an_end_stops_there() -> None:
    sqs = SlowSqs(100)
    seen = 0
    for _ in sqs.letters(walk_seconds=15).look(QueueName.OUTBOUND):
        seen += 1
        sqs.now += 1

    assert seen == 20, "the batch that was begun is finished"
    assert set(sqs.hidden_until.values()) <= {0.0, sqs.now}


@pytest.mark.parametrize(("wish", "given"), [(-3, 0), (90, 90), (10**9, LONGEST_PUT_OFF_SECONDS)])
def test_a_message_is_put_off_by_what_the_service_allows(wish: int, given: int) -> None:
    asked: list[dict[str, Any]] = []

    class Service(Clients):
        @property
        def sqs(self) -> Any:
            return self

        def change_message_visibility(self, **arguments: Any) -> None:
            asked.append(arguments)

    SqsDelay(Service(), Settings(work_queue_url="https://queue.test/work")).put_off(QueueName.WORK, "receipt", wish)

    assert asked == [{"QueueUrl": "https://queue.test/work", "ReceiptHandle": "receipt", "VisibilityTimeout": given}]
    assert LONGEST_PUT_OFF_SECONDS < 12 * 3600
