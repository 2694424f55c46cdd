"""How do events get onto the tenant's bus, all of them or an error?"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence

from crossdock.aws.clients import Clients
from crossdock.domain.errors import RetryLater
from crossdock.domain.events import Event

AT_ONCE = 10
BYTES_AT_ONCE = 240 * 1024
"""The service's limit of 256 KiB is for all entries of a request together; the rest is for their names and times."""
TRIES = 4


def _batches(entries: Sequence[dict[str, object]]) -> Iterator[list[dict[str, object]]]:
    batch: list[dict[str, object]] = []
    size = 0
    for entry in entries:
        weight = len(str(entry["Detail"]).encode())
        if batch and (len(batch) == AT_ONCE or size + weight > BYTES_AT_ONCE):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += weight
    if batch:
        yield batch


class EventBridgeBus:
    """Implements ``ports.Bus``. ``FailedEntryCount`` is looked at: an entry the service did not take is sent again."""

    def __init__(self, clients: Clients, name: str) -> None:
        self._clients = clients
        self._name = name

    def publish(self, events: Sequence[Event]) -> None:
        entries = [
            {
                "EventBusName": self._name,
                "Source": f"crossdock.{event.source}",
                "DetailType": event.type,
                "Detail": event.model_dump_json(by_alias=True, exclude_none=True),
                "Time": event.occurred_at,
            }
            for event in events
        ]
        for batch in _batches(entries):
            self._put(batch)

    def _put(self, entries: list[dict[str, object]]) -> None:
        for attempt in range(TRIES):
            if attempt:
                time.sleep(0.05 * 2**attempt)
            answer = self._clients.events.put_events(Entries=entries)
            if not answer["FailedEntryCount"]:
                return
            refused = [result for result in answer["Entries"] if "ErrorCode" in result]
            entries = [entry for entry, result in zip(entries, answer["Entries"], strict=True) if "ErrorCode" in result]
        raise RetryLater("BUS_UNAVAILABLE", f"the bus did not take {len(entries)} event(s): {json.dumps(refused)[:300]}")
