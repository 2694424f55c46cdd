"""Which rules must every stack keep before it may be deployed? A broken one ends the synthesis with what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks

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
