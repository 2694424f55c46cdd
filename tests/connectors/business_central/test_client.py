"""Does the connector do each thing once, find out what it does not know, and say exactly what went wrong?

Against the simulator under a real HTTP server on a local port, through the real outbound client.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from crossdock import bootstrap
from crossdock.connectors.business_central.client import BusinessCentralConnector
from crossdock.domain.commands import CancelOrder, Receipt
from crossdock.domain.connector import ConnectionContext, PriceQuestion
from crossdock.domain.delivery import Delivery
from crossdock.domain.errors import ConcurrentChange, ContractDrift, NeedsPerson, Rejected, RetryLater, UnknownOutcome
from crossdock.domain.events import ShipmentDispatched
from crossdock.http import OutboundHttp
from local.simulators.clock import ManualClock
from local.simulators.server import Answer, Served
from tests.connectors.business_central.orders import ORDER_ID, allocated, cancel_order, cancel_part, create, invoice, move, order, release
from tests.local.simulators.business_central.desk import CREDENTIALS, SEED, config

CHECKER = Path(__file__).resolve().parents[4] / "shared" / "contracts" / "check_exchanges.py"
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
BOLT_EAST, BOLT_3PL, NUT_WEST = "11@EAST", "11@3PL", "12@WEST"


@dataclass
class Erp:
    """The running simulator, the connector in front of it, and the staff's hands."""

    served: Served
    clock: ManualClock
    connector: BusinessCentralConnector
    secrets: dict[str, str] = field(default_factory=dict)

    def fault(self, **spec: Any) -> None:
        self.served.harness.ctx.faults.add(spec)

    def act(self, verb: str, **body: Any) -> Any:
        return self.served.harness.act(verb, body)

    def held(self, set_name: str) -> list[dict[str, Any]]:
        return list(self.served.harness.state()[set_name])

    def calls(self, method: str, part: str = "") -> int:
        return sum(1 for call in self.served.harness.requests if call["method"] == method and part in call["path"])

    def forget_calls(self) -> None:
        self.served.harness.requests.clear()


@pytest.fixture(scope="module")
def companies() -> Iterator[dict[str, Served]]:
    """One server per way in which the vendor may propose what to ship next."""
    proposals = {name: config(seed={**SEED, "setup": {"default_quantity_to_ship": name, "page_size": 2}}) for name in ("Blank", "Remainder")}
    with Served(proposals["Blank"], clock=ManualClock(START)) as blank, Served(proposals["Remainder"], clock=ManualClock(START)) as remainder:
        yield {"Blank": blank, "Remainder": remainder}


@pytest.fixture(params=["Blank", "Remainder"])
def erp(request: pytest.FixtureRequest, companies: dict[str, Served]) -> Iterator[Erp]:
    """Once with each proposal: the connector relies on neither."""
    yield from opened(companies[request.param])


@pytest.fixture
def plain(companies: dict[str, Served]) -> Iterator[Erp]:
    yield from opened(companies["Remainder"])


def opened(served: Served) -> Iterator[Erp]:
    """The company as its seed says, with a connector that remembers nothing."""
    served.harness.reset()
    clock = served.harness.ctx.clock
    assert isinstance(clock, ManualClock)
    secrets = {name: str(value) for name, value in CREDENTIALS.items()}
    context = ConnectionContext(
        manifest=bootstrap.load_manifest("business_central"),
        tenant="acme",
        connection="erp",
        base_url=served.url,
        settings={"login_url": served.url, "worked_locations": "EAST, WEST"},
        credentials=lambda: secrets,
        http=OutboundHttp(hosts=["127.0.0.1"], name="erp"),
        clock=clock,
    )
    yield Erp(served, clock, BusinessCentralConnector(context), secrets)
    vars(served.harness.simulator).pop("handle", None)  # what a test put in the way


