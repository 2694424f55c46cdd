"""What would other routing rules have made of the orders that came? Plans again, in the order of their arrival, over the stock there was; touches nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from crossdock.domain.errors import NeedsPerson
from crossdock.domain.money import Money
from crossdock.domain.order_record import OrderRecord, OrderStatus
from crossdock.domain.stock import ReservedLine
from crossdock.domain.tenant import Article, Routing, TenantSpec
from crossdock.flows import allocate
from crossdock.flows.services import Services

Key = tuple[str, str]
"""(SKU, location)"""


@dataclass(frozen=True)
class Simulated:
    """One variant's outcome. ``on_time``: the share of parts that would have left within the promised window, if each location keeps
    it as often as it has; None where no location has shipped anything yet."""

    variant: str
    orders: int
    filled: int
    split: int
    parts: int
    unfillable: int
    units_asked: Decimal
    units_filled: Decimal
    on_time: Fraction | None
    freight: Money | None
    by_location: Mapping[str, int]

    def as_json(self) -> dict[str, object]:
        return {
            "variant": self.variant,
            "orders": self.orders,
            "filled": self.filled,
            "fill_rate_percent": percent(self.filled, self.orders),
            "unit_fill_rate_percent": percent(self.units_filled, self.units_asked),
            "split": self.split,
            "parts": self.parts,
            "unfillable": self.unfillable,
            "on_time_percent": None if self.on_time is None else percent(self.on_time, 1),
            "freight": self.freight.as_json() if self.freight else None,
            "parts_by_location": dict(self.by_location),
        }


def percent(part: int | Decimal | Fraction, whole: int | Decimal) -> str | None:
    """To a tenth; None of nothing."""
    if not whole:
        return None
    share = Fraction(part) / Fraction(whole) * 100
    return str((Decimal(share.numerator) / share.denominator).quantize(Decimal("0.1")))


def recorded(services: Services, limit: int) -> list[OrderRecord]:
    """The newest orders that were not called off, in the order of their arrival."""
    found = [record for closed in (False, True) for record in services.orders.listed(closed=closed, limit=limit)]
    kept = [record for record in found if record.order is not None and record.status is not OrderStatus.CANCELLED]
    return sorted(kept, key=lambda record: (record.accepted_at, record.order_id))[-limit:]


def stock_before(records: Iterable[OrderRecord], services: Services) -> dict[Key, Decimal]:
    """What could be promised before the first of these orders: what can be promised now, and what they have taken."""
    free: dict[Key, Decimal] = defaultdict(Decimal)
    taken: list[ReservedLine] = []
    wanted: set[Key] = set()
    for record in records:
        taken += record.reserved
        skus = {sku for line in record.placed.lines for sku in (services.spec.articles.get(line.sku, Article()).components or (line.sku,))}
        wanted |= {(sku, location) for sku in skus for location in services.spec.locations}
    for key, count in allocate.free_of(services.stock.levels(sorted(wanted)), services.spec).items():
        free[key] += count
    for line in taken:
        free[line.sku, line.location] += line.quantity
    return dict(free)


def kept_windows(records: Iterable[OrderRecord]) -> dict[str, Fraction]:
    """How often each location has shipped within the promised window."""
    left: dict[str, list[int]] = defaultdict(list)
    for record in records:
        for booked in record.shipments:
            left[booked.location].append(0 if booked.late else 1)
    return {location: Fraction(sum(kept), len(kept)) for location, kept in left.items()}


def simulate(
    variant: str, routing: Routing, records: Sequence[OrderRecord], stock: Mapping[Key, Decimal], spec: TenantSpec, services: Services, *, part_cost: Decimal
) -> Simulated:
    """Plans every order under these rules, each over what the ones before have left. ``part_cost``: what shipping one part costs, in the tenant's currency."""
    changed = spec.model_copy(update={"routing": routing})
    left, windows = dict(stock), kept_windows(records)
    filled = split = parts = 0
    asked, got = Decimal(0), Decimal(0)
    by_location: dict[str, int] = defaultdict(int)
    load: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for record in records:
        try:
            needs = allocate.needs_of(record.placed, services.xref)
        except NeedsPerson:
            continue  # counted as unfillable: no rule helps an order that names no unit of ours
        asked += sum((need.base for need in needs), Decimal(0))
        found = allocate.routes(record.placed, changed, load[day := f"{record.accepted_at:%Y-%m-%d}"])
        planned = allocate.plan(needs, found, left, changed) if needs else ([], allocate.Route((), split=False))
        if planned is None:
            continue
        made = planned[0]
        for need, location, base in made:
            for sku, count in need.takes(base).items():
                left[sku, location] -= count
            got += base
        used = {location for _, location, _ in made}
        filled, parts, split = filled + 1, parts + len(used), split + (len(used) > 1)
        for location in used:
            by_location[location] += 1
            load[day][location] += 1
    known = sum(count for location, count in by_location.items() if location in windows)
    kept = sum((windows[location] * count for location, count in by_location.items() if location in windows), Fraction(0))
    return Simulated(
        variant=variant,
        orders=len(records),
        filled=filled,
        split=split,
        parts=parts,
        unfillable=len(records) - filled,
        units_asked=asked,
        units_filled=got,
        on_time=kept / known if known else None,
        freight=Money(amount=part_cost * parts, currency=spec.currency),
        by_location=dict(sorted(by_location.items())),
    )
