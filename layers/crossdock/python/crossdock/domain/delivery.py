"""What did a sender send, exactly, and what became of it?"""

from __future__ import annotations

import base64
import hashlib
from enum import StrEnum

from pydantic import Field

from crossdock.domain.identifiers import ConnectionName, DeliveryId
from crossdock.domain.model import Instant, Model


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


class Delivery(Model):
    """One inbound message as the sender sent it. Header names in lower case."""

    delivery_id: DeliveryId
    connection: ConnectionName
    topic: str
    body: bytes
    headers: dict[str, str] = Field(default_factory=dict)
    received_at: Instant
    revision: int = 0
    """0 as sent; each edit by a person makes the next, and the original stays."""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()

    @property
    def body_base64(self) -> str:
        return base64.b64encode(self.body).decode()
