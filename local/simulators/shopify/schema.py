"""Which Admin GraphQL schema does the shop speak? Shopify's own, as its npm package ships it."""

from __future__ import annotations

import gzip
import json
import re
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from graphql import GraphQLError, GraphQLScalarType, GraphQLSchema, build_client_schema

PACKAGE_DATA = Path(__file__).resolve().parents[3] / "node_modules" / "@shopify" / "dev-mcp" / "dist" / "data"
_VERSION = re.compile(r"^\d{4}-(01|04|07|10)$")


class SchemaMissing(Exception):
    """The npm package with Shopify's schema is not installed, or has no such version."""


def available_versions() -> list[str]:
    names = (path.name for path in PACKAGE_DATA.glob("admin_*.json.gz"))
    versions = (name.removeprefix("admin_").removesuffix(".json.gz") for name in names)
    return sorted(version for version in versions if _VERSION.match(version))


@lru_cache(maxsize=4)
def admin_schema(version: str) -> GraphQLSchema:
    """The schema of one API version. Raises SchemaMissing."""
    path = PACKAGE_DATA / f"admin_{version}.json.gz"
    if not _VERSION.match(version) or not path.exists():
        known = ", ".join(available_versions()) or "none: run `npm ci` in the repository"
        raise SchemaMissing(f"no Admin schema {version}; installed are {known}")
    introspection = json.loads(gzip.decompress(path.read_bytes()))
    # assume_valid: the newest graphql-core finds fault with Shopify's own schema.
    schema = build_client_schema(introspection.get("data", introspection), assume_valid=True)
    for name, reader in _SCALARS.items():
        scalar = schema.get_type(name)
        if isinstance(scalar, GraphQLScalarType):
            scalar.parse_value = reader  # type: ignore[method-assign]
    return schema


def _decimal(value: Any) -> Any:
    """Decimal and Money travel as strings; a JSON number is taken too, as Shopify does."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal | float):
        raise GraphQLError(f"{value!r} is no decimal")
    try:
        number = Decimal(str(value))
    except InvalidOperation as error:
        raise GraphQLError(f"{value!r} is no decimal") from error
    if not number.is_finite():
        raise GraphQLError(f"{value!r} is no decimal")
    return number


def _moment(value: Any) -> Any:
    if isinstance(value, str) and "T" in value:
        try:
            if datetime.fromisoformat(value).tzinfo is not None:
                return value
        except ValueError as error:
            raise GraphQLError(f"{value!r} is no ISO 8601 date and time: {error}") from error
    raise GraphQLError(f"{value!r} is no ISO 8601 date and time with an offset")


def _url(value: Any) -> Any:
    if isinstance(value, str):
        parts = urlparse(value)
        if parts.scheme in {"http", "https"} and parts.netloc and " " not in value:
            return value
    raise GraphQLError(f"Invalid url {value!r}, missing scheme or host")


def _unsigned(value: Any) -> Any:
    if isinstance(value, str | int) and not isinstance(value, bool) and str(value).isdigit():
        return int(value)
    raise GraphQLError(f"{value!r} is no unsigned 64-bit integer")


_SCALARS = {"Decimal": _decimal, "Money": _decimal, "DateTime": _moment, "URL": _url, "UnsignedInt64": _unsigned}
