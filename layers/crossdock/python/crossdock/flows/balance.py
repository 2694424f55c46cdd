"""Is anything lost? Accepted = done + held + exception + in flight, each of them found where it must be and not assumed."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from crossdock.domain.delivery import DeliveryStatus, inbound_message
from crossdock.domain.order_record import OrderStatus
from crossdock.domain.return_record import ReturnStatus
from crossdock.domain.stage import QueueName
from crossdock.flows import raise_exception
from crossdock.flows.services import Services
from crossdock.flows.watch import FORGOTTEN_AFTER


@dataclass(frozen=True)
class Side:
    """One account: ``accepted`` must be the sum of the others. ``missing`` names what is in none of them."""

    accepted: int
    done: int
    held: int
    exception: int
    in_flight: int
    missing: tuple[str, ...]

    @property
    def adds_up(self) -> bool:
        return not self.missing and self.accepted == self.done + self.held + self.exception + self.in_flight


@dataclass(frozen=True)
class Balance:
    deliveries: Side
    orders: Side
    returns: Side
    stock_committed_without_order: tuple[str, ...]

    @property
    def adds_up(self) -> bool:
        return self.deliveries.adds_up and self.orders.adds_up and self.returns.adds_up and not self.stock_committed_without_order

    def as_json(self) -> dict[str, object]:
        return {**asdict(self), "adds_up": self.adds_up}


def balance(services: Services) -> Balance:
    """Counts everything that was ever accepted and looks for each unfinished thing where it claims to be."""
    return Balance(_deliveries(services), _orders(services), _returns(services), _orphans(services))


def _deliveries(services: Services) -> Side:
    now = services.clock.now()
    done = exception = in_flight = accepted = 0
    missing = []
    for note in services.deliveries.every():
        accepted += 1
        if note.status is DeliveryStatus.EXCEPTION:
            standing = services.exceptions.get(raise_exception.message_exception_id(QueueName.INBOUND, inbound_message(note.delivery_id)))
            if standing is None or standing.closed:
                missing.append(f"delivery {note.delivery_id} stands as exception but no open exception is recorded")
            else:
                exception += 1
        elif note.status is DeliveryStatus.RECEIVED:
            if now - note.received_at > FORGOTTEN_AFTER * 2 and services.queues.depth(QueueName.INBOUND) == 0:
                missing.append(f"delivery {note.delivery_id} was received at {note.received_at:%H:%M:%S} and is in no queue")
            else:
                in_flight += 1
        else:
            lost = _lost_orders(note.events, services)
            missing += [f"delivery {note.delivery_id} is done but order {order_id} does not exist" for order_id in lost]
            done += 0 if lost else 1
    return Side(accepted, done, 0, exception, in_flight, tuple(missing))


def _lost_orders(events: tuple[str, ...], services: Services) -> list[str]:
    """Orders that a finished delivery brought and that are not there (with nothing on its way any more)."""
    placed = [event.partition(":")[2] for event in events if event.startswith(("OrderPlaced:", "OrderUpdated:", "OrderCancelled:"))]
    gone = [order_id for order_id in placed if services.orders.get(order_id) is None]
    if gone and services.queues.depth(QueueName.WORK) > 0:
        return []
    return [order_id for order_id in gone if not _in_work_exception(order_id, services)]


def _in_work_exception(order_id: str, services: Services) -> bool:
    return any(record.subject == order_id and record.queue is QueueName.WORK for record in services.exceptions.listed())


def _orders(services: Services) -> Side:
    done = held = exception = in_flight = accepted = 0
    missing = []
    for record in services.orders.every():
        accepted += 1
        opened = [found for found in (services.exceptions.get(name) for name in record.open_exceptions) if found is not None and not found.closed]
        if record.status in (OrderStatus.COMPLETED, OrderStatus.CANCELLED):
            done += 1
        elif record.status is OrderStatus.HELD:
            if any(found.kind == "hold" for found in opened):
                held += 1
            elif record.cancel_requested_at is not None and _on_its_way(record.order_id, services):
                in_flight += 1  # it was decided: its workflow takes back what was done
            else:
                missing.append(f"order {record.order_id} is held but nobody is asked")
        elif opened:
            exception += 1
        elif record.status is OrderStatus.ANNOUNCED or _on_its_way(record.order_id, services):
            in_flight += 1
        else:
            missing.append(f"order {record.order_id} is {record.status.value}, its workflow does not run and no exception is open")
    return Side(accepted, done, held, exception, in_flight, tuple(missing))


def _returns(services: Services) -> Side:
    done = held = exception = in_flight = accepted = 0
    missing = []
    opened = {record.subject: record.kind for record in services.exceptions.listed()}
    for record in services.returns.every():
        accepted += 1
        kind = opened.get(record.return_id)
        if record.over:
            done += 1
        elif record.status is ReturnStatus.HELD and kind == "hold":
            held += 1
        elif kind is not None:
            exception += 1
        elif (record.status is not ReturnStatus.HELD or record.ending is not None) and _on_its_way(record.return_id, services):
            in_flight += 1  # held and ending: it was decided, and its workflow tells everybody
        else:
            why = "nobody is asked" if record.status is ReturnStatus.HELD else "its workflow does not run and no exception is open"
            missing.append(f"return {record.return_id} is {record.status.value}, {why}")
    return Side(accepted, done, held, exception, in_flight, tuple(missing))


def _on_its_way(order_id: str, services: Services) -> bool:
    """Its workflow runs; or it has none yet, and what starts it may stand in the work queue."""
    running = services.workflow.running(order_id)
    return services.queues.depth(QueueName.WORK) > 0 if running is None else running


def _orphans(services: Services) -> tuple[str, ...]:
    """Stock committed for an order that is over: it would never be given back."""
    found = []
    for order_id, lines in services.stock.outstanding():
        record = services.orders.get(order_id)
        if lines and (record is None or record.status in (OrderStatus.CANCELLED, OrderStatus.COMPLETED)):
            found.append(f"order {order_id} is {record.status.value if record else 'unknown'} and still holds {len(lines)} reservation(s)")
    return tuple(found)
