"""Is every difference between the systems found, exactly once, and does its repair make them agree, whatever is under way meanwhile?"""

from __future__ import annotations

import random
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from crossdock.domain.connector import ChangedOrder
from crossdock.domain.effect import EffectState
from crossdock.domain.errors import ContractDrift, NeedsPerson, Rejected, RetryLater
from crossdock.domain.events import Fact, FulfillmentAcknowledged, OrderCancelled, OrderPlaced, OrderUpdated
from crossdock.domain.messages import OutboundMessage
from crossdock.domain.model import rfc3339
from crossdock.domain.money import Money
from crossdock.domain.order import Order
from crossdock.domain.price import Price
from crossdock.domain.shipment import PartStatus
from crossdock.domain.stage import QueueName
from crossdock.domain.stock import StockReading
from crossdock.flows import reconcile, stock
from tests.fakes import polled
from tests.flows.world import MANIFESTS, SPEC, World, an_order, line, manifest, spec

MANIFEST = {
    "shop": manifest("shop", "storefront", ["ConfirmShipment", "CancelOrder", "PublishStock"], queries=["shown", "list_prices", "orders"]),
    "direct": manifest("direct", "storefront", [], webhooks=False),
}


def a_world(**changes: Any) -> World:
    return World(spec(**changes), manifests=MANIFEST)


def shipped(world: World, orders: int = 1) -> list[str]:
    """So many orders, on their way to their ends; the autopilot ships."""
    world.autopilot()
    for number in range(orders):
        world.place(an_order(number + 1, lines=[line("1", "BOLT", "2", "10")]) if orders > 1 else None)
    world.run()
    world.clock.pass_by(minutes=30)
    return [record.order_id for record in world.orders.every()]


def a_pass(world: World) -> reconcile.Report:
    report, known = reconcile.Report(), reconcile.standing(world.services)
    for order_id in reconcile.window(world.services, since=world.clock.now() - reconcile.WINDOW):
        page = reconcile.Report()
        reconcile.order(order_id, world.services, page)
        report.add(page)
        reconcile.settle(page, world.services, known)
    for connection, compare in reconcile.sides(world.services):
        for page, _ in reconcile.pages(connection, compare, None, world.services):
            report.add(page)
            reconcile.settle(page, world.services, known)
    return report


def codes(report: reconcile.Report) -> list[str]:
    return sorted(difference.code for difference in report.differences)


def forget(world: World, system: str, command: str) -> None:
    """Somebody deletes there what that command had made."""
    made = world.systems[system]
    name = next(name for name in made.receipts if name[0] == command)
    del made.receipts[name]


def holds(world: World, connection: str, **counts: int) -> None:
    """What the owner says it holds, in its own words; everything else as it is known here."""
    place = {location.codes[connection]: name for name, location in world.spec.locations.items() if location.stock_from == connection}
    world.systems[connection].readings = [
        StockReading(
            sku=world.services.xref.their_sku(connection, level.sku),
            location=code,
            on_hand=Decimal(counts.get(f"{level.sku}_{name}", int(level.on_hand))),
            as_of=world.clock.now() + timedelta(seconds=1),
        )
        for code, name in place.items()
        for level in world.stock.shelf.values()
        if level.location == name
    ]


# ------------------------------------------------------------------ orders


def test_systems_that_agree_have_no_difference() -> None:
    world = a_world()
    shipped(world)
    report = a_pass(world)
    assert not report.differences and not world.open_codes()
    assert {"CreateSalesOrder", "ConfirmShipment", "PostInvoice"} <= report.compared.keys()


@pytest.mark.parametrize(
    ("system", "command", "code"),
    [
        ("erp", "CreateSalesOrder", "MISSING_IN_ERP"),
        ("shop", "ConfirmShipment", "MISSING_IN_STOREFRONT"),
        ("erp", "PostInvoice", "INVOICE_MISSING"),
    ],
)
def test_what_is_gone_is_one_exception_and_its_retry_makes_it_again(system: str, command: str, code: str) -> None:
    world = a_world()
    shipped(world)
    forget(world, system, command)

    for _ in range(3):
        assert codes(a_pass(world)) == [code]
    record = world.the_exception(code)
    assert world.open_codes() == [code] and record.message
    assert record.occurrences == 1

    world.services.queues.send(QueueName.OUTBOUND, record.message, group=system)
    world.run()

    assert not world.open_codes(), "it went through"
    assert not a_pass(world).differences
    assert [name for name, _ in world.systems[system].done].count(command) == 2, "made once, and once again"


