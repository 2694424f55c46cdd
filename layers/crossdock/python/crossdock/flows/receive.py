"""A webhook has arrived: is it believed, stored once, queued, and answered?"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from crossdock.domain import strict_json
from crossdock.domain.delivery import Delivery, DeliveryStatus, inbound_message
from crossdock.domain.errors import FieldProblem, Rejected
from crossdock.domain.signature import refusal
from crossdock.domain.stage import QueueName
from crossdock.domain.webhook import WebhookContract

if TYPE_CHECKING:  # the intake starts without the models behind these
    from crossdock.domain.clock import Clock
    from crossdock.domain.ports import Deliveries, Queues, Secrets
    from crossdock.flows.services import Services

_UNSAFE = re.compile(r"[^A-Za-z0-9_.:-]+")
REQUEUE_AFTER = timedelta(milliseconds=500)
"""A delivery still unqueued after this was lost between store and queue: its sender's retry queues it again."""


@dataclass(frozen=True)
class Answer:
    """What the sender is told. ``status`` is HTTP's; 2xx only once the delivery is stored and queued."""

    status: int
    title: str
    detail: str
    delivery_id: str | None = None
    duplicate: bool = False
    fields: tuple[FieldProblem, ...] = field(default=())


@dataclass(frozen=True)
class Intake:
    """What taking a webhook in needs, and nothing more: a cold start here is the sender's waiting time."""

    webhooks: Mapping[str, WebhookContract | None]
    """Every connection of the tenant; None: it sends none."""
    max_bytes: int
    clock: Clock
    secrets: Secrets
    deliveries: Deliveries
    queues: Queues
    services: Callable[[], Services]
    """Everything, for the rare body that becomes an exception at once."""


def intake_of(services: Services) -> Intake:
    return Intake(
        webhooks={name: services.connectors.manifest(name).webhooks for name in services.spec.connections},
        max_bytes=services.spec.limits.webhook_bytes,
        clock=services.clock,
        secrets=services.secrets,
        deliveries=services.deliveries,
        queues=services.queues,
        services=lambda: services,
    )


def _topic(contract: WebhookContract, headers: Mapping[str, str], value: object) -> str | None:
    if contract.topic_header:
        found = headers.get(contract.topic_header.lower(), "").strip()
        if found:
            return found
    if contract.topic_field and isinstance(value, dict):
        named = value.get(contract.topic_field)
        if isinstance(named, str) and named.strip():
            return named.strip()
    return None


def delivery_id(connection: str, topic: str, contract: WebhookContract, headers: Mapping[str, str], body: bytes) -> str:
    """Connection, topic and the sender's event id (or delivery id, or the body's hash): the same event is the same delivery,
    however often and under whichever subscription it is sent. The topic is part of it: one event may be told under several."""
    for name in (contract.event_id_header, contract.delivery_id_header):
        given = headers.get(name.lower(), "").strip() if name else ""
        if given:
            break
    else:
        given = "sha256-" + hashlib.sha256(body).hexdigest()
    return safe_id(connection, topic, given)


def safe_id(connection: str, topic: str, key: str) -> str:
    """One id of what a connection told, readable where it can be and a hash where it cannot."""
    made = f"{connection}.{_UNSAFE.sub('-', topic)}.{key}"
    if len(made) > 180 or _UNSAFE.search(key):
        digest = hashlib.sha256(f"{topic}|{key}".encode("utf-8", "surrogatepass")).hexdigest()
        made = f"{connection}.{digest}"
    return made


