"""What stands behind the ports when nothing outside this process may be touched? In-memory twins with the docstrings' semantics."""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Generic, TypeVar

from crossdock.domain import strict_json
from crossdock.domain.audit import GENESIS, AuditEntry
from crossdock.domain.catalog import CatalogRecord
from crossdock.domain.commands import CreateSalesOrder, Intent, PostCreditMemo, PostInvoice, Receipt, RefundReturn, ReleaseFulfillment
from crossdock.domain.connector import (
    ChangedOrder,
    Known,
    LedgerDocument,
    Occurrence,
    PolledItem,
    PollResult,
    PriceQuestion,
    SnapshotPage,
    Translation,
    nothing_known,
)
from crossdock.domain.customer import AccountRecord, CreditStanding
from crossdock.domain.dead_letter import Letter
from crossdock.domain.delivery import Delivery, DeliveryStatus
from crossdock.domain.effect import Effect, EffectState
from crossdock.domain.errors import ContractDrift, CrossdockError, Rejected
from crossdock.domain.events import FACT, Event
from crossdock.domain.exception_record import ExceptionRecord, ExceptionStatus
from crossdock.domain.manifest import ConnectorManifest
from crossdock.domain.messages import work_body
from crossdock.domain.money import Money
from crossdock.domain.order_record import TERMINAL, OrderRecord, Parked
from crossdock.domain.pace import Pace
from crossdock.domain.price import Price
from crossdock.domain.return_record import ReturnRecord
from crossdock.domain.stage import QueueName
from crossdock.domain.stock import (
    EntryKind,
    Outcome,
    Reservation,
    ReservedLine,
    StockAdjustment,
    StockChange,
    StockEntry,
    StockLevel,
    StockReading,
    movements,
)
from crossdock.flows.allowance import Allowance

START = datetime(2026, 10, 5, 8, 0, tzinfo=UTC)


class SetClock:
    """Stands still until it is told to move."""

    def __init__(self, at: datetime = START) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def pass_by(self, **span: float) -> None:
        self.at += timedelta(**span)


class MemoryArchive:
    def __init__(self) -> None:
        self.kept: dict[str, tuple[bytes, dict[str, str]]] = {}

    def put(self, key: str, body: bytes, *, metadata: Mapping[str, str]) -> None:
        self.kept.setdefault(key, (body, dict(metadata)))

    def get(self, key: str) -> tuple[bytes, dict[str, str]]:
        if key not in self.kept:
            raise Rejected("NOT_FOUND", f"nothing is archived as {key}")
        return self.kept[key]


@dataclass(frozen=True)
class Note:
    """Implements ``ports.DeliveryNote``."""

    delivery_id: str
    connection: str
    topic: str
    sha256: str
    status: DeliveryStatus
    revision: int
    received_at: datetime
    queued_at: datetime
    events: tuple[str, ...] = ()
    reason: str = ""


class MemoryDeliveries:
    def __init__(self) -> None:
        self.notes: dict[str, Note] = {}
        self.revisions: dict[str, list[Delivery]] = {}

    def add(self, delivery: Delivery) -> Note | None:
        standing = self.notes.get(delivery.delivery_id)
        if standing is not None:
            return standing
        self.revisions[delivery.delivery_id] = [delivery]
        self.notes[delivery.delivery_id] = Note(
            delivery.delivery_id, delivery.connection, delivery.topic, delivery.sha256, DeliveryStatus.RECEIVED, 0, delivery.received_at, delivery.received_at
        )
        return None

    def note(self, delivery_id: str) -> Note | None:
        return self.notes.get(delivery_id)

    def load(self, delivery_id: str) -> Delivery:
        if delivery_id not in self.revisions:
            raise Rejected("NOT_FOUND", f"there is no delivery {delivery_id}")
        return self.revisions[delivery_id][-1]

    def revise(self, delivery_id: str, body: bytes, *, actor: str, now: datetime) -> int:
        newest = self.load(delivery_id)
        self.revisions[delivery_id].append(replace(newest, body=body, revision=newest.revision + 1))
        self.notes[delivery_id] = replace(self.notes[delivery_id], revision=newest.revision + 1)
        return newest.revision + 1

    def settle(self, delivery_id: str, status: DeliveryStatus, *, now: datetime, events: Sequence[str] = (), reason: str = "") -> None:
        note = self.notes.get(delivery_id)
        if note is None or (status is DeliveryStatus.EXCEPTION and note.status is DeliveryStatus.DONE):
            return  # what is done stays done: a late failure of a duplicate must not undo the record of it
        self.notes[delivery_id] = replace(note, status=status, queued_at=now, events=tuple(events), reason=reason)

    def waiting(self, before: datetime, limit: int) -> list[Note]:
        found = [note for note in self.notes.values() if note.status is DeliveryStatus.RECEIVED and note.queued_at <= before]
        return sorted(found, key=lambda note: note.queued_at)[:limit]

    def every(self) -> list[Note]:
        return list(self.notes.values())


