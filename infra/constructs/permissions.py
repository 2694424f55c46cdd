"""Which statement allows which exact action on which exact resource of this tenant?"""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import ArnFormat, CfnElement, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.constructs.bus import Bus
from infra.constructs.findings import accept
from infra.constructs.queues import StageQueue
from infra.constructs.security import Security
from infra.constructs.storage import LISTING_INDEX, Storage
from infra.constructs.workflow import Workflows


@dataclass(frozen=True)
class Permissions:
    """Statements over one tenant's resources; actions are named without their service."""

    security: Security
    storage: Storage
    bus: Bus

    def state(self, *actions: str) -> iam.PolicyStatement:
        """On the table of records."""
        return iam.PolicyStatement(sid="StateTable", actions=[f"dynamodb:{action}" for action in actions], resources=[self.storage.state.table_arn])

    def listing(self) -> iam.PolicyStatement:
        """Ask the index for the keys of what is listed; the records themselves are read from the table."""
        return iam.PolicyStatement(sid="Listing", actions=["dynamodb:Query"], resources=[f"{self.storage.state.table_arn}/index/{LISTING_INDEX}"])

    def audit(self) -> iam.PolicyStatement:
        """Read the trail and add to it. There is no way to change it."""
        return iam.PolicyStatement(sid="AuditTable", actions=["dynamodb:Query", "dynamodb:PutItem"], resources=[self.storage.audit.table_arn])

    def archive(self, action: str) -> iam.PolicyStatement:
        """``PutObject`` or ``GetObject`` on any object of the archive."""
        return iam.PolicyStatement(sid="Archive", actions=[f"s3:{action}"], resources=[self.storage.archive.arn_for_objects("*")])

    def credentials(self) -> iam.PolicyStatement:
        return iam.PolicyStatement(sid="Credentials", actions=["secretsmanager:GetSecretValue"], resources=[self.security.secret_arn])

    def publish(self) -> iam.PolicyStatement:
        return iam.PolicyStatement(sid="Publish", actions=["events:PutEvents"], resources=[self.bus.bus.event_bus_arn])

    @staticmethod
    def consume(stage: StageQueue) -> iam.PolicyStatement:
        """What the event source mapping needs, and (to change visibility) the handler to give a message back later."""
        return iam.PolicyStatement(
            sid="Consume",
            actions=["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility"],
            resources=[stage.queue.queue_arn],
        )

    @staticmethod
    def send(*queues: sqs.IQueue) -> iam.PolicyStatement:
        return iam.PolicyStatement(sid="Send", actions=["sqs:SendMessage"], resources=[queue.queue_arn for queue in queues])

    @staticmethod
    def look_into(*queues: sqs.IQueue) -> iam.PolicyStatement:
        """Read dead letters and leave them where they are."""
        return iam.PolicyStatement(
            sid="LookInto",
            actions=["sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"],
            resources=[queue.queue_arn for queue in queues],
        )

    @staticmethod
    def start(workflow: Workflows) -> iam.PolicyStatement:
        return iam.PolicyStatement(sid="StartWorkflow", actions=["states:StartExecution"], resources=[machine.state_machine_arn for machine in workflow.waiting])

    @staticmethod
    def answer(workflow: Workflows) -> iam.PolicyStatement:
        return iam.PolicyStatement(
            sid="AnswerWorkflow", actions=["states:SendTaskSuccess", "states:SendTaskFailure"], resources=[machine.state_machine_arn for machine in workflow.waiting]
        )

    @staticmethod
    def describe_executions(workflow: Workflows) -> iam.PolicyStatement:
        stack = Stack.of(workflow)
        arns = [
            stack.format_arn(service="states", resource="execution", resource_name=f"{machine.state_machine_name}:*", arn_format=ArnFormat.COLON_RESOURCE_NAME)
            for machine in workflow.waiting
        ]
        return iam.PolicyStatement(sid="DescribeExecutions", actions=["states:DescribeExecution"], resources=arns)

    def accept_archive_objects(self, policy: iam.Policy) -> None:
        """One wildcard: the name of an object is made when it is written."""
        archive = _logical_id(self.storage.archive)
        accept(policy, f"AwsSolutions-IAM5[Resource::<{archive}.Arn>/*]", "Objects of this tenant's own archive: their keys come into being with each delivery.")

    @staticmethod
    def accept_executions(policy: iam.Policy, workflow: Workflows) -> None:
        """One wildcard each: an execution is named after its order or return."""
        for machine in workflow.waiting:
            finding = f"Resource::arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:execution:<{_logical_id(machine)}.Name>:*"
            accept(policy, f"AwsSolutions-IAM5[{finding}]", "Executions of this tenant's own workflows: each is named after its order or return.")


def _logical_id(construct: Construct) -> str:
    child = construct.node.default_child
    if not isinstance(child, CfnElement):
        raise TypeError(f"{construct.node.path} is not one resource")
    return str(Stack.of(construct).resolve(child.logical_id))
