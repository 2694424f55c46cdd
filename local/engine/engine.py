"""How is the local AWS engine started, asked whether it is well, and spoken to?"""

from __future__ import annotations

import sys
import time
import urllib.error
import urllib.request

import psutil

from local.engine import process
from local.engine.state import HOST, EngineState, RunDirectory

REGION = "us-east-1"
ACCOUNT = "000000000000"
"""The engine's account for the access key `test`, and the one unsigned calls (webhooks) land in."""

_READY_WITHIN_S = 60.0


class EngineNotReady(RuntimeError):
    """The engine did not come up; the message ends with what its log says."""


def start(run: RunDirectory, port: int, *, enforce_iam: bool, functions_endpoint: str | None = None) -> EngineState:
    """Start MiniStack detached on 127.0.0.1:`port`. It keeps everything in memory: stopping it forgets the stacks.
    The functions find AWS at `functions_endpoint`, else at the engine itself."""
    # The interpreter that runs the engine also runs the functions, so they find their packages where this program does.
    record = process.launch(
        [sys.executable, "-m", "ministack"],
        what="engine",
        log=run.logs / "engine.log",
        environment=_environment(run, port, enforce_iam=enforce_iam) | ({"AWS_ENDPOINT_URL": functions_endpoint} if functions_endpoint else {}),
        cwd=run.path,
        run_directory=run.path,
    )
    return EngineState(process=record, url=f"http://{HOST}:{port}", enforce_iam=enforce_iam, functions_endpoint=functions_endpoint)


def _environment(run: RunDirectory, port: int, *, enforce_iam: bool) -> dict[str, str]:
    return {
        **process.environment_for_children(),
        "GATEWAY_PORT": str(port),
        "BIND_HOST": HOST,
        "AUTH": "true" if enforce_iam else "false",
        "LAMBDA_EXECUTOR": "local",
        # The engine's and its workers' folders all end up where one deletion removes them.
        "TMPDIR": str(run.temporary),
        # Workers that are warm stay warm for a day: a machine that looks idle between two steps of a story is not.
        "LAMBDA_WARM_TTL_SECONDS": "86400",
        "STATE_DIR": str(run.engine_data / "state"),
        "S3_DATA_DIR": str(run.engine_data / "s3"),
        # Parts that would listen on fixed ports or look for Docker.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "DOCKER_HOST": f"unix://{run.path / 'no-docker.sock'}",
        "LOG_LEVEL": "WARNING",
        "PYTHONUNBUFFERED": "1",
    }


def wait_ready(engine: EngineState, within_s: float = _READY_WITHIN_S) -> None:
    """Return when the engine answers. Raises EngineNotReady as soon as it ended, or after `within_s` seconds."""
    if not wait_answering(f"{engine.url}/_ministack/health", engine.process, within_s):
        state = "did not answer" if process.is_running(engine.process) else "ended while starting"
        raise EngineNotReady(f"the engine {state}; its log {engine.process.log} says:\n{process.last_lines(engine.process.log)}")


def is_healthy(engine: EngineState) -> bool:
    """Whether the engine that was started still runs and answers."""
    return process.is_running(engine.process) and answers(f"{engine.url}/_ministack/health")


def client_environment(engine_url: str) -> dict[str, str]:
    """What any AWS client (boto3, CDK, the AWS CLI) must find in its environment to talk to this engine, IAM enforced or not."""
    return {
        "AWS_ENDPOINT_URL": engine_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        # Else boto3 calls sync-127.0.0.1 for StartSyncExecution.
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
    }


def api_url(engine_url: str, api_id: str, stage: str) -> str:
    """Where the engine serves a deployed REST API; its own `ApiUrl` output names AWS's host instead."""
    return f"{engine_url}/restapis/{api_id}/{stage}/_user_request_"


def workers(run: RunDirectory) -> list[psutil.Process]:
    """The processes in which the engine runs functions: what a fault story may kill."""
    return [found for found in process.belonging_to(run.path) if _is_worker(found)]


def kill_workers(run: RunDirectory) -> int:
    """Kill every function worker at once, without a chance to clean up, as a crashed host would; returns how many."""
    victims = workers(run)
    for victim in victims:
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            continue
    return len(victims)


def _is_worker(candidate: psutil.Process) -> bool:
    try:
        return any("ministack-lambda-" in argument for argument in candidate.cmdline()[1:2])
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def answers(url: str, timeout_s: float = 2.0) -> bool:
    """Whether a GET is answered with 2xx."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:
            return bool(200 <= answer.status < 300)
    except (urllib.error.URLError, OSError):
        return False


def wait_answering(url: str, record: process.ProcessRecord, within_s: float) -> bool:
    """Poll until `url` answers; False when the process ended or the time is over."""
    give_up = time.monotonic() + within_s
    while time.monotonic() < give_up:
        if answers(url):
            return True
        if not process.is_running(record):
            return False
        time.sleep(0.05)
    return False
