"""A module's log as this process reads it: from the module's own store, or from the service that runs the module."""

from collections.abc import AsyncIterator
from typing import Final

import msgspec

from craton.application.module import Module
from craton.application.upcasting import EventTypes
from craton.ports import Store, StoredEvent
from craton.runtime.process.signal import Signal
from craton.runtime.subscriptions.feed import Feed, Log

LOG_PAGE: Final = 2_000


class Source(msgspec.Struct, frozen=True, kw_only=True):
    module: str
    events: EventTypes
    """The kinds of events in the log."""
    log: Log
    feed: Feed
    signal: Signal
    """Fires when something may have been written to the log."""
    readers: list[tuple[Store, str]]
    """The subscriptions to the log in this process, with the store where each keeps its checkpoint."""

    @staticmethod
    def of(module: Module, log: Log) -> "Source":
        signal = Signal()
        return Source(
            module=module.name,
            events=module.events,
            log=log,
            feed=Feed(log, module.events, signal),
            signal=signal,
            readers=[],
        )

    async def stored(self, after: int = 0) -> AsyncIterator[StoredEvent]:
        """All events in order, as stored. Of another service's log these are the kinds that are read here."""
        while True:
            page = await self.log.read_feed(after, LOG_PAGE)
            if page.position == after:
                return
            for event in page.events:
                yield event
            after = page.position