# ------------------------------------------------------------------ sales orders
def test_one_call_makes_the_whole_order(erp: Erp) -> None:
    receipt = erp.connector.execute(create())

    [standing] = erp.held("salesOrders")
    assert (receipt.external_id, receipt.number, receipt.found) == (standing["id"], "SO000001", False)
    assert standing["externalDocumentNumber"] == ORDER_ID
    assert receipt.line_ids == {BOLT_EAST: "10000", BOLT_3PL: "20000", NUT_WEST: "30000"}
    # 7 x 10.00 + 3 x 0.33 - 0.09 + 15.50 freight; 8.25 % on 70.90
    assert receipt.total is not None
    assert (receipt.total.amount, receipt.tax and receipt.tax.amount) == (Decimal("92.25"), Decimal("5.85"))
    assert erp.calls("POST", "salesOrders") == 1


def test_an_answer_lost_after_the_commit_leads_to_the_one_order(erp: Erp) -> None:
    erp.fault(match={"method": "POST", "operation": "salesOrders"}, drop_after_commit=True)
    with pytest.raises(UnknownOutcome):
        erp.connector.execute(create())

    found = erp.connector.look_up(create())

    assert found is not None
    assert found.found
    assert [(one["id"], one["number"]) for one in erp.held("salesOrders")] == [(found.external_id, found.number)]
    assert found.line_ids == {BOLT_EAST: "10000", BOLT_3PL: "20000", NUT_WEST: "30000"}


def test_an_order_that_never_arrived_is_not_found(plain: Erp) -> None:
    plain.fault(match={"method": "POST", "operation": "salesOrders"}, status=503)
    with pytest.raises(RetryLater):
        plain.connector.execute(create())
    assert plain.connector.look_up(create()) is None


def test_a_server_error_after_a_write_is_an_unknown_outcome(plain: Erp) -> None:
    plain.fault(match={"method": "POST", "operation": "salesOrders"}, status=500)
    with pytest.raises(UnknownOutcome):
        plain.connector.execute(create())


def test_a_written_order_whose_answer_makes_no_sense_is_an_unknown_outcome(plain: Erp) -> None:
    plain.fault(match={"method": "POST", "operation": "salesOrders"}, status=201, body={"number": 7})
    with pytest.raises(UnknownOutcome, match="could not be read"):
        plain.connector.execute(create())


def test_an_order_that_is_gone_because_all_is_invoiced_is_found_by_its_invoice(plain: Erp) -> None:
    only = create(order(freight=order().freight * 0), lines=(allocated("11", "BOLT", "2", "3PL", "10"),))
    receipt = plain.connector.execute(only)
    plain.connector.execute(invoice(receipt, BOLT_3PL, "2", already_shipped=False))
    assert plain.held("salesOrders") == []

    assert plain.connector.look_up(only) == Receipt(external_id="SO000001", number="SO000001", found=True)


def test_two_orders_with_our_reference_are_for_a_person(plain: Erp) -> None:
    plain.connector.execute(create())
    plain.connector.execute(create())
    with pytest.raises(ContractDrift, match="SO000001, SO000002"):
        plain.connector.look_up(create())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"account": "C-2"}, "blocked with type All"),
        ({"account": "C-9"}, "cannot be found"),
        ({"lines": (allocated("1", "GHOST", "1", "EAST", "1"),)}, "Item does not exist"),
    ],
)
def test_a_refusal_carries_the_vendors_words(plain: Erp, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Rejected, match=words) as caught:
        plain.connector.execute(create(**changes))
    assert caught.value.code == "VENDOR_REFUSED"


def test_a_location_unknown_to_the_vendor_is_refused_before_anything_is_sent(plain: Erp) -> None:
    with pytest.raises(Rejected, match="NORTH") as caught:
        plain.connector.execute(create(lines=(allocated("1", "BOLT", "1", "NORTH", "1"),)))
    assert caught.value.code == "NOT_FOUND"
    assert plain.calls("POST", "salesOrders") == 0


def test_locations_are_asked_for_once(plain: Erp) -> None:
    plain.connector.execute(create())
    plain.connector.execute(create())
    assert plain.calls("GET", "locations") == 2  # two pages of three locations


# ------------------------------------------------------------------ cancelling
def test_a_sales_order_is_told_as_it_stands_until_it_is_gone(plain: Erp) -> None:
    receipt = plain.connector.execute(create())
    document = plain.connector.sales_order(receipt.external_id)
    assert document is not None
    assert (document.total, document.tax) == (receipt.total, receipt.tax)
    assert document.freight.amount == Decimal("15.50")
    assert set(document.lines) == set(receipt.line_ids.values()), "goods only: freight is no line of them"
    plain.connector.execute(cancel_order(receipt))
    assert plain.connector.sales_order(receipt.external_id) is None


