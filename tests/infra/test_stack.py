from __future__ import annotations

import json
import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

from tests.infra.conftest import ROOT, Synthesis
from tests.infra.permissions import as_list, by_function, grants, logical_id

TENANTS = ("acme_industrial", "harbor_supply")
STAGES = ("inbound", "work", "outbound")

pytestmark = pytest.mark.parametrize("tenant", TENANTS)


def _only(items: list[dict[str, Any]]) -> dict[str, Any]:
    assert len(items) == 1, f"{len(items)} instead of one"
    return items[0]


def test_cdk_nag_has_no_finding_that_is_not_accepted_with_a_reason(aws: Synthesis, tenant: str) -> None:
    report = json.loads((aws.folder / "validation-report.json").read_text())

    assert report["pluginReports"] == []
    accepted = [rule for resource in aws.templates[tenant]["Resources"].values() for rule in resource.get("Metadata", {}).get("cdk_nag", {}).get("rules_to_suppress", [])]
    assert accepted, "the accepted findings are written into the template"
    assert all(len(rule["reason"]) > 40 for rule in accepted)
    assert not [rule for rule in accepted if rule["id"] in ("AwsSolutions-IAM4", "AwsSolutions-IAM5")], "a wildcard is accepted by its exact text only"


def test_every_function_of_the_repository_stands_in_the_stack_and_no_other(aws: Synthesis, tenant: str) -> None:
    folders = {file.parent.name for file in (ROOT / "functions").glob("*/handler.py")}

    assert set(by_function(aws.templates[tenant])) == folders


def test_every_function_has_a_role_and_a_log_of_its_own(aws: Synthesis, tenant: str) -> None:
    functions = list(aws.resources(tenant, "AWS::Lambda::Function").values())

    assert len({json.dumps(function["Properties"]["Role"]) for function in functions}) == len(functions)
    assert len({json.dumps(function["Properties"]["LoggingConfig"]) for function in functions}) == len(functions)


def test_functions_run_the_layers_python_on_arm(aws: Synthesis, tenant: str) -> None:
    for function in aws.resources(tenant, "AWS::Lambda::Function").values():
        assert (function["Properties"]["Runtime"], function["Properties"]["Architectures"]) == ("python3.13", ["arm64"])


def test_every_log_is_encrypted_and_forgotten_after_a_month(aws: Synthesis, tenant: str) -> None:
    groups = aws.resources(tenant, "AWS::Logs::LogGroup")

    assert groups
    for group in groups.values():
        assert group["Properties"]["RetentionInDays"] == 30
        assert "KmsKeyId" in group["Properties"]


def test_every_stage_has_its_dead_letters_for_fourteen_days(aws: Synthesis, tenant: str) -> None:
    queues = aws.resources(tenant, "AWS::SQS::Queue")
    by_name = {queue["Properties"]["QueueName"]: (name, queue["Properties"]) for name, queue in queues.items()}
    stack = f"crossdock-{tenant.replace('_', '-')}"

    for stage in STAGES:
        _, main = by_name.pop(f"{stack}-{stage}")
        dead_id, dead = by_name.pop(f"{stack}-{stage}-dead-letters")
        assert main["RedrivePolicy"]["deadLetterTargetArn"] == {"Fn::GetAtt": [dead_id, "Arn"]}
        assert dead["MessageRetentionPeriod"] == 14 * 24 * 3600
        assert main["MessageRetentionPeriod"] < dead["MessageRetentionPeriod"], "a moved message keeps its age"
        assert dead["RedriveAllowPolicy"]["redrivePermission"] == "byQueue"
        assert json.dumps(dead["RedriveAllowPolicy"]["sourceQueueArns"]).endswith(f':{stack}-{stage}"]]}}]')
    assert not by_name


