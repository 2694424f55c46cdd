"""After all stories: does any log of the whole run hold a secret, or what belongs to a customer?

Orders with planted names go through, and fail in every way there is; then everything is read that the system wrote in the run.
"""

from __future__ import annotations

import time
from itertools import chain
from typing import Any

import pytest

from local.simulators import exact_json
from tests.scenarios.leaks import dead_letters, deployed, files_written, leaks, logs_written, secrets_of, tokens, workflow_data
from tests.scenarios.orders import IL, place, placed
from tests.scenarios.system import Tenant

PLANTED = {
    "name": "Quillon Zarathex",
    "company": "Vexmark Plantings",
    "street": "77 Obsidian Quay",
    "e-mail": "q.zarathex@marker.example",
    "phone": "+1 815 555 0173",
    "note": "leave it with Thessaly Borquist",
    "card": "4929 0016 5512 7734",
}
ADDRESS = {**IL, "first_name": "Quillon", "last_name": "Zarathex", "company": PLANTED["company"], "address1": PLANTED["street"], "phone": PLANTED["phone"]}
QUOTING = f"{PLANTED['name']}, {PLANTED['street']}, {PLANTED['e-mail']}, {PLANTED['card']} is not accepted"

pytestmark = pytest.mark.soak


def _fails_in_every_way(tenant: Tenant) -> None:
    """What is not authentic, not readable, not mapped, not known, and refused by a vendor who quotes the customer."""
    document: dict[str, Any] = {**placed(tenant, [("AC-TAP-PTF", 1)], address=ADDRESS), "note": f"{PLANTED['note']} {PLANTED['card']}", "email": PLANTED["e-mail"]}
    broken = {**document, "line_items": PLANTED["note"], "total_price": PLANTED["card"], "shipping_address": PLANTED["street"]}
    tenant.shopify("orders/create", None, raw=_json(document), signature="AAAA")
    tenant.shopify("orders/create", None, raw=_json(document)[:-9])
    tenant.shopify("orders/create", None, raw=_json(broken))
    tenant.shopify(f"orders/{PLANTED['e-mail']}", None, raw=_json(document))
    tenant.submit(
        {"external_id": PLANTED["e-mail"], "account": PLANTED["name"], "currency": PLANTED["card"], "ship_to": PLANTED["street"], "lines": [PLANTED["note"]]}, key="leak-1"
    )
    tenant.submit({**_SUBMITTED, "account": PLANTED["e-mail"]}, key="leak-2")
    tenant.fault("erp", match={"method": "POST", "path": ".*/salesOrders.*"}, status=400, times=1, body={"error": {"code": "Application_DialogException", "message": QUOTING}})
    place(tenant, [("AC-TAP-PTF", 3)], address=ADDRESS)
    tenant.exception(code="VENDOR_REFUSED")
    tenant.fault("threepl", match={"method": "POST", "path": ".*/order"}, status=422, times=1, body={"recipient": [QUOTING]})
    place(tenant, [("AC-VLV-075", 2)], address=ADDRESS)


def _json(document: dict[str, Any]) -> bytes:
    return exact_json.dumps(document).encode()


_SUBMITTED = {
    "external_id": "leak-2",
    "currency": "USD",
    "ship_to": {"name": PLANTED["name"], "line1": PLANTED["street"], "city": "Joliet", "region": "IL", "postal_code": "60432", "country": "US", "email": PLANTED["e-mail"]},
    "lines": [{"sku": PLANTED["note"], "quantity": "1", "unit_price": "1"}],
    "note": PLANTED["note"],
}


@pytest.fixture(scope="module")
def planted(system: dict[str, Tenant]) -> Tenant:
    """The first tenant, after orders with planted names went through it and failed in it."""
    acme = system["acme_industrial"]
    through = place(acme, [("AC-TAP-PTF", 2), ("AC-VLV-075", 2)], address=ADDRESS)
    acme.reaches(through, "completed", within=90)
    try:
        _fails_in_every_way(acme)
        for code in ("INVALID_BODY", "UNKNOWN_EVENT", "VENDOR_REFUSED"):
            acme.exception(code=code, within=60)
    finally:
        acme.clear_faults()
    time.sleep(2)  # the engine hands a worker's last lines on a moment after its answer, and nothing says when
    return acme


def _forbidden(system: dict[str, Tenant]) -> dict[str, str]:
    secrets = {f"{tenant.name}: {name}": value for tenant in system.values() for name, value in secrets_of(tenant).items()}
    assert len(secrets) >= 8, f"the secrets to look for were not found: {sorted(secrets)}"
    given = tokens()
    assert given, "the tokens to look for were not found"
    return {**PLANTED, **secrets, **given}


def test_no_log_of_the_whole_run_holds_a_secret_or_a_customers_data(system: dict[str, Tenant], planted: Tenant) -> None:
    written = list(chain(logs_written(planted), files_written()))
    groups = {place for place, _ in written}

    assert any("receive" in place.lower() for place in groups) and any("translate" in place.lower() for place in groups), f"nothing was logged: {sorted(groups)}"
    assert leaks(written, _forbidden(system)) == []


def test_what_waits_in_workflows_and_dead_letters_is_pointers_and_no_customers_data(system: dict[str, Tenant], planted: Tenant) -> None:
    """The work queue is not among them: it brings the facts of the bus, encrypted with the tenant's own key."""
    written = list(chain(workflow_data(planted), dead_letters(planted, "inbound", "outbound")))

    assert {place.split()[0] for place, _ in written} == {"workflow", "queue"}
    assert leaks(written, _forbidden(system)) == []


def test_nothing_that_is_deployed_holds_a_secret(system: dict[str, Tenant], planted: Tenant) -> None:
    """Templates, the tenant's layer, code and environments name the secret and never hold it."""
    written = list(deployed(planted))

    assert any(place == "deployed tenant.json" for place, _ in written) and any(place.startswith("environment") and "CROSSDOCK_" in text for place, text in written)
    # The client keys are made by the template, and the gateway holds them: whoever may read the stack may read them.
    assert leaks(written, {name: value for name, value in _forbidden(system).items() if name not in PLANTED}) == []
