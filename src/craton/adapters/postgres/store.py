"""The store of a module in one Postgres schema."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import asyncpg

from craton.adapters import sql
from craton.adapters.layouts import LAYOUT, require_usable, tell_upgraded
from craton.adapters.postgres.database import PostgresDatabase, is_given_up, transaction, unavailable
from craton.adapters.postgres.reads import DEFINITION_SECONDS, PostgresReads
from craton.adapters.postgres.refusals import is_lost
from craton.adapters.postgres.schema import schema_statements, table_statements, within
from craton.adapters.postgres.transaction import PostgresTransaction
from craton.adapters.postgres.writer import NULLS
from craton.application.errors import WiringError
from craton.ports import (
    INLINE,
    LONGEST_LEASE_SECONDS,
    Changeset,
    ChangesetRefused,
    Isolation,
    StoreUnavailable,
    Table,
    WriteOutcome,
)
from craton.ports.crash import crash_point
from craton.ports.records import MAX_NAME_BYTES
from craton.ports.wellformed import require_count

LEASE_LOCK_SECONDS: Final = 1
_SCHEMA: Final = re.compile("[A-Za-z_][A-Za-z0-9_]*")
LEASE_SECONDS: Final = 3.0
"""An answer about a lease that takes longer is useless, because the lease has run out by then."""
_EXPIRED: Final = (
    f"(l.expires NOT BETWEEN clock_timestamp() AND clock_timestamp() + interval '{LONGEST_LEASE_SECONDS} seconds')"
)
"""An expiry further away than any lease lasts stems from before the server's clock was set back."""
_DEFINING: Final = "SELECT pg_advisory_xact_lock(hashtextextended('craton/schemas', 0))"
"""The lock for statements that define tables, because concurrent CREATE … IF NOT EXISTS statements collide."""


class PostgresStore(PostgresReads):
    """A `Store` in the schema `schema`, which is created if it is missing. Raises `WiringError` for an invalid name."""

    writers = 2
    shared = True

    def __init__(self, database: PostgresDatabase, schema: str) -> None:
        if not _SCHEMA.fullmatch(schema) or len(schema) > MAX_NAME_BYTES:
            raise WiringError(
                f"{schema!r} can't be the name of a schema: Postgres keeps {MAX_NAME_BYTES} bytes of a name, and it is "
                f"to be of letters without accents, digits and underscores. Give the app another name"
            )
        self._lock = int.from_bytes(hashlib.blake2b(schema.encode(), digest_size=8).digest(), signed=True)
        super().__init__(database, schema, self._lock)

    async def exists(self) -> bool:
        await self._database.open()
        try:
            return bool(await self._value("SELECT to_regclass($1) IS NOT NULL", f"{self._schema}.events"))
        finally:
            await self._database.close()

    async def open(self, *, upgrade: bool = True) -> None:
        await self._database.open()
        try:
            await self._prepare(upgrade=upgrade)
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

    async def write(self, units: Sequence[Changeset]) -> Sequence[WriteOutcome]:
        outcomes = await self._writer.write(units)
        self._database.announce(self._schema)
        return outcomes

    @asynccontextmanager
    async def transaction(self, isolation: Isolation) -> AsyncIterator[PostgresTransaction]:
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
                f"WITH renewed AS (UPDATE {self._schema}.lease_owners SET"
                " expires = clock_timestamp() + make_interval(secs => $3) WHERE name = $1 AND owner = $2"
                f" RETURNING fence) SELECT {_EXPIRED} AS expired, renewed.fence"
                f" FROM {self._schema}.lease_owners l LEFT JOIN renewed ON true WHERE l.name = $1",
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
                    # The last owner may be frozen in a transaction that has the lease locked: this is tried again.
                    await connection.execute(f"SET LOCAL lock_timeout = '{LEASE_LOCK_SECONDS}s'")
                    fence: int | None = await connection.fetchval(
                        f"INSERT INTO {self._schema}.lease_owners AS l VALUES"
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
            f"UPDATE {self._schema}.lease_owners SET expires = '-infinity' WHERE name = $1 AND owner = $2",
            lease,
            owner,
        )

    async def forget_results(
        self, before: datetime, after: tuple[str, str], limit: int, spared: str
    ) -> tuple[str, str] | None:
        require_count(limit)
        last = await self._rows(
            f"WITH seen AS (SELECT scope, key, time FROM {self._schema}.results WHERE (scope, key) > ($1, $2)"
            f" ORDER BY scope, key LIMIT $3), gone AS (DELETE FROM {self._schema}.results r USING seen s"
            " WHERE r.scope = s.scope AND r.key = s.key AND s.time < $4"
            " AND NOT starts_with(s.key, $5))"
            " SELECT scope, key FROM seen ORDER BY scope, key OFFSET $3 - 1",
            *after,
            limit,
            before,
            spared,
        )
        return (last[0]["scope"], last[0]["key"]) if last else None

    async def create_table(self, table: Table) -> None:
        await self._define(*table_statements(within(self._schema, table), table.name, sql.UNLESS_THERE))

    async def create_indexes(self, table: Table) -> None:
        await self._define(*sql.index_statements(within(self._schema, table), table.name, NULLS))

    async def drop_table(self, name: str) -> None:
        await self._define(f"DROP TABLE IF EXISTS {self._schema}.{name}")

    async def _prepare(self, *, upgrade: bool) -> None:
        """Create the tables, or upgrade older ones. One process at a time does this; the others find it done."""
        async with self._database.connection() as connection, transaction(connection):
            await connection.execute(_DEFINING)
            found = await self._layout(connection)
            require_usable(self._schema, found, upgrade=upgrade)
            for statement in schema_statements(self._schema, self._lock, found):
                await connection.execute(statement, timeout=DEFINITION_SECONDS)
        if 0 < found < LAYOUT:
            tell_upgraded(self._schema, found)

    async def _layout(self, connection: Any) -> int:
        """The layout version of the tables; 0 if there are none."""
        events, layout = await connection.fetchrow(
            "SELECT to_regclass($1) IS NOT NULL, to_regclass($2) IS NOT NULL",
            f"{self._schema}.events",
            f"{self._schema}.layout",
        )
        if layout:
            return int(await connection.fetchval(f"SELECT version FROM {self._schema}.layout"))
        return 1 if events else 0

    async def _define(self, *statements: str) -> None:
        """Run defining statements, one process at a time, because concurrent CREATE … IF NOT EXISTS statements
        collide."""
        async with self._database.connection() as connection, transaction(connection):
            await connection.execute(_DEFINING)
            for statement in statements:
                await connection.execute(statement, timeout=DEFINITION_SECONDS)  # an index on many rows takes long
