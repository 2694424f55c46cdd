"""Does the real engine start, run a function, enforce IAM when asked, and vanish without a trace?"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import psutil
import pytest

from local.engine import engine, process
from local.engine.engine import EngineNotReady
from local.engine.process import ProcessRecord
from local.engine.state import EngineState, RunDirectory, free_port

HANDLER = """
import os, boto3
def handler(event, context):
    print('called')
    return {'tmp': os.environ['TMPDIR'], 'queues': boto3.client('sqs').list_queues().get('QueueUrls', [])}
"""


def client(name: str, url: str) -> Any:
    settings = engine.client_environment(url)
    return boto3.client(
        name,
        endpoint_url=url,
        region_name=settings["AWS_REGION"],
        aws_access_key_id=settings["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
    )


@pytest.fixture
def enforcing(run: RunDirectory) -> Iterator[EngineState]:
    """A running engine that enforces IAM."""
    started = engine.start(run, free_port(), enforce_iam=True)
    engine.wait_ready(started)
    yield started
    process.end_all_of(run.path, grace_s=0)


def invoke(url: str) -> tuple[dict[str, object], str | None]:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("h.py", HANDLER)
    functions = client("lambda", url)
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
    role = client("iam", url).create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    functions.create_function(FunctionName="seen", Runtime="python3.13", Role=role, Handler="h.handler", Code={"ZipFile": packed.getvalue()}, Timeout=20)
    answer = functions.invoke(FunctionName="seen", Payload=b"{}")
    return json.loads(answer["Payload"].read()), answer.get("FunctionError")


def test_an_engine_that_enforces_iam_denies_what_no_policy_allows_and_leaves_nothing_behind(run: RunDirectory, enforcing: EngineState) -> None:
    assert engine.is_healthy(enforcing)
    answer, failed = invoke(enforcing.url)
    assert failed is not None
    assert "not authorized" in str(answer)

    # The function raised, so the engine ended its worker; a second call starts one that stays.
    client("lambda", enforcing.url).invoke(FunctionName="seen", Payload=b"{}")
    assert list(run.temporary.glob("ministack-lambda-*")) != []

    process.end([psutil.Process(enforcing.process.pid)], grace_s=0)
    process.end_all_of(run.path)
    run.forget()

    assert not engine.is_healthy(enforcing)
    assert process.belonging_to(run.path) == []
    assert not run.temporary.exists()


def test_killed_workers_are_replaced_at_the_next_call(run: RunDirectory) -> None:
    started = engine.start(run, free_port(), enforce_iam=False)
    engine.wait_ready(started)
    answer, failed = invoke(started.url)
    assert failed is None
    assert answer["tmp"] == str(run.temporary)
    assert len(engine.workers(run)) == 1

    assert engine.kill_workers(run) == 1

    again = client("lambda", started.url).invoke(FunctionName="seen", Payload=b"{}")
    assert "FunctionError" not in again


def test_an_engine_that_cannot_start_says_why_at_once(run: RunDirectory, launch: Callable[..., ProcessRecord]) -> None:
    record = launch("raise SystemExit('port taken')")
    broken = EngineState(process=record, url=f"http://127.0.0.1:{free_port()}", enforce_iam=False)

    with pytest.raises(EngineNotReady, match=r"ended while starting[\s\S]*port taken"):
        engine.wait_ready(broken)


def test_an_api_is_addressed_under_the_engines_own_url() -> None:
    assert engine.api_url("http://127.0.0.1:4566", "a1b2", "v1") == "http://127.0.0.1:4566/restapis/a1b2/v1/_user_request_"
