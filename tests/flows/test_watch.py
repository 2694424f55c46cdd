"""Does the watch find what should have happened by now, and say it once?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from crossdock.domain.errors import RetryLater
from crossdock.domain.messages import StepRequest
from crossdock.domain.order_record import OrderStatus
from crossdock.domain.stage import QueueName
from crossdock.domain.waiting import Step
from crossdock.flows import exceptions
from crossdock.flows import order as order_flow
from crossdock.flows.facts import PARKED_FOR
from tests.flows.world import MANIFESTS, World, an_order, line, manifest, usd


def released() -> World:
    world = World()
    world.place()
    world.run()
    return world


def test_deadlines_become_exceptions_once_and_close_when_the_thing_happens() -> None:
    world = released()
    world.later(rounds=4, minutes=20)
    assert world.open_codes() == ["ACKNOWLEDGEMENT_MISSING"]
    world.later(rounds=20, hours=3)
    assert world.open_codes() == ["ACKNOWLEDGEMENT_MISSING", "SHIPMENT_OVERDUE"]
    assert {record.occurrences for record in world.exceptions.records.values()} == {1}
    assert world.audit.actions("shop-1").count("ExceptionOpened") == 2
    world.tell("erp", world.dispatch("shop-1.1"))
    world.run()
    assert world.open_codes() == ["SHIPPED_LATE"]
    assert world.status() == "completed", "late, but done"


def test_a_deadline_a_person_has_settled_is_not_raised_again() -> None:
    world = released()
    world.later(rounds=1, hours=2)
    found = world.the_exception("ACKNOWLEDGEMENT_MISSING")
    exceptions.resolve(found.exception_id, decision="done", note="by telephone", actor="jo", services=world.services, letters=world.letters)
    world.later(rounds=3, hours=1)
    assert world.open_codes() == []


def test_a_part_shipped_in_part_is_still_overdue() -> None:
    world = released()
    world.tell("erp", world.dispatch("shop-1.1", "A", BOLT="1"))
    world.run()
    assert world.status() == "partially_shipped"
    world.later(rounds=2, hours=30)
    assert world.open_codes() == ["SHIPMENT_OVERDUE"]
    world.tell("erp", world.dispatch("shop-1.1", "B", BOLT="1"))
    world.run()
    assert world.open_codes() == ["SHIPMENT_OVERDUE", "SHIPPED_LATE"], "one piece is still missing"
    world.tell("erp", world.dispatch("shop-1.1", "C", BOLT="1", NUT="2"))
    world.run()
    assert set(world.open_codes()) == {"SHIPPED_LATE"}
    assert world.status() == "completed"


def test_forgotten_deliveries_are_queued_again() -> None:
    world = World()
    world.place()
    world.queues.messages[QueueName.INBOUND].clear()
    assert world.watch().deliveries == 0
    world.clock.pass_by(minutes=3)
    assert world.watch().deliveries == 1
    assert world.watch().deliveries == 0, "it was queued just now"
    world.run()
    assert world.status() == "released"


def test_an_event_that_belongs_to_nothing_becomes_an_exception_after_a_day() -> None:
    world = World()
    lines = an_order().lines
    world.tell("erp", world.dispatch_of("erp", "shop-77.1", [("BOLT", lines[0].quantity.value)]))
    world.tell("erp", world.acknowledgement("shop-77.1"))
    world.run()
    world.clock.at += PARKED_FOR - timedelta(minutes=1)
    world.watch()
    assert world.open_codes() == []
    world.clock.pass_by(minutes=1)
    assert world.watch().parked == 2
    assert world.open_codes() == ["UNMATCHED_EVENT", "UNMATCHED_EVENT"]
    assert world.queues.depth(QueueName.WORK) == 0
    record = next(record for record in world.exceptions.listed() if "Dispatched" in record.detail)
    assert len(record.message) > 1000 or "ShipmentDispatched" in record.message
    assert record.message in [message.body for message in world.queues.dead[QueueName.WORK]], "the whole message is kept"
    assert not any(world.orders.waiting_room.values())


def test_a_cancellation_whose_order_never_comes_is_raised_once_and_closed_by_a_person() -> None:
    world = World()
    world.cancel("shop-9")
    world.run()
    world.later(rounds=4, hours=25)
    assert world.open_codes() == ["ORDER_NEVER_ARRIVED"]
    assert world.the_exception("ORDER_NEVER_ARRIVED").occurrences == 1
    found = world.the_exception("ORDER_NEVER_ARRIVED")
    exceptions.resolve(found.exception_id, decision="done", note="it was a test order", actor="jo", services=world.services, letters=world.letters)
    assert world.status("shop-9") == "cancelled"
    assert world.balance().adds_up


def test_an_order_that_comes_after_all_settles_its_absence() -> None:
    world = World()
    world.cancel("shop-1")
    world.run()
    world.later(rounds=1, hours=25)
    world.place()
    world.run()
    assert world.open_codes() == []
    assert world.status() == "cancelled"


def test_a_workflow_that_was_never_started_is_started() -> None:
    world = World()
    world.place()
    world._step(), world._step()
    world.workflow.executions.clear()
    world.later(rounds=1)
    assert world.status() == "released"


def test_a_workflow_that_stopped_is_an_exception_and_can_be_started_again_and_again() -> None:
    world = released()
    for times in (1, 2):
        world.workflow.stop("shop-1")
        world.later(rounds=2, hours=24)
        assert "WORKFLOW_STOPPED" in world.open_codes()
        found = world.the_exception("WORKFLOW_STOPPED")
        assert found.occurrences == times
        assert exceptions.retry(found.exception_id, actor="jo", services=world.services, letters=world.letters) == "the workflow was started again"
        world.run()
        assert len(world.workflow.executions) == times + 1
        assert world.record().waiting.step is Step.RELEASE  # type: ignore[union-attr]
    world.tell("erp", world.dispatch("shop-1.1"))
    world.run()
    assert world.status() == "completed"
    assert len(world.effects_done()) == 4, "what was done was not done again"


def test_the_engines_own_report_of_a_stopped_workflow_is_the_same_exception() -> None:
    world = released()
    waiting = world.record().waiting
    assert waiting is not None
    world.workflow.fail(waiting.token, error="States.Timeout", cause="30 days")
    world.run()
    assert world.open_codes() == ["WORKFLOW_STOPPED"]
    world.later(rounds=2, hours=24)
    assert world.the_exception("WORKFLOW_STOPPED").occurrences == 1
    world.orders.change("shop-1", lambda current: current.model_copy(update={"status": OrderStatus.COMPLETED}))
    found = world.the_exception("WORKFLOW_STOPPED")
    exceptions.retry(found.exception_id, actor="jo", services=world.services, letters=world.letters)
    assert len(world.workflow.executions) == 1, "what is done is not started again"


def test_a_report_about_an_unknown_or_finished_order_is_nothing() -> None:
    world = World()
    world.autopilot()
    world.place()
    world.run()
    world.queues.send(QueueName.WORK, '{"request": "stuck", "order_id": "shop-1", "why": {}}', group="x")
    world.queues.send(QueueName.WORK, '{"request": "stuck", "order_id": "shop-2"}', group="x")
    world.run()
    assert world.open_codes() == []


@pytest.mark.parametrize("command", ["CreateSalesOrder", "ReleaseFulfillment", "ConfirmShipment", "PostInvoice"])
def test_a_command_that_was_lost_is_sent_again(command: str) -> None:
    world = World()
    world.autopilot()
    world.place()
    send = world.queues.send
    lost: list[str] = []

    def loses_it(queue: QueueName, body: str, **more: Any) -> None:
        if queue is QueueName.OUTBOUND and command in body and world.clock.now().hour == 8:
            lost.append(body)
        else:
            send(queue, body, **more)

    world.queues.send = loses_it  # type: ignore[method-assign]
    world.run()
    assert lost
    assert world.status() != "completed"
    world.clock.pass_by(hours=49)
    world.later(rounds=2, minutes=10)
    assert world.status() == "completed"


def test_a_worker_that_died_before_the_answer_is_helped_out() -> None:
    world = released()
    released_with = world.record().waiting.token  # type: ignore[union-attr]
    world.workflow.succeed = lambda token, output: False  # type: ignore[method-assign]
    world.tell("erp", world.dispatch("shop-1.1"))
    world.run()
    assert [execution.open for execution in world.workflow.executions.values()] == [True]
    del world.workflow.succeed  # type: ignore[attr-defined]
    order_flow.request(StepRequest(request=Step.RELEASE, order_id="shop-1", token=released_with), world.services)
    assert [execution.open for execution in world.workflow.executions.values()] == [False]
    assert (world.status(), world.open_codes()) == ("completed", [])


def test_an_order_that_cannot_be_looked_after_does_not_keep_the_watch_from_the_others() -> None:
    world = World()
    world.place(an_order(1))
    world.place(an_order(2))
    world.run()
    world.clock.pass_by(hours=2)
    real = world.workflow.running

    def breaks(order_id: str) -> bool | None:
        if order_id == "shop-1":
            raise ZeroDivisionError("a bug")
        return real(order_id)

    world.workflow.running = breaks  # type: ignore[method-assign]
    assert world.watch().orders == 2
    assert world.open_codes() == ["ACKNOWLEDGEMENT_MISSING", "ACKNOWLEDGEMENT_MISSING", "WATCH_FAILED"]
    assert world.orders.due(world.clock.now(), 10) == []

    def busy(order_id: str) -> bool | None:
        raise RetryLater("STORE_BUSY", "later")

    world.workflow.running = busy  # type: ignore[method-assign]
    world.clock.pass_by(minutes=6)
    world.watch()
    assert world.open_codes().count("WATCH_FAILED") == 1, "what is only busy is looked at again"


def test_polls_and_counts_come_in_their_rhythm_and_once() -> None:
    polls = {"shipments": {"reason": "no webhooks", "every_seconds": 300, "awaited_every_seconds": 5, "answers": []}}
    world = World(manifests={"erp": manifest("erp", "erp", list(MANIFESTS["erp"].commands), polls=polls, queries=["stock"])})
    assert world.watch().polls == 4, "one poll, two counts, one reconciliation"
    world.run()
    assert world.watch().polls == 0
    world.clock.pass_by(minutes=5)
    assert world.watch().polls == 1
    world.run()
    world.clock.pass_by(hours=7)
    assert world.watch().polls == 3


def test_an_order_that_is_gone_or_not_due_is_left_alone() -> None:
    world = released()
    real = world.orders.due
    world.orders.due = lambda now, limit: ["shop-1", "shop-9"]  # type: ignore[method-assign]
    assert world.watch().orders == 2
    world.orders.due = real  # type: ignore[method-assign]
    assert world.open_codes() == []


def test_an_order_nobody_waits_for_is_left_where_it_is() -> None:
    world = World()
    world.place(an_order(lines=[line("1", "BOLT", "1", "10")]))
    world._step(), world._step()
    world.clock.pass_by(minutes=2)
    world.watch()
    assert world.status() == "accepted"
    assert world.open_codes() == []


def test_a_rejected_order_whose_workflow_is_gone_is_noticed_and_can_be_taken_back() -> None:
    world = World()
    world.place(an_order(total=usd(1)))
    world.run()
    held = world.the_exception("TOTAL_MISMATCH")
    world.workflow.stop("shop-1")
    exceptions.resolve(held.exception_id, decision="reject", note="no", actor="jo", services=world.services, letters=world.letters)
    world.later(rounds=1, minutes=1)
    assert world.open_codes() == ["WORKFLOW_STOPPED"]
    exceptions.retry(world.the_exception("WORKFLOW_STOPPED").exception_id, actor="jo", services=world.services, letters=world.letters)
    world.run()
    assert (world.status(), world.open_codes(), world.balance().adds_up) == ("cancelled", [], True)


def test_a_sales_order_that_meets_a_stopped_workflow_is_noticed_within_minutes() -> None:
    """Not only at the next deadline: until then the order would be nobody's."""
    world = World()
    execute = world.workflow.succeed

    def stopped(token: str, output: Mapping[str, object]) -> bool:
        if "sales_order" in output:
            world.workflow.stop("shop-1")
        return execute(token, output)

    world.workflow.succeed = stopped  # type: ignore[method-assign]
    world.place()
    world.run()
    assert world.status() == "posted"
    world.later(rounds=1, minutes=2)
    assert world.open_codes() == ["WORKFLOW_STOPPED"]
    assert world.balance().adds_up
