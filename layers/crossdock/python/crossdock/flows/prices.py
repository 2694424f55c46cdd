"""The owner of prices has spoken: what counts, who must let it pass first, and what are the sales channels told?"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from crossdock.domain.catalog import CatalogRecord, ShownPrice
from crossdock.domain.commands import SetPrice
from crossdock.domain.errors import Cause, CrossdockError, NeedsPerson, Rejected, RetryLater
from crossdock.domain.events import Event, PriceChanged, ProductChanged, fingerprint
from crossdock.domain.exception_record import HoldDetails, exception_id
from crossdock.domain.governed import Governed, Told
from crossdock.domain.messages import OutboundMessage
from crossdock.domain.model import rfc3339
from crossdock.domain.money import Money
from crossdock.domain.price import Price, differs_by_more_than, effective
from crossdock.domain.product import Product
from crossdock.domain.quantity import Quantity
from crossdock.domain.stage import QueueName
from crossdock.domain.tenant import HoldKind
from crossdock.flows import circuit, raise_exception
from crossdock.flows.services import Services

SET_PRICE = "SetPrice"
SWEEP_EVERY = timedelta(hours=6)
"""How often all that differ are published where changes are published as they come: what a crash kept from being told is told then."""
AT_ONCE = 40
"""Prices of one message of a sweep; the next message goes on behind the last one."""
MASTER_DATA = ("items", "customers")
"""The polls that bring it."""
BUSY_SECONDS = 60
"""Longer than a price takes to be told: within it nobody else tells the same channel the same SKU's."""


def subject_of(sku: str) -> str:
    """Under which a SKU's prices stand in the audit and in exceptions."""
    return f"catalog#{sku}"


# ------------------------------------------------------------------ what the owner says


def changed(event: Event, fact: PriceChanged, services: Services) -> None:
    """One price of one SKU. Told again, or overtaken by a newer word, it changes nothing."""
    price = fact.price
    owner = owner_of(price, services)
    if event.source != owner:
        _refuse(price.sku, f"the price ({price.about})", owner, event, services)
        return
    if fact.ended:
        price = price.model_copy(update={"valid_until": fact.as_of})
    _hear(Told[Price](value=price, as_of=fact.as_of, source=event.source, requested_by=fact.requested_by or event.source), services)


def _hear(told: Told[Price], services: Services) -> None:
    price, now = told.value, services.clock.now()

    def note(current: CatalogRecord) -> CatalogRecord | None:
        heard = current.prices.get(price.key, Governed[Price]()).heard(told, needs_approval=lambda before, after: _is_large(before, after, services))
        return None if heard is None else _with(current, price.key, heard, now)

    record = services.catalog.change(price.sku, note, now=now)
    governed = record.prices.get(price.key)
    if governed is not None and governed.known_at == told.as_of:  # also when it is told again: the first time may have ended before this
        _follow(record, price.key, governed, services)


def owner_of(price: Price, services: Services) -> str:
    """The connection whose word on this price holds."""
    return services.spec.owner("contract_prices", "prices") if _is_contract(price) else services.spec.owner("prices")


def asked(sku: str, owned: Price | None, services: Services) -> Price | None:
    """The list price that counts, after the ERP has been asked for it (``owned``, in its own names; None: it does not sell the article).
    A word of it that nothing has brought before is heard like any other. None: no price of the SKU is kept here."""
    now = services.clock.now()
    if owned is not None and services.spec.owner("prices") == services.spec.erp:
        price = Price(sku=sku, unit=services.xref.our_unit(services.spec.erp, owned.unit), price=owned.price)
        record = services.catalog.get(sku)
        governed = record.prices.get(price.key) if record else None
        newest = governed and max((told for told in (governed.standing, governed.proposed, governed.refused) if told is not None), key=lambda told: told.as_of, default=None)
        if not newest or newest.value.price != price.price:
            _hear(Told[Price](value=price, as_of=now, source=services.spec.erp, requested_by=services.spec.erp), services)
    record = services.catalog.get(sku)
    return list_price(record, services) if record else None


def is_told(connection: str, price: Price, services: Services) -> bool | None:
    """Whether the channel was told this very price last. None: it is told no prices."""
    if services.spec.prices.publish == "off" or connection not in channels(services):
        return None
    record = services.catalog.get(price.sku)
    shown = record.shown.get(connection) if record else None
    return shown is not None and not shown.stale and shown.price == price.price


