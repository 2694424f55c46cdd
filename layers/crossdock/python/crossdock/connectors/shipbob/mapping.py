"""What do ShipBob's words mean in ours, and ours in ShipBob's?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from pydantic import ValidationError

from crossdock.connectors.shipbob import wire
from crossdock.domain.commands import CancelFulfillment, ExpectReturn, Receipt, ReleaseFulfillment
from crossdock.domain.connector import Occurrence, PolledItem, PollResult
from crossdock.domain.errors import ContractDrift, CrossdockError, FieldProblem, Rejected
from crossdock.domain.events import Fact, FulfillmentAcknowledged, FulfillmentRefused, ReturnReceived, ShipmentDelivered, ShipmentDispatched
from crossdock.domain.model import plain, rfc3339
from crossdock.domain.return_ import Disposition, ReceivedLine, ReturnReceipt
from crossdock.domain.shipment import Package, Shipment, ShippedLine
from crossdock.domain.stock import StockReading

POLL_OVERLAP = timedelta(seconds=30)
"""How far a poll looks back behind the newest change it has seen: changes become visible out of order."""
FIRST_POLL_REACH = timedelta(days=1)

_ACCEPTED = frozenset({"PendingOnTime", "PendingLate", "FulfilledOnTime", "FulfilledLate", "Unavailable"})
"""Clock states of a shipment whose stock is allocated. `Unavailable`: accepted, but no date is promised (B2B)."""
_NOT_ACCEPTED = frozenset({"AwaitingInventoryAllocation", "AwaitingReset"})
_ASKS_FOR_SOMEBODY = frozenset({"Exception", "OnHold", "ImportReview"})
_GIVEN_UP = frozenset({"Cancelled", "CleanSweeped"})
_ON_ITS_WAY = frozenset({"Completed", "LabeledCreated"})
_KNOWN = frozenset({"None", "Processing"}) | _ASKS_FOR_SOMEBODY | _GIVEN_UP | _ON_ITS_WAY
_ORDER_STATUSES = frozenset({"Processing", "Exception", "PartiallyFulfilled", "Fulfilled", "Cancelled", "ImportReview"})

_EXPECTED: Mapping[str, frozenset[str]] = {
    "order.shipped": _ON_ITS_WAY,
    "order.shipment.delivered": _ON_ITS_WAY,
    "order.shipment.exception": frozenset({"Exception"}),
    "order.shipment.on_hold": frozenset({"OnHold"}),
    "order.shipment.cancelled": _GIVEN_UP,
}
"""The statuses that a webhook of each topic may show."""


# ------------------------------------------------------------------ from ShipBob
def occurrences_from_wire(topic: str, value: object, connection: str) -> tuple[Occurrence, ...]:
    """What a webhook or a polled item says. Raises ``Rejected`` for a broken body, ``ContractDrift`` for an unknown topic or status."""
    if topic == "poll.order":
        return _order_without_shipments(wire.read(wire.Order, value))
    if topic == "poll.shipment":
        return _by_status(wire.read(wire.Shipment, value), connection)
    if topic == "return.completed":
        return (received_from_wire(wire.read(wire.ReturnOrder, value)),)
    if topic not in _EXPECTED:
        raise ContractDrift(
            "UNKNOWN_EVENT",
            f"ShipBob sent {topic!r}, which is neither handled nor ignored by name",
            remedy="declare the topic in manifest.yaml and map it, or ignore it with a reason",
        )
    shipments = _shipments_of(value, topic)
    return tuple(_occurrence(_by_topic(topic, shipment, connection, place), shipment) for place, shipment in shipments)


def _shipments_of(value: object, topic: str) -> list[tuple[str, wire.Shipment]]:
    """ShipBob publishes no schema for webhook bodies: the shipment itself is usual, the whole order around it is possible.

    Each with where in the body it stands, as the beginning of its fields' paths."""
    if isinstance(value, dict) and "shipments" in value:
        order = wire.read(wire.Order, value)
        placed = [(f"shipments.{position}.", shipment) for position, shipment in enumerate(order.shipments)]
        found = [(place, shipment) for place, shipment in placed if _known(shipment.status, f"{place}status") in _EXPECTED[topic]]
        if not found:
            raise ContractDrift(
                "UNKNOWN_STATUS",
                f"{topic} for order {order.id}, none of whose shipments is in such a state",
                remedy="compare the body with the vendor's documentation",
                fields=[FieldProblem("shipments", f"none is in a state of {topic}")],
            )
        return found
    shipment = wire.read(wire.Shipment, value)
    if _known(shipment.status) not in _EXPECTED[topic]:
        raise ContractDrift(
            "UNKNOWN_STATUS",
            f"{topic} shows shipment {shipment.id} as {shipment.status}",
            remedy="compare the body with the vendor's documentation",
            fields=[FieldProblem("status", f"{shipment.status} is no state of {topic}")],
        )
    return [("", shipment)]


