"""Thousands of dead letters are sent round again at once, most of them of what was done long ago: is anything done twice?"""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import pytest

from tests.faults.system import Faulty
from tests.scenarios.system import eventually

LETTERS = 600
"""Of the 10,000 that production may have: what two cores work off in about two minutes. The mechanism knows no number."""


@pytest.mark.fault(22, "mass redrive of dead letters")
def test_a_mass_redrive_does_nothing_twice(faulty: Faulty) -> None:
    orders = [faulty.place([("AC-TAP-PTF", 2), ("AC-BRG-6204", 1)]) for _ in range(5)]
    done = [faulty.acme.reaches(order_id, "completed", within=150) for order_id in orders]
    before = _effects(faulty, done)
    bodies = [body for order in done for body in _commands(order)]
    sqs, url = faulty.aws("sqs"), faulty.queue_url("outbound", dead=True)
    letters = (bodies[number % len(bodies)] for number in range(LETTERS))
    while batch := list(islice(letters, 10)):
        sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": str(number), "MessageBody": body, "MessageGroupId": "redriven"} for number, body in enumerate(batch)])
    assert faulty.depth("outbound", dead=True) >= LETTERS
    sent = 0
    for _ in range(10):  # a walk that meets the other sweeps' looks leaves some for the next one
        sent += int(faulty.acme.cli("dlq", "redrive", "outbound", "--rate", "100")["sent"])
        if not faulty.depth("outbound", dead=True):
            break
    assert sent >= LETTERS
    eventually(lambda: not faulty.depth("outbound") and not faulty.depth("work"), "all of it is worked", within=400, every=2)
    assert faulty.depth("outbound", dead=True) == 0
    assert _effects(faulty, done) == before
    for order in done:
        actions = [entry["action"] for entry in faulty.acme.timeline(order["order_id"])]
        assert actions.count("SalesOrderPosted") == 1 and actions.count("OrderCompleted") == 1
    faulty.did(f"{sent} dead letters (stand-in for 10,000; {len(bodies)} different commands of finished orders) redriven: no effect, stock right")


def _commands(order: dict[str, Any]) -> list[str]:
    """The messages of everything that was done for the order."""
    order_id = order["order_id"]
    made: list[dict[str, Any]] = [{"command": "CreateSalesOrder", "connection": "erp", "order_id": order_id}]
    made += [{"command": "ReleaseFulfillment", "connection": part["connection"], "order_id": order_id, "part_id": part["part_id"]} for part in order["parts"]]
    for shipment in order["shipments"]:
        made.append({"command": "ConfirmShipment", "connection": "storefront", "order_id": order_id, "shipment_id": shipment["shipment_id"]})
        made.append({"command": "PostInvoice", "connection": "erp", "order_id": order_id, "shipment_id": shipment["shipment_id"]})
    return [json.dumps(message) for message in made]


def _effects(faulty: Faulty, orders: list[dict[str, Any]]) -> dict[str, int]:
    """What the systems hold of these orders: those of other tests may still be on their way."""
    erp, threepl, shop = faulty.acme.state("erp"), faulty.acme.state("threepl"), faulty.acme.state("storefront")
    numbers = {order["sales_order"]["number"] for order in orders}
    parts = {part["part_id"] for order in orders for part in order["parts"]}
    ids = {order["external_id"].rpartition("/")[2] for order in orders}
    found = {
        "sales orders": sum(held["number"] in numbers for held in erp["salesOrders"]),
        "shipments": sum(held["orderNumber"] in numbers for held in erp["salesShipments"]),
        "invoices": sum(held["orderNumber"] in numbers for held in erp["salesInvoices"]),
        "3PL orders": sum(held["reference_id"] in parts for held in threepl["orders"]),
        "fulfillments": sum(len(order["fulfillments"]) for order in shop["orders"] if str(order["id"]) in ids),
    }
    assert found["shipments"] and found["invoices"] and found["fulfillments"], "what the orders did is to be seen"
    return found
