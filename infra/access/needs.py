"""What must each integration of a stack be able to do, and what must nobody? From the template's resources and the functions' code, not from its policies.

A new function needs no entry here: its calls are read from its code (``calls.py``). A new kind of integration needs one function below.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from infra.access.calls import Call
from infra.access.policies import ACCOUNT, OTHER_ACCOUNT, PARTITION, REGION, ROOT, Request, Stack

Roads = Mapping[str, Mapping[Call, str]]
"""By function: its calls, each with the road that leads to it."""

KEY_FOR = {
    # The CDK's own grants on a table with a customer's key. https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html
    "dynamodb:read": ("Decrypt", "DescribeKey"),
    "dynamodb:write": ("Encrypt", "GenerateDataKey", "ReEncryptFrom", "ReEncryptTo"),
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html
    "sqs:SendMessage": ("GenerateDataKey", "Decrypt"),
    "sqs:ReceiveMessage": ("Decrypt",),
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
    "s3:PutObject": ("GenerateDataKey",),
    "s3:GetObject": ("Decrypt",),
    # https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html
    "secretsmanager:GetSecretValue": ("Decrypt",),
    # https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
    "sns:Publish": ("GenerateDataKey", "Decrypt"),
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
    "logs": ("Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo", "GenerateDataKey", "DescribeKey"),
    # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-encryption-key-policy.html
    "events:bus": ("DescribeKey", "GenerateDataKey", "Decrypt"),
    # https://docs.aws.amazon.com/eventbridge/latest/userguide/encryption-archives.html
    "events:archive": ("DescribeKey", "GenerateDataKey", "Decrypt", "ReEncryptFrom", "ReEncryptTo"),
}
"""Which operations of KMS a call of an encrypted resource needs, where AWS or the CDK says so."""

_READS = {"GetItem", "BatchGetItem", "Query", "Scan", "ConditionCheckItem"}

# https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
LOG_DELIVERY = tuple(
    f"logs:{action}"
    for action in (
        "CreateLogDelivery",
        "GetLogDelivery",
        "UpdateLogDelivery",
        "DeleteLogDelivery",
        "ListLogDeliveries",
        "PutResourcePolicy",
        "DescribeResourcePolicies",
        "DescribeLogGroups",
    )
)
# https://docs.aws.amazon.com/step-functions/latest/dg/concepts-xray-tracing.html
TRACING = tuple(f"xray:{action}" for action in ("PutTraceSegments", "PutTelemetryRecords", "GetSamplingRules", "GetSamplingTargets"))

TLS_ONLY = {"AWS::SQS::Queue": ("sqs:SendMessage", "sqs:ReceiveMessage"), "AWS::S3::Bucket": ("s3:ListBucket", "s3:GetObject", "s3:PutObject"), "AWS::SNS::Topic": ("sns:Publish",)}
"""Whatever has a policy of its own takes no call without TLS. (DynamoDB, Lambda, KMS and Secrets Manager answer nothing else anyway.)"""

APPEND_ONLY = ("dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:PartiQLUpdate", "dynamodb:PartiQLDelete")
"""What nobody may do to the audit trail, whatever their role says."""

API_LOGGING = f"managed:arn:{PARTITION}:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"


@dataclass
class Needs:
    """``allowed``: each must be possible. ``denied``: each must be denied explicitly. ``refused``: each must not be possible."""

    allowed: list[Request] = field(default_factory=list)
    denied: list[Request] = field(default_factory=list)
    refused: list[Request] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def of(stack: Stack, roads: Roads) -> Needs:
    """Everything that the stack's integrations need."""
    needs = Needs()
    for collect in (_functions, _sources, _rules, _bus, _machines, _api, _alarms, _logs, _roles, _keys):
        needs.allowed += collect(stack, roads, needs)
    for kind, actions in TLS_ONLY.items():
        for name in stack.of_type(kind):
            for action in actions:
                resource = f"{stack.arns[name]}/object" if action.endswith("Object") else stack.arns[name]
                needs.denied.append(Request("*", action, resource, (("aws:SecureTransport", "false"),), "TLS only"))
    audit = _table_behind(stack, "AuditTable")
    needs.denied += [Request("*", action, stack.arns[audit], why="the audit trail only grows") for action in APPEND_ONLY]
    needs.refused += [
        replace(request, context=tuple((key, _of_somebody_else(key, value, stack)) for key, value in request.context)) for request in needs.allowed if request.context
    ]
    return needs


