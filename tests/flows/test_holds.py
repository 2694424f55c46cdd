"""Does an order wait for a person when it should, and go on exactly as they decide?"""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from crossdock.domain.errors import NeedsPerson, Rejected, RetryLater
from crossdock.domain.exception_record import ExceptionStatus
from crossdock.domain.messages import StepRequest
from crossdock.domain.order import Order
from crossdock.domain.order_record import OrderStatus
from crossdock.domain.waiting import Step
from crossdock.flows import allocate, exceptions
from crossdock.flows import order as order_flow
from tests.flows.world import ADDRESS, World, an_order, line, spec, usd


def resolve(world: World, code: str, decision: str, note: str = "agreed") -> str:
    return exceptions.resolve(world.the_exception(code).exception_id, decision=decision, note=note, actor="jo", services=world.services, letters=world.letters)


def retry(world: World, code: str) -> str:
    return exceptions.retry(world.the_exception(code).exception_id, actor="jo", services=world.services, letters=world.letters)


def over_the_limit(world: World) -> None:
    world.erp.accounts["C10010"] = world.erp.accounts["C10010"].model_copy(update={"balance": usd(9_990)})


HOLDS: list[tuple[str, Order, dict[str, Any]]] = [
    ("ADDRESS_INCOMPLETE", an_order(ship_to=ADDRESS.model_copy(update={"city": ""})), {}),
    ("TOTAL_MISMATCH", an_order(total=usd(100)), {}),
    ("TAX_DIFFERENCE", an_order(lines=[line("1", "BOLT", "3", "10", tax="0")]), {}),
    ("FREIGHT_DIFFERENCE", an_order(freight=usd(99)), {}),
    ("FREIGHT_DIFFERENCE", an_order(shipping_method="Courier"), {"freight": {"closed": True}}),
    ("PRICE_DIFFERENCE", an_order(lines=[line("1", "BOLT", "3", "9")]), {"holds": {"price": {"on_expiry": "escalate"}}}),
    ("UNKNOWN_SKU", an_order(lines=[line("1", "SCREW", "3", "9")]), {"articles": {"SCREW": {"codes": {"erp": "9"}}}}),
    ("UNKNOWN_CUSTOMER", an_order(), {"cross_references": {"customers": {"shop": {"company-1": "C99"}}}}),
]


@pytest.mark.parametrize(("code", "order", "changes"), HOLDS, ids=[f"{number} {code}" for number, (code, _, _) in enumerate(HOLDS)])
def test_a_difference_holds_the_order_and_an_approval_lets_it_pass(code: str, order: Order, changes: dict[str, Any]) -> None:
    world = World(spec(**changes))
    world.place(order)
    world.run()
    assert world.status() == "held"
    assert world.effects_done() == []
    assert world.stock.outstanding() == []
    assert world.open_codes() == [code]
    found = world.the_exception(code)
    assert found.kind == "hold"
    assert found.money_at_risk == order.total
    assert world.balance().orders.held == 1
    if code == "UNKNOWN_SKU":
        world.erp.price_list["9"] = world.erp.price_list["70010"].model_copy(update={"price": usd(9)})
        world.stock.shelf["SCREW", "CHI"] = world.stock.shelf["BOLT", "CHI"].model_copy(update={"sku": "SCREW"})
    resolve(world, code, "approve")
    world.run()
    assert world.status() == "released"
    assert world.open_codes() == []


def test_a_rejected_hold_cancels_and_the_storefront_is_told() -> None:
    world = World()
    over_the_limit(world)
    world.place()
    world.run()
    assert resolve(world, "CREDIT_LIMIT", "reject").startswith("rejected")
    world.run()
    assert world.status() == "cancelled"
    assert world.effects_done() == [("CancelOrder", "shop-1")]
    assert world.record().cancel_reason == "CREDIT_LIMIT refused by jo: agreed"


