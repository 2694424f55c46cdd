"""Does a function know its resources, and say which one it was not given?"""

from __future__ import annotations

from dataclasses import asdict

import pytest

from crossdock.aws.clients import Clients
from crossdock.aws.settings import Settings
from crossdock.domain.stage import QueueName

OUTPUTS = {
    name: name.lower()
    for name in (
        "StateTable",
        "AuditTable",
        "ArchiveBucket",
        "InboundQueueUrl",
        "InboundDeadLetterQueueUrl",
        "WorkQueueUrl",
        "WorkDeadLetterQueueUrl",
        "OutboundQueueUrl",
        "OutboundDeadLetterQueueUrl",
        "BusName",
        "SecretArn",
        "OrderMachineArn",
        "ReturnMachineArn",
    )
}


def test_a_function_reads_only_its_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSDOCK_STATE_TABLE", "table")
    monkeypatch.setenv("CROSSDOCK_UNHEARD_OF", "x")

    settings = Settings.from_environment()

    assert settings.state_table == "table"
    assert Settings.from_environment({"CROSSDOCK_BUS_NAME": "facts"}).bus_name == "facts"


def test_a_resource_that_was_not_given_is_named() -> None:
    settings = Settings(inbound_queue_url="https://queue.test/inbound")

    assert settings.queue_url(QueueName.INBOUND) == "https://queue.test/inbound"
    with pytest.raises(LookupError, match="CROSSDOCK_INBOUND_DLQ_URL"):
        settings.dead_letter_url(QueueName.INBOUND)
    with pytest.raises(LookupError, match="CROSSDOCK_OUTBOUND_QUEUE_URL"):
        settings.queue_url(QueueName.OUTBOUND)


def test_an_operator_finds_everything_in_the_stacks_outputs() -> None:
    settings = Settings.from_outputs({**OUTPUTS, "Tenant": "acme"})

    assert all(asdict(settings).values())
    assert settings.dead_letter_url(QueueName.WORK) == "workdeadletterqueueurl"


def test_a_client_is_made_once_and_of_the_session_that_was_given() -> None:
    made = []

    class Session:
        def client(self, name: str, /, *, config: object) -> object:
            made.append(name)
            return object()

    clients = Clients(Session())

    assert clients.sqs is clients.sqs
    assert clients.s3 is not clients.sqs
    assert made == ["sqs", "s3"]
