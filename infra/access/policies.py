"""What do the policies of a synthesised template allow and forbid? A reader that puts names for references, and a small evaluator of IAM's rules.

Knows what this project's templates use and refuses the rest: an element or a condition that it cannot judge is an error, never a pass.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

PARTITION, REGION, ACCOUNT, OTHER_ACCOUNT = "aws", "eu-west-1", "111122223333", "999988887777"
"""Every tenant in one account and region: the case in which a loose statement reaches furthest."""
ROOT = f"arn:{PARTITION}:iam::{ACCOUNT}:root"
_PSEUDO = {"AWS::Partition": PARTITION, "AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "AWS::URLSuffix": "amazonaws.com", "AWS::NoValue": ""}

_HERE = f"{REGION}:{ACCOUNT}"
_ARNS = {
    "AWS::SQS::Queue": ("QueueName", f"arn:aws:sqs:{_HERE}:{{}}"),
    "AWS::Lambda::Function": ("FunctionName", f"arn:aws:lambda:{_HERE}:function:{{}}"),
    "AWS::DynamoDB::Table": ("TableName", f"arn:aws:dynamodb:{_HERE}:table/{{}}"),
    "AWS::S3::Bucket": ("BucketName", "arn:aws:s3:::{}"),
    "AWS::KMS::Key": ("", f"arn:aws:kms:{_HERE}:key/{{}}"),
    "AWS::SecretsManager::Secret": ("Name", f"arn:aws:secretsmanager:{_HERE}:secret:{{}}"),
    "AWS::Events::EventBus": ("Name", f"arn:aws:events:{_HERE}:event-bus/{{}}"),
    "AWS::Events::Archive": ("ArchiveName", f"arn:aws:events:{_HERE}:archive/{{}}"),
    "AWS::Events::Rule": ("Name", f"arn:aws:events:{_HERE}:rule/{{}}"),
    "AWS::StepFunctions::StateMachine": ("StateMachineName", f"arn:aws:states:{_HERE}:stateMachine:{{}}"),
    "AWS::SNS::Topic": ("TopicName", f"arn:aws:sns:{_HERE}:{{}}"),
    "AWS::Logs::LogGroup": ("LogGroupName", f"arn:aws:logs:{_HERE}:log-group:{{}}"),
    "AWS::IAM::Role": ("RoleName", f"arn:aws:iam::{ACCOUNT}:role/{{}}"),
    "AWS::CloudWatch::Alarm": ("AlarmName", f"arn:aws:cloudwatch:{_HERE}:alarm:{{}}"),
    "AWS::ApiGateway::RestApi": ("", f"arn:aws:execute-api:{_HERE}:{{}}"),
}
"""By type: the property that names a resource, and its ARN."""
_REF_IS_ARN = {"AWS::SecretsManager::Secret", "AWS::StepFunctions::StateMachine", "AWS::SNS::Topic"}

_DOCUMENTS = {
    "AWS::IAM::Policy": ("PolicyDocument", "Roles"),
    "AWS::SQS::QueuePolicy": ("PolicyDocument", "Queues"),
    "AWS::SNS::TopicPolicy": ("PolicyDocument", "Topics"),
    "AWS::S3::BucketPolicy": ("PolicyDocument", "Bucket"),
    "AWS::SecretsManager::ResourcePolicy": ("ResourcePolicy", "SecretId"),
    "AWS::KMS::Key": ("KeyPolicy", ""),
    "AWS::DynamoDB::Table": ("ResourcePolicy/PolicyDocument", ""),
    "AWS::IAM::Role": ("AssumeRolePolicyDocument", ""),
}
"""By type: where its policy stands, and which property names what it is attached to (none: itself)."""


class UnreadablePolicy(Exception):
    """A template holds something this evaluator does not know; it must learn it before it may judge."""


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@dataclass(frozen=True)
class Statement:
    """One statement with names for references. ``place`` is where it stands in the template."""

    place: tuple[str | int, ...]
    to_role: bool
    attached: tuple[str, ...]
    """The roles that have it, or the resource that it guards, as ARNs."""
    allows: bool
    principals: tuple[str, ...]
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[tuple[str, str, tuple[str, ...]], ...]
    """(operator, key, values); all must hold."""
    sid: str = ""

    @property
    def policy(self) -> str:
        return str(self.place[0])

    def __str__(self) -> str:
        return f"{self.policy}{f' ({self.sid})' if self.sid else ''}"


@dataclass(frozen=True, order=True)
class Grant:
    """The smallest thing a statement can lose: one action on one resource for one principal."""

    place: tuple[str | int, ...]
    principal: str
    action: str
    resource: str


@dataclass(frozen=True)
class Request:
    """Somebody wants to do something. ``principal`` is a role's ARN, a service's name, the account's root or ``*`` (anybody)."""

    principal: str
    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()
    why: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.principal.rpartition('/')[2]}: {self.action} on {self.resource}" + (f" [{self.why}]" if self.why else "")


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile("".join(".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern), re.DOTALL)


def matches(pattern: str, value: str) -> bool:
    """IAM's wildcards: ``*`` any text, ``?`` one character."""
    return _compiled(pattern).fullmatch(value) is not None if "*" in pattern or "?" in pattern else pattern == value


class Stack:
    """One tenant's template with every reference resolved to a name that only this stack has."""

    def __init__(self, name: str, template: Mapping[str, Any]) -> None:
        self.name = name
        self.template = template
        self.resources: Mapping[str, Any] = template["Resources"]
        self._resolved: dict[str, dict[str, Any]] = {}
        self._read: dict[str, list[Statement]] = {}
        self._guards: dict[str, list[Statement]] = {}
        self._granting: dict[Request, list[frozenset[Grant]]] = {}

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """Properties with references resolved, by logical id."""
        return {name: self.properties(name) for name, resource in self.resources.items() if resource["Type"] == kind}

    def properties(self, logical_id: str) -> dict[str, Any]:
        if logical_id not in self._resolved:
            self._resolved[logical_id] = self.resolve(self.resources[logical_id].get("Properties", {}))
        return self._resolved[logical_id]

    def physical(self, logical_id: str) -> str:
        resource = self.resources[logical_id]
        named, _ = _ARNS.get(resource["Type"], ("", ""))
        given = resource.get("Properties", {}).get(named) if named else None
        if resource["Type"] == "AWS::ApiGateway::Stage":
            given = resource["Properties"]["StageName"]
        return str(self.resolve(given)) if given is not None else f"{self.name}-{logical_id}"

    def arn(self, logical_id: str) -> str:
        resource = self.resources[logical_id]
        pattern = _ARNS.get(resource["Type"], ("", f"arn:aws:{resource['Type'].split('::')[1].lower()}:{_HERE}:{{}}"))[1]
        name = self.physical(logical_id)
        if resource["Type"] == "AWS::Events::Rule" and "EventBusName" in resource["Properties"]:
            name = f"{self.resolve(resource['Properties']['EventBusName'])}/{name}"
        return pattern.format(name)

    @cached_property
    def arns(self) -> dict[str, str]:
        return {name: self.arn(name) for name in self.resources}

    @cached_property
    def logical_ids(self) -> dict[str, str]:
        """By ARN and by what a reference gives (a name, a URL)."""
        return {self.ref(name): name for name in self.resources} | {arn: name for name, arn in self.arns.items()}

    def ref(self, logical_id: str) -> str:
        kind = self.resources[logical_id]["Type"]
        if kind == "AWS::SQS::Queue":
            return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{self.physical(logical_id)}"
        return self.arn(logical_id) if kind in _REF_IS_ARN else self.physical(logical_id)

    def resolve(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.resolve(each) for each in value]
        if not isinstance(value, Mapping):
            return value
        if set(value) == {"Ref"}:
            return _PSEUDO[value["Ref"]] if value["Ref"] in _PSEUDO else self.ref(value["Ref"])
        if set(value) == {"Fn::GetAtt"}:
            name, attribute = value["Fn::GetAtt"]
            if attribute in ("Arn", "TopicArn", "Id"):
                return f"{self.arn(name)}:*" if self.resources[name]["Type"] == "AWS::Logs::LogGroup" else self.arn(name)
            return self.physical(name) if attribute in ("Name", "QueueName", "TopicName") else f"{self.physical(name)}.{attribute}"
        if set(value) == {"Fn::Join"}:
            separator, parts = value["Fn::Join"]
            return str(separator).join(str(self.resolve(part)) for part in parts)
        if set(value) == {"Fn::Sub"} and isinstance(value["Fn::Sub"], str):
            return re.sub(r"\$\{([\w:]+)\}", lambda found: str(self.resolve({"Ref": found[1]})), value["Fn::Sub"])
        if any(key.startswith("Fn::") for key in value):
            raise UnreadablePolicy(f"{self.name}: {json.dumps(value)[:200]} is not resolved here")
        return {key: self.resolve(each) for key, each in value.items()}

    # -- statements

    @cached_property
    def statements(self) -> list[Statement]:
        return [statement for name in self.resources for statement in self._read_in(name)]

    def _read_in(self, name: str) -> list[Statement]:
        if name not in self._read:
            self._read[name] = list(self._statements_of(name))
            read = {statement.place for statement in self._read[name]}
            for place in _places_of_statements(self.resources[name], (name,)):
                if place not in read:
                    raise UnreadablePolicy(f"{self.name}: the policy at {'/'.join(map(str, place))} is not read")
        return self._read[name]

    def _statements_of(self, name: str) -> Iterator[Statement]:
        kind, properties = self.resources[name]["Type"], self.properties(name)
        if kind == "AWS::Lambda::Permission":
            yield self._permission(name, properties)
        for managed in as_list(properties.get("ManagedPolicyArns", [])):
            place: tuple[str | int, ...] = (name, "Properties", "ManagedPolicyArns", as_list(properties["ManagedPolicyArns"]).index(managed))
            yield Statement(place, to_role=True, attached=(self.arn(name),), allows=True, principals=("",), actions=(f"managed:{managed}",), resources=("*",), conditions=())
        if kind not in _DOCUMENTS:
            return
        path, target = _DOCUMENTS[kind]
        document: Any = properties
        for key in path.split("/"):
            document = document.get(key, {})
        attached = tuple(self._attached(each) for each in as_list(properties[target])) if target else (self.arn(name),)
        for index, raw in enumerate(document.get("Statement", [])):
            place = (name, "Properties", *path.split("/"), "Statement", index)
            yield _statement(place, raw, attached, to_role=kind == "AWS::IAM::Policy")

    def _attached(self, value: str) -> str:
        return self.arn(self.logical_ids[value])

    def _permission(self, name: str, properties: Mapping[str, Any]) -> Statement:
        unknown = set(properties) - {"Action", "FunctionName", "Principal", "SourceArn", "SourceAccount"}
        if unknown:
            raise UnreadablePolicy(f"{name}: {sorted(unknown)} of a function's permission")
        keys = {"SourceArn": ("ArnLike", "aws:SourceArn"), "SourceAccount": ("StringEquals", "aws:SourceAccount")}
        conditions = tuple((*keys[key], (str(properties[key]),)) for key in keys if key in properties)
        function = self.arn(self.logical_ids[properties["FunctionName"]])
        principals, actions = (properties["Principal"],), (properties["Action"],)
        return Statement((name,), to_role=False, attached=(function,), allows=True, principals=principals, actions=actions, resources=("*",), conditions=conditions)

    # -- decisions

    def granting(self, request: Request) -> list[frozenset[Grant]]:
        """The layers that must each allow the request, with everything in them that does. An empty layer: refused."""
        if request not in self._granting:
            self._granting[request] = self._layers(request)
        return self._granting[request]

    def _layers(self, request: Request) -> list[frozenset[Grant]]:
        guarding, having = self._guarding(request.resource), self._having.get(request.principal, [])
        if any(_grants([statement for statement in (*guarding, *having) if not statement.allows], request, request.principal)):
            return [frozenset()]
        own = frozenset(_grants([statement for statement in having if statement.allows], request, ""))
        direct = frozenset(_grants([statement for statement in guarding if statement.allows], request, request.principal))
        if request.action == "sts:AssumeRole" or not request.principal.startswith("arn:") or request.principal == ROOT:
            return [direct]
        if request.action.startswith("kms:"):
            delegated = frozenset(_grants([statement for statement in guarding if statement.allows], request, ROOT))
            return [own, delegated]
        return [own | direct]

    def refusing(self, request: Request) -> frozenset[Grant]:
        """Everything that denies the request explicitly."""
        asked = [*self._guarding(request.resource), *self._having.get(request.principal, [])]
        return frozenset(_grants([statement for statement in asked if not statement.allows], request, request.principal))

    @cached_property
    def _having(self) -> dict[str, list[Statement]]:
        """The statements of each role."""
        found: dict[str, list[Statement]] = {}
        for statement in self.statements:
            for role in statement.attached if statement.to_role else ():
                found.setdefault(role, []).append(statement)
        return found

    def _guarding(self, resource: str) -> list[Statement]:
        """The statements of a resource's own policy: asked about the resource itself and what lies in it."""
        if resource not in self._guards:
            guards = [statement for statement in self.statements if not statement.to_role]
            self._guards[resource] = [each for each in guards if concerns(each, resource)]
        return self._guards[resource]


def _grants(statements: Iterable[Statement], request: Request, principal: str) -> Iterator[Grant]:
    for statement in statements:
        actions = [action for action in statement.actions if _does(action, request.action)]
        if not actions:
            continue
        context = dict(request.context)
        if not all(_holds(operator, values, context.get(key)) for operator, key, values in statement.conditions):
            continue
        for who in ("",) if statement.to_role else statement.principals:
            if statement.to_role or who in ("*", principal):
                for action in actions:
                    yield from (Grant(statement.place, who, action, resource) for resource in statement.resources if matches(resource, request.resource))


def concerns(statement: Statement, resource: str) -> bool:
    """Whether the resource is what the statement's policy is attached to, or lies in it."""
    return any(resource == owner or resource.startswith((f"{owner}/", f"{owner}:")) for owner in statement.attached)


@cache
def _does(pattern: str, action: str) -> bool:
    return matches(pattern.lower(), action.lower())


def _holds(operator: str, values: Sequence[str], given: str | None) -> bool:
    if operator not in ("StringEquals", "StringLike", "ArnEquals", "ArnLike", "Bool"):
        raise UnreadablePolicy(f"the condition {operator} is not judged here")
    if given is None:
        return False
    wild = operator in ("StringLike", "ArnEquals", "ArnLike")
    return any(matches(value, given) if wild else value == given for value in values)


def _statement(place: tuple[str | int, ...], raw: Mapping[str, Any], attached: tuple[str, ...], *, to_role: bool) -> Statement:
    unknown = set(raw) - {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
    if unknown:
        raise UnreadablePolicy(f"{place[0]}: {sorted(unknown)} of a statement: say what is allowed, not what is not")
    principals: list[str] = []
    found = raw.get("Principal", {})
    for kind, values in found.items() if isinstance(found, Mapping) else [("AWS", found)]:
        if kind not in ("AWS", "Service"):
            raise UnreadablePolicy(f"{place[0]}: a principal of the kind {kind}")
        principals += as_list(values)
    return Statement(
        place,
        to_role=to_role,
        attached=attached,
        allows=raw["Effect"] == "Allow",
        principals=tuple(principals),
        actions=tuple(as_list(raw["Action"])),
        resources=tuple(as_list(raw.get("Resource", "*"))),
        conditions=tuple((operator, key, tuple(map(str, as_list(values)))) for operator, keys in raw.get("Condition", {}).items() for key, values in keys.items()),
        sid=raw.get("Sid", ""),
    )


def _places_of_statements(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Wherever in the template something looks like a statement."""
    if isinstance(value, Mapping):
        if "Effect" in value and ("Action" in value or "NotAction" in value):
            yield place
            return
        for key, each in value.items():
            if key not in ("Metadata", "DefinitionString"):
                yield from _places_of_statements(each, (*place, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _places_of_statements(each, (*place, index))