def test_an_erp_holds_nothing_that_a_storefront_does(plain: Erp) -> None:
    for ask in (lambda: plain.connector.snapshot("shown", None), lambda: plain.connector.placed("1")):
        with pytest.raises(NeedsPerson):
            ask()


def test_an_order_is_cancelled_by_deleting_it(plain: Erp) -> None:
    receipt = plain.connector.execute(create())
    assert plain.connector.look_up(cancel_order(receipt)) is None

    assert plain.connector.execute(cancel_order(receipt)).number == "SO000001"

    assert plain.held("salesOrders") == []
    assert plain.connector.execute(cancel_order(receipt)).external_id == receipt.external_id  # twice does no harm
    assert plain.connector.look_up(cancel_order(receipt)) == Receipt(external_id=receipt.external_id, found=True)


def test_a_stale_token_is_read_anew(plain: Erp) -> None:
    receipt = plain.connector.execute(create())
    plain.fault(match={"method": "DELETE"}, status=409)
    plain.connector.execute(cancel_order(receipt))
    assert plain.held("salesOrders") == []
    assert plain.calls("DELETE") == 2


def test_an_order_changed_by_others_all_the_time_waits(plain: Erp) -> None:
    receipt = plain.connector.execute(create())
    plain.fault(match={"method": "DELETE"}, status=412, times=None)
    with pytest.raises(ConcurrentChange):
        plain.connector.execute(cancel_order(receipt))
    with pytest.raises(ConcurrentChange):
        plain.connector.execute(cancel_part("SO000001@EAST"))
    plain.fault(match={"method": "PATCH"}, status=412, times=None)
    plain.fault(match={"operation": "shipAndInvoice"}, status=409, times=None)
    with pytest.raises(ConcurrentChange):
        plain.connector.execute(invoice(receipt, BOLT_3PL, "1", already_shipped=False))


def test_what_has_left_cannot_be_cancelled(plain: Erp) -> None:
    receipt = plain.connector.execute(create())
    plain.act("post_shipment", order="SO000001", location="EAST")
    for command in (cancel_order(receipt), cancel_part("SO000001@EAST")):
        with pytest.raises(Rejected) as caught:
            plain.connector.execute(command)
        assert caught.value.code == "ALREADY_SHIPPED"
    assert len(plain.held("salesOrderLines")) == 4


def test_an_order_that_is_gone_because_it_was_invoiced_is_not_cancelled(plain: Erp) -> None:
    receipt = plain.connector.execute(create(order(freight=order().freight * 0), lines=(allocated("11", "BOLT", "2", "3PL", "10"),)))
    plain.connector.execute(invoice(receipt, BOLT_3PL, "2", already_shipped=False))
    for ask in (plain.connector.execute, plain.connector.look_up):
        for command in (cancel_order(receipt), cancel_part("SO000001@3PL")):
            with pytest.raises(Rejected) as caught:
                ask(command)
            assert caught.value.code == "ALREADY_SHIPPED"


# ------------------------------------------------------------------ parts worked in the ERP
def test_a_released_part_is_the_orders_lines_at_its_location(erp: Erp) -> None:
    receipt = erp.connector.execute(create())
    erp.forget_calls()

    assert erp.connector.execute(release(receipt)) == Receipt(external_id="SO000001@EAST", number="SO000001", acknowledged=True)

    assert erp.calls("GET") == 1
    assert erp.connector.look_up(release(receipt)) == erp.connector.execute(release(receipt))
    with pytest.raises(Rejected, match="no line of NUT"):
        erp.connector.execute(release(receipt, sku="AC-NUT"))


def test_a_part_of_an_order_that_is_gone_cannot_be_released(plain: Erp) -> None:
    receipt = plain.connector.execute(create())
    plain.act("delete_order", order="SO000001")
    with pytest.raises(Rejected, match="is not there"):
        plain.connector.execute(release(receipt))


