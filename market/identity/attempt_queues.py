"""A queue for each account, so that login attempts at it are judged one after the other."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from craton.domain import TooManyAttempts


class AttemptQueues:
    """Lets one attempt of each queue run at a time. `max_attempts` limits a queue, the running attempt included."""

    def __init__(self, max_attempts: int) -> None:
        self._max_attempts = max_attempts
        self._locks: dict[str, asyncio.Lock] = {}
        self._attempts: Counter[str] = Counter()

    @asynccontextmanager
    async def turn(self, queue: str) -> AsyncIterator[None]:
        """Wait in a queue for the turn of this attempt, and run the block. Raises `TooManyAttempts` if it is full."""
        if self._attempts[queue] >= self._max_attempts:
            raise TooManyAttempts(retry_after=1)
        self._attempts[queue] += 1
        lock = self._locks.setdefault(queue, asyncio.Lock())
        try:
            async with lock:
                yield
        finally:
            self._attempts[queue] -= 1
            if not self._attempts[queue]:
                del self._attempts[queue], self._locks[queue]
