"""Every function, AWS in moto, the vendors' simulators, all in this process: and one place where every outbound call can be cut."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
import requests
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError
from urllib3.connection import HTTPConnection
from urllib3.exceptions import NewConnectionError, ProtocolError

from crossdock import bootstrap
from crossdock.aws.clients import Clients
from crossdock.aws.dead_letters import SqsDeadLetters
from crossdock.domain.clock import SystemClock
from crossdock.domain.order_record import OrderRecord
from crossdock.domain.stock import StockReading
from crossdock.domain.tenant import TenantSpec
from crossdock.edge import StepFailed
from crossdock.flows.balance import balance
from crossdock.http import Answer, OutboundHttp
from local.seed import business_central as seed_business_central
from local.seed import shipbob as seed_shipbob
from local.seed import shopify as seed_shopify
from local.seed import world
from local.simulators.clock import ManualClock
from local.simulators.server import Config, Harness
from tests.fakes import Execution, MemoryQueues, MemoryWorkflow
from tests.functions.tenant import Tenant, batch, event, running, spec

STARTED = datetime.fromisoformat("2026-10-05T08:00:00+00:00")
QUEUES = {"inbound": "translate_delivery", "work": "apply_event", "outbound": "deliver_command"}
VENDORS = {"storefront": ("shopify", seed_shopify), "erp": ("business_central", seed_business_central), "threepl": ("shipbob", seed_shipbob)}
SHELF = {("AC-BRG-6204", "CHI"): 100, ("AC-LUB-WHT", "MOR"): 50, ("AC-PMP-200", "CHI"): 20}
"""Bearings and pumps in Chicago, grease at the 3PL alone: an order for both is split."""
HOSTS = {
    "acme-industrial.myshopify.com": "storefront",
    "api.businesscentral.dynamics.com": "erp",
    "login.microsoftonline.com": "erp",
    "api.shipbob.com": "threepl",
}


class Died(BaseException):
    """The process is gone: no except clause of it sees anything any more."""


@dataclass
class Line:
    """All calls that leave a function, counted. The ``at``-th is cut in one of four ways.

    ``refused``: nobody is there, nothing was done. ``lost``: it was done, and the caller is told that the connection broke off.
    ``repeated``: it was done, the answer got lost, and the AWS client's own retry does it once more. ``died``: it was done, and the
    process is gone before it hears of it.
    """

    kind: str = ""
    at: int = 0
    calls: list[str] = field(default_factory=list)
    cut: str = ""

    def call(self, name: str, do: Callable[[], Any], *, refused: Exception, lost: Exception, repeats: bool) -> Any:
        self.calls.append(name)
        if len(self.calls) != self.at or (self.kind == "repeated" and not repeats):
            return do()
        self.cut = name
        if self.kind == "refused":
            raise refused
        try:
            answer = do()
        except ClientError:
            answer = None  # also a refusal is an answer that can get lost
        if self.kind == "died":
            raise Died(name)
        if self.kind == "lost":
            raise lost
        assert self.kind == "repeated"
        del answer
        return do()


class CutClients(Clients):
    """AWS as the functions reach it. ``stand_in`` are services that moto does not play far enough."""

    def __init__(self, inner: Clients, line: Line, stand_in: Mapping[str, object]) -> None:
        super().__init__()
        self._inner, self._line, self._stand_in = inner, line, stand_in

    def client(self, service: str) -> Any:
        return CutClient(service, self._stand_in.get(service) or self._inner.client(service), self._line)


class CutClient:
    def __init__(self, service: str, inner: Any, line: Line) -> None:
        self._service, self._inner, self._line = service, inner, line

    def __getattr__(self, operation: str) -> Any:
        if operation == "get_paginator":
            return lambda name: CutPages(self, name)
        do = getattr(self._inner, operation)

        def cut(**arguments: Any) -> Any:
            arguments.pop("WaitTimeSeconds", None)  # time stands still here: there is nothing to wait for
            where = f"https://{self._service}.test"
            refused, lost = EndpointConnectionError(endpoint_url=where), ConnectionClosedError(endpoint_url=where)
            return self._line.call(f"{self._service}.{operation}", lambda: do(**arguments), refused=refused, lost=lost, repeats=True)

        return cut


class CutPages:
    """A paginator over calls that can be cut: each page is one."""

    def __init__(self, client: CutClient, operation: str) -> None:
        self._client, self._operation = client, operation

    def paginate(self, **arguments: Any) -> Iterator[Any]:
        while True:
            page = getattr(self._client, self._operation)(**arguments)
            yield page
            if "LastEvaluatedKey" not in page:
                return
            arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]


class WorkQueue:
    """What the order workflow and the bus see of the queues: they send by themselves, nobody's code is in between."""

    def __init__(self, clients: Clients, url: str) -> None:
        self._clients, self._url = clients, url

    def send(self, queue: object, body: str, *, group: str, delay_seconds: int = 0) -> None:
        self._clients.sqs.send_message(QueueUrl=self._url, MessageBody=body, MessageGroupId=group)


