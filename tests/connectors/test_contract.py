"""Does every connector keep the same rules? One suite; it finds the connectors by walking the folders, none is registered.

How samples are named and what they hold: `layers/crossdock/python/crossdock/connectors/<name>/samples/`

- ``<topic, / as .>[.<oddity>].json``: an inbound body in the vendor's shape; ``.expected.json``: the list of
  ``{"occurred_at", "fact"}`` it means, or ``{"error": CODE, "fields": [paths]}`` when it must be refused.
- ``<CommandType>[.<oddity>].json``: ``{"intent", "exchanges": [{"method", "path", "body", "status", "answer"}]}`` with
  ``"look_up": true`` to play ``look_up``; expected: the receipt, null, or ``{"error": CODE}``.
- ``query.<name>[.<oddity>].json``: ``{"arguments", "exchanges"}``; expected: the answer.
- ``poll.<resource>[.<oddity>].json`` with ``{"cursor", "exchanges"}``; expected: ``{"items", "cursor"}``.

``CROSSDOCK_WRITE_SAMPLES=1`` writes the expected files; read them with your own eyes before you believe them.
"""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from crossdock.domain import commands, strict_json
from crossdock.domain.connector import ConnectionContext, Connector, PriceQuestion
from crossdock.domain.delivery import Delivery
from crossdock.domain.errors import ContractDrift, CrossdockError, NeedsPerson, Rejected, UnknownOutcome
from crossdock.domain.events import FACT
from crossdock.domain.manifest import ConnectorManifest
from crossdock.domain.model import rfc3339

ROOT = Path(__file__).parents[2] / "layers/crossdock/python/crossdock/connectors"
NAMES = sorted(path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "__pycache__")
FILES = ("__init__.py", "manifest.yaml", "wire.py", "mapping.py", "client.py", "README.md", "samples")
COMMANDS = {kind.__name__ for kind in get_args(get_args(commands.Intent)[0])} - {"PollConnection"}
QUERIES = {"credit", "prices", "stock", "shown", "list_prices", "orders", "sales_order"}
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
BASE_URL = "https://vendor.example"
WRITE = bool(os.environ.get("CROSSDOCK_WRITE_SAMPLES"))

each_connector = pytest.mark.parametrize("name", NAMES)


# ------------------------------------------------------------------------------------------------ finding things
@cache
def manifest_of(name: str) -> ConnectorManifest:
    return ConnectorManifest.model_validate(yaml.safe_load((ROOT / name / "manifest.yaml").read_text(encoding="utf-8")))


@cache
def connector_class(name: str) -> Callable[[ConnectionContext], Connector]:
    client = importlib.import_module(f"crossdock.connectors.{name}.client")
    found: list[Any] = [kind for title, kind in inspect.getmembers(client, inspect.isclass) if title.endswith("Connector") and kind.__module__ == client.__name__]
    assert len(found) == 1, f"client.py of {name} must hold one class <Product>Connector, it holds {len(found)}"
    made: Callable[[ConnectionContext], Connector] = found[0]
    return made


@dataclass(frozen=True)
class Sample:
    """One sample file of a connector with what it is a sample of."""

    connector: str
    path: Path

    def __str__(self) -> str:
        return f"{self.connector}/{self.stem}"

    @property
    def stem(self) -> str:
        return self.path.name.removesuffix(".json")

    @property
    def raw(self) -> bytes:
        return self.path.read_bytes()

    @property
    def value(self) -> Any:
        return strict_json.loads(self.raw)

    @property
    def expected_path(self) -> Path:
        return self.path.with_name(f"{self.stem}.expected.json")

    @property
    def topic(self) -> str | None:
        """The inbound topic it is a sample of: the longest declared one that its name begins with."""
        if self.is_conversation:
            return None
        manifest = manifest_of(self.connector)
        fitting = [topic for topic in (*manifest.handled, *manifest.ignored) if f"{self.stem}.".startswith(topic.replace("/", ".") + ".")]
        return max(fitting, key=len, default=None)

    @property
    def is_conversation(self) -> bool:
        value = self.value
        return isinstance(value, dict) and "exchanges" in value

    @property
    def capability(self) -> str:
        """``CreateSalesOrder``, ``query.stock``, ``poll.shipments``."""
        parts = self.stem.split(".")
        return ".".join(parts[:2]) if parts[0] in ("query", "poll") else parts[0]


