"""Does a tenant come up with simulators, credentials and an overlay that fit each other?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crossdock.domain.manifest import ConnectorManifest
from crossdock.domain.tenant import TenantSpec
from infra import tenant_files
from local.cli.bring_up import overlay, plan
from local.simulators import exact_json
from local.simulators.server import Config, Harness

ROOT = Path(__file__).resolve().parents[3]
TENANTS = tenant_files.names(ROOT)


@pytest.fixture(scope="module")
def manifests() -> dict[str, ConnectorManifest]:
    return tenant_files.manifests(ROOT)


def spec_of(name: str) -> TenantSpec:
    return tenant_files.load(name, ROOT)


@pytest.mark.parametrize("name", TENANTS)
def test_every_connection_with_a_simulator_gets_one_that_starts(name: str, manifests: dict[str, ConnectorManifest], tmp_path: Path) -> None:
    made = plan(spec_of(name), manifests, tmp_path)

    assert {simulator.connection for simulator in made.simulators} == set(spec_of(name).connections) - {"direct"}
    for simulator in made.simulators:
        settings = exact_json.loads(exact_json.dumps(simulator.settings))
        Harness(Config.read({"vendor": simulator.vendor, "tenant": name, "connection": simulator.connection, **settings})).close()


@pytest.mark.parametrize("name", TENANTS)
def test_the_secret_holds_exactly_what_the_manifests_ask_for(name: str, manifests: dict[str, ConnectorManifest], tmp_path: Path) -> None:
    made = plan(spec_of(name), manifests, tmp_path)

    for connection, fields in made.credentials.items():
        manifest = manifests[made.spec.connections[connection].connector]
        assert set(fields) == {*manifest.credentials, *(["webhook_secret"] if manifest.webhooks else [])}
        assert all(fields.values())


def test_what_a_running_simulator_was_given_stays(manifests: dict[str, ConnectorManifest], tmp_path: Path) -> None:
    spec = spec_of("acme_industrial")
    first = plan(spec, manifests, tmp_path)
    for simulator in first.simulators:
        (tmp_path / f"{simulator.name}.json").write_text(json.dumps({"credentials": simulator.settings["credentials"]}))

    again = plan(spec, manifests, tmp_path)
    elsewhere = plan(spec, manifests, tmp_path / "another run")

    assert {name: {**fields, "webhook_secret": ""} for name, fields in again.credentials.items()} == {
        name: {**fields, "webhook_secret": ""} for name, fields in first.credentials.items()
    }
    assert elsewhere.credentials["erp"]["client_secret"] != first.credentials["erp"]["client_secret"]


def test_the_overlay_puts_the_simulators_in_the_vendors_places(manifests: dict[str, ConnectorManifest], tmp_path: Path) -> None:
    spec = spec_of("acme_industrial")
    made = overlay({"acme_industrial": spec}, manifests, {"acme_industrial": {"storefront": "http://127.0.0.1:1001", "erp": "http://127.0.0.1:1002"}}, {"limits": {"burst": 4000}})

    assert made["tenants"]["acme_industrial"]["connections"] == {
        "storefront": {"base_url": "http://127.0.0.1:1001"},
        "erp": {"base_url": "http://127.0.0.1:1002", "settings": {"login_url": "http://127.0.0.1:1002"}, "poll_seconds": 1},
    }
    file = tmp_path / "overlay.json"
    file.write_text(json.dumps(made))
    laid = tenant_files.load("acme_industrial", ROOT, file)
    assert laid.connections["erp"].base_url == "http://127.0.0.1:1002"
    assert (laid.limits.burst, laid.limits.requests_per_second) == (4000, spec.limits.requests_per_second)
    assert laid.connections["threepl"].base_url == spec.connections["threepl"].base_url
