"""Does each call and each step count for what AWS bills it?"""

from __future__ import annotations

import json
import os
import py_compile
import urllib.request
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from local.bench import imports, metered, operations, quiet_aws, sizes
from local.bench.imports import Subject

EMPTY: dict[str, Any] = {"Resources": {}}
LOUD = {
    "Resources": {
        "Order": {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": {"StateMachineType": "STANDARD", "LoggingConfiguration": {"Level": "ALL"}, "TracingConfiguration": {"Enabled": True}},
        }
    }
}


def counted(target: str, asked: dict[str, Any], told: dict[str, Any], *, method: str = "POST", status: int = 200) -> dict[str, float]:
    return metered.counts_of(target, method, asked, json.dumps(told).encode(), status)


def test_a_write_counts_what_the_table_says_it_consumed() -> None:
    assert counted("DynamoDB_20120810.PutItem", {}, {"ConsumedCapacity": {"TableName": "t", "CapacityUnits": 3.0}}) == {"dynamodb_write_units": 3.0}
    two = [{"TableName": "t", "CapacityUnits": 4.0}, {"TableName": "u", "CapacityUnits": 2.0}]
    assert counted("DynamoDB_20120810.TransactWriteItems", {}, {"ConsumedCapacity": two}) == {"dynamodb_write_units": 6.0}


def test_a_write_whose_condition_does_not_hold_is_paid_for_too() -> None:
    assert counted("DynamoDB_20120810.PutItem", {}, {"__type": "ConditionalCheckFailedException"}, status=400) == {"dynamodb_write_units": 1.0}
    three = {"TransactItems": [{}, {}, {}]}
    assert counted("DynamoDB_20120810.TransactWriteItems", three, {"__type": "TransactionCanceledException"}, status=400) == {"dynamodb_write_units": 6.0}


def test_a_large_item_costs_a_unit_for_each_four_kilobytes_and_half_without_consistency() -> None:
    large = {"Item": {"document": {"S": "x" * 9000}}, "ConsumedCapacity": {"CapacityUnits": 0.5}}

    assert counted("DynamoDB_20120810.GetItem", {}, large) == {"dynamodb_read_units": 1.5}
    assert counted("DynamoDB_20120810.GetItem", {"ConsistentRead": True}, large) == {"dynamodb_read_units": 3.0}


def test_a_message_counts_once_for_each_64_kilobytes() -> None:
    assert counted("AmazonSQS.SendMessage", {"MessageBody": "x"}, {}) == {"sqs_requests": 1}
    assert counted("AmazonSQS.SendMessage", {"MessageBody": "x" * 100_000}, {}) == {"sqs_requests": 2}
    assert counted("AmazonSQS.ChangeMessageVisibility", {}, {}) == {"sqs_requests": 1}


def test_an_event_counts_for_itself_and_for_the_message_its_rule_sends() -> None:
    found = counted("AWSEvents.PutEvents", {"Entries": [{"Detail": "{}"}, {"Detail": "x" * 70_000}]}, {})

    assert (found["events"], found["sqs_requests"]) == (3, 2)


def test_a_secret_read_is_a_call_of_the_key_too_and_step_functions_own_calls_are_free() -> None:
    assert counted("secretsmanager.GetSecretValue", {}, {}) == {"secret_reads": 1, "kms_requests": 1}
    assert counted("AWSStepFunctions.SendTaskSuccess", {}, {}) == {}
    assert counted("", {}, {}, method="PUT") == {"s3_puts": 1}
    assert counted("", {}, {}, method="GET") == {"s3_gets": 1}


def history(*, retried: bool = False) -> list[dict[str, Any]]:
    start = datetime(2026, 11, 22, tzinfo=UTC)
    kinds: list[tuple[str, dict[str, Any]]] = [("ExecutionStarted", {}), ("TaskStateEntered", {})]
    child = {"taskScheduledEventDetails": {"resourceType": "aws-sdk:sfn", "resource": "startSyncExecution"}}
    message = {"taskScheduledEventDetails": {"resourceType": "sqs", "resource": "sendMessage.waitForTaskToken"}}
    kinds += [("TaskScheduled", child), ("TaskSucceeded", {}), ("TaskStateExited", {}), ("TaskStateEntered", {}), ("TaskScheduled", message)]
    if retried:
        kinds += [("TaskFailed", {}), ("TaskScheduled", message)]
    kinds += [("TaskSucceeded", {}), ("TaskStateExited", {}), ("ExecutionSucceeded", {})]
    return [{"id": number, "type": kind, "timestamp": start + timedelta(milliseconds=130 * number), **details} for number, (kind, details) in enumerate(kinds, 1)]


def test_each_step_that_is_entered_is_a_transition_and_so_is_each_retry() -> None:
    assert operations.of_history(history(), EMPTY)["workflow_transitions"] == 2
    assert operations.of_history(history(retried=True), EMPTY)["workflow_transitions"] == 3
    assert operations.of_history(history(retried=True), EMPTY)["sqs_requests"] == 2


def test_the_synchronous_child_is_a_request_and_its_time_rounded_up_to_a_tenth_of_a_second() -> None:
    found = operations.of_history(history(), EMPTY)

    assert found["express_requests"] == 1
    assert found["express_gb_seconds"] == pytest.approx(0.2 * 64 / 1024)  # 130 ms


