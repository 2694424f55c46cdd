"""What do the flows need from the outside? The interfaces that ``aws`` implements and tests fake."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from crossdock.domain.audit import AuditEntry
from crossdock.domain.catalog import CatalogRecord
from crossdock.domain.commands import Command, Receipt
from crossdock.domain.connector import Connector
from crossdock.domain.customer import AccountRecord
from crossdock.domain.delivery import Delivery, DeliveryNote, DeliveryStatus
from crossdock.domain.effect import Effect
from crossdock.domain.events import Event
from crossdock.domain.exception_record import ExceptionRecord
from crossdock.domain.manifest import ConnectorManifest
from crossdock.domain.order_record import OrderRecord, Parked
from crossdock.domain.return_record import ReturnRecord
from crossdock.domain.stage import QueueName
from crossdock.domain.stock import Reservation, ReservedLine, StockAdjustment, StockChange, StockEntry, StockLevel, StockReading


class Archive(Protocol):
    """Raw bytes kept for good; a key is written once and never changed."""

    def put(self, key: str, body: bytes, *, metadata: Mapping[str, str]) -> None: ...

    def get(self, key: str) -> tuple[bytes, dict[str, str]]: ...


class Deliveries(Protocol):
    def add(self, delivery: Delivery) -> DeliveryNote | None:
        """Stores bytes and note under the delivery's id. None when new; the standing note when that id is known already."""
        ...

    def note(self, delivery_id: str) -> DeliveryNote | None: ...

    def load(self, delivery_id: str) -> Delivery:
        """The newest revision with its bytes. ``Rejected`` NOT_FOUND when there is none."""
        ...

    def revise(self, delivery_id: str, body: bytes, *, actor: str, now: datetime) -> int:
        """Keeps an edited body beside the original; the new revision's number."""
        ...

    def settle(self, delivery_id: str, status: DeliveryStatus, *, now: datetime, events: Sequence[str] = (), reason: str = "") -> None: ...

    def waiting(self, before: datetime, limit: int) -> list[DeliveryNote]:
        """Received before that moment (or last queued again before it) and not settled yet."""
        ...

    def every(self) -> Iterable[DeliveryNote]: ...


class Orders(Protocol):
    def get(self, order_id: str) -> OrderRecord | None: ...

    def add(self, record: OrderRecord) -> bool:
        """False when the order is known already."""
        ...

    def change(self, order_id: str, decide: Callable[[OrderRecord], OrderRecord | None]) -> OrderRecord:
        """Reads, decides, writes on the version read; again when somebody else was first. None from ``decide``: leave as it is."""
        ...

    def refer(self, connection: str, external_id: str, order_id: str, part_id: str = "") -> None:
        """Remembers that the other system's id belongs to this order (and part)."""
        ...

    def referred(self, connection: str, external_id: str) -> tuple[str, str] | None:
        """(order id, part id or empty) for another system's id."""
        ...

    def park(self, name: str, *, source: str, item: Parked) -> None:
        """Keeps an event under the name (order id or reference) by which it will be asked for."""
        ...

    def parked(self, name: str) -> list[Parked]:
        """Everything that waits under the name."""
        ...

    def forget_parked(self, name: str, item: Parked) -> None:
        """It has been sent on: after, never before."""
        ...

    def overdue_parked(self, now: datetime, limit: int) -> list[tuple[str, Parked]]: ...

    def due(self, now: datetime, limit: int) -> list[str]:
        """Open orders whose ``due_at`` has passed, the earliest first."""
        ...

    def every(self) -> Iterable[OrderRecord]: ...

    def listed(self, *, closed: bool, limit: int) -> list[OrderRecord]:
        """The newest first."""
        ...


class Returns(Protocol):
    def get(self, return_id: str) -> ReturnRecord | None: ...

    def add(self, record: ReturnRecord) -> bool:
        """False when it is there already."""
        ...

    def change(self, return_id: str, decide: Callable[[ReturnRecord], ReturnRecord | None]) -> ReturnRecord:
        """Reads, decides, writes if unchanged meanwhile; again if not. None: leave as it is."""
        ...

    def of_order(self, order_id: str) -> list[ReturnRecord]: ...

    def due(self, now: datetime, limit: int) -> list[str]:
        """Open returns whose ``due_at`` has passed, the earliest first."""
        ...

    def every(self) -> Iterable[ReturnRecord]: ...

    def listed(self, *, closed: bool, limit: int) -> list[ReturnRecord]:
        """The newest first."""
        ...


