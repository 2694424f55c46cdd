"""How do Business Central's documents and ours correspond? Pure functions, no I/O."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from pydantic import ValidationError

from crossdock.connectors.business_central import wire
from crossdock.domain.commands import CreateSalesOrder, InvoicedLine, PostCreditMemo, PostInvoice, Receipt
from crossdock.domain.connector import LedgerDocument, Occurrence, PriceQuestion, Translation
from crossdock.domain.customer import Account, CreditStanding, Terms
from crossdock.domain.errors import ContractDrift, FieldProblem, Rejected
from crossdock.domain.events import AccountChanged, PriceChanged, ProductChanged, ShipmentDispatched
from crossdock.domain.money import Money
from crossdock.domain.order import Order
from crossdock.domain.price import Price
from crossdock.domain.product import Product
from crossdock.domain.shipment import Package, Shipment, ShippedLine

MAX_REFERENCE = 35
LINE_MARK = "Ref. "
"""Before our line id in a line's second description, which the vendor copies to its shipment lines."""
SEQUENCE_STEP = 10000
SHIPMENT_TOPIC = "salesShipments"

ITEM, ACCOUNT, COMMENT = "Item", "G_x002F_L_x0020_Account", "_x0020_"
"""Types of posted shipment lines. Order lines call an account `Account`."""
ORDER_ACCOUNT = "Account"
_SHIPMENT_LINE_TYPES = {
    ITEM: True,
    ACCOUNT: False,
    COMMENT: False,
    "Resource": False,
    "Fixed_x0020_Asset": False,
    "Charge_x0020__x0028_Item_x0029_": False,
    "Allocation_x0020_Account": False,
    "Service_x0020_Object": False,
}
"""Every line type of the contract, and whether goods leave with it."""
_BLOCKED = {"_x0020_": False, "Ship": True, "Invoice": True, "All": True}


# ------------------------------------------------------------------ names
def external_reference(order_id: str) -> str:
    """Our order id as the vendor's external document number (35 characters): a longer id keeps its head and a digest."""
    if len(order_id) <= MAX_REFERENCE:
        return order_id
    return f"{order_id[:22]}~{hashlib.sha256(order_id.encode()).hexdigest()[:12]}"


def order_id_of(reference: str) -> str | None:
    """The order id a reference repeats; None for a shortened one."""
    return reference if re.fullmatch(r"[A-Za-z0-9_-]{1,35}", reference) else None


def part_name(order_number: str, location_code: str) -> str:
    """What a part worked in the ERP is called there: the sales order's number and the location."""
    return f"{order_number}@{location_code}"


def part_of_name(name: str) -> tuple[str, str]:
    """(sales order number, location code). ``Rejected`` for anything else."""
    number, at, code = name.rpartition("@")
    if not at or not number or not code:
        raise Rejected("NOT_FOUND", f"{name!r} is no part of a sales order", remedy="release the part again")
    return number, code


def line_key(line_id: str, location: str) -> str:
    """How a receipt names the vendor's line of a share of an order line."""
    return f"{line_id}@{location}"


# ------------------------------------------------------------------ orders
def order_to_wire(command: CreateSalesOrder, *, location_ids: Mapping[str, str], freight_account: str) -> wire.NewSalesOrder:
    """One deep insert: the lines in the command's order, freight last as a G/L account line.

    ``Rejected`` with field paths for what does not fit the vendor's fields: cutting an address would send goods astray.
    """
    order = command.order
    ship_to = order.ship_to
    company = ship_to.company or ship_to.name
    try:
        return wire.NewSalesOrder(
            customerNumber=command.account,
            externalDocumentNumber=external_reference(order.order_id),
            orderDate=order.placed_at.date().isoformat(),
            currencyCode=order.currency,
            shipToName=company,
            shipToContact=ship_to.name if ship_to.company else "",
            shipToAddressLine1=ship_to.line1,
            shipToAddressLine2=ship_to.line2,
            shipToCity=ship_to.city,
            shipToCountry=ship_to.country,
            shipToState=ship_to.region,
            shipToPostCode=ship_to.postal_code,
            phoneNumber=_if_fits(ship_to.phone, 30),
            email=_if_fits(ship_to.email or order.customer.email, 80),
            salesOrderLines=(*_lines_to_wire(command, location_ids), *_freight_to_wire(order, len(command.lines), freight_account)),
        )
    except ValidationError as error:
        raise _does_not_fit(error) from error


