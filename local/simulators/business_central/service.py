"""Which request means what? The HTTP face of API v2.0: sign-in, paths, methods, concurrency tokens, paging."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from local.simulators.business_central import payload, refusals
from local.simulators.business_central.books import Books, Record, etag, rendered
from local.simulators.business_central.contract import ENTITIES, PARENT_OF_LINES, Entity
from local.simulators.business_central.documents import KINDS, KINDS_BY_LINES, ORDER, Documents, Kind
from local.simulators.business_central.master_writes import MasterWrites
from local.simulators.business_central.masters import Masters
from local.simulators.business_central.notifications import NOTIFY, Notifications
from local.simulators.business_central.odata import Query, in_order, parse_query
from local.simulators.business_central.payload import GUID
from local.simulators.business_central.posting import Posting
from local.simulators.business_central.sign_in import SignIn
from local.simulators.business_central.staff import POST_SHIPMENT, Staff
from local.simulators.server import ActionRefused, Answer, Call, Config, Context, Refusal, Simulator

_TOKEN_PATH = re.compile(r"/(?P<tenant>[^/]+)/oauth2/v2\.0/token")
_API_PATH = re.compile(r"/v2\.0/(?:(?P<tenant>[^/]+)/)?(?P<environment>[^/]+)/api/v2\.0/(?P<rest>.*)")
_SEGMENT = re.compile(r"(?P<name>[\w$.]+)(?:\((?P<key>[^()]*)\))?")
_PAGE_PREFERENCE = re.compile(r"odata\.maxpagesize=(\d+)")


class BusinessCentral(Simulator):
    """One company of one environment."""

    autopilot_defaults: ClassVar[Mapping[str, Any]] = {
        "enabled": True,
        "ship_after_s": 0.8,
        "notification_delay_s": 0.2,
        "tracking": True,
    }
    # Several retries over 36 hours; the vendor does not publish the steps.
    webhook_retry_seconds: ClassVar[tuple[float, ...]] = (60, 300, 1800, 7200, 28800, 86400)

    def __init__(self, config: Config, ctx: Context) -> None:
        super().__init__(config, ctx)
        missing = [name for name in ("aad_tenant", "environment", "company_id", "client_id", "client_secret") if not config.credentials.get(name)]
        if missing:
            raise ValueError(f"business_central credentials lack {', '.join(missing)}")
        self._company_id = str(config.credentials["company_id"]).lower()
        self.notifications = Notifications(ctx, self._company_id)
        self._books = Books(ctx.store, ctx.clock, self.notifications.gather)
        self._masters = Masters(ctx.store, self._books)
        self._documents = Documents(self._books, self._masters)
        self._posting = Posting(self._books, self._masters, self._documents)
        self._staff = Staff(ctx, self._books, self._masters, self._documents, self._posting)
        self._master_writes = MasterWrites(self._books, self._masters, self._posting)
        self._sign_in = SignIn(ctx.store, ctx.clock, config.credentials)
        staff = self._staff
        self.actions = {
            name: self._as_work(action)
            for name, action in {
                "post_shipment": staff.post_shipment,
                "adjust_inventory": staff.adjust_inventory,
                "set_credit_limit": staff.set_credit_limit,
                "block_customer": staff.block_customer,
                "set_price": staff.set_price,
                "set_item_blocked": staff.set_item_blocked,
                "delete_order": staff.delete_order,
                "pay_invoice": staff.pay_invoice,
                "expire_tokens": lambda _: {"expired": self._sign_in.revoke_all()},
            }.items()
        }

    # -- the skeleton's side
    def seed(self, seed: dict[str, Any]) -> None:
        self._books.reload()
        with self._books.work():
            self._masters.seed(seed, self._company_id)
        for resource in (gathered := self.ctx.store.collection("_gathered")).keys():  # noqa: SIM118
            gathered.delete(resource)  # nobody is told about data that was always there

    def error(self, status: int, detail: str) -> Answer:
        code, message = refusals.BY_INJECTED_STATUS.get(status, ("Unknown", detail))
        headers = {"retry-after": "1"} if status in (429, 503) else {}
        return Answer(status, refusals.Refused(status, code, message).body(), headers)

    def snapshot(self) -> dict[str, Any]:
        kept = {}
        for set_name in ENTITIES:
            records = [_visible(record) for record in self._books.all(set_name)]
            kept[set_name] = records
        for item, record in zip(kept["items"], self._books.all("items"), strict=True):
            item["stock_by_location"] = record.get("_stock", {})
        return {**kept, "beside": self._masters.beside()}

    def operations(self, call: Call) -> list[str]:
        """`salesOrders`, `salesOrders.shipAndInvoice`, `token` ...: what a fault may match."""
        if _TOKEN_PATH.fullmatch(call.path):
            return ["token"]
        found = _API_PATH.fullmatch(call.path)
        names = [part.partition("(")[0] for part in found["rest"].split("/")] if found else []
        names = [name for name in names if name and name != "companies"] or names
        if len(names) > 1 and names[-1].startswith("Microsoft.NAV."):
            return [f"{names[-2]}.{names[-1].removeprefix('Microsoft.NAV.')}"]
        return names[-1:]

    def on_timer(self, action: str, payload: dict[str, Any]) -> None:
        if action == NOTIFY:
            self.notifications.send_gathered(self._books)
        elif action == POST_SHIPMENT:
            with self._books.work():
                self._staff.pick(payload)

    def handle(self, call: Call) -> Answer:
        sign_in = _TOKEN_PATH.fullmatch(call.path)
        if sign_in:
            if call.method != "POST":
                return Answer(405, {"error": "invalid_request"}, record=False)
            return self._sign_in.token(call, sign_in["tenant"], int(self._masters.setup["token_seconds"]))
        try:
            with self._books.work():
                return self._answer(call)
        except refusals.Refused as refused:
            raise Refusal(Answer(refused.status, refused.body())) from refused

    def _as_work(self, action: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
        def run(body: dict[str, Any]) -> Any:
            try:
                with self._books.work():
                    return action(body)
            except refusals.Refused as refused:
                raise ActionRefused(refused.message) from refused

        return run

    # -- the vendor's side
    def _answer(self, call: Call) -> Answer:
        found = _API_PATH.fullmatch(call.path)
        if found is None:
            raise refusals.no_such_segment(call.path.strip("/").split("/")[0])
        credentials = self.config.credentials
        if found["tenant"] not in (None, credentials["aad_tenant"]) or found["environment"].lower() != str(credentials["environment"]).lower():
            raise refusals.Refused(404, "NoEnvironment", "The environment does not exist.")
        if not self._sign_in.knows(call.headers.get("authorization", "")):
            raise refusals.wrong_credentials()
        base = f"http://{call.headers.get('host', 'localhost')}{call.path[: found.start('rest')].rstrip('/')}"
        request = _Request(call, base, found["rest"].strip("/"))
        first, *rest = request.segments
        if first[0] == "subscriptions":
            return self._subscriptions(request, first[1], rest)
        if first[0] != "companies":
            raise refusals.no_such_segment(first[0])
        if first[1] is None:
            return self._list(request, ENTITIES["companies"], list(self._books.all("companies")))
        if _key(first[1]) != self._company_id:
            raise refusals.no_such_company()
        if not rest:
            return self._one(request, ENTITIES["companies"], self._books.get("companies", self._company_id) or {})
        return self._in_company(request, rest)

    def _in_company(self, request: _Request, segments: list[tuple[str, str | None]]) -> Answer:
        (name, key), *rest = segments
        entity = ENTITIES.get(name)
        if entity is None or name in PARENT_OF_LINES or name in ("companies", "subscriptions"):
            raise refusals.no_such_segment(name)
        if key is None:
            if rest:
                raise refusals.no_such_segment(rest[0][0])
            return self._collection(request, entity)
        record = self._books.get(name, _key(key))
        if record is None:
            raise refusals.not_found(entity.table, _key(key))
        if not rest:
            return self._single(request, entity, record)
        (child, child_key), *more = rest
        if more:
            raise refusals.no_such_segment(more[0][0])
        if child.startswith("Microsoft.NAV."):
            return self._act(request, entity, record, child.removeprefix("Microsoft.NAV."))
        if child not in entity.expands.values():
            raise refusals.no_such_segment(child)
        return self._under(request, record, ENTITIES[child], child_key)

    def _collection(self, request: _Request, entity: Entity) -> Answer:
        if request.method == "GET":
            return self._list(request, entity, list(self._books.all(entity.set_name)))
        if request.method != "POST" or not entity.insert:
            raise refusals.method_not_allowed(request.method, entity.set_name)
        body = request.body()
        kind = KINDS.get(entity.set_name)
        if kind is not None:
            record = self._documents.create(kind, body)
            self._tell_staff(kind, record)
            return self._created(request, entity, record)
        return self._created(request, entity, self._master_writes.insert(entity, body))

    def _single(self, request: _Request, entity: Entity, record: Record) -> Answer:
        if request.method == "GET":
            return self._one(request, entity, record)
        self._check_write(request, entity, record)
        kind = KINDS.get(entity.set_name)
        if request.method == "DELETE":
            if kind is not None:
                self._documents.delete(kind, record)
            else:
                self._master_writes.delete(entity, record)
            return Answer(204)
        if kind is not None:
            return self._one(request, entity, self._documents.change(kind, record, request.body()))
        return self._one(request, entity, self._master_writes.change(entity, record, request.body()))

    def _under(self, request: _Request, parent: Record, entity: Entity, key: str | None) -> Answer:
        """Lines of a document, variants of an item."""
        kind = KINDS_BY_LINES.get(entity.set_name)
        if key is None:
            if request.method == "GET":
                return self._list(request, entity, self._children(entity, parent))
            if request.method != "POST" or not entity.insert:
                raise refusals.method_not_allowed(request.method, entity.set_name)
            if kind is None:
                record = self._master_writes.insert(entity, {"itemId": parent["id"], **request.body()})
            else:
                record = self._documents.add_line(kind, parent, request.body())
                self._tell_staff(kind, parent)
            return self._created(request, entity, record)
        held = self._books.get(entity.set_name, _key(key))
        if held is None or held.get("documentId", held.get("itemId")) != parent["id"]:
            raise refusals.not_found(entity.table, _key(key))
        if kind is None or request.method == "GET":
            return self._single(request, entity, held)
        self._check_write(request, entity, held)
        if request.method == "DELETE":
            self._documents.delete_line(kind, parent, held)
            return Answer(204)
        line = self._documents.change_line(kind, parent, held, request.body())
        self._tell_staff(kind, parent)
        return self._one(request, entity, line)

    def _act(self, request: _Request, entity: Entity, record: Record, action: str) -> Answer:
        if action not in entity.actions:
            raise refusals.Refused(400, "BadRequest_MethodNotImplemented", f"Entity does not support the bound action '{action}'.")
        if request.method != "POST":
            raise refusals.method_not_allowed(request.method, entity.set_name)
        if request.call.body.strip() not in (b"", b"{}"):
            raise refusals.bad_request("Invalid Request Body")
        token = request.call.headers.get("if-match")
        if token not in (None, "*", etag(record)):
            raise refusals.entity_changed()
        if entity.set_name == ORDER.headers:
            self._posting.ship_and_invoice(record)
        else:
            self._posting.post_draft(KINDS[entity.set_name], record)
        return Answer(204)

    def _subscriptions(self, request: _Request, key: str | None, rest: list[tuple[str, str | None]]) -> Answer:
        entity = ENTITIES["subscriptions"]
        if rest:
            raise refusals.no_such_segment(rest[0][0])
        if key is None:
            if request.method == "GET":
                return self._list(request, entity, list(self._books.all("subscriptions")))
            if request.method != "POST":
                raise refusals.method_not_allowed(request.method, entity.set_name)
            record = self.notifications.subscribe(self._books, request.body())
            return self._created(request, entity, record)
        held = self._books.get("subscriptions", key.strip("'"))
        if held is None:
            raise refusals.not_found(entity.table, key.strip("'"))
        if request.method == "GET":
            return self._one(request, entity, held)
        self._check_write(request, entity, held)
        if request.method == "DELETE":
            self._books.remove("subscriptions", held["subscriptionId"])
            return Answer(204)
        return self._one(request, entity, self.notifications.renew(self._books, held, request.body()))

    # -- answers
    def _list(self, request: _Request, entity: Entity, records: list[Record]) -> Answer:
        if request.method != "GET":
            raise refusals.method_not_allowed(request.method, entity.set_name)
        query = parse_query(entity, request.options)
        found = in_order([record for record in records if query.where(record)], query.order_by)
        matched = len(found)
        found = found[query.skip :][: query.top]
        start = _after_token(entity, found, query.skip_token)
        size = self._page_size(request)
        page = found[start : start + size]
        body: dict[str, Any] = {"@odata.context": request.context(entity)}
        if query.count:
            body["@odata.count"] = matched
        body["value"] = [self._shown(entity, record, query) for record in page]
        if start + size < len(found):
            body["@odata.nextLink"] = request.next_link(f"{_key_value(entity, page[-1])},{start + size}")
        return Answer(200, body)

    def _one(self, request: _Request, entity: Entity, record: Record) -> Answer:
        if request.method not in ("GET", "PATCH"):
            raise refusals.method_not_allowed(request.method, entity.set_name)
        query = parse_query(entity, request.options, single=True)
        shown = self._shown(entity, record, query)
        return Answer(200, {"@odata.context": request.context(entity) + "/$entity", **shown})

    def _created(self, request: _Request, entity: Entity, record: Record) -> Answer:
        query = parse_query(entity, request.options, single=True)
        key = _key_value(entity, record)
        location = f"{request.url}({key if entity.set_name != 'subscriptions' else repr(key)})"
        body = {"@odata.context": request.context(entity) + "/$entity", **self._shown(entity, record, query)}
        return Answer(201, body, {"location": location})

    def _shown(self, entity: Entity, record: Record, query: Query) -> Record:
        shown = rendered(entity, record, query.select)
        for expand in query.expand:
            child = ENTITIES[entity.expands[expand.navigation]]
            children = self._children(child, record)
            shown[expand.navigation] = [rendered(child, held, expand.select) for held in children]
        return shown

    def _children(self, entity: Entity, parent: Record) -> list[Record]:
        if entity.set_name in PARENT_OF_LINES:
            return self._books.lines(entity.set_name, parent["id"])
        return [record for record in self._books.all(entity.set_name) if record["itemId"] == parent["id"]]

    def _check_write(self, request: _Request, entity: Entity, record: Record) -> None:
        allowed = {"PATCH": entity.modify, "DELETE": entity.delete}.get(request.method, False)
        if not allowed:
            raise refusals.method_not_allowed(request.method, entity.set_name)
        token = request.call.headers.get("if-match")
        if not token:
            raise refusals.missing_concurrency_token()
        if token not in ("*", etag(record)):
            raise refusals.entity_changed()

    def _page_size(self, request: _Request) -> int:
        size = int(self._masters.setup["page_size"])
        wanted = _PAGE_PREFERENCE.search(request.call.headers.get("prefer", ""))
        return max(1, min(size, int(wanted[1]))) if wanted else size

    def _tell_staff(self, kind: Kind, header: Record) -> None:
        if kind is ORDER:
            self._staff.notice(header)


class _Request:
    """One call, taken apart."""

    def __init__(self, call: Call, base: str, rest: str) -> None:
        self.call = call
        self.method = call.method
        self.url = f"{base}/{rest}"
        self._base = base
        self._rest = rest
        self.options = dict(call.query)
        self.segments: list[tuple[str, str | None]] = []
        for part in rest.split("/"):
            found = _SEGMENT.fullmatch(part)
            if found is None:
                raise refusals.no_such_segment(part)
            self.segments.append((found["name"], found["key"]))

    def body(self) -> dict[str, Any]:
        kind = self.call.headers.get("content-type", "")
        if not kind.startswith("application/json"):
            raise refusals.Refused(415, "BadRequest", f"The content type '{kind}' is not supported.")
        return payload.parse(self.call.body)

    def context(self, entity: Entity) -> str:
        path = re.sub(rf"(?<=/){entity.set_name}\(.*?\)$", entity.set_name, self._rest)
        return f"{self._base}/$metadata#{path if path != 'companies' else entity.set_name}"

    def next_link(self, token: str) -> str:
        options = {name: value for name, value in self.options.items() if name != "$skiptoken"}
        return f"{self.url}?{urlencode({**options, '$skiptoken': token}, quote_via=quote, safe='$,')}"


def _key(text: str) -> str:
    if not GUID.fullmatch(text):
        raise refusals.Refused(400, "BadRequest_NotFound", "Bad Request - Error in query syntax.")
    return text.lower()


def _key_value(entity: Entity, record: Record) -> str:
    return str(record["subscriptionId" if entity.set_name == "subscriptions" else "id"])


def _after_token(entity: Entity, records: list[Record], token: str | None) -> int:
    """Where the next page starts: after the record the token names, or at its old place if that one is gone."""
    if token is None:
        return 0
    key, _, place = token.partition(",")
    if not place.isdigit():
        raise refusals.bad_request("Invalid $skiptoken.")
    for number, record in enumerate(records):
        if _key_value(entity, record) == key:
            return number + 1
    return int(place)


def _visible(record: Record) -> Record:
    return {name: value for name, value in record.items() if not name.startswith("_")}
