"""How is stock counted, committed and given back so that no two orders ever get the same piece?"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from crossdock.aws.failure import condition_failed, error_code, response_of
from crossdock.aws.table import TRIES, Item, StateTable, moment, number, packed, stamp, text, unpacked
from crossdock.domain.errors import NeedsPerson, RetryLater
from crossdock.domain.model import plain
from crossdock.domain.stock import (
    EntryKind,
    Outcome,
    Reservation,
    ReservedLine,
    Slot,
    StockAdjustment,
    StockChange,
    StockEntry,
    StockLevel,
    StockReading,
    movements,
)

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
        expected=Decimal(item["expected"]["N"]) if "expected" in item else Decimal(0),
        expected_at=moment(item["expected_at"]["S"]) if "expected_at" in item else None,
        moved_at=moment(item["moved_at"]["S"]) if "moved_at" in item else None,
        **{name: int(item[name]["N"]) for name in ("changes", "late", "duplicates") if name in item},
    )


def _log(sku: str, location: str) -> str:
    return f"STOCKLOG#{sku}@{location}"


def _entry_item(entry: StockEntry) -> Item:
    """Sorted by when it happened; the same report is the same item."""
    return {
        "pk": text(_log(entry.sku, entry.location)),
        "sk": text(f"{stamp(entry.at)}#{entry.kind.value}#{entry.source}#{entry.reference}"),
        "document": text(entry.model_dump_json(exclude_none=True, exclude={"sku", "location"})),
    }


def _entry(item: Item) -> StockEntry:
    sku, _, location = item["pk"]["S"].removeprefix("STOCKLOG#").rpartition("@")
    return StockEntry.model_validate({"sku": sku, "location": location, **json.loads(item["document"]["S"])})


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

    def count(self, reading: StockReading, *, safety: Decimal, source: str) -> StockChange:
        """One conditional write, unless something left or came after the count was taken: then that is added to it again."""
        later, extra = Decimal(0), "(attribute_not_exists(moved_at) OR moved_at <= :t)"
        names: dict[str, Any] = {}
        for attempt in range(TRIES):
            on_hand = reading.on_hand + later
            values = {
                ":n": number(plain(on_hand)),
                ":f": number(plain(safety)),
                ":a": number(plain(on_hand - safety)),
                ":z": number(0),
                ":one": number(1),
                ":t": text(stamp(reading.as_of)),
                ":s": text(source),
                **names,
            }
            expected = ""
            if reading.expected is not None:
                values |= {":e": number(plain(reading.expected))}
                expected = ", expected = :e"
                if reading.expected_at is not None:
                    values |= {":ea": text(stamp(reading.expected_at))}
                    expected += ", expected_at = :ea"
            try:
                answer = self._table.client.update_item(
                    TableName=self._table.name,
                    Key={"pk": text(f"STOCK#{reading.sku}"), "sk": text(reading.location)},
                    UpdateExpression="SET on_hand = :n, safety = :f, available = :a - if_not_exists(committed, :z), committed = if_not_exists(committed, :z), "
                    f"as_of = :t, #s = :s{expected} ADD changes :one",
                    ConditionExpression=f"(attribute_not_exists(as_of) OR as_of < :t) AND {extra}",
                    ExpressionAttributeNames={"#s": "source"},
                    ExpressionAttributeValues=values,
                    ReturnValues="ALL_OLD",
                )
            except Exception as error:
                if not condition_failed(error):
                    raise
            else:
                return self._counted(reading, answer.get("Attributes"), on_hand=on_hand, safety=safety, source=source)
            standing = self._table.get(f"STOCK#{reading.sku}", reading.location) or {}
            if "as_of" in standing and standing["as_of"]["S"] >= stamp(reading.as_of):
                return self._not_counted(reading, _level(standing), source=source)
            later = movements(self._entries(reading.sku, reading.location, after=reading.as_of))
            extra, names = ("changes = :c", {":c": standing["changes"]}) if "changes" in standing else ("attribute_not_exists(changes)", {})
            time.sleep(random.uniform(0, min(0.5, 0.01 * 2**attempt)) if attempt else 0)  # noqa: S311 - jitter
        raise RetryLater("STORE_BUSY", f"the stock of {reading.sku} at {reading.location} is being changed by many at once", after_seconds=1)

    def _counted(self, reading: StockReading, old: Item | None, *, on_hand: Decimal, safety: Decimal, source: str) -> StockChange:
        before = _level(old) if old and "on_hand" in old else None
        seen: dict[str, Any] = {"expected": reading.expected, "expected_at": reading.expected_at} if reading.expected is not None else {}
        after = (before or StockLevel(sku=reading.sku, location=reading.location, on_hand=on_hand, committed=Decimal(0), safety=safety)).model_copy(
            update={"on_hand": on_hand, "safety": safety, "source": source, "as_of": reading.as_of, "changes": (before.changes if before else 0) + 1, **seen}
        )
        if before is None or before.on_hand != on_hand:  # what was counted and found as it was is no change
            self._note(self._count_entry(reading, source, change=None if before is None else on_hand - before.on_hand))
        return StockChange(Outcome.APPLIED, before, after)

    def _count_entry(self, reading: StockReading, source: str, *, change: Decimal | None, outcome: Outcome = Outcome.APPLIED) -> StockEntry:
        return StockEntry(
            sku=reading.sku, location=reading.location, kind=EntryKind.COUNT, at=reading.as_of, change=change, on_hand=reading.on_hand, source=source, outcome=outcome
        )

    def _not_counted(self, reading: StockReading, standing: StockLevel, *, source: str) -> StockChange:
        """Older than what is known, or the same again; seen in the ledger and in the level's counters."""
        outcome = Outcome.DUPLICATE if standing.as_of == reading.as_of and standing.source == source else Outcome.LATE
        if not self._note(self._count_entry(reading, source, change=None, outcome=outcome)):
            outcome = Outcome.DUPLICATE  # late, and told before
        self._ignored(reading.sku, reading.location, outcome)
        return StockChange(outcome, standing, standing)

    def _ignored(self, sku: str, location: str, outcome: Outcome) -> None:
        self._table.client.update_item(
            TableName=self._table.name,
            Key={"pk": text(f"STOCK#{sku}"), "sk": text(location)},
            UpdateExpression="ADD #n :one",
            ConditionExpression="attribute_exists(pk)",
            ExpressionAttributeNames={"#n": "late" if outcome is Outcome.LATE else "duplicates"},
            ExpressionAttributeValues={":one": number(1)},
        )

    def adjust(self, adjustment: StockAdjustment, *, safety: Decimal, source: str, at: datetime) -> StockChange:
        """The ledger's entry and the level, both or neither: the entry is what makes the movement known."""
        entry = StockEntry(
            sku=adjustment.sku,
            location=adjustment.location,
            kind=EntryKind.ADJUSTMENT,
            at=adjustment.occurred_at,
            change=adjustment.change,
            source=source,
            reference=adjustment.adjustment_id,
            reason=adjustment.reason,
        )
        key = {"pk": text(f"STOCK#{adjustment.sku}"), "sk": text(adjustment.location)}
        update = {
            "TableName": self._table.name,
            "Key": key,
            "UpdateExpression": "SET on_hand = if_not_exists(on_hand, :z) + :q, available = if_not_exists(available, :mf) + :q, "
            "committed = if_not_exists(committed, :z), safety = if_not_exists(safety, :f), moved_at = :m, #s = if_not_exists(#s, :s) ADD changes :one",
            "ConditionExpression": "attribute_not_exists(as_of) OR as_of < :t",
            "ExpressionAttributeNames": {"#s": "source"},
            "ExpressionAttributeValues": {
                ":q": number(plain(adjustment.change)),
                ":z": number(0),
                ":f": number(plain(safety)),
                ":mf": number(plain(-safety)),
                ":one": number(1),
                ":m": text(stamp(max(at, adjustment.occurred_at))),
                ":s": text(source),
                ":t": text(stamp(adjustment.occurred_at)),
            },
        }
        put = {"Put": {"TableName": self._table.name, "Item": _entry_item(entry), "ConditionExpression": "attribute_not_exists(pk)"}}
        failed = self._transact([put, {"Update": update}], what=f"adjust {adjustment.sku} at {adjustment.location}")
        after = self.level(adjustment.sku, adjustment.location)
        if failed is None and after is not None:
            return StockChange(Outcome.APPLIED, after.model_copy(update={"on_hand": after.on_hand - adjustment.change}), after)
        outcome = Outcome.DUPLICATE if failed == 0 else Outcome.LATE
        if outcome is Outcome.LATE and not self._note(entry.model_copy(update={"outcome": Outcome.LATE})):
            outcome = Outcome.DUPLICATE
        self._ignored(adjustment.sku, adjustment.location, outcome)
        return StockChange(outcome, after, after)

    def _note(self, entry: StockEntry) -> bool:
        """False when it stands there."""
        return self._table.put_new(_entry_item(entry)) is None

    def ledger(self, sku: str, location: str, *, limit: int) -> list[StockEntry]:
        page = self._table.client.query(
            TableName=self._table.name,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": text(_log(sku, location))},
            ScanIndexForward=False,
            Limit=limit,
        )
        return [_entry(item) for item in page["Items"]]

    def _entries(self, sku: str, location: str, *, after: datetime) -> Iterator[StockEntry]:
        pages = self._table.client.get_paginator("query").paginate(
            TableName=self._table.name,
            KeyConditionExpression="pk = :pk AND sk > :after",
            ExpressionAttributeValues={":pk": text(_log(sku, location)), ":after": text(f"{stamp(after)}$")},  # '$' sorts behind '#': nothing of that very moment
            ConsistentRead=True,
        )
        return (_entry(item) for page in pages for item in page["Items"])

    def reserve(self, reservation: Reservation) -> str | None:
        lines = _summed(reservation.lines)
        if len(lines) + len(reservation.slots) > MOST_LINES:
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
        actions += [self._commit(line) for line in lines]
        actions += [self._take(slot) for slot in reservation.slots]
        failed = self._transact(actions, what=f"reserve {reservation.order_id}")
        if failed is None or failed == 0:
            return None  # committed now, or by an earlier run of the same order
        return _position(lines[failed - 1]) if failed <= len(lines) else f"@{reservation.slots[failed - 1 - len(lines)].location}"

    def _commit(self, line: ReservedLine) -> dict[str, Any]:
        taken = "SET available = available - :q, committed = committed + :q ADD changes :one"
        return self._update(line, taken, "available >= :least", {":least": number(plain(line.quantity - line.reach))})

    def _take(self, slot: Slot) -> dict[str, Any]:
        update: dict[str, Any] = {
            "TableName": self._table.name,
            "Key": {"pk": text(f"CAPACITY#{slot.location}"), "sk": text(slot.day)},
            "UpdateExpression": "ADD parts :one",
            "ExpressionAttributeValues": {":one": number(1)},
        }
        if slot.limit is not None:
            update["ConditionExpression"] = "attribute_not_exists(parts) OR parts < :limit"
            update["ExpressionAttributeValues"][":limit"] = number(slot.limit)
        return {"Update": update}

    def load(self, locations: Iterable[str], *, day: str) -> dict[str, int]:
        found = ((location, self._table.get(f"CAPACITY#{location}", day)) for location in locations)
        return {location: int(item["parts"]["N"]) if item else 0 for location, item in found}

    def _update(self, line: ReservedLine, expression: str, condition: str | None, values: dict[str, Any] | None = None) -> dict[str, Any]:
        update: dict[str, Any] = {
            "TableName": self._table.name,
            "Key": {"pk": text(f"STOCK#{line.sku}"), "sk": text(line.location)},
            "UpdateExpression": expression,
            "ExpressionAttributeValues": {":q": number(plain(line.quantity)), ":one": number(1), **(values or {})},
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

    def move(self, order_id: str, gone: Sequence[ReservedLine], there: Sequence[ReservedLine], *, token: str) -> bool:
        back = "SET available = available + :q, committed = committed - :q ADD changes :one"
        pk, sk = f"RESERVATION#{order_id}", "RECORD"
        for attempt in range(TRIES):
            item = self._table.get(pk, sk)
            if item is None:
                return False
            if token in item.get("tokens", {}).get("SS", []):
                return True
            left = {name: Decimal(value["N"]) for name, value in item["left"]["M"].items()}
            for sign, lines in ((-1, _summed(gone)), (1, _summed(there))):
                for line in lines:
                    left[_position(line)] = left.get(_position(line), Decimal(0)) + sign * line.quantity
            if min(left.values()) < 0:
                return False  # it was given back meanwhile
            standing = Reservation.model_validate_json(unpacked(item["document"]))
            moved = standing.model_copy(update={"lines": tuple(_summed((*standing.lines, *(line.model_copy(update={"quantity": -line.quantity}) for line in gone), *there)))})
            update = {
                "TableName": self._table.name,
                "Key": {"pk": text(pk), "sk": text(sk)},
                "UpdateExpression": "SET #left = :new, document = :document ADD tokens :t",
                "ConditionExpression": "#left = :old AND (attribute_not_exists(tokens) OR NOT contains(tokens, :token))",
                "ExpressionAttributeNames": {"#left": "left"},
                "ExpressionAttributeValues": {
                    ":new": {"M": {name: number(plain(value)) for name, value in left.items()}},
                    ":old": item["left"],
                    ":document": packed(moved.model_dump_json(exclude_none=True)),
                    ":t": {"SS": [token]},
                    ":token": text(token),
                },
            }
            actions = [{"Update": update}, *(self._update(line, back, None) for line in _summed(gone))]
            first = len(actions)
            actions += [self._commit(line) for line in _summed(there)]
            failed = self._transact(actions, what=token)
            if failed is None:
                return True
            if failed >= first:
                return False
            time.sleep(random.uniform(0, min(0.5, 0.01 * 2**attempt)))  # noqa: S311 - jitter
        raise RetryLater("STORE_BUSY", f"the reservation of {order_id} is being changed by many at once", after_seconds=1)

    def release(self, order_id: str, lines: Sequence[ReservedLine], *, token: str) -> None:
        self._give_up(order_id, lines, token=token, change=lambda line, _: self._update(line, "SET available = available + :q, committed = committed - :q ADD changes :one", None))

    def consume(self, order_id: str, lines: Sequence[ReservedLine], *, token: str, at: datetime, left_at: datetime | None = None) -> None:
        """The ledger's entries come first: a count that was taken before the goods left, and arrives after, finds them."""
        for line in (line for line in _summed(lines) if line.quantity):
            self._note(
                StockEntry(
                    sku=line.sku, location=line.location, kind=EntryKind.SHIPMENT, at=left_at or at, change=-line.quantity, source=order_id, reference=token, reason="shipped"
                )
            )
        left = "SET on_hand = on_hand - :q, committed = committed - :q, moved_at = :m ADD changes :one"
        counted = "SET available = available + :q, committed = committed - :q ADD changes :one"
        moved = {":m": text(stamp(max(at, left_at or at)))}

        def change(line: ReservedLine, was_counted: bool) -> dict[str, Any]:
            if left_at is None:
                return self._update(line, left, None, moved)
            since = {":d": text(stamp(left_at))}
            if was_counted:
                return self._update(line, counted, "as_of > :d", since)
            return self._update(line, left, "attribute_not_exists(as_of) OR as_of <= :d", {**moved, **since})

        self._give_up(order_id, lines, token=token, change=change)

    def _give_up(self, order_id: str, lines: Sequence[ReservedLine], *, token: str, change: Callable[[ReservedLine, bool], dict[str, Any]]) -> None:
        """Takes lines out of the reservation and applies them to stock, once per token; never more than is left of a line.

        ``change`` makes a line's update, the second time (True) for a position whose condition did not hold.
        """
        key = {"pk": text(f"RESERVATION#{order_id}"), "sk": text("RECORD")}
        other_way: set[str] = set()
        for attempt in range(TRIES + len(lines)):
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
            failed = self._transact([{"Update": update}, *(change(line, _position(line) in other_way) for line in taken)], what=token)
            if failed is None:
                return
            if failed:
                other_way ^= {_position(taken[failed - 1])}
            else:
                time.sleep(random.uniform(0, min(0.5, 0.01 * 2**attempt)))  # noqa: S311 - jitter
        raise RetryLater("STORE_BUSY", f"the reservation of {order_id} is being changed by many at once", after_seconds=1)
