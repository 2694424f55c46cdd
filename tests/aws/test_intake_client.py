"""Does the intake's own client say to AWS what the SDK would say, and give up only when trying again is no use?"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from crossdock.aws.archive import S3Archive
from crossdock.aws.deliveries import ArchivedDeliveries
from crossdock.aws.failure import condition_failed, error_code, response_of
from crossdock.aws.intake_client import TRIES, CallFailed, IntakeClients, Service, signature_headers
from crossdock.aws.secrets import TenantSecret
from crossdock.aws.table import StateTable, packed, text
from crossdock.domain.clock import SystemClock
from crossdock.domain.delivery import Delivery

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "not a real secret", "AWS_SESSION_TOKEN": "not a real token"}
NOW = datetime(2026, 10, 5, 8, 0, tzinfo=UTC)


@given(
    body=st.binary(max_size=200),
    call=st.sampled_from([("dynamodb", "/"), ("sqs", "/"), ("secretsmanager", "/"), ("s3", "/bucket/deliveries/storefront/a%3Ab/0-ff"), ("s3", "/deliveries/x%20y")]),
    token=st.sampled_from([None, "a session's token"]),
    extra=st.dictionaries(st.sampled_from(["X-Amz-Target", "Content-Type", "x-amz-meta-sha256"]), st.text("abc  XYZ/.", min_size=1, max_size=20).map(str.strip).filter(bool)),
)
def test_a_request_is_signed_as_the_sdk_signs_it(body: bytes, call: tuple[str, str], token: str | None, extra: dict[str, str]) -> None:
    service, path = call
    url = f"https://{service}.eu-central-1.amazonaws.com{path}"
    ours = signature_headers("POST", url, extra, body, service=service, region="eu-central-1", access_key="AKID", secret_key="s", token=token, now=NOW)
    request = AWSRequest(method="POST", url=url, data=body, headers={name: value for name, value in ours.items() if name not in ("authorization", "host", "x-amz-security-token")})
    request.context["timestamp"] = NOW.strftime("%Y%m%dT%H%M%SZ")
    signer = (S3SigV4Auth if service == "s3" else SigV4Auth)(Credentials("AKID", "s", token), service, "eu-central-1")
    if token:
        request.headers["X-Amz-Security-Token"] = token
    canonical = signer.canonical_request(request)
    theirs = signer.signature(signer.string_to_sign(request, canonical), request)
    assert ours["authorization"].endswith(f"Signature={theirs}")
    assert f"SignedHeaders={signer.signed_headers(signer.headers_to_sign(request))}," in ours["authorization"]


@dataclass
class Seen:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class FakeAws:
    """Answers what it was told to, in order, and keeps what it was asked. None: it hangs up without an answer."""

    url: str = ""
    answers: list[tuple[int, bytes] | None] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    def clients(self) -> IntakeClients:
        made = IntakeClients(SystemClock(), {**KEYS, "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": self.url})
        for service in (made.dynamodb, made.sqs, made.s3, made.secretsmanager):
            service._pause = lambda _seconds: None
        return made


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    fake = FakeAws()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fake.seen.append(Seen(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            told = fake.answers.pop(0) if fake.answers else (200, b"{}")
            if told is None:
                self.close_connection = True
                return
            self.send_response(told[0])
            self.send_header("Content-Length", str(len(told[1])))
            self.end_headers()
            self.wfile.write(told[1])

        do_POST = do_PUT = _answer  # noqa: N815 - the names the server looks for

        def log_message(self, *_: Any) -> None:
            """The test says what it saw."""

    # Kept connections: each has its own thread, and none holds up the end of the test.
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield fake
    server.shutdown()
    thread.join()
    server.server_close()


def refused(kind: str, **more: Any) -> tuple[int, bytes]:
    return 400, json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{kind}", "message": "m", **more}).encode()


def delivery(at: datetime = NOW) -> Delivery:
    return Delivery(delivery_id="storefront.orders-create.e-1", connection="storefront", topic="orders/create", body=b'{"id": 1}', headers={"x": "y"}, received_at=at)


def deliveries(aws: FakeAws) -> ArchivedDeliveries:
    clients = aws.clients()
    return ArchivedDeliveries(StateTable(clients, "state"), S3Archive(clients, "archive"))


def note_item(at: datetime) -> dict[str, Any]:
    """The stored note as the service sends it back."""
    one = delivery(at)
    return {
        "pk": text(f"DELIVERY#{one.delivery_id}"),
        "sk": text("NOTE"),
        "connection": text(one.connection),
        "topic": text(one.topic),
        "sha256": text(one.sha256),
        "status": text("received"),
        "revision": {"N": "0"},
        "received_at": text(at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")),
        "headers": {"B": "eJyrVqpQslKqVKoFAAyLAps="},
    }


def test_a_delivery_is_stored_with_its_checksum_and_its_note_is_a_conditional_write(aws: FakeAws) -> None:
    assert deliveries(aws).add(delivery()) is None

    put, note = aws.seen
    assert (put.method, put.path.split("/")[1:4], put.body) == ("PUT", ["archive", "deliveries", "storefront"], b'{"id": 1}')
    assert put.headers["x-amz-meta-sha256"] == delivery().sha256
    assert put.headers["x-amz-checksum-sha256"], "a locked bucket refuses an object without"
    assert note.headers["x-amz-target"] == "DynamoDB_20120810.PutItem"
    written = json.loads(note.body)
    assert written["ConditionExpression"] == "attribute_not_exists(pk)"
    assert isinstance(written["Item"]["headers"]["B"], str), "bytes travel as base64"


def test_a_known_delivery_is_told_from_the_refusal(aws: FakeAws) -> None:
    aws.answers = [(200, b""), refused("ConditionalCheckFailedException", Item=note_item(datetime(2026, 10, 5, 7, 0, tzinfo=UTC)))]
    found = deliveries(aws).add(delivery())
    assert found is not None
    assert found.sha256 == delivery().sha256


def test_an_own_write_whose_answer_was_lost_is_no_duplicate(aws: FakeAws) -> None:
    aws.answers = [(200, b""), None, refused("ConditionalCheckFailedException", Item=note_item(NOW))]
    assert deliveries(aws).add(delivery()) is None
    assert len(aws.seen) == 3


@pytest.mark.parametrize("failure", [(500, b"{}"), (503, b"<Error><Code>SlowDown</Code></Error>"), None, refused("ProvisionedThroughputExceededException")])
def test_what_may_pass_is_tried_again(aws: FakeAws, failure: tuple[int, bytes] | None) -> None:
    aws.answers = [failure, failure]
    S3Archive(aws.clients(), "archive").put("k", b"b", metadata={})
    assert len(aws.seen) == TRIES


def test_what_stays_is_raised_without_its_content(aws: FakeAws) -> None:
    aws.answers = [(500, b'{"message": "Quillfeather"}')] * TRIES
    with pytest.raises(CallFailed) as caught:
        aws.clients().sqs.send_message(QueueUrl="q", MessageBody="Quillfeather")
    assert len(aws.seen) == TRIES
    assert "Quillfeather" not in str(caught.value)
    assert caught.value.operation_name == "SendMessage"


def test_a_refusal_is_not_tried_again(aws: FakeAws) -> None:
    aws.answers = [refused("AccessDeniedException")]
    with pytest.raises(CallFailed) as caught:
        aws.clients().dynamodb.put_item(TableName="t", Item={})
    assert len(aws.seen) == 1
    assert error_code(caught.value) == "AccessDeniedException"
    assert not condition_failed(caught.value)


def test_an_archive_refuses_in_xml(aws: FakeAws) -> None:
    aws.answers = [(403, b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>no</Message></Error>')]
    with pytest.raises(CallFailed) as caught:
        S3Archive(aws.clients(), "archive").put("k", b"b", metadata={})
    assert error_code(caught.value) == "AccessDenied"


def test_nobody_listening_is_a_failure_with_its_kind() -> None:
    clients = IntakeClients(SystemClock(), {**KEYS, "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    clients.sqs._pause = lambda _seconds: None
    with pytest.raises(CallFailed, match="ConnectionRefusedError"):
        clients.sqs.send_message(QueueUrl="q", MessageBody="b")


def test_one_connection_serves_many_calls_and_a_dropped_one_is_made_again(aws: FakeAws) -> None:
    clients = aws.clients()
    for _ in range(3):
        clients.sqs.send_message(QueueUrl="q", MessageBody="b")
    kept = dict(clients.sqs._connections)
    aws.answers = [None]
    clients.sqs.send_message(QueueUrl="q", MessageBody="b")
    assert kept != clients.sqs._connections
    assert len(aws.seen) == 5


def test_the_secret_is_read_by_its_id(aws: FakeAws) -> None:
    aws.answers = [(200, json.dumps({"SecretString": json.dumps({"storefront": {"webhook_secret": "w"}})}).encode())]
    assert TenantSecret(aws.clients(), "arn:secret", SystemClock()).webhook_secrets("storefront") == ["w"]
    assert json.loads(aws.seen[0].body) == {"SecretId": "arn:secret"}
    assert aws.seen[0].headers["x-amz-target"] == "secretsmanager.GetSecretValue"


def test_a_stored_item_comes_back_with_its_bytes(aws: FakeAws) -> None:
    blob = packed("text")["B"]
    aws.answers = [(200, json.dumps({"Item": {"pk": {"S": "B"}, "document": {"B": base64.b64encode(blob).decode()}}}).encode())]
    item = StateTable(aws.clients(), "state").get("p", "s")
    assert item == {"pk": {"S": "B"}, "document": {"B": blob}}


@pytest.mark.parametrize(
    ("environment", "bucket", "expected"),
    [
        ({"AWS_REGION": "eu-west-1"}, None, "https://sqs.eu-west-1.amazonaws.com"),
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, "b", "https://b.sqs.eu-west-1.amazonaws.com"),
        ({"AWS_REGION": "r", "AWS_ENDPOINT_URL": "http://127.0.0.1:1/"}, "b", "http://127.0.0.1:1/b"),
        ({"AWS_REGION": "r", "AWS_ENDPOINT_URL": "http://x", "AWS_ENDPOINT_URL_SQS": "http://y"}, None, "http://y"),
    ],
)
def test_a_service_is_found_where_the_sdk_would_look(environment: dict[str, str], bucket: str | None, expected: str) -> None:
    assert Service("sqs", environment, SystemClock()).endpoint(bucket) == expected


def test_only_bytes_are_made_into_json_beyond_json(aws: FakeAws) -> None:
    with pytest.raises(TypeError, match="object is no JSON"):
        aws.clients().dynamodb.put_item(TableName="t", Item={"a": object()})


def test_an_error_without_an_answer_has_no_code() -> None:
    assert error_code(OSError()) == ""
    assert response_of(OSError()) == {}
