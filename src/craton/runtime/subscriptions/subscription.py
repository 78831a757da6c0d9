"""Subscriptions: durable readers of a module's feed.

What they guarantee:
- One process at a time owns a subscription, by a lease. The lease's fencing number is checked in every commit, so an
  owner that was wrongly thought dead can't write any more, whatever the clocks say.
- A page's effects and the new checkpoint are one commit: each event takes effect once.
- Effects outside of the store can't be in that commit. A handler that has such (`has_effects`) is given a few of its
  events at a time, and the checkpoint is written after each few, so that only those can come again after a crash. A
  process that lost the lease in the middle of them begins with one the next time.
- Events of one key are handled in order. One that can't be handled is parked with its key: later events of that key
  queue up behind it, all others flow. What an operator asks for a parked event the owner carries out (`parked.py`).
- Events that a handler with effects passes over, or that may be handled again, cost no commit: the checkpoint is
  written behind them a little later.
- The checkpoint, the lease and what is parked lie in the store of the module that reads, whichever module's log it is.
- An event that only a newer version of the program can read isn't parked: the process gives the lease away, so that
  one of that version takes over (two versions run at the same time during an upgrade).
- Nothing here relies on a wake-up: a lost one costs a poll, never an event.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog

from craton.domain import world
from craton.ports import (
    Changeset,
    Fence,
    FenceLost,
    NotUnique,
    ParkedEvent,
    StatementFailed,
    StoredEvent,
    Transaction,
)
from craton.ports.crash import crash_point
from craton.runtime.background import Background, keep_running
from craton.runtime.committer import Commit
from craton.runtime.process.attempt import heed_cancellation
from craton.runtime.process.signal import POLL_SECONDS, Signal
from craton.runtime.subscriptions.feed import EventPage, Feed
from craton.runtime.subscriptions.handler import Handler
from craton.runtime.subscriptions.lease import ASK_SECONDS, LEASE_SECONDS, Lease
from craton.runtime.subscriptions.parked import PARKED_PAGE, ParkedEvents

PAGE: Final = 1_000
MAX_AT_ONCE: Final = 64
"""The number of events with effects outside of the store that may be handled again after a crash."""
GIVEN_AWAY_SECONDS: Final = 2 * LEASE_SECONDS
"""How long a process that met an event of a newer program leaves the lease to others."""
NOTE_SECONDS: Final = 0.25
"""How long the checkpoint may stay behind events that were passed over."""

log = structlog.get_logger("craton.subscription")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one subscription."""

    page: int = PAGE
    """The number of events that it reads at a time."""
    has_effects: Callable[[StoredEvent], bool] | None = None
    """Tells which of its events have effects outside of the store; None: none has."""
    is_harmless: bool = False
    """Whether it has no effects that last, so that it may handle the same events again."""
    relies_on: Sequence[tuple[str, int]] = ()
    """Documents that must stay at these revisions; otherwise it stops writing."""


PLAIN: Final = Options()


