"""Do goods that come back end agreed in the storefront, the warehouse and the ERP, paid for once, whatever comes when?"""

from __future__ import annotations

import itertools
import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdock.domain.commands import ApproveReturn, CloseReturn, ExpectReturn, PostCreditMemo, RefundReturn
from crossdock.domain.connector import PolledItem
from crossdock.domain.errors import NeedsPerson, Rejected, RetryLater
from crossdock.domain.events import Fact, ReturnAnnounced, ReturnReceived, ReturnRequested, ReturnWithdrawn
from crossdock.domain.messages import OutboundMessage, ReturnStepRequest, StuckNotice
from crossdock.domain.order import Order
from crossdock.domain.quantity import Quantity
from crossdock.domain.return_ import Disposition, ExchangeLine, ReceivedLine, Return, ReturnLine, ReturnReceipt
from crossdock.domain.return_policy import settled, unit_price, worth
from crossdock.domain.return_record import AgreedLine, ReturnRecord, ReturnStatus
from crossdock.domain.stage import QueueName
from crossdock.domain.tenant import Returns
from crossdock.flows import deliver, exceptions, facts, returns, views
from tests.fakes import START
from tests.flows.world import RETURN_COMMANDS, World, an_order, event, line, spec, taking_returns, usd

RMA = "RMA-shop-R1"


def a_world(policy: Returns | None = None, **without: tuple[str, ...]) -> World:
    made = spec()
    return World(made.model_copy(update={"returns": policy or Returns()}), manifests=taking_returns(**without))


def shipped(world: World, order: Order | None = None) -> Order:
    """An order that has left whole."""
    world.autopilot()
    made = world.place(order)
    world.run()
    assert world.status(made.order_id) == "completed"
    return made


def a_return(*lines: tuple[str, str], number: int = 1, order_id: str = "shop-1", reason: str = "", at: datetime | None = None, **more: Any) -> Return:
    return Return(
        return_id=f"RMA-shop-R{number}",
        connection="shop",
        external_id=f"R{number}",
        number=f"#1-R{number}",
        order_id=order_id,
        requested_at=at or START,
        lines=tuple(ReturnLine(sku=sku, quantity=Quantity.of(count, "EA"), reason=reason) for sku, count in lines or (("BOLT", "2"),)),
        **more,
    )


def ask(world: World, asked: Return | None = None) -> None:
    world.tell("shop", ReturnRequested.model_validate({"return": (asked or a_return()).model_dump()}))
    world.run()


def receipt(
    *lines: tuple[str, str, Disposition], receipt_id: str = "W1", reference: str = RMA, complete: bool = False, at: datetime = START, external_id: str | None = None
) -> ReturnReceived:
    came = tuple(ReceivedLine(sku=sku, quantity=Decimal(count), disposition=disposition) for sku, count, disposition in lines)
    return ReturnReceived(receipt=ReturnReceipt(receipt_id=receipt_id, return_reference=reference, external_id=external_id, lines=came, received_at=at, complete=complete))


def comes(world: World, fact: Fact, connection: str = "erp") -> None:
    known = fact
    if isinstance(fact, ReturnReceived):  # in the sender's own words
        came = tuple(found.model_copy(update={"sku": world.services.xref.their_sku(connection, found.sku)}) for found in fact.receipt.lines)
        known = fact.model_copy(update={"receipt": fact.receipt.model_copy(update={"lines": came})})
    world.tell(connection, known)
    world.run()


def state(world: World, return_id: str = RMA) -> ReturnRecord:
    found = world.returns.get(return_id)
    assert found is not None, f"no return {return_id}"
    return found


def did(world: World, connection: str, command: str) -> list[str]:
    return [subject for kind, subject in world.systems[connection].done if kind == command]


def intent(world: World, connection: str, command: str, return_id: str = RMA) -> Any:
    return world.systems[connection].intents[command, return_id]


RESTOCK, SCRAP = Disposition.RESTOCK, Disposition.SCRAP


# ------------------------------------------------------------------ the whole way


def test_a_return_within_the_policy_ends_agreed_everywhere_and_paid_for_once() -> None:
    world = a_world()
    shipped(world)
    ask(world)
    record = state(world)
    assert (record.status, record.location, record.storefront_id) == (ReturnStatus.AUTHORISED, "CHI", "X-ApproveReturn-RMA-shop-R1")
    comes(world, receipt(("BOLT", "2", RESTOCK)))
    record = state(world)
    assert (record.status, record.value, record.refunded) == (ReturnStatus.CLOSED, usd(22), usd(22))
    credited = [(found.erp_sku, found.quantity, found.net, found.tax, found.restocked) for found in intent(world, "erp", "PostCreditMemo").lines]
    assert credited == [("70010", 2, usd(20), usd(2), True)]
    assert intent(world, "erp", "PostCreditMemo").invoice_number == "INV-erp-S-shop-1.1"
    assert intent(world, "shop", "RefundReturn").amount == usd(22)
    assert [len(did(world, name, command)) for name, command in (("shop", "ApproveReturn"), ("erp", "PostCreditMemo"), ("shop", "RefundReturn"), ("shop", "CloseReturn"))] == [
        1
    ] * 4
    assert world.workflow.running(RMA) is False
    assert world.open_codes() == []
    assert "ReturnClosed" in world.audit.actions("shop-1")
    assert world.audit.actions(RMA)[-1] == "ReturnClosed"


def test_a_return_of_an_order_of_which_only_the_cancellation_came_waits_and_does_not_go_round() -> None:
    world = a_world()
    world.cancel("shop-1")
    world.run()
    ask(world)
    ask(world, a_return(number=2))
    assert world.returns.records == {}
    assert len(world.orders.parked("shop-1")) == 2
    world.place()
    world.run()
    world.clock.pass_by(hours=25)
    world.later()
    assert world.orders.parked("shop-1") == []