def test_a_repair_that_comes_twice_or_too_late_makes_nothing_twice() -> None:
    world = a_world()
    shipped(world)
    forget(world, "erp", "CreateSalesOrder")
    a_pass(world)
    message = world.the_exception("MISSING_IN_ERP").message
    assert message
    for _ in range(3):
        world.services.queues.send(QueueName.OUTBOUND, message, group="erp")
    world.run()
    assert [name for name, _ in world.erp.done].count("CreateSalesOrder") == 2


def test_a_repair_that_meets_a_busy_system_goes_on_where_it_was() -> None:
    world = a_world()
    shipped(world)
    forget(world, "erp", "CreateSalesOrder")
    a_pass(world)
    world.erp.fail("CreateSalesOrder", RetryLater("VENDOR_UNAVAILABLE", "not now"), times=2)
    assert reconcile.repair_all(world.services) == 1
    world.run()
    assert [name for name, _ in world.erp.done].count("CreateSalesOrder") == 2
    assert not a_pass(world).differences and not world.open_codes()


def test_a_part_that_the_warehouse_lost_is_released_again() -> None:
    world = a_world()
    world.place(an_order(lines=[line("1", "PUMP", "2", "300")]))
    world.run(until=timedelta(minutes=1))
    world.clock.pass_by(minutes=30)
    forget(world, "threepl", "ReleaseFulfillment")
    assert codes(a_pass(world)) == ["MISSING_AT_WAREHOUSE"]
    assert reconcile.repair_all(world.services) == 1
    world.run(until=timedelta(minutes=1))
    assert not a_pass(world).differences and not world.open_codes()


def test_a_release_that_the_other_side_refuses_to_know_is_missed_with_its_words() -> None:
    world = a_world()
    world.place(an_order(lines=[line("1", "PUMP", "2", "300")]))
    world.run(until=timedelta(minutes=1))
    world.clock.pass_by(minutes=30)
    world.threepl.look_up_faults.append(Rejected("NOT_FOUND", "the order was removed by support"))
    [difference] = a_pass(world).differences
    assert (difference.code, difference.cause) == ("MISSING_AT_WAREHOUSE", "the order was removed by support")
    assert not a_pass(world).differences, "and it is found again"
    assert not world.open_codes()


def test_another_sales_order_takes_the_lost_ones_place() -> None:
    world = a_world()
    world.place(an_order(lines=[line("1", "PUMP", "2", "300")]))
    world.run(until=timedelta(minutes=1))
    world.clock.pass_by(minutes=30)
    standing = world.record().sales_order
    assert standing
    world.orders.change("shop-1", lambda current: current.model_copy(update={"sales_order": standing.model_copy(update={"external_id": "SO-of-old"})}))
    forget(world, "erp", "CreateSalesOrder")
    a_pass(world)
    reconcile.repair_all(world.services)
    world.run(until=timedelta(minutes=1))
    found = world.record().sales_order
    assert found and found.external_id == standing.external_id


def test_a_total_that_was_edited_in_the_erp_is_a_persons_matter() -> None:
    world = a_world()
    world.place(an_order(lines=[line("1", "PUMP", "2", "300")]))
    world.run(until=timedelta(minutes=1))
    standing = world.record().sales_order
    assert standing and standing.total
    real = world.erp.totals[standing.external_id]
    world.erp.totals[standing.external_id] = Money(amount=real.amount + 1, currency=real.currency)
    [difference] = a_pass(world).differences
    assert (difference.code, difference.repair) == ("TOTAL_DRIFT", None)
    assert reconcile.repair_all(world.services) == 0, "money is a person's matter"
    world.erp.totals[standing.external_id] = real
    assert not a_pass(world).differences and not world.open_codes()
    del world.erp.totals[standing.external_id]
    assert not a_pass(world).differences, "a sales order that is gone is no other total"


