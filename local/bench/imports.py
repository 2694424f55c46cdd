"""How long does a fresh process take until a function's handler can be called, what does it load for that, and how much memory does it hold?"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.bench import packaged, quiet_aws

# Run with -I -S -B: no environment variable, no site-packages and no new bytecode. Imports of its own come after the clock has stopped.
_PROBE = """
import sys, time
module, sys.path[:0], event = sys.argv[1], sys.argv[2].split("|"), sys.argv[3]
def resident():
    try:
        with open("/proc/self/statm") as file:
            import os
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        import resource
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
def timed(what):
    wall, cpu = time.perf_counter_ns(), time.process_time_ns()
    answer = what()
    return (time.perf_counter_ns() - wall) / 1e6, (time.process_time_ns() - cpu) / 1e6, answer
before = len(sys.modules)
wall, cpu, imported = timed(lambda: __import__(module))
modules, held = len(sys.modules) - before, resident()
import json
told = {"wall_ms": wall, "cpu_ms": cpu, "modules": modules, "resident_mb": held}
if event:
    class Context:
        function_name, memory_limit_in_mb, aws_request_id = "bench", 512, "bench"
        invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:bench"
        def get_remaining_time_in_millis(self): return 10000
    given = json.loads(event)
    def call():
        try:
            return str(imported.handler(given, Context()))
        except Exception as error:
            return type(error).__name__
    for number in ("first", "second"):
        told[number + "_call_ms"], _, told[number + "_answer"] = timed(call)
    told["resident_after_mb"], told["modules_after"] = resident(), len(sys.modules) - before
print(json.dumps(told))
"""

# The same with every source file named that had to be compiled; -X importtime writes the times of the modules to standard error.
_LOOK = """
import sys
module, sys.path[:0] = sys.argv[1], sys.argv[2].split("|")
compiled, before = [], set(sys.modules)
sys.addaudithook(lambda name, values: compiled.append(values[1]) if name == "compile" else None)
__import__(module)
loaded = sorted(set(sys.modules) - before)
seen = [str(name, "utf-8", "replace") if isinstance(name, bytes) else str(name) for name in compiled]
import json
print(json.dumps({"compiled": [name for name in seen if name.endswith(".py")], "loaded": loaded}))
"""

REFERENCE = "reference"
FIELD = "field"

_REFERENCE_MODULE = '''"""A fixed piece of the standard library: how fast is this machine at importing today?"""
import asyncio, concurrent.futures, csv, dataclasses, datetime, decimal, email.message, hashlib, hmac
import http.client, inspect, json, logging, ssl, typing, urllib.request, uuid, xml.etree.ElementTree
'''

_FIELD_MODULE = '''"""A handler as they are found in the field: four clients and the usual tools at module level."""
import boto3
import requests
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig, idempotent
from pydantic import BaseModel, Field

logger, metrics, tracer = Logger(service="field"), Metrics(namespace="field", service="field"), Tracer(service="field", disabled=True)
dynamodb, sqs, stepfunctions, s3 = (boto3.client(name, region_name="us-east-1") for name in ("dynamodb", "sqs", "stepfunctions", "s3"))
persistence, processor = DynamoDBPersistenceLayer(table_name="field"), BatchProcessor(event_type=EventType.SQS)
''' + "".join(
    f"""
class Model{number}(BaseModel):
    identifier: str
    name: str = Field(min_length=1, max_length=80)
    quantity: int = Field(ge=0)
    tags: list[str] = []
    parent: "Model{number - 1} | None" = None
"""
    if number
    else """
class Model0(BaseModel):
    identifier: str
