"""Rows kept in memory, of projections that say so, until an event tells that they change.

Each process follows the feed for itself, step by step: it asks where the feed ends, and forgets the rows that the
events up to there change. Whatever was committed before a step began is then taken into account. From this follows:

- A row is answered from memory only if a step that has ended began after the row was read. Nothing that was committed
  in between has changed the row. So all rows that can be answered at one time are of one state of the store: that at
  the moment when the newest of these steps began.
- That moment is at most `MAX_AGE_SECONDS` ago, whatever has happened to the process or its connections since. Without
  such a step every read goes to the store.
- A read of several rows is answered wholly from memory or wholly by one read of the store.
- A read of the store removes a kept row that isn't what it has read, so that no later read goes back behind it. A list
  or a sum can't be compared with rows: after one of these, memory waits for a step that began later.
- Nothing is answered from memory until everything was followed that this process has committed, has seen in the feed,
  or was told the position of.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from math import inf
from typing import Any, Final

from msgspec import Struct

from craton.application.context import context_var
from craton.application.projection import ProjectionDefinition
from craton.domain import world
from craton.runtime.background import Background, keep_running
from craton.runtime.process.signal import Signal
from craton.runtime.subscriptions.feed import EventPage
from craton.runtime.subscriptions.subscription import PAGE

MAX_AGE_SECONDS: Final = 1.0
"""A follower begins a step at least twice a second, so a working cache never gets this old."""
MAX_CACHED_ROWS: Final = 50_000
PAUSE_SECONDS: Final = 0.01
"""The pause after events were followed. The commits meanwhile share a step; reads meanwhile go to the store."""

Key = tuple[Any, ...]
Load = Callable[[Sequence[Key]], Awaitable[Sequence[Any]]]


class _Kept(Struct, frozen=True):
    """A row, or None if there is none, and when the read that brought it ended."""

    row: Any
    read: float


_MISSING: Final = _Kept(None, inf)


class LogWentBack(Exception):
    """The store was put back to an older state, so positions are used again: the cache begins from nothing."""


class RowCache:
    """The rows of one inline projection.

    `newest`: the position of the last commit of this process. `proven`: one up to which the feed has no gaps.
    """

    def __init__(
        self,
        definition: ProjectionDefinition,
        background: Background,
        newest: Callable[[], int],
        proven: Callable[[], Awaitable[int]],
    ) -> None:
        self._module = background.module
        self._definition = definition
        self._projection = definition.new()
        self._feed = background.feed
        self._wake = Signal(background.signal)
        self._newest = newest
        self._proven = proven
        self._rows: defaultdict[str, dict[Key, _Kept]] = defaultdict(dict)
        """By table."""
        self._changes = 0
        """Grows with every change that may make a row outdated while it is being read."""
        self._position = -1
        """All events up to here were followed."""
        self._followed = -inf
        """When the newest completed step began: everything that was committed before was followed."""
        self._passed = -inf
        """When the last list or sum was read past this cache."""

    async def read(self, table: str, keys: Sequence[Key], load: Load) -> Sequence[Any]:
        """The rows with these keys in a table, None where there is none; `load` reads them from the store."""
        followed = self._followed
        wanted = max(self._newest(), self._feed.reached, context_var.get().positions.get(self._module, 0))
        if wanted <= self._position and followed > self._passed and world.monotonic() - followed < MAX_AGE_SECONDS:
            rows = self._rows[table]
            kept = [rows.get(key, _MISSING) for key in keys]
            if max([row.read for row in kept]) < followed:
                return [row.row for row in kept]
        changes = self._changes
        loaded = await load(keys)
        self._compare(table, zip(keys, loaded, strict=True), unchanged=changes == self._changes)
        return loaded

    def pass_by(self) -> None:
        """Note that rows were read past the cache, so that they can't be compared with the rows in it."""
        self._passed = world.monotonic()
        self._wake.fire()

    def _compare(self, table: str, loaded: Iterable[tuple[Key, Any]], *, unchanged: bool) -> None:
        """Remove rows that differ from what was loaded. What was loaded is kept, if nothing has changed meanwhile."""
        rows, now = self._rows[table], world.monotonic()
        for key, row in loaded:
            kept = rows.get(key, _MISSING)
            if kept is not _MISSING and kept.row == row:
                continue
            if unchanged:
                rows[key] = _Kept(row, now)
            else:
                rows.pop(key, None)
        if sum(map(len, self._rows.values())) > MAX_CACHED_ROWS:
            self._rows.clear()
        self._wake.fire()

    async def run(self) -> None:
        """Follow the feed, for ever."""
        await keep_running(f"row cache of {self._definition.name}", self._follow)

    async def _follow(self) -> None:
        self._position = await self._proven()
        self._changes += 1  # rows that were read before, or are being read, may be older than this position
        self._rows.clear()
        while True:
            woken, began = self._wake.seen(), world.monotonic()
            head = await self._feed.head()
            if head < self._position:
                raise LogWentBack(f"the log ends at {head}, before {self._position}")
            behind = self._position < head
            while self._position < head:
                page = await self._feed.read(self._position, PAGE)
                self._drop(page)
                self._position = page.position
            self._followed = began
            if behind:
                await asyncio.sleep(PAUSE_SECONDS)
            await self._wake.wait(woken)

    def _drop(self, page: EventPage) -> None:
        for event in page.events:
            if self._definition.concerns(event.type, event.stream):
                self._changes += 1
                for key in self._definition.keys(self._projection, event.stream, partial(page.recorded, event)):
                    for rows in self._rows.values():
                        rows.pop(key, None)
