"""Which orders are there, how far is each, and what happened to it?"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from crossdock.domain.audit import AuditEntry, broken_links
from crossdock.domain.order_record import OrderRecord, OrderStatus
from crossdock.flows import views
from local.cli.options import NotOk, on_stack
from local.cli.rendering import Screen
from local.cli.stack import Stack

app = typer.Typer()

OrderId = Annotated[str, typer.Argument(help="Our order id (storefront-1001...), or the number people use (#1001).")]


@app.command("list")
@on_stack
def list_orders(
    stack: Stack,
    screen: Screen,
    status: Annotated[OrderStatus | None, typer.Option("--status", help="Only orders in this status.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000)] = 50,
) -> None:
    """The newest orders first."""
    records = listed(stack, status, limit)
    screen.show([summary(record) for record in records], lambda: draw_list(screen, records))


def listed(stack: Stack, status: OrderStatus | None, limit: int) -> list[OrderRecord]:
    """Open and closed orders together, the newest first."""
    # With a status asked for, the newest of the others must not use up the limit.
    fetch = limit if status is None else 10_000
    found = [*stack.services.orders.listed(closed=False, limit=fetch), *stack.services.orders.listed(closed=True, limit=fetch)]
    wanted = [record for record in found if status is None or record.status is status]
    return sorted(wanted, key=lambda record: record.accepted_at, reverse=True)[:limit]


def summary(record: OrderRecord) -> dict[str, Any]:
    """The line that an order has in a list."""
    return {
        **views.summary(record),
        "parts": [{"part_id": part.plan.part_id, "location": part.plan.location, "status": part.status.value} for part in record.parts],
        "sales_order": record.sales_order.number if record.sales_order else None,
        "invoices": [booked.invoice_number for booked in record.shipments if booked.invoice_number],
    }


def draw_list(screen: Screen, records: list[OrderRecord]) -> None:
    rows = []
    for record in records:
        line = summary(record)
        parts = ", ".join(f"{part['location']} {part['status']}" for part in line["parts"])
        rows.append(
            (
                line["order_id"],
                line["number"],
                line["status"],
                str(record.order.total) if record.order else "",
                line["account"],
                parts,
                line["sales_order"],
                line["invoices"],
                len(line["open_exceptions"]) or "",
            )
        )
    screen.table("orders", ["order", "number", "status", "total", "account", "parts", "ERP order", "invoices", "exceptions"], rows, empty="none")


def find(stack: Stack, name: str) -> OrderRecord:
    """The order by its id or by the number people use. Raises NotOk when there is none."""
    record = stack.services.orders.get(name) if not name.startswith("#") else None
    if record is not None:
        return record
    numbers = {name, f"#{name}"}
    found = [each for each in stack.services.orders.every() if each.order is not None and (each.order.number in numbers or each.order.external_id == name)]
    if len(found) > 1:
        raise NotOk(f"several orders are called {name}: {', '.join(each.order_id for each in found)}")
    if not found:
        raise NotOk(f"there is no order {name}: see `crossdock orders list`, and `crossdock exceptions list` for what has not become an order")
    return found[0]


@app.command("show")
@on_stack
def show(stack: Stack, screen: Screen, order_id: OrderId) -> None:
    """How far an order is: lines, parts, shipments, documents, what is open."""
    record = find(stack, order_id)
    screen.show(views.order(record), lambda: draw(screen, record))


def draw(screen: Screen, record: OrderRecord) -> None:
    """Everything about one order."""
    order = record.order
    facts: dict[str, object] = {"status": record.status, "accepted": record.accepted_at, "account": record.account}
    if order is not None:
        place = order.ship_to
        facts |= {
            "number": order.number,
            "ship to": f"{place.name}, {place.city}, {place.region} {place.country}",
            "total": str(order.total),
            "freight": f"{order.freight} {order.shipping_method}",
        }
    if record.sales_order is not None:
        facts |= {"ERP order": record.sales_order.number, "ERP total": str(record.sales_order.total or "")}
    if record.waiting is not None:
        facts["waits for"] = f"{record.waiting.step.value} since {record.waiting.since:%Y-%m-%d %H:%M:%S}"
    if record.cancel_requested_at is not None:
        facts["cancelled"] = f"{record.cancel_requested_at:%Y-%m-%d %H:%M:%S} {record.cancel_reason}"
    facts["open exceptions"] = record.open_exceptions
    screen.facts(record.order_id, facts)
    if order is not None:
        screen.table(
            "lines",
            ["line", "SKU", "quantity", "unit price", "net", "tax"],
            [(line.line_id, line.sku, str(line.quantity), str(line.unit_price), str(line.net), str(line.tax)) for line in order.lines],
        )
    screen.table(
        "parts",
        ["part", "location", "by", "status", "their number", "acknowledged", "lines"],
        [
            (
                part.plan.part_id,
                part.plan.location,
                part.plan.connection,
                part.status,
                part.external_id,
                part.acknowledged_at,
                ", ".join(f"{line.quantity} {line.sku}" for line in part.plan.lines),
            )
            for part in record.parts
        ],
        empty="none yet",
    )
    screen.table(
        "shipments",
        ["shipment", "from", "tracking", "told the storefront", "invoice", "late"],
        [
            (
                booked.shipment.shipment_id,
                booked.location,
                [package.tracking_number for package in booked.shipment.packages],
                booked.confirmed,
                booked.invoice_number,
                booked.late,
            )
            for booked in record.shipments
        ],
        empty="none yet",
    )


@app.command("trace")
@on_stack
def trace(stack: Stack, screen: Screen, order_id: OrderId) -> None:
    """What happened, step by step, with every system's document numbers; exit code 1 if the record was tampered with."""
    record = find(stack, order_id)
    entries = stack.services.audit.entries(record.order_id)
    broken = broken_links(entries)
    found = {
        "order_id": record.order_id,
        "status": record.status.value,
        "documents": documents(record),
        **views.timeline(entries),
    }
    screen.show(found, lambda: draw_trace(screen, record, entries, broken))
    if broken:
        raise NotOk("")


