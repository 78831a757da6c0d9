"""Passwords hashed with argon2id, with the library's own parameters (RFC 9106, low memory)."""

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from craton.domain import Secret

SIDE_BY_SIDE = 4
"""Each hashing takes 64 MiB and a core."""


class Argon2:
    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._places = asyncio.Semaphore(SIDE_BY_SIDE)
        self._nobodys = self._hasher.hash("nobody's password")

    async def hash(self, password: Secret) -> str:
        async with self._places:
            return await asyncio.to_thread(self._hasher.hash, password.reveal())

    async def verify(self, password: Secret, hashed: str | None) -> bool:
        async with self._places:
            matches = await asyncio.to_thread(self._verify, password.reveal(), hashed or self._nobodys)
        return matches and hashed is not None

    def _verify(self, password: str, hashed: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False
