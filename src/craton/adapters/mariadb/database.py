"""Connections to MariaDB, and statements on them.

SQLAlchemy's pool lends the connections, and tells which errors mean that one is lost. The statements are the module's
own, as the other stores run them.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from craton.adapters import sql
from craton.adapters.mariadb.refusals import (
    DUPLICATE,
    TOO_LARGE,
    code_of,
    duplicate_key,
    is_lost,
    is_silent,
    refusal,
    unavailable,
)
from craton.adapters.mariadb.statements import changed_table, commits_by_itself, with_table_options
from craton.application.errors import WiringError
from craton.ports import (
    ChangesetRefused,
    Isolation,
    NotUnique,
    SerializationConflict,
    Statement,
    StatementFailed,
    StoreUnavailable,
)
from craton.ports.wellformed import LARGEST_NUMBER, require_storable

POOL: Final = 10
CONNECT_SECONDS: Final = 5
LOCK_SECONDS: Final = 5
"""How long a statement waits for a lock of another transaction."""
STATEMENT_SECONDS: Final = 60
ANSWER_SECONDS: Final = STATEMENT_SECONDS + 5.0
"""How long an answer of the server may take; then the connection counts as lost."""
IDLE_SECONDS: Final = 30
"""The server ends a transaction that is idle for so long, because its process may be frozen and holds locks."""
END_SECONDS: Final = 2.0
SESSION: Final = (
    "SET SESSION sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,"
    "ERROR_FOR_DIVISION_BY_ZERO', sql_notes = 0, max_error_count = 0, time_zone = '+00:00', "
    f"innodb_snapshot_isolation = ON, innodb_lock_wait_timeout = {LOCK_SECONDS}, lock_wait_timeout = {LOCK_SECONDS}, "
    f"max_statement_time = {STATEMENT_SECONDS}, idle_transaction_timeout = {IDLE_SECONDS}"
)
"""Standard quotes and escapes, values that don't fit refused instead of cut off, no warnings (they hold values), times
in UTC, no lost updates in a repeatable read, and bounded waits."""
NAMES: Final = "SET NAMES utf8mb4 COLLATE utf8mb4_nopad_bin"
"""Texts are equal only if they are the same, as in the other stores."""
ONE_STATEMENT: Final = b"\x01\x00"
"""MYSQL_OPTION_MULTI_STATEMENTS_OFF: the driver asks for several statements at a time, which nobody should give."""
OPTIONS: Final = frozenset(("ssl_ca", "ssl_cert", "ssl_key", "ssl_check_hostname"))
"""What the URL may say beside the place of the database."""
_SET_OPTION: Final = 0x1B


def engine_url(text: str) -> URL:
    """The URL for the driver. Raises `WiringError`, which never shows a password, for one that doesn't fit."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        url = URL.create("none")
    is_place = url.get_backend_name() in ("mysql", "mariadb") and url.host and url.database
    if not is_place or "@" in (url.host or ""):
        raise WiringError("the database must be given as mysql://user:password@host:3306/name")
    unknown = sorted(url.query.keys() - OPTIONS)
    if unknown:
        raise WiringError(f"the URL of the database has options that aren't known: {', '.join(unknown)}")
    return url.set(drivername="mysql+asyncmy", query={**url.query, "charset": "utf8mb4"})


class MariaDatabase:
    """A database whose connections are lent and taken back. Raises `WiringError` for a URL that doesn't fit."""

    def __init__(self, url: str) -> None:
        place = engine_url(url)
        pool = {"pool_size": POOL, "max_overflow": 0, "pool_timeout": CONNECT_SECONDS}
        self._engine = _engine(place, pool_pre_ping=True, pool_use_lifo=True, **pool)
        self._ending = _engine(place, poolclass=NullPool)
        """For what must be said when all other connections may be in use."""

    async def close(self) -> None:
        await self._engine.dispose()
        await self._ending.dispose()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator["MariaConnection"]:
        """A transaction that can change nothing. Raises `StoreUnavailable`, or `ChangesetRefused` for a statement."""
        async with self._lent() as connection:
            await connection.run("SET SESSION TRANSACTION READ ONLY")
            yield connection

    @asynccontextmanager
    async def transaction(self, isolation: Isolation = "read committed") -> AsyncIterator["MariaConnection"]:
        """A transaction that commits when the block ends without an error; otherwise it rolls back.

        Raises `StoreUnavailable`, and `SerializationConflict` if the server has rolled it back meanwhile.
        """
        async with self._lent() as connection:
            await connection.run(f"SET SESSION TRANSACTION ISOLATION LEVEL {isolation}, READ WRITE")
            yield connection
            await connection.commit()

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator["MariaConnection"]:
        """A connection for a block. One on which a statement may still be running is closed and never lent again."""
        try:
            async with asyncio.timeout(2 * CONNECT_SECONDS):
                raw = await self._engine.connect()
                driver: Any = (await raw.get_raw_connection()).driver_connection
        except (SQLAlchemyError, OSError) as problem:
            raise unavailable(problem, maybe_executed=False) from problem
        connection = MariaConnection(raw)
        try:
            yield connection
        finally:
            await asyncio.shield(self._taken_back(raw, connection, driver.thread_id()))

    async def _taken_back(self, raw: AsyncConnection, connection: "MariaConnection", number: int) -> None:
        """Take a connection back, which rolls back what isn't committed; or have the server stop what it still runs."""
        if not connection.is_busy:
            with contextlib.suppress(SQLAlchemyError, OSError):
                async with asyncio.timeout(END_SECONDS):
                    await raw.close()
        await _thrown_away(raw)
        if connection.may_still_run:
            with contextlib.suppress(SQLAlchemyError, OSError):
                async with asyncio.timeout(END_SECONDS), self._ending.connect() as other:
                    await other.exec_driver_sql(f"KILL {number}")


