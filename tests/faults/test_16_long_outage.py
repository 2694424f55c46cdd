"""A partner is out for long and comes back: does what waited go on in order, without a stampede?"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest

from crossdock.bootstrap import load_manifest
from tests.faults.system import Faulty
from tests.scenarios.system import eventually

CONNECTORS = {"storefront": "shopify", "erp": "business_central", "threepl": "shipbob"}
ORDERS = 12
OUT_SECONDS = 60
"""Six hours of it run in seconds over the flows with a clock that is set (tests/flows/test_waiting.py); here the real queues are seen to do it."""


@pytest.mark.fault(16, "partner out for long, then back")
def test_what_waited_goes_on_by_itself_in_order_and_within_the_limit(faulty: Faulty) -> None:
    faulty.acme.fault("threepl", match="*", status=503, times=None)
    began, since = time.monotonic(), datetime.now(UTC)
    waiting = [faulty.place([("AC-LUB-WHT", 1)]) for _ in range(ORDERS)]
    assert faulty.acme.exception(code="CONNECTION_DOWN", subject="threepl", within=150)
    aside = faulty.place([("AC-BRG-6204", 1)])
    faulty.acme.reaches(aside, "completed", within=120)  # the others are not held up
    while time.monotonic() - began < OUT_SECONDS:
        time.sleep(1)
    assert not [record for record in faulty.acme.exceptions(queue="outbound") if record["connection"] == "threepl"], "one exception for the outage, none per message"
    assert faulty.depth("outbound", dead=True) == 0
    faulty.acme.clear_faults()
    back = time.monotonic()
    for order_id in waiting:
        faulty.acme.reaches(order_id, "completed", within=300)
    drained = time.monotonic() - back
    eventually(lambda: not faulty.acme.exceptions(code="CONNECTION_DOWN"), "closed by the evidence", within=60)
    rates = {}
    for connection, connector in CONNECTORS.items():
        limit = load_manifest(connector).rate_limit
        rates[connection] = _most_within(limit.per_seconds, _requests(faulty, connection, since)), limit.requests
        assert rates[connection][0] <= rates[connection][1], f"{connection}: {rates[connection]} calls in {limit.per_seconds} s"
    made = [request for request in _requests(faulty, "threepl", since) if request["method"] == "POST" and request["status"] == 201]
    assert len(made) == ORDERS, "each order once"
    seen = ", ".join(f"{name} {most}/{most_allowed}" for name, (most, most_allowed) in rates.items())
    faulty.did(f"3PL 503 for {back - began:.0f} s with {ORDERS} orders waiting: all done {drained:.0f} s after; most calls in a window: {seen}")


def _requests(faulty: Faulty, connection: str, since: datetime) -> list[dict[str, Any]]:
    found = faulty.acme.session.get(faulty.acme.simulators[connection] + "/_requests", timeout=30).json()
    return [request for request in found if datetime.fromisoformat(request["at"]) >= since]


def _most_within(seconds: int, requests: Iterable[dict[str, Any]]) -> int:
    moments = sorted(datetime.fromisoformat(request["at"]) for request in requests if "/oauth2/" not in request["path"])
    most = first = 0
    for last, moment in enumerate(moments):
        while (moment - moments[first]).total_seconds() > seconds:
            first += 1
        most = max(most, last - first + 1)
    return most
