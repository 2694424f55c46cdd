"""Does a simulator of a run come up, keep its state over a kill, and say why when it cannot start?"""

from __future__ import annotations

import json
import urllib.request
from decimal import Decimal

import pytest

from local.engine import process, simulators
from local.engine.simulators import SimulatorNotReady, SimulatorSpec
from local.engine.state import RunDirectory, free_port
from local.simulators import exact_json

SPEC = SimulatorSpec("shipbob", "acme", "threepl", {"credentials": {"access_token": "token", "channel_id": 1}, "seed": {}})


def test_a_simulator_comes_up_and_is_the_same_after_it_was_killed(run: RunDirectory) -> None:
    first = simulators.start(run, SPEC, free_port())
    simulators.wait_ready(first)
    assert simulators.is_healthy(first)

    again = simulators.restart(run, first, kill=True)

    assert again.url == first.url
    assert again.process.pid != first.process.pid
    assert not process.is_running(first.process)
    with urllib.request.urlopen(f"{again.url}/_state") as answer:
        assert isinstance(json.load(answer), dict)
    simulators.stop(again)
    assert not simulators.is_healthy(again)


def test_a_simulator_that_cannot_start_says_why(run: RunDirectory) -> None:
    broken = simulators.start(run, SimulatorSpec("shipbob", "acme", "threepl", {"credentials": {}}), free_port())

    with pytest.raises(SimulatorNotReady, match="access_token"):
        simulators.wait_ready(broken)


def test_the_configuration_keeps_amounts_exact_and_its_files_in_the_run(run: RunDirectory) -> None:
    spec = SimulatorSpec("shipbob", "acme", "threepl", {**SPEC.settings, "seed": {"price": Decimal("19.90")}})
    started = simulators.start(run, spec, free_port(), run.path / "exchanges.jsonl")
    simulators.stop(started, kill=True)

    config = exact_json.loads(started.config_file.read_bytes())

    assert str(config["seed"]["price"]) == "19.90"
    assert config["state_file"].startswith(str(run.simulators))
    assert config["exchanges_file"] == str(run.path / "exchanges.jsonl")
    assert started.config_file.stat().st_mode & 0o077 == 0


def test_two_simulators_for_one_connection_are_refused() -> None:
    with pytest.raises(ValueError, match=r"acme\.threepl"):
        simulators.names([SPEC, SPEC])