def test_logs_and_traces_of_a_workflow_count_only_where_the_template_asks_for_them() -> None:
    quiet, loud = operations.of_history(history(), EMPTY), operations.of_history(history(), LOUD)

    assert (quiet["log_gb"], quiet["traces"]) == (0, 0)
    assert loud["traces"] == 1
    assert loud["log_gb"] == pytest.approx(10 * 450 / 1e9)


def test_a_bill_adds_up_and_tells_the_time_of_the_functions_apart() -> None:
    found = {"per_order": {"apply_event": {"lambda_requests": 1, "lambda_gb_seconds": 1, "(PutItem)": 7}, "workflow": {"workflow_transitions": 4}}, "poll": {}}

    made = operations.bill(found)

    assert made["total"] == pytest.approx(0.1 + 0.0002 + 0.0133334, abs=1e-6)
    assert made["of_it_lambda_time"] == pytest.approx(0.013333, abs=1e-6)
    assert list(made["by_service"]) == ["Step Functions", "Lambda"]


def test_the_proxy_changes_nothing_but_asks_the_table_what_it_consumed() -> None:
    seen: list[dict[str, Any]] = []

    class Engine(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            body = json.dumps({"Item": {"pk": {"S": "a"}}, "ConsumedCapacity": {"CapacityUnits": 0.5}}).encode()
            self.send_response(203)
            self.send_header("X-Told", "yes")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002

    engine = ThreadingHTTPServer(("127.0.0.1", 0), Engine)
    Thread(target=engine.serve_forever, daemon=True).start()
    meter = metered.Meter()
    meter.engine_url = f"http://127.0.0.1:{engine.server_address[1]}"
    try:
        with metered.running(meter) as url:
            asked = urllib.request.Request(url, data=b'{"TableName": "t"}', headers={"X-Amz-Target": "DynamoDB_20120810.GetItem"}, method="POST")
            with urllib.request.urlopen(asked) as answer:
                assert (answer.status, answer.headers["X-Told"]) == (203, "yes")
                assert json.loads(answer.read())["Item"] == {"pk": {"S": "a"}}
    finally:
        engine.shutdown()
        engine.server_close()

    assert seen == [{"TableName": "t", "ReturnConsumedCapacity": "TOTAL"}]
    [counts] = meter.reset()[0].values()
    assert counts == {"dynamodb_read_units": 0.5}
    assert meter.reset() == ({}, {})


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    (tmp_path / "handler.py").write_text('"""A function."""\nimport other\n\ndef handler(event, context):\n    return {"statusCode": 200, "got": event["n"]}\n')
    (tmp_path / "other.py").write_text('"""Something it imports."""\nimport wave\n')
    return Subject("probe", "handler", [str(tmp_path)], {"SOME": "1"}, '{"n": 7}')


def test_an_import_is_measured_in_a_fresh_process_with_the_handler_s_first_call(subject: Subject) -> None:
    found = imports.measure([subject], runs=2, say=lambda _: None)["probe"]

    assert found["runs"] == 2
    assert 0 < found["wall_ms"]["low"] <= found["wall_ms"]["median"] <= found["wall_ms"]["high"]
    assert found["first_answer"] == "{'statusCode': 200, 'got': 7}"
    assert {"handler", "other", "(standard library)"} <= {package["package"] for package in found["packages"]}


def test_sources_without_valid_bytecode_are_named_and_those_with_it_are_not(subject: Subject) -> None:
    assert [Path(name).name for name in imports.look(subject)["compiled_sources"]] == ["handler.py", "other.py"]

    folder = Path(subject.path[0])
    for name in ("handler.py", "other.py"):
        py_compile.compile(str(folder / name), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
        os.utime(folder / name, (0, 0))

    assert imports.look(subject)["compiled_sources"] == []


def test_a_function_that_lacks_a_package_is_named_with_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text("import pytest\n")  # of this environment, and of no layer

    with pytest.raises(imports.ImportFailed, match=r"(?s)probe cannot be imported as it is shipped.*No module named 'pytest'"):
        imports.look(Subject("probe", "handler", [str(tmp_path)], {}))


def test_the_quiet_aws_answers_what_a_first_call_asks() -> None:
    with quiet_aws.running(["storefront"]) as url:
        asked = urllib.request.Request(url, data=b"{}", headers={"X-Amz-Target": "secretsmanager.GetSecretValue"}, method="POST")
        with urllib.request.urlopen(asked) as answer:
            assert json.loads(json.loads(answer.read())["SecretString"])["storefront"]["webhook_secret"] == quiet_aws.SECRET


def test_a_layer_is_weighed_unpacked_and_zipped_and_by_package(tmp_path: Path) -> None:
    package = tmp_path / "python" / "crossdock" / "flows"
    package.mkdir(parents=True)
    (package / "order.py").write_text("x = 1\n" * 1000)
    (tmp_path / "python" / "big.pyc").write_bytes(os.urandom(5000))

    found = sizes.of_folder(tmp_path)

    assert (found["unpacked_bytes"], found["files"], found["bytecode_bytes"]) == (11_000, 2, 5000)
    assert 5000 < found["zipped_bytes"] < 6000
    assert found["packages"] == [{"package": "crossdock.flows", "bytes": 6000}, {"package": "big.pyc", "bytes": 5000}]
