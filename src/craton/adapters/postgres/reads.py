"""The reading half of a store in one schema."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import asyncpg

from craton.adapters import sql
from craton.adapters.postgres.database import PostgresDatabase, transaction
from craton.adapters.postgres.feed import EVENT, FeedReader
from craton.adapters.postgres.row_reads import RowReads
from craton.adapters.postgres.rows import arrays
from craton.adapters.postgres.schema import within
from craton.adapters.postgres.writer import PostgresWriter
from craton.adapters.search import found_events, search_statement
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
    StatementFailed,
    StoredEvent,
    StoredResult,
    StreamState,
    Table,
    Timer,
)
from craton.ports.wellformed import require_count, storable

DEFINITION_SECONDS: Final = 600.0


class PostgresReads:
    """The reading half of a store."""

    def __init__(self, database: PostgresDatabase, schema: str, lock: int) -> None:
        self._database = database
        self._schema = schema
        self._writer = PostgresWriter(database, schema, lock)
        self._feed = FeedReader(database, schema, lock)
        self._row_reads = RowReads(self._read_rows)
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

    async def search(
        self, wanted: EventFilter, before: int, limit: int, scanned: int
    ) -> tuple[Sequence[StoredEvent], int]:
        statement = search_statement(
            wanted, before, limit, scanned, f"{self._schema}.events", lambda field: f"(metadata::json ->> '{field}')"
        )
        return found_events(await self._rows_of(statement), limit, scanned, lambda row: StoredEvent(*row))

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
        return await self._row_reads.get(table, keys)

    async def _read_rows(self, table: Table, keys: Sequence[tuple[Any, ...]]) -> Sequence[str | None]:
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
        (found,) = await self._rows_of(both)  # in one statement, so that both are of the same moment
        return found["rows"], found["total"]

    async def sum_rows(self, table: Table, column: str, by: Sequence[str], query: Query) -> dict[tuple[Any, ...], int]:
        rows = await self._rows_of(sql.total(within(self._schema, table), column, by, query, "strpos"))
        return {tuple(row[name] for name in by): sql.summed(row) for row in rows}

    async def find_result(self, scope: str, key: str) -> StoredResult | None:
        rows = await self._rows(
            "SELECT scope, key, fingerprint, outcome, time, position"
            f" FROM {self._schema}.results WHERE scope = $1 AND key = $2",
            scope,
            key,
        )
        return StoredResult(*rows[0]) if rows else None

    async def checkpoint(self, subscription: str) -> int:
        position: int | None = await self._value(
            f"SELECT position FROM {self._schema}.readers WHERE subscription = $1", subscription
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

    async def timers(self, limit: int, offset: int, *, parked: bool | None = None) -> tuple[Sequence[Timer], int]:
        require_count(limit)
        where = "" if parked is None else f" WHERE parked = {parked}"
        rows = await self._rows(
            f"SELECT (SELECT count(*) FROM {self._schema}.timers{where}) AS total, page.* FROM (SELECT true) AS one"
            f" LEFT JOIN (SELECT {sql.TIMER} FROM {self._schema}.timers{where} ORDER BY due, id LIMIT $1 OFFSET $2)"
            " AS page ON true",
            limit,
            offset,
        )
        return [Timer(*tuple(row)[1:]) for row in rows if row["id"] is not None], rows[0]["total"]

    async def leases(self) -> Sequence[HeldLease]:
        rows = await self._rows(
            "SELECT name, owner, fence, expires BETWEEN clock_timestamp() AND clock_timestamp() +"
            f" interval '{LONGEST_LEASE_SECONDS} seconds' AS held FROM {self._schema}.lease_owners ORDER BY name"
        )
        return [HeldLease(*row) for row in rows]

    async def timer_operations(self) -> Sequence[str]:
        rows = await self._rows(f"SELECT DISTINCT operation FROM {self._schema}.timers WHERE NOT parked")
        return [row["operation"] for row in rows]

    async def parked(self, subscription: str | None = None) -> Sequence[ParkedEvent]:
        rows = await self._rows(
            f"SELECT subscription, position, key, error, attempts, since, operator_request"
            f" FROM {self._schema}.parked_events"
            " WHERE ($1::text IS NULL OR subscription = $1) AND operator_request <> 'dropped' ORDER BY position",
            subscription,
        )
        return [ParkedEvent(*row) for row in rows]

    async def dropped(self, subscription: str) -> Sequence[int]:
        rows = await self._rows(
            f"SELECT position FROM {self._schema}.parked_events"
            " WHERE subscription = $1 AND operator_request = 'dropped'"
            " ORDER BY position",
            subscription,
        )
        return [row["position"] for row in rows]

    async def parked_events(self, subscription: str, key: str, limit: int) -> Sequence[StoredEvent]:
        require_count(limit)
        rows = await self._rows(
            f"SELECT event FROM {self._schema}.parked_events WHERE subscription = $1 AND key = $2"
            " AND operator_request <> 'dropped' ORDER BY position LIMIT $3",
            subscription,
            key,
            limit,
        )
        return [sql.parked_event(row["event"]) for row in rows]

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
