"""Does every message end as done, as tried again, or on record, and does no log line say what only the record may know?"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from crossdock import batches, bootstrap, edge, gateway
from crossdock.domain.delivery import DeliveryStatus
from crossdock.domain.errors import ContractDrift, CrossdockError, NeedsPerson, Rejected, RetryLater, UnknownOutcome
from crossdock.domain.exception_record import ExceptionStatus
from crossdock.domain.stage import QueueName
from crossdock.flows.raise_exception import message_exception_id
from crossdock.flows.services import Services
from crossdock.observability import log_failure
from tests.functions.tenant import DELIVERY_ID, Tenant, batch

CONTEXT = SimpleNamespace(function_name="f", memory_limit_in_mb=512, invoked_function_arn="arn:f", aws_request_id="r-1", get_remaining_time_in_millis=lambda: 30_000)
ORDER = "storefront-1"
COMMANDS = [json.dumps({"arguments": {}, "command": "CreateSalesOrder", "connection": "erp", "order_id": f"storefront-{number}"}) for number in range(3)]
WORKERS = {QueueName.INBOUND: "translate_delivery", QueueName.WORK: "apply_event", QueueName.OUTBOUND: "deliver_command"}
MARK = "Žofie Quillfeather"


class Worked:
    """What the handler's work was given, and how it fails for which message."""

    def __init__(self, **failures: Exception) -> None:
        self.bodies: list[str] = []
        self.failures = failures

    def __call__(self, body: str, services: Services) -> None:
        self.bodies.append(body)
        for part, failure in self.failures.items():
            if part in body:
                raise failure


@pytest.fixture
def put_off(tenant: Tenant) -> list[tuple[QueueName, str, int]]:
    """What the function gives back to its queue, and for how long."""
    tenant.give("deliver_command")
    pauses: list[tuple[QueueName, str, int]] = []
    delay = SimpleNamespace(put_off=lambda queue, receipt, seconds: pauses.append((queue, receipt, seconds)))
    tenant.patch.setattr(bootstrap, "function_delay", lambda: delay)
    return pauses


def handle(work: Callable[[str, Services], None], event: dict[str, Any], *, queue: QueueName = QueueName.OUTBOUND, **more: Any) -> Any:
    return batches.queue_handler(queue, work, **more)(event, CONTEXT)


def failed(answer: Any) -> list[str]:
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def letters(tenant: Tenant, queue: str = "outbound") -> list[str]:
    return [message["Body"] for message in tenant.account.messages(getattr(tenant.account.settings, f"{queue}_dlq_url"))]


# ------------------------------------------------------------------ a batch
def test_one_message_that_fails_does_not_hold_the_others(tenant: Tenant, put_off: list[Any]) -> None:
    work = Worked(**{"storefront-1": RetryLater("BUSY", "not now")})

    answer = handle(work, batch(*COMMANDS))

    assert failed(answer) == ["m-1"]
    assert work.bodies == COMMANDS
    assert [(queue, receipt) for queue, receipt, _ in put_off] == [(QueueName.OUTBOUND, "r-1")]
    assert [line["subject"] for line in tenant.logged("message done")] == ["storefront-0", "storefront-2"]


def test_a_batch_that_fails_as_a_whole_is_told_message_by_message(tenant: Tenant, put_off: list[Any]) -> None:
    assert failed(handle(Worked(storefront=RetryLater("BUSY", "")), batch(*COMMANDS))) == ["m-0", "m-1", "m-2"]


def test_an_empty_batch_is_nothing_to_do_and_no_failure(tenant: Tenant) -> None:
    work = Worked()

    assert failed(handle(work, {"Records": []})) == [] and work.bodies == []


def test_what_there_is_no_time_for_goes_back_at_once_and_the_function_is_not_ended_in_the_middle(tenant: Tenant, put_off: list[Any]) -> None:
    left = iter((30_000, batches.ENOUGH_SECONDS * 1000, 900))
    context = SimpleNamespace(**{**vars(CONTEXT), "get_remaining_time_in_millis": lambda: next(left)})
    work = Worked()

    assert failed(batches.queue_handler(QueueName.OUTBOUND, work)(batch(*COMMANDS), context)) == ["m-2"]

    assert work.bodies == COMMANDS[:2]
    assert put_off == [(QueueName.OUTBOUND, "r-2", 1)]


def test_a_last_try_is_made_however_little_time_is_left(tenant: Tenant, put_off: list[Any]) -> None:
    context = SimpleNamespace(**{**vars(CONTEXT), "get_remaining_time_in_millis": lambda: 900})
    work = Worked()

    batches.queue_handler(QueueName.OUTBOUND, work)(batch(COMMANDS[0], tries=batches.LAST_TRY[QueueName.OUTBOUND]), context)

    assert work.bodies == COMMANDS[:1]


