"""What a sender must not send: is each told so, with nothing stored and nothing broken?"""

from __future__ import annotations

import gzip
import time
from base64 import b64encode
from hashlib import sha256
from hmac import new as hmac_of

import pytest
import requests

from local.simulators import exact_json
from tests.faults.system import Faulty

NAME = "clock skew, replay, truncated, gzip bomb, 6 MB, bad UTF-8, duplicate keys"


def _accepted(faulty: Faulty) -> int:
    return int(faulty.acme.cli("balance", check=False)["deliveries"]["accepted"])


def _standard(faulty: Faulty, body: bytes, *, name: str, at: float) -> requests.Response:
    """A message of the 3PL, rightly signed for the time it claims."""
    key = faulty.acme.webhooks["threepl"]["secret"].removeprefix("whsec_")
    from base64 import b64decode

    stamp = str(int(at))
    mac = b64encode(hmac_of(b64decode(key), f"{name}.{stamp}.".encode() + body, sha256).digest()).decode()
    headers = {"webhook-id": name, "webhook-timestamp": stamp, "webhook-signature": f"v1,{mac}", "x-webhook-topic": "return.created", "Content-Type": "application/json"}
    return requests.post(faulty.acme.webhooks["threepl"]["url"], data=body, headers=headers, timeout=60)


@pytest.mark.fault(19, NAME)
def test_a_clock_ten_minutes_wrong_is_refused_and_a_minute_is_not(faulty: Faulty) -> None:
    body, now = b'{"id": 1}', time.time()
    before = _accepted(faulty)
    statuses = {skew: _standard(faulty, body, name=f"skew-{now:.0f}-{skew}", at=now + skew).status_code for skew in (-600, 600)}
    assert statuses == {-600: 401, 600: 401}
    assert _accepted(faulty) == before, "nothing is stored"
    assert _standard(faulty, body, name=f"skew-{now:.0f}-near", at=now - 60).status_code == 200
    faulty.did("signed 10 minutes ago or ahead: 401; a minute: taken")


@pytest.mark.fault(19, NAME)
def test_a_replayed_body_is_the_same_delivery(faulty: Faulty) -> None:
    """Shopify's signature covers no time: a copy, with whatever headers, must become nothing new."""
    document = faulty.unsent([("AC-TAP-PTF", 2)])
    for number in range(3):
        answer = faulty.send("orders/create", document, event_id=f"replayed-{document['id']}")
        assert answer is not None and answer.status_code == 200
        assert (number == 0) == (answer.json().get("duplicate") is not True)
    faulty.acme.reaches(f"storefront-{document['id']}", "completed", within=120)
    again = faulty.send("orders/create", document, event_id=f"another-event-{document['id']}")
    assert again is not None and again.status_code == 200, "under another event id it is the same order by its own number"
    faulty.did("signed body replayed under the same and another event id: one order")


@pytest.mark.fault(19, NAME)
def test_what_is_too_large_unsigned_or_packed_is_refused_without_a_trace(faulty: Faulty) -> None:
    body = exact_json.dumps(faulty.unsent([("AC-TAP-PTF", 1)])).encode()
    before = _accepted(faulty)
    bomb = gzip.compress(b'{"id": ' + b"1" * 50_000_000 + b"}", 9)
    met = {
        "6 MB": faulty.acme.shopify("orders/create", None, raw=b'{"id": 1, "note": "' + b"x" * 6_000_000 + b'"}').status_code,
        "truncated": faulty.acme.shopify("orders/create", None, raw=body[:-7], signature=faulty.acme.sign_shopify(body)).status_code,
        "one byte changed": faulty.acme.shopify("orders/create", None, raw=body.replace(b"AC-TAP", b"AC-TAQ", 1), signature=faulty.acme.sign_shopify(body)).status_code,
        "gzip bomb, unsigned": faulty.acme.shopify("orders/create", None, raw=bomb, signature="AAAA", headers={"Content-Encoding": "gzip"}).status_code,
    }
    assert met == {"6 MB": 413, "truncated": 401, "one byte changed": 401, "gzip bomb, unsigned": 401}
    assert _accepted(faulty) == before, "no state"
    faulty.did(f"{met}: no state")


@pytest.mark.fault(19, NAME)
def test_what_is_authentic_and_unreadable_is_told_so_and_kept_for_a_person(faulty: Faulty) -> None:
    """Signed by the sender's own key, so it is theirs: 400, and the bytes stand before a person instead of being lost. None becomes an order."""
    orders = len(faulty.acme.get("/v1/orders?limit=500")["orders"])
    bomb = gzip.compress(b"[" * 3_000_000, 9)
    bodies = {
        "bad UTF-8": b'{"id": "\xff\xfe"}',
        "duplicate keys": b'{"id": 1, "id": 2}',
        "cut off": b'{"id": 1, "line_items": [',
        "packed": bomb,
        "deep": b"[" * 100_000,
        "not a number": b'{"id": NaN}',
        "empty": b"",
    }
    for name, body in bodies.items():
        answer = faulty.acme.shopify("orders/create", None, raw=body, headers={"Content-Encoding": "gzip"} if name == "packed" else None)
        assert answer.status_code == 400, f"{name}: {answer.status_code} {answer.text[:300]}"
    for record in faulty.acme.exceptions(code="INVALID_BODY"):
        faulty.acme.cli("exceptions", "resolve", record["exception_id"], "--decision", "discard", "--note", "sent by the test")
    assert len(faulty.acme.get("/v1/orders?limit=500")["orders"]) == orders
    faulty.did(f"{', '.join(bodies)}: 400 each, no 5xx, no order")
