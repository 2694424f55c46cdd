"""Can a person look, edit, retry, decide and hand over, each safe to repeat and on the record?"""

from __future__ import annotations

import json
from typing import Any

import pytest

from crossdock.domain.audit import broken_links
from crossdock.domain.dead_letter import Letter
from crossdock.domain.delivery import DeliveryStatus
from crossdock.domain.errors import NeedsPerson, Rejected, RetryLater
from crossdock.domain.exception_record import ExceptionRecord, ExceptionStatus
from crossdock.domain.stage import QueueName
from crossdock.flows import dead_letters, exceptions, raise_exception
from tests.flows.world import World, an_order, event, line, spec, usd


def unmappable() -> World:
    """An order with a SKU that the tenant file does not know."""
    world = World()
    world.place(an_order(lines=[line("1", "SCREW", "3", "10")]))
    world.run()
    assert world.open_codes() == ["MISSING_XREF"]
    return world


def refused() -> World:
    """The ERP refuses the sales order."""
    world = World()
    world.erp.fail("CreateSalesOrder", Rejected("VENDOR_REFUSED", "no such customer"), times=99)
    world.place()
    world.run()
    assert world.open_codes() == ["VENDOR_REFUSED"]
    return world


def only(world: World) -> ExceptionRecord:
    return world.exceptions.listed()[0]


def edited(body: bytes, old: str, new: str) -> bytes:
    assert old.encode() in body
    return body.replace(old.encode(), new.encode())


def test_an_unmappable_order_is_edited_redriven_and_completes() -> None:
    world = unmappable()
    world.autopilot()
    found = only(world)
    kind, body = exceptions.payload(found.exception_id, world.services)
    assert kind == "delivery"
    wrong = exceptions.edit(found.exception_id, edited(body, "SCREW", "NAIL"), actor="jo", services=world.services)
    assert (wrong.ok, wrong.code) == (False, "MISSING_XREF")
    assert next(iter(world.deliveries.notes.values())).revision == 0, "an edit that would fail again is not kept"
    right = exceptions.edit(found.exception_id, edited(body, "SCREW", "BOLT"), actor="jo", services=world.services)
    assert right.ok
    assert right.events[0]["fact"]["order"]["lines"][0]["sku"] == "BOLT"
    assert world.orders.every() == [], "the pre-flight has no effect"
    assert exceptions.retry(found.exception_id, actor="jo", services=world.services, letters=world.letters) == "sent round again"
    assert only(world).status is ExceptionStatus.RETRYING
    world.run()
    assert world.status() == "completed"
    assert world.open_codes() == []
    assert world.queues.dead[QueueName.INBOUND] == []
    assert [entry.action for entry in world.exceptions.records[found.exception_id].history] == ["opened", "edited", "retried", "resolved"]
    assert world.balance().adds_up
    assert broken_links(world.audit.entries(found.subject)) == []


def test_an_edit_may_find_that_nothing_is_to_come_of_it() -> None:
    world = World()
    world.post("shop", b"{", topic="carts/update")
    assert exceptions.preflight(only(world).exception_id, b'{"facts": []}', world.services).events == ({"ignored": "a cart is no order yet"},)


def test_a_refused_command_is_mended_in_the_orders_record_and_retried() -> None:
    world = refused()
    found = only(world)
    kind, body = exceptions.payload(found.exception_id, world.services)
    assert kind == "order"
    document = json.loads(body)
    for change, code in [
        ({"order_id": "shop-2"}, "INVALID_BODY"),
        ({"lines": []}, "INVALID_BODY"),
        ({"lines": [{**document["lines"][0], "sku": "SCREW"}, document["lines"][1]]}, "MISSING_XREF"),
        ({"lines": [{**document["lines"][0], "quantity": {"value": "9", "unit": "EA"}}, document["lines"][1]]}, "NOT_EDITABLE"),
    ]:
        assert exceptions.edit(found.exception_id, json.dumps({**document, **change}).encode(), actor="jo", services=world.services).code == code
    assert exceptions.preflight(found.exception_id, b"{", world.services).problems[0].path == "(document)"
    mended = json.dumps({**document, "purchase_order": "PO-7"}).encode()
    assert exceptions.edit(found.exception_id, mended, actor="jo", services=world.services).ok
    world.erp.faults.clear()
    exceptions.retry(found.exception_id, actor="jo", services=world.services, letters=world.letters)
    world.run()
    assert world.status() == "released"
    made = world.erp.intents["CreateSalesOrder", "shop-1"]
    assert made.order.purchase_order == "PO-7"  # type: ignore[union-attr]
    assert world.open_codes() == []


