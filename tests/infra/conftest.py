"""What does the app synthesise? Both tenants, both targets, once per test run, without an account and without a network."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
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


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    return synthesise("aws", tmp_path_factory.mktemp("aws") / "cdk.out")


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    return synthesise("local", tmp_path_factory.mktemp("local") / "cdk.out")


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
