"""Does the simulated Admin API refuse what Shopify refuses, and answer in its shapes?"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from shopify_visit import MAIN, SEED, TOKEN, OpenShop, Visitor

ORDER = "query($id: ID!) { order(id: $id) { id name } }"
SET = """mutation($input: InventorySetQuantitiesInput!, $key: String!) {
  inventorySetQuantities(input: $input) @idempotent(key: $key) {
    inventoryAdjustmentGroup { id reason changes { name delta quantityAfterChange item { sku } location { id } } }
    userErrors { code field message } } }"""
LEVEL = """query($id: ID!) { inventoryItem(id: $id) { inventoryLevels(first: 10) { nodes {
    location { id } quantities(names: ["available", "committed", "on_hand"]) { name quantity } } } } }"""


def set_input(**changes: Any) -> dict[str, Any]:
    entry = {
        "inventoryItemId": "gid://shopify/InventoryItem/8001",
        "locationId": f"gid://shopify/Location/{MAIN}",
        "quantity": 900,
        "changeFromQuantity": 1000,
        **changes.pop("entry", {}),
    }
    return {"name": "available", "reason": "correction", "quantities": [entry], **changes}


def quantities(shop: Visitor, item: int = 8001) -> dict[str, int]:
    levels = shop.ask(LEVEL, {"id": f"gid://shopify/InventoryItem/{item}"})["inventoryItem"]["inventoryLevels"]["nodes"]
    return {entry["name"]: entry["quantity"] for entry in levels[0]["quantities"]}


# ------------------------------------------------------------------ the door
def test_a_wrong_token_is_refused(shop: Visitor) -> None:
    answer = shop.harness.call("POST", "/admin/api/2026-10/graphql.json", headers={"X-Shopify-Access-Token": "other"}, json={"query": ORDER})
    assert answer.status == 401 and "Invalid API key" in answer.json()["errors"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/admin/api/2026-10/orders.json", 404),
        ("POST", "/admin/api/1999-01/graphql.json", 404),
        ("POST", "/admin/api/2026-01/graphql.json", 404),
        ("GET", "/admin/api/2026-10/graphql.json", 405),
    ],
)
def test_an_unknown_door_stays_shut(shop: Visitor, method: str, path: str, status: int) -> None:
    assert shop.harness.call(method, path, headers={"X-Shopify-Access-Token": TOKEN}, json={}).status == status


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"query": 5}', b'{"query": "{shop{id}}", "variables": 7}'])
def test_a_body_that_is_no_graphql_request_is_a_bad_request(shop: Visitor, body: bytes) -> None:
    headers = {"X-Shopify-Access-Token": TOKEN, "content-type": "application/json"}
    assert shop.harness.call("POST", "/admin/api/2026-10/graphql.json", headers=headers, body=body).status == 400


def test_only_json_is_taken(shop: Visitor) -> None:
    headers = {"X-Shopify-Access-Token": TOKEN, "content-type": "text/plain"}
    assert shop.harness.call("POST", "/admin/api/2026-10/graphql.json", headers=headers, body=b"{}").status == 415


# ------------------------------------------------------------------ the schema
@pytest.mark.parametrize(
    ("query", "variables", "says"),
    [
        ("query {", None, "Syntax Error"),
        ("{ shop { nmae } }", None, "Cannot query field 'nmae'"),
        ('mutation { tagsAdd(id: "gid://shopify/Order/1") { node { id } } }', None, "tags"),
        ("query($id: ID!) { order(id: $id) { id } }", {}, "id"),
        ("query($n: Int!) { orders(first: $n) { nodes { id } } }", {"n": "three"}, "Int"),
        ('{ order(id: "17") { id } }', None, "Invalid global id"),
        ('{ order(id: "gid://shopify/Customer/17") { id } }', None, "Invalid id"),
        ("{ orders { nodes { id } } }", None, "first or last"),
        ("{ orders(first: 251) { nodes { id } } }", None, "page size"),
        ('{ orders(first: 1, query: "risk_level:high") { nodes { id } } }', None, "does not understand"),
        ('{ orders(first: 1, after: "nonsense") { nodes { id } } }', None, "Invalid cursor"),
        ("query A { shop { id } } query B { shop { id } }", None, "operation name"),
    ],
)
def test_what_the_schema_does_not_know_is_an_error(shop: Visitor, query: str, variables: Any, says: str) -> None:
    assert says in shop.refused(query, variables)["message"]


def test_a_field_without_an_answer_says_so_and_is_never_silently_null(shop: Visitor) -> None:
    order = shop.place()
    error = shop.refused("query($id: ID!) { order(id: $id) { id clientIp } }", {"id": order["admin_graphql_api_id"]})
    assert error["message"] == "the simulator does not implement Order.clientIp"
    assert error["extensions"]["code"] == "SIMULATOR_UNSUPPORTED"
    assert "QueryRoot.draftOrders" in shop.refused("{ draftOrders(first: 1) { nodes { id } } }")["message"]


def test_an_unknown_order_is_null(shop: Visitor) -> None:
    assert shop.ask(ORDER, {"id": "gid://shopify/Order/1"}) == {"order": None}


# ------------------------------------------------------------------ cost
def test_every_answer_tells_its_cost(shop: Visitor) -> None:
    cost = shop.post("{ shop { name } }").json()["extensions"]["cost"]
    assert cost["requestedQueryCost"] == 1 and cost["actualQueryCost"] == 1
    assert cost["throttleStatus"] == {"maximumAvailable": 2000, "currentlyAvailable": 1999, "restoreRate": 100}


def test_an_empty_bucket_throttles_until_it_has_filled_again(open_shop: OpenShop) -> None:
    shop = open_shop(seed={**SEED, "throttle": {"maximum_available": 30, "restore_rate": 10}})
    query = "{ locations(first: 25) { nodes { id } } }"
    shop.clock.advance(1)
    first = shop.post(query).json()
    assert first["extensions"]["cost"]["requestedQueryCost"] == 27
    shop.post("{ a: shop { id } b: shop { id } c: shop { id } d: shop { id } e: shop { id } }")
    throttled = shop.post(query).json()
    assert throttled["errors"][0]["extensions"]["code"] == "THROTTLED" and "data" not in throttled
    shop.clock.advance(3)
    assert "errors" not in shop.post(query).json()


def test_a_query_beyond_the_single_query_limit_is_refused(shop: Visitor) -> None:
    query = "{ orders(first: 250) { nodes { lineItems(first: 50) { nodes { id } } } } }"
    assert shop.refused(query)["extensions"]["code"] == "MAX_COST_EXCEEDED"


# ------------------------------------------------------------------ reading
def test_orders_are_found_by_name_tag_and_change_time_page_by_page(shop: Visitor) -> None:
    first = shop.place(tags=["urgent"])
    shop.clock.advance(60)
    second = shop.place()
    shop.clock.advance(60)
    third = shop.place()
    query = """query($q: String, $after: String, $first: Int!) { orders(first: $first, query: $q, after: $after, sortKey: UPDATED_AT) {
        nodes { name updatedAt } pageInfo { hasNextPage endCursor } } }"""

    def names(q: str) -> list[str]:
        return [node["name"] for node in shop.ask(query, {"q": q, "first": 10})["orders"]["nodes"]]

    assert names(f"name:{second['name']}") == [second["name"]] and names("name:#9") == []
    assert names("tag:URGENT AND status:open") == [first["name"]]
    assert names("updated_at:>='2026-03-02T09:01:00Z'") == [second["name"], third["name"]]
    assert names("updated_at:>'2026-03-02T09:01:00Z' updated_at:<=2026-03-02T09:02:00+00:00") == [third["name"]]
    page = shop.ask(query, {"first": 2})["orders"]
    assert [node["name"] for node in page["nodes"]] == [first["name"], second["name"]] and page["pageInfo"]["hasNextPage"]
    rest = shop.ask(query, {"first": 2, "after": page["pageInfo"]["endCursor"]})["orders"]
    assert [node["name"] for node in rest["nodes"]] == [third["name"]] and not rest["pageInfo"]["hasNextPage"]


def test_an_order_shows_what_was_bought_by_whom_at_what_price(shop: Visitor) -> None:
    order = shop.place(shipping_price="25", tax=[{"title": "NV tax", "rate": "0.08"}], po_number="PO-7")
    query = """query($id: ID!) { order(id: $id) { legacyResourceId poNumber displayFinancialStatus displayFulfillmentStatus
        totalPriceSet { shopMoney { amount currencyCode } } totalTaxSet { shopMoney { amount } }
        shippingLine { title originalPriceSet { shopMoney { amount } } } shippingAddress { address1 countryCodeV2 }
        customer { id email } purchasingEntity { ... on PurchasingCompany { company { name externalId } location { id } } }
        taxLines { title rate priceSet { shopMoney { amount } } } transactions { kind status amountSet { shopMoney { amount } } }
        lineItems(first: 5) { nodes { sku quantity originalUnitPriceSet { shopMoney { amount } } variant { inventoryItem { id } } } } } }"""
    found = shop.ask(query, {"id": order["admin_graphql_api_id"]})["order"]
    assert found["legacyResourceId"] == str(order["id"]) and order["id"] > 2**53
    assert found["purchasingEntity"]["company"] == {"name": "Northwind", "externalId": "C-100"}
    assert found["totalTaxSet"]["shopMoney"]["amount"] == "71.60"  # 8 % of 100 x 0.45 + 2 x 412.50 + 25
    assert found["totalPriceSet"]["shopMoney"] == {"amount": "966.60", "currencyCode": "USD"}
    assert found["taxLines"][0]["rate"] == Decimal("0.08")
    assert found["transactions"][0]["kind"] == "SALE" and found["transactions"][0]["amountSet"]["shopMoney"]["amount"] == "966.60"


def test_variants_locations_and_customers_are_found(shop: Visitor) -> None:
    data = shop.ask(
        """{ productVariants(first: 2, query: "sku:PUMP-2HP") { nodes { sku price inventoryQuantity product { title }
             inventoryItem { id tracked inventoryLevel(locationId: "gid://shopify/Location/655441492") { quantities(names: ["available"]) { quantity } } } } }
             locations(first: 5) { nodes { id name isActive } } location { name }
             customers(first: 1, query: "email:BUYER@northwind.example") { nodes { id displayName companyContactProfiles { company { name } } } }
             customer(id: "gid://shopify/Customer/7001") { email } shop { myshopifyDomain }
             node(id: "gid://shopify/InventoryItem/8001") { ... on InventoryItem { sku } }
             inventoryItems(first: 1, query: "sku:BOLT-M8") { nodes { id } } }"""
    )
    assert data["productVariants"]["nodes"][0]["inventoryQuantity"] == 6
    assert data["productVariants"]["nodes"][0]["inventoryItem"]["inventoryLevel"]["quantities"] == [{"quantity": 2}]
    assert [node["name"] for node in data["locations"]["nodes"]] == ["Main warehouse", "Overflow"]
    assert data["customers"]["nodes"][0]["companyContactProfiles"] == [{"company": {"name": "Northwind"}}]
    assert data["node"] == {"sku": "BOLT-M8"} and data["inventoryItems"]["nodes"] == [{"id": "gid://shopify/InventoryItem/8001"}]


# ------------------------------------------------------------------ stock
def test_placing_an_order_commits_its_stock(shop: Visitor) -> None:
    shop.place()
    assert quantities(shop) == {"available": 900, "committed": 100, "on_hand": 1000}


def test_stock_is_set_when_it_still_is_what_the_caller_thinks(shop: Visitor) -> None:
    answer = shop.ask(SET, {"input": set_input(), "key": "k1"})["inventorySetQuantities"]
    changes = answer["inventoryAdjustmentGroup"]["changes"]
    assert [(entry["name"], entry["delta"], entry["quantityAfterChange"]) for entry in changes] == [("available", -100, 900), ("on_hand", -100, 900)]
    shop.deliver()
    assert shop.received.bodies("inventory_levels/update")[-1]["available"] == 900
    stale = shop.ask(SET, {"input": set_input(entry={"quantity": 5}), "key": "k2"})["inventorySetQuantities"]
    assert stale["userErrors"][0]["code"] == "CHANGE_FROM_QUANTITY_STALE" and stale["inventoryAdjustmentGroup"] is None
    assert quantities(shop)["available"] == 900
    shop.ask(SET, {"input": set_input(entry={"quantity": 5, "changeFromQuantity": None}), "key": "k3"})
    assert quantities(shop)["available"] == 5


SET_PRICES = """
mutation($productId: ID!, $variants: [ProductVariantsBulkInput!]!) {
  productVariantsBulkUpdate(productId: $productId, variants: $variants) { productVariants { id price } userErrors { code field message } }
}"""


def priced(shop: Visitor) -> tuple[str, dict[str, str]]:
    """(product, {"id", "price"}) of the bolt."""
    variant = shop.ask("{ productVariants(first: 1) { nodes { id price product { id } } } }")["productVariants"]["nodes"][0]
    return variant["product"]["id"], {"id": variant["id"], "price": variant["price"]}


def test_a_price_is_set_to_the_cent(shop: Visitor) -> None:
    product, variant = priced(shop)
    answer = shop.ask(SET_PRICES, {"productId": product, "variants": [{"id": variant["id"], "price": "0.485"}]})["productVariantsBulkUpdate"]
    assert answer == {"productVariants": [{"id": variant["id"], "price": "0.49"}], "userErrors": []}
    assert priced(shop)[1]["price"] == "0.49"
    shop.act("set_price", sku="BOLT-M8", price="0.45")
    assert priced(shop)[1]["price"] == "0.45"


def test_a_price_that_the_shop_cannot_take_changes_nothing(shop: Visitor) -> None:
    product, variant = priced(shop)

    def refused(product: str, *variants: dict[str, str]) -> list[tuple[str, list[str]]]:
        answer = shop.ask(SET_PRICES, {"productId": product, "variants": list(variants)})["productVariantsBulkUpdate"]
        assert answer["productVariants"] is None
        return [(error["code"], error["field"]) for error in answer["userErrors"]]

    assert refused("gid://shopify/Product/1", {"id": variant["id"], "price": "1"}) == [("PRODUCT_DOES_NOT_EXIST", ["productId"])]
    wrong = [{"id": variant["id"], "price": "-1"}, {"price": "1"}, {"id": "gid://shopify/ProductVariant/1", "price": "1"}, {"id": variant["id"], "price": "1" + "0" * 18}]
    assert refused(product, *wrong) == [
        ("GREATER_THAN_OR_EQUAL_TO", ["variants", "0", "price"]),
        ("PRODUCT_VARIANT_ID_MISSING", ["variants", "1", "id"]),
        ("PRODUCT_VARIANT_DOES_NOT_EXIST", ["variants", "2", "id"]),
        ("INVALID_INPUT", ["variants", "3", "price"]),
    ]
    assert priced(shop)[1] == variant


def test_stock_mutations_without_idempotent_are_refused(shop: Visitor) -> None:
    bare = SET.replace(" @idempotent(key: $key)", "").replace(", $key: String!", "")
    error = shop.refused(bare, {"input": set_input()})
    assert error["message"] == "The @idempotent directive is required for this mutation but was not provided."
    assert error["extensions"]["code"] == "BAD_REQUEST" and quantities(shop)["available"] == 1000
    assert "blank" in shop.refused(SET, {"input": set_input(), "key": " "})["message"]


def test_stock_mutations_without_the_compare_field_are_refused(shop: Visitor) -> None:
    given = set_input()
    del given["quantities"][0]["changeFromQuantity"]
    error = shop.refused(SET, {"input": given, "key": "k"})
    assert error["message"] == "InventoryQuantityInput must include the following argument: changeFromQuantity."


def test_the_same_idempotency_key_answers_the_same_and_changes_nothing_again(shop: Visitor) -> None:
    first = shop.ask(SET, {"input": set_input(), "key": "k1"})
    assert shop.ask(SET, {"input": set_input(), "key": "k1"}) == first
    other = shop.ask(SET, {"input": set_input(entry={"quantity": 1}), "key": "k1"})["inventorySetQuantities"]
    assert other["userErrors"][0]["code"] == "IDEMPOTENCY_KEY_PARAMETER_MISMATCH" and quantities(shop)["available"] == 900


def test_a_key_whose_attempt_was_refused_is_burnt(shop: Visitor) -> None:
    wrong = {"input": set_input(entry={"changeFromQuantity": 3}), "key": "k"}
    assert shop.ask(SET, wrong)["inventorySetQuantities"]["userErrors"][0]["code"] == "CHANGE_FROM_QUANTITY_STALE"
    assert shop.ask(SET, wrong)["inventorySetQuantities"]["userErrors"][0]["code"] == "IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"name": "damaged"}, "INVALID_NAME"),
        ({"reason": "because"}, "INVALID_REASON"),
        ({"referenceDocumentUri": "no uri"}, "INVALID_REFERENCE_DOCUMENT"),
        ({"entry": {"quantity": -1}}, "INVALID_QUANTITY_NEGATIVE"),
        ({"entry": {"quantity": 1_000_000_001}}, "INVALID_QUANTITY_TOO_HIGH"),
        ({"entry": {"inventoryItemId": "gid://shopify/InventoryItem/1"}}, "INVALID_INVENTORY_ITEM"),
        ({"entry": {"locationId": "gid://shopify/Location/1"}}, "INVALID_LOCATION"),
    ],
)
def test_stock_nobody_could_set_is_refused(shop: Visitor, changes: dict[str, Any], code: str) -> None:
    answer = shop.ask(SET, {"input": set_input(**changes), "key": code})["inventorySetQuantities"]
    assert [error["code"] for error in answer["userErrors"]] == [code] and answer["userErrors"][0]["field"][0] == "input"


def test_the_same_place_twice_in_one_call_is_refused(shop: Visitor) -> None:
    given = set_input()
    given["quantities"] *= 2
    answer = shop.ask(SET, {"input": given, "key": "k"})["inventorySetQuantities"]
    assert answer["userErrors"][0]["code"] == "NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR"


def test_stock_is_adjusted_by_a_delta(shop: Visitor) -> None:
    query = """mutation($input: InventoryAdjustQuantitiesInput!) { inventoryAdjustQuantities(input: $input) @idempotent(key: "a") {
        inventoryAdjustmentGroup { changes { name delta } } userErrors { code } } }"""
    change = {"delta": -7, "inventoryItemId": "gid://shopify/InventoryItem/8001", "locationId": f"gid://shopify/Location/{MAIN}", "changeFromQuantity": None}
    good = {"name": "available", "reason": "shrinkage", "changes": [change]}
    assert shop.ask(query, {"input": good})["inventoryAdjustQuantities"]["userErrors"] == []
    assert quantities(shop)["available"] == 993
    for changes, code in [
        ({"name": "on_hand"}, "INVALID_QUANTITY_NAME"),
        ({"name": "damaged"}, "INVALID_QUANTITY_DOCUMENT"),
        ({"changes": [{**change, "delta": 2_000_000_001}]}, "INVALID_QUANTITY_TOO_HIGH"),
        ({"changes": [{**change, "delta": -2_000_000_001}]}, "INVALID_QUANTITY_TOO_LOW"),
        ({"changes": [{**change, "changeFromQuantity": 1}]}, "CHANGE_FROM_QUANTITY_STALE"),
        ({"changes": [{**change, "ledgerDocumentUri": "x://y"}]}, "INVALID_AVAILABLE_DOCUMENT"),
    ]:
        fresh = query.replace('"a"', f'"{code}"')
        assert code in [error["code"] for error in shop.ask(fresh, {"input": {**good, **changes}})["inventoryAdjustQuantities"]["userErrors"]]


# ------------------------------------------------------------------ fulfilment
def test_an_order_is_fulfilled_in_two_parts(shop: Visitor) -> None:
    order = shop.place()
    document = shop.fulfillment_order(order)
    bolts, pumps = document["lineItems"]["nodes"]
    part = {"fulfillmentOrderId": document["id"], "fulfillmentOrderLineItems": [{"id": bolts["id"], "quantity": 60}, {"id": pumps["id"], "quantity": 2}]}
    tracking = {"company": "UPS", "number": "1Z1", "url": "https://ups.example/1Z1"}
    made = shop.fulfil(lineItemsByFulfillmentOrder=[part], trackingInfo=tracking)["fulfillment"]
    assert made["status"] == "SUCCESS" and made["totalQuantity"] == 62 and made["trackingInfo"] == [tracking]
    # what was committed is gone from the shelf; what is available did not change, so no stock is announced
    assert shop.received.topics()[-4:] == ["inventory_levels/update", "fulfillments/create", "orders/updated", "orders/partially_fulfilled"]
    assert shop.received.topics().count("inventory_levels/update") == 2
    left = shop.fulfillment_order(order)
    assert left["status"] == "IN_PROGRESS" and [line["remainingQuantity"] for line in left["lineItems"]["nodes"]] == [40, 0]
    shop.fulfil(lineItemsByFulfillmentOrder=[{"fulfillmentOrderId": document["id"]}], trackingInfo={**tracking, "number": "1Z2"})
    assert shop.received.topics()[-1] == "orders/fulfilled" and shop.fulfillment_order(order)["status"] == "CLOSED"
    assert quantities(shop) == {"available": 900, "committed": 0, "on_hand": 900}
    found = shop.ask(
        """query($id: ID!) { order(id: $id) { displayFulfillmentStatus fulfillmentsCount { count }
             fulfillments { name trackingInfo { number } fulfillmentLineItems(first: 5) { nodes { quantity lineItem { sku } } } } } }""",
        {"id": order["admin_graphql_api_id"]},
    )["order"]
    assert found["displayFulfillmentStatus"] == "FULFILLED" and found["fulfillmentsCount"]["count"] == 2
    assert [entry["trackingInfo"][0]["number"] for entry in found["fulfillments"]] == ["1Z1", "1Z2"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"fulfillmentOrderId": "gid://shopify/FulfillmentOrder/1"}, "Fulfillment order does not exist."),
        ({"fulfillmentOrderLineItems": [{"id": "gid://shopify/FulfillmentOrderLineItem/1", "quantity": 1}]}, "line item does not exist"),
        ({"quantity": 101}, "Invalid fulfillment order line item quantity requested."),
        ({"quantity": 0}, "Invalid fulfillment order line item quantity requested."),
    ],
)
def test_a_fulfilment_that_fits_no_order_is_refused(shop: Visitor, change: dict[str, Any], says: str) -> None:
    order = shop.place()
    document = shop.fulfillment_order(order)
    line = {"id": document["lineItems"]["nodes"][0]["id"], "quantity": change.pop("quantity", 1)}
    entry = {"fulfillmentOrderId": document["id"], "fulfillmentOrderLineItems": [line], **change}
    answer = shop.fulfil(lineItemsByFulfillmentOrder=[entry])
    assert answer["fulfillment"] is None and says in answer["userErrors"][0]["message"]
    assert shop.fulfillment_order(order) == document


def test_nothing_is_fulfilled_twice_nor_after_a_cancellation_nor_across_orders(shop: Visitor) -> None:
    order, other = shop.place(), shop.place()
    entries = [{"fulfillmentOrderId": shop.fulfillment_order(each)["id"]} for each in (order, other)]
    assert "same order" in shop.fulfil(lineItemsByFulfillmentOrder=entries)["userErrors"][0]["message"]
    assert "only once" in shop.fulfil(lineItemsByFulfillmentOrder=entries[:1] * 2)["userErrors"][0]["message"]
    assert "At least one" in shop.fulfil(lineItemsByFulfillmentOrder=[])["userErrors"][0]["message"]
    assert shop.fulfil(lineItemsByFulfillmentOrder=entries[:1])["userErrors"] == []
    assert "unfulfillable status= closed" in shop.fulfil(lineItemsByFulfillmentOrder=entries[:1])["userErrors"][0]["message"]
    shop.act("cancel_order", order=other["name"])
    assert "unfulfillable status= closed" in shop.fulfil(lineItemsByFulfillmentOrder=entries[1:])["userErrors"][0]["message"]


def test_tracking_is_replaced_and_a_fulfilment_is_taken_back(shop: Visitor) -> None:
    order = shop.place()
    document = shop.fulfillment_order(order)
    made = shop.fulfil(lineItemsByFulfillmentOrder=[{"fulfillmentOrderId": document["id"]}], trackingInfo={"company": "UPS", "number": "A"})["fulfillment"]
    update = """mutation($id: ID!, $t: FulfillmentTrackingInput!) { fulfillmentTrackingInfoUpdate(fulfillmentId: $id, trackingInfoInput: $t, notifyCustomer: false) {
        fulfillment { trackingInfo { number url } } userErrors { message } } }"""
    changed = shop.ask(update, {"id": made["id"], "t": {"company": "DHL", "numbers": ["B", "C"], "urls": ["https://d.example/B", "https://d.example/C"]}})
    assert [entry["number"] for entry in changed["fulfillmentTrackingInfoUpdate"]["fulfillment"]["trackingInfo"]] == ["B", "C"]
    shop.deliver()
    assert shop.received.bodies("fulfillments/update")[-1]["tracking_numbers"] == ["B", "C"]
    assert "Invalid url" in shop.refused(update, {"id": made["id"], "t": {"url": "ups"}})["message"]
    assert shop.ask(update, {"id": "gid://shopify/Fulfillment/1", "t": {}})["fulfillmentTrackingInfoUpdate"]["userErrors"]
    cancel = "mutation($id: ID!) { fulfillmentCancel(id: $id) { fulfillment { status } userErrors { message } } }"
    assert shop.ask(cancel, {"id": made["id"]})["fulfillmentCancel"]["fulfillment"]["status"] == "CANCELLED"
    assert shop.fulfillment_order(order) == document and quantities(shop)["committed"] == 100
    assert shop.ask(cancel, {"id": made["id"]})["fulfillmentCancel"]["userErrors"]
    assert shop.ask(update, {"id": made["id"], "t": {}})["fulfillmentTrackingInfoUpdate"]["userErrors"]


def test_a_held_fulfillment_order_waits_for_its_release(shop: Visitor) -> None:
    order = shop.place()
    document = shop.fulfillment_order(order)
    hold = """mutation($id: ID!) { fulfillmentOrderHold(id: $id, fulfillmentHold: {reason: HIGH_RISK_OF_FRAUD, handle: "credit"}) {
        fulfillmentHold { id reason } fulfillmentOrder { status } userErrors { message } } }"""
    release = "mutation($id: ID!, $h: [ID!]) { fulfillmentOrderReleaseHold(id: $id, holdIds: $h) { fulfillmentOrder { status } userErrors { message } } }"
    assert shop.ask(release, {"id": document["id"]})["fulfillmentOrderReleaseHold"]["userErrors"]
    assert shop.ask(hold, {"id": document["id"]})["fulfillmentOrderHold"]["fulfillmentOrder"]["status"] == "ON_HOLD"
    assert "already in use" in shop.ask(hold, {"id": document["id"]})["fulfillmentOrderHold"]["userErrors"][0]["message"]
    entry = {"fulfillmentOrderId": document["id"]}
    assert "on_hold" in shop.fulfil(lineItemsByFulfillmentOrder=[entry])["userErrors"][0]["message"]
    display = shop.ask("query($id: ID!) { order(id: $id) { displayFulfillmentStatus } }", {"id": order["admin_graphql_api_id"]})
    assert display["order"]["displayFulfillmentStatus"] == "ON_HOLD"
    assert shop.ask(release, {"id": document["id"], "h": None})["fulfillmentOrderReleaseHold"]["fulfillmentOrder"]["status"] == "OPEN"
    assert shop.fulfil(lineItemsByFulfillmentOrder=[entry])["userErrors"] == []
    assert "can be put on hold" in shop.ask(hold, {"id": document["id"]})["fulfillmentOrderHold"]["userErrors"][0]["message"]


# ------------------------------------------------------------------ cancelling, refunding, changing
CANCEL = """mutation($id: ID!, $note: String, $restock: Boolean!) {
  orderCancel(orderId: $id, reason: CUSTOMER, restock: $restock, refundMethod: {originalPaymentMethodsRefund: true}, notifyCustomer: false, staffNote: $note) {
    job { id done } orderCancelUserErrors { code field message } } }"""


def test_a_cancelled_order_gives_stock_and_money_back_by_an_asynchronous_job(shop: Visitor) -> None:
    order = shop.place()
    answer = shop.ask(CANCEL, {"id": order["admin_graphql_api_id"], "note": "changed their mind", "restock": True})["orderCancel"]
    assert answer["orderCancelUserErrors"] == [] and answer["job"]["done"] is False
    assert shop.ask("query($id: ID!) { job(id: $id) { done } }", {"id": answer["job"]["id"]}) == {"job": {"done": True}}
    found = shop.ask(
        """query($id: ID!) { order(id: $id) { cancelledAt cancelReason displayFinancialStatus totalRefundedSet { shopMoney { amount } }
             currentTotalPriceSet { shopMoney { amount } } refunds { note refundLineItems(first: 5) { nodes { quantity } } } } }""",
        {"id": order["admin_graphql_api_id"]},
    )["order"]
    assert found["cancelReason"] == "CUSTOMER" and found["displayFinancialStatus"] == "REFUNDED"
    assert found["totalRefundedSet"]["shopMoney"]["amount"] == order["total_price"] and found["currentTotalPriceSet"]["shopMoney"]["amount"] == "0.00"
    assert quantities(shop) == {"available": 1000, "committed": 0, "on_hand": 1000}
    shop.deliver()
    assert {"orders/cancelled", "orders/updated", "refunds/create"} <= set(shop.received.topics())


def test_an_order_that_cannot_be_cancelled_says_why(shop: Visitor) -> None:
    order, shipped = shop.place(), shop.place()

    def codes(order_id: str, **more: Any) -> list[tuple[str, str]]:
        given = {"id": order_id, "restock": False, "note": None, **more}
        return [(error["code"], error["message"]) for error in shop.ask(CANCEL, given)["orderCancel"]["orderCancelUserErrors"]]

    assert codes("gid://shopify/Order/1")[0][0] == "NOT_FOUND"
    assert "too long" in codes(order["admin_graphql_api_id"], note="x" * 256)[0][1]
    assert codes(order["admin_graphql_api_id"]) == []
    assert "already been cancelled" in codes(order["admin_graphql_api_id"])[0][1]
    shop.fulfil(lineItemsByFulfillmentOrder=[{"fulfillmentOrderId": shop.fulfillment_order(shipped)["id"]}])
    assert "outstanding fulfillments" in codes(shipped["admin_graphql_api_id"])[0][1]
    both = CANCEL.replace("restock: $restock", "restock: $restock, refund: true")
    assert "Only one of refund" in shop.refused(both, {"id": shipped["admin_graphql_api_id"], "restock": True})["message"]


REFUND = """mutation($input: RefundInput!, $key: String!) { refundCreate(input: $input) @idempotent(key: $key) {
    refund { id note totalRefundedSet { shopMoney { amount } } refundLineItems(first: 5) { nodes { quantity restockType } } }
    order { displayFinancialStatus currentTotalPriceSet { shopMoney { amount } } } userErrors { field message } } }"""


def test_a_refund_moves_money_once_per_key(shop: Visitor) -> None:
    order = shop.place()
    line = order["line_items"][0]["admin_graphql_api_id"]
    given = {
        "orderId": order["admin_graphql_api_id"],
        "note": "damaged",
        "refundLineItems": [{"lineItemId": line, "quantity": 10, "restockType": "CANCEL", "locationId": f"gid://shopify/Location/{MAIN}"}],
        "transactions": [{"orderId": order["admin_graphql_api_id"], "kind": "REFUND", "gateway": "manual", "amount": "4.50"}],
    }
    first = shop.ask(REFUND, {"input": given, "key": "r1"})
    assert shop.ask(REFUND, {"input": given, "key": "r1"}) == first and len(shop.harness.state()["refunds"]) == 1
    assert first["refundCreate"]["order"] == {"displayFinancialStatus": "PARTIALLY_REFUNDED", "currentTotalPriceSet": {"shopMoney": {"amount": "865.50"}}}
    assert quantities(shop) == {"available": 910, "committed": 90, "on_hand": 1000}
    assert shop.fulfillment_order(order)["lineItems"]["nodes"][0]["remainingQuantity"] == 90
    assert "directive is required" in shop.refused(REFUND.replace(" @idempotent(key: $key)", "").replace(", $key: String!", ""), {"input": given})["message"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"orderId": "gid://shopify/Order/1"}, "Order does not exist"),
        ({"refundLineItems": [{"lineItemId": "gid://shopify/LineItem/1", "quantity": 1}]}, "Line item does not exist"),
        ({"quantity": 101}, "more items than were purchased"),
        ({"restockType": "RETURN"}, "Location is required"),
        ({"restockType": "RETURN", "locationId": "gid://shopify/Location/1"}, "Location does not exist"),
        ({"restockType": "LEGACY_RESTOCK"}, "not accepted"),
        ({"shipping": {"amount": "1.00"}}, "greater than the shipping paid"),
        ({"amount": "99999.00"}, "greater than net payment"),
        ({"kind": "SALE"}, "kind must be refund"),
        ({"refundLineItems": []}, "at least one"),
    ],
)
def test_a_refund_beyond_the_order_is_refused(shop: Visitor, change: dict[str, Any], says: str) -> None:
    order = shop.place()
    line = {"lineItemId": order["line_items"][0]["admin_graphql_api_id"], "quantity": 1}
    line |= {name: change.pop(name) for name in ("quantity", "restockType", "locationId") if name in change}
    given: dict[str, Any] = {"orderId": order["admin_graphql_api_id"], "refundLineItems": [line]}
    if {"amount", "kind"} & change.keys():
        given["transactions"] = [{"orderId": given["orderId"], "kind": change.pop("kind", "REFUND"), "gateway": "manual", "amount": change.pop("amount", "1.00")}]
    answer = shop.ask(REFUND, {"input": {**given, **change}, "key": says})["refundCreate"]
    assert answer["refund"] is None and says in answer["userErrors"][0]["message"]


def test_notes_tags_and_metafields_are_written(shop: Visitor) -> None:
    order = shop.place(tags=["b2b"])
    gid = order["admin_graphql_api_id"]
    data = shop.ask(
        """mutation($id: ID!) { orderUpdate(input: {id: $id, note: "call first", poNumber: "PO-9", customAttributes: [{key: "dock", value: "4"}]}) {
             order { note poNumber customAttributes { key value } } userErrors { message } }
           add: tagsAdd(id: $id, tags: ["held", "B2B", "x, y"]) { node { id ... on Order { tags } } userErrors { message } }
           tagsRemove(id: $id, tags: ["X"]) { node { ... on Order { tags } } userErrors { message } }
           metafieldsSet(metafields: [{ownerId: $id, namespace: "crossdock", key: "shipment", type: "single_line_text_field", value: "s-1"}]) {
             metafields { key value } userErrors { message } } }""",
        {"id": gid},
    )
    assert data["orderUpdate"]["order"] == {"note": "call first", "poNumber": "PO-9", "customAttributes": [{"key": "dock", "value": "4"}]}
    assert data["add"]["node"]["tags"] == ["b2b", "held", "x", "y"] and data["tagsRemove"]["node"]["tags"] == ["b2b", "held", "y"]
    read = shop.ask('query($id: ID!) { order(id: $id) { metafield(namespace: "crossdock", key: "shipment") { value } metafields(first: 5) { nodes { key } } } }', {"id": gid})
    assert read["order"] == {"metafield": {"value": "s-1"}, "metafields": {"nodes": [{"key": "shipment"}]}}
    shop.deliver()
    assert shop.received.bodies("orders/updated")[-1]["tags"] == "b2b, held, y"
    assert "Invalid id" in shop.refused('mutation { tagsAdd(id: "gid://shopify/Order/1", tags: ["a"]) { node { id } } }')["message"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"value": ""}, "BLANK"),
        ({"key": "k"}, "TOO_SHORT"),
        ({"type": None}, "BLANK"),
        ({"ownerId": "gid://shopify/Order/1"}, "INVALID"),
        ({"compareDigest": "abc"}, "STALE_OBJECT"),
    ],
)
def test_a_metafield_nobody_could_hold_is_refused(shop: Visitor, change: dict[str, Any], code: str) -> None:
    order = shop.place()
    field = {"ownerId": order["admin_graphql_api_id"], "namespace": "n", "key": "key", "type": "single_line_text_field", "value": "v", **change}
    query = "mutation($m: [MetafieldsSetInput!]!) { metafieldsSet(metafields: $m) { metafields { id } userErrors { code } } }"
    assert shop.ask(query, {"m": [field]})["metafieldsSet"] == {"metafields": None, "userErrors": [{"code": code}]}
    assert shop.ask(query, {"m": [field] * 26})["metafieldsSet"]["userErrors"] == [{"code": "LESS_THAN_OR_EQUAL_TO"}]


def test_tags_and_notes_beyond_their_limits_are_refused(shop: Visitor) -> None:
    order = shop.place()
    update = "mutation($i: OrderInput!) { orderUpdate(input: $i) { order { id } userErrors { message } } }"
    for given in ({"note": "x" * 5001}, {"tags": ["y" * 41]}, {"tags": [f"t{n}" for n in range(251)]}):
        answer = shop.ask(update, {"i": {"id": order["admin_graphql_api_id"], **given}})["orderUpdate"]
        assert answer["order"] is None and answer["userErrors"]
    assert shop.ask(update, {"i": {"id": "gid://shopify/Order/1"}})["orderUpdate"]["userErrors"]


def test_an_app_creates_an_order(shop: Visitor) -> None:
    query = """mutation($o: OrderCreateOrderInput!) { orderCreate(order: $o, options: {inventoryBehaviour: BYPASS}) {
        order { id name sourceIdentifier totalPriceSet { shopMoney { amount } } } userErrors { code message } } }"""
    money = {"shopMoney": {"amount": "12.50", "currencyCode": "USD"}}
    given = {
        "email": "mail@order.example",
        "sourceIdentifier": "MKT-1",
        "lineItems": [{"sku": "BOLT-M8", "quantity": 2, "priceSet": money, "requiresShipping": True}],
        "shippingLines": [{"title": "Road", "priceSet": money}],
        "shippingAddress": {"address1": "1 A St", "city": "Reno", "countryCode": "US"},
        "taxLines": [{"title": "VAT", "rate": "0.10"}],
    }
    made = shop.ask(query, {"o": given})["orderCreate"]["order"]
    assert made["sourceIdentifier"] == "MKT-1" and made["totalPriceSet"]["shopMoney"]["amount"] == "41.25"
    assert shop.ask(query, {"o": {**given, "lineItems": []}})["orderCreate"]["userErrors"][0]["code"] == "INVALID"
    assert "does not implement orderCreate" in shop.refused(query, {"o": {**given, "phone": "555"}})["message"]