def _of_somebody_else(key: str, value: str, stack: Stack) -> str:
    """What the same service says when it acts for another account, or for another stack of this one."""
    if key == "aws:SourceAccount":
        return OTHER_ACCOUNT
    for spelling in (stack.name, stack.name.removeprefix("crossdock-").replace("-", "_"), stack.name.replace("-", "")):
        value = value.replace(spelling, "another")
    return value


# -- by integration


def _functions(stack: Stack, roads: Roads, needs: Needs) -> Iterator[Request]:
    """A function: its own log, its calls, and the key of what it calls."""
    for properties in stack.of_type("AWS::Lambda::Function").values():
        variables = properties["Environment"]["Variables"]
        name, role = variables["POWERTOOLS_SERVICE_NAME"], properties["Role"]
        group = stack.arns[stack.logical_ids[properties["LoggingConfig"]["LogGroup"]]]
        for action in ("CreateLogStream", "PutLogEvents"):
            yield Request(role, f"logs:{action}", f"{group}:log-stream:2026/01/01/[1]0", why=f"{name} writes its log")
        if name not in roads:
            needs.problems.append(f"{name} stands in the stack, but its code was not read")
            continue
        for call, road in roads[name].items():
            setting = call.setting.partition("/")[0]
            value = variables.get(f"CROSSDOCK_{setting.upper()}")
            if value is None:
                needs.problems.append(f"missing: {name} calls {call.action} ({road}), but its environment does not name {setting}")
                continue
            yield from _call(stack, role, call, stack.logical_ids[value], f"{name}: {road}")
        named = {variable.removeprefix("CROSSDOCK_").lower() for variable in variables if variable.startswith("CROSSDOCK_")}
        called = {call.setting.partition("/")[0] for call in roads[name]}
        needs.problems += [f"unneeded: {name} is told {setting}, and nothing in its code calls it" for setting in sorted(named - called)]


def _call(stack: Stack, role: str, call: Call, target: str, why: str) -> Iterator[Request]:
    arn = stack.arns[target]
    resource = arn
    if call.setting.endswith("/index"):
        (index,) = (each["IndexName"] for each in stack.properties(target)["GlobalSecondaryIndexes"])
        resource = f"{arn}/index/{index}"
    elif call.action.startswith("s3:"):
        resource = f"{arn}/deliveries/storefront/1"
    elif call.action == "states:DescribeExecution":
        resource = f"{arn.replace(':stateMachine:', ':execution:')}:an-order"
    yield Request(role, call.action, resource, why=why)
    service, _, action = call.action.partition(":")
    operation = f"dynamodb:{'read' if action in _READS else 'write'}" if service == "dynamodb" else call.action
    yield from _with_key(stack, role, operation, target, why)


def _with_key(stack: Stack, principal: str, operation: str, target: str, why: str, context: tuple[tuple[str, str], ...] = ()) -> Iterator[Request]:
    """What the key of an encrypted resource must allow besides."""
    key = _key_of(stack, target)
    if key is not None:
        for action in KEY_FOR.get(operation, ()):
            yield Request(principal, f"kms:{action}", stack.arns[key], context, f"{why}; {operation} of {target}, which is encrypted")


def _key_of(stack: Stack, target: str) -> str | None:
    properties = stack.properties(target)
    found = (
        properties.get("KmsMasterKeyId")
        or properties.get("KmsKeyId")
        or properties.get("KmsKeyIdentifier")
        or properties.get("SSESpecification", {}).get("KMSMasterKeyId")
        or next(
            (rule["ServerSideEncryptionByDefault"].get("KMSMasterKeyID") for rule in properties.get("BucketEncryption", {}).get("ServerSideEncryptionConfiguration", [])),
            None,
        )
    )
    return stack.logical_ids[found] if found else None


def _sources(stack: Stack, roads: Roads, needs: Needs) -> Iterator[Request]:
    """Lambda takes messages for a function with the function's role. https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html"""
    for name, properties in stack.of_type("AWS::Lambda::EventSourceMapping").items():
        queue = stack.logical_ids[properties["EventSourceArn"]]
        role = stack.properties(stack.logical_ids[properties["FunctionName"]])["Role"]
        for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes"):
            yield Request(role, f"sqs:{action}", stack.arns[queue], why=name)
        yield from _with_key(stack, role, "sqs:ReceiveMessage", queue, name)


