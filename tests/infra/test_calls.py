"""Is what is read from the code what the code does? Calls recorded while functions run must have been foreseen; and the reader refuses what it cannot follow."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient

from crossdock.domain.stage import QueueName
from infra.access.calls import Call, Code, UnreadableCode
from tests.functions.tenant import EVENTS, Tenant, event, running
from tests.infra.conftest import ROOT

_SERVICES = {"dynamodb": "dynamodb", "s3": "s3", "sqs": "sqs", "events": "events", "stepfunctions": "states", "secretsmanager": "secretsmanager"}
_IN_TRANSACTION = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}


@pytest.fixture(scope="module")
def code() -> Code:
    return Code(ROOT)


class Recorder:
    """Writes down which function calls which action of AWS on which resource."""

    def __init__(self, tenant: Tenant) -> None:
        self.calls: dict[str, set[Call]] = defaultdict(set)
        self.running = ""
        self._settings = {value: name for name, value in asdict(tenant.account.settings).items()}
        original, run = BaseClient._make_api_call, tenant.run

        def make_api_call(client: Any, operation: str, arguments: dict[str, Any]) -> Any:
            if self.running:
                self.calls[self.running] |= set(self._seen(client.meta.service_model.service_name, operation, arguments))
            return original(client, operation, arguments)

        def recorded(function: str, given: Any) -> Any:
            self.running = function
            try:
                return run(function, given)
            finally:
                self.running = ""

        tenant.patch.setattr(BaseClient, "_make_api_call", make_api_call)
        tenant.run = recorded  # type: ignore[method-assign]

    def _seen(self, service: str, operation: str, arguments: dict[str, Any]) -> Iterator[Call]:
        if operation == "TransactWriteItems":
            for item in arguments["TransactItems"]:
                for kind, action in item.items():
                    yield Call(f"dynamodb:{_IN_TRANSACTION[kind]}", self._settings[action["TableName"]])
            return
        places = [arguments.get(name) for name in ("TableName", "Bucket", "QueueUrl", "SecretId", "stateMachineArn")]
        places += [*arguments.get("RequestItems", {}), *(entry["EventBusName"] for entry in arguments.get("Entries", []) if "EventBusName" in entry)]
        settings = {self._settings[place] for place in places if place in self._settings} or {"order_machine_arn", "return_machine_arn"}
        prefix = _SERVICES.get(service, service)
        for setting in settings:
            yield Call(f"{prefix}:{operation.removesuffix('Batch' if service == 'sqs' else '')}", f"{setting}/index" if "IndexName" in arguments else setting)


def _an_order_comes_in(tenant: Tenant) -> None:
    tenant.reserve()


def _every_event(tenant: Tenant) -> None:
    tenant.receive()
    for case in EVENTS:
        tenant.run(case.partition("/")[0], event(case))


def _messages_go_round(tenant: Tenant) -> None:
    tenant.reserve()
    tenant.run("apply_event", event("apply_event/post_requested"))
    for body in tenant.account.messages(tenant.account.settings.outbound_queue_url):
        tenant.run("deliver_command", {"Records": [{**event("deliver_command/create_sales_order")["Records"][0], "body": body["Body"]}]})
    tenant.services.queues.send_to_dead_letters(QueueName.WORK, "{}", group="g", exception_id="x-1")
    tenant.run("index_dead_letters", event("index_dead_letters/every_minute"))
    tenant.run("watch_deadlines", event("watch_deadlines/every_minute"))


@pytest.fixture(scope="module")
def seen() -> dict[str, set[Call]]:
    """What each function was seen to call, over everything that happens here."""
    found: dict[str, set[Call]] = defaultdict(set)
    for happens in (_an_order_comes_in, _every_event, _messages_go_round):
        with pytest.MonkeyPatch.context() as patch, running(patch) as tenant:
            recorder = Recorder(tenant)
            happens(tenant)
        for function, calls in recorder.calls.items():
            found[function] |= calls
    return found


def test_every_call_that_is_seen_was_foreseen(code: Code, seen: dict[str, set[Call]]) -> None:
    assert set(seen) == set(code.functions)
    for function, calls in seen.items():
        assert calls <= set(code.calls(function)), f"{function} does what was not read from its code"


def test_most_of_what_is_foreseen_is_also_seen(code: Code, seen: dict[str, set[Call]]) -> None:
    """Else the reader would foresee too much, and permit too much with it. What is only foreseen is listed, with the road to it."""
    foreseen = {(function, call): road for function in code.functions for call, road in code.calls(function).items()}
    only = {key: road for key, road in foreseen.items() if key[1] not in seen[key[0]]}
    print("\n".join(f"{function}: {call.action} {call.setting}: {road}" for (function, call), road in only.items()))

    assert len(only) <= len(foreseen) / 2


def _changed(folder: Path, file: str, old: str, new: str) -> Code:
    root = folder / "copy"
    for name in ("layers", "functions"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "samples"))
    place = root / file
    text = place.read_text()
    assert old in text
    place.write_text(text.replace(old, new, 1))
    return Code(root)


def test_a_new_call_in_a_function_is_seen_with_the_road_to_it(tmp_path: Path, code: Code) -> None:
    changed = _changed(tmp_path, "functions/validate_order/handler.py", "order.validate(event", "services.cursors.put('a', 'b') or order.validate(event")

    new = set(changed.calls("validate_order").items()) - set(code.calls("validate_order").items())
    assert [(call.action, call.setting, road.split(" > ")[-1]) for call, road in new] == [("dynamodb:PutItem", "state_table", "aws.cursors.DynamoCursors.put")]


def test_a_port_that_nobody_can_follow_is_an_error(tmp_path: Path) -> None:
    changed = _changed(tmp_path, "functions/validate_order/handler.py", "order.validate(event", "[services][0].cursors.put('a', 'b') or order.validate(event")

    with pytest.raises(UnreadableCode, match=r"validate_order.*cursors\.put"):
        changed.calls("validate_order")


def test_a_flag_that_rules_a_branch_out_rules_its_calls_out(code: Code) -> None:
    """Indexing dead letters records exceptions as every stage does, but puts nothing into a queue: ``dead_letter=False``."""
    assert not [call for call in code.calls("index_dead_letters") if call.action == "sqs:SendMessage"]
    assert Call("sqs:SendMessage", "work_dlq_url") in code.calls("apply_event")
    assert Call("sqs:SendMessage", "inbound_dlq_url") not in code.calls("apply_event"), "which queue is followed too"


def test_every_function_of_the_repository_is_read(code: Code) -> None:
    assert code.functions == sorted(file.parent.name for file in (ROOT / "functions").glob("*/handler.py"))
    assert all(code.calls(function) for function in code.functions)
