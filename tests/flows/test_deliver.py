"""Does a command reach its system exactly once, whatever breaks on the way?"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from crossdock.domain.commands import CreateSalesOrder, PostInvoice, ReleaseFulfillment
from crossdock.domain.connector import PollResult
from crossdock.domain.effect import EffectState
from crossdock.domain.errors import ContractDrift, CrossdockError, NeedsPerson, Rejected, RetryLater, UnknownOutcome
from crossdock.domain.messages import OutboundMessage
from crossdock.domain.stage import QueueName
from crossdock.domain.stock import StockReading
from crossdock.flows import commands_of, deliver, facts
from tests.fakes import START, polled
from tests.flows.world import MANIFESTS, World, an_order, line, manifest, spec, usd

CREATE = OutboundMessage(command="CreateSalesOrder", connection="erp", order_id="shop-1")
KEY = "erp#CreateSalesOrder#shop-1"
LOST = UnknownOutcome("UNKNOWN_OUTCOME", "no answer")


def reserved() -> World:
    """An order whose stock is reserved, with its first command still unsent."""
    world = World()
    world.place()
    for _ in range(3):
        world._step()
    assert world.record().parts
    assert world.effects_done() == []
    return world


def test_a_write_that_ran_into_its_timeout_is_not_believed_absent_while_the_other_side_may_still_work_on_it() -> None:
    world = reserved()
    world.erp.fail("CreateSalesOrder", UnknownOutcome("UNKNOWN_OUTCOME", "no answer in time", settles_in_seconds=60), after_commit=True)
    with pytest.raises(UnknownOutcome) as slow:
        deliver.deliver(CREATE, world.services)
    assert slow.value.after_seconds == 61

    world.clock.pass_by(seconds=30)
    with pytest.raises(RetryLater, match="too early") as early:
        deliver.deliver(CREATE, world.services)
    assert world.erp.look_ups == 0
    assert early.value.after_seconds == 31

    world.clock.pass_by(seconds=30)
    deliver.deliver(CREATE, world.services)
    assert world.effects_done() == [("CreateSalesOrder", "shop-1")]


def test_a_command_delivered_twice_is_done_once() -> None:
    world = reserved()
    for _ in range(3):
        deliver.deliver(CREATE, world.services)
    assert world.effects_done() == [("CreateSalesOrder", "shop-1")]
    assert world.audit.actions("shop-1").count("SalesOrderPosted") == 1


@pytest.mark.parametrize("after_commit", [True, False])
def test_an_answer_that_never_came_is_looked_up_before_anything_is_written_again(after_commit: bool) -> None:
    world = reserved()
    world.erp.fail("CreateSalesOrder", LOST, after_commit=after_commit)
    with pytest.raises(UnknownOutcome) as lost:
        deliver.deliver(CREATE, world.services)
    assert lost.value.after_seconds == LOST.settles_in_seconds + 1
    with pytest.raises(RetryLater, match="too early"):
        deliver.deliver(CREATE, world.services)
    assert world.erp.look_ups == 0
    world.clock.pass_by(seconds=LOST.settles_in_seconds)
    deliver.deliver(CREATE, world.services)
    assert world.erp.look_ups == 1
    assert world.effects_done() == [("CreateSalesOrder", "shop-1")]
    effect = world.effects.get(KEY)
    assert effect is not None
    assert effect.state is EffectState.CONFIRMED
    assert effect.receipt is not None
    assert effect.receipt.found is after_commit
    assert ("EffectFound" in world.audit.actions("shop-1")) is after_commit


def test_a_look_up_that_fails_leaves_the_outcome_unknown() -> None:
    world = reserved()
    world.erp.fail("CreateSalesOrder", LOST, after_commit=True)
    with pytest.raises(UnknownOutcome):
        deliver.deliver(CREATE, world.services)
    world.clock.pass_by(seconds=5)
    world.erp.look_up_faults.append(RetryLater("VENDOR_UNAVAILABLE", "down"))
    with pytest.raises(RetryLater, match="down"):
        deliver.deliver(CREATE, world.services)
    effect = world.effects.get(KEY)
    assert effect is not None
    assert effect.state is EffectState.UNKNOWN
    world.clock.pass_by(seconds=5)
    deliver.deliver(CREATE, world.services)
    assert world.effects_done() == [("CreateSalesOrder", "shop-1")]


def test_a_failed_attempt_is_never_remembered_as_success() -> None:
    world = reserved()
    world.erp.fail("CreateSalesOrder", Rejected("VENDOR_REFUSED", "no"))
    with pytest.raises(Rejected):
        deliver.deliver(CREATE, world.services)
    effect = world.effects.get(KEY)
    assert effect is not None
    assert effect.state is EffectState.FAILED
    deliver.deliver(CREATE, world.services)
    assert world.effects_done() == [("CreateSalesOrder", "shop-1")]


def test_within_the_lease_nobody_else_calls_and_after_it_only_one_looks_up() -> None:
    world = reserved()
    mine, effect = world.effects.begin(KEY, order_id="shop-1", now=world.clock.now(), lease_seconds=deliver.LEASE_SECONDS)
    assert mine
    waits = 0
    for _ in range(10):  # as many tries as the queue gives
        with pytest.raises(RetryLater, match="BUSY") as busy:
            deliver.deliver(CREATE, world.services)
        waits += busy.value.after_seconds or 0
        if waits >= deliver.LEASE_SECONDS:
            break
        world.clock.pass_by(seconds=busy.value.after_seconds or 0)
    assert waits >= deliver.LEASE_SECONDS, "its tries must outlast the lease of a worker that died"
    world.clock.pass_by(seconds=20)
    assert world.effects.take_over(effect, now=world.clock.now(), lease_seconds=60) is not None
    stale = effect.model_copy(update={"state": EffectState.INTENDED})
    world.effects.begin = lambda key, **more: (False, stale)  # type: ignore[method-assign]
    with pytest.raises(RetryLater, match="being looked up"):
        deliver.deliver(CREATE, world.services)
    assert world.erp.look_ups == 0


def test_two_invoices_of_one_order_are_never_posted_at_once() -> None:
    world = World()
    world.place()
    world.run()
    dispatched = world.dispatch("shop-1.1")
    world.cursors.claim("invoice#shop-1", until=world.clock.now() + timedelta(seconds=60), now=world.clock.now())
    world.tell("erp", dispatched)
    while world._step():
        pass
    assert not [effect for effect in world.effects_done() if effect[0] == "PostInvoice"]
    world.run()
    assert world.status() == "completed"
    assert world.open_codes() == []


def test_invoices_tell_the_erp_what_was_invoiced_before() -> None:
    world = World()
    world.place(an_order(lines=[line("1", "BOLT", "3", "10")]))
    world.run()
    world.tell("erp", world.dispatch("shop-1.1", "A", BOLT="1"), world.dispatch("shop-1.1", "B", BOLT="2"))
    world.run()
    posted = [intent for (kind, _), intent in world.erp.intents.items() if kind == "PostInvoice"]
    assert [(intent.lines[0].quantity, intent.lines[0].invoiced_before, intent.already_shipped) for intent in posted if isinstance(intent, PostInvoice)] == [
        (1, 0, True),
        (2, 1, True),
    ]
    assert all(intent.lines[0].erp_line_id == "10000" for intent in posted if isinstance(intent, PostInvoice))
    assert world.status() == "completed"


def test_a_shipment_of_the_3pl_is_shipped_and_invoiced_by_the_erp() -> None:
    world = World()
    world.place(an_order(lines=[line("1", "VALVE", "2", "120", unit="CS")]))
    world.run()
    assert isinstance(released := world.threepl.intents["ReleaseFulfillment", "shop-1.1"], ReleaseFulfillment)
    assert (released.location_code, released.skus, released.sales_order_id) == ("129", {"VALVE": "TP-VALVE"}, "SO-shop-1")
    world.tell("threepl", world.dispatch("shop-1.1"))
    world.run()
    posted = world.erp.intents["PostInvoice", "threepl-S-shop-1.1"]
    assert isinstance(posted, PostInvoice)
    assert posted.already_shipped is False
    assert [line.quantity for line in posted.lines] == [2], "in the ordered unit, though the 3PL counts pieces"


def test_a_split_line_goes_to_the_erp_once_per_location_and_its_discount_stays_whole() -> None:
    world = World()
    world.place(an_order(lines=[line("1", "BOLT", "130", "10", discount="0.10"), line("2", "NUT", "0", "5")]))
    world.run()
    made = world.erp.intents["CreateSalesOrder", "shop-1"]
    assert isinstance(made, CreateSalesOrder)
    assert [(line.location_code, line.erp_sku, line.erp_unit, line.quantity) for line in made.lines] == [("CHI", "70010", "PCS", 100), ("DAL", "70010", "PCS", 30)]
    assert sum(line.discount.amount for line in made.lines) == Decimal("0.10")
    assert made.account == "C10010"


def test_a_source_that_takes_no_confirmation_is_not_confirmed_to() -> None:
    world = World(manifests={"shop": manifest("shop", "storefront", ["CancelOrder"])})
    world.autopilot()
    world.place()
    world.run()
    assert world.status() == "completed"
    assert not [effect for effect in world.effects_done() if effect[0] == "ConfirmShipment"]
    assert "ConfirmShipmentNotApplicable" in world.audit.actions("shop-1")
    with pytest.raises(NeedsPerson, match="COMMAND_NOT_SUPPORTED"):
        deliver.deliver(OutboundMessage(command="PostInvoice", connection="shop", order_id="shop-1"), world.services)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (OutboundMessage(command="CreateSalesOrder", connection="erp", order_id="shop-9"), "ORDER_UNKNOWN"),
        (OutboundMessage(command="CreateSalesOrder", connection="erp"), "ORDER_UNKNOWN"),
        (OutboundMessage(command="ReleaseFulfillment", connection="erp", order_id="shop-1", part_id="shop-1.9"), "PART_UNKNOWN"),
        (OutboundMessage(command="CancelFulfillment", connection="erp", order_id="shop-1", part_id="shop-1.1"), "PART_UNKNOWN"),
        (OutboundMessage(command="CancelSalesOrder", connection="erp", order_id="shop-1"), "SALES_ORDER_MISSING"),
        (OutboundMessage(command="PostInvoice", connection="erp", order_id="shop-1", shipment_id="nothing"), "SHIPMENT_UNKNOWN"),
    ],
)
def test_a_command_that_cannot_be_made_is_a_persons_business(message: OutboundMessage, code: str) -> None:
    world = reserved()
    with pytest.raises(CrossdockError) as refused:
        deliver.deliver(message, world.services)
    assert refused.value.code == code
    assert world.effects.ledger == {}


def test_a_command_nobody_knows_is_a_persons_business() -> None:
    world = reserved()
    with pytest.raises(NeedsPerson, match="UNKNOWN_COMMAND"):
        commands_of.intent_of(OutboundMessage(command="Dance", connection="erp", order_id="shop-1"), world.record(), world.services)


def test_an_announced_order_has_nothing_to_post() -> None:
    world = World()
    world.cancel()
    world.run()
    with pytest.raises(Rejected, match="announced but not received"):
        deliver.deliver(CREATE, world.services)


def test_a_posting_that_finds_the_order_shipped_already_notes_how_far_it_is() -> None:
    """The warehouse worked from paper: its shipment is known before the sales order's answer."""
    world = reserved()
    world.tell("erp", world.dispatch("shop-1.1"))
    while world._step():
        pass
    assert world.status() in ("shipped", "completed")


