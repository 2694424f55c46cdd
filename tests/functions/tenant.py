"""One tenant's functions as AWS runs them: handler files, the stack's own environment for each, events from ``events/``; AWS is moto's."""

from __future__ import annotations

import ast
import base64
import hashlib
import hmac
import importlib.util
import io
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from crossdock import bootstrap, intake, observability
from crossdock.aws.settings import Settings
from crossdock.domain.commands import Intent, Receipt
from crossdock.domain.connector import ConnectionContext, PriceQuestion
from crossdock.domain.customer import CreditStanding
from crossdock.domain.events import Event
from crossdock.domain.messages import work_body
from crossdock.domain.money import Money
from crossdock.domain.price import Price
from crossdock.domain.stock import StockReading
from crossdock.domain.tenant import TenantSpec
from crossdock.domain.webhook import WebhookContract
from crossdock.flows.services import Services
from crossdock.flows.translate import events_of
from infra.tenant_files import load as load_tenant
from tests.aws.account import ENVIRONMENT, Account, opened

ROOT = Path(__file__).parents[2]
FUNCTIONS = sorted(path.parent.name for path in ROOT.glob("functions/*/handler.py"))
EVENTS = sorted(str(path.relative_to(ROOT / "events").with_suffix("")) for path in ROOT.glob("events/*/*.json"))
ORDER_ID = "storefront-820982911946154508"
DELIVERY_ID = "storefront.orders-create.98880550-7158-44d4-b7cd-2c97c8a091b5"
WEBHOOK_SECRET = "a webhook secret of this test"
VARIABLES = {f"CROSSDOCK_{field.name.upper()}" for field in fields(Settings)}


@cache
def spec() -> TenantSpec:
    return load_tenant("acme_industrial", ROOT)


def webhooks() -> tuple[dict[str, WebhookContract | None], int]:
    return {name: bootstrap.load_manifest(connection.connector).webhooks for name, connection in spec().connections.items()}, spec().limits.webhook_bytes