# ------------------------------------------------------------------ for good
@pytest.mark.parametrize(
    "error", [Rejected("VENDOR_REFUSED", "no"), NeedsPerson("CREDENTIALS_MISSING", "none"), ContractDrift("UNEXPECTED_ANSWER", "what?")], ids=lambda error: error.code
)
def test_a_failure_for_good_is_on_record_in_the_dead_letters_and_out_of_the_queue(error: CrossdockError, tenant: Tenant, put_off: list[Any]) -> None:
    assert failed(handle(Worked(storefront=error), batch(COMMANDS[0]))) == []

    (found,) = tenant.services.exceptions.listed()
    assert (found.exception_id, found.code, found.kind, found.queue) == (message_exception_id(QueueName.OUTBOUND, COMMANDS[0]), error.code, "message", QueueName.OUTBOUND)
    assert (found.connection, found.message) == ("erp", COMMANDS[0])
    (letter,) = tenant.account.messages(tenant.account.settings.outbound_dlq_url)
    assert (letter["Body"], letter["MessageAttributes"]["exception_id"]["StringValue"]) == (COMMANDS[0], found.exception_id)
    assert put_off == []
    assert [line["code"] for line in tenant.logged("message refused")] == [error.code]


def test_a_refusal_that_is_dealt_with_leaves_no_record(tenant: Tenant, put_off: list[Any]) -> None:
    refusals = []

    def dealt_with(body: str, error: CrossdockError, services: Services) -> bool:
        refusals.append((body, error.code))
        return True

    assert failed(handle(Worked(storefront=Rejected("ALREADY_SHIPPED", "too late")), batch(COMMANDS[0]), on_refusal=dealt_with)) == []

    assert refusals == [(COMMANDS[0], "ALREADY_SHIPPED")]
    assert tenant.services.exceptions.listed() == []
    assert letters(tenant) == []


def test_what_goes_through_in_the_end_closes_its_record(tenant: Tenant, put_off: list[Any]) -> None:
    handle(Worked(storefront=Rejected("VENDOR_REFUSED", "no")), batch(COMMANDS[0]))
    handle(Worked(), batch(COMMANDS[0]))

    assert tenant.services.exceptions.listed() == []
    (found,) = tenant.services.exceptions.listed(closed=True)
    assert found.status is ExceptionStatus.RESOLVED


def test_a_delivery_that_is_refused_is_marked_so(tenant: Tenant) -> None:
    tenant.receive()
    tenant.give("translate_delivery")

    handle(Worked(delivery=Rejected("INVALID_BODY", "no")), batch(json.dumps({"delivery_id": DELIVERY_ID})), queue=QueueName.INBOUND)

    note = tenant.services.deliveries.note(DELIVERY_ID)
    assert note is not None
    assert note.status is DeliveryStatus.EXCEPTION


# ------------------------------------------------------------------ again
@pytest.mark.parametrize("error", [RetryLater("RATE_LIMITED", "", after_seconds=77), UnknownOutcome("UNKNOWN_OUTCOME", "", after_seconds=77)], ids=lambda error: error.code)
def test_a_failure_for_now_waits_at_least_as_long_as_the_other_side_asked(error: RetryLater, tenant: Tenant, put_off: list[Any]) -> None:
    assert failed(handle(Worked(storefront=error), batch(COMMANDS[0]))) == ["m-0"]

    assert put_off == [(QueueName.OUTBOUND, "r-0", 77)]
    assert tenant.services.exceptions.listed() == []
    (line,) = tenant.logged("message put off")
    assert (line["code"], line["tries"]) == (error.code, 1)


@pytest.mark.parametrize("queue", list(QueueName))
def test_the_last_try_writes_its_reason_and_leaves_the_message_to_the_queue(queue: QueueName, tenant: Tenant, put_off: list[Any]) -> None:
    tenant.give(WORKERS[queue])
    request = json.dumps({"request": "post", "order_id": "shop-1", "token": "t"})
    body = {QueueName.INBOUND: '{"delivery_id": "shop.a.1"}', QueueName.WORK: request, QueueName.OUTBOUND: COMMANDS[0]}[queue]
    tries = batches.LAST_TRY[queue]
    work = Worked(**{"": RetryLater("VENDOR_UNAVAILABLE", "erp answered 500")})

    handle(work, batch(body, tries=tries - 1), queue=queue)
    assert tenant.services.exceptions.listed() == []
    assert failed(handle(work, batch(body, tries=tries), queue=queue)) == ["m-0"], "the queue itself moves it to the dead letters"

    (found,) = tenant.services.exceptions.listed()
    assert (found.code, found.detail, found.queue) == ("VENDOR_UNAVAILABLE", "erp answered 500", queue)
    assert letters(tenant, queue.value) == []
    assert [seconds for _, _, seconds in put_off][1:] == [0], "at once, and not after the queue's own long pause"


