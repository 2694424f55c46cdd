"""The ERP is slow, busy, broken, lies with a 200, or forgets to answer: is the effect there once, and is it left in peace?"""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import Any

import pytest

from crossdock.flows import circuit
from tests.faults.system import Faulty
from tests.scenarios.system import eventually

NAME = "ERP: 429, 500, hang, 200 with an error, reset after commit"
WRITE = r"POST .*/salesOrders"
ERROR = {"error": {"code": "Internal_ServerError", "message": "something went wrong"}}


@pytest.mark.fault(15, NAME)
@pytest.mark.parametrize(
    ("what", "fault", "within"),
    [
        ("429 with Retry-After 4, twice", {"status": 429, "headers": {"Retry-After": "4"}, "times": 2}, 120),
        ("500 twice", {"status": 500, "times": 2}, 120),
        ("no answer for 25 s", {"timeout": 25, "times": 1}, 240),
        ("connection reset after the commit", {"drop_after_commit": True, "times": 1}, 120),
        ("500 with an error body after nothing was done", {"status": 500, "body": ERROR, "times": 1}, 120),
    ],
    ids=["429", "500", "hang", "reset", "error_body"],
)
def test_the_sales_order_is_made_once(faulty: Faulty, what: str, fault: dict[str, Any], within: float) -> None:
    faulty.acme.fault("erp", match=WRITE, **fault)
    order_id = faulty.place([("AC-LUB-WHT", 2)])
    faulty.acme.reaches(order_id, "completed", within=within)
    met = [request for request in _requests(faulty) if request["fault"]]
    assert met, "the fault was really met"
    if fault.get("status") == 429:
        tries = [datetime.fromisoformat(request["at"]) for request in _requests(faulty) if request["method"] == "POST" and request["path"].endswith("/salesOrders")][-3:]
        gaps = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(tries)]
        assert all(gap >= 4 for gap in gaps), f"its Retry-After is kept: {gaps}"
    faulty.did(what)


@pytest.mark.fault(15, NAME)
def test_a_200_that_is_an_error_is_a_persons_matter_and_no_effect(faulty: Faulty) -> None:
    """Nobody can know what it means: it is put before a person, and the retry finds that nothing was done, or what was."""
    faulty.acme.fault("erp", match=WRITE, status=200, body=ERROR, times=1)
    order_id = faulty.place([("AC-LUB-WHT", 2)])

    def moved() -> Any:
        found = faulty.acme.order(order_id)
        return (found and found["status"] == "completed") or faulty.acme.exceptions(order_id=order_id)

    eventually(moved, "done, or before a person", within=120)
    for record in faulty.acme.exceptions(order_id=order_id):
        faulty.acme.cli("exceptions", "retry", record["exception_id"])
    faulty.acme.reaches(order_id, "completed", within=120)
    faulty.did("200 with an error body: one sales order")


@pytest.mark.fault(15, NAME)
def test_an_erp_that_is_out_is_left_in_peace_and_taken_up_again_by_itself(faulty: Faulty) -> None:
    """The circuit of the ERP opens: hardly a call gets through to it, the other systems work, one exception says so and closes itself."""
    posted = [faulty.place([("AC-LUB-WHT", 1)]) for _ in range(3)]
    for order_id in posted:
        faulty.acme.reaches(order_id, "completed", within=120)
    # Three have passed their checks and wait to be posted; three more meet the outage at their checks.
    faulty.acme.fault("erp", match=WRITE, status=503, times=None)
    waiting = [faulty.place([("AC-LUB-WHT", 1)]) for _ in range(3)]
    for order_id in waiting:
        faulty.acme.reaches(order_id, "reserved", within=60)
    faulty.acme.fault("erp", match="*", status=503, times=None)
    waiting += [faulty.place([("AC-LUB-WHT", 1)]) for _ in range(3)]
    record = faulty.acme.exception(code="CONNECTION_DOWN", within=150)
    assert record["subject"] == "erp"
    began = datetime.fromisoformat(_requests(faulty)[-1]["at"])

    def tried() -> list[datetime]:
        """By their time: the list keeps the newest thousand only."""
        return [at for at in (datetime.fromisoformat(request["at"]) for request in _requests(faulty)) if at > began]

    eventually(lambda: len(tried()) >= 3, "it is tried now and then", within=120)
    calls = tried()
    spent = (calls[-1] - began).total_seconds()
    assert len(calls) <= 3 + spent, f"{len(calls)} calls in {spent:.0f} s to a system that is out"
    harbor = faulty.harbor.state("erp")
    assert harbor is not None, "the neighbour's is another one"
    for other in faulty.acme.exceptions(code="CONNECTION_DOWN"):
        assert other["subject"] == "erp", "only the circuit of the ERP is open"
    faulty.acme.clear_faults()
    for order_id in waiting:
        found = eventually(lambda order_id=order_id: _status(faulty, order_id), f"{order_id} came", within=60)
        if found == "held":  # its checks met the outage: they run again by themselves after five minutes, or now when somebody asks
            for hold in faulty.acme.exceptions(order_id=order_id, code="CHECKS_FAILED"):
                faulty.acme.cli("exceptions", "retry", hold["exception_id"])
    for order_id in waiting:
        faulty.acme.reaches(order_id, "completed", within=240)
    eventually(lambda: not faulty.acme.exceptions(code="CONNECTION_DOWN"), "closed by the evidence", within=60)
    faulty.did(f"all calls 503: circuit open after {circuit.FAILURES} failures, {len(calls)} calls in {spent:.0f} s meanwhile, taken up by itself")


def _status(faulty: Faulty, order_id: str) -> str | None:
    found = faulty.acme.order(order_id)
    return None if found is None or found["status"] == "accepted" else str(found["status"])


def _requests(faulty: Faulty) -> list[dict[str, Any]]:
    return list(faulty.acme.session.get(faulty.acme.simulators["erp"] + "/_requests", timeout=30).json())
