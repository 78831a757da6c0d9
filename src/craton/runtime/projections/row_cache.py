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

What memory lacks may be in a cache that processes share (`shared_rows`). It is believed on the same conditions.
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
from craton.application.rows import RowDefinition
from craton.domain import world
from craton.runtime.background import Background, keep_running
from craton.runtime.process.signal import Signal
from craton.runtime.projections.shared_rows import WINDOW, SharedRows
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
        shared: SharedRows | None = None,
    ) -> None:
        self._module = background.module
        self._definition = definition
        self._projection = definition.new()
        self._feed = background.feed
        self._wake = Signal(background.signal)
        self._newest = newest
        self._proven = proven
        self._shared = shared
        self._rows: defaultdict[str, dict[Key, _Kept]] = defaultdict(dict)
        """By table."""
        self._changes = 0
        """Grows with every change that may make a row outdated while it is being read."""
        self._position = -1
        """All events up to here were followed."""
        self._followed = -inf
        """When the newest completed step began: everything that was committed before was followed."""
        self._newly_read: dict[tuple[str, Key], float] = {}
        """When rows were last read from the store, since the last completed step began; kept for the shared cache."""
        self._passed = -inf
        """When the last list or sum was read past this cache."""

    async def read(self, rows: RowDefinition[Any], table: str, keys: Sequence[Key], load: Load) -> Sequence[Any]:
        """The rows with these keys in a table, None where there is none; `load` reads them from the store."""
        if self._is_usable():
            known = self._rows[table]
            kept = [known.get(key, _MISSING) for key in keys]
            if max([row.read for row in kept]) < self._followed:
                return [row.row for row in kept]
            if self._shared is not None and not self._are_newly_read(table, keys):
                found = await self._shared.read(rows, table, keys)
                is_right = found is not None and all(map(self._shared.is_right, found))
                if found is not None and is_right and self._is_usable() and not self._are_newly_read(table, keys):
                    self._rows[table] |= {one.key: _Kept(one.row, -inf) for one in found}
                    self._keep_bounded()
                    return [one.row for one in found]
        changes = self._changes
        loaded = await load(keys)
        if self._shared is not None:
            self._newly_read |= dict.fromkeys([(table, key) for key in keys], world.monotonic())
        self._compare(rows, table, zip(keys, loaded, strict=True), unchanged=changes == self._changes)
        return loaded

    def _are_newly_read(self, table: str, keys: Sequence[Key]) -> bool:
        """Whether one of the rows was read from the store after the last completed step began: what the store has told
        may be newer than what was followed."""
        return any(self._newly_read.get((table, key), -inf) >= self._followed for key in keys)

    def _is_usable(self) -> bool:
        """Whether rows may be answered without the store, as they were when the last completed step began."""
        wanted = max(self._newest(), self._feed.reached, context_var.get().positions.get(self._module, 0))
        followed = self._followed
        return wanted <= self._position and followed > self._passed and world.monotonic() - followed < MAX_AGE_SECONDS

    def pass_by(self) -> None:
        """Note that rows were read past the cache, so that they can't be compared with the rows in it."""
        self._passed = world.monotonic()
        self._wake.fire()

    def _compare(
        self, rows: RowDefinition[Any], table: str, loaded: Iterable[tuple[Key, Any]], *, unchanged: bool
    ) -> None:
        """Remove rows that differ from what was loaded. What was loaded is kept, if nothing has changed meanwhile."""
        known, now = self._rows[table], world.monotonic()
        for key, row in loaded:
            kept = known.get(key, _MISSING)
            if kept is not _MISSING and kept.row == row:
                continue
            if unchanged:
                known[key] = _Kept(row, now)
                if self._shared is not None:
                    self._shared.filled(rows, table, key, known[key])
            else:
                known.pop(key, None)
        self._keep_bounded()
        self._wake.fire()

    def _keep_bounded(self) -> None:
        if sum(map(len, self._rows.values())) > MAX_CACHED_ROWS:
            self._rows.clear()

    async def run(self) -> None:
        """Follow the feed, for ever."""
        await keep_running(f"row cache of {self._definition.name}", self._follow)

    async def _follow(self) -> None:
        self._position = await self._proven()
        self._changes += 1  # rows that were read before, or are being read, may be older than this position
        self._rows.clear()
        if self._shared is not None:  # what was right some events ago may still be
            self._shared.begin()
            self._position = max(0, self._position - WINDOW)
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
            if self._shared is not None:
                self._newly_read = {key: read for key, read in self._newly_read.items() if read >= began}
                await self._shared.publish(began, self._rows)
            if behind:
                await asyncio.sleep(PAUSE_SECONDS)
            await self._wake.wait(woken)

    def _drop(self, page: EventPage) -> None:
        for event in page.events:
            keys: list[Key] = []
            if self._definition.concerns(event.type, event.stream):
                self._changes += 1
                keys = self._definition.keys(self._projection, event.stream, partial(page.recorded, event))
                for key in keys:
                    for rows in self._rows.values():
                        rows.pop(key, None)
            if self._shared is not None:
                self._shared.note(event, keys)
