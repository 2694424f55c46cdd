"""How does one POST to the Admin GraphQL endpoint become an answer?"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    GraphQLError,
    GraphQLResolveInfo,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    execute,
    get_operation_ast,
    parse,
    validate,
)
from graphql.execution.values import get_variable_values

from local.simulators.server import Answer, Call
from local.simulators.shopify.contract import IDEMPOTENT_FROM, MAX_QUERY_COST
from local.simulators.shopify.cost import Bucket, requested_cost
from local.simulators.shopify.figures import gid_parts
from local.simulators.shopify.mutations import Mutations
from local.simulators.shopify.nodes import Nodes, unsupported
from local.simulators.shopify.queries import Queries
from local.simulators.shopify.schema import SchemaMissing, admin_schema
from local.simulators.shopify.shop import Shop

PATH = re.compile(r"^/admin/api/(?P<version>[^/]+)/graphql\.json$")
_ORDER_GID = re.compile(r"gid://shopify/Order/\d+")
DOCUMENTATION = "https://shopify.dev/api/usage/rate-limits"


class AdminApi:
    """The shop's GraphQL endpoint: authentication, schema, cost, execution."""

    def __init__(self, shop: Shop, access_token: str) -> None:
        self.shop = shop
        self._token = access_token
        nodes = Nodes(shop)
        self._roots = {
            "QueryRoot": Queries(shop, nodes).resolvers(),
            "Mutation": Mutations(shop, nodes).resolvers(),
        }
        throttle = shop.seed.throttle
        self.bucket = Bucket(throttle.maximum_available, throttle.restore_rate)

    def knows(self, call: Call) -> bool:
        return call.headers.get("x-shopify-access-token") == self._token

    def answer(self, call: Call, version: str) -> Answer:
        if not self.knows(call):
            message = "[API] Invalid API key or access token (unrecognized login or wrong password)"
            return Answer(401, {"errors": message})
        if call.method != "POST":
            return Answer(405, {"errors": "Method Not Allowed"}, {"allow": "POST"})
        try:
            schema = admin_schema(version)
        except SchemaMissing as error:
            return Answer(404, {"errors": f"Not Found: {error}"})
        if version < IDEMPOTENT_FROM:
            return Answer(404, {"errors": f"Not Found: the simulator speaks {IDEMPOTENT_FROM} and later"})
        media = call.headers.get("content-type", "").split(";")[0].strip().lower()
        if media != "application/json":
            return Answer(415, {"errors": "Unsupported Media Type: send application/json"})
        answer = self._execute(call, schema)
        return Answer(answer.status, answer.body, {**answer.headers, "x-shopify-api-version": version})

    def _execute(self, call: Call, schema: GraphQLSchema) -> Answer:
        try:
            payload = call.json()
        except ValueError as error:
            return Answer(400, {"errors": {"json": f"the body is no JSON: {error}"}})
        if not isinstance(payload, dict) or not isinstance(payload.get("query"), str) or not payload["query"].strip():
            return Answer(400, {"errors": {"query": "Required parameter missing or invalid"}})
        variables = payload.get("variables") or {}
        if not isinstance(variables, dict):
            return Answer(400, {"errors": {"variables": "Must be an object"}})
        document = _parsed(payload["query"])
        if isinstance(document, GraphQLError):
            return _refused([document], "PARSE_ERROR")
        problems = _problems(schema, payload["query"])
        if problems:
            return _refused(list(problems), "undefinedField")
        operation = get_operation_ast(document, payload.get("operationName"))
        if operation is None:
            return _refused([GraphQLError("An operation name is required")], "missingOperation")
        coerced = get_variable_values(schema, operation.variable_definitions, variables)
        if isinstance(coerced, list):
            return _refused(coerced, "INVALID_VARIABLE")
        return self._charged(schema, document, operation, payload.get("operationName"), variables, coerced)

    def _charged(
        self,
        schema: GraphQLSchema,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        name: str | None,
        variables: dict[str, Any],
        coerced: dict[str, Any],
    ) -> Answer:
        now = self.shop.clock.now()
        wanted = requested_cost(schema, document, operation, coerced)
        if wanted > MAX_QUERY_COST:
            message = f"Query cost is {wanted}, which exceeds the single query max cost limit ({MAX_QUERY_COST})."
            return _refused([GraphQLError(message, extensions={"cost": wanted, "maxCost": MAX_QUERY_COST})], "MAX_COST_EXCEEDED")
        if not self.bucket.take(wanted, now):
            error = {"message": "Throttled", "extensions": {"code": "THROTTLED", "documentation": DOCUMENTATION}}
            cost = {"requestedQueryCost": wanted, "actualQueryCost": None, "throttleStatus": self.bucket.status(now)}
            return Answer(200, {"errors": [error], "extensions": {"cost": cost}})
        counter = _Counter(operation.operation is OperationType.MUTATION)
        result = execute(
            schema,
            document,
            root_value={},
            variable_values=variables,
            operation_name=name,
            context_value=counter,
            field_resolver=self._resolve,
            type_resolver=_type_of,
        )
        assert isinstance(result, ExecutionResult)
        actual = min(wanted, counter.points)
        self.bucket.give_back(wanted - actual)
        body: dict[str, Any] = {"data": result.data}
        if result.errors:
            body["errors"] = [_shown(error) for error in result.errors]
        cost = {"requestedQueryCost": wanted, "actualQueryCost": actual, "throttleStatus": self.bucket.status(now)}
        return Answer(200, {**body, "extensions": {"cost": cost}})

    def _resolve(self, source: Any, info: GraphQLResolveInfo, **arguments: Any) -> Any:
        """Every field: a root resolver, or what the node says. Anything else is an error, never a silent null."""
        parent = info.parent_type.name
        if parent in self._roots:
            info.context.points += 1
            resolver = self._roots[parent].get(info.field_name)
            if resolver is None:
                raise unsupported(f"{parent}.{info.field_name}")
            return resolver(info, **arguments)
        if not isinstance(source, dict) or info.field_name not in source:
            raise unsupported(f"{parent}.{info.field_name}")
        value = source[info.field_name]
        if callable(value):
            value = value(**arguments)
        info.context.count(value)
        return value


