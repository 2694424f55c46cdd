"""How do all workers of a tenant share one budget of calls? One small conditional write moves the connection's mark."""

from __future__ import annotations

from crossdock.aws.failure import condition_failed, response_of
from crossdock.aws.table import StateTable, number, text


class DynamoBudgets:
    """Implements ``ports.Budgets``."""

    def __init__(self, table: StateTable) -> None:
        self._table = table

    def advance(self, name: str, *, seen: int | None, to: int, now: int) -> int | None:
        condition = "attribute_not_exists(pk) OR mark <= :seen" if seen is None else "mark = :seen"
        try:
            self._table.client.put_item(
                TableName=self._table.name,
                Item={"pk": text(f"BUDGET#{name}"), "sk": text("MARK"), "mark": number(to)},
                ConditionExpression=condition,
                ExpressionAttributeValues={":seen": number(now if seen is None else seen)},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except Exception as error:
            if not condition_failed(error):
                raise
            standing = response_of(error).get("Item") or self._table.get(f"BUDGET#{name}", "MARK") or {}
            return int(standing["mark"]["N"]) if standing else 0
        return None
