"""Do the systems still hold what they confirmed, and do they show what is true? Each difference becomes one exception whose retry repairs it.

What is under way is no difference: an effect counts when it has been confirmed for ``TOLERANCE``, a published figure when it is the one the channel was told last.
Every look is a question to one system about one thing, so the cost grows with what is compared and nothing is held in memory but one page of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from crossdock.domain.connector import PriceQuestion
from crossdock.domain.effect import EffectState
from crossdock.domain.errors import Cause, NeedsPerson, Rejected
from crossdock.domain.messages import OutboundMessage
from crossdock.domain.model import plain
from crossdock.domain.order_record import OrderRecord, OrderStatus
from crossdock.domain.policy import within
from crossdock.domain.stage import QueueName
from crossdock.domain.stock import StockLevel, StockReading
from crossdock.flows import circuit, progress, raise_exception, stock
from crossdock.flows.commands_of import intent_of
from crossdock.flows.services import Services

RECONCILE = "Reconcile"
TOLERANCE = timedelta(minutes=10)
"""What was confirmed a moment ago may not be seen everywhere yet."""
WINDOW = timedelta(days=7)
AT_ONCE = 40
"""Orders of one message, so that a page ends within the function's time."""
MOST_ORDERS = 5000


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
}
CODES = frozenset({*(missing.code for missing in _MISSING.values()), "TOTAL_DRIFT", "STOCK_COUNT_DRIFT", "STOCK_SHOWN_DRIFT", "PRICE_DRIFT"})


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


@dataclass
class Report:
    """What a pass compared and found, by kind."""

    compared: Counter[str] = field(default_factory=Counter)
    in_flight: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)
    agreed: set[tuple[str, str]] = field(default_factory=set)
    """(code, subject) of everything that was looked at and found in agreement."""

    def note(self, kind: str, code: str, subject: str, difference: Difference | None) -> None:
        self.compared[kind] += 1
        if difference is None:
            self.agreed.add((code, subject))
        else:
            self.differences.append(difference)


Compare = Callable[[str, Services, Report], None]


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
    _total(record, services, report)


def _effects_of(record: OrderRecord, erp: str) -> Iterator[OutboundMessage]:
    """The commands whose effects must be there now, as they are sent again to repair them."""
    repair = {"repair": "1"}
    if record.status in (OrderStatus.CANCELLING, OrderStatus.CANCELLED):
        return
    if record.sales_order is not None and not record.sales_order.cancelled:
        yield OutboundMessage(command="CreateSalesOrder", connection=erp, order_id=record.order_id, arguments=repair)
    for part in record.parts:
        if part.open and part.released_at is not None and part.plan.connection != record.source and not part.shipped:
            yield OutboundMessage(command="ReleaseFulfillment", connection=part.plan.connection, order_id=record.order_id, part_id=part.plan.part_id, arguments=repair)
    for booked in record.shipments:
        shipment_id = booked.shipment.shipment_id
        if booked.confirmed:
            yield OutboundMessage(command="ConfirmShipment", connection=record.source, order_id=record.order_id, shipment_id=shipment_id, arguments=repair)
        if booked.invoice_number is not None:
            yield OutboundMessage(command="PostInvoice", connection=erp, order_id=record.order_id, shipment_id=shipment_id, arguments=repair)


def _effect(message: OutboundMessage, record: OrderRecord, services: Services, report: Report) -> None:
    if not progress.can(message.connection, message.command, services):
        return  # nothing of it is kept there
    missing = _MISSING[message.command]
    code, cause = missing.code, missing.cause
    intent = intent_of(message, record, services)
    effect = services.effects.get(progress.effect_key(message.connection, message.command, intent.business_id))
    if effect is None or effect.state is not EffectState.CONFIRMED or (effect.settled_at or effect.intended_at) > services.clock.now() - TOLERANCE:
        report.in_flight[message.command] += 1
        return
    connector = services.connectors.connector(message.connection)
    try:
        found = circuit.asked(message.connection, lambda: connector.look_up(intent), services)
    except Rejected as refused:
        found, cause = None, refused.detail
    subject = f"{record.order_id}#{intent.business_id}"
    difference = None
    if found is None:
        detail = f"{missing.what} {effect.receipt.number or effect.receipt.external_id if effect.receipt else ''} of {record.order_id} is not in {message.connection} any more"
        difference = Difference(code, subject, services.spec.systems_of_record.get("orders", record.source), message.connection, detail, cause, record.order_id, message)
    report.note(message.command, code, subject, difference)


def _total(record: OrderRecord, services: Services, report: Report) -> None:
    standing = record.sales_order
    if standing is None or standing.cancelled or standing.total is None or record.everything_shipped:
        return
    connector = services.connectors.connector(services.spec.erp)
    now = circuit.asked(services.spec.erp, lambda: connector.sales_order_total(standing.external_id), services)
    if now is None:
        return  # gone: that is another difference
    difference = None
    if not within(services.spec.erp_total_tolerance, expected=standing.total, actual=now):
        detail = f"sales order {standing.number} comes to {now.amount} {now.currency} in the ERP; it was made over {standing.total.amount}"
        difference = Difference(
            "TOTAL_DRIFT", record.order_id, services.spec.erp, services.spec.erp, detail, "a line, its tax or its price was edited there", record.order_id, None
        )
    report.note("Total", "TOTAL_DRIFT", record.order_id, difference)


# ------------------------------------------------------------------ stock


