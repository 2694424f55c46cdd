"""What can the local engine not hold, and what does the stack leave out or change for it? One aspect, one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jsii
from aws_cdk import CfnDeletionPolicy, CfnResource, IAspect, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import IConstruct

LEFT_OUT = {
    "AWS::Events::Archive": "the engine refuses the type; replay from the raw archive works the same (`crossdock replay`)",
}
"""Resource types that are taken out of the template, with the reason."""


@dataclass(frozen=True)
class Change:
    """A property that gets another value locally, with the reason."""

    what: str
    why: str


SHORT_VISIBILITY = Change(
    "queue visibility timeouts are the function's timeout + 5 s",
    "after a crash a message comes back in seconds; there is no throttling here that six times the timeout would be for",
)
NO_TLS = Change("resource policies do not demand TLS", "the engine listens on this machine's loopback without it, and would refuse every call")
BATCH_ACTIONS = Change("roles that may change visibility may also do so in batches", "AWS authorises a batch by the single action, the engine by a name of its own")
TASK_ANSWERS = Change("task answers are allowed for every state machine", "AWS authorises them by the machine's ARN, the engine cannot tell which machine a token is of")
FREE_TO_GO = Change("tables are not protected from deletion and nothing is retained", "a local stack is thrown away whole")


_BATCHED = frozenset({"sqs:ChangeMessageVisibility"})


@jsii.implements(IAspect)
class LocalEngine:
    """Visits every resource once and says, once per kind, what it did and why."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._said: set[str] = set()

    def visit(self, node: IConstruct) -> None:
        if not isinstance(node, CfnResource):
            return
        kind = node.cfn_resource_type
        if kind in LEFT_OUT:
            scope = node.node.scope
            if scope is not None:
                scope.node.try_remove_child(node.node.id)
            self._tell(f"local engine: left out {kind} ({LEFT_OUT[kind]})")
            return
        if isinstance(node, sqs.CfnQueue) and node.redrive_policy is not None and node.visibility_timeout is not None:
            node.visibility_timeout = node.visibility_timeout / 6 + 5
            self._tell(f"local engine: {SHORT_VISIBILITY.what} ({SHORT_VISIBILITY.why})")
        if isinstance(node, sqs.CfnQueuePolicy | s3.CfnBucketPolicy | sns.CfnTopicPolicy):
            self._without_tls_demand(node)
        if isinstance(node, iam.CfnPolicy):
            self._as_the_engine_authorises(node)
        if isinstance(node, dynamodb.CfnTable):
            node.deletion_protection_enabled = False
        if node.cfn_options.deletion_policy is CfnDeletionPolicy.RETAIN:
            node.cfn_options.deletion_policy = CfnDeletionPolicy.DELETE
            node.cfn_options.update_replace_policy = CfnDeletionPolicy.DELETE
            self._tell(f"local engine: {FREE_TO_GO.what} ({FREE_TO_GO.why})")

    def _without_tls_demand(self, node: sqs.CfnQueuePolicy | s3.CfnBucketPolicy | sns.CfnTopicPolicy) -> None:
        document = Stack.of(node).resolve(node.policy_document)
        kept = [statement for statement in document["Statement"] if "aws:SecureTransport" not in statement.get("Condition", {}).get("Bool", {})]
        if len(kept) == len(document["Statement"]):
            return
        self._tell(f"local engine: {NO_TLS.what} ({NO_TLS.why})")
        if kept:
            node.policy_document = {**document, "Statement": kept}
        elif node.node.scope is not None:
            node.node.scope.node.try_remove_child(node.node.id)

    def _as_the_engine_authorises(self, node: iam.CfnPolicy) -> None:
        document = Stack.of(node).resolve(node.policy_document)
        for statement in document["Statement"]:
            actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
            statement["Action"] = [*actions, *(f"{action}Batch" for action in actions if action in _BATCHED)]
            if any(action.startswith("states:SendTask") for action in actions):
                statement["Resource"] = "*"
                self._tell(f"local engine: {TASK_ANSWERS.what} ({TASK_ANSWERS.why})")
        node.policy_document = document
        # AWS knows no such action, and cfn-lint says so.
        Stack.of(node).template_options.metadata = {"cfn-lint": {"config": {"ignore_checks": ["W3005", "W3037"]}}}
        self._tell(f"local engine: {BATCH_ACTIONS.what} ({BATCH_ACTIONS.why})")

    def _tell(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._say(line)
