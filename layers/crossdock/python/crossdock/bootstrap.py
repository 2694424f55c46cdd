"""Which concrete thing stands behind each port? The only file that knows; everything is made when first asked for."""

from __future__ import annotations

import importlib
import json
import pkgutil
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from crossdock.aws.archive import S3Archive
from crossdock.aws.audit import DynamoAudit
from crossdock.aws.budgets import DynamoBudgets
from crossdock.aws.bus import EventBridgeBus
from crossdock.aws.catalog import DynamoAccounts, DynamoCatalog
from crossdock.aws.clients import Clients
from crossdock.aws.cursors import DynamoCursors
from crossdock.aws.dead_letters import SqsDeadLetters
from crossdock.aws.deliveries import ArchivedDeliveries
from crossdock.aws.effects import DynamoEffects
from crossdock.aws.exceptions import DynamoExceptions
from crossdock.aws.orders import DynamoOrders
from crossdock.aws.queues import SqsDelay, SqsQueues
from crossdock.aws.returns import DynamoReturns
from crossdock.aws.secrets import TenantSecret
from crossdock.aws.settings import Settings
from crossdock.aws.stock import DynamoStock
from crossdock.aws.table import StateTable
from crossdock.aws.workflow import StepFunctionsWorkflow
from crossdock.domain.clock import SystemClock
from crossdock.domain.connector import ConnectionContext, Connector
from crossdock.domain.errors import NeedsPerson
from crossdock.domain.manifest import ConnectorManifest
from crossdock.domain.pace import Pace
from crossdock.domain.ports import Budgets
from crossdock.domain.tenant import CrossReference, TenantSpec
from crossdock.flows.allowance import Allowance
from crossdock.flows.health import Circuits
from crossdock.flows.services import Services

_CONNECTORS = Path(__file__).parent / "connectors"


