"""How does the shop say no? As user errors inside a 200 answer, each with the field that caused it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class UserError:
    message: str
    field: tuple[str, ...] | None = None
    code: str | None = None

    def node(self) -> dict[str, object]:
        return {"message": self.message, "field": None if self.field is None else list(self.field), "code": self.code}


class Refused(Exception):
    """The shop understood and will not do it. Raised before anything was changed."""

    def __init__(self, *errors: UserError) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = errors


def refuse(message: str, *field: str, code: str | None = None) -> Refused:
    return Refused(UserError(message, field or None, code))