def test_everything_told_again_changes_nothing() -> None:
    world = a_world()
    shipped(world)
    ask(world)
    comes(world, receipt(("BOLT", "2", RESTOCK)))
    before = (state(world), world.effects_done())
    for _ in range(2):
        ask(world)
        comes(world, receipt(("BOLT", "2", RESTOCK)))
    world.later()
    assert (state(world), world.effects_done()) == before
    assert world.open_codes() == []


def test_a_part_that_comes_is_waited_on_until_the_rest_comes() -> None:
    world = a_world()
    shipped(world)
    ask(world, a_return(("BOLT", "3")))
    comes(world, receipt(("BOLT", "1", RESTOCK)))
    assert state(world).status is ReturnStatus.PARTIALLY_RECEIVED
    comes(world, receipt(("BOLT", "2", SCRAP), receipt_id="W2", at=START + timedelta(hours=1)))
    assert state(world).status is ReturnStatus.CLOSED
    assert {(found.disposition, found.quantity, found.net) for found in state(world).settled} == {(RESTOCK, Decimal(1), usd(10)), (SCRAP, Decimal(2), usd(20))}
    assert [found.restocked for found in intent(world, "erp", "PostCreditMemo").lines] == [True, False]


def test_what_came_is_settled_when_the_warehouse_says_that_no_more_will() -> None:
    world = a_world()
    shipped(world)
    ask(world, a_return(("BOLT", "3")))
    comes(world, receipt(("BOLT", "1", RESTOCK), complete=True))
    assert (state(world).status, state(world).refunded) == (ReturnStatus.CLOSED, usd(11))
    assert "ReturnShort" in world.audit.actions(RMA)


def test_what_came_is_settled_when_the_rest_does_not_come_in_time() -> None:
    world = a_world()
    shipped(world)
    ask(world, a_return(("BOLT", "3")))
    comes(world, receipt(("BOLT", "1", RESTOCK)))
    world.later(rounds=1, days=22)
    assert (state(world).status, state(world).refunded) == (ReturnStatus.CLOSED, usd(11))


def test_a_return_of_which_nothing_comes_expires_and_everybody_knows() -> None:
    world = a_world()
    shipped(world, an_order(lines=[line("1", "VALVE", "6", "20")]))
    ask(world, a_return(("VALVE", "2")))
    assert state(world).warehouse_id == "X-ExpectReturn-RMA-shop-R1"
    world.later(rounds=2, days=22)
    assert (state(world).status, state(world).settled) == (ReturnStatus.EXPIRED, ())
    assert world.open_codes() == ["RETURN_NOT_ARRIVED"]
    assert did(world, "threepl", "CallOffReturn") == [RMA]
    assert intent(world, "shop", "CloseReturn").called_off
    assert did(world, "erp", "PostCreditMemo") == []


def test_a_receipt_of_nothing_ends_the_return() -> None:
    world = a_world()
    shipped(world)
    ask(world)
    comes(world, receipt(complete=True))
    assert state(world).status is ReturnStatus.EXPIRED
    assert world.open_codes() == ["RETURN_NOT_ARRIVED"]


def test_more_than_was_agreed_is_an_exception_and_not_paid_for() -> None:
    world = a_world()
    shipped(world)
    ask(world)
    comes(world, receipt(("BOLT", "3", RESTOCK), ("NUT", "1", RESTOCK)))
    assert (state(world).status, state(world).refunded) == (ReturnStatus.CLOSED, usd(22))
    found = world.the_exception("RETURN_OVER_RECEIPT")
    assert "1 of BOLT; 1 of NUT" in found.detail


def test_goods_that_come_after_the_settlement_are_an_exception() -> None:
    world = a_world()
    shipped(world)
    ask(world)
    comes(world, receipt(("BOLT", "2", RESTOCK)))
    comes(world, receipt(("BOLT", "1", RESTOCK), receipt_id="W2"))
    assert "after the return was closed" in world.the_exception("RETURN_OVER_RECEIPT").detail
    assert len(did(world, "shop", "RefundReturn")) == 1


# ------------------------------------------------------------------ who may say what


def test_stock_comes_back_only_on_its_owners_word() -> None:
    world = World(spec(locations={"CHI": {"title": "Chicago", "connection": "erp", "stock_from": "erp", "codes": {"erp": "CHI", "shop": "1"}}}), manifests=taking_returns())
    shipped(world)
    free = world.available("BOLT", "CHI")
    ask(world)
    world.clock.pass_by(minutes=1)
    came = receipt(("BOLT", "1", RESTOCK), ("BOLT", "1", SCRAP), at=world.clock.now())
    comes(world, came)
    assert world.available("BOLT", "CHI") == free + 1
    comes(world, came)
    assert world.available("BOLT", "CHI") == free + 1


def test_where_another_system_owns_the_count_its_count_tells() -> None:
    world = World(spec(locations={"CHI": {"title": "Chicago", "connection": "erp", "stock_from": "shop", "codes": {"erp": "CHI", "shop": "1"}}}), manifests=taking_returns())
    shipped(world)
    free = world.available("BOLT", "CHI")
    ask(world)
    world.clock.pass_by(minutes=1)
    comes(world, receipt(("BOLT", "2", RESTOCK), at=world.clock.now()))
    assert world.available("BOLT", "CHI") == free
    assert "WriteRefused" not in world.audit.actions("BOLT@CHI"), "whoever receives goods has not claimed to count them"
    assert [found.location_code for found in intent(world, "shop", "RefundReturn").lines] == ["1"], "the storefront's own shelf goes up by its refund"


