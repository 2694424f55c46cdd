"""What does /v1 offer, and what does each call answer? The governed service layer that every tenant has alike."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any, NoReturn, TypeVar

from crossdock import gateway
from crossdock.domain.catalog import CatalogRecord
from crossdock.domain.delivery import Delivery
from crossdock.domain.errors import CrossdockError, FieldProblem, NeedsPerson, Rejected, RetryLater
from crossdock.domain.events import OrderPlaced, PriceChanged, ReturnRequested, StockAdjusted, StockCounted
from crossdock.domain.order import Order
from crossdock.domain.order_record import TERMINAL, OrderStatus
from crossdock.domain.return_record import ReturnStatus
from crossdock.flows import customers, prices, receive, views
from crossdock.flows.services import Services
from crossdock.flows.translate import events_of

VERSION = "1.0.0"
DIRECT = "direct"
SUBMIT = "orders/submit"
STOCK_REPORT = "inventory/report"
PRICE_REPORT, ACCOUNT_REPORT = "prices/submit", "customers/submit"
RETURN_SUBMIT, RETURN_RECEIVE = "returns/submit", "returns/receive"
SEARCHED = 2000
"""Among so many of the newest orders a status is looked for."""
_IDEMPOTENCY_KEY = re.compile(r"^[\x21-\x7e]{1,200}$")

Answer = dict[str, Any]
Checked = TypeVar("Checked")


class Call:
    """One request, read once."""

    def __init__(self, event: Mapping[str, Any]) -> None:
        self.method = str(event.get("httpMethod", "GET")).upper()
        self.path = "/" + str((event.get("pathParameters") or {}).get("proxy") or "").strip("/")
        self.headers = gateway.headers_of(event)
        self.idempotency_key = self.headers.get("idempotency-key", "")
        self.query: dict[str, str] = {str(name): str(value) for name, value in (event.get("queryStringParameters") or {}).items()}
        self.body = gateway.body_of(event)
        self.correlation_id = gateway.correlation_of(event)

    @property
    def client(self) -> str:
        """Who calls, as far as the key tells: the gateway has checked it."""
        return hashlib.sha256(self.headers.get("x-api-key", "").encode()).hexdigest()[:12]

    def limit(self) -> int:
        text = self.query.get("limit", "50")
        if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= 500:
            self._refuse("limit", f"must be a number from 1 to 500, not {text[:20]!r}", "leave it out for 50")
        return int(text)

    def one_of(self, name: str, allowed: Collection[str]) -> str | None:
        """The query parameter, if it is given."""
        value = self.query.get(name)
        if value is not None and value not in allowed:
            self._refuse(name, f"must be one of {', '.join(allowed)}, not {value[:20]!r}", "leave it out for all")
        return value

    def _refuse(self, parameter: str, problem: str, remedy: str) -> NoReturn:
        raise Rejected("INVALID_PARAMETER", f"{parameter} {problem}", remedy=remedy, fields=[FieldProblem(parameter, problem)])

    def ok(self, document: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
        return gateway.answer(status, document, correlation_id=self.correlation_id, headers=headers)

    def missing(self, what: str) -> Answer:
        return gateway.problem(404, "Not found", f"There is no {what}.", correlation_id=self.correlation_id)


def _list_orders(call: Call, services: Services) -> Answer:
    limit = call.limit()
    status = call.one_of("status", [status.value for status in OrderStatus])
    # A filter needs more to choose from than it is to give.
    seen = limit if status is None else SEARCHED
    sides = [False, True] if status is None else [OrderStatus(status) in TERMINAL]
    records = [record for closed in sides for record in services.orders.listed(closed=closed, limit=seen) if status in (None, record.status.value)]
    records.sort(key=lambda record: record.accepted_at, reverse=True)
    return call.ok({"orders": [views.summary(record) for record in records[:limit]]})


def _get_order(call: Call, services: Services, order_id: str) -> Answer:
    record = services.orders.get(order_id)
    return call.ok(views.order(record)) if record else call.missing(f"order {order_id}")


def _get_timeline(call: Call, services: Services, order_id: str) -> Answer:
    if services.orders.get(order_id) is None:
        return call.missing(f"order {order_id}")
    return call.ok({"order_id": order_id, **views.timeline(services.audit.entries(order_id))})


def _not_to_be_taken(call: Call, services: Services) -> Answer | None:
    """What is wrong with a submission before its content is looked at."""
    if not _IDEMPOTENCY_KEY.fullmatch(call.idempotency_key):
        told = "Send an Idempotency-Key header of 1 to 200 printable characters, a new one for each thing you send."
        return gateway.problem(400, "Idempotency-Key needed", told, correlation_id=call.correlation_id, code="IDEMPOTENCY_KEY_MISSING")
    if DIRECT not in services.spec.connections:
        return gateway.problem(404, "Not offered", "This tenant takes nothing here.", correlation_id=call.correlation_id)
    if call.body and len(call.body) > services.spec.limits.webhook_bytes:
        return gateway.problem(413, "Too large", f"At most {services.spec.limits.webhook_bytes} bytes are taken.", correlation_id=call.correlation_id)
    return None


def _submit_order(call: Call, services: Services) -> Answer:
    if (refused := _not_to_be_taken(call, services)) is not None:
        return refused
    if not call.body:
        raise Rejected("INVALID_BODY", "the body is empty or its encoding cannot be read", remedy="send the order as JSON in UTF-8")
    delivery = Delivery(delivery_id="preview", connection=DIRECT, topic=SUBMIT, body=call.body, received_at=services.clock.now())
    order_id = _keep_refused(call, services, lambda: _checked(delivery, services))
    accepted = receive.submit(call.client, call.idempotency_key, connection=DIRECT, topic=SUBMIT, body=call.body, services=services)
    document = {"order_id": order_id, "delivery_id": accepted.delivery_id, "status": "accepted"}
    return call.ok(document, status=202, headers={"Location": f"/v1/orders/{order_id}"})


def _checked(delivery: Delivery, services: Services) -> str:
    """The order id when the order can be taken as it is; every name in it that is unknown here is told with its path."""
    fact = services.connectors.connector(DIRECT).translate(delivery).occurrences[0].fact
    if isinstance(fact, OrderPlaced):
        unknown = [(path, note) for path, look_up in _names(fact.order, services) if (note := _missing(look_up)) is not None]
        if unknown:
            problems = [FieldProblem(path, note) for path, note in unknown]
            raise NeedsPerson("MISSING_XREF", f"{len(problems)} name(s) are not known here", remedy="correct the fields named, or have them added", fields=problems)
    events_of(delivery, services)
    return fact.subject


def _names(order: Order, services: Services) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each name of ours in the order: its path, and the look-up that must succeed."""
    xref = services.xref
    yield "account", partial(xref.account, DIRECT, order.customer.external_ids)
    for index, line in enumerate(order.lines):
        yield f"lines.{index}.sku", partial(xref.our_sku, DIRECT, line.sku)
        yield f"lines.{index}.unit", partial(xref.our_unit, DIRECT, line.quantity.unit)