def _by_topic(topic: str, shipment: wire.Shipment, connection: str, place: str) -> Fact:
    if topic == "order.shipped":
        return _dispatched(shipment, connection, place)
    if topic == "order.shipment.delivered":
        return _delivered(shipment, connection)
    return _refused(shipment)


def _by_status(shipment: wire.Shipment, connection: str) -> tuple[Occurrence, ...]:
    """Everything that the present state of a shipment implies: it may be the first that we hear of it."""
    status = _known(shipment.status)
    facts: list[Fact] = []
    if status in _ASKS_FOR_SOMEBODY | _GIVEN_UP:
        facts.append(_refused(shipment))
    elif accepted(shipment):
        facts.append(_acknowledged(shipment))
    if status == "Completed":
        facts.append(_dispatched(shipment, connection))
        if shipment.delivery_date is not None:
            facts.append(_delivered(shipment, connection))
    return tuple(_occurrence(fact, shipment) for fact in facts)


def _order_without_shipments(order: wire.Order) -> tuple[Occurrence, ...]:
    if order.status not in _ORDER_STATUSES:
        raise _unknown_status(order.status)
    if order.status not in ("Exception", "Cancelled", "ImportReview"):
        return ()
    refused = FulfillmentRefused(
        part_reference=order.reference_id or str(order.id),
        external_id=str(order.id),
        reason=f"ShipBob order {order.id}: {order.status}",
        final=order.status == "Cancelled",
        refused_at=order.created_date,
    )
    return (Occurrence(refused, order.created_date),)


def _known(status: str, path: str = "status") -> str:
    if status not in _KNOWN:
        raise _unknown_status(status, path)
    return status


def _unknown_status(status: str, path: str = "status") -> ContractDrift:
    return ContractDrift(
        "UNKNOWN_STATUS",
        f"ShipBob knows a status {status!r} that is not mapped",
        remedy="read the vendor's status reference and map it in mapping.py",
        fields=[FieldProblem(path, "is not mapped")],
    )


def accepted(shipment: wire.Shipment) -> bool:
    """ShipBob has taken it on: stock is allocated, or it is further already. Raises ``ContractDrift`` for an unknown state."""
    if _known(shipment.status) in _ON_ITS_WAY:
        return True
    clock = shipment.estimated_fulfillment_date_status
    if clock is not None and clock not in _ACCEPTED | _NOT_ACCEPTED:
        raise _unknown_status(clock, "estimated_fulfillment_date_status")
    return shipment.status == "Processing" and clock in _ACCEPTED


def _occurrence(fact: Fact, shipment: wire.Shipment) -> Occurrence:
    if isinstance(fact, ShipmentDispatched):
        return Occurrence(fact, fact.shipment.dispatched_at)
    if isinstance(fact, ShipmentDelivered):
        return Occurrence(fact, fact.delivered_at)
    if isinstance(fact, FulfillmentAcknowledged):
        return Occurrence(fact, fact.acknowledged_at)
    return Occurrence(fact, _updated(shipment))


def _updated(shipment: wire.Shipment) -> datetime:
    return shipment.last_update_at or shipment.created_date


def _part(shipment: wire.Shipment) -> str:
    return shipment.reference_id or str(shipment.order_id)


def _acknowledged(shipment: wire.Shipment) -> FulfillmentAcknowledged:
    # Of a shipment that has left, only the latest moment is known at which it must have been accepted.
    at = min(_updated(shipment), _left(shipment)) if shipment.status == "Completed" else _updated(shipment)
    return FulfillmentAcknowledged(part_reference=_part(shipment), external_id=str(shipment.order_id), acknowledged_at=at)


def _left(shipment: wire.Shipment) -> datetime:
    shipped = shipment.tracking.shipping_date if shipment.tracking else None
    return shipped or shipment.actual_fulfillment_date or _updated(shipment)


