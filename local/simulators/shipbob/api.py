"""Which operations does the ShipBob simulator answer, and how do they read and change the warehouse?"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import urlencode, urlsplit

from local.simulators.server import ActionRefused, Answer, Call, Config, Context, Refusal, Router, Simulator
from local.simulators.shipbob import admission, catalog, contract
from local.simulators.shipbob.returns import Returns
from local.simulators.shipbob.warehouse import Document, Warehouse
from local.simulators.webhooks import Message, Target

VERSION = "/2026-01"
_PAGE = admission.number(1, contract.INT32_MAX)
_LIMIT = admission.number(1, 250)


class ShipBob(Simulator):
    """One ShipBob account with one sales channel."""

    autopilot_defaults: ClassVar[Mapping[str, Any]] = {
        "enabled": True,
        "acknowledge_after_s": 0.3,
        "ship_after_s": 0.9,
        "deliver_after_s": None,
    }
    webhook_retry_seconds: ClassVar[tuple[float, ...]] = (5, 300, 1800, 7200, 18000, 36000, 36000)

    def __init__(self, config: Config, ctx: Context) -> None:
        super().__init__(config, ctx)
        try:
            self.access_token = str(config.credentials["access_token"])
            self.channel_id = int(config.credentials["channel_id"])
        except (KeyError, ValueError) as error:
            raise ValueError(f"ShipBob needs the credentials access_token and channel_id: {error!r}") from error
        self.warehouse = Warehouse(ctx)
        self.channels = ctx.store.collection("channels")
        self.methods = ctx.store.collection("shipping_methods")
        self.returns = Returns(self.warehouse, self.channel_id)
        self.router = self._routes()
        self.actions = {
            "acknowledge": self._each(self._acknowledge),
            "pick": self._each(self.warehouse.pick),
            "ship": self._ship,
            "hold": self._each(self.warehouse.hold, "reason", "Manual"),
            "exception": self._each(self.warehouse.fail, "reason", "OutOfStock"),
            "resume": self._each(self.warehouse.resume),
            "cancel": self._each(self.warehouse.cancel, "reason", "Cancelled by ShipBob"),
            "reject": self._each(self.warehouse.cancel, "reason", "Refused by ShipBob"),
            "deliver": self._each(self.warehouse.deliver),
            "adjust_stock": self._adjust_stock,
            "complete_return": self.returns.complete,
        }

    # ------------------------------------------------------------------------------------------------ the skeleton's side
    def seed(self, seed: dict[str, Any]) -> None:
        catalog.fill(self.warehouse, self.methods, seed)
        name = seed.get("channel_name", "Storefront")
        scopes = ["orders_read", "orders_write", "products_read", "products_write", "inventory_read", "webhooks_read", "webhooks_write"]
        self.channels.put(self.channel_id, {"id": self.channel_id, "name": name, "application_name": name, "scopes": scopes})

    def handle(self, call: Call) -> Answer:
        if not call.path.startswith(VERSION + "/"):
            return Answer(404)
        admission.authorise(call, self.access_token)
        answer = self.router.dispatch(call)
        if answer is None:
            allowed = self.router.methods(call.path)
            return Answer(405, headers={"allow": ", ".join(allowed)}) if allowed else Answer(404)
        return answer

    def operations(self, call: Call) -> list[str]:
        return self.router.names(call)

    def error(self, status: int, detail: str) -> Answer:
        if status in (401, 403, 404, 503):
            return Answer(status)
        headers = {"x-retry-after": "1"} if status == 429 else {}
        return Answer(status, {"errors": [detail]}, headers)

    def snapshot(self) -> dict[str, Any]:
        house = self.warehouse
        return {
            "orders": [house.order_view(order) for order in house.orders.values()],
            "shipments": house.shipments.values(),
            "inventory": [catalog.level_by_location(house, item) for item in house.items.values()],
            "fulfillment_centers": house.centers.values(),
            "returns": self.returns.documents.values(),
            "webhook_subscriptions": house.subscriptions.values(),
        }

    def on_timer(self, action: str, payload: dict[str, Any]) -> None:
        house = self.warehouse
        if action == "deliver":
            shipment = house.shipments.get(payload["shipment_id"])
            if shipment and shipment["status"] == "Completed" and shipment["delivery_date"] is None:
                house.deliver(shipment)
            return
        for shipment in house.shipments_of(payload["order_id"]):
            if shipment["status"] != "Processing":
                continue
            if house.acknowledge(shipment) and action == "ship":
                house.ship(shipment, None, {})

    def sign_webhook(self, message: Message, now: datetime) -> Mapping[str, str]:
        """Standard Webhooks: MAC over id, time of this attempt and body."""
        seconds = str(int(now.timestamp()))
        mac = hmac.new(_key(message.secret), f"{message.id}.{seconds}.".encode() + message.body, hashlib.sha256)
        return {
            "webhook-id": message.id,
            "webhook-timestamp": seconds,
            "webhook-signature": f"v1,{base64.b64encode(mac.digest()).decode()}",
        }

    def check_webhook(self, target: Target) -> None:
        _key(target.secret)

    # ------------------------------------------------------------------------------------------------ routes
    def _routes(self) -> Router:
        router = Router()
        shipment = "/order/{orderId}/shipment/{shipmentId}"
        for method, path, handler, name in (
            ("POST", "/order", self._create_order, "order.create"),
            ("GET", "/order", self._list_orders, "order.list"),
            ("GET", "/order/{orderId:[^/:]+}", self._get_order, "order.get"),
            ("POST", "/order/{orderId:[^/:]+}:cancel", self._cancel_order, "order.cancel"),
            ("GET", "/order/{orderId}/shipment", self._order_shipments, "order.shipments"),
            ("GET", "/order/{orderId}/shipment/{shipmentId:[^/:]+}", self._get_shipment, "shipment.get"),
            ("POST", "/order/{orderId}/shipment/{shipmentId:[^/:]+}:cancel", self._cancel_shipment, "shipment.cancel"),
            ("GET", shipment + "/timeline", self._shipment_log, "shipment.timeline"),
            ("GET", shipment + "/logs", self._shipment_log, "shipment.logs"),
            ("GET", "/shipment/{shipmentId:[^/:]+}", self._get_shipment, "shipment.get"),
            ("POST", "/shipment/{shipmentId:[^/:]+}:cancel", self._cancel_shipment, "shipment.cancel"),
            ("POST", "/shipment:batchCancel", self._batch_cancel, "shipment.batchCancel"),
            ("GET", "/shipment/{shipmentId}/timeline", self._shipment_log, "shipment.timeline"),
            ("GET", "/shipment/{shipmentId}/logs", self._shipment_log, "shipment.logs"),
            ("GET", "/shipping-method", self._shipping_methods, "shipping_method.list"),
            ("GET", "/channel", self._channels, "channel.list"),
            ("GET", "/fulfillment-center", self._centers, "fulfillment_center.list"),
            ("GET", "/location", self._locations, "location.list"),
            ("POST", "/webhook", self._subscribe, "webhook.create"),
            ("GET", "/webhook", self._subscriptions, "webhook.list"),
            ("DELETE", "/webhook/{id}", self._unsubscribe, "webhook.delete"),
            ("GET", "/inventory", self._levels(catalog.inventory), "inventory.list"),
            ("GET", "/inventory/{inventoryId}", self._level(catalog.inventory), "inventory.get"),
            ("GET", "/inventory-level", self._levels(catalog.level), "inventory_level.list"),
            ("GET", "/inventory-level/locations", self._levels(catalog.level_by_location), "inventory_level.locations"),
            ("GET", "/inventory-level/{inventoryId}", self._level(catalog.level), "inventory_level.get"),
            ("GET", "/inventory-level/{inventoryId}/locations", self._level(catalog.level_by_location), "inventory_level.get_locations"),
            ("POST", "/product", self._create_product, "product.create"),
            ("GET", "/product", self._products, "product.list"),
            ("GET", "/product/{productId}", self._product, "product.get"),
            ("GET", "/product/{productId}/variants", self._variants, "product.variants"),
            ("POST", "/return", self.returns.create, "return.create"),
            ("GET", "/return", self.returns.list, "return.list"),
            ("GET", "/return/{id:[^/:]+}", self.returns.get, "return.get"),
            ("POST", "/return/{id:[^/:]+}:cancel", self.returns.cancel, "return.cancel"),
        ):
            router.add(method, VERSION + path, handler, name=name)
        return router

    # ------------------------------------------------------------------------------------------------ orders
    def _create_order(self, call: Call) -> Answer:
        admission.channel(call, self.channel_id, required=True)
        wanted = admission.body(call, contract.CreateOrder)
        house = self.warehouse
        if house.references.get(wanted.reference_id):
            raise admission.refuse(422, "errors", f"An order with reference id {wanted.reference_id} already exists.")
        if wanted.location_id is not None and house.centers.get(wanted.location_id) is None:
            raise admission.refuse(422, "location_id", f"Location {wanted.location_id} does not exist.")
        contents = [self._content(product) for product in wanted.products]
        raw = call.json()
        channel = self.channels.get(self.channel_id) or {}
        order = {
            "id": house.ctx.store.next_id("order", 300001),
            "reference_id": wanted.reference_id,
            "order_number": wanted.order_number or wanted.reference_id,
            "channel": {"id": self.channel_id, "name": channel.get("name")},
            "created_date": house.now(),
            "purchase_date": raw.get("purchase_date"),
            "gift_message": wanted.gift_message,
            "recipient": raw["recipient"],
            "shipping_method": wanted.shipping_method,
            "type": wanted.type,
            "tags": raw.get("tags") or [],
            "products": [product for product, _, _ in contents],
            **{key: raw[key] for key in ("financials", "retailer_program_data", "shipping_terms") if raw.get(key)},
        }
        house.place(order, contents, wanted.location_id)
        return Answer(201, house.order_view(order))

    def _content(self, product: contract.ProductByReference | contract.ProductById) -> tuple[Document, Document, int]:
        """(the order's product, the stocked item, quantity). An unknown reference becomes a new product, as at ShipBob."""
        house = self.warehouse
        if isinstance(product, contract.ProductById):
            item = house.items.first(lambda each: each["variant_id"] == product.id)
            if item is None:
                raise admission.refuse(422, "products", f"Product {product.id} does not exist.")
            reference, extra = item["sku"], {}
        else:
            reference = product.reference_id
            item = house.item_by_sku(reference) or house.add_item(reference, product.name or reference, known=False)
            extra = {"gtin": product.gtin, "upc": product.upc, "unit_price": product.unit_price}
        ordered = {
            "id": item["variant_id"],
            "reference_id": reference,
            "sku": item["sku"],
            "quantity": product.quantity,
            "quantity_unit_of_measure_code": product.quantity_unit_of_measure_code,
            "external_line_id": product.external_line_id,
            **extra,
        }
        return ordered, item, product.quantity

    def _list_orders(self, call: Call) -> Answer:
        admission.channel(call, self.channel_id, required=False)
        asked = admission.query(
            call,
            {
                "Page": _PAGE,
                "Limit": _LIMIT,
                "IDs": admission.numbers,
                "ReferenceIds": admission.texts,
                "StartDate": admission.moment,
                "EndDate": admission.moment,
                "SortOrder": admission.choice("Newest", "Oldest"),
                "HasTracking": admission.truth,
                "LastUpdateStartDate": admission.moment,
                "LastUpdateEndDate": admission.moment,
                "IsTrackingUploaded": admission.truth,
                "LastTrackingUpdateStartDate": admission.moment,
                "LastTrackingUpdateEndDate": admission.moment,
            },
        )
        orders = [order for order in self._candidates(asked) if _matches(order, asked)]
        if asked.get("SortOrder", "Newest") == "Newest":
            orders.reverse()
        limit = asked.get("Limit", 50)
        start = (asked.get("Page", 1) - 1) * limit
        return Answer(200, orders[start : start + limit])

    def _candidates(self, asked: dict[str, Any]) -> list[Document]:
        house = self.warehouse
        if "ReferenceIds" in asked:
            return [house.order_view(order) for reference in asked["ReferenceIds"] if (order := house.order_by_reference(reference))]
        since, until = asked.get("LastUpdateStartDate"), asked.get("LastUpdateEndDate")
        keys = [entry["order_id"] for entry in house.index.values() if _within(entry["last_update_at"], since, until)]
        return [house.order_view(order) for key in keys if (order := house.orders.get(key))]

    def _order(self, call: Call) -> Document:
        admission.channel(call, self.channel_id, required=False)
        order = self.warehouse.orders.get(admission.path_number(call, "orderId"))
        if order is None:
            raise Refusal(Answer(404))
        return order

    def _get_order(self, call: Call) -> Answer:
        return Answer(200, self.warehouse.order_view(self._order(call)))

    def _cancel_order(self, call: Call) -> Answer:
        order = self._order(call)
        shipments = [each for each in self.warehouse.shipments_of(order["id"]) if each["status"] != "Cancelled"]
        if not any(self.warehouse.cancellable(shipment) for shipment in shipments):
            raise admission.refuse(422, "errors", f"Order {order['id']} is not in a cancellable state.")
        results = [self._try_cancel(shipment) for shipment in shipments]
        status = "Success" if all(result["is_success"] for result in results) else "PartialSuccess"
        answer = {
            "order_id": order["id"],
            "order": self.warehouse.order_view(order),
            "canceled_shipment_results": results,
            "status": status,
        }
        return Answer(200, answer)

    def _try_cancel(self, shipment: Document) -> Document:
        possible = self.warehouse.cancellable(shipment)
        if possible:
            self.warehouse.cancel(shipment)
        reason = None if possible else "The shipment has been picked, packed, labelled or shipped."
        return {"action": "Cancel", "is_success": possible, "reason": reason, "shipment_id": shipment["id"]}

    # ------------------------------------------------------------------------------------------------ shipments
    def _shipment(self, call: Call) -> Document:
        admission.channel(call, self.channel_id, required=False)
        shipment = self.warehouse.shipments.get(admission.path_number(call, "shipmentId"))
        if shipment is None or ("orderId" in call.path_values and shipment["order_id"] != admission.path_number(call, "orderId")):
            raise Refusal(Answer(404))
        return shipment

    def _order_shipments(self, call: Call) -> Answer:
        return Answer(200, self.warehouse.shipments_of(self._order(call)["id"]))

    def _get_shipment(self, call: Call) -> Answer:
        return Answer(200, self._shipment(call))

    def _shipment_log(self, call: Call) -> Answer:
        return Answer(200, self.warehouse.log_of(self._shipment(call)["id"]))

    def _cancel_shipment(self, call: Call) -> Answer:
        shipment = self._shipment(call)
        if not self.warehouse.cancellable(shipment):
            raise admission.refuse(422, "errors", f"Shipment {shipment['id']} is not in a cancellable state.")
        self.warehouse.cancel(shipment)
        return Answer(200, shipment)

    def _batch_cancel(self, call: Call) -> Answer:
        admission.channel(call, self.channel_id, required=True)
        wanted = admission.body(call, contract.BatchCancel)
        found = [self.warehouse.shipments.get(key) for key in wanted.shipment_ids]
        if None in found:
            raise admission.refuse(422, "shipment_ids", "A shipment does not exist.")
        return Answer(200, {"results": [self._try_cancel(shipment) for shipment in found if shipment]})

    # ------------------------------------------------------------------------------------------------ places and methods
    def _shipping_methods(self, call: Call) -> Answer:
        asked = admission.query(call, {"Page": admission.number(0, contract.INT32_MAX), "Limit": _LIMIT})
        limit = asked.get("Limit", 50)
        start = max(0, asked.get("Page", 1) - 1) * limit
        return Answer(200, self.methods.values()[start : start + limit])

    def _channels(self, call: Call) -> Answer:
        admission.query(call, {"RecordsPerPage": _LIMIT, "Cursor": str})
        return Answer(200, {"items": self.channels.values(), "next": None, "prev": None})

    def _centers(self, call: Call) -> Answer:
        admission.query(call, {})
        return Answer(200, self.warehouse.centers.values())

    def _locations(self, call: Call) -> Answer:
        admission.query(call, {"IncludeInactive": admission.truth, "ReceivingEnabled": admission.truth, "AccessGranted": admission.truth})
        return Answer(200, [catalog.location(center) for center in self.warehouse.centers.values()])

    # ------------------------------------------------------------------------------------------------ webhooks
    def _subscribe(self, call: Call) -> Answer:
        wanted = admission.body(call, contract.CreateWebhook)
        parts = urlsplit(wanted.url)
        if not parts.hostname or (parts.scheme != "https" and not _is_this_machine(parts.hostname)):
            raise admission.refuse(422, "url", "The subscription url must be an https url.")
        subscription = {
            "id": str(self.ctx.store.next_id("webhook", 5001)),
            "url": wanted.url,
            "topics": list(wanted.topics),
            "description": wanted.description,
            "created_at": self.warehouse.now(),
            "secret": wanted.secret or "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode(),
        }
        self.warehouse.subscriptions.put(subscription["id"], subscription)
        return Answer(200, subscription)

    def _subscriptions(self, call: Call) -> Answer:
        admission.query(call, {"RecordsPerPage": _LIMIT, "Cursor": str})
        shown = [{**each, "enabled": True} for each in self.warehouse.subscriptions.values()]
        for each in shown:
            del each["secret"]
        return Answer(200, {"items": shown, "next": None, "prev": None})

    def _unsubscribe(self, call: Call) -> Answer:
        self.warehouse.subscriptions.delete(call.path_values["id"])
        return Answer(204)

    # ------------------------------------------------------------------------------------------------ inventory, products
    def _levels(self, view: Callable[[Warehouse, Document], Document]) -> Callable[[Call], Answer]:
        def answer(call: Call) -> Answer:
            asked = admission.query(call, catalog.LEVEL_QUERY)
            items = catalog.matching(self.warehouse, asked)
            size, start = asked.get("PageSize", 100), asked.get("Cursor", 0)
            left = [(name, value) for name, value in call.query if name != "Cursor"]
            following = start + size < len(items)
            link = f"{call.path}?{urlencode([*left, ('Cursor', start + size)])}" if following else None
            shown = [view(self.warehouse, item) for item in items[start : start + size]]
            return Answer(200, {"items": shown, "next": link, "prev": None, "first": None, "last": None})

        return answer

    def _level(self, view: Callable[[Warehouse, Document], Document]) -> Callable[[Call], Answer]:
        def answer(call: Call) -> Answer:
            item = self.warehouse.items.get(admission.path_number(call, "inventoryId"))
            if item is None:
                return Answer(404, {"title": "Not Found", "status": 404, "detail": "The inventory item does not exist."})
            return Answer(200, view(self.warehouse, item))

        return answer

    def _create_product(self, call: Call) -> Answer:
        wanted = admission.body(call, contract.CreateProduct)
        for variant in wanted.variants:
            if self.warehouse.item_by_sku(variant.sku):
                raise admission.refuse(422, "sku", f"A variant with SKU {variant.sku} already exists.")
        product_id = self.ctx.store.next_id("product", 60001)
        for variant in wanted.variants:
            self.warehouse.add_item(variant.sku, variant.name or wanted.name, product_id=product_id)
        return Answer(201, catalog.product(self.warehouse, product_id, wanted.name))

    def _products(self, call: Call) -> Answer:
        asked = admission.query(call, catalog.PRODUCT_QUERY)
        return Answer(200, catalog.products(self.warehouse, asked))

    def _product(self, call: Call) -> Answer:
        found = catalog.product(self.warehouse, admission.path_number(call, "productId"))
        return Answer(200, found) if found["variants"] else catalog.NO_PRODUCT

    def _variants(self, call: Call) -> Answer:
        found = catalog.product(self.warehouse, admission.path_number(call, "productId"))
        return Answer(200, found["variants"]) if found["variants"] else catalog.NO_PRODUCT

    # ------------------------------------------------------------------------------------------------ staff actions
    def _meant(self, body: dict[str, Any]) -> list[Document]:
        """The shipments a staff action is about: by shipment_id, order_id or reference_id; finished ones left out."""
        house = self.warehouse
        if "shipment_id" in body:
            shipment = house.shipments.get(body["shipment_id"])
            found = [shipment] if shipment else []
        else:
            order = house.order_by_reference(body["reference_id"]) if "reference_id" in body else house.orders.get(body["order_id"])
            found = house.shipments_of(order["id"]) if order else []
        if not found:
            raise ActionRefused(f"there is no shipment for {body}")
        return found

    def _each(self, step: Callable[..., object], option: str = "", default: str = "") -> Callable[[dict[str, Any]], Any]:
        def act(body: dict[str, Any]) -> Any:
            found = self._meant(body)
            open_ones = [each for each in found if each["status"] not in ("Completed", "Cancelled")] or found
            if step == self.warehouse.deliver:
                open_ones = [each for each in found if each["status"] == "Completed"] or found
            for shipment in open_ones:
                if option:
                    step(shipment, str(body.get(option) or default))
                else:
                    step(shipment)
            return {"shipments": open_ones}

        return act

    def _acknowledge(self, shipment: Document) -> None:
        if shipment["status"] != "Processing":
            raise ActionRefused(f"cannot acknowledge shipment {shipment['id']}: it is {shipment['status']}")
        self.warehouse.acknowledge(shipment)

    def _ship(self, body: dict[str, Any]) -> Any:
        lines = None
        if body.get("lines") is not None:
            lines = {str(line["sku"]): int(line["quantity"]) for line in body["lines"]}
        shipped = []
        for shipment in self._meant(body):
            if shipment["status"] not in ("Processing", "LabeledCreated"):
                continue
            mine = None
            if lines is not None:
                here = {product["sku"] for product in shipment["products"]}
                mine = {sku: quantity for sku, quantity in lines.items() if sku in here}
                if not mine:
                    continue
                lines = {sku: quantity for sku, quantity in lines.items() if sku not in here}
            shipped.append(self.warehouse.ship(shipment, mine, body))
        if not shipped or lines:
            raise ActionRefused(f"nothing that could ship for {body}")
        return {"shipments": shipped}

    def _adjust_stock(self, body: dict[str, Any]) -> Any:
        house = self.warehouse
        item = house.item_by_sku(str(body["sku"]))
        if item is None:
            raise ActionRefused(f"there is no SKU {body['sku']}")
        location = int(body.get("fulfillment_center_id") or house.centers.values()[0]["id"])
        if house.centers.get(location) is None:
            raise ActionRefused(f"there is no fulfillment center {location}")
        now_there = house.level(item["inventory_id"], location)["on_hand"]
        delta = int(body["delta"]) if "delta" in body else int(body["quantity"]) - now_there
        if now_there + delta < 0:
            raise ActionRefused(f"{now_there} on hand: cannot take {-delta} away")
        house.change_level(item["inventory_id"], location, on_hand=delta)
        return catalog.level_by_location(house, item)


def _within(moment: str | None, since: datetime | None, until: datetime | None) -> bool:
    if moment is None:
        return since is None and until is None
    when = datetime.fromisoformat(moment)
    return (since is None or when >= since) and (until is None or when <= until)


def _matches(order: Document, asked: dict[str, Any]) -> bool:
    tracked = [each for each in order["shipments"] if each.get("tracking")]
    return (
        ("IDs" not in asked or order["id"] in asked["IDs"])
        and ("HasTracking" not in asked or bool(tracked) is asked["HasTracking"])
        and ("IsTrackingUploaded" not in asked or _uploaded(tracked) is asked["IsTrackingUploaded"])
        and _within(order["created_date"], asked.get("StartDate"), asked.get("EndDate"))
        and _any_within(order["shipments"], "last_update_at", asked.get("LastUpdateStartDate"), asked.get("LastUpdateEndDate"))
        and _any_within(tracked, "last_tracking_update_at", asked.get("LastTrackingUpdateStartDate"), asked.get("LastTrackingUpdateEndDate"))
    )


def _uploaded(tracked: list[Document]) -> bool:
    return bool(tracked) and all(each["is_tracking_uploaded"] for each in tracked)


def _any_within(shipments: list[Document], field: str, since: datetime | None, until: datetime | None) -> bool:
    return (since is None and until is None) or any(_within(each[field], since, until) for each in shipments)


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _key(secret: str) -> bytes:
    """The signing key in a `whsec_` secret. Raises ValueError when it is none."""
    if not secret.startswith("whsec_"):
        raise ValueError("a ShipBob webhook secret starts with whsec_")
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError as error:
        raise ValueError("a ShipBob webhook secret is whsec_ and base64") from error