def test_only_whoever_works_the_location_receives_there() -> None:
    world = a_world()
    shipped(world)
    ask(world)
    comes(world, receipt(("BOLT", "2", RESTOCK)), connection="threepl")
    assert state(world).status is ReturnStatus.AUTHORISED
    assert "WriteRefused" in world.audit.actions(RMA)


def test_the_third_party_is_found_by_its_own_id_of_the_return() -> None:
    world = a_world()
    shipped(world, an_order(lines=[line("1", "VALVE", "6", "20")]))
    ask(world, a_return(("VALVE", "2")))
    expected: ExpectReturn = intent(world, "threepl", "ExpectReturn")
    assert (expected.location_code, [(found.sku, found.quantity) for found in expected.lines], expected.shipment_external_id) == (
        "129",
        [("VALVE", 2)],
        "S-shop-1.1",
    ) or expected.lines
    comes(world, receipt(("VALVE", "2", RESTOCK), reference="X-ExpectReturn-RMA-shop-R1"), connection="threepl")
    assert state(world).status is ReturnStatus.CLOSED


# ------------------------------------------------------------------ may it come back


@pytest.mark.parametrize(
    ("asked", "policy", "word"),
    [
        (a_return(at=START + timedelta(days=40)), None, "40 days after"),
        (a_return(("BOLT", "3")), Returns(authorise_up_to=Decimal(25)), "worth 33.00 USD"),
        (a_return(reason="arrived Broken"), Returns(reasons_for_a_person=("broken",)), "arrived Broken"),
        (a_return(needs_person="an exchange was asked for"), None, "an exchange was asked for"),
    ],
)
def test_what_the_policy_does_not_authorise_waits_for_a_person(asked: Return, policy: Returns | None, word: str) -> None:
    world = a_world(policy)
    shipped(world)
    ask(world, asked)
    found = world.the_exception("RETURN_AUTHORISATION")
    assert state(world).status is ReturnStatus.HELD
    assert word in found.detail
    assert found.money_at_risk is not None
    exceptions.resolve(found.exception_id, decision="approve", note="good customer", actor="mia", services=world.services, letters=world.letters)
    world.run()
    assert state(world).status is ReturnStatus.AUTHORISED
    assert [approval.by for approval in state(world).approvals] == ["mia"]
    assert world.open_codes() == []


def test_a_person_who_declines_tells_the_customer() -> None:
    world = a_world(Returns(authorise_up_to=Decimal(1)))
    shipped(world)
    ask(world)
    found = world.the_exception("RETURN_AUTHORISATION")
    exceptions.resolve(found.exception_id, decision="reject", note="final sale", actor="mia", services=world.services, letters=world.letters)
    world.run()
    assert state(world).status is ReturnStatus.DECLINED
    assert intent(world, "shop", "DeclineReturn").reason == "final sale"
    assert did(world, "shop", "ApproveReturn") == []
    assert world.open_codes() == []


@pytest.mark.parametrize("lines", [[("BOLT", "4")], [("PUMP", "1")], [("BOLT", "2"), ("BOLT", "2")]])
def test_more_than_has_left_cannot_be_approved(lines: list[tuple[str, str]]) -> None:
    world = a_world()
    shipped(world)
    ask(world, a_return(*lines))
    found = world.the_exception("RETURN_NOT_ELIGIBLE")
    with pytest.raises(Rejected, match="INVALID_DECISION"):
        exceptions.resolve(found.exception_id, decision="approve", note="please", actor="mia", services=world.services, letters=world.letters)
    assert exceptions.retry(found.exception_id, actor="mia", services=world.services, letters=world.letters) == "the return is checked again"
    assert state(world).status is ReturnStatus.HELD


def test_a_share_of_a_piece_is_held_and_never_rounded() -> None:
    world = a_world()
    shipped(world)
    ask(world, a_return(("BOLT", "0.5")))
    assert world.open_codes() == ["NON_INTEGRAL_QUANTITY"]
    assert state(world).status is ReturnStatus.HELD


def test_two_returns_of_an_order_together_are_never_more_than_was_shipped() -> None:
    world = a_world()
    shipped(world)
    ask(world, a_return(("BOLT", "2"), number=1))
    ask(world, a_return(("BOLT", "2"), number=2))
    assert state(world, "RMA-shop-R2").status is ReturnStatus.HELD
    comes(world, receipt(("BOLT", "1", RESTOCK), complete=True))
    returns.check_again("RMA-shop-R2", world.services)
    world.run()
    assert state(world, "RMA-shop-R2").status is ReturnStatus.AUTHORISED, "of the first one only one piece came: two are left"
    comes(world, receipt(("BOLT", "2", RESTOCK), reference="RMA-shop-R2"))
    assert state(world).value == usd(11)
    assert state(world, "RMA-shop-R2").value == usd(22)


def test_a_declined_return_claims_nothing() -> None:
    world = a_world(Returns(authorise_up_to=Decimal(1)))
    shipped(world)
    ask(world, a_return(("BOLT", "3"), number=1))
    exceptions.resolve(world.the_exception("RETURN_AUTHORISATION").exception_id, decision="reject", note="no", actor="mia", services=world.services, letters=world.letters)
    world.run()
    assert state(world).held_base == {}


def test_another_return_of_the_order_waits_its_turn() -> None:
    world = a_world()
    shipped(world)
    world.cursors.claim("returns#shop-1", until=world.clock.now() + timedelta(seconds=15), now=world.clock.now())
    world.tell("shop", ReturnRequested.model_validate({"return": a_return().model_dump()}))
    world.run(until=timedelta(seconds=2))
    assert state(world).status is ReturnStatus.REQUESTED
    world.run()
    assert state(world).status is ReturnStatus.AUTHORISED