def _rules(stack: Stack, roads: Roads, needs: Needs) -> Iterator[Request]:
    """EventBridge speaks for its rule: to a queue (and the rule's dead letters), or to a function."""
    for name, properties in stack.of_type("AWS::Events::Rule").items():
        source = (("aws:SourceArn", stack.arns[name]), ("aws:SourceAccount", ACCOUNT))
        for target in properties["Targets"]:
            arns = [target["Arn"], *([target["DeadLetterConfig"]["Arn"]] if "DeadLetterConfig" in target else [])]
            for arn in arns:
                where = stack.logical_ids[arn]
                kind = stack.resources[where]["Type"]
                if kind == "AWS::SQS::Queue":
                    yield Request("events.amazonaws.com", "sqs:SendMessage", arn, source, name)
                    yield from _with_key(stack, "events.amazonaws.com", "sqs:SendMessage", where, name, (("aws:SourceAccount", ACCOUNT),))
                elif kind == "AWS::Lambda::Function":
                    yield Request("events.amazonaws.com", "lambda:InvokeFunction", arn, source, name)
                else:
                    needs.problems.append(f"{name} has a target of the kind {kind}, whose needs are not written down in infra/access/needs.py")


def _bus(stack: Stack, roads: Roads, needs: Needs) -> Iterator[Request]:
    for name in stack.of_type("AWS::Events::EventBus"):
        yield from _with_key(stack, "events.amazonaws.com", "events:bus", name, name, _bus_context(stack.arns[name]))
    for name, properties in stack.of_type("AWS::Events::Archive").items():
        yield from _with_key(stack, "events.amazonaws.com", "events:archive", name, name, _bus_context(properties["SourceArn"]))


def _bus_context(bus: str) -> tuple[tuple[str, str], ...]:
    return (("aws:SourceAccount", ACCOUNT), ("aws:SourceArn", bus), ("kms:EncryptionContext:aws:events:event-bus:arn", bus))


def _machines(stack: Stack, roads: Roads, needs: Needs) -> Iterator[Request]:
    """A state machine: what its definition's tasks do, its log, its traces."""
    for name, properties in stack.of_type("AWS::StepFunctions::StateMachine").items():
        role = properties["RoleArn"]
        text = re.sub(r"\$\{(\w+)\}", lambda found, given=properties["DefinitionSubstitutions"]: str(given[found[1]]), properties["DefinitionString"])  # type: ignore[misc]
        for step, state in json.loads(text)["States"].items():
            if state["Type"] == "Task":
                yield from _task(stack, role, state, f"{name}.{step}", needs)
            elif state["Type"] not in ("Choice", "Succeed", "Fail", "Pass", "Wait"):
                needs.problems.append(f"{name}.{step} is a {state['Type']}, whose needs are not written down in infra/access/needs.py")
        if properties.get("LoggingConfiguration", {}).get("Level", "OFF") != "OFF":
            yield from (Request(role, action, "*", why=f"{name} logs") for action in LOG_DELIVERY)
        if properties.get("TracingConfiguration", {}).get("Enabled"):
            yield from (Request(role, action, "*", why=f"{name} is traced") for action in TRACING)


def _task(stack: Stack, role: str, state: Mapping[str, Any], why: str, needs: Needs) -> Iterator[Request]:
    integration = state["Resource"].split(":::")[1].removesuffix(".waitForTaskToken")
    arguments = state["Arguments"]
    if integration == "lambda:invoke":
        yield Request(role, "lambda:InvokeFunction", arguments["FunctionName"], why=why)
    elif integration == "sqs:sendMessage":
        queue = stack.logical_ids[arguments["QueueUrl"]]
        yield Request(role, "sqs:SendMessage", stack.arns[queue], why=why)
        yield from _with_key(stack, role, "sqs:SendMessage", queue, why)
    elif integration == "aws-sdk:sfn:startSyncExecution":
        yield Request(role, "states:StartSyncExecution", arguments["StateMachineArn"], why=why)
    else:
        needs.problems.append(f"{why} calls {integration}, whose needs are not written down in infra/access/needs.py")


