"""Can a person see what comes back, how far it is, and what was done?"""

from __future__ import annotations

from crossdock.domain.events import ReturnRequested
from crossdock.domain.return_ import Disposition
from tests.flows.test_returns import RMA, a_return, receipt, shipped
from tests.flows.world import World
from tests.local.cli.conftest import Crossdock


def test_a_return_is_listed_and_shown_with_all_that_happened(world: World, crossdock: Crossdock) -> None:
    shipped(world)
    world.tell("shop", ReturnRequested.model_validate({"return": a_return().model_dump()}))
    world.run()
    world.tell("erp", receipt(("70010", "1", Disposition.SCRAP), ("70020", "1", Disposition.RESTOCK)))
    world.run()

    (listed,) = crossdock("returns", "list", "--json").document
    assert (listed["return_id"], listed["status"]) == (RMA, "partially_received")
    assert crossdock("returns", "list", "--status", "closed", "--json").document == []
    assert RMA in crossdock("returns", "list").out

    found = crossdock("returns", "show", RMA, "--json")
    assert found.code == 0 and found.document["chain"]["whole"]
    assert "ReturnReceived" in [entry["action"] for entry in found.document["entries"]]
    shown = crossdock("returns", "show", RMA).out
    assert "1 scrap" in shown and "not agreed" in shown


def test_a_return_that_is_not_there_is_told_with_the_next_step(crossdock: Crossdock) -> None:
    found = crossdock("returns", "show", "RMA-nobody")
    assert found.code != 0
    assert "returns list" in found.out + found.said
