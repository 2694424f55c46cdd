"""What can stand in a field that should not stand there? Values and changes that a sender, a vendor or an attacker may come up with."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

Path = tuple[str | int, ...]


class Raw(str):
    """A JSON number exactly as it is to be written: the standard encoder would not write it."""

    __slots__ = ()


FORMULAS = ("=1+1", "+1+1", "-1+1", "@SUM(A1:A9)", '=HYPERLINK("http://evil.example","x")', "\t=1+1", "\r=1+1")
TERMINAL = ("\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x9b31m", "[red]x[/red]", "[/]", "a\rb", "a\nb")
TEXTS = (
    "",
    " ",
    "\x00",
    "\u202egnp.exe",
    "e\u0301\u0323",
    "\u200b\u200d\ufeff",
    "\U0001f9f0\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U00020000",
    "ﷺ" * 20,
    "x" * 300,
    "x" * 20_000,
    "NaN",
    "-Infinity",
    "1e999999999",
    "1e99999999999999999999",
    "9" * 10_000,
    "-1",
    "0x10",
    "１２",
    "1,5",
    "../../etc/passwd",
    "' or 1=1 --",
    "gid://shopify/Order/" + "9" * 400,
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "2026-02-30T00:00:00Z",
    *FORMULAS[:4],
    TERMINAL[0],
)
NUMBERS: tuple[Any, ...] = (
    0,
    -1,
    7,
    2**31,
    2**63,
    10**40,
    10**59,
    Decimal("0.1"),
    Decimal("-0.01"),
    Decimal("1.23456789012345678901234567890123456789"),
    Raw("1e400"),
    Raw("-1e400"),
    Raw("1e-400"),
    Raw("1e999999999"),
    Raw("1e99999999999999999999999"),
    Raw("9" * 10_000),
    Raw("NaN"),
    Raw("-Infinity"),
    Raw("0e0"),
    Raw("-0"),
)
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], {"x": {}}, ["a"], [None])
VALUES: tuple[Any, ...] = (*OTHERS, *NUMBERS, *TEXTS)


def dumps(value: Any) -> bytes:
    """JSON with ``Raw`` numbers as they are, decimals digit for digit, and texts unescaped unless they hold what UTF-8 cannot."""
    return _text(value).encode("utf-8")


def _text(value: Any) -> str:
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{_text(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_text(inner) for inner in value) + "]"
    return json.dumps(value)


def dotted(path: Path) -> str:
    return ".".join(str(step) for step in path)


def shape(path: Path) -> Path:
    """The path with every place of a list standing for all."""
    return tuple("*" if isinstance(step, int) else step for step in path)


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every place in the document."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*path, key)
            yield from paths(inner, (*path, key))


def at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def put(value: Any, path: Path, new: Any) -> Any:
    made = copy.deepcopy(value)
    at(made, path[:-1])[path[-1]] = new
    return made


def without(value: Any, path: Path) -> Any:
    made = copy.deepcopy(value)
    del at(made, path[:-1])[path[-1]]
    return made


def doubled(value: Any, path: Path) -> Any:
    """The document with this item of a list standing there twice."""
    made = copy.deepcopy(value)
    place = at(made, path[:-1])
    place.append(copy.deepcopy(place[path[-1]]))
    return made


def changes(value: Any, path: Path, *, values: tuple[Any, ...] = VALUES) -> Iterator[tuple[str, bytes]]:
    """Everything that can be done to one place: what it is called, and the JSON text that comes of it."""
    yield "removed", dumps(without(value, path))
    if isinstance(path[-1], int):
        yield "doubled", dumps(doubled(value, path))
    before, after = dumps(put(value, path, _MARK)).split(dumps(_MARK))  # written once, not once for every value
    for new in values:
        yield f"set to {str(new)[:30]!r} ({type(new).__name__})", before + dumps(new) + after


_MARK = "here the value is to stand"
