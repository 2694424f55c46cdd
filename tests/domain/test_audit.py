"""Does every later change to the record show?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.domain.audit import GENESIS, AuditEntry, broken_links
from crossdock.domain.clock import SystemClock
from tests.fakes import MemoryAudit

START = datetime(2026, 10, 5, 8, 0, tzinfo=UTC)
facts = st.lists(st.tuples(st.text(min_size=1, max_size=20), st.text(max_size=40), st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=3)), min_size=2, max_size=8)


def chain(told: list[tuple[str, str, dict[str, str]]]) -> list[AuditEntry]:
    audit = MemoryAudit()
    for number, (action, summary, details) in enumerate(told):
        audit.append("order-1", actor="jo", action=action, summary=summary, details=details, at=START + timedelta(seconds=number))
    return audit.entries("order-1")


@given(facts)
def test_a_chain_nobody_touched_is_whole(told: list[tuple[str, str, dict[str, str]]]) -> None:
    entries = chain(told)
    assert broken_links(entries) == []
    assert broken_links([AuditEntry.model_validate_json(entry.model_dump_json()) for entry in entries]) == []
    assert entries[0].previous == GENESIS


@given(facts, st.data())
def test_any_change_to_any_entry_shows(told: list[tuple[str, str, dict[str, str]]], data: Any) -> None:
    entries = chain(told)
    position = data.draw(st.integers(0, len(entries) - 1))
    field, value = data.draw(
        st.sampled_from(
            [
                ("summary", "something else entirely, not drawn above at all"),
                ("actor", "somebody else"),
                ("action", "SomethingElse entirely, longer than twenty characters"),
                ("at", START - timedelta(days=1)),
                ("details", {"a key that is long": "x"}),
                ("subject", "order-2"),
                ("sequence", 99),
                ("previous", "f" * 64),
                ("hash", "f" * 64),
            ]
        )
    )
    entries[position] = entries[position].model_copy(update={field: value})
    assert broken_links(entries)


@given(facts, st.data())
def test_an_entry_taken_out_or_swapped_shows(told: list[tuple[str, str, dict[str, str]]], data: Any) -> None:
    entries = chain(told)
    position = data.draw(st.integers(0, len(entries) - 2))
    assert broken_links(entries[:position] + entries[position + 1 :])
    swapped = [*entries]
    swapped[position], swapped[position + 1] = swapped[position + 1], swapped[position]
    assert broken_links(swapped)


def test_a_forged_entry_with_its_own_hash_shows_at_the_next_one() -> None:
    entries = chain([("a", "1", {}), ("b", "2", {}), ("c", "3", {})])
    forged = AuditEntry.chained(subject="order-1", sequence=2, at=START, actor="mallory", action="b", summary="never happened", details={}, previous=entries[1].previous)
    assert broken_links([entries[0], forged, entries[2]]) == ["entry 3: does not follow the entry before it"]


@pytest.mark.parametrize("missing", [0, 1])
def test_an_empty_chain_and_one_entry_are_whole(missing: int) -> None:
    assert broken_links(chain([("a", "", {})])[missing:]) == []


def test_the_systems_clock_is_in_utc() -> None:
    assert SystemClock().now().tzinfo is UTC
