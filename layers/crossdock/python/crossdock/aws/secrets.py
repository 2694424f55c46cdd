"""Where do credentials come from, and how soon is a rotation noticed?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from crossdock.domain.clock import Clock
from crossdock.domain.errors import NeedsPerson

if TYPE_CHECKING:
    from crossdock.aws.clients import ServiceClients

KEPT_FOR = timedelta(seconds=60)
AT_MOST_EVERY = timedelta(seconds=5)
OVERLAP = timedelta(hours=24)


def _moment(value: str) -> datetime | None:
    """When the secret was rotated; None when that is not said, so that an old secret without its date does not count for ever."""
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


class TenantSecret:
    """Implements ``ports.Secrets``: the tenant's one secret, {connection: {field: value, webhook_secret, webhook_secret_previous, rotated_at}}.

    The previous webhook secret counts for 24 hours after ``rotated_at``, so that a rotation refuses nobody.
    """

    def __init__(self, clients: ServiceClients, secret_id: str, clock: Clock) -> None:
        self._clients = clients
        self._secret_id = secret_id
        self._clock = clock
        self._value: dict[str, dict[str, str]] | None = None
        self._read_at: datetime | None = None

    def _current(self) -> dict[str, dict[str, str]]:
        now = self._clock.now()
        if self._value is None or self._read_at is None or now - self._read_at > KEPT_FOR:
            found = json.loads(self._clients.secretsmanager.get_secret_value(SecretId=self._secret_id)["SecretString"])
            self._value = {name: fields for name, fields in found.items() if isinstance(fields, dict)}
            self._read_at = now
        return self._value

    def webhook_secrets(self, connection: str) -> list[str]:
        fields = self._current().get(connection, {})
        found = [fields.get("webhook_secret", "")]
        rotated = _moment(fields.get("rotated_at", ""))
        if rotated is not None and self._clock.now() - rotated < OVERLAP:
            found.append(fields.get("webhook_secret_previous", ""))
        return [secret for secret in found if secret]

    def credentials(self, connection: str) -> Mapping[str, str]:
        fields = self._current().get(connection)
        if not fields:
            raise NeedsPerson("CREDENTIALS_MISSING", f"the tenant's secret holds nothing for {connection}", remedy=f"`crossdock secrets set --connection {connection}`")
        return fields

    def refresh(self) -> bool:
        now = self._clock.now()
        if self._read_at is not None and now - self._read_at < AT_MOST_EVERY:
            return False
        self._value = None
        return True
