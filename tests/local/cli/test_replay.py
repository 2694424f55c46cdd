"""Are stored deliveries sent round again exactly as asked, and does nothing happen twice?"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from crossdock.domain.delivery import DeliveryStatus
from crossdock.domain.stage import QueueName
from local.cli.options import UsageProblem
from local.cli.replay import moment
from tests.flows.world import World, an_order
from tests.local.cli.conftest import Crossdock

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def test_a_replayed_order_is_the_same_order_with_no_effect_repeated(world: World, crossdock: Crossdock) -> None:
    world.place()
    world.run()
    before = world.effects_done()

    found = crossdock("replay", "--connection", "shop", "--since", "2020-01-01", "--rate", "100", "--json")
    waiting = [note.delivery_id for note in world.deliveries.every() if note.status is DeliveryStatus.RECEIVED]
    world.run()

    assert found.document["sent"] == found.document["matched"] == 1
    assert waiting == found.document["deliveries"], "open again before its message goes out, so that the watch would find it"
    assert world.effects_done() == before
    assert world.status() == "completed"
    assert world.balance().adds_up


def test_a_dry_run_counts_and_sends_nothing(world: World, crossdock: Crossdock) -> None:
    world.place(an_order(1))
    world.place(an_order(2))
    world.run()

    found = crossdock("replay", "--connection", "shop", "--since", "2020-01-01", "--dry-run", "--json")

    assert (found.document["matched"], found.document["sent"]) == (2, 0)
    assert found.document["topics"] == {"orders/create": 2}
    assert world.queues.depth(QueueName.INBOUND) == 0


def test_only_what_matches_and_lies_in_the_time_is_sent(world: World, crossdock: Crossdock) -> None:
    world.place(an_order(1))
    world.run()
    world.clock.pass_by(hours=5)
    world.place(an_order(2))
    world.run()

    late = crossdock("replay", "--connection", "shop", "--since", "4h", "--dry-run", "--json").document
    named = crossdock("replay", "--connection", "shop", "--since", "2020-01-01", "--match", "events~shop-1", "--dry-run", "--json").document

    assert late["matched"] == 1
    assert named["matched"] == 1
    assert set(named["deliveries"]).isdisjoint(late["deliveries"])


def test_an_unknown_connection_is_a_usage_error_that_names_the_known_ones(crossdock: Crossdock) -> None:
    found = crossdock("replay", "--connection", "nobody", "--since", "1h")

    assert found.code == 2
    assert "threepl" in found.said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-22T08:00:00Z", datetime(2026, 11, 22, 8, tzinfo=UTC)),
        ("2026-11-22T08:00:00+02:00", datetime(2026, 11, 22, 6, tzinfo=UTC)),
        ("2026-11-22", datetime(2026, 11, 22, tzinfo=UTC)),
        ("30m", datetime(2026, 11, 22, 11, 30, tzinfo=UTC)),
        ("2d", datetime(2026, 11, 20, 12, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_as_people_write_it(text: str, expected: datetime) -> None:
    assert moment(text, NOW) == expected


@pytest.mark.parametrize("text", ["yesterday", "3x", "", "2026-13-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageProblem):
        moment(text, NOW)