def test_what_is_under_way_is_no_difference() -> None:
    world = a_world()
    world.autopilot()
    world.place()
    world.run()
    forget(world, "erp", "CreateSalesOrder")
    report = a_pass(world)
    assert not report.differences and report.in_flight["CreateSalesOrder"] == 1, "confirmed a moment ago"
    world.clock.pass_by(minutes=30)
    effect = next(effect for effect in world.effects.ledger.values() if "CreateSalesOrder" in effect.key)
    world.effects.ledger[effect.key] = effect.model_copy(update={"state": EffectState.UNKNOWN})
    assert not a_pass(world).differences, "it is being looked up already"


def test_a_cancelled_order_is_expected_nowhere() -> None:
    world = a_world()
    world.place(an_order(lines=[line("1", "PUMP", "2", "300")]))
    world.run(until=timedelta(minutes=1))
    world.cancel()
    world.run()
    world.clock.pass_by(minutes=30)
    for system in world.systems.values():
        system.receipts = {name: receipt for name, receipt in system.receipts.items() if name[0].startswith("Cancel")}
    report = a_pass(world)
    assert not report.differences and {"CancelSalesOrder", "CancelFulfillment"} <= report.compared.keys()


def test_an_order_that_vanished_meanwhile_is_passed_over() -> None:
    reconcile.order("nobody", a_world().services, report := reconcile.Report())
    assert not report.compared


def test_nothing_is_asked_of_who_keeps_nothing() -> None:
    """An API client has no page on which a shipment could be missing."""
    manifests = {**MANIFEST, "shop": manifest("shop", "storefront", ["CancelOrder"])}
    world = World(spec(), manifests=manifests)
    shipped(world)
    world.systems["shop"].receipts.clear()
    assert not a_pass(world).differences


# ------------------------------------------------------------------ stock and prices


def test_a_count_that_differs_is_the_owners_word_and_is_taken_over() -> None:
    world = a_world()
    world.run()
    holds(world, "erp", BOLT_CHI=97)
    world.erp.readings.append(StockReading(sku="NOT-OURS", location="CHI", on_hand=Decimal(1), as_of=world.clock.now()))
    world.erp.readings.append(StockReading(sku="70010", location="NOT-OURS", on_hand=Decimal(1), as_of=world.clock.now()))
    world.erp.readings.append(StockReading(sku="70040", location="CHI", on_hand=Decimal(1), as_of=world.clock.now() + timedelta(seconds=1)))
    holds(world, "threepl")
    report = a_pass(world)
    assert codes(report) == ["STOCK_COUNT_DRIFT"] and report.in_flight["Count"] == 1, "pumps at Chicago were never counted: that is no correction"
    assert codes(a_pass(world)) == ["STOCK_COUNT_DRIFT"]
    assert len(world.open_codes()) == 1
    reconcile.repair_all(world.services)
    world.run()
    assert int(world.stock.shelf["BOLT", "CHI"].on_hand) == 97
    assert not a_pass(world).differences and not world.open_codes()


def test_goods_on_their_way_out_are_no_difference() -> None:
    world = a_world()
    world.place(an_order(lines=[line("1", "PUMP", "2", "300")]))
    world.run(until=timedelta(minutes=1))
    holds(world, "threepl", PUMP_MOR=3)
    holds(world, "erp")
    assert a_pass(world).in_flight["Count"] == 1, "the two that are promised may have left"
    holds(world, "threepl", PUMP_MOR=2)
    assert codes(a_pass(world)) == ["STOCK_COUNT_DRIFT"], "three have not"


def test_what_was_booked_a_moment_ago_may_not_be_known_there() -> None:
    world = a_world()
    world.autopilot()
    world.place(an_order(lines=[line("1", "PUMP", "2", "300")]))
    world.run()
    holds(world, "threepl", PUMP_MOR=5)
    holds(world, "erp")
    assert not a_pass(world).differences
    world.clock.pass_by(minutes=30)
    assert codes(a_pass(world)) == ["STOCK_COUNT_DRIFT"]


def on_sale(world: World, **figures: int) -> None:
    """What the shop shows: what it was told, but for these."""
    at, places = world.clock.now(), world.spec.locations
    shown = {key: figures.get("_".join(key), max(0, int(level.available))) for key, level in world.stock.shelf.items()}
    world.shop.on_sale = [StockReading(sku=sku, location=places[name].codes["shop"], on_hand=Decimal(figure), as_of=at) for (sku, name), figure in shown.items()]


