"""The feed as a process reads it. Subscriptions at the same position share a page, which is read and decoded once."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Protocol

from craton.application.upcasting import EventTypes
from craton.domain import Event, Recorded
from craton.ports import FeedPage, StoredEvent
from craton.runtime.process.signal import Signal

MAX_KEPT_PAGES: Final = 8


class Log(Protocol):
    """The events of a module in their total order: in its store, or in the service that runs it.

    Both methods raise `StoreUnavailable`.
    """

    async def read_feed(self, after: int, limit: int) -> FeedPage: ...

    async def head(self) -> int: ...


class EventPage:
    """Events in order, and the position up to which no event is missing. Each event is decoded once for all readers.

    Only events that can be changed are decoded for each reader.
    """

    def __init__(self, events: Sequence[StoredEvent], position: int, types: EventTypes, *, after: int = 0) -> None:
        self.events = events
        self.position = position
        self.after = after
        self._types = types
        self._recorded: dict[int, Recorded[Event]] = {}

    def cut(self, place: int) -> tuple["EventPage", "EventPage"]:
        """Two pages: the events before an index, and those from there on."""
        before = self.events[place].position - 1
        first = EventPage(self.events[:place], before, self._types, after=self.after)
        rest = EventPage(self.events[place:], self.position, self._types, after=before)
        first._recorded = rest._recorded = self._recorded
        return first, rest

    def is_newer(self, event: StoredEvent) -> bool:
        """Whether a newer version of the program has written an event, which this one can't read."""
        return self._types.is_newer(event)

    def recorded(self, event: StoredEvent) -> Recorded[Event]:
        """The decoded event. Raises `UndecodableEvent`."""
        if not self._types.may_be_shared(event.type):
            return self._types.recorded(event)
        known = self._recorded.get(event.position)
        if known is None:
            known = self._recorded[event.position] = self._types.recorded(event)
        return known


class Feed:
    """Reads the log of one module. `signal` fires when something may have been appended to it."""

    def __init__(self, log: Log, types: EventTypes, signal: Signal) -> None:
        self._log = log
        self._types = types
        self.signal = signal
        self.reached = 0
        """The largest position that any reader of this process has reached."""
        self._pages: OrderedDict[tuple[int, int], tuple[int, asyncio.Task[EventPage]]] = OrderedDict()

    async def read(self, after: int, limit: int) -> EventPage:
        """Return a page after a position.

        A page with events can be shared by all readers, because its content never changes. A read that is still running
        is shared only until the next wake-up: a reader that was woken after it began might miss the event that woke it.
        """
        began, task = self._pages.get((after, limit), (-1, None))
        if task is None or not (_holds_events(task, after) or (not task.done() and began == self.signal.seen())):
            task = self._begin(after, limit)
        page = await asyncio.shield(task)
        self.reached = max(self.reached, page.position)
        full = len(page.events) > limit // 2 > 0  # a unit that didn't fit was left out
        if full and (page.position, limit) not in self._pages:
            self._begin(page.position, limit)  # most likely there is more: read it while this page is handled
        return page

    async def head(self) -> int:
        """The position of the newest event that is committed now."""
        return await self._log.head()

    def _begin(self, after: int, limit: int) -> asyncio.Task[EventPage]:
        task = asyncio.create_task(self._read(after, limit))
        task.add_done_callback(_look_at)
        self._pages[after, limit] = self.signal.seen(), task
        while len(self._pages) > MAX_KEPT_PAGES:
            self._pages.popitem(last=False)
        return task

    def page(self, events: Sequence[StoredEvent]) -> EventPage:
        """A page of events of this log that were read in another way."""
        return EventPage(events, events[-1].position if events else 0, self._types)

    async def _read(self, after: int, limit: int) -> EventPage:
        page = await self._log.read_feed(after, limit)
        return EventPage(page.events, page.position, self._types, after=after)


def _look_at(task: asyncio.Task[EventPage]) -> None:
    """Mark the error of an unused page as seen, so that asyncio doesn't warn of it."""
    if not task.cancelled():
        task.exception()


def _holds_events(task: asyncio.Task[EventPage], after: int) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None and task.result().position > after
