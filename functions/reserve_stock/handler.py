"""Workflow step: which location ships what, committed in one conditional write."""

from __future__ import annotations

from crossdock import edge
from crossdock.flows import order

handler = edge.function_handler(lambda event, services: order.reserve(event["order_id"], services))
