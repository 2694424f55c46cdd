"""POST /webhooks/{connection}: verify, store, queue, answer."""

from __future__ import annotations

from typing import Any

from crossdock import gateway, intake
from crossdock.flows.receive import receive
from crossdock.observability import log_failure, logger


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    correlation_id = gateway.correlation_of(event)
    connection = str((event.get("pathParameters") or {}).get("connection") or "")
    body = gateway.body_of(event)
    if body is None:
        return gateway.problem(400, "Unreadable", "The body's encoding cannot be read.", correlation_id=correlation_id)
    try:
        told = receive(connection, headers=gateway.headers_of(event), body=body, intake=intake.function_intake())
    except Exception as error:
        log_failure("webhook could not be stored", error, connection=connection[:40])
        return gateway.problem(503, "Try again", "The delivery could not be stored. Send it again.", correlation_id=correlation_id, headers={"Retry-After": "5"})
    logger.info("webhook answered", connection=connection[:40], status=told.status, delivery_id=told.delivery_id, duplicate=told.duplicate)
    if told.status >= 400:
        fields = [{"path": note.path, "problem": note.problem} for note in told.fields]
        return gateway.problem(told.status, told.title, told.detail, correlation_id=correlation_id, fields=fields)
    return gateway.answer(told.status, {"delivery_id": told.delivery_id, "duplicate": told.duplicate}, correlation_id=correlation_id)