def _missing(look_up: Callable[[], object]) -> str | None:
    try:
        look_up()
    except NeedsPerson as error:
        if error.code != "MISSING_XREF":
            raise
        return "is not known here"
    return None


def _keep_refused(call: Call, services: Services, check: Callable[[], Checked]) -> Checked:
    """A body that is refused is kept as it came (requirement 4): who asks why later can be shown."""
    try:
        return check()
    except CrossdockError:
        body = call.body or b""
        services.archive.put(f"deliveries/refused/{hashlib.sha256(body).hexdigest()}", body, metadata={"client": call.client})
        raise


def _get_inventory(call: Call, services: Services, sku: str) -> Answer:
    levels = services.stock.everywhere(sku)
    if not levels and sku not in services.spec.articles:
        return call.missing(f"SKU {sku}")
    return call.ok(views.inventory(sku, levels, services))


def _report_stock(call: Call, services: Services) -> Answer:
    return _take_report(call, services, STOCK_REPORT, "reports", _checked_stock)


def _take_report(call: Call, services: Services, topic: str, name: str, check: Callable[[Delivery, str, Services], int]) -> Answer:
    """What the tenant's own clients are the system of record of. ``check`` answers how many of it there are."""
    if (refused := _not_to_be_taken(call, services)) is not None:
        return refused
    if not call.body:
        raise Rejected("INVALID_BODY", "the body is empty or its encoding cannot be read", remedy=f"send the {name} as JSON in UTF-8")
    delivery = Delivery(delivery_id="preview", connection=DIRECT, topic=topic, body=call.body, received_at=services.clock.now())
    taken = _keep_refused(call, services, lambda: check(delivery, call.client, services))
    accepted = receive.submit(call.client, call.idempotency_key, connection=DIRECT, topic=topic, body=call.body, services=services)
    return call.ok({"delivery_id": accepted.delivery_id, name: taken, "status": "accepted"}, status=202)