def _engine(url: URL, **pool: Any) -> AsyncEngine:
    connecting = {"connect_timeout": CONNECT_SECONDS, "init_command": SESSION, "autocommit": False}
    engine = create_async_engine(url, connect_args=connecting, hide_parameters=True, **pool)
    event.listen(engine.sync_engine, "connect", _prepare)
    return engine


def _prepare(connection: Any, _: Any) -> None:
    connection.run_async(_prepare_driver)


async def _prepare_driver(driver: Any) -> None:
    await driver._execute_command(_SET_OPTION, ONE_STATEMENT)
    await driver.read_packet()
    await driver.query(NAMES)  # after SQLAlchemy's own, which would undo it


async def _thrown_away(raw: AsyncConnection) -> None:
    """Close a connection that isn't given back, so that it is never lent again."""
    with contextlib.suppress(SQLAlchemyError, OSError):
        if not raw.closed and not raw.invalidated:
            await raw.invalidate()
    with contextlib.suppress(SQLAlchemyError, OSError):
        await raw.close()


class MariaConnection:
    """One connection, in a transaction."""

    def __init__(self, raw: AsyncConnection) -> None:
        self._raw = raw
        self._over: SerializationConflict | StoreUnavailable | None = None
        """Why it can't be used any more."""
        self.is_busy = False
        """Whether a statement was begun whose answer hasn't come."""
        self.may_still_run = False
        """Whether the server may be running it, for all that is known."""

    async def execute(self, statement: Statement, *, alone: bool = False) -> int:
        """Run a statement; return how many rows it has found to change, whether or not they were equal already.

        `alone`: it is all that the transaction holds. Only then may it be one that MariaDB commits by itself.
        """
        result = await self._run(statement, alone=alone)
        changed: int = result.rowcount
        return max(0, changed)

    async def fetch(self, statement: Statement) -> list[dict[str, Any]]:
        """Run a statement; return its rows."""
        result = await self._run(statement, alone=False)
        if not result.returns_rows:
            return []
        return [{name: _read(value) for name, value in row._mapping.items()} for row in result]

    async def run(self, text: str, values: Sequence[Any] = ()) -> Any:
        """Run SQL. Raises `StoreUnavailable` if the connection is lost, else the `ChangesetRefused` that it means."""
        self._begin()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                result = await self._raw.exec_driver_sql(text, tuple(values))
        except (SQLAlchemyError, OSError) as problem:
            self.is_busy, self.may_still_run = is_lost(problem), is_silent(problem)
            raise await self._meant(problem, text) from problem
        self.is_busy = self.may_still_run = False
        return result

    async def commit(self) -> None:
        self._begin()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._raw.commit()
        except (SQLAlchemyError, OSError) as problem:
            self.may_still_run = is_silent(problem)
            raise unavailable(problem, maybe_executed=True) from problem
        self.is_busy = self.may_still_run = False

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """What is refused in the block is undone, and nothing else of the transaction."""
        await self.run("SAVEPOINT unit")
        try:
            yield
        except ChangesetRefused:
            if self._over is None and not self.is_busy:
                await self.run("ROLLBACK TO SAVEPOINT unit")
            raise

    def _begin(self) -> None:
        """Note that something is asked. Raises if nothing can be asked any more."""
        if self._over is not None:
            raise self._over
        if self.is_busy:
            raise StoreUnavailable("A statement was given up, and its connection with it.", maybe_executed=False)
        self.is_busy = self.may_still_run = True

    async def _meant(self, problem: Exception, text: str) -> StoreUnavailable | ChangesetRefused:
        """What an error of a statement means."""
        if self.is_busy and code_of(problem) != TOO_LARGE:
            self._over = unavailable(problem, maybe_executed=False)
            return self._over
        if code_of(problem) == DUPLICATE:
            return await self._not_unique(changed_table(text), duplicate_key(problem))
        refused = refusal(problem)
        if isinstance(refused, SerializationConflict):
            self._over = refused  # for a deadlock the server has rolled the transaction back already
        return refused

    async def _run(self, statement: Statement, *, alone: bool) -> Any:
        text, values = sql.placed(statement)
        if not alone and commits_by_itself(text):
            raise StatementFailed("MariaDB commits such a statement by itself; give it alone, in a unit of its own")
        return await self.run(with_table_options(text), [*map(_bound, values)])

    async def _not_unique(self, table: str, index: str) -> NotUnique:
        """The refusal of a duplicate, with the first column of the index."""
        columns = await self.run(
            "SELECT column_name AS name FROM information_schema.statistics WHERE table_schema = DATABASE()"
            " AND table_name = %s AND index_name = %s ORDER BY seq_in_index LIMIT 1",
            (table, index),
        )
        return NotUnique(table, columns.scalar() or index)


def _bound(value: Any) -> Any:
    """A value as the driver takes it. Raises `StatementFailed` for one that has no place in a database."""
    match value:
        case None:
            return None
        case bool():
            return int(value)
        case str():
            require_storable(value)
            return str.__str__(value)
        case int() if -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
            return int(value)
        case float():
            return float(value)
        case datetime() if value.utcoffset() is not None:
            return value.astimezone(UTC).replace(tzinfo=None)
    raise StatementFailed(
        f"{value!r} can't be a parameter: texts, numbers, booleans and times with a zone can, and numbers have 64 bits"
    )


def _read(value: Any) -> Any:
    """A value as the other stores read it: a time in UTC."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
