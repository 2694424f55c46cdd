"""How much is where, and what of it is promised?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from crossdock.domain.identifiers import ConnectionName, LocationCode, OrderId, Sku
from crossdock.domain.model import ExactDecimal, Instant, Model, Text
from crossdock.domain.shipment import Fulfillment


class StockLevel(Model):
    """Stock of one SKU at one location, in the SKU's base unit. ``available = on_hand - committed - safety``."""

    sku: Sku
    location: LocationCode
    on_hand: ExactDecimal
    committed: ExactDecimal
    safety: ExactDecimal
    source: ConnectionName | None = None
    as_of: Instant | None = None
    """When the owner counted what is on hand here."""
    expected: ExactDecimal = Decimal(0)
    """On its way to the location, as the owner says; never reserved before it is on hand."""
    expected_at: Instant | None = None
    moved_at: Instant | None = None
    """When a movement or a shipment was last booked here."""
    changes: int = 0
    """The level's own sequence: one more with each change."""
    late: int = 0
    """Reports that were older than what is known here: counted, not applied."""
    duplicates: int = 0
    """Reports that came again: counted, not applied."""

    @property
    def available(self) -> ExactDecimal:
        return self.on_hand - self.committed - self.safety


class StockReading(Model):
    """What the owner of a location's stock says it holds: an absolute count at one moment."""

    sku: Sku
    location: LocationCode
    on_hand: ExactDecimal
    as_of: Instant
    expected: ExactDecimal | None = None
    """On its way there; None: the owner says nothing of it."""
    expected_at: Instant | None = None


class StockAdjustment(Model):
    """A movement that the owner of a location's stock reports: so many pieces more or fewer (a receipt, a write-off, a return put back)."""

    sku: Sku
    location: LocationCode
    adjustment_id: Annotated[str, StringConstraints(min_length=1, max_length=120)]
    """The owner's own id of the movement: the same id is the same movement, however often it is told."""
    change: ExactDecimal
    reason: Text = ""
    occurred_at: Instant


class Outcome(StrEnum):
    """What became of a report about stock."""

    APPLIED = "applied"
    LATE = "late"
    """The owner has counted since: the count holds it already."""
    DUPLICATE = "duplicate"


class EntryKind(StrEnum):
    COUNT = "count"
    ADJUSTMENT = "adjustment"
    SHIPMENT = "shipment"


class StockEntry(Model):
    """One line of the ledger of a SKU at a location: what changed what is on hand, by how much, on whose word."""

    sku: Sku
    location: LocationCode
    kind: EntryKind
    at: Instant
    """When it happened there, not when it was heard of."""
    change: ExactDecimal | None = None
    """Pieces more (or fewer); None for the first count of all."""
    on_hand: ExactDecimal | None = None
    """A count's own figure."""
    source: Text
    reference: Text = ""
    """The owner's id of the movement, or the shipment."""
    reason: Text = ""
    outcome: Outcome = Outcome.APPLIED


@dataclass(frozen=True)
class StockChange:
    """A report with what it did to the level."""

    outcome: Outcome
    before: StockLevel | None
    after: StockLevel | None

    @property
    def moved(self) -> bool:
        """Whether more or less can be promised than before."""
        before = (self.before.available, self.before.expected) if self.before else None
        after = (self.after.available, self.after.expected) if self.after else None
        return self.outcome is Outcome.APPLIED and before != after


class ChannelStock(Model):
    """What one sales channel is shown of a location's free stock."""

    buffer: Annotated[ExactDecimal, Field(ge=0)] = Decimal(0)
    """Pieces of each SKU and location that the channel is not shown: what may be sold elsewhere before it hears of it."""
    share_percent: Annotated[ExactDecimal, Field(ge=0, le=100)] = Decimal(100)
    """The channel's share of what is free, rounded down to whole pieces."""
    expected_days: Annotated[int, Field(ge=0, le=365)] = 0
    """What is expected within so many days counts too; 0: only what is there."""


def promised(level: StockLevel, channel: ChannelStock, *, now: datetime) -> Decimal:
    """ATP of one location for a channel, in base units: ``on hand - committed - safety (+ expected by policy)``, of that the share, less the buffer. Never negative."""
    free = level.available
    if level.expected_at is not None and level.expected_at <= now + timedelta(days=channel.expected_days):
        free += level.expected if channel.expected_days else Decimal(0)
    share = free if channel.share_percent == 100 else (free * channel.share_percent / 100).to_integral_value(ROUND_FLOOR)
    return max(Decimal(0), share - channel.buffer)


def bundled(components: Mapping[Sku, Decimal], available: Mapping[Sku, Decimal]) -> Decimal:
    """How many whole bundles can be made of what is available of each component."""
    return min((Decimal(int(max(Decimal(0), available.get(sku, Decimal(0))) // needed)) for sku, needed in components.items()), default=Decimal(0))


def movements(entries: Iterable[StockEntry]) -> Decimal:
    """What the applied movements among the entries come to."""
    return sum((entry.change for entry in entries if entry.kind is not EntryKind.COUNT and entry.outcome is Outcome.APPLIED and entry.change is not None), Decimal(0))


class ReservedLine(Model):
    """Stock of one SKU committed at one location, summed over the lines that need it."""

    sku: Sku
    location: LocationCode
    quantity: ExactDecimal
    reach: ExactDecimal = Decimal(0)
    """How far into the safety stock it may reach (less than none: how much beside it must stay)."""


class Slot(Model):
    """One part among those that a location takes on a day; ``limit`` None: it takes as many as come, they are only counted."""

    location: LocationCode
    day: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    limit: int | None = None


class Reservation(Model):
    """Everything one order has committed."""

    order_id: OrderId
    lines: tuple[ReservedLine, ...]
    slots: tuple[Slot, ...] = ()
    """Taken with the stock, in the same write."""
    parts: tuple[Fulfillment, ...] = ()
    """The plan it was made for: kept with it, so that a crash right after the write loses nothing."""
    made_at: Instant
