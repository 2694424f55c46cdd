"""A fact has come over the bus: what does it change, and to which order does it belong?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import partial

from crossdock.domain.errors import Cause, ConcurrentChange
from crossdock.domain.events import (
    Event,
    FulfillmentAcknowledged,
    FulfillmentRefused,
    OrderCancelled,
    OrderPlaced,
    OrderUpdated,
    PriceChanged,
    ProductChanged,
    ReturnAnnounced,
    ReturnReceived,
    ReturnRequested,
    ReturnWithdrawn,
    ShipmentDelivered,
    ShipmentDispatched,
    StockAdjusted,
    StockCounted,
    fingerprint,
)
from crossdock.domain.exception_record import exception_id
from crossdock.domain.order import Order
from crossdock.domain.order_record import TERMINAL, BookedLine, BookedShipment, OrderRecord, OrderStatus, Parked, Part
from crossdock.domain.shipment import PartLine, PartStatus, Shipment
from crossdock.domain.stock import ReservedLine
from crossdock.flows import customers, prices, progress, raise_exception, reroute, returns, stock
from crossdock.flows import order as order_flow
from crossdock.flows.services import Services

SHARE = Decimal("0.00001")
"""How exactly a share of a case is kept: what ERPs hold of a quantity."""

PARKED_FOR = timedelta(hours=24)
"""How long a fact waits for what it belongs to before it becomes an exception: vendors deliver up to a day late."""


def apply(event: Event, services: Services) -> None:
    """Applies one event. Applying it again, or after later ones, ends in the same state."""
    fact = event.fact
    if isinstance(fact, OrderPlaced):
        _placed(event, fact.order, services)
    elif isinstance(fact, OrderUpdated):
        _updated(event, fact.order, services)
    elif isinstance(fact, OrderCancelled):
        _cancelled(event, fact, services)
    elif isinstance(fact, FulfillmentAcknowledged):
        _acknowledged(event, fact, services)
    elif isinstance(fact, ShipmentDispatched):
        _dispatched(event, fact.shipment, services)
    elif isinstance(fact, FulfillmentRefused):
        _refused(event, fact, services)
    elif isinstance(fact, ShipmentDelivered):
        _delivered(event, fact, services)
    elif isinstance(fact, StockCounted):
        stock.counted(fact.reading, source=event.source, reference=event.causation_id, services=services)
    elif isinstance(fact, StockAdjusted):
        stock.adjusted(fact.adjustment, source=event.source, reference=event.causation_id, services=services)
    elif isinstance(fact, ReturnAnnounced):
        returns.announced(event, fact, services)
    elif isinstance(fact, ReturnRequested):
        returns.requested(event, fact, services)
    elif isinstance(fact, ReturnWithdrawn):
        returns.withdrawn(event, fact, services)
    elif isinstance(fact, ReturnReceived):
        returns.received(event, fact, services)
    elif isinstance(fact, PriceChanged):
        prices.changed(event, fact, services)
    elif isinstance(fact, ProductChanged):
        prices.described(event, fact, services)
    else:
        customers.changed(event, fact, services)


# ------------------------------------------------------------------ the order itself


def _placed(event: Event, order: Order, services: Services) -> None:
    now = services.clock.now()
    fresh = OrderRecord(
        order_id=order.order_id,
        status=OrderStatus.ACCEPTED,
        accepted_at=event.received_at,
        updated_at=now,
        source=event.source,
        order=order,
        source_content=_content(order),
        account=order.customer.account,
        due_at=now + timedelta(seconds=services.spec.service_level.accept_seconds),
    )
    new = services.orders.add(fresh)
    if not new:
        standing = services.orders.get(order.order_id)
        if standing is None:
            raise ConcurrentChange("CONCURRENT_CHANGE", f"order {order.order_id} appeared and vanished")
        if standing.status is OrderStatus.CANCELLED and standing.waiting is None:
            _cancel_before_start(standing, services)
        if standing.status is not OrderStatus.ANNOUNCED and (standing.status in TERMINAL or services.workflow.running(order.order_id) is not None):
            return
        # Else it was announced by something that overtook it, or a crash lay between its record and its start.

        def accept(current: OrderRecord) -> OrderRecord | None:
            if current.status is not OrderStatus.ANNOUNCED:
                return None
            return fresh.model_copy(
                update={"version": current.version, "cancel_requested_at": current.cancel_requested_at, "cancel_reason": current.cancel_reason, "accepted_at": current.accepted_at}
            )

        services.orders.change(order.order_id, accept)
        raise_exception.close(exception_id("ORDER_NEVER_ARRIVED", order.order_id), actor=raise_exception.SYSTEM, note="the order came", services=services)
    note = services.audit.append if new else partial(raise_exception.note_once, services=services)
    note(
        order.order_id,
        actor=event.source,
        action="OrderPlaced",
        summary=f"{order.number}: {len(order.lines)} line(s), {order.total}",
        details={"delivery": event.causation_id, "account": order.customer.account or ""},
        at=event.received_at,
    )
    current = services.orders.get(order.order_id)
    if current is not None and current.cancel_requested_at is not None:
        _cancel_before_start(current, services)
        return
    services.workflow.start(order.order_id)
    progress.rejoin([order.order_id], order.order_id, services)


def _cancel_before_start(record: OrderRecord, services: Services) -> None:
    """The cancellation was here first: nothing has been done, nothing is to be undone."""
    now = services.clock.now()
    services.orders.change(
        record.order_id,
        lambda current: (
            progress.with_status(current, OrderStatus.CANCELLED, now).model_copy(update={"due_at": None, "completed_at": now})
            if current.status is not OrderStatus.CANCELLED
            else None
        ),
    )
    raise_exception.note_once(
        record.order_id, actor=raise_exception.SYSTEM, action="OrderCancelled", summary="cancelled before it was started", details={}, at=now, services=services
    )


def _content(order: Order) -> str:
    """Fingerprint of what of an order matters for fulfilling and billing it."""
    content = {
        "lines": [
            (line.line_id, line.sku, str(line.quantity), line.unit_price.exact(), line.discount.exact(), line.tax.exact(), line.requires_shipping)
            for line in sorted(order.lines, key=lambda line: line.line_id)
        ],
        "ship_to": order.ship_to.as_json(),
        "account": order.customer.account,
        "total": order.total.exact(),
        "freight": (order.freight.exact(), order.freight_tax.exact(), order.shipping_method),
    }
    return fingerprint(content)


def _updated(event: Event, order: Order, services: Services) -> None:
    record = services.orders.get(order.order_id)
    if record is None or record.status is OrderStatus.ANNOUNCED:
        _placed(event, order, services)  # the update overtook the order: it holds all of it
        return
    if record.order is None or order.source_version <= record.order.source_version:
        return
    if _content(order) == record.source_content:
        # Nothing to do; but known, so that a poll that finds this version need not fetch it.
        services.orders.change(order.order_id, lambda current: _seen(current, order.source_version))
        return
    now = services.clock.now()
    taken = older = False

    def take_over(current: OrderRecord) -> OrderRecord | None:
        nonlocal taken, older
        older = current.order is not None and order.source_version <= current.order.source_version
        taken = not older and not current.parts and current.sales_order is None and current.status in (OrderStatus.ACCEPTED, OrderStatus.HELD)
        return current.model_copy(update={"order": order, "source_content": _content(order), "account": order.customer.account, "updated_at": now}) if taken else None

    record = services.orders.change(order.order_id, take_over)
    if taken:
        services.audit.append(
            order.order_id, actor=event.source, action="OrderUpdated", summary="newer version taken over before reservation", details={"delivery": event.causation_id}, at=now
        )
    if taken or older or record.status in (*TERMINAL, OrderStatus.CANCELLING):
        return
    raise_exception.business(
        "ORDER_CHANGED_AFTER_POSTING",
        f"the storefront changed the order after it was reserved ({event.causation_id})",
        record=record,
        services=services,
        what=order.source_version,
        cause=Cause.SOURCE_DATA,
        connection=event.source,
        remedy="carry the change into the sales order and the warehouse by hand, or cancel and place anew",
        since=event.occurred_at,
    )


def _seen(current: OrderRecord, version: str) -> OrderRecord | None:
    if current.order is None or version <= current.order.source_version:
        return None
    return current.model_copy(update={"order": current.order.model_copy(update={"source_version": version})})


def _cancelled(event: Event, fact: OrderCancelled, services: Services) -> None:
    now = services.clock.now()
    record = services.orders.get(fact.order_id)
    if record is None:
        announced = OrderRecord(
            order_id=fact.order_id,
            status=OrderStatus.ANNOUNCED,
            accepted_at=event.received_at,
            updated_at=now,
            source=event.source,
            cancel_requested_at=fact.cancelled_at,
            cancel_reason=fact.reason,
            due_at=now + PARKED_FOR,
        )
        if services.orders.add(announced):
            services.audit.append(
                fact.order_id, actor=event.source, action="EventParked", summary="the cancellation came before the order", details={"delivery": event.causation_id}, at=now
            )
            return
        record = services.orders.get(fact.order_id)
    if record is not None and record.status is OrderStatus.COMPLETED:
        raise_exception.business(
            "CANCEL_REFUSED",
            "the storefront cancelled an order that is shipped and invoiced",
            record=record,
            services=services,
            what="completed",
            cause=Cause.SOURCE_DATA,
            connection=event.source,
            remedy="agree a return with the customer",
            since=fact.cancelled_at,
        )
        return
    if record is not None and record.cancel_refused_at is not None:
        return  # it was answered: too late
    if record is not None and record.status is OrderStatus.ANNOUNCED:
        record = services.orders.change(
            fact.order_id,
            lambda current: (
                current.model_copy(update={"cancel_requested_at": fact.cancelled_at, "cancel_reason": fact.reason})
                if current.status is OrderStatus.ANNOUNCED and current.cancel_requested_at is None
                else None
            ),
        )
        if record.status is OrderStatus.ANNOUNCED:
            raise_exception.note_once(
                fact.order_id,
                actor=event.source,
                action="EventParked",
                summary="the cancellation came before the order",
                details={"delivery": event.causation_id},
                at=now,
                services=services,
            )
            return
    order_flow.request_cancel(fact.order_id, reason=fact.reason or "cancelled in the storefront", tell_source=False, actor=event.source, services=services)


# ------------------------------------------------------------------ what warehouses tell


@dataclass(frozen=True)
class Found:
    """The order a warehouse's message is about, and the part if it says which."""

    record: OrderRecord
    part: Part | None


