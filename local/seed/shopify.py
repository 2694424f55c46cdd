"""What does a tenant's Shopify shop hold at the start: locations, variants with prices and stock, companies and their buyers?"""

from __future__ import annotations

import secrets
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from crossdock.domain.tenant import TenantSpec
from local.seed.world import Buyer, World

_FIRST_CUSTOMER = 7_100_001


def settings(spec: TenantSpec, connection: str, world: World) -> dict[str, Any]:
    """Configuration of the simulator: credentials, webhook secret and seed."""
    host = urlsplit(spec.connections[connection].base_url).hostname or ""
    domain = host if host.endswith(".myshopify.com") else f"{spec.tenant.replace('_', '-')}.myshopify.com"
    return {
        "credentials": {"access_token": f"shpat_{secrets.token_hex(16)}", "shop_domain": domain},
        "webhook_secret": secrets.token_hex(32),
        "seed": {
            "name": spec.title,
            "currency": spec.currency,
            "locations": [_location(spec, code, connection) for code in spec.locations if connection in spec.locations[code].codes],
            "variants": [*_variants(spec, connection, world), *_unmapped(spec, connection, world)],
            "customers": [_customer(buyer, _FIRST_CUSTOMER + position) for position, buyer in enumerate(world.buyers)],
            # A Plus shop's bucket: load runs must not measure the vendor's throttle.
            "throttle": {"maximum_available": 20000, "restore_rate": 1000},
        },
    }


def _number(code: str) -> int:
    """Shopify's numeric id, whether the tenant file spells it as a number or as a GID."""
    return int(code.rpartition("/")[2])


def _location(spec: TenantSpec, code: str, connection: str) -> dict[str, Any]:
    location = spec.locations[code]
    return {
        "id": _number(location.codes[connection]),
        "name": location.title,
        "province_code": location.region,
        "country_code": location.country,
    }


def _sku(spec: TenantSpec, sku: str, connection: str) -> str | None:
    own = spec.articles[sku].codes.get(connection)
    return own or (sku if connection in spec.cross_references.sku_same_in else None)


def _variants(spec: TenantSpec, connection: str, world: World) -> list[dict[str, Any]]:
    found = []
    for sku, article in spec.articles.items():
        name = _sku(spec, sku, connection)
        if name is not None:
            found.append(_variant(name, article.title or sku, world.list_prices[sku], _shelf(spec, connection, world.stock[sku])))
    return found


def _unmapped(spec: TenantSpec, connection: str, world: World) -> list[dict[str, Any]]:
    return [_variant(item.sku, item.title, world.list_prices[item.means], _shelf(spec, connection, world.stock[item.means])) for item in world.unmapped]


def _variant(sku: str, title: str, price: Decimal, stock: dict[str, int]) -> dict[str, Any]:
    return {"sku": sku, "title": title, "price": f"{price:.2f}", "grams": 500, "stock": stock}


def _shelf(spec: TenantSpec, connection: str, stock: dict[str, int]) -> dict[str, int]:
    """Every location that the shop knows stocks the item, if only with none of it: stock can be published to it."""
    known = {code: location.codes[connection] for code, location in spec.locations.items() if connection in location.codes}
    return {str(_number(theirs)): stock.get(code, 0) for code, theirs in known.items()}


def _customer(buyer: Buyer, number: int) -> dict[str, Any]:
    first, _, last = buyer.contact.partition(" ")
    address = buyer.address
    company = None
    if buyer.company_id is not None:
        company = {"id": buyer.company_id, "name": buyer.name, "location_id": buyer.company_id * 10 + 1, "external_id": buyer.account}
    return {
        "id": number,
        "email": buyer.email,
        "first_name": first,
        "last_name": last or "Desk",
        "company": company,
        "default_address": {
            "first_name": first,
            "last_name": last or "Desk",
            "company": buyer.name,
            "address1": address.address1,
            "city": address.city,
            "zip": address.postal_code,
            "province_code": address.region,
            "country_code": address.country,
            "country": "Canada" if address.country == "CA" else "United States",
        },
    }
