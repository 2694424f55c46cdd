"""Which ports does a flow work with? One typed bundle that ``bootstrap`` fills and tests fake."""

from __future__ import annotations

from dataclasses import dataclass

from crossdock.domain.clock import Clock
from crossdock.domain.ports import (
    Accounts,
    Archive,
    Audit,
    Bus,
    Catalog,
    Connectors,
    Cursors,
    Deliveries,
    Effects,
    Exceptions,
    Orders,
    Queues,
    Returns,
    Secrets,
    Stock,
    Workflow,
)
from crossdock.domain.tenant import CrossReference, TenantSpec
from crossdock.flows.health import Circuits


@dataclass(frozen=True)
class Services:
    """Members are created lazily by ``bootstrap``: a function pays only for those it touches."""

    spec: TenantSpec
    xref: CrossReference
    clock: Clock
    archive: Archive
    deliveries: Deliveries
    orders: Orders
    returns: Returns
    stock: Stock
    catalog: Catalog
    accounts: Accounts
    effects: Effects
    exceptions: Exceptions
    audit: Audit
    bus: Bus
    queues: Queues
    workflow: Workflow
    cursors: Cursors
    connectors: Connectors
    secrets: Secrets
    circuits: Circuits