def test_a_hold_that_nobody_decides_is_an_exception_or_declines() -> None:
    world = a_world(Returns(authorise_up_to=Decimal(1)))
    shipped(world)
    ask(world)
    world.later(rounds=1, days=3)
    assert world.open_codes() == ["HOLD_EXPIRED", "RETURN_AUTHORISATION"]
    strict = spec(holds={"return": {"deadline_minutes": 60, "on_expiry": "cancel"}}).model_copy(update={"returns": Returns(authorise_up_to=Decimal(1))})
    other = World(strict, manifests=taking_returns())
    shipped(other)
    ask(other)
    other.later(rounds=1, hours=2)
    assert state(other).status is ReturnStatus.DECLINED


# ------------------------------------------------------------------ out of order, and called off


def test_a_return_that_comes_before_its_order_is_joined() -> None:
    world = a_world()
    ask(world)
    assert world.returns.records == {}
    shipped(world)
    assert state(world).status in (ReturnStatus.HELD, ReturnStatus.AUTHORISED)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_request_receipt_and_order_may_come_in_any_order(order: tuple[int, ...]) -> None:
    world = a_world()
    world.autopilot()
    told = [
        lambda: world.place(),
        lambda: world.tell("shop", ReturnRequested.model_validate({"return": a_return().model_dump()})),
        lambda: world.tell("erp", receipt(("70010", "2", RESTOCK))),
    ]
    for position in order:
        told[position]()
        world.run()
    if state(world).status is ReturnStatus.HELD:  # nothing had left when it was asked for
        returns.check_again(RMA, world.services)
        world.run()
    assert (state(world).status, state(world).refunded) == (ReturnStatus.CLOSED, usd(22))


def test_an_announced_return_is_fetched_with_its_lines() -> None:
    world = a_world()
    shipped(world)
    told = ReturnRequested.model_validate({"return": a_return().model_dump()}).model_dump(mode="json", by_alias=True, exclude_none=True)
    world.shop.held_returns["R1"] = PolledItem(key="R1@1", topic="told", body=json.dumps({"at": START.isoformat(), "facts": [told]}).encode())
    announced = ReturnAnnounced(return_id=RMA, external_id="R1", announced_at=START)
    world.tell("shop", announced)
    world.run()
    assert state(world).status is ReturnStatus.AUTHORISED
    world.tell("shop", announced)
    world.run()
    assert state(world).status is ReturnStatus.AUTHORISED


def test_a_customer_who_keeps_the_goods_is_no_exception() -> None:
    world = a_world()
    shipped(world, an_order(lines=[line("1", "VALVE", "6", "20")]))
    ask(world, a_return(("VALVE", "2")))
    world.tell("shop", ReturnWithdrawn(return_id=RMA, reason="", withdrawn_at=START))
    world.run()
    assert (state(world).status, state(world).ending_reason) == (ReturnStatus.WITHDRAWN, "withdrawn")
    assert did(world, "shop", "CloseReturn") == [], "the storefront knows"
    assert did(world, "threepl", "CallOffReturn") == [RMA]
    assert world.open_codes() == []


def test_a_withdrawal_that_comes_first_waits_and_one_that_comes_late_is_an_exception() -> None:
    world = a_world()
    shipped(world)
    world.tell("shop", ReturnWithdrawn(return_id=RMA, withdrawn_at=START))
    world.run()
    ask(world, a_return(("BOLT", "3")))
    assert state(world).status is ReturnStatus.WITHDRAWN
    ask(world, a_return(("BOLT", "2"), number=2))
    comes(world, receipt(("BOLT", "1", RESTOCK), reference="RMA-shop-R2"))
    world.tell("shop", ReturnWithdrawn(return_id="RMA-shop-R2", withdrawn_at=START))
    world.run()
    assert world.open_codes() == ["RETURN_WITHDRAWN_LATE"]


def test_a_command_under_way_is_waited_for_before_the_return_is_called_off() -> None:
    world = a_world()
    shipped(world, an_order(lines=[line("1", "VALVE", "6", "20")]))
    world.threepl.fail("ExpectReturn", RetryLater("BUSY", "x", after_seconds=300), times=1)
    world.tell("shop", ReturnRequested.model_validate({"return": a_return(("VALVE", "2")).model_dump()}))
    world.run(until=timedelta(minutes=1))
    assert "ExpectReturn" in state(world).sent
    world.tell("shop", ReturnWithdrawn(return_id=RMA, withdrawn_at=START))
    world.run(until=timedelta(minutes=1))
    world.run()
    world.later()
    assert state(world).status is ReturnStatus.WITHDRAWN
    assert did(world, "threepl", "ExpectReturn") == [] or did(world, "threepl", "CallOffReturn") == [RMA]


def test_an_unknown_outcome_is_settled_before_the_return_is_called_off() -> None:
    from crossdock.domain.errors import UnknownOutcome

    world = a_world()
    shipped(world, an_order(lines=[line("1", "VALVE", "6", "20")]))
    world.threepl.fail("ExpectReturn", UnknownOutcome("UNKNOWN_OUTCOME", "x"), after_commit=True)
    world.tell("shop", ReturnRequested.model_validate({"return": a_return(("VALVE", "2")).model_dump()}))
    world.tell("shop", ReturnWithdrawn(return_id=RMA, withdrawn_at=START))
    world.run()
    world.later()
    assert state(world).status is ReturnStatus.WITHDRAWN
    assert did(world, "threepl", "ExpectReturn") == did(world, "threepl", "CallOffReturn")


# ------------------------------------------------------------------ money


