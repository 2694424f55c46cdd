"""What does a document cost: line amounts, discounts and tax, to the cent and without drift over its lines?"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

CENT = Decimal("0.01")
ZERO = Decimal(0)
Line = dict[str, Any]


def to_cents(amount: Decimal) -> Decimal:
    """Rounded half away from zero, as the vendor rounds."""
    return amount.quantize(CENT, ROUND_HALF_UP)


def price_lines(lines: Iterable[Line], *, invoice_discount: Decimal = ZERO) -> None:
    """Fill in the calculated amounts of each line.

    The invoice discount is spread over the lines in proportion. Tax is rounded per tax code over the whole document:
    each line carries the rounding remainder of the line before, so the lines add up to the document's tax.
    """
    priced = list(lines)
    for line in priced:
        gross = to_cents(Decimal(line["quantity"]) * Decimal(line["unitPrice"]))
        line["amountExcludingTax"] = gross - Decimal(line["discountAmount"])
    _spread(priced, invoice_discount)
    carried: dict[tuple[str, Decimal], Decimal] = {}
    for line in priced:
        line["netAmount"] = line["amountExcludingTax"] - line["invoiceDiscountAllocation"]
        percent = Decimal(line["taxPercent"])
        key = (line["taxCode"], percent)
        exact = line["netAmount"] * percent / 100 + carried.get(key, ZERO)
        tax = to_cents(exact)
        carried[key] = exact - tax
        line["netTaxAmount"] = line["totalTaxAmount"] = tax
        line["netAmountIncludingTax"] = line["netAmount"] + tax
        line["amountIncludingTax"] = line["amountExcludingTax"] + tax
        line["discountAppliedBeforeTax"] = True


def totals(lines: Iterable[Line]) -> dict[str, Decimal]:
    """The header's three totals."""
    net = tax = ZERO
    for line in lines:
        net += line["netAmount"]
        tax += line["netTaxAmount"]
    return {"totalAmountExcludingTax": net, "totalTaxAmount": tax, "totalAmountIncludingTax": net + tax}


def _spread(lines: list[Line], discount: Decimal) -> None:
    whole = sum((line["amountExcludingTax"] for line in lines), ZERO)
    left = discount
    for number, line in enumerate(lines, 1):
        if not discount or not whole:
            share = ZERO
        elif number == len(lines):
            share = left
        else:
            share = to_cents(discount * line["amountExcludingTax"] / whole)
        left -= share
        line["invoiceDiscountAllocation"] = share
