"""Is the right thing behind each port, made only when it is needed, and may a connection call only where it should?"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from crossdock import bootstrap
from crossdock.aws.clients import Clients
from crossdock.aws.settings import Settings
from crossdock.domain.errors import NeedsPerson
from tests.functions.tenant import spec

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
        def __init__(self, *, hosts: list[str], name: str) -> None:
            allowed[name] = hosts

    monkeypatch.setattr(crossdock.http, "OutboundHttp", Port)
    local = spec().connections["erp"].model_copy(update={"base_url": "http://127.0.0.1:4711/v2"})
    changed = spec().model_copy(update={"connections": {**spec().connections, "erp": local}})
    bootstrap.services(Settings(), changed, NoClients()).connectors.connector("erp")

    assert allowed == {"erp": [*bootstrap.load_manifest("business_central").hosts, "127.0.0.1:4711"]}


def test_the_deployed_tenant_is_the_one_in_its_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = tmp_path / "crossdock_tenant"
    layer.mkdir()
    (layer / "__init__.py").write_text('"""Configuration of this tenant."""\n')
    (layer / "tenant.json").write_text(json.dumps(spec().as_json()))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "crossdock_tenant", raising=False)
    bootstrap.deployed_spec.cache_clear()
    try:
        assert bootstrap.deployed_spec() == spec()
    finally:
        bootstrap.deployed_spec.cache_clear()
        sys.modules.pop("crossdock_tenant", None)