def _is_large(before: Price, after: Price, services: Services) -> bool:
    return differs_by_more_than(services.spec.prices.approve_above_percent, before.price, after.price)


def _with(record: CatalogRecord, key: str, governed: Governed[Price], now: datetime) -> CatalogRecord:
    changed = record.model_copy(update={"prices": {**record.prices, key: governed}, "updated_at": now})
    return changed.model_copy(update={"due_at": changed.next_step(now)})


def _refuse(sku: str, what: str, owner: str, event: Event, services: Services) -> None:
    summary = f"{what} is {owner}'s to say, not {event.source}'s"
    raise_exception.write_refused(subject_of(sku), source=event.source, summary=summary, delivery=event.causation_id, services=services)


def _follow(record: CatalogRecord, key: str, governed: Governed[Price], services: Services) -> None:
    """Says what the word of the owner has become: on record, to a person, and to the sales channels."""
    opened = exception_id("PRICE_CHANGE", subject_of(record.sku), key)
    if governed.proposed is not None and governed.standing is not None:
        _note("PriceChangeProposed", governed.proposed, governed.standing.value.price, record, services)
        _ask(record, key, governed.standing, governed.proposed, services)
        return
    raise_exception.close(opened, actor=raise_exception.SYSTEM, note="its owner says otherwise now", services=services)
    if governed.refused is None and governed.standing is not None:
        raise_exception.close(exception_id("PRICE_STALE", subject_of(record.sku), key), actor=raise_exception.SYSTEM, note="what counts is what its owner says", services=services)
        _note("PriceChanged", governed.standing, None, record, services)
        publish_soon(record.sku, services)


def _note(action: str, told: Told[Price], before: Money | None, record: CatalogRecord, services: Services) -> None:
    """Once per word of the owner, and only where the price is another. What counted before is what the newest entry under the same price says came after."""
    details = _details(told)
    entries = [entry for entry in services.audit.entries(subject_of(record.sku)) if entry.details.get("price") == details["price"]]
    counted = [entry for entry in entries if entry.action in _COUNTED]
    if any({**entry.details, **details} == entry.details for entry in (counted if action in _COUNTED else entries) if action in _COUNTED or entry.action == action):
        return
    last = counted[-1].details if counted else {}
    if action in _COUNTED and (last.get("after"), last.get("until")) == (details["after"], details.get("until")):
        return
    details["before"] = before.exact() if before is not None else last.get("after", "")
    services.audit.append(
        subject_of(record.sku),
        actor=told.requested_by,
        action=action,
        summary=f"{record.sku} {told.value.about}: {details['before'] or 'none'} -> {details['after']}",
        details=details,
        at=services.clock.now(),
    )


_COUNTED = frozenset({"PriceChanged", "PriceChangeApproved"})


def _details(told: Told[Price]) -> dict[str, str]:
    found = {"price": told.value.key, "as_of": rfc3339(told.as_of), "after": told.value.price.exact(), "source": told.source, "requested_by": told.requested_by}
    return found if told.value.valid_until is None else {**found, "until": rfc3339(told.value.valid_until)}


def _ask(record: CatalogRecord, key: str, standing: Told[Price], proposed: Told[Price], services: Services) -> None:
    limit = services.spec.prices.approve_above_percent
    seen = {"price": proposed.value.about, "before": standing.value.price.exact(), "after": proposed.value.price.exact(), "asked for by": proposed.requested_by}
    raise_exception.episode(
        "PRICE_CHANGE",
        subject_of(record.sku),
        f"{record.sku} ({proposed.value.about}) is to cost {seen['after']} instead of {seen['before']}: more than {limit:f} % otherwise, asked for by {proposed.requested_by}",
        what=key,
        connection=proposed.source,
        cause=Cause.SOURCE_DATA,
        remedy="another person than the one who asked for it approves or rejects; until then the price before counts",
        hold=HoldDetails(kind=HoldKind.PRICE_CHANGE, fingerprint=fingerprint({"key": key, "as_of": rfc3339(proposed.as_of), **seen}), seen=seen),
        services=services,
    )


