"""Which commands are there, and how does an error become a sentence and an exit code?"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import typer

_GROUPS = {
    "local": ("local_engine", "Everything on this machine: engine, simulators, stacks."),
    "tenant": ("tenant", "Tenant files: one file is one stack."),
    "orders": ("orders", "Orders, what became of them, and the record of it."),
    "prices": ("prices", "What each SKU costs whom, what waits for approval, and what sales channels show."),
    "returns": ("returns", "What comes back, and what was done about it."),
    "inventory": ("inventory", "Stock as it is promised."),
    "exceptions": ("exceptions", "What somebody must look at."),
    "dlq": ("dlq", "Dead-letter queues: look, and send round again."),
    "secrets": ("secrets", "Credentials and webhook secrets of the connections."),
    "connector": ("connector", "The code that speaks a vendor's API."),
}
_COMMANDS = ("doctor", "demo", "replay", "balance")

_CALLED_WRONGLY: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
"""Typer's releases bring click along or carry their own copy of it: this is the base of usage errors in either."""

_USAGE_CODES = frozenset({"INVALID_MATCH", "INVALID_DECISION", "NOTE_MISSING"})


def application() -> typer.Typer:
    """All commands: one module for each group, in the order of the help."""
    app = typer.Typer(
        name="crossdock",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        help="Crossdock: orders between storefront, ERP, warehouse and 3PL.",
    )
    for name in _COMMANDS:
        app.command(name)(importlib.import_module(f"local.cli.{name}").command)
    for name, (module, text) in _GROUPS.items():
        app.add_typer(importlib.import_module(f"local.cli.{module}").app, name=name, help=text, no_args_is_help=True)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command; 0 it is well, 1 it is not (or could not be found out), 2 it was called wrongly."""
    try:
        result = application()(list(arguments), standalone_mode=False)
    except _CALLED_WRONGLY as error:
        error.show()
        return 2
    except typer.Abort:
        return _say("aborted", 1)
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python must not try to flush the rest at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - what is no known situation is raised again, with its traceback
        return _explain(error, as_json="--json" in arguments)
    return result if isinstance(result, int) else 0


def main() -> None:
    """The `crossdock` program."""
    sys.exit(run(sys.argv[1:]))


def _explain(error: Exception, *, as_json: bool) -> int:
    """What the person should know of it. Anything that is no known situation is a defect and keeps its traceback."""
    from botocore.exceptions import BotoCoreError, ClientError

    from crossdock.domain.errors import CrossdockError
    from infra.tenant_files import TenantFileProblem
    from local.cli.options import NotOk, UsageProblem
    from local.cli.stack import StackNotFound
    from local.engine.deploy import CommandFailed
    from local.engine.engine import EngineNotReady
    from local.engine.local_run import NotUp
    from local.engine.simulators import SimulatorNotReady
    from local.engine.state import RunBusy, StateUnreadable
    from local.engine.toolchain import ToolMissing
    from local.seed.world import WorldUnusable

    if isinstance(error, NotOk):
        return _say(str(error), 1) if str(error) else 1
    if isinstance(error, CrossdockError):
        status = 2 if error.code in _USAGE_CODES else 1
        return _tell(error.code, error.detail, error.remedy, [f"{path}: {problem}" for path, problem in error.fields], as_json=as_json, status=status)
    if isinstance(error, UsageProblem):
        return _tell("USAGE", str(error), "see --help", as_json=as_json, status=2)
    if isinstance(error, StackNotFound):
        return _tell("STACK_NOT_FOUND", str(error), as_json=as_json, status=2)
    if isinstance(error, TenantFileProblem):
        return _tell(
            "INVALID_TENANT_FILE",
            "the configuration cannot be used",
            "",
            [str(problem) for problem in error.problems],
            as_json=as_json,
            status=1,
        )
    if isinstance(error, NotUp):
        return _tell("NOT_UP", str(error), as_json=as_json, status=1)
    if isinstance(error, CommandFailed | EngineNotReady | SimulatorNotReady | RunBusy | StateUnreadable | ToolMissing | WorldUnusable):
        return _tell("LOCAL_RUN_FAILED", str(error), as_json=as_json, status=1)
    if isinstance(error, BotoCoreError | ClientError):
        return _tell("AWS_CALL_FAILED", str(error), "check --profile, --region and your permissions", as_json=as_json, status=1)
    raise error


def _tell(code: str, detail: str, remedy: str = "", problems: Sequence[str] = (), *, as_json: bool, status: int) -> int:
    if as_json:
        found = {"error": {"code": code, "detail": detail, "remedy": remedy, "problems": list(problems)}}
        print(json.dumps(found, indent=1))
    _say(f"{code}: {detail}" + (f"\n  what helps: {remedy}" if remedy else ""), status)
    for problem in problems:
        _say(f"  {problem}", status)
    return status


def _say(text: str, status: int) -> int:
    from local.cli.rendering import harmless

    print(harmless(text), file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
