"""Later news come first: does the newest version win, whatever the order of arrival?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.faults.system import Faulty
from tests.scenarios.system import eventually


@pytest.mark.fault(3, "update before create; stale update last")
def test_the_newest_version_wins_in_every_order_of_arrival(faulty: Faulty) -> None:
    """Held for its missing postal code, the order waits for a person while the versions come: newest, create, stale."""
    document = faulty.unsent([("AC-LUB-WHT", 2)], zip_code="")
    order_id = f"storefront-{document['id']}"
    placed = datetime.now(UTC).replace(microsecond=0)
    newest = _version(document, placed + timedelta(minutes=2), note="ring twice", zip_code="60432")
    stale = _version(document, placed + timedelta(minutes=1), note="ring once", zip_code="")

    for topic, version in (("orders/updated", newest), ("orders/create", document), ("orders/updated", stale)):
        answer = faulty.send(topic, version, event_id=f"{topic}-{version['updated_at']}")
        assert answer is not None and answer.status_code == 200
        eventually(lambda: not faulty.depth("inbound"), "translated")

    done = faulty.acme.reaches(order_id, "completed", within=90)
    assert done["ship_to"]["postal_code"] == "60432", "the stale update did not win"
    faulty.did("orders/updated (newest), orders/create, orders/updated (stale): the newest is what was shipped")


def _version(document: dict[str, object], at: datetime, *, note: str, zip_code: str) -> dict[str, object]:
    address = {**document["shipping_address"], "zip": zip_code}  # type: ignore[dict-item]
    return {**document, "updated_at": at.isoformat(), "note": note, "shipping_address": address}
