"""What does ShipBob show of products, inventory and places, and what does a seed hold of them?"""

from __future__ import annotations

from typing import Any

from local.simulators.server import Answer
from local.simulators.shipbob import admission, contract
from local.simulators.shipbob.warehouse import Document, Warehouse
from local.simulators.state import Collection

NO_PRODUCT = Answer(404, {"title": "Not Found", "status": 404, "detail": "The product does not exist."})

LEVEL_QUERY: dict[str, admission.Convert] = {
    "SearchBy": str,
    "InventoryIds": admission.numbers,
    "IsActive": admission.truth,
    "IsDigital": admission.truth,
    "PageSize": admission.number(1, 1000),
    "SortBy": str,
    "LocationId": admission.number(1, contract.INT32_MAX),
    "LocationType": str,
    "Cursor": admission.number(0, contract.INT32_MAX),
}
"""Cursor is not in the contract's list: it is how the `next` links of this simulator go on."""

PRODUCT_QUERY: dict[str, admission.Convert] = {
    "SKU": str,
    "Search": str,
    "Name": str,
    "ProductId": admission.numbers,
    "VariantId": admission.numbers,
    "InventoryId": admission.numbers,
    "PageSize": admission.number(1, 250),
}

_DEFAULT_CENTER: Document = {
    "id": 1,
    "name": "Cicero (IL)",
    "address1": "5900 W Ogden Ave",
    "address2": None,
    "city": "Cicero",
    "state": "IL",
    "zip_code": "60804",
    "country": "US",
    "email": None,
    "phone_number": None,
    "timezone": "America/Chicago",
}


def fill(house: Warehouse, methods: Collection, seed: dict[str, Any]) -> None:
    """Raises ValueError for a seed that names unknown fields or places."""
    unknown = sorted(set(seed) - {"channel_name", "fulfillment_centers", "products", "shipping_methods"})
    if unknown:
        raise ValueError(f"a ShipBob seed has no {', '.join(unknown)}")
    for center in seed.get("fulfillment_centers") or [_DEFAULT_CENTER]:
        house.centers.put(center["id"], {**dict.fromkeys(_DEFAULT_CENTER), **center})
    for entry in seed.get("products", []):
        item = house.add_item(entry["sku"], entry.get("name") or entry["sku"], active=entry.get("is_active", True))
        for center_id, quantity in (entry.get("stock") or {}).items():
            if house.centers.get(center_id) is None:
                raise ValueError(f"SKU {entry['sku']} has stock at fulfillment center {center_id}, which the seed does not have")
            house.change_level(item["inventory_id"], int(center_id), on_hand=int(quantity))
    for number, name in enumerate(seed.get("shipping_methods") or ["Standard", "Expedited", "2-Day"], 1):
        level = {"id": number, "name": name}
        methods.put(number, {"id": number, "name": name, "active": True, "default": number == 1, "service_level": level})


def location(center: Document) -> Document:
    address = {key: center[key] for key in ("address1", "address2", "city", "country", "email", "name", "phone_number", "state", "zip_code")}
    return {
        "id": center["id"],
        "name": center["name"],
        "abbreviation": (center["name"] or "")[:3].upper(),
        "access_granted": True,
        "attributes": [],
        "is_active": True,
        "is_receiving_enabled": True,
        "is_shipping_enabled": True,
        "region": {"id": 1, "name": center["state"]},
        "services": [{"address": address, "enabled": True, "service_type": "Receiving"}],
        "timezone": center["timezone"],
    }


def matching(house: Warehouse, asked: dict[str, Any]) -> list[Document]:
    """Items that the filters of the inventory operations leave."""
    text = asked.get("SearchBy", "").lower()
    return [
        item
        for item in house.items.values()
        if (not text or text in item["sku"].lower() or text in item["name"].lower() or text == str(item["inventory_id"]))
        and ("InventoryIds" not in asked or item["inventory_id"] in asked["InventoryIds"])
        and ("IsActive" not in asked or item["is_active"] is asked["IsActive"])
        and asked.get("IsDigital") is not True
        and ("LocationId" not in asked or house.stock.get(f"{item['inventory_id']}@{asked['LocationId']}") is not None)
    ]


