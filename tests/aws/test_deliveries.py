"""Does a delivery stay what its sender sent, whatever else comes under its name?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crossdock.aws.archive import S3Archive
from crossdock.aws.deliveries import ArchivedDeliveries
from crossdock.aws.table import StateTable
from crossdock.domain.delivery import Delivery, DeliveryStatus
from crossdock.domain.errors import Rejected, RetryLater
from tests.aws.account import Account, OneAtATime, at_once

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
BYTES = b'{"n": 1.10, "text": "\xc3\xa9"}\r\n\x00'


def delivery(name: str = "shop.orders-create.1", body: bytes = BYTES, *, at: datetime = NOW) -> Delivery:
    return Delivery(delivery_id=name, connection="shop", topic="orders/create", body=body, headers={"x-event": "é"}, received_at=at)


@pytest.fixture
def archive(account: Account) -> S3Archive:
    return S3Archive(account.clients, "archive")


@pytest.fixture
def deliveries(account: Account, archive: S3Archive) -> ArchivedDeliveries:
    return ArchivedDeliveries(account.table, archive)


def test_a_delivery_is_loaded_byte_for_byte(deliveries: ArchivedDeliveries) -> None:
    assert deliveries.add(delivery()) is None

    assert deliveries.load("shop.orders-create.1") == delivery()
    note = deliveries.note("shop.orders-create.1")
    assert note is not None
    assert (note.status, note.revision, note.sha256, note.received_at, note.events) == (DeliveryStatus.RECEIVED, 0, delivery().sha256, NOW, ())


def test_a_duplicate_is_answered_with_the_first_ones_note(deliveries: ArchivedDeliveries) -> None:
    deliveries.add(delivery())
    deliveries.settle("shop.orders-create.1", DeliveryStatus.DONE, now=NOW, events=["OrderPlaced:shop-1"])

    standing = deliveries.add(delivery(at=NOW + timedelta(hours=4)))

    assert standing is not None
    assert (standing.status, standing.received_at, standing.events) == (DeliveryStatus.DONE, NOW, ("OrderPlaced:shop-1",))


def test_another_body_under_a_known_id_does_not_take_the_place_of_the_first(deliveries: ArchivedDeliveries) -> None:
    deliveries.add(delivery())

    standing = deliveries.add(delivery(body=b'{"n": 2}'))

    assert standing is not None
    assert standing.sha256 == delivery().sha256
    assert deliveries.load("shop.orders-create.1").body == BYTES


def test_twenty_bodies_at_once_under_one_id_leave_one_note_with_its_own_bytes(account: Account) -> None:
    clients = OneAtATime(account.clients)
    deliveries = ArchivedDeliveries(StateTable(clients, "state"), S3Archive(clients, "archive"))

    results = at_once(20, lambda number: deliveries.add(delivery(body=f"{number}".encode())))

    loaded = deliveries.load("shop.orders-create.1")
    assert results.count(None) == 1
    assert loaded.body == f"{results.index(None)}".encode()
    note = deliveries.note("shop.orders-create.1")
    assert note is not None
    assert note.sha256 == loaded.sha256


def test_bytes_are_stored_before_the_note_that_promises_them(account: Account) -> None:
    calls = []

    def remember(operation: str, _arguments: dict[str, Any]) -> None:
        calls.append(operation)

    clients = OneAtATime(account.clients, remember)
    ArchivedDeliveries(StateTable(clients, "state"), S3Archive(clients, "archive")).add(delivery())

    assert calls == ["put_object", "put_item"]


def test_an_edit_is_kept_beside_the_original(deliveries: ArchivedDeliveries, account: Account) -> None:
    deliveries.add(delivery())

    assert deliveries.revise("shop.orders-create.1", b"{}", actor="ana\n<ana@example.test>", now=NOW) == 1
    assert deliveries.revise("shop.orders-create.1", b"[]", actor="bo", now=NOW) == 2

    loaded = deliveries.load("shop.orders-create.1")
    assert (loaded.body, loaded.revision, loaded.headers) == (b"[]", 2, {"x-event": "é"})
    kept = account.clients.s3.list_objects_v2(Bucket="archive", Prefix="deliveries/shop/shop.orders-create.1/")["Contents"]
    assert len(kept) == 3


def test_of_two_editors_at_once_the_second_is_told_and_changes_nothing(account: Account, archive: S3Archive) -> None:
    deliveries = ArchivedDeliveries(account.table, archive)
    deliveries.add(delivery())

    class Slow(S3Archive):
        def put(self, key: str, body: bytes, *, metadata: Any) -> None:
            deliveries.revise("shop.orders-create.1", b'"the quicker"', actor="ana", now=NOW)
            super().put(key, body, metadata=metadata)

    with pytest.raises(Rejected, match="EDITED_MEANWHILE"):
        ArchivedDeliveries(account.table, Slow(account.clients, "archive")).revise("shop.orders-create.1", b'"the slower"', actor="bo", now=NOW)

    assert deliveries.load("shop.orders-create.1").body == b'"the quicker"'


def test_what_was_never_received_cannot_be_loaded_or_edited(deliveries: ArchivedDeliveries) -> None:
    with pytest.raises(Rejected, match="NOT_FOUND"):
        deliveries.load("nobody")
    with pytest.raises(Rejected, match="NOT_FOUND"):
        deliveries.revise("nobody", b"", actor="ana", now=NOW)
    deliveries.settle("nobody", DeliveryStatus.DONE, now=NOW)
    assert deliveries.note("nobody") is None


@pytest.mark.parametrize("over", [DeliveryStatus.DONE, DeliveryStatus.IGNORED, DeliveryStatus.DISCARDED])
def test_what_is_over_stays_over_when_a_duplicate_fails_late(deliveries: ArchivedDeliveries, over: DeliveryStatus) -> None:
    deliveries.add(delivery())
    deliveries.settle("shop.orders-create.1", over, now=NOW, reason="settled", events=["OrderPlaced:shop-1"])

    deliveries.settle("shop.orders-create.1", DeliveryStatus.EXCEPTION, now=NOW, reason="late")

    note = deliveries.note("shop.orders-create.1")
    assert note is not None
    assert (note.status, note.reason, note.events) == (over, "settled", ("OrderPlaced:shop-1",))


def test_an_exception_that_goes_round_again_ends_as_done(deliveries: ArchivedDeliveries) -> None:
    deliveries.add(delivery())
    seen = []
    for status in (DeliveryStatus.EXCEPTION, DeliveryStatus.RECEIVED, DeliveryStatus.DONE):
        deliveries.settle("shop.orders-create.1", status, now=NOW)
        note = deliveries.note("shop.orders-create.1")
        assert note is not None
        seen.append(note.status)

    assert seen == [DeliveryStatus.EXCEPTION, DeliveryStatus.RECEIVED, DeliveryStatus.DONE]


def test_what_waits_too_long_is_found_until_it_is_queued_again(deliveries: ArchivedDeliveries) -> None:
    deliveries.add(delivery("shop.a.1"))
    deliveries.add(delivery("shop.a.2", at=NOW + timedelta(minutes=5)))
    deliveries.add(delivery("shop.a.3"))
    deliveries.settle("shop.a.3", DeliveryStatus.DONE, now=NOW)

    assert [note.delivery_id for note in deliveries.waiting(NOW + timedelta(minutes=1), 10)] == ["shop.a.1"]
    deliveries.settle("shop.a.1", DeliveryStatus.RECEIVED, now=NOW + timedelta(minutes=2), reason="queued again")
    assert deliveries.waiting(NOW + timedelta(minutes=1), 10) == []


def test_every_delivery_is_counted_once_even_while_it_is_settled(deliveries: ArchivedDeliveries) -> None:
    for number in range(5):
        deliveries.add(delivery(f"shop.a.{number}"))
    met = []
    for note in deliveries.every():
        met.append(note.delivery_id)
        deliveries.settle(note.delivery_id, DeliveryStatus.DONE, now=NOW)

    assert sorted(met) == [f"shop.a.{number}" for number in range(5)]


def test_bytes_that_are_not_there_yet_are_asked_for_again(archive: S3Archive) -> None:
    with pytest.raises(RetryLater, match="ARCHIVE_MISSING"):
        archive.get("deliveries/nobody")
