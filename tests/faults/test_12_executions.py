"""The workflow was started and nobody heard so: does the order run once?"""

from __future__ import annotations

import pytest

from tests.faults.system import Faulty, lost_answer
from tests.scenarios.system import eventually


@pytest.mark.fault(12, "StartExecution timed out but started")
@pytest.mark.parametrize("lost", [1, 4], ids=["once", "at every try of the client"])
def test_a_start_whose_answer_is_lost_is_one_execution(faulty: Faulty, lost: int) -> None:
    rule = lost_answer("stepfunctions", "StartExecution", by=faulty.function("apply_event"), times=lost)
    with faulty.impatient("work"), faulty.proxy.faults(rule) as met:
        order_id = faulty.place([("AC-LUB-WHT", 2)])
        faulty.acme.reaches(order_id, "completed", within=120)
        eventually(lambda: not faulty.depth("work"), "worked off", within=60)
        assert met(), "the fault was really met"
    found = [
        execution["name"]
        for page in faulty.aws("stepfunctions").get_paginator("list_executions").paginate(stateMachineArn=faulty.outputs()["OrderMachineArn"])
        for execution in page["executions"]
        if execution["name"].startswith(order_id)
    ]
    assert found == [order_id], found
    faulty.did(f"{lost} answer(s) of StartExecution cut off: one execution, named for the order")