def _find(source: str, services: Services, *, order_id: str | None, references: list[str]) -> Found | None:
    for reference in references:
        if not reference:
            continue
        owner = reference.rpartition(".")[0]
        record = services.orders.get(owner) if owner else None
        if record is not None and record.part(reference) is not None:
            return Found(record, record.part(reference))
        known = services.orders.referred(source, reference)
        if known is not None:
            record = services.orders.get(known[0])
            if record is not None:
                return Found(record, record.part(known[1]) if known[1] else None)
    if order_id is not None:
        record = services.orders.get(order_id)
        if record is not None and record.parts:
            return Found(record, None)
    return None


def _park(event: Event, order_id: str | None, references: list[str], services: Services, *, is_here: Callable[[], bool]) -> None:
    """What it belongs to is not here yet: it waits under the name by which it will be found. ``is_here`` is asked once more
    afterwards: what came in between has looked for it too early."""
    now = services.clock.now()
    name = next((reference for reference in references if reference), order_id or event.id)
    services.orders.park(name, source=event.source, item=Parked(event_json=event.model_dump_json(by_alias=True, exclude_none=True), parked_at=now, until=now + PARKED_FOR))
    services.audit.append(name, actor=event.source, action="EventParked", summary=f"{event.type} came before what it belongs to", details={"delivery": event.causation_id}, at=now)
    if is_here():
        progress.rejoin([name], name, services)