def test_a_cancelled_part_leaves_the_order_and_the_others_stay(plain: Erp) -> None:
    plain.connector.execute(create())
    assert plain.connector.look_up(cancel_part("SO000001@EAST")) is None
    plain.fault(match={"method": "DELETE"}, status=409)

    assert plain.connector.execute(cancel_part("SO000001@EAST")).external_id == "SO000001@EAST"

    assert [line["sequence"] for line in plain.held("salesOrderLines")] == [20000, 30000, 40000]
    assert plain.connector.execute(cancel_part("SO000001@EAST")).external_id == "SO000001@EAST"
    assert plain.connector.look_up(cancel_part("SO000001@EAST")) == Receipt(external_id="SO000001@EAST", found=True)
    plain.act("delete_order", order="SO000001")
    assert plain.connector.execute(cancel_part("SO000001@WEST")).external_id == "SO000001@WEST"


def test_lines_given_up_at_one_location_stand_at_another_and_the_others_stay(plain: Erp) -> None:
    receipt = plain.connector.execute(create())
    away = move(receipt, BOLT_3PL, "3", "WEST")
    assert plain.connector.look_up(away) is None
    plain.fault(match={"method": "PATCH"}, status=409)

    assert plain.connector.execute(away) == Receipt(external_id="SO000001@WEST", number="SO000001")

    west, east = (next(line["locationId"] for line in plain.held("salesOrderLines") if line["sequence"] == sequence) for sequence in (30000, 10000))
    assert [line["locationId"] for line in plain.held("salesOrderLines")][:3] == [east, west, west]
    assert plain.connector.look_up(away) == Receipt(external_id="SO000001@WEST", number="SO000001", found=True)
    plain.forget_calls()
    assert plain.connector.execute(away).external_id == "SO000001@WEST"
    assert plain.calls("PATCH") == 0  # it stands there: nothing is written
    released = plain.connector.execute(release(receipt, "WEST", quantity="3"))
    assert released.external_id == "SO000001@WEST"


def test_lines_that_have_left_or_are_gone_do_not_move(plain: Erp) -> None:
    receipt = plain.connector.execute(create())
    plain.act("post_shipment", order="SO000001", location="EAST")
    with pytest.raises(Rejected) as caught:
        plain.connector.execute(move(receipt, BOLT_EAST, "4", "WEST"))
    assert caught.value.code == "ALREADY_SHIPPED"
    plain.connector.execute(cancel_part("SO000001@WEST"))
    for ask in (plain.connector.execute, plain.connector.look_up):
        with pytest.raises(Rejected, match="has not all of the lines 30000"):
            ask(move(receipt, NUT_WEST, "3", "EAST"))


def test_lines_that_somebody_changes_all_the_time_wait(plain: Erp) -> None:
    receipt = plain.connector.execute(create())
    plain.fault(match={"method": "PATCH"}, status=409, times=20)
    with pytest.raises(ConcurrentChange):
        plain.connector.execute(move(receipt, BOLT_3PL, "3", "WEST"))


# ------------------------------------------------------------------ invoices
def test_what_staff_shipped_is_invoiced_and_nothing_else(erp: Erp) -> None:
    receipt = erp.connector.execute(create())
    erp.act("post_shipment", order="SO000001", location="EAST")

    made = erp.connector.execute(invoice(receipt, BOLT_EAST, "4", already_shipped=True))

    lines = {line["sequence"]: line for line in erp.held("salesOrderLines")}
    assert {key: (line["shippedQuantity"], line["invoicedQuantity"]) for key, line in lines.items()} == {10000: (4, 4), 20000: (0, 0), 30000: (0, 0), 40000: (1, 1)}
    [posted] = erp.held("salesInvoices")
    assert (made.external_id, made.number, made.found) == (posted["id"], posted["number"], False)
    assert made.total is not None
    assert made.total.amount == Decimal("58.80")  # 40.00 + 3.30 tax + 15.50 freight