class MemoryOrders:
    """``before_write`` are called once each, in order, between a read and its write: so a test puts another writer into the gap."""

    def __init__(self) -> None:
        self.records: dict[str, OrderRecord] = {}
        self.references: dict[tuple[str, str], tuple[str, str]] = {}
        self.waiting_room: dict[str, list[Parked]] = defaultdict(list)
        self.before_write: list[Callable[[], None]] = []

    def get(self, order_id: str) -> OrderRecord | None:
        return self.records.get(order_id)

    def add(self, record: OrderRecord) -> bool:
        if record.order_id in self.records:
            return False
        self.records[record.order_id] = record
        return True

    def change(self, order_id: str, decide: Callable[[OrderRecord], OrderRecord | None]) -> OrderRecord:
        while True:
            current = self.records.get(order_id)
            if current is None:
                raise Rejected("NOT_FOUND", f"there is no order {order_id}")
            decided = decide(current)
            if decided is None:
                return current
            if self.before_write:
                self.before_write.pop(0)()
            if self.records[order_id].version == current.version:
                # Through JSON and back, as any store does: what does not survive that is a bug.
                self.records[order_id] = OrderRecord.model_validate_json(decided.model_copy(update={"version": current.version + 1}).model_dump_json(exclude_none=True))
                return self.records[order_id]

    def refer(self, connection: str, external_id: str, order_id: str, part_id: str = "") -> None:
        self.references.setdefault((connection, external_id), (order_id, part_id))

    def referred(self, connection: str, external_id: str) -> tuple[str, str] | None:
        return self.references.get((connection, external_id))

    def park(self, name: str, *, source: str, item: Parked) -> None:
        if all(item.event_json != other.event_json for other in self.waiting_room[name]):
            self.waiting_room[name].append(item)

    def parked(self, name: str) -> list[Parked]:
        return list(self.waiting_room.get(name, []))

    def forget_parked(self, name: str, item: Parked) -> None:
        self.waiting_room[name] = [other for other in self.waiting_room[name] if other.event_json != item.event_json]

    def overdue_parked(self, now: datetime, limit: int) -> list[tuple[str, Parked]]:
        return [(name, item) for name, items in self.waiting_room.items() for item in items if item.until <= now][:limit]

    def due(self, now: datetime, limit: int) -> list[str]:
        # As the listing does it: an open record without a deadline is found by when it was last written.
        found = sorted((record.due_at or record.updated_at, record.order_id) for record in self.records.values() if record.status not in TERMINAL)
        return [order_id for at, order_id in found if at <= now][:limit]

    def every(self) -> list[OrderRecord]:
        return list(self.records.values())

    def listed(self, *, closed: bool, limit: int) -> list[OrderRecord]:
        found = [record for record in self.records.values() if (record.status in TERMINAL) is closed]
        return sorted(found, key=lambda record: record.accepted_at, reverse=True)[:limit]


class MemoryReturns:
    def __init__(self) -> None:
        self.records: dict[str, ReturnRecord] = {}

    def get(self, return_id: str) -> ReturnRecord | None:
        return self.records.get(return_id)

    def add(self, record: ReturnRecord) -> bool:
        if record.return_id in self.records:
            return False
        self.records[record.return_id] = record
        return True

    def change(self, return_id: str, decide: Callable[[ReturnRecord], ReturnRecord | None]) -> ReturnRecord:
        current = self.records.get(return_id)
        if current is None:
            raise Rejected("NOT_FOUND", f"there is no return {return_id}")
        decided = decide(current)
        if decided is not None:
            # Through JSON and back, as any store does: what does not survive that is a bug.
            self.records[return_id] = ReturnRecord.model_validate_json(decided.model_copy(update={"version": current.version + 1}).model_dump_json(exclude_none=True))
        return self.records[return_id]

    def of_order(self, order_id: str) -> list[ReturnRecord]:
        return [record for record in self.records.values() if record.order_id == order_id]

    def due(self, now: datetime, limit: int) -> list[str]:
        found = sorted((record.due_at or record.updated_at, record.return_id) for record in self.records.values() if not record.over)
        return [return_id for at, return_id in found if at <= now][:limit]

    def every(self) -> list[ReturnRecord]:
        return list(self.records.values())

    def listed(self, *, closed: bool, limit: int) -> list[ReturnRecord]:
        found = [record for record in self.records.values() if record.over is closed]
        return sorted(found, key=lambda record: record.accepted_at, reverse=True)[:limit]


RecordOf = TypeVar("RecordOf", CatalogRecord, AccountRecord)


class MemoryRecords(Generic[RecordOf]):
    """Implements ``ports.Catalog`` and ``ports.Accounts``."""

    def __init__(self, empty: Callable[[str, datetime], RecordOf]) -> None:
        self.records: dict[str, RecordOf] = {}
        self._empty = empty

    def get(self, name: str) -> RecordOf | None:
        return self.records.get(name)

    def change(self, name: str, decide: Callable[[RecordOf], RecordOf | None], *, now: datetime) -> RecordOf:
        current = self.records.get(name) or self._empty(name, now)
        decided = decide(current)
        if decided is None:
            return current
        following = decided.model_copy(update={"version": current.version + (name in self.records)})
        # Through JSON and back, as any store does: what does not survive that is a bug.
        self.records[name] = type(following).model_validate_json(following.model_dump_json(exclude_none=True))
        return self.records[name]

    def every(self) -> list[RecordOf]:
        return list(self.records.values())


class MemoryCatalog(MemoryRecords[CatalogRecord]):
    def __init__(self) -> None:
        super().__init__(lambda sku, now: CatalogRecord(sku=sku, updated_at=now))

    def due(self, now: datetime, limit: int) -> list[str]:
        found = sorted((record.due_at, record.sku) for record in self.records.values() if record.due_at is not None)
        return [sku for at, sku in found if at <= now][:limit]


