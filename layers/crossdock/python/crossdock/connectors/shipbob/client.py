"""How does a command reach ShipBob, and what does its answer mean?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit

from pydantic import BaseModel

from crossdock.connectors.shipbob import mapping, wire
from crossdock.domain import strict_json
from crossdock.domain.commands import CallOffReturn, CancelFulfillment, ExpectReturn, Intent, Receipt, ReleaseFulfillment
from crossdock.domain.connector import ConnectionContext, HttpAnswer, Known, LedgerDocument, PolledItem, PollResult, PriceQuestion, SnapshotPage, Translation, nothing_known
from crossdock.domain.customer import CreditStanding
from crossdock.domain.delivery import Delivery
from crossdock.domain.errors import ContractDrift, FieldProblem, NeedsPerson, Rejected
from crossdock.domain.model import rfc3339
from crossdock.domain.price import Price
from crossdock.domain.stock import StockReading

PAGE = 250
"""The most orders (and stock items) ShipBob gives in one answer."""
MAX_PAGES = 400

_Wire = TypeVar("_Wire", bound=BaseModel)


class ShipBobConnector:
    """One ShipBob account and sales channel. Credentials: ``access_token`` (PAT), ``channel_id``."""

    def __init__(self, context: ConnectionContext) -> None:
        self._context = context
        self.manifest = context.manifest

    # -- what ShipBob tells
    def translate(self, delivery: Delivery) -> Translation:
        ignored = self.manifest.ignored.get(delivery.topic)
        if ignored is not None:
            return Translation(ignored=ignored.reason)
        return Translation(mapping.occurrences_from_wire(delivery.topic, strict_json.loads(delivery.body), delivery.connection))

    def poll(self, resource: str, cursor: str | None, known: Known = nothing_known) -> PollResult:  # noqa: ARG002 - no webhook brings the same
        """Orders with a shipment that changed. There is no webhook for the acceptance of an order, and webhooks get lost."""
        if resource != "shipments":
            raise ValueError(f"ShipBob has no poll {resource!r}: the manifest names them")
        since, seen = mapping.poll_start(cursor, self._context.clock.now())
        orders: list[object] = []
        for page in range(1, MAX_PAGES + 1):
            query: dict[str, str | int] = {"LastUpdateStartDate": rfc3339(since - mapping.POLL_OVERLAP), "SortOrder": "Oldest", "Limit": PAGE, "Page": page}
            found = self._orders(query)
            if found and found == orders[-PAGE:]:
                raise ContractDrift("UNEXPECTED_ANSWER", f"ShipBob's order list repeats itself on page {page}", remedy="look whether paging still works as documented")
            orders += found
            if len(found) < PAGE:
                return mapping.polled_from_wire(orders, since, seen)
        raise ContractDrift("UNEXPECTED_ANSWER", f"ShipBob's order list goes on after {MAX_PAGES} pages", remedy="look whether paging still works as documented")

    # -- what ShipBob is told
    def execute(self, intent: Intent) -> Receipt:
        if isinstance(intent, ReleaseFulfillment):
            return self._release(intent)
        if isinstance(intent, CancelFulfillment):
            return self._cancel(intent)
        if isinstance(intent, ExpectReturn):
            return self._expect_return(intent)
        if isinstance(intent, CallOffReturn):
            return self._call_off_return(intent)
        raise ValueError(f"ShipBob cannot execute {intent.type}: the manifest names what it can")

    def look_up(self, intent: Intent) -> Receipt | None:
        if isinstance(intent, ReleaseFulfillment):
            order = self._by_reference(intent.part.part_id)
            return None if order is None else mapping.receipt_from_wire(order, found=True)
        if isinstance(intent, CancelFulfillment):
            order = self._read(wire.Order, self._call("GET", f"/order/{_id(intent.external_id)}", writes=False))
            return Receipt(external_id=str(order.id), number=intent.part_id, found=True) if order.status == "Cancelled" else None
        if isinstance(intent, ExpectReturn):
            return self._return_by_reference(intent.return_id)
        if isinstance(intent, CallOffReturn):
            state = self._read(wire.MadeReturn, self._call("GET", f"/return/{_id(intent.external_id)}", writes=False)).status
            return Receipt(external_id=intent.external_id, found=True) if state == "Cancelled" else None
        raise ValueError(f"ShipBob cannot execute {intent.type}: the manifest names what it can")

    def _release(self, intent: ReleaseFulfillment) -> Receipt:
        body = mapping.order_to_wire(intent).body()
        answer = self._call("POST", "/order", body=body, writes=True, accept=(201, 422))
        if answer.status == 201:
            return mapping.receipt_from_wire(self._read(wire.Order, answer), found=False)
        # ShipBob takes a reference once: a refusal may mean that it has this very order since an earlier, unanswered call.
        existing = self._by_reference(intent.part.part_id)
        if existing is None:
            raise _refused(answer, "POST /order")
        return mapping.receipt_from_wire(existing, found=True)

    def _cancel(self, intent: CancelFulfillment) -> Receipt:
        answer = self._call("POST", f"/order/{_id(intent.external_id)}:cancel", writes=True, accept=(200, 422))
        if answer.status == 200:
            return mapping.cancel_receipt_from_wire(self._read(wire.CancelResult, answer), intent)
        cancelled_before = self.look_up(intent)
        if cancelled_before is None:
            raise mapping.too_late(intent, _refused(answer, "cancel").detail)
        return cancelled_before

    def _expect_return(self, intent: ExpectReturn) -> Receipt:
        """https://developer.shipbob.com: POST /return. ShipBob takes a reference once: a refusal may mean that it has this very return."""
        body = mapping.return_to_wire(intent, self._inventory_ids({line.sku for line in intent.lines})).body()
        answer = self._call("POST", "/return", body=body, writes=True, accept=(201, 422))
        if answer.status == 201:
            made = self._read(wire.MadeReturn, answer)
            return Receipt(external_id=str(made.id), number=str(made.id))
        existing = self._return_by_reference(intent.return_id)
        if existing is None:
            raise _refused(answer, "POST /return")
        return existing

    def _call_off_return(self, intent: CallOffReturn) -> Receipt:
        answer = self._call("POST", f"/return/{_id(intent.external_id)}:cancel", writes=True, accept=(200, 400))
        if answer.status == 200:
            return Receipt(external_id=intent.external_id)
        cancelled_before = self.look_up(intent)
        if cancelled_before is None:
            raise Rejected("VENDOR_REFUSED", f"ShipBob does not cancel return {intent.external_id}: its goods have come", remedy="settle what came with the customer")
        return cancelled_before

    def _return_by_reference(self, return_id: str) -> Receipt | None:
        reference = mapping.return_reference(return_id)
        page = self._read(wire.ReturnPage, self._call("GET", f"/return?{urlencode({'ReferenceIds': reference, 'Limit': PAGE})}", writes=False))
        found = next((held for held in page.items if held.reference_id == reference), None)
        return None if found is None else Receipt(external_id=str(found.id), number=str(found.id), found=True)

    def _inventory_ids(self, wanted: set[str]) -> dict[str, int]:
        """ShipBob's inventory id of each of these SKUs that it stocks."""
        found: dict[str, int] = {}
        target = f"/inventory-level?PageSize={PAGE}"
        for _ in range(MAX_PAGES):
            page = self._read(wire.StockedIds, self._call("GET", target, writes=False))
            found |= {item.sku: item.inventory_id for item in page.items if item.sku in wanted and item.sku}
            if page.next is None or wanted <= set(found):
                return found
            target = self._following(target, page.next)
        raise ContractDrift("UNEXPECTED_ANSWER", f"ShipBob's stock list goes on after {MAX_PAGES} pages", remedy="look whether paging still works as documented")

    def _by_reference(self, reference: str) -> wire.Order | None:
        found = [_understood(wire.Order, value) for value in self._orders({"ReferenceIds": reference, "Limit": PAGE})]
        orders = [order for order in found if order.reference_id == reference]
        if len(orders) > 1:
            raise ContractDrift("UNEXPECTED_ANSWER", f"ShipBob has {len(orders)} orders with reference {reference}", remedy="cancel the superfluous one in ShipBob")
        return orders[0] if orders else None

    # -- what ShipBob is asked
    def sales_order(self, external_id: str) -> LedgerDocument | None:
        raise ValueError(f"ShipBob is no ERP (asked for sales order {external_id}): the manifest names its queries")

    def placed(self, external_id: str) -> PolledItem:
        raise ValueError(f"ShipBob is no storefront (asked for order {external_id}): the manifest names its queries")

    def returned(self, external_id: str) -> PolledItem:
        raise ValueError(f"ShipBob is no storefront (asked for return {external_id}): the manifest names its queries")

    def snapshot(self, resource: str, cursor: str | None) -> SnapshotPage:
        if resource != "stock":
            raise ValueError(f"ShipBob has no snapshot of {resource!r}: the manifest names its queries")
        target = cursor or f"/inventory-level/locations?PageSize={PAGE}"
        page = self._read(wire.StockPage, self._call("GET", target, writes=False))
        return SnapshotPage(readings=tuple(mapping.readings_from_wire(page, self._context.clock.now())), cursor=self._following(target, page.next) if page.next else None)

    def stock(self) -> list[StockReading]:
        readings: list[StockReading] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = self.snapshot("stock", cursor)
            readings += page.readings
            cursor = page.cursor
            if cursor is None:
                return readings
        raise ContractDrift("UNEXPECTED_ANSWER", f"ShipBob's stock list goes on after {MAX_PAGES} pages", remedy="look whether paging still works as documented")

    def credit(self, account: str) -> CreditStanding | None:
        raise ValueError(f"ShipBob knows no credit (asked for {account}): the manifest names its queries")

    def prices(self, account: str, questions: Sequence[PriceQuestion]) -> list[Price | None]:
        raise ValueError(f"ShipBob knows no prices (asked {len(questions)} for {account}): the manifest names its queries")

    # -- HTTP
    def _root(self) -> str:
        return f"{self._context.base_url}/{self.manifest.api_version}"

    def _following(self, target: str, link: str) -> str:
        """The next page. A link that leaves ShipBob would carry the token away with it."""
        here, there = urlsplit(self._root() + target), urlsplit(urljoin(self._root() + target, link))
        prefix = urlsplit(self._root()).path
        if (here.scheme, here.netloc) != (there.scheme, there.netloc) or not there.path.startswith(prefix + "/"):
            raise ContractDrift("UNEXPECTED_ANSWER", f"the next page is said to be at {link[:200]!r}", remedy="compare with the vendor's paging")
        return there.path.removeprefix(prefix) + (f"?{there.query}" if there.query else "")

    def _orders(self, query: Mapping[str, str | int]) -> list[object]:
        answer = self._call("GET", f"/order?{urlencode(query)}", writes=False)
        value = _json(answer)
        if not isinstance(value, list):
            raise ContractDrift("UNEXPECTED_ANSWER", "ShipBob's order list is no list", remedy="compare with the vendor's contract")
        return value

    def _call(self, method: str, target: str, *, writes: bool, body: bytes | None = None, accept: tuple[int, ...] = (200,)) -> HttpAnswer:
        secrets = self._context.credentials()
        missing = [name for name in self.manifest.credentials if not secrets.get(name)]
        if missing:
            raise NeedsPerson("NOT_AUTHORISED", f"connection {self._context.connection} has no {', '.join(missing)}", remedy="store the missing secret fields of the connection")
        headers = {"authorization": f"Bearer {secrets['access_token']}", "shipbob_channel_id": secrets["channel_id"], "accept": "application/json"}
        if body is not None:
            headers["content-type"] = "application/json"
        answer = self._context.http.send(method, self._root() + target, headers=headers, body=body, writes=writes)
        if answer.status in accept:
            return answer
        what = f"{method} {target.partition('?')[0]}"
        if answer.status in (401, 403):
            raise NeedsPerson("NOT_AUTHORISED", f"ShipBob answered {answer.status} to {what}", remedy="check access_token, its scopes and channel_id of the connection")
        if answer.status == 404:
            raise Rejected("NOT_FOUND", f"ShipBob does not know {what}", remedy="look the order up in ShipBob")
        if 400 <= answer.status < 500:
            raise _refused(answer, what)
        raise ContractDrift("UNEXPECTED_ANSWER", f"ShipBob answered {answer.status} to {what}", remedy="compare with the vendor's contract")

    def _read(self, kind: type[_Wire], answer: HttpAnswer) -> _Wire:
        return _understood(kind, _json(answer))


