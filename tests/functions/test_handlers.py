"""Does each function do with each event what its queue, workflow or caller relies on, with the environment its stack gives it?"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from crossdock import batches, edge
from crossdock.aws.settings import Settings
from crossdock.domain.delivery import DeliveryStatus
from crossdock.domain.errors import RetryLater
from crossdock.domain.order_record import OrderStatus, Parked
from crossdock.domain.stage import QueueName
from crossdock.domain.waiting import Step
from crossdock.flows import circuit
from infra.layers import NEVER_IMPORTED
from tests.functions.tenant import DELIVERY_ID, EVENTS, FUNCTIONS, ORDER_ID, ROOT, Erp, Tenant, environments, event

DONE: dict[str, list[Any]] = {"batchItemFailures": []}


def _placed_and_stocked(tenant: Tenant) -> None:
    tenant.place()
    tenant.stock()


CASES: dict[str, tuple[Callable[[Tenant], object], Callable[[Any], bool]]] = {
    # events/<case>.json: what comes before it, and whether the answer is right
    "receive_webhook/signed": (lambda _: None, lambda answer: answer["statusCode"] == 200 and json.loads(answer["body"]) == {"delivery_id": DELIVERY_ID, "duplicate": False}),
    "receive_webhook/signed_base64": (lambda _: None, lambda answer: answer["statusCode"] == 200),
    "receive_webhook/signed_not_json": (lambda _: None, lambda answer: answer["statusCode"] == 400),
    "receive_webhook/unknown_connection": (lambda _: None, lambda answer: answer["statusCode"] == 404),
    "receive_webhook/unreadable_encoding": (lambda _: None, lambda answer: answer["statusCode"] == 400),
    "receive_webhook/wrong_signature": (lambda _: None, lambda answer: answer["statusCode"] == 401),
    "translate_delivery/one": (Tenant.receive, lambda answer: answer == DONE),
    "translate_delivery/one_of_two_unknown": (Tenant.receive, lambda answer: answer == DONE),
    "translate_delivery/unreadable_last_try": (lambda _: None, lambda answer: len(answer["batchItemFailures"]) == 1),
    "apply_event/order_cancelled": (Tenant.place, lambda answer: answer == DONE),
    "apply_event/post_requested": (Tenant.reserve, lambda answer: answer == DONE),
    "apply_event/stuck": (Tenant.place, lambda answer: answer == DONE),
    "validate_order/order": (Tenant.place, lambda answer: answer == {"outcome": "passed"}),
    "check_order/price": (Tenant.place, lambda answer: answer == {"outcome": "passed"}),
    "check_order/credit": (Tenant.place, lambda answer: answer == {"outcome": "passed"}),
    "reserve_stock/order": (_placed_and_stocked, lambda answer: answer == {"outcome": "passed"}),
    "deliver_command/create_sales_order": (Tenant.reserve, lambda answer: answer == DONE),
    "deliver_command/unknown_order": (lambda _: None, lambda answer: answer == DONE),
    "watch_deadlines/every_minute": (Tenant.place, lambda answer: answer["outcome"] == "watched" and answer["polls"] > 0),
    "index_dead_letters/every_minute": (lambda _: None, lambda answer: answer == {"outcome": "indexed", "inbound": 0, "work": 0, "outbound": 0}),
    "serve_api/health": (lambda _: None, lambda answer: answer["statusCode"] == 200 and json.loads(answer["body"])["tenant"] == "acme_industrial"),
    "serve_api/list_orders": (Tenant.place, lambda answer: [order["order_id"] for order in json.loads(answer["body"])["orders"]] == [ORDER_ID]),
    "serve_api/submit_order": (lambda _: None, lambda answer: answer["statusCode"] == 202 and json.loads(answer["body"])["order_id"] == "direct-P-1"),
}


def test_every_function_has_its_events_and_its_place_in_the_stack() -> None:
    assert {case.partition("/")[0] for case in EVENTS} == set(FUNCTIONS) == set(environments())
    assert set(CASES) == set(EVENTS), "an event without a claim, or a claim without its event"


@pytest.mark.parametrize("case", EVENTS)
def test_the_event_is_answered_as_expected(case: str, tenant: Tenant) -> None:
    before, right = CASES[case]
    before(tenant)

    answer = tenant.run(case.partition("/")[0], event(case))

    assert right(answer), f"{answer}\n{tenant.log.getvalue()}"


@pytest.mark.parametrize("case", [case for case in EVENTS if not case.startswith(("translate_delivery/unreadable", "index"))])
def test_the_event_once_more_changes_nothing(case: str, tenant: Tenant) -> None:
    before, right = CASES[case]
    before(tenant)
    tenant.run(case.partition("/")[0], event(case))
    orders = list(tenant.services.orders.every())
    executed = list(Erp.executed)

    again = tenant.run(case.partition("/")[0], event(case))

    if "statusCode" in again and case.startswith("receive_webhook/signed") and again["statusCode"] == 200:
        assert json.loads(again["body"])["duplicate"] is True
    elif case != "watch_deadlines/every_minute":
        assert right(again)
    assert [(order.order_id, order.status, order.parts) for order in tenant.services.orders.every()] == [(order.order_id, order.status, order.parts) for order in orders]
    assert Erp.executed == executed


# ------------------------------------------------------------------ what comes of them
def test_a_signed_webhook_is_stored_and_queued_before_it_is_answered(tenant: Tenant) -> None:
    tenant.receive()

    (message,) = tenant.account.messages(tenant.account.settings.inbound_queue_url)
    assert json.loads(message["Body"]) == {"delivery_id": DELIVERY_ID}
    assert tenant.services.deliveries.load(DELIVERY_ID).body == event("receive_webhook/signed")["body"].encode()


def test_a_webhook_that_cannot_be_stored_is_asked_for_again(tenant: Tenant) -> None:
    tenant.account.clients.s3.delete_bucket(Bucket="archive")

    answer = tenant.run("receive_webhook", event("receive_webhook/signed"))

    assert (answer["statusCode"], answer["headers"]["Retry-After"]) == (503, "5")
    assert tenant.account.messages(tenant.account.settings.inbound_queue_url) == []


def test_a_signed_body_that_is_no_json_is_kept_for_a_person(tenant: Tenant) -> None:
    answer = tenant.run("receive_webhook", event("receive_webhook/signed_not_json"))

    problem = json.loads(answer["body"])
    assert answer["headers"]["Content-Type"] == "application/problem+json"
    assert problem["errors"][0]["path"] == "(body)"
    (found,) = tenant.services.exceptions.listed()
    assert (found.code, found.queue) == ("INVALID_BODY", QueueName.INBOUND)
    assert len(tenant.account.messages(tenant.account.settings.inbound_dlq_url)) == 1


def test_a_translated_delivery_is_done_and_names_what_came_of_it(tenant: Tenant) -> None:
    tenant.receive()
    tenant.run("translate_delivery", event("translate_delivery/one_of_two_unknown"))

    note = tenant.services.deliveries.note(DELIVERY_ID)
    assert note is not None
    assert (note.status, note.events) == (DeliveryStatus.DONE, (f"OrderPlaced:{ORDER_ID}",))
    assert [found.code for found in tenant.services.exceptions.listed()] == ["NOT_FOUND"]


def test_an_order_goes_its_way_through_the_functions(tenant: Tenant) -> None:
    tenant.reserve()
    assert tenant.services.workflow.running(ORDER_ID) is True
    tenant.run("apply_event", event("apply_event/post_requested"))

    (command,) = tenant.account.messages(tenant.account.settings.outbound_queue_url)
    assert json.loads(command["Body"])["command"] == "CreateSalesOrder"
    waiting = tenant.services.orders.get(ORDER_ID)
    assert waiting is not None
    assert waiting.waiting is not None
    assert (waiting.status, waiting.waiting.step) == (OrderStatus.RESERVED, Step.POST)

    tenant.patch.setattr(tenant.account.clients.stepfunctions, "send_task_success", lambda **_: {})
    tenant.run("deliver_command", event("deliver_command/create_sales_order"))

    posted = tenant.services.orders.get(ORDER_ID)
    assert posted is not None
    assert posted.sales_order is not None
    assert (posted.status, posted.sales_order.number, Erp.executed) == (OrderStatus.POSTED, "SO-1", ["CreateSalesOrder"])
    assert [entry.action for entry in tenant.services.audit.entries(ORDER_ID)] == ["OrderPlaced", "StockReserved", "SalesOrderPosted"]


def test_what_waited_for_the_reservation_goes_round_again(tenant: Tenant) -> None:
    tenant.place()
    tenant.stock()
    (fact,) = tenant.facts()
    now = tenant.services.clock.now()
    tenant.services.orders.park(ORDER_ID, source="storefront", item=Parked(event_json=fact.model_dump_json(by_alias=True, exclude_none=True), parked_at=now, until=now))

    assert tenant.run("reserve_stock", event("reserve_stock/order")) == {"outcome": "passed"}

    (message,) = tenant.account.messages(tenant.account.settings.work_queue_url)
    assert json.loads(message["Body"])["detail"]["id"] == fact.id
    assert tenant.services.orders.parked(ORDER_ID) == []


def test_a_step_that_cannot_be_run_says_why_to_the_workflow(tenant: Tenant) -> None:
    tenant.place()
    Erp.failure = RetryLater("VENDOR_UNAVAILABLE", "erp answered 500 to GET /items")

    with pytest.raises(edge.StepFailed, match=r"^VENDOR_UNAVAILABLE: erp answered 500 to GET /items$"):
        tenant.run("check_order", event("check_order/price"))
    (line,) = tenant.logged("step failed")
    assert line["failure"][0]["code"] == "VENDOR_UNAVAILABLE"


def test_a_message_that_used_up_its_tries_stands_in_the_dead_letters_with_its_reason(tenant: Tenant) -> None:
    tenant.patch.setattr(batches, "backoff_seconds", lambda _tries, _wish: 0)
    tenant.reserve()
    body = event("deliver_command/create_sales_order")["Records"][0]["body"]
    tenant.services.queues.send(QueueName.OUTBOUND, body, group="erp")
    Erp.failure = RetryLater("BUSY", "somebody else works on the document")

    assert tenant.work_off("deliver_command", "outbound") == batches.LAST_TRY[QueueName.OUTBOUND]

    (letter,) = tenant.account.messages(tenant.account.settings.outbound_dlq_url)
    (found,) = tenant.services.exceptions.listed()
    assert (letter["Body"], found.message, found.code, found.order_id) == (body, body, "BUSY", ORDER_ID)
    assert tenant.run("index_dead_letters", event("index_dead_letters/every_minute"))["outbound"] == 0, "its reason is on record already"


def test_a_message_to_a_system_that_is_out_waits_in_a_fresh_copy(tenant: Tenant) -> None:
    tenant.patch.setattr(batches, "backoff_seconds", lambda _tries, _wish: 0)
    tenant.reserve()
    body = event("deliver_command/create_sales_order")["Records"][0]["body"]
    tenant.services.queues.send(QueueName.OUTBOUND, body, group="erp")
    Erp.failure = RetryLater("VENDOR_UNAVAILABLE", "erp answered 500 to POST /salesOrders")

    assert tenant.work_off("deliver_command", "outbound") == circuit.FAILURES

    assert tenant.account.messages(tenant.account.settings.outbound_dlq_url) == []
    assert tenant.services.queues.depth(QueueName.OUTBOUND) == 1, "the copy, with its delay before it"
    assert tenant.services.circuits.of("erp").health(at_once=True).opened_at is not None


def test_a_message_whose_worker_crashed_gets_its_record(tenant: Tenant) -> None:
    body = event("deliver_command/create_sales_order")["Records"][0]["body"]
    tenant.account.clients.sqs.send_message(QueueUrl=tenant.account.settings.outbound_dlq_url, MessageBody=body)

    assert tenant.run("index_dead_letters", event("index_dead_letters/every_minute"))["outbound"] == 1
    assert tenant.run("index_dead_letters", event("index_dead_letters/every_minute"))["outbound"] == 0

    (found,) = tenant.services.exceptions.listed()
    assert (found.code, found.queue, found.message) == ("WORKER_CRASHED", QueueName.OUTBOUND, body)


# ------------------------------------------------------------------ agreements with the stack
def test_the_last_try_is_the_queues_own() -> None:
    source = ast.parse((ROOT / "infra/constructs/queues.py").read_text(encoding="utf-8"))
    constants = {node.targets[0].id: node.value for node in source.body if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)}

    assert {QueueName(stage): count for stage, count in ast.literal_eval(constants["MAX_RECEIVE_COUNT"]).items()} == batches.LAST_TRY


def test_a_function_is_given_only_variables_that_are_read() -> None:
    known = {f"CROSSDOCK_{field.name.upper()}" for field in fields(Settings)}

    assert {name for names in environments().values() for name in names} <= known


def test_no_function_reaches_what_the_layer_leaves_out() -> None:
    left_out = tuple(part.replace("/", ".") for part in NEVER_IMPORTED)
    connectors = sorted(path.parent.name for path in ROOT.glob("layers/crossdock/python/crossdock/connectors/*/manifest.yaml"))
    code = f"""import runpy, sys
