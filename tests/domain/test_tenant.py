"""Is a tenant's configuration refused where it cannot be right, and does it translate both ways?"""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from crossdock.domain.errors import NeedsPerson
from crossdock.domain.manifest import ConnectorManifest
from crossdock.domain.tenant import CrossReference, HoldKind
from tests.flows.world import MANIFESTS, SPEC, spec

CHI = SPEC["locations"]["CHI"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"connections": {"erp2": {"connector": "erp", "role": "erp", "base_url": "https://erp.example.test"}}}, "exactly one connection must have the role erp"),
        ({"locations": {"CHI": {**CHI, "connection": "nobody"}}}, "locations.CHI.connection names the connection 'nobody'"),
        ({"locations": {"CHI": {**CHI, "stock_from": "nobody"}}}, "locations.CHI.stock_from"),
        ({"locations": {"CHI": {**CHI, "codes": {"nobody": "1"}}}}, "locations.CHI.codes names the connection"),
        ({"locations": {"CHI": {**CHI, "codes": {"shop": "1"}}}}, "needs the name of the location in 'erp'"),
        ({"routing": {"rules": [{"locations": ["NOWHERE"]}]}}, "routing.rules.0.locations names 'NOWHERE'"),
        ({"returns": {"location": "NOWHERE"}}, "returns.location names 'NOWHERE'"),
        ({"exceptions": {"default": None}}, "exceptions"),
        ({"systems_of_record": {"orders": "nobody"}}, "systems_of_record.orders"),
        ({"articles": {"BOLT": {"codes": {"nobody": "1"}}}}, "articles.BOLT.codes"),
        ({"currency": "usd"}, "currency"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_configuration_that_contradicts_itself_names_the_place(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError) as refused:
        spec(**changes)
    assert problem in str(refused.value)


def test_no_exception_is_without_an_owner() -> None:
    document = {**SPEC, "exceptions": {"MISSING_XREF": {"owner": "x"}}}
    from crossdock.domain.tenant import TenantSpec

    with pytest.raises(ValidationError, match="no exception may be without an owner"):
        TenantSpec.model_validate(document)
    assert spec().route("SOMETHING_NEW").owner == "operations"
    assert spec().route("MISSING_XREF").owner == "master_data"


def test_a_hold_without_a_policy_of_its_own_has_the_ordinary_one() -> None:
    assert spec().hold_policy(HoldKind.ADDRESS).owner == "operations"
    assert spec().hold_policy(HoldKind.CREDIT).owner == "credit_control"


def test_the_secret_has_a_place_for_each_connection() -> None:
    assert spec().secret_template() == {"shop": {}, "erp": {}, "threepl": {}, "direct": {}}


def test_names_translate_both_ways() -> None:
    names = CrossReference(spec())
    for _ in range(2):  # the second time from the table that was made
        assert names.our_sku("erp", "70010") == "BOLT"
        assert names.our_location("threepl", "129") == "MOR"
    assert names.their_sku("erp", "BOLT") == "70010"
    assert names.our_sku("shop", "BOLT") == names.their_sku("shop", "BOLT") == "BOLT"
    assert names.our_sku("threepl", "TP-VALVE") == "VALVE"
    assert names.their_location("threepl", "MOR") == "129"
    assert names.our_unit("erp", "CASE") == "CS"
    assert names.their_unit("erp", "CS") == "CASE"
    assert names.conversion("BOLT", "CS") == (12, 1)
    assert names.account("shop", ("nobody", "company-2", "company-1")) == "C10020", "the most specific name that is known"


def test_an_article_without_a_name_in_a_system_is_not_there() -> None:
    names = CrossReference(spec(cross_references={"sku_same_in": ["shop"]}))
    with pytest.raises(NeedsPerson):
        names.our_sku("threepl", "BOLT")


@pytest.mark.parametrize(
    ("ask", "where"),
    [
        (lambda names: names.our_sku("erp", "x"), "articles"),
        (lambda names: names.their_sku("erp", "x"), "articles.x.codes.erp"),
        (lambda names: names.their_sku("direct2", "BOLT"), "articles.BOLT.codes.direct2"),
        (lambda names: names.article("x"), "articles"),
        (lambda names: names.conversion("BOLT", "PL"), "articles.BOLT.units"),
        (lambda names: names.our_unit("erp", "BARREL"), "cross_references.units.erp"),
        (lambda names: names.their_unit("erp", "PL"), "cross_references.units.erp"),
        (lambda names: names.our_location("erp", "x"), "locations"),
        (lambda names: names.their_location("threepl", "CHI"), "locations.CHI.codes.threepl"),
        (lambda names: names.account("shop", ()), "cross_references.customers.shop"),
        (lambda names: names.account("erp", ("x",)), "cross_references.customers.erp"),
    ],
)
def test_a_name_without_an_entry_is_never_guessed(ask: Any, where: str) -> None:
    with pytest.raises(NeedsPerson, match="MISSING_XREF") as missing:
        ask(CrossReference(spec()))
    assert f"add it under {where} " in missing.value.remedy


def test_an_event_is_handled_or_ignored_and_never_both() -> None:
    document = MANIFESTS["shop"].model_dump()
    document["ignored"]["told"] = {"reason": "for a good reason"}
    with pytest.raises(ValidationError, match="both handled and ignored: told"):
        ConnectorManifest.model_validate(document)