def _lines_to_wire(command: CreateSalesOrder, location_ids: Mapping[str, str]) -> list[wire.NewSalesOrderLine]:
    return [
        wire.NewSalesOrderLine(
            sequence=sequence_of(index),
            lineType=ITEM,
            lineObjectNumber=line.erp_sku,
            locationId=location_ids[line.location_code],
            description2=_if_fits(LINE_MARK + line.line_id, 50),
            unitOfMeasureCode=line.erp_unit,
            quantity=line.quantity,
            unitPrice=line.unit_price.amount,
            discountAmount=line.discount.amount or None,
        )
        for index, line in enumerate(command.lines)
    ]


def _freight_to_wire(order: Order, position: int, account: str) -> list[wire.NewSalesOrderLine]:
    if not order.freight.amount:
        return []
    freight = wire.NewSalesOrderLine(
        sequence=sequence_of(position),
        lineType=ORDER_ACCOUNT,
        lineObjectNumber=account,
        description=_if_fits(order.shipping_method, 100),
        quantity=Decimal(1),
        unitPrice=order.freight.amount,
    )
    return [freight]


def sequence_of(index: int) -> int:
    return (index + 1) * SEQUENCE_STEP


def _if_fits(text: str, max_length: int) -> str | None:
    return text if text and len(text) <= max_length else None


def _does_not_fit(error: ValidationError) -> Rejected:
    fields = [FieldProblem(".".join(str(part) for part in problem["loc"]), problem["msg"]) for problem in error.errors()]
    return Rejected("INVALID_BODY", "the order does not fit Business Central's fields", remedy="shorten the named fields, then retry", fields=fields)


def order_from_wire(order: wire.SalesOrder, command: CreateSalesOrder, *, found: bool = False) -> Receipt:
    """The receipt of a sales order; its line ids are the vendor's line sequences, which shipments and invoices repeat."""
    standing = {line.sequence for line in order.salesOrderLines}
    keys = {line_key(line.line_id, line.location): sequence_of(index) for index, line in enumerate(command.lines)}
    return Receipt(
        external_id=order.id,
        number=order.number,
        total=Money(amount=order.totalAmountIncludingTax, currency=order.currencyCode),
        tax=Money(amount=order.totalTaxAmount, currency=order.currencyCode),
        line_ids={key: str(sequence) for key, sequence in keys.items() if sequence in standing},
        found=found,
    )


def document_from_wire(order: wire.SalesOrder) -> LedgerDocument:
    """The sales order as it stands. Freight is what its account lines come to, tax taken out of no line: the vendor gives it for the whole document."""
    goods = {str(line.sequence): line.quantity for line in order.salesOrderLines if line.lineType == ITEM}
    freight = sum((line.netAmount for line in order.salesOrderLines if line.lineType == ORDER_ACCOUNT), Decimal(0))
    return LedgerDocument(
        total=Money(amount=order.totalAmountIncludingTax, currency=order.currencyCode),
        tax=Money(amount=order.totalTaxAmount, currency=order.currencyCode),
        freight=Money(amount=freight, currency=order.currencyCode),
        lines=goods,
    )


def released_lines(order: wire.SalesOrder, *, location_id: str, item_numbers: Collection[str]) -> list[wire.SalesOrderLine]:
    """The order's lines that are the work instruction of one location. ``Rejected`` when an item of the part is missing."""
    lines = [line for line in order.salesOrderLines if line.lineType == ITEM and line.locationId == location_id]
    missing = sorted(set(item_numbers) - {line.lineObjectNumber for line in lines})
    if missing:
        raise Rejected(
            "NOT_FOUND",
            f"sales order {order.number} has no line of {', '.join(missing)} at this location",
            remedy="restore the line in Business Central, or cancel the part",
        )
    return lines


# ------------------------------------------------------------------ invoices
@dataclass(frozen=True)
class LinePlan:
    """What one line of the sales order is to ship and invoice in the next posting."""

    line: wire.SalesOrderLine
    ship: Decimal
    invoice: Decimal

    @property
    def stands(self) -> bool:
        return self.line.shipQuantity == self.ship and self.line.invoiceQuantity == self.invoice


