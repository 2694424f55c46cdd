"""Who and what does the company know: customers, items with stock and prices, locations, units, terms, tax areas?

Filled from the seed; what API v2.0 does not show (tax rates, sales prices, stock per location, G/L accounts) is kept
beside the entities, because the vendor's own rules need it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from local.simulators.business_central import refusals
from local.simulators.business_central.books import Books, Record
from local.simulators.business_central.contract import ENTITIES, NO_ID
from local.simulators.business_central.payload import blank_record
from local.simulators.state import Store

_NAMESPACE = uuid.UUID("9d3f6c1e-7a55-4f0f-8a38-5d1f5b0c2f11")
_KEYS = {"customers": "number", "items": "number"}
_SEEDED = ("unitsOfMeasure", "locations", "currencies", "paymentTerms", "shipmentMethods", "customers", "items")
_SEED_KEYS = {*_SEEDED, "company", "setup", "staff_locations", "taxAreas", "accounts", "sales_prices"}
_SETUP = {
    "default_quantity_to_ship": "Remainder",
    "prevent_negative_inventory": True,
    "local_currency": "USD",
    "page_size": 20000,
    "token_seconds": 3599,
}
"""Sales & receivables setup, inventory setup and service limits, as a fresh company has them."""


@dataclass(frozen=True)
class Account:
    """A G/L account that a sales line may name (freight, surcharges)."""

    id: str
    number: str
    name: str
    tax_group: str


class Masters:
    """Reads and keeps master data; prices, tax rates and stock are asked here."""

    def __init__(self, store: Store, books: Books) -> None:
        self._beside = store.collection("_beside")
        self._books = books

    # -- the seed
    def seed(self, seed: Mapping[str, Any], company_id: str) -> None:
        """Raises ValueError naming what it does not understand."""
        unknown = sorted(set(seed) - _SEED_KEYS)
        if unknown:
            raise ValueError(f"unknown seed keys: {', '.join(unknown)}; known are {', '.join(sorted(_SEED_KEYS))}")
        setup = seed.get("setup", {})
        if set(setup) - set(_SETUP):
            raise ValueError(f"unknown setup: {', '.join(sorted(set(setup) - set(_SETUP)))}")
        self._beside.put("setup", {**_SETUP, **setup})
        self._beside.put("staff_locations", {"codes": list(seed.get("staff_locations", []))})
        self._beside.put("taxAreas", {area["code"]: _tax_area(area) for area in seed.get("taxAreas", [])})
        accounts = {account["number"]: account for account in seed.get("accounts", [])}
        self._beside.put("accounts", accounts)
        self._beside.put("sales_prices", {"prices": [_sales_price(price) for price in seed.get("sales_prices", [])]})
        self._books.insert("companies", self._company(seed.get("company", {}), company_id))
        for set_name in _SEEDED:
            for values in seed.get(set_name, []):
                self._seed_one(set_name, values)

    def _company(self, values: Mapping[str, Any], company_id: str) -> Record:
        name = values.get("name", "Simulated Company")
        moment = self._books.stamp()
        return {
            **blank_record(ENTITIES["companies"]),
            "id": company_id,
            "name": name,
            "displayName": values.get("displayName", name),
            "systemVersion": "26.0.30643.32100",
            "systemCreatedAt": moment,
            "systemModifiedAt": moment,
        }

    def _seed_one(self, set_name: str, values: Mapping[str, Any]) -> None:
        entity = ENTITIES[set_name]
        key = _KEYS.get(set_name, "code")
        record: Record = {**blank_record(entity), "id": id_of(set_name, str(values[key]))}
        extras = dict(values)
        for name in list(extras):
            if name in entity.fields:
                value = extras.pop(name)
                record[name] = Decimal(str(value)) if entity.fields[name].kind == "decimal" else value
        if set_name == "customers":
            self._finish_customer(record, extras)
        if set_name == "items":
            self._finish_item(record, extras)
        if extras:
            raise ValueError(f"{set_name} {values[key]}: unknown properties {', '.join(sorted(extras))}")
        self._books.insert(set_name, record)

    def _finish_customer(self, record: Record, extras: dict[str, Any]) -> None:
        area = extras.pop("taxAreaCode", None)
        if area is not None:
            known = (self._beside.get("taxAreas") or {}).get(area)
            if known is None:
                raise ValueError(f"customer {record['number']}: no tax area {area}")
            record["taxAreaId"], record["taxAreaDisplayName"] = known["id"], known["displayName"]
        for name, set_name in (("paymentTerms", "paymentTerms"), ("shipmentMethod", "shipmentMethods")):
            code = extras.pop(f"{name}Code", None)
            if code is not None:
                record[f"{name}Id"] = id_of(set_name, code)
        record["currencyCode"] = record["currencyCode"] or self.setup["local_currency"]

    def _finish_item(self, record: Record, extras: dict[str, Any]) -> None:
        unit = record["baseUnitOfMeasureCode"]
        if not unit or self._books.first("unitsOfMeasure", code=unit) is None:
            raise ValueError(f"item {record['number']}: base unit {unit!r} is not among unitsOfMeasure")
        record["baseUnitOfMeasureId"] = id_of("unitsOfMeasure", unit)
        record["_units"] = {code: Decimal(str(per)) for code, per in extras.pop("units", {}).items()}
        stock = {code: Decimal(str(quantity)) for code, quantity in extras.pop("stock", {}).items()}
        for code in stock:
            if self._books.first("locations", code=code) is None:
                raise ValueError(f"item {record['number']}: stock at unknown location {code}")
        record["_stock"] = stock
        record["inventory"] = sum(stock.values(), Decimal(0))

    # -- questions
    @property
    def setup(self) -> dict[str, Any]:
        return self._beside.get("setup") or dict(_SETUP)

    @property
    def staff_locations(self) -> list[str]:
        return list((self._beside.get("staff_locations") or {"codes": []})["codes"])

    def by_id(self, set_name: str, key: str, *, field_name: str) -> Record | None:
        """The master a document refers to; None for a blank reference. Refuses an unknown one."""
        if key == NO_ID:
            return None
        record = self._books.get(set_name, key)
        if record is None:
            entity = ENTITIES[set_name]
            raise refusals.dialog(f'The "{field_name}" does not match to a {entity.table}.')
        return record

    def account(self, *, number: str = "", key: str = NO_ID) -> Account:
        """Refuses an account the chart does not have."""
        for known in (self._beside.get("accounts") or {}).values():
            account = Account(
                id=id_of("accounts", known["number"]),
                number=known["number"],
                name=known.get("displayName", ""),
                tax_group=known.get("taxGroupCode", ""),
            )
            if account.number == number or account.id == key:
                return account
        raise refusals.dialog("Account does not exist.")

    def tax_percent(self, customer: Record, tax_group: str) -> Decimal:
        """The rate for this customer's area and this tax group; 0 for a customer who is not liable."""
        if not customer["taxLiable"]:
            return Decimal(0)
        for area in (self._beside.get("taxAreas") or {}).values():
            if area["id"] == customer["taxAreaId"]:
                return Decimal(str(area["rates"].get(tax_group, 0)))
        return Decimal(0)

    def unit_price(self, customer: Record, item: Record, unit: str, quantity: Decimal, on: str) -> Decimal:
        """What the vendor puts on a line without a price: the best matching sales price, else the list price."""
        per_base = self.quantity_per_unit(item, unit)
        candidates = [
            Decimal(str(price["unit_price"]))
            for price in (self._beside.get("sales_prices") or {"prices": []})["prices"]
            if price["item"] == item["number"]
            and price["customer"] in (None, customer["number"])
            and price["unit"] in (None, unit)
            and Decimal(str(price["minimum_quantity"])) <= quantity
            and (price["starting"] is None or price["starting"] <= on)
            and (price["ending"] is None or on <= price["ending"])
        ]
        return min(candidates) if candidates else Decimal(item["unitPrice"]) * per_base

    def quantity_per_unit(self, item: Record, unit: str) -> Decimal:
        """How many base units one `unit` is. Refuses a unit the item does not have."""
        if unit == item["baseUnitOfMeasureCode"]:
            return Decimal(1)
        per = item.get("_units", {}).get(unit)
        if per is None:
            raise refusals.no_such_relation("Unit of Measure Code", "Sales Line", unit, "Item Unit of Measure")
        return Decimal(str(per))

    # -- changes
    def move_stock(self, item_id: str, location_id: str, quantity: Decimal) -> None:
        """Add base units (negative: take away) at a location. Refuses to go below zero if the setup says so."""
        item = self._books.get("items", item_id)
        if item is None or item["type"] != "Inventory":
            return
        location = self._books.get("locations", location_id)
        code = location["code"] if location else ""
        held = Decimal(str(item.get("_stock", {}).get(code, 0)))
        if quantity < 0 and held + quantity < 0 and self.setup["prevent_negative_inventory"]:
            raise refusals.dialog(f"You have insufficient quantity of Item {item['number']} on inventory at location '{code}'.")
        stock = {**item.get("_stock", {}), code: held + quantity}
        total = sum((Decimal(str(value)) for value in stock.values()), Decimal(0))
        self._books.set_calculated("items", item_id, _stock=stock, inventory=total)

    def add_to_balance(self, customer_id: str, amount: Decimal) -> None:
        customer = self._books.get("customers", customer_id)
        if customer is not None:
            balance = Decimal(customer["balanceDue"]) + amount
            self._books.set_calculated("customers", customer_id, balanceDue=balance)

    def set_sales_price(self, price: Mapping[str, Any]) -> None:
        """Add a sales price, or replace the one of the same customer, item, unit, quantity and start."""
        new = _sales_price(price)
        key = ("customer", "item", "unit", "minimum_quantity", "starting")
        kept = [old for old in (self._beside.get("sales_prices") or {"prices": []})["prices"] if [str(old[name]) for name in key] != [str(new[name]) for name in key]]
        self._beside.put("sales_prices", {"prices": [*kept, new]})

    def beside(self) -> dict[str, Any]:
        """What API v2.0 does not show, for the control panel."""
        names = ("setup", "staff_locations", "taxAreas", "accounts", "sales_prices")
        return {name: self._beside.get(name) for name in names}


def id_of(set_name: str, key: str) -> str:
    """The id of seeded master data: the same in every run, so that configurations may name it."""
    return str(uuid.uuid5(_NAMESPACE, f"{set_name}/{key}"))


def _tax_area(area: Mapping[str, Any]) -> dict[str, Any]:
    rates = {group: Decimal(str(rate)) for group, rate in area.get("rates", {}).items()}
    name = area.get("displayName", area["code"])
    return {"id": id_of("taxAreas", area["code"]), "displayName": name, "rates": rates}


def _sales_price(price: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "customer": price.get("customer"),
        "item": price["item"],
        "unit": price.get("unit"),
        "unit_price": Decimal(str(price["unit_price"])),
        "minimum_quantity": Decimal(str(price.get("minimum_quantity", 0))),
        "starting": price.get("starting"),
        "ending": price.get("ending"),
    }
