"""How are return records kept, and found by the order they belong to?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from crossdock.aws.records import VersionedRecords
from crossdock.aws.table import StateTable, stamp, text
from crossdock.domain.return_record import ReturnRecord

OPEN, CLOSED = "RETURN#open", "RETURN#closed"


def _placed(record: ReturnRecord) -> tuple[str, datetime]:
    if record.over:
        return CLOSED, record.closed_at or record.updated_at
    return OPEN, record.due_at or record.updated_at


class DynamoReturns:
    """Implements ``ports.Returns``."""

    def __init__(self, table: StateTable) -> None:
        self._table = table
        self._records: VersionedRecords[ReturnRecord] = VersionedRecords(table, "RETURN", ReturnRecord.model_validate_json, _placed, stamp)

    def get(self, return_id: str) -> ReturnRecord | None:
        return self._records.get(return_id)

    def add(self, record: ReturnRecord) -> bool:
        # First: a return that its order does not know of could be claimed twice over.
        self._table.put_new({"pk": text(f"RETURNSOF#{record.order_id}"), "sk": text(record.return_id)})
        return self._records.add(record.return_id, record) is None

    def change(self, return_id: str, decide: Callable[[ReturnRecord], ReturnRecord | None]) -> ReturnRecord:
        return self._records.change(return_id, decide)

    def of_order(self, order_id: str) -> list[ReturnRecord]:
        found = (self.get(item["sk"]["S"]) for item in self._table.partition(f"RETURNSOF#{order_id}"))
        return [record for record in found if record is not None]

    def due(self, now: datetime, limit: int) -> list[str]:
        return [item["pk"]["S"].removeprefix("RETURN#") for item in self._table.listed(OPEN, up_to=stamp(now), limit=limit)]

    def every(self) -> Iterator[ReturnRecord]:
        seen: set[str] = set()  # a return that closes while this walks is met in both listings
        for listing in (OPEN, CLOSED):
            for item in self._table.listed(listing):
                if item["pk"]["S"] not in seen:
                    seen.add(item["pk"]["S"])
                    yield self._records.read(item)

    def listed(self, *, closed: bool, limit: int) -> list[ReturnRecord]:
        items = self._table.listed(CLOSED, limit=limit, newest_first=True) if closed else self._table.listed(OPEN)
        found = [record for record in map(self._records.read, items) if record.over is closed]
        return sorted(found, key=lambda record: record.accepted_at, reverse=True)[:limit]
