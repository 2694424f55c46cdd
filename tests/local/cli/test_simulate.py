"""Does one command compare routing rules over the orders that came, in a table and a plot?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.flows.world import World, an_order, line
from tests.local.cli.conftest import Crossdock


def some_orders(world: World) -> None:
    world.autopilot()
    for number, count in enumerate((130, 3), start=1):
        world.place(an_order(number, lines=[line("1", "BOLT", str(count), "10")]))
        world.run()


def test_the_usual_variants_are_compared_in_a_table_and_a_plot(world: World, crossdock: Crossdock, tmp_path: Path) -> None:
    some_orders(world)
    plot = tmp_path / "rules.svg"

    found = crossdock("inventory", "simulate", "--plot", str(plot), "--json").document

    rates = {each["variant"]: (each["fill_rate_percent"], each["split"]) for each in found["variants"]}
    assert rates["as it is"] == ("100.0", 1)
    assert rates["never split"] == ("50.0", 0)
    drawn = re.findall(r"<text[^>]*>([^<]*)</text>", plot.read_text())
    assert {"as it is", "never split", "not filled"} <= set(drawn)
    shown = crossdock("inventory", "simulate").out
    assert "never split" in shown and "50.0 %" in shown


def test_a_file_of_variants_is_compared_with_the_rules_as_they_are(world: World, crossdock: Crossdock, tmp_path: Path) -> None:
    some_orders(world)
    rules = tmp_path / "rules.yaml"
    rules.write_text("one place only: {max_parts: 1, split: false}\n")

    found = crossdock("inventory", "simulate", "--rules", str(rules), "--part-cost", "9.50", "--json").document

    assert [each["variant"] for each in found["variants"]] == ["as it is", "one place only"]
    assert found["variants"][1]["freight"] == {"amount": "9.5", "currency": "USD"}


@pytest.mark.parametrize("text", ["- a list", "x: {rules: []}", "x: 7", ": : :"])
def test_a_file_that_is_no_rules_is_refused_by_name(world: World, crossdock: Crossdock, tmp_path: Path, text: str) -> None:
    some_orders(world)
    rules = tmp_path / "rules.yaml"
    rules.write_text(text)

    found = crossdock("inventory", "simulate", "--rules", str(rules))

    assert found.code == 2 and "rules.yaml" in found.said


@pytest.mark.parametrize("cost", ["much", "-1", "NaN"])
def test_a_cost_that_is_none_is_refused(world: World, crossdock: Crossdock, cost: str) -> None:
    some_orders(world)
    assert crossdock("inventory", "simulate", f"--part-cost={cost}").code == 2


def test_without_orders_there_is_nothing_to_simulate(crossdock: Crossdock) -> None:
    found = crossdock("inventory", "simulate")
    assert found.code == 1 and "no orders" in found.said
