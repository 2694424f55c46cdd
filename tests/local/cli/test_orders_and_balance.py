"""Do the commands that look tell what is there, as tables for people and as one document for programs?"""

from __future__ import annotations

from crossdock.domain.stage import QueueName
from tests.flows.world import World, an_order, line
from tests.local.cli.conftest import Crossdock


def test_orders_list_shows_the_newest_first_with_documents_of_every_system(world: World, crossdock: Crossdock) -> None:
    world.place(an_order(1))
    world.clock.pass_by(seconds=5)
    world.place(an_order(2))
    world.run()

    found = crossdock("orders", "list", "--json")

    assert found.code == 0
    assert [order["order_id"] for order in found.document] == ["shop-2", "shop-1"]
    assert {order["status"] for order in found.document} == {"completed"}
    assert all(order["sales_order"] and order["invoices"] for order in found.document)


def test_orders_list_keeps_to_the_status_and_the_limit(world: World, crossdock: Crossdock) -> None:
    for number in (1, 2, 3):
        world.place(an_order(number))
    world.run()
    world.place(an_order(4, lines=[line("1", "BOLT", "3", "10", tax="0")]))
    world.run()

    assert [order["order_id"] for order in crossdock("orders", "list", "--status", "held", "--json").document] == ["shop-4"]
    assert len(crossdock("orders", "list", "--limit", "2", "--json").document) == 2
    assert crossdock("orders", "list", "--status", "nonsense").code == 2


def test_an_order_is_found_by_the_number_people_use(world: World, crossdock: Crossdock) -> None:
    world.place()
    world.run()

    for name in ("shop-1", "#1001", "1001"):
        assert crossdock("orders", "show", name, "--json").document["order_id"] == "shop-1", name
    assert "1Z-" in crossdock("orders", "show", "1001").out


def test_an_order_that_is_not_there_is_exit_code_1_and_says_where_to_look(crossdock: Crossdock) -> None:
    found = crossdock("orders", "show", "shop-404")

    assert found.code == 1
    assert "crossdock exceptions list" in found.said


def test_trace_tells_the_timeline_with_the_systems_own_numbers_and_checks_the_chain(world: World, crossdock: Crossdock) -> None:
    world.place()
    world.run()

    found = crossdock("orders", "trace", "shop-1", "--json")

    assert found.code == 0
    assert found.document["chain"]["whole"] is True
    assert found.document["entries"][0]["action"] == "OrderPlaced"
    assert {"sales order", "tracking"} <= {document["document"] for document in found.document["documents"]}
    assert "the record is whole" in crossdock("orders", "trace", "shop-1").out


def test_trace_of_a_record_that_was_changed_is_exit_code_1(world: World, crossdock: Crossdock) -> None:
    world.place()
    world.run()
    entries = world.audit.entries("shop-1")
    forged = [entries[0].model_copy(update={"summary": "one line, 1 USD"}), *entries[1:]]
    world.services.audit.entries = lambda subject: forged  # type: ignore[method-assign]

    found = crossdock("orders", "trace", "shop-1", "--json")

    assert found.code == 1
    assert found.document["chain"]["problems"]


def test_inventory_shows_what_can_be_promised_by_location(world: World, crossdock: Crossdock) -> None:
    found = crossdock("inventory", "show", "NUT", "--json").document

    assert {place["location"]: place["available"] for place in found["locations"]} == {"CHI": "95", "MOR": "40"}
    assert found["available"] == "135"
    assert crossdock("inventory", "show", "NO-SUCH-SKU").code == 1


def test_balance_is_0_when_it_adds_up_and_1_when_something_is_missing(world: World, crossdock: Crossdock) -> None:
    world.place()
    world.run()
    assert crossdock("balance", "--json").document["adds_up"] is True

    world.place(an_order(2))
    world.queues.messages[QueueName.INBOUND].clear()
    world.clock.pass_by(minutes=30)
    found = crossdock("balance", "--json")

    assert found.code == 1
    assert found.document["adds_up"] is False
    assert found.document["deliveries"]["missing"]
    assert "MISSING" in crossdock("balance").out
