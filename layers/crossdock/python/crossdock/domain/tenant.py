"""What is configured per tenant? One validated document, layered base < partner < tenant < deployment overlay."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from crossdock.domain.errors import NeedsPerson
from crossdock.domain.identifiers import ConnectionName, CurrencyCode, LocationCode, Sku, UnitCode
from crossdock.domain.manifest import RateLimit, Role
from crossdock.domain.model import ExactDecimal, Model, Name, Text
from crossdock.domain.product import UnitConversion
from crossdock.domain.return_ import Disposition
from crossdock.domain.stock import ChannelStock

Percent = Annotated[Decimal, Field(ge=0, le=100)]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{1,39}$")]


class Branding(Model):
    """What the tenant's people see: the partner's brand, never a vendor's."""

    product_name: Name
    colour: Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")] = "#1f4e79"
    logo_url: Text = ""
    support_email: Text
    domain: Text = ""
    mail_sender: Text = ""


class Connection(Model):
    """A tenant's configured use of a connector."""

    connector: Slug
    role: Role
    base_url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+[^/\s]$")]
    settings: dict[str, str] = Field(default_factory=dict)
    rate_limit: RateLimit | None = None
    """Stricter than the manifest's when this connection shares its budget with others."""
    poll_seconds: Annotated[int, Field(ge=1)] | None = None
    """Overrides the manifest's rhythm while something is awaited."""


class Location(Model):
    """A place that ships. ``codes`` are its names in each system."""

    title: Name
    connection: ConnectionName
    """Who works it: gets the release, reports acknowledgement and shipment."""
    stock_from: ConnectionName
    """Whose count of the shelf is believed (system of record for its stock)."""
    codes: dict[ConnectionName, str] = Field(default_factory=dict)
    region: Text = ""
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] = "US"
    safety_stock: dict[Sku, ExactDecimal] = Field(default_factory=dict)
    default_safety_stock: ExactDecimal = Decimal(0)
    routing_safety_stock: dict[Sku, Annotated[ExactDecimal, Field(ge=0)]] = Field(default_factory=dict)
    default_routing_safety_stock: Annotated[ExactDecimal, Field(ge=0)] | None = None
    """What routing leaves there, apart from what sales channels are not shown (``safety_stock``); the same where it is not set."""
    daily_orders: Annotated[int, Field(ge=1)] | None = None
    """So many parts it takes on one day (UTC); full, it is passed over until the next. A part that is called off keeps its place."""
    transit_days: dict[str, Annotated[int, Field(ge=0, le=60)]] = Field(default_factory=dict)
    """Days from here by region (``US-TX``) or country: what *nearest* means. A place that is not named is the farthest."""

    def routing_safety(self, sku: str) -> Decimal | None:
        """None: the safety stock itself."""
        return self.routing_safety_stock.get(sku, self.default_routing_safety_stock)

    def transit(self, country: str, region: str) -> int | None:
        return self.transit_days.get(f"{country}-{region}", self.transit_days.get(country))


class Article(Model):
    """A SKU with its units and its names elsewhere."""

    title: Text = ""
    base_unit: UnitCode = "EA"
    units: tuple[UnitConversion, ...] = ()
    codes: dict[ConnectionName, str] = Field(default_factory=dict)
    """Where a system calls it otherwise; systems in ``sku_same_in`` need no entry."""
    components: dict[Sku, Annotated[ExactDecimal, Field(gt=0)]] = Field(default_factory=dict)
    """A bundle: base units of each component in one of it. It has no stock of its own."""


class CrossReferences(Model):
    """Names of the same thing in different systems. A value without entry is an exception ``MISSING_XREF``, never a guess."""

    sku_same_in: tuple[ConnectionName, ...] = ()
    """Connections that use our SKUs as they are."""
    units: dict[ConnectionName, dict[str, UnitCode]] = Field(default_factory=dict)
    """Connection, its unit code, ours."""
    customers: dict[ConnectionName, dict[str, str]] = Field(default_factory=dict)
    """Connection, its id of the customer (id, company or e-mail), our account number."""
    default_accounts: dict[ConnectionName, str] = Field(default_factory=dict)
    """The account for buyers a connection does not identify further (web shop guests), where the tenant allows it."""
    statuses: dict[ConnectionName, dict[str, str]] = Field(default_factory=dict)


