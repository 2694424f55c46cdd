"""Do the systems still hold what they confirmed, and do they show what is true? Each difference becomes one exception whose retry repairs it.

What is under way is no difference: an effect counts when it has been confirmed for ``TOLERANCE``, a published figure when it is the one the channel was told last,
an order of a storefront when it has not changed there for as long.
What a system holds is read page by page, and each thing on a page is looked up here by its key: the cost grows with what is compared, and nothing is held in
memory but a page and the differences that stand open. A message compares a few pages and says in the next one where it stopped, so a pass that ends in the middle
goes on there, and pages that are compared twice find the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from crossdock.domain.commands import CreateSalesOrder, Intent
from crossdock.domain.connector import ChangedOrder, LedgerDocument, PolledItem, PriceQuestion
from crossdock.domain.delivery import Delivery, inbound_message
from crossdock.domain.effect import EffectState
from crossdock.domain.errors import Cause, ContractDrift, NeedsPerson, Rejected, RetryLater
from crossdock.domain.events import OrderCancelled, OrderPlaced, OrderUpdated
from crossdock.domain.exception_record import ExceptionRecord, exception_id
from crossdock.domain.messages import OutboundMessage
from crossdock.domain.model import plain, rfc3339
from crossdock.domain.money import Money
from crossdock.domain.order import Order
from crossdock.domain.order_record import TERMINAL, OrderRecord, OrderStatus
from crossdock.domain.policy import within
from crossdock.domain.shipment import PartStatus
from crossdock.domain.stage import QueueName
from crossdock.domain.stock import StockLevel, StockReading
from crossdock.flows import circuit, progress, raise_exception, stock
from crossdock.flows import customers as known_customers
from crossdock.flows import prices as known_prices
from crossdock.flows.commands_of import intent_of, line_key
from crossdock.flows.receive import safe_id
from crossdock.flows.services import Services
from crossdock.flows.translate import events_of

RECONCILE = "Reconcile"
PULL_ORDER = "PullOrder"
TAKE_COUNT = "TakeCount"
TOLERANCE = timedelta(minutes=10)
"""What was confirmed a moment ago may not be seen everywhere yet."""
WINDOW = timedelta(days=7)
AT_ONCE = 40
"""Orders of one message, so that a page ends within the function's time."""
PAGES_AT_ONCE = 5
PAGES_FOR = timedelta(seconds=10)
"""A message begins no further page after so many, or so long."""
MOST_PAGES = 20_000
"""A million things, and again: a list that goes on after that has no end."""
MOST_ORDERS = 5000
MOST_OPEN = 10_000


@dataclass(frozen=True)
class Missing:
    """How it is told that an effect is not to be found any more."""

    code: str
    what: str
    cause: str


_MISSING = {
    "CreateSalesOrder": Missing("MISSING_IN_ERP", "the sales order", "deleted there, or made in another company or environment"),
    "ReleaseFulfillment": Missing("MISSING_AT_WAREHOUSE", "the release", "deleted or never taken on there"),
    "ConfirmShipment": Missing("MISSING_IN_STOREFRONT", "the shipment's confirmation", "the fulfillment was cancelled in the shop"),
    "PostInvoice": Missing("INVOICE_MISSING", "the posted invoice", "corrected or cancelled there"),
    "CancelSalesOrder": Missing("STATUS_DRIFT", "the cancellation of the sales order", "entered anew there, or its deletion undone"),
    "CancelFulfillment": Missing("STATUS_DRIFT", "the cancellation of the release", "taken up again there"),
    "CancelOrder": Missing("STATUS_DRIFT", "the cancellation", "opened again there"),
}


@dataclass(frozen=True)
class Amount:
    """An amount of an order that two systems may say differently."""

    code: str
    name: str
    cause: str


