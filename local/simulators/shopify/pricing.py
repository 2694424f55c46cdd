"""How do the prices of variants change, and what does the shop refuse?"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from local.simulators.shopify.figures import amount, gid_parts
from local.simulators.shopify.nodes import unsupported
from local.simulators.shopify.refusal import Refused, UserError
from local.simulators.shopify.shop import Document, Shop

LARGEST = Decimal("1000000000000000000")


def set_prices(shop: Shop, product: str, given: list[dict[str, Any]]) -> list[Document]:
    """Raises Refused for an unknown product or variant, one of another product, and for a price that is negative or too high."""
    parts = gid_parts(product)
    number = parts[1] if parts is not None and parts[0] == "Product" else None
    if shop.variants.first(lambda variant: str(variant["product_id"]) == str(number)) is None:
        raise Refused(UserError("Product does not exist", ("productId",), "PRODUCT_DOES_NOT_EXIST"))
    errors, planned = [], []
    for index, entry in enumerate(given):
        if unknown := sorted({name for name, value in entry.items() if value is not None} - {"id", "price"}):
            raise unsupported(f"productVariantsBulkUpdate of {', '.join(unknown)}")
        place = ("variants", str(index))
        if entry.get("id") is None:
            errors.append(UserError("Product variant is missing ID attribute", (*place, "id"), "PRODUCT_VARIANT_ID_MISSING"))
            continue
        found = gid_parts(entry["id"])
        variant = shop.variants.get(found[1]) if found is not None and found[0] == "ProductVariant" else None
        if variant is None or str(variant["product_id"]) != str(number):
            errors.append(UserError("Product variant does not exist", (*place, "id"), "PRODUCT_VARIANT_DOES_NOT_EXIST"))
            continue
        price = None if entry.get("price") is None else Decimal(str(entry["price"]))
        if price is not None and price < 0:
            errors.append(UserError("Price must be greater than or equal to 0", (*place, "price"), "GREATER_THAN_OR_EQUAL_TO"))
        elif price is not None and price >= LARGEST:
            errors.append(UserError("Price must be less than 1000000000000000000", (*place, "price"), "INVALID_INPUT"))
        planned.append((variant, price))
    if errors:
        raise Refused(*errors)
    return [variant if price is None else set_price(shop, variant, price) for variant, price in planned]


def set_price(shop: Shop, variant: Document, price: Decimal) -> Document:
    """As the shop keeps it: to the cent."""
    changed = {**variant, "price": amount(price), "updated_at": shop.now()}
    shop.variants.put(variant["id"], changed)
    return changed
