"""Reads rows by key. Rows that are asked for at the same time are read together.

A few reads run at a time for each table. What is asked for meanwhile waits and is read by the next one. That read
begins after it was asked for, so nobody gets a row from before its question.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from itertools import islice
from typing import Any, Final

import msgspec

from craton.application.context import context_var
from craton.domain import world
from craton.ports import ChangesetRefused, StoreUnavailable, Table

AT_ONCE: Final = 2
"""How many reads of one table run at the same time."""
MOST_KEYS: Final = 500
"""The number of keys at which no more are added to a read."""

Key = tuple[Any, ...]
Read = Callable[[Table, Sequence[Key]], Awaitable[Sequence[str | None]]]


class _Asked(msgspec.Struct, frozen=True):
    """The keys of one caller, and where its rows go."""

    keys: Sequence[Key]
    rows: asyncio.Future[Sequence[str | None]]
    deadline: float | None


class _Queue:
    """What is asked of one table."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.waiting: deque[_Asked] = deque()
        self.running = 0


class RowReads:
    """The reads of one store. `read` reads rows of a table by their keys, in their order."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._queues: dict[str, _Queue] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, table: Table, keys: Sequence[Key]) -> Sequence[str | None]:
        """The rows with these keys. Raises what `read` raises."""
        queue = self._queues.get(table.name)
        if queue is None or queue.table is not table:
            queue = self._queues[table.name] = _Queue(table)
        if queue.running == AT_ONCE:
            asked = _Asked(keys, asyncio.get_running_loop().create_future(), context_var.get().deadline)
            queue.waiting.append(asked)
            return await asked.rows
        queue.running += 1
        try:
            return await self._read(table, keys)
        finally:
            self._next(queue)

    def _next(self, queue: _Queue) -> None:
        """A read has ended: begin the next one, if anything is asked for."""
        together: list[_Asked] = []
        count = 0
        while queue.waiting and count < MOST_KEYS:
            asked = queue.waiting.popleft()
            if not asked.rows.done():  # its caller is still there
                together.append(asked)
                count += len(asked.keys)
        if together:
            # It belongs to no single caller, and lasts until the last one has its rows.
            task = asyncio.get_running_loop().create_task(self._read_together(queue, together), context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            queue.running -= 1

    async def _read_together(self, queue: _Queue, together: Sequence[_Asked]) -> None:
        try:
            async with asyncio.timeout(_seconds_left(together)):
                found = iter(await self._read(queue.table, [key for asked in together for key in asked.keys]))
        except ChangesetRefused:  # the keys of one caller are at fault
            for asked in together:
                await self._read_alone(queue.table, asked)
        except TimeoutError:
            _fail(together, StoreUnavailable("The store hasn't answered within the deadline.", maybe_executed=False))
        except Exception as problem:
            _fail(together, problem)
        else:
            for asked in together:
                rows = list(islice(found, len(asked.keys)))
                if not asked.rows.done():
                    asked.rows.set_result(rows)
        finally:
            _fail(together, StoreUnavailable("stopped", maybe_executed=False))
            self._next(queue)

    async def _read_alone(self, table: Table, asked: _Asked) -> None:
        try:
            rows = await self._read(table, asked.keys)
        except Exception as problem:
            _fail([asked], problem)
        else:
            if not asked.rows.done():
                asked.rows.set_result(rows)


def _fail(together: Sequence[_Asked], problem: Exception) -> None:
    """Give the error to all that have no answer yet."""
    for asked in together:
        if not asked.rows.done():
            asked.rows.set_exception(problem)


def _seconds_left(together: Sequence[_Asked]) -> float | None:
    """The time until the last deadline; None if a caller has none."""
    deadlines = [asked.deadline for asked in together]
    if None in deadlines:
        return None
    return max(deadline for deadline in deadlines if deadline is not None) - world.monotonic()
