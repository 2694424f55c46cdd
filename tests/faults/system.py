"""How does a test break something between the functions and AWS, and how does it know that the fault was really met?

How to write a fault test
=========================
One file for one fault or a few that are alike, ``test_NN_what_breaks.py``; each test says its number and name for the closing table::

    from tests.faults.system import Faulty, aws_error, hold, lost_answer

    @pytest.mark.fault(5, "DynamoDB write applied, answer lost")
    def test_a_write_whose_answer_is_lost_is_one_effect(faulty: Faulty) -> None:
        with faulty.proxy.faults(lost_answer("dynamodb", "TransactWriteItems", times=1)) as met:
            order_id = faulty.place([("AC-LUB-WHT", 3)])
            faulty.acme.reaches(order_id, "completed")
            assert met(), "the fault was really met"
        faulty.did("1 answer of TransactWriteItems cut off")

* ``faulty`` is everything: ``acme`` (the tenant that suffers; ``tests.scenarios.system.Tenant``), ``harbor`` (the one that must not notice),
  ``proxy`` (AWS faults), ``history`` (append only: what was sent and what was answered), ``did(text)`` (what the table shall say).
* **Everything sent goes through** ``faulty.place`` / ``faulty.send``: so it is in the history, and the ten invariants
  (``tests/invariants``) are checked over it after the test, when the system has come to rest. A test need not repeat them.
* ``faulty.proxy.faults(*rules)`` switches rules on for a ``with`` block and clears them after; the yielded function answers the
  events that fired so far. Rules are microburst's (service, operation, resource, headers, body, times, probability, sequence, error, latency,
  timeout_ms, reset, response.abort_frac ...); the **first** rule that matches wins, a rule that is spent (``times``) lets the next one have it,
  and a rule without effect only notes. The makers below cover the usual ones.
* ``by=faulty.function("apply_event")`` in a maker narrows a rule to the calls of one function (by the access key of its role).
* ``faulty.kill("apply_event")`` is kill -9 of all its workers. ``faulty.impatient("work")`` shortens the time after which a queue delivers again
  what a dead worker held (``seconds``), for a ``with`` block. ``faulty.aws("sqs")`` is an operator's client that goes past the proxy.
* The simulators' own faults (``acme.fault(...)``) and autopilots are reset after each test, as are the proxy's rules.
* A test that leaves exceptions or dead letters on purpose says so: ``faulty.expects_exception("CODE")``; others left behind fail the test.
  An order that shall not finish: ``faulty.leaves_open(order_id)``.

Working on one test: ``CROSSDOCK_FAULTS_KEEP=1 pytest tests/faults -k name`` brings the system up once, leaves it up and uses it again
(``crossdock local down`` ends it). ``CROSSDOCK_ENFORCE_IAM=0`` runs without enforced permissions.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import requests

from local.engine import engine
from local.engine.local_run import LocalRun
from local.engine.process import environment_for_children
from local.engine.state import HOST
from local.simulators import exact_json
from tests.invariants.history import History
from tests.scenarios import orders as shop
from tests.scenarios.system import ROOT, Tenant, eventually

Rule = dict[str, Any]

# ------------------------------------------------------------------------------------------------ the rules of the usual faults


@dataclass(frozen=True)
class Function:
    """One function of a tenant, as AWS knows it."""

    name: str
    full_name: str
    access_key: str


def calls(service: str = "*", operation: str | None = None, *, by: Function | None = None, about: str | None = None, times: int | None = None, **more: Any) -> Rule:
    """A rule without effect: it notes the calls it matches. ``about`` is a text that the call's JSON body must contain."""
    rule: Rule = {"service": service, **more}
    if operation:
        rule["operation"] = operation
    if by is not None:
        rule["headers"] = {"Authorization": by.access_key}
    if about is not None:
        rule["body"] = f"contains(to_string(@), '{about}')"
    if times is not None:
        rule["times"] = times
    return rule