def counts(connection: str, services: Services, report: Report) -> None:
    """What the owner of locations holds against what is known of it here. Its word holds: the repair takes its count over."""
    believed = {location.codes[connection]: name for name, location in services.spec.locations.items() if location.stock_from == connection}
    connector = services.connectors.connector(connection)
    for reading in circuit.asked(connection, connector.stock, services):
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
            repair = OutboundMessage(command="PullStock", connection=connection, arguments={"sku": sku, "location": location})
            cause = "a movement was not reported, or left and is not booked yet"
            difference = Difference("STOCK_COUNT_DRIFT", f"{sku}@{location}", connection, connection, detail, cause, None, repair)
        report.note("Count", "STOCK_COUNT_DRIFT", f"{sku}@{location}", difference)


def _moving(level: StockLevel, reading: StockReading, now: datetime) -> bool:
    """Goods that are promised may have left there and not be booked here yet; what was booked a moment ago may not be known there yet."""
    on_its_way = Decimal(0) < level.on_hand - reading.on_hand <= level.committed
    return on_its_way or (level.moved_at is not None and level.moved_at > now - TOLERANCE)


def shown(connection: str, services: Services, report: Report) -> None:
    """What a sales channel shows against what it may sell. Our figure holds: the repair publishes it again."""
    ours = {location.codes[connection]: name for name, location in services.spec.locations.items() if connection in location.codes}
    connector = services.connectors.connector(connection)
    for reading in circuit.asked(connection, connector.shown, services):
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


def prices(connection: str, services: Services, report: Report) -> None:
    """What a sales channel charges against the list price of the ERP, piece for piece, within the tenant's tolerance."""
    erp, xref = services.spec.erp, services.xref
    connector, books = services.connectors.connector(connection), services.connectors.connector(erp)
    listed = [(sku, price) for price in circuit.asked(connection, connector.list_prices, services) if (sku := _ours(connection, price.sku, services)) is not None]
    for begin in range(0, len(listed), AT_ONCE):
        page = listed[begin : begin + AT_ONCE]
        questions = [PriceQuestion(xref.their_sku(erp, sku), xref.their_unit(erp, services.xref.article(sku).base_unit), Decimal(1), price.price.currency) for sku, price in page]
        known = circuit.asked(erp, lambda questions=questions: books.prices("", questions), services)  # type: ignore[misc]
        for (sku, price), owned in zip(page, known, strict=True):
            difference = None
            subject = f"{connection}#{sku}"
            tolerance = services.spec.price_tolerance
            if owned is None or owned.price.currency != price.price.currency or not within(tolerance, expected=owned.price, actual=price.price):
                says = f"{plain(owned.price.amount)} {owned.price.currency}" if owned else "nothing: it is unknown or blocked there"
                detail = f"{connection} charges {plain(price.price.amount)} {price.price.currency} for {sku}; {erp} says {says}"
                difference = Difference(
                    "PRICE_DRIFT", subject, services.spec.systems_of_record.get("prices", erp), connection, detail, "the price was changed in one of them only", None, None
                )
            report.note("Price", "PRICE_DRIFT", subject, difference)


def _ours(connection: str, sku: str, services: Services) -> str | None:
    try:
        return services.xref.our_sku(connection, sku)
    except NeedsPerson:
        return None  # an article that the tenant does not run through this stack


def sides(services: Services) -> list[tuple[str, Compare]]:
    """Whose stock and prices are compared, and how."""
    counted = sorted({location.stock_from for location in services.spec.locations.values()})
    sold = sorted({name for location in services.spec.locations for name in stock.channels(location, services)})
    priced = [name for name in services.spec.connections if "prices" in services.connectors.manifest(services.spec.erp).queries]
    wanted: list[tuple[str, Compare, str]] = [
        *((name, counts, "stock") for name in counted),
        *((name, shown, "shown") for name in sold),
        *((name, prices, "list_prices") for name in priced),
    ]
    return [(name, compare) for name, compare, query in wanted if query in services.connectors.manifest(name).queries]


_COMPARISONS: dict[str, Compare] = {"counts": counts, "shown": shown, "prices": prices}


# ------------------------------------------------------------------ what becomes of it


def settle(report: Report, services: Services) -> int:
    """One exception per difference, and none for what agrees again; how many were opened now."""
    standing = {(record.code, record.subject): record for record in services.exceptions.listed() if record.code in CODES}
    opened = 0
    for difference in report.differences:
        if (difference.code, difference.subject) not in standing:
            _open(difference, services)
            opened += 1
    for key in report.agreed & standing.keys():
        raise_exception.close(standing[key].exception_id, actor=raise_exception.SYSTEM, note="the systems agree", services=services)
    return opened


def _open(difference: Difference, services: Services) -> None:
    detail = f"{difference.detail}; {difference.owner} is right; likely: {difference.cause}"
    if difference.repair is None:
        raise_exception.episode(
            difference.code,
            difference.subject,
            detail,
            connection=difference.connection,
            cause=Cause.SOURCE_DATA,
            remedy="see which of the two is right and correct the other; the next pass closes this",
            services=services,
        )
        return
    remedy = "`crossdock exceptions retry` repairs it, `crossdock inventory reconcile --apply` repairs all; it looks first, so it does nothing twice"
    error = NeedsPerson(difference.code, detail, remedy=remedy, cause=Cause.SOURCE_DATA)
    raise_exception.for_message(
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
    for record in services.exceptions.listed():
        if record.code in CODES and record.message:
            services.queues.send(QueueName.OUTBOUND, record.message, group=record.connection or record.subject)
            sent += 1
    return sent


# ------------------------------------------------------------------ on the clock


def work(message: OutboundMessage, services: Services) -> None:
    """One page of a scheduled pass: the first message gives out the pages, each of the others compares one."""
    report = Report()
    if "orders" in message.arguments:
        for order_id in message.arguments["orders"].split("\n"):
            order(order_id, services, report)
    elif "side" in message.arguments:
        _COMPARISONS[message.arguments["side"]](message.connection, services, report)
    else:
        _give_out(services)
    settle(report, services)


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
