"""How does a vendor's webhook reach its receiver: signed, retried on its schedule, never forgotten by a kill?"""

from __future__ import annotations

import http.client
import logging
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from local.simulators import exact_json
from local.simulators.clock import Clock
from local.simulators.exchanges import ExchangeRecorder
from local.simulators.faults import FaultBoard
from local.simulators.state import Store

logger = logging.getLogger(__name__)

Transport = Callable[[str, Mapping[str, str], bytes, float], int]
"""Posts (url, headers, body, seconds) and answers the HTTP status; raises OSError when there is no answer."""


@dataclass(frozen=True)
class Target:
    """Where webhooks go, the secret they are signed with, and the topics subscribed to (empty: all)."""

    url: str
    secret: str
    topics: tuple[str, ...] = ()


@dataclass(frozen=True)
class Message:
    """One webhook: the same over all its attempts. `attempt` counts from 1."""

    id: str
    topic: str
    body: bytes
    headers: dict[str, str]
    secret: str
    attempt: int


Signer = Callable[[Message, datetime], Mapping[str, str]]
"""The vendor's headers for one attempt at one moment, signature included."""


def post(url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> int:
    """POST without following redirects, as webhook senders do."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request("POST", parts.path + (f"?{parts.query}" if parts.query else ""), body, dict(headers))
        return connection.getresponse().status
    except http.client.HTTPException as error:
        raise OSError(f"the receiver answered no HTTP: {error!r}") from error
    finally:
        connection.close()


class WebhookSender:
    """A persisted queue of messages. `send` joins the present unit of work; `deliver_due` posts what is due."""

    def __init__(self, store: Store, clock: Clock, faults: FaultBoard, recorder: ExchangeRecorder, transport: Transport = post) -> None:
        self._store = store
        self._clock = clock
        self._faults = faults
        self._recorder = recorder
        self._transport = transport
        self._sign: Signer = _unsigned
        self._timeout = 15.0
        self.retry_after_seconds: list[float] = []
        self._busy: set[int] = set()
        self._busy_lock = threading.Lock()
        self._settings = store.collection("_webhook")
        self.wake: Callable[[], None] = lambda: None

    def use(self, *, sign: Signer, retry_after_seconds: Sequence[float], timeout_seconds: float, time_scale: float | Decimal | None) -> None:
        """Adopt a vendor's habits. `time_scale` multiplies its schedule; None keeps as many tries in local time:
        1, 2, 4 ... seconds, at most 30."""
        if time_scale is None:
            self.retry_after_seconds = [min(2.0**attempt, 30.0) for attempt in range(len(retry_after_seconds))]
        else:
            self.retry_after_seconds = [seconds * float(time_scale) for seconds in retry_after_seconds]
        self._timeout = timeout_seconds
        self._sign = sign

    @property
    def target(self) -> Target | None:
        stored = self._settings.get("target")
        return Target(url=stored["url"], secret=stored["secret"], topics=tuple(stored.get("topics", ()))) if stored and stored["url"] else None

    @target.setter
    def target(self, target: Target | None) -> None:
        with self._store.unit():
            self._settings.put("target", {"url": target.url, "secret": target.secret, "topics": list(target.topics)} if target else {"url": ""})

    def send(
        self,
        topic: str,
        body: Any,
        *,
        headers: Mapping[str, str] | None = None,
        target: Target | None = None,
        message_id: str | None = None,
    ) -> str | None:
        """Queue one webhook in the present unit of work and answer its id; None when nobody listens.

        `body` is raw bytes or a JSON value. `headers` are those that stay the same over all attempts (topic, shop ...);
        the simulator's `sign_webhook` adds the rest. `target` overrides the one set by the configuration or /_webhook, and what that subscribed to.
        """
        to = target or self.target
        if to is None:
            self._count("unheard")
            return None
        if target is None and to.topics and topic not in to.topics:
            self._count("unsubscribed")
            return None
        key = message_id or str(uuid.uuid4())
        now = self._clock.now().timestamp()
        raw = body if isinstance(body, bytes) else exact_json.dumps(body).encode()
        self._store.run(
            "insert into messages (id, topic, body, headers, url, secret, created, next_at, attempts, status, faulted,"
            " copies, log) values (?, ?, ?, ?, ?, ?, ?, ?, 0, 'pending', 0, 1, '[]')",
            key,
            topic,
            raw,
            exact_json.dumps(dict(headers or {})),
            to.url,
            to.secret,
            now,
            now,
        )
        self.wake()
        return key

    def deliver_due(self, executor: Executor | None = None) -> int:
        """Post every message that is due, oldest first; answers how many were taken up."""
        taken = self._take_due()
        for position in taken:
            if executor is None:
                self._attempt(position)
            else:
                executor.submit(self._attempt_guarded, position)
        return len(taken)

    def seconds_to_next(self) -> float | None:
        with self._busy_lock:
            busy = set(self._busy)
        rows = self._store.rows("select position, next_at from messages where status = 'pending' order by next_at")
        due = next((next_at for position, next_at in rows if position not in busy), None)
        return None if due is None else max(0.0, float(due) - self._clock.now().timestamp())

    def as_json(self) -> dict[str, Any]:
        """How many messages stand where, and the newest of them with their attempts."""
        counts = dict.fromkeys(("pending", "held", "delivered", "failed", "lost"), 0)
        counts.update(dict(self._store.rows("select status, count(*) from messages group by 1")))
        rows = self._store.rows("select id, topic, status, attempts, created, log from messages order by position desc limit 200")
        recent = [
            {
                "id": key,
                "topic": topic,
                "status": status,
                "attempts": attempts,
                "created": datetime.fromtimestamp(created, UTC).isoformat(),
                "log": exact_json.loads(log),
            }
            for key, topic, status, attempts, created, log in reversed(rows)
        ]
        unheard = (self._settings.get("unheard") or {"count": 0})["count"]
        target = self.target
        return {**counts, "unheard": unheard, "target": target.url if target else None, "recent": recent}

    def _count(self, name: str) -> None:
        counter = self._settings.get(name) or {"count": 0}
        self._settings.put(name, {"count": counter["count"] + 1})

    def _take_due(self) -> list[int]:
        now = self._clock.now().timestamp()
        taken = []
        with self._store.unit(), self._busy_lock:
            rows = self._store.rows(
                "select position, topic, faulted from messages where status = 'pending' and next_at <= ? order by position",
                now,
            )
            for position, topic, faulted in rows:
                if position in self._busy:
                    continue
                if not faulted and self._go_wrong(position, topic, now):
                    continue
                self._busy.add(position)
                taken.append(position)
        return taken

    def _go_wrong(self, position: int, topic: str, now: float) -> bool:
        """Apply a switched-on fault to a message before its first attempt; True when it must not go now."""
        self._store.run("update messages set faulted = 1 where position = ?", position)
        fault = self._faults.for_webhook(topic)
        if fault is None:
            return False
        self._store.run(
            "update messages set copies = ?, next_at = ?, status = ? where position = ?",
            fault.copies,
            now + fault.delay_seconds,
            "lost" if fault.lose else "held" if fault.reorder else "pending",
            position,
        )
        return fault.lose or fault.reorder or fault.delay_seconds > 0

    def _attempt_guarded(self, position: int) -> None:
        try:
            self._attempt(position)
        except Exception:
            logger.exception("a webhook attempt broke; the message stays pending")
        self.wake()

    def _attempt(self, position: int) -> None:
        try:
            rows = self._store.rows(
                "select id, topic, body, headers, url, secret, attempts, copies, log from messages where position = ?",
                position,
            )
            if not rows:  # the simulator was reset meanwhile
                return
            key, topic, body, headers, url, secret, attempts, copies, log = rows[0]
            message = Message(key, topic, bytes(body), exact_json.loads(headers), secret, attempts + 1)
            outcomes = [self._post(message, url) for _ in range(copies if attempts == 0 else 1)]
            self._settle(position, attempts + 1, exact_json.loads(log) + outcomes)
        finally:
            with self._busy_lock:
                self._busy.discard(position)

    def _post(self, message: Message, url: str) -> dict[str, Any]:
        now = self._clock.now()
        headers = {"content-type": "application/json", **message.headers, **self._sign(message, now)}
        if message.attempt == 1:
            self._recorder.webhook(topic=message.topic, headers=headers, body=_json_or_text(message.body))
        outcome: dict[str, Any] = {"at": now.isoformat(), "attempt": message.attempt}
        try:
            outcome["status"] = self._transport(url, headers, message.body, self._timeout)
        except OSError as error:
            outcome["error"] = str(error) or type(error).__name__
        return outcome

    def _settle(self, position: int, attempts: int, log: list[dict[str, Any]]) -> None:
        delivered = any(200 <= entry.get("status", 0) < 300 for entry in log if entry["attempt"] == attempts)
        exhausted = attempts > len(self.retry_after_seconds)
        wait = 0.0 if delivered or exhausted else self.retry_after_seconds[attempts - 1]
        with self._store.unit():
            self._store.run(
                "update messages set attempts = ?, status = ?, next_at = ?, log = ? where position = ?",
                attempts,
                "delivered" if delivered else "failed" if exhausted else "pending",
                self._clock.now().timestamp() + wait,
                exact_json.dumps(log),
                position,
            )
            self._store.run(  # a message held back for its successor goes once that one has gone
                "update messages set status = 'pending', next_at = ? where status = 'held' and position < ?",
                self._clock.now().timestamp(),
                position,
            )


def _unsigned(_message: Message, _now: datetime) -> Mapping[str, str]:
    return {}


def _json_or_text(body: bytes) -> Any:
    try:
        return exact_json.loads(body)
    except ValueError:
        return body.decode(errors="replace")