def _dispatched(shipment: wire.Shipment, connection: str, place: str = "") -> ShipmentDispatched:
    if not shipment.products:
        raise Rejected(
            "INVALID_BODY",
            f"shipment {shipment.id} left with nothing in it",
            remedy="look the shipment up in ShipBob",
            fields=[FieldProblem(f"{place}products", "is empty")],
        )
    tracking = shipment.tracking
    packages: tuple[Package, ...] = ()
    if tracking and (tracking.tracking_number or tracking.tracking_url or tracking.carrier):
        packages = (Package(tracking_number=tracking.tracking_number or "", tracking_url=tracking.tracking_url or "", carrier=tracking.carrier or ""),)
    return ShipmentDispatched(
        shipment=Shipment(
            shipment_id=f"{connection}-{shipment.id}",
            connection=connection,
            external_id=str(shipment.id),
            part_reference=_part(shipment),
            lines=tuple(_line(product, f"{place}products.{position}") for position, product in enumerate(shipment.products)),
            packages=packages,
            dispatched_at=_left(shipment),
        )
    )


def _line(product: wire.ShippedProduct, place: str) -> ShippedLine:
    sku = product.reference_id or product.sku
    if not sku:
        raise Rejected(
            "INVALID_BODY",
            "a shipped product has neither reference_id nor sku",
            remedy="give the product a SKU in ShipBob",
            fields=[FieldProblem(f"{place}.reference_id", "missing")],
        )
    if len({item.id for item in product.inventory_items}) != 1:
        # A bundle ships as its components: how many bundles that makes, the shipment does not say.
        raise ContractDrift(
            "UNEXPECTED_ANSWER",
            f"product {sku} shipped as {len(product.inventory_items)} different items: bundles are not supported",
            remedy="stock the article as one inventory item in ShipBob",
            fields=[FieldProblem(f"{place}.inventory_items", f"holds {len(product.inventory_items)} different items")],
        )
    quantity = sum(item.quantity for item in product.inventory_items)
    if not quantity:
        problem = FieldProblem(f"{place}.inventory_items", "have no quantity")
        raise Rejected("INVALID_BODY", f"product {sku} shipped in no quantity", remedy="look the shipment up in ShipBob", fields=[problem])
    return ShippedLine(sku=sku, quantity=Decimal(quantity))


def _delivered(shipment: wire.Shipment, connection: str) -> ShipmentDelivered:
    return ShipmentDelivered(
        shipment_id=f"{connection}-{shipment.id}",
        part_reference=_part(shipment),
        delivered_at=shipment.delivery_date or _updated(shipment),
    )


def _refused(shipment: wire.Shipment) -> FulfillmentRefused:
    details = [detail.description or detail.name or "" for detail in shipment.status_details or []]
    why = "; ".join(detail for detail in details if detail)
    return FulfillmentRefused(
        part_reference=_part(shipment),
        external_id=str(shipment.order_id),
        reason=f"ShipBob shipment {shipment.id}: {shipment.status}" + (f" ({why})" if why else "")[:900],
        final=shipment.status in _GIVEN_UP,
        refused_at=_updated(shipment),
    )


# ------------------------------------------------------------------ polling
def poll_start(cursor: str | None, now: datetime) -> tuple[datetime, frozenset[str]]:
    """(newest change seen, keys already handed out) from a cursor; a first poll reaches back a day."""
    if cursor is None:
        return now - FIRST_POLL_REACH, frozenset()
    state = json.loads(cursor)
    return datetime.fromisoformat(state["since"]), frozenset(state["seen"])


def polled_from_wire(values: list[object], since: datetime, seen: frozenset[str]) -> PollResult:
    """The news among the orders a poll found, each state once, and the cursor to go on from.

    What this side does not understand is handed on like everything else: its translation fails by itself and holds up no other.
    """
    orders: list[wire.Order] = []
    items: dict[str, PolledItem] = {}
    for value in values:
        try:
            orders.append(wire.read(wire.Order, value))
        except Rejected:
            body = json.dumps(value, sort_keys=True, default=str).encode()
            key = f"unreadable.{hashlib.sha256(body).hexdigest()[:32]}"
            items[key] = PolledItem(key=key, topic="poll.order", body=body)
    unreadable = set(items)
    items.update({item.key: item for order in orders for item in _news(order)})
    newest = max([since, *(_updated(shipment) for order in orders for shipment in order.shipments)])
    recent = {item.key for order in orders if _may_show_again(order, newest - POLL_OVERLAP) for item in _news(order)}
    recent |= unreadable
    cursor = json.dumps({"since": rfc3339(newest), "seen": sorted(recent)}, separators=(",", ":"))
    return PollResult(items=tuple(item for key, item in items.items() if key not in seen), cursor=cursor)


def _may_show_again(order: wire.Order, since: datetime) -> bool:
    """Whether the next poll may list it once more. An order without shipments does not say when it changed."""
    return not order.shipments or any(_updated(shipment) >= since for shipment in order.shipments)


