"""What exactly is a system told? Each command is made from the order's record at the moment it is delivered."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from crossdock.domain.commands import (
    AllocatedLine,
    CancelFulfillment,
    CancelOrder,
    CancelSalesOrder,
    ConfirmShipment,
    CreateSalesOrder,
    Intent,
    InvoicedLine,
    MovedLine,
    MoveSalesOrderLines,
    PostInvoice,
    ReleaseFulfillment,
)
from crossdock.domain.errors import NeedsPerson
from crossdock.domain.messages import OutboundMessage
from crossdock.domain.money import Money
from crossdock.domain.order_record import BookedShipment, OrderRecord, Part
from crossdock.flows.services import Services


def _part(message: OutboundMessage, record: OrderRecord) -> Part:
    part = record.part(message.part_id or "")
    if part is None:
        raise NeedsPerson("PART_UNKNOWN", f"order {record.order_id} has no part {message.part_id}", remedy="discard the message: the order was planned anew")
    return part


def _sales_order_id(record: OrderRecord) -> str:
    if record.sales_order is None:
        raise NeedsPerson("SALES_ORDER_MISSING", f"order {record.order_id} has no sales order in the ERP yet", remedy="retry its CreateSalesOrder first")
    return record.sales_order.external_id


def line_key(line_id: str, location: str) -> str:
    """Under which a receipt names the other system's line: a split line has one per location."""
    return f"{line_id}@{location}"


def _create_sales_order(message: OutboundMessage, record: OrderRecord, services: Services) -> Intent:
    order, erp = record.placed, message.connection
    lines: list[AllocatedLine] = []
    shares: dict[str, list[tuple[str, Decimal]]] = {}
    for part in (part for part in record.parts if not part.rerouted):
        for planned in part.plan.lines:
            shares.setdefault(planned.line_id, []).append((part.plan.location, planned.quantity.value))
    for line in (line for line in order.lines if line.quantity.value > 0):
        home = shares.get(line.line_id) or [(next(iter(services.spec.locations)), line.quantity.value)]
        given = Money.zero(order.currency)
        for index, (location, quantity) in enumerate(home):
            last = index == len(home) - 1
            share = Money(amount=line.discount.amount * quantity / line.quantity.value, currency=order.currency).rounded()
            discount = line.discount - given if last else share
            given = given + discount
            lines.append(
                AllocatedLine(
                    line_id=line.line_id,
                    sku=line.sku,
                    erp_sku=services.xref.their_sku(erp, line.sku),
                    erp_unit=services.xref.their_unit(erp, line.quantity.unit),
                    quantity=quantity,
                    unit_price=line.unit_price,
                    discount=discount,
                    location=location,
                    location_code=services.xref.their_location(erp, location),
                    description=line.description[:100],
                )
            )
    return CreateSalesOrder(order=order, account=record.account or order.customer.account or "", lines=tuple(lines))


def _release_fulfillment(message: OutboundMessage, record: OrderRecord, services: Services) -> Intent:
    part = _part(message, record)
    return ReleaseFulfillment(
        order=record.placed,
        part=part.plan,
        location_code=services.xref.their_location(message.connection, part.plan.location),
        skus={line.sku: services.xref.their_sku(message.connection, line.sku) for line in part.plan.lines},
        sales_order_id=record.sales_order.external_id if record.sales_order else None,
    )


def _cancel_fulfillment(message: OutboundMessage, record: OrderRecord, services: Services) -> Intent:
    part = _part(message, record)
    if part.external_id is None:
        raise NeedsPerson("PART_UNKNOWN", f"part {part.plan.part_id} was never released", remedy="discard the message")
    return CancelFulfillment(order_id=record.order_id, part_id=part.plan.part_id, external_id=part.external_id)


def _move_sales_order_lines(message: OutboundMessage, record: OrderRecord, services: Services) -> Intent:
    part = _part(message, record)
    if part.moves_to is None:
        raise NeedsPerson("PART_UNKNOWN", f"part {part.plan.part_id} goes nowhere else", remedy="discard the message")
    known = record.sales_order.line_ids if record.sales_order else {}
    return MoveSalesOrderLines(
        order_id=record.order_id,
        part_id=part.moves_to.part_id,
        sales_order_id=_sales_order_id(record),
        location_code=services.xref.their_location(message.connection, part.moves_to.location),
        lines=tuple(
            MovedLine(line_id=line.line_id, erp_line_id=known.get(line_key(line.line_id, part.plan.location), ""), quantity=line.quantity.value) for line in part.plan.lines
        ),
    )


def _cancel_sales_order(message: OutboundMessage, record: OrderRecord, services: Services) -> Intent:
    return CancelSalesOrder(order_id=record.order_id, external_id=_sales_order_id(record))


def _booked(message: OutboundMessage, record: OrderRecord) -> BookedShipment:
    return record.find_booked(message.shipment_id or "")


def _confirm_shipment(message: OutboundMessage, record: OrderRecord, services: Services) -> Intent:
    booked = _booked(message, record)
    order = record.placed
    return ConfirmShipment(
        order_id=record.order_id,
        order_external_id=order.external_id,
        shipment=booked.shipment,
        lines=tuple((order.line(line.line_id).external_id, line.quantity) for line in booked.lines),
    )


def _post_invoice(message: OutboundMessage, record: OrderRecord, services: Services) -> Intent:
    booked = _booked(message, record)
    done: dict[tuple[str, str], Decimal] = {}
    for other in record.shipments:
        if other.invoice_number is not None and other.shipment.shipment_id != booked.shipment.shipment_id:
            for line in other.lines:
                done[line.line_id, other.location] = done.get((line.line_id, other.location), Decimal(0)) + line.quantity
    sales_order = record.sales_order
    return PostInvoice(
        order_id=record.order_id,
        sales_order_id=_sales_order_id(record),
        sales_order_number=sales_order.number if sales_order else "",
        shipment_id=booked.shipment.shipment_id,
        shipment_external_id=booked.shipment.external_id,
        lines=tuple(
            InvoicedLine(
                line_id=line.line_id,
                location=booked.location,
                quantity=line.quantity,
                invoiced_before=done.get((line.line_id, booked.location), Decimal(0)),
                erp_line_id=sales_order.line_ids.get(line_key(line.line_id, booked.location), "") if sales_order else "",
            )
            for line in booked.lines
        ),
        already_shipped=booked.shipment.connection == message.connection,
        dispatched_at=booked.shipment.dispatched_at,
    )


def _cancel_order(message: OutboundMessage, record: OrderRecord, services: Services) -> Intent:
    return CancelOrder(order_id=record.order_id, external_id=record.placed.external_id, reason=record.cancel_reason or "cancelled")


_MAKERS: dict[str, Callable[[OutboundMessage, OrderRecord, Services], Intent]] = {
    "CreateSalesOrder": _create_sales_order,
    "ReleaseFulfillment": _release_fulfillment,
    "CancelFulfillment": _cancel_fulfillment,
    "CancelSalesOrder": _cancel_sales_order,
    "MoveSalesOrderLines": _move_sales_order_lines,
    "ConfirmShipment": _confirm_shipment,
    "PostInvoice": _post_invoice,
    "CancelOrder": _cancel_order,
}


def intent_of(message: OutboundMessage, record: OrderRecord, services: Services) -> Intent:
    """The command's content. ``NeedsPerson`` when the record cannot give it (missing cross-reference, unknown part)."""
    maker = _MAKERS.get(message.command)
    if maker is None:
        raise NeedsPerson("UNKNOWN_COMMAND", f"there is no command {message.command!r}", remedy="discard the message")
    return maker(message, record, services)