def test_what_the_3pl_shipped_is_shipped_and_invoiced_in_parts(erp: Erp) -> None:
    receipt = erp.connector.execute(create())
    first = erp.connector.execute(invoice(receipt, BOLT_3PL, "1", already_shipped=False, shipment="3pl-1"))
    second = erp.connector.execute(invoice(receipt, BOLT_3PL, "2", before="1", already_shipped=False, shipment="3pl-2"))

    assert first.number != second.number
    totals = [one.total.amount for one in (first, second) if one.total]
    assert totals == [Decimal("26.33"), Decimal("21.65")]  # the freight went with the first
    lines = {line["sequence"]: (line["shippedQuantity"], line["invoicedQuantity"]) for line in erp.held("salesOrderLines")}
    assert lines == {10000: (0, 0), 20000: (3, 3), 30000: (0, 0), 40000: (1, 1)}


def test_all_invoiced_in_any_order_closes_the_order(erp: Erp) -> None:
    receipt = erp.connector.execute(create())
    erp.connector.execute(invoice(receipt, BOLT_3PL, "3", already_shipped=False, shipment="3pl-1"))
    erp.act("post_shipment", order="SO000001", location="WEST")
    erp.connector.execute(invoice(receipt, NUT_WEST, "3", already_shipped=True, shipment="erp-1"))
    erp.act("post_shipment", order="SO000001", location="EAST")
    last = erp.connector.execute(invoice(receipt, BOLT_EAST, "4", already_shipped=True, shipment="erp-2"))

    assert erp.held("salesOrders") == []
    assert sum(one["totalAmountIncludingTax"] for one in erp.held("salesInvoices")) == receipt.total.amount if receipt.total else False
    assert erp.connector.execute(invoice(receipt, BOLT_EAST, "4", already_shipped=True, shipment="erp-2")) == last.model_copy(update={"found": True})


def test_an_invoice_whose_answer_was_lost_is_found_and_not_repeated(erp: Erp) -> None:
    receipt = erp.connector.execute(create())
    command = invoice(receipt, BOLT_3PL, "2", already_shipped=False)
    assert erp.connector.look_up(command) is None
    erp.fault(match={"operation": "shipAndInvoice"}, drop_after_commit=True)
    with pytest.raises(UnknownOutcome):
        erp.connector.execute(command)

    found = erp.connector.look_up(command)
    assert found is not None
    assert found.number == "PSI000001"
    assert erp.connector.execute(command) == found
    assert len(erp.held("salesInvoices")) == 1


def test_an_invoice_that_cannot_be_read_back_is_an_unknown_outcome(plain: Erp) -> None:
    receipt = plain.connector.execute(create())
    plain.fault(match={"method": "GET", "operation": "salesInvoices"}, status=500, times=None)
    with pytest.raises(UnknownOutcome):
        plain.connector.execute(invoice(receipt, BOLT_3PL, "2", already_shipped=False))
    assert len(plain.held("salesInvoices")) == 1


def test_staff_posting_in_between_is_planned_around(erp: Erp) -> None:
    """The vendor proposes everything again after each posting: what was planned before it must not be posted."""
    receipt = erp.connector.execute(create())
    simulator = erp.served.harness.simulator
    answer = simulator.handle
    interfered: list[bool] = []

    def handle(call: Any) -> Answer:
        if call.path.endswith("shipAndInvoice") and not interfered:
            interfered.append(True)
            erp.act("post_shipment", order="SO000001", location="EAST")
        made: Answer = answer(call)
        return made

    simulator.handle = handle  # type: ignore[method-assign]
    erp.connector.execute(invoice(receipt, BOLT_3PL, "1", already_shipped=False))

    lines = {line["sequence"]: (line["shippedQuantity"], line["invoicedQuantity"]) for line in erp.held("salesOrderLines")}
    assert lines == {10000: (4, 0), 20000: (1, 1), 30000: (0, 0), 40000: (1, 1)}
    assert erp.calls("POST", "shipAndInvoice") == 2


def test_an_order_posted_completely_by_staff_is_found_by_its_invoice(plain: Erp) -> None:
    only = create(order(freight=order().freight * 0), lines=(allocated("11", "BOLT", "2", "EAST", "10"),))
    receipt = plain.connector.execute(only)
    simulator = plain.served.harness.simulator
    answer = simulator.handle

    def handle(call: Any) -> Answer:
        if call.path.endswith("shipAndInvoice"):
            answer(call)  # staff were a moment faster
        made: Answer = answer(call)
        return made

    simulator.handle = handle  # type: ignore[method-assign]
    assert plain.connector.execute(invoice(receipt, BOLT_EAST, "2", already_shipped=False)).number == "PSI000001"


