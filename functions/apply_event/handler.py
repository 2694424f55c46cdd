"""Work queue: facts from the bus and requests of the order workflow."""

from __future__ import annotations

from crossdock import edge
from crossdock.domain.exception_record import QueueName
from crossdock.domain.messages import work_message
from crossdock.flows import facts, order
from crossdock.flows.services import Services


def _apply(body: str, services: Services) -> None:
    message = work_message(body)
    if message.event is not None:
        facts.apply(message.event, services)
    if message.step is not None:
        order.request(message.step, services)
    if message.stuck is not None:
        order.stuck(message.stuck, services)


handler = edge.queue_handler(QueueName.WORK, _apply)
