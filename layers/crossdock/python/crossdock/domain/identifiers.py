"""Which kinds of identifier are there, so that two of different meaning are never mixed up?"""

from __future__ import annotations

from typing import Annotated, NewType

from pydantic import StringConstraints

TenantId = NewType("TenantId", str)
ConnectionName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
OrderId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,78}$")]
ReturnId = Annotated[str, StringConstraints(pattern=r"^RMA-[A-Za-z0-9_-]{1,74}$")]
"""Told apart from an order id by its capitals: connections are written small."""
DeliveryId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,200}$")]
LineId = Annotated[str, StringConstraints(min_length=1, max_length=80)]
Sku = Annotated[str, StringConstraints(min_length=1, max_length=120)]
LocationCode = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,40}$")]
PartId = Annotated[str, StringConstraints(min_length=1, max_length=80)]
ShipmentId = Annotated[str, StringConstraints(min_length=1, max_length=160)]
UnitCode = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{1,10}$")]
CurrencyCode = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
ExternalId = Annotated[str, StringConstraints(min_length=1, max_length=200)]
