"""Does the owner's word on a price hold, with another person's consent where it is large, and do the sales channels show what counts?"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from crossdock.domain.commands import SetPrice
from crossdock.domain.errors import NeedsPerson, Rejected, RetryLater
from crossdock.domain.events import PriceChanged, ProductChanged
from crossdock.domain.governed import Governed, Told
from crossdock.domain.manifest import PollContract
from crossdock.domain.messages import OutboundMessage
from crossdock.domain.money import Money
from crossdock.domain.price import Price, differs_by_more_than, effective
from crossdock.domain.product import Product
from crossdock.domain.quantity import Quantity
from crossdock.domain.stage import QueueName
from crossdock.flows import exceptions, prices, reconcile, views
from tests.fakes import START
from tests.flows.world import MANIFESTS, World, an_order, line, spec, usd

CATALOG = "catalog#BOLT"


def a_world(**changes: Any) -> World:
    shop = MANIFESTS["shop"].model_copy(update={"commands": (*MANIFESTS["shop"].commands, "SetPrice"), "queries": ("list_prices",)})
    return World(spec(**changes), manifests={"shop": shop})


def price(amount: str, sku: str = "BOLT", **more: Any) -> Price:
    return Price(sku=sku, unit=more.pop("unit", "EA"), price=Money.of(amount, more.pop("currency", "USD")), **more)


def says(world: World, amount: str | Price, *, minute: int, by: str = "", source: str = "erp", ended: bool = False) -> None:
    """The owner's word of that minute, as its poll (in its own names) brings it."""
    told = amount if isinstance(amount, Price) else price(amount)
    theirs = {"sku": world.services.xref.their_sku(source, told.sku), "unit": world.services.xref.their_unit(source, told.unit)}
    minimum = None if told.minimum is None else Quantity(value=told.minimum.value, unit=theirs["unit"])
    fact = PriceChanged(price=told.model_copy(update={**theirs, "minimum": minimum}), as_of=START + timedelta(minutes=minute), requested_by=by, ended=ended)
    world.tell(source, fact)
    world.run()


def counts(world: World, sku: str = "BOLT") -> str | None:
    record = world.catalog.get(sku)
    found = prices.list_price(record, world.services) if record else None
    return found.price.exact() if found else None


def set_in_shop(world: World) -> list[str]:
    return [intent.price.exact() for (kind, _), intent in world.shop.intents.items() if kind == "SetPrice" and isinstance(intent, SetPrice)]


def decide(world: World, decision: str, *, actor: str = "mia", code: str = "PRICE_CHANGE") -> str:
    return exceptions.resolve(world.the_exception(code).exception_id, decision=decision, note="agreed with sales", actor=actor, services=world.services, letters=world.letters)


# ------------------------------------------------------------------ the owner's word


def test_a_small_change_counts_at_once_is_on_record_and_reaches_the_shop() -> None:
    world = a_world()
    says(world, "10", minute=1)
    says(world, "10.50", minute=2, by="ines")
    assert counts(world) == "10.50 USD"
    assert set_in_shop(world) == ["10.00 USD", "10.50 USD"]
    changes = [entry for entry in world.audit.entries(CATALOG) if entry.action == "PriceChanged"]
    assert [(entry.actor, entry.details["source"], entry.details["before"], entry.details["after"]) for entry in changes] == [
        ("erp", "erp", "", "10.00 USD"),
        ("ines", "erp", "10.00 USD", "10.50 USD"),
    ]
    assert world.open_codes() == []