class Catalog(Protocol):
    def get(self, sku: str) -> CatalogRecord | None: ...

    def change(self, sku: str, decide: Callable[[CatalogRecord], CatalogRecord | None], *, now: datetime) -> CatalogRecord:
        """Reads (an empty record where there is none), decides, writes if unchanged meanwhile; again if not. None: leave as it is."""
        ...

    def due(self, now: datetime, limit: int) -> list[str]:
        """SKUs of which a price has begun or ended, the earliest first."""
        ...

    def every(self) -> Iterable[CatalogRecord]: ...


class Accounts(Protocol):
    def get(self, account: str) -> AccountRecord | None: ...

    def change(self, account: str, decide: Callable[[AccountRecord], AccountRecord | None], *, now: datetime) -> AccountRecord:
        """As above."""
        ...

    def every(self) -> Iterable[AccountRecord]: ...


class Stock(Protocol):
    def level(self, sku: str, location: str) -> StockLevel | None: ...

    def levels(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], StockLevel]: ...

    def everywhere(self, sku: str) -> list[StockLevel]:
        """The SKU's level at every location that holds it."""
        ...

    def count(self, reading: StockReading, *, safety: Decimal, source: str) -> StockChange:
        """Takes over an absolute count unless a newer one is known. Movements that happened after it was taken stay applied."""
        ...

    def adjust(self, adjustment: StockAdjustment, *, safety: Decimal, source: str, at: datetime) -> StockChange:
        """Applies a movement, once per adjustment id; not when a count taken at that moment or later holds it already."""
        ...

    def ledger(self, sku: str, location: str, *, limit: int) -> list[StockEntry]:
        """What changed what is on hand, the newest first."""
        ...

    def reserve(self, reservation: Reservation) -> str | None:
        """All lines and slots or none, once per order: repeated calls answer the first one's result. The SKU@location (or @location) that is short, or None."""
        ...

    def load(self, locations: Iterable[str], *, day: str) -> dict[str, int]:
        """How many parts each of them was given on that day, as far as that is counted."""
        ...

    def reservation(self, order_id: str) -> Reservation | None: ...

    def outstanding(self) -> Iterable[tuple[str, list[ReservedLine]]]:
        """Every order that has stock committed, with what of it is neither shipped nor given back."""
        ...

    def move(self, order_id: str, gone: Sequence[ReservedLine], there: Sequence[ReservedLine], *, token: str) -> bool:
        """Gives reserved stock back at one place and commits it at another, both or neither. ``token`` makes a repeat harmless.

        False: there is not enough there, or it is not reserved any more.
        """
        ...

    def release(self, order_id: str, lines: Sequence[ReservedLine], *, token: str) -> None:
        """Gives reserved stock back (cancel). ``token`` makes a repeat harmless."""
        ...

    def consume(self, order_id: str, lines: Sequence[ReservedLine], *, token: str, at: datetime, left_at: datetime | None = None) -> None:
        """Reserved stock has left: neither on hand nor committed any more. ``token`` makes a repeat harmless.

        ``left_at``: when it left, where the location's own counts can be compared with that moment: a count taken since does not hold it any more.
        """
        ...


class Effects(Protocol):
    def begin(self, key: str, *, order_id: str | None, now: datetime, lease_seconds: int) -> tuple[bool, Effect]:
        """One conditional write. (True, effect): go ahead, this attempt owns it. (False, effect): it stands as ``effect`` says —
        confirmed, under way within its lease, or to be looked up first (unknown, or intended with its lease run out)."""
        ...

    def take_over(self, effect: Effect, *, now: datetime, lease_seconds: int) -> Effect | None:
        """Claims an unknown or abandoned effect for a look-up. None when another worker was first."""
        ...

    def confirm(self, effect: Effect, receipt: Receipt, *, now: datetime) -> Effect: ...

    def mark_unknown(self, effect: Effect, error: str, *, now: datetime) -> Effect: ...

    def fail(self, effect: Effect, error: str, *, now: datetime) -> Effect: ...

    def contradict(self, effect: Effect, error: str, *, now: datetime) -> Effect:
        """A confirmed effect that is not to be found any more: unknown from now on, so that whoever does it again looks first."""
        ...

    def get(self, key: str) -> Effect | None: ...