class MemoryAccounts(MemoryRecords[AccountRecord]):
    def __init__(self) -> None:
        super().__init__(lambda account, now: AccountRecord(account=account, updated_at=now))


class MemoryStock:
    """``before_reserve`` are called once each at the start of a reservation: another order's, made after the plan."""

    def __init__(self) -> None:
        self.shelf: dict[tuple[str, str], StockLevel] = {}
        self.reservations: dict[str, Reservation] = {}
        self.left: dict[str, dict[tuple[str, str], Decimal]] = {}
        self.tokens: dict[str, set[str]] = defaultdict(set)
        self.entries: dict[tuple[str, str], dict[tuple[object, ...], StockEntry]] = defaultdict(dict)
        self.parts: Counter[tuple[str, str]] = Counter()
        self.before_reserve: list[Callable[[], object]] = []

    def level(self, sku: str, location: str) -> StockLevel | None:
        return self.shelf.get((sku, location))

    def levels(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], StockLevel]:
        return {key: self.shelf[key] for key in keys if key in self.shelf}

    def everywhere(self, sku: str) -> list[StockLevel]:
        return [level for (name, _), level in self.shelf.items() if name == sku]

    def count(self, reading: StockReading, *, safety: Decimal, source: str) -> StockChange:
        key = (reading.sku, reading.location)
        standing = self.shelf.get(key)
        if standing is not None and standing.as_of is not None and standing.as_of >= reading.as_of:
            outcome = Outcome.DUPLICATE if standing.as_of == reading.as_of and standing.source == source else Outcome.LATE
            return self._ignored(key, outcome)
        on_hand = reading.on_hand + movements(entry for entry in self.entries[key].values() if entry.at > reading.as_of)
        seen = {} if reading.expected is None else {"expected": reading.expected, "expected_at": reading.expected_at}
        level = (standing or StockLevel(sku=reading.sku, location=reading.location, on_hand=on_hand, committed=Decimal(0), safety=safety)).model_copy(
            update={"on_hand": on_hand, "safety": safety, "source": source, "as_of": reading.as_of, **seen}
        )
        self.shelf[key] = level.model_copy(update={"changes": level.changes + 1})
        self._note(
            StockEntry(sku=reading.sku, location=reading.location, kind=EntryKind.COUNT, at=reading.as_of, on_hand=reading.on_hand, source=source),
        )
        return StockChange(Outcome.APPLIED, standing, self.shelf[key])

    def adjust(self, adjustment: StockAdjustment, *, safety: Decimal, source: str, at: datetime) -> StockChange:
        key = (adjustment.sku, adjustment.location)
        standing = self.shelf.get(key)
        entry = StockEntry(
            sku=key[0],
            location=key[1],
            kind=EntryKind.ADJUSTMENT,
            at=adjustment.occurred_at,
            change=adjustment.change,
            source=source,
            reference=adjustment.adjustment_id,
        )
        late = standing is not None and standing.as_of is not None and standing.as_of >= adjustment.occurred_at
        if not self._note(entry.model_copy(update={"outcome": Outcome.LATE}) if late else entry):
            return self._ignored(key, Outcome.DUPLICATE)
        if late:
            return self._ignored(key, Outcome.LATE)
        before = standing or StockLevel(sku=key[0], location=key[1], on_hand=Decimal(0), committed=Decimal(0), safety=safety, source=source)
        self.shelf[key] = before.model_copy(update={"on_hand": before.on_hand + adjustment.change, "changes": before.changes + 1, "moved_at": at})
        return StockChange(Outcome.APPLIED, standing, self.shelf[key])

    def _ignored(self, key: tuple[str, str], outcome: Outcome) -> StockChange:
        name = "late" if outcome is Outcome.LATE else "duplicates"
        level = self.shelf[key]
        self.shelf[key] = level.model_copy(update={name: getattr(level, name) + 1})
        return StockChange(outcome, level, level)

    def _note(self, entry: StockEntry) -> bool:
        entries = self.entries[entry.sku, entry.location]
        name = (entry.at, entry.kind, entry.source, entry.reference)
        return entries.setdefault(name, entry) is entry

    def ledger(self, sku: str, location: str, *, limit: int) -> list[StockEntry]:
        return sorted(self.entries[sku, location].values(), key=lambda entry: entry.at, reverse=True)[:limit]

    def reserve(self, reservation: Reservation) -> str | None:
        if self.before_reserve:
            self.before_reserve.pop(0)()
        if reservation.order_id in self.reservations:
            return None
        for line in reservation.lines:
            level = self.shelf.get((line.sku, line.location))
            if level is None or level.available + line.reach < line.quantity:
                return f"{line.sku}@{line.location}"
        for slot in reservation.slots:
            if slot.limit is not None and self.parts[slot.location, slot.day] >= slot.limit:
                return f"@{slot.location}"
        for slot in reservation.slots:
            self.parts[slot.location, slot.day] += 1
        for line in reservation.lines:
            self._move(line.sku, line.location, committed=line.quantity)
        self.reservations[reservation.order_id] = Reservation.model_validate_json(reservation.model_dump_json(exclude_none=True))
        self.left[reservation.order_id] = {(line.sku, line.location): line.quantity for line in reservation.lines}
        return None

    def _move(self, sku: str, location: str, *, on_hand: Decimal = Decimal(0), committed: Decimal = Decimal(0)) -> None:
        level = self.shelf[sku, location]
        changed = {"on_hand": level.on_hand + on_hand, "committed": level.committed + committed, "changes": level.changes + 1}
        self.shelf[sku, location] = level.model_copy(update=changed)

    def load(self, locations: Iterable[str], *, day: str) -> dict[str, int]:
        return {location: self.parts[location, day] for location in locations}

    def reservation(self, order_id: str) -> Reservation | None:
        return self.reservations.get(order_id)

    def outstanding(self) -> list[tuple[str, list[ReservedLine]]]:
        found = []
        for order_id, left in self.left.items():
            lines = [ReservedLine(sku=sku, location=location, quantity=quantity) for (sku, location), quantity in left.items() if quantity]
            if lines:
                found.append((order_id, lines))
        return found

    def move(self, order_id: str, gone: Sequence[ReservedLine], there: Sequence[ReservedLine], *, token: str) -> bool:
        if order_id not in self.left:
            return False
        if token in self.tokens[order_id]:
            return True
        for line in there:
            level = self.shelf.get((line.sku, line.location))
            if level is None or level.available + line.reach < line.quantity:
                return False
        if any(self.left[order_id].get((line.sku, line.location), Decimal(0)) < line.quantity for line in gone):
            return False
        self.tokens[order_id].add(token)
        standing = self.reservations[order_id]
        for sign, lines in ((-1, gone), (1, there)):
            for line in lines:
                key = (line.sku, line.location)
                self.left[order_id][key] = self.left[order_id].get(key, Decimal(0)) + sign * line.quantity
                self._move(line.sku, line.location, committed=sign * line.quantity)
        kept = [line for line in standing.lines if (line.sku, line.location) not in {(each.sku, each.location) for each in gone}]
        self.reservations[order_id] = standing.model_copy(update={"lines": (*kept, *there)})
        return True

    def release(self, order_id: str, lines: Sequence[ReservedLine], *, token: str) -> None:
        for line, quantity in self._taken(order_id, lines, token):
            self._move(line.sku, line.location, committed=-quantity)

    def consume(self, order_id: str, lines: Sequence[ReservedLine], *, token: str, at: datetime, left_at: datetime | None = None) -> None:
        for line, quantity in self._taken(order_id, lines, token):
            level = self.shelf[line.sku, line.location]
            counted = left_at is not None and level.as_of is not None and level.as_of > left_at
            self._note(
                StockEntry(sku=line.sku, location=line.location, kind=EntryKind.SHIPMENT, at=left_at or at, change=-quantity, source=order_id, reference=token),
            )
            self._move(line.sku, line.location, on_hand=Decimal(0) if counted else -quantity, committed=-quantity)
            self.shelf[line.sku, line.location] = self.shelf[line.sku, line.location].model_copy(update={"moved_at": at})

    def _taken(self, order_id: str, lines: Sequence[ReservedLine], token: str) -> list[tuple[ReservedLine, Decimal]]:
        if order_id not in self.left or token in self.tokens[order_id]:
            return []
        self.tokens[order_id].add(token)
        taken = []
        for line in lines:
            quantity = min(line.quantity, self.left[order_id].get((line.sku, line.location), Decimal(0)))
            if quantity > 0:
                self.left[order_id][line.sku, line.location] -= quantity
                taken.append((line, quantity))
        return taken


