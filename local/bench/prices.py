"""What would AWS ask for what was counted, and for what merely stands there?"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import yaml

SECONDS_A_MONTH = 30 * 24 * 3600

IDLE_POLLERS = 5
LONG_POLL_SECONDS = 20
"""An event source mapping of an empty queue keeps five long polls going: 648,000 requests a month.
(https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html: five concurrent batches to begin with; long polling up to 20 s.)"""

METRICS_PER_METHOD = 5
"""Count, Latency, IntegrationLatency, 4XXError and 5XXError of each method are custom metrics once a stage's method settings ask for them.
(https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html)"""

KEY_ROTATIONS_BILLED = 2


class NoPrice(LookupError):
    """Something costs money, or may, and nobody has said how much: add it to prices.yaml or to the list of what is free."""


@dataclass(frozen=True)
class Line:
    """One line of a bill."""

    what: str
    service: str
    quantity: Decimal
    usd: Decimal


@cache
def table() -> Mapping[str, Any]:
    """The checked-in prices with their date, region and sources."""
    found: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("prices.yaml").read_text(encoding="utf-8"))
    return found


def price_operations(counts: Mapping[str, Decimal | int | float]) -> list[Line]:
    """A bill for what was counted, by the names in prices.yaml. Raises NoPrice for a name that is not there."""
    lines = []
    for name, count in counts.items():
        price = table()["prices"].get(name)
        if price is None:
            raise NoPrice(f"{name!r} has no price in prices.yaml")
        quantity = Decimal(str(count))
        lines.append(Line(name, price["service"], quantity, quantity * Decimal(price["usd"]) / price["per"]))
    return lines


def total(lines: list[Line]) -> Decimal:
    return sum((line.usd for line in lines), Decimal(0))


def by_service(lines: list[Line]) -> dict[str, Decimal]:
    """The bill's sums, dearest first."""
    sums: dict[str, Decimal] = {}
    for line in lines:
        sums[line.service] = sums.get(line.service, Decimal(0)) + line.usd
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


# ------------------------------------------------------------------ what stands there

_FREE = {
    "AWS::ApiGateway::Account": "a setting",
    "AWS::ApiGateway::ApiKey": "a setting",
    "AWS::ApiGateway::Deployment": "a setting",
    "AWS::ApiGateway::GatewayResponse": "a setting",
    "AWS::ApiGateway::Method": "paid by request",
    "AWS::ApiGateway::RequestValidator": "a setting",
    "AWS::ApiGateway::Resource": "a setting",
    "AWS::ApiGateway::RestApi": "paid by request",
    "AWS::ApiGateway::UsagePlan": "a setting",
    "AWS::ApiGateway::UsagePlanKey": "a setting",
    "AWS::CDK::Metadata": "no resource",
    "AWS::DynamoDB::Table": "on demand: paid by request, and by GB of what lies in it",
    "AWS::Events::Archive": "paid by GB",
    "AWS::Events::EventBus": "paid by event",
    "AWS::IAM::ManagedPolicy": "free",
    "AWS::IAM::Policy": "free",
    "AWS::IAM::Role": "free",
    "AWS::KMS::Alias": "free",
    "AWS::Lambda::Function": "paid by request and time",
    "AWS::Lambda::LayerVersion": "free up to the account's 75 GB",
    "AWS::Lambda::Permission": "a setting",
    "AWS::Logs::LogGroup": "paid by GB",
    "AWS::Logs::QueryDefinition": "a setting",
    "AWS::Logs::ResourcePolicy": "a setting",
    "AWS::S3::Bucket": "paid by request and GB",
    "AWS::S3::BucketPolicy": "a setting",
    "AWS::SNS::Subscription": "paid by message",
    "AWS::SNS::Topic": "paid by message",
    "AWS::SNS::TopicPolicy": "a setting",
    "AWS::SQS::Queue": "paid by request; the polls of an event source mapping are its own line",
    "AWS::SQS::QueuePolicy": "a setting",
    "AWS::SecretsManager::ResourcePolicy": "a setting",
    "AWS::StepFunctions::StateMachine": "paid by transition, or by request and time",
}


def price_template(template: Mapping[str, Any], ticks: Mapping[str, Mapping[str, float]]) -> list[Line]:
    """A month of the stack with nothing to do. ``ticks``: what one run of a scheduled function consumes, by the function's name
    (the last word of its log group), as counted on a running system. Raises NoPrice for a resource type it does not know."""
    resources: Mapping[str, Mapping[str, Any]] = template["Resources"]
    lines: list[Line] = []
    for name, resource in resources.items():
        kind, properties = resource["Type"], resource.get("Properties", {})
        if kind in _FREE:
            _refuse_unseen(name, kind, properties)
            continue
        if kind not in _PRICED:
            raise NoPrice(f"{name} is a {kind}: nobody has said what that costs while nothing happens")
        lines += [Line(f"{_label(kind)}: {line.what}", line.service, line.quantity, line.usd) for line in price_operations(_PRICED[kind](properties, resources))]
        if kind in _SCHEDULES and (period := _period_seconds(properties)):
            runs = SECONDS_A_MONTH // period
            for function in _targets(properties, resources):
                counts = {operation: count * runs for operation, count in ticks[function].items()}
                lines += [Line(f"{function} on the clock: {line.what}", line.service, line.quantity, line.usd) for line in price_operations(counts)]
    return _merged(lines)


