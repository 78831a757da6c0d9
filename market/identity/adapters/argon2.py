"""Passwords hashed with argon2id, with the library's own parameters (RFC 9106, low memory)."""

import asyncio
import base64
import secrets
from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from craton.domain import Secret
from market.identity.adapters.places import FairPlaces

T = TypeVar("T")

SIDE_BY_SIDE = 4
"""Each hashing takes 64 MiB and a core."""
MOST_WAITING = 64
"""So many of one address; it takes a few seconds until it is the last one's turn."""


class Argon2:
    def __init__(self, hasher: PasswordHasher | None = None, *, most_waiting: int = MOST_WAITING) -> None:
        self._hasher = hasher or PasswordHasher()
        self._places = FairPlaces(SIDE_BY_SIDE, most_waiting=most_waiting)
        self._nobodys = _hash_of_no_password(self._hasher)

    async def hash(self, password: Secret, address: str) -> str:
        return await self._work(address, self._hasher.hash, password.reveal())

    async def verify(self, password: Secret, hashed: str | None, address: str) -> bool:
        matches = await self._work(address, self._verify, password.reveal(), hashed or self._nobodys)
        return matches and hashed is not None

    async def _work(self, address: str, work: Callable[..., T], *arguments: str) -> T:
        """Work in a thread, and hold the place until it has ended: it does so though nobody waits for it any more."""
        async with self._places.taken_for(address):
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
    """A hash that takes as long to compare with as any other, and that no password has: it is drawn by chance."""
    costs = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v=19${costs}${_drawn(hasher.salt_len)}${_drawn(hasher.hash_len)}"


def _drawn(length: int) -> str:
    return base64.b64encode(secrets.token_bytes(length)).decode().rstrip("=")