class MemoryEffects:
    def __init__(self) -> None:
        self.ledger: dict[str, Effect] = {}

    def begin(self, key: str, *, order_id: str | None, now: datetime, lease_seconds: int) -> tuple[bool, Effect]:
        standing = self.ledger.get(key)
        if standing is not None and standing.state is not EffectState.FAILED:
            return False, standing
        attempt = standing.attempt + 1 if standing else 1
        self.ledger[key] = Effect(key=key, state=EffectState.INTENDED, attempt=attempt, order_id=order_id, intended_at=now, lease_until=now + timedelta(seconds=lease_seconds))
        return True, self.ledger[key]

    def take_over(self, effect: Effect, *, now: datetime, lease_seconds: int) -> Effect | None:
        standing = self.ledger[effect.key]
        free = standing.state is EffectState.UNKNOWN or (standing.state is EffectState.INTENDED and standing.lease_until <= now)
        if standing.attempt != effect.attempt or not free:
            return None
        lease_until = now + timedelta(seconds=lease_seconds)
        self.ledger[effect.key] = standing.model_copy(update={"state": EffectState.INTENDED, "attempt": standing.attempt + 1, "lease_until": lease_until})
        return self.ledger[effect.key]

    def confirm(self, effect: Effect, receipt: Receipt, *, now: datetime) -> Effect:
        standing = self.ledger[effect.key]
        if standing.state is not EffectState.CONFIRMED:
            self.ledger[effect.key] = standing.model_copy(update={"state": EffectState.CONFIRMED, "receipt": receipt, "settled_at": now})
        return self.ledger[effect.key]

    def mark_unknown(self, effect: Effect, error: str, *, now: datetime) -> Effect:
        return self._settle(effect, EffectState.UNKNOWN, error, now)

    def fail(self, effect: Effect, error: str, *, now: datetime) -> Effect:
        return self._settle(effect, EffectState.FAILED, error, now)

    def _settle(self, effect: Effect, state: EffectState, error: str, now: datetime) -> Effect:
        standing = self.ledger[effect.key]
        if standing.attempt == effect.attempt and standing.state is EffectState.INTENDED:
            self.ledger[effect.key] = standing.model_copy(update={"state": state, "error": error[:500], "settled_at": now})
        return self.ledger[effect.key]

    def contradict(self, effect: Effect, error: str, *, now: datetime) -> Effect:
        standing = self.ledger[effect.key]
        if standing.state is EffectState.CONFIRMED and standing.attempt == effect.attempt:
            self.ledger[effect.key] = standing.model_copy(update={"state": EffectState.UNKNOWN, "error": error, "settled_at": now})
        return self.ledger[effect.key]

    def get(self, key: str) -> Effect | None:
        return self.ledger.get(key)


