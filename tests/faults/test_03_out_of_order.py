"""Later news come first: does the newest version win, whatever comes after it?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.faults.system import Faulty
from tests.scenarios.system import eventually

NEWEST, STALE = "60433", "60434"


@pytest.mark.fault(3, "update before create; stale update last")
@pytest.mark.parametrize("late", [("create", "stale"), ("stale", "create")], ids=["create, then stale update", "stale update, then create"])
def test_the_newest_version_wins_whatever_comes_after_it(faulty: Faulty, late: tuple[str, str]) -> None:
    document = faulty.unsent([("AC-LUB-WHT", 2)])
    order_id, placed = f"storefront-{document['id']}", datetime.now(UTC).replace(microsecond=0)
    versions = {
        "newest": ("orders/updated", _version(document, placed + timedelta(minutes=2), zip_code=NEWEST)),
        "create": ("orders/create", document),
        "stale": ("orders/updated", _version(document, placed + timedelta(minutes=1), zip_code=STALE)),
    }
    for name in ("newest", *late):
        topic, version = versions[name]
        answer = faulty.send(topic, version, event_id=f"{name}-{document['id']}")
        assert answer is not None and answer.status_code == 200
        eventually(lambda: not faulty.depth("inbound") and not faulty.depth("work"), f"{name} is applied")

    done = faulty.acme.reaches(order_id, "completed", within=90)
    assert done["ship_to"]["postal_code"] == NEWEST
    assert [order["recipient"]["address"]["zip_code"] for order in faulty.acme.threepl_orders(order_id)] == [NEWEST], "the newest is what was shipped"
    assert not faulty.acme.exceptions(order_id=order_id)
    faulty.did(f"newest update, then {' and '.join(late)}: the newest is what was shipped, once")


def _version(document: dict[str, Any], at: datetime, *, zip_code: str) -> dict[str, Any]:
    return {**document, "updated_at": at.isoformat(), "shipping_address": {**document["shipping_address"], "zip": zip_code}}
