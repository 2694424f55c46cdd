"""What does somebody who asks see of an order, a shipment, stock or an exception? Plain JSON, the same for /v1 and the command line."""

from __future__ import annotations

from typing import Any

from crossdock.domain.audit import AuditEntry, broken_links
from crossdock.domain.catalog import CatalogRecord
from crossdock.domain.exception_record import ExceptionRecord
from crossdock.domain.model import plain, rfc3339
from crossdock.domain.order_record import BookedShipment, OrderRecord
from crossdock.domain.return_record import ReturnRecord
from crossdock.domain.stock import StockLevel
from crossdock.domain.tenant import Article
from crossdock.flows import stock
from crossdock.flows.prices import list_price
from crossdock.flows.services import Services


def summary(record: OrderRecord) -> dict[str, Any]:
    return {
        "order_id": record.order_id,
        "number": record.order.number if record.order else None,
        "status": record.status.value,
        "source": record.source,
        "account": record.account,
        "total": record.order.total.as_json() if record.order else None,
        "accepted_at": rfc3339(record.accepted_at),
        "updated_at": rfc3339(record.updated_at),
        "completed_at": rfc3339(record.completed_at) if record.completed_at else None,
        "open_exceptions": list(record.open_exceptions),
    }


def order(record: OrderRecord) -> dict[str, Any]:
    """The canonical order with where it stands: parts, shipments, documents in other systems, holds."""
    document: dict[str, Any] = record.order.as_json() if record.order else {}
    return {
        **document,
        **summary(record),
        "parts": [
            {
                "part_id": part.plan.part_id,
                "location": part.plan.location,
                "connection": part.plan.connection,
                "status": part.status.value,
                "external_id": part.external_id,
                "lines": [line.as_json() for line in part.plan.lines],
                "shipped": {line_id: plain(quantity) for line_id, quantity in part.shipped.items()},
                "acknowledged_at": rfc3339(part.acknowledged_at) if part.acknowledged_at else None,
                "ship_by": rfc3339(part.ship_by) if part.ship_by else None,
            }
            for part in record.parts
        ],
        "reserved": [line.as_json() for line in record.reserved],
        "sales_order": record.sales_order.as_json() if record.sales_order else None,
        "shipments": [shipment(record, booked) for booked in record.shipments],
        "approvals": [approval.as_json() for approval in record.approvals],
        "waiting_for": record.waiting.step.value if record.waiting and record.waiting.answer is None else None,
        "cancel_requested_at": rfc3339(record.cancel_requested_at) if record.cancel_requested_at else None,
        "cancel_reason": record.cancel_reason or None,
        "due_at": rfc3339(record.due_at) if record.due_at else None,
    }


def shipment(record: OrderRecord, booked: BookedShipment) -> dict[str, Any]:
    return {
        "shipment_id": booked.shipment.shipment_id,
        "order_id": record.order_id,
        "part_id": booked.part_id,
        "location": booked.location,
        "lines": [line.as_json() for line in booked.lines],
        "packages": [package.as_json() for package in booked.shipment.packages],
        "dispatched_at": rfc3339(booked.shipment.dispatched_at),
        "confirmed": booked.confirmed,
        "invoice_number": booked.invoice_number,
        "late": booked.late,
    }


def timeline(entries: list[AuditEntry]) -> dict[str, Any]:
    broken = broken_links(entries)
    return {"entries": [entry.as_json() for entry in entries], "chain": {"whole": not broken, "problems": broken, "head": entries[-1].hash if entries else None}}


LEDGER = 20
"""Entries of each location that are shown."""


