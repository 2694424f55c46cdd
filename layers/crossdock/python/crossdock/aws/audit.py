"""How is the audit kept so that it can only grow?"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from datetime import datetime

from crossdock.aws.clients import Clients
from crossdock.aws.failure import condition_failed, repeated, response_of
from crossdock.aws.table import TRIES, packed, text, unpacked
from crossdock.domain.audit import GENESIS, AuditEntry
from crossdock.domain.errors import ConcurrentChange


def _short(details: Mapping[str, str] | None) -> dict[str, str]:
    return {name: str(value)[:500] for name, value in (details or {}).items()}


def _busy(subject: str) -> ConcurrentChange:
    return ConcurrentChange("CONCURRENT_CHANGE", f"the audit of {subject} is being written by many at once", after_seconds=1)


class DynamoAudit:
    """Implements ``ports.Audit``: one chain per subject. No role may update or delete here; a place in the chain is taken by a conditional put."""

    def __init__(self, clients: Clients, table: str) -> None:
        self._clients = clients
        self._table = table

    def _last(self, subject: str) -> AuditEntry | None:
        found = self._clients.dynamodb.query(
            TableName=self._table, KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": text(subject)}, ScanIndexForward=False, Limit=1, ConsistentRead=True
        )["Items"]
        return AuditEntry.model_validate_json(unpacked(found[0]["document"])) if found else None

    def append(self, subject: str, *, actor: str, action: str, summary: str, details: Mapping[str, str] | None = None, at: datetime) -> AuditEntry:
        for attempt in range(TRIES):
            entry = self._try(subject, self._last(subject), actor=actor, action=action, summary=summary, details=_short(details), at=at, attempt=attempt)
            if entry is not None:
                return entry
        raise _busy(subject)

    def append_once(self, subject: str, *, actor: str, action: str, summary: str, details: Mapping[str, str] | None = None, at: datetime) -> None:
        kept = _short(details)
        for attempt in range(TRIES):
            standing = self.entries(subject)
            if any(entry.action == action and entry.details == kept for entry in standing):
                return
            # The place right behind what was read: whoever wrote in between makes this one look again.
            if self._try(subject, standing[-1] if standing else None, actor=actor, action=action, summary=summary, details=kept, at=at, attempt=attempt):
                return
        raise _busy(subject)

    def _try(self, subject: str, last: AuditEntry | None, *, actor: str, action: str, summary: str, details: dict[str, str], at: datetime, attempt: int) -> AuditEntry | None:
        """None when the place behind ``last`` is taken."""
        entry = AuditEntry.chained(
            subject=subject,
            sequence=last.sequence + 1 if last else 1,
            at=at,
            actor=actor,
            action=action,
            summary=summary[:1000],
            details=details,
            previous=last.hash if last else GENESIS,
        )
        item = {"pk": text(subject), "sk": text(f"{entry.sequence:09d}"), "document": packed(entry.model_dump_json())}
        try:
            self._clients.dynamodb.put_item(TableName=self._table, Item=item, ConditionExpression="attribute_not_exists(pk)", ReturnValuesOnConditionCheckFailure="ALL_OLD")
        except Exception as error:
            if not condition_failed(error):
                raise
            if response_of(error).get("Item") == item and repeated(error):
                return entry  # our own: the answer to the first try was lost
            time.sleep(random.uniform(0, min(0.5, 0.01 * 2**attempt)))  # noqa: S311 - jitter
            return None
        return entry

    def entries(self, subject: str) -> list[AuditEntry]:
        pages = self._clients.dynamodb.get_paginator("query").paginate(
            TableName=self._table, KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": text(subject)}, ConsistentRead=True
        )
        return [AuditEntry.model_validate_json(unpacked(item["document"])) for page in pages for item in page["Items"]]
