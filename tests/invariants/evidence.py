"""What can be seen of the system when it has come to rest? Plain data from the public doors; the invariants are judged over it."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

Document = dict[str, Any]

OVER = frozenset({"completed", "cancelled"})


@dataclass(frozen=True)
class Level:
    """Stock of one SKU at one location, as ``/v1/inventory`` tells it."""

    on_hand: Decimal
    committed: Decimal
    safety: Decimal
    as_of: str | None
    """Of the last absolute count; a new one starts a new account."""


@dataclass(frozen=True)
class Letter:
    """A dead letter, as ``crossdock dlq peek`` tells it."""

    queue: str
    subject: str
    code: str | None
    exception_id: str | None


@dataclass
class Evidence:
    """One tenant at rest."""

    orders: dict[str, Document] = field(default_factory=dict)
    """By order id, as ``/v1/orders/{id}`` answers."""
    timelines: dict[str, Document] = field(default_factory=dict)
    """By order id: ``entries`` and ``chain``, as ``/v1/orders/{id}/timeline`` answers."""
    exceptions: list[Document] = field(default_factory=list)
    """Open ones."""
    balance: Document = field(default_factory=dict)
    dead_letters: list[Letter] = field(default_factory=list)
    levels_before: dict[str, Level] = field(default_factory=dict)
    """By SKU@location, before the fault."""
    levels: dict[str, Level] = field(default_factory=dict)
    shipped_before: dict[str, Decimal] = field(default_factory=dict)
    """By SKU@location, in base units, of all orders before the fault."""
    erp: Document = field(default_factory=dict)
    threepl: Document = field(default_factory=dict)
    storefront: Document = field(default_factory=dict)
    neighbour_before: dict[str, str] = field(default_factory=dict)
    """Digest of each thing the other tenant holds."""
    neighbour: dict[str, str] = field(default_factory=dict)
    log_lines: list[tuple[str, str]] = field(default_factory=list)
    """(log, line)."""
    secrets: dict[str, str] = field(default_factory=dict)
    """What must be in no log, by a name that may be told."""

    # -------------------------------------------------------------- what the partners hold

    def sales_orders(self, order_id: str) -> set[str]:
        """Numbers of the sales orders that the ERP has or had for the order: standing ones, and those that left their shipment."""
        standing = {str(document["number"]) for document in self.erp.get("salesOrders", []) if document.get("externalDocumentNumber") == order_id}
        return standing | {str(document["orderNumber"]) for document in self.erp.get("salesShipments", []) if document.get("externalDocumentNumber") == order_id}

    def invoices(self, order_id: str) -> list[str]:
        return [str(document["number"]) for document in self.erp.get("salesInvoices", []) if document.get("externalDocumentNumber") == order_id]

    def fulfilment_orders(self, order_id: str) -> list[str]:
        """References (part ids) of the 3PL's orders for the order."""
        return [str(document["reference_id"]) for document in self.threepl.get("orders", []) if str(document.get("reference_id", "")).startswith(f"{order_id}.")]

    def confirmations(self, order_id: str) -> list[Document]:
        """Fulfilments that the shop shows for the order."""
        return [found for shown in self.storefront.get("orders", []) if f"storefront-{shown['id']}" == order_id for found in shown.get("fulfillments", [])]


def shipped(orders: dict[str, Document]) -> dict[str, Decimal]:
    """Base units that have left, by SKU@location."""
    found: dict[str, Decimal] = {}
    for order in orders.values():
        for part in order.get("parts") or []:
            gone = {line_id: Decimal(quantity) for line_id, quantity in (part.get("shipped") or {}).items()}
            for line in part["lines"]:
                factor = Decimal(line["base_quantity"]) / Decimal(line["quantity"]["value"])
                position = f"{line['sku']}@{part['location']}"
                found[position] = found.get(position, Decimal(0)) + gone.get(line["line_id"], Decimal(0)) * factor
    return found


def outstanding(orders: dict[str, Document]) -> dict[str, Decimal]:
    """Base units that are reserved and have neither left nor been given back, by SKU@location."""
    found: dict[str, Decimal] = {}
    for order in orders.values():
        if order["status"] in OVER:
            continue
        for line in order.get("reserved") or []:
            position = f"{line['sku']}@{line['location']}"
            found[position] = found.get(position, Decimal(0)) + Decimal(line["quantity"])
        for position, quantity in shipped({"": order}).items():
            found[position] = found.get(position, Decimal(0)) - quantity
    return {position: quantity for position, quantity in found.items() if quantity}
