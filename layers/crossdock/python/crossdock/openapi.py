"""What is the contract of /v1? One OpenAPI 3.1 document, made from the models that do the work."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from crossdock.connectors.direct.wire import AccountReport, PriceReport, StockReport, SubmittedOrder, SubmittedReceipt, SubmittedReturn
from crossdock.domain.exception_record import ExceptionStatus
from crossdock.domain.order_record import OrderStatus
from crossdock.domain.return_record import ReturnStatus

_STRING = {"type": "string"}
_DECIMAL = {"type": "string", "description": "a decimal number without exponent, exact", "pattern": r"^-?\d+(\.\d+)?$"}
_TIME = {"type": "string", "format": "date-time", "description": "RFC 3339, UTC"}
_MONEY = {"type": "object", "required": ["amount", "currency"], "properties": {"amount": _DECIMAL, "currency": {"type": "string", "pattern": "^[A-Z]{3}$"}}}

_IDEMPOTENCY_KEY = {"name": "Idempotency-Key", "in": "header", "required": True, "schema": {"type": "string", "minLength": 1, "maxLength": 200}}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties}


def _list(item: Any) -> dict[str, Any]:
    return {"type": "array", "items": item}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _schemas() -> dict[str, Any]:
    taken: dict[str, type[BaseModel]] = {
        "SubmittedOrder": SubmittedOrder,
        "StockReport": StockReport,
        "PriceReport": PriceReport,
        "AccountReport": AccountReport,
        "SubmittedReturn": SubmittedReturn,
        "SubmittedReceipt": SubmittedReceipt,
    }
    submitted = {name: model.model_json_schema(ref_template="#/components/schemas/{model}") for name, model in taken.items()}
    inner = {name: schema for document in submitted.values() for name, schema in document.pop("$defs", {}).items()}
    summary = {
        "order_id": _STRING,
        "number": _nullable(_STRING),
        "status": {"enum": [status.value for status in OrderStatus]},
        "source": _STRING,
        "account": _nullable(_STRING),
        "total": _nullable(_MONEY),
        "accepted_at": _TIME,
        "updated_at": _TIME,
        "completed_at": _nullable(_TIME),
        "open_exceptions": _list(_STRING),
    }
    needed = ["order_id", "status", "accepted_at", "open_exceptions"]
    return {
        **inner,
        **submitted,
        "PricesAccepted": _object(["delivery_id", "prices", "status"], delivery_id=_STRING, prices={"type": "integer"}, status={"const": "accepted"}),
        "AccountsAccepted": _object(["delivery_id", "accounts", "status"], delivery_id=_STRING, accounts={"type": "integer"}, status={"const": "accepted"}),
        "Price": _object(
            ["sku", "list_price", "stale", "prices", "shown"],
            sku=_STRING,
            product=_nullable({"type": "object"}),
            list_price=_nullable(_MONEY),
            stale={"type": "boolean", "description": "something that counts here is not what its owner says, or a sales channel does not show it"},
            prices=_list(
                _object(
                    ["price", "about", "stale"],
                    price=_STRING,
                    about=_STRING,
                    counts=_nullable({"type": "object"}),
                    waits_for_approval=_nullable({"type": "object"}),
                    refused=_nullable({"type": "object"}),
                    stale={"type": "boolean"},
                )
            ),
            shown={"type": "object", "additionalProperties": {"type": "object"}, "description": "what each sales channel was told last"},
            entries=_list({"type": "object"}),
            chain={"type": "object"},
        ),
        "ReturnAccepted": _object(["return_id", "delivery_id", "status"], return_id=_STRING, delivery_id=_STRING, status={"const": "accepted"}),
        "Return": _object(
            ["return_id", "order_id", "status", "lines", "receipts"],
            return_id=_STRING,
            number=_STRING,
            order_id=_STRING,
            status={"enum": [status.value for status in ReturnStatus]},
            location=_nullable(_STRING),
            lines=_list(_object(["line_id", "sku", "quantity"], line_id=_STRING, sku=_STRING, quantity=_DECIMAL, reason=_STRING)),
            receipts=_list({"type": "object"}),
            settled=_list({"type": "object"}),
            value=_nullable(_MONEY),
            credit_memo=_nullable({"type": "object"}),
            refunded=_nullable(_MONEY),
            exchange_order=_nullable(_STRING),
            storefront_id=_nullable(_STRING),
            warehouse_id=_nullable(_STRING),
            waiting_for=_nullable(_STRING),
            expected_by=_nullable(_TIME),
            closed_at=_nullable(_TIME),
        ),
        "StockAccepted": _object(["delivery_id", "reports", "status"], delivery_id=_STRING, reports={"type": "integer"}, status={"const": "accepted"}),
        "Accepted": _object(["order_id", "delivery_id", "status"], order_id=_STRING, delivery_id=_STRING, status={"const": "accepted"}),
        "OrderSummary": _object(needed, **summary),
        "Order": _object(
            [*needed, "parts", "shipments"],
            **summary,
            parts=_list(_object(["part_id", "location", "connection", "status"], part_id=_STRING, location=_STRING, connection=_STRING, status=_STRING)),
            shipments=_list(_ref("Shipment")),
            sales_order=_nullable({"type": "object"}),
            lines=_list({"type": "object"}),
            waiting_for=_nullable(_STRING),
        ),
        "Shipment": _object(
            ["shipment_id", "order_id", "part_id", "location", "lines", "packages", "dispatched_at", "confirmed"],
            shipment_id=_STRING,
            order_id=_STRING,
            part_id=_STRING,
            location=_STRING,
            lines=_list(_object(["line_id", "quantity"], line_id=_STRING, quantity=_DECIMAL)),
            packages=_list(_object([], tracking_number=_STRING, tracking_url=_STRING, carrier=_STRING)),
            dispatched_at=_TIME,
            confirmed={"type": "boolean"},
            invoice_number=_nullable(_STRING),
            late={"type": "boolean"},
        ),
        "Timeline": _object(
            ["order_id", "entries", "chain"],
            order_id=_STRING,
            entries=_list(
                _object(
                    ["sequence", "at", "actor", "action", "summary", "hash"], sequence={"type": "integer"}, at=_TIME, actor=_STRING, action=_STRING, summary=_STRING, hash=_STRING
                )
            ),
            chain=_object(["whole"], whole={"type": "boolean"}),
        ),
        "Inventory": _object(
            ["sku", "available", "locations"],
            sku=_STRING,
            available=_DECIMAL,
            locations=_list(
                _object(
                    ["location", "on_hand", "committed", "safety", "available"],
                    location=_STRING,
                    on_hand=_DECIMAL,
                    committed=_DECIMAL,
                    safety=_DECIMAL,
                    available=_DECIMAL,
                    expected=_DECIMAL,
                    expected_at=_nullable(_TIME),
                    source=_nullable(_STRING),
                    as_of=_nullable(_TIME),
                    sequence={"type": "integer"},
                    late={"type": "integer"},
                    duplicates={"type": "integer"},
                    ledger=_list(_object(["kind", "at", "source", "outcome"], kind=_STRING, at=_TIME, source=_STRING, outcome=_STRING, change=_DECIMAL, on_hand=_DECIMAL)),
                )
            ),
            channels=_list(
                _object(["connection", "location", "available"], connection=_STRING, location=_STRING, available=_DECIMAL, told=_nullable(_DECIMAL)),
            ),
        ),
        "Customer": _object(
            ["account", "known_as", "missing_in", "status"],
            account=_STRING,
            name=_STRING,
            known_as={"type": "object", "additionalProperties": _list(_STRING), "description": "each connection's names of the account"},
            default_of=_list(_STRING),
            erp=_nullable(_object(["account", "balance", "blocked"], account=_STRING, limit=_MONEY, balance=_MONEY, blocked={"type": "boolean"})),
            erp_as_of=_nullable(_TIME),
            terms=_nullable({"type": "object", "description": "what counts, what waits for approval, what was refused"}),
            missing_in=_list(_STRING),
            status={"enum": ["usable", "partial", "not_yet_checked"]},
        ),
        "Exception": _object(
            ["exception_id", "code", "category", "status", "detail", "owner", "opened_at", "due_at"],
            exception_id=_STRING,
            code=_STRING,
            category=_STRING,
            status={"enum": [status.value for status in ExceptionStatus]},
            detail=_STRING,
            owner=_STRING,
            opened_at=_TIME,
            due_at=_TIME,
        ),
        "Health": _object(["status", "version", "tenant"], status=_STRING, version=_STRING, tenant=_STRING, open_exceptions={"type": "integer"}, time=_TIME),
        "Problem": _object(
            ["type", "title", "status", "detail", "correlation_id"],
            type=_STRING,
            title=_STRING,
            status={"type": "integer"},
            detail=_STRING,
            correlation_id=_STRING,
            code=_STRING,
            errors=_list(_object(["path", "problem"], path=_STRING, problem=_STRING)),
        ),
    }


def _answers(schema: str | None, *, status: str = "200", extra: tuple[str, ...] = ()) -> dict[str, Any]:
    content = {"application/json": {"schema": _ref(schema) if schema else {"type": "object"}}}
    problems = {code: {"description": "problem details (RFC 9457)", "content": {"application/problem+json": {"schema": _ref("Problem")}}} for code in ("403", "429", "500", *extra)}
    return {status: {"description": "as asked", "content": content}, **problems}


def _listing(name: str, item: str) -> dict[str, Any]:
    answers = _answers(None, extra=("400",))
    answers["200"]["content"]["application/json"]["schema"] = _object([name], **{name: _list(_ref(item))})
    return answers


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": _STRING}


def _in_query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def document(*, title: str = "Crossdock") -> dict[str, Any]:
    """The whole contract; ``title`` is the partner's product name."""
    limit = _in_query("limit", {"type": "integer", "minimum": 1, "maximum": 500, "default": 50})
    return {
        "openapi": "3.1.0",
        "info": {"title": f"{title} API", "version": "1.0.0", "description": "Orders, inventory, prices, shipments, returns, customers and exceptions of one tenant."},
        "servers": [{"url": "/v1"}],
        "security": [{"key": []}],
        "paths": {
            "/orders": {
                "get": {
                    "operationId": "listOrders",
                    "parameters": [limit, _in_query("status", {"enum": [status.value for status in OrderStatus]})],
                    "responses": _listing("orders", "OrderSummary"),
                },
                "post": {
                    "operationId": "submitOrder",
                    "parameters": [_IDEMPOTENCY_KEY],
                    "requestBody": {"required": True, "content": {"application/json": {"schema": _ref("SubmittedOrder")}}},
                    "responses": _answers("Accepted", status="202", extra=("400", "409", "413", "422")),
                },
            },
            "/orders/{id}": {"get": {"operationId": "getOrder", "parameters": [_in_path("id")], "responses": _answers("Order", extra=("404",))}},
            "/orders/{id}/timeline": {"get": {"operationId": "getTimeline", "parameters": [_in_path("id")], "responses": _answers("Timeline", extra=("404",))}},
            "/inventory": {
                "post": {
                    "operationId": "reportStock",
                    "parameters": [_IDEMPOTENCY_KEY],
                    "requestBody": {"required": True, "content": {"application/json": {"schema": _ref("StockReport")}}},
                    "responses": _answers("StockAccepted", status="202", extra=("400", "409", "413", "422")),
                }
            },
            "/inventory/{sku}": {"get": {"operationId": "getInventory", "parameters": [_in_path("sku")], "responses": _answers("Inventory", extra=("404",))}},
            "/shipments/{id}": {"get": {"operationId": "getShipment", "parameters": [_in_path("id")], "responses": _answers("Shipment", extra=("404",))}},
            "/returns": {
                "get": {
                    "operationId": "listReturns",
                    "parameters": [limit, _in_query("status", {"enum": [status.value for status in ReturnStatus]})],
                    "responses": _listing("returns", "Return"),
                },
                "post": {
                    "operationId": "submitReturn",
                    "parameters": [_IDEMPOTENCY_KEY],
                    "requestBody": {"required": True, "content": {"application/json": {"schema": _ref("SubmittedReturn")}}},
                    "responses": _answers("ReturnAccepted", status="202", extra=("400", "409", "413", "422")),
                },
            },
            "/returns/{id}": {"get": {"operationId": "getReturn", "parameters": [_in_path("id")], "responses": _answers("Return", extra=("404",))}},
            "/returns/{id}/receipts": {
                "post": {
                    "operationId": "receiveReturn",
                    "parameters": [_in_path("id"), _IDEMPOTENCY_KEY],
                    "requestBody": {"required": True, "content": {"application/json": {"schema": _ref("SubmittedReceipt")}}},
                    "responses": _answers("ReturnAccepted", status="202", extra=("400", "404", "409", "413", "422")),
                }
            },
            "/prices": {
                "post": {
                    "operationId": "reportPrices",
                    "parameters": [_IDEMPOTENCY_KEY],
                    "requestBody": {"required": True, "content": {"application/json": {"schema": _ref("PriceReport")}}},
                    "responses": _answers("PricesAccepted", status="202", extra=("400", "409", "413", "422")),
                }
            },
            "/prices/{sku}": {"get": {"operationId": "getPrice", "parameters": [_in_path("sku")], "responses": _answers("Price", extra=("404",))}},
            "/customers": {
                "post": {
                    "operationId": "reportAccounts",
                    "parameters": [_IDEMPOTENCY_KEY],
                    "requestBody": {"required": True, "content": {"application/json": {"schema": _ref("AccountReport")}}},
                    "responses": _answers("AccountsAccepted", status="202", extra=("400", "409", "413", "422")),
                }
            },
            "/customers/{id}": {"get": {"operationId": "getCustomer", "parameters": [_in_path("id")], "responses": _answers("Customer", extra=("404",))}},
            "/exceptions": {
                "get": {
                    "operationId": "listExceptions",
                    "parameters": [limit, _in_query("status", {"enum": ["open", "resolved"]})],
                    "responses": _listing("exceptions", "Exception"),
                }
            },
            "/health": {"get": {"operationId": "getHealth", "responses": _answers("Health")}},
            "/openapi.json": {"get": {"operationId": "getContract", "responses": _answers(None)}},
        },
        "components": {"schemas": _schemas(), "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "x-api-key"}}},
    }