def test_a_large_change_waits_for_another_person_and_the_audit_shows_both() -> None:
    world = a_world()
    says(world, "10", minute=1)
    says(world, "12", minute=2, by="ines")
    assert counts(world) == "10.00 USD", "what counted before counts on"
    assert world.open_codes() == ["PRICE_CHANGE"]
    hold = world.the_exception("PRICE_CHANGE").hold
    assert hold is not None
    assert (hold.seen["before"], hold.seen["after"], hold.seen["asked for by"]) == ("10.00 USD", "12.00 USD", "ines")
    with pytest.raises(Rejected, match="FOUR_EYES"):
        decide(world, "approve", actor="ines")
    assert counts(world) == "10.00 USD"
    assert decide(world, "approve") == "approved: 12.00 USD counts"
    world.run()
    assert counts(world) == "12.00 USD"
    assert set_in_shop(world)[-1] == "12.00 USD"
    approved = next(entry for entry in world.audit.entries(CATALOG) if entry.action == "PriceChangeApproved")
    assert (approved.actor, approved.details["requested_by"], approved.details["before"], approved.details["after"]) == ("mia", "ines", "10.00 USD", "12.00 USD")
    assert world.open_codes() == []
    assert decide(world, "approve") == "it is closed already: nothing to do"


def test_a_change_of_exactly_the_limit_needs_nobody() -> None:
    world = a_world(prices={"approve_above_percent": "10"})
    says(world, "10", minute=1)
    says(world, "11", minute=2)
    assert (counts(world), world.open_codes()) == ("11.00 USD", [])
    says(world, "9.89", minute=3)
    assert (counts(world), world.open_codes()) == ("11.00 USD", ["PRICE_CHANGE"]), "downwards it is a change too"


def test_a_refused_change_leaves_an_exception_and_marks_the_old_price_until_the_owner_says_otherwise() -> None:
    world = a_world()
    says(world, "10", minute=1)
    says(world, "20", minute=2)
    assert "goes on counting" in decide(world, "reject")
    assert (counts(world), world.open_codes()) == ("10.00 USD", ["PRICE_STALE"])
    record = world.catalog.get("BOLT")
    assert record is not None
    assert record.stale
    assert views.prices(record, world.services)["prices"][0]["refused"]["value"]["price"] == {"amount": "20", "currency": "USD"}
    says(world, "20", minute=2)
    assert world.open_codes() == ["PRICE_STALE"], "told again it is no new question"
    says(world, "10", minute=3)
    assert world.open_codes() == []
    assert not world.catalog.records["BOLT"].stale


def test_what_was_refused_is_stale_no_more_when_another_change_is_let_pass() -> None:
    world = a_world()
    says(world, "10", minute=1)
    says(world, "20", minute=2)
    decide(world, "reject")
    says(world, "25", minute=3)
    assert world.open_codes() == ["PRICE_CHANGE", "PRICE_STALE"]
    decide(world, "approve")
    assert (counts(world), world.open_codes()) == ("25.00 USD", [])


def test_what_the_owner_takes_back_before_anybody_has_decided_is_asked_no_more() -> None:
    world = a_world()
    says(world, "10", minute=1)
    says(world, "20", minute=2)
    says(world, "10.10", minute=3)
    assert (counts(world), world.open_codes()) == ("10.10 USD", [])
    says(world, "30", minute=4)
    says(world, "31", minute=5)
    assert world.the_exception("PRICE_CHANGE").hold.seen["after"] == "31.00 USD", "the newest is what is asked about"  # type: ignore[union-attr]


def test_told_again_or_late_it_changes_nothing() -> None:
    world = a_world()
    says(world, "10", minute=1)
    says(world, "10.40", minute=3)
    before = (world.catalog.get("BOLT"), world.audit.entries(CATALOG), set_in_shop(world))
    says(world, "10.40", minute=3)
    says(world, "10.20", minute=2)
    says(world, "10", minute=1)
    assert (world.catalog.get("BOLT"), world.audit.entries(CATALOG), set_in_shop(world)) == before


def test_an_approval_that_is_told_again_stays_one_entry() -> None:
    world = a_world()
    says(world, "10", minute=1)
    says(world, "20", minute=2)
    decide(world, "approve")
    says(world, "20", minute=2)
    says(world, "20", minute=9)
    assert [entry.action for entry in world.audit.entries(CATALOG) if entry.action in ("PriceChanged", "PriceChangeApproved")] == ["PriceChanged", "PriceChangeApproved"]
    standing = world.catalog.records["BOLT"].prices["EA|USD|||"].standing
    assert standing is not None
    assert standing.approved_by == "mia"


