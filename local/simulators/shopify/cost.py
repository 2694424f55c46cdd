"""What does a GraphQL request cost, and is there enough left in the bucket?

Shopify counts points: an object 1, a connection 2 and its page size times what one node costs, a mutation 10, scalars
nothing (https://shopify.dev/docs/api/usage/limits#calculated-query-costs). Real pages are charged on a gentler curve, so a
query that passes here passes there.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    VariableNode,
    get_named_type,
)
from graphql.type import is_composite_type, is_leaf_type

MUTATION_COST = 10
_CONNECTION_PARTS = {"nodes", "edges", "node", "pageInfo"}


def requested_cost(schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode, variables: dict[str, Any]) -> int:
    """Points a valid document would cost at most."""
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    mutation = operation.operation is OperationType.MUTATION
    root = schema.mutation_type if mutation else schema.query_type
    base = MUTATION_COST * len(operation.selection_set.selections) if mutation else 0
    return base + _selection(schema, root, operation.selection_set, fragments, variables)


def _selection(
    schema: GraphQLSchema,
    parent: Any,
    selections: SelectionSetNode | None,
    fragments: dict[str, FragmentDefinitionNode],
    variables: dict[str, Any],
) -> int:
    total = 0
    for node in selections.selections if selections else ():
        if isinstance(node, FieldNode):
            total += _field(schema, parent, node, fragments, variables)
            continue
        fragment: Any = node
        if isinstance(node, FragmentSpreadNode):
            fragment = fragments[node.name.value]
        assert isinstance(fragment, FragmentDefinitionNode | InlineFragmentNode)
        condition = fragment.type_condition
        target = schema.get_type(condition.name.value) if condition else parent
        total += _selection(schema, target, fragment.selection_set, fragments, variables)
    return total


def _field(
    schema: GraphQLSchema,
    parent: Any,
    node: FieldNode,
    fragments: dict[str, FragmentDefinitionNode],
    variables: dict[str, Any],
) -> int:
    definition = getattr(parent, "fields", {}).get(node.name.value)
    if definition is None:  # __typename
        return 0
    kind = get_named_type(definition.type)
    if is_leaf_type(kind) or not is_composite_type(kind):
        return 0
    inner = _selection(schema, kind, node.selection_set, fragments, variables)
    if isinstance(kind, GraphQLObjectType) and kind.name.endswith("Connection"):
        return 2 + _page_size(node, variables) * inner
    free = getattr(parent, "name", "").endswith(("Connection", "Edge")) and node.name.value in _CONNECTION_PARTS
    if free:
        return inner if node.name.value != "nodes" and node.name.value != "node" else 1 + inner
    return (0 if kind.name.endswith("Payload") else 1) + inner


def _page_size(node: FieldNode, variables: dict[str, Any]) -> int:
    for argument in node.arguments:
        if argument.name.value in {"first", "last"}:
            if isinstance(argument.value, IntValueNode):
                return int(argument.value.value)
            if isinstance(argument.value, VariableNode):
                return int(variables.get(argument.value.name.value) or 0)
    return 0


class Bucket:
    """Points that leak back at a steady rate. Not persisted: a restart finds it full."""

    def __init__(self, maximum: float, restore_rate: float) -> None:
        self.maximum = maximum
        self.restore_rate = restore_rate
        self._available = maximum
        self._filled_at: datetime | None = None

    def available(self, now: datetime) -> float:
        if self._filled_at is not None:
            seconds = max(0.0, (now - self._filled_at).total_seconds())
            self._available = min(self.maximum, self._available + seconds * self.restore_rate)
        self._filled_at = now
        return self._available

    def take(self, points: float, now: datetime) -> bool:
        """Pay; False and nothing paid when there is not enough."""
        if points > self.available(now):
            return False
        self._available -= points
        return True

    def give_back(self, points: float) -> None:
        self._available = min(self.maximum, self._available + points)

    def status(self, now: datetime) -> dict[str, float]:
        return {
            "maximumAvailable": self.maximum,
            "currentlyAvailable": int(self.available(now)),
            "restoreRate": self.restore_rate,
        }