def test_a_figure_that_was_changed_in_the_shop_is_published_again() -> None:
    world = a_world()
    world.later(2, hours=7)
    world.run()
    on_sale(world, BOLT_MOR=999)
    world.shop.on_sale.append(StockReading(sku="BOLT", location="elsewhere", on_hand=Decimal(4), as_of=world.clock.now()))
    world.shop.on_sale.append(StockReading(sku="NOT-OURS", location="73", on_hand=Decimal(4), as_of=world.clock.now()))
    [difference] = a_pass(world).differences
    assert (difference.code, difference.owner) == ("STOCK_SHOWN_DRIFT", "threepl")
    before = len(world.shop.done)
    reconcile.repair_all(world.services)
    world.run()
    assert len(world.shop.done) == before + 1
    on_sale(world)
    assert not a_pass(world).differences and not world.open_codes()


def test_a_figure_that_was_not_told_yet_is_under_way() -> None:
    world = a_world(inventory={"publish": "off"})
    on_sale(world, BOLT_MOR=999)
    report = a_pass(world)
    assert not report.differences and report.in_flight["Shown"] == len(world.shop.on_sale)


def test_who_counts_a_location_is_not_compared_with_itself() -> None:
    world = a_world(locations={"CHI": {"title": "Chicago", "connection": "erp", "stock_from": "shop", "codes": {"erp": "CHI", "shop": "71"}}})
    on_sale(world, BOLT_CHI=999)
    assert not [each for each in a_pass(world).differences if each.subject.endswith("@CHI")]


def test_prices_that_drift_apart_are_told_with_both() -> None:
    world = a_world()
    world.shop.charged = [Price(sku=sku, unit="EA", price=Money.of(price, "USD")) for sku, price in {"BOLT": "10.05", "NUT": "5.50", "VALVE": "20", "NOT-OURS": "1"}.items()]
    world.shop.charged.append(Price(sku="PUMP", unit="EA", price=Money.of("300", "EUR")))
    del world.erp.price_list["70050"]
    report = a_pass(world)
    told = {each.subject: each.detail for each in report.differences}
    assert set(told) == {"shop#NUT", "shop#VALVE", "shop#PUMP"}, "a tenth of a percent more is within the tolerance of one"
    assert "charges 5.50 USD" in told["shop#NUT"] and "says 5.00 USD" in told["shop#NUT"]
    assert "unknown or blocked" in told["shop#VALVE"]
    world.shop.charged = []
    assert world.open_codes() == ["PRICE_DRIFT"] * 3, "what was not looked at stays open"


# ------------------------------------------------------------------ on the clock, under fire


def test_a_scheduled_pass_finds_the_same_and_once() -> None:
    world = a_world(inventory={"reconcile_hours": 2})
    shipped(world)
    forget(world, "erp", "PostInvoice")
    holds(world, "erp", BOLT_CHI=90)
    holds(world, "threepl")
    world.later(3, minutes=50)
    world.run()
    assert "INVOICE_MISSING" in world.open_codes()
    assert world.the_exception("INVOICE_MISSING").occurrences == 1


def test_no_schedule_is_no_pass() -> None:
    world = a_world(inventory={"reconcile_hours": None})
    shipped(world)
    forget(world, "erp", "PostInvoice")
    world.later(3, hours=30)
    world.run()
    assert "INVOICE_MISSING" not in world.open_codes()


def test_a_page_that_meets_an_outage_is_compared_when_it_is_over() -> None:
    world = a_world()
    [order_id] = shipped(world)
    forget(world, "shop", "ConfirmShipment")
    world.systems["erp"].look_up_faults += [RetryLater("VENDOR_UNAVAILABLE", "out")] * 2
    message = OutboundMessage(command=reconcile.RECONCILE, connection="erp", arguments={"orders": order_id})
    world.services.queues.send(QueueName.OUTBOUND, message.text(), group="erp")
    world.run()
    assert world.open_codes() == ["MISSING_IN_STOREFRONT"]


# ------------------------------------------------------------------ what systems say of one order


def held(world: World, order: Order, *, minutes_ago: int = 60, cancelled: bool = False) -> None:
    """The shop holds the order in this version; no webhook tells of it."""
    at = world.clock.now() - timedelta(minutes=minutes_ago)
    order = order.model_copy(update={"source_version": rfc3339(at)})
    facts: list[Fact] = [OrderPlaced(order=order), OrderUpdated(order=order)]
    if cancelled:
        facts = [OrderPlaced(order=order), OrderCancelled(order_id=order.order_id, reason="customer", cancelled_at=at)]
    document = {"at": at.isoformat(), "facts": [fact.as_json() for fact in facts]}
    found = polled(f"{order.external_id}@{rfc3339(at)}", "told", document)
    world.shop.held_orders[order.external_id] = (ChangedOrder(order.external_id, order.order_id, at), found)


