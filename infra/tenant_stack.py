"""What stands in one tenant's stack? Composition only: every resource is defined in ``constructs/``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aws_cdk import CfnOutput, Duration, Environment, IStackSynthesizer, Stack, Tags
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from crossdock.domain.manifest import ConnectorManifest
from crossdock.domain.tenant import TenantSpec
from infra import layers
from infra.constructs.api import Api
from infra.constructs.bus import Bus
from infra.constructs.functions import Worker
from infra.constructs.monitoring import Monitoring
from infra.constructs.permissions import Permissions
from infra.constructs.queues import StageQueue
from infra.constructs.security import Security
from infra.constructs.storage import Storage
from infra.constructs.workflow import Workflows

BUS_ARCHIVE_DAYS = 90

_TIMEOUTS = {
    "receive_webhook": 10,
    "translate_delivery": 30,
    "apply_event": 30,
    "validate_order": 25,
    "check_order": 25,
    "reserve_stock": 25,
    "deliver_command": 45,
    "watch_deadlines": 60,
    "index_dead_letters": 60,
    "serve_api": 20,
}
"""Every function of the stack with the seconds it may take."""


def stack_name(tenant: str) -> str:
    return f"crossdock-{tenant.replace('_', '-')}"


@dataclass(frozen=True)
class Build:
    """What is the same for all tenants of one synthesis."""

    root: Path
    version: str
    python: tuple[int, int]
    """The version that will run the code: bytecode ships when this interpreter is the same."""
    shared: layers.Folder
    dependencies: layers.Folder | None
    folder: Path
    runbooks: str


class TenantStack(Stack):
    """Everything of one tenant, sharing nothing with another."""

    def __init__(
        self,
        scope: Construct,
        *,
        spec: TenantSpec,
        manifests: Mapping[str, ConnectorManifest],
        build: Build,
        env: Environment | None = None,
        synthesizer: IStackSynthesizer | None = None,
    ) -> None:
        super().__init__(scope, stack_name(spec.tenant), stack_name=stack_name(spec.tenant), description=f"Crossdock for {spec.title}", env=env, synthesizer=synthesizer)
        self.spec = spec
        self._build = build
        self._manifests = manifests
        self._tag()
        # The CDK makes every function and state machine depend on its role, which it already refers to.
        self.template_options.metadata = {"cfn-lint": {"config": {"ignore_checks": ["W3005"]}}}

        self.security = Security(self, "Security", spec=spec)
        key = self.security.key
        self.storage = Storage(self, "Storage", spec=spec, key=key)
        self.inbound = StageQueue(self, "Inbound", stage="inbound", key=key, function_timeout=_seconds("translate_delivery"))
        self.work = StageQueue(self, "Work", stage="work", key=key, function_timeout=_seconds("apply_event"))
        self.outbound = StageQueue(self, "Outbound", stage="outbound", key=key, function_timeout=_seconds("deliver_command"))
        self.bus = Bus(self, "Facts", key=key, work=self.work, archive_days=BUS_ARCHIVE_DAYS)
        self._allow = Permissions(self.security, self.storage, self.bus)
        self._layers = self._build_layers()

        self.workers: dict[str, Worker] = {}
        self._build_checks()
        self.workflow = Workflows(
            self,
            "Workflow",
            key=key,
            log_prefix=self.security.log_prefix,
            work=self.work,
            validate_order=self.workers["validate_order"].function,
            check_order=self.workers["check_order"].function,
            reserve_stock=self.workers["reserve_stock"].function,
        )
        self._build_stages()
        self._build_sweeps()
        self._build_edges()
        self.api = Api(
            self,
            "Api",
            spec=spec,
            key=key,
            log_prefix=self.security.log_prefix,
            receive_webhook=self.workers["receive_webhook"].function,
            serve_api=self.workers["serve_api"].function,
        )
        self.monitoring = Monitoring(
            self,
            "Monitoring",
            tenant=spec.tenant,
            key=key,
            runbooks=build.runbooks,
            stages=self.stages,
            heartbeat=self.workers["watch_deadlines"],
            collector=self.workers["index_dead_letters"],
            api=self.api.api,
            order=self.workflow.order,
        )
        self._tell([name for name, connection in spec.connections.items() if manifests[connection.connector].webhooks is not None])

    @property
    def stages(self) -> list[StageQueue]:
        return [self.inbound, self.work, self.outbound]

    def _tag(self) -> None:
        for tag, value in (("product", "crossdock"), ("tenant", self.spec.tenant), ("partner", self.spec.partner)):
            Tags.of(self).add(tag, value)

    def _build_layers(self) -> list[lambda_.ILayerVersion]:
        from_asset = lambda_.Code.from_asset
        own = layers.tenant(self.spec, self._manifests, self._build.folder)
        folders = [("TenantLayer", own, "Configuration of this tenant"), ("SharedLayer", self._build.shared, "Crossdock")]
        if self._build.dependencies is not None:
            folders.append(("DependenciesLayer", self._build.dependencies, "Third-party packages"))
        return [
            lambda_.LayerVersion(
                self,
                name,
                code=from_asset(str(folder.path), asset_hash=folder.digest),
                description=description,
                compatible_runtimes=[lambda_.Runtime.PYTHON_3_13],
                compatible_architectures=[lambda_.Architecture.ARM_64],
            )
            for name, folder, description in folders
        ]

    def _worker(self, name: str, *, environment: Sequence[str], permissions: Sequence[iam.PolicyStatement], memory: int = 512, writes: bool = True) -> Worker:
        worker = Worker(
            self,
            "".join(part.title() for part in name.split("_")),
            function_name=name,
            code=layers.function(self._build.root, name, self._build.folder, python=self._build.python),
            layers=self._layers,
            timeout=_seconds(name),
            memory=memory,
            environment={variable: self._value(variable) for variable in environment},
            permissions=permissions,
            writes=writes,
            key=self.security.key,
            log_prefix=self.security.log_prefix,
        )
        self.workers[name] = worker
        return worker

    def _value(self, variable: str) -> str:
        """The value of an environment variable that ``crossdock.aws.settings`` reads."""
        if variable == "CROSSDOCK_ORDER_MACHINE_ARN":
            return self.workflow.order.state_machine_arn
        if variable == "CROSSDOCK_RETURN_MACHINE_ARN":
            return self.workflow.returns.state_machine_arn
        return {
            "CROSSDOCK_STATE_TABLE": self.storage.state.table_name,
            "CROSSDOCK_AUDIT_TABLE": self.storage.audit.table_name,
            "CROSSDOCK_ARCHIVE_BUCKET": self.storage.archive.bucket_name,
            "CROSSDOCK_INBOUND_QUEUE_URL": self.inbound.queue.queue_url,
            "CROSSDOCK_INBOUND_DLQ_URL": self.inbound.dead_letters.queue_url,
            "CROSSDOCK_WORK_QUEUE_URL": self.work.queue.queue_url,
            "CROSSDOCK_WORK_DLQ_URL": self.work.dead_letters.queue_url,
            "CROSSDOCK_OUTBOUND_QUEUE_URL": self.outbound.queue.queue_url,
            "CROSSDOCK_OUTBOUND_DLQ_URL": self.outbound.dead_letters.queue_url,
            "CROSSDOCK_BUS_NAME": self.bus.bus.event_bus_name,
            "CROSSDOCK_SECRET_ID": self.security.secret_arn,
        }[variable]

    def _build_checks(self) -> None:
        """What the Express child asks."""
        allow = self._allow
        records = ["CROSSDOCK_STATE_TABLE", "CROSSDOCK_AUDIT_TABLE"]
        self._worker("validate_order", environment=["CROSSDOCK_STATE_TABLE"], permissions=[allow.state("GetItem")], writes=False)
        self._worker(
            "check_order",
            environment=[*records, "CROSSDOCK_SECRET_ID"],
            permissions=[allow.state("GetItem", "PutItem"), allow.audit(), allow.credentials()],
        )
        self._worker(
            "reserve_stock",
            # What waited for the reservation goes round the work queue again; sales channels hear what is left.
            environment=[*records, "CROSSDOCK_WORK_QUEUE_URL", "CROSSDOCK_OUTBOUND_QUEUE_URL"],
            permissions=[
                allow.state("GetItem", "Query", "PutItem", "UpdateItem", "DeleteItem"),
                allow.audit(),
                allow.send(self.work.queue, self.outbound.queue),
            ],
        )

    def _build_stages(self) -> None:
        """What takes from the queues."""
        allow, records = self._allow, ["CROSSDOCK_STATE_TABLE", "CROSSDOCK_AUDIT_TABLE"]
        translate = self._worker(
            "translate_delivery",
            environment=[*records, "CROSSDOCK_ARCHIVE_BUCKET", "CROSSDOCK_BUS_NAME", "CROSSDOCK_INBOUND_QUEUE_URL", "CROSSDOCK_INBOUND_DLQ_URL"],
            permissions=[
                allow.archive("GetObject"),
                allow.state("GetItem", "PutItem", "UpdateItem"),
                allow.audit(),
                allow.publish(),
                allow.consume(self.inbound),
                allow.send(self.inbound.dead_letters),
            ],
        )
        translate.consume(self.inbound, batch_size=10, concurrency=self.spec.limits.concurrent_workers)
        apply = self._worker(
            "apply_event",
            environment=[
                *records,
                "CROSSDOCK_WORK_QUEUE_URL",
                "CROSSDOCK_WORK_DLQ_URL",
                "CROSSDOCK_OUTBOUND_QUEUE_URL",
                "CROSSDOCK_ORDER_MACHINE_ARN",
                "CROSSDOCK_RETURN_MACHINE_ARN",
            ],
            permissions=[
                allow.state("GetItem", "Query", "PutItem", "UpdateItem", "DeleteItem"),
                allow.audit(),
                allow.consume(self.work),
                allow.send(self.work.queue, self.work.dead_letters, self.outbound.queue),
                allow.start(self.workflow),
                allow.answer(self.workflow),
                allow.describe_executions(self.workflow),
            ],
        )
        apply.consume(self.work, batch_size=10, concurrency=self.spec.limits.concurrent_workers)
        deliver = self._worker(
            "deliver_command",
            environment=[
                *records,
                "CROSSDOCK_ARCHIVE_BUCKET",
                "CROSSDOCK_SECRET_ID",
                "CROSSDOCK_INBOUND_QUEUE_URL",
                "CROSSDOCK_WORK_QUEUE_URL",
                "CROSSDOCK_OUTBOUND_QUEUE_URL",
                "CROSSDOCK_OUTBOUND_DLQ_URL",
                "CROSSDOCK_ORDER_MACHINE_ARN",
                "CROSSDOCK_RETURN_MACHINE_ARN",
            ],
            permissions=[
                allow.state("GetItem", "BatchGetItem", "Query", "PutItem", "UpdateItem", "DeleteItem"),
                allow.listing(),
                allow.audit(),
                allow.archive("PutObject"),
                allow.credentials(),
                allow.consume(self.outbound),
                allow.send(self.outbound.queue, self.outbound.dead_letters, self.inbound.queue, self.work.queue),
                allow.answer(self.workflow),
            ],
        )
        # Few at a time: a vendor that answers slowly holds its whole batch up to the function's timeout.
        deliver.consume(self.outbound, batch_size=2, concurrency=self.spec.limits.concurrent_workers)

    def _build_sweeps(self) -> None:
        """What runs on the clock."""
        allow, records = self._allow, ["CROSSDOCK_STATE_TABLE", "CROSSDOCK_AUDIT_TABLE"]
        watch = self._worker(
            "watch_deadlines",
            memory=256,
            environment=[
                *records,
                "CROSSDOCK_INBOUND_QUEUE_URL",
                "CROSSDOCK_WORK_QUEUE_URL",
                "CROSSDOCK_WORK_DLQ_URL",
                "CROSSDOCK_OUTBOUND_QUEUE_URL",
                "CROSSDOCK_ORDER_MACHINE_ARN",
                "CROSSDOCK_RETURN_MACHINE_ARN",
            ],
            permissions=[
                allow.state("GetItem", "BatchGetItem", "Query", "PutItem", "UpdateItem", "DeleteItem"),
                allow.listing(),
                allow.audit(),
                allow.send(self.inbound.queue, self.work.queue, self.work.dead_letters, self.outbound.queue),
                allow.start(self.workflow),
                allow.answer(self.workflow),
                allow.describe_executions(self.workflow),
            ],
        )
        for worker in (self.workers["apply_event"], watch):
            allow.accept_executions(worker.policy, self.workflow)
        collect = self._worker(
            "index_dead_letters",
            memory=256,
            environment=[*records, "CROSSDOCK_INBOUND_DLQ_URL", "CROSSDOCK_WORK_DLQ_URL", "CROSSDOCK_OUTBOUND_DLQ_URL"],
            permissions=[
                allow.state("GetItem", "PutItem", "UpdateItem"),
                allow.audit(),
                allow.look_into(*(stage.dead_letters for stage in self.stages)),
            ],
        )
        self.bus.every_minute(watch.function, collect.function)

    def _build_edges(self) -> None:
        """What the API calls."""
        allow = self._allow
        receive = self._worker(
            "receive_webhook",
            memory=256,
            environment=[
                "CROSSDOCK_STATE_TABLE",
                "CROSSDOCK_AUDIT_TABLE",
                "CROSSDOCK_ARCHIVE_BUCKET",
                "CROSSDOCK_INBOUND_QUEUE_URL",
                "CROSSDOCK_INBOUND_DLQ_URL",
                "CROSSDOCK_SECRET_ID",
            ],
            permissions=[
                allow.archive("PutObject"),
                # What is authentic but unreadable goes to the exception queue at once: record, audit entry, dead letter.
                allow.state("GetItem", "PutItem", "UpdateItem"),
                allow.audit(),
                allow.send(self.inbound.queue, self.inbound.dead_letters),
                allow.credentials(),
            ],
        )
        serve = self._worker(
            "serve_api",
            environment=["CROSSDOCK_STATE_TABLE", "CROSSDOCK_AUDIT_TABLE", "CROSSDOCK_ARCHIVE_BUCKET", "CROSSDOCK_INBOUND_QUEUE_URL"],
            permissions=[
                allow.state("GetItem", "BatchGetItem", "Query", "PutItem"),
                allow.listing(),
                # A report on what another system owns is refused on record.
                allow.audit(),
                allow.archive("PutObject"),
                allow.send(self.inbound.queue),
            ],
        )
        for worker in (self.workers["translate_delivery"], self.workers["deliver_command"], receive, serve):
            allow.accept_archive_objects(worker.policy)

    def _tell(self, webhook_connections: Sequence[str]) -> None:
        """The stack's outputs: the command line finds everything from them, on AWS and on the local engine alike."""
        api = self.api.api
        outputs = {
            "Tenant": self.spec.tenant,
            "Partner": self.spec.partner,
            "Version": self._build.version,
            "ApiUrl": api.url,
            "ApiId": api.rest_api_id,
            "ApiStage": api.deployment_stage.stage_name,
            "ApiKeyIds": self.to_json_string({client: key.key_id for client, key in self.api.keys.items()}),
            "WebhookUrls": self.to_json_string({name: api.url_for_path(f"/webhooks/{name}") for name in webhook_connections}),
            "StateTable": self.storage.state.table_name,
            "AuditTable": self.storage.audit.table_name,
            "ArchiveBucket": self.storage.archive.bucket_name,
            "InboundQueueUrl": self.inbound.queue.queue_url,
            "InboundDeadLetterQueueUrl": self.inbound.dead_letters.queue_url,
            "WorkQueueUrl": self.work.queue.queue_url,
            "WorkDeadLetterQueueUrl": self.work.dead_letters.queue_url,
            "OutboundQueueUrl": self.outbound.queue.queue_url,
            "OutboundDeadLetterQueueUrl": self.outbound.dead_letters.queue_url,
            "BusName": self.bus.bus.event_bus_name,
            "SecretArn": self.security.secret_arn,
            "OrderMachineArn": self.workflow.order.state_machine_arn,
            "ReturnMachineArn": self.workflow.returns.state_machine_arn,
            "PrepareMachineArn": self.workflow.prepare.state_machine_arn,
            "AlarmTopicArn": self.monitoring.topic.topic_arn,
            "FunctionNames": self.to_json_string({name: worker.function.function_name for name, worker in self.workers.items()}),
        }
        for name, value in outputs.items():
            # The logical id is the name people look for, so it is given and not derived from the construct's path.
            CfnOutput(self, f"Output{name}", value=value).override_logical_id(name)


def _seconds(function: str) -> Duration:
    return Duration.seconds(_TIMEOUTS[function])
