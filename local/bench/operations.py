"""What does one order consume on AWS, counted while real orders run on the local engine, and what would it cost?"""

from __future__ import annotations

import json
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from local.bench import metered, prices, running_system, throughput
from local.bench.running_system import System

STEPS = {
    "receive_webhook": "take each delivery in",
    "translate_delivery": "translate it into facts",
    "apply_event": "apply facts and the workflow's requests",
    "validate_order": "validate",
    "check_order": "check price and credit",
    "reserve_stock": "reserve",
    "deliver_command": "deliver commands to the systems",
    "workflow": "the order workflow itself",
}
"""What each part is for, in the order of an order's way."""

CLOCKED = ("watch_deadlines", "index_dead_letters")
_QUEUE_WORKERS = ("translate_delivery", "apply_event", "deliver_command")
_WEBHOOKS = ("receive_webhook",)

_EXPRESS_MEMORY_GB = 64 / 1024
_EXPRESS_EVENTS = 32
"""Events of one clean run of the child: start, end, four tasks of five, four choices of two, the last state's two."""
_HISTORY_EVENT_BYTES = 450
"""A history event as Step Functions logs it without its data: type, ids, times, the execution's ARN."""
_ACCESS_LOG_BYTES = 300

POLL_COMMAND = "PollConnection"

_PATIENCE = 300.0
"""Seconds an order may take before the benchmark gives up: a busy machine takes a minute for what an idle one does in three seconds."""


def measure(
    root: Path,
    tenant: str,
    template: Mapping[str, Any],
    *,
    orders: int,
    say: Callable[[str], None],
    sizes: Sequence[int] = (),
    open_at_once: int = 20,
    budget_seconds: float = 600,
) -> dict[str, Any]:
    """Orders of three lines, from the storefront's webhook to the invoice, counted per function; ticks of the clock and polls apart.
    With ``sizes`` also so many orders at once (see throughput.orders), counted the same way."""
    meter = metered.Meter()

    def engine_is(url: str) -> None:
        meter.engine_url = url

    with metered.running(meter) as endpoint, running_system.up(root, tenant, say, functions_endpoint=endpoint, engine_at=engine_is) as system:
        first = system.place()
        say("one order first, so that every function is warm")
        system.wait_for({first}, "completed", within=_PATIENCE)
        _settle(system)
        ticks = _ticks(system, meter, say)
        poll = _poll(system, meter, say)
        say(f"{orders} orders of {len(running_system.LINES)} lines, one after the other")
        tell = _counting(system, meter, poll, template, say)
        for _ in range(orders):
            system.wait_for({system.place()}, "completed", within=_PATIENCE)
        found: dict[str, Any] = {"orders": orders, "per_order": tell(orders), "ticks": ticks, "poll": poll}

        def counting() -> Callable[[int], Mapping[str, float]]:
            told = _counting(system, meter, poll, template, say)

            def summed(size: int) -> Mapping[str, float]:
                made = bill({"per_order": told(size), "poll": poll})
                return {"usd_per_1000": made["total"], "usd_per_1000_without_lambda_time": round(made["total"] - made["of_it_lambda_time"], 6)}

            return summed

        if sizes:
            found["scale"] = throughput.orders(system, sizes, open_at_once=open_at_once, budget_seconds=budget_seconds, say=say, counting=counting)
    return found


def _settle(system: System) -> None:
    """Until nothing is queued and nothing was asked of AWS for two seconds."""
    give_up = time.monotonic() + _PATIENCE
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < 2:
        if system.queued():
            quiet_since = time.monotonic()
        if time.monotonic() > give_up:
            raise running_system.BenchFailed("the queues do not become empty")
        time.sleep(0.2)


def _ticks(system: System, meter: metered.Meter, say: Callable[[str], None], *, runs: int = 3) -> dict[str, dict[str, float]]:
    """One run of each function on the clock with nothing to do."""
    found = {}
    for function in CLOCKED:
        meter.reset()
        since = _now_ms()
        for _ in range(runs):
            system.stack.invoke(function)
        priced, _ = meter.reset()
        logged = _invocations(system, function, since)
        counts = metered.summed(priced.get(function, {}), _lambda_counts(logged))
        done = max(1, len(logged))
        found[function] = {name: round(count / done, 9) for name, count in counts.items()}
        say(f"a run of {function} with nothing to do: {len(logged)} counted")
    return found


