"""How many reports on stock does the running system take in a second, is none lost and the newest what holds, and how soon does the shop show it?"""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from crossdock.domain.errors import RetryLater
from crossdock.domain.model import rfc3339
from crossdock.domain.stock import Reservation, ReservedLine, StockReading
from local.bench.running_system import BenchFailed, System
from local.cli import control

GOAL_PER_SECOND = 100_000 / 600
"""100,000 reports in 10 minutes."""
TOGETHER = 200
"""Reports in one call of /v1."""
LOCATION = "CHI"
COUNTED_BY_CLIENTS = {"locations": {LOCATION: {"stock_from": "direct", "codes": {"direct": LOCATION}}}}
"""Laid over the tenant: a location whose stock is told through /v1, so that the shop is told of it."""


def flood(system: System, *, reports: int, say: Callable[[str], None]) -> dict[str, Any]:
    """So many counts over every article of the tenant, some of them twice and some late, as fast as they are taken; until all are applied or recognised."""
    skus = sorted(system.stack.spec.articles)
    began_at = datetime.now(UTC) - timedelta(hours=1)
    before = {sku: _heard(system, sku) for sku in skus}
    sent: dict[str, int] = dict.fromkeys(skus, 0)
    newest: dict[str, tuple[datetime, int]] = {}
    batches: list[list[dict[str, Any]]] = [[]]
    for number in range(reports):
        sku = skus[number % len(skus)]
        # Every tenth is an older word than the one before it, every eleventh the same again.
        moment = began_at + timedelta(seconds=number if number % 10 else max(0, number - 3 * len(skus)))
        told = (moment, 1000 + number)
        if number % 11 == 0 and sku in newest:
            told = newest[sku]
        if sku not in newest or told[0] > newest[sku][0]:
            newest[sku] = told
        sent[sku] += 1
        if len(batches[-1]) == TOGETHER:
            batches.append([])
        batches[-1].append({"sku": sku, "location": LOCATION, "at": rfc3339(told[0]), "on_hand": str(told[1])})
    began = time.monotonic()
    with ThreadPoolExecutor(4) as senders:
        for done in [senders.submit(_post, system, batch) for batch in batches]:
            done.result()
    taken = time.monotonic() - began
    said = time.monotonic()
    while (heard := sum(_heard(system, sku) - before[sku] for sku in skus)) < reports:
        if time.monotonic() - began > 120 + reports / 10:
            raise BenchFailed(f"{heard} of {reports} reports were heard of after {time.monotonic() - began:.0f} s")
        if time.monotonic() - said > 10:
            said = time.monotonic()
            say(f"  {heard} of {reports} reports applied or recognised")
        time.sleep(0.5)
    seconds = time.monotonic() - began
    wrong = [sku for sku in skus if (level := system.stack.services.stock.level(sku, LOCATION)) is None or (level.as_of, int(level.on_hand)) != newest[sku]]
    say(f"{reports} reports in {seconds:.0f} s: {reports / seconds:.0f} a second, {len(wrong)} articles do not hold the newest")
    return {
        "reports": reports,
        "taken_seconds": round(taken, 1),
        "seconds": round(seconds, 1),
        "per_second": round(reports / seconds, 1),
        "share_of_goal": round(reports / seconds / GOAL_PER_SECOND, 3),
        "lost": reports - heard,
        "newest_does_not_hold": len(wrong),
    }


def _heard(system: System, sku: str) -> int:
    """Reports on the SKU at the location that were applied, late, or told before."""
    level = system.stack.services.stock.level(sku, LOCATION)
    entries = 0 if level is None else level.changes
    return 0 if level is None else entries + level.late + level.duplicates


def _post(system: System, batch: list[dict[str, Any]]) -> None:
    headers = {"x-api-key": next(iter(system.doors["api_keys"].values())), "Idempotency-Key": f"bench-{time.time_ns()}", "Content-Type": "application/json"}
    for _ in range(30):
        reply = control.send("POST", f"{system.doors['api_url']}/v1/inventory", json.dumps({"reports": batch}).encode(), headers)
        if reply.status == 202:
            return
        time.sleep(0.5)
    raise BenchFailed(f"a report was answered {reply.status}: {reply.body[:300]!r}")


