"""In which form does an order leave the functions? Whole in its records, and without a name, an address or a mail in any log line."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from crossdock import v1
from crossdock.domain.errors import Rejected, RetryLater
from crossdock.domain.messages import work_body
from crossdock.domain.order import Order
from crossdock.domain.stage import QueueName
from crossdock.flows import deliver, facts, order, receive, translate, watch
from crossdock.observability import logger
from tests.functions import tenant as functions
from tests.functions.tenant import DELIVERY_ID, ORDER_ID, Erp, Tenant, batch, event, running, signed

PERSONAL = {
    "first_name": "Quillfeather",
    "last_name": "Žižkovská",
    "company": "Marrowbone & Daughters",
    "address1": "17 Gallowglass Lane",
    "address2": "Thimble Annex",
    "city": "Netherwallop",
    "zip": "ZX9 8QQ",
    "phone": "+44 1632 960961",
    "email": "quill.feather@marrowbone.example",
    "note": "leave it with the beekeeper",
    "po_number": "PO-HUSHHUSH",
}
MARKS = [*PERSONAL.values(), json.dumps(PERSONAL["last_name"])[1:-1]]


def marked(**updates: Any) -> dict[str, Any]:
    """The webhook of ``events/``, of somebody whose data must not be in a log."""
    given = event("receive_webhook/signed")
    body = json.loads(given["body"])
    person = {name: PERSONAL[name] for name in ("first_name", "last_name")}
    body["customer"] |= {**person, "email": PERSONAL["email"]}
    body["shipping_address"] |= {name: PERSONAL[name] for name in (*person, "company", "address1", "address2", "city", "zip", "phone")}
    body["billing_address"] = body["shipping_address"]
    body |= {"email": PERSONAL["email"], "contact_email": PERSONAL["email"], "note": PERSONAL["note"], "po_number": PERSONAL["po_number"], **updates}
    return signed({**given, "body": json.dumps(body)})


def submission(**updates: Any) -> dict[str, Any]:
    given = event("serve_api/submit_order")
    body = json.loads(given["body"])
    body["ship_to"] |= {"name": PERSONAL["last_name"], "line1": PERSONAL["address1"], "city": PERSONAL["city"], "email": PERSONAL["email"], "phone": PERSONAL["phone"]}
    body |= {"note": PERSONAL["note"], "purchase_order": PERSONAL["po_number"], **updates}
    return {**given, "body": json.dumps(body)}


class Recorder(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(f"{record.name} {record.getMessage()} {record.exc_info[1] if record.exc_info else ''}")


@pytest.fixture
def tenant(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tenant]:
    """Afterwards nothing of the person may stand in any line that any logger wrote, at the level functions are deployed with."""
    recorder = Recorder()
    root = logging.getLogger()
    root.addHandler(recorder)
    level = root.level
    root.setLevel(logging.INFO)
    try:
        with running(monkeypatch) as made:
            yield made
            written = made.log.getvalue() + "\n".join(recorder.texts)
    finally:
        root.setLevel(level)
        root.removeHandler(recorder)
    assert written, "nothing was logged at all"
    assert [mark for mark in MARKS if mark in written] == []


def run(tenant: Tenant, function: str, given: dict[str, Any]) -> Any:
    """The function's answer; an error that leaves it is what the runtime writes into the log."""
    try:
        return tenant.run(function, given)
    except Exception as error:  # noqa: BLE001 - whatever comes out is what is looked at
        logger.error(str(error))
        return error


def placed(tenant: Tenant) -> Order:
    record = tenant.services.orders.get(ORDER_ID)
    assert record is not None
    return record.placed


def test_an_order_is_kept_whole_and_logged_without_its_person(tenant: Tenant) -> None:
    tenant.reserve(marked())
    for case in ("validate_order/order", "check_order/price", "check_order/credit", "apply_event/post_requested", "deliver_command/create_sales_order", "serve_api/list_orders"):
        run(tenant, case.partition("/")[0], event(case))
    for function in ("watch_deadlines", "index_dead_letters"):
        run(tenant, function, event(f"{function}/every_minute"))
    run(tenant, "apply_event", event("apply_event/order_cancelled"))

    kept = placed(tenant).model_dump_json()
    assert [mark for mark in PERSONAL.values() if mark not in kept] == []


