"""What does a function find around itself on Lambda? Its own folder and the layers as infra builds them, rebuilt for this machine's platform."""

from __future__ import annotations

import compileall
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from py_compile import PycInvalidationMode

from crossdock.aws.settings import Settings
from infra import layers, tenant_files

_EPOCH = 315532800
"""1980-01-01, the time every file has that comes out of a deployment's archive: an ordinary .pyc no longer fits its source."""

_RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3")
"""What the Lambda runtime brings with it."""

_FIELD = (
    *("aws_lambda_powertools", "aws_xray_sdk", "wrapt", "pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"),
    *("requests", "charset_normalizer", "idna", "certifi", "urllib3", "jmespath"),
)
"""What a handler as they are found in the field brings along in its own package."""


@dataclass(frozen=True)
class Packaged:
    """Folders as they lie on Lambda."""

    task: Path
    """One folder per function, each what /var/task would be."""
    opt: Path
    """The layers' python folders, one over the other, as /opt/python."""
    runtime: Path
    """The runtime's own packages."""
    functions: Sequence[str]

    def path_of(self, function: str) -> list[str]:
        """The search path of a function, in Lambda's order, without the standard library."""
        return [str(self.task / function), str(self.opt), str(self.runtime)]


def build(root: Path, tenant: str) -> Packaged:
    """Everything in place under build/bench. Raises LayerProblem or TenantFileProblem."""
    made, folder = root / "build" / "layers", root / "build" / "bench"
    python = sys.version_info[:2]
    parts = [
        layers.tenant(tenant_files.load(tenant, root), tenant_files.manifests(root), made),
        layers.shared(root, made, python=python),
        layers.dependencies(root, made, platform=here()),
    ]
    opt = folder / ("opt-" + "-".join(part.digest[:12] for part in parts))
    if not opt.is_dir():
        for old in folder.glob("opt-*"):
            shutil.rmtree(old, ignore_errors=True)
        staging = opt.with_suffix(".part")
        shutil.rmtree(staging, ignore_errors=True)
        for part in parts:
            shutil.copytree(part.path / "python", staging, dirs_exist_ok=True)
        _as_unpacked(staging)
        staging.rename(opt)
    functions = sorted(path.parent.name for path in (root / "functions").glob("*/handler.py"))
    task = folder / "task"
    shutil.rmtree(task, ignore_errors=True)
    for function in functions:
        shutil.copytree(layers.function(root, function, made, python=python).path, task / function)
    _as_unpacked(task)
    return Packaged(task, opt, runtime(folder), functions)


def here() -> str:
    """This machine's platform, as uv names it for wheels."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    return f"{machine}-apple-darwin" if sys.platform == "darwin" else f"{machine}-manylinux2014"


def runtime(folder: Path) -> Path:
    """boto3 and what it needs, with valid bytecode as Lambda's own has, and nothing else of this environment."""
    target = folder / f"runtime-{importlib.metadata.version('botocore')}"
    if not target.is_dir():
        staging = target.with_suffix(".part")
        shutil.rmtree(staging, ignore_errors=True)
        _copy_packages(_RUNTIME, staging)
        compileall.compile_dir(staging, quiet=2, force=True, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
        _as_unpacked(staging)
        staging.rename(target)
    return target


def field(folder: Path) -> Path:
    """A package as the field ships it: third-party code beside the handler, no bytecode in it."""
    target = folder / "field"
    shutil.rmtree(target, ignore_errors=True)
    _copy_packages(_FIELD, target)
    _as_unpacked(target)
    return target


def _copy_packages(names: Iterable[str], target: Path) -> None:
    target.mkdir(parents=True)
    for name in names:
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:
            raise layers.LayerProblem(f"the package {name} is not in this environment: run `make setup`")
        origin = Path(found.origin)
        if origin.name == "__init__.py":
            shutil.copytree(origin.parent, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(origin, target / origin.name)


def _as_unpacked(folder: Path) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (_EPOCH, _EPOCH))


def environment(endpoint: str) -> dict[str, str]:
    """What a function's environment holds: every variable that crossdock.aws.settings can ask for, and nothing of this machine."""
    account = {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_ENDPOINT_URL": endpoint}
    lambdas = {"AWS_LAMBDA_FUNCTION_NAME": "bench", "POWERTOOLS_SERVICE_NAME": "bench", "POWERTOOLS_LOG_LEVEL": "INFO", **layers.PLUGINS_OFF}
    resources = {"CROSSDOCK_" + name.upper(): f"{endpoint}/000000000000/bench" if name.endswith("_url") else "bench" for name in Settings.__annotations__}
    return {**account, **lambdas, **resources}
