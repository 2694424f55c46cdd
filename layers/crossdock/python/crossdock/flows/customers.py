"""Which system knows an account, under what name and on which terms? A new account is usable everywhere, or it is named where it is missing."""

from __future__ import annotations

import json
from typing import Any

from crossdock.domain.customer import AccountRecord, CreditStanding, Terms
from crossdock.domain.errors import Cause, NeedsPerson, Rejected
from crossdock.domain.events import AccountChanged, Event, fingerprint
from crossdock.domain.exception_record import HoldDetails, exception_id
from crossdock.domain.governed import Told
from crossdock.domain.model import rfc3339
from crossdock.domain.price import differs_by_more_than
from crossdock.domain.tenant import HoldKind
from crossdock.flows import raise_exception
from crossdock.flows.services import Services


def subject_of(account: str) -> str:
    """Under which an account stands in the audit and in exceptions."""
    return f"account#{account}"


def heard(account: str, standing: CreditStanding | None, services: Services) -> None:
    """What the ERP has just said of the account (None: it does not know it), kept for whoever asks without asking the ERP."""
    told = {"standing": standing.as_json() if standing else None, "as_of": rfc3339(services.clock.now())}
    services.cursors.put(f"customer#{account}", json.dumps(told, sort_keys=True))


def shown(account: str, services: Services) -> dict[str, Any] | None:
    """Its names per connection, what the ERP last said of it, and where it is missing. None: no connection and no ERP has ever named it."""
    tables = services.spec.cross_references
    names = {connection: sorted(name for name, ours in table.items() if ours == account) for connection, table in tables.customers.items()}
    default_of = sorted(connection for connection, ours in tables.default_accounts.items() if ours == account)
    kept = services.cursors.get(f"customer#{account}")
    told: dict[str, Any] | None = json.loads(kept) if kept else None
    record = services.accounts.get(account)
    if not default_of and not any(names.values()) and record is None and (told is None or told["standing"] is None):
        return None
    missing = missing_in(account, services)
    if told is not None and told["standing"] is None:
        missing.append(services.spec.erp)
    return {
        "account": account,
        "name": record.name if record else "",
        "known_as": {connection: found for connection, found in names.items() if found},
        "default_of": default_of,
        "erp": told["standing"] if told else None,
        "erp_as_of": told["as_of"] if told else None,
        "terms": _shown_terms(record) if record else None,
        "missing_in": missing,
        "status": "partial" if missing else "usable" if told or record else "not_yet_checked",
    }


def missing_in(account: str, services: Services) -> list[str]:
    """The connections that name customers and have no name for this one."""
    tables = services.spec.cross_references
    return sorted(name for name, table in tables.customers.items() if account not in table.values() and tables.default_accounts.get(name) != account)


def _shown_terms(record: AccountRecord) -> dict[str, Any]:
    terms = record.terms
    return {
        "counts": terms.standing.as_json() if terms.standing else None,
        "waits_for_approval": terms.proposed.as_json() if terms.proposed else None,
        "refused": terms.refused.as_json() if terms.refused else None,
        "blocked": record.blocked,
    }


# ------------------------------------------------------------------ what the owner says


def changed(event: Event, fact: AccountChanged, services: Services) -> None:
    """The owner's word on an account. A block counts at once; terms that change by more than the tenant lets pass wait for another person."""
    told, now = fact.account, services.clock.now()
    owner, subject = services.spec.owner("customers"), subject_of(told.account)
    if event.source != owner:
        summary = f"the account is {owner}'s to describe, not {event.source}'s"
        raise_exception.write_refused(subject, source=event.source, summary=summary, delivery=event.causation_id, services=services)
        return
    word = Told[Terms](value=told.terms, as_of=fact.as_of, source=event.source, requested_by=fact.requested_by or event.source)

    def note(current: AccountRecord) -> AccountRecord | None:
        heard = current.terms.heard(word, needs_approval=lambda before, after: needs_approval(before, after, services))
        return None if heard is None else current.model_copy(update={"terms": heard, "name": told.name, "blocked": told.blocked, "updated_at": now})

    before = services.accounts.get(told.account)
    record = services.accounts.change(told.account, note, now=now)
    if record.terms.known_at != fact.as_of:
        return  # overtaken by a newer word
    if before is not None and before.blocked != record.blocked:
        raise_exception.note_once(
            subject,
            actor=word.requested_by,
            action="AccountBlocked" if record.blocked else "AccountUnblocked",
            summary=f"{told.account} {told.name}",
            details={"as_of": rfc3339(fact.as_of)},
            at=now,
            services=services,
        )
    _follow(record, services)


def needs_approval(before: Terms, after: Terms, services: Services) -> bool:
    if before.payment != after.payment or before.tax_liable != after.tax_liable:
        return True
    if before.credit_limit is None or after.credit_limit is None:
        return before.credit_limit != after.credit_limit
    return differs_by_more_than(services.spec.prices.approve_terms_above_percent, before.credit_limit, after.credit_limit)


