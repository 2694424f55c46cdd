"""Was this mutation already carried out under the same @idempotent key?

Documented at https://shopify.dev/docs/api/usage/idempotent-requests: the same key with the same input answers what the first
request answered; with another input, or after a failed first request, it is refused.
"""

from __future__ import annotations

import hashlib
from typing import Any

from graphql import GraphQLError, GraphQLResolveInfo
from graphql.execution.values import get_directive_values

from local.simulators import exact_json
from local.simulators.shopify.contract import COMPARE_FIELD, IDEMPOTENT_MUTATIONS
from local.simulators.shopify.refusal import Refused, refuse
from local.simulators.shopify.shop import Document, Shop

MISSING = "The @idempotent directive is required for this mutation but was not provided."
MISMATCH = "The request with this idempotency key has different parameters than the original request."
FAILED_BEFORE = "A previous request with this idempotency key failed. Retry with a new idempotency key."


def key_of(info: GraphQLResolveInfo) -> str | None:
    """The key of the mutation being resolved. Raises GraphQLError where one is required and absent, or blank."""
    directive = info.schema.get_directive("idempotent")
    values = get_directive_values(directive, info.field_nodes[0], info.variable_values) if directive else None
    key = values["key"] if values else None
    if key is None and info.field_name in IDEMPOTENT_MUTATIONS:
        raise GraphQLError(MISSING, extensions={"code": "BAD_REQUEST"})
    if key is not None and not key.strip():
        raise GraphQLError("The idempotency key cannot be blank.", extensions={"code": "BAD_REQUEST"})
    return key


def require_compare_field(entries: list[dict[str, Any]], input_type: str) -> None:
    """From 2026-04 each entry names changeFromQuantity, if only as null. Raises GraphQLError."""
    if any(COMPARE_FIELD not in entry for entry in entries):
        raise GraphQLError(
            f"{input_type} must include the following argument: {COMPARE_FIELD}.",
            extensions={"code": "INVALID_FIELD_ARGUMENTS"},
        )


class Answers:
    """What was answered under each key: a pointer to the result, never the result's text."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def earlier(self, key: str, operation: str, given: Any) -> Document | None:
        """The remembered result; None for a new key. Raises Refused for a key that was used otherwise or failed."""
        known = self._shop.answers.get(key)
        if known is None:
            return None
        if (known["operation"], known["input"]) != (operation, _fingerprint(given)):
            raise refuse(MISMATCH, code="IDEMPOTENCY_KEY_PARAMETER_MISMATCH")
        if known["result"] is None:
            raise refuse(FAILED_BEFORE, code="IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED")
        result: Document = known["result"]
        return result

    def remember(self, key: str, operation: str, given: Any, result: Document | None) -> None:
        """`result` None: the attempt was refused."""
        self._shop.answers.put(
            key,
            {
                "key": key,
                "operation": operation,
                "input": _fingerprint(given),
                "result": result,
                "at": self._shop.now(),
            },
        )


def once(shop: Shop, key: str, operation: str, given: Any, work: Any) -> Document:
    """Do `work()` (which answers a pointer document) under a key, or answer what it answered before. Raises Refused."""
    answers = Answers(shop)
    earlier = answers.earlier(key, operation, given)
    if earlier is not None:
        return earlier
    try:
        result: Document = work()
    except Refused:
        answers.remember(key, operation, given, None)
        raise
    answers.remember(key, operation, given, result)
    return result


def _fingerprint(given: Any) -> str:
    canonical = exact_json.dumps(_sorted(given))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
