"""What is sold, and in which units?"""

from __future__ import annotations

from pydantic import PositiveInt

from crossdock.domain.identifiers import Sku, UnitCode
from crossdock.domain.model import Model, Text


class UnitConversion(Model):
    """``numerator/denominator`` base units make one ``unit`` (a case of 12 each: 12/1)."""

    unit: UnitCode
    numerator: PositiveInt
    denominator: PositiveInt = 1


class Product(Model):
    """An item as the owner of item data describes it."""

    sku: Sku
    description: Text = ""
    base_unit: UnitCode = "EA"
    units: tuple[UnitConversion, ...] = ()
    barcodes: tuple[str, ...] = ()
    blocked: bool = False
