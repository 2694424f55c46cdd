"""What is a tenant's resolved configuration, and if it is wrong: in which file, on which line, and what helps?

Layers, later ones win: ``tenants/_base.yaml`` < ``partners/<partner>.yaml`` (``defaults`` and ``branding``) <
``tenants/<name>.yaml`` < a deployment overlay (``{"tenants": {NAME: {...}}}``, YAML or JSON).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from crossdock.domain.manifest import ConnectorManifest
from crossdock.domain.tenant import Connection, TenantSpec
from infra.located_yaml import Located, YamlProblem, merge, read
from infra.partner_file import PartnerFile

CONNECTORS = Path("layers/crossdock/python/crossdock/connectors")
_LOOPBACK = frozenset({"127.0.0.1", "localhost"})
REPORTS_STOCK = "inventory/report"
"""The topic under which the tenant's own clients report the stock of a location."""
_ERP_COMMANDS = ("CreateSalesOrder", "CancelSalesOrder", "PostInvoice")
_ERP_QUERIES = ("credit", "prices")
_PATH = re.compile(r"[a-z_]+(?:\.[A-Za-z0-9_-]+)*")

_REMEDIES = {
    "missing": "add it here",
    "extra_forbidden": "remove it, or correct its spelling (tenants/_template.yaml lists every field)",
    "string_type": "put the value in quotes: it is a name, not a number",
    "decimal_parsing": "write a plain number such as 12.50",
    "decimal_type": "write a plain number such as 12.50",
    "int_parsing": "write a whole number",
    "int_type": "write a whole number",
    "bool_parsing": "write true or false",
    "string_pattern_mismatch": "use only the characters that the pattern allows",
    "enum": "choose one of the values listed",
    "literal_error": "choose one of the values listed",
    "too_short": "add at least one entry",
    "dict_type": "write `name: value` lines below it, indented",
    "model_type": "write `name: value` lines below it, indented",
    "tuple_type": "write a list: `- value` lines or [a, b]",
}


@dataclass(frozen=True)
class Problem:
    """One thing wrong: where it stands, the dotted path of the field, what is wrong and what helps."""

    file: Path
    line: int
    path: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}"
        return f"{where}: {self.path}: {self.problem}; {self.remedy}" if self.path else f"{where}: {self.problem}; {self.remedy}"


class TenantFileProblem(Exception):
    """The configuration cannot be used; ``problems`` holds every reason found, not only the first."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def names(root: Path) -> list[str]:
    """Every tenant that has a file; files starting with ``_`` are layers and templates."""
    return sorted(file.stem for file in (root / "tenants").glob("*.yaml") if not file.name.startswith("_"))


def manifests(root: Path) -> dict[str, ConnectorManifest]:
    """What each connector folder says of itself. Raises TenantFileProblem for a manifest that is wrong."""
    found: dict[str, ConnectorManifest] = {}
    for file in sorted((root / CONNECTORS).glob("*/manifest.yaml")):
        tree = _read(file, root)
        try:
            manifest = ConnectorManifest.model_validate(tree.plain())
        except ValidationError as error:
            raise TenantFileProblem(_from_validation(error, tree, root)) from error
        if manifest.name != file.parent.name:
            raise TenantFileProblem([_problem(tree, root, "name", f"is {manifest.name!r} in the folder {file.parent.name!r}", "make both the same")])
        found[manifest.name] = manifest
    return found


def partner(name: str, root: Path) -> PartnerFile:
    """The partner's own file: brand, contacts, price book. Raises TenantFileProblem."""
    tree = _read(root / "partners" / f"{name}.yaml", root)
    try:
        return PartnerFile.model_validate({key: value for key, value in tree.plain().items() if key != "defaults"})
    except ValidationError as error:
        raise TenantFileProblem(_from_validation(error, tree, root)) from error


def load(name: str, root: Path, overlay: Path | None = None) -> TenantSpec:
    """The tenant's configuration with all its layers, checked against itself and against the connectors' manifests.

    Raises TenantFileProblem with every problem found.
    """
    tree = resolved(name, root, overlay)
    problems: list[Problem] = []
    try:
        spec = TenantSpec.model_validate(tree.plain())
    except ValidationError as error:
        raise TenantFileProblem(_from_validation(error, tree, root)) from error
    if spec.tenant != name:
        problems.append(_problem(tree, root, "tenant", f"is {spec.tenant!r} in the file {name}.yaml", f"write `tenant: {name}`, or rename the file"))
    partner(spec.partner, root)
    problems += _against_manifests(spec, tree, root, manifests(root), overlay)
    if problems:
        raise TenantFileProblem(problems)
    return spec


