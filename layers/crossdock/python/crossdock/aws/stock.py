"""How is stock counted, committed and given back so that no two orders ever get the same piece?"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from crossdock.aws.failure import condition_failed, error_code, response_of
from crossdock.aws.table import TRIES, Item, StateTable, moment, number, packed, stamp, text, unpacked
from crossdock.domain.errors import NeedsPerson, RetryLater
from crossdock.domain.model import plain
from crossdock.domain.stock import Reservation, ReservedLine, StockLevel, StockReading

MOST_LINES = 99
"""A transaction takes 100 items: the reservation itself is one."""

LISTING = "RESERVATION"


def _level(item: Item) -> StockLevel:
    return StockLevel(
        sku=item["pk"]["S"].removeprefix("STOCK#"),
        location=item["sk"]["S"],
        on_hand=Decimal(item["on_hand"]["N"]),
        committed=Decimal(item["committed"]["N"]),
        safety=Decimal(item["safety"]["N"]),
        source=item["source"]["S"] if "source" in item else None,
        as_of=moment(item["as_of"]["S"]) if "as_of" in item else None,
    )


def _position(line: ReservedLine) -> str:
    return f"{line.sku}@{line.location}"


def _summed(lines: Iterable[ReservedLine]) -> list[ReservedLine]:
    """One line per SKU and location: a transaction may touch an item once, and two lines of one SKU need both quantities."""
    summed: dict[str, ReservedLine] = {}
    for line in lines:
        standing = summed.get(_position(line))
        summed[_position(line)] = line if standing is None else standing.model_copy(update={"quantity": standing.quantity + line.quantity})
    return list(summed.values())


class DynamoStock:
    """Implements ``ports.Stock``. ``available`` is kept beside its parts because a condition cannot subtract."""

    def __init__(self, table: StateTable) -> None:
        self._table = table

    def level(self, sku: str, location: str) -> StockLevel | None:
        item = self._table.get(f"STOCK#{sku}", location)
        return _level(item) if item else None

    def levels(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], StockLevel]:
        found = {}
        for sku, location in sorted(set(keys)):
            level = self.level(sku, location)
            if level is not None:
                found[sku, location] = level
        return found

    def everywhere(self, sku: str) -> list[StockLevel]:
        """The SKU's level at every location that holds it."""
        return [_level(item) for item in self._table.partition(f"STOCK#{sku}")]

    def count(self, reading: StockReading, *, safety: Decimal, source: str) -> bool:
        try:
            self._table.client.update_item(
                TableName=self._table.name,
                Key={"pk": text(f"STOCK#{reading.sku}"), "sk": text(reading.location)},
                UpdateExpression="SET on_hand = :n, safety = :f, available = :a - if_not_exists(committed, :z), committed = if_not_exists(committed, :z), as_of = :t, #s = :s",
                ConditionExpression="attribute_not_exists(as_of) OR as_of < :t",
                ExpressionAttributeNames={"#s": "source"},
                ExpressionAttributeValues={
                    ":n": number(plain(reading.on_hand)),
                    ":f": number(plain(safety)),
                    ":a": number(plain(reading.on_hand - safety)),
                    ":z": number(0),
                    ":t": text(stamp(reading.as_of)),
                    ":s": text(source),
                },
            )
        except Exception as error:
            if condition_failed(error):
                return False
            raise
        return True

    def reserve(self, reservation: Reservation) -> str | None:
        lines = _summed(reservation.lines)
        if len(lines) > MOST_LINES:
            raise NeedsPerson(
                "ORDER_TOO_LARGE", f"order {reservation.order_id} needs {len(lines)} stock positions, {MOST_LINES} can be committed at once", remedy="split the order"
            )
        item = {
            "pk": text(f"RESERVATION#{reservation.order_id}"),
            "sk": text("RECORD"),
            "document": packed(reservation.model_dump_json(exclude_none=True)),
            "left": {"M": {_position(line): number(plain(line.quantity)) for line in lines}},
            "listing": text(LISTING),
            "sort": text(stamp(reservation.made_at)),
        }
        actions: list[dict[str, Any]] = [{"Put": {"TableName": self._table.name, "Item": item, "ConditionExpression": "attribute_not_exists(pk)"}}]
        actions += [self._update(line, "SET available = available - :q, committed = committed + :q", "available >= :q") for line in lines]
        failed = self._transact(actions, what=f"reserve {reservation.order_id}")
        if failed is None or failed == 0:
            return None  # committed now, or by an earlier run of the same order
        return _position(lines[failed - 1])

    def _update(self, line: ReservedLine, expression: str, condition: str | None) -> dict[str, Any]:
        update: dict[str, Any] = {
            "TableName": self._table.name,
            "Key": {"pk": text(f"STOCK#{line.sku}"), "sk": text(line.location)},
            "UpdateExpression": expression,
            "ExpressionAttributeValues": {":q": number(plain(line.quantity))},
        }
        if condition:
            update["ConditionExpression"] = condition
        return {"Update": update}

    def _transact(self, actions: list[dict[str, Any]], *, what: str) -> int | None:
        """None when all were done, else the index of the first action whose condition does not hold. Conflicts are tried again."""
        for attempt in range(TRIES):
            try:
                self._table.client.transact_write_items(TransactItems=actions)
            except Exception as error:
                if error_code(error) != "TransactionCanceledException":
                    raise
                reasons = [str(reason.get("Code")) for reason in response_of(error).get("CancellationReasons", [])]
                if "ConditionalCheckFailed" in reasons:
                    return reasons.index("ConditionalCheckFailed")
                time.sleep(random.uniform(0, min(1.0, 0.02 * 2**attempt)))  # noqa: S311 - jitter
            else:
                return None
        raise RetryLater("STORE_BUSY", f"{what}: too many writers on the same stock at once", after_seconds=1)

    def reservation(self, order_id: str) -> Reservation | None:
        item = self._table.get(f"RESERVATION#{order_id}", "RECORD")
        return Reservation.model_validate_json(unpacked(item["document"])) if item else None

    def outstanding(self) -> Iterator[tuple[str, list[ReservedLine]]]:
        for item in self._table.listed(LISTING):
            left = {name: Decimal(value["N"]) for name, value in item["left"]["M"].items()}
            lines = [ReservedLine(sku=name.rpartition("@")[0], location=name.rpartition("@")[2], quantity=quantity) for name, quantity in left.items() if quantity != 0]
            if lines:
                yield item["pk"]["S"].removeprefix("RESERVATION#"), lines

    def release(self, order_id: str, lines: Sequence[ReservedLine], *, token: str) -> None:
        self._give_up(order_id, lines, token=token, expression="SET available = available + :q, committed = committed - :q")

    def consume(self, order_id: str, lines: Sequence[ReservedLine], *, token: str) -> None:
        self._give_up(order_id, lines, token=token, expression="SET on_hand = on_hand - :q, committed = committed - :q")

    def _give_up(self, order_id: str, lines: Sequence[ReservedLine], *, token: str, expression: str) -> None:
        """Takes lines out of the reservation and applies them to stock, once per token; never more than is left of a line."""
        key = {"pk": text(f"RESERVATION#{order_id}"), "sk": text("RECORD")}
        for attempt in range(TRIES):
            item = self._table.get(key["pk"]["S"], key["sk"]["S"])
            if item is None or token in item.get("tokens", {}).get("SS", []):
                return
            left = {name: Decimal(value["N"]) for name, value in item["left"]["M"].items()}
            taken = []
            for line in _summed(lines):
                quantity = min(line.quantity, left.get(_position(line), Decimal(0)))
                if quantity > 0:
                    taken.append(line.model_copy(update={"quantity": quantity}))
                    left[_position(line)] -= quantity
            over = all(value == 0 for value in left.values())
            update = {
                "TableName": self._table.name,
                "Key": key,
                "UpdateExpression": "SET #left = :new ADD tokens :t" + (" REMOVE #listing, #sort" if over else ""),
                "ConditionExpression": "#left = :old AND (attribute_not_exists(tokens) OR NOT contains(tokens, :token))",
                "ExpressionAttributeNames": {"#left": "left", **({"#listing": "listing", "#sort": "sort"} if over else {})},
                "ExpressionAttributeValues": {
                    ":new": {"M": {name: number(plain(value)) for name, value in left.items()}},
                    ":old": item["left"],
                    ":t": {"SS": [token]},
                    ":token": text(token),
                },
            }
            failed = self._transact([{"Update": update}, *(self._update(line, expression, None) for line in taken)], what=f"{token}: {json.dumps(expression)}")
            if failed is None:
                return
            time.sleep(random.uniform(0, min(0.5, 0.01 * 2**attempt)))  # noqa: S311 - jitter
        raise RetryLater("STORE_BUSY", f"the reservation of {order_id} is being changed by many at once", after_seconds=1)