@pytest.mark.parametrize(("quantity", "already_shipped", "words"), [("1", True, "cannot invoice more"), ("9", False, "cannot ship more")])
def test_an_impossible_invoice_is_refused_in_the_vendors_words(plain: Erp, quantity: str, already_shipped: bool, words: str) -> None:
    receipt = plain.connector.execute(create())
    with pytest.raises(Rejected, match=words):
        plain.connector.execute(invoice(receipt, BOLT_EAST, quantity, already_shipped=already_shipped))


def test_an_invoice_of_an_order_somebody_deleted_is_refused(plain: Erp) -> None:
    receipt = plain.connector.execute(create())
    plain.act("delete_order", order="SO000001")
    with pytest.raises(Rejected, match="there is no invoice"):
        plain.connector.execute(invoice(receipt, BOLT_EAST, "1", already_shipped=True))


def test_a_refused_posting_is_told_in_the_vendors_words(plain: Erp) -> None:
    receipt = plain.connector.execute(create())
    plain.act("block_customer", customer="C-1", blocked="Invoice")
    with pytest.raises(Rejected, match="blocked with type Invoice"):
        plain.connector.execute(invoice(receipt, BOLT_3PL, "1", already_shipped=False))
    plain.act("block_customer", customer="C-1", blocked="_x0020_")
    plain.fault(match={"method": "DELETE"}, status=400)
    with pytest.raises(Rejected, match="Invalid Request Body"):
        plain.connector.execute(cancel_order(receipt))


# ------------------------------------------------------------------ shipments
def delivered(erp: Erp, cursor: str | None) -> tuple[list[str], list[Any], str]:
    """Keys, translated shipments (or the reason why not) and the next cursor of one poll."""
    result = erp.connector.poll("shipments", cursor)
    said: list[Any] = []
    for item in result.items:
        delivery = Delivery(delivery_id=item.key, connection="erp", topic=item.topic, body=item.body, received_at=erp.clock.now())
        translation = erp.connector.translate(delivery)
        said.append(translation.ignored or [found.fact.shipment for found in translation.occurrences if isinstance(found.fact, ShipmentDispatched)])
    return [item.key for item in result.items], said, result.cursor


def test_a_shipment_of_staff_is_found_once_with_its_part_lines_and_tracking(erp: Erp) -> None:
    receipt = erp.connector.execute(create())
    keys, _, cursor = delivered(erp, None)
    assert keys == []
    released = erp.connector.execute(release(receipt))
    erp.act("post_shipment", order="SO000001", location="EAST", tracking={"carrier": "UPS", "number": "1Z9"})

    keys, said, cursor = delivered(erp, cursor)

    assert keys == ["PS000001"]
    [[shipment]] = said
    assert (shipment.shipment_id, shipment.order_id, shipment.part_reference) == ("erp-PS000001", ORDER_ID, released.external_id)
    assert [(line.sku, line.quantity, line.line_id) for line in shipment.lines] == [("BOLT", 4, "11")]
    assert [(package.carrier, package.tracking_number) for package in shipment.packages] == [("UPS", "1Z9")]
    assert delivered(erp, cursor)[0] == []
    erp.clock.advance(600)
    assert delivered(erp, cursor)[0] == []


def test_our_own_posting_for_the_3pl_is_an_echo(erp: Erp) -> None:
    receipt = erp.connector.execute(create())
    erp.connector.execute(invoice(receipt, BOLT_3PL, "3", already_shipped=False))
    only = create(order(order_id="storefront-2", freight=order().freight * 0), lines=(allocated("11", "BOLT", "2", "3PL", "10"),))
    whole = erp.connector.execute(only)
    erp.connector.execute(invoice(whole, BOLT_3PL, "2", already_shipped=False))  # this one closes its order

    _, said, _ = delivered(erp, None)
    assert [text for text in said if "another system shipped" in text] == said
    assert len(said) == 2


