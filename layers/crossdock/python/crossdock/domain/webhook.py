"""How does a sender of webhooks prove itself and name what it sends? Plain data: the intake reads it without the model library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

_CLOSED = {"extra": "forbid"}


@dataclass(frozen=True)
class SignatureScheme:
    """How a sender proves a webhook is its own.

    ``hmac_sha256``: base64 (or hex) HMAC-SHA-256 of the raw body in ``signature_header``; no time inside, so the replay window is
    the remembered delivery id plus ``max_age_seconds`` of ``timestamp_header`` when given.
    ``standard_webhooks``: Standard Webhooks 1.0.0, headers webhook-id, webhook-timestamp, webhook-signature; MAC over ``id.timestamp.body``.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _CLOSED

    scheme: Literal["hmac_sha256", "standard_webhooks"]
    signature_header: str = "webhook-signature"
    encoding: Literal["base64", "hex"] = "base64"
    timestamp_header: str | None = None
    """An RFC 3339 time (hmac_sha256) or Unix seconds (standard_webhooks)."""
    tolerance_seconds: int | None = None
    """Replay window, both directions. None: the scheme has no authenticated time."""


@dataclass(frozen=True)
class WebhookContract:
    __pydantic_config__: ClassVar[dict[str, Any]] = _CLOSED

    signature: SignatureScheme
    delivery_id_header: str
    """The sender's id of this delivery, the same on its retries."""
    answer_within_seconds: int
    event_id_header: str | None = None
    """The sender's id of the event itself where it has one: the official duplicate key."""
    topic_header: str | None = None
    topic_field: str | None = None
    """Top-level JSON field that names the topic when no header does."""
    max_bytes: int = 1_048_576

    def __post_init__(self) -> None:
        if self.answer_within_seconds <= 0:
            raise ValueError("answer_within_seconds must be positive")

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> WebhookContract:
        """From what ``dataclasses.asdict`` of a checked contract made."""
        return cls(**{**document, "signature": SignatureScheme(**document["signature"])})
