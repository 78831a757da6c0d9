"""A lease: who may do what only one process may do at a time."""

import asyncio
from typing import Final

import structlog

from craton.ports import Leases, StoreUnavailable

LEASE_SECONDS: Final = 3.0
RELEASE_SECONDS: Final = 1.0
ASK_SECONDS: Final = 0.4
"""How often it is asked for while another holds it: a little more often than the polls that ask."""

log = structlog.get_logger("craton.lease")


class Lease:
    """One process's hold on a lease, as far as it knows; the store knows better, and checks the number in commits."""

    def __init__(self, store: Leases, name: str, owner: str) -> None:
        self._store = store
        self._name = name
        self._owner = owner
        self._number: int | None = None
        self._ask_at = 0.0

    async def hold(self) -> int | None:
        """Take it, or renew it when a third of its time is over. Returns its fencing number, None if another holds it.

        However often it is called, the store is asked now and then only. Raises `StoreUnavailable`.
        """
        now = asyncio.get_running_loop().time()
        if now >= self._ask_at:
            self._number = await self._store.acquire(self._name, self._owner, LEASE_SECONDS)
            self._ask_at = now + (ASK_SECONDS if self._number is None else LEASE_SECONDS / 3)
        return self._number

    def lose(self) -> None:
        """It isn't certain any more: the store is asked before it is relied on again."""
        self._number = None
        self._ask_at = 0.0

    async def release(self) -> None:
        """Let it go, so that another needn't wait until it runs out; it does if this takes too long."""
        if self._number is not None:
            try:
                async with asyncio.timeout(RELEASE_SECONDS):
                    await self._store.release(self._name, self._owner)
            except (StoreUnavailable, TimeoutError) as problem:
                log.warning("a lease was not released", lease=self._name, reason=str(problem) or "no answer in time")