class Subscription:
    """One durable reader, as one process runs it."""

    def __init__(
        self,
        name: str,
        background: Background,
        handler: Handler,
        *,
        feed: Feed | None = None,
        commit: Commit | None = None,
        options: Options = PLAIN,
    ) -> None:
        self.name = name
        self.position = 0
        """What this process has read up to."""
        self._written = 0
        """The checkpoint, as far as this process knows."""
        self._written_at = 0.0
        self.moved = Signal()
        self._store = background.store
        self._handler = handler
        self._feed = feed or background.feed
        self._options = options
        self._at_once = MAX_AT_ONCE
        """The number of events with effects that are handled before the checkpoint is written."""
        self._commit = commit or background.commit
        self._rest: EventPage | None = None
        self._lease = Lease(background.store, name, background.owner)
        self._fence: Fence | None = None
        self._one_by_one_until = 0
        self._given_at = 0
        """The position of the event for which this process has given the lease away."""
        self._idle_until = 0.0
        self._parked = ParkedEvents(name, background, handler, self._feed, self._write)

    @property
    def owned(self) -> bool:
        """Whether this process is the owner, as far as it knows."""
        return self._fence is not None

    async def run(self) -> None:
        """Own the subscription whenever possible, and handle its events, until cancelled."""
        renewing = asyncio.create_task(self._renew_meanwhile(), name=f"lease of {self.name}")
        try:
            await keep_running(self.name, self._step_and_wait)
        finally:
            renewing.cancel()
            await self._lease.release()

    async def _step_and_wait(self) -> None:
        seen = self._feed.signal.seen()
        try:
            busy = await self.step()
        except Exception:
            self._lose()
            raise
        if self._fence is None:
            await asyncio.sleep(ASK_SECONDS)  # whatever is recorded meanwhile concerns the owner
        elif not busy:
            await self._feed.signal.wait(seen, POLL_SECONDS if self._written == self.position else NOTE_SECONDS)

    async def _renew_meanwhile(self) -> None:
        """Renew the lease while a page takes longer than the lease lasts."""
        while True:
            heed_cancellation()
            await asyncio.sleep(LEASE_SECONDS / 3)
            if self._fence is not None:
                try:
                    await self._lease.hold()
                except Exception as problem:  # the next commit finds out whether the lease is lost
                    log.warning("a lease could not be renewed", subscription=self.name, reason=str(problem))

    async def step(self) -> bool:
        """Handle a page of operators' requests, and one of the feed, so that neither delays the other.

        Returns False if there was nothing, or if another process is the owner.
        """
        if not await self._own():
            return False
        try:
            limit = PARKED_PAGE if self._options.has_effects is None else self._at_once
            asked = await self._parked.carry_out_requests(limit)
            return await self._next_page() or asked
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
        if world.monotonic() < self._idle_until:
            return False
        number = await self._lease.hold()
        if number is None:
            self._fence = None
            return False
        if self._fence is None or self._fence.number != number:
            self._observe(await self._store.checkpoint(self.name))
            await self._parked.read_keys()
            await self._handler.reset()
            self._rest = None
            self._fence = Fence(self.name, number)  # set last, because an owner must know all of the above
            crash_point("lease.taken")
        return True

    async def _next_page(self) -> bool:
        limit = 1 if self.position < self._one_by_one_until else self._options.page
        page = await self._read(limit)
        crash_point("subscription.read")
        newer = self._newer_unit(page)
        if newer == 0:
            await self._give_away(page.events[0])
            return False
        if newer is not None:
            page, _ = page.cut(newer)
        if not self._needs_commit(page):
            moved = page.position > self.position
            self._advance(page.position)
            return moved
        if page.position == self.position and (page.position == self._written or not self._note_is_due):
            return False
        free = [event for event in page.events if not self._is_blocked(event)]
        try:
            handled = await self._handler.handle(page, free)
            failed = {failure.event.position: failure.error for failure in handled.failed}
            parked = [
                self._parked.entry(event, failed.get(event.position, ""))
                for event in page.events
                if event.position in failed or self._is_blocked(event)
            ]
            crash_point("subscription.handled")
            if self._options.is_harmless and not parked and not self._note_is_due:
                self._advance(page.position)
                return True
            await self._write(Changeset(rows=handled.rows, checkpoint=(self.name, page.position), parked=parked))
        except (NotUnique, StatementFailed):
            # Find the unit one by one, and then the event within the unit.
            if sum(event.last for event in page.events) > 1:
                self._one_by_one_until = page.position
                return True
            if self._options.has_effects is not None:
                raise  # it has no rows that could be refused, and what it does must not be done within a transaction
            parked = await self._write_event_by_event(page)
        crash_point("subscription.written")
        self._parked.keys |= {entry.key for entry in parked}
        types = {event.position: event.type for event in page.events} if parked else {}
        for entry in parked:
            if entry.attempts:
                about = {"subscription": self.name, "type": types.get(entry.position), "position": entry.position}
                log.error("an event was parked", **about, error=entry.error)
        self._observe(page.position)
        return True

    def _newer_unit(self, page: EventPage) -> int | None:
        """The place of the first unit with an event that only a newer version of the program can read."""
        events = page.events
        newer = (place for place, event in enumerate(events) if page.is_newer(event) and self._handler.concerns(event))
        first = next(newer, None)
        while first and not events[first - 1].last:
            first -= 1
        return first

    async def _give_away(self, event: StoredEvent) -> None:
        """Let another process take over, which may be of a newer version. This one asks again only after a while."""
        if self._given_at != event.position:
            log.warning(
                "an event is of a newer version of the program, which must handle it",
                subscription=self.name,
                type=event.type,
                version=event.schema_version,
                position=event.position,
            )
        self._given_at = event.position
        self._idle_until = world.monotonic() + GIVEN_AWAY_SECONDS
        await self._lease.release()
        self._lose()

    async def _read(self, limit: int) -> EventPage:
        """The next page. It holds only a few events with effects; the rest of what was read is kept for the next
        page."""
        if self._rest is not None and self._rest.after == self.position:
            page = self._rest
        else:
            page = await self._feed.read(self.position, limit)
        self._rest = None
        if self._options.has_effects is None:
            return page
        effects = [place for place, event in enumerate(page.events) if self._options.has_effects(event)]
        at_once, self._at_once = self._at_once, min(2 * self._at_once, MAX_AT_ONCE)
        if len(effects) <= at_once:
            return page
        now, self._rest = page.cut(effects[at_once])
        return now

    async def _write_event_by_event(self, page: EventPage) -> list[ParkedEvent]:
        """Write the events of one unit that the store accepts, and park the rest, in one commit: readers see both or
        none."""
        parked: list[ParkedEvent] = []
        blocked = set(self._parked.keys)
        try:
            async with self._store.transaction("read committed") as transaction:
                for event in page.events:
                    key = self._handler.key(event)
                    error = "" if key in blocked else await self._write_event(transaction, page, event)
                    if error is not None:
                        blocked.add(key)
                        parked.append(self._parked.entry(event, error))
                await transaction.write(self._owned(Changeset(checkpoint=(self.name, page.position), parked=parked)))
        except Exception:
            await self._handler.reset()
            raise
        return parked

    async def _write_event(self, transaction: Transaction, page: EventPage, event: StoredEvent) -> str | None:
        """Write the rows of one event; return the reason if it can't be written."""
        try:
            handled = await self._handler.handle(page, [event])
        except StatementFailed as refusal:
            return str(refusal)
        try:
            await transaction.write(Changeset(rows=handled.rows))
        except (NotUnique, StatementFailed) as refusal:
            handled.forget()  # the rows of earlier events stay, because they can't be read yet
            return str(refusal)
        return handled.failed[0].error if handled.failed else None

    async def _write(self, unit: Changeset) -> None:
        """Write something that only the owner may write."""
        try:
            await self._commit(self._owned(unit))
        except Exception:  # a cancelled subscription stops at once: it must not ask the store for anything
            await self._handler.reset()
            raise

    def _owned(self, unit: Changeset) -> Changeset:
        """The unit, on the condition that this process is the owner."""
        unit.fence = self._fence
        unit.relies_on = self._options.relies_on
        return unit

    def _is_blocked(self, event: StoredEvent) -> bool:
        """Whether an event of the same key is parked."""
        return bool(self._parked.keys) and self._handler.key(event) in self._parked.keys

    def _needs_commit(self, page: EventPage) -> bool:
        """Whether a page has effects, or the checkpoint was not written for too long."""
        return (
            self._options.has_effects is None
            or bool(self._parked.keys)
            or any(map(self._options.has_effects, page.events))
            or self._note_is_due
        )

    @property
    def _note_is_due(self) -> bool:
        return world.monotonic() >= self._written_at + NOTE_SECONDS

    def _observe(self, position: int) -> None:
        """Note the checkpoint, as it was read or written."""
        self._written, self._written_at = position, world.monotonic()
        self._advance(position)

    def _advance(self, position: int) -> None:
        if position != self.position:
            self.position = position
            self.moved.fire()
