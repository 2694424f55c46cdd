"""How do messages get into the queues, and how is one put off?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossdock.aws.settings import Settings
from crossdock.domain.key import key_part
from crossdock.domain.stage import QueueName

if TYPE_CHECKING:
    from crossdock.aws.clients import ServiceClients

LONGEST_PUT_OFF_SECONDS = 43_000
"""The service allows 12 hours counted from when the message was received, some of which have passed."""


class SqsQueues:
    """Implements ``ports.Queues``. The group makes a standard queue fair: one slow connection does not hold the others."""

    def __init__(self, clients: ServiceClients, settings: Settings) -> None:
        self._clients = clients
        self._settings = settings

    def send(self, queue: QueueName, body: str, *, group: str, delay_seconds: int = 0) -> None:
        self._clients.sqs.send_message(QueueUrl=self._settings.queue_url(queue), MessageBody=body, MessageGroupId=key_part(group)[:100] or "none", DelaySeconds=delay_seconds)

    def send_to_dead_letters(self, queue: QueueName, body: str, *, group: str, exception_id: str) -> None:
        self._clients.sqs.send_message(
            QueueUrl=self._settings.dead_letter_url(queue),
            MessageBody=body,
            MessageGroupId=key_part(group)[:100] or "none",
            MessageAttributes={"exception_id": {"DataType": "String", "StringValue": exception_id}},
        )

    def depth(self, queue: QueueName) -> int:
        found = self._clients.sqs.get_queue_attributes(
            QueueUrl=self._settings.queue_url(queue),
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"],
        )["Attributes"]
        return sum(int(value) for value in found.values())


class SqsDelay:
    """Puts a failed message off by its own time instead of the queue's."""

    def __init__(self, clients: ServiceClients, settings: Settings) -> None:
        self._clients = clients
        self._settings = settings

    def put_off(self, queue: QueueName, receipt: str, seconds: int) -> None:
        pause = max(0, min(LONGEST_PUT_OFF_SECONDS, seconds))
        self._clients.sqs.change_message_visibility(QueueUrl=self._settings.queue_url(queue), ReceiptHandle=receipt, VisibilityTimeout=pause)