def _checked_stock(delivery: Delivery, client: str, services: Services) -> int:
    """How many reports; refused with the path of each name that is unknown, and of each location whose stock is another system's."""
    unknown, foreign = [], []
    facts = [occurrence.fact for occurrence in services.connectors.connector(DIRECT).translate(delivery).occurrences]
    for index, fact in enumerate(facts):
        about = fact.reading if isinstance(fact, StockCounted) else fact.adjustment if isinstance(fact, StockAdjusted) else None
        if about is None:
            continue
        for path, look_up in (("sku", partial(services.xref.our_sku, DIRECT, about.sku)), ("location", partial(services.xref.our_location, DIRECT, about.location))):
            if (note := _missing(look_up)) is not None:
                unknown.append(FieldProblem(f"reports.{index}.{path}", note))
        if not unknown:
            location = services.xref.our_location(DIRECT, about.location)
            owner = services.spec.locations[location].stock_from
            if owner != DIRECT:
                foreign.append(FieldProblem(f"reports.{index}.location", f"the stock of {location} is counted by {owner}"))
    if unknown:
        raise NeedsPerson("MISSING_XREF", f"{len(unknown)} name(s) are not known here", remedy="correct the fields named, or have them added", fields=unknown)
    _refuse_foreign(foreign, "inventory", "reports are about stock that another system counts", client, services)
    return len(facts)


def _report_prices(call: Call, services: Services) -> Answer:
    return _take_report(call, services, PRICE_REPORT, "prices", _checked_prices)


def _checked_prices(delivery: Delivery, client: str, services: Services) -> int:
    """How many prices; refused with the path of each name that is unknown, and of each price that another system owns."""
    unknown, owners = [], []
    for index, occurrence in enumerate(services.connectors.connector(DIRECT).translate(delivery).occurrences):
        fact = occurrence.fact
        assert isinstance(fact, PriceChanged)
        names = [("sku", partial(services.xref.our_sku, DIRECT, fact.price.sku)), ("unit", partial(services.xref.our_unit, DIRECT, fact.price.unit))]
        if fact.price.account is not None and DIRECT in services.spec.cross_references.customers and services.spec.owner("customers") != DIRECT:
            names.append(("account", partial(services.xref.account, DIRECT, (fact.price.account,))))
        unknown += [FieldProblem(f"prices.{index}.{path}", note) for path, look_up in names if (note := _missing(look_up)) is not None]
        owners.append(prices.owner_of(fact.price, services))
    if unknown:
        raise NeedsPerson("MISSING_XREF", f"{len(unknown)} name(s) are not known here", remedy="correct the fields named, or have them added", fields=unknown)
    _own(owners, "prices", client, services)
    return len(owners)


def _report_accounts(call: Call, services: Services) -> Answer:
    return _take_report(call, services, ACCOUNT_REPORT, "accounts", _checked_accounts)


def _checked_accounts(delivery: Delivery, client: str, services: Services) -> int:
    taken = len(services.connectors.connector(DIRECT).translate(delivery).occurrences)
    _own([services.spec.owner("customers")] * taken, "accounts", client, services)
    events_of(delivery, services)
    return taken


def _own(owners: list[str], name: str, client: str, services: Services) -> None:
    foreign = [FieldProblem(f"{name}.{index}", f"{owner} is the system of record") for index, owner in enumerate(owners) if owner != DIRECT]
    _refuse_foreign(foreign, name, f"of the {name} are another system's to say", client, services)


def _refuse_foreign(foreign: list[FieldProblem], subject: str, what: str, client: str, services: Services) -> None:
    """Refuses, on record, what another system owns."""
    if foreign:
        services.audit.append(
            subject,
            actor=client,
            action="WriteRefused",
            summary=f"{len(foreign)} {what}",
            details={"first": f"{foreign[0].path}: {foreign[0].problem}"},
            at=services.clock.now(),
        )
        raise Rejected("NOT_SYSTEM_OF_RECORD", f"{len(foreign)} {what}", remedy="leave them out", fields=foreign)


