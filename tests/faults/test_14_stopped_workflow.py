"""Somebody stops the execution of an order half-way: is its stock given back once, and by whom?"""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.faults.system import Faulty
from tests.scenarios.system import eventually

NAME = "StopExecution half-way"


def _stopped(faulty: Faulty) -> str:
    """An order with stock committed and its parts released, whose workflow has been stopped from outside."""
    faulty.acme.autopilot("erp", enabled=False)
    order_id = faulty.place([("AC-BRG-6305", 4)])
    faulty.acme.reaches(order_id, "released", within=90)
    machine = faulty.outputs()["OrderMachineArn"]
    client = faulty.aws("stepfunctions")
    arn = next(
        found["executionArn"]
        for page in client.get_paginator("list_executions").paginate(stateMachineArn=machine, statusFilter="RUNNING")
        for found in page["executions"]
        if order_id in found["name"]
    )
    client.stop_execution(executionArn=arn, error="Stopped", cause="by hand")
    faulty.age(f"ORDER#{order_id}", by=timedelta(hours=60))
    faulty.watch()
    return order_id


@pytest.mark.fault(14, NAME)
def test_a_stopped_workflow_is_an_exception_and_the_order_goes_on_when_a_person_says_so(faulty: Faulty) -> None:
    order_id = _stopped(faulty)
    record = faulty.acme.exception(code="WORKFLOW_STOPPED", order_id=order_id)
    for _ in range(2):  # twice is once
        faulty.acme.cli("exceptions", "retry", record["exception_id"], check=False)
    [posted] = faulty.acme.sales_orders(order_id)
    faulty.acme.act("erp", "post_shipment", order=posted["number"])
    faulty.acme.reaches(order_id, "completed", within=120)
    _told(faulty, order_id)
    faulty.did("stopped while released: exception, started again by a person, completed; stock left once")


@pytest.mark.fault(14, NAME)
def test_an_order_cancelled_after_its_workflow_was_stopped_gives_its_stock_back_once(faulty: Faulty) -> None:
    order_id = _stopped(faulty)
    record = faulty.acme.exception(code="WORKFLOW_STOPPED", order_id=order_id)
    assert _committed(faulty) >= 4
    faulty.acme.act("storefront", "cancel_order", order=int(order_id.removeprefix("storefront-")), reason="customer")
    eventually(lambda: not faulty.depth("inbound") and not faulty.depth("work"), "the cancellation is worked")
    for _ in range(2):
        faulty.acme.cli("exceptions", "retry", record["exception_id"], check=False)
    faulty.acme.reaches(order_id, "cancelled", within=120)
    assert [entry["action"] for entry in faulty.acme.timeline(order_id)].count("OrderCancelled") == 1
    _told(faulty, order_id)
    faulty.did("stopped, then cancelled: compensated once when started again")


def _told(faulty: Faulty, order_id: str) -> None:
    """A person takes note of what was late about it."""
    for record in faulty.acme.exceptions(order_id=order_id):
        if record["code"] in ("SHIPPED_LATE", "SHIPMENT_OVERDUE", "ACKNOWLEDGEMENT_MISSING"):
            faulty.acme.cli("exceptions", "resolve", record["exception_id"], "--decision", "done", "--note", "the customer was told")


def _committed(faulty: Faulty) -> float:
    levels = faulty.acme.get("/v1/inventory/AC-BRG-6305")["locations"]
    return sum(float(level["committed"]) for level in levels)
