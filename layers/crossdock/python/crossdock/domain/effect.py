"""Was this write done, is it under way, or does nobody know? The record behind every outbound command."""

from __future__ import annotations

from enum import StrEnum

from crossdock.domain.commands import Receipt
from crossdock.domain.identifiers import OrderId
from crossdock.domain.model import Instant, Model, Text


class EffectState(StrEnum):
    INTENDED = "intended"
    """Written before the call; whoever finds it after its lease must look the effect up before calling again."""
    CONFIRMED = "confirmed"
    UNKNOWN = "unknown"
    """The call left and no answer came."""
    FAILED = "failed"
    """Surely not done (refused, or never sent): may be tried again."""


class Effect(Model):
    """Keyed by tenant (the table), connection, command and business id; never by a queue's message id."""

    key: str
    state: EffectState
    attempt: int
    order_id: OrderId | None = None
    intended_at: Instant
    lease_until: Instant
    receipt: Receipt | None = None
    error: Text = ""
    settled_at: Instant | None = None
    """When it was confirmed or failed; for an unknown outcome, the moment from which its absence at the other side proves something."""
