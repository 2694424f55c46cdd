"""What left which warehouse, in which packages?"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from pydantic import Field

from crossdock.domain.identifiers import ConnectionName, ExternalId, LineId, LocationCode, OrderId, PartId, ShipmentId, Sku
from crossdock.domain.model import ExactDecimal, Instant, Model, Text
from crossdock.domain.quantity import Quantity


class PartLine(Model):
    """A share of an order line that one location ships. ``quantity`` in the line's ordered unit."""

    line_id: LineId
    sku: Sku
    quantity: Quantity
    base_quantity: ExactDecimal
    """The same in the SKU's base unit, as it is reserved."""
    components: dict[Sku, ExactDecimal] = Field(default_factory=dict)
    """Of a bundle: the base units of each component in the whole line, which are what is reserved of it."""

    def takes(self, base: Decimal | None = None) -> dict[Sku, Decimal]:
        """The stock that so many base units of the line (all, unless given) are made of."""
        if base is None or base == self.base_quantity:
            return dict(self.components) or {self.sku: self.base_quantity}
        if not self.components:
            return {self.sku: base}
        share = Fraction(base) / Fraction(self.base_quantity)
        return {sku: Decimal((count := Fraction(whole) * share).numerator) / count.denominator for sku, whole in self.components.items()}


class PartStatus(StrEnum):
    PLANNED = "planned"
    RELEASED = "released"
    ACKNOWLEDGED = "acknowledged"
    PARTIALLY_SHIPPED = "partially_shipped"
    SHIPPED = "shipped"
    CANCELLED = "cancelled"


class Fulfillment(Model):
    """The part of an order that one location is to ship (a *part*)."""

    part_id: PartId
    location: LocationCode
    connection: ConnectionName
    """Who works the location."""
    lines: tuple[PartLine, ...] = Field(min_length=1)


class ShippedLine(Model):
    """``line_id`` where the sender repeats our reference, else found by SKU within the part."""

    sku: Sku
    quantity: ExactDecimal
    """In the part line's ordered unit."""
    line_id: LineId | None = None


class Package(Model):
    tracking_number: Text = ""
    tracking_url: Text = ""
    carrier: Text = ""


class Shipment(Model):
    """Goods that left. ``shipment_id`` is ``{connection}-{the sender's id}``."""

    shipment_id: ShipmentId
    connection: ConnectionName
    external_id: ExternalId
    order_id: OrderId | None = None
    """Our order id where the sender repeats it."""
    part_reference: Text = ""
    """Our part id, or the sender's own id of the part (its order id), by which the part is found."""
    lines: tuple[ShippedLine, ...] = Field(min_length=1)
    packages: tuple[Package, ...] = ()
    dispatched_at: Instant
