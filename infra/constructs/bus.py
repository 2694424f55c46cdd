"""How do canonical events reach whoever acts on them, and what runs on a clock?"""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.constructs.queues import StageQueue

SOURCE_PREFIX = "crossdock"


class Bus(Construct):
    """The tenant's own bus with one rule: what Crossdock says goes to the work queue. An archive allows a replay on AWS."""

    def __init__(self, scope: Construct, name: str, *, key: kms.IKey, work: StageQueue, archive_days: int) -> None:
        super().__init__(scope, name)
        self.bus = events.EventBus(self, "Bus", kms_key=key, description="Canonical events of this tenant")
        self._send_facts_to(work)
        events.CfnArchive(
            self,
            "Archive",
            source_arn=self.bus.event_bus_arn,
            description="Canonical events, to replay",
            retention_days=archive_days,
            kms_key_identifier=key.key_arn,
        )

    def _send_facts_to(self, work: StageQueue) -> None:
        """One rule, and a queue policy for that rule alone (the library's target would let in every rule of the account)."""
        rule = events.CfnRule(
            self,
            "FactsToWork",
            description="Every canonical event goes to the work queue",
            event_bus_name=self.bus.event_bus_name,
            event_pattern={"source": [{"prefix": SOURCE_PREFIX}]},
            targets=[
                events.CfnRule.TargetProperty(
                    id="Work",
                    arn=work.queue.queue_arn,
                    retry_policy=events.CfnRule.RetryPolicyProperty(maximum_retry_attempts=185, maximum_event_age_in_seconds=24 * 3600),
                    # What EventBridge cannot deliver joins the dead letters of the queue it was meant for, with the same body.
                    dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=work.dead_letters.queue_arn),
                )
            ],
        )
        for queue in (work.queue, work.dead_letters):
            queue.add_to_resource_policy(
                iam.PolicyStatement(
                    sid="FactsOfThisBus",
                    principals=[iam.ServicePrincipal("events.amazonaws.com")],
                    actions=["sqs:SendMessage"],
                    resources=[queue.queue_arn],
                    conditions={"ArnEquals": {"aws:SourceArn": rule.attr_arn}},
                )
            )

    def every_minute(self, *functions: lambda_.IFunction) -> events.Rule:
        """Call each function once a minute; a missed call is made good by the next one, so there is no retry."""
        return events.Rule(
            self,
            "EveryMinute",
            schedule=events.Schedule.rate(Duration.minutes(1)),
            targets=[targets.LambdaFunction(function, retry_attempts=0, max_event_age=Duration.minutes(1)) for function in functions],
        )
