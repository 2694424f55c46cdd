"""Which orders do the stories place? Payloads as the storefront would make them, at the list prices of the simulated ERP."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tests.scenarios.system import Tenant, eventually

IL = {
    "first_name": "Nora",
    "last_name": "Castillo",
    "company": "Blue Ridge Fabrication",
    "address1": "418 Foundry Road",
    "city": "Joliet",
    "province_code": "IL",
    "country_code": "US",
    "zip": "60432",
}
RATE_IL = Decimal("0.0625")
FREIGHT = Decimal("25.00")
PRICES = {
    "AC-BRG-6204": Decimal("8.40"),
    "AC-BRG-6305": Decimal("14.75"),
    "AC-VLV-075": Decimal("11.95"),
    "AC-VLV-100": Decimal("18.60"),
    "AC-PMP-200": Decimal("289.00"),
    "AC-MTR-050": Decimal("214.50"),
    "AC-LUB-WHT": Decimal("7.90"),
    "AC-TAP-PTF": Decimal("1.35"),
    "AC-BLT-M10": Decimal("31.20"),
    "BRG-6204-OLD": Decimal("8.40"),
}
BLUE_RIDGE = {"email": "purchasing@blueridge-fab.example"}
LAKESIDE = {"email": "orders@lakeside-plumbing.example"}


def place(tenant: Tenant, lines: list[tuple[str, int]], **more: Any) -> str:
    """Places an order in the simulated shop, which sends its signed webhook; our id of it."""
    return f"storefront-{placed(tenant, lines, **more)['id']}"


def placed(
    tenant: Tenant,
    lines: list[tuple[str, int]],
    *,
    customer: dict[str, Any] | None = None,
    prices: dict[str, Decimal] | None = None,
    address: dict[str, Any] | None = None,
    freight: Decimal = FREIGHT,
    rate: Decimal = RATE_IL,
) -> dict[str, Any]:
    """The same; the shop's own document of it."""
    made: dict[str, Any] = tenant.act(
        "storefront",
        "place_order",
        customer=customer or BLUE_RIDGE,
        lines=[{"sku": sku, "quantity": quantity, "price": str((prices or PRICES)[sku])} for sku, quantity in lines],
        shipping_address=address or IL,
        shipping_price=str(freight),
        shipping_title="Standard freight",
        tax=[{"title": "State Tax", "rate": str(rate)}],
    )
    return made


def arrived(tenant: Tenant, order_id: str) -> dict[str, Any]:
    found: dict[str, Any] = eventually(lambda: tenant.order(order_id), f"{order_id} accepted", within=30)
    return found
