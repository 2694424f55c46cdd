"""Can a person see what counts, what waits for approval, and have both sides asked and told?"""

from __future__ import annotations

from crossdock.domain.manifest import PollContract
from crossdock.domain.messages import OutboundMessage
from crossdock.domain.stage import QueueName
from tests.flows.test_prices import says
from tests.flows.world import World
from tests.local.cli.conftest import Crossdock


def test_a_price_is_listed_and_shown_with_what_waits_and_can_be_let_pass(world: World, crossdock: Crossdock) -> None:
    says(world, "10", minute=1)
    says(world, "20", minute=2, by="ines")

    (listed,) = crossdock("prices", "list", "--stale", "--json").document
    assert (listed["sku"], listed["list_price"]["amount"], listed["stale"]) == ("BOLT", "10", True)
    assert "20.00 USD" in crossdock("prices", "list").out
    shown = crossdock("prices", "show", "BOLT").out
    assert "asked for by ines" in shown and "PriceChangeProposed" in shown
    assert [entry["action"] for entry in crossdock("prices", "show", "BOLT", "--json").document["entries"]][:2] == ["PriceChanged", "PriceChangeProposed"]

    opened = world.the_exception("PRICE_CHANGE").exception_id
    assert "approved" in crossdock("exceptions", "resolve", opened, "--decision", "approve", "--note", "agreed").out
    assert crossdock("prices", "list", "--stale", "--json").document == []


def test_a_sku_without_a_price_is_told_with_the_next_step(crossdock: Crossdock) -> None:
    found = crossdock("prices", "show", "NOBODY")
    assert found.code != 0
    assert "prices sync" in found.out + found.said


def test_sync_asks_the_owners_and_tells_the_channels(world: World, crossdock: Crossdock) -> None:
    asked = {"reason": "no webhook", "every_seconds": 300, "awaited_every_seconds": 60}
    world.erp.manifest = world.erp.manifest.model_copy(update={"polls": {name: PollContract.model_validate(asked) for name in ("items", "customers", "shipments")}})
    world.shop.manifest = world.shop.manifest.model_copy(update={"commands": (*world.shop.manifest.commands, "SetPrice")})

    assert crossdock("prices", "sync", "--json").document == {"asked": ["erp items", "erp customers"], "told": ["shop"]}

    sent = [OutboundMessage.model_validate_json(body) for queue, body in world.queues.sent if queue is QueueName.OUTBOUND]
    assert [(message.command, message.connection, message.arguments) for message in sent] == [
        ("PollConnection", "erp", {"resource": "items"}),
        ("PollConnection", "erp", {"resource": "customers"}),
        ("SetPrice", "shop", {}),
    ]
    assert "erp items" in crossdock("prices", "sync").out
