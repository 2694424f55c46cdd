"""Is every plan one the rules allow, and is one found where there is one?"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from crossdock.domain.address import Address
from crossdock.domain.quantity import Quantity
from crossdock.domain.shipment import Fulfillment
from crossdock.domain.stock import Reservation, ReservedLine, StockLevel
from crossdock.domain.tenant import CrossReference, TenantSpec
from crossdock.flows import allocate
from crossdock.flows.allocate import Assignment, Need
from tests.fakes import START, MemoryStock
from tests.flows.world import ADDRESS, SPEC, an_order, line, spec

LOCATIONS = ["CHI", "DAL", "MOR"]
SKUS = ["BOLT", "NUT"]


def need(line_id: str, sku: str, quantity: int, per_unit: Fraction = Fraction(1), group: str | None = None, value: int = 100) -> Need:
    base = Decimal(int(quantity * per_unit))
    return Need(line_id, sku, Quantity.of(quantity, "EA" if per_unit == 1 else "CS"), base, per_unit, Decimal(value), group)


def levels(stock: dict[tuple[str, str], int]) -> dict[tuple[str, str], StockLevel]:
    return {(sku, place): StockLevel(sku=sku, location=place, on_hand=Decimal(count + 2), committed=Decimal(1), safety=Decimal(1)) for (sku, place), count in stock.items()}


def assign(asked: list[Need], locations: list[str], stock: dict[tuple[str, str], StockLevel], tenant: TenantSpec) -> Assignment | None:
    return allocate.assign(asked, locations, allocate.free_of(stock, tenant), tenant, split=tenant.routing.split)


def reserved(parts: list[Fulfillment]) -> tuple[ReservedLine, ...]:
    return allocate.reserved_lines(parts, {}, spec())


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
    made = assign(asked, LOCATIONS, levels(stock), routing)
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
    assert (assign(asked, LOCATIONS, levels(stock), routing) is not None) is possible


def test_two_sets_that_fit_only_the_other_way_round_are_placed() -> None:
    asked = [need("1", "BOLT", 5, group="A"), need("2", "BOLT", 10, group="B")]
    made = assign(asked, ["CHI", "DAL"], levels({("BOLT", "CHI"): 10, ("BOLT", "DAL"): 5}), rules())
    assert made is not None
    assert {(one.line_id, place) for one, place, _ in made} == {("1", "DAL"), ("2", "CHI")}


def test_units_that_are_thirds_of_a_piece_divide_exactly() -> None:
    """Three of the ordered unit make one base unit: no 0.9999 is reserved."""
    asked = [Need("1", "BOLT", Quantity.of(9, "SET"), Decimal(3), Fraction(1, 3), Decimal(30), None)]
    made = assign(asked, LOCATIONS, levels({("BOLT", "CHI"): 1, ("BOLT", "DAL"): 2, ("BOLT", "MOR"): 0}), rules())
    assert made is not None
    parts = allocate.parts_of(an_order(lines=[line("1", "BOLT", "9", "1")]), made, LOCATIONS, rules())
    assert [(part.lines[0].quantity.value, part.lines[0].base_quantity) for part in parts] == [(3, 1), (6, 2)]


def test_a_line_is_divided_in_whole_ordered_units_and_the_rest_may_be_less() -> None:
    asked = [need("1", "BOLT", 3, Fraction(12))]
    assert assign(asked, LOCATIONS, levels({("BOLT", "CHI"): 30, ("BOLT", "DAL"): 11, ("BOLT", "MOR"): 0}), rules()) is None
    made = assign(asked, LOCATIONS, levels({("BOLT", "CHI"): 30, ("BOLT", "DAL"): 12, ("BOLT", "MOR"): 0}), rules())
    assert made is not None
    assert [base for _, _, base in made] == [24, 12]
    half = [Need("1", "BOLT", Quantity.of("2.5", "CS"), Decimal(30), Fraction(12), Decimal(30), None)]
    made = assign(half, LOCATIONS, levels({("BOLT", "CHI"): 24, ("BOLT", "DAL"): 6, ("BOLT", "MOR"): 0}), rules())
    assert made is not None
    assert [base for _, _, base in made] == [24, 6]


def test_a_fraction_of_a_unit_that_is_no_whole_piece_is_not_split_off() -> None:
    asked = [Need("1", "BOLT", Quantity.of(4, "HF"), Decimal(6), Fraction(3, 2), Decimal(30), None)]
    made = assign(asked, ["CHI", "DAL"], levels({("BOLT", "CHI"): 5, ("BOLT", "DAL"): 3}), rules())
    assert made is not None
    assert [base for _, _, base in made] == [3, 3], "one and a half pieces are no whole ones: two units of it are"


def test_the_first_rule_that_fits_the_address_names_the_locations() -> None:
    texas = an_order(ship_to=ADDRESS.model_copy(update={"region": "TX"}))
    abroad = an_order(ship_to=Address(country="DE"))
    assert [route.locations for route in allocate.routes(texas, spec(), {})] == [("DAL", "CHI", "MOR")]
    assert [route.locations for route in allocate.routes(an_order(), spec(), {})] == [tuple(LOCATIONS)]
    assert allocate.routes(abroad, spec(), {}) == []
    hold = allocate.no_warehouse(abroad, [need("1", "BOLT", 1)], [], {}, spec())
    assert hold.seen == {"BOLT": "needs 1; no location serves this address"}


def test_lines_of_one_sku_are_one_commitment() -> None:
    order = an_order(lines=[line("1", "BOLT", "3", "10"), line("2", "BOLT", "1", "120", unit="CS"), line("3", "SETUP", "1", "50", requires_shipping=False)])
    asked = allocate.needs_of(order, CrossReference(spec()))
    made = assign(asked, LOCATIONS, levels({(sku, place): 20 for sku in SKUS for place in LOCATIONS}), spec())
    assert made is not None
    parts = allocate.parts_of(order, made, LOCATIONS, spec())
    intangible = allocate.intangible_part(order, number=2, location="CHI")
    assert intangible is not None
    assert reserved([*parts, intangible]) == (ReservedLine(sku="BOLT", location="CHI", quantity=Decimal(15)),)
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
    made = assign(asked, ["CHI", "DAL"], levels({("BOLT", "CHI"): 12, ("BOLT", "DAL"): 10}), rules())
    assert made is not None
    assert {(one.line_id, place) for one, place, _ in made} == {("2", "CHI"), ("1", "DAL")}


# ------------------------------------------------------------------ bundles, capacity, and rules that fall back on others


KIT = {"BOLT": Decimal(2), "NUT": Decimal(1)}


def kits(line_id: str, count: int, *, value: int = 100) -> Need:
    return Need(line_id, "KIT", Quantity.of(count, "EA"), Decimal(count), Fraction(1), Decimal(value), None, KIT)


mixed = st.lists(st.tuples(st.sampled_from(["BOLT", "NUT", "KIT"]), st.integers(1, 3)), min_size=1, max_size=3).map(
    lambda found: [kits(str(index), count) if sku == "KIT" else need(str(index), sku, count) for index, (sku, count) in enumerate(found)]
)


def fits(made: Assignment, stock: dict[tuple[str, str], int], limit: int) -> bool:
    """Whether the stock of the pieces themselves, counted anew, is enough, in so many parts."""
    taken: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for one, place, base in made:
        for sku, per in ({"BOLT": 2, "NUT": 1} if one.sku == "KIT" else {one.sku: 1}).items():
            taken[sku, place] += base * per
    return len({place for _, place, _ in made}) <= limit and all(count <= stock[key] for key, count in taken.items())


@given(asked=mixed, stock=st.fixed_dictionaries({(sku, place): st.integers(0, 4) for sku in SKUS for place in LOCATIONS}), max_parts=st.integers(1, 3))
@settings(max_examples=200, deadline=None)
def test_a_plan_with_bundles_is_found_wherever_there_is_one_and_sums_their_components(asked: list[Need], stock: dict[tuple[str, str], int], max_parts: int) -> None:
    made = assign(asked, LOCATIONS, levels(stock), rules(max_parts=max_parts))
    assert (made is not None) is any(fits(plan, stock, max_parts) for plan in every_plan(asked))
    if made is not None:
        assert fits(made, stock, max_parts)
        assert {one.line_id: sum(base for other, _, base in made if other is one) for one, _, _ in made} == {one.line_id: one.base for one in asked}


def test_lines_that_share_what_is_scarce_are_placed_the_other_way_round() -> None:
    asked = [need("1", "BOLT", 2), kits("2", 1)]
    made = assign(asked, ["CHI", "DAL"], levels({("BOLT", "CHI"): 2, ("NUT", "CHI"): 1, ("BOLT", "DAL"): 2, ("NUT", "DAL"): 0}), rules())
    assert made is not None
    assert {(one.sku, place) for one, place, _ in made} == {("KIT", "CHI"), ("BOLT", "DAL")}


RULES = st.lists(
    st.tuples(
        st.lists(st.sampled_from(LOCATIONS), min_size=1, max_size=3, unique=True),
        st.sampled_from(["listed", "nearest", "balance"]),
        st.sampled_from([True, False, None]),
        st.sampled_from(["hold", "next"]),
        st.sampled_from([["IL"], ["TX"], []]),
    ),
    min_size=1,
    max_size=3,
)


@given(
    asked=small_needs,
    stock=st.fixed_dictionaries({(sku, place): st.integers(0, 4) for sku in SKUS for place in LOCATIONS}),
    found=RULES,
    load=st.fixed_dictionaries({place: st.integers(0, 3) for place in LOCATIONS}),
    limits=st.fixed_dictionaries({place: st.sampled_from([None, 2, 3]) for place in LOCATIONS}),
    days=st.fixed_dictionaries({place: st.sampled_from([None, 1, 2]) for place in LOCATIONS}),
)
@settings(max_examples=150, deadline=None)
def test_rules_are_tried_in_order_as_an_oracle_would(
    asked: list[Need],
    stock: dict[tuple[str, str], int],
    found: list[tuple[list[str], str, bool | None, str, list[str]]],
    load: dict[str, int],
    limits: dict[str, int | None],
    days: dict[str, int | None],
) -> None:
    tenant = spec(
        routing={"rules": [{"locations": where, "sort": sort, "split": split, "otherwise": otherwise, "regions": regions} for where, sort, split, otherwise, regions in found]}
    )
    places = {
        name: place.model_copy(update={"daily_orders": limits[name], "transit_days": {} if days[name] is None else {"US-IL": days[name]}})
        for name, place in tenant.locations.items()
    }
    tenant = tenant.model_copy(update={"locations": places})
    expected: tuple[int, bool] | None = None
    for index, (where, _, split, otherwise, regions) in enumerate(found):
        if regions and "IL" not in regions:
            continue
        open_places = {name for name in where if limits[name] is None or load[name] < (limits[name] or 0)}
        most = 3 if split is not False else 1
        if any(not problems(plan, asked, stock, rules(max_parts=most)) for plan in every_plan(asked) if {place for _, place, _ in plan} <= open_places):
            expected = (index, True)
            break
        if otherwise == "hold":
            break
    made = allocate.plan(asked, allocate.routes(an_order(), tenant, load), allocate.free_of(levels(stock), tenant), tenant)
    assert (made is not None) is (expected is not None)
    if made is not None and expected is not None:
        where, sort, split, _, _ = found[expected[0]]
        used = {place for _, place, _ in made[0]}
        assert used <= set(where)
        assert problems(made[0], asked, stock, rules(max_parts=3 if split is not False else 1)) == []
        alone = [name for name in where if name in made[1].locations and single_at(asked, stock, name)]
        if alone:  # one location that has all wins, and which of them is the sort's to say
            assert used == {min(alone, key=lambda name: rank(name, where, sort, load, limits, days))}


def single_at(asked: list[Need], stock: dict[tuple[str, str], int], place: str) -> bool:
    return all(stock[sku, place] >= sum(one.base for one in asked if one.sku == sku) for sku in SKUS)


def rank(name: str, where: list[str], sort: str, load: dict[str, int], limits: dict[str, int | None], days: dict[str, int | None]) -> tuple[Fraction, int]:
    """How early a location comes in its rule, by the words of the tenant file."""
    open_places = [place for place in where if limits[place] is None or load[place] < (limits[place] or 0)]
    first = Fraction(0)
    if sort == "nearest":
        first = Fraction(99 if days[name] is None else days[name] or 0)
    if sort == "balance":
        first = Fraction(load[name], limits[name] or 1) if all(limits[place] is not None for place in open_places) else Fraction(load[name])
    return first, where.index(name)


def test_the_nearest_by_days_comes_first_then_who_is_not_known_in_the_order_given() -> None:
    days = {"CHI": {"US": 3}, "DAL": {"US-IL": 1, "US": 4}, "MOR": {}}
    tenant = spec(
        locations={name: {**SPEC["locations"][name], "transit_days": found} for name, found in days.items()},
        routing={"rules": [{"locations": ["MOR", "CHI", "DAL"], "sort": "nearest"}]},
    )
    texas = an_order(ship_to=ADDRESS.model_copy(update={"region": "TX"}))
    assert [route.locations for route in allocate.routes(an_order(), tenant, {})] == [("DAL", "CHI", "MOR")]
    assert [route.locations for route in allocate.routes(texas, tenant, {})] == [("CHI", "DAL", "MOR")]


def test_routing_leaves_its_own_safety_stock_apart_from_what_channels_are_not_shown() -> None:
    tenant = spec(locations={"CHI": {**SPEC["locations"]["CHI"], "safety_stock": {"BOLT": "4"}, "routing_safety_stock": {"BOLT": "1"}}})
    level = StockLevel(sku="BOLT", location="CHI", on_hand=Decimal(10), committed=Decimal(2), safety=Decimal(4))
    assert allocate.free_of({("BOLT", "CHI"): level}, tenant) == {("BOLT", "CHI"): Decimal(7)}
    stricter = spec(locations={"CHI": {**SPEC["locations"]["CHI"], "safety_stock": {"BOLT": "4"}, "default_routing_safety_stock": "6"}})
    assert allocate.free_of({("BOLT", "CHI"): level}, stricter) == {("BOLT", "CHI"): Decimal(2)}
    assert allocate.free_of({("BOLT", "CHI"): level}, spec()) == {("BOLT", "CHI"): Decimal(4)}


def test_what_is_on_its_way_promises_the_order_from_the_day_on_which_it_fills_it() -> None:
    tenant = spec()
    stock = levels({("BOLT", "CHI"): 1, ("BOLT", "DAL"): 0, ("BOLT", "MOR"): 0})
    stock["BOLT", "CHI"] = stock["BOLT", "CHI"].model_copy(update={"expected": Decimal(3), "expected_at": START + timedelta(days=2)})
    stock["BOLT", "DAL"] = stock["BOLT", "DAL"].model_copy(update={"expected": Decimal(9), "expected_at": START + timedelta(days=5)})
    found = allocate.routes(an_order(), tenant, {})
    assert allocate.promise([need("1", "BOLT", 4)], found, stock, tenant) == START + timedelta(days=2)
    assert allocate.promise([need("1", "BOLT", 6)], found, stock, tenant) == START + timedelta(days=5)
    assert allocate.promise([need("1", "BOLT", 99)], found, stock, tenant) is None
    hold = allocate.no_warehouse(an_order(), [need("1", "BOLT", 4)], found, stock, tenant)
    assert hold.seen["can be filled from"].startswith("2026-10-07")


def test_a_search_that_finds_nothing_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocate, "MAX_TRIES", 3)
    asked = [need(str(number), "BOLT", 3) for number in range(5)]
    assert assign(asked, LOCATIONS, levels({("BOLT", place): 4 for place in LOCATIONS}), rules(split=True)) is None
