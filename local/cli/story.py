"""What happens in the demo, step by step, and what must be seen in the systems before a step counts?"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from crossdock.domain.errors import CrossdockError
from crossdock.domain.stage import QueueName
from crossdock.flows import dead_letters, exceptions, prices
from crossdock.flows.balance import Balance, balance
from local.cli import control
from local.cli.exceptions import changed
from local.cli.options import actor
from local.cli.witness import NotSeen, Wanted, Witness, until
from local.seed.world import Buyer

Say = Callable[[str], None]
_COPIES = 20


@dataclass
class Told:
    """One step with what was seen in it."""

    title: str
    ok: bool = False
    seconds: float = 0.0
    order_id: str = ""
    seen: list[str] = field(default_factory=list)
    problem: str = ""


@dataclass(frozen=True)
class Cast:
    """Who and what the story is about, chosen from the tenant's world."""

    solvent: Buyer
    """Buys what it likes."""
    strained: Buyer
    """Has the smallest credit limit."""
    own: str
    """A SKU that only own warehouses have."""
    theirs: str
    """A SKU that only the 3PL has."""
    unmapped: str
    """What the shop sells under a name nobody mapped ..."""
    meant: str
    """... and what it should have been."""


def cast(witness: Witness) -> Cast:
    """Raises NotSeen when the tenant's world has not what the story needs."""
    world, spec = witness.world, witness.spec
    reachable = [buyer for buyer in world.buyers if buyer.company_id is not None]
    outside = {code for code, location in spec.locations.items() if location.connection != witness.erp}
    stocked = {sku: {code for code, count in shelf.items() if count} for sku, shelf in world.stock.items()}
    own = sorted((sku for sku, places in stocked.items() if places and not places & outside), key=lambda sku: -sum(world.stock[sku].values()))
    theirs = [sku for sku, places in stocked.items() if places and places <= outside]
    if len(reachable) < 2 or not theirs or not own or not world.unmapped:
        raise NotSeen(
            f"the world of {spec.tenant} has not what the story needs: two buyers with companies, "
            "an article that only the 3PL has, one that only own warehouses have, an unmapped one"
        )
    ranked = sorted(reachable, key=lambda buyer: buyer.credit_limit)
    return Cast(solvent=ranked[-1], strained=ranked[0], own=own[0], theirs=theirs[0], unmapped=world.unmapped[0].sku, meant=world.unmapped[0].means)