_AMOUNTS = (
    Amount("TAX_DRIFT", "tax", "rounded or computed otherwise there"),
    Amount("FREIGHT_DRIFT", "freight", "the charge was edited there"),
    Amount("TOTAL_DRIFT", "total", "a price or discount was edited there"),
)
CONTENT = ("LINES_DRIFT", *(amount.code for amount in _AMOUNTS))
"""What two systems may say differently of one order: the first that differs explains those behind it, so it is the one difference."""
CODES = frozenset({*(missing.code for missing in _MISSING.values()), *CONTENT, "ORDER_NOT_TAKEN_IN", "CUSTOMER_DRIFT", "STOCK_COUNT_DRIFT", "STOCK_SHOWN_DRIFT", "PRICE_DRIFT"})


@dataclass(frozen=True)
class Difference:
    """One thing on which two systems disagree. ``owner``: whose word holds (system of record)."""

    code: str
    subject: str
    owner: str
    connection: str
    detail: str
    cause: str
    order_id: str | None
    repair: OutboundMessage | None
    """Sent again it makes them agree, whatever the state is by then. None: only a person can say which is right."""
    seen: str = ""
    """What the other system holds, for a repair that takes it over."""


@dataclass
class Report:
    """What a pass compared and found, by kind."""

    compared: Counter[str] = field(default_factory=Counter)
    in_flight: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)
    agreed: set[tuple[str, str]] = field(default_factory=set)
    """(code, subject) of everything that was looked at and found in agreement."""

    def note(self, kind: str, code: str | tuple[str, ...], subject: str, difference: Difference | None) -> None:
        """``code``: every class that could have been found by this comparison and was not."""
        self.compared[kind] += 1
        for each in (code,) if isinstance(code, str) else code:
            if difference is None or difference.code != each:
                self.agreed.add((each, subject))
        if difference is not None:
            self.differences.append(difference)

    def add(self, other: Report) -> None:
        self.compared.update(other.compared)
        self.in_flight.update(other.in_flight)
        self.differences += other.differences


Compare = Callable[[str, str | None, Services, Report], str | None]
"""Compares one page of one side, of which the cursor is None for the first; the next page's cursor, None when there is none."""


# ------------------------------------------------------------------ orders


def window(services: Services, *, since: datetime) -> list[str]:
    """Every open order, and those that ended since then."""
    records = [*services.orders.listed(closed=False, limit=MOST_ORDERS), *services.orders.listed(closed=True, limit=MOST_ORDERS)]
    return [record.order_id for record in records if record.order is not None and record.updated_at >= since]


def order(order_id: str, services: Services, report: Report) -> None:
    """Whether every effect that the order rests on is still to be found where it was made, and the ERP's total is still what it was."""
    record = services.orders.get(order_id)
    if record is None or record.order is None:
        return
    for message in _effects_of(record, services.spec.erp):
        _effect(message, record, services, report)
    _document(record, services, report)


def _effects_of(record: OrderRecord, erp: str) -> Iterator[OutboundMessage]:
    """The commands whose effects must be there now, as they are sent again to repair them."""
    repair = {"repair": "1"}
    if record.status is OrderStatus.CANCELLED:
        yield from _cancellations_of(record, erp, repair)
    if record.status in (OrderStatus.CANCELLING, OrderStatus.CANCELLED):
        return
    if record.sales_order is not None and not record.sales_order.cancelled:
        yield OutboundMessage(command="CreateSalesOrder", connection=erp, order_id=record.order_id, arguments=repair)
    for part in record.parts:
        if part.open and part.moves_to is None and part.released_at is not None and part.plan.connection != record.source and not part.shipped:
            yield OutboundMessage(command="ReleaseFulfillment", connection=part.plan.connection, order_id=record.order_id, part_id=part.plan.part_id, arguments=repair)
    for booked in record.shipments:
        shipment_id = booked.shipment.shipment_id
        if booked.confirmed:
            yield OutboundMessage(command="ConfirmShipment", connection=record.source, order_id=record.order_id, shipment_id=shipment_id, arguments=repair)
        if booked.invoice_number is not None:
            yield OutboundMessage(command="PostInvoice", connection=erp, order_id=record.order_id, shipment_id=shipment_id, arguments=repair)