class RoutingRule(Model):
    """For ship-to regions and countries (empty: all), the locations in the order they are tried."""

    countries: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    locations: tuple[LocationCode, ...] = Field(min_length=1)
    sort: Literal["listed", "nearest", "balance"] = "listed"
    """``nearest``: by the days from each location to the ship-to; ``balance``: whoever has least of its day's parts first. The order given decides between equals."""
    split: bool | None = None
    """Whether this rule may split an order; what ``routing.split`` says unless set."""
    otherwise: Literal["hold", "next"] = "hold"
    """When it cannot fill an order: that is it, or the next rule that fits the ship-to is tried."""


class RefusalRule(Model):
    """What follows when a warehouse gives a part up. ``reasons``: words in what it says, without case; none: whatever it says."""

    reasons: tuple[str, ...] = ()
    reroute: bool = True
    """To the next location of the routing rules that has all of the part; where there is none a person is asked."""
    stock: Literal["keep", "take_off", "none_left"] = "keep"
    """Of the pieces it could not ship, where it counts them itself: they are there all the same; they are not there; none of the SKU is there any more, until it counts again."""

    def fits(self, reason: str) -> bool:
        return not self.reasons or any(word.lower() in reason.lower() for word in self.reasons)


class Routing(Model):
    rules: tuple[RoutingRule, ...] = Field(min_length=1)
    split: bool = True
    max_parts: Annotated[int, Field(ge=1, le=10)] = 3
    minimum_part_value: ExactDecimal = Decimal(0)
    """In the order's currency: no part below it, neither the split-off nor the rest."""
    backorder: Literal["hold", "wait"] = "hold"
    """What happens when not all can be reserved: a person decides, or the order is tried again by itself every
    ``backorder_retry_minutes`` (the hold stays visible meanwhile)."""
    backorder_retry_minutes: Annotated[int, Field(ge=1)] = 15
    on_refusal: tuple[RefusalRule, ...] = ()
    """The first that fits the reason; without one a person is asked."""
    backorder_cancel_days: Annotated[int, Field(ge=1, le=365)] | None = None
    """An order that still cannot be filled so long after it was accepted is called off by itself; None: a person decides."""


class Inventory(Model):
    """How stock is counted, published to the sales channels, and watched."""

    publish: Literal["event", "schedule", "off"] = "event"
    """``event``: a change is published when it has come to rest for ``gather_seconds``; ``schedule``: all that differ, every
    ``schedule_minutes``. Both end in the same state. Never to the storefront whose own count a location believes."""
    gather_seconds: Annotated[int, Field(ge=1, le=300)] = 5
    schedule_minutes: Annotated[int, Field(ge=1, le=1440)] = 15
    count_minutes: dict[ConnectionName, Annotated[int, Field(ge=1, le=1440)]] = Field(default_factory=dict)
    """How often a connection is asked for all it holds; 360 unless set."""
    channels: dict[ConnectionName, ChannelStock] = Field(default_factory=dict)
    low_stock: dict[Sku, ExactDecimal] = Field(default_factory=dict)
    """Fewer to be promised than this over all locations: an exception, once until there are enough again."""
    default_low_stock: ExactDecimal | None = None
    stale_hours: Annotated[int, Field(ge=1)] = 24
    """A connection that has not counted for so long: an exception, once until it counts again."""

    reconcile_hours: Annotated[int, Field(ge=1, le=168)] | None = 24
    """How often all systems are compared; None: only on demand."""

    def channel(self, connection: str) -> ChannelStock:
        return self.channels.get(connection, ChannelStock())

    def low(self, sku: str) -> Decimal | None:
        return self.low_stock.get(sku, self.default_low_stock)


