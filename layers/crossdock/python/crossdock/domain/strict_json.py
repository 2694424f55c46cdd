"""How is a foreign JSON text read so that nothing in it is lost, rounded or smuggled?"""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from typing import NoReturn

from crossdock.domain.errors import FieldProblem, Rejected

MAX_DEPTH = 64
MAX_NUMBER_CHARACTERS = 60


def _refuse(problem: str, remedy: str) -> NoReturn:
    raise Rejected("INVALID_BODY", problem, remedy=remedy, fields=[FieldProblem("(body)", problem)])


def _constant(name: str) -> NoReturn:
    _refuse(f"{name} is not JSON", "send a finite number")


def _decimal(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:  # an exponent of twenty digits
        value = None
    # An exponent says in ten characters what takes all memory to write out: 1e999999999.
    if value is None or len(text) > MAX_NUMBER_CHARACTERS or abs(value.adjusted()) > MAX_NUMBER_CHARACTERS:
        _refuse("a number is longer than 60 characters", "send a number of reasonable size")
    return value


def _integer(text: str) -> int:
    if len(text) > MAX_NUMBER_CHARACTERS:
        _refuse("a number is longer than 60 characters", "send a number of reasonable size")
    return int(text)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        _refuse(f"the key {twice[0]!r} occurs twice in one object", "send each key once: readers disagree on which one counts")
    return made


_TEXT_OR_BRACKET = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
"""Possessive, and a text that does not end is taken to the end: no body makes it go over the same characters twice."""


def _depth_within(text: str, limit: int) -> bool:
    depth = 0
    for found in _TEXT_OR_BRACKET.finditer(text):
        char = found[0]
        if char in ("[", "{"):
            depth += 1
            if depth > limit:
                return False
        elif char in ("]", "}"):
            depth -= 1
    return True


def loads(body: bytes) -> object:
    """The JSON value (RFC 8259) with decimals as ``Decimal``. Raises ``Rejected`` INVALID_BODY for bad UTF-8, bad JSON, NaN or Infinity,
    a key that occurs twice, a number of over 60 characters (its exponent written out), lone surrogates, or nesting deeper than 64."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Rejected("INVALID_BODY", f"not UTF-8 at byte {error.start}", remedy="send UTF-8", fields=[FieldProblem("(body)", "not UTF-8")]) from error
    # The parser recurses per level; the cheap count of brackets first spares the exact scan for ordinary bodies.
    if text.count("[") + text.count("{") > MAX_DEPTH and not _depth_within(text, MAX_DEPTH):
        _refuse(f"nested deeper than {MAX_DEPTH} levels", "flatten the document")
    try:
        value: object = json.loads(text, parse_float=_decimal, parse_int=_integer, parse_constant=_constant, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise Rejected("INVALID_BODY", f"not JSON: {error.msg} at {place}", remedy="send valid JSON", fields=[FieldProblem("(body)", f"{error.msg} at {place}")]) from error
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError as error:
            raise Rejected("INVALID_BODY", "a lone surrogate is no character", remedy="send complete characters", fields=[FieldProblem("(body)", "lone surrogate")]) from error
    return value