def test_a_retry_checks_again_with_what_is_true_now() -> None:
    world = World()
    over_the_limit(world)
    world.place()
    world.run()
    retry(world, "CREDIT_LIMIT")
    world.run()
    assert world.status() == "held", "nothing has changed"
    assert world.the_exception("CREDIT_LIMIT").status is ExceptionStatus.OPEN
    world.erp.accounts["C10010"] = world.erp.accounts["C10010"].model_copy(update={"balance": usd(0)})
    retry(world, "CREDIT_LIMIT")
    world.run()
    assert world.status() == "released"
    assert [entry.action for entry in world.the_exception("CREDIT_LIMIT").history] == ["opened", "resolved", "reopened", "resolved"]


def test_a_changed_difference_needs_a_new_approval() -> None:
    world = World()
    over_the_limit(world)
    world.place()
    world.run()
    world.erp.accounts["C10010"] = world.erp.accounts["C10010"].model_copy(update={"balance": usd(9_999)})
    resolve(world, "CREDIT_LIMIT", "approve")
    world.run()
    assert world.status() == "held", "the approval was for a balance of 9,990"
    resolve(world, "CREDIT_LIMIT", "approve")
    world.run()
    assert world.status() == "released"


def test_prices_that_differ_below_the_cent_are_different_prices() -> None:
    """An approval of 0.0112 does not cover 0.0149, though both are 0.01 USD on paper."""
    world = World()
    world.erp.price_list["70010"] = world.erp.price_list["70010"].model_copy(update={"price": usd("0.0200")})
    world.place(an_order(lines=[line("1", "BOLT", "90", "0.0112", tax="0.10")]))
    world.run()
    assert world.the_exception("PRICE_DIFFERENCE").hold.seen == {"BOLT": "storefront 0.0112 USD, ERP 0.02 USD"}  # type: ignore[union-attr]
    world.update(an_order(lines=[line("1", "BOLT", "90", "0.0149", tax="0.13")], source_version="2026-10-05T09:00:00Z"))
    world.run()
    assert world.record().placed.lines[0].unit_price == usd("0.0149"), "a change below the cent is a change"
    resolve(world, "PRICE_DIFFERENCE", "approve")
    world.run()
    assert world.status() == "held"


def test_a_hold_is_answered_once_however_often_the_request_is_delivered() -> None:
    """A late copy of the hold's request must not put the order on hold again, nor displace the step that waits now."""
    world = World()
    over_the_limit(world)
    world.place()
    world.run()
    late = next(json.loads(body) for _, body in world.queues.sent if '"hold"' in body)
    resolve(world, "CREDIT_LIMIT", "approve")
    order_flow.request(StepRequest.model_validate(late), world.services)
    world.run()
    for request in [json.loads(body) for _, body in world.queues.sent if '"token"' in body]:
        order_flow.request(StepRequest.model_validate(request), world.services)
    world.run()
    assert world.status() == "released"
    assert world.record().waiting is not None
    assert world.record().waiting.step is Step.RELEASE  # type: ignore[union-attr]
    assert world.open_codes() == []
    world.tell("erp", world.dispatch("shop-1.1"))
    world.run()
    assert world.status() == "completed"


def test_a_request_that_the_engine_sent_twice_is_answered_whichever_counts() -> None:
    """The first sending seemed to fail, the engine asked again with a new token; the messages arrive in the wrong order."""
    world = World()
    world.place()
    for _ in range(5):
        world._step()
    assert world.record().waiting is not None
    world.run()
    live = world.record().waiting.token  # type: ignore[union-attr]
    order_flow.request(StepRequest(request=Step.RELEASE, order_id="shop-1", token="of the sending that seemed to fail"), world.services)
    assert world.record().waiting.older == (live,)  # type: ignore[union-attr]
    order_flow.request(StepRequest(request=Step.RELEASE, order_id="shop-1", token=live), world.services)
    world.tell("erp", world.dispatch("shop-1.1"))
    world.run()
    assert world.status() == "completed"


