"""What did a sender send, exactly, and what became of it? Plain data: the intake keeps it without the model library."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class DeliveryStatus(StrEnum):
    RECEIVED = "received"
    """Stored and queued."""
    DONE = "done"
    """Translated, and every event it holds is on the bus."""
    IGNORED = "ignored"
    """Ignored by name, with the reason in the manifest."""
    EXCEPTION = "exception"
    DISCARDED = "discarded"
    """A person decided, with a reason on the record, that nothing is to come of it."""


@dataclass(frozen=True)
class Delivery:
    """One inbound message as the sender sent it. Header names in lower case."""

    delivery_id: str
    connection: str
    topic: str
    body: bytes
    received_at: datetime
    headers: Mapping[str, str] = field(default_factory=dict)
    revision: int = 0
    """0 as sent; each edit by a person makes the next, and the original stays."""

    def __post_init__(self) -> None:
        if self.received_at.tzinfo is None:
            raise ValueError("received_at needs its time zone")

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()

    @property
    def body_base64(self) -> str:
        return base64.b64encode(self.body).decode()


class DeliveryNote(Protocol):
    """The stored short record of a delivery, beside its bytes in the archive."""

    @property
    def delivery_id(self) -> str: ...
    @property
    def connection(self) -> str: ...
    @property
    def topic(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def status(self) -> DeliveryStatus: ...
    @property
    def revision(self) -> int: ...
    @property
    def received_at(self) -> datetime: ...
    @property
    def events(self) -> tuple[str, ...]:
        """``type:subject`` of what came of it."""
        ...


def inbound_message(delivery_id: str) -> str:
    """What the inbound queue carries: a pointer to the delivery."""
    return json.dumps({"delivery_id": delivery_id}, separators=(",", ":"))
