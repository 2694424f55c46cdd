"""How does ShipBob take goods back?"""

from __future__ import annotations

from typing import Any

from local.simulators.server import ActionRefused, Answer, Call, Refusal
from local.simulators.shipbob import admission, contract
from local.simulators.shipbob.warehouse import Document, Warehouse

_QUERY: dict[str, admission.Convert] = {
    "Ids": admission.numbers,
    "ReferenceIds": admission.texts,
    "Status": admission.texts,
    "OriginalShipmentIds": admission.numbers,
    "Limit": admission.number(1, 250),
    "Cursor": admission.number(1, contract.INT32_MAX),
    "SortOrder": admission.choice("Asc", "Desc"),
}


class Returns:
    """Return orders from creation to the shelf (or the bin)."""

    def __init__(self, house: Warehouse, channel_id: int) -> None:
        self._house = house
        self._channel_id = channel_id
        self.documents = house.ctx.store.collection("returns")

    def create(self, call: Call) -> Answer:
        admission.channel(call, self._channel_id, required=True)
        wanted = admission.body(call, contract.CreateReturn)
        house = self._house
        center = house.centers.get(wanted.fulfillment_center.id)
        if center is None:
            raise _unprocessable(f"Fulfillment center {wanted.fulfillment_center.id} does not exist.")
        if self.documents.first(lambda each: each["reference_id"] == wanted.reference_id):
            raise _unprocessable(f"A return with reference id {wanted.reference_id} already exists.")
        shipment = house.shipments.get(wanted.original_shipment_id) if wanted.original_shipment_id else None
        if wanted.original_shipment_id and (shipment is None or shipment["status"] != "Completed"):
            raise _unprocessable(f"Shipment {wanted.original_shipment_id} has not been shipped.")
        now = house.now()
        document: Document = {
            "id": house.ctx.store.next_id("return", 70001),
            "reference_id": wanted.reference_id,
            "status": "AwaitingArrival",
            "return_type": "Regular",
            "customer_name": shipment["recipient"]["name"] if shipment else None,
            "channel": {"id": self._channel_id, "name": None},
            "fulfillment_center": {"id": center["id"], "name": center["name"]},
            "original_shipment_id": wanted.original_shipment_id,
            "store_order_id": shipment["reference_id"] if shipment else None,
            "tracking_number": wanted.tracking_number,
            "insert_date": now,
            "awaiting_arrival_date": now,
            "arrived_date": None,
            "processing_date": None,
            "completed_date": None,
            "cancelled_date": None,
            "inventory": [self._expected(item) for item in wanted.inventory],
            "status_history": [{"status": "AwaitingArrival", "timestamp": now}],
            "transactions": [],
        }
        self.documents.put(document["id"], document)
        house.tell("return.created", document)
        only_in_details = {"awaiting_arrival_date", "arrived_date", "processing_date", "cancelled_date", "status_history"}
        shown = {key: value for key, value in document.items() if key not in only_in_details}
        shown["inventory"] = [{key: value for key, value in item.items() if key not in ("sku", "barcodes")} for item in document["inventory"]]
        return Answer(201, shown)

    def _expected(self, wanted: contract.ReturnedItem) -> Document:
        item = self._house.items.get(wanted.id)
        if item is None:
            raise _unprocessable(f"Inventory {wanted.id} does not exist.")
        return {
            "id": item["inventory_id"],
            "name": item["name"],
            "sku": item["sku"],
            "barcodes": [],
            "quantity": wanted.quantity,
            "action_requested": {"action": wanted.requested_action, "action_type": "Primary", "instructions": None},
            "action_taken": [],
        }

    def list(self, call: Call) -> Answer:
        admission.channel(call, self._channel_id, required=False)
        asked = admission.query(call, _QUERY)
        found = self.documents.find(
            lambda each: (
                ("Ids" not in asked or each["id"] in asked["Ids"])
                and ("ReferenceIds" not in asked or each["reference_id"] in asked["ReferenceIds"])
                and ("Status" not in asked or each["status"] in asked["Status"])
                and ("OriginalShipmentIds" not in asked or each["original_shipment_id"] in asked["OriginalShipmentIds"])
            )
        )
        if asked.get("SortOrder") == "Desc":
            found.reverse()
        return Answer(200, {"items": found[: asked.get("Limit", 100)], "next": None, "prev": None, "first": None, "last": None})

    def _get(self, call: Call) -> Document:
        document = self.documents.get(admission.path_number(call, "id"))
        if document is None:
            raise Refusal(Answer(404, {"title": "Not Found", "status": 404, "detail": "The return does not exist."}))
        return document

    def get(self, call: Call) -> Answer:
        admission.channel(call, self._channel_id, required=False)
        return Answer(200, self._get(call))

    def cancel(self, call: Call) -> Answer:
        document = self._get(call)
        if document["status"] != "AwaitingArrival":
            raise Refusal(Answer(400))
        self._move(document, "Cancelled", "cancelled_date")
        self._house.tell("return.updated", document)
        return Answer(200)

    def complete(self, body: dict[str, Any]) -> Document:
        """Staff action: the goods arrived and were dealt with as requested, or as ``items`` says:
        [{"sku", "actions": [{"action": "Restock"|"Quarantine"|"Dispose", "quantity"}]}]; what it leaves out did not come."""
        document = self.documents.get(body["return_id"])
        if document is None or document["status"] != "AwaitingArrival":
            raise ActionRefused(f"return {body['return_id']} does not await its goods")
        told = {entry["sku"]: entry["actions"] for entry in body.get("items") or []}
        for item in document["inventory"]:
            asked = item["action_requested"]["action"]
            done = [{"action": "Restock" if asked == "Default" else asked, "quantity": item["quantity"]}] if "items" not in body else told.get(item["sku"], [])
            item["action_taken"] = [{"action": each["action"], "action_reason": None, "image_url": None, "quantity_processed": each["quantity"]} for each in done]
            back = sum(each["quantity"] for each in done if each["action"] == "Restock")
            if back:
                self._house.change_level(item["id"], document["fulfillment_center"]["id"], on_hand=back)
        self._move(document, "Completed", "completed_date")
        self._house.tell("return.completed", document)
        return document

    def _move(self, document: Document, status: str, date_field: str) -> None:
        now = self._house.now()
        document.update(status=status)
        document[date_field] = now
        document["status_history"].append({"status": status, "timestamp": now})
        self.documents.put(document["id"], document)


def _unprocessable(problem: str) -> Refusal:
    return Refusal(Answer(422, {"message": "The return could not be created.", "errors": [problem]}))
