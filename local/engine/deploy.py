"""How do the tenants' stacks get from the infra code into the engine, with the real CDK command line?"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions

from local.engine import process
from local.engine.engine import ACCOUNT, REGION, client_environment
from local.engine.state import RunDirectory
from local.engine.toolchain import Toolchain

_INPUTS = ("infra", "functions", "layers", "tenants", "partners", "contracts", "cdk.json", "pyproject.toml", "uv.lock")
"""What the synthesised stacks are made of: while none of it changes, neither do they."""

_SYNTH_WITHIN_S = 300.0
_DEPLOY_WITHIN_S = 600.0
_FINGERPRINT = "fingerprint.txt"
_STACK_EVENT = re.compile(r"^(?P<stack>\S+) \|\s*(?P<place>[\d/]+) \|[^|]*\|\s*(?P<status>\w+)\s*\|\s*(?P<kind>\S+)\s*\|\s*(?P<name>.*)$")
_NOISE = re.compile(
    r": (start|success): (Building|Built|Publishing|Published) "
    r"|^(Outputs:|Stack ARN:|arn:aws:cloudformation:|Supply a stack id|Successfully synthesized|Trusted accounts|Using default execution)"
    r"|^[\w-]+\.\w+ = |feature flags are not configured|(Synthesis|Deployment|Total) time:"
)
"""What the CDK CLI says that helps nobody who waits; all of it stays in the log."""

Say = Callable[[str], None]


class CommandFailed(RuntimeError):
    """The CDK command line ended with an error; the message ends with what it said."""


@dataclass(frozen=True)
class Assembly:
    """Synthesised stacks, ready to deploy."""

    path: Path
    reused: bool
    """True when nothing they are made of had changed since they were synthesised."""

    def stacks(self) -> list[str]:
        """The names of the stacks in it."""
        manifest = json.loads((self.path / "manifest.json").read_text(encoding="utf-8"))
        artifacts: dict[str, dict[str, Any]] = manifest.get("artifacts", {})
        return sorted(str(artifact.get("properties", {}).get("stackName", name)) for name, artifact in artifacts.items() if artifact.get("type") == "aws:cloudformation:stack")


def stack_name(tenant: str) -> str:
    """CloudFormation allows no underscore in a stack's name."""
    return f"crossdock-{tenant.replace('_', '-')}"


def synthesise(run: RunDirectory, tools: Toolchain, tenants: Sequence[str], overlay: Path | None, say: Say) -> Assembly:
    """Run the CDK app for the local target, or take what it made last time from the same inputs. Raises CommandFailed.

    One tenant is synthesised alone; for several the app makes all it finds and `deploy` takes the wanted ones.
    """
    context = {"target": "local"}
    if len(tenants) == 1:
        context["tenant"] = tenants[0]
    if overlay is not None:
        context["overlay"] = str(overlay)
    fingerprint = _fingerprint(run.root, context, overlay)
    marker = run.path / _FINGERPRINT
    if (run.assembly / "manifest.json").is_file() and marker.is_file() and marker.read_text(encoding="utf-8") == fingerprint:
        return Assembly(run.assembly, reused=True)
    marker.unlink(missing_ok=True)
    shutil.rmtree(run.assembly, ignore_errors=True)
    arguments = [argument for name, value in context.items() for argument in ("--context", f"{name}={value}")]
    command = tools.cdk_command("synth", "--quiet", "--no-notices", "--no-lookups", "--output", str(run.assembly), *arguments)
    # The app runs before the engine is up and must not need it: no AWS settings at all.
    environment = {**_environment(run, tools), "CDK_DEFAULT_ACCOUNT": ACCOUNT, "CDK_DEFAULT_REGION": REGION}
    _run(run, "synth", command, run.root, environment, say, _SYNTH_WITHIN_S)
    marker.write_text(fingerprint, encoding="utf-8")
    return Assembly(run.assembly, reused=False)


def bootstrap(run: RunDirectory, tools: Toolchain, engine_url: str, say: Say) -> None:
    """Give the engine the bucket the CDK CLI uploads assets to, once per engine. Raises CommandFailed."""
    if describe_stack(engine_url, "CDKToolkit") is not None:
        return
    command = tools.cdk_command("bootstrap", f"aws://{ACCOUNT}/{REGION}", "--no-notices")
    # From a folder without cdk.json: beside one, the CLI would synthesise the whole app first.
    _run(run, "bootstrap", command, run.path, {**_environment(run, tools), **client_environment(engine_url)}, say, _DEPLOY_WITHIN_S)


