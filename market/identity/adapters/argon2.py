"""Passwords hashed with argon2id, with the library's own parameters (RFC 9106, low memory)."""

import asyncio
import base64
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from craton.domain import Secret
from craton.domain.world import random_bytes
from market.identity.adapters.hashing_queue import HashingQueue

T = TypeVar("T")

MAX_CONCURRENT_HASHES = 4
"""Each of them takes 64 MiB and a core."""
MAX_WAITING_PER_ADDRESS = 64
"""The last of so many waits a few seconds."""


class Argon2:
    def __init__(
        self, hasher: PasswordHasher | None = None, *, max_waiting_per_address: int = MAX_WAITING_PER_ADDRESS
    ) -> None:
        self._hasher = hasher or PasswordHasher()
        self._queue = HashingQueue(MAX_CONCURRENT_HASHES, max_waiting_per_address=max_waiting_per_address)
        self._decoy = _hash_of_no_password(self._hasher)

    async def hash(self, password: Secret, address: str) -> str:
        salt = random_bytes(self._hasher.salt_len)
        return await self._work(address, partial(self._hasher.hash, salt=salt), password.reveal())

    async def verify(self, password: Secret, hashed: str | None, address: str) -> bool:
        matches = await self._work(address, self._verify, password.reveal(), hashed or self._decoy)
        return matches and hashed is not None

    async def _work(self, address: str, work: Callable[..., T], *arguments: str) -> T:
        """Work in a thread. The place is held until the thread has ended, even if the caller was cancelled before."""
        async with self._queue.place_for(address):
            working = asyncio.create_task(asyncio.to_thread(work, *arguments))
            try:
                return await asyncio.shield(working)
            except asyncio.CancelledError:
                await asyncio.wait([working])
                raise

    def is_outdated(self, hashed: str) -> bool:
        return self._hasher.check_needs_rehash(hashed)

    def _verify(self, password: str, hashed: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False


def _hash_of_no_password(hasher: PasswordHasher) -> str:
    """A random hash that no password has. Comparing with it takes as long as with any other."""
    costs = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v=19${costs}${_random_base64(hasher.salt_len)}${_random_base64(hasher.hash_len)}"


def _random_base64(length_bytes: int) -> str:
    return base64.b64encode(random_bytes(length_bytes)).decode().rstrip("=")
