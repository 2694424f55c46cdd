"""What can the shop's customers and staff be told to do?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from local.simulators.server import ActionRefused
from local.simulators.shopify import aftersales, pricing, stock
from local.simulators.shopify.contract import (
    TOPICS,
    CancelOrder,
    OrderRef,
    PlaceOrder,
    RefundOrder,
    RequestReturn,
    SendWebhook,
    SetPrice,
    SetStock,
    UpdateOrder,
)
from local.simulators.shopify.figures import cents, gid, gid_parts
from local.simulators.shopify.ordering import address_of, place
from local.simulators.shopify.refusal import Refused
from local.simulators.shopify.shop import Document, Shop, new_level

M = TypeVar("M", bound=BaseModel)
Action = Callable[[dict[str, Any]], Any]


class Actions:
    """`POST /_actions/<verb>`; each answers what it made or changed, in the shop's own shape."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    def verbs(self) -> dict[str, Action]:
        return {
            "place_order": self.place_order,
            "cancel_order": self.cancel_order,
            "update_order": self.update_order,
            "set_stock": self.set_stock,
            "set_price": self.set_price,
            "refund": self.refund,
            "request_return": self.request_return,
            "cancel_return": self.cancel_return,
            "send_webhook": self.send_webhook,
        }

    def place_order(self, body: dict[str, Any]) -> Document:
        spec = _read(PlaceOrder, body)
        if spec.line_ids is not None and len(spec.line_ids) != len(spec.lines):
            raise ActionRefused("line_ids names one id for each line")
        if spec.id is not None and self.shop.orders.get(spec.id) is not None:
            raise ActionRefused(f"the shop already has order {spec.id}")
        return place(self.shop, spec)

    def cancel_order(self, body: dict[str, Any]) -> Document:
        spec = _read(CancelOrder, body)
        order = self._order(spec)
        try:
            aftersales.check_cancellable(self.shop, order, spec.note)
        except Refused as refusal:
            raise ActionRefused(str(refusal)) from refusal
        aftersales.cancel(self.shop, order, reason=spec.reason, restock=spec.restock, refund=spec.refund)
        return order

    def update_order(self, body: dict[str, Any]) -> Document:
        spec = _read(UpdateOrder, body)
        changes = spec.model_dump(exclude={"order", "shipping_address"}, exclude_unset=True)
        if spec.shipping_address is not None:
            changes["shipping_address"] = address_of(spec.shipping_address, None)
        try:
            return aftersales.update(self.shop, self._order(spec), changes)
        except Refused as refusal:
            raise ActionRefused(str(refusal)) from refusal

    def set_stock(self, body: dict[str, Any]) -> Document:
        spec = _read(SetStock, body)
        variant = self.shop.variant_by_sku(spec.sku)
        if variant is None:
            raise ActionRefused(f"the shop sells no {spec.sku}")
        location = spec.location_id or self.shop.default_location()["id"]
        if self.shop.locations.get(location) is None:
            raise ActionRefused(f"the shop has no location {location}")
        item = variant["inventory_item_id"]
        level = self.shop.level(item, location) or new_level(item, location)
        stock.change(self.shop, item, location, available=spec.available - level["available"])
        return stock.level_body(self.shop.level(item, location) or level)

    def set_price(self, body: dict[str, Any]) -> Document:
        """The shop's own staff charge another price."""
        spec = _read(SetPrice, body)
        variant = self.shop.variant_by_sku(spec.sku)
        if variant is None:
            raise ActionRefused(f"the shop sells no {spec.sku}")
        return pricing.set_price(self.shop, variant, spec.price)

    def refund(self, body: dict[str, Any]) -> Document:
        spec = _read(RefundOrder, body)
        order = self._order(spec)
        location = gid("Location", self.shop.default_location()["id"])
        lines, money = [], spec.shipping
        for entry in spec.lines:
            line = next((item for item in order["line_items"] if item["sku"] == entry.sku), None)
            if line is None:
                raise ActionRefused(f"order {order['name']} has no {entry.sku}")
            lines.append(
                {
                    "lineItemId": line["admin_graphql_api_id"],
                    "quantity": entry.quantity,
                    "restockType": "RETURN" if entry.restock else "NO_RESTOCK",
                    "locationId": location if entry.restock else None,
                }
            )
            net, tax = aftersales.worth(line, entry.quantity)
            money += net + tax
        given: dict[str, Any] = {"orderId": order["admin_graphql_api_id"], "note": spec.note, "refundLineItems": lines}
        if spec.shipping:
            given["shipping"] = {"amount": spec.shipping}
        if order["financial_status"] not in {"pending", "voided"}:
            given["transactions"] = [{"kind": "REFUND", "amount": cents(money)}]
        try:
            made, _ = aftersales.refund(self.shop, given)
        except Refused as refusal:
            raise ActionRefused(str(refusal)) from refusal
        return made

    def request_return(self, body: dict[str, Any]) -> Document:
        spec = _read(RequestReturn, body)
        lines = [(line.sku, line.quantity) for line in spec.lines]
        try:
            return aftersales.request_return(self.shop, self._order(spec), lines, spec.reason)
        except Refused as refusal:
            raise ActionRefused(str(refusal)) from refusal

    def cancel_return(self, body: dict[str, Any]) -> Document:
        """{"return": number}: the customer keeps the goods."""
        held = self.shop.returns.get(body.get("return"))
        try:
            return aftersales.move_return(self.shop, held, to="canceled", allowed=("open", "requested"), where=("return",), topic="returns/cancel")
        except Refused as refusal:
            raise ActionRefused(str(refusal)) from refusal

    def send_webhook(self, body: dict[str, Any]) -> Document:
        spec = _read(SendWebhook, body)
        if spec.topic not in TOPICS:
            raise ActionRefused(f"the simulator sends {', '.join(sorted(TOPICS))}")
        self.shop.emit(spec.topic, spec.body, regardless=True)
        return {"topic": spec.topic}

    def _order(self, spec: OrderRef) -> Document:
        text = str(spec.order)
        parts = gid_parts(text)
        named = self.shop.names.get(text) or self.shop.names.get(f"#{text}")
        number = parts[1] if parts else named["id"] if named else text
        order = self.shop.orders.get(number)
        if order is None:
            raise ActionRefused(f"the shop has no order {text}")
        return order


def _read(model: type[M], body: dict[str, Any]) -> M:
    try:
        return model.model_validate(body)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, entry['loc']))}: {entry['msg']}" for entry in error.errors())
        raise ActionRefused(problems) from error
