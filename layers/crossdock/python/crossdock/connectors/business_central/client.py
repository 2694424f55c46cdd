"""Which calls does Business Central get for each command and question, and what do its answers mean?

None of the client libraries for it is used: the handful of OData calls needs exact decimals, our own timeouts and the
distinction between "not done" and "perhaps done", which they do not make.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeVar
from urllib.parse import quote, urlencode

from pydantic import ValidationError

from crossdock.connectors.business_central import mapping, wire
from crossdock.domain import strict_json
from crossdock.domain.commands import CancelFulfillment, CancelSalesOrder, CreateSalesOrder, Intent, MoveSalesOrderLines, PostCreditMemo, PostInvoice, Receipt, ReleaseFulfillment
from crossdock.domain.connector import (
    ConnectionContext,
    HttpAnswer,
    Known,
    LedgerDocument,
    PolledItem,
    PollResult,
    PriceQuestion,
    SnapshotPage,
    Translation,
    nothing_known,
)
from crossdock.domain.customer import CreditStanding
from crossdock.domain.delivery import Delivery
from crossdock.domain.errors import ConcurrentChange, ContractDrift, CrossdockError, FieldProblem, NeedsPerson, Rejected, UnknownOutcome
from crossdock.domain.price import Price
from crossdock.domain.stock import StockReading

LOGIN_URL = "https://login.microsoftonline.com"
SCOPE = "https://api.businesscentral.dynamics.com/.default"
FREIGHT_ACCOUNT = "44100"
RETURNS_ACCOUNT = "44200"
DRAFT = "Draft"
TRACKING_PREFIX = "TRACKING"
ATTEMPTS = 5
"""How often a change is planned anew because somebody else changed the document in between."""
TOKEN_MARGIN = timedelta(seconds=60)
"""A token is not used in its last minute: it could run out on the way."""
POLL_OVERLAP = timedelta(seconds=60)
"""A posting is stamped before it is committed: what a slow posting makes visible late is still found within this time."""
POLL_START = timedelta(hours=1)
"""How far back the first poll of a connection looks."""
PAGES_PER_POLL = 20
MOST_PAGES = 500
MASTER_PAGE, MASTER_PAGES_PER_POLL, MASTERS_TOGETHER = 500, 4, 50
"""Master data: how many the vendor is to give at once, how often one poll asks, and how many go on together."""
LOCAL_CURRENCY = "USD"
NUMBERS_PER_FILTER = 20
"""How many numbers one $filter asks for: keeps the address well below the vendor's limit."""

_Wire = TypeVar("_Wire", bound=wire.Inbound)
_Made = TypeVar("_Made")
_CHANGED = (409, 412)


@dataclass(frozen=True)
class _Master:
    """A collection of master data that is polled: under which topic it goes on, and which of its fields are asked for."""

    topic: str
    name: str
    fields: str


_MASTERS = {
    "items": _Master(mapping.ITEMS_TOPIC, "items", "number,displayName,unitPrice,priceIncludesTax,baseUnitOfMeasureCode,blocked,gtin,lastModifiedDateTime"),
    "customers": _Master(mapping.CUSTOMERS_TOPIC, "customers", "number,displayName,creditLimit,taxLiable,blocked,currencyCode,paymentTermsId,lastModifiedDateTime"),
}


class _Changed(Exception):
    """The concurrency token was stale."""