def test_a_refused_cancellation_is_an_answer_and_other_refusals_are_not() -> None:
    world = World()
    world.place()
    world.run()
    cancel = OutboundMessage(command="CancelFulfillment", connection="erp", order_id="shop-1", part_id="shop-1.1")
    assert deliver.refused(cancel, Rejected("ALREADY_SHIPPED", "gone"), world.services)
    assert world.part("shop-1.1").cancel_refused
    assert deliver.refused(cancel, Rejected("ALREADY_SHIPPED", "gone"), world.services)
    assert world.audit.actions("shop-1").count("CancellationRefused") == 1
    assert not deliver.refused(cancel, Rejected("VENDOR_REFUSED", "no"), world.services)
    assert not deliver.refused(CREATE, Rejected("ALREADY_SHIPPED", "gone"), world.services)


# ------------------------------------------------------------------ polls and counts

POLLS: dict[str, Any] = {"shipments": {"reason": "no webhooks", "every_seconds": 300, "awaited_every_seconds": 5, "answers": ["ReleaseFulfillment"]}}
POLL = OutboundMessage(command="PollConnection", connection="erp", arguments={"resource": "shipments"})


def polling() -> World:
    return World(manifests={"erp": manifest("erp", "erp", list(MANIFESTS["erp"].commands), polls=POLLS)})


