"""Which options do all commands share, and how does a command come by its stack?"""

from __future__ import annotations

import getpass
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer

from local.cli import stack
from local.cli.rendering import Screen

Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on standard output.")]
Tenant = Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="The tenant; needed when several are up.")]
Profile = Annotated[str | None, typer.Option("--profile", metavar="NAME", help="AWS profile: work on a stack in AWS instead of the local engine.")]
Region = Annotated[str | None, typer.Option("--region", metavar="NAME", help="AWS region: work on a stack in AWS instead of the local engine.")]
Match = Annotated[str | None, typer.Option("--match", metavar="EXPR", help="field=value, field!=value or field~part; several joined by commas.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


class UsageProblem(Exception):
    """The command was given something it cannot work with: exit code 2."""


class NotOk(Exception):
    """The thing asked about is not ok; it has been shown. Exit code 1."""


def actor() -> str:
    """Who is at the keyboard, for the record."""
    try:
        return f"operator:{getpass.getuser()}"
    except (KeyError, OSError):
        return "operator:unknown"


def with_screen(function: Callable[..., None]) -> Callable[..., None]:
    """Gives a command `--json`; its first parameter is the Screen."""
    return _extended(function, {"json": (Json, False)}, lambda json: (Screen(as_json=json),), leading=1)


def on_stack(function: Callable[..., None]) -> Callable[..., None]:
    """Gives a command `--tenant`, `--profile`, `--region` and `--json`; its first parameters are the Stack and the Screen."""

    def find(*, tenant: str | None, profile: str | None, region: str | None, json: bool) -> tuple[stack.Stack, Screen]:
        return stack.find(stack.Where(tenant=tenant, profile=profile, region=region)), Screen(as_json=json)

    shared = {"tenant": (Tenant, None), "profile": (Profile, None), "region": (Region, None), "json": (Json, False)}
    return _extended(function, shared, find, leading=2)


def _extended(function: Callable[..., None], shared: dict[str, tuple[Any, Any]], make: Callable[..., tuple[Any, ...]], *, leading: int) -> Callable[..., None]:
    """The function under a signature (which Typer reads) that has the shared options where it has `leading` parameters made from them."""
    hints = get_type_hints(function, include_extras=True)

    def command(**given: Any) -> None:
        made = make(**{name: given.pop(name) for name in shared})
        function(*made, **given)

    keyword = inspect.Parameter.KEYWORD_ONLY
    own = list(inspect.signature(function).parameters.values())[leading:]
    parameters = [parameter.replace(annotation=hints[parameter.name], kind=keyword) for parameter in own]
    parameters += [inspect.Parameter(name, keyword, default=default, annotation=kind) for name, (kind, default) in shared.items()]
    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command
