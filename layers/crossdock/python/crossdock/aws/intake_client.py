"""How does the webhook intake call AWS without the SDK, whose import would be most of its cold start?

The five calls it makes, with the names and the arguments of botocore's clients, so the adapters work over either. Requests are
signed with Signature Version 4 (AWS General Reference, "Signing AWS API requests"); a test holds the signature against botocore's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import os
import random
import ssl
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlsplit

from crossdock.domain.clock import Clock

TRIES = 3
CALL_SECONDS = 3
_AGAIN = frozenset({"ThrottlingException", "ProvisionedThroughputExceededException", "RequestLimitExceeded", "RequestThrottled"})
"""Refusals below 500 that another try may not meet."""


class CallFailed(Exception):
    """A call was refused or got no answer; ``response`` is laid out as botocore's. Its text names service, operation and code, never content."""

    def __init__(self, service: str, operation: str, response: Mapping[str, Any]) -> None:
        self.response = dict(response)
        self.operation_name = operation
        super().__init__(f"{service} {operation}: {self.response.get('Error', {}).get('Code', 'no answer')}")


def signature_headers(
    method: str, url: str, headers: Mapping[str, str], body: bytes, *, service: str, region: str, access_key: str, secret_key: str, token: str | None, now: datetime
) -> dict[str, str]:
    """The given headers and those that prove the request is ours: Host, X-Amz-Date, X-Amz-Content-SHA256, the session's token, Authorization."""
    parts = urlsplit(url)
    stamp, digest = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ"), hashlib.sha256(body).hexdigest()
    made = {**{name.lower(): value for name, value in headers.items()}, "host": parts.netloc, "x-amz-date": stamp, "x-amz-content-sha256": digest}
    if token:
        made["x-amz-security-token"] = token
    names = ";".join(sorted(made))
    # S3's paths are encoded once, by us; the JSON services have only "/".
    canonical = "\n".join([method, parts.path or "/", parts.query, *(f"{name}:{' '.join(made[name].split())}" for name in sorted(made)), "", names, digest])
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signed = hmac.new(key, f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}".encode(), hashlib.sha256).hexdigest()
    return {**made, "authorization": f"AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signed}"}


def _jsonable(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} is no JSON")


def _binary(value: dict[str, Any]) -> dict[str, Any]:
    """DynamoDB's binary values as bytes."""
    return {"B": base64.b64decode(value["B"])} if value.keys() == {"B"} and isinstance(value["B"], str) else value