def inventory(_house: Warehouse, item: Document) -> Document:
    return {
        "inventory_id": item["inventory_id"],
        "sku": item["sku"],
        "name": item["name"],
        "barcode": item["sku"],
        "is_case": False,
        "is_lot": False,
        "user_id": 1,
        "dimensions": {"height": 0, "length": 0, "width": 0, "is_locked": False, "unit": "inch", "validated": False},
        "weight": {"unit": "oz", "value": 0},
        "variant": {
            "hazmat": {"is_hazmat": False, "validated": False},
            "is_active": item["is_active"],
            "is_bundle": False,
            "is_digital": False,
        },
    }


def level(house: Warehouse, item: Document) -> Document:
    places = level_by_location(house, item)["locations"]
    totals = {name: sum(place[f"{name}_quantity"] for place in places) for name in ("on_hand", "committed", "fulfillable")}
    return {
        "inventory_id": item["inventory_id"],
        "sku": item["sku"],
        "name": item["name"],
        "total_awaiting_quantity": 0,
        "total_backordered_quantity": 0,
        "total_committed_quantity": totals["committed"],
        "total_exception_quantity": 0,
        "total_fulfillable_quantity": totals["fulfillable"],
        "total_internal_transfer_quantity": 0,
        "total_on_hand_quantity": totals["on_hand"],
        "total_sellable_quantity": totals["fulfillable"],
    }


def level_by_location(house: Warehouse, item: Document) -> Document:
    places = []
    for center in house.centers.values():
        held = house.stock.get(f"{item['inventory_id']}@{center['id']}")
        if held is not None:
            places.append(
                {
                    "location_id": center["id"],
                    "name": center["name"],
                    "on_hand_quantity": held["on_hand"],
                    "committed_quantity": held["committed"],
                    "fulfillable_quantity": max(0, held["on_hand"] - held["committed"]),
                    "awaiting_quantity": 0,
                    "internal_transfer_quantity": 0,
                }
            )
    return {"inventory_id": item["inventory_id"], "sku": item["sku"], "name": item["name"], "locations": places}


def product(house: Warehouse, product_id: int, name: str | None = None) -> Document:
    """The product with its variants; without variants when there is no such product."""
    items = house.items.find(lambda item: item["product_id"] == product_id)
    return _product(house, items, name) if items else {"variants": []}


def products(house: Warehouse, asked: dict[str, Any]) -> Document:
    text = asked.get("Search", "").lower()
    groups: dict[int, list[Document]] = {}
    for item in house.items.values():
        groups.setdefault(item["product_id"], []).append(item)
    found = [
        items
        for product_id, items in groups.items()
        if ("ProductId" not in asked or product_id in asked["ProductId"])
        and ("SKU" not in asked or any(item["sku"] == asked["SKU"] for item in items))
        and ("Name" not in asked or any(asked["Name"].lower() in item["name"].lower() for item in items))
        and ("VariantId" not in asked or any(item["variant_id"] in asked["VariantId"] for item in items))
        and ("InventoryId" not in asked or any(item["inventory_id"] in asked["InventoryId"] for item in items))
        and (not text or any(text in item["sku"].lower() or text in item["name"].lower() for item in items))
    ]
    shown = [_product(house, items) for items in found[: asked.get("PageSize", 100)]]
    return {"items": shown, "next": None, "prev": None, "first": None, "last": None}


def _product(house: Warehouse, items: list[Document], name: str | None = None) -> Document:
    first = items[0]
    return {
        "id": first["product_id"],
        "name": name or first["name"],
        "type": "Regular",
        "user_id": 1,
        "created_on": first["created_on"],
        "updated_on": None,
        "variants": [_variant(house, item) for item in items],
    }


def _variant(house: Warehouse, item: Document) -> Document:
    return {
        "id": item["variant_id"],
        "sku": item["sku"],
        "name": item["name"],
        "status": "Active" if item["is_active"] else "Inactive",
        "created_on": item["created_on"],
        "updated_on": None,
        "is_digital": False,
        "is_image_uploaded": False,
        "inventory": {"inventory_id": item["inventory_id"], "on_hand_qty": level(house, item)["total_on_hand_quantity"]},
        "associated_bundles": [],
        "bundle_definition": [],
        "merge_children": [],
        "reviews_pending": [],
        "gtin": None,
        "upc": None,
    }
