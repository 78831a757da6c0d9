"""One after the other, of those who want the same."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from craton.domain import TooManyAttempts


class Turns:
    """Of what is called alike, one is at work at a time, and few wait."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._locks: dict[str, asyncio.Lock] = {}
        self._wanted: Counter[str] = Counter()

    @asynccontextmanager
    async def taken_for(self, name: str) -> AsyncIterator[None]:
        """Wait for one's turn, and have it for the block. Raises `TooManyAttempts` when `most` are there already."""
        if self._wanted[name] >= self._most:
            raise TooManyAttempts(retry_after=1)
        self._wanted[name] += 1
        lock = self._locks.setdefault(name, asyncio.Lock())
        try:
            async with lock:
                yield
        finally:
            self._wanted[name] -= 1
            if not self._wanted[name]:
                del self._wanted[name], self._locks[name]
