"""May a call to this connection be made now? One budget shared by all workers of the tenant, claimed in blocks so that a call costs no write."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta

from crossdock.domain.clock import Clock
from crossdock.domain.errors import RetryLater
from crossdock.domain.pace import MICROSECONDS, Pace
from crossdock.domain.ports import Budgets

BLOCK = 5
"""Calls claimed with one write: about what one command needs."""
PATIENCE_SECONDS = 5
"""Who has begun a command waits so long for its next call; who has not begun gives way."""
LONGEST_WAIT_SECONDS = 900
"""The longest delay the queue knows."""
CONTENDED = 5
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class Allowance:
    """One connection's share of calls, as this process holds it."""

    def __init__(self, connection: str, pace: Pace, *, budgets: Budgets, clock: Clock, sleep: Callable[[float], None]) -> None:
        self._connection = connection
        self._pace = pace
        self._budgets = budgets
        self._clock = clock
        self._sleep = sleep
        self._mark: int | None = None
        """The mark as last seen. It only ever moves on, so what it forbids is forbidden."""
        self._calls = 0
        self._until = 0

    def wait_seconds(self) -> int:
        """Before a command: 0 when its first calls are paid for, else after how many seconds its message should come again.

        Messages that give way line up: each later one comes a block's time after the one before it, so that a backlog drains at the pace
        of the limit and a message seldom gives way twice.
        """
        now = self._now()
        if self._holds(now):
            return 0
        waits = self._claim(now, at_least=min(BLOCK, self._pace.burst))
        return 0 if waits == 0 else self._line_up(now, waits)

    def spend(self) -> None:
        """Pays for one call. Raises ``RetryLater`` when that is not possible in a moment."""
        ends_at = self._now() + PATIENCE_SECONDS * MICROSECONDS
        while not self._holds(now := self._now()):
            waits = self._claim(now, at_least=1)
            if waits and now + waits > ends_at:
                seconds = -(-waits // MICROSECONDS)
                raise RetryLater("RATE_BUDGET_SPENT", f"the budget of calls to {self._connection} is spent", after_seconds=seconds)
            if waits:
                self._sleep(waits / MICROSECONDS)
        self._calls -= 1

    def pause(self, seconds: int) -> None:
        """The other side wants no calls for so long: nobody makes any."""
        now = self._now()
        to = self._pace.full(now + seconds * MICROSECONDS)
        self._calls = 0
        for _ in range(CONTENDED):
            if self._mark is not None and self._mark >= to:
                return
            standing = self._advance(self._connection, self._mark, to, now)
            self._mark = to if standing is None else standing

    def _now(self) -> int:
        return (self._clock.now() - _EPOCH) // timedelta(microseconds=1)

    def _holds(self, now: int) -> bool:
        return self._calls > 0 and now < self._until

    def _claim(self, now: int, *, at_least: int) -> int:
        """0 when calls were granted, else the microseconds after which it is worth asking again."""
        for _ in range(CONTENDED):
            found = self._pace.grant(self._mark, now, at_least=at_least, at_most=BLOCK)
            if found.calls == 0:
                return found.wait
            standing = self._advance(self._connection, self._mark, found.mark, now)
            if standing is None:
                self._mark, self._calls, self._until = found.mark, found.calls, now + self._pace.hold
                return 0
            self._mark = standing
        return self._pace.interval

    def _advance(self, name: str, seen: int | None, to: int, now: int) -> int | None:
        return self._budgets.advance(name, seen=seen if seen is not None and seen > now else None, to=to, now=now)

    def _line_up(self, now: int, waits: int) -> int:
        line: int | None = None
        turn = now + waits
        for _ in range(CONTENDED):
            turn = max(line or 0, now + waits) + BLOCK * self._pace.interval
            if turn > now + LONGEST_WAIT_SECONDS * MICROSECONDS:
                return random.randint(LONGEST_WAIT_SECONDS // 2, LONGEST_WAIT_SECONDS)  # noqa: S311 - spread, not a secret
            line = self._advance(f"{self._connection}#line", line, turn, now)
            if line is None:
                break
        return -(-(turn - now) // MICROSECONDS)
