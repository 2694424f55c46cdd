"""A warehouse gives a part up: does another ship it, once, with its stock, its lines in the ERP and its release each moved in turn?"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from crossdock.domain.commands import MoveSalesOrderLines
from crossdock.domain.errors import NeedsPerson, Rejected, UnknownOutcome
from crossdock.domain.events import FulfillmentRefused
from crossdock.domain.messages import OutboundMessage
from crossdock.domain.stage import QueueName
from crossdock.flows import exceptions, reroute
from crossdock.flows.commands_of import intent_of
from tests.flows.world import MANIFESTS, World, an_order, line, spec

ANY = [{"reasons": []}]


def a_world(rules: list[dict[str, Any]] | None = None, *, able: bool = True, **changes: Any) -> World:
    erp = MANIFESTS["erp"].model_copy(update={"commands": (*MANIFESTS["erp"].commands, *(("MoveSalesOrderLines",) if able else ()))})
    routing = {"on_refusal": ANY if rules is None else rules, **changes.pop("routing", {})}
    return World(spec(routing=routing, **changes), manifests={"erp": erp})


def placed(world: World, *lines: Any) -> None:
    world.place(an_order(1, list(lines) or [line("1", "BOLT", "3", "10"), line("2", "BOLT", "1", "120", unit="CS")]))
    world.run()
    assert world.status() == "released"


def refuse(world: World, part_id: str = "shop-1.1", reason: str = "cannot find it", *, final: bool = True) -> None:
    connection = world.part(part_id).plan.connection
    world.tell(connection, FulfillmentRefused(part_reference=part_id, reason=reason, final=final, refused_at=world.clock.now()))
    world.run()


def committed(world: World, sku: str = "BOLT") -> dict[str, int]:
    return {place: int(level.committed) for (name, place), level in world.stock.shelf.items() if name == sku and level.committed}


def ship(world: World, part_id: str) -> None:
    world.tell(world.part(part_id).plan.connection, world.dispatch(part_id))
    world.run()


def test_what_one_warehouse_gives_up_ships_from_the_next_that_has_all_of_it() -> None:
    world = a_world()
    placed(world)
    refuse(world)
    new, old = world.record().parts
    assert (old.plan.part_id, old.status.value, old.rerouted) == ("shop-1.1", "cancelled", True)
    assert (new.plan.part_id, new.plan.location, new.status.value) == ("shop-1.2", "DAL", "released")
    assert committed(world) == {"DAL": 15}
    moved = world.erp.intents["MoveSalesOrderLines", "shop-1.2"]
    assert isinstance(moved, MoveSalesOrderLines)
    assert (moved.location_code, [(one.line_id, one.erp_line_id, one.quantity) for one in moved.lines]) == ("DAL", [("1", "10000", 3), ("2", "20000", 1)])
    ship(world, "shop-1.2")
    assert (world.status(), world.open_codes()) == ("completed", [])
    invoice = next(intent for (kind, _), intent in world.erp.intents.items() if kind == "PostInvoice")
    assert [one.erp_line_id for one in invoice.lines] == ["10000", "20000"]  # type: ignore[union-attr]
    assert world.stock.shelf["BOLT", "DAL"].on_hand == 35
    assert committed(world) == {}
    assert "FulfillmentRerouted" in world.audit.actions("shop-1")
    assert world.balance().adds_up


def test_told_again_it_moves_once() -> None:
    world = a_world()
    placed(world)
    refuse(world)
    refuse(world)
    world.later(3)
    assert len(world.record().parts) == 2
    assert [subject for kind, subject in world.effects_done() if kind in ("MoveSalesOrderLines", "ReleaseFulfillment")] == ["shop-1.2", "shop-1.1", "shop-1.2"]


@pytest.mark.parametrize(
    ("rules", "able", "lines", "final"),
    [
        ([], True, [], True),
        ([{"reasons": ["damaged"]}], True, [], True),
        ([{"reasons": [], "reroute": False}], True, [], True),
        (None, False, [], True),
        (None, True, [line("1", "PUMP", "2", "300")], True),
        (None, True, [], False),
    ],
    ids=["no rule", "another reason", "not rerouted", "the ERP cannot be told", "nobody else has it", "not final"],
)
def test_where_it_cannot_go_elsewhere_a_person_is_asked(rules: Any, able: bool, lines: list[Any], final: bool) -> None:
    world = a_world(rules, able=able)
    placed(world, *lines)
    before = committed(world, "PUMP" if lines else "BOLT")
    refuse(world, final=final)
    assert world.open_codes() == ["FULFILLMENT_REFUSED"]
    assert len(world.record().parts) == 1
    assert committed(world, "PUMP" if lines else "BOLT") == before


@pytest.mark.parametrize(("effect", "left"), [("keep", 100), ("take_off", 85), ("none_left", 0)])
def test_the_reason_says_what_becomes_of_the_stock_where_the_one_who_refuses_counts_it(effect: str, left: int) -> None:
    world = a_world([{"reasons": ["FIND"], "stock": effect}])
    placed(world)
    world.clock.pass_by(minutes=1)
    refuse(world)
    assert world.stock.shelf["BOLT", "CHI"].on_hand == left
    refuse(world)
    assert world.stock.shelf["BOLT", "CHI"].on_hand == left


def test_whoever_does_not_count_the_location_takes_nothing_off_it() -> None:
    chicago = {"title": "Chicago", "connection": "erp", "stock_from": "threepl", "codes": {"erp": "CHI", "shop": "71", "threepl": "9"}}
    world = a_world([{"reasons": [], "stock": "none_left"}], locations={"CHI": chicago})
    placed(world)
    world.clock.pass_by(minutes=1)
    refuse(world)
    assert world.stock.shelf["BOLT", "CHI"].on_hand == 100
    assert world.open_codes() == []


def test_a_bundle_and_a_part_among_others_move_to_where_no_part_of_the_order_is() -> None:
    kit = {"codes": {"erp": "KIT-1"}, "components": {"BOLT": "2", "NUT": "1"}}
    world = a_world(articles={"KIT": kit}, routing={"rules": [{"locations": ["CHI", "MOR", "DAL"]}]})
    world.erp.price_list["KIT-1"] = world.erp.price_list["70010"].model_copy(update={"sku": "KIT-1"})
    placed(world, line("1", "KIT", "3", "10"))
    refuse(world)
    assert [(part.plan.location, part.plan.lines[0].components) for part in world.record().parts if part.open] == [("MOR", {"BOLT": Decimal(6), "NUT": Decimal(3)})]
    assert (committed(world), committed(world, "NUT")) == ({"MOR": 6}, {"MOR": 3})


def test_stock_that_is_taken_meanwhile_is_looked_for_elsewhere() -> None:
    world = a_world()
    placed(world, line("1", "BOLT", "5", "10"))
    real = world.stock.move

    def taken_first(order_id: str, gone: Any, there: Any, *, token: str) -> bool:
        if there[0].location == "DAL":
            world.stock.shelf["BOLT", "DAL"] = world.stock.shelf["BOLT", "DAL"].model_copy(update={"on_hand": Decimal(0)})
        return real(order_id, gone, there, token=token)

    world.stock.move = taken_first  # type: ignore[method-assign]
    refuse(world)
    assert [part.plan.location for part in world.record().parts if part.open] == ["MOR"]
    assert committed(world) == {"MOR": 5}


def test_an_answer_of_the_erp_that_is_lost_is_looked_up() -> None:
    world = a_world()
    placed(world)
    world.erp.fail("MoveSalesOrderLines", UnknownOutcome("UNKNOWN_OUTCOME", "cut"), after_commit=True)
    refuse(world)
    world.later(2)
    assert [subject for kind, subject in world.effects_done() if kind == "MoveSalesOrderLines"] == ["shop-1.2"]
    assert world.part("shop-1.2").status.value == "released"


def test_an_erp_that_refuses_leaves_an_exception_that_can_be_retried() -> None:
    world = a_world()
    placed(world)
    world.erp.fail("MoveSalesOrderLines", Rejected("VENDOR_REFUSED", "released document"))
    refuse(world)
    assert world.open_codes() == ["VENDOR_REFUSED"]
    assert world.record().part("shop-1.2") is None
    exceptions.retry(world.the_exception("VENDOR_REFUSED").exception_id, actor="jo", services=world.services, letters=world.letters)
    world.run()
    ship(world, "shop-1.2")
    assert world.status() == "completed"


@pytest.mark.parametrize("when", ["before the ERP is told", "after"])
def test_an_order_that_is_called_off_on_the_way_gives_everything_back(when: str) -> None:
    world = a_world()
    before = {key: level.available for key, level in world.stock.shelf.items()}
    placed(world)
    if when == "before the ERP is told":
        world.erp.fail("MoveSalesOrderLines", Rejected("VENDOR_REFUSED", "released document"))
    refuse(world)
    world.cancel()
    world.run()
    world.later(3)
    assert world.status() == "cancelled"
    assert {key: level.available for key, level in world.stock.shelf.items()} == before
    assert not [lines for _, lines in world.stock.outstanding() if lines]
    assert world.balance().adds_up


def test_a_part_that_is_called_off_on_the_way_gives_back_where_it_is_reserved_now() -> None:
    world = a_world(routing={"rules": [{"locations": ["MOR", "CHI", "DAL"]}]})
    before = {key: level.available for key, level in world.stock.shelf.items()}
    placed(world, line("1", "PUMP", "2", "300"), line("2", "BOLT", "45", "10"))
    assert [(part.plan.part_id, part.plan.location) for part in world.record().parts] == [("shop-1.1", "MOR"), ("shop-1.2", "CHI")]
    world.erp.fail("MoveSalesOrderLines", Rejected("VENDOR_REFUSED", "released document"))
    refuse(world, "shop-1.2")
    assert committed(world) == {"DAL": 45}
    ship(world, "shop-1.1")
    world.cancel()
    world.run()
    assert world.part("shop-1.2").status.value == "cancelled"
    assert {key: level.available for key, level in world.stock.shelf.items()} == before | {("PUMP", "MOR"): before["PUMP", "MOR"] - 2}


def test_an_order_that_is_being_called_off_is_not_sent_elsewhere() -> None:
    world = a_world()
    placed(world)
    world.cancel()
    while world._work(QueueName.INBOUND) or world._work(QueueName.WORK):
        pass
    assert (world.status(), world.record().cancel_requested_at is not None) == ("released", True)
    world.tell("erp", FulfillmentRefused(part_reference="shop-1.1", reason="gone", final=True, refused_at=world.clock.now()))
    while world._work(QueueName.INBOUND) or world._work(QueueName.WORK):
        pass
    assert world.record().parts[0].moves_to is None
    world.run()
    assert (world.status(), len(world.record().parts), committed(world)) == ("cancelled", 1, {})


def test_goods_that_the_first_warehouse_ships_all_the_same_are_told_as_too_much() -> None:
    world = a_world(routing={"rules": [{"locations": ["MOR", "CHI"]}]})
    placed(world, line("1", "BOLT", "5", "10"))
    late = world.dispatch("shop-1.1")
    refuse(world)
    world.tell("threepl", late)
    world.run()
    assert "OVER_SHIPMENT" in world.open_codes()
    ship(world, "shop-1.2")
    assert committed(world) == {}


@pytest.mark.parametrize("cut", [0, *range(1, 16)])
def test_goods_that_leave_where_they_were_given_up_while_the_part_is_on_its_way_elsewhere_stay_what_they_are(cut: int) -> None:
    world = a_world()
    before = {key: level.available for key, level in world.stock.shelf.items()}
    placed(world)
    world.erp.fail("MoveSalesOrderLines", Rejected("VENDOR_REFUSED", "released document"))
    refuse(world)
    assert committed(world) == {"DAL": 15}
    if cut:
        world.lifeline.crash_after = world.lifeline.changes + cut
    ship(world, "shop-1.1")
    world.later(3, minutes=10)
    exceptions.retry(world.the_exception("VENDOR_REFUSED").exception_id, actor="jo", services=world.services, letters=world.letters)
    world.run()
    world.later(2, hours=2)
    assert (world.status(), world.open_codes()) == ("completed", [])
    assert [(part.plan.part_id, part.status.value) for part in world.record().parts] == [("shop-1.1", "shipped")]
    assert not [1 for kind, _ in world.effects_done() if kind == "MoveSalesOrderLines"]
    assert world.stock.shelf["BOLT", "CHI"].on_hand == 85
    assert {key: level.available for key, level in world.stock.shelf.items()} == before | {("BOLT", "CHI"): before["BOLT", "CHI"] - 15}
    assert not [lines for _, lines in world.stock.outstanding() if lines]


def test_goods_that_leave_while_the_erp_moves_their_lines_are_told_to_a_person() -> None:
    world = a_world()
    placed(world)
    late = world.dispatch("shop-1.1")
    real = world.erp.execute

    def and_meanwhile(intent: Any) -> Any:
        if isinstance(intent, MoveSalesOrderLines):
            world.tell("erp", late)
            while world._work(QueueName.INBOUND) or world._work(QueueName.WORK):
                pass
        return real(intent)

    world.erp.execute = and_meanwhile  # type: ignore[method-assign]
    refuse(world)
    world.later(2)
    assert (world.status(), world.open_codes()) == ("shipped", ["FULFILLMENT_REFUSED"])
    assert "back to CHI" in (world.the_exception("FULFILLMENT_REFUSED").remedy or "")
    assert (committed(world), world.stock.shelf["BOLT", "CHI"].on_hand, world.stock.shelf["BOLT", "DAL"].on_hand) == ({}, 85, 50)


@pytest.mark.parametrize("there", [50, 0], ids=["stock moves", "no stock there"])
def test_goods_that_leave_while_their_stock_moves_leave_nothing_reserved(there: int) -> None:
    world = a_world(routing={"rules": [{"locations": ["CHI", "DAL"]}]})
    placed(world)
    late, real, calls = world.dispatch("shop-1.1"), world.stock.move, []

    def and_meanwhile(order_id: str, gone: Any, at: Any, *, token: str) -> bool:
        calls.append(token)
        if len(calls) == 1:
            world.stock.shelf["BOLT", "DAL"] = world.stock.shelf["BOLT", "DAL"].model_copy(update={"on_hand": Decimal(there)})
            world.tell("erp", late)
            while world._work(QueueName.INBOUND) or world._work(QueueName.WORK):
                pass
        return real(order_id, gone, at, token=token)

    world.stock.move = and_meanwhile  # type: ignore[method-assign]
    refuse(world)
    assert (world.status(), world.open_codes(), len(world.record().parts)) == ("completed", [], 1)
    assert (committed(world), world.stock.shelf["BOLT", "CHI"].on_hand, world.stock.shelf["BOLT", "DAL"].on_hand) == ({}, 85, there)
    assert not [lines for _, lines in world.stock.outstanding() if lines]


def test_stock_that_somebody_else_takes_each_time_is_for_a_person() -> None:
    world = a_world()
    placed(world)
    world.stock.move = lambda *_arguments, **_named: False  # type: ignore[method-assign]
    refuse(world)
    assert world.open_codes() == ["FULFILLMENT_REFUSED"]
    assert world.record().parts[0].moves_to is None
    assert committed(world) == {"CHI": 15}


def test_whoever_hears_of_it_late_finds_it_done_and_what_was_planned_meanwhile() -> None:
    world = a_world()
    placed(world)
    before = world.record()
    refuse(world)
    assert reroute.refused(before, before.parts[0], "cannot find it", source="erp", reference="d", services=world.services)
    assert [part.plan.part_id for part in world.record().parts] == ["shop-1.2", "shop-1.1"]
    assert reroute._with_plan(world.record(), "shop-1.2", world.record().parts[0].plan) is None
    with pytest.raises(NeedsPerson, match="PART_UNKNOWN"):
        intent_of(OutboundMessage(command="MoveSalesOrderLines", connection="erp", order_id="shop-1", part_id="shop-1.1"), world.record(), world.services)


def test_a_shelf_that_is_empty_already_is_not_emptied_again() -> None:
    world = a_world([{"reasons": [], "reroute": False, "stock": "none_left"}])
    placed(world)
    world.clock.pass_by(minutes=1)
    refuse(world)
    changes = world.stock.shelf["BOLT", "CHI"].changes
    refuse(world)
    assert (world.stock.shelf["BOLT", "CHI"].on_hand, world.stock.shelf["BOLT", "CHI"].changes) == (0, changes)


@pytest.mark.parametrize("missing", ["everything", "a piece"])
def test_what_has_left_in_part_goes_nowhere_else(missing: str) -> None:
    world = a_world()
    placed(world, line("1", "BOLT", "5", "10"))
    if missing == "a piece":
        world.tell("erp", world.dispatch("shop-1.1", BOLT="4"))
        world.run()
    refuse(world)
    assert world.open_codes() == (["FULFILLMENT_REFUSED"] if missing == "a piece" else [])
    assert [part.plan.location for part in world.record().parts if part.open] == (["CHI"] if missing == "a piece" else ["DAL"])
    assert not [part for part in world.record().parts if part.moves_to]
    assert committed(world) == ({"CHI": 1} if missing == "a piece" else {"DAL": 5})


@pytest.mark.parametrize("cut", range(1, 26))
def test_a_crash_anywhere_on_the_way_ends_in_one_shipment_from_elsewhere(cut: int) -> None:
    world = a_world()
    placed(world)
    world.lifeline.crash_after = world.lifeline.changes + cut
    refuse(world)
    world.later(4, minutes=10)
    ship(world, "shop-1.2")
    world.later(3, minutes=10)
    assert world.status() == "completed", world.open_codes()
    assert len([1 for kind, subject in world.effects_done() if (kind, subject) == ("MoveSalesOrderLines", "shop-1.2")]) == 1
    assert (committed(world), world.stock.shelf["BOLT", "DAL"].on_hand, world.stock.shelf["BOLT", "CHI"].on_hand) == ({}, 35, 100)
    assert world.balance().adds_up
