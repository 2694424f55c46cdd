"""How is the workflow of an order or a return started, answered and asked whether it lives?"""

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


RETURN = "RMA-"
"""How a return's id begins."""


def _restarted(subject: str, attempt: int) -> str:
    """The id with the number behind it; an id too long for that is cut and made unique again by its hash."""
    name = f"{subject}_{attempt}"
    return name if len(name) <= LONGEST_NAME else f"{subject[:50]}_{hashlib.sha256(subject.encode()).hexdigest()[:12]}_{attempt}"


class StepFunctionsWorkflow:
    """Implements ``ports.Workflow``. The execution's name is the order's or return's id; a restart by a person gets a number behind it."""

    def __init__(self, clients: Clients, order_machine_arn: str, return_machine_arn: str, cursors: Cursors) -> None:
        self._clients = clients
        self._order_machine_arn = order_machine_arn
        self._return_machine_arn = return_machine_arn
        self._cursors = cursors

    def _machine(self, subject: str) -> tuple[str, str]:
        """(the machine's ARN, what its input calls the subject)."""
        return (self._return_machine_arn, "return_id") if subject.startswith(RETURN) else (self._order_machine_arn, "order_id")

    def start(self, subject: str, *, attempt: int = 0) -> None:
        arn, called = self._machine(subject)
        name = subject if attempt == 0 else _restarted(subject, attempt)
        if attempt:
            # First: a restart that nobody finds would be started a second time beside it.
            self._cursors.put(f"execution#{subject}", name)
        try:
            self._clients.stepfunctions.start_execution(stateMachineArn=arn, name=name, input=json.dumps({called: subject}))
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

    def running(self, subject: str) -> bool | None:
        status = self._status(subject)
        if status in (None, "RUNNING"):
            return None if status is None else True
        again = self._cursors.get(f"execution#{subject}")
        return self._status(again) == "RUNNING" if again else False

    def _status(self, name: str) -> str | None:
        arn = self._machine(name)[0].replace(":stateMachine:", ":execution:") + f":{name}"
        try:
            return str(self._clients.stepfunctions.describe_execution(executionArn=arn)["status"])
        except Exception as error:
            if error_code(error) == "ExecutionDoesNotExist":
                return None
            raise
