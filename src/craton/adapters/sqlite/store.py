"""The store of a module in one SQLite file.

One thread writes, in batches. Write-ahead logging lets readers read while the writer writes.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from craton.adapters import sql
from craton.adapters.sqlite.connection import bound, connect
from craton.adapters.sqlite.reads import SqliteReads
from craton.adapters.sqlite.refusals import DRIVER_ERRORS, meaning, refusal
from craton.adapters.sqlite.schema import prepare, table_statements
from craton.adapters.sqlite.transaction import SqliteTransaction
from craton.adapters.sqlite.writer import Writer
from craton.ports import Changeset, Isolation, StoreUnavailable, Table, WriteOutcome
from craton.ports.wellformed import require_count

T = TypeVar("T")


class SqliteStore(SqliteReads):
    """A `Store` in the file `path`, which is created if it doesn't exist. `durable=False` leaves fsync out, for
    tests."""

    writers = 1
    shared = True

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        super().__init__(path, durable=durable)
        self._lock = asyncio.Lock()

    async def exists(self) -> bool:
        return self._path.exists()

    async def open(self, *, upgrade: bool = True) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.touch(mode=0o600)  # SQLite gives its other files the same mode
            writing = connect(self._path, synchronous=self._synchronous, read_only=False)
            try:
                prepare(writing, str(self._path), upgrade=upgrade)
                self._open_reader()
            except BaseException:
                writing.close()
                raise
        except (OSError, sqlite3.Error) as problem:
            why = problem if isinstance(problem, OSError) else refusal(problem) or problem
            raise StoreUnavailable(f"{self._path} can't be opened: {why}.", maybe_executed=False) from problem
        self._writing = writing
        self._writer = Writer(writing)
        self._write_thread = ThreadPoolExecutor(1, f"write-{self._path.stem}")

    async def close(self) -> None:
        async with self._lock:
            self._write_thread.shutdown()
            self._interrupt_scans()
        self._close_readers()
        self._writing.close()

    async def ping(self) -> None:
        self._read("SELECT 1")

    def watch(self, wake: Callable[[], None]) -> None:
        """Do nothing: SQLite sends no notices, so other processes' writes are found by polling."""

    # --- writing -------------------------------------------------------------------------------------------------

    async def write(self, units: Sequence[Changeset]) -> Sequence[WriteOutcome]:
        return await self._in_writer(lambda: self._writer.write(units))

    @asynccontextmanager
    async def transaction(self, isolation: Isolation) -> AsyncIterator[SqliteTransaction]:
        """Open a transaction. The file has only one at a time, so it is serializable at every isolation level."""
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
        await self._autocommit("UPDATE lease_owners SET expires = 0 WHERE name = ? AND owner = ?", (lease, owner))

    async def forget_results(
        self, before: datetime, after: tuple[str, str], limit: int, spared: str
    ) -> tuple[str, str] | None:
        require_count(limit)
        return await self._in_writer(lambda: self._writer.forget_results(before, after, limit, spared))

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
        """Run work in the writer thread. A cancellation interrupts the statement, and waits until it has stopped."""
        running = asyncio.get_running_loop().run_in_executor(self._write_thread, work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            self._writing.interrupt()
            await asyncio.gather(running, return_exceptions=True)
            raise
        except DRIVER_ERRORS as problem:
            raise meaning(problem, "The database can't write") from problem