def _refusal(code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, operation)


class StepFunctions:
    """The service's four calls over the order workflow that the flows' tests use."""

    def __init__(self, workflow: MemoryWorkflow) -> None:
        self._workflow = workflow

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> dict[str, str]:  # noqa: A002, N803 - the service's own names
        if name in self._workflow.executions:
            raise _refusal("ExecutionAlreadyExists", "StartExecution")
        self._workflow.executions[name] = Execution(json.loads(input)["order_id"], "Prepare")
        return {"executionArn": name}

    def describe_execution(self, *, executionArn: str) -> dict[str, str]:  # noqa: N803
        found = self._workflow.executions.get(executionArn.rpartition(":")[2])
        if found is None:
            raise _refusal("ExecutionDoesNotExist", "DescribeExecution")
        return {"status": "RUNNING" if found.open else "SUCCEEDED" if found.state in ("Succeeded", "Cancelled") else "FAILED"}

    def send_task_success(self, *, taskToken: str, output: str) -> dict[str, str]:  # noqa: N803
        if not self._workflow.succeed(taskToken, json.loads(output)):
            raise _refusal("TaskTimedOut", "SendTaskSuccess")
        return {}

    def send_task_failure(self, *, taskToken: str, error: str, cause: str) -> dict[str, str]:  # noqa: N803
        if not self._workflow.fail(taskToken, error=error, cause=cause):
            raise _refusal("TaskTimedOut", "SendTaskFailure")
        return {}


class Bus:
    """EventBridge with the stack's one rule: what is put on the bus goes to the work queue."""

    def __init__(self, inner: Any, work: WorkQueue) -> None:
        self._inner, self._work = inner, work

    def put_events(self, *, Entries: list[dict[str, Any]]) -> Any:  # noqa: N803
        answer = self._inner.put_events(Entries=Entries)
        for entry in Entries:
            envelope = {"detail-type": entry["DetailType"], "source": entry["Source"], "detail": json.loads(entry["Detail"])}
            self._work.send(None, json.dumps(envelope), group="bus")
        return answer


@cache
def _spec() -> TenantSpec:
    """The tenant with calmer polls: what they find is the same, and there are fewer calls between two that matter."""
    found = spec()
    calm = {name: connection.model_copy(update={"poll_seconds": 30}) for name, connection in found.connections.items()}
    return found.model_copy(update={"connections": calm})


@cache
def _settings() -> dict[str, dict[str, Any]]:
    facts = world.of(spec())
    made = {name: seed.settings(spec(), name, facts) for name, (_, seed) in VENDORS.items()}
    for name, settings in made.items():
        settings.setdefault("webhook_secret", f"a webhook secret for {name}")
    return made


