"""Does a simulator that is killed come back as the one it was? The real process, started as the stack starts it."""

from __future__ import annotations

import http.client
import http.server
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SECRET = "whsec_" + "C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
ORDER = {
    "reference_id": "part-1",
    "type": "DTC",
    "shipping_method": "Standard",
    "recipient": {"name": "Dana", "address": {"address1": "12 Mill Rd", "city": "Joliet", "state": "IL", "zip_code": "60432", "country": "US"}},
    "products": [{"reference_id": "BOLT", "name": "Bolt", "quantity": 1}],
}


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """A webhook receiver that remembers the topics it got."""
    topics: list[str] = []

    class Endpoint(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            topics.append(self.headers["x-webhook-topic"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", topics
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def start(tmp_path: Path, listener: tuple[str, list[str]]) -> Iterator[Callable[[], tuple[subprocess.Popen[bytes], int]]]:
    """Starts the same simulator again each time it is called."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = tmp_path / "config.json"
    config.write_text(
        json.dumps(
            {
                "vendor": "shipbob",
                "tenant": "acme",
                "connection": "threepl",
                "port": port,
                "state_file": str(tmp_path / "state.sqlite"),
                "exchanges_file": None,
                "credentials": {"access_token": "pat", "channel_id": 7},
                "webhook": {"url": listener[0], "secret": SECRET},
                "seed": {"products": [{"sku": "BOLT", "stock": {"1": 5}}]},
                "autopilot": {"acknowledge_after_s": 0.1, "ship_after_s": 0.5},
                "adopt": None,
            }
        )
    )
    running: list[subprocess.Popen[bytes]] = []

    def start_it() -> tuple[subprocess.Popen[bytes], int]:
        running.append(subprocess.Popen([sys.executable, "-m", "local.simulators", str(config)]))
        wait_for(lambda: ask(port, "GET", "/_health")["status"] == "ok")
        return running[-1], port

    yield start_it
    for process in running:
        process.kill()
        process.wait()


def ask(port: int, method: str, path: str, body: object = None) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        headers = {"Authorization": "Bearer pat", "shipbob_channel_id": "7", "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        return json.loads(connection.getresponse().read() or b"null")
    finally:
        connection.close()


def wait_for(reached: Callable[[], bool]) -> None:
    """Until the other process has got there; its clock is its own."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            if reached():
                return
        except OSError:
            pass
        time.sleep(0.02)
    pytest.fail("it never happened")


def test_a_killed_simulator_ships_what_it_was_about_to_ship(start: Callable[[], tuple[subprocess.Popen[bytes], int]], listener: tuple[str, list[str]]) -> None:
    process, port = start()
    order = ask(port, "POST", "/2026-01/order", ORDER)
    process.kill()
    process.wait()

    process, port = start()
    wait_for(lambda: listener[1] == ["order.shipped"])

    assert ask(port, "GET", f"/2026-01/order/{order['id']}")["status"] == "Fulfilled"
    assert ask(port, "GET", "/_state")["inventory"][0]["locations"][0]["on_hand_quantity"] == 4
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) in (0, -signal.SIGTERM)
