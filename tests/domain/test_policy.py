"""Which differences pass and which hold an order, at the very edge of each rule?"""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.domain import policy
from crossdock.domain.address import Address
from crossdock.domain.customer import CreditStanding
from crossdock.domain.money import Money
from crossdock.domain.order import Order
from crossdock.domain.order_record import Approval
from crossdock.domain.price import Price
from crossdock.domain.tenant import HoldKind, Tolerance
from tests.fakes import START
from tests.flows.world import ADDRESS, an_order, line, spec, usd


@given(
    expected=st.integers(-10_000, 10_000).map(Decimal),
    actual=st.integers(-10_000, 10_000).map(Decimal),
    percent=st.integers(0, 100).map(Decimal),
    amount=st.integers(0, 500).map(Decimal),
)
def test_a_tolerance_is_the_larger_of_both(expected: Decimal, actual: Decimal, percent: Decimal, amount: Decimal) -> None:
    found = policy.within(Tolerance(percent=percent, amount=amount), expected=usd(expected), actual=usd(actual))
    assert found is (abs(actual - expected) <= amount or 100 * abs(actual - expected) <= abs(expected) * percent)


def approval(hold: policy.Hold) -> Approval:
    return Approval(kind=hold.kind, fingerprint=hold.fingerprint, by="jo", at=START)


def test_an_approval_covers_exactly_what_was_seen() -> None:
    hold = policy.Hold(HoldKind.CREDIT, "CREDIT_LIMIT", "d", "r", {"balance": "1"})
    other = policy.Hold(HoldKind.CREDIT, "CREDIT_LIMIT", "d", "r", {"balance": "2"})
    another_kind = policy.Hold(HoldKind.PRICE, "CREDIT_LIMIT", "d", "r", {"balance": "1"})
    assert policy.not_approved(hold, [approval(hold)]) is None
    assert policy.not_approved(other, [approval(hold)]) is other
    assert policy.not_approved(another_kind, [approval(hold)]) is another_kind
    assert policy.not_approved(None, []) is None


@pytest.mark.parametrize(
    ("address", "missing"),
    [
        (ADDRESS, None),
        (ADDRESS.model_copy(update={"name": "", "company": "Blue Ridge"}), None),
        (ADDRESS.model_copy(update={"name": " "}), "name"),
        (ADDRESS.model_copy(update={"city": " ", "country": ""}), "city, country"),
        (Address(), "line1, city, postal_code, country, name"),
    ],
)
def test_an_address_must_reach_a_door(address: Address, missing: str | None) -> None:
    hold = policy.address_hold(an_order(ship_to=address))
    assert (hold.seen["missing"] if hold else None) == missing


def test_what_needs_no_shipping_needs_no_address() -> None:
    assert policy.address_hold(an_order(lines=[line("1", "SETUP", "1", "50", requires_shipping=False)], ship_to=Address())) is None


@pytest.mark.parametrize(("off", "held"), [("0", False), ("0.05", False), ("0.06", True), ("-0.06", True)])
def test_an_order_must_add_up(off: str, held: bool) -> None:
    order = an_order(total=usd(an_order().total.amount + Decimal(off)))
    assert (policy.total_hold(order, spec()) is not None) is held


def taxed(region: str, tax: str, **place: str) -> Order:
    return an_order(lines=[line("1", "BOLT", "3", "10", tax=tax)], ship_to=ADDRESS.model_copy(update={"region": region, **place}))


@pytest.mark.parametrize(
    ("order", "held"),
    [
        (taxed("IL", "3"), False),
        (taxed("IL", "2"), True),
        (taxed("TX", "0"), False),
        (taxed("TX", "1"), True),
        (taxed("ON", "9", country="CA"), False),
    ],
)
def test_tax_is_that_of_the_place_if_the_policy_knows_it(order: Order, held: bool) -> None:
    assert (policy.tax_hold(order, spec()) is not None) is held


def test_freight_is_taxed_where_the_policy_says_so() -> None:
    assert policy.expected_tax(taxed("IL", "0"), spec(tax={"freight_taxed": True})) == usd(4)
    assert policy.expected_tax(taxed("IL", "0"), spec()) == usd(3)


@pytest.mark.parametrize(
    ("method", "freight", "price", "closed", "held"),
    [
        ("Ground", "10", "10", False, False),
        ("Ground", "10.06", "10", False, True),
        ("Ground", "10", "2000", False, True),
        ("Ground", "0", "2000", False, False),
        ("Courier", "99", "10", False, False),
        ("Courier", "99", "10", True, True),
        ("", "99", "10", True, False),
    ],
)
def test_freight_is_what_the_policy_charges(method: str, freight: str, price: str, closed: bool, held: bool) -> None:
    order = an_order(lines=[line("1", "BOLT", "3", price)], shipping_method=method, freight=usd(freight))
    hold = policy.freight_hold(order, spec(freight={"closed": closed}))
    assert (hold is not None) is held


def test_freight_without_a_free_limit_is_always_charged() -> None:
    order = an_order(lines=[line("1", "BOLT", "3", "9000")])
    assert policy.freight_hold(order, spec(freight={"free_from": None})) is None


def price(amount: str, currency: str = "USD") -> Price:
    return Price(sku="70010", unit="PCS", price=Money.of(amount, currency))


def test_prices_hold_beyond_the_tolerance_and_name_both_sides() -> None:
    order = an_order(lines=[line("1", "BOLT", "1", "10"), line("2", "BOLT", "1", "8"), line("3", "NUT", "1", "5")])
    assert policy.price_hold(order, {"1": price("10.1"), "2": price("8.08"), "3": price("5")}, spec()) is None
    hold = policy.price_hold(order, {"1": price("11"), "2": price("9"), "3": price("5", "EUR")}, spec())
    assert hold is not None
    assert set(hold.seen) == {"BOLT", "BOLT (line 2)", "NUT"}, "two lines of one SKU are two differences"
    assert hold.seen["NUT"].endswith("(another currency)")


def test_an_item_without_a_price_is_unknown() -> None:
    hold = policy.price_hold(an_order(), {"1": None, "2": price("5")}, spec())
    assert hold is not None
    assert (hold.code, hold.seen) == ("UNKNOWN_SKU", {"skus": "BOLT"})


def standing(**changes: object) -> CreditStanding:
    return CreditStanding.model_validate({"account": "C1", "limit": usd(100), "balance": usd(46), **changes})


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (None, "UNKNOWN_CUSTOMER"),
        (standing(blocked=True), "CUSTOMER_BLOCKED"),
        (standing(limit=None, balance=usd(10_000)), None),
        (standing(), None),
        (standing(balance=usd("46.01")), "CREDIT_LIMIT"),
        (standing(limit=Money.of(100, "EUR"), balance=Money.of(0, "EUR")), "CREDIT_LIMIT"),
    ],
)
def test_credit_is_the_balance_and_this_order_within_the_limit(found: CreditStanding | None, code: str | None) -> None:
    assert an_order().total == usd(54)
    hold = policy.credit_hold(an_order(), found, "C1")
    assert (hold.code if hold else None) == code


@pytest.mark.parametrize(("total", "held"), [(None, False), ("54.05", False), ("54.06", True)])
def test_both_documents_must_charge_the_same(total: str | None, held: bool) -> None:
    assert (policy.erp_total_hold(an_order(), usd(total) if total else None, spec()) is not None) is held
