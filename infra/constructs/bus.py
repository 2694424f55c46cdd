"""How do canonical events reach whoever acts on them, and what runs on a clock?"""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
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
        self.rule = events.Rule(
            self,
            "FactsToWork",
            description="Every canonical event goes to the work queue",
            event_bus=self.bus,
            event_pattern=events.EventPattern(source=events.Match.prefix(SOURCE_PREFIX)),
            targets=[
                # What EventBridge cannot deliver joins the dead letters of the queue it was meant for, with the same body.
                targets.SqsQueue(work.queue, dead_letter_queue=work.dead_letters, retry_attempts=185, max_event_age=Duration.hours(24))
            ],
        )
        events.CfnArchive(
            self,
            "Archive",
            source_arn=self.bus.event_bus_arn,
            description="Canonical events, to replay",
            retention_days=archive_days,
            kms_key_identifier=key.key_arn,
        )

    def every_minute(self, name: str, function: lambda_.IFunction) -> events.Rule:
        """Call the function once a minute; a missed call is made good by the next one, so there is no retry."""
        return events.Rule(
            self,
            name,
            schedule=events.Schedule.rate(Duration.minutes(1)),
            targets=[targets.LambdaFunction(function, retry_attempts=0, max_event_age=Duration.minutes(1))],
        )
