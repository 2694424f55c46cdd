"""How do these tests talk to the simulator? A signed-in client of one company, in-process, on a clock that stands still."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode

from local.simulators.business_central.masters import id_of
from local.simulators.clock import ManualClock
from local.simulators.server import Answer, Config, Harness

COMPANY = "3f0c1f0a-9c1e-4d7e-8a55-0d2c5b9a1e11"
CREDENTIALS = {
    "aad_tenant": "acme.example",
    "environment": "Production",
    "company_id": COMPANY,
    "client_id": "5a6b7c8d-0000-4000-8000-000000000001",
    "client_secret": "a secret of the tests",
}
ROOT = "/v2.0/acme.example/Production/api/v2.0"
SCOPE = "https://api.businesscentral.dynamics.com/.default"
SEED: dict[str, Any] = {
    "company": {"name": "Acme Industrial"},
    "unitsOfMeasure": [{"code": "EA", "displayName": "Each"}, {"code": "CASE", "displayName": "Case"}, {"code": "KG"}],
    "locations": [{"code": "EAST"}, {"code": "WEST"}, {"code": "3PL"}],
    "staff_locations": ["EAST", "WEST"],
    "currencies": [{"code": "EUR", "displayName": "Euro"}],
    "paymentTerms": [{"code": "30D", "dueDateCalculation": "30D"}],
    "shipmentMethods": [{"code": "GROUND"}],
    "taxAreas": [{"code": "TX", "displayName": "Texas", "rates": {"TAXABLE": "8.25"}}],
    "accounts": [{"number": "44100", "displayName": "Freight", "taxGroupCode": "FREIGHT"}],
    "customers": [
        {
            "number": "C-1",
            "displayName": "Bolt & Sons",
            "creditLimit": "5000",
            "taxLiable": True,
            "taxAreaCode": "TX",
            "paymentTermsCode": "30D",
            "addressLine1": "1 Main St",
            "city": "Austin",
            "state": "TX",
            "country": "US",
            "postalCode": "73301",
        },
        {"number": "C-2", "displayName": "Blocked Ltd", "blocked": "All"},
    ],
    "items": [
        {
            "number": "BOLT",
            "displayName": "Bolt",
            "unitPrice": "10.00",
            "baseUnitOfMeasureCode": "EA",
            "taxGroupCode": "TAXABLE",
            "stock": {"EAST": 50, "3PL": 100},
            "units": {"CASE": 12},
        },
        {
            "number": "NUT",
            "displayName": "Nut",
            "unitPrice": "0.33",
            "baseUnitOfMeasureCode": "EA",
            "taxGroupCode": "TAXABLE",
            "stock": {"WEST": 5},
        },
        {"number": "OLD", "displayName": "Old", "unitPrice": 1, "baseUnitOfMeasureCode": "EA", "blocked": True},
    ],
    "sales_prices": [{"customer": "C-1", "item": "BOLT", "unit_price": "9.00", "minimum_quantity": 10}],
}
EAST, WEST, THREE_PL = (id_of("locations", code) for code in ("EAST", "WEST", "3PL"))


def config(**changes: Any) -> Config:
    """A configuration with the staff's autopilot off, so that a test drives each step."""
    values: dict[str, Any] = {
        "vendor": "business_central",
        "credentials": CREDENTIALS,
        "seed": SEED,
        "autopilot": {"enabled": False},
    }
    return Config(**{**values, **changes})


class Desk:
    """Calls the API as a signed-in client."""

    def __init__(self, config: Config, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock()
        self.posted: list[tuple[str, dict[str, str], bytes]] = []
        self.harness = Harness(config, clock=self.clock, transport=self._receive)
        self.token = self.sign_in().json()["access_token"]

    def sign_in(self, **changes: str) -> Answer:
        form = {
            "grant_type": "client_credentials",
            "client_id": CREDENTIALS["client_id"],
            "client_secret": CREDENTIALS["client_secret"],
            "scope": SCOPE,
            **changes,
        }
        headers = {"content-type": "application/x-www-form-urlencoded"}
        return self.harness.call("POST", "/acme.example/oauth2/v2.0/token", headers=headers, body=urlencode(form).encode())

    def call(self, method: str, path: str, body: Any = None, *, etag: str | None = None, **headers: str) -> Answer:
        """`path` below the company; bad calls of the tests are marked so that they are not recorded."""
        sent = {"authorization": f"Bearer {self.token}", "host": "127.0.0.1:9", **headers}
        if etag is not None:
            sent["if-match"] = etag
        return self.harness.call(method, f"{ROOT}/companies({COMPANY})/{path}", headers=sent, json=body)

    def bad(self, method: str, path: str, body: Any = None, *, etag: str | None = None) -> tuple[int, str, str]:
        """A call that is meant to be refused: status, code and message."""
        answer = self.call(method, path, body, etag=etag, **{"x-negative-control": "1"})
        error = answer.json()["error"]
        return answer.status, error["code"], error["message"]

    def get(self, path: str, **options: object) -> Any:
        """The body of a GET; options are system query options without their dollar."""
        query = urlencode({f"${name}": str(value) for name, value in options.items()}, quote_via=quote, safe="$,()'")
        answer = self.call("GET", f"{path}?{query}" if query else path)
        assert answer.status == 200, answer.json()
        return answer.json()

    def order(self, *lines: dict[str, Any], **header: Any) -> Any:
        """A new sales order of customer C-1 with its lines."""
        body = {"customerNumber": "C-1", **header, "salesOrderLines": [{"lineType": "Item", **line} for line in lines]}
        answer = self.call("POST", "salesOrders?$expand=salesOrderLines", body)
        assert answer.status == 201, answer.json()
        return answer.json()

    def plan(self, order_id: str, number: int, **quantities: object) -> Any:
        """PATCH shipQuantity / invoiceQuantity of the order's n-th line."""
        line = self.get(f"salesOrders({order_id})/salesOrderLines")["value"][number]
        path = f"salesOrders({order_id})/salesOrderLines({line['id']})"
        answer = self.call("PATCH", path, quantities, etag=line["@odata.etag"])
        assert answer.status == 200, answer.json()
        return answer.json()

    def post_order(self, order_id: str) -> Answer:
        return self.call("POST", f"salesOrders({order_id})/Microsoft.NAV.shipAndInvoice")

    def stock(self, item: str) -> Decimal:
        return Decimal(self.get("items", filter=f"number eq '{item}'")["value"][0]["inventory"])

    def _receive(self, url: str, headers: Any, body: bytes, timeout: float) -> int:
        self.posted.append((url, dict(headers), body))
        return 202