def test_a_held_order_takes_over_the_storefronts_newer_version() -> None:
    world = World()
    world.place(an_order(ship_to=ADDRESS.model_copy(update={"city": ""})))
    world.run()
    world.update(an_order(source_version="2026-10-05T09:00:00Z"))
    world.update(an_order(source_version="2026-10-05T08:30:00Z", ship_to=ADDRESS.model_copy(update={"city": "Nowhere"})))
    world.run()
    assert world.record().placed.ship_to.city == "Joliet", "the older version came later and counts nothing"
    retry(world, "ADDRESS_INCOMPLETE")
    world.run()
    assert world.status() == "released"


def test_of_two_updates_at_once_the_newer_one_wins() -> None:
    world = World()
    world.place(an_order(ship_to=ADDRESS.model_copy(update={"city": ""})))
    world.run()
    newest = an_order(source_version="2026-10-05T10:00:00Z")
    world.orders.before_write.append(lambda: (world.orders.before_write.clear(), world.update(newest), world.run()))
    world.update(an_order(source_version="2026-10-05T09:00:00Z", ship_to=ADDRESS.model_copy(update={"city": "Nowhere"})))
    world.run()
    assert world.record().placed == newest.model_copy(update={"customer": world.record().placed.customer})


def test_an_update_after_the_reservation_is_a_persons_business_once() -> None:
    world = World()
    world.place()
    world.run()
    newer = an_order(source_version="2026-10-05T09:00:00Z", ship_to=ADDRESS.model_copy(update={"line1": "2 Other Road"}))
    world.update(newer)
    world.update(newer)
    world.update(an_order(source_version="2026-10-05T09:30:00Z"))
    world.run()
    assert world.open_codes() == ["ORDER_CHANGED_AFTER_POSTING"]
    assert world.the_exception("ORDER_CHANGED_AFTER_POSTING").occurrences == 1
    world.tell("erp", world.dispatch("shop-1.1"))
    world.run()
    assert world.status() == "completed", "it does not hold up what ships"
    world.update(an_order(source_version="2026-10-05T11:00:00Z", freight=usd(11)))
    world.run()
    assert len(world.exceptions.records) == 1


def test_an_update_while_the_stock_is_being_reserved_is_not_shipped_by_halves() -> None:
    """The newer version is taken over after the plan was made: the plan is for another quantity."""
    world = World()
    world.place()
    newer = an_order(lines=[line("1", "BOLT", "30", "10")], source_version="2026-10-05T09:00:00Z")
    world.stock.before_reserve.append(lambda: (world.update(newer), [world._work(queue) for queue in world.queues.messages for _ in range(3)]))
    world.run()
    assert world.status() == "held"
    assert world.open_codes() == ["ORDER_CHANGED_WHILE_RESERVING"]
    with pytest.raises(Rejected, match="INVALID_DECISION"):
        resolve(world, "ORDER_CHANGED_WHILE_RESERVING", "approve")
    resolve(world, "ORDER_CHANGED_WHILE_RESERVING", "reject")
    world.run()
    assert world.status() == "cancelled"
    assert world.stock.outstanding() == []


# ------------------------------------------------------------------ the ERP's total


def test_another_total_in_the_erp_holds_before_anything_is_released() -> None:
    world = World()
    world.erp.total_adjustment = Decimal(3)
    world.place()
    world.run()
    assert world.status() == "held"
    assert world.effects_done() == [("CreateSalesOrder", "shop-1")]
    assert world.the_exception("ERP_TOTAL_DIFFERENCE").hold.seen == {"storefront": "54.00 USD", "erp": "57.00 USD"}  # type: ignore[union-attr]
    assert retry(world, "ERP_TOTAL_DIFFERENCE") == "the totals still differ: the hold stays"
    world.erp.totals["SO-shop-1"] = usd(56)
    assert retry(world, "ERP_TOTAL_DIFFERENCE") == "the totals still differ: the hold stays"
    assert world.the_exception("ERP_TOTAL_DIFFERENCE").hold.seen["erp"] == "56.00 USD", "it shows what the ERP says now"  # type: ignore[union-attr]
    world.erp.totals["SO-shop-1"] = usd(54)
    assert retry(world, "ERP_TOTAL_DIFFERENCE") == "the order goes on"
    world.run()
    assert world.status() == "released"
    assert world.open_codes() == []


