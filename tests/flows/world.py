"""A whole tenant in one process: the flows over the fakes, with workers that crash where a test wants them to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import inspect
import itertools
import json
from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, cast

from crossdock.domain.address import Address
from crossdock.domain.commands import Intent, Receipt, ReleaseFulfillment
from crossdock.domain.customer import CreditStanding, Customer
from crossdock.domain.delivery import inbound_message
from crossdock.domain.errors import CrossdockError, RetryLater
from crossdock.domain.events import Event, Fact, FulfillmentAcknowledged, OrderCancelled, OrderPlaced, OrderUpdated, ShipmentDispatched
from crossdock.domain.exception_record import ExceptionRecord
from crossdock.domain.manifest import ConnectorManifest
from crossdock.domain.messages import OutboundMessage
from crossdock.domain.money import Money
from crossdock.domain.order import Order, OrderLine
from crossdock.domain.order_record import OrderRecord
from crossdock.domain.ports import Cursors
from crossdock.domain.price import Price
from crossdock.domain.quantity import Quantity
from crossdock.domain.shipment import Package, Shipment, ShippedLine
from crossdock.domain.stage import QueueName
from crossdock.domain.stock import StockReading
from crossdock.domain.tenant import CrossReference, TenantSpec
from crossdock.flows import deliver, raise_exception, work
from crossdock.flows import order as order_flow
from crossdock.flows.balance import Balance, balance
from crossdock.flows.dead_letters import about, index
from crossdock.flows.health import Circuits
from crossdock.flows.raise_exception import delivery_of
from crossdock.flows.receive import Answer, intake_of, receive
from crossdock.flows.services import Services
from crossdock.flows.translate import translate
from crossdock.flows.watch import Watched, watch
from tests.fakes import (
    START,
    MemoryAccounts,
    MemoryArchive,
    MemoryAudit,
    MemoryBus,
    MemoryCatalog,
    MemoryConnectors,
    MemoryCursors,
    MemoryDeadLetters,
    MemoryDeliveries,
    MemoryEffects,
    MemoryExceptions,
    MemoryOrders,
    MemoryQueues,
    MemoryReturns,
    MemorySecrets,
    MemoryStock,
    MemorySystem,
    MemoryWorkflow,
    SetClock,
)

TOPICS = {"orders/create": "an order", "orders/updated": "a newer version", "orders/cancelled": "a cancellation", "told": "anything else that happened"}
IGNORED = {"carts/update": {"reason": "a cart is no order yet"}}
SECRET = "a webhook secret of this test"


def manifest(name: str, role: str, commands: list[str], *, webhooks: bool = True, **more: Any) -> ConnectorManifest:
    contract = {
        "signature": {"scheme": "hmac_sha256", "signature_header": "X-Signature"},
        "delivery_id_header": "X-Delivery-Id",
        "event_id_header": "X-Event-Id",
        "topic_header": "X-Topic",
        "answer_within_seconds": 5,
        "max_bytes": 20_000,
    }
    return ConnectorManifest.model_validate(
        {
            "name": name,
            "title": name,
            "version": "1.0.0",
            "owner": "integration",
            "vendor_documentation": "none",
            "api_version": "1",
            "roles": [role],
            "commands": commands,
            "handled": TOPICS,
            "ignored": IGNORED,
            "webhooks": contract if webhooks else None,
            "credentials": ["token"],
            "hosts": ["example.test"],
            "rate_limit": {"requests": 10_000, "per_seconds": 1, "source": "test"},
            **more,
        }
    )


MANIFESTS = {
    "shop": manifest("shop", "storefront", ["ConfirmShipment", "CancelOrder"]),
    "erp": manifest(
        "erp", "erp", ["CreateSalesOrder", "CancelSalesOrder", "ReleaseFulfillment", "CancelFulfillment", "PostInvoice"], queries=["credit", "prices", "stock", "sales_order"]
    ),
    "threepl": manifest("threepl", "warehouse", ["ReleaseFulfillment", "CancelFulfillment"], ships_in_base_units=True, queries=["stock"]),
    "direct": manifest("direct", "storefront", [], webhooks=False),
}

SPEC: dict[str, Any] = {
    "tenant": "acme",
    "partner": "northstar",
    "title": "Acme",
    "branding": {"product_name": "Bridge", "support_email": "help@example.test"},
    "connections": {
        "shop": {"connector": "shop", "role": "storefront", "base_url": "https://shop.example.test"},
        "erp": {"connector": "erp", "role": "erp", "base_url": "https://erp.example.test"},
        "threepl": {"connector": "threepl", "role": "warehouse", "base_url": "https://threepl.example.test"},
        "direct": {"connector": "direct", "role": "storefront", "base_url": "https://direct.example.test"},
    },
    "locations": {
        "CHI": {"title": "Chicago", "connection": "erp", "stock_from": "erp", "codes": {"erp": "CHI", "shop": "71"}, "safety_stock": {"NUT": "5"}},
        "DAL": {"title": "Dallas", "connection": "erp", "stock_from": "erp", "codes": {"erp": "DAL", "shop": "72"}},
        "MOR": {"title": "Moreno Valley", "connection": "threepl", "stock_from": "threepl", "codes": {"erp": "MOR", "threepl": "129", "shop": "73"}},
    },
    "articles": {
        "BOLT": {"units": [{"unit": "CS", "numerator": 12}], "codes": {"erp": "70010"}},
        "NUT": {"units": [{"unit": "CS", "numerator": 20}], "codes": {"erp": "70020"}},
        "PUMP": {"codes": {"erp": "70040"}},
        "VALVE": {"units": [{"unit": "CS", "numerator": 6}], "codes": {"erp": "70050", "threepl": "TP-VALVE"}},
        "SETUP": {"codes": {"erp": "90001"}},
    },
    "cross_references": {
        "sku_same_in": ["shop", "threepl", "direct"],
        "units": {"shop": {"EA": "EA", "CS": "CS"}, "erp": {"PCS": "EA", "CASE": "CS"}, "threepl": {"EA": "EA"}, "direct": {"EA": "EA"}},
        "customers": {"shop": {"company-1": "C10010", "company-2": "C10020"}},
    },
    "systems_of_record": {"orders": "shop", "stock": "locations", "shipments": "locations", "prices": "erp"},
    "routing": {
        "rules": [{"regions": ["TX"], "countries": ["US"], "locations": ["DAL", "CHI", "MOR"]}, {"countries": ["US"], "locations": ["CHI", "DAL", "MOR"]}],
        "split": True,
        "max_parts": 3,
    },
    "price_tolerance": {"percent": 1},
    "tax": {"rates": {"US-IL": 10, "US": 0}},
    "freight": {"charges": {"Ground": "10.00"}, "free_from": "5000"},
    "holds": {"credit": {"deadline_minutes": 60, "owner": "credit_control"}, "price": {"deadline_minutes": 60, "on_expiry": "cancel"}},
    "exceptions": {"default": {"owner": "operations"}, "MISSING_XREF": {"owner": "master_data"}},
    "service_level": {"acknowledge_minutes": 60, "ship_hours": 48, "post_minutes": 60, "accept_seconds": 60},
}


ORDINARY = TenantSpec.model_validate(SPEC)


def spec(**changes: Any) -> TenantSpec:
    """The test tenant, with top-level keys replaced (mappings are merged one level deep)."""
    if not changes:
        return ORDINARY
    document = json.loads(json.dumps(SPEC))
    for name, value in changes.items():
        document[name] = {**document[name], **value} if isinstance(value, dict) and isinstance(document.get(name), dict) else value
    return TenantSpec.model_validate(document)


def usd(amount: str | int | Decimal) -> Money:
    return Money.of(amount, "USD")


ADDRESS = Address(name="Blue Ridge", line1="1 Mill Road", city="Joliet", region="IL", postal_code="60431", country="US")


def line(line_id: str, sku: str, quantity: str, price: str, *, unit: str = "EA", tax: str | None = None, **more: Any) -> OrderLine:
    net = Decimal(quantity) * Decimal(price) - Decimal(more.pop("discount", "0"))
    charged = net / 10 if tax is None else Decimal(tax)
    return OrderLine(
        line_id=line_id,
        external_id=f"shop-line-{line_id}",
        sku=sku,
        quantity=Quantity.of(quantity, unit),
        unit_price=usd(price),
        discount=usd(Decimal(quantity) * Decimal(price) - net),
        tax=usd(charged),
        **more,
    )


def an_order(number: int = 1, lines: list[OrderLine] | None = None, **changes: Any) -> Order:
    """Three bolts and two nuts for account C10010: tax and freight as the policy says, prices as the ERP's."""
    made = lines if lines is not None else [line("1", "BOLT", "3", "10"), line("2", "NUT", "2", "5")]
    found = {
        "order_id": f"shop-{number}",
        "connection": "shop",
        "external_id": str(number),
        "number": f"#{1000 + number}",
        "placed_at": START,
        "currency": "USD",
        "customer": Customer(external_ids=("location-9", "company-1"), name="Blue Ridge"),
        "ship_to": ADDRESS,
        "lines": tuple(made),
        "freight": usd(10),
        "freight_tax": usd(0),
        "shipping_method": "Ground",
        "total": usd(0),
        "source_version": "2026-10-05T08:00:00Z",
        **changes,
    }
    order = Order.model_validate(found)
    return order if "total" in changes else order.model_copy(update={"total": order.computed_total})


