"""The store of a module in one SQLite file.

One thread writes, in batches. Reads by key run on the event loop itself (5 µs; a thread would cost twenty times
that); scans run in reader threads. Write-ahead logging lets all of them read while the writer writes.
"""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from craton.adapters import sql, units
from craton.adapters.sqlite.connection import bound, connect, reader_of, time_text
from craton.adapters.sqlite.refusals import DRIVER_ERRORS, refusal
from craton.adapters.sqlite.schema import prepare, table_statements
from craton.adapters.sqlite.writer import Writer, fetch
from craton.ports import (
    Changeset,
    ChangesetRefused,
    Document,
    EventKind,
    FeedPage,
    Isolation,
    Outcome,
    ParkedEvent,
    Query,
    Snapshot,
    Statement,
    StatementFailed,
    StoredEvent,
    StoredResult,
    StoreUnavailable,
    StreamState,
    Table,
    Timer,
)
from craton.ports.wellformed import require_count, storable

T = TypeVar("T")
_EVENT: Final = "stream, version, id, type, schema_version, data, metadata, time, position, last"
_FIRST_UNIT: Final = units.first_statement(_EVENT, "events", "?1")


class SqliteStore:
    """A `Store` in the file `path`, made if it isn't there. `durable=False` gives up fsync, for tests."""

    writers = 1
    shared = True

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self._path = path
        self._synchronous = "FULL" if durable else "OFF"
        self._lock = asyncio.Lock()

    async def exists(self) -> bool:
        return self._path.exists()

    async def open(self) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.touch(mode=0o600)  # the files beside it get the same mode
            writing = connect(self._path, synchronous=self._synchronous, read_only=False)
            try:
                prepare(writing)
                self._reading = self._connect_reader()
            except BaseException:
                writing.close()
                raise
        except (OSError, sqlite3.Error) as problem:
            why = problem if isinstance(problem, OSError) else refusal(problem) or problem
            raise StoreUnavailable(f"{self._path} can't be opened: {why}.", maybe_executed=False) from problem
        self._writing = writing
        self._writer = Writer(writing)
        self._write_thread = ThreadPoolExecutor(1, f"write-{self._path.stem}")
        self._scan_threads = ThreadPoolExecutor(2, f"scan-{self._path.stem}")
        self._scan_connections = threading.local()
        self._opened: list[sqlite3.Connection] = []

    async def close(self) -> None:
        async with self._lock:
            self._write_thread.shutdown()
            for connection in self._opened:
                connection.interrupt()
            self._scan_threads.shutdown(cancel_futures=True)
        for connection in (self._reading, *self._opened, self._writing):
            connection.close()

    async def ping(self) -> None:
        self._read("SELECT 1")

    def watch(self, wake: Callable[[], None]) -> None:
        """SQLite tells nobody; other processes' writes are found by the slow poll."""

    # --- writing -------------------------------------------------------------------------------------------------

    async def write(self, units: Sequence[Changeset]) -> Sequence[Outcome]:
        return await self._in_writer(lambda: self._writer.write(units))

    @asynccontextmanager
    async def transaction(self, isolation: Isolation) -> AsyncIterator["SqliteTransaction"]:
        """Open a transaction: it is the file's only one, so it is serializable whatever was asked for."""
        async with self._lock:
            try:
                await self._run(self._writer.begin)
                yield SqliteTransaction(self._writer, self._run)
            except BaseException:
                await self._run(self._writer.rollback)
                raise
            await self._run(self._writer.commit)

    async def acquire(self, lease: str, owner: str, seconds: float) -> int | None:
        return await self._in_writer(lambda: self._writer.acquire(lease, owner, seconds))

    async def release(self, lease: str, owner: str) -> None:
        await self._autocommit("UPDATE leases SET expires = 0 WHERE name = ? AND owner = ?", (lease, owner))

    async def wish(self, subscription: str, position: int, wish: Literal["retry", "drop"]) -> bool:
        return await self._autocommit(
            "UPDATE parked SET wish = ? WHERE subscription = ? AND position = ? AND wish <> 'dropped'",
            (wish, subscription, position),
        )

    async def create_table(self, table: Table) -> None:
        for statement in table_statements(table, sql.UNLESS_THERE):
            await self._autocommit(statement)

    async def create_indexes(self, table: Table) -> None:
        for statement in sql.index_statements(table, table.name):
            await self._autocommit(statement)

    async def drop_table(self, name: str) -> None:
        await self._autocommit(f"DROP TABLE IF EXISTS {name}")

    async def _autocommit(self, statement: str, values: tuple[Any, ...] = ()) -> bool:
        return await self._in_writer(lambda: self._writing.execute(statement, bound(values)).rowcount > 0)

    async def _in_writer(self, work: Callable[[], T]) -> T:
        async with self._lock:
            return await self._run(work)

    async def _run(self, work: Callable[[], T]) -> T:
        """Run work in the writer thread. Cancelled, it interrupts the statement, and waits until it has stopped."""
        running = asyncio.get_running_loop().run_in_executor(self._write_thread, work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            self._writing.interrupt()
            await asyncio.gather(running, return_exceptions=True)
            raise
        except DRIVER_ERRORS as problem:
            raise _meaning(problem, "The database can't write") from problem

    # --- reading -------------------------------------------------------------------------------------------------

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
            "SELECT scope, key, fingerprint, outcome, position FROM results WHERE scope = ? AND key = ?",
            (scope, key),
        )
        return StoredResult(*rows[0]) if rows else None

    async def checkpoint(self, subscription: str) -> int:
        rows = self._read("SELECT position FROM checkpoints WHERE subscription = ?", (subscription,))
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

    async def timer_operations(self) -> Sequence[str]:
        return [row[0] for row in await self._scan("SELECT DISTINCT operation FROM timers WHERE NOT parked", ())]

    async def parked(self, subscription: str | None = None) -> Sequence[ParkedEvent]:
        rows = await self._scan(
            "SELECT subscription, position, key, error, attempts, since, wish FROM parked"
            " WHERE (? IS NULL OR subscription = ?) AND wish <> 'dropped' ORDER BY position",
            (subscription, subscription),
        )
        return [ParkedEvent(*(*row[:5], datetime.fromisoformat(row[5]), row[6])) for row in rows]

    async def dropped(self, subscription: str) -> Sequence[int]:
        rows = await self._scan(
            "SELECT position FROM parked WHERE subscription = ? AND wish = 'dropped' ORDER BY position", (subscription,)
        )
        return [row[0] for row in rows]

    async def parked_events(self, subscription: str, key: str, limit: int) -> Sequence[StoredEvent]:
        require_count(limit)
        rows = await self._scan(
            f"SELECT {', '.join(f'e.{name}' for name in _EVENT.split(', '))} FROM parked p"
            " JOIN events e ON e.position = p.position"
            " WHERE p.subscription = ? AND p.key = ? AND p.wish <> 'dropped' ORDER BY p.position LIMIT ?",
            (subscription, key, limit),
        )
        return [_event(row) for row in rows]

    async def fetch(self, statement: Statement) -> Sequence[dict[str, Any]]:
        return await self._in_scanner(lambda connection: fetch(connection, statement))

    def _connect_reader(self) -> sqlite3.Connection:
        return connect(self._path, synchronous=self._synchronous, read_only=True)

    def _read(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return self._guarded(lambda: self._reading.execute(statement, bound(values)).fetchall())

    async def _scan(self, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return await self._in_scanner(lambda connection: connection.execute(statement, bound(values)).fetchall())

    async def _in_snapshot(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Run several statements that see one state."""
        return await self._in_scanner(lambda connection: _at_once(connection, lambda: read(connection)))

    async def _in_scanner(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Run work in a reader thread. Cancelled, it interrupts the statement, so that the thread is free again."""
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
            raise _meaning(problem, f"{self._path.name} can't be read") from problem


class SqliteTransaction:
    """An interactive transaction: it holds the writer until its end."""

    def __init__(self, writer: Writer, run: Callable[[Callable[[], Any]], Any]) -> None:
        self._writer = writer
        self._run = run

    async def execute(self, statement: Statement) -> int:
        changed: int = await self._within(lambda: self._writer.execute(statement))
        return changed

    async def fetch(self, statement: Statement) -> Sequence[dict[str, Any]]:
        rows: list[dict[str, Any]] = await self._within(lambda: self._writer.fetch(statement))
        return rows

    async def write(self, unit: Changeset) -> int:
        try:
            position: int = await self._within(lambda: self._writer.write_unit(unit))
        except (ChangesetRefused, StoreUnavailable):
            raise
        except Exception as problem:
            raise StatementFailed(f"{type(problem).__name__}: {problem}") from problem
        return position

    async def _within(self, work: Callable[[], Any]) -> Any:
        return await self._run(lambda: self._writer.within_savepoint(work))


def _timer(row: tuple[Any, ...]) -> Timer:
    return Timer(*(row[0], datetime.fromisoformat(row[1]), *row[2:8], bool(row[8])))


def _at_once(connection: sqlite3.Connection, read: Callable[[], T]) -> T:
    """Read in one transaction, so that all statements see the same moment."""
    connection.execute("BEGIN")
    try:
        return read()
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _meaning(problem: Exception, what: str) -> Exception:
    return refusal(problem) or StoreUnavailable(f"{what}: {problem}.", maybe_executed=False)


def _event(row: tuple[Any, ...]) -> StoredEvent:
    return StoredEvent(*(*row[:7], datetime.fromisoformat(row[7]), row[8], bool(row[9])))
