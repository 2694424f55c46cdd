"""What is an amount of money, and which arithmetic is allowed on it?"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal

from crossdock.domain.identifiers import CurrencyCode
from crossdock.domain.model import ExactDecimal, Model, plain

# Minor units that differ from two decimals (ISO 4217:2015, list one).
_MINOR_UNITS = {"BHD": 3, "CLP": 0, "ISK": 0, "JOD": 3, "JPY": 0, "KRW": 0, "KWD": 3, "OMR": 3, "TND": 3, "UGX": 0, "VND": 0, "XAF": 0, "XOF": 0}


class Money(Model):
    """A decimal amount in one ISO 4217 currency; amounts of different currencies never meet."""

    amount: ExactDecimal
    currency: CurrencyCode

    @classmethod
    def of(cls, amount: Decimal | int | str, currency: str) -> Money:
        return cls(amount=Decimal(amount), currency=currency)

    @classmethod
    def zero(cls, currency: str) -> Money:
        return cls(amount=Decimal(0), currency=currency)

    @classmethod
    def sum(cls, amounts: Iterable[Money], currency: str) -> Money:
        total = cls.zero(currency)
        for amount in amounts:
            total = total + amount
        return total

    def _same(self, other: Money) -> None:
        if self.currency != other.currency:
            raise ValueError(f"{self.currency} and {other.currency} cannot be combined: convert first")

    def __add__(self, other: Money) -> Money:
        self._same(other)
        return Money(amount=self.amount + other.amount, currency=self.currency)

    def __sub__(self, other: Money) -> Money:
        self._same(other)
        return Money(amount=self.amount - other.amount, currency=self.currency)

    def __mul__(self, factor: Decimal | int) -> Money:
        return Money(amount=self.amount * factor, currency=self.currency)

    def __lt__(self, other: Money) -> bool:
        self._same(other)
        return self.amount < other.amount

    def __le__(self, other: Money) -> bool:
        self._same(other)
        return self.amount <= other.amount

    def magnitude(self) -> Money:
        return Money(amount=abs(self.amount), currency=self.currency)

    def rounded(self) -> Money:
        """To the currency's minor unit, half up, as invoices are rounded."""
        return Money(amount=self.amount.quantize(Decimal(1).scaleb(-_MINOR_UNITS.get(self.currency, 2)), ROUND_HALF_UP), currency=self.currency)

    def exact(self) -> str:
        """Every digit: unit prices of small parts differ in the fourth decimal."""
        return str(self) if self.rounded().amount == self.amount else f"{plain(self.amount)} {self.currency}"

    def __str__(self) -> str:
        return f"{self.rounded().amount:f} {self.currency}"
