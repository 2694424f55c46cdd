"""What time is it, as far as this side is concerned?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime: ...


class SystemClock:
    """The machine's clock, in UTC. The only place that reads it."""

    def now(self) -> datetime:
        return datetime.now(UTC)
