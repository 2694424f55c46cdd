"""How are small facts kept: how far a poll has read, and whose turn a periodic task is?"""

from __future__ import annotations

from datetime import datetime

from crossdock.aws.failure import condition_failed
from crossdock.aws.table import StateTable, stamp, text


class DynamoCursors:
    """Implements ``ports.Cursors``."""

    def __init__(self, table: StateTable) -> None:
        self._table = table

    def get(self, name: str) -> str | None:
        item = self._table.get(f"CURSOR#{name}", "VALUE")
        return item["value"]["S"] if item and "value" in item else None

    def put(self, name: str, value: str) -> None:
        self._table.client.put_item(TableName=self._table.name, Item={"pk": text(f"CURSOR#{name}"), "sk": text("VALUE"), "value": text(value)})

    def claim(self, name: str, *, until: datetime, now: datetime) -> bool:
        # Looked at first: the watch asks every minute, mostly in vain, and a write that is refused costs ten times such a read.
        standing = self._table.get(f"CURSOR#{name}", "CLAIM", consistent=False)
        if standing is not None and standing["until"]["S"] > stamp(now):
            return False
        try:
            self._table.client.put_item(
                TableName=self._table.name,
                Item={"pk": text(f"CURSOR#{name}"), "sk": text("CLAIM"), "until": text(stamp(until))},
                ConditionExpression="attribute_not_exists(pk) OR #u <= :now",
                ExpressionAttributeNames={"#u": "until"},
                ExpressionAttributeValues={":now": text(stamp(now))},
            )
        except Exception as error:
            if condition_failed(error):
                return False
            raise
        return True

    def release_claim(self, name: str) -> None:
        self._table.delete(f"CURSOR#{name}", "CLAIM")