def test_whoever_does_not_own_prices_is_refused_on_record() -> None:
    world = a_world()
    says(world, "10", minute=1)
    says(world, "1", minute=2, source="shop")
    assert counts(world) == "10.00 USD"
    assert [entry.actor for entry in world.audit.entries(CATALOG) if entry.action == "WriteRefused"] == ["shop"]


def test_contract_prices_may_have_another_owner_than_list_prices() -> None:
    world = a_world(systems_of_record={"contract_prices": "threepl"})
    says(world, price("8", account="C10010"), minute=1, source="threepl")
    says(world, price("9", account="C10020"), minute=1, source="erp")
    assert sorted(world.catalog.records["BOLT"].prices) == ["EA|USD|C10010||"]
    says(world, "10", minute=2, source="erp")
    says(world, "11", minute=3, source="threepl")
    assert counts(world) == "10.00 USD"


def test_an_article_that_the_tenant_does_not_run_is_ignored_by_name() -> None:
    world = a_world()
    world.tell("erp", PriceChanged(price=price("3", sku="4711", unit="PCS"), as_of=START))
    world.run()
    assert [(note.status.value, note.reason) for note in world.deliveries.every()] == [("ignored", "no article of this tenant: 4711")]
    assert world.open_codes() == []


def test_an_unknown_unit_is_a_matter_for_the_keeper_of_the_tables() -> None:
    world = a_world()
    world.tell("erp", PriceChanged(price=price("3", sku="70010", unit="BARREL"), as_of=START))
    world.run()
    assert world.open_codes() == ["MISSING_XREF"]


# ------------------------------------------------------------------ which price counts


def test_a_promotion_begins_and_ends_by_itself_and_the_shop_hears_of_both() -> None:
    world = a_world()
    says(world, "10", minute=1)
    says(world, price("8", valid_from=START + timedelta(hours=1), valid_until=START + timedelta(hours=3)), minute=2)
    assert counts(world) == "10.00 USD"
    world.clock.at = START + timedelta(hours=1, minutes=1)
    world.later(1)
    assert (counts(world), set_in_shop(world)[-1]) == ("8.00 USD", "8.00 USD")
    world.clock.at = START + timedelta(hours=3)
    world.later(1)
    assert (counts(world), set_in_shop(world)[-1]) == ("10.00 USD", "10.00 USD")
    assert world.catalog.records["BOLT"].due_at is None


def test_a_price_that_is_ended_gives_way_to_the_one_behind_it() -> None:
    world = a_world()
    says(world, "10", minute=1)
    says(world, price("8", valid_from=START), minute=2)
    assert counts(world) == "8.00 USD"
    says(world, price("8", valid_from=START), minute=3, ended=True)
    world.later(1)
    assert (counts(world), set_in_shop(world)[-1]) == ("10.00 USD", "10.00 USD")


PRICES = st.builds(
    lambda amount, account, minimum, start, length: price(
        str(amount),
        account=account,
        minimum=None if minimum is None else Quantity.of(minimum, "EA"),
        valid_from=None if start is None else START + timedelta(hours=start),
        valid_until=None if length is None else START + timedelta(hours=(start or 0) + length),
    ),
    st.integers(1, 99),
    st.sampled_from([None, "A", "B"]),
    st.sampled_from([None, 5, 10]),
    st.sampled_from([None, 0, 2]),
    st.sampled_from([None, 1, 3]),
)