def documents(record: OrderRecord) -> list[dict[str, str]]:
    """What each system calls its part of the order."""
    found: list[dict[str, str]] = []

    def note(system: str, kind: str, number: str | None) -> None:
        if number:
            found.append({"system": system, "document": kind, "number": number})

    if record.order is not None:
        note(record.source, "order", f"{record.order.number} ({record.order.external_id})")
    if record.sales_order is not None:
        note("erp", "sales order", record.sales_order.number)
    for part in record.parts:
        note(part.plan.connection, f"fulfilment of part {part.plan.part_id}", part.external_id)
    for booked in record.shipments:
        note(booked.shipment.connection, f"shipment of part {booked.part_id}", booked.shipment.external_id)
        for package in booked.shipment.packages:
            note(package.carrier or booked.shipment.connection, "tracking", package.tracking_number)
        note("erp", f"invoice of shipment {booked.shipment.shipment_id}", booked.invoice_number)
    return found


def draw_trace(screen: Screen, record: OrderRecord, entries: list[AuditEntry], broken: list[str]) -> None:
    """The timeline as a table."""
    screen.table(
        f"timeline of {record.order_id} ({record.status.value})",
        ["#", "at", "who", "what", "in words"],
        [(entry.sequence, f"{entry.at:%H:%M:%S.%f}"[:-3], entry.actor, entry.action, entry.summary) for entry in entries],
        empty="nothing on record",
    )
    screen.table(
        "documents",
        ["system", "document", "number"],
        [(line["system"], line["document"], line["number"]) for line in documents(record)],
        empty="none yet",
    )
    screen.write("the record is whole: every entry follows the one before it" if not broken else "THE RECORD WAS CHANGED: " + "; ".join(broken))