class Story:
    """Tells itself once; every step is tried, also after one that failed."""

    def __init__(self, witness: Witness, say: Say) -> None:
        self._see = witness
        self._say = say
        self._cast = cast(witness)
        self.told: list[Told] = []
        self.balance: Balance | None = None

    def tell(self) -> bool:
        """Whether everything was seen."""
        steps: list[tuple[str, Callable[[Told], None]]] = [
            ("a clean order, split over a warehouse and the 3PL, reaches its posted invoices", self._clean),
            (f"the same webhook {_COPIES} times at once makes one order", self._copies),
            ("an order over the credit limit is held, approved, and completes", self._credit),
            ("an order with an unknown SKU goes to the exception queue, is corrected, redriven, and completes", self._unmapped),
            ("the ERP's answer is lost after it has committed: there is one sales order all the same", self._lost_answer),
            ("a cancellation after the release undoes everything", self._cancelled),
            ("the shipment's webhook comes before the acknowledgement and still joins", self._early),
            ("two orders at once for more than there is: one gets it, the other is held and called off", self._oversell),
            ("the ERP doubles a price: the shop goes on at the old one until another person lets it pass", self._price),
            ("of a return only a part comes: that is credited and refunded, once, and agreed everywhere", self._return),
            ("the balance adds up", self._balance),
        ]
        self._see.calm()
        for number, (title, step) in enumerate(steps, start=1):
            self._step(f"{number}. {title}", step)
        return all(told.ok for told in self.told)

    def _step(self, title: str, step: Callable[[Told], None]) -> None:
        told = Told(title)
        self.told.append(told)
        self._say(title)
        began = time.monotonic()
        try:
            step(told)
            told.ok = True
        except (NotSeen, control.ControlFailed, CrossdockError) as error:
            told.problem = str(error)
            self._say(f"   NOT SEEN: {error}")
        finally:
            told.seconds = round(time.monotonic() - began, 1)
            self._see.calm()
        if told.ok:
            self._say(f"   ok, {told.seconds} s")

    def _saw(self, told: Told, text: str) -> None:
        told.seen.append(text)
        self._say(f"   saw: {text}")

    # ------------------------------------------------------------------ steps
    def _clean(self, told: Told) -> None:
        """Two parts, two warehouses; both confirmed to the shop, both invoiced, and the invoices sum up to the order."""
        placed = self._place(told, self._cast.solvent, [Wanted(self._cast.own, 12), Wanted(self._cast.theirs, 20)])
        order = self._see.reaches(told.order_id, "completed")
        workers = {part["connection"]: part["location"] for part in order["parts"]}
        if set(workers) != {self._see.erp, self._see.threepl}:
            raise NotSeen(f"a part for a warehouse and one for the 3PL; instead the parts are with {workers}")
        self._saw(told, f"two parts: {', '.join(f'{location} ({connection})' for connection, location in workers.items())}")
        self._completed(told, Decimal(str(placed["total_price"])), shipments=2)

    def _completed(self, told: Told, total: Decimal, *, shipments: int) -> None:
        """The storefront shows tracking for everything, the ERP has one order whose posted invoices make the order's total."""
        shown = self._see.shop_order(told.order_id)
        tracking = self._see.tracking_in_shop(told.order_id)
        if shown.get("fulfillment_status") != "fulfilled" or len(tracking) != shipments:
            raise NotSeen(f"the shop's order fulfilled with {shipments} tracking numbers; instead it is {shown.get('fulfillment_status')} with {tracking}")
        self._saw(told, f"the shop's order {shown['name']} fulfilled, tracking {', '.join(tracking)}")
        numbers = self._see.erp_numbers(told.order_id)
        if len(numbers) != 1:
            raise NotSeen(f"one sales order in the ERP; instead {sorted(numbers) or 'none'}")
        posted = self._see.invoices(told.order_id)
        billed = sum((Decimal(str(invoice["totalAmountIncludingTax"])) for invoice in posted), Decimal(0))
        tolerance = self._see.spec.erp_total_tolerance.amount * shipments
        if len(posted) != shipments or abs(billed - total) > tolerance:
            raise NotSeen(f"{shipments} posted invoices over {total}; instead {len(posted)} over {billed}")
        self._saw(
            told,
            f"sales order {next(iter(numbers))}, posted invoices {', '.join(str(invoice['number']) for invoice in posted)} over {billed} (ordered: {total})",
        )

    def _copies(self, told: Told) -> None:
        """The shop's own webhook is lost; twenty signed copies of it arrive in its place, all at once."""
        see = self._see
        see.fault(see.shop, match={"topic": "orders/create"}, lose=True)
        placed = self._place(told, self._cast.solvent, [Wanted(self._cast.own, 5)])
        body, event = json.dumps(placed, default=str).encode(), str(uuid.uuid4())
        with ThreadPoolExecutor(max_workers=_COPIES) as crowd:
            answers = list(crowd.map(lambda _: see.webhook("orders/create", body, event), range(_COPIES)))
        if {each[-1] for each in answers} != {200}:
            raise NotSeen(f"{_COPIES} answers 200; instead {answers}")
        again = sum(len(each) - 1 for each in answers)
        self._saw(told, f"{_COPIES} copies, each answered 200" + (f" ({again} of them only when sent again)" if again else ""))
        see.reaches(told.order_id, "completed")
        self._completed(told, Decimal(str(placed["total_price"])), shipments=1)
        placements = see.actions(told.order_id).count("OrderPlaced")
        if placements != 1:
            raise NotSeen(f"one OrderPlaced on the record; instead {placements}")

    def _credit(self, told: Told) -> None:
        see, buyer = self._see, self._cast.strained
        quantity = int(buyer.credit_limit / see.world.list_prices[self._cast.own]) + 20
        placed = self._place(told, buyer, [Wanted(self._cast.own, quantity)])
        see.reaches(told.order_id, "held")
        hold = until(
            lambda: next((record for record in see.exceptions(told.order_id) if record["code"] == "CREDIT_LIMIT"), None),
            "a CREDIT_LIMIT exception",
            within=60,
            instead=lambda: [record["code"] for record in see.exceptions(told.order_id)],
        )
        if see.erp_numbers(told.order_id):
            raise NotSeen("nothing in the ERP while the order is held; instead a sales order")
        self._saw(told, f"held for {hold['owner']}: {hold['detail']}")
        exceptions.resolve(
            hold["exception_id"],
            decision="approve",
            note="demo: the customer pays on Friday",
            actor=actor(),
            services=see.stack.services,
            letters=see.stack.letters,
        )
        self._say(f"   did: crossdock exceptions resolve {hold['exception_id']} --decision approve --note ...")
        see.reaches(told.order_id, "completed")
        self._completed(told, Decimal(str(placed["total_price"])), shipments=1)

    def _unmapped(self, told: Told) -> None:
        see, services = self._see, self._see.stack.services
        began = services.clock.now()
        placed = self._place(told, self._cast.solvent, [Wanted(self._cast.unmapped, 6)])
        number = str(placed["id"])

        def look() -> tuple[str, str] | None:
            for record in services.exceptions.listed():
                fits = record.code == "MISSING_XREF" and record.queue is QueueName.INBOUND and record.last_seen_at >= began
                if fits and number in exceptions.payload(record.exception_id, services)[1].decode(errors="replace"):
                    return record.exception_id, record.detail
            return None

        name, detail = until(look, "a MISSING_XREF exception for it", within=90, instead=lambda: [record.code for record in services.exceptions.listed()])
        standing = services.exceptions.get(name)
        message = standing.message if standing else ""
        until(
            lambda: [letter for letter in see.stack.letters.look(QueueName.INBOUND) if letter.body == message],
            "its message in the dead-letter queue",
            within=60,
        )
        if see.order(told.order_id):
            raise NotSeen("no order yet; instead there is one")
        self._saw(told, f"in the dead-letter queue: {detail}")
        _, body = exceptions.payload(name, services)
        found = exceptions.edit(name, changed(body, [f"line_items.0.sku={see.their_sku(self._cast.meant)}"]), actor=actor(), services=services)
        if not found.ok:
            raise NotSeen(f"the correction accepted; instead {found.code}: {list(found.problems)}")
        self._say(f"   did: crossdock exceptions edit {name} --set line_items.0.sku={see.their_sku(self._cast.meant)}")
        report = dead_letters.redrive(
            QueueName.INBOUND,
            letters=see.stack.letters,
            services=services,
            actor=actor(),
            match=lambda letter: letter.body == message,
            dry_run=False,
        )
        if report.sent != 1:
            raise NotSeen(f"one message redriven; instead {report.sent}")
        self._say(f"   did: crossdock dlq redrive inbound --match exception_id={name}")
        see.reaches(told.order_id, "completed")
        self._completed(told, Decimal(str(placed["total_price"])), shipments=1)
        until(
            lambda: (standing := services.exceptions.get(name)) is not None and standing.closed,
            "the exception closed by the success",
            within=60,
        )
        self._saw(told, "the exception is closed, on the evidence that it went through")

    def _lost_answer(self, told: Told) -> None:
        """The connection drops after the ERP has made the order: the outcome is unknown, and it is looked up before anything is written again."""
        see = self._see
        see.fault(see.erp, match={"method": "POST", "operation": "^salesOrders$"}, drop_after_commit=True, times=1)
        placed = self._place(told, self._cast.solvent, [Wanted(self._cast.own, 7)])
        until(
            lambda: see.fired(see.erp),
            "the ERP dropping the connection after the commit",
            within=90,
            instead=lambda: see.order(told.order_id).get("status"),
        )
        self._saw(told, "the ERP committed and dropped the connection")
        see.reaches(told.order_id, "completed", within=120)
        self._completed(told, Decimal(str(placed["total_price"])), shipments=1)

    def _cancelled(self, told: Told) -> None:
        """Nobody picks anything; when both warehouses have their part, the customer cancels."""
        see = self._see
        skus = [self._cast.own, self._cast.theirs]
        before = see.committed(skus)
        for connection in (see.erp, see.threepl):
            see.staff_works(connection, by_itself=False)
        self._place(told, self._cast.solvent, [Wanted(self._cast.own, 8), Wanted(self._cast.theirs, 9)])
        until(
            lambda: see.at_threepl(told.order_id) and see.open_in_erp(told.order_id),
            "the order in the ERP and at the 3PL",
            within=120,
            instead=lambda: see.order(told.order_id).get("status"),
        )
        see.reaches(told.order_id, "released")
        held = see.committed(skus)
        if held == before:
            raise NotSeen(f"stock committed for it; instead the same as before: {before}")
        self._saw(told, f"released: in the ERP, at the 3PL, stock committed ({', '.join(f'{sku} +{held[sku] - before[sku]}' for sku in skus)})")
        see.act(see.shop, "cancel_order", order=told.order_id.removeprefix(f"{see.shop}-"))
        see.reaches(told.order_id, "cancelled", within=120)
        if see.open_in_erp(told.order_id) or see.invoices(told.order_id):
            raise NotSeen("no open sales order and no invoice in the ERP; instead there is one")
        statuses = {str(order["status"]) for order in see.at_threepl(told.order_id)}
        if statuses != {"Cancelled"}:
            raise NotSeen(f"the 3PL's order cancelled; instead {sorted(statuses)}")
        until(lambda: see.committed(skus) == before, "the stock given back", within=60, instead=lambda: see.committed(skus))
        self._saw(told, "gone from the ERP, cancelled at the 3PL, the stock given back")

    def _early(self, told: Told) -> None:
        """The 3PL ships what it has not acknowledged; its acknowledgement is found by polling, and polls are slow today."""
        see = self._see
        see.staff_works(see.threepl, by_itself=False)
        placed = self._place(told, self._cast.solvent, [Wanted(self._cast.theirs, 11)])
        part = until(
            lambda: next(iter(see.at_threepl(told.order_id)), None),
            "the order at the 3PL",
            within=120,
            instead=lambda: see.order(told.order_id).get("status"),
        )
        see.reaches(told.order_id, "released")
        see.fault(see.threepl, match={"method": "GET"}, delay_s=3, times=2)
        see.act(see.threepl, "ship", reference_id=part["reference_id"])
        see.reaches(told.order_id, "completed")
        self._completed(told, Decimal(str(placed["total_price"])), shipments=1)

        def joined() -> list[str] | None:
            found = see.actions(told.order_id)
            return found if "FulfillmentAcknowledged" in found else None

        happened = until(joined, "the acknowledgement, late", within=90, instead=lambda: see.actions(told.order_id))
        if happened.index("ShipmentDispatched") > happened.index("FulfillmentAcknowledged"):
            raise NotSeen("the shipment before the acknowledgement; instead the other way round")
        self._saw(told, "the shipment was booked, then the acknowledgement came; the order completed")

    def _oversell(self, told: Told) -> None:
        """Each asks for most of what the 3PL has; nobody picks anything until it is seen who was promised what."""
        see, sku = self._see, self._cast.theirs
        see.staff_works(see.threepl, by_itself=False)
        there = int(see.available(sku))
        quantity = there * 2 // 3
        placed = [self._place(told, self._cast.solvent, [Wanted(sku, quantity)]) for _ in range(2)]
        ids = [see.order_id(one) for one in placed]
        statuses = until(
            lambda: found if sorted(found := [str(see.order(name).get("status")) for name in ids]) == ["held", "released"] else None,
            "one released and one held",
            within=120,
            instead=lambda: [see.order(name).get("status") for name in ids],
        )
        if int(see.available(sku)) != there - quantity:
            raise NotSeen(f"{there - quantity} of {sku} left to promise; instead {see.available(sku)}")
        loser, winner = ids[statuses.index("held")], ids[statuses.index("released")]
        hold = next(record for record in see.exceptions(loser) if record["code"] == "NO_VALID_WAREHOUSE")
        self._saw(told, f"{there} of {sku} could be promised, {quantity} were; the other order is held: {hold['hold']['seen'].get(sku, hold['detail'])}")
        services, letters = see.stack.services, see.stack.letters
        exceptions.resolve(hold["exception_id"], decision="reject", note="demo: sold out", actor=actor(), services=services, letters=letters)
        self._say(f"   did: crossdock exceptions resolve {hold['exception_id']} --decision reject --note ...")
        see.reaches(loser, "cancelled")
        see.staff_works(see.threepl, by_itself=True)
        told.order_id = winner
        see.reaches(winner, "completed")
        self._completed(told, Decimal(str(placed[ids.index(winner)]["total_price"])), shipments=1)

    def _price(self, told: Told) -> None:
        see, services = self._see, self._see.stack.services
        sku = next(sku for sku in sorted(see.world.list_prices) if sku not in (self._cast.own, self._cast.theirs, self._cast.meant))
        before = see.charged(sku)
        after, theirs = before * 2, services.xref.their_sku(see.erp, sku)

        def changes(price: Decimal) -> str:
            see.act(see.erp, "set_price", item=theirs, unit_price=str(price))
            prices.ask_owners(services)
            return until(
                lambda: next((found.exception_id for found in services.exceptions.listed() if found.code == "PRICE_CHANGE" and found.subject == prices.subject_of(sku)), None),
                "a PRICE_CHANGE exception",
                within=90,
                instead=lambda: [found.code for found in services.exceptions.listed()],
            )

        def lets_pass(name: str, price: Decimal) -> None:
            exceptions.resolve(name, decision="approve", note="demo: agreed with sales", actor=actor(), services=services, letters=see.stack.letters)
            self._say(f"   did: crossdock exceptions resolve {name} --decision approve --note ...")
            until(lambda: see.charged(sku) == price, f"the shop charging {price}", within=90, instead=lambda: see.charged(sku))

        until(lambda: services.catalog.get(sku), f"the ERP's price of {sku} known here", within=90)
        name = changes(after)
        if see.charged(sku) != before:
            raise NotSeen(f"the shop charging {before} while the change waits; instead {see.charged(sku)}")
        self._saw(told, f"{sku} waits: {before} -> {after}; the shop goes on charging {before}")
        lets_pass(name, after)
        approved = next(entry for entry in reversed((see.v1(f"prices/{sku}") or {})["entries"]) if entry["action"] == "PriceChangeApproved")
        if approved["details"]["requested_by"] == approved["actor"]:
            raise NotSeen("two persons on record; instead one")
        self._saw(told, f"the shop charges {after}; on record: asked for by {approved['details']['requested_by']}, let pass by {approved['actor']}")
        lets_pass(changes(before), before)

    def _return(self, told: Told) -> None:
        see, sku = self._see, self._cast.theirs
        self._place(told, self._cast.solvent, [Wanted(sku, 3)])
        see.reaches(told.order_id, "completed")
        made = see.act(see.shop, "request_return", order=int(told.order_id.removeprefix(f"{see.shop}-")), lines=[{"sku": see.their_sku(sku), "quantity": 3}])
        name = f"RMA-{see.shop}-{made['id']}"

        def standing() -> dict[str, Any]:
            found: dict[str, Any] = see.v1(f"returns/{name}") or {}
            return found

        expected = until(
            lambda: standing().get("warehouse_id") if standing().get("status") == "authorised" else None,
            "the return authorised and announced to the 3PL",
            within=120,
            instead=lambda: standing().get("status"),
        )
        self._saw(told, f"{name}: three pieces may come back, the 3PL expects them")
        item = see.stack.services.xref.their_sku(see.threepl, sku)
        graded = [{"action": "Restock", "quantity": 1}, {"action": "Dispose", "quantity": 1}]
        see.act(see.threepl, "complete_return", return_id=int(expected), items=[{"sku": item, "actions": graded}])
        closed = until(lambda: standing() if standing().get("status") == "closed" else None, f"{name} closed", within=120, instead=lambda: standing().get("status"))
        memos = [memo for memo in see.state(see.erp)["salesCreditMemos"] if memo.get("externalDocumentNumber") == name]
        shown = next((held["status"] for held in see.state(see.shop)["returns"] if held["id"] == made["id"]), None)
        worth = Decimal(closed["value"]["amount"])
        totals = [Decimal(str(memo["totalAmountIncludingTax"])) for memo in memos]
        tolerance = see.spec.erp_total_tolerance.amount  # the ERP computes its own tax
        if len(totals) != 1 or abs(totals[0] - worth) > tolerance or shown != "closed":
            raise NotSeen(f"one credit memo over {worth} and the shop's return closed; instead memos over {totals}, the shop says {shown}")
        if Decimal(closed["refunded"]["amount"]) != worth:
            raise NotSeen(f"{worth} refunded; instead {closed['refunded']}")
        self._saw(
            told, f"two of three came (one on the shelf, one scrapped): credit memo {memos[0]['number']} and refund over {worth} {closed['value']['currency']}, closed in all three"
        )

    def _balance(self, told: Told) -> None:
        services = self._see.stack.services

        def look() -> Balance | None:
            self.balance = balance(services)
            settled = not any(side.in_flight for side in (self.balance.deliveries, self.balance.orders, self.balance.returns))
            return self.balance if settled and self.balance.adds_up else None

        found = until(
            look,
            "nothing in flight and everything accounted for",
            within=120,
            instead=lambda: self.balance.as_json() if self.balance else "",
        )
        for name, side in (("deliveries", found.deliveries), ("orders", found.orders), ("returns", found.returns)):
            self._saw(
                told,
                f"{name}: {side.accepted} accepted = {side.done} done + {side.held} held + {side.exception} exception + {side.in_flight} in flight",
            )

    def _place(self, told: Told, buyer: Buyer, lines: list[Wanted]) -> dict[str, Any]:
        placed = self._see.place(buyer, lines)
        told.order_id = self._see.order_id(placed)
        self._say(f"   {buyer.name} orders {', '.join(f'{line.quantity} x {line.sku}' for line in lines)}: {placed['name']}, {placed['total_price']} {placed['currency']}")
        return placed
