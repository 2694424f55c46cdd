"""What if the worker dies between any two writes? Every story ends the same, with each effect done once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from crossdock.domain.errors import Rejected, UnknownOutcome
from crossdock.domain.messages import OutboundMessage
from crossdock.domain.order import OrderLine
from crossdock.domain.stage import QueueName
from crossdock.flows import exceptions
from tests.flows.world import Crash, World, an_order, line, spec, usd


def _split_order(world: World) -> None:
    """Two parts: one worked in the ERP, one at the 3PL, which counts pieces where the order counts cases; and a service nobody packs."""
    world.autopilot()
    world.place(an_order(lines=[*_two_places(), line("3", "SETUP", "1", "50", requires_shipping=False)]))
    world.run()
    assert [part.plan.location for part in world.record().parts] == ["CHI", "MOR", "CHI"]


def _two_places() -> list[OrderLine]:
    return [line("1", "BOLT", "2", "120", unit="CS"), line("2", "VALVE", "1", "120", unit="CS")]


def _lost_answers(world: World) -> None:
    """Every command's first answer is lost: after the commit for some, before it for others."""
    world.autopilot()
    lost = UnknownOutcome("UNKNOWN_OUTCOME", "no answer")
    for command, after in [("CreateSalesOrder", True), ("ReleaseFulfillment", False), ("PostInvoice", True)]:
        world.erp.fail(command, lost, after_commit=after)
    world.shop.fail("ConfirmShipment", lost, after_commit=True)
    world.place()
    world.run()


def _cancelled_after_release(world: World) -> None:
    _released(world)
    world.cancel()
    world.run()


def _cancelled_while_held(world: World) -> None:
    """Nothing is to be undone: the workflow's question is answered by the very worker that got it."""
    world.erp.accounts["C10010"] = world.erp.accounts["C10010"].model_copy(update={"balance": usd(9_990)})
    world.place()
    world.run()
    world.cancel()
    world.run()


def _cancelled_before_it_came(world: World) -> None:
    world.cancel()
    world.run()
    world.place()
    world.run()


def _released(world: World) -> None:
    world.place(an_order(lines=_two_places()))
    world.run()


def _cancelled_too_late(world: World) -> None:
    """One part has left when the customer cancels; the other is called back, and the rest is billed."""
    _released(world)
    world.threepl.shipped_parts.add("shop-1.2")
    world.tell("threepl", world.dispatch("shop-1.2"), event_id="ship-2")
    world.run()
    world.cancel()
    world.run()


def _cancelled_part_shipped(world: World) -> None:
    """The customer cancels when the goods are on the dock: the 3PL refuses, its shipment comes afterwards."""
    _released(world)
    world.threepl.shipped_parts.add("shop-1.2")
    world.cancel()
    world.run()
    world.tell("threepl", world.dispatch("shop-1.2"), event_id="ship-2")
    world.run()


def _held_and_approved(world: World) -> None:
    world.autopilot()
    world.erp.accounts["C10010"] = world.erp.accounts["C10010"].model_copy(update={"balance": usd(9_990)})
    world.place()
    world.run()
    _decide(world, "approve")
    world.run()


def _decide(world: World, decision: str) -> None:
    """A person at the command line, who does it again when it breaks off."""
    for _ in range(4):
        opened = [record for record in world.exceptions.listed() if record.kind == "hold"]
        if not opened:
            return
        try:
            exceptions.resolve(opened[0].exception_id, decision=decision, note="agreed", actor="jo", services=world.workers, letters=world.letters)
        except Crash:
            world.lifeline.dead = False


def _held_and_rejected(world: World) -> None:
    world.erp.accounts["C10010"] = world.erp.accounts["C10010"].model_copy(update={"balance": usd(9_990)})
    world.place()
    world.run()
    _decide(world, "reject")
    world.run()


def _erp_disagrees(world: World) -> None:
    world.autopilot()
    world.erp.total_adjustment = usd(3).amount
    world.place()
    world.run()
    _decide(world, "approve")
    world.run()


def _everything_comes_too_early(world: World) -> None:
    """Cancellations aside, whatever can overtake the order does."""
    order = an_order()
    world.tell("erp", world.dispatch_of("erp", "shop-1.1", [("BOLT", order.lines[0].quantity.value), ("NUT", order.lines[1].quantity.value)]), event_id="ship")
    world.tell("erp", world.acknowledgement("shop-1.1"), event_id="ack")
    world.run()
    world.place(order)
    world.run()


