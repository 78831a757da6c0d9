"""The store of a module in one Postgres schema."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, Literal

import asyncpg

from craton.adapters import sql
from craton.adapters.postgres.database import PostgresDatabase, is_given_up, transaction, unavailable
from craton.adapters.postgres.feed import EVENT, FeedReader
from craton.adapters.postgres.refusals import LOST, Outdated, faults_as_refusals, is_lost
from craton.adapters.postgres.rows import arrays
from craton.adapters.postgres.schema import schema_statements, table_statements, within
from craton.adapters.postgres.writer import NULLS, PostgresWriter
from craton.application.errors import WiringError
from craton.ports import (
    INLINE,
    LONGEST_LEASE_SECONDS,
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
    VersionConflict,
)
from craton.ports.crash import crash_point
from craton.ports.records import MAX_NAME_BYTES
from craton.ports.wellformed import require_count, require_well_formed, storable

DEFINITION_SECONDS: Final = 600.0
LEASE_LOCK_SECONDS: Final = 1
_SCHEMA: Final = re.compile("[A-Za-z_][A-Za-z0-9_]*")
LEASE_SECONDS: Final = 3.0
"""An answer about a lease that takes longer is worth nothing: it has run out meanwhile."""
_EXPIRED: Final = (
    f"(l.expires NOT BETWEEN clock_timestamp() AND clock_timestamp() + interval '{LONGEST_LEASE_SECONDS} seconds')"
)
"""An expiry further away than any lease lasts is left from before the server's clock was set back."""


