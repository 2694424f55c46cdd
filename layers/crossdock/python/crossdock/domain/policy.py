"""Which differences may pass, and which hold an order for a person? Pure rules over the tenant's policy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from crossdock.domain.customer import CreditStanding
from crossdock.domain.events import fingerprint
from crossdock.domain.money import Money
from crossdock.domain.order import Order
from crossdock.domain.order_record import Approval
from crossdock.domain.price import Price
from crossdock.domain.tenant import HoldKind, TenantSpec, Tolerance

HUNDRED = Decimal(100)


@dataclass(frozen=True)
class Hold:
    """Why an order waits for a person, with both sides of the difference as they are shown."""

    kind: HoldKind
    code: str
    detail: str
    remedy: str
    seen: Mapping[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """An approval covers exactly what was seen."""
        return fingerprint({"kind": self.kind.value, "seen": dict(self.seen)})


def within(tolerance: Tolerance, *, expected: Money, actual: Money) -> bool:
    """True when the amounts differ by no more than the tolerance's percentage of ``expected`` or its amount, whichever is larger."""
    difference = (actual - expected).magnitude().amount
    return difference <= max(tolerance.amount, abs(expected.amount) * tolerance.percent / HUNDRED)


def not_approved(hold: Hold | None, approvals: Iterable[Approval]) -> Hold | None:
    """The hold unless a person has let exactly this pass already."""
    if hold is not None and any(approval.kind is hold.kind and approval.fingerprint == hold.fingerprint for approval in approvals):
        return None
    return hold


def address_hold(order: Order) -> Hold | None:
    missing = order.ship_to.missing()
    if not missing or not any(line.requires_shipping for line in order.lines):
        return None
    return Hold(
        HoldKind.ADDRESS,
        "ADDRESS_INCOMPLETE",
        f"the ship-to address lacks {', '.join(missing)}",
        "complete it with `crossdock exceptions edit`, then retry",
        {"missing": ", ".join(missing)},
    )


def total_hold(order: Order, spec: TenantSpec) -> Hold | None:
    """The order's own parts must add up to what the customer agreed to pay."""
    if within(spec.tax.tolerance, expected=order.computed_total, actual=order.total):
        return None
    return Hold(
        HoldKind.TAX,
        "TOTAL_MISMATCH",
        f"lines, freight and tax make {order.computed_total}, the order says {order.total}",
        "find the missing part (a fee, a rounding, a duty) and approve or reject",
        {"computed": str(order.computed_total), "order": str(order.total)},
    )


def expected_tax(order: Order, spec: TenantSpec) -> Money | None:
    """What the tenant's tax policy makes of the order; None where the policy says nothing of the place."""
    place = order.ship_to
    rates = spec.tax.rates
    rate = rates.get(f"{place.country}-{place.region}", rates.get(place.country))
    if rate is None:
        return None
    base = order.goods + order.freight if spec.tax.freight_taxed else order.goods
    return (base * (rate / HUNDRED)).rounded()


def tax_hold(order: Order, spec: TenantSpec) -> Hold | None:
    expected = expected_tax(order, spec)
    if expected is None or within(spec.tax.tolerance, expected=expected, actual=order.tax):
        return None
    return Hold(
        HoldKind.TAX,
        "TAX_DIFFERENCE",
        f"the storefront charged {order.tax} tax, the policy for {order.ship_to.country}-{order.ship_to.region} makes {expected}",
        "approve when the storefront is right (exemption, local tax), else correct and retry",
        {"storefront": str(order.tax), "policy": str(expected)},
    )


