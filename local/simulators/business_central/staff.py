"""What do people do in the Business Central client: pick and post shipments, set limits and prices, count stock?"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from local.simulators.business_central.amounts import ZERO
from local.simulators.business_central.books import Books, Record
from local.simulators.business_central.contract import ENUMS, NO_ID
from local.simulators.business_central.documents import ORDER, Documents
from local.simulators.business_central.masters import Masters
from local.simulators.business_central.posting import Posting
from local.simulators.server import ActionRefused, Context

POST_SHIPMENT = "post_shipment"
"""The timer of the warehouse staff."""
TRACKING_PREFIX = "TRACKING"
"""API v2.0 has no field for a tracking number: staff write `TRACKING <carrier> <number>` as a comment line."""


class Staff:
    """The warehouse and the office. Every action runs inside `Books.work()`."""

    def __init__(self, ctx: Context, books: Books, masters: Masters, documents: Documents, posting: Posting) -> None:
        self._ctx = ctx
        self._books = books
        self._masters = masters
        self._documents = documents
        self._posting = posting

    # -- the warehouse
    def notice(self, order: Record) -> None:
        """Put the order on the pick list of each own warehouse that has open lines of it."""
        delay = float(self._ctx.autopilot["ship_after_s"])
        waiting = {(timer["payload"].get("order"), timer["payload"].get("location")) for timer in self._pick_list()}
        for location in sorted({line["locationId"] for line in self._open_lines(order["id"])}):
            if (order["id"], location) not in waiting:
                self._ctx.schedule(delay, POST_SHIPMENT, {"order": order["id"], "location": location})

    def _notice_all(self) -> None:
        """What could not be shipped before may be possible now."""
        for order in list(self._books.all(ORDER.headers)):
            self.notice(order)

    def pick(self, payload: Mapping[str, Any]) -> None:
        """Ship what is open at one location; whoever did it already leaves nothing to do."""
        order = self._books.get(ORDER.headers, str(payload["order"]))
        if order is None:
            return
        lines = [line for line in self._open_lines(order["id"]) if line["locationId"] == payload["location"]]
        # Staff ship what they find on the shelf and come back for the rest after the next receipt.
        ship = {line["id"]: self._on_shelf(line) for line in lines}
        if not any(ship.values()):
            return
        tracking = f"{TRACKING_PREFIX} UPS 1Z{self._books.next_integer('tracking'):016d}"
        self._posting.post_order(order, ship, {}, comments=(tracking,) if self._ctx.autopilot["tracking"] else ())

    def post_shipment(self, body: dict[str, Any]) -> Any:
        """{"order": number, "lines": [{"sequence"|"item", "quantity"}]?, "location": code?, "tracking": {...}?}"""
        order = self._order(body)
        lines = self._books.lines(ORDER.lines, order["id"])
        if "lines" in body:
            ship = {self._line(lines, wanted)["id"]: _decimal(wanted, "quantity") for wanted in body["lines"]}
        else:
            location = self._books.first("locations", code=body["location"]) if "location" in body else None
            chosen = self._open_lines(order["id"], every=True)
            ship = {line["id"]: _outstanding(line) for line in chosen if location is None or line["locationId"] == location["id"]}
        tracking = body.get("tracking")
        comments: tuple[str, ...] = ()
        if tracking:
            comments = (f"{TRACKING_PREFIX} {tracking.get('carrier', '')} {tracking['number']}".replace("  ", " "),)
        shipment = self._posting.post_order(order, ship, {}, comments=comments)
        return {"shipment": shipment["number"] if shipment else None}

    def adjust_inventory(self, body: dict[str, Any]) -> Any:
        """{"item": number, "location": code, "quantity": new quantity} or {"delta": change}, in base units."""
        item = self._master("items", "number", body, "item")
        location = self._master("locations", "code", body, "location")
        held = Decimal(str(item.get("_stock", {}).get(location["code"], 0)))
        change = _decimal(body, "delta") if "delta" in body else _decimal(body, "quantity") - held
        if change:
            self._masters.move_stock(item["id"], location["id"], change)
            kind = "Positive_x0020_Adjmt_x002E_" if change > 0 else "Negative_x0020_Adjmt_x002E_"
            number = f"ADJ{self._books.next_integer('adjustment'):06d}"
            self._posting.ledger_entry(item, change, kind, document_number=number)
            self._notice_all()
        return {"item": item["number"], "location": location["code"], "quantity": held + change}

    # -- the office
    def set_credit_limit(self, body: dict[str, Any]) -> Any:
        customer = self._master("customers", "number", body, "customer")
        customer["creditLimit"] = _decimal(body, "credit_limit")
        self._books.save("customers", customer)
        return {"customer": customer["number"], "credit_limit": customer["creditLimit"]}

    def block_customer(self, body: dict[str, Any]) -> Any:
        """{"customer": number, "blocked": "All"|"Ship"|"Invoice"|"_x0020_"}; All by default."""
        customer = self._master("customers", "number", body, "customer")
        blocked = body.get("blocked", "All")
        if blocked not in ENUMS["customerBlocked"]:
            raise ActionRefused(f"blocked is one of {', '.join(ENUMS['customerBlocked'])}")
        customer["blocked"] = blocked
        self._books.save("customers", customer)
        self._notice_all()
        return {"customer": customer["number"], "blocked": blocked}

    def set_price(self, body: dict[str, Any]) -> Any:
        """{"item", "unit_price"} sets the list price; with "customer" or "minimum_quantity" it is a sales price."""
        item = self._master("items", "number", body, "item")
        price = _decimal(body, "unit_price")
        if {"customer", "minimum_quantity", "unit", "starting", "ending"} & set(body):
            self._masters.set_sales_price(body)
        else:
            item["unitPrice"] = price
            self._books.save("items", item)
        return {"item": item["number"], "unit_price": price}

    def set_item_blocked(self, body: dict[str, Any]) -> Any:
        item = self._master("items", "number", body, "item")
        item["blocked"] = bool(body.get("blocked", True))
        self._books.save("items", item)
        return {"item": item["number"], "blocked": item["blocked"]}

    def delete_order(self, body: dict[str, Any]) -> Any:
        order = self._order(body)
        self._documents.delete(ORDER, order)
        return {"deleted": order["number"]}

    def pay_invoice(self, body: dict[str, Any]) -> Any:
        """{"invoice": number}: the customer has paid all of it."""
        invoice = self._master("salesInvoices", "number", body, "invoice")
        paid = Decimal(invoice["remainingAmount"])
        self._books.save("salesInvoices", {**invoice, "remainingAmount": ZERO, "status": "Paid"})
        self._masters.add_to_balance(invoice["billToCustomerId"], -paid)
        return {"invoice": invoice["number"], "paid": paid}

    # -- finding things
    def _pick_list(self) -> list[dict[str, Any]]:
        return [timer for timer in self._ctx.timers.pending() if timer["action"] == POST_SHIPMENT]

    def _open_lines(self, order_id: str, *, every: bool = False) -> list[Record]:
        codes = self._masters.staff_locations
        own = {location["id"] for location in self._books.all("locations") if location["code"] in codes}
        return [line for line in self._books.lines(ORDER.lines, order_id) if line["lineType"] == "Item" and _outstanding(line) > 0 and (every or line["locationId"] in own)]

    def _on_shelf(self, line: Record) -> Decimal:
        item = self._books.get("items", line["itemId"]) or {}
        location = self._books.get("locations", line["locationId"])
        if item.get("type") != "Inventory" or not self._masters.setup["prevent_negative_inventory"]:
            return _outstanding(line)
        held = Decimal(str(item.get("_stock", {}).get(location["code"] if location else "", 0)))
        per_unit = self._masters.quantity_per_unit(item, line["unitOfMeasureCode"])
        return max(ZERO, min(_outstanding(line), held // per_unit))

    def _order(self, body: Mapping[str, Any]) -> Record:
        order = self._books.first(ORDER.headers, number=body.get("order", ""))
        if order is None:
            raise ActionRefused(f"there is no sales order {body.get('order')!r}")
        return order

    def _line(self, lines: list[Record], wanted: Mapping[str, Any]) -> Record:
        for line in lines:
            if line["sequence"] == wanted.get("sequence") or line["lineObjectNumber"] == wanted.get("item", NO_ID):
                return line
        raise ActionRefused(f"the order has no line {wanted}")

    def _master(self, set_name: str, key: str, body: Mapping[str, Any], name: str) -> Record:
        found = self._books.first(set_name, **{key: body.get(name)})
        if found is None:
            raise ActionRefused(f"there is no {name} {body.get(name)!r}")
        return found


def _outstanding(line: Record) -> Decimal:
    return Decimal(line["quantity"]) - Decimal(line["shippedQuantity"])


def _decimal(body: Mapping[str, Any], name: str) -> Decimal:
    try:
        return Decimal(str(body[name]))
    except (KeyError, InvalidOperation) as error:
        raise ActionRefused(f"{name} is a number") from error
