"""How is an order fulfilled, held, released, and how is a fulfillment changed?"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from local.simulators.shopify.contract import MAX_FULFILLMENT_LINES
from local.simulators.shopify.figures import gid, gid_parts
from local.simulators.shopify.ordering import save
from local.simulators.shopify.refusal import refuse
from local.simulators.shopify.shop import Document, Shop
from local.simulators.shopify.stock import change

_FULFILLABLE = frozenset({"OPEN", "IN_PROGRESS"})


def create(shop: Shop, given: dict[str, Any]) -> Document:
    """Fulfil lines of one or more fulfillment orders of one order at one location. Raises Refused."""
    planned = [_plan(shop, entry) for entry in given["lineItemsByFulfillmentOrder"]]
    if not planned:
        raise refuse("At least one fulfillment order is required.", "fulfillment", "lineItemsByFulfillmentOrder")
    if len({document["order_id"] for document, _ in planned}) > 1:
        raise refuse("All fulfillment orders must belong to the same order.", "fulfillment")
    if len({document["location_id"] for document, _ in planned}) > 1:
        raise refuse("All fulfillment orders must be assigned to the same location.", "fulfillment")
    if len({document["id"] for document, _ in planned}) < len(planned):
        raise refuse("A fulfillment order may appear only once.", "fulfillment", "lineItemsByFulfillmentOrder")
    order = shop.orders.get(planned[0][0]["order_id"])
    if order is None or order["cancelled_at"]:
        raise refuse("The order has been cancelled.", "fulfillment")
    quantities: dict[int, int] = {}
    for document, chosen in planned:
        _take(shop, order, document, chosen)
        for line_id, quantity in chosen.items():
            item = next(line["line_item_id"] for line in document["line_items"] if line["id"] == line_id)
            quantities[item] = quantities.get(item, 0) + quantity
    fulfillment = _body(shop, order, planned[0][0]["location_id"], quantities, given.get("trackingInfo") or {})
    fulfillment["fulfillment_order_ids"] = [document["id"] for document, _ in planned]
    shop.fulfillments.put(fulfillment["id"], fulfillment)
    shop.link(order["id"], "fulfillments", fulfillment["id"])
    topic = _after_fulfilment(shop, order)
    shop.emit("fulfillments/create", webhook_body(fulfillment))
    save(shop, order, topic)
    return fulfillment


def track(shop: Shop, fulfillment: Document, given: dict[str, Any]) -> Document:
    """Replace the tracking of a fulfillment. Raises Refused."""
    if fulfillment["status"] == "cancelled":
        raise refuse("Fulfillment has been cancelled.", "fulfillmentId")
    fulfillment.update(_tracking(given))
    fulfillment["updated_at"] = shop.now()
    shop.fulfillments.put(fulfillment["id"], fulfillment)
    shop.emit("fulfillments/update", webhook_body(fulfillment))
    order = shop.orders.get(fulfillment["order_id"])
    if order is not None:
        _show_fulfillments(shop, order)
        save(shop, order)
    return fulfillment


def cancel(shop: Shop, fulfillment: Document) -> Document:
    """Undo a fulfillment: its lines become fulfillable again. Raises Refused."""
    if fulfillment["status"] == "cancelled":
        raise refuse("Fulfillment has already been cancelled.", "id")
    fulfillment["status"] = "cancelled"
    fulfillment["updated_at"] = shop.now()
    shop.fulfillments.put(fulfillment["id"], fulfillment)
    order = shop.orders.get(fulfillment["order_id"]) or {}
    shipped = {line["id"]: line["quantity"] for line in fulfillment["line_items"]}
    for number in fulfillment["fulfillment_order_ids"]:
        document = shop.fulfillment_orders.get(number) or {}
        for line in document["line_items"]:
            back = min(shipped.get(line["line_item_id"], 0), line["total"] - line["remaining"])
            shipped[line["line_item_id"]] = shipped.get(line["line_item_id"], 0) - back
            line["remaining"] += back
            _move_stock(shop, order, document, line, committed=back)
        document["status"] = "OPEN" if all(x["remaining"] == x["total"] for x in document["line_items"]) else "IN_PROGRESS"
        document["updated_at"] = shop.now()
        shop.fulfillment_orders.put(number, document)
    _after_fulfilment(shop, order)
    shop.emit("fulfillments/update", webhook_body(fulfillment))
    save(shop, order)
    return fulfillment


def hold(shop: Shop, document: Document, given: dict[str, Any]) -> Document:
    """Put a whole fulfillment order on hold. Raises Refused."""
    if document["status"] not in {"OPEN", "SCHEDULED", "ON_HOLD"}:
        message = "The fulfillment order is not in a state that can be put on hold."
        raise refuse(message, "id", code="FULFILLMENT_ORDER_NOT_SPLITTABLE")
    if any(held["handle"] == (given.get("handle") or "") for held in document["holds"]):
        message = "The handle provided for the fulfillment hold is already in use by this app for another hold."
        raise refuse(message, "fulfillmentHold", "handle", code="DUPLICATE_FULFILLMENT_HOLD_HANDLE")
    held = {
        "id": shop.new_id(),
        "handle": given.get("handle") or "",
        "reason": given["reason"],
        "reason_notes": given.get("reasonNotes"),
    }
    document["holds"].append(held)
    document["status"] = "ON_HOLD"
    _touch(shop, document)
    return held


def release(shop: Shop, document: Document, hold_ids: list[str] | None) -> None:
    """Release the named holds, or all. Raises Refused."""
    if document["status"] != "ON_HOLD":
        raise refuse("The fulfillment order is not on hold.", "id", code="INVALID_FULFILLMENT_ORDER")
    wanted = {gid("FulfillmentHold", held["id"]) for held in document["holds"]} if hold_ids is None else set(hold_ids)
    document["holds"] = [held for held in document["holds"] if gid("FulfillmentHold", held["id"]) not in wanted]
    if not document["holds"]:
        document["status"] = "OPEN"
    _touch(shop, document)


def close_remaining(shop: Shop, order: Document, *, restock: bool) -> None:
    """What a cancellation does: nothing remains to be fulfilled, and the committed stock is free again."""
    for document in shop.of_order(order["id"], "fulfillment_orders", shop.fulfillment_orders):
        if document["status"] in {"CLOSED", "CANCELLED"}:
            continue
        for line in document["line_items"]:
            back = line["remaining"]
            _move_stock(shop, order, document, line, committed=-back, available=back if restock else 0)
            line["remaining"] = 0
        document["status"] = "CLOSED"
        _touch(shop, document)


def webhook_body(fulfillment: Document) -> Document:
    return {name: value for name, value in fulfillment.items() if name != "fulfillment_order_ids"}


def _touch(shop: Shop, document: Document) -> None:
    document["updated_at"] = shop.now()
    shop.fulfillment_orders.put(document["id"], document)


def _plan(shop: Shop, entry: dict[str, Any]) -> tuple[Document, dict[int, int]]:
    """Which lines of one fulfillment order, and how many of each."""
    field = ("fulfillment",)
    parts = gid_parts(entry["fulfillmentOrderId"])
    document = shop.fulfillment_orders.get(parts[1]) if parts and parts[0] == "FulfillmentOrder" else None
    if document is None:
        raise refuse("Fulfillment order does not exist.", *field)
    if document["status"] not in _FULFILLABLE:
        status = document["status"].lower()
        raise refuse(f"Fulfillment order {document['id']} has an unfulfillable status= {status}.", *field)
    chosen = entry.get("fulfillmentOrderLineItems")
    remaining = {line["id"]: line["remaining"] for line in document["line_items"]}
    if not chosen:
        return document, {line: quantity for line, quantity in remaining.items() if quantity > 0}
    if len(chosen) > MAX_FULFILLMENT_LINES:
        raise refuse(f"At most {MAX_FULFILLMENT_LINES} line items may be fulfilled at once.", *field)
    wanted: dict[int, int] = {}
    for line in chosen:
        found = gid_parts(line["id"])
        if found is None or found[0] != "FulfillmentOrderLineItem" or found[1] not in remaining:
            raise refuse("Fulfillment order line item does not exist.", *field)
        wanted[found[1]] = wanted.get(found[1], 0) + line["quantity"]
        if line["quantity"] <= 0 or wanted[found[1]] > remaining[found[1]]:
            raise refuse("Invalid fulfillment order line item quantity requested.", *field)
    return document, wanted


def _take(shop: Shop, order: Document, document: Document, chosen: dict[int, int]) -> None:
    for line in document["line_items"]:
        quantity = chosen.get(line["id"], 0)
        if quantity:
            line["remaining"] -= quantity
            _move_stock(shop, order, document, line, committed=-quantity)
    done = all(line["remaining"] == 0 for line in document["line_items"])
    document["status"] = "CLOSED" if done else "IN_PROGRESS"
    _touch(shop, document)


def _move_stock(shop: Shop, order: Document, document: Document, line: Document, **deltas: int) -> None:
    item = next((entry for entry in order["line_items"] if entry["id"] == line["line_item_id"]), None)
    variant = shop.variants.get(item["variant_id"]) if item and item["variant_id"] else None
    if variant and variant["tracked"]:
        change(shop, variant["inventory_item_id"], document["location_id"], **deltas)


def _after_fulfilment(shop: Shop, order: Document) -> str:
    """Bring the order's lines and status up to date; answers the topic that says how far it is."""
    remaining: dict[int, int] = {}
    for document in shop.of_order(order["id"], "fulfillment_orders", shop.fulfillment_orders):
        for line in document["line_items"]:
            remaining[line["line_item_id"]] = remaining.get(line["line_item_id"], 0) + line["remaining"]
    for line in order["line_items"]:
        if line["id"] not in remaining:
            continue
        left = remaining[line["id"]]
        line["fulfillable_quantity"] = left
        line["fulfillment_status"] = "fulfilled" if left == 0 else "partial" if left < line["quantity"] else None
    open_lines = [line for line in order["line_items"] if remaining.get(line["id"], 0) > 0]
    untouched = all(line["fulfillment_status"] is None for line in order["line_items"])
    order["fulfillment_status"] = None if untouched else "partial" if open_lines else "fulfilled"
    _show_fulfillments(shop, order)
    return "orders/partially_fulfilled" if open_lines else "orders/fulfilled"