def found(world: World, part_id: str) -> PollResult:
    document = {"at": START.isoformat(), "facts": [world.dispatch(part_id).model_dump(mode="json", exclude_none=True)]}
    return PollResult((polled("S-1", "told", document),), "cursor-1")


def test_a_release_starts_the_polling_that_finds_its_shipment() -> None:
    world = polling()
    world.place()
    while world._step():
        pass
    assert len(awaited_polls(world)) == 1
    world.erp.poll_answers = [found(world, "shop-1.1"), found(world, "shop-1.1")]
    world.run(until=timedelta(minutes=1))
    assert world.status() == "completed"
    assert len(world.deliveries.notes) == 2, "what is found twice is one delivery"
    assert world.erp.asked_since[:2] == [None, "cursor-1"]


def awaited_polls(world: World) -> list[str]:
    return [message.body for message in world.queues.messages[QueueName.OUTBOUND] if "turn" in message.body]


def test_only_one_awaited_poll_stands_in_the_queue() -> None:
    world = polling()
    for _ in range(3):
        deliver.await_answers("erp", "ReleaseFulfillment", world.services)
    assert len(awaited_polls(world)) == len(world.queues.sent) == 1
    deliver.await_answers("erp", "PostInvoice", world.services)
    assert len(world.queues.sent) == 1


