"""Which shop does a test get? A fresh one, with its own books."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

sys.path.insert(0, str(Path(__file__).parent))  # found whatever pytest's import mode is
from shopify_visit import SECRET, SEED, TOKEN, WEBHOOK_SCHEMAS, OpenShop, Received, Visitor

from local.simulators import exact_json
from local.simulators.clock import ManualClock
from local.simulators.server import Config, Harness
from local.simulators.shopify.schema import available_versions

if not available_versions():
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def open_shop(tmp_path: Path) -> Iterator[OpenShop]:
    """Opens (or, called again, reopens) the one shop of this test."""
    opened: list[Harness] = []
    clock = ManualClock()
    received = Received()

    def open_it(**changes: Any) -> Visitor:
        if opened:
            opened[-1].close()
        settings: dict[str, Any] = {
            "vendor": "shopify",
            "connection": "storefront",
            "state_file": str(tmp_path / "shop.sqlite"),
            "exchanges_file": str(tmp_path / "exchanges.jsonl"),
            "credentials": {"access_token": TOKEN, "shop_domain": "acme-industrial.myshopify.com"},
            "webhook": {"url": "http://127.0.0.1:9/webhooks/storefront", "secret": SECRET},
            "seed": SEED,
            **changes,
        }
        opened.append(Harness(Config.read(settings), clock=clock, transport=received))
        return Visitor(opened[-1], clock, received)

    yield open_it
    for harness in opened[-1:]:
        harness.close()


@pytest.fixture
def shop(open_shop: OpenShop) -> Visitor:
    return open_shop()


@pytest.fixture
def breaches() -> Callable[[str, Any], list[str]]:
    """What a webhook body gets wrong against the published schema of its topic."""

    def check(topic: str, body: Any) -> list[str]:
        schema = json.loads((WEBHOOK_SCHEMAS / f"{topic}.json").read_text())
        plain = json.loads(exact_json.dumps(body))
        errors = Draft202012Validator(schema).iter_errors(plain)
        return [f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in errors]

    return check
