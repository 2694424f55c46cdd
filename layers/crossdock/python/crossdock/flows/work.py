"""The work queue's messages: facts from the bus, and what the workflows ask for."""

from __future__ import annotations

from crossdock.domain.messages import ReturnStepRequest, work_message
from crossdock.flows import facts, order, returns
from crossdock.flows.services import Services


def apply(body: str, services: Services) -> None:
    """Works one message; again is harmless."""
    message = work_message(body)
    if message.event is not None:
        facts.apply(message.event, services)
    if isinstance(message.step, ReturnStepRequest):
        returns.request(message.step, services)
    elif message.step is not None:
        order.request(message.step, services)
    if message.stuck is not None:
        if message.stuck.return_id is not None:
            returns.stuck(message.stuck, services)
        else:
            order.stuck(message.stuck, services)
