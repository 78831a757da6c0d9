"""Reads the feed without ever skipping an event.

Positions are drawn when events are inserted and become visible when they are committed, so a reader may see 12 before
11. He must not pass the gap while 11 may still come, nor wait for ever for a number whose transaction was rolled back.

The proof, with no clock in it: every appender takes the shared lock of the store *before* it draws positions. A reader
who sees 12 but not 11 notes who holds that lock. Whoever drew 11 drew it before 12, so he took the lock before now: he
is among the holders, or has ended. Postgres makes a commit visible before it releases its locks. So once all the noted
holders are gone, a fresh statement either sees 11 or nobody ever will.
"""

import asyncio
from typing import Any, Final

from craton.adapters.postgres.database import FROZEN_SECONDS, PostgresDatabase
from craton.ports import FeedPage, StoredEvent

EVENT: Final = "stream, version, id, type, schema_version, data, metadata, time, position"
_FIRST_PAUSE_SECONDS: Final = 0.001
_LONGEST_PAUSE_SECONDS: Final = 0.05


class FeedReader:
    """Reads the events of one schema in the order of their positions."""

    def __init__(self, database: PostgresDatabase, schema: str, lock: int) -> None:
        self._database = database
        self._read = f"SELECT {EVENT} FROM {schema}.events WHERE position > $1 ORDER BY position LIMIT $2"
        self._holders = (
            "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            f" AND classid = {lock >> 32 & 0xFFFF_FFFF} AND objid = {lock & 0xFFFF_FFFF} AND objsubid = 1"
        )

    async def read(self, after: int, limit: int) -> FeedPage:
        """Return the contiguous events after a position, stepping over numbers that are proven dead."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(self._read, after, limit)
            if rows and rows[0]["position"] != after + 1:
                await self._outlast_holders(connection)
                rows = await connection.fetch(self._read, after, limit)
                # All numbers below the first one seen now are dead, unless it is a late one itself: either way
                # everything up to it is settled, because it is the smallest that a fresh statement sees.
        return _contiguous(rows, after)

    async def _outlast_holders(self, connection: Any) -> None:
        holders = await self._current_holders(connection)
        pause, waited = _FIRST_PAUSE_SECONDS, 0.0
        while holders:
            await asyncio.sleep(pause)
            waited += pause
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            if waited > FROZEN_SECONDS:
                await self._database.end_frozen(connection)
                waited = 0.0
            holders &= await self._current_holders(connection)

    async def _current_holders(self, connection: Any) -> set[str]:
        return {row["virtualtransaction"] for row in await connection.fetch(self._holders)}


def _contiguous(rows: list[Any], after: int) -> FeedPage:
    """The events up to the first gap behind the first of them."""
    events: list[StoredEvent] = []
    for row in rows:
        event = StoredEvent(*row)
        if events and event.position != events[-1].position + 1:
            break
        events.append(event)
    return FeedPage(events, events[-1].position if events else after)
