"""What does Shopify's wording mean in ours, and ours in Shopify's? Pure functions, no I/O.

Rules, each once:
- The shop's currency counts (``currency`` and the plain amounts), not what the buyer saw in another one.
- A line's discount is the sum of its allocations, which hold its share of every discount.
- Where prices include tax, amounts are made net so that net plus tax is exactly what Shopify states.
- Shopify counts pieces: unit ``EA``, unless the line has a property ``unit``, ``_unit`` or ``uom`` (sold by the case).
- A line without SKU takes its variant's id as code, which the tenant's cross-reference can name; without both it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from crossdock.connectors.shopify import wire
from crossdock.domain.address import Address
from crossdock.domain.commands import ApproveReturn, RefundReturn
from crossdock.domain.customer import Customer
from crossdock.domain.errors import FieldProblem, Rejected
from crossdock.domain.events import OrderCancelled
from crossdock.domain.key import key_part
from crossdock.domain.model import plain, rfc3339
from crossdock.domain.money import Money
from crossdock.domain.order import Order, OrderLine
from crossdock.domain.quantity import Quantity
from crossdock.domain.return_ import Return, ReturnLine
from crossdock.domain.shipment import Shipment

PIECES = "EA"
UNIT_PROPERTIES = frozenset({"unit", "_unit", "uom", "_uom"})
STAFF_NOTE_CHARACTERS = 255
_UNIT = re.compile(r"^[A-Z0-9]{1,10}$")
_FINEST_PRICE = Decimal("0.0001")
_MOST = Decimal(10**14)
"""What one line may be worth: 500 of them, their tax and the freight then still add up exactly."""


def number_of(gid: str) -> str:
    """The plain number in a global id: ``gid://shopify/Order/17`` is ``17``."""
    return gid.rsplit("/", 1)[-1].split("?", 1)[0]


def gid_of(kind: str, code: str) -> str:
    """The global id of a plain number; one that is a global id already stays."""
    return code if code.startswith("gid://") else f"gid://shopify/{kind}/{code}"


def order_id_of(connection: str, gid: str) -> str:
    return key_part(f"{connection}-{number_of(gid)}")


# ------------------------------------------------------------------------------------------------ from Shopify
def order_from_wire(order: wire.Order, *, connection: str) -> Order:
    """The order with Shopify's own SKUs. Raises ``Rejected`` for a line without any code."""
    currency = order.currency
    freight, freight_tax = _freight(order)
    return Order(
        order_id=order_id_of(connection, order.admin_graphql_api_id),
        connection=connection,
        external_id=order.admin_graphql_api_id,
        number=order.name,
        placed_at=order.created_at,
        currency=currency,
        customer=customer_from_wire(order),
        ship_to=address_from_wire(order.shipping_address, email=_email(order)),
        bill_to=None if order.billing_address is None else address_from_wire(order.billing_address, email=_email(order)),
        lines=tuple(line_from_wire(line, index, currency=currency, taxes_included=order.taxes_included) for index, line in enumerate(order.line_items)),
        freight=Money.of(freight, currency),
        freight_tax=Money.of(freight_tax, currency),
        shipping_method=_shipping_method(order),
        total=Money.of(order.total_price, currency),
        purchase_order=(order.po_number or "").strip(),
        note=(order.note or "")[:1000],
        prices_include_tax=order.taxes_included,
        source_version=rfc3339(order.updated_at),
    )


def line_from_wire(line: wire.LineItem, index: int, *, currency: str, taxes_included: bool) -> OrderLine:
    discount = sum((allocation.amount for allocation in line.discount_allocations), Decimal(0))
    tax = sum((tax.price for tax in line.tax_lines), Decimal(0))
    unit_price = line.price
    place, worth = f"line_items.{index}", line.price * line.quantity
    if worth >= _MOST:
        raise _adds_up_to_nothing(f"{place}.quantity", "times price is more than can be held exactly")
    if discount > worth:
        raise _adds_up_to_nothing(f"{place}.discount_allocations", "is more than the line is worth")
    if tax >= _MOST or (taxes_included and tax > worth - discount):
        raise _adds_up_to_nothing(f"{place}.tax_lines", "is more than can be inside the price")
    if taxes_included:
        unit_price, discount = net_of_tax(line.price, line.quantity, discount, tax)
    number = number_of(line.admin_graphql_api_id)
    group = line.sales_line_item_group_id
    return OrderLine(
        line_id=number,
        external_id=number,
        sku=_sku(line, index),
        description=(line.name or line.title)[:1000],
        quantity=Quantity.of(line.quantity, _unit(line, index)),
        unit_price=Money.of(unit_price, currency),
        discount=Money.of(discount, currency),
        tax=Money.of(tax, currency),
        requires_shipping=line.requires_shipping and not line.gift_card,
        group=None if group is None else str(group),
    )


