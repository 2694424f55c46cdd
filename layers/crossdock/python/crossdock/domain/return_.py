"""What does a customer send back, and why?"""

from __future__ import annotations

from pydantic import Field

from crossdock.domain.identifiers import ConnectionName, ExternalId, LineId, OrderId, Sku
from crossdock.domain.model import Instant, Model, Text
from crossdock.domain.quantity import Quantity


class ReturnLine(Model):
    sku: Sku
    quantity: Quantity
    line_id: LineId | None = None
    reason: Text = ""


class Return(Model):
    """A return request (RMA)."""

    return_id: ExternalId
    connection: ConnectionName
    order_id: OrderId | None = None
    requested_at: Instant
    lines: tuple[ReturnLine, ...] = Field(min_length=1)
