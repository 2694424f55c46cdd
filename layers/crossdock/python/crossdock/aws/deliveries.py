"""How are deliveries kept: bytes in the archive, a short note in the table?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from crossdock.aws.failure import condition_failed
from crossdock.aws.table import Item, StateTable, moment, number, packed, stamp, text, unpacked
from crossdock.domain.delivery import Delivery, DeliveryNote, DeliveryStatus
from crossdock.domain.errors import Rejected

if TYPE_CHECKING:
    from crossdock.domain.ports import Archive


@dataclass(frozen=True)
class StoredNote:
    """Implements ``ports.DeliveryNote``."""

    delivery_id: str
    connection: str
    topic: str
    sha256: str
    status: DeliveryStatus
    revision: int
    received_at: datetime
    events: tuple[str, ...]
    reason: str


FINAL = (DeliveryStatus.DONE, DeliveryStatus.IGNORED, DeliveryStatus.DISCARDED)


def archive_key(delivery_id: str, revision: int, sha256: str) -> str:
    """The content is part of the name: another body under the same id (or a second editor's) never takes the place of the first."""
    return f"deliveries/{delivery_id.partition('.')[0]}/{delivery_id}/{revision}-{sha256[:32]}"


def _header_safe(value: str) -> str:
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in value[:200])


def _note(item: Item) -> StoredNote:
    return StoredNote(
        delivery_id=item["pk"]["S"].removeprefix("DELIVERY#"),
        connection=item["connection"]["S"],
        topic=item["topic"]["S"],
        sha256=item["sha256"]["S"],
        status=DeliveryStatus(item["status"]["S"]),
        revision=int(item["revision"]["N"]),
        received_at=moment(item["received_at"]["S"]),
        events=tuple(json.loads(item["events"]["S"])) if "events" in item else (),
        reason=item.get("reason", {}).get("S", ""),
    )


class ArchivedDeliveries:
    """Implements ``ports.Deliveries``."""

    def __init__(self, table: StateTable, archive: Archive) -> None:
        self._table = table
        self._archive = archive

    def add(self, delivery: Delivery) -> StoredNote | None:
        # Bytes first: a note whose bytes are missing would be a promise that cannot be kept. A duplicate writes the same bytes again.
        self._archive.put(archive_key(delivery.delivery_id, 0, delivery.sha256), delivery.body, metadata={"sha256": delivery.sha256})
        standing = self._table.put_new(
            {
                "pk": text(f"DELIVERY#{delivery.delivery_id}"),
                "sk": text("NOTE"),
                "connection": text(delivery.connection),
                "topic": text(delivery.topic),
                "sha256": text(delivery.sha256),
                "status": text(DeliveryStatus.RECEIVED.value),
                "revision": number(0),
                "received_at": text(stamp(delivery.received_at)),
                "headers": packed(json.dumps(delivery.headers)),
                "listing": text(f"DELIVERY#{DeliveryStatus.RECEIVED.value}"),
                "sort": text(stamp(delivery.received_at)),
            }
        )
        if standing is None:
            return None
        note = _note(standing)
        # Received at this very microsecond with these bytes: our own write, whose answer was lost on the way and which was sent again.
        return None if (note.received_at, note.sha256) == (delivery.received_at, delivery.sha256) else note

    def note(self, delivery_id: str) -> StoredNote | None:
        item = self._table.get(f"DELIVERY#{delivery_id}", "NOTE")
        return _note(item) if item else None

    def load(self, delivery_id: str) -> Delivery:
        item = self._table.get(f"DELIVERY#{delivery_id}", "NOTE")
        if item is None:
            raise Rejected("NOT_FOUND", f"there is no delivery {delivery_id}", remedy="discard the message")
        note = _note(item)
        newest = item["edited_sha256"]["S"] if "edited_sha256" in item else note.sha256
        body, _ = self._archive.get(archive_key(delivery_id, note.revision, newest))
        return Delivery(
            delivery_id=delivery_id,
            connection=note.connection,
            topic=note.topic,
            body=body,
            headers=json.loads(unpacked(item["headers"])),
            received_at=note.received_at,
            revision=note.revision,
        )

    def revise(self, delivery_id: str, body: bytes, *, actor: str, now: datetime) -> int:
        note = self.note(delivery_id)
        if note is None:
            raise Rejected("NOT_FOUND", f"there is no delivery {delivery_id}")
        revision = note.revision + 1
        digest = hashlib.sha256(body).hexdigest()
        self._archive.put(archive_key(delivery_id, revision, digest), body, metadata={"sha256": digest, "actor": _header_safe(actor)})
        try:
            self._table.client.update_item(
                TableName=self._table.name,
                Key={"pk": text(f"DELIVERY#{delivery_id}"), "sk": text("NOTE")},
                UpdateExpression="SET revision = :r, edited_sha256 = :h, edited_by = :a, edited_at = :t",
                ConditionExpression="revision = :o",
                ExpressionAttributeValues={":r": number(revision), ":o": number(note.revision), ":h": text(digest), ":a": text(actor), ":t": text(stamp(now))},
            )
        except Exception as error:
            if condition_failed(error):
                raise Rejected("EDITED_MEANWHILE", "somebody else has edited it", remedy="look at their version first") from error
            raise
        return revision

    def settle(self, delivery_id: str, status: DeliveryStatus, *, now: datetime, events: Sequence[str] = (), reason: str = "") -> None:
        values = {
            ":s": text(status.value),
            ":l": text(f"DELIVERY#{status.value}"),
            ":t": text(stamp(now)),
            ":r": text(reason[:500]),
            ":e": text(json.dumps(list(events))),
        }
        condition = "attribute_exists(pk)"
        if status is DeliveryStatus.EXCEPTION:
            # What is over stays over: a late failure of a duplicate must not undo the record of it.
            final = {f":f{index}": text(state.value) for index, state in enumerate(FINAL)}
            condition += f" AND NOT #s IN ({', '.join(final)})"
            values |= final
        try:
            self._table.client.update_item(
                TableName=self._table.name,
                Key={"pk": text(f"DELIVERY#{delivery_id}"), "sk": text("NOTE")},
                UpdateExpression="SET #s = :s, #l = :l, #o = :t, reason = :r, events = :e",
                ConditionExpression=condition,
                ExpressionAttributeNames={"#s": "status", "#l": "listing", "#o": "sort"},
                ExpressionAttributeValues=values,
            )
        except Exception as error:
            if not condition_failed(error):
                raise

    def waiting(self, before: datetime, limit: int) -> list[DeliveryNote]:
        found = [_note(item) for item in self._table.listed(f"DELIVERY#{DeliveryStatus.RECEIVED.value}", up_to=stamp(before), limit=limit)]
        return [note for note in found if note.status is DeliveryStatus.RECEIVED]  # the listing lags behind what was settled just now

    def every(self) -> Iterator[StoredNote]:
        seen: set[str] = set()  # a delivery that is settled while this walks is met in two listings
        for status in DeliveryStatus:
            for item in self._table.listed(f"DELIVERY#{status.value}"):
                if item["pk"]["S"] not in seen:
                    seen.add(item["pk"]["S"])
                    yield _note(item)
