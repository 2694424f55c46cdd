"""Which tenants are configured, is a file right, and what does it change?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from infra import tenant_files
from infra.tenant_files import TenantFileProblem
from local.cli import deployed
from local.cli.options import NotOk, UsageProblem, on_stack, with_screen
from local.cli.rendering import Screen
from local.cli.stack import Stack
from local.engine.toolchain import project_root

app = typer.Typer()

_NAME = re.compile(r"[a-z][a-z0-9_]{1,39}")


@app.command("list")
@with_screen
def list_tenants(screen: Screen) -> None:
    """Every tenant file with its partner, connections and locations."""
    root = project_root()
    rows: list[dict[str, Any]] = []
    for name in tenant_files.names(root):
        try:
            spec = tenant_files.load(name, root)
        except TenantFileProblem as error:
            rows.append({"tenant": name, "ok": False, "problems": [str(problem) for problem in error.problems]})
        else:
            connections = {connection: each.connector for connection, each in spec.connections.items()}
            rows.append(
                {
                    "tenant": name,
                    "ok": True,
                    "title": spec.title,
                    "partner": spec.partner,
                    "connections": connections,
                    "locations": list(spec.locations),
                }
            )
    screen.show(
        rows,
        lambda: screen.table(
            "tenants",
            ["tenant", "ok", "title", "partner", "connections", "locations"],
            [
                (
                    row["tenant"],
                    row["ok"],
                    row.get("title", f"{len(row.get('problems', []))} problem(s)"),
                    row.get("partner"),
                    ", ".join(f"{name} ({connector})" for name, connector in row.get("connections", {}).items()),
                    row.get("locations", []),
                )
                for row in rows
            ],
            empty="none",
        ),
    )


@app.command("validate")
@with_screen
def validate(screen: Screen, name: Annotated[str | None, typer.Argument(help="One tenant; all without it.")] = None) -> None:
    """Is the configuration right? Every problem with its file, line and remedy; exit code 1 when there is one."""
    root = project_root()
    problems = []
    wanted = [name] if name else tenant_files.names(root)
    for each in wanted:
        try:
            tenant_files.load(each, root)
        except TenantFileProblem as error:
            problems += error.problems
    found = [{"file": str(problem.file), "line": problem.line, "path": problem.path, "problem": problem.problem, "remedy": problem.remedy} for problem in problems]

    def draw() -> None:
        for problem in problems:
            screen.write(str(problem))
        if not problems:
            screen.write(f"{', '.join(wanted)}: valid")

    screen.show({"ok": not problems, "tenants": wanted, "problems": found}, draw)
    if problems:
        raise NotOk("")


@app.command("new")
@with_screen
def new(
    screen: Screen,
    name: Annotated[str, typer.Argument(help="Lower case letters, digits and underscores.")],
    source: Annotated[str, typer.Option("--from", metavar="TENANT", help="The file to start from.")] = "_template",
    partner: Annotated[str | None, typer.Option("--partner", metavar="NAME", help="Whose customer; the only partner there is without it.")] = None,
) -> None:
    """A new tenant file, made from the template or another tenant; nothing else is touched."""
    root = project_root()
    if not _NAME.fullmatch(name):
        raise UsageProblem(f"{name!r} is no tenant name: lower case letters, digits and underscores, a letter first")
    made, origin = root / "tenants" / f"{name}.yaml", root / "tenants" / f"{source}.yaml"
    if made.exists():
        raise UsageProblem(f"tenants/{name}.yaml is there already")
    if not origin.is_file():
        raise UsageProblem(f"there is no tenants/{source}.yaml to start from")
    partners = sorted(file.stem for file in (root / "partners").glob("*.yaml"))
    if partner is not None and partner not in partners:
        raise UsageProblem(f"there is no partner {partner!r}; there are: {', '.join(partners)}")
    whose = partner or (partners[0] if len(partners) == 1 else "")
    made.write_text(renamed(origin.read_text(encoding="utf-8"), name, whose), encoding="utf-8")
    problems: list[str] = []
    try:
        tenant_files.load(name, root)
    except TenantFileProblem as error:
        problems = [str(problem) for problem in error.problems]

    def draw() -> None:
        screen.write(f"made tenants/{name}.yaml")
        for problem in problems:
            screen.write(f"  to do: {problem}")
        screen.write(f"next: fill it in, `crossdock tenant validate {name}`, then `crossdock local up --tenant {name}` or `cdk deploy`")

    screen.show({"tenant": name, "file": f"tenants/{name}.yaml", "to_do": problems}, draw)


def renamed(text: str, name: str, partner: str = "") -> str:
    """The file's text as `name`'s: its own name in the `tenant:` line, the template's placeholders filled; comments and order stay."""
    title = name.replace("_", " ").title()
    for placeholder, value in (("TENANT_NAME", name), ("TENANT_TITLE", title), ("PARTNER_NAME", partner or "PARTNER_NAME")):
        text = text.replace(placeholder, value)
    return re.sub(r"(?m)^tenant:[ \t]*[\w-]+", f"tenant: {name}", text, count=1)


@app.command("diff")
@on_stack
def diff(stack: Stack, screen: Screen) -> None:
    """What the tenant's files would change in the stack that is deployed; exit code 1 when they differ."""
    standing = deployed.configuration(stack)
    lines = list(differences(standing.as_json(), stack.spec.as_json()))
    value = [{"path": path, "deployed": before, "file": after} for path, before, after in lines]
    screen.show(
        {"tenant": stack.tenant, "same": not lines, "differences": value},
        lambda: screen.table(f"{stack.tenant}: deployed and configured", ["field", "deployed", "file"], lines, empty="no difference"),
    )
    if lines:
        raise NotOk("")


def differences(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(path, old value or None, new value or None) of everything that is not the same."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            yield from differences(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
    elif before != after:
        yield path, before, after
