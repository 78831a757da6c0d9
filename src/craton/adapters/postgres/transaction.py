"""An interactive transaction."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from craton.adapters.postgres.database import transaction, unavailable
from craton.adapters.postgres.refusals import LOST, Outdated, faults_as_refusals
from craton.adapters.postgres.writer import PostgresWriter
from craton.ports import Changeset, Statement, VersionConflict
from craton.ports.wellformed import require_well_formed


class PostgresTransaction:
    """An interactive transaction on one connection. Each call has a savepoint, so a refused call is undone alone.

    `now` is set if the transaction sees the database as it was at its beginning. Then a unit's expectations must be
    compared with the present state, which another connection reads once the streams are locked.
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
            if self._streams:  # together with those of earlier units there may be too many for a lock each
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
        self._streams, self._rows = streams, rows  # the locks of undone work are released
        return position

    @asynccontextmanager
    async def _savepoint(self) -> AsyncIterator[None]:
        """Run one call. Raises `StoreUnavailable` if the database has failed, `ChangesetRefused` if the statement is
        wrong."""
        try:
            with faults_as_refusals(self._connection):
                async with transaction(self._connection):
                    yield
        except (*LOST, asyncpg.InterfaceError) as problem:
            raise unavailable(problem, maybe_executed=False) from problem
