"""Where do a company's records live, and how is each change versioned, stamped, undone on error and announced?"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from local.simulators.business_central.contract import ENTITIES, PARENT_OF_LINES, Entity
from local.simulators.clock import Clock
from local.simulators.state import Store

Record = dict[str, Any]
Change = Literal["created", "updated", "deleted"]

_VERSION = "_version"


def new_id() -> str:
    return str(uuid.uuid4())


class Books:
    """All records of the company, read from memory and written through to the store.

    Returned records are copies: change one and `save` it. `work()` makes one request or posting all or nothing.
    """

    def __init__(self, store: Store, clock: Clock, announce: Callable[[str, str, Change, str], None]) -> None:
        """`announce(set_name, id, change, moment)` is called for each committed change of a header or master."""
        self._store = store
        self._clock = clock
        self._announce = announce
        self._records: dict[str, dict[str, Record]] = {}
        self._lines: dict[str, dict[str, dict[str, None]]] = {}
        self._undo: list[tuple[str, str, Record | None]] = []
        self._changes: dict[tuple[str, str], tuple[Change, str]] = {}
        self._depth = 0
        self.reload()

    def reload(self) -> None:
        """Forget the copies in memory and read what the store holds."""
        self._records = {name: {} for name in ENTITIES}
        self._lines = {name: {} for name in PARENT_OF_LINES}
        for name in ENTITIES:
            for record in self._store.collection(name).values():
                self._keep(name, record[_key_name(name)], record)

    @contextmanager
    def work(self) -> Iterator[None]:
        """Commit everything at the end and announce it, or leave everything as it was."""
        with self._store.lock:
            self._depth += 1
            try:
                with self._store.unit():
                    yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._undo_all()
                raise
            self._depth -= 1
            if self._depth == 0:
                self._undo.clear()
                changes, self._changes = self._changes, {}
                for (set_name, key), (change, moment) in changes.items():
                    self._announce(set_name, key, change, moment)

    def get(self, set_name: str, key: str) -> Record | None:
        record = self._records[set_name].get(key)
        return dict(record) if record is not None else None

    def all(self, set_name: str) -> Iterable[Record]:
        """Every record in the order of its creation; not to be changed."""
        return self._records[set_name].values()

    def first(self, set_name: str, **values: Any) -> Record | None:
        """The first record with these property values."""
        for record in self._records[set_name].values():
            if all(record[name] == value for name, value in values.items()):
                return dict(record)
        return None

    def lines(self, set_name: str, document_id: str) -> list[Record]:
        """The lines of one document by their sequence."""
        held = self._records[set_name]
        found = [dict(held[key]) for key in self._lines[set_name].get(document_id, {})]
        return sorted(found, key=lambda line: line["sequence"])

    def insert(self, set_name: str, record: Record) -> Record:
        return self._write(set_name, record, "created")

    def save(self, set_name: str, record: Record) -> Record:
        return self._write(set_name, record, "updated")

    def remove(self, set_name: str, key: str) -> None:
        self._remember(set_name, key)
        self._forget(set_name, key)
        self._store.collection(set_name).delete(key)
        self._note(set_name, key, "deleted", self.stamp())

    def set_calculated(self, set_name: str, key: str, **values: Any) -> None:
        """Change what is only calculated from elsewhere (stock, balance): no new version, no stamp, no notification."""
        self._remember(set_name, key)
        record = {**self._records[set_name][key], **values}
        self._keep(set_name, key, record)
        self._store.collection(set_name).put(key, record)

    def next_number(self, series: str, pattern: str) -> str:
        """The next number of a number series, `pattern` like `SO{:06d}`."""
        return pattern.format(self._store.next_id(series))

    def next_integer(self, series: str) -> int:
        return self._store.next_id(series)

    def stamp(self) -> str:
        """The present moment as the vendor writes it: UTC with milliseconds."""
        moment = self._clock.now()
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"

    def today(self) -> str:
        return self._clock.now().date().isoformat()

    def _write(self, set_name: str, record: Record, change: Change) -> Record:
        stored = dict(record)
        stored[_VERSION] = self._store.next_id("_row_version")
        moment = self.stamp()
        if "lastModifiedDateTime" in ENTITIES[set_name].fields:
            stored["lastModifiedDateTime"] = moment
        key = stored[_key_name(set_name)]
        self._remember(set_name, key)
        self._keep(set_name, key, stored)
        self._store.collection(set_name).put(key, stored)
        self._note(set_name, key, change, moment)
        return dict(stored)

    def _keep(self, set_name: str, key: str, record: Record) -> None:
        self._records[set_name][key] = record
        if set_name in self._lines:
            self._lines[set_name].setdefault(record["documentId"], {})[key] = None

    def _forget(self, set_name: str, key: str) -> None:
        record = self._records[set_name].pop(key, None)
        if record is not None and set_name in self._lines:
            self._lines[set_name][record["documentId"]].pop(key, None)

    def _remember(self, set_name: str, key: str) -> None:
        if self._depth == 0:
            raise RuntimeError("records change only inside work()")
        self._undo.append((set_name, key, self._records[set_name].get(key)))

    def _undo_all(self) -> None:
        for set_name, key, before in reversed(self._undo):
            if before is None:
                self._forget(set_name, key)
            else:
                self._keep(set_name, key, before)
        self._undo.clear()
        self._changes.clear()

    def _note(self, set_name: str, key: str, change: Change, moment: str) -> None:
        if not ENTITIES[set_name].webhooks:
            return
        earlier = self._changes.get((set_name, key))
        if earlier is not None and earlier[0] == "created" and change == "updated":
            change = "created"
        self._changes[(set_name, key)] = (change, moment)


def etag(record: Record) -> str:
    """The concurrency token of this version of the record."""
    text = f"20;{record[_VERSION]:020d}1;00;".encode()
    return f'W/"{base64.b64encode(text).decode()}"'


def rendered(entity: Entity, record: Record, select: tuple[str, ...] | None = None) -> Record:
    """The record as an answer shows it, with its etag. `id` is always there, as the vendor does."""
    names = [name for name in entity.fields if select is None or name in select or name == "id"]
    return {"@odata.etag": etag(record), **{name: record[name] for name in names}}


def _key_name(set_name: str) -> str:
    return "subscriptionId" if set_name == "subscriptions" else "id"
