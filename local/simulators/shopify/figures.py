"""How do money, times and ids look in Shopify's bodies?"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

# A shop answers in its own time zone, not in UTC; connectors must cope.
SHOP_TIME_ZONE = timezone(timedelta(hours=-5))
CENT = Decimal("0.01")
_GID = re.compile(r"^gid://shopify/([A-Za-z]+)/(\d+)(\?.*)?$")


def cents(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, rounding=ROUND_HALF_UP)


def amount(value: Decimal) -> str:
    return str(cents(value))


def money_set(value: Decimal, currency: str) -> dict[str, Any]:
    money = {"amount": amount(value), "currency_code": currency}
    return {"shop_money": money, "presentment_money": dict(money)}


def local_time(moment: datetime) -> str:
    """A time as webhook bodies write it: whole seconds, in the shop's zone."""
    return moment.astimezone(SHOP_TIME_ZONE).replace(microsecond=0).isoformat()


def graph_time(text: str | None) -> str | None:
    """The same time as GraphQL answers it: UTC with a Z."""
    if text is None:
        return None
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def gid(kind: str, number: object) -> str:
    return f"gid://shopify/{kind}/{number}"


def gid_parts(text: str) -> tuple[str, int] | None:
    """Kind and number of a global id; None when it is none."""
    found = _GID.match(text)
    return (found[1], int(found[2])) if found else None


def fulfillment_line_gid(fulfillment: dict[str, Any], line: dict[str, Any]) -> str:
    """One id for each line of each fulfillment: an order line may leave in several."""
    return gid("FulfillmentLineItem", f"{fulfillment['id'] % 10**9}{line['id'] % 10**9:09}")