def _cancellations_of(record: OrderRecord, erp: str, repair: dict[str, str]) -> Iterator[OutboundMessage]:
    if record.sales_order is not None and record.sales_order.cancelled:
        yield OutboundMessage(command="CancelSalesOrder", connection=erp, order_id=record.order_id, arguments=repair)
    for part in record.parts:
        if part.status is PartStatus.CANCELLED and part.external_id is not None:
            yield OutboundMessage(command="CancelFulfillment", connection=part.plan.connection, order_id=record.order_id, part_id=part.plan.part_id, arguments=repair)
    yield OutboundMessage(command="CancelOrder", connection=record.source, order_id=record.order_id, arguments=repair)


def _effect(message: OutboundMessage, record: OrderRecord, services: Services, report: Report) -> None:
    if not progress.can(message.connection, message.command, services):
        return  # nothing of it is kept there
    missing = _MISSING[message.command]
    code, cause = missing.code, missing.cause
    intent = intent_of(message, record, services)
    effect = services.effects.get(progress.effect_key(message.connection, message.command, intent.business_id))
    if effect is None and message.command in ("CancelOrder", "CancelFulfillment"):
        return  # never sent: the storefront had called it off itself, or the part went with its sales order
    if effect is None or effect.state is not EffectState.CONFIRMED or (effect.settled_at or effect.intended_at) > services.clock.now() - TOLERANCE:
        report.in_flight[message.command] += 1
        return
    connector = services.connectors.connector(message.connection)
    try:
        found = circuit.asked(message.connection, lambda: connector.look_up(intent), services)
    except Rejected as refused:
        found, cause = None, refused.detail
    subject = f"{record.order_id}#{intent.business_id}" if code != "STATUS_DRIFT" else f"{record.order_id}#{message.command}#{intent.business_id}"
    difference = None
    if found is None:
        detail = f"{missing.what} {effect.receipt.number or effect.receipt.external_id if effect.receipt else ''} of {record.order_id} is not in {message.connection} any more"
        difference = Difference(code, subject, services.spec.systems_of_record.get("orders", record.source), message.connection, detail, cause, record.order_id, message)
    report.note(message.command, code, subject, difference)


def _document(record: OrderRecord, services: Services, report: Report) -> None:
    """The sales order against what it was made as: its lines, tax, freight and total."""
    standing, erp = record.sales_order, services.spec.erp
    if standing is None or standing.cancelled or record.everything_shipped or "sales_order" not in services.connectors.manifest(erp).queries:
        return
    connector = services.connectors.connector(erp)
    now = circuit.asked(erp, lambda: connector.sales_order(standing.external_id), services)
    if now is None:
        return  # gone: that is another difference
    intent = intent_of(OutboundMessage(command="CreateSalesOrder", connection=erp, order_id=record.order_id), record, services)
    effect = services.effects.get(progress.effect_key(erp, "CreateSalesOrder", intent.business_id))
    made = LedgerDocument(
        total=standing.total or now.total,
        tax=(effect.receipt.tax if effect and effect.receipt else None) or now.tax,
        freight=record.placed.freight,
        lines=_lines_made(intent, record),
    )
    says = f"sales order {standing.number}"
    ordered = {line: now.lines.get(line, Decimal(0)) for line in made.lines}
    difference = _content(record, erp, owner=erp, says=says, ours=made, theirs=LedgerDocument(now.total, now.tax, now.freight, ordered), services=services)
    report.note("Document", CONTENT, record.order_id, difference)


def _lines_made(intent: Intent, record: OrderRecord) -> dict[str, Decimal]:
    """The ERP's line ids with what was ordered of each, but for parts that were called off since."""
    off = {part.plan.location for part in record.parts if part.status is PartStatus.CANCELLED}
    known = record.sales_order.line_ids if record.sales_order else {}
    made: dict[str, Decimal] = {}
    for line in intent.lines if isinstance(intent, CreateSalesOrder) else ():
        key = line_key(line.line_id, line.location)
        if key in known and line.location not in off:
            made[known[key]] = made.get(known[key], Decimal(0)) + line.quantity
    return made


