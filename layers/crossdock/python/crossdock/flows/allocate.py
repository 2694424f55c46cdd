"""Which location ships what of an order? Pure planning over stock levels, then one conditional reservation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from itertools import combinations, islice, product

from crossdock.domain.order import Order
from crossdock.domain.policy import Hold
from crossdock.domain.quantity import Quantity, to_base
from crossdock.domain.shipment import Fulfillment, PartLine
from crossdock.domain.stock import ReservedLine, Slot, StockLevel
from crossdock.domain.tenant import CrossReference, HoldKind, TenantSpec

MAX_REPLANS = 8
MAX_TRIES = 4096
"""Placements of item groups, and of lines that share what is scarce, that are tried per choice of locations."""


Key = tuple[str, str]
"""(SKU, location)"""
Free = Mapping[Key, Decimal]
"""What routing may take of each, in base units."""


@dataclass(frozen=True)
class Need:
    """One order line in the SKU's base unit; ``per_unit`` base units make one ordered unit. Of a bundle, ``components`` are the base units of each
    component in one of it: they are what must be there."""

    line_id: str
    sku: str
    ordered: Quantity
    base: Decimal
    per_unit: Fraction
    value: Decimal
    group: str | None
    components: Mapping[str, Decimal] = field(default_factory=dict)

    @property
    def skus(self) -> list[str]:
        """What of it is stocked."""
        return list(self.components) or [self.sku]

    def takes(self, base: Decimal) -> dict[str, Decimal]:
        """The stock that so many base units of it are made of."""
        return {sku: count * base for sku, count in self.components.items()} or {self.sku: base}

    def offered(self, location: str, free: Free) -> Decimal:
        """How many base units of it can be made of what is free there."""
        if not self.components:
            return free.get((self.sku, location), Decimal(0))
        return min(Decimal(int(free.get((sku, location), Decimal(0)) // count)) for sku, count in self.components.items())


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
                components=article.components,
            )
        )
    return needs


@dataclass(frozen=True)
class Route:
    """A routing rule as it applies to one order: the locations in the order in which they are tried. ``full``: those that take no more today."""

    locations: tuple[str, ...]
    split: bool
    full: tuple[str, ...] = ()


def routes(order: Order, spec: TenantSpec, load: Mapping[str, int]) -> list[Route]:
    """The rules that fit the ship-to, in their order, up to the first that has no next one; none when no rule fits. ``load``: parts of the day by location."""
    found = []
    for rule in spec.routing.rules:
        if rule.countries and order.ship_to.country not in rule.countries:
            continue
        if rule.regions and order.ship_to.region not in rule.regions:
            continue
        full = [name for name in rule.locations if (limit := spec.locations[name].daily_orders) is not None and load.get(name, 0) >= limit]
        locations = _sorted([name for name in rule.locations if name not in full], rule.sort, order, spec, load)
        found.append(Route(tuple(locations), spec.routing.split if rule.split is None else rule.split, tuple(full)))
        if rule.otherwise == "hold":
            break
    return found


def _sorted(locations: list[str], sort: str, order: Order, spec: TenantSpec, load: Mapping[str, int]) -> list[str]:
    """Python's sort keeps the order given between equals."""
    if sort == "nearest":
        days = {name: spec.locations[name].transit(order.ship_to.country, order.ship_to.region) for name in locations}
        return sorted(locations, key=lambda name: (days[name] is None, days[name] or 0))
    if sort == "balance":
        limits = {name: spec.locations[name].daily_orders for name in locations}
        # Shares of a day can be compared where everybody has said how much a day is; else the parts themselves are.
        shared = all(limit is not None for limit in limits.values())
        return sorted(locations, key=lambda name: Fraction(load.get(name, 0), limits[name] or 1 if shared else 1))
    return locations


def places(found: Iterable[Route]) -> list[str]:
    """Every location that any of them may use, in the order in which they are tried."""
    return list(dict.fromkeys(name for route in found for name in (*route.locations, *route.full)))


def reach(level: StockLevel, spec: TenantSpec) -> Decimal:
    """How far routing may reach into the safety stock of a location."""
    kept = spec.locations[level.location].routing_safety(level.sku)
    return Decimal(0) if kept is None else level.safety - kept


def free_of(levels: Mapping[Key, StockLevel], spec: TenantSpec) -> dict[Key, Decimal]:
    return {key: max(Decimal(0), level.available + reach(level, spec)) for key, level in levels.items()}