class PostgresStore:
    """A `Store` in the schema `schema`, made if it isn't there. Raises `WiringError` for a name that can't be one."""

    writers = 2
    shared = True

    def __init__(self, database: PostgresDatabase, schema: str) -> None:
        if not _SCHEMA.fullmatch(schema) or len(schema) > MAX_NAME_BYTES:
            raise WiringError(
                f"{schema!r} can't be the name of a schema: Postgres keeps {MAX_NAME_BYTES} bytes of a name, and it is "
                f"to be of letters without accents, digits and underscores. Give the app another name"
            )
        self._database = database
        self._schema = schema
        self._lock = int.from_bytes(hashlib.blake2b(schema.encode(), digest_size=8).digest(), signed=True)
        self._writer = PostgresWriter(database, schema, self._lock)
        self._feed = FeedReader(database, schema, self._lock)
        self._load = (
            "SELECT w.n, s.version AS at, s.state, CASE WHEN e.position IS NULL THEN"
            f" (SELECT time FROM {schema}.events h WHERE h.stream = s.stream AND h.version = s.version) END AS since,"
            " e.stream, e.version, e.id, e.type, e.schema_version, e.data,"
            " e.metadata, e.time, e.position, e.last"
            " FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(stream, fingerprint, n)"
            f" LEFT JOIN {schema}.snapshots s ON s.stream = w.stream AND s.fingerprint = w.fingerprint"
            f" LEFT JOIN LATERAL (SELECT * FROM {schema}.events e WHERE e.stream = w.stream"
            " AND e.version > coalesce(s.version, 0) ORDER BY e.version) e ON true"
            " ORDER BY w.n, e.version"
        )

    async def exists(self) -> bool:
        await self._database.open()
        try:
            return bool(await self._value("SELECT to_regclass($1) IS NOT NULL", f"{self._schema}.events"))
        finally:
            await self._database.close()

    async def open(self) -> None:
        await self._database.open()
        try:
            await self._define(*schema_statements(self._schema, self._lock))
        except BaseException as problem:
            await self._database.close()
            if not isinstance(problem, ChangesetRefused):
                raise
            raise StoreUnavailable(
                f"The schema {self._schema} can't be opened: {problem}.", maybe_executed=False
            ) from problem

    async def close(self) -> None:
        await self._database.close()

    async def ping(self) -> None:
        async with self._database.connection() as connection:
            await connection.fetchval("SELECT 1")

    def watch(self, wake: Callable[[], None]) -> None:
        self._database.watch(self._schema, wake)

    # --- writing -------------------------------------------------------------------------------------------------

    async def write(self, units: Sequence[Changeset]) -> Sequence[Outcome]:
        outcomes = await self._writer.write(units)
        self._database.announce(self._schema)
        return outcomes

    @asynccontextmanager
    async def transaction(self, isolation: Isolation) -> AsyncIterator["PostgresTransaction"]:
        failure: BaseException | None = None
        async with self._database.transactions, self._database.connection(writing=True) as connection:
            begun = connection.transaction(isolation=isolation.replace(" ", "_"))
            await begun.start()
            try:
                yield PostgresTransaction(
                    connection, self._writer, self._now if isolation != "read committed" else None
                )
                crash_point("commit.written")
            except BaseException as problem:
                failure = problem
                if is_given_up(problem) or isinstance(problem, StoreUnavailable):
                    self._database.give_up(connection)
                elif not is_lost(connection):
                    await begun.rollback()
            else:
                await begun.commit()
                crash_point("commit.durable")
        if failure is not None:
            raise failure
        self._database.announce(self._schema)

    async def _now(self, streams: Sequence[str]) -> tuple[dict[str, int], int]:
        """The versions of streams, and the revision of the set of live inline projections."""
        rows = await self._rows(
            "SELECT w.stream, coalesce((SELECT max(version) FROM"
            f" {self._schema}.events e WHERE e.stream = w.stream), 0) AS version FROM unnest($1::text[]) AS w(stream)",
            list(streams),
        )
        inline = await self.document(INLINE)
        return {row["stream"]: row["version"] for row in rows}, inline.revision if inline else 0

    async def acquire(self, lease: str, owner: str, seconds: float) -> int | None:
        try:
            async with asyncio.timeout(LEASE_SECONDS):
                return await self._acquire(lease, owner, seconds)
        except TimeoutError as problem:
            raise unavailable(problem, maybe_executed=True) from problem

    async def _acquire(self, lease: str, owner: str, seconds: float) -> int | None:
        seconds = min(seconds, LONGEST_LEASE_SECONDS)
        async with self._database.connection() as connection:
            held = await connection.fetchrow(
                f"WITH renewed AS (UPDATE {self._schema}.leases SET"
                " expires = clock_timestamp() + make_interval(secs => $3) WHERE name = $1 AND owner = $2"
                f" RETURNING fence) SELECT {_EXPIRED} AS expired, renewed.fence"
                f" FROM {self._schema}.leases l LEFT JOIN renewed ON true WHERE l.name = $1",
                lease,
                owner,
                seconds,
            )
            if held and held["fence"] is not None:
                return int(held["fence"])
            if held and not held["expired"]:
                return None
            if held:
                await self._database.end_frozen(connection)
            try:
                async with transaction(connection):
                    # Its last owner may be frozen in a transaction that still has the lease locked: tried again soon.
                    await connection.execute(f"SET LOCAL lock_timeout = '{LEASE_LOCK_SECONDS}s'")
                    fence: int | None = await connection.fetchval(
                        f"INSERT INTO {self._schema}.leases AS l VALUES"
                        " ($1, $2, 1, clock_timestamp() + make_interval(secs => $3)) ON CONFLICT (name) DO UPDATE SET"
                        " fence = l.fence + (l.owner <> $2)::int, owner = $2, expires = excluded.expires"
                        f" WHERE l.owner = $2 OR {_EXPIRED} RETURNING fence",
                        lease,
                        owner,
                        seconds,
                    )
            except asyncpg.LockNotAvailableError:
                return None
        return fence

    async def release(self, lease: str, owner: str) -> None:
        await self._value(
            f"UPDATE {self._schema}.leases SET expires = '-infinity' WHERE name = $1 AND owner = $2",
            lease,
            owner,
        )

    async def wish(self, subscription: str, position: int, wish: Literal["retry", "drop"]) -> bool:
        found: bool | None = await self._value(
            f"UPDATE {self._schema}.parked SET wish = $3"
            " WHERE subscription = $1 AND position = $2 AND wish <> 'dropped' RETURNING true",
            subscription,
            position,
            wish,
        )
        self._database.announce(self._schema)
        return bool(found)

    async def create_table(self, table: Table) -> None:
        await self._define(*table_statements(within(self._schema, table), table.name, sql.UNLESS_THERE))

    async def create_indexes(self, table: Table) -> None:
        await self._define(*sql.index_statements(within(self._schema, table), table.name, NULLS))

    async def drop_table(self, name: str) -> None:
        await self._define(f"DROP TABLE IF EXISTS {self._schema}.{name}")

    async def _define(self, *statements: str) -> None:
        """Run statements that define; one process at a time, for CREATE … IF NOT EXISTS of two at once collides."""
        async with self._database.connection() as connection, transaction(connection):
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('craton/schemas', 0))")
            for statement in statements:
                await connection.execute(statement, timeout=DEFINITION_SECONDS)  # an index of many rows takes its time

    # --- reading -------------------------------------------------------------------------------------------------

    async def load(self, streams: Sequence[tuple[str, str]]) -> Sequence[StreamState]:
        if not streams:
            return []
        rows = await self._rows(
            self._load,
            [stream if storable(stream) else None for stream, _ in streams],
            [fingerprint for _, fingerprint in streams],
        )
        states: list[StreamState] = []
        for (stream, fingerprint), (_, group) in zip(streams, groupby(rows, itemgetter("n")), strict=True):
            found = list(group)
            _, at, state, since = tuple(found[0])[:4]
            snapshot = None if at is None else Snapshot(stream, at, fingerprint, state)
            events = [StoredEvent(*tuple(row)[4:]) for row in found if row["position"] is not None]
            states.append(StreamState(snapshot, events, events[-1].time if events else since))
        return states

    async def read_stream(
        self, stream: str, *, after: int = 0, limit: int, descending: bool = False
    ) -> Sequence[StoredEvent]:
        require_count(limit)
        where, order = ("version > $2", "") if not descending else ("($2 = 0 OR version < $2)", " DESC")
        where = where.replace("$2", "$2::bigint")
        rows = await self._rows(
            f"SELECT {EVENT} FROM {self._schema}.events WHERE stream = $1 AND {where} ORDER BY version{order} LIMIT $3",
            stream,
            after,
            limit,
        )
        return [StoredEvent(*row) for row in rows]

    async def read_feed(self, after: int, limit: int) -> FeedPage:
        require_count(limit)
        return await self._feed.read(after, limit)

    async def head(self) -> int:
        head: int = await self._value(f"SELECT coalesce(max(position), 0) FROM {self._schema}.events")
        return head

    async def kinds(self, after: int) -> Sequence[EventKind]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                "SELECT DISTINCT split_part(stream, '-', 1), type, schema_version"
                f" FROM {self._schema}.events WHERE position > $1",
                after,
                timeout=DEFINITION_SECONDS,
            )
        return [EventKind(*row) for row in rows]

    async def get_rows(self, table: Table, keys: Sequence[tuple[Any, ...]]) -> Sequence[str | None]:
        if not keys:
            return []
        for key in keys:
            sql.require_fit(table.name, table.key, key)
        join = " AND ".join(f't."{column.name}" = w."{column.name}"' for column in table.key)
        rows = await self._rows(
            f"SELECT t.row FROM unnest({arrays(table, len(table.key))})"
            f' WITH ORDINALITY AS w({sql.names(table.key)}, "#")'
            f' LEFT JOIN {self._schema}.{table.name} t ON {join} ORDER BY w."#"',
            *map(list, zip(*keys, strict=True)),
        )
        return [row["row"] for row in rows]

    async def find_rows(self, table: Table, query: Query) -> tuple[Sequence[str], int]:
        table = within(self._schema, table)
        page, count = sql.find(table, query, "strpos"), sql.count(table, query, "strpos")
        both = Statement(f"SELECT ARRAY({page.sql}) AS rows, ({count.sql}) AS total", page.parameters)
        (found,) = await self._rows_of(both)  # in one statement, so that they are of one moment
        return found["rows"], found["total"]

    async def sum_rows(self, table: Table, column: str, by: Sequence[str], query: Query) -> dict[tuple[Any, ...], int]:
        rows = await self._rows_of(sql.total(within(self._schema, table), column, by, query, "strpos"))
        return {tuple(row[name] for name in by): sql.summed(row) for row in rows}

    async def find_result(self, scope: str, key: str) -> StoredResult | None:
        rows = await self._rows(
            "SELECT scope, key, fingerprint, outcome, position"
            f" FROM {self._schema}.results WHERE scope = $1 AND key = $2",
            scope,
            key,
        )
        return StoredResult(*rows[0]) if rows else None

    async def checkpoint(self, subscription: str) -> int:
        position: int | None = await self._value(
            f"SELECT position FROM {self._schema}.checkpoints WHERE subscription = $1", subscription
        )
        return position or 0

    async def document(self, name: str) -> Document | None:
        rows = await self._rows(f"SELECT name, revision, body FROM {self._schema}.documents WHERE name = $1", name)
        return Document(*rows[0]) if rows else None

    async def due_timers(self, now: datetime, limit: int) -> Sequence[Timer]:
        require_count(limit)
        rows = await self._rows(
            f"SELECT {sql.TIMER} FROM {self._schema}.timers WHERE NOT parked AND due <= $1 ORDER BY due, id LIMIT $2",
            now,
            limit,
        )
        return [Timer(*row) for row in rows]

    async def next_timer(self) -> datetime | None:
        due: datetime | None = await self._value(f"SELECT min(due) FROM {self._schema}.timers WHERE NOT parked")
        return due

    async def parked_timers(self) -> Sequence[Timer]:
        rows = await self._rows(f"SELECT {sql.TIMER} FROM {self._schema}.timers WHERE parked ORDER BY due, id")
        return [Timer(*row) for row in rows]

    async def timer_operations(self) -> Sequence[str]:
        rows = await self._rows(f"SELECT DISTINCT operation FROM {self._schema}.timers WHERE NOT parked")
        return [row["operation"] for row in rows]

    async def parked(self, subscription: str | None = None) -> Sequence[ParkedEvent]:
        rows = await self._rows(
            f"SELECT subscription, position, key, error, attempts, since, wish FROM {self._schema}.parked"
            " WHERE ($1::text IS NULL OR subscription = $1) AND wish <> 'dropped' ORDER BY position",
            subscription,
        )
        return [ParkedEvent(*row) for row in rows]

    async def dropped(self, subscription: str) -> Sequence[int]:
        rows = await self._rows(
            f"SELECT position FROM {self._schema}.parked WHERE subscription = $1 AND wish = 'dropped'"
            " ORDER BY position",
            subscription,
        )
        return [row["position"] for row in rows]

    async def parked_events(self, subscription: str, key: str, limit: int) -> Sequence[StoredEvent]:
        require_count(limit)
        rows = await self._rows(
            f"SELECT {', '.join(f'e.{name}' for name in EVENT.split(', '))} FROM {self._schema}.parked p"
            f" JOIN {self._schema}.events e ON e.position = p.position"
            " WHERE p.subscription = $1 AND p.key = $2 AND p.wish <> 'dropped' ORDER BY p.position LIMIT $3",
            subscription,
            key,
            limit,
        )
        return [StoredEvent(*row) for row in rows]

    async def fetch(self, statement: Statement) -> Sequence[dict[str, Any]]:
        async with self._database.connection() as connection, transaction(connection, readonly=True):
            try:
                return await self._writer.fetch(connection, statement)
            except asyncpg.ReadOnlySQLTransactionError as problem:
                raise StatementFailed(str(problem)) from problem

    async def _rows_of(self, statement: Statement) -> list[Any]:
        text, values = sql.numbered(statement)
        return await self._rows(text, *values)

    async def _rows(self, text: str, *values: Any) -> list[Any]:
        async with self._database.connection() as connection:
            rows: list[Any] = await connection.fetch(text, *values)
            return rows

    async def _value(self, text: str, *values: Any) -> Any:
        async with self._database.connection() as connection:
            return await connection.fetchval(text, *values)


