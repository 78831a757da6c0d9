"""Open connections, lent to one user at a time.

The driver's own pool wraps each connection anew for each use, and starts a timer and a task for it. Here a connection
that is free is lent at once, and a timer only runs for a user that has to wait.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncpg

from craton.adapters.postgres.refusals import LOST
from craton.domain import world

IDLE_SECONDS: Final = 300.0
"""A connection that wasn't needed for so long is closed."""

Connect = Callable[[], Awaitable[Any]]


class Pool:
    """At most `size` connections, each made by `connect` when it is needed."""

    def __init__(self, connect: Connect, size: int) -> None:
        self._connect = connect
        self._size = size
        self._taken = 0
        """The number of connections that are open or being opened."""
        self._free: list[tuple[Any, float]] = []
        """Each with the time since which it is free. The one that was used last is lent first."""
        self._waiting: deque[asyncio.Future[Any]] = deque()
        """Each is given a connection, or None: there is a place for a new one."""
        self._returned = asyncio.Event()
        self._closed = False

    async def acquire(self, seconds: float) -> Any:
        """Return a connection, after at most `seconds`. Raises `TimeoutError`, and what `connect` raises."""
        connection = self._take_free()
        if connection is not None:
            return connection
        async with asyncio.timeout(seconds):
            if self._taken >= self._size:
                connection = await self._wait()
            else:
                self._taken += 1
            return connection if connection is not None else await self._open()

    def release(self, connection: Any) -> None:
        """Take a connection back; it may be closed."""
        if self._closed or connection.is_closed():
            connection.terminate()  # one that was cut off hasn't tidied up after itself
            self.discard()
        elif not self._hand_over(connection):
            self._free.append((connection, world.monotonic()))
            self._close_idle()

    def discard(self) -> None:
        """Have no more use for a connection: its place is free."""
        if not self._hand_over(None):
            self._taken -= 1
            self._returned.set()

    def expire(self) -> None:
        """Close the free connections."""
        free, self._free = self._free, []
        for connection, _ in free:
            connection.terminate()
            self.discard()

    async def close(self) -> None:
        """Lend no more, wait until all connections are back, and close them."""
        self._closed = True
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(asyncpg.InterfaceError("the pool is closed"))
        free, self._free = self._free, []
        try:
            await asyncio.gather(*(_close(connection) for connection, _ in free))
        finally:
            for connection, _ in free:
                connection.terminate()
            self._taken -= len(free)
        while self._taken:
            self._returned.clear()
            await self._returned.wait()

    def _take_free(self) -> Any:
        if self._closed:
            raise asyncpg.InterfaceError("the pool is closed")
        while self._free:
            connection, _ = self._free.pop()
            if not connection.is_closed():
                return connection
            connection.terminate()
            self.discard()
        return None

    async def _wait(self) -> Any:
        waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            return await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                # It was given something in the same moment in which its wait ended.
                if waiter.result() is None:
                    self.discard()
                else:
                    self.release(waiter.result())
            raise

    async def _open(self) -> Any:
        try:
            return await self._connect()
        except BaseException:
            self.discard()
            raise

    def _hand_over(self, connection: Any) -> bool:
        """Give a connection, or None, to the user that has waited longest; return whether there was one."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    def _close_idle(self) -> None:
        connection, since = self._free[0]
        if world.monotonic() >= since + IDLE_SECONDS:
            del self._free[0]
            connection.terminate()
            self.discard()


async def _close(connection: Any) -> None:
    with contextlib.suppress(*LOST, asyncpg.InterfaceError, asyncpg.PostgresError):
        await connection.close()
