"""Is this request body what the entity's contract allows, and which values does it set?"""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from local.simulators import exact_json
from local.simulators.business_central import refusals
from local.simulators.business_central.contract import ENUMS, NO_DATE, NO_ID, Entity, Field

GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_INT_RANGES = {"int": 2**31, "bigint": 2**63}


def parse(raw: bytes) -> dict[str, Any]:
    """The body as a JSON object, fractional numbers exact. Refuses everything else."""
    try:
        body = exact_json.loads(raw)
    except ValueError as error:
        raise refusals.bad_request("Invalid Request Body") from error
    if not isinstance(body, dict):
        raise refusals.bad_request("Invalid Request Body")
    return body


def checked(entity: Entity, body: dict[str, Any], *, children: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The values a client sets, in the order it sent them; properties named in `children` are left to the caller.

    OData annotations (`@...`) are ignored as the vendor does. null sets a nullable property to its blank value.
    """
    values: dict[str, Any] = {}
    for name, value in body.items():
        if "@" in name or name in children:
            continue
        found = entity.fields.get(name)
        if found is None:
            raise refusals.bad_request(
                f"The property '{name}' does not exist on type 'Microsoft.NAV.{entity.set_name}'. Make sure to only use property names that are defined by the type."
            )
        if name in entity.read_only:
            raise refusals.read_only(name)
        values[name] = _value(found, value)
    return values


def blank(found: Field) -> Any:
    """What an unset property holds."""
    if found.is_enum:
        return ENUMS[found.kind][0]
    blanks = {
        "text": "",
        "guid": NO_ID,
        "date": NO_DATE,
        "datetime": f"{NO_DATE}T00:00:00Z",
        "decimal": Decimal(0),
        "int": 0,
        "bigint": 0,
        "bool": False,
    }
    return blanks[found.kind]


def blank_record(entity: Entity) -> dict[str, Any]:
    return {name: blank(found) for name, found in entity.fields.items()}


def _value(found: Field, value: Any) -> Any:
    if value is None:
        if not found.nullable:
            raise refusals.Refused(400, "BadRequest_RequiredParamNotProvided", f"Field '{found.name}' must not be blank or empty.")
        return blank(found)
    if found.kind == "text":
        return _text(found, value)
    if found.is_enum:
        if value not in ENUMS[found.kind]:
            raise refusals.Refused(
                400,
                "Application_EvaluateException",
                f'The value "{value}" cannot be evaluated into type {found.kind} of property {found.name}.',
            )
        return value
    return _typed(found, value)


def _text(found: Field, value: Any) -> str:
    if not isinstance(value, str):
        raise _cannot_convert(found, value)
    if found.max_length is not None and len(value) > found.max_length:
        raise refusals.too_long(len(value), found.max_length, value)
    return value


def _typed(found: Field, value: Any) -> Any:
    kind = found.kind
    if kind == "bool":
        if isinstance(value, bool):
            return value
    elif kind == "decimal":
        if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
            return Decimal(value)
    elif kind in _INT_RANGES:
        limit = _INT_RANGES[kind]
        if isinstance(value, int) and not isinstance(value, bool) and -limit <= value < limit:
            return value
    elif kind == "guid":
        if isinstance(value, str) and GUID.fullmatch(value):
            return value.lower()
    elif isinstance(value, str) and _is_moment(kind, value):
        return value
    raise _cannot_convert(found, value)


def _is_moment(kind: str, value: str) -> bool:
    try:
        if kind == "date":
            return bool(_DATE.fullmatch(value)) and date.fromisoformat(value) is not None
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _cannot_convert(found: Field, value: Any) -> refusals.Refused:
    kinds = {"text": "String", "guid": "Guid", "decimal": "Decimal", "bool": "Boolean", "date": "Date"}
    kind = kinds.get(found.kind, found.kind.capitalize())
    return refusals.bad_request(f"Cannot convert the literal '{value}' to the expected type 'Edm.{kind}' (property '{found.name}').")