class Exceptions(Protocol):
    def open(self, record: ExceptionRecord) -> ExceptionRecord:
        """Stores it, or counts one more occurrence and reopens the standing record of the same id."""
        ...

    def get(self, exception_id: str) -> ExceptionRecord | None: ...

    def change(self, exception_id: str, decide: Callable[[ExceptionRecord], ExceptionRecord | None]) -> ExceptionRecord: ...

    def listed(self, *, closed: bool = False, limit: int = 1000) -> list[ExceptionRecord]: ...


class Audit(Protocol):
    def append(self, subject: str, *, actor: str, action: str, summary: str, details: Mapping[str, str] | None = None, at: datetime) -> AuditEntry: ...

    def append_once(self, subject: str, *, actor: str, action: str, summary: str, details: Mapping[str, str] | None = None, at: datetime) -> None:
        """Unless an entry with the same action and details stands there, also when many come at once."""
        ...

    def entries(self, subject: str) -> list[AuditEntry]: ...


class Bus(Protocol):
    def publish(self, events: Sequence[Event]) -> None:
        """All or an error: a partial failure of the service is retried, then raised."""
        ...


class Queues(Protocol):
    def send(self, queue: QueueName, body: str, *, group: str, delay_seconds: int = 0) -> None: ...

    def depth(self, queue: QueueName) -> int:
        """About how many messages the queue holds, waiting or being worked on."""
        ...

    def send_to_dead_letters(self, queue: QueueName, body: str, *, group: str, exception_id: str) -> None: ...


class Workflow(Protocol):
    """The workflows of orders and of returns; which of them it is shows in the subject's id."""

    def start(self, subject: str, *, attempt: int = 0) -> None:
        """Starting what runs already is success: the execution name is the order's or the return's id."""
        ...

    def succeed(self, token: str, output: Mapping[str, object]) -> bool:
        """False: nobody waits with this token (answered before, timed out, stopped)."""
        ...

    def fail(self, token: str, *, error: str, cause: str) -> bool: ...

    def running(self, subject: str) -> bool | None:
        """None: there never was an execution of it."""
        ...


class Cursors(Protocol):
    def get(self, name: str) -> str | None: ...

    def put(self, name: str, value: str) -> None: ...

    def claim(self, name: str, *, until: datetime, now: datetime) -> bool:
        """True for one caller until ``until`` (a lease on a periodic task)."""
        ...

    def release_claim(self, name: str) -> None: ...


class Budgets(Protocol):
    """Marks that move forward only, shared by all workers: how far a connection's calls are paid ahead."""

    def advance(self, name: str, *, seen: int | None, to: int, now: int) -> int | None:
        """Moves the mark to ``to`` if it stands at ``seen`` (None: nowhere, or at ``now`` or before). None when done, else where it stands."""
        ...


class Allowance(Protocol):
    """One connection's budget of calls."""

    def wait_seconds(self) -> int:
        """0 when a command may begin now, else after how long its message should come again."""
        ...

    def spend(self) -> None:
        """Pays for one call. ``RetryLater`` when it must not be made now."""
        ...

    def pause(self, seconds: int) -> None:
        """The other side wants no calls for so long."""
        ...


class Connectors(Protocol):
    def connector(self, connection: str) -> Connector: ...

    def manifest(self, connection: str) -> ConnectorManifest: ...

    def allowance(self, connection: str) -> Allowance:
        """The same for as long as the process lives; the connector's calls are paid from it."""
        ...


class Secrets(Protocol):
    def webhook_secrets(self, connection: str) -> list[str]:
        """Current first, then the previous one while the overlap lasts; empty when none is set."""
        ...

    def refresh(self) -> bool:
        """Forget what is cached: a signature did not fit, perhaps the secret was rotated. False when it was read just now:
        somebody who sends wrong signatures must not make this side read the secret each time."""
        ...


class CommandSender(Protocol):
    def send(self, commands: Sequence[Command]) -> None: ...
