"""Is the CDK command line called as it must be, believed only when it succeeded, and never left running?"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from local.engine import deploy, process
from local.engine.deploy import Assembly, CommandFailed
from local.engine.state import RunDirectory
from local.engine.toolchain import Toolchain

CDK = """
import json, os, sys
from pathlib import Path
arguments = sys.argv[1:]
with Path(os.environ["CROSSDOCK_RUN_DIR"], "..", "calls.jsonl").open("a") as calls:
    calls.write(json.dumps({"arguments": arguments, "cwd": os.getcwd(), "environment": {k: v for k, v in os.environ.items() if k.startswith(("AWS_", "CDK_", "TMPDIR"))}}) + "\\n")
print("working on it")
mode = Path(os.environ["CROSSDOCK_RUN_DIR"], "..", "mode").read_text() if Path(os.environ["CROSSDOCK_RUN_DIR"], "..", "mode").exists() else ""
if mode == "fail":
    print("Resource handler returned: no such layer")
    sys.exit(3)
if mode == "hang":
    import subprocess, time
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    time.sleep(60)
if arguments[0] == "synth":
    out = Path(arguments[arguments.index("--output") + 1]); out.mkdir(parents=True)
    stacks = {name: {"type": "aws:cloudformation:stack", "properties": {}} for name in ("crossdock-acme", "crossdock-harbor-supply")}
    (out / "manifest.json").write_text(json.dumps({"artifacts": {**stacks, "Tree": {"type": "cdk:tree"}}}))
if mode == "half":
    sys.exit(4)