for name in {sorted(FUNCTIONS)!r}:
    runpy.run_path(f"functions/{{name}}/handler.py")
from crossdock import bootstrap, http
for name in {connectors!r}:
    bootstrap.load(name)
print(*(each for each in sys.modules if each.startswith({left_out!r})))"""

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)

    assert done.stdout.strip() == ""


HEAVY = ("boto3", "s3transfer", "aws_xray_sdk", "infra", "local", "aws_cdk", "moto", "jsonschema", "graphql", "typer", "requests")


WORKERS = {"translate_delivery", "apply_event", "deliver_command"}
INTAKE = {"receive_webhook"}


@pytest.mark.parametrize(
    ("functions", "heavy"),
    [
        (WORKERS, {*HEAVY, "aws_lambda_powertools.utilities.parser"}),
        (set(FUNCTIONS) - WORKERS - INTAKE, {*HEAVY, "aws_lambda_powertools.utilities.batch"}),
        (INTAKE, {*HEAVY, "aws_lambda_powertools.utilities.batch", "botocore.session", "pydantic", "yaml", "urllib3", "crossdock.domain.model"}),
    ],
    ids=["of the queues", "the others", "the intake"],
)
def test_a_handler_imports_nothing_it_does_not_need(functions: set[str], heavy: set[str]) -> None:
    """What a cold start pays for. Times depend on the machine; what is loaded does not. ``requests`` comes with the first call out."""
    code = f"import runpy, sys; [runpy.run_path(f'functions/{{name}}/handler.py') for name in {sorted(functions)!r}]; print(*sorted(set(sys.modules) & {heavy!r}))"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)

    assert done.stdout.strip() == ""


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_handler_is_short(function: str) -> None:
    assert len((ROOT / "functions" / function / "handler.py").read_text(encoding="utf-8").splitlines()) <= 40
