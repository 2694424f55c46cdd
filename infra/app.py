"""Which stacks are there? ``cdk synth|diff|deploy`` runs this: one stack per tenant file, nothing else.

Context: ``target`` (``aws``, the default, or ``local``), ``tenant`` (one name; default all), ``overlay`` (path of a
deployment overlay), ``dependencies`` (``skip``: no third-party layer, not deployable), ``root`` (another project folder).
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from aws_cdk import App, Aspects, CliCredentialsStackSynthesizer, Environment

from infra import guardrails, layers, tenant_files
from infra.local_engine import LocalEngine
from infra.tenant_stack import Build, TenantStack, stack_name

_HERE = Path(__file__).resolve().parent.parent
LOCAL_ACCOUNT = Environment(account="000000000000", region="us-east-1")


def build(app: App) -> dict[str, TenantStack]:
    """Every wanted tenant's stack. Raises TenantFileProblem or LayerProblem."""
    target = app.node.try_get_context("target") or "aws"
    if target not in ("aws", "local"):
        raise SystemExit(f"target is {target!r}: use aws or local")
    root = _root(app)
    overlay_name = app.node.try_get_context("overlay")
    overlay = Path(overlay_name).resolve() if overlay_name else None
    wanted = app.node.try_get_context("tenant")
    names = [wanted] if wanted else tenant_files.names(root)
    specs = {name: tenant_files.load(name, root, overlay) for name in names}
    manifests = tenant_files.manifests(root)
    folder = root / "build" / "layers"
    # The local engine runs functions with the interpreter that runs the engine, which is this one.
    python = sys.version_info[:2] if target == "local" else layers.LAMBDA_PYTHON
    common = Build(
        root=root,
        version=_version(root),
        python=python,
        shared=layers.shared(root, folder, python=python),
        dependencies=_dependencies(app, target, root, folder),
        folder=folder,
        runbooks=app.node.try_get_context("runbooks") or "docs/runbooks",
    )
    local = target == "local"
    stacks = {
        name: TenantStack(
            app,
            spec=spec,
            manifests=manifests,
            build=common,
            env=LOCAL_ACCOUNT if local else None,
            synthesizer=CliCredentialsStackSynthesizer() if local else None,
        )
        for name, spec in specs.items()
    }
    if local:
        Aspects.of(app).add(LocalEngine(_say))
    else:
        guardrails.check_with_nag(app)
    return stacks


def _root(app: App) -> Path:
    return Path(app.node.try_get_context("root") or _HERE).resolve()


def _dependencies(app: App, target: str, root: Path, folder: Path) -> layers.Folder | None:
    if target == "local":
        return None  # the engine's own environment has them, and a big layer would be unzipped by every worker
    if app.node.try_get_context("dependencies") == "skip":
        _say("NOT DEPLOYABLE: the layer of third-party packages was left out on request (-c dependencies=skip)")
        return None
    return layers.dependencies(root, folder)


def _version(root: Path) -> str:
    file = root / "pyproject.toml"
    if not file.is_file():
        return "0"
    return str(tomllib.loads(file.read_text(encoding="utf-8"))["project"]["version"])


def _say(line: str) -> None:
    """The CDK CLI shows what its app writes to standard error."""
    sys.stderr.write(f"{line}\n")


def main() -> None:
    """Synthesise, then hold every template against our own rules; exit 1 with the reasons when one is broken."""
    app = App()
    try:
        stacks = build(app)
    except (tenant_files.TenantFileProblem, layers.LayerProblem) as error:
        _say(str(error))
        raise SystemExit(1) from error
    assembly = app.synth()
    others = tenant_files.names(_root(app))
    broken: list[str] = []
    for name in stacks:
        template = assembly.get_stack_by_name(stack_name(name)).template
        broken += guardrails.no_foreign_tenant(name, template, [other for other in others if other != name])
        broken += guardrails.no_shared_export(template)
    if (app.node.try_get_context("target") or "aws") == "aws":
        broken += guardrails.exact_permissions(_root(app), {stack_name(name): assembly.get_stack_by_name(stack_name(name)).template for name in stacks}, _say)
    if broken:
        _say("\n".join(broken))
        raise SystemExit(1)


if __name__ == "__main__":
    main()