def _bundles(needs: Iterable[Need]) -> list[list[Need]]:
    """Lines that must stay together, each other line by itself."""
    grouped: dict[str, list[Need]] = {}
    for need in needs:
        grouped.setdefault(f"group:{need.group}" if need.group else f"line:{need.line_id}", []).append(need)
    return list(grouped.values())


def _wanted(needs: Iterable[Need]) -> dict[str, Decimal]:
    """The stock that they take together, by SKU."""
    wanted: dict[str, Decimal] = defaultdict(Decimal)
    for need in needs:
        for sku, count in need.takes(need.base).items():
            wanted[sku] += count
    return wanted


def _fits(bundle: list[Need], location: str, free: Free) -> bool:
    return all(free.get((sku, location), Decimal(0)) >= quantity for sku, quantity in _wanted(bundle).items())


Assignment = list[tuple[Need, str, Decimal]]
"""(need, location, base quantity)"""


def plan(needs: list[Need], found: Iterable[Route], free: Free, spec: TenantSpec) -> tuple[Assignment, Route] | None:
    """The first rule's plan that fills the order whole, or None."""
    for route in found:
        made = assign(needs, route.locations, free, spec, split=route.split)
        if made is not None:
            return made, route
    return None


def assign(needs: list[Need], locations: Sequence[str], free: Free, spec: TenantSpec, *, split: bool) -> Assignment | None:
    """The assignment under the tenant's rules, or None when the order cannot be filled whole.

    One location that can ship all wins, the first in routing order. Otherwise (``split``) whole lines and item groups go to the first
    location in order that still has them; a line without group that fits nowhere whole is divided, in whole ordered units, in routing order.
    More than ``max_parts`` locations, or a part under ``minimum_part_value``, is no valid split.
    """
    for location in locations:
        if _fits(needs, location, free):
            return [(need, location, need.base) for need in needs]
    if not split:
        return None
    for count in range(2, min(spec.routing.max_parts, len(locations)) + 1):
        for chosen in _subsets(locations, count):
            made = _split(needs, chosen, free)
            if made is not None and _worth_it(made, spec):
                return made
    return None


def _subsets(locations: Sequence[str], count: int) -> Iterable[list[str]]:
    """Subsets of that size, keeping routing order, the earliest locations first."""
    return (list(chosen) for chosen in combinations(locations, count))


def _split(needs: list[Need], locations: list[str], there: Free) -> Assignment | None:
    """Groups are the hardest to place: each of their homes is tried, the earliest locations first; then come the single lines."""
    bundles = _bundles(needs)
    groups = [bundle for bundle in bundles if bundle[0].group]
    # The largest units first: what is left over still serves single pieces.
    singles = sorted((bundle[0] for bundle in bundles if not bundle[0].group), key=lambda need: -need.per_unit)
    for homes in islice(product(locations, repeat=len(groups)), MAX_TRIES):
        free = {(sku, location): there.get((sku, location), Decimal(0)) for need in needs for sku in need.skus for location in locations}
        made: Assignment = []
        for bundle, home in zip(groups, homes, strict=True):
            if not _fits(bundle, home, free):
                break
            _put(bundle, home, free, made)
        else:
            rest = _place(singles, locations, dict(free)) or _search(singles, locations, free)
            if rest is not None:
                return made + rest
    return None


def _put(bundle: list[Need], home: str, free: dict[Key, Decimal], made: Assignment) -> None:
    for need in bundle:
        _take(need, home, need.base, free)
        made.append((need, home, need.base))


def _take(need: Need, home: str, base: Decimal, free: dict[Key, Decimal]) -> None:
    for sku, count in need.takes(base).items():
        free[sku, home] -= count


def _place(singles: list[Need], locations: list[str], free: dict[Key, Decimal]) -> Assignment | None:
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
            take = _whole_units(min(left, need.offered(location, free)), left, need.per_unit)
            if take > 0:
                _take(need, location, take, free)
                made.append((need, location, take))
                left -= take
            if left == 0:
                break
        if left > 0:
            return None
    return made


def _search(singles: list[Need], locations: list[str], free: dict[Key, Decimal]) -> Assignment | None:
    """Every way to place the lines, whole ones before divided ones, until one fits or ``MAX_TRIES`` have not: where lines share what is scarce,
    taking the first place for each is not enough."""
    tries = 0

    def rest(index: int) -> Assignment | None:
        nonlocal tries
        if index == len(singles):
            return []
        need = singles[index]
        for shares in _spreads(need, locations, free):
            tries += 1
            if tries > MAX_TRIES:
                return None
            for location, base in shares:
                _take(need, location, base, free)
            placed = rest(index + 1)
            if placed is not None:
                return [*((need, location, base) for location, base in shares), *placed]
            for location, base in shares:
                _take(need, location, -base, free)
        return None

    return rest(0)


