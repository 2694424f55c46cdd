"""Workflow step: is the order complete, does it add up, are tax and freight as agreed?"""

from __future__ import annotations

from crossdock import edge
from crossdock.flows import order

handler = edge.function_handler(lambda event, services: order.validate(event["order_id"], services))
