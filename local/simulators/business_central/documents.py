"""How are sales orders, invoices and credit memos written: header defaults, lines, and what the vendor refuses?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from local.simulators.business_central import refusals
from local.simulators.business_central.amounts import ZERO, price_lines, to_cents, totals
from local.simulators.business_central.books import Books, Record, new_id
from local.simulators.business_central.contract import ENTITIES, NO_DATE, NO_ID
from local.simulators.business_central.masters import Masters
from local.simulators.business_central.payload import blank_record, checked

_ADDRESS = {
    "AddressLine1": "addressLine1",
    "AddressLine2": "addressLine2",
    "City": "city",
    "Country": "country",
    "State": "state",
    "PostCode": "postalCode",
}
_REFERENCES = (("paymentTermsId", "paymentTerms"), ("shipmentMethodId", "shipmentMethods"))


@dataclass(frozen=True)
class Kind:
    """One kind of sales document."""

    headers: str
    lines: str
    date_field: str
    number: str
    """How drafts are numbered."""


ORDER = Kind("salesOrders", "salesOrderLines", "orderDate", "SO{:06d}")
INVOICE = Kind("salesInvoices", "salesInvoiceLines", "invoiceDate", "SI{:06d}")
CREDIT_MEMO = Kind("salesCreditMemos", "salesCreditMemoLines", "creditMemoDate", "SCM{:06d}")
KINDS = {kind.headers: kind for kind in (ORDER, INVOICE, CREDIT_MEMO)}
KINDS_BY_LINES = {kind.lines: kind for kind in KINDS.values()}


class Documents:
    """Creates, changes and deletes documents that are not posted yet. Every method runs inside `Books.work()`."""

    def __init__(self, books: Books, masters: Masters) -> None:
        self._books = books
        self._masters = masters

    # -- headers
    def create(self, kind: Kind, body: Mapping[str, Any]) -> Record:
        """A new document with its lines, if the body brings them along."""
        entity = ENTITIES[kind.headers]
        values = checked(entity, dict(body), children=frozenset({kind.lines}))
        lines = body.get(kind.lines) or []
        if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
            raise refusals.bad_request("Invalid Request Body")
        customer = self._customer(values, "customer", "sell-to")
        if customer is None:
            raise refusals.dialog('A "customerNumber" or a "customerId" must be provided.')
        self.check_not_blocked(customer, "create this type of document")
        payer = self._customer(values, "billToCustomer", "bill-to") or customer
        header = {**blank_record(entity), "id": new_id(), **self._defaults(kind, customer, payer)}
        header["number"] = self._books.next_number(kind.headers, kind.number)
        self._set_header(header, values)
        header["customerId"], header["customerNumber"] = customer["id"], customer["number"]
        header["billToCustomerId"], header["billToCustomerNumber"] = payer["id"], payer["number"]
        stored = self._books.insert(kind.headers, header)
        for line in lines:
            self._insert_line(kind, stored, line)
        return self.recalculate(kind, stored)

    def change(self, kind: Kind, header: Record, body: Mapping[str, Any]) -> Record:
        """New values for a header; the customer of a document with lines stays."""
        self._check_open(kind, header)
        values = checked(ENTITIES[kind.headers], dict(body))
        customer = self._customer(values, "customer", "sell-to")
        if customer is not None and customer["id"] != header["customerId"]:
            raise refusals.dialog("You cannot change the customer because the document has been created for another.")
        payer = self._customer(values, "billToCustomer", "bill-to")
        self._set_header(header, values)
        if payer is not None:
            header["billToCustomerId"], header["billToCustomerNumber"] = payer["id"], payer["number"]
            header["billToName"] = payer["displayName"]
        return self.recalculate(kind, self._books.save(kind.headers, header))

    def delete(self, kind: Kind, header: Record) -> None:
        """Refused once something was shipped that is not invoiced, and for posted documents."""
        self._check_open(kind, header)
        for line in self._books.lines(kind.lines, header["id"]):
            self._check_line_removable(kind, header, line)
            self._books.remove(kind.lines, line["id"])
        self._books.remove(kind.headers, header["id"])

    # -- lines
    def add_line(self, kind: Kind, header: Record, body: Mapping[str, Any]) -> Record:
        self._check_open(kind, header)
        line = self._insert_line(kind, header, body)
        self.recalculate(kind, header)
        return self._books.get(kind.lines, line["id"]) or line

    def change_line(self, kind: Kind, header: Record, line: Record, body: Mapping[str, Any]) -> Record:
        self._check_open(kind, header)
        values = checked(ENTITIES[kind.lines], dict(body))
        self._check_line_identity(line, values)
        before = dict(line)
        self._set_line(kind, header, line, values, new=False)
        if before != line:
            self._books.save(kind.lines, line)
        self.recalculate(kind, header)
        return self._books.get(kind.lines, line["id"]) or line

    def delete_line(self, kind: Kind, header: Record, line: Record) -> None:
        self._check_open(kind, header)
        self._check_line_removable(kind, header, line)
        self._books.remove(kind.lines, line["id"])
        self.recalculate(kind, header)

    # -- shared rules
    def recalculate(self, kind: Kind, header: Record) -> Record:
        """Amounts, tax and totals anew; saves the header and the lines that changed."""
        header = self._books.get(kind.headers, header["id"]) or header
        lines = self._books.lines(kind.lines, header["id"])
        before = [dict(line) for line in lines]
        price_lines(lines, invoice_discount=Decimal(header["discountAmount"]))
        for old, line in zip(before, lines, strict=True):
            if old != line:
                self._books.save(kind.lines, line)
        header.update(totals(lines))
        header["discountAppliedBeforeTax"] = True
        if kind is ORDER:
            counted = [line for line in lines if line["quantity"]]
            header["fullyShipped"] = bool(counted) and all(line["shippedQuantity"] == line["quantity"] for line in counted)
        if kind is INVOICE:
            header["remainingAmount"] = ZERO
        return self._books.save(kind.headers, header)

    def check_not_blocked(self, customer: Record, doing: str) -> None:
        if customer["blocked"] != "_x0020_":
            raise refusals.dialog(f"You cannot {doing} when Customer {customer['number']} is blocked with type {customer['blocked']}.")

    def default_quantities(self, line: Record) -> None:
        """What the vendor proposes to ship and invoice next, by the sales setup."""
        if self._masters.setup["default_quantity_to_ship"] == "Blank":
            line["shipQuantity"] = ZERO
        else:
            line["shipQuantity"] = Decimal(line["quantity"]) - Decimal(line["shippedQuantity"])
        line["invoiceQuantity"] = most_to_invoice(line)

    def _customer(self, values: dict[str, Any], prefix: str, role: str) -> Record | None:
        key, number = values.pop(f"{prefix}Id", NO_ID), values.pop(f"{prefix}Number", "")
        if key == NO_ID and not number:
            return None
        found = self._books.get("customers", key) if key != NO_ID else self._books.first("customers", number=number)
        if found is None:
            raise refusals.dialog(f"The {role} customer cannot be found.")
        if number and found["number"] != number:
            raise refusals.dialog(f"The {role} customer values do not match to a specific Customer.")
        return found

    def _defaults(self, kind: Kind, customer: Record, payer: Record) -> Record:
        today = self._books.today()
        values: Record = {
            kind.date_field: today,
            "postingDate": today,
            "customerName": customer["displayName"],
            "billToName": payer["displayName"],
            "currencyId": payer["currencyId"],
            "currencyCode": payer["currencyCode"],
            "paymentTermsId": payer["paymentTermsId"],
            "shipmentMethodId": customer["shipmentMethodId"],
            "salesperson": customer["salespersonCode"],
            "phoneNumber": customer["phoneNumber"],
            "email": customer["email"],
            "status": "Draft",
        }
        if kind is not CREDIT_MEMO:
            values["shipToName"] = customer["displayName"]
        if kind is ORDER:
            values["partialShipping"] = True
        for ours, theirs in _ADDRESS.items():
            values[f"sellTo{ours}"] = customer[theirs]
            values[f"billTo{ours}"] = payer[theirs]
            if kind is not CREDIT_MEMO:
                values[f"shipTo{ours}"] = customer[theirs]
        return values

    def _set_header(self, header: Record, values: dict[str, Any]) -> None:
        for name, set_name in _REFERENCES:
            if name in values:
                self._masters.by_id(set_name, values[name], field_name=name)
        if values.get("pricesIncludeTax"):
            raise refusals.dialog('The "pricesIncludeTax" cannot be set to true if VAT Calculation Type is Sales Tax.')
        if Decimal(values.get("discountAmount", 0)) < 0:
            raise refusals.field_check("The invoice discount amount must not be negative.")
        self._set_currency(values)
        header.update(values)

    def _set_currency(self, values: dict[str, Any]) -> None:
        local = self._masters.setup["local_currency"]
        if "currencyId" in values:
            currency = self._masters.by_id("currencies", values["currencyId"], field_name="currencyId")
            code = currency["code"] if currency else local
            if values.get("currencyCode", code) != code:
                raise refusals.dialog("The currency values do not match to a specific Currency.")
            values["currencyCode"] = code
        elif "currencyCode" in values:
            code = values["currencyCode"] or local
            currency = self._books.first("currencies", code=code)
            if currency is None and code != local:
                raise refusals.dialog('The "currencyCode" does not match to a Currency.')
            values["currencyCode"] = code
            values["currencyId"] = currency["id"] if currency and code != local else NO_ID

    def _insert_line(self, kind: Kind, header: Record, body: Mapping[str, Any]) -> Record:
        entity = ENTITIES[kind.lines]
        values = checked(entity, dict(body))
        if values.get("documentId", header["id"]) != header["id"]:
            raise refusals.dialog('The value for "documentId" cannot be modified.')
        line = {**blank_record(entity), "id": new_id(), "documentId": header["id"]}
        siblings = self._books.lines(kind.lines, header["id"])
        line["sequence"] = values.pop("sequence", 0) or (siblings[-1]["sequence"] if siblings else 0) + 10000
        if any(sibling["sequence"] == line["sequence"] for sibling in siblings):
            raise refusals.same_key("Sales Line", f"Document No.='{header['number']}',Line No.='{line['sequence']}'")
        line["shipmentDate"] = header.get("requestedDeliveryDate", NO_DATE)
        if line["shipmentDate"] == NO_DATE:
            line["shipmentDate"] = header[kind.date_field]
        self._set_object(header, line, values)
        self._set_line(kind, header, line, values, new=True)
        return self._books.insert(kind.lines, line)

    def _set_object(self, header: Record, line: Record, values: dict[str, Any]) -> None:
        """Which item or account the line is about, with what follows from it."""
        item_id, account_id = values.pop("itemId", NO_ID), values.pop("accountId", NO_ID)
        number = values.pop("lineObjectNumber", "")
        if item_id != NO_ID and account_id != NO_ID:
            raise refusals.dialog('Both "itemId" and "accountId" are specified. Specify only one of them.')
        implied = "Item" if item_id != NO_ID else "Account" if account_id != NO_ID else "Comment"
        line["lineType"] = values.pop("lineType", implied)
        if line["lineType"] == "Item":
            self._set_item(line, item_id, number)
        elif line["lineType"] == "Account":
            account = self._masters.account(number=number, key=account_id)
            line["accountId"], line["lineObjectNumber"] = account.id, account.number
            line["description"], line["taxCode"] = account.name, account.tax_group
        elif line["lineType"] != "Comment":
            raise refusals.dialog(f"The line type {line['lineType']} is not set up in this company.")
        elif number or item_id != NO_ID or account_id != NO_ID:
            raise refusals.field_check("Type must not be Comment in Sales Line when a number is given.")
        customer = self._books.get("customers", header["customerId"]) or {}
        line["taxPercent"] = self._masters.tax_percent(customer, line["taxCode"]) if line["taxCode"] else ZERO

    def _set_item(self, line: Record, item_id: str, number: str) -> None:
        found = self._books.get("items", item_id) if item_id != NO_ID else self._books.first("items", number=number)
        if found is None:
            raise refusals.dialog("Item does not exist.")
        if number and found["number"] != number:
            raise refusals.dialog("The item values do not match to a specific Item.")
        if found["blocked"]:
            raise refusals.field_check(f"Blocked must be equal to 'No' in Item: No.={found['number']}. Current value is 'Yes'.")
        line["itemId"], line["lineObjectNumber"] = found["id"], found["number"]
        line["description"], line["description2"] = found["displayName"], found["displayName2"]
        line["taxCode"] = found["taxGroupCode"]
        line["unitOfMeasureId"], line["unitOfMeasureCode"] = (
            found["baseUnitOfMeasureId"],
            found["baseUnitOfMeasureCode"],
        )

    def _set_line(self, kind: Kind, header: Record, line: Record, values: dict[str, Any], *, new: bool) -> None:
        if line["lineType"] == "Comment" and set(values) - {"description", "description2", "documentId"}:
            raise refusals.field_check("Type must not be Comment in Sales Line when values are given.")
        for name in ("description", "description2", "shipmentDate"):
            if name in values:
                line[name] = values[name]
        self._set_unit(line, values)
        self._set_place(line, values)
        old_quantity = Decimal(line["quantity"])
        if "quantity" in values:
            self._set_quantity(kind, line, values["quantity"])
        requantified = new or line["quantity"] != old_quantity
        if "unitPrice" in values:
            if values["unitPrice"] < 0:
                raise refusals.field_check("Unit Price must be positive in Sales Line.")
            line["unitPrice"] = values["unitPrice"]
        elif line["lineType"] == "Item" and (requantified or {"unitOfMeasureCode", "unitOfMeasureId"} & set(values)):
            line["unitPrice"] = self._proposed_price(header, line)
        self._set_discount(line, values)
        if kind is ORDER:
            if requantified and line["lineType"] != "Comment":
                self.default_quantities(line)
            self._set_next_quantities(line, values)

    def _proposed_price(self, header: Record, line: Record) -> Decimal:
        customer = self._books.get("customers", header["customerId"]) or {}
        item = self._books.get("items", line["itemId"]) or {}
        date_field = next(name for name in ("orderDate", "invoiceDate", "creditMemoDate") if name in header)
        return self._masters.unit_price(customer, item, line["unitOfMeasureCode"], Decimal(line["quantity"]), header[date_field])

    def _set_unit(self, line: Record, values: dict[str, Any]) -> None:
        if "unitOfMeasureId" not in values and "unitOfMeasureCode" not in values:
            return
        key, code = values.get("unitOfMeasureId", NO_ID), values.get("unitOfMeasureCode", "")
        unit = self._books.get("unitsOfMeasure", key) if key != NO_ID else self._books.first("unitsOfMeasure", code=code)
        if unit is None or (code and unit["code"] != code):
            raise refusals.no_such_relation("Unit of Measure Code", "Sales Line", code or key, "Unit of Measure")
        if line["lineType"] == "Item":
            self._masters.quantity_per_unit(self._books.get("items", line["itemId"]) or {}, unit["code"])
        line["unitOfMeasureId"], line["unitOfMeasureCode"] = unit["id"], unit["code"]

    def _set_place(self, line: Record, values: dict[str, Any]) -> None:
        if "locationId" in values:
            key = values["locationId"]
            if key != NO_ID and self._books.get("locations", key) is None:
                raise refusals.no_such_relation("Location Id", "Sales Line", key, "Location")
            if key != line["locationId"] and line.get("shippedQuantity"):
                raise refusals.field_check("Quantity Shipped must be equal to '0' in Sales Line.")
            line["locationId"] = key
        if "itemVariantId" in values:
            key = values["itemVariantId"]
            variant = self._books.get("itemVariants", key) if key != NO_ID else None
            if key != NO_ID and (variant is None or variant["itemId"] != line["itemId"]):
                raise refusals.no_such_relation("Variant Id", "Sales Line", key, "Item Variant")
            line["itemVariantId"] = key

    def _set_quantity(self, kind: Kind, line: Record, quantity: Decimal) -> None:
        if quantity <= 0:
            raise refusals.field_check("Quantity must be positive in Sales Line.")
        if kind is ORDER and quantity < max(line["shippedQuantity"], line["invoicedQuantity"]):
            raise refusals.field_check(f"Quantity must not be less than the Quantity Shipped {line['shippedQuantity']} in Sales Line.")
        line["quantity"] = quantity

    def _set_discount(self, line: Record, values: dict[str, Any]) -> None:
        gross = to_cents(Decimal(line["quantity"]) * Decimal(line["unitPrice"]))
        if "discountAmount" in values:
            line["discountAmount"] = to_cents(values["discountAmount"])
            if not 0 <= line["discountAmount"] <= max(gross, ZERO):
                raise refusals.field_check("Line Discount Amount must be between 0 and the line's amount.")
            line["discountPercent"] = to_cents(line["discountAmount"] * 100 / gross) if gross else ZERO
        else:
            if "discountPercent" in values:
                line["discountPercent"] = values["discountPercent"]
            if not 0 <= line["discountPercent"] <= 100:
                raise refusals.field_check("Line Discount % must be between 0 and 100.")
            line["discountAmount"] = to_cents(gross * Decimal(line["discountPercent"]) / 100)

    def _set_next_quantities(self, line: Record, values: dict[str, Any]) -> None:
        outstanding = Decimal(line["quantity"]) - Decimal(line["shippedQuantity"])
        if "shipQuantity" in values:
            if not 0 <= values["shipQuantity"] <= outstanding:
                raise refusals.dialog(f"You cannot ship more than {outstanding} units.")
            line["shipQuantity"] = values["shipQuantity"]
            # Shipping less or more changes what can be invoiced with it; the vendor proposes the most again.
            line["invoiceQuantity"] = most_to_invoice(line)
        if "invoiceQuantity" in values:
            most = most_to_invoice(line)
            if not 0 <= values["invoiceQuantity"] <= most:
                raise refusals.dialog(f"You cannot invoice more than {most} units.")
            line["invoiceQuantity"] = values["invoiceQuantity"]

    def _check_line_identity(self, line: Record, values: dict[str, Any]) -> None:
        """What a line is about never changes; sending the same again is allowed."""
        messages = {
            "documentId": 'The value for "documentId" cannot be modified.',
            "sequence": "The value for sequence cannot be modified. Delete and insert the line again.",
            "lineObjectNumber": 'The value for "lineObjectNumber" cannot be modified.',
            "itemId": 'The value for "itemId" cannot be modified.',
            "accountId": 'The value for "accountId" cannot be modified.',
            "lineType": 'The value for "lineType" cannot be modified.',
        }
        for name, message in messages.items():
            if name in values and values.pop(name) != line[name]:
                raise refusals.dialog(message)

    def _check_line_removable(self, kind: Kind, header: Record, line: Record) -> None:
        if kind is ORDER and line["shippedQuantity"] != line["invoicedQuantity"]:
            raise refusals.field_check(
                f"Qty. Shipped Not Invoiced must be equal to '0' in Sales Line: Document Type=Order, Document No.={header['number']}, Line No.={line['sequence']}."
            )

    def _check_open(self, kind: Kind, header: Record) -> None:
        if kind is not ORDER and header["status"] != "Draft":
            raise refusals.dialog("The document is posted. Only draft documents can be changed.")


def most_to_invoice(line: Record) -> Decimal:
    """What is shipped or about to be, and not yet invoiced."""
    return Decimal(line["shippedQuantity"]) + Decimal(line["shipQuantity"]) - Decimal(line["invoicedQuantity"])
