"""Some webhooks are never sent: is every order found all the same, within the interval of the poll?"""

from __future__ import annotations

import json
import time

import pytest

from crossdock.bootstrap import load_manifest
from tests.faults.system import Faulty
from tests.scenarios.orders import arrived

ORDERS = 40
EVERY = 10
"""Each so-many-th order is silently lost: a tenth of them, because of the 1 % that a shop may lose forty orders would mostly lose none."""


@pytest.mark.fault(23, "webhooks silently never sent")
def test_every_order_whose_webhook_never_came_is_found_by_the_next_poll(faulty: Faulty) -> None:
    _poll(faulty)  # from here on it is asked for
    lost, sent = [], []
    for number in range(ORDERS):
        if number % EVERY == EVERY - 1:
            for order_id in sent[1 - EVERY :]:
                arrived(faulty.acme, order_id)  # else it might be its webhook that is lost
            document = faulty.unsent([("AC-TAP-PTF", 1)])
            lost.append(f"storefront-{document['id']}")
            faulty.history.add("placed", order_id=lost[-1], lines=[["AC-TAP-PTF", 1]])
        else:
            sent.append(faulty.place([("AC-TAP-PTF", 1)]))
    for order_id in sent[-3:]:
        faulty.acme.reaches(order_id, "completed", within=240)
    # The watch polls every few minutes too, and may have been here before.
    missing = [order_id for order_id in lost if faulty.acme.order(order_id) is None]
    fetched = _fetched(faulty)
    time.sleep(35)  # the head start that a webhook has
    _poll(faulty)
    for order_id in lost:
        found = faulty.acme.reaches(order_id, "completed", within=180)
        assert len(found["shipments"]) == 1
    for order_id in sent:
        faulty.acme.reaches(order_id, "completed", within=240)
    extra = _fetched(faulty) - fetched
    polls = load_manifest("shopify").polls["orders"]
    assert extra <= len(lost) + 5, f"{extra} orders were fetched whole to find {len(lost)}: the known ones cost nothing"
    faulty.did(f"{len(lost)} of {ORDERS} orders/create lost: all found by polling ({len(missing)} by this one, which comes every {polls.every_seconds} s), {extra} orders fetched")


def _poll(faulty: Faulty) -> None:
    """What the watch sends each five minutes, now."""
    body = json.dumps({"command": "PollConnection", "connection": "storefront", "arguments": {"resource": "orders"}})
    faulty.aws("sqs").send_message(QueueUrl=faulty.queue_url("outbound"), MessageBody=body, MessageGroupId="storefront")
    time.sleep(3)


def _fetched(faulty: Faulty) -> int:
    requests = faulty.acme.session.get(faulty.acme.simulators["storefront"] + "/_requests", timeout=30).json()
    return sum("CrossdockWholeOrder" in str(request["operation"]) for request in requests)
