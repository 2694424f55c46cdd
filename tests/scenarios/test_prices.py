"""Does the shop charge what counts, does a large change wait for another person, and does an order feel both?"""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import pytest

from tests.scenarios.system import Tenant, eventually

SKU, NUMBER = "AC-GOG-CLR", "70051"


def _charged(tenant: Tenant, sku: str = SKU) -> Decimal:
    """What the shop charges for it."""
    return Decimal(str(next(variant["price"] for variant in tenant.state("storefront")["variants"] if variant["sku"] == sku)))


def _price(tenant: Tenant, sku: str = SKU) -> dict[str, Any]:
    found: dict[str, Any] = tenant.get(f"/v1/prices/{sku}")
    return found


def _counts(tenant: Tenant) -> Decimal | None:
    listed = _price(tenant)["list_price"]
    return Decimal(listed["amount"]) if listed else None


@pytest.fixture
def known(acme: Tenant) -> Decimal:
    """The price as it stands, once the ERP has been asked."""
    acme.cli("prices", "sync")
    found = eventually(lambda: _counts(acme), "the ERP's list price is known", within=60)
    eventually(lambda: _charged(acme) == found, "and in the shop", within=60)
    return Decimal(str(found))


def test_a_small_change_in_the_erp_reaches_the_shop(acme: Tenant, known: Decimal) -> None:
    after = known + Decimal("0.05")
    acme.act("erp", "set_price", item=NUMBER, unit_price=str(after))
    acme.cli("prices", "sync")

    eventually(lambda: _charged(acme) == after, "the shop charges the new price", within=60)

    entry = next(entry for entry in reversed(_price(acme)["entries"]) if entry["action"] == "PriceChanged")
    assert (Decimal(entry["details"]["before"].split()[0]), Decimal(entry["details"]["after"].split()[0]), entry["details"]["source"]) == (known, after, "erp")


def test_a_large_change_waits_for_approval_and_a_refused_one_marks_the_old_price(acme: Tenant, known: Decimal) -> None:
    after = known * 2
    acme.act("erp", "set_price", item=NUMBER, unit_price=str(after))
    acme.cli("prices", "sync")
    waits = acme.exception(code="PRICE_CHANGE")
    assert (_charged(acme), _counts(acme)) == (known, known), "what counted before counts on"

    acme.cli("exceptions", "resolve", waits["exception_id"], "--decision", "reject", "--note", "not this year")
    assert acme.exception(code="PRICE_STALE")
    assert _price(acme)["stale"]
    assert _charged(acme) == known

    acme.act("erp", "set_price", item=NUMBER, unit_price=str(after + 1))
    acme.cli("prices", "sync")
    waits = acme.exception(code="PRICE_CHANGE")
    acme.cli("exceptions", "resolve", waits["exception_id"], "--decision", "approve", "--note", "agreed with sales")
    eventually(lambda: _charged(acme) == after + 1, "the shop charges the approved price", within=60)
    eventually(lambda: not acme.exceptions(code="PRICE_STALE"), "nothing is stale any more", within=30)
    actions = [entry["action"] for entry in _price(acme)["entries"]]
    assert actions.count("PriceChangeRefused") >= 1 and actions.count("PriceChangeApproved") >= 1

    acme.act("erp", "set_price", item=NUMBER, unit_price=str(known))
    acme.cli("prices", "sync")
    acme.cli("exceptions", "resolve", acme.exception(code="PRICE_CHANGE")["exception_id"], "--decision", "approve", "--note", "as it was")
    eventually(lambda: _charged(acme) == known, "as it was", within=60)


def test_a_price_changed_in_the_shop_is_found_and_put_right_by_one_command(acme: Tenant, known: Decimal) -> None:
    acme.act("storefront", "set_price", sku=SKU, price=str(known * 3))
    report: dict[str, Any] = acme.cli("inventory", "reconcile", check=False)
    assert [each["subject"] for each in report["differences"] if each["code"] == "PRICE_DRIFT"] == [f"storefront#{SKU}"]

    acme.cli("inventory", "reconcile", "--apply", check=False)

    eventually(lambda: _charged(acme) == known, "the shop charges what counts", within=60)
    eventually(lambda: not acme.exceptions(code="PRICE_DRIFT"), "closed by the evidence", within=30)


def test_a_price_whose_answer_was_lost_is_shown_as_it_counts(acme: Tenant, known: Decimal) -> None:
    acme.fault("storefront", match={"method": "POST", "operation": "^productVariantsBulkUpdate$"}, drop_after_commit=True, times=1)
    try:
        for price in (known + Decimal("0.10"), known):
            acme.act("erp", "set_price", item=NUMBER, unit_price=str(price))
            acme.cli("prices", "sync")
            eventually(lambda price=price: _charged(acme) == price, f"the shop charges {price}", within=90)
            eventually(lambda price=price: Decimal(_price(acme)["shown"]["storefront"]["price"]["amount"]) == price, "and it is known", within=90)
    finally:
        acme.clear_faults()


def test_what_another_system_owns_is_refused_at_the_door(acme: Tenant) -> None:
    body = {"prices": [{"sku": SKU, "amount": "1", "currency": "USD", "as_of": "2026-03-02T09:00:00Z"}]}
    headers = {"x-api-key": next(iter(acme.api_keys.values())), "Idempotency-Key": uuid.uuid4().hex}
    answer = acme.session.post(f"{acme.api_url}/v1/prices", json=body, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (409, "NOT_SYSTEM_OF_RECORD")


def test_new_terms_wait_for_another_person_and_the_account_tells_of_both(acme: Tenant, known: Decimal) -> None:
    def terms() -> Any:
        return acme.get("/v1/customers/C10020")["terms"]

    before = eventually(terms, "the ERP's terms are known", within=60)["counts"]["value"]["credit_limit"]["amount"]
    acme.act("erp", "set_credit_limit", customer="C10020", credit_limit=str(Decimal(before) * 3))
    acme.cli("prices", "sync")

    waits = acme.exception(code="TERMS_CHANGE")
    assert terms()["counts"]["value"]["credit_limit"]["amount"] == before
    acme.cli("exceptions", "resolve", waits["exception_id"], "--decision", "approve", "--note", "their books are in order")
    assert Decimal(terms()["counts"]["value"]["credit_limit"]["amount"]) == Decimal(before) * 3

    acme.act("erp", "set_credit_limit", customer="C10020", credit_limit=before)
    acme.cli("prices", "sync")
    acme.cli("exceptions", "resolve", acme.exception(code="TERMS_CHANGE")["exception_id"], "--decision", "approve", "--note", "as it was")