def test_polls_of_the_ordinary_rhythm_do_not_multiply_the_awaited_one() -> None:
    """An order that waits for days: each ordinary poll used to start one more awaited rhythm beside the others."""
    world = polling()
    world.place()
    for _ in range(20):
        world.run(until=timedelta(minutes=5))
        world.clock.pass_by(minutes=5)
        world.watch()
        assert len(awaited_polls(world)) <= 1
    assert len(awaited_polls(world)) == 1, "and it goes on"


def test_an_awaited_rhythm_that_broke_off_is_started_anew_and_its_lost_poll_is_no_second_one() -> None:
    world = polling()
    world.place()
    world.run(until=timedelta(seconds=1))
    [lost] = awaited_polls(world)
    world.queues.messages[QueueName.OUTBOUND].clear()
    world.clock.pass_by(minutes=2)
    deliver.deliver(POLL, world.services)
    assert len(awaited_polls(world)) == 1
    asked = len(world.erp.asked_since)
    deliver.deliver(OutboundMessage.model_validate_json(lost), world.services)
    assert (len(world.erp.asked_since), len(awaited_polls(world))) == (asked, 1), "it turned up after all: not its turn any more"


def test_a_poll_that_could_not_take_all_is_made_again_soon_until_it_has() -> None:
    world = polling()
    world.erp.poll_answers = [PollResult((), "1", more=True), PollResult((), "2", more=True), PollResult((), "3")]
    deliver.deliver(POLL, world.services)
    world.run(until=timedelta(minutes=1))
    assert world.erp.asked_since == [None, "1", "2"]
    assert awaited_polls(world) == [], "and then no more"


def test_a_poll_says_what_is_known_here_at_its_version_or_was_found_before() -> None:
    world = polling()
    order = world.place()
    world.run(until=timedelta(seconds=1))
    world.erp.poll_answers = [PollResult((polled("7@2", "told", {"at": START.isoformat(), "facts": []}),), "1")]
    deliver.deliver(POLL, world.services)
    known = world.erp.known
    assert known("shop-1", order.source_version, "told", "x") is True
    assert known("shop-1", "2026-10-05T08:00:01Z", "told", "x") is False, "a newer version"
    assert known("shop-9", order.source_version, "told", "x") is False
    assert known("shop-9", order.source_version, "told", "7@2") is True


def test_an_update_that_changes_nothing_is_known_by_its_version() -> None:
    world = World()
    order = world.place()
    world.run()
    world.update(order.model_copy(update={"source_version": "2026-10-05T09:00:00Z"}))
    world.run()
    assert world.record().placed.source_version == "2026-10-05T09:00:00Z"
    world.update(order.model_copy(update={"source_version": "2026-10-05T08:30:00Z"}))
    world.run()
    assert world.record().placed.source_version == "2026-10-05T09:00:00Z"
    assert world.open_codes() == []


def test_an_answer_that_is_not_understood_leaves_the_outcome_unknown_and_is_looked_up() -> None:
    world = reserved()
    world.erp.fail("CreateSalesOrder", ContractDrift("UNKNOWN_ANSWER", "no number in it"), after_commit=True)
    with pytest.raises(ContractDrift):
        deliver.deliver(CREATE, world.services)
    effect = world.services.effects.get(KEY)
    assert effect is not None
    assert effect.state is EffectState.UNKNOWN
    world.clock.pass_by(minutes=5)
    deliver.deliver(CREATE, world.services)
    assert world.effects_done() == [("CreateSalesOrder", "shop-1")]


