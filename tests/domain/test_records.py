"""Do the records refuse what cannot be, and say what they are?"""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from crossdock.domain.commands import INTENT, CancelOrder, Command, PollConnection, PublishStock
from crossdock.domain.delivery import inbound_message
from crossdock.domain.errors import Category, Cause, CrossdockError, FieldProblem, NeedsPerson, Rejected, RetryLater, UnknownOutcome
from crossdock.domain.events import FACT, Event, FulfillmentRefused, ReturnRequested, event_id, fingerprint
from crossdock.domain.exception_record import exception_id, incident_fingerprint
from crossdock.domain.invoice import Invoice
from crossdock.domain.messages import OutboundMessage, work_body, work_message
from crossdock.domain.model import rfc3339
from crossdock.domain.order_record import OrderRecord, OrderStatus, may_follow
from crossdock.domain.product import UnitConversion
from crossdock.domain.quantity import Quantity
from crossdock.domain.return_ import Return, ReturnLine
from tests.fakes import START
from tests.flows.world import World, an_order, event, line, usd


def test_an_order_is_in_one_currency_and_its_lines_are_told_apart() -> None:
    from crossdock.domain.money import Money

    with pytest.raises(ValidationError, match="every amount of the order must be in USD"):
        an_order(freight=Money.of(1, "EUR"))
    with pytest.raises(ValidationError, match="two lines have the same line_id"):
        an_order(lines=[line("1", "BOLT", "1", "1"), line("1", "NUT", "1", "1")])
    assert an_order().line("2").sku == "NUT"


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 9999), st.integers(0, 99)), min_size=1, max_size=20), st.integers(0, 999))
def test_an_orders_total_is_its_lines_freight_and_tax(lines: list[tuple[int, int, int]], freight: int) -> None:
    made = [line(str(number), "BOLT", str(count), f"{Decimal(price) / 100:f}", tax=f"{Decimal(tax) / 100:f}") for number, (count, price, tax) in enumerate(lines)]
    order = an_order(lines=made, freight=usd(freight), freight_tax=usd(1))
    assert order.computed_total.amount == sum(count * Decimal(price) / 100 + Decimal(tax) / 100 for count, price, tax in lines) + freight + 1


def test_times_are_of_utc_and_naive_ones_are_refused() -> None:
    order = an_order(placed_at=datetime(2026, 10, 5, 3, 0, tzinfo=timezone(timedelta(hours=-5))))
    assert order.as_json()["placed_at"] == "2026-10-05T08:00:00Z"
    assert rfc3339(START + timedelta(microseconds=5)) == "2026-10-05T08:00:00.000005Z"
    with pytest.raises(ValidationError):
        an_order(placed_at=datetime(2026, 10, 5))  # noqa: DTZ001 - the point of the test


def test_every_status_may_stay_and_none_leaves_the_end() -> None:
    for status in OrderStatus:
        assert may_follow(status, status)
        assert not may_follow(OrderStatus.COMPLETED, status) or status is OrderStatus.COMPLETED
        assert not may_follow(OrderStatus.CANCELLED, status) or status is OrderStatus.CANCELLED


def test_a_record_says_what_is_not_there() -> None:
    record = OrderRecord(order_id="shop-1", status=OrderStatus.ANNOUNCED, accepted_at=START, updated_at=START, source="shop")
    with pytest.raises(Rejected, match="ORDER_UNKNOWN"):
        _ = record.placed
    with pytest.raises(Rejected, match="SHIPMENT_UNKNOWN"):
        record.find_booked("x")
    assert not record.everything_shipped
    assert record.packages == []


def test_a_shipped_record_names_its_packages() -> None:
    world = World()
    world.autopilot()
    world.place()
    world.run()
    assert [package.tracking_number for package in world.record().packages] == ["1Z-S-shop-1.1"]
    assert world.record().everything_settled


