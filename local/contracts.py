"""Are the published contracts what the code says? Exports the canonical JSON Schemas and the OpenAPI document, and finds drift."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

from crossdock.connectors.direct.wire import PriceReport, StockReport, SubmittedOrder
from crossdock.domain import address, customer, effect, events, exception_record, invoice, money, order, price, product, quantity, return_, shipment, stock
from crossdock.domain.commands import INTENT, Command, Receipt
from crossdock.domain.manifest import ConnectorManifest
from crossdock.domain.tenant import TenantSpec
from crossdock.openapi import document

CANONICAL_VERSION = 1
"""Goes up when a change could break a reader; the schemas of the version before stay in their folder."""

_MODELS: dict[str, type[BaseModel] | TypeAdapter[Any]] = {
    "address": address.Address,
    "command": Command,
    "customer": customer.Customer,
    "credit_standing": customer.CreditStanding,
    "effect": effect.Effect,
    "event": events.Event,
    "exception": exception_record.ExceptionRecord,
    "fact": events.FACT,
    "fulfillment": shipment.Fulfillment,
    "intent": INTENT,
    "invoice": invoice.Invoice,
    "line": order.OrderLine,
    "money": money.Money,
    "order": order.Order,
    "package": shipment.Package,
    "account": customer.Account,
    "price": price.Price,
    "price_report": PriceReport,
    "product": product.Product,
    "quantity": quantity.Quantity,
    "receipt": Receipt,
    "reservation": stock.Reservation,
    "return": return_.Return,
    "shipment": shipment.Shipment,
    "stock_adjustment": stock.StockAdjustment,
    "stock_entry": stock.StockEntry,
    "stock_level": stock.StockLevel,
    "stock_reading": stock.StockReading,
    "stock_report": StockReport,
    "submitted_order": SubmittedOrder,
    "tenant": TenantSpec,
    "connector_manifest": ConnectorManifest,
}


def _schema(model: type[BaseModel] | TypeAdapter[Any]) -> dict[str, Any]:
    mode: Any = "serialization"
    return model.json_schema(mode=mode) if isinstance(model, TypeAdapter) else model.model_json_schema(mode=mode)


def documents() -> dict[str, str]:
    """Every published contract by its path under ``contracts/``."""
    made: dict[str, Any] = {
        f"canonical/v{CANONICAL_VERSION}/{name}.schema.json": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": f"urn:crossdock:canonical:v{CANONICAL_VERSION}:{name}",
            **_schema(model),
        }
        for name, model in _MODELS.items()
    }
    made["openapi.json"] = document()
    return {path: json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n" for path, content in made.items()}


def drift(folder: Path) -> list[str]:
    """What differs between the code and the committed contracts; empty when nothing does."""
    wanted = documents()
    found = {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*.json"))}
    problems = [f"{path} is missing" for path in wanted if path not in found]
    problems += [f"{path} differs from the code" for path, content in wanted.items() if path in found and found[path] != content]
    current = f"canonical/v{CANONICAL_VERSION}/"
    problems += [f"{path} is not made from the code any more" for path in found if path not in wanted and (path.startswith(current) or "/" not in path)]
    return problems


def export(folder: Path) -> int:
    """Writes every contract; how many."""
    made = documents()
    for path, content in made.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    return len(made)


if __name__ == "__main__":
    print(f"{export(Path(__file__).resolve().parent.parent / 'contracts')} contracts written")
