"""How are AWS clients made: each once, when first used, with sane timeouts and botocore's own retries?"""

from __future__ import annotations

import threading
from typing import Any, Protocol

import botocore.session
from botocore.config import Config

CONFIG = Config(retries={"mode": "standard", "max_attempts": 4}, connect_timeout=3, read_timeout=15, max_pool_connections=16)


class ClientMaker(Protocol):
    """What of a session is used here."""

    def client(self, service_name: str, /, *, config: Config) -> Any: ...


class ServiceClients(Protocol):
    """What the adapters take clients from: this module's ``Clients``, or the intake's own."""

    @property
    def dynamodb(self) -> Any: ...
    @property
    def s3(self) -> Any: ...
    @property
    def sqs(self) -> Any: ...
    @property
    def secretsmanager(self) -> Any: ...


class Clients:
    """Lazily made clients of one session. Without one botocore's own: boto3's brings a tenth of a second of what no function uses."""

    def __init__(self, session: ClientMaker | None = None) -> None:
        self._session = session
        self._plain: botocore.session.Session | None = None
        self._made: dict[str, Any] = {}
        self._lock = threading.Lock()

    def client(self, service: str) -> Any:
        made = self._made.get(service)
        if made is None:
            with self._lock:
                if service not in self._made:
                    self._made[service] = self._make(service)
                made = self._made[service]
        return made

    def _make(self, service: str) -> Any:
        if self._session is not None:
            return self._session.client(service, config=CONFIG)
        if self._plain is None:
            self._plain = botocore.session.get_session()
        return self._plain.create_client(service, config=CONFIG)

    @property
    def dynamodb(self) -> Any:
        return self.client("dynamodb")

    @property
    def s3(self) -> Any:
        return self.client("s3")

    @property
    def sqs(self) -> Any:
        return self.client("sqs")

    @property
    def events(self) -> Any:
        return self.client("events")

    @property
    def stepfunctions(self) -> Any:
        return self.client("stepfunctions")

    @property
    def secretsmanager(self) -> Any:
        return self.client("secretsmanager")
