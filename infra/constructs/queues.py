"""Where do messages wait between the stages, and where do those go that used up their tries?"""

from __future__ import annotations

from aws_cdk import Duration, Stack
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs
from constructs import Construct

MAX_RECEIVE_COUNT = {"inbound": 4, "work": 4, "outbound": 10}
"""How often a message of a stage is tried before it joins the dead letters. Outbound tries span a vendor's outage with growing pauses."""


class StageQueue(Construct):
    """A standard queue and its dead-letter queue, both encrypted, both refusing anything but TLS."""

    def __init__(self, scope: Construct, name: str, *, stage: str, key: kms.IKey, function_timeout: Duration) -> None:
        super().__init__(scope, name)
        self.stage = stage
        stack = Stack.of(self)
        # Named, because the two refer to each other: the queue to its dead letters, they to the queue they accept from.
        queue_name = f"{stack.stack_name}-{stage}"
        self.dead_letters = sqs.Queue(
            self,
            "DeadLetters",
            queue_name=f"{queue_name}-dead-letters",
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=key,
            data_key_reuse=Duration.hours(24),
            enforce_ssl=True,
            retention_period=Duration.days(14),
            visibility_timeout=Duration.seconds(60),
            redrive_allow_policy=sqs.RedriveAllowPolicy(
                redrive_permission=sqs.RedrivePermission.BY_QUEUE,
                source_queues=[sqs.Queue.from_queue_arn(self, "Source", stack.format_arn(service="sqs", resource=queue_name))],
            ),
        )
        self.queue = sqs.Queue(
            self,
            "Queue",
            queue_name=queue_name,
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=key,
            data_key_reuse=Duration.hours(24),
            enforce_ssl=True,
            # Shorter than the dead letters' 14 days: a message keeps its first send time when it is moved.
            retention_period=Duration.days(4),
            # AWS asks for six times the function's timeout, so that a throttled batch is not handed out twice.
            visibility_timeout=Duration.seconds(6 * int(function_timeout.to_seconds())),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead_letters, max_receive_count=MAX_RECEIVE_COUNT[stage]),
        )