def test_many_shipments_of_one_moment_are_neither_lost_nor_repeated(plain: Erp) -> None:
    lines = (allocated("11", "BOLT", "7", "EAST", "10"),)
    plain.connector.execute(create(lines=lines))
    cursor: str = ""
    all_keys: list[str] = []
    for step in range(4):
        for _ in range(3 if step < 2 else 0):  # three of the same millisecond; a page holds two
            plain.act("post_shipment", order="SO000001", lines=[{"sequence": 10000, "quantity": 1}])
        keys, _, cursor = delivered(plain, cursor or None)
        all_keys += keys
        plain.clock.advance(5)
    assert all_keys == [f"PS00000{number}" for number in range(1, 7)]
    assert len(json.loads(cursor)["seen"]) == 6
    plain.clock.advance(120)
    plain.act("post_shipment", order="SO000001", lines=[{"sequence": 10000, "quantity": 1}])
    keys, _, cursor = delivered(plain, cursor)
    assert keys == ["PS000007"]
    assert list(json.loads(cursor)["seen"]) == ["PS000007"]  # what the overlap no longer reaches is forgotten


def test_a_bad_delivery_is_refused_with_its_fields(plain: Erp) -> None:
    def translate(topic: str, body: bytes) -> None:
        plain.connector.translate(Delivery(delivery_id="d", connection="erp", topic=topic, body=body, received_at=START))

    with pytest.raises(ContractDrift, match="'gadgets'") as caught:
        translate("gadgets", b"{}")
    assert caught.value.code == "UNKNOWN_EVENT"
    with pytest.raises(Rejected) as refused:
        translate("salesShipments", b'{"salesShipment": {"number": 7}, "locationCodes": {}}')
    assert "salesShipment.number" in [problem.path for problem in refused.value.fields]
    with pytest.raises(ContractDrift, match="no poll resource"):
        plain.connector.poll("orders", None)


# ------------------------------------------------------------------ questions
def test_credit_counts_invoices_and_open_orders(plain: Erp) -> None:
    before = plain.connector.credit("C-1")
    assert before is not None
    assert before.limit is not None
    assert (before.limit.amount, before.balance.amount, before.blocked) == (5000, 0, False)
    receipt = plain.connector.execute(create())
    plain.connector.execute(invoice(receipt, BOLT_3PL, "3", already_shipped=False))

    after = plain.connector.credit("C-1")

    assert after is not None
    assert receipt.total is not None
    assert abs(after.balance.amount - receipt.total.amount) <= Decimal("0.01")
    blocked = plain.connector.credit("C-2")
    assert blocked is not None
    assert (blocked.limit, blocked.blocked) == (None, True)
    assert plain.connector.credit("O'Nobody") is None


def test_prices_of_many_items_are_asked_for_together_and_answered_in_order(plain: Erp) -> None:
    def ask(*numbers: str) -> list[str | None]:
        questions = [PriceQuestion(sku=number, unit="EA", quantity=Decimal(1), currency="USD") for number in numbers]
        return [f"{price.price.amount:f}" if price else None for price in plain.connector.prices("C-1", questions)]

    assert ask("NUT", "GHOST", "BOLT", "OLD", "NUT") == ["0.33", None, "10.00", None, "0.33"]
    plain.forget_calls()
    assert ask(*(f"X{number}" for number in range(41))) == [None] * 41
    assert plain.calls("GET", "items") == 3
    assert plain.connector.stock() == []


# ------------------------------------------------------------------ signing in, and answers that make no sense
def test_a_token_is_kept_and_renewed_before_it_runs_out(plain: Erp) -> None:
    plain.connector.credit("C-1")
    plain.connector.credit("C-1")
    assert plain.calls("POST", "token") == 1
    plain.clock.advance(3540)
    plain.connector.credit("C-1")
    assert plain.calls("POST", "token") == 2


def test_a_revoked_token_is_replaced_at_once_even_for_a_write(plain: Erp) -> None:
    plain.connector.credit("C-1")
    plain.act("expire_tokens")
    plain.connector.execute(create())
    assert plain.calls("POST", "token") == 2
    assert len(plain.held("salesOrders")) == 1


