"""How are order records kept, and found by the names other systems give them?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import datetime

from crossdock.aws.records import VersionedRecords
from crossdock.aws.table import StateTable, stamp, text
from crossdock.domain.order_record import TERMINAL, OrderRecord, Parked

OPEN, CLOSED, PARKED = "ORDER#open", "ORDER#closed", "PARKED"


def _placed(record: OrderRecord) -> tuple[str, datetime]:
    if record.status in TERMINAL:
        return CLOSED, record.completed_at or record.updated_at
    # To the minute below: the watch comes once a minute and looks at the record itself, and a sort value that stays spares two writes of the index.
    return OPEN, (record.due_at or record.updated_at).replace(second=0, microsecond=0)


def _parked_key(item: Parked) -> str:
    return hashlib.sha256(item.event_json.encode()).hexdigest()[:32]


class DynamoOrders:
    """Implements ``ports.Orders``."""

    def __init__(self, table: StateTable) -> None:
        self._table = table
        self._records: VersionedRecords[OrderRecord] = VersionedRecords(table, "ORDER", OrderRecord.model_validate_json, _placed, stamp)

    def get(self, order_id: str) -> OrderRecord | None:
        return self._records.get(order_id)

    def add(self, record: OrderRecord) -> bool:
        return self._records.add(record.order_id, record) is None

    def change(self, order_id: str, decide: Callable[[OrderRecord], OrderRecord | None]) -> OrderRecord:
        return self._records.change(order_id, decide)

    def refer(self, connection: str, external_id: str, order_id: str, part_id: str = "") -> None:
        self._table.put_new({"pk": text(f"REF#{connection}#{external_id}"), "sk": text("REF"), "order_id": text(order_id), "part_id": text(part_id)})

    def referred(self, connection: str, external_id: str) -> tuple[str, str] | None:
        item = self._table.get(f"REF#{connection}#{external_id}", "REF")
        return (item["order_id"]["S"], item["part_id"]["S"]) if item else None

    def park(self, name: str, *, source: str, item: Parked) -> None:
        # Keyed by content: parking the same event again (a redelivery) changes nothing.
        self._table.put_new(
            {
                "pk": text(f"PARK#{name}"),
                "sk": text(_parked_key(item)),
                "document": text(item.model_dump_json()),
                "source": text(source),
                "listing": text(PARKED),
                "sort": text(stamp(item.until)),
            }
        )

    def parked(self, name: str) -> list[Parked]:
        return [Parked.model_validate_json(item["document"]["S"]) for item in self._table.partition(f"PARK#{name}")]

    def forget_parked(self, name: str, item: Parked) -> None:
        self._table.delete(f"PARK#{name}", _parked_key(item))

    def overdue_parked(self, now: datetime, limit: int) -> list[tuple[str, Parked]]:
        return [(item["pk"]["S"].removeprefix("PARK#"), Parked.model_validate_json(item["document"]["S"])) for item in self._table.listed(PARKED, up_to=stamp(now), limit=limit)]

    def due(self, now: datetime, limit: int) -> list[str]:
        return [item["pk"]["S"].removeprefix("ORDER#") for item in self._table.listed(OPEN, up_to=stamp(now), limit=limit)]

    def every(self) -> Iterator[OrderRecord]:
        seen: set[str] = set()  # an order that closes while this walks is met in both listings
        for listing in (OPEN, CLOSED):
            for item in self._table.listed(listing):
                if item["pk"]["S"] not in seen:
                    seen.add(item["pk"]["S"])
                    yield self._records.read(item)

    def listed(self, *, closed: bool, limit: int) -> list[OrderRecord]:
        # Open orders lie by their next deadline, which says nothing about their age: all of them are looked at, they are few.
        # Closed ones lie by when they closed.
        items = self._table.listed(CLOSED, limit=limit, newest_first=True) if closed else self._table.listed(OPEN)
        found = [record for record in map(self._records.read, items) if (record.status in TERMINAL) is closed]
        return sorted(found, key=lambda record: record.accepted_at, reverse=True)[:limit]
