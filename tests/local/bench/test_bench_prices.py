"""Are prices what AWS asks for what was counted, and is nothing that costs money overlooked?"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from local.bench import prices


def template(**resources: dict[str, Any]) -> dict[str, Any]:
    return {"Resources": resources}


def resource(kind: str, **properties: Any) -> dict[str, Any]:
    return {"Type": kind, "Properties": properties}


def test_every_price_says_where_it_is_from_and_the_table_says_of_when_and_where() -> None:
    assert prices.table()["date"]
    assert prices.table()["region"] == "us-east-1"
    for name, price in prices.table()["prices"].items():
        assert price["source"].startswith("https://aws.amazon.com/"), name
        assert price["seen"] in ("page", "memory"), name
        assert Decimal(price["usd"]) > 0, name


def test_a_thousand_orders_of_four_transitions_cost_ten_cents_of_transitions() -> None:
    lines = prices.price_operations({"workflow_transitions": 4000})

    assert prices.total(lines) == Decimal("0.1")
    assert prices.by_service(lines) == {"Step Functions": Decimal("0.1")}


def test_what_was_counted_is_priced_each_by_its_own_price_and_summed_by_service() -> None:
    lines = prices.price_operations({"lambda_requests": 1_000_000, "lambda_gb_seconds": 1000, "dynamodb_write_units": 2_000_000})

    assert prices.by_service(lines) == {"DynamoDB": Decimal("1.25"), "Lambda": Decimal("0.2133334")}


def test_a_count_without_a_price_is_refused_and_not_taken_as_free() -> None:
    with pytest.raises(prices.NoPrice, match="quantum_leaps"):
        prices.price_operations({"quantum_leaps": 1})


def test_a_resource_that_nobody_has_priced_fails_the_bill() -> None:
    with pytest.raises(prices.NoPrice, match="Relay is a AWS::EC2::NatGateway"):
        prices.price_template(template(Relay=resource("AWS::EC2::NatGateway")), {})


def test_a_table_that_is_paid_for_by_the_hour_is_not_taken_as_free() -> None:
    assert prices.price_template(template(State=resource("AWS::DynamoDB::Table", BillingMode="PAY_PER_REQUEST")), {}) == []
    with pytest.raises(prices.NoPrice, match="ProvisionedThroughput"):
        prices.price_template(template(State=resource("AWS::DynamoDB::Table", ProvisionedThroughput={"ReadCapacityUnits": 5})), {})


def test_an_empty_queue_with_a_function_behind_it_costs_the_polls_of_a_month() -> None:
    [line] = prices.price_template(template(Source=resource("AWS::Lambda::EventSourceMapping", EventSourceArn={"Fn::GetAtt": ["Queue", "Arn"]})), {})

    assert line.quantity == 648_000
    assert line.usd == Decimal("0.2592")


def test_an_alarm_over_three_metrics_is_paid_three_times() -> None:
    metrics = [{"Id": f"m{number}", "MetricStat": {}} for number in range(3)]
    lines = prices.price_template(
        template(
            One=resource("AWS::CloudWatch::Alarm", MetricName="Errors"),
            Three=resource("AWS::CloudWatch::Alarm", Metrics=[*metrics, {"Id": "sum", "Expression": "m0+m1+m2"}]),
        ),
        {},
    )

    assert [(line.quantity, line.usd) for line in lines] == [(4, Decimal("0.4"))]


def test_detailed_metrics_of_a_stage_are_custom_metrics_of_each_method() -> None:
    methods = {f"Method{number}": resource("AWS::ApiGateway::Method") for number in range(3)}
    quiet = resource("AWS::ApiGateway::Stage", MethodSettings=[{"MetricsEnabled": False}])
    loud = resource("AWS::ApiGateway::Stage", MethodSettings=[{"MetricsEnabled": True}])

    assert prices.price_template(template(Stage=quiet, **methods), {}) == []
    assert prices.total(prices.price_template(template(Stage=loud, **methods), {})) == Decimal("4.5")


def test_a_function_on_the_clock_is_priced_by_what_one_run_of_it_consumes() -> None:
    stack = template(
        Log=resource("AWS::Logs::LogGroup", LogGroupName="/crossdock/acme/watch_deadlines"),
        Watch=resource("AWS::Lambda::Function", LoggingConfig={"LogGroup": {"Ref": "Log"}}),
        Rule=resource("AWS::Events::Rule", ScheduleExpression="rate(1 minute)", State="ENABLED", Targets=[{"Arn": {"Fn::GetAtt": ["Watch", "Arn"]}}]),
        Off=resource("AWS::Events::Rule", ScheduleExpression="rate(1 minute)", State="DISABLED", Targets=[{"Arn": {"Fn::GetAtt": ["Watch", "Arn"]}}]),
    )

    lines = prices.price_template(stack, {"watch_deadlines": {"lambda_requests": 1, "dynamodb_read_units": 2}})

    assert {line.what: line.quantity for line in lines} == {
        "Events::Rule: events": 43_200,
        "watch_deadlines on the clock: lambda_requests": 43_200,
        "watch_deadlines on the clock: dynamodb_read_units": 86_400,
    }


def test_a_schedule_that_cannot_be_counted_is_refused() -> None:
    with pytest.raises(prices.NoPrice, match="cron"):
        prices.price_template(template(Rule=resource("AWS::Events::Rule", ScheduleExpression="cron(0 12 * * ? *)")), {})


def test_a_key_that_is_rotated_costs_a_dollar_more_after_each_of_two_rotations() -> None:
    assert prices.after_rotations(template(Key=resource("AWS::KMS::Key", EnableKeyRotation=True))) == 2
    assert prices.after_rotations(template(Key=resource("AWS::KMS::Key"))) == 0