def _get_price(call: Call, services: Services, sku: str) -> Answer:
    record = services.catalog.get(sku) or CatalogRecord(sku=sku, updated_at=services.clock.now())
    if not record.prices and record.product is None and sku not in services.spec.articles:
        return call.missing(f"SKU {sku}")
    return call.ok({**views.prices(record, services), **views.timeline(services.audit.entries(prices.subject_of(sku)))})


def _list_returns(call: Call, services: Services) -> Answer:
    status = call.one_of("status", [status.value for status in ReturnStatus])
    limit = call.limit()
    records = [record for closed in (False, True) for record in services.returns.listed(closed=closed, limit=limit if status is None else SEARCHED)]
    records.sort(key=lambda record: record.accepted_at, reverse=True)
    return call.ok({"returns": [views.return_(record) for record in records if status in (None, record.status.value)][:limit]})


def _get_return(call: Call, services: Services, return_id: str) -> Answer:
    record = services.returns.get(return_id)
    return call.ok({**views.return_(record), **views.timeline(services.audit.entries(return_id))}) if record else call.missing(f"return {return_id}")


def _submit_return(call: Call, services: Services) -> Answer:
    if (refused := _not_to_be_taken(call, services)) is not None:
        return refused
    if not call.body:
        raise Rejected("INVALID_BODY", "the body is empty or its encoding cannot be read", remedy="send the return as JSON in UTF-8")
    delivery = Delivery(delivery_id="preview", connection=DIRECT, topic=RETURN_SUBMIT, body=call.body, received_at=services.clock.now())
    return_id = _keep_refused(call, services, lambda: _checked_return(delivery, services))
    accepted = receive.submit(call.client, call.idempotency_key, connection=DIRECT, topic=RETURN_SUBMIT, body=call.body, services=services)
    document = {"return_id": return_id, "delivery_id": accepted.delivery_id, "status": "accepted"}
    return call.ok(document, status=202, headers={"Location": f"/v1/returns/{return_id}"})


def _checked_return(delivery: Delivery, services: Services) -> str:
    """The return id when it can be taken as it is: its order and SKUs are known, and no more is asked for than was ordered and has left."""
    (occurrence,) = services.connectors.connector(DIRECT).translate(delivery).occurrences
    fact = occurrence.fact
    assert isinstance(fact, ReturnRequested)
    asked, problems = fact.return_, []
    named = [(f"lines.{index}", line.sku, line.quantity.unit) for index, line in enumerate(asked.lines)]
    named += [(f"exchange.{index}", line.sku, line.quantity.unit) for index, line in enumerate(asked.exchange)]
    for place, sku, unit in named:
        for path, look_up in (("sku", partial(services.xref.our_sku, DIRECT, sku)), ("unit", partial(services.xref.our_unit, DIRECT, unit))):
            if (note := _missing(look_up)) is not None:
                problems.append(FieldProblem(f"{place}.{path}", note))
    order = services.orders.get(asked.order_id)
    if order is None or order.order is None:
        problems.append(FieldProblem("order_id", "is not known here"))
    if problems:
        raise NeedsPerson("MISSING_XREF", f"{len(problems)} name(s) are not known here", remedy="correct the fields named, or have them added", fields=problems)
    events_of(delivery, services)
    return fact.subject


def _receive_return(call: Call, services: Services, return_id: str) -> Answer:
    if (refused := _not_to_be_taken(call, services)) is not None:
        return refused
    if services.returns.get(return_id) is None:
        return call.missing(f"return {return_id}")
    # The receipt as it was sent, with the return it was sent to.
    body = b'{"return_id":' + json.dumps(return_id).encode() + b',"receipt":' + (call.body or b"null") + b"}"
    delivery = Delivery(delivery_id="preview", connection=DIRECT, topic=RETURN_RECEIVE, body=body, received_at=services.clock.now())
    _keep_refused(call, services, lambda: events_of(delivery, services))
    accepted = receive.submit(call.client, call.idempotency_key, connection=DIRECT, topic=RETURN_RECEIVE, body=body, services=services)
    return call.ok({"return_id": return_id, "delivery_id": accepted.delivery_id, "status": "accepted"}, status=202)


def _get_shipment(call: Call, services: Services, shipment_id: str) -> Answer:
    found = views.find_shipment(shipment_id, services)
    return call.ok(found) if found else call.missing(f"shipment {shipment_id}")