class BusinessCentralConnector:
    """One company of one environment. See ``crossdock.domain.connector.Connector``."""

    def __init__(self, context: ConnectionContext) -> None:
        self._context = context
        self.manifest = context.manifest
        self._settings = context.settings
        self._handlers: dict[type, tuple[Callable[..., Receipt], Callable[..., Receipt | None]]] = {
            CreateSalesOrder: (self._create_sales_order, self._find_sales_order),
            CancelSalesOrder: (self._cancel_sales_order, self._find_cancelled_order),
            ReleaseFulfillment: (self._release, self._release),
            MoveSalesOrderLines: (self._move_lines, self._find_moved_lines),
            CancelFulfillment: (self._cancel_part, self._find_cancelled_part),
            PostInvoice: (self._post_invoice, self._find_invoice),
            PostCreditMemo: (self._post_credit_memo, self._find_credit_memo),
        }

    # ------------------------------------------------------------------ the port
    def translate(self, delivery: Delivery) -> Translation:
        ignored = self.manifest.ignored.get(delivery.topic)
        if ignored is not None:
            return Translation(ignored=ignored.reason)
        if delivery.topic not in self.manifest.handled:
            raise ContractDrift("UNKNOWN_EVENT", f"Business Central does not send {delivery.topic!r} here", remedy="add the topic to the manifest")
        body = strict_json.loads(delivery.body)
        try:
            if delivery.topic == mapping.ITEMS_TOPIC:
                return mapping.items_from_wire(wire.PolledItems.model_validate(body), currency=self._settings.get("local_currency", LOCAL_CURRENCY))
            if delivery.topic == mapping.CUSTOMERS_TOPIC:
                return mapping.customers_from_wire(wire.PolledCustomers.model_validate(body))
            polled = wire.PolledShipment.model_validate(body)
        except ValidationError as error:
            raise Rejected(
                "INVALID_BODY", f"what was found under {delivery.topic} breaks the vendor's contract", remedy="correct the named fields, then retry", fields=_problems(error)
            ) from error
        return mapping.shipment_from_wire(
            polled,
            connection=self._context.connection,
            worked_locations=self._worked_locations(),
            tracking_prefix=self._settings.get("tracking_prefix", TRACKING_PREFIX),
        )

    def execute(self, intent: Intent) -> Receipt:
        return self._handler(intent)[0](intent)

    def look_up(self, intent: Intent) -> Receipt | None:
        return self._handler(intent)[1](intent)

    def poll(self, resource: str, cursor: str | None, known: Known = nothing_known) -> PollResult:  # noqa: ARG002 - no webhook brings the same
        if resource in _MASTERS:
            return self._changed_masters(resource, cursor)
        if resource != "shipments":
            raise ContractDrift("UNKNOWN_EVENT", f"Business Central has no poll resource {resource!r}", remedy="ask for one of the manifest's polls")
        since, seen = self._read_cursor(cursor)
        options = {
            "$filter": f"lastModifiedDateTime ge {wire.moment_literal(since)}",
            "$orderby": "lastModifiedDateTime",
            "$expand": "salesShipmentLines",
        }
        found = [(raw, _shape(wire.SalesShipment, raw)) for raw in self._records("salesShipments", options, pages=PAGES_PER_POLL)]
        new = [(raw, shipment) for raw, shipment in found if shipment.number not in seen]
        locations = self._line_locations({shipment.orderNumber for _, shipment in new})
        items = tuple(
            PolledItem(
                key=shipment.number,
                topic=mapping.SHIPMENT_TOPIC,
                body=wire.to_json({"salesShipment": raw, "locationCodes": {str(line): code for line, code in sorted(locations.get(shipment.orderNumber, {}).items())}}),
            )
            for raw, shipment in new
        )
        return PollResult(items, _write_cursor([shipment for _, shipment in found], since, seen))

    def _changed_masters(self, resource: str, cursor: str | None) -> PollResult:
        """Items or customers that have changed since, in the order in which they did; the first time all of them. Some dozens go on together.

        The cursor: the newest moment read, what the overlap will find again, and the vendor's link to the next page where there was more than one poll takes.
        """
        master = _MASTERS[resource]
        kept = json.loads(cursor) if cursor else {}
        since = datetime.fromisoformat(kept["newest"]) - POLL_OVERLAP if kept.get("newest") else None
        options = {**({} if since is None else {"$filter": f"lastModifiedDateTime ge {wire.moment_literal(since)}"}), "$orderby": "lastModifiedDateTime", "$select": master.fields}
        target: str | None = kept.get("next") or _target(resource, options)
        seen: dict[str, str] = dict(kept.get("seen", {}))
        newest, new = str(kept.get("newest") or ""), []
        for _ in range(MASTER_PAGES_PER_POLL):
            if target is None:
                break
            answer = self._send("GET", target, page_size=MASTER_PAGE)
            if answer.status != 200:
                raise _refused(answer, resource)
            page = _read(wire.Page, answer)
            for raw in page.value:
                number, moment = str(raw.get("number")), _shape(wire.Stamped, raw).lastModifiedDateTime.isoformat()
                if seen.get(number) != moment:
                    new.append(raw)
                seen[number], newest = moment, max(newest, moment)
            target = page.next_link
        edge = (datetime.fromisoformat(newest) - POLL_OVERLAP).isoformat() if newest else ""
        following = {"newest": newest or None, "seen": {number: moment for number, moment in seen.items() if moment >= edge}, "next": target}
        return PollResult(tuple(self._told_together(master, new)), json.dumps(following, sort_keys=True), more=target is not None)

    def _told_together(self, master: _Master, found: Sequence[dict[str, object]]) -> Iterator[PolledItem]:
        codes = {term.id: term.code for term in self._all(wire.PaymentTerm, "paymentTerms", {"$select": "id,code"})} if found and master.topic == mapping.CUSTOMERS_TOPIC else {}
        for start in range(0, len(found), MASTERS_TOGETHER):
            some = found[start : start + MASTERS_TOGETHER]
            body = {master.name: some, **({"paymentTermsCodes": codes} if codes or master.topic == mapping.CUSTOMERS_TOPIC else {})}
            states = [f"{raw.get('number')}@{raw.get('lastModifiedDateTime')}" for raw in some]
            yield PolledItem(key=hashlib.sha256("|".join(states).encode()).hexdigest()[:32], topic=master.topic, body=wire.to_json(body))

    def credit(self, account: str) -> CreditStanding | None:
        found = self._all(wire.Customer, "customers", {"$filter": f"number eq {wire.text_literal(account)}"})
        if not found:
            return None
        options = {
            "$filter": f"customerNumber eq {wire.text_literal(account)}",
            "$select": "id,number",
            "$expand": "salesOrderLines($select=quantity,invoicedQuantity,netAmountIncludingTax)",
        }
        return mapping.credit_from_wire(found[0], self._all(wire.OpenOrder, "salesOrders", options))

    def prices(self, account: str, questions: Sequence[PriceQuestion]) -> list[Price | None]:
        """List prices: API v2.0 does not show the sales prices of a customer (``account``)."""
        del account
        items: dict[str, wire.Item] = {}
        for numbers in _portions(sorted({question.sku for question in questions})):
            options = {"$filter": _one_of("number", numbers), "$select": "number,unitPrice,priceIncludesTax,baseUnitOfMeasureCode,blocked"}
            items |= {item.number: item for item in self._all(wire.Item, "items", options)}
        return [mapping.price_from_wire(items.get(question.sku), question) for question in questions]

    def stock(self) -> list[StockReading]:
        """Nothing: API v2.0 knows only an item's stock summed over all locations."""
        return []

    def sales_order(self, external_id: str) -> LedgerDocument | None:
        order = self._order(external_id)
        return None if order is None else mapping.document_from_wire(order)

    def placed(self, external_id: str) -> PolledItem:
        raise _unsupported(f"the order {external_id} of a storefront")

    def returned(self, external_id: str) -> PolledItem:
        raise _unsupported(f"the return {external_id} of a storefront")

    def snapshot(self, resource: str, cursor: str | None) -> SnapshotPage:
        raise _unsupported(f"a snapshot of {resource!r} (after {cursor!r})")

    # ------------------------------------------------------------------ sales orders
    def _create_sales_order(self, command: CreateSalesOrder) -> Receipt:
        codes = self._location_ids({line.location_code for line in command.lines})
        account = self._settings.get("freight_account", FREIGHT_ACCOUNT)
        body = wire.body_of(mapping.order_to_wire(command, location_ids=codes, freight_account=account))
        answer = self._send("POST", "salesOrders?$expand=salesOrderLines", body=body)
        if answer.status != 201:
            raise _refused(answer, "the sales order")
        return _after_write(lambda: mapping.order_from_wire(_read(wire.SalesOrder, answer), command), "the sales order")

    def _find_sales_order(self, command: CreateSalesOrder) -> Receipt | None:
        reference = mapping.external_reference(command.order.order_id)
        condition = f"externalDocumentNumber eq {wire.text_literal(reference)}"
        orders = self._all(wire.SalesOrder, "salesOrders", {"$filter": condition, "$expand": "salesOrderLines"})
        if len(orders) > 1:
            numbers = ", ".join(order.number for order in orders)
            raise ContractDrift(
                "UNEXPECTED_ANSWER", f"several sales orders carry our reference {reference}: {numbers}", remedy="delete all but one in Business Central, then retry"
            )
        if orders:
            return mapping.order_from_wire(orders[0], command, found=True)
        invoices = self._all(wire.SalesInvoice, "salesInvoices", {"$filter": condition})
        if not invoices:
            return None
        # The vendor deletes an order once all of it is invoiced; its number lives on in the invoices.
        return Receipt(external_id=invoices[0].orderNumber, number=invoices[0].orderNumber, found=True)

    def _cancel_sales_order(self, command: CancelSalesOrder) -> Receipt:
        for _ in range(ATTEMPTS):
            order = self._order(command.external_id)
            if order is None:
                self._refuse_if_shipped(mapping.external_reference(command.order_id))
                return Receipt(external_id=command.external_id)
            shipped = [line for line in order.salesOrderLines if line.shippedQuantity]
            if shipped:
                raise Rejected("ALREADY_SHIPPED", f"{len(shipped)} line(s) of sales order {order.number} have left", remedy="arrange a return with the customer")
            try:
                self._delete(f"salesOrders({order.id})", order.etag, f"sales order {order.number}")
            except _Changed:
                continue
            return Receipt(external_id=order.id, number=order.number)
        raise _too_busy(command.external_id)

    def _find_cancelled_order(self, command: CancelSalesOrder) -> Receipt | None:
        if self._order(command.external_id) is not None:
            return None
        self._refuse_if_shipped(mapping.external_reference(command.order_id))
        return Receipt(external_id=command.external_id, found=True)

    def _refuse_if_shipped(self, reference: str) -> None:
        """An order that is not there was either deleted, or shipped and invoiced completely."""
        options = {"$filter": f"externalDocumentNumber eq {wire.text_literal(reference)}", "$expand": "salesShipmentLines"}
        shipments = self._all(wire.SalesShipment, "salesShipments", options)
        if shipments:
            raise Rejected("ALREADY_SHIPPED", f"the goods of {reference} have left with {shipments[0].number}", remedy="arrange a return with the customer")

    def _move_lines(self, command: MoveSalesOrderLines) -> Receipt:
        """Changes the location of the lines that do not stand there yet. ``Rejected`` once one of them has left."""
        location_id = self._location_ids({command.location_code})[command.location_code]
        for _ in range(ATTEMPTS):
            order, lines = self._lines_to_move(command)
            if shipped := [line for line in lines if line.shippedQuantity]:
                raise Rejected("ALREADY_SHIPPED", f"{len(shipped)} line(s) of sales order {order.number} have left", remedy="agree with the warehouse which of the two ships")
            try:
                for line in (line for line in lines if line.locationId != location_id):
                    body = wire.body_of(wire.LineLocation(locationId=location_id))
                    self._change_line(order, line, body, f"the location of a line of sales order {order.number}")
            except _Changed:
                continue
            return Receipt(external_id=mapping.part_name(order.number, command.location_code), number=order.number)
        raise _too_busy(command.sales_order_id)

    def _find_moved_lines(self, command: MoveSalesOrderLines) -> Receipt | None:
        location_id = self._location_ids({command.location_code})[command.location_code]
        order, lines = self._lines_to_move(command)
        there = all(line.locationId == location_id for line in lines)
        return Receipt(external_id=mapping.part_name(order.number, command.location_code), number=order.number, found=True) if there else None

    def _lines_to_move(self, command: MoveSalesOrderLines) -> tuple[wire.SalesOrder, list[wire.SalesOrderLine]]:
        order = self._order(command.sales_order_id)
        wanted = {line.erp_line_id for line in command.lines}
        lines = [line for line in order.salesOrderLines if str(line.sequence) in wanted] if order is not None else []
        if order is None or len(lines) != len(wanted):
            named = ", ".join(sorted(wanted))
            raise Rejected("NOT_FOUND", f"sales order {command.sales_order_id} has not all of the lines {named}", remedy="restore them in Business Central, then retry")
        return order, lines

    # ------------------------------------------------------------------ parts worked in the ERP
    def _release(self, command: ReleaseFulfillment) -> Receipt:
        """The order's lines at the location are the work instruction, and they stand since the order was posted: nothing is written."""
        order = self._order(command.sales_order_id or "")
        if order is None:
            raise Rejected(
                "NOT_FOUND",
                f"sales order {command.sales_order_id} of part {command.part.part_id} is not there",
                remedy="look for it in Business Central; cancel the part if it was deleted",
            )
        location_id = self._location_ids({command.location_code})[command.location_code]
        numbers = {command.skus.get(line.sku, line.sku) for line in command.part.lines}
        mapping.released_lines(order, location_id=location_id, item_numbers=numbers)
        return Receipt(external_id=mapping.part_name(order.number, command.location_code), number=order.number, acknowledged=True)

    def _cancel_part(self, command: CancelFulfillment) -> Receipt:
        """Deletes the part's lines, so that nobody picks them any more. ``Rejected`` once one of them has left."""
        for _ in range(ATTEMPTS):
            order, lines = self._part_lines(command)
            if any(line.shippedQuantity for line in lines):
                raise Rejected("ALREADY_SHIPPED", f"part {command.external_id} has left, at least partly", remedy="arrange a return with the customer")
            try:
                for line in lines:
                    self._delete(f"salesOrders({order.id if order else ''})/salesOrderLines({line.id})", line.etag, f"a line of part {command.external_id}")
            except _Changed:
                continue
            return Receipt(external_id=command.external_id)
        raise _too_busy(command.external_id)

    def _find_cancelled_part(self, command: CancelFulfillment) -> Receipt | None:
        _, lines = self._part_lines(command)
        return None if lines else Receipt(external_id=command.external_id, found=True)

    def _part_lines(self, command: CancelFulfillment) -> tuple[wire.SalesOrder | None, list[wire.SalesOrderLine]]:
        number, code = mapping.part_of_name(command.external_id)
        location_id = self._location_ids({code})[code]
        options = {"$filter": f"number eq {wire.text_literal(number)}", "$expand": "salesOrderLines"}
        orders = self._all(wire.SalesOrder, "salesOrders", options)
        if not orders:
            self._refuse_if_shipped(mapping.external_reference(command.order_id))
            return None, []
        return orders[0], mapping.released_lines(orders[0], location_id=location_id, item_numbers=())

    # ------------------------------------------------------------------ invoices
    def _post_invoice(self, command: PostInvoice) -> Receipt:
        """Ships (unless the vendor's own people did) and invoices one shipment's quantities: plan every line, check, post.

        The vendor proposes to ship and invoice all that is left on every line again after each posting, so the plan is
        read back before it is posted, and a change in between means planning anew.
        """
        wanted = mapping.wanted_by_sequence(command.lines)
        for _ in range(ATTEMPTS):
            order = self._order(command.sales_order_id)
            if order is None or mapping.is_invoiced(order, wanted):
                return self._invoice_or_refuse(command, wanted, found=True)
            plans = mapping.plan_posting(order, command)
            try:
                if not all(plan.stands for plan in plans):
                    self._set_quantities(order, plans)
                    continue  # read back what stands now before it is posted
                self._ship_and_invoice(order)
            except _Changed:
                continue
            return _after_write(lambda: self._invoice_or_refuse(command, wanted, found=False), f"the invoice of {command.shipment_id}")
        raise _too_busy(command.sales_order_number or command.sales_order_id)

    def _set_quantities(self, order: wire.SalesOrder, plans: Iterable[mapping.LinePlan]) -> None:
        for plan in plans:
            if not plan.stands:
                body = wire.body_of(wire.LineQuantities(shipQuantity=plan.ship, invoiceQuantity=plan.invoice))
                self._change_line(order, plan.line, body, f"the quantities of sales order {order.number}")

    def _change_line(self, order: wire.SalesOrder, line: wire.SalesOrderLine, body: bytes, what: str) -> None:
        answer = self._send("PATCH", f"salesOrders({order.id})/salesOrderLines({line.id})", body=body, etag=line.etag)
        if answer.status in _CHANGED:
            raise _Changed
        if answer.status not in (200, 204):
            raise _refused(answer, what)

    def _ship_and_invoice(self, order: wire.SalesOrder) -> None:
        answer = self._send("POST", f"salesOrders({order.id})/Microsoft.NAV.shipAndInvoice", etag=order.etag)
        if answer.status in (*_CHANGED, 404):  # 404: somebody posted the rest, and the order is gone with it
            raise _Changed
        if answer.status not in (200, 204):
            raise _refused(answer, f"the posting of sales order {order.number}")

    def _find_invoice(self, command: PostInvoice) -> Receipt | None:
        wanted = mapping.wanted_by_sequence(command.lines)
        return mapping.invoice_from_wire(self._invoices(command.sales_order_number), wanted, found=True)

    def _invoice_or_refuse(self, command: PostInvoice, wanted: Mapping[int, Decimal], *, found: bool) -> Receipt:
        receipt = mapping.invoice_from_wire(self._invoices(command.sales_order_number), wanted, found=found)
        if receipt is None:
            detail = f"there is no invoice of {command.shipment_id} for sales order {command.sales_order_number}"
            raise Rejected("NOT_FOUND", detail, remedy="invoice the shipment in Business Central, then resolve this")
        return receipt

    def _invoices(self, order_number: str) -> list[wire.SalesInvoice]:
        options = {"$filter": f"orderNumber eq {wire.text_literal(order_number)}", "$expand": "salesInvoiceLines"}
        return self._all(wire.SalesInvoice, "salesInvoices", options)

    # ------------------------------------------------------------------ credit memos
    def _post_credit_memo(self, command: PostCreditMemo) -> Receipt:
        """A draft under our reference, then posted: whoever comes again goes on where the first one stopped."""
        memo, made = self._credit_memo(command.return_id), False
        if memo is None:
            codes = self._location_ids({line.location_code for line in command.lines if line.restocked})
            account = self._settings.get("returns_account", RETURNS_ACCOUNT)
            body = wire.body_of(mapping.credit_memo_to_wire(command, location_ids=codes, returns_account=account))
            answer = self._send("POST", "salesCreditMemos", body=body)
            if answer.status != 201:
                raise _refused(answer, "the credit memo")
            memo, made = _after_write(lambda: _read(wire.CreditMemo, answer), "the credit memo"), True
        if memo.status == DRAFT:
            answer = self._send("POST", f"salesCreditMemos({memo.id})/Microsoft.NAV.post")
            if answer.status not in (200, 204):
                raise _refused(answer, f"the posting of credit memo {memo.number}")
            posted = _after_write(lambda: self._credit_memo(command.return_id), "the posting of the credit memo")
            if posted is None or posted.status == DRAFT:
                raise UnknownOutcome("UNKNOWN_OUTCOME", f"Business Central has taken the posting of credit memo {memo.number} and does not show it", after_seconds=2)
            return mapping.credit_memo_from_wire(posted, found=not made)
        return mapping.credit_memo_from_wire(memo, found=True)

    def _find_credit_memo(self, command: PostCreditMemo) -> Receipt | None:
        memo = self._credit_memo(command.return_id)
        return None if memo is None or memo.status == DRAFT else mapping.credit_memo_from_wire(memo, found=True)

    def _credit_memo(self, return_id: str) -> wire.CreditMemo | None:
        reference = mapping.external_reference(return_id)
        found = self._all(wire.CreditMemo, "salesCreditMemos", {"$filter": f"externalDocumentNumber eq {wire.text_literal(reference)}"})
        if len(found) > 1:
            numbers = ", ".join(memo.number for memo in found)
            raise ContractDrift(
                "UNEXPECTED_ANSWER", f"several credit memos carry our reference {reference}: {numbers}", remedy="delete all but one in Business Central, then retry"
            )
        return found[0] if found else None

    # ------------------------------------------------------------------ reading
    def _order(self, key: str) -> wire.SalesOrder | None:
        answer = self._send("GET", f"salesOrders({quote(key, safe='')})?$expand=salesOrderLines")
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise _refused(answer, f"sales order {key}")
        return _read(wire.SalesOrder, answer)

    def _all(self, model: type[_Wire], path: str, options: Mapping[str, str]) -> list[_Wire]:
        return [_shape(model, raw) for raw in self._records(path, options)]

    def _records(self, path: str, options: Mapping[str, str], *, pages: int | None = None) -> Iterator[dict[str, object]]:
        """Every record of a collection, page by page; with ``pages`` at most so many, the rest the next time."""
        target = _target(path, options)
        for _ in range(pages or MOST_PAGES):
            answer = self._send("GET", target)
            if answer.status != 200:
                raise _refused(answer, path)
            page = _read(wire.Page, answer)
            yield from page.value
            if page.next_link is None:
                return
            target = page.next_link
        if pages is None:  # a part taken for the whole would be believed
            raise ContractDrift("UNEXPECTED_ANSWER", f"{path} goes on after {MOST_PAGES} pages", remedy="look whether paging still works as documented")

    def _line_locations(self, order_numbers: Iterable[str]) -> dict[str, dict[int, str]]:
        """Order number -> line sequence -> location code, from the orders or, when they are gone, from their invoices."""
        found: dict[str, dict[int, str]] = {}
        codes: dict[str, str] = {}
        for numbers in _portions(sorted(order_numbers)):
            codes = codes or self._location_codes()
            options = {"$filter": _one_of("number", numbers), "$expand": "salesOrderLines"}
            for order in self._all(wire.SalesOrder, "salesOrders", options):
                lines = {line.sequence: codes.get(line.locationId, "") for line in order.salesOrderLines}
                found[order.number] = {sequence: code for sequence, code in lines.items() if code}
            gone = [number for number in numbers if number not in found]
            if gone:
                options = {"$filter": _one_of("orderNumber", gone), "$expand": "salesInvoiceLines"}
                for invoice in self._all(wire.SalesInvoice, "salesInvoices", options):
                    lines = {line.sequence: codes.get(line.locationId, "") for line in invoice.salesInvoiceLines}
                    found.setdefault(invoice.orderNumber, {}).update({sequence: code for sequence, code in lines.items() if code})
        return found

    def _worked_locations(self) -> frozenset[str]:
        return frozenset(code.strip() for code in self._settings.get("worked_locations", "").split(",") if code.strip())

    def _location_ids(self, codes: Iterable[str]) -> dict[str, str]:
        """Location code -> the vendor's id. ``Rejected`` for a code the company does not have."""
        known = {code: key for key, code in self._location_codes().items()}
        missing = sorted(set(codes) - set(known))
        if missing:
            known = {code: key for key, code in self._location_codes(fresh=True).items()}
            missing = sorted(set(codes) - set(known))
        if missing:
            raise Rejected(
                "NOT_FOUND",
                f"Business Central has no location {', '.join(missing)}",
                remedy="correct the location's code in the tenant file",
                fields=[FieldProblem("location_code", "unknown")],
            )
        return known

    def _location_codes(self, *, fresh: bool = False) -> dict[str, str]:
        """The vendor's location id -> code; kept as long as the container lives."""
        kept = self._context.cache.get("location_codes")
        if not isinstance(kept, dict) or fresh:
            kept = {location.id: location.code for location in self._all(wire.Location, "locations", {"$select": "id,code"})}
            self._context.cache["location_codes"] = kept
        return kept

    # ------------------------------------------------------------------ sending
    def _delete(self, path: str, etag: str, what: str) -> None:
        answer = self._send("DELETE", path, etag=etag)
        if answer.status in _CHANGED:
            raise _Changed
        if answer.status not in (204, 404):
            raise _refused(answer, what)

    def _send(self, method: str, target: str, *, body: bytes | None = None, etag: str | None = None, page_size: int | None = None) -> HttpAnswer:
        """One call below the company, or of a next link; signed in anew once when the token is not taken."""
        url = target if "://" in target else f"{self._company_url()}/{target}"
        headers = {"accept": "application/json"}
        if body is not None:
            headers["content-type"] = "application/json"
        if etag is not None:
            headers["if-match"] = etag
        if page_size is not None:
            headers["prefer"] = f"odata.maxpagesize={page_size}"
        writes = method != "GET"
        answer = self._context.http.send(method, url, headers={**headers, "authorization": f"Bearer {self._token()}"}, body=body, writes=writes)
        if answer.status == 401:
            self._context.cache.pop("token", None)
            answer = self._context.http.send(method, url, headers={**headers, "authorization": f"Bearer {self._token()}"}, body=body, writes=writes)
        if answer.status in (401, 403):
            raise NeedsPerson(
                "NOT_AUTHORISED",
                f"Business Central answered {answer.status} to {method} {target.partition('?')[0]}",
                remedy="check the application's permissions in Business Central and the connection's secret",
            )
        return answer

    def _company_url(self) -> str:
        credentials = self._context.credentials()
        tenant, environment, company = (quote(credentials[name], safe="") for name in ("aad_tenant", "environment", "company_id"))
        return f"{self._context.base_url.rstrip('/')}/v2.0/{tenant}/{environment}/api/v2.0/companies({company})"

    def _token(self) -> str:
        """A bearer token by client credentials, kept until shortly before it runs out.

        https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
        """
        now = self._context.clock.now()
        kept = self._context.cache.get("token")
        if isinstance(kept, tuple) and now < kept[1]:
            return str(kept[0])
        credentials = self._context.credentials()
        form = {"grant_type": "client_credentials", "client_id": credentials["client_id"], "client_secret": credentials["client_secret"], "scope": SCOPE}
        url = f"{self._settings.get('login_url', LOGIN_URL).rstrip('/')}/{quote(credentials['aad_tenant'], safe='')}/oauth2/v2.0/token"
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        answer = self._context.http.send("POST", url, headers=headers, body=urlencode(form).encode(), writes=False)
        if answer.status != 200:
            raise NeedsPerson(
                "NOT_AUTHORISED",
                f"the directory gave no token (status {answer.status})",
                remedy="check aad_tenant, client_id and client_secret of the connection; the secret may have expired",
            )
        token = _read(wire.Token, answer)
        margin = min(TOKEN_MARGIN, timedelta(seconds=token.expires_in) / 2)
        self._context.cache["token"] = (token.access_token, now + timedelta(seconds=token.expires_in) - margin)
        return token.access_token

    def _handler(self, intent: Intent) -> tuple[Callable[..., Receipt], Callable[..., Receipt | None]]:
        handler = self._handlers.get(type(intent))
        if handler is None:
            raise Rejected("VENDOR_REFUSED", f"Business Central does not execute {intent.type}", remedy="address another connection")
        return handler

    # ------------------------------------------------------------------ the poll's cursor
    def _read_cursor(self, cursor: str | None) -> tuple[datetime, dict[str, str]]:
        """From when to ask, and which shipments of the overlap were handed on already."""
        if cursor is None:
            return self._context.clock.now() - POLL_START, {}
        kept = json.loads(cursor)
        return datetime.fromisoformat(kept["newest"]) - POLL_OVERLAP, dict(kept["seen"])


