"""How fast may calls follow one another so that a published limit is never exceeded, whoever makes them?

One mark per connection, a moment: each call moves it on by ``interval``, and calls are granted while it is no more than ``burst``
intervals ahead of now. Between any two moments so at most ``burst`` plus one call per interval are granted. The two are chosen so that
this sum is the published limit for a window that is longer by ``HOLD``: what is granted may be spent that much later.
"""

from __future__ import annotations

from dataclasses import dataclass

from crossdock.domain.manifest import RateLimit

MICROSECONDS = 1_000_000
BURST_SHARE = 10
"""A tenth of the limit may be spent at once; the rest is spread over the window."""
HOLD_SHARE = 20
"""Granted calls are spent within a twentieth of the window, or forfeited."""


@dataclass(frozen=True)
class Grant:
    """``calls`` granted with the mark at ``mark``; or none, and the microseconds after which it is worth asking again."""

    calls: int
    mark: int = 0
    wait: int = 0


@dataclass(frozen=True)
class Pace:
    """All times in whole microseconds."""

    burst: int
    interval: int
    hold: int

    @classmethod
    def of(cls, limit: RateLimit) -> Pace:
        window = limit.per_seconds * MICROSECONDS
        hold = window // HOLD_SHARE
        burst = max(1, limit.requests // BURST_SHARE)
        spread = limit.requests - burst
        interval = -(-(window + hold) // spread) if spread else window + hold + 1
        return cls(burst=burst, interval=interval, hold=hold)

    def grant(self, mark: int | None, now: int, *, at_least: int, at_most: int) -> Grant:
        base = max(mark or 0, now)
        ends = now + self.burst * self.interval
        calls = min(at_most, (ends - base) // self.interval)
        if calls < at_least:
            return Grant(0, wait=base + at_least * self.interval - ends)
        return Grant(calls, mark=base + calls * self.interval)

    def full(self, until: int) -> int:
        """The mark that grants nothing before ``until``."""
        return until + self.burst * self.interval
