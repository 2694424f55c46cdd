"""Outbound queue: each command reaches its system exactly once."""

from __future__ import annotations

from crossdock import batches
from crossdock.domain.errors import CrossdockError
from crossdock.domain.stage import QueueName
from crossdock.flows import deliver
from crossdock.flows.services import Services


def _deliver(body: str, services: Services) -> bool:
    return deliver.deliver(batches.outbound_message(body), services)


def _refused(body: str, error: CrossdockError, services: Services) -> bool:
    return deliver.refused(batches.outbound_message(body), error, services)


handler = batches.queue_handler(QueueName.OUTBOUND, _deliver, _refused)
