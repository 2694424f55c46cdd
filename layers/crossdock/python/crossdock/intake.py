"""Which concrete thing stands behind the intake's ports? Apart from ``bootstrap``, because a sender waits for this cold start."""

from __future__ import annotations

import json
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

from crossdock.aws.archive import S3Archive
from crossdock.aws.deliveries import ArchivedDeliveries
from crossdock.aws.intake_client import IntakeClients
from crossdock.aws.queues import SqsQueues
from crossdock.aws.secrets import TenantSecret
from crossdock.aws.settings import Settings
from crossdock.aws.table import StateTable
from crossdock.domain.clock import SystemClock
from crossdock.domain.webhook import WebhookContract
from crossdock.flows.receive import Intake

if TYPE_CHECKING:
    from crossdock.aws.clients import ServiceClients
    from crossdock.flows.services import Services


def function_clients() -> ServiceClients:
    return IntakeClients(SystemClock())


def deployed_webhooks() -> tuple[dict[str, WebhookContract | None], int]:
    """What the stack wrote beside ``tenant.json``: the webhook contract of each connection, and the most bytes the tenant takes."""
    found = json.loads(pkgutil.get_data("crossdock_tenant", "webhooks.json") or b"")
    contracts = {name: WebhookContract.from_json(contract) if contract else None for name, contract in found["connections"].items()}
    return contracts, int(found["max_bytes"])


def _services() -> Services:
    from crossdock import bootstrap  # here: everything else, and its cold start, only for an authentic body that cannot be read

    return bootstrap.function_services()


@cache
def function_intake() -> Intake:
    """The intake of the running function, kept as long as its container lives."""
    settings, clients, clock = Settings.from_environment(), function_clients(), SystemClock()
    webhooks, max_bytes = deployed_webhooks()
    return Intake(
        webhooks=webhooks,
        max_bytes=max_bytes,
        clock=clock,
        secrets=TenantSecret(clients, settings.secret_id, clock),
        deliveries=ArchivedDeliveries(StateTable(clients, settings.state_table), S3Archive(clients, settings.archive_bucket)),
        queues=SqsQueues(clients, settings),
        services=_services,
    )
