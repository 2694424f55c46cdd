"""After a call that went wrong: may it have been done, or surely not? Against real sockets."""

from __future__ import annotations

import gzip
import socket
import ssl
import time
import tracemalloc
from collections.abc import Callable

import pytest
import requests
from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NameResolutionError, SSLError

from crossdock import http
from crossdock.domain.errors import NeedsPerson, RetryLater, UnknownOutcome
from crossdock.http import MAX_ANSWER_BYTES, STILL_WORKING_SECONDS, Answer, OutboundHttp, retry_after_seconds
from tests.edge.vendor import Behaviour, Vendor, answer, raw, reset, trickle


def caller(vendor: Vendor) -> OutboundHttp:
    return OutboundHttp(hosts=[vendor.host], name="erp")


def write(vendor: Vendor, *, timeout_seconds: float = 2.0) -> Answer:
    return caller(vendor).send("POST", f"{vendor.url}/orders?key=1", body=b'{"n":1}', headers={"X-One": "1"}, writes=True, timeout_seconds=timeout_seconds)


def read(vendor: Vendor, method: str = "GET", *, timeout_seconds: float = 2.0) -> Answer:
    return caller(vendor).send(method, f"{vendor.url}/orders", writes=False, timeout_seconds=timeout_seconds)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossdock.http.time.sleep", lambda _seconds: None)


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# ------------------------------------------------------------------ answers
def test_an_answer_comes_back_whole_with_its_headers_in_lower_case() -> None:
    with Vendor(answer(201, b'{"id": 7}', "ETag: W/1", "X-Thing: a")) as vendor:
        found = write(vendor)

    assert (found.status, found.body, found.headers["etag"], found.headers["x-thing"]) == (201, b'{"id": 7}', "W/1", "a")
    (request,) = vendor.requests
    assert request.startswith(b"POST /orders?key=1 HTTP/1.1\r\n")
    assert b"X-One: 1" in request
    assert request.endswith(b'{"n":1}')


@pytest.mark.parametrize("status", [204, 400, 401, 404, 409, 422])
def test_a_refusal_is_the_connectors_to_understand(status: int) -> None:
    with Vendor(answer(status, b"")) as vendor:
        assert write(vendor).status == status
    assert len(vendor.requests) == 1


def test_a_compressed_answer_is_unpacked() -> None:
    with Vendor(answer(200, gzip.compress(b'{"a":1}'), "Content-Encoding: gzip")) as vendor:
        assert read(vendor).body == b'{"a":1}'


def test_one_connection_serves_several_calls() -> None:
    with Vendor(answer()) as vendor:
        http_port = caller(vendor)
        for _ in range(3):
            http_port.send("GET", f"{vendor.url}/a", writes=False)
    assert len(vendor.requests) == 3


def test_a_redirect_is_not_followed() -> None:
    with Vendor(answer(302, b"", "Location: https://elsewhere.example/steal")) as vendor:
        found = read(vendor)

    assert (found.status, found.headers["location"]) == (302, "https://elsewhere.example/steal")
    assert len(vendor.requests) == 1


# ------------------------------------------------------------------ surely not done
def test_a_refused_connection_was_never_sent(closed_port: int) -> None:
    port = OutboundHttp(hosts=["127.0.0.1"], name="erp")

    with pytest.raises(RetryLater, match="VENDOR_UNAVAILABLE") as caught:
        port.send("POST", f"http://127.0.0.1:{closed_port}/orders", body=b"{}", writes=True)
    assert not isinstance(caught.value, UnknownOutcome)


def test_a_name_that_does_not_resolve_was_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(RetryLater, match="VENDOR_UNAVAILABLE") as caught:
        OutboundHttp(hosts=["nowhere.example"], name="erp").send("POST", "https://nowhere.example/orders", body=b"{}", writes=True)
    assert not isinstance(caught.value, UnknownOutcome)


def test_a_header_that_cannot_be_written_was_never_sent() -> None:
    with Vendor(answer()) as vendor, pytest.raises(RetryLater) as caught:
        caller(vendor).send("POST", vendor.url, headers={"X-Token": "a\nb"}, body=b"{}", writes=True)

    assert not isinstance(caught.value, UnknownOutcome)
    assert vendor.requests == []


