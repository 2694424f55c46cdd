"""Whatever comes a second time, too late, or in the gap between a read and a write: does it do no harm?"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from crossdock.domain.effect import EffectState
from crossdock.domain.errors import NeedsPerson, Rejected
from crossdock.domain.events import OrderUpdated, ShipmentDispatched
from crossdock.domain.order_record import OrderStatus
from crossdock.domain.stage import QueueName
from crossdock.flows import deliver, exceptions, facts, progress, raise_exception
from crossdock.flows import order as order_flow
from tests.fakes import START
from tests.flows.test_deliver import POLL, POLLS
from tests.flows.world import ADDRESS, MANIFESTS, World, an_order, event, line, manifest, usd


def released(lines: list[Any] | None = None) -> World:
    world = World()
    world.place(an_order(lines=lines))
    world.run()
    return world


def test_the_checks_of_a_cancelled_order_say_so() -> None:
    world = World()
    world.place()
    world._step(), world._step()
    world.orders.change("shop-1", lambda current: current.model_copy(update={"cancel_requested_at": START}))
    checks = (order_flow.validate, order_flow.check_price, order_flow.check_credit, order_flow.reserve)
    assert [check("shop-1", world.services) for check in checks] == [order_flow.CANCELLED] * 4


def test_a_hand_over_that_another_worker_has_done_is_not_done_again() -> None:
    world = World()
    world.place(an_order(lines=[line("1", "SETUP", "1", "50", requires_shipping=False)]))
    world.run()
    record = world.record()
    before = record.model_copy(update={"parts": tuple(part.model_copy(update={"status": "planned"}) for part in record.parts)})
    assert progress._hand_over(before.model_validate(before.model_dump(warnings=False)), world.services) == record


def test_whoever_died_between_a_hand_over_and_its_telling_is_made_good_at_the_next_look() -> None:
    world = World()
    send = world.queues.send

    def dies(queue: QueueName, body: str, **more: Any) -> None:
        if "ConfirmShipment" not in body and "PostInvoice" not in body:
            send(queue, body, **more)

    world.queues.send = dies  # type: ignore[method-assign]
    world.place(an_order(lines=[line("1", "SETUP", "1", "50", requires_shipping=False)]))
    world.run()
    assert world.status() == "shipped"
    world.queues.send = send  # type: ignore[method-assign]
    progress.advance("shop-1", world.services)
    world.run()
    assert world.status() == "completed"


def test_two_workers_that_complete_an_order_complete_it_once() -> None:
    world = World()
    world.autopilot()
    world.place()
    world.run()
    progress._complete(world.record(), world.services)
    assert world.audit.actions("shop-1").count("OrderCompleted") == 1


def test_an_order_whose_status_was_left_behind_completes_all_the_same() -> None:
    world = World()
    world.shop.fail("ConfirmShipment", Rejected("VENDOR_REFUSED", "x"), times=9)
    world.autopilot()
    world.place()
    world.run()
    world.orders.change("shop-1", lambda current: current.model_copy(update={"status": OrderStatus.RELEASED}))
    world.shop.faults.clear()
    exceptions.retry(world.the_exception("VENDOR_REFUSED").exception_id, actor="jo", services=world.services, letters=world.letters)
    world.run()
    assert world.status() == "completed"


@pytest.mark.parametrize("state", [EffectState.INTENDED, EffectState.UNKNOWN])
def test_a_cancellation_waits_for_a_sales_order_nobody_knows_of(state: EffectState) -> None:
    world = released()
    world.effects.ledger["erp#CreateSalesOrder#shop-1"] = world.effects.ledger["erp#CreateSalesOrder#shop-1"].model_copy(update={"state": state})
    world.cancel()
    world.run()
    assert world.status() == "cancelling"
    assert ("CancelSalesOrder", "shop-1") not in world.effects_done()


def test_a_cancellation_waits_for_what_was_done_and_is_not_noted_yet() -> None:
    """The effect stands on the ledger; the worker that did it has not come to write it into the order."""
    for forget in (
        {"parts": lambda record: tuple(part.model_copy(update={"external_id": None}) for part in record.parts)},
        {"sales_order": lambda record: None},
    ):
        world = released()
        world.orders.change("shop-1", lambda current, forget=forget: current.model_copy(update={name: make(current) for name, make in forget.items()}))  # type: ignore[misc]
        world.cancel()
        world.run()
        assert world.status() == "cancelling"
        assert world.open_codes() == []


def test_small_steps_of_a_cancellation_are_harmless_twice() -> None:
    world = released()
    world.cancel()
    world.run()
    record = world.record()
    assert record.status is OrderStatus.CANCELLED
    assert progress._part_cancelled(record, "shop-1.1") is None
    assert progress._part_cancelled(record, "shop-1.9") is None
    progress._cancel_refused(record, world.services)
    assert world.status() == "cancelled", "it is answered already"


def test_marking_and_unmarking_an_order_twice_changes_nothing() -> None:
    world = released()
    found = raise_exception.business("FULFILLMENT_REFUSED", "x", record=world.record(), services=world.services)
    stale = world.record().model_copy(update={"open_exceptions": ()})
    version = world.record().version
    raise_exception._mark_order(stale, found.exception_id, world.services)
    assert world.record().version == version
    assert raise_exception._without(stale, found.exception_id, START) is None


def test_two_that_close_an_exception_at_once_close_it_once() -> None:
    world = released()
    found = raise_exception.business("FULFILLMENT_REFUSED", "x", record=world.record(), services=world.services)
    change = world.exceptions.change

    def closed_by_another(name: str, decide: Any) -> Any:
        world.exceptions.change = change  # type: ignore[method-assign]
        raise_exception.close(name, actor="ann", note="first", services=world.services)
        return change(name, decide)

    world.exceptions.change = closed_by_another  # type: ignore[method-assign]
    raise_exception.close(found.exception_id, actor="jo", note="second", services=world.services)
    assert [entry.actor for entry in world.exceptions.records[found.exception_id].history] == ["crossdock", "ann"]


def test_a_closed_exception_that_still_stands_on_its_order_is_taken_off() -> None:
    world = released()
    found = raise_exception.business("FULFILLMENT_REFUSED", "x", record=world.record(), services=world.services)
    raise_exception.close(found.exception_id, actor="jo", note="done", services=world.services)
    world.orders.change("shop-1", lambda current: current.model_copy(update={"open_exceptions": (found.exception_id,)}))
    exceptions.resolve(found.exception_id, decision="done", note="again", actor="jo", services=world.services, letters=world.letters)
    assert world.record().open_exceptions == ()
    assert world.audit.actions("shop-1").count("ExceptionResolved") == 1


def test_an_exception_without_an_order_is_closed_and_left_alone() -> None:
    world = World()
    world.post("shop", b"{}", topic="orders/teleported")
    world.run()
    found = world.exceptions.listed()[0]
    for _ in range(2):
        exceptions.resolve(found.exception_id, decision="discard", note="not ours", actor="jo", services=world.services, letters=world.letters)
    world.exceptions.records["odd"] = found.model_copy(update={"exception_id": "odd", "kind": "business", "queue": None, "status": "open"})
    assert exceptions.resolve("odd", decision="done", note="seen", actor="jo", services=world.services, letters=world.letters) == "closed"
    world.cancel("shop-9")
    world.run()
    world.later(rounds=1, hours=25)
    world.orders.change("shop-9", lambda current: current.model_copy(update={"status": OrderStatus.ACCEPTED}))
    absent = world.the_exception("ORDER_NEVER_ARRIVED")
    exceptions.resolve(absent.exception_id, decision="done", note="it is here", actor="jo", services=world.services, letters=world.letters)
    assert world.status("shop-9") == "accepted"


def test_a_retry_without_a_letter_touches_only_what_waits_for_it() -> None:
    world = World()
    error = NeedsPerson("PART_UNKNOWN", "x")
    outbound = raise_exception.for_message(error, queue=QueueName.OUTBOUND, message="{}", subject="shop-1", connection=None, services=world.services, dead_letter=False)
    exceptions.retry(outbound.exception_id, actor="jo", services=world.services, letters=world.letters)
    inbound = raise_exception.for_message(error, queue=QueueName.INBOUND, message='{"delivery_id":"x"}', subject="x", connection=None, services=world.services, dead_letter=False)
    exceptions.retry(inbound.exception_id, actor="jo", services=world.services, letters=world.letters)
    assert [queue for queue, _ in world.queues.sent] == [QueueName.OUTBOUND, QueueName.INBOUND]
    world.watch()
    assert {record.status.value for record in world.exceptions.listed()} == {"retrying"}


def test_a_held_order_that_is_looked_at_early_is_looked_at_again_at_its_deadline() -> None:
    world = World()
    world.place(an_order(total=usd(1)))
    world.run()
    deadline = world.the_exception("TOTAL_MISMATCH").due_at
    world.orders.change("shop-1", lambda current: current.model_copy(update={"due_at": world.clock.now()}))
    world.watch()
    assert world.record().due_at == deadline


def test_a_shipment_that_names_an_order_without_parts_waits_for_them() -> None:
    world = World()
    told = world.dispatch_of("erp", "", [("BOLT", line("x", "BOLT", "3", "1").quantity.value)])
    fact = ShipmentDispatched(shipment=told.shipment.model_copy(update={"order_id": "shop-1"}))
    world.place()
    world._step(), world._step()
    facts.apply(
        event("erp", fact.model_copy(update={"shipment": fact.shipment.model_copy(update={"lines": (fact.shipment.lines[0].model_copy(update={"sku": "BOLT"}),)})})), world.services
    )
    assert world.orders.parked("shop-1")
    world.run()
    assert world.part("shop-1.1").shipped


def test_a_correction_stays_corrected_when_the_storefront_repeats_the_old_name() -> None:
    """A person has mended the SKU and the account of an order; its next version comes with the old ones."""
    world = World()
    stranger = an_order().customer.model_copy(update={"external_ids": ("stranger",)})
    wrong = an_order(lines=[line("1", "SCREW", "3", "10")], ship_to=ADDRESS.model_copy(update={"city": ""}), customer=stranger)
    world.place(wrong)
    world.run()
    found = world.the_exception("MISSING_XREF")
    body = exceptions.payload(found.exception_id, world.services)[1].replace(b"SCREW", b"BOLT").replace(b'"stranger"', b'"company-1"')
    assert exceptions.edit(found.exception_id, body, actor="jo", services=world.services).ok
    exceptions.retry(found.exception_id, actor="jo", services=world.services, letters=world.letters)
    world.run()
    assert world.open_codes() == ["ADDRESS_INCOMPLETE"]
    world.tell("shop", OrderUpdated(order=wrong.model_copy(update={"source_version": "2026-10-05T09:00:00Z", "ship_to": ADDRESS})), topic="orders/updated")
    world.run()
    placed = world.record().placed
    assert (placed.lines[0].sku, placed.customer.account, placed.ship_to.city) == ("BOLT", "C10010", "Joliet")
    world.tell("shop", OrderUpdated(order=an_order(7, lines=[line("1", "SCREW", "3", "10")])), topic="orders/updated")
    world.run()
    assert world.open_codes() == ["ADDRESS_INCOMPLETE", "MISSING_XREF"], "an order that is not here has nothing to go by"


def test_polling_goes_on_while_something_is_out_and_stops_when_all_is_in() -> None:
    world = World(manifests={"erp": manifest("erp", "erp", list(MANIFESTS["erp"].commands), polls=POLLS)})
    world.place()
    world.run(until=timedelta(seconds=1))
    world.clock.at += timedelta(seconds=2 * 5 * deliver.AWAITED_ROUNDS)
    before = len(world.queues.sent)
    deliver.poll(POLL, world.services)
    assert len(world.queues.sent) == before + 1, "the part is still out"
    world.orders.records.clear()
    world.clock.at += timedelta(seconds=2 * 5 * deliver.AWAITED_ROUNDS)
    deliver.poll(POLL, world.services)
    deliver.poll(POLL, world.services)
    assert len(world.queues.sent) == before + 1
    assert not world.cursors.get("awaited#erp#shipments")


def test_a_command_for_an_order_that_vanished_in_between_is_made_from_what_was_read() -> None:
    world = World()
    world.place()
    for _ in range(3):
        world._step()
    record = world.record()
    answers = iter([record, None])
    real = world.orders.get
    world.orders.get = lambda order_id: next(answers, real(order_id))  # type: ignore[method-assign]
    message = next(body for queue, body in world.queues.sent if queue is QueueName.WORK)
    assert json.loads(message)
    from tests.flows.test_deliver import CREATE

    deliver.deliver(CREATE, world.services)
    assert world.effects_done() == [("CreateSalesOrder", "shop-1")]


def test_a_refusal_of_an_unknown_kind_is_not_dealt_with_here() -> None:
    from tests.flows.test_deliver import CREATE

    assert deliver.refused(CREATE, Rejected("VENDOR_REFUSED", "x"), World().services) is False
