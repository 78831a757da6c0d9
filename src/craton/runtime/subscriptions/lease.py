"""A lease: who may do what only one process may do at a time."""

import asyncio
from typing import Final

import structlog

from craton.ports import LONGEST_LEASE_SECONDS, Leases, StoreUnavailable

LEASE_SECONDS: Final = 3.0
RELEASE_SECONDS: Final = 1.0
ASK_SECONDS: Final = 0.4
"""How often it is asked for while another holds it: a little more often than the polls that ask."""

SHORTER: Final = 0.9
"""What a lease that was lengthened is shortened by at each renewal."""

log = structlog.get_logger("craton.lease")


class Lease:
    """One process's hold on a lease, as far as it knows; the store knows better, and checks the number in commits.

    A process that can't renew in time, because its own work blocks it, asks for a longer lease the next time: else two
    such processes would take it from each other for ever. It is shortened again while renewals are in time.
    """

    def __init__(self, store: Leases, name: str, owner: str) -> None:
        self._store = store
        self._name = name
        self._owner = owner
        self._number: int | None = None
        self._seconds = LEASE_SECONDS
        self._asked_at: float | None = None
        self._ask_at = 0.0
        self._held_until = 0.0
        self._asking = asyncio.Lock()

    async def hold(self) -> int | None:
        """Take it, or renew it when a third of its time is over. Returns its fencing number, None if another holds it.

        However often it is called, the store is asked now and then only. Raises `StoreUnavailable`.
        """
        if asyncio.get_running_loop().time() >= self._ask_at:
            await self._ask()
        return self._number

    async def is_held(self, number: int) -> bool:
        """Whether it has been held under this number all the time, and is now. The store is asked if it may be over.

        Raises `StoreUnavailable`.
        """
        async with self._asking:
            if asyncio.get_running_loop().time() >= self._held_until:
                await self._ask()
        return self._number == number

    async def _ask(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._number is not None and self._asked_at is not None:
            self._fit_length(now - self._asked_at)
        self._number = await self._store.acquire(self._name, self._owner, self._seconds)
        self._asked_at = now
        self._held_until = now if self._number is None else now + self._seconds
        self._ask_at = now + (ASK_SECONDS if self._number is None else LEASE_SECONDS / 3)

    def _fit_length(self, silence: float) -> None:
        """Adapt to how long the process was kept from asking."""
        if silence > self._seconds:
            log.warning("a lease ran out, because the process was blocked", lease=self._name, seconds=round(silence, 1))
        self._seconds = min(LONGEST_LEASE_SECONDS, max(LEASE_SECONDS, 2 * silence, SHORTER * self._seconds))

    def lose(self) -> None:
        """It isn't certain any more: the store is asked before it is relied on again."""
        self._number = None
        self._ask_at = 0.0
        self._held_until = 0.0

    async def release(self) -> None:
        """Let it go, so that another needn't wait until it runs out; it does if this takes too long."""
        if self._number is not None:
            try:
                async with asyncio.timeout(RELEASE_SECONDS):
                    await self._store.release(self._name, self._owner)
            except (StoreUnavailable, TimeoutError) as problem:
                log.warning("a lease was not released", lease=self._name, reason=str(problem) or "no answer in time")
