"""What does one tenant's part of an AWS account look like to the adapters? The stack's resources, in moto."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from moto import mock_aws

from crossdock.aws.clients import Clients
from crossdock.aws.settings import Settings
from crossdock.aws.table import StateTable

REGION = "us-east-1"
ACCOUNT_ID = "123456789012"
"""The one moto answers for."""
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_SESSION_TOKEN": "test", "AWS_DEFAULT_REGION": REGION, "AWS_REGION": REGION}
TRIES = {"inbound": 4, "work": 4, "outbound": 10}


@dataclass
class Account:
    clients: Clients
    settings: Settings

    @property
    def table(self) -> StateTable:
        return StateTable(self.clients, self.settings.state_table)

    def messages(self, url: str) -> list[dict[str, Any]]:
        """What can be received from the queue now; stays there."""
        found: list[dict[str, Any]] = []
        everything = {"MaxNumberOfMessages": 10, "VisibilityTimeout": 60, "MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"]}
        while batch := self.clients.sqs.receive_message(QueueUrl=url, **everything).get("Messages"):
            found += batch
        for message in found:
            self.clients.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
        return found

    def secret(self, value: dict[str, Any]) -> None:
        self.clients.secretsmanager.put_secret_value(SecretId=self.settings.secret_id, SecretString=json.dumps(value))


@cache
def _clients() -> Clients:
    """Made once: what they speak to is emptied for each test, they need not be."""
    return Clients()


def _tables(clients: Clients) -> None:
    keys = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
    attributes = [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")]
    listing = {
        "IndexName": "listing",
        "KeySchema": [{"AttributeName": "listing", "KeyType": "HASH"}, {"AttributeName": "sort", "KeyType": "RANGE"}],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }
    more = [{"AttributeName": name, "AttributeType": "S"} for name in ("listing", "sort")]
    clients.dynamodb.create_table(TableName="state", KeySchema=keys, AttributeDefinitions=attributes + more, GlobalSecondaryIndexes=[listing], BillingMode="PAY_PER_REQUEST")
    clients.dynamodb.create_table(TableName="audit", KeySchema=keys, AttributeDefinitions=attributes, BillingMode="PAY_PER_REQUEST")


def _queues(clients: Clients) -> dict[str, str]:
    urls = {}
    for stage, tries in TRIES.items():
        dead = clients.sqs.create_queue(QueueName=f"{stage}-dead-letters")["QueueUrl"]
        redrive = json.dumps({"deadLetterTargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT_ID}:{stage}-dead-letters", "maxReceiveCount": tries})
        urls[f"{stage}_queue_url"] = clients.sqs.create_queue(QueueName=stage, Attributes={"VisibilityTimeout": "60", "RedrivePolicy": redrive})["QueueUrl"]
        urls[f"{stage}_dlq_url"] = dead
    return urls


def _machine(clients: Clients, name: str) -> str:
    definition = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 3600, "End": True}}}
    made = clients.stepfunctions.create_state_machine(name=name, definition=json.dumps(definition), roleArn="arn:aws:iam::123456789012:role/order")
    return str(made["stateMachineArn"])


@contextmanager
def opened() -> Iterator[Account]:
    """The account with everything in it, empty. ``ENVIRONMENT`` must be set."""
    with mock_aws():
        clients = _clients()
        _tables(clients)
        clients.s3.create_bucket(Bucket="archive")
        clients.events.create_event_bus(Name="facts")
        secret = clients.secretsmanager.create_secret(Name="tenant", SecretString="{}")["ARN"]
        urls = _queues(clients)
        machines = {f"{name}_machine_arn": _machine(clients, name) for name in ("order", "return")}
        settings = Settings(state_table="state", audit_table="audit", archive_bucket="archive", bus_name="facts", secret_id=secret, **machines, **urls)
        yield Account(clients, settings)


class OneAtATime(Clients):
    """The service does each call whole and by itself; moto, in this process, needs a lock for that. Between the calls threads mix freely.

    ``before`` is called with each operation's name and arguments and may raise in the service's stead.
    """

    def __init__(self, inner: Clients, before: Callable[[str, dict[str, Any]], None] = lambda _operation, _arguments: None) -> None:
        super().__init__()
        self._inner = inner
        self._turn = threading.Lock()
        self._before = before

    def client(self, service: str) -> Any:
        return _LockedClient(self._inner.client(service), self._turn, self._before)


class _LockedClient:
    def __init__(self, inner: Any, turn: threading.Lock, before: Callable[[str, dict[str, Any]], None]) -> None:
        self._inner, self._turn, self._before = inner, turn, before

    def __getattr__(self, operation: str) -> Any:
        call = getattr(self._inner, operation)
        if operation == "get_paginator":
            return call

        def locked(**arguments: Any) -> Any:
            self._before(operation, arguments)
            with self._turn:
                return call(**arguments)

        return locked


def at_once(workers: int, work: Callable[[int], Any]) -> list[Any]:
    """Runs ``work(number)`` in so many threads that start together; results in order, errors raised."""
    start = threading.Barrier(workers)
    results: list[Any] = [None] * workers
    errors: list[BaseException] = []

    def run(number: int) -> None:
        start.wait()
        try:
            results[number] = work(number)
        except BaseException as error:  # noqa: BLE001 - carried over to the thread that asked
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results
