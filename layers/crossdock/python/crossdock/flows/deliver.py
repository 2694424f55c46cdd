"""A command must reach its system exactly once, whatever breaks on the way: the effect ledger decides what may be called."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from crossdock.domain.commands import Intent, Receipt
from crossdock.domain.delivery import Delivery, inbound_message
from crossdock.domain.effect import Effect, EffectState
from crossdock.domain.errors import ContractDrift, CrossdockError, NeedsPerson, Rejected, RetryLater, UnknownOutcome
from crossdock.domain.messages import OutboundMessage
from crossdock.domain.order_record import OrderRecord, OrderStatus, SalesOrder
from crossdock.domain.shipment import PartStatus
from crossdock.domain.stage import QueueName
from crossdock.flows import circuit, facts, prices, progress, raise_exception, reconcile, reroute, returns, stock
from crossdock.flows import order as order_flow
from crossdock.flows.commands_of import intent_of
from crossdock.flows.receive import safe_id
from crossdock.flows.services import Services

LEASE_SECONDS = 60
"""Longer than the function may run: within it nobody else touches the effect."""
AWAITED_ROUNDS = 60
"""After so many awaited polls it is looked whether anything is still awaited; if not, the manifest's ordinary rhythm is enough."""

BROKEN_OFF_AFTER = timedelta(minutes=1)
"""A poll so much later than its turn was lost: the next one to come starts the rhythm anew."""

LONGEST_DELAY_SECONDS = 900
"""The longest delay the queue knows."""

REPAIR = "repair"
"""The argument of a command that is sent again because its effect is missed."""

_FORWARD = frozenset({"CreateSalesOrder", "ReleaseFulfillment", reroute.MOVE})
"""Commands that must not leave any more once the order is being cancelled."""


def deliver(message: OutboundMessage, services: Services) -> bool:
    """Delivers one command. True when its effect is confirmed and recorded (now or before); raises a classified error otherwise.

    False when it is not the command that failed: the connection is out, or its budget of calls is spent. A fresh copy then waits in the
    queue, with all its tries and its whole retention before it, and this one is over.
    """
    if message.command == "PollConnection":
        poll(message, services)
        return True
    work = {
        "PullStock": pull_stock,
        stock.PUBLISH: stock.publish,
        prices.SET_PRICE: prices.publish,
        reconcile.RECONCILE: reconcile.work,
        reconcile.PULL_ORDER: reconcile.pull_order,
        reconcile.TAKE_COUNT: reconcile.take_count,
        returns.FETCH: returns.fetch,
    }.get(message.command, _deliver if message.return_id is None else _deliver_return)
    waits = circuit.wait_seconds(message.connection, services) if work not in (_deliver, _deliver_return) or progress.can(message.connection, message.command, services) else 0
    if not waits:
        try:
            work(message, services)
        except RetryLater as error:
            again = circuit.waits_after(error, message.connection, services)
            if again is None:
                raise
            waits = again
        else:
            return True
    if work is not pull_stock:  # a count is asked for again within minutes, until it has been made
        progress.send(message, services, delay_seconds=min(waits, LONGEST_DELAY_SECONDS))
    return False


