"""Is the right thing behind each port, made only when it is needed, and may a connection call only where it should?"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crossdock import bootstrap, intake
from crossdock.aws.clients import Clients
from crossdock.aws.settings import Settings
from crossdock.domain.errors import NeedsPerson
from infra import layers, tenant_files
from tests.functions.tenant import ROOT, spec

NAMES = sorted(path.parent.name for path in Path(bootstrap.__file__).parent.glob("connectors/*/manifest.yaml"))


class NoClients(Clients):
    def client(self, service: str) -> object:
        raise AssertionError(f"a client of {service} was made before anything was asked of it")


@pytest.mark.parametrize("name", NAMES)
def test_every_connector_folder_is_loaded_by_its_name(name: str) -> None:
    assert bootstrap.load(name).__name__.endswith("Connector")
    assert bootstrap.load_manifest(name).name == name


def test_a_folder_that_is_none_is_not_loaded() -> None:
    with pytest.raises(ModuleNotFoundError):
        bootstrap.load("nobody")


def test_services_cost_nothing_before_they_are_used() -> None:
    made = bootstrap.services(Settings(), spec(), NoClients())

    assert made.spec is spec()
    assert {connection: made.connectors.manifest(connection).name for connection in spec().connections} == {
        name: connection.connector for name, connection in spec().connections.items()
    }


def test_a_connection_has_one_connector_with_its_own_configuration() -> None:
    connectors = bootstrap.services(Settings(), spec(), NoClients()).connectors

    erp = connectors.connector("erp")

    assert connectors.connector("erp") is erp
    assert type(erp).__name__ == "BusinessCentralConnector"


def test_a_connection_that_the_tenant_has_not_is_for_a_person() -> None:
    with pytest.raises(NeedsPerson, match="UNKNOWN_CONNECTION"):
        bootstrap.services(Settings(), spec(), NoClients()).connectors.manifest("nobody")


def test_a_connection_may_call_its_vendors_hosts_and_its_own_address_only(monkeypatch: pytest.MonkeyPatch) -> None:
    import crossdock.http

    allowed: dict[str, list[str]] = {}

    class Port(crossdock.http.OutboundHttp):
        def __init__(self, *, hosts: list[str], name: str, spend: Callable[[], None]) -> None:
            allowed[name] = hosts

    monkeypatch.setattr(crossdock.http, "OutboundHttp", Port)
    local = spec().connections["erp"].model_copy(update={"base_url": "http://127.0.0.1:4711/v2"})
    changed = spec().model_copy(update={"connections": {**spec().connections, "erp": local}})
    bootstrap.services(Settings(), changed, NoClients()).connectors.connector("erp")

    assert allowed == {"erp": [*bootstrap.load_manifest("business_central").hosts, "127.0.0.1:4711"]}


@pytest.fixture
def _layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tenant's layer, as the stack builds it, where the functions find it."""
    built = layers.tenant(spec(), tenant_files.manifests(ROOT), tmp_path)
    monkeypatch.syspath_prepend(str(built.path / "python"))
    caches = (bootstrap.deployed_spec, bootstrap.deployed_manifest, bootstrap._deployed_manifests)
    for each in caches:
        each.cache_clear()
    sys.modules.pop("crossdock_tenant", None)
    yield
    for each in caches:
        each.cache_clear()
    sys.modules.pop("crossdock_tenant", None)


@pytest.mark.usefixtures("_layer")
def test_the_deployed_tenant_is_the_one_in_its_layer() -> None:
    assert bootstrap.deployed_spec() == spec()
    assert {name: bootstrap.deployed_manifest(name) for name in NAMES if name in {c.connector for c in spec().connections.values()}} == {
        connection.connector: bootstrap.load_manifest(connection.connector) for connection in spec().connections.values()
    }


@pytest.mark.usefixtures("_layer")
def test_the_intake_knows_the_same_contracts_without_the_models() -> None:
    contracts, max_bytes = intake.deployed_webhooks()
    assert contracts == {name: bootstrap.load_manifest(connection.connector).webhooks for name, connection in spec().connections.items()}
    assert max_bytes == spec().limits.webhook_bytes


@pytest.mark.usefixtures("_layer")
def test_the_intake_is_made_once_and_asks_for_everything_only_when_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    intake.function_intake.cache_clear()
    made = intake.function_intake()
    assert intake.function_intake() is made
    asked: list[str] = []
    monkeypatch.setattr(bootstrap, "function_services", lambda: asked.append("everything"))
    made.services()
    assert asked == ["everything"]
    intake.function_intake.cache_clear()
