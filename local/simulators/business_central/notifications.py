"""How does a subscriber learn that something changed: subscriptions with handshake, and notifications after a delay?

https://learn.microsoft.com/dynamics365/business-central/dev-itpro/api-reference/v2.0/dynamics-subscriptions
"""

from __future__ import annotations

import http.client
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from local.simulators.business_central import refusals
from local.simulators.business_central.books import Books, Change, Record
from local.simulators.business_central.contract import ENTITIES
from local.simulators.business_central.payload import blank_record, checked
from local.simulators.server import Context
from local.simulators.webhooks import Target

LIFETIME = timedelta(days=3)
NOTIFY = "notify"
"""The timer that sends what has gathered."""

Handshake = Callable[[str, str], bool]
"""(notification URL, validation token) -> whether the receiver answered 200 with the token as its body."""


def shake_hands(url: str, token: str) -> bool:
    """POST with the token in the query; the receiver proves itself by answering 200 with the token as its body."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=5)
    query = "&".join(part for part in (parts.query, urlencode({"validationToken": token})) if part)
    try:
        connection.request("POST", f"{parts.path or '/'}?{query}", b"")
        answer = connection.getresponse()
        return answer.status == 200 and answer.read().decode("utf-8", errors="replace").strip() == token
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Notifications:
    """Keeps subscriptions and turns committed changes into webhook messages."""

    def __init__(self, ctx: Context, company_id: str, handshake: Handshake = shake_hands) -> None:
        self._ctx = ctx
        self._company_id = company_id
        self._gathered = ctx.store.collection("_gathered")
        self.handshake = handshake

    # -- subscriptions
    def subscribe(self, books: Books, body: Mapping[str, Any]) -> Record:
        """A new subscription; refused when the receiver does not return the validation token."""
        entity = ENTITIES["subscriptions"]
        values = checked(entity, dict(body))
        for name in ("notificationUrl", "resource"):
            if not values.get(name):
                raise refusals.Refused(400, "BadRequest_RequiredParamNotProvided", f"Field '{name}' must not be blank or empty.")
        self._set_name(values["resource"])
        if books.first("subscriptions", notificationUrl=values["notificationUrl"], resource=values["resource"]):
            raise refusals.same_key("Webhook Subscription", f"Endpoint='{values['resource']}'")
        record = {**blank_record(entity), **values, "subscriptionId": secrets.token_hex(16)}
        record["systemCreatedAt"] = books.stamp()
        return self._confirmed(books, record, new=True)

    def renew(self, books: Books, record: Record, body: Mapping[str, Any]) -> Record:
        """New values and three more days, after another handshake."""
        values = checked(ENTITIES["subscriptions"], dict(body))
        if "resource" in values:
            self._set_name(values["resource"])
        return self._confirmed(books, {**record, **values}, new=False)

    def _confirmed(self, books: Books, record: Record, *, new: bool) -> Record:
        if not self.handshake(record["notificationUrl"], secrets.token_urlsafe(24)):
            raise refusals.dialog("The subscriber did not return the validation token: the subscription is not registered.")
        expires = self._ctx.clock.now() + LIFETIME
        record["expirationDateTime"] = f"{expires:%Y-%m-%dT%H:%M:%SZ}"
        record["systemModifiedAt"] = books.stamp()
        return books.insert("subscriptions", record) if new else books.save("subscriptions", record)

    def _set_name(self, resource: str) -> str:
        """The entity set a resource path means; refused when the vendor sends nothing for it."""
        prefix = f"api/v2.0/companies({self._company_id})/"
        path = urlsplit(resource).path.lstrip("/")
        set_name = path[path.find(prefix) + len(prefix) :] if prefix in path else ""
        if set_name not in ENTITIES or not ENTITIES[set_name].webhooks:
            raise refusals.dialog(f"The resource '{resource}' does not support webhook notifications.")
        return set_name

    # -- notifications
    def gather(self, set_name: str, key: str, change: Change, moment: str) -> None:
        """Remember a change; several changes of one record within the delay become one notification."""
        resource = f"api/v2.0/companies({self._company_id})/{set_name}({key})"
        earlier = self._gathered.get(resource)
        if earlier and earlier["changeType"] == "created" and change == "updated":
            change = "created"
        if not self._gathered.keys():
            self._ctx.schedule(float(self._ctx.autopilot["notification_delay_s"]), NOTIFY, staff=False)
        self._gathered.put(
            resource,
            {"set": set_name, "resource": resource, "changeType": change, "lastModifiedDateTime": moment},
        )

    def send_gathered(self, books: Books) -> None:
        """One message per receiver with everything that gathered."""
        changes = self._gathered.values()
        for resource in self._gathered.keys():  # noqa: SIM118 - a collection, not a dict
            self._gathered.delete(resource)
        for target, subscriptions in self._listeners(books).items():
            values = [_notification(change, subscriptions[change["set"]]) for change in changes if change["set"] in subscriptions]
            if values:
                topic = "+".join(sorted({change["set"] for change in changes if change["set"] in subscriptions}))
                self._ctx.webhooks.send(topic, {"value": values}, target=target)

    def _listeners(self, books: Books) -> dict[Target, dict[str, Record]]:
        """Receiver -> set name -> subscription. The target of /_webhook counts as subscribed to everything."""
        now = self._ctx.clock.now()
        found: dict[Target, dict[str, Record]] = {}
        for record in books.all("subscriptions"):
            if datetime.fromisoformat(record["expirationDateTime"]) > now:
                target = Target(record["notificationUrl"], record["clientState"])
                found.setdefault(target, {})[self._set_name(record["resource"])] = record
        standing = self._ctx.webhooks.target
        if standing is not None:
            expires = f"{now + LIFETIME:%Y-%m-%dT%H:%M:%SZ}"
            for set_name, entity in ENTITIES.items():
                if entity.webhooks:
                    found.setdefault(standing, {}).setdefault(
                        set_name,
                        {
                            "subscriptionId": f"standing{set_name}",
                            "clientState": standing.secret,
                            "expirationDateTime": expires,
                        },
                    )
        return found


def _notification(change: Mapping[str, Any], subscription: Record) -> dict[str, Any]:
    return {
        "subscriptionId": subscription["subscriptionId"],
        "clientState": subscription["clientState"],
        "expirationDateTime": subscription["expirationDateTime"],
        "resource": change["resource"],
        "changeType": change["changeType"],
        "lastModifiedDateTime": change["lastModifiedDateTime"],
    }