def wanted_by_sequence(lines: Sequence[InvoicedLine]) -> dict[int, Decimal]:
    """Line sequence -> how much of it must be invoiced in all once this command is done."""
    wanted: dict[int, Decimal] = defaultdict(Decimal)
    before: dict[int, Decimal] = {}
    for line in lines:
        if not line.erp_line_id.isdigit():
            raise Rejected(
                "NOT_FOUND",
                f"line {line_key(line.line_id, line.location)} has no line in the sales order",
                remedy="add it to the sales order in Business Central and invoice it there",
            )
        sequence = int(line.erp_line_id)
        before[sequence] = line.invoiced_before
        wanted[sequence] += line.quantity
    return {sequence: before[sequence] + quantity for sequence, quantity in wanted.items()}


def is_invoiced(order: wire.SalesOrder, wanted: Mapping[int, Decimal]) -> bool:
    """Whether the order's own figures say that everything wanted has been invoiced."""
    invoiced = {line.sequence: line.invoicedQuantity for line in order.salesOrderLines}
    return all(invoiced.get(sequence, Decimal(0)) >= total for sequence, total in wanted.items())


def plan_posting(order: wire.SalesOrder, command: PostInvoice) -> list[LinePlan]:
    """Every line's part in the posting of one shipment. Lines that are not named do nothing: the vendor would propose all of them.

    By cumulative quantities, so a repeat after a partial success only does the rest. Freight (a G/L account line) goes
    with the first invoice. ``Rejected`` when the order lacks a line.
    """
    wanted = wanted_by_sequence(command.lines)
    missing = sorted(set(wanted) - {line.sequence for line in order.salesOrderLines})
    if missing:
        raise Rejected(
            "NOT_FOUND",
            f"sales order {order.number} has no line {', '.join(map(str, missing))} any more",
            remedy="invoice the shipment in Business Central, then resolve this",
        )
    plans = []
    for line in order.salesOrderLines:
        if line.sequence in wanted:
            total = wanted[line.sequence]
            invoice = max(Decimal(0), total - line.invoicedQuantity)
            ship = Decimal(0) if command.already_shipped else max(Decimal(0), total - line.shippedQuantity)
        elif line.lineType == ORDER_ACCOUNT:
            invoice, ship = line.quantity - line.invoicedQuantity, line.quantity - line.shippedQuantity
        else:
            invoice = ship = Decimal(0)
        plans.append(LinePlan(line, ship, invoice))
    return plans


def invoice_from_wire(invoices: Sequence[wire.SalesInvoice], wanted: Mapping[int, Decimal], *, found: bool = False) -> Receipt | None:
    """The receipt of the invoice with which everything wanted had been invoiced; None while some of it is not.

    ``invoices`` are all posted invoices of the order; their lines repeat the order lines' sequences.
    """
    invoiced: dict[int, Decimal] = defaultdict(Decimal)
    for invoice in sorted(invoices, key=lambda one: (one.lastModifiedDateTime, one.number)):
        if invoice.status == "Draft":
            continue
        for line in invoice.salesInvoiceLines:
            invoiced[line.sequence] += line.quantity
        if all(invoiced[sequence] >= total for sequence, total in wanted.items()):
            return Receipt(
                external_id=invoice.id,
                number=invoice.number,
                total=Money(amount=invoice.totalAmountIncludingTax, currency=invoice.currencyCode),
                tax=Money(amount=invoice.totalTaxAmount, currency=invoice.currencyCode),
                found=found,
            )
    return None


