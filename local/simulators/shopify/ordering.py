"""How does an order come into being in the shop, and what does its body say?"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import Any

from local.simulators.server import ActionRefused
from local.simulators.shopify.contract import Address, CustomerRef, OrderLineSpec, PlaceOrder, SeedCustomer, TaxSpec
from local.simulators.shopify.figures import CENT, amount, cents, gid, money_set
from local.simulators.shopify.shop import Document, Shop, address_body
from local.simulators.shopify.stock import change

ZERO = Decimal(0)


def place(shop: Shop, spec: PlaceOrder, *, announce: bool = True, source_name: str = "web") -> Document:
    """Make the order, commit its stock, open its fulfillment order and, unless told not to, send orders/create."""
    location = shop.locations.get(spec.location_id) if spec.location_id else shop.default_location()
    if location is None:
        raise ActionRefused(f"the shop has no location {spec.location_id}")
    customer = _customer(shop, spec.customer) if spec.customer else None
    currency = spec.currency or shop.seed.currency
    variants = [shop.variant_by_sku(line.sku) for line in spec.lines]
    lines = [_line(shop, line, variant, currency, spec.line_ids[index] if spec.line_ids else None) for index, (line, variant) in enumerate(zip(spec.lines, variants, strict=True))]
    shipping = _shipping_line(shop, spec, currency)
    _tax(lines, shipping, spec.tax, currency)
    number = shop.store.next_id("order_number", shop.seed.first_order_number)
    order = _body(shop, spec, customer, lines, shipping, currency, number, source_name)
    _allocate_discounts(order, spec)
    shop.orders.put(order["id"], order)
    shop.names.put(order["name"], {"id": order["id"]})
    if announce:
        shop.emit("orders/create", order)
    open_fulfillment_order(shop, order, location)
    if spec.paid and Decimal(order["total_price"]) > 0:
        record_transaction(shop, order, "sale", Decimal(order["total_price"]))
    return order


def open_fulfillment_order(shop: Shop, order: Document, location: Document) -> Document:
    """One fulfillment order with every line that ships, assigned to one location; its stock becomes committed."""
    number = shop.new_id()
    lines = []
    for line in order["line_items"]:
        if not line["requires_shipping"] or line["gift_card"]:
            continue
        lines.append({"id": shop.new_id(), "line_item_id": line["id"], "total": line["quantity"], "remaining": line["quantity"]})
        variant = shop.variants.get(line["variant_id"]) if line["variant_id"] else None
        if variant and variant["tracked"]:
            change(
                shop,
                variant["inventory_item_id"],
                location["id"],
                available=-line["quantity"],
                committed=line["quantity"],
            )
    document: Document = {
        "id": number,
        "order_id": order["id"],
        "location_id": location["id"],
        "status": "OPEN" if lines else "CLOSED",
        "request_status": "UNSUBMITTED",
        "line_items": lines,
        "holds": [],
        "created_at": shop.now(),
        "updated_at": shop.now(),
    }
    shop.fulfillment_orders.put(number, document)
    shop.link(order["id"], "fulfillment_orders", number)
    return document


def save(shop: Shop, order: Document, *topics: str) -> None:
    """Store a changed order and announce it; `orders/updated` goes with every change."""
    order["updated_at"] = shop.now()
    shop.orders.put(order["id"], order)
    for topic in ("orders/updated", *topics):
        shop.emit(topic, order)


def record_transaction(shop: Shop, order: Document, kind: str, value: Decimal, parent: int | None = None) -> Document:
    number = shop.new_id()
    now = shop.now()
    money = {"amount": "0.0", "currency": order["currency"]}
    transaction: Document = {
        "id": number,
        "admin_graphql_api_id": gid("OrderTransaction", number),
        "order_id": order["id"],
        "kind": kind,
        "gateway": "manual",
        "status": "success",
        "message": None,
        "created_at": now,
        "processed_at": now,
        "test": False,
        "authorization": None,
        "location_id": None,
        "user_id": None,
        "parent_id": parent,
        "device_id": None,
        "error_code": None,
        "source_name": "web",
        "receipt": {},
        "amount": amount(value),
        "currency": order["currency"],
        "payment_id": f"{order['name']}.{len(shop.linked(order['id'])['transactions']) + 1}",
        "total_unsettled_set": {"presentment_money": money, "shop_money": dict(money)},
        "manual_payment_gateway": True,
        "amount_rounding": None,
    }
    shop.transactions.put(number, transaction)
    shop.link(order["id"], "transactions", number)
    return transaction


def customer_body(customer: Document, currency: str) -> Document:
    return {
        "id": customer["id"],
        "created_at": customer["created_at"],
        "updated_at": customer["updated_at"],
        "first_name": customer["first_name"],
        "last_name": customer["last_name"],
        "state": "enabled",
        "note": None,
        "verified_email": True,
        "multipass_identifier": None,
        "tax_exempt": customer["tax_exempt"],
        "email": customer["email"],
        "phone": customer["phone"],
        "currency": currency,
        "tax_exemptions": [],
        "admin_graphql_api_id": customer["admin_graphql_api_id"],
        "default_address": customer["default_address"],
    }


def address_of(address: Address | None, customer: Document | None) -> Document | None:
    """The address given, or else the customer's own; None when neither is known."""
    if address is not None:
        return {**address_body(address.model_dump()), "latitude": None, "longitude": None}
    if customer is not None and customer["default_address"]["address1"]:
        return {**address_body(customer["default_address"]), "latitude": None, "longitude": None}
    return None