def test_queues_try_as_often_as_the_handlers_believe(aws: Synthesis, tenant: str) -> None:
    from crossdock.batches import LAST_TRY
    from crossdock.domain.exception_record import QueueName

    tries = {
        queue["Properties"]["QueueName"].rsplit("-", 1)[1]: queue["Properties"]["RedrivePolicy"]["maxReceiveCount"]
        for queue in aws.resources(tenant, "AWS::SQS::Queue").values()
        if "RedrivePolicy" in queue["Properties"]
    }

    assert tries == {stage.value: LAST_TRY[stage] for stage in QueueName}


def test_a_message_stays_invisible_for_six_times_its_function_s_time(aws: Synthesis, tenant: str) -> None:
    template = aws.templates[tenant]
    for mapping in aws.resources(tenant, "AWS::Lambda::EventSourceMapping").values():
        queue = template["Resources"][mapping["Properties"]["EventSourceArn"]["Fn::GetAtt"][0]]
        function = template["Resources"][mapping["Properties"]["FunctionName"]["Ref"]]
        assert queue["Properties"]["VisibilityTimeout"] == 6 * function["Properties"]["Timeout"]


def test_one_failed_message_does_not_bring_its_batch_back(aws: Synthesis, tenant: str) -> None:
    mappings = aws.resources(tenant, "AWS::Lambda::EventSourceMapping").values()

    assert len(mappings) == len(STAGES)
    for mapping in mappings:
        assert mapping["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert mapping["Properties"]["ScalingConfig"]["MaximumConcurrency"] >= 2


def test_everything_at_rest_is_encrypted_with_the_tenant_s_one_key(aws: Synthesis, tenant: str) -> None:
    (key,) = aws.resources(tenant, "AWS::KMS::Key")
    where = {
        "AWS::SQS::Queue": "KmsMasterKeyId",
        "AWS::DynamoDB::Table": "SSESpecification",
        "AWS::S3::Bucket": "BucketEncryption",
        "AWS::SecretsManager::Secret": "KmsKeyId",
        "AWS::Logs::LogGroup": "KmsKeyId",
        "AWS::Events::EventBus": "KmsKeyIdentifier",
        "AWS::SNS::Topic": "KmsMasterKeyId",
    }

    assert aws.resources(tenant, "AWS::KMS::Key")[key]["Properties"]["EnableKeyRotation"] is True
    for kind, field in where.items():
        found = aws.resources(tenant, kind)
        assert found, f"no {kind}"
        for name, resource in found.items():
            assert key in json.dumps(resource["Properties"][field]), f"{name} is not encrypted with the tenant's key"


def test_queues_archive_and_topic_refuse_plain_http(aws: Synthesis, tenant: str) -> None:
    secured: set[str] = set()
    for kind, field in (("AWS::SQS::QueuePolicy", "Queues"), ("AWS::S3::BucketPolicy", "Bucket"), ("AWS::SNS::TopicPolicy", "Topics")):
        for policy in aws.resources(tenant, kind).values():
            for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
                if statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}:
                    secured |= {target["Ref"] for target in as_list(policy["Properties"][field])}

    for kind in ("AWS::SQS::Queue", "AWS::S3::Bucket", "AWS::SNS::Topic"):
        assert set(aws.resources(tenant, kind)) <= secured


def test_the_archive_is_versioned_locked_and_private(aws: Synthesis, tenant: str) -> None:
    (bucket,) = [item["Properties"] for item in aws.resources(tenant, "AWS::S3::Bucket").values()]

    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["ObjectLockEnabled"] is True
    assert bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]["Mode"] == "GOVERNANCE"
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}