class PostgresTransaction:
    """An interactive transaction on one connection. Each call is a savepoint: one that is refused is undone alone.

    `now` is given where the transaction sees the database as it was when it began: what a unit was made for must be
    held against what is there now, which another connection reads once the streams are locked.
    """

    def __init__(
        self,
        connection: Any,
        writer: PostgresWriter,
        now: Callable[[Sequence[str]], Awaitable[tuple[dict[str, int], int]]] | None,
    ) -> None:
        self._connection = connection
        self._writer = writer
        self._now = now
        self._streams: set[str] = set()
        self._rows: set[str] = set()

    async def execute(self, statement: Statement) -> int:
        async with self._savepoint():
            return await self._writer.execute(self._connection, statement)

    async def fetch(self, statement: Statement) -> Sequence[dict[str, Any]]:
        async with self._savepoint():
            return await self._writer.fetch(self._connection, statement)

    async def write(self, unit: Changeset) -> int:
        require_well_formed(unit)
        streams, rows = self._streams | unit.streams, self._rows.copy()
        async with self._savepoint():
            if self._streams:  # with those of earlier units there may be too many for a lock each
                await self._writer.lock_streams(self._connection, streams)
            (position,) = await self._writer.write_in(self._connection, [unit], rows)
            expected = {append.stream: append.expected for append in unit.appends} | dict(unit.guards)
            if self._now is not None and expected:
                versions, inline = await self._now(sorted(expected))
                for stream, version in expected.items():
                    if versions[stream] != version:
                        raise VersionConflict(stream)
                if unit.inline not in (None, inline):
                    raise Outdated(inline)
        self._streams, self._rows = streams, rows  # what was undone has given its locks back
        return position

    @asynccontextmanager
    async def _savepoint(self) -> AsyncIterator[None]:
        """Raises `StoreUnavailable` if the database is to blame, `ChangesetRefused` if the statement is."""
        try:
            with faults_as_refusals(self._connection):
                async with transaction(self._connection):
                    yield
        except (*LOST, asyncpg.InterfaceError) as problem:
            raise unavailable(problem, maybe_executed=False) from problem
