"""What happens when a document is posted: shipment, invoice, ledger entries, stock, balance, the end of the order?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from local.simulators.business_central import refusals
from local.simulators.business_central.amounts import ZERO, price_lines, to_cents, totals
from local.simulators.business_central.books import Books, Record, new_id
from local.simulators.business_central.contract import ENTITIES, NO_ID
from local.simulators.business_central.documents import INVOICE, ORDER, Documents, Kind
from local.simulators.business_central.masters import Masters
from local.simulators.business_central.payload import blank_record

COMMENT = "_x0020_"
"""The line type of a comment in a posted shipment."""
_NOTHING = "There is nothing to post because the document does not contain a quantity or amount."
_LINE_LEFT_OUT = {"id", "documentId", "shippedQuantity", "invoicedQuantity", "shipQuantity", "invoiceQuantity"}


class Posting:
    """Posts documents. Every method runs inside `Books.work()`."""

    def __init__(self, books: Books, masters: Masters, documents: Documents) -> None:
        self._books = books
        self._masters = masters
        self._documents = documents

    def ship_and_invoice(self, order: Record) -> None:
        """Post what the lines' shipQuantity and invoiceQuantity say; the answer to the API's bound action."""
        lines = [line for line in self._books.lines(ORDER.lines, order["id"]) if line["lineType"] != "Comment"]
        if not lines:
            raise refusals.dialog(_NOTHING)
        if any(not line["quantity"] for line in lines):
            raise refusals.dialog("There are one or more lines with no quantity.")
        ship = {line["id"]: Decimal(line["shipQuantity"]) for line in lines}
        invoice = {line["id"]: Decimal(line["invoiceQuantity"]) for line in lines}
        self.post_order(order, ship, invoice)

    def post_order(
        self,
        order: Record,
        ship: Mapping[str, Decimal],
        invoice: Mapping[str, Decimal],
        *,
        comments: Sequence[str] = (),
    ) -> Record | None:
        """Ship and invoice these quantities by line id; answers the posted shipment, if there is one."""
        lines = self._books.lines(ORDER.lines, order["id"])
        if not any(ship.values()) and not any(invoice.values()):
            raise refusals.dialog(_NOTHING)
        self._check(order, lines, ship)
        shipment = None
        if any(ship.values()):
            shipment = self._ship(order, lines, ship, comments)
        if any(invoice.values()):
            self._invoice(order, lines, invoice)
        if all(line["invoicedQuantity"] == line["quantity"] for line in lines if line["lineType"] != "Comment"):
            self._close(order, lines)
            return shipment
        for line in lines:
            if line["quantity"]:
                self._documents.default_quantities(line)
            self._books.save(ORDER.lines, line)
        header = self._books.get(ORDER.headers, order["id"]) or order
        self._books.save(ORDER.headers, {**header, "status": "Open"})
        self._documents.recalculate(ORDER, header)
        return shipment

    def post_draft(self, kind: Kind, header: Record) -> Record:
        """Post a draft invoice or credit memo of its own; it keeps its id and gets its final number."""
        if header["status"] != "Draft":
            raise refusals.dialog("The document is already posted.")
        lines = [line for line in self._books.lines(kind.lines, header["id"]) if line["quantity"]]
        if not lines:
            raise refusals.dialog(_NOTHING)
        customer = self._books.get("customers", header["customerId"]) or {}
        self._documents.check_not_blocked(customer, "post this type of document")
        outwards = kind is INVOICE
        pattern = "PSI{:06d}" if outwards else "PSCM{:06d}"
        posted = {**header, "status": "Open", "number": self._books.next_number(f"posted_{kind.headers}", pattern)}
        document_type = "Sales_x0020_Invoice" if outwards else "Sales_x0020_Credit_x0020_Memo"
        for line in lines:
            moved = -line["quantity"] if outwards else Decimal(line["quantity"])
            self._move(line, moved, posted, document_type)
        amount = Decimal(header["totalAmountIncludingTax"])
        posted["dueDate"] = self._due_date(header)
        if outwards:
            posted["remainingAmount"] = amount
        self._masters.add_to_balance(header["billToCustomerId"], amount if outwards else -amount)
        return self._books.save(kind.headers, posted)

    # -- parts
    def _check(self, order: Record, lines: list[Record], ship: Mapping[str, Decimal]) -> None:
        customer = self._books.get("customers", order["customerId"]) or {}
        self._documents.check_not_blocked(customer, "post this type of document")
        for line in lines:
            item = self._books.get("items", line["itemId"]) if line["itemId"] != NO_ID else None
            if item and item["blocked"] and ship.get(line["id"]):
                raise refusals.field_check(f"Blocked must be equal to 'No' in Item: No.={item['number']}.")
            outstanding = Decimal(line["quantity"]) - Decimal(line["shippedQuantity"])
            if ship.get(line["id"], ZERO) > outstanding:
                raise refusals.dialog(f"You cannot ship more than {outstanding} units.")
        complete = all(ship.get(line["id"], ZERO) == Decimal(line["quantity"]) - Decimal(line["shippedQuantity"]) for line in lines if line["quantity"])
        if any(ship.values()) and not order["partialShipping"] and not complete:
            raise refusals.dialog("This document cannot be shipped completely. Change the value in the Shipping Advice field to Partial.")

    def _ship(self, order: Record, lines: list[Record], ship: Mapping[str, Decimal], comments: Sequence[str]) -> Record:
        shipment = self._posted_header("salesShipments", order)
        shipment["number"] = self._books.next_number("posted_shipments", "PS{:06d}")
        shipment["orderNumber"] = order["number"]
        shipment["invoiceDate"] = shipment["postingDate"] = self._books.today()
        shipment["dueDate"] = self._due_date(order)
        for field_name, set_name in (("paymentTerms", "paymentTerms"), ("shipmentMethod", "shipmentMethods")):
            master = self._books.get(set_name, order[f"{field_name}Id"])
            shipment[f"{field_name}Code"] = master["code"] if master else ""
        self._books.insert("salesShipments", shipment)
        for line in lines:
            quantity = ship.get(line["id"], ZERO)
            if quantity:
                self._ship_line(shipment, line, quantity)
        last = max((line["sequence"] for line in lines), default=0)
        for number, comment in enumerate(comments, 1):
            self._books.insert(
                "salesShipmentLines",
                {
                    **blank_record(ENTITIES["salesShipmentLines"]),
                    "id": new_id(),
                    "documentId": shipment["id"],
                    "documentNo": shipment["number"],
                    "sequence": last + number * 10000,
                    "lineType": COMMENT,
                    "description": comment,
                },
            )
        return shipment

    def _ship_line(self, shipment: Record, line: Record, quantity: Decimal) -> None:
        copied = ("sequence", "lineObjectNumber", "description", "description2", "unitOfMeasureCode", "unitPrice")
        self._books.insert(
            "salesShipmentLines",
            {
                **blank_record(ENTITIES["salesShipmentLines"]),
                **{name: line[name] for name in (*copied, "discountPercent", "taxPercent")},
                "id": new_id(),
                "documentId": shipment["id"],
                "documentNo": shipment["number"],
                "lineType": "Item" if line["lineType"] == "Item" else "G_x002F_L_x0020_Account",
                "quantity": quantity,
                "shipmentDate": self._books.today(),
            },
        )
        entry = self._move(line, -quantity, shipment, "Sales_x0020_Shipment")
        if entry:
            line["_entries"] = [*line.get("_entries", []), entry]
        line["shippedQuantity"] = Decimal(line["shippedQuantity"]) + quantity

    def _invoice(self, order: Record, lines: list[Record], invoice: Mapping[str, Decimal]) -> None:
        header = self._posted_header(INVOICE.headers, order)
        header["number"] = self._books.next_number("posted_salesInvoices", "PSI{:06d}")
        header["orderId"], header["orderNumber"] = order["id"], order["number"]
        header["invoiceDate"] = header["postingDate"] = self._books.today()
        header["dueDate"] = self._due_date(order)
        header["status"] = "Open"
        posted = []
        for line in lines:
            quantity = invoice.get(line["id"], ZERO)
            if not quantity:
                continue
            posted.append(self._invoice_line(header, line, quantity))
            line["invoicedQuantity"] = Decimal(line["invoicedQuantity"]) + quantity
        header["discountAmount"] = sum((line.pop("_allocation") for line in posted), ZERO)
        price_lines(posted, invoice_discount=header["discountAmount"])
        header.update(totals(posted))
        header["remainingAmount"] = header["totalAmountIncludingTax"]
        self._books.insert(INVOICE.headers, header)
        for line in posted:
            self._books.insert(INVOICE.lines, line)
        self._masters.add_to_balance(order["billToCustomerId"], header["totalAmountIncludingTax"])
        self._value_entries(lines, posted)

    def _invoice_line(self, header: Record, line: Record, quantity: Decimal) -> Record:
        share = quantity / Decimal(line["quantity"])
        fields = ENTITIES[INVOICE.lines].fields
        return {
            **blank_record(ENTITIES[INVOICE.lines]),
            **{name: value for name, value in line.items() if name in fields and name not in _LINE_LEFT_OUT},
            "id": new_id(),
            "documentId": header["id"],
            "quantity": quantity,
            "discountAmount": to_cents(Decimal(line["discountAmount"]) * share),
            "_allocation": to_cents(Decimal(line["invoiceDiscountAllocation"]) * share),
        }

    def _value_entries(self, lines: list[Record], posted: list[Record]) -> None:
        """The sales amount of an invoiced line stands on its latest ledger entry."""
        amounts = {line["sequence"]: line["netAmount"] for line in posted}
        for line in lines:
            if line["sequence"] in amounts and line.get("_entries"):
                entry = self._books.get("itemLedgerEntries", line["_entries"][-1])
                if entry:
                    entry["salesAmountActual"] = Decimal(entry["salesAmountActual"]) + amounts[line["sequence"]]
                    self._books.save("itemLedgerEntries", entry)

    def _close(self, order: Record, lines: list[Record]) -> None:
        """A completely invoiced order disappears; its posted documents remain, under its number."""
        for line in lines:
            self._books.remove(ORDER.lines, line["id"])
        self._books.remove(ORDER.headers, order["id"])
        for invoice in list(self._books.all(INVOICE.headers)):
            if invoice["orderId"] == order["id"]:
                self._books.set_calculated(INVOICE.headers, invoice["id"], orderId=NO_ID)

    def _posted_header(self, set_name: str, order: Record) -> Record:
        fields = ENTITIES[set_name].fields
        copied = {name: value for name, value in order.items() if name in fields and name not in ("id", "number")}
        return {**blank_record(ENTITIES[set_name]), **copied, "id": new_id()}

    def _due_date(self, header: Record) -> str:
        terms = self._books.get("paymentTerms", header["paymentTermsId"])
        days = re.fullmatch(r"(\d+)D", terms["dueDateCalculation"]) if terms else None
        due = date.fromisoformat(self._books.today()) + timedelta(days=int(days[1]) if days else 0)
        return due.isoformat()

    def _move(self, line: Record, quantity: Decimal, document: Record, document_type: str) -> str | None:
        """Move stock for an item line (in its own unit) and write the ledger entry."""
        item = self._books.get("items", line["itemId"]) if line["itemId"] != NO_ID else None
        if item is None:
            return None
        base_quantity = quantity * self._masters.quantity_per_unit(item, line["unitOfMeasureCode"])
        self._masters.move_stock(item["id"], line["locationId"], base_quantity)
        return self.ledger_entry(
            item,
            base_quantity,
            "Sale",
            document_number=document["number"],
            document_type=document_type,
            source_number=document["customerNumber"],
        )

    def ledger_entry(
        self,
        item: Record,
        quantity: Decimal,
        entry_type: str,
        *,
        document_number: str,
        document_type: str = COMMENT,
        source_number: str = "",
    ) -> str:
        """Write one item ledger entry in base units; answers its id."""
        entry: dict[str, Any] = {
            **blank_record(ENTITIES["itemLedgerEntries"]),
            "id": new_id(),
            "entryNumber": self._books.next_integer("item_ledger_entry"),
            "itemNumber": item["number"],
            "postingDate": self._books.today(),
            "entryType": entry_type,
            "sourceNumber": source_number,
            "sourceType": "Customer" if source_number else COMMENT,
            "documentNumber": document_number,
            "documentType": document_type,
            "description": item["displayName"],
            "quantity": quantity,
            "costAmountActual": to_cents(quantity * Decimal(item["unitCost"])),
        }
        return str(self._books.insert("itemLedgerEntries", entry)["id"])
