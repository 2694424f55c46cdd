from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra import layers, tenant_files
from tests.infra.conftest import ROOT

HERE = sys.version_info[:2]


def test_the_shared_layer_is_what_stands_in_the_repository_without_what_only_developers_need(tmp_path: Path) -> None:
    built = layers.shared(ROOT, tmp_path, python=HERE).path / "python" / "crossdock"

    assert (built / "edge.py").read_bytes() == (ROOT / "layers/crossdock/python/crossdock/edge.py").read_bytes()
    assert (built / "connectors" / "shopify" / "manifest.yaml").is_file()
    assert not list(built.rglob("samples"))
    assert not list(built.rglob(".mypy_cache"))


def test_bytecode_ships_and_stays_valid_when_an_archive_changes_file_times(tmp_path: Path) -> None:
    built = layers.shared(ROOT, tmp_path, python=HERE).path / "python" / "crossdock"
    compiled = list(built.rglob("*.pyc"))

    assert len(compiled) == len(list(built.rglob("*.py")))
    # PEP 552: flags 1 = hash-based, not checked against the source.
    assert {file.read_bytes()[4:8] for file in compiled} == {b"\x01\x00\x00\x00"}


def test_no_bytecode_of_another_python_ships(tmp_path: Path) -> None:
    built = layers.shared(ROOT, tmp_path, python=(HERE[0], HERE[1] + 1)).path

    assert not list(built.rglob("*.pyc"))


def test_the_same_content_has_the_same_digest_wherever_it_is_built(tmp_path: Path) -> None:
    first, second = (layers.shared(ROOT, tmp_path / name, python=HERE) for name in ("one", "two"))

    assert first.digest == second.digest
    assert first.path != second.path


def test_a_changed_line_changes_the_digest(tmp_path: Path) -> None:
    source = tmp_path / "root" / "layers" / "crossdock" / "python" / "crossdock"
    source.mkdir(parents=True)
    (source / "__init__.py").write_text('"""Before."""\n')
    before = layers.shared(tmp_path / "root", tmp_path / "build", python=HERE).digest
    (source / "__init__.py").write_text('"""After."""\n')

    assert layers.shared(tmp_path / "root", tmp_path / "build", python=HERE).digest != before


def test_the_tenant_s_layer_is_importable_and_holds_its_resolved_configuration(tmp_path: Path) -> None:
    spec = tenant_files.load("acme_industrial", ROOT)
    built = layers.tenant(spec, tenant_files.manifests(ROOT), tmp_path).path / "python"

    found = subprocess.run(
        [sys.executable, "-c", "import importlib.resources as r; print(r.files('crossdock_tenant').joinpath('tenant.json').read_text())"],
        env={"PYTHONPATH": str(built)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert type(spec).model_validate(json.loads(found.stdout)) == spec


def test_what_cannot_be_built_here_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "uv.lock").write_text("version = 1\n")
    monkeypatch.setattr("shutil.which", lambda _: None)

    with pytest.raises(layers.LayerProblem, match="uv, which is not on the PATH"):
        layers.dependencies(tmp_path, tmp_path / "build")


def test_a_half_built_layer_is_never_taken_for_a_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = tenant_files.load("acme_industrial", ROOT)
    monkeypatch.setattr(layers.json, "dumps", lambda *_, **__: "{}")
    half = tmp_path / "probe"
    whole = layers.tenant(spec, tenant_files.manifests(ROOT), half).path
    assert not list(half.glob("*.part"))
    for part in (whole / "python" / "crossdock_tenant").iterdir():
        part.unlink()

    # What stands under its final name is trusted; only a rename puts it there.
    assert layers.tenant(spec, tenant_files.manifests(ROOT), half).path == whole


def test_a_function_ships_its_handler_with_bytecode(tmp_path: Path) -> None:
    built = layers.function(ROOT, "receive_webhook", tmp_path, python=HERE)

    assert [path.name for path in sorted(built.path.iterdir())] == ["__pycache__", "handler.py"]
    assert {file.read_bytes()[4:8] for file in built.path.rglob("*.pyc")} == {b"\x01\x00\x00\x00"}
    assert not list(layers.function(ROOT, "receive_webhook", tmp_path / "other", python=(HERE[0], HERE[1] + 1)).path.rglob("*.pyc"))


def test_third_party_packages_run_from_bytecode_alone(tmp_path: Path) -> None:
    package = tmp_path / "python" / "vendored"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from vendored.part import FOUND\n")
    (package / "part.py").write_text("FOUND = __name__\n")
    (package / "broken.py").write_text("def broken(:\n")
    (package / "py.typed").write_text("")

    layers._without_source(tmp_path)

    assert sorted(path.name for path in package.iterdir()) == ["__init__.pyc", "broken.py", "part.pyc"], "what does not compile stays as it is"
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path[:0] = [{str(tmp_path / 'python')!r}]; import vendored; print(vendored.FOUND)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "vendored.part"