def test_two_who_start_the_same_rhythm_at_once_start_one() -> None:
    world = polling()
    world.services.cursors.claim = lambda name, **when: False  # type: ignore[method-assign]
    deliver.await_answers("erp", "ReleaseFulfillment", world.services)
    assert awaited_polls(world) == [], "the other has the claim, and sends it"


def test_an_older_version_that_arrives_while_a_newer_is_noted_changes_nothing() -> None:
    world = World()
    world.place()
    world.run()
    assert facts._seen(world.record(), "2020-01-01T00:00:00Z") is None
    assert facts._seen(world.record().model_copy(update={"order": None}), "2030-01-01T00:00:00Z") is None


def test_a_poll_that_fails_again_and_again_opens_the_circuit_and_the_next_success_closes_it() -> None:
    world = polling()
    world.erp.poll_answers = [RetryLater("VENDOR_UNAVAILABLE", "down") for _ in range(7)]
    seen = []
    for _ in range(8):
        deliver.deliver(POLL, world.services)
        seen.append(world.open_codes())
        world.clock.pass_by(minutes=5)
    assert seen == [[], [], [], [], [], ["CONNECTION_DOWN"], ["CONNECTION_DOWN"], []]
    assert world.queues.dead[QueueName.OUTBOUND] == [], "a poll is not repeated: the next one asks for the same and more"


def test_a_poll_that_is_refused_is_an_exception_at_once() -> None:
    world = polling()
    world.erp.poll_answers = [NeedsPerson("NOT_AUTHORISED", "expired")]
    deliver.deliver(POLL, world.services)
    assert world.open_codes() == ["NOT_AUTHORISED"]
    deliver.deliver(POLL, world.services)
    assert world.open_codes() == [], "the next success closes it"


def test_what_a_poll_stored_before_it_died_is_found_by_the_watch() -> None:
    world = polling()
    world.place()
    world.run(until=timedelta(seconds=1))
    world.erp.poll_answers = [found(world, "shop-1.1")]
    real, world.queues.send = world.queues.send, lambda *_, **__: (_ for _ in ()).throw(ConnectionError())  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        deliver.poll(POLL, world.services)
    world.queues.send = real  # type: ignore[method-assign]
    world.later(rounds=1)
    assert world.status() == "completed"


def test_a_count_is_believed_only_of_whoever_owns_the_locations_stock() -> None:
    world = World(spec(locations={"DAL": {"title": "Dallas", "connection": "erp", "stock_from": "threepl", "codes": {"erp": "DAL", "threepl": "140"}}}))
    later = START + timedelta(hours=1)
    world.erp.readings = [
        StockReading(sku="70010", location="CHI", on_hand=Decimal(80), as_of=later),
        StockReading(sku="70010", location="DAL", on_hand=Decimal(1), as_of=later),
        StockReading(sku="99999", location="CHI", on_hand=Decimal(1), as_of=later),
        StockReading(sku="70020", location="CHI", on_hand=Decimal(30), as_of=later),
    ]
    deliver.deliver(OutboundMessage(command="PullStock", connection="erp"), world.services)
    assert world.available("BOLT", "CHI") == 80
    assert world.available("NUT", "CHI") == 25, "less the safety stock"
    assert world.available("BOLT", "DAL") == 50
    assert world.cursors.get("stock#erp") == world.clock.now().isoformat()
    assert "WriteRefused" not in world.audit.actions("BOLT@DAL"), "a full count names every location; what is another's is no attempt to write"


def test_money_of_the_test_orders_is_exact() -> None:
    assert an_order().total == usd(54)


def test_a_release_that_comes_after_the_goods_have_left_is_no_matter_for_a_person() -> None:
    """The worker of the release died; until the queue brought it again the warehouse had shipped, and all of it was billed and gone there."""
    world = World()
    world.erp.fail("ReleaseFulfillment", RetryLater("BUSY", "x", after_seconds=600))
    world.place()
    world.run(until=timedelta(minutes=5))
    world.erp.fail("ReleaseFulfillment", Rejected("NOT_FOUND", "the sales order is not there"), times=9)
    world.tell("erp", world.dispatch("shop-1.1"))
    world.run()
    world.later()
    assert (world.status(), world.open_codes()) == ("completed", [])
    assert ("ReleaseFulfillment", "shop-1.1") not in world.effects_done()


def test_a_release_refused_while_the_goods_are_there_is_a_matter_for_a_person() -> None:
    world = World()
    world.erp.fail("ReleaseFulfillment", Rejected("NOT_FOUND", "the sales order is not there"), times=9)
    world.place()
    world.run()
    assert world.open_codes() == ["NOT_FOUND"]
