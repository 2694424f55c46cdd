"""Which Admin mutations does the shop carry out, and what does each answer?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from graphql import GraphQLError, GraphQLResolveInfo
from pydantic import ValidationError

from local.simulators.server import ActionRefused
from local.simulators.shopify import aftersales, fulfilling, idempotency, ordering, pricing, stock
from local.simulators.shopify.contract import MAX_METAFIELDS_PER_CALL, PlaceOrder
from local.simulators.shopify.figures import gid_parts
from local.simulators.shopify.nodes import Node, Nodes, Resolver, job_node, metafield_key, unsupported, without_info
from local.simulators.shopify.refusal import Refused, UserError, refuse
from local.simulators.shopify.shop import Document, Shop


class Mutations:
    """One method per mutation, named as the schema names it. Each validates before it changes anything."""

    def __init__(self, shop: Shop, nodes: Nodes) -> None:
        self.shop = shop
        self.nodes = nodes

    def resolvers(self) -> dict[str, Resolver]:
        plain: dict[str, Callable[..., Node]] = {
            "fulfillmentCreate": self.fulfillment_create,
            "fulfillmentTrackingInfoUpdate": self.fulfillment_tracking_info_update,
            "fulfillmentCancel": self.fulfillment_cancel,
            "fulfillmentOrderHold": self.fulfillment_order_hold,
            "fulfillmentOrderReleaseHold": self.fulfillment_order_release_hold,
            "metafieldsSet": self.metafields_set,
            "orderCancel": self.order_cancel,
            "orderCreate": self.order_create,
            "orderUpdate": self.order_update,
            "productVariantsBulkUpdate": self.product_variants_bulk_update,
            "returnApproveRequest": self.return_approve_request,
            "returnCancel": self.return_cancel,
            "returnClose": self.return_close,
            "returnCreate": self.return_create,
            "returnDeclineRequest": self.return_decline_request,
            "tagsAdd": self.tags_add,
            "tagsRemove": self.tags_remove,
        }
        return {
            **{name: without_info(work) for name, work in plain.items()},
            "inventoryAdjustQuantities": self.inventory_adjust_quantities,
            "inventorySetQuantities": self.inventory_set_quantities,
            "refundCreate": self.refund_create,
        }

    # ------------------------------------------------------------------ fulfilment
    def fulfillment_create(self, fulfillment: dict[str, Any], **_quiet: Any) -> Node:
        if fulfillment.get("originAddress") is not None:
            raise unsupported("fulfillmentCreate with originAddress")
        try:
            made = fulfilling.create(self.shop, fulfillment)
        except Refused as refusal:
            return {"fulfillment": None, "userErrors": _nodes(refusal)}
        return {"fulfillment": self.nodes.fulfillment(made), "userErrors": []}

    def fulfillment_tracking_info_update(
        self,
        fulfillmentId: str,  # noqa: N803 - the schema's name
        trackingInfoInput: dict[str, Any],  # noqa: N803
        **_quiet: Any,
    ) -> Node:
        try:
            found = self._found(fulfillmentId, "Fulfillment", self.shop.fulfillments.get, "fulfillmentId")
            changed = fulfilling.track(self.shop, found, trackingInfoInput)
        except Refused as refusal:
            return {"fulfillment": None, "userErrors": _nodes(refusal)}
        return {"fulfillment": self.nodes.fulfillment(changed), "userErrors": []}

    def fulfillment_cancel(self, id: str) -> Node:  # noqa: A002
        try:
            found = self._found(id, "Fulfillment", self.shop.fulfillments.get, "id")
            changed = fulfilling.cancel(self.shop, found)
        except Refused as refusal:
            return {"fulfillment": None, "userErrors": _nodes(refusal)}
        return {"fulfillment": self.nodes.fulfillment(changed), "userErrors": []}

    def fulfillment_order_hold(self, id: str, fulfillmentHold: dict[str, Any]) -> Node:  # noqa: A002, N803
        if fulfillmentHold.get("fulfillmentOrderLineItems"):
            raise unsupported("fulfillmentOrderHold of part of a fulfillment order")
        empty = {"fulfillmentHold": None, "fulfillmentOrder": None, "remainingFulfillmentOrder": None}
        try:
            found = self._found(id, "FulfillmentOrder", self.shop.fulfillment_orders.get, "id")
            held = fulfilling.hold(self.shop, found, fulfillmentHold)
        except Refused as refusal:
            return {**empty, "userErrors": _nodes(refusal)}
        node = self.nodes.fulfillment_order(found)
        return {**empty, "fulfillmentHold": self.nodes.hold(held), "fulfillmentOrder": node, "userErrors": []}

    def fulfillment_order_release_hold(
        self,
        id: str,  # noqa: A002
        holdIds: list[str] | None = None,  # noqa: N803
        externalId: str | None = None,  # noqa: N803
    ) -> Node:
        if externalId is not None:
            raise unsupported("fulfillmentOrderReleaseHold by externalId")
        try:
            found = self._found(id, "FulfillmentOrder", self.shop.fulfillment_orders.get, "id")
            fulfilling.release(self.shop, found, holdIds)
        except Refused as refusal:
            return {"fulfillmentOrder": None, "userErrors": _nodes(refusal)}
        return {"fulfillmentOrder": self.nodes.fulfillment_order(found), "userErrors": []}

    # ------------------------------------------------------------------ stock
    def inventory_set_quantities(self, info: GraphQLResolveInfo, input: dict[str, Any]) -> Node:  # noqa: A002
        idempotency.require_compare_field(input["quantities"], "InventoryQuantityInput")
        return self._stock_change(info, input, stock.set_quantities)

    def inventory_adjust_quantities(self, info: GraphQLResolveInfo, input: dict[str, Any]) -> Node:  # noqa: A002
        idempotency.require_compare_field(input["changes"], "InventoryChangeInput")
        return self._stock_change(info, input, stock.adjust_quantities)

    def _stock_change(self, info: GraphQLResolveInfo, given: dict[str, Any], work: Callable[[Shop, dict[str, Any]], Document]) -> Node:
        key = idempotency.key_of(info) or ""
        try:
            group = idempotency.once(self.shop, key, info.field_name, given, lambda: work(self.shop, given))
        except Refused as refusal:
            return {"inventoryAdjustmentGroup": None, "userErrors": _nodes(refusal)}
        node = self.nodes.adjustment_group(group) if group["changes"] else None
        return {"inventoryAdjustmentGroup": node, "userErrors": []}

    # ------------------------------------------------------------------ prices
    def product_variants_bulk_update(
        self,
        productId: str,  # noqa: N803 - the schema's name
        variants: list[dict[str, Any]],
        **_quiet: Any,
    ) -> Node:
        """Prices only. All of them or none, as without allowPartialUpdates."""
        try:
            changed = pricing.set_prices(self.shop, productId, variants)
        except Refused as refusal:
            return {"product": None, "productVariants": None, "userErrors": _nodes(refusal)}
        return {"productVariants": [self.nodes.variant(variant) for variant in changed], "userErrors": []}

    # ------------------------------------------------------------------ orders
    def order_cancel(
        self,
        orderId: str,  # noqa: N803
        reason: str,
        restock: bool,
        refund: bool | None = None,
        refundMethod: dict[str, Any] | None = None,  # noqa: N803
        staffNote: str | None = None,  # noqa: N803
        **_quiet: Any,
    ) -> Node:
        if refund is not None and refundMethod is not None:
            raise GraphQLError("Only one of refund and refundMethod can be given", extensions={"code": "BAD_REQUEST"})
        if refundMethod and refundMethod.get("storeCreditRefund"):
            raise unsupported("orderCancel with a store credit refund")
        money_back = bool(refund) or bool((refundMethod or {}).get("originalPaymentMethodsRefund"))
        try:
            order = aftersales.check_cancellable(self.shop, self._order(orderId), staffNote)
        except Refused as refusal:
            return {"job": None, "jobResult": None, "orderCancelUserErrors": _nodes(refusal), "userErrors": _nodes(refusal)}
        job = aftersales.cancel(self.shop, order, reason=reason, restock=restock, refund=money_back)
        # The vendor's job runs on after the answer, so the answer says that it is not done yet; `job(id)` says it is.
        return {"job": job_node(job), "orderCancelUserErrors": [], "userErrors": []}

    def order_create(self, order: dict[str, Any], **_options: Any) -> Node:
        try:
            made = ordering.place(self.shop, _placed(order), source_name=order.get("sourceName") or "api")
            made["source_identifier"] = order.get("sourceIdentifier")
            self.shop.orders.put(made["id"], made)
        except (ActionRefused, ValidationError) as error:
            first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            refusal = [UserError(first, ("order",), "INVALID").node()]
            return {"order": None, "userErrors": refusal}
        return {"order": self.nodes.order(made), "userErrors": []}

    def order_update(self, input: dict[str, Any]) -> Node:  # noqa: A002
        known = {"id", "note", "tags", "email", "poNumber", "customAttributes"}
        if set(input) - known:
            raise unsupported(f"orderUpdate of {', '.join(sorted(set(input) - known))}")
        changes: dict[str, Any] = {name: input[name] for name in ("note", "tags", "email") if name in input}
        if "poNumber" in input:
            changes["po_number"] = input["poNumber"]
        if "customAttributes" in input:
            pairs = input["customAttributes"] or []
            changes["note_attributes"] = [{"name": pair["key"], "value": pair["value"]} for pair in pairs]
        try:
            found = self._found(input["id"], "Order", self.shop.orders.get, "id")
            changed = aftersales.update(self.shop, found, changes)
        except Refused as refusal:
            return {"order": None, "userErrors": _nodes(refusal)}
        return {"order": self.nodes.order(changed), "userErrors": []}

    def refund_create(self, info: GraphQLResolveInfo, input: dict[str, Any]) -> Node:  # noqa: A002
        for name in ("refundDuties", "refundMethods", "discrepancyReason"):
            if input.get(name):
                raise unsupported(f"refundCreate with {name}")
        key = idempotency.key_of(info) or ""

        def work() -> Document:
            made, order = aftersales.refund(self.shop, input)
            return {"refund": made["id"], "order": order["id"]}

        try:
            result = idempotency.once(self.shop, key, info.field_name, input, work)
        except Refused as refusal:
            return {"refund": None, "order": None, "userErrors": _nodes(refusal)}
        made = self.shop.refunds.get(result["refund"]) or {}
        order = self.shop.orders.get(result["order"]) or {}
        return {"refund": self.nodes.refund(made), "order": self.nodes.order(order), "userErrors": []}

    # ------------------------------------------------------------------ what comes back
    def return_create(self, returnInput: dict[str, Any], **_quiet: Any) -> Node:  # noqa: N803
        for name in ("exchangeLineItems", "returnShippingFee"):
            if returnInput.get(name):
                raise unsupported(f"returnCreate with {name}")
        try:
            made = aftersales.create_return(self.shop, returnInput)
        except Refused as refusal:
            return {"return": None, "userErrors": _nodes(refusal)}
        return {"return": self.nodes.return_(made), "userErrors": []}

    def return_approve_request(self, input: dict[str, Any]) -> Node:  # noqa: A002
        return self._move_return(input["id"], to="open", allowed=("requested",), where=("input", "id"), topic="returns/approve")

    def return_decline_request(self, input: dict[str, Any]) -> Node:  # noqa: A002
        return self._move_return(input["id"], to="declined", allowed=("requested",), where=("input", "id"), topic="returns/decline")

    def return_close(self, id: str) -> Node:  # noqa: A002
        return self._move_return(id, to="closed", allowed=("open",), where=("id",), topic="returns/close")

    def return_cancel(self, id: str, **_quiet: Any) -> Node:  # noqa: A002
        return self._move_return(id, to="canceled", allowed=("open", "requested"), where=("id",), topic="returns/cancel")

    def _move_return(self, name: str, **how: Any) -> Node:
        parts = gid_parts(name)
        held = self.shop.returns.get(parts[1]) if parts and parts[0] == "Return" else None
        try:
            moved = aftersales.move_return(self.shop, held, **how)
        except Refused as refusal:
            return {"return": None, "userErrors": _nodes(refusal)}
        return {"return": self.nodes.return_(moved), "userErrors": []}

    def tags_add(self, id: str, tags: list[str]) -> Node:  # noqa: A002
        return self._retag(id, lambda present: [*present, *tags])

    def tags_remove(self, id: str, tags: list[str]) -> Node:  # noqa: A002
        gone = {tag.strip().lower() for tag in tags}
        return self._retag(id, lambda present: [tag for tag in present if tag.lower() not in gone])

    def _retag(self, global_id: str, change: Callable[[list[str]], list[str]]) -> Node:
        parts = gid_parts(global_id)
        kind = parts[0] if parts else ""
        order = self._order(global_id) if kind == "Order" else None
        customer = self.shop.customers.get(parts[1]) if parts and kind == "Customer" else None
        try:
            if order is not None:
                aftersales.update(self.shop, order, {"tags": change(aftersales.tags_of(order))})
                return {"node": self.nodes.order(order), "userErrors": []}
            if customer is not None:
                customer["tags"] = ", ".join(aftersales.clean_tags(change(aftersales.tags_of(customer))))
                self.shop.customers.put(customer["id"], customer)
                return {"node": self.nodes.customer(customer), "userErrors": []}
        except Refused as refusal:
            return {"node": None, "userErrors": _nodes(refusal)}
        raise GraphQLError(f"Invalid id: {global_id}", extensions={"code": "RESOURCE_NOT_FOUND"})

    def metafields_set(self, metafields: list[dict[str, Any]]) -> Node:
        try:
            documents = self._planned_metafields(metafields)
        except Refused as refusal:
            return {"metafields": None, "userErrors": _nodes(refusal)}
        for document in documents:
            key = metafield_key(document["owner"], document["namespace"], document["key"])
            self.shop.metafields.put(key, document)
        return {"metafields": [self.nodes.metafield(document) for document in documents], "userErrors": []}

    def _planned_metafields(self, given: list[dict[str, Any]]) -> list[Document]:
        if len(given) > MAX_METAFIELDS_PER_CALL:
            message = f"Exceeded the maximum metafields input limit of {MAX_METAFIELDS_PER_CALL}."
            raise refuse(message, "metafields", code="LESS_THAN_OR_EQUAL_TO")
        now = self.shop.now()
        documents = []
        for index, entry in enumerate(given):
            place = ("metafields", str(index))
            owner, namespace = entry["ownerId"], entry.get("namespace") or "$app"
            if self.nodes.any(owner) is None:
                raise refuse("Owner does not exist.", *place, "ownerId", code="INVALID")
            if not entry["value"]:
                raise refuse("Value can't be blank", *place, "value", code="BLANK")
            if not 2 <= len(entry["key"]) <= 64:
                code = "TOO_SHORT" if len(entry["key"]) < 2 else "TOO_LONG"
                raise refuse("Key is from 2 to 64 characters", *place, "key", code=code)
            present = self.shop.metafields.get(metafield_key(owner, namespace, entry["key"]))
            if present is None and not entry.get("type"):
                raise refuse("Type can't be blank", *place, "type", code="BLANK")
            if present is not None and entry.get("type") not in (None, present["type"]):
                raise refuse("Type must be consistent with the definition's type", *place, "type", code="INVALID_TYPE")
            if "compareDigest" in entry and entry["compareDigest"] != (present or {}).get("digest"):
                message = "The resource has been updated since it was loaded. Try again with an updated `compareDigest` value."
                raise refuse(message, *place, code="STALE_OBJECT")
            documents.append(
                {
                    "id": present["id"] if present else self.shop.new_id(),
                    "owner": owner,
                    "namespace": namespace,
                    "key": entry["key"],
                    "value": entry["value"],
                    "type": entry.get("type") or (present or {})["type"],
                    "digest": hashlib.sha256(entry["value"].encode()).hexdigest(),
                    "created_at": present["created_at"] if present else now,
                    "updated_at": now,
                }
            )
        return documents

    # ------------------------------------------------------------------ finding
    def _order(self, global_id: str) -> Document | None:
        parts = gid_parts(global_id)
        return self.shop.orders.get(parts[1]) if parts and parts[0] == "Order" else None

    def _found(self, global_id: str, kind: str, get: Callable[[object], Document | None], *field: str) -> Document:
        parts = gid_parts(global_id)
        if parts is None:
            raise GraphQLError(f"Invalid global id '{global_id}'", extensions={"code": "argumentLiteralsIncompatible"})
        document = get(parts[1]) if parts[0] == kind else None
        if document is None:
            words = {"FulfillmentOrder": "Fulfillment order"}.get(kind, kind)
            raise refuse(f"{words} does not exist", *field, code="NOT_FOUND")
        return document


def _nodes(refusal: Refused) -> list[dict[str, object]]:
    return [error.node() for error in refusal.errors]


_ORDER_FIELDS = {
    "lineItems", "email", "currency", "note", "tags", "name", "poNumber", "shippingAddress", "billingAddress",
    "shippingLines", "customer", "customAttributes", "financialStatus", "sourceIdentifier", "sourceName", "taxLines",
    "taxesIncluded", "test", "buyerAcceptsMarketing",
}  # fmt: skip


def _placed(given: dict[str, Any]) -> PlaceOrder:
    """orderCreate's input in the terms of a placed order. Raises GraphQLError for what the simulator cannot hold."""
    extra = sorted(name for name, value in given.items() if name not in _ORDER_FIELDS and value not in (None, False, []))
    if extra or given.get("taxesIncluded") or given.get("test"):
        raise unsupported(f"orderCreate with {', '.join(extra) or 'taxesIncluded or test'}")

    def money(bag: dict[str, Any] | None) -> Decimal | None:
        return None if bag is None else Decimal(bag["shopMoney"]["amount"])

    def address(part: dict[str, Any] | None) -> dict[str, Any] | None:
        if part is None:
            return None
        names = {
            "firstName": "first_name", "lastName": "last_name", "company": "company", "address1": "address1",
            "address2": "address2", "city": "city", "zip": "zip", "provinceCode": "province_code",
            "countryCode": "country_code", "phone": "phone",
        }  # fmt: skip
        return {names[name]: value for name, value in part.items() if name in names and value is not None}

    shipping = given.get("shippingLines") or []
    person = (given.get("customer") or {}).get("toUpsert") or (given.get("customer") or {}).get("toAssociate")
    customer: dict[str, Any] | None = {"email": given["email"]} if given.get("email") else None
    if person:
        found = gid_parts(person.get("id") or "")
        customer = {
            "id": found[1] if found else None,
            "email": person.get("email"),
            "first_name": person.get("firstName") or "",
            "last_name": person.get("lastName") or "",
        }
    return PlaceOrder.model_validate(
        {
            "customer": customer,
            "lines": [
                {
                    "sku": line.get("sku") or line.get("title") or "",
                    "quantity": line["quantity"],
                    "price": money(line.get("priceSet")),
                    "title": line.get("title"),
                    "taxable": line.get("taxable", True),
                    "requires_shipping": line.get("requiresShipping", False),
                }
                for line in given.get("lineItems") or []
            ],
            "shipping_address": address(given.get("shippingAddress")),
            "billing_address": address(given.get("billingAddress")),
            "shipping_price": sum((money(line["priceSet"]) or Decimal(0) for line in shipping), Decimal(0)),
            "shipping_title": shipping[0]["title"] if shipping else "Standard freight",
            "tax": [{"title": line["title"], "rate": line["rate"]} for line in given.get("taxLines") or []] or Decimal(0),
            "note": given.get("note"),
            "tags": given.get("tags") or [],
            "po_number": given.get("poNumber"),
            "name": given.get("name"),
            "currency": given.get("currency"),
            "note_attributes": {pair["key"]: pair["value"] for pair in given.get("customAttributes") or []},
            "paid": given.get("financialStatus") in (None, "PAID"),
        }
    )
