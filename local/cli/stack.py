"""Which deployed stack is meant, and how is it spoken to? The same way on AWS and on the local engine: by its CloudFormation outputs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from crossdock import bootstrap
from crossdock.aws.settings import Settings
from crossdock.domain.dead_letter import DeadLetters
from crossdock.domain.tenant import TenantSpec
from crossdock.flows.services import Services
from infra import tenant_files
from local.engine import engine
from local.engine.local_run import LocalRun
from local.engine.toolchain import project_root

_PREFIX = "crossdock-"


class StackNotFound(LookupError):
    """There is no such stack, or it is not clear which one is meant; the message says what to do."""


@dataclass(frozen=True)
class Where:
    """What the options of a command say about the stack it works on."""

    tenant: str | None = None
    profile: str | None = None
    region: str | None = None

    @property
    def on_aws(self) -> bool:
        return self.profile is not None or self.region is not None


class Stack:
    """One tenant's deployed stack and everything a command needs of it, made when first asked for."""

    def __init__(
        self,
        outputs: Mapping[str, str],
        session: boto3.session.Session,
        *,
        root: Path,
        engine_url: str | None = None,
        overlay: Path | None = None,
    ) -> None:
        self.outputs = dict(outputs)
        self.tenant = self.outputs["Tenant"]
        self.session = session
        self.root = root
        self.engine_url = engine_url
        self._overlay = overlay

    @cached_property
    def spec(self) -> TenantSpec:
        """The tenant's configuration. Raises infra.tenant_files.TenantFileProblem."""
        return tenant_files.load(self.tenant, self.root, self._overlay)

    @cached_property
    def services(self) -> Services:
        return bootstrap.operator_services(Settings.from_outputs(self.outputs), self.spec, self.session)

    @cached_property
    def letters(self) -> DeadLetters:
        return bootstrap.dead_letters(Settings.from_outputs(self.outputs), self.session)

    @property
    def api_url(self) -> str:
        """Without a slash at the end."""
        if self.engine_url is not None:
            return engine.api_url(self.engine_url, self.outputs["ApiId"], self.outputs["ApiStage"])
        return self.outputs["ApiUrl"].rstrip("/")

    def webhook_urls(self) -> dict[str, str]:
        """Connection: where its system posts webhooks."""
        return {connection: f"{self.api_url}/webhooks/{connection}" for connection in json.loads(self.outputs["WebhookUrls"])}

    def api_keys(self) -> dict[str, str]:
        """Client: its key for /v1."""
        gateway = self.session.client("apigateway")
        return {client: gateway.get_api_key(apiKey=key_id, includeValue=True)["value"] for client, key_id in json.loads(self.outputs["ApiKeyIds"]).items()}

    def invoke(self, function: str, event: Mapping[str, Any] | None = None) -> Any:
        """Call one of the stack's functions, by its folder's name, and wait for the answer. Raises RuntimeError when it failed."""
        name = json.loads(self.outputs["FunctionNames"])[function]
        answer = self.session.client("lambda").invoke(FunctionName=name, Payload=json.dumps(dict(event or {})).encode())
        text = answer["Payload"].read().decode()
        if answer.get("FunctionError"):
            raise RuntimeError(f"the function {name} failed: {text[:2000]}")
        return json.loads(text) if text.strip() else None

    def read_secret(self) -> dict[str, Any]:
        """The tenant's one secret: connection to its fields (and what else stands in it)."""
        text = self.session.client("secretsmanager").get_secret_value(SecretId=self.outputs["SecretArn"])["SecretString"]
        value: dict[str, Any] = json.loads(text)
        return value

    def write_secret(self, value: Mapping[str, Any]) -> None:
        self.session.client("secretsmanager").put_secret_value(SecretId=self.outputs["SecretArn"], SecretString=json.dumps(dict(value)))

    def secret_changed_at(self) -> Any:
        """When the secret's value was last written."""
        return self.session.client("secretsmanager").describe_secret(SecretId=self.outputs["SecretArn"]).get("LastChangedDate")


def find(where: Where, root: Path | None = None) -> Stack:
    """The stack that the options name, or the only one there is. Raises StackNotFound."""
    session, engine_url, overlay, home = _surroundings(where, root)
    try:
        known = stacks(session, where.tenant)
    except (BotoCoreError, ClientError) as error:
        raise StackNotFound(f"CloudFormation cannot be asked for the stacks: {error}") from error
    if where.tenant is not None and where.tenant in known:
        return Stack(known[where.tenant], session, root=home, engine_url=engine_url, overlay=overlay)
    if where.tenant is not None:
        place = "deploy it with `cdk deploy`" if where.on_aws else f"`crossdock local up --tenant {where.tenant}`"
        raise StackNotFound(f"there is no stack of the tenant {where.tenant!r} here: {place}")
    if not known:
        raise StackNotFound("no Crossdock stack is deployed here: `cdk deploy` makes one" if where.on_aws else "no tenant is deployed here: run `crossdock local up`")
    if len(known) > 1:
        raise StackNotFound(f"several tenants are up: add --tenant {' or --tenant '.join(sorted(known))}")
    only = next(iter(known.values()))
    return Stack(only, session, root=home, engine_url=engine_url, overlay=overlay)


def local(tenant: str, root: Path) -> Stack:
    """A tenant's stack on the local engine."""
    return find(Where(tenant=tenant), root)


def stacks(session: boto3.session.Session, tenant: str | None) -> dict[str, dict[str, str]]:
    """Tenant to the outputs of its stack, for one tenant or all of them."""
    client = session.client("cloudformation")
    paginator = client.get_paginator("describe_stacks")
    found: dict[str, dict[str, str]] = {}
    try:
        pages = paginator.paginate(StackName=f"{_PREFIX}{tenant.replace('_', '-')}") if tenant else paginator.paginate()
        for page in pages:
            for stack in page["Stacks"]:
                outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
                if stack["StackName"].startswith(_PREFIX) and "Tenant" in outputs:
                    found[outputs["Tenant"]] = outputs
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
    return found


def _surroundings(where: Where, root: Path | None) -> tuple[boto3.session.Session, str | None, Path | None, Path]:
    home = root or project_root()
    if where.on_aws:
        return boto3.session.Session(profile_name=where.profile, region_name=where.region), None, None, home
    run = LocalRun(home)
    state = run.require()
    if state.engine is None:
        raise StackNotFound("nothing is up here: run `crossdock local up`")
    use_engine(state.engine.url)
    overlay = run.directory.overlay_file
    return boto3.session.Session(region_name=engine.REGION), state.engine.url, overlay if overlay.is_file() else None, home


def use_engine(engine_url: str) -> None:
    """From here on every AWS client of this program speaks to the local engine: a real account's settings must not leak in."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(engine.client_environment(engine_url))
