"""How does a command show what it found: one JSON document for programs, or tables for people?"""

from __future__ import annotations

import dataclasses
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crossdock.domain.model import Model, plain, rfc3339
from local.simulators import exact_json

_PIPED_WIDTH = 220


class Screen:
    """Results go to standard output, everything said on the way to standard error."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        # Piped into a file or another program, nothing may be cut at some terminal's width.
        self._out = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=_PIPED_WIDTH)
        self._err = Console(stderr=True, highlight=False, soft_wrap=True)

    def show(self, value: object, draw: Callable[[], None]) -> None:
        """The result of the command: `value` as the one JSON document, or what `draw` makes of it."""
        if self.as_json:
            sys.stdout.write(dumps(value) + "\n")
            sys.stdout.flush()
        else:
            draw()

    def say(self, text: str) -> None:
        """Progress and remarks."""
        self._err.print(escape(harmless(text)))

    def write(self, text: str) -> None:
        """A line of the result."""
        self._out.print(escape(harmless(text)), soft_wrap=True)

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str = "nothing") -> None:
        listed = [[harmless(_cell(value)) for value in row] for row in rows]
        if not listed:
            self.write(f"{title}: {empty}" if title else empty)
            return
        table = Table(title=escape(harmless(title)) or None, title_justify="left", title_style="bold", header_style="bold", expand=False)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in listed:
            table.add_row(*(escape(cell) for cell in row))
        self._out.print(table)

    def facts(self, title: str, facts: Mapping[str, object]) -> None:
        """Names and values, one a line."""
        self.table(title, ["", ""], [(name, value) for name, value in facts.items() if value not in (None, "", (), [])])


_TURNS_ROUND = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that make a terminal show text in another order than it stands in."""


def harmless(text: str) -> str:
    """The text with everything visible that a terminal would act on: an order's note may hold escape sequences."""
    return "".join(char if char in "\n\t" or not _acts(char) else f"\\u{ord(char):04x}" for char in text)


def _acts(char: str) -> bool:
    return char in _TURNS_ROUND or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple | list):
        return ", ".join(_cell(item) for item in value)
    return str(value)


@dataclasses.dataclass(frozen=True)
class Verbatim:
    """A JSON document of somebody else's: its numbers stay numbers, digit for digit."""

    value: object


def dumps(value: object) -> str:
    """One JSON document; our decimals as exact strings, times in RFC 3339 UTC."""
    return exact_json.dumps(_plain(value))


def _plain(value: object) -> Any:
    """The value in what JSON knows."""
    if isinstance(value, Verbatim):
        return value.value
    if isinstance(value, Model):
        return value.as_json()
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return value
