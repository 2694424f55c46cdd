"""What does a tenant's Business Central company hold at the start: items, prices, stock, customers with credit and tax areas?"""

from __future__ import annotations

import secrets
import uuid
from typing import Any

from crossdock.domain.tenant import TenantSpec
from local.seed.world import Buyer, World

_TAXABLE = "TAXABLE"
_NOT_TAXED = "NONTAXABLE"
_FREIGHT_ACCOUNT = "44100"
_RETURNS_ACCOUNT = "44200"


def settings(spec: TenantSpec, connection: str, world: World) -> dict[str, Any]:
    """Configuration of the simulator: credentials and seed."""
    units = spec.cross_references.units.get(connection, {})
    codes = {place: location.codes[connection] for place, location in spec.locations.items() if connection in location.codes}
    return {
        "credentials": {
            "aad_tenant": f"{spec.tenant.replace('_', '-')}.example",
            "environment": "Production",
            "company_id": str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{spec.tenant}.{connection}.crossdock.example")),
            "client_id": str(uuid.uuid4()),
            "client_secret": secrets.token_urlsafe(24),
        },
        "seed": {
            "company": {"name": spec.title},
            # Postings ship and invoice exactly the quantities they are given.
            "setup": {"default_quantity_to_ship": "Blank", "local_currency": spec.currency},
            "unitsOfMeasure": [{"code": code, "displayName": code.title()} for code in (units or {"EA": "EA"})],
            "locations": [{"code": code} for code in codes.values()],
            "staff_locations": [codes[place] for place, location in spec.locations.items() if location.connection == connection],
            "taxAreas": [{"code": _area(place), "displayName": place, "rates": {_TAXABLE: f"{rate}"}} for place, rate in spec.tax.rates.items()],
            "accounts": [
                {
                    "number": spec.connections[connection].settings.get("freight_account", _FREIGHT_ACCOUNT),
                    "displayName": "Freight",
                    "taxGroupCode": _TAXABLE if spec.tax.freight_taxed else _NOT_TAXED,
                },
                {
                    "number": spec.connections[connection].settings.get("returns_account", _RETURNS_ACCOUNT),
                    "displayName": "Returned goods not restocked",
                    "taxGroupCode": _TAXABLE,
                },
            ],
            "customers": [_customer(spec, buyer) for buyer in world.buyers],
            "items": _items(spec, connection, world, units, codes),
        },
    }


def _area(place: str) -> str:
    return place.replace("-", "")[:20]


def _customer(spec: TenantSpec, buyer: Buyer) -> dict[str, Any]:
    address = buyer.address
    place = f"{address.country}-{address.region}"
    area = place if place in spec.tax.rates else address.country if address.country in spec.tax.rates else None
    customer: dict[str, Any] = {
        "number": buyer.account,
        "displayName": buyer.name,
        "email": buyer.email,
        "creditLimit": f"{buyer.credit_limit}",
        "addressLine1": address.address1,
        "city": address.city,
        "state": address.region,
        "country": address.country,
        "postalCode": address.postal_code,
    }
    if area is not None:
        customer |= {"taxLiable": True, "taxAreaCode": _area(area)}
    return customer


def _items(spec: TenantSpec, connection: str, world: World, units: dict[str, str], codes: dict[str, str]) -> list[dict[str, Any]]:
    theirs = {ours: code for code, ours in units.items()}
    found = []
    for sku, article in spec.articles.items():
        number = article.codes.get(connection) or (sku if connection in spec.cross_references.sku_same_in else None)
        if number is None:
            continue
        found.append(
            {
                "number": number,
                "displayName": article.title or sku,
                "unitPrice": f"{world.list_prices[sku]:.2f}",
                "baseUnitOfMeasureCode": theirs.get(article.base_unit, article.base_unit),
                "taxGroupCode": _TAXABLE,
                "stock": {codes[place]: count for place, count in world.stock[sku].items() if place in codes},
                "units": {theirs[unit.unit]: unit.numerator for unit in article.units if unit.unit in theirs and unit.denominator == 1},
            }
        )
    return found
