"""A warehouse has given a part up: which other location takes it, and what becomes of its stock, its lines in the ERP, and its release?

Each step is written down before the next one is begun, so whoever comes again goes on where the first one stopped:
the plan stands with the part, the reservation moves under a token, the ERP's lines move through the effect ledger, and only then a new part takes the old one's place.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from crossdock.domain.commands import Receipt
from crossdock.domain.exception_record import exception_id
from crossdock.domain.messages import OutboundMessage
from crossdock.domain.order_record import OrderRecord, OrderStatus, Part
from crossdock.domain.shipment import Fulfillment, PartStatus
from crossdock.domain.stock import ReservedLine, StockAdjustment
from crossdock.domain.tenant import RefusalRule
from crossdock.flows import allocate, progress, raise_exception, stock
from crossdock.flows.allocate import Need
from crossdock.flows.commands_of import line_key
from crossdock.flows.services import Services

MOVE = "MoveSalesOrderLines"
TRIES = 5
"""How often another location is looked for when stock is taken meanwhile."""
WITHOUT_LIMIT = Decimal(10) ** 9


def refused(record: OrderRecord, part: Part, reason: str, *, source: str, reference: str, services: Services) -> bool:
    """Whether the part goes elsewhere. False: a person must be asked."""
    rule = next((rule for rule in services.spec.routing.on_refusal if rule.fits(reason)), None)
    if rule is None:
        return False
    goes = rule.reroute and _may_move(record, part, services) and _moved(record.order_id, part.plan.part_id, services)
    _effect(part, rule, source=source, reference=reference, services=services)
    current = services.orders.get(record.order_id) or record
    standing = current.part(part.plan.part_id)
    if goes and standing is not None and standing.moves_to is not None:
        raise_exception.note_once(
            record.order_id,
            actor=raise_exception.SYSTEM,
            action="FulfillmentRerouting",
            summary=f"part {part.plan.part_id}: {reason}; goes to {standing.moves_to.location}"[:500],
            details={"part": part.plan.part_id},
            at=services.clock.now(),
            services=services,
        )
        go_on(current, services)
    return goes


def _may_move(record: OrderRecord, part: Part, services: Services) -> bool:
    """The ERP holds the order and can be told. That nothing has left and nobody calls it off is looked at in the write of the plan."""
    released = record.status in (OrderStatus.RELEASED, OrderStatus.PARTIALLY_SHIPPED) and record.sales_order is not None
    return part.moves_to is not None or (released and progress.can(services.spec.erp, MOVE, services))


def _needs(part: Part) -> list[Need]:
    return [
        Need(
            line_id=line.line_id,
            sku=line.sku,
            ordered=line.quantity,
            base=line.base_quantity,
            per_unit=Fraction(line.base_quantity) / Fraction(line.quantity.value),
            value=Decimal(0),
            group=None,
            components=line.takes(Decimal(1)) if line.components else {},
        )
        for line in part.plan.lines
    ]


def _moved(order_id: str, part_id: str, services: Services) -> bool:
    """Finds the location, writes it down, and moves the reservation there. False when none has all of it."""
    for _ in range(TRIES):
        record = services.orders.get(order_id)
        part = record.part(part_id) if record else None
        if record is None or part is None or not part.open:
            return part is not None  # another part has taken its place, or it has left all the same
        if part.moves_to is None:
            found = _elsewhere(record, part, services)
            if found is None:
                return False
            record = services.orders.change(order_id, lambda current, found=found: _with_plan(current, part_id, found))  # type: ignore[misc]
            part = record.part(part_id)
        if part is None or part.moves_to is None or part.shipped:
            return False
        if part.stock_moved:
            return True
        if _stock_there(order_id, part, part.moves_to, services):
            written = services.orders.change(order_id, lambda current: _noted(current, part_id)).part(part_id)
            if written is not None and written.stock_moved:
                return True
            _stock_back(order_id, part, part.moves_to, services)  # the goods left while the stock moved
        services.orders.change(order_id, lambda current: _without_plan(current, part_id))  # somebody was first: look again
    return False


def _stock_there(order_id: str, part: Part, to: Fulfillment, services: Services) -> bool:
    needed = _all_of(part)
    levels = services.stock.levels((sku, to.location) for sku in needed)
    reaches = {sku: allocate.reach(levels[sku, to.location], services.spec) for sku in needed if (sku, to.location) in levels}
    return _move(order_id, part.plan.location, to.location, needed, reaches, token=f"{part.plan.part_id}:move:{to.location}", services=services)


def _stock_back(order_id: str, part: Part, to: Fulfillment, services: Services) -> None:
    """What is counted where the goods were does not matter: they were reserved there, and have left."""
    needed = _all_of(part)
    reaches = dict.fromkeys(needed, WITHOUT_LIMIT)
    _move(order_id, to.location, part.plan.location, needed, reaches, token=f"{part.plan.part_id}:back:{to.location}", services=services)


def _move(order_id: str, origin: str, to: str, needed: dict[str, Decimal], reaches: dict[str, Decimal], *, token: str, services: Services) -> bool:
    gone = [ReservedLine(sku=sku, location=origin, quantity=count) for sku, count in needed.items()]
    there = [ReservedLine(sku=sku, location=to, quantity=count, reach=reaches.get(sku, Decimal(0))) for sku, count in needed.items()]
    done = services.stock.move(order_id, gone, there, token=token)
    if done:
        stock.changed(((line.sku, line.location) for line in (*gone, *there)), services)
    return done


def overtaken(record: OrderRecord, part: Part | None, services: Services) -> None:
    """The goods have left where they were given up: the reservation goes back there, and the plan is dropped."""
    to = part.moves_to if part is not None else None
    if part is None or to is None:
        return
    if part.stock_moved or _stock_there(record.order_id, part, to, services):  # under its token: whoever is about to move it finds it moved
        _stock_back(record.order_id, part, to, services)

    def stays(current: OrderRecord) -> OrderRecord | None:
        standing = current.part(part.plan.part_id)
        return None if standing is None or standing.moves_to is None else progress.replace_part(current, standing.model_copy(update={"moves_to": None, "stock_moved": False}))

    services.orders.change(record.order_id, stays)


def _elsewhere(record: OrderRecord, part: Part, services: Services) -> Fulfillment | None:
    """The first location of the order's routes that has all of it and no other part of the order."""
    spec, needs = services.spec, _needs(part)
    load = services.stock.load(spec.locations, day=f"{services.clock.now():%Y-%m-%d}") if spec.counts_parts else {}
    taken = {other.plan.location for other in record.parts} | {other.moves_to.location for other in record.parts if other.moves_to is not None}
    names = [name for name in allocate.places(allocate.routes(record.placed, spec, load)) if name not in taken]
    free = allocate.free_of(services.stock.levels((sku, name) for need in needs for sku in need.skus for name in names), spec)
    made = allocate.assign(needs, names, free, spec, split=False)
    if not made:
        return None
    location = made[0][1]
    return Fulfillment(part_id=f"{record.order_id}.{len(record.parts) + 1}", location=location, connection=spec.locations[location].connection, lines=part.plan.lines)


