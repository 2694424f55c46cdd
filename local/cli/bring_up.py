"""What does it take until tenants are ready for work on this machine, and where are their doors?

Engine, simulators and stacks are `local.engine`'s; this adds what makes them one system: credentials, webhooks, stock.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossdock.bootstrap import load_manifest
from crossdock.domain.manifest import ConnectorManifest, Role
from crossdock.domain.tenant import TenantSpec
from infra import tenant_files
from local.cli import control
from local.cli.options import UsageProblem
from local.cli.stack import Stack, StackNotFound, local, use_engine
from local.engine.local_run import LocalRun, UpRequest
from local.engine.progress import OnProgress, in_silence, step
from local.engine.simulators import SimulatorSpec
from local.engine.state import RunState, SimulatorState
from local.seed import world

_WEBHOOK_SECRET = "webhook_secret"  # noqa: S105 - the name of a field
_STOCK_WITHIN_S = 60.0


@dataclass(frozen=True)
class Plan:
    """What one tenant needs besides its stack."""

    spec: TenantSpec
    simulators: tuple[SimulatorSpec, ...]
    credentials: Mapping[str, Mapping[str, str]]
    """Connection to the fields of its secret, the webhook secret among them."""


def up(
    run: LocalRun,
    tenants: Sequence[str],
    *,
    enforce_iam: bool,
    engine_port: int | None = None,
    functions_endpoint: str | None = None,
    exchanges_file: Path | None = None,
    laid_over: Mapping[str, Any] | None = None,
    on_progress: OnProgress = in_silence,
) -> dict[str, Any]:
    """Bring the tenants up (all there are, when none is named) and return the object `local up --json` prints. Doing it again repairs and updates.

    ``laid_over``: what besides is laid over each tenant's file for this run."""
    root = run.directory.root
    known = tenant_files.names(root)
    unknown = sorted(set(tenants) - set(known))
    if unknown:
        raise UsageProblem(f"no tenant file for {', '.join(unknown)}; there are: {', '.join(known)}")
    wanted = list(dict.fromkeys(tenants)) or known
    manifests = tenant_files.manifests(root)
    plans = {name: plan(tenant_files.load(name, root), manifests, run.directory.simulators) for name in wanted}
    request = UpRequest(
        tenants=wanted,
        simulators=[simulator for each in plans.values() for simulator in each.simulators],
        overlay=lambda urls: overlay({name: each.spec for name, each in plans.items()}, manifests, urls, laid_over or {}),
        enforce_iam=enforce_iam,
        engine_port=engine_port,
        functions_endpoint=functions_endpoint,
        exchanges_file=exchanges_file.resolve() if exchanges_file else None,
    )
    state = run.up(request, on_progress)
    if state.engine is None:
        raise StackNotFound("the engine did not stay up")
    use_engine(state.engine.url)
    with step(on_progress, "connect the systems", ", ".join(wanted)):
        for name in wanted:  # one after the other: restarting a simulator changes the run's state under its lock
            _connect(run, state, plans[name])
    stacks = [local(name, root) for name in wanted]
    with step(on_progress, "count the stock", ", ".join(wanted)) as say, ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(lambda stack: _count_stock(stack, plans[stack.tenant], say), stacks))
    found = endpoints(run, state, wanted)
    with step(on_progress, "warm up the doors", ", ".join(wanted)):
        _warm_up(found, stacks)
    return found


_READY_DOORS = 8
"""Workers that stand ready per door: each takes the engine half a second to start, and a burst of webhooks would wait for all of them."""


def _warm_up(found: Mapping[str, Any], stacks: Sequence[Stack]) -> None:
    """Knocks at each tenant's doors as often at once as workers shall stand ready. What is sent is not signed: it is refused and leaves nothing.
    The stages behind get an empty batch, so that the first order need not wait for their start."""
    for stack in stacks:
        for function in ("translate_delivery", "apply_event"):
            stack.invoke(function, {"Records": []})
    for tenant in found["tenants"].values():
        hooks = [hook["url"] for hook in tenant["webhooks"].values()][:1] * _READY_DOORS
        with ThreadPoolExecutor(max_workers=_READY_DOORS) as pool:
            list(pool.map(lambda url: control.send("POST", url, b"{}"), hooks))


def plan(spec: TenantSpec, manifests: Mapping[str, ConnectorManifest], configurations: Path) -> Plan:
    """The simulators of every connection whose vendor has one, with credentials that a running simulator keeps."""
    facts = world.of(spec)
    simulators: list[SimulatorSpec] = []
    credentials: dict[str, dict[str, str]] = {}
    for name, connection in spec.connections.items():
        if importlib.util.find_spec(f"local.simulators.{connection.connector}") is None:
            continue
        manifest = manifests[connection.connector]
        settings = _settings(spec, name, facts, manifest)
        secret = settings.pop(_WEBHOOK_SECRET, secrets.token_hex(32))
        simulator = SimulatorSpec(vendor=connection.connector, tenant=spec.tenant, connection=name, settings=settings)
        standing = _standing(configurations / f"{simulator.name}.json")
        settings["credentials"] = {**settings["credentials"], **standing.get("credentials", {})}
        settings["adopt"] = standing.get("adopt")
        simulators.append(simulator)
        credentials[name] = {field: str(settings["credentials"][field]) for field in manifest.credentials}
        if manifest.webhooks is not None:
            credentials[name][_WEBHOOK_SECRET] = secret
    return Plan(spec, tuple(simulators), credentials)


