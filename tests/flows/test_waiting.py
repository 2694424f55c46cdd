"""Does a command that may not be sent now wait without being lost, doubled, counted as failed, or sent too fast?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.domain.commands import Intent, Receipt
from crossdock.domain.errors import NeedsPerson, Rejected, RetryLater, UnknownOutcome
from crossdock.domain.exception_record import ExceptionStatus
from crossdock.domain.manifest import RateLimit
from crossdock.domain.messages import OutboundMessage
from crossdock.domain.pace import MICROSECONDS, Pace
from crossdock.domain.stage import QueueName
from crossdock.flows import circuit, deliver
from crossdock.flows.allowance import BLOCK, Allowance
from crossdock.flows.health import LONGEST_WAIT_SECONDS
from tests.domain.test_pace import most_in_a_window
from tests.fakes import START, MemoryBudgets, SetClock
from tests.flows.world import MANIFESTS, World, an_order, line, manifest, spec

DOWN = RetryLater("VENDOR_UNAVAILABLE", "no connection")
LIMIT = RateLimit(requests=30, per_seconds=10, source="test")


def micro(moment: datetime) -> int:
    return (moment - START) // timedelta(microseconds=1)


# ------------------------------------------------------------------ the budget of calls


class Workers:
    """Several processes on one clock that share the marks and nothing else."""

    def __init__(self, number: int, limit: RateLimit = LIMIT) -> None:
        self.clock = SetClock()
        self.marks = MemoryBudgets()
        self.pace = Pace.of(limit)
        self.each = [Allowance("erp", self.pace, budgets=self.marks, clock=self.clock, sleep=lambda seconds: self.clock.pass_by(seconds=seconds)) for _ in range(number)]
        self.calls: list[int] = []
        self.refusals: list[RetryLater] = []

    def call(self, worker: int) -> bool:
        try:
            self.each[worker].spend()
        except RetryLater as error:
            self.refusals.append(error)
            return False
        self.calls.append(micro(self.clock.now()))
        return True


@given(steps=st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["call", "begin", "pass"]), st.integers(0, 2_000_000)), max_size=200))
def test_interleaved_workers_never_make_more_calls_than_the_limit_in_any_window(steps: list[tuple[int, str, int]]) -> None:
    workers = Workers(5)
    for worker, what, microseconds in steps:
        if what == "pass":
            workers.clock.at += timedelta(microseconds=microseconds)
        elif what == "begin":
            workers.each[worker].wait_seconds()
        else:
            workers.call(worker)
    assert most_in_a_window(workers.calls, LIMIT.per_seconds * MICROSECONDS) <= LIMIT.requests
    assert all(error.code == "RATE_BUDGET_SPENT" and (error.after_seconds or 0) > 0 for error in workers.refusals)


def test_a_block_of_calls_costs_one_write() -> None:
    workers = Workers(1, RateLimit(requests=600, per_seconds=60, source="test"))
    assert workers.each[0].wait_seconds() == 0
    for _ in range(BLOCK):
        assert workers.call(0)
    assert workers.marks.writes == 1


def test_who_sees_the_budget_spent_asks_nobody_again_before_its_time() -> None:
    workers = Workers(1)
    workers.each[0].pause(60)
    written = workers.marks.writes
    assert not workers.call(0)
    assert workers.marks.writes == written


def test_calls_granted_and_not_made_in_time_are_forfeited() -> None:
    workers = Workers(1)
    assert workers.each[0].wait_seconds() == 0
    workers.clock.pass_by(seconds=5)
    written = workers.marks.writes
    assert workers.call(0)
    assert workers.marks.writes == written + 1


def test_a_pause_asked_for_is_kept_by_every_worker() -> None:
    workers = Workers(3)
    for worker in range(3):
        workers.call(worker)
    before = len(workers.calls)
    workers.each[0].pause(30)
    asked_at = micro(workers.clock.now())
    while len(workers.calls) < before + 6:
        workers.call(1)
        workers.call(2)
        workers.clock.pass_by(seconds=1)
    # What worker 1 and 2 had paid for before they could hear of it may still be made; nothing new is granted.
    assert all(call - asked_at >= 30 * MICROSECONDS for call in workers.calls[before + 2 * BLOCK :])
    assert min(call for call in workers.calls[before:] if call > asked_at + workers.pace.hold) >= asked_at + 30 * MICROSECONDS


def test_those_who_give_way_come_again_one_after_the_other() -> None:
    workers = Workers(1)
    while not workers.each[0].wait_seconds():
        for _ in range(BLOCK):
            workers.call(0)
    turns = [workers.each[0].wait_seconds() for _ in range(20)]
    assert turns == sorted(turns), "a line, not a crowd"
    assert turns[-1] >= 19 * BLOCK * workers.pace.interval // MICROSECONDS


def test_a_line_longer_than_the_queue_can_delay_is_spread() -> None:
    workers = Workers(1)
    workers.each[0].pause(3600)
    turns = [workers.each[0].wait_seconds() for _ in range(40)]
    assert max(turns) <= 900
    assert len(set(turns)) > 5


class Contended(MemoryBudgets):
    """Somebody else is always faster, and moves the mark a little."""

    def advance(self, name: str, *, seen: int | None, to: int, now: int) -> int | None:
        self.marks[name] = max(self.marks.get(name, now), now) + 1
        return self.marks[name]


def test_who_always_comes_second_gives_way_and_does_not_ask_for_ever() -> None:
    workers = Workers(1, RateLimit(requests=600, per_seconds=60, source="test"))
    slow = Allowance("erp", workers.pace, budgets=Contended(), clock=workers.clock, sleep=lambda seconds: workers.clock.pass_by(seconds=max(seconds, 1)))
    assert slow.wait_seconds() >= 1
    with pytest.raises(RetryLater, match="RATE_BUDGET_SPENT"):
        slow.spend()
    slow.pause(5)


def burst(orders: int, limit: RateLimit) -> World:
    """Many orders at once to an ERP with a small budget."""
    world = World(manifests={"erp": manifest("erp", "erp", list(MANIFESTS["erp"].commands), rate_limit=limit.as_json())})
    for number in range(1, orders + 1):
        world.place(an_order(number, [line("1", "BOLT", "1", "10")]))
    return world


def test_a_tenfold_burst_is_delayed_and_neither_lost_nor_sent_too_fast() -> None:
    limit = RateLimit(requests=5, per_seconds=10, source="test")
    world = burst(50, limit)
    world.run(until=timedelta(hours=6))
    assert [world.status(f"shop-{number}") for number in range(1, 51)] == ["released"] * 50
    assert most_in_a_window([micro(moment) for moment in world.erp.called_at], 10 * MICROSECONDS) <= 5
    assert len(world.erp.called_at) == len({effect for effect in world.effects_done() if effect[1].startswith("shop-")}) == 100
    assert world.open_codes() == [], "nobody is bothered"
    assert world.queues.dead[QueueName.OUTBOUND] == []
    assert max(message.receives for message in world.queues.messages[QueueName.OUTBOUND]) if world.queues.messages[QueueName.OUTBOUND] else True


def test_a_vendor_that_asks_for_fewer_calls_uses_up_no_tries() -> None:
    world = World()
    world.erp.fail("CreateSalesOrder", RetryLater("RATE_LIMITED", "too many", after_seconds=20), times=30)
    world.place()
    world.run(until=timedelta(hours=2))
    assert world.status() == "released"
    assert world.open_codes() == []
    gaps = [later - earlier for earlier, later in zip(world.erp.called_at, world.erp.called_at[1:], strict=False)]
    assert all(gap >= timedelta(seconds=20) for gap in gaps[:30]), "its Retry-After is kept"


# ------------------------------------------------------------------ the circuit


def outage(world: World, hours: float) -> None:
    """The ERP fails everything until its time has come."""
    ends_at = world.clock.now() + timedelta(hours=hours)
    real_do = world.erp.execute

    def execute(intent: Intent) -> Receipt:
        if world.clock.now() < ends_at:
            world.erp.called_at.append(world.clock.now())
            raise DOWN
        return real_do(intent)

    world.erp.execute = execute  # type: ignore[method-assign]


def rounds(world: World, hours: float) -> Iterator[datetime]:
    ends_at = world.clock.now() + timedelta(hours=hours)
    while world.clock.now() < ends_at:
        world.run(until=timedelta(minutes=1))
        world.clock.pass_by(minutes=1)
        world.watch()
        yield world.clock.now()


def test_an_outage_of_six_hours_loses_nothing_and_is_one_exception() -> None:
    world = World()
    outage(world, 6)
    for number in range(1, 11):
        world.place(an_order(number, [line("1", "BOLT", "1", "10")]))
    seen: set[tuple[str, ...]] = set()
    longest = 0
    for _ in rounds(world, 6):
        seen.add(tuple(world.open_codes()))
        longest = max(longest, len(world.queues.messages[QueueName.OUTBOUND]))
    assert seen <= {(), ("CONNECTION_DOWN",)}, "one exception, however many orders wait"
    assert ("CONNECTION_DOWN",) in seen
    assert longest <= 20, "copies do not add up"
    assert world.queues.dead[QueueName.OUTBOUND] == []
    probes = len(world.erp.called_at)
    assert probes <= 6 * 60 + 60, f"about one try a minute, not one per order: {probes}"
    back = world.clock.now()
    for now in rounds(world, 0.5):
        if all(world.status(f"shop-{number}") == "released" for number in range(1, 11)):
            assert now - back <= timedelta(seconds=LONGEST_WAIT_SECONDS + 120), "it goes on by itself, within minutes"
            break
    assert [world.status(f"shop-{number}") for number in range(1, 11)] == ["released"] * 10
    assert len([effect for effect in world.effects_done() if effect[0] == "CreateSalesOrder"]) == 10
    found = world.the_exception("CONNECTION_DOWN")
    assert found.status is ExceptionStatus.RESOLVED, "closed by the evidence that it works"
    assert found.subject == "erp" and found.order_id is None
    assert world.balance().adds_up


def test_an_outage_opens_its_own_circuit_only() -> None:
    world = World()
    outage(world, 1)
    world.place()
    world.place(an_order(2, [line("1", "VALVE", "2", "120", unit="CS")]))
    for _ in rounds(world, 0.5):  # the tries are spread by chance: five failures take up to a quarter of an hour
        pass
    assert world.services.circuits.of("erp").health(at_once=True).opened_at is not None
    for other in ("shop", "threepl", "direct"):
        assert world.services.circuits.of(other).health(at_once=True).opened_at is None


def test_what_is_over_within_seconds_disturbs_nobody() -> None:
    world = World()
    world.erp.fail("CreateSalesOrder", DOWN, times=circuit.FAILURES)
    world.place()
    world.run(until=timedelta(minutes=10))
    assert world.status() == "released"
    assert [record.code for record in world.exceptions.records.values()] == []


def test_one_caller_at_a_time_tries_an_open_circuit() -> None:
    world = World()
    for _ in range(circuit.FAILURES):
        with pytest.raises(RetryLater):
            circuit.asked("erp", lambda: (_ for _ in ()).throw(DOWN), world.services)
    assert [circuit.wait_seconds("erp", world.services) > 0 for _ in range(5)] == [True] * 5, "not at once"
    world.clock.pass_by(seconds=6)
    assert [circuit.wait_seconds("erp", world.services) > 0 for _ in range(5)] == [False, True, True, True, True]
    with pytest.raises(RetryLater, match="does not answer at present"):
        circuit.asked_now("erp", lambda: 1, world.services)


@pytest.mark.parametrize("error", [Rejected("VENDOR_REFUSED", "no"), NeedsPerson("NOT_AUTHORISED", "expired"), RetryLater("RATE_LIMITED", "slower")], ids=lambda error: error.code)
def test_a_refusal_is_no_outage(error: Exception) -> None:
    world = World()
    for _ in range(circuit.FAILURES * 2):
        with pytest.raises(type(error)):
            circuit.asked("erp", lambda: (_ for _ in ()).throw(error), world.services)
    assert world.services.circuits.of("erp").health(at_once=True).opened_at is None


def test_failures_with_answers_between_them_open_nothing() -> None:
    world = World()
    for _ in range(circuit.FAILURES * 3):
        with pytest.raises(UnknownOutcome):
            circuit.asked("erp", lambda: (_ for _ in ()).throw(UnknownOutcome("UNKNOWN_OUTCOME", "timeout")), world.services)
        circuit.asked("erp", lambda: 1, world.services)
    assert world.services.circuits.of("erp").health(at_once=True).opened_at is None


def test_failures_far_apart_are_not_in_a_row() -> None:
    world = World()
    for _ in range(circuit.FAILURES * 2):
        with pytest.raises(RetryLater):
            circuit.asked("erp", lambda: (_ for _ in ()).throw(DOWN), world.services)
        world.clock.pass_by(hours=1)
    assert world.services.circuits.of("erp").health(at_once=True).opened_at is None


def test_a_healthy_connection_costs_no_write_and_one_read_in_ten_seconds() -> None:
    world = World()
    read: list[str] = []
    real = world.cursors.get
    world.cursors.get = lambda name: (read.append(name), real(name))[1]  # type: ignore[method-assign,func-returns-value]
    before = dict(world.cursors.values)
    for _ in range(20):
        circuit.wait_seconds("erp", world.services)
        circuit.asked("erp", lambda: 1, world.services)
    assert world.cursors.values == before and world.cursors.claims == {}
    assert read == ["circuit#erp"]


def test_a_waiting_command_is_not_settled_by_waiting() -> None:
    """Waiting is no success: an exception about the very message stays open."""
    world = World()
    world.place()
    world.erp.fail("CreateSalesOrder", RetryLater("BUSY", "locked"), times=10)
    world.run()
    assert world.open_codes() == ["BUSY"]
    world.erp.allowance.pause(100)
    assert deliver.deliver(OutboundMessage(command="CreateSalesOrder", connection="erp", order_id="shop-1"), world.services) is False
    assert world.open_codes() == ["BUSY"]


def test_checks_that_met_an_outage_run_again_when_it_is_over() -> None:
    world = World()
    ends_at = world.clock.now() + timedelta(hours=3)
    real = world.erp.prices

    def prices(*asked: Any) -> Any:
        if world.clock.now() < ends_at:
            raise DOWN
        return real(*asked)

    world.erp.prices = prices  # type: ignore[method-assign]
    world.place()
    world.run(until=timedelta(minutes=1))
    assert (world.status(), world.open_codes()) == ("held", ["CHECKS_FAILED"])
    for now in rounds(world, 9):
        if world.status() == "released":
            assert now >= ends_at
            break
    assert world.status() == "released"
    assert world.open_codes() == []


def test_polls_and_counts_of_a_connection_that_is_out_do_not_pile_up() -> None:
    polls = {"shipments": {"reason": "no webhooks", "every_seconds": 300, "awaited_every_seconds": 5, "answers": ["ReleaseFulfillment"]}}
    world = World(spec(inventory={"reconcile_hours": None}), manifests={"erp": manifest("erp", "erp", list(MANIFESTS["erp"].commands), polls=polls, queries=["stock"])})
    ends_at = world.clock.now() + timedelta(hours=2)

    def out(*_: Any) -> Any:
        if world.clock.now() < ends_at:
            raise DOWN
        return []

    world.place()
    world.run(until=timedelta(seconds=1))
    world.erp.poll_answers = [DOWN] * 400  # type: ignore[list-item]
    world.erp.stock = out  # type: ignore[method-assign]
    most = 0
    for _ in rounds(world, 2):
        most = max(most, len(world.queues.messages[QueueName.OUTBOUND]))
    assert most <= 4
    assert world.open_codes() == ["ACKNOWLEDGEMENT_MISSING", "CONNECTION_DOWN"], "the order's own promise, and one for the outage"
    world.erp.poll_answers = []
    for _ in rounds(world, 0.3):
        pass
    assert "CONNECTION_DOWN" not in world.open_codes()
    assert world.cursors.get("stock#erp") is not None