def test_what_is_posted_is_not_edited_here() -> None:
    world = World()
    world.erp.fail("ReleaseFulfillment", Rejected("VENDOR_REFUSED", "no"), times=9)
    world.place()
    world.run()
    _, body = exceptions.payload(only(world).exception_id, world.services)
    assert exceptions.preflight(only(world).exception_id, body, world.services).code == "NOT_EDITABLE"


def test_a_message_without_an_order_shows_itself_and_is_not_edited() -> None:
    world = World()
    error = NeedsPerson("PART_UNKNOWN", "what is this")
    found = raise_exception.for_message(error, queue=QueueName.WORK, message="{}", subject="unreadable", connection=None, services=world.services)
    assert exceptions.payload(found.exception_id, world.services) == ("message", b"{}")
    assert exceptions.preflight(found.exception_id, b"{}", world.services).code == "NOT_EDITABLE"
    world.cancel("shop-1")
    world.run()
    announced = raise_exception.for_message(error, queue=QueueName.WORK, message="{} ", subject="shop-1", connection=None, services=world.services, order_id="shop-1")
    assert exceptions.payload(announced.exception_id, world.services)[0] == "message"


def test_a_closed_exception_is_left_alone() -> None:
    world = refused()
    found = only(world)
    exceptions.resolve(found.exception_id, decision="discard", note="a test", actor="jo", services=world.services, letters=world.letters)
    with pytest.raises(Rejected, match="ALREADY_RESOLVED"):
        exceptions.edit(found.exception_id, b"{}", actor="jo", services=world.services)
    for act in (
        lambda: exceptions.retry(found.exception_id, actor="jo", services=world.services, letters=world.letters),
        lambda: exceptions.resolve(found.exception_id, decision="discard", note="again", actor="jo", services=world.services, letters=world.letters),
    ):
        assert act() == "it is closed already: nothing to do"
    assert world.queues.dead[QueueName.OUTBOUND] == []


def test_a_success_is_not_undone_by_the_note_of_the_retry() -> None:
    """The message goes through before the command that sent it has written its note."""
    world = refused()
    world.erp.faults.clear()
    found = only(world)
    send = world.queues.send

    def goes_through_at_once(queue: QueueName, body: str, **more: Any) -> None:
        send(queue, body, **more)
        world.queues.send = send  # type: ignore[method-assign]
        world.run()

    world.queues.send = goes_through_at_once  # type: ignore[method-assign]
    exceptions.retry(found.exception_id, actor="jo", services=world.services, letters=world.letters)
    assert world.exceptions.records[found.exception_id].status is ExceptionStatus.RESOLVED
    assert world.status() == "released"


def test_a_retry_without_its_letter_sends_what_the_store_kept() -> None:
    world = unmappable()
    found = only(world)
    world.queues.dead[QueueName.INBOUND].clear()
    exceptions.retry(found.exception_id, actor="jo", services=world.services, letters=world.letters)
    world.run()
    assert world.exceptions.records[found.exception_id].occurrences == 2
    assert world.open_codes() == ["MISSING_XREF"]


def test_a_discarded_delivery_is_settled_with_its_reason() -> None:
    world = unmappable()
    exceptions.resolve(only(world).exception_id, decision="discard", note="a test order", actor="jo", services=world.services, letters=world.letters)
    assert next(iter(world.deliveries.notes.values())).status is DeliveryStatus.DISCARDED
    assert world.queues.dead[QueueName.INBOUND] == []
    assert world.balance().adds_up
    assert world.open_codes() == []


def test_an_exception_is_handed_over() -> None:
    world = refused()
    name = only(world).exception_id
    assert exceptions.assign(name, to="ann", actor="jo", services=world.services).status is ExceptionStatus.ACKNOWLEDGED
    again = exceptions.assign(name, to="bob", actor="jo", services=world.services)
    assert (again.status, again.assigned_to) == (ExceptionStatus.ACKNOWLEDGED, "bob")
    with pytest.raises(Rejected, match="NOT_FOUND"):
        exceptions.assign("nothing", to="ann", actor="jo", services=world.services)


