"""How does a Lambda event become a call of a flow, and a failure become an answer, a retry or an exception?"""

from __future__ import annotations

import base64
import binascii
import json
import random
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from crossdock import bootstrap
from crossdock.domain.errors import CrossdockError, RetryLater
from crossdock.domain.exception_record import QueueName
from crossdock.domain.messages import OutboundMessage, inbound_message
from crossdock.flows import raise_exception
from crossdock.flows.dead_letters import about
from crossdock.flows.services import Services

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

logger = Logger()

LAST_TRY = {QueueName.INBOUND: 4, QueueName.WORK: 4, QueueName.OUTBOUND: 10}
"""The queues' maxReceiveCount (infra/constructs/queues.py holds the same numbers; a test compares them)."""

LONGEST_PAUSE_SECONDS = 900

Refusal = Callable[[str, CrossdockError, Services], bool]
"""Deals with a message that was refused; False: it is for a person."""


def services() -> Services:
    return bootstrap.function_services()


def backoff_seconds(tries: int, wish: int | None) -> int:
    """Exponential with full jitter, capped; never less than what the other side asked for (Retry-After)."""
    ceiling = min(LONGEST_PAUSE_SECONDS, 2**tries)
    return max(wish or 0, random.randint(1, max(1, ceiling)))  # noqa: S311 - jitter, not a secret


class GoesRoundAgain(Exception):
    """Tells the batch that this message is to be delivered again."""


class StepFailed(Exception):
    """A step could not be run. Its text is ours: the runtime writes it into the log and the workflow into its history."""


def log_failure(message: str, error: BaseException, **fields: Any) -> None:
    """What kind of error and where in the code, through all its causes. Never its text: that may quote a customer's name or a secret."""
    chain: list[dict[str, object]] = []
    current: BaseException | None = error
    while current is not None and len(chain) < 5:
        frames = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(current.__traceback__)[-6:]]
        named = {"code": current.code} if isinstance(current, CrossdockError) else {}
        if isinstance(current, ClientError):
            named = {"code": str(current.response.get("Error", {}).get("Code", "")), "operation": current.operation_name}
        chain.append({"error": type(current).__name__, **named, "at": frames})
        current = current.__cause__ or current.__context__
    logger.error(message, failure=chain, **fields)


def queue_handler(queue: QueueName, work: Callable[[str, Services], None], on_refusal: Refusal | None = None) -> Callable[[dict[str, Any], Any], Any]:
    """A Lambda handler that works a queue's messages one by one: done, put off, or recorded as exception and moved to the dead letters."""
    from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response  # here: only the queues' functions pay for it

    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)

    def one(record: SQSRecord) -> None:
        _work_one(queue, record, work, on_refusal)

    @logger.inject_lambda_context(clear_state=True)
    def handler(event: dict[str, Any], context: Any) -> Any:
        logger.info("batch received", queue=queue.value, messages=len(event.get("Records", [])))
        if not event.get("Records"):  # a call that only wants the worker to be ready: the batch processor refuses an empty batch
            services()
            return {"batchItemFailures": []}
        return process_partial_response(event=event, record_handler=one, processor=processor, context=context)

    return handler


def _work_one(queue: QueueName, record: SQSRecord, work: Callable[[str, Services], None], on_refusal: Refusal | None) -> None:
    try:
        _classify(queue, record, work, on_refusal, services())
    except GoesRoundAgain:
        raise
    except Exception as error:
        # Not even the failure could be recorded: the queue delivers the message again, and at last the dead letters are looked through.
        log_failure("message could not be settled", error, queue=queue.value)
        raise


def _classify(queue: QueueName, record: SQSRecord, work: Callable[[str, Services], None], on_refusal: Refusal | None, made: Services) -> None:
    body = record.body
    tries = int(record.attributes.approximate_receive_count)
    subject, connection, command = about(queue, body)
    try:
        work(body, made)
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
        _put_off(queue, record, RetryLater("PLATFORM_UNAVAILABLE", f"a platform call failed: {type(error).__name__}"), tries, made)
    except Exception as error:  # noqa: BLE001 - the edge of the system: whatever comes out becomes a record and a log line
        log_failure("message failed unexpectedly", error, queue=queue.value, subject=subject, command=command)
        _put_off(queue, record, RetryLater("UNEXPECTED_ERROR", f"{type(error).__name__} while working on {command or 'the message'}"), tries, made)
    else:
        raise_exception.close_for_message(queue, body, services=made)
        logger.info("message done", queue=queue.value, subject=subject, connection=connection, command=command)


