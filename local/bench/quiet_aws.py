"""An AWS that answers at once and knows nothing: what is left of a first call when the network and the services cost nothing?"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "bench-webhook-secret"  # noqa: S105 - of a tenant that exists in this process only


@contextmanager
def running(connections: list[str]) -> Iterator[str]:
    """Its address, as long as the context lasts."""
    secret = json.dumps({name: {"webhook_secret": SECRET, "client_id": "bench", "client_secret": "bench", "token": "bench"} for name in connections})

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer in one packet: two would wait for each other's acknowledgement

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            operation = (self.headers.get("X-Amz-Target") or "").rpartition(".")[2]
            self._send(json.dumps(_answer(operation, json.loads(body or b"{}"), secret)).encode())

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._send(b"")

        def do_GET(self) -> None:
            self._send(b"")

        def _send(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("ETag", '"00000000000000000000000000000000"')
            self.send_header("x-amz-version-id", "bench")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            """Nothing to say: the figures are the output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def _answer(operation: str, asked: dict[str, Any], secret: str) -> dict[str, Any]:
    if operation == "GetSecretValue":
        return {"Name": "bench", "SecretString": secret, "VersionId": "bench"}
    if operation == "SendMessage":
        return {"MessageId": "bench", "MD5OfMessageBody": hashlib.md5(asked["MessageBody"].encode(), usedforsecurity=False).hexdigest()}
    if operation == "PutEvents":
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "bench"} for _ in asked["Entries"]]}
    empty: dict[str, dict[str, Any]] = {"BatchGetItem": {"Responses": {}, "UnprocessedKeys": {}}, "Query": {"Items": [], "Count": 0, "ScannedCount": 0}}
    return empty.get(operation, {})
