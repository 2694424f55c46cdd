"""Does every integration have exactly what it needs, and nothing reach beyond its stack? The verdict over one template, as sentences."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from infra.access import needs as needs_of
from infra.access.needs import Needs, Roads
from infra.access.policies import Grant, Request, Stack, Statement, as_list, matches


@dataclass(frozen=True)
class Verdict:
    """``problems`` is empty when all is well. The rest is for the record; ``accepted`` counts cdk-nag's findings with a written reason."""

    problems: tuple[str, ...]
    statements: int
    grants: int
    policies: int
    needs: int
    wildcards: int
    accepted: int


def all_of(templates: Mapping[str, Mapping[str, Any]], roads: Roads) -> tuple[list[str], list[str]]:
    """The problems of all stacks (named by their templates' names), alone and between each other, and a table of what was looked at."""
    stacks = {name: Stack(name, template) for name, template in templates.items()}
    verdicts = {name: check(stack, needs_of.of(stack, roads)) for name, stack in stacks.items()}
    problems = [f"{name}: {problem}" for name, verdict in verdicts.items() for problem in verdict.problems]
    problems += [f"{name}: {reach}" for name, stack in stacks.items() for other, there in stacks.items() if other != name for reach in reaching(stack, there)]
    head = f"{'stack':<40}{'policies':>10}{'statements':>12}{'grants':>8}{'needs':>7}{'wildcards':>11}{'nag accepted':>14}{'problems':>10}"
    rows = [
        f"{name:<40}{each.policies:>10}{each.statements:>12}{each.grants:>8}{each.needs:>7}{each.wildcards:>11}{each.accepted:>14}{len(each.problems):>10}"
        for name, each in verdicts.items()
    ]
    return problems, [head, *rows]


def check(stack: Stack, needs: Needs) -> Verdict:
    """Missing, unneeded, too wide, wildcards without a reason."""
    used: set[Grant] = set()
    problems = list(needs.problems)
    wanted, denied = list(dict.fromkeys(needs.allowed)), list(dict.fromkeys(needs.denied))
    for request in wanted:
        layers = stack.granting(request)
        if not all(layers):
            problems.append(f"missing: {request}")
        used |= {grant for layer in layers if len(layer) == 1 for grant in layer}
    for request in denied:
        denying = stack.refusing(request)
        if not denying:
            problems.append(f"missing: a denial of {request}")
        used |= denying if len(denying) == 1 else set()
    problems += [f"too wide: {request} must be refused for {dict(request.context)}" for request in dict.fromkeys(needs.refused) if all(stack.granting(request))]
    grants = list(_all_grants(stack.statements))
    problems += [f"unneeded: {_named(stack, grant)}" for grant in grants if grant not in used]
    wildcards = list(_wildcards(stack))
    problems += [f"no reason: {statement} says {text}; name it, or accept the finding on its construct" for statement, text, reason in wildcards if not reason]
    return Verdict(
        tuple(dict.fromkeys(problems)),
        statements=len(stack.statements),
        grants=len(grants),
        policies=len({statement.policy for statement in stack.statements}),
        needs=len(wanted) + len(denied),
        wildcards=len(wildcards),
        accepted=sum(len(_accepted(stack, name)) for name in stack.resources),
    )


def _accepted(stack: Stack, name: str) -> list[str]:
    """The findings of cdk-nag that are accepted on a resource."""
    return [rule["id"] for rule in stack.resources[name].get("Metadata", {}).get("cdk_nag", {}).get("rules_to_suppress", [])]


def _all_grants(statements: Iterable[Statement]) -> Iterator[Grant]:
    for statement in statements:
        for principal in ("",) if statement.to_role else statement.principals:
            for action in statement.actions:
                for resource in statement.resources:
                    yield Grant(statement.place, principal, action, resource)


def _named(stack: Stack, grant: Grant) -> str:
    (statement,) = (each for each in stack.statements if each.place == grant.place)
    who = f" for {grant.principal}" if grant.principal else ""
    return f"{statement}: {grant.action} on {grant.resource}{who}"


def _wildcards(stack: Stack) -> Iterator[tuple[Statement, str, bool]]:
    """Every wildcard by which something is allowed, and whether the reason is written on its construct (as for cdk-nag, by its exact text).

    In a resource's own policy the resource ``*`` is that resource."""
    for statement in stack.statements:
        if not statement.allows:
            continue
        reasons = _accepted(stack, statement.policy)
        raw = _at(stack.resources, statement.place)
        texts = [f"Action::{action}" for action in statement.actions if "*" in action]
        if statement.actions[0].startswith("managed:"):
            texts = [f"Policy::{_described(raw)}"]
        elif statement.to_role:
            texts += [f"Resource::{_described(resource)}" for resource in as_list(raw["Resource"]) if "*" in json.dumps(resource)]
        yield from ((statement, text, any(f"[{text}]" in reason for reason in reasons)) for text in texts)


def _described(value: Any) -> str:
    """An expression as cdk-nag writes it: ``<LogicalId.Arn>/*``."""
    if isinstance(value, str):
        return value
    if "Ref" in value:
        return f"<{value['Ref']}>"
    if "Fn::GetAtt" in value:
        return f"<{'.'.join(value['Fn::GetAtt'])}>"
    return "".join(_described(part) for part in value["Fn::Join"][1])


def _at(resources: Any, place: tuple[str | int, ...]) -> Any:
    for step in place:
        resources = resources[step]
    return resources


def reaching(stack: Stack, other: Stack) -> list[str]:
    """Every statement of ``stack`` that names, or by a wildcard covers, a resource of ``other``; conditions are given no credit."""
    found = []
    theirs = set(other.arns.values()) - set(stack.arns.values())
    inside = {f"{arn}{end}" for arn in theirs for end in ("", "/x", ":x", "/index/listing")} | {arn.replace(":stateMachine:", ":execution:") + ":x" for arn in theirs}
    for statement in stack.statements:
        if statement.allows and statement.to_role:
            # Accepted with its reason, where the service knows no resources.
            patterns = [resource for resource in statement.resources if resource != "*"]
            found += [f"{statement}: {pattern} covers {arn} of {other.name}" for pattern in patterns for arn in sorted(inside) if matches(pattern, arn)]
        named = [*statement.principals, *(value for _, _, values in statement.conditions for value in values)]
        if statement.allows:
            found += [f"{statement}: {text} lets in {arn} of {other.name}" for text in named for arn in sorted(inside) if text != "*" and matches(text, arn)]
        if statement.allows and "*" in statement.principals:
            found.append(f"{statement}: lets in anybody")
    for request in needs_of.of(other, {}).allowed:
        if request.context:
            found += [f"{stack.name} lets in {request}" for target in _same_kind(stack, other, request) if all(stack.granting(target))]
    return found


def _same_kind(stack: Stack, other: Stack, request: Request) -> Iterator[Request]:
    """The other stack's wish, directed at this stack's resources."""
    owner = next((name for name, arn in other.arns.items() if request.resource == arn), None)
    if owner is not None and not request.action.startswith("kms:"):
        kind = other.resources[owner]["Type"]
        for name in stack.of_type(kind):
            yield Request(request.principal, request.action, stack.arns[name], request.context, request.why)
