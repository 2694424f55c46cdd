"""Does a cancellation undo exactly what was done, whenever it comes?"""

from __future__ import annotations

from crossdock.domain.errors import Rejected, UnknownOutcome
from crossdock.domain.events import FulfillmentRefused, OrderCancelled, OrderPlaced
from crossdock.domain.messages import OutboundMessage
from crossdock.domain.order_record import OrderStatus
from crossdock.domain.shipment import PartStatus
from crossdock.flows import deliver, exceptions, facts
from crossdock.flows import order as order_flow
from tests.fakes import START
from tests.flows.world import World, an_order, event, line

UNTOUCHED = {"BOLT@CHI": 100, "BOLT@DAL": 50, "BOLT@MOR": 10, "NUT@CHI": 100, "NUT@MOR": 40, "PUMP@MOR": 5, "VALVE@MOR": 36}


def _two_places(world: World) -> None:
    world.place(an_order(lines=[line("1", "BOLT", "2", "120", unit="CS"), line("2", "VALVE", "1", "120", unit="CS"), line("3", "SETUP", "1", "50", requires_shipping=False)]))


def _stock(world: World) -> dict[str, int]:
    assert all(level.committed == 0 for level in world.stock.shelf.values()), "nothing stays committed"
    return {f"{sku}@{place}": int(level.on_hand) for (sku, place), level in sorted(world.stock.shelf.items())}


def _everything_is_undone(world: World) -> None:
    assert world.status() == "cancelled"
    assert _stock(world) == UNTOUCHED
    done = world.effects_done()
    assert len(done) == len(set(done)), "no effect twice"
    for command, counter in [("CreateSalesOrder", "CancelSalesOrder"), ("ReleaseFulfillment", "CancelFulfillment")]:
        assert {name for kind, name in done if kind == command} == {name for kind, name in done if kind == counter}, f"{counter} for each {command}, and no other"
    assert world.open_codes() == []
    assert world.workflow.running("shop-1") in (False, None)
    assert world.balance().adds_up, world.balance()
    assert not [effect for effect in done if effect[0] == "CancelOrder"], "the storefront cancelled it: it needs no telling"


def _steps(autopilot: bool) -> int:
    world = World()
    if autopilot:
        world.autopilot()
    _two_places(world)
    steps = 0
    while world._step():
        steps += 1
    return steps


def test_cancelled_after_any_step_before_goods_leave_everything_is_undone() -> None:
    steps = _steps(autopilot=False)
    assert steps >= 10
    for done in range(steps + 1):
        world = World()
        _two_places(world)
        for _ in range(done):
            world._step()
        world.cancel()
        world.run()
        world.later(rounds=2)
        _everything_is_undone(world)


def test_cancelled_after_any_step_of_an_order_that_ships_it_is_undone_or_refused_as_a_whole() -> None:
    ends = set()
    for done in range(_steps(autopilot=True) + 1):
        world = World()
        world.autopilot()
        _two_places(world)
        for _ in range(done):
            world._step()
        world.cancel()
        world.run()
        world.later(rounds=2)
        ends.add(world.status())
        if world.status() == "cancelled":
            _everything_is_undone(world)
            continue
        assert world.open_codes() == ["CANCEL_REFUSED"]
        record = world.record()
        assert all(part.status.value in ("shipped", "cancelled") for part in record.parts)
        assert all(booked.confirmed and booked.invoice_number for booked in record.shipments)
        assert world.stock.outstanding() == [], "what was called back is free again, what left is gone"
        found = world.the_exception("CANCEL_REFUSED")
        exceptions.resolve(found.exception_id, decision="done", note="a return is agreed", actor="jo", services=world.services, letters=world.letters)
        world.run()
        assert world.status() == "completed"
        assert not world.workflow.running("shop-1")
        assert world.balance().adds_up
    assert ends == {"cancelled", "shipped", "completed"}


def test_a_cancellation_before_its_order_lets_nothing_start() -> None:
    world = World()
    world.cancel()
    world.cancel()
    world.run()
    assert world.status() == "announced"
    world.place()
    world.run()
    _everything_is_undone(world)
    assert world.effects_done() == []


