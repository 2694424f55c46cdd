"""What may go wrong, and what should whoever meets it do next?"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum


class Category(StrEnum):
    """The four answers to "what now?"."""

    RETRY_LATER = "retry_later"
    REJECTED = "rejected"
    NEEDS_PERSON = "needs_person"
    CONTRACT_DRIFT = "contract_drift"


class Cause(StrEnum):
    """On whose side the cause lies (requirement 67)."""

    SOURCE_DATA = "source_data"
    API_CHANGE = "api_change"
    WAREHOUSE = "warehouse"
    PLATFORM = "platform"


class FieldProblem(tuple[str, str]):
    """(path of the field, what is wrong with it)."""

    __slots__ = ()

    def __new__(cls, path: str, problem: str) -> FieldProblem:
        return super().__new__(cls, (path, problem))

    @property
    def path(self) -> str:
        return self[0]

    @property
    def problem(self) -> str:
        return self[1]


class CrossdockError(Exception):
    """Any classified failure. ``code`` names the exception class (upper snake case, has a runbook page)."""

    category: Category = Category.NEEDS_PERSON
    default_cause: Cause = Cause.PLATFORM

    def __init__(self, code: str, detail: str, *, remedy: str = "", fields: Sequence[FieldProblem] = (), cause: Cause | None = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.remedy = remedy
        self.fields = tuple(fields)
        self.cause = cause or self.default_cause


class RetryLater(CrossdockError):
    """Nothing was done; the same call may succeed later. ``after_seconds`` is the vendor's own wish (Retry-After)."""

    category = Category.RETRY_LATER

    def __init__(self, code: str, detail: str, *, after_seconds: int | None = None, remedy: str = "") -> None:
        super().__init__(code, detail, remedy=remedy)
        self.after_seconds = after_seconds


class UnknownOutcome(RetryLater):
    """The write left this side and no answer came back: it may or may not have happened. Look it up before writing again.

    ``settles_in_seconds``: how long the other side may still be working on it; only after that does its absence there prove anything.
    """

    def __init__(self, code: str, detail: str, *, after_seconds: int | None = None, remedy: str = "", settles_in_seconds: int = 2) -> None:
        super().__init__(code, detail, after_seconds=after_seconds, remedy=remedy)
        self.settles_in_seconds = settles_in_seconds


class Rejected(CrossdockError):
    """The other side understood and refused: never retried unchanged."""

    category = Category.REJECTED
    default_cause = Cause.SOURCE_DATA


class NeedsPerson(CrossdockError):
    """Technically fine, commercially not decidable by rule."""

    category = Category.NEEDS_PERSON
    default_cause = Cause.SOURCE_DATA


class ContractDrift(CrossdockError):
    """The vendor sent what its contract, as known here, does not contain."""

    category = Category.CONTRACT_DRIFT
    default_cause = Cause.API_CHANGE


class ConcurrentChange(RetryLater):
    """Another writer changed the record first: read it again."""
