"""Work queue: facts from the bus and requests of the order workflow."""

from __future__ import annotations

from crossdock import batches
from crossdock.domain.messages import work_message
from crossdock.domain.stage import QueueName
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


handler = batches.queue_handler(QueueName.WORK, _apply)