def freight_hold(order: Order, spec: TenantSpec) -> Hold | None:
    policy = spec.freight
    charge = policy.charges.get(order.shipping_method)
    if charge is None:
        if not policy.closed or not order.shipping_method:
            return None
        return Hold(
            HoldKind.FREIGHT,
            "FREIGHT_DIFFERENCE",
            f"the shipping method {order.shipping_method!r} is not in the freight policy",
            "approve, or add it to freight.charges",
            {"method": order.shipping_method, "storefront": str(order.freight)},
        )
    expected = Money(amount=charge, currency=order.currency)
    if policy.free_from is not None and order.goods.amount >= policy.free_from:
        expected = Money.zero(order.currency)
    if within(policy.tolerance, expected=expected, actual=order.freight):
        return None
    return Hold(
        HoldKind.FREIGHT,
        "FREIGHT_DIFFERENCE",
        f"the storefront charged {order.freight} for {order.shipping_method!r}, the policy says {expected}",
        "approve when it was agreed with the customer, else correct and retry",
        {"storefront": str(order.freight), "policy": str(expected)},
    )


def price_hold(order: Order, prices: Mapping[str, Price | None], spec: TenantSpec) -> Hold | None:
    """``prices`` by line id, per ordered unit. A missing price means the ERP does not sell the item."""
    unknown = [line.sku for line in order.lines if prices.get(line.line_id) is None]
    if unknown:
        return Hold(
            HoldKind.SKU,
            "UNKNOWN_SKU",
            f"the ERP does not know or does not sell {', '.join(sorted(set(unknown)))}",
            "create or unblock the item in the ERP, then retry",
            {"skus": ", ".join(sorted(set(unknown)))},
        )
    differing: dict[str, str] = {}
    for line, price in ((line, price) for line in order.lines if (price := prices[line.line_id]) is not None):
        # Two lines may sell one SKU at two prices: an approval covers both, so both are named.
        name = line.sku if line.sku not in differing else f"{line.sku} (line {line.line_id})"
        if price.price.currency != order.currency:
            differing[name] = f"storefront {line.unit_price.exact()}, ERP {price.price.exact()} (another currency)"
        elif not within(spec.price_tolerance, expected=price.price, actual=line.unit_price):
            differing[name] = f"storefront {line.unit_price.exact()}, ERP {price.price.exact()}"
    if not differing:
        return None
    text = "; ".join(f"{sku}: {pair}" for sku, pair in differing.items())
    return Hold(HoldKind.PRICE, "PRICE_DIFFERENCE", f"unit prices differ beyond the tolerance: {text}"[:900], "approve to honour the storefront's price, or reject", differing)


def credit_hold(order: Order, standing: CreditStanding | None, account: str) -> Hold | None:
    if standing is None:
        return Hold(
            HoldKind.CUSTOMER,
            "UNKNOWN_CUSTOMER",
            f"the ERP has no account {account}",
            "create the account in the ERP or correct the cross-reference, then retry",
            {"account": account},
        )
    if standing.blocked:
        return Hold(HoldKind.CREDIT, "CUSTOMER_BLOCKED", f"account {account} is blocked in the ERP", "clear the block with finance, then retry or approve", {"account": account})
    if standing.limit is None:
        return None
    if standing.limit.currency != order.currency:
        return Hold(
            HoldKind.CREDIT,
            "CREDIT_LIMIT",
            f"the order is in {order.currency}, the credit of account {account} in {standing.limit.currency}",
            "decide by hand: approve or reject",
            {"limit": str(standing.limit), "order": str(order.total)},
        )
    if standing.balance + order.total <= standing.limit:
        return None
    return Hold(
        HoldKind.CREDIT,
        "CREDIT_LIMIT",
        f"balance {standing.balance} and this order of {order.total} exceed the limit {standing.limit} of account {account}",
        "approve to release the order over the limit, or reject to cancel it",
        {"limit": str(standing.limit), "balance": str(standing.balance), "order": str(order.total)},
    )


def erp_total_hold(order: Order, erp_total: Money | None, spec: TenantSpec) -> Hold | None:
    """After the sales order stands and before anything is released or invoiced: both sides must charge the same."""
    if erp_total is None or within(spec.erp_total_tolerance, expected=order.total, actual=erp_total):
        return None
    return Hold(
        HoldKind.ERP_TOTAL,
        "ERP_TOTAL_DIFFERENCE",
        f"the ERP computes {erp_total}, the customer agreed to {order.total}",
        "correct the sales order (tax area, prices, freight) and retry, or approve the difference",
        {"storefront": str(order.total), "erp": str(erp_total)},
    )
