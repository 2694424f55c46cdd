"""How are exception records kept and listed?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from crossdock.aws.records import VersionedRecords
from crossdock.aws.table import StateTable, stamp
from crossdock.domain.exception_record import ExceptionRecord, ExceptionStatus

OPEN, CLOSED = "EXCEPTION#open", "EXCEPTION#closed"


def _placed(record: ExceptionRecord) -> tuple[str, datetime]:
    return (CLOSED, record.resolved_at or record.last_seen_at) if record.closed else (OPEN, record.due_at)


class DynamoExceptions:
    """Implements ``ports.Exceptions``."""

    def __init__(self, table: StateTable) -> None:
        self._table = table
        self._records: VersionedRecords[ExceptionRecord] = VersionedRecords(table, "EXCEPTION", ExceptionRecord.model_validate_json, _placed, stamp)

    def open(self, record: ExceptionRecord) -> ExceptionRecord:
        if self._records.add(record.exception_id, record) is None:
            return record
        return self._records.change(record.exception_id, lambda standing: again(standing, record))

    def get(self, exception_id: str) -> ExceptionRecord | None:
        return self._records.get(exception_id)

    def change(self, exception_id: str, decide: Callable[[ExceptionRecord], ExceptionRecord | None]) -> ExceptionRecord:
        return self._records.change(exception_id, decide)

    def listed(self, *, closed: bool = False, limit: int = 1000) -> list[ExceptionRecord]:
        found = map(self._records.read, self._table.listed(CLOSED if closed else OPEN, limit=limit, newest_first=closed))
        return [record for record in found if record.closed is closed]  # the listing lags behind what was closed just now


def again(standing: ExceptionRecord, seen: ExceptionRecord) -> ExceptionRecord:
    """The standing record with one more occurrence: the newest reason, the whole history, open again if it was closed or being retried."""
    reopened = standing.status in (ExceptionStatus.RESOLVED, ExceptionStatus.RETRYING)
    history = (*standing.history, *(entry.model_copy(update={"action": "reopened"}) for entry in seen.history)) if reopened else standing.history
    return seen.model_copy(
        update={
            "version": standing.version,
            "status": ExceptionStatus.OPEN if reopened else standing.status,
            "occurrences": standing.occurrences + 1,
            "opened_at": standing.opened_at,
            "due_at": seen.due_at if reopened else standing.due_at,
            "assigned_to": standing.assigned_to,
            "history": history[-50:],
        }
    )
