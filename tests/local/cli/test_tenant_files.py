"""Is a new tenant one new file, and is a wrong one told by file, line and remedy?"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from local.cli.tenant import differences, renamed
from tests.local.cli.conftest import Crossdock

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with the tenants and partners of this one, to change at will."""
    for folder in ("tenants", "partners", "layers/crossdock/python/crossdock/connectors"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "samples"))
    (tmp_path / "local" / "engine").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_tenants_that_are_here_are_valid(checkout: Path, crossdock: Crossdock) -> None:
    found = crossdock("tenant", "validate", "--json")

    assert found.code == 0, found.out
    assert set(found.document["tenants"]) == {"acme_industrial", "harbor_supply"}
    assert {row["tenant"] for row in crossdock("tenant", "list", "--json").document} == {"acme_industrial", "harbor_supply"}


def test_a_tenant_made_from_another_is_valid_at_once_and_touches_nothing_else(checkout: Path, crossdock: Crossdock) -> None:
    before = {file: file.read_bytes() for file in checkout.rglob("*") if file.is_file()}

    found = crossdock("tenant", "new", "blue_harbor", "--from", "acme_industrial", "--json")

    assert found.document["to_do"] == []
    assert crossdock("tenant", "validate", "blue_harbor").code == 0
    after = {file: file.read_bytes() for file in checkout.rglob("*") if file.is_file()}
    assert set(after) - set(before) == {checkout / "tenants" / "blue_harbor.yaml"}
    assert all(after[file] == content for file, content in before.items())


def test_a_tenant_made_from_the_template_has_its_names_filled_in(checkout: Path, crossdock: Crossdock) -> None:
    assert crossdock("tenant", "new", "blue_harbor").code == 0
    text = (checkout / "tenants" / "blue_harbor.yaml").read_text()

    assert "tenant: blue_harbor" in text
    assert "Blue Harbor" in text
    assert "TENANT_NAME" not in text
    assert "PARTNER_NAME" not in text


def test_a_file_that_is_there_is_not_overwritten(checkout: Path, crossdock: Crossdock) -> None:
    assert crossdock("tenant", "new", "acme_industrial").code == 2
    assert crossdock("tenant", "new", "Acme Industrial").code == 2
    assert crossdock("tenant", "new", "blue_harbor", "--from", "nobody").code == 2
    assert crossdock("tenant", "new", "blue_harbor", "--partner", "nobody").code == 2
    assert not (checkout / "tenants" / "blue_harbor.yaml").exists()


def test_a_wrong_file_is_told_by_file_line_and_remedy(checkout: Path, crossdock: Crossdock) -> None:
    file = checkout / "tenants" / "acme_industrial.yaml"
    text = file.read_text()
    file.write_text(text.replace("connector: shipbob", "connector: shipbop"))
    number = next(position for position, line in enumerate(text.splitlines(), start=1) if "connector: shipbob" in line)

    found = crossdock("tenant", "validate", "--json")

    assert found.code == 1
    problem = found.document["problems"][0]
    assert (problem["file"], problem["line"]) == ("tenants/acme_industrial.yaml", number)
    assert problem["remedy"]
    assert f"tenants/acme_industrial.yaml:{number}:" in crossdock("tenant", "validate").out


def test_renaming_keeps_comments_and_everything_else() -> None:
    text = "# Acme\ntenant: acme  # the file's name\npartner: north\ntenants: no\n"

    assert renamed(text, "blue") == "# Acme\ntenant: blue  # the file's name\npartner: north\ntenants: no\n"


def test_differences_are_named_by_their_path() -> None:
    before = {"limits": {"burst": 10, "rate": 5}, "title": "A"}
    after = {"limits": {"burst": 20, "rate": 5}, "title": "A", "new": True}

    assert list(differences(before, after)) == [("limits.burst", 10, 20), ("new", None, True)]