def _refused_then_retried(world: World) -> None:
    """The ERP refuses the sales order, a person tries again: from the dead letters to the end."""
    world.autopilot()
    world.erp.fail("CreateSalesOrder", Rejected("VENDOR_REFUSED", "posting period closed"), times=99)
    world.place()
    world.run()
    world.erp.faults.clear()
    for _ in range(4):
        opened = [record for record in world.exceptions.listed() if record.kind == "message"]
        if not opened:
            break
        try:
            exceptions.retry(opened[0].exception_id, actor="jo", services=world.workers, letters=world.letters)
        except Crash:
            world.lifeline.dead = False
        world.run()


STORIES: dict[str, tuple[Callable[[World], None], dict[str, Any]]] = {
    "split order": (_split_order, {}),
    "lost answers": (_lost_answers, {}),
    "cancelled while held": (_cancelled_while_held, {}),
    "cancelled before it came": (_cancelled_before_it_came, {}),
    "cancelled after release": (_cancelled_after_release, {}),
    "cancelled too late": (_cancelled_too_late, {}),
    "cancelled on the dock": (_cancelled_part_shipped, {}),
    "held and approved": (_held_and_approved, {}),
    "held and rejected": (_held_and_rejected, {}),
    "ERP disagrees": (_erp_disagrees, {}),
    "everything comes too early": (_everything_comes_too_early, {}),
    "refused then retried": (_refused_then_retried, {}),
}


def _told(story: Callable[[World], None], crash_after: int | None, **changes: Any) -> World:
    world = World(spec(**changes))
    world.lifeline.crash_after = crash_after
    story(world)
    world.later(rounds=3, minutes=3)
    return world


def _state(world: World) -> dict[str, Any]:
    """Everything that must not depend on where a worker died."""
    record = world.record()
    return {
        "status": record.status.value,
        "parts": [(part.plan.part_id, part.status.value, {name: str(value) for name, value in part.shipped.items()}) for part in record.parts],
        "shipments": sorted((booked.shipment.shipment_id, booked.confirmed, booked.invoice_number) for booked in record.shipments),
        "effects": world.effects_done(),
        "stock": {f"{sku}@{location}": (str(level.on_hand), str(level.committed)) for (sku, location), level in sorted(world.stock.shelf.items())},
        "outstanding": world.stock.outstanding(),
        "open exceptions": world.open_codes(),
        "on the order": sorted(name for name in record.open_exceptions if not world.exceptions.records[name].closed),
        "workflow runs": world.workflow.running("shop-1"),
        "parked": sum(len(items) for items in world.orders.waiting_room.values()),
        # A crash may add that an effect was looked up, and a person's command that died is not on record; nothing else may differ.
        "on the record": sorted(set(world.audit.actions("shop-1")) - {"EffectFound", "EffectUnknown", "ExceptionRetried", "MessageRedriven"}),
        "balance": world.balance().adds_up,
        "in the queues": {queue: bodies for queue in QueueName if (bodies := [m.body for m in world.queues.messages[queue] if "Poll" not in m.body])},
    }


@pytest.mark.parametrize("name", STORIES)
def test_a_crash_between_any_two_writes_changes_nothing_in_the_end(name: str) -> None:
    story, changes = STORIES[name]
    undisturbed = _told(story, None, **changes)
    expected = _state(undisturbed)
    assert expected["balance"], undisturbed.balance()
    assert max(Counter(undisturbed.effects_done()).values(), default=0) <= 1
    for crash_after in range(1, undisturbed.lifeline.changes + 1):
        world = _told(story, crash_after, **changes)
        found = _state(world)
        differing = {key: (expected[key], found[key]) for key in expected if found[key] != expected[key]}
        assert not differing, f"a crash after change {crash_after} ({world.lifeline.crashed}) made a difference: {differing}"


def test_every_story_is_really_disturbed() -> None:
    """The lifeline counts: a story whose workers change nothing would prove nothing."""
    world = _told(_split_order, 10)
    assert world.lifeline.crashed is not None
    assert OutboundMessage(command="CreateSalesOrder", connection="erp", order_id="shop-1").text() in [body for _, body in world.queues.sent]
