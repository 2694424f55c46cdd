"""How are the records of SKUs and of accounts kept?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Generic, TypeVar

from crossdock.aws.records import Versioned, VersionedRecords
from crossdock.aws.table import StateTable, stamp
from crossdock.domain.catalog import CatalogRecord
from crossdock.domain.customer import AccountRecord

Record = TypeVar("Record", bound=Versioned)

RESTING, WAITING, ACCOUNTS = "CATALOG#resting", "CATALOG#waiting", "ACCOUNT#every"
"""SKUs of which no price will begin or end by itself; SKUs of which one will, by when; accounts."""


class _MadeWhenAsked(Generic[Record]):
    """Records that come into being with the first thing that is said of them."""

    def __init__(self, records: VersionedRecords[Record], empty: Callable[[str, datetime], Record]) -> None:
        self._records, self._empty = records, empty

    def get(self, name: str) -> Record | None:
        return self._records.get(name)

    def change(self, name: str, decide: Callable[[Record], Record | None], *, now: datetime) -> Record:
        if self._records.get(name) is None:
            first = decide(self._empty(name, now))
            if first is None:
                return self._empty(name, now)
            if self._records.add(name, first) is None:
                return first
        return self._records.change(name, decide)

    def _walk(self, *listings: str) -> Iterator[Record]:
        seen: set[str] = set()  # what moves to the other listing while this walks is met in both
        for listing in listings:
            for item in self._records.table.listed(listing):
                if item["pk"]["S"] not in seen:
                    seen.add(item["pk"]["S"])
                    yield self._records.read(item)


class DynamoCatalog(_MadeWhenAsked[CatalogRecord]):
    """Implements ``ports.Catalog``."""

    def __init__(self, table: StateTable) -> None:
        def placed(record: CatalogRecord) -> tuple[str, datetime]:
            return (RESTING, record.updated_at) if record.due_at is None else (WAITING, record.due_at)

        records = VersionedRecords(table, "CATALOG", CatalogRecord.model_validate_json, placed, stamp)
        super().__init__(records, lambda sku, now: CatalogRecord(sku=sku, updated_at=now))

    def due(self, now: datetime, limit: int) -> list[str]:
        return [item["pk"]["S"].removeprefix("CATALOG#") for item in self._records.table.listed(WAITING, up_to=stamp(now), limit=limit)]

    def every(self) -> Iterator[CatalogRecord]:
        return self._walk(WAITING, RESTING)


class DynamoAccounts(_MadeWhenAsked[AccountRecord]):
    """Implements ``ports.Accounts``."""

    def __init__(self, table: StateTable) -> None:
        records = VersionedRecords(table, "ACCOUNT", AccountRecord.model_validate_json, lambda record: (ACCOUNTS, record.updated_at), stamp)
        super().__init__(records, lambda account, now: AccountRecord(account=account, updated_at=now))

    def every(self) -> Iterator[AccountRecord]:
        return self._walk(ACCOUNTS)
