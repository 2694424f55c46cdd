"""A location's owner reports stock, or stock is promised: what is believed, what is each sales channel told, and what is a person told?"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal

from crossdock.domain.commands import PublishStock
from crossdock.domain.errors import Cause
from crossdock.domain.exception_record import exception_id
from crossdock.domain.messages import OutboundMessage
from crossdock.domain.model import plain
from crossdock.domain.stage import QueueName
from crossdock.domain.stock import Outcome, StockAdjustment, StockChange, StockLevel, StockReading, bundled, promised
from crossdock.domain.tenant import Location
from crossdock.flows import circuit, raise_exception
from crossdock.flows.services import Services

PUBLISH = "PublishStock"
SWEEP_EVERY = timedelta(hours=6)
"""How often all that differ are published where changes are published as they come: what a crash kept from being told is told then."""
AT_ONCE = 40
"""Publications of one message of a sweep; the next message goes on behind the last one."""


# ------------------------------------------------------------------ what owners report


def safety(place: Location, sku: str) -> Decimal:
    return place.safety_stock.get(sku, place.default_safety_stock)


def counted(reading: StockReading, *, source: str, reference: str, services: Services) -> StockChange | None:
    """An absolute count. None: refused, because the location's stock is another system's to count."""
    place = _believed(reading.sku, reading.location, source, reference, services)
    if place is None:
        return None
    return _followed(reading.sku, reading.location, source, services.stock.count(reading, safety=safety(place, reading.sku), source=source), services)


def adjusted(adjustment: StockAdjustment, *, source: str, reference: str, services: Services) -> StockChange | None:
    """A movement. None: refused, as above."""
    place = _believed(adjustment.sku, adjustment.location, source, reference, services)
    if place is None:
        return None
    change = services.stock.adjust(adjustment, safety=safety(place, adjustment.sku), source=source, at=services.clock.now())
    return _followed(adjustment.sku, adjustment.location, source, change, services)


def _believed(sku: str, location: str, source: str, reference: str, services: Services) -> Location | None:
    """The location when the source owns its stock (systems_of_record); else the write is refused, and that is on record."""
    place = services.spec.locations[location]
    if place.stock_from == source:
        return place
    summary = f"the stock at {location} is {place.stock_from}'s to count, not {source}'s"
    raise_exception.write_refused(f"{sku}@{location}", source=source, summary=summary, delivery=reference, services=services)
    return None


def _followed(sku: str, location: str, source: str, change: StockChange, services: Services) -> StockChange:
    """What follows from a report, also from one that came again: the first time may have ended before it."""
    now = services.clock.now()
    if services.cursors.claim(f"stock#{source}#told", until=now + timedelta(minutes=30), now=now):
        services.cursors.put(f"stock#{source}", now.isoformat())
        raise_exception.close(exception_id("STOCK_STALE", source), actor=raise_exception.SYSTEM, note=f"{source} has reported stock", services=services)
    if change.moved or change.outcome is Outcome.DUPLICATE:
        changed([(sku, location)], services)
    return change


# ------------------------------------------------------------------ what sales channels are told


def channels(location: str, services: Services) -> list[str]:
    """The connections that sell from the location and are told what they may sell: never the one whose own count is believed there."""
    place = services.spec.locations[location]
    return [name for name in services.spec.connections if name in place.codes and name != place.stock_from and PUBLISH in services.connectors.manifest(name).commands]


def changed(keys: Iterable[tuple[str, str]], services: Services) -> None:
    """More or less can be promised at these places: it is published when it has come to rest, and watched for running low.

    Many changes within ``gather_seconds`` are one publication: who claims the window sends a message that comes when the window is over,
    and a change after that finds no window and opens the next one.
    """
    now, policy = services.clock.now(), services.spec.inventory
    unique = sorted(set(keys))
    if policy.publish == "event":
        gather = policy.gather_seconds
        sold = sorted({(name, location) for sku, location in unique for name in (sku, *_bundles_with(sku, services))})
        for name, location in sold:
            for connection in channels(location, services):
                if services.cursors.claim(f"publish#{connection}#{name}@{location}", until=now + timedelta(seconds=gather), now=now):
                    _send(_message(connection, name, location), services, delay_seconds=gather)
    for sku in sorted({sku for sku, _ in unique}):
        _watch_level(sku, services)


def _bundles_with(sku: str, services: Services) -> list[str]:
    return [name for name, article in services.spec.articles.items() if sku in article.components]


def _message(connection: str, sku: str, location: str) -> OutboundMessage:
    return OutboundMessage(command=PUBLISH, connection=connection, arguments={"sku": sku, "location": location})


def _send(message: OutboundMessage, services: Services, *, delay_seconds: int = 0) -> None:
    services.queues.send(QueueName.OUTBOUND, message.text(), group=message.group, delay_seconds=delay_seconds)


def available(sku: str, location: str, connection: str, services: Services) -> Decimal | None:
    """ATP of the SKU (or bundle) at the location for the channel, in base units; None where no stock of it is known."""
    channel, now = services.spec.inventory.channel(connection), services.clock.now()
    article = services.spec.articles.get(sku)
    if article is None or not article.components:
        level = services.stock.level(sku, location)
        return None if level is None else promised(level, channel, now=now)
    levels = services.stock.levels((component, location) for component in article.components)
    if not levels:
        return None
    return bundled(article.components, {component: promised(level, channel, now=now) for (component, _), level in levels.items()})


def publish(message: OutboundMessage, services: Services) -> None:
    """Tells one channel what it may sell now. The newest state is what is sent, whenever the message comes; a repeat says the same."""
    if message.arguments.get("sku") is None:
        _sweep(message, services)
        return
    _publish(message.connection, message.arguments["sku"], message.arguments["location"], services, again=bool(message.arguments.get("again")))


def _publish(connection: str, sku: str, location: str, services: Services, *, again: bool = False) -> bool:
    """False when the channel has been told this very figure already (and is not to be told it again)."""
    figure = available(sku, location, connection, services)
    if figure is None:
        return False
    name = f"published#{connection}#{sku}@{location}"
    if not again and services.cursors.get(name) == plain(figure):
        return False
    level = services.stock.level(sku, location)
    intent = PublishStock(
        sku=sku,
        storefront_sku=services.xref.their_sku(connection, sku),
        location_code=services.xref.their_location(connection, location),
        available=figure,
        sequence=level.changes if level else 0,
    )
    connector = services.connectors.connector(connection)
    circuit.asked(connection, lambda: connector.execute(intent), services)
    services.cursors.put(name, plain(figure))
    return True


def _sweep(message: OutboundMessage, services: Services) -> None:
    """Everything whose figure differs from what the channel was told last."""
    behind = message.arguments.get("behind", "")
    told = 0
    for sku in sorted(services.spec.articles):
        if sku <= behind:
            continue
        if told >= AT_ONCE:
            _send(OutboundMessage(command=PUBLISH, connection=message.connection, arguments={"behind": behind}), services)
            return
        for location in services.spec.locations:
            if message.connection in channels(location, services):
                told += _publish(message.connection, sku, location, services)
        behind = sku


# ------------------------------------------------------------------ what people are told


def watch(services: Services, now: datetime) -> int:
    """Sweeps that are due, and connections that have not counted for too long. How many messages were sent."""
    sent, policy = 0, services.spec.inventory
    if policy.publish != "off":
        every = timedelta(minutes=policy.schedule_minutes) if policy.publish == "schedule" else SWEEP_EVERY
        for connection in sorted({name for location in services.spec.locations for name in channels(location, services)}):
            if services.cursors.claim(f"publish#{connection}#sweep", until=now + every, now=now):
                _send(OutboundMessage(command=PUBLISH, connection=connection), services)
                sent += 1
    return sent


def stale(connection: str, last: str | None, services: Services, now: datetime) -> None:
    """``last``: when the connection's count was taken over. Once until it counts again; its count closes the exception."""
    if last is None or now - datetime.fromisoformat(last) <= timedelta(hours=services.spec.inventory.stale_hours):
        return
    raise_exception.episode(
        "STOCK_STALE",
        connection,
        f"{connection} has counted nothing since {datetime.fromisoformat(last):%Y-%m-%d %H:%M} UTC: what is promised of its locations rests on that",
        connection=connection,
        cause=Cause.SOURCE_DATA,
        remedy="look why it does not report; `crossdock inventory count` asks it now",
        services=services,
    )


def fresh(connection: str, services: Services) -> None:
    """The connection has counted."""
    services.cursors.put(f"stock#{connection}", services.clock.now().isoformat())
    raise_exception.close(exception_id("STOCK_STALE", connection), actor=raise_exception.SYSTEM, note=f"{connection} has counted", services=services)


def _watch_level(sku: str, services: Services) -> None:
    low = services.spec.inventory.low(sku)
    if low is None:
        return
    free = free_of(services.stock.everywhere(sku))
    if free < low:
        raise_exception.episode(
            "LOW_STOCK",
            sku,
            f"{plain(free)} of {sku} can be promised over all locations, fewer than {plain(low)}",
            cause=Cause.SOURCE_DATA,
            remedy="order or move stock; the exception closes itself when there is enough again",
            services=services,
        )
    else:
        raise_exception.close(exception_id("LOW_STOCK", sku), actor=raise_exception.SYSTEM, note=f"{plain(free)} can be promised", services=services)


def free_of(levels: Iterable[StockLevel]) -> Decimal:
    """What can be promised in all: a location that is over-committed takes nothing away from the others."""
    return sum((max(Decimal(0), level.available) for level in levels), Decimal(0))