def _news(order: wire.Order) -> list[PolledItem]:
    if not order.shipments:
        return [_item("poll.order", order, str(order.id), order.status)] if _is_news(lambda: _order_without_shipments(order)) else []
    return [_item("poll.shipment", shipment, f"{order.id}.{shipment.id}", _state(shipment)) for shipment in order.shipments if _tells(shipment)]


def _tells(shipment: wire.Shipment) -> bool:
    return _is_news(lambda: _by_status(shipment, "poll"))


def _is_news(meaning: Callable[[], tuple[Occurrence, ...]]) -> bool:
    try:
        return bool(meaning())
    except CrossdockError:
        return True  # not understood: the delivery made of it says so, to a person


def _item(topic: str, body: wire.Order | wire.Shipment, name: str, state: str) -> PolledItem:
    key = f"{name}.{hashlib.sha256(state.encode()).hexdigest()[:16]}"
    return PolledItem(key=key, topic=topic, body=body.model_dump_json(exclude_none=True).encode())


def _state(shipment: wire.Shipment) -> str:
    """Everything about a shipment that makes a difference to us: equal text, nothing new."""
    relevant = shipment.model_dump(mode="json", exclude={"last_update_at", "created_date", "estimated_fulfillment_date_status"})
    clock = shipment.estimated_fulfillment_date_status
    return json.dumps({**relevant, "clock": "accepted" if clock in _ACCEPTED else clock}, sort_keys=True)


# ------------------------------------------------------------------ to ShipBob
def order_to_wire(release: ReleaseFulfillment) -> wire.NewOrder:
    """The order that tells ShipBob to ship a part: base units, one product per SKU. Raises ``Rejected`` where ShipBob's limits do not allow it."""
    order, address = release.order, release.order.ship_to
    quantities: dict[str, Decimal] = {}
    names: dict[str, str] = {}
    for line in release.part.lines:
        sku = release.skus.get(line.sku, line.sku)
        quantities[sku] = quantities.get(sku, Decimal(0)) + line.base_quantity
        names.setdefault(sku, order.line(line.line_id).description or line.sku)
    fractions = [FieldProblem(f"products.{position}.quantity", f"{plain(quantity)} is no whole number") for position, quantity in enumerate(quantities.values()) if quantity % 1]
    if fractions:
        raise Rejected("INVALID_BODY", "ShipBob ships whole units only", remedy="correct the quantity or the unit conversion", fields=fractions)
    try:
        return wire.NewOrder.model_validate(
            {
                "reference_id": release.part.part_id,
                "order_number": order.number,
                "type": "DTC",
                "shipping_method": order.shipping_method or "Standard",
                "purchase_date": rfc3339(order.placed_at),
                "recipient": {
                    "name": address.name or address.company,
                    "email": address.email or order.customer.email or None,
                    "phone_number": address.phone or None,
                    "address": {
                        "address1": address.line1,
                        "address2": address.line2 or None,
                        "company_name": address.company or None,
                        "city": address.city,
                        "state": address.region or None,
                        "zip_code": address.postal_code or None,
                        "country": address.country,
                    },
                },
                "products": [{"reference_id": sku, "name": names[sku], "quantity": int(quantity)} for sku, quantity in quantities.items()],
                "tags": [{"name": "order", "value": order.order_id}],
                "location_id": _location_to_wire(release.location_code),
            }
        )
    except ValidationError as error:
        raise Rejected(
            "INVALID_BODY", f"part {release.part.part_id} does not fit ShipBob's order", remedy="correct the named fields of the order", fields=wire.problems(error)
        ) from error


def _location_to_wire(code: str) -> int | None:
    """A fulfillment center's number; ``AUTO`` lets ShipBob choose."""
    if code == "AUTO":
        return None
    if not (code.isascii() and code.isdigit()):
        raise Rejected(
            "INVALID_BODY",
            f"{code!r} is no ShipBob fulfillment center",
            remedy="set the location's code for this connection to the fulfillment center's number, or AUTO",
            fields=[FieldProblem("location_id", "not a number")],
        )
    return int(code)


def receipt_from_wire(order: wire.Order, *, found: bool) -> Receipt:
    """Proof that ShipBob has the order; acknowledged already when every shipment of it is accepted."""
    return Receipt(
        external_id=str(order.id),
        number=order.order_number or str(order.id),
        acknowledged=bool(order.shipments) and all(accepted(shipment) for shipment in order.shipments),
        found=found,
    )