def _content(
    record: OrderRecord,
    connection: str,
    *,
    owner: str,
    says: str,
    ours: LedgerDocument,
    theirs: LedgerDocument,
    services: Services,
    subject: str = "",
    repair: OutboundMessage | None = None,
) -> Difference | None:
    """The one difference between two accounts of an order: the first that explains the rest."""
    spec = services.spec
    if dict(ours.lines) != dict(theirs.lines):
        changed = sorted(line for line in {*ours.lines, *theirs.lines} if ours.lines.get(line) != theirs.lines.get(line))
        told = ", ".join(f"{line}: {plain(theirs.lines.get(line, Decimal(0)))} instead of {plain(ours.lines.get(line, Decimal(0)))}" for line in changed[:5])
        detail = f"{says} orders of line {told}"
        return Difference("LINES_DRIFT", subject or record.order_id, owner, connection, detail, "a line was edited or deleted there", record.order_id, repair)
    tolerances = {"tax": spec.tax.tolerance, "freight": spec.freight.tolerance, "total": spec.erp_total_tolerance}
    for amount in _AMOUNTS:
        known: Money = getattr(ours, amount.name)
        now: Money = getattr(theirs, amount.name)
        if known.currency != now.currency or not within(tolerances[amount.name], expected=known, actual=now):
            detail = f"{says} has a {amount.name} of {plain(now.amount)} {now.currency}; {plain(known.amount)} {known.currency} is known here"
            return Difference(amount.code, subject or record.order_id, owner, connection, detail, amount.cause, record.order_id, repair)
    return None


def arrived(connection: str, cursor: str | None, services: Services, report: Report) -> str | None:
    """Whether every order of a storefront is here, as it stands there. The first cursor is the moment since when orders are looked at."""
    since = rfc3339(services.clock.now() - WINDOW)
    connector = services.connectors.connector(connection)
    page = circuit.asked(connection, lambda: connector.snapshot("orders", cursor or since), services)
    for held in page.orders:
        _arrived(held, connection, services, report)
    return page.cursor


def _arrived(held: ChangedOrder, connection: str, services: Services, report: Report) -> None:
    if held.changed_at > services.clock.now() - TOLERANCE:
        report.in_flight["Order"] += 1  # its webhook, or the poll, brings it
        return
    record = services.orders.get(held.order_id)
    repair = OutboundMessage(command=PULL_ORDER, connection=connection, arguments={"order": held.external_id})
    difference: Difference | None = None
    if record is None or record.order is None:
        detail = f"order {held.external_id} of {connection} is not here"
        difference = Difference("ORDER_NOT_TAKEN_IN", held.order_id, connection, connection, detail, "its webhook was lost", None, repair)
    report.note("Order", "ORDER_NOT_TAKEN_IN", held.order_id, difference)
    if record is not None and record.order is not None and record.status not in (*TERMINAL, OrderStatus.CANCELLING):
        subject = f"{held.order_id}#{connection}"
        newer = rfc3339(held.changed_at) > record.order.source_version
        report.note("Version", (*CONTENT, "STATUS_DRIFT"), subject, _newer(held, record, subject, repair, services) if newer else None)


