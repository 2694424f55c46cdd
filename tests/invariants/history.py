"""What was done to the system and what did it answer? Append only: whatever is checked afterwards is checked against this."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One thing that happened."""

    number: int
    at: float
    kind: str
    facts: dict[str, Any]


@dataclass
class History:
    """In the order in which things happened, also when many threads tell."""

    _entries: list[Entry] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, **facts: Any) -> None:
        with self._lock:
            self._entries.append(Entry(len(self._entries), time.time(), kind, facts))

    def of(self, *kinds: str) -> list[Entry]:
        with self._lock:
            return [entry for entry in self._entries if entry.kind in kinds]

    def __iter__(self) -> Iterator[Entry]:
        with self._lock:
            return iter(tuple(self._entries))

    def order_ids(self) -> list[str]:
        """Every order that anything was sent about, once each."""
        return list(dict.fromkeys(entry.facts["order_id"] for entry in self if "order_id" in entry.facts))