def _get_customer(call: Call, services: Services, account: str) -> Answer:
    found = customers.shown(account, services)
    return call.ok(found) if found else call.missing(f"customer {account}")


def _list_exceptions(call: Call, services: Services) -> Answer:
    closed = call.one_of("status", ["open", "resolved"]) == "resolved"
    return call.ok({"exceptions": [views.exception(record) for record in services.exceptions.listed(closed=closed, limit=call.limit())]})


def _health(call: Call, services: Services) -> Answer:
    opened = services.exceptions.listed(limit=500)
    return call.ok({"status": "ok", "version": VERSION, "tenant": services.spec.tenant, "open_exceptions": len(opened), "time": services.clock.now().isoformat()})


def _openapi(call: Call, services: Services) -> Answer:
    from crossdock.openapi import document

    return call.ok(document(title=services.spec.branding.product_name))


_ID = r"([^/\x00-\x1f]{1,200})"
_SKU = r"([^\x00-\x1f]{1,200})"
"""A SKU may hold a slash (``M10/40``): the gateway hands the path on decoded."""
_ROUTES: list[tuple[str, re.Pattern[str], Callable[..., Answer]]] = [
    ("GET", re.compile(r"^/orders$"), _list_orders),
    ("POST", re.compile(r"^/orders$"), _submit_order),
    ("GET", re.compile(rf"^/orders/{_ID}$"), _get_order),
    ("GET", re.compile(rf"^/orders/{_ID}/timeline$"), _get_timeline),
    ("POST", re.compile(r"^/inventory$"), _report_stock),
    ("GET", re.compile(rf"^/inventory/{_SKU}$"), _get_inventory),
    ("GET", re.compile(rf"^/shipments/{_ID}$"), _get_shipment),
    ("GET", re.compile(r"^/returns$"), _list_returns),
    ("POST", re.compile(r"^/returns$"), _submit_return),
    ("GET", re.compile(rf"^/returns/{_ID}$"), _get_return),
    ("POST", re.compile(rf"^/returns/{_ID}/receipts$"), _receive_return),
    ("POST", re.compile(r"^/customers$"), _report_accounts),
    ("GET", re.compile(rf"^/customers/{_ID}$"), _get_customer),
    ("POST", re.compile(r"^/prices$"), _report_prices),
    ("GET", re.compile(rf"^/prices/{_SKU}$"), _get_price),
    ("GET", re.compile(r"^/exceptions$"), _list_exceptions),
    ("GET", re.compile(r"^/health$"), _health),
    ("GET", re.compile(r"^/openapi\.json$"), _openapi),
]

_STATUS = {"IDEMPOTENCY_KEY_REUSED": 409, "NOT_SYSTEM_OF_RECORD": 409, "NOT_FOUND": 404, "MISSING_XREF": 422}


def serve(event: Mapping[str, Any], services: Services) -> Answer:
    """Answers one call; every failure is a problem document with the correlation id, never a stack trace."""
    call = Call(event)
    allowed = []
    try:
        for method, pattern, act in _ROUTES:
            found = pattern.fullmatch(call.path)
            if found and method == call.method:
                return act(call, services, *found.groups())
            if found:
                allowed.append(method)
    except CrossdockError as error:
        fields = [{"path": note.path, "problem": note.problem} for note in error.fields]
        status = _STATUS.get(error.code, 503 if error.category == "retry_later" else 400)
        detail = f"{error.detail}. {error.remedy}".strip()
        headers = {"Retry-After": str(error.after_seconds or 5)} if isinstance(error, RetryLater) else None
        return gateway.problem(status, error.code.replace("_", " ").capitalize(), detail, correlation_id=call.correlation_id, code=error.code, fields=fields, headers=headers)
    if allowed:
        return gateway.problem(405, "Method not allowed", f"Use {' or '.join(allowed)}.", correlation_id=call.correlation_id, headers={"Allow": ", ".join(allowed)})
    return gateway.problem(404, "Not found", f"There is nothing at /v1{call.path}. See /v1/openapi.json.", correlation_id=call.correlation_id)


def routes() -> list[tuple[str, str]]:
    """(method, path pattern) of everything offered, for the contract's check."""
    return [(method, json.dumps(pattern.pattern)) for method, pattern, _ in _ROUTES]