def _newer(held: ChangedOrder, record: OrderRecord, subject: str, repair: OutboundMessage, services: Services) -> Difference | None:
    """What a newer version of the order says otherwise. The source's word holds: the repair takes it in the way its webhook would have come."""
    connection = repair.connection
    connector = services.connectors.connector(connection)
    item = circuit.asked(connection, lambda: connector.placed(held.external_id), services)
    try:
        events, _ = events_of(_delivery(item, connection, services), services)
    except NeedsPerson:
        return None  # it says what cannot be understood here: its own delivery is an exception
    facts = [event.fact for event in events]
    if any(isinstance(fact, OrderCancelled) for fact in facts) and record.cancel_requested_at is None and record.cancel_refused_at is None:
        detail = f"order {record.order_id} is cancelled in {connection} and {record.status.value} here"
        return Difference("STATUS_DRIFT", subject, connection, connection, detail, "the webhook of its cancellation was lost", record.order_id, repair)
    theirs = next((fact.order for fact in reversed(facts) if isinstance(fact, OrderPlaced | OrderUpdated)), None)
    if theirs is None or services.exceptions.get(exception_id("ORDER_CHANGED_AFTER_POSTING", record.order_id, theirs.source_version)) is not None:
        return None  # a person has it, or has decided on it
    return _content(
        record, connection, owner=connection, says="the storefront", ours=_account(record.placed), theirs=_account(theirs), services=services, subject=subject, repair=repair
    )


def _account(order: Order) -> LedgerDocument:
    return LedgerDocument(order.total, order.tax, order.freight, {line.external_id: line.quantity.value for line in order.lines})


def _delivery(item: PolledItem, connection: str, services: Services) -> Delivery:
    name = safe_id(connection, item.topic, item.key)
    return Delivery(delivery_id=name, connection=connection, topic=item.topic, body=item.body, headers={"x-polled": PULL_ORDER}, received_at=services.clock.now())


def pull_order(message: OutboundMessage, services: Services) -> None:
    """Takes one order in, the way a poll would: whatever came of it before, or comes later, it is the same order."""
    connector = services.connectors.connector(message.connection)
    delivery = _delivery(circuit.asked(message.connection, lambda: connector.placed(message.arguments["order"]), services), message.connection, services)
    services.deliveries.add(delivery)
    services.queues.send(QueueName.INBOUND, inbound_message(delivery.delivery_id), group=message.connection)


# ------------------------------------------------------------------ customers


def customers(connection: str, cursor: str | None, services: Services, report: Report) -> str | None:
    """Whether the ERP knows every account that orders are booked to. The cursor is the last account of the page before."""
    tables = services.spec.cross_references
    accounts = sorted({*(account for table in tables.customers.values() for account in table.values()), *tables.default_accounts.values()})
    behind = [account for account in accounts if cursor is None or account > cursor]
    connector = services.connectors.connector(connection)
    for account in behind[:AT_ONCE]:
        difference = None
        standing = circuit.asked(connection, lambda account=account: connector.credit(account), services)  # type: ignore[misc]
        known_customers.heard(account, standing, services)
        if standing is None:
            owner = services.spec.systems_of_record.get("customers", connection)
            difference = Difference(
                "CUSTOMER_DRIFT", account, owner, connection, f"account {account} is not in {connection}; orders are booked to it", "deleted or renumbered there", None, None
            )
        report.note("Customer", "CUSTOMER_DRIFT", account, difference)
    return behind[AT_ONCE - 1] if len(behind) > AT_ONCE else None


# ------------------------------------------------------------------ stock


def counts(connection: str, cursor: str | None, services: Services, report: Report) -> str | None:
    """What the owner of locations holds against what is known of it here. Its word holds: the repair takes its count over."""
    believed = {location.codes[connection]: name for name, location in services.spec.locations.items() if location.stock_from == connection}
    connector = services.connectors.connector(connection)
    page = circuit.asked(connection, lambda: connector.snapshot("stock", cursor), services)
    for reading in page.readings:
        location = believed.get(reading.location)
        sku = _ours(connection, reading.sku, services)
        if location is None or sku is None:
            continue
        level = services.stock.level(sku, location)
        if level is None or _moving(level, reading, services.clock.now()):
            report.in_flight["Count"] += 1  # never counted: its first count is no correction
            continue
        difference = None
        if level.on_hand != reading.on_hand:
            detail = f"{connection} has {plain(reading.on_hand)} of {sku} at {location}; {plain(level.on_hand)} is known here"
            repair = OutboundMessage(command=TAKE_COUNT, connection=connection, arguments={"sku": sku, "location": location})
            cause = "a movement was not reported, or left and is not booked yet"
            ours = reading.model_copy(update={"sku": sku, "location": location})
            difference = Difference("STOCK_COUNT_DRIFT", f"{sku}@{location}", connection, connection, detail, cause, None, repair, seen=ours.model_dump_json())
        report.note("Count", "STOCK_COUNT_DRIFT", f"{sku}@{location}", difference)
    return page.cursor


