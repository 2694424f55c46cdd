"""What must every connector be able to do? The port between the flows and the vendors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from crossdock.domain.clock import Clock
from crossdock.domain.commands import Intent, Receipt
from crossdock.domain.customer import CreditStanding
from crossdock.domain.delivery import Delivery
from crossdock.domain.events import Fact
from crossdock.domain.manifest import ConnectorManifest
from crossdock.domain.money import Money
from crossdock.domain.price import Price
from crossdock.domain.stock import StockReading


@dataclass(frozen=True)
class Occurrence:
    """A fact as the connector's mapping understood it, in the sender's codes (SKU, unit, location) until cross-referenced."""

    fact: Fact
    occurred_at: datetime


@dataclass(frozen=True)
class Translation:
    """What one delivery means: facts, or none with the reason why it is ignored by name."""

    occurrences: tuple[Occurrence, ...] = ()
    ignored: str | None = None


@dataclass(frozen=True)
class PolledItem:
    """One thing a poll found, to go the same way as a webhook. ``key`` is the same each time the same state is found."""

    key: str
    topic: str
    body: bytes


@dataclass(frozen=True)
class PollResult:
    items: tuple[PolledItem, ...]
    cursor: str
    """Opaque to everyone else; handed back the next time."""
    more: bool = False
    """There is more than one poll takes: ask again soon."""


@dataclass(frozen=True)
class ChangedOrder:
    """An order that a storefront holds: its own id, the one it has (or would have) here, and when it was last changed there."""

    external_id: str
    order_id: str
    changed_at: datetime


@dataclass(frozen=True)
class SnapshotPage:
    """A page of what a system holds now, in its own names. Which of the lists is filled depends on what was asked for."""

    readings: tuple[StockReading, ...] = ()
    prices: tuple[Price, ...] = ()
    orders: tuple[ChangedOrder, ...] = ()
    cursor: str | None = None
    """Opaque; asks for the next page. None: this was the last."""


@dataclass(frozen=True)
class LedgerDocument:
    """A sales order as the ERP computes it now. ``lines``: its id of a line of goods to how much of it is ordered."""

    total: Money
    tax: Money
    freight: Money
    lines: Mapping[str, Decimal]


Known = Callable[[str, str, str, str], bool]
"""(order id, version, topic, key): is that order here at that version or a newer one, or was an item of that topic and key taken in before?
For a poll that finds again what a webhook has brought: it need not fetch the whole of it."""


def nothing_known(order_id: str, version: str, topic: str, key: str) -> bool:
    return False


@dataclass(frozen=True)
class PriceQuestion:
    """``sku`` and ``unit`` in the asked system's names."""

    sku: str
    unit: str
    quantity: Decimal
    currency: str


class HttpAnswer(Protocol):
    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]:
        """Names in lower case."""
        ...

    @property
    def body(self) -> bytes: ...


class HttpPort(Protocol):
    """The only way out. Raises ``RetryLater`` when nothing was sent (refused, DNS), ``UnknownOutcome`` when a write may have
    arrived (timeout, connection lost after sending), ``RetryLater`` for 429/503 with Retry-After. Other statuses are answered."""

    def send(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None, writes: bool, timeout_seconds: float | None = None
    ) -> HttpAnswer: ...


@dataclass(frozen=True)
class ConnectionContext:
    """Everything a connector instance gets: it reads no environment, opens no socket of its own and keeps no global state."""

    tenant: str
    connection: str
    manifest: ConnectorManifest
    base_url: str
    settings: Mapping[str, str]
    credentials: Callable[[], Mapping[str, str]]
    """Current secret fields, asked for when needed (rotation)."""
    http: HttpPort
    clock: Clock
    cache: dict[str, object] = field(default_factory=dict)
    """For tokens and look-ups that may live as long as the container."""


class Connector(Protocol):
    """One vendor's API as one connection uses it. Class ``<Product>Connector`` in ``client.py``.

    ``execute`` raises ``RetryLater`` (nothing done), ``UnknownOutcome`` (may have been done), ``Rejected`` (understood and refused, with
    the vendor's words and field paths), ``ContractDrift`` (an answer this side does not understand) — never anything else for a vendor's behaviour.
    """

    def __init__(self, context: ConnectionContext) -> None: ...

    def translate(self, delivery: Delivery) -> Translation:
        """Pure: no I/O. ``Rejected`` with field paths for a body that breaks the vendor's contract, ``ContractDrift`` for an unknown topic, status or enum."""
        ...

    def execute(self, intent: Intent) -> Receipt: ...

    def look_up(self, intent: Intent) -> Receipt | None:
        """Did this write happen? Asked by our external reference after an unknown outcome; None: surely not."""
        ...

    def poll(self, resource: str, cursor: str | None, known: Known = nothing_known) -> PollResult: ...

    def credit(self, account: str) -> CreditStanding | None:
        """None: the system does not know the account."""
        ...

    def prices(self, account: str, questions: Sequence[PriceQuestion]) -> list[Price | None]:
        """In the order of the questions; None where the system does not know the item (or it is blocked for sale)."""
        ...

    def sales_order_total(self, external_id: str) -> Money | None:
        """What the ERP computes for a sales order now, tax included; None when it is gone."""
        ...

    def stock(self) -> list[StockReading]:
        """Everything the connection holds, ``sku`` and ``location`` in its own names."""
        ...

    def sales_order(self, external_id: str) -> LedgerDocument | None:
        """The ERP's sales order as it is now; None when it is gone."""
        ...

    def placed(self, external_id: str) -> PolledItem:
        """A storefront's order as its poll would bring it. ``Rejected`` NOT_FOUND when the storefront does not know it."""
        ...

    def returned(self, external_id: str) -> PolledItem:
        """A storefront's return with its lines, as a delivery. ``Rejected`` NOT_FOUND when the storefront does not know it."""
        ...

    def snapshot(self, resource: str, cursor: str | None) -> SnapshotPage:
        """One page of what the system holds: ``stock`` (what is on hand), ``shown`` (what a sales channel offers, ``on_hand`` being that
        figure), ``list_prices`` (an article without a SKU is left out), ``orders`` (changed since the moment that is its first cursor)."""
        ...
