"""Which resources does this function (or this operator) work on?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields

from crossdock.domain.stage import QueueName

PREFIX = "CROSSDOCK_"


@dataclass(frozen=True)
class Settings:
    """Names of the stack's resources. A function gets only those it may use; asking for another is a programming error that names it."""

    state_table: str = ""
    audit_table: str = ""
    archive_bucket: str = ""
    inbound_queue_url: str = ""
    inbound_dlq_url: str = ""
    work_queue_url: str = ""
    work_dlq_url: str = ""
    outbound_queue_url: str = ""
    outbound_dlq_url: str = ""
    bus_name: str = ""
    secret_id: str = ""
    order_machine_arn: str = ""
    return_machine_arn: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        found = os.environ if environment is None else environment
        return cls(**{each.name: found[PREFIX + each.name.upper()] for each in fields(cls) if PREFIX + each.name.upper() in found})

    @classmethod
    def from_outputs(cls, outputs: Mapping[str, str]) -> Settings:
        """From the outputs of the tenant's CloudFormation stack."""
        return cls(
            state_table=outputs["StateTable"],
            audit_table=outputs["AuditTable"],
            archive_bucket=outputs["ArchiveBucket"],
            inbound_queue_url=outputs["InboundQueueUrl"],
            inbound_dlq_url=outputs["InboundDeadLetterQueueUrl"],
            work_queue_url=outputs["WorkQueueUrl"],
            work_dlq_url=outputs["WorkDeadLetterQueueUrl"],
            outbound_queue_url=outputs["OutboundQueueUrl"],
            outbound_dlq_url=outputs["OutboundDeadLetterQueueUrl"],
            bus_name=outputs["BusName"],
            secret_id=outputs["SecretArn"],
            order_machine_arn=outputs["OrderMachineArn"],
            return_machine_arn=outputs["ReturnMachineArn"],
        )

    def need(self, name: str) -> str:
        value = str(getattr(self, name))
        if not value:
            raise LookupError(f"{PREFIX}{name.upper()} is not set: this function was not given that resource")
        return value

    def queue_url(self, queue: QueueName) -> str:
        return self.need(f"{queue.value}_queue_url")

    def dead_letter_url(self, queue: QueueName) -> str:
        return self.need(f"{queue.value}_dlq_url")
