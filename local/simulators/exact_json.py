"""How is JSON read and written without a float ever touching money or a quantity?"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any


def loads(text: str | bytes) -> Any:
    """Parse JSON; every fractional number becomes a Decimal. Raises ValueError for text that is no JSON."""
    return json.loads(text, parse_float=Decimal, parse_constant=_no_constant)


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Write JSON; a Decimal is written as the number it is, digit for digit."""
    separators = (",", ":") if indent is None else None
    mark = uuid.uuid4().hex  # nobody's text can hold it: a text that looked like a marked number would lose its quotes

    def marked(inner: object) -> object:
        if isinstance(inner, Decimal) and inner.is_finite():
            return f"{mark}{inner:f}"
        if isinstance(inner, Mapping):
            return dict(inner)
        raise TypeError(f"{type(inner).__name__} {inner!r} cannot be written as JSON")

    text = json.dumps(value, default=marked, separators=separators, indent=indent)
    return re.sub(f'"{mark}([^"]*)"', r"\1", text) if mark in text else text


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON number")