# ------------------------------------------------------------------ shipments
def shipment_from_wire(polled: wire.PolledShipment, *, connection: str, worked_locations: Collection[str], tracking_prefix: str) -> Translation:
    """One fact per location the goods left from.

    Ignored by name: shipments of orders that are not ours, and those the ERP posted because we invoiced what another
    system shipped (the echo of our own command). An empty ``worked_locations`` means that every location is worked here.
    """
    shipment = polled.salesShipment
    by_location: dict[str, list[ShippedLine]] = defaultdict(list)
    ours = False
    for position, line in enumerate(shipment.salesShipmentLines):
        moves_goods, place = _SHIPMENT_LINE_TYPES.get(line.lineType), f"salesShipment.salesShipmentLines.{position}"
        if moves_goods is None:
            problem = FieldProblem(f"{place}.lineType", "is not mapped")
            detail = f"shipment {shipment.number} has a line of the unknown type {line.lineType!r}"
            raise ContractDrift("UNKNOWN_STATUS", detail, remedy="extend the connector's mapping", fields=[problem])
        if line.quantity < 0:
            # A posted shipment that staff undo gets a second line with the quantity taken back.
            problem = FieldProblem(f"{place}.quantity", "is negative: the shipment was undone")
            raise Rejected("INVALID_BODY", f"shipment {shipment.number} was undone, at least partly", remedy="clear up with the warehouse what has left", fields=[problem])
        if moves_goods and not line.lineObjectNumber:
            problem = FieldProblem(f"{place}.lineObjectNumber", "is empty")
            raise Rejected("INVALID_BODY", f"shipment {shipment.number} has a line without an item", remedy="correct the named field, then retry", fields=[problem])
        if not moves_goods or not line.quantity:
            continue
        line_id = _line_id(line.description2)
        ours = ours or line_id is not None
        code = polled.locationCodes.get(line.sequence, "")
        if not worked_locations or not code or code in worked_locations:
            by_location[code].append(ShippedLine(sku=line.lineObjectNumber, quantity=line.quantity, line_id=line_id))
    if not ours or not shipment.externalDocumentNumber:
        return Translation(ignored=f"shipment {shipment.number} belongs to sales order {shipment.orderNumber}, which was not made here")
    if not by_location:
        return Translation(ignored=f"shipment {shipment.number} was posted here for goods that another system shipped")
    packages = _packages(shipment, tracking_prefix)
    return Translation(
        occurrences=tuple(
            Occurrence(
                fact=ShipmentDispatched(shipment=_shipment(shipment, code, lines, packages, connection=connection, alone=len(by_location) == 1)),
                occurred_at=shipment.lastModifiedDateTime,
            )
            for code, lines in sorted(by_location.items())
        )
    )


def _shipment(shipment: wire.SalesShipment, code: str, lines: list[ShippedLine], packages: tuple[Package, ...], *, connection: str, alone: bool) -> Shipment:
    external_id = shipment.number if alone else part_name(shipment.number, code)
    return Shipment(
        shipment_id=f"{connection}-{external_id}",
        connection=connection,
        external_id=external_id,
        order_id=order_id_of(shipment.externalDocumentNumber),
        part_reference=part_name(shipment.orderNumber, code) if code else shipment.orderNumber,
        lines=tuple(lines),
        packages=packages,
        dispatched_at=shipment.lastModifiedDateTime,
    )


def _line_id(description2: str) -> str | None:
    return description2.removeprefix(LINE_MARK) if description2.startswith(LINE_MARK) and description2 != LINE_MARK else None


def _packages(shipment: wire.SalesShipment, prefix: str) -> tuple[Package, ...]:
    """Tracking numbers stand in comment lines: `<prefix> <carrier> <number>`; the vendor's shipment has no field for them."""
    found = []
    for line in shipment.salesShipmentLines:
        words = line.description.split()
        if line.lineType == COMMENT and len(words) > 1 and words[0] == prefix:
            found.append(Package(carrier=" ".join(words[1:-1]), tracking_number=words[-1]))
    return tuple(found)


# ------------------------------------------------------------------ customers and prices
def credit_from_wire(customer: wire.Customer, open_orders: Sequence[wire.OpenOrder]) -> CreditStanding:
    """The balance includes what is ordered and not yet invoiced; a limit of 0 means that there is none."""
    ordered = sum((_not_invoiced(line) for order in open_orders for line in order.salesOrderLines), Decimal(0))
    balance = Money(amount=customer.balanceDue + ordered, currency=customer.currencyCode)
    return CreditStanding(
        account=customer.number,
        limit=Money(amount=customer.creditLimit, currency=customer.currencyCode) if customer.creditLimit else None,
        balance=balance.rounded(),
        blocked=_is_blocked(customer, "blocked"),
    )


def _is_blocked(customer: wire.Customer | wire.ChangedCustomer, path: str) -> bool:
    blocked = _BLOCKED.get(customer.blocked)
    if blocked is None:
        told = f"customer {customer.number} is blocked in the unknown way {customer.blocked!r}"
        raise ContractDrift("UNKNOWN_STATUS", told, remedy="extend the connector's mapping", fields=[FieldProblem(path, "is none of the known ones")])
    return blocked