def posted(world: World) -> Order:
    """An order that stands in the ERP and waits at the warehouse, for half an hour."""
    order = world.place(an_order(lines=[line("1", "PUMP", "2", "300")]))
    world.run(until=timedelta(minutes=1))
    world.clock.pass_by(minutes=30)
    return order


def test_an_order_whose_webhook_was_lost_is_taken_in_once_also_if_the_webhook_comes_later() -> None:
    world = a_world()
    world.autopilot()
    world.clock.pass_by(hours=2)
    held(world, an_order())
    assert codes(a_pass(world)) == ["ORDER_NOT_TAKEN_IN"]
    world.run()
    assert not world.open_codes(), "it was taken in without anybody being asked"
    assert not a_pass(world).differences
    world.place(an_order())
    world.run()
    assert [name for name, _ in world.erp.done].count("CreateSalesOrder") == 1
    assert world.record().status.value == "completed"


def test_an_order_placed_a_moment_ago_is_left_to_its_webhook() -> None:
    world = a_world()
    held(world, an_order(), minutes_ago=3)
    report = a_pass(world)
    assert not report.differences and report.in_flight["Order"] == 1


def test_a_cancellation_of_which_only_the_shop_knows_is_taken_in() -> None:
    world = a_world()
    order = posted(world)
    held(world, order, minutes_ago=15, cancelled=True)
    assert codes(a_pass(world)) == ["STATUS_DRIFT"]
    assert reconcile.repair_all(world.services) == 1
    world.run()
    assert world.record().status.value == "cancelled"
    assert not a_pass(world).differences and not world.open_codes()


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("LINES_DRIFT", {"lines": (line("1", "PUMP", "3", "300"),)}),
        ("TAX_DRIFT", {"lines": (line("1", "PUMP", "2", "300", tax="61"),)}),
        ("FREIGHT_DRIFT", {"freight": Money.of(12, "USD")}),
        ("TOTAL_DRIFT", {"total": Money.of(9, "USD")}),
    ],
)
def test_what_the_shop_changed_unheard_of_is_taken_in_and_then_a_persons_matter_once(code: str, change: dict[str, Any]) -> None:
    world = a_world()
    order = posted(world)
    held(world, order.model_copy(update=change), minutes_ago=15)
    assert codes(a_pass(world)) == [code]
    assert reconcile.repair_all(world.services) == 1
    world.run(until=timedelta(minutes=1))
    assert world.open_codes() == ["ORDER_CHANGED_AFTER_POSTING"]
    assert not a_pass(world).differences, "a person has it already"


def test_a_newer_version_that_says_the_same_or_nothing_understood_is_no_difference() -> None:
    world = a_world()
    order = posted(world)
    held(world, order, minutes_ago=15)
    report = a_pass(world)
    assert not report.differences and report.compared["Version"] == 1
    held(world, order.model_copy(update={"lines": (line("1", "NEVER-HEARD-OF", "2", "300"), line("2", "PUMP", "2", "300"))}), minutes_ago=15)
    assert not a_pass(world).differences
    change, _ = world.shop.held_orders[order.external_id]
    told = {"at": world.clock.now().isoformat(), "facts": [FulfillmentAcknowledged(part_reference="shop-1.1", acknowledged_at=world.clock.now()).as_json()]}
    world.shop.held_orders[order.external_id] = (change, polled("other", "told", told))
    assert not a_pass(world).differences


def test_an_order_that_has_ended_here_is_not_compared_with_later_versions() -> None:
    world = a_world()
    shipped(world)
    held(world, an_order(lines=[line("1", "BOLT", "9", "10")]), minutes_ago=15)
    report = a_pass(world)
    assert not report.differences and report.compared["Order"] == 1 and not report.compared["Version"]


