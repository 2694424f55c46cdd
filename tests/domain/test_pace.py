"""Is a published limit kept in every window, whoever calls and whenever?"""

from __future__ import annotations

from bisect import bisect_right

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.domain.manifest import RateLimit
from crossdock.domain.pace import MICROSECONDS, Pace


def limit(requests: int, per_seconds: int) -> RateLimit:
    return RateLimit(requests=requests, per_seconds=per_seconds, source="test")


def most_in_a_window(moments: list[int], window: int) -> int:
    """The most moments that any closed window of that length holds."""
    ordered = sorted(moments)
    return max((bisect_right(ordered, start + window) - index for index, start in enumerate(ordered)), default=0)


LIMITS = st.builds(limit, st.integers(1, 700), st.integers(1, 90))


@given(
    kept=LIMITS,
    wishes=st.lists(st.tuples(st.integers(0, 3 * MICROSECONDS), st.integers(1, 5), st.integers(1, 8), st.integers(0, 100)), max_size=300),
)
def test_no_window_holds_more_calls_than_the_limit(kept: RateLimit, wishes: list[tuple[int, int, int, int]]) -> None:
    """However many workers ask, whatever they want at least, and however late within the hold they spend what they got."""
    pace = Pace.of(kept)
    now, mark = 1_000 * MICROSECONDS, None
    calls: list[int] = []
    for pause, at_least, more, late in wishes:
        now += pause
        found = pace.grant(mark, now, at_least=at_least, at_most=at_least + more)
        if found.calls:
            assert at_least <= found.calls <= at_least + more
            mark = found.mark
            calls += [now + pace.hold * late // 100] * found.calls
        else:
            assert found.wait > 0
    assert most_in_a_window(calls, kept.per_seconds * MICROSECONDS) <= kept.requests


@pytest.mark.parametrize("kept", [limit(1, 1), limit(2, 1), limit(5, 1), limit(150, 60), limit(300, 60), limit(600, 60), limit(6000, 300)], ids=str)
def test_who_asks_all_the_time_gets_most_of_the_limit_and_never_more(kept: RateLimit) -> None:
    pace = Pace.of(kept)
    now, mark, ends = 0, None, 10 * kept.per_seconds * MICROSECONDS
    calls: list[int] = []
    while now < ends:
        found = pace.grant(mark, now, at_least=1, at_most=5)
        if found.calls:
            mark = found.mark
            calls += [now] * found.calls
        else:
            now += found.wait
    assert most_in_a_window(calls, kept.per_seconds * MICROSECONDS) <= kept.requests
    # A published rate of one or two calls cannot be kept in every window and be reached too.
    assert kept.requests < 5 or len(calls) >= 0.7 * 10 * kept.requests


@given(kept=LIMITS, now=st.integers(0, 10**15), at_least=st.integers(1, 5))
def test_after_the_wait_the_call_is_granted(kept: RateLimit, now: int, at_least: int) -> None:
    pace = Pace.of(kept)
    at_least = min(at_least, pace.burst)
    mark = pace.full(now)
    refused = pace.grant(mark, now, at_least=at_least, at_most=5)
    assert refused.calls == 0
    assert pace.grant(mark, now + refused.wait, at_least=at_least, at_most=5).calls >= at_least
    assert pace.grant(mark, now + refused.wait - 1, at_least=at_least, at_most=5).calls == 0, "no sooner than necessary, no later"
