"""Which location ships what of an order? Pure planning over stock levels, then one conditional reservation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import combinations, islice, product

from crossdock.domain.order import Order
from crossdock.domain.policy import Hold
from crossdock.domain.quantity import Quantity, to_base
from crossdock.domain.shipment import Fulfillment, PartLine
from crossdock.domain.stock import ReservedLine, StockLevel
from crossdock.domain.tenant import CrossReference, HoldKind, TenantSpec

MAX_REPLANS = 8
MAX_TRIES = 4096
"""Placements of item groups that are tried per choice of locations."""


@dataclass(frozen=True)
class Need:
    """One order line in the SKU's base unit; ``per_unit`` base units make one ordered unit."""

    line_id: str
    sku: str
    ordered: Quantity
    base: Decimal
    per_unit: Fraction
    value: Decimal
    group: str | None


def needs_of(order: Order, xref: CrossReference) -> list[Need]:
    """What must be shipped, in base units. A non-integral base quantity raises ``NON_INTEGRAL_QUANTITY``, an unknown unit ``MISSING_XREF``."""
    needs = []
    for line in order.lines:
        if not line.requires_shipping or line.quantity.value <= 0:
            continue
        article = xref.article(line.sku)
        if line.quantity.unit == article.base_unit:
            numerator, denominator = 1, 1
        else:
            numerator, denominator = xref.conversion(line.sku, line.quantity.unit)
        base = to_base(line.quantity, base_unit=article.base_unit, numerator=numerator, denominator=denominator)
        needs.append(
            Need(
                line_id=line.line_id,
                sku=line.sku,
                ordered=line.quantity,
                base=base.value,
                per_unit=Fraction(numerator, denominator),
                value=line.net.amount,
                group=line.group,
            )
        )
    return needs


def candidates(order: Order, spec: TenantSpec) -> list[str]:
    """The locations of the first routing rule that fits the ship-to, in their order; empty when none fits."""
    for rule in spec.routing.rules:
        if rule.countries and order.ship_to.country not in rule.countries:
            continue
        if rule.regions and order.ship_to.region not in rule.regions:
            continue
        return list(rule.locations)
    return []


def _available(levels: Mapping[tuple[str, str], StockLevel], sku: str, location: str) -> Decimal:
    level = levels.get((sku, location))
    return max(Decimal(0), level.available) if level is not None else Decimal(0)


def _bundles(needs: Iterable[Need]) -> list[list[Need]]:
    """Lines that must stay together, each other line by itself."""
    grouped: dict[str, list[Need]] = {}
    for need in needs:
        grouped.setdefault(f"group:{need.group}" if need.group else f"line:{need.line_id}", []).append(need)
    return list(grouped.values())


def _fits(bundle: list[Need], location: str, free: Mapping[tuple[str, str], Decimal]) -> bool:
    wanted: dict[str, Decimal] = defaultdict(Decimal)
    for need in bundle:
        wanted[need.sku] += need.base
    return all(free.get((sku, location), Decimal(0)) >= quantity for sku, quantity in wanted.items())


Assignment = list[tuple[Need, str, Decimal]]
"""(need, location, base quantity)"""


def assign(needs: list[Need], locations: list[str], levels: Mapping[tuple[str, str], StockLevel], spec: TenantSpec) -> Assignment | None:
    """The assignment under the tenant's rules, or None when the order cannot be filled whole.

    One location that can ship all wins, the first in routing order. Otherwise (``split``) whole lines and item groups go to the first
    location in order that still has them; a line without group that fits nowhere whole is divided, in whole ordered units, in routing order.
    More than ``max_parts`` locations, or a part under ``minimum_part_value``, is no valid split.
    """
    for location in locations:
        free = {(need.sku, location): _available(levels, need.sku, location) for need in needs}
        if _fits(needs, location, free):
            return [(need, location, need.base) for need in needs]
    if not spec.routing.split:
        return None
    for count in range(2, min(spec.routing.max_parts, len(locations)) + 1):
        for chosen in _subsets(locations, count):
            made = _split(needs, chosen, levels)
            if made is not None and _worth_it(made, spec):
                return made
    return None


def _subsets(locations: list[str], count: int) -> Iterable[list[str]]:
    """Subsets of that size, keeping routing order, the earliest locations first."""
    return (list(chosen) for chosen in combinations(locations, count))


def _split(needs: list[Need], locations: list[str], levels: Mapping[tuple[str, str], StockLevel]) -> Assignment | None:
    """Groups are the hardest to place: each of their homes is tried, the earliest locations first; then come the single lines."""
    bundles = _bundles(needs)
    groups = [bundle for bundle in bundles if bundle[0].group]
    # The largest units first: what is left over still serves single pieces.
    singles = sorted((bundle[0] for bundle in bundles if not bundle[0].group), key=lambda need: -need.per_unit)
    for homes in islice(product(locations, repeat=len(groups)), MAX_TRIES):
        free = {(need.sku, location): _available(levels, need.sku, location) for need in needs for location in locations}
        made: Assignment = []
        for bundle, home in zip(groups, homes, strict=True):
            if not _fits(bundle, home, free):
                break
            _put(bundle, home, free, made)
        else:
            rest = _place(singles, locations, free)
            if rest is not None:
                return made + rest
    return None