@pytest.mark.parametrize(
    ("code", "edit"),
    [
        ("LINES_DRIFT", {"lines": {"10000": Decimal(1)}, "tax": Money.of(99, "USD")}),
        ("LINES_DRIFT", {"lines": {}}),
        ("TAX_DRIFT", {"tax": Money.of("60.06", "USD"), "total": Money.of(1, "USD")}),
        ("FREIGHT_DRIFT", {"freight": Money.of(0, "USD")}),
        ("TOTAL_DRIFT", {"total": Money.of(1, "USD")}),
        ("TOTAL_DRIFT", {"total": Money.of("670", "EUR")}),
    ],
)
def test_what_was_edited_in_the_erp_is_one_difference_by_what_explains_it(code: str, edit: dict[str, Any]) -> None:
    world = a_world()
    posted(world)
    assert not a_pass(world).differences
    world.erp.edited["SO-shop-1"] = edit
    for _ in range(2):
        [difference] = a_pass(world).differences
        assert (difference.code, difference.owner, difference.repair) == (code, "erp", None)
    assert world.open_codes() == [code]
    world.erp.edited.clear()
    assert not a_pass(world).differences and not world.open_codes(), "somebody corrected it"


def test_a_tax_within_the_tolerance_is_no_difference() -> None:
    world = a_world()
    posted(world)
    world.erp.edited["SO-shop-1"] = {"tax": Money.of("60.05", "USD")}
    assert not a_pass(world).differences


def test_a_difference_that_turns_into_another_is_told_anew_and_the_old_one_closed() -> None:
    world = a_world()
    posted(world)
    world.erp.edited["SO-shop-1"] = {"total": Money.of(1, "USD")}
    a_pass(world)
    world.erp.edited["SO-shop-1"] = {"total": Money.of(2, "USD")}
    a_pass(world)
    assert "total of 2 USD" in world.the_exception("TOTAL_DRIFT").detail and world.the_exception("TOTAL_DRIFT").occurrences == 1
    world.erp.edited["SO-shop-1"] = {"tax": Money.of(1, "USD")}
    a_pass(world)
    assert world.open_codes() == ["TAX_DRIFT"]


def test_a_difference_that_comes_back_reopens_its_exception() -> None:
    world = a_world()
    posted(world)
    for _ in range(2):
        world.erp.edited["SO-shop-1"] = {"total": Money.of(1, "USD")}
        a_pass(world)
        world.erp.edited.clear()
        a_pass(world)
    record = world.the_exception("TOTAL_DRIFT")
    assert record.closed and [entry.action for entry in record.history] == ["opened", "resolved", "reopened", "resolved"]


def test_what_was_cancelled_and_stands_again_is_cancelled_again() -> None:
    world = a_world()
    posted(world)
    world.cancel()
    world.run()
    world.clock.pass_by(minutes=30)
    assert not a_pass(world).differences
    forget(world, "erp", "CancelSalesOrder")
    forget(world, "threepl", "CancelFulfillment")
    assert codes(a_pass(world)) == ["STATUS_DRIFT", "STATUS_DRIFT"]
    reconcile.repair_all(world.services)
    world.run()
    assert not a_pass(world).differences and not world.open_codes()
    assert [name for name, _ in world.erp.done].count("CancelSalesOrder") == 2


def test_a_part_that_was_called_off_alone_is_not_missed_among_the_lines() -> None:
    world = a_world()
    posted(world)
    record = world.record()
    off = record.parts[0].model_copy(update={"status": PartStatus.CANCELLED})
    world.orders.change("shop-1", lambda current: current.model_copy(update={"parts": (off,)}))
    world.erp.edited["SO-shop-1"] = {"lines": {}}
    assert not [each for each in a_pass(world).differences if each.code == "LINES_DRIFT"]


def test_an_erp_that_shows_no_documents_is_not_asked_for_them() -> None:
    world = World(spec(), manifests={**MANIFEST, "erp": manifest("erp", "erp", list(MANIFESTS["erp"].commands), queries=["credit", "prices", "stock"])})
    posted(world)
    assert not a_pass(world).compared["Document"]


# ------------------------------------------------------------------ customers


def test_an_account_that_the_erp_does_not_know_is_one_exception_until_it_does() -> None:
    world = a_world()
    known = world.erp.accounts.pop("C10020")
    for _ in range(2):
        [difference] = a_pass(world).differences
        assert (difference.code, difference.subject) == ("CUSTOMER_DRIFT", "C10020")
    assert world.open_codes() == ["CUSTOMER_DRIFT"]
    world.erp.accounts["C10020"] = known
    assert not a_pass(world).differences and not world.open_codes()


