"""Commands to a connection that is out wait instead of failing: one at a time tries, and the first success lets all go on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from crossdock.domain.errors import CrossdockError, RetryLater
from crossdock.flows import raise_exception
from crossdock.flows.health import SHORTEST_PAUSE_SECONDS, WELL, Health
from crossdock.flows.services import Services

T = TypeVar("T")

FAILURES = 5
"""So many in a row, from all workers, and nothing more is sent."""
FORGOTTEN_AFTER = timedelta(minutes=30)
"""A failure so long after the last one is the first of a row: the polls of a quiet connection are minutes apart."""
_OUTAGE = frozenset({"VENDOR_UNAVAILABLE", "UNKNOWN_OUTCOME"})
_BUSY = frozenset({"RATE_LIMITED", "RATE_BUDGET_SPENT"})


def wait_seconds(connection: str, services: Services) -> int:
    """0 when a command to the connection may begin now: it works as far as is known, and its budget has room."""
    return services.circuits.of(connection).wait_seconds() or services.connectors.allowance(connection).wait_seconds()


def asked(connection: str, call: Callable[[], T], services: Services) -> T:
    """Makes the call, and learns from how it went."""
    try:
        answer = call()
    except CrossdockError as error:
        if error.code in _OUTAGE:
            _failed(connection, error, services)
        elif error.code not in _BUSY:
            _worked(connection, services)  # it understood, and refused
        elif error.code == "RATE_LIMITED" and isinstance(error, RetryLater) and error.after_seconds:
            services.connectors.allowance(connection).pause(error.after_seconds)
        raise
    _worked(connection, services)
    return answer


def asked_now(connection: str, call: Callable[[], T], services: Services) -> T:
    """The same for somebody who cannot wait: with the circuit open they hear it at once instead of after a timeout."""
    if services.circuits.of(connection).wait_seconds():
        raise RetryLater("VENDOR_UNAVAILABLE", f"{connection} does not answer at present")
    return asked(connection, call, services)


def waits_after(error: RetryLater, connection: str, services: Services) -> int | None:
    """For a command that failed: the seconds after which it comes again without having used up a try, because the failure says nothing about it.
    None: it is the command's own failure."""
    if error.code in _BUSY:
        return max(1, error.after_seconds or 1, services.connectors.allowance(connection).wait_seconds())
    circuit = services.circuits.of(connection)
    return max(error.after_seconds or 0, circuit.probe_seconds()) if error.code in _OUTAGE and circuit.is_open() else None


def _worked(connection: str, services: Services) -> None:
    circuit = services.circuits.of(connection)
    if circuit.health() == WELL:
        return
    # The exception first: who dies in between finds the circuit open still, and comes here again.
    raise_exception.connection_works(connection, services)
    circuit.note(WELL)


def _failed(connection: str, error: CrossdockError, services: Services) -> None:
    circuit = services.circuits.of(connection)
    now = services.clock.now()
    standing = circuit.health(at_once=True)
    if standing.opened_at is None:
        row = 1 if standing.failed_at is None or now - standing.failed_at > FORGOTTEN_AFTER else standing.failures + 1
        opened = now if row >= FAILURES else None
        circuit.note(Health(failures=row, failed_at=now, opened_at=opened, why=error.detail[:500]))
        if opened is not None:
            circuit.no_probe_for(SHORTEST_PAUSE_SECONDS)
    elif not standing.told and now - standing.opened_at >= timedelta(seconds=SHORTEST_PAUSE_SECONDS):
        # Not at the opening: what was over within seconds needs nobody.
        raise_exception.connection_down(connection, error.detail, since=standing.opened_at, services=services)
        circuit.note(standing.model_copy(update={"told": True}))
