"""What does a workflow wait for, and where does the answer go?"""

from __future__ import annotations

from enum import StrEnum

from crossdock.domain.model import Instant, Model


class Step(StrEnum):
    """What an order's workflow waits for; each is one of its states. A release is answered when all has shipped and is confirmed and invoiced."""

    HOLD = "hold"
    POST = "post"
    RELEASE = "release"
    COMPENSATE = "compensate"


class ReturnStep(StrEnum):
    """What a return's workflow waits for; each is one of its states."""

    AUTHORISE = "authorise"
    RECEIVE = "receive"
    """Until what was agreed has come, or will not come any more."""
    SETTLE = "settle"
    """Until what came is credited and refunded, and the storefront has closed the return."""
    CALL_OFF = "call_off"
    """Until everybody who was told of the return knows that nothing comes of it."""


class Waiting(Model):
    """The open question of the workflow and where its answer goes."""

    step: Step | ReturnStep
    token: str
    since: Instant
    answer: dict[str, str | bool] | None = None
    """Decided; written before it is sent, so that whoever comes after a crash sends it again."""
    older: tuple[str, ...] = ()
    """Tokens under which the engine asked the same before (a retry of its own): one of them may be the one that waits."""

    @property
    def tokens(self) -> tuple[str, ...]:
        """Every token that may still wait."""
        return (*self.older, self.token)
