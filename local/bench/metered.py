"""What do the functions ask of AWS? A proxy between them and the local engine that counts and changes nothing."""

from __future__ import annotations

import http.client
import json
import math
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import psutil

_CHUNK = 64 * 1024
_READ_UNIT = 4096
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


def summed(*counts: Mapping[str, float]) -> dict[str, float]:
    """All of them added up, name by name."""
    found: dict[str, float] = {}
    for one in counts:
        for name, count in one.items():
            found[name] = found.get(name, 0) + count
    return found


class Meter:
    """Counts by function, in the words of prices.yaml, and beside them the operations by name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.priced: dict[str, dict[str, float]] = {}
        self.operations: dict[str, Counter[str]] = {}
        self.engine_url = ""

    def add(self, function: str, operation: str, counts: dict[str, float]) -> None:
        with self._lock:
            self.operations.setdefault(function, Counter())[operation] += 1
            self.priced[function] = summed(self.priced.get(function, {}), counts)

    def reset(self) -> tuple[dict[str, dict[str, float]], dict[str, Counter[str]]]:
        """What was counted since the last time, and a fresh start."""
        with self._lock:
            found = self.priced, self.operations
            self.priced, self.operations = {}, {}
            return found


@contextmanager
def running(meter: Meter) -> Iterator[str]:
    """The proxy's address, as long as the context lasts. ``meter.engine_url`` is where it passes on to."""

    class Door(_Door):
        counted = meter

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class _Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    counted: Meter

    def setup(self) -> None:
        super().setup()
        self._function = function_at(self.client_address[1])

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        target = self.headers.get("X-Amz-Target") or ""
        asked = json.loads(body) if target and body else {}
        if target.startswith("DynamoDB_"):
            asked["ReturnConsumedCapacity"] = "TOTAL"
            body = json.dumps(asked).encode()
        # A connection each: the engine hangs up on one that was idle, and whose request met that would be for us to know.
        behind = http.client.HTTPConnection(urlsplit(self.counted.engine_url).netloc, timeout=60)
        behind.request(self.command, self.path, body=body, headers={name: value for name, value in self.headers.items() if name.lower() not in _HOP})
        reply = behind.getresponse()
        told = reply.read()
        behind.close()
        self.send_response(reply.status)
        for name, value in reply.getheaders():
            if name.lower() not in _HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(told)
        operation = target.rpartition(".")[2] or f"S3 {self.command}"
        self.counted.add(self._function, operation, counts_of(target, self.command, asked, told, reply.status))

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on  # noqa: N815 - the names the library asks for

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """What it has to say is in the meter."""


def function_at(port: int) -> str:
    """The function whose process speaks from this local port, as functions/ calls it."""
    for connection in psutil.net_connections("tcp"):
        if connection.laddr and connection.laddr.port == port and connection.pid:
            try:
                return psutil.Process(connection.pid).environ().get("POWERTOOLS_SERVICE_NAME", "?")
            except psutil.Error:
                return "?"
    return "?"


def counts_of(target: str, method: str, asked: dict[str, Any], told: bytes, status: int) -> dict[str, float]:
    """What one call counts for on AWS's bill, in the words of prices.yaml. Calls of Step Functions' own API cost nothing."""
    service, _, operation = target.rpartition(".")
    if service.startswith("DynamoDB_"):
        return _dynamodb(operation, asked, told, status)
    if service == "AmazonSQS":
        bodies = [asked.get("MessageBody", "")] + [entry["MessageBody"] for entry in asked.get("Entries", []) if "MessageBody" in entry]
        return {"sqs_requests": max(1, math.ceil(sum(len(body.encode()) for body in bodies) / _CHUNK))}
    if service == "AWSEvents":
        entries = asked.get("Entries", [])
        sizes = [len(json.dumps(entry)) for entry in entries]
        # The rule hands each event to the work queue: one request there.
        return {"events": sum(math.ceil(size / _CHUNK) for size in sizes), "archived_event_gb": sum(sizes) / 1e9, "sqs_requests": len(entries)}
    if service == "secretsmanager":
        return {"secret_reads": 1, "kms_requests": 1}
    if not target and method in ("PUT", "POST", "GET", "HEAD"):
        return {"s3_puts" if method in ("PUT", "POST") else "s3_gets": 1}
    return {}


def _dynamodb(operation: str, asked: dict[str, Any], told: bytes, status: int) -> dict[str, float]:
    answer = json.loads(told or b"{}")
    consumed = answer.get("ConsumedCapacity") or []
    units = sum(float(one["CapacityUnits"]) for one in (consumed if isinstance(consumed, list) else [consumed]))
    if operation in ("GetItem", "BatchGetItem", "Query", "Scan", "TransactGetItems"):
        # The engine counts one unit for a read of any size.
        size = len(json.dumps(answer.get("Item") or answer.get("Items") or answer.get("Responses") or ""))
        consistent = asked.get("ConsistentRead") or any(table.get("ConsistentRead") for table in asked.get("RequestItems", {}).values())
        return {"dynamodb_read_units": max(units, math.ceil(size / _READ_UNIT) * (1.0 if consistent else 0.5))}
    if status != 200 and not units:
        # A condition that did not hold is paid for like the write it refused.
        units = 2.0 * len(asked["TransactItems"]) if "TransactItems" in asked else 1.0
    return {"dynamodb_write_units": units}
