"""How does each record look through GraphQL?

A node is a dictionary: field name to value, or to a function that takes the field's arguments. A field that a node does not
name is one the simulator does not have, and asking for it is an error that says so (see admin.resolve).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from graphql import GraphQLError

from local.simulators.shopify.aftersales import tags_of
from local.simulators.shopify.contract import MAX_PAGE, READABLE_QUANTITY_NAMES
from local.simulators.shopify.figures import fulfillment_line_gid, gid, gid_parts, graph_time, money_set
from local.simulators.shopify.search import Fields, matcher
from local.simulators.shopify.shop import Document, Shop, on_hand

Node = dict[str, Any]
Resolver = Callable[..., Any]
ZERO = Decimal(0)


def without_info(work: Callable[..., Any]) -> Resolver:
    """A root resolver that needs its arguments only."""
    return lambda _info, **arguments: work(**arguments)


def unsupported(what: str) -> GraphQLError:
    return GraphQLError(f"the simulator does not implement {what}", extensions={"code": "SIMULATOR_UNSUPPORTED"})


def connection(
    documents: Iterable[Document],
    to_node: Callable[[Document], Node],
    arguments: dict[str, Any],
    *,
    fields: Fields | None = None,
    where: str = "this connection",
    ignored: frozenset[str] = frozenset(),
) -> Node:
    """A page of records. Raises GraphQLError for arguments that it would otherwise have to ignore."""
    given = {name: value for name, value in arguments.items() if value is not None}
    for name in given.keys() - {"first", "last", "after", "before", "reverse", "query"} - ignored:
        if given[name] is not False:
            raise unsupported(f"argument {name} of {where}")
    if "query" in given and fields is None:
        raise unsupported(f"argument query of {where}")
    if ("first" in given) == ("last" in given):
        raise GraphQLError(f"you must provide one of first or last for {where}", extensions={"code": "BAD_REQUEST"})
    size = given.get("first", given.get("last", 0))
    if not 0 <= size <= MAX_PAGE:
        raise GraphQLError(f"page size of {where} is from 0 to {MAX_PAGE}", extensions={"code": "BAD_REQUEST"})
    wanted = matcher(given.get("query"), fields or {}, where)
    chosen = [document for document in documents if wanted(document)]
    if given.get("reverse"):
        chosen.reverse()
    cursors = [_cursor(document["id"]) for document in chosen]
    start = _position(cursors, given["after"]) + 1 if "after" in given else 0
    end = _position(cursors, given["before"]) if "before" in given else len(chosen)
    window = list(range(start, end))
    page = window[:size] if "first" in given else window[max(0, len(window) - size) :]
    nodes = [to_node(chosen[index]) for index in page]
    return {
        "nodes": nodes,
        "edges": [{"node": node, "cursor": cursors[index]} for node, index in zip(nodes, page, strict=True)],
        "pageInfo": {
            "hasNextPage": bool(page) and page[-1] < len(chosen) - 1,
            "hasPreviousPage": bool(page) and page[0] > 0,
            "startCursor": cursors[page[0]] if page else None,
            "endCursor": cursors[page[-1]] if page else None,
        },
    }


def _cursor(number: object) -> str:
    return base64.b64encode(f'{{"last_id":{number}}}'.encode()).decode()


def _position(cursors: list[str], cursor: str) -> int:
    if cursor not in cursors:
        raise GraphQLError(f"Invalid cursor for current pagination sort: {cursor!r}", extensions={"code": "BAD_REQUEST"})
    return cursors.index(cursor)


def money_bag(body: Document) -> Node:
    """The webhook's money set as a MoneyBag."""

    def money(part: Document) -> Node:
        return {"amount": part["amount"], "currencyCode": part["currency_code"]}

    return {"shopMoney": money(body["shop_money"]), "presentmentMoney": money(body["presentment_money"])}


def bag(value: Decimal, currency: str) -> Node:
    return money_bag(money_set(value, currency))


def address_node(address: Document | None) -> Node | None:
    if address is None:
        return None
    return {
        "__typename": "MailingAddress",
        "firstName": address["first_name"],
        "lastName": address["last_name"],
        "name": address["name"],
        "company": address["company"],
        "address1": address["address1"],
        "address2": address["address2"],
        "city": address["city"],
        "zip": address["zip"],
        "province": address["province"],
        "provinceCode": address["province_code"],
        "country": address["country"],
        "countryCodeV2": address["country_code"],
        "phone": address["phone"],
    }


