"""Does something that must not be read by whoever reads logs stand in them? What to look for, and where everything is that the system wrote."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import boto3

from tests.scenarios.system import Tenant, crossdock

SHORTEST_SECRET = 12
"""A shorter value is no secret of anybody's but a setting, and would be found everywhere."""


def spellings(text: str) -> set[str]:
    """The text as it may stand in a log: plain, in JSON, in an address, packed in base64."""
    packed = base64.b64encode(text.encode()).decode().rstrip("=")
    return {text, json.dumps(text)[1:-1], quote(text), quote(text, safe=""), quote_plus(text), packed[: len(packed) // 4 * 4]}


def leaks(written: Iterable[tuple[str, str]], forbidden: Mapping[str, str]) -> list[str]:
    """Where (``place: what``) any of the forbidden texts (what it is, by name) stands in what was written (place and text). Never the text itself."""
    wanted = {name: {spelling.lower() for spelling in spellings(text)} for name, text in forbidden.items()}
    places: dict[str, list[str]] = {}
    for place, text in written:
        places.setdefault(place, []).append(text.lower())
    found = set()
    for place, texts in places.items():
        whole = "\n".join(texts)
        found |= {f"{place}: {name}" for name, forms in wanted.items() if any(form in whole for form in forms)}
    return sorted(found)


def _client(tenant: Tenant, service: str) -> Any:
    return boto3.client(service, endpoint_url=tenant.lambda_endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")  # type: ignore[call-overload]


def secrets_of(tenant: Tenant) -> dict[str, str]:
    """Every secret there is of the tenant's stack: webhook secrets, API keys, and each field of each connection's credentials."""
    found = {f"webhook secret of {name}": hook["secret"] for name, hook in tenant.webhooks.items()}
    found |= {f"API key of {client}": key for client, key in tenant.api_keys.items()}
    manager = _client(tenant, "secretsmanager")
    for page in manager.get_paginator("list_secrets").paginate():
        for listed in page["SecretList"]:
            kept = json.loads(manager.get_secret_value(SecretId=listed["ARN"])["SecretString"])
            found |= {f"{listed['Name']} {path}": value for path, value in _leaves(kept) if path.rpartition(".")[2] not in _NO_SECRETS}
    return {name: value for name, value in found.items() if len(value) >= SHORTEST_SECRET}


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, path)
    else:
        yield path, str(value)


_NO_SECRETS = {"aad_tenant", "environment", "company_id", "client_id", "channel_id", "shop_domain"}
"""Names of accounts, which addresses hold; what proves who somebody is stands beside them."""


def tokens() -> dict[str, str]:
    """The bearer tokens that the simulated directory gave out in this run, out of the simulators' own store."""
    found = []
    for store in sorted((_run_directory() / "simulators").glob("*.state")):
        with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as database:
            found += [str(key) for (key,) in database.execute("select key from documents where collection = '_tokens'")]
    return {f"bearer token {number}": token for number, token in enumerate(found, start=1)}


def _run_directory() -> Path:
    parts = crossdock("local", "status", check=False)["parts"]
    return Path(next(part["log"] for part in parts if part["name"] == "engine")).parents[1]


def deployed(tenant: Tenant) -> Iterator[tuple[str, str]]:
    """Everything that was deployed: templates, the layers' content and the functions' code and environments."""
    for file in sorted((_run_directory() / "cdk.out").rglob("*")):
        if file.is_file():
            yield f"deployed {file.name}", file.read_text(encoding="utf-8", errors="replace")
    functions = _client(tenant, "lambda")
    for page in functions.get_paginator("list_functions").paginate():
        for function in page["Functions"]:
            yield f"environment of {function['FunctionName']}", json.dumps(function.get("Environment", {}))


def logs_written(tenant: Tenant) -> Iterator[tuple[str, str]]:
    """Everything in every log group of the engine: functions, API access, workflows."""
    logs = _client(tenant, "logs")
    for page in logs.get_paginator("describe_log_groups").paginate():
        for group in page["logGroups"]:
            name = group["logGroupName"]
            for streams in logs.get_paginator("describe_log_streams").paginate(logGroupName=name):
                for stream in streams["logStreams"]:
                    token: dict[str, str] = {}
                    while True:
                        got = logs.get_log_events(logGroupName=name, logStreamName=stream["logStreamName"], startFromHead=True, limit=10_000, **token)
                        for event in got["events"]:
                            yield f"log group {name}", event["message"]
                        if not got["events"] or got["nextForwardToken"] == token.get("nextToken"):
                            break
                        token = {"nextToken": got["nextForwardToken"]}


def files_written() -> Iterator[tuple[str, str]]:
    """What the engine and the deployment wrote to their files. The simulators' files are the vendors', not ours."""
    for log in sorted((_run_directory() / "logs").iterdir()):
        if not log.name.startswith("simulator-"):
            yield f"file {log.name}", log.read_text(encoding="utf-8", errors="replace")


def workflow_data(tenant: Tenant) -> Iterator[tuple[str, str]]:
    """Input, output and history of every execution of every workflow."""
    client = _client(tenant, "stepfunctions")
    for machine in client.list_state_machines()["stateMachines"]:
        if machine["type"] == "STANDARD":
            for page in client.get_paginator("list_executions").paginate(stateMachineArn=machine["stateMachineArn"]):
                for execution in page["executions"]:
                    history = client.get_execution_history(executionArn=execution["executionArn"], maxResults=1000)["events"]
                    yield f"workflow {machine['name']}", json.dumps(history, default=str)


def dead_letters(tenant: Tenant, *stages: str) -> Iterator[tuple[str, str]]:
    """The bodies in the dead letters of these queues."""
    client = _client(tenant, "sqs")
    for url in client.list_queues(MaxResults=1000).get("QueueUrls", []):
        name = url.rpartition("/")[2].lower()
        if any(stage in name for stage in stages) and ("dead" in name or "dlq" in name):
            for message in client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=1).get("Messages", []):
                yield f"queue {name}", message["Body"]
