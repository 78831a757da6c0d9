"""Rows kept in memory, of projections that say so, until an event tells that they change.

Each process follows the feed for itself. A row that was read is kept only if nothing that concerns its projection went
by while it was read, so that a fill that raced with a change leaves nothing old behind. Nothing is answered from memory
until all was followed that this process has committed, so that whoever has changed something here sees it at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import structlog

from craton.application.context import context_var
from craton.application.projection import Projection
from craton.ports import StoreUnavailable
from craton.runtime.attempt import heed_cancellation
from craton.runtime.feed import Feed, Page
from craton.runtime.signal import Signal
from craton.runtime.subscription import ERROR_PAUSE_SECONDS, PAGE

KEPT: Final = 50_000

log = structlog.get_logger("craton.cache")

Key = tuple[Any, ...]
Load = Callable[[Sequence[Key]], Awaitable[Sequence[Any]]]


class RowCache:
    """The rows of one inline projection.

    `newest`: the position of the last commit of this process. `proven`: one up to which the feed has no gaps.
    """

    def __init__(
        self,
        module: str,
        kind: type[Projection],
        feed: Feed,
        signal: Signal,
        newest: Callable[[], int],
        proven: Callable[[], Awaitable[int]],
    ) -> None:
        self._module = module
        self._projection = kind()
        self._names = set(kind.event_names)
        self._feed = feed
        self._signal = signal
        self._newest = newest
        self._proven = proven
        self._rows: dict[Key, dict[str, Any]] = {}
        self._position = -1
        self._woken = -1
        """The wake-up up to which everything was followed."""
        self._changes = 0

    async def read(self, table: str, keys: Sequence[Key], load: Load) -> list[Any]:
        """The rows with these keys in a table, None where there is none; `load` reads those that aren't kept."""
        wanted = max(self._newest(), context_var.get().positions.get(self._module, 0))
        if self._woken != self._signal.seen() or wanted > self._position:
            return list(await load(keys))
        found = {key: self._rows[key][table] for key in keys if table in self._rows.get(key, ())}
        missing = [key for key in keys if key not in found]
        if missing:
            changes = self._changes
            loaded = dict(zip(missing, await load(missing), strict=True))
            if changes == self._changes:
                self._keep(table, loaded)
            found |= loaded
        return [found[key] for key in keys]

    def _keep(self, table: str, rows: dict[Key, Any]) -> None:
        if len(self._rows) + len(rows) > KEPT:
            self._rows.clear()
        for key, row in rows.items():
            self._rows.setdefault(key, {})[table] = row

    async def run(self) -> None:
        """Follow the feed, for ever."""
        while True:
            heed_cancellation()
            try:
                await self._follow()
            except StoreUnavailable as problem:
                log.warning("the store is unavailable", cache=self._projection.name, reason=str(problem))
            except Exception:
                log.exception("a cache failed and begins again", cache=self._projection.name)
            self._forget()
            await asyncio.sleep(ERROR_PAUSE_SECONDS)

    async def _follow(self) -> None:
        position = await self._proven()
        while True:
            woken = self._signal.seen()
            page = await self._feed.read(position, PAGE)
            if page.position > position:  # a page may end at a gap, with more behind it
                self._drop(page)
                position = self._position = page.position
            else:
                self._position = position
                self._woken = woken
                await self._signal.wait(woken)

    def _drop(self, page: Page) -> None:
        for event in page.events:
            if event.type in self._names:
                self._projection.said.clear()
                self._projection.project(page.recorded(event))
                self._changes += 1
                for change in self._projection.said:
                    self._rows.pop(change.key, None)

    def _forget(self) -> None:
        self._woken = -1
        self._changes += 1
        self._rows.clear()
