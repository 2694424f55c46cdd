"""How are dead letters looked at?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from crossdock.aws.clients import Clients
from crossdock.aws.settings import Settings
from crossdock.domain.dead_letter import Letter
from crossdock.domain.stage import QueueName

LOOK_SECONDS = 30
"""How long a message that is being looked at stays out of other lookers' sight; renewed while the walk goes on."""
EMPTY_ANSWERS = 3
"""A short poll asks only some of the queue's servers: so many empty answers in a row are believed although the count says otherwise."""


class SqsDeadLetters:
    """Implements ``flows.dead_letters.DeadLetters``. ``walk_seconds`` ends a walk early, for a function that must end too."""

    def __init__(self, clients: Clients, settings: Settings, *, walk_seconds: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clients = clients
        self._settings = settings
        self._walk_seconds = walk_seconds
        self._clock = clock

    def look(self, queue: QueueName) -> Iterator[Letter]:
        url = self._settings.dead_letter_url(queue)
        seen: dict[str, str] = {}
        started = renewed = self._clock()
        empty = 0
        try:
            while self._walk_seconds is None or self._clock() - started < self._walk_seconds:
                found = self._clients.sqs.receive_message(
                    QueueUrl=url,
                    MaxNumberOfMessages=10,
                    VisibilityTimeout=LOOK_SECONDS,
                    WaitTimeSeconds=1 if empty else 0,
                    MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
                    MessageAttributeNames=["All"],
                ).get("Messages", [])
                fresh = [message for message in found if message["MessageId"] not in seen]
                seen |= {message["MessageId"]: message["ReceiptHandle"] for message in found}
                if not fresh:
                    empty += 1
                    if empty == EMPTY_ANSWERS or not self._visible(url):
                        return
                    continue
                empty = 0
                for message in fresh:
                    if self._clock() - renewed > LOOK_SECONDS / 3:
                        self._show_again(url, list(seen.values()), after_seconds=LOOK_SECONDS)
                        renewed = self._clock()
                    yield Letter(
                        queue=queue,
                        body=message["Body"],
                        message_id=message["MessageId"],
                        receipt=message["ReceiptHandle"],
                        sent_at=datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC),
                        receive_count=int(message["Attributes"].get("ApproximateReceiveCount", "0")),
                        attributes={name: value.get("StringValue", "") for name, value in message.get("MessageAttributes", {}).items()},
                    )
        finally:
            self._show_again(url, list(seen.values()), after_seconds=0)

    def _visible(self, url: str) -> int:
        found = self._clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
        return int(found["Attributes"]["ApproximateNumberOfMessages"])

    def _show_again(self, url: str, receipts: list[str], *, after_seconds: int) -> None:
        for start in range(0, len(receipts), 10):
            entries = [{"Id": str(index), "ReceiptHandle": receipt, "VisibilityTimeout": after_seconds} for index, receipt in enumerate(receipts[start : start + 10])]
            # Deleted meanwhile: that entry fails by itself and nothing else depends on it.
            self._clients.sqs.change_message_visibility_batch(QueueUrl=url, Entries=entries)

    def delete(self, letter: Letter) -> None:
        self._clients.sqs.delete_message(QueueUrl=self._settings.dead_letter_url(letter.queue), ReceiptHandle=letter.receipt)

    def remove(self, queue: QueueName, match: Callable[[Letter], bool]) -> int:
        removed = 0
        for letter in self.look(queue):
            if match(letter):
                self.delete(letter)
                removed += 1
        return removed

    def count(self, queue: QueueName) -> int:
        found = self._clients.sqs.get_queue_attributes(
            QueueUrl=self._settings.dead_letter_url(queue), AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        )
        return sum(int(value) for value in found["Attributes"].values())