def cancel_receipt_from_wire(result: wire.CancelResult, cancel: CancelFulfillment) -> Receipt:
    """Proof that nothing of the part will ship. Raises ``Rejected`` ALREADY_SHIPPED when some of it will."""
    if result.status not in ("Success", "Failure", "PartialSuccess"):
        raise _unknown_status(result.status)
    kept = [shipment for shipment in result.canceled_shipment_results if not shipment.is_success]
    if kept or result.status != "Success":
        why = "; ".join(f"shipment {shipment.shipment_id}: {shipment.reason or 'not cancelled'}" for shipment in kept)
        raise too_late(cancel, why or result.status)
    return Receipt(external_id=str(result.order_id), number=cancel.part_id)


def too_late(cancel: CancelFulfillment, why: str) -> Rejected:
    return Rejected("ALREADY_SHIPPED", f"ShipBob does not cancel part {cancel.part_id} any more: {why}"[:900], remedy="let it ship and take it back as a return")


def readings_from_wire(page: wire.StockPage, as_of: datetime) -> list[StockReading]:
    """What each fulfillment center holds. An item without SKU cannot be ordered through us and is left out."""
    return [
        StockReading(sku=item.sku, location=str(place.location_id), on_hand=Decimal(place.on_hand_quantity), as_of=as_of)
        for item in page.items
        if item.sku
        for place in item.locations
    ]


# ------------------------------------------------------------------ what comes back
MAX_RETURN_REFERENCE = 50
_GRADES: Mapping[str, Disposition] = {"Restock": Disposition.RESTOCK, "Quarantine": Disposition.REFURBISH, "Dispose": Disposition.SCRAP}
"""ShipBob's return actions; what it calls Default is named in ``action_taken`` by what was done."""


def return_reference(return_id: str) -> str:
    """Our return id as ShipBob's reference (50 characters): a longer id keeps its head and a digest."""
    if len(return_id) <= MAX_RETURN_REFERENCE:
        return return_id
    return f"{return_id[:37]}-{hashlib.sha256(return_id.encode()).hexdigest()[:12]}"


def return_to_wire(intent: ExpectReturn, ids: Mapping[str, int]) -> wire.NewReturn:
    """``ids``: ShipBob's inventory id by SKU. Raises ``Rejected`` for what ShipBob does not stock or counts in whole pieces only."""
    try:
        return wire.NewReturn.model_validate(
            {
                "reference_id": return_reference(intent.return_id),
                "fulfillment_center": {"id": intent.location_code},
                "inventory": [{"id": ids[line.sku], "quantity": line.quantity, "requested_action": "Default"} for line in intent.lines],
            }
        )
    except (KeyError, ValidationError) as error:
        missing = sorted(line.sku for line in intent.lines if line.sku not in ids)
        fields = [FieldProblem(sku, "is not stocked at ShipBob") for sku in missing] if isinstance(error, KeyError) else wire.problems(error)
        raise Rejected("VENDOR_REFUSED", "the return cannot be said in ShipBob's terms", remedy="correct the fields named, then retry", fields=fields) from error


def received_from_wire(order: wire.ReturnOrder) -> Occurrence:
    """A completed return: everything that came, graded. Raises ``ContractDrift`` for an action that is not known."""
    if order.status != "Completed":
        fields = [FieldProblem("status", "is not Completed")]
        raise ContractDrift("UNKNOWN_STATUS", f"a completed return has the status {order.status!r}", remedy="compare with the vendor's contract", fields=fields)
    if order.completed_date is None:
        fields = [FieldProblem("completed_date", "is missing")]
        raise Rejected("INVALID_BODY", "a completed return does not say when it was completed", remedy="look the return up in ShipBob", fields=fields)
    lines = []
    for place, item in enumerate(order.inventory):
        for number, taken in ((number, taken) for number, taken in enumerate(item.action_taken or []) if taken.quantity_processed > 0):
            grade = _GRADES.get(taken.action)
            if grade is None:
                fields = [FieldProblem(f"inventory.{place}.action_taken.{number}.action", "is not known")]
                raise ContractDrift("UNKNOWN_STATUS", f"the action {taken.action!r} is not known", remedy="map it to what becomes of the goods", fields=fields)
            if not item.sku:
                raise Rejected("INVALID_BODY", "a returned item has no SKU", remedy="give the item a SKU in ShipBob", fields=[FieldProblem(f"inventory.{place}.sku", "is missing")])
            lines.append(ReceivedLine(sku=item.sku, quantity=Decimal(taken.quantity_processed), disposition=grade))
    receipt = ReturnReceipt(
        receipt_id=f"shipbob-{order.id}",
        return_reference=order.reference_id or str(order.id),
        external_id=str(order.id),
        lines=tuple(lines),
        received_at=order.completed_date,
        complete=True,
    )
    return Occurrence(ReturnReceived(receipt=receipt), order.completed_date)