def _id(external_id: str) -> str:
    return quote(external_id, safe="")


def _json(answer: HttpAnswer) -> object:
    try:
        return strict_json.loads(answer.body)
    except Rejected as error:
        raise ContractDrift("UNEXPECTED_ANSWER", f"ShipBob's answer is not JSON: {error.detail}", remedy=error.remedy) from error


def _understood(kind: type[_Wire], value: object) -> _Wire:
    try:
        return wire.read(kind, value)
    except Rejected as error:
        raise ContractDrift("UNEXPECTED_ANSWER", error.detail, remedy=error.remedy, fields=error.fields) from error


def _refused(answer: HttpAnswer, what: str) -> Rejected:
    """ShipBob's own words: an object of field to messages."""
    fields: list[FieldProblem] = []
    try:
        value = strict_json.loads(answer.body)
    except Rejected:
        value = answer.body[:300].decode(errors="replace")
    if isinstance(value, dict):
        for name, messages in value.items():
            fields += [FieldProblem(str(name), str(message)) for message in (messages if isinstance(messages, list) else [messages])]
    words = "; ".join(f"{field.path}: {field.problem}" for field in fields) or str(value)
    return Rejected("VENDOR_REFUSED", f"ShipBob refused {what} with {answer.status}: {words}"[:900], remedy="correct what the vendor names, then retry", fields=fields)
