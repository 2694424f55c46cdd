"""How is a Shopify shop told and asked something, and what does its answer mean for whoever waits?"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from crossdock.connectors.shopify import mapping, wire
from crossdock.domain import strict_json
from crossdock.domain.commands import ApproveReturn, CancelOrder, CloseReturn, ConfirmShipment, DeclineReturn, Intent, PublishStock, Receipt, RefundReturn, SetPrice
from crossdock.domain.connector import (
    ChangedOrder,
    ConnectionContext,
    Known,
    LedgerDocument,
    Occurrence,
    PolledItem,
    PollResult,
    PriceQuestion,
    SnapshotPage,
    Translation,
    nothing_known,
)
from crossdock.domain.customer import CreditStanding
from crossdock.domain.delivery import Delivery
from crossdock.domain.errors import ContractDrift, FieldProblem, NeedsPerson, Rejected, RetryLater, UnknownOutcome
from crossdock.domain.events import Fact, OrderPlaced, OrderUpdated, ReturnAnnounced, ReturnRequested, ReturnWithdrawn
from crossdock.domain.model import plain, rfc3339
from crossdock.domain.money import Money
from crossdock.domain.price import Price
from crossdock.domain.stock import StockReading

M = TypeVar("M", bound=BaseModel)

TIMEOUT_SECONDS = 15.0
PAGE = 25
STOCK_PAGE = 100
MOST_PAGES = 500
STALE_TRIES = 3
POLLED_ORDER = "poll.order"
POLLED_RETURN = "poll.return"
RETURN_TOPICS = frozenset({"returns/request", "returns/cancel", "returns/decline"})
_APPROVED = frozenset({"OPEN", "CLOSED"})
_DECLINED = frozenset({"DECLINED"})
_CLOSED = frozenset({"CLOSED", "CANCELED"})
OVERLAP = timedelta(minutes=5)
"""How much is read twice: clocks differ, and the search that finds changed orders lags behind."""
HEAD_START = timedelta(seconds=30)
"""A change so fresh is left to its webhook."""
PAGES_PER_POLL = 10
WHOLE_PER_POLL = 40
_KEY_SPACE = uuid.UUID("6f0d2f7e-8d0a-5c6b-9d55-3a8a4f5b1c20")

# Shopify's error codes that say: nothing was done, come again.
_AGAIN = frozenset({"THROTTLED"})
_NO_ACCESS = frozenset({"ACCESS_DENIED", "SHOP_INACTIVE"})
_BROKEN = frozenset({"INTERNAL_SERVER_ERROR", "TIMEOUT"})

FULFILMENT = """
query CrossdockFulfilment($id: ID!, $first: Int!, $after: String) {
  order(id: $id) {
    id name cancelledAt
    fulfillments(first: 100) {
      id name status trackingInfo(first: 100) { company number url }
      fulfillmentLineItems(first: $first) { nodes { quantity lineItem { id } } pageInfo { hasNextPage endCursor } }
    }
    fulfillmentOrders(first: 5, after: $after) {
      nodes {
        id status assignedLocation { location { id } }
        lineItems(first: $first) { nodes { id remainingQuantity lineItem { id } } pageInfo { hasNextPage endCursor } }
      }
      pageInfo { hasNextPage endCursor }
    }
  }
}"""
OPEN_LINES = """
query CrossdockOpenLines($id: ID!, $after: String) {
  fulfillmentOrder(id: $id) {
    lineItems(first: 100, after: $after) { nodes { id remainingQuantity lineItem { id } } pageInfo { hasNextPage endCursor } }
  }
}"""
FULFILLED_LINES = """
query CrossdockFulfilledLines($id: ID!, $after: String) {
  node(id: $id) {
    ... on Fulfillment {
      fulfillmentLineItems(first: 100, after: $after) { nodes { quantity lineItem { id } } pageInfo { hasNextPage endCursor } }
    }
  }
}"""
FULFIL = """
mutation CrossdockFulfil($fulfillment: FulfillmentInput!) {
  fulfillmentCreate(fulfillment: $fulfillment) { fulfillment { id name } userErrors { field message } }
}"""
CANCELLATION = """
query CrossdockCancellation($id: ID!) {
  order(id: $id) { id name cancelledAt fulfillments(first: 100) { status } }
}"""
CANCEL = """
mutation CrossdockCancel($orderId: ID!, $reason: OrderCancelReason!, $restock: Boolean!, $refundMethod: OrderCancelRefundMethodInput,
    $notifyCustomer: Boolean, $staffNote: String) {
  orderCancel(orderId: $orderId, reason: $reason, restock: $restock, refundMethod: $refundMethod, notifyCustomer: $notifyCustomer,
      staffNote: $staffNote) {
    job { id } orderCancelUserErrors { field message code }
  }
}"""
AVAILABLE = """
query CrossdockAvailable($sku: String!, $location: ID!) {
  productVariants(first: 5, query: $sku) {
    nodes { sku inventoryItem { id tracked inventoryLevel(locationId: $location) { updatedAt quantities(names: ["available"]) { name quantity } } } }
  }
}"""
SET_QUANTITIES = """
mutation CrossdockSetQuantities($input: InventorySetQuantitiesInput!, $key: String!) {
  inventorySetQuantities(input: $input) @idempotent(key: $key) { inventoryAdjustmentGroup { id } userErrors { code field message } }
}"""
PRICED = """
query CrossdockPriced($sku: String!) {
  shop { currencyCode }
  productVariants(first: 5, query: $sku) { nodes { id sku price product { id } } }
}"""
SET_PRICES = """
mutation CrossdockSetPrices($productId: ID!, $variants: [ProductVariantsBulkInput!]!) {
  productVariantsBulkUpdate(productId: $productId, variants: $variants) { productVariants { id price } userErrors { code field message } }
}"""
CHANGED_ORDERS = """
query CrossdockChangedOrders($query: String!, $after: String) {
  orders(first: 50, after: $after, query: $query, sortKey: UPDATED_AT) { nodes { id updatedAt } pageInfo { hasNextPage endCursor } }
}"""
WHOLE_ORDER = """
query CrossdockWholeOrder($id: ID!, $after: String) {
  order(id: $id) {
    id name createdAt updatedAt cancelledAt cancelReason currencyCode taxesIncluded email note poNumber
    totalPriceSet { shopMoney { amount } }
    customer { id firstName lastName email }
    purchasingEntity { ... on PurchasingCompany { company { id } location { id } } }
    shippingAddress { ...CrossdockAddress }
    billingAddress { ...CrossdockAddress }
    shippingLines(first: 5, includeRemovals: true) {
      nodes {
        title code isRemoved originalPriceSet { shopMoney { amount } } taxLines { priceSet { shopMoney { amount } } }
        discountAllocations { allocatedAmountSet { shopMoney { amount } } }
      }
    }
    lineItems(first: 25, after: $after) {
      nodes {
        id sku title name quantity requiresShipping isGiftCard variant { id } lineItemGroup { id } customAttributes { key value }
        originalUnitPriceSet { shopMoney { amount } } taxLines { priceSet { shopMoney { amount } } }
        discountAllocations { allocatedAmountSet { shopMoney { amount } } }
      }
      pageInfo { hasNextPage endCursor }
    }
  }
}
fragment CrossdockAddress on MailingAddress { firstName lastName name company address1 address2 city zip province provinceCode countryCodeV2 phone }"""
LOCATIONS = """
query CrossdockLocations($after: String) {
  locations(first: 50, after: $after) { nodes { id isActive } pageInfo { hasNextPage endCursor } }
}"""
SHOWN = """
query CrossdockShown($id: ID!, $first: Int!, $after: String) {
  location(id: $id) {
    inventoryLevels(first: $first, after: $after) {
      nodes { item { sku tracked } quantities(names: ["available"]) { name quantity } } pageInfo { hasNextPage endCursor }
    }
  }
}"""
PRICE_LIST = """
query CrossdockPriceList($first: Int!, $after: String) {
  shop { currencyCode }
  productVariants(first: $first, after: $after) { nodes { sku price } pageInfo { hasNextPage endCursor } }
}"""
RETURN = """
query CrossdockReturn($id: ID!, $after: String) {
  return(id: $id) {
    id name status createdAt order { id }
    exchangeLineItems(first: 1) { nodes { id } }
    returnLineItems(first: 50, after: $after) {
      nodes {
        ... on ReturnLineItem {
          quantity returnReason returnReasonNote customerNote
          fulfillmentLineItem { lineItem { id sku variant { id } customAttributes { key value } } }
        }
      }
      pageInfo { hasNextPage endCursor }
    }
  }
}"""
RETURN_STATE = """
query CrossdockReturnState($id: ID!) { return(id: $id) { id name status } }"""
ORDER_FOR_RETURN = """
query CrossdockOrderForReturn($id: ID!) {
  order(id: $id) {
    id
    returns(first: 20) { nodes { id name status returnLineItems(first: 5) { nodes { returnReasonNote } } } }
    fulfillments(first: 50) { status fulfillmentLineItems(first: 50) { nodes { id quantity lineItem { id } } } }
  }
}"""
APPROVE_RETURN = """
mutation CrossdockApproveReturn($input: ReturnApproveRequestInput!) {
  returnApproveRequest(input: $input) { return { id name status } userErrors { code field message } }
}"""
CREATE_RETURN = """
mutation CrossdockCreateReturn($input: ReturnInput!) {
  returnCreate(returnInput: $input) { return { id name status } userErrors { code field message } }
}"""
DECLINE_RETURN = """
mutation CrossdockDeclineReturn($input: ReturnDeclineRequestInput!) {
  returnDeclineRequest(input: $input) { return { id name status } userErrors { code field message } }
}"""
CLOSE_RETURN = """
mutation CrossdockCloseReturn($id: ID!) { returnClose(id: $id) { return { id name status } userErrors { code field message } } }"""
CANCEL_RETURN = """
mutation CrossdockCancelReturn($id: ID!) { returnCancel(id: $id) { return { id name status } userErrors { code field message } } }"""
ORDER_TO_REFUND = """
query CrossdockOrderToRefund($id: ID!) {
  order(id: $id) {
    id netPaymentSet { shopMoney { amount currencyCode } }
    refunds(first: 100) { id note totalRefundedSet { shopMoney { amount currencyCode } } }
    transactions(first: 100) { id kind status gateway amountSet { shopMoney { amount currencyCode } } }
  }
}"""
REFUND = """
mutation CrossdockRefund($input: RefundInput!, $key: String!) {
  refundCreate(input: $input) @idempotent(key: $key) {
    refund { id note totalRefundedSet { shopMoney { amount currencyCode } } } userErrors { field message }
  }
}"""
ON_HAND = """
query CrossdockOnHand($id: ID!, $first: Int!, $after: String) {
  location(id: $id) {
    inventoryLevels(first: $first, after: $after) {
      nodes { item { sku tracked } quantities(names: ["on_hand"]) { name quantity } } pageInfo { hasNextPage endCursor }
    }
  }
}"""


class ShopifyConnector:
    """One shop, as one connection uses it. ``base_url`` is ``https://<shop>.myshopify.com``."""

    def __init__(self, context: ConnectionContext) -> None:
        self.manifest = context.manifest
        self._context = context
        self._url = f"{context.base_url.rstrip('/')}/admin/api/{self.manifest.api_version}/graphql.json"

    # ------------------------------------------------------------------------------------------------ in
    def translate(self, delivery: Delivery) -> Translation:
        """``orders/create`` means placed even when the body says more: a cancellation is believed only from its own topic."""
        topic = delivery.topic
        if topic in self.manifest.ignored:
            return Translation(ignored=self.manifest.ignored[topic].reason)
        if topic not in self.manifest.handled:
            raise ContractDrift("UNKNOWN_EVENT", f"Shopify topic {topic!r} is neither handled nor ignored", remedy="add it to the connector's manifest or end its subscription")
        body = strict_json.loads(delivery.body)
        connection = self._context.connection
        try:
            if topic == POLLED_ORDER:
                return self._found_by_poll(wire.PolledOrder.model_validate(body))
            if topic in RETURN_TOPICS:
                return self._told_of_a_return(topic, wire.ToldReturn.model_validate(body), delivery.received_at)
            if topic == POLLED_RETURN:
                found = wire.PolledReturn.model_validate(body)
                return _one(ReturnRequested.model_validate({"return": mapping.return_from_wire(found, connection=connection)}), found.createdAt)
            if topic == "orders/cancelled":
                cancelled = wire.CancelledOrder.model_validate(body)
                return _one(mapping.cancellation_from_wire(cancelled, connection=connection), cancelled.cancelled_at)
            placed = wire.Order.model_validate(body)
            order = mapping.order_from_wire(placed, connection=connection)
        except ValidationError as error:
            raise _invalid(error, topic) from error
        if topic == "orders/create":
            return _one(OrderPlaced(order=order), placed.created_at)
        return _one(OrderUpdated(order=order), placed.updated_at)

    def _told_of_a_return(self, topic: str, told: wire.ToldReturn, received_at: datetime) -> Translation:
        """The bodies carry no moment of their own."""
        gid = told.admin_graphql_api_id
        return_id = mapping.return_id_of(self._context.connection, gid)
        if topic == "returns/request":
            return _one(ReturnAnnounced(return_id=return_id, external_id=gid, announced_at=received_at), received_at)
        reason = "declined in the storefront" if topic == "returns/decline" else "withdrawn in the storefront"
        return _one(ReturnWithdrawn(return_id=return_id, reason=reason, withdrawn_at=received_at), received_at)

    def _found_by_poll(self, found: wire.PolledOrder) -> Translation:
        """What each webhook would have told: that it was placed, and how it stands. Whoever knows that already takes no notice."""
        connection = self._context.connection
        order = mapping.order_from_wire(wire.Order.model_validate(mapping.polled_from_wire(found)), connection=connection)
        placed = Occurrence(OrderPlaced(order=order), found.createdAt)
        if found.cancelledAt is not None:
            return Translation((placed, Occurrence(mapping.polled_cancellation_from_wire(found, connection=connection), found.cancelledAt)))
        return Translation((placed, Occurrence(OrderUpdated(order=order), found.updatedAt)) if found.updatedAt > found.createdAt else (placed,))

    def poll(self, resource: str, cursor: str | None, known: Known = nothing_known) -> PollResult:
        """Orders changed since, of which no webhook has told. https://shopify.dev/docs/api/admin-graphql/latest/queries/orders

        The cursor is the moment up to which everything has been read; with a ``>`` before it when there was more than one poll takes.
        """
        if resource != "orders":
            raise _unsupported(f"the resource {resource!r}")
        now = self._context.clock.now()
        if cursor is None:
            return PollResult((), rfc3339(now))  # what was there before this connection is not its business
        since = datetime.fromisoformat(cursor.removeprefix(">"))
        until = now - HEAD_START
        items: list[PolledItem] = []
        reached = since
        for changed in self._changed_orders(since if cursor.startswith(">") else since - OVERLAP, until):
            if changed is None or len(items) == WHOLE_PER_POLL:
                return PollResult(tuple(items), f">{rfc3339(reached)}", more=True)
            reached = changed.updatedAt
            version = rfc3339(changed.updatedAt)
            if not known(mapping.order_id_of(self._context.connection, changed.id), version, POLLED_ORDER, _polled_key(changed.id, version)):
                items.append(_polled(self._whole_order(changed.id), changed.id, version))
        return PollResult(tuple(items), rfc3339(max(since, until)))

    def _changed_orders(self, since: datetime, until: datetime) -> Iterator[wire.ChangedOrder | None]:
        """The oldest change first; None at the end when there is more."""
        query, after = f"updated_at:>='{rfc3339(since)}' AND updated_at:<='{rfc3339(until)}'", None
        for _ in range(PAGES_PER_POLL):
            page = _understood(wire.ChangedOrders, self._ask(CHANGED_ORDERS, {"query": query, "after": after}).get("orders"), "orders")
            yield from page.nodes
            if not page.pageInfo.hasNextPage:
                return
            after = page.pageInfo.endCursor
        yield None

    def placed(self, external_id: str) -> PolledItem:
        gid = mapping.gid_of("Order", external_id)
        whole = self._whole_order(gid)
        return _polled(whole, gid, rfc3339(_understood(wire.ChangedOrder, whole, "order").updatedAt))

    def returned(self, external_id: str) -> PolledItem:
        gid = mapping.gid_of("Return", external_id)
        whole: dict[str, Any] = self._known(self._ask(RETURN, {"id": gid, "after": None}).get("return"), gid)
        page = _understood(wire.PolledPage, whole.get("returnLineItems"), "return.returnLineItems").pageInfo
        for _ in _pages("the lines of a return"):
            if not page.hasNextPage:
                break
            answer = self._known(self._ask(RETURN, {"id": gid, "after": page.endCursor}).get("return"), gid)
            more = _understood(wire.PolledPage, answer.get("returnLineItems"), "return.returnLineItems")
            whole["returnLineItems"]["nodes"] += more.nodes
            page = more.pageInfo
        return PolledItem(key=mapping.number_of(gid), topic=POLLED_RETURN, body=json.dumps(whole, separators=(",", ":"), default=str).encode())

    def _whole_order(self, gid: str) -> dict[str, Any]:
        whole: dict[str, Any] = self._known(self._ask(WHOLE_ORDER, {"id": gid, "after": None}).get("order"), gid)
        page = _understood(wire.PolledPage, whole.get("lineItems"), "order.lineItems").pageInfo
        for _ in _pages("the lines of an order"):
            if not page.hasNextPage:
                break
            answer = self._known(self._ask(WHOLE_ORDER, {"id": gid, "after": page.endCursor}).get("order"), gid)
            more = _understood(wire.PolledPage, answer.get("lineItems"), "order.lineItems")
            whole["lineItems"]["nodes"] += more.nodes
            page = more.pageInfo
        return whole

    # ------------------------------------------------------------------------------------------------ out
    def execute(self, intent: Intent) -> Receipt:
        if isinstance(intent, ConfirmShipment):
            return self._confirm(intent)
        if isinstance(intent, CancelOrder):
            return self._cancel(intent)
        if isinstance(intent, PublishStock):
            return self._publish(intent)
        if isinstance(intent, SetPrice):
            return self._set_price(intent)
        if isinstance(intent, ApproveReturn):
            return self._approve_return(intent)
        if isinstance(intent, DeclineReturn):
            given = {
                "id": mapping.gid_of("Return", intent.external_id),
                "declineReason": "OTHER",
                "declineNote": intent.reason[:500],
                "notifyCustomer": self._setting("notify_customer"),
            }
            return self._moved_return(DECLINE_RETURN, {"input": given}, "returnDeclineRequest", intent.external_id, _DECLINED)
        if isinstance(intent, CloseReturn):
            query, root = (CANCEL_RETURN, "returnCancel") if intent.called_off else (CLOSE_RETURN, "returnClose")
            return self._moved_return(query, {"id": mapping.gid_of("Return", intent.external_id)}, root, intent.external_id, _CLOSED)
        if isinstance(intent, RefundReturn):
            return self._refund(intent)
        raise _unsupported(intent.type)

    def look_up(self, intent: Intent) -> Receipt | None:
        if isinstance(intent, ConfirmShipment):
            tracking = mapping.tracking_to_wire(intent.shipment)
            order = self._fulfilment(intent.order_external_id)
            confirmed, found = mapping.confirmed_before(order, tracking.numbers)
            wanted = mapping.wanted_lines(intent.lines)
            complete = bool(found) and all(confirmed.get(line, 0) >= quantity for line, quantity in wanted.items())
            return Receipt(external_id=found[0].id, number=found[0].name, found=True) if complete else None
        if isinstance(intent, CancelOrder):
            state = self._cancellation(intent.external_id)
            return Receipt(external_id=state.id, number=state.name, found=True) if state.cancelledAt else None
        if isinstance(intent, PublishStock):
            item, level = self._available(intent)
            same = (level is None and mapping.sellable(intent.available) == 0) or (level is not None and _quantity(level.quantities) == mapping.sellable(intent.available))
            return Receipt(external_id=item, found=True) if same else None
        if isinstance(intent, SetPrice):
            priced = self._priced(intent)
            return Receipt(external_id=priced.id, total=intent.price, found=True) if priced.price == intent.price.amount else None
        if isinstance(intent, ApproveReturn):
            return self._made_return(self._order_for_return(intent), intent) if intent.external_id is None else self._return_in(intent.external_id, _APPROVED)
        if isinstance(intent, DeclineReturn | CloseReturn):
            return self._return_in(intent.external_id, _DECLINED if isinstance(intent, DeclineReturn) else _CLOSED)
        if isinstance(intent, RefundReturn):
            return _refund_of(intent, self._order_to_refund(intent))
        raise _unsupported(intent.type)

    # ------------------------------------------------------------------------------------------------ what comes back
    def _approve_return(self, intent: ApproveReturn) -> Receipt:
        """https://shopify.dev/docs/api/admin-graphql/latest/mutations/returnApproveRequest, or returnCreate for one asked for elsewhere."""
        if intent.external_id is not None:
            given = {"id": mapping.gid_of("Return", intent.external_id), "notifyCustomer": self._setting("notify_customer")}
            return self._moved_return(APPROVE_RETURN, {"input": given}, "returnApproveRequest", intent.external_id, _APPROVED)
        order = self._order_for_return(intent)
        made = self._made_return(order, intent)
        if made is not None:
            return made
        given = mapping.return_to_wire(intent, order.fulfillments, notify_customer=self._setting("notify_customer"))
        answer = self._mutate(CREATE_RETURN, {"input": given}, "returnCreate", wire.ReturnAnswer)
        _refuse(answer.userErrors, "returnCreate")
        if answer.return_ is None:
            raise ContractDrift("UNEXPECTED_ANSWER", "returnCreate answered neither a return nor an error")
        return Receipt(external_id=answer.return_.id, number=answer.return_.name)

    def _order_for_return(self, intent: ApproveReturn) -> wire.OrderForReturn:
        gid = mapping.gid_of("Order", intent.order_external_id)
        return _understood(wire.OrderForReturn, self._known(self._ask(ORDER_FOR_RETURN, {"id": gid}).get("order"), gid), "order")

    def _made_return(self, order: wire.OrderForReturn, intent: ApproveReturn) -> Receipt | None:
        """Shopify keeps no reference of ours on a return: ours stands at the beginning of each line's note."""
        for held in order.returns.nodes:
            if any(f"{line.returnReasonNote} ".startswith(f"{intent.return_id} ") for line in held.returnLineItems.nodes):
                return Receipt(external_id=held.id, number=held.name, found=True)
        return None

    def _moved_return(self, query: str, variables: dict[str, Any], root: str, external_id: str, wanted: frozenset[str]) -> Receipt:
        answer = self._mutate(query, variables, root, wire.ReturnAnswer)
        if answer.userErrors:
            there = self._return_in(external_id, wanted)
            if there is None:
                _refuse(answer.userErrors, root)
            else:
                return there
        if answer.return_ is None:
            raise ContractDrift("UNEXPECTED_ANSWER", f"{root} answered neither a return nor an error")
        return Receipt(external_id=answer.return_.id, number=answer.return_.name)

    def _return_in(self, external_id: str, wanted: frozenset[str]) -> Receipt | None:
        gid = mapping.gid_of("Return", external_id)
        state = _understood(wire.ReturnState, self._known(self._ask(RETURN_STATE, {"id": gid}).get("return"), gid), "return")
        return Receipt(external_id=state.id, number=state.name, found=True) if state.status in wanted else None

    def _order_to_refund(self, intent: RefundReturn) -> wire.OrderToRefund:
        gid = mapping.gid_of("Order", intent.order_external_id)
        return _understood(wire.OrderToRefund, self._known(self._ask(ORDER_TO_REFUND, {"id": gid}).get("order"), gid), "order")

    def _refund(self, intent: RefundReturn) -> Receipt:
        """https://shopify.dev/docs/api/admin-graphql/latest/mutations/refundCreate: of an order on account nothing was paid here, so only its lines are given back."""
        order = self._order_to_refund(intent)
        made = _refund_of(intent, order)
        if made is not None:
            return made
        given = mapping.refund_to_wire(intent, order, notify_customer=self._setting("notify_customer"))
        if not given["refundLineItems"] and not given["transactions"]:
            return Receipt(external_id=order.id, total=Money.zero(intent.amount.currency))
        key = str(uuid.uuid5(_KEY_SPACE, f"{self._context.tenant}|{self._context.connection}|refund|{intent.return_id}"))
        answer = self._mutate(REFUND, {"input": given, "key": key}, "refundCreate", wire.RefundAnswer)
        _refuse(answer.userErrors, "refundCreate")
        if answer.refund is None:
            raise ContractDrift("UNEXPECTED_ANSWER", "refundCreate answered neither a refund nor an error")
        return _refunded(answer.refund, found=False)

    def _confirm(self, intent: ConfirmShipment) -> Receipt:
        """https://shopify.dev/docs/api/admin-graphql/latest/mutations/fulfillmentCreate

        Shopify keeps no reference of ours on a fulfillment, so its tracking numbers are the reference: what they already confirm is not
        confirmed again, which makes this safe to repeat even when it stopped between two locations.
        """
        tracking = mapping.tracking_to_wire(intent.shipment)
        wanted = mapping.wanted_lines(intent.lines)
        order = self._fulfilment(intent.order_external_id)
        confirmed, found = mapping.confirmed_before(order, tracking.numbers)
        missing = {line: quantity - confirmed.get(line, 0) for line, quantity in wanted.items() if quantity > confirmed.get(line, 0)}
        if not missing and found:
            return Receipt(external_id=found[0].id, number=found[0].name, found=True)
        if order.cancelledAt is not None:
            raise Rejected("VENDOR_REFUSED", f"order {order.name} is cancelled in Shopify: its shipment cannot be confirmed", remedy="clear up the shipment with the customer")
        notify = intent.notify_customer and self._setting("notify_customer")
        made: list[wire.CreatedFulfillment] = []
        for given in mapping.fulfillments_to_wire(order, missing, tracking, notify_customer=notify):
            answer = self._mutate(FULFIL, {"fulfillment": _said(given)}, "fulfillmentCreate", wire.FulfillmentCreated)
            _refuse(answer.userErrors, "fulfillmentCreate")
            if answer.fulfillment is None:
                raise ContractDrift("UNEXPECTED_ANSWER", "fulfillmentCreate answered neither a fulfillment nor an error")
            made.append(answer.fulfillment)
        first = found[0] if found else made[0]
        return Receipt(external_id=first.id, number=first.name)

    def _cancel(self, intent: CancelOrder) -> Receipt:
        """https://shopify.dev/docs/api/admin-graphql/latest/mutations/orderCancel: accepted now, done by a job a moment later."""
        given = mapping.cancellation_to_wire(
            external_id=intent.external_id,
            reason=intent.reason,
            order_id=intent.order_id,
            refund=self._setting("refund_on_cancel"),
            notify_customer=self._setting("notify_customer"),
        )
        answer = self._mutate(CANCEL, _said(given), "orderCancel", wire.OrderCancelAnswer)
        state = self._cancellation(intent.external_id, after_write=not answer.orderCancelUserErrors)
        if state.cancelledAt is not None:
            return Receipt(external_id=state.id, number=state.name, found=bool(answer.orderCancelUserErrors))
        if answer.orderCancelUserErrors and any(fulfillment.status in ("SUCCESS", "OPEN", "PENDING") for fulfillment in state.fulfillments):
            raise Rejected("ALREADY_SHIPPED", f"order {state.name} cannot be cancelled in Shopify: part of it is fulfilled", remedy="treat it as a return")
        _refuse(answer.orderCancelUserErrors, "orderCancel")
        raise UnknownOutcome("UNKNOWN_OUTCOME", f"Shopify has taken the cancellation of {state.name} and has not finished it", after_seconds=2)

    def _publish(self, intent: PublishStock) -> Receipt:
        """https://shopify.dev/docs/api/admin-graphql/latest/mutations/inventorySetQuantities, compared with what we read a moment before."""
        wanted = mapping.sellable(intent.available)
        location = mapping.gid_of("Location", intent.location_code)
        for attempt in range(1, STALE_TRIES + 1):
            item, level = self._available(intent)
            if level is None:
                if wanted == 0:
                    return Receipt(external_id=item, found=True)
                raise Rejected("NOT_FOUND", f"{intent.storefront_sku} is not stocked at {location} in Shopify", remedy="stock the item at the location in Shopify, then retry")
            current = _quantity(level.quantities)
            if current == wanted:
                return Receipt(external_id=item, found=True)
            reference = f"crossdock://{self._context.tenant}/{self._context.connection}/stock/{quote(intent.business_id, safe='')}"
            given = mapping.stock_to_wire(item=item, location=location, quantity=wanted, change_from=current, reference=reference)
            # The key is of this very write: another starting point is another write, and a refused key is burnt.
            key = str(uuid.uuid5(_KEY_SPACE, f"{reference}|{current}|{level.updatedAt}|{attempt}"))
            answer = self._mutate(SET_QUANTITIES, {"input": _said(given), "key": key}, "inventorySetQuantities", wire.QuantitiesSet)
            codes = {error.code for error in answer.userErrors}
            if not codes:
                return Receipt(external_id=item)
            if "IDEMPOTENCY_CONCURRENT_REQUEST" in codes:
                raise RetryLater("VENDOR_UNAVAILABLE", "Shopify is still busy with the same stock write", after_seconds=2)
            if not codes <= {"CHANGE_FROM_QUANTITY_STALE", "IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED"}:
                _refuse(answer.userErrors, "inventorySetQuantities")
        raise RetryLater("VENDOR_UNAVAILABLE", f"the stock of {intent.storefront_sku} keeps changing in Shopify", after_seconds=2)

    def _set_price(self, intent: SetPrice) -> Receipt:
        """https://shopify.dev/docs/api/admin-graphql/latest/mutations/productVariantsBulkUpdate"""
        if intent.price.rounded() != intent.price:
            raise Rejected(
                "VENDOR_REFUSED",
                f"Shopify keeps prices to the {intent.price.currency}'s smallest coin, {intent.price.exact()} is finer",
                remedy="price a larger unit in the ERP, or round the price there",
                fields=[FieldProblem("price", f"{intent.price.exact()} is finer than Shopify can show")],
            )
        variant = self._priced(intent)
        if variant.price == intent.price.amount:
            return Receipt(external_id=variant.id, total=intent.price, found=True)
        given = {"productId": variant.product.id, "variants": [{"id": variant.id, "price": plain(intent.price.amount)}]}
        answer = self._mutate(SET_PRICES, given, "productVariantsBulkUpdate", wire.PricesSet)
        _refuse(answer.userErrors, "productVariantsBulkUpdate")
        return Receipt(external_id=variant.id, total=intent.price)

    def _priced(self, intent: SetPrice) -> wire.VariantToPrice:
        """The one variant of a SKU, in a shop of the price's currency. Raises ``Rejected`` for none or several."""
        sku = intent.storefront_sku
        answer = self._ask(PRICED, {"sku": _sku_search(sku)})
        currency = _understood(wire.ShopCurrency, answer.get("shop"), "shop").currencyCode
        if currency != intent.price.currency:
            raise Rejected("VENDOR_REFUSED", f"the shop sells in {currency}, the price is in {intent.price.currency}", remedy="set a price in the shop's currency")
        variants = [variant for variant in _understood(wire.VariantsToPrice, answer.get("productVariants"), "productVariants").nodes if variant.sku == sku]
        if not variants:
            raise Rejected("NOT_FOUND", f"Shopify has no variant with the SKU {sku}", remedy="create it in the shop or correct the article's storefront code")
        if len(variants) > 1:
            raise Rejected("VENDOR_REFUSED", f"{len(variants)} variants in Shopify have the SKU {sku}", remedy="make the SKU unique in the shop")
        return variants[0]

    # ------------------------------------------------------------------------------------------------ asked
    def credit(self, account: str) -> CreditStanding | None:
        raise _unsupported(f"the credit of account {account}")

    def prices(self, account: str, questions: Sequence[PriceQuestion]) -> list[Price | None]:
        raise _unsupported(f"{len(questions)} prices of account {account}")

    def sales_order_total(self, external_id: str) -> Money | None:
        raise _unsupported(f"the total of sales order {external_id}")

    def sales_order(self, external_id: str) -> LedgerDocument | None:
        raise _unsupported(f"the sales order {external_id}")

    def stock(self) -> list[StockReading]:
        """What is on hand of every tracked item with a SKU, at each active location, by the location's plain number."""
        readings: list[StockReading] = []
        cursor: str | None = None
        for _ in _pages("the stock"):
            page = self.snapshot("stock", cursor)
            readings += page.readings
            cursor = page.cursor
            if cursor is None:
                break
        return readings

    def snapshot(self, resource: str, cursor: str | None) -> SnapshotPage:
        if resource == "stock":
            return self._levels(ON_HAND, cursor)
        if resource == "shown":
            return self._levels(SHOWN, cursor)
        if resource == "list_prices":
            return self._price_list(cursor)
        if resource == "orders" and cursor is not None:
            return self._changed_since(cursor)
        raise _unsupported(f"a snapshot of {resource!r}")

    def _levels(self, query: str, cursor: str | None) -> SnapshotPage:
        """The cursor: the locations that are not read to their end, and where in the first of them it goes on."""
        locations, after = (list(self._locations()), None) if cursor is None else json.loads(cursor)
        if not locations:
            return SnapshotPage()
        answer = self._ask(query, {"id": locations[0], "first": STOCK_PAGE, "after": after}).get("location")
        page = _understood(wire.LocationStock, answer, "location").inventoryLevels
        as_of, code = self._context.clock.now(), mapping.number_of(locations[0])
        readings = tuple(
            StockReading(sku=level.item.sku, location=code, on_hand=Decimal(_quantity(level.quantities)), as_of=as_of)
            for level in page.nodes
            if level.item.sku and level.item.tracked
        )
        left, after = (locations, page.pageInfo.endCursor) if page.pageInfo.hasNextPage else (locations[1:], None)
        return SnapshotPage(readings=readings, cursor=json.dumps([left, after]) if left else None)

    def _price_list(self, cursor: str | None) -> SnapshotPage:
        """https://shopify.dev/docs/api/admin-graphql/latest/queries/productVariants: the price in the shop's currency, per piece."""
        answer = self._ask(PRICE_LIST, {"first": STOCK_PAGE, "after": cursor})
        currency = _understood(wire.ShopCurrency, answer.get("shop"), "shop").currencyCode
        page = _understood(wire.PricedVariants, answer.get("productVariants"), "productVariants")
        prices = tuple(Price(sku=variant.sku, unit="EA", price=Money(amount=variant.price, currency=currency)) for variant in page.nodes if variant.sku)
        return SnapshotPage(prices=prices, cursor=page.pageInfo.endCursor if page.pageInfo.hasNextPage else None)

    def _changed_since(self, cursor: str) -> SnapshotPage:
        """The cursor: the moment since when, and behind a bar where it goes on."""
        since, _, after = cursor.partition("|")
        page = _understood(wire.ChangedOrders, self._ask(CHANGED_ORDERS, {"query": f"updated_at:>='{since}'", "after": after or None}).get("orders"), "orders")
        orders = tuple(ChangedOrder(mapping.number_of(each.id), mapping.order_id_of(self._context.connection, each.id), each.updatedAt) for each in page.nodes)
        return SnapshotPage(orders=orders, cursor=f"{since}|{page.pageInfo.endCursor}" if page.pageInfo.hasNextPage else None)

    def _locations(self) -> Iterator[str]:
        after: str | None = None
        for _ in _pages("the locations"):
            page = _understood(wire.Locations, self._ask(LOCATIONS, {"after": after}).get("locations"), "locations")
            yield from (location.id for location in page.nodes if location.isActive)
            if not page.pageInfo.hasNextPage:
                return
            after = page.pageInfo.endCursor

    def _available(self, intent: PublishStock) -> tuple[str, wire.Level | None]:
        """The inventory item behind a SKU, and its level at the location. Raises ``Rejected`` for none or several."""
        sku = intent.storefront_sku
        answer = self._ask(AVAILABLE, {"sku": _sku_search(sku), "location": mapping.gid_of("Location", intent.location_code)})
        # The search ignores case and tolerates prefixes; only the exact SKU is meant.
        variants = [variant for variant in _understood(wire.Variants, answer.get("productVariants"), "productVariants").nodes if variant.sku == sku]
        if not variants:
            raise Rejected("NOT_FOUND", f"Shopify has no variant with the SKU {sku}", remedy="create it in the shop or correct the article's storefront code")
        items = {variant.inventoryItem.id for variant in variants}
        if len(items) > 1:
            raise Rejected("VENDOR_REFUSED", f"{len(items)} variants in Shopify have the SKU {sku}", remedy="make the SKU unique in the shop")
        return variants[0].inventoryItem.id, variants[0].inventoryItem.inventoryLevel

    def _fulfilment(self, external_id: str) -> wire.OrderState:
        """The order with all its fulfillment orders and fulfillments, whatever the number of pages. Raises ``Rejected`` when unknown."""
        gid = mapping.gid_of("Order", external_id)
        documents: list[wire.FulfillmentOrder] = []
        order = self._fulfilment_page(gid, None)
        for _ in _pages("the fulfillment orders"):
            documents += [self._whole(document) for document in order.fulfillmentOrders.nodes]
            if not order.fulfillmentOrders.pageInfo.hasNextPage:
                break
            order = self._fulfilment_page(gid, order.fulfillmentOrders.pageInfo.endCursor)
        fulfillments = [self._whole_fulfillment(fulfillment) for fulfillment in order.fulfillments]
        return order.model_copy(update={"fulfillments": fulfillments, "fulfillmentOrders": order.fulfillmentOrders.model_copy(update={"nodes": documents})})

    def _fulfilment_page(self, gid: str, after: str | None) -> wire.OrderState:
        return _understood(wire.OrderState, self._known(self._ask(FULFILMENT, {"id": gid, "first": PAGE, "after": after}).get("order"), gid), "order")

    def _whole(self, document: wire.FulfillmentOrder) -> wire.FulfillmentOrder:
        lines, page = list(document.lineItems.nodes), document.lineItems.pageInfo
        for _ in _pages("the lines of a fulfillment order"):
            if not page.hasNextPage:
                break
            answer = self._known(self._ask(OPEN_LINES, {"id": document.id, "after": page.endCursor}).get("fulfillmentOrder"), document.id)
            more = _understood(wire.OpenLines, answer.get("lineItems"), "fulfillmentOrder")
            lines, page = lines + more.nodes, more.pageInfo
        return document.model_copy(update={"lineItems": document.lineItems.model_copy(update={"nodes": lines})})

    def _whole_fulfillment(self, fulfillment: wire.Fulfillment) -> wire.Fulfillment:
        lines, page = list(fulfillment.fulfillmentLineItems.nodes), fulfillment.fulfillmentLineItems.pageInfo
        for _ in _pages("the lines of a fulfillment"):
            if not page.hasNextPage:
                break
            answer = self._known(self._ask(FULFILLED_LINES, {"id": fulfillment.id, "after": page.endCursor}).get("node"), fulfillment.id)
            more = _understood(wire.FulfilledLines, answer.get("fulfillmentLineItems"), "node")
            lines, page = lines + more.nodes, more.pageInfo
        return fulfillment.model_copy(update={"fulfillmentLineItems": fulfillment.fulfillmentLineItems.model_copy(update={"nodes": lines})})

    def _cancellation(self, external_id: str, *, after_write: bool = False) -> wire.CancellationState:
        gid = mapping.gid_of("Order", external_id)
        try:
            answer = self._ask(CANCELLATION, {"id": gid}).get("order")
        except RetryLater as error:
            if after_write:  # the cancellation was taken; only the look at it failed
                raise UnknownOutcome("UNKNOWN_OUTCOME", f"the cancellation of {gid} was taken but could not be seen: {error.detail}") from error
            raise
        return _understood(wire.CancellationState, self._known(answer, gid), "order")

    def _known(self, found: Any, gid: str) -> dict[str, Any]:
        if found is None:
            raise Rejected("NOT_FOUND", f"Shopify does not know {gid}", remedy="check that the connection points at the shop the order came from")
        if not isinstance(found, dict):
            raise ContractDrift("UNEXPECTED_ANSWER", f"Shopify answered no object for {gid}", remedy="compare the connector's query with the API version's schema")
        return found

    # ------------------------------------------------------------------------------------------------ the endpoint
    def _setting(self, name: str) -> bool:
        return self._context.settings.get(name, "true").strip().lower() != "false"

    def _ask(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        return self._call(query, variables, writes=False)

    def _mutate(self, query: str, variables: dict[str, Any], root: str, model: type[M]) -> M:
        answer = self._call(query, variables, writes=True).get(root)
        return _understood(model, answer, root)

    def _call(self, query: str, variables: dict[str, Any], *, writes: bool) -> dict[str, Any]:
        """One POST to the GraphQL endpoint; its ``data``. https://shopify.dev/docs/api/usage/response-codes"""
        token = self._context.credentials().get("access_token", "")
        if not token:
            raise NeedsPerson("NOT_AUTHORISED", f"connection {self._context.connection} has no access_token", remedy="put the token of the app into the tenant's secret")
        answer = self._context.http.send(
            "POST",
            self._url,
            headers={"Content-Type": "application/json", "Accept": "application/json", "X-Shopify-Access-Token": token},
            body=json.dumps({"query": query.strip(), "variables": variables}).encode(),
            writes=writes,
            timeout_seconds=TIMEOUT_SECONDS,
        )
        if answer.status in (401, 402, 403, 423):
            raise NeedsPerson("NOT_AUTHORISED", f"Shopify answered {answer.status}: {_words(answer.body)}", remedy="check the app's token and scopes, and that the shop is open")
        if answer.status == 430:
            raise RetryLater("RATE_LIMITED", "Shopify asks for fewer calls", after_seconds=5)
        if answer.status != 200:
            raise ContractDrift(
                "UNEXPECTED_ANSWER",
                f"Shopify answered {answer.status}: {_words(answer.body)}",
                remedy=f"check base_url and that API version {self.manifest.api_version} is still served",
            )
        return _data(answer.body, writes=writes)


def _refund_of(intent: RefundReturn, order: wire.OrderToRefund) -> Receipt | None:
    return next((_refunded(refund, found=True) for refund in order.refunds if refund.note == intent.return_id), None)


def _refunded(refund: wire.MadeRefund, *, found: bool) -> Receipt:
    given = refund.totalRefundedSet.shopMoney
    return Receipt(external_id=refund.id, total=Money.of(given.amount, given.currencyCode), found=found)


def _polled_key(gid: str, version: str) -> str:
    return f"{mapping.number_of(gid)}@{version}"


def _polled(whole: dict[str, Any], gid: str, version: str) -> PolledItem:
    return PolledItem(key=_polled_key(gid, version), topic=POLLED_ORDER, body=json.dumps(whole, separators=(",", ":"), default=str).encode())


def _pages(what: str) -> Iterator[int]:
    """As many turns as any list here can have pages; a list that goes on after that has no end."""
    yield from range(MOST_PAGES)
    raise ContractDrift("UNEXPECTED_ANSWER", f"{what} in Shopify go on after {MOST_PAGES} pages", remedy="look whether paging still works as documented")


def _data(body: bytes, *, writes: bool) -> dict[str, Any]:
    try:
        answer = wire.GraphQLAnswer.model_validate(strict_json.loads(body))
    except (ValidationError, Rejected) as error:
        if writes:
            raise UnknownOutcome("UNKNOWN_OUTCOME", "Shopify's answer to a write is no GraphQL answer") from error
        raise ContractDrift("UNEXPECTED_ANSWER", "Shopify's answer is no GraphQL answer") from error
    if not answer.errors:
        if answer.data is None:
            raise ContractDrift("UNEXPECTED_ANSWER", "Shopify answered neither data nor errors")
        return answer.data
    if isinstance(answer.errors, str):
        raise ContractDrift("UNEXPECTED_ANSWER", f"Shopify: {answer.errors}"[:500])
    codes = {problem.extensions.code for problem in answer.errors if problem.extensions and problem.extensions.code}
    words = "; ".join(problem.message for problem in answer.errors)[:500]
    if codes & _AGAIN:
        raise RetryLater("RATE_LIMITED", "Shopify's bucket of points is empty", after_seconds=_refill_seconds(answer))
    if codes & _NO_ACCESS:
        raise NeedsPerson("NOT_AUTHORISED", f"Shopify: {words}", remedy="give the app the scopes the connector's README lists")
    if codes & _BROKEN:
        kind = UnknownOutcome if writes else RetryLater
        raise kind("UNKNOWN_OUTCOME" if writes else "VENDOR_UNAVAILABLE", f"Shopify: {words}")
    raise ContractDrift("UNEXPECTED_ANSWER", f"Shopify refused the request itself: {words}", remedy="compare the connector's query with the API version's schema")


def _refill_seconds(answer: wire.GraphQLAnswer) -> int:
    """How long until the bucket holds what the request costs; two seconds where Shopify does not say."""
    cost = answer.extensions.cost if answer.extensions else None
    if cost is None or cost.throttleStatus is None or cost.requestedQueryCost is None or cost.throttleStatus.restoreRate <= 0:
        return 2
    missing = cost.requestedQueryCost - cost.throttleStatus.currentlyAvailable
    return max(1, int(missing / cost.throttleStatus.restoreRate) + 1)


def _understood(model: type[M], value: Any, root: str) -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        fields = [FieldProblem(f"{root}.{'.'.join(map(str, entry['loc']))}", entry["msg"]) for entry in error.errors()]
        unknown_status = any(entry["type"] == "literal_error" for entry in error.errors())
        raise ContractDrift(
            "UNKNOWN_STATUS" if unknown_status else "UNEXPECTED_ANSWER", f"Shopify's {root} is not what its schema says: {fields[0].path}: {fields[0].problem}", fields=fields
        ) from error


def _refuse(errors: Sequence[wire.UserError], operation: str) -> None:
    if errors:
        words = "; ".join(error.message for error in errors)
        fields = [FieldProblem(".".join(error.field or [operation]), error.message) for error in errors]
        raise Rejected("VENDOR_REFUSED", f"Shopify refused {operation}: {words}", fields=fields)


def _invalid(error: ValidationError, topic: str) -> Rejected:
    fields = [FieldProblem(".".join(map(str, entry["loc"])) or "(body)", entry["msg"]) for entry in error.errors()]
    named = "; ".join(f"{field.path}: {field.problem}" for field in fields[:5])
    return Rejected("INVALID_BODY", f"the body of {topic} is not an order as Shopify describes it: {named}", remedy="correct the named fields and redrive", fields=fields)


def _unsupported(what: str) -> NeedsPerson:
    return NeedsPerson("COMMAND_NOT_SUPPORTED", f"a Shopify storefront cannot be asked for {what}", remedy="correct the connection in the tenant file")


def _sku_search(sku: str) -> str:
    """The search for a SKU. It ignores case and tolerates prefixes: whoever asks picks the exact one."""
    text = sku.replace("\\", "\\\\").replace('"', '\\"')
    return f'sku:"{text}"'


def _quantity(quantities: Sequence[wire.NamedQuantity]) -> int:
    if len(quantities) != 1:
        raise ContractDrift("UNEXPECTED_ANSWER", f"asked for one quantity, got {len(quantities)}")
    return quantities[0].quantity


def _said(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json", exclude_none=True)


def _words(body: bytes) -> str:
    return body[:300].decode("utf-8", "replace")


def _one(fact: Fact, occurred_at: datetime) -> Translation:
    return Translation(occurrences=(Occurrence(fact, occurred_at.astimezone(UTC)),))
