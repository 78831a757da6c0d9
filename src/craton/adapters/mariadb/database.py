"""Connections to MariaDB, and statements on them.

SQLAlchemy's pool lends the connections, and tells which errors mean that one is lost. The statements are the module's
own, as the other stores run them.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from craton.adapters import sql
from craton.adapters.mariadb.refusals import DUPLICATE, code_of, duplicate_key, is_lost, refusal, unavailable
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
END_SECONDS: Final = 2.0
SESSION: Final = (
    "SET SESSION sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,"
    "ERROR_FOR_DIVISION_BY_ZERO', sql_notes = 0, time_zone = '+00:00', "
    f"innodb_lock_wait_timeout = {LOCK_SECONDS}, max_statement_time = {STATEMENT_SECONDS}"
)
"""Standard quotes and escapes, values that don't fit refused instead of cut off, times in UTC, and bounded waits."""
TABLE_OPTIONS: Final = " ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"
"""Transactions, and texts that are equal only if they are the same, as in the other stores."""
_CREATES_TABLE: Final = re.compile(r"\s*CREATE\s+TABLE\b", re.IGNORECASE).match
_CHANGED: Final = re.compile(r"\b(?:INTO|UPDATE)\s+\"?(\w+)", re.IGNORECASE).search
_QUOTED: Final = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/""", re.DOTALL)
_IS_SEVERAL: Final = re.compile(r";\s*\S").search


def engine_url(text: str) -> URL:
    """The URL for the driver. Raises `WiringError`, without the password, for one that doesn't fit."""
    try:
        url = make_url(text)
    except ArgumentError:
        raise WiringError("the database isn't a URL such as mysql://user:password@host:3306/name") from None
    if url.get_backend_name() not in ("mysql", "mariadb") or not url.host or not url.database:
        raise WiringError(
            f"the database must be given as mysql://user:password@host:3306/name, not as {url.render_as_string()}"
        )
    return url.set(drivername="mysql+asyncmy", query={**url.query, "charset": "utf8mb4"})


class MariaDatabase:
    """A database whose connections are lent and taken back."""

    def __init__(self, url: str) -> None:
        connecting = {"connect_timeout": CONNECT_SECONDS, "init_command": SESSION}
        self._ending = create_async_engine(engine_url(url), poolclass=NullPool, connect_args=connecting)
        """For what must be said when all other connections may be in use."""
        self._engine = create_async_engine(
            engine_url(url),
            pool_size=POOL,
            max_overflow=0,
            pool_timeout=CONNECT_SECONDS,
            pool_pre_ping=True,
            pool_use_lifo=True,
            connect_args=connecting,
        )

    async def close(self) -> None:
        await self._engine.dispose()
        await self._ending.dispose()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator["MariaConnection"]:
        """A transaction that can change nothing. Raises `StoreUnavailable`, or `ChangesetRefused` for a statement."""
        async with self._lent() as connection:
            await connection.run("START TRANSACTION READ ONLY")
            yield connection

    @asynccontextmanager
    async def transaction(self, isolation: Isolation = "read committed") -> AsyncIterator["MariaConnection"]:
        """A transaction that commits when the block ends without an error; otherwise it rolls back.

        Raises `StoreUnavailable`, and `SerializationConflict` if the server has rolled it back meanwhile.
        """
        async with self._lent() as connection:
            await connection.run(f"SET TRANSACTION ISOLATION LEVEL {isolation}")
            yield connection
            await connection.commit()

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator["MariaConnection"]:
        """A connection for a block. One on which a statement may still be running is closed and never lent again."""
        try:
            raw = await self._engine.connect()
            driver: Any = (await raw.get_raw_connection()).driver_connection
        except (SQLAlchemyError, OSError) as problem:
            raise unavailable(problem, maybe_executed=False) from problem
        connection = MariaConnection(raw)
        try:
            yield connection
        finally:
            ending = self._end(raw, driver.thread_id()) if connection.is_busy else _given_back(raw)
            await asyncio.shield(ending)

    async def _end(self, raw: AsyncConnection, number: int) -> None:
        """Close a connection whose statement the server may still run, and have the server stop it."""
        if not raw.invalidated:
            await raw.invalidate()
        await raw.close()
        with contextlib.suppress(SQLAlchemyError, OSError, TimeoutError):
            async with asyncio.timeout(END_SECONDS), self._ending.connect() as other:
                await other.exec_driver_sql(f"KILL {number}")


async def _given_back(raw: AsyncConnection) -> None:
    """Give a connection back, which rolls back what isn't committed."""
    try:
        async with asyncio.timeout(END_SECONDS):
            await raw.close()
    except (SQLAlchemyError, OSError, TimeoutError):
        await raw.invalidate()


class MariaConnection:
    """One connection, in a transaction."""

    def __init__(self, raw: AsyncConnection) -> None:
        self._raw = raw
        self._rolled_back: SerializationConflict | None = None
        self.is_busy = False
        """Whether a statement was begun whose answer hasn't come."""

    async def execute(self, statement: Statement) -> int:
        """Run a statement; return how many rows it has found to change, whether or not they were equal already."""
        result = await self._run(statement)
        changed: int = result.rowcount
        return max(0, changed)

    async def fetch(self, statement: Statement) -> list[dict[str, Any]]:
        """Run a statement; return its rows."""
        result = await self._run(statement)
        if not result.returns_rows:
            return []
        return [{name: _read(value) for name, value in row._mapping.items()} for row in result]

    async def run(self, text: str, values: Sequence[Any] = ()) -> Any:
        """Run SQL. Raises `StoreUnavailable` if the connection is lost, else the `ChangesetRefused` that it means."""
        if self._rolled_back is not None:
            raise self._rolled_back
        self.is_busy = True
        try:
            result = await self._raw.exec_driver_sql(text, tuple(values))
        except (SQLAlchemyError, OSError) as problem:
            self.is_busy = is_lost(problem)
            raise await self._meant(problem, text) from problem
        self.is_busy = False
        return result

    async def _meant(self, problem: Exception, text: str) -> StoreUnavailable | ChangesetRefused:
        """What an error of a statement means."""
        if self.is_busy:
            return unavailable(problem, maybe_executed=False)
        if code_of(problem) == DUPLICATE:
            return await self._not_unique(text, duplicate_key(problem))
        refused = refusal(problem)
        if isinstance(refused, SerializationConflict):
            self._rolled_back = refused  # for a deadlock the server has done so already
        return refused

    async def commit(self) -> None:
        if self._rolled_back is not None:
            raise self._rolled_back
        self.is_busy = True
        try:
            await self._raw.commit()
        except (SQLAlchemyError, OSError) as problem:
            raise unavailable(problem, maybe_executed=True) from problem
        self.is_busy = False

    async def _run(self, statement: Statement) -> Any:
        text, values = sql.placed(statement)
        if _IS_SEVERAL(_QUOTED.sub("", text)):
            raise StatementFailed("a statement can't contain a second one; give them one by one")
        return await self.run(text + TABLE_OPTIONS if _CREATES_TABLE(text) else text, [*map(_bound, values)])

    async def _not_unique(self, text: str, index: str) -> NotUnique:
        """The refusal of a duplicate, with the first column of the index."""
        found = _CHANGED(text)
        table = found[1] if found else ""
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
