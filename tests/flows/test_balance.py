"""Can the balance fail? Whatever is lost on the way, it names it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from crossdock.domain.delivery import DeliveryStatus
from crossdock.domain.order_record import OrderStatus
from crossdock.domain.return_ import Disposition
from crossdock.domain.stage import QueueName
from crossdock.domain.stock import Reservation, ReservedLine
from crossdock.domain.tenant import Returns
from crossdock.flows import exceptions, raise_exception
from crossdock.flows.balance import Balance
from tests.flows.test_returns import a_return, a_world, ask, comes, receipt, shipped
from tests.flows.world import World, an_order, line, usd


def busy() -> World:
    """One order done, one cancelled, one held, one on its way, one unmappable message, one ignored."""
    world = World()
    world.place(an_order(1))
    world.run()
    world.tell("erp", world.dispatch("shop-1.1"))
    world.place(an_order(2))
    world.run()
    world.cancel("shop-2")
    world.place(an_order(3, total=an_order().total + an_order().total))
    world.place(an_order(4))
    stranger = an_order(5).customer.model_copy(update={"external_ids": ("stranger",)})
    world.place(an_order(5, customer=stranger))
    world.post("shop", b'{"facts": []}', topic="carts/update")
    world.run()
    return world


def test_accepted_is_done_and_held_and_exception_and_in_flight() -> None:
    found = busy().balance()
    assert found.adds_up, found
    assert (found.orders.accepted, found.orders.done, found.orders.held, found.orders.in_flight) == (4, 2, 1, 1)
    assert (found.deliveries.accepted, found.deliveries.done, found.deliveries.exception) == (8, 7, 1)
    assert found.as_json()["adds_up"] is True


def lose_an_order(world: World) -> None:
    del world.orders.records["shop-4"]


def lose_a_cancelled_order(world: World) -> None:
    del world.orders.records["shop-2"]


def lose_the_workflow(world: World) -> None:
    world.workflow.stop("shop-4")


def lose_the_start_of_the_workflow(world: World) -> None:
    del world.workflow.executions["shop-4"]


def lose_the_question(world: World) -> None:
    for record in list(world.exceptions.records.values()):
        if record.kind == "hold":
            del world.exceptions.records[record.exception_id]


def lose_the_exception_of_a_delivery(world: World) -> None:
    for record in list(world.exceptions.records.values()):
        if record.kind == "message":
            del world.exceptions.records[record.exception_id]


def lose_a_message(world: World) -> None:
    world.post("shop", b'{"at": "2026-10-05T08:00:00+00:00", "facts": []}')
    world.queues.messages[QueueName.INBOUND].clear()
    world.clock.pass_by(minutes=10)


def leave_stock_committed(world: World) -> None:
    world.stock.left["shop-1"]["BOLT", "CHI"] = Decimal(3)


def leave_stock_of_nobody(world: World) -> None:
    world.stock.reserve(Reservation(order_id="ghost", lines=(ReservedLine(sku="BOLT", location="CHI", quantity=Decimal(1)),), made_at=world.clock.now()))


@pytest.mark.parametrize(
    "loss",
    [
        lose_an_order,
        lose_a_cancelled_order,
        lose_the_workflow,
        lose_the_start_of_the_workflow,
        lose_the_question,
        lose_the_exception_of_a_delivery,
        lose_a_message,
        leave_stock_committed,
        leave_stock_of_nobody,
    ],
)
def test_an_injected_loss_is_found_and_named(loss: object) -> None:
    world = busy()
    loss(world)  # type: ignore[operator]
    found: Balance = world.balance()
    assert not found.adds_up
    assert found.deliveries.missing or found.orders.missing or found.stock_committed_without_order


def test_what_is_still_in_a_queue_is_not_lost() -> None:
    world = World()
    world.place()
    world._step()
    assert world.balance().adds_up, "translated, and its event is in the work queue"
    world._step()
    del world.workflow.executions["shop-1"]
    world.queues.send(QueueName.WORK, "{}", group="x")
    assert world.balance().orders.in_flight == 1, "its start may be among the messages"
    world.queues.messages[QueueName.WORK].clear()
    world.clock.pass_by(minutes=10)
    world.post("shop", b'{"at": "2026-10-05T08:00:00+00:00", "facts": []}')
    world.clock.pass_by(minutes=10)
    assert world.balance().deliveries.in_flight == 1


def test_an_order_whose_event_is_an_exception_is_accounted_for() -> None:
    world = World()
    world.place()
    world._step()
    message = world.queues.messages[QueueName.WORK][0]
    message.receives = 4
    world.run()
    world.watch()
    assert world.open_codes() == ["WORKER_CRASHED"]
    assert world.balance().adds_up


def test_a_delivery_a_person_discarded_is_done() -> None:
    world = World()
    world.post("shop", b'{"at": "2026-10-05T08:00:00+00:00", "facts": []}', event_id="e")
    name = next(iter(world.deliveries.notes))
    world.deliveries.settle(name, DeliveryStatus.DISCARDED, now=world.clock.now())
    assert world.balance().deliveries.done == 1


def test_an_order_with_an_open_exception_stands_there() -> None:
    world = World()
    world.place()
    world.run()
    world.clock.pass_by(hours=2)
    world.watch()
    assert world.balance().orders.exception == 1
    assert world.status() == OrderStatus.RELEASED.value


def test_a_rejected_hold_is_in_flight_until_its_workflow_has_taken_everything_back() -> None:
    world = World()
    world.place(an_order(total=usd(1)))
    world.run()
    held = world.the_exception("TOTAL_MISMATCH")
    exceptions.resolve(held.exception_id, decision="reject", note="no", actor="jo", services=world.services, letters=world.letters)
    found = world.balance()
    assert (found.orders.held, found.orders.in_flight, found.orders.missing) == (0, 1, ())
    world.workflow.stop("shop-1")
    assert world.balance().orders.missing, "and lost when nothing takes it back"


def test_a_delivery_in_exception_whose_record_was_closed_without_it_is_missed() -> None:
    world = World()
    world.place(an_order(customer=an_order().customer.model_copy(update={"external_ids": ("stranger",)})))
    world.run()
    assert world.balance().adds_up
    raise_exception.close(world.the_exception("MISSING_XREF").exception_id, actor="jo", note="closed by mistake", services=world.services)
    assert "no open exception" in world.balance().deliveries.missing[0]


def with_returns() -> World:
    """One return awaited, one held, one closed."""
    world = a_world(Returns(authorise_up_to=Decimal(40)))
    shipped(world, an_order(lines=[line("1", "BOLT", "50", "10")]))
    ask(world, a_return(("BOLT", "1"), number=1))
    ask(world, a_return(("BOLT", "9"), number=2))
    ask(world, a_return(("BOLT", "1"), number=3))
    comes(world, receipt(("BOLT", "1", Disposition.SCRAP), reference="RMA-shop-R3"))
    return world


def test_returns_are_an_account_of_their_own() -> None:
    found = with_returns().balance()
    assert found.adds_up, found
    assert (found.returns.accepted, found.returns.done, found.returns.held, found.returns.in_flight) == (3, 1, 1, 1)


def test_a_return_that_a_person_has_just_declined_is_on_its_way_until_everybody_is_told() -> None:
    world = with_returns()
    asked = world.the_exception("RETURN_AUTHORISATION").exception_id
    exceptions.resolve(asked, decision="reject", note="final sale", actor="mia", services=world.services, letters=world.letters)
    found = world.balance()
    assert (found.adds_up, found.returns.held, found.returns.in_flight) == (True, 0, 2)
    world.workflow.stop("RMA-shop-R2")
    assert not world.balance().adds_up
    world.later(2, hours=13)
    assert (world.open_codes(), world.balance().returns.exception) == (["WORKFLOW_STOPPED"], 1)


def test_a_return_that_nobody_is_asked_about_or_whose_workflow_was_stopped_is_missed() -> None:
    world = with_returns()
    raise_exception.close(world.the_exception("RETURN_AUTHORISATION").exception_id, actor="jo", note="gone", services=world.services)
    world.workflow.stop("RMA-shop-R1")
    found = world.balance()
    assert not found.adds_up
    assert found.returns.missing == (
        "return RMA-shop-R1 is authorised, its workflow does not run and no exception is open",
        "return RMA-shop-R2 is held, nobody is asked",
    )