def test_tables_survive_a_mistake(aws: Synthesis, tenant: str) -> None:
    tables = aws.resources(tenant, "AWS::DynamoDB::Table")

    assert len(tables) == 2
    for table in tables.values():
        assert table["DeletionPolicy"] == "Retain"
        assert table["Properties"]["DeletionProtectionEnabled"] is True
        assert table["Properties"]["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
        assert table["Properties"]["BillingMode"] == "PAY_PER_REQUEST"


def test_no_role_can_change_or_remove_an_audit_entry(aws: Synthesis, tenant: str) -> None:
    template = aws.templates[tenant]
    audit = logical_id(template, "AuditTable")

    allowed = {grant.action for grant in grants(template) if f'"{audit}"' in grant.resource}
    (denied,) = template["Resources"][audit]["Properties"]["ResourcePolicy"]["PolicyDocument"]["Statement"]

    assert allowed == {"dynamodb:PutItem", "dynamodb:Query"}
    assert denied["Effect"] == "Deny"
    assert {"dynamodb:UpdateItem", "dynamodb:DeleteItem"} <= set(denied["Action"])


def test_no_policy_of_ours_has_a_wildcard_action(aws: Synthesis, tenant: str) -> None:
    assert not [grant for grant in grants(aws.templates[tenant]) if "*" in grant.action]


def test_a_wildcard_resource_is_only_where_the_service_demands_it(aws: Synthesis, tenant: str) -> None:
    wild = {grant.sid for grant in grants(aws.templates[tenant]) if grant.resource == '"*"'}
    partly = {grant.sid for grant in grants(aws.templates[tenant]) if "*" in grant.resource and grant.resource != '"*"'}

    assert wild == {"Log"}
    assert partly == {"Archive", "DescribeExecutions"}


def test_every_environment_variable_is_one_that_the_settings_know(aws: Synthesis, tenant: str) -> None:
    from crossdock.aws.settings import PREFIX, Settings

    known = {PREFIX + field.name.upper() for field in fields(Settings)} | {"POWERTOOLS_SERVICE_NAME", "POWERTOOLS_LOG_LEVEL", "PYDANTIC_DISABLE_PLUGINS"}
    used = {variable for item in aws.resources(tenant, "AWS::Lambda::Function").values() for variable in item["Properties"]["Environment"]["Variables"]}

    assert used == known, "a variable nobody reads, or a setting nobody gets"


def test_the_settings_find_everything_in_the_outputs(aws: Synthesis, tenant: str) -> None:
    from crossdock.aws.settings import Settings

    outputs = {name: f"value of {name}" for name in aws.templates[tenant]["Outputs"]}

    assert all(value for value in asdict(Settings.from_outputs(outputs)).values())
    assert {"ApiUrl", "ApiId", "ApiStage", "ApiKeyIds", "WebhookUrls", "FunctionNames", "Tenant", "Partner", "Version", "PrepareMachineArn"} <= set(outputs)


def test_only_signed_webhooks_are_reached_without_an_api_key(aws: Synthesis, tenant: str) -> None:
    template = aws.templates[tenant]
    keyless = [item["Properties"] for item in aws.resources(tenant, "AWS::ApiGateway::Method").values() if not item["Properties"].get("ApiKeyRequired")]

    method = _only(keyless)
    assert (method["HttpMethod"], template["Resources"][method["ResourceId"]["Ref"]]["Properties"]["PathPart"]) == ("POST", "{connection}")


def test_the_gateway_itself_answers_with_problem_details_in_our_words(aws: Synthesis, tenant: str) -> None:
    found = {item["Properties"]["ResponseType"]: item["Properties"] for item in aws.resources(tenant, "AWS::ApiGateway::GatewayResponse").values()}

    assert {"UNAUTHORIZED", "INVALID_API_KEY", "MISSING_AUTHENTICATION_TOKEN", "REQUEST_TOO_LARGE", "THROTTLED", "DEFAULT_4XX", "DEFAULT_5XX"} <= set(found)
    for kind, answer in found.items():
        body = json.loads(answer["ResponseTemplates"]["application/json"])
        assert {"type", "title", "status", "detail", "correlation_id"} == set(body)
        assert answer["ResponseParameters"]["gatewayresponse.header.Content-Type"] == "'application/problem+json'"
        assert not re.search(r"aws|amazon|lambda|gateway|token", json.dumps([body["title"], body["detail"]]), re.IGNORECASE)
        if kind in ("THROTTLED", "QUOTA_EXCEEDED"):
            assert "gatewayresponse.header.Retry-After" in answer["ResponseParameters"]
        if not kind.startswith("DEFAULT"):
            assert answer["StatusCode"] == str(body["status"])


def test_raw_bytes_reach_the_function(aws: Synthesis, tenant: str) -> None:
    (api,) = aws.resources(tenant, "AWS::ApiGateway::RestApi").values()

    assert api["Properties"]["BinaryMediaTypes"] == ["*/*"]


def test_the_usage_plan_holds_the_tenant_s_limits(aws: Synthesis, tenant: str) -> None:
    from infra import tenant_files

    limits = tenant_files.load(tenant, ROOT).limits
    (plan,) = aws.resources(tenant, "AWS::ApiGateway::UsagePlan").values()

    assert plan["Properties"]["Throttle"] == {"RateLimit": limits.requests_per_second, "BurstLimit": limits.burst}
    assert plan["Properties"]["Quota"] == {"Limit": limits.monthly_api_requests, "Period": "MONTH"}
    assert len(aws.resources(tenant, "AWS::ApiGateway::ApiKey")) == len(tenant_files.load(tenant, ROOT).api_clients)


def test_the_stack_holds_no_secret_value(aws: Synthesis, tenant: str) -> None:
    (secret,) = aws.resources(tenant, "AWS::SecretsManager::Secret").values()

    assert "SecretString" not in secret["Properties"]
    shape = json.loads(secret["Properties"]["GenerateSecretString"]["SecretStringTemplate"])
    assert set(shape.values() if all(isinstance(value, str) for value in shape.values()) else [json.dumps(value) for value in shape.values()]) == {"{}"}
    text = json.dumps(aws.templates[tenant])
    assert not re.search(r"AKIA[0-9A-Z]{16}|shpat_|whsec_|-----BEGIN", text)
    for key in aws.resources(tenant, "AWS::ApiGateway::ApiKey").values():
        assert "Value" not in key["Properties"]


def test_every_alarm_reaches_somebody_and_names_its_runbook(aws: Synthesis, tenant: str) -> None:
    alarms = aws.resources(tenant, "AWS::CloudWatch::Alarm")

    assert alarms
    for alarm in alarms.values():
        assert alarm["Properties"]["AlarmActions"]
        runbook = re.search(r"Runbook: (\S+)", alarm["Properties"]["AlarmDescription"])
        assert runbook, f"{alarm['Properties']['AlarmDescription']} names no runbook"
        assert (ROOT / runbook[1]).is_file(), f"{runbook[1]} is not written"


def test_every_runbook_of_an_alarm_has_its_alarm(aws: Synthesis, tenant: str) -> None:
    named = {Path(text).name for text in re.findall(r"Runbook: (\S+\.md)", json.dumps(aws.templates[tenant]))}

    assert {file.name for file in (ROOT / "docs" / "runbooks").glob("alarm-*.md")} == named


def test_every_dead_letter_queue_has_an_alarm_at_its_first_message(aws: Synthesis, tenant: str) -> None:
    watched = {
        alarm["Properties"]["Dimensions"][0]["Value"]["Fn::GetAtt"][0]
        for alarm in aws.resources(tenant, "AWS::CloudWatch::Alarm").values()
        if alarm["Properties"]["MetricName"] == "ApproximateNumberOfMessagesVisible" and alarm["Properties"]["Threshold"] == 1
    }
    dead = {name for name, queue in aws.resources(tenant, "AWS::SQS::Queue").items() if queue["Properties"]["QueueName"].endswith("-dead-letters")}

    assert watched == dead


@pytest.mark.parametrize("sweep", ["deadline-watch-failing", "dead-letter-index-failing"])
def test_a_sweep_that_fails_and_one_that_is_silent_raise_the_same_alarm(aws: Synthesis, tenant: str, sweep: str) -> None:
    (alarm,) = [item["Properties"] for item in aws.resources(tenant, "AWS::CloudWatch::Alarm").values() if sweep in item["Properties"]["AlarmDescription"]]

    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/Lambda", "Errors")
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("GreaterThanOrEqualToThreshold", 2)
    assert alarm["TreatMissingData"] == "breaching"


def test_what_the_bus_cannot_deliver_joins_the_dead_letters(aws: Synthesis, tenant: str) -> None:
    template = aws.templates[tenant]
    for rule in aws.resources(tenant, "AWS::Events::Rule").values():
        for target in rule["Properties"]["Targets"]:
            if "EventPattern" in rule["Properties"]:
                assert target["DeadLetterConfig"]["Arn"]["Fn::GetAtt"][0] == logical_id(template, "WorkDeadLetterQueueUrl")


def test_the_stack_is_tagged_for_cost_and_ownership(aws: Synthesis, tenant: str) -> None:
    (bucket,) = aws.resources(tenant, "AWS::S3::Bucket").values()

    assert {tag["Key"]: tag["Value"] for tag in bucket["Properties"]["Tags"]} == {"product": "crossdock", "tenant": tenant, "partner": "northstar_erp"}


def test_no_stack_refers_to_another(aws: Synthesis, tenant: str) -> None:
    text = json.dumps(aws.templates[tenant])

    for other in set(TENANTS) - {tenant}:
        assert other not in text
        assert other.replace("_", "-") not in text
    assert "Fn::ImportValue" not in text
    assert "Export" not in json.dumps(aws.templates[tenant]["Outputs"])


def test_every_policy_names_resources_of_this_stack_only(aws: Synthesis, tenant: str) -> None:
    template = aws.templates[tenant]
    for grant in grants(template):
        if grant.resource == '"*"':
            continue
        names = [name for name in re.findall(r'"(?:Ref|Fn::GetAtt)": \[?"([\w:]+)"', grant.resource) if not name.startswith("AWS::")]
        assert names, f"{grant} names no resource of this stack"
        assert set(names) <= set(template["Resources"])


def test_both_tenants_run_the_same_code(aws: Synthesis, tenant: str) -> None:
    def code(template: dict[str, Any]) -> dict[str, Any]:
        found = {
            item["Properties"]["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]: item["Properties"]["Code"]["S3Key"]
            for item in template["Resources"].values()
            if item["Type"] == "AWS::Lambda::Function"
        }
        return {**found, "shared": template["Resources"][_shared(template)]["Properties"]["Content"]["S3Key"]}

    other = next(name for name in TENANTS if name != tenant)
    assert code(aws.templates[tenant]) == code(aws.templates[other])


def test_only_the_tenant_s_own_layer_differs(aws: Synthesis, tenant: str) -> None:
    own = {
        name: [
            item["Properties"]["Content"]["S3Key"]
            for item in aws.resources(name, "AWS::Lambda::LayerVersion").values()
            if item["Properties"]["Description"].startswith("Configuration")
        ]
        for name in TENANTS
    }

    assert len({json.dumps(keys) for keys in own.values()}) == len(TENANTS)


def _shared(template: dict[str, Any]) -> str:
    (found,) = [name for name, item in template["Resources"].items() if item["Type"] == "AWS::Lambda::LayerVersion" and item["Properties"]["Description"] == "Crossdock"]
    return found


def test_a_sweep_is_called_by_its_schedule_only(aws: Synthesis, tenant: str) -> None:
    template = aws.templates[tenant]
    schedules = {name for name, rule in aws.resources(tenant, "AWS::Events::Rule").items() if rule["Properties"].get("ScheduleExpression") == "rate(1 minute)"}
    permissions = [item["Properties"] for item in aws.resources(tenant, "AWS::Lambda::Permission").values() if item["Properties"]["Principal"] == "events.amazonaws.com"]

    assert len(schedules) == 1, "one event a minute for both sweeps"
    assert len(permissions) == 2
    assert {item["SourceArn"]["Fn::GetAtt"][0] for item in permissions} == schedules
    assert all("SourceArn" in item["Properties"] for item in template["Resources"].values() if item["Type"] == "AWS::Lambda::Permission")