def aws_error(service: str, operation: str | None, code: str, *, status: int | None = None, **more: Any) -> Rule:
    """The service refuses, in its own wire format; nothing is done."""
    return calls(service, operation, error={"code": code, **({"status": status} if status else {})}, **more)


def lost_answer(service: str, operation: str | None = None, **more: Any) -> Rule:
    """The call is carried out and its answer cut off."""
    return calls(service, operation, response={"abort_frac": 0.0}, **more)


def cut(service: str, operation: str | None = None, **more: Any) -> Rule:
    """The connection breaks before the service has seen the call."""
    return calls(service, operation, reset=True, **more)


def hold(service: str = "*", operation: str | None = None, *, seconds: float = 30, **more: Any) -> Rule:
    """The call hangs, and was never seen by the service: a moment to kill its caller in."""
    return calls(service, operation, timeout_ms=int(seconds * 1000), **more)


def late(service: str, operation: str | None = None, *, seconds: float, **more: Any) -> Rule:
    """The call is carried out, but only after a while."""
    return calls(service, operation, latency=int(seconds * 1000), **more)


# ------------------------------------------------------------------------------------------------ the proxy


class Proxy:
    """The control side of the running proxy."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._control = requests.Session()

    def is_up(self) -> bool:
        return engine.answers(f"{self.url}/_microburst/health")

    def set(self, *rules: Rule) -> list[Rule]:
        """Exactly these rules from now on."""
        answer = self._control.post(f"{self.url}/_microburst/rules", json=list(rules), timeout=10)
        assert answer.status_code == 200, f"microburst does not take {rules}: {answer.text}"
        return list(answer.json())

    def rules(self) -> list[Rule]:
        return list(self._control.get(f"{self.url}/_microburst/rules", timeout=10).json())

    def clear(self) -> None:
        self.set()

    def fired(self, *, since: float = 0.0) -> list[dict[str, Any]]:
        """What rules did, the oldest first."""
        found = self._control.get(f"{self.url}/_microburst/fired", params={"limit": "50000", "since": str(since)}, timeout=30).json()
        assert isinstance(found, list), found
        return found

    @contextmanager
    def faults(self, *rules: Rule) -> Iterator[Callable[[], list[dict[str, Any]]]]:
        """The rules for the block; what is yielded tells what they did so far (rules without effect included)."""
        began = time.time()
        numbers = {rule["id"] for rule in self.set(*rules)}
        try:
            yield lambda: [event for event in self.fired(since=began) if event["rule_id"] in numbers]
        finally:
            self.clear()


def start_proxy(port: int, upstream: str, *, log: Path, stays: bool) -> subprocess.Popen[bytes]:
    """Starts the proxy; returns when it answers."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        started = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.proxy", "--port", str(port), "--upstream", upstream],
            cwd=ROOT,
            env=environment_for_children(),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=stays,
        )
    proxy = Proxy(f"http://{HOST}:{port}")
    eventually(lambda: started.poll() is not None or proxy.is_up(), f"the proxy answers (log: {log})", within=30)
    assert started.poll() is None, log.read_text()
    return started


# ------------------------------------------------------------------------------------------------ everything a test needs


@dataclass
class Observed(Tenant):
    """A tenant whose orders are noted in the history in the status in which they are seen."""

    history: History = field(default_factory=History)

    def order(self, order_id: str) -> dict[str, Any] | None:
        found = super().order(order_id)
        if found is not None:
            self.history.add("status", order_id=order_id, status=found["status"])
        return found


