"""Which vendor do the tests of the shared skeleton run against? A corner shop that exists only here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from local.simulators.clock import ManualClock
from local.simulators.server import (
    ActionRefused,
    Answer,
    Call,
    Config,
    Context,
    Harness,
    Refusal,
    Router,
    Simulator,
)
from local.simulators.webhooks import Message


class CornerShop(Simulator):
    """Takes orders of at most ten pieces and ships each by itself."""

    autopilot_defaults: ClassVar = {"enabled": True, "ship_after_s": 0.5}
    webhook_retry_seconds = (5, 10)

    def __init__(self, config: Config, ctx: Context) -> None:
        super().__init__(config, ctx)
        self.orders = ctx.store.collection("orders")
        self.router = Router()
        self.router.add("POST", "/orders", self.create_order, name="order.create")
        self.router.add("GET", "/orders/{order_id:\\d+}", self.get_order, name="order.get")
        self.actions = {"ship": self.ship}

    def seed(self, seed: dict[str, Any]) -> None:
        for order in seed.get("orders", []):
            self.orders.put(order["id"], order)

    def handle(self, call: Call) -> Answer:
        return self.router.dispatch(call) or self.error(404, "no such operation")

    def operations(self, call: Call) -> list[str]:
        return self.router.names(call)

    def error(self, status: int, detail: str) -> Answer:
        return Answer(status, {"shop_error": detail})

    def snapshot(self) -> dict[str, Any]:
        return {"orders": self.orders.values()}

    def sign_webhook(self, message: Message, now: datetime) -> Mapping[str, str]:
        return {"x-shop-signature": f"{message.secret}:{message.id}", "x-shop-attempt": str(message.attempt)}

    def create_order(self, call: Call) -> Answer:
        order = {"id": self.ctx.store.next_id("order", start=100), "status": "open", **call.json()}
        self.orders.put(order["id"], order)
        if order["pieces"] > 10:
            raise Refusal(self.error(422, "too many pieces"))
        if order["pieces"] < 0:
            raise RuntimeError("the shop has a bug")
        self.ctx.schedule(self.ctx.autopilot["ship_after_s"], "ship", {"id": order["id"]})
        self.ctx.webhooks.send("orders/created", order, headers={"x-shop-topic": "orders/created"})
        return Answer(201, order)

    def get_order(self, call: Call) -> Answer:
        order = self.orders.get(call.path_values["order_id"])
        return Answer(200, order) if order else self.error(404, "no such order")

    def on_timer(self, action: str, payload: dict[str, Any]) -> None:
        assert action == "ship"
        self.ship(payload)

    def ship(self, body: dict[str, Any]) -> dict[str, Any]:
        order = self.orders.get(body["id"])
        if order is None:
            raise ActionRefused(f"there is no order {body['id']}")
        order["status"] = "shipped"
        self.orders.put(order["id"], order)
        self.ctx.webhooks.send("orders/shipped", order)
        return order


class Receiver:
    """A webhook receiver that answers what it is told to and remembers what it got."""

    def __init__(self) -> None:
        self.got: list[tuple[str, Mapping[str, str], bytes]] = []
        self.answers: list[int | OSError] = []

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> int:
        self.got.append((url, dict(headers), body))
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, OSError):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def corner_shop(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("local.simulators.corner_shop")
    module.create = CornerShop  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "local.simulators.corner_shop", module)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


OpenShop = Callable[..., Harness]


@pytest.fixture
def open_shop(tmp_path: Path, clock: ManualClock, receiver: Receiver) -> Iterator[OpenShop]:
    """Opens (or, called again, reopens) the one corner shop of this test."""
    opened: list[Harness] = []

    def open_it(**changes: Any) -> Harness:
        if opened:
            opened[-1].close()
        settings: dict[str, Any] = {
            "vendor": "corner_shop",
            "state_file": str(tmp_path / "shop.sqlite"),
            "exchanges_file": str(tmp_path / "exchanges.jsonl"),
            "webhook": {"url": "http://127.0.0.1:9/hook", "secret": "s3cret"},
            **changes,
        }
        opened.append(Harness(Config.read(settings), clock=clock, transport=receiver))
        return opened[-1]

    yield open_it
    for harness in opened[-1:]:
        harness.close()