@given(st.lists(PRICES, max_size=8, unique_by=lambda one: one.key), st.sampled_from([None, "A", "C"]), st.sampled_from(["1", "5", "12"]), st.integers(-1, 6))
@settings(max_examples=300, deadline=None)
def test_the_accounts_own_price_counts_then_the_highest_break_then_the_newest(known: list[Price], account: str | None, quantity: str, hour: int) -> None:
    at, count = START + timedelta(hours=hour), Decimal(quantity)

    def fits(one: Price) -> bool:
        begun = one.valid_from is None or one.valid_from <= at
        over = one.valid_until is not None and one.valid_until <= at
        return begun and not over and one.account in (None, account) and (one.minimum is None or one.minimum.value <= count)

    best: Price | None = None
    for one in filter(fits, known):
        if best is None:
            best = one
            continue
        for better in (one.account is not None) - (best.account is not None), _break(one) - _break(best), (_begin(one) - _begin(best)).total_seconds():
            if better:
                best = one if better > 0 else best
                break
    assert effective(known, account=account, unit="EA", currency="USD", quantity=count, at=at) == best


def _break(one: Price) -> Decimal:
    return one.minimum.value if one.minimum else Decimal(0)


def _begin(one: Price) -> datetime:
    return one.valid_from or START - timedelta(days=1)


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 5)), min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_the_newest_word_is_never_lost_whatever_comes_when(words: list[tuple[int, int]]) -> None:
    governed: Governed[Price] = Governed[Price]()
    for amount, minute in words:
        told = Told[Price](value=price(str(amount)), as_of=START + timedelta(minutes=minute), source="erp", requested_by="erp")
        before = governed
        governed = governed.heard(told, needs_approval=lambda old, new: differs_by_more_than(Decimal(10), old.price, new.price)) or governed
        if before.standing is not None and governed.standing != before.standing:
            assert governed.standing is not None
            assert not differs_by_more_than(Decimal(10), before.standing.value.price, governed.standing.value.price), "a large step counts without anybody"
    newest = max(minute for _, minute in words)
    assert governed.known_at == START + timedelta(minutes=newest)


# ------------------------------------------------------------------ an order is checked against what counts


def test_an_order_is_checked_against_the_accounts_own_price_and_quantity_break() -> None:
    world = a_world()
    says(world, price("8", account="C10010"), minute=1)
    says(world, price("7", account="C10010", minimum=Quantity.of(5, "EA")), minute=2)
    world.autopilot()
    world.place(an_order(1, [line("1", "BOLT", "3", "8")]))
    world.place(an_order(2, [line("1", "BOLT", "5", "7")]))
    world.place(an_order(3, [line("1", "BOLT", "5", "8")]))
    world.run()
    assert [world.status(f"shop-{number}") for number in (1, 2, 3)] == ["completed", "completed", "held"]
    assert "ERP 7.00 USD" in world.the_exception("PRICE_DIFFERENCE").detail


def test_where_only_another_accounts_price_is_kept_the_erp_is_asked() -> None:
    world = a_world()
    says(world, price("3", account="C99999"), minute=1)
    world.place(an_order(1, [line("1", "BOLT", "1", "10")]))
    world.run()
    assert (world.status(), world.open_codes()) == ("released", [])


def test_a_case_is_checked_against_twelve_times_the_piece() -> None:
    world = a_world()
    says(world, price("8", account="C10010"), minute=1)
    world.autopilot()
    world.place(an_order(1, [line("1", "BOLT", "1", "96", unit="CS")]))
    world.run()
    assert world.status() == "completed"


def test_while_a_change_waits_orders_are_checked_against_what_counted_before() -> None:
    world = a_world()
    says(world, "10", minute=1)
    world.erp.price_list["70010"] = price("20", sku="70010", unit="PCS")
    says(world, "20", minute=2)
    world.autopilot()
    world.place(an_order(1, [line("1", "BOLT", "3", "10")]))
    world.run()
    assert world.status() == "completed", "the ERP's new price waits for approval"
    decide(world, "approve")
    world.place(an_order(2, [line("1", "BOLT", "3", "10")]))
    world.run()
    assert world.status("shop-2") == "held"