def _poll(system: System, meter: metered.Meter, say: Callable[[str], None], *, seconds: float = 15) -> dict[str, float]:
    """One poll of a connection that brings nothing, while an order waits for its shipment."""
    for connection in ("erp", "threepl"):
        system.autopilot(connection, enabled=False)
    waiting = system.place()
    system.wait_for({waiting}, "released", within=_PATIENCE)
    time.sleep(3)  # what releasing set off has ended; from here on only polls
    meter.reset()
    since = _now_ms()
    time.sleep(seconds)
    priced, _ = meter.reset()
    logged = _invocations(system, "deliver_command", since)
    polls = sum(run["polls"] for run in logged)
    for connection in ("erp", "threepl"):
        system.autopilot(connection, enabled=True)
    system.wait_for({waiting}, "completed", within=_PATIENCE)
    _settle(system)
    if not polls:
        say("no poll was seen while an order waited")
        return {}
    counts = metered.summed(priced.get("deliver_command", {}), _lambda_counts(logged), {"sqs_requests": 2 * len(logged)})
    say(f"{polls} polls counted")
    return {name: round(count / polls, 9) for name, count in counts.items()}


def _counting(
    system: System, meter: metered.Meter, poll: Mapping[str, float], template: Mapping[str, Any], say: Callable[[str], None]
) -> Callable[[int], dict[str, dict[str, float]]]:
    """Begins to count; what it answers tells, once all is quiet, what each part did per order."""
    meter.reset()
    since, started = _now_ms(), datetime.now().astimezone()

    def tell(orders: int) -> dict[str, dict[str, float]]:
        _settle(system)
        return _per_order(system, meter, orders, poll, template, say, since, started)

    return tell


def _per_order(
    system: System,
    meter: metered.Meter,
    orders: int,
    poll: Mapping[str, float],
    template: Mapping[str, Any],
    say: Callable[[str], None],
    since: int,
    started: datetime,
) -> dict[str, dict[str, float]]:
    priced, operations = meter.reset()
    found: dict[str, dict[str, float]] = {}
    for function in STEPS:
        if function == "workflow":
            continue
        logged = _invocations(system, function, since)
        counts = metered.summed(priced.get(function, {}), _lambda_counts(logged))
        if function in _QUEUE_WORKERS:  # the poller's receive and its batched delete
            counts = metered.summed(counts, {"sqs_requests": 2 * len(logged)})
        if function in _WEBHOOKS:
            asked = {"api_requests": len(logged), "log_gb": len(logged) * _ACCESS_LOG_BYTES / 1e9, "traces": len(logged) * _traced(template, "AWS::ApiGateway::Stage")}
            counts = metered.summed(counts, asked)
        polls = sum(run["polls"] for run in logged)
        found[function] = metered.summed(counts, {name: -count * polls for name, count in poll.items()})
    found["workflow"] = _workflow(system, started, template)
    unknown = set(priced) - set(STEPS) - set(CLOCKED) - {"serve_api"}
    if unknown:
        say(f"calls that no function was found for: {unknown}")
    per_order = {part: {name: round(count / orders, 9) for name, count in counts.items() if count > 0} for part, counts in found.items()}
    for part, seen in operations.items():
        if part in per_order:
            per_order[part] |= {f"({name})": round(count / orders, 3) for name, count in seen.items()}
    return per_order


def _traced(template: Mapping[str, Any], kind: str) -> bool:
    """Whether resources of this kind are traced: the sampler takes at least the first request of each second, so at an order's pace nearly all."""
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        if resource["Type"] == kind and (properties.get("TracingEnabled") or properties.get("TracingConfiguration", {}).get("Enabled")):
            return True
    return False


def _logged(template: Mapping[str, Any], kind: str) -> bool:
    """Whether state machines of this kind (STANDARD, EXPRESS) log every event."""
    return any(
        resource["Properties"].get("LoggingConfiguration", {}).get("Level") == "ALL"
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::StepFunctions::StateMachine" and resource["Properties"].get("StateMachineType", "STANDARD") == kind
    )


def _workflow(system: System, since: datetime, template: Mapping[str, Any]) -> dict[str, float]:
    """Transitions as they are billed (each time a step is executed, retries included:
    https://aws.amazon.com/step-functions/pricing/), the Express child's request and time, and the messages the workflow sends."""
    stepfunctions = system.stack.session.client("stepfunctions")
    counts: dict[str, float] = {}
    for page in stepfunctions.get_paginator("list_executions").paginate(stateMachineArn=system.stack.outputs["OrderMachineArn"]):
        for execution in page["executions"]:
            if execution["startDate"] >= since:
                parts = stepfunctions.get_paginator("get_execution_history").paginate(executionArn=execution["executionArn"])
                counts = metered.summed(counts, of_history([event for part in parts for event in part["events"]], template))
    return counts


