"""What does the simulated shop hold, and how is it found?"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from local.simulators.clock import Clock
from local.simulators.shopify.contract import Credentials, Seed, SeedCustomer, SeedVariant
from local.simulators.shopify.figures import amount, gid, local_time
from local.simulators.state import Collection, Store

Document = dict[str, Any]


class Emit(Protocol):
    """Queues a webhook of a topic; ``regardless`` of what the receiver subscribed to."""

    def __call__(self, topic: str, body: Document, *, regardless: bool = False) -> None: ...


_LINKS: Document = {"fulfillment_orders": [], "fulfillments": [], "refunds": [], "transactions": [], "returns": []}


class Shop:
    """The shop's records, each in the shape its webhook or REST body has. Call inside `store.unit()`."""

    def __init__(self, store: Store, clock: Clock, seed: Seed, credentials: Credentials, emit: Emit) -> None:
        self.store = store
        self.clock = clock
        self.seed = seed
        self.domain = credentials.shop_domain
        self.emit = emit
        self.locations = store.collection("locations")
        self.variants = store.collection("variants")
        self.levels = store.collection("inventory_levels")
        self.customers = store.collection("customers")
        self.orders = store.collection("orders")
        self.links = store.collection("order_links")
        self.fulfillment_orders = store.collection("fulfillment_orders")
        self.fulfillments = store.collection("fulfillments")
        self.refunds = store.collection("refunds")
        self.returns = store.collection("returns")
        self.transactions = store.collection("transactions")
        self.metafields = store.collection("metafields")
        self.jobs = store.collection("jobs")
        self.adjustments = store.collection("inventory_adjustment_groups")
        self.answers = store.collection("idempotent_answers")
        # Lookups by something that is not the id; values of one key each, so that no query walks all orders.
        self.skus = store.collection("variant_by_sku")
        self.items = store.collection("variant_by_inventory_item")
        self.names = store.collection("order_by_name")

    # ------------------------------------------------------------------ time and numbers
    def now(self) -> str:
        return local_time(self.clock.now())

    def new_id(self) -> int:
        """A 64-bit id above 2**53: a reader that takes it for a double rounds it, as the vendor's own samples show."""
        started: datetime = self.clock.now()
        return self.store.next_id("shopify_id", int(started.timestamp() * 1000) * 100_000 + 11)

    # ------------------------------------------------------------------ seed
    def plant(self) -> None:
        """Fill an empty store from the seed; a store that survived a restart is left as it is."""
        if len(self.locations):
            return
        now = self.now()
        for location in self.seed.locations:
            self.locations.put(
                location.id,
                {
                    **location.model_dump(),
                    "admin_graphql_api_id": gid("Location", location.id),
                    "created_at": now,
                    "updated_at": now,
                },
            )
        for variant in self.seed.variants:
            self.add_variant(variant)
        for customer in self.seed.customers:
            self.add_customer(customer)

    def add_variant(self, spec: SeedVariant) -> Document:
        now = self.now()
        number = spec.variant_id or self.new_id()
        item = spec.inventory_item_id or self.new_id()
        variant: Document = {
            "id": number,
            "admin_graphql_api_id": gid("ProductVariant", number),
            "product_id": spec.product_id or self.new_id(),
            "inventory_item_id": item,
            "price": amount(spec.price),
            "created_at": now,
            "updated_at": now,
            **spec.model_dump(exclude={"variant_id", "product_id", "inventory_item_id", "price", "stock"}),
        }
        self.variants.put(number, variant)
        self.skus.put(spec.sku, {"id": number})
        self.items.put(item, {"id": number})
        for location, quantity in spec.stock.items():
            self.put_level({**new_level(item, int(location)), "available": quantity, "updated_at": now})
        return variant

    def add_customer(self, spec: SeedCustomer) -> Document:
        now = self.now()
        number = spec.id or self.new_id()
        address_id = self.new_id()
        default = spec.default_address
        customer: Document = {
            "id": number,
            "admin_graphql_api_id": gid("Customer", number),
            "email": spec.email,
            "first_name": spec.first_name,
            "last_name": spec.last_name,
            "phone": spec.phone,
            "tags": spec.tags,
            "tax_exempt": spec.tax_exempt,
            "created_at": now,
            "updated_at": now,
            "company": spec.company.model_dump() if spec.company else None,
            "default_address": {
                **address_body(default.model_dump() if default else {"address1": "", "city": ""}, spec),
                "id": address_id,
                "customer_id": number,
                "country_name": default.country if default else "United States",
                "default": True,
            },
        }
        self.customers.put(number, customer)
        return customer

    # ------------------------------------------------------------------ finding
    def variant_by_sku(self, sku: str) -> Document | None:
        found = self.skus.get(sku)
        return self.variants.get(found["id"]) if found else None

    def variant_by_item(self, item: object) -> Document | None:
        found = self.items.get(item)
        return self.variants.get(found["id"]) if found else None

    def customer_by_email(self, email: str) -> Document | None:
        return self.customers.first(lambda customer: str(customer["email"]).lower() == email.lower())

    def linked(self, order_id: object) -> Document:
        """Ids of what belongs to an order: fulfillment orders, fulfillments, refunds, transactions, returns."""
        return self.links.get(order_id) or {kind: [] for kind in _LINKS}

    def link(self, order_id: object, kind: str, number: int) -> None:
        links = self.linked(order_id)
        links[kind].append(number)
        self.links.put(order_id, links)

    def of_order(self, order_id: object, kind: str, collection: Collection) -> list[Document]:
        found = (collection.get(number) for number in self.linked(order_id)[kind])
        return [document for document in found if document is not None]

    def default_location(self) -> Document:
        return next(location for location in self.locations.values() if location["is_active"])

    # ------------------------------------------------------------------ stock
    def level(self, item: object, location: object) -> Document | None:
        return self.levels.get(f"{item}:{location}")

    def put_level(self, level: Document) -> None:
        self.levels.put(f"{level['inventory_item_id']}:{level['location_id']}", level)

    def levels_of_item(self, item: object) -> list[Document]:
        found = (self.level(item, location["id"]) for location in self.locations.values())
        return [level for level in found if level is not None]

    def levels_at(self, location: int) -> list[Document]:
        return self.levels.find(lambda level: level["location_id"] == location)


def new_level(item: int, location: int) -> Document:
    """A stock level with nothing in it. `on_hand` is what is available plus what is committed or set aside."""
    quantities = dict.fromkeys(("available", "committed", "damaged", "incoming", "quality_control", "reserved", "safety_stock"), 0)
    return {"inventory_item_id": item, "location_id": location, **quantities}


def on_hand(level: Document) -> int:
    held = ("available", "committed", "damaged", "quality_control", "reserved", "safety_stock")
    return sum(int(level[name]) for name in held)


def address_body(address: Document, person: SeedCustomer | None = None) -> Document:
    """An address as the customer's address book shows it."""
    first = address.get("first_name") or (person.first_name if person else "")
    last = address.get("last_name") or (person.last_name if person else "")
    return {
        "first_name": first,
        "last_name": last,
        "company": address.get("company"),
        "address1": address.get("address1", ""),
        "address2": address.get("address2"),
        "city": address.get("city", ""),
        "province": address.get("province", ""),
        "country": address.get("country", "United States"),
        "zip": address.get("zip", ""),
        "phone": address.get("phone", ""),
        "name": f"{first} {last}".strip(),
        "province_code": address.get("province_code", ""),
        "country_code": address.get("country_code", "US"),
    }