_NESTED = (
    "id", "admin_graphql_api_id", "created_at", "line_items", "location_id", "name", "order_id", "origin_address",
    "receipt", "service", "shipment_status", "status", "tracking_company", "tracking_number", "tracking_numbers",
    "tracking_url", "tracking_urls", "updated_at",
)  # fmt: skip


def _show_fulfillments(shop: Shop, order: Document) -> None:
    """The order's own body carries its fulfillments in a shorter form."""
    order["fulfillments"] = [
        {
            **{name: fulfillment[name] for name in _NESTED},
            # The published schema types a nested tax rate as an integer; the taxes stand on the order's own lines.
            "line_items": [{**line, "tax_lines": []} for line in fulfillment["line_items"]],
        }
        for fulfillment in shop.of_order(order["id"], "fulfillments", shop.fulfillments)
    ]


def _body(shop: Shop, order: Document, location_id: int, quantities: dict[int, int], tracking: dict[str, Any]) -> Document:
    number = shop.new_id()
    now = shop.now()
    sequence = len(shop.linked(order["id"])["fulfillments"]) + 1
    location = shop.locations.get(location_id) or {}
    lines = []
    for line in order["line_items"]:
        quantity = quantities.get(line["id"], 0)
        if quantity == 0:
            continue
        left = line["fulfillable_quantity"] - quantity
        shown = {name: value for name, value in line.items() if name not in {"attributed_staffs", "current_quantity"}}
        shown.pop("sales_line_item_group_id", None)
        lines.append(
            {
                **shown,
                "quantity": quantity,
                "fulfillable_quantity": left,
                "fulfillment_status": "fulfilled" if left == 0 else "partial",
            }
        )
    return {
        "id": number,
        "admin_graphql_api_id": gid("Fulfillment", number),
        "order_id": order["id"],
        "status": "success",
        "created_at": now,
        "updated_at": now,
        "service": "manual",
        **_tracking(tracking),
        "shipment_status": None,
        "location_id": location_id,
        "origin_address": {
            "address1": location.get("address1", ""),
            "city": location.get("city", ""),
            "country_code": location.get("country_code", "US"),
            "province_code": location.get("province_code", ""),
            "zip": location.get("zip", ""),
        },
        "email": order["email"],
        "destination": order["shipping_address"],
        "line_items": lines,
        "receipt": {},
        "name": f"{order['name']}.{sequence}",
    }


_CARRIER_PAGES = {
    "UPS": "https://www.ups.com/WebTracking?loc=en_US&requester=ST&trackNums={number}",
    "FedEx": "https://www.fedex.com/fedextrack/?trknbr={number}",
    "USPS": "https://tools.usps.com/go/TrackConfirmAction?tLabels={number}",
}


def _tracking_page(company: str | None, number: str) -> str:
    return _CARRIER_PAGES.get(company or "", "https://www.google.com/search?q={number}").format(number=quote(number, safe=""))


def _tracking(given: dict[str, Any]) -> Document:
    """Tracking as a body shows it: the plural fields win over the singular ones, as in the vendor's input."""
    numbers = list(given.get("numbers") or ([given["number"]] if given.get("number") else []))
    # Shopify makes up the address when the app gives none: the carrier's page where it knows the carrier, else a search for the number.
    urls = list(given.get("urls") or ([given["url"]] if given.get("url") else [])) or [_tracking_page(given.get("company"), number) for number in numbers]
    return {
        "tracking_company": given.get("company"),
        "tracking_number": numbers[0] if numbers else None,
        "tracking_numbers": numbers,
        "tracking_url": urls[0] if urls else None,
        "tracking_urls": urls,
    }
