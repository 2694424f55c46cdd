"""Does the tree keep the house's rules? Each failure says what to do instead."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from crossdock.domain.manifest import ConnectorManifest

ROOT = Path(__file__).resolve().parents[2]
LAYER = ROOT / "layers" / "crossdock" / "python" / "crossdock"
FUNCTIONS = sorted(path.parent for path in (ROOT / "functions").glob("*/handler.py"))
CONNECTORS = sorted(path.parent for path in (LAYER / "connectors").glob("*/manifest.yaml"))
RUNBOOKS = ROOT / "docs" / "runbooks"
BANNED_WORDS = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "processor", "base"}
HANDLER_LINES = 40
CONNECTOR_FILES = ("README.md", "__init__.py", "client.py", "manifest.yaml", "mapping.py", "samples", "wire.py")
ERRORS = {"CrossdockError", "RetryLater", "UnknownOutcome", "Rejected", "NeedsPerson", "ContractDrift", "ConcurrentChange", "kind"}


def _python(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in sorted(folder.rglob("*.py")) if "node_modules" not in path.parts and "cdk.out" not in path.parts)


def _shipped() -> list[Path]:
    """What runs in the functions."""
    return list(_python(LAYER, ROOT / "functions"))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _attribute_chains(path: Path) -> Iterator[tuple[str, int]]:
    """Dotted names as they are written: ``os.environ``, ``datetime.now``."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node), node.lineno
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)


def test_the_tree_is_really_looked_at() -> None:
    assert len(FUNCTIONS) >= 10
    assert len(CONNECTORS) >= 3
    assert len(_shipped()) > 50


@pytest.mark.parametrize("folder", FUNCTIONS, ids=lambda path: path.name)
def test_a_handler_can_be_read_aloud(folder: Path) -> None:
    lines = len((folder / "handler.py").read_text().splitlines())
    assert lines <= HANDLER_LINES, f"{folder.name}/handler.py has {lines} lines: leave parsing, one call and the answer, and move the rest into crossdock.flows or crossdock.edge"
    assert (folder / "__init__.py").exists(), f"functions/{folder.name} needs an __init__.py, so that the import rules see it"
    assert re.fullmatch(r"[a-z]+(_[a-z]+)+", folder.name), f"functions/{folder.name}: name it verb_noun"


@pytest.mark.parametrize("folder", FUNCTIONS, ids=lambda path: path.name)
def test_every_function_shows_what_it_is_handed(folder: Path) -> None:
    samples = sorted((ROOT / "events" / folder.name).glob("*.json"))
    assert samples, f"put what AWS hands {folder.name} into events/{folder.name}/<case>.json"
    for sample in samples:
        assert isinstance(json.loads(sample.read_text()), dict), f"{_named(sample)} must be one JSON object, as Lambda gets it"


def test_modules_are_named_for_their_subject() -> None:
    found = [_named(path) for path in _python(ROOT / "layers", ROOT / "functions", ROOT / "infra", ROOT / "local") if set(path.stem.split("_")) & BANNED_WORDS]
    assert not found, (
        f"{found}: a module named utils, helpers, common, misc, manager, processor or base says nothing; name its subject, or put each function where its subject lives"
    )


def test_every_module_says_which_question_it_answers() -> None:
    folders = (LAYER, ROOT / "functions", ROOT / "infra", ROOT / "local")
    found = [_named(path) for path in _python(*folders) if path.read_text().strip() and not ast.get_docstring(_tree(path))]
    assert not found, f"{found}: begin each module with one sentence that says what question the file answers"


def test_only_aws_reads_the_environment() -> None:
    found = [
        f"{_named(path)}:{line}"
        for path in _shipped()
        if LAYER / "aws" not in path.parents
        for name, line in _attribute_chains(path)
        if name in ("os.environ", "os.getenv", "environ", "getenv")
    ]
    assert not found, f"{found}: settings are read once, by crossdock.aws.settings; take what you need from Services"


def test_only_the_clock_reads_the_clock() -> None:
    forbidden = re.compile(r"(^|\.)(datetime\.(now|utcnow|today)|date\.today|time\.time)$")
    found = [f"{_named(path)}:{line}" for path in _shipped() if path != LAYER / "domain" / "clock.py" for name, line in _attribute_chains(path) if forbidden.search(name)]
    assert not found, f"{found}: ask services.clock.now(), so that tests can set the time"


def test_only_bootstrap_imports_by_name() -> None:
    found = [f"{_named(path)}:{line}" for path in _shipped() if path != LAYER / "bootstrap.py" for name, line in _attribute_chains(path) if name.partition(".")[0] == "importlib"]
    assert not found, f"{found}: connectors are reached only through bootstrap.load, because the import rules cannot see importlib"