def _seen_name(connection: str, subject: str) -> str:
    return f"differs#{connection}#{subject}"


def take_count(message: OutboundMessage, services: Services) -> None:
    """Takes over the count that the last pass saw. What happened here since stays applied, and a newer count stands."""
    connection, sku, location = message.connection, message.arguments["sku"], message.arguments["location"]
    seen = services.cursors.get(_seen_name(connection, f"{sku}@{location}"))
    if seen is None:
        raise NeedsPerson("NOT_FOUND", f"no count of {sku} at {location} was kept", remedy="`crossdock inventory count` asks for all counts")
    stock.counted(StockReading.model_validate_json(seen), source=connection, reference="reconciliation", services=services)


def _moving(level: StockLevel, reading: StockReading, now: datetime) -> bool:
    """Goods that are promised may have left there and not be booked here yet; what was booked a moment ago may not be known there yet."""
    on_its_way = Decimal(0) < level.on_hand - reading.on_hand <= level.committed
    return on_its_way or (level.moved_at is not None and level.moved_at > now - TOLERANCE)


def shown(connection: str, cursor: str | None, services: Services, report: Report) -> str | None:
    """What a sales channel shows against what it may sell. Our figure holds: the repair publishes it again."""
    ours = {location.codes[connection]: name for name, location in services.spec.locations.items() if connection in location.codes}
    connector = services.connectors.connector(connection)
    page = circuit.asked(connection, lambda: connector.snapshot("shown", cursor), services)
    for reading in page.readings:
        location = ours.get(reading.location)
        sku = _ours(connection, reading.sku, services)
        if location is None or sku is None or connection not in stock.channels(location, services):
            continue
        figure = stock.available(sku, location, connection, services)
        told = services.cursors.get(f"published#{connection}#{sku}@{location}")
        if figure is None or told != plain(figure):
            report.in_flight["Shown"] += 1  # it has not been told yet
            continue
        difference = None
        if reading.on_hand != figure:
            subject = f"{connection}#{sku}@{location}"
            detail = f"{connection} shows {plain(reading.on_hand)} of {sku} at {location}; {plain(figure)} can be sold"
            repair = OutboundMessage(command=stock.PUBLISH, connection=connection, arguments={"sku": sku, "location": location, "again": "1"})
            difference = Difference(
                "STOCK_SHOWN_DRIFT", subject, services.spec.locations[location].stock_from, connection, detail, "changed there by hand or by another program", None, repair
            )
        report.note("Shown", "STOCK_SHOWN_DRIFT", f"{connection}#{sku}@{location}", difference)
    return page.cursor


def prices(connection: str, cursor: str | None, services: Services, report: Report) -> str | None:
    """What a sales channel charges against what counts here, piece for piece, within the tenant's tolerance. What counts is the owner's word, but for a
    change that waits for approval; the ERP is asked on the way, so a change that no poll has brought is heard now."""
    erp, xref = services.spec.erp, services.xref
    connector, books = services.connectors.connector(connection), services.connectors.connector(erp)
    page = circuit.asked(connection, lambda: connector.snapshot("list_prices", cursor), services)
    listed = [(sku, price) for price in page.prices if (sku := _ours(connection, price.sku, services)) is not None]
    questions = [PriceQuestion(xref.their_sku(erp, sku), xref.their_unit(erp, services.xref.article(sku).base_unit), Decimal(1), price.price.currency) for sku, price in listed]
    known = circuit.asked(erp, lambda: books.prices("", questions), services) if questions else []
    for (sku, price), owned in zip(listed, known, strict=True):
        governed = known_prices.asked(sku, owned, services)
        told = governed is not None and known_prices.is_told(connection, governed, services)
        if governed is not None and told is False:
            report.in_flight["Price"] += 1
            continue
        counts = governed.price if governed is not None else owned.price if owned is not None else None
        difference = None
        if counts is None or counts.currency != price.price.currency or not within(services.spec.price_tolerance, expected=counts, actual=price.price):
            owner = services.spec.owner("prices")
            says = counts.exact() if counts else "nothing: it is unknown or blocked there"
            detail = f"{connection} charges {price.price.exact()} for {sku}; {owner} says {says}"
            repair = OutboundMessage(command=known_prices.SET_PRICE, connection=connection, arguments={"sku": sku, "again": "1"}) if told else None
            difference = Difference("PRICE_DRIFT", f"{connection}#{sku}", owner, connection, detail, "the price was changed in one of them only", None, repair)
        report.note("Price", "PRICE_DRIFT", f"{connection}#{sku}", difference)
    return page.cursor