def after_rotations(template: Mapping[str, Any]) -> Decimal:
    """What the key costs more a month once it has been rotated twice (each of the first two rotations adds a dollar)."""
    rotating = sum(1 for resource in template["Resources"].values() if resource["Type"] == "AWS::KMS::Key" and resource["Properties"].get("EnableKeyRotation"))
    return rotating * KEY_ROTATIONS_BILLED * total(price_operations({"key_months": 1}))


def _label(kind: str) -> str:
    return kind.removeprefix("AWS::")


def _merged(lines: list[Line]) -> list[Line]:
    found: dict[str, Line] = {}
    for line in lines:
        before = found.get(line.what)
        found[line.what] = Line(line.what, line.service, line.quantity + before.quantity, line.usd + before.usd) if before else line
    return sorted((line for line in found.values() if line.quantity), key=lambda line: -line.usd)


def _refuse_unseen(name: str, kind: str, properties: Mapping[str, Any]) -> None:
    """Settings that turn something free into something that is paid for standing there."""
    paid = {
        "AWS::DynamoDB::Table": ("ProvisionedThroughput",),
        "AWS::Lambda::Function": ("SnapStart",),
        "AWS::ApiGateway::RestApi": (),
    }.get(kind, ())
    for setting in paid:
        if properties.get(setting):
            raise NoPrice(f"{name} has {setting}, which is paid for by the hour: price it here first")


def _alarm(properties: Mapping[str, Any], _: Mapping[str, Any]) -> Mapping[str, int]:
    metrics = [metric for metric in properties.get("Metrics", []) if "MetricStat" in metric]
    return {"alarm_metric_months": max(1, len(metrics))}


def _mapping(properties: Mapping[str, Any], _: Mapping[str, Any]) -> Mapping[str, int]:
    if not properties.get("Enabled", True):
        return {}
    if "ProvisionedPollerConfig" in properties:
        raise NoPrice("provisioned pollers are paid for by the hour: price them here first")
    if ":dynamodb:" in str(properties.get("EventSourceArn")) or "StreamArn" in str(properties.get("EventSourceArn")):
        return {}  # Lambda's reads of a table's stream are free
    return {"sqs_requests": IDLE_POLLERS * SECONDS_A_MONTH // LONG_POLL_SECONDS}


def _stage(properties: Mapping[str, Any], resources: Mapping[str, Mapping[str, Any]]) -> Mapping[str, int]:
    if properties.get("CacheClusterEnabled"):
        raise NoPrice("a stage's cache is paid for by the hour: price it here first")
    if not any(setting.get("MetricsEnabled") for setting in properties.get("MethodSettings", [])):
        return {}
    methods = sum(1 for resource in resources.values() if resource["Type"] == "AWS::ApiGateway::Method")
    return {"custom_metric_months": methods * METRICS_PER_METHOD}


def _schedule(properties: Mapping[str, Any], _: Mapping[str, Any]) -> Mapping[str, int]:
    # The price page names no price of its own for a rule that runs on the clock; it is taken as dear as an event.
    period = _period_seconds(properties)
    return {"events": SECONDS_A_MONTH // period} if period else {}


def _period_seconds(properties: Mapping[str, Any]) -> int:
    """Seconds between two runs; 0: it does not run on the clock, or is off."""
    expression = str(properties.get("ScheduleExpression", ""))
    if not expression or properties.get("State") == "DISABLED":
        return 0
    found = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression)
    if found is None:
        raise NoPrice(f"the schedule {expression!r} is not counted yet: only rate(...) is")
    return int(found[1]) * {"minute": 60, "hour": 3600, "day": 86400}[found[2]]


def _targets(properties: Mapping[str, Any], resources: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of the functions a rule or schedule calls."""
    targets = properties.get("Targets") or [properties.get("Target", {})]
    return [function_name(resources[target["Arn"]["Fn::GetAtt"][0]]["Properties"], resources) for target in targets if "Fn::GetAtt" in target.get("Arn", {})]


def function_name(properties: Mapping[str, Any], resources: Mapping[str, Mapping[str, Any]]) -> str:
    """A function as functions/ calls it: the last word of its log group."""
    group = properties["LoggingConfig"]["LogGroup"]
    named = resources[group["Ref"]]["Properties"]["LogGroupName"] if isinstance(group, dict) else group
    return str(named).rpartition("/")[2]


_PRICED: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Mapping[str, Any]]], Mapping[str, int]]] = {
    "AWS::KMS::Key": lambda properties, _: {"key_months": 1},
    "AWS::SecretsManager::Secret": lambda properties, _: {"secret_months": 1},
    "AWS::CloudWatch::Alarm": _alarm,
    "AWS::CloudWatch::CompositeAlarm": lambda properties, _: {"composite_alarm_months": 1},
    "AWS::CloudWatch::Dashboard": lambda properties, _: {"dashboard_months": 1},
    "AWS::Logs::MetricFilter": lambda properties, _: {"custom_metric_months": 1},
    "AWS::Lambda::EventSourceMapping": _mapping,
    "AWS::ApiGateway::Stage": _stage,
    "AWS::Events::Rule": _schedule,
    "AWS::Scheduler::Schedule": _schedule,
    "AWS::WAFv2::WebACL": lambda properties, _: {"web_acl_months": 1, "web_acl_rule_months": len(properties.get("Rules", []))},
}
_SCHEDULES = ("AWS::Events::Rule", "AWS::Scheduler::Schedule")
