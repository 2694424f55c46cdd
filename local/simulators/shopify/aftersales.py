"""What happens to an order after it was placed: cancellation, refund, return request, changed fields?"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from local.simulators.shopify import fulfilling
from local.simulators.shopify.contract import MAX_NOTE, MAX_STAFF_NOTE, MAX_TAG_LENGTH, MAX_TAGS
from local.simulators.shopify.figures import amount, cents, fulfillment_line_gid, gid, gid_parts, money_set
from local.simulators.shopify.ordering import record_transaction, save
from local.simulators.shopify.refusal import refuse
from local.simulators.shopify.shop import Document, Shop
from local.simulators.shopify.stock import change

ZERO = Decimal(0)
_RESTOCKING = {"CANCEL", "RETURN"}


def check_cancellable(shop: Shop, order: Document | None, staff_note: str | None) -> Document:
    """The order, when it can be cancelled at all. Raises Refused in the terms of orderCancel."""
    if order is None:
        raise refuse("Order does not exist", "orderId", code="NOT_FOUND")
    if order["cancelled_at"]:
        raise refuse("Order has already been cancelled", "orderId", code="INVALID")
    if staff_note and len(staff_note) > MAX_STAFF_NOTE:
        raise refuse("Staff note is too long (maximum is 255 characters)", "staffNote", code="INVALID")
    shipped = shop.of_order(order["id"], "fulfillments", shop.fulfillments)
    if any(fulfillment["status"] == "success" for fulfillment in shipped):
        message = "Cannot cancel an order that has outstanding fulfillments"
        raise refuse(message, "orderId", code="INVALID")
    if any(entry["status"] == "open" for entry in shop.of_order(order["id"], "returns", shop.returns)):
        raise refuse("Cannot cancel an order that has an active return", "orderId", code="INVALID")
    return order


def cancel(shop: Shop, order: Document, *, reason: str, restock: bool, refund: bool) -> Document:
    """Cancel an order that `check_cancellable` let pass; answers the finished job."""
    fulfilling.close_remaining(shop, order, restock=restock)
    order["cancelled_at"] = shop.now()
    order["closed_at"] = order["cancelled_at"]
    order["cancel_reason"] = reason.lower()
    for line in order["line_items"]:
        line["fulfillable_quantity"] = 0
        line["current_quantity"] = 0
    paid = _paid(shop, order)
    if refund and paid > 0:
        lines = [{"line": line, "quantity": line["quantity"], "restock": "NO_RESTOCK"} for line in order["line_items"]]
        _record_refund(shop, order, lines, paid, "Cancelled", restock=False)
        order["financial_status"] = "refunded"
    elif paid == 0:
        order["financial_status"] = "voided"
    for name in ("current_subtotal_price", "current_total_price", "current_total_tax", "current_total_discounts"):
        order[name] = amount(ZERO)
        order[f"{name}_set"] = money_set(ZERO, order["currency"])
    save(shop, order, "orders/cancelled")
    job = {"id": shop.new_id(), "order_id": order["id"], "created_at": shop.now()}
    shop.jobs.put(job["id"], job)
    return job


def refund(shop: Shop, given: dict[str, Any]) -> tuple[Document, Document]:
    """Refund lines and freight as refundCreate says; answers refund and order. Raises Refused."""
    parts = gid_parts(given["orderId"])
    order = shop.orders.get(parts[1]) if parts and parts[0] == "Order" else None
    if order is None:
        raise refuse("Order does not exist", "orderId")
    chosen = [_refund_line(shop, order, entry, index) for index, entry in enumerate(given.get("refundLineItems") or [])]
    shipping = given.get("shipping") or {}
    freight = Decimal(order["total_shipping_price_set"]["shop_money"]["amount"]) if shipping.get("fullRefund") else ZERO
    freight = Decimal(str(shipping["amount"])) if shipping.get("amount") is not None else freight
    if freight > Decimal(order["total_shipping_price_set"]["shop_money"]["amount"]):
        raise refuse("Refund shipping amount is greater than the shipping paid", "shipping", "amount")
    transactions = given.get("transactions") or []
    money = sum((Decimal(str(entry["amount"])) for entry in transactions), ZERO)
    if not chosen and not freight and not transactions:
        raise refuse("Refund must have at least one line item, shipping amount or transaction", "input")
    if any(entry["kind"] != "REFUND" for entry in transactions):
        raise refuse("Transaction kind must be refund", "transactions", "0", "kind")
    if money > _paid(shop, order) and not given.get("allowOverRefunding"):
        raise refuse("Refund amount is greater than net payment received", "transactions")
    for entry in chosen:
        _restock(shop, order, entry)
        line = entry["line"]
        line["current_quantity"] -= entry["quantity"]
    restocked = any(entry["restock"] in _RESTOCKING for entry in chosen)
    made = _record_refund(shop, order, chosen, money, given.get("note") or "", restock=restocked)
    if money:
        order["financial_status"] = "refunded" if _paid(shop, order) == 0 else "partially_refunded"
    _recount(order)
    save(shop, order)
    return made, order


def request_return(shop: Shop, order: Document, lines: list[tuple[str, int]], reason: str) -> Document:
    """A customer asks to send goods back. Raises Refused when they were never shipped."""
    chosen = []
    for sku, quantity in lines:
        line = next((entry for entry in order["line_items"] if entry["sku"] == sku), None)
        shipped = 0 if line is None else line["quantity"] - line["fulfillable_quantity"]
        if line is None or quantity > shipped:
            raise refuse(f"{sku}: {quantity} to return, {shipped} shipped", "returnLineItems")
        chosen.append({"line_item_id": line["id"], "quantity": quantity, "reason": reason})
    made = _made(shop, order, chosen, "requested")
    # Whoever needs the lines reads the return by its id.
    shop.emit("returns/request", _told(shop, made))
    return made


def create_return(shop: Shop, given: dict[str, Any]) -> Document:
    """Staff make a return themselves: open at once. Raises Refused when that much was never shipped."""
    parts = gid_parts(given["orderId"])
    order = shop.orders.get(parts[1]) if parts and parts[0] == "Order" else None
    if order is None:
        raise refuse("Order does not exist.", "returnInput", "orderId", code="NOT_FOUND")
    chosen = []
    for index, entry in enumerate(given["returnLineItems"]):
        left = next(
            (
                sent["id"]
                for made in shop.of_order(order["id"], "fulfillments", shop.fulfillments)
                for sent in made["line_items"]
                if made["status"] == "success" and fulfillment_line_gid(made, sent) == entry["fulfillmentLineItemId"]
            ),
            None,
        )
        line = next((item for item in order["line_items"] if item["id"] == left), None)
        if line is None:
            raise refuse("Fulfillment line item does not exist.", "returnInput", "returnLineItems", str(index), "fulfillmentLineItemId", code="NOT_FOUND")
        if not 0 < entry["quantity"] <= _returnable(shop, order, line):
            raise refuse("Return line item has an invalid quantity.", "returnInput", "returnLineItems", str(index), "quantity", code="INVALID")
        chosen.append({"line_item_id": line["id"], "quantity": entry["quantity"], "reason": entry.get("returnReason") or "UNKNOWN", "note": entry.get("returnReasonNote") or ""})
    return _made(shop, order, chosen, "open")


def _returnable(shop: Shop, order: Document, line: Document) -> int:
    claimed = sum(
        entry["quantity"]
        for held in shop.of_order(order["id"], "returns", shop.returns)
        if held["status"] in ("requested", "open", "closed")
        for entry in held["lines"]
        if entry["line_item_id"] == line["id"]
    )
    return int(line["quantity"] - line["fulfillable_quantity"] - claimed)


def _made(shop: Shop, order: Document, chosen: list[Document], status: str) -> Document:
    number = shop.new_id()
    made = {
        "id": number,
        "admin_graphql_api_id": gid("Return", number),
        "order_id": order["id"],
        "name": f"{order['name']}-R{len(shop.linked(order['id'])['returns']) + 1}",
        "status": status,
        "lines": chosen,
        "created_at": shop.now(),
    }
    shop.returns.put(number, made)
    shop.link(order["id"], "returns", number)
    return made


def move_return(shop: Shop, held: Document | None, *, to: str, allowed: tuple[str, ...], where: tuple[str, ...], topic: str) -> Document:
    """Approve, decline, close or cancel a return. Raises Refused from a status that does not allow it."""
    if held is None:
        raise refuse("Return does not exist.", *where, code="NOT_FOUND")
    if held["status"] not in allowed:
        raise refuse(f"Return is not {' or '.join(allowed)}.", *where, code="INVALID_STATE")
    held = {**held, "status": to}
    shop.returns.put(held["id"], held)
    shop.emit(topic, _told(shop, held))
    return held


def _told(shop: Shop, held: Document) -> Document:
    """The published bodies: two of them name the order by its number alone, and none names lines."""
    body = {"id": held["id"], "admin_graphql_api_id": held["admin_graphql_api_id"], "status": held["status"]}
    if held["status"] in ("closed", "canceled"):
        return {**body, "order_id": held["order_id"]}
    order = {"id": held["order_id"], "admin_graphql_api_id": gid("Order", held["order_id"])}
    if held["status"] == "declined":
        return {**body, "order": order, "decline": {"reason": "other", "note": ""}}
    counted = {"total_return_line_items": sum(entry["quantity"] for entry in held["lines"]), "total_exchange_line_items": 0}
    return {**body, "order": order, "name": None, "return_line_items": [], "return_shipping_fees": [], "exchange_line_items": [], **counted}


def update(shop: Shop, order: Document, changes: dict[str, Any]) -> Document:
    """Change note, tags, address, email, PO number or note attributes. Raises Refused."""
    if len(changes.get("note") or "") > MAX_NOTE:
        raise refuse(f"Note is too long (maximum is {MAX_NOTE} characters)", "note")
    if "tags" in changes:
        order["tags"] = ", ".join(clean_tags(changes["tags"] or []))
    for name in ("note", "email", "po_number", "note_attributes", "shipping_address"):
        if name in changes:
            order[name] = changes[name]
    if "email" in changes:
        order["contact_email"] = changes["email"]
    save(shop, order)
    return order


def clean_tags(tags: list[str]) -> list[str]:
    """Each tag once, comparing without case. Raises Refused for what Shopify does not take as a tag."""
    kept: dict[str, str] = {}
    for tag in (part.strip() for entry in tags for part in entry.split(",")):
        if len(tag) > MAX_TAG_LENGTH:
            raise refuse(f"Tags is invalid: a tag has at most {MAX_TAG_LENGTH} characters", "tags")
        if tag:
            kept.setdefault(tag.lower(), tag)
    if len(kept) > MAX_TAGS:
        raise refuse(f"Tags is invalid: at most {MAX_TAGS} tags", "tags")
    return sorted(kept.values(), key=str.lower)


def tags_of(document: Document) -> list[str]:
    return [tag for tag in (part.strip() for part in document["tags"].split(",")) if tag]


def _paid(shop: Shop, order: Document) -> Decimal:
    total = ZERO
    for transaction in shop.of_order(order["id"], "transactions", shop.transactions):
        value = Decimal(transaction["amount"])
        total += value if transaction["kind"] in {"sale", "capture"} else -value
    return total


def _refund_line(shop: Shop, order: Document, entry: dict[str, Any], index: int) -> Document:
    place = ("refundLineItems", str(index))
    parts = gid_parts(entry["lineItemId"])
    line = next((item for item in order["line_items"] if parts and item["id"] == parts[1]), None)
    if line is None:
        raise refuse("Line item does not exist", *place, "lineItemId")
    if entry["quantity"] <= 0 or entry["quantity"] > line["current_quantity"]:
        raise refuse("Quantity cannot refund more items than were purchased", *place, "quantity")
    restock = entry.get("restockType") or "NO_RESTOCK"
    if restock == "LEGACY_RESTOCK":
        raise refuse("Restock type legacy_restock is not accepted", *place, "restockType")
    if restock in _RESTOCKING and not entry.get("locationId"):
        raise refuse("Location is required when restocking", *place, "locationId")
    location = gid_parts(entry["locationId"]) if entry.get("locationId") else None
    if entry.get("locationId") and (location is None or shop.locations.get(location[1]) is None):
        raise refuse("Location does not exist", *place, "locationId")
    if restock == "CANCEL" and entry["quantity"] > line["fulfillable_quantity"]:
        raise refuse("Quantity cannot cancel more items than are unfulfilled", *place, "quantity")
    return {
        "line": line,
        "quantity": entry["quantity"],
        "restock": restock,
        "location": location[1] if location else None,
    }


def _restock(shop: Shop, order: Document, entry: Document) -> None:
    line, quantity = entry["line"], entry["quantity"]
    variant = shop.variants.get(line["variant_id"]) if line["variant_id"] else None
    if entry["restock"] == "RETURN" and variant and variant["tracked"]:
        change(shop, variant["inventory_item_id"], entry["location"], available=quantity)
    if entry["restock"] == "CANCEL":
        left = quantity
        for document in shop.of_order(order["id"], "fulfillment_orders", shop.fulfillment_orders):
            for item in document["line_items"]:
                back = min(left, item["remaining"]) if item["line_item_id"] == line["id"] else 0
                item["remaining"] -= back
                left -= back
                if back and variant and variant["tracked"]:
                    place = document["location_id"]
                    change(shop, variant["inventory_item_id"], place, committed=-back, available=back)
            if all(item["remaining"] == 0 for item in document["line_items"]):
                document["status"] = "CLOSED"
            document["updated_at"] = shop.now()
            shop.fulfillment_orders.put(document["id"], document)
        line["fulfillable_quantity"] -= quantity


def worth(line: Document, quantity: int) -> tuple[Decimal, Decimal]:
    """Net value and tax of so many pieces of a line."""
    net = Decimal(line["price"]) * line["quantity"] - Decimal(line["total_discount"])
    tax = sum((Decimal(entry["price"]) for entry in line["tax_lines"]), ZERO)
    return cents(net * quantity / line["quantity"]), cents(tax * quantity / line["quantity"])


def _record_refund(shop: Shop, order: Document, chosen: list[Document], money: Decimal, note: str, *, restock: bool) -> Document:
    number = shop.new_id()
    now = shop.now()
    currency = order["currency"]
    lines = []
    for entry in chosen:
        subtotal, tax = worth(entry["line"], entry["quantity"])
        left_out = {"attributed_staffs", "current_quantity", "sales_line_item_group_id", "properties"}
        shown = {name: value for name, value in entry["line"].items() if name not in left_out}
        lines.append(
            {
                "id": shop.new_id(),
                "quantity": entry["quantity"],
                "line_item_id": entry["line"]["id"],
                "location_id": entry.get("location"),
                "restock_type": entry["restock"].lower(),
                "subtotal": subtotal,
                "total_tax": tax,
                "subtotal_set": money_set(subtotal, currency),
                "total_tax_set": money_set(tax, currency),
                "line_item": {**shown, "properties": []},
            }
        )
    parent = next(iter(shop.linked(order["id"])["transactions"]), None)
    transactions = [record_transaction(shop, order, "refund", money, parent)] if money else []
    made: Document = {
        "id": number,
        "admin_graphql_api_id": gid("Refund", number),
        "order_id": order["id"],
        "created_at": now,
        "note": note,
        "user_id": 548380009,
        "processed_at": now,
        "duties": [],
        "total_duties_set": money_set(ZERO, currency),
        "return": None,
        "refund_shipping_lines": [],
        "restock": restock,
        "order_adjustments": [],
        "refund_line_items": lines,
        "transactions": transactions,
    }
    shop.refunds.put(number, made)
    shop.link(order["id"], "refunds", number)
    shop.emit("refunds/create", made)
    return made


def _recount(order: Document) -> None:
    """The `current_` amounts are what is left of the order after its refunds."""
    subtotal = tax = ZERO
    for line in order["line_items"]:
        if line["current_quantity"]:
            net, line_tax = worth(line, line["current_quantity"])
            subtotal, tax = subtotal + net, tax + line_tax
    freight = Decimal(order["current_shipping_price_set"]["shop_money"]["amount"])
    for name, value in (
        ("current_subtotal_price", subtotal),
        ("current_total_tax", tax),
        ("current_total_price", subtotal + tax + freight),
    ):
        order[name] = amount(value)
        order[f"{name}_set"] = money_set(value, order["currency"])
