"""Which rules must every stack keep before it may be deployed? A broken one ends the synthesis with what to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks

from infra.access import check
from infra.access.calls import Code
from infra.tenant_stack import stack_name


def check_with_nag(app: App) -> None:
    """Every AwsSolutions finding must be accepted on its construct, with a reason, or the synthesis fails."""
    Validations.of(app).add_plugins(AwsSolutionsChecks(app, write_suppressions_to_cloud_formation=True, verbose=True))


def no_foreign_tenant(tenant: str, template: Mapping[str, Any], others: list[str]) -> list[str]:
    """Every place of ``tenant``'s template that names another tenant: there may be none."""
    broken: list[str] = []
    for section in ("Resources", "Outputs", "Parameters"):
        for name, part in template.get(section, {}).items():
            text = json.dumps(part)
            broken += [
                f"{tenant}: {section}/{name} names the tenant {other}; tenants share nothing: remove the reference"
                for other in others
                if other in text or stack_name(other) in text
            ]
    return broken


def no_shared_export(template: Mapping[str, Any]) -> list[str]:
    """Exports and imports tie stacks together: there may be none."""
    broken = [f"the output {name} is exported: a tenant's stack stands alone" for name, output in template.get("Outputs", {}).items() if "Export" in output]
    if "Fn::ImportValue" in json.dumps(template):
        broken.append("the template uses Fn::ImportValue: a tenant's stack stands alone")
    return broken


def exact_permissions(root: Path, templates: Mapping[str, Mapping[str, Any]], say: Callable[[str], None]) -> list[str]:
    """Every integration may do what it needs and nothing else, and no statement reaches into another stack (docs/decisions/0107-permissions-are-proven.md)."""
    code = Code(root)
    problems, table = check.all_of(templates, {function: code.calls(function) for function in code.functions})
    for line in table:
        say(f"permissions: {line}")
    return problems