def test_credentials_nobody_knows_are_for_a_person(plain: Erp) -> None:
    plain.secrets["client_secret"] = "wrong"
    with pytest.raises(NeedsPerson, match="gave no token") as caught:
        plain.connector.credit("C-1")
    assert caught.value.code == "NOT_AUTHORISED"
    plain.secrets["client_secret"] = str(CREDENTIALS["client_secret"])
    plain.fault(match={"operation": "customers"}, status=403)
    with pytest.raises(NeedsPerson, match="403"):
        plain.connector.credit("C-1")


def test_throttling_is_passed_on_with_the_vendors_wish(plain: Erp) -> None:
    plain.fault(match={"operation": "customers"}, status=429, headers={"retry-after": "7"})
    with pytest.raises(RetryLater) as caught:
        plain.connector.credit("C-1")
    assert (caught.value.code, caught.value.after_seconds) == ("RATE_LIMITED", 7)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, {"value": [{"number": 7}]}, "Customer is not as its contract says"),
        (200, {"values": []}, "Page is not as its contract says"),
        (400, {"message": "?"}, "without an error body"),
        (418, None, "without an error body"),
    ],
)
def test_an_answer_that_makes_no_sense_is_drift(plain: Erp, status: int, body: Any, words: str) -> None:
    plain.fault(match={"operation": "customers"}, status=status, body=body)
    with pytest.raises(ContractDrift, match=words) as caught:
        plain.connector.credit("C-1")
    assert caught.value.code == "UNEXPECTED_ANSWER"


def test_a_refused_read_is_told(plain: Erp) -> None:
    with pytest.raises(Rejected, match="query syntax"):
        plain.connector.execute(cancel_order(Receipt(external_id="no guid")))
    plain.fault(match={"operation": "customers"}, status=404)
    with pytest.raises(Rejected) as caught:
        plain.connector.credit("C-1")
    assert caught.value.code == "NOT_FOUND"


def test_a_command_for_somebody_else_is_refused(plain: Erp) -> None:
    with pytest.raises(Rejected, match="CancelOrder"):
        plain.connector.execute(CancelOrder(order_id=ORDER_ID, external_id="1", reason="x"))


def test_an_unreadable_answer_is_drift(plain: Erp) -> None:
    simulator = plain.served.harness.simulator
    answer = simulator.handle
    simulator.handle = lambda call: Answer(200, b"<html>") if "customers" in call.path else answer(call)  # type: ignore[method-assign]
    with pytest.raises(ContractDrift, match="no JSON"):
        plain.connector.credit("C-1")


def test_the_manifest_says_what_the_connector_does(plain: Erp) -> None:
    manifest = plain.connector.manifest
    assert set(manifest.commands) == {kind.__name__ for kind in plain.connector._handlers}
    assert set(manifest.polls) == {"shipments", "items", "customers"}
    assert set(manifest.credentials) == set(CREDENTIALS)


@pytest.mark.skipif(not CHECKER.exists() or shutil.which("uv") is None, reason="../shared/contracts is not here, or uv is not")
def test_everything_the_connector_sends_keeps_the_vendors_contract(tmp_path: Path) -> None:
    recorded = tmp_path / "exchanges.jsonl"
    with Served(config(exchanges_file=str(recorded)), clock=ManualClock(START)) as served:
        [erp] = list(opened(served))
        assert erp.connector.credit("C-1") is not None
        erp.connector.prices("C-1", [PriceQuestion(sku="BOLT", unit="EA", quantity=Decimal(1), currency="USD")])
        receipt = erp.connector.execute(create())
        assert erp.connector.look_up(create()) is not None
        erp.connector.execute(release(receipt))
        erp.connector.execute(invoice(receipt, BOLT_3PL, "2", already_shipped=False))
        erp.act("post_shipment", order="SO000001", location="EAST", tracking={"number": "1Z9"})
        erp.connector.poll("shipments", None)
        erp.connector.execute(invoice(receipt, BOLT_EAST, "4", already_shipped=True))
        for location in ("EAST", "WEST"):
            erp.connector.execute(move(receipt, NUT_WEST, "3", location))
        erp.connector.execute(cancel_part("SO000001@WEST"))
        erp.connector.execute(cancel_order(erp.connector.execute(create(order(order_id="storefront-2")))))
    command = ["uv", "run", "--script", str(CHECKER), str(recorded), "--need", "business_central"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
