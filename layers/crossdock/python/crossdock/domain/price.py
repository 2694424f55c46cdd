"""What does one unit cost whom, and since when?"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

from pydantic import model_validator

from crossdock.domain.identifiers import Sku, UnitCode
from crossdock.domain.model import Instant, Model, Name, plain, rfc3339
from crossdock.domain.money import Money
from crossdock.domain.quantity import Quantity

ALWAYS = datetime(1, 1, 1, tzinfo=UTC)


class Price(Model):
    """A net unit price. ``account`` None is the list price; ``minimum``: from this quantity of the same unit on; ``valid_until`` is the first
    moment at which it is not valid any more."""

    sku: Sku
    unit: UnitCode
    price: Money
    account: Name | None = None
    minimum: Quantity | None = None
    valid_from: Instant | None = None
    valid_until: Instant | None = None

    @model_validator(mode="after")
    def _means_something(self) -> Price:
        if self.minimum is not None and self.minimum.unit != self.unit:
            raise ValueError("minimum must be in the unit that is priced")
        if self.valid_from is not None and self.valid_until is not None and self.valid_until < self.valid_from:
            raise ValueError("valid_until is before valid_from")
        return self

    @property
    def key(self) -> str:
        """Which of the SKU's prices it is: a newer one under the same key takes its place."""
        return "|".join(
            (
                self.unit,
                self.price.currency,
                self.account or "",
                plain(self.minimum.value) if self.minimum else "",
                rfc3339(self.valid_from) if self.valid_from else "",
            )
        )

    def is_valid(self, at: datetime) -> bool:
        return (self.valid_from is None or self.valid_from <= at) and (self.valid_until is None or at < self.valid_until)

    @property
    def about(self) -> str:
        """For people: whose price from which quantity, and when."""
        found = [f"for {self.account}" if self.account else "list", f"per {self.unit}"]
        found += [f"from {plain(self.minimum.value)}"] if self.minimum else []
        found += [f"since {self.valid_from:%Y-%m-%d %H:%M} UTC"] if self.valid_from else []
        found += [f"until {self.valid_until:%Y-%m-%d %H:%M} UTC"] if self.valid_until else []
        return " ".join(found)


def effective(prices: Iterable[Price], *, account: str | None, unit: str, currency: str, quantity: Decimal, at: datetime) -> Price | None:
    """The price that counts: the account's own before the list, of these the highest quantity break that is reached, of these the one that began last
    (a promotion before what it interrupts)."""
    fitting = [
        price
        for price in prices
        if price.unit == unit
        and price.price.currency == currency
        and price.account in (None, account)
        and (price.minimum is None or price.minimum.value <= quantity)
        and price.is_valid(at)
    ]
    return max(fitting, key=_rank, default=None)


def _rank(price: Price) -> tuple[bool, Decimal, datetime]:
    return price.account is not None, price.minimum.value if price.minimum else Decimal(0), price.valid_from or ALWAYS


def differs_by_more_than(percent: Decimal, before: Money, after: Money) -> bool:
    """Whether the step from one to the other is more than so many percent of the first; another currency is always more."""
    if before.currency != after.currency:
        return True
    return abs(after.amount - before.amount) * 100 > abs(before.amount) * percent