def test_a_message_that_cannot_be_put_off_comes_back_by_itself(tenant: Tenant) -> None:
    tenant.give("deliver_command")

    assert failed(handle(Worked(storefront=RetryLater("BUSY", "")), batch(COMMANDS[0]))) == ["m-0"], "moto does not know this receipt"

    assert len(tenant.logged("message keeps the queue's own pause")) == 1


@given(st.integers(1, 10_000), st.one_of(st.none(), st.integers(0, 10**9)))
def test_a_pause_is_never_nothing_never_less_than_the_wish_and_else_within_bounds(tries: int, wish: int | None) -> None:
    pause = batches.backoff_seconds(tries, wish)

    assert pause >= max(1, wish or 0)
    assert pause <= max(wish or 0, min(batches.LONGEST_PAUSE_SECONDS, 2**tries))


def test_pauses_grow_and_differ() -> None:
    late = {batches.backoff_seconds(9, None) for _ in range(200)}

    assert len(late) > 50
    assert max(late) > 100
    assert max(batches.backoff_seconds(1, None) for _ in range(50)) <= 2


# ------------------------------------------------------------------ what nobody expected
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyError(MARK), "UNEXPECTED_ERROR"),
        (ValueError(f"cannot read {MARK}"), "UNEXPECTED_ERROR"),
        (ClientError({"Error": {"Code": "AccessDeniedException", "Message": f"{MARK} is not authorized"}}, "PutItem"), "PLATFORM_UNAVAILABLE"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_unexpected_error_is_tried_again_then_on_record_and_its_text_in_no_log(error: Exception, code: str, tenant: Tenant, put_off: list[Any]) -> None:
    work = Worked(storefront=error)

    assert failed(handle(work, batch(COMMANDS[0]))) == ["m-0"]
    assert tenant.services.exceptions.listed() == []
    handle(work, batch(COMMANDS[0], tries=batches.LAST_TRY[QueueName.OUTBOUND]))

    (found,) = tenant.services.exceptions.listed()
    assert (found.code, MARK in found.detail) == (code, False)
    assert MARK not in tenant.log.getvalue()
    assert json.dumps(MARK)[1:-1] not in tenant.log.getvalue()
    line = next(line for line in tenant.lines() if "failure" in line)
    assert line["failure"][0]["error"] == type(error).__name__
    assert line["failure"][0]["at"][-1].endswith("__call__"), "where in the code it happened"


@pytest.mark.parametrize("queue", list(QueueName))
def test_the_tries_last_longer_than_a_minutes_outage_of_the_platform_and_the_next_comes_soon_after_it(queue: QueueName, tenant: Tenant, put_off: list[Any]) -> None:
    tenant.give(WORKERS[queue])
    away = Worked(**{"": ClientError({"Error": {"Code": "InternalServerError", "Message": ""}}, "GetItem")})
    body = COMMANDS[0] if queue is QueueName.OUTBOUND else '{"delivery_id": "shop.a.1"}'

    for tries in range(1, batches.LAST_TRY[queue]):
        handle(away, batch(body, tries=tries), queue=queue)

    pauses = [seconds for _, _, seconds in put_off]
    assert sum(pauses) > 60
    assert max(pauses[:3]) < 60


def test_the_failure_of_a_platform_call_names_the_call(tenant: Tenant, put_off: list[Any]) -> None:
    handle(Worked(storefront=ClientError({"Error": {"Code": "AccessDeniedException", "Message": ""}}, "PutItem")), batch(COMMANDS[0]))

    (line,) = tenant.logged("platform call failed")
    assert (line["failure"][0]["code"], line["failure"][0]["operation"]) == ("AccessDeniedException", "PutItem")


RUBBISH = ["", "no json", "[]", "null", "7", '{"surprise": 1}', '{"detail": {"type": "x"}}', '"\\ud800"', '{"command": 1}']


@pytest.mark.parametrize("queue", list(QueueName))
def test_rubbish_in_a_queue_never_stops_the_function_and_ends_on_record(queue: QueueName, tenant: Tenant) -> None:
    tenant.run(WORKERS[queue], batch(*RUBBISH, tries=batches.LAST_TRY[queue]))

    assert {record.message for record in tenant.services.exceptions.listed()} == set(RUBBISH)


def test_a_failure_that_cannot_even_be_recorded_goes_round_again(tenant: Tenant, put_off: list[Any]) -> None:
    tenant.account.clients.dynamodb.delete_table(TableName="state")

    assert failed(handle(Worked(storefront=Rejected("VENDOR_REFUSED", MARK)), batch(COMMANDS[0]))) == ["m-0"]

    assert len(tenant.logged("message could not be settled")) == 1
    assert letters(tenant) == []


# ------------------------------------------------------------------ steps
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RetryLater("VENDOR_UNAVAILABLE", "erp answered 500"), "VENDOR_UNAVAILABLE: erp answered 500"),
        (NeedsPerson("MISSING_XREF", f"customer {MARK}"), "MISSING_XREF"),
        (ValueError(MARK), "UNEXPECTED_ERROR: ValueError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_step_that_fails_tells_the_workflow_no_more_than_a_log_may_know(error: Exception, told: str, tenant: Tenant) -> None:
    tenant.give("check_order")

    def work(event: dict[str, Any], services: Services) -> dict[str, Any]:
        raise error

    with pytest.raises(edge.StepFailed) as caught:
        edge.function_handler(work)({"order_id": ORDER, "check": "price"}, CONTEXT)

    assert str(caught.value) == told
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__, "the runtime would print it"
    assert MARK not in tenant.log.getvalue()
    assert next(line for line in tenant.lines() if "failure" in line)["order_id"] == ORDER


def test_a_failure_is_logged_with_all_its_causes(tenant: Tenant) -> None:
    error = Rejected("INVALID_BODY", MARK)
    error.__cause__ = KeyError(MARK)

    log_failure("it failed", error, queue="work")

    (line,) = tenant.logged("it failed")
    assert [(each["error"], each.get("code")) for each in line["failure"]] == [("Rejected", "INVALID_BODY"), ("KeyError", None)]
    assert line["queue"] == "work"
    assert "Quillfeather" not in json.dumps(line)


# ------------------------------------------------------------------ HTTP
def test_headers_are_found_by_their_lower_case_name() -> None:
    assert gateway.headers_of({"headers": {"X-Api-Key": "k", "Empty": None, "N": 1}}) == {"x-api-key": "k", "n": "1"}
    assert gateway.headers_of({"headers": None}) == {}
    assert gateway.headers_of({}) == {}


@pytest.mark.parametrize(
    ("event", "body"),
    [
        ({"body": "é"}, "é".encode()),
        ({"body": None}, b""),
        ({}, b""),
        ({"body": base64.b64encode(b"\x00\xff").decode(), "isBase64Encoded": True}, b"\x00\xff"),
        ({"body": "not base64!", "isBase64Encoded": True}, None),
        ({"body": "é", "isBase64Encoded": True}, None),
        ({"body": "\udcff"}, b"\xff"),
        ({"body": "\ud83d"}, None),
    ],
)
def test_a_body_is_its_bytes_or_cannot_be_read(event: dict[str, Any], body: bytes | None) -> None:
    assert gateway.body_of(event) == body


def test_a_problem_has_the_shape_of_rfc_9457() -> None:
    fields = [{"path": "lines.0.sku", "problem": "unknown"}]

    made = gateway.problem(422, "Missing xref", "A detail.", correlation_id="c-1", code="MISSING_XREF", fields=fields, headers={"Retry-After": "5"})

    assert made["statusCode"] == 422
    assert made["headers"] == {"Content-Type": "application/problem+json", "X-Correlation-Id": "c-1", "Retry-After": "5"}
    assert json.loads(made["body"]) == {
        "type": "urn:crossdock:problem:missing-xref",
        "title": "Missing xref",
        "status": 422,
        "detail": "A detail.",
        "correlation_id": "c-1",
        "code": "MISSING_XREF",
        "errors": [{"path": "lines.0.sku", "problem": "unknown"}],
    }


def test_a_problem_without_a_code_is_named_by_its_title() -> None:
    document = json.loads(gateway.problem(404, "Not found", "", correlation_id="c-1")["body"])

    assert document["type"] == "urn:crossdock:problem:not-found"
    assert {"code", "errors"}.isdisjoint(document)


def test_a_call_without_an_id_still_has_one() -> None:
    assert gateway.correlation_of({"requestContext": {"requestId": "c-1"}}) == "c-1"
    assert gateway.correlation_of({"requestContext": None}) == "unknown"