def _with_plan(record: OrderRecord, part_id: str, found: Fulfillment) -> OrderRecord | None:
    part = record.part(part_id)
    if part is None or not part.open or part.shipped or record.cancel_requested_at is not None:
        return None
    if part.moves_to is not None or record.part(found.part_id) is not None:
        return None  # somebody else made a plan
    return progress.replace_part(record, part.model_copy(update={"moves_to": found}))


def _noted(record: OrderRecord, part_id: str) -> OrderRecord | None:
    part = record.part(part_id)
    return None if part is None or part.moves_to is None or part.stock_moved else progress.replace_part(record, part.model_copy(update={"stock_moved": True}))


def _without_plan(record: OrderRecord, part_id: str) -> OrderRecord | None:
    part = record.part(part_id)
    return None if part is None or part.stock_moved else progress.replace_part(record, part.model_copy(update={"moves_to": None}))


def _effect(part: Part, rule: RefusalRule, *, source: str, reference: str, services: Services) -> None:
    """What the reason says of the pieces. Believed only of whoever counts them there, like every word on stock."""
    if rule.stock == "keep":
        return
    for line in progress.left_of(part):
        level = services.stock.level(line.sku, part.plan.location)
        gone = line.quantity if rule.stock == "take_off" else max(Decimal(0), level.on_hand) if level is not None else Decimal(0)
        if gone > 0:
            lost = StockAdjustment(
                sku=line.sku,
                location=part.plan.location,
                adjustment_id=f"{part.plan.part_id}/refused/{line.sku}"[:120],
                change=-gone,
                reason="refused by the warehouse",
                occurred_at=services.clock.now(),
            )
            stock.adjusted(lost, source=source, reference=reference, services=services)


