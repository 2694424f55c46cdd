"""Which ShipBob account do these tests talk to? One with two fulfillment centers and four SKUs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.simulators.clock import ManualClock
from local.simulators.server import Answer, Config, Harness
from tests.local.simulators.conftest import Receiver

TOKEN = "pat-test"
CHANNEL = "4711"
SECRET = "whsec_" + "C2FVsBQIhrscChlQIMV+b5sSYspob7oD"

SEED: dict[str, Any] = {
    "fulfillment_centers": [
        {"id": 1, "name": "Cicero (IL)", "city": "Cicero", "state": "IL", "country": "US"},
        {"id": 2, "name": "Ontario (CA)", "city": "Ontario", "state": "CA", "country": "US"},
    ],
    "products": [
        {"sku": "BOLT-M8", "name": "Hex bolt M8", "stock": {"1": 100, "2": 10}},
        {"sku": "NUT-M8", "name": "Hex nut M8", "stock": {"1": 5}},
        {"sku": "GLOVE-L", "name": "Work glove L", "stock": {"2": 50}},
        {"sku": "OLD-1", "name": "Old item", "is_active": False, "stock": {"1": 5}},
    ],
}


class Account:
    """A ShipBob simulator with the caller's credentials filled in."""

    def __init__(self, harness: Harness, clock: ManualClock, receiver: Receiver) -> None:
        self.harness = harness
        self.clock = clock
        self.receiver = receiver
        self._numbers = itertools.count(1)

    def call(self, method: str, path: str, json: Any = None, *, channel: str | None = CHANNEL, token: str = TOKEN) -> Answer:
        headers = {"Authorization": f"Bearer {token}"}
        if channel is not None:
            headers["shipbob_channel_id"] = channel
        return self.harness.call(method, f"/2026-01{path}", headers=headers, json=json)

    def ordered(self, *lines: tuple[str, int], **changes: Any) -> Any:
        """Place an order and answer it as ShipBob does; fails the test when it is refused."""
        answer = self.call("POST", "/order", order(*lines, reference_id=f"part-{next(self._numbers)}", **changes))
        assert answer.status == 201, answer
        return answer.json()

    def order(self, key: int) -> Any:
        return self.call("GET", f"/order/{key}").json()

    def act(self, verb: str, **body: Any) -> Any:
        return self.harness.act(verb, body)

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.harness.run_due()
        self.harness.run_due()


def order(*lines: tuple[str, int], **changes: Any) -> dict[str, Any]:
    """A good order; `changes` replace top-level fields."""
    return {
        "reference_id": "part-1",
        "order_number": "#1001",
        "type": "DTC",
        "shipping_method": "Standard",
        "recipient": {
            "name": "Dana Fox",
            "email": "dana@example.com",
            "address": {"address1": "12 Mill Rd", "city": "Joliet", "state": "IL", "zip_code": "60432", "country": "US"},
        },
        "products": [{"reference_id": sku, "name": sku, "quantity": quantity} for sku, quantity in lines or [("BOLT-M8", 2)]],
        **changes,
    }


OpenAccount = Callable[..., Account]


@pytest.fixture
def open_account(tmp_path: Path, clock: ManualClock, receiver: Receiver) -> Iterator[OpenAccount]:
    """Opens (or reopens) this test's one account."""
    opened: list[Harness] = []

    def open_it(**changes: Any) -> Account:
        if opened:
            opened[-1].close()
        settings: dict[str, Any] = {
            "vendor": "shipbob",
            "state_file": str(tmp_path / "shipbob.sqlite"),
            "exchanges_file": str(tmp_path / "exchanges.jsonl"),
            "credentials": {"access_token": TOKEN, "channel_id": CHANNEL},
            "webhook": {"url": "http://127.0.0.1:9/webhooks/shipbob", "secret": SECRET},
            "seed": SEED,
            "autopilot": {"enabled": False},
            **changes,
        }
        opened.append(Harness(Config.read(settings), clock=clock, transport=receiver))
        return Account(opened[-1], clock, receiver)

    yield open_it
    for harness in opened[-1:]:
        harness.close()


@pytest.fixture
def account(open_account: OpenAccount) -> Account:
    """An account whose staff does nothing by itself."""
    return open_account()
