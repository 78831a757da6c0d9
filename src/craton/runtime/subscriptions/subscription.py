"""Subscriptions: durable readers of a module's feed.

What they guarantee:
- One process at a time owns a subscription, by a lease. The lease's fencing number is checked in every commit, so an
  owner who was only thought dead can't write any more, whatever the clocks say.
- A page's effects and the new checkpoint are one commit: each event takes effect once.
- Effects outside of the store can't be in that commit. A handler that has such (`has_effects`) is given a few of its
  events at a time, and the checkpoint is written after each few, so that only those can come again after a crash. A
  process that was taken for dead in the middle of them begins with one the next time.
- Events of one key are handled in order. One that can't be handled is parked with its key: later events of that key
  queue up behind it, all others flow. What an operator wishes for a parked event the owner carries out.
- Nothing here relies on a wake-up: a lost one costs a poll, never an event.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Protocol

import msgspec
import structlog

from craton.ports import (
    Changeset,
    Fence,
    FenceLost,
    NotUnique,
    ParkedEvent,
    RowOperation,
    StatementFailed,
    Store,
    StoredEvent,
    StoreUnavailable,
    Transaction,
)
from craton.ports.crash import crash_point
from craton.runtime.committer import Commit
from craton.runtime.process.attempt import heed_cancellation
from craton.runtime.process.signal import POLL_SECONDS, Signal
from craton.runtime.subscriptions.feed import Feed, Page
from craton.runtime.subscriptions.lease import LEASE_SECONDS, Lease

PAGE: Final = 1_000
PARKED_PAGE: Final = 1_000
MAX_AT_ONCE: Final = 64
"""Of events that have effects outside of the store: as many may come again after a crash."""
ERROR_PAUSE_SECONDS: Final = 0.5
MAX_ERROR_LENGTH: Final = 500

log = structlog.get_logger("craton.subscription")


class Failed(msgspec.Struct, frozen=True):
    """An event that couldn't be handled, and why."""

    event: StoredEvent
    error: str


def _nothing() -> None:
    """There is nothing to forget."""


class Handled(msgspec.Struct, frozen=True):
    """What is to be written for a page."""

    rows: Sequence[RowOperation]
    failed: Sequence[Failed] = ()
    forget: Callable[[], None] = _nothing
    """Takes back what the handler remembers of this, for it couldn't be written."""


class Handler(Protocol):
    """What a subscription does with its events."""

    def key(self, event: StoredEvent) -> str:
        """Events with the same key are handled in order."""

    async def reset(self) -> None:
        """Forget what is remembered: another may have been the owner since."""

    async def handle(self, page: Page, events: Sequence[StoredEvent]) -> Handled:
        """Handle some events of a page. After a failed event, the later ones of its key must fail too."""


