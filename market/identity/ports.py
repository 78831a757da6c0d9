"""What identity needs from outside: a hasher of passwords and a signer of tokens."""

from datetime import datetime
from typing import Protocol

from craton.domain import Secret, Value
from market.identity.events import SessionId, UserId


class Claims(Value):
    """What an access token says."""

    user: UserId
    session: SessionId


class PasswordHasher(Protocol):
    """Hashing is slow on purpose, and few hashes are computed at a time.

    `address` is the network address of the caller: one address can't keep others waiting. Raises `TooManyAttempts` if
    too many calls of the same address wait already.
    """

    async def hash(self, password: Secret, address: str) -> str: ...

    async def verify(self, password: Secret, hashed: str | None, address: str) -> bool:
        """Whether the hash is the password's. Without a hash the answer is False, and takes as long."""

    def is_outdated(self, hashed: str) -> bool:
        """Whether the parameters of hashing have changed since."""


class TokenSigner(Protocol):
    def require_usable(self, key: str) -> None:
        """Raises `WiringError` for a key that can't sign."""

    def sign(self, claims: Claims, key: str, now: datetime, expires_at: datetime) -> Secret: ...

    def read(self, token: str, key: str, now: datetime) -> Claims | None:
        """What a token says; None if it isn't valid, for whatever reason."""