@cache
def samples_of(name: str) -> tuple[Sample, ...]:
    return tuple(Sample(name, path) for path in sorted((ROOT / name / "samples").glob("*.json")) if not path.name.endswith(".expected.json"))


ALL = [sample for name in NAMES for sample in samples_of(name)]
INBOUND = [sample for sample in ALL if not sample.is_conversation]
CONVERSATIONS = [sample for sample in ALL if sample.is_conversation]


def good(samples: list[Sample]) -> list[Sample]:
    return [sample for sample in samples if sample.expected_path.exists() and "error" not in (json.loads(sample.expected_path.read_text()) or {})]


# ------------------------------------------------------------------------------------------------ playing things
class FixedClock:
    def now(self) -> datetime:
        return NOW


class OffScriptError(AssertionError):
    """The connector asked something that the sample does not hold."""


@dataclass
class NoWayOut:
    """Translating is pure: whoever calls out is caught."""

    def send(self, method: str, url: str, **_: object) -> Any:
        raise AssertionError(f"called {method} {url} where no I/O is allowed")


@dataclass
class ScriptedAnswer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class ScriptedVendor:
    """Answers the calls of a conversation sample in order and compares each with what the sample says."""

    exchanges: list[dict[str, Any]]
    secrets: list[str]
    disturb: Callable[[int, bool], ScriptedAnswer | None] = lambda _position, _writes: None
    calls: list[bool] = field(default_factory=list)
    """For each call, whether it was declared to write."""

    def send(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None, writes: bool, timeout_seconds: float | None = None
    ) -> ScriptedAnswer:
        position = len(self.calls)
        if position >= len(self.exchanges):
            raise OffScriptError(f"call {position + 1} is not in the sample: {method} {url} {body!r}")
        exchange = self.exchanges[position]
        self.calls.append(writes)
        asked = {"method": method, "path": url.removeprefix(BASE_URL), "body": _json_or_text(body), "writes": writes}
        told = {"method": exchange["method"], "path": exchange["path"], "body": exchange.get("body"), "writes": exchange.get("writes", method != "GET")}
        if asked != told:
            raise OffScriptError(f"call {position + 1} is {_dumps(asked)}, the sample has {_dumps(told)}")
        assert not any(secret in url for secret in self.secrets), "a secret stands in a URL"
        disturbed = self.disturb(position, writes)
        if disturbed is not None:
            return disturbed
        answer = exchange.get("answer")
        raw = b"" if answer is None else answer.encode() if isinstance(answer, str) else _dumps(answer).encode()
        return ScriptedAnswer(exchange["status"], {str(key).lower(): str(value) for key, value in (exchange.get("headers") or {}).items()}, raw)


def _json_or_text(body: bytes | None) -> Any:
    if not body:
        return None
    try:
        return strict_json.loads(body)
    except Rejected:
        return body.decode()


def _dumps(value: Any, *, indent: int | None = None) -> str:
    """JSON with a Decimal as the number it is."""
    open_mark, close_mark = "\ue0f1", "\ue0f2"
    text = json.dumps(value, default=lambda number: f"{open_mark}{number:f}{close_mark}", ensure_ascii=False, indent=indent)
    return text.replace(f'"{open_mark}', "").replace(f'{close_mark}"', "")