def test_a_large_change_that_no_poll_has_brought_yet_does_not_count_for_an_order_either() -> None:
    world = a_world()
    says(world, "10", minute=1)
    world.erp.price_list["70010"] = price("20", sku="70010", unit="PCS")
    world.autopilot()
    world.place(an_order(1, [line("1", "BOLT", "3", "10")]))
    world.run()
    assert world.status() == "completed"


# ------------------------------------------------------------------ what the shop is told


def test_a_price_that_the_shop_does_not_take_is_an_exception_and_the_old_one_is_stale_until_it_does() -> None:
    world = a_world()
    says(world, "10", minute=1)
    world.shop.fail("SetPrice", Rejected("VENDOR_REFUSED", "no such variant", remedy="create it"))
    says(world, "10.50", minute=2)
    assert world.open_codes() == ["PRICE_REJECTED"]
    shown = world.catalog.records["BOLT"].shown["shop"]
    assert (shown.price, "no such variant" in shown.stale) == (usd(10), True)
    world.later(1, hours=7)
    assert world.open_codes() == ["PRICE_REJECTED"], "a sweep does not ask the same again"
    exceptions.retry(world.the_exception("PRICE_REJECTED").exception_id, actor="jo", services=world.services, letters=world.letters)
    world.run()
    shown = world.catalog.records["BOLT"].shown["shop"]
    assert (shown.price, shown.stale) == (usd("10.50"), "")
    assert world.open_codes() == []


def test_on_schedule_and_as_they_come_prices_end_in_the_same_state() -> None:
    ends = []
    for mode in ("event", "schedule"):
        world = a_world(prices={"publish": mode, "schedule_minutes": 30})
        for minute, amount in enumerate(["10", "10.10", "10.20"], start=1):
            says(world, amount, minute=minute)
        says(world, price("5", sku="NUT"), minute=4)
        told_before = len(set_in_shop(world))
        world.later(2, minutes=31)
        ends.append({sku: record.shown["shop"].price for sku, record in world.catalog.records.items()})
        assert (told_before == 0) is (mode == "schedule")
    assert ends[0] == ends[1] == {"BOLT": usd("10.20"), "NUT": usd(5)}


def test_where_nothing_is_to_be_published_nobody_is_told() -> None:
    world = a_world(prices={"publish": "off"})
    says(world, "10", minute=1)
    world.later(2, hours=7)
    assert set_in_shop(world) == []


def test_what_a_crash_kept_from_being_told_the_sweep_tells() -> None:
    world = a_world()
    says(world, "10", minute=1)
    world.queues.messages[QueueName.OUTBOUND].clear()
    world.catalog.change("BOLT", lambda current: current.model_copy(update={"shown": {}}), now=world.clock.now())
    world.later(1, hours=7)
    assert world.catalog.records["BOLT"].shown["shop"].price == usd(10)


def test_two_who_tell_the_same_price_do_not_overtake_each_other() -> None:
    world = a_world()
    says(world, "10", minute=1)
    world.clock.pass_by(minutes=1)
    assert world.cursors.claim("price#shop#BOLT", until=world.clock.now() + timedelta(seconds=60), now=world.clock.now())
    message = OutboundMessage(command="SetPrice", connection="shop", arguments={"sku": "BOLT", "again": "1"})
    with pytest.raises(RetryLater, match="BUSY"):
        prices.publish(message, world.services)
    world.clock.pass_by(seconds=61)
    prices.publish(message, world.services)


@pytest.mark.parametrize("cut", range(1, 14))
def test_a_crash_anywhere_ends_in_the_same_price_shown_once_told(cut: int) -> None:
    world = a_world()
    says(world, "10", minute=1)
    world.lifeline.crash_after = world.lifeline.changes + cut
    says(world, "10.30", minute=2)
    world.later(3, minutes=5)
    world.later(1, hours=7)
    assert world.catalog.records["BOLT"].shown["shop"].price == usd("10.30")
    assert [entry.details["after"] for entry in world.audit.entries(CATALOG) if entry.action == "PriceChanged"] == ["10.00 USD", "10.30 USD"]


