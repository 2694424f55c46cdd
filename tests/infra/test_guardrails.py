from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from infra import guardrails
from tests.infra.conftest import ROOT, Synthesis


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


def test_the_templates_are_clean_to_cfn_lint(aws: Synthesis, local: Synthesis) -> None:
    """One tenant of each target: the tenants differ in values only, and the linter takes seconds for each file."""
    linter = Path(sys.executable).parent / "cfn-lint"
    files = [str(synthesis.folder / "crossdock-acme-industrial.template.json") for synthesis in (aws, local)]
    done = subprocess.run([str(linter), *files], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


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
