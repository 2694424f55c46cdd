"""What do all canonical objects have in common: closed, immutable, and exact in JSON?"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, PlainSerializer, StringConstraints


class Model(BaseModel):
    """A canonical object: unknown fields are refused, instances never change (use ``model_copy``)."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=False, defer_build=True)

    def as_json(self) -> dict[str, Any]:
        """The object as JSON-safe values: decimals as plain strings, times as RFC 3339 UTC, absent optionals left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def _exact(value: object) -> object:
    if isinstance(value, float):
        raise ValueError("binary floating point is not exact: send a decimal string or an integer")
    if isinstance(value, bool):
        raise ValueError("a truth value is no number")
    return value


def _held_exactly(value: Decimal) -> Decimal:
    # 38 digits is what the store holds exactly (DynamoDB number); more would be rounded silently.
    if len(value.as_tuple().digits) > 28 or abs(value.adjusted()) > 18:
        raise ValueError("has more digits than can be held exactly")
    return value


def plain(value: Decimal) -> str:
    """The decimal without exponent and without trailing zeros: one spelling per value, so hashes and diffs agree."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


ExactDecimal = Annotated[Decimal, BeforeValidator(_exact), AfterValidator(_held_exactly), PlainSerializer(plain, return_type=str, when_used="json")]


def _to_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is before the year 1 or after 9999 in UTC") from error


def rfc3339(value: datetime) -> str:
    """The instant in UTC with microseconds only when there are any, ending in ``Z`` (RFC 3339)."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


Instant = Annotated[AwareDatetime, AfterValidator(_to_utc), PlainSerializer(rfc3339, return_type=str, when_used="json")]

Text = Annotated[str, StringConstraints(max_length=1000)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]