class MemoryExceptions:
    def __init__(self) -> None:
        self.records: dict[str, ExceptionRecord] = {}

    def open(self, record: ExceptionRecord) -> ExceptionRecord:
        standing = self.records.get(record.exception_id)
        if standing is not None:
            again = standing.status in (ExceptionStatus.RESOLVED, ExceptionStatus.RETRYING)
            record = record.model_copy(
                update={
                    "status": ExceptionStatus.OPEN if again else standing.status,
                    "occurrences": standing.occurrences + 1,
                    "opened_at": standing.opened_at,
                    "due_at": record.due_at if again else standing.due_at,
                    "assigned_to": standing.assigned_to,
                    "history": (*standing.history, *(entry.model_copy(update={"action": "reopened"}) for entry in record.history)) if again else standing.history,
                }
            )
        self.records[record.exception_id] = record
        return record

    def get(self, exception_id: str) -> ExceptionRecord | None:
        return self.records.get(exception_id)

    def change(self, exception_id: str, decide: Callable[[ExceptionRecord], ExceptionRecord | None]) -> ExceptionRecord:
        if exception_id not in self.records:
            raise Rejected("NOT_FOUND", f"there is no exception {exception_id}")
        decided = decide(self.records[exception_id])
        if decided is not None:
            self.records[exception_id] = decided
        return self.records[exception_id]

    def listed(self, *, closed: bool = False, limit: int = 1000) -> list[ExceptionRecord]:
        return [record for record in self.records.values() if record.closed is closed][:limit]


class MemoryAudit:
    def __init__(self) -> None:
        self.chains: dict[str, list[AuditEntry]] = defaultdict(list)

    def append(self, subject: str, *, actor: str, action: str, summary: str, details: Mapping[str, str] | None = None, at: datetime) -> AuditEntry:
        chain = self.chains[subject]
        entry = AuditEntry.chained(
            subject=subject,
            sequence=len(chain) + 1,
            at=at,
            actor=actor,
            action=action,
            summary=summary,
            details={name: str(value)[:500] for name, value in (details or {}).items()},
            previous=chain[-1].hash if chain else GENESIS,
        )
        chain.append(entry)
        return entry

    def append_once(self, subject: str, *, actor: str, action: str, summary: str, details: Mapping[str, str] | None = None, at: datetime) -> None:
        kept = {name: str(value)[:500] for name, value in (details or {}).items()}
        if not any(entry.action == action and entry.details == kept for entry in self.entries(subject)):
            self.append(subject, actor=actor, action=action, summary=summary, details=kept, at=at)

    def entries(self, subject: str) -> list[AuditEntry]:
        return list(self.chains.get(subject, []))

    def actions(self, subject: str) -> list[str]:
        return [entry.action for entry in self.entries(subject)]


@dataclass
class Message:
    """One message in a queue. A message being worked on is hidden until ``visible_at``."""

    number: int
    body: str
    group: str
    sent_at: datetime
    visible_at: datetime
    receives: int = 0
    attributes: dict[str, str] = field(default_factory=dict)


class MemoryQueues:
    """Standard queues: at least once, hidden while worked on, into the dead letters after ``tries`` receives."""

    def __init__(self, clock: SetClock, *, hidden_seconds: int = 30, tries: Mapping[QueueName, int] | None = None) -> None:
        self._clock = clock
        self._hidden = timedelta(seconds=hidden_seconds)
        self.tries = dict(tries or {QueueName.INBOUND: 4, QueueName.WORK: 4, QueueName.OUTBOUND: 10})
        self._numbers = itertools.count(1)
        self.messages: dict[QueueName, list[Message]] = {queue: [] for queue in QueueName}
        self.dead: dict[QueueName, list[Message]] = {queue: [] for queue in QueueName}
        self.sent: list[tuple[QueueName, str]] = []

    def send(self, queue: QueueName, body: str, *, group: str, delay_seconds: int = 0) -> None:
        now = self._clock.now()
        self.messages[queue].append(Message(next(self._numbers), body, group, now, now + timedelta(seconds=delay_seconds)))
        self.sent.append((queue, body))

    def depth(self, queue: QueueName) -> int:
        return len(self.messages[queue])

    def send_to_dead_letters(self, queue: QueueName, body: str, *, group: str, exception_id: str) -> None:
        now = self._clock.now()
        self.dead[queue].append(Message(next(self._numbers), body, group, now, now, attributes={"exception_id": exception_id}))

    def take(self, queue: QueueName) -> Message | None:
        """The oldest visible message, hidden from now on; one that used up its tries goes to the dead letters instead."""
        now = self._clock.now()
        for message in list(self.messages[queue]):
            if message.visible_at > now:
                continue
            if message.receives >= self.tries[queue]:
                self.messages[queue].remove(message)
                self.dead[queue].append(message)
                continue
            message.receives += 1
            message.visible_at = now + self._hidden
            return message
        return None

    def done(self, queue: QueueName, message: Message) -> None:
        self.messages[queue] = [other for other in self.messages[queue] if other.number != message.number]

    def put_off(self, message: Message, seconds: int) -> None:
        message.visible_at = self._clock.now() + timedelta(seconds=seconds)

    def next_visible(self) -> datetime | None:
        return min((message.visible_at for messages in self.messages.values() for message in messages), default=None)