def _target(path: str, options: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(options, quote_via=quote, safe='$,()')}"


def _unsupported(what: str) -> NeedsPerson:
    return NeedsPerson("COMMAND_NOT_SUPPORTED", f"Business Central cannot be asked for {what}", remedy="correct the connection in the tenant file")


def _write_cursor(found: Sequence[wire.SalesShipment], since: datetime, seen: Mapping[str, str]) -> str:
    """The newest moment found, and all shipments that the next poll's overlap will find again."""
    newest = max((shipment.lastModifiedDateTime for shipment in found), default=since + POLL_OVERLAP)
    moments = {**seen, **{shipment.number: shipment.lastModifiedDateTime.isoformat() for shipment in found}}
    again = {number: moment for number, moment in moments.items() if datetime.fromisoformat(moment) >= newest - POLL_OVERLAP}
    return json.dumps({"newest": newest.isoformat(), "seen": again}, sort_keys=True)


# ------------------------------------------------------------------ answers
def _read(model: type[_Wire], answer: HttpAnswer) -> _Wire:
    try:
        return model.model_validate(strict_json.loads(answer.body))
    except ValidationError as error:
        raise _not_understood(model, error) from error
    except Rejected as error:
        raise ContractDrift("UNEXPECTED_ANSWER", f"Business Central's answer is no JSON: {error.detail}", remedy="look at the recorded answer") from error


