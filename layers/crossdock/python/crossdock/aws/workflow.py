"""How is an order's workflow started, answered and asked whether it lives?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from crossdock.aws.clients import Clients
from crossdock.aws.failure import error_code
from crossdock.domain.ports import Cursors

NOBODY_WAITS = frozenset({"TaskDoesNotExist", "TaskTimedOut", "InvalidToken"})


LONGEST_NAME = 80


def _restarted(order_id: str, attempt: int) -> str:
    """The order id with the number behind it; an id too long for that is cut and made unique again by its hash."""
    name = f"{order_id}_{attempt}"
    return name if len(name) <= LONGEST_NAME else f"{order_id[:50]}_{hashlib.sha256(order_id.encode()).hexdigest()[:12]}_{attempt}"


class StepFunctionsWorkflow:
    """Implements ``ports.Workflow``. The execution's name is the order id; a restart by a person gets a number behind it."""

    def __init__(self, clients: Clients, machine_arn: str, cursors: Cursors) -> None:
        self._clients = clients
        self._machine_arn = machine_arn
        self._cursors = cursors

    def start(self, order_id: str, *, attempt: int = 0) -> None:
        name = order_id if attempt == 0 else _restarted(order_id, attempt)
        if attempt:
            # First: a restart that nobody finds would be started a second time beside it.
            self._cursors.put(f"execution#{order_id}", name)
        try:
            self._clients.stepfunctions.start_execution(stateMachineArn=self._machine_arn, name=name, input=json.dumps({"order_id": order_id}))
        except Exception as error:
            if error_code(error) != "ExecutionAlreadyExists":
                raise

    def _answer(self, operation: str, token: str, **arguments: Any) -> bool:
        if not token:
            return False
        try:
            getattr(self._clients.stepfunctions, operation)(taskToken=token, **arguments)
        except Exception as error:
            if error_code(error) in NOBODY_WAITS:
                return False
            raise
        return True

    def succeed(self, token: str, output: Mapping[str, object]) -> bool:
        return self._answer("send_task_success", token, output=json.dumps(dict(output)))

    def fail(self, token: str, *, error: str, cause: str) -> bool:
        return self._answer("send_task_failure", token, error=error, cause=cause[:30000])

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
        except Exception as error:
            if error_code(error) == "ExecutionDoesNotExist":
                return None
            raise