def _spreads(need: Need, locations: list[str], free: Free) -> Iterator[list[tuple[str, Decimal]]]:
    """The ways to ship one line of what is free: whole from one location, then in whole ordered units from several."""
    for location in locations:
        if need.offered(location, free) >= need.base:
            yield [(location, need.base)]
    yield from _divided(need, locations, need.base, free)


def _divided(need: Need, locations: list[str], left: Decimal, free: Free) -> Iterator[list[tuple[str, Decimal]]]:
    if not locations:
        return
    here, behind = locations[0], locations[1:]
    take = _whole_units(min(left, need.offered(here, free)), left, need.per_unit)
    while take > 0:
        if take == left < need.base:
            yield [(here, take)]
        elif take < left:
            for others in _divided(need, behind, left - take, free):
                yield [(here, take), *others]
        take = _whole_units(take - 1, left, need.per_unit)
    yield from _divided(need, behind, left, free)


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


def parts_of(order: Order, made: Assignment, locations: Sequence[str], spec: TenantSpec) -> list[Fulfillment]:
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
                lines=tuple(_part_line(need, base) for need, base in lines),
            )
        )
    return parts


def _part_line(need: Need, base: Decimal) -> PartLine:
    components = need.takes(base) if need.components else {}
    return PartLine(line_id=need.line_id, sku=need.sku, quantity=_ordered(need, base), base_quantity=base, components=components)


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


def reserved_lines(parts: Iterable[Fulfillment], levels: Mapping[Key, StockLevel], spec: TenantSpec) -> tuple[ReservedLine, ...]:
    """What the parts commit, summed per SKU and location: two lines of one SKU, and a bundle that has it, are one commitment."""
    sums: dict[Key, Decimal] = defaultdict(Decimal)
    for part in parts:
        for line in part.lines:
            for sku, count in line.takes().items() if line.base_quantity else ():
                sums[sku, part.location] += count
    return tuple(
        ReservedLine(sku=sku, location=location, quantity=quantity, reach=reach(levels[sku, location], spec) if (sku, location) in levels else Decimal(0))
        for (sku, location), quantity in sorted(sums.items())
    )


def slots_of(parts: Iterable[Fulfillment], spec: TenantSpec, *, day: str) -> tuple[Slot, ...]:
    """What the parts take of the day of each location; nothing where nobody asks how many there are."""
    if not spec.counts_parts:
        return ()
    return tuple(Slot(location=part.location, day=day, limit=spec.locations[part.location].daily_orders) for part in parts)


def promise(needs: list[Need], found: Sequence[Route], levels: Mapping[Key, StockLevel], spec: TenantSpec) -> datetime | None:
    """When what is on its way, as its owners say, would fill the order; None: not as far as anybody has said."""
    moments = sorted({level.expected_at for level in levels.values() if level.expected_at is not None and level.expected > 0})
    for moment in moments:
        come = {
            key: level.model_copy(update={"on_hand": level.on_hand + level.expected}) if level.expected_at is not None and level.expected_at <= moment else level
            for key, level in levels.items()
        }
        if plan(needs, found, free_of(come, spec), spec) is not None:
            return moment
    return None


def no_warehouse(order: Order, needs: list[Need], found: Sequence[Route], levels: Mapping[Key, StockLevel], spec: TenantSpec) -> Hold:
    """What the person sees when no valid plan exists: what is asked for, what is where, and when it could be filled."""
    free, locations = free_of(levels, spec), places(found)
    seen = {
        sku: f"needs {quantity:f}; " + (", ".join(f"{location} has {free.get((sku, location), Decimal(0)):f}" for location in locations) or "no location serves this address")
        for sku, quantity in sorted(_wanted(needs).items())
    }
    full = list(dict.fromkeys(name for route in found for name in route.full))
    if full:
        seen["full today"] = ", ".join(full)
    when = promise(needs, found, levels, spec) if found else None
    if when is not None:
        seen["can be filled from"] = f"{when:%Y-%m-%d %H:%M} UTC, when what is expected has come"
    return Hold(
        HoldKind.WAREHOUSE,
        "NO_VALID_WAREHOUSE",
        f"no warehouse or split of the routing rules can ship the order to {order.ship_to.country}-{order.ship_to.region}"
        + (f"; what is expected fills it from {when:%Y-%m-%d}" if when is not None else ""),
        "wait for stock and retry, change the routing, or reject to cancel",
        seen,
    )