def test_a_price_that_was_changed_in_the_shop_is_found_and_put_right() -> None:
    world = a_world()
    says(world, "10", minute=1)
    world.clock.pass_by(hours=1)
    world.shop.charged = [price("13")]
    report = reconcile.Report()
    reconcile.prices("shop", None, world.services, report)
    [difference] = report.differences
    assert (difference.code, difference.owner, difference.repair is not None) == ("PRICE_DRIFT", "erp", True)
    reconcile.settle(report, world.services)
    before = len(world.shop.done)
    reconcile.repair_all(world.services)
    world.run()
    assert world.shop.done[before:] == [("SetPrice", "BOLT@" + world.shop.done[-1][1].rpartition("@")[2])]
    world.shop.charged = [price("10")]
    again = reconcile.Report()
    reconcile.prices("shop", None, world.services, again)
    reconcile.settle(again, world.services)
    assert world.open_codes() == []


def test_the_reconciliation_hears_a_price_that_no_poll_has_brought() -> None:
    world = a_world()
    world.shop.charged = [price("10")]
    for owned, expected in (("10", "10.00 USD"), ("10.30", "10.30 USD"), ("20", "10.30 USD")):
        world.clock.pass_by(hours=1)
        world.erp.price_list["70010"] = price(owned, sku="70010", unit="PCS")
        reconcile.prices("shop", None, world.services, reconcile.Report())
        assert counts(world) == expected
    assert world.open_codes() == ["PRICE_CHANGE"]


# ------------------------------------------------------------------ decisions that come too late, and what nobody proposed


def test_a_decision_on_what_is_not_proposed_any_more_changes_nothing() -> None:
    world = a_world()
    says(world, "10", minute=1)
    says(world, "20", minute=2)
    opened = world.the_exception("PRICE_CHANGE").exception_id
    says(world, "10", minute=3)
    assert prices.decide(opened, CATALOG, approve=True, actor="mia", note="", services=world.services) == "it is decided already"
    with pytest.raises(NeedsPerson, match="PRICE_UNKNOWN"):
        prices.decide("price-change-0", CATALOG, approve=True, actor="mia", note="", services=world.services)
    assert counts(world) == "10.00 USD"


def test_a_change_that_waits_cannot_be_retried() -> None:
    world = a_world()
    says(world, "10", minute=1)
    says(world, "20", minute=2)
    with pytest.raises(Rejected, match="NOT_RETRYABLE"):
        exceptions.retry(world.the_exception("PRICE_CHANGE").exception_id, actor="jo", services=world.services, letters=world.letters)


def test_two_people_who_decide_at_once_decide_once() -> None:
    world = a_world()
    says(world, "10", minute=1)
    says(world, "20", minute=2)
    opened, real = world.the_exception("PRICE_CHANGE").exception_id, world.catalog.change

    def after_another(sku: str, change: Any, *, now: datetime) -> Any:
        world.catalog.change = real  # type: ignore[method-assign]
        prices.decide(opened, CATALOG, approve=False, actor="joe", note="", services=world.services)
        return real(sku, change, now=now)

    world.catalog.change = after_another  # type: ignore[method-assign]
    prices.decide(opened, CATALOG, approve=True, actor="mia", note="", services=world.services)
    assert counts(world) == "10.00 USD"


def test_a_price_that_is_not_what_it_says_is_refused_and_another_currency_is_always_a_large_change() -> None:
    with pytest.raises(ValidationError, match="in the unit that is priced"):
        price("1", minimum=Quantity.of("2", "CS"))
    with pytest.raises(ValidationError, match="valid_until is before"):
        price("1", valid_from=START, valid_until=START - timedelta(days=1))
    assert differs_by_more_than(Decimal(1000), usd(10), Money.of("10", "EUR"))


# ------------------------------------------------------------------ sweeps, and who is asked


