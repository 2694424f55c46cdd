"""Is every permission needed, every need permitted, and nothing of one tenant within reach of another? Also what the local engine does not enforce."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from infra.access import check, needs
from infra.access.__main__ import main
from infra.access.calls import Call, Code
from infra.access.needs import Roads
from infra.access.policies import ACCOUNT, Request, Stack, Statement, UnreadablePolicy, as_list, concerns, matches
from tests.infra.conftest import ROOT, Synthesis

TENANTS = ("acme_industrial", "harbor_supply")
FOREIGN_ACTIONS = ("s3:DeleteObject", "dynamodb:Scan", "sqs:PurgeQueue", "iam:PassRole", "lambda:InvokeFunction")
"""Each is added to every statement that allows something, unless it stands there: it must be noticed."""

Change = tuple[str, str, Any]
"""What was changed, which resource, and the resource as it is then (None: it is gone)."""


@pytest.fixture(scope="session")
def roads() -> Roads:
    code = Code(ROOT)
    return {function: code.calls(function) for function in code.functions}


def _stack(synthesis: Synthesis, tenant: str) -> Stack:
    name = f"crossdock-{tenant.replace('_', '-')}"
    return Stack(name, synthesis.templates[tenant])


def _with(stack: Stack, name: str, resource: Any) -> Stack:
    """The stack after a change of one resource's policy; what the names of the others are does not change by that."""
    resources = {other: each for other, each in stack.resources.items() if other != name} | ({name: resource} if resource is not None else {})
    changed = Stack(stack.name, {**stack.template, "Resources": resources})
    vars(changed).update(arns=stack.arns, logical_ids=stack.logical_ids)
    for kept in ("_resolved", "_read"):
        setattr(changed, kept, {other: each for other, each in getattr(stack, kept).items() if other != name})
    # What the policy is not asked about is answered as before.
    asked = [statement for statement in stack.statements if statement.policy == name]
    changed._granting = {
        request: layers for request, layers in stack._granting.items() if not any(request.principal in each.attached or concerns(each, request.resource) for each in asked)
    }
    return changed


def _edited(stack: Stack, place: tuple[str | int, ...], edit: Callable[[Any, str | int], None]) -> Any:
    """A copy of the resource after ``edit(parent, key)`` of what stands at ``place``."""
    resource = copy.deepcopy(stack.resources[str(place[0])])
    parent = resource
    for step in place[1:-1]:
        parent = parent[step]
    edit(parent, place[-1])
    return resource


def _remove(parent: Any, key: str | int) -> None:
    del parent[key]


def _removals(stack: Stack, statement: Statement) -> Iterator[Change]:
    """Everything that the statement can lose: itself, an action, a resource, a principal; a condition, or one of its values."""
    name, place = statement.policy, statement.place
    if len(place) == 1:
        yield f"{statement} is removed", name, None
        for key in ("SourceArn", "SourceAccount"):
            if key in stack.resources[name]["Properties"]:
                yield f"{statement} loses {key}", name, _edited(stack, (name, "Properties", key), _remove)
        return
    yield f"{statement} is removed", name, _edited(stack, place, _remove)
    raw: Any = stack.resources
    for step in place:
        raw = raw[step]
    if isinstance(raw, dict) and "Effect" in raw:
        principals = [("Principal", kind) for kind in raw["Principal"]] if isinstance(raw.get("Principal"), dict) else []
        conditions = [("Condition", operator, key) for operator, keys in raw.get("Condition", {}).items() for key in keys]
        for path in [("Action",), ("Resource",), *principals, *conditions]:
            value = raw
            for key in path:
                value = value.get(key, [])
            if isinstance(value, list) and len(value) > 1:
                for index, each in enumerate(value):
                    yield f"{statement} loses {json.dumps(each)[:80]}", name, _edited(stack, (*place, *path, index), _remove)
            if path in conditions:
                yield f"{statement} loses the condition on {path[-1]}", name, _edited(stack, (*place, *path), _remove)