def decide(opened: str, subject: str, *, approve: bool, actor: str, note: str, services: Services) -> str:
    """A person lets a proposed price pass, or not. ``Rejected`` for the one who asked for it (four eyes)."""
    sku, now = subject.removeprefix("catalog#"), services.clock.now()
    record = services.catalog.get(sku)
    key = next((key for key in record.prices if exception_id("PRICE_CHANGE", subject, key) == opened), None) if record else None
    if record is None or key is None:
        raise NeedsPerson("PRICE_UNKNOWN", f"nothing is proposed for {sku}", remedy="see `crossdock prices show`")
    proposed, standing = record.prices[key].proposed, record.prices[key].standing
    if proposed is None or standing is None:
        return "it is decided already"
    if proposed.requested_by == actor:
        raise Rejected("FOUR_EYES", f"{actor} has asked for this price", remedy="another person must decide on it")

    def settle(current: CatalogRecord) -> CatalogRecord | None:
        governed = current.prices[key]
        if governed.proposed != proposed:
            return None
        settled = governed.approved(actor) if approve else governed.declined()
        return None if settled is None else _with(current, key, settled, now)

    record = services.catalog.change(sku, settle, now=now)
    details = {**_details(proposed), "before": standing.value.price.exact(), "decided_by": actor}
    summary = f"{sku} {proposed.value.about}: {details['before']} -> {details['after']}; {note}"[:500]
    action = "PriceChangeApproved" if approve else "PriceChangeRefused"
    raise_exception.note_once(subject, actor=actor, action=action, summary=summary, details=details, at=now, services=services)
    if approve:
        raise_exception.close(exception_id("PRICE_STALE", subject, key), actor=actor, note="another change was let pass", services=services)
        publish_soon(sku, services)
        return f"approved: {proposed.value.price.exact()} counts"
    raise_exception.episode(
        "PRICE_STALE",
        subject,
        f"{sku} ({proposed.value.about}) goes on costing {details['before']}; {proposed.source} says {proposed.value.price.exact()}, which {actor} has not let pass: {note}"[:1000],
        what=key,
        connection=proposed.source,
        cause=Cause.SOURCE_DATA,
        remedy=f"take the change back in {proposed.source}, or change it there to what can be approved; its next word closes this",
        services=services,
    )
    return f"rejected: {details['before']} goes on counting, and is marked stale"


def described(event: Event, fact: ProductChanged, services: Services) -> None:
    """What the owner of products says of an item. What the tenant file says otherwise is for a person: quantities rest on it."""
    product, now = fact.product, services.clock.now()
    owner = services.spec.owner("products")
    if event.source != owner:
        _refuse(product.sku, "the product", owner, event, services)
        return
    before: Product | None = None

    def note(current: CatalogRecord) -> CatalogRecord | None:
        nonlocal before
        before = current.product
        if current.product_as_of is not None and fact.as_of <= current.product_as_of:
            return None
        return current.model_copy(update={"product": product, "product_as_of": fact.as_of, "updated_at": now})

    record = services.catalog.change(product.sku, note, now=now)
    if record.product_as_of != fact.as_of:
        return
    if before is None or before != product:
        raise_exception.note_once(
            subject_of(product.sku),
            actor=event.source,
            action="ProductChanged",
            summary=f"{product.description or product.sku}, per {product.base_unit}{', blocked' if product.blocked else ''}",
            details={"as_of": rfc3339(fact.as_of), "before": _said(before), "after": _said(product)},
            at=now,
            services=services,
        )
    _compare(product, owner, services)


def _said(product: Product | None) -> str:
    return "" if product is None else f"{product.description}; {product.base_unit}; {', '.join(product.barcodes)}; {'blocked' if product.blocked else 'sold'}"


def _compare(product: Product, owner: str, services: Services) -> None:
    article = services.spec.articles.get(product.sku)
    differs = []
    if article is not None and article.base_unit != product.base_unit:
        differs.append(f"is counted in {product.base_unit} there and in {article.base_unit} here")
    if product.blocked:
        differs.append("is blocked for sale there")
    if not differs:
        raise_exception.close(exception_id("PRODUCT_DRIFT", subject_of(product.sku)), actor=raise_exception.SYSTEM, note="the two agree", services=services)
        return
    raise_exception.episode(
        "PRODUCT_DRIFT",
        subject_of(product.sku),
        f"{product.sku} of {owner} {' and '.join(differs)}",
        connection=owner,
        cause=Cause.SOURCE_DATA,
        remedy="correct the item, or the article in the tenant file and deploy; what agrees again closes this",
        services=services,
    )


# ------------------------------------------------------------------ what counts