def test_a_cancellation_between_the_look_for_the_order_and_its_acceptance_is_not_lost() -> None:
    """The order is announced when the second cancellation reads it, and accepted before that one writes."""
    world = World()
    world.cancel(event_id="first")
    world.run()
    world.orders.change("shop-1", lambda current: current.model_copy(update={"cancel_requested_at": None}))
    world.orders.before_write.append(lambda: world.place() and world.run())
    world.cancel(event_id="second")
    world.run()
    _everything_is_undone(world)


def test_a_repeated_cancellation_of_a_shipped_order_stays_refused_once() -> None:
    world = World()
    world.autopilot()
    world.place()
    world.run()
    assert world.status() == "completed"
    cancelled = OrderCancelled(order_id="shop-1", reason="late", cancelled_at=START)
    for _ in range(3):
        world.tell("shop", cancelled, topic="orders/cancelled")
        world.run()
    assert world.the_exception("CANCEL_REFUSED").occurrences == 1
    found = world.the_exception("CANCEL_REFUSED")
    world.clock.pass_by(minutes=1)
    exceptions.resolve(found.exception_id, decision="done", note="return agreed", actor="jo", services=world.services, letters=world.letters)
    world.tell("shop", cancelled, topic="orders/cancelled")
    world.run()
    assert world.open_codes() == [], "the same cancellation again contradicts nothing"


def test_a_cancellation_when_everything_has_left_is_refused_and_the_order_is_billed() -> None:
    world = World()
    world.shop.fail("ConfirmShipment", Rejected("VENDOR_REFUSED", "busy"), times=99)
    world.autopilot()
    world.place()
    world.run()
    assert world.status() == "shipped"
    world.cancel()
    world.cancel()
    world.run()
    assert world.open_codes() == ["CANCEL_REFUSED", "VENDOR_REFUSED"]
    seen = world.the_exception("VENDOR_REFUSED").occurrences
    world.later(rounds=30, minutes=6)
    assert world.the_exception("VENDOR_REFUSED").occurrences == seen, "it is not tried again behind the person's back"
    world.shop.faults.clear()
    for code, decision in [("VENDOR_REFUSED", None), ("CANCEL_REFUSED", "done")]:
        found = world.the_exception(code)
        if decision is None:
            exceptions.retry(found.exception_id, actor="jo", services=world.services, letters=world.letters)
        else:
            exceptions.resolve(found.exception_id, decision=decision, note="agreed", actor="jo", services=world.services, letters=world.letters)
        world.run()
    assert world.status() == "completed"


def test_a_release_that_left_the_queue_late_is_not_carried_out_for_a_part_that_was_called_back() -> None:
    """The cancellation was refused for the other part, so the order lives; this part must not be released any more."""
    world = World()
    _two_places(world)
    world.run()
    world.threepl.shipped_parts.add("shop-1.2")
    world.cancel()
    world.run()
    assert world.part("shop-1.1").status.value == "cancelled"
    assert world.status() == "released"
    world.effects.ledger.pop("erp#ReleaseFulfillment#shop-1.1")
    before = world.effects_done()
    deliver.deliver(OutboundMessage(command="ReleaseFulfillment", connection="erp", order_id="shop-1", part_id="shop-1.1"), world.services)
    assert world.effects_done() == before


def test_the_echo_of_our_own_cancellation_is_no_refusal() -> None:
    world = World()
    _two_places(world)
    world.run()
    world.threepl.shipped_parts.add("shop-1.2")
    world.cancel()
    world.run()
    echo = FulfillmentRefused(part_reference="shop-1.1", reason="cancelled", final=True, refused_at=START)
    world.tell("erp", echo)
    world.run()
    assert world.open_codes() == ["CANCEL_REFUSED"]


def test_an_unknown_outcome_is_looked_up_before_it_is_undone() -> None:
    """The answer to the release is lost and the customer cancels: what really happened decides what is to be undone."""
    for after_commit in (True, False):
        world = World()
        world.erp.fail("ReleaseFulfillment", UnknownOutcome("UNKNOWN_OUTCOME", "no answer"), after_commit=after_commit)
        _two_places(world)
        while not any(effect.state.value == "unknown" for effect in world.effects.ledger.values()):
            assert world._step()
        world.cancel()
        world.run()
        world.later(rounds=1)
        _everything_is_undone(world)
        assert (("ReleaseFulfillment", "shop-1.1") in world.effects_done()) is after_commit


