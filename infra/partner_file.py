"""What does a partner file say beside the defaults for its tenants: brand, contacts and the price book?"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from crossdock.domain.identifiers import CurrencyCode
from crossdock.domain.model import ExactDecimal, Model, Name, Text


class Contact(Model):
    """Somebody who can be reached about a partner's tenants."""

    name: Name
    email: Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$")]
    phone: Text = ""


class PriceBook(Model):
    """What the partner charges its tenants, in its own currency; usage is metered against it."""

    currency: CurrencyCode
    monthly_base: ExactDecimal
    included_orders: Annotated[int, Field(ge=0)] = 0
    per_order: ExactDecimal
    per_exception_worked: ExactDecimal
    per_connection: ExactDecimal


class PartnerFile(Model):
    """``partners/<name>.yaml`` without ``defaults`` (those are a layer of each tenant's configuration)."""

    partner: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{1,39}$")]
    title: Name
    branding: dict[str, str]
    """Validated as part of each tenant, where a tenant may complete or replace it."""
    contacts: dict[str, Contact] = Field(min_length=1)
    price_book: PriceBook
