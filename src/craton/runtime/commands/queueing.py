"""Queues: commands that have collided wait for each other instead of colliding again."""

import asyncio
from collections.abc import Iterable
from types import TracebackType


class Queues:
    """A lock for each name in use. Names are taken in sorted order, so that commands can't deadlock."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._wanted: dict[str, int] = {}

    def take(self, names: Iterable[str]) -> "Turn":
        """Wait until all names are free, and hold them during the block: `async with queues.take(names)`."""
        return Turn(self, sorted(names))

    async def acquire(self, name: str) -> None:
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = asyncio.Lock()
        self._wanted[name] = self._wanted.get(name, 0) + 1
        try:
            await lock.acquire()
        except BaseException:
            self._want_no_more(name)
            raise

    def release(self, name: str) -> None:
        self._locks[name].release()
        self._want_no_more(name)

    def _want_no_more(self, name: str) -> None:
        self._wanted[name] -= 1
        if not self._wanted[name]:
            del self._wanted[name], self._locks[name]


class Turn:
    """The names of one command, held during a block."""

    __slots__ = ("_held", "_names", "_queues")

    def __init__(self, queues: Queues, names: list[str]) -> None:
        self._queues = queues
        self._names = names
        self._held: list[str] = []

    async def __aenter__(self) -> None:
        try:
            for name in self._names:
                await self._queues.acquire(name)
                self._held.append(name)
        except BaseException:
            self._release()
            raise

    async def __aexit__(
        self, _kind: type[BaseException] | None, _problem: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._release()

    def _release(self) -> None:
        for name in reversed(self._held):
            self._queues.release(name)
        self._held.clear()