"""
    for number in range(30)
)


@dataclass(frozen=True)
class Subject:
    """One module that is imported in a fresh process."""

    name: str
    module: str
    path: Sequence[str]
    environment: Mapping[str, str]
    event: str = ""
    """What its handler is called with, as JSON; nothing: it is only imported."""


_FIRST_EVENTS = {"receive_webhook": "signed"}
"""The sample under events/ that a function is called with, where it is not the first by name."""


def subjects(root: Path, tenant: str, endpoint: str) -> list[Subject]:
    """Every function as shipped, the handler of the field, and the reference. ``endpoint``: an AWS that answers the first call."""
    built, folder = packaged.build(root, tenant), root / "build" / "bench"
    environment = packaged.environment(endpoint)
    field, reference = packaged.field(folder), folder / REFERENCE
    reference.mkdir(exist_ok=True)
    (reference / "reference_imports.py").write_text(_REFERENCE_MODULE, encoding="utf-8")
    (field / "field_handler.py").write_text(_FIELD_MODULE, encoding="utf-8")
    return [
        *(Subject(name, "handler", built.path_of(name), environment, _event(root, name)) for name in built.functions),
        Subject(FIELD, "field_handler", [str(field), str(built.runtime)], environment),
        Subject(REFERENCE, "reference_imports", [str(reference)], environment),
    ]


def _event(root: Path, function: str) -> str:
    folder = root / "events" / function
    event = json.loads((folder / f"{_FIRST_EVENTS[function]}.json" if function in _FIRST_EVENTS else sorted(folder.glob("*.json"))[0]).read_text(encoding="utf-8"))
    for name in event.get("headers") or {}:
        if name.lower() == "x-shopify-hmac-sha256":
            event["headers"][name] = base64.b64encode(hmac.new(quiet_aws.SECRET.encode(), event["body"].encode(), hashlib.sha256).digest()).decode()
    return json.dumps(event)


def measure(chosen: Sequence[Subject], *, runs: int, say: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """Round after round over all subjects, so that a slow minute of the machine hits them alike; medians and spread."""
    taken: dict[str, list[dict[str, Any]]] = {subject.name: [] for subject in chosen}
    for number in range(runs + 1):
        for subject in chosen:
            answer = _told(_run(subject, _PROBE))
            if number:  # the first round only warms the disk's cache
                taken[subject.name].append(answer)
        say(f"import round {number} of {runs}")
    return {subject.name: {**_summary(taken[subject.name]), **look(subject)} for subject in chosen}


_FIGURES = ("wall_ms", "cpu_ms", "resident_mb", "first_call_ms", "second_call_ms", "resident_after_mb")


def _told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The last line: a function's log goes the same way."""
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    def of(figure: str) -> dict[str, float]:
        values = sorted(run[figure] for run in runs)
        return {"median": round(statistics.median(values), 1), "low": round(values[0], 1), "high": round(values[-1], 1)}

    last = runs[-1]
    told = {"runs": len(runs), **{figure: of(figure) for figure in _FIGURES if figure in last}}
    return {**told, "modules": last["modules"], **{name: last[name] for name in ("modules_after", "first_answer") if name in last}}


def look(subject: Subject, *, top: int = 12) -> dict[str, Any]:
    """What is loaded and what of it takes the time (the interpreter's own account, whose bookkeeping adds to each figure)."""
    tries = [_run(subject, _LOOK, "-X", "importtime") for _ in range(3)]
    answer = _told(tries[0])
    times = min((_import_times(done.stderr) for done in tries), key=lambda found: sum(found.values()))
    loaded = set(answer["loaded"])
    own = {name: micros for name, micros in times.items() if name in loaded}
    groups: Counter[str] = Counter()
    for name, micros in own.items():
        groups[_group(name)] += micros
    counted = Counter(_group(name) for name in loaded)
    return {
        "top_modules": [{"module": name, "self_ms": round(micros / 1000, 1)} for name, micros in Counter(own).most_common(top)],
        "packages": [{"package": name, "self_ms": round(groups[name] / 1000, 1), "modules": counted[name]} for name in sorted(counted, key=lambda name: -groups[name])],
        "compiled_sources": sorted({_shown(path) for path in answer["compiled"]}),
    }


def _import_times(stderr: str) -> dict[str, int]:
    """Microseconds of its own by module, from `-X importtime`."""
    found = re.findall(r"^import time:\s+(\d+) \|\s+\d+ \|\s*(\S+)", stderr, re.MULTILINE)
    return {name: int(micros) for micros, name in found}


def _group(module: str) -> str:
    """The package a module belongs to; crossdock by its parts, everything of Python itself as one."""
    first, _, rest = module.partition(".")
    if first == "crossdock":
        return f"crossdock.{rest.partition('.')[0]}" if rest else first
    return "(standard library)" if first in sys.stdlib_module_names or (first.startswith("_") and first not in ("_yaml",)) else first


def _shown(path: str) -> str:
    """A path without where this checkout is: what lies in the function's folder, a layer or the runtime."""
    parts = Path(path).parts
    if "bench" in parts:
        parts = parts[len(parts) - parts[::-1].index("bench") :]
        return "/".join([parts[0].partition("-")[0], *parts[1:]])
    return "/".join(parts[-2:])


def _run(subject: Subject, program: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", "-B", *options, "-c", program, subject.module, "|".join(subject.path), subject.event]
    done = subprocess.run(command, env={**subject.environment, "PATH": os.defpath}, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise ImportFailed(f"{subject.name} cannot be imported as it is shipped:\n{done.stderr.strip()[-2000:]}")
    return done


class ImportFailed(RuntimeError):
    """A function lacks something in its folder and layers; the text ends with the traceback."""