def test_money_and_quantities_are_never_floats() -> None:
    found = [
        f"{_named(path)}:{node.lineno}"
        for path in _shipped()
        if path != LAYER / "http.py"  # seconds of Retry-After, no amount
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float"
    ]
    assert not found, f"{found}: use Decimal; a foreign JSON text is read with crossdock.domain.strict_json.loads"


def test_the_domain_knows_no_vendor() -> None:
    names = [folder.name for folder in CONNECTORS if folder.name != "direct"]  # `direct` is this product's own way in
    words = re.compile("|".join([*(name.replace("_", "[ _-]?") for name in names), "dynamics 365"]), re.IGNORECASE)
    found = [f"{_named(path)}: {match.group()}" for path in _python(LAYER / "domain", LAYER / "flows", LAYER / "aws") for match in words.finditer(path.read_text())]
    assert not found, f"{found}: a vendor's name belongs into its connector folder; say what it means in the house's own words"


@pytest.mark.parametrize("folder", CONNECTORS, ids=lambda path: path.name)
def test_a_connector_is_a_folder_of_the_same_files(folder: Path) -> None:
    missing = [name for name in CONNECTOR_FILES if not (folder / name).exists()]
    assert not missing, f"connectors/{folder.name} lacks {missing}: every connector has {', '.join(CONNECTOR_FILES)}"
    manifest = ConnectorManifest.model_validate(yaml.safe_load((folder / "manifest.yaml").read_text()))
    assert manifest.name == folder.name, f"connectors/{folder.name}/manifest.yaml names itself {manifest.name!r}: folder and name are one spelling"
    assert manifest.owner, f"connectors/{folder.name}/manifest.yaml needs an owner: somebody answers for its contract and mapping"
    assert list((folder / "samples").glob("*.json")), f"connectors/{folder.name}/samples is empty: a captured payload precedes the code"


def _codes(path: Path) -> Iterator[str]:
    """Every exception code that the module can raise, hold or record."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Call) and node.args:
            name = ast.unparse(node.func).rpartition(".")[2]
            place = {"business": 0, "episode": 0, "_episode": 0, "Difference": 0, "Missing": 0, "Amount": 0, "Hold": 1, **dict.fromkeys(ERRORS, 0)}.get(name)
            if place is not None and place < len(node.args):
                yield from (text.value for text in ast.walk(node.args[place]) if isinstance(text, ast.Constant) and isinstance(text.value, str))
        elif isinstance(node, ast.Assign) and any(isinstance(target, ast.Name) and target.id == "code" for target in node.targets):
            yield from (text.value for text in ast.walk(node.value) if isinstance(text, ast.Constant) and isinstance(text.value, str))


def _all_codes() -> dict[str, str]:
    return {code: _named(path) for path in _shipped() for code in _codes(path) if re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*", code)}


def _page(code: str) -> Path:
    return RUNBOOKS / f"{code.lower().replace('_', '-')}.md"


def test_every_exception_code_has_its_runbook() -> None:
    codes = _all_codes()
    assert len(codes) > 40
    missing = {code: where for code, where in codes.items() if not _page(code).exists()}
    assert not missing, f"{missing}: write docs/runbooks/<code>.md: first line the first command to run, then what it means, who, how to solve, how it closes"


def test_every_runbook_is_of_something_and_begins_with_a_command() -> None:
    pages = {_page(code).name for code in _all_codes()}
    for path in sorted(RUNBOOKS.glob("*.md")):
        if path.name.startswith("alarm-"):
            continue
        assert path.name in pages, f"{_named(path)} is about a code that nothing raises any more: delete it"
        text = path.read_text()
        assert text.startswith("    crossdock "), f"{_named(path)}: the first line is the first command to run, indented as code"
        for heading in ("Means", "Who", "Solve", "Closes"):
            assert f"**{heading}.**" in text, f"{_named(path)} does not say: {heading}"


def _committed() -> list[Path]:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("no git work tree here")
    listed = subprocess.run([git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_nothing_names_the_workplace() -> None:
    forbidden = ["/" + "work/main", "/" + "work/shared", "/" + "tmp/crossdock", "/" + "root/"]
    found = []
    for path in _committed():
        data = path.read_bytes()
        found += [f"{_named(path)}: {word}" for word in forbidden if word.encode() in data]
    assert not found, f"{found}: the project stands alone; use paths relative to the file, or a setting"


def test_the_contracts_beside_the_project_are_used_by_tests_only() -> None:
    word = "../" + "shared"
    found = [_named(path) for path in _committed() if path.suffix in (".py", ".yaml", ".json", ".toml", ".md") and "tests" not in path.parts and word.encode() in path.read_bytes()]
    assert not found, f"{found}: only tests that skip with a reason may look for {word}"