class PricePolicy(Model):
    """How prices reach the sales channels, and which changes of price or terms wait for another person."""

    publish: Literal["event", "schedule", "off"] = "event"
    """``event``: a change is published at once; ``schedule``: all that differ, every ``schedule_minutes``. Both end in the same state."""
    schedule_minutes: Annotated[int, Field(ge=1, le=1440)] = 60
    approve_above_percent: Percent = Decimal(10)
    """A price that changes by more than this waits for a person who is not the one that changed it."""
    approve_terms_above_percent: Percent = Decimal(10)
    """A credit limit that changes by more than this waits likewise, and so does any change of payment terms or tax liability."""


class Tolerance(Model):
    """A difference is tolerated while it is within the percentage or the amount, whichever is larger."""

    percent: Percent = Decimal(0)
    amount: ExactDecimal = Decimal(0)


class TaxPolicy(Model):
    """What the ERP will compute, to compare with what the storefront charged. Percent by region code (``US-IL``), then country."""

    rates: dict[str, Percent] = Field(default_factory=dict)
    freight_taxed: bool = False
    tolerance: Tolerance = Tolerance(amount=Decimal("0.05"))


class FreightPolicy(Model):
    """Flat freight by shipping method; a method that is not listed is not checked unless ``closed``."""

    charges: dict[str, ExactDecimal] = Field(default_factory=dict)
    free_from: ExactDecimal | None = None
    closed: bool = False
    tolerance: Tolerance = Tolerance(amount=Decimal("0.05"))


class HoldKind(StrEnum):
    CREDIT = "credit"
    PRICE = "price"
    TAX = "tax"
    FREIGHT = "freight"
    CUSTOMER = "customer"
    SKU = "sku"
    UNIT = "unit"
    WAREHOUSE = "warehouse"
    ADDRESS = "address"
    ERP_TOTAL = "erp_total"
    CHECKS = "checks"
    """The checks themselves could not be run."""
    RETURN = "return"
    """A return that the policy does not authorise by itself, or whose credit memo has another total."""
    PRICE_CHANGE = "price_change"
    """A price that its owner has changed by more than the tenant lets pass without another person."""
    TERMS_CHANGE = "terms_change"
    """The same of an account's terms."""


class HoldPolicy(Model):
    """Who decides, until when, and what happens when nobody did."""

    deadline_minutes: Annotated[int, Field(ge=1, le=60 * 24 * 30)] = 2880
    owner: Name = "operations"
    on_expiry: Literal["cancel", "escalate"] = "escalate"
    """``escalate``: the hold stays, its exception goes to the next level; ``cancel``: the order is called off."""


class ServiceLevel(Model):
    """Deadlines an order arms when it is accepted."""

    tier: Name = "standard"
    acknowledge_minutes: Annotated[int, Field(ge=1)] = 60
    ship_hours: Annotated[int, Field(ge=1)] = 48
    post_minutes: Annotated[int, Field(ge=1)] = 60
    accept_seconds: Annotated[int, Field(ge=1)] = 60
    """An accepted order without reservation, hold or exception after so long is an exception."""


class Returns(Model):
    """Which returns are authorised without a person, where the goods go, and what is given back for them."""

    window_days: Annotated[int, Field(ge=0)] = 30
    """Since the goods left; a later request is for a person."""
    authorise_up_to: ExactDecimal = Decimal(250)
    """In the order's currency, tax included; a return worth more is for a person."""
    reasons_for_a_person: tuple[str, ...] = ()
    """Words in a line's reason (without case) that a person is to look at."""
    arrive_within_days: Annotated[int, Field(ge=1)] = 21
    """Since the authorisation. After that what came is settled; a return of which nothing came expires."""
    location: LocationCode | None = None
    """Where returned goods go; where they left from unless set."""
    refund_percent: dict[Disposition, Percent] = Field(default_factory=dict)
    """Of what was paid for the goods, by what became of them; 100 unless set (85 for ``restock`` is a fee of 15 %)."""

    def percent(self, disposition: Disposition) -> Decimal:
        return self.refund_percent.get(disposition, Decimal(100))


class ExceptionRoute(Model):
    owner: Name
    deadline_minutes: Annotated[int, Field(ge=1)] = 240
    escalate_to: Name = "partner_support"


class Limits(Model):
    requests_per_second: Annotated[int, Field(ge=1)] = 50
    burst: Annotated[int, Field(ge=1)] = 100
    monthly_api_requests: Annotated[int, Field(ge=1)] = 1_000_000
    webhook_bytes: Annotated[int, Field(ge=1024)] = 1_048_576
    concurrent_workers: Annotated[int, Field(ge=2, le=1000)] = 5


