"""Does the ledger let one attempt at a time call, and never forget what is known?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from crossdock.aws.effects import DynamoEffects
from crossdock.aws.table import StateTable
from crossdock.domain.commands import Receipt
from crossdock.domain.effect import Effect, EffectState
from crossdock.domain.money import Money
from tests.aws.account import Account, OneAtATime, at_once

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
LEASE = 60
KEY = "erp#CreateSalesOrder#storefront-1"
RECEIPT = Receipt(external_id="6a3", number="SO-1", total=Money.of("12.50", "USD"), line_ids={"1@CHI": "10000"})


@pytest.fixture
def effects(table: StateTable) -> DynamoEffects:
    return DynamoEffects(table)


def begun(effects: DynamoEffects, *, at: datetime = NOW) -> tuple[bool, Effect]:
    return effects.begin(KEY, order_id="storefront-1", now=at, lease_seconds=LEASE)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_the_first_to_begin_owns_the_call_and_the_second_sees_it_under_way(effects: DynamoEffects) -> None:
    mine, effect = begun(effects)
    again, standing = begun(effects, at=after(1))

    assert (mine, again) == (True, False)
    assert standing == effect == effects.get(KEY)
    assert (effect.key, effect.state, effect.attempt, effect.order_id) == (KEY, EffectState.INTENDED, 1, "storefront-1")
    assert (effect.intended_at, effect.lease_until) == (NOW, after(LEASE))


def test_of_twenty_workers_one_may_call(account: Account) -> None:
    effects = DynamoEffects(StateTable(OneAtATime(account.clients), "state"))

    assert [mine for mine, _ in at_once(20, lambda _number: begun(effects))].count(True) == 1


def test_an_effect_of_no_order_has_none(effects: DynamoEffects) -> None:
    _, effect = effects.begin("shop#PublishStock#1", order_id=None, now=NOW, lease_seconds=LEASE)

    assert effect.order_id is None


def test_what_is_confirmed_is_answered_and_never_begun_again(effects: DynamoEffects) -> None:
    _, effect = begun(effects)
    effects.confirm(effect, RECEIPT, now=after(2))

    mine, standing = begun(effects, at=after(10_000))

    assert not mine
    assert (standing.state, standing.receipt, standing.settled_at) == (EffectState.CONFIRMED, RECEIPT, after(2))


def test_a_confirmed_effect_is_not_overwritten_by_anything(effects: DynamoEffects) -> None:
    _, effect = begun(effects)
    effects.confirm(effect, RECEIPT, now=NOW)

    effects.fail(effect, "late failure", now=NOW)
    effects.mark_unknown(effect, "late timeout", now=NOW)
    kept = effects.confirm(effect, Receipt(external_id="another"), now=NOW)

    assert kept.receipt == RECEIPT
    assert effects.take_over(effect, now=after(1000), lease_seconds=LEASE) is None
    assert effects.get(KEY) == kept


def test_what_surely_failed_may_be_begun_again_without_a_trace_of_the_failure(effects: DynamoEffects) -> None:
    _, effect = begun(effects)
    failed = effects.fail(effect, "the vendor said no", now=after(1))

    mine, standing = begun(effects, at=after(2))

    assert (failed.state, failed.error, failed.settled_at) == (EffectState.FAILED, "the vendor said no", after(1))
    assert mine
    assert (standing.attempt, standing.error, standing.settled_at, standing.intended_at) == (2, "", None, after(2))


def test_a_confirmed_effect_that_is_missed_is_unknown_until_somebody_has_looked(effects: DynamoEffects) -> None:
    _, effect = begun(effects)
    confirmed = effects.confirm(effect, RECEIPT, now=after(1))

    doubted = effects.contradict(confirmed, "not there", now=after(9))

    assert (doubted.state, doubted.error, doubted.settled_at) == (EffectState.UNKNOWN, "not there", after(9))
    assert not begun(effects, at=after(10))[0], "it is not simply made again"
    assert effects.take_over(doubted, now=after(10), lease_seconds=LEASE) is not None
    assert effects.contradict(confirmed, "again", now=after(11)).state is EffectState.INTENDED, "whoever looks is left alone"


def test_an_unknown_outcome_is_not_begun_but_taken_over_by_one(effects: DynamoEffects) -> None:
    _, effect = begun(effects)
    effects.mark_unknown(effect, "no answer", now=after(1))

    mine, standing = begun(effects, at=after(2))
    first = effects.take_over(standing, now=after(2), lease_seconds=LEASE)
    second = effects.take_over(standing, now=after(2), lease_seconds=LEASE)

    assert not mine
    assert standing.state is EffectState.UNKNOWN
    assert first is not None
    assert (first.state, first.attempt, first.lease_until) == (EffectState.INTENDED, 2, after(2 + LEASE))
    assert second is None


def test_of_twenty_who_would_look_it_up_one_does(account: Account) -> None:
    effects = DynamoEffects(StateTable(OneAtATime(account.clients), "state"))
    _, effect = begun(effects)
    effects.mark_unknown(effect, "no answer", now=NOW)

    taken = at_once(20, lambda _number: effects.take_over(effect, now=NOW, lease_seconds=LEASE))

    assert len([each for each in taken if each is not None]) == 1


def test_a_call_under_way_is_taken_over_only_after_its_lease(effects: DynamoEffects) -> None:
    _, effect = begun(effects)

    assert effects.take_over(effect, now=after(LEASE - 1), lease_seconds=LEASE) is None
    assert effects.take_over(effect, now=after(LEASE), lease_seconds=LEASE) is not None


def test_a_worker_that_lost_its_lease_can_no_longer_say_that_it_failed(effects: DynamoEffects) -> None:
    _, slow = begun(effects)
    taken = effects.take_over(slow, now=after(LEASE), lease_seconds=LEASE)
    assert taken is not None

    assert effects.fail(slow, "too late", now=after(LEASE + 1)) == taken
    assert effects.mark_unknown(slow, "too late", now=after(LEASE + 1)) == taken


def test_a_worker_that_lost_its_lease_and_got_its_answer_is_believed(effects: DynamoEffects) -> None:
    _, slow = begun(effects)
    taken = effects.take_over(slow, now=after(LEASE), lease_seconds=LEASE)
    assert taken is not None

    effects.confirm(slow, RECEIPT, now=after(LEASE + 1))
    effects.fail(taken, "looked up too early", now=after(LEASE + 2))

    standing = effects.get(KEY)
    assert standing is not None
    assert standing.state is EffectState.CONFIRMED


def test_an_effect_that_nobody_began_is_not_there(effects: DynamoEffects) -> None:
    assert effects.get("erp#CreateSalesOrder#nobody") is None
