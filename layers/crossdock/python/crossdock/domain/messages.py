"""What do the queues carry? Pointers: who needs more reads the record, so an edited record is what a redrive acts on."""

from __future__ import annotations

import json
from typing import Literal

from pydantic import ConfigDict, Field, TypeAdapter

from crossdock.domain.events import Event
from crossdock.domain.identifiers import ConnectionName, ReturnId
from crossdock.domain.model import Model
from crossdock.domain.waiting import ReturnStep, Step


class InboundMessage(Model):
    delivery_id: str


class StepRequest(Model):
    """The order workflow asks for a step and waits with the token for the answer."""

    request: Step
    order_id: str
    token: str
    why: str | dict[str, object] | None = None


class ReturnStepRequest(Model):
    """The same of a return's workflow."""

    request: ReturnStep
    return_id: ReturnId
    token: str
    why: str | dict[str, object] | None = None


class StuckNotice(Model):
    """A workflow ended in a way it should not."""

    request: Literal["stuck"]
    order_id: str | None = None
    return_id: ReturnId | None = None
    why: str | dict[str, object] | None = None


class OutboundMessage(Model):
    """A command by name; its content is made from the record when it is delivered."""

    command: str
    connection: ConnectionName
    order_id: str | None = None
    part_id: str | None = None
    shipment_id: str | None = None
    return_id: ReturnId | None = None
    arguments: dict[str, str] = Field(default_factory=dict)

    def text(self) -> str:
        return json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"))

    @property
    def group(self) -> str:
        return self.connection


class WorkMessage(Model):
    """Either an event from the bus or a request of a workflow."""

    event: Event | None = None
    step: StepRequest | ReturnStepRequest | None = None
    stuck: StuckNotice | None = None


_STEP: TypeAdapter[StepRequest | ReturnStepRequest | StuckNotice] = TypeAdapter(StepRequest | ReturnStepRequest | StuckNotice, config=ConfigDict(defer_build=True))


def work_message(body: str) -> WorkMessage:
    """Reads a work-queue body: EventBridge's envelope (our event is its ``detail``) or a workflow's request."""
    value = json.loads(body)
    if isinstance(value, dict) and "detail" in value:
        return WorkMessage(event=Event.model_validate_json(json.dumps(value["detail"])))
    request = _STEP.validate_python(value)
    return WorkMessage(stuck=request) if isinstance(request, StuckNotice) else WorkMessage(step=request)


def work_body(event: Event) -> str:
    """The same shape the bus delivers, for events that are sent to the work queue directly (parked ones, when they join)."""
    return json.dumps({"detail-type": event.type, "source": f"crossdock.{event.source}", "detail": event.as_json()}, separators=(",", ":"))