def test_accounts_are_compared_a_page_at_a_time() -> None:
    accounts = {f"company-{number}": f"A{number:03}" for number in range(100)}
    world = a_world(cross_references={**SPEC["cross_references"], "customers": {"shop": accounts}})
    assert len(a_pass(world).differences) == 100


# ------------------------------------------------------------------ page by page


def sides_by_message(world: World) -> None:
    for connection, compare in reconcile.sides(world.services):
        world.services.queues.send(
            QueueName.OUTBOUND, OutboundMessage(command=reconcile.RECONCILE, connection=connection, arguments={"side": compare.__name__}).text(), group=connection
        )


def drifting_shelf(world: World) -> None:
    """Forty counts of which every tenth differs, two to a page."""
    holds(world, "threepl")
    holds(world, "erp", BOLT_CHI=90, BOLT_DAL=40)
    world.erp.page_size = 1


def test_a_message_compares_a_few_pages_and_the_next_one_goes_on_there() -> None:
    world = a_world()
    world.run()
    drifting_shelf(world)
    world.erp.readings = world.erp.readings * 7
    world.erp.snapshots.clear()
    sides_by_message(world)
    world.run(until=timedelta(minutes=1))
    asked = [cursor for resource, cursor in world.erp.snapshots if resource == "stock"]
    assert asked == [None, *(str(place) for place in range(1, len(world.erp.readings)))], "each page once"
    assert world.open_codes().count("STOCK_COUNT_DRIFT") == 2
    sent = [OutboundMessage.model_validate_json(body) for queue, body in world.queues.sent if queue is QueueName.OUTBOUND and '"done"' in body]
    assert [message.arguments["done"] for message in sent if message.arguments["side"] == "counts"] == ["5", "10", "15", "20"]


def test_a_message_begins_no_page_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    world = a_world()
    world.run()
    drifting_shelf(world)
    monkeypatch.setattr(reconcile, "PAGES_FOR", timedelta(0))
    sides_by_message(world)
    world.run(until=timedelta(minutes=1))
    assert any('"done":"1"' in body for _, body in world.queues.sent)
    assert world.open_codes().count("STOCK_COUNT_DRIFT") == 2


def test_a_page_after_which_the_system_wants_no_more_calls_is_gone_on_from_there() -> None:
    world = a_world()
    world.run()
    drifting_shelf(world)
    world.erp.snapshot_faults = [None, RetryLater("RATE_LIMITED", "slow down", after_seconds=20), RetryLater("RATE_LIMITED", "still", after_seconds=20), None, None]
    world.erp.snapshots.clear()
    sides_by_message(world)
    world.run(until=timedelta(minutes=5))
    asked = [cursor for resource, cursor in world.erp.snapshots if resource == "stock"]
    assert asked == [None, "1", "1", "1", "2"], "what was compared is not read again"
    assert world.open_codes().count("STOCK_COUNT_DRIFT") == 2


def test_a_run_that_dies_between_two_pages_goes_on_and_says_everything_once() -> None:
    """At every single write of it."""
    for after in range(1, 40):
        world = a_world()
        world.run()
        drifting_shelf(world)
        message = OutboundMessage(command=reconcile.RECONCILE, connection="erp", arguments={"side": "counts"})
        world.services.queues.send(QueueName.OUTBOUND, message.text(), group="erp")
        world.lifeline.changes, world.lifeline.crash_after = 0, after
        world.run(until=timedelta(hours=1))
        found = [record for record in world.exceptions.records.values() if record.code == "STOCK_COUNT_DRIFT"]
        assert sorted(record.subject for record in found) == ["BOLT@CHI", "BOLT@DAL"], f"crashed after {world.lifeline.crashed}"
        if world.lifeline.crashed is None:
            break
    assert after > 5


def test_two_runs_at_once_make_one_exception_of_each_difference() -> None:
    world = a_world()
    world.run()
    drifting_shelf(world)
    compare = reconcile.counts
    mine, others = reconcile.standing(world.services), reconcile.standing(world.services)
    for page, _ in reconcile.pages("erp", compare, None, world.services):
        reconcile.settle(page, world.services, mine)
        reconcile.settle(page, world.services, others)
    assert world.open_codes() == ["STOCK_COUNT_DRIFT"] * 2
    assert len(world.exceptions.records) == 2


