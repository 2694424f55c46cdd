"""Workers die, simulators restart: does everything finish or stand in the exception queue?"""

from __future__ import annotations

import time

from local.engine.local_run import LocalRun
from tests.scenarios.orders import place
from tests.scenarios.system import Tenant, crossdock, eventually

ENDED = ("completed", "cancelled")


def _all_end(tenant: Tenant, order_ids: list[str], within: float) -> None:
    def left() -> list[str]:
        return [
            order_id for order_id in order_ids if not ((found := tenant.order(order_id)) and (found["status"] in ENDED or found["status"] == "held" or found["open_exceptions"]))
        ]

    eventually(lambda: not left(), f"every order finished or owned by somebody; left: {left()}", within=within, every=1)


def test_ten_running_orders_survive_the_death_of_every_worker(acme: Tenant) -> None:
    order_ids = [place(acme, [("AC-BRG-6204", 1 + index), ("AC-LUB-WHT", 1)]) for index in range(10)]
    time.sleep(2)
    killed = LocalRun().kill_workers()
    assert killed > 0
    _all_end(acme, order_ids, within=240)
    for order_id in order_ids:
        assert len(acme.sales_orders(order_id)) <= 1
        assert len(acme.threepl_orders(order_id)) <= 1
        found = acme.order(order_id)
        assert found is not None
        assert len(acme.invoices(order_id)) <= len(found["shipments"])


def test_running_orders_survive_a_restart_of_the_erp(acme: Tenant) -> None:
    order_ids = [place(acme, [("AC-BRG-6305", 1 + index)]) for index in range(5)]
    time.sleep(1)
    LocalRun().restart_simulator("acme_industrial", "erp", kill=True)
    _all_end(acme, order_ids, within=180)
    for order_id in order_ids:
        assert len(acme.invoices(order_id)) == 1


def test_a_message_whose_worker_dies_each_time_is_an_exception_within_a_minute(acme: Tenant) -> None:
    import boto3

    client = boto3.client("sqs", endpoint_url=acme.lambda_endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
    [url] = [url for url in client.list_queues().get("QueueUrls", []) if "acme-industrial-work-dead" in url]
    # What the queue itself does with a message whose worker never lived to say why: it moves it, and nobody has recorded anything.
    client.send_message(QueueUrl=url, MessageBody='{"request":"post","order_id":"nobody-1","token":"t"}', MessageGroupId="nobody-1")
    record = acme.exception(code="WORKER_CRASHED", subject="nobody-1", within=90)
    assert record["message"], "the payload is kept beyond the queue's retention"
    assert any(entry["queue"] == "work" and int(entry["messages"]) >= 1 for entry in acme.cli("dlq", "list")), "the message stays in the queue"
    acme.cli("exceptions", "resolve", record["exception_id"], "--decision", "discard", "--note", "sent by the test")


def test_status_says_that_all_is_up(system: dict[str, Tenant]) -> None:
    assert crossdock("local", "status")["up"] is True
