"""Group commit: units of work that arrive together are written together.

What it guarantees:
- A unit is answered after its commit is durable, with the position of its last event, or with why not.
- There is no timer: a batch is what queued up while the batch before was being written.
- Units that touch the same stream are written in the order in which they were handed in, and never in two batches at
  the same time: else version 8 could be written without version 7. A unit that has to wait for a stream makes those
  behind it on its own streams wait too.
- A unit that was decided on the state another unit was about to make (`after`) is refused when that one fails. Its
  expected version alone would not do: another process might have made a version of that number since.
- The queue is bounded; beyond the bound a unit is refused before anything was done.
- A batch is written for as long as somebody waits for one of its units: until the last of their callers' deadlines.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from craton.application.context import context_var
from craton.domain import world
from craton.ports import Changeset, ChangesetWriter, StoreUnavailable, VersionConflict
from craton.runtime.process.attempt import cancelled

MAX_BATCH: Final = 128
MAX_QUEUE: Final = 10_000
MIN_COMMIT_SECONDS: Final = 2.0
DRAIN_SECONDS: Final = 1.0


Commit = Callable[[Changeset], Awaitable[int]]
"""Writes one unit; returns the position of its last event. Raises `ChangesetRefused` or `StoreUnavailable`."""


async def write_alone(store: ChangesetWriter, unit: Changeset) -> int:
    """Write one unit directly, past the queue. With its store given, it is a `Commit`."""
    (outcome,) = await store.write([unit])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


class BaseFailed(VersionConflict):
    """The unit was decided on a state that was never committed."""

    def __init__(self) -> None:
        super().__init__("")


class PendingCommit:
    """A unit that was handed in. Awaiting it returns the position of its last event, or raises why it wasn't written.

    A caller that stops waiting doesn't stop the commit: other units may build on this one and need its outcome.
    """

    __slots__ = ("_ended", "_future", "after", "deadline", "done", "failed", "unit")

    def __init__(self, unit: Changeset, after: Sequence["PendingCommit"] = ()) -> None:
        self.unit = unit
        self.after = after
        self.done = False
        self.failed = False
        self._future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._ended: asyncio.Future[None] | None = None
        self.deadline = context_var.get().deadline

    def __await__(self) -> Generator[Any, None, int]:
        return self._future.__await__()

    def settle(self, outcome: int | Exception) -> None:
        """Set the outcome."""
        self.done = True
        self.failed = isinstance(outcome, Exception)
        if self._ended is not None:
            self._ended.set_result(None)
        if self._future.done():
            return
        if isinstance(outcome, Exception):
            self._future.set_exception(outcome)
        else:
            self._future.set_result(outcome)

    async def ended(self) -> None:
        """Return when the outcome is known."""
        if not self.done:
            if self._ended is None:
                self._ended = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._ended)


def _seconds_left(batch: Sequence[PendingCommit]) -> float | None:
    """The time until the last deadline of a batch, but at least enough to write it; None if a unit has no deadline."""
    latest = 0.0
    for entry in batch:
        if entry.deadline is None:
            return None
        latest = max(latest, entry.deadline)
    return max(MIN_COMMIT_SECONDS, latest - world.monotonic())


class Committer:
    """The one writer of a module's units; `committed` is called after each batch."""

    def __init__(self, store: ChangesetWriter, committed: Callable[[], None]) -> None:
        self._store = store
        self._committed = committed
        self._queue: deque[PendingCommit] = deque()
        self._busy_streams: set[str] = set()
        self._flushes: set[asyncio.Task[None]] = set()
        self._scheduled = False
        self._paused = 0
        self.newest = 0
        """The position of the last event that this process has written."""

    def submit(self, unit: Changeset, after: Sequence[PendingCommit] = ()) -> PendingCommit:
        """Hand in a unit that was decided on the states that the units of `after` make.

        Awaiting it may raise `ChangesetRefused` or `StoreUnavailable`. Raises `StoreUnavailable` if the queue is full.
        """
        if len(self._queue) >= MAX_QUEUE:
            raise StoreUnavailable("Too many commands are waiting to be written.", maybe_executed=False)
        commit = PendingCommit(unit, after)
        self._queue.append(commit)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._pump)
        return commit

    def announce(self, position: int) -> None:
        """Report that an interactive transaction has committed events up to a position."""
        self.newest = max(self.newest, position)
        self._committed()

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Write nothing while the block lasts: running batches end first, and new units wait in the queue."""
        self._paused += 1
        try:
            if self._flushes:
                await asyncio.wait(self._flushes)
            yield
        finally:
            self._paused -= 1
            self._pump()

    async def drain(self, seconds: float = DRAIN_SECONDS) -> None:
        """Wait until all units are answered, for `seconds` at most; then fail the remaining ones."""
        try:
            async with asyncio.timeout(seconds):
                while self._queue or self._flushes:
                    await asyncio.sleep(0) if not self._flushes else await asyncio.wait(self._flushes)
        except TimeoutError:
            for entry in self._queue:
                entry.settle(StoreUnavailable("stopped", maybe_executed=False))
            self._queue.clear()
            await cancelled(self._flushes, seconds)

    def _pump(self) -> None:
        self._scheduled = False
        while self._queue and not self._paused and len(self._flushes) < self._store.writers:
            batch = self._next_batch()
            if not batch:
                return
            streams = set[str]().union(*(entry.unit.streams for entry in batch))
            self._busy_streams |= streams
            flush = asyncio.get_running_loop().create_task(self._flush(batch, streams))
            self._flushes.add(flush)
            flush.add_done_callback(self._flushed)

    def _next_batch(self) -> list[PendingCommit]:
        batch: list[PendingCommit] = []
        waiting: list[PendingCommit] = []
        blocked = set(self._busy_streams)
        while self._queue and len(batch) < MAX_BATCH:
            entry = self._queue.popleft()
            if blocked and not blocked.isdisjoint(entry.unit.streams):
                blocked |= entry.unit.streams
                waiting.append(entry)
            elif any(base.failed for base in entry.after):
                entry.settle(BaseFailed())
            else:
                batch.append(entry)
        self._queue.extendleft(reversed(waiting))
        return batch

    async def _flush(self, batch: list[PendingCommit], streams: set[str]) -> None:
        units = [entry.unit for entry in batch]
        try:
            async with asyncio.timeout(_seconds_left(batch)):
                outcomes = await self._store.write(units)
        except BaseException as problem:
            failure = problem if isinstance(problem, Exception) else StoreUnavailable("stopped", maybe_executed=True)
            if isinstance(problem, TimeoutError):
                failure = StoreUnavailable("The store hasn't answered within the deadline.", maybe_executed=True)
            for entry in batch:
                entry.settle(failure)
            if not isinstance(problem, Exception):
                raise
        else:
            for entry, outcome in zip(batch, outcomes, strict=True):
                if not isinstance(outcome, Exception):
                    self.newest = max(self.newest, outcome)
                entry.settle(outcome)
        finally:
            self._busy_streams -= streams
        self._committed()

    def _flushed(self, flush: asyncio.Task[None]) -> None:
        self._flushes.discard(flush)
        self._pump()
