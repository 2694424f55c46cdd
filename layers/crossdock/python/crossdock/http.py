"""How does a call leave this system: with a timeout, to an allowed host, and with failures told apart by what they may have done?"""

from __future__ import annotations

import fnmatch
import random
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NameResolutionError, NewConnectionError, ReadTimeoutError

from crossdock.domain.errors import CrossdockError, NeedsPerson, RetryLater, UnknownOutcome

DEFAULT_TIMEOUT_SECONDS = 20.0
CONNECT_TIMEOUT_SECONDS = 5.0
BROKEN_OFF_SECONDS = 2
"""A write whose connection broke off, or that failed with 5xx, is over at the other side within this time."""
STILL_WORKING_SECONDS = 60
"""A write that only ran out of our time (or of a gateway's) may still be worked on, and commit, this long."""
MAX_ANSWER_BYTES = 16 * 1024 * 1024
READ_AT_ONCE_BYTES = 64 * 1024
READ_TRIES = 3
SHORTEST_TRY_SECONDS = 0.5
"""With less than this left of a read's time, another try is not worth its connection."""


@dataclass(frozen=True)
class Answer:
    """A vendor's complete answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def _was_never_sent(error: BaseException) -> bool:
    """True when no byte of the request can have reached the other side."""
    if isinstance(error, ValueError) and not isinstance(error, HTTPError):
        return True  # a URL or header that cannot be written down: refused on this side
    reason: BaseException | None = error
    seen = 0
    while reason is not None and seen < 10:
        if isinstance(reason, NewConnectionError | ConnectTimeoutError | NameResolutionError | requests.ConnectTimeout | ssl.SSLCertVerificationError):
            return True
        inner = reason.args[0] if reason.args and isinstance(reason.args[0], BaseException) else None
        reason = getattr(reason, "reason", None) or inner or reason.__cause__ or reason.__context__
        seen += 1
    return False


def retry_after_seconds(headers: Mapping[str, str]) -> int | None:
    """The Retry-After header (or its x- spelling) in whole seconds, if it is readable: RFC 9110 10.2.3, the delay or the date;
    a date is measured from the answer's own Date, so that nobody's clock matters."""
    value = headers.get("retry-after") or headers.get("x-retry-after") or ""
    try:
        return max(0, int(float(value)))
    except (ValueError, OverflowError):
        pass
    try:
        return max(0, int((parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("date", ""))).total_seconds()))
    except (ValueError, TypeError):
        return None


class OutboundHttp:
    """One pooled session per connection, with its allow-list of hosts. Implements ``HttpPort``.

    Reads are tried up to three times within the call's time on a lost connection; writes never are: whoever holds the effect ledger decides that.
    """

    def __init__(self, *, hosts: Sequence[str], name: str, spend: Callable[[], None] = lambda: None) -> None:
        self._hosts = tuple(hosts)
        self._name = name
        self._spend = spend
        self._session: requests.Session | None = None
        self._lock = threading.Lock()

    def _ready(self) -> requests.Session:
        with self._lock:
            if self._session is None:
                session = requests.Session()
                session.trust_env = False
                for scheme in ("https://", "http://"):
                    session.mount(scheme, HTTPAdapter(max_retries=0, pool_maxsize=4))
                self._session = session
            return self._session

    def _check_host(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").lower()
            where = f"{host}:{parts.port}" if parts.port else host
        except ValueError as error:
            raise NeedsPerson("HOST_NOT_ALLOWED", f"{url[:200]!r} is no address", remedy="correct the connection's base_url") from error
        listed = any(fnmatch.fnmatchcase(candidate, pattern.lower()) for pattern in self._hosts for candidate in (host, where))
        if parts.scheme not in ("https", "http") or not host or not listed:
            remedy = "correct the connection's base_url or the connector's manifest"
            raise NeedsPerson("HOST_NOT_ALLOWED", f"{where or url[:200]!r} is not among the hosts of connection {self._name}", remedy=remedy)
        if parts.scheme == "http" and host not in ("localhost", "127.0.0.1", "::1"):
            raise NeedsPerson("HOST_NOT_ALLOWED", f"{where}: only HTTPS leaves this machine", remedy="use the https address")

    def send(self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None, writes: bool, timeout_seconds: float | None = None) -> Answer:
        """See ``HttpPort.send``. ``writes`` is the meaning, not the method: a GraphQL query is a POST that writes nothing."""
        self._check_host(url)
        what = f"{method} {urlsplit(url).path}"
        self._spend()  # every call, whoever makes it: the wait for its turn is not the other side's time
        ends_at = time.monotonic() + (timeout_seconds or DEFAULT_TIMEOUT_SECONDS)
        tries_left = 1 if writes else READ_TRIES
        while True:
            try:
                answer = self._once(method, url, dict(headers or {}), body, max(0.1, ends_at - time.monotonic()))
            except (requests.RequestException, HTTPError, OSError, UnicodeError) as error:
                if writes and not _was_never_sent(error):
                    settles = STILL_WORKING_SECONDS if isinstance(error, requests.Timeout | ReadTimeoutError | TimeoutError) else BROKEN_OFF_SECONDS
                    raise UnknownOutcome("UNKNOWN_OUTCOME", f"{self._name} did not answer {what}: {type(error).__name__}", settles_in_seconds=settles) from error
                tries_left -= 1
                if tries_left == 0 or ends_at - time.monotonic() < SHORTEST_TRY_SECONDS:
                    raise RetryLater("VENDOR_UNAVAILABLE", f"{self._name} cannot be reached for {what}: {type(error).__name__}") from error
                time.sleep(random.uniform(0.05, 0.2))  # noqa: S311 - jitter
                self._spend()
            else:
                return self._classified(answer, what, writes=writes)

    def _once(self, method: str, url: str, headers: dict[str, str], body: bytes | None, timeout: float) -> Answer:
        ends_at = time.monotonic() + timeout
        with self._ready().request(method, url, headers=headers, data=body, timeout=(min(CONNECT_TIMEOUT_SECONDS, timeout), timeout), allow_redirects=False, stream=True) as reply:
            # Piece by piece as it comes: the timeout is of one wait for the network, and an answer that trickles in never waits long.
            content = bytearray()
            while len(content) <= MAX_ANSWER_BYTES and (piece := reply.raw.read1(READ_AT_ONCE_BYTES, decode_content=True)):
                content += piece
                if time.monotonic() > ends_at:
                    raise requests.ReadTimeout("the answer has not come to its end in time")
        return Answer(reply.status_code, {name.lower(): value for name, value in reply.headers.items()}, bytes(content))

    def _classified(self, answer: Answer, what: str, *, writes: bool) -> Answer:
        """The answer when its meaning is for the connector to say; an error when the call has to be made again."""
        if answer.status == 429:
            raise RetryLater("RATE_LIMITED", f"{self._name} asks for fewer calls", after_seconds=retry_after_seconds(answer.headers) or 2)
        if answer.status == 503 and {"retry-after", "x-retry-after"} & answer.headers.keys():
            raise RetryLater("VENDOR_UNAVAILABLE", f"{self._name} is not available", after_seconds=retry_after_seconds(answer.headers))
        if answer.status >= 500:
            settles = STILL_WORKING_SECONDS if answer.status == 504 else BROKEN_OFF_SECONDS
            raise self._unanswered(f"{self._name} answered {answer.status} to {what}", writes=writes, settles_in_seconds=settles)
        if len(answer.body) > MAX_ANSWER_BYTES:
            raise self._unanswered(f"{self._name} answered more than {MAX_ANSWER_BYTES} bytes to {what}", writes=writes)
        return answer

    @staticmethod
    def _unanswered(detail: str, *, writes: bool, settles_in_seconds: int = BROKEN_OFF_SECONDS) -> CrossdockError:
        """After a write nobody knows; a read is simply made again."""
        return UnknownOutcome("UNKNOWN_OUTCOME", detail, settles_in_seconds=settles_in_seconds) if writes else RetryLater("VENDOR_UNAVAILABLE", detail)
