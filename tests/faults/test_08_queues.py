"""The message is stored and cannot be queued: is it found again?"""

from __future__ import annotations

from datetime import timedelta

import pytest

from crossdock.flows.watch import FORGOTTEN_AFTER
from tests.faults.system import Faulty, aws_error
from tests.scenarios.system import eventually


@pytest.mark.fault(8, "SQS SendMessage fails after the raw copy")
def test_a_stored_delivery_that_could_not_be_queued_is_swept_up(faulty: Faulty) -> None:
    """The sender hears 5xx and never comes again (a shop may give up): what is stored is worked all the same."""
    document = faulty.unsent([("AC-LUB-WHT", 2)])
    order_id, key = f"storefront-{document['id']}", f"unqueued-{document['id']}"
    with faulty.proxy.faults(aws_error("sqs", "SendMessage", "ServiceUnavailable", status=503, by=faulty.function("receive_webhook"))) as met:
        answer = faulty.send("orders/create", document, event_id=key)
        assert met(), "the fault was really met"
    assert answer is None or answer.status_code >= 500, "not acknowledged: it is stored and not queued"
    assert faulty.acme.order(order_id) is None

    faulty.acme.invoke("watch_deadlines")
    assert not faulty.depth("inbound"), "too fresh: its sender is expected to repeat it first"
    faulty.age(f"DELIVERY#storefront.orders-create.{key}", by=FORGOTTEN_AFTER + timedelta(seconds=1))
    faulty.acme.invoke("watch_deadlines")
    faulty.acme.reaches(order_id, "completed", within=90)

    again = faulty.send("orders/create", document, event_id=key)
    assert again is not None and again.status_code == 200 and again.json()["duplicate"] is True
    eventually(lambda: not faulty.depth("inbound"), "worked off")
    faulty.did("SendMessage refused for good, sender silent: swept up after 2 minutes (made older), worked once")
