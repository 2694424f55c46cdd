"""Against which ShipBob do the client's tests run? Our simulator, behind a real local port, called through the real HTTP module."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from crossdock import bootstrap
from crossdock.connectors.shipbob.client import ShipBobConnector
from crossdock.domain.address import Address
from crossdock.domain.commands import CancelFulfillment, ReleaseFulfillment
from crossdock.domain.connector import ConnectionContext
from crossdock.domain.customer import Customer
from crossdock.domain.money import Money
from crossdock.domain.order import Order, OrderLine
from crossdock.domain.quantity import Quantity
from crossdock.domain.shipment import Fulfillment, PartLine
from crossdock.http import OutboundHttp
from local.simulators.clock import SystemClock
from local.simulators.server import Config, Served

USD = "USD"
PLACED = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


class ThreePl:
    """A connector and the simulated ShipBob it speaks to."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.credentials = {"access_token": "pat-test", "channel_id": "4711"}
        self.connector = ShipBobConnector(
            ConnectionContext(
                manifest=bootstrap.load_manifest("shipbob"),
                tenant="acme_industrial",
                connection="threepl",
                base_url=served.url,
                settings={},
                credentials=lambda: self.credentials,
                http=OutboundHttp(hosts=[urlsplit(served.url).netloc], name="threepl"),
                clock=SystemClock(),
            )
        )

    def fault(self, **spec: Any) -> None:
        self.served.harness.ctx.faults.add(spec)

    def act(self, verb: str, **body: Any) -> Any:
        return self.served.harness.act(verb, body)

    @property
    def orders(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.served.harness.state()["orders"]
        return found


@pytest.fixture
def threepl(tmp_path: Path) -> Iterator[ThreePl]:
    config = Config(
        vendor="shipbob",
        state_file=str(tmp_path / "shipbob.sqlite"),
        credentials={"access_token": "pat-test", "channel_id": "4711"},
        autopilot={"enabled": False},
        seed={
            "fulfillment_centers": [{"id": 129, "name": "Moreno Valley (CA)", "state": "CA", "country": "US"}],
            "products": [{"sku": "BEARING", "name": "Bearing", "stock": {"129": 100}}, {"sku": "VALVE", "name": "Valve", "stock": {"129": 10}}],
        },
    )
    with Served(config) as served:
        yield ThreePl(served)


def release(part_id: str = "storefront-1.1", *lines: tuple[str, int], code: str = "129", **ship_to: str) -> ReleaseFulfillment:
    """Release a part with one line per (SKU, base quantity)."""
    wanted = lines or (("BEARING", 2),)
    address = {"name": "Rosa Lin", "line1": "4100 Canyon Crest Dr", "city": "Riverside", "region": "CA", "postal_code": "92507", "country": "US", **ship_to}
    order = Order(
        order_id="storefront-1",
        connection="storefront",
        external_id="1",
        number="#1001",
        placed_at=PLACED,
        currency=USD,
        customer=Customer(account="C-1", email="rosa@example.com"),
        ship_to=Address(**address),
        lines=tuple(
            OrderLine(
                line_id=str(number),
                external_id=str(number),
                sku=sku,
                quantity=Quantity.of(quantity, "EA"),
                unit_price=Money.of(1, USD),
                discount=Money.zero(USD),
                tax=Money.zero(USD),
            )
            for number, (sku, quantity) in enumerate(wanted, 1)
        ),
        freight=Money.zero(USD),
        freight_tax=Money.zero(USD),
        total=Money.of(2, USD),
    )
    part = Fulfillment(
        part_id=part_id,
        location="MOR",
        connection="threepl",
        lines=tuple(
            PartLine(line_id=str(number), sku=sku, quantity=Quantity.of(quantity, "EA"), base_quantity=Decimal(quantity)) for number, (sku, quantity) in enumerate(wanted, 1)
        ),
    )
    return ReleaseFulfillment(order=order, part=part, location_code=code, skus={sku: sku for sku, _ in wanted})


def cancel(external_id: str, part_id: str = "storefront-1.1") -> CancelFulfillment:
    return CancelFulfillment(order_id="storefront-1", part_id=part_id, external_id=external_id)
