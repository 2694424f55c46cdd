"""The warehouse's word comes too early, twice, too late, or from somebody else: what becomes of the order?"""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
import requests

from tests.faults.system import Faulty, late, lost_answer
from tests.scenarios.system import eventually

NAME = "shipment callback before the token / twice / late / forged"


@pytest.mark.fault(13, NAME)
def test_a_shipment_that_comes_before_anybody_waits_for_it_is_joined(faulty: Faulty) -> None:
    """The ERP's staff ship from paper while the workflow's request to release still lies in the queue: there is no token yet."""
    sqs, work = faulty.aws("sqs"), faulty.queue_url("work")
    faulty.acme.autopilot("erp", enabled=False)
    source = _source_of(faulty, "apply_event")
    # The workflow hears of the sales order only when nobody takes its next request out of the queue any more.
    with faulty.proxy.faults(late("stepfunctions", "SendTaskSuccess", seconds=5)):
        order_id = faulty.place([("AC-BRG-6204", 2)])
        [posted] = eventually(lambda: faulty.acme.sales_orders(order_id), "the sales order", within=60)
        _switch(faulty, source, on=False)
    try:
        hidden = eventually(lambda: _taken_out(sqs, work, order_id), "the request to release stands in the queue", within=60)
        faulty.acme.act("erp", "post_shipment", order=posted["number"])
    finally:
        _switch(faulty, source, on=True)
    # Nothing is released, so the ERP is asked at its ordinary pace only: that poll, now.
    poll = '{"command":"PollConnection","connection":"erp","arguments":{"resource":"shipments"}}'
    sqs.send_message(QueueUrl=faulty.queue_url("outbound"), MessageBody=poll, MessageGroupId="erp")
    eventually(lambda: "ShipmentDispatched" in [entry["action"] for entry in faulty.acme.timeline(order_id)] or None, "the shipment is booked", within=60)
    for message in hidden:  # and now the request comes, with its token
        sqs.send_message(QueueUrl=work, MessageBody=message["Body"], MessageGroupId=order_id)
        sqs.delete_message(QueueUrl=work, ReceiptHandle=message["ReceiptHandle"])
    faulty.acme.reaches(order_id, "completed", within=120)
    faulty.did("shipped before the release was asked for: joined")


def _source_of(faulty: Faulty, function: str) -> str:
    found = faulty.aws("lambda").list_event_source_mappings(FunctionName=faulty.function(function).full_name)["EventSourceMappings"]
    return str(found[0]["UUID"])


def _switch(faulty: Faulty, source: str, *, on: bool) -> None:
    faulty.aws("lambda").update_event_source_mapping(UUID=source, Enabled=on)


def _taken_out(sqs: object, url: str, order_id: str) -> list[dict[str, str]]:
    """Takes the workflow's request to release this order out of sight; anything else goes back at once."""
    found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=120).get("Messages", [])  # type: ignore[attr-defined]
    wanted = [message for message in found if order_id in message["Body"] and '"release"' in message["Body"].replace(" ", "")]
    for message in found:
        if message not in wanted:
            sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)  # type: ignore[attr-defined]
    return wanted


@pytest.mark.fault(13, NAME)
def test_a_shipment_that_is_told_before_its_release_is_known_and_several_times_is_one(faulty: Faulty) -> None:
    """The 3PL has the order, the answer is lost; it ships and says so three times before anybody here knows that it has it."""
    faulty.acme.fault("threepl", match="POST /2026-01/order", drop_after_commit=True, times=1)
    faulty.acme.fault("threepl", match={"topic": "order.shipped"}, duplicate=3, times=1)
    order_id = faulty.place([("AC-LUB-WHT", 3)])
    done = faulty.acme.reaches(order_id, "completed", within=180)
    assert len(done["shipments"]) == 1
    assert len(faulty.acme.invoices(order_id)) == 1
    faulty.did("answer of the release lost, shipped webhook three times: one shipment, one invoice")


@pytest.mark.fault(13, NAME)
def test_a_shipment_after_its_promised_window_completes_the_order_and_stays_on_record_as_late(faulty: Faulty) -> None:
    faulty.acme.autopilot("erp", enabled=False)
    order_id = faulty.place([("AC-BRG-6204", 2)])
    faulty.acme.reaches(order_id, "released", within=90)
    eventually(lambda: not faulty.depth("work"), "nothing moves")
    faulty.age(f"ORDER#{order_id}", by=timedelta(hours=60))
    faulty.watch()
    faulty.acme.exception(code="SHIPMENT_OVERDUE", order_id=order_id)
    [posted] = faulty.acme.sales_orders(order_id)
    faulty.acme.act("erp", "post_shipment", order=posted["number"])
    faulty.acme.reaches(order_id, "completed", within=120)
    faulty.acme.exception(code="SHIPPED_LATE", order_id=order_id)
    for record in faulty.acme.exceptions(order_id=order_id):
        faulty.acme.cli("exceptions", "resolve", record["exception_id"], "--decision", "done", "--note", "the customer was told")
    faulty.did("60 h later (made older): overdue by deadline, then reconciled and completed")


@pytest.mark.fault(13, NAME)
def test_a_forged_shipment_is_turned_away_and_changes_nothing(faulty: Faulty) -> None:
    faulty.acme.autopilot("threepl", enabled=False)
    order_id = faulty.place([("AC-LUB-WHT", 2)])
    faulty.acme.reaches(order_id, "released", within=90)
    [fulfilment] = faulty.acme.threepl_orders(order_id)
    before = faulty.acme.cli("balance", check=False)["deliveries"]["accepted"]
    for signature in ("v1,bm90IHRoZSBzaWduYXR1cmU=", "v1,", "", "v2,bm90", "garbage", "v1,\u00fc"):
        answer = requests.post(
            faulty.acme.webhooks["threepl"]["url"],
            json={"id": fulfilment["id"], "reference_id": fulfilment["reference_id"], "status": "Completed"},
            headers={
                "webhook-id": "forged-1",
                "webhook-timestamp": str(int(time.time())),
                "webhook-signature": signature.encode("utf-8").decode("latin-1"),
                "x-webhook-topic": "order.shipped",
            },
            timeout=30,
        )
        assert answer.status_code == 401, (signature, answer.status_code, answer.text[:200])
    assert faulty.acme.cli("balance", check=False)["deliveries"]["accepted"] == before
    found = faulty.acme.order(order_id)
    assert found is not None and found["status"] == "released" and not found["shipments"]
    faulty.acme.act("threepl", "ship", order_id=fulfilment["id"])
    faulty.acme.reaches(order_id, "completed", within=120)
    faulty.did("six forged signatures: 401, nothing stored; the real one counts")


@pytest.mark.fault(13, NAME)
def test_a_shipment_whose_booking_answer_is_lost_is_booked_once(faulty: Faulty) -> None:
    with faulty.proxy.faults(lost_answer("dynamodb", "TransactWriteItems", by=faulty.function("apply_event"), times=2)) as met:
        order_id = faulty.place([("AC-LUB-WHT", 4), ("AC-PMP-200", 1)])
        done = faulty.acme.reaches(order_id, "completed", within=120)
        assert met(), "the fault was really met"
    assert len(done["shipments"]) == 2
    faulty.did("answers of stock transactions lost while booking: one booking each")
