"""Does the run remember what is up, and survive what can happen to its files?"""

from __future__ import annotations

import json
import socket
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.engine.process import ProcessRecord
from local.engine.state import HOST, EngineState, RunBusy, RunDirectory, RunState, SimulatorState, StateUnreadable, TenantState, is_free, write_private


def a_state(run: RunDirectory) -> RunState:
    record = ProcessRecord(pid=4711, started=1_700_000_000.25, what="engine", log=run.logs / "engine.log")
    return RunState(
        started_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
        engine=EngineState(process=record, url="http://127.0.0.1:4566", enforce_iam=True),
        simulators={
            "acme.erp": SimulatorState(
                process=record.model_copy(update={"pid": 4712}),
                vendor="business_central",
                tenant="acme",
                connection="erp",
                url="http://127.0.0.1:4567",
                config_file=run.simulators / "acme.erp.json",
            )
        },
        tenants={"acme": TenantState(stack="crossdock-acme", outputs={"ApiId": "a1"})},
    )


def test_what_was_written_is_read_again(run: RunDirectory) -> None:
    run.write(a_state(run))

    assert run.read() == a_state(run)
    assert [record.pid for record in a_state(run).processes()] == [4711, 4712]


def test_nothing_up_is_no_error(run: RunDirectory) -> None:
    assert run.read() is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 2, "started_at": "2026-03-01T12:00:00Z"}', b"\xff\xfe"])
def test_a_damaged_or_foreign_state_file_is_named_with_its_remedy(run: RunDirectory, content: bytes) -> None:
    run.state_file.write_bytes(content)

    with pytest.raises(StateUnreadable, match=r"state\.json is not readable: run `crossdock local down`"):
        run.read()


def test_only_the_owner_can_read_the_credentials_of_a_run(run: RunDirectory) -> None:
    run.write(a_state(run))

    assert stat.S_IMODE(run.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(run.state_file.stat().st_mode) == 0o600


def test_a_failed_write_leaves_the_old_file_and_no_half_one(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    write_private(run.path / "a.json", "old")

    def fails(_self: Path, _target: Path) -> Path:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(OSError, match="disk full"):
        write_private(run.path / "a.json", "new")

    assert (run.path / "a.json").read_text() == "old"
    assert [path.name for path in run.path.glob(".a.json*")] == []


def test_two_commands_cannot_change_the_run_at_once(run: RunDirectory) -> None:
    with run.locked(), pytest.raises(RunBusy, match=r"process \d+"), RunDirectory(run.root).locked():
        pytest.fail("both were let in")

    with RunDirectory(run.root).locked():
        pass


def test_forgetting_a_run_removes_states_credentials_and_temporary_folders_but_keeps_the_logs(run: RunDirectory) -> None:
    run.write(a_state(run))
    (run.temporary / "ministack-lambda-x").mkdir()
    (run.simulators / "acme.erp.json").write_text("{}")
    (run.logs / "engine.log").write_text("why")

    run.forget()

    assert sorted(path.name for path in run.path.iterdir()) == ["logs"]
    assert (run.logs / "engine.log").read_text() == "why"


def test_the_log_of_the_run_before_is_kept_one_generation(run: RunDirectory) -> None:
    (run.logs / "engine.log").write_text("first")
    run.rotate_logs()
    (run.logs / "engine.log").write_text("second")
    run.rotate_logs()

    assert [(path.name, path.read_text()) for path in run.logs.iterdir()] == [("engine.log.1", "second")]


def test_an_address_stays_the_same_from_run_to_run(run: RunDirectory) -> None:
    first = run.ports(["engine", "acme.erp"])

    assert run.ports(["acme.erp"]) == {"acme.erp": first["acme.erp"]}
    assert run.ports(["engine", "acme.erp"]) == first


def test_a_port_somebody_took_meanwhile_is_replaced(run: RunDirectory) -> None:
    before = run.ports(["engine"])["engine"]
    with socket.socket() as other:
        other.bind((HOST, before))
        other.listen()

        assert not is_free(before)
        assert run.ports(["engine"])["engine"] != before


@pytest.mark.parametrize("content", ["{", "[]", '{"engine": "x"}', '{"engine": null}'])
def test_a_damaged_memory_of_ports_is_replaced(run: RunDirectory, content: str) -> None:
    (run.path / "ports.json").write_text(content)

    chosen = run.ports(["engine"])

    assert json.loads((run.path / "ports.json").read_text()) == chosen


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(names=st.lists(st.text(st.characters(categories=["Ll", "Nd"]), min_size=1, max_size=8), unique=True, max_size=6))
def test_no_two_servers_are_given_one_port(run: RunDirectory, names: list[str]) -> None:
    ports = run.ports(names)

    assert set(ports) == set(names)
    assert len(set(ports.values())) == len(names)
