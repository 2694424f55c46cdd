"""The same message comes again: at once from many sides, minutes later, days later. Is it one order?"""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.faults.system import Faulty
from tests.scenarios.system import at_once, eventually

DEDUPE_WINDOW = timedelta(hours=96)
"""Longer than any sender repeats: 75 h 35 min (Standard Webhooks), 72 h (Stripe), and one day late."""


@pytest.mark.fault(1, "same webhook x100, concurrently x20")
def test_a_hundred_copies_are_one_order(faulty: Faulty) -> None:
    document = faulty.unsent([("AC-LUB-WHT", 1)])
    same = f"same-{document['id']}"
    first = at_once(lambda _: faulty.send("orders/create", document, event_id=same), 20)
    later = [faulty.send("orders/create", document, event_id=same) for _ in range(80)]

    statuses = [answer.status_code if answer is not None else None for answer in [*first, *later]]
    assert statuses == [200] * 100
    assert {answer.json()["delivery_id"] for answer in [*first, *later] if answer is not None} == {f"storefront.orders-create.{same}"}
    faulty.acme.reaches(f"storefront-{document['id']}", "completed", within=90)
    faulty.did("20 at once, then 80: 100 times 200, one order")


@pytest.mark.fault(2, "duplicate after 5 min / 1 h 1 s / 4 h / 76 h")
def test_a_copy_that_comes_days_later_is_known(faulty: Faulty) -> None:
    """The platform's clock cannot be moved, so what is remembered is made older instead: note, order and everything else that carries a time."""
    document = faulty.unsent([("AC-LUB-WHT", 1)])
    order_id, early = f"storefront-{document['id']}", f"early-{document['id']}"
    answer = faulty.send("orders/create", document, event_id=early)
    assert answer is not None and answer.status_code == 200
    faulty.acme.reaches(order_id, "completed", within=90)

    table, client = faulty.outputs()["StateTable"], faulty.aws("dynamodb")
    described = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    expiring = described.get("AttributeName")
    for pk, sk in ((f"DELIVERY#{answer.json()['delivery_id']}", "NOTE"), (f"ORDER#{order_id}", "RECORD")):
        item = client.get_item(TableName=table, Key={"pk": {"S": pk}, "sk": {"S": sk}}, ConsistentRead=True)["Item"]
        assert expiring is None or expiring not in item, f"{pk} expires by itself: it must be remembered for {DEDUPE_WINDOW}"

    aged = timedelta()
    for age in (timedelta(minutes=5), timedelta(hours=1, seconds=1), timedelta(hours=4), timedelta(hours=76), DEDUPE_WINDOW):
        faulty.age(f"DELIVERY#{answer.json()['delivery_id']}", f"ORDER#{order_id}", by=age - aged)
        aged = age
        again = faulty.send("orders/create", document, event_id=early)
        assert again is not None and again.status_code == 200 and again.json()["duplicate"] is True, age
        other = faulty.send("orders/create", document, event_id=f"late-{age}-{document['id']}", headers={"X-Shopify-Webhook-Id": f"second-{age}"})
        assert other is not None and other.status_code == 200, (age, other and other.text)
    eventually(lambda: not faulty.depth("inbound") and not faulty.depth("work"), "everything is worked off")
    faulty.did("the same event and the same order under another event, 5 min to 96 h later; nothing remembered expires")