def _settings(spec: TenantSpec, connection: str, facts: world.World, manifest: ConnectorManifest) -> dict[str, Any]:
    """What the vendor's seed makes of the world; a vendor without one starts empty, with made-up credentials."""
    vendor = spec.connections[connection].connector
    if importlib.util.find_spec(f"local.seed.{vendor}") is None:
        return {"credentials": {field: secrets.token_hex(16) for field in manifest.credentials}}
    settings: dict[str, Any] = importlib.import_module(f"local.seed.{vendor}").settings(spec, connection, facts)
    return settings


def _standing(configuration: Path) -> dict[str, Any]:
    """How a simulator that is already there was configured."""
    try:
        found: dict[str, Any] = json.loads(configuration.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return found


def overlay(specs: Mapping[str, TenantSpec], manifests: Mapping[str, ConnectorManifest], urls: Mapping[str, Mapping[str, str]], more: Mapping[str, Any]) -> dict[str, Any]:
    """The deployment overlay: simulators in the vendors' places, and polls every second."""
    tenants: dict[str, Any] = {}
    for name, spec in specs.items():
        connections: dict[str, Any] = {}
        for connection, url in urls.get(name, {}).items():
            manifest = manifests[spec.connections[connection].connector]
            entry: dict[str, Any] = {"base_url": url}
            # Settings that name an address of the vendor (where tokens come from) point at its simulator too.
            addresses = {setting: url for setting in manifest.settings if setting.endswith("_url")}
            if addresses:
                entry["settings"] = addresses
            if any(poll.answers for poll in manifest.polls.values()):
                entry["poll_seconds"] = 1
            connections[connection] = entry
        tenants[name] = {**more, "connections": connections}
    return {"tenants": tenants}


def _connect(run: LocalRun, state: RunState, wanted: Plan) -> None:
    """Credentials into the tenant's secret, webhooks to the stack, and the storefront's way to ask for orders it never placed."""
    stack = local(wanted.spec.tenant, run.directory.root)
    value = stack.read_secret()
    # What stands there was put by an earlier run or rotated since: it is what the other side knows.
    missing = {name: fields for name, fields in wanted.credentials.items() if not value.get(name)}
    if missing:
        stack.write_secret({**value, **missing})
        value = {**value, **missing}
    hooks = stack.webhook_urls()
    adopt = {"orders_url": f"{stack.api_url}/v1/orders", "api_key": next(iter(stack.api_keys().values()))}
    for simulator in _simulators_of(state, wanted.spec.tenant):
        if wanted.spec.connections[simulator.connection].role is Role.STOREFRONT:
            control.put(simulator.url, "/_adopt", adopt)
        if simulator.connection in hooks:
            # Subscribed to what is acted on, as one does at the vendor: what would only be ignored by name is paid for as well.
            handled = load_manifest(wanted.spec.connections[simulator.connection].connector).handled
            subscription = {"url": hooks[simulator.connection], "secret": value[simulator.connection][_WEBHOOK_SECRET], "topics": sorted(handled)}
            control.put(simulator.url, "/_webhook", subscription)


def _simulators_of(state: RunState, tenant: str) -> list[SimulatorState]:
    return [simulator for simulator in state.simulators.values() if simulator.tenant == tenant]


def _count_stock(stack: Stack, wanted: Plan, say: Callable[[str], None]) -> None:
    """Have the watch ask whoever is believed for each location, and wait until every count is in."""
    expected = {(sku, code) for sku, shelf in world.of(wanted.spec).stock.items() for code, count in shelf.items() if count}
    give_up = time.monotonic() + _STOCK_WITHIN_S
    missing = expected - set(stack.services.stock.levels(expected))
    if missing:
        stack.invoke("watch_deadlines")
    while missing:
        if time.monotonic() > give_up:
            shown = ", ".join(f"{sku}@{code}" for sku, code in sorted(missing)[:5])
            say(f"{wanted.spec.tenant}: {len(missing)} of {len(expected)} stock counts have not come ({shown} ...): see `crossdock exceptions list` and `crossdock dlq list`")
            return
        time.sleep(0.2)
        missing -= set(stack.services.stock.levels(missing))


def endpoints(run: LocalRun, state: RunState, tenants: Sequence[str]) -> dict[str, Any]:
    """The object `local up --json` prints."""
    if state.engine is None:
        raise StackNotFound("nothing is up here: run `crossdock local up`")
    use_engine(state.engine.url)
    manifests = tenant_files.manifests(run.directory.root)
    return {
        "engine_url": state.engine.url,
        "tenants": {name: _doors(local(name, run.directory.root), state, manifests) for name in tenants},
    }


def _doors(stack: Stack, state: RunState, manifests: Mapping[str, ConnectorManifest]) -> dict[str, Any]:
    value = stack.read_secret()
    webhooks = {}
    for connection, url in stack.webhook_urls().items():
        contract = manifests[stack.spec.connections[connection].connector].webhooks
        webhooks[connection] = {
            "url": url,
            "secret": value.get(connection, {}).get(_WEBHOOK_SECRET, ""),
            "scheme": contract.signature.scheme if contract else "",
        }
    return {
        "api_url": stack.api_url,
        "console_url": "",
        "api_keys": stack.api_keys(),
        "users": {},
        "webhooks": webhooks,
        "simulators": {simulator.connection: simulator.url for simulator in _simulators_of(state, stack.tenant)},
    }