def _api(stack: Stack, roads: Roads, needs: Needs) -> Iterator[Request]:
    """API Gateway calls the function behind each method, for each of its stages."""
    stages = [stack.physical(name) for name in stack.of_type("AWS::ApiGateway::Stage")]
    for name, properties in stack.of_type("AWS::ApiGateway::Method").items():
        found = re.search(r"/functions/(.+)/invocations$", str(properties["Integration"].get("Uri", "")))
        if found is None:
            needs.problems.append(f"{name} does not call a function: its needs are not written down in infra/access/needs.py")
            continue
        api = stack.arns[stack.logical_ids[properties["RestApiId"]]]
        for verb in ("GET", "POST") if properties["HttpMethod"] == "ANY" else (properties["HttpMethod"],):
            for stage in stages:
                source = f"{api}/{stage}/{verb}{_path(stack, properties['ResourceId'])}"
                yield Request("apigateway.amazonaws.com", "lambda:InvokeFunction", found[1], (("aws:SourceArn", source), ("aws:SourceAccount", ACCOUNT)), name)
    logs = any(setting.get("LoggingLevel", "OFF") != "OFF" for stage in stack.of_type("AWS::ApiGateway::Stage").values() for setting in stage.get("MethodSettings", []))
    for properties in stack.of_type("AWS::ApiGateway::Account").values():
        if logs:
            yield Request(properties["CloudWatchRoleArn"], API_LOGGING, "*", why="the API logs")


def _path(stack: Stack, resource: str) -> str:
    name = stack.logical_ids.get(resource)
    if name is None or stack.resources[name]["Type"] != "AWS::ApiGateway::Resource":
        return ""
    properties = stack.properties(name)
    return f"{_path(stack, properties['ParentId'])}/{re.sub(r'{.*}', 'something', properties['PathPart'])}"


def _alarms(stack: Stack, roads: Roads, needs: Needs) -> Iterator[Request]:
    """CloudWatch publishes for the alarm. https://repost.aws/knowledge-center/cloudwatch-receive-sns-for-alarm-trigger"""
    for name, properties in stack.of_type("AWS::CloudWatch::Alarm").items():
        for topic in {arn for kind in ("AlarmActions", "OKActions", "InsufficientDataActions") for arn in properties.get(kind, [])}:
            yield Request("cloudwatch.amazonaws.com", "sns:Publish", topic, (("aws:SourceArn", stack.arns[name]), ("aws:SourceAccount", ACCOUNT)), name)
            yield from _with_key(stack, "cloudwatch.amazonaws.com", "sns:Publish", stack.logical_ids[topic], name, (("aws:SourceAccount", ACCOUNT),))


def _logs(stack: Stack, roads: Roads, needs: Needs) -> Iterator[Request]:
    for name in stack.of_type("AWS::Logs::LogGroup"):
        yield from _with_key(stack, f"logs.{REGION}.amazonaws.com", "logs", name, name, (("kms:EncryptionContext:aws:logs:arn", stack.arns[name]),))


def _roles(stack: Stack, roads: Roads, needs: Needs) -> Iterator[Request]:
    """Each role is taken by the one service that acts with it."""
    users = {
        "lambda.amazonaws.com": [each["Role"] for each in stack.of_type("AWS::Lambda::Function").values()],
        "states.amazonaws.com": [each["RoleArn"] for each in stack.of_type("AWS::StepFunctions::StateMachine").values()],
        "apigateway.amazonaws.com": [each["CloudWatchRoleArn"] for each in stack.of_type("AWS::ApiGateway::Account").values()],
    }
    for service, roles in users.items():
        yield from (Request(service, "sts:AssumeRole", role, why="acts with this role") for role in roles)


def _keys(stack: Stack, roads: Roads, needs: Needs) -> Iterator[Request]:
    """A key that its own account cannot administer is lost. https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html"""
    for name in stack.of_type("AWS::KMS::Key"):
        yield from (Request(ROOT, f"kms:{action}", stack.arns[name], why="the account administers its key") for action in ("PutKeyPolicy", "ScheduleKeyDeletion"))


def _table_behind(stack: Stack, output: str) -> str:
    return stack.logical_ids[str(stack.resolve(stack.template["Outputs"][output]["Value"]))]