class Subscription:
    """One durable reader, as one process runs it."""

    def __init__(
        self,
        name: str,
        store: Store,
        commit: Commit,
        feed: Feed,
        handler: Handler,
        signal: Signal,
        owner: str,
        clock: Callable[[], datetime],
        *,
        page: int = PAGE,
        has_effects: Callable[[StoredEvent], bool] | None = None,
        relies_on: Sequence[tuple[str, int]] = (),
    ) -> None:
        self.name = name
        self.position = 0
        """The checkpoint, as far as this process knows."""
        self.moved = Signal()
        self._store = store
        self._commit = commit
        self._feed = feed
        self._handler = handler
        self._signal = signal
        self._clock = clock
        self._page = page
        self._has_effects = has_effects
        self._rest: Page | None = None
        self._at_once = MAX_AT_ONCE
        self._relies_on = relies_on
        self._lease = Lease(store, name, owner)
        self._fence: Fence | None = None
        self._blocked: set[str] = set()
        self._one_by_one_until = 0

    @property
    def owned(self) -> bool:
        """Whether this process is the owner, as far as it knows."""
        return self._fence is not None

    async def run(self) -> None:
        """Own the subscription whenever possible, and handle what comes, until cancelled."""
        renewing = asyncio.create_task(self._renew_meanwhile(), name=f"lease of {self.name}")
        try:
            while True:
                heed_cancellation()
                seen = self._signal.seen()
                try:
                    busy = await self.step()
                except StoreUnavailable as problem:
                    log.warning("the store is unavailable", subscription=self.name, reason=str(problem))
                    self._lose()
                    await asyncio.sleep(ERROR_PAUSE_SECONDS)
                    continue
                except Exception:
                    log.exception("a subscription failed and will go on", subscription=self.name)
                    self._lose()
                    await asyncio.sleep(ERROR_PAUSE_SECONDS)
                    continue
                if not busy:
                    await self._signal.wait(seen, POLL_SECONDS)
        finally:
            renewing.cancel()
            await self._lease.release()

    async def _renew_meanwhile(self) -> None:
        """Keep the lease while a page takes longer than it lasts."""
        while True:
            heed_cancellation()
            await asyncio.sleep(LEASE_SECONDS / 3)
            if self._fence is not None:
                try:
                    await self._lease.hold()
                except Exception as problem:  # whoever writes next will find out
                    log.warning("a lease could not be renewed", subscription=self.name, reason=str(problem))

    async def step(self) -> bool:
        """Handle a page of what an operator wishes, and one of the feed, so that neither holds the other up.

        False when there was nothing, or another is the owner.
        """
        if not await self._own():
            return False
        try:
            wished = await self._fulfil_wishes()
            return await self._next_page() or wished
        except FenceLost:
            self._at_once = 1
            self._lose()
            return False

    async def is_owned(self) -> bool:
        """Whether this process is certainly still the owner. Raises `StoreUnavailable`."""
        return self._fence is not None and await self._lease.is_held(self._fence.number)

    def _lose(self) -> None:
        self._fence = None
        self._lease.lose()

    async def _own(self) -> bool:
        number = await self._lease.hold()
        if number is None:
            self._fence = None
            return False
        if self._fence is None or self._fence.number != number:
            self._observe(await self._store.checkpoint(self.name))
            self._blocked = {parked.key for parked in await self._store.parked(self.name)}
            await self._handler.reset()
            self._rest = None
            self._fence = Fence(self.name, number)  # last: only who knows all of this is an owner
            crash_point("lease.taken")
        return True

    async def _next_page(self) -> bool:
        limit = 1 if self.position < self._one_by_one_until else self._page
        page = await self._read(limit)
        crash_point("subscription.read")
        if page.position == self.position:
            return False
        free = [event for event in page.events if self._handler.key(event) not in self._blocked]
        try:
            handled = await self._handler.handle(page, free)
            failed = {failure.event.position: failure.error for failure in handled.failed}
            parked = [
                self._parked(event, failed.get(event.position, ""))
                for event in page.events
                if event.position in failed or self._handler.key(event) in self._blocked
            ]
            crash_point("subscription.handled")
            await self._write(Changeset(rows=handled.rows, checkpoint=(self.name, page.position), parked=parked))
        except (NotUnique, StatementFailed):
            # Which unit it is shows one by one, and which event of it then.
            if sum(event.last for event in page.events) > 1:
                self._one_by_one_until = page.position
                return True
            parked = await self._write_event_by_event(page)
        crash_point("subscription.written")
        self._blocked |= {entry.key for entry in parked}
        types = {event.position: event.type for event in page.events} if parked else {}
        for entry in parked:
            if entry.attempts:
                about = {"subscription": self.name, "type": types.get(entry.position), "position": entry.position}
                log.error("an event was parked", **about, error=entry.error)
        self._observe(page.position)
        return True

    async def _read(self, limit: int) -> Page:
        """The next page; of events that have effects it holds a few at most, and the rest is kept for the next time."""
        if self._rest is not None and self._rest.after == self.position:
            page = self._rest
        else:
            page = await self._feed.read(self.position, limit)
        self._rest = None
        if self._has_effects is None:
            return page
        effects = [place for place, event in enumerate(page.events) if self._has_effects(event)]
        at_once, self._at_once = self._at_once, min(2 * self._at_once, MAX_AT_ONCE)
        if len(effects) <= at_once:
            return page
        now, self._rest = page.cut(effects[at_once])
        return now

    async def _write_event_by_event(self, page: Page) -> list[ParkedEvent]:
        """Write what the store takes of one unit, and park the rest, in one commit: no reader sees half of it."""
        parked: list[ParkedEvent] = []
        blocked = set(self._blocked)
        try:
            async with self._store.transaction("read committed") as transaction:
                for event in page.events:
                    key = self._handler.key(event)
                    error = "" if key in blocked else await self._write_event(transaction, page, event)
                    if error is not None:
                        blocked.add(key)
                        parked.append(self._parked(event, error))
                await transaction.write(self._owned(Changeset(checkpoint=(self.name, page.position), parked=parked)))
        except Exception:
            await self._handler.reset()
            raise
        return parked

    async def _write_event(self, transaction: Transaction, page: Page, event: StoredEvent) -> str | None:
        """Write the rows of one event; return why it can't be done."""
        try:
            handled = await self._handler.handle(page, [event])
        except StatementFailed as refusal:
            return str(refusal)
        try:
            await transaction.write(Changeset(rows=handled.rows))
        except (NotUnique, StatementFailed) as refusal:
            handled.forget()  # but not what the events before it have made, which can't be read yet
            return str(refusal)
        return handled.failed[0].error if handled.failed else None

    async def _fulfil_wishes(self) -> bool:
        """Carry out what an operator wishes for a key, as far as one page of what is parked under it. False: nothing.

        A retry begins with the first event of the key, whichever was named, and goes on to the last, page by page; it
        ends with the first event that fails.
        """
        if not self._blocked:
            return False
        parked = await self._store.parked(self.name)
        key = next((entry.key for entry in parked if entry.wish), None)
        if key is None:
            return False
        entries = {entry.position: entry for entry in parked if entry.key == key}
        dropped = [(self.name, entry.position) for entry in entries.values() if entry.wish == "drop"]
        kept = [entry for entry in entries.values() if entry.wish != "drop"]
        # The wish stands at the last entry until all before it are handled, even if another owner goes on with it.
        moved = [msgspec.structs.replace(entry, wish="retry") for entry in kept[-1:] if not entry.wish]
        if dropped or moved:
            await self._write(Changeset(parked=moved, dropped=dropped))
        limit = PARKED_PAGE if self._has_effects is None else self._at_once
        events = await self._store.parked_events(self.name, key, limit)
        handled = await self._retry_together(self._feed.page(events, self.position), entries)
        parked = await self._store.parked(self.name)
        over = [
            msgspec.structs.replace(entry, wish="") for entry in parked if entry.key == key and entry.wish == "retry"
        ]
        if over and not (handled and len(events) == limit):
            await self._write(Changeset(parked=over))
        self._blocked = {entry.key for entry in parked}
        return True

    async def _retry_together(self, page: Page, before: dict[int, ParkedEvent]) -> bool:
        """Try the parked events of a page, all of one key. False when one failed: those behind it stay parked."""
        try:
            return await self._retry(page, page.events, before)
        except (NotUnique, StatementFailed):
            return await self._retry_one_by_one(page, before)

    async def _retry_one_by_one(self, page: Page, before: dict[int, ParkedEvent]) -> bool:
        """Find the event that the store refuses; it stays parked, and those behind it with it."""
        for event in page.events:
            try:
                if not await self._retry(page, [event], before):
                    return False
            except (NotUnique, StatementFailed) as refusal:
                await self._write(Changeset(parked=[self._parked(event, str(refusal), before[event.position])]))
                return False
        return True

    async def _retry(self, page: Page, wanted: Sequence[StoredEvent], before: dict[int, ParkedEvent]) -> bool:
        handled = await self._handler.handle(page, wanted)
        failed = {failure.event.position: failure.error for failure in handled.failed}
        still = [
            self._parked(event, failed[event.position], before[event.position])
            for event in wanted
            if event.position in failed
        ]
        done = [(self.name, event.position) for event in wanted if event.position not in failed]
        await self._write(Changeset(rows=handled.rows, parked=still, unparked=done))
        return not failed

    def _parked(self, event: StoredEvent, error: str, before: ParkedEvent | None = None) -> ParkedEvent:
        tried = before.attempts if before else 0
        return ParkedEvent(
            self.name,
            event.position,
            self._handler.key(event),
            error[:MAX_ERROR_LENGTH],
            tried + 1 if error else tried,
            before.since if before else self._clock(),
        )

    async def _write(self, unit: Changeset) -> None:
        try:
            await self._commit(self._owned(unit))
        except Exception:  # a cancelled subscription writes no more, and must not ask the store for anything
            await self._handler.reset()
            raise

    def _owned(self, unit: Changeset) -> Changeset:
        """The unit, to be written only as long as this process is the owner."""
        unit.fence = self._fence
        unit.relies_on = self._relies_on
        return unit

    def _observe(self, position: int) -> None:
        if position != self.position:
            self.position = position
            self.moved.fire()
