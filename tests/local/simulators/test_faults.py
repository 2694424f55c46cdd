"""Do faults fire exactly where and as often as asked, and is a senseless one refused with the reason?"""

from __future__ import annotations

from typing import Any

import pytest

from local.simulators.faults import BadFault, FaultBoard


@pytest.mark.parametrize(
    ("match", "hit"),
    [
        (None, True),
        ("*", True),
        ("POST /orders", True),
        (r"POST /orders/\d+:cancel$", True),
        ("GET", False),
        ("order.cancel", True),
        ({"method": "POST", "path": "/orders"}, True),
        ({"method": "*"}, True),
        ({"operation": "order.cancel"}, True),
        ({"operation": "order.create"}, False),
        ({"method": "GET", "path": "/orders"}, False),
        ({"topic": "orders"}, False),
    ],
)
def test_a_fault_fires_where_it_matches(match: Any, hit: bool) -> None:
    board = FaultBoard()
    board.add({"match": match, "status": 500})

    assert (board.for_request("POST", "/orders/12:cancel", ["order.cancel"]) is not None) is hit


def test_a_fault_fires_as_often_as_asked_and_is_then_spent() -> None:
    board = FaultBoard()
    board.add({"status": 500, "times": 2})

    fired = [board.for_request("GET", "/", []) is not None for _ in range(3)]

    assert fired == [True, True, False]
    assert board.as_json() == [{"status": 500, "match": "*", "times": 2, "fired": 2}]


@pytest.mark.parametrize("times", [None, 0])
def test_a_fault_without_an_end_fires_until_it_is_cleared(times: int | None) -> None:
    board = FaultBoard()
    board.add({"status": 500, "times": times})
    assert all(board.for_request("GET", "/", []) for _ in range(20))

    assert board.clear() == 1
    assert board.for_request("GET", "/", []) is None


def test_an_api_fault_does_not_touch_webhooks_nor_the_other_way_round() -> None:
    board = FaultBoard()
    board.add({"status": 500})
    board.add({"lose": True})

    assert board.for_webhook("orders/create") is not None
    assert board.for_webhook("orders/create") is None
    assert board.for_request("GET", "/", []) is not None


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ([], "JSON object"),
        ({"explode": True}, "unknown keys: explode"),
        ({"match": "x"}, "nothing to do"),
        ({"lose": False}, "nothing to do"),
        ({"status": 99}, "from 100"),
        ({"status": "500"}, "from 100"),
        ({"status": True}, "from 100"),
        ({"timeout": "soon"}, "seconds"),
        ({"delay_s": -1}, "seconds"),
        ({"delay_s": True}, "seconds"),
        ({"duplicate": 1}, "copies"),
        ({"lose": "yes"}, "true or false"),
        ({"status": 500, "headers": []}, "headers"),
        ({"timeout": 1, "body": {}}, "only go with status"),
        ({"status": 500, "times": -1}, "times"),
        ({"status": 500, "times": 1.5}, "times"),
        ({"status": 500, "match": 7}, "match is a string"),
        ({"status": 500, "match": {}}, "match is a string"),
        ({"status": 500, "match": {"verb": "GET"}}, "not verb"),
        ({"status": 500, "match": {"path": 7}}, "text"),
        ({"status": 500, "match": "("}, "regular expression"),
    ],
)
def test_a_senseless_fault_is_refused_with_the_reason(spec: object, why: str) -> None:
    with pytest.raises(BadFault, match=why):
        FaultBoard().add(spec)


def test_a_fault_says_what_it_does() -> None:
    fault = FaultBoard().add({"timeout": True, "duplicate": 3, "reorder": True, "drop_after_commit": True})

    assert (fault.timeout_seconds, fault.copies, fault.reorder, fault.drop_after_commit) == (60.0, 3, True, True)
    assert (fault.status, fault.lose, fault.delay_seconds) == (None, False, 0.0)
    assert FaultBoard().add({"timeout": 2}).timeout_seconds == 2.0
    assert FaultBoard().add({"duplicate": True}).copies == 2