@dataclass
class Faulty:
    """The running system with a proxy inside it, for one test."""

    acme: Tenant
    harbor: Tenant
    proxy: Proxy
    history: History
    deeds: list[str] = field(default_factory=list)
    expected: set[str] = field(default_factory=set)

    def did(self, text: str) -> None:
        """What the closing table says was done."""
        self.deeds.append(text)

    def expects_exception(self, *codes: str) -> None:
        """The test leaves exceptions of these classes behind, on purpose."""
        self.expected |= set(codes)

    def leaves_open(self, order_id: str) -> None:
        """The test leaves the order unfinished, on purpose."""
        self.history.add("left_open", order_id=order_id)

    # -------------------------------------------------------------- what is sent

    def place(self, lines: Sequence[tuple[str, int]], **more: Any) -> str:
        """An order in the simulated shop, whose signed webhook follows (and is repeated by the shop until it is acknowledged)."""
        order_id = shop.place(self.acme, list(lines), **more)
        self.history.add("placed", order_id=order_id, lines=[list(line) for line in lines])
        return order_id

    def unsent(self, lines: Sequence[tuple[str, int]], **more: Any) -> dict[str, Any]:
        """An order that the shop has and has told nobody: the document for a test that sends the webhooks itself."""
        self.acme.fault("storefront", match={"topic": "orders/create"}, lose=True, times=1)
        return shop.placed(self.acme, list(lines), **more)

    def send(self, topic: str, document: Mapping[str, Any], *, event_id: str | None = None, **more: Any) -> requests.Response | None:
        """A signed webhook of the storefront; None when there was no answer at all. Sent and answered are both in the history."""
        order_id = f"storefront-{document['id']}"
        key = event_id or f"{topic}:{document['id']}"
        self.history.add("sent", order_id=order_id, topic=topic, key=key)
        try:
            answer = self.acme.shopify(topic, None, raw=exact_json.dumps(document).encode(), event_id=key, **more)
        except requests.RequestException as error:
            self.history.add("unanswered", order_id=order_id, topic=topic, key=key, error=type(error).__name__)
            return None
        self.history.add("answered", order_id=order_id, topic=topic, key=key, status=answer.status_code)
        return answer

    def watch(self) -> None:
        """The clock's sweeps, now."""
        self.acme.invoke("watch_deadlines")
        self.acme.invoke("index_dead_letters")

    @contextmanager
    def paused(self, function: str) -> Iterator[None]:
        """The queue's messages wait for the block; afterwards the function gets them in full batches."""
        client, name = self.aws("lambda"), self.function(function).full_name
        [mapping] = client.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
        client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        try:
            yield
        finally:
            client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)

    def redrive_twice(self, queue: str) -> None:
        """Sends the queue's dead letters round again, and the very same messages once more; what that led to is in the history."""
        letters = self.acme.cli("dlq", "peek", queue, "--limit", "500")
        bodies = [letter["message"] if isinstance(letter["message"], str) else json.dumps(letter["message"], separators=(",", ":")) for letter in letters]
        assert bodies, f"no dead letters in {queue}"
        assert self.acme.cli("dlq", "redrive", queue)["sent"] == len(bodies)
        once = self._effects_at_rest(queue)
        for body in bodies:
            self.aws("sqs").send_message(QueueUrl=self.queue_url(queue), MessageBody=body, MessageGroupId="again")
        twice = self._effects_at_rest(queue)
        self.history.add("redriven", queue=queue, messages=len(bodies), once=once, twice=twice)

    def _effects_at_rest(self, queue: str) -> dict[str, int]:
        """How much of everything the partners hold, when the queue is empty and every order of this test is over or waits for somebody."""

        def look() -> dict[str, int] | None:
            orders = [self.acme.order(order_id) for order_id in self.history.order_ids()]
            if self.depth(queue) or self.depth("work") or any(order and order["status"] not in ("completed", "cancelled", "held") for order in orders):
                return None
            erp, threepl, storefront = (self.acme.state(connection) for connection in ("erp", "threepl", "storefront"))
            return {
                **{name: len(erp[name]) for name in ("salesOrders", "salesShipments", "salesInvoices")},
                "3PL orders": len(threepl["orders"]),
                "fulfilments": sum(len(order.get("fulfillments", [])) for order in storefront["orders"]),
            }

        found: dict[str, int] = eventually(look, f"everything redriven from {queue} is worked off", within=120)
        return found

    # -------------------------------------------------------------- the platform

    def aws(self, service: str) -> Any:
        """An operator's client: it speaks to the engine itself, past the proxy."""
        return aws(self.acme, service)

    def outputs(self) -> dict[str, str]:
        return outputs(self.acme.name)

    def function(self, name: str) -> Function:
        full_name = json.loads(self.outputs()["FunctionNames"])[name]
        found = self.aws("lambda").get_function_configuration(FunctionName=full_name)
        # As the engine makes the credentials of a role's session. If that ever changes, no rule by function fires and the tests say so.
        digest = hashlib.sha256(f"{found['FunctionArn']}:{found['Role']}".encode()).hexdigest()
        return Function(name, full_name, f"ASIA{digest[:16].upper()}")

    def workers(self, name: str) -> list[psutil.Process]:
        wanted = self.function(name).full_name
        return [worker for worker in engine.workers(LocalRun().directory) if _environment(worker).get("AWS_LAMBDA_FUNCTION_NAME") == wanted]

    def kill(self, name: str) -> int:
        """kill -9 of every worker of the function, as a host that loses its power; how many there were."""
        victims = self.workers(name)
        for victim in victims:
            try:
                victim.kill()
            except psutil.NoSuchProcess:
                continue
        self.history.add("killed", function=name, workers=len(victims))
        return len(victims)

    def queue_url(self, queue: str, *, dead: bool = False) -> str:
        return self.outputs()[f"{queue.title()}{'DeadLetter' if dead else ''}QueueUrl"]

    def depth(self, queue: str, *, dead: bool = False) -> int:
        """Messages in the queue: waiting, being worked on and put off."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]
        found = self.aws("sqs").get_queue_attributes(QueueUrl=self.queue_url(queue, dead=dead), AttributeNames=names)
        return sum(int(value) for value in found["Attributes"].values())

    def age(self, *keys: str, by: timedelta) -> None:
        """Makes everything that is kept under these partition keys older: each time in it is set back."""
        client, table = self.aws("dynamodb"), self.outputs()["StateTable"]

        def older(text: str) -> str:
            return _INSTANT.sub(lambda found: _set_back(found[0], by), text)

        for key in keys:
            items = client.query(TableName=table, KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": {"S": key}}, ConsistentRead=True)["Items"]
            assert items, f"nothing is kept under {key}"
            for item in items:
                texts = {name: {"S": older(value["S"])} for name, value in item.items() if "S" in value and name not in ("pk", "sk")}
                packed = {name: {"B": zlib.compress(older(zlib.decompress(value["B"]).decode()).encode())} for name, value in item.items() if "B" in value}
                client.put_item(TableName=table, Item={**item, **texts, **packed})

    @contextmanager
    def impatient(self, *queues: str, seconds: int = 6) -> Iterator[None]:
        """What a dead worker held is delivered again after so many seconds instead of minutes; the mechanism is the same."""
        client = self.aws("sqs")
        before = {url: client.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"] for url in map(self.queue_url, queues)}
        for url in before:
            client.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": str(seconds)})
        try:
            yield
        finally:
            for url, attributes in before.items():
                client.set_queue_attributes(QueueUrl=url, Attributes=attributes)


_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def _set_back(instant: str, by: timedelta) -> str:
    """The earlier time in the same notation and width."""
    earlier = datetime.fromisoformat(instant) - by
    digits = len(instant.partition(".")[2].rstrip("Z")) if "." in instant and instant.endswith("Z") else None
    if digits is None:
        return earlier.isoformat().replace("+00:00", "Z") if instant.endswith("Z") else earlier.isoformat()
    return earlier.strftime("%Y-%m-%dT%H:%M:%S.%f")[: 20 + digits].ljust(20 + digits, "0") + "Z"


def aws(tenant: Tenant, service: str) -> Any:
    import boto3

    return boto3.client(service, endpoint_url=tenant.lambda_endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")


def outputs(tenant: str) -> dict[str, str]:
    return LocalRun().require().tenants[tenant].outputs


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return {}