def test_the_erps_total_can_be_approved_and_rejected() -> None:
    for decision, end in [("approve", "released"), ("reject", "cancelled")]:
        world = World()
        world.erp.total_adjustment = Decimal(3)
        world.place()
        world.run()
        resolve(world, "ERP_TOTAL_DIFFERENCE", decision)
        world.run()
        assert world.status() == end
        assert world.open_codes() == []
        assert (("CancelSalesOrder", "shop-1") in world.effects_done()) is (decision == "reject")


def test_a_difference_that_nobody_was_asked_about_is_asked_by_the_watch() -> None:
    """The worker died between closing the hold and opening it again."""
    world = World()
    world.erp.total_adjustment = Decimal(3)
    world.place()
    world.run()
    world.orders.change("shop-1", lambda current: current.model_copy(update={"status": OrderStatus.POSTED, "due_at": world.clock.now()}))
    world.exceptions.records.clear()
    world.later(rounds=1)
    assert world.open_codes() == ["ERP_TOTAL_DIFFERENCE"]
    assert world.status() == "held"


# ------------------------------------------------------------------ stock


def test_no_warehouse_holds_and_a_retry_finds_the_new_stock() -> None:
    world = World()
    world.place(an_order(lines=[line("1", "PUMP", "6", "300")]))
    world.run()
    assert world.the_exception("NO_VALID_WAREHOUSE").hold.seen == {"PUMP": "needs 6; CHI has 0, DAL has 0, MOR has 5"}  # type: ignore[union-attr]
    with pytest.raises(Rejected, match="cannot be approved away"):
        resolve(world, "NO_VALID_WAREHOUSE", "approve")
    world.stock.shelf["PUMP", "MOR"] = world.stock.shelf["PUMP", "MOR"].model_copy(update={"on_hand": Decimal(6)})
    retry(world, "NO_VALID_WAREHOUSE")
    world.run()
    assert world.status() == "released"


def test_a_backorder_that_waits_tries_again_by_itself_until_its_deadline() -> None:
    world = World(spec(routing={"backorder": "wait", "backorder_retry_minutes": 15}, holds={"warehouse": {"deadline_minutes": 120}}))
    world.place(an_order(lines=[line("1", "PUMP", "6", "300")]))
    world.run()
    world.later(rounds=3, minutes=20)
    assert world.the_exception("NO_VALID_WAREHOUSE").occurrences == 4
    world.stock.shelf["PUMP", "MOR"] = world.stock.shelf["PUMP", "MOR"].model_copy(update={"on_hand": Decimal(6)})
    world.later(rounds=1, minutes=20)
    assert world.status() == "released"
    assert world.open_codes() == [], "the plan that was found settles the hold"


def test_a_reservation_that_always_comes_second_is_tried_again_later() -> None:
    world = World()
    world.place()

    def others_first() -> None:
        world.stock.before_reserve.append(others_first)
        level = world.stock.shelf["BOLT", "CHI"]
        world.stock.shelf["BOLT", "CHI"] = level.model_copy(update={"committed": level.on_hand if level.committed == 0 else Decimal(0)})

    real = world.stock.levels
    world.stock.levels = lambda keys: {key: level.model_copy(update={"committed": Decimal(0)}) for key, level in real(keys).items()}  # type: ignore[method-assign]
    world.stock.shelf["BOLT", "CHI"] = world.stock.shelf["BOLT", "CHI"].model_copy(update={"committed": Decimal(100)})
    world._step(), world._step()
    with pytest.raises(RetryLater, match="STOCK_CONTENTION"):
        order_flow.reserve("shop-1", world.services)
    assert allocate.MAX_REPLANS > 1
    world.run()
    assert world.open_codes() == ["CHECKS_FAILED"]


