"""Is the mapping exact and pure for every state, not only for the samples?"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.connectors.shipbob import mapping, wire
from crossdock.domain.errors import ContractDrift, Rejected
from crossdock.domain.events import FulfillmentRefused, ShipmentDispatched
from tests.connectors.shipbob.conftest import release

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
CLOCKS = ["AwaitingInventoryAllocation", "AwaitingReset", "Unavailable", "PendingOnTime", "FulfilledOnTime", "PendingLate", "FulfilledLate"]
STATUSES = ["None", "Processing", "Completed", "Exception", "OnHold", "Cancelled", "CleanSweeped", "LabeledCreated", "ImportReview"]


def shipment(**changes: Any) -> dict[str, Any]:
    return {
        "id": 1,
        "order_id": 10,
        "reference_id": "storefront-1.1",
        "status": "Processing",
        "estimated_fulfillment_date_status": "PendingOnTime",
        "created_date": "2026-03-02T08:00:00Z",
        "last_update_at": "2026-03-02T08:30:00Z",
        "products": [{"reference_id": "BEARING", "inventory_items": [{"id": 5, "quantity": 2}]}],
        **changes,
    }


def order(*shipments: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"id": 10, "reference_id": "storefront-1.1", "status": "Processing", "created_date": "2026-03-02T08:00:00Z", "shipments": list(shipments), **changes}


def polled(value: dict[str, Any]) -> list[str]:
    return [each.fact.type for each in mapping.occurrences_from_wire("poll.shipment", value, "threepl")]


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("status", STATUSES)
def test_every_state_of_the_contract_has_a_meaning(status: str, clock: str) -> None:
    found = polled(shipment(status=status, estimated_fulfillment_date_status=clock))

    waiting = clock in ("AwaitingInventoryAllocation", "AwaitingReset")
    assert found == {
        "None": [],
        "Processing": [] if waiting else ["FulfillmentAcknowledged"],
        "LabeledCreated": ["FulfillmentAcknowledged"],
        "Completed": ["FulfillmentAcknowledged", "ShipmentDispatched"],
    }.get(status, ["FulfillmentRefused"])


@pytest.mark.parametrize(("status", "final"), [("Exception", False), ("OnHold", False), ("ImportReview", False), ("Cancelled", True), ("CleanSweeped", True)])
def test_only_what_was_given_up_is_refused_for_good(status: str, final: bool) -> None:
    (occurrence,) = mapping.occurrences_from_wire("poll.shipment", shipment(status=status), "threepl")

    assert isinstance(occurrence.fact, FulfillmentRefused)
    assert occurrence.fact.final is final


def test_a_shipment_without_a_clock_is_not_accepted_yet() -> None:
    assert polled(shipment(estimated_fulfillment_date_status=None)) == []


def test_a_very_long_reason_is_cut_to_what_we_hold() -> None:
    details = [{"name": "Odd", "description": "x" * 5000}, {"name": None, "description": None}]

    (occurrence,) = mapping.occurrences_from_wire("order.shipment.on_hold", shipment(status="OnHold", status_details=details), "threepl")

    assert isinstance(occurrence.fact, FulfillmentRefused)
    assert len(occurrence.fact.reason) <= 1000


def test_an_unknown_topic_is_contract_drift() -> None:
    with pytest.raises(ContractDrift, match="UNKNOWN_EVENT"):
        mapping.occurrences_from_wire("order.teleported", shipment(), "threepl")


@pytest.mark.parametrize("moment", ["2026-03-02T08:00:00", "soon", 7])
def test_a_time_that_is_none_is_refused_with_its_path(moment: object) -> None:
    with pytest.raises(Rejected) as caught:
        mapping.occurrences_from_wire("poll.shipment", shipment(last_update_at=moment), "threepl")

    assert [problem.path for problem in caught.value.fields] == ["last_update_at"]


@given(st.lists(st.integers(min_value=1, max_value=10**6), min_size=1, max_size=6))
def test_lots_of_one_item_add_up_exactly(lots: list[int]) -> None:
    items = [{"id": 5, "quantity": quantity} for quantity in lots]
    value = shipment(status="Completed", products=[{"reference_id": "BEARING", "inventory_items": items}])

    (occurrence,) = mapping.occurrences_from_wire("order.shipped", value, "threepl")

    assert isinstance(occurrence.fact, ShipmentDispatched)
    assert occurrence.fact.shipment.lines[0].quantity == Decimal(sum(lots))


@given(st.lists(st.tuples(st.sampled_from(["BEARING", "VALVE", "PUMP"]), st.integers(min_value=1, max_value=10**5)), min_size=1, max_size=8))
def test_an_order_asks_for_every_unit_of_the_part_once(lines: list[tuple[str, int]]) -> None:
    made = mapping.order_to_wire(release("storefront-1.1", *lines))

    wanted: dict[str, int] = {}
    for sku, quantity in lines:
        wanted[sku] = wanted.get(sku, 0) + quantity
    assert {product.reference_id: product.quantity for product in made.products} == wanted
    assert mapping.order_to_wire(release("storefront-1.1", *lines)).body() == made.body()


@pytest.mark.parametrize(
    ("ship_to", "field"),
    [
        ({"name": "", "company": ""}, "recipient.name"),
        ({"line1": ""}, "recipient.address.address1"),
        ({"country": ""}, "recipient.address.country"),
        ({"phone": "1" * 51}, "recipient.phone_number"),
        ({"email": "no address"}, "recipient.email"),
    ],
)
def test_an_address_that_shipbob_would_refuse_is_refused_here_with_the_field(ship_to: dict[str, str], field: str) -> None:
    with pytest.raises(Rejected) as caught:
        mapping.order_to_wire(release(**ship_to))

    assert [problem.path for problem in caught.value.fields] == [field]


def test_a_company_stands_for_a_name_that_is_missing() -> None:
    assert mapping.order_to_wire(release(name="", company="Riverside Plumbing")).recipient.name == "Riverside Plumbing"


def test_a_first_poll_reaches_back_a_day_and_a_later_one_to_where_it_was() -> None:
    since, seen = mapping.poll_start(None, NOW)
    assert (since, seen) == (NOW - timedelta(days=1), frozenset())

    cursor = mapping.polled_from_wire([order(shipment())], since, seen).cursor
    since, seen = mapping.poll_start(cursor, NOW + timedelta(days=9))

    assert since == datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
    assert len(seen) == 1


def test_an_empty_poll_keeps_the_cursor() -> None:
    since, seen = mapping.poll_start('{"since":"2026-03-02T08:30:00Z","seen":[]}', NOW)

    assert mapping.polled_from_wire([], since, seen).cursor == '{"since":"2026-03-02T08:30:00Z","seen":[]}'


def test_what_is_not_understood_is_handed_on_once_and_holds_up_nothing() -> None:
    orders: list[object] = [order(shipment(status="Teleported")), {"id": "broken"}, order(shipment(id=2), id=11), order(id=12, status="Dreaming"), 7]

    first = mapping.polled_from_wire(orders, NOW - timedelta(hours=1), frozenset())
    since, seen = mapping.poll_start(first.cursor, NOW)

    assert len(first.items) == 5
    assert mapping.polled_from_wire(orders, since, seen).items == ()
    failing = 0
    for item in first.items:
        try:
            mapping.occurrences_from_wire(item.topic, json.loads(item.body), "threepl")
        except (ContractDrift, Rejected):
            failing += 1
    assert failing == 4


def test_a_new_moment_without_a_new_state_is_no_news() -> None:
    first = mapping.polled_from_wire([order(shipment())], NOW - timedelta(hours=1), frozenset())
    since, seen = mapping.poll_start(first.cursor, NOW)

    again = mapping.polled_from_wire([order(shipment(last_update_at="2026-03-02T08:30:09Z", estimated_fulfillment_date_status="PendingLate"))], since, seen)

    assert again.items == ()


@given(st.data())
def test_polls_that_overlap_hand_every_state_out_exactly_once(data: st.DataObject) -> None:
    """Whatever the vendor's list shows again within the overlap, a state is told once."""
    steps = data.draw(st.lists(st.sampled_from(["PendingOnTime", "Completed", "OnHold"]), min_size=1, max_size=5))
    cursor, told, moment = None, [], NOW - timedelta(hours=2)
    for step in steps:
        moment += timedelta(seconds=data.draw(st.integers(min_value=0, max_value=20)))
        status = "Processing" if step == "PendingOnTime" else step
        seen_now = order(shipment(status=status, last_update_at=moment.isoformat()))
        for _ in range(data.draw(st.integers(min_value=1, max_value=3))):
            result = mapping.polled_from_wire([seen_now], *mapping.poll_start(cursor, NOW))
            told += [item.key for item in result.items]
            cursor = result.cursor
    changes = [step for step, before in zip(steps, [None, *steps[:-1]], strict=True) if step != before]
    assert len(told) == len(changes)


def test_a_wire_model_names_every_wrong_field_at_once() -> None:
    with pytest.raises(Rejected) as caught:
        wire.read(wire.Shipment, shipment(id="1", products=[{"inventory_items": [{"id": 5, "quantity": "2"}]}]))

    assert [problem.path for problem in caught.value.fields] == ["id", "products.0.inventory_items.0.quantity"]


def test_a_body_of_the_wrong_kind_is_refused_as_a_whole() -> None:
    with pytest.raises(Rejected) as caught:
        wire.read(wire.Order, [])

    assert [problem.path for problem in caught.value.fields] == ["(body)"]
