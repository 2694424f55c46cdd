"""How does a vendor module become a running simulator, with faults, webhooks, state and a control panel around it?

How to write one (``local/simulators/<vendor>/__init__.py``)::

    from local.simulators.server import Answer, Call, Config, Context, Refusal, Router, Simulator

    class Shop(Simulator):
        autopilot_defaults = {"enabled": True, "acknowledge_after_s": 0.3, "ship_after_s": 0.9}
        webhook_retry_seconds = (60, 300, 1800)    # the vendor's own; locally 1, 2, 4 ... s

        def __init__(self, config: Config, ctx: Context) -> None:
            super().__init__(config, ctx)
            self.orders = ctx.store.collection("orders")        # persisted JSON documents: get/put/delete/values/find
            self.router = Router()
            self.router.add("GET", "/orders/{order_id}", self.get_order, name="order.get")
            self.actions = {"ship": self.ship}                  # POST /_actions/ship {...}

        def seed(self, seed: dict) -> None: ...                 # fill the empty store (start and /_reset)
        def handle(self, call: Call) -> Answer:                 # ONE vendor request; runs alone, in one transaction
            return self.router.dispatch(call) or Answer(404, {"error": "not found"})
        def operations(self, call: Call) -> list[str]:          # names a fault may match (GraphQL root fields ...)
            return self.router.names(call)
        def error(self, status: int, detail: str) -> Answer:    # the vendor's error shape, for injected statuses
            return Answer(status, {"error": detail})
        def snapshot(self) -> dict: return {"orders": self.orders.values()}     # what GET /_state adds
        def on_timer(self, action: str, payload: dict) -> None: ...             # what ctx.schedule(...) asked for
        def sign_webhook(self, message: Message, now: datetime) -> Mapping[str, str]: ...   # headers of one attempt

    def create(config: Config, ctx: Context) -> Simulator:
        return Shop(config, ctx)

In a handler: ``call.json()``, ``call.query`` (list of pairs), ``call.headers`` (lower case), ``call.path_values``;
raise ``Refusal(Answer(422, {...}))`` to undo everything and answer. ``ctx.clock.now()``, ``ctx.store.next_id("n")``,
``ctx.schedule(0.3, "acknowledge", {"order": 7})`` (persisted; waits while the autopilot is off),
``ctx.webhooks.send("orders/create", {...}, headers={...})`` (queued in the same transaction), ``ctx.autopilot`` (a
dict, what /_autopilot changed included). JSON numbers with a fraction are Decimal both ways.

In tests: ``simulator = Harness(config, clock=ManualClock())`` calls it in-process (``simulator.call("GET", "/orders/1",
headers={...})``, ``simulator.run_due()`` fires due timers and webhooks); ``with Served(config) as served:`` runs
it under uvicorn on a free port (``served.url``).
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import logging
import re
import socket
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import parse_qsl, urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from local.simulators import exact_json
from local.simulators.clock import Clock, SystemClock
from local.simulators.exchanges import ExchangeRecorder
from local.simulators.faults import BadFault, Fault, FaultBoard
from local.simulators.state import Store
from local.simulators.timers import Timer, Timers
from local.simulators.webhooks import Message, Target, Transport, WebhookSender, post

logger = logging.getLogger(__name__)


# ------------------------------------------------------------------------------------------------ what goes in and out
@dataclass(frozen=True)
class Config:
    """One simulator's configuration, as `python -m local.simulators CONFIG.json` reads it."""

    vendor: str
    tenant: str = "test"
    connection: str = "test"
    port: int = 0
    state_file: str | None = None
    exchanges_file: str | None = None
    credentials: dict[str, Any] = field(default_factory=dict)
    webhook: dict[str, Any] | None = None
    seed: dict[str, Any] = field(default_factory=dict)
    autopilot: dict[str, Any] = field(default_factory=dict)
    adopt: dict[str, Any] | None = None
    webhook_time_scale: float | Decimal | None = None

    @classmethod
    def read(cls, raw: object) -> Config:
        """Raises ValueError naming what is unknown or missing."""
        if not isinstance(raw, dict):
            raise ValueError("a simulator's configuration is a JSON object")
        known = {item.name for item in dataclasses.fields(cls)}
        unknown = sorted(set(raw) - known)
        if unknown:
            raise ValueError(f"unknown configuration keys: {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        if not isinstance(raw.get("vendor"), str):
            raise ValueError("the configuration names no vendor")
        return cls(**{key: value for key, value in raw.items() if value is not None or key in _NULLABLE})


_NULLABLE = {"state_file", "exchanges_file", "webhook", "adopt", "webhook_time_scale"}


@dataclass(frozen=True)
class Call:
    """One request as the vendor sees it. `target` is path and query as sent; header names are lower case."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes
    target: str
    path_values: dict[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        """The body as JSON with Decimals. Raises ValueError when it is none."""
        return exact_json.loads(self.body)

    def query_value(self, name: str, *, ignore_case: bool = False) -> str | None:
        """The last value of a query parameter."""
        fold = str.lower if ignore_case else str
        return next((value for key, value in reversed(self.query) if fold(key) == fold(name)), None)


@dataclass(frozen=True)
class Answer:
    """What the vendor answers. `body` is a JSON value, raw bytes, or None for no body at all."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    record: bool = True
    """False keeps the exchange out of the recording (a token endpoint outside the vendor's contract)."""

    def json(self) -> Any:
        """The body as a client would read it back."""
        return exact_json.loads(self.raw())

    def raw(self) -> bytes:
        if self.body is None:
            return b""
        return self.body if isinstance(self.body, bytes) else exact_json.dumps(self.body).encode()


class Refusal(Exception):
    """Raised inside a handler: everything it did is undone and `answer` goes out."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"refused with {answer.status}")
        self.answer = answer


class ActionRefused(Exception):
    """A staff action that cannot be done; the text tells the test why."""


class ConnectionDropped(Exception):
    """In-process stand-in for a connection that closed without an answer."""


Handler = Callable[[Call], Answer]


class Router:
    """Paths with `{name}` parts (one path segment) or `{name:regex}` parts; first match wins."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Handler, str]] = []

    def add(self, method: str, template: str, handler: Handler, *, name: str) -> None:
        pattern = ""
        for part in re.split(r"(\{\w+(?::[^{}]+)?\})", template):
            found = re.fullmatch(r"\{(\w+)(?::([^{}]+))?\}", part)
            pattern += f"(?P<{found[1]}>{found[2] or '[^/]+'})" if found else re.escape(part)
        self._routes.append((method, re.compile(pattern + "/?"), handler, name))

    def dispatch(self, call: Call) -> Answer | None:
        """The handler's answer; None when no route has this method and path."""
        for method, pattern, handler, _ in self._routes:
            found = pattern.fullmatch(call.path)
            if found and method == call.method:
                return handler(dataclasses.replace(call, path_values=found.groupdict()))
        return None

    def names(self, call: Call) -> list[str]:
        return [name for method, pattern, _, name in self._routes if method == call.method and pattern.fullmatch(call.path)][:1]

    def methods(self, path: str) -> list[str]:
        """Which methods this path knows: for 405 answers."""
        return [method for method, pattern, _, _ in self._routes if pattern.fullmatch(path)]


# ------------------------------------------------------------------------------------------------ what a vendor gets
class Context:
    """What the skeleton offers to a vendor module."""

    def __init__(self, config: Config, clock: Clock, transport: Transport) -> None:
        self.config = config
        self.clock = clock
        self.store = Store(config.state_file)
        self.faults = FaultBoard()
        self.recorder = ExchangeRecorder(config.vendor, config.exchanges_file)
        self.timers = Timers(self.store)
        self._autopilot = self.store.collection("_autopilot")
        self._autopilot_defaults: Mapping[str, Any] = {}
        self._adopt = self.store.collection("_adopt")
        self.webhooks = WebhookSender(self.store, clock, self.faults, self.recorder, transport)
        self.wake: Callable[[], None] = lambda: None

    def schedule(self, delay_seconds: float | Decimal, action: str, payload: dict[str, Any] | None = None, *, staff: bool = True) -> None:
        """Call the simulator's `on_timer(action, payload)` after the delay, in a transaction of its own.

        `staff` timers are what people at the vendor do by themselves: they stand still while the autopilot is off.
        """
        due = self.clock.now() + timedelta(seconds=float(delay_seconds))
        self.timers.schedule(due, action, payload or {}, staff=staff)
        self.wake()

    @property
    def adopt(self) -> Mapping[str, Any] | None:
        """Where to ask for what somebody else announced in this system's name: what /_adopt said last, else the configuration."""
        return self._adopt.get("settings") or self.config.adopt

    def change_adopt(self, orders_url: str, api_key: str) -> None:
        with self.store.unit():
            self._adopt.put("settings", {"orders_url": orders_url, "api_key": api_key})

    @property
    def autopilot(self) -> dict[str, Any]:
        """The vendor module's defaults, under the configuration, under what /_autopilot changed."""
        changed = self._autopilot.get("settings") or {}
        return {"enabled": True, **self._autopilot_defaults, **self.config.autopilot, **changed}

    def change_autopilot(self, changes: object) -> None:
        """Raises ValueError for settings this simulator does not know."""
        if not isinstance(changes, dict):
            raise ValueError("autopilot settings are a JSON object")
        known = self.autopilot
        unknown = sorted(set(changes) - set(known))
        if unknown:
            raise ValueError(f"unknown autopilot settings: {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        if not isinstance(changes.get("enabled", True), bool):
            raise ValueError("enabled is true or false")
        with self.store.unit():
            self._autopilot.put("settings", {**(self._autopilot.get("settings") or {}), **changes})
        self.wake()

    def attach(self, simulator: Simulator) -> None:
        """Take over what the vendor module says about itself: how it signs, retries, and how its staff works."""
        self._autopilot_defaults = simulator.autopilot_defaults
        self.webhooks.use(
            sign=simulator.sign_webhook,
            retry_after_seconds=simulator.webhook_retry_seconds,
            timeout_seconds=simulator.webhook_timeout_seconds,
            time_scale=self.config.webhook_time_scale,
        )


class Simulator(ABC):
    """One vendor system. `handle`, actions and `on_timer` each run alone and in one transaction."""

    autopilot_defaults: ClassVar[Mapping[str, Any]] = {}
    webhook_retry_seconds: ClassVar[tuple[float, ...]] = (5.0, 30.0, 120.0)
    webhook_timeout_seconds: ClassVar[float] = 15.0

    def __init__(self, config: Config, ctx: Context) -> None:
        self.config = config
        self.ctx = ctx
        self.actions: dict[str, Callable[[dict[str, Any]], Any]] = {}

    @abstractmethod
    def seed(self, seed: dict[str, Any]) -> None:
        """Fill the empty store. Raises ValueError for a seed it does not understand."""

    @abstractmethod
    def handle(self, call: Call) -> Answer:
        """Answer one request of the vendor's API."""

    @abstractmethod
    def error(self, status: int, detail: str) -> Answer:
        """An error in the vendor's shape."""

    @abstractmethod
    def snapshot(self) -> dict[str, Any]:
        """Everything held, as vendor-shaped JSON by collection."""

    def operations(self, call: Call) -> list[str]:  # noqa: ARG002 - for heirs
        """The names a fault may match besides "METHOD path"."""
        return []

    def on_timer(self, action: str, payload: dict[str, Any]) -> None:
        """Do what was scheduled. Must tolerate that somebody did it already."""
        raise NotImplementedError(f"{type(self).__name__} scheduled {action} but has no on_timer")

    def sign_webhook(self, message: Message, now: datetime) -> Mapping[str, str]:  # noqa: ARG002 - for heirs
        """The headers of one attempt, signature included."""
        return {}

    def check_webhook(self, target: Target) -> None:  # noqa: B027 - most vendors take any secret
        """Raises ValueError when the vendor could not sign for this target."""


def vendor_module(vendor: str) -> Any:
    """The vendor's package, found by its name. Raises ValueError when there is none."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", vendor):
        raise ValueError(f"{vendor!r} is no vendor name")
    try:
        return importlib.import_module(f"local.simulators.{vendor}")
    except ModuleNotFoundError as error:
        raise ValueError(f"there is no simulator local/simulators/{vendor}") from error


# ------------------------------------------------------------------------------------------------ one running simulator
class Harness:
    """A vendor module inside the skeleton, callable in-process; the HTTP server is one shell around it."""

    def __init__(self, config: Config, *, clock: Clock | None = None, transport: Transport = post) -> None:
        module = vendor_module(config.vendor)
        self.config = config
        self.ctx = Context(config, clock or SystemClock(), transport)
        self.simulator: Simulator = module.create(config, self.ctx)
        self.ctx.attach(self.simulator)
        self.requests: deque[dict[str, Any]] = deque(maxlen=1000)
        self._meta = self.ctx.store.collection("_meta")
        with self.ctx.store.unit():
            if self._meta.get("seeded") is None:
                self._fill()

    def _fill(self) -> None:
        if self.config.webhook and self.ctx.webhooks.target is None:
            self.listen(Target(self.config.webhook["url"], self.config.webhook["secret"]))
        self.simulator.seed(self.config.seed)
        self._meta.put("seeded", {"at": self.ctx.clock.now().isoformat()})

    def listen(self, target: Target) -> None:
        """Send webhooks there from now on. Raises ValueError when the vendor could not sign for it."""
        self.simulator.check_webhook(target)
        self.ctx.webhooks.target = target

    def reset(self) -> None:
        """Back to the seed; the webhook target stays, because it is the deployment's and not the vendor's data."""
        with self.ctx.store.unit():
            target = self.ctx.webhooks.target
            self.ctx.store.wipe()
            self.ctx.faults.clear()
            if target:
                self.ctx.webhooks.target = target
            self._fill()
        self.requests.clear()

    # -- the vendor's API
    def call(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        body: bytes | None = None,
    ) -> Answer:
        """One API request in-process, faults included. Raises ConnectionDropped where a client would get no answer."""
        parts = urlsplit(target)
        raw = body if body is not None else b"" if json is None else exact_json.dumps(json).encode()
        lowered = {name.lower(): value for name, value in (headers or {}).items()}
        if json is not None:
            lowered.setdefault("content-type", "application/json")
        call = Call(method, parts.path, parse_qsl(parts.query, keep_blank_values=True), lowered, raw, target)
        plan = self.plan(call)
        if plan is not None and plan.timeout_seconds is not None:
            raise ConnectionDropped("timed out")
        answer = self.answer(call, plan)
        if plan is not None and plan.drop_after_commit:
            raise ConnectionDropped("the work is done, the answer is lost")
        return answer

    def plan(self, call: Call) -> Fault | None:
        """Which fault befalls this request."""
        return self.ctx.faults.for_request(call.method, call.target, self.simulator.operations(call))

    def answer(self, call: Call, fault: Fault | None) -> Answer:
        """Do the work of one request, or answer the injected status instead; log and record it."""
        if fault is not None and fault.status is not None:
            answer = self._injected(fault, fault.status)
            recorded = False
        else:
            answer = self._worked(call)
            recorded = answer.record and not (fault is not None and fault.drop_after_commit)
        self.requests.append(
            {
                "at": self.ctx.clock.now().isoformat(),
                "method": call.method,
                "path": call.target,
                "status": answer.status,
                "operation": ", ".join(self.simulator.operations(call)) or None,
                "fault": fault.as_json() if fault else None,
            }
        )
        if recorded:
            self._record(call, answer)
        self.ctx.wake()
        return answer

    def _worked(self, call: Call) -> Answer:
        try:
            with self.ctx.store.unit():
                return self.simulator.handle(call)
        except Refusal as refusal:
            return refusal.answer
        except Exception as error:
            logger.exception("%s %s broke the simulator", call.method, call.target)
            return dataclasses.replace(self.simulator.error(500, f"simulator broke: {error!r}"), record=False)

    def _injected(self, fault: Fault, status: int) -> Answer:
        headers = {str(name): str(value) for name, value in (fault.spec.get("headers") or {}).items()}
        if "body" in fault.spec:
            return Answer(status, fault.spec["body"], headers)
        answer = self.simulator.error(status, "injected fault")
        return dataclasses.replace(answer, headers={**answer.headers, **headers})

    def _record(self, call: Call, answer: Answer) -> None:
        self.ctx.recorder.api(
            method=call.method,
            target=call.target,
            request_headers=call.headers,
            request_body=_json_or_none(call.body),
            status=answer.status,
            response_headers=answer.headers,
            response_body=_json_or_none(answer.raw()),
        )

    # -- time
    @property
    def staff_works(self) -> bool:
        return bool(self.ctx.autopilot.get("enabled", True))

    def run_due(self, executor: ThreadPoolExecutor | None = None) -> int:
        """Fire due timers, then post due webhooks; answers how many of both."""
        fired = 0
        for timer in self.ctx.timers.due(self.ctx.clock.now(), staff_works=self.staff_works):
            fired += self._fire(timer)
        return fired + self.ctx.webhooks.deliver_due(executor)

    def _fire(self, timer: Timer) -> bool:
        try:
            with self.ctx.store.unit():
                if not self.ctx.timers.take(timer):
                    return False
                self.simulator.on_timer(timer.action, timer.payload)
        except Exception as error:
            logger.exception("timer %s broke", timer.action)
            with self.ctx.store.unit():  # kept to be seen in /_state, not retried for ever
                self.ctx.timers.take(timer)
                failed = {"action": timer.action, "payload": timer.payload, "error": repr(error)}
                self.ctx.store.collection("_failed_timers").put(timer.id, failed)
        return True

    def seconds_to_next(self) -> float | None:
        now = self.ctx.clock.now()
        candidates = (
            self.ctx.timers.seconds_to_next(now, staff_works=self.staff_works),
            self.ctx.webhooks.seconds_to_next(),
        )
        return min((seconds for seconds in candidates if seconds is not None), default=None)

    # -- the control panel
    def act(self, verb: str, body: dict[str, Any]) -> Any:
        """One staff action. Raises KeyError for an unknown verb, ActionRefused when it cannot be done."""
        action = self.simulator.actions[verb]
        with self.ctx.store.unit():
            result = action(body)
        self.ctx.wake()
        return result

    def state(self) -> dict[str, Any]:
        with self.ctx.store.lock:
            return {
                "vendor": self.config.vendor,
                "tenant": self.config.tenant,
                "connection": self.config.connection,
                **self.simulator.snapshot(),
                "counters": self.ctx.store.counters(),
                "autopilot": self.ctx.autopilot,
                "timers": self.ctx.timers.pending(),
                "failed_timers": self.ctx.store.collection("_failed_timers").values(),
                "webhooks": self.ctx.webhooks.as_json(),
            }

    def close(self) -> None:
        self.ctx.recorder.close()
        self.ctx.store.close()


def _json_or_none(raw: bytes) -> Any:
    try:
        return exact_json.loads(raw) if raw else None
    except ValueError:
        return raw.decode(errors="replace")


class Background:
    """The one thread that lets time pass in a running simulator: timers ring, webhooks go out."""

    def __init__(self, harness: Harness) -> None:
        self._harness = harness
        self._stop = threading.Event()
        self._woken = threading.Event()
        self._executor = ThreadPoolExecutor(max_workers=4, thread_name_prefix="webhook")
        self._thread = threading.Thread(target=self._run, name="simulator-time", daemon=True)
        harness.ctx.wake = harness.ctx.webhooks.wake = self._woken.set

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._woken.set()
        self._thread.join(timeout=5)
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._harness.run_due(self._executor)
                wait = self._harness.seconds_to_next()
            except Exception:
                logger.exception("the simulator's time thread broke; it goes on")
                wait = 1.0
            # Work that is due but in progress elsewhere must not make this a busy loop.
            self._woken.wait(60.0 if wait is None else max(0.01, wait))
            self._woken.clear()


# ------------------------------------------------------------------------------------------------ over HTTP
class VendorApi:
    """The ASGI side of the vendor's API: reads the whole request, meets its fault, answers, or drops the connection."""

    def __init__(self, harness: Harness) -> None:
        self._harness = harness

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = await _read(scope, receive)
        plan = self._harness.plan(call)
        if plan is not None and plan.timeout_seconds is not None:
            await _wait_or_gone(receive, plan.timeout_seconds)
            await _drop(scope, receive)
            return
        if plan is not None and plan.delay_seconds:
            await asyncio.sleep(plan.delay_seconds)
        answer = await run_in_threadpool(self._harness.answer, call, plan)
        if plan is not None and plan.drop_after_commit:
            await _drop(scope, receive)
            return
        headers = dict(answer.headers)
        if answer.body is not None and not any(name.lower() == "content-type" for name in headers):
            headers["content-type"] = "application/json"
        await Response(answer.raw(), answer.status, headers)(scope, receive, send)


class DroppableProtocol(H11Protocol):
    """Hands its TCP transport to the application, so that a fault can close it without an answer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


async def _read(scope: Scope, receive: Receive) -> Call:
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        body += message.get("body", b"")
        more = message.get("more_body", False)
    raw_query = scope["query_string"].decode("latin-1")
    raw_path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1").partition("?")[0]
    return Call(
        method=scope["method"],
        path=scope["path"],
        query=parse_qsl(raw_query, keep_blank_values=True),
        headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
        body=body,
        target=raw_path + (f"?{raw_query}" if raw_query else ""),
    )


async def _wait_or_gone(receive: Receive, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return


async def _drop(scope: Scope, receive: Receive) -> None:
    """Close the TCP connection without a byte of answer."""
    transport: asyncio.Transport | None = scope.get("state", {}).get("transport")
    if transport is None:
        raise ConnectionDropped("this server cannot close a connection: run it under `Served` or `serve`")
    transport.abort()
    # uvicorn learns of the loss in the next turns of its loop; returning earlier would make it answer a 500.
    await _wait_or_gone(receive, 5)


def build_app(harness: Harness) -> Starlette:
    """Control endpoints first, everything else is the vendor's API."""

    async def state(_: Request) -> Response:
        return _json(await run_in_threadpool(harness.state))

    async def health(_: Request) -> Response:
        return _json({"status": "ok", "vendor": harness.config.vendor, "connection": harness.config.connection})

    async def requests(_: Request) -> Response:
        return _json(list(harness.requests))

    async def faults(request: Request) -> Response:
        if request.method == "GET":
            return _json(harness.ctx.faults.as_json())
        if request.method == "DELETE":
            return _json({"cleared": harness.ctx.faults.clear()})
        try:
            return _json(harness.ctx.faults.add(await _json_body(request)).as_json(), 201)
        except (BadFault, ValueError) as error:
            return _json({"error": str(error)}, 400)

    async def webhook(request: Request) -> Response:
        try:
            body = await _json_body(request)
            topics = _texts(body, "topics")
            target = Target(url=_text(body, "url"), secret=_text(body, "secret"), topics=topics)
            harness.listen(target)
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        return _json({"url": target.url, "topics": list(target.topics)})

    async def adopt(request: Request) -> Response:
        try:
            body = await _json_body(request)
            harness.ctx.change_adopt(_text(body, "orders_url"), _text(body, "api_key"))
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        return _json({"orders_url": body["orders_url"]})

    async def autopilot(request: Request) -> Response:
        if request.method == "GET":
            return _json(harness.ctx.autopilot)
        try:
            harness.ctx.change_autopilot(await _json_body(request))
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        return _json(harness.ctx.autopilot)

    async def reset(_: Request) -> Response:
        await run_in_threadpool(harness.reset)
        return _json({"status": "reset"})

    async def action(request: Request) -> Response:
        verb = request.path_params["verb"]
        try:
            body = await _json_body(request, empty={})
            if not isinstance(body, dict):
                return _json({"error": "an action's body is a JSON object"}, 400)
            if verb not in harness.simulator.actions:
                known = ", ".join(sorted(harness.simulator.actions))
                return _json({"error": f"nobody here can {verb}; known actions are {known}"}, 404)
            return _json(await run_in_threadpool(harness.act, verb, body))
        except ActionRefused as refused:
            return _json({"error": str(refused)}, 409)
        except (ValueError, KeyError, TypeError, AttributeError) as error:  # an action's body of another shape than the action reads
            return _json({"error": f"{type(error).__name__}: {error}"}, 400)

    return Starlette(
        routes=[
            Route("/_state", state, methods=["GET"]),
            Route("/_health", health, methods=["GET"]),
            Route("/_requests", requests, methods=["GET"]),
            Route("/_faults", faults, methods=["GET", "POST", "DELETE"]),
            Route("/_webhook", webhook, methods=["PUT"]),
            Route("/_adopt", adopt, methods=["PUT"]),
            Route("/_autopilot", autopilot, methods=["GET", "POST"]),
            Route("/_reset", reset, methods=["POST"]),
            Route("/_actions/{verb}", action, methods=["POST"]),
            Route("/{path:path}", VendorApi(harness)),
        ]
    )


def _json(value: Any, status: int = 200) -> Response:
    return Response(exact_json.dumps(value), status, media_type="application/json")


async def _json_body(request: Request, empty: Any = None) -> Any:
    raw = await request.body()
    if not raw and empty is not None:
        return empty
    try:
        return exact_json.loads(raw)
    except ValueError as error:
        raise ValueError(f"the body is no JSON: {error}") from error


def _text(body: Any, key: str) -> str:
    value = body.get(key) if isinstance(body, dict) else None
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key} is missing")
    return value


def _texts(body: dict[str, Any], key: str) -> tuple[str, ...]:
    """A list of texts that may be left out."""
    found = body.get(key, [])
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ValueError(f"{key} is a list of texts")
    return tuple(found)


def _server(harness: Harness) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            build_app(harness),
            host="127.0.0.1",
            port=harness.config.port,
            http=DroppableProtocol,
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=2,
            server_header=False,
        )
    )


def serve(config: Config) -> None:
    """Run one simulator until the process is told to end. Raises ValueError for a configuration nobody can use."""
    if not config.port:
        raise ValueError("the configuration names no port")
    harness = Harness(config)
    background = Background(harness)
    background.start()
    try:
        _server(harness).run()
    finally:
        background.stop()
        harness.close()


class Served:
    """A simulator under uvicorn on a free port of this process, for tests: `with Served(config) as served`."""

    def __init__(self, config: Config, *, clock: Clock | None = None, transport: Transport = post) -> None:
        self.harness = Harness(config, clock=clock, transport=transport)
        # asyncio sets TCP_NODELAY only on sockets whose protocol says TCP: without it each call waits 40 ms for a delayed ACK.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", config.port))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._background = Background(self.harness)
        self._server = _server(self.harness)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)

    def __enter__(self) -> Self:
        self._socket.listen(128)  # a client that connects before uvicorn is up waits instead of being refused
        self._background.start()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._background.stop()
        self._socket.close()
        self.harness.close()
