"""What is known of one SKU: the product, each of its prices, and what the sales channels show of them?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from pydantic import Field

from crossdock.domain.governed import Governed
from crossdock.domain.identifiers import ConnectionName, Sku
from crossdock.domain.model import Instant, Model, Text
from crossdock.domain.money import Money
from crossdock.domain.price import Price
from crossdock.domain.product import Product


class ShownPrice(Model):
    """What a sales channel was told last. ``stale``: why it could not be told what counts since."""

    price: Money | None = None
    at: Instant
    stale: Text = ""


class CatalogRecord(Model):
    """The aggregate. Changed only by ``change`` through conditional writes on ``version``."""

    sku: Sku
    version: int = 0
    updated_at: Instant
    product: Product | None = None
    product_as_of: Instant | None = None
    prices: dict[str, Governed[Price]] = Field(default_factory=dict)
    """By ``Price.key``."""
    shown: dict[ConnectionName, ShownPrice] = Field(default_factory=dict)
    due_at: Instant | None = None
    """When the next of its prices begins or ends."""

    def standing(self) -> Iterator[Price]:
        """Every price that counts, now or at another time."""
        return (governed.standing.value for governed in self.prices.values() if governed.standing is not None)

    def next_step(self, now: datetime) -> datetime | None:
        """When the next price begins or ends."""
        steps = (moment for price in self.standing() for moment in (price.valid_from, price.valid_until) if moment is not None and moment > now)
        return min(steps, default=None)

    @property
    def stale(self) -> bool:
        return any(governed.stale for governed in self.prices.values()) or any(shown.stale for shown in self.shown.values())
