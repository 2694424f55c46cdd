"""Which step of the vendor's staff is due, and when is the next one?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from local.simulators import exact_json
from local.simulators.state import Store


@dataclass(frozen=True)
class Timer:
    """An action that was due at a moment. `staff` timers stand still while the autopilot is off."""

    id: int
    action: str
    payload: dict[str, Any]


class Timers:
    """Persisted alarms: what was scheduled before a kill still rings after it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def schedule(self, due: datetime, action: str, payload: dict[str, Any], *, staff: bool) -> None:
        self._store.run(
            "insert into timers (due, action, payload, staff) values (?, ?, ?, ?)",
            due.timestamp(),
            action,
            exact_json.dumps(payload),
            int(staff),
        )

    def due(self, now: datetime, *, staff_works: bool) -> list[Timer]:
        rows = self._store.rows(
            "select id, action, payload from timers where due <= ? and staff <= ? order by due, id",
            now.timestamp(),
            int(staff_works),
        )
        return [Timer(id=key, action=action, payload=exact_json.loads(payload)) for key, action, payload in rows]

    def take(self, timer: Timer) -> bool:
        """Claim a timer; False when it has rung already."""
        return self._store.run("delete from timers where id = ?", timer.id) == 1

    def seconds_to_next(self, now: datetime, *, staff_works: bool) -> float | None:
        rows = self._store.rows("select min(due) from timers where staff <= ?", int(staff_works))
        return None if rows[0][0] is None else max(0.0, float(rows[0][0]) - now.timestamp())

    def pending(self) -> list[dict[str, Any]]:
        rows = self._store.rows("select due, action, payload from timers order by due, id")
        return [{"due": _iso(due), "action": action, "payload": exact_json.loads(payload)} for due, action, payload in rows]


def _iso(stamp: float) -> str:
    return (datetime.fromisoformat("1970-01-01T00:00:00+00:00") + timedelta(seconds=stamp)).isoformat()
