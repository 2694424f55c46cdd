"""kill -9 of a worker between two of its calls: does the order end as if nothing had been?

Here a representative set against the live system, for every function on an order's way; every point of every handler is gone through in-process
(``tests/flows/test_crashes.py`` and ``tests/functions``).
"""

from __future__ import annotations

import pytest

from tests.faults.system import Faulty, calls, hold
from tests.scenarios.system import eventually

POINTS = {
    "receive_webhook": (1, 2, 3),
    "translate_delivery": (1, 3, 4, 5),
    "validate_order": (1, 2),
    "check_order": (1, 2),
    "reserve_stock": (1, 3, 4, 5),
    "apply_event": (1, 3, 5, 7, 9, 12),
    "deliver_command": (2, 4, 6, 8, 11),
}
"""Before which of its calls, counted from when the order was placed, the function dies; after the last effect is before the next call."""


@pytest.mark.fault(4, "crash after each await point")
@pytest.mark.parametrize("function", POINTS)
def test_an_order_survives_the_death_of_a_worker_at_any_call(faulty: Faulty, function: str) -> None:
    worker, order_ids, met_at = faulty.function(function), [], []
    with faulty.impatient("inbound", "work", "outbound"):
        for point in POINTS[function]:
            before = [calls(by=worker, times=point - 1)] if point > 1 else []
            with faulty.proxy.faults(*before, hold(by=worker, times=1, seconds=20)) as met:
                order_ids.append(faulty.place([("AC-LUB-WHT", 1)]))
                [held] = eventually(lambda met=met: [event for event in met() if event["action"].startswith("timeout")], f"{function} at its call {point}", within=45)
                assert faulty.kill(function), "somebody was killed"
                met_at.append(f"{held['operation']}")
        for order_id in order_ids:
            faulty.acme.reaches(order_id, "completed", within=240)
    faulty.did(f"{function} killed before {', '.join(met_at)}")