def resolved(name: str, root: Path, overlay: Path | None = None) -> Located:
    """The merged layers before validation, each value with the place it came from."""
    file = root / "tenants" / f"{name}.yaml"
    if name not in names(root):
        known = ", ".join(names(root)) or "none"
        raise TenantFileProblem([Problem(Path("tenants") / f"{name}.yaml", 1, "", f"there is no tenant {name!r} (there are: {known})", f"run `crossdock tenant new {name}`")])
    own = _read(file, root)
    partner_name = own.get("partner")
    if partner_name is None or not isinstance(partner_name.value, str):
        raise TenantFileProblem([_problem(own, root, "partner", "the tenant names no partner", "write `partner: NAME`; partners/NAME.yaml must exist")])
    partner_file = root / "partners" / f"{partner_name.value}.yaml"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", partner_name.value) or not partner_file.is_file():
        known = ", ".join(sorted(item.stem for item in (root / "partners").glob("*.yaml"))) or "none"
        problem = f"there is no partner {partner_name.value!r} (there are: {known})"
        raise TenantFileProblem([_problem(own, root, "partner", problem, f"correct it, or write partners/{partner_name.value}.yaml")])

    layers: list[Located] = []
    base = root / "tenants" / "_base.yaml"
    if base.is_file():
        layers.append(_read(base, root))
    partner_tree = _read(partner_file, root)
    branding, defaults = partner_tree.get("branding"), partner_tree.get("defaults")
    if branding is not None:
        layers.append(Located({"branding": branding}, branding.file, branding.line))
    if defaults is not None:
        layers.append(defaults)
    layers.append(own)
    if overlay is not None:
        layers += _overlay_of(name, overlay, root)
    tree = layers[0]
    for layer in layers[1:]:
        tree = merge(tree, layer)
    return Located(tree.value, own.file, 1)


def _overlay_of(name: str, overlay: Path, root: Path) -> list[Located]:
    tree = _read(overlay, root)
    unknown = sorted(set(tree.value) - {"tenants", "engine"})
    if unknown:
        raise TenantFileProblem([_problem(tree, root, unknown[0], "is not part of a deployment overlay", "an overlay has `tenants` (and `engine` for the local one)")])
    tenants = tree.get("tenants")
    mine = tenants.get(name) if tenants is not None else None
    return [mine] if mine is not None else []


def _read(file: Path, root: Path) -> Located:
    try:
        return read(file)
    except YamlProblem as error:
        raise TenantFileProblem([Problem(_relative(error.file, root), error.line, "", error.problem, error.remedy)]) from error


def _relative(file: Path, root: Path) -> Path:
    return file.relative_to(root) if file.is_relative_to(root) else file


def _problem(tree: Located, root: Path, path: str, problem: str, remedy: str) -> Problem:
    place = tree.at(path.split("."))
    return Problem(_relative(place.file, root), place.line, path, problem, remedy)


def _from_validation(error: ValidationError, tree: Located, root: Path) -> list[Problem]:
    problems: list[Problem] = []
    for item in error.errors(include_url=False, include_input=False):
        steps = [step for step in item["loc"] if step != "[key]"]
        message = item["msg"].removeprefix("Value error, ")
        remedy = _REMEDIES.get(item["type"], "correct the value")
        found = _PATH.match(message) if item["type"] == "value_error" else None
        if found and tree.at([*steps, *found[0].split(".")]) is not tree.at(steps):
            # A rule over several fields names the one it stumbled over at the start of its sentence.
            steps += found[0].split(".")
            message = message.removeprefix(found[0]).lstrip(": ")
            remedy = "correct this value, or the one that it refers to"
        place = tree.at(steps)
        problems.append(Problem(_relative(place.file, root), place.line, ".".join(str(step) for step in steps), message[:1].lower() + message[1:], remedy))
    return problems


