from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from infra import tenant_files
from infra.tenant_files import Problem, TenantFileProblem
from tests.infra.conftest import ROOT

Edit = Callable[..., Path]
ACME = "tenants/acme_industrial.yaml"


def _line(root: Path, file: str, text: str) -> int:
    """The only line of the file that holds the text."""
    lines = [number for number, line in enumerate((root / file).read_text().splitlines(), 1) if text in line]
    assert len(lines) == 1, f"{text!r} stands in the lines {lines} of {file}"
    return lines[0]


def _problems(root: Path, name: str = "acme_industrial", overlay: Path | None = None) -> list[Problem]:
    with pytest.raises(TenantFileProblem) as found:
        tenant_files.load(name, root, overlay)
    assert all(problem.remedy and problem.line >= 1 for problem in found.value.problems)
    return found.value.problems


@pytest.mark.parametrize("name", ["acme_industrial", "harbor_supply"])
def test_the_tenants_of_this_repository_are_valid(name: str) -> None:
    assert tenant_files.load(name, ROOT).tenant == name


def test_layers_and_templates_are_no_tenants() -> None:
    assert tenant_files.names(ROOT) == ["acme_industrial", "harbor_supply"]


def test_a_tenant_made_from_the_template_is_valid_once_its_words_are_replaced(project: Edit) -> None:
    root = project()
    text = (root / "tenants" / "_template.yaml").read_text()
    for word, value in (("TENANT_NAME", "new_tenant"), ("PARTNER_NAME", "northstar_erp"), ("TENANT_TITLE", "New Tenant Inc.")):
        assert word in text
        text = text.replace(word, value)
    (root / "tenants" / "new_tenant.yaml").write_text(text)

    assert tenant_files.load("new_tenant", root).title == "New Tenant Inc."


def test_the_partner_s_defaults_and_brand_apply_until_the_tenant_says_otherwise() -> None:
    acme, harbor = (tenant_files.load(name, ROOT) for name in ("acme_industrial", "harbor_supply"))

    assert acme.branding.product_name == harbor.branding.product_name == "Northstar Order Bridge"
    assert (acme.branding.colour, harbor.branding.colour) == ("#0b6e4f", "#14507a")
    assert acme.route("NOT_AUTHORISED").owner == "northstar_support"
    assert acme.service_level.tier == "northstar_standard"
    assert harbor.service_level.tier == "northstar_premium"
    assert acme.holds, "the base layer's holds apply"


def test_every_exception_has_an_owner() -> None:
    for name in tenant_files.names(ROOT):
        assert tenant_files.load(name, ROOT).route("A_CLASS_NOBODY_LISTED").owner


def test_an_overlay_changes_only_the_tenant_it_names(project: Edit, tmp_path: Path) -> None:
    root, overlay = project(), tmp_path / "overlay.json"
    overlay.write_text(json.dumps({"tenants": {"acme_industrial": {"connections": {"storefront": {"base_url": "http://127.0.0.1:20101"}}}}}))

    assert tenant_files.load("acme_industrial", root, overlay).connections["storefront"].base_url == "http://127.0.0.1:20101"
    assert tenant_files.load("harbor_supply", root, overlay).connections["storefront"].base_url.startswith("https://")


def test_a_misspelt_field_is_reported_at_its_own_line(project: Edit) -> None:
    root = project(ACME, "  max_parts: 3", "  max_partz: 3")

    (problem,) = _problems(root)

    assert (str(problem.file), problem.line) == (ACME, _line(root, ACME, "max_partz"))
    assert problem.path == "routing.max_partz"
    assert "spelling" in problem.remedy


def test_a_wrong_value_from_a_lower_layer_is_reported_in_that_layer(project: Edit) -> None:
    root = project("tenants/_base.yaml", "  post_minutes: 60 ", "  post_minutes: soon ")

    (problem,) = _problems(root)

    assert (str(problem.file), problem.line) == ("tenants/_base.yaml", _line(root, "tenants/_base.yaml", "post_minutes"))


def test_a_wrong_value_of_the_partner_is_reported_in_the_partner_s_file(project: Edit) -> None:
    root = project("partners/northstar_erp.yaml", 'colour: "#0b6e4f"', "colour: green")

    (problem,) = _problems(root)

    assert (str(problem.file), problem.line) == ("partners/northstar_erp.yaml", _line(root, "partners/northstar_erp.yaml", "colour: green"))


def test_a_missing_field_is_reported_at_the_block_that_lacks_it(project: Edit) -> None:
    root = project(ACME, "    title: Dallas branch\n", "")

    (problem,) = _problems(root)

    assert (problem.path, problem.line) == ("locations.DAL.title", _line(root, ACME, "  DAL:"))
    assert "add it" in problem.remedy


def test_every_problem_is_reported_and_not_only_the_first(project: Edit) -> None:
    root = project(ACME, "  max_parts: 3", "  max_parts: many")
    project(ACME, "currency: USD", "currency: dollars")

    assert {problem.path for problem in _problems(root)} == {"routing.max_parts", "currency"}


def test_a_name_written_as_a_number_is_told_to_be_quoted(project: Edit) -> None:
    root = project(ACME, 'threepl: "129"', "threepl: 129")

    (problem,) = _problems(root)

    assert "quotes" in problem.remedy
    assert problem.line == _line(root, ACME, "threepl: 129")


def test_a_rule_over_several_fields_points_to_the_line_it_stumbled_over(project: Edit) -> None:
    root = project(ACME, "    - {countries: [CA], locations: [CHI]}", "    - {countries: [CA], locations: [TORONTO]}")

    (problem,) = _problems(root)

    assert problem.line == _line(root, ACME, "TORONTO")
    assert "TORONTO" in problem.problem


