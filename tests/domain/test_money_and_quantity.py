"""Is an amount exact, in one currency, and spelled one way?"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from crossdock.domain.errors import NeedsPerson
from crossdock.domain.key import key_part
from crossdock.domain.model import plain
from crossdock.domain.money import Money
from crossdock.domain.quantity import Quantity, to_base

amounts = st.decimals(min_value=Decimal("-99999999"), max_value=Decimal("99999999"), places=4, allow_nan=False, allow_infinity=False)


@given(st.lists(amounts, max_size=30))
def test_a_sum_of_money_is_exact(values: list[Decimal]) -> None:
    total = Money.sum((Money(amount=value, currency="USD") for value in values), "USD")
    assert Fraction(total.amount) == sum((Fraction(value) for value in values), Fraction(0))


@given(amounts, amounts, st.integers(-1000, 1000))
def test_arithmetic_is_that_of_fractions(left: Decimal, right: Decimal, factor: int) -> None:
    a, b = Money(amount=left, currency="USD"), Money(amount=right, currency="USD")
    assert Fraction((a - b).amount) == Fraction(left) - Fraction(right)
    assert Fraction((a * factor).amount) == Fraction(left) * factor
    assert (a < b) is (left < right)
    assert (a <= b) is (left <= right)
    assert a.magnitude().amount == abs(left)
    q, r = Quantity(value=left, unit="EA"), Quantity(value=right, unit="EA")
    assert Fraction((q + r).value) == Fraction(left) + Fraction(right)
    assert Fraction((q - r).value) == Fraction(left) - Fraction(right)


@given(amounts)
def test_money_survives_json_to_the_last_digit(value: Decimal) -> None:
    money = Money(amount=value, currency="USD")
    assert Money.model_validate_json(money.model_dump_json()).amount == value
    assert money.as_json()["amount"] == plain(value)
    assert "E" not in money.as_json()["amount"]


@given(amounts, amounts)
def test_equal_values_have_one_spelling_and_different_ones_two(left: Decimal, right: Decimal) -> None:
    assert (plain(left) == plain(right)) is (left == right)
    assert (Money(amount=left, currency="USD").exact() == Money(amount=right, currency="USD").exact()) is (left == right)


@pytest.mark.parametrize(("text", "spelled"), [("0", "0"), ("-0", "0"), ("-0.00", "0"), ("10", "10"), ("10.50", "10.5"), ("1E+2", "100"), ("1E-4", "0.0001"), ("100.0", "100")])
def test_a_decimal_is_spelled_plainly(text: str, spelled: str) -> None:
    assert plain(Decimal(text)) == spelled


@pytest.mark.parametrize("value", [1.5, True, "NaN", "Infinity", "-Infinity", "1" * 29, "1E+19", "1E-19", "ten", None])
def test_what_is_not_exact_is_no_amount(value: Any) -> None:
    with pytest.raises(ValidationError):
        Money(amount=value, currency="USD")


def test_currencies_never_meet() -> None:
    dollars, euros = Money.of(1, "USD"), Money.of(1, "EUR")
    for combine in (lambda: dollars + euros, lambda: dollars - euros, lambda: dollars < euros, lambda: dollars <= euros):
        with pytest.raises(ValueError, match="convert first"):
            combine()
    with pytest.raises(ValueError, match="convert first"):
        Quantity.of(1, "EA") + Quantity.of(1, "CS")
    with pytest.raises(ValueError, match="convert first"):
        Quantity.of(1, "EA") - Quantity.of(1, "CS")


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [("2.345", "USD", "2.35 USD"), ("-2.345", "USD", "-2.35 USD"), ("2.5", "JPY", "3 JPY"), ("2.3455", "KWD", "2.346 KWD"), ("2", "USD", "2.00 USD")],
)
def test_rounding_is_half_up_to_the_currencys_minor_unit(amount: str, currency: str, shown: str) -> None:
    assert str(Money.of(amount, currency)) == shown


@given(st.decimals(min_value=0, max_value=10_000, places=3), st.integers(1, 1000), st.integers(1, 12))
def test_base_units_are_exact_or_refused(value: Decimal, numerator: int, denominator: int) -> None:
    exact = Fraction(value) * Fraction(numerator, denominator)
    asked = Quantity(value=value, unit="CS")
    if exact.denominator == 1:
        made = to_base(asked, base_unit="EA", numerator=numerator, denominator=denominator)
        assert Fraction(made.value) == exact
        assert made.unit == "EA"
    else:
        with pytest.raises(NeedsPerson, match="not a whole number") as refused:
            to_base(asked, base_unit="EA", numerator=numerator, denominator=denominator)
        assert refused.value.code == "NON_INTEGRAL_QUANTITY"


def test_a_quantity_says_its_unit() -> None:
    assert str(Quantity.of("2.50", "CS")) == "2.5 CS"


@given(st.text(max_size=60))
def test_a_key_holds_only_what_every_place_allows(text: str) -> None:
    made = key_part(text)
    assert all(char.isascii() and (char.isalnum() or char in "_-") for char in made)
    assert key_part(made) == made
