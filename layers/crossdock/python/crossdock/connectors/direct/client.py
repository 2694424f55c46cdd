"""How are submitted orders read? There is no system behind this connector to call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from crossdock.connectors.direct import mapping, wire
from crossdock.domain import strict_json
from crossdock.domain.commands import Intent, Receipt
from crossdock.domain.connector import ConnectionContext, Known, LedgerDocument, Occurrence, PolledItem, PollResult, PriceQuestion, SnapshotPage, Translation, nothing_known
from crossdock.domain.customer import CreditStanding
from crossdock.domain.delivery import Delivery
from crossdock.domain.errors import ContractDrift, NeedsPerson
from crossdock.domain.events import OrderPlaced, ReturnReceived, ReturnRequested
from crossdock.domain.money import Money
from crossdock.domain.price import Price
from crossdock.domain.stock import StockReading

TOPIC = "orders/submit"
STOCK_TOPIC = "inventory/report"
RETURN_TOPIC, RECEIPT_TOPIC = "returns/submit", "returns/receive"
PRICE_TOPIC, ACCOUNT_TOPIC = "prices/submit", "customers/submit"
TOPICS = (TOPIC, STOCK_TOPIC, RETURN_TOPIC, RECEIPT_TOPIC, PRICE_TOPIC, ACCOUNT_TOPIC)


class DirectConnector:
    """Implements ``domain.connector.Connector`` for POST /v1/orders."""

    def __init__(self, context: ConnectionContext) -> None:
        self._context = context
        self.manifest = context.manifest

    def translate(self, delivery: Delivery) -> Translation:
        if delivery.topic not in TOPICS:
            raise ContractDrift(
                "UNKNOWN_EVENT",
                f"{delivery.topic!r} is no topic of this connector",
                remedy="send orders to POST /v1/orders, stock to /v1/inventory, prices to /v1/prices, accounts to /v1/customers, returns to /v1/returns",
            )
        value, received_at = strict_json.loads(delivery.body), delivery.received_at
        if delivery.topic == RETURN_TOPIC:
            asked = mapping.return_from_wire(mapping.parsed(wire.SubmittedReturn, value), connection=self._context.connection, received_at=received_at)
            return Translation(occurrences=(Occurrence(ReturnRequested.model_validate({"return": asked}), asked.requested_at),))
        if delivery.topic == RECEIPT_TOPIC:
            came = mapping.receipt_from_wire(mapping.parsed(wire.AddressedReceipt, value), received_at=received_at)
            return Translation(occurrences=(Occurrence(ReturnReceived(receipt=came), came.received_at),))
        if delivery.topic == STOCK_TOPIC:
            facts = mapping.stock_from_wire(mapping.parsed(wire.StockReport, value))
            return Translation(occurrences=tuple(Occurrence(fact, fact.occurred_at) for fact in facts))
        if delivery.topic == PRICE_TOPIC:
            prices = mapping.prices_from_wire(mapping.parsed(wire.PriceReport, value))
            return Translation(occurrences=tuple(Occurrence(fact, fact.as_of) for fact in prices))
        if delivery.topic == ACCOUNT_TOPIC:
            accounts = mapping.accounts_from_wire(mapping.parsed(wire.AccountReport, value))
            return Translation(occurrences=tuple(Occurrence(fact, fact.as_of) for fact in accounts))
        order = mapping.order_from_wire(mapping.parsed(wire.SubmittedOrder, value), connection=self._context.connection, received_at=received_at)
        return Translation(occurrences=(Occurrence(OrderPlaced(order=order), order.placed_at),))

    def _nothing_there(self) -> NoReturn:
        raise NeedsPerson("COMMAND_NOT_SUPPORTED", f"{self._context.connection} has no system behind it", remedy="change the tenant file: this connection only takes orders in")

    def execute(self, intent: Intent) -> Receipt:  # noqa: ARG002 - the port's signature
        self._nothing_there()

    def look_up(self, intent: Intent) -> Receipt | None:  # noqa: ARG002 - the port's signature
        self._nothing_there()

    def poll(self, resource: str, cursor: str | None, known: Known = nothing_known) -> PollResult:  # noqa: ARG002 - the port's signature
        self._nothing_there()

    def credit(self, account: str) -> CreditStanding | None:  # noqa: ARG002 - the port's signature
        self._nothing_there()

    def prices(self, account: str, questions: Sequence[PriceQuestion]) -> list[Price | None]:  # noqa: ARG002 - the port's signature
        self._nothing_there()

    def sales_order_total(self, external_id: str) -> Money | None:  # noqa: ARG002 - the port's signature
        self._nothing_there()

    def stock(self) -> list[StockReading]:
        self._nothing_there()

    def sales_order(self, external_id: str) -> LedgerDocument | None:  # noqa: ARG002 - the port's signature
        self._nothing_there()

    def placed(self, external_id: str) -> PolledItem:  # noqa: ARG002 - the port's signature
        self._nothing_there()

    def returned(self, external_id: str) -> PolledItem:  # noqa: ARG002 - the port's signature
        self._nothing_there()

    def snapshot(self, resource: str, cursor: str | None) -> SnapshotPage:  # noqa: ARG002 - the port's signature
        self._nothing_there()
