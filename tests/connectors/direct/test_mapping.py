"""Does a submitted order become exactly the order that was meant? Beyond the samples: any amounts, any names."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock import bootstrap
from crossdock.connectors.direct import mapping, wire
from crossdock.connectors.direct.client import DirectConnector
from crossdock.domain import strict_json
from crossdock.domain.connector import ConnectionContext
from crossdock.domain.delivery import Delivery
from crossdock.domain.errors import ContractDrift, CrossdockError, NeedsPerson, Rejected
from crossdock.domain.events import OrderPlaced
from crossdock.domain.order import Order

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
BASE: dict[str, Any] = {"external_id": "P-1", "currency": "USD", "account": "C1", "ship_to": {"country": "US"}, "lines": [{"sku": "A", "quantity": 1, "unit_price": 1}]}


class Clock:
    def now(self) -> datetime:
        return NOW


class NoWayOut:
    def send(self, method: str, url: str, **_: object) -> Any:
        raise AssertionError(url)


def connector() -> DirectConnector:
    return DirectConnector(
        ConnectionContext(
            manifest=bootstrap.load_manifest("direct"), tenant="t", connection="direct", base_url="https://127.0.0.1", settings={}, credentials=dict, http=NoWayOut(), clock=Clock()
        )
    )


def order(value: Any, *, received_at: datetime = NOW) -> Order:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    delivery = Delivery(delivery_id="d", connection="direct", topic="orders/submit", body=body, received_at=received_at)
    fact = connector().translate(delivery).occurrences[0].fact
    assert isinstance(fact, OrderPlaced)
    return fact.order


def outcome(value: Any) -> tuple[Order | None, list[str]]:
    """The order, or the paths for which it was refused."""
    try:
        return order(value), []
    except Rejected as error:
        return None, [problem.path for problem in error.fields]


def refused(**updates: Any) -> list[str]:
    with pytest.raises(Rejected, match="INVALID_BODY") as caught:
        order({**BASE, **updates})
    return [problem.path for problem in caught.value.fields]


amounts = st.decimals(min_value=0, max_value=10**6, places=6, allow_nan=False, allow_infinity=False)
lines = st.lists(st.tuples(amounts.filter(lambda value: value > 0), amounts), min_size=1, max_size=5)


@given(lines, amounts)
def test_a_total_that_is_not_stated_is_what_the_parts_make_to_the_last_digit(each: list[tuple[Decimal, Decimal]], freight: Decimal) -> None:
    body = {**BASE, "freight": str(freight), "lines": [{"sku": "A", "quantity": str(quantity), "unit_price": str(price)} for quantity, price in each]}

    made = order(body)

    assert made.total == made.computed_total
    assert made.total.amount == sum((quantity * price for quantity, price in each), freight)


@given(st.decimals(min_value="0.000001", max_value="999999999999.999999", places=6), st.decimals(min_value=0, max_value="999999999999.999999", places=6))
def test_whatever_is_taken_adds_up_exactly_and_the_rest_is_refused_by_its_path(quantity: Decimal, price: Decimal) -> None:
    body = {**BASE, "lines": [{"sku": "A", "quantity": str(quantity), "unit_price": str(price)}]}
    made, paths = outcome(body)

    if made is None:
        assert paths == ["lines.0.quantity"]
        assert len((quantity * price).as_tuple().digits) > 20
    else:
        assert Order.model_validate_json(made.model_dump_json()) == made
        assert Fraction(made.total.amount) == Fraction(quantity) * Fraction(price)


@given(st.binary(max_size=60))
def test_any_bytes_are_an_order_or_a_refusal_and_nothing_else(body: bytes) -> None:
    with pytest.raises(CrossdockError):
        order(body)


plain = st.none() | st.booleans() | st.integers() | st.text(max_size=5)


@given(st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)))
def test_any_value_in_any_field_is_taken_or_refused_by_a_path(value: Any) -> None:
    for field in ("account", "ship_to", "lines", "total", "placed_at", "note"):
        made, paths = outcome({**BASE, field: value})
        assert (made is None) is bool(paths)
        assert all(path.startswith(field) or path == "(body)" for path in paths)


def test_a_number_is_taken_digit_by_digit() -> None:
    made = order(b'{"external_id":"P","currency":"USD","account":"C","ship_to":{"country":"US"},"lines":[{"sku":"A","quantity":3,"unit_price":0.1}]}')

    assert made.total.amount == Decimal("0.3")


def test_lines_without_an_id_are_numbered_as_they_come() -> None:
    made = order({**BASE, "lines": [{"sku": "A", "quantity": 1, "unit_price": 1}, {"sku": "B", "quantity": 1, "unit_price": 1}]})

    assert [(line.line_id, line.external_id, line.sku) for line in made.lines] == [("1", "1", "A"), ("2", "2", "B")]


def test_two_lines_never_share_an_id() -> None:
    assert refused(lines=[{"sku": "A", "quantity": 1, "unit_price": 1, "line_id": "2"}, {"sku": "B", "quantity": 1, "unit_price": 1}]) == ["lines"]


def test_the_order_is_placed_when_it_is_said_or_else_when_it_came() -> None:
    later = datetime(2026, 3, 2, 10, tzinfo=UTC)

    assert order(BASE, received_at=later).placed_at == later
    assert order({**BASE, "placed_at": "2026-03-02T08:00:00-01:00"}, received_at=later).placed_at == NOW
    assert refused(placed_at="2026-03-02T08:00:00") == ["placed_at"]


@pytest.mark.parametrize("name", ["a b", "a/b", "", "x" * 61, "é", "a.b", "P-1\n"])
def test_an_order_id_can_be_a_workflows_name(name: str) -> None:
    assert refused(external_id=name) == ["external_id"]


def test_a_discount_over_the_lines_worth_is_refused() -> None:
    assert refused(lines=[{"sku": "A", "quantity": 2, "unit_price": "1.50", "discount": "3.01"}]) == ["lines.0.discount"]
    assert order({**BASE, "lines": [{"sku": "A", "quantity": 2, "unit_price": "1.50", "discount": "3.00"}]}).total.amount == 0


def test_there_is_no_system_behind_it_to_be_asked_or_told() -> None:
    direct = connector()

    for ask in (lambda: direct.poll("orders", None), lambda: direct.credit("C"), lambda: direct.prices("C", []), direct.stock, lambda: direct.sales_order_total("1")):
        with pytest.raises(NeedsPerson, match="COMMAND_NOT_SUPPORTED"):
            ask()
    with pytest.raises(ContractDrift, match="UNKNOWN_EVENT"):
        direct.translate(Delivery(delivery_id="d", connection="direct", topic="orders/create", body=b"{}", received_at=NOW))


def test_every_wrong_field_is_named_at_once() -> None:
    with pytest.raises(Rejected) as caught:
        mapping.parsed(wire.SubmittedOrder, strict_json.loads(b'{"currency": "usd", "lines": [{}], "extra": 1}'))

    assert {problem.path for problem in caught.value.fields} == {"external_id", "currency", "account", "ship_to", "lines.0.sku", "lines.0.quantity", "lines.0.unit_price", "extra"}
