"""How does a call leave this system: with a timeout, to an allowed host, and with failures told apart by what they may have done?"""

from __future__ import annotations

import fnmatch
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.retry import Retry

from crossdock.domain.errors import NeedsPerson, RetryLater, UnknownOutcome

DEFAULT_TIMEOUT_SECONDS = 20.0
CONNECT_TIMEOUT_SECONDS = 5.0
MAX_ANSWER_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """A vendor's complete answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def _was_never_sent(error: requests.RequestException) -> bool:
    """True when no byte of the request can have reached the other side."""
    reason: BaseException | None = error
    seen = 0
    while reason is not None and seen < 10:
        if isinstance(reason, NewConnectionError | ConnectTimeoutError | NameResolutionError | requests.ConnectTimeout):
            return True
        inner = reason.args[0] if reason.args and isinstance(reason.args[0], BaseException) else None
        reason = getattr(reason, "reason", None) or inner or reason.__cause__ or reason.__context__
        seen += 1
    return False


def retry_after_seconds(headers: Mapping[str, str]) -> int | None:
    """The Retry-After header (or its x- spelling) in whole seconds (RFC 9110 10.2.3, delay form), if it is one."""
    value = headers.get("retry-after") or headers.get("x-retry-after") or ""
    try:
        return max(0, int(float(value)))
    except ValueError:
        return None


class OutboundHttp:
    """One pooled session per connection, with its allow-list of hosts. Implements ``HttpPort``.

    Reads are retried twice within the call on a lost connection; writes never are: whoever holds the effect ledger decides that.
    """

    def __init__(self, *, hosts: Sequence[str], name: str) -> None:
        self._hosts = tuple(hosts)
        self._name = name
        self._session: requests.Session | None = None
        self._lock = threading.Lock()

    def _ready(self) -> requests.Session:
        with self._lock:
            if self._session is None:
                session = requests.Session()
                session.trust_env = False
                retry = Retry(total=2, connect=2, read=2, status=0, other=0, backoff_factor=0.2, backoff_jitter=0.2, allowed_methods={"GET", "HEAD"}, raise_on_status=False)
                for scheme in ("https://", "http://"):
                    session.mount(scheme, HTTPAdapter(max_retries=retry, pool_maxsize=4))
                self._session = session
            return self._session

    def _check_host(self, url: str) -> None:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        where = f"{host}:{parts.port}" if parts.port else host
        if parts.scheme not in ("https", "http") or not any(fnmatch.fnmatchcase(candidate, pattern.lower()) for pattern in self._hosts for candidate in (host, where)):
            raise NeedsPerson("HOST_NOT_ALLOWED", f"{where or url!r} is not among the hosts of connection {self._name}", remedy="correct the connection's base_url or the connector's manifest")
        if parts.scheme == "http" and host not in ("localhost", "127.0.0.1", "::1"):
            raise NeedsPerson("HOST_NOT_ALLOWED", f"{where}: only HTTPS leaves this machine", remedy="use the https address")

    def send(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None, writes: bool, timeout_seconds: float | None = None
    ) -> Answer:
        """See ``HttpPort.send``. ``writes`` is the meaning, not the method: a GraphQL query is a POST that writes nothing."""
        self._check_host(url)
        timeout = timeout_seconds or DEFAULT_TIMEOUT_SECONDS
        try:
            reply = self._ready().request(method, url, headers=dict(headers or {}), data=body, timeout=(min(CONNECT_TIMEOUT_SECONDS, timeout), timeout), allow_redirects=False, stream=True)
            with reply:
                content = reply.raw.read(MAX_ANSWER_BYTES + 1, decode_content=True)
        except (requests.RequestException, OSError) as error:
            if writes and not (isinstance(error, requests.RequestException) and _was_never_sent(error)):
                raise UnknownOutcome("UNKNOWN_OUTCOME", f"{self._name} did not answer {method} {urlsplit(url).path}: {type(error).__name__}") from error
            raise RetryLater("VENDOR_UNAVAILABLE", f"{self._name} cannot be reached for {method} {urlsplit(url).path}: {type(error).__name__}") from error
        except Exception as error:  # urllib3 raises its own family while the body is read
            if not type(error).__module__.startswith("urllib3"):
                raise
            kind = UnknownOutcome if writes else RetryLater
            raise kind("UNKNOWN_OUTCOME" if writes else "VENDOR_UNAVAILABLE", f"{self._name} broke off its answer to {method} {urlsplit(url).path}: {type(error).__name__}") from error
        if len(content) > MAX_ANSWER_BYTES:
            raise RetryLater("VENDOR_UNAVAILABLE", f"{self._name} answered more than {MAX_ANSWER_BYTES} bytes to {method} {urlsplit(url).path}")
        lowered = {name.lower(): value for name, value in reply.headers.items()}
        if reply.status_code == 429:
            raise RetryLater("RATE_LIMITED", f"{self._name} asks for fewer calls", after_seconds=retry_after_seconds(lowered) or 2)
        if reply.status_code == 503 and "retry-after" in lowered:
            raise RetryLater("VENDOR_UNAVAILABLE", f"{self._name} is not available", after_seconds=retry_after_seconds(lowered))
        if reply.status_code >= 500:
            if writes:
                raise UnknownOutcome("UNKNOWN_OUTCOME", f"{self._name} answered {reply.status_code} to {method} {urlsplit(url).path}")
            raise RetryLater("VENDOR_UNAVAILABLE", f"{self._name} answered {reply.status_code} to {method} {urlsplit(url).path}")
        return Answer(reply.status_code, lowered, content)
