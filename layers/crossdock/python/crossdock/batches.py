"""How is a batch of a queue's messages worked, and a failure turned into another try or an exception?"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

# Before any model: once pydantic is loaded, this brings two dozen models of its own with it.
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from botocore.exceptions import BotoCoreError, ClientError

from crossdock import bootstrap
from crossdock.domain.delivery import inbound_message
from crossdock.domain.errors import CrossdockError, RetryLater
from crossdock.domain.messages import OutboundMessage
from crossdock.domain.stage import QueueName
from crossdock.flows import raise_exception
from crossdock.flows.dead_letters import about
from crossdock.flows.services import Services
from crossdock.observability import log_failure, logger

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

LAST_TRY = {QueueName.INBOUND: 4, QueueName.WORK: 4, QueueName.OUTBOUND: 10}
"""The queues' maxReceiveCount (infra/constructs/queues.py holds the same numbers; a test compares them)."""

LONGEST_PAUSE_SECONDS = 900
PLATFORM_PAUSE_SECONDS = (25, 40)
"""When the platform itself fails: so that even four tries last longer than a minute's outage, and the next one comes soon after its end."""
ENOUGH_SECONDS = 12
"""A message is not begun with less of the function's time left: ended in the middle, the whole batch would wait out the queue's own long pause."""

Refusal = Callable[[str, CrossdockError, Services], bool]
"""Deals with a message that was refused; False: it is for a person."""


def backoff_seconds(tries: int, wish: int | None) -> int:
    """Exponential with full jitter, capped; never less than what the other side asked for (Retry-After)."""
    ceiling = min(LONGEST_PAUSE_SECONDS, 2**tries)
    return max(wish or 0, random.randint(1, max(1, ceiling)))  # noqa: S311 - jitter, not a secret


class GoesRoundAgain(Exception):
    """Tells the batch that this message is to be delivered again."""


Work = Callable[[str, Services], bool | None]
"""Works one message. False: its turn has not come, a fresh copy waits in its place and nothing is settled."""


def queue_handler(queue: QueueName, work: Work, on_refusal: Refusal | None = None) -> Callable[[dict[str, Any], Any], Any]:
    """A Lambda handler that works a queue's messages one by one: done, put off, or recorded as exception and moved to the dead letters."""
    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)

    def one(record: SQSRecord, lambda_context: Any) -> None:
        left, tries = lambda_context.get_remaining_time_in_millis(), int(record.attributes.approximate_receive_count)
        if left < ENOUGH_SECONDS * 1000 and tries < LAST_TRY[queue]:
            logger.warning("message not begun", queue=queue.value, code="OUT_OF_TIME")
            _pause(queue, record, 1)
            raise GoesRoundAgain("OUT_OF_TIME")
        _work_one(queue, record, work, on_refusal)

    @logger.inject_lambda_context(clear_state=True)
    def handler(event: dict[str, Any], context: Any) -> Any:
        logger.info("batch received", queue=queue.value, messages=len(event.get("Records", [])))
        if not event.get("Records"):  # a call that only wants the worker to be ready: the batch processor refuses an empty batch
            bootstrap.function_services()
            return {"batchItemFailures": []}
        return process_partial_response(event=event, record_handler=one, processor=processor, context=context)

    return handler


def _work_one(queue: QueueName, record: SQSRecord, work: Work, on_refusal: Refusal | None) -> None:
    try:
        _classify(queue, record, work, on_refusal, bootstrap.function_services())
    except GoesRoundAgain:
        raise
    except Exception as error:
        # Not even the failure could be recorded: the queue delivers the message again, and at last the dead letters are looked through.
        log_failure("message could not be settled", error, queue=queue.value)
        raise


def _classify(queue: QueueName, record: SQSRecord, work: Work, on_refusal: Refusal | None, made: Services) -> None:
    body = record.body
    tries = int(record.attributes.approximate_receive_count)
    subject, connection, command = about(queue, body)
    try:
        settled = work(body, made)
    except CrossdockError as error:
        if not isinstance(error, RetryLater):
            if on_refusal is not None and on_refusal(body, error, made):
                return
            _to_exception(queue, body, error, made, dead_letter=True)
            logger.warning("message refused", queue=queue.value, subject=subject, connection=connection, command=command, code=error.code)
            return
        _put_off(queue, record, error, tries, made)
    except (ClientError, BotoCoreError) as error:
        # The platform itself: classified, its details in the log, never the message's content.
        log_failure("platform call failed", error, queue=queue.value, subject=subject)
        pause = random.randint(*PLATFORM_PAUSE_SECONDS)  # noqa: S311 - jitter, not a secret
        _put_off(queue, record, RetryLater("PLATFORM_UNAVAILABLE", f"a platform call failed: {type(error).__name__}", after_seconds=pause), tries, made)
    except Exception as error:  # noqa: BLE001 - the edge of the system: whatever comes out becomes a record and a log line
        log_failure("message failed unexpectedly", error, queue=queue.value, subject=subject, command=command)
        _put_off(queue, record, RetryLater("UNEXPECTED_ERROR", f"{type(error).__name__} while working on {command or 'the message'}"), tries, made)
    else:
        if settled is False:
            logger.info("message waits", queue=queue.value, subject=subject, connection=connection, command=command)
            return
        raise_exception.close_for_message(queue, body, services=made)
        logger.info("message done", queue=queue.value, subject=subject, connection=connection, command=command)


def _put_off(queue: QueueName, record: SQSRecord, error: RetryLater, tries: int, made: Services) -> None:
    """Later again; at the last try the reason is on record before the queue moves the message to its dead letters."""
    last = tries >= LAST_TRY[queue]
    if last:
        _to_exception(queue, record.body, error, made, dead_letter=False)
    # After the last try at once: so the queue moves it to the dead letters now, and not only after its own long pause.
    _pause(queue, record, 0 if last else backoff_seconds(tries, error.after_seconds))
    logger.info("message put off", queue=queue.value, code=error.code, tries=tries)
    raise GoesRoundAgain(error.code) from error


def _pause(queue: QueueName, record: SQSRecord, seconds: int) -> None:
    try:
        bootstrap.function_delay().put_off(queue, record.receipt_handle, seconds)
    except (ClientError, BotoCoreError) as refused:
        log_failure("message keeps the queue's own pause", refused, queue=queue.value)


def _to_exception(queue: QueueName, body: str, error: CrossdockError, made: Services, *, dead_letter: bool) -> None:
    subject, connection, _ = about(queue, body)
    order_id = subject if queue is not QueueName.INBOUND and made.orders.get(subject) is not None else None
    raise_exception.for_message(error, queue=queue, message=body, subject=subject, connection=connection, services=made, order_id=order_id, dead_letter=dead_letter)
    if queue is QueueName.INBOUND and subject != "unreadable":
        raise_exception.mark_delivery(inbound_message(subject), error.code, made)


def outbound_message(body: str) -> OutboundMessage:
    return OutboundMessage.model_validate_json(body)
