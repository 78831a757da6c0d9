"""The parked events of a subscription, and the operators' requests to try them again or to drop them."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from craton.ports import Changeset, NotUnique, ParkedEvent, StatementFailed, StoredEvent
from craton.runtime.background import Background
from craton.runtime.subscriptions.feed import EventPage, Feed
from craton.runtime.subscriptions.handler import Handler

PARKED_PAGE: Final = 1_000
MAX_ERROR_LENGTH: Final = 500


class ParkedEvents:
    """The parked events of one subscription. `write` works as long as this process is the subscription's owner."""

    def __init__(
        self,
        name: str,
        background: Background,
        handler: Handler,
        feed: Feed,
        write: Callable[[Changeset], Awaitable[None]],
    ) -> None:
        self.keys: set[str] = set()
        """The keys under which events are parked: later events with such a key wait behind them."""
        self._name = name
        self._store = background.store
        self._clock = background.clock
        self._handler = handler
        self._feed = feed
        self._write = write

    async def read_keys(self) -> None:
        """Read the keys from the store, because another process may have been the owner."""
        self.keys = {parked.key for parked in await self._store.parked(self._name)}

    async def carry_out_requests(self, limit: int = PARKED_PAGE) -> bool:
        """Carry out an operator's request for one key, for at most `limit` events. Returns False if there was none.

        A retry begins with the first event of the key, whichever event the request names, and goes on page by page. It
        ends at the last event, or at the first one that fails.
        """
        if not self.keys:
            return False
        parked = await self._store.parked(self._name)
        key = next((entry.key for entry in parked if entry.operator_request), None)
        if key is None:
            return False
        entries = {entry.position: entry for entry in parked if entry.key == key}
        dropped = [(self._name, entry.position) for entry in entries.values() if entry.operator_request == "drop"]
        kept = [entry for entry in entries.values() if entry.operator_request != "drop"]
        # The request moves to the last entry until all before it are handled, so that another owner can continue it.
        moved = [
            msgspec.structs.replace(entry, operator_request="retry")
            for entry in kept[-1:]
            if not entry.operator_request
        ]
        if dropped or moved:
            await self._write(Changeset(parked=moved, dropped=dropped))
        events = await self._store.parked_events(self._name, key, limit)
        handled = await self._retry_together(self._feed.page(events), entries)
        parked = await self._store.parked(self._name)
        over = [
            msgspec.structs.replace(entry, operator_request="")
            for entry in parked
            if entry.key == key and entry.operator_request == "retry"
        ]
        if over and not (handled and len(events) == limit):
            await self._write(Changeset(parked=over))
        self.keys = {entry.key for entry in parked}
        return True

    async def _retry_together(self, page: EventPage, before: dict[int, ParkedEvent]) -> bool:
        """Try the parked events of a page, all with one key. False if one failed: the events behind it stay parked."""
        try:
            return await self._retry(page, page.events, before)
        except (NotUnique, StatementFailed):
            return await self._retry_one_by_one(page, before)

    async def _retry_one_by_one(self, page: EventPage, before: dict[int, ParkedEvent]) -> bool:
        """Find the event that the store refuses. It stays parked, and so do the events behind it."""
        for event in page.events:
            try:
                if not await self._retry(page, [event], before):
                    return False
            except (NotUnique, StatementFailed) as refusal:
                await self._write(Changeset(parked=[self.entry(event, str(refusal), before[event.position])]))
                return False
        return True

    async def _retry(self, page: EventPage, wanted: Sequence[StoredEvent], before: dict[int, ParkedEvent]) -> bool:
        handled = await self._handler.handle(page, wanted)
        failed = {failure.event.position: failure.error for failure in handled.failed}
        still = [
            self.entry(event, failed[event.position], before[event.position])
            for event in wanted
            if event.position in failed
        ]
        done = [(self._name, event.position) for event in wanted if event.position not in failed]
        await self._write(Changeset(rows=handled.rows, parked=still, unparked=done))
        return not failed

    def entry(self, event: StoredEvent, error: str, before: ParkedEvent | None = None) -> ParkedEvent:
        """The record of a parked event; `before` is its previous record."""
        tried = before.attempts if before else 0
        return ParkedEvent(
            self._name,
            event.position,
            self._handler.key(event),
            error[:MAX_ERROR_LENGTH],
            tried + 1 if error else tried,
            before.since if before else self._clock(),
            event=None if before else event,
        )