def connector_for(name: str, http: Any, sample: Mapping[str, Any] | None = None) -> Connector:
    manifest = manifest_of(name)
    given = sample or {}
    credentials = {key: f"secret-{key}" for key in manifest.credentials} | {str(key): str(value) for key, value in (given.get("credentials") or {}).items()}
    return connector_class(name)(
        ConnectionContext(
            tenant="sample",
            connection="sample",
            manifest=manifest,
            base_url=BASE_URL,
            settings={str(key): str(value) for key, value in (given.get("settings") or {}).items()},
            credentials=lambda: credentials,
            http=http,
            clock=FixedClock(),
        )
    )


def translated(name: str, topic: str, body: bytes) -> Any:
    """What a delivery means, as JSON: occurrences, ``{"ignored"}``, or ``{"error", "fields"}``."""
    delivery = Delivery(delivery_id="d-1", connection="sample", topic=topic, body=body, received_at=NOW)
    try:
        translation = connector_for(name, NoWayOut()).translate(delivery)
    except CrossdockError as error:
        return _error(error)
    if translation.ignored is not None:
        return {"ignored": translation.ignored}
    return [{"occurred_at": rfc3339(each.occurred_at), "fact": each.fact.as_json()} for each in translation.occurrences]


def _error(error: CrossdockError) -> dict[str, Any]:
    return {"error": error.code, "fields": [problem.path for problem in error.fields]}


def play(sample: Sample, vendor: ScriptedVendor) -> Any:
    """The outcome of a conversation as JSON. Classified errors are passed on."""
    value = sample.value
    connector = connector_for(sample.connector, vendor, value)
    if "intent" in value:
        intent = commands.INTENT.validate_json(_dumps(value["intent"]))
        receipt = connector.look_up(intent) if value.get("look_up") else connector.execute(intent)
        return None if receipt is None else receipt.as_json()
    if sample.capability.startswith("poll."):
        result = connector.poll(sample.capability.removeprefix("poll."), value.get("cursor"))
        return {"items": [{"key": item.key, "topic": item.topic, "body": strict_json.loads(item.body)} for item in result.items], "cursor": result.cursor}
    arguments = value.get("arguments") or {}
    if sample.capability == "query.credit":
        standing = connector.credit(arguments["account"])
        return None if standing is None else standing.as_json()
    if sample.capability == "query.prices":
        questions = [PriceQuestion(each["sku"], each["unit"], Decimal(str(each["quantity"])), each["currency"]) for each in arguments["questions"]]
        return [None if price is None else price.as_json() for price in connector.prices(arguments["account"], questions)]
    if sample.capability == "query.sales_order":
        document = connector.sales_order(arguments["external_id"])
        return (
            None
            if document is None
            else {**{name: getattr(document, name).as_json() for name in ("total", "tax", "freight")}, "lines": {line: str(quantity) for line, quantity in document.lines.items()}}
        )
    if sample.capability in ("query.list_prices", "query.shown", "query.orders"):
        return list(snapshot(connector, sample.capability.removeprefix("query."), arguments.get("since")))
    assert sample.capability == "query.stock", f"{sample} is a sample of nothing known"
    return [reading.as_json() for reading in connector.stock()]


def snapshot(connector: Connector, resource: str, cursor: str | None) -> Iterator[Any]:
    """Everything of a snapshot, page by page, until there is no next one."""
    for _ in range(1000):
        page = connector.snapshot(resource, cursor)
        yield from (each.as_json() for each in (*page.readings, *page.prices))
        yield from ({"external_id": each.external_id, "order_id": each.order_id, "changed_at": rfc3339(each.changed_at)} for each in page.orders)
        if page.cursor is None:
            return
        cursor = page.cursor
    raise ContractDrift("UNEXPECTED_ANSWER", "pages without end: the flow that reads them stops too")


def vendor_for(sample: Sample, disturb: Callable[[int, bool], ScriptedAnswer | None] | None = None) -> ScriptedVendor:
    secrets = [f"secret-{key}" for key in manifest_of(sample.connector).credentials]
    vendor = ScriptedVendor(exchanges=sample.value["exchanges"], secrets=secrets)
    if disturb:
        vendor.disturb = disturb
    return vendor