def deploy(run: RunDirectory, tools: Toolchain, engine_url: str, assembly: Assembly, tenants: Sequence[str], say: Say) -> dict[str, dict[str, str]]:
    """Create or update the tenants' stacks; returns each tenant's stack outputs. Raises CommandFailed."""
    wanted = {tenant: stack_name(tenant) for tenant in tenants}
    missing = sorted(set(wanted.values()) - set(assembly.stacks()))
    if missing:
        raise CommandFailed(f"the app made no stack named {', '.join(missing)}; it made {', '.join(assembly.stacks()) or 'none'}")
    command = tools.cdk_command("deploy", *_at(assembly), "--require-approval", "never", "--method", "direct", "--progress", "events", "--concurrency", "4", *wanted.values())
    _run(run, "deploy", command, run.path, {**_environment(run, tools), **client_environment(engine_url)}, say, _DEPLOY_WITHIN_S)
    outputs: dict[str, dict[str, str]] = {}
    for tenant, stack in wanted.items():
        description = describe_stack(engine_url, stack)
        if description is None:
            raise CommandFailed(f"the CDK CLI reported success but the engine has no stack {stack}")
        outputs[tenant] = {str(output["OutputKey"]): str(output["OutputValue"]) for output in description.get("Outputs", [])}
    return outputs


def destroy(run: RunDirectory, tools: Toolchain, engine_url: str, assembly: Assembly, tenants: Sequence[str], say: Say) -> None:
    """Delete the tenants' stacks while the engine stays up. Raises CommandFailed."""
    command = tools.cdk_command("destroy", *_at(assembly), "--force", *(stack_name(tenant) for tenant in tenants))
    _run(run, "destroy", command, run.path, {**_environment(run, tools), **client_environment(engine_url)}, say, _DEPLOY_WITHIN_S)


def describe_stack(engine_url: str, name: str) -> dict[str, Any] | None:
    """What CloudFormation tells about a stack; None when there is none."""
    client = boto3.client("cloudformation", endpoint_url=engine_url, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test")  # noqa: S106 - the engine's own root key
    try:
        stacks = client.describe_stacks(StackName=name)["Stacks"]
    except botocore.exceptions.ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    found = next((stack for stack in stacks if not stack["StackStatus"].startswith("DELETE")), None)
    return dict(found) if found else None


def _at(assembly: Assembly) -> list[str]:
    return ["--app", str(assembly.path), "--no-notices"]


def _environment(run: RunDirectory, tools: Toolchain) -> dict[str, str]:
    own = {
        "TMPDIR": str(run.temporary),
        # Asset archives and lookups: without this they would land in the user's own ~/.cdk.
        "CDK_HOME": str(run.path / "cdk-home"),
        # Node keeps its compiled CLI in TMPDIR, which every run empties; compiling anew costs four seconds.
        "NODE_COMPILE_CACHE": str(run.path / "node-cache"),
        "PYTHONUNBUFFERED": "1",
        process.MARKER: str(run.path),
    }
    return {**tools.environment(process.environment_for_children()), **own}


def _run(run: RunDirectory, name: str, command: Sequence[str], cwd: Path, environment: Mapping[str, str], say: Say, within_s: float) -> None:
    """Run a command, telling what it says as it says it and keeping all of it in the log; it never outlives this call."""
    log = run.logs / f"cdk-{name}.log"
    with log.open("w", encoding="utf-8") as out:
        child = subprocess.Popen(
            list(command),
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        late = threading.Event()

        def stop_late() -> None:
            late.set()
            _end_tree(child)

        watch = threading.Timer(within_s, stop_late)
        watch.daemon = True
        watch.start()
        try:
            assert child.stdout is not None
            with child.stdout as lines:
                for line in lines:
                    out.write(line)
                    if (text := _worth_saying(line)) is not None:
                        say(text)
            status = child.wait()
        except BaseException:
            _end_tree(child)
            raise
        finally:
            watch.cancel()
    if late.is_set():
        raise CommandFailed(f"`cdk {name}` did not end within {within_s:.0f} s and was stopped; {log} says:\n{process.last_lines(log)}")
    if status != 0:
        raise CommandFailed(f"`cdk {name}` failed (exit {status}); {log} says:\n{process.last_lines(log, 30)}")


def _end_tree(child: subprocess.Popen[str]) -> None:
    """End the command with everything it started, and wait until none of it runs: a killed process is not gone at once."""
    for _ in range(5):
        # What was started while the last list was made belongs to the same session.
        process.end(process.of_session(child.pid), grace_s=1.0)
        if not process.of_session(child.pid):
            break
    child.poll()


def _worth_saying(line: str) -> str | None:
    """A line as a person wants it: resource events shortened, their beginnings and empty lines left out."""
    text = line.strip()
    event = _STACK_EVENT.match(text)
    if event is None:
        return text if text and not _NOISE.search(text) else None
    if event["status"].endswith("IN_PROGRESS"):
        return None
    return f"{event['stack']} {event['status'].lower().replace('_', ' ')}: {event['kind'].removeprefix('AWS::')} {event['name']}"


def _fingerprint(root: Path, context: Mapping[str, str], overlay: Path | None) -> str:
    """A digest of everything the stacks are made of."""
    digest = hashlib.sha256()
    facts = {**context, "python": sys.version, "aws-cdk-lib": importlib.metadata.version("aws-cdk-lib")}
    digest.update(json.dumps(facts, sort_keys=True).encode())
    if overlay is not None:
        digest.update(overlay.read_bytes())
    for name in _INPUTS:
        start = root / name
        files = [start] if start.is_file() else sorted(path for path in start.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        for path in files:
            content = path.read_bytes()
            digest.update(f"\0{path.relative_to(root)}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()