def test_pages_without_end_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "MOST_PAGES", 12)
    world = a_world()
    with pytest.raises(ContractDrift):
        list(reconcile.pages("erp", lambda *_: "again", None, world.services))
    monkeypatch.setitem(reconcile._COMPARISONS, "counts", lambda *_: "again")
    world.services.queues.send(QueueName.OUTBOUND, OutboundMessage(command=reconcile.RECONCILE, connection="erp", arguments={"side": "counts"}).text(), group="erp")
    world.run(until=timedelta(minutes=1))
    assert "UNEXPECTED_ANSWER" in world.open_codes()


def test_a_count_of_which_nothing_was_kept_is_not_taken_over() -> None:
    world = a_world()
    with pytest.raises(NeedsPerson, match="no count"):
        reconcile.take_count(OutboundMessage(command=reconcile.TAKE_COUNT, connection="erp", arguments={"sku": "BOLT", "location": "CHI"}), world.services)


def test_a_repair_with_an_older_count_leaves_a_newer_one_alone() -> None:
    world = a_world()
    world.run()
    holds(world, "threepl")
    holds(world, "erp", BOLT_CHI=97)
    a_pass(world)
    world.clock.pass_by(minutes=5)
    world.stock.count(StockReading(sku="BOLT", location="CHI", on_hand=Decimal(80), as_of=world.clock.now()), safety=Decimal(0), source="erp")
    reconcile.repair_all(world.services)
    world.run(until=timedelta(minutes=1))
    assert int(world.stock.shelf["BOLT", "CHI"].on_hand) == 80


ORDERS, SEEDED = 60, 48


def test_every_seeded_drift_is_found_and_nothing_else_and_one_repair_is_enough() -> None:
    """Eight kinds, at random places: recall and precision are counted, a second pass finds none."""
    chance = random.Random(20260302)
    world = a_world()
    ids = shipped(world, ORDERS)
    assert {world.record(order_id).status.value for order_id in ids} == {"completed"}
    world.later(2, hours=7)  # everything is published
    world.run()
    world.clock.pass_by(minutes=30)
    holds(world, "erp")
    holds(world, "threepl")
    on_sale(world)
    assert not a_pass(world).differences
    seeded: set[tuple[str, str]] = set()
    kinds = [("erp", "CreateSalesOrder", "MISSING_IN_ERP"), ("shop", "ConfirmShipment", "MISSING_IN_STOREFRONT"), ("erp", "PostInvoice", "INVOICE_MISSING")]
    for _ in range(SEEDED - 6):
        system, command, code = chance.choice(kinds)
        name = chance.choice([name for name in world.systems[system].receipts if name[0] == command])
        del world.systems[system].receipts[name]
        order_id = name[1] if command == "CreateSalesOrder" else next(record.order_id for record in world.orders.every() if record.shipment(name[1]))
        seeded.add((code, f"{order_id}#{name[1]}"))
    holds(world, "erp", BOLT_CHI=1, NUT_CHI=2, BOLT_DAL=3)
    holds(world, "threepl", PUMP_MOR=7)
    seeded |= {("STOCK_COUNT_DRIFT", f"{sku}@{place}") for sku, place in (("BOLT", "CHI"), ("NUT", "CHI"), ("BOLT", "DAL"), ("PUMP", "MOR"))}
    on_sale(world, VALVE_MOR=1, NUT_MOR=2)
    seeded |= {("STOCK_SHOWN_DRIFT", f"shop#{sku}@MOR") for sku in ("VALVE", "NUT")}

    report = a_pass(world)

    found = {(difference.code, difference.subject) for difference in report.differences}
    assert found == seeded and len(report.differences) == len(seeded), f"missed {seeded - found}, invented {found - seeded}"
    assert len(world.open_codes()) == len(seeded)
    assert reconcile.repair_all(world.services) == len(seeded)
    world.run()
    on_sale(world)
    assert not a_pass(world).differences
    assert not world.open_codes()


def test_the_other_systems_of_the_domain_are_named_by_the_policy() -> None:
    assert {compare.__name__ for _, compare in reconcile.sides(a_world().services)} == {"arrived", "counts", "shown", "prices", "customers"}
    assert stock.channels("MOR", a_world().services) == ["shop"]
    assert MANIFESTS["erp"].queries
