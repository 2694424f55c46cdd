"""What is there to be seen of the running system? Takes the evidence that the invariants are judged over."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from local.engine.local_run import LocalRun
from tests.faults.system import Faulty, aws, outputs
from tests.invariants.evidence import OVER, Evidence, Letter, Level, shipped
from tests.scenarios.orders import BLUE_RIDGE, IL, LAKESIDE
from tests.scenarios.system import Tenant, eventually

QUEUES = ("inbound", "work", "outbound")
_CLOCKWORK = ("BUDGET#", "CURSOR#")
"""What the schedule writes by itself, whatever anybody else does."""
_PERSONAL = {
    "a person's name": f"{IL['first_name']} {IL['last_name']}",
    "a street": str(IL["address1"]),
    "a company": str(IL["company"]),
    "an address of mail": str(BLUE_RIDGE["email"]),
    "another address of mail": str(LAKESIDE["email"]),
}


@dataclass
class Witness:
    """Looks at a tenant before and after a fault. Kept for the whole run: what is over does not change and is read once."""

    over: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Orders that are completed or cancelled."""

    def before(self, faulty: Faulty) -> Evidence:
        orders = self._orders(faulty.acme)
        return Evidence(
            exceptions=faulty.acme.exceptions(),
            levels_before=_levels(faulty.acme, _skus(orders)),
            shipped_before=shipped(orders),
            neighbour_before=_holdings(faulty.harbor),
            secrets=_secrets(faulty.acme),
        )

    def at_rest(self, faulty: Faulty, before: Evidence, since: float) -> Evidence:
        """Waits until nothing moves any more and looks at everything."""
        _settle(faulty)
        acme = faulty.acme
        orders = self._orders(acme)
        touched = [order_id for order_id in faulty.history.order_ids() if order_id in orders]
        return Evidence(
            orders=orders,
            timelines={order_id: acme.get(f"/v1/orders/{order_id}/timeline") for order_id in touched},
            exceptions=acme.exceptions(),
            balance=eventually(lambda: _balanced(acme), "the balance", within=60, every=2),
            dead_letters=_dead_letters(faulty),
            levels_before=before.levels_before,
            levels=_levels(acme, _skus(orders)),
            shipped_before=before.shipped_before,
            erp=acme.state("erp"),
            threepl=acme.state("threepl"),
            storefront=acme.state("storefront"),
            neighbour_before=before.neighbour_before,
            neighbour=_holdings(faulty.harbor),
            log_lines=_log_lines(acme, since),
            secrets=before.secrets,
        )

    def _orders(self, tenant: Tenant) -> dict[str, dict[str, Any]]:
        found = dict(self.over)
        for summary in tenant.get("/v1/orders?limit=500")["orders"]:
            order_id = summary["order_id"]
            if order_id in found:
                continue
            order = tenant.get(f"/v1/orders/{order_id}")
            found[order_id] = order
            if order["status"] in OVER:
                self.over[order_id] = order
        return found


def _settle(faulty: Faulty) -> None:
    """Every order that was touched is over, held, owned, or left open on purpose; nothing is on its way in front of the workflow."""
    acme, began = faulty.acme, time.monotonic()
    on_purpose = {entry.facts["order_id"] for entry in faulty.history.of("left_open")}
    swept = began

    def look() -> bool:
        nonlocal swept
        owned = {record.get("order_id") for record in acme.exceptions()}
        orders = {order_id: acme.order(order_id) for order_id in faulty.history.order_ids()}
        moving = [
            order_id for order_id, order in orders.items() if order is not None and order["status"] not in (*OVER, "held") and order_id not in owned and order_id not in on_purpose
        ]
        if not moving and not any(faulty.depth(queue) for queue in ("inbound", "work")):
            return True
        if time.monotonic() - swept > 15:
            faulty.watch()
            swept = time.monotonic()
        return False

    try:
        eventually(look, "the system comes to rest", within=240, every=0.5)
    except AssertionError:
        return  # what does not come to rest is what the invariants are asked about
    if any(faulty.depth(queue, dead=True) for queue in QUEUES):
        acme.invoke("index_dead_letters")