def _all_of(part: Part) -> dict[str, Decimal]:
    """What was reserved for it, in base units by SKU."""
    return {line.sku: line.quantity for line in progress.left_of(part.model_copy(update={"shipped": {}}))}


def go_on(record: OrderRecord, services: Services) -> None:
    """Has the ERP told of every part that moves; again is harmless, the effect ledger knows."""
    for part in record.parts:
        if part.moves_to is not None and part.open and not part.shipped and record.cancel_requested_at is None and _moved(record.order_id, part.plan.part_id, services):
            progress.send_again(OutboundMessage(command=MOVE, connection=services.spec.erp, order_id=record.order_id, part_id=part.plan.part_id), record, services)


def is_off(message: OutboundMessage, record: OrderRecord) -> bool:
    """The goods have left where they were given up: the ERP's lines stay as they are."""
    part = record.part(message.part_id or "") if message.command == MOVE else None
    return part is not None and not part.rerouted and (part.moves_to is None or bool(part.shipped))


def is_moved(message: OutboundMessage, record: OrderRecord) -> bool:
    """Whether another part has taken the place of the one that the message is about: what is left to do is what follows from that."""
    part = record.part(message.part_id or "") if message.command == MOVE else None
    return part is not None and part.rerouted


def moved(message: OutboundMessage, receipt: Receipt | None, services: Services) -> None:
    """The ERP's lines stand at the new location: the new part takes the old one's place and is released. Again it does what the first time did not come to."""
    part_id, now = message.part_id or "", services.clock.now()

    def take_its_place(current: OrderRecord) -> OrderRecord | None:
        part = current.part(part_id)
        if part is None or part.moves_to is None or not part.open or part.shipped:
            return None
        to = part.moves_to
        level = services.spec.service_level
        new = Part(plan=to, acknowledge_by=now + timedelta(minutes=level.acknowledge_minutes), ship_by=part.ship_by)
        over = part.model_copy(update={"status": PartStatus.CANCELLED, "rerouted": True, "moves_to": None, "stock_moved": False})
        parts = (*(new if other.plan.part_id == part_id else other for other in current.parts), over)
        sales_order = current.sales_order
        names = {line_key(line.line_id, part.plan.location): line_key(line.line_id, to.location) for line in part.plan.lines}
        known = {names.get(key, key): value for key, value in sales_order.line_ids.items()} if sales_order else {}
        sales_order = sales_order and sales_order.model_copy(update={"line_ids": known})
        changed = current.model_copy(update={"parts": parts, "sales_order": sales_order, "updated_at": now})
        return changed.model_copy(update={"due_at": progress.next_deadline(changed, services)})

    record = services.orders.change(message.order_id or "", take_its_place)
    old = record.part(part_id)
    if old is not None and old.shipped and not old.rerouted:
        raise_exception.business(
            "FULFILLMENT_REFUSED",
            f"part {part_id} was given up and shipped from {old.plan.location} all the same, after its lines were moved in the ERP",
            record=record,
            services=services,
            what=part_id,
            connection=message.connection,
            remedy=f"set the location of the lines of sales order {record.sales_order.number if record.sales_order else ''} back to {old.plan.location}",
            since=now,
        )
    if old is None or not old.rerouted:
        return
    raise_exception.note_once(
        record.order_id,
        actor=message.connection,
        action="FulfillmentRerouted",
        summary=f"what {old.plan.location} gave up ships from elsewhere",
        details={"part": part_id},
        at=now,
        services=services,
    )
    raise_exception.close(exception_id("FULFILLMENT_REFUSED", record.order_id, part_id), actor=raise_exception.SYSTEM, note="it ships from elsewhere", services=services)
    raise_exception.close(exception_id("ACKNOWLEDGEMENT_MISSING", record.order_id, part_id), actor=raise_exception.SYSTEM, note="it ships from elsewhere", services=services)
    for part in record.parts if record.cancel_requested_at is None else ():
        if part.open and part.released_at is None and not progress.is_intangible(part, record):
            release = OutboundMessage(command="ReleaseFulfillment", connection=part.plan.connection, order_id=record.order_id, part_id=part.plan.part_id)
            progress.send_again(release, record, services)
