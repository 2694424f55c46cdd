"""Do credentials get in without being seen, and does a rotation refuse nobody?"""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest

from local.cli.secrets import rotated
from tests.local.cli.conftest import Crossdock, MemoryStack

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_a_value_comes_from_standard_input_and_is_never_shown(crossdock: Crossdock, deployed: MemoryStack, monkeypatch: pytest.MonkeyPatch) -> None:
    deployed.secret = {"erp": {"token": "old"}, "shop": {"token": "kept"}}
    typed(monkeypatch, "the new one\n")

    found = crossdock("secrets", "set", "--connection", "erp", "--field", "token", "--json")
    status = crossdock("secrets", "status", "--json")

    assert found.code == 0
    assert deployed.secret == {"erp": {"token": "the new one"}, "shop": {"token": "kept"}}
    assert "the new one" not in found.out + found.said + status.out + status.said


def test_a_field_that_the_connector_does_not_need_is_refused(crossdock: Crossdock, deployed: MemoryStack, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "x")

    assert crossdock("secrets", "set", "--connection", "erp", "--field", "pasword").code == 2
    assert crossdock("secrets", "set", "--connection", "nobody", "--field", "token").code == 2
    assert deployed.secret == {}


def test_no_value_is_no_secret(crossdock: Crossdock, deployed: MemoryStack, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "\n")

    assert crossdock("secrets", "set", "--connection", "erp", "--field", "token").code == 2
    assert deployed.secret == {}


def test_status_is_1_while_something_is_missing(crossdock: Crossdock, deployed: MemoryStack) -> None:
    assert crossdock("secrets", "status").code == 1

    deployed.secret = {name: {"token": "t", "webhook_secret": "w"} for name in deployed.spec.connections}
    assert crossdock("secrets", "status").code == 0


def test_a_rotation_keeps_the_previous_webhook_secret(crossdock: Crossdock, deployed: MemoryStack, monkeypatch: pytest.MonkeyPatch) -> None:
    deployed.secret = {"shop": {"token": "t", "webhook_secret": "first"}}
    typed(monkeypatch, "second\n")

    assert crossdock("secrets", "rotate", "--connection", "shop").code == 0
    standing = deployed.secret["shop"]

    assert (standing["webhook_secret"], standing["webhook_secret_previous"], standing["token"]) == ("second", "first", "t")
    assert datetime.fromisoformat(standing["rotated_at"]).tzinfo is not None


def test_a_secret_made_here_is_printed_once_for_the_vendor(crossdock: Crossdock, deployed: MemoryStack, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "")

    found = crossdock("secrets", "rotate", "--connection", "shop", "--json")

    assert found.document["webhook_secret"] == deployed.secret["shop"]["webhook_secret"]
    assert crossdock("secrets", "rotate", "--connection", "direct").code == 2


def test_rotating_to_the_same_secret_does_not_forget_the_previous_one() -> None:
    fields = {"webhook_secret": "second", "webhook_secret_previous": "first"}

    assert rotated(fields, "second", NOW)["webhook_secret_previous"] == "first"
