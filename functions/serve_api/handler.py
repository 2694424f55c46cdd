"""/v1: orders, inventory, shipments, exceptions, health and the contract itself."""

from __future__ import annotations

from typing import Any

from crossdock import edge, gateway, v1
from crossdock.observability import log_failure, logger


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    try:
        answer = v1.serve(event, edge.services())
    except Exception as error:
        log_failure("call failed unexpectedly", error, method=event.get("httpMethod"))
        return gateway.problem(500, "Unexpected", "The call failed on this side. Try again; if it stays, name the correlation id.", correlation_id=gateway.correlation_of(event))
    logger.info("call answered", method=event.get("httpMethod"), status=answer["statusCode"])
    return answer