def tax_nodes(lines: list[Document]) -> list[Node]:
    return [
        {
            "title": line["title"],
            "rate": line["rate"],
            "ratePercentage": line["rate"] * 100,
            "priceSet": money_bag(line["price_set"]),
            "price": line["price"],
            "channelLiable": line["channel_liable"],
            "source": None,
        }
        for line in lines
    ]


def allocation_nodes(allocations: list[Document]) -> list[Node]:
    return [{"allocatedAmountSet": money_bag(entry["amount_set"])} for entry in allocations]


def job_node(job: Document) -> Node:
    return {"__typename": "Job", "id": gid("Job", job["id"]), "done": False}


class Nodes:
    """Everything the shop can show, as nodes."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.order_fields: Fields = {
            "id": lambda order: str(order["id"]),
            "name": lambda order: str(order["name"]),
            "email": lambda order: str(order["email"] or ""),
            "tag": lambda order: str(order["tags"]),
            "created_at": lambda order: str(order["created_at"]),
            "updated_at": lambda order: str(order["updated_at"]),
            "processed_at": lambda order: str(order["processed_at"]),
            "status": _status,
            "source_identifier": lambda order: str(order["source_identifier"] or ""),
            "po_number": lambda order: str(order["po_number"] or ""),
            "fulfillment_status": lambda order: str(order["fulfillment_status"] or "unfulfilled"),
            "financial_status": lambda order: str(order["financial_status"]),
        }
        self.variant_fields: Fields = {
            "id": lambda variant: str(variant["id"]),
            "sku": lambda variant: str(variant["sku"]),
            "barcode": lambda variant: str(variant["barcode"] or ""),
            "updated_at": lambda variant: str(variant["updated_at"]),
        }

    # ------------------------------------------------------------------ any
    def any(self, global_id: str) -> Node | None:
        """The node behind a global id; None when there is none."""
        parts = gid_parts(global_id)
        if parts is None:
            return None
        kinds: dict[str, tuple[Any, Callable[[Document], Node]]] = {
            "Order": (self.shop.orders, self.order),
            "Customer": (self.shop.customers, self.customer),
            "Location": (self.shop.locations, self.location),
            "ProductVariant": (self.shop.variants, self.variant),
            "FulfillmentOrder": (self.shop.fulfillment_orders, self.fulfillment_order),
            "Fulfillment": (self.shop.fulfillments, self.fulfillment),
            "Refund": (self.shop.refunds, self.refund),
            "Return": (self.shop.returns, self.return_),
        }
        if parts[0] == "InventoryItem":
            variant = self.shop.variant_by_item(parts[1])
            return self.item(variant) if variant else None
        if parts[0] not in kinds:
            return None
        collection, to_node = kinds[parts[0]]
        document = collection.get(parts[1])
        return to_node(document) if document else None

    # ------------------------------------------------------------------ orders
    def order(self, order: Document) -> Node:
        shop, number, currency = self.shop, order["id"], order["currency"]
        paid = ZERO
        refunded = ZERO
        for transaction in shop.of_order(number, "transactions", shop.transactions):
            if transaction["kind"] == "refund":
                refunded += Decimal(transaction["amount"])
            else:
                paid += Decimal(transaction["amount"])
        outstanding = max(ZERO, Decimal(order["total_price"]) - paid)
        shipping = [line for line in order["shipping_lines"] if not line["is_removed"]]
        return {
            "__typename": "Order",
            "id": order["admin_graphql_api_id"],
            "legacyResourceId": str(number),
            "name": order["name"],
            "number": order["order_number"],
            "confirmationNumber": order["confirmation_number"],
            "confirmed": order["confirmed"],
            "createdAt": graph_time(order["created_at"]),
            "updatedAt": graph_time(order["updated_at"]),
            "processedAt": graph_time(order["processed_at"]),
            "closed": order["closed_at"] is not None,
            "closedAt": graph_time(order["closed_at"]),
            "cancelledAt": graph_time(order["cancelled_at"]),
            "cancelReason": order["cancel_reason"].upper() if order["cancel_reason"] else None,
            "cancellation": {"staffNote": order["note"]} if order["cancelled_at"] else None,
            "currencyCode": currency,
            "presentmentCurrencyCode": order["presentment_currency"],
            "email": order["email"],
            "phone": order["phone"],
            "note": order["note"],
            "tags": tags_of(order),
            "poNumber": order["po_number"],
            "test": order["test"],
            "sourceName": order["source_name"],
            "sourceIdentifier": order["source_identifier"],
            "taxesIncluded": order["taxes_included"],
            "taxExempt": order["tax_exempt"],
            "customAttributes": [{"key": pair["name"], "value": pair["value"]} for pair in order["note_attributes"]],
            "displayFinancialStatus": order["financial_status"].upper(),
            "displayFulfillmentStatus": self._display_status(order),
            "returnStatus": "RETURN_REQUESTED" if shop.linked(number)["returns"] else "NO_RETURN",
            "fullyPaid": outstanding == ZERO,
            "unpaid": paid == ZERO,
            "fulfillable": any(line["fulfillable_quantity"] > 0 for line in order["line_items"]),
            "requiresShipping": any(line["requires_shipping"] for line in order["line_items"]),
            "customer": self._customer_of(order),
            "purchasingEntity": self._purchaser(order),
            "shippingAddress": address_node(order["shipping_address"]),
            "billingAddress": address_node(order["billing_address"]),
            "shippingLine": self._shipping(shipping[0]) if shipping else None,
            "shippingLines": lambda **a: connection(order["shipping_lines"], self._shipping, a, ignored=frozenset({"includeRemovals"})),
            "taxLines": tax_nodes(order["tax_lines"]),
            "discountCodes": [entry["code"] for entry in order["discount_codes"]],
            "subtotalPriceSet": money_bag(order["subtotal_price_set"]),
            "totalPriceSet": money_bag(order["total_price_set"]),
            "totalTaxSet": money_bag(order["total_tax_set"]),
            "totalDiscountsSet": money_bag(order["total_discounts_set"]),
            "totalShippingPriceSet": money_bag(order["total_shipping_price_set"]),
            "currentSubtotalPriceSet": money_bag(order["current_subtotal_price_set"]),
            "currentTotalPriceSet": money_bag(order["current_total_price_set"]),
            "currentTotalTaxSet": money_bag(order["current_total_tax_set"]),
            "originalTotalPriceSet": money_bag(order["total_price_set"]),
            "totalReceivedSet": bag(paid, currency),
            "totalRefundedSet": bag(refunded, currency),
            "totalOutstandingSet": bag(outstanding, currency),
            "netPaymentSet": bag(paid - refunded, currency),
            "lineItems": lambda **a: connection(order["line_items"], lambda line: self.line(order, line), a, where="lineItems"),
            "fulfillmentOrders": lambda **a: connection(
                shop.of_order(number, "fulfillment_orders", shop.fulfillment_orders),
                self.fulfillment_order,
                a,
                fields={"status": lambda document: str(document["status"]).lower()},
                where="fulfillmentOrders",
            ),
            "fulfillments": lambda first=None, query=None: self._fulfillments(order, first, query),
            "fulfillmentsCount": {"count": len(shop.linked(number)["fulfillments"]), "precision": "EXACT"},
            "refunds": lambda first=None: [self.refund(document) for document in shop.of_order(number, "refunds", shop.refunds)][:first],
            "returns": lambda **a: connection(shop.of_order(number, "returns", shop.returns), self.return_, a, where="returns"),
            "transactions": lambda first=None, **a: self._transactions(order, first, a),
            "transactionsCount": {"count": len(shop.linked(number)["transactions"]), "precision": "EXACT"},
            **self._metafields(order["admin_graphql_api_id"]),
        }

    def line(self, order: Document, line: Document) -> Node:
        variant = self.shop.variants.get(line["variant_id"]) if line["variant_id"] else None
        currency = order["currency"]
        gross = Decimal(line["price"]) * line["quantity"]
        net = gross - Decimal(line["total_discount"])
        return {
            "__typename": "LineItem",
            "id": line["admin_graphql_api_id"],
            "name": line["name"],
            "title": line["title"],
            "sku": line["sku"],
            "quantity": line["quantity"],
            "currentQuantity": line["current_quantity"],
            "unfulfilledQuantity": line["fulfillable_quantity"],
            "refundableQuantity": line["current_quantity"],
            "requiresShipping": line["requires_shipping"],
            "isGiftCard": line["gift_card"],
            "taxable": line["taxable"],
            "vendor": line["vendor"],
            "variantTitle": line["variant_title"],
            "variant": self.variant(variant) if variant else None,
            "customAttributes": [{"key": pair["name"], "value": pair["value"]} for pair in line["properties"]],
            "originalUnitPriceSet": money_bag(line["price_set"]),
            "originalTotalSet": bag(gross, currency),
            "discountedTotalSet": bag(net, currency),
            "discountedUnitPriceSet": bag(net / line["quantity"], currency),
            "totalDiscountSet": money_bag(line["total_discount_set"]),
            "taxLines": lambda first=None: tax_nodes(line["tax_lines"])[:first],
            "discountAllocations": allocation_nodes(line["discount_allocations"]),
            "lineItemGroup": None,
        }

    def fulfillment_order(self, document: Document) -> Node:
        order = self.shop.orders.get(document["order_id"]) or {}
        location = self.shop.locations.get(document["location_id"]) or {}
        actions = {
            "OPEN": ["CREATE_FULFILLMENT", "HOLD", "MOVE"],
            "IN_PROGRESS": ["CREATE_FULFILLMENT"],
            "ON_HOLD": ["RELEASE_HOLD"],
        }
        return {
            "__typename": "FulfillmentOrder",
            "id": gid("FulfillmentOrder", document["id"]),
            "status": document["status"],
            "requestStatus": document["request_status"],
            "createdAt": graph_time(document["created_at"]),
            "updatedAt": graph_time(document["updated_at"]),
            "fulfillAt": None,
            "fulfillBy": None,
            "orderId": gid("Order", document["order_id"]),
            "orderName": order["name"],
            "orderProcessedAt": graph_time(order["processed_at"]),
            "order": lambda: self.order(order),
            "assignedLocation": {
                "name": location["name"],
                "address1": location["address1"],
                "address2": None,
                "city": location["city"],
                "zip": location["zip"],
                "province": location["province_code"],
                "countryCode": location["country_code"],
                "phone": None,
                "location": lambda: self.location(location),
            },
            "destination": None if order["shipping_address"] is None else self._destination(document, order),
            "supportedActions": [{"action": action, "externalUrl": None} for action in actions.get(document["status"], [])],
            "fulfillmentHolds": [self.hold(held) for held in document["holds"]],
            "lineItems": lambda **a: connection(document["line_items"], lambda line: self._fulfillment_order_line(order, line), a, where="lineItems"),
            "fulfillments": lambda **a: connection(
                [entry for entry in self.shop.of_order(order["id"], "fulfillments", self.shop.fulfillments) if document["id"] in entry["fulfillment_order_ids"]],
                self.fulfillment,
                a,
                where="fulfillments",
            ),
        }

    def hold(self, held: Document) -> Node:
        return {
            "__typename": "FulfillmentHold",
            "id": gid("FulfillmentHold", held["id"]),
            "handle": held["handle"],
            "reason": held["reason"],
            "reasonNotes": held["reason_notes"],
            "displayReason": held["reason"].replace("_", " ").capitalize(),
            "heldByRequestingApp": True,
        }

    def fulfillment(self, fulfillment: Document) -> Node:
        order = self.shop.orders.get(fulfillment["order_id"]) or {}
        location = self.shop.locations.get(fulfillment["location_id"]) if fulfillment["location_id"] else None
        numbers, urls = fulfillment["tracking_numbers"], fulfillment["tracking_urls"]
        company = fulfillment["tracking_company"]
        tracking = [
            {"company": company, "number": number, "url": urls[index] if index < len(urls) else None} for index, number in enumerate(numbers or ([None] if company else []))
        ]
        return {
            "__typename": "Fulfillment",
            "id": fulfillment["admin_graphql_api_id"],
            "legacyResourceId": str(fulfillment["id"]),
            "name": fulfillment["name"],
            "status": fulfillment["status"].upper(),
            "displayStatus": "FULFILLED" if fulfillment["status"] == "success" else "CANCELED",
            "createdAt": graph_time(fulfillment["created_at"]),
            "updatedAt": graph_time(fulfillment["updated_at"]),
            "totalQuantity": sum(line["quantity"] for line in fulfillment["line_items"]),
            "requiresShipping": any(line["requires_shipping"] for line in fulfillment["line_items"]),
            "trackingInfo": lambda first=None: tracking[:first],
            "location": self.location(location) if location else None,
            "order": lambda: self.order(order),
            "fulfillmentOrders": lambda **a: connection(
                [
                    document
                    for document in self.shop.of_order(order["id"], "fulfillment_orders", self.shop.fulfillment_orders)
                    if document["id"] in fulfillment["fulfillment_order_ids"]
                ],
                self.fulfillment_order,
                a,
                where="fulfillmentOrders",
            ),
            "fulfillmentLineItems": lambda **a: connection(
                fulfillment["line_items"],
                lambda line: self._fulfillment_line(order, fulfillment, line),
                a,
                where="fulfillmentLineItems",
            ),
        }

    def refund(self, refund: Document) -> Node:
        order = self.shop.orders.get(refund["order_id"]) or {}
        total = sum((Decimal(entry["amount"]) for entry in refund["transactions"]), ZERO)
        return {
            "__typename": "Refund",
            "id": refund["admin_graphql_api_id"],
            "legacyResourceId": str(refund["id"]),
            "createdAt": graph_time(refund["created_at"]),
            "updatedAt": graph_time(refund["created_at"]),
            "processedAt": graph_time(refund["processed_at"]),
            "note": refund["note"],
            "totalRefundedSet": bag(total, order["currency"]),
            "order": lambda: self.order(order),
            "refundLineItems": lambda **a: connection(refund["refund_line_items"], lambda line: self._refund_line(order, line), a, where="refundLineItems"),
        }

    def return_(self, document: Document) -> Node:
        order = self.shop.orders.get(document["order_id"]) or {}
        lines = {line["id"]: line for line in order["line_items"]}
        listed = [{**entry, "id": f"{document['id']}{index}"} for index, entry in enumerate(document["lines"], start=1)]
        return {
            "__typename": "Return",
            "id": document["admin_graphql_api_id"],
            "name": document["name"],
            "status": document["status"].upper(),
            "createdAt": graph_time(document["created_at"]),
            "totalQuantity": sum(entry["quantity"] for entry in document["lines"]),
            "order": lambda: self.order(order),
            "exchangeLineItems": lambda **a: connection([], lambda entry: entry, a, where="exchangeLineItems"),
            "returnLineItems": lambda **a: connection(
                listed,
                lambda entry: {
                    "__typename": "ReturnLineItem",
                    "id": gid("ReturnLineItem", entry["id"]),
                    "quantity": entry["quantity"],
                    "returnReason": entry["reason"],
                    "returnReasonNote": entry.get("note") or "",
                    "customerNote": None,
                    "fulfillmentLineItem": lambda: {
                        "id": gid("FulfillmentLineItem", entry["line_item_id"]),
                        "lineItem": self.line(order, lines[entry["line_item_id"]]),
                        "quantity": lines[entry["line_item_id"]]["quantity"],
                    },
                },
                a,
                where="returnLineItems",
            ),
        }

    # ------------------------------------------------------------------ catalogue, stock, people
    def location(self, location: Document) -> Node:
        return {
            "__typename": "Location",
            "id": location["admin_graphql_api_id"],
            "legacyResourceId": str(location["id"]),
            "name": location["name"],
            "isActive": location["is_active"],
            "fulfillsOnlineOrders": location["is_active"],
            "shipsInventory": location["is_active"],
            "createdAt": graph_time(location["created_at"]),
            "updatedAt": graph_time(location["updated_at"]),
            "inventoryLevel": lambda inventoryItemId, **_: self._level_of(inventoryItemId, location["id"]),  # noqa: N803
            "inventoryLevels": lambda **a: connection(
                [{**level, "id": level["inventory_item_id"]} for level in self.shop.levels_at(location["id"])],
                self.level,
                a,
                where="inventoryLevels",
            ),
            "address": {
                "address1": location["address1"],
                "address2": None,
                "city": location["city"],
                "zip": location["zip"],
                "provinceCode": location["province_code"],
                "countryCode": location["country_code"],
                "formatted": [location["address1"], location["city"]],
            },
        }

    def variant(self, variant: Document) -> Node:
        levels = self.shop.levels_of_item(variant["inventory_item_id"])
        return {
            "__typename": "ProductVariant",
            "id": variant["admin_graphql_api_id"],
            "legacyResourceId": str(variant["id"]),
            "sku": variant["sku"],
            "title": "Default Title",
            "displayName": variant["title"],
            "price": variant["price"],
            "barcode": variant["barcode"],
            "taxable": variant["taxable"],
            "availableForSale": True,
            "inventoryQuantity": sum(level["available"] for level in levels),
            "sellableOnlineQuantity": max(0, sum(level["available"] for level in levels)),
            "createdAt": graph_time(variant["created_at"]),
            "updatedAt": graph_time(variant["updated_at"]),
            "product": {
                "__typename": "Product",
                "id": gid("Product", variant["product_id"]),
                "legacyResourceId": str(variant["product_id"]),
                "title": variant["title"],
                "vendor": variant["vendor"],
                "isGiftCard": variant["gift_card"],
            },
            "inventoryItem": lambda: self.item(variant),
            **self._metafields(variant["admin_graphql_api_id"]),
        }

    def item(self, variant: Document) -> Node:
        number = variant["inventory_item_id"]
        return {
            "__typename": "InventoryItem",
            "id": gid("InventoryItem", number),
            "legacyResourceId": str(number),
            "sku": variant["sku"],
            "tracked": variant["tracked"],
            "requiresShipping": variant["requires_shipping"],
            "duplicateSkuCount": 0,
            "createdAt": graph_time(variant["created_at"]),
            "updatedAt": graph_time(variant["updated_at"]),
            "variant": lambda: self.variant(variant),
            "inventoryLevel": lambda locationId, **_: self._level_at(number, locationId),  # noqa: N803 - the schema's name
            "inventoryLevels": lambda **a: connection(
                [{**level, "id": level["location_id"]} for level in self.shop.levels_of_item(number)],
                self.level,
                a,
                where="inventoryLevels",
            ),
        }

    def level(self, level: Document) -> Node:
        item, location = level["inventory_item_id"], level["location_id"]
        return {
            "__typename": "InventoryLevel",
            "id": f"{gid('InventoryLevel', location)}?inventory_item_id={item}",
            "isActive": True,
            "canDeactivate": False,
            "createdAt": graph_time(level["updated_at"]),
            "updatedAt": graph_time(level["updated_at"]),
            "quantities": lambda names: [self._quantity(level, name) for name in names],
            "location": lambda: self.location(self.shop.locations.get(location) or {}),
            "item": lambda: self.item(self.shop.variant_by_item(item) or {}),
        }

    def customer(self, customer: Document) -> Node:
        company = customer["company"]
        name = f"{customer['first_name']} {customer['last_name']}".strip()
        return {
            "__typename": "Customer",
            "id": customer["admin_graphql_api_id"],
            "legacyResourceId": str(customer["id"]),
            "email": customer["email"],
            "phone": customer["phone"],
            "firstName": customer["first_name"],
            "lastName": customer["last_name"],
            "displayName": name or customer["email"],
            "defaultEmailAddress": {"emailAddress": customer["email"]},
            "note": None,
            "state": "ENABLED",
            "tags": tags_of(customer),
            "taxExempt": customer["tax_exempt"],
            "verifiedEmail": True,
            "createdAt": graph_time(customer["created_at"]),
            "updatedAt": graph_time(customer["updated_at"]),
            "defaultAddress": address_node(customer["default_address"]),
            "companyContactProfiles": [self._contact(customer, company)] if company else [],
            **self._metafields(customer["admin_graphql_api_id"]),
        }

    def metafield(self, document: Document) -> Node:
        return {
            "__typename": "Metafield",
            "id": gid("Metafield", document["id"]),
            "namespace": document["namespace"],
            "key": document["key"],
            "value": document["value"],
            "type": document["type"],
            "ownerType": document["owner"].split("/")[3].upper(),
            "compareDigest": document["digest"],
            "createdAt": graph_time(document["created_at"]),
            "updatedAt": graph_time(document["updated_at"]),
        }

    def adjustment_group(self, group: Document) -> Node:
        return {
            "__typename": "InventoryAdjustmentGroup",
            "id": gid("InventoryAdjustmentGroup", group["id"]),
            "createdAt": graph_time(group["created_at"]),
            "reason": group["reason"],
            "referenceDocumentUri": group["reference_document_uri"],
            "changes": lambda **a: self._changes(group, a),
        }

    # ------------------------------------------------------------------ parts
    def _display_status(self, order: Document) -> str:
        documents = self.shop.of_order(order["id"], "fulfillment_orders", self.shop.fulfillment_orders)
        if any(document["status"] == "ON_HOLD" for document in documents):
            return "ON_HOLD"
        return {None: "UNFULFILLED", "partial": "PARTIALLY_FULFILLED", "fulfilled": "FULFILLED"}[order["fulfillment_status"]]

    def _customer_of(self, order: Document) -> Node | None:
        customer = self.shop.customers.get(order["customer"]["id"]) if order["customer"] else None
        return self.customer(customer) if customer else None

    def _purchaser(self, order: Document) -> Node | None:
        customer = self.shop.customers.get(order["customer"]["id"]) if order["customer"] else None
        if customer is None:
            return None
        company = customer["company"]
        if company is None:
            return self.customer(customer)
        contact = self._contact(customer, company)
        location = {"id": gid("CompanyLocation", company["location_id"]), "name": company["location_name"]}
        return {
            "__typename": "PurchasingCompany",
            "company": contact["company"],
            "contact": contact,
            "location": {**location, "externalId": company["external_id"]},
        }

    def _contact(self, customer: Document, company: Document) -> Node:
        return {
            "__typename": "CompanyContact",
            "id": gid("CompanyContact", customer["id"]),
            "isMainContact": True,
            "customer": lambda: self.customer(customer),
            "company": {
                "__typename": "Company",
                "id": gid("Company", company["id"]),
                "name": company["name"],
                "externalId": company["external_id"],
            },
        }

    def _shipping(self, line: Document) -> Node:
        return {
            "id": gid("ShippingLine", line["id"]),
            "title": line["title"],
            "code": line["code"],
            "source": line["source"],
            "carrierIdentifier": line["carrier_identifier"],
            "custom": False,
            "isRemoved": line["is_removed"],
            "originalPriceSet": money_bag(line["price_set"]),
            "discountedPriceSet": money_bag(line["discounted_price_set"]),
            "currentDiscountedPriceSet": money_bag(line["current_discounted_price_set"]),
            "taxLines": tax_nodes(line["tax_lines"]),
            "discountAllocations": allocation_nodes(line["discount_allocations"]),
        }

    def _fulfillments(self, order: Document, first: int | None, query: str | None) -> list[Node]:
        if query is not None:
            raise unsupported("argument query of Order.fulfillments")
        found = self.shop.of_order(order["id"], "fulfillments", self.shop.fulfillments)
        return [self.fulfillment(document) for document in found][:first]

    def _transactions(self, order: Document, first: int | None, arguments: dict[str, Any]) -> list[Node]:
        if any(value is not None for value in arguments.values()):
            raise unsupported(f"arguments {', '.join(sorted(arguments))} of Order.transactions")
        return [
            {
                "__typename": "OrderTransaction",
                "id": transaction["admin_graphql_api_id"],
                "kind": transaction["kind"].upper(),
                "status": transaction["status"].upper(),
                "gateway": transaction["gateway"],
                "test": transaction["test"],
                "createdAt": graph_time(transaction["created_at"]),
                "processedAt": graph_time(transaction["processed_at"]),
                "amountSet": bag(Decimal(transaction["amount"]), transaction["currency"]),
                "parentTransaction": None,
            }
            for transaction in self.shop.of_order(order["id"], "transactions", self.shop.transactions)
        ][:first]

    def _destination(self, document: Document, order: Document) -> Node:
        address = address_node(order["shipping_address"]) or {}
        names = ("firstName", "lastName", "company", "address1", "address2", "city", "zip", "province", "phone")
        return {
            "__typename": "FulfillmentOrderDestination",
            "id": gid("FulfillmentOrderDestination", document["id"]),
            **{name: address[name] for name in names},
            "countryCode": address["countryCodeV2"],
            "email": order["email"],
        }

    def _fulfillment_order_line(self, order: Document, line: Document) -> Node:
        item = next(entry for entry in order["line_items"] if entry["id"] == line["line_item_id"])
        variant = self.shop.variants.get(item["variant_id"]) if item["variant_id"] else None
        return {
            "__typename": "FulfillmentOrderLineItem",
            "id": gid("FulfillmentOrderLineItem", line["id"]),
            "remainingQuantity": line["remaining"],
            "totalQuantity": line["total"],
            "sku": item["sku"],
            "productTitle": item["title"],
            "variantTitle": item["variant_title"],
            "vendor": item["vendor"],
            "requiresShipping": item["requires_shipping"],
            "inventoryItemId": gid("InventoryItem", variant["inventory_item_id"]) if variant else None,
            "lineItem": lambda: self.line(order, item),
            "variant": lambda: self.variant(variant) if variant else None,
        }

    def _fulfillment_line(self, order: Document, fulfillment: Document, line: Document) -> Node:
        item = next(entry for entry in order["line_items"] if entry["id"] == line["id"])
        return {
            "__typename": "FulfillmentLineItem",
            "id": fulfillment_line_gid(fulfillment, line),
            "quantity": line["quantity"],
            "lineItem": lambda: self.line(order, item),
            "originalTotalSet": bag(Decimal(line["price"]) * line["quantity"], order["currency"]),
        }

    def _refund_line(self, order: Document, line: Document) -> Node:
        item = next(entry for entry in order["line_items"] if entry["id"] == line["line_item_id"])
        return {
            "__typename": "RefundLineItem",
            "id": gid("RefundLineItem", line["id"]),
            "quantity": line["quantity"],
            "restockType": line["restock_type"].upper(),
            "restocked": line["restock_type"] != "no_restock",
            "lineItem": lambda: self.line(order, item),
            "subtotalSet": money_bag(line["subtotal_set"]),
            "totalTaxSet": money_bag(line["total_tax_set"]),
        }

    def _level_of(self, item_id: str, location: int) -> Node | None:
        parts = gid_parts(item_id)
        level = self.shop.level(parts[1], location) if parts else None
        return self.level(level) if level else None

    def _level_at(self, item: int, location_id: str) -> Node | None:
        parts = gid_parts(location_id)
        level = self.shop.level(item, parts[1]) if parts else None
        return self.level(level) if level else None

    def _quantity(self, level: Document, name: str) -> Node:
        if name not in READABLE_QUANTITY_NAMES:
            raise GraphQLError(f"The quantity name {name!r} is invalid.", extensions={"code": "BAD_REQUEST"})
        return {
            "id": f"{gid('InventoryQuantity', level['location_id'])}?inventory_item_id={level['inventory_item_id']}&name={name}",
            "name": name,
            "quantity": on_hand(level) if name == "on_hand" else level[name],
            "updatedAt": graph_time(level["updated_at"]),
        }

    def _changes(self, group: Document, arguments: dict[str, Any]) -> list[Node]:
        if any(value is not None for value in arguments.values()):
            raise unsupported("filters of InventoryAdjustmentGroup.changes")
        return [
            {
                "name": entry["name"],
                "delta": entry["delta"],
                "quantityAfterChange": entry["after"],
                "ledgerDocumentUri": None,
                "item": lambda entry=entry: self.item(self.shop.variant_by_item(entry["item"]) or {}),
                "location": lambda entry=entry: self.location(self.shop.locations.get(entry["location"]) or {}),
            }
            for entry in group["changes"]
        ]

    def _metafields(self, owner: str) -> Node:
        def one(key: str, namespace: str | None = None) -> Node | None:
            found = self.shop.metafields.get(metafield_key(owner, namespace or "$app", key))
            return self.metafield(found) if found else None

        def many(namespace: str | None = None, **arguments: Any) -> Node:
            mine = self.shop.metafields.find(lambda document: document["owner"] == owner and namespace in (None, document["namespace"]))
            return connection(mine, self.metafield, arguments, where="metafields")

        return {"metafield": one, "metafields": many}


def metafield_key(owner: str, namespace: str, key: str) -> str:
    return f"{owner} {namespace}.{key}"


def _status(order: Document) -> str:
    if order["cancelled_at"]:
        return "cancelled"
    return "closed" if order["closed_at"] else "open"
