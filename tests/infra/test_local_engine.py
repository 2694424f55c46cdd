from __future__ import annotations

import json

import pytest

from infra import local_engine
from tests.infra.conftest import Synthesis
from tests.infra.permissions import grants

TENANTS = ("acme_industrial", "harbor_supply")


@pytest.mark.parametrize("tenant", TENANTS)
def test_the_local_stack_differs_only_in_what_the_aspect_names(aws: Synthesis, local: Synthesis, tenant: str) -> None:
    missing = set(aws.templates[tenant]["Resources"]) - set(local.templates[tenant]["Resources"])
    kinds = {aws.templates[tenant]["Resources"][name]["Type"] for name in missing}

    # The deployment's name is a hash of the API it deploys, account and region included.
    assert kinds - {"AWS::ApiGateway::Deployment"} == {"AWS::Events::Archive", "AWS::SQS::QueuePolicy", "AWS::S3::BucketPolicy"}
    assert set(local.templates[tenant]["Outputs"]) == set(aws.templates[tenant]["Outputs"])


@pytest.mark.parametrize("tenant", TENANTS)
def test_nothing_asks_the_local_engine_for_what_it_cannot_do(local: Synthesis, tenant: str) -> None:
    text = json.dumps(local.templates[tenant])

    assert "aws:SecureTransport" not in text
    for kind in ("AWS::Events::Archive", "AWS::SecretsManager::RotationSchedule", "AWS::CloudWatch::CompositeAlarm", "AWS::SecretsManager::ResourcePolicy"):
        assert not local.resources(tenant, kind)
    assert not [alarm for alarm in local.resources(tenant, "AWS::CloudWatch::Alarm").values() if "Metrics" in alarm["Properties"]]


@pytest.mark.parametrize("tenant", TENANTS)
def test_a_crash_recovers_in_seconds_locally(local: Synthesis, tenant: str) -> None:
    template = local.templates[tenant]
    for mapping in local.resources(tenant, "AWS::Lambda::EventSourceMapping").values():
        queue = template["Resources"][mapping["Properties"]["EventSourceArn"]["Fn::GetAtt"][0]]
        function = template["Resources"][mapping["Properties"]["FunctionName"]["Ref"]]
        assert queue["Properties"]["VisibilityTimeout"] == function["Properties"]["Timeout"] + 5


@pytest.mark.parametrize("tenant", TENANTS)
def test_a_local_stack_can_be_thrown_away(local: Synthesis, tenant: str) -> None:
    assert not [name for name, resource in local.templates[tenant]["Resources"].items() if resource.get("DeletionPolicy") == "Retain"]
    assert not [table for table in local.resources(tenant, "AWS::DynamoDB::Table").values() if table["Properties"]["DeletionProtectionEnabled"]]


@pytest.mark.parametrize("tenant", TENANTS)
def test_the_policy_of_the_bus_stands_locally_too(local: Synthesis, tenant: str) -> None:
    assert "events.amazonaws.com" in json.dumps(local.resources(tenant, "AWS::SQS::QueuePolicy"))


def test_each_difference_is_said_once_with_its_reason(local: Synthesis) -> None:
    lines = [line for line in local.said if line.startswith("local engine: ")]

    expected = [change.what for change in vars(local_engine).values() if isinstance(change, local_engine.Change)] + list(local_engine.LEFT_OUT)
    assert len(lines) == len(set(lines)) == len(expected)
    for what in expected:
        assert [line for line in lines if what in line and line.endswith(")")], f"nobody was told: {what}"


def test_only_locally_may_a_task_be_answered_without_naming_its_workflow(aws: Synthesis, local: Synthesis) -> None:
    def answered(synthesis: Synthesis) -> set[bool]:
        return {grant.resource == '"*"' for grant in grants(synthesis.templates["acme_industrial"]) if grant.action.startswith("states:SendTask")}

    assert (answered(aws), answered(local)) == ({False}, {True})