def net_of_tax(price: Decimal, quantity: int, discount: Decimal, tax: Decimal) -> tuple[Decimal, Decimal]:
    """Unit price and discount without the tax inside them, so that the line's net is exactly what was paid less the tax.

    The unit price is rounded up to the hundredth of a cent; the discount takes the difference, which is why it never is negative.
    """
    paid = price * quantity - discount
    net = paid - tax
    share = net / paid if paid else Decimal(1)
    unit_price = (price * share).quantize(_FINEST_PRICE, ROUND_CEILING)
    return unit_price, unit_price * quantity - net


def customer_from_wire(order: wire.Order) -> Customer:
    """Everything the buyer may be known by, the most specific first: company location, company, customer, e-mail."""
    ids: list[str] = []
    if order.company is not None:
        if order.company.location_id is not None:
            ids.append(gid_of("CompanyLocation", str(order.company.location_id)))
        if order.company.id is not None:
            ids.append(gid_of("Company", str(order.company.id)))
    if order.customer is not None:
        ids.append(order.customer.admin_graphql_api_id)
    email = _email(order)
    if email:
        ids.append(email)
    person = order.customer
    name = f"{person.first_name or ''} {person.last_name or ''}".strip() if person else ""
    company = next((address.company for address in (order.billing_address, order.shipping_address) if address and address.company), "")
    return Customer(external_ids=tuple(ids), name=name, email=email, company=company)


def address_from_wire(address: wire.Address | None, *, email: str = "") -> Address:
    """An absent address is an empty one: whether the order can do without is decided elsewhere."""
    if address is None:
        return Address(email=email)
    name = address.name or f"{address.first_name or ''} {address.last_name or ''}"
    return Address(
        name=name.strip(),
        company=(address.company or "").strip(),
        line1=(address.address1 or "").strip(),
        line2=(address.address2 or "").strip(),
        city=(address.city or "").strip(),
        region=(address.province_code or address.province or "").strip(),
        postal_code=(address.zip or "").strip(),
        country=(address.country_code or "").strip().upper(),
        phone=(address.phone or "").strip(),
        email=email,
    )


def polled_from_wire(order: wire.PolledOrder) -> dict[str, object]:
    """The order in the words of its webhook, so that one mapping decides what it means, whichever way it came."""
    buyer = order.purchasingEntity
    company = None if buyer is None or buyer.company is None else {"id": number_of(buyer.company.id), "location_id": number_of(buyer.location.id) if buyer.location else None}
    return {
        "admin_graphql_api_id": order.id,
        "name": order.name,
        "created_at": order.createdAt,
        "updated_at": order.updatedAt,
        "currency": order.currencyCode,
        "taxes_included": order.taxesIncluded,
        "total_price": order.totalPriceSet.shopMoney.amount,
        "email": order.email,
        "note": order.note,
        "po_number": order.poNumber,
        "customer": None
        if order.customer is None
        else {
            "admin_graphql_api_id": order.customer.id,
            "email": order.customer.email,
            "first_name": order.customer.firstName,
            "last_name": order.customer.lastName,
        },
        "company": company,
        "shipping_address": _polled_address(order.shippingAddress),
        "billing_address": _polled_address(order.billingAddress),
        "line_items": [
            {
                "admin_graphql_api_id": line.id,
                "sku": line.sku,
                "title": line.title,
                "name": line.name,
                "quantity": line.quantity,
                "price": line.originalUnitPriceSet.shopMoney.amount,
                "requires_shipping": line.requiresShipping,
                "gift_card": line.isGiftCard,
                "variant_id": None if line.variant is None else number_of(line.variant.id),
                "sales_line_item_group_id": None if line.lineItemGroup is None else number_of(line.lineItemGroup.id),
                "properties": [{"name": pair.key, "value": pair.value} for pair in line.customAttributes],
                **_polled_amounts(line),
            }
            for line in order.lineItems.nodes
        ],
        "shipping_lines": [
            {"title": line.title, "code": line.code, "price": line.originalPriceSet.shopMoney.amount, "is_removed": line.isRemoved, **_polled_amounts(line)}
            for line in order.shippingLines.nodes
        ],
    }