def compare(sample: Sample, found: Any) -> None:
    if WRITE:
        sample.expected_path.write_text(_dumps(found, indent=2) + "\n", encoding="utf-8")
    assert sample.expected_path.exists(), f"{sample} has no expected twin: write it with CROSSDOCK_WRITE_SAMPLES=1 and read it"
    assert found == strict_json.loads(sample.expected_path.read_bytes())


# ------------------------------------------------------------------------------------------------ the folder
@each_connector
def test_the_folder_holds_the_same_files_as_every_other(name: str) -> None:
    missing = [file for file in FILES if not (ROOT / name / file).exists()]

    assert not missing, f"connectors/{name} lacks {', '.join(missing)}: every connector has the same files"


@each_connector
def test_the_package_exports_nothing_but_its_docstring(name: str) -> None:
    body = ast.parse((ROOT / name / "__init__.py").read_text(encoding="utf-8")).body

    assert len(body) == 1, "connectors are reached through the loader: __init__.py holds one docstring"
    assert isinstance(body[0], ast.Expr)


@each_connector
def test_the_manifest_is_true_of_the_connector(name: str) -> None:
    manifest = manifest_of(name)

    assert manifest.name == name, "the folder's name is the connector's name"
    assert set(manifest.commands) <= COMMANDS, "a command that the domain does not know"
    assert set(manifest.queries) <= QUERIES, "a query that the port does not have"
    assert all(answer in manifest.commands for poll in manifest.polls.values() for answer in poll.answers)
    assert manifest.hosts, "a connector may call the hosts it names"
    assert not any(host in ("*", "*.*") for host in manifest.hosts), "a pattern for every host is none"
    assert manifest.vendor_documentation.startswith(("https://", "contracts/")), "say where the vendor's own description stands"


@each_connector
def test_the_readme_tells_who_comes_next_what_they_need(name: str) -> None:
    text = (ROOT / name / "README.md").read_text(encoding="utf-8")

    for credential in manifest_of(name).credentials:
        assert credential in text, f"README.md does not say where {credential} comes from"
    assert "known limit" in text.lower(), "README.md does not tell the known limitations"


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" if node.module == f"crossdock.connectors.{path.parent.name}" else node.module or "" for alias in node.names)


@each_connector
@pytest.mark.parametrize("file", ["wire.py", "mapping.py", "client.py"])
def test_a_module_imports_only_what_its_place_allows(name: str, file: str) -> None:
    own = f"crossdock.connectors.{name}"
    allowed = {"wire.py": [f"{own}.wire"], "mapping.py": [f"{own}.wire"], "client.py": [f"{own}.wire", f"{own}.mapping"]}[file]
    allowed_roots = {"wire.py": {"pydantic"}, "mapping.py": {"pydantic"}, "client.py": {"pydantic", "yaml"}}[file]
    forbidden_stdlib = {"socket", "urllib.request", "http.client", "subprocess", "threading"} | ({"os", "pathlib"} if file != "client.py" else set())
    for imported in _imports(ROOT / name / file):
        if imported.startswith("crossdock.connectors"):
            helper = imported.startswith(own + ".") and file == "client.py"
            assert helper or any(imported == place or imported.startswith(place + ".") for place in allowed), f"{file} imports {imported}"
        elif imported.startswith("crossdock."):
            assert imported.startswith("crossdock.domain"), f"{file} imports {imported}: connectors see the domain only (HTTP comes through the context)"
        else:
            assert imported not in forbidden_stdlib, f"{file} imports {imported}: the only way out is ConnectionContext.http"
            root = imported.partition(".")[0]
            assert root in allowed_roots or root in sys.stdlib_module_names, f"{file} imports {imported}"


@each_connector
def test_mapping_reaches_no_io_even_indirectly(name: str) -> None:
    code = f"import sys, crossdock.connectors.{name}.mapping; print(*sorted(set(sys.modules) & {{'requests', 'urllib3', 'boto3', 'botocore', 'http.client'}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "", f"importing mapping.py loads {done.stdout.strip()}"


