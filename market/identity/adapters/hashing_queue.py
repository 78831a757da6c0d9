"""The queue for password hashing, which shares a few places fairly between network addresses."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from craton.domain import TooManyAttempts


class HashingQueue:
    """Each address has a queue of its own, and the queues take turns, so that one address can't keep others waiting."""

    def __init__(self, places: int, *, max_waiting_per_address: int) -> None:
        self._free_places = places
        self._max_waiting_per_address = max_waiting_per_address
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}
        """The queue that stands first is served next."""

    @asynccontextmanager
    async def place_for(self, address: str) -> AsyncIterator[None]:
        """Hold a place during the block. Raises `TooManyAttempts` if too many of the same address wait already."""
        if self._free_places:
            self._free_places -= 1
        else:
            await self._wait(address)
        try:
            yield
        finally:
            self._pass_place_on()

    async def _wait(self, address: str) -> None:
        queue = self._queues.setdefault(address, deque())
        if len(queue) >= self._max_waiting_per_address:
            raise TooManyAttempts(retry_after=1)
        turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_place_on()
            elif turn in queue:
                queue.remove(turn)
                if not queue and self._queues.get(address) is queue:
                    del self._queues[address]
            raise

    def _pass_place_on(self) -> None:
        while self._queues:
            address, queue = next(iter(self._queues.items()))
            del self._queues[address]
            turn = queue.popleft()
            if queue:
                self._queues[address] = queue
            if not turn.done():
                turn.set_result(None)
                return
        self._free_places += 1