def polled_cancellation_from_wire(order: wire.PolledOrder, *, connection: str) -> OrderCancelled:
    return OrderCancelled(order_id=order_id_of(connection, order.id), reason=(order.cancelReason or "").lower(), cancelled_at=order.cancelledAt or order.updatedAt)


def _polled_amounts(line: wire.PolledLine | wire.PolledShippingLine) -> dict[str, object]:
    return {
        "tax_lines": [{"price": tax.priceSet.shopMoney.amount} for tax in line.taxLines],
        "discount_allocations": [{"amount": allocation.allocatedAmountSet.shopMoney.amount} for allocation in line.discountAllocations],
    }


def _polled_address(address: wire.PolledAddress | None) -> dict[str, object] | None:
    if address is None:
        return None
    return {
        "first_name": address.firstName,
        "last_name": address.lastName,
        "name": address.name,
        "company": address.company,
        "address1": address.address1,
        "address2": address.address2,
        "city": address.city,
        "zip": address.zip,
        "province": address.province,
        "province_code": address.provinceCode,
        "country_code": address.countryCodeV2,
        "phone": address.phone,
    }


def cancellation_from_wire(order: wire.CancelledOrder, *, connection: str) -> OrderCancelled:
    return OrderCancelled(
        order_id=order_id_of(connection, order.admin_graphql_api_id),
        reason=order.cancel_reason or "",
        cancelled_at=order.cancelled_at,
    )


def _email(order: wire.Order) -> str:
    candidates = (order.email, order.contact_email, order.customer.email if order.customer else None)
    return next((candidate.strip().lower() for candidate in candidates if candidate and candidate.strip()), "")


def _freight(order: wire.Order) -> tuple[Decimal, Decimal]:
    """Freight after every discount and net of tax, and its tax. Lines that were taken off the order do not count."""
    gross = tax = Decimal(0)
    for line in order.shipping_lines:
        if not line.is_removed:
            gross += line.price - sum((allocation.amount for allocation in line.discount_allocations), Decimal(0))
            tax += sum((tax_line.price for tax_line in line.tax_lines), Decimal(0))
    net = gross - tax if order.taxes_included else gross
    if net < 0 or gross >= _MOST or tax >= _MOST:
        raise _adds_up_to_nothing("shipping_lines", "have more discount or tax than price, or more than can be held exactly")
    return net, tax


def _adds_up_to_nothing(path: str, problem: str) -> Rejected:
    return Rejected("INVALID_BODY", f"{path} {problem}", remedy="correct the named field and redrive", fields=[FieldProblem(path, problem)])


def _shipping_method(order: wire.Order) -> str:
    return ", ".join(line.title for line in order.shipping_lines if line.title and not line.is_removed)[:1000]


def _coded(sku: str | None, variant: str | int | None) -> str | None:
    found = (sku or "").strip()
    return found or (None if variant is None else f"variant-{variant}")


def _sku(line: wire.LineItem, index: int) -> str:
    code = _coded(line.sku, line.variant_id)
    if code is not None:
        return code
    raise Rejected(
        "INVALID_BODY",
        f"line {index + 1} ({line.title or line.name or 'untitled'}) has neither SKU nor variant",
        remedy="write the SKU into the line and redrive, or give the product a SKU in the shop",
        fields=[FieldProblem(f"line_items.{index}.sku", "is empty, and the line has no variant")],
    )


def _unit(line: wire.LineItem, index: int) -> str:
    return _unit_of(((given.name, given.value) for given in line.properties), f"line_items.{index}.properties")


def _unit_of(pairs: Iterable[tuple[str, object]], place: str) -> str:
    """The unit that a line's own properties name; pieces when they name none."""
    for name, value in pairs:
        if name.strip().lower() in UNIT_PROPERTIES and value not in (None, ""):
            unit = str(value).strip().upper()
            if not _UNIT.match(unit):
                problem = FieldProblem(place, f"{name} is no unit code: {value!r}")
                raise Rejected("INVALID_BODY", f"{value!r} is no unit code", remedy="use letters and digits, at most 10", fields=[problem])
            return unit
    return PIECES


def return_id_of(connection: str, gid: str) -> str:
    return key_part(f"RMA-{connection}-{number_of(gid)}")