def test_a_credit_memo_with_another_total_pays_nothing_out_before_a_person_has_looked() -> None:
    world = a_world()
    shipped(world)
    world.erp.credit_adjustment = Decimal("1.50")
    ask(world)
    comes(world, receipt(("BOLT", "2", RESTOCK)))
    found = world.the_exception("RETURN_TOTAL_DIFFERENCE")
    assert found.hold is not None
    assert found.hold.seen == {"erp": "23.50 USD", "refund": "22.00 USD"}
    assert did(world, "shop", "RefundReturn") == []
    with pytest.raises(Rejected, match="INVALID_DECISION"):
        exceptions.resolve(found.exception_id, decision="reject", note="no", actor="mia", services=world.services, letters=world.letters)
    exceptions.resolve(found.exception_id, decision="approve", note="freight", actor="mia", services=world.services, letters=world.letters)
    world.run()
    assert (state(world).status, state(world).refunded, world.open_codes()) == (ReturnStatus.CLOSED, usd(22), [])


def test_a_fee_is_kept_by_disposition() -> None:
    world = a_world(Returns(refund_percent={RESTOCK: Decimal(85), SCRAP: Decimal(0)}))
    shipped(world)
    ask(world, a_return(("BOLT", "3")))
    comes(world, receipt(("BOLT", "2", RESTOCK), ("BOLT", "1", SCRAP)))
    assert state(world).value == usd("18.7")
    assert len(intent(world, "erp", "PostCreditMemo").lines) == 1


def test_what_is_worth_nothing_is_neither_credited_nor_refunded() -> None:
    world = a_world(Returns(refund_percent={SCRAP: Decimal(0)}))
    shipped(world)
    ask(world)
    comes(world, receipt(("BOLT", "2", SCRAP)))
    assert state(world).status is ReturnStatus.CLOSED
    assert (did(world, "erp", "PostCreditMemo"), did(world, "shop", "RefundReturn")) == ([], [])
    assert did(world, "shop", "CloseReturn") == [RMA]


@given(splits=st.lists(st.integers(1, 7), min_size=1, max_size=12), net=st.decimals("0.01", "9999.99", places=2), tax=st.decimals("0", "999.99", places=2))
@settings(max_examples=150, deadline=None)
def test_however_a_line_comes_back_all_of_it_is_exactly_what_was_paid(splits: list[int], net: Decimal, tax: Decimal) -> None:
    whole = AgreedLine(
        line_id="1",
        external_line_id="1",
        sku="BOLT",
        requested=Quantity.of(1, "EA"),
        quantity=Decimal(1),
        ordered=Decimal(sum(splits)),
        returned_before=Decimal(0),
        net=usd(net),
        tax=usd(tax),
    )
    before, given_net, given_tax = Decimal(0), usd(0), usd(0)
    for part in splits:
        share, share_tax = worth(whole, Decimal(part), before=before)
        assert share.amount >= 0
        before, given_net, given_tax = before + part, given_net + share, given_tax + share_tax
    assert (given_net, given_tax) == (usd(net), usd(tax))


@given(net=st.decimals("0.01", "99999.99", places=2), quantity=st.integers(1, 5000))
def test_a_unit_price_and_its_discount_make_exactly_the_net(net: Decimal, quantity: int) -> None:
    price, discount = unit_price(usd(net), Decimal(quantity))
    assert price.amount * quantity - discount.amount == net
    assert discount.amount >= 0


@given(pieces=st.lists(st.tuples(st.integers(1, 4), st.sampled_from(list(Disposition))), min_size=1, max_size=5), order=st.randoms())
@settings(max_examples=60, deadline=None)
def test_the_settlement_does_not_depend_on_the_order_in_which_receipts_are_heard_of(pieces: list[tuple[int, Disposition]], order: Any) -> None:
    receipts = [receipt(("BOLT", str(count), graded), receipt_id=f"W{number}", at=START + timedelta(minutes=number)).receipt for number, (count, graded) in enumerate(pieces)]
    agreed = AgreedLine(
        line_id="1",
        external_line_id="1",
        sku="BOLT",
        requested=Quantity.of(6, "EA"),
        quantity=Decimal(6),
        ordered=Decimal(7),
        returned_before=Decimal(1),
        net=usd("10"),
        tax=usd("0.83"),
    )
    record = ReturnRecord(
        return_id=RMA, status=ReturnStatus.AUTHORISED, request=a_return(), order_id="shop-1", source="shop", storefront="shop", accepted_at=START, updated_at=START, lines=(agreed,)
    )
    mixed = list(receipts)
    order.shuffle(mixed)
    one, beyond = settled(record.model_copy(update={"receipts": tuple(receipts)}), Returns())
    other, beyond_too = settled(record.model_copy(update={"receipts": tuple(mixed)}), Returns())
    assert (one, beyond) == (other, beyond_too)
    came = sum(count for count, _ in pieces)
    assert sum(found.quantity for found in one) == min(came, 6)
    assert sum(beyond.values()) == max(0, came - 6)


# ------------------------------------------------------------------ something else instead


def test_an_exchange_is_an_order_of_its_own_and_only_the_rest_is_refunded() -> None:
    world = a_world()
    shipped(world)
    wanted = ExchangeLine(sku="NUT", quantity=Quantity.of(3, "EA"), unit_price=usd(5))
    ask(world, a_return(("BOLT", "2"), exchange=(wanted,)))
    comes(world, receipt(("BOLT", "2", RESTOCK)))
    order = world.record("direct-X-R1").placed
    assert (state(world).exchange_order, state(world).refunded) == ("direct-X-R1", usd(Decimal(22) - order.total.amount))
    assert [(found.sku, found.quantity.value) for found in order.lines] == [("NUT", 3)]
    assert order.computed_total == order.total


def test_an_exchange_needs_somewhere_to_place_the_order() -> None:
    made = spec()
    world = World(made.model_copy(update={"connections": {name: found for name, found in made.connections.items() if name != "direct"}}), manifests=taking_returns())
    shipped(world)
    ask(world, a_return(exchange=(ExchangeLine(sku="NUT", quantity=Quantity.of(1, "EA"), unit_price=usd(5)),)))
    comes(world, receipt(("BOLT", "2", RESTOCK)))
    assert "UNKNOWN_CONNECTION" in world.open_codes()
    assert did(world, "shop", "RefundReturn") == []


