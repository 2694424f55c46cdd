"""A value that only its owner changes, and whose large changes wait for another person: what counts, and what is asked for?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Generic, TypeVar

from crossdock.domain.identifiers import ConnectionName
from crossdock.domain.model import Instant, Model, Name

Value = TypeVar("Value", bound=Model)


class Told(Model, Generic[Value]):
    """The value as its owner told it."""

    value: Value
    as_of: Instant
    """Since when it is so with its owner."""
    source: ConnectionName
    requested_by: Name
    """Who changed it there, as far as the owner says; its connection otherwise."""
    approved_by: Name | None = None
    """Who let it pass here; None where nobody had to."""


class Governed(Model, Generic[Value]):
    """``standing`` counts. ``proposed`` is what the owner says now and nobody has let pass yet; ``refused`` what it says and somebody did not let pass."""

    standing: Told[Value] | None = None
    proposed: Told[Value] | None = None
    refused: Told[Value] | None = None

    @property
    def known_at(self) -> datetime | None:
        """Of the newest word of the owner, whatever became of it."""
        return max((told.as_of for told in (self.standing, self.proposed, self.refused) if told is not None), default=None)

    @property
    def stale(self) -> bool:
        """What counts here is not what its owner says."""
        return self.proposed is not None or self.refused is not None

    def heard(self, told: Told[Value], *, needs_approval: Callable[[Value, Value], bool]) -> Governed[Value] | None:
        """After the owner's word. None: told before, or overtaken by a newer one. ``needs_approval`` is asked with the value before and after;
        the very first value has no before and counts at once."""
        if self.known_at is not None and told.as_of <= self.known_at:
            return None
        if self.standing is None or self.standing.value == told.value:
            approved_by = self.standing.approved_by if self.standing else None
            return type(self)(standing=told.model_copy(update={"approved_by": approved_by}))
        if needs_approval(self.standing.value, told.value):
            return type(self)(standing=self.standing, proposed=told)
        return type(self)(standing=told)

    def approved(self, by: str) -> Governed[Value] | None:
        """None: nothing is proposed."""
        return None if self.proposed is None else type(self)(standing=self.proposed.model_copy(update={"approved_by": by}))

    def declined(self) -> Governed[Value] | None:
        """None: nothing is proposed."""
        return None if self.proposed is None else type(self)(standing=self.standing, refused=self.proposed)
