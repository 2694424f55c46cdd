"""After all stories: is anything lost, and did every call keep to the vendors' contracts?"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.scenarios.conftest import EXCHANGES
from tests.scenarios.system import ROOT, Tenant, eventually

CHECKER = ROOT.parent / "shared" / "contracts" / "check_exchanges.py"


def test_the_balance_adds_up_for_both_tenants(system: dict[str, Tenant]) -> None:
    for tenant in system.values():
        tenant.invoke("index_dead_letters")
        found = eventually(lambda tenant=tenant: (balance := tenant.cli("balance", check=False)) and balance["adds_up"] and balance, f"{tenant.name} adds up", within=90, every=2)
        assert found["deliveries"]["missing"] == [] and found["orders"]["missing"] == []


def test_every_invoice_belongs_to_one_shipment_of_one_order(acme: Tenant) -> None:
    orders = [acme.order(order["order_id"]) for order in acme.get("/v1/orders?limit=500")["orders"]]
    booked = [shipment["invoice_number"] for order in orders if order for shipment in order["shipments"] if shipment["invoice_number"]]
    posted = [invoice["number"] for invoice in acme.state("erp")["salesInvoices"]]
    assert len(booked) == len(set(booked))
    assert set(booked) <= set(posted) and len(posted) == len(set(posted))
    assert len(posted) - len(booked) <= sum(1 for order in orders if order and order["status"] not in ("completed", "cancelled")), "no invoice that no shipment knows"


def test_no_order_has_two_sales_orders_and_no_part_two_3pl_orders(acme: Tenant) -> None:
    shipped = [(document["externalDocumentNumber"], document["orderNumber"]) for document in acme.state("erp")["salesShipments"]]
    assert len({number for number, _ in shipped}) == len(set(shipped))
    references = [order["reference_id"] for order in acme.state("threepl")["orders"]]
    assert len(references) == len(set(references))


@pytest.mark.skipif(not CHECKER.exists(), reason="the vendors' contract files are not part of this repository; where they stand beside it, recorded traffic is held against them")
@pytest.mark.skipif(shutil.which("uv") is None and not (Path.home() / ".local/bin/uv").exists(), reason="the contract checker runs by `uv run --script`, and uv is not installed")
def test_recorded_traffic_keeps_to_the_vendors_contracts(system: dict[str, Tenant]) -> None:
    done = subprocess.run(
        ["uv", "run", "--no-project", "--script", str(CHECKER), str(EXCHANGES), "--need", "shopify", "business_central", "shipbob"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
