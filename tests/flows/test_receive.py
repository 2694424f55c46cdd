"""Is a webhook believed, stored once, queued and answered, and is nothing lost or taken twice?"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from crossdock.domain.delivery import Delivery, DeliveryStatus
from crossdock.domain.errors import Rejected
from crossdock.domain.events import OrderPlaced
from crossdock.domain.identifiers import DeliveryId
from crossdock.domain.stage import QueueName
from crossdock.flows import exceptions
from crossdock.flows.receive import REQUEUE_AFTER, delivery_id, intake_of, receive, safe_id, submit
from crossdock.flows.translate import translate
from tests.flows.world import MANIFESTS, World, an_order, manifest

BODY = json.dumps({"at": "2026-10-05T08:00:00+00:00", "facts": []}).encode()


@pytest.mark.parametrize(
    ("connection", "body", "topic", "status"),
    [
        ("nobody", BODY, "told", 404),
        ("direct", BODY, "told", 404),
        ("shop", b"x" * 20_001, "told", 413),
        ("shop", b"{not json", "told", 400),
        ("shop", b"\xff", "told", 400),
        ("shop", BODY, None, 400),
        ("shop", b"[]", None, 400),
        ("shop", BODY, "told", 200),
    ],
)
def test_each_sender_hears_what_is_right(connection: str, body: bytes, topic: str | None, status: int) -> None:
    world = World()
    answer = world.post(connection, body, topic=topic)
    assert answer.status == status
    assert len(world.deliveries.notes) == (status in (200, 400)), "authentic bytes are kept, even unreadable ones"
    assert world.balance().adds_up


def test_a_wrong_signature_leaves_no_trace() -> None:
    world = World()
    answer = receive("shop", headers={"x-signature": "wrong", "x-topic": "told"}, body=BODY, intake=intake_of(world.services))
    assert (answer.status, answer.title) == (401, "Not authentic")
    assert world.deliveries.notes == {}
    assert world.secrets.refreshed == 1


def test_a_rotated_secret_is_found_by_looking_again() -> None:
    world = World()
    world.secrets.cached["shop"] = ["of yesterday"]
    assert world.post("shop", BODY).status == 200


def test_unreadable_bytes_stand_in_the_exception_queue_once_however_often_they_are_sent() -> None:
    world = World()
    for _ in range(4):
        assert world.post("shop", b"{not json", event_id="e-1").status == 400
    assert world.open_codes() == ["INVALID_BODY"]
    assert len(world.queues.dead[QueueName.INBOUND]) == 1
    found = world.the_exception("INVALID_BODY")
    exceptions.edit(found.exception_id, json.dumps({"at": "2026-10-05T08:00:00+00:00", "facts": []}).encode(), actor="jo", services=world.services)
    exceptions.retry(found.exception_id, actor="jo", services=world.services, letters=world.letters)
    world.run()
    assert world.open_codes() == []
    assert world.post("shop", b"{not json", event_id="e-1").status == 200, "it is settled: the sender may stop"


def test_another_body_under_a_known_id_is_kept_beside_the_first() -> None:
    world = World()
    first, second = world.post("shop", BODY, event_id="e-1"), world.post("shop", BODY + b" ", event_id="e-1")
    assert (first.duplicate, second.duplicate) == (False, False)
    assert first.delivery_id != second.delivery_id
    assert world.post("shop", BODY + b" ", event_id="e-1").duplicate


def test_a_delivery_that_was_stored_but_not_queued_is_queued_by_the_senders_retry() -> None:
    world = World()
    world.post("shop", BODY, event_id="e-1")
    world.queues.messages[QueueName.INBOUND].clear()
    world.post("shop", BODY, event_id="e-1")
    assert world.queues.depth(QueueName.INBOUND) == 0, "a double click is no loss"
    world.clock.at += REQUEUE_AFTER * 2
    world.post("shop", BODY, event_id="e-1")
    assert world.queues.depth(QueueName.INBOUND) == 1


def test_credentials_of_the_caller_are_not_kept() -> None:
    world = World()
    world.post("shop", BODY, authorization="Bearer x", cookie="c", **{"x-api-key": "k", "x-amzn-trace-id": "t", "user-agent": "shop/1"})
    kept = next(iter(world.deliveries.revisions.values()))[0].headers
    assert set(kept) == {"x-signature", "x-event-id", "x-topic", "user-agent"}


def test_the_topic_may_stand_in_the_body() -> None:
    usual = MANIFESTS["shop"].webhooks
    assert usual is not None
    contract = replace(usual, topic_header=None, topic_field="kind")
    world = World(manifests={"shop": manifest("shop", "storefront", []).model_copy(update={"webhooks": contract})})
    answer = world.post("shop", b'{"kind": "told", "at": "2026-10-05T08:00:00+00:00", "facts": []}', topic=None)
    assert answer.status == 200
    assert world.deliveries.notes[answer.delivery_id or ""].topic == "told"
    assert world.post("shop", b'{"kind": 7}', topic=None).status == 400


@given(
    connection=st.sampled_from(["shop", "erp"]),
    topic=st.text(alphabet=st.characters(), min_size=1, max_size=300),
    key=st.text(alphabet=st.characters(), min_size=1, max_size=300),
)
@settings(max_examples=150, deadline=None)
def test_every_name_a_sender_gives_makes_a_valid_delivery_id(connection: str, topic: str, key: str) -> None:
    made = safe_id(connection, topic, key)
    TypeAdapter(DeliveryId).validate_python(made)
    assert made == safe_id(connection, topic, key)
    assert made.startswith(f"{connection}.")


@given(keys=st.lists(st.text(min_size=1, max_size=220), min_size=2, max_size=2, unique=True))
@settings(max_examples=150, deadline=None)
def test_two_keys_never_make_one_delivery(keys: list[str]) -> None:
    assert safe_id("shop", "orders/create", keys[0]) != safe_id("shop", "orders/create", keys[1])


def test_the_senders_event_counts_before_its_delivery_and_both_before_the_body() -> None:
    contract = MANIFESTS["shop"].webhooks
    assert contract is not None
    both = {"x-event-id": "e", "x-delivery-id": "d"}
    assert delivery_id("shop", "orders/create", contract, both, b"") == "shop.orders-create.e"
    assert delivery_id("shop", "orders/create", contract, {"x-delivery-id": "d"}, b"") == "shop.orders-create.d"
    assert delivery_id("shop", "t", contract, {}, b"body") == "shop.t.sha256-" + hashlib.sha256(b"body").hexdigest()


@given(headers=st.dictionaries(st.sampled_from(["x-signature", "x-topic", "x-event-id"]), st.text(alphabet=st.characters(), max_size=50)), body=st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_whatever_is_sent_is_answered(headers: dict[str, str], body: bytes) -> None:
    assert receive("shop", headers=headers, body=body, intake=intake_of(World().services)).status in (400, 401)


# ------------------------------------------------------------------ orders through /v1


def test_the_same_key_answers_the_same_and_another_body_is_refused() -> None:
    world = World()

    def send(body: bytes, client: str = "portal") -> Any:
        return submit(client, "key-1", connection="direct", topic="told", body=body, services=world.services)

    first = send(BODY)
    assert (first.status, first.duplicate) == (202, False)
    assert send(BODY).delivery_id == first.delivery_id
    assert world.queues.depth(QueueName.INBOUND) == 1
    with pytest.raises(Rejected, match="IDEMPOTENCY_KEY_REUSED"):
        send(BODY + b" ")
    assert send(BODY, client="edi").delivery_id != first.delivery_id, "another client's key is another key"
    world.clock.at += REQUEUE_AFTER * 2
    send(BODY)
    assert world.queues.depth(QueueName.INBOUND) == 3


# ------------------------------------------------------------------ translation


def test_a_delivery_is_translated_once_and_settled() -> None:
    world = World()
    world.place()
    name = next(iter(world.deliveries.notes))
    assert translate(name, world.services) is DeliveryStatus.DONE
    assert translate(name, world.services) is DeliveryStatus.DONE
    assert [event.id for event in world.bus.published] == [f"{name}#0"]
    assert world.deliveries.notes[name].events == ("OrderPlaced:shop-1",)


def test_a_topic_ignored_by_name_is_settled_with_its_reason() -> None:
    world = World()
    world.post("shop", BODY, topic="carts/update")
    world.run()
    note = next(iter(world.deliveries.notes.values()))
    assert (note.status, note.reason) == (DeliveryStatus.IGNORED, "a cart is no order yet")


def test_a_topic_nobody_knows_is_an_exception() -> None:
    world = World()
    world.post("shop", BODY, topic="orders/teleported")
    world.run()
    assert world.open_codes() == ["UNKNOWN_EVENT"]
    assert world.balance().deliveries.exception == 1


def test_a_delivery_that_says_nothing_is_done() -> None:
    world = World()
    world.post("shop", BODY)
    world.run()
    assert [note.status for note in world.deliveries.every()] == [DeliveryStatus.DONE]
    assert world.bus.published == []


def test_the_same_event_id_is_made_each_time() -> None:
    """A worker that died after publishing publishes again: consumers know the event by its id."""
    world = World()
    world.place()
    world.lifeline.crash_after = world.lifeline.changes + 1
    world.run()
    assert len(world.bus.published) == 2
    assert len({event.id for event in world.bus.published}) == 1
    assert world.effects_done().count(("CreateSalesOrder", "shop-1")) == 1


def test_a_customer_nobody_knows_takes_the_default_account_where_there_is_one() -> None:
    from tests.flows.world import spec

    stranger = an_order().customer.model_copy(update={"external_ids": ("stranger",)})
    world = World()
    world.tell("shop", OrderPlaced(order=an_order(customer=stranger)))
    world.run()
    assert world.open_codes() == ["MISSING_XREF"]
    assert world.the_exception("MISSING_XREF").owner == "master_data"
    guest = World(spec(cross_references={"default_accounts": {"shop": "C10020"}}))
    guest.tell("shop", OrderPlaced(order=an_order(customer=stranger)))
    guest.run()
    assert guest.record().account == "C10020"


def test_the_original_stays_beside_an_edit() -> None:
    world = World()
    world.post("shop", BODY, event_id="e")
    name = next(iter(world.deliveries.notes))
    assert world.deliveries.revise(name, b"{}", actor="jo", now=world.clock.now()) == 1
    kept = world.deliveries.revisions[name]
    assert [one.body for one in kept] == [BODY, b"{}"]
    assert isinstance(kept[0], Delivery)
    assert kept[0].body_base64.startswith("eyJhdCI6")
