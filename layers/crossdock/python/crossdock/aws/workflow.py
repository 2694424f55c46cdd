"""How is an order's workflow started, answered and asked whether it lives?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from crossdock.aws.clients import Clients
from crossdock.aws.table import error_code
from crossdock.domain.ports import Cursors

NOBODY_WAITS = frozenset({"TaskDoesNotExist", "TaskTimedOut", "InvalidToken"})


class StepFunctionsWorkflow:
    """Implements ``ports.Workflow``. The execution's name is the order id; a restart by a person gets a number behind it."""

    def __init__(self, clients: Clients, machine_arn: str, cursors: Cursors) -> None:
        self._clients = clients
        self._machine_arn = machine_arn
        self._cursors = cursors

    def start(self, order_id: str, *, attempt: int = 0) -> None:
        name = order_id if attempt == 0 else f"{order_id[:70]}_{attempt}"
        try:
            self._clients.stepfunctions.start_execution(stateMachineArn=self._machine_arn, name=name, input=json.dumps({"order_id": order_id}))
        except ClientError as error:
            if error_code(error) != "ExecutionAlreadyExists":
                raise
        if attempt:
            self._cursors.put(f"execution#{order_id}", name)

    def _answer(self, operation: str, **arguments: Any) -> bool:
        try:
            getattr(self._clients.stepfunctions, operation)(**arguments)
        except ClientError as error:
            if error_code(error) in NOBODY_WAITS:
                return False
            raise
        return True

    def succeed(self, token: str, output: Mapping[str, object]) -> bool:
        return self._answer("send_task_success", taskToken=token, output=json.dumps(dict(output)))

    def fail(self, token: str, *, error: str, cause: str) -> bool:
        return self._answer("send_task_failure", taskToken=token, error=error, cause=cause[:30000])

    def running(self, order_id: str) -> bool | None:
        status = self._status(order_id)
        if status in (None, "RUNNING"):
            return None if status is None else True
        again = self._cursors.get(f"execution#{order_id}")
        return self._status(again) == "RUNNING" if again else False

    def _status(self, name: str) -> str | None:
        arn = self._machine_arn.replace(":stateMachine:", ":execution:") + f":{name}"
        try:
            return str(self._clients.stepfunctions.describe_execution(executionArn=arn)["status"])
        except ClientError as error:
            if error_code(error) == "ExecutionDoesNotExist":
                return None
            raise