def _additions(stack: Stack, statement: Statement) -> Iterator[Change]:
    """What somebody in a hurry would add: a foreign action, every resource, anybody."""
    name, place = statement.policy, statement.place
    if not statement.allows or len(place) == 1 or statement.actions[0].startswith("managed:"):
        return
    for action in FOREIGN_ACTIONS:
        if not any(matches(own, action) for own in statement.actions):
            yield f"{statement} gets {action}", name, _edited(stack, (*place, "Action"), lambda parent, key, action=action: parent.update({key: [*as_list(parent[key]), action]}))  # type: ignore[misc]
    if statement.to_role and "*" not in statement.resources:
        yield f"{statement} gets every resource", name, _edited(stack, (*place, "Resource"), lambda parent, key: parent.update({key: [*as_list(parent[key]), "*"]}))
    if not statement.to_role:
        yield f"{statement} lets in anybody", name, _edited(stack, (*place, "Principal"), lambda parent, key: parent.update({key: {**parent[key], "AWS": "*"}}))


@pytest.mark.parametrize("tenant", TENANTS)
def test_every_need_is_permitted_and_every_permission_is_needed(aws: Synthesis, roads: Roads, tenant: str) -> None:
    stack = _stack(aws, tenant)
    verdict = check.check(stack, needs.of(stack, roads))

    assert verdict.problems == ()
    assert verdict.statements > 100
    assert verdict.needs > 300


@pytest.mark.parametrize("changes", [_removals, _additions], ids=["removed", "added"])
def test_whatever_is_removed_from_or_added_to_a_policy_is_noticed(aws: Synthesis, roads: Roads, changes: Callable[[Stack, Statement], Iterator[Change]]) -> None:
    stack = _stack(aws, "acme_industrial")
    wanted = needs.of(stack, roads)
    assert check.check(stack, wanted).problems == ()
    assert check.check(_with(stack, stack.statements[0].policy, stack.resources[stack.statements[0].policy]), wanted).problems == ()
    unnoticed: list[str] = []
    tried: Counter[str] = Counter()
    for statement in stack.statements:
        for said, name, resource in changes(stack, statement):
            tried["statements" if said.endswith("removed") else "parts"] += 1
            if not check.check(_with(stack, name, resource), wanted).problems:
                unnoticed.append(said)

    assert unnoticed == []
    assert tried["statements"] == (len(stack.statements) if changes is _removals else 0)
    assert tried["parts"] > 200
    print(f"{changes.__name__}: {dict(tried)}, each of them noticed")


def test_what_is_permitted_does_not_change_what_is_needed(aws: Synthesis, roads: Roads) -> None:
    stack = _stack(aws, "acme_industrial")
    bare = copy.deepcopy(dict(stack.template))
    for statement in stack.statements:
        if isinstance(statement.place[-1], int) and "Statement" in statement.place:
            parent: Any = bare["Resources"]
            for step in statement.place[:-1]:
                parent = parent[step]
            parent.clear()

    assert needs.of(Stack(stack.name, bare), roads).allowed == needs.of(stack, roads).allowed


