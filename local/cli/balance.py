"""Is anything lost? Promise 1 as numbers."""

from __future__ import annotations

from crossdock.flows.balance import Balance, balance
from local.cli.options import NotOk, on_stack
from local.cli.rendering import Screen
from local.cli.stack import Stack


@on_stack
def command(stack: Stack, screen: Screen) -> None:
    """Accepted = done + held + exception + in flight; exit code 1 if they do not add up."""
    found = balance(stack.services)
    screen.show({"tenant": stack.tenant, **found.as_json()}, lambda: draw(screen, found))
    if not found.adds_up:
        raise NotOk("")


def draw(screen: Screen, found: Balance) -> None:
    """The three accounts, and what is missing in them."""
    sides = {"deliveries": found.deliveries, "orders": found.orders, "returns": found.returns}
    rows = [(name, side.accepted, side.done, side.held, side.exception, side.in_flight, side.adds_up) for name, side in sides.items()]
    screen.table("", ["", "accepted", "done", "held", "exception", "in flight", "adds up"], rows)
    for line in (*found.deliveries.missing, *found.orders.missing, *found.returns.missing, *found.stock_committed_without_order):
        screen.write(f"MISSING: {line}")
    screen.write("it adds up" if found.adds_up else "IT DOES NOT ADD UP")
