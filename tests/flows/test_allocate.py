"""Is every plan one the rules allow, and is one found where there is one?"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from functools import cache

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from crossdock.domain.address import Address
from crossdock.domain.quantity import Quantity
from crossdock.domain.stock import Reservation, ReservedLine, StockLevel
from crossdock.domain.tenant import CrossReference, TenantSpec
from crossdock.flows import allocate
from crossdock.flows.allocate import Assignment, Need
from tests.fakes import START, MemoryStock
from tests.flows.world import ADDRESS, an_order, line, spec

LOCATIONS = ["CHI", "DAL", "MOR"]
SKUS = ["BOLT", "NUT"]


def need(line_id: str, sku: str, quantity: int, per_unit: Fraction = Fraction(1), group: str | None = None, value: int = 100) -> Need:
    base = Decimal(int(quantity * per_unit))
    return Need(line_id, sku, Quantity.of(quantity, "EA" if per_unit == 1 else "CS"), base, per_unit, Decimal(value), group)


def levels(stock: dict[tuple[str, str], int]) -> dict[tuple[str, str], StockLevel]:
    return {(sku, place): StockLevel(sku=sku, location=place, on_hand=Decimal(count + 2), committed=Decimal(1), safety=Decimal(1)) for (sku, place), count in stock.items()}


@cache
def rules(**changes: object) -> TenantSpec:
    return spec(routing=changes)


needs = st.lists(
    st.tuples(st.sampled_from(SKUS), st.integers(1, 6), st.sampled_from([Fraction(1), Fraction(2), Fraction(3)]), st.sampled_from([None, None, "A", "B"]), st.integers(10, 90)),
    min_size=1,
    max_size=4,
).map(lambda found: [need(str(index), sku, count, per_unit, group, value) for index, (sku, count, per_unit, group, value) in enumerate(found)])
stocks = st.fixed_dictionaries({(sku, place): st.integers(0, 14) for sku in SKUS for place in LOCATIONS})


def problems(made: Assignment, asked: list[Need], stock: dict[tuple[str, str], int], routing: TenantSpec) -> list[str]:
    """What is wrong with a plan; written against the rules, not against the code."""
    found = []
    taken: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for one, place, base in made:
        taken[one.sku, place] += base
        if base <= 0:
            found.append(f"line {one.line_id}: nothing of it at {place}")
    found += [f"{key} oversold" for key, quantity in taken.items() if quantity > stock[key]]
    for one in asked:
        shares = [(place, base) for other, place, base in made if other.line_id == one.line_id]
        if sum(base for _, base in shares) != one.base:
            found.append(f"line {one.line_id} is not whole")
        if len({place for place, _ in shares}) != len(shares):
            found.append(f"line {one.line_id} is twice in one part")
        if one.group and len(shares) > 1:
            found.append(f"line {one.line_id} of a group is divided")
        if any((Fraction(base) / one.per_unit).denominator != 1 for _, base in shares):
            found.append(f"line {one.line_id} is divided within an ordered unit")
    for group in {one.group for one in asked if one.group}:
        if len({place for one, place, _ in made if one.group == group}) > 1:
            found.append(f"group {group} is torn apart")
    places = {place for _, place, _ in made}
    if len(places) > routing.routing.max_parts or (len(places) > 1 and not routing.routing.split):
        found.append("too many parts")
    for place in places if len(places) > 1 else ():
        value = sum((Fraction(one.value) * Fraction(base) / Fraction(one.base) for one, where, base in made if where == place), Fraction(0))
        if value < Fraction(routing.routing.minimum_part_value) - Fraction(1, 10**6):
            found.append(f"the part at {place} is worth too little")
    return found


def single_location(asked: list[Need], stock: dict[tuple[str, str], int]) -> str | None:
    for place in LOCATIONS:
        wanted: dict[str, Decimal] = defaultdict(Decimal)
        for one in asked:
            wanted[one.sku] += one.base
        if all(stock[sku, place] >= quantity for sku, quantity in wanted.items()):
            return place
    return None


def every_plan(asked: list[Need]) -> Iterator[Assignment]:
    """Every way to spread whole ordered units over the locations."""
    choices = []
    for one in asked:
        units = int(Fraction(one.base) / one.per_unit)
        choices.append(
            [
                [(one, place, Decimal(int(count * one.per_unit))) for place, count in zip(LOCATIONS, counts, strict=True) if count]
                for counts in itertools.product(range(units + 1), repeat=3)
                if sum(counts) == units
            ]
        )
    for combination in itertools.product(*choices):
        yield [share for shares in combination for share in shares]


@given(asked=needs, stock=stocks, split=st.booleans(), max_parts=st.integers(1, 3), minimum=st.sampled_from([0, 0, 20, 60]))
@settings(max_examples=400, deadline=None)
def test_every_plan_is_one_the_rules_allow(asked: list[Need], stock: dict[tuple[str, str], int], split: bool, max_parts: int, minimum: int) -> None:
    routing = rules(split=split, max_parts=max_parts, minimum_part_value=str(minimum))
    made = allocate.assign(asked, LOCATIONS, levels(stock), routing)
    alone = single_location(asked, stock)
    if made is not None:
        assert problems(made, asked, stock, routing) == []
    if alone is not None:
        assert made is not None
        assert {place for _, place, _ in made} == {alone}, "one location that can ship all wins, the first in routing order"


small_needs = st.lists(st.tuples(st.sampled_from(SKUS), st.integers(1, 3), st.sampled_from([None, "A", "B"])), min_size=1, max_size=3).map(
    lambda found: [need(str(index), sku, count, Fraction(1), group) for index, (sku, count, group) in enumerate(found)]
)


@given(asked=small_needs, stock=st.fixed_dictionaries({(sku, place): st.integers(0, 4) for sku in SKUS for place in LOCATIONS}), max_parts=st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_a_plan_is_found_wherever_there_is_one(asked: list[Need], stock: dict[tuple[str, str], int], max_parts: int) -> None:
    routing = rules(max_parts=max_parts)
    possible = any(not problems(plan, asked, stock, routing) for plan in every_plan(asked))
    assert (allocate.assign(asked, LOCATIONS, levels(stock), routing) is not None) is possible


def test_two_sets_that_fit_only_the_other_way_round_are_placed() -> None:
    asked = [need("1", "BOLT", 5, group="A"), need("2", "BOLT", 10, group="B")]
    made = allocate.assign(asked, ["CHI", "DAL"], levels({("BOLT", "CHI"): 10, ("BOLT", "DAL"): 5}), rules())
    assert made is not None
    assert {(one.line_id, place) for one, place, _ in made} == {("1", "DAL"), ("2", "CHI")}


def test_units_that_are_thirds_of_a_piece_divide_exactly() -> None:
    """Three of the ordered unit make one base unit: no 0.9999 is reserved."""
    asked = [Need("1", "BOLT", Quantity.of(9, "SET"), Decimal(3), Fraction(1, 3), Decimal(30), None)]
    made = allocate.assign(asked, LOCATIONS, levels({("BOLT", "CHI"): 1, ("BOLT", "DAL"): 2, ("BOLT", "MOR"): 0}), rules())
    assert made is not None
    parts = allocate.parts_of(an_order(lines=[line("1", "BOLT", "9", "1")]), made, LOCATIONS, rules())
    assert [(part.lines[0].quantity.value, part.lines[0].base_quantity) for part in parts] == [(3, 1), (6, 2)]


def test_a_line_is_divided_in_whole_ordered_units_and_the_rest_may_be_less() -> None:
    asked = [need("1", "BOLT", 3, Fraction(12))]
    assert allocate.assign(asked, LOCATIONS, levels({("BOLT", "CHI"): 30, ("BOLT", "DAL"): 11, ("BOLT", "MOR"): 0}), rules()) is None
    made = allocate.assign(asked, LOCATIONS, levels({("BOLT", "CHI"): 30, ("BOLT", "DAL"): 12, ("BOLT", "MOR"): 0}), rules())
    assert made is not None
    assert [base for _, _, base in made] == [24, 12]
    half = [Need("1", "BOLT", Quantity.of("2.5", "CS"), Decimal(30), Fraction(12), Decimal(30), None)]
    made = allocate.assign(half, LOCATIONS, levels({("BOLT", "CHI"): 24, ("BOLT", "DAL"): 6, ("BOLT", "MOR"): 0}), rules())
    assert made is not None
    assert [base for _, _, base in made] == [24, 6]


def test_a_fraction_of_a_unit_that_is_no_whole_piece_is_not_split_off() -> None:
    asked = [Need("1", "BOLT", Quantity.of(4, "HF"), Decimal(6), Fraction(3, 2), Decimal(30), None)]
    made = allocate.assign(asked, ["CHI", "DAL"], levels({("BOLT", "CHI"): 5, ("BOLT", "DAL"): 3}), rules())
    assert made is not None
    assert [base for _, _, base in made] == [3, 3], "one and a half pieces are no whole ones: two units of it are"


def test_the_first_rule_that_fits_the_address_names_the_locations() -> None:
    texas = an_order(ship_to=ADDRESS.model_copy(update={"region": "TX"}))
    abroad = an_order(ship_to=Address(country="DE"))
    assert allocate.candidates(texas, spec()) == ["DAL", "CHI", "MOR"]
    assert allocate.candidates(an_order(), spec()) == LOCATIONS
    assert allocate.candidates(abroad, spec()) == []
    hold = allocate.no_warehouse(abroad, [need("1", "BOLT", 1)], [], {})
    assert hold.seen == {"BOLT": "needs 1; no location serves this address"}


def test_lines_of_one_sku_are_one_commitment() -> None:
    order = an_order(lines=[line("1", "BOLT", "3", "10"), line("2", "BOLT", "1", "120", unit="CS"), line("3", "SETUP", "1", "50", requires_shipping=False)])
    asked = allocate.needs_of(order, CrossReference(spec()))
    made = allocate.assign(asked, LOCATIONS, levels({(sku, place): 20 for sku in SKUS for place in LOCATIONS}), spec())
    assert made is not None
    parts = allocate.parts_of(order, made, LOCATIONS, spec())
    intangible = allocate.intangible_part(order, number=2, location="CHI")
    assert intangible is not None
    assert allocate.reserved_lines([*parts, intangible]) == (ReservedLine(sku="BOLT", location="CHI", quantity=Decimal(15)),)
    assert allocate.intangible_part(an_order(), number=2, location="CHI") is None


@given(
    wanted=st.lists(st.tuples(st.sampled_from(SKUS), st.sampled_from(LOCATIONS), st.integers(1, 9)), min_size=1, max_size=25),
    acts=st.lists(st.tuples(st.integers(0, 24), st.sampled_from(["reserve", "reserve", "release", "consume"]), st.integers(1, 9)), max_size=60),
)
@settings(max_examples=200, deadline=None)
def test_stock_is_never_oversold_however_orders_interleave(wanted: list[tuple[str, str, int]], acts: list[tuple[int, str, int]]) -> None:
    """Orders reserve, ship and cancel in any order, each act possibly repeated: what is promised is always there."""
    assume(len({index for index, _, _ in acts}) > 1)
    stock = MemoryStock()
    stock.shelf = {key: level.model_copy(update={"committed": Decimal(0)}) for key, level in levels({(sku, place): 10 for sku in SKUS for place in LOCATIONS}).items()}
    before = sum(level.on_hand for level in stock.shelf.values())
    for index, act, count in acts:
        sku, place, quantity = wanted[index % len(wanted)]
        order_id = f"shop-{index % len(wanted)}"
        if act == "reserve":
            stock.reserve(Reservation(order_id=order_id, lines=(ReservedLine(sku=sku, location=place, quantity=Decimal(quantity)),), made_at=START))
        else:
            more = {"at": START} if act == "consume" else {}
            getattr(stock, act)(order_id, [ReservedLine(sku=sku, location=place, quantity=Decimal(count))], token=f"{act}-{count}", **more)
        for key, level in stock.shelf.items():
            assert level.available >= 0, f"{key} is oversold"
            assert level.committed >= 0
    held = sum(line.quantity for _, lines in stock.outstanding() for line in lines)
    assert held == sum(level.committed for level in stock.shelf.values()), "what is committed belongs to somebody"
    assert sum(level.on_hand for level in stock.shelf.values()) <= before


@pytest.mark.parametrize("quantity", ["0", "-3"])
def test_a_line_without_quantity_needs_nothing(quantity: str) -> None:
    assert allocate.needs_of(an_order(lines=[line("1", "BOLT", quantity, "10")]), CrossReference(spec())) == []


def test_single_pieces_leave_room_for_whole_cases() -> None:
    asked = [need("1", "BOLT", 10), need("2", "BOLT", 1, Fraction(12))]
    made = allocate.assign(asked, ["CHI", "DAL"], levels({("BOLT", "CHI"): 12, ("BOLT", "DAL"): 10}), rules())
    assert made is not None
    assert {(one.line_id, place) for one, place, _ in made} == {("2", "CHI"), ("1", "DAL")}
