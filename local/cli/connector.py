"""Does a connector keep the rules that all connectors keep?"""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import typer

from infra import tenant_files
from local.cli.options import NotOk, UsageProblem, with_screen
from local.cli.rendering import Screen
from local.engine.toolchain import project_root

app = typer.Typer()

_SUITE = "tests/connectors/test_contract.py"


@app.callback()
def connector() -> None:
    """The code that speaks a vendor's API."""


@app.command("check")
@with_screen
def check(screen: Screen, name: Annotated[str | None, typer.Argument(help="One connector; all without it.")] = None) -> None:
    """Manifest, files, samples and their expected twins, by the one conformance suite; exit code 1 when something is wrong."""
    root = project_root()
    manifests = tenant_files.manifests(root)
    if name is not None and name not in manifests:
        raise UsageProblem(f"there is no connector {name!r}; there are: {', '.join(manifests)}")
    if not (root / _SUITE).is_file():
        raise UsageProblem(f"{_SUITE} is not here: this works in a checkout")
    wanted = [name] if name else list(manifests)
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", _SUITE, "-k", " or ".join(wanted)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    found = {
        "ok": done.returncode == 0,
        "connectors": [{"name": each, "title": manifests[each].title, "version": manifests[each].version, "owner": manifests[each].owner} for each in wanted],
        "summary": lines[-1] if lines else done.stderr.strip()[-500:],
        "failures": [line for line in lines if line.startswith(("FAILED", "ERROR"))],
    }

    def draw() -> None:
        screen.table(
            "connectors",
            ["name", "title", "version", "owner"],
            [(each, manifests[each].title, manifests[each].version, manifests[each].owner) for each in wanted],
        )
        screen.write("\n".join(lines) if done.returncode else str(found["summary"]))

    screen.show(found, draw)
    if done.returncode != 0:
        raise NotOk("")