def test_another_order_between_plan_and_commit_means_planning_again() -> None:
    world = World()
    world.place()

    def other() -> None:
        level = world.stock.shelf["BOLT", "CHI"]
        world.stock.shelf["BOLT", "CHI"] = level.model_copy(update={"on_hand": Decimal(1)})

    world.stock.before_reserve.append(other)
    world.run()
    assert [part.plan.location for part in world.record().parts] == ["MOR"], "the first location that can still ship all of it"
    assert all(level.available >= 0 for level in world.stock.shelf.values())


def test_an_order_with_nothing_to_ship_is_posted_handed_over_and_billed() -> None:
    world = World()
    world.place(an_order(lines=[line("1", "SETUP", "1", "50", requires_shipping=False)], ship_to=ADDRESS.model_copy(update={"city": ""})))
    world.run()
    assert world.status() == "completed"
    assert world.effects_done() == [("ConfirmShipment", "shop-1.1"), ("CreateSalesOrder", "shop-1"), ("PostInvoice", "shop-1.1")]
    assert world.stock.outstanding() == []


def test_an_order_without_any_quantity_is_held() -> None:
    world = World()
    world.place(an_order(lines=[line("1", "BOLT", "0", "10")]))
    world.run()
    assert world.open_codes() == ["ORDER_EMPTY"]


# ------------------------------------------------------------------ checks that fail


def test_checks_that_cannot_be_run_hold_the_order_with_their_reason() -> None:
    world = World()
    world.erp.price_list = {}
    real = world.erp.prices
    world.erp.prices = lambda account, questions: (_ for _ in ()).throw(RetryLater("VENDOR_UNAVAILABLE", "no connection"))  # type: ignore[method-assign]
    world.place()
    world.run()
    assert world.open_codes() == ["CHECKS_FAILED"]
    assert "no connection" in world.the_exception("CHECKS_FAILED").detail
    world.erp.prices = real  # type: ignore[method-assign]
    world._furnish()
    retry(world, "CHECKS_FAILED")
    world.run()
    assert world.status() == "released"


@pytest.mark.parametrize(
    "why",
    [
        None,
        "Error: no JSON {here",
        {"Error": "States.TaskFailed", "Cause": "x" * 5000},
        {"Error": "Held", "Cause": json.dumps({"outcome": "held"})},
        {"Error": "Held", "Cause": ["not", "text"]},
    ],
)
def test_whatever_the_engine_says_a_failed_check_becomes_a_hold(why: object) -> None:
    world = World()
    world.place()
    world._step(), world._step()
    order_flow.request(StepRequest.model_validate({"request": "hold", "order_id": "shop-1", "token": "t", "why": why}), world.services)
    assert world.open_codes() == ["CHECKS_FAILED"]


@pytest.mark.parametrize("wrapped", [lambda hold: hold, json.dumps, lambda hold: {"Error": "Held", "Cause": "D3137: " + json.dumps({"outcome": "held", "hold": hold})}])
def test_the_hold_is_found_however_the_engine_wrapped_it(wrapped: Any) -> None:
    world = World()
    world.place()
    world._step(), world._step()
    hold = {"kind": "credit", "code": "CREDIT_LIMIT", "detail": "too much", "remedy": "pay", "seen": {"limit": "1"}, "fingerprint": "f"}
    order_flow.request(StepRequest.model_validate({"request": "hold", "order_id": "shop-1", "token": "t", "why": wrapped(hold)}), world.services)
    assert world.the_exception("CREDIT_LIMIT").hold.seen == {"limit": "1"}  # type: ignore[union-attr]


def test_a_missing_cross_reference_inside_the_checks_holds_for_master_data() -> None:
    for changes, order, kind in [
        ({"articles": {"SETUP": {"codes": {}}}}, an_order(lines=[line("1", "SETUP", "1", "50", requires_shipping=False)]), "sku"),
        ({"cross_references": {"units": {"erp": {"PCS": "EA"}, "shop": {"CS": "CS"}}}}, an_order(lines=[line("1", "BOLT", "1", "120", unit="CS")]), "unit"),
        ({}, an_order(lines=[line("1", "PUMP", "1", "300", unit="CS")]), "unit"),
        ({}, an_order(lines=[line("1", "BOLT", "0.5", "10")]), "unit"),
    ]:
        world = World(spec(**changes))
        world.place(order)
        world.run()
        assert [record.hold.kind.value for record in world.exceptions.listed() if record.hold] == [kind]


