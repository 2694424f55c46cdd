"""How much does the running system do in a second, and does it stay right when much comes at once?"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from crossdock.domain.errors import RetryLater
from crossdock.domain.stock import Reservation, ReservedLine, StockReading
from local.bench.running_system import BenchFailed, System

BODY_BYTES = 4500
"""A webhook of an order with a few lines."""

_numbers = count(time.time_ns())


# ------------------------------------------------------------------ webhooks


def webhooks(system: System, bare_url: str, *, rounds: int, each: int, at_once: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Signed webhooks against the empty function, round by round in turn: first the intake alone, then with all stages behind it at work on the
    same processor."""
    alone = intake_alone(system, bare_url, rounds=rounds, each=each, at_once=at_once, say=say)
    whole = _rounds(system, bare_url, rounds=2, each=each // 2, at_once=at_once, say=say, what="with everything behind it")
    return {"body_bytes": BODY_BYTES, "at_once": at_once, "each": each, "intake_alone": alone, "everything": whole}


def intake_alone(system: System, bare_url: str, *, rounds: int, each: int, at_once: int, say: Callable[[str], None]) -> dict[str, Any]:
    """What it queues is left for afterwards: on AWS it would be worked by other processors, here it would be by the same."""
    mapping, client = _inbound_mapping(system), system.stack.session.client("lambda")
    client.update_event_source_mapping(UUID=mapping, Enabled=False)
    try:
        found = _rounds(system, bare_url, rounds=rounds, each=each, at_once=at_once, say=say, what="intake alone")
    finally:
        client.update_event_source_mapping(UUID=mapping, Enabled=True)
    said = began = time.monotonic()
    while waiting := system.queued():
        if time.monotonic() - said > 15:
            said = time.monotonic()
            say(f"  {waiting} messages are still to be worked")
        if time.monotonic() - began > 900:
            raise BenchFailed("the queues do not become empty after the webhooks")
        time.sleep(0.5)
    return found


def _inbound_mapping(system: System) -> str:
    name = system.function_names()["translate_delivery"]
    found: str = system.stack.session.client("lambda").list_event_source_mappings(FunctionName=name)["EventSourceMappings"][0]["UUID"]
    return found


def _rounds(system: System, bare_url: str, *, rounds: int, each: int, at_once: int, say: Callable[[str], None], what: str) -> dict[str, Any]:
    door = system.doors["webhooks"]["storefront"]
    ours: list[float] = []
    bare: list[float] = []
    slow: list[float] = []
    for number in range(rounds + 1):
        for rates, url, secret in ((ours, door["url"], door["secret"]), (bare, bare_url, "none")):
            rate, times = _burst(url, secret, each=each if number else at_once * 2, at_once=at_once)
            if number:  # the first round only wakes the workers
                rates.append(rate)
                if rates is ours:
                    slow.extend(times)
        if number:
            say(f"webhooks, {what}, round {number} of {rounds}: {ours[-1]:.0f}/s against {bare[-1]:.0f}/s of an empty function")
    ratios = [own / empty for own, empty in zip(ours, bare, strict=True)]
    slow.sort()
    return {
        "rounds": rounds,
        "ours_per_second": _spread(ours),
        "bare_per_second": _spread(bare),
        "ratio": _spread(ratios),
        "answer_ms": {"p50": round(slow[len(slow) // 2] * 1000, 1), "p99": round(slow[int(len(slow) * 0.99)] * 1000, 1), "slowest": round(slow[-1] * 1000, 1)},
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": round(statistics.median(values), 3), "low": round(min(values), 3), "high": round(max(values), 3)}


def _burst(url: str, secret: str, *, each: int, at_once: int) -> tuple[float, list[float]]:
    """Webhooks a second, and how long each took, with so many senders that each wait for their answer."""
    split = urlsplit(url)
    left = iter(range(each))
    lock = threading.Lock()
    times: list[float] = []

    def send() -> None:
        connection = http.client.HTTPConnection(split.netloc, timeout=60)
        while True:
            with lock:
                if next(left, None) is None:
                    break
                number = next(_numbers)
            body = json.dumps({"id": number, "title": "bench", "padding": "x" * (BODY_BYTES - 60)}).encode()
            signature = base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()
            headers = {"Content-Type": "application/json", "X-Shopify-Topic": "products/update", "X-Shopify-Hmac-Sha256": signature, "X-Shopify-Event-Id": f"bench-{number}"}
            began = time.monotonic()
            connection.request("POST", split.path, body=body, headers=headers)
            reply = connection.getresponse()
            reply.read()
            if reply.status != 200:
                raise BenchFailed(f"a webhook was answered {reply.status}")
            with lock:
                times.append(time.monotonic() - began)
        connection.close()

    began = time.monotonic()
    with ThreadPoolExecutor(at_once) as pool:
        for sender in [pool.submit(send) for _ in range(at_once)]:
            sender.result()
    return each / (time.monotonic() - began), times


# ------------------------------------------------------------------ orders


def orders(
    system: System,
    sizes: Sequence[int],
    *,
    open_at_once: int,
    budget_seconds: float,
    say: Callable[[str], None],
    counting: Callable[[], Callable[[int], Mapping[str, float]]] | None = None,
) -> dict[str, Any]:
    """So many orders, never more than ``open_at_once`` open, from the storefront's webhook to the invoice. A size that would not fit into what is
    left of the budget is left out and named. ``counting`` begins a count and answers what tells it, for so many orders."""
    found: dict[str, Any] = {"open_at_once": open_at_once, "sizes": [], "left_out": []}
    began = time.monotonic()
    pace = 0.0
    for size in sizes:
        left = budget_seconds - (time.monotonic() - began)
        if pace and size * pace > left:
            why = f"would take about {size * pace / 60:.0f} minutes at {pace:.2f} s an order; {max(0, left) / 60:.0f} minutes were left"
            found["left_out"].append({"orders": size, "why": why})
            say(f"{size} orders left out: {why}")
            continue
        tell = counting() if counting else None
        seconds = _through(system, size, open_at_once, say)
        pace = seconds / size
        found["sizes"].append({"orders": size, "seconds": round(seconds, 1), "seconds_per_order": round(pace, 3), **(tell(size) if tell else {})})
        say(f"{size} orders in {seconds:.0f} s: {pace:.2f} s each, {size / seconds:.2f} a second")
    return found


def _through(system: System, size: int, open_at_once: int, say: Callable[[str], None]) -> float:
    before = system.closed()
    began = told = time.monotonic()
    placed = done = 0
    while done < size:
        while placed < size and placed - done < open_at_once:
            system.place()
            placed += 1
        now = system.closed() - before
        if now == done and time.monotonic() - began > 600 + 5 * size:
            raise BenchFailed(f"{size - done} of {size} orders are not closed")
        done = now
        if time.monotonic() - told > 15:
            told = time.monotonic()
            say(f"  {done} of {size} orders closed")
        time.sleep(0.2)
    return time.monotonic() - began


# ------------------------------------------------------------------ one SKU that everybody wants


def hot_sku(system: System, *, units: int = 100, callers: int = 200, say: Callable[[str], None]) -> dict[str, Any]:
    """Parallel reservations of one unit each through the store's own adapter, against the engine's table, until each has its answer."""
    stock = system.stack.services.stock
    sku, location, run = f"BENCH-HOT-{time.time_ns()}", "BENCH", time.time_ns()
    stock.count(StockReading(sku=sku, location=location, on_hand=Decimal(units), as_of=datetime.now(UTC)), safety=Decimal(0), source="bench")
    barrier = threading.Barrier(callers)

    def one(number: int) -> tuple[bool, int]:
        line = ReservedLine(sku=sku, location=location, quantity=Decimal(1))
        reservation = Reservation(order_id=f"bench-{run}-{number}", lines=(line,), made_at=datetime.now(UTC))
        barrier.wait()
        for again in range(100):
            try:
                return stock.reserve(reservation) is None, again
            except RetryLater:
                time.sleep(0.05)
        raise BenchFailed("a reservation found the store busy a hundred times")

    began = time.monotonic()
    with ThreadPoolExecutor(callers) as pool:
        answers = list(pool.map(one, range(callers)))
    seconds = time.monotonic() - began
    level = stock.level(sku, location)
    if level is None:
        raise BenchFailed("the stock level has vanished")
    reserved = sum(1 for got, _ in answers if got)
    say(f"one SKU: {reserved} of {callers} reserved, {level.committed} committed, {level.available} left, {seconds:.1f} s")
    return {
        "units": units,
        "callers": callers,
        "reserved": reserved,
        "committed": int(level.committed),
        "available": int(level.available),
        "oversold": max(0, int(level.committed) - units),
        "sent_round_again": sum(again for _, again in answers),
        "seconds": round(seconds, 2),
    }


# ------------------------------------------------------------------ after an outage


def backlog(system: System, *, orders_per_hour: int, minutes: int, say: Callable[[str], None]) -> dict[str, Any]:
    """The ERP refuses everything while the orders of so many minutes arrive, one right after the other; then it is back."""
    size = orders_per_hour * minutes // 60
    system.fault("erp", match="*", status=503)
    began = time.monotonic()
    try:
        placed = {system.place() for _ in range(size)}
        while len(placed & set(system.statuses())) < size:
            time.sleep(0.5)
        time.sleep(20)  # the breaker has opened, the tries have spread
        stuck = system.statuses()
        waiting = sum(1 for order in placed if stuck[order] not in ("completed", "released"))
    finally:
        system.clear_faults("erp")
    outage = time.monotonic() - began
    say(f"{waiting} of {size} orders wait for the ERP, which is back after {outage:.0f} s")
    seconds = system.wait_for(placed, "completed", within=900, say=say)
    say(f"all {size} are completed {seconds:.0f} s after it came back")
    return {"orders": size, "orders_per_hour": orders_per_hour, "minutes": minutes, "outage_seconds": round(outage, 1), "waiting": waiting, "drain_seconds": round(seconds, 1)}
