"""A few places that many want, shared fairly between those who want them."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from craton.domain import TooManyAttempts


class FairPlaces:
    """Whoever has to wait waits in the queue of his address, and the queues take turns."""

    def __init__(self, places: int, *, most_waiting: int) -> None:
        self._free = places
        self._most_waiting = most_waiting
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}
        """The first is the next."""

    @asynccontextmanager
    async def taken_for(self, address: str) -> AsyncIterator[None]:
        """Hold a place for the block. Raises `TooManyAttempts` when too many of the same address wait already."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(address)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, address: str) -> None:
        queue = self._queues.setdefault(address, deque())
        if len(queue) >= self._most_waiting:
            raise TooManyAttempts(retry_after=1)
        turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()
            elif turn in queue:
                queue.remove(turn)
                if not queue and self._queues.get(address) is queue:
                    del self._queues[address]
            raise

    def _pass_on(self) -> None:
        while self._queues:
            address, queue = next(iter(self._queues.items()))
            del self._queues[address]
            turn = queue.popleft()
            if queue:
                self._queues[address] = queue
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