def _customer(shop: Shop, ref: CustomerRef) -> Document:
    if ref.id is not None:
        known = shop.customers.get(ref.id)
        if known is None and ref.email is None:
            raise ActionRefused(f"the shop has no customer {ref.id}")
    else:
        known = shop.customer_by_email(ref.email or "")
    if known is not None:
        return known
    return shop.add_customer(
        SeedCustomer(
            id=ref.id,
            email=ref.email or "",
            first_name=ref.first_name or "New",
            last_name=ref.last_name or "Customer",
            phone=ref.phone,
            default_address=None,
        )
    )


def _line(shop: Shop, spec: OrderLineSpec, variant: Document | None, currency: str, known_id: int | None) -> Document:
    if variant is None and spec.price is None:
        raise ActionRefused(f"the shop sells no {spec.sku}: give a price and it is a custom line")
    price = cents(spec.price if spec.price is not None else Decimal((variant or {})["price"]))
    gross = price * spec.quantity
    if spec.discount > gross:
        raise ActionRefused(f"{spec.sku}: discount {spec.discount} is more than {gross}")
    number = known_id or shop.new_id()
    title = spec.title or (variant["title"] if variant else spec.sku)
    return {
        "id": number,
        "admin_graphql_api_id": gid("LineItem", number),
        "attributed_staffs": [],
        "current_quantity": spec.quantity,
        "fulfillable_quantity": spec.quantity,
        "fulfillment_service": "manual",
        "fulfillment_status": None,
        "gift_card": spec.gift_card or bool(variant and variant["gift_card"]),
        "grams": variant["grams"] if variant else 0,
        "name": title,
        "price": amount(price),
        "price_set": money_set(price, currency),
        "product_exists": variant is not None,
        "product_id": variant["product_id"] if variant else None,
        "properties": [{"name": name, "value": value} for name, value in spec.properties.items()],
        "quantity": spec.quantity,
        "requires_shipping": spec.requires_shipping and (variant is None or variant["requires_shipping"]),
        "sales_line_item_group_id": None,
        "sku": spec.sku,
        "taxable": spec.taxable and (variant is None or variant["taxable"]),
        "title": title,
        "total_discount": amount(spec.discount),
        "total_discount_set": money_set(spec.discount, currency),
        "variant_id": variant["id"] if variant else None,
        "variant_inventory_management": "shopify" if variant and variant["tracked"] else None,
        "variant_title": None,
        "vendor": variant["vendor"] if variant else None,
        "tax_lines": [],
        "duties": [],
        "discount_allocations": [],
    }


