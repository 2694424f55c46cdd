"""How do credentials and webhook secrets get into a tenant's one secret, and how old are they?"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from crossdock.domain.manifest import ConnectorManifest
from local.cli.options import NotOk, UsageProblem, actor, on_stack
from local.cli.rendering import Screen
from local.cli.stack import Stack

app = typer.Typer()

_WEBHOOK = "webhook_secret"
_PREVIOUS = "webhook_secret_previous"

Connection = Annotated[str, typer.Option("--connection", metavar="C", help="The connection.")]


@app.command("set")
@on_stack
def set_field(
    stack: Stack,
    screen: Screen,
    connection: Connection,
    field: Annotated[str, typer.Option("--field", metavar="K", help="The field's name in the manifest.")],
) -> None:
    """Put one field; the value comes from standard input, so that it stands in no shell history."""
    allowed = _fields(_manifest(stack, connection))
    if field not in allowed:
        raise UsageProblem(f"{connection} has no secret field {field!r}; there are: {', '.join(allowed)}")
    value = _from_input(f"value of {connection}.{field}: ")
    if not value:
        raise UsageProblem("standard input held no value")
    secret = stack.read_secret()
    stack.write_secret({**secret, connection: {**secret.get(connection, {}), field: value}})
    _note(stack, connection, f"{field} was set")
    screen.show({"connection": connection, "field": field, "set": True}, lambda: screen.write(f"{connection}.{field} is set"))


@app.command("rotate")
@on_stack
def rotate(stack: Stack, screen: Screen, connection: Connection) -> None:
    """A new webhook secret; the previous one still counts for 24 hours, so nothing is refused meanwhile.

    The new one comes from standard input (the vendor made it), or is made here and printed once.
    """
    manifest = _manifest(stack, connection)
    if manifest.webhooks is None:
        raise UsageProblem(f"{connection} takes no webhooks: nothing to rotate")
    given = "" if sys.stdin.isatty() else sys.stdin.read().strip()
    fresh = given or made_for(manifest)
    secret = stack.read_secret()
    stack.write_secret({**secret, connection: rotated(secret.get(connection, {}), fresh, datetime.now(UTC))})
    _note(stack, connection, "the webhook secret was rotated")
    shown: dict[str, Any] = {"connection": connection, "rotated": True, "previous_valid_hours": 24}
    if not given:
        shown["webhook_secret"] = fresh

    def draw() -> None:
        screen.write(f"{connection}: rotated; the previous secret counts for 24 hours more")
        if not given:
            screen.write(f"give this to the vendor, it is shown once: {fresh}")

    screen.show(shown, draw)


def rotated(fields: Mapping[str, str], fresh: str, now: datetime) -> dict[str, str]:
    """The connection's fields with `fresh` as the current webhook secret and the standing one as the previous."""
    standing = {_PREVIOUS: fields[_WEBHOOK]} if fields.get(_WEBHOOK) and fields[_WEBHOOK] != fresh else {}
    return {**fields, **standing, _WEBHOOK: fresh, "rotated_at": now.isoformat()}


def made_for(manifest: ConnectorManifest) -> str:
    """A new webhook secret in the spelling that the connector's signature scheme knows."""
    standard = manifest.webhooks is not None and manifest.webhooks.signature.scheme == "standard_webhooks"
    return f"whsec_{secrets.token_hex(16)}" if standard else secrets.token_hex(32)


@app.command("status")
@on_stack
def status(stack: Stack, screen: Screen) -> None:
    """Which fields are set and how old they are; never a value. Exit code 1 when one is missing."""
    secret, changed = stack.read_secret(), stack.secret_changed_at()
    rows = [_row(connection, field, secret.get(connection, {})) for connection in stack.spec.connections for field in _fields(_manifest(stack, connection))]
    found = {"tenant": stack.tenant, "changed_at": changed, "fields": rows}

    def draw() -> None:
        screen.table(
            "secrets",
            ["connection", "field", "set", "rotated", "previous kept"],
            [(row["connection"], row["field"], row["set"], row["rotated_at"], row["previous"]) for row in rows],
        )
        if changed is not None:
            screen.write(f"last written {changed:%Y-%m-%d %H:%M:%S}, {(datetime.now(UTC) - changed).days} days ago")

    screen.show(found, draw)
    if not all(row["set"] for row in rows):
        raise NotOk("")


def _row(connection: str, field: str, fields: Mapping[str, str]) -> dict[str, Any]:
    hook = field == _WEBHOOK
    return {
        "connection": connection,
        "field": field,
        "set": bool(fields.get(field)),
        "rotated_at": fields.get("rotated_at") if hook else None,
        "previous": hook and bool(fields.get(_PREVIOUS)),
    }


def _manifest(stack: Stack, connection: str) -> ConnectorManifest:
    if connection not in stack.spec.connections:
        raise UsageProblem(f"{stack.tenant} has no connection {connection!r}; there are: {', '.join(stack.spec.connections)}")
    return stack.services.connectors.manifest(connection)


def _fields(manifest: ConnectorManifest) -> list[str]:
    return [*manifest.credentials, *([_WEBHOOK] if manifest.webhooks is not None else [])]


def _from_input(prompt: str) -> str:
    if sys.stdin.isatty():
        value: str = typer.prompt(prompt, hide_input=True, prompt_suffix="", err=True)
        return value.strip()
    return sys.stdin.read().strip()


def _note(stack: Stack, connection: str, what: str) -> None:
    stack.services.audit.append(f"connection-{connection}", actor=actor(), action="SecretChanged", summary=what, details={}, at=stack.services.clock.now())