# ------------------------------------------------------------------------------------------------ samples
@each_connector
def test_every_capability_has_a_sample(name: str) -> None:
    manifest = manifest_of(name)
    inbound = {sample.topic for sample in samples_of(name) if not sample.is_conversation}
    played = [sample for sample in samples_of(name) if sample.is_conversation]
    executed = {sample.capability for sample in played if not sample.value.get("look_up")}
    looked_up = {sample.capability for sample in played if sample.value.get("look_up")}

    assert set(manifest.handled) <= inbound, f"handled topics without a sample: {sorted(set(manifest.handled) - inbound)}"
    assert set(manifest.commands) <= executed, f"commands without a sample: {sorted(set(manifest.commands) - executed)}"
    assert set(manifest.commands) <= looked_up, f"commands whose unknown outcome no sample looks up: {sorted(set(manifest.commands) - looked_up)}"
    wanted = {f"query.{query}" for query in manifest.queries} | {f"poll.{resource}" for resource in manifest.polls}
    assert wanted <= executed, f"without a sample: {sorted(wanted - executed)}"


@each_connector
def test_every_expected_file_belongs_to_a_sample(name: str) -> None:
    stems = {sample.expected_path.name for sample in samples_of(name)}
    expected = {path.name for path in (ROOT / name / "samples").glob("*.expected.json")}

    assert expected <= stems, f"orphans: {sorted(expected - stems)}"
    undeclared = [str(sample) for sample in samples_of(name) if not sample.is_conversation and sample.topic is None]
    assert not undeclared, f"samples of no declared topic: {undeclared}"


@pytest.mark.parametrize("sample", INBOUND, ids=str)
def test_an_inbound_sample_means_its_canonical_twin(sample: Sample) -> None:
    found = translated(sample.connector, sample.topic or "", sample.raw)

    compare(sample, found)
    assert translated(sample.connector, sample.topic or "", sample.raw) == found, "the same delivery must always mean the same"
    for each in found if isinstance(found, list) else []:
        assert FACT.validate_json(json.dumps(each["fact"])).as_json() == each["fact"], "a fact must survive its own JSON"


@pytest.mark.parametrize("sample", CONVERSATIONS, ids=str)
def test_a_conversation_sample_ends_as_expected(sample: Sample) -> None:
    vendor = vendor_for(sample)
    try:
        found = play(sample, vendor)
    except CrossdockError as error:
        found = _error(error)

    compare(sample, found)
    assert len(vendor.calls) == len(sample.value["exchanges"]), "the sample holds calls that were not made"


# ------------------------------------------------------------------------------------------------ a closed world
@each_connector
def test_what_is_ignored_is_ignored_by_name_with_its_reason(name: str) -> None:
    for topic, ignored in manifest_of(name).ignored.items():
        assert translated(name, topic, b"{}") == {"ignored": ignored.reason}


@each_connector
def test_an_undeclared_topic_is_contract_drift(name: str) -> None:
    connector = connector_for(name, NoWayOut())

    with pytest.raises(ContractDrift) as caught:
        connector.translate(Delivery(delivery_id="d-1", connection="sample", topic="never.heard/of", body=b"{}", received_at=NOW))

    assert caught.value.code == "UNKNOWN_EVENT"


@each_connector
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"7", b"\xff", b'{"a":1,"a":2}', b'{"a":NaN}', b"{}"])
def test_rubbish_is_refused_and_never_breaks_the_connector(name: str, body: bytes) -> None:
    for topic in manifest_of(name).handled:
        found = translated(name, topic, body)
        assert isinstance(found, dict), f"{topic} {body!r} was taken for {found}"
        assert found.get("error") == "INVALID_BODY", f"{topic} {body!r}: {found}"


def _inner(value: Any) -> list[tuple[str | int, Any]]:
    """The fields of an object; of a list the first element stands for all."""
    if isinstance(value, dict):
        return list(value.items())
    return [(0, value[0])] if isinstance(value, list) and value else []


