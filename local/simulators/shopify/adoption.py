"""How does the shop come to know an order that somebody else announced in its name?

A tester may post a correctly signed orders/create for an order this simulator never made. The real shop would know the
order; so the simulator asks the deployment under test what it accepted, and takes that order into its books.
"""

from __future__ import annotations

import http.client
import logging
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import ValidationError

from local.simulators import exact_json
from local.simulators.server import ActionRefused
from local.simulators.shopify.contract import PlaceOrder
from local.simulators.shopify.figures import gid_parts
from local.simulators.shopify.ordering import place
from local.simulators.shopify.shop import Shop

logger = logging.getLogger(__name__)
TIMEOUT_SECONDS = 5.0


class Adoption:
    """Takes unknown orders into the shop's books, if the configuration names where to ask."""

    def __init__(self, shop: Shop, connection: str, settings: Callable[[], Mapping[str, Any] | None]) -> None:
        self._shop = shop
        self._connection = connection
        self._settings = settings

    def adopt(self, global_id: str) -> bool:
        """True when the order was unknown and is known now."""
        parts = gid_parts(global_id)
        if self._settings() is None or parts is None or self._shop.orders.get(parts[1]) is not None:
            return False
        canonical = self._ask(parts[1])
        if canonical is None:
            return False
        try:
            place(self._shop, _placed(parts[1], canonical), announce=False)
        except (KeyError, TypeError, InvalidOperation, ValidationError, ActionRefused) as error:
            logger.warning("order %s cannot be adopted: %s", parts[1], error)
            return False
        return True

    def _ask(self, number: int) -> dict[str, Any] | None:
        settings = self._settings() or {}
        base = urlsplit(f"{settings['orders_url'].rstrip('/')}/{quote(f'{self._connection}-{number}')}")
        kind = http.client.HTTPSConnection if base.scheme == "https" else http.client.HTTPConnection
        client = kind(base.hostname or "", base.port, timeout=TIMEOUT_SECONDS)
        try:
            client.request("GET", base.path, headers={"x-api-key": settings["api_key"], "accept": "application/json"})
            answer = client.getresponse()
            text = answer.read()
            if answer.status != 200:
                return None
            found = exact_json.loads(text)
        except (OSError, http.client.HTTPException, ValueError) as error:
            logger.warning("asking for order %s failed: %s", number, error)
            return None
        finally:
            client.close()
        return found if isinstance(found, dict) else None


def _placed(number: int, canonical: dict[str, Any]) -> PlaceOrder:
    """A canonical order in the terms of a placed one. The lines keep their ids: fulfillments are made by them."""
    lines = canonical["lines"]
    return PlaceOrder.model_validate(
        {
            "id": number,
            "line_ids": [int(line["external_id"]) for line in lines],
            "name": canonical.get("number") or None,
            "customer": _buyer(canonical),
            "shipping_address": _address(canonical.get("ship_to")),
            "billing_address": _address(canonical.get("bill_to")),
            "currency": canonical.get("currency"),
            "lines": [
                {
                    "sku": line["sku"],
                    "quantity": int(Decimal(str(line["quantity"]["value"]))),
                    "price": _money(line.get("unit_price")),
                    "title": line.get("title") or line["sku"],
                }
                for line in lines
            ],
        }
    )


def _buyer(canonical: dict[str, Any]) -> dict[str, Any] | None:
    """Who ordered, as far as the deployment was told: without an e-mail address the shop knows nobody."""
    buyer = canonical.get("customer") or {}
    if not buyer.get("email"):
        return None
    first, _, last = str(buyer.get("name") or "").partition(" ")
    return {"email": buyer["email"], "first_name": first, "last_name": last, "company": buyer.get("company") or None}


def _address(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, dict) or not value.get("line1") or not value.get("city") or not value.get("country"):
        return None
    first, _, last = str(value.get("name") or "").partition(" ")
    return {
        "first_name": first,
        "last_name": last,
        "company": value.get("company") or None,
        "address1": value["line1"],
        "address2": value.get("line2") or None,
        "city": value["city"],
        "zip": value.get("postal_code") or "",
        "province_code": value.get("region") or "",
        "country_code": value["country"],
        "phone": value.get("phone") or "",
    }


def _money(value: Any) -> Decimal:
    amount = value.get("amount") if isinstance(value, dict) else value
    return Decimal(str(amount or 0)).quantize(Decimal("0.01"))
