"""What happens inside ShipBob: stock is allocated, shipments move on, and who subscribed is told."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from local.simulators.server import ActionRefused, Context
from local.simulators.webhooks import Target

Document = dict[str, Any]

# Status details as ShipBob's status reference groups them: 100 processing, 200 completed, 300 exception, 400 on hold.
PICKED = (100, "Picked", "The shipment has been picked")
LABELED = (102, "Labeled", "The shipment has been labeled")
IN_TRANSIT = (201, "InTransit", "The shipment is in transit to its destination")
DELIVERED = (203, "Delivered", "The shipment has been delivered")
EXCEPTIONS = {
    "InactiveSku": (302, "InactiveSku", "An ordered item is inactive"),
    "OutOfStock": (303, "OutOfStock", "An ordered item is out of stock"),
    "UnknownSku": (304, "UnknownSku", "An ordered item is not known"),
}
HOLDS = {
    "PaymentDeclined": (401, "PaymentDeclined", "The payment on file was declined"),
    "InvalidAddress": (402, "InvalidAddress", "The shipping address is missing or invalid"),
    "Manual": (405, "Manual", "The shipment was put on hold by hand"),
}
CANCELLABLE = ("Processing", "Exception", "OnHold", "ImportReview", "None")


class Warehouse:
    """The stateful heart: orders, shipments, inventory, and the webhooks their changes cause."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.orders = ctx.store.collection("orders")
        self.shipments = ctx.store.collection("shipments")
        self.logs = ctx.store.collection("shipment_logs")
        self.items = ctx.store.collection("inventory")
        self.stock = ctx.store.collection("stock")
        self.centers = ctx.store.collection("fulfillment_centers")
        self.subscriptions = ctx.store.collection("webhook_subscriptions")
        self.index = ctx.store.collection("order_index")
        """Order id to its shipments' ids and its last update, so that a poll need not read every shipment."""
        self.references = ctx.store.collection("order_references")
        self.skus = ctx.store.collection("skus")

    # ------------------------------------------------------------------------------------------------ time and stock
    def now(self) -> str:
        return stamp(self.ctx.clock.now())

    def add_item(self, sku: str, name: str, *, product_id: int | None = None, active: bool = True, known: bool = True) -> Document:
        """A stocked item: one variant of a product. `known` is False for one that only an order has named."""
        item = {
            "inventory_id": self.ctx.store.next_id("inventory", 20001),
            "variant_id": self.ctx.store.next_id("variant", 40001),
            "product_id": product_id or self.ctx.store.next_id("product", 60001),
            "sku": sku,
            "name": name,
            "is_active": active,
            "is_known": known,
            "created_on": self.now(),
        }
        self.items.put(item["inventory_id"], item)
        self.skus.put(sku, {"inventory_id": item["inventory_id"]})
        return item

    def item_by_sku(self, sku: str) -> Document | None:
        known = self.skus.get(sku)
        return self.items.get(known["inventory_id"]) if known else None

    def level(self, inventory_id: int, location_id: int) -> Document:
        """On hand and committed of one item at one fulfillment center."""
        return self.stock.get(f"{inventory_id}@{location_id}") or {
            "inventory_id": inventory_id,
            "location_id": location_id,
            "on_hand": 0,
            "committed": 0,
        }

    def change_level(self, inventory_id: int, location_id: int, *, on_hand: int = 0, committed: int = 0) -> None:
        level = self.level(inventory_id, location_id)
        level["on_hand"] += on_hand
        level["committed"] += committed
        self.stock.put(f"{inventory_id}@{location_id}", level)

    def fulfillable(self, inventory_id: int, location_id: int) -> int:
        level = self.level(inventory_id, location_id)
        return max(0, int(level["on_hand"]) - int(level["committed"]))

    # ------------------------------------------------------------------------------------------------ orders
    def place(self, order: Document, contents: list[tuple[Document, Document, int]], location_id: int | None) -> None:
        """Store a new order with its shipments. `contents`: (ordered product, item, quantity)."""
        self.orders.put(order["id"], order)
        self.references.put(order["reference_id"], {"order_id": order["id"]})
        for place, share in self._split(contents, location_id):
            self._add_shipment(order, place, share)
        pilot = self.ctx.autopilot
        for verb in ("acknowledge", "ship"):
            if pilot[f"{verb}_after_s"] is not None:
                self.ctx.schedule(pilot[f"{verb}_after_s"], verb, {"order_id": order["id"]})

    def _split(self, contents: list[tuple[Document, Document, int]], location_id: int | None) -> list[tuple[int, list[tuple[Document, Document, int]]]]:
        """Which fulfillment center ships what: one that has everything, else each item where there is enough of it."""
        if location_id is not None:
            return [(location_id, contents)]
        centers = [center["id"] for center in self.centers.values()]
        for center in centers:
            if all(self.fulfillable(item["inventory_id"], center) >= wanted for _, item, wanted in contents):
                return [(center, contents)]
        shares: dict[int, list[tuple[Document, Document, int]]] = {}
        for entry in contents:
            _, item, wanted = entry
            having = [center for center in centers if self.fulfillable(item["inventory_id"], center) >= wanted]
            shares.setdefault((having or centers)[0], []).append(entry)
        return sorted(shares.items())

    def _add_shipment(self, order: Document, location_id: int, contents: list[tuple[Document, Document, int]]) -> Document:
        center = self.centers.get(location_id) or {}
        now = self.now()
        recipient = order["recipient"]
        shipment = {
            "id": self.ctx.store.next_id("shipment", 90001),
            "order_id": order["id"],
            "reference_id": order["reference_id"],
            "created_date": now,
            "last_update_at": now,
            "last_tracking_update_at": None,
            "actual_fulfillment_date": None,
            "delivery_date": None,
            "estimated_fulfillment_date": None,
            "estimated_fulfillment_date_status": "AwaitingInventoryAllocation",
            "gift_message": order["gift_message"],
            "insurance_value": None,
            "invoice_amount": None,
            "invoice_currency_code": None,
            "is_tracking_uploaded": False,
            "location": {"id": location_id, "name": center.get("name")},
            "measurements": {"depth_in": 0, "length_in": 0, "total_weight_oz": 0, "width_in": 0},
            "package_material_type": "Box",
            "parent_cartons": [],
            "products": [_packed(product, item, quantity) for product, item, quantity in contents],
            "recipient": {**recipient, "full_name": recipient["name"]},
            "require_signature": False,
            "ship_option": order["shipping_method"],
            "status": "Processing",
            "status_details": [],
        }
        self._put(shipment)
        self._log(shipment, 601, "OrderPlaced", "Order was placed")
        return shipment

    def _put(self, shipment: Document) -> None:
        self.shipments.put(shipment["id"], shipment)
        entry = self.index.get(shipment["order_id"]) or {"order_id": shipment["order_id"], "shipment_ids": []}
        if shipment["id"] not in entry["shipment_ids"]:
            entry["shipment_ids"].append(shipment["id"])
        entry["last_update_at"] = shipment["last_update_at"]
        self.index.put(shipment["order_id"], entry)

    def shipments_of(self, order_id: int) -> list[Document]:
        entry = self.index.get(order_id) or {"shipment_ids": []}
        return [shipment for key in entry["shipment_ids"] if (shipment := self.shipments.get(key))]

    def order_by_reference(self, reference_id: str) -> Document | None:
        known = self.references.get(reference_id)
        return self.orders.get(known["order_id"]) if known else None

    def order_view(self, order: Document) -> Document:
        """The order as the API shows it, its shipments in it and its status computed from theirs."""
        shipments = self.shipments_of(order["id"])
        return {**order, "shipments": shipments, "status": _order_status([each["status"] for each in shipments])}

    # ------------------------------------------------------------------------------------------------ what staff does
    def acknowledge(self, shipment: Document) -> bool:
        """Allocate stock: from here on the 3PL has taken the shipment on. False when it went into exception or on hold."""
        if shipment["status"] != "Processing" or _allocated(shipment):
            return bool(shipment["status"] == "Processing")
        address = shipment["recipient"]["address"]
        if address["country"] in ("US", "CA") and not (address.get("state") and address.get("zip_code")):
            self.hold(shipment, "InvalidAddress")
            return False
        location = shipment["location"]["id"]
        short = [(item, reason) for item in packed_items(shipment) if (reason := self._short(item, location))]
        if short:
            self.fail(shipment, short[0][1], short[0][0]["id"])
            return False
        for item in packed_items(shipment):
            self.change_level(item["id"], location, committed=item["quantity"])
            item["quantity_committed"] = item["quantity"]
        due = stamp(self.ctx.clock.now() + timedelta(days=1))
        shipment.update(estimated_fulfillment_date=due, estimated_fulfillment_date_status="PendingOnTime", status_details=[])
        self._save(shipment, 602, "InventoryAllocated", "Inventory was allocated")
        return True

    def _short(self, packed: Document, location: int) -> str | None:
        item = self.items.get(packed["id"]) or {"is_active": False, "is_known": False}
        if not item["is_active"]:
            return "InactiveSku"
        if not item["is_known"]:
            return "UnknownSku"
        return "OutOfStock" if self.fulfillable(packed["id"], location) < packed["quantity"] else None

    def pick(self, shipment: Document) -> None:
        """From here on a cancellation is refused."""
        self._demand(shipment, shipment["status"] == "Processing" and _allocated(shipment), "pick")
        shipment["status_details"] = [_detail(PICKED)]
        self._save(shipment, 604, "Picked", "The shipment was picked")

    def ship(self, shipment: Document, lines: dict[str, int] | None, tracking: Document) -> Document:
        """Send the shipment off, whole or only `lines` (SKU to quantity); what is left becomes a shipment of its own."""
        self._demand(shipment, shipment["status"] in ("Processing", "LabeledCreated"), "ship")
        if not _allocated(shipment) and not self.acknowledge(shipment):
            raise ActionRefused(f"shipment {shipment['id']} cannot ship: it is now {shipment['status']}")
        rest = self._keep_only(shipment, lines) if lines is not None else None
        for item in packed_items(shipment):
            self.change_level(item["id"], shipment["location"]["id"], on_hand=-item["quantity"], committed=-item["quantity_committed"])
            item["quantity_committed"] = 0
        now = self.now()
        number = tracking.get("tracking_number") or f"1Z999AA1{shipment['id']:010d}"
        shipment.update(
            status="Completed",
            status_details=[_detail(IN_TRANSIT)],
            actual_fulfillment_date=now,
            last_tracking_update_at=now,
            estimated_fulfillment_date_status="FulfilledOnTime",
            measurements={"depth_in": 8, "length_in": 12, "total_weight_oz": 32, "width_in": 10},
            tracking={
                "carrier": tracking.get("carrier") or "UPS",
                "carrier_service": tracking.get("carrier_service") or "UPS Ground",
                "tracking_number": number,
                "tracking_url": tracking.get("tracking_url") or f"https://www.ups.com/track?tracknum={number}",
                "shipping_date": now,
                "bol": None,
                "pro_number": None,
                "scac": None,
            },
        )
        self._save(shipment, 607, "LabelPurchased", "The label was purchased, printed and scanned")
        self.tell("order.shipped", shipment)
        if rest is not None:
            self._put({**rest, "last_update_at": now})
            self._log(rest, 601, "OrderPlaced", "Split off from a partial shipment")
        if self.ctx.autopilot["deliver_after_s"] is not None:
            self.ctx.schedule(self.ctx.autopilot["deliver_after_s"], "deliver", {"shipment_id": shipment["id"]})
        return shipment

    def _keep_only(self, shipment: Document, lines: dict[str, int]) -> Document | None:
        held = {product["sku"]: sum(item["quantity"] for item in product["inventory_items"]) for product in shipment["products"]}
        for sku, quantity in lines.items():
            if not 0 < quantity <= held.get(sku, 0):
                raise ActionRefused(f"{quantity} of {sku} cannot ship: shipment {shipment['id']} holds {held.get(sku, 0)}")
        rest = [_take(product, held[product["sku"]] - lines.get(product["sku"], 0)) for product in shipment["products"]]
        shipment["products"] = [_take(product, lines[product["sku"]]) for product in shipment["products"] if product["sku"] in lines]
        remaining = [product for product in rest if product["inventory_items"][0]["quantity"]]
        if not remaining:
            return None
        return {**shipment, "id": self.ctx.store.next_id("shipment", 90001), "created_date": self.now(), "products": remaining}

    def hold(self, shipment: Document, reason: str) -> None:
        self._demand(shipment, shipment["status"] in ("Processing", "Exception"), "hold")
        self._release_stock(shipment)
        shipment.update(status="OnHold", status_details=[_detail(HOLDS.get(reason) or (405, reason, reason))])
        self._save(shipment, 620, "OnHold", f"On hold: {reason}")
        self.tell("order.shipment.on_hold", shipment)

    def fail(self, shipment: Document, reason: str, inventory_id: int | None = None) -> None:
        """Into exception: it cannot be fulfilled as things stand."""
        self._demand(shipment, shipment["status"] in ("Processing", "OnHold"), "fail")
        self._release_stock(shipment)
        detail = _detail(EXCEPTIONS.get(reason) or (303, reason, reason))
        detail.update(inventory_id=inventory_id, exception_fulfillment_center_id=shipment["location"]["id"])
        shipment.update(status="Exception", status_details=[detail], estimated_fulfillment_date_status="AwaitingReset")
        self._save(shipment, 621, "Exception", f"Exception: {reason}")
        self.tell("order.shipment.exception", shipment)

    def resume(self, shipment: Document) -> None:
        """The cause of a hold or an exception is gone: back into processing."""
        self._demand(shipment, shipment["status"] in ("OnHold", "Exception"), "resume")
        shipment.update(status="Processing", status_details=[], estimated_fulfillment_date_status="AwaitingInventoryAllocation")
        self._save(shipment, 622, "Resumed", "Back into processing")
        pilot = self.ctx.autopilot
        for verb in ("acknowledge", "ship"):
            if pilot[f"{verb}_after_s"] is not None:
                self.ctx.schedule(pilot[f"{verb}_after_s"], verb, {"order_id": shipment["order_id"]})

    def cancellable(self, shipment: Document) -> bool:
        """Neither cancelled nor picked, packed, labelled or shipped."""
        started = any(100 <= detail["id"] < 200 for detail in shipment["status_details"])
        return shipment["status"] in CANCELLABLE and not started

    def cancel(self, shipment: Document, reason: str = "Cancelled by merchant") -> None:
        self._demand(shipment, self.cancellable(shipment), "cancel")
        self._release_stock(shipment)
        shipment.update(status="Cancelled", status_details=[])
        self._save(shipment, 630, "Cancelled", reason)
        self.tell("order.shipment.cancelled", shipment)

    def deliver(self, shipment: Document) -> None:
        self._demand(shipment, shipment["status"] == "Completed" and shipment["delivery_date"] is None, "deliver")
        now = self.now()
        shipment.update(delivery_date=now, last_tracking_update_at=now, status_details=[_detail(DELIVERED)])
        self._save(shipment, 640, "Delivered", "The carrier delivered the shipment")
        self.tell("order.shipment.delivered", shipment)

    def _demand(self, shipment: Document, possible: bool, verb: str) -> None:
        if not possible:
            state = ", ".join([shipment["status"], *(detail["name"] for detail in shipment["status_details"])])
            raise ActionRefused(f"cannot {verb} shipment {shipment['id']}: it is {state}")

    def _release_stock(self, shipment: Document) -> None:
        for item in packed_items(shipment):
            if item["quantity_committed"]:
                self.change_level(item["id"], shipment["location"]["id"], committed=-item["quantity_committed"])
                item["quantity_committed"] = 0

    def _save(self, shipment: Document, log_type: int, name: str, text: str) -> None:
        shipment["last_update_at"] = self.now()
        self._put(shipment)
        self._log(shipment, log_type, name, text)

    def _log(self, shipment: Document, log_type: int, name: str, text: str) -> None:
        entry = {"log_type_id": log_type, "log_type_name": name, "log_type_text": text, "metadata": {}, "timestamp": self.now()}
        self.logs.put(self.ctx.store.next_id("_log"), {"shipment_id": shipment["id"], **entry})

    def log_of(self, shipment_id: int) -> list[Document]:
        return [{key: value for key, value in entry.items() if key != "shipment_id"} for entry in self.logs.find(lambda entry: entry["shipment_id"] == shipment_id)]

    def tell(self, topic: str, body: Document) -> None:
        """Send a webhook to the stack that was set as receiver and to every subscription made through the API."""
        headers = {"x-webhook-topic": topic}
        subscribed = [each for each in self.subscriptions.values() if topic in each["topics"]]
        for each in subscribed:
            self._send(topic, body, headers, Target(each["url"], each["secret"]))
        if not subscribed or self.ctx.webhooks.target:
            self._send(topic, body, headers, None)

    def _send(self, topic: str, body: Document, headers: dict[str, str], target: Target | None) -> None:
        self.ctx.webhooks.send(topic, body, headers=headers, target=target, message_id=f"msg_{uuid.uuid4().hex}")


def stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def packed_items(shipment: Document) -> Iterable[Document]:
    return (item for product in shipment["products"] for item in product["inventory_items"])


def _allocated(shipment: Document) -> bool:
    return all(item["quantity_committed"] >= item["quantity"] for item in packed_items(shipment))


def _packed(product: Document, item: Document, quantity: int) -> Document:
    return {
        "id": item["variant_id"],
        "name": item["name"],
        "reference_id": product["reference_id"],
        "sku": item["sku"],
        "inventory_items": [
            {
                "id": item["inventory_id"],
                "name": item["name"],
                "quantity": quantity,
                "quantity_committed": 0,
                "lot": None,
                "expiration_date": None,
                "is_dangerous_goods": False,
                "serial_numbers": [],
            }
        ],
    }


def _take(product: Document, quantity: int) -> Document:
    """The packed product with another quantity, as much of it committed as it was."""
    item = product["inventory_items"][0]
    return {**product, "inventory_items": [{**item, "quantity": quantity, "quantity_committed": quantity}]}


def _detail(detail: tuple[int, str, str]) -> Document:
    key, name, description = detail
    return {
        "id": key,
        "name": name,
        "description": description,
        "inventory_id": None,
        "exception_fulfillment_center_id": None,
    }


def _order_status(statuses: list[str]) -> str:
    if statuses and all(status == "Cancelled" for status in statuses):
        return "Cancelled"
    alive = [status for status in statuses if status != "Cancelled"]
    if "ImportReview" in alive:
        return "ImportReview"
    if alive and all(status == "Completed" for status in alive):
        return "Fulfilled"
    if "Completed" in alive:
        return "PartiallyFulfilled"
    return "Exception" if {"Exception", "OnHold"} & set(alive) else "Processing"
