"""What do the functions import that is not their own? The shared code, the tenant's configuration, third-party packages."""

from __future__ import annotations

import compileall
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from py_compile import PycInvalidationMode

from crossdock.domain.manifest import ConnectorManifest
from crossdock.domain.tenant import TenantSpec

_NOT_SHIPPED = {"__pycache__", "samples", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
LAMBDA_PYTHON = (3, 13)
LAMBDA_PLATFORM = "aarch64-manylinux2014"
NEVER_IMPORTED = ("aws_lambda_powertools/event_handler", "pydantic/v1")
"""Large packages within the dependencies that no function reaches; a test imports every handler and looks."""

PLUGINS_OFF = {"PYDANTIC_DISABLE_PLUGINS": "__all__"}
"""Pydantic looks through the metadata of every installed package for plugins when it builds its first model: tens of milliseconds for nothing."""


class LayerProblem(Exception):
    """A layer cannot be built here; the text says what is missing and how to get it."""


@dataclass(frozen=True)
class Folder:
    """A folder that becomes a layer. ``digest`` depends on what was put in, not on when or where it was built."""

    path: Path
    digest: str


def shared(root: Path, build: Path, *, python: tuple[int, int]) -> Folder:
    """The shared layer as it stands, with bytecode that stays valid when a deployment changes file times.

    Bytecode is added when this interpreter is the one that will run it (``python``); otherwise the layer works without.
    """
    source = root / "layers" / "crossdock"
    files = sorted(item for item in source.rglob("*") if item.is_file() and not _NOT_SHIPPED & set(item.relative_to(source).parts) and not item.name.startswith("."))
    compiled = sys.version_info[:2] == python
    content = hashlib.sha256(f"python{python if compiled else 'none'}".encode())
    for file in files:
        content.update(file.relative_to(source).as_posix().encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    digest = content.hexdigest()
    target = build / f"shared-{digest[:16]}"
    if not target.is_dir():
        staging = _fresh(build / f"shared-{digest[:16]}.part")
        for file in files:
            place = staging / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
        if compiled:
            # Unchecked: the archive sets file times to 1980, which would make every ordinary .pyc look stale.
            compileall.compile_dir(staging, quiet=2, force=True, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH, stripdir=str(staging), prependdir="/opt")
        _put(staging, target)
    return Folder(target, digest)


def function(root: Path, name: str, build: Path, *, python: tuple[int, int]) -> Folder:
    """The function's own folder, with bytecode under the same conditions as the shared layer's."""
    source = root / "functions" / name / "handler.py"
    compiled = sys.version_info[:2] == python
    digest = hashlib.sha256(f"python{python if compiled else 'none'}".encode() + source.read_bytes()).hexdigest()
    target = build / f"function-{name}-{digest[:16]}"
    if not target.is_dir():
        staging = _fresh(build / f"function-{name}-{digest[:16]}.part")
        shutil.copyfile(source, staging / "handler.py")
        if compiled:
            compileall.compile_dir(staging, quiet=2, force=True, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH, stripdir=str(staging), prependdir="/var/task")
        _put(staging, target)
    return Folder(target, digest)


def tenant(spec: TenantSpec, manifests: Mapping[str, ConnectorManifest], build: Path) -> Folder:
    """What is the tenant's own, as the package ``crossdock_tenant``: its resolved configuration, the manifests of its connectors, and apart
    from both what the intake needs of them, which it reads without the model library."""
    used = {name: manifests[connection.connector] for name, connection in spec.connections.items()}
    texts = {
        "__init__.py": '"""Whose functions are these? ``tenant.json`` beside this file is the tenant\'s resolved configuration."""\n',
        "tenant.json": _json(spec.as_json()),
        "manifests.json": _json({manifest.name: manifest.as_json() for manifest in used.values()}),
        "webhooks.json": _json(
            {
                "max_bytes": spec.limits.webhook_bytes,
                "connections": {name: asdict(manifest.webhooks) if manifest.webhooks else None for name, manifest in used.items()},
            }
        ),
    }
    digest = hashlib.sha256(_json(texts).encode()).hexdigest()
    target = build / f"tenant-{spec.tenant}-{digest[:16]}"
    if not target.is_dir():
        staging = _fresh(build / f"tenant-{spec.tenant}-{digest[:16]}.part")
        package = staging / "python" / "crossdock_tenant"
        package.mkdir(parents=True)
        for name, text in texts.items():
            (package / name).write_text(text, encoding="utf-8")
        _put(staging, target)
    return Folder(target, digest)


def _json(value: object) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def dependencies(root: Path, build: Path, *, platform: str = LAMBDA_PLATFORM) -> Folder:
    """Third-party packages for Lambda (arm64), built by uv from the lock file. Raises LayerProblem when that cannot be done here.

    Another ``platform`` (as uv names them) is for running the layer on this machine, where it is measured.
    """
    lock = root / "uv.lock"
    digest = hashlib.sha256(lock.read_bytes() + repr((LAMBDA_PYTHON, platform, NEVER_IMPORTED)).encode()).hexdigest()
    target = build / f"dependencies-{digest[:16]}"
    if target.is_dir():
        return Folder(target, digest)
    uv = shutil.which("uv")
    if uv is None:
        raise LayerProblem("the layer of third-party packages is built by uv, which is not on the PATH: install it, or synthesise with `-c dependencies=skip` (not deployable)")
    staging = _fresh(build / f"dependencies-{digest[:16]}.part")
    wanted = staging / "requirements.txt"
    version = ".".join(str(part) for part in LAMBDA_PYTHON)
    _run([uv, "export", "--frozen", "--no-default-groups", "--no-emit-project", "--no-hashes", "--quiet", "--output-file", str(wanted)], root)
    _run(
        [
            *(uv, "pip", "install", "--quiet", "--target", str(staging / "python"), "--requirement", str(wanted)),
            *("--python-platform", platform, "--python-version", version, "--only-binary", ":all:"),
        ],
        root,
    )
    wanted.unlink()
    for leftover in [*staging.rglob("__pycache__"), *staging.glob("python/*.dist-info"), staging / "python" / "bin", *(staging / "python" / part for part in NEVER_IMPORTED)]:
        shutil.rmtree(leftover, ignore_errors=True)
    if sys.version_info[:2] == LAMBDA_PYTHON:
        _without_source(staging)
    _put(staging, target)
    return Folder(target, digest)


def _without_source(staging: Path) -> None:
    """Bytecode in the place of the source, which nobody reads on Lambda and which would be half of the layer. What does not compile stays as it is."""
    compileall.compile_dir(staging, quiet=2, force=True, legacy=True, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH, stripdir=str(staging), prependdir="/opt")
    for source in staging.rglob("*.py"):
        if source.with_suffix(".pyc").is_file():
            source.unlink()
    for hint in [*staging.rglob("*.pyi"), *staging.rglob("py.typed")]:
        hint.unlink()


def _run(command: list[str], directory: Path) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LayerProblem(f"`{' '.join(command[:3])} ...` failed: {done.stderr.strip()[-800:]}")


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _put(staging: Path, target: Path) -> None:
    """Into place in one step: a folder that stands is complete, also when two synthesise at once."""
    try:
        staging.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(staging, ignore_errors=True)
