"""How does an API Gateway event become a call, and an answer or problem details (RFC 9457) its answer?"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any


def headers_of(event: Mapping[str, Any]) -> dict[str, str]:
    """Headers by lower-case name; the last value where one is repeated."""
    return {_storable(str(name)).lower(): _storable(str(value)) for name, value in (event.get("headers") or {}).items() if value is not None}


def _storable(text: str) -> str:
    """Half a character (a lone surrogate) can be written nowhere: a question mark stands for it."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


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