@cache
def environments() -> dict[str, tuple[str, ...]]:
    """Which variables the stack gives each function, read from its source: synthesizing it takes longer than all tests here."""
    found = {}
    for node in ast.walk(ast.parse((ROOT / "infra/tenant_stack.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "_worker" and node.args:
            name = ast.literal_eval(node.args[0])
            given = next(keyword.value for keyword in node.keywords if keyword.arg == "environment")
            names = [constant.value for constant in ast.walk(given) if isinstance(constant, ast.Constant)]
            records = any(isinstance(part, ast.Name) and part.id == "records" for part in ast.walk(given))
            found[name] = (*names, *(("CROSSDOCK_STATE_TABLE", "CROSSDOCK_AUDIT_TABLE") if records else ()))
    return found


def event(case: str) -> dict[str, Any]:
    """``events/<case>.json``; a webhook is signed here, with the secret of this test."""
    made: dict[str, Any] = json.loads((ROOT / f"events/{case}.json").read_text(encoding="utf-8"))
    return signed(made) if case.startswith("receive_webhook/signed") else made


def signed(webhook: dict[str, Any]) -> dict[str, Any]:
    body = base64.b64decode(webhook["body"]) if webhook["isBase64Encoded"] else webhook["body"].encode()
    signature = base64.b64encode(hmac.new(WEBHOOK_SECRET.encode(), body, hashlib.sha256).digest()).decode()
    return {**webhook, "headers": {**webhook["headers"], "X-Shopify-Hmac-Sha256": signature}}


def batch(*bodies: str, tries: int = 1) -> dict[str, Any]:
    """An event of a queue with these messages."""
    record = event("translate_delivery/one")["Records"][0]
    attributes = {**record["attributes"], "ApproximateReceiveCount": str(tries)}
    return {"Records": [{**record, "messageId": f"m-{number}", "receiptHandle": f"r-{number}", "body": body, "attributes": attributes} for number, body in enumerate(bodies)]}


class Erp:
    """An ERP that sells everything at eight dollars, on credit, and fails as it is told."""

    failure: Exception | None = None
    executed: list[str]

    def __init__(self, context: ConnectionContext) -> None:
        self.manifest = bootstrap.load_manifest("business_central")

    def _may_fail(self) -> None:
        if Erp.failure is not None:
            raise Erp.failure

    def prices(self, account: str, questions: Sequence[PriceQuestion]) -> list[Price | None]:
        self._may_fail()
        return [Price(sku=asked.sku, unit=asked.unit, price=Money(amount=Decimal(8), currency=asked.currency)) for asked in questions]

    def credit(self, account: str) -> CreditStanding | None:
        self._may_fail()
        return CreditStanding(account=account, balance=Money.zero("USD"))

    def execute(self, intent: Intent) -> Receipt:
        self._may_fail()
        Erp.executed.append(intent.type)
        return Receipt(external_id="6a3", number="SO-1", total=Money.of("111.56", "USD"))

    def look_up(self, intent: Intent) -> Receipt | None:
        self._may_fail()
        return None


@dataclass
class Tenant:
    account: Account
    services: Services
    patch: pytest.MonkeyPatch
    log: io.StringIO

    def give(self, function: str) -> None:
        """The environment of one function, and nothing of another."""
        values = {f"CROSSDOCK_{name.upper()}": value for name, value in asdict(self.account.settings).items()}
        for name in VARIABLES:
            if name in environments()[function]:
                self.patch.setenv(name, values[name])
            else:
                self.patch.delenv(name, raising=False)
        self.patch.setenv("POWERTOOLS_SERVICE_NAME", function)
        bootstrap.function_services.cache_clear()
        intake.function_intake.cache_clear()

    def run(self, function: str, given: Mapping[str, Any]) -> Any:
        """The function's answer to the event, as the Lambda runtime would get it: through JSON."""
        self.give(function)
        context = SimpleNamespace(
            function_name=function, memory_limit_in_mb=512, invoked_function_arn=f"arn:{function}", aws_request_id="r-1", get_remaining_time_in_millis=lambda: 30_000
        )
        return json.loads(json.dumps(handler(function)(json.loads(json.dumps(given)), context)))

    def work_off(self, function: str, stage: str) -> int:
        """Feeds the function from its queue, as the event source does, until nothing can be received. How often it was called."""
        url = getattr(self.account.settings, f"{stage}_queue_url")
        for calls in range(100):
            found = self.account.clients.sqs.receive_message(QueueUrl=url, MessageSystemAttributeNames=["All"]).get("Messages", [])
            if not found:
                return calls
            (message,) = found
            record = {**batch(message["Body"])["Records"][0], "receiptHandle": message["ReceiptHandle"], "attributes": message["Attributes"]}
            if not self.run(function, {"Records": [record]})["batchItemFailures"]:
                self.account.clients.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        raise AssertionError(f"{stage} does not become empty")

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    def logged(self, message: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["message"] == message]

    # -- how far the order of events/ is
    def receive(self, webhook: dict[str, Any] | None = None) -> None:
        assert self.run("receive_webhook", webhook or event("receive_webhook/signed"))["statusCode"] == 200

    def facts(self, delivery_id: str = DELIVERY_ID) -> list[Event]:
        return events_of(self.services.deliveries.load(delivery_id), self.services)[0]

    def place(self, webhook: dict[str, Any] | None = None) -> None:
        self.receive(webhook)
        assert self.run("translate_delivery", event("translate_delivery/one")) == {"batchItemFailures": []}
        assert self.run("apply_event", batch(*(work_body(fact) for fact in self.facts()))) == {"batchItemFailures": []}

    def stock(self, quantity: int = 100) -> None:
        now = self.services.clock.now()
        self.services.stock.count(StockReading(sku="AC-BRG-6204", location="CHI", on_hand=Decimal(quantity), as_of=now), safety=Decimal(24), source="storefront")

    def reserve(self, webhook: dict[str, Any] | None = None) -> None:
        self.place(webhook)
        self.stock()
        assert self.run("reserve_stock", event("reserve_stock/order")) == {"outcome": "passed"}


@cache
def handler(function: str) -> Callable[[Any, Any], Any]:
    """``handler`` of the file as Lambda loads it: alone, not as part of a package."""
    found = importlib.util.spec_from_file_location(f"lambda_{function}", ROOT / "functions" / function / "handler.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    made: Callable[[Any, Any], Any] = module.handler
    return made


def _loaded(name: str) -> Any:
    return Erp if name == "business_central" else _load(name)


_load = bootstrap.load


@contextmanager
def running(patch: pytest.MonkeyPatch) -> Iterator[Tenant]:
    for name, value in ENVIRONMENT.items():
        patch.setenv(name, value)
    patch.delenv("AWS_ENDPOINT_URL", raising=False)
    log = io.StringIO()
    stream = next(each for each in observability.logger.handlers if isinstance(each, logging.StreamHandler))
    patch.setattr(stream, "stream", log)
    patch.setattr(bootstrap, "load", _loaded)
    patch.setattr(bootstrap, "deployed_spec", spec)
    patch.setattr(bootstrap, "deployed_manifest", bootstrap.load_manifest)
    patch.setattr(intake, "deployed_webhooks", webhooks)
    Erp.failure, Erp.executed = None, []
    with opened() as account:
        account.secret({"storefront": {"webhook_secret": WEBHOOK_SECRET, "access_token": "t", "shop_domain": "s"}, "erp": {"client_secret": "c"}})
        patch.setattr(bootstrap, "function_clients", lambda: account.clients)
        patch.setattr(intake, "function_clients", lambda: account.clients)
        bootstrap.function_services.cache_clear()
        yield Tenant(account, bootstrap.services(account.settings, spec(), account.clients), patch, log)
    bootstrap.function_services.cache_clear()
    intake.function_intake.cache_clear()