@cache
def load_manifest(name: str) -> ConnectorManifest:
    """The connector's manifest as data; importing no code of it. For operators: the functions have it as JSON in the tenant's layer."""
    import yaml

    found = yaml.load((_CONNECTORS / name / "manifest.yaml").read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - a safe loader
    return ConnectorManifest.model_validate(found)


@cache
def load(name: str) -> type[Connector]:
    """The one door to connectors: the class ``<Product>Connector`` of the folder's ``client.py``."""
    module = importlib.import_module(f"crossdock.connectors.{name}.client")
    found = [thing for title, thing in vars(module).items() if title.endswith("Connector") and isinstance(thing, type) and thing.__module__ == module.__name__]
    if len(found) != 1:
        raise LookupError(f"connectors/{name}/client.py must define exactly one class <Product>Connector, found {len(found)}")
    return cast("type[Connector]", found[0])


class ConfiguredConnectors:
    """Implements ``ports.Connectors``: one instance per connection, its hosts limited to the connector's and its own base address."""

    def __init__(self, spec: TenantSpec, secret: TenantSecret, budgets: Budgets, manifest: Callable[[str], ConnectorManifest]) -> None:
        self._spec = spec
        self._secret = secret
        self._budgets = budgets
        self._manifest = manifest
        self._made: dict[str, Connector] = {}
        self._allowances: dict[str, Allowance] = {}

    def manifest(self, connection: str) -> ConnectorManifest:
        if connection not in self._spec.connections:
            raise NeedsPerson("UNKNOWN_CONNECTION", f"there is no connection {connection!r}", remedy=f"one of: {', '.join(self._spec.connections)}")
        return self._manifest(self._spec.connections[connection].connector)

    def connector(self, connection: str) -> Connector:
        if connection not in self._made:
            from crossdock.http import OutboundHttp  # here: most functions never call out, and it is a good part of their cold start

            manifest, configured = self.manifest(connection), self._spec.connections[connection]
            own = urlsplit(configured.base_url)
            self._made[connection] = load(configured.connector)(
                ConnectionContext(
                    tenant=self._spec.tenant,
                    connection=connection,
                    manifest=manifest,
                    base_url=configured.base_url,
                    settings={"worked_locations": self._worked(connection), **configured.settings},
                    credentials=lambda: self._secret.credentials(connection),
                    http=OutboundHttp(hosts=[*manifest.hosts, own.netloc], name=connection, spend=self.allowance(connection).spend),
                    clock=SystemClock(),
                )
            )
        return self._made[connection]

    def allowance(self, connection: str) -> Allowance:
        if connection not in self._allowances:
            limit = self._spec.connections[connection].rate_limit or self.manifest(connection).rate_limit
            self._allowances[connection] = Allowance(connection, Pace.of(limit), budgets=self._budgets, clock=SystemClock(), sleep=time.sleep)
        return self._allowances[connection]

    def _worked(self, connection: str) -> str:
        """The connection's own codes of the locations that it works, by comma."""
        return ",".join(location.codes[connection] for location in self._spec.locations.values() if location.connection == connection)


@cache
def deployed_spec() -> TenantSpec:
    """The tenant's resolved configuration as the stack deployed it, in its own layer."""
    return TenantSpec.model_validate(json.loads(pkgutil.get_data("crossdock_tenant", "tenant.json") or b""))


@cache
def _deployed_manifests() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(pkgutil.get_data("crossdock_tenant", "manifests.json") or b"")
    return found


@cache
def deployed_manifest(name: str) -> ConnectorManifest:
    """The manifest of one of the tenant's connectors as it was when the stack was deployed."""
    return ConnectorManifest.model_validate(_deployed_manifests()[name])


def services(settings: Settings, spec: TenantSpec, clients: Clients | None = None, manifest: Callable[[str], ConnectorManifest] = load_manifest) -> Services:
    """All ports over AWS. Cheap: no client is made and nothing is read before a flow needs it."""
    made = clients or Clients()
    clock = SystemClock()
    table = StateTable(made, settings.state_table)
    archive = S3Archive(made, settings.archive_bucket)
    cursors = DynamoCursors(table)
    secret = TenantSecret(made, settings.secret_id, clock)
    return Services(
        spec=spec,
        xref=CrossReference(spec),
        clock=clock,
        archive=archive,
        deliveries=ArchivedDeliveries(table, archive),
        orders=DynamoOrders(table),
        returns=DynamoReturns(table),
        stock=DynamoStock(table),
        catalog=DynamoCatalog(table),
        accounts=DynamoAccounts(table),
        effects=DynamoEffects(table),
        exceptions=DynamoExceptions(table),
        audit=DynamoAudit(made, settings.audit_table),
        bus=EventBridgeBus(made, settings.bus_name),
        queues=SqsQueues(made, settings),
        workflow=StepFunctionsWorkflow(made, settings.order_machine_arn, settings.return_machine_arn, cursors),
        cursors=cursors,
        connectors=ConfiguredConnectors(spec, secret, DynamoBudgets(table), manifest),
        secrets=secret,
        circuits=Circuits(cursors, clock),
    )


@cache
def function_services() -> Services:
    """The services of the running function, kept as long as its container lives."""
    return services(Settings.from_environment(), deployed_spec(), function_clients(), deployed_manifest)


@cache
def function_clients() -> Clients:
    return Clients()


LETTERS_SECONDS = 15
"""How long the function looks into one queue's dead letters: three times within its minute. The next round meets the others."""


def function_dead_letters() -> SqsDeadLetters:
    return SqsDeadLetters(function_clients(), Settings.from_environment(), walk_seconds=LETTERS_SECONDS)


def function_delay() -> SqsDelay:
    return SqsDelay(function_clients(), Settings.from_environment())


def operator_services(settings: Settings, spec: TenantSpec, session: Any) -> Services:
    """The same services for a person at the command line, with their session."""
    return services(settings, spec, Clients(session))


def dead_letters(settings: Settings, session: Any) -> SqsDeadLetters:
    return SqsDeadLetters(Clients(session), settings)