def _deliver(message: OutboundMessage, services: Services) -> None:
    record = services.orders.get(message.order_id or "")
    if record is None:
        raise NeedsPerson("ORDER_UNKNOWN", f"there is no order {message.order_id}", remedy="discard the message")
    if not progress.can(message.connection, message.command, services):
        _not_applicable(message, record, services)
        return
    if reroute.is_moved(message, record):
        reroute.moved(message, None, services)
    if reroute.is_moved(message, record) or reroute.is_off(message, record):
        progress.advance(record.order_id, services)
        return
    intent = intent_of(message, record, services)
    if REPAIR in message.arguments:
        _doubt(message, intent, services)
    lock = f"invoice#{record.order_id}" if message.command == "PostInvoice" else None
    now = services.clock.now()
    if lock and not services.cursors.claim(lock, until=now + timedelta(seconds=LEASE_SECONDS), now=now):
        raise RetryLater("BUSY", f"another invoice of order {record.order_id} is being posted", after_seconds=LEASE_SECONDS // 4)
    try:
        receipt = _once(message, intent, record.order_id, services, is_off=lambda: _is_off(message, record, services))
    finally:
        if lock:
            services.cursors.release_claim(lock)
    if receipt is not None:
        _recorded(message, receipt, services)
    else:
        progress.advance(record.order_id, services)


def _deliver_return(message: OutboundMessage, services: Services) -> None:
    if not progress.can(message.connection, message.command, services):
        raise NeedsPerson("COMMAND_NOT_SUPPORTED", f"{message.connection} cannot execute {message.command}", remedy="change the connection in the tenant file")
    record = services.returns.get(message.return_id or "")
    receipt = _once(message, returns.intent_of(message, services), record.order_id if record else None, services, is_off=lambda: returns.is_off(message, services))
    if receipt is not None:
        returns.recorded(message, receipt, services)
    else:
        returns.advance(message.return_id or "", services)


def _doubt(message: OutboundMessage, intent: Intent, services: Services) -> None:
    """The effect was confirmed and is missed now: it is looked for once more, and made again only when it is not there."""
    effect = services.effects.get(progress.effect_key(message.connection, message.command, intent.business_id))
    if effect is None or effect.state is not EffectState.CONFIRMED:
        return  # doubted before, by the run that ended before this one
    services.effects.contradict(effect, "missed by the reconciliation", now=services.clock.now())
    services.audit.append(
        message.return_id or message.order_id or effect.key,
        actor=raise_exception.SYSTEM,
        action="EffectMissed",
        summary=f"{message.command} is not in {message.connection} any more",
        details={"effect": effect.key},
        at=services.clock.now(),
    )


def _not_applicable(message: OutboundMessage, record: OrderRecord, services: Services) -> None:
    """The source takes no such command (an API client has no page to update): settled by that, and said so."""
    if message.command == "ConfirmShipment":
        _recorded(message, Receipt(external_id="not-applicable"), services)
    else:
        raise NeedsPerson("COMMAND_NOT_SUPPORTED", f"{message.connection} cannot execute {message.command}", remedy="change the connection in the tenant file")
    services.audit.append(
        record.order_id,
        actor=raise_exception.SYSTEM,
        action=f"{message.command}NotApplicable",
        summary=f"{message.connection} takes no {message.command}",
        details={},
        at=services.clock.now(),
    )


def _once(message: OutboundMessage, intent: Intent, order_id: str | None, services: Services, *, is_off: Callable[[], bool]) -> Receipt | None:
    key = progress.effect_key(message.connection, message.command, intent.business_id)
    now = services.clock.now()
    mine, effect = services.effects.begin(key, order_id=order_id, now=now, lease_seconds=LEASE_SECONDS)
    if not mine:
        if effect.state is EffectState.CONFIRMED and effect.receipt is not None:
            return effect.receipt
        found = _settled(effect, intent, message, services, now)
        if isinstance(found, Receipt):
            return found
        effect = found
    # The intent is on the ledger; only now is the cancellation asked for. Whoever cancels writes first and reads the ledger second,
    # so at least one of the two sees the other.
    if is_off():
        services.effects.fail(effect, "it is being called off", now=now)
        return None
    connector = services.connectors.connector(message.connection)
    return _call(lambda: circuit.asked(message.connection, lambda: connector.execute(intent), services), effect, message, services)


def _is_off(message: OutboundMessage, record: OrderRecord, services: Services) -> bool:
    if message.command not in _FORWARD:
        return False
    current = services.orders.get(record.order_id) or record
    return _being_cancelled(current, message.part_id) or reroute.is_off(message, current)


def _being_cancelled(current: OrderRecord, part_id: str | None) -> bool:
    """The order, or (when the cancellation came too late for the rest of it) this part alone."""
    part = current.part(part_id) if part_id else None
    part_is_off = part is not None and part.status is PartStatus.CANCELLED
    return part_is_off or current.cancel_requested_at is not None or current.status in (OrderStatus.CANCELLING, OrderStatus.CANCELLED)


def _settled(effect: Effect, intent: Intent, message: OutboundMessage, services: Services, now: datetime) -> Receipt | Effect:
    """Nobody knows whether it was done: ask the other side first. The receipt when it was, the effect (claimed, free to call) when it was not."""
    if effect.state is EffectState.INTENDED and effect.lease_until > now:
        # Whoever holds the lease may be dead: not so often that the tries are used up before the lease has run out.
        left = int((effect.lease_until - now).total_seconds()) + 1
        raise RetryLater("BUSY", f"{effect.key} is being delivered", after_seconds=min(left, 15))
    if effect.state is EffectState.UNKNOWN and effect.settled_at is not None and now < effect.settled_at:
        left = int((effect.settled_at - now).total_seconds()) + 1
        raise RetryLater("UNKNOWN_OUTCOME", f"{effect.key}: too early to look whether it arrived", after_seconds=left)
    claimed = services.effects.take_over(effect, now=now, lease_seconds=LEASE_SECONDS)
    if claimed is None:
        raise RetryLater("BUSY", f"{effect.key} is being looked up", after_seconds=5)
    try:
        connector = services.connectors.connector(message.connection)
        found = circuit.asked(message.connection, lambda: connector.look_up(intent), services)
    except CrossdockError as error:
        services.effects.mark_unknown(claimed, f"look-up: {error}", now=services.clock.now())
        raise
    if found is None:
        return claimed
    services.audit.append(
        message.return_id or message.order_id or effect.key,
        actor=raise_exception.SYSTEM,
        action="EffectFound",
        summary=f"{message.command} had reached {message.connection} although no answer came",
        details={"external_id": found.external_id},
        at=now,
    )
    receipt = found.model_copy(update={"found": True})
    services.effects.confirm(claimed, receipt, now=services.clock.now())
    return receipt


def _call(execute: Callable[[], Receipt], effect: Effect, message: OutboundMessage, services: Services) -> Receipt:
    try:
        receipt = execute()
    except UnknownOutcome as error:
        services.effects.mark_unknown(effect, str(error), now=services.clock.now() + timedelta(seconds=error.settles_in_seconds))
        services.audit.append(
            message.return_id or message.order_id or effect.key,
            actor=raise_exception.SYSTEM,
            action="EffectUnknown",
            summary=f"{message.command} to {message.connection}: {error.detail}"[:500],
            details={},
            at=services.clock.now(),
        )
        error.after_seconds = error.after_seconds or error.settles_in_seconds + 1
        raise
    except ContractDrift as error:
        # An answer that is not understood, perhaps to a write that was done: whoever tries again looks first.
        services.effects.mark_unknown(effect, str(error), now=services.clock.now())
        raise
    except CrossdockError as error:
        services.effects.fail(effect, str(error), now=services.clock.now())
        raise
    services.effects.confirm(effect, receipt, now=services.clock.now())
    return receipt


# ------------------------------------------------------------------ what follows from a confirmed effect


def _recorded(message: OutboundMessage, receipt: Receipt, services: Services) -> None:
    """Writes what the effect means for the order, and moves the order on. Safe to repeat: a redelivery comes here again."""
    handlers: dict[str, Callable[[OutboundMessage, Receipt, Services], None]] = {
        "CreateSalesOrder": _sales_order_created,
        "CancelSalesOrder": _sales_order_cancelled,
        reroute.MOVE: reroute.moved,
        "ReleaseFulfillment": _released,
        "CancelFulfillment": _fulfillment_cancelled,
        "ConfirmShipment": _confirmed,
        "PostInvoice": _invoiced,
        "CancelOrder": _source_told,
    }
    handlers[message.command](message, receipt, services)
    record = services.orders.get(message.order_id or "")
    if record is not None and record.open_exceptions:
        # It went through: an exception of this very message must not keep the order from going on.
        raise_exception.close_for_message(QueueName.OUTBOUND, message.text(), services=services)
    progress.advance(message.order_id or "", services)


def _change(
    message: OutboundMessage, services: Services, *, action: str, summary: str, details: dict[str, str], decide: Callable[[OrderRecord], OrderRecord | None]
) -> OrderRecord:
    """Changes the order and, the first time, says so in the audit."""
    now = services.clock.now()
    changed = False

    def guarded(current: OrderRecord) -> OrderRecord | None:
        nonlocal changed
        made = decide(current)
        changed = made is not None
        return None if made is None else made.model_copy(update={"updated_at": now, "due_at": progress.next_deadline(made.model_copy(update={"updated_at": now}), services)})

    record = services.orders.change(message.order_id or "", guarded)
    if changed:
        services.audit.append(record.order_id, actor=message.connection, action=action, summary=summary, details=details, at=now)
    else:
        raise_exception.note_once(record.order_id, actor=message.connection, action=action, summary=summary, details=details, at=now, services=services)
    return record


def _found(receipt: Receipt) -> str:
    return " (found by look-up)" if receipt.found else ""


def _sales_order_created(message: OutboundMessage, receipt: Receipt, services: Services) -> None:
    now = services.clock.now()
    sales_order = SalesOrder(external_id=receipt.external_id, number=receipt.number, line_ids=receipt.line_ids, total=receipt.total)

    def post(current: OrderRecord) -> OrderRecord | None:
        if current.sales_order is not None:
            if REPAIR not in message.arguments or current.sales_order.external_id == receipt.external_id:
                return None
            return current.model_copy(update={"sales_order": sales_order})
        return progress.caught_up(progress.with_status(current, OrderStatus.POSTED, now), now).model_copy(update={"sales_order": sales_order})

    for reference in {receipt.external_id, receipt.number} - {""}:
        services.orders.refer(message.connection, reference, message.order_id or "")
    record = _change(
        message, services, action="SalesOrderPosted", summary=f"sales order {receipt.number}{_found(receipt)}", details={"external_id": receipt.external_id}, decide=post
    )
    progress.rejoin({receipt.external_id, receipt.number} - {""}, record.order_id, services)
    order_flow.hold_difference(record, services)


def _sales_order_cancelled(message: OutboundMessage, receipt: Receipt, services: Services) -> None:
    def cancel(current: OrderRecord) -> OrderRecord | None:
        if current.sales_order is None or current.sales_order.cancelled:
            return None
        return current.model_copy(update={"sales_order": current.sales_order.model_copy(update={"cancelled": True})})

    _change(
        message,
        services,
        action="SalesOrderCancelled",
        summary=f"sales order {receipt.number or receipt.external_id} cancelled in the ERP{_found(receipt)}",
        details={"external_id": receipt.external_id},
        decide=cancel,
    )


def _released(message: OutboundMessage, receipt: Receipt, services: Services) -> None:
    now = services.clock.now()
    part_id = message.part_id or ""

    def release(current: OrderRecord) -> OrderRecord | None:
        part = current.part(part_id)
        if part is None or part.released_at is not None:
            return None
        status = PartStatus.RELEASED if part.status is PartStatus.PLANNED else part.status
        changed = progress.replace_part(current, part.model_copy(update={"status": status, "released_at": now, "external_id": receipt.external_id}))
        return progress.caught_up(changed, now)

    services.orders.refer(message.connection, receipt.external_id, message.order_id or "", part_id)
    record = _change(
        message,
        services,
        action="FulfillmentReleased",
        summary=f"part {part_id} released to {message.connection}{_found(receipt)}",
        details={"part": part_id, "external_id": receipt.external_id},
        decide=release,
    )
    progress.rejoin({part_id, receipt.external_id} - {""}, record.order_id, services)
    if receipt.acknowledged:
        facts.acknowledge(record.order_id, part_id, at=now, actor=message.connection, external_id=receipt.external_id, services=services)
    await_answers(message.connection, message.command, services)


def _fulfillment_cancelled(message: OutboundMessage, receipt: Receipt, services: Services) -> None:
    def cancel(current: OrderRecord) -> OrderRecord | None:
        part = current.part(message.part_id or "")
        if part is None or part.status is PartStatus.CANCELLED:
            return None
        return progress.replace_part(current, part.model_copy(update={"status": PartStatus.CANCELLED}))

    _change(
        message,
        services,
        action="FulfillmentCancelled",
        summary=f"part {message.part_id} cancelled at {message.connection}{_found(receipt)}",
        details={"part": message.part_id or ""},
        decide=cancel,
    )


def _confirmed(message: OutboundMessage, receipt: Receipt, services: Services) -> None:
    def confirm(current: OrderRecord) -> OrderRecord | None:
        booked = current.shipment(message.shipment_id or "")
        if booked is None or booked.confirmed:
            return None
        return progress.replace_shipment(current, booked.model_copy(update={"confirmed": True}))

    _change(
        message,
        services,
        action="ShipmentConfirmed",
        summary=f"{message.shipment_id} told to {message.connection}{_found(receipt)}",
        details={"shipment": message.shipment_id or "", "external_id": receipt.external_id},
        decide=confirm,
    )


def _invoiced(message: OutboundMessage, receipt: Receipt, services: Services) -> None:
    def invoice(current: OrderRecord) -> OrderRecord | None:
        booked = current.shipment(message.shipment_id or "")
        if booked is None or booked.invoice_number is not None:
            return None
        return progress.replace_shipment(current, booked.model_copy(update={"invoice_number": receipt.number or receipt.external_id}))

    record = _change(
        message,
        services,
        action="InvoicePosted",
        summary=f"invoice {receipt.number or receipt.external_id} for {message.shipment_id}{_found(receipt)}",
        details={"external_id": receipt.external_id},
        decide=invoice,
    )
    progress.send_next_invoice(record, services)


def _source_told(message: OutboundMessage, receipt: Receipt, services: Services) -> None:
    _change(
        message,
        services,
        action="SourceToldOfCancellation",
        summary=f"{message.connection} knows that the order is cancelled{_found(receipt)}",
        details={},
        decide=lambda current: current.model_copy(update={"tell_source": False}) if current.tell_source else None,
    )


def refused(message: OutboundMessage, error: CrossdockError, services: Services) -> bool:
    """What a refusal means by itself. True when it is dealt with; False: an exception for a person.

    A warehouse that cannot cancel any more has answered the question: the part ships. One that cannot take a part which has left need not.
    """
    part_id = message.part_id
    if message.command == "CancelFulfillment" and part_id and isinstance(error, Rejected) and error.code == "ALREADY_SHIPPED":

        def keep(current: OrderRecord) -> OrderRecord | None:
            part = current.part(part_id)
            if part is None or part.cancel_refused:
                return None
            return progress.replace_part(current, part.model_copy(update={"cancel_refused": True}))

        _change(message, services, action="CancellationRefused", summary=f"part {message.part_id}: {error.detail}"[:500], details={"part": part_id}, decide=keep)
        progress.advance(message.order_id or "", services)
        return True
    if message.command == "ReleaseFulfillment" and part_id and isinstance(error, Rejected):
        # Told late (a worker died, the queue brought it again): the warehouse had shipped on its own account and knows of nothing to do any more.
        record = services.orders.get(message.order_id or "")
        part = record.part(part_id) if record is not None else None
        if part is not None and part.status is PartStatus.SHIPPED:
            raise_exception.close_for_message(QueueName.OUTBOUND, message.text(), services=services)
            progress.advance(message.order_id or "", services)
            return True
    return False


# ------------------------------------------------------------------ asking systems that do not tell


def _poll_name(connection: str, resource: str) -> str:
    return f"poll#{connection}#{resource}"


def await_answers(connection: str, command: str, services: Services) -> None:
    """Starts the awaited rhythm of every poll that reports the outcome of this command."""
    now = services.clock.now()
    for resource, contract in services.connectors.manifest(connection).polls.items():
        if command in contract.answers:
            _await(connection, resource, services, now)


def _await(connection: str, resource: str, services: Services, now: datetime, *, mine: bool = False) -> None:
    window = timedelta(seconds=AWAITED_ROUNDS * _awaited_seconds(connection, resource, services))
    services.cursors.put(f"awaited#{connection}#{resource}", (now + window).isoformat())
    _schedule_poll(connection, resource, services, mine=mine)


def _something_is_out(connection: str, services: Services) -> bool:
    """Whether any open order still has a part at that connection."""
    return any(part.open and part.plan.connection == connection for record in services.orders.listed(closed=False, limit=200) for part in record.parts)


def _awaited_seconds(connection: str, resource: str, services: Services) -> int:
    return services.spec.connections[connection].poll_seconds or services.connectors.manifest(connection).polls[resource].awaited_every_seconds


def _turn_name(connection: str, resource: str) -> str:
    return f"{_poll_name(connection, resource)}#turn"


def _schedule_poll(connection: str, resource: str, services: Services, *, waits: int = 0, mine: bool = False) -> None:
    """One awaited poll in the queue at a time: it names its turn, and the last turn given out is the only one that goes on.

    ``mine``: by the poll whose turn it was. Anybody else starts a rhythm only where there is none, or where it broke off.
    """
    now = services.clock.now()
    name = _turn_name(connection, resource)
    delay = min(LONGEST_DELAY_SECONDS, max(waits, _awaited_seconds(connection, resource, services)))
    if not mine:
        turn = services.cursors.get(name)
        if turn and now < datetime.fromisoformat(turn) + BROKEN_OFF_AFTER:
            return
        if not services.cursors.claim(name, until=now + BROKEN_OFF_AFTER, now=now):
            return
    turn = (now + timedelta(seconds=delay)).isoformat()
    services.cursors.put(name, turn)
    progress.send(OutboundMessage(command="PollConnection", connection=connection, arguments={"resource": resource, "turn": turn}), services, delay_seconds=delay)


def poll(message: OutboundMessage, services: Services) -> None:
    """Asks for what is new; every item becomes a delivery like a webhook's. The cursor moves only after all are stored and queued.

    A poll that failed, or that may not be made now, is not repeated: the next one asks for the same and more. Whether the connection is
    out is its circuit's matter; any other failure is an exception, which the next success closes.
    """
    resource, connection, turn = message.arguments.get("resource", ""), message.connection, message.arguments.get("turn")
    if turn and services.cursors.get(_turn_name(connection, resource)) != turn:
        return  # the rhythm has been started anew meanwhile
    waits, more = circuit.wait_seconds(connection, services), False
    if not waits:
        waits, more = _asked_for_news(connection, resource, services)
    awaited = services.cursors.get(f"awaited#{connection}#{resource}")
    if not awaited and not more:
        return
    if more or (awaited and datetime.fromisoformat(awaited) > services.clock.now()):
        _schedule_poll(connection, resource, services, waits=waits, mine=turn is not None)
    elif _something_is_out(connection, services):
        _await(connection, resource, services, services.clock.now(), mine=turn is not None)
    else:
        services.cursors.put(f"awaited#{connection}#{resource}", "")


def _asked_for_news(connection: str, resource: str, services: Services) -> tuple[int, bool]:
    """Makes the poll: the seconds in which it is no use to ask again, where that is known; and whether there is more."""
    name = _poll_name(connection, resource)
    # One exception per poll, whichever of its messages met the failure.
    body = OutboundMessage(command="PollConnection", connection=connection, arguments={"resource": resource}).text()
    try:
        more = _polled(connection, resource, services)
    except RetryLater as error:
        return circuit.waits_after(error, connection, services) or 0, False
    except CrossdockError as error:
        services.cursors.put(f"{name}#refused", services.clock.now().isoformat())
        raise_exception.for_message(error, queue=QueueName.OUTBOUND, message=body, subject=name, connection=connection, services=services, dead_letter=False)
        return 0, False
    if services.cursors.get(f"{name}#refused"):
        raise_exception.close_for_message(QueueName.OUTBOUND, body, services=services)
        services.cursors.put(f"{name}#refused", "")
    return 0, more


def _polled(connection: str, resource: str, services: Services) -> bool:
    name = _poll_name(connection, resource)
    connector = services.connectors.connector(connection)

    def known(order_id: str, version: str, topic: str, key: str) -> bool:
        """Whether that order is here at that version or a newer one, or this very finding was taken in before."""
        record = services.orders.get(order_id)
        if record is not None and record.order is not None and record.order.source_version >= version:
            return True
        return services.deliveries.note(safe_id(connection, topic, key)) is not None

    result = circuit.asked(connection, lambda: connector.poll(resource, services.cursors.get(name), known), services)
    now = services.clock.now()
    for item in result.items:
        delivery = Delivery(
            delivery_id=safe_id(connection, item.topic, item.key), connection=connection, topic=item.topic, body=item.body, headers={"x-polled": resource}, received_at=now
        )
        if services.deliveries.add(delivery) is None:
            services.queues.send(QueueName.INBOUND, inbound_message(delivery.delivery_id), group=connection)
    services.cursors.put(name, result.cursor)
    return result.more


def pull_stock(message: OutboundMessage, services: Services) -> None:
    """Reads everything a connection holds and applies the counts of the locations it is believed for."""
    connection = message.connection
    believed = {location.codes[connection]: name for name, location in services.spec.locations.items() if location.stock_from == connection}
    connector = services.connectors.connector(connection)
    for reading in circuit.asked(connection, connector.stock, services):
        location = believed.get(reading.location)
        if location is None:
            continue  # another system is the owner of that location's stock (systems_of_record)
        try:
            sku = services.xref.our_sku(connection, reading.sku)
        except NeedsPerson:
            continue  # an article the tenant does not run through this stack; an order for it raises MISSING_XREF
        stock.counted(reading.model_copy(update={"sku": sku, "location": location}), source=connection, reference="count", services=services)
    stock.fresh(connection, services)