def shown_after(system: System, *, changes: int, every: float, say: Callable[[str], None]) -> dict[str, Any]:
    """From a warehouse's word to the figure in the shop, at a normal load: one change every so many seconds, each of another article."""
    skus = sorted(system.stack.spec.articles)
    code = int(system.stack.spec.locations[LOCATION].codes["storefront"])
    waiting: dict[str, tuple[float, int]] = {}
    took: list[float] = []
    for number in range(changes + 60):
        if number < changes:
            sku = skus[number % len(skus)]
            on_hand = 5000 + number
            safety = system.stack.spec.locations[LOCATION].safety_stock.get(sku, system.stack.spec.locations[LOCATION].default_safety_stock)
            committed = level.committed if (level := system.stack.services.stock.level(sku, LOCATION)) else Decimal(0)
            _post(system, [{"sku": sku, "location": LOCATION, "at": rfc3339(datetime.now(UTC)), "on_hand": str(on_hand)}])
            waiting[sku] = (time.monotonic(), int(on_hand - safety - committed))
        until = time.monotonic() + every
        while time.monotonic() < until and waiting:
            state = control.get(system.doors["simulators"]["storefront"], "/_state")
            items = {variant["inventory_item_id"]: variant["sku"] for variant in state["variants"]}
            levels = {items.get(level["inventory_item_id"]): int(level["available"]) for level in state["inventory_levels"] if int(level["location_id"]) == code}
            now = time.monotonic()
            took += [now - waiting.pop(sku)[0] for sku in [sku for sku, (_, figure) in waiting.items() if levels.get(sku) == figure]]
            time.sleep(0.1)
        if number >= changes and not waiting:
            break
    if waiting:
        raise BenchFailed(f"the shop never showed {waiting}")
    took.sort()
    found = {"changes": changes, "every_seconds": every, "p50": round(statistics.median(took), 1), "p95": round(took[int(len(took) * 0.95) - 1], 1), "slowest": round(took[-1], 1)}
    say(f"the shop shows a change after {found['p50']} s, 95 of 100 within {found['p95']} s, the slowest after {found['slowest']} s")
    return found


def contention(system: System, *, reservations: int, at_once: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Reservations of one piece, all of one SKU and spread over fifty: what one item's writers cost each other."""
    stock = system.stack.services.stock
    found = []
    for spread in (1, 50):
        names = [f"BENCH-{time.time_ns()}-{number}" for number in range(spread)]
        for name in names:
            stock.count(StockReading(sku=name, location="BENCH", on_hand=Decimal(reservations), as_of=datetime.now(UTC)), safety=Decimal(0), source="bench")
        tries = threading.Semaphore(0)

        def one(number: int, names: list[str] = names, tries: threading.Semaphore = tries) -> None:
            line = ReservedLine(sku=names[number % len(names)], location="BENCH", quantity=Decimal(1))
            reservation = Reservation(order_id=f"bench-{names[0]}-{number}", lines=(line,), made_at=datetime.now(UTC))
            for _ in range(200):
                try:
                    short = stock.reserve(reservation)
                except RetryLater:
                    tries.release()
                    time.sleep(0.02)
                    continue
                if short is not None:
                    raise BenchFailed("there was enough, and a reservation was refused")
                return
            raise BenchFailed("a reservation found the store busy two hundred times")

        began = time.monotonic()
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(one, range(reservations)))
        seconds = time.monotonic() - began
        committed = sum(int(level.committed) for name in names for level in stock.everywhere(name))
        if committed != reservations:
            raise BenchFailed(f"{committed} committed of {reservations}")
        again = tries._value
        found.append({"skus": spread, "reservations": reservations, "at_once": at_once, "per_second": round(reservations / seconds), "told_to_come_again": again})
        say(f"{reservations} reservations over {spread} SKU(s), {at_once} at once: {reservations / seconds:.0f} a second, {again} times told to come again")
    return found