@pytest.mark.parametrize(
    "updates",
    [
        {"company": None},  # nobody knows the customer: the record names all its ids, the mail among them
        {"total_price": PERSONAL["note"]},
        {"shipping_address": PERSONAL["address1"]},
        {"line_items": [{"sku": PERSONAL["note"], "quantity": 1, "price": "1", "admin_graphql_api_id": "gid://shopify/LineItem/1"}]},
    ],
    ids=["unknown customer", "no amount", "no address", "unknown SKU"],
)
def test_an_order_that_cannot_be_translated_is_on_record_and_not_in_the_log(updates: dict[str, Any], tenant: Tenant) -> None:
    tenant.receive(marked(**updates))

    assert run(tenant, "translate_delivery", event("translate_delivery/one")) == {"batchItemFailures": []}

    assert len(tenant.services.exceptions.listed()) == 1
    assert tenant.logged("message refused")


@pytest.mark.parametrize("error", [Rejected("VENDOR_REFUSED", f"unknown customer {PERSONAL['email']}"), ValueError(PERSONAL["last_name"]), RetryLater("BUSY", PERSONAL["note"])])
def test_a_vendor_that_repeats_the_person_to_us_is_not_repeated_in_the_log(error: Exception, tenant: Tenant) -> None:
    tenant.reserve(marked())
    Erp.failure = error

    run(tenant, "deliver_command", event("deliver_command/create_sales_order"))
    if not isinstance(error, RetryLater):  # what may be tried again is this side's own wording
        run(tenant, "check_order", event("check_order/credit"))


def _blurt(*_: Any, **__: Any) -> Any:
    """A mistake of ours that has everything about the person in its text, and in its cause's."""
    try:
        Order.model_validate({"customer": {"name": PERSONAL["last_name"], "email": PERSONAL["email"]}, "ship_to": PERSONAL})
    except ValueError as error:
        raise RuntimeError(" ".join(PERSONAL.values())) from error


BLURTS = [
    ("receive_webhook", receive, "receive", lambda: marked()),
    ("translate_delivery", translate, "translate", lambda: event("translate_delivery/one")),
    ("apply_event", facts, "apply", None),
    ("validate_order", order, "validate", lambda: event("validate_order/order")),
    ("check_order", order, "price_hold", lambda: event("check_order/price")),
    ("reserve_stock", order, "reserve", lambda: event("reserve_stock/order")),
    ("deliver_command", deliver, "deliver", lambda: event("deliver_command/create_sales_order")),
    ("watch_deadlines", watch, "watch", lambda: event("watch_deadlines/every_minute")),
    ("serve_api", v1, "serve", lambda: submission()),
]


@pytest.mark.parametrize(("function", "module", "name", "given"), BLURTS, ids=[case[0] for case in BLURTS])
def test_a_mistake_of_ours_is_logged_by_its_place_and_not_by_its_text(function: str, module: Any, name: str, given: Any, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant.place(marked())
    events = given() if given else batch(*(work_body(fact) for fact in tenant.facts()))
    functions.handler.cache_clear()  # a handler may hold the function by its own name: it is loaded anew
    monkeypatch.setattr(module, name, _blurt)
    try:
        run(tenant, function, events)
    finally:
        functions.handler.cache_clear()

    line = next(line for line in tenant.lines() if "failure" in line)
    assert [each["error"] for each in line["failure"]] == ["RuntimeError", "ValidationError"]
    assert line["failure"][0]["at"][-1].endswith("_blurt")


@pytest.mark.parametrize(
    "updates",
    [{}, {"currency": PERSONAL["last_name"]}, {"account": PERSONAL["email"]}, {"lines": [{"sku": PERSONAL["note"], "quantity": 1, "unit_price": 1}]}],
    ids=["taken", "no currency", "unknown account", "unknown SKU"],
)
def test_a_submitted_order_is_answered_and_not_logged(updates: dict[str, Any], tenant: Tenant) -> None:
    answer = run(tenant, "serve_api", submission(**updates))

    assert answer["statusCode"] == (202 if not updates else 400 if "currency" in updates else 422)
    assert [line["status"] for line in tenant.logged("call answered")] == [answer["statusCode"]]


def test_a_path_with_a_persons_name_is_not_logged(tenant: Tenant) -> None:
    given = {**event("serve_api/health"), "pathParameters": {"proxy": f"orders/{PERSONAL['first_name']}"}}

    assert run(tenant, "serve_api", given)["statusCode"] == 404


def test_the_records_of_a_refused_order_are_for_those_who_may_read_them(tenant: Tenant) -> None:
    """The other half of the claim: what the log does not say, the exception does."""
    tenant.receive(marked(company=None))
    run(tenant, "translate_delivery", event("translate_delivery/one"))

    (found,) = tenant.services.exceptions.listed()
    assert (found.subject, found.queue) == (DELIVERY_ID, QueueName.INBOUND)
    assert PERSONAL["email"] in found.detail