@pytest.mark.parametrize(
    ("error", "never_sent"),
    [
        (requests.ConnectTimeout(), True),
        (requests.ConnectionError(MaxRetryError(None, "/", ConnectTimeoutError())), True),  # type: ignore[arg-type]
        (requests.ConnectionError(MaxRetryError(None, "/", NameResolutionError("h", HTTPConnection("h"), socket.gaierror()))), True),  # type: ignore[arg-type]
        (requests.exceptions.SSLError(MaxRetryError(None, "/", SSLError(ssl.SSLCertVerificationError()))), True),  # type: ignore[arg-type]
        (requests.exceptions.SSLError(SSLError(ssl.SSLEOFError())), False),
        (requests.exceptions.InvalidURL(), True),
        (requests.ReadTimeout(), False),
        (requests.ConnectionError(ConnectionResetError()), False),
        (requests.exceptions.ChunkedEncodingError(ValueError("bad chunk")), False),
        (BrokenPipeError(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_what_never_left_counts_as_not_sent(error: BaseException, never_sent: bool) -> None:
    assert http._was_never_sent(error) is never_sent


# ------------------------------------------------------------------ perhaps done
HALF = b'HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{"id":'
BROKEN: dict[str, Behaviour] = {
    "closed without a word": raw(b""),
    "closed in the middle of the answer": raw(HALF),
    "reset without a word": reset(),
    "reset in the middle of the answer": reset(HALF),
    "chunks that are none": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "no HTTP at all": raw(b"SSH-2.0-OpenSSH\r\n\r\n"),
    "compression that is none": answer(200, b"not gzip", "Content-Encoding: gzip"),
    "500": answer(500),
    "502 from a gateway": answer(502, b"<html>"),
    "503 without a word when": answer(503),
    "504": answer(504),
}


@pytest.mark.parametrize("behaviour", BROKEN.values(), ids=BROKEN)
def test_a_write_without_a_clear_answer_is_an_unknown_outcome_and_is_sent_once(behaviour: Behaviour) -> None:
    with Vendor(behaviour) as vendor, pytest.raises(UnknownOutcome, match="UNKNOWN_OUTCOME"):
        write(vendor)

    assert len(vendor.requests) == 1


@pytest.mark.parametrize("behaviour", BROKEN.values(), ids=BROKEN)
def test_a_read_without_a_clear_answer_is_made_again_later(behaviour: Behaviour) -> None:
    with Vendor(behaviour) as vendor, pytest.raises(RetryLater, match="VENDOR_UNAVAILABLE") as caught:
        read(vendor)

    assert not isinstance(caught.value, UnknownOutcome)


def test_a_write_that_is_not_answered_in_time_is_an_unknown_outcome() -> None:
    vendor = Vendor()
    with vendor.then(vendor.silent()), pytest.raises(UnknownOutcome) as slow:
        write(vendor, timeout_seconds=0.2)

    assert len(vendor.requests) == 1
    assert slow.value.settles_in_seconds == STILL_WORKING_SECONDS, "the other side may still be at it: its absence proves nothing yet"


def test_a_read_that_is_not_answered_in_time_does_not_take_longer_by_trying_again() -> None:
    vendor = Vendor()
    with vendor.then(vendor.silent()), pytest.raises(RetryLater, match="VENDOR_UNAVAILABLE"):
        read(vendor, timeout_seconds=0.2)

    assert len(vendor.requests) == 1


@pytest.mark.parametrize("kind", [read, write])
def test_an_answer_that_is_too_large_is_not_taken(kind: Callable[[Vendor], Answer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_ANSWER_BYTES", 1000)
    with Vendor(answer(200, gzip.compress(b"0" * 2000), "Content-Encoding: gzip")) as vendor, pytest.raises(RetryLater) as caught:
        kind(vendor)

    assert isinstance(caught.value, UnknownOutcome) is (kind is write), "the write was done, whatever its answer"


def test_an_answer_just_small_enough_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_ANSWER_BYTES", 1000)
    with Vendor(answer(200, b"0" * 1000)) as vendor:
        assert len(read(vendor).body) == 1000


# ------------------------------------------------------------------ again
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("failure", ["closed without a word", "reset in the middle of the answer"])
def test_a_read_is_tried_again_on_a_lost_connection_whatever_its_method(failure: str, method: str) -> None:
    """A GraphQL query is a POST that writes nothing."""
    with Vendor(BROKEN[failure], BROKEN[failure], answer(200, b'"third"')) as vendor:
        assert read(vendor, method).body == b'"third"'

    assert len(vendor.requests) == 3


def test_a_read_is_given_up_after_three_tries() -> None:
    with Vendor(raw(b"")) as vendor, pytest.raises(RetryLater):
        read(vendor)

    assert len(vendor.requests) == 3


def test_an_answer_to_a_read_is_never_asked_for_twice() -> None:
    with Vendor(answer(500)) as vendor, pytest.raises(RetryLater):
        read(vendor)

    assert len(vendor.requests) == 1


# ------------------------------------------------------------------ how soon
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (["Retry-After: 17"], 17),
        (["x-retry-after: 3"], 3),
        (["Retry-After: 1.9"], 1),
        (["Date: Mon, 02 Mar 2026 09:00:00 GMT", "Retry-After: Mon, 02 Mar 2026 09:00:30 GMT"], 30),
        (["Retry-After: soon"], 2),
        (["Retry-After: 1e400"], 2),
        (["Retry-After: -5"], 2),
        (["Retry-After: 0"], 2),
        ([], 2),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [read, write])
def test_a_call_too_many_was_not_done_and_is_made_when_the_vendor_says(kind: Callable[[Vendor], Answer], headers: list[str], seconds: int) -> None:
    with Vendor(answer(429, b"", *headers)) as vendor, pytest.raises(RetryLater, match="RATE_LIMITED") as caught:
        kind(vendor)

    assert not isinstance(caught.value, UnknownOutcome)
    assert caught.value.after_seconds == seconds
    assert len(vendor.requests) == 1


@pytest.mark.parametrize("header", ["Retry-After: 30", "x-retry-after: 30"])
def test_a_vendor_that_says_when_it_is_back_has_not_done_it(header: str) -> None:
    with Vendor(answer(503, b"", header)) as vendor, pytest.raises(RetryLater, match="VENDOR_UNAVAILABLE") as caught:
        write(vendor)

    assert not isinstance(caught.value, UnknownOutcome)
    assert caught.value.after_seconds == 30


def test_a_date_without_anything_to_measure_it_from_says_nothing() -> None:
    assert retry_after_seconds({"retry-after": "Mon, 02 Mar 2026 09:00:30 GMT"}) is None
    assert retry_after_seconds({}) is None


# ------------------------------------------------------------------ where to
@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/orders",
        "https://vendor.example.evil.example/",
        "https://evil.example/?vendor.example",
        "https://vendor.example@evil.example/",
        "https://a.b/vendor.example",
        "http://vendor.example/",
        "ftp://vendor.example/",
        "file:///etc/passwd",
        "https:///nowhere",
        "vendor.example/orders",
        "https://[::1/",
        "https://vendor.example:99999999/",
    ],
)
def test_a_host_that_is_not_listed_is_never_called(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("called")

    monkeypatch.setattr(requests.Session, "request", never)
    with pytest.raises(NeedsPerson, match="HOST_NOT_ALLOWED"):
        OutboundHttp(hosts=["vendor.example", "*.shops.example"], name="erp").send("GET", url, writes=False)


@pytest.mark.parametrize("url", ["https://vendor.example/a", "https://VENDOR.example/a", "https://acme.shops.example/a"])
def test_a_listed_host_is_called(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []

    def refuse(self: requests.Session, method: str, url: str, **_: object) -> None:
        called.append(url)
        raise requests.ConnectTimeout

    monkeypatch.setattr(requests.Session, "request", refuse)
    with pytest.raises(RetryLater):
        OutboundHttp(hosts=["vendor.example", "*.shops.example"], name="erp").send("POST", url, writes=True)
    assert called == [url]


def test_a_host_listed_with_its_port_is_listed_for_that_port_only(closed_port: int) -> None:
    with pytest.raises(NeedsPerson):
        OutboundHttp(hosts=["127.0.0.1:1"], name="erp").send("GET", f"http://127.0.0.1:{closed_port}/", writes=False)


def test_no_proxy_of_the_environment_gets_to_see_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    with Vendor(answer()) as vendor, Vendor(answer(418)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        assert read(vendor).status == 200
    assert proxy.requests == []


def test_a_failure_names_the_call_but_not_its_query_or_body() -> None:
    with Vendor(answer(500)) as vendor, pytest.raises(UnknownOutcome) as caught:
        write(vendor)

    assert caught.value.detail == "erp answered 500 to POST /orders"


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{", b"HTTP/1.1 200 OK\r\n\r\n{"], ids=["of a length", "until it closes"])
def test_an_answer_that_trickles_in_ends_with_the_calls_time(head: bytes) -> None:
    began = time.monotonic()
    with Vendor(trickle(head, pause_seconds=0.05, times=120)) as vendor, pytest.raises(UnknownOutcome) as caught:
        write(vendor, timeout_seconds=0.5)

    assert time.monotonic() - began < 4
    assert caught.value.settles_in_seconds == STILL_WORKING_SECONDS


def test_an_answer_that_unpacks_to_a_thousand_times_its_size_is_not_unpacked_whole() -> None:
    bomb = gzip.compress(bytes(200 * 2**20), 9)
    tracemalloc.start()
    with Vendor(answer(200, bomb, "Content-Encoding: gzip")) as vendor, pytest.raises(RetryLater, match="more than"):
        read(vendor, timeout_seconds=20)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 4 * MAX_ANSWER_BYTES, f"{most} bytes held at once"