def receive(connection: str, *, headers: Mapping[str, str], body: bytes, intake: Intake) -> Answer:
    """The whole intake. ``headers`` by lower-case name, ``body`` the bytes as sent. Raises only what the sender should retry on (5xx)."""
    now = intake.clock.now()
    if connection not in intake.webhooks:
        return Answer(404, "Unknown connection", f"There is no connection {connection!r}. Check the address you were given.")
    contract = intake.webhooks[connection]
    if contract is None:
        return Answer(404, "No webhooks here", f"The connection {connection!r} takes no webhooks.")
    limit = min(contract.max_bytes, intake.max_bytes)
    if len(body) > limit:
        return Answer(413, "Too large", f"The body has {len(body)} bytes; at most {limit} are taken.")
    refused = refusal(contract.signature, headers=headers, body=body, secrets=intake.secrets.webhook_secrets(connection), now=now)
    if refused is not None and intake.secrets.refresh():
        refused = refusal(contract.signature, headers=headers, body=body, secrets=intake.secrets.webhook_secrets(connection), now=now)
    if refused is not None:
        return Answer(401, "Not authentic", f"{refused[0].upper()}{refused[1:]}. Sign the raw body with the connection's webhook secret.")
    problem: Rejected | None = None
    value: object = None
    try:
        value = strict_json.loads(body)
    except Rejected as error:
        problem = error
    topic = _topic(contract, headers, value)
    if topic is None:
        topic, place = "untitled", contract.topic_header or contract.topic_field or "topic"
        problem = problem or Rejected(
            "INVALID_BODY",
            f"the message does not say what it is about ({place} is missing)",
            remedy="send the topic with the message",
            fields=[FieldProblem(place, "is missing")],
        )
    delivery = Delivery(
        delivery_id=delivery_id(connection, topic, contract, headers, body), connection=connection, topic=topic[:200], body=body, headers=_kept(headers), received_at=now
    )
    delivery, standing = _store(delivery, intake.deliveries)
    if problem is not None:
        return _unreadable(delivery, standing, problem, intake.services, now)
    if standing is None or (standing is DeliveryStatus.RECEIVED and _forgotten(delivery.delivery_id, intake.deliveries, now)):
        intake.queues.send(QueueName.INBOUND, inbound_message(delivery.delivery_id), group=connection)
    return Answer(200, "Accepted", "Stored and queued." if standing is None else "Known already.", delivery.delivery_id, duplicate=standing is not None)


def _store(delivery: Delivery, deliveries: Deliveries) -> tuple[Delivery, DeliveryStatus | None]:
    note = deliveries.add(delivery)
    if note is not None and note.sha256 != delivery.sha256:
        # Another body under a known id: both are kept, the business keys decide what comes of it.
        delivery = replace(delivery, delivery_id=f"{delivery.delivery_id[:160]}:{delivery.sha256[:16]}")
        note = deliveries.add(delivery)
    return delivery, None if note is None else note.status


def _forgotten(delivery_id: str, deliveries: Deliveries, now: datetime) -> bool:
    note = deliveries.note(delivery_id)
    return note is not None and note.status is DeliveryStatus.RECEIVED and now - note.received_at > REQUEUE_AFTER


def _unreadable(delivery: Delivery, standing: DeliveryStatus | None, problem: Rejected, made: Callable[[], Services], now: datetime) -> Answer:
    """Authentic but not to be read: the sender hears 400, and the bytes stand in the exception queue for a person, once however often they are sent."""
    if standing is DeliveryStatus.EXCEPTION:
        return Answer(400, "Unreadable", problem.detail, delivery.delivery_id, duplicate=True, fields=problem.fields)
    if standing is not None and standing is not DeliveryStatus.RECEIVED:
        return Answer(200, "Accepted", "Known already, and settled by a person.", delivery.delivery_id, duplicate=True)
    from crossdock.flows import raise_exception  # here: it brings the models, which a readable body does without

    services = made()
    raise_exception.for_message(
        problem, queue=QueueName.INBOUND, message=inbound_message(delivery.delivery_id), subject=delivery.delivery_id, connection=delivery.connection, services=services
    )
    services.deliveries.settle(delivery.delivery_id, DeliveryStatus.EXCEPTION, now=now, reason=problem.code)
    return Answer(400, "Unreadable", problem.detail, delivery.delivery_id, fields=problem.fields)


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    """Everything the sender sent, without what would let somebody act as the sender or the caller."""
    return {name: value[:2000] for name, value in headers.items() if name not in ("authorization", "x-api-key", "cookie") and not name.startswith("x-amz")}


def submit(client: str, idempotency_key: str, *, connection: str, topic: str, body: bytes, services: Services) -> Answer:
    """An order through ``/v1`` (already checked by its connector): the same key and body answer the same, another body under the key is refused."""
    now = services.clock.now()
    digest = hashlib.sha256(f"{client}|{idempotency_key}".encode()).hexdigest()
    delivery = Delivery(delivery_id=f"{connection}.{client}.{digest[:40]}", connection=connection, topic=topic, body=body, headers={"x-client": client}, received_at=now)
    note = services.deliveries.add(delivery)
    if note is not None and note.sha256 != delivery.sha256:
        raise Rejected("IDEMPOTENCY_KEY_REUSED", "this Idempotency-Key was used with another body", remedy="send the first body again, or use a new key")
    if note is None or (note.status is DeliveryStatus.RECEIVED and _forgotten(delivery.delivery_id, services.deliveries, now)):
        services.queues.send(QueueName.INBOUND, inbound_message(delivery.delivery_id), group=connection)
    return Answer(202, "Accepted", "Stored and queued.", delivery.delivery_id, duplicate=note is not None)
