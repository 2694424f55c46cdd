"""Fixtures of the adapters' tests: an account of moto's with the tenant's resources in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crossdock.aws.table import StateTable
from tests.aws.account import ENVIRONMENT, Account, opened


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with opened() as made:
        yield made


@pytest.fixture
def table(account: Account) -> StateTable:
    return account.table
