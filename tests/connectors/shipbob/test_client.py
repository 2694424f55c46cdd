"""Does the connector do to ShipBob exactly what a command says, once, whatever breaks on the way?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from crossdock.connectors.shipbob import client, mapping
from crossdock.domain.commands import PollConnection
from crossdock.domain.connector import PollResult
from crossdock.domain.delivery import Delivery
from crossdock.domain.errors import ContractDrift, NeedsPerson, Rejected, RetryLater, UnknownOutcome
from crossdock.domain.events import FulfillmentAcknowledged, ShipmentDispatched
from crossdock.domain.signature import refusal
from local.simulators.server import Harness
from tests.connectors.shipbob.conftest import PLACED, ThreePl, cancel, release


def facts(threepl: ThreePl, result: PollResult) -> list[str]:
    """Types of the facts that the items of a poll mean."""
    found: list[str] = []
    for item in result.items:
        delivery = Delivery(delivery_id="d", connection="threepl", topic=item.topic, body=item.body, received_at=PLACED)
        found += [each.fact.type for each in threepl.connector.translate(delivery).occurrences]
    return found


def test_a_released_part_is_an_order_with_our_part_id_as_reference(threepl: ThreePl) -> None:
    receipt = threepl.connector.execute(release("storefront-1.1", ("BEARING", 2), ("VALVE", 1)))

    (order,) = threepl.orders
    assert (order["reference_id"], str(order["id"]), order["order_number"]) == ("storefront-1.1", receipt.external_id, "#1001")
    assert [(product["reference_id"], product["quantity"]) for product in order["products"]] == [("BEARING", 2), ("VALVE", 1)]
    assert order["shipments"][0]["location"]["id"] == 129
    assert (receipt.acknowledged, receipt.found) == (False, False)


def test_lines_of_one_sku_are_one_product(threepl: ThreePl) -> None:
    threepl.connector.execute(release("storefront-1.1", ("BEARING", 2), ("BEARING", 3)))

    assert [(product["reference_id"], product["quantity"]) for product in threepl.orders[0]["products"]] == [("BEARING", 5)]


def test_an_answer_lost_after_the_commit_is_found_again_and_nothing_is_ordered_twice(threepl: ThreePl) -> None:
    threepl.fault(match="order.create", drop_after_commit=True)

    with pytest.raises(UnknownOutcome):
        threepl.connector.execute(release())
    found = threepl.connector.look_up(release())

    assert found is not None
    assert (found.external_id, found.found) == (str(threepl.orders[0]["id"]), True)
    assert threepl.connector.execute(release()).external_id == found.external_id
    assert len(threepl.orders) == 1


def test_a_write_that_never_arrived_is_surely_not_there(threepl: ThreePl) -> None:
    threepl.fault(match="order.create", timeout=0.01)

    with pytest.raises(UnknownOutcome):
        threepl.connector.execute(release())

    assert threepl.connector.look_up(release()) is None


def test_a_reference_that_shipbob_has_already_is_the_same_release(threepl: ThreePl) -> None:
    first = threepl.connector.execute(release())
    second = threepl.connector.execute(release())

    assert (second.external_id, second.found) == (first.external_id, True)


def test_a_server_error_after_a_write_is_an_unknown_outcome_and_on_a_read_a_retry(threepl: ThreePl) -> None:
    threepl.fault(match="order.create", status=500)
    threepl.fault(match="order.list", status=500)

    with pytest.raises(UnknownOutcome):
        threepl.connector.execute(release())
    with pytest.raises(RetryLater) as caught:
        threepl.connector.look_up(release())

    assert not isinstance(caught.value, UnknownOutcome)


def test_too_many_calls_are_a_retry(threepl: ThreePl) -> None:
    threepl.fault(status=429)

    with pytest.raises(RetryLater) as caught:
        threepl.connector.execute(release())

    assert caught.value.code == "RATE_LIMITED"
    assert threepl.orders == []


def test_what_shipbob_refuses_is_told_in_its_own_words(threepl: ThreePl) -> None:
    with pytest.raises(Rejected) as caught:
        threepl.connector.execute(release(code="7"))

    assert caught.value.code == "VENDOR_REFUSED"
    assert "Location 7 does not exist" in caught.value.detail
    assert caught.value.fields[0].path == "location_id"


@pytest.mark.parametrize("body", ["busy", {"message": "busy"}])
def test_a_refusal_in_another_shape_is_told_as_it_is(threepl: ThreePl, body: object) -> None:
    threepl.fault(match="order.cancel", status=409, body=body)

    with pytest.raises(Rejected, match="busy"):
        threepl.connector.execute(cancel("1"))


def test_a_refusal_without_words_is_still_a_refusal(threepl: ThreePl) -> None:
    threepl.fault(match="order.cancel", status=405, body=None)

    with pytest.raises(Rejected, match="VENDOR_REFUSED"):
        threepl.connector.execute(cancel("1"))


def test_an_unexpected_success_is_contract_drift(threepl: ThreePl) -> None:
    threepl.fault(match="order.create", status=202, body={})

    with pytest.raises(ContractDrift, match="202"):
        threepl.connector.execute(release())


@pytest.mark.parametrize("credentials", [{"access_token": "wrong", "channel_id": "4711"}, {"access_token": "pat-test", "channel_id": "1"}, {"access_token": "pat-test"}])
def test_wrong_or_missing_credentials_need_a_person(threepl: ThreePl, credentials: dict[str, str]) -> None:
    threepl.credentials = credentials

    with pytest.raises(NeedsPerson) as caught:
        threepl.connector.execute(release())

    assert caught.value.code == "NOT_AUTHORISED"


def test_a_part_is_cancelled_with_everything_in_it(threepl: ThreePl) -> None:
    key = threepl.connector.execute(release()).external_id

    threepl.connector.execute(cancel(key))

    assert threepl.orders[0]["status"] == "Cancelled"
    found = threepl.connector.look_up(cancel(key))
    assert found is not None
    assert found.found is True


def test_a_cancel_whose_answer_was_lost_is_found_done(threepl: ThreePl) -> None:
    key = threepl.connector.execute(release()).external_id
    assert threepl.connector.look_up(cancel(key)) is None
    threepl.fault(match="order.cancel", drop_after_commit=True)

    with pytest.raises(UnknownOutcome):
        threepl.connector.execute(cancel(key))

    assert threepl.connector.look_up(cancel(key)) is not None
    assert threepl.connector.execute(cancel(key)).found is True


@pytest.mark.parametrize("verb", ["pick", "ship"])
def test_a_cancel_that_comes_too_late_is_refused(threepl: ThreePl, verb: str) -> None:
    key = threepl.connector.execute(release()).external_id
    threepl.act("acknowledge", order_id=int(key))
    threepl.act(verb, order_id=int(key))

    with pytest.raises(Rejected) as caught:
        threepl.connector.execute(cancel(key))

    assert caught.value.code == "ALREADY_SHIPPED"


def test_an_order_that_shipbob_does_not_know_cannot_be_cancelled(threepl: ThreePl) -> None:
    with pytest.raises(Rejected) as caught:
        threepl.connector.execute(cancel("123"))

    assert caught.value.code == "NOT_FOUND"


def test_the_poll_tells_each_state_once(threepl: ThreePl) -> None:
    key = int(threepl.connector.execute(release()).external_id)
    first = threepl.connector.poll("shipments", None)
    assert first.items == ()

    threepl.act("acknowledge", order_id=key)
    second = threepl.connector.poll("shipments", first.cursor)
    assert facts(threepl, second) == ["FulfillmentAcknowledged"]
    assert threepl.connector.poll("shipments", second.cursor).items == ()

    threepl.act("ship", order_id=key)
    third = threepl.connector.poll("shipments", second.cursor)
    assert facts(threepl, third) == ["FulfillmentAcknowledged", "ShipmentDispatched"]
    assert threepl.connector.poll("shipments", third.cursor).items == ()
    assert [item.key for item in threepl.connector.poll("shipments", second.cursor).items] == [item.key for item in third.items]


def test_an_acknowledged_order_is_said_to_be_so_when_it_is_looked_up(threepl: ThreePl) -> None:
    threepl.connector.execute(release())
    threepl.act("acknowledge", reference_id="storefront-1.1")

    found = threepl.connector.look_up(release())

    assert found is not None
    assert found.acknowledged is True


def test_the_poll_goes_through_all_pages(threepl: ThreePl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PAGE", 2)
    for number in range(5):
        threepl.connector.execute(release(f"storefront-1.{number}"))
        threepl.act("acknowledge", reference_id=f"storefront-1.{number}")

    assert len(threepl.connector.poll("shipments", None).items) == 5


def test_lists_that_never_end_are_contract_drift(threepl: ThreePl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PAGE", 1)
    monkeypatch.setattr(client, "MAX_PAGES", 1)
    threepl.connector.execute(release())

    with pytest.raises(ContractDrift, match="goes on"):
        threepl.connector.poll("shipments", None)
    with pytest.raises(ContractDrift, match="goes on"):
        threepl.connector.stock()


def test_the_stock_is_what_each_center_has_on_its_shelf(threepl: ThreePl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PAGE", 1)
    threepl.connector.execute(release("storefront-1.1", ("BEARING", 4)))
    threepl.act("acknowledge", reference_id="storefront-1.1")
    assert [(each.sku, each.location, each.on_hand) for each in threepl.connector.stock()] == [("BEARING", "129", Decimal(100)), ("VALVE", "129", Decimal(10))]

    threepl.act("ship", reference_id="storefront-1.1")
    assert threepl.connector.stock()[0].on_hand == Decimal(96)


def test_a_list_that_is_none_is_contract_drift(threepl: ThreePl) -> None:
    threepl.fault(match="order.list", status=200, body={"items": []})

    with pytest.raises(ContractDrift, match="no list"):
        threepl.connector.look_up(release())


def test_a_shipped_webhook_from_the_simulator_means_a_dispatch_of_our_part(threepl: ThreePl) -> None:
    key = int(threepl.connector.execute(release("storefront-1.1", ("BEARING", 4))).external_id)
    (shipment,) = threepl.act("ship", order_id=key, lines=[{"sku": "BEARING", "quantity": 3}])["shipments"]
    body = json.dumps(shipment, default=str).encode()

    translation = threepl.connector.translate(Delivery(delivery_id="d", connection="threepl", topic="order.shipped", body=body, received_at=PLACED))

    (occurrence,) = translation.occurrences
    assert isinstance(occurrence.fact, ShipmentDispatched)
    assert occurrence.fact.shipment.part_reference == "storefront-1.1"
    assert [(line.sku, line.quantity) for line in occurrence.fact.shipment.lines] == [("BEARING", Decimal(3))]


def test_what_the_manifest_does_not_name_is_a_mistake_of_the_caller(threepl: ThreePl) -> None:
    other = PollConnection(resource="shipments")
    for call in (
        lambda: threepl.connector.execute(other),
        lambda: threepl.connector.look_up(other),
        lambda: threepl.connector.poll("orders", None),
        lambda: threepl.connector.credit("C-1"),
        lambda: threepl.connector.prices("C-1", []),
    ):
        with pytest.raises(ValueError, match="manifest"):
            call()


def test_an_acknowledgement_names_the_part_and_shipbobs_order(threepl: ThreePl) -> None:
    key = threepl.connector.execute(release()).external_id
    threepl.act("acknowledge", order_id=int(key))
    (item,) = threepl.connector.poll("shipments", None).items

    (occurrence,) = threepl.connector.translate(Delivery(delivery_id="d", connection="threepl", topic=item.topic, body=item.body, received_at=PLACED)).occurrences

    assert isinstance(occurrence.fact, FulfillmentAcknowledged)
    assert (occurrence.fact.part_reference, occurrence.fact.external_id) == ("storefront-1.1", key)


def test_a_webhook_of_the_simulator_is_believed_by_our_own_verifier(threepl: ThreePl) -> None:
    sent: list[tuple[dict[str, str], bytes]] = []

    def receive(_url: str, headers: Mapping[str, str], body: bytes, _timeout: float) -> int:
        sent.append((dict(headers), body))
        return 200

    secret = "whsec_" + "C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
    config = replace(threepl.served.harness.config, state_file=None, webhook={"url": "http://127.0.0.1:9/", "secret": secret})
    simulator = Harness(config, transport=receive)
    simulator.call("POST", "/2026-01/order", headers={"authorization": "Bearer pat-test", "shipbob_channel_id": "4711"}, json=json.loads(mapping.order_to_wire(release()).body()))
    simulator.act("ship", {"reference_id": "storefront-1.1"})
    simulator.run_due()
    simulator.close()

    ((headers, body),) = sent
    contract = threepl.connector.manifest.webhooks
    assert contract is not None
    assert headers[contract.topic_header or ""] == "order.shipped"
    assert headers[contract.delivery_id_header].startswith("msg_")
    now = datetime.now(UTC)
    assert refusal(contract.signature, headers=headers, body=body, secrets=["whsec_AAAA", secret], now=now) is None
    assert refusal(contract.signature, headers=headers, body=body + b" ", secrets=[secret], now=now) is not None
    assert refusal(contract.signature, headers=headers, body=body, secrets=[secret], now=now + timedelta(minutes=6)) is not None
