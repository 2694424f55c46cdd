"""What does one unit cost whom, and since when?"""

from __future__ import annotations

from crossdock.domain.identifiers import Sku, UnitCode
from crossdock.domain.model import Instant, Model, Name
from crossdock.domain.money import Money
from crossdock.domain.quantity import Quantity


class Price(Model):
    """A net unit price. ``account`` None is the list price."""

    sku: Sku
    unit: UnitCode
    price: Money
    account: Name | None = None
    minimum: Quantity | None = None
    valid_from: Instant | None = None
    valid_until: Instant | None = None