# ------------------------------------------------------------------ systems that take less, and things that break


def test_a_storefront_that_knows_no_returns_is_settled_by_that() -> None:
    world = a_world(shop=RETURN_COMMANDS["shop"])
    shipped(world)
    ask(world)
    comes(world, receipt(("BOLT", "2", RESTOCK)))
    assert state(world).status is ReturnStatus.CLOSED
    assert "RefundReturnNotApplicable" in world.audit.actions(RMA)


def test_an_erp_that_cannot_credit_is_an_exception() -> None:
    world = a_world(erp=("PostCreditMemo",))
    shipped(world)
    ask(world)
    comes(world, receipt(("BOLT", "2", RESTOCK)))
    assert world.open_codes() == ["COMMAND_NOT_SUPPORTED"]
    assert state(world).status is ReturnStatus.SETTLING


def test_a_refused_credit_is_an_exception_and_the_return_goes_on_when_it_is_mended() -> None:
    world = a_world()
    shipped(world)
    world.erp.fail("PostCreditMemo", Rejected("VENDOR_REFUSED", "the period is closed"))
    ask(world)
    comes(world, receipt(("BOLT", "2", RESTOCK)))
    (found,) = world.exceptions.listed()
    world.later(rounds=2, hours=2)
    assert len(did(world, "erp", "PostCreditMemo")) == 0, "a person has it"
    exceptions.retry(found.exception_id, actor="mia", services=world.services, letters=world.letters)
    world.run()
    assert (state(world).status, world.open_codes()) == (ReturnStatus.CLOSED, [])


def test_a_command_that_got_lost_is_sent_again_by_the_watch() -> None:
    world = a_world()
    shipped(world)
    ask(world)
    world.tell("erp", receipt(("70010", "2", RESTOCK)))
    while "PostCreditMemo" not in state(world).sent:
        assert world._step()
    world.queues.messages[QueueName.OUTBOUND].clear()
    world.later(rounds=2, hours=2)
    assert (state(world).status, len(did(world, "erp", "PostCreditMemo"))) == (ReturnStatus.CLOSED, 1)


def test_a_workflow_that_was_stopped_is_an_exception_that_a_person_starts_again() -> None:
    world = a_world()
    shipped(world)
    ask(world)
    world.workflow.stop(RMA)
    world.later(rounds=2, days=22)
    found = world.the_exception("WORKFLOW_STOPPED")
    assert exceptions.retry(found.exception_id, actor="mia", services=world.services, letters=world.letters) == "the workflow was started again"
    world.run()
    world.later()
    assert state(world).status is ReturnStatus.EXPIRED


def test_a_workflow_that_was_stopped_while_the_goods_are_on_their_way_is_known_before_they_come() -> None:
    world = a_world()
    shipped(world)
    ask(world)
    world.later(rounds=3, hours=12)
    assert world.open_codes() == []
    world.workflow.stop(RMA)
    world.later(rounds=2, hours=7)
    found = world.the_exception("WORKFLOW_STOPPED")
    exceptions.retry(found.exception_id, actor="mia", services=world.services, letters=world.letters)
    world.run()
    comes(world, receipt(("BOLT", "2", Disposition.RESTOCK)))
    world.later()
    assert (state(world).status, world.open_codes()) == (ReturnStatus.CLOSED, [])


def test_a_workflow_that_gives_up_is_told_to_a_person() -> None:
    world = a_world()
    shipped(world)
    ask(world)
    world.workflow.fail(next(execution.token for execution in world.workflow.executions.values() if execution.order_id == RMA) or "", error="Other", cause="x")
    world.run()
    assert world.open_codes() == ["WORKFLOW_STOPPED"]


def test_a_workflow_that_never_started_is_started_by_the_watch() -> None:
    world = a_world()
    shipped(world)
    real, world.workflow.start = world.workflow.start, lambda *_, **__: None  # type: ignore[method-assign]
    ask(world)
    world.workflow.start = real  # type: ignore[method-assign]
    assert state(world).status is ReturnStatus.REQUESTED
    world.later()
    assert state(world).status is ReturnStatus.AUTHORISED


def test_a_return_the_watch_cannot_look_after_is_an_exception_and_the_others_go_on() -> None:
    world = a_world()
    shipped(world)
    ask(world)
    real, world.workflow.running = world.workflow.running, lambda subject: (_ for _ in ()).throw(RuntimeError("x")) if subject == RMA else real(subject)  # type: ignore[method-assign]
    world.returns.change(RMA, lambda current: current.model_copy(update={"due_at": world.clock.now()}))
    world.later(rounds=1)
    world.workflow.running = real  # type: ignore[method-assign]
    assert world.open_codes() == ["WATCH_FAILED"]
    real_get, world.returns.get = world.returns.get, lambda _name: (_ for _ in ()).throw(RetryLater("BUSY", "x"))  # type: ignore[method-assign]
    world.returns.change(RMA, lambda current: current.model_copy(update={"due_at": world.clock.now()}))
    world.watch()
    world.returns.get = real_get  # type: ignore[method-assign]
    assert world.open_codes() == ["WATCH_FAILED"]