def inventory(sku: str, levels: list[StockLevel], services: Services) -> dict[str, Any]:
    """What can be promised per location, per sales channel and in all, in the SKU's base unit; and what changed what is on hand, the newest first."""
    locations = {level.location for level in levels} | ({*services.spec.locations} if services.spec.articles.get(sku, Article()).components else set())
    return {
        "sku": sku,
        "available": plain(stock.free_of(levels)),
        "locations": [
            {
                "location": level.location,
                "on_hand": plain(level.on_hand),
                "committed": plain(level.committed),
                "safety": plain(level.safety),
                "available": plain(level.available),
                "expected": plain(level.expected),
                "expected_at": rfc3339(level.expected_at) if level.expected_at else None,
                "source": level.source,
                "as_of": rfc3339(level.as_of) if level.as_of else None,
                "sequence": level.changes,
                "late": level.late,
                "duplicates": level.duplicates,
                "ledger": [entry.model_dump(mode="json", exclude_none=True, exclude={"sku", "location"}) for entry in services.stock.ledger(sku, level.location, limit=LEDGER)],
            }
            for level in levels
        ],
        "channels": [
            {"connection": connection, "location": location, "available": plain(figure), "told": services.cursors.get(f"published#{connection}#{sku}@{location}")}
            for location in sorted(locations & set(services.spec.locations))
            for connection in stock.channels(location, services)
            if (figure := stock.available(sku, location, connection, services)) is not None
        ],
    }


def prices(record: CatalogRecord, services: Services) -> dict[str, Any]:
    """What a SKU costs whom: what counts, what waits for approval, what was refused, and what each sales channel shows of it."""
    listed = list_price(record, services)
    return {
        "sku": record.sku,
        "product": record.product.as_json() if record.product else None,
        "list_price": listed.price.as_json() if listed else None,
        "stale": record.stale,
        "prices": [
            {
                "price": key,
                "about": next((told.value.about for told in (governed.standing, governed.proposed, governed.refused) if told is not None), key),
                "counts": governed.standing.as_json() if governed.standing else None,
                "waits_for_approval": governed.proposed.as_json() if governed.proposed else None,
                "refused": governed.refused.as_json() if governed.refused else None,
                "stale": governed.stale,
            }
            for key, governed in sorted(record.prices.items())
        ],
        "shown": {connection: shown.as_json() for connection, shown in sorted(record.shown.items())},
    }


def return_(record: ReturnRecord) -> dict[str, Any]:
    """What was asked for, what was agreed and came, and what was done about it in each system."""
    return {
        "return_id": record.return_id,
        "number": record.request.number,
        "order_id": record.order_id,
        "status": record.status.value,
        "source": record.source,
        "storefront": record.storefront,
        "location": record.location,
        "requested_at": rfc3339(record.request.requested_at),
        "requested": [line.as_json() for line in record.request.lines],
        "exchange": [line.as_json() for line in record.request.exchange],
        "lines": [{"line_id": line.line_id, "sku": line.sku, "quantity": plain(line.quantity), "reason": line.reason} for line in record.lines],
        "receipts": [receipt.as_json() for receipt in record.receipts],
        "settled": [line.as_json() for line in record.settled],
        "value": record.value.as_json() if record.value else None,
        "credit_memo": record.credit_memo.as_json() if record.credit_memo else None,
        "refunded": record.refunded.as_json() if record.refunded else None,
        "exchange_order": record.exchange_order,
        "storefront_id": record.storefront_id,
        "warehouse_id": record.warehouse_id,
        "approvals": [approval.as_json() for approval in record.approvals],
        "ending_reason": record.ending_reason or None,
        "waiting_for": record.waiting.step.value if record.waiting and record.waiting.answer is None else None,
        "authorised_at": rfc3339(record.authorised_at) if record.authorised_at else None,
        "expected_by": rfc3339(record.expected_by) if record.expected_by else None,
        "updated_at": rfc3339(record.updated_at),
        "closed_at": rfc3339(record.closed_at) if record.closed_at else None,
    }


def exception(record: ExceptionRecord) -> dict[str, Any]:
    return record.model_dump(mode="json", exclude_none=True, exclude={"version"})


def find_shipment(shipment_id: str, services: Services) -> dict[str, Any] | None:
    known = services.orders.referred("shipment", shipment_id)
    record = services.orders.get(known[0]) if known else None
    booked = record.shipment(shipment_id) if record else None
    return shipment(record, booked) if record and booked else None
