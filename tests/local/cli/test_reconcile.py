"""Does one command find what differs, say it in every form, and put it right?"""

from __future__ import annotations

import json
from pathlib import Path

from crossdock.domain.stock import StockReading
from tests.flows.world import World
from tests.local.cli.conftest import Crossdock


def agreeing(world: World) -> None:
    """One order that has ended everywhere, half an hour ago, and owners who hold what is known here."""
    world.place()
    world.run()
    world.clock.pass_by(minutes=30)
    for level in world.stock.shelf.values():
        place = world.spec.locations[level.location]
        their_sku = world.services.xref.their_sku(place.stock_from, level.sku)
        world.systems[place.stock_from].readings.append(StockReading(sku=their_sku, location=place.codes[place.stock_from], on_hand=level.on_hand, as_of=world.clock.now()))


def test_systems_that_agree_are_exit_code_0(world: World, crossdock: Crossdock) -> None:
    agreeing(world)
    found = crossdock("inventory", "reconcile", "--json")
    assert found.code == 0
    assert found.document["orders"] == 1 and found.document["differences"] == [] and found.document["compared"]["Count"] == len(world.stock.shelf)
    assert "the systems agree" in crossdock("inventory", "reconcile").out


def test_a_difference_is_exit_code_1_with_an_exception_a_report_and_a_repair(world: World, crossdock: Crossdock, tmp_path: Path) -> None:
    agreeing(world)
    world.erp.receipts = {name: receipt for name, receipt in world.erp.receipts.items() if name[0] != "PostInvoice"}
    told = tmp_path / "report.json"

    found = crossdock("inventory", "reconcile", "--report", str(told), "--json")

    assert found.code == 1 and found.document["differing"] == {"INVOICE_MISSING": 1}
    assert json.loads(told.read_text()) == found.document, "the file says all that the screen says"
    assert world.open_codes() == ["INVOICE_MISSING"]
    shown = crossdock("inventory", "reconcile")
    assert "INVOICE_MISSING" in shown.out and "--apply" in shown.out
    assert crossdock("inventory", "reconcile", "--apply", "--json").document["repairs_sent"] == 1
    world.run()
    world.clock.pass_by(minutes=30)
    assert crossdock("inventory", "reconcile", "--json").code == 0
    assert not world.open_codes()


def test_one_difference_is_repaired_by_retrying_its_exception(world: World, crossdock: Crossdock) -> None:
    agreeing(world)
    world.erp.receipts = {name: receipt for name, receipt in world.erp.receipts.items() if name[0] != "CreateSalesOrder"}
    crossdock("inventory", "reconcile")
    [exception] = crossdock("exceptions", "list", "--json").document
    assert exception["code"] == "MISSING_IN_ERP"
    assert crossdock("exceptions", "retry", exception["exception_id"]).code == 0
    world.run()
    assert [name for name, _ in world.erp.done].count("CreateSalesOrder") == 2 and not world.open_codes()


def test_orders_before_the_window_are_left_out(world: World, crossdock: Crossdock) -> None:
    agreeing(world)
    assert crossdock("inventory", "reconcile", "--since", "1m", "--json").document["orders"] == 0
