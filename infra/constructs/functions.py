"""What does each function get: code, time, memory, environment, and a role with exactly the actions it needs?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.constructs.findings import accept
from infra.constructs.queues import StageQueue
from infra.layers import PLUGINS_OFF, Folder

# What DynamoDB asks of the caller for a table with a customer's key; queues, archive and secret ask for less.
_KEY_TO_READ = ("kms:Decrypt", "kms:DescribeKey")
_KEY_TO_WRITE = ("kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:ReEncryptTo")


class Worker(Construct):
    """One function of ``functions/``: own role, own log group, the shared layers."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        function_name: str,
        code: Folder,
        layers: Sequence[lambda_.ILayerVersion],
        timeout: Duration,
        memory: int,
        environment: Mapping[str, str],
        permissions: Sequence[iam.PolicyStatement],
        writes: bool,
        key: kms.IKey,
        log_prefix: str,
    ) -> None:
        super().__init__(scope, name)
        self.name = function_name
        self.log_group = logs.LogGroup(
            self,
            "Log",
            log_group_name=f"{log_prefix}/{function_name}",
            encryption_key=key,
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=RemovalPolicy.DESTROY,
        )
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"), description=f"Crossdock {function_name}")
        self.policy = iam.Policy(
            self,
            "Policy",
            roles=[role],
            statements=[
                iam.PolicyStatement(sid="OwnLog", actions=["logs:CreateLogStream", "logs:PutLogEvents"], resources=[self.log_group.log_group_arn]),
                iam.PolicyStatement(
                    sid="TenantKey",
                    actions=[*_KEY_TO_READ, *(_KEY_TO_WRITE if writes else ())],
                    resources=[key.key_arn],
                ),
                *permissions,
            ],
        )
        self.function = lambda_.Function(
            self,
            "Function",
            description=f"Crossdock {function_name}",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            code=lambda_.Code.from_asset(str(code.path), asset_hash=code.digest),
            handler="handler.handler",
            layers=list(layers),
            timeout=timeout,
            memory_size=memory,
            # All permissions stand above, in one place: nothing is added behind this file's back.
            role=role.without_policy_updates(),
            environment={"POWERTOOLS_SERVICE_NAME": function_name, "POWERTOOLS_LOG_LEVEL": "INFO", **PLUGINS_OFF, **environment},
            log_group=self.log_group,
            # The service's own lines (start, end, report of every call) are half of a log; its metrics tell the same.
            logging_format=lambda_.LoggingFormat.JSON,
            system_log_level_v2=lambda_.SystemLogLevel.WARN,
            application_log_level_v2=lambda_.ApplicationLogLevel.INFO,
        )
        accept(
            self.function,
            "AwsSolutions-L1",
            "The layers carry bytecode and wheels of Python 3.13, a runtime under full support; it is raised together with them, in one change.",
        )
        # The policy must stand before the first call.
        self.function.node.add_dependency(self.policy)

    def consume(self, stage: StageQueue, *, batch_size: int, concurrency: int) -> None:
        """Feed the function from the queue; a message that fails goes back alone, not with its batch."""
        lambda_.EventSourceMapping(
            self,
            "Source",
            target=self.function,
            event_source_arn=stage.queue.queue_arn,
            batch_size=batch_size,
            max_concurrency=concurrency,
            report_batch_item_failures=True,
        )
