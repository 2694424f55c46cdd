"""What does a connector say of itself, as data that IAM, network rules, docs and tests are made from?"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from crossdock.domain.model import Model, Name, Text


class Role(StrEnum):
    STOREFRONT = "storefront"
    ERP = "erp"
    WAREHOUSE = "warehouse"
    MARKETPLACE = "marketplace"
    EDI = "edi"


class SignatureScheme(Model):
    """How a sender proves a webhook is its own.

    ``hmac_sha256``: base64 (or hex) HMAC-SHA-256 of the raw body in ``signature_header``; no time inside, so the replay window is
    the remembered delivery id plus ``max_age_seconds`` of ``timestamp_header`` when given.
    ``standard_webhooks``: Standard Webhooks 1.0.0, headers webhook-id, webhook-timestamp, webhook-signature; MAC over ``id.timestamp.body``.
    """

    scheme: Literal["hmac_sha256", "standard_webhooks"]
    signature_header: str = "webhook-signature"
    encoding: Literal["base64", "hex"] = "base64"
    timestamp_header: str | None = None
    """An RFC 3339 time (hmac_sha256) or Unix seconds (standard_webhooks)."""
    tolerance_seconds: int | None = None
    """Replay window, both directions. None: the scheme has no authenticated time."""


class WebhookContract(Model):
    signature: SignatureScheme
    delivery_id_header: str
    """The sender's id of this delivery, the same on its retries."""
    event_id_header: str | None = None
    """The sender's id of the event itself where it has one: the official duplicate key."""
    topic_header: str | None = None
    topic_field: str | None = None
    """Top-level JSON field that names the topic when no header does."""
    max_bytes: int = 1_048_576
    answer_within_seconds: Annotated[int, Field(gt=0)]


class PollContract(Model):
    """A resource that must be asked for."""

    reason: Text
    every_seconds: Annotated[int, Field(ge=1)]
    """How often when nothing in particular is awaited."""
    awaited_every_seconds: Annotated[int, Field(ge=1)]
    """How often while an order waits for it."""
    answers: tuple[str, ...] = ()
    """Command types whose outcome this poll reports (``ReleaseFulfillment``): issuing one starts the awaited rhythm."""


class IgnoredEvent(Model):
    reason: Annotated[str, StringConstraints(min_length=10)]


class RateLimit(Model):
    """The vendor's published limit for one connection."""

    requests: Annotated[int, Field(gt=0)]
    per_seconds: Annotated[int, Field(gt=0)]
    source: Text


class ConnectorManifest(Model):
    """``manifest.yaml`` of a connector folder; every field is checked by the conformance suite."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
    title: Name
    version: Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$")]
    owner: Name
    """Who answers for contract and mapping (requirement 15)."""
    vendor_documentation: Text
    api_version: str
    roles: tuple[Role, ...] = Field(min_length=1)
    commands: tuple[str, ...]
    """Command types it executes."""
    queries: tuple[str, ...] = ()
    """Reads it answers: ``credit``, ``prices``, ``stock``."""
    handled: dict[str, str] = Field(default_factory=dict)
    """Topic to one sentence: what comes of it."""
    ignored: dict[str, IgnoredEvent] = Field(default_factory=dict)
    webhooks: WebhookContract | None = None
    polls: dict[str, PollContract] = Field(default_factory=dict)
    credentials: tuple[str, ...]
    """Names of the secret fields a connection needs."""
    settings: dict[str, str] = Field(default_factory=dict)
    """Names of the non-secret settings a connection needs, with their meaning."""
    hosts: tuple[str, ...]
    """Host patterns it may call (``*.vendor.example``)."""
    rate_limit: RateLimit
    ships_in_base_units: bool = False
    """Whether its shipments count base units (a 3PL that knows no packs) rather than the ordered unit."""

    @model_validator(mode="after")
    def _closed_world(self) -> ConnectorManifest:
        both = set(self.handled) & set(self.ignored)
        if both:
            raise ValueError(f"both handled and ignored: {', '.join(sorted(both))}")
        return self