def _renamed(template: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    text = json.dumps(template)
    for separator in ("_", "-", ""):
        text = text.replace(old.replace("_", separator), new.replace("_", separator))
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.parametrize(
    ("first", "second"), [("acme_industrial", "harbor_supply"), ("acme_industrial", "acme"), ("acme", "acme_industrial"), ("acme_industrial", "acme_industrial_inbound")]
)
def test_no_statement_reaches_a_resource_of_another_tenant(aws: Synthesis, first: str, second: str) -> None:
    """Also not when one tenant's name is the beginning of the other's."""
    templates = {name: aws.templates.get(name) or _renamed(aws.templates["acme_industrial"], "acme_industrial", name) for name in (first, second)}
    stacks = [Stack(f"crossdock-{name.replace('_', '-')}", template) for name, template in templates.items()]

    assert check.reaching(stacks[0], stacks[1]) == []
    assert check.reaching(stacks[1], stacks[0]) == []


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("AWS::IAM::Policy", ("PolicyDocument", "Statement", 0, "Resource"), "arn:aws:logs:eu-west-1:*:log-group:/crossdock/*"),
        ("AWS::IAM::Policy", ("PolicyDocument", "Statement", 1, "Resource"), f"arn:aws:kms:*:{ACCOUNT}:key/*"),
        ("AWS::SQS::QueuePolicy", ("PolicyDocument", "Statement", 1, "Condition"), {"ArnLike": {"aws:SourceArn": f"arn:aws:events:*:{ACCOUNT}:rule/*"}}),
        ("AWS::KMS::Key", ("KeyPolicy", "Statement", 1, "Condition"), {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": "arn:aws:logs:*:*:log-group:/crossdock/*"}}),
        ("AWS::SQS::QueuePolicy", ("PolicyDocument", "Statement", 1, "Principal"), {"AWS": f"arn:aws:iam::{ACCOUNT}:role/crossdock-*"}),
    ],
)
def test_a_pattern_that_reaches_another_tenant_is_found(aws: Synthesis, kind: str, path: tuple[str | int, ...], value: Any) -> None:
    stack, other = (_stack(aws, tenant) for tenant in TENANTS)
    document, found = path[0], 0
    for name, resource in stack.resources.items():
        index = path[2]
        if resource["Type"] == kind and isinstance(index, int) and len(resource["Properties"][document]["Statement"]) > index:
            found += 1
            changed = _edited(stack, (name, "Properties", *path), lambda parent, key: parent.update({key: value}))
            assert check.reaching(_with(stack, name, changed), other)
    assert found


def test_a_function_that_learns_a_new_call_is_reported_until_it_may(aws: Synthesis, roads: Roads) -> None:
    stack = _stack(aws, "acme_industrial")
    learned = {**roads, "validate_order": {**roads["validate_order"], Call("dynamodb:PutItem", "state_table"): "handler > new code"}}

    problems = check.check(stack, needs.of(stack, learned)).problems

    assert [problem.split(" on ")[0].partition(": ")[2].partition(": ")[2] for problem in problems] == [
        "dynamodb:PutItem",
        *(f"kms:{action}" for action in needs.KEY_FOR["dynamodb:write"]),
    ]
    assert all("handler > new code" in problem for problem in problems)


def test_a_function_that_unlearns_a_call_may_keep_neither_permission_nor_name(aws: Synthesis, roads: Roads) -> None:
    stack = _stack(aws, "acme_industrial")
    kept = {call: road for call, road in roads["reserve_stock"].items() if call.action != "sqs:SendMessage"}

    problems = check.check(stack, needs.of(stack, {**roads, "reserve_stock": kept})).problems

    assert len(problems) == 4
    assert {name for name in ("work_queue_url", "outbound_queue_url") for problem in problems[:2] if f"reserve_stock is told {name}" in problem} == {
        "work_queue_url",
        "outbound_queue_url",
    }
    assert all("(Send): sqs:SendMessage" in problem for problem in problems[2:])


def test_the_command_tells_the_verdict_of_every_stack(aws: Synthesis, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(aws.folder)]) == 0

    table = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in table] == ["stack", *(f"crossdock-{tenant.replace('_', '-')}" for tenant in TENANTS)]


def test_a_problem_of_any_stack_ends_the_synthesis_with_its_name(aws: Synthesis, roads: Roads) -> None:
    stack = _stack(aws, "harbor_supply")
    statement = next(each for each in stack.statements if each.sid == "Ask")
    broken = _with(stack, statement.policy, _edited(stack, statement.place, _remove))

    problems, _ = check.all_of({"crossdock-acme-industrial": aws.templates["acme_industrial"], stack.name: broken.template}, roads)

    assert problems
    assert all(problem.startswith("crossdock-harbor-supply: missing: ") and "sqs:SendMessage" in problem for problem in problems)


# -- the evaluator itself

_QUEUE = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "q", "KmsMasterKeyId": {"Fn::GetAtt": ["Key", "Arn"]}}}
_ROLE = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {"Statement": []}}}


def _small(*, queue: list[dict[str, Any]] | None = None, role: list[dict[str, Any]] | None = None, key: list[dict[str, Any]] | None = None) -> Stack:
    resources: dict[str, Any] = {"Queue": _QUEUE, "Role": _ROLE, "Key": {"Type": "AWS::KMS::Key", "Properties": {"KeyPolicy": {"Statement": key or []}}}}
    if queue is not None:
        resources["QueuePolicy"] = {"Type": "AWS::SQS::QueuePolicy", "Properties": {"Queues": [{"Ref": "Queue"}], "PolicyDocument": {"Statement": queue}}}
    if role is not None:
        resources["Policy"] = {"Type": "AWS::IAM::Policy", "Properties": {"Roles": [{"Ref": "Role"}], "PolicyDocument": {"Statement": role}}}
    return Stack("small", {"Resources": resources})


def _may(stack: Stack, action: str, resource: str = "Queue", principal: str = "", **context: str) -> bool:
    request = Request(principal or stack.arns["Role"], action, stack.arns[resource], tuple((key.replace("_", ":"), value) for key, value in context.items()))
    return all(stack.granting(request))


_SEND = {"Effect": "Allow", "Action": "sqs:Send*", "Resource": {"Fn::GetAtt": ["Queue", "Arn"]}}


def test_a_role_may_what_its_own_policy_or_the_resource_s_allows() -> None:
    assert _may(_small(role=[_SEND]), "sqs:SendMessage")
    assert not _may(_small(role=[_SEND]), "sqs:ReceiveMessage")
    assert _may(_small(queue=[{**_SEND, "Principal": {"AWS": {"Fn::GetAtt": ["Role", "Arn"]}}}]), "sqs:SendMessage")
    assert not _may(_small(), "sqs:SendMessage")


def test_a_denial_wins() -> None:
    deny = {"Effect": "Deny", "Action": "sqs:*", "Resource": "*", "Principal": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    stack = _small(role=[_SEND], queue=[deny])

    assert _may(stack, "sqs:SendMessage", aws_SecureTransport="true")
    assert not _may(stack, "sqs:SendMessage", aws_SecureTransport="false")


def test_a_service_may_only_what_the_resource_s_policy_allows_under_its_conditions() -> None:
    let_in = {**_SEND, "Principal": {"Service": "events.amazonaws.com"}, "Condition": {"ArnEquals": {"aws:SourceArn": "arn:aws:events:*:rule/mine"}}}
    stack = _small(role=[_SEND], queue=[let_in])

    assert _may(stack, "sqs:SendMessage", principal="events.amazonaws.com", aws_SourceArn="arn:aws:events:eu-west-1:1:rule/mine")
    assert not _may(stack, "sqs:SendMessage", principal="events.amazonaws.com", aws_SourceArn="arn:aws:events:eu-west-1:1:rule/other")
    assert not _may(stack, "sqs:SendMessage", principal="events.amazonaws.com"), "a condition on what is not told does not hold"
    assert not _may(stack, "sqs:SendMessage", principal="s3.amazonaws.com", aws_SourceArn="arn:aws:events:eu-west-1:1:rule/mine")


def test_a_key_wants_both_its_own_policy_and_the_role_s() -> None:
    own = {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": {"Fn::GetAtt": ["Key", "Arn"]}}
    delegated = {"Effect": "Allow", "Action": "kms:*", "Resource": "*", "Principal": {"AWS": {"Fn::Join": ["", ["arn:aws:iam::", {"Ref": "AWS::AccountId"}, ":root"]]}}}

    assert _may(_small(role=[own], key=[delegated]), "kms:Decrypt", "Key")
    assert not _may(_small(role=[own]), "kms:Decrypt", "Key")
    assert not _may(_small(key=[delegated]), "kms:Decrypt", "Key")


@pytest.mark.parametrize(
    "statement",
    [
        {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"},
        {"Effect": "Allow", "Action": "sqs:*", "NotResource": "*"},
        {**_SEND, "Condition": {"StringNotLike": {"aws:PrincipalTag/x": "y"}}},
        {**_SEND, "Condition": {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": "x"}}},
    ],
)
def test_what_the_evaluator_cannot_judge_never_passes(statement: dict[str, Any]) -> None:
    with pytest.raises(UnreadablePolicy):
        _may(_small(role=[statement]), "sqs:SendMessage")


def test_a_policy_where_none_is_looked_for_is_an_error() -> None:
    stack = _small()
    stack.resources["Queue"]["Properties"]["Inline"] = {"Statement": [_SEND]}  # type: ignore[index]
    try:
        with pytest.raises(UnreadablePolicy, match="is not read"):
            _ = stack.statements
    finally:
        del _QUEUE["Properties"]["Inline"]  # type: ignore[attr-defined]