def of_history(events: Sequence[Mapping[str, Any]], template: Mapping[str, Any]) -> dict[str, float]:
    """What one execution counts for."""
    kinds = Counter(event["type"] for event in events)
    entered = sum(count for kind, count in kinds.items() if kind.endswith("StateEntered"))
    scheduled = [event for event in events if event["type"] == "TaskScheduled"]
    children = [event for event in scheduled if "startSyncExecution" in event["taskScheduledEventDetails"].get("resource", "")]
    messages = [event for event in scheduled if event["taskScheduledEventDetails"]["resourceType"] == "sqs"]
    logged = len(events) * _logged(template, "STANDARD") + _EXPRESS_EVENTS * len(children) * _logged(template, "EXPRESS")
    return {
        "workflow_transitions": entered + max(0, len(scheduled) - kinds["TaskStateEntered"]),
        "sqs_requests": len(messages),
        "express_requests": len(children),
        "express_gb_seconds": sum(_child_seconds(events, child) for child in children) * _EXPRESS_MEMORY_GB,
        "log_gb": logged * _HISTORY_EVENT_BYTES / 1e9,
        "traces": int(_traced(template, "AWS::StepFunctions::StateMachine")),
    }


def _child_seconds(events: Sequence[Mapping[str, Any]], child: Mapping[str, Any]) -> float:
    """How long the synchronous child ran, rounded up to a tenth of a second as it is billed."""
    ended = next(event for event in events if event["type"] in ("TaskSucceeded", "TaskFailed", "TaskTimedOut") and event["id"] > child["id"])
    seconds: float = (ended["timestamp"] - child["timestamp"]).total_seconds()
    return math.ceil(seconds * 10) / 10


def _now_ms() -> int:
    return int(time.time() * 1000)


def _invocations(system: System, function: str, since_ms: int) -> list[dict[str, float]]:
    """Every run of a function since then, out of its log: seconds, memory, bytes logged, polls among its messages."""
    time.sleep(0.3)  # the last lines are on their way
    logs = system.stack.session.client("logs")
    group = f"/crossdock/{system.stack.tenant}/{function}"
    events = [event for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=since_ms) for event in page["events"]]
    streams: dict[str, list[str]] = {}
    for event in events:
        streams.setdefault(event["logStreamName"], []).append(event["message"])
    found = []
    for messages in streams.values():
        for report in (message for message in messages if message.startswith("REPORT")):
            duration = float(re.search(r"Duration: ([\d.]+) ms", report)[1])  # type: ignore[index]
            memory = float(re.search(r"Memory Size: (\d+) MB", report)[1])  # type: ignore[index]
            # 26 bytes are billed for each event beside its text. The service's own lines (start, end, report) are switched off in the stack.
            own = [message for message in messages if message.startswith("{")]
            size = sum(len(message.encode()) + 26 for message in own)
            done = [json.loads(message) for message in own]
            polls = sum(1 for line in done if line.get("command") == POLL_COMMAND and line.get("message") == "message done")
            found.append({"seconds": duration / 1000, "memory_gb": memory / 1024, "log_bytes": size, "polls": polls})
    return found


def _lambda_counts(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {
        "lambda_requests": len(runs),
        "lambda_gb_seconds": sum(run["seconds"] * run["memory_gb"] for run in runs),
        "log_gb": sum(run["log_bytes"] for run in runs) / 1e9,
    }


# ------------------------------------------------------------------ the bill


def bill(found: Mapping[str, Any]) -> dict[str, Any]:
    """The price of a thousand orders: by part of the way, by service, in all."""
    by_part: dict[str, dict[str, float]] = {}
    for part, counts in found["per_order"].items():
        lines = prices.price_operations({name: count * 1000 for name, count in counts.items() if not name.startswith("(")})
        by_part[part] = {service: round(float(usd), 6) for service, usd in prices.by_service(lines).items()}
    services = metered.summed(*by_part.values())
    time_only = 1000 * sum(counts.get("lambda_gb_seconds", 0) for counts in found["per_order"].values())
    return {
        "by_part": by_part,
        "by_service": {service: round(usd, 6) for service, usd in sorted(services.items(), key=lambda item: -item[1])},
        "total": round(sum(services.values()), 6),
        "of_it_lambda_time": round(float(prices.total(prices.price_operations({"lambda_gb_seconds": time_only}))), 6),
        "per_poll_million": round(float(prices.total(prices.price_operations({name: count * 1_000_000 for name, count in found["poll"].items()}))), 2),
    }
