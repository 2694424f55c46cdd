"""The table throttles, then is away altogether: is anything accepted that is not kept, and how soon does everything go on?"""

from __future__ import annotations

import threading
import time

import pytest

from tests.faults.system import Faulty, aws_error
from tests.scenarios.system import eventually

OUTAGE_SECONDS = 60
RECOVERY_SECONDS = 60


@pytest.mark.fault(6, "DynamoDB throttles 30 %")
def test_a_throttled_table_delays_and_loses_nothing(faulty: Faulty) -> None:
    throttled = aws_error("dynamodb", None, "ProvisionedThroughputExceededException", status=400, probability=0.3)
    with faulty.proxy.faults(throttled) as met:
        order_ids = [faulty.place([("AC-LUB-WHT", 1), ("AC-BRG-6204", 1)]) for _ in range(5)]
        time.sleep(20)
        events = met()
    for order_id in order_ids:
        faulty.acme.reaches(order_id, "completed", within=120)
    assert len(events) > 50, "the fault was really met"
    faulty.did(f"5 orders while 30 % of the calls were refused for 20 s ({len(events)} refusals)")


@pytest.mark.fault(6, "DynamoDB away for 60 s")
def test_an_outage_of_the_table_is_told_to_the_senders_and_over_when_it_is_over(faulty: Faulty) -> None:
    began = time.monotonic()
    for order_id in [faulty.place([("AC-LUB-WHT", 1)]) for _ in range(6)]:
        faulty.acme.reaches(order_id, "completed", within=240)
    usual = time.monotonic() - began  # what six orders take on this machine when nothing is wrong
    running = [faulty.place([("AC-LUB-WHT", 1)]) for _ in range(3)]  # in the middle of their way when the table goes
    documents = [faulty.unsent([("AC-LUB-WHT", 1)]) for _ in range(6)]
    away = aws_error("dynamodb", None, "InternalServerError", status=500)
    ended = threading.Event()
    times: dict[str, list[int]] = {}

    def sender(document: dict[str, object]) -> None:
        """As a storefront does: again every few seconds until it is acknowledged."""
        key = f"outage-{document['id']}"
        while not ended.is_set():
            answer = faulty.send("orders/create", document, event_id=key)
            status = answer.status_code if answer is not None else 0
            times.setdefault(key, []).append(status)
            if 200 <= status < 300:
                return
            time.sleep(3)

    senders = [threading.Thread(target=sender, args=(document,), daemon=True) for document in documents]
    with faulty.proxy.faults(away) as met:
        began = time.monotonic()
        for thread in senders:
            thread.start()
        time.sleep(max(0.0, OUTAGE_SECONDS - (time.monotonic() - began)))
        refused = [status for statuses in times.values() for status in statuses]
        assert refused and all(status >= 500 for status in refused), f"during the outage every sender hears that it must come again: {refused}"
        assert met(), "the fault was really met"
    back = time.monotonic()
    for order_id in [*(f"storefront-{document['id']}" for document in documents), *running]:
        faulty.acme.reaches(order_id, "completed", within=240)
        if order_id == f"storefront-{documents[-1]['id']}":
            recovered = time.monotonic() - back
    ended.set()
    eventually(lambda: not any(thread.is_alive() for thread in senders), "every sender is done")
    assert recovered < RECOVERY_SECONDS + usual, f"what was sent in the outage was completed {recovered:.0f} s after its end; six orders usually take {usual:.0f} s"
    whole = time.monotonic() - back
    faulty.did(f"{OUTAGE_SECONDS} s of 500s: {len(refused)} tries answered 5xx, none lost; new ones complete {recovered:.0f} s after (usually {usual:.0f} s), all {whole:.0f} s")
