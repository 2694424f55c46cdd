"""Does an order go all the way, and exactly as far as it should?"""

from __future__ import annotations

from tests.flows.world import World


def test_a_clean_order_reaches_a_posted_invoice() -> None:
    world = World()
    world.autopilot()
    world.place()
    world.run()
    record = world.record()
    assert world.status() == "completed"
    assert world.effects_done() == [
        ("ConfirmShipment", "erp-S-shop-1.1"),
        ("CreateSalesOrder", "shop-1"),
        ("PostInvoice", "erp-S-shop-1.1"),
        ("ReleaseFulfillment", "shop-1.1"),
    ]
    assert [booked.invoice_number for booked in record.shipments] == ["INV-erp-S-shop-1.1"]
    assert world.open_codes() == []
    assert world.balance().adds_up, world.balance()
    assert not world.workflow.running("shop-1")
    assert world.stock.outstanding() == []
