"""Does every command have what all commands have, and does every error end as a sentence and an exit code?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import typer

from local.cli import app
from local.cli.rendering import Verbatim, dumps
from tests.local.cli.conftest import Crossdock


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name, each in inner.items():
        yield from leaves(each, (*path, name))


COMMANDS = dict(leaves(typer.main.get_command(app.application())))


def test_the_commands_are_the_ones_promised() -> None:
    promised = {
        "local": "up down status",
        "tenant": "new validate list diff",
        "orders": "list show trace",
        "inventory": "show",
        "exceptions": "list show edit retry resolve assign",
        "dlq": "list peek redrive",
        "secrets": "set rotate status",
        "connector": "check",
    }
    expected = {(group, name) for group, names in promised.items() for name in names.split()} | {
        ("demo",),
        ("doctor",),
        ("replay",),
        ("balance",),
    }

    assert expected <= set(COMMANDS)


@pytest.mark.parametrize("path", sorted(COMMANDS), ids=" ".join)
def test_every_command_prints_json_on_request_and_says_what_it_does(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]

    assert "--json" in {option for parameter in command.params for option in parameter.opts}
    assert (command.help or "").strip().endswith((".", ")", "!")) or len((command.help or "").split()) > 3


def test_every_command_on_a_stack_takes_tenant_profile_and_region() -> None:
    local_only = {"local", "tenant", "connector", "demo", "doctor"}
    for path, command in COMMANDS.items():
        options = {option for parameter in command.params for option in parameter.opts}
        if path[0] not in local_only or path == ("tenant", "diff"):
            assert {"--tenant", "--profile", "--region"} <= options, path


@pytest.mark.parametrize("arguments", [["nonsense"], ["orders"], ["orders", "show"], ["dlq", "peek", "sideways"], ["orders", "list", "--limit", "0"], []])
def test_a_wrong_call_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(arguments) == 2
    assert capsys.readouterr().err


def test_a_defect_keeps_its_traceback(crossdock: Crossdock, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("local.cli.balance.balance", broken)

    with pytest.raises(ZeroDivisionError):
        crossdock("balance")


def test_our_decimals_are_exact_strings_and_a_foreign_document_keeps_its_numbers() -> None:
    printed = dumps({"ours": Decimal("1.50"), "theirs": Verbatim({"price": Decimal("1.50")})})

    assert printed == '{"ours":"1.5","theirs":{"price":1.50}}'
    assert json.loads(printed)["ours"] == "1.5"
