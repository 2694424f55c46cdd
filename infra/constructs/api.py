"""Where do the outside world's requests come in, and how many may come?"""

from __future__ import annotations

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from crossdock.domain.tenant import TenantSpec
from infra.constructs.findings import accept
from infra.problem_details import PROBLEMS

STAGE = "live"


class Api(Construct):
    """``POST /webhooks/{connection}`` for senders that sign, ``/v1`` for clients with a key."""

    def __init__(self, scope: Construct, name: str, *, spec: TenantSpec, key: kms.IKey, log_prefix: str, receive_webhook: lambda_.IFunction, serve_api: lambda_.IFunction) -> None:
        super().__init__(scope, name)
        self._spec = spec
        self.api = self._build_api(key, log_prefix)
        self._add_problems()
        self._add_webhooks(receive_webhook)
        self._add_v1(serve_api)
        self.keys = self._build_keys()

    def _build_api(self, key: kms.IKey, log_prefix: str) -> apigateway.RestApi:
        limits = self._spec.limits
        log_group = logs.LogGroup(self, "Log", log_group_name=f"{log_prefix}/api", encryption_key=key, retention=logs.RetentionDays.ONE_MONTH, removal_policy=RemovalPolicy.DESTROY)
        api = apigateway.RestApi(
            self,
            "Rest",
            rest_api_name=Stack.of(self).stack_name,
            description=f"Crossdock for {self._spec.tenant}",
            endpoint_types=[apigateway.EndpointType.REGIONAL],
            # Everything is binary to the gateway: a signature is over the bytes as they were sent.
            binary_media_types=["*/*"],
            cloud_watch_role=True,
            deploy_options=apigateway.StageOptions(
                stage_name=STAGE,
                throttling_rate_limit=limits.requests_per_second,
                throttling_burst_limit=limits.burst,
                logging_level=apigateway.MethodLoggingLevel.ERROR,
                data_trace_enabled=False,
                # Off: with it every method brings five metrics of its own, each billed; those of the whole API are free and stay.
                metrics_enabled=False,
                access_log_destination=apigateway.LogGroupLogDestination(log_group),
                access_log_format=apigateway.AccessLogFormat.json_with_standard_fields(
                    caller=False, http_method=True, ip=True, protocol=True, request_time=True, resource_path=True, response_length=True, status=True, user=False
                ),
            ),
        )
        api.node.try_remove_child("Endpoint")  # an output of the construct's own; the stack names its outputs itself
        accept(
            api.deployment_stage,
            "AwsSolutions-APIG3",
            "No web ACL per tenant (docs/decisions/0103-no-web-acl-per-tenant.md): webhooks are authenticated by signature, /v1 by key, both are throttled.",
        )
        accept(
            api.node.find_child("CloudWatchRole"),
            "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs]",
            "API Gateway's account setting accepts the role that AWS maintains for it; it can write logs and nothing else.",
        )
        return api

    def _add_problems(self) -> None:
        for problem in PROBLEMS:
            self.api.add_gateway_response(
                f"Problem{problem.response_type.title().replace('_', '')}",
                type=problem.kind,
                # The defaults keep the status of what happened; the named ones state it.
                status_code=None if problem.response_type.startswith("DEFAULT") else str(problem.status),
                response_headers=problem.headers(),
                templates={"application/json": problem.template()},
            )

    def _add_webhooks(self, receive_webhook: lambda_.IFunction) -> None:
        validator = self.api.add_request_validator("Required", validate_request_parameters=True, validate_request_body=True)
        connection = self.api.root.add_resource("webhooks").add_resource("{connection}")
        method = connection.add_method(
            "POST",
            apigateway.LambdaIntegration(receive_webhook, allow_test_invoke=False),
            request_parameters={"method.request.path.connection": True},
            request_validator=validator,
        )
        reason = "The sender is a vendor's webhook: its credential is the signature over the raw body, which receive_webhook verifies before anything else."
        accept(method, "AwsSolutions-APIG4", reason)
        accept(method, "AwsSolutions-COG4", reason)

    def _add_v1(self, serve_api: lambda_.IFunction) -> None:
        integration = apigateway.LambdaIntegration(serve_api, allow_test_invoke=False)
        v1 = self.api.root.add_resource("v1")
        reason = "Systems call /v1 with an API key of the usage plan (required on this method); people's sign-in is not part of this interface."
        for resource in (v1, v1.add_resource("{proxy+}")):
            method = resource.add_method("ANY", integration, api_key_required=True)
            accept(method, "AwsSolutions-APIG4", reason)
            accept(method, "AwsSolutions-COG4", reason)

    def _build_keys(self) -> dict[str, apigateway.IApiKey]:
        limits = self._spec.limits
        plan = self.api.add_usage_plan(
            "Plan",
            description=f"What the systems of {self._spec.tenant} may ask of /v1",
            throttle=apigateway.ThrottleSettings(rate_limit=limits.requests_per_second, burst_limit=limits.burst),
            quota=apigateway.QuotaSettings(limit=limits.monthly_api_requests, period=apigateway.Period.MONTH),
        )
        plan.add_api_stage(stage=self.api.deployment_stage)
        keys: dict[str, apigateway.IApiKey] = {}
        for client in self._spec.api_clients:
            key = self.api.add_api_key(f"Key{client.title().replace('_', '')}", description=f"Client {client} of {self._spec.tenant}")
            plan.add_api_key(key)
            keys[client] = key
        return keys
