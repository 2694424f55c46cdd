"""Is an account usable everywhere, or is it named where it is missing?"""

from __future__ import annotations

from crossdock.domain.customer import CreditStanding
from crossdock.flows import customers
from tests.flows.world import World, spec, usd


def test_an_account_whose_credit_was_asked_for_is_usable_where_it_is_named() -> None:
    world = World()
    world.place()
    world.run()
    found = customers.shown("C10010", world.services)
    assert found is not None
    assert (found["status"], found["missing_in"], found["erp"]["account"]) == ("usable", [], "C10010")
    assert found["known_as"]["shop"] == sorted(name for name, ours in world.spec.cross_references.customers["shop"].items() if ours == "C10010")
    assert found["erp_as_of"] == "2026-10-05T08:00:00Z"


def test_an_account_that_nobody_has_asked_about_says_so() -> None:
    found = customers.shown("C10010", World().services)
    assert found is not None
    assert (found["status"], found["erp"], found["erp_as_of"]) == ("not_yet_checked", None, None)


def test_the_system_in_which_an_account_is_missing_is_named() -> None:
    world = World(spec(cross_references={"customers": {"shop": {"a": "N-1"}, "direct": {"b": "N-2"}}, "default_accounts": {"shop": "N-3"}}))
    customers.heard("N-1", None, world.services)
    found = customers.shown("N-1", world.services)
    assert found is not None
    assert (found["status"], found["missing_in"]) == ("partial", ["direct", "erp"])
    guest = customers.shown("N-3", world.services)
    assert guest is not None
    assert (guest["default_of"], guest["missing_in"]) == (["shop"], ["direct"])


def test_what_only_the_erp_knows_is_missing_everywhere_else_and_what_nobody_knows_is_not_there() -> None:
    world = World()
    assert customers.shown("C99999", world.services) is None
    customers.heard("C99999", None, world.services)
    assert customers.shown("C99999", world.services) is None
    customers.heard("C99999", CreditStanding(account="C99999", balance=usd(0)), world.services)
    found = customers.shown("C99999", world.services)
    assert found is not None
    assert found["missing_in"] == sorted(world.spec.cross_references.customers)
