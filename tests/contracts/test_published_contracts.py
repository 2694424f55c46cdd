"""Do the committed contracts say what the code does?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from crossdock import v1
from crossdock.openapi import document
from local.contracts import documents, drift

ROOT = Path(__file__).resolve().parents[2]


def test_the_committed_contracts_are_what_the_code_says() -> None:
    assert drift(ROOT / "contracts") == [], "run `python -m local.contracts`, review the difference, commit it"


def test_drift_is_noticed(tmp_path: Path) -> None:
    for path, content in documents().items():
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    assert drift(tmp_path) == []

    changed = tmp_path / "canonical/v1/money.schema.json"
    changed.write_text(changed.read_text().replace("amount", "value"))
    (tmp_path / "canonical/v1/order.schema.json").unlink()

    assert drift(tmp_path) == ["canonical/v1/order.schema.json is missing", "canonical/v1/money.schema.json differs from the code"]


@pytest.mark.parametrize("path", [path for path in documents() if path != "openapi.json"])
def test_each_canonical_schema_is_a_valid_json_schema(path: str) -> None:
    Draft202012Validator.check_schema(json.loads(documents()[path]))


def test_every_route_is_in_the_contract_and_nothing_else() -> None:
    offered = {(method.lower(), _template(pattern)) for method, pattern in v1.routes()}
    described = {(method, path) for path, item in document()["paths"].items() for method in item}
    assert offered == described


def _template(pattern: str) -> str:
    text = json.loads(pattern).removeprefix("^").removesuffix("$").replace("\\.", ".")
    name = "{sku}" if text.startswith(("/inventory", "/prices")) else "{id}"
    return "".join([text.split("(")[0], name, text.split(")")[1]]) if "(" in text else text
