"""How long does an order take, and how soon is a webhook answered, on the system that is up now? Prints numbers; asserts none."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from local.cli import control

LINES = 3


def webhook_seconds(door: dict[str, str], *, per_second: int, seconds: int) -> list[float]:
    """Answer times of signed webhooks sent at an even rate."""

    def one(index: int) -> float:
        body = json.dumps({"id": index}).encode()
        signature = base64.b64encode(hmac.new(door["secret"].encode(), body, hashlib.sha256).digest()).decode()
        headers = {"X-Shopify-Topic": "products/update", "X-Shopify-Hmac-Sha256": signature, "X-Shopify-Event-Id": f"measure-{time.time_ns()}-{index}"}
        started = time.monotonic()
        reply = control.send("POST", door["url"], body, headers)
        if reply.status != 200:
            raise control.ControlFailed(f"a webhook was answered {reply.status}")
        return time.monotonic() - started

    with ThreadPoolExecutor(per_second * 2) as pool:
        pending = []
        began = time.monotonic()
        for index in range(per_second * seconds):
            time.sleep(max(0.0, began + index / per_second - time.monotonic()))
            pending.append(pool.submit(one, index))
        return [call.result() for call in pending]


def order_seconds(tenant: dict[str, Any], place: dict[str, Any]) -> float:
    """From placing an order in the storefront to its completion, as /v1 shows it."""
    started = time.monotonic()
    made = control.post(tenant["simulators"]["storefront"], "/_actions/place_order", place)
    headers = {"x-api-key": next(iter(tenant["api_keys"].values()))}
    url = f"{tenant['api_url']}/v1/orders/storefront-{made['id']}"
    while time.monotonic() - started < 120:
        reply = control.send("GET", url, headers=headers)
        if reply.status == 200 and reply.json()["status"] == "completed":
            return time.monotonic() - started
        time.sleep(0.1)
    raise control.ControlFailed("the order did not complete within two minutes")


def main() -> None:
    """Reads `crossdock local up --json` on standard input; measures the first tenant."""
    up = json.load(sys.stdin)
    name, tenant = next(iter(up["tenants"].items()))
    place = {
        "customer": {"email": "purchasing@blueridge-fab.example"},
        "lines": [{"sku": sku, "quantity": 2, "price": price} for sku, price in (("AC-BRG-6204", "8.40"), ("AC-BRG-6305", "14.75"), ("AC-VLV-075", "11.95"))],
        "shipping_address": {
            "first_name": "Nora",
            "last_name": "Castillo",
            "address1": "418 Foundry Road",
            "city": "Joliet",
            "province_code": "IL",
            "country_code": "US",
            "zip": "60432",
        },
        "shipping_price": "25.00",
        "tax": [{"title": "State Tax", "rate": "0.0625"}],
    }
    orders = [order_seconds(tenant, place) for _ in range(5)]
    webhooks = sorted(webhook_seconds(tenant["webhooks"]["storefront"], per_second=10, seconds=20))
    print(f"{name}: a {LINES}-line order from storefront to completion: {', '.join(f'{value:.1f}' for value in orders)} s (median {statistics.median(orders):.1f} s)")
    print(f"{name}: a {LINES}-line order from storefront to completion: {', '.join(f'{value:.1f}' for value in orders)} s (median {statistics.median(orders):.1f} s)")
    middle, high, top = (webhooks[int(len(webhooks) * share)] * 1000 for share in (0.5, 0.99, 0.9999))
    print(f"{name}: {len(webhooks)} webhooks at 10 a second: p50 {middle:.0f} ms, p99 {high:.0f} ms, slowest {top:.0f} ms")


if __name__ == "__main__":
    main()
