"""Who buys, what costs how much and what lies on which shelf, before any system of the tenant names it?

`worlds/<tenant>.yaml` tells it; a tenant without that file (a new one) gets a plausible world made from its configuration.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from pydantic import Field, ValidationError

from crossdock.domain.model import ExactDecimal, Model
from crossdock.domain.tenant import TenantSpec
from infra.located_yaml import read

_WORLDS = Path(__file__).resolve().parent / "worlds"
_PLENTY = 5000


class Place(Model):
    """A postal address in the United States or Canada."""

    address1: str
    city: str
    region: str
    postal_code: str
    country: str = "US"


class Buyer(Model):
    """A customer: an account in the ERP, and who places orders for it in the storefront."""

    account: str
    name: str
    email: str
    contact: str = "Purchasing Desk"
    company_id: int | None = None
    """The storefront's id of the company; None for a buyer that has no company there."""
    credit_limit: ExactDecimal
    address: Place


class Unmapped(Model):
    """Something the storefront sells under a name that no cross-reference knows."""

    sku: str
    title: str
    means: str
    """Our SKU that it should have been."""


class World(Model):
    """The facts that every simulated system of a tenant agrees on at the start."""

    buyers: tuple[Buyer, ...] = ()
    list_prices: dict[str, ExactDecimal] = Field(default_factory=dict)
    """Our SKU: price per base unit, in the tenant's currency."""
    stock: dict[str, dict[str, int]] = Field(default_factory=dict)
    """Our SKU: location: base units on the shelf."""
    unmapped: tuple[Unmapped, ...] = ()

    def buyer(self, account: str) -> Buyer:
        """Raises KeyError for an account nobody has."""
        return next(buyer for buyer in self.buyers if buyer.account == account)


class WorldUnusable(ValueError):
    """A world file is wrong; the message names the file and every problem."""


def of(spec: TenantSpec, folder: Path = _WORLDS) -> World:
    """The tenant's world, completed where its file is silent. Raises WorldUnusable."""
    file = folder / f"{spec.tenant}.yaml"
    world = _read(file) if file.is_file() else World()
    unknown = sorted((set(world.list_prices) | set(world.stock)) - set(spec.articles))
    places = sorted({place for shelf in world.stock.values() for place in shelf} - set(spec.locations))
    if unknown or places:
        raise WorldUnusable(f"{file.name}: not in tenants/{spec.tenant}.yaml: {', '.join(unknown + places)}")
    prices = {sku: world.list_prices.get(sku, Decimal(10 + position)) for position, sku in enumerate(spec.articles)}
    stock = {sku: world.stock.get(sku, dict.fromkeys(spec.locations, _PLENTY)) for sku in spec.articles}
    return world.model_copy(update={"buyers": world.buyers or _buyers_of(spec), "list_prices": prices, "stock": stock})


def _read(file: Path) -> World:
    try:
        return World.model_validate(read(file).plain())
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(str(step) for step in item['loc'])}: {item['msg']}" for item in error.errors(include_url=False))
        raise WorldUnusable(f"{file.name}: {problems}") from error


def _buyers_of(spec: TenantSpec) -> tuple[Buyer, ...]:
    """One buyer for each account that the cross-references name."""
    known: dict[str, dict[str, str]] = {}
    for table in spec.cross_references.customers.values():
        for external, account in table.items():
            kind = "email" if "@" in external else "company" if external.startswith("gid://shopify/Company/") else "other"
            known.setdefault(account, {})[kind] = external
    for account in spec.cross_references.default_accounts.values():
        known.setdefault(account, {})
    first = next(iter(spec.locations.values()))
    address = Place(address1="100 Market Street", city="Springfield", region=first.region or "IL", postal_code="62701", country=first.country)
    return tuple(
        Buyer(
            account=account,
            name=f"Customer {account}",
            email=names.get("email", f"orders@{account.lower()}.example"),
            company_id=int(names["company"].rpartition("/")[2]) if "company" in names else None,
            credit_limit=Decimal(1_000_000),
            address=address,
        )
        for account, names in sorted(known.items())
    )
