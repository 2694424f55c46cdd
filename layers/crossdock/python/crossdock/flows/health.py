"""Does the other side work, as far as this process knows?

What is known stands under the cursor ``circuit#<connection>`` and is read once in ``LOOK_EVERY`` by a process that makes calls; a healthy
connection costs no write. Failures are written as they happen: counting them per process would never see the outage of a quiet connection.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from pydantic import Field

from crossdock.domain.clock import Clock
from crossdock.domain.model import Instant, Model, Text
from crossdock.domain.ports import Cursors

LOOK_EVERY = timedelta(seconds=10)
SHORTEST_PAUSE_SECONDS = 5
LONGEST_PROBE_PAUSE_SECONDS = 60
LONGEST_WAIT_SECONDS = 300
"""How long a waiting command may notice the end of an outage after it: what it costs to look more often is paid for every message that waits."""


class Health(Model):
    """What is known of a connection. ``opened_at``: since when nothing is sent; ``told``: there is an exception about it."""

    failures: int = Field(default=0, ge=0)
    failed_at: Instant | None = None
    opened_at: Instant | None = None
    told: bool = False
    why: Text = ""


WELL = Health()


class Circuit:
    """One connection's health as this process knows it."""

    def __init__(self, connection: str, cursors: Cursors, clock: Clock) -> None:
        self.connection = connection
        self._name = f"circuit#{connection}"
        self._cursors = cursors
        self._clock = clock
        self._health = WELL
        self._looked_at: datetime | None = None

    def wait_seconds(self) -> int:
        """0: make the call (of an open circuit, one caller at a time is let through to try); else after how long to come again."""
        if self.health().opened_at is None:
            return 0
        now = self._clock.now()
        if self._cursors.claim(f"{self._name}#probe", until=now + timedelta(seconds=self.probe_seconds()), now=now):
            return 0
        return random.randint(SHORTEST_PAUSE_SECONDS, self._pause(share=2, longest=LONGEST_WAIT_SECONDS))  # noqa: S311 - spread, not a secret

    def is_open(self) -> bool:
        return self.health().opened_at is not None

    def health(self, *, at_once: bool = False) -> Health:
        now = self._clock.now()
        if at_once or self._looked_at is None or now - self._looked_at >= LOOK_EVERY:
            text = self._cursors.get(self._name)
            self._health = Health.model_validate_json(text) if text else WELL
            self._looked_at = now
        return self._health

    def note(self, health: Health) -> None:
        self._cursors.put(self._name, "" if health == WELL else health.model_dump_json(exclude_none=True))
        self._health, self._looked_at = health, self._clock.now()

    def no_probe_for(self, seconds: int) -> None:
        now = self._clock.now()
        self._cursors.claim(f"{self._name}#probe", until=now + timedelta(seconds=seconds), now=now)

    def probe_seconds(self) -> int:
        """How long after one try the next is made."""
        return self._pause(share=4, longest=LONGEST_PROBE_PAUSE_SECONDS)

    def _pause(self, *, share: int, longest: int) -> int:
        """Longer the longer the outage lasts: a short one is noticed within seconds, a long one costs little."""
        now = self._clock.now()
        opened = self._health.opened_at or now
        return max(SHORTEST_PAUSE_SECONDS, min(longest, int((now - opened).total_seconds()) // share))


class Circuits:
    """The circuits of all connections, kept as long as the process lives."""

    def __init__(self, cursors: Cursors, clock: Clock) -> None:
        self._cursors = cursors
        self._clock = clock
        self._made: dict[str, Circuit] = {}

    def of(self, connection: str) -> Circuit:
        return self._made.setdefault(connection, Circuit(connection, self._cursors, self._clock))
