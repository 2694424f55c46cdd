"""Does every webhook reach its receiver the way a vendor sends it: signed, retried, duplicated, lost or reordered?"""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from local.simulators.clock import ManualClock
from local.simulators.server import Harness
from local.simulators.webhooks import post
from tests.local.simulators.conftest import OpenShop, Receiver


def order(shop: Harness, pieces: int = 1) -> None:
    assert shop.call("POST", "/orders", json={"pieces": pieces}).status == 201


def pieces(receiver: Receiver) -> list[int]:
    return [json.loads(body)["pieces"] for _, _, body in receiver.got]


def test_a_webhook_carries_the_vendors_headers_and_signature(open_shop: OpenShop, receiver: Receiver) -> None:
    shop = open_shop()
    order(shop)

    shop.run_due()

    url, headers, _ = receiver.got[0]
    assert url == "http://127.0.0.1:9/hook"
    assert headers["x-shop-topic"] == "orders/created"
    assert headers["x-shop-signature"].startswith("s3cret:")


def test_a_refused_webhook_is_retried_on_the_scaled_schedule_and_then_given_up(open_shop: OpenShop, receiver: Receiver, clock: ManualClock) -> None:
    shop = open_shop(autopilot={"enabled": False})
    receiver.answers = [500, OSError("refused"), 404]
    order(shop)

    for expected, wait in ((1, 0.9), (1, 0.1), (2, 1.9), (2, 0.1), (3, 60), (3, 0)):
        shop.run_due()
        assert len(receiver.got) == expected
        clock.advance(wait)

    webhooks = shop.state()["webhooks"]
    assert webhooks["failed"] == 1
    assert [entry.get("status", entry.get("error")) for entry in webhooks["recent"][0]["log"]] == [500, "refused", 404]
    assert {headers["x-shop-attempt"] for _, headers, _ in receiver.got} == {"1", "2", "3"}


def test_all_attempts_of_a_webhook_have_one_id(open_shop: OpenShop, receiver: Receiver, clock: ManualClock) -> None:
    shop = open_shop(autopilot={"enabled": False})
    receiver.answers = [500]
    order(shop)
    shop.run_due()
    clock.advance(1)
    shop.run_due()

    assert len({headers["x-shop-signature"] for _, headers, _ in receiver.got}) == 1
    assert shop.state()["webhooks"]["delivered"] == 1


def test_a_pending_webhook_survives_a_restart(open_shop: OpenShop, receiver: Receiver) -> None:
    order(open_shop(autopilot={"enabled": False}))

    open_shop(autopilot={"enabled": False}).run_due()

    assert pieces(receiver) == [1]


def test_without_a_listener_nothing_is_queued(open_shop: OpenShop, receiver: Receiver) -> None:
    shop = open_shop(webhook=None, autopilot={"enabled": False})
    order(shop)
    shop.run_due()

    assert receiver.got == []
    assert shop.state()["webhooks"]["unheard"] == 1
    assert shop.state()["webhooks"]["target"] is None


def test_only_what_is_subscribed_to_is_sent(open_shop: OpenShop, receiver: Receiver) -> None:
    shop = open_shop()
    standing = shop.ctx.webhooks.target
    assert standing is not None
    shop.listen(replace(standing, topics=("orders/paid",)))
    order(shop)
    shop.run_due()

    assert receiver.got == []
    shop.listen(replace(standing, topics=()))
    order(shop)
    shop.run_due()
    assert receiver.got != [], "no list of topics means all of them"


def test_a_duplicated_webhook_comes_twice_and_the_next_once(open_shop: OpenShop, receiver: Receiver) -> None:
    shop = open_shop(autopilot={"enabled": False})
    shop.ctx.faults.add({"match": "webhook orders/created", "duplicate": True})
    order(shop, 1)
    order(shop, 2)
    shop.run_due()

    assert pieces(receiver) == [1, 1, 2]


def test_a_lost_webhook_is_never_sent(open_shop: OpenShop, receiver: Receiver, clock: ManualClock) -> None:
    shop = open_shop(autopilot={"enabled": False})
    shop.ctx.faults.add({"match": {"topic": "orders/created"}, "lose": True})
    order(shop, 1)
    order(shop, 2)
    shop.run_due()
    clock.advance(3600)
    shop.run_due()

    assert pieces(receiver) == [2]
    assert shop.state()["webhooks"]["lost"] == 1


def test_a_reordered_webhook_waits_for_the_next_one(open_shop: OpenShop, receiver: Receiver) -> None:
    shop = open_shop(autopilot={"enabled": False})
    shop.ctx.faults.add({"match": "orders/created", "reorder": True})
    order(shop, 1)
    shop.run_due()
    assert shop.state()["webhooks"]["held"] == 1

    order(shop, 2)
    shop.run_due()
    shop.run_due()

    assert pieces(receiver) == [2, 1]


def test_a_delayed_webhook_comes_later(open_shop: OpenShop, receiver: Receiver, clock: ManualClock) -> None:
    shop = open_shop(autopilot={"enabled": False})
    shop.ctx.faults.add({"match": "orders/created", "delay_s": 3})
    order(shop)
    shop.run_due()
    assert receiver.got == []
    assert shop.seconds_to_next() == pytest.approx(3)

    clock.advance(3)
    shop.run_due()

    assert pieces(receiver) == [1]


def test_a_refused_request_sends_no_webhook(open_shop: OpenShop, receiver: Receiver) -> None:
    shop = open_shop()
    shop.call("POST", "/orders", json={"pieces": 11})
    shop.run_due()

    assert receiver.got == []


@pytest.fixture
def endpoint() -> Iterator[tuple[str, list[bytes]]]:
    got: list[bytes] = []

    class Endpoint(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(302 if self.path == "/moved" else 204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Quiet."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_post_reports_the_status_and_follows_no_redirect(endpoint: tuple[str, list[bytes]]) -> None:
    url, got = endpoint

    assert post(f"{url}/hook?a=1", {}, b"{}", 5) == 204
    assert post(f"{url}/moved", {}, b"[]", 5) == 302
    assert got == [b"{}", b"[]"]


def test_a_receiver_that_is_not_there_is_an_os_error() -> None:
    with pytest.raises(ConnectionRefusedError):
        post("http://127.0.0.1:1/hook", {}, b"{}", 1)
