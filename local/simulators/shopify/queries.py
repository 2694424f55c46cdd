"""Which Admin queries does the shop answer?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphql import GraphQLError

from local.simulators.shopify.figures import gid, gid_parts
from local.simulators.shopify.nodes import Node, Nodes, Resolver, connection, unsupported, without_info
from local.simulators.shopify.shop import Shop


class Queries:
    """One entry per field of QueryRoot that has an answer here."""

    def __init__(self, shop: Shop, nodes: Nodes) -> None:
        self.shop = shop
        self.nodes = nodes

    def resolvers(self) -> dict[str, Resolver]:
        one = {
            "order": "Order",
            "customer": "Customer",
            "productVariant": "ProductVariant",
            "inventoryItem": "InventoryItem",
            "fulfillmentOrder": "FulfillmentOrder",
            "fulfillment": "Fulfillment",
            "refund": "Refund",
            "return": "Return",
        }
        resolvers: dict[str, Callable[..., Any]] = {
            **{name: self._one(kind) for name, kind in one.items()},
            "node": self._any,
            "nodes": lambda ids: [self._any(entry) for entry in ids],
            "job": self.job,
            "shop": self.shop_node,
            "location": self.location,
            "locations": self.locations,
            "orders": self.orders,
            "orderByIdentifier": self.order_by_identifier,
            "productVariants": self.product_variants,
            "inventoryItems": self.inventory_items,
            "customers": self.customers,
        }
        return {name: without_info(work) for name, work in resolvers.items()}

    def _one(self, kind: str) -> Callable[[str], Node | None]:
        def resolve(id: str) -> Node | None:  # noqa: A002 - the schema's name
            parts = gid_parts(id)
            if parts is None:
                raise GraphQLError(f"Invalid global id '{id}'", extensions={"code": "argumentLiteralsIncompatible"})
            if parts[0] != kind:
                raise GraphQLError(f"Invalid id: {id}", extensions={"code": "RESOURCE_NOT_FOUND"})
            return self.nodes.any(id)

        return resolve

    def _any(self, id: str) -> Node | None:  # noqa: A002
        if gid_parts(id) is None:
            raise GraphQLError(f"Invalid global id '{id}'", extensions={"code": "argumentLiteralsIncompatible"})
        return self.nodes.any(id)

    def job(self, id: str) -> Node | None:  # noqa: A002
        parts = gid_parts(id)
        found = self.shop.jobs.get(parts[1]) if parts and parts[0] == "Job" else None
        return {"__typename": "Job", "id": gid("Job", found["id"]), "done": True} if found else None

    def shop_node(self) -> Node:
        return {
            "__typename": "Shop",
            "id": "gid://shopify/Shop/548380009",
            "name": self.shop.seed.name,
            "myshopifyDomain": self.shop.domain,
            "currencyCode": self.shop.seed.currency,
            "ianaTimezone": "America/New_York",
            "taxesIncluded": False,
            "url": f"https://{self.shop.domain}",
        }

    def location(self, id: str | None = None) -> Node | None:  # noqa: A002
        if id is None:
            return self.nodes.location(self.shop.default_location())
        parts = gid_parts(id)
        found = self.shop.locations.get(parts[1]) if parts and parts[0] == "Location" else None
        return self.nodes.location(found) if found else None

    def locations(self, **arguments: Any) -> Node:
        inactive = arguments.pop("includeInactive", False)
        arguments.pop("includeLegacy", None)
        shown = [entry for entry in self.shop.locations.values() if entry["is_active"] or inactive]
        return connection(shown, self.nodes.location, _unsorted(arguments, "NAME", "locations"), where="locations")

    def orders(self, **arguments: Any) -> Node:
        key = arguments.pop("sortKey", None) or "PROCESSED_AT"
        columns = {"PROCESSED_AT": "processed_at", "CREATED_AT": "created_at", "UPDATED_AT": "updated_at", "ID": "id"}
        columns |= {"ORDER_NUMBER": "order_number"}
        if key not in columns:
            raise unsupported(f"orders sorted by {key}")
        found = sorted(self._chosen_orders(arguments), key=lambda order: (order[columns[key]], order["id"]))
        return connection(found, self.nodes.order, arguments, fields=self.nodes.order_fields, where="orders")

    def _chosen_orders(self, arguments: dict[str, Any]) -> list[Any]:
        """All orders, or by its own index the one a `name:` query can only mean."""
        query = (arguments.get("query") or "").strip()
        if query.startswith("name:") and " " not in query:
            name = query.removeprefix("name:").strip("'\"")
            found = self.shop.names.get(name) or self.shop.names.get(f"#{name}")
            order = self.shop.orders.get(found["id"]) if found else None
            return [order] if order else []
        return self.shop.orders.values()

    def order_by_identifier(self, identifier: dict[str, Any]) -> Node | None:
        if "id" not in identifier:
            raise unsupported("orderByIdentifier by a custom id")
        return self._any(identifier["id"])

    def product_variants(self, **arguments: Any) -> Node:
        given = _unsorted(arguments, "ID", "productVariants")
        return connection(self.shop.variants.values(), self.nodes.variant, given, fields=self.nodes.variant_fields, where="productVariants")

    def inventory_items(self, **arguments: Any) -> Node:
        items = [{**variant, "id": variant["inventory_item_id"], "variant": variant} for variant in self.shop.variants.values()]
        return connection(
            items,
            lambda item: self.nodes.item(item["variant"]),
            arguments,
            fields=self.nodes.variant_fields,
            where="inventoryItems",
        )

    def customers(self, **arguments: Any) -> Node:
        fields = {
            "email": lambda customer: str(customer["email"]),
            "id": lambda customer: str(customer["id"]),
            "updated_at": lambda customer: str(customer["updated_at"]),
        }
        given = _unsorted(arguments, "ID", "customers")
        return connection(self.shop.customers.values(), self.nodes.customer, given, fields=fields, where="customers")


def _unsorted(arguments: dict[str, Any], default: str, where: str) -> dict[str, Any]:
    given = dict(arguments)
    if given.pop("sortKey", None) not in (None, default):
        raise unsupported(f"{where} sorted otherwise than by {default}")
    return given
