"""How is JSON read and written without a float ever touching money or a quantity?"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_OPEN, _CLOSE = "\ue0f1", "\ue0f2"  # private-use marks: they cannot be part of a decimal's own text
_MARKED = re.compile(r'"\\ue0f1([^"\\]*)\\ue0f2"')


def loads(text: str | bytes) -> Any:
    """Parse JSON; every fractional number becomes a Decimal. Raises ValueError for text that is no JSON."""
    return json.loads(text, parse_float=Decimal, parse_constant=_no_constant)


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Write JSON; a Decimal is written as the number it is, digit for digit."""
    separators = (",", ":") if indent is None else None
    text = json.dumps(value, default=_mark, separators=separators, indent=indent)
    return _MARKED.sub(r"\1", text)


def _mark(value: object) -> object:
    if isinstance(value, Decimal) and value.is_finite():
        return f"{_OPEN}{value:f}{_CLOSE}"
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} {value!r} cannot be written as JSON")


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON number")
