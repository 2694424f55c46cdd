"""New code is deployed, and taken back, while many orders wait for their shipment: do all of them finish?"""

from __future__ import annotations

import io
import json
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.faults.system import Faulty
from tests.scenarios.system import eventually

WAITING = 60
"""As many as are placed and finished on two cores in about two minutes; each is an open execution that waits for its callback."""
HELD_BACK_SECONDS = 120


@pytest.mark.fault(20, "deploy and rollback while many executions wait")
def test_every_order_that_waits_over_a_deploy_and_its_rollback_finishes(faulty: Faulty) -> None:
    for connection in ("erp", "threepl"):
        faulty.acme.autopilot(connection, ship_after_s=HELD_BACK_SECONDS)
    try:
        with ThreadPoolExecutor(4) as pool:
            orders = list(pool.map(lambda _: faulty.place([("AC-TAP-PTF", 1)]), range(WAITING)))
        machine, client = faulty.outputs()["OrderMachineArn"], faulty.aws("stepfunctions")

        def running() -> int:
            pages = client.get_paginator("list_executions").paginate(stateMachineArn=machine, statusFilter="RUNNING")
            return sum(len(page["executions"]) for page in pages)

        before = _code(faulty)
        eventually(lambda: running() >= WAITING * 3 // 4, "they are under way", within=150)
        waiting = running()
        _deploy(faulty, {name: _changed(code) for name, code in before.items()})
        time.sleep(10)
        _deploy(faulty, before)
    finally:
        for connection in ("erp", "threepl"):
            faulty.acme.autopilot(connection, ship_after_s=0.8)
    for order_id in orders:
        faulty.acme.reaches(order_id, "completed", within=400)
    for order_id in orders[::10]:
        faulty.acme.timeline(order_id)  # asserts that the chain is whole
    faulty.did(f"{len(before)} functions deployed anew and rolled back with {waiting} executions open: {len(orders)} of {len(orders)} orders finished")


def _code(faulty: Faulty) -> dict[str, bytes]:
    """The code that runs, by function."""
    client, found = faulty.aws("lambda"), {}
    for full_name in json.loads(faulty.outputs()["FunctionNames"]).values():
        location = client.get_function(FunctionName=full_name)["Code"]["Location"]
        found[full_name] = requests.get(location, timeout=30).content
    return found


def _changed(code: bytes) -> bytes:
    """The same, with another line in its handler: as a release that changes nothing of what it does."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(code)) as old, zipfile.ZipFile(made, "w") as new:
        for item in old.infolist():
            content = old.read(item)
            new.writestr(item, content + b'\nRELEASE = "the next one"\n' if item.filename.endswith("handler.py") else content)
    return made.getvalue()


def _deploy(faulty: Faulty, code: dict[str, bytes]) -> None:
    client: Any = faulty.aws("lambda")
    for full_name, content in code.items():
        client.update_function_code(FunctionName=full_name, ZipFile=content)