def test_a_key_that_stands_twice_is_refused(project: Edit) -> None:
    root = project(ACME, "title: Acme Industrial Supply", "title: Acme Industrial Supply\ntitle: Acme")

    (problem,) = _problems(root)

    assert "twice" in problem.problem


def test_the_file_s_name_and_the_tenant_must_agree(project: Edit) -> None:
    root = project(ACME, "tenant: acme_industrial", "tenant: acme")

    (problem,) = _problems(root)

    assert problem.path == "tenant"
    assert "rename the file" in problem.remedy


def test_an_unknown_tenant_is_answered_with_those_there_are(project: Edit) -> None:
    (problem,) = _problems(project(), "nobody")

    assert "acme_industrial" in problem.problem


@pytest.mark.parametrize("partner", ["nobody", "../tenants/_base", "12"])
def test_an_unknown_partner_is_refused(project: Edit, partner: str) -> None:
    root = project(ACME, "partner: northstar_erp", f'partner: "{partner}"')

    (problem,) = _problems(root)

    assert problem.path == "partner"


def test_a_partner_file_with_an_unknown_field_is_refused(project: Edit) -> None:
    root = project("partners/northstar_erp.yaml", "  per_order: 0.18", "  per_ordr: 0.18")

    assert {problem.path for problem in _problems(root)} == {"price_book.per_order", "price_book.per_ordr"}


def test_an_unknown_connector_is_answered_with_those_there_are(project: Edit) -> None:
    root = project(ACME, "connector: shipbob", "connector: shipbop")

    (problem,) = _problems(root)

    assert problem.path == "connections.threepl.connector"
    assert "shipbob" in problem.problem


def test_a_role_that_the_connector_does_not_offer_is_refused(project: Edit) -> None:
    root = project(ACME, "    connector: shipbob\n    role: warehouse", "    connector: shipbob\n    role: storefront")

    assert "connections.threepl.role" in {problem.path for problem in _problems(root)}


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://evil.example.com", "not one that the connector"),
        ("http://acme-industrial.myshopify.com", "not https"),
        ("https://me:secret@acme-industrial.myshopify.com", "user or password"),
        ("https://127.0.0.1:8000", "not one that the connector"),
        ("https://evil.com/x.myshopify.com", "not one that the connector"),
    ],
)
def test_a_connection_may_only_lead_where_its_connector_s_manifest_says(project: Edit, url: str, words: str) -> None:
    root = project(ACME, "https://acme-industrial.myshopify.com", url)

    problems = [problem for problem in _problems(root) if words in problem.problem]

    assert problems
    assert problems[0].path == "connections.storefront.base_url"


def test_an_overlay_may_lead_to_this_machine_but_not_elsewhere(project: Edit, tmp_path: Path) -> None:
    root, overlay = project(), tmp_path / "overlay.yaml"
    overlay.write_text(
        "tenants:\n  acme_industrial:\n    connections:\n      erp:\n        base_url: https://evil.example.com\n        settings: {login_url: 'http://127.0.0.1:1'}\n"
    )

    (problem,) = _problems(root, overlay=overlay)

    assert (problem.file, problem.line, problem.path) == (overlay.relative_to(root), 5, "connections.erp.base_url")


def test_a_setting_that_is_a_url_may_only_lead_where_the_manifest_says(project: Edit) -> None:
    root = project(ACME, '      freight_account: "44100"', '      freight_account: "44100"\n      login_url: https://evil.example.com/token')

    (problem,) = _problems(root)

    assert problem.path == "connections.erp.settings.login_url"


def test_a_setting_that_the_connector_does_not_know_is_refused(project: Edit) -> None:
    root = project(ACME, "      freight_account:", "      fright_account:")

    (problem,) = _problems(root)

    assert problem.line == _line(root, ACME, "fright_account")


def test_a_location_must_be_worked_by_a_connector_that_can_release(project: Edit) -> None:
    root = project(ACME, "    connection: threepl\n", "    connection: storefront\n")

    assert "ReleaseFulfillment" in " ".join(problem.problem for problem in _problems(root))


def test_stock_must_come_from_a_connector_that_counts_per_location(project: Edit) -> None:
    root = project(ACME, "    stock_from: threepl", "    stock_from: erp")

    (problem,) = _problems(root)

    assert problem.path == "locations.MOR.stock_from"


def test_a_rate_limit_may_only_be_stricter_than_the_vendor_s(project: Edit) -> None:
    root = project(ACME, "    base_url: https://api.shipbob.com", "    base_url: https://api.shipbob.com\n    rate_limit: {requests: 100000, per_seconds: 1, source: a wish}")

    (problem,) = _problems(root)

    assert problem.path == "connections.threepl.rate_limit"


def test_a_cross_reference_of_an_unknown_connection_is_refused(project: Edit) -> None:
    root = project(ACME, "    threepl: {EA: EA}", "    threepls: {EA: EA}")

    (problem,) = _problems(root)

    assert problem.path == "cross_references.units.threepls"


def test_an_overlay_with_an_unknown_part_is_refused(project: Edit, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("tenant: {}\n")

    (problem,) = _problems(project(), overlay=overlay)

    assert "deployment overlay" in problem.problem


def test_a_problem_reads_as_file_line_field_remedy(project: Edit) -> None:
    root = project(ACME, "  max_parts: 3", "  max_parts: many")

    (problem,) = _problems(root)

    assert str(problem).startswith(f"{ACME}:{problem.line}: routing.max_parts: ")
