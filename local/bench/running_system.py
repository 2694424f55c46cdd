"""How does a benchmark bring the system up, place orders, wait until they are through, and take it down again?"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossdock.aws.orders import CLOSED
from local.cli import bring_up, control
from local.cli.stack import Stack
from local.cli.stack import local as stack_of
from local.engine.local_run import LocalRun
from local.engine.state import free_port

LINES = (("AC-BRG-6204", "8.40"), ("AC-BRG-6305", "14.75"), ("AC-VLV-075", "11.95"))
"""The benchmark's order: three lines at list price, out of the demo tenant's catalogue."""

UNTHROTTLED = {"limits": {"requests_per_second": 2000, "burst": 4000}}
"""What the tenant's own plan lets through in a second would be measured otherwise, and not what the system can do."""

_ADDRESS = {"first_name": "Nora", "last_name": "Castillo", "address1": "418 Foundry Road", "city": "Joliet", "province_code": "IL", "country_code": "US", "zip": "60432"}


@dataclass(frozen=True)
class System:
    """A tenant that is up, with its doors and its stack."""

    doors: Mapping[str, Any]
    stack: Stack
    run: LocalRun

    def place(self, *, quantity: int = 1, lines: tuple[tuple[str, str], ...] = LINES) -> str:
        """An order in the simulated shop, which sends its signed webhook; our id of it."""
        made = control.post(
            self.doors["simulators"]["storefront"],
            "/_actions/place_order",
            {
                "customer": {"email": "purchasing@blueridge-fab.example"},
                "lines": [{"sku": sku, "quantity": quantity, "price": price} for sku, price in lines],
                "shipping_address": _ADDRESS,
                "shipping_price": "25.00",
                "tax": [{"title": "State Tax", "rate": "0.0625"}],
            },
        )
        return f"storefront-{made['id']}"

    def statuses(self) -> dict[str, str]:
        """Every order with its status, read from the store (a call of /v1 would count as load)."""
        return {record.order_id: str(record.status.value) for record in self.stack.services.orders.every()}

    def closed(self) -> int:
        """How many orders are closed, asked of the index alone."""
        pages = self.stack.session.client("dynamodb").get_paginator("query")
        found = pages.paginate(
            TableName=self.stack.outputs["StateTable"],
            IndexName="listing",
            KeyConditionExpression="listing = :closed",
            ExpressionAttributeValues={":closed": {"S": CLOSED}},
            Select="COUNT",
        )
        return sum(page["Count"] for page in found)

    def wait_for(self, wanted: set[str], status: str, *, within: float, say: Callable[[str], None] | None = None) -> float:
        """Seconds until all of them have the status. Raises BenchFailed with those that do not."""
        began = told = time.monotonic()
        while True:
            found = self.statuses()
            missing = {order: found.get(order, "not arrived") for order in wanted if found.get(order) != status}
            passed = time.monotonic() - began
            if not missing:
                return passed
            if passed > within:
                raise BenchFailed(f"{len(missing)} of {len(wanted)} orders are not {status} after {within:.0f} s: {dict(list(missing.items())[:5])}")
            if say and time.monotonic() - told > 10:
                told = time.monotonic()
                say(f"  {len(wanted) - len(missing)} of {len(wanted)} orders {status}")
            time.sleep(0.25)

    def autopilot(self, connection: str, **settings: Any) -> None:
        control.post(self.doors["simulators"][connection], "/_autopilot", settings)

    def fault(self, connection: str, **spec: Any) -> None:
        control.post(self.doors["simulators"][connection], "/_faults", spec)

    def clear_faults(self, connection: str) -> None:
        control.delete(self.doors["simulators"][connection], "/_faults")

    def queued(self) -> int:
        """Messages that are waiting or being worked, in all three queues."""
        sqs = self.stack.session.client("sqs")
        queues = [self.stack.outputs[name] for name in ("InboundQueueUrl", "WorkQueueUrl", "OutboundQueueUrl")]
        found = [sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"] for queue in queues]
        return sum(int(queue["ApproximateNumberOfMessages"]) + int(queue["ApproximateNumberOfMessagesNotVisible"]) for queue in found)

    def function_names(self) -> dict[str, str]:
        """Functions as functions/ calls them, with their names on the engine."""
        found: dict[str, str] = json.loads(self.stack.outputs["FunctionNames"])
        return found


@contextmanager
def up(
    root: Path,
    tenant: str,
    say: Callable[[str], None],
    *,
    functions_endpoint: str | None = None,
    engine_at: Callable[[str], None] | None = None,
    laid_over: Mapping[str, Any] | None = None,
) -> Iterator[System]:
    """One tenant up as `crossdock local up` does it, with ``laid_over`` its file; down again at the end, whatever happened. Refuses to disturb a run that is up."""
    run = LocalRun(root)
    if run.status().state is not None:
        raise BenchFailed("a local run is up in this checkout: `crossdock local down` first, the benchmark takes it down at its end")
    began = time.monotonic()
    try:
        port = free_port() if engine_at else None
        if engine_at:
            engine_at(f"http://127.0.0.1:{port}")
        doors = bring_up.up(run, [tenant], enforce_iam=False, engine_port=port, functions_endpoint=functions_endpoint, laid_over={**UNTHROTTLED, **(laid_over or {})})
        say(f"the system is up ({time.monotonic() - began:.0f} s)")
        yield System(doors["tenants"][tenant], stack_of(tenant, root), run)
    finally:
        run.down()


class BenchFailed(RuntimeError):
    """A benchmark could not be carried out; the text says at what."""