class Crash(BaseException):
    """The worker is gone: nothing after this line of it happens, no except clause and no finally helps."""


MUTATING = frozenset(
    [
        "put", "add", "revise", "settle", "change", "refer", "park", "forget_parked", "count", "reserve", "move",
        "release", "consume", "begin", "take_over", "confirm", "mark_unknown", "fail", "open", "append", "publish",
        "send", "send_to_dead_letters", "start", "succeed", "claim", "release_claim", "execute", "delete", "remove",
    ]
)  # fmt: skip


class Lifeline:
    """Counts what the workers change and ends one of them after the N-th change; until ``revive`` nothing of it gets through."""

    def __init__(self) -> None:
        self.changes = 0
        self.crash_after: int | None = None
        self.crashed: str | None = None
        self.dead = False

    def changed(self, what: str) -> None:
        self.changes += 1
        if self.changes == self.crash_after:
            self.dead, self.crashed = True, what
            raise Crash(what)

    def check(self) -> None:
        if self.dead:
            raise Crash("dead")


class Wired:
    """A port as the workers see it: each change it makes is counted, and after a crash it does nothing any more."""

    def __init__(self, port: object, lifeline: Lifeline, name: str) -> None:
        self._port, self._lifeline, self._name = port, lifeline, name

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(self._port, attribute)
        if not inspect.ismethod(found):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            self._lifeline.check()
            answer = found(*arguments, **named)
            if isinstance(answer, MemorySystem):
                return Wired(answer, self._lifeline, self._name)
            if attribute in MUTATING:
                self._lifeline.changed(f"{self._name}.{attribute}")
            return answer

        return call