def _balanced(tenant: Tenant) -> dict[str, Any]:
    """As soon as it adds up; at the end of the patience as it is."""
    give_up = time.monotonic() + 40
    while True:
        found: dict[str, Any] = tenant.cli("balance", check=False)
        if found.get("adds_up") or time.monotonic() > give_up:
            return found
        time.sleep(2)


def _dead_letters(faulty: Faulty) -> list[Letter]:
    found = []
    for queue in QUEUES:
        if faulty.depth(queue, dead=True):
            letters = faulty.acme.cli("dlq", "peek", queue, "--limit", "500")
            found += [Letter(queue, letter["subject"], letter.get("code"), letter.get("exception_id")) for letter in letters]
    return found


def _skus(orders: dict[str, dict[str, Any]]) -> set[str]:
    return {line["sku"] for order in orders.values() for line in order.get("lines") or []} | {"AC-LUB-WHT", "AC-BRG-6204"}


def _levels(tenant: Tenant, skus: set[str]) -> dict[str, Level]:
    found = {}
    for sku in sorted(skus):
        answer = tenant.ask(f"/v1/inventory/{sku}")
        assert answer.status_code in (200, 404), f"GET {sku}: {answer.status_code} {answer.text[:800]}"
        for at in answer.json().get("locations", []) if answer.status_code == 200 else []:
            found[f"{sku}@{at['location']}"] = Level(Decimal(at["on_hand"]), Decimal(at["committed"]), Decimal(at["safety"]), at["as_of"])
    return found


def _holdings(tenant: Tenant) -> dict[str, str]:
    """A digest of each thing the tenant keeps: table items, archived objects, messages. The clock's own notes are left out."""
    names = outputs(tenant.name)
    found: dict[str, str] = {}
    dynamodb = aws(tenant, "dynamodb")
    for table in (names["StateTable"], names["AuditTable"]):
        for page in dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
            for item in page["Items"]:
                if not item["pk"]["S"].startswith(_CLOCKWORK):
                    found[f"item {item['pk']['S']}/{item['sk']['S']}"] = _digest(item)
    for page in aws(tenant, "s3").get_paginator("list_objects_v2").paginate(Bucket=names["ArchiveBucket"]):
        found |= {f"object {entry['Key']}": entry["ETag"] for entry in page.get("Contents", [])}
    for connection in tenant.simulators:
        state = tenant.state(connection)
        found |= {f"{connection} {name}": _digest(state[name]) for name in ("orders", "salesOrders", "salesShipments", "salesInvoices", "shipments", "inventory") if name in state}
    return found


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=repr).encode()).hexdigest()


def _secrets(tenant: Tenant) -> dict[str, str]:
    """Everything that must be in no log: credentials as they are stored, keys, and what customers are called."""
    value = json.loads(aws(tenant, "secretsmanager").get_secret_value(SecretId=outputs(tenant.name)["SecretArn"])["SecretString"])
    stored = {f"{connection}'s {name}": text for connection, fields in value.items() if isinstance(fields, dict) for name, text in fields.items() if _is_secret(name, text)}
    return {**stored, **{f"the key of {client}": key for client, key in tenant.api_keys.items()}, **_PERSONAL}


def _is_secret(name: str, text: object) -> bool:
    return isinstance(text, str) and len(text) >= 8 and any(word in name for word in ("secret", "token", "key", "password"))


def _log_lines(tenant: Tenant, since: float) -> list[tuple[str, str]]:
    """What functions, workflows and the API have logged since then, and the engine's own log of it."""
    client = aws(tenant, "logs")
    found: list[tuple[str, str]] = []
    start = int((since - 1) * 1000)
    for page in client.get_paginator("describe_log_groups").paginate():
        for group in page["logGroups"]:
            name = group["logGroupName"]
            if tenant.name not in name and tenant.name.replace("_", "-") not in name:
                continue
            for events in client.get_paginator("filter_log_events").paginate(logGroupName=name, startTime=start):
                found += [(name, event["message"]) for event in events["events"]]
    log = LocalRun().directory.logs / "engine.log"
    if log.exists():
        found += [("engine.log", line) for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    return found
