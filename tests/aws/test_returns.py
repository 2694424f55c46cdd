"""Are returns kept once, found by their order, and listed by when somebody must look?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from crossdock.aws.returns import DynamoReturns
from crossdock.aws.table import StateTable
from crossdock.domain.errors import Rejected
from crossdock.domain.quantity import Quantity
from crossdock.domain.return_ import Return, ReturnLine
from crossdock.domain.return_record import ReturnRecord, ReturnStatus

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def a_return(number: int = 1, **updates: object) -> ReturnRecord:
    name = f"RMA-shop-{number}"
    asked = Return(
        return_id=name,
        connection="shop",
        external_id=str(number),
        number=f"#{number}",
        order_id="shop-1",
        requested_at=NOW,
        lines=(ReturnLine(sku="BOLT", quantity=Quantity.of(1, "EA")),),
    )
    record = ReturnRecord(
        return_id=name,
        status=ReturnStatus.REQUESTED,
        request=asked,
        order_id="shop-1",
        source="shop",
        storefront="shop",
        accepted_at=NOW + timedelta(minutes=number),
        updated_at=NOW,
        due_at=NOW + timedelta(minutes=number),
    )
    return record.model_copy(update=updates)


def test_a_return_is_kept_once_and_found_by_its_order(table: StateTable) -> None:
    returns = DynamoReturns(table)

    assert returns.add(a_return(1))
    assert not returns.add(a_return(1, status=ReturnStatus.CLOSED))
    assert returns.add(a_return(2))

    assert [record.return_id for record in returns.of_order("shop-1")] == ["RMA-shop-1", "RMA-shop-2"]
    assert returns.of_order("shop-2") == []
    assert returns.get("RMA-shop-1") == a_return(1)
    assert returns.get("RMA-shop-9") is None


def test_what_is_due_is_listed_and_what_is_over_is_not(table: StateTable) -> None:
    returns = DynamoReturns(table)
    for number in (1, 2, 3):
        returns.add(a_return(number))
    returns.change("RMA-shop-1", lambda current: current.model_copy(update={"status": ReturnStatus.CLOSED, "due_at": None, "closed_at": NOW}))

    assert returns.due(NOW + timedelta(minutes=2), 10) == ["RMA-shop-2"]
    assert [record.return_id for record in returns.listed(closed=False, limit=10)] == ["RMA-shop-3", "RMA-shop-2"]
    assert [record.return_id for record in returns.listed(closed=True, limit=10)] == ["RMA-shop-1"]
    assert sorted(record.return_id for record in returns.every()) == ["RMA-shop-1", "RMA-shop-2", "RMA-shop-3"]


def test_a_change_of_nothing_writes_nothing_and_of_nobody_is_refused(table: StateTable) -> None:
    returns = DynamoReturns(table)
    returns.add(a_return(1))

    assert returns.change("RMA-shop-1", lambda _: None).version == 0
    assert returns.change("RMA-shop-1", lambda current: current.model_copy(update={"location": "CHI"})).version == 1
    with pytest.raises(Rejected, match="NOT_FOUND"):
        returns.change("RMA-shop-9", lambda _: None)