def _shape(model: type[_Wire], raw: object) -> _Wire:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise _not_understood(model, error) from error


def _not_understood(model: type[wire.Inbound], error: ValidationError) -> ContractDrift:
    return ContractDrift(
        "UNEXPECTED_ANSWER",
        f"Business Central's {model.__name__} is not as its contract says",
        remedy="compare the named fields with the vendor's metadata",
        fields=_problems(error),
    )


def _problems(error: ValidationError) -> list[FieldProblem]:
    return [FieldProblem(".".join(str(part) for part in problem["loc"]), problem["msg"]) for problem in error.errors()]


def _after_write(made: Callable[[], _Made], what: str) -> _Made:
    """The write was taken; whatever goes wrong in reading about it must not look as if nothing had happened."""
    try:
        return made()
    except CrossdockError as error:
        raise UnknownOutcome("UNKNOWN_OUTCOME", f"Business Central took {what}, but its answer could not be read: {error.detail}") from error


def _refused(answer: HttpAnswer, what: str) -> CrossdockError:
    """The vendor's refusal in its own words."""
    try:
        error = wire.ErrorBody.model_validate(strict_json.loads(answer.body)).error
    except (ValidationError, Rejected):
        return ContractDrift("UNEXPECTED_ANSWER", f"Business Central answered {answer.status} about {what} without an error body", remedy="look at the recorded answer")
    code = "NOT_FOUND" if answer.status == 404 else "VENDOR_REFUSED"
    return Rejected(code, f"Business Central refused {what}: {error.message} ({error.code})", remedy="correct the cause in the order or in Business Central, then retry")


def _too_busy(name: str) -> ConcurrentChange:
    return ConcurrentChange("VENDOR_UNAVAILABLE", f"{name} is being changed by others all the time", after_seconds=2)


def _portions(numbers: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(numbers), NUMBERS_PER_FILTER):
        yield numbers[start : start + NUMBERS_PER_FILTER]


def _one_of(name: str, values: Iterable[str]) -> str:
    return " or ".join(f"{name} eq {wire.text_literal(value)}" for value in values)