def _against_manifests(spec: TenantSpec, tree: Located, root: Path, known: Mapping[str, ConnectorManifest], overlay: Path | None) -> list[Problem]:
    problems: list[Problem] = []

    def wrong(path: str, problem: str, remedy: str) -> None:
        problems.append(_problem(tree, root, path, problem, remedy))

    usable: dict[str, ConnectorManifest] = {}
    for name, connection in spec.connections.items():
        manifest = known.get(connection.connector)
        if manifest is None:
            problem = f"there is no connector {connection.connector!r} (there are: {', '.join(known) or 'none'})"
            wrong(f"connections.{name}.connector", problem, "correct it, or run `crossdock connector new`")
            continue
        usable[name] = manifest
        for path, problem, remedy in _connection_problems(name, connection, manifest, tree, overlay):
            wrong(path, problem, remedy)
    for code, location in spec.locations.items():
        worker, counter = usable.get(location.connection), usable.get(location.stock_from)
        if worker is not None and "ReleaseFulfillment" not in worker.commands:
            wrong(f"locations.{code}.connection", f"the connector {worker.name} cannot execute ReleaseFulfillment", "name the connection that works this location")
        if counter is not None and "stock" not in counter.queries and REPORTS_STOCK not in counter.handled:
            wrong(f"locations.{code}.stock_from", f"the connector {counter.name} neither answers stock per location nor reports it", "name a connection that does")
    erp = usable.get(spec.erp)
    if erp is not None:
        missing = [item for item in _ERP_COMMANDS if item not in erp.commands] + [item for item in _ERP_QUERIES if item not in erp.queries]
        if missing:
            wrong(f"connections.{spec.erp}.connector", f"as the ERP {erp.name} would need {', '.join(missing)}", "use a connector that offers them")
    for table in ("units", "customers", "default_accounts", "statuses"):
        for name in getattr(spec.cross_references, table):
            if name not in spec.connections:
                wrong(f"cross_references.{table}.{name}", "is no connection of this tenant", f"use one of: {', '.join(spec.connections)}")
    for index, name in enumerate(spec.cross_references.sku_same_in):
        if name not in spec.connections:
            wrong(f"cross_references.sku_same_in.{index}", f"{name!r} is no connection of this tenant", f"use one of: {', '.join(spec.connections)}")
    return problems


def _connection_problems(name: str, connection: Connection, manifest: ConnectorManifest, tree: Located, overlay: Path | None) -> Iterator[tuple[str, str, str]]:
    at = f"connections.{name}"
    if connection.role not in manifest.roles:
        yield f"{at}.role", f"the connector {manifest.name} cannot be a {connection.role.value}", f"use one of: {', '.join(role.value for role in manifest.roles)}"
    for setting in sorted(set(manifest.settings) - set(connection.settings)):
        # A manifest says of a setting that has no default: "required: ...".
        if manifest.settings[setting].lower().startswith("required"):
            yield f"{at}.settings", f"the setting {setting!r} is missing ({manifest.settings[setting]})", f'add `{setting}: "..."`'
    for setting in sorted(set(connection.settings) - set(manifest.settings)):
        yield f"{at}.settings.{setting}", f"the connector {manifest.name} has no setting {setting!r}", f"use one of: {', '.join(manifest.settings) or 'none'}"
    if manifest.hosts:
        yield from _host_problems(f"{at}.base_url", connection.base_url, manifest, tree, overlay)
    for setting, value in connection.settings.items():
        if "://" in value:
            yield from _host_problems(f"{at}.settings.{setting}", value, manifest, tree, overlay)
    limit = connection.rate_limit
    if limit is not None and limit.requests * manifest.rate_limit.per_seconds > manifest.rate_limit.requests * limit.per_seconds:
        allowed = f"{manifest.rate_limit.requests} per {manifest.rate_limit.per_seconds} s"
        yield f"{at}.rate_limit", f"is looser than what {manifest.title} allows ({allowed})", "only a stricter limit may be set"


def _host_problems(path: str, url: str, manifest: ConnectorManifest, tree: Located, overlay: Path | None) -> Iterator[tuple[str, str, str]]:
    """A URL may only lead where the connector's manifest says; to this machine only from a deployment overlay."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in _LOOPBACK and overlay is not None and tree.at(path.split(".")).file == overlay:
        return
    if parts.scheme != "https":
        yield path, "is not https", "credentials and customer data travel over it: use https"
    if parts.username or parts.password:
        yield path, "carries a user or password", "credentials belong into the tenant's secret"
    if not any(fnmatchcase(host, pattern) for pattern in manifest.hosts):
        yield path, f"the host {host!r} is not one that the connector {manifest.name} may call", f"allowed: {', '.join(manifest.hosts)}"
