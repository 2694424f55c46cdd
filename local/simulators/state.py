"""What does a simulator remember, and how does that survive a kill?"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local.simulators import exact_json

_TABLES = """
create table if not exists documents (
    collection text not null, key text not null, position integer not null, body text not null,
    primary key (collection, key));
create table if not exists counters (name text primary key, value integer not null);
create table if not exists timers (
    id integer primary key autoincrement, due real not null, action text not null, payload text not null,
    staff integer not null);
create table if not exists messages (
    position integer primary key autoincrement, id text not null, topic text not null, body blob not null,
    headers text not null, url text not null, secret text not null, created real not null, next_at real not null,
    attempts integer not null, status text not null, faulted integer not null, copies integer not null,
    log text not null);
create index if not exists messages_due on messages (status, next_at);
create index if not exists timers_due on timers (due);
"""

Document = dict[str, Any]


class Collection:
    """Vendor-shaped JSON objects under a text key, kept in the order they were first put."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self.name = name

    def get(self, key: object) -> Document | None:
        """The document under `key`, as a copy: change it and `put` it back."""
        rows = self._store.rows("select body from documents where collection = ? and key = ?", self.name, str(key))
        return exact_json.loads(rows[0][0]) if rows else None

    def put(self, key: object, document: Document) -> None:
        """Insert or replace. A replaced document keeps its position."""
        self._store.run(
            "insert into documents (collection, key, position, body) values (?, ?, ?, ?) on conflict (collection, key) do update set body = excluded.body",
            self.name,
            str(key),
            self._store.next_id("_position"),
            exact_json.dumps(document),
        )

    def delete(self, key: object) -> None:
        self._store.run("delete from documents where collection = ? and key = ?", self.name, str(key))

    def values(self) -> list[Document]:
        rows = self._store.rows("select body from documents where collection = ? order by position", self.name)
        return [exact_json.loads(body) for (body,) in rows]

    def keys(self) -> list[str]:
        rows = self._store.rows("select key from documents where collection = ? order by position", self.name)
        return [key for (key,) in rows]

    def find(self, wanted: Callable[[Document], bool]) -> list[Document]:
        return [document for document in self.values() if wanted(document)]

    def first(self, wanted: Callable[[Document], bool]) -> Document | None:
        return next(iter(self.find(wanted)), None)

    def __len__(self) -> int:
        return int(self._store.rows("select count(*) from documents where collection = ?", self.name)[0][0])


class Store:
    """One SQLite file per simulator. Everything in one `unit()` is committed together or not at all."""

    def __init__(self, state_file: str | None) -> None:
        if state_file:
            Path(state_file).parent.mkdir(parents=True, exist_ok=True)
        self.lock = threading.RLock()
        self._depth = 0
        self._database = sqlite3.connect(state_file or ":memory:", isolation_level=None, check_same_thread=False)
        # A killed process loses nothing with WAL and synchronous=OFF; only a power cut could, which is not simulated.
        self._database.executescript("pragma journal_mode=wal; pragma synchronous=off;" + _TABLES)

    @contextmanager
    def unit(self) -> Iterator[None]:
        """Run alone and commit at the end; an exception undoes everything since the outermost `unit()`."""
        with self.lock:
            if self._depth == 0:
                self._database.execute("begin immediate")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._database.execute("rollback")
                raise
            self._depth -= 1
            if self._depth == 0:
                self._database.execute("commit")

    def collection(self, name: str) -> Collection:
        return Collection(self, name)

    def next_id(self, name: str, start: int = 1) -> int:
        """The next number of the sequence `name`; the first one is `start`."""
        with self.unit():
            self.run("insert into counters values (?, ?) on conflict (name) do update set value = value + 1", name, start)
            return int(self.rows("select value from counters where name = ?", name)[0][0])

    def counters(self) -> dict[str, int]:
        rows = self.rows("select name, value from counters order by name")
        return {name: value for name, value in rows if not name.startswith("_")}

    def wipe(self) -> None:
        """Forget documents, counters, timers and messages."""
        with self.unit():
            for table in ("documents", "counters", "timers", "messages"):
                self.run(f"delete from {table}")  # noqa: S608 - the names stand in the line above

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self.lock:
            return self._database.execute(statement, values).fetchall()

    def run(self, statement: str, *values: object) -> int:
        """Execute one statement; answers how many rows it touched."""
        with self.lock:
            return self._database.execute(statement, values).rowcount

    def close(self) -> None:
        with self.lock:
            self._database.close()