def _shipping_line(shop: Shop, spec: PlaceOrder, currency: str) -> Document:
    price = cents(spec.shipping_price)
    return {
        "id": shop.new_id(),
        "carrier_identifier": None,
        "code": spec.shipping_code,
        "current_discounted_price_set": money_set(price, currency),
        "discounted_price": amount(price),
        "discounted_price_set": money_set(price, currency),
        "is_removed": False,
        "phone": None,
        "price": amount(price),
        "price_set": money_set(price, currency),
        "requested_fulfillment_service_id": None,
        "source": "shopify",
        "title": spec.shipping_title,
        "tax_lines": [],
        "discount_allocations": [],
    }


def tax_line(title: str, rate: Decimal, value: Decimal, currency: str) -> Document:
    return {
        "channel_liable": False,
        "price": amount(value),
        "price_set": money_set(value, currency),
        "rate": rate,
        "title": title,
    }


def _tax(lines: list[Document], shipping: Document, tax: Decimal | list[TaxSpec], currency: str) -> None:
    """Put tax lines on what is taxable. A flat amount is spread by value, the last line taking the rounding."""
    taxed: list[tuple[Document, Decimal]] = [(line, Decimal(line["price"]) * line["quantity"] - Decimal(line["total_discount"])) for line in lines if line["taxable"]]
    if isinstance(tax, list):
        for thing, base in [*taxed, (shipping, Decimal(shipping["price"]))]:
            thing["tax_lines"] = [tax_line(spec.title, spec.rate, cents(base * spec.rate), currency) for spec in tax if base > 0]
        return
    total = sum((base for _, base in taxed), ZERO)
    if tax == 0:
        return
    if total == 0:
        raise ActionRefused("nothing in this order is taxable, so it cannot bear a tax")
    rate = (tax / total).quantize(Decimal("0.000001"))
    left = cents(tax)
    for position, (line, base) in enumerate(taxed):
        last = position == len(taxed) - 1
        share = left if last else (tax * base / total).quantize(CENT, rounding=ROUND_DOWN)
        left -= share
        line["tax_lines"] = [tax_line("Sales tax", rate, share, currency)]


def _summed_taxes(things: list[Document], currency: str) -> list[Document]:
    totals: dict[tuple[str, Decimal], Decimal] = {}
    for thing in things:
        for tax in thing["tax_lines"]:
            key = (tax["title"], tax["rate"])
            totals[key] = totals.get(key, ZERO) + Decimal(tax["price"])
    return [tax_line(title, rate, value, currency) for (title, rate), value in totals.items()]


def _allocate_discounts(order: Document, spec: PlaceOrder) -> None:
    total = Decimal(order["total_discounts"])
    if total == 0:
        return
    application: dict[str, Any] = {
        "target_type": "line_item",
        "type": "discount_code" if spec.discount_code else "manual",
        "value": amount(total),
        "value_type": "fixed_amount",
        "allocation_method": "across",
        "target_selection": "explicit",
    }
    if spec.discount_code:
        application["code"] = spec.discount_code
        order["discount_codes"] = [{"code": spec.discount_code, "amount": amount(total), "type": "fixed_amount"}]
    else:
        application["title"] = "Agreed discount"
        application["description"] = "Agreed discount"
    order["discount_applications"] = [application]
    for line in order["line_items"]:
        value = Decimal(line["total_discount"])
        if value > 0:
            line["discount_allocations"] = [
                {
                    "amount": amount(value),
                    "amount_set": money_set(value, order["currency"]),
                    "discount_application_index": 0,
                }
            ]