def test_a_shop_that_is_busy_hears_the_price_later_and_one_that_never_knew_the_article_nothing() -> None:
    world = a_world()
    world.shop.fail("SetPrice", RetryLater("RATE_LIMITED", "busy", after_seconds=1))
    says(world, "10", minute=1)
    assert set_in_shop(world) == ["10.00 USD"]
    prices.publish(OutboundMessage(command="SetPrice", connection="shop", arguments={"sku": "NUT"}), world.services)
    assert set_in_shop(world) == ["10.00 USD"]


def test_a_sweep_goes_on_where_it_had_told_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "AT_ONCE", 1)
    world = a_world(prices={"publish": "schedule", "schedule_minutes": 30})
    world.later(1, minutes=31)
    for sku in ("BOLT", "NUT", "VALVE"):
        says(world, price("5", sku=sku), minute=1)
    assert prices.sweep_now(world.services) == ["shop"]
    world.run()
    assert {sku: record.shown["shop"].price for sku, record in world.catalog.records.items()} == dict.fromkeys(("BOLT", "NUT", "VALVE"), usd(5))


def test_owners_that_can_be_asked_are_asked_now() -> None:
    poll = PollContract(reason="it sends nothing by itself", every_seconds=300, awaited_every_seconds=60)
    erp = MANIFESTS["erp"].model_copy(update={"polls": {"items": poll, "shipments": poll}})
    world = World(spec(), manifests={"erp": erp})
    assert prices.ask_owners(world.services) == ["erp items"]
    assert any("PollConnection" in body and '"items"' in body for _, body in world.queues.sent)


# ------------------------------------------------------------------ products


def describe(world: World, minute: int = 1, source: str = "erp", **more: Any) -> None:
    """In its own names."""
    theirs = {"sku": world.services.xref.their_sku(source, "BOLT"), "base_unit": world.services.xref.their_unit(source, more.pop("base_unit", "EA"))}
    world.tell(source, ProductChanged(product=Product(description="Bolt", **theirs, **more), as_of=START + timedelta(minutes=minute)))
    world.run()


def test_a_product_is_kept_with_what_it_was_before_and_late_words_are_ignored() -> None:
    world = a_world()
    describe(world, barcodes=("0012345678905",))
    describe(world, minute=3, barcodes=("0012345678912",))
    describe(world, minute=2, barcodes=("1",))
    describe(world, minute=3, barcodes=("0012345678912",))
    assert world.catalog.records["BOLT"].product is not None
    assert world.catalog.records["BOLT"].product.barcodes == ("0012345678912",)
    told = [entry.details for entry in world.audit.entries(CATALOG) if entry.action == "ProductChanged"]
    assert [("0012345678905" in one["before"], "0012345678912" in one["after"]) for one in told] == [(False, False), (True, True)]
    describe(world, minute=9, source="shop")
    assert [entry.actor for entry in world.audit.entries(CATALOG) if entry.action == "WriteRefused"] == ["shop"]


def test_a_product_that_is_counted_otherwise_or_blocked_is_for_a_person_until_the_two_agree() -> None:
    world = a_world()
    describe(world, base_unit="CS", blocked=True)
    found = world.the_exception("PRODUCT_DRIFT")
    assert "CS there and in EA here" in found.detail
    assert "blocked for sale" in found.detail
    describe(world, minute=2)
    assert world.open_codes() == []


# ------------------------------------------------------------------ what is shown


def test_what_is_shown_of_a_price_names_what_counts_what_waits_and_what_the_channels_show() -> None:
    world = a_world()
    says(world, "10", minute=1)
    says(world, "20", minute=2, by="ines")
    shown = views.prices(world.catalog.records["BOLT"], world.services)
    assert (shown["list_price"], shown["stale"]) == ({"amount": "10", "currency": "USD"}, True)
    assert (shown["prices"][0]["about"], shown["prices"][0]["waits_for_approval"]["requested_by"]) == ("list per EA", "ines")
    assert shown["shown"]["shop"]["price"] == {"amount": "10", "currency": "USD"}
