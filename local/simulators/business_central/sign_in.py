"""Who may call the API? The client credentials grant of the directory, and the bearer tokens it gave out.

https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

from local.simulators.clock import Clock
from local.simulators.server import Answer, Call
from local.simulators.state import Store

SCOPE = "https://api.businesscentral.dynamics.com/.default"


class SignIn:
    """Gives out bearer tokens and recognises them; they survive a restart and run out by the clock."""

    def __init__(self, store: Store, clock: Clock, credentials: Mapping[str, Any]) -> None:
        self._tokens = store.collection("_tokens")
        self._clock = clock
        self._credentials = credentials

    def token(self, call: Call, tenant: str, lifetime_seconds: int) -> Answer:
        """The answer of `POST /{tenant}/oauth2/v2.0/token`. Never recorded: it is not part of the ERP's contract."""
        form = dict(parse_qsl(call.body.decode("utf-8", errors="replace"), keep_blank_values=True))
        if not call.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            return _refused(400, "invalid_request", "AADSTS900144: The request body must be form encoded.")
        if tenant != self._credentials["aad_tenant"]:
            return _refused(400, "invalid_request", f"AADSTS90002: Tenant '{tenant}' not found.")
        if form.get("grant_type") != "client_credentials":
            return _refused(400, "unsupported_grant_type", "AADSTS70003: The grant type is not supported.")
        if form.get("client_id") != self._credentials["client_id"]:
            return _refused(400, "unauthorized_client", "AADSTS700016: Application not found in the directory.")
        given = form.get("client_secret", "").encode()
        if not hmac.compare_digest(given, str(self._credentials["client_secret"]).encode()):
            return _refused(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.")
        if form.get("scope") != SCOPE:
            return _refused(400, "invalid_scope", "AADSTS70011: The provided value for 'scope' is not valid.")
        now = self._clock.now()
        for key in self._tokens.keys():  # noqa: SIM118 - a collection, not a dict
            held = self._tokens.get(key)
            if held and datetime.fromisoformat(held["expires"]) <= now:
                self._tokens.delete(key)
        token = secrets.token_urlsafe(32)
        self._tokens.put(token, {"expires": (now + timedelta(seconds=lifetime_seconds)).isoformat()})
        body = {
            "token_type": "Bearer",
            "expires_in": lifetime_seconds,
            "ext_expires_in": lifetime_seconds,
            "access_token": token,
        }
        return Answer(200, body, {"cache-control": "no-store"}, record=False)

    def knows(self, authorization: str) -> bool:
        """Whether this Authorization header carries a token that is still good."""
        scheme, _, token = authorization.partition(" ")
        held = self._tokens.get(token) if scheme.lower() == "bearer" and token else None
        return held is not None and self._clock.now() < datetime.fromisoformat(held["expires"])

    def revoke_all(self) -> int:
        """Every token given out so far stops working."""
        keys = self._tokens.keys()
        for key in keys:
            self._tokens.delete(key)
        return len(keys)


def _refused(status: int, error: str, description: str) -> Answer:
    return Answer(status, {"error": error, "error_description": description}, record=False)