@pytest.mark.parametrize("command", [*RETURN_COMMANDS["shop"], "ExpectReturn", "PostCreditMemo"])
def test_a_crash_before_or_after_any_call_is_one_effect(command: str) -> None:
    from crossdock.domain.errors import UnknownOutcome

    for after in (False, True):
        world = a_world(Returns(authorise_up_to=Decimal(1)) if command == "DeclineReturn" else None)
        shipped(world, an_order(lines=[line("1", "VALVE", "6", "20")]))
        connection = {"ExpectReturn": "threepl", "PostCreditMemo": "erp"}.get(command, "shop")
        world.systems[connection].fail(command, UnknownOutcome("UNKNOWN_OUTCOME", "cut"), after_commit=after)
        ask(world, a_return(("VALVE", "2")))
        if command == "DeclineReturn":
            exceptions.resolve(world.the_exception("RETURN_AUTHORISATION").exception_id, decision="reject", note="no", actor="mia", services=world.services, letters=world.letters)
            world.run()
        else:
            comes(world, receipt(("VALVE", "2", RESTOCK)), connection="threepl")
        world.later()
        assert did(world, connection, command) == [RMA]
        assert state(world).over


def test_what_belongs_to_no_return_is_a_matter_for_a_person() -> None:
    world = a_world()
    with pytest.raises(NeedsPerson, match="RETURN_UNKNOWN"):
        returns.advance(RMA, world.services)
    with pytest.raises(NeedsPerson, match="RETURN_UNKNOWN"):
        returns.intent_of(OutboundMessage(command="CloseReturn", connection="shop", return_id=RMA), world.services)
    shipped(world)
    ask(world)
    with pytest.raises(NeedsPerson, match="UNKNOWN_COMMAND"):
        returns.intent_of(OutboundMessage(command="Dance", connection="shop", return_id=RMA), world.services)
    with pytest.raises(NeedsPerson, match="RETURN_UNKNOWN"):
        returns.intent_of(OutboundMessage(command="RefundReturn", connection="shop", return_id=RMA), world.services)
    world.returns.change(RMA, lambda current: current.model_copy(update={"storefront_id": None}))
    with pytest.raises(NeedsPerson, match="RETURN_UNKNOWN"):
        returns.intent_of(OutboundMessage(command="CloseReturn", connection="shop", return_id=RMA), world.services)
    del world.orders.records["shop-1"]
    with pytest.raises(NeedsPerson, match="ORDER_UNKNOWN"):
        returns.intent_of(OutboundMessage(command="ApproveReturn", connection="shop", return_id=RMA), world.services)
    with pytest.raises(NeedsPerson, match="COMMAND_NOT_SUPPORTED"):
        deliver.deliver(OutboundMessage(command="PostCreditMemo", connection="shop", return_id=RMA), world.services)


def test_what_is_shown_of_a_return_is_plain_json() -> None:
    world = a_world()
    shipped(world)
    ask(world)
    shown = views.return_(state(world))
    assert (shown["status"], shown["waiting_for"], shown["lines"][0]["sku"]) == ("authorised", "receive", "BOLT")
    comes(world, receipt(("BOLT", "2", RESTOCK)))
    done = views.return_(state(world))
    json.dumps(done)
    assert (done["status"], done["refunded"], done["credit_memo"]["number"]) == ("closed", {"amount": "22", "currency": "USD"}, "CM-RMA-shop-R1")
    assert isinstance(intent(world, "shop", "ApproveReturn"), ApproveReturn)
    assert isinstance(intent(world, "shop", "CloseReturn"), CloseReturn)
    assert isinstance(intent(world, "erp", "PostCreditMemo"), PostCreditMemo)
    assert isinstance(intent(world, "shop", "RefundReturn"), RefundReturn)


# ------------------------------------------------------------------ late copies, and what is written once


def test_late_copies_of_the_workflows_requests_change_nothing() -> None:
    world = a_world()
    shipped(world)
    ask(world)
    first = json.loads(next(body for _, body in world.queues.sent if '"request": "authorise"' in body))
    before = state(world)
    returns.request(ReturnStepRequest.model_validate(first), world.services)
    assert state(world) == before
    comes(world, receipt(("BOLT", "2", RESTOCK)))
    returns.stuck(StuckNotice(request="stuck", return_id=RMA), world.services)
    assert world.open_codes() == []
    assert returns.next_deadline(state(world), world.services) is None
    returns.restart(RMA, attempt=1, services=world.services)
    assert world.workflow.running(RMA) is False
    returns.watched(RMA, world.services, world.clock.now())
    returns.watched("RMA-nobody", world.services, world.clock.now())
    returns.stuck(StuckNotice(request="stuck"), world.services)


def test_a_held_return_is_asked_about_again_when_goods_leave() -> None:
    world = a_world()
    world.place()
    world.run()
    ask(world)
    assert world.open_codes() == ["RETURN_NOT_ELIGIBLE"]
    held = state(world)
    assert returns.next_deadline(held, world.services) == held.due_at
    world.tell("erp", world.dispatch("shop-1.1"))
    world.run()
    assert (state(world).status, world.open_codes()) == (ReturnStatus.AUTHORISED, [])


def _ended_between_look_and_write(world: World) -> None:
    real = world.returns.change

    def change(return_id: str, decide: Any) -> ReturnRecord:
        world.returns.change = real  # type: ignore[method-assign]
        real(return_id, lambda current: current.model_copy(update={"ending": ReturnStatus.WITHDRAWN, "ending_reason": "kept"}))
        return real(return_id, decide)

    world.returns.change = change  # type: ignore[method-assign]


@pytest.mark.parametrize("policy", [None, Returns(authorise_up_to=Decimal(1))])
def test_what_was_called_off_meanwhile_is_neither_authorised_nor_held(policy: Returns | None) -> None:
    world = a_world(policy)
    shipped(world)
    real, world.workflow.start = world.workflow.start, lambda *_, **__: None  # type: ignore[method-assign]
    ask(world)
    world.workflow.start = real  # type: ignore[method-assign]
    _ended_between_look_and_write(world)
    returns.authorise(RMA, world.services)
    assert (state(world).authorised_at, state(world).status, world.open_codes()) == (None, ReturnStatus.REQUESTED, [])
    returns.authorise(RMA, world.services)
    assert state(world).authorised_at is None


