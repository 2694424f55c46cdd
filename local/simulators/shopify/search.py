"""Which records does a `query:` argument choose? The part of Shopify's search syntax that the simulator understands."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

from graphql import GraphQLError

from local.simulators.shopify.shop import Document

# field:value or field:'quoted value', with an optional comparator before the value
_TERM = re.compile(r"""\s*(?P<field>\w+):(?P<op>>=|<=|>|<)?(?:'(?P<single>(?:[^'\\]|\\.)*)'|"(?P<double>(?:[^"\\]|\\.)*)"|(?P<bare>\S+))""")

Fields = dict[str, Callable[[Document], str]]


def matcher(query: str | None, fields: Fields, where: str) -> Callable[[Document], bool]:
    """A test for one record. Raises GraphQLError for a term the simulator does not understand, never ignoring it."""
    if query is None or not query.strip():
        return lambda _document: True
    tests: list[Callable[[Document], bool]] = []
    position = 0
    text = query.strip()
    while position < len(text):
        joined = re.compile(r"\s*AND\s+").match(text, position) if tests else None
        position = joined.end() if joined else position
        found = _TERM.match(text, position)
        if found is None or found["field"] not in fields:
            known = ", ".join(sorted(fields))
            rest = text[position:]
            raise GraphQLError(
                f"the simulator does not understand {rest!r} in the query of {where}; it knows {known} joined by AND",
                extensions={"code": "SIMULATOR_UNSUPPORTED"},
            )
        quoted = found["single"] if found["single"] is not None else found["double"]
        value = found["bare"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        tests.append(_test(fields[found["field"]], found["op"] or "=", value, found["field"]))
        position = found.end()
    return lambda document: all(test(document) for test in tests)


def _test(read: Callable[[Document], str], op: str, value: str, field: str) -> Callable[[Document], bool]:
    if field.endswith("_at"):
        moment = _moment(value, field)
        return lambda document: _compare(_moment(read(document), field), op, moment)
    if field == "id":
        number = int(value.rsplit("/", 1)[-1])
        return lambda document: _compare(int(read(document)), op, number)
    if field == "tag":
        return lambda document: value.lower() in [tag.strip().lower() for tag in read(document).split(",")]
    if field == "status":
        return lambda document: value == "any" or read(document) == value.lower()
    wanted = value.removeprefix("#").lower()
    return lambda document: read(document).removeprefix("#").lower() == wanted


def _compare(left: datetime | int, op: str, right: datetime | int) -> bool:
    assert type(left) is type(right)
    if op == "=":
        return left == right
    if op == ">":
        return left > right  # type: ignore[operator]
    if op == ">=":
        return left >= right  # type: ignore[operator]
    return left < right if op == "<" else left <= right  # type: ignore[operator]


def _moment(text: str, field: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise GraphQLError(f"{field}: {text!r} is no date and time") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
