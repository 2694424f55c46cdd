"""One tenant is flooded: what does the other notice?"""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.system import Faulty, Proxy
from tests.scenarios.system import Tenant, eventually

NAME = "tenant A flooded tenfold"
USUAL_PER_SECOND = 2
WORKERS = 16
LINE = {"sku": "HM-WAX-500", "quantity": 1, "price": "13.25"}


@contextmanager
def _flood(tenant: Tenant) -> Iterator[list[int]]:
    """Signed webhooks that mean nothing, from many senders at once; the statuses they got."""
    stop = threading.Event()
    statuses: list[int] = []

    def send(worker: int) -> None:
        while not stop.is_set():
            body = json.dumps({"id": worker}).encode()
            statuses.append(tenant.shopify("refunds/create", None, raw=body, event_id=f"flood-{time.time_ns()}-{worker}").status_code)

    threads = [threading.Thread(target=send, args=(worker,)) for worker in range(WORKERS)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _latencies(tenant: Tenant, times: int = 12) -> list[float]:
    found = []
    for _ in range(times):
        began = time.monotonic()
        tenant.get("/v1/health")
        found.append(time.monotonic() - began)
    return found


@pytest.mark.fault(21, NAME)
def test_a_flooded_tenant_changes_nothing_of_its_neighbour(faulty: Faulty) -> None:
    """That the neighbour's state is what it was is an invariant. Its latency is stated and not asserted: here both run on the same two cores."""
    calm = statistics.median(_latencies(faulty.harbor))
    began = time.monotonic()
    with _flood(faulty.acme) as statuses:
        time.sleep(5)
        flooded = statistics.median(_latencies(faulty.harbor))
    rate = len(statuses) / (time.monotonic() - began)
    assert not [status for status in statuses if status >= 500], "the flooded one may be slowed down, and is not broken"
    seen = f"B answers in {calm * 1000:.0f} -> {flooded * 1000:.0f} ms ({flooded / calm:.1f}x, same cores)"
    faulty.did(f"{rate:.0f} webhooks/s at A ({rate / USUAL_PER_SECOND:.0f}x): {seen}; B unchanged")


@pytest.mark.fault(21, NAME)
def test_the_work_of_the_neighbour_is_done_meanwhile(system: tuple[dict[str, Tenant], Proxy]) -> None:
    tenants, _ = system
    harbor = tenants["harbor_supply"]
    with _flood(tenants["acme_industrial"]):
        made = harbor.act("storefront", "place_order", customer={"email": "fleet@pugetsound-charters.example"}, lines=[LINE], shipping_title="Standard", shipping_price="0")
        order_id = f"{'storefront' if 'storefront' in harbor.webhooks else next(iter(harbor.webhooks))}-{made['id']}"

        def known() -> bool:
            found = harbor.order(order_id)
            return found is not None and found["status"] in ("held", "released", "shipped", "completed")

        deadline = time.monotonic() + 240
        while not known() and time.monotonic() < deadline:
            time.sleep(1)
        assert known(), "the neighbour's order went its way, or before a person, while the other was flooded"
    for record in harbor.exceptions(order_id=order_id):
        harbor.cli("exceptions", "resolve", record["exception_id"], "--decision", "reject", "--note", "sent by the test")
    harbor.reaches(order_id, "completed", "cancelled", within=120)
    # Its last echoes too: what the next test finds of the neighbour must be what it leaves.
    eventually(lambda: harbor.cli("balance", check=False)["deliveries"]["in_flight"] == 0 or None, "the neighbour is at rest", within=60, every=3)