def _put_off(queue: QueueName, record: SQSRecord, error: RetryLater, tries: int, made: Services) -> None:
    """Later again; at the last try the reason is on record before the queue moves the message to its dead letters."""
    last = tries >= LAST_TRY[queue]
    if last:
        _to_exception(queue, record.body, error, made, dead_letter=False)
    try:
        # After the last try at once: so the queue moves it to the dead letters now, and not only after its own long pause.
        bootstrap.function_delay().put_off(queue, record.receipt_handle, 0 if last else backoff_seconds(tries, error.after_seconds))
    except (ClientError, BotoCoreError) as refused:
        log_failure("message keeps the queue's own pause", refused, queue=queue.value)
    logger.info("message put off", queue=queue.value, code=error.code, tries=tries)
    raise GoesRoundAgain(error.code) from error


def _to_exception(queue: QueueName, body: str, error: CrossdockError, made: Services, *, dead_letter: bool) -> None:
    subject, connection, _ = about(queue, body)
    order_id = subject if queue is not QueueName.INBOUND and made.orders.get(subject) is not None else None
    raise_exception.for_message(error, queue=queue, message=body, subject=subject, connection=connection, services=made, order_id=order_id, dead_letter=dead_letter)
    if queue is QueueName.INBOUND and subject != "unreadable":
        raise_exception.mark_delivery(inbound_message(subject), error.code, made)


def outbound_message(body: str) -> OutboundMessage:
    return OutboundMessage.model_validate_json(body)


def function_handler(work: Callable[[dict[str, Any], Services], dict[str, Any]]) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """A Lambda handler for a workflow's step or a schedule: JSON in, JSON out, one log line. Raises ``StepFailed`` for whatever went wrong."""

    @logger.inject_lambda_context(clear_state=True)
    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        try:
            answer = work(event, services())
        except CrossdockError as error:
            log_failure("step failed", error, order_id=event.get("order_id"), check=event.get("check"))
            # A call that may succeed later says what was called; anything else may quote the order.
            raise StepFailed(f"{error.code}: {error.detail}" if isinstance(error, RetryLater) else error.code) from None
        except Exception as error:  # noqa: BLE001 - as above
            log_failure("step failed unexpectedly", error, order_id=event.get("order_id"), check=event.get("check"))
            raise StepFailed(f"UNEXPECTED_ERROR: {type(error).__name__}") from None
        logger.info("step done", order_id=event.get("order_id"), check=event.get("check"), outcome=answer.get("outcome"))
        return answer

    return handler


# ------------------------------------------------------------------ HTTP


def headers_of(event: Mapping[str, Any]) -> dict[str, str]:
    """Headers by lower-case name; the last value where one is repeated."""
    return {str(name).lower(): str(value) for name, value in (event.get("headers") or {}).items() if value is not None}


def body_of(event: Mapping[str, Any]) -> bytes | None:
    """The body's bytes as sent, or None when the gateway's encoding of them cannot be read."""
    body = event.get("body") or ""
    if event.get("isBase64Encoded"):
        try:
            return base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            return None
    try:
        return str(body).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return None


def problem(
    status: int, title: str, detail: str, *, correlation_id: str, code: str = "", fields: list[dict[str, str]] | None = None, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Problem details (RFC 9457) as an API Gateway answer."""
    kind = (code or title).lower().replace(" ", "-").replace("_", "-")
    document: dict[str, Any] = {"type": f"urn:crossdock:problem:{kind}", "title": title, "status": status, "detail": detail, "correlation_id": correlation_id}
    if code:
        document["code"] = code
    if fields:
        document["errors"] = fields
    return {"statusCode": status, "headers": {"Content-Type": "application/problem+json", "X-Correlation-Id": correlation_id, **(headers or {})}, "body": json.dumps(document)}


def answer(status: int, document: object, *, correlation_id: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    return {"statusCode": status, "headers": {"Content-Type": "application/json", "X-Correlation-Id": correlation_id, **(headers or {})}, "body": json.dumps(document)}


def correlation_of(event: Mapping[str, Any]) -> str:
    return str((event.get("requestContext") or {}).get("requestId") or "unknown")