def _put(bundle: list[Need], home: str, free: dict[tuple[str, str], Decimal], made: Assignment) -> None:
    for need in bundle:
        free[need.sku, home] -= need.base
        made.append((need, home, need.base))


def _place(singles: list[Need], locations: list[str], free: dict[tuple[str, str], Decimal]) -> Assignment | None:
    """Whole lines to the first location that still has them; what fits nowhere whole is divided."""
    made: Assignment = []
    divisible: list[Need] = []
    for need in singles:
        home = next((location for location in locations if _fits([need], location, free)), None)
        if home is not None:
            _put([need], home, free, made)
        else:
            divisible.append(need)
    for need in divisible:
        left = need.base
        for location in locations:
            take = _whole_units(min(left, free[need.sku, location]), left, need.per_unit)
            if take > 0:
                free[need.sku, location] -= take
                made.append((need, location, take))
                left -= take
            if left == 0:
                break
        if left > 0:
            return None
    return made


def _whole_units(offered: Decimal, left: Decimal, per_unit: Fraction) -> Decimal:
    """All that is left, or else as many base units as make whole ordered units (and are whole themselves)."""
    if offered >= left:
        return left
    units = Fraction(offered) // per_unit
    while units > 0 and (units * per_unit).denominator != 1:
        units -= 1
    return Decimal(int(units * per_unit))


def _worth_it(made: Assignment, spec: TenantSpec) -> bool:
    values: dict[str, Decimal] = defaultdict(Decimal)
    for need, location, base in made:
        values[location] += need.value * base / need.base if need.base else Decimal(0)
    return len(values) <= spec.routing.max_parts and all(value >= spec.routing.minimum_part_value for value in values.values())


def parts_of(order: Order, made: Assignment, locations: list[str], spec: TenantSpec) -> list[Fulfillment]:
    """One part per location, numbered in routing order: ``<order id>.<n>``."""
    parts = []
    used = [location for location in locations if any(where == location for _, where, _ in made)]
    position = {line.line_id: index for index, line in enumerate(order.lines)}
    for number, location in enumerate(used, start=1):
        lines = sorted(((need, base) for need, where, base in made if where == location), key=lambda pair: position[pair[0].line_id])
        parts.append(
            Fulfillment(
                part_id=f"{order.order_id}.{number}",
                location=location,
                connection=spec.locations[location].connection,
                lines=tuple(PartLine(line_id=need.line_id, sku=need.sku, quantity=_ordered(need, base), base_quantity=base) for need, base in lines),
            )
        )
    return parts


def _ordered(need: Need, base: Decimal) -> Quantity:
    """The base quantity in the line's ordered unit: the line's own quantity when it is the whole line."""
    if base == need.base:
        return need.ordered
    exact = Fraction(base) / need.per_unit
    return Quantity(value=Decimal(exact.numerator) / Decimal(exact.denominator), unit=need.ordered.unit)


def intangible_part(order: Order, *, number: int, location: str) -> Fulfillment | None:
    """The lines that nobody packs (services, digital goods) as a part of their own, which is shipped the moment it is released. It is worked by
    nobody: its connection is the order's own source, which is told of it like of any shipment; the ERP ships and invoices it together."""
    lines = [line for line in order.lines if not line.requires_shipping and line.quantity.value > 0]
    if not lines:
        return None
    return Fulfillment(
        part_id=f"{order.order_id}.{number}",
        location=location,
        connection=order.connection,
        lines=tuple(PartLine(line_id=line.line_id, sku=line.sku, quantity=line.quantity, base_quantity=Decimal(0)) for line in lines),
    )


def reserved_lines(parts: Iterable[Fulfillment]) -> tuple[ReservedLine, ...]:
    """What the parts commit, summed per SKU and location: two lines of one SKU are one commitment."""
    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for part in parts:
        for line in part.lines:
            if line.base_quantity:
                sums[line.sku, part.location] += line.base_quantity
    return tuple(ReservedLine(sku=sku, location=location, quantity=quantity) for (sku, location), quantity in sorted(sums.items()))


def no_warehouse(order: Order, needs: list[Need], locations: list[str], levels: Mapping[tuple[str, str], StockLevel]) -> Hold:
    """What the person sees when no valid plan exists: what is asked for and what is where."""
    wanted: dict[str, Decimal] = defaultdict(Decimal)
    for need in needs:
        wanted[need.sku] += need.base
    seen = {
        sku: f"needs {quantity:f}; " + (", ".join(f"{location} has {_available(levels, sku, location):f}" for location in locations) or "no location serves this address")
        for sku, quantity in sorted(wanted.items())
    }
    return Hold(
        HoldKind.WAREHOUSE,
        "NO_VALID_WAREHOUSE",
        f"no warehouse or split of the routing rules can ship the order to {order.ship_to.country}-{order.ship_to.region}",
        "wait for stock and retry, change the routing, or reject to cancel",
        seen,
    )
