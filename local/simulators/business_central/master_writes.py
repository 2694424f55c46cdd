"""How do clients create, change and delete master data: customers, items, variants, units, locations, terms?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.simulators.business_central import refusals
from local.simulators.business_central.books import Books, Record, new_id
from local.simulators.business_central.contract import NO_ID, Entity
from local.simulators.business_central.masters import Masters
from local.simulators.business_central.payload import blank_record, checked
from local.simulators.business_central.posting import Posting

_UNIQUE = {"customers": "number", "items": "number"}
_REFERENCES = (
    ("paymentTermsId", "paymentTerms"),
    ("shipmentMethodId", "shipmentMethods"),
    ("currencyId", "currencies"),
)


class MasterWrites:
    """Every method runs inside `Books.work()`."""

    def __init__(self, books: Books, masters: Masters, posting: Posting) -> None:
        self._books = books
        self._masters = masters
        self._posting = posting

    def insert(self, entity: Entity, body: Mapping[str, Any]) -> Record:
        values = checked(entity, dict(body), children=frozenset(entity.expands))
        if "inventory" in values:
            raise refusals.dialog("Inventory cannot be changed during on insert.")
        if entity.set_name == "customers" and not values.get("displayName"):
            raise refusals.dialog('A "displayName" must be provided.')
        key = _UNIQUE.get(entity.set_name, "code")
        if key == "number" and not values.get("number"):
            values["number"] = self._books.next_number(f"{entity.set_name}_number", entity.set_name[0].upper() + "{:05d}")
        if not values.get(key):
            raise refusals.Refused(400, "BadRequest_RequiredParamNotProvided", f"Field '{key}' must not be blank or empty.")
        same = {key: values[key], **({"itemId": values.get("itemId", NO_ID)} if "itemId" in entity.fields else {})}
        if self._books.first(entity.set_name, **same):
            raise refusals.same_key(entity.table, f"{key}='{values[key]}'")
        record = {**blank_record(entity), "id": new_id()}
        self._set(entity, record, values)
        return self._books.insert(entity.set_name, record)

    def change(self, entity: Entity, record: Record, body: Mapping[str, Any]) -> Record:
        if not entity.modify:
            raise refusals.method_not_allowed("PATCH", entity.set_name)
        values = checked(entity, dict(body))
        if "displayName" in values and entity.set_name == "customers" and not values["displayName"]:
            raise refusals.dialog('The blank "displayName" is not allowed.')
        key = _UNIQUE.get(entity.set_name, "code")
        if values.get(key, record[key]) != record[key] and self._books.first(entity.set_name, **{key: values[key]}):
            raise refusals.same_key(entity.table, f"{key}='{values[key]}'")
        inventory = values.pop("inventory", record.get("inventory"))
        if inventory != record.get("inventory"):
            change = inventory - record["inventory"]
            self._masters.move_stock(record["id"], NO_ID, change)
            kind = "Positive_x0020_Adjmt_x002E_" if change > 0 else "Negative_x0020_Adjmt_x002E_"
            self._posting.ledger_entry(record, change, kind, document_number=record["number"])
            record = self._books.get(entity.set_name, record["id"]) or record
        self._set(entity, record, values)
        return self._books.save(entity.set_name, record)

    def _set(self, entity: Entity, record: Record, values: dict[str, Any]) -> None:
        for name, set_name in _REFERENCES:
            if name in values:
                self._masters.by_id(set_name, values[name], field_name=name)
        if "itemId" in values and "itemNumber" in entity.fields:
            item = self._books.get("items", values["itemId"])
            if item is None:
                raise refusals.no_such_relation("Item Id", entity.table, values["itemId"], "Item")
            record["itemNumber"] = item["number"]
        code = values.get("baseUnitOfMeasureCode")
        if code is not None:
            unit = self._books.first("unitsOfMeasure", code=code)
            if unit is None or values.get("baseUnitOfMeasureId", unit["id"]) != unit["id"]:
                raise refusals.dialog("The unit of measure values do not match to a specific Unit of Measure.")
            record["baseUnitOfMeasureId"] = unit["id"]
        record.update(values)

    def delete(self, entity: Entity, record: Record) -> None:
        if not entity.delete:
            raise refusals.method_not_allowed("DELETE", entity.set_name)
        for set_name, field_name in (("salesOrders", "customerId"), ("salesInvoices", "customerId")):
            if entity.set_name == "customers" and self._books.first(set_name, **{field_name: record["id"]}):
                raise refusals.dialog(f"You cannot delete Customer {record['number']}: there are documents for it.")
        if entity.set_name == "items" and self._books.first("salesOrderLines", itemId=record["id"]):
            raise refusals.dialog(f"You cannot delete Item {record['number']} because there is at least one outstanding Sales Order that includes this item.")
        self._books.remove(entity.set_name, record["id"])
