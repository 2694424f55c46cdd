"""Is a foreign JSON text read without losing, rounding or smuggling anything?"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdock.domain.errors import Rejected
from crossdock.domain.strict_json import MAX_DEPTH, loads

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_what_is_written_is_read(value: Any) -> None:
    assert loads(json.dumps(value, ensure_ascii=False).encode()) == value
    assert loads(json.dumps(value).encode()) == value
    assert loads(b"\xef\xbb\xbf" + json.dumps(value).encode()) == value


@given(st.decimals(min_value=-(10**12), max_value=10**12, places=9))
def test_decimals_keep_every_digit(value: Decimal) -> None:
    found = loads(f"{value:f}".encode())
    assert isinstance(found, Decimal)
    assert found == value
    assert f"{found:f}" == f"{value:f}"


def _refused(body: bytes) -> Rejected | None:
    try:
        loads(body)
    except Rejected as error:
        return error
    return None


@given(st.binary(max_size=100))
@settings(max_examples=300)
def test_whatever_comes_it_is_read_or_refused(body: bytes) -> None:
    refused = _refused(body)
    assert refused is None or (refused.code == "INVALID_BODY" and refused.fields)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"\xff", "not UTF-8 at byte 0"),
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 1,}', "not JSON"),
        (b"NaN", "NaN is not JSON"),
        (b"[Infinity]", "Infinity is not JSON"),
        (b"-Infinity", "-Infinity is not JSON"),
        (b'{"a": 1, "a": 2}', "'a' occurs twice"),
        (b'[{"b": {"c": 1, "d": 2, "c": 1}}]', "'c' occurs twice"),
        (b"1" * 61, "longer than 60 characters"),
        (b"0." + b"1" * 60, "longer than 60 characters"),
        (b'"\\ud800"', "lone surrogate"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "nested deeper"),
        (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), "nested deeper"),
        (b"[" * 100_000, "nested deeper"),
    ],
)
def test_what_readers_disagree_on_is_refused(body: bytes, problem: str) -> None:
    with pytest.raises(Rejected, match="INVALID_BODY") as refused:
        loads(body)
    assert problem in refused.value.detail


def test_depth_is_counted_outside_of_texts_only() -> None:
    many = json.dumps([f'"{"[" * 200}\\"{{' for _ in range(70)] + [[] for _ in range(70)]).encode()
    assert len(loads(many)) == 140  # type: ignore[arg-type]
    assert loads(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    assert loads(b'"\\ud83d\\ude00"') == "\U0001f600"