def _acknowledged(event: Event, fact: FulfillmentAcknowledged, services: Services) -> None:
    references = [fact.part_reference, fact.external_id or ""]

    def find() -> Found | None:
        return _find(event.source, services, order_id=None, references=references)

    found = find()
    if found is None or found.part is None:
        _park(event, fact.order_id, references, services, is_here=lambda: _has_part(find()))
        return
    part_id = found.part.plan.part_id
    acknowledge(found.record.order_id, part_id, at=fact.acknowledged_at, actor=event.source, external_id=fact.external_id, services=services)


def _has_part(found: Found | None) -> bool:
    return found is not None and found.part is not None


def acknowledge(order_id: str, part_id: str, *, at: object, actor: str, external_id: str | None, services: Services) -> None:
    now = services.clock.now()
    first = False

    def note(current: OrderRecord) -> OrderRecord | None:
        nonlocal first
        part = current.part(part_id)
        if part is None or part.acknowledged_at is not None:
            first = False
            return None
        first = True
        status = PartStatus.ACKNOWLEDGED if part.status in (PartStatus.PLANNED, PartStatus.RELEASED) else part.status
        changed = progress.replace_part(current, part.model_copy(update={"status": status, "acknowledged_at": at, "external_id": part.external_id or external_id}))
        return changed.model_copy(update={"due_at": progress.next_deadline(changed, services), "updated_at": now})

    record = services.orders.change(order_id, note)
    part = record.part(part_id)
    if part is not None and part.acknowledged_at is not None:
        note_it = services.audit.append if first else partial(raise_exception.note_once, services=services)
        note_it(order_id, actor=actor, action="FulfillmentAcknowledged", summary=f"part {part_id} accepted", details={"part": part_id}, at=now)
        raise_exception.close(exception_id("ACKNOWLEDGEMENT_MISSING", record.order_id, part_id), actor=raise_exception.SYSTEM, note="the acknowledgement came", services=services)


