"""Who did what when, so that a later change to the record shows? A hash chain per subject."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from crossdock.domain.model import Instant, Model, Name, Text, rfc3339

GENESIS = "0" * 64


class AuditEntry(Model):
    """``hash`` covers every other field and the previous entry's hash; the first entry's ``previous`` is 64 zeros."""

    subject: str
    sequence: int
    at: Instant
    actor: Name
    action: Name
    """Past tense or an event's name."""
    summary: Text
    details: dict[str, str] = Field(default_factory=dict)
    previous: str
    hash: str

    @classmethod
    def chained(cls, *, subject: str, sequence: int, at: Any, actor: str, action: str, summary: str, details: dict[str, str], previous: str) -> AuditEntry:
        digest = _digest(subject=subject, sequence=sequence, at=rfc3339(at), actor=actor, action=action, summary=summary, details=details, previous=previous)
        return cls(subject=subject, sequence=sequence, at=at, actor=actor, action=action, summary=summary, details=details, previous=previous, hash=digest)


def _digest(**fields: object) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


def broken_links(entries: Sequence[AuditEntry]) -> list[str]:
    """What is wrong with a subject's chain, entry by entry; empty when it is whole (a cut tail needs an anchor to show)."""
    found: list[str] = []
    previous = GENESIS
    for position, entry in enumerate(entries, start=1):
        if entry.sequence != position:
            found.append(f"entry {position}: sequence says {entry.sequence}")
        if entry.previous != previous:
            found.append(f"entry {position}: does not follow the entry before it")
        expected = _digest(
            subject=entry.subject,
            sequence=entry.sequence,
            at=rfc3339(entry.at),
            actor=entry.actor,
            action=entry.action,
            summary=entry.summary,
            details=entry.details,
            previous=entry.previous,
        )
        if entry.hash != expected:
            found.append(f"entry {position} ({entry.action}): its content was changed")
        previous = entry.hash
    return found
