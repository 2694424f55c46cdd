"""The bus takes a part of the events and answers 200; then everything is sent round again: is anything lost or done twice?"""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.faults.system import Faulty
from tests.scenarios.system import eventually

NAME = "PutEvents partial failure; replay of everything"


def _refuse(faulty: Faulty, **how: Any) -> dict[str, Any]:
    return dict(requests.post(f"{faulty.proxy.url}/_refuse", json=how, timeout=10).json())


def _met(faulty: Faulty) -> int:
    return int(requests.get(f"{faulty.proxy.url}/_refuse", timeout=10).json()["met"])


@pytest.mark.fault(17, NAME)
@pytest.mark.parametrize(("taken", "times"), [(False, 2), (False, 6), (True, 2)], ids=["refused_twice", "refused_beyond_its_patience", "taken_and_said_to_be_refused"])
def test_events_that_the_bus_did_not_take_are_sent_again(faulty: Faulty, taken: bool, times: int) -> None:
    _refuse(faulty, times=times, taken=taken)
    order_id = faulty.place([("AC-LUB-WHT", 2)])
    faulty.acme.reaches(order_id, "completed", within=180)
    assert _met(faulty) == times, "the fault was really met"
    faulty.did(f"FailedEntryCount > 0, {times} times{', although taken' if taken else ''}: none lost, none twice")


@pytest.mark.fault(17, NAME)
def test_a_replay_of_everything_has_no_effect(faulty: Faulty) -> None:
    orders = [faulty.place([("AC-LUB-WHT", 1), ("AC-BRG-6204", 1)]) for _ in range(3)]
    for order_id in orders:
        faulty.acme.reaches(order_id, "completed", within=120)
    before = _effects(faulty)
    sent = 0
    for connection in ("storefront", "erp", "threepl"):
        sent += int(faulty.acme.cli("replay", "--connection", connection, "--since", "24h", "--rate", "50")["sent"])
    eventually(lambda: not faulty.depth("inbound") and not faulty.depth("work") and not faulty.depth("outbound"), "all of it is worked", within=240, every=1)
    assert sent >= 12
    assert _effects(faulty) == before
    for order_id in orders:
        actions = [entry["action"] for entry in faulty.acme.timeline(order_id)]
        assert actions.count("OrderCompleted") == 1 and actions.count("InvoicePosted") == len((faulty.acme.order(order_id) or {})["shipments"])
    faulty.did(f"{sent} deliveries of 24 h sent round again: no new effect")


def _effects(faulty: Faulty) -> tuple[int, ...]:
    erp, threepl, shop = faulty.acme.state("erp"), faulty.acme.state("threepl"), faulty.acme.state("storefront")
    return (
        len(erp["salesOrders"]),
        len(erp["salesShipments"]),
        len(erp["salesInvoices"]),
        len(threepl["orders"]),
        sum(len(order["fulfillments"]) for order in shop["orders"]),
    )