def test_a_decision_must_fit_and_have_its_reason() -> None:
    world = refused()
    name = only(world).exception_id
    with pytest.raises(Rejected, match="INVALID_DECISION"):
        exceptions.resolve(name, decision="approve", note="x", actor="jo", services=world.services, letters=world.letters)
    with pytest.raises(Rejected, match="NOTE_MISSING"):
        exceptions.resolve(name, decision="discard", note=" ", actor="jo", services=world.services, letters=world.letters)


def test_a_fact_cannot_be_retried_and_nor_can_what_has_no_message() -> None:
    world = World()
    world.place()
    world.run()
    world.later(rounds=1, hours=2)
    with pytest.raises(Rejected, match="NOT_RETRYABLE"):
        exceptions.retry(only(world).exception_id, actor="jo", services=world.services, letters=world.letters)
    world.exceptions.records["odd"] = only(world).model_copy(update={"exception_id": "odd", "kind": "message", "queue": None})
    with pytest.raises(Rejected, match="no message belongs to it"):
        exceptions.retry("odd", actor="jo", services=world.services, letters=world.letters)
    exceptions.resolve("odd", decision="discard", note="odd", actor="jo", services=world.services, letters=world.letters)


def test_a_hold_that_does_not_say_what_it_is_cannot_be_approved() -> None:
    world = World()
    world.place(an_order(total=usd(1)))
    world.run()
    held = only(world)
    world.exceptions.records[held.exception_id] = held.model_copy(update={"hold": None})
    with pytest.raises(NeedsPerson, match="HOLD_UNKNOWN"):
        exceptions.resolve(held.exception_id, decision="approve", note="x", actor="jo", services=world.services, letters=world.letters)
    world.exceptions.records[held.exception_id] = held
    world.orders.change("shop-1", lambda current: current.model_copy(update={"waiting": None}))
    with pytest.raises(NeedsPerson, match="NOT_WAITING"):
        exceptions.resolve(held.exception_id, decision="approve", note="x", actor="jo", services=world.services, letters=world.letters)


def test_a_wrong_cross_reference_in_the_checks_cannot_be_approved_away() -> None:
    world = World(spec(articles={"SETUP": {"codes": {}}}))
    world.place(an_order(lines=[line("1", "SETUP", "1", "50", requires_shipping=False)]))
    world.run()
    with pytest.raises(Rejected, match="cannot be approved away"):
        exceptions.resolve(only(world).exception_id, decision="approve", note="x", actor="jo", services=world.services, letters=world.letters)


def test_a_retried_exception_does_not_keep_its_order_from_completing() -> None:
    """The success closes the exception before the order asks whether anything stands in its way."""
    world = World()
    world.autopilot()
    world.erp.fail("PostInvoice", Rejected("VENDOR_REFUSED", "period closed"), times=99)
    world.place()
    world.run()
    assert world.status() == "shipped"
    world.erp.faults.clear()
    exceptions.retry(only(world).exception_id, actor="jo", services=world.services, letters=world.letters)
    world.run()
    assert world.status() == "completed"


def test_an_exception_of_the_work_queue_closed_by_its_success_lets_the_order_go_on_within_minutes() -> None:
    world = World()
    world.autopilot()
    world.place()
    while world.status() != "shipped" if world.orders.get("shop-1") else True:
        world._step()
    found = raise_exception.for_message(
        RetryLater("BUSY", "x"), queue=QueueName.WORK, message="{}", subject="shop-1", connection=None, services=world.services, order_id="shop-1", dead_letter=False
    )
    world.run()
    assert world.status() == "shipped"
    raise_exception.close_for_message(QueueName.WORK, "{}", services=world.services)
    world.later(rounds=1, minutes=1)
    assert world.exceptions.records[found.exception_id].closed
    assert world.status() == "completed"


# ------------------------------------------------------------------ dead letters


def letters_of(world: World) -> list[Letter]:
    return [letter for queue in QueueName for letter in world.letters.look(queue)]


