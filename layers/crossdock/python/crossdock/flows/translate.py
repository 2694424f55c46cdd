"""What does a delivery mean in canonical words, and how does it get onto the bus?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from crossdock.domain.connector import Occurrence
from crossdock.domain.delivery import Delivery, DeliveryStatus
from crossdock.domain.errors import NeedsPerson
from crossdock.domain.events import (
    AccountChanged,
    Event,
    Fact,
    OrderPlaced,
    OrderUpdated,
    PriceChanged,
    ProductChanged,
    ReturnReceived,
    ReturnRequested,
    ShipmentDispatched,
    StockAdjusted,
    StockCounted,
    event_id,
)
from crossdock.domain.order import Order
from crossdock.domain.price import Price
from crossdock.domain.quantity import Quantity
from crossdock.domain.return_ import ExchangeLine, Return, ReturnLine
from crossdock.flows.services import Services

AnyReturnLine = TypeVar("AnyReturnLine", ReturnLine, ExchangeLine)


def _our_order(order: Order, connection: str, services: Services, known: Order | None = None) -> Order:
    """``known`` is the order as it stands here: a name that a person has corrected in it stays corrected when the sender repeats the old one."""
    lines = tuple(
        line.model_copy(
            update={
                "sku": _corrected(lambda line=line: services.xref.our_sku(connection, line.sku), _standing_sku(known, line.external_id)),  # type: ignore[misc]
                "quantity": Quantity(value=line.quantity.value, unit=services.xref.our_unit(connection, line.quantity.unit)),
            }
        )
        for line in order.lines
    )
    account = _corrected(lambda: services.xref.account(connection, order.customer.external_ids), known.customer.account if known else None)
    return order.model_copy(update={"lines": lines, "customer": order.customer.model_copy(update={"account": account})})


def _standing_sku(known: Order | None, external_id: str) -> str | None:
    return next((line.sku for line in known.lines if line.external_id == external_id), None) if known else None


def _corrected(look_up: Callable[[], str], standing: str | None) -> str:
    try:
        return look_up()
    except NeedsPerson:
        if standing is None:
            raise
        return standing


def _known(order_id: str, services: Services) -> Order | None:
    record = services.orders.get(order_id)
    return record.order if record else None


def in_our_words(fact: Fact, connection: str, services: Services) -> Fact:
    """The fact with SKU, unit, location and account cross-referenced. A value without entry raises ``MISSING_XREF``."""
    if isinstance(fact, OrderPlaced):
        return fact.model_copy(update={"order": _our_order(fact.order, connection, services)})
    if isinstance(fact, OrderUpdated):
        return fact.model_copy(update={"order": _our_order(fact.order, connection, services, _known(fact.order.order_id, services))})
    if isinstance(fact, ShipmentDispatched):
        lines = tuple(line.model_copy(update={"sku": services.xref.our_sku(connection, line.sku)}) for line in fact.shipment.lines)
        return fact.model_copy(update={"shipment": fact.shipment.model_copy(update={"lines": lines})})
    if isinstance(fact, StockCounted):
        reading = fact.reading
        return fact.model_copy(
            update={
                "reading": reading.model_copy(update={"sku": services.xref.our_sku(connection, reading.sku), "location": services.xref.our_location(connection, reading.location)})
            }
        )
    if isinstance(fact, StockAdjusted):
        change = fact.adjustment
        ours = {"sku": services.xref.our_sku(connection, change.sku), "location": services.xref.our_location(connection, change.location)}
        return fact.model_copy(update={"adjustment": change.model_copy(update=ours)})
    if isinstance(fact, ReturnRequested):
        return fact.model_copy(update={"return_": _our_return(fact.return_, connection, services)})
    if isinstance(fact, ReturnReceived):
        came = tuple(line.model_copy(update={"sku": services.xref.our_sku(connection, line.sku)}) for line in fact.receipt.lines)
        return fact.model_copy(update={"receipt": fact.receipt.model_copy(update={"lines": came})})
    if isinstance(fact, PriceChanged):
        return fact.model_copy(update={"price": _our_price(fact.price, connection, services)})
    if isinstance(fact, ProductChanged):
        ours = {"sku": services.xref.our_sku(connection, fact.product.sku), "base_unit": services.xref.our_unit(connection, fact.product.base_unit)}
        return fact.model_copy(update={"product": fact.product.model_copy(update=ours)})
    if isinstance(fact, AccountChanged):
        ours = {"account": _our_account(fact.account.account, connection, services)}
        return fact.model_copy(update={"account": fact.account.model_copy(update=ours)})
    return fact


def _our_price(price: Price, connection: str, services: Services) -> Price:
    unit = services.xref.our_unit(connection, price.unit)
    minimum = None if price.minimum is None else Quantity(value=price.minimum.value, unit=unit)
    account = price.account and _our_account(price.account, connection, services)
    return price.model_copy(update={"sku": services.xref.our_sku(connection, price.sku), "unit": unit, "minimum": minimum, "account": account})


def _our_account(named: str, connection: str, services: Services) -> str:
    """A connection that names customers in its own way is looked up; the owner of customers, and any other, uses our account numbers."""
    foreign = connection in services.spec.cross_references.customers and connection != services.spec.owner("customers")
    return services.xref.account(connection, (named,)) if foreign else named


def _our_return(asked: Return, connection: str, services: Services) -> Return:
    def ours(line: AnyReturnLine) -> AnyReturnLine:
        return line.model_copy(
            update={
                "sku": services.xref.our_sku(connection, line.sku),
                "quantity": Quantity(value=line.quantity.value, unit=services.xref.our_unit(connection, line.quantity.unit)),
            }
        )

    return asked.model_copy(update={"lines": tuple(ours(line) for line in asked.lines), "exchange": tuple(ours(line) for line in asked.exchange)})


def events_of(delivery: Delivery, services: Services) -> tuple[list[Event], str | None]:
    """The canonical events of a delivery, or none and the reason why it is ignored by name. No effect: also the pre-flight of an edit."""
    translation = services.connectors.connector(delivery.connection).translate(delivery)
    events, elsewhere = [], []
    for position, occurrence in enumerate(translation.occurrences):
        if isinstance(occurrence.fact, PriceChanged | ProductChanged) and not _is_ours(occurrence.fact, delivery.connection, services):
            elsewhere.append(occurrence.fact.subject)
        else:
            events.append(_event(delivery, position, occurrence, services))
    if elsewhere and not events:
        return [], f"no article of this tenant: {', '.join(sorted(set(elsewhere)))}"[:500]
    return events, translation.ignored


def _is_ours(fact: PriceChanged | ProductChanged, connection: str, services: Services) -> bool:
    """Owners of master data describe everything they have; the tenant runs some of it through this stack."""
    try:
        services.xref.our_sku(connection, fact.subject)
    except NeedsPerson:
        return False
    return True


def _event(delivery: Delivery, position: int, occurrence: Occurrence, services: Services) -> Event:
    fact = in_our_words(occurrence.fact, delivery.connection, services)
    return Event(
        id=event_id(delivery.delivery_id, position),
        tenant=services.spec.tenant,
        source=delivery.connection,
        subject=fact.subject[:200],
        occurred_at=occurrence.occurred_at,
        received_at=delivery.received_at,
        correlation_id=fact.subject,
        causation_id=delivery.delivery_id,
        fact=fact,
    )


def translate(delivery_id: str, services: Services) -> DeliveryStatus:
    """Translates a stored delivery and publishes its events. Safe to run again: settled deliveries are left alone, event ids are deterministic."""
    note = services.deliveries.note(delivery_id)
    if note is not None and note.status in (DeliveryStatus.DONE, DeliveryStatus.IGNORED, DeliveryStatus.DISCARDED):
        return note.status
    delivery = services.deliveries.load(delivery_id)
    events, ignored = events_of(delivery, services)
    now = services.clock.now()
    if ignored is not None:
        services.deliveries.settle(delivery_id, DeliveryStatus.IGNORED, now=now, reason=ignored)
        return DeliveryStatus.IGNORED
    services.bus.publish(events)
    services.deliveries.settle(delivery_id, DeliveryStatus.DONE, now=now, events=[f"{event.type}:{event.subject}" for event in events])
    return DeliveryStatus.DONE
