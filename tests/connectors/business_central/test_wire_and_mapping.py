"""Do the vendor's documents and ours correspond exactly, in both directions, and is what does not fit refused?"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.connectors.business_central import mapping, wire
from crossdock.domain import strict_json
from crossdock.domain.address import Address
from crossdock.domain.commands import Receipt
from crossdock.domain.connector import PriceQuestion, Translation
from crossdock.domain.errors import ContractDrift, Rejected
from crossdock.domain.events import ShipmentDispatched
from crossdock.domain.money import Money
from local.simulators.business_central.contract import ENTITIES
from tests.connectors.business_central.orders import ORDER_ID, allocated, create, invoice, order, usd

SAMPLES = Path(mapping.__file__).parent / "samples"
NAMES = sorted(path.stem for path in SAMPLES.glob("salesShipments.*.json") if not path.stem.endswith(".expected"))
IDS = {"EAST": "e0000000-0000-0000-0000-000000000001", "WEST": "e0000000-0000-0000-0000-000000000002", "3PL": "e0000000-0000-0000-0000-000000000003"}
WORKED = frozenset({"CHI", "DAL"})


def sample(name: str) -> wire.PolledShipment:
    return wire.PolledShipment.model_validate(strict_json.loads((SAMPLES / f"{name}.json").read_bytes()))


def translated(polled: wire.PolledShipment, worked: frozenset[str] = WORKED) -> Translation:
    return mapping.shipment_from_wire(polled, connection="erp", worked_locations=worked, tracking_prefix="TRACKING")


# ------------------------------------------------------------------ shipments
@pytest.mark.parametrize("name", NAMES)
def test_a_sample_has_exactly_the_vendors_properties(name: str) -> None:
    raw = json.loads((SAMPLES / f"{name}.json").read_text())["salesShipment"]
    lines = raw.pop("salesShipmentLines")
    for entity, record in [(ENTITIES["salesShipments"], raw), *((ENTITIES["salesShipmentLines"], line) for line in lines)]:
        assert set(record) == {"@odata.etag", *entity.fields}
        for field_name, found in entity.fields.items():
            assert found.max_length is None or len(record[field_name]) <= found.max_length


def test_what_left_elsewhere_is_the_echo_of_our_own_invoice() -> None:
    polled = sample("salesShipments.posted").model_copy(update={"locationCodes": {10000: "MOR"}})
    assert translated(polled).ignored == "shipment PS000221 was posted here for goods that another system shipped"
    assert translated(polled, frozenset()).ignored is None  # without worked locations every shipment counts


def test_only_the_lines_of_worked_locations_are_told() -> None:
    polled = sample("salesShipments.posted.two_locations").model_copy(update={"locationCodes": {10000: "MOR", 20000: "DAL"}})
    [found] = translated(polled).occurrences
    assert isinstance(found.fact, ShipmentDispatched)
    assert (found.fact.shipment.part_reference, found.fact.shipment.shipment_id) == ("SO000117@DAL", "erp-PS000222")
    assert [(line.sku, line.quantity) for line in found.fact.shipment.lines] == [("70030", Decimal("2.5"))]


def test_accounts_and_comments_ship_nothing() -> None:
    polled = sample("salesShipments.posted")
    freight = polled.salesShipment.salesShipmentLines[0].model_copy(update={"lineType": mapping.ACCOUNT, "sequence": 20000})
    shipment = polled.salesShipment.model_copy(update={"salesShipmentLines": (*polled.salesShipment.salesShipmentLines, freight)})
    assert translated(polled.model_copy(update={"salesShipment": shipment})) == translated(polled)


def test_a_line_of_an_unknown_type_is_drift() -> None:
    polled = sample("salesShipments.posted")
    strange = polled.salesShipment.salesShipmentLines[0].model_copy(update={"lineType": "Bundle"})
    shipment = polled.salesShipment.model_copy(update={"salesShipmentLines": (strange,)})
    with pytest.raises(ContractDrift, match="Bundle") as caught:
        translated(polled.model_copy(update={"salesShipment": shipment}))
    assert caught.value.code == "UNKNOWN_STATUS"


def test_every_line_type_of_the_contract_is_known() -> None:
    from local.simulators.business_central.contract import ENUMS

    assert set(mapping._SHIPMENT_LINE_TYPES) == set(ENUMS["salesLineType"])
    assert set(mapping._BLOCKED) == set(ENUMS["customerBlocked"])


@pytest.mark.parametrize("foreign", ["no reference", "no line of ours"])
def test_a_shipment_of_an_order_made_elsewhere_is_ignored(foreign: str) -> None:
    polled = sample("salesShipments.posted")
    lines = tuple(line.model_copy(update={"description2": "Ref. "}) for line in polled.salesShipment.salesShipmentLines)
    changes = {"externalDocumentNumber": ""} if foreign == "no reference" else {"salesShipmentLines": lines}
    shipment = polled.salesShipment.model_copy(update=changes)
    reason = translated(polled.model_copy(update={"salesShipment": shipment})).ignored
    assert reason == "shipment PS000221 belongs to sales order SO000117, which was not made here"


# ------------------------------------------------------------------ names
@given(st.from_regex(r"[A-Za-z0-9_-]{1,78}", fullmatch=True))
def test_a_reference_always_fits_and_is_read_back_or_known_as_shortened(order_id: str) -> None:
    reference = mapping.external_reference(order_id)
    assert len(reference) <= 35
    assert mapping.order_id_of(reference) == (order_id if len(order_id) <= 35 else None)


def test_two_long_ids_with_the_same_head_keep_different_references() -> None:
    assert mapping.external_reference("x" * 40) != mapping.external_reference("x" * 41)


@pytest.mark.parametrize("name", ["SO1", "@EAST", "SO1@", ""])
def test_what_names_no_part_is_refused(name: str) -> None:
    with pytest.raises(Rejected, match="no part"):
        mapping.part_of_name(name)


def test_a_part_is_named_by_order_and_location() -> None:
    assert mapping.part_of_name(mapping.part_name("SO@1", "EAST")) == ("SO@1", "EAST")


# ------------------------------------------------------------------ orders
def test_an_order_becomes_one_document_with_freight_as_its_last_line() -> None:
    body = json.loads(wire.body_of(mapping.order_to_wire(create(), location_ids=IDS, freight_account="44100")), parse_float=Decimal)

    assert body.pop("salesOrderLines") == [
        {
            "sequence": 10000,
            "lineType": "Item",
            "lineObjectNumber": "BOLT",
            "locationId": IDS["EAST"],
            "description2": "Ref. 11",
            "unitOfMeasureCode": "EA",
            "quantity": 4,
            "unitPrice": 10,
        },
        {
            "sequence": 20000,
            "lineType": "Item",
            "lineObjectNumber": "BOLT",
            "locationId": IDS["3PL"],
            "description2": "Ref. 11",
            "unitOfMeasureCode": "EA",
            "quantity": 3,
            "unitPrice": 10,
        },
        {
            "sequence": 30000,
            "lineType": "Item",
            "lineObjectNumber": "NUT",
            "locationId": IDS["WEST"],
            "description2": "Ref. 12",
            "unitOfMeasureCode": "EA",
            "quantity": 3,
            "unitPrice": Decimal("0.33"),
            "discountAmount": Decimal("0.09"),
        },
        {"sequence": 40000, "lineType": "Account", "lineObjectNumber": "44100", "description": "Standard freight", "quantity": 1, "unitPrice": Decimal("15.5")},
    ]
    assert body == {
        "customerNumber": "C-1",
        "externalDocumentNumber": ORDER_ID,
        "orderDate": "2026-03-02",
        "currencyCode": "USD",
        "shipToName": "Bolt & Sons",
        "shipToContact": "Ann Mason",
        "shipToAddressLine1": "1 Main St",
        "shipToAddressLine2": "",
        "shipToCity": "Austin",
        "shipToCountry": "US",
        "shipToState": "TX",
        "shipToPostCode": "73301",
        "email": "buyer@bolts.example",
    }


def test_everything_sent_is_in_the_vendors_contract_and_within_its_lengths() -> None:
    order_fields, line_fields = ENTITIES["salesOrders"].fields, ENTITIES["salesOrderLines"].fields
    for model, fields in ((wire.NewSalesOrder, order_fields), (wire.NewSalesOrderLine, line_fields), (wire.LineQuantities, line_fields)):
        for name, info in model.model_fields.items():
            if name == "salesOrderLines":
                continue
            lengths = [meta.max_length for meta in info.metadata if getattr(meta, "max_length", None)]
            assert name in fields
            assert not lengths or fields[name].max_length in (None, *lengths)


def test_a_person_without_company_is_the_name_and_free_shipping_has_no_line() -> None:
    placed = order(ship_to=Address(name="Ann Mason", line1="1 Main St", phone="1" * 31), freight=usd("0"), customer=order().customer.model_copy(update={"email": ""}))
    body = mapping.order_to_wire(create(placed), location_ids=IDS, freight_account="44100")

    assert (body.shipToName, body.shipToContact, body.phoneNumber, body.email) == ("Ann Mason", "", None, None)
    assert len(body.salesOrderLines) == 3


def test_what_does_not_fit_is_refused_with_the_fields_path() -> None:
    placed = order(ship_to=Address(name="A", line1="x" * 101, city="y" * 31))
    with pytest.raises(Rejected) as caught:
        mapping.order_to_wire(create(placed), location_ids=IDS, freight_account="44100")
    assert [problem.path for problem in caught.value.fields] == ["shipToAddressLine1", "shipToCity"]
    with pytest.raises(Rejected) as caught:
        mapping.order_to_wire(create(lines=(allocated("1", "S" * 21, "1", "EAST", "1"),)), location_ids=IDS, freight_account="44100")
    assert [problem.path for problem in caught.value.fields] == ["lineObjectNumber"]


def test_numbers_leave_as_numbers_and_texts_escaped() -> None:
    assert wire.to_json({"a": Decimal("1E+2"), "b": [Decimal("0.10"), True, None, 'x"'], "c": {"d": 7}}) == b'{"a":100,"b":[0.1,true,null,"x\\""],"c":{"d":7}}'
    assert wire.text_literal("O'Brien") == "'O''Brien'"
    assert wire.moment_literal(datetime(2026, 3, 2, 9, 0, 0, 123999, tzinfo=UTC)) == "2026-03-02T09:00:00.123Z"


# ------------------------------------------------------------------ receipts
def sales_order(*lines: dict[str, Any], **changes: Any) -> wire.SalesOrder:
    blank = {"@odata.etag": "e", "id": "L", "lineType": "Item", "lineObjectNumber": "BOLT", "netAmount": 1, "netAmountIncludingTax": 1, "locationId": IDS["EAST"]}
    quantities = dict.fromkeys(("quantity", "shippedQuantity", "invoicedQuantity", "shipQuantity", "invoiceQuantity"), 0)
    header = {
        "@odata.etag": "h",
        "id": "O",
        "number": "SO1",
        "externalDocumentNumber": ORDER_ID,
        "currencyCode": "USD",
        "totalAmountIncludingTax": Decimal("9.99"),
        "totalTaxAmount": 1,
    }
    return wire.SalesOrder.model_validate({**header, "salesOrderLines": [{**blank, **quantities, **line} for line in lines], **changes})


def test_a_receipt_names_the_lines_by_their_sequence() -> None:
    made = mapping.order_from_wire(sales_order({"sequence": 10000}, {"sequence": 20000}), create())

    assert made == Receipt(
        external_id="O", number="SO1", total=Money.of("9.99", "USD"), tax=Money.of("1", "USD"), line_ids={"11@EAST": "10000", "11@3PL": "20000"}
    )  # the third line was not there


def test_a_part_whose_item_is_not_in_the_order_is_refused() -> None:
    standing = sales_order({"sequence": 10000}, {"sequence": 20000, "locationId": IDS["WEST"]}, {"sequence": 30000, "lineType": "Account"})
    assert [line.sequence for line in mapping.released_lines(standing, location_id=IDS["EAST"], item_numbers=["BOLT"])] == [10000]
    with pytest.raises(Rejected, match="NUT"):
        mapping.released_lines(standing, location_id=IDS["EAST"], item_numbers=["BOLT", "NUT"])


# ------------------------------------------------------------------ invoices
RECEIPT = Receipt(external_id="O", number="SO1", line_ids={"11@EAST": "10000"})


@pytest.mark.parametrize(
    ("line", "already_shipped", "ship", "to_invoice"),
    [
        ({"quantity": 4, "shippedQuantity": 4}, True, 0, 2),
        ({"quantity": 4}, False, 2, 2),
        ({"quantity": 4, "shippedQuantity": 1, "invoicedQuantity": 1}, False, 1, 1),  # half was done before
        ({"quantity": 4, "shippedQuantity": 2, "invoicedQuantity": 2}, False, 0, 0),  # all was done before
        ({"quantity": 4, "shippedQuantity": 3, "invoicedQuantity": 0}, False, 0, 2),  # staff had shipped more
    ],
)
def test_a_posting_is_planned_by_cumulative_quantities(line: dict[str, int], already_shipped: bool, ship: int, to_invoice: int) -> None:
    others = ({"sequence": 20000, "quantity": 5, "shipQuantity": 5}, {"sequence": 30000, "lineType": "Account", "quantity": 1, "shipQuantity": 1, "invoiceQuantity": 1})
    command = invoice(RECEIPT, "11@EAST", "2", already_shipped=already_shipped)
    plans = mapping.plan_posting(sales_order({"sequence": 10000, **line}, *others), command)

    assert [(plan.ship, plan.invoice) for plan in plans] == [(ship, to_invoice), (0, 0), (1, 1)]
    assert [plan.stands for plan in plans][1:] == [False, True]


def test_a_second_invoice_counts_what_the_first_took() -> None:
    command = invoice(RECEIPT, "11@EAST", "1", before="2", already_shipped=True)
    standing = sales_order({"sequence": 10000, "quantity": 4, "shippedQuantity": 3, "invoicedQuantity": 2})
    assert mapping.plan_posting(standing, command)[0].invoice == 1
    assert not mapping.is_invoiced(standing, {10000: Decimal(3)})
    assert mapping.is_invoiced(standing, {10000: Decimal(2)})


def test_a_line_nobody_can_find_is_refused() -> None:
    with pytest.raises(Rejected, match="no line in the sales order"):
        mapping.wanted_by_sequence(invoice(RECEIPT, "11@EAST", "1", already_shipped=True, erp_line_id="").lines)
    with pytest.raises(Rejected, match="no line 10000 any more"):
        mapping.plan_posting(sales_order({"sequence": 20000}), invoice(RECEIPT, "11@EAST", "1", already_shipped=True))


def posted(number: str, moment: str, *lines: tuple[int, int], status: str = "Open") -> wire.SalesInvoice:
    return wire.SalesInvoice.model_validate(
        {
            "id": f"id of {number}",
            "number": number,
            "orderNumber": "SO1",
            "currencyCode": "USD",
            "totalAmountIncludingTax": 5,
            "totalTaxAmount": 1,
            "status": status,
            "lastModifiedDateTime": moment,
            "salesInvoiceLines": [{"sequence": sequence, "quantity": quantity, "locationId": IDS["EAST"]} for sequence, quantity in lines],
        }
    )


def test_an_invoice_is_found_by_what_it_completed() -> None:
    invoices = [
        posted("PSI3", "2026-03-02T12:00:00Z", (10000, 1)),
        posted("PSI1", "2026-03-02T10:00:00Z", (10000, 2), (20000, 1)),
        posted("PSI0", "2026-03-02T09:00:00Z", (10000, 9), status="Draft"),
    ]
    assert mapping.invoice_from_wire(invoices, {10000: Decimal(2)}).number == "PSI1"  # type: ignore[union-attr]
    found = mapping.invoice_from_wire(invoices, {10000: Decimal(3)}, found=True)
    assert found == Receipt(external_id="id of PSI3", number="PSI3", total=Money.of("5", "USD"), tax=Money.of("1", "USD"), found=True)
    assert mapping.invoice_from_wire(invoices, {10000: Decimal(4)}) is None
    assert mapping.invoice_from_wire([], {10000: Decimal(1)}) is None


# ------------------------------------------------------------------ customers and prices
def customer(**changes: Any) -> wire.Customer:
    return wire.Customer.model_validate({"number": "C-1", "creditLimit": 100, "balanceDue": Decimal("10.5"), "blocked": "_x0020_", "currencyCode": "USD", **changes})


def test_open_orders_weigh_on_the_credit() -> None:
    open_orders = [
        wire.OpenOrder.model_validate(
            {"salesOrderLines": [{"quantity": 3, "invoicedQuantity": 1, "netAmountIncludingTax": 10}, {"quantity": 0, "invoicedQuantity": 0, "netAmountIncludingTax": 0}]}
        )
    ]
    standing = mapping.credit_from_wire(customer(), open_orders)
    assert (standing.limit, standing.balance, standing.blocked) == (usd("100"), usd("17.17"), False)


def test_no_limit_is_no_limit_and_any_block_blocks() -> None:
    assert mapping.credit_from_wire(customer(creditLimit=0), []).limit is None
    assert all(mapping.credit_from_wire(customer(blocked=kind), []).blocked for kind in ("Ship", "Invoice", "All"))
    with pytest.raises(ContractDrift, match="Sometimes"):
        mapping.credit_from_wire(customer(blocked="Sometimes"), [])


def test_only_a_comparable_price_is_a_price() -> None:
    question = PriceQuestion(sku="BOLT", unit="CASE", quantity=Decimal(1), currency="USD")
    good = {"number": "BOLT", "unitPrice": 10, "priceIncludesTax": False, "baseUnitOfMeasureCode": "EA", "blocked": False}
    price = mapping.price_from_wire(wire.Item.model_validate(good), question)
    assert price is not None
    assert (price.unit, price.price, price.account) == ("EA", usd("10"), None)
    assert mapping.price_from_wire(wire.Item.model_validate({**good, "blocked": True}), question) is None
    assert mapping.price_from_wire(wire.Item.model_validate({**good, "priceIncludesTax": True}), question) is None
    assert mapping.price_from_wire(None, question) is None