def _dispatched(event: Event, shipment: Shipment, services: Services) -> None:
    references = [shipment.part_reference]

    def find() -> Found | None:
        return _find(event.source, services, order_id=shipment.order_id, references=references)

    found = find()
    if found is None:
        _park(event, shipment.order_id, references, services, is_here=lambda: find() is not None)
        return
    record = book(found.record.order_id, found.part.plan.part_id if found.part else None, shipment, source=event.source, services=services)
    progress.send_settlement(record, services)
    returns.goods_left(found.record.order_id, services)
    progress.advance(found.record.order_id, services)


def _booking(record: OrderRecord, part_id: str | None, shipment: Shipment, *, in_base_units: bool) -> tuple[list[BookedShipment], list[str]]:
    """The shipment's lines spread over the parts they can belong to; and what belongs to none (more than was ordered)."""
    candidates = [
        part
        for part in record.parts
        if part.plan.connection == shipment.connection and part.status is not PartStatus.CANCELLED and (part_id is None or part.plan.part_id == part_id)
    ]
    taken: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    loose: dict[str, Decimal] = defaultdict(Decimal)

    def book_line(part: Part, planned: PartLine, offered: Decimal) -> Decimal:
        """Books as much of what is offered as the line has room for; how much that was, in the sender's count."""
        room = part.remaining(planned.line_id) - taken[part.plan.part_id][planned.line_id]
        counted = progress.in_base_units(planned, room) if in_base_units else room
        take = min(offered, counted)
        if take > 0:
            # The last share takes exactly what is left of the line, so that the shares of a case add up to the case.
            share = room if take == counted else (planned.quantity.value * take / planned.base_quantity).quantize(SHARE) if in_base_units else take
            taken[part.plan.part_id][planned.line_id] += share
        return max(take, Decimal(0))

    for line in shipment.lines:
        left = line.quantity
        for part in candidates:
            for planned in part.plan.lines:
                if planned.sku == line.sku and line.line_id in (None, planned.line_id) and left > 0:
                    left -= book_line(part, planned, left)
        if left > 0:
            loose[line.sku] += left
    _bundles_of(loose, candidates, book_line, in_base_units=in_base_units)
    surplus = [f"{count:f} of {sku}" for sku, count in loose.items() if count > 0]
    used = [part for part in candidates if taken.get(part.plan.part_id)]
    booked = []
    for number, part in enumerate(used, start=1):
        shipment_id = shipment.shipment_id if len(used) == 1 else f"{shipment.shipment_id}.{number}"
        booked.append(
            BookedShipment(
                shipment=shipment.model_copy(update={"shipment_id": shipment_id}),
                part_id=part.plan.part_id,
                location=part.plan.location,
                lines=tuple(BookedLine(line_id=line_id, quantity=quantity) for line_id, quantity in taken[part.plan.part_id].items()),
                late=part.ship_by is not None and shipment.dispatched_at > part.ship_by,
            )
        )
    return booked, surplus