def test_a_redrive_counts_first_filters_and_is_as_good_twice_as_once() -> None:
    world = World()
    for number in (1, 2):
        world.place(an_order(number, lines=[line("1", "SCREW", "3", "10")]))
    world.post("shop", b"{}", topic="orders/teleported")
    world.run()

    def redrive(expression: str | None, **more: Any) -> dead_letters.Redriven:
        match = dead_letters.matcher(expression, lambda letter: dead_letters.describe(letter, world.services))
        return dead_letters.redrive(
            QueueName.INBOUND, letters=world.letters, services=world.services, actor="jo", match=match, per_second=1000, pause=pauses.append, **{"dry_run": False, **more}
        )

    pauses: list[float] = []
    assert redrive("code=MISSING_XREF", dry_run=True) == dead_letters.Redriven(2, 0, True)
    assert world.letters.count(QueueName.INBOUND) == 3
    assert redrive("code=MISSING_XREF,connection=shop", limit=1, on_progress=lambda sent: None) == dead_letters.Redriven(1, 1, False)
    assert redrive("code=MISSING_XREF,connection!=shop").matched == 0
    assert redrive("detail~screw").sent == 1
    assert pauses == [0.001, 0.001]
    world.run()
    assert world.open_codes() == ["MISSING_XREF", "MISSING_XREF", "UNKNOWN_EVENT"]
    assert redrive(None).sent == 3
    assert redrive(None) == dead_letters.Redriven(0, 0, False)
    assert [record.status for record in world.exceptions.listed()] == [ExceptionStatus.RETRYING] * 3


def test_a_redrive_that_dies_between_sending_and_deleting_leaves_a_copy_that_does_no_harm() -> None:
    world = refused()
    world.erp.faults.clear()
    letter = letters_of(world)[0]
    world.queues.send(QueueName.OUTBOUND, letter.body, group="erp")
    world.run()
    assert world.open_codes() == []
    for _ in range(3):
        world.watch()
    assert world.open_codes() == [], "an older copy of what has gone through contradicts nothing"
    dead_letters.redrive(QueueName.OUTBOUND, letters=world.letters, services=world.services, actor="jo", match=lambda letter: True, dry_run=False, pause=lambda seconds: None)
    world.run()
    assert world.effects_done().count(("CreateSalesOrder", "shop-1")) == 1


def test_the_same_message_dead_again_after_its_success_is_a_contradiction() -> None:
    world = refused()
    found = only(world)
    world.erp.faults.clear()
    exceptions.retry(found.exception_id, actor="jo", services=world.services, letters=world.letters)
    world.run()
    world.clock.pass_by(minutes=1)
    world.queues.send_to_dead_letters(QueueName.OUTBOUND, found.message, group="erp", exception_id=found.exception_id)
    world.watch()
    assert world.open_codes() == ["VENDOR_REFUSED"]


def test_a_message_that_a_crash_put_into_the_dead_letters_gets_its_record_within_a_minute() -> None:
    world = World()
    world.place()
    world.queues.messages[QueueName.INBOUND][0].receives = 4
    world.run()
    world.watch()
    found = only(world)
    assert (found.code, found.kind, found.queue) == ("WORKER_CRASHED", "message", QueueName.INBOUND)
    assert next(iter(world.deliveries.notes.values())).status is DeliveryStatus.EXCEPTION
    world.watch()
    assert only(world).occurrences == 1
    exceptions.retry(found.exception_id, actor="jo", services=world.services, letters=world.letters)
    world.run()
    assert world.status() == "released"
    assert world.open_codes() == []


def test_a_retried_message_that_dies_again_is_open_again() -> None:
    world = unmappable()
    found = only(world)
    exceptions.retry(found.exception_id, actor="jo", services=world.services, letters=world.letters)
    world.clock.pass_by(seconds=1)
    message = world.queues.messages[QueueName.INBOUND].pop()
    world.queues.send_to_dead_letters(QueueName.INBOUND, message.body, group="shop", exception_id="")
    world.watch()
    assert only(world).status is ExceptionStatus.OPEN
    assert only(world).code == "MISSING_XREF", "the reason that is known is kept"