class TenantSpec(Model):
    """The whole resolved configuration of one tenant."""

    tenant: Slug
    partner: Slug
    title: Name
    currency: CurrencyCode = "USD"
    branding: Branding
    connections: dict[ConnectionName, Connection] = Field(min_length=1)
    locations: dict[LocationCode, Location] = Field(min_length=1)
    articles: dict[Sku, Article] = Field(default_factory=dict)
    cross_references: CrossReferences = CrossReferences()
    systems_of_record: dict[Literal["orders", "customers", "prices", "contract_prices", "products", "invoices", "stock", "shipments"], str]
    """Field domain to the connection that owns it, the ERP where it is not named; ``locations`` for stock and shipments means each location's own.
    ``contract_prices``: prices of one account, from a quantity or for a time; the owner of ``prices`` unless named."""
    routing: Routing
    inventory: Inventory = Inventory()
    prices: PricePolicy = PricePolicy()
    price_tolerance: Tolerance = Tolerance()
    tax: TaxPolicy = TaxPolicy()
    freight: FreightPolicy = FreightPolicy()
    erp_total_tolerance: Tolerance = Tolerance(amount=Decimal("0.05"))
    holds: dict[HoldKind, HoldPolicy] = Field(default_factory=dict)
    service_level: ServiceLevel = ServiceLevel()
    returns: Returns = Returns()
    exceptions: dict[str, ExceptionRoute]
    """Exception class (or ``default``) to its owner (requirement 15: none unowned)."""
    limits: Limits = Limits()
    api_clients: tuple[Slug, ...] = ("portal",)
    retention_days: Annotated[int, Field(ge=90)] = 2555

    @model_validator(mode="after")
    def _references_exist(self) -> TenantSpec:
        def known(connection: str, where: str) -> None:
            if connection not in self.connections:
                raise ValueError(f"{where} names the connection {connection!r}, which is not among: {', '.join(self.connections)}")

        roles = [connection.role for connection in self.connections.values()]
        if roles.count(Role.ERP) != 1:
            raise ValueError("connections: exactly one connection must have the role erp")
        for code, location in self.locations.items():
            known(location.connection, f"locations.{code}.connection")
            known(location.stock_from, f"locations.{code}.stock_from")
            for connection in location.codes:
                known(connection, f"locations.{code}.codes")
            for needed in (location.connection, location.stock_from, self.erp):
                if needed not in location.codes:
                    raise ValueError(f"locations.{code}.codes needs the name of the location in {needed!r}")
        for index, rule in enumerate(self.routing.rules):
            for code in rule.locations:
                if code not in self.locations:
                    raise ValueError(f"routing.rules.{index}.locations names {code!r}, which is not among: {', '.join(self.locations)}")
        if self.returns.location is not None and self.returns.location not in self.locations:
            raise ValueError(f"returns.location names {self.returns.location!r}, which is not among: {', '.join(self.locations)}")
        if "default" not in self.exceptions:
            raise ValueError("exceptions needs a 'default' route: no exception may be without an owner")
        for domain, owner in self.systems_of_record.items():
            if owner != "locations":
                known(owner, f"systems_of_record.{domain}")
        for sku, article in self.articles.items():
            for connection in article.codes:
                known(connection, f"articles.{sku}.codes")
            for component in article.components:
                if component not in self.articles or self.articles[component].components:
                    raise ValueError(f"articles.{sku}.components names {component!r}, which is no article with stock of its own")
        for connection in (*self.inventory.channels, *self.inventory.count_minutes):
            known(connection, "inventory")
        return self

    @property
    def erp(self) -> str:
        return next(name for name, connection in self.connections.items() if connection.role is Role.ERP)

    @property
    def counts_parts(self) -> bool:
        """Whether it must be known how many parts a location has been given on a day."""
        return any(location.daily_orders is not None for location in self.locations.values()) or any(rule.sort == "balance" for rule in self.routing.rules)

    def owner(self, *domains: Literal["customers", "prices", "contract_prices", "products"]) -> str:
        """The connection whose word holds: of the first of these domains that has a system of record, else the ERP."""
        return next((self.systems_of_record[domain] for domain in domains if domain in self.systems_of_record), self.erp)

    def hold_policy(self, kind: HoldKind) -> HoldPolicy:
        return self.holds.get(kind, HoldPolicy())

    def route(self, code: str) -> ExceptionRoute:
        return self.exceptions.get(code, self.exceptions["default"])

    def secret_template(self) -> dict[str, Any]:
        """The empty shape of the tenant's one secret: each connection's credential fields are named in its manifest."""
        return {name: {} for name in self.connections}


