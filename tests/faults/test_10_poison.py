"""One message of a batch cannot be worked: do the others suffer, and does somebody hear of it?"""

from __future__ import annotations

import pytest

from tests.faults.system import Faulty, aws_error
from tests.scenarios.system import eventually


@pytest.mark.fault(10, "poison message in a batch of 10")
def test_nine_are_done_and_the_tenth_is_a_dead_letter_with_its_reason(faulty: Faulty) -> None:
    documents = [faulty.unsent([("AC-LUB-WHT", 1)]) for _ in range(10)]
    keys = [f"batch-{document['id']}" for document in documents]
    order_ids = [f"storefront-{document['id']}" for document in documents]
    poison, poisoned = f"DELIVERY#storefront.orders-create.{keys[4]}", order_ids[4]
    with faulty.proxy.faults(aws_error("dynamodb", "GetItem", "InternalServerError", status=500, about=poison, by=faulty.function("translate_delivery"))) as met:
        with faulty.paused("translate_delivery"):
            for document, key in zip(documents, keys, strict=True):
                answer = faulty.send("orders/create", document, event_id=key)
                assert answer is not None and answer.status_code == 200
        for order_id in order_ids:
            if order_id != poisoned:
                faulty.acme.reaches(order_id, "completed", within=120)
        eventually(lambda: faulty.depth("inbound", dead=True), "a dead letter", within=200)
        # The fault stays until this is seen: once it is gone the sweep, too, would bring the delivery through.
        subject = poison.removeprefix("DELIVERY#")
        record = faulty.acme.exception(subject=subject)
        letters = faulty.acme.cli("dlq", "peek", "inbound")
        assert {letter["subject"] for letter in letters} == {subject}
        assert {letter["code"] for letter in letters} == {record["code"]} == {"PLATFORM_UNAVAILABLE"}
        assert {letter["exception_id"] for letter in letters} == {record["exception_id"]}
        if faulty.acme.order(poisoned) is not None:  # the poll for lost webhooks came by and found it in the shop: another delivery, which nothing poisons
            brought = next(entry["details"]["delivery"] for entry in faulty.acme.timeline(poisoned) if entry["action"] == "OrderPlaced")
            assert brought != subject, "the very delivery that was to be refused"
        refusals = len(met())

    faulty.redrive_twice("inbound")
    faulty.acme.reaches(poisoned, "completed", within=60)
    eventually(lambda: not faulty.acme.exceptions(subject=subject), "the exception is closed on the evidence")
    faulty.did(f"9 done, 1 dead letter with its reason after {refusals} refused calls; redriven twice: one order")
