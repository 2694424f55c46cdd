"""What must somebody look at, whose is it, until when, and what became of it?"""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum
from typing import Literal

from pydantic import Field

from crossdock.domain.errors import Category, Cause
from crossdock.domain.identifiers import ConnectionName, OrderId
from crossdock.domain.model import Instant, Model, Name, Text
from crossdock.domain.money import Money
from crossdock.domain.stage import QueueName
from crossdock.domain.tenant import HoldKind


class ExceptionStatus(StrEnum):
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RETRYING = "retrying"
    """Sent round again; closes when the thing has succeeded."""
    RESOLVED = "resolved"


class FieldNote(Model):
    path: str
    problem: Text


class HistoryEntry(Model):
    at: Instant
    actor: Name
    action: Name
    note: Text = ""


class HoldDetails(Model):
    """What the person decides on. ``seen`` are the two sides of the difference, as they are shown."""

    kind: HoldKind
    fingerprint: str
    seen: dict[str, str] = Field(default_factory=dict)


class ExceptionRecord(Model):
    exception_id: str
    code: str
    category: Category
    cause: Cause
    status: ExceptionStatus
    detail: Text
    remedy: Text = ""
    fields: tuple[FieldNote, ...] = ()
    kind: Literal["message", "hold", "business"]
    """``message``: something stands in a dead-letter queue; ``hold``: a workflow waits for a decision; ``business``: a fact that should not be."""
    subject: str
    """Order id or delivery id."""
    order_id: OrderId | None = None
    connection: ConnectionName | None = None
    queue: QueueName | None = None
    message: str = ""
    """The queue message's whole body, kept beyond the queue's own retention: what a retry sends again."""
    hold: HoldDetails | None = None
    fingerprint: str
    """Equal for failures of the same kind: grouping, and one alert per incident."""
    occurrences: int = 1
    money_at_risk: Money | None = None
    ship_by: Instant | None = None
    owner: Name
    assigned_to: str | None = None
    opened_at: Instant
    last_seen_at: Instant
    due_at: Instant
    resolved_at: Instant | None = None
    history: tuple[HistoryEntry, ...] = ()
    runbook: Text = ""
    version: int = 0

    @property
    def closed(self) -> bool:
        return self.status is ExceptionStatus.RESOLVED


def exception_id(code: str, subject: str, what: str = "") -> str:
    """Deterministic: the same failure of the same thing is one record that counts, not a new one each time."""
    return f"{code.lower().replace('_', '-')}-{hashlib.sha256(f'{code}|{subject}|{what}'.encode()).hexdigest()[:16]}"


_VARIABLE = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27,}|\d+|'[^']*'|\"[^\"]*\"")


def incident_fingerprint(code: str, connection: str | None, detail: str) -> str:
    """System, class and message with its numbers and quoted values taken out."""
    return hashlib.sha256(f"{code}|{connection or ''}|{_VARIABLE.sub('#', detail)}".encode()).hexdigest()[:16]
