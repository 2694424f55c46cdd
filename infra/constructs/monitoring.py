"""Which few figures wake somebody up, and what does that person read first?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aws_cdk import Duration
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.constructs.functions import Worker
from infra.constructs.queues import StageQueue


@dataclass(frozen=True)
class Watched:
    """An alarm's name (its runbook is ``docs/runbooks/alarm-<name>.md``), what it says, and when it says so."""

    name: str
    sentence: str
    metric: cloudwatch.IMetric
    threshold: float
    periods: int = 1
    missing_is_bad: bool = False


class Monitoring(Construct):
    """Alarms over what cannot be seen from inside, and one topic they speak to."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        tenant: str,
        key: kms.IKey,
        runbooks: str,
        stages: Sequence[StageQueue],
        heartbeat: Worker,
        collector: Worker,
        api: apigateway.RestApi,
        order: sfn.StateMachine,
    ) -> None:
        super().__init__(scope, name)
        self._tenant = tenant
        self._runbooks = runbooks
        self._alarms: list[cloudwatch.Alarm] = []
        self.topic = sns.Topic(self, "Topic", master_key=key, enforce_ssl=True, display_name=f"Crossdock alarms of {tenant}")
        for stage in stages:
            self._add(
                Watched(f"{stage.stage}-dead-letters", f"A message of the stage {stage.stage} used up its tries.", _visible(stage), threshold=1),
                Watched(
                    f"{stage.stage}-backlog",
                    f"A message has waited more than 15 minutes in the stage {stage.stage}.",
                    stage.queue.metric_approximate_age_of_oldest_message(period=Duration.minutes(5), statistic="Maximum"),
                    threshold=900,
                    periods=2,
                ),
            )
        self._add(
            # The service reports errors with every run, none of them as 0: where it reports nothing, nothing ran. One alarm hears both.
            Watched(
                "deadline-watch-failing",
                "Deadlines are not being watched: the sweep fails, or did not run for five minutes.",
                heartbeat.function.metric_errors(period=Duration.minutes(5), statistic="Sum"),
                threshold=2,
                missing_is_bad=True,
            ),
            Watched(
                "dead-letter-index-failing",
                "Dead letters are not being entered into the exception store: the walk fails, or did not run for five minutes.",
                collector.function.metric_errors(period=Duration.minutes(5), statistic="Sum"),
                threshold=2,
                missing_is_bad=True,
            ),
            Watched("api-server-errors", "The API answers with 5xx.", api.metric_server_error(period=Duration.minutes(5), statistic="Sum"), threshold=5),
            Watched("order-workflow-failed", "The workflow of an order failed.", order.metric_failed(period=Duration.minutes(5), statistic="Sum"), threshold=1),
        )
        self._let_in_alarms()

    def _let_in_alarms(self) -> None:
        """A policy of its own takes the place of the topic's default one, which lets alarms in: without this they change their state and tell nobody."""
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsOfThisStack",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions={"ArnEquals": {"aws:SourceArn": [alarm.alarm_arn for alarm in self._alarms]}},
            )
        )

    def _add(self, *watched: Watched) -> None:
        for item in watched:
            alarm = cloudwatch.Alarm(
                self,
                "".join(part.title() for part in item.name.split("-")),
                alarm_description=f"{self._tenant}: {item.sentence} Runbook: {self._runbooks}/alarm-{item.name}.md",
                metric=item.metric,
                threshold=item.threshold,
                evaluation_periods=item.periods,
                comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
                treat_missing_data=cloudwatch.TreatMissingData.BREACHING if item.missing_is_bad else cloudwatch.TreatMissingData.NOT_BREACHING,
            )
            alarm.add_alarm_action(actions.SnsAction(self.topic))
            alarm.add_ok_action(actions.SnsAction(self.topic))
            self._alarms.append(alarm)


def _visible(stage: StageQueue) -> cloudwatch.Metric:
    return stage.dead_letters.metric_approximate_number_of_messages_visible(period=Duration.minutes(1), statistic="Maximum")
