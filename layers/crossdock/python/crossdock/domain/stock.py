"""How much is where, and what of it is promised?"""

from __future__ import annotations

from crossdock.domain.identifiers import ConnectionName, LocationCode, OrderId, Sku
from crossdock.domain.model import ExactDecimal, Instant, Model
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

    @property
    def available(self) -> ExactDecimal:
        return self.on_hand - self.committed - self.safety


class StockReading(Model):
    """What the owner of a location's stock says it holds: an absolute count at one moment."""

    sku: Sku
    location: LocationCode
    on_hand: ExactDecimal
    as_of: Instant


class ReservedLine(Model):
    """Stock of one SKU committed at one location, summed over the lines that need it."""

    sku: Sku
    location: LocationCode
    quantity: ExactDecimal


class Reservation(Model):
    """Everything one order has committed."""

    order_id: OrderId
    lines: tuple[ReservedLine, ...]
    parts: tuple[Fulfillment, ...] = ()
    """The plan it was made for: kept with it, so that a crash right after the write loses nothing."""
    made_at: Instant
