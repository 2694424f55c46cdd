"""Does the demo believe only what it sees, and does it sign as the vendors do?"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest

from crossdock.domain.signature import refusal
from infra import tenant_files
from local.cli.witness import NotSeen, signed, until
from tests.local.cli.test_bring_up import ROOT

BODY = b'{"id": 1, "note": "caf\xc3\xa9"}'


def test_a_webhook_signed_here_is_believed_by_the_real_check() -> None:
    contract = tenant_files.manifests(ROOT)["shopify"].webhooks
    assert contract is not None
    headers = {name.lower(): value for name, value in signed(contract, "a secret", "orders/create", BODY, "event-1").items()}

    assert headers["x-shopify-hmac-sha256"] == base64.b64encode(hmac.new(b"a secret", BODY, hashlib.sha256).digest()).decode()
    assert headers["x-shopify-topic"] == "orders/create"
    assert refusal(contract.signature, headers=headers, body=BODY, secrets=["a secret"], now=datetime.now(UTC)) is None
    assert refusal(contract.signature, headers=headers, body=BODY + b" ", secrets=["a secret"], now=datetime.now(UTC)) is not None


def test_what_does_not_become_visible_is_told_with_what_was_seen_instead() -> None:
    with pytest.raises(NotSeen, match=r"the order completed; instead: held"):
        until(lambda: None, "the order completed", within=0, instead=lambda: "held")


def test_what_is_seen_is_returned_at_once() -> None:
    looks = iter([None, "seen", "again"])

    assert until(lambda: next(looks), "it", within=5) == "seen"