def list_price(record: CatalogRecord, services: Services) -> Price | None:
    """What one of the SKU's base unit costs everybody now, in the tenant's currency."""
    article = services.spec.articles.get(record.sku)
    unit = article.base_unit if article else "EA"
    return effective(record.standing(), account=None, unit=unit, currency=services.spec.currency, quantity=Decimal(1), at=services.clock.now())


def governed_price(asked: Price, *, sku: str, account: str, quantity: Quantity, services: Services) -> Price:
    """What an order is to be checked against, per ordered unit as ``asked`` is: a price of the account's own, a quantity break or a promotion that is
    known here; else what the ERP has been asked for, unless that is a change which somebody must let pass first: then what counted before."""
    record = services.catalog.get(sku)
    found = None if record is None else _known(record, account, asked.price.currency, quantity, services)
    if record is None or found is None:
        return asked
    known, per_unit = found
    counts = known.price if per_unit == 1 else Money(amount=known.price.amount * per_unit.numerator / per_unit.denominator, currency=known.price.currency)
    if _is_contract(known):
        return asked.model_copy(update={"price": counts})
    waits = record.prices[known.key].stale or differs_by_more_than(services.spec.prices.approve_above_percent, counts, asked.price)
    return asked.model_copy(update={"price": counts}) if waits else asked


def _known(record: CatalogRecord, account: str, currency: str, quantity: Quantity, services: Services) -> tuple[Price, Fraction] | None:
    """The price that counts and how many of its units make one ordered unit: in the ordered unit, or else in the base unit."""
    now, base = services.clock.now(), services.xref.article(record.sku).base_unit
    known = effective(record.standing(), account=account, unit=quantity.unit, currency=currency, quantity=quantity.value, at=now)
    if known is not None:
        return known, Fraction(1)
    if quantity.unit == base:
        return None
    per_unit = Fraction(*services.xref.conversion(record.sku, quantity.unit))
    pieces = Fraction(quantity.value) * per_unit
    known = effective(record.standing(), account=account, unit=base, currency=currency, quantity=Decimal(pieces.numerator) / pieces.denominator, at=now)
    return None if known is None else (known, per_unit)


def _is_contract(price: Price) -> bool:
    """Of one account, from a quantity on, or for a time: not the plain list price."""
    return price.account is not None or price.minimum is not None or price.valid_from is not None or price.valid_until is not None


# ------------------------------------------------------------------ what sales channels are told


def channels(services: Services) -> list[str]:
    """The connections that are told prices: never the one that owns them."""
    return [name for name in services.spec.connections if name != services.spec.owner("prices") and SET_PRICE in services.connectors.manifest(name).commands]


def publish_soon(sku: str, services: Services) -> None:
    """Where changes are published as they come."""
    if services.spec.prices.publish == "event":
        for connection in channels(services):
            _send(OutboundMessage(command=SET_PRICE, connection=connection, arguments={"sku": sku}), services)


def _send(message: OutboundMessage, services: Services) -> None:
    services.queues.send(QueueName.OUTBOUND, message.text(), group=message.group)


def publish(message: OutboundMessage, services: Services) -> None:
    """Tells one channel what a SKU costs now. The newest state is what is sent, whenever the message comes; a repeat says the same."""
    sku = message.arguments.get("sku")
    if sku is None:
        _sweep(message, services)
        return
    record = services.catalog.get(sku)
    if record is not None:
        _publish(message.connection, record, services, again=bool(message.arguments.get("again")))