def return_from_wire(found: wire.PolledReturn, *, connection: str) -> Return:
    """The return with Shopify's own SKUs; each line under the id its order line has here."""
    lines = []
    for index, line in enumerate(found.returnLineItems.nodes):
        item, place = line.fulfillmentLineItem.lineItem, f"returnLineItems.nodes.{index}.fulfillmentLineItem.lineItem"
        words = "; ".join(word.strip() for word in (line.returnReason, line.returnReasonNote, line.customerNote or "") if word.strip())
        lines.append(
            ReturnLine(
                sku=_coded(item.sku, None if item.variant is None else number_of(item.variant.id)) or number_of(item.id),
                quantity=Quantity.of(line.quantity, _unit_of(((pair.key, pair.value) for pair in item.customAttributes), f"{place}.customAttributes")),
                line_id=number_of(item.id),
                reason=words[:1000],
            )
        )
    return Return(
        return_id=return_id_of(connection, found.id),
        connection=connection,
        external_id=found.id,
        number=found.name,
        order_id=order_id_of(connection, found.order.id),
        requested_at=found.createdAt,
        lines=tuple(lines),
        needs_person="something else is wanted in exchange: agree it with the customer" if found.exchangeLineItems.nodes else "",
    )


# ------------------------------------------------------------------------------------------------ to Shopify
def tracking_to_wire(shipment: Shipment) -> wire.FulfillmentTrackingInput:
    """The shipment's tracking. Without any number the shipment's own id stands in: it is what a repeated call is recognised by."""
    numbers: dict[str, str] = {}
    for package in shipment.packages:
        if package.tracking_number.strip():
            numbers.setdefault(package.tracking_number.strip()[:255], package.tracking_url.strip())
    carrier = next((package.carrier.strip() for package in shipment.packages if package.carrier.strip()), None)
    if not numbers:
        return wire.FulfillmentTrackingInput(company=carrier, numbers=[shipment.shipment_id])
    urls = list(numbers.values())
    # Shopify pairs numbers and links by position, so links go only when every number has one.
    linked = all(url.startswith(("https://", "http://")) for url in urls)
    return wire.FulfillmentTrackingInput(company=carrier, numbers=list(numbers), urls=urls if linked else None)


def wanted_lines(lines: Sequence[tuple[str, Decimal]]) -> dict[str, int]:
    """Line item number to pieces, repeated lines summed. Raises ``Rejected`` for part of a piece, or for nothing at all."""
    if not lines:
        raise Rejected("VENDOR_REFUSED", "a shipment without lines confirms nothing", remedy="correct the shipment")
    wanted: dict[str, int] = {}
    for line_id, quantity in lines:
        if quantity != int(quantity) or quantity <= 0:
            raise Rejected("VENDOR_REFUSED", f"line {line_id}: Shopify ships whole pieces, not {quantity}", remedy="correct the shipped quantity")
        wanted[line_id] = wanted.get(line_id, 0) + int(quantity)
    return wanted


def confirmed_before(order: wire.OrderState, numbers: Sequence[str]) -> tuple[dict[str, int], list[wire.Fulfillment]]:
    """What fulfillments with exactly this tracking already confirm: pieces by line item number, and the fulfillments."""
    confirmed: dict[str, int] = {}
    found = []
    for fulfillment in order.fulfillments:
        known = {info.number for info in fulfillment.trackingInfo if info.number}
        if fulfillment.status in ("CANCELLED", "ERROR", "FAILURE") or known != set(numbers):
            continue
        found.append(fulfillment)
        for line in fulfillment.fulfillmentLineItems.nodes:
            number = number_of(line.lineItem.id)
            confirmed[number] = confirmed.get(number, 0) + (line.quantity or 0)
    return confirmed, found


def fulfillments_to_wire(order: wire.OrderState, missing: Mapping[str, int], tracking: wire.FulfillmentTrackingInput, *, notify_customer: bool) -> list[wire.FulfillmentInput]:
    """One input per location, because a fulfillment is made at one place. Raises ``Rejected`` when less is open than was shipped."""
    left = dict(missing)
    by_location: dict[str, list[wire.FulfillmentOrderLineItemsInput]] = {}
    for document in order.fulfillmentOrders.nodes:
        if document.status not in ("OPEN", "IN_PROGRESS"):
            continue
        chosen = []
        for line in document.lineItems.nodes:
            quantity = min(left.get(number_of(line.lineItem.id), 0), line.remainingQuantity)
            if quantity > 0:
                chosen.append(wire.FulfillmentOrderLineItemInput(id=line.id, quantity=quantity))
                left[number_of(line.lineItem.id)] -= quantity
        if chosen:
            place = document.assignedLocation.location
            entry = wire.FulfillmentOrderLineItemsInput(fulfillmentOrderId=document.id, fulfillmentOrderLineItems=chosen)
            by_location.setdefault(place.id if place else "", []).append(entry)
    short = {number: quantity for number, quantity in left.items() if quantity > 0}
    if short:
        held = any(document.status == "ON_HOLD" for document in order.fulfillmentOrders.nodes)
        lines = ", ".join(f"{quantity} of line {number}" for number, quantity in short.items())
        raise Rejected(
            "VENDOR_REFUSED",
            f"order {order.name} has not enough left to fulfil: {lines} too many" + (" (a fulfillment order is on hold)" if held else ""),
            remedy="release the hold in Shopify" if held else "compare the order's fulfillments in Shopify with the shipment",
        )
    return [wire.FulfillmentInput(lineItemsByFulfillmentOrder=entries, trackingInfo=tracking, notifyCustomer=notify_customer) for entries in by_location.values()]