"""


@pytest.fixture
def tools(run: RunDirectory) -> Toolchain:
    """A CDK command line that writes down how it was called."""
    cdk = run.root / "fake_cdk.py"
    cdk.write_text(CDK)
    (run.root / "infra").mkdir()
    (run.root / "infra" / "app.py").write_text("one")
    return Toolchain(Path(sys.executable), cdk)


def calls(run: RunDirectory) -> list[dict[str, Any]]:
    path = run.root / "calls.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def quiet(_text: str) -> None:
    """Nobody listens."""


def test_the_app_is_synthesised_for_the_local_target_without_any_account(run: RunDirectory, tools: Toolchain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    overlay = run.path / "overlay.json"
    overlay.write_text("{}")
    said: list[str] = []

    assembly = deploy.synthesise(run, tools, ["acme"], overlay, said.append)

    (call,) = calls(run)
    assert {"target=local", "tenant=acme", f"overlay={overlay}"} <= set(call["arguments"])
    assert call["cwd"] == str(run.root)
    assert [name for name in call["environment"] if name.startswith("AWS_") and name != "AWS_CA_BUNDLE"] == []
    assert assembly.stacks() == ["crossdock-acme", "crossdock-harbor-supply"]
    assert said == ["working on it"]


def test_for_several_tenants_the_app_makes_every_stack_it_finds(run: RunDirectory, tools: Toolchain) -> None:
    deploy.synthesise(run, tools, ["acme", "harbor_supply"], None, quiet)

    assert not any(argument.startswith("tenant=") for argument in calls(run)[0]["arguments"])


def test_unchanged_inputs_are_not_synthesised_again(run: RunDirectory, tools: Toolchain) -> None:
    first = deploy.synthesise(run, tools, ["acme"], None, quiet)
    (run.root / "infra" / "__pycache__").mkdir()
    (run.root / "infra" / "__pycache__" / "app.pyc").write_text("bytecode")
    again = deploy.synthesise(run, tools, ["acme"], None, quiet)

    assert (first.reused, again.reused) == (False, True)
    assert len(calls(run)) == 1


@pytest.mark.parametrize("change", ["edit", "new file", "overlay", "tenants", "rename"])
def test_any_changed_input_is_synthesised_again(run: RunDirectory, tools: Toolchain, change: str) -> None:
    overlay = run.path / "overlay.json"
    overlay.write_text("{}")
    deploy.synthesise(run, tools, ["acme"], overlay, quiet)
    app = run.root / "infra" / "app.py"
    if change == "edit":
        app.write_text("two")
    if change == "new file":
        (run.root / "tenants").mkdir()
        (run.root / "tenants" / "acme.yaml").write_text("")
    if change == "overlay":
        overlay.write_text('{"tenants": {}}')
    if change == "rename":
        app.rename(app.with_name("stack.py"))

    again = deploy.synthesise(run, tools, ["acme", "harbor_supply"] if change == "tenants" else ["acme"], overlay, quiet)

    assert not again.reused


def test_a_synthesis_that_broke_off_half_way_is_never_reused(run: RunDirectory, tools: Toolchain) -> None:
    deploy.synthesise(run, tools, ["acme"], None, quiet)
    (run.root / "infra" / "app.py").write_text("two")
    (run.root / "mode").write_text("half")
    with pytest.raises(CommandFailed, match="exit 4"):
        deploy.synthesise(run, tools, ["acme"], None, quiet)
    (run.root / "infra" / "app.py").write_text("one")
    (run.root / "mode").unlink()

    assert not deploy.synthesise(run, tools, ["acme"], None, quiet).reused


def test_a_failed_synthesis_says_what_the_command_line_said_and_is_not_reused(run: RunDirectory, tools: Toolchain) -> None:
    deploy.synthesise(run, tools, ["acme"], None, quiet)
    (run.root / "infra" / "app.py").write_text("two")
    (run.root / "mode").write_text("fail")
    with pytest.raises(CommandFailed, match=r"exit 3[\s\S]*no such layer"):
        deploy.synthesise(run, tools, ["acme"], None, quiet)
    (run.root / "mode").unlink()
    (run.root / "infra" / "app.py").write_text("one")

    assert not deploy.synthesise(run, tools, ["acme"], None, quiet).reused


def test_a_command_that_hangs_is_stopped_with_everything_it_started(run: RunDirectory, tools: Toolchain, monkeypatch: pytest.MonkeyPatch) -> None:
    (run.root / "mode").write_text("hang")
    monkeypatch.setattr(deploy, "_SYNTH_WITHIN_S", 0.8)
    before = time.monotonic()

    with pytest.raises(CommandFailed, match="did not end within"):
        deploy.synthesise(run, tools, ["acme"], None, quiet)

    assert time.monotonic() - before < 20
    assert process.belonging_to(run.path) == []


def test_an_interrupted_command_does_not_outlive_the_interruption(run: RunDirectory, tools: Toolchain) -> None:
    (run.root / "mode").write_text("hang")

    def interrupt(_text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deploy.synthesise(run, tools, ["acme"], None, interrupt)

    assert process.belonging_to(run.path) == []
    assert [child for child in psutil.Process().children(recursive=True) if "fake_cdk" in " ".join(child.cmdline())] == []


def test_stacks_are_deployed_with_the_engines_keys_and_their_outputs_returned(run: RunDirectory, tools: Toolchain, monkeypatch: pytest.MonkeyPatch) -> None:
    assembly = deploy.synthesise(run, tools, ["acme", "harbor_supply"], None, quiet)
    monkeypatch.setattr(deploy, "describe_stack", lambda _url, name: {"Outputs": [{"OutputKey": "Tenant", "OutputValue": name}]})

    outputs = deploy.deploy(run, tools, "http://127.0.0.1:4566", assembly, ["harbor_supply"], quiet)

    call = calls(run)[-1]
    assert outputs == {"harbor_supply": {"Tenant": "crossdock-harbor-supply"}}
    assert call["arguments"][0] == "deploy"
    assert call["arguments"][-1] == "crossdock-harbor-supply"
    assert "crossdock-acme" not in call["arguments"]
    assert call["environment"]["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
    assert call["environment"]["TMPDIR"] == str(run.temporary)


def test_a_tenant_the_app_made_no_stack_for_is_refused_before_anything_is_deployed(run: RunDirectory, tools: Toolchain) -> None:
    assembly = deploy.synthesise(run, tools, ["acme"], None, quiet)

    with pytest.raises(CommandFailed, match=r"no stack named crossdock-other; it made crossdock-acme"):
        deploy.deploy(run, tools, "http://127.0.0.1:4566", assembly, ["other"], quiet)
    assert len(calls(run)) == 1


def test_a_success_the_engine_knows_nothing_of_is_a_failure(run: RunDirectory, tools: Toolchain, monkeypatch: pytest.MonkeyPatch) -> None:
    assembly = deploy.synthesise(run, tools, ["acme"], None, quiet)
    monkeypatch.setattr(deploy, "describe_stack", lambda _url, _name: None)

    with pytest.raises(CommandFailed, match="the engine has no stack crossdock-acme"):
        deploy.deploy(run, tools, "http://127.0.0.1:4566", assembly, ["acme"], quiet)


def test_the_engine_is_bootstrapped_once_and_from_a_folder_without_the_app(run: RunDirectory, tools: Toolchain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "describe_stack", lambda _url, _name: None)
    deploy.bootstrap(run, tools, "http://127.0.0.1:4566", quiet)
    monkeypatch.setattr(deploy, "describe_stack", lambda _url, _name: {"StackStatus": "CREATE_COMPLETE"})
    deploy.bootstrap(run, tools, "http://127.0.0.1:4566", quiet)

    (call,) = calls(run)
    assert call["arguments"][:2] == ["bootstrap", "aws://000000000000/us-east-1"]
    assert call["cwd"] == str(run.path)


def test_destroying_takes_only_the_named_tenants(run: RunDirectory, tools: Toolchain) -> None:
    deploy.destroy(run, tools, "http://127.0.0.1:4566", Assembly(run.assembly, reused=True), ["acme"], quiet)

    assert calls(run)[0]["arguments"][-2:] == ["--force", "crossdock-acme"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "crossdock-a |  12 | 8:55:25 PM | CREATE_COMPLETE | AWS::SQS::Queue | Queues/Inbound (QueuesInbound1)",
            "crossdock-a create complete: SQS::Queue Queues/Inbound (QueuesInbound1)",
        ),
        ("crossdock-a |  1/9 | 8:55:25 PM | CREATE_FAILED   | AWS::KMS::Key | Key (Key1) no such thing", "crossdock-a create failed: KMS::Key Key (Key1) no such thing"),
        ("crossdock-a |  12 | 8:55:25 PM | CREATE_IN_PROGRESS | AWS::SQS::Queue | Q", None),
        ("crossdock-a: success: Published X Template (0)", None),
        ("crossdock-a.ApiUrl = https://x", None),
        ("", None),
        ("left out: AWS::Events::Archive", "left out: AWS::Events::Archive"),
    ],
)
def test_only_what_helps_the_waiting_person_is_told(line: str, told: str | None) -> None:
    assert deploy._worth_saying(line + "\n") == told
