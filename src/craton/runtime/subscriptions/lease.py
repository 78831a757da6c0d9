"""Leases: each lets one process at a time do some work."""

import asyncio
from typing import Final

import structlog

from craton.ports import LONGEST_LEASE_SECONDS, Leases, StoreUnavailable

LEASE_SECONDS: Final = 3.0
RELEASE_SECONDS: Final = 1.0
ASK_SECONDS: Final = 0.4
"""How often the lease is asked for while another process holds it: a little more often than the polls that need it."""

SHORTER: Final = 0.9
"""The factor by which a lengthened lease is shortened at each renewal."""

log = structlog.get_logger("craton.lease")


class Lease:
    """One process's hold on a lease, as far as the process knows. The store checks the number again in each commit.

    A process that can't renew in time, because its own work blocks it, asks for a longer lease next time. Otherwise two
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
        """Take the lease, or renew it after a third of its time. Returns its fencing number; None if another holds it.

        It may be called often: the store is asked only when it is time. Raises `StoreUnavailable`.
        """
        if asyncio.get_running_loop().time() >= self._ask_at:
            await self._ask()
        return self._number

    async def is_held(self, number: int) -> bool:
        """Whether the lease was held under this number without a gap. The store is asked if it may have run out.

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
        """Adapt the length to the time for which the process was kept from asking."""
        if silence > self._seconds:
            log.warning("a lease ran out because the process was blocked", lease=self._name, seconds=round(silence, 1))
        self._seconds = min(LONGEST_LEASE_SECONDS, max(LEASE_SECONDS, 2 * silence, SHORTER * self._seconds))

    def lose(self) -> None:
        """Note that the lease may be lost, so that the store is asked before it is used again."""
        self._number = None
        self._ask_at = 0.0
        self._held_until = 0.0

    async def release(self) -> None:
        """Release the lease, so that other processes needn't wait until it runs out. If this takes long, it runs
        out."""
        if self._number is not None:
            try:
                async with asyncio.timeout(RELEASE_SECONDS):
                    await self._store.release(self._name, self._owner)
            except (StoreUnavailable, TimeoutError) as problem:
                log.warning(
                    "a lease could not be released", lease=self._name, reason=str(problem) or "no answer in time"
                )