def cancellation_to_wire(*, external_id: str, reason: str, order_id: str, refund: bool, notify_customer: bool) -> wire.OrderCancelArguments:
    reference = f" (ref {order_id})"
    room = STAFF_NOTE_CHARACTERS - len(reference)
    words = reason or "called off"
    note = (words if len(words) <= room else words[: room - 1] + "…") + reference
    return wire.OrderCancelArguments(
        orderId=gid_of("Order", external_id),
        reason="OTHER",
        restock=True,
        refundMethod=wire.OrderCancelRefundMethodInput(originalPaymentMethodsRefund=refund),
        notifyCustomer=notify_customer,
        staffNote=note,
    )


def sellable(available: Decimal) -> int:
    """Whole pieces that may be promised: never more than there are, never less than none."""
    return max(0, int(available.to_integral_value(ROUND_FLOOR)))


def stock_to_wire(*, item: str, location: str, quantity: int, change_from: int, reference: str) -> wire.InventorySetQuantitiesInput:
    entry = wire.InventoryQuantityInput(inventoryItemId=item, locationId=location, quantity=quantity, changeFromQuantity=change_from)
    return wire.InventorySetQuantitiesInput(name="available", reason="correction", referenceDocumentUri=reference, quantities=[entry])


# ------------------------------------------------------------------------------------------------ returns, to Shopify
NOTE_LENGTH = 255


def return_to_wire(intent: ApproveReturn, fulfillments: Sequence[wire.SentFulfillment], *, notify_customer: bool) -> dict[str, object]:
    """``ReturnInput`` with each line taken from what left. Raises ``Rejected`` when less has left in Shopify than is to come back."""
    lines = []
    for item in intent.lines:
        left = int(item.quantity)
        for sent in (sent for made in fulfillments if made.status == "SUCCESS" for sent in made.fulfillmentLineItems.nodes):
            taken = min(left, sent.quantity) if number_of(sent.lineItem.id) == number_of(item.external_line_id) else 0
            if taken > 0:
                note = f"{intent.return_id} {item.reason}".strip()[:NOTE_LENGTH]
                lines.append({"fulfillmentLineItemId": sent.id, "quantity": taken, "returnReason": "OTHER", "returnReasonNote": note})
                left -= taken
        if left > 0:
            raise Rejected(
                "VENDOR_REFUSED",
                f"{left} of line {item.external_line_id} to come back are not fulfilled in Shopify",
                remedy="look whether the shipment is confirmed there, then retry",
                fields=[FieldProblem("lines", "more than was fulfilled")],
            )
    return {"orderId": gid_of("Order", intent.order_external_id), "returnLineItems": lines, "notifyCustomer": notify_customer}


def refund_to_wire(intent: RefundReturn, order: wire.OrderToRefund, *, notify_customer: bool) -> dict[str, object]:
    """``RefundInput``: the lines, and at most what was paid there, spread over the payments."""
    paid = Decimal(order.netPaymentSet.shopMoney.amount)
    left = min(intent.amount.amount, paid)
    transactions = []
    for payment in order.transactions:
        share = min(left, payment.amountSet.shopMoney.amount)
        if payment.kind in ("SALE", "CAPTURE") and payment.status == "SUCCESS" and share > 0:
            transactions.append({"orderId": order.id, "parentId": payment.id, "gateway": payment.gateway or "manual", "kind": "REFUND", "amount": plain(share)})
            left -= share
    lines: list[dict[str, object]] = []
    for item in intent.lines:
        back = {"restockType": "NO_RESTOCK"} if item.location_code is None else {"restockType": "RETURN", "locationId": gid_of("Location", item.location_code)}
        lines.append({"lineItemId": gid_of("LineItem", item.external_line_id), "quantity": int(item.quantity), **back})
    return {"orderId": order.id, "note": intent.return_id, "notify": notify_customer, "refundLineItems": lines, "transactions": transactions}