class MemoryDeadLetters:
    """Implements ``flows.dead_letters.DeadLetters`` over the same memory."""

    def __init__(self, queues: MemoryQueues) -> None:
        self._queues = queues

    def look(self, queue: QueueName) -> Iterator[Letter]:
        for message in list(self._queues.dead[queue]):
            yield Letter(
                queue=queue,
                body=message.body,
                message_id=str(message.number),
                receipt=str(message.number),
                sent_at=message.sent_at,
                receive_count=message.receives,
                attributes=dict(message.attributes),
            )

    def delete(self, letter: Letter) -> None:
        self._queues.dead[letter.queue] = [message for message in self._queues.dead[letter.queue] if str(message.number) != letter.message_id]

    def remove(self, queue: QueueName, match: Callable[[Letter], bool]) -> int:
        found = [letter for letter in self.look(queue) if match(letter)]
        for letter in found:
            self.delete(letter)
        return len(found)

    def count(self, queue: QueueName) -> int:
        return len(self._queues.dead[queue])


class MemoryBus:
    """The bus with its one rule: every event goes to the work queue, in the envelope that EventBridge delivers."""

    def __init__(self, queues: MemoryQueues) -> None:
        self._queues = queues
        self.published: list[Event] = []

    def publish(self, events: Sequence[Event]) -> None:
        for event in events:
            self.published.append(event)
            self._queues.send(QueueName.WORK, work_body(event), group=event.subject)


@dataclass
class Execution:
    """One run of the workflow of an order or a return: the state it is in, and the token it waits with."""

    order_id: str
    state: str
    why: object = None
    token: str | None = None

    @property
    def open(self) -> bool:
        return self.state not in ("Succeeded", "Cancelled", "Failed")

    @property
    def called(self) -> str:
        return "return_id" if self.order_id.startswith("RMA-") else "order_id"


_AFTER = {"Post": "Release", "Release": "Succeeded", "Authorise": "Receive", "Receive": "Settle", "Settle": "Succeeded", "Call_off": "Succeeded"}


class MemoryWorkflow:
    """The order state machine of infra/workflows/order.py: Prepare, Post, Release; Hold and Compensate off the path.

    ``step`` moves one execution on; waiting states send their request to the work queue and stay until their token is answered.
    """

    def __init__(self, queues: MemoryQueues) -> None:
        self._queues = queues
        self._tokens = itertools.count(1)
        self.executions: dict[str, Execution] = {}
        self.answers: list[tuple[str, object]] = []

    def start(self, subject: str, *, attempt: int = 0) -> None:
        first = "Authorise" if subject.startswith("RMA-") else "Prepare"
        self.executions.setdefault(subject if attempt == 0 else f"{subject}_{attempt}", Execution(subject, first))

    def running(self, subject: str) -> bool | None:
        mine = [execution for execution in self.executions.values() if execution.order_id == subject]
        return any(execution.open for execution in mine) if mine else None

    def succeed(self, token: str, output: Mapping[str, object]) -> bool:
        execution = self._waiting(token)
        if execution is None:
            return False
        self.answers.append((execution.state, json.loads(json.dumps(dict(output)))))
        if execution.state == "Hold":
            execution.state = "Post" if output.get("resume") == "post" else "Prepare"
        elif execution.state == "Compensate":
            execution.state = "Release" if output.get("cancelled") is False else "Cancelled"
        else:
            execution.state = _AFTER[execution.state]
        execution.token = None
        return True

    def fail(self, token: str, *, error: str, cause: str) -> bool:
        execution = self._waiting(token)
        if execution is None:
            return False
        self.answers.append((execution.state, error))
        if error == "Cancelled" and execution.state != "Compensate":
            execution.state = "Compensate"
        elif error == "CalledOff" and execution.state != "Call_off":
            execution.state = "Call_off"
        else:
            execution.state, execution.why = "Stuck", {"Error": error, "Cause": cause}
        execution.token = None
        return True

    def stop(self, order_id: str) -> None:
        """Somebody stops the execution: nobody waits any more."""
        for execution in self.executions.values():
            if execution.order_id == order_id and execution.open:
                execution.state, execution.token = "Failed", None

    def _waiting(self, token: str) -> Execution | None:
        return next((execution for execution in self.executions.values() if execution.token == token), None)

    def step(self, prepare: Callable[[str], Mapping[str, object]]) -> bool:
        """Moves one execution that can move. ``prepare`` runs the checks and answers the failed one (or passed). False: all wait or are over."""
        for execution in self.executions.values():
            if not execution.open or execution.token is not None:
                continue
            if execution.state == "Prepare":
                answer = prepare(execution.order_id)
                execution.state = {"passed": "Post", "cancelled": "Compensate"}.get(str(answer.get("outcome")), "Hold")
                # What a failed Express child leaves: the check's whole answer as JSON text in the cause.
                execution.why = {"Error": "Held" if answer.get("outcome") == "held" else "States.TaskFailed", "Cause": json.dumps(answer)}
            elif execution.state == "Stuck":
                self._queues.send(QueueName.WORK, json.dumps({"request": "stuck", execution.called: execution.order_id, "why": execution.why}), group=execution.order_id)
                execution.state = "Failed"
            else:
                execution.token = f"token-{next(self._tokens)}-{execution.order_id}"
                request: dict[str, object] = {"request": execution.state.lower(), execution.called: execution.order_id, "token": execution.token}
                if execution.state == "Hold":
                    request["why"] = execution.why
                self._queues.send(QueueName.WORK, json.dumps(request), group=execution.order_id)
            return True
        return False


