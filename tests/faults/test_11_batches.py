"""A batch is worked, or half of it, and the queue never hears so: is anything done twice?"""

from __future__ import annotations

import json

import pytest

from crossdock import batches
from tests.faults.system import Faulty, hold, late
from tests.scenarios.system import eventually

MESSAGES, MIDDLE = 5, 2


@pytest.mark.fault(11, "Lambda dies in mid-batch")
@pytest.mark.parametrize(("queue", "function"), [("inbound", "translate_delivery"), ("work", "apply_event")])
def test_a_batch_that_dies_in_the_middle_is_done_once(faulty: Faulty, queue: str, function: str) -> None:
    """Held at a write of the batch's middle message, and killed there: what a timeout does as well."""
    documents = [faulty.unsent([("AC-LUB-WHT", 1)]) for _ in range(MESSAGES)]
    write = {"translate_delivery": ("dynamodb", "UpdateItem"), "apply_event": ("stepfunctions", "StartExecution")}[function]
    middle = f"batch-{documents[MIDDLE]['id']}" if function == "translate_delivery" else f"storefront-{documents[MIDDLE]['id']}"
    with faulty.impatient(queue), faulty.proxy.faults(hold(*write, by=faulty.function(function), about=middle, times=1)) as met:
        with faulty.paused(function):
            for document in documents:
                answer = faulty.send("orders/create", document, event_id=f"batch-{document['id']}")
                assert answer is not None and answer.status_code == 200
            eventually(lambda: faulty.depth(queue) >= MESSAGES, "the batch waits", within=30)
        eventually(met, "the middle message is in the middle of its work", within=60)
        assert faulty.kill(function)
        for document in documents:
            faulty.acme.reaches(f"storefront-{document['id']}", "completed", within=150)
    faulty.did(f"{function} killed at {write[1]} of one of {MESSAGES} messages; all redelivered")


@pytest.mark.fault(11, "partial batch response lost")
def test_a_batch_whose_answer_never_comes_is_done_once(faulty: Faulty) -> None:
    """All are worked; the worker dies before it can say so."""
    documents = [faulty.unsent([("AC-LUB-WHT", 1)]) for _ in range(MESSAGES)]
    worker = faulty.function("translate_delivery")
    last = f"batch-{documents[-1]['id']}"
    with faulty.impatient("inbound"), faulty.proxy.faults(late("dynamodb", "UpdateItem", seconds=2, by=worker, about=last, times=1)) as met:
        with faulty.paused("translate_delivery"):
            for document in documents:
                answer = faulty.send("orders/create", document, event_id=f"batch-{document['id']}")
                assert answer is not None and answer.status_code == 200
        eventually(met, "the last message is being settled", within=60)
        faulty.proxy.set(hold(by=worker, times=1))  # whatever it does next: the settling itself goes through
        eventually(lambda: _done(faulty, last), "the last message is settled", within=30)
        assert faulty.kill("translate_delivery")
        faulty.proxy.clear()
        for document in documents:
            faulty.acme.reaches(f"storefront-{document['id']}", "completed", within=150)
        eventually(lambda: not faulty.depth("inbound"), "the repeated batch is worked off", within=60)
    faulty.did(f"{MESSAGES} messages worked, their worker killed before it answered; all came again")


@pytest.mark.fault(11, "Lambda times out in mid-batch")
def test_a_batch_that_takes_too_long_is_done_once(faulty: Faulty) -> None:
    """The function's own limit ends it while a call hangs."""
    limit, client, worker = batches.ENOUGH_SECONDS + 3, faulty.aws("lambda"), faulty.function("translate_delivery")
    before = client.get_function_configuration(FunctionName=worker.full_name)["Timeout"]
    documents = [faulty.unsent([("AC-LUB-WHT", 1)]) for _ in range(MESSAGES)]
    client.update_function_configuration(FunctionName=worker.full_name, Timeout=limit)
    try:
        with (
            faulty.impatient("inbound", seconds=limit + 3),
            faulty.proxy.faults(hold("events", "PutEvents", seconds=limit * 3, by=worker, about=f"storefront-{documents[MIDDLE]['id']}", times=1)) as met,
        ):
            with faulty.paused("translate_delivery"):
                for document in documents:
                    answer = faulty.send("orders/create", document, event_id=f"batch-{document['id']}")
                    assert answer is not None and answer.status_code == 200
            for document in documents:
                faulty.acme.reaches(f"storefront-{document['id']}", "completed", within=150)
            assert met(), "the fault was really met"
    finally:
        client.update_function_configuration(FunctionName=worker.full_name, Timeout=before)
    faulty.did(f"PutEvents of one of {MESSAGES} messages hung beyond the function's limit ({limit} s for this test, {before} s else)")


def _done(faulty: Faulty, key: str) -> bool:
    found = faulty.aws("dynamodb").get_item(
        TableName=faulty.outputs()["StateTable"], Key={"pk": {"S": f"DELIVERY#storefront.orders-create.{key}"}, "sk": {"S": "NOTE"}}, ConsistentRead=True
    )
    return bool(json.loads(found["Item"].get("events", {"S": "[]"})["S"]))
