"""What is each role of a synthesised template allowed to do? A reader of policies for the tests, not an IAM simulator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Grant:
    """One action on one resource, for one role. ``resource`` is the template's expression as JSON."""

    role: str
    sid: str
    action: str
    resource: str


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def grants(template: dict[str, Any]) -> Iterator[Grant]:
    """Everything the template's own policies allow, by logical id of the role."""
    for resource in template["Resources"].values():
        if resource["Type"] != "AWS::IAM::Policy":
            continue
        for role in resource["Properties"]["Roles"]:
            for statement in resource["Properties"]["PolicyDocument"]["Statement"]:
                assert statement["Effect"] == "Allow"
                assert not set(statement) - {"Action", "Effect", "Resource", "Sid"}, f"an element this reader does not know: {statement}"
                for action in as_list(statement["Action"]):
                    for target in as_list(statement["Resource"]):
                        yield Grant(role["Ref"], statement.get("Sid", ""), action, json.dumps(target, sort_keys=True))


def by_function(template: dict[str, Any]) -> dict[str, list[Grant]]:
    """The grants of each function's role, by the function's name."""
    everything = list(grants(template))
    found: dict[str, list[Grant]] = {}
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Lambda::Function":
            role = resource["Properties"]["Role"]["Fn::GetAtt"][0]
            found[resource["Properties"]["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]] = [grant for grant in everything if grant.role == role]
    return found


def logical_id(template: dict[str, Any], output: str) -> str:
    """The resource behind an output."""
    value = template["Outputs"][output]["Value"]
    return str(value["Ref"] if "Ref" in value else value["Fn::GetAtt"][0])
