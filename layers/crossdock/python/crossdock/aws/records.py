"""How are versioned records (orders, exceptions) read, changed and listed?"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Generic, Protocol, Self, TypeVar

from crossdock.aws.table import TRIES, Item, StateTable, number, packed, text, unpacked
from crossdock.domain.errors import ConcurrentChange, Rejected


class Versioned(Protocol):
    @property
    def version(self) -> int: ...

    def model_copy(self, *, update: dict[str, Any] | None = None) -> Self: ...

    def model_dump_json(self, *, exclude_none: bool = False) -> str: ...


Record = TypeVar("Record", bound=Versioned)


class VersionedRecords(Generic[Record]):
    """Documents of one kind under ``<kind>#<id>``. ``placed`` says under which listing and sort value a record is found."""

    def __init__(self, table: StateTable, kind: str, parse: Callable[[str], Record], placed: Callable[[Record], tuple[str, datetime]], stamp: Callable[[datetime], str]) -> None:
        self.table, self.kind, self._parse, self._placed, self._stamp = table, kind, parse, placed, stamp

    def _item(self, name: str, record: Record) -> Item:
        listing, sort = self._placed(record)
        return {
            "pk": text(f"{self.kind}#{name}"),
            "sk": text("RECORD"),
            "version": number(record.version),
            "document": packed(record.model_dump_json(exclude_none=True)),
            "listing": text(listing),
            "sort": text(self._stamp(sort)),
        }

    def read(self, item: Item) -> Record:
        return self._parse(unpacked(item["document"]))

    def get(self, name: str) -> Record | None:
        item = self.table.get(f"{self.kind}#{name}", "RECORD")
        return self.read(item) if item else None

    def add(self, name: str, record: Record) -> Record | None:
        """None when stored; the standing record when there is one."""
        standing = self.table.put_new(self._item(name, record))
        return self.read(standing) if standing else None

    def change(self, name: str, decide: Callable[[Record], Record | None]) -> Record:
        for attempt in range(TRIES):
            current = self.get(name)
            if current is None:
                raise Rejected("NOT_FOUND", f"there is no {self.kind.lower()} {name}")
            decided = decide(current)
            if decided is None:
                return current
            following = decided.model_copy(update={"version": current.version + 1})
            if self.table.put_version(self._item(name, following), current.version):
                return following
            time.sleep(random.uniform(0, min(0.5, 0.01 * 2**attempt)))  # noqa: S311 - jitter
        raise ConcurrentChange("CONCURRENT_CHANGE", f"{self.kind.lower()} {name} is being changed by many at once", after_seconds=1)
