"""What identity needs from outside: somebody who hashes passwords, and somebody who signs tokens."""

from datetime import datetime
from typing import Protocol

from craton.domain import Secret, Value
from market.identity.events import SessionId, UserId


class Claims(Value):
    """What an access token says."""

    user: UserId
    session: SessionId


class PasswordHasher(Protocol):
    """Slow on purpose, so that it is bounded: `address` says for whom, and one can't keep others waiting.

    Raises `TooManyAttempts` for who would wait too long.
    """

    async def hash(self, password: Secret, address: str) -> str: ...

    async def verify(self, password: Secret, hashed: str | None, address: str) -> bool:
        """Whether the password is the one that was hashed. It takes as long for None, of which none is."""

    def is_outdated(self, hashed: str) -> bool:
        """Whether it would be hashed otherwise today."""


class TokenSigner(Protocol):
    def require_usable(self, key: str) -> None:
        """Raises `WiringError` for a key that can't sign."""

    def sign(self, claims: Claims, key: str, now: datetime, expires_at: datetime) -> Secret: ...

    def read(self, token: str, key: str, now: datetime) -> Claims | None:
        """What a token says; None if it isn't valid, for whatever reason."""
