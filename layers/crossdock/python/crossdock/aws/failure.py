"""Why did AWS refuse a call? Read alike from botocore's errors and from the intake's own client, importing neither."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def response_of(error: BaseException) -> Mapping[str, Any]:
    """The service's answer as botocore lays it out: ``{"Error": {"Code": ...}, ...}``; empty when no service answered."""
    found = getattr(error, "response", None)
    return found if isinstance(found, Mapping) else {}


def error_code(error: BaseException) -> str:
    return str(response_of(error).get("Error", {}).get("Code", ""))


def repeated(error: BaseException) -> bool:
    """Whether the client had sent the call before: that try may have been carried out, and only its answer lost."""
    return bool(response_of(error).get("ResponseMetadata", {}).get("RetryAttempts"))


def condition_failed(error: BaseException) -> bool:
    return error_code(error) == "ConditionalCheckFailedException"