RETURN_COMMANDS = {
    "shop": ("ApproveReturn", "DeclineReturn", "CloseReturn", "RefundReturn"),
    "erp": ("PostCreditMemo",),
    "threepl": ("ExpectReturn", "CallOffReturn"),
}


def taking_returns(**without: tuple[str, ...]) -> dict[str, ConnectorManifest]:
    """The systems' manifests with their commands for returns; ``without`` leaves some of a connection's out."""
    return {
        name: MANIFESTS[name].model_copy(update={"commands": (*MANIFESTS[name].commands, *(command for command in commands if command not in without.get(name, ())))})
        for name, commands in RETURN_COMMANDS.items()
    }


class World:
    """One tenant's stack. ``run`` works everything off, moving the clock to whatever becomes visible next."""

    def __init__(self, tenant: TenantSpec | None = None, *, manifests: dict[str, ConnectorManifest] | None = None) -> None:
        self.spec = tenant or spec()
        self.clock = SetClock()
        self.lifeline = Lifeline()
        self.systems = {name: MemorySystem(found, self.clock) for name, found in {**MANIFESTS, **(manifests or {})}.items()}
        self.shop, self.erp, self.threepl = self.systems["shop"], self.systems["erp"], self.systems["threepl"]
        self.queues = MemoryQueues(self.clock)
        self.letters = MemoryDeadLetters(self.queues)
        self.workflow = MemoryWorkflow(self.queues)
        self.orders = MemoryOrders()
        self.returns = MemoryReturns()
        self.stock = MemoryStock()
        self.catalog = MemoryCatalog()
        self.accounts = MemoryAccounts()
        self.exceptions = MemoryExceptions()
        self.audit = MemoryAudit()
        self.deliveries = MemoryDeliveries()
        self.effects = MemoryEffects()
        self.cursors = MemoryCursors()
        self.archive = MemoryArchive()
        self.bus = MemoryBus(self.queues)
        self.secrets = MemorySecrets({name: [SECRET] for name in self.spec.connections})
        self.services = Services(
            spec=self.spec,
            xref=CrossReference(self.spec),
            clock=self.clock,
            archive=self.archive,
            deliveries=self.deliveries,
            orders=self.orders,
            returns=self.returns,
            stock=self.stock,
            catalog=self.catalog,
            accounts=self.accounts,
            effects=self.effects,
            exceptions=self.exceptions,
            audit=self.audit,
            bus=self.bus,
            queues=self.queues,
            workflow=self.workflow,
            cursors=self.cursors,
            connectors=MemoryConnectors(self.systems),
            secrets=self.secrets,
            circuits=Circuits(self.cursors, self.clock),
        )
        wired = {name.name: getattr(self.services, name.name) for name in fields(self.services)}
        wired["circuits"] = Circuits(cast("Cursors", Wired(self.cursors, self.lifeline, "cursors")), self.clock)
        untouched = ("spec", "xref", "clock", "secrets", "circuits")
        self.workers = Services(**{name: port if name in untouched else Wired(port, self.lifeline, name) for name, port in wired.items()})
        self._told = itertools.count(1)
        self.outbox: list[tuple[str, tuple[Fact, ...], str]] = []
        self._furnish()

    def _furnish(self) -> None:
        shelf = {"BOLT": {"CHI": 100, "DAL": 50, "MOR": 10}, "NUT": {"CHI": 100, "MOR": 40}, "PUMP": {"MOR": 5}, "VALVE": {"MOR": 36}}
        for sku, location, on_hand in [(sku, location, count) for sku, held in shelf.items() for location, count in held.items()]:
            place = self.spec.locations[location]
            self.stock.count(
                StockReading(sku=sku, location=location, on_hand=Decimal(on_hand), as_of=START), safety=place.safety_stock.get(sku, Decimal(0)), source=place.stock_from
            )
        for code, price in {"70010": "10", "70020": "5", "70040": "300", "70050": "20", "90001": "50"}.items():
            self.erp.price_list[code] = Price(sku=code, unit="PCS", price=usd(price))
        for account in ("C10010", "C10020"):
            self.erp.accounts[account] = CreditStanding(account=account, limit=usd(10_000), balance=usd(0))

    # ---------------------------------------------------------------- what comes from outside

    def post(self, connection: str, body: bytes, *, topic: str | None = "told", event_id: str | None = None, secret: str = SECRET, **headers: str) -> Answer:
        """The sender's webhook, signed, as the receiving function gets it."""
        signature = base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()
        found = {"x-signature": signature, "x-event-id": event_id or f"event-{next(self._told)}", **({"x-topic": topic} if topic else {}), **headers}
        return receive(connection, headers=found, body=body, intake=intake_of(self.workers))

    def tell(self, connection: str, *told: Fact, topic: str = "told", event_id: str | None = None) -> Answer:
        event_id = event_id or f"event-{next(self._told)}"
        body = json.dumps({"at": self.clock.now().isoformat(), "facts": [fact.model_dump(mode="json", by_alias=True, exclude_none=True) for fact in told]}).encode()
        for _ in range(5):  # a sender who got no answer sends again
            try:
                return self.post(connection, body, topic=topic, event_id=event_id)
            except Crash:
                self.lifeline.dead = False
                self.clock.pass_by(seconds=10)
        raise AssertionError("the sender gave up")

    def place(self, order: Order | None = None) -> Order:
        made = order or an_order()
        assert self.tell("shop", OrderPlaced(order=made), topic="orders/create").status == 200
        return made

    def cancel(self, order_id: str = "shop-1", *, event_id: str | None = None) -> None:
        self.tell("shop", OrderCancelled(order_id=order_id, reason="customer", cancelled_at=self.clock.now()), topic="orders/cancelled", event_id=event_id)

    def update(self, order: Order) -> None:
        self.tell("shop", OrderUpdated(order=order), topic="orders/updated")

    def acknowledgement(self, part_id: str) -> FulfillmentAcknowledged:
        return FulfillmentAcknowledged(part_reference=part_id, acknowledged_at=self.clock.now())

    def dispatch(self, part_id: str, shipment_id: str | None = None, **quantities: str) -> ShipmentDispatched:
        """What the warehouse tells when a part leaves; ``SKU=quantity`` for less than all, in the units the warehouse counts in."""
        part = self.part(part_id)
        in_base = self.systems[part.plan.connection].manifest.ships_in_base_units
        planned = [(found.sku, found.base_quantity if in_base else found.quantity.value) for found in part.plan.lines]
        wanted = [(sku, Decimal(quantities[sku]) if quantities else quantity) for sku, quantity in planned if not quantities or sku in quantities]
        return self.dispatch_of(part.plan.connection, part_id, wanted, shipment_id)

    def dispatch_of(self, connection: str, reference: str, wanted: list[tuple[str, Decimal]], shipment_id: str | None = None) -> ShipmentDispatched:
        external = shipment_id or f"S-{reference}"
        return ShipmentDispatched(
            shipment=Shipment(
                shipment_id=f"{connection}-{external}",
                connection=connection,
                external_id=external,
                part_reference=reference,
                lines=tuple(ShippedLine(sku=self.services.xref.their_sku(connection, sku), quantity=quantity) for sku, quantity in wanted),
                packages=(Package(tracking_number=f"1Z-{external}", carrier="UPS"),),
                dispatched_at=self.clock.now(),
            )
        )

    def part(self, part_id: str) -> Any:
        found = self.record(part_id.rpartition(".")[0]).part(part_id)
        assert found is not None, f"no part {part_id}"
        return found

    def autopilot(self) -> None:
        """The warehouses acknowledge and ship whatever is released to them."""

        def released(intent: Intent, receipt: Receipt) -> None:
            if isinstance(intent, ReleaseFulfillment):
                part, connection = intent.part, intent.part.connection
                in_base = self.systems[connection].manifest.ships_in_base_units
                wanted = [(found.sku, found.base_quantity if in_base else found.quantity.value) for found in part.lines]
                self.outbox.append((connection, (self.acknowledgement(part.part_id),), f"ack-{part.part_id}"))
                self.outbox.append((connection, (self.dispatch_of(connection, part.part_id, wanted),), f"ship-{part.part_id}"))
                self.systems[connection].shipped_parts.add(part.part_id)

        for name in ("erp", "threepl"):
            self.systems[name].on_done = released

    # ---------------------------------------------------------------- the workers

    def run(self, *, until: timedelta = timedelta(hours=2)) -> None:
        """Everything that can happen happens. Messages put off are waited for, up to ``until``."""
        end = self.clock.now() + until
        for _ in range(5000):
            if self._step():
                continue
            following = self.queues.next_visible()
            if following is None or following > end:
                return
            self.clock.at = max(self.clock.at, following)
        raise AssertionError("it never ends: " + ", ".join(body for _, body in self.queues.sent[-5:]))

    def _step(self) -> bool:
        if self.outbox:
            connection, told, event_id = self.outbox.pop(0)
            self.tell(connection, *told, event_id=event_id)
            return True
        if self.workflow.step(self._prepare):
            return True
        return any(self._work(queue) for queue in QueueName)

    def _prepare(self, order_id: str) -> dict[str, object]:
        """The Express child: each check is a function that is tried again when it fails; anything but passed ends it."""
        for check in (order_flow.validate, order_flow.check_price, order_flow.check_credit, order_flow.reserve):
            answer: dict[str, object] = {"outcome": "failed"}
            for _ in range(4):
                try:
                    answer = check(order_id, self.workers)
                    break
                except Crash:
                    self.lifeline.dead = False
                except CrossdockError as error:
                    answer = {"outcome": "failed", "errorMessage": str(error)}
            if answer["outcome"] != "passed":
                return answer
        return {"outcome": "passed"}

    def _work(self, queue: QueueName) -> bool:
        message = self.queues.take(queue)
        if message is None:
            return False
        try:
            if self._worked(queue, message.body, message.receives):
                self.queues.done(queue, message)
        except Crash:
            self.lifeline.dead = False
        except RetryLater as error:
            self.queues.put_off(message, error.after_seconds or 2**message.receives)
        return True

    def _worked(self, queue: QueueName, body: str, receives: int) -> bool:
        """As crossdock.edge does it. False: it stays in the queue."""
        try:
            settled = self._call(queue, body)
        except RetryLater as error:
            if receives >= self.queues.tries[queue]:
                self._to_exception(queue, body, error, dead_letter=False)
                return False
            raise
        except CrossdockError as error:
            if queue is QueueName.OUTBOUND and deliver.refused(OutboundMessage.model_validate_json(body), error, self.workers):
                return True
            self._to_exception(queue, body, error, dead_letter=True)
            return True
        if settled:
            raise_exception.close_for_message(queue, body, services=self.workers)
        return True

    def _to_exception(self, queue: QueueName, body: str, error: CrossdockError, *, dead_letter: bool) -> None:
        subject, connection, _ = about(queue, body)
        order_id = subject if queue is not QueueName.INBOUND and self.workers.orders.get(subject) is not None else None
        raise_exception.for_message(error, queue=queue, message=body, subject=subject, connection=connection, services=self.workers, order_id=order_id, dead_letter=dead_letter)
        if queue is QueueName.INBOUND:
            raise_exception.mark_delivery(inbound_message(subject), error.code, self.workers)

    def _call(self, queue: QueueName, body: str) -> bool:
        if queue is QueueName.INBOUND:
            translate(delivery_of(body), self.workers)
        elif queue is QueueName.OUTBOUND:
            return deliver.deliver(OutboundMessage.model_validate_json(body), self.workers)
        else:
            work.apply(body, self.workers)
        return True

    def watch(self) -> Watched:
        """One minute's round of both scheduled functions; a crash costs that round."""
        found = Watched(0, 0, 0, 0)
        try:
            found = watch(self.workers)
            for queue in QueueName:
                index(queue, letters=self.letters, services=self.workers)
        except Crash:
            self.lifeline.dead = False
        return found

    def later(self, rounds: int = 3, **span: float) -> None:
        """Time passes, and the scheduled functions do their rounds."""
        for _ in range(rounds):
            self.clock.pass_by(**(span or {"minutes": 3}))
            self.watch()
            self.run()

    # ---------------------------------------------------------------- what can be seen

    def record(self, order_id: str = "shop-1") -> OrderRecord:
        found = self.orders.get(order_id)
        assert found is not None, f"no order {order_id}"
        return found

    def status(self, order_id: str = "shop-1") -> str:
        return self.record(order_id).status.value

    def open_codes(self) -> list[str]:
        return sorted(record.code for record in self.exceptions.listed())

    def the_exception(self, code: str) -> ExceptionRecord:
        found = [record for record in self.exceptions.records.values() if record.code == code]
        assert len(found) == 1, f"{len(found)} records of {code}: {[record.code for record in self.exceptions.records.values()]}"
        return found[0]

    def balance(self) -> Balance:
        return balance(self.services)

    def effects_done(self) -> list[tuple[str, str]]:
        return sorted(effect for system in self.systems.values() for effect in system.done)

    def available(self, sku: str, location: str) -> Decimal:
        level = self.stock.level(sku, location)
        return level.available if level else Decimal(0)

    def missing_letters(self) -> Iterator[str]:
        return (message.body for messages in self.queues.dead.values() for message in messages)


def event(source: str, fact: Fact, *, causation: str = "delivery-1", occurred_at: datetime = START) -> Event:
    """A fact in the envelope in which the bus hands it over."""
    return Event(
        id=f"{causation}#0",
        tenant="acme",
        source=source,
        subject=fact.subject,
        occurred_at=occurred_at,
        received_at=START,
        correlation_id=fact.subject,
        causation_id=causation,
        fact=fact,
    )
