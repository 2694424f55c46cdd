"""What must be true of the system whatever happened to it? Ten rules, each judged over the history and what can be seen at rest.

A rule answers how much it had to look at and what it found wrong; one that had nothing to look at has neither held nor been violated.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from crossdock.domain.order_record import OrderStatus, may_follow
from tests.invariants.evidence import OVER, Evidence, outstanding, shipped
from tests.invariants.history import History


@dataclass
class Verdict:
    looked_at: int = 0
    violations: list[str] = field(default_factory=list)

    def demand(self, holds: object, otherwise: str) -> None:
        self.looked_at += 1
        if not holds:
            self.violations.append(otherwise)


Invariant = Callable[[History, Evidence], Verdict]


def _accepted(history: History) -> list[str]:
    """Orders of which the sender was told that they are taken: by a 2xx to their webhook, or to the shop's own (it repeats until then)."""
    told = [entry.facts["order_id"] for entry in history.of("answered") if 200 <= entry.facts["status"] < 300 and entry.facts["topic"] == "orders/create"]
    return list(dict.fromkeys([*told, *(entry.facts["order_id"] for entry in history.of("placed"))]))


def acknowledged_is_done_once(history: History, seen: Evidence) -> Verdict:
    """I1: what was acknowledged has exactly one effect at each partner, eventually; or somebody owns it."""
    verdict = Verdict()
    open_on_purpose = {entry.facts["order_id"] for entry in history.of("left_open")}
    owned = {str(record.get("subject")) for record in seen.exceptions} | {str(record.get("order_id")) for record in seen.exceptions}
    for order_id in _accepted(history):
        order = seen.orders.get(order_id)
        if order is None:
            verdict.demand(order_id in owned, f"{order_id} was acknowledged and is nowhere")
            continue
        if order["status"] == "completed":
            _demand_one_effect_each(verdict, order_id, order, seen)
        elif order["status"] == "cancelled":
            standing = [document["number"] for document in seen.erp.get("salesOrders", []) if document.get("externalDocumentNumber") == order_id]
            verdict.demand(not standing, f"{order_id} is cancelled and the ERP still has {standing}")
        else:
            verdict.demand(
                order_id in owned or order_id in open_on_purpose or order["status"] == "held", f"{order_id} was acknowledged, is {order['status']}, and nobody is asked to look"
            )
    return verdict


def _demand_one_effect_each(verdict: Verdict, order_id: str, order: dict[str, Any], seen: Evidence) -> None:
    found = seen.sales_orders(order_id)
    verdict.demand(len(found) == 1, f"{order_id} is completed with {len(found)} sales orders: {sorted(found)}")
    references = Counter(seen.fulfilment_orders(order_id))
    for part in order["parts"]:
        if part["connection"] == "threepl" and part["status"] != "cancelled":
            verdict.demand(references[part["part_id"]] == 1, f"part {part['part_id']} stands {references[part['part_id']]} times at the 3PL")
    shipments = order["shipments"]
    confirmed = seen.confirmations(order_id)
    verdict.demand(len(confirmed) == len(shipments), f"{order_id}: {len(shipments)} shipments, {len(confirmed)} confirmed at the storefront")
    invoices = seen.invoices(order_id)
    verdict.demand(len(invoices) == len(shipments), f"{order_id}: {len(shipments)} shipments, {len(invoices)} invoices")


def unacknowledged_may_be_sent_again(history: History, seen: Evidence) -> Verdict:
    """I2: what was not acknowledged can be sent again: it is taken then, and is one order."""
    verdict = Verdict()
    tries: dict[tuple[str, str], list[int | None]] = {}
    order_of: dict[tuple[str, str], str] = {}
    for entry in history.of("answered", "unanswered"):
        key = (entry.facts["topic"], entry.facts["key"])
        tries.setdefault(key, []).append(entry.facts.get("status"))
        order_of[key] = entry.facts["order_id"]
    for key, statuses in tries.items():
        taken = [status is not None and 200 <= status < 300 for status in statuses]
        if all(taken):
            continue
        refused = [status for status in statuses if status is not None and 400 <= status < 500]
        verdict.demand(any(taken), f"{key[1]} was never acknowledged: {statuses}")
        verdict.demand(not (refused and any(taken)), f"{key[1]} was sent again and refused as if it were another: {statuses}")
        if any(taken) and key[0] == "orders/create":
            verdict.demand(order_of[key] in seen.orders or _owned(order_of[key], seen), f"{key[1]} was acknowledged at last and {order_of[key]} does not exist")
            verdict.demand(len(seen.sales_orders(order_of[key])) <= 1, f"{key[1]} was sent {len(statuses)} times and became {sorted(seen.sales_orders(order_of[key]))}")
    return verdict


