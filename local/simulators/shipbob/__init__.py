"""How does ShipBob behave, seen from outside? A simulator of its 2026-01 API for one account and sales channel.

**Acknowledgement.** ShipBob has no webhook for "we have taken this order on". `POST /order` queues the order: it answers
201 with shipments in status `Processing` whose `estimated_fulfillment_date_status` is `AwaitingInventoryAllocation`. Some
moments later stock is allocated and the fulfillment clock starts: the same shipment then says `PendingOnTime`, carries an
`estimated_fulfillment_date` and its items' `quantity_committed` equals their `quantity`. That, found by polling
`GET /order?LastUpdateStartDate=` or `GET /order?ReferenceIds=`, is the acknowledgement. If stock does not suffice the
shipment turns to `Exception` (webhook `order.shipment.exception`), with a bad address to `OnHold`.

**Webhooks** (Standard Webhooks, header `x-webhook-topic`, body = the shipment as `GET /shipment/{id}` shows it):
`order.shipped` per shipment, `order.shipment.delivered|exception|on_hold|cancelled`, `return.created|updated|completed`.

**Unknown SKUs** are not refused: ShipBob makes a product of an unknown `reference_id`, and the shipment ends in exception.
**A reference_id** is taken once per account: the second order with it is refused with 422.
**Cancelling** is refused (422) once a shipment is picked, packed, labelled or shipped, and for a cancelled order.

Credentials `{access_token, channel_id}`. Seed `{channel_name, fulfillment_centers: [{id, name, ...}], products: [{sku, name,
is_active, stock: {center id: quantity}}], shipping_methods: [name]}`. Staff actions (`POST /_actions/<verb>` with `shipment_id`,
`order_id` or `reference_id`): acknowledge, pick, ship (`lines: [{sku, quantity}]`, `tracking_number`, `carrier`), hold and
exception (`reason`), resume, cancel, reject, deliver, adjust_stock (`sku`, `fulfillment_center_id`, `quantity` or `delta`),
complete_return (`return_id`). Autopilot: `acknowledge_after_s`, `ship_after_s`, `deliver_after_s` (null: never).
"""

from __future__ import annotations

from local.simulators.server import Config, Context, Simulator
from local.simulators.shipbob.api import ShipBob


def create(config: Config, ctx: Context) -> Simulator:
    """Raises ValueError for credentials that are missing."""
    return ShipBob(config, ctx)