def _said(terms: Terms) -> str:
    tax = {None: "", True: ", taxed", False: ", tax exempt"}[terms.tax_liable]
    return f"limit {terms.credit_limit.exact() if terms.credit_limit else 'none'}{f', {terms.payment}' if terms.payment else ''}{tax}"


def _details(told: Told[Terms]) -> dict[str, str]:
    return {"as_of": rfc3339(told.as_of), "after": _said(told.value), "source": told.source, "requested_by": told.requested_by}


_COUNTED = frozenset({"TermsChanged", "TermsChangeApproved"})


def _follow(record: AccountRecord, services: Services) -> None:
    terms, subject, now = record.terms, subject_of(record.account), services.clock.now()
    counted = [entry for entry in services.audit.entries(subject) if entry.action in _COUNTED]
    last = counted[-1].details["after"] if counted else ""
    if terms.proposed is not None and terms.standing is not None:
        proposed = _details(terms.proposed)
        raise_exception.note_once(
            subject,
            actor=terms.proposed.requested_by,
            action="TermsChangeProposed",
            summary=f"{record.account}: {_said(terms.standing.value)} -> {proposed['after']}",
            details={**proposed, "before": _said(terms.standing.value)},
            at=now,
            services=services,
        )
        seen = {"before": _said(terms.standing.value), "after": proposed["after"], "asked for by": terms.proposed.requested_by}
        raise_exception.episode(
            "TERMS_CHANGE",
            subject,
            f"{record.account} {record.name} is to buy on {seen['after']} instead of {seen['before']}, asked for by {seen['asked for by']}",
            connection=terms.proposed.source,
            cause=Cause.SOURCE_DATA,
            remedy="another person than the one who asked for it approves or rejects; until then the terms before count",
            hold=HoldDetails(kind=HoldKind.TERMS_CHANGE, fingerprint=fingerprint({"as_of": proposed["as_of"], **seen}), seen=seen),
            services=services,
        )
        return
    raise_exception.close(exception_id("TERMS_CHANGE", subject), actor=raise_exception.SYSTEM, note="its owner says otherwise now", services=services)
    if terms.refused is None and terms.standing is not None:
        raise_exception.close(exception_id("TERMS_STALE", subject), actor=raise_exception.SYSTEM, note="what counts is what its owner says", services=services)
        details = _details(terms.standing)
        if last != details["after"]:
            summary = f"{record.account}: {last or 'none'} -> {details['after']}"
            services.audit.append(subject, actor=terms.standing.requested_by, action="TermsChanged", summary=summary, details={**details, "before": last}, at=now)


def decide(subject: str, *, approve: bool, actor: str, note: str, services: Services) -> str:
    """A person lets proposed terms pass, or not. ``Rejected`` for the one who asked for them (four eyes)."""
    account, now = subject.removeprefix("account#"), services.clock.now()
    record = services.accounts.get(account)
    if record is None:
        raise NeedsPerson("ACCOUNT_UNKNOWN", f"nothing is proposed for {account}", remedy="see GET /v1/customers/{id}")
    proposed, standing = record.terms.proposed, record.terms.standing
    if proposed is None or standing is None:
        return "it is decided already"
    if proposed.requested_by == actor:
        raise Rejected("FOUR_EYES", f"{actor} has asked for these terms", remedy="another person must decide on them")

    def settle(current: AccountRecord) -> AccountRecord | None:
        settled = None if current.terms.proposed != proposed else current.terms.approved(actor) if approve else current.terms.declined()
        return None if settled is None else current.model_copy(update={"terms": settled, "updated_at": now})

    services.accounts.change(account, settle, now=now)
    details = {**_details(proposed), "before": _said(standing.value), "decided_by": actor}
    summary = f"{account}: {details['before']} -> {details['after']}; {note}"[:500]
    raise_exception.note_once(subject, actor=actor, action="TermsChangeApproved" if approve else "TermsChangeRefused", summary=summary, details=details, at=now, services=services)
    if approve:
        raise_exception.close(exception_id("TERMS_STALE", subject), actor=actor, note="another change was let pass", services=services)
        return f"approved: {details['after']} counts"
    raise_exception.episode(
        "TERMS_STALE",
        subject,
        f"{account} goes on buying on {details['before']}; {proposed.source} says {details['after']}, which {actor} has not let pass: {note}"[:1000],
        connection=proposed.source,
        cause=Cause.SOURCE_DATA,
        remedy=f"take the change back in {proposed.source}; its next word closes this",
        services=services,
    )
    return f"rejected: {details['before']} goes on counting, and is marked stale"


def governed_standing(asked: CreditStanding | None, services: Services) -> CreditStanding | None:
    """What an order is to be checked against: what the ERP says, but with the limit that counted before while another one waits for approval (or was refused)."""
    if asked is None:
        return None
    record = services.accounts.get(asked.account)
    standing = record.terms.standing if record else None
    if record is None or standing is None or standing.value.credit_limit == asked.limit:
        return asked
    after = standing.value.model_copy(update={"credit_limit": asked.limit})
    return asked.model_copy(update={"limit": standing.value.credit_limit}) if record.terms.stale or needs_approval(standing.value, after, services) else asked
