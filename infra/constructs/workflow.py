"""Which state machines carry orders and returns, and what may they do?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.constructs.findings import accept
from infra.constructs.queues import StageQueue
from infra.workflows import order, prepare, return_

# CloudWatch Logs' delivery API knows no resources: AWS's own page on Step Functions logging prescribes "*".
_LOG_DELIVERY = (
    "logs:CreateLogDelivery",
    "logs:GetLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
)


NO_TRACING = "No X-Ray (docs/decisions/0106-no-tracing-service.md): log lines, audit entries and histories carry the order's id from end to end."
ERRORS_ONLY = (
    "A Standard execution's every event stands in its own history, which is not billed; each check of the Express child writes a line with its "
    "order and outcome (docs/decisions/0112-a-clean-order-makes-three-transitions.md). The logs of both carry errors only."
)


class Workflows(Construct):
    """``prepare`` (Express, synchronous) inside ``order`` (Standard, waits); and ``return`` (Standard, waits)."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        key: kms.IKey,
        log_prefix: str,
        work: StageQueue,
        validate_order: lambda_.IFunction,
        check_order: lambda_.IFunction,
        reserve_stock: lambda_.IFunction,
    ) -> None:
        super().__init__(scope, name)
        self._key = key
        self._log_prefix = log_prefix
        self.prepare = self._machine(
            "Prepare",
            kind=sfn.StateMachineType.EXPRESS,
            definition=prepare.definition(),
            substitutions={"ValidateOrder": validate_order.function_arn, "CheckOrder": check_order.function_arn, "ReserveStock": reserve_stock.function_arn},
            permissions=[
                iam.PolicyStatement(sid="Steps", actions=["lambda:InvokeFunction"], resources=[validate_order.function_arn, check_order.function_arn, reserve_stock.function_arn])
            ],
        )
        self.order = self._machine(
            "Order",
            kind=sfn.StateMachineType.STANDARD,
            definition=order.definition(),
            substitutions={"PrepareMachine": self.prepare.state_machine_arn, "WorkQueueUrl": work.queue.queue_url},
            permissions=[
                iam.PolicyStatement(sid="RunPrepare", actions=["states:StartSyncExecution"], resources=[self.prepare.state_machine_arn]),
                iam.PolicyStatement(sid="Ask", actions=["sqs:SendMessage"], resources=[work.queue.queue_arn]),
                iam.PolicyStatement(sid="TenantKey", actions=["kms:Decrypt", "kms:GenerateDataKey"], resources=[key.key_arn]),
            ],
        )
        self.returns = self._machine(
            "Return",
            kind=sfn.StateMachineType.STANDARD,
            definition=return_.definition(),
            substitutions={"WorkQueueUrl": work.queue.queue_url},
            permissions=[
                iam.PolicyStatement(sid="Ask", actions=["sqs:SendMessage"], resources=[work.queue.queue_arn]),
                iam.PolicyStatement(sid="TenantKey", actions=["kms:Decrypt", "kms:GenerateDataKey"], resources=[key.key_arn]),
            ],
        )

    @property
    def waiting(self) -> list[sfn.StateMachine]:
        """Those that are started and answered by functions."""
        return [self.order, self.returns]

    def _machine(
        self,
        name: str,
        *,
        kind: sfn.StateMachineType,
        definition: Mapping[str, Any],
        substitutions: Mapping[str, str],
        permissions: list[iam.PolicyStatement],
    ) -> sfn.StateMachine:
        stack = Stack.of(self)
        log_group = logs.LogGroup(
            self,
            f"{name}Log",
            # The vended prefix keeps the account's one log resource policy from growing with every machine.
            log_group_name=f"/aws/vendedlogs{self._log_prefix}/{name.lower()}",
            encryption_key=self._key,
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=RemovalPolicy.DESTROY,
        )
        role = iam.Role(self, f"{name}Role", assumed_by=iam.ServicePrincipal("states.amazonaws.com"), description=f"Crossdock workflow {name.lower()}")
        policy = iam.Policy(
            self,
            f"{name}Policy",
            roles=[role],
            statements=[*permissions, iam.PolicyStatement(sid="Log", actions=[*_LOG_DELIVERY], resources=["*"])],
        )
        accept(policy, "AwsSolutions-IAM5[Resource::*]", "CloudWatch Logs delivery has no resources to name; the actions are listed one by one.")
        machine = sfn.StateMachine(
            self,
            name,
            state_machine_name=f"{stack.stack_name}-{name.lower()}",
            state_machine_type=kind,
            definition_body=sfn.DefinitionBody.from_string(json.dumps(definition)),
            definition_substitutions=dict(substitutions),
            role=role.without_policy_updates(),
            # Task tokens and orders stay out of logs.
            logs=sfn.LogOptions(destination=log_group, level=sfn.LogLevel.ERROR, include_execution_data=False),
        )
        accept(machine, "AwsSolutions-SF1", ERRORS_ONLY)
        accept(machine, "AwsSolutions-SF2", NO_TRACING)
        machine.node.add_dependency(policy)
        return machine