class MemoryCursors:
    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.claims: dict[str, datetime] = {}

    def get(self, name: str) -> str | None:
        return self.values.get(name)

    def put(self, name: str, value: str) -> None:
        self.values[name] = value

    def claim(self, name: str, *, until: datetime, now: datetime) -> bool:
        if name in self.claims and self.claims[name] > now:
            return False
        self.claims[name] = until
        return True

    def release_claim(self, name: str) -> None:
        self.claims.pop(name, None)


class MemoryBudgets:
    """Implements ``ports.Budgets``."""

    def __init__(self) -> None:
        self.marks: dict[str, int] = {}
        self.writes = 0

    def advance(self, name: str, *, seen: int | None, to: int, now: int) -> int | None:
        standing = self.marks.get(name)
        self.writes += 1
        if standing is not None and (standing > now if seen is None else standing != seen):
            return standing
        self.marks[name] = to
        return None


class MemorySecrets:
    def __init__(self, secrets: Mapping[str, list[str]] | None = None) -> None:
        self.cached = {name: list(found) for name, found in (secrets or {}).items()}
        self.stored = {name: list(found) for name, found in self.cached.items()}
        self.refreshed = 0

    def webhook_secrets(self, connection: str) -> list[str]:
        return self.cached.get(connection, [])

    def refresh(self) -> bool:
        self.refreshed += 1
        changed = self.cached != self.stored
        self.cached = {name: list(found) for name, found in self.stored.items()}
        return changed


# ------------------------------------------------------------------ the systems outside


@dataclass
class Fault:
    """What goes wrong with the next ``times`` calls of a command; ``after_commit``: it was done, only the answer is lost."""

    command: str
    error: Exception
    after_commit: bool = False
    times: int = 1