def test_a_refused_cancellation_in_the_erp_waits_for_a_person() -> None:
    world = World()
    world.erp.fail("CancelSalesOrder", Rejected("VENDOR_REFUSED", "the period is closed"), times=99)
    _two_places(world)
    world.run()
    world.cancel()
    world.run()
    world.later(rounds=3, minutes=6)
    assert world.status() == "cancelling"
    assert world.open_codes() == ["VENDOR_REFUSED"]
    assert world.the_exception("VENDOR_REFUSED").occurrences == 1, "the watch leaves it to the person"
    assert world.balance().adds_up
    world.erp.faults.clear()
    exceptions.retry(world.the_exception("VENDOR_REFUSED").exception_id, actor="jo", services=world.services, letters=world.letters)
    world.run()
    _everything_is_undone(world)


def test_the_storefront_is_told_of_our_own_cancellation() -> None:
    world = World()
    _two_places(world)
    world.run()
    order_flow.request_cancel("shop-1", reason="fraud", tell_source=True, actor="jo", services=world.services)
    world.run()
    assert world.status() == "cancelled"
    assert ("CancelOrder", "shop-1") in world.effects_done()


def test_a_source_that_cannot_be_told_is_not_told() -> None:
    world = World()
    order = an_order(lines=[line("1", "BOLT", "1", "10")]).model_copy(update={"order_id": "direct-1", "connection": "direct"})
    facts.apply(event("direct", OrderPlaced(order=order.model_copy(update={"customer": order.customer.model_copy(update={"account": "C10010"})}))), world.services)
    world.run()
    order_flow.request_cancel("direct-1", reason="fraud", tell_source=True, actor="jo", services=world.services)
    world.run()
    assert world.status("direct-1") == "cancelled"
    assert not [effect for effect in world.effects_done() if effect[0] == "CancelOrder"]


def test_a_check_that_outlives_its_workflow_commits_nothing_for_a_cancelled_order() -> None:
    world = World()
    _two_places(world)
    world._step(), world._step()
    record = world.record()
    world.stock.before_reserve.append(lambda: (world.cancel(), world.workflow.stop("shop-1"), _force_cancelled(world)))
    assert record.parts == ()
    assert order_flow.reserve("shop-1", world.services) == {"outcome": "cancelled"}
    assert world.stock.outstanding() == []


def _force_cancelled(world: World) -> None:
    world.orders.change("shop-1", lambda current: current.model_copy(update={"status": OrderStatus.CANCELLED}))


def test_shipment_while_the_cancellation_is_being_finished_is_not_swept_away() -> None:
    """The goods leave between the look at the parts and the last write."""
    world = World()
    _two_places(world)
    world.run()
    dispatched = world.dispatch("shop-1.2")
    release = world.stock.release
    told = []

    def leaves_first(*arguments: object, **named: object) -> None:
        if not told:
            told.append(1)
            world.orders.change(
                "shop-1", lambda current: current.model_copy(update={"parts": tuple(part.model_copy(update={"status": PartStatus.RELEASED}) for part in current.parts)})
            )
            facts.book(
                "shop-1",
                "shop-1.2",
                dispatched.shipment.model_copy(update={"lines": tuple(one.model_copy(update={"sku": "VALVE"}) for one in dispatched.shipment.lines)}),
                source="threepl",
                services=world.services,
            )
        release(*arguments, **named)  # type: ignore[arg-type]

    world.stock.release = leaves_first  # type: ignore[method-assign]
    world.cancel()
    world.run()
    assert world.status() != "cancelled"
    assert "CANCEL_REFUSED" in world.open_codes()


def test_a_refused_cancellation_is_not_begun_again_by_its_repeats() -> None:
    world = World()
    _two_places(world)
    world.run()
    world.threepl.shipped_parts.add("shop-1.2")
    for _ in range(3):
        world.cancel()
        world.run()
    assert world.status() == "released"
    assert world.audit.actions("shop-1").count("CancellationRequested") == 1
    assert [state for state, _ in world.workflow.answers].count("Compensate") == 1
