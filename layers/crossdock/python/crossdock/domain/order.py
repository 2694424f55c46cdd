"""What has a customer ordered?"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from crossdock.domain.address import Address
from crossdock.domain.customer import Customer
from crossdock.domain.identifiers import ConnectionName, CurrencyCode, ExternalId, LineId, OrderId, Sku
from crossdock.domain.model import Instant, Model, Name, Text
from crossdock.domain.money import Money
from crossdock.domain.quantity import Quantity


class OrderLine(Model):
    """One ordered item. All amounts are net of tax; ``discount`` is the whole line's, positive."""

    line_id: LineId
    external_id: ExternalId
    """The sender's own id of the line, needed to confirm its shipment."""
    sku: Sku
    description: Text = ""
    quantity: Quantity
    unit_price: Money
    discount: Money
    tax: Money
    requires_shipping: bool = True
    group: Name | None = None
    """Lines of one group are never split over shipments (kits, matched sets)."""

    @property
    def net(self) -> Money:
        return self.unit_price * self.quantity.value - self.discount


class Order(Model):
    """An order as accepted from one connection; the storefront's totals are kept as it states them."""

    order_id: OrderId
    connection: ConnectionName
    external_id: ExternalId
    number: Name
    """The number people use (``#1001``)."""
    placed_at: Instant
    currency: CurrencyCode
    customer: Customer
    ship_to: Address
    bill_to: Address | None = None
    lines: tuple[OrderLine, ...] = Field(min_length=1, max_length=500)
    freight: Money
    freight_tax: Money
    shipping_method: Text = ""
    total: Money
    """What the customer agreed to pay, tax and freight included."""
    purchase_order: Text = ""
    note: Text = ""
    prices_include_tax: bool = False
    source_version: Text = ""
    """Orders two versions of one order in time: the sender's own update time or sequence."""

    @model_validator(mode="after")
    def _one_currency_and_distinct_lines(self) -> Self:
        amounts = [self.freight, self.freight_tax, self.total]
        for line in self.lines:
            amounts += [line.unit_price, line.discount, line.tax]
        if any(amount.currency != self.currency for amount in amounts):
            raise ValueError(f"every amount of the order must be in {self.currency}")
        ids = [line.line_id for line in self.lines]
        if len(ids) != len(set(ids)):
            raise ValueError("two lines have the same line_id")
        return self

    @property
    def goods(self) -> Money:
        return Money.sum((line.net for line in self.lines), self.currency)

    @property
    def tax(self) -> Money:
        return Money.sum((line.tax for line in self.lines), self.currency) + self.freight_tax

    @property
    def computed_total(self) -> Money:
        return self.goods + self.freight + self.tax

    def line(self, line_id: str) -> OrderLine:
        return next(line for line in self.lines if line.line_id == line_id)