def _owned(subject: str, seen: Evidence) -> bool:
    return any(subject in (record.get("subject"), record.get("order_id")) for record in seen.exceptions)


def stock_is_conserved(history: History, seen: Evidence) -> Verdict:
    """I3: what was there = what is there + what has left; committed is what open orders hold; nothing is committed that is not there."""
    verdict = Verdict()
    held = outstanding(seen.orders)
    gone = shipped(seen.orders)
    for position, level in seen.levels.items():
        before = seen.levels_before.get(position)
        if before is not None and before.as_of == level.as_of:
            left = gone.get(position, Decimal(0)) - seen.shipped_before.get(position, Decimal(0))
            verdict.demand(before.on_hand - left == level.on_hand, f"{position}: {before.on_hand} were there, {left} left, {level.on_hand} are there")
        verdict.demand(level.committed == held.get(position, Decimal(0)), f"{position}: {level.committed} committed, open orders hold {held.get(position, Decimal(0))}")
        verdict.demand(level.committed <= max(level.on_hand, Decimal(0)), f"{position}: oversold, {level.committed} committed of {level.on_hand}")
    for position in held.keys() - seen.levels.keys():
        verdict.demand(False, f"{position}: held by open orders, and no such stock is known")
    return verdict


def _reachable() -> frozenset[tuple[OrderStatus, OrderStatus]]:
    pairs = {(first, second) for first, second in itertools.product(OrderStatus, repeat=2) if may_follow(first, second)}
    while True:
        longer = pairs | {(first, last) for first, middle in pairs for other, last in pairs if middle is other}
        if longer == pairs:
            return frozenset(pairs)
        pairs = longer


_REACHABLE = _reachable()


def status_never_goes_back(history: History, seen: Evidence) -> Verdict:
    """I4: the statuses in which an order was seen follow one another in the order's life."""
    verdict = Verdict()
    statuses: dict[str, list[str]] = {}
    for entry in history.of("status"):
        statuses.setdefault(entry.facts["order_id"], []).append(entry.facts["status"])
    for order_id, order in seen.orders.items():
        if order_id in statuses:
            statuses[order_id].append(order["status"])
    for order_id, met in statuses.items():
        for earlier, later in itertools.pairwise(met):
            verdict.demand((OrderStatus(earlier), OrderStatus(later)) in _REACHABLE, f"{order_id} was {earlier} and then {later}")
    return verdict


def one_effect_per_step(history: History, seen: Evidence) -> Verdict:
    """I5: no partner has more than one effect of a step of an order, whatever the order's state."""
    verdict = Verdict()
    documents = [*seen.erp.get("salesOrders", []), *seen.erp.get("salesShipments", [])]
    for order_id in {str(document["externalDocumentNumber"]) for document in documents if document.get("externalDocumentNumber")}:
        found = seen.sales_orders(order_id)
        verdict.demand(len(found) <= 1, f"{order_id} has {len(found)} sales orders: {sorted(found)}")
    for reference, times in Counter(str(order["reference_id"]) for order in seen.threepl.get("orders", [])).items():
        verdict.demand(times == 1, f"the 3PL has {reference} {times} times")
    for shown in seen.storefront.get("orders", []):
        numbers = Counter(str(found.get("tracking_number") or found.get("trackingInfo") or found.get("id")) for found in shown.get("fulfillments", []))
        verdict.demand(all(times == 1 for times in numbers.values()), f"order {shown['id']} of the shop shows a shipment twice: {dict(numbers)}")
    for order_id, order in seen.orders.items():
        verdict.demand(
            len(seen.invoices(order_id)) <= max(len(order.get("shipments") or []), 0), f"{order_id}: {seen.invoices(order_id)} for {len(order.get('shipments') or [])} shipment(s)"
        )
    return verdict


def every_message_is_somewhere(history: History, seen: Evidence) -> Verdict:
    """I6: accepted = done + held + exception + in flight, nothing missing; and each dead letter has its reason on record."""
    verdict = Verdict()
    for side in ("deliveries", "orders", "returns"):
        account = seen.balance[side]
        total = account["done"] + account["held"] + account["exception"] + account["in_flight"]
        verdict.demand(account["accepted"] == total and not account["missing"], f"{side}: {account['accepted']} accepted, {total} found; missing: {account['missing']}")
    verdict.demand(not seen.balance["stock_committed_without_order"], f"stock held by nobody: {seen.balance['stock_committed_without_order']}")
    verdict.demand(seen.balance["adds_up"], "the balance does not add up")
    for letter in seen.dead_letters:
        verdict.demand(letter.code and letter.exception_id, f"a dead letter of {letter.queue} about {letter.subject} has no reason on record")
    return verdict


