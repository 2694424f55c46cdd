"""How does a workflow's step or a schedule become a call of a flow, and a failure its answer?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crossdock import bootstrap
from crossdock.domain.errors import CrossdockError, RetryLater
from crossdock.flows.services import Services
from crossdock.observability import log_failure, logger


def services() -> Services:
    return bootstrap.function_services()


class StepFailed(Exception):
    """A step could not be run. Its text is ours: the runtime writes it into the log and the workflow into its history."""


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
