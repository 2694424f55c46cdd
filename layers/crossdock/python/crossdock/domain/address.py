"""Where goods and papers go."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from crossdock.domain.model import Model

_Line = Annotated[str, StringConstraints(max_length=255)]


class Address(Model):
    """A postal address. ``country`` is ISO 3166-1 alpha-2, ``region`` the second part of ISO 3166-2 (``IL``)."""

    name: _Line = ""
    company: _Line = ""
    line1: _Line = ""
    line2: _Line = ""
    city: _Line = ""
    region: _Line = ""
    postal_code: _Line = ""
    country: Annotated[str, StringConstraints(pattern=r"^([A-Z]{2})?$")] = ""
    phone: _Line = ""
    email: _Line = ""

    def missing(self) -> list[str]:
        """Names of the fields without which no carrier can deliver."""
        needed = {"line1": self.line1, "city": self.city, "postal_code": self.postal_code, "country": self.country}
        return [field for field, value in needed.items() if not value.strip()] + ([] if (self.name + self.company).strip() else ["name"])
