"""Are the records of SKUs and accounts made once, changed by one writer at a time, and found by when something is due?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from crossdock.aws.catalog import DynamoAccounts, DynamoCatalog
from crossdock.aws.table import StateTable
from crossdock.domain.catalog import CatalogRecord
from crossdock.domain.customer import AccountRecord
from crossdock.domain.governed import Governed, Told
from crossdock.domain.money import Money
from crossdock.domain.price import Price
from tests.aws.account import Account, OneAtATime, at_once

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def priced(record: CatalogRecord, amount: int, *, due_at: datetime | None = None) -> CatalogRecord:
    price = Price(sku=record.sku, unit="EA", price=Money.of(amount, "USD"), valid_from=NOW, valid_until=NOW + timedelta(days=1))
    told = Told[Price](value=price, as_of=NOW, source="erp", requested_by="ines")
    return record.model_copy(update={"prices": {price.key: Governed[Price](standing=told)}, "due_at": due_at})


def test_a_record_comes_into_being_with_the_first_thing_that_is_said_of_it_and_comes_back_whole(table: StateTable) -> None:
    catalog = DynamoCatalog(table)
    assert catalog.get("BOLT") is None
    assert catalog.change("BOLT", lambda current: None, now=NOW) == CatalogRecord(sku="BOLT", updated_at=NOW)
    assert catalog.get("BOLT") is None, "nothing was said"

    made = catalog.change("BOLT", lambda current: priced(current, 10), now=NOW)
    assert catalog.get("BOLT") == made
    changed = catalog.change("BOLT", lambda current: priced(current, 11), now=NOW)
    assert changed.version == made.version + 1
    assert catalog.get("BOLT") == changed


def test_of_thirty_who_say_something_at_once_nobody_is_lost(account: Account) -> None:
    catalog = DynamoCatalog(StateTable(OneAtATime(account.clients), "state"))

    def one(number: int) -> CatalogRecord:
        def say(current: CatalogRecord) -> CatalogRecord:
            price = Price(sku="BOLT", unit="EA", price=Money.of(number + 1, "USD"), account=f"C{number}")
            told = Told[Price](value=price, as_of=NOW, source="erp", requested_by="erp")
            return current.model_copy(update={"prices": {**current.prices, price.key: Governed[Price](standing=told)}})

        return catalog.change("BOLT", say, now=NOW)

    at_once(8, one)

    record = catalog.get("BOLT")
    assert record is not None
    assert len(record.prices) == 8


def test_what_begins_or_ends_is_found_when_it_is_due_and_rests_afterwards(table: StateTable) -> None:
    catalog = DynamoCatalog(table)
    catalog.change("LATER", lambda current: priced(current, 1, due_at=NOW + timedelta(hours=2)), now=NOW)
    catalog.change("SOON", lambda current: priced(current, 1, due_at=NOW + timedelta(hours=1)), now=NOW)
    catalog.change("NEVER", lambda current: priced(current, 1), now=NOW)

    assert catalog.due(NOW, 10) == []
    assert catalog.due(NOW + timedelta(hours=3), 10) == ["SOON", "LATER"]
    assert catalog.due(NOW + timedelta(hours=3), 1) == ["SOON"]
    catalog.change("SOON", lambda current: current.model_copy(update={"due_at": None}), now=NOW)
    assert catalog.due(NOW + timedelta(hours=3), 10) == ["LATER"]
    assert sorted(record.sku for record in catalog.every()) == ["LATER", "NEVER", "SOON"]


def test_accounts_are_kept_and_walked(table: StateTable) -> None:
    accounts = DynamoAccounts(table)
    for name in ("C1", "C2"):
        accounts.change(name, lambda current: current.model_copy(update={"blocked": True}), now=NOW)

    assert accounts.get("C1") == AccountRecord(account="C1", updated_at=NOW, blocked=True)
    assert sorted(record.account for record in accounts.every()) == ["C1", "C2"]
