"""The queue hands a message out again while the first worker still has it: is it worked once?"""

from __future__ import annotations

import pytest

from tests.faults.system import Faulty, late
from tests.scenarios.system import eventually


@pytest.mark.fault(9, "SQS redelivery while the first still runs")
@pytest.mark.parametrize(
    ("queue", "function", "slow"),
    [
        ("inbound", "translate_delivery", ("events", "PutEvents")),
        ("work", "apply_event", ("dynamodb", "TransactWriteItems")),
        ("outbound", "deliver_command", ("dynamodb", "UpdateItem")),
    ],
    ids=["inbound", "work", "outbound"],
)
def test_a_message_that_two_workers_have_at_once_is_worked_once(faulty: Faulty, queue: str, function: str, slow: tuple[str, str]) -> None:
    worker = faulty.function(function)
    with faulty.impatient(queue, seconds=1), faulty.proxy.faults(late(*slow, seconds=4, by=worker, times=4)) as met:
        order_id = faulty.place([("AC-LUB-WHT", 2), ("AC-BRG-6204", 1)])
        faulty.acme.reaches(order_id, "completed", within=150)
        held = len(met())
        eventually(lambda: not faulty.depth(queue) or queue == "outbound", "worked off", within=60)
    assert held, "the fault was really met"
    faulty.did(f"{function}: {held} calls of {slow[1]} took 4 s, the message was visible again after 1 s")
