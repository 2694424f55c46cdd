"""Each call that leaves a function is cut once, in every way a call can be cut: does each story still end as if nothing had happened?

The real handlers, the real connectors and AWS adapters; AWS is moto's, the vendors are their simulators. `make soak` cuts at every
call, `make test` at a sample.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from crossdock.flows import exceptions
from tests.functions.tenant import event
from tests.functions.whole_system import Line, System, system
from tests.scenarios.orders import BLUE_RIDGE, IL, LAKESIDE, PRICES

KINDS = ("refused", "lost", "repeated", "died")
SAMPLED_EVERY = 37
"""Calls between two cuts of the sample; odd, and prime, so that the four ways come by turns to calls of every kind."""


WI = {**IL, "company": "Lakeside Plumbing Wholesale", "address1": "77 Harbor Avenue", "city": "Kenosha", "province_code": "WI", "zip": "53140"}


def _place(made: System, lines: list[tuple[str, int]], *, customer: dict[str, Any] = BLUE_RIDGE, address: dict[str, Any] = IL, rate: str = "0.0625") -> Any:
    order = {
        "customer": customer,
        "lines": [{"sku": sku, "quantity": quantity, "price": str(PRICES[sku])} for sku, quantity in lines],
        "shipping_address": address,
        "shipping_price": "25.00",
        "shipping_title": "Standard freight",
        "tax": [{"title": "State Tax", "rate": rate}],
    }
    return made.harnesses["storefront"].act("place_order", order)["id"]


def _shipped_and_billed(made: System) -> None:
    """Two parts, one worked in the ERP and one at the 3PL: acknowledged, shipped, confirmed and invoiced."""
    _place(made, [("AC-BRG-6204", 4), ("AC-LUB-WHT", 2)])
    made.settle(over=made.is_over)


def _cancelled_after_release(made: System) -> None:
    """The warehouses have the order and have not packed it: parts, sales order and reservation are taken back."""
    for harness in made.harnesses.values():
        harness.ctx.change_autopilot({"enabled": False})
    number = _place(made, [("AC-BRG-6204", 4), ("AC-LUB-WHT", 2)])
    made.settle(seconds=300, over=lambda: _released(made))
    made.harnesses["storefront"].act("cancel_order", {"order": number, "reason": "customer"})
    made.settle(over=made.is_over)


def _released(made: System) -> bool:
    return [part.released_at is not None for order in made.orders() for part in order.parts] == [True, True]


def _held_and_approved(made: System) -> None:
    """Over the credit limit: a person lets it pass, and it goes all the way."""
    _place(made, [("AC-PMP-200", 6)], customer=LAKESIDE, address=WI, rate="0.05")
    made.settle(seconds=300, over=lambda: any(record.kind == "hold" for record in made.services.exceptions.listed()))
    (hold,) = [record for record in made.services.exceptions.listed() if record.kind == "hold"]
    exceptions.resolve(hold.exception_id, decision="approve", note="agreed", actor="jo", services=made.services, letters=made.letters())
    made.settle(over=made.is_over)


def _mended_by_a_person(made: System) -> None:
    """An SKU that no cross-reference knows: the delivery is an exception, is edited and sent round again."""
    _place(made, [("BRG-6204-OLD", 4)])
    made.settle(seconds=300, over=lambda: any(record.code == "MISSING_XREF" for record in made.services.exceptions.listed()))
    (found,) = [record for record in made.services.exceptions.listed() if record.code == "MISSING_XREF"]
    body = exceptions.payload(found.exception_id, made.services)[1].replace(b"BRG-6204-OLD", b"AC-BRG-6204")
    assert exceptions.edit(found.exception_id, body, actor="jo", services=made.services).ok
    exceptions.retry(found.exception_id, actor="jo", services=made.services, letters=made.letters())
    made.settle(over=made.is_over)


def _submitted_by_a_client(made: System) -> None:
    """Through /v1: a client that gets no good answer sends the same again, under the same key."""
    order = {
        "external_id": "P-1",
        "currency": "USD",
        "account": "C10010",
        "ship_to": {"name": "Nora Whitfield", "line1": "480 Foundry Street", "city": "Rockford", "region": "IL", "postal_code": "61101", "country": "US"},
        "lines": [{"sku": "AC-PMP-200", "quantity": "2", "unit_price": "289.00", "tax": "36.13"}],
    }
    call = {**event("serve_api/submit_order"), "body": json.dumps(order)}
    for _ in range(3):
        answer = made.invoke("serve_api", call, died={"statusCode": 502})
        if answer["statusCode"] == 202:
            break
    assert answer["statusCode"] == 202, answer
    made.settle(over=made.is_over)


STORIES: dict[str, Callable[[System], None]] = {
    "shipped and billed": _shipped_and_billed,
    "cancelled after release": _cancelled_after_release,
    "held and approved": _held_and_approved,
    "mended by a person": _mended_by_a_person,
    "submitted by a client": _submitted_by_a_client,
}


@cache
def _uncut(story: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    line = Line()
    with system(line) as made:
        STORIES[story](made)
        return made.end(), tuple(line.calls)


def _cut(story: str, kind: str, at: int) -> str:
    """What differs from the story without a cut; empty when nothing does."""
    expected, _ = _uncut(story)
    line = Line(kind, at)
    with system(line) as made:
        STORIES[story](made)
        found = made.end()
    differing = {name: (expected[name], found[name]) for name in expected if found[name] != expected[name]}
    return f"call {at} ({line.cut}) {kind}: {differing}" if differing else ""


@pytest.mark.parametrize("story", STORIES)
def test_the_uncut_story_goes_to_its_end(story: str) -> None:
    end, calls = _uncut(story)
    assert end["balance"] is True, end
    assert (end["open exceptions"], end["committed"], end["waiting"]) == ([], {}, [])
    assert [order[0] for order in end["orders"]] == ["cancelled" if story.startswith("cancelled") else "completed"]
    assert len(calls) > 100
    if story == "shipped and billed":
        assert len(end["partners"]["3PL orders"]) == 1
        assert end["partners"]["invoices"] == 2
        assert end["partners"]["invoiced"] == "79.05"
        assert {call.partition(" ")[0] for call in calls if " " in call} >= {"POST", "GET"}


@pytest.mark.parametrize("story", STORIES)
def test_a_sample_of_cuts_changes_nothing_in_the_end(story: str) -> None:
    _, calls = _uncut(story)
    start = 1 + 5 * list(STORIES).index(story)
    for turn, at in enumerate(range(start, len(calls) + 1, SAMPLED_EVERY * (1 if story == "shipped and billed" else 3))):
        assert not (differing := _cut(story, KINDS[turn % len(KINDS)], at)), differing


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("slice_number", range(4))
def test_a_cut_at_any_call_changes_nothing_in_the_end(story: str, kind: str, slice_number: int) -> None:
    _, calls = _uncut(story)
    found = [differing for at in range(1 + slice_number, len(calls) + 1, 4) if (differing := _cut(story, kind, at))]
    assert not found, f"{len(found)} of {len(calls[slice_number::4])} cuts made a difference:\n" + "\n".join(found)


def test_what_the_stories_cut_is_everything_that_leaves() -> None:
    """Every function has calls in some story, and every way of cutting is really met."""
    met = Counter(call.partition(" ")[0].partition(".")[0] for story in STORIES for call in _uncut(story)[1])
    assert {"dynamodb", "s3", "sqs", "events", "stepfunctions", "secretsmanager", "POST", "GET", "PATCH"} <= set(met)
