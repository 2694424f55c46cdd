"""Do the terms of an account change only with another person's consent, and is an order checked against those that count?"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from crossdock.domain.customer import Account, CreditStanding, Terms
from crossdock.domain.errors import NeedsPerson, Rejected
from crossdock.domain.events import AccountChanged
from crossdock.flows import customers, exceptions
from tests.fakes import START
from tests.flows.world import World, an_order, line, spec, usd

SUBJECT = "account#C10010"


def says(world: World, limit: str | None, *, minute: int, by: str = "", source: str = "erp", blocked: bool = False, account: str = "C10010", **terms: Any) -> None:
    told = Account(
        account=account, name="Blue Ridge", blocked=blocked, terms=Terms(credit_limit=None if limit is None else usd(limit), **{"payment": "30D", "tax_liable": True, **terms})
    )
    world.tell(source, AccountChanged(account=told, as_of=START + timedelta(minutes=minute), requested_by=by))
    world.run()


def limit(world: World) -> str | None:
    standing = world.accounts.records["C10010"].terms.standing
    return None if standing is None or standing.value.credit_limit is None else standing.value.credit_limit.exact()


def decide(world: World, decision: str, *, actor: str = "mia") -> str:
    return exceptions.resolve(
        world.the_exception("TERMS_CHANGE").exception_id, decision=decision, note="seen their books", actor=actor, services=world.services, letters=world.letters
    )


def test_a_small_change_counts_at_once_and_is_on_record() -> None:
    world = World()
    says(world, "10000", minute=1)
    says(world, "10500", minute=2, by="ines")
    assert limit(world) == "10500.00 USD"
    found = [(entry.actor, entry.details["before"], entry.details["after"]) for entry in world.audit.entries(SUBJECT) if entry.action == "TermsChanged"]
    assert found == [("erp", "", "limit 10000.00 USD, 30D, taxed"), ("ines", "limit 10000.00 USD, 30D, taxed", "limit 10500.00 USD, 30D, taxed")]
    assert world.open_codes() == []


@pytest.mark.parametrize(
    ("after", "terms"),
    [("20000", {}), ("10000", {"payment": "90D"}), ("10000", {"tax_liable": False}), (None, {})],
    ids=["a much higher limit", "payment terms", "tax exempt", "no limit any more"],
)
def test_a_large_change_waits_for_another_person_and_the_audit_shows_both(after: str | None, terms: dict[str, Any]) -> None:
    world = World()
    says(world, "10000", minute=1)
    says(world, after, minute=2, by="ines", **terms)
    assert (limit(world), world.open_codes()) == ("10000.00 USD", ["TERMS_CHANGE"])
    with pytest.raises(Rejected, match="FOUR_EYES"):
        decide(world, "approve", actor="ines")
    decide(world, "approve")
    assert limit(world) == (None if after is None else f"{after}.00 USD")
    approved = next(entry for entry in world.audit.entries(SUBJECT) if entry.action == "TermsChangeApproved")
    assert (approved.actor, approved.details["requested_by"]) == ("mia", "ines")
    assert world.open_codes() == []
    says(world, after, minute=2, by="ines", **terms)
    assert [entry.action for entry in world.audit.entries(SUBJECT)].count("TermsChanged") == 1


def test_the_same_terms_said_anew_are_no_change() -> None:
    world = World(spec())
    says(world, "10000", minute=1)
    says(world, "10000", minute=2)
    assert [entry.action for entry in world.audit.entries(SUBJECT)].count("TermsChanged") == 1


def test_refused_terms_leave_an_exception_until_the_owner_says_otherwise() -> None:
    world = World()
    says(world, "10000", minute=1)
    says(world, "90000", minute=2)
    decide(world, "reject")
    says(world, "90000", minute=2)  # told again it stays refused
    assert (limit(world), world.open_codes()) == ("10000.00 USD", ["TERMS_STALE"])
    assert world.accounts.records["C10010"].terms.stale
    says(world, "80000", minute=3)
    decide(world, "approve")
    assert (limit(world), world.open_codes()) == ("80000.00 USD", [])
    says(world, "10000", minute=4)
    decide(world, "reject")
    says(world, "80000", minute=5)
    assert world.open_codes() == []


def test_a_block_counts_at_once_whatever_waits() -> None:
    world = World()
    says(world, "10000", minute=1)
    says(world, "90000", minute=2, blocked=True)
    assert world.accounts.records["C10010"].blocked
    says(world, "90000", minute=3, blocked=False)
    assert [entry.action for entry in world.audit.entries(SUBJECT) if entry.action.startswith("Account")] == ["AccountBlocked", "AccountUnblocked"]


def test_late_words_and_those_of_others_change_nothing() -> None:
    world = World()
    says(world, "10000", minute=5)
    says(world, "1", minute=4)
    says(world, "1", minute=9, source="threepl")
    assert (limit(world), world.open_codes()) == ("10000.00 USD", [])
    assert [entry.actor for entry in world.audit.entries(SUBJECT) if entry.action == "WriteRefused"] == ["threepl"]


def test_an_order_is_checked_against_the_limit_that_counts() -> None:
    world = World()
    says(world, "1000", minute=1)
    says(world, "90000", minute=2)
    world.erp.accounts["C10010"] = CreditStanding(account="C10010", limit=usd(90_000), balance=usd(0))
    world.autopilot()
    world.place(an_order(1, [line("1", "PUMP", "4", "300")]))
    world.run()
    assert world.status() == "held"
    assert "limit 1000.00 USD" in world.the_exception("CREDIT_LIMIT").detail
    decide(world, "approve")
    exceptions.retry(world.the_exception("CREDIT_LIMIT").exception_id, actor="jo", services=world.services, letters=world.letters)
    world.run()
    assert world.status() == "completed"


def test_what_is_shown_of_an_account_names_its_terms_and_where_it_is_missing() -> None:
    world = World()
    says(world, "10000", minute=1, account="C10030")
    says(world, "90000", minute=2, account="C10030", by="ines")
    shown = customers.shown("C10030", world.services)
    assert shown is not None
    assert (shown["status"], shown["missing_in"]) == ("partial", ["shop"])
    assert shown["terms"]["waits_for_approval"]["requested_by"] == "ines"
    assert shown["terms"]["counts"]["value"]["credit_limit"] == {"amount": "10000", "currency": "USD"}
    assert customers.shown("C99999", world.services) is None


def test_a_decision_on_what_nobody_has_proposed_is_refused_or_changes_nothing() -> None:
    world = World(spec())
    with pytest.raises(NeedsPerson, match="ACCOUNT_UNKNOWN"):
        customers.decide(SUBJECT, approve=True, actor="mia", note="", services=world.services)
    says(world, "10000", minute=1)
    assert customers.decide(SUBJECT, approve=True, actor="mia", note="", services=world.services) == "it is decided already"
