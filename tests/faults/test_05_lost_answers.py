"""A write is applied and nobody hears so: is it done once?"""

from __future__ import annotations

import pytest

from tests.faults.system import Faulty, lost_answer


@pytest.mark.fault(5, "DynamoDB write applied, answer lost")
@pytest.mark.parametrize("operation", ["PutItem", "UpdateItem", "TransactWriteItems"])
def test_a_write_whose_answer_is_lost_is_one_effect(faulty: Faulty, operation: str) -> None:
    with faulty.proxy.faults(lost_answer("dynamodb", operation, times=3)) as met:
        order_id = faulty.place([("AC-LUB-WHT", 3), ("AC-BRG-6204", 2)])
        faulty.acme.reaches(order_id, "completed", within=90)
        events = met()
    assert events, "the fault was really met"
    faulty.did(f"{len(events)} answers of {operation} cut off after the write")
