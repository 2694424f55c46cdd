from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from infra import guardrails
from tests.infra.conftest import KEPT, ROOT, kept


def test_a_reference_to_another_tenant_is_found_in_either_spelling() -> None:
    template = {
        "Resources": {"A": {"Properties": {"Name": "crossdock-harbor-supply-work"}}, "B": {"Properties": {"Name": "fine"}}},
        "Outputs": {"C": {"Value": "harbor_supply"}},
    }

    found = guardrails.no_foreign_tenant("acme_industrial", template, ["harbor_supply"])

    assert [line.split(" names ")[0] for line in found] == ["acme_industrial: Resources/A", "acme_industrial: Outputs/C"]


def test_an_export_is_found() -> None:
    assert guardrails.no_shared_export({"Outputs": {"A": {"Value": 1, "Export": {"Name": "x"}}}})
    assert not guardrails.no_shared_export({"Outputs": {"A": {"Value": "Export"}}})


@pytest.mark.parametrize("target", ["aws", "local"])
def test_the_templates_are_clean_to_cfn_lint(target: str) -> None:
    """One tenant of each target: the tenants differ in values only. What the linter has found clean is not linted again until it changes; its
    verdict does not depend on the hashes by which the functions' code is named."""
    linter = Path(sys.executable).parent / "cfn-lint"
    file = kept(target).folder / "crossdock-acme-industrial.template.json"
    seen = re.sub(r"[0-9a-f]{32,64}", "", file.read_text()) + metadata.version("cfn-lint")
    clean = KEPT / f"clean-{hashlib.sha256(seen.encode()).hexdigest()[:24]}"
    if clean.exists():
        return
    done = subprocess.run([str(linter), str(file)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout
    clean.touch()


def test_infra_imports_nothing_of_crossdock_but_its_domain() -> None:
    wrong = [
        f"{file.name}:{number}"
        for file in sorted((ROOT / "infra").rglob("*.py"))
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if line.strip().startswith(("from crossdock", "import crossdock")) and not line.strip().startswith("from crossdock.domain")
    ]

    assert not wrong


def test_a_broken_tenant_file_ends_the_app_with_file_line_and_remedy(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "tenants", tmp_path / "tenants")
    shutil.copytree(ROOT / "partners", tmp_path / "partners")
    for name in ("layers", "functions"):
        (tmp_path / name).symlink_to(ROOT / name)
    place = tmp_path / "tenants" / "harbor_supply.yaml"
    place.write_text(place.read_text().replace("  max_parts: 2", "  max_parts: two"))

    done = subprocess.run(
        [sys.executable, "-m", "infra.app"],
        cwd=ROOT,
        env={"CDK_CONTEXT_JSON": json.dumps({"root": str(tmp_path), "dependencies": "skip"}), "CDK_OUTDIR": str(tmp_path / "out"), "PATH": str(Path(sys.executable).parent)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "tenants/harbor_supply.yaml:" in done.stderr
    assert "write a whole number" in done.stderr