def test_an_effect_that_is_under_way_is_not_overtaken_by_calling_off() -> None:
    world = a_world()
    shipped(world, an_order(lines=[line("1", "VALVE", "6", "20")]))
    ask(world, a_return(("VALVE", "2")))
    world.returns.change(RMA, lambda current: current.model_copy(update={"told": ("ApproveReturn",), "warehouse_id": None, "ending": ReturnStatus.WITHDRAWN}))
    returns.advance(RMA, world.services)
    world.run()
    assert state(world).status is ReturnStatus.CALLING_OFF, "the warehouse may have it: its own delivery tells"
    deliver.deliver(OutboundMessage(command="ExpectReturn", connection="threepl", return_id=RMA), world.services)
    world.run()
    assert state(world).status is ReturnStatus.WITHDRAWN
    assert did(world, "threepl", "CallOffReturn") == [RMA]


def test_less_than_one_of_the_storefronts_units_is_refunded_by_amount_alone() -> None:
    world = a_world(Returns(authorise_up_to=Decimal(10_000)))
    shipped(world, an_order(lines=[line("1", "BOLT", "1", "120", unit="CS")]))
    ask(world, a_return(("BOLT", "5")))
    comes(world, receipt(("BOLT", "5", RESTOCK)))
    refund: RefundReturn = intent(world, "shop", "RefundReturn")
    assert (refund.lines, refund.amount) == ((), usd(55))


def test_a_policy_may_send_all_returns_to_one_place() -> None:
    world = a_world(Returns(location="DAL"))
    shipped(world)
    ask(world)
    assert state(world).location == "DAL"


def test_services_are_not_sent_back() -> None:
    world = a_world()
    shipped(world, an_order(lines=[line("1", "BOLT", "1", "10"), line("2", "NUT", "1", "5", requires_shipping=False)]))
    ask(world, a_return(("NUT", "1")))
    assert world.open_codes() == ["RETURN_NOT_ELIGIBLE"]


def _meanwhile(world: World, **updates: object) -> None:
    """Between the next look and its write another worker writes."""
    real = world.returns.change

    def change(return_id: str, decide: Any) -> ReturnRecord:
        world.returns.change = real  # type: ignore[method-assign]
        real(return_id, lambda current: current.model_copy(update=updates))
        return real(return_id, decide)

    world.returns.change = change  # type: ignore[method-assign]


def test_an_order_that_comes_while_its_return_is_being_parked_is_joined() -> None:
    world = a_world()
    shipped(world)
    real = world.orders.get
    answers = iter([None])
    world.orders.get = lambda order_id: next(answers, real(order_id))  # type: ignore[method-assign]
    facts.apply(event("shop", ReturnRequested.model_validate({"return": a_return().model_dump()})), world.services)
    world.orders.get = real  # type: ignore[method-assign]
    world.run()
    assert state(world).status is ReturnStatus.AUTHORISED


def test_a_question_that_another_worker_has_answered_is_not_answered_twice() -> None:
    world = a_world()
    shipped(world)
    ask(world)
    before = state(world)
    waiting = before.waiting
    assert waiting is not None
    _meanwhile(world, waiting=waiting.model_copy(update={"answer": {"received": True}}))
    world.returns.records[RMA] = before.model_copy(update={"receipts": (receipt(("BOLT", "2", RESTOCK)).receipt,)})
    returns.advance(RMA, world.services)
    assert (state(world).settled, state(world).status) == ((), ReturnStatus.AUTHORISED)


def test_goods_settled_meanwhile_are_not_called_off() -> None:
    world = a_world()
    shipped(world)
    ask(world)
    _meanwhile(world, status=ReturnStatus.SETTLING)
    facts.apply(event("shop", ReturnWithdrawn(return_id=RMA, withdrawn_at=START)), world.services)
    assert (state(world).ending, state(world).status) == (None, ReturnStatus.SETTLING)


def test_a_withdrawal_told_twice_is_one() -> None:
    world = a_world()
    shipped(world)
    ask(world)
    for _ in range(2):
        world.tell("shop", ReturnWithdrawn(return_id=RMA, reason="kept", withdrawn_at=START))
        world.run()
    assert world.audit.actions(RMA).count("ReturnWithdrawn") == 1


def test_a_command_delivered_again_is_recorded_once() -> None:
    world = a_world()
    shipped(world)
    ask(world)
    before = state(world)
    deliver.deliver(OutboundMessage(command="ApproveReturn", connection="shop", return_id=RMA), world.services)
    assert state(world) == before
    assert did(world, "shop", "ApproveReturn") == [RMA]


def test_a_return_asked_for_elsewhere_needs_no_storefront_that_knows_it() -> None:
    world = a_world(shop=RETURN_COMMANDS["shop"])
    shipped(world)
    facts.apply(event("direct", ReturnRequested.model_validate({"return": a_return().model_dump()})), world.services)
    world.run()
    comes(world, receipt(("BOLT", "2", RESTOCK)))
    assert (state(world).status, state(world).storefront_id) == (ReturnStatus.CLOSED, None)


def test_what_lacks_only_its_last_answer_is_finished_by_the_watch() -> None:
    world = a_world()
    shipped(world)
    ask(world)
    comes(world, receipt(("BOLT", "2", RESTOCK)))
    done = state(world)
    assert done.waiting is not None
    unanswered = {"status": ReturnStatus.SETTLING, "closed_at": None, "due_at": world.clock.now(), "waiting": done.waiting.model_copy(update={"answer": None})}
    world.returns.records[RMA] = done.model_copy(update=unanswered)
    world.watch()
    assert state(world).status is ReturnStatus.CLOSED
    assert world.open_codes() == []
