"""What was billed?"""

from __future__ import annotations

from crossdock.domain.identifiers import ExternalId, OrderId, ShipmentId
from crossdock.domain.model import Instant, Model, Name
from crossdock.domain.money import Money


class Invoice(Model):
    """A posted invoice of one shipment."""

    number: Name
    external_id: ExternalId
    order_id: OrderId
    shipment_id: ShipmentId
    total: Money
    posted_at: Instant
