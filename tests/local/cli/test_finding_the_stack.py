"""Is the right stack found, and does a command that cannot know which one say so?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.cli import app, stack
from local.cli.stack import Stack, StackNotFound, Where


class MemoryCloudFormation:
    """A session whose only service lists these tenants' stacks and a stranger's."""

    def __init__(self, *tenants: str) -> None:
        self._stacks = [{"StackName": "CDKToolkit", "Outputs": []}]
        for tenant in tenants:
            outputs = {
                "Tenant": tenant,
                "ApiUrl": "https://api.example.test/live/",
                "ApiId": "a1",
                "ApiStage": "live",
                "WebhookUrls": '{"storefront": "https://x"}',
            }
            self._stacks.append(
                {
                    "StackName": f"crossdock-{tenant.replace('_', '-')}",
                    "Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()],
                }
            )

    def client(self, service: str) -> MemoryCloudFormation:
        assert service == "cloudformation"
        return self

    def get_paginator(self, _operation: str) -> MemoryCloudFormation:
        return self

    def paginate(self, StackName: str | None = None) -> list[dict[str, Any]]:  # noqa: N803 - the service's own name
        found = [each for each in self._stacks if StackName in (None, each["StackName"])]
        if StackName is not None and not found:
            raise ClientError({"Error": {"Code": "ValidationError", "Message": f"Stack with id {StackName} does not exist"}}, "DescribeStacks")
        return [{"Stacks": [each]} for each in found]


def finding(monkeypatch: pytest.MonkeyPatch, *tenants: str, tenant: str | None = None, engine_url: str | None = None) -> Stack:
    session: Any = MemoryCloudFormation(*tenants)
    monkeypatch.setattr(stack, "_surroundings", lambda where, root: (session, engine_url, None, Path.cwd()))
    return stack.find(Where(tenant=tenant))


def test_the_only_stack_needs_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert finding(monkeypatch, "acme_industrial").tenant == "acme_industrial"


def test_a_named_stack_is_found_among_several(monkeypatch: pytest.MonkeyPatch) -> None:
    assert finding(monkeypatch, "acme_industrial", "harbor_supply", tenant="harbor_supply").tenant == "harbor_supply"


def test_among_several_the_error_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StackNotFound, match="--tenant acme_industrial or --tenant harbor_supply"):
        finding(monkeypatch, "acme_industrial", "harbor_supply")


def test_a_tenant_without_a_stack_is_told_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StackNotFound, match="crossdock local up --tenant harbor_supply"):
        finding(monkeypatch, "acme_industrial", tenant="harbor_supply")


def test_nothing_deployed_is_told_apart_from_several(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StackNotFound, match="crossdock local up"):
        finding(monkeypatch)


def test_the_doors_are_the_outputs_on_aws_and_the_engines_locally(monkeypatch: pytest.MonkeyPatch) -> None:
    there = finding(monkeypatch, "acme_industrial")
    here = finding(monkeypatch, "acme_industrial", engine_url="http://127.0.0.1:4566")

    assert there.webhook_urls() == {"storefront": "https://api.example.test/live/webhooks/storefront"}
    assert here.webhook_urls() == {"storefront": "http://127.0.0.1:4566/restapis/a1/live/_user_request_/webhooks/storefront"}


def test_which_stack_is_a_usage_error_with_one_document(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    session: Any = MemoryCloudFormation("acme_industrial", "harbor_supply")
    monkeypatch.setattr(stack, "_surroundings", lambda where, root: (session, None, None, Path.cwd()))

    assert app.run(["balance", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "STACK_NOT_FOUND"


def test_a_real_accounts_settings_do_not_leak_into_the_local_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    surroundings = {"AWS_PROFILE": "production", "AWS_SESSION_TOKEN": "real", "PATH": "/bin"}
    monkeypatch.setattr("local.cli.stack.os.environ", surroundings)

    stack.use_engine("http://127.0.0.1:4566")

    assert "AWS_PROFILE" not in surroundings
    assert "AWS_SESSION_TOKEN" not in surroundings
    assert surroundings["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
    assert surroundings["PATH"] == "/bin"