def _publish(connection: str, record: CatalogRecord, services: Services, *, again: bool = False) -> bool:
    """False when the channel has been told this very price already (and is not to be told it again), or there is none."""
    price, now = list_price(record, services), services.clock.now()
    standing = record.shown.get(connection)
    if price is None or (not again and standing is not None and standing.price == price.price and not standing.stale):
        return False
    lock = f"price#{connection}#{record.sku}"
    if not services.cursors.claim(lock, until=now + timedelta(seconds=BUSY_SECONDS), now=now):
        raise RetryLater("BUSY", f"{connection} is being told another price of {record.sku}", after_seconds=BUSY_SECONDS // 4)
    try:
        record = services.catalog.get(record.sku) or record  # as it is now that nobody else speaks
        price = list_price(record, services) or price
        intent = SetPrice(sku=record.sku, storefront_sku=services.xref.their_sku(connection, record.sku), price=price.price, version=record.version)
        connector = services.connectors.connector(connection)
        try:
            circuit.asked(connection, lambda: connector.execute(intent), services)
        except RetryLater:
            raise
        except (Rejected, NeedsPerson) as error:
            _stale(connection, record.sku, error, services)
            raise Rejected(
                "PRICE_REJECTED", f"{connection} did not take {price.price.exact()} for {record.sku}: {error.detail}", remedy=error.remedy, fields=error.fields
            ) from error
        services.catalog.change(record.sku, lambda current: _shown(current, connection, ShownPrice(price=price.price, at=now)), now=now)
        raise_exception.note_once(
            subject_of(record.sku),
            actor=raise_exception.SYSTEM,
            action="PricePublished",
            summary=f"{connection} sells {record.sku} at {price.price.exact()}",
            details={"connection": connection, "price": price.price.exact(), "version": str(record.version)},
            at=now,
            services=services,
        )
    finally:
        services.cursors.release_claim(lock)
    return True


def _shown(current: CatalogRecord, connection: str, shown: ShownPrice) -> CatalogRecord:
    return current.model_copy(update={"shown": {**current.shown, connection: shown}})


def _stale(connection: str, sku: str, error: CrossdockError, services: Services) -> None:
    """The channel goes on showing what it showed: that is marked, and stays so until it takes what counts."""
    now = services.clock.now()

    def mark(current: CatalogRecord) -> CatalogRecord | None:
        standing = current.shown.get(connection, ShownPrice(at=now))
        return None if standing.stale else _shown(current, connection, standing.model_copy(update={"stale": f"{error.code}: {error.detail}"[:500]}))

    services.catalog.change(sku, mark, now=now)


def _sweep(message: OutboundMessage, services: Services) -> None:
    """Every SKU whose price differs from what the channel was told last. One that cannot be told is an exception of its own and keeps no other from it."""
    behind, told = message.arguments.get("behind", ""), 0
    for sku in sorted(services.spec.articles):
        if sku <= behind:
            continue
        if told >= AT_ONCE:
            _send(OutboundMessage(command=SET_PRICE, connection=message.connection, arguments={"behind": behind}), services)
            return
        record = services.catalog.get(sku)
        if record is not None and _differs(message.connection, record, services):
            _send(OutboundMessage(command=SET_PRICE, connection=message.connection, arguments={"sku": sku}), services)
            told += 1
        behind = sku


def _differs(connection: str, record: CatalogRecord, services: Services) -> bool:
    price, shown = list_price(record, services), record.shown.get(connection)
    return price is not None and (shown is None or (not shown.stale and shown.price != price.price))


# ------------------------------------------------------------------ on the clock


def watch(services: Services, now: datetime, *, limit: int) -> int:
    """Prices that have begun or ended, and sweeps that are due; how many messages were sent."""
    due = services.catalog.due(now, limit)
    for sku in due:
        publish_soon(sku, services)
        services.catalog.change(sku, lambda current: current.model_copy(update={"due_at": current.next_step(now)}), now=now)
    policy = services.spec.prices
    if policy.publish == "off":
        return len(due)
    every = timedelta(minutes=policy.schedule_minutes) if policy.publish == "schedule" else SWEEP_EVERY
    swept = [name for name in channels(services) if services.cursors.claim(f"prices#{name}#sweep", until=now + every, now=now)]
    for connection in swept:
        _send(OutboundMessage(command=SET_PRICE, connection=connection), services)
    return len(due) + len(swept)


def sweep_now(services: Services) -> list[str]:
    """Has every channel told what differs, now; which."""
    found = channels(services)
    for connection in found:
        _send(OutboundMessage(command=SET_PRICE, connection=connection), services)
    return found


def ask_owners(services: Services) -> list[str]:
    """Asks the owners of prices, products and accounts what has changed, now; whom for what. One that sends its changes by itself is not asked."""
    spec = services.spec
    owners = {spec.owner("prices"), spec.owner("contract_prices", "prices"), spec.owner("products"), spec.owner("customers")}
    asked = [(name, resource) for name in sorted(owners) for resource in services.connectors.manifest(name).polls if resource in MASTER_DATA]
    for connection, resource in asked:
        _send(OutboundMessage(command="PollConnection", connection=connection, arguments={"resource": resource}), services)
    return [f"{name} {resource}" for name, resource in asked]