def test_whatever_stands_in_the_dead_letters_can_be_looked_at() -> None:
    world = World()
    step = json.dumps({"request": "post", "order_id": "shop-1", "token": "t"})
    stuck = json.dumps({"request": "stuck", "order_id": "shop-1", "why": {"Error": "x"}})
    fact = event("erp", world.acknowledgement("shop-1.1"))
    from crossdock.domain.messages import OutboundMessage, work_body

    for queue, body, expected in [
        (QueueName.INBOUND, '{"delivery_id":"shop.a.b"}', ("shop.a.b", "shop", "")),
        (QueueName.OUTBOUND, OutboundMessage(command="PullStock", connection="erp").text(), ("erp", "erp", "PullStock")),
        (QueueName.OUTBOUND, OutboundMessage(command="PostInvoice", connection="erp", order_id="shop-1").text(), ("shop-1", "erp", "PostInvoice")),
        (QueueName.WORK, work_body(fact), ("shop-1.1", "erp", "FulfillmentAcknowledged")),
        (QueueName.WORK, step, ("shop-1", None, "post")),
        (QueueName.WORK, stuck, ("shop-1", None, "stuck")),
        (QueueName.WORK, "nonsense", ("unreadable", None, "")),
        (QueueName.INBOUND, "{}", ("unreadable", None, "")),
    ]:
        assert dead_letters.about(queue, body) == expected
        world.queues.send_to_dead_letters(queue, body, group="x", exception_id="")
    world.watch()
    assert len(world.exceptions.listed()) == 8
    shown = [dead_letters.as_json(letter, world.services) for letter in letters_of(world)]
    assert {str(one["code"]) for one in shown} == {"WORKER_CRASHED"}
    assert {type(one["message"]) for one in shown} == {dict, str}
    dead_letters.redrive(QueueName.INBOUND, letters=world.letters, services=world.services, actor="jo", match=lambda letter: True, dry_run=False, pause=lambda seconds: None)
    assert world.letters.count(QueueName.INBOUND) == 0


def test_a_letter_without_a_record_is_redriven_all_the_same() -> None:
    world = World()
    world.queues.send_to_dead_letters(QueueName.WORK, "nonsense", group="x", exception_id="")
    assert letters_of(world)[0].body == "nonsense"
    done = dead_letters.redrive(QueueName.WORK, letters=world.letters, services=world.services, actor="jo", match=lambda letter: True, dry_run=False, pause=lambda seconds: None)
    assert done.sent == 1
    assert dead_letters.describe(Letter(QueueName.WORK, "x", "1", "1", world.clock.now(), 1), world.services)["code"] == ""


@pytest.mark.parametrize("expression", ["code", "=x", "CODE=x", "code>x", "code=a,b"])
def test_a_filter_that_cannot_be_read_says_what_one_looks_like(expression: str) -> None:
    world = unmappable()
    with pytest.raises(Rejected, match="INVALID_MATCH"):
        dead_letters.matcher(expression, lambda letter: dead_letters.describe(letter, world.services))


def test_a_value_may_hold_anything_but_a_comma() -> None:
    world = unmappable()
    match = dead_letters.matcher("code=a;b", lambda letter: dead_letters.describe(letter, world.services))
    assert not match(letters_of(world)[0])


def test_a_filter_on_a_field_that_is_not_there_names_those_that_are() -> None:
    world = unmappable()
    match = dead_letters.matcher("colour=red", lambda letter: dead_letters.describe(letter, world.services))
    with pytest.raises(Rejected, match="there is no field 'colour'") as refused_filter:
        match(letters_of(world)[0])
    assert "connection" in refused_filter.value.remedy


def test_a_letter_left_behind_by_a_redrive_that_broke_off_reopens_nothing_and_a_new_one_does() -> None:
    world = World()
    world.erp.fail("CreateSalesOrder", Rejected("VENDOR_REFUSED", "posting period closed"))
    world.place()
    world.run()
    found = world.the_exception("VENDOR_REFUSED")
    (letter,) = world.queues.dead[QueueName.OUTBOUND]
    exceptions.retry(found.exception_id, actor="jo", services=world.services, letters=world.letters)
    world.clock.pass_by(minutes=1)
    world.run()
    assert world.exceptions.records[found.exception_id].closed
    world.queues.dead[QueueName.OUTBOUND].append(letter)
    world.clock.pass_by(minutes=1)
    world.watch()
    assert world.exceptions.records[found.exception_id].closed, "what stands there has gone through since"
    world.queues.send_to_dead_letters(QueueName.OUTBOUND, letter.body, group="erp", exception_id=found.exception_id)
    world.watch()
    assert not world.exceptions.records[found.exception_id].closed, "it came back after that"
