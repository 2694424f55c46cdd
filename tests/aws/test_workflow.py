"""Is an order's workflow started once, answered once, and known to live?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from crossdock.aws.clients import Clients
from crossdock.aws.cursors import DynamoCursors
from crossdock.aws.workflow import LONGEST_NAME, StepFunctionsWorkflow
from tests.aws.account import Account

LONG = "o" * 78


class Service(Clients):
    """Step Functions that answers every task with one error (or none) and remembers what it was asked."""

    def __init__(self, error: str | None = None) -> None:
        super().__init__()
        self.error = error
        self.asked: list[tuple[str, dict[str, Any]]] = []

    @property
    def stepfunctions(self) -> Any:
        return self

    def __getattr__(self, operation: str) -> Any:
        def call(**arguments: Any) -> Any:
            self.asked.append((operation, arguments))
            if self.error is not None:
                raise ClientError({"Error": {"Code": self.error, "Message": ""}}, operation)
            return {"status": "RUNNING"}

        return call


class Notes:
    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def get(self, name: str) -> str | None:
        return self.kept.get(name)

    def put(self, name: str, value: str) -> None:
        self.kept[name] = value

    def claim(self, name: str, **_: Any) -> bool:
        raise AssertionError(name)

    def release_claim(self, name: str) -> None:
        raise AssertionError(name)


def workflow(service: Service, notes: Notes | None = None) -> StepFunctionsWorkflow:
    arn = "arn:aws:states:us-east-1:1:stateMachine:"
    return StepFunctionsWorkflow(service, f"{arn}order", f"{arn}return", notes or Notes())


@pytest.fixture
def live(account: Account) -> StepFunctionsWorkflow:
    return StepFunctionsWorkflow(account.clients, account.settings.order_machine_arn, account.settings.return_machine_arn, DynamoCursors(account.table))


def stop(account: Account, name: str) -> None:
    arn = account.settings.order_machine_arn.replace(":stateMachine:", ":execution:") + f":{name}"
    account.clients.stepfunctions.stop_execution(executionArn=arn)


def test_an_order_runs_under_its_own_name(live: StepFunctionsWorkflow, account: Account) -> None:
    assert live.running("shop-1") is None

    live.start("shop-1")

    assert live.running("shop-1") is True
    assert live.running("shop-2") is None
    (execution,) = account.clients.stepfunctions.list_executions(stateMachineArn=account.settings.order_machine_arn)["executions"]
    assert execution["name"] == "shop-1"


def test_a_return_runs_in_the_returns_own_workflow(live: StepFunctionsWorkflow, account: Account) -> None:
    live.start("RMA-shop-1")

    assert live.running("RMA-shop-1") is True
    arn = account.settings.return_machine_arn
    (execution,) = account.clients.stepfunctions.list_executions(stateMachineArn=arn)["executions"]
    assert execution["name"] == "RMA-shop-1"
    described = account.clients.stepfunctions.describe_execution(executionArn=execution["executionArn"])
    assert json.loads(described["input"]) == {"return_id": "RMA-shop-1"}


def test_starting_again_is_the_same_start(live: StepFunctionsWorkflow, account: Account) -> None:
    for _ in range(3):
        live.start("shop-1")
    stop(account, "shop-1")
    live.start("shop-1")

    assert live.running("shop-1") is False, "what has ended is not begun anew by a late copy"


def test_a_restart_runs_beside_the_one_that_stopped(live: StepFunctionsWorkflow, account: Account) -> None:
    live.start("shop-1")
    stop(account, "shop-1")

    live.start("shop-1", attempt=2)
    assert live.running("shop-1") is True

    stop(account, "shop-1_2")
    assert live.running("shop-1") is False


def test_a_restart_can_be_found_before_it_exists() -> None:
    """A crash between the two must not leave an execution that nobody knows: it would be started a second time."""
    notes, service = Notes(), Service("ServiceUnavailable")

    with pytest.raises(ClientError):
        workflow(service, notes).start("shop-1", attempt=1)

    assert notes.kept == {"execution#shop-1": "shop-1_1"}


def test_names_of_long_orders_stay_apart_and_within_the_limit() -> None:
    service = Service()
    for name in (LONG, LONG[:-1] + "x"):
        for attempt in (0, 1, 2):
            workflow(service).start(name, attempt=attempt)

    names = [arguments["name"] for _, arguments in service.asked]
    assert len(set(names)) == 6
    assert max(map(len, names)) <= LONGEST_NAME


@pytest.mark.parametrize("nobody", ["TaskDoesNotExist", "TaskTimedOut", "InvalidToken"])
def test_an_answer_that_nobody_waits_for_is_told_and_harms_nothing(nobody: str) -> None:
    assert workflow(Service(nobody)).succeed("token", {}) is False
    assert workflow(Service(nobody)).fail("token", error="Cancelled", cause="") is False


def test_an_answer_that_is_waited_for_arrives_as_json() -> None:
    service = Service()

    assert workflow(service).succeed("token", {"sales_order": "SO-1"}) is True
    assert workflow(service).fail("token", error="Cancelled", cause="x" * 40_000) is True

    assert service.asked[0] == ("send_task_success", {"taskToken": "token", "output": '{"sales_order": "SO-1"}'})
    assert service.asked[1] == ("send_task_failure", {"taskToken": "token", "error": "Cancelled", "cause": "x" * 30_000})


def test_without_a_token_nobody_is_asked() -> None:
    service = Service()

    assert workflow(service).succeed("", {}) is False
    assert service.asked == []


def test_any_other_failure_of_the_service_is_not_swallowed() -> None:
    with pytest.raises(ClientError):
        workflow(Service("ThrottlingException")).succeed("token", {})
    with pytest.raises(ClientError):
        workflow(Service("StateMachineDoesNotExist")).start("shop-1")
    with pytest.raises(ClientError):
        workflow(Service("AccessDeniedException")).running("shop-1")