def the_record_tells_the_state(history: History, seen: Evidence) -> Verdict:
    """I7: the audit trail of an order is whole, and replayed it gives the order's state."""
    verdict = Verdict()
    for order_id, timeline in seen.timelines.items():
        order = seen.orders.get(order_id)
        verdict.demand(timeline["chain"]["whole"], f"{order_id}: the chain is broken: {timeline['chain'].get('problems')}")
        if order is None:
            verdict.demand(False, f"{order_id} has a record and no state")
            continue
        told, stands = _told(timeline["entries"]), _stands(order)
        for name in stands:
            verdict.demand(told[name] == stands[name], f"{order_id}: the record tells {name} = {told[name]}, the state is {stands[name]}")
    return verdict


def _told(entries: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The state that the trail's entries describe."""
    found: dict[str, Any] = {"placed": False, "sales order": None, "parts released": set(), "shipments": set(), "confirmed": set(), "invoices": set(), "end": None}
    for entry in entries:
        action, details = entry["action"], entry.get("details") or {}
        if action == "OrderPlaced":
            found["placed"] = True
        elif action == "SalesOrderPosted":
            found["sales order"] = details["external_id"]
        elif action in ("FulfillmentReleased", "FulfillmentAcknowledged"):
            # A release whose answer was lost is told when it is looked up; the warehouse's own acknowledgement may come first.
            found["parts released"].add(details["part"])
        elif action == "ShipmentDispatched":
            found["shipments"].add(details["shipment"])
        elif action == "ShipmentConfirmed":
            found["confirmed"].add(details["shipment"])
        elif action == "InvoicePosted":
            found["invoices"].add(entry["summary"].split(" ")[1])
        elif action in ("OrderCompleted", "OrderCancelled"):
            found["end"] = "completed" if action == "OrderCompleted" else "cancelled"
    return found


def _stands(order: dict[str, Any]) -> dict[str, Any]:
    shipments = order.get("shipments") or []
    return {
        "placed": bool(order.get("lines")),
        "sales order": (order.get("sales_order") or {}).get("external_id"),
        "parts released": {part["part_id"] for part in order.get("parts") or [] if part.get("external_id")},
        "shipments": {booked["shipment_id"] for booked in shipments},
        "confirmed": {booked["shipment_id"] for booked in shipments if booked["confirmed"]},
        "invoices": {booked["invoice_number"] for booked in shipments if booked["invoice_number"]},
        "end": order["status"] if order["status"] in OVER else None,
    }


def the_neighbour_notices_nothing(history: History, seen: Evidence) -> Verdict:
    """I8: what another tenant holds is byte for byte what it was."""
    verdict = Verdict()
    for name in sorted(seen.neighbour_before.keys() | seen.neighbour.keys()):
        before, after = seen.neighbour_before.get(name), seen.neighbour.get(name)
        verdict.demand(before == after, f"{name} of the other tenant {'appeared' if before is None else 'vanished' if after is None else 'changed'}")
    return verdict


def logs_tell_no_secret(history: History, seen: Evidence) -> Verdict:
    """I9: no secret and nothing personal is in any log."""
    verdict = Verdict()
    wanted = {name: text for name, text in seen.secrets.items() if text}
    for log, line in seen.log_lines:
        found = [name for name, text in wanted.items() if text in line]
        verdict.demand(not found, f"{log} tells {', '.join(found)}")
    return verdict


def redriven_twice_is_once(history: History, seen: Evidence) -> Verdict:
    """I10: sending a dead letter round again twice has the effects of sending it once."""
    verdict = Verdict()
    for entry in history.of("redriven"):
        once, twice = entry.facts["once"], entry.facts["twice"]
        verdict.demand(once == twice, f"{entry.facts['messages']} message(s) of {entry.facts['queue']}: {once} after the first time, {twice} after the second")
    return verdict


INVARIANTS: dict[str, Invariant] = {
    "I1": acknowledged_is_done_once,
    "I2": unacknowledged_may_be_sent_again,
    "I3": stock_is_conserved,
    "I4": status_never_goes_back,
    "I5": one_effect_per_step,
    "I6": every_message_is_somewhere,
    "I7": the_record_tells_the_state,
    "I8": the_neighbour_notices_nothing,
    "I9": logs_tell_no_secret,
    "I10": redriven_twice_is_once,
}


def check(history: History, seen: Evidence) -> dict[str, Verdict]:
    return {name: invariant(history, seen) for name, invariant in INVARIANTS.items()}


def title(name: str) -> str:
    """What the invariant says, from its own first line."""
    return str(INVARIANTS[name].__doc__).partition("\n")[0].partition(": ")[2].rstrip(".")
