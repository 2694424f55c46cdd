"""Is exactly what the secret's holder has just signed believed?"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from crossdock.domain.signature import refusal
from crossdock.domain.webhook import SignatureScheme

NOW = datetime(2026, 10, 5, 8, 0, tzinfo=UTC)
SHOPIFY = SignatureScheme(scheme="hmac_sha256", signature_header="X-Shopify-Hmac-Sha256")
TIMED = replace(SHOPIFY, timestamp_header="X-Triggered-At", tolerance_seconds=3600)
STANDARD = SignatureScheme(scheme="standard_webhooks", tolerance_seconds=300)
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
OTHER = "whsec_" + base64.b64encode(b"another secret of the same length").decode()


def sign(body: bytes, secret: str, *, encoding: str = "base64") -> str:
    digest = hmac.new(secret.encode(), body, hashlib.sha256)
    return base64.b64encode(digest.digest()).decode() if encoding == "base64" else digest.hexdigest()


def standard(body: bytes, *, secret: str = SECRET, at: datetime = NOW, message_id: str = "msg_1") -> dict[str, str]:
    """Signed by the reference library."""
    signature = Webhook(secret).sign(message_id, at, body.decode())
    return {"webhook-id": message_id, "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}


def test_the_known_vector_of_the_storefront_is_believed() -> None:
    """Secret, body and signature as the vendor's own test files have them."""
    headers = {"x-shopify-hmac-sha256": "B23tXN681gZ0qIWNRrgtzBE9XSDo5yaUu6wfmhu3a7g="}
    assert refusal(SHOPIFY, headers=headers, body=b'{"foo": "bar"}', secrets=["test_secret_key"], now=NOW) is None
    assert refusal(SHOPIFY, headers=headers, body=b'{"foo":"bar"}', secrets=["test_secret_key"], now=NOW) == "the signature does not fit the body"


@given(body=st.binary(max_size=300), flip=st.integers(0, 2399), hexadecimal=st.booleans())
def test_a_body_with_one_bit_changed_is_not_believed(body: bytes, flip: int, hexadecimal: bool) -> None:
    scheme = replace(SHOPIFY, encoding="hex" if hexadecimal else "base64")
    headers = {"x-shopify-hmac-sha256": sign(body, "s", encoding=scheme.encoding)}
    assert refusal(scheme, headers=headers, body=body, secrets=["s"], now=NOW) is None
    if body:
        changed = bytearray(body)
        changed[flip // 8 % len(body)] ^= 1 << flip % 8
        assert refusal(scheme, headers=headers, body=bytes(changed), secrets=["s"], now=NOW) is not None


@pytest.mark.parametrize("secrets", [["new", "old"], ["old", "new"], ["old"]])
def test_current_and_previous_secret_both_count(secrets: list[str]) -> None:
    headers = {"x-shopify-hmac-sha256": sign(b"x", "old")}
    assert refusal(SHOPIFY, headers=headers, body=b"x", secrets=secrets, now=NOW) is None
    assert refusal(SHOPIFY, headers=headers, body=b"x", secrets=["new"], now=NOW) is not None


def test_without_a_secret_nobody_is_believed() -> None:
    assert refusal(SHOPIFY, headers={"x-shopify-hmac-sha256": sign(b"x", "")}, body=b"x", secrets=[], now=NOW) == "no webhook secret is set for this connection"


@pytest.mark.parametrize(
    ("stamp", "believed"),
    [
        (None, True),
        ("2026-10-05T08:30:00Z", True),
        ("2026-10-05T07:30:00", True),
        ("2026-10-05T06:59:59Z", False),
        ("2026-10-05T09:00:01+00:00", False),
        ("yesterday", False),
        ("0001-01-01T00:00:00+23:59", False),
        ("9999-12-31T23:59:59-23:59", False),
    ],
)
def test_a_stamp_beside_the_signature_must_be_of_now(stamp: str | None, believed: bool) -> None:
    headers = {"x-shopify-hmac-sha256": sign(b"x", "s"), **({"x-triggered-at": stamp} if stamp else {})}
    assert (refusal(TIMED, headers=headers, body=b"x", secrets=["s"], now=NOW) is None) is believed


@given(body=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=200))
@settings(deadline=None)
def test_what_the_reference_library_signs_is_believed(body: str) -> None:
    headers = standard(body.encode())
    assert refusal(STANDARD, headers=headers, body=body.encode(), secrets=[SECRET], now=NOW) is None
    assert refusal(STANDARD, headers=headers, body=body.encode() + b" ", secrets=[SECRET], now=NOW) == "the signature does not fit the message"