class _Counter:
    """Points really spent: one for each object answered, ten for a mutation."""

    def __init__(self, mutation: bool) -> None:
        self.points = 10 if mutation else 0

    def count(self, value: Any) -> None:
        if isinstance(value, dict) and "pageInfo" not in value:
            self.points += 1
        elif isinstance(value, list):
            self.points += sum(isinstance(item, dict) for item in value)


def root_fields(call: Call) -> list[str]:
    """The names a fault may match: the operation's own name and its root fields."""
    try:
        payload = call.json()
    except ValueError:
        return []
    query = payload.get("query") if isinstance(payload, dict) else None
    document = _parsed(query) if isinstance(query, str) else None
    if document is None or isinstance(document, GraphQLError):
        return []
    operation = get_operation_ast(document, payload.get("operationName"))
    if operation is None:
        return []
    names = [operation.name.value] if operation.name else []
    return names + [node.name.value for node in operation.selection_set.selections if isinstance(node, FieldNode)]


def order_gids(call: Call) -> list[str]:
    """Every order that the request speaks of, by global id."""
    found = _ORDER_GID.findall(call.body.decode(errors="replace"))
    return list(dict.fromkeys(text for text in found if gid_parts(text)))


@lru_cache(maxsize=256)
def _parsed(query: str) -> DocumentNode | GraphQLError:
    try:
        return parse(query)
    except GraphQLError as error:
        return error


@lru_cache(maxsize=256)
def _problems(schema: GraphQLSchema, query: str) -> tuple[GraphQLError, ...]:
    document = _parsed(query)
    assert isinstance(document, DocumentNode)
    return tuple(validate(schema, document))


def _type_of(value: Any, _info: GraphQLResolveInfo, abstract: Any) -> str:
    name = value.get("__typename") if isinstance(value, dict) else None
    if name is None:
        raise unsupported(f"{abstract.name} here")
    return str(name)


def _refused(errors: list[GraphQLError], code: str) -> Answer:
    """Shopify answers 200 with errors and no data for a document or variables it does not accept."""
    shown = [_shown(error) for error in errors]
    for entry in shown:
        entry.setdefault("extensions", {}).setdefault("code", code)
    return Answer(200, {"errors": shown})


def _shown(error: GraphQLError) -> dict[str, Any]:
    return dict(error.formatted)
