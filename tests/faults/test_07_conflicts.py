"""Two hundred orders want the same hundred pieces at once: are exactly a hundred sold?"""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from crossdock.flows.watch import STOCK_EVERY_MINUTES
from tests.faults.system import Faulty
from tests.scenarios.system import eventually

SKU, PIECES, ORDERS, AT_ONCE = "AC-BLT-M10", 100, 200, 20
CHICAGO, DALLAS = 71001001, 71001002
CONFLICT = {"CancellationReasons": [{"Code": "TransactionConflict", "Message": "Transaction is ongoing for the item"}, {"Code": "None"}]}


@pytest.mark.fault(7, "TransactionConflict storm on one SKU")
def test_two_hundred_orders_for_a_hundred_pieces_sell_a_hundred(faulty: Faulty) -> None:
    acme = faulty.acme
    _leave(faulty, PIECES)
    documents = [faulty.unsent([(SKU, 1)]) for _ in range(ORDERS)]
    order_ids = [f"storefront-{document['id']}" for document in documents]
    conflict = {"service": "dynamodb", "operation": "TransactWriteItems", "probability": 0.4, "headers": {"Authorization": faulty.function("reserve_stock").access_key}}
    began = time.monotonic()
    with faulty.proxy.faults({**conflict, "error": {"code": "TransactionCanceledException", "status": 400, "fields": CONFLICT}}) as met, ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda document: faulty.send("orders/create", document, event_id=f"storm-{document['id']}"), documents))
        assert all(answer is not None and answer.status_code == 200 for answer in answers)
        statuses: Counter[str] = Counter()

        def settled() -> bool:
            nonlocal statuses
            listed = {order["order_id"]: order["status"] for order in acme.get("/v1/orders?limit=500")["orders"]}
            statuses = Counter(listed.get(order_id, "unknown") for order_id in order_ids)
            return statuses["completed"] + statuses["held"] == ORDERS

        eventually(settled, f"each order has its piece or waits for one: {statuses}", within=400, every=2)
        conflicts = len(met())
    seconds = time.monotonic() - began
    assert conflicts > ORDERS / 10, "the fault was really met"
    assert statuses == {"completed": PIECES, "held": ORDERS - PIECES}, statuses
    level = next(at for at in acme.get(f"/v1/inventory/{SKU}")["locations"] if at["location"] == "CHI")
    assert level["committed"] == "0" and level["available"] == "0", level
    for order_id in order_ids:
        found = acme.order(order_id)
        if found is not None and found["status"] == "held":
            acme.act("storefront", "cancel_order", order=order_id.removeprefix("storefront-"))
    eventually(lambda: not [record for record in acme.exceptions() if record.get("order_id") in order_ids], "the holds are closed with their orders", within=180, every=2)
    faulty.did(f"{ORDERS} orders, {AT_ONCE} at once, {PIECES} pieces, {conflicts} conflicts: {PIECES} sold, {ORDERS - PIECES} held, 0 oversold in {seconds:.0f} s")


def _leave(faulty: Faulty, pieces: int) -> None:
    """So many pieces can be promised, all in Chicago."""
    safety = {at["location"]: int(at["safety"]) for at in faulty.acme.get(f"/v1/inventory/{SKU}")["locations"]}
    faulty.acme.act("storefront", "set_stock", sku=SKU, available=pieces + safety["CHI"], location_id=CHICAGO)
    faulty.acme.act("storefront", "set_stock", sku=SKU, available=0, location_id=DALLAS)
    # The shop's stock is read every few hours: the last reading, and whoever is about to read, are made older than that.
    faulty.age("CURSOR#stock#storefront", "CURSOR#stock#storefront#claim", by=timedelta(minutes=STOCK_EVERY_MINUTES * 2))
    faulty.acme.invoke("watch_deadlines")
    eventually(lambda: faulty.acme.get(f"/v1/inventory/{SKU}")["available"] == str(pieces), f"{pieces} pieces of {SKU} can be promised", within=60)
