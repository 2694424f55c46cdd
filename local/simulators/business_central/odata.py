"""Which records, which of their properties and in which order does an OData query ask for?

The dialect is Business Central's: no `or` across different fields, no arithmetic, enum members as quoted names.
https://learn.microsoft.com/dynamics365/business-central/dev-itpro/webservices/use-filter-expressions-in-odata-uris
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from local.simulators.business_central import refusals
from local.simulators.business_central.contract import ENTITIES, Entity, Field

Record = Mapping[str, Any]
Predicate = Callable[[Record], bool]

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<punctuation>[(),])|(?P<word>[^\s(),']+))",
)
_GUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda left, right: bool(left == right),
    "ne": lambda left, right: bool(left != right),
    "gt": lambda left, right: bool(left > right),
    "ge": lambda left, right: bool(left >= right),
    "lt": lambda left, right: bool(left < right),
    "le": lambda left, right: bool(left <= right),
}
_FUNCTIONS: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda text, part: part in text,
    "startswith": str.startswith,
    "endswith": str.endswith,
}
_OPTIONS = {"$filter", "$select", "$expand", "$top", "$skip", "$orderby", "$count", "$skiptoken", "$schemaversion"}
_SINGLE_OPTIONS = {"$select", "$expand", "$schemaversion"}


@dataclass(frozen=True)
class Expand:
    """One expanded navigation with its own selection."""

    navigation: str
    select: tuple[str, ...] | None


@dataclass(frozen=True)
class Query:
    """A checked set of system query options."""

    where: Predicate
    select: tuple[str, ...] | None
    expand: tuple[Expand, ...]
    order_by: tuple[tuple[str, bool], ...]
    """Property and whether descending."""
    top: int | None
    skip: int
    count: bool
    skip_token: str | None


def parse_query(entity: Entity, options: Mapping[str, str], *, single: bool = False) -> Query:
    """Check the options of a GET. Raises Refused for what the vendor does not know or understand."""
    for name in options:
        if name.startswith("$") and name not in (_SINGLE_OPTIONS if single else _OPTIONS):
            raise refusals.Refused(400, "BadRequest_InvalidRequestUrl", f"The query parameter '{name}' is not supported.")
    text = options.get("$filter")
    count = options.get("$count", "false")
    if count not in ("true", "false"):
        raise refusals.bad_request(f"Invalid value '{count}' for $count query option.")
    return Query(
        where=parse_filter(entity, text) if text is not None else _everything,
        select=_select(entity, options.get("$select")),
        expand=_expands(entity, options.get("$expand")),
        order_by=_order_by(entity, options.get("$orderby")),
        top=_whole_number("$top", options.get("$top")),
        skip=_whole_number("$skip", options.get("$skip")) or 0,
        count=count == "true",
        skip_token=options.get("$skiptoken"),
    )


def in_order(records: list[dict[str, Any]], order_by: tuple[tuple[str, bool], ...]) -> list[dict[str, Any]]:
    for name, descending in reversed(order_by):
        records = sorted(records, key=lambda record: record[name], reverse=descending)
    return records


def parse_filter(entity: Entity, text: str) -> Predicate:
    """The condition of a $filter. Raises Refused."""
    return _FilterParser(entity, text).parse()


def _everything(_: Record) -> bool:
    return True


def _whole_number(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise refusals.bad_request(f"Invalid value '{text}' for {option} query option.")
    return int(text)


def _property(entity: Entity, name: str) -> Field:
    found = entity.fields.get(name)
    if found is None:
        raise refusals.bad_request(f"Could not find a property named '{name}' on type 'Microsoft.NAV.{entity.set_name}'.")
    return found


def _select(entity: Entity, text: str | None) -> tuple[str, ...] | None:
    if text is None or text.strip() == "*":
        return None
    return tuple(_property(entity, name.strip()).name for name in text.split(","))


def _order_by(entity: Entity, text: str | None) -> tuple[tuple[str, bool], ...]:
    if text is None:
        return ()
    found = []
    for part in text.split(","):
        words = part.split()
        if len(words) not in (1, 2) or (len(words) == 2 and words[1] not in ("asc", "desc")):
            raise refusals.bad_request(f"Syntax error at '{part.strip()}' in $orderby.")
        found.append((_property(entity, words[0]).name, words[-1] == "desc"))
    return tuple(found)


def _expands(entity: Entity, text: str | None) -> tuple[Expand, ...]:
    if text is None:
        return ()
    if text.strip() == "*":
        return tuple(Expand(navigation, None) for navigation in entity.expands)
    found = []
    for name, options in _expand_parts(text):
        target = entity.expands.get(name)
        if target is None:
            raise refusals.bad_request(f"Could not find a property named '{name}' on type 'Microsoft.NAV.{entity.set_name}'.")
        select: tuple[str, ...] | None = None
        for option in options.split(";") if options else []:
            key, _, value = option.partition("=")
            if key.strip() != "$select":
                raise refusals.bad_request(f"The option '{key.strip()}' is not supported within $expand.")
            select = _select(ENTITIES[target], value)
        found.append(Expand(name, select))
    return tuple(found)


def _expand_parts(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    part = re.compile(r"\s*(\w+)\s*(?:\(([^()]*)\))?\s*(,|$)")
    while at < len(text):
        match = part.match(text, at)
        if match is None:
            raise refusals.bad_request(f"Syntax error at position {at} in $expand '{text}'.")
        yield match[1], match[2] or ""
        at = match.end()


class _FilterParser:
    """Recursive descent over `or`, `and`, `not`, comparisons and three text functions."""

    def __init__(self, entity: Entity, text: str) -> None:
        self._entity = entity
        self._text = text
        self._tokens = list(self._tokenise(text))
        self._at = 0

    def parse(self) -> Predicate:
        predicate, _ = self._either()
        if self._at != len(self._tokens):
            raise self._syntax_error()
        return predicate

    def _tokenise(self, text: str) -> Iterator[str]:
        at, end = 0, len(text.rstrip())
        while at < end:
            match = _TOKEN.match(text, at)
            if match is None:
                raise refusals.bad_request(f"There is an unterminated string literal in '{text}'.")
            yield match[0].strip() if match["string"] is None else match["string"]
            at = match.end()

    def _either(self) -> tuple[Predicate, set[str]]:
        left, names = self._both()
        while self._accept("or"):
            right, more = self._both()
            if names != more or len(names) > 1:
                raise refusals.Refused(
                    501,
                    "BadRequest_MethodNotImplemented",
                    "The 'OR' operator is not supported on distinct fields on an OData filter.",
                )
            left = _or(left, right)
        return left, names

    def _both(self) -> tuple[Predicate, set[str]]:
        left, names = self._term()
        while self._accept("and"):
            right, more = self._term()
            left, names = _and(left, right), names | more
        return left, names

    def _term(self) -> tuple[Predicate, set[str]]:
        if self._accept("not"):
            inner, names = self._term()
            return _not(inner), names
        if self._accept("("):
            inner, names = self._either()
            self._expect(")")
            return inner, names
        word = self._next()
        if word in _FUNCTIONS:
            return self._function(word)
        found = _property(self._entity, word) if not word.startswith("'") else None
        operator = self._next()
        if found is None or operator not in _COMPARISONS:
            raise self._syntax_error()
        return self._comparison(found, operator)

    def _function(self, name: str) -> tuple[Predicate, set[str]]:
        self._expect("(")
        found = _property(self._entity, self._next())
        self._expect(",")
        literal = self._next()
        self._expect(")")
        if found.kind != "text" or not literal.startswith("'"):
            raise refusals.bad_request(f"No function signature for the function with name '{name}' matches.")
        part, holds = _unquoted(literal), _FUNCTIONS[name]
        return (lambda record: holds(record[found.name], part)), {found.name}

    def _comparison(self, found: Field, operator: str) -> tuple[Predicate, set[str]]:
        literal, compare = self._next(), _COMPARISONS[operator]
        if found.kind == "datetime":
            moment = _literal(found, literal)
            return (lambda record: compare(datetime.fromisoformat(record[found.name]), moment)), {found.name}
        value = _literal(found, literal)
        return (lambda record: compare(record[found.name], value)), {found.name}

    def _next(self) -> str:
        if self._at >= len(self._tokens):
            raise self._syntax_error()
        self._at += 1
        return self._tokens[self._at - 1]

    def _accept(self, word: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at] == word:
            self._at += 1
            return True
        return False

    def _expect(self, word: str) -> None:
        if not self._accept(word):
            raise self._syntax_error()

    def _syntax_error(self) -> refusals.Refused:
        return refusals.bad_request(f"Syntax error at term {self._at + 1} in '{self._text}'.")


def _or(left: Predicate, right: Predicate) -> Predicate:
    return lambda record: left(record) or right(record)


def _and(left: Predicate, right: Predicate) -> Predicate:
    return lambda record: left(record) and right(record)


def _not(inner: Predicate) -> Predicate:
    return lambda record: not inner(record)


def _unquoted(literal: str) -> str:
    return literal[1:-1].replace("''", "'")


def _literal(found: Field, literal: str) -> Any:
    value = _parsed(found, literal)
    if value is None:
        raise refusals.bad_request(f"A binary operator with incompatible types was detected: '{found.name}' of kind {found.kind} cannot be compared with {literal}.")
    return value


def _parsed(found: Field, literal: str) -> Any:
    """The literal in the field's own kind; None when it is none of that kind."""
    quoted = literal.startswith("'")
    if found.kind == "text" or found.is_enum:
        return _unquoted(literal) if quoted else None
    if quoted:
        return None
    if found.kind == "bool":
        return {"true": True, "false": False}.get(literal)
    if found.kind == "guid":
        return literal.lower() if _GUID.fullmatch(literal) else None
    try:
        if found.kind == "date":
            return date.fromisoformat(literal).isoformat()
        if found.kind == "datetime":
            moment = datetime.fromisoformat(literal)
            return moment if moment.tzinfo is not None else None
        return Decimal(literal)
    except (ValueError, InvalidOperation):
        return None
