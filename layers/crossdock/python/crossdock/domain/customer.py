"""Who buys, and on which account?"""

from __future__ import annotations

from crossdock.domain.governed import Governed
from crossdock.domain.identifiers import ExternalId
from crossdock.domain.model import Instant, Model, Name, Text
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


class Terms(Model):
    """On which terms an account buys. ``payment``: the owner's code of its payment terms; None where it does not say."""

    credit_limit: Money | None = None
    """None: no limit is set."""
    payment: Text | None = None
    tax_liable: bool | None = None


class Account(Model):
    """A customer's account as the owner of customer data describes it."""

    account: Name
    name: Text = ""
    blocked: bool = False
    terms: Terms = Terms()


class AccountRecord(Model):
    """The aggregate. Changed only by ``change`` through conditional writes on ``version``."""

    account: Name
    version: int = 0
    updated_at: Instant
    name: Text = ""
    blocked: bool = False
    terms: Governed[Terms] = Governed[Terms]()