def _bundles_of(loose: dict[str, Decimal], parts: list[Part], book_line: Callable[[Part, PartLine, Decimal], Decimal], *, in_base_units: bool) -> None:
    """A warehouse that packs bundles may tell of what they are made of. Whole bundles are booked as such and taken out of ``loose``."""
    for part in parts:
        for planned in (line for line in part.plan.lines if line.components):
            one = planned.takes(Decimal(1))
            whole = min(loose.get(sku, Decimal(0)) // count for sku, count in one.items())
            per_unit = Decimal(1) if in_base_units else planned.base_quantity / planned.quantity.value
            booked = book_line(part, planned, whole / per_unit) * per_unit if whole > 0 else Decimal(0)
            for sku, count in one.items():
                loose[sku] -= count * booked


def book(order_id: str, part_id: str | None, shipment: Shipment, *, source: str, services: Services) -> OrderRecord:
    """Joins a shipment to its part(s), once. A repeat does what the first time may not have come to, and nothing else."""
    now = services.clock.now()
    in_base_units = services.connectors.manifest(source).ships_in_base_units
    new: list[BookedShipment] = []
    surplus: list[str] = []

    def join(current: OrderRecord) -> OrderRecord | None:
        nonlocal new, surplus
        new, surplus = [], []
        if any(_is_of(booked, shipment) for booked in current.shipments):
            surplus = _surplus(current, shipment, in_base_units=in_base_units)
            return None
        new, surplus = _booking(current, part_id, shipment, in_base_units=in_base_units)
        changed = current
        for booked in new:
            part = next(part for part in changed.parts if part.plan.part_id == booked.part_id)
            shipped = dict(part.shipped)
            for line in booked.lines:
                shipped[line.line_id] = shipped.get(line.line_id, Decimal(0)) + line.quantity
            part = part.model_copy(update={"shipped": shipped})
            done = all(part.remaining(line.line_id) <= 0 for line in part.plan.lines)
            changed = progress.replace_part(changed, part.model_copy(update={"status": PartStatus.SHIPPED if done else PartStatus.PARTIALLY_SHIPPED}))
        changed = changed.model_copy(update={"shipments": (*changed.shipments, *new), "updated_at": now})
        changed = progress.caught_up(changed, now)
        return changed.model_copy(update={"due_at": progress.next_deadline(changed, services)})

    record = services.orders.change(order_id, join)
    # Also on a repeat: the first time may have ended between the record and what follows from it.
    for booked in (booked for booked in record.shipments if _is_of(booked, shipment)):
        part = record.part(booked.part_id)
        reroute.overtaken(record, part, services)
        place = services.spec.locations[booked.location]
        # Only who works a location and counts it by itself has taken the goods off its count at the moment they left.
        left_at = booked.shipment.dispatched_at if place.stock_from == place.connection == source else None
        services.stock.consume(order_id, _base_lines(record, booked), token=booked.shipment.shipment_id, at=now, left_at=left_at)
        services.orders.refer("shipment", booked.shipment.shipment_id, order_id, booked.part_id)
        tracking = ", ".join(package.tracking_number for package in booked.shipment.packages if package.tracking_number)
        note = services.audit.append if new else partial(raise_exception.note_once, services=services)
        note(
            order_id,
            actor=source,
            action="ShipmentDispatched",
            summary=f"part {booked.part_id} from {booked.location}" + (f", tracking {tracking}" if tracking else ""),
            details={"shipment": booked.shipment.shipment_id},
            at=now,
        )
        for code in ("ACKNOWLEDGEMENT_MISSING", *(("SHIPMENT_OVERDUE", "FULFILLMENT_REFUSED") if part is not None and not part.open else ())):
            raise_exception.close(exception_id(code, order_id, booked.part_id), actor=raise_exception.SYSTEM, note="the shipment came", services=services)
        if booked.late:
            raise_exception.business(
                "SHIPPED_LATE",
                f"part {booked.part_id} left after the promised window",
                record=record,
                services=services,
                what=booked.shipment.shipment_id,
                connection=source,
                since=shipment.dispatched_at,
            )
        progress.rejoin([booked.shipment.shipment_id], order_id, services)
    if surplus:
        raise_exception.business(
            "OVER_SHIPMENT",
            f"shipment {shipment.external_id} holds more than was ordered: {'; '.join(surplus)}",
            record=record,
            services=services,
            what=shipment.shipment_id,
            connection=source,
            remedy="ask the warehouse; correct its shipment or agree with the customer",
            since=shipment.dispatched_at,
        )
    return record


def _is_of(booked: BookedShipment, shipment: Shipment) -> bool:
    """Whether it was booked from this message of the warehouse (which may have been spread over several parts)."""
    return booked.shipment.external_id == shipment.external_id and booked.shipment.connection == shipment.connection


def _surplus(record: OrderRecord, shipment: Shipment, *, in_base_units: bool) -> list[str]:
    """What of a shipment that was booked before found no place then."""
    left: dict[str, Decimal] = defaultdict(Decimal)
    for line in shipment.lines:
        left[line.sku] += line.quantity
    for booked in (booked for booked in record.shipments if _is_of(booked, shipment)):
        part = record.part(booked.part_id)
        for done in booked.lines:
            planned = next((line for line in part.plan.lines if line.line_id == done.line_id), None) if part else None
            sku = record.placed.line(done.line_id).sku
            count = progress.in_base_units(planned, done.quantity) if in_base_units and planned is not None else done.quantity
            if sku in left or planned is None:
                left[sku] -= count
            else:  # a bundle that was told of by what it is made of
                for component, pieces in planned.takes(count).items():
                    left[component] -= pieces
    return [f"{quantity:f} of {sku}" for sku, quantity in left.items() if quantity > 0]


def _base_lines(record: OrderRecord, booked: BookedShipment) -> list[ReservedLine]:
    part = record.part(booked.part_id)
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for line in booked.lines:
        planned = next((candidate for candidate in part.plan.lines if candidate.line_id == line.line_id), None) if part else None
        if planned is not None:
            for sku, count in planned.takes(progress.in_base_units(planned, line.quantity)).items():
                sums[sku] += count
    return [ReservedLine(sku=sku, location=booked.location, quantity=quantity) for sku, quantity in sums.items()]


def _refused(event: Event, fact: FulfillmentRefused, services: Services) -> None:
    references = [fact.part_reference, fact.external_id or ""]

    def find() -> Found | None:
        return _find(event.source, services, order_id=fact.order_id, references=references)

    found = find()
    if found is None or found.part is None:
        _park(event, fact.order_id, references, services, is_here=lambda: _has_part(find()))
        return
    record, part = found.record, found.part
    if fact.final and (record.status in (OrderStatus.CANCELLING, OrderStatus.CANCELLED) or part.status is PartStatus.CANCELLED):
        return  # the echo of our own cancellation
    if part.status is PartStatus.SHIPPED:
        return  # overtaken: it has left all the same
    if fact.final and reroute.refused(record, part, fact.reason, source=event.source, reference=event.causation_id, services=services):
        return
    raise_exception.business(
        "FULFILLMENT_REFUSED",
        f"part {part.plan.part_id} at {part.plan.location}: {fact.reason}",
        record=record,
        services=services,
        what=part.plan.part_id,
        connection=event.source,
        remedy="solve it with the warehouse, or cancel the order",
        since=fact.refused_at,
    )


def _delivered(event: Event, fact: ShipmentDelivered, services: Services) -> None:
    def find() -> str | None:
        known = services.orders.referred("shipment", fact.shipment_id)
        if known is not None:
            return known[0]
        found = _find(event.source, services, order_id=fact.order_id, references=[fact.part_reference])
        return found.record.order_id if found else None

    order_id = find()
    if order_id is None:
        _park(event, None, [fact.part_reference or fact.order_id or fact.shipment_id], services, is_here=lambda: find() is not None)
        return
    raise_exception.note_once(
        order_id,
        actor=event.source,
        action="ShipmentDelivered",
        summary=f"{fact.shipment_id} delivered",
        details={"shipment": fact.shipment_id},
        at=fact.delivered_at,
        services=services,
    )
