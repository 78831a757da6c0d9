"""Access tokens as JSON Web Tokens: EdDSA if the key is an Ed25519 key in PEM, else HS256."""

from datetime import datetime
from functools import cache, lru_cache

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.types import Options

from craton.application import WiringError
from craton.domain import Secret
from market.identity.events import SessionId, UserId
from market.identity.ports import Claims

MIN_KEY_CHARACTERS = 32


class Jwt:
    def require_usable(self, key: str) -> None:
        _keys(key)

    def sign(self, claims: Claims, key: str, now: datetime, expires_at: datetime) -> Secret:
        algorithm, signing, _ = _keys(key)
        content = {"sub": claims.user, "sid": claims.session, "iat": now, "exp": expires_at, "typ": "access"}
        return Secret(jwt.encode(content, signing, algorithm=algorithm))

    def read(self, token: str, key: str, now: datetime) -> Claims | None:
        try:
            claims, expires_at_seconds = _verified(token, key)
        except (jwt.InvalidTokenError, ValueError, TypeError):
            return None
        return claims if now.timestamp() < expires_at_seconds else None


@lru_cache(maxsize=10_000)
def _verified(token: str, key: str) -> tuple[Claims, float]:
    """What a token says, and when it expires, if its signature is right.

    A right signature stays right, so that the result can be kept; the caller checks the time. Raises
    `InvalidTokenError`, `ValueError` or `TypeError`.
    """
    algorithm, _, verifying = _keys(key)
    options: Options = {"require": ["sub", "sid", "exp", "typ"], "verify_exp": False, "verify_iat": False}
    content = jwt.decode(token, verifying, algorithms=[algorithm], options=options)
    if content["typ"] != "access":
        raise ValueError("this is not an access token")
    return Claims(user=UserId(content["sub"]), session=SessionId(content["sid"])), float(content["exp"])


@cache
def _keys(key: str) -> tuple[str, str | Ed25519PrivateKey, str | Ed25519PublicKey]:
    """The algorithm, the key that signs and the key that verifies. Raises `WiringError` for an unusable key."""
    if not key.lstrip().startswith("-----BEGIN"):
        if len(key) < MIN_KEY_CHARACTERS:
            raise WiringError(
                f"CRATON_IDENTITY_TOKEN_KEY has fewer than {MIN_KEY_CHARACTERS} characters, and is no key in PEM"
            )
        return "HS256", key, key
    try:
        private = load_pem_private_key(key.encode(), None)
    except (ValueError, TypeError):
        raise WiringError("CRATON_IDENTITY_TOKEN_KEY is no private key in PEM") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise WiringError("CRATON_IDENTITY_TOKEN_KEY is no Ed25519 key")
    return "EdDSA", private, private.public_key()