def _ours(connection: str, sku: str, services: Services) -> str | None:
    try:
        return services.xref.our_sku(connection, sku)
    except NeedsPerson:
        return None  # an article that the tenant does not run through this stack


def sides(services: Services) -> list[tuple[str, Compare]]:
    """Whose stock and prices are compared, and how."""
    counted = sorted({location.stock_from for location in services.spec.locations.values()})
    sold = sorted({name for location in services.spec.locations for name in stock.channels(location, services)})
    erp = services.connectors.manifest(services.spec.erp).queries
    wanted: list[tuple[str, Compare, str]] = [
        *((name, arrived, "orders") for name in services.spec.connections),
        *((name, counts, "stock") for name in counted),
        *((name, shown, "shown") for name in sold),
        *((name, prices, "list_prices") for name in services.spec.connections if "prices" in erp),
        (services.spec.erp, customers, "credit"),
    ]
    return [(name, compare) for name, compare, query in wanted if query in services.connectors.manifest(name).queries]


def pages(connection: str, compare: Compare, cursor: str | None, services: Services) -> Iterator[tuple[Report, str | None]]:
    """A side page by page, each with the cursor of the next one."""
    for _ in range(MOST_PAGES):
        report = Report()
        cursor = compare(connection, cursor, services, report)
        yield report, cursor
        if cursor is None:
            return
    raise ContractDrift("UNEXPECTED_ANSWER", f"what {connection} holds goes on after {MOST_PAGES} pages", remedy="look whether paging still works as documented")


_COMPARISONS: dict[str, Compare] = {"arrived": arrived, "counts": counts, "shown": shown, "prices": prices, "customers": customers}


# ------------------------------------------------------------------ what becomes of it

Standing = dict[tuple[str, str], ExceptionRecord]


def standing(services: Services) -> Standing:
    """The differences that stand open, by class and subject. Read once for many pages."""
    return {(record.code, record.subject): record for record in services.exceptions.listed(limit=MOST_OPEN) if record.code in CODES}


def settle(report: Report, services: Services, known: Standing | None = None) -> int:
    """One exception per difference, and none for what agrees again; how many were opened now. ``known`` is kept up to date."""
    known = standing(services) if known is None else known
    opened = 0
    for difference in report.differences:
        if difference.seen:
            services.cursors.put(_seen_name(difference.connection, difference.subject), difference.seen)
        key = (difference.code, difference.subject)
        if key in known:
            known[key] = _found_again(known[key], _told(difference), services)
            continue
        known[key] = _open(difference, services)
        opened += 1
        if difference.code == "ORDER_NOT_TAKEN_IN" and difference.repair is not None:
            progress.send(difference.repair, services)  # an order that waits for a person is late
    for key in report.agreed & known.keys():
        raise_exception.close(known.pop(key).exception_id, actor=raise_exception.SYSTEM, note="the systems agree", services=services)
    return opened


def _told(difference: Difference) -> str:
    return f"{difference.detail}; {difference.owner} is right; likely: {difference.cause}"[:1000]


