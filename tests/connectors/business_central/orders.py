"""Which orders and commands do these tests speak of? An order of two articles, one of them split over two locations."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from crossdock.domain.address import Address
from crossdock.domain.commands import (
    AllocatedLine,
    CancelFulfillment,
    CancelSalesOrder,
    CreateSalesOrder,
    InvoicedLine,
    MovedLine,
    MoveSalesOrderLines,
    PostInvoice,
    Receipt,
    ReleaseFulfillment,
)
from crossdock.domain.customer import Customer
from crossdock.domain.money import Money
from crossdock.domain.order import Order, OrderLine
from crossdock.domain.quantity import Quantity
from crossdock.domain.shipment import Fulfillment, PartLine

PLACED = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
ORDER_ID = "storefront-5550001"


def usd(amount: str) -> Money:
    return Money.of(amount, "USD")


def order_line(line_id: str, sku: str, quantity: str, price: str, discount: str = "0") -> OrderLine:
    return OrderLine(
        line_id=line_id,
        external_id=line_id,
        sku=sku,
        quantity=Quantity.of(quantity, "EA"),
        unit_price=usd(price),
        discount=usd(discount),
        tax=usd("0"),
    )


def order(**changes: Any) -> Order:
    values: dict[str, Any] = {
        "order_id": ORDER_ID,
        "connection": "storefront",
        "external_id": "5550001",
        "number": "#1001",
        "placed_at": PLACED,
        "currency": "USD",
        "customer": Customer(email="buyer@bolts.example"),
        "ship_to": Address(name="Ann Mason", company="Bolt & Sons", line1="1 Main St", city="Austin", region="TX", postal_code="73301", country="US"),
        "lines": (order_line("11", "AC-BOLT", "7", "10.00"), order_line("12", "AC-NUT", "3", "0.33", "0.09")),
        "freight": usd("15.50"),
        "freight_tax": usd("0"),
        "shipping_method": "Standard freight",
        "total": usd("86.40"),
    }
    return Order(**{**values, **changes})


def allocated(line_id: str, erp_sku: str, quantity: str, location: str, price: str, discount: str = "0") -> AllocatedLine:
    return AllocatedLine(
        line_id=line_id,
        sku=f"AC-{erp_sku}",
        erp_sku=erp_sku,
        erp_unit="EA",
        quantity=Decimal(quantity),
        unit_price=usd(price),
        discount=usd(discount),
        location=location,
        location_code=location,
    )


def create(placed: Order | None = None, **changes: Any) -> CreateSalesOrder:
    """4 bolts from EAST, 3 from the 3PL, 3 nuts from WEST, freight on top."""
    values: dict[str, Any] = {
        "order": placed or order(),
        "account": "C-1",
        "lines": (allocated("11", "BOLT", "4", "EAST", "10.00"), allocated("11", "BOLT", "3", "3PL", "10.00"), allocated("12", "NUT", "3", "WEST", "0.33", "0.09")),
    }
    return CreateSalesOrder(**{**values, **changes})


def release(receipt: Receipt, location: str = "EAST", sku: str = "AC-BOLT", quantity: str = "4") -> ReleaseFulfillment:
    line = PartLine(line_id="11", sku=sku, quantity=Quantity.of(quantity, "EA"), base_quantity=Decimal(quantity))
    part = Fulfillment(part_id=f"{ORDER_ID}.1", location=location, connection="erp", lines=(line,))
    return ReleaseFulfillment(order=order(), part=part, location_code=location, skus={"AC-BOLT": "BOLT", "AC-NUT": "NUT"}, sales_order_id=receipt.external_id)


def cancel_part(name: str) -> CancelFulfillment:
    return CancelFulfillment(order_id=ORDER_ID, part_id=f"{ORDER_ID}.1", external_id=name)


def move(receipt: Receipt, key: str, quantity: str, location_code: str) -> MoveSalesOrderLines:
    moved = MovedLine(line_id=key.partition("@")[0], erp_line_id=receipt.line_ids[key], quantity=Decimal(quantity))
    return MoveSalesOrderLines(order_id=ORDER_ID, part_id=f"{ORDER_ID}.4", sales_order_id=receipt.external_id, location_code=location_code, lines=(moved,))


def cancel_order(receipt: Receipt) -> CancelSalesOrder:
    return CancelSalesOrder(order_id=ORDER_ID, external_id=receipt.external_id)


def invoice(receipt: Receipt, key: str, quantity: str, *, before: str = "0", already_shipped: bool, shipment: str = "erp-PS1", erp_line_id: str | None = None) -> PostInvoice:
    line_id, _, location = key.partition("@")
    line = InvoicedLine(
        line_id=line_id,
        location=location,
        quantity=Decimal(quantity),
        invoiced_before=Decimal(before),
        erp_line_id=receipt.line_ids.get(key, "") if erp_line_id is None else erp_line_id,
    )
    return PostInvoice(
        order_id=ORDER_ID,
        sales_order_id=receipt.external_id,
        sales_order_number=receipt.number,
        shipment_id=shipment,
        lines=(line,),
        already_shipped=already_shipped,
        dispatched_at=PLACED,
    )