class Service:
    """One AWS service over one kept connection. Tries again what was throttled or got no answer, three times in all."""

    def __init__(self, name: str, environment: Mapping[str, str], clock: Clock, pause: Callable[[float], None] = time.sleep) -> None:
        self._name = name
        self._clock = clock
        self._environment = environment
        self._pause = pause
        self._region = environment.get("AWS_REGION") or environment["AWS_DEFAULT_REGION"]
        self._connections: dict[str, http.client.HTTPConnection] = {}

    def endpoint(self, bucket: str | None = None) -> str:
        given = self._environment.get(f"AWS_ENDPOINT_URL_{self._name.upper()}") or self._environment.get("AWS_ENDPOINT_URL")
        if given:
            return f"{given.rstrip('/')}/{bucket}" if bucket else given.rstrip("/")
        return f"https://{bucket + '.' if bucket else ''}{self._name}.{self._region}.amazonaws.com"

    def call(self, operation: str, method: str, url: str, headers: Mapping[str, str], body: bytes) -> bytes:
        failure: CallFailed | None = None
        for attempt in range(TRIES):
            if attempt:
                self._pause(random.uniform(0, 0.05 * 4**attempt))  # noqa: S311 - jitter
            try:
                status, found = self._send(method, url, headers, body)
            except (OSError, http.client.HTTPException) as error:
                self._connections.pop(urlsplit(url).netloc, None)
                failure = CallFailed(self._name, operation, {"Error": {"Code": type(error).__name__}})
                failure.__cause__ = error
                continue
            if status < 300:
                return found
            failure = CallFailed(self._name, operation, _refusal(status, found))
            if status < 500 and failure.response["Error"]["Code"] not in _AGAIN:
                break
        assert failure is not None
        raise failure

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        parts = urlsplit(url)
        signed = signature_headers(
            method,
            url,
            headers,
            body,
            service=self._name,
            region=self._region,
            access_key=self._environment["AWS_ACCESS_KEY_ID"],
            secret_key=self._environment["AWS_SECRET_ACCESS_KEY"],
            token=self._environment.get("AWS_SESSION_TOKEN"),
            now=self._clock.now(),
        )
        connection = self._connections.get(parts.netloc) or self._connect(parts.scheme, parts.netloc)
        connection.request(method, parts.path or "/", body=body, headers=signed)
        answer = connection.getresponse()
        found = answer.read()
        self._connections[parts.netloc] = connection
        return answer.status, found

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context()

    def _connect(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        if scheme == "http":
            return http.client.HTTPConnection(netloc, timeout=CALL_SECONDS)
        return http.client.HTTPSConnection(netloc, timeout=CALL_SECONDS, context=self._trust)

    def json(self, target: str, version: str, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The services of the AWS JSON protocol: the operation stands in a header, arguments and answer are JSON."""
        headers = {"Content-Type": f"application/x-amz-json-{version}", "X-Amz-Target": f"{target}.{operation}"}
        body = json.dumps(arguments, default=_jsonable, separators=(",", ":")).encode()
        found: dict[str, Any] = json.loads(self.call(operation, "POST", self.endpoint() + "/", headers, body) or b"{}", object_hook=_binary)
        return found


def _refusal(status: int, body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body, object_hook=_binary)
    except ValueError:
        found = None
    if not isinstance(found, dict):  # S3 answers in XML
        return {"Error": {"Code": body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode("ascii", "replace") or str(status)}}
    code = str(found.get("__type") or found.get("code") or status)
    return {**found, "Error": {"Code": code.rpartition("#")[2]}}


class IntakeDynamoDb(Service):
    def put_item(self, **arguments: Any) -> dict[str, Any]:
        return self.json("DynamoDB_20120810", "1.0", "PutItem", arguments)

    def get_item(self, **arguments: Any) -> dict[str, Any]:
        return self.json("DynamoDB_20120810", "1.0", "GetItem", arguments)


class IntakeSqs(Service):
    def send_message(self, **arguments: Any) -> dict[str, Any]:
        return self.json("AmazonSQS", "1.0", "SendMessage", arguments)


class IntakeSecrets(Service):
    def get_secret_value(self, **arguments: Any) -> dict[str, Any]:
        return self.json("secretsmanager", "1.1", "GetSecretValue", arguments)


class IntakeS3(Service):
    def put_object(self, *, Bucket: str, Key: str, Body: bytes, Metadata: Mapping[str, str], ContentType: str) -> dict[str, Any]:  # noqa: N803 - botocore's names
        headers = {
            "Content-Type": ContentType,
            # A bucket with object lock takes nothing without a checksum.
            "x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(Body).digest()).decode(),
            **{f"x-amz-meta-{name}": value for name, value in Metadata.items()},
        }
        self.call("PutObject", "PUT", f"{self.endpoint(Bucket)}/{quote(Key, safe='/-._~')}", headers, Body)
        return {}


class IntakeClients:
    """Stands in for ``clients.Clients`` where only these calls are made; each service when first used."""

    def __init__(self, clock: Clock, environment: Mapping[str, str] | None = None) -> None:
        self._clock = clock
        self._environment = os.environ if environment is None else environment

    @cached_property
    def dynamodb(self) -> IntakeDynamoDb:
        return IntakeDynamoDb("dynamodb", self._environment, self._clock)

    @cached_property
    def sqs(self) -> IntakeSqs:
        return IntakeSqs("sqs", self._environment, self._clock)

    @cached_property
    def s3(self) -> IntakeS3:
        return IntakeS3("s3", self._environment, self._clock)

    @cached_property
    def secretsmanager(self) -> IntakeSecrets:
        return IntakeSecrets("secretsmanager", self._environment, self._clock)