class CrossReference:
    """Look-ups both ways over a tenant's tables; a miss raises ``MISSING_XREF`` with where to add the entry."""

    def __init__(self, spec: TenantSpec) -> None:
        self._spec = spec
        self._skus: dict[str, dict[str, str]] = {}
        self._locations: dict[str, dict[str, str]] = {}

    def _missing(self, kind: str, connection: str, value: str, where: str) -> NeedsPerson:
        return NeedsPerson(
            "MISSING_XREF",
            f"{kind} {value!r} of {connection} has no entry in tenants/{self._spec.tenant}.yaml",
            remedy=f"add it under {where} and deploy, or correct it with `crossdock exceptions edit`; then retry",
        )

    def our_sku(self, connection: str, code: str) -> str:
        table = self._skus.get(connection)
        if table is None:
            same = connection in self._spec.cross_references.sku_same_in
            table = {}
            for sku, article in self._spec.articles.items():
                name = article.codes.get(connection, sku if same else None)
                if name is not None:
                    table[name] = sku
            self._skus[connection] = table
        if code not in table:
            raise self._missing("SKU", connection, code, "articles")
        return table[code]

    def their_sku(self, connection: str, sku: str) -> str:
        article = self._spec.articles.get(sku)
        if article is not None:
            if connection in article.codes:
                return article.codes[connection]
            if connection in self._spec.cross_references.sku_same_in:
                return sku
        raise self._missing("our SKU", connection, sku, f"articles.{sku}.codes.{connection}")

    def article(self, sku: str) -> Article:
        if sku not in self._spec.articles:
            raise self._missing("our SKU", "us", sku, "articles")
        return self._spec.articles[sku]

    def conversion(self, sku: str, unit: str) -> tuple[int, int]:
        """(numerator, denominator): so many base units make one ``unit`` of this SKU."""
        for conversion in self.article(sku).units:
            if conversion.unit == unit:
                return conversion.numerator, conversion.denominator
        raise self._missing("unit", f"SKU {sku}", unit, f"articles.{sku}.units")

    def our_unit(self, connection: str, code: str) -> str:
        table = self._spec.cross_references.units.get(connection, {})
        if code not in table:
            raise self._missing("unit", connection, code, f"cross_references.units.{connection}")
        return table[code]

    def their_unit(self, connection: str, unit: str) -> str:
        for theirs, ours in self._spec.cross_references.units.get(connection, {}).items():
            if ours == unit:
                return theirs
        raise self._missing("our unit", connection, unit, f"cross_references.units.{connection}")

    def our_location(self, connection: str, code: str) -> str:
        table = self._locations.setdefault(connection, {location.codes[connection]: name for name, location in self._spec.locations.items() if connection in location.codes})
        if code not in table:
            raise self._missing("location", connection, code, "locations")
        return table[code]

    def their_location(self, connection: str, location: str) -> str:
        codes = self._spec.locations[location].codes
        if connection not in codes:
            raise self._missing("our location", connection, location, f"locations.{location}.codes.{connection}")
        return codes[connection]

    def account(self, connection: str, external_ids: tuple[str, ...]) -> str:
        table = self._spec.cross_references.customers.get(connection, {})
        for candidate in external_ids:
            if candidate in table:
                return table[candidate]
        if connection in self._spec.cross_references.default_accounts:
            return self._spec.cross_references.default_accounts[connection]
        raise self._missing("customer", connection, " / ".join(external_ids) or "(none given)", f"cross_references.customers.{connection}")
