"""Wake-ups. They are only hints: a reader that waits looks at positions, and polls slowly if no wake-up comes."""

import asyncio
from typing import Final

POLL_SECONDS: Final = 0.5


class Signal:
    """Says that something may have happened. A wait that began after a call of `seen()` misses no later wake-up.

    It also fires whenever `source` does.
    """

    def __init__(self, source: "Signal | None" = None) -> None:
        self._count = 0
        self._waiters: dict[asyncio.Future[None], None] = {}
        """The waiters in the order in which they came. A set's order would depend on addresses in memory."""
        self._fired_too: list[Signal] = []
        if source is not None:
            source._fired_too.append(self)

    def seen(self) -> int:
        return self._count

    def fire(self) -> None:
        self._count += 1
        waiters, self._waiters = self._waiters, {}
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        for signal in self._fired_too:
            signal.fire()

    async def wait(self, seen: int, seconds: float = POLL_SECONDS) -> None:
        """Return when it has fired since `seen`, or after `seconds`."""
        if self._count != seen:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = None
        try:
            await asyncio.wait([waiter], timeout=seconds)
        finally:
            self._waiters.pop(waiter, None)
