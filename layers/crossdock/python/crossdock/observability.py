"""What is written into the logs, and what never is?"""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import Any

from aws_lambda_powertools import Logger

from crossdock.aws.failure import error_code
from crossdock.domain.errors import CrossdockError

_KNOWN = ("function_name", "function_memory_size", "function_arn")
"""What every line of a function would say alike: its log group and the service's name tell it, and a log is paid by the byte."""


def _line(entry: dict[str, Any]) -> str:
    """One line of plain ASCII: no text of somebody else's begins a line of its own, or moves a terminal's cursor."""
    for name in _KNOWN:
        entry.pop(name, None)
    return json.dumps(entry, separators=(",", ":"), default=str)


logger = Logger(json_serializer=_line)


def log_failure(message: str, error: BaseException, **fields: Any) -> None:
    """What kind of error and where in the code, through all its causes. Never its text: that may quote a customer's name or a secret."""
    chain: list[dict[str, object]] = []
    current: BaseException | None = error
    while current is not None and len(chain) < 5:
        frames = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(current.__traceback__)[-6:]]
        named = {"code": current.code} if isinstance(current, CrossdockError) else {}
        if error_code(current):
            named = {"code": error_code(current), "operation": str(getattr(current, "operation_name", ""))}
        chain.append({"error": type(current).__name__, **named, "at": frames})
        current = current.__cause__ or current.__context__
    logger.error(message, failure=chain, **fields)