def _not_invoiced(line: wire.OpenOrderLine) -> Decimal:
    if not line.quantity:
        return Decimal(0)
    exact = line.netAmountIncludingTax * (line.quantity - line.invoicedQuantity) / line.quantity
    return exact.quantize(Decimal("0.0001"))


def price_from_wire(item: wire.Item | None, question: PriceQuestion) -> Price | None:
    """The list price of the item's base unit. None: unknown, blocked, or a price that includes tax and cannot be compared."""
    if item is None or item.blocked or item.priceIncludesTax:
        return None
    return Price(sku=question.sku, unit=item.baseUnitOfMeasureCode, price=Money(amount=item.unitPrice, currency=question.currency))


# ------------------------------------------------------------------ master data that has changed
ITEMS_TOPIC, CUSTOMERS_TOPIC = "poll.item", "poll.customer"


def items_from_wire(polled: wire.PolledItems, *, currency: str) -> Translation:
    """The list price and the product of each item. A price of 0 is one that nobody has set, and one that includes tax cannot be compared with ours."""
    told: list[Occurrence] = []
    for item in polled.items:
        at = item.lastModifiedDateTime
        if item.unitPrice and not item.priceIncludesTax:
            price = Price(sku=item.number, unit=item.baseUnitOfMeasureCode, price=Money(amount=item.unitPrice, currency=currency))
            told.append(Occurrence(PriceChanged(price=price, as_of=at), at))
        product = Product(sku=item.number, description=item.displayName, base_unit=item.baseUnitOfMeasureCode, barcodes=(item.gtin,) if item.gtin else (), blocked=item.blocked)
        told.append(Occurrence(ProductChanged(product=product, as_of=at), at))
    return Translation(tuple(told))


def customers_from_wire(polled: wire.PolledCustomers) -> Translation:
    """Each customer with its terms. A limit of 0 means that there is none."""
    told = []
    for index, customer in enumerate(polled.customers):
        terms = Terms(
            credit_limit=Money(amount=customer.creditLimit, currency=customer.currencyCode) if customer.creditLimit else None,
            payment=polled.paymentTermsCodes.get(customer.paymentTermsId),
            tax_liable=customer.taxLiable,
        )
        account = Account(account=customer.number, name=customer.displayName, blocked=_is_blocked(customer, f"customers.{index}.blocked"), terms=terms)
        told.append(Occurrence(AccountChanged(account=account, as_of=customer.lastModifiedDateTime), customer.lastModifiedDateTime))
    return Translation(tuple(told))


# ------------------------------------------------------------------ credit memos
def credit_memo_to_wire(command: PostCreditMemo, *, location_ids: Mapping[str, str], returns_account: str) -> wire.NewCreditMemo:
    """Goods that go back on the shelf are credited as items at their location, others to a G/L account: a posted item line moves stock."""
    lines = []
    for index, line in enumerate(command.lines):
        kept = {"sequence": sequence_of(index), "quantity": line.quantity, "unitPrice": line.unit_price.amount, "discountAmount": line.discount.amount or None}
        if line.restocked:
            item = {"lineType": ITEM, "lineObjectNumber": line.erp_sku, "locationId": location_ids[line.location_code], "unitOfMeasureCode": line.erp_unit}
        else:
            item = {"lineType": ORDER_ACCOUNT, "lineObjectNumber": returns_account, "description": f"{line.erp_sku} {line.description}".strip()[:100]}
        lines.append({**kept, **item})
    try:
        return wire.NewCreditMemo.model_validate(
            {
                "customerNumber": command.account,
                "externalDocumentNumber": external_reference(command.return_id),
                "currencyCode": command.currency,
                "salesCreditMemoLines": lines,
            }
        )
    except ValidationError as error:
        raise _does_not_fit(error) from error


def credit_memo_from_wire(memo: wire.CreditMemo, *, found: bool) -> Receipt:
    return Receipt(
        external_id=memo.id,
        number=memo.number,
        total=Money.of(memo.totalAmountIncludingTax, memo.currencyCode),
        tax=Money.of(memo.totalTaxAmount, memo.currencyCode),
        found=found,
    )
