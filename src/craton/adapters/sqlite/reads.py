"""The reading half of a store in one file.

Reads by key run on the event loop itself (5 µs; a thread would cost twenty times that); scans run in reader threads.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from craton.adapters import sql, units
from craton.adapters.search import found_events, search_statement
from craton.adapters.sqlite.connection import bound, connect, reader_of, time_text
from craton.adapters.sqlite.refusals import DRIVER_ERRORS, meaning
from craton.adapters.sqlite.writer import fetch
from craton.domain import world
from craton.ports import (
    LONGEST_LEASE_SECONDS,
    Document,
    EventFilter,
    EventKind,
    FeedPage,
    HeldLease,
    ParkedEvent,
    Query,
    Snapshot,
    Statement,
    StoredEvent,
    StoredResult,
    StreamState,
    Table,
    Timer,
)
from craton.ports.wellformed import require_count, storable

T = TypeVar("T")
_EVENT: Final = "stream, version, id, type, schema_version, data, metadata, time, position, last"
_FIRST_UNIT: Final = units.first_statement(_EVENT, "events", "?1")


class SqliteReads:
    """The reading half of a store."""

    def __init__(self, path: Path, *, durable: bool) -> None:
        self._path = path
        self._synchronous = "FULL" if durable else "OFF"
        self._scan_connections = threading.local()
        self._opened: list[sqlite3.Connection] = []

    def _open_reader(self) -> None:
        self._reading = self._connect_reader()
        self._scan_threads = ThreadPoolExecutor(2, f"scan-{self._path.stem}")

    def _interrupt_scans(self) -> None:
        for connection in self._opened:
            connection.interrupt()
        self._scan_threads.shutdown(cancel_futures=True)

    def _close_readers(self) -> None:
        for connection in (self._reading, *self._opened):
            connection.close()

    async def load(self, streams: Sequence[tuple[str, str]]) -> Sequence[StreamState]:
        if len(streams) == 1:
            return self._guarded(lambda: [self._load(*streams[0])])
        return self._guarded(lambda: _at_once(self._reading, lambda: [self._load(*stream) for stream in streams]))

    def _load(self, stream: str, fingerprint: str) -> StreamState:
        if not storable(stream):
            return StreamState(None, [], None)
        found = self._reading.execute(
            "SELECT version, state FROM snapshots WHERE stream = ? AND fingerprint = ?", (stream, fingerprint)
        ).fetchone()
        snapshot = Snapshot(stream, found[0], fingerprint, found[1]) if found else None
        at = snapshot.version if snapshot else 0
        rows = self._reading.execute(  # the snapshot's own event too, for its time
            f"SELECT {_EVENT} FROM events WHERE stream = ? AND version >= ? ORDER BY version", (stream, at)
        ).fetchall()
        time = datetime.fromisoformat(rows[-1][7]) if rows else None
        return StreamState(snapshot, [_event(row) for row in rows if row[1] > at], time)

    async def read_stream(
        self, stream: str, *, after: int = 0, limit: int, descending: bool = False
    ) -> Sequence[StoredEvent]:
        require_count(limit)
        where, order = ("version > ?", "") if not descending else ("(? = 0 OR version < ?)", " DESC")
        values = (stream, after, limit) if not descending else (stream, after, after, limit)
        statement = f"SELECT {_EVENT} FROM events WHERE stream = ? AND {where} ORDER BY version{order} LIMIT ?"
        return [_event(row) for row in await self._scan(statement, values)]

    async def read_feed(self, after: int, limit: int) -> FeedPage:
        """The single writer commits positions in order, so that what can be read has no gap."""
        require_count(limit)
        rows = await self._scan(
            f"SELECT {_EVENT} FROM events WHERE position > ? ORDER BY position LIMIT ?", (after, limit)
        )
        events = units.whole([_event(row) for row in rows])
        if rows and not events:
            events = [_event(row) for row in await self._scan(_FIRST_UNIT, (after,))]
        return FeedPage(events, events[-1].position if events else after)

    async def head(self) -> int:
        return self._read("SELECT coalesce(max(position), 0) FROM events")[0][0]  # type: ignore[no-any-return]

    async def search(
        self, wanted: EventFilter, before: int, limit: int, scanned: int
    ) -> tuple[Sequence[StoredEvent], int]:
        statement = search_statement(
            wanted, before, limit, scanned, "events", lambda field: f"json_extract(metadata, '$.{field}')"
        )
        return found_events(await self.fetch(statement), limit, scanned, _event)

    async def kinds(self, after: int) -> Sequence[EventKind]:
        rows = await self._scan(
            "SELECT DISTINCT substr(stream, 1, instr(stream || '-', '-') - 1), type, schema_version FROM events"
            " WHERE position > ?",
            (after,),
        )
        return [EventKind(*row) for row in rows]

    async def get_rows(self, table: Table, keys: Sequence[tuple[Any, ...]]) -> Sequence[str | None]:
        for key in keys:
            sql.require_fit(table.name, table.key, key)
        statement = f"SELECT row FROM {table.name} WHERE " + " AND ".join(
            f"{sql.quoted(c.name)} = ?" for c in table.key
        )

        def read(execute: Callable[..., sqlite3.Cursor]) -> list[str | None]:
            found = (execute(statement, bound(key)).fetchone() for key in keys)
            return [row[0] if row else None for row in found]

        if len(keys) == 1:
            return self._guarded(lambda: read(self._reading.execute))
        return await self._in_snapshot(lambda connection: read(connection.execute))

    async def find_rows(self, table: Table, query: Query) -> tuple[Sequence[str], int]:
        def read(connection: sqlite3.Connection) -> tuple[list[str], int]:
            rows = fetch(connection, sql.find(table, query, "instr"))
            return [row["row"] for row in rows], fetch(connection, sql.count(table, query, "instr"))[0]["total"]

        return await self._in_snapshot(read)

    async def sum_rows(self, table: Table, column: str, by: Sequence[str], query: Query) -> dict[tuple[Any, ...], int]:
        rows = await self.fetch(sql.total(table, column, by, query, "instr"))
        read = {column.name: reader_of(column.type) for column in table.columns}
        return {tuple(read[name](row[name]) for name in by): sql.summed(row) for row in rows}

    async def find_result(self, scope: str, key: str) -> StoredResult | None:
        rows = self._read(
            "SELECT scope, key, fingerprint, outcome, time, position FROM results WHERE scope = ? AND key = ?",
            (scope, key),
        )
        if not rows:
            return None
        (found_scope, found_key, fingerprint, outcome, time, position) = rows[0]
        return StoredResult(found_scope, found_key, fingerprint, outcome, datetime.fromisoformat(time), position)

    async def checkpoint(self, subscription: str) -> int:
        rows = self._read("SELECT position FROM readers WHERE subscription = ?", (subscription,))
        return rows[0][0] if rows else 0

    async def document(self, name: str) -> Document | None:
        rows = self._read("SELECT name, revision, body FROM documents WHERE name = ?", (name,))
        return Document(*rows[0]) if rows else None

    async def due_timers(self, now: datetime, limit: int) -> Sequence[Timer]:
        require_count(limit)
        rows = self._read(
            f"SELECT {sql.TIMER} FROM timers WHERE NOT parked AND due <= ? ORDER BY due, id LIMIT ?",
            (time_text(now), limit),
        )
        return [_timer(row) for row in rows]

    async def next_timer(self) -> datetime | None:
        rows = self._read("SELECT min(due) FROM timers WHERE NOT parked")
        return datetime.fromisoformat(rows[0][0]) if rows[0][0] else None

    async def parked_timers(self) -> Sequence[Timer]:
        rows = await self._scan(f"SELECT {sql.TIMER} FROM timers WHERE parked ORDER BY due, id", ())
        return [_timer(row) for row in rows]

    async def timers(self, limit: int, offset: int, *, parked: bool | None = None) -> tuple[Sequence[Timer], int]:
        require_count(limit)

        def read(connection: sqlite3.Connection) -> tuple[list[Timer], int]:
            where = "" if parked is None else f" WHERE parked = {int(parked)}"
            page = f"SELECT {sql.TIMER} FROM timers{where} ORDER BY due, id LIMIT ? OFFSET ?"
            rows = connection.execute(page, bound((limit, offset))).fetchall()
            return [_timer(row) for row in rows], connection.execute(f"SELECT count(*) FROM timers{where}").fetchone()[
                0
            ]

        return await self._in_snapshot(read)

    async def leases(self) -> Sequence[HeldLease]:
        now = world.monotonic()
        rows = await self._scan(
            "SELECT name, owner, fence, expires BETWEEN ? AND ? FROM lease_owners ORDER BY name",
            (now, now + LONGEST_LEASE_SECONDS),
        )
        return [HeldLease(name, owner, number, bool(held)) for name, owner, number, held in rows]

    async def timer_operations(self) -> Sequence[str]:
        return [row[0] for row in await self._scan("SELECT DISTINCT operation FROM timers WHERE NOT parked", ())]

    async def parked(self, subscription: str | None = None) -> Sequence[ParkedEvent]:
        rows = await self._scan(
            "SELECT subscription, position, key, error, attempts, since, operator_request FROM parked_events"
            " WHERE (? IS NULL OR subscription = ?) AND operator_request <> 'dropped' ORDER BY position",
            (subscription, subscription),
        )
        return [ParkedEvent(*(*row[:5], datetime.fromisoformat(row[5]), row[6])) for row in rows]

    async def dropped(self, subscription: str) -> Sequence[int]:
        rows = await self._scan(
            "SELECT position FROM parked_events WHERE subscription = ? AND operator_request = 'dropped'"
            " ORDER BY position",
            (subscription,),
        )
        return [row[0] for row in rows]

    async def parked_events(self, subscription: str, key: str, limit: int) -> Sequence[StoredEvent]:
        require_count(limit)
        rows = await self._scan(
            "SELECT event FROM parked_events WHERE subscription = ? AND key = ? AND operator_request <> 'dropped'"
            " ORDER BY position LIMIT ?",
            (subscription, key, limit),
        )
        return [sql.parked_event(row[0]) for row in rows]

    async def fetch(self, statement: Statement) -> Sequence[dict[str, Any]]:
        return await self._in_scanner(lambda connection: fetch(connection, statement))

    def _connect_reader(self) -> sqlite3.Connection:
        return connect(self._path, synchronous=self._synchronous, read_only=True)

    def _read(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return self._guarded(lambda: self._reading.execute(statement, bound(values)).fetchall())

    async def _scan(self, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return await self._in_scanner(lambda connection: connection.execute(statement, bound(values)).fetchall())

    async def _in_snapshot(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Run several statements that see the same state."""
        return await self._in_scanner(lambda connection: _at_once(connection, lambda: read(connection)))

    async def _in_scanner(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Run work in a reader thread. A cancellation interrupts the statement, so that the thread is free again."""
        reading: sqlite3.Connection | None = None
        changing = threading.Lock()

        def scan() -> T:
            nonlocal reading
            connection: sqlite3.Connection | None = getattr(self._scan_connections, "reader", None)
            if connection is None:
                connection = self._scan_connections.reader = self._connect_reader()
                self._opened.append(connection)
            with changing:
                reading = connection
            try:
                return self._guarded(lambda: read(connection))
            finally:
                with changing:
                    reading = None

        try:
            return await asyncio.get_running_loop().run_in_executor(self._scan_threads, scan)
        except asyncio.CancelledError:
            with changing:
                if reading is not None:
                    reading.interrupt()
            raise

    def _guarded(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except DRIVER_ERRORS as problem:
            raise meaning(problem, f"{self._path.name} can't be read") from problem


def _timer(row: tuple[Any, ...]) -> Timer:
    return Timer(*(row[0], datetime.fromisoformat(row[1]), *row[2:8], bool(row[8])))


def _at_once(connection: sqlite3.Connection, read: Callable[[], T]) -> T:
    """Read in one transaction, so that all statements see the same state."""
    connection.execute("BEGIN")
    try:
        return read()
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _event(row: tuple[Any, ...]) -> StoredEvent:
    return StoredEvent(*(*row[:7], datetime.fromisoformat(row[7]), row[8], bool(row[9])))
