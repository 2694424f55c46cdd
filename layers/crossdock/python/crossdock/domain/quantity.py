"""How much of something, in which unit, and how units convert without rounding?"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from crossdock.domain.errors import NeedsPerson
from crossdock.domain.identifiers import UnitCode
from crossdock.domain.model import ExactDecimal, Model, plain


class Quantity(Model):
    """A decimal count with its unit of measure (the tenant's canonical unit codes, e.g. ``EA``, ``CS``)."""

    value: ExactDecimal
    unit: UnitCode

    @classmethod
    def of(cls, value: Decimal | int | str, unit: str) -> Quantity:
        return cls(value=Decimal(value), unit=unit)

    def _same(self, other: Quantity) -> None:
        if self.unit != other.unit:
            raise ValueError(f"{self.unit} and {other.unit} cannot be combined: convert first")

    def __add__(self, other: Quantity) -> Quantity:
        self._same(other)
        return Quantity(value=self.value + other.value, unit=self.unit)

    def __sub__(self, other: Quantity) -> Quantity:
        self._same(other)
        return Quantity(value=self.value - other.value, unit=self.unit)

    def __str__(self) -> str:
        return f"{plain(self.value)} {self.unit}"


def to_base(quantity: Quantity, *, base_unit: str, numerator: int, denominator: int) -> Quantity:
    """The quantity in the SKU's base unit: ``numerator/denominator`` base units per one of the quantity's unit.

    Exact rational arithmetic; a result that is not a whole number of base units raises ``NON_INTEGRAL_QUANTITY``
    instead of being rounded: half a screw cannot be picked.
    """
    exact = Fraction(quantity.value) * Fraction(numerator, denominator)
    if exact.denominator != 1:
        raise NeedsPerson(
            "NON_INTEGRAL_QUANTITY",
            f"{quantity} is {exact} {base_unit}: not a whole number of base units",
            remedy="correct the ordered quantity or the SKU's unit conversion, then retry",
        )
    return Quantity(value=Decimal(exact.numerator), unit=base_unit)