def _found_again(record: ExceptionRecord, detail: str, services: Services) -> ExceptionRecord:
    """The same difference stands as it is; one that has grown says so."""
    if record.detail == detail:
        return record
    now = services.clock.now()
    return services.exceptions.change(record.exception_id, lambda current: None if current.closed else current.model_copy(update={"detail": detail, "last_seen_at": now}))


def _open(difference: Difference, services: Services) -> ExceptionRecord:
    detail = _told(difference)
    if difference.repair is None:
        return raise_exception.episode(
            difference.code,
            difference.subject,
            detail,
            connection=difference.connection,
            cause=Cause.SOURCE_DATA,
            remedy="see which of the two is right and correct the other; the next pass closes this",
            services=services,
        )
    remedy = "`crossdock exceptions retry` repairs it, `crossdock inventory reconcile --apply` repairs all; it looks first, so it does nothing twice"
    error = NeedsPerson(difference.code, detail, remedy=remedy, cause=Cause.SOURCE_DATA)
    return raise_exception.for_message(
        error,
        queue=QueueName.OUTBOUND,
        message=difference.repair.text(),
        subject=difference.subject,
        connection=difference.connection,
        services=services,
        order_id=difference.order_id,
        dead_letter=False,
    )


def repair_all(services: Services) -> int:
    """Sends the repair of every open difference; how many."""
    sent = 0
    for record in standing(services).values():
        if record.message:
            services.queues.send(QueueName.OUTBOUND, record.message, group=record.connection or record.subject)
            sent += 1
    return sent


# ------------------------------------------------------------------ on the clock


def work(message: OutboundMessage, services: Services) -> None:
    """One page of a scheduled pass: the first message gives out the pages, each of the others compares one."""
    if "orders" in message.arguments:
        report = Report()
        for order_id in message.arguments["orders"].split("\n"):
            order(order_id, services, report)
        settle(report, services)
    elif "side" in message.arguments:
        _pages(message, services)
    else:
        _give_out(services)


def _pages(message: OutboundMessage, services: Services) -> None:
    """A few pages of one side. The next message goes on where this one stopped, also when it was stopped by a system that wants no more calls now."""
    compare, known = _COMPARISONS[message.arguments["side"]], standing(services)
    cursor, done, until = message.arguments.get("cursor"), int(message.arguments.get("done", "0")), services.clock.now() + PAGES_FOR
    begun = done
    try:
        for report, following in pages(message.connection, compare, cursor, services):
            settle(report, services, known)
            cursor, done = following, done + 1
            if done - begun >= PAGES_AT_ONCE or services.clock.now() >= until:
                break
    except RetryLater:
        if done == begun:
            raise  # nothing was gained: it waits as any command does
    if cursor is None:
        return
    if done > MOST_PAGES:
        raise ContractDrift("UNEXPECTED_ANSWER", f"what {message.connection} holds goes on after {MOST_PAGES} pages", remedy="look whether paging still works as documented")
    progress.send(message.model_copy(update={"arguments": {**message.arguments, "cursor": cursor, "done": str(done)}}), services)


def _give_out(services: Services) -> None:
    ids = window(services, since=services.clock.now() - WINDOW)
    for begin in range(0, len(ids), AT_ONCE):
        progress.send(OutboundMessage(command=RECONCILE, connection=services.spec.erp, arguments={"orders": "\n".join(ids[begin : begin + AT_ONCE])}), services)
    for connection, compare in sides(services):
        progress.send(OutboundMessage(command=RECONCILE, connection=connection, arguments={"side": compare.__name__}), services)


def watch(services: Services, now: datetime) -> int:
    """Starts the scheduled pass when its hour has come; how many messages were sent."""
    every = services.spec.inventory.reconcile_hours
    if every is None or not services.cursors.claim("reconcile", until=now + timedelta(hours=every), now=now):
        return 0
    progress.send(OutboundMessage(command=RECONCILE, connection=services.spec.erp), services)
    return 1
