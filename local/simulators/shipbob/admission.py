"""Is this request one that ShipBob would look at: authorised, for a known channel, with parameters it documents?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from local.simulators.server import Answer, Call, Refusal
from local.simulators.shipbob import contract

Convert = Callable[[str], Any]
_Body = TypeVar("_Body", bound=BaseModel)


def refuse(status: int, field: str, problem: str) -> Refusal:
    """ShipBob's error shape: field to messages."""
    return Refusal(Answer(status, {field: [problem]}))


def authorise(call: Call, access_token: str) -> None:
    """Raises Refusal 401, which has no body."""
    if call.headers.get("authorization") != f"Bearer {access_token}":
        raise Refusal(Answer(401, headers={"www-authenticate": "Bearer"}))


def channel(call: Call, channel_id: int, *, required: bool) -> None:
    """Check the `shipbob_channel_id` header. Raises Refusal 400 (missing, no number) or 403 (another channel)."""
    value = call.headers.get("shipbob_channel_id")
    if value is None:
        if required:
            raise refuse(400, "shipbob_channel_id", "The shipbob_channel_id header is required.")
        return
    if not value.isascii() or not value.isdigit():
        raise refuse(400, "shipbob_channel_id", f"The value '{value}' is not valid.")
    if int(value) != channel_id:
        raise Refusal(Answer(403))


def body(call: Call, kind: type[_Body]) -> _Body:
    """The request body in its contract's shape. Raises Refusal 400 with field paths, or 415."""
    if not call.headers.get("content-type", "").startswith("application/json"):
        raise Refusal(Answer(415))
    try:
        raw = call.json()
    except ValueError as error:
        raise refuse(400, "body", f"The body is not valid JSON: {error}") from error
    try:
        return contract.parse(kind, raw)
    except ValidationError as error:
        raise Refusal(Answer(400, contract.problems(error))) from error


def number(low: int, high: int) -> Convert:
    def convert(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError(f"must be from {low} to {high}")
        return value

    return convert


def truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


def moment(text: str) -> datetime:
    # A plus sign that was not percent-encoded arrives as a blank.
    value = datetime.fromisoformat(text.replace(" ", "+"))
    if value.tzinfo is None:
        raise ValueError("must carry a time zone")
    return value


def texts(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def numbers(text: str) -> list[int]:
    return [int(part) for part in texts(text)]


def choice(*allowed: str) -> Convert:
    def convert(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return text

    return convert


def query(call: Call, known: Mapping[str, Convert]) -> dict[str, Any]:
    """The query parameters, converted. Raises Refusal 400 for an unknown or ill-formed one."""
    found: dict[str, Any] = {}
    for name, text in call.query:
        convert = known.get(name)
        if convert is None:
            raise refuse(400, name, "The query parameter is not known.")
        try:
            found[name] = convert(text)
        except ValueError as error:
            raise refuse(400, name, f"The value '{text}' is not valid: {error}") from error
    return found


def path_number(call: Call, name: str) -> int:
    """An id in the path. Raises Refusal 400 when it is no 32-bit number."""
    text = call.path_values[name]
    if not text.isascii() or not text.isdigit() or int(text) > contract.INT32_MAX:
        raise refuse(400, name, f"The value '{text}' is not valid.")
    return int(text)