class System:
    """One tenant, from the shop's webhook to the posted invoice. ``settle`` lets everything happen that can."""

    def __init__(self, tenant: Tenant, patch: pytest.MonkeyPatch, line: Line) -> None:
        self.tenant, self.line = tenant, line
        self.clock = ManualClock(STARTED)
        self.plain: Clients = tenant.account.clients
        work = WorkQueue(self.plain, tenant.account.settings.work_queue_url)
        self.workflow = MemoryWorkflow(cast("MemoryQueues", work))
        stand_in = {"stepfunctions": StepFunctions(self.workflow), "events": Bus(self.plain.events, work)}
        secrets = {name: {**settings["credentials"], "webhook_secret": settings["webhook_secret"]} for name, settings in _settings().items()}
        tenant.account.secret({name: {key: str(value) for key, value in fields.items()} for name, fields in secrets.items()})
        tenant.account.clients = CutClients(self.plain, line, stand_in)
        self.services = bootstrap.services(tenant.account.settings, _spec(), CutClients(self.plain, Line(), stand_in))
        patch.setattr(bootstrap, "deployed_spec", _spec)
        patch.setattr(SystemClock, "now", lambda _: self.clock.now())
        patch.setattr("moto.sqs.models.unix_time", lambda *_: self.clock.now().timestamp())
        patch.setattr("moto.sqs.models.unix_time_millis", lambda *_: self.clock.now().timestamp() * 1000)
        patch.setattr(time, "sleep", lambda _: None)
        patch.setattr(OutboundHttp, "_once", lambda client, *arguments: self._http(*arguments))
        self.harnesses = {name: self._simulator(name) for name in VENDORS}
        self._watched_at = STARTED
        for (sku, location), on_hand in SHELF.items():
            reading = StockReading(sku=sku, location=location, on_hand=Decimal(on_hand), as_of=STARTED)
            self.services.stock.count(reading, safety=Decimal(0), source=spec().locations[location].stock_from)
        for name in ("storefront", "threepl"):  # counted just now: the watch need not ask for the whole catalogue
            self.services.cursors.put(f"stock#{name}", STARTED.isoformat())
        # The shelf of these stories is not what the simulators hold: nobody compares the two while they are told.
        self.services.cursors.claim("reconcile", until=STARTED + timedelta(days=365), now=STARTED)

    def _simulator(self, name: str) -> Harness:
        settings = _settings()[name]
        config = {
            "vendor": VENDORS[name][0],
            "credentials": settings["credentials"],
            "seed": settings["seed"],
            "webhook": {"url": f"https://tenant.test/webhooks/{name}", "secret": settings["webhook_secret"]},
            "webhook_time_scale": 1,
        }
        return Harness(Config.read(config), clock=self.clock, transport=self._webhook)

    # ---------------------------------------------------------------- calls between the parts

    def _http(self, method: str, url: str, headers: dict[str, str], body: bytes | None, timeout: float) -> Answer:
        parts = urlsplit(url)
        harness = self.harnesses[HOSTS[parts.hostname or ""]]

        def do() -> Answer:
            found = harness.call(method, url.partition(parts.netloc)[2] or "/", headers=headers, body=body or b"")
            return Answer(found.status, {name.lower(): value for name, value in found.headers.items()}, found.raw())

        nobody = requests.ConnectionError(NewConnectionError(HTTPConnection(parts.hostname or ""), "refused"))
        broken = requests.ConnectionError(ProtocolError("connection reset"))
        return self.line.call(f"{method} {parts.hostname}{parts.path}", do, refused=nobody, lost=broken, repeats=False)  # type: ignore[no-any-return]

    def _webhook(self, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> int:
        webhook = event("receive_webhook/signed")
        webhook |= {"headers": dict(headers), "body": body.decode(), "pathParameters": {"connection": url.rpartition("/")[2]}}
        return int(self.invoke("receive_webhook", webhook, died={"statusCode": 502})["statusCode"])

    def invoke(self, function: str, given: Mapping[str, Any], *, died: Any = None) -> Any:
        """In a fresh process. ``died``: what its caller sees when the process is gone."""
        try:
            return self.tenant.run(function, given)
        except Died:
            if died is None:
                raise
            return died

    # ---------------------------------------------------------------- what runs by itself

    def settle(self, *, seconds: int = 900, over: Callable[[], bool] = lambda: False) -> None:
        """Everything happens that can happen, and time goes on, until it is ``over`` and nothing is left to do."""
        end = self.clock.now() + timedelta(seconds=seconds)
        while self.clock.now() < end:
            if self._step():
                continue
            if over():
                return
            self.clock.advance(5)
            if self.clock.now() - self._watched_at >= timedelta(minutes=1):
                self._watched_at = self.clock.now()
                for function in ("watch_deadlines", "index_dead_letters"):
                    self.scheduled(function)

    def scheduled(self, function: str) -> None:
        """The scheduler does not care; the next minute comes."""
        with suppress(StepFailed):
            self.invoke(function, event(f"{function}/every_minute"), died={})

    def _step(self) -> bool:
        if any(harness.run_due() for harness in self.harnesses.values()):
            return True
        if self.workflow.step(self._prepare):
            return True
        worked = [self._work(stage, function) for stage, function in QUEUES.items()]  # each of them, also when the first had something
        return any(worked)

    def _prepare(self, order_id: str) -> Mapping[str, object]:
        """The Express child: a task that failed is tried again, anything but passed ends it."""
        steps: list[tuple[str, dict[str, str]]] = [("validate_order", {}), ("check_order", {"check": "price"}), ("check_order", {"check": "credit"}), ("reserve_stock", {})]
        for function, more in steps:
            answer: dict[str, object] = {}
            for _ in range(4):
                try:
                    answer = self.invoke(function, {"order_id": order_id, **more}, died={})
                except Exception as error:  # noqa: BLE001 - the workflow sees every error of a task
                    answer = {"outcome": "failed", "errorMessage": str(error)}
                    continue
                if answer:
                    break
            if answer.get("outcome") != "passed":
                return answer or {"outcome": "failed"}
        return {"outcome": "passed"}

    def _work(self, stage: str, function: str) -> bool:
        """As the event source does: hidden while it is worked on, deleted when done, again after its time when not."""
        sqs, url = self.plain.sqs, getattr(self.tenant.account.settings, f"{stage}_queue_url")
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]).get("Messages", [])
        for message in found:
            record = {**batch(message["Body"])["Records"][0], "receiptHandle": message["ReceiptHandle"], "attributes": message["Attributes"]}
            failed = {"batchItemFailures": [{"itemIdentifier": record["messageId"]}]}
            if not self.invoke(function, {"Records": [record]}, died=failed)["batchItemFailures"]:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return bool(found)

    # ---------------------------------------------------------------- what can be seen

    def orders(self) -> list[OrderRecord]:
        return list(self.services.orders.every())

    def letters(self) -> SqsDeadLetters:
        """For the person who retries: nothing is cut there."""
        return SqsDeadLetters(CutClients(self.plain, Line(), {}), self.tenant.account.settings)

    def is_over(self) -> bool:
        """Every order at its end, no delivery on its way, and no message anywhere but for polls."""
        orders = self.orders()
        return bool(orders) and all(not self.workflow.running(order.order_id) for order in orders) and not self.waiting()

    def waiting(self) -> list[str]:
        """Messages in any queue, seen or not, but for polls and counts, which never end."""
        from moto.sqs.models import sqs_backends

        queues = sqs_backends["123456789012"]["us-east-1"].queues
        bodies = [message.body for stage in QUEUES for message in queues[stage]._messages]
        return [body for body in bodies if "PollConnection" not in body and "PullStock" not in body]

    def partners(self) -> dict[str, Any]:
        """What the systems outside hold of our orders: the documents that may each be there once."""
        erp, shop, threepl = (self.harnesses[name].state() for name in ("erp", "storefront", "threepl"))
        shipped: dict[str, Decimal] = defaultdict(Decimal)
        for line in erp["salesShipmentLines"]:
            shipped[line["lineObjectNumber"]] += Decimal(str(line["quantity"]))
        return {
            "sales orders": sorted(str(order["externalDocumentNumber"]) for order in erp["salesOrders"]),
            # Which of two parts is billed first may differ, and with it the invoice that carries the freight: not how many, nor how much.
            "shipped in the ERP": sorted((number, str(quantity)) for number, quantity in shipped.items()),
            "invoices": len(erp["salesInvoices"]),
            "invoiced": str(sum((Decimal(str(invoice["totalAmountIncludingTax"])) for invoice in erp["salesInvoices"]), Decimal(0))),
            "3PL orders": sorted((order["reference_id"], order["status"]) for order in threepl["orders"]),
            "fulfillments": sorted((document["status"], len(document["line_items"])) for document in shop["fulfillments"]),
            "cancelled in the shop": sorted(str(order["cancelled_at"] is not None) for order in shop["orders"]),
        }

    def end(self) -> dict[str, Any]:
        """Everything that must not depend on where a call was cut."""
        found = balance(self.services)
        return {
            "orders": [
                (
                    order.status.value,
                    [(part.plan.part_id, part.status.value, {name: str(value) for name, value in part.shipped.items()}) for part in order.parts],
                    sorted((booked.part_id, booked.confirmed, bool(booked.invoice_number)) for booked in order.shipments),
                )
                for order in sorted(self.orders(), key=lambda order: order.order_id)
            ],
            "partners": self.partners(),
            "committed": {order_id: [str(line.quantity) for line in lines] for order_id, lines in self.services.stock.outstanding()},
            "open exceptions": sorted(record.code for record in self.services.exceptions.listed()),
            "balance": found.adds_up or found,
            "workflow": {name: execution.state for name, execution in self.workflow.executions.items()},
            "waiting": self.waiting(),
        }


@contextmanager
def system(line: Line) -> Iterator[System]:
    with pytest.MonkeyPatch.context() as patch:
        real = bootstrap.load
        with running(patch) as tenant:
            patch.setattr(bootstrap, "load", real)  # not that test's own ERP
            made = System(tenant, patch, line)
            try:
                yield made
            finally:
                for harness in made.harnesses.values():
                    harness.close()