def _changed(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    made = copy.deepcopy(value)
    place = made
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = new
    return made


def _used(sample: Sample) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """The path of every field that makes a difference, with what the body means when just that field has a wrong type.

    What makes no difference even as a whole is not looked into."""
    right, value = translated(sample.connector, sample.topic or "", sample.raw), sample.value
    open_ones: list[tuple[tuple[str | int, ...], Any]] = [((key,), inner) for key, inner in _inner(value)]
    while open_ones:
        path, inner = open_ones.pop()
        wrong = "__wrong__" if isinstance(inner, dict) else {"__wrong__": [1]}
        found = translated(sample.connector, sample.topic or "", _dumps(_changed(value, path, wrong)).encode())
        if found != right:
            yield path, found
            open_ones += [((*path, key), deeper) for key, deeper in _inner(inner)]


@pytest.mark.parametrize("sample", good(INBOUND), ids=str)
def test_a_field_that_is_mistyped_or_unheard_of_is_refused_and_never_guessed(sample: Sample) -> None:
    right, value, refused_by_path = translated(sample.connector, sample.topic or "", sample.raw), sample.value, 0
    for path, found in _used(sample):
        dotted = ".".join(str(step) for step in path)
        assert isinstance(found, dict), f"{dotted} mistyped was taken to mean {found}"
        refused_by_path += any(problem.startswith(dotted) for problem in found.get("fields", []))
        if isinstance(path[-1], str) and (path[-1].lower().endswith("status") or path[-1].lower() in ("state", "type")):
            guessed = translated(sample.connector, sample.topic or "", _dumps(_changed(value, path, "never-heard-of")).encode())
            assert guessed == right or isinstance(guessed, dict), f"{dotted} with an unknown value was guessed to mean {guessed}"

    assert refused_by_path, "no mistyped field is refused with its path"


# ------------------------------------------------------------------------------------------------ answers and failures
@pytest.mark.parametrize("sample", good(CONVERSATIONS), ids=str)
def test_an_unknown_outcome_of_a_write_is_passed_on_as_such(sample: Sample) -> None:
    for position in range(len(sample.value["exchanges"])):

        def lose(current: int, writes: bool, at: int = position) -> ScriptedAnswer | None:
            if writes and current == at:
                raise UnknownOutcome("UNKNOWN_OUTCOME", "the answer was lost")
            return None

        vendor = vendor_for(sample, lose)
        try:
            play(sample, vendor)
        except UnknownOutcome:
            assert vendor.calls[-1] is True
        else:
            assert not vendor.calls[position : position + 1] or vendor.calls[position] is False, "a lost answer to a write was taken for done"


@pytest.mark.parametrize("sample", good(CONVERSATIONS), ids=str)
@pytest.mark.parametrize("body", [b"<html>busy</html>", b"", b"[]", b"7", b'{"surprise": 1}'])
def test_an_answer_that_is_not_understood_never_breaks_the_connector(sample: Sample, body: bytes) -> None:
    right = strict_json.loads(sample.expected_path.read_bytes())
    for position, exchange in enumerate(sample.value["exchanges"]):

        def garble(current: int, _writes: bool, at: int = position, status: int = exchange["status"]) -> ScriptedAnswer | None:
            return ScriptedAnswer(status, {}, body) if current == at else None

        try:
            found = play(sample, vendor_for(sample, garble))
        except (CrossdockError, OffScriptError):
            continue
        assert found == right or not found or body in (b"", b"[]"), f"made {found} of {body!r}"


@pytest.mark.parametrize("sample", good(CONVERSATIONS), ids=str)
@pytest.mark.parametrize("status", [401, 403])
def test_wrong_credentials_need_a_person(sample: Sample, status: int) -> None:
    with pytest.raises((NeedsPerson, Rejected)) as caught:
        play(sample, vendor_for(sample, lambda _position, _writes: ScriptedAnswer(status, {}, b"")))

    assert caught.value.code == "NOT_AUTHORISED"
