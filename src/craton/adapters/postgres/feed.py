"""Reads the feed without ever skipping an event.

Positions are drawn when events are inserted and become visible when they are committed, so a reader may see 12 before
11. The reader must not pass the gap while 11 may still come, nor wait for ever for a number whose transaction was
rolled back.

The proof, with no clock in it: every appender takes the lock of the store *before* it draws positions. A reader that
stands at a gap first sees the highest position there is, H, and then notes who holds that lock. Numbers are drawn in
ascending order, so each number below H was drawn before H, by a transaction that took the lock before then: it is among
the noted holders, or has ended. Postgres makes a commit visible before it releases its locks. So once all the noted
holders are gone, a fresh statement sees every number up to H that was committed, and nobody will ever see another one.

Everything up to H is *settled*, then, not only the gap that the reader stood at: the dead numbers of an old log cost
one wait, however many they are. What is settled stays settled, so an old gap doesn't wait for those who hold the lock
today. It holds for one server, though: a standby that takes over, or a backup that is put in its place, may draw the
same numbers again. A process can't get there without connecting anew, so a new connection begins with nothing settled.

A page ends where a unit ends. The numbers of a unit follow on each other (see `schema.py`) and become visible together,
so a gap never lies within one.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Final

from craton.adapters import units
from craton.adapters.postgres.database import FROZEN_SECONDS, PostgresDatabase
from craton.ports import FeedPage, StoredEvent

EVENT: Final = "stream, version, id, type, schema_version, data, metadata, time, position, last"
_FIRST_PAUSE_SECONDS: Final = 0.001
_LONGEST_PAUSE_SECONDS: Final = 0.05


class FeedReader:
    """Reads the events of one schema in the order of their positions."""

    def __init__(self, database: PostgresDatabase, schema: str, lock: int) -> None:
        self._database = database
        self._settled = (0, 0)
        """How often the process had connected, and the position up to which all was settled then."""
        self._read = f"SELECT {EVENT} FROM {schema}.events WHERE position > $1 ORDER BY position LIMIT $2"
        self._read_unit = units.first_statement(EVENT, f"{schema}.events", "$1")
        self._head = f"SELECT max(position) FROM {schema}.events"
        self._holders = (
            "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            f" AND classid = {lock >> 32 & 0xFFFF_FFFF} AND objid = {lock & 0xFFFF_FFFF} AND objsubid = 1"
        )

    async def read(self, after: int, limit: int) -> FeedPage:
        """Return the units after a position up to the first gap, stepping over numbers that are proven dead."""
        async with self._database.connection() as connection:
            settled = self._known_settled()  # asked before reading: what is settled later, this may not have seen
            visible = await self._visible(connection, after, limit)
            events = _proven(visible, max(after, settled))
            if visible and not events:
                settled = await self._settle(connection)
                events = _proven(await self._visible(connection, after, limit), max(after, settled))
        return FeedPage(events, events[-1].position if events else after)

    async def _visible(self, connection: Any, after: int, limit: int) -> Sequence[StoredEvent]:
        events = [StoredEvent(*row) for row in await connection.fetch(self._read, after, limit)]
        found = units.whole(events)
        if events and not found:
            return [StoredEvent(*row) for row in await connection.fetch(self._read_unit, after)]
        return found

    def _known_settled(self) -> int:
        connects, position = self._settled
        return position if connects == self._database.connects else 0

    async def _settle(self, connection: Any) -> int:
        """Wait until every number up to the highest position is visible or dead; return that position."""
        connects = self._database.connects
        head: int = await connection.fetchval(self._head)
        await self._outlast_holders(connection)
        self._settled = connects, max(head, self._known_settled())
        return head

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


def _proven(events: Sequence[StoredEvent], settled: int) -> Sequence[StoredEvent]:
    """The units before the first gap, where there is none up to the position that is settled."""
    beyond = bisect_right(events, settled, key=lambda event: event.position)
    # From there on, as long as there is no gap, positions and places grow alike.
    gap = bisect_right(
        range(len(events)), settled + 1 - beyond, lo=beyond, key=lambda place: events[place].position - place
    )
    return units.whole(events[:gap])
