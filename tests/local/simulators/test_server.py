"""Does the shell around every simulator keep its promises: faults, control panel, transactions, dropped connections?"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from local.simulators.clock import ManualClock
from local.simulators.server import Config, ConnectionDropped, Served
from tests.local.simulators.conftest import OpenShop, Receiver


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    config = Config(vendor="corner_shop", state_file=str(tmp_path / "served.sqlite"), autopilot={"ship_after_s": 0.05})
    with Served(config) as shop:
        yield shop


def ask(served: Served, method: str, path: str, body: object = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(urlsplit(served.url).netloc, timeout=10)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()


def test_a_dropped_answer_closes_the_connection_without_a_byte_and_the_work_stays_done(served: Served) -> None:
    ask(served, "POST", "/_faults", {"match": "POST /orders", "drop_after_commit": True})

    with socket.create_connection(("127.0.0.1", urlsplit(served.url).port or 0), timeout=10) as raw:
        raw.sendall(b'POST /orders HTTP/1.1\r\nhost: x\r\ncontent-length: 12\r\n\r\n{"pieces":1}')
        answered = raw.recv(4096)

    assert answered == b""
    assert [order["pieces"] for order in ask(served, "GET", "/_state")[1]["orders"]] == [1]
    assert ask(served, "POST", "/orders", {"pieces": 2})[0] == 201


def test_a_timeout_closes_without_an_answer_and_nothing_is_done(served: Served) -> None:
    ask(served, "POST", "/_faults", {"match": "POST /orders", "timeout": 0.05})

    with pytest.raises(http.client.RemoteDisconnected):
        ask(served, "POST", "/orders", {"pieces": 1})

    assert ask(served, "GET", "/_state")[1]["orders"] == []


def test_a_delayed_answer_still_comes(served: Served) -> None:
    ask(served, "POST", "/_faults", {"delay_s": 0.02})

    assert ask(served, "POST", "/orders", {"pieces": 1})[0] == 201
    assert ask(served, "GET", "/_faults")[1][0]["fired"] == 1


def test_staff_ships_by_itself_while_the_server_runs(served: Served) -> None:
    _, order = ask(served, "POST", "/orders", {"pieces": 1})

    for _ in range(200):
        if ask(served, "GET", f"/orders/{order['id']}")[1]["status"] == "shipped":
            return
    pytest.fail("nobody shipped")


def test_the_control_panel_explains_what_it_cannot_do(served: Served) -> None:
    assert ask(served, "GET", "/_health")[1]["status"] == "ok"
    assert ask(served, "POST", "/_faults", {"match": "x"})[0] == 400
    assert ask(served, "PUT", "/_webhook", {"url": "http://x"})[1] == {"error": "secret is missing"}
    assert ask(served, "PUT", "/_webhook", {"url": "http://x", "secret": "y"})[0] == 200
    assert ask(served, "POST", "/_autopilot", {"speed": 1})[0] == 400
    assert ask(served, "POST", "/_autopilot", {"enabled": False})[1]["enabled"] is False
    assert ask(served, "GET", "/_autopilot")[1]["enabled"] is False
    assert ask(served, "POST", "/_actions/dance")[0] == 404
    assert ask(served, "POST", "/_actions/ship", {"id": 5})[0] == 409
    assert ask(served, "POST", "/_actions/ship", {})[0] == 400
    assert ask(served, "POST", "/_actions/ship", [1])[0] == 400
    assert ask(served, "DELETE", "/_faults")[1] == {"cleared": 0}
    assert ask(served, "GET", "/_requests")[1] == []
    assert ask(served, "POST", "/_reset")[0] == 200


def test_an_injected_status_speaks_the_vendors_error_shape_and_does_nothing(open_shop: OpenShop) -> None:
    shop = open_shop()
    shop.ctx.faults.add({"match": "order.create", "status": 503, "headers": {"Retry-After": "7"}})

    answer = shop.call("POST", "/orders", json={"pieces": 1})

    assert (answer.status, answer.body, answer.headers) == (503, {"shop_error": "injected fault"}, {"Retry-After": "7"})
    assert shop.state()["orders"] == []
    assert shop.call("POST", "/orders", json={"pieces": 1}).status == 201


def test_an_injected_body_goes_out_as_given(open_shop: OpenShop) -> None:
    shop = open_shop()
    shop.ctx.faults.add({"status": 200, "body": {"error": "odd"}})

    assert shop.call("GET", "/orders/1").body == {"error": "odd"}


def test_a_lost_answer_in_process_says_so_after_the_commit(open_shop: OpenShop) -> None:
    shop = open_shop()
    shop.ctx.faults.add({"drop_after_commit": True})

    with pytest.raises(ConnectionDropped):
        shop.call("POST", "/orders", json={"pieces": 1})

    assert len(shop.state()["orders"]) == 1


def test_a_timed_out_request_in_process_does_nothing(open_shop: OpenShop) -> None:
    shop = open_shop()
    shop.ctx.faults.add({"timeout": True})

    with pytest.raises(ConnectionDropped):
        shop.call("POST", "/orders", json={"pieces": 1})

    assert shop.state()["orders"] == []


def test_a_refused_request_leaves_no_trace(open_shop: OpenShop) -> None:
    shop = open_shop()

    answer = shop.call("POST", "/orders", json={"pieces": 11})

    assert answer.status == 422
    assert shop.state()["orders"] == []
    assert shop.state()["counters"] == {}


def test_a_bug_of_the_simulator_is_a_500_that_undoes_everything(open_shop: OpenShop, tmp_path: Path) -> None:
    shop = open_shop()

    assert shop.call("POST", "/orders", json={"pieces": -1}).status == 500
    assert shop.state()["orders"] == []
    assert (tmp_path / "exchanges.jsonl").read_text() == ""


def test_a_restarted_simulator_goes_on_where_it_was(open_shop: OpenShop, clock: ManualClock, receiver: Receiver) -> None:
    open_shop().call("POST", "/orders", json={"pieces": 1})

    shop = open_shop()
    clock.advance(0.5)
    shop.run_due()
    shop.run_due()

    assert shop.state()["orders"][0]["status"] == "shipped"
    assert [json.loads(body)["status"] for _, _, body in receiver.got] == ["open", "shipped"]
    assert shop.call("POST", "/orders", json={"pieces": 2}).body["id"] == 101


def test_staff_stands_still_while_the_autopilot_is_off(open_shop: OpenShop, clock: ManualClock) -> None:
    shop = open_shop(autopilot={"enabled": False})
    shop.call("POST", "/orders", json={"pieces": 1})
    clock.advance(60)
    shop.run_due()
    assert shop.state()["orders"][0]["status"] == "open"

    shop.ctx.change_autopilot({"enabled": True})
    shop.run_due()

    assert shop.state()["orders"][0]["status"] == "shipped"


def test_a_broken_timer_is_shown_and_does_not_ring_again(open_shop: OpenShop, clock: ManualClock) -> None:
    shop = open_shop()
    shop.ctx.schedule(0, "ship", {"id": 404})

    shop.run_due()

    assert shop.state()["timers"] == []
    assert shop.state()["failed_timers"][0]["payload"] == {"id": 404}


def test_a_reset_goes_back_to_the_seed_and_keeps_the_webhook_target(open_shop: OpenShop) -> None:
    shop = open_shop(seed={"orders": [{"id": 1, "pieces": 1, "status": "open"}]})
    shop.call("POST", "/orders", json={"pieces": 1})

    shop.reset()

    assert [order["id"] for order in shop.state()["orders"]] == [1]
    assert shop.state()["timers"] == []
    assert shop.state()["webhooks"]["target"] == "http://127.0.0.1:9/hook"


def test_fractions_are_exact_from_request_to_answer(open_shop: OpenShop) -> None:
    shop = open_shop()

    answer = shop.call("POST", "/orders", body=b'{"pieces": 1, "price": 0.1000000000000000055}')

    assert answer.json()["price"] == Decimal("0.1000000000000000055")


@pytest.mark.parametrize("raw", [[], {}, {"vendor": "corner_shop", "colour": "red"}], ids=["no object", "no vendor", "unknown key"])
def test_a_configuration_nobody_can_use_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="configuration"):
        Config.read(raw)


@pytest.mark.parametrize("vendor", ["nobody", "../etc"])
def test_an_unknown_vendor_is_refused(open_shop: OpenShop, vendor: str) -> None:
    with pytest.raises(ValueError, match=vendor):
        open_shop(vendor=vendor)


def test_the_command_refuses_a_configuration_without_a_port(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"vendor": "corner_shop"}')

    done = subprocess.run(
        [sys.executable, "-m", "local.simulators", str(tmp_path / "config.json")],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert done.returncode == 2
    assert "names no port" in done.stderr
