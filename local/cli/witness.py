"""What can be seen from outside of an order: in the storefront, the ERP, the 3PL and /v1? The demo believes nothing else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from crossdock.domain.manifest import Role
from crossdock.domain.tenant import TenantSpec
from crossdock.domain.webhook import WebhookContract
from local.cli import control
from local.cli.stack import Stack
from local.seed.world import Buyer, World

Seen = TypeVar("Seen")


class NotSeen(AssertionError):
    """Something that should have become visible did not; the message says what, and what was seen instead."""


def until(look: Callable[[], Seen | None], what: str, *, within: float, instead: Callable[[], object] = lambda: "") -> Seen:
    """Looks until there is something to see. Raises NotSeen with what `instead` shows."""
    give_up = time.monotonic() + within
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > give_up:
            raise NotSeen(f"not seen within {within:.0f} s: {what}; instead: {instead()}")
        time.sleep(0.2)


@dataclass(frozen=True)
class Wanted:
    """A line of an order to be placed, by our SKU (or the shop's own name for it)."""

    sku: str
    quantity: int


class Witness:
    """Looks at one tenant's systems through their own doors, and lets the people there act."""

    def __init__(self, stack: Stack, doors: Mapping[str, Any], world: World) -> None:
        self.stack = stack
        self.spec: TenantSpec = stack.spec
        self.world = world
        self._api = str(doors["api_url"])
        self._key = next(iter(doors["api_keys"].values()))
        self._webhooks: dict[str, dict[str, str]] = doors["webhooks"]
        self._simulators: dict[str, str] = doors["simulators"]
        self.shop = self._with_role(Role.STOREFRONT)
        self.erp = self._with_role(Role.ERP)
        self.threepl = self._with_role(Role.WAREHOUSE)

    def _with_role(self, role: Role) -> str:
        return next(name for name, connection in self.spec.connections.items() if connection.role is role and name in self._simulators)

    # ------------------------------------------------------------------ the systems
    def state(self, connection: str) -> dict[str, Any]:
        found: dict[str, Any] = control.get(self._simulators[connection], "/_state")
        return found

    def act(self, connection: str, verb: str, **body: object) -> Any:
        """Staff of the vendor (or its customer) does something."""
        return control.post(self._simulators[connection], f"/_actions/{verb}", body)

    def fault(self, connection: str, **fault: object) -> None:
        control.post(self._simulators[connection], "/_faults", fault)

    def fired(self, connection: str) -> int:
        """How often the faults that are switched on have struck."""
        return sum(int(fault["fired"]) for fault in control.get(self._simulators[connection], "/_faults"))

    def staff_works(self, connection: str, *, by_itself: bool) -> None:
        control.post(self._simulators[connection], "/_autopilot", {"enabled": by_itself})

    def calm(self) -> None:
        """No faults, and everybody works by themselves again."""
        for connection, url in self._simulators.items():
            control.delete(url, "/_faults")
            self.staff_works(connection, by_itself=True)

    # ------------------------------------------------------------------ the storefront
    def their_sku(self, sku: str) -> str:
        """What the shop calls it; a SKU that nobody mapped is its own name."""
        article = self.spec.articles.get(sku)
        return article.codes.get(self.shop, sku) if article else sku

    def place(self, buyer: Buyer, lines: Sequence[Wanted]) -> dict[str, Any]:
        """The buyer orders at list price, with the freight and tax that the tenant's policy expects; the shop's own order document."""
        address = buyer.address
        freight, method = self._freight(lines)
        rates = self.spec.tax.rates
        rate = rates.get(f"{address.country}-{address.region}", rates.get(address.country, Decimal(0)))
        order: dict[str, Any] = self.act(
            self.shop,
            "place_order",
            customer={"email": buyer.email},
            lines=[{"sku": self.their_sku(line.sku), "quantity": line.quantity} for line in lines],
            shipping_address={
                "company": buyer.name,
                "address1": address.address1,
                "city": address.city,
                "zip": address.postal_code,
                "province_code": address.region,
                "country_code": address.country,
            },
            shipping_price=f"{freight:.2f}",
            shipping_title=method,
            tax=[{"rate": f"{rate / 100}"}],
        )
        return order

    def _freight(self, lines: Sequence[Wanted]) -> tuple[Decimal, str]:
        meant = {item.sku: item.means for item in self.world.unmapped}
        goods = sum((self.world.list_prices[meant.get(line.sku, line.sku)] * line.quantity for line in lines), Decimal(0))
        method, charge = next(iter(self.spec.freight.charges.items()), ("Standard freight", Decimal(0)))
        free_from = self.spec.freight.free_from
        return (Decimal(0) if free_from is not None and goods >= free_from else charge), method

    def order_id(self, placed: Mapping[str, Any]) -> str:
        """Our id of the shop's order."""
        return f"{self.shop}-{placed['id']}"

    def shop_order(self, order_id: str) -> dict[str, Any]:
        number = order_id.removeprefix(f"{self.shop}-")
        return next((order for order in self.state(self.shop)["orders"] if str(order["id"]) == number), {})

    def tracking_in_shop(self, order_id: str) -> list[str]:
        """The tracking numbers that the shop shows its customer."""
        number = order_id.removeprefix(f"{self.shop}-")
        found = [fulfillment for fulfillment in self.state(self.shop)["fulfillments"] if str(fulfillment.get("order_id")) == number]
        return [tracking for fulfillment in found for tracking in (fulfillment.get("tracking_numbers") or [])]

    def webhook(self, topic: str, body: bytes, event_id: str, attempts: int = 6) -> list[int]:
        """Post what the shop would have posted, again until it is taken, as a sender does; the HTTP status of each attempt (0: no answer)."""
        contract = self.stack.services.connectors.manifest(self.shop).webhooks
        if contract is None:
            raise NotSeen(f"{self.shop} takes no webhooks")
        hook = self._webhooks[self.shop]
        statuses: list[int] = []
        while len(statuses) < attempts and 200 not in statuses:
            try:
                statuses.append(control.send("POST", hook["url"], body, signed(contract, hook["secret"], topic, body, event_id)).status)
            except control.ControlFailed:
                statuses.append(0)
        return statuses

    def charged(self, sku: str) -> Decimal:
        """What the shop charges for one of it."""
        return Decimal(str(next(variant["price"] for variant in self.state(self.shop)["variants"] if variant["sku"] == self.their_sku(sku))))

    # ------------------------------------------------------------------ the ERP
    def erp_numbers(self, order_id: str) -> set[str]:
        """The numbers of every sales order there ever was for ours: open ones, and those that postings name."""
        held = self.state(self.erp)
        open_ones = {str(order["number"]) for order in held["salesOrders"] if order.get("externalDocumentNumber") == order_id}
        posted = {str(document["orderNumber"]) for kind in ("salesShipments", "salesInvoices") for document in held[kind] if document.get("externalDocumentNumber") == order_id}
        return {number for number in open_ones | posted if number}

    def open_in_erp(self, order_id: str) -> list[dict[str, Any]]:
        return [order for order in self.state(self.erp)["salesOrders"] if order.get("externalDocumentNumber") == order_id]

    def invoices(self, order_id: str) -> list[dict[str, Any]]:
        """The posted invoices."""
        return [invoice for invoice in self.state(self.erp)["salesInvoices"] if invoice.get("externalDocumentNumber") == order_id]

    # ------------------------------------------------------------------ the 3PL
    def at_threepl(self, order_id: str) -> list[dict[str, Any]]:
        return [order for order in self.state(self.threepl)["orders"] if str(order.get("reference_id", "")).startswith(f"{order_id}.")]

    # ------------------------------------------------------------------ /v1
    def v1(self, path: str) -> Any:
        """The JSON of a GET on /v1; None for 404."""
        reply = control.send("GET", f"{self._api}/v1/{path}", headers={"x-api-key": self._key})
        if reply.status == 404:
            return None
        if reply.status != 200:
            raise NotSeen(f"GET /v1/{path} answered {reply.status}: {reply.body[:300].decode(errors='replace')}")
        return reply.json()

    def order(self, order_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.v1(f"orders/{order_id}") or {}
        return found

    def reaches(self, order_id: str, *statuses: str, within: float = 120) -> dict[str, Any]:
        """The order as /v1 shows it once it is in one of the statuses. Raises NotSeen, with its open exceptions."""

        def look() -> dict[str, Any] | None:
            found = self.order(order_id)
            return found if found.get("status") in statuses else None

        return until(look, f"{order_id} {' or '.join(statuses)}", within=within, instead=lambda: self._standing(order_id))

    def _standing(self, order_id: str) -> str:
        found = self.order(order_id)
        problems = [f"{record['code']}: {record['detail']}" for record in self.exceptions(order_id)]
        return f"{found.get('status', 'unknown to /v1')}" + (f", {'; '.join(problems)}" if problems else "")

    def exceptions(self, order_id: str) -> list[dict[str, Any]]:
        """Open exceptions about the order, or about a delivery that has not become it."""
        number = order_id.removeprefix(f"{self.shop}-")
        listed = (self.v1("exceptions?limit=500") or {}).get("exceptions", [])
        return [record for record in listed if record.get("order_id") == order_id or record.get("subject") == order_id or number in json.dumps(record)]

    def actions(self, order_id: str) -> list[str]:
        """What the order's timeline says happened, in order."""
        return [str(entry["action"]) for entry in (self.v1(f"orders/{order_id}/timeline") or {}).get("entries", [])]

    def available(self, sku: str) -> Decimal:
        """How much of it can be promised, over all locations, as /v1 tells."""
        return Decimal(str((self.v1(f"inventory/{sku}") or {})["available"]))

    def committed(self, skus: Sequence[str]) -> dict[str, Decimal]:
        """How much of each SKU is committed, over all locations, as /v1 tells."""
        found = {sku: self.v1(f"inventory/{sku}") or {} for sku in skus}
        return {sku: sum((Decimal(str(place["committed"])) for place in each.get("locations", [])), Decimal(0)) for sku, each in found.items()}


def signed(contract: WebhookContract, secret: str, topic: str, body: bytes, event_id: str) -> dict[str, str]:
    """The headers of a webhook as its sender signs it (HMAC over the raw body)."""
    mac = hmac.new(secret.encode(), body, hashlib.sha256)
    signature = mac.hexdigest() if contract.signature.encoding == "hex" else base64.b64encode(mac.digest()).decode()
    headers = {contract.signature.signature_header: signature, contract.delivery_id_header: event_id}
    if contract.event_id_header:
        headers[contract.event_id_header] = event_id
    if contract.topic_header:
        headers[contract.topic_header] = topic
    return headers
