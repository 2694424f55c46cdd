"""What does a tenant's ShipBob account hold at the start: its fulfillment centers and what lies in them?"""

from __future__ import annotations

import secrets
from typing import Any

from crossdock.domain.tenant import TenantSpec
from local.seed.world import World

_CHANNEL = 410_201


def settings(spec: TenantSpec, connection: str, world: World) -> dict[str, Any]:
    """Configuration of the simulator: credentials, webhook secret (Standard Webhooks spelling) and seed."""
    places = {code: location for code, location in spec.locations.items() if connection in location.codes and location.connection == connection}
    return {
        "credentials": {"access_token": f"pat_{secrets.token_hex(20)}", "channel_id": str(_CHANNEL)},
        "webhook_secret": f"whsec_{secrets.token_hex(16)}",
        "seed": {
            "channel_name": spec.title,
            "fulfillment_centers": [
                {"id": int(location.codes[connection]), "name": location.title, "state": location.region, "country": location.country} for location in places.values()
            ],
            "products": [
                {
                    "sku": name,
                    "name": article.title or sku,
                    "stock": {places[place].codes[connection]: count for place, count in world.stock[sku].items() if place in places},
                }
                for sku, article in spec.articles.items()
                if (name := article.codes.get(connection) or (sku if connection in spec.cross_references.sku_same_in else None))
            ],
        },
    }