class MemorySystem:
    """A system outside, any role. It recognises nothing by itself: a command that comes twice is done twice, and shows in ``done``."""

    def __init__(self, manifest: ConnectorManifest, clock: SetClock) -> None:
        self.manifest = manifest
        self._clock = clock
        self.done: list[tuple[str, str]] = []
        self.intents: dict[tuple[str, str], Intent] = {}
        self.receipts: dict[tuple[str, str], Receipt] = {}
        self.faults: list[Fault] = []
        self.look_ups = 0
        self.look_up_faults: list[CrossdockError] = []
        self.accounts: dict[str, CreditStanding] = {}
        self.price_list: dict[str, Price] = {}
        self.totals: dict[str, Money] = {}
        self.total_adjustment = Decimal(0)
        self.readings: list[StockReading] = []
        self.on_sale: list[StockReading] = []
        self.charged: list[Price] = []
        self.held_orders: dict[str, tuple[ChangedOrder, PolledItem]] = {}
        self.held_returns: dict[str, PolledItem] = {}
        self.credit_adjustment = Decimal(0)
        self.edited: dict[str, dict[str, Any]] = {}
        self.page_size = 100
        self.snapshots: list[tuple[str, str | None]] = []
        self.snapshot_faults: list[CrossdockError | None] = []
        self.poll_answers: list[PollResult | CrossdockError] = []
        self.asked_since: list[str | None] = []
        self.acknowledges_at_once = False
        self.shipped_parts: set[str] = set()
        self.on_done: Callable[[Intent, Receipt], None] = lambda intent, receipt: None
        self.called_at: list[datetime] = []
        self.known = nothing_known
        self.allowance = Allowance(manifest.name, Pace.of(manifest.rate_limit), budgets=MemoryBudgets(), clock=clock, sleep=lambda seconds: clock.pass_by(seconds=seconds))

    def fail(self, command: str, error: Exception, *, after_commit: bool = False, times: int = 1) -> None:
        self.faults.append(Fault(command, error, after_commit, times))

    def translate(self, delivery: Delivery) -> Translation:
        document: Any = strict_json.loads(delivery.body)
        if delivery.topic not in {**self.manifest.handled, **self.manifest.ignored}:
            raise ContractDrift("UNKNOWN_EVENT", f"topic {delivery.topic} is not known")
        if delivery.topic in self.manifest.ignored:
            return Translation(ignored=self.manifest.ignored[delivery.topic].reason)
        facts = [FACT.validate_json(json.dumps(fact)) for fact in document["facts"]]
        return Translation(tuple(Occurrence(fact, datetime.fromisoformat(document["at"])) for fact in facts))

    def execute(self, intent: Intent) -> Receipt:
        self.allowance.spend()
        self.called_at.append(self._clock.now())
        fault = next((fault for fault in self.faults if fault.command == intent.type and fault.times > 0), None)
        if fault is not None:
            fault.times -= 1
            if not fault.after_commit:
                raise fault.error
        receipt = self._do(intent)
        if fault is not None:
            raise fault.error
        return receipt

    def _do(self, intent: Intent) -> Receipt:
        name = (intent.type, intent.business_id)
        if intent.type == "CancelFulfillment" and intent.business_id in self.shipped_parts:
            raise Rejected("ALREADY_SHIPPED", f"{intent.business_id} has left")
        self.done.append(name)
        receipt = Receipt(external_id=f"X-{intent.type}-{intent.business_id}"[:200])
        if isinstance(intent, CreateSalesOrder):
            number = f"SO-{intent.order.order_id}"
            total = Money(amount=intent.order.total.amount + self.total_adjustment, currency=intent.order.currency)
            line_ids = {f"{line.line_id}@{line.location}": str((index + 1) * 10000) for index, line in enumerate(intent.lines)}
            receipt = Receipt(external_id=number, number=number, total=total, tax=intent.order.tax, line_ids=line_ids)
            self.totals[number] = total
        elif isinstance(intent, ReleaseFulfillment):
            receipt = Receipt(external_id=f"W-{intent.part.part_id}", acknowledged=self.acknowledges_at_once)
        elif isinstance(intent, PostInvoice):
            receipt = Receipt(external_id=f"INV-{intent.shipment_id}", number=f"INV-{intent.shipment_id}")
        elif isinstance(intent, PostCreditMemo):
            given = sum((line.net.amount + line.tax.amount for line in intent.lines), self.credit_adjustment)
            receipt = Receipt(external_id=f"CM-{intent.return_id}", number=f"CM-{intent.return_id}", total=Money(amount=given, currency=intent.currency))
        elif isinstance(intent, RefundReturn):
            receipt = Receipt(external_id=f"REF-{intent.return_id}", total=intent.amount)
        self.intents[name], self.receipts[name] = intent, receipt
        self.on_done(intent, receipt)
        return receipt

    def look_up(self, intent: Intent) -> Receipt | None:
        self.look_ups += 1
        if self.look_up_faults:
            raise self.look_up_faults.pop(0)
        return self.receipts.get((intent.type, intent.business_id))

    def poll(self, resource: str, cursor: str | None, known: Known = nothing_known) -> PollResult:
        self.asked_since.append(cursor)
        self.known = known
        self.allowance.spend()
        answer = self.poll_answers.pop(0) if self.poll_answers else PollResult((), cursor or "0")
        if isinstance(answer, CrossdockError):
            raise answer
        return answer

    def credit(self, account: str) -> CreditStanding | None:
        return self.accounts.get(account)

    def prices(self, account: str, questions: Sequence[PriceQuestion]) -> list[Price | None]:
        return [self.price_list.get(question.sku) for question in questions]

    def sales_order_total(self, external_id: str) -> Money | None:
        return self.totals.get(external_id)

    def sales_order(self, external_id: str) -> LedgerDocument | None:
        """As it was made, but for what ``edited`` says of it; its total is ``totals``' matter, and without one it is gone."""
        intent = next((made for made in self.intents.values() if isinstance(made, CreateSalesOrder) and f"SO-{made.order.order_id}" == external_id), None)
        if external_id not in self.totals or intent is None:
            return None
        made = LedgerDocument(
            total=self.totals[external_id],
            tax=intent.order.tax,
            freight=intent.order.freight,
            lines={str((index + 1) * 10000): line.quantity for index, line in enumerate(intent.lines)},
        )
        return replace(made, **self.edited.get(external_id, {}))

    def placed(self, external_id: str) -> PolledItem:
        self.allowance.spend()
        if external_id not in self.held_orders:
            raise Rejected("NOT_FOUND", f"order {external_id} is not known")
        return self.held_orders[external_id][1]

    def returned(self, external_id: str) -> PolledItem:
        self.allowance.spend()
        if external_id not in self.held_returns:
            raise Rejected("NOT_FOUND", f"return {external_id} is not known")
        return self.held_returns[external_id]

    def snapshot(self, resource: str, cursor: str | None) -> SnapshotPage:
        """``page_size`` at a time; the cursor is the place of the next one."""
        self.allowance.spend()
        self.snapshots.append((resource, cursor))
        if self.snapshot_faults and (error := self.snapshot_faults.pop(0)) is not None:
            raise error
        start = 0 if cursor is None or (resource == "orders" and "|" not in cursor) else int(cursor.rpartition("|")[2])
        held: dict[str, list[Any]] = {"stock": self.readings, "shown": self.on_sale, "list_prices": self.charged, "orders": [order for order, _ in self.held_orders.values()]}
        page, behind = held[resource][start : start + self.page_size], start + self.page_size
        following = None if behind >= len(held[resource]) else f"{'|' if resource == 'orders' else ''}{behind}"
        field_name = {"stock": "readings", "shown": "readings", "list_prices": "prices", "orders": "orders"}[resource]
        return SnapshotPage(**{field_name: tuple(page)}, cursor=following)

    def stock(self) -> list[StockReading]:
        return list(self.readings)


def polled(key: str, topic: str, document: Mapping[str, Any]) -> PolledItem:
    return PolledItem(key=key, topic=topic, body=json.dumps(document).encode())


class MemoryConnectors:
    def __init__(self, systems: Mapping[str, MemorySystem]) -> None:
        self.systems = dict(systems)

    def connector(self, connection: str) -> MemorySystem:
        return self.systems[connection]

    def manifest(self, connection: str) -> ConnectorManifest:
        return self.systems[connection].manifest

    def allowance(self, connection: str) -> Allowance:
        return self.systems[connection].allowance
