"""Inbound queue: what does each delivery mean? On to the bus."""

from __future__ import annotations

from crossdock import batches
from crossdock.domain.stage import QueueName
from crossdock.flows.raise_exception import delivery_of
from crossdock.flows.services import Services
from crossdock.flows.translate import translate


def _translate(body: str, services: Services) -> None:
    translate(delivery_of(body), services)


handler = batches.queue_handler(QueueName.INBOUND, _translate)