def _body(
    shop: Shop,
    spec: PlaceOrder,
    customer: Document | None,
    lines: list[Document],
    shipping: Document,
    currency: str,
    number: int,
    source_name: str,
) -> Document:
    now = shop.now()
    order_id = spec.id or shop.new_id()
    gross = sum((Decimal(line["price"]) * line["quantity"] for line in lines), ZERO)
    discounts = sum((Decimal(line["total_discount"]) for line in lines), ZERO)
    taxes = _summed_taxes([*lines, shipping], currency)
    tax = sum((Decimal(line["price"]) for line in taxes), ZERO)
    freight = Decimal(shipping["price"])
    subtotal = gross - discounts
    total = subtotal + tax + freight
    email = customer["email"] if customer else None
    billing = address_of(spec.billing_address or spec.shipping_address, customer)
    company = customer["company"] if customer else None
    token = f"{order_id:x}"

    def both(name: str, value: Decimal) -> Document:
        return {name: amount(value), f"{name}_set": money_set(value, currency)}

    return {
        "id": order_id,
        "admin_graphql_api_id": gid("Order", order_id),
        "app_id": None,
        "browser_ip": None,
        "buyer_accepts_marketing": False,
        "cancel_reason": None,
        "cancelled_at": None,
        "cart_token": None,
        "checkout_token": None,
        "client_details": None,
        "closed_at": None,
        **({"company": {"id": company["id"], "location_id": company["location_id"]}} if company else {}),
        "confirmation_number": f"{number:X}".rjust(9, "C"),
        "confirmed": True,
        "contact_email": email,
        "created_at": now,
        "currency": currency,
        "current_shipping_price_set": money_set(freight, currency),
        **both("current_subtotal_price", subtotal),
        "current_total_additional_fees_set": None,
        **both("current_total_discounts", discounts),
        "current_total_duties_set": None,
        **both("current_total_price", total),
        **both("current_total_tax", tax),
        "customer_locale": "en",
        "device_id": None,
        "discount_codes": [],
        "duties_included": False,
        "email": email,
        "estimated_taxes": False,
        "financial_status": "paid" if spec.paid else "pending",
        "fulfillment_status": None,
        "landing_site": None,
        "landing_site_ref": None,
        "location_id": None,
        "merchant_business_entity_id": "MTU0ODM4MDAwOQ",
        "merchant_of_record_app_id": None,
        "name": spec.name or f"#{number}",
        "note": spec.note,
        "note_attributes": [{"name": name, "value": value} for name, value in spec.note_attributes.items()],
        "number": number - 1000,
        "order_number": number,
        "order_status_url": f"https://{shop.domain}/548380009/orders/{token}/authenticate?key={token[::-1]}",
        "original_total_additional_fees_set": None,
        "original_total_duties_set": None,
        "payment_gateway_names": ["manual"] if spec.paid else [],
        "payment_terms": None,
        "phone": None,
        "po_number": spec.po_number,
        "presentment_currency": currency,
        "processed_at": now,
        "reference": None,
        "referring_site": None,
        "source_identifier": None,
        "source_name": source_name,
        "source_url": None,
        **both("subtotal_price", subtotal),
        "tags": ", ".join(spec.tags),
        "tax_exempt": False,
        "tax_lines": taxes,
        "taxes_included": False,
        "test": False,
        "token": token,
        "total_cash_rounding_payment_adjustment_set": money_set(ZERO, currency),
        "total_cash_rounding_refund_adjustment_set": money_set(ZERO, currency),
        **both("total_discounts", discounts),
        **both("total_line_items_price", gross),
        "total_outstanding": amount(ZERO if spec.paid else total),
        **both("total_price", total),
        "total_shipping_price_set": money_set(freight, currency),
        **both("total_tax", tax),
        "total_tip_received": "0.00",
        "total_weight": sum(line["grams"] * line["quantity"] for line in lines),
        "updated_at": now,
        "user_id": None,
        "billing_address": billing,
        "customer": customer_body(customer, currency) if customer else None,
        "discount_applications": [],
        "fulfillments": [],
        "line_item_groups": [],
        "line_items": lines,
        # The published body schemas know neither refunds nor returns inside an order; they have topics of their own.
        "refunds": [],
        "returns": [],
        "shipping_address": address_of(spec.shipping_address, customer),
        "shipping_lines": [shipping],
    }
