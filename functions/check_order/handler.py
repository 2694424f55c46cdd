"""Workflow step: does the ERP agree with the prices, and is the credit there?"""

from __future__ import annotations

from crossdock import edge
from crossdock.flows import order

_CHECKS = {"price": order.check_price, "credit": order.check_credit}

handler = edge.function_handler(lambda event, services: _CHECKS[event["check"]](event["order_id"], services))
