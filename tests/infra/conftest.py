"""What does the app synthesise? Both tenants, both targets, without an account and without a network.

Synthesising takes most of these tests' time, so its result is kept in ``build/synthesis`` under a hash of everything it is made from: the workers
of a run share it, and a run after a change that does not touch the stack finds it there.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

# jsii starts `node` from the PATH; the one that fits comes with the virtual environment.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"


@dataclass(frozen=True)
class Synthesis:
    """Templates by tenant, the folder they were written to, and what the local aspect said."""

    templates: dict[str, dict[str, Any]]
    folder: Path
    said: list[str]

    def resources(self, tenant: str, kind: str) -> dict[str, dict[str, Any]]:
        """The tenant's resources of one CloudFormation type, by logical id."""
        return {name: resource for name, resource in self.templates[tenant]["Resources"].items() if resource["Type"] == kind}


def synthesise(target: str, folder: Path) -> Synthesis:
    from aws_cdk import App

    from infra import app as infra_app

    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    app = App(outdir=str(folder), context={**context, "target": target, "dependencies": "skip"})
    said: list[str] = []
    original = infra_app._say
    infra_app._say = said.append  # type: ignore[assignment]
    try:
        stacks = infra_app.build(app)
        assembly = app.synth()
    finally:
        infra_app._say = original
    return Synthesis({name: assembly.get_stack_by_name(infra_app.stack_name(name)).template for name in stacks}, folder, said)


KEPT = ROOT / "build" / "synthesis"
KEPT_SECONDS = 24 * 3600
MADE_FROM = ("infra", "tenants", "partners", "layers", "functions", "cdk.json", "pyproject.toml", "uv.lock", "tests/infra/conftest.py")


def content() -> str:
    """A hash of everything the templates depend on."""
    found = hashlib.sha256(sys.version.encode())
    for name in MADE_FROM:
        place = ROOT / name
        for file in sorted(item for item in place.rglob("*") if item.is_file() and "__pycache__" not in item.parts) if place.is_dir() else [place]:
            found.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()[:24]


@contextmanager
def alone(name: str) -> Iterator[None]:
    """One process at a time, of all that test this checkout."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def kept(target: str) -> Synthesis:
    """The synthesis of what stands here now, made when nobody has made it yet."""
    place = KEPT / f"{target}-{content()}"
    with alone(target):
        if not place.is_dir():
            for old in KEPT.glob(f"{target}-*"):
                if time.time() - old.stat().st_mtime > KEPT_SECONDS:
                    shutil.rmtree(old)
            staging = Path(tempfile.mkdtemp(dir=KEPT, prefix="staging-"))
            made = synthesise(target, staging / "cdk.out")
            (staging / "said.json").write_text(json.dumps(made.said))
            (staging / "names.json").write_text(json.dumps(list(made.templates)))
            staging.rename(place)
    folder = place / "cdk.out"
    templates = {name: json.loads((folder / f"crossdock-{name.replace('_', '-')}.template.json").read_text()) for name in json.loads((place / "names.json").read_text())}
    return Synthesis(templates, folder, json.loads((place / "said.json").read_text()))


@pytest.fixture(scope="session")
def aws() -> Synthesis:
    return kept("aws")


@pytest.fixture(scope="session")
def local() -> Synthesis:
    return kept("local")


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Path]:
    """A copy of the tenant and partner files beside the real connectors; ``edit(file, old, new)`` changes one place."""
    shutil.copytree(ROOT / "tenants", tmp_path / "tenants")
    shutil.copytree(ROOT / "partners", tmp_path / "partners")
    (tmp_path / "layers").symlink_to(ROOT / "layers")

    def edit(file: str = "", old: str = "", new: str = "") -> Path:
        if file:
            place = tmp_path / file
            text = place.read_text()
            assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
            place.write_text(text.replace(old, new))
        return tmp_path

    return edit
