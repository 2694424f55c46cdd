"""Did this webhook really come from whoever holds the secret, and recently?"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from crossdock.domain.webhook import SignatureScheme


def _standard_key(secret: str) -> bytes | None:
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        return None


def _same(expected: str, given: str) -> bool:
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogatepass"))


def _hmac_sha256(scheme: SignatureScheme, headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: datetime) -> str | None:
    given = headers.get(scheme.signature_header.lower(), "")
    if not given:
        return f"header {scheme.signature_header} is missing"
    fits = False
    for secret in secrets:  # every secret is tried: the time taken does not tell which one fits
        digest = hmac.new(secret.encode(), body, hashlib.sha256)
        expected = base64.b64encode(digest.digest()).decode() if scheme.encoding == "base64" else digest.hexdigest()
        fits |= _same(expected, given)
    if not fits:
        return "the signature does not fit the body"
    if scheme.timestamp_header and scheme.tolerance_seconds is not None:
        stamp = headers.get(scheme.timestamp_header.lower())
        if stamp:
            try:
                sent = datetime.fromisoformat(stamp)
            except ValueError:
                return f"header {scheme.timestamp_header} is not a time"
            sent = sent if sent.tzinfo else sent.replace(tzinfo=UTC)
            if abs((now - sent).total_seconds()) > scheme.tolerance_seconds:
                return "the message is too old or from the future"
    return None


def _standard_webhooks(scheme: SignatureScheme, headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: datetime) -> str | None:
    message_id, stamp, given = (headers.get(name, "") for name in ("webhook-id", "webhook-timestamp", "webhook-signature"))
    if not message_id or not stamp or not given:
        return "headers webhook-id, webhook-timestamp and webhook-signature are needed"
    if not stamp.isascii() or not stamp.isdigit() or len(stamp) > 12:
        return "header webhook-timestamp is not a Unix time"
    signed = f"{message_id}.{stamp}.".encode("utf-8", "surrogatepass") + body
    candidates = [part.removeprefix("v1,") for part in given.split(" ") if part.startswith("v1,")]
    fits = False
    for secret in secrets:
        key = _standard_key(secret)
        if key is None:
            continue
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        for candidate in candidates:
            fits |= _same(expected, candidate)
    if not fits:
        return "the signature does not fit the message"
    tolerance = 300 if scheme.tolerance_seconds is None else scheme.tolerance_seconds
    if abs(now.timestamp() - int(stamp)) > tolerance:
        return "the message is too old or from the future"
    return None


_SCHEMES = {"hmac_sha256": _hmac_sha256, "standard_webhooks": _standard_webhooks}


def refusal(scheme: SignatureScheme, *, headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: datetime) -> str | None:
    """Why the message is not believed, or None when it is. ``headers`` by lower-case name, ``body`` the raw bytes as received,
    ``secrets`` current and previous: either fits, so a rotation refuses nobody."""
    if not secrets:
        return "no webhook secret is set for this connection"
    return _SCHEMES[scheme.scheme](scheme, headers, body, secrets, now)
