"""Do simulated rules plan as the real ones do, over the stock there was, and touch nothing?"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from crossdock.domain.tenant import Routing, RoutingRule
from crossdock.flows import simulate
from tests.flows.world import World, an_order, line, usd


def _orders(world: World, counts: list[int]) -> None:
    world.autopilot()
    for number, count in enumerate(counts, start=1):
        world.place(an_order(number, lines=[line("1", "BOLT", str(count), "10")]))
        world.run()


def _run(world: World, routing: Routing | None = None, cost: str = "8") -> simulate.Simulated:
    records = simulate.recorded(world.services, 100)
    before = simulate.stock_before(records, world.services)
    return simulate.simulate("x", routing or world.spec.routing, records, before, world.spec, world.services, part_cost=Decimal(cost))


@given(counts=st.lists(st.integers(1, 70), min_size=1, max_size=6))
@settings(max_examples=30, deadline=None)
def test_the_tenants_own_rules_make_again_what_was_made(counts: list[int]) -> None:
    world = World()
    _orders(world, counts)
    found = _run(world)
    made = [record for record in world.orders.every() if record.parts]
    assert found.orders == len(counts)
    assert found.filled >= len(made), "what was reserved then can be reserved again"
    if len(made) == len(counts):
        assert (found.filled, found.parts) == (len(made), sum(len(record.parts) for record in made))
        assert found.units_filled == found.units_asked == sum(counts)
    assert found.freight == usd(8 * found.parts)


def test_a_variant_that_never_splits_fills_fewer_and_ships_fewer_parts() -> None:
    world = World()
    _orders(world, [130, 3])
    whole = _run(world)
    never = _run(world, world.spec.routing.model_copy(update={"split": False}))
    assert (whole.filled, whole.split, whole.parts, whole.unfillable) == (2, 1, whole.parts, 0)
    assert (never.filled, never.split, never.unfillable) == (1, 0, 1)
    assert never.units_filled == 3
    assert never.as_json()["fill_rate_percent"] == "50.0"
    assert whole.on_time == Fraction(1)


def test_simulating_changes_nothing() -> None:
    world = World()
    _orders(world, [5, 7])
    before = (dict(world.stock.shelf), world.orders.every(), len(world.queues.sent))
    nowhere = Routing(rules=(RoutingRule(countries=("FR",), locations=("CHI",)),))
    found = _run(world, nowhere)
    assert (found.filled, found.on_time, found.by_location) == (0, None, {})
    assert found.as_json()["on_time_percent"] is None
    assert (dict(world.stock.shelf), world.orders.every(), len(world.queues.sent)) == before


def test_an_order_that_names_no_unit_of_ours_is_filled_by_no_rule() -> None:
    world = World()
    _orders(world, [5])
    broken = world.record().placed
    odd = broken.lines[0].model_copy(update={"quantity": broken.lines[0].quantity.model_copy(update={"unit": "XX"})})
    world.orders.change("shop-1", lambda current: current.model_copy(update={"order": broken.model_copy(update={"lines": (odd,)})}))
    assert (_run(world).filled, _run(world).unfillable) == (0, 1)


def test_nothing_recorded_is_nothing_simulated() -> None:
    found = _run(World())
    assert (found.orders, found.as_json()["fill_rate_percent"]) == (0, None)


def test_an_order_of_services_alone_needs_no_place() -> None:
    world = World()
    world.place(an_order(lines=[line("1", "BOLT", "1", "10", requires_shipping=False)]))
    world.run()
    assert (_run(world).filled, _run(world).parts) == (1, 0)