def test_what_is_believed_here_the_reference_library_believes() -> None:
    now = datetime.fromtimestamp(int(time.time()), UTC)
    headers = standard(b'{"a": 1}', at=now)
    Webhook(SECRET).verify('{"a": 1}', headers)
    assert refusal(STANDARD, headers=headers, body=b'{"a": 1}', secrets=[SECRET], now=now) is None


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_2"},
        {"webhook-id": ""},
        {"webhook-timestamp": str(int(NOW.timestamp()) + 1)},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "soon"},
        {"webhook-timestamp": "1" * 13},
        {"webhook-timestamp": "١٢٣"},
        {"webhook-signature": ""},
        {"webhook-signature": "no comma"},
        {"webhook-signature": "v1a,abc"},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,é"},
    ],
)
def test_a_message_with_any_header_changed_is_not_believed(change: dict[str, str]) -> None:
    assert refusal(STANDARD, headers={**standard(b"{}"), **change}, body=b"{}", secrets=[SECRET], now=NOW) is not None


def test_one_of_several_signatures_is_enough_and_so_is_one_of_several_secrets() -> None:
    """A sender that rotates signs with both; a receiver that rotates knows both."""
    headers = standard(b"{}")
    wrong, right = f"v1a,xyz v1,{base64.b64encode(b'x' * 32).decode()}", headers["webhook-signature"]
    for signatures in (f"{wrong} {right}", f"{right} {wrong}"):
        for secrets in ([OTHER, SECRET], [SECRET, OTHER]):
            assert refusal(STANDARD, headers={**headers, "webhook-signature": signatures}, body=b"{}", secrets=secrets, now=NOW) is None, (signatures, secrets)
    assert refusal(STANDARD, headers=headers, body=b"{}", secrets=["whsec_not base64!", SECRET], now=NOW) is None
    assert refusal(STANDARD, headers=headers, body=b"{}", secrets=["whsec_\u00e9"], now=NOW) is not None


@pytest.mark.parametrize(("seconds", "believed"), [(-300, True), (300, True), (-301, False), (301, False)])
def test_an_old_message_and_one_from_the_future_are_not_believed(seconds: int, believed: bool) -> None:
    headers = standard(b"{}", at=NOW + timedelta(seconds=seconds))
    for scheme in (STANDARD, replace(STANDARD, tolerance_seconds=None)):
        found = refusal(scheme, headers=headers, body=b"{}", secrets=[SECRET], now=NOW)
        assert (found is None) is believed
    assert believed or found == "the message is too old or from the future"


strange = st.text(alphabet=st.characters(), max_size=40)


@given(
    headers=st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "x-shopify-hmac-sha256", "x-triggered-at"]), strange),
    body=st.binary(max_size=50),
)
@settings(max_examples=300)
def test_whatever_the_headers_hold_it_is_refused_and_nothing_breaks(headers: dict[str, str], body: bytes) -> None:
    for scheme, secret in [(TIMED, "s"), (STANDARD, SECRET)]:
        assert isinstance(refusal(scheme, headers=headers, body=body, secrets=[secret], now=NOW), str)


@given(strange, strange)
def test_lone_surrogates_break_nothing(message_id: str, signature: str) -> None:
    headers = {"webhook-id": "\ud800" + message_id, "webhook-timestamp": "1", "webhook-signature": "v1,\udfff" + signature}
    assert refusal(STANDARD, headers=headers, body=b"", secrets=[SECRET], now=NOW) is not None
