"""How do inventory quantities change, and what does the shop refuse to do to them?"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlparse

from local.simulators.shopify.contract import (
    ADJUSTABLE_QUANTITY_NAMES,
    INVENTORY_REASONS,
    MAX_INVENTORY_DELTA,
    MAX_INVENTORY_QUANTITY,
    SETTABLE_QUANTITY_NAMES,
)
from local.simulators.shopify.figures import gid, gid_parts
from local.simulators.shopify.refusal import Refused, UserError
from local.simulators.shopify.shop import Document, Shop, new_level, on_hand


def set_quantities(shop: Shop, given: dict[str, Any]) -> Document:
    """Set absolute quantities, compared with `changeFromQuantity` where it is not null. Raises Refused."""
    errors: list[UserError] = []
    name = given["name"]
    if name not in SETTABLE_QUANTITY_NAMES:
        errors.append(_error("The quantity name must be either 'available' or 'on_hand'.", "INVALID_NAME", "name"))
    errors += _document_errors(given)
    seen: set[tuple[str, str]] = set()
    planned: list[tuple[Document, int]] = []
    for index, entry in enumerate(given["quantities"]):
        place = ("quantities", str(index))
        pair = (entry["inventoryItemId"], entry["locationId"])
        if pair in seen:
            errors.append(
                _error(
                    "The combination of inventoryItemId and locationId must be unique.",
                    "NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR",
                    *place,
                )
            )
        seen.add(pair)
        if entry["quantity"] < 0:
            errors.append(_error("The quantity can't be negative.", "INVALID_QUANTITY_NEGATIVE", *place, "quantity"))
        if entry["quantity"] > MAX_INVENTORY_QUANTITY:
            message = "The total quantity can't be higher than 1,000,000,000."
            errors.append(_error(message, "INVALID_QUANTITY_TOO_HIGH", *place, "quantity"))
        level, problem = _level(shop, entry, place)
        errors += problem
        if level is None or name not in SETTABLE_QUANTITY_NAMES:
            continue
        current = on_hand(level) if name == "on_hand" else level["available"]
        if entry["changeFromQuantity"] is not None and entry["changeFromQuantity"] != current:
            message = "The changeFromQuantity value does not match persisted value."
            errors.append(_error(message, "CHANGE_FROM_QUANTITY_STALE", *place, "changeFromQuantity"))
        planned.append((level, entry["quantity"] - current))
    if errors:
        raise Refused(*(_under_input(error) for error in errors))
    return _apply(shop, given, "available", planned)


def adjust_quantities(shop: Shop, given: dict[str, Any]) -> Document:
    """Add deltas to one named quantity. Raises Refused."""
    errors: list[UserError] = []
    name = given["name"]
    if name not in ADJUSTABLE_QUANTITY_NAMES:
        errors.append(_error("The specified quantity name is invalid.", "INVALID_QUANTITY_NAME", "name"))
    errors += _document_errors(given)
    planned: list[tuple[Document, int]] = []
    for index, entry in enumerate(given["changes"]):
        place = ("changes", str(index))
        ledger = entry.get("ledgerDocumentUri")
        if name == "available" and ledger is not None:
            message = "A ledger document URI is not allowed when adjusting available."
            errors.append(_error(message, "INVALID_AVAILABLE_DOCUMENT", *place, "ledgerDocumentUri"))
        if name != "available" and ledger is None:
            message = "A ledger document URI is required except when adjusting available."
            errors.append(_error(message, "INVALID_QUANTITY_DOCUMENT", *place, "ledgerDocumentUri"))
        if abs(entry["delta"]) > MAX_INVENTORY_DELTA:
            high = entry["delta"] > 0
            bound = "higher than 2,000,000,000" if high else "lower than -2,000,000,000"
            code = "INVALID_QUANTITY_TOO_HIGH" if high else "INVALID_QUANTITY_TOO_LOW"
            errors.append(_error(f"The quantity can't be {bound}.", code, *place, "delta"))
        level, problem = _level(shop, entry, place)
        errors += problem
        if level is None or name not in ADJUSTABLE_QUANTITY_NAMES:
            continue
        if entry["changeFromQuantity"] is not None and entry["changeFromQuantity"] != level[name]:
            message = "The changeFromQuantity argument no longer matches the persisted quantity."
            errors.append(_error(message, "CHANGE_FROM_QUANTITY_STALE", *place, "changeFromQuantity"))
        planned.append((level, entry["delta"]))
    if errors:
        raise Refused(*(_under_input(error) for error in errors))
    return _apply(shop, given, name, planned)


def change(shop: Shop, item: int, location: int, **deltas: int) -> None:
    """Move quantities of one level and tell the world when what is available changed."""
    level = shop.level(item, location) or new_level(item, location)
    for name, delta in deltas.items():
        level[name] += delta
    level["updated_at"] = shop.now()
    shop.put_level(level)
    if deltas.get("available"):
        shop.emit("inventory_levels/update", level_body(level))


def level_body(level: Document) -> Document:
    item, location = level["inventory_item_id"], level["location_id"]
    return {
        "inventory_item_id": item,
        "location_id": location,
        "available": level["available"],
        "updated_at": level["updated_at"],
        "admin_graphql_api_id": f"{gid('InventoryLevel', location)}?inventory_item_id={item}",
    }


def _apply(shop: Shop, given: dict[str, Any], name: str, planned: list[tuple[Document, int]]) -> Document:
    changes = []
    for level, delta in planned:
        if delta == 0:
            continue
        item, location = level["inventory_item_id"], level["location_id"]
        change(shop, item, location, **{name: delta})
        after = shop.level(item, location) or level
        changes.append({"item": item, "location": location, "name": name, "delta": delta, "after": after[name]})
        if name != "incoming":
            changes.append({"item": item, "location": location, "name": "on_hand", "delta": delta, "after": on_hand(after)})
    group = {
        "id": shop.new_id(),
        "created_at": shop.now(),
        "reason": given["reason"],
        "reference_document_uri": given.get("referenceDocumentUri"),
        "changes": changes,
    }
    if changes:
        shop.adjustments.put(group["id"], group)
    return group


def _document_errors(given: dict[str, Any]) -> list[UserError]:
    errors = []
    if given["reason"] not in INVENTORY_REASONS:
        errors.append(_error("The specified reason is invalid.", "INVALID_REASON", "reason"))
    uri = given.get("referenceDocumentUri")
    if uri is not None and not urlparse(uri).scheme:
        message = "The specified reference document is invalid."
        errors.append(_error(message, "INVALID_REFERENCE_DOCUMENT", "referenceDocumentUri"))
    return errors


def _level(shop: Shop, entry: dict[str, Any], place: tuple[str, str]) -> tuple[Document | None, list[UserError]]:
    item, location = gid_parts(entry["inventoryItemId"]), gid_parts(entry["locationId"])
    errors = []
    if item is None or item[0] != "InventoryItem" or shop.variant_by_item(item[1]) is None:
        message = "The specified inventory item could not be found."
        errors.append(_error(message, "INVALID_INVENTORY_ITEM", *place, "inventoryItemId"))
    if location is None or location[0] != "Location" or shop.locations.get(location[1]) is None:
        message = "The specified location could not be found."
        errors.append(_error(message, "INVALID_LOCATION", *place, "locationId"))
    if errors or item is None or location is None:
        return None, errors
    # Not stocked there: the vendor answers without an error and changes nothing.
    return shop.level(item[1], location[1]), []


def _error(message: str, code: str, *field: str) -> UserError:
    return UserError(message, field, code)


def _under_input(error: UserError) -> UserError:
    return UserError(error.message, ("input", *(error.field or ())), error.code)
