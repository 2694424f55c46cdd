"""Is a rotation noticed at once, refused by nobody, and no reason to read the secret for every wrong signature?"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from crossdock.aws.clients import Clients
from crossdock.aws.secrets import TenantSecret
from crossdock.domain.errors import NeedsPerson
from tests.aws.account import Account
from tests.fakes import START, SetClock


class Store(Clients):
    def __init__(self, value: dict[str, Any]) -> None:
        super().__init__()
        self.value = value
        self.reads = 0

    @property
    def secretsmanager(self) -> Any:
        return self

    def get_secret_value(self, **_: Any) -> Any:
        self.reads += 1
        return {"SecretString": json.dumps(self.value)}


def shop(**fields: str) -> dict[str, Any]:
    return {"shop": {"token": "t", **fields}, "_generated": "noise"}


def secret(value: dict[str, Any], clock: SetClock) -> tuple[TenantSecret, Store]:
    store = Store(value)
    return TenantSecret(store, "tenant", clock), store


def test_the_tenants_secret_is_read_from_the_service(account: Account, clock: SetClock) -> None:
    account.secret(shop(webhook_secret="s1"))
    found = TenantSecret(account.clients, account.settings.secret_id, clock)

    assert found.credentials("shop") == {"token": "t", "webhook_secret": "s1"}
    assert found.webhook_secrets("shop") == ["s1"]


def test_it_is_read_once_a_minute(clock: SetClock) -> None:
    found, store = secret(shop(webhook_secret="s1"), clock)
    for _ in range(10):
        found.credentials("shop")
        clock.pass_by(seconds=6)
    assert store.reads == 1

    store.value = shop(webhook_secret="s2")
    clock.pass_by(seconds=1)
    assert found.webhook_secrets("shop") == ["s2"]
    assert store.reads == 2


def test_both_secrets_count_for_a_day_after_a_rotation(clock: SetClock) -> None:
    found, _ = secret(shop(webhook_secret="new", webhook_secret_previous="old", rotated_at=START.isoformat()), clock)

    assert found.webhook_secrets("shop") == ["new", "old"]
    clock.pass_by(hours=23, minutes=59, seconds=59)
    assert found.webhook_secrets("shop") == ["new", "old"]
    clock.pass_by(seconds=1)
    assert found.webhook_secrets("shop") == ["new"]


@pytest.mark.parametrize("rotated_at", [START.replace(tzinfo=None).isoformat(), START.isoformat().replace("+00:00", "Z")])
def test_the_moment_of_rotation_is_read_in_every_usual_spelling(clock: SetClock, rotated_at: str) -> None:
    found, _ = secret(shop(webhook_secret="new", webhook_secret_previous="old", rotated_at=rotated_at), clock)

    assert found.webhook_secrets("shop") == ["new", "old"]


@pytest.mark.parametrize("rotated_at", [None, "", "yesterday"])
def test_a_previous_secret_of_unknown_age_does_not_count_for_ever(clock: SetClock, rotated_at: str | None) -> None:
    fields = {} if rotated_at is None else {"rotated_at": rotated_at}
    found, _ = secret(shop(webhook_secret="new", webhook_secret_previous="old", **fields), clock)

    assert found.webhook_secrets("shop") == ["new"]


def test_a_refresh_sees_a_rotation_before_the_minute_is_over(clock: SetClock) -> None:
    found, store = secret(shop(webhook_secret="old"), clock)
    assert found.webhook_secrets("shop") == ["old"]
    store.value = shop(webhook_secret="new", webhook_secret_previous="old", rotated_at=START.isoformat())
    clock.pass_by(seconds=6)

    assert found.refresh() is True
    assert found.webhook_secrets("shop") == ["new", "old"]


def test_wrong_signatures_do_not_make_this_side_read_the_secret_each_time(clock: SetClock) -> None:
    found, store = secret(shop(webhook_secret="s"), clock)
    found.webhook_secrets("shop")
    for _ in range(100):
        if found.refresh():
            found.webhook_secrets("shop")
        clock.pass_by(milliseconds=100)

    assert store.reads == 2


def test_a_connection_without_credentials_is_for_a_person(clock: SetClock) -> None:
    found, _ = secret({"shop": {}, "_generated": "noise"}, clock)

    for connection in ("shop", "erp", "_generated"):
        with pytest.raises(NeedsPerson, match="CREDENTIALS_MISSING"):
            found.credentials(connection)
        assert found.webhook_secrets(connection) == []


def test_a_rotation_in_the_future_of_this_clock_is_one(clock: SetClock) -> None:
    found, _ = secret(shop(webhook_secret="new", webhook_secret_previous="old", rotated_at=datetime(2026, 10, 5, 8, 1).isoformat()), clock)  # noqa: DTZ001 - as people write it

    assert found.webhook_secrets("shop") == ["new", "old"]
