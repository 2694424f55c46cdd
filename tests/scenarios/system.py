"""How do the stories talk to the system? Only through its public doors: webhooks, /v1, the command line, and the simulators' own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parents[2]
_numbers = count(int(time.time()) % 100_000_000 * 1000)


def crossdock(*arguments: str, check: bool = True, timeout: float = 180) -> Any:
    """Runs the command line with ``--json`` and answers its document."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "crossdock"), *arguments, "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "NO_COLOR": "1"},
        check=False,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"crossdock {' '.join(arguments)} ended with {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return json.loads(done.stdout) if done.stdout.strip() else {"exit_code": done.returncode}


def eventually(look: Callable[[], Any], what: str, *, within: float = 30, every: float = 0.25) -> Any:
    """The first truthy answer of ``look``; fails with the last one it gave."""
    deadline = time.monotonic() + within
    last: Any = None
    while time.monotonic() < deadline:
        last = look()
        if last:
            return last
        time.sleep(every)
    raise AssertionError(f"not seen within {within} s: {what}; last look: {json.dumps(last, default=str)[:1500]}")


@dataclass
class Tenant:
    """One tenant's public doors."""

    name: str
    api_url: str
    api_keys: dict[str, str]
    webhooks: dict[str, dict[str, str]]
    simulators: dict[str, str]
    lambda_endpoint: str
    session: requests.Session = field(default_factory=requests.Session)

    # -------------------------------------------------------------- /v1

    def get(self, path: str, *, expect: int = 200, key: str | None = None) -> Any:
        answer = self.ask(path, key=key)
        assert answer.status_code == expect, f"GET {path}: {answer.status_code} {answer.text[:800]}"
        return answer.json()

    def submit(self, document: dict[str, Any], *, key: str) -> requests.Response:
        return self.session.post(
            self.api_url + "/v1/orders",
            data=json.dumps(document),
            headers={"x-api-key": next(iter(self.api_keys.values())), "Idempotency-Key": key, "Content-Type": "application/json"},
            timeout=30,
        )

    def order(self, order_id: str) -> dict[str, Any] | None:
        answer = self.ask(f"/v1/orders/{order_id}")
        return answer.json() if answer.status_code == 200 else None

    def ask(self, path: str, *, key: str | None = None) -> requests.Response:
        """As a well-behaved client: who is told to slow down waits and asks again."""
        for _ in range(30):
            answer = self.session.get(self.api_url + path, headers={"x-api-key": key or next(iter(self.api_keys.values()))}, timeout=30)
            if answer.status_code != 429:
                return answer
            time.sleep(float(answer.headers.get("Retry-After", "1")))
        return answer

    def reaches(self, order_id: str, *statuses: str, within: float = 45) -> dict[str, Any]:
        def look() -> Any:
            found = self.order(order_id)
            return found if found and found["status"] in statuses else None

        try:
            return eventually(look, f"{order_id} in {statuses}", within=within)
        except AssertionError as error:
            raise AssertionError(
                f"{error}\norder: {json.dumps(self.order(order_id), default=str)[:1500]}\nexceptions: {json.dumps(self.exceptions(), default=str)[:3000]}"
            ) from error

    def timeline(self, order_id: str) -> list[dict[str, Any]]:
        found = self.get(f"/v1/orders/{order_id}/timeline")
        assert found["chain"]["whole"], found["chain"]
        return list(found["entries"])

    def exceptions(self, **match: str) -> list[dict[str, Any]]:
        found = self.get("/v1/exceptions?limit=500")["exceptions"]
        return [record for record in found if all(record.get(name) == value for name, value in match.items())]

    def exception(self, *, within: float = 40, **match: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = eventually(lambda: self.exceptions(**match), f"an open exception with {match}", within=within)
        return found[0]

    # -------------------------------------------------------------- webhooks

    def sign_shopify(self, body: bytes, connection: str = "storefront") -> str:
        return base64.b64encode(hmac.new(self.webhooks[connection]["secret"].encode(), body, hashlib.sha256).digest()).decode()

    def shopify(
        self, topic: str, document: Any, *, event_id: str | None = None, signature: str | None = None, raw: bytes | None = None, headers: dict[str, str] | None = None
    ) -> requests.Response:
        body = raw if raw is not None else json.dumps(document).encode()
        number = next(_numbers)
        sent = {
            "Content-Type": "application/json",
            "X-Shopify-Topic": topic,
            "X-Shopify-Hmac-Sha256": signature or self.sign_shopify(body),
            "X-Shopify-Shop-Domain": "example.myshopify.com",
            "X-Shopify-API-Version": "2026-07",
            "X-Shopify-Webhook-Id": f"b54557e4-{number}",
            "X-Shopify-Event-Id": event_id or f"98880550-{number}",
            "X-Shopify-Triggered-At": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            **(headers or {}),
        }
        return requests.post(self.webhooks["storefront"]["url"], data=body, headers=sent, timeout=60)

    # -------------------------------------------------------------- the simulated systems

    def state(self, connection: str) -> dict[str, Any]:
        return dict(json.loads(self.session.get(self.simulators[connection] + "/_state", timeout=30).content, parse_float=Decimal))

    def act(self, connection: str, verb: str, **body: Any) -> Any:
        answer = self.session.post(f"{self.simulators[connection]}/_actions/{verb}", json=body, timeout=30)
        assert answer.status_code < 300, f"{verb}: {answer.status_code} {answer.text[:800]}"
        return json.loads(answer.content, parse_float=Decimal)

    def fault(self, connection: str, **spec: Any) -> None:
        answer = self.session.post(f"{self.simulators[connection]}/_faults", json=spec, timeout=30)
        assert answer.status_code < 300, answer.text

    def clear_faults(self) -> None:
        for url in self.simulators.values():
            self.session.delete(url + "/_faults", timeout=30)

    def autopilot(self, connection: str, **settings: Any) -> None:
        answer = self.session.post(f"{self.simulators[connection]}/_autopilot", json=settings, timeout=30)
        assert answer.status_code < 300, answer.text

    # -------------------------------------------------------------- what the ERP holds about an order

    def sales_orders(self, order_id: str) -> list[dict[str, Any]]:
        return [document for document in self.state("erp")["salesOrders"] if document.get("externalDocumentNumber") == order_id]

    def invoices(self, order_id: str) -> list[dict[str, Any]]:
        return [document for document in self.state("erp")["salesInvoices"] if document.get("externalDocumentNumber") == order_id]

    def threepl_orders(self, order_id: str) -> list[dict[str, Any]]:
        return [document for document in self.state("threepl")["orders"] if str(document.get("reference_id", "")).startswith(order_id + ".")]

    # -------------------------------------------------------------- the command line, on this tenant

    def cli(self, *arguments: str, check: bool = True) -> Any:
        return crossdock(*arguments, "--tenant", self.name, check=check)

    def invoke(self, function: str) -> Any:
        """Runs a scheduled function now instead of within the minute."""
        return _invoke(self, function)


def _invoke(tenant: Tenant, function: str) -> Any:
    import boto3

    client = boto3.client("lambda", endpoint_url=tenant.lambda_endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
    names = [item["FunctionName"] for page in client.get_paginator("list_functions").paginate() for item in page["Functions"]]
    short = tenant.name.replace("_", "-")
    name = next(name for name in names if short in name.lower().replace("_", "-") and function.replace("_", "") in name.lower().replace("_", "").replace("-", ""))
    return json.loads(client.invoke(FunctionName=name, Payload=b"{}")["Payload"].read())


def bring_up(*arguments: str) -> dict[str, Tenant]:
    """Every tenant, up, with permissions enforced (unless ``CROSSDOCK_ENFORCE_IAM=0``)."""
    enforced = [] if os.environ.get("CROSSDOCK_ENFORCE_IAM") == "0" else ["--enforce-iam"]
    up = crossdock("local", "up", *enforced, *arguments, timeout=300)
    return {
        name: Tenant(
            name=name,
            api_url=found["api_url"].removesuffix("/v1").rstrip("/"),
            api_keys=found["api_keys"],
            webhooks=found["webhooks"],
            simulators={connection: url.rstrip("/") for connection, url in found["simulators"].items()},
            lambda_endpoint=up["engine_url"],
        )
        for name, found in up["tenants"].items()
    }


def at_once(work: Callable[[int], Any], times: int) -> list[Any]:
    """Runs the work in so many threads that start together; the results in order."""
    barrier = threading.Barrier(times)
    results: list[Any] = [None] * times

    def run(index: int) -> None:
        barrier.wait()
        results[index] = work(index)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
