"""What does a connector say of itself, as data that IAM, network rules, docs and tests are made from?"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from crossdock.domain.model import Model, Name, Text
from crossdock.domain.webhook import WebhookContract


class Role(StrEnum):
    STOREFRONT = "storefront"
    ERP = "erp"
    WAREHOUSE = "warehouse"
    MARKETPLACE = "marketplace"
    EDI = "edi"


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
    """Reads it answers: ``credit``, ``prices``, ``stock``, ``shown``, ``list_prices``, ``orders`` (those changed since a moment), ``sales_order``."""
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