def test_errors_say_who_does_what() -> None:
    assert (RetryLater("X_Y", "d", after_seconds=3).category, RetryLater("X_Y", "d", after_seconds=3).after_seconds) == (Category.RETRY_LATER, 3)
    assert isinstance(UnknownOutcome("X_Y", "d"), RetryLater)
    assert Rejected("X_Y", "d").cause is Cause.SOURCE_DATA
    assert NeedsPerson("X_Y", "d", cause=Cause.WAREHOUSE).cause is Cause.WAREHOUSE
    error = CrossdockError("X_Y", "d", fields=[FieldProblem("a.b", "is missing")])
    assert str(error) == "X_Y: d"
    assert (error.fields[0].path, error.fields[0].problem) == ("a.b", "is missing")


def test_failures_of_one_kind_share_a_fingerprint_and_have_one_record_each() -> None:
    assert incident_fingerprint("C", "erp", "order 'a' of 12 at 3f2504e0-4f89-11d3-9a0c-0305e82c3301") == incident_fingerprint(
        "C", "erp", 'order "b" of 13 at 3f2504e0-4f89-11d3-9a0c-0305e82c3302'
    )
    assert incident_fingerprint("C", "erp", "x") != incident_fingerprint("C", "shop", "x")
    assert incident_fingerprint("C", None, "x") != incident_fingerprint("D", None, "x")
    assert exception_id("A_B", "s") == exception_id("A_B", "s")
    assert exception_id("A_B", "s", "1") != exception_id("A_B", "s", "2")


def test_commands_are_told_apart_by_business_ids() -> None:
    publish = PublishStock(sku="BOLT", storefront_sku="BOLT", location_code="71", available=Decimal(5), sequence=7)
    command = Command(tenant="acme", connection="shop", intent=publish, correlation_id="c", causation_id="d", issued_at=START)
    assert (command.type, command.effect_key) == ("PublishStock", "shop#PublishStock#BOLT@71@7")
    assert PollConnection(resource="shipments").business_id == "shipments"
    assert CancelOrder(order_id="shop-1", external_id="1", reason="r").business_id == "shop-1"
    assert INTENT.validate_json(publish.model_dump_json()) == publish


def test_facts_survive_the_queue_under_any_alias() -> None:
    wanted = Return(
        return_id="RMA-shop-1",
        connection="shop",
        external_id="1",
        number="#1",
        order_id="shop-1",
        requested_at=START,
        lines=(ReturnLine(sku="BOLT", quantity=Quantity.of(1, "EA")),),
    )
    fact = ReturnRequested.model_validate({"return": wanted})
    sent: Event = event("shop", fact)
    found = work_message(work_body(sent)).event
    assert found == sent
    assert found.type == "ReturnRequested"
    assert FACT.validate_json(json.dumps(fact.as_json())) == fact
    assert fact.subject == "RMA-shop-1"
    assert FulfillmentRefused(part_reference="p", reason="r", refused_at=START).subject == "p"


def test_messages_are_read_as_what_they_are() -> None:
    step = work_message('{"request": "hold", "order_id": "shop-1", "token": "t", "why": {"Error": "x", "Cause": "' + "y" * 5000 + '"}}').step
    assert step is not None
    stuck = work_message('{"request": "stuck", "order_id": "shop-1"}').stuck
    assert stuck is not None
    assert inbound_message("shop.a.b") == '{"delivery_id":"shop.a.b"}'
    message = OutboundMessage(command="PostInvoice", connection="erp", order_id="shop-1")
    assert message.text() == OutboundMessage.model_validate_json(message.text()).text(), "one spelling: the exception's name is made from it"
    assert message.group == "erp"


def test_the_same_content_has_the_same_fingerprint() -> None:
    assert fingerprint({"b": 1, "a": 2}) == fingerprint({"a": 2, "b": 1})
    assert fingerprint("x") != fingerprint({"x": 1})
    assert event_id("d", 3) == "d#3"


def test_small_records_hold() -> None:
    assert Invoice(number="1", external_id="1", order_id="shop-1", shipment_id="s", total=usd(1), posted_at=START).as_json()["total"]["amount"] == "1"
    with pytest.raises(ValidationError):
        UnitConversion(unit="CS", numerator=0)
    with pytest.raises(ValidationError):
        an_order(surprise=1)
    with pytest.raises(ValidationError):
        an_order().order_id = "other"  # type: ignore[misc]
