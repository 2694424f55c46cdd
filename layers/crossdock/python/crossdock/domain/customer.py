"""Who buys, and on which account?"""

from __future__ import annotations

from crossdock.domain.identifiers import ExternalId
from crossdock.domain.model import Model, Name, Text
from crossdock.domain.money import Money


class Customer(Model):
    """The buyer as the sending system knows it; ``account`` is the tenant's account number once cross-referenced.

    ``external_ids`` are every name under which the cross-reference may know the buyer, the most specific first
    (company location, company, customer id, e-mail).
    """

    account: Name | None = None
    external_ids: tuple[ExternalId, ...] = ()
    name: Text = ""
    email: Text = ""
    company: Text = ""


class CreditStanding(Model):
    """What the ERP says of an account at one moment."""

    account: Name
    limit: Money | None = None
    """None: no limit is set."""
    balance: Money
    blocked: bool = False
