"""How do the tests of the commands call them: the real program, on a tenant that lives in this process?"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from local.cli import app, stack
from tests.flows.world import World


class MemoryStack(stack.Stack):
    """The stack of a tenant whose ports are in memory; the secret is a dict."""

    def __init__(self, world: World) -> None:
        super().__init__({"Tenant": world.spec.tenant}, boto3.session.Session(region_name="us-east-1"), root=Path.cwd())
        self.__dict__.update(spec=world.spec, services=world.services, letters=world.letters)
        self.secret: dict[str, Any] = {}

    def read_secret(self) -> dict[str, Any]:
        return self.secret

    def write_secret(self, value: Any) -> None:
        self.secret = dict(value)

    def secret_changed_at(self) -> Any:
        return None


@dataclass(frozen=True)
class Ended:
    """What a command left: its exit code, the one document it printed, and what it said."""

    code: int
    out: str
    said: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Crossdock = Callable[..., Ended]


@pytest.fixture
def world() -> World:
    """A tenant whose warehouses work by themselves."""
    made = World()
    made.autopilot()
    return made


@pytest.fixture
def deployed(world: World) -> MemoryStack:
    return MemoryStack(world)


@pytest.fixture
def crossdock(deployed: MemoryStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Crossdock:
    """Calls the program; every command finds the tenant in memory."""
    monkeypatch.setattr(stack, "find", lambda where: deployed)

    def call(*arguments: str) -> Ended:
        code = app.run(arguments)
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return call