def test_the_same_lack_found_only_by_the_reservation_holds_too() -> None:
    world = World()
    world.place(an_order(lines=[line("1", "BOLT", "0.5", "10")]))
    world._step(), world._step()
    assert order_flow.reserve("shop-1", world.services)["outcome"] == "held"


def test_a_case_is_priced_by_its_pieces_where_the_erp_prices_pieces() -> None:
    world = World()
    world.place(an_order(lines=[line("1", "BOLT", "1", "120", unit="CS")]))
    world.run()
    assert world.status() == "released"


def test_a_price_in_a_unit_nobody_asked_for_is_no_price() -> None:
    world = World()
    world.erp.price_list["70010"] = world.erp.price_list["70010"].model_copy(update={"unit": "PALLET"})
    world.place()
    world.run()
    assert world.open_codes() == ["UNKNOWN_SKU"]


def test_checks_of_an_unknown_order_say_so() -> None:
    world = World()
    with pytest.raises(NeedsPerson, match="there is no order"):
        order_flow.validate("shop-9", world.services)


def test_what_stands_in_the_erp_is_not_checked_again() -> None:
    world = World()
    world.place()
    world.run()
    world.erp.accounts.clear()
    assert [check("shop-1", world.services) for check in (order_flow.validate, order_flow.check_price, order_flow.check_credit, order_flow.reserve)] == [order_flow.PASSED] * 4


# ------------------------------------------------------------------ deadlines


def test_a_hold_nobody_decides_is_escalated_once_and_closed_with_the_decision() -> None:
    world = World()
    over_the_limit(world)
    world.place()
    world.run()
    world.later(rounds=1, minutes=30)
    assert world.open_codes() == ["CREDIT_LIMIT"]
    world.later(rounds=3, hours=25)
    assert world.open_codes() == ["CREDIT_LIMIT", "HOLD_EXPIRED"]
    assert world.the_exception("HOLD_EXPIRED").occurrences == 1
    resolve(world, "CREDIT_LIMIT", "approve")
    world.run()
    assert world.open_codes() == []


def test_a_hold_nobody_decides_cancels_where_the_policy_says_so() -> None:
    world = World()
    world.place(an_order(lines=[line("1", "BOLT", "3", "9")]))
    world.run()
    assert world.open_codes() == ["PRICE_DIFFERENCE"]
    world.later(rounds=2, hours=1)
    assert world.status() == "cancelled"
    assert world.effects_done() == [("CancelOrder", "shop-1")]
    assert world.open_codes() == []


def test_a_held_order_without_its_exception_is_looked_at_again() -> None:
    world = World()
    over_the_limit(world)
    world.place()
    world.run()
    world.exceptions.records.clear()
    assert not world.balance().adds_up
    world.clock.pass_by(hours=2)
    world.watch()
    assert world.record().due_at == world.clock.now() + timedelta(minutes=5)


def test_an_order_that_is_held_anew_after_its_reservation_ends_completed() -> None:
    """Its workflow was started again, and the ERP charges more by now: what is reserved stays reserved."""
    world = World()
    world.place()
    for _ in range(40):
        if world.orders.get("shop-1") is not None and world.status() == "reserved":
            break
        world._step()
    assert world.status() == "reserved"
    world.workflow.stop("shop-1")
    world.erp.price_list["70010"] = world.erp.price_list["70010"].model_copy(update={"price": usd(12)})
    world.later(1)
    exceptions.retry(world.the_exception("WORKFLOW_STOPPED").exception_id, actor="jo", services=world.services, letters=world.letters)
    world.autopilot()
    world.run()
    assert world.status() == "held"
    exceptions.resolve(world.the_exception("PRICE_DIFFERENCE").exception_id, decision="approve", note="agreed", actor="jo", services=world.services, letters=world.letters)
    world.run()
    assert world.status() == "completed"
    assert world.balance().adds_up
