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

SHORTEST_KEY = 32


class Jwt:
    def require_usable(self, key: str) -> None:
        _keys(key)

    def sign(self, claims: Claims, key: str, now: datetime, expires_at: datetime) -> Secret:
        algorithm, signing, _ = _keys(key)
        content = {"sub": claims.user, "sid": claims.session, "iat": now, "exp": expires_at, "typ": "access"}
        return Secret(jwt.encode(content, signing, algorithm=algorithm))

    def read(self, token: str, key: str, now: datetime) -> Claims | None:
        try:
            claims, ends = _proved(token, key)
        except (jwt.InvalidTokenError, ValueError, TypeError):
            return None
        return claims if now.timestamp() < ends else None


@lru_cache(maxsize=10_000)
def _proved(token: str, key: str) -> tuple[Claims, float]:
    """What a token says and when it ends, if its signature is right: which it stays, unlike its being in time.

    Only what is proved is kept. Raises `InvalidTokenError`, `ValueError` or `TypeError`.
    """
    algorithm, _, verifying = _keys(key)
    options: Options = {"require": ["sub", "sid", "exp", "typ"], "verify_exp": False, "verify_iat": False}
    content = jwt.decode(token, verifying, algorithms=[algorithm], options=options)
    if content["typ"] != "access":
        raise ValueError("this is no access token")
    return Claims(user=UserId(content["sub"]), session=SessionId(content["sid"])), float(content["exp"])


@cache
def _keys(key: str) -> tuple[str, str | Ed25519PrivateKey, str | Ed25519PublicKey]:
    """The algorithm, what signs and what verifies. Raises `WiringError` for a key that is none."""
    if not key.lstrip().startswith("-----BEGIN"):
        if len(key) < SHORTEST_KEY:
            raise WiringError(
                f"CRATON_IDENTITY_TOKEN_KEY has fewer than {SHORTEST_KEY} characters, and is no key in PEM"
            )
        return "HS256", key, key
    try:
        private = load_pem_private_key(key.encode(), None)
    except (ValueError, TypeError):
        raise WiringError("CRATON_IDENTITY_TOKEN_KEY is no private key in PEM") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise WiringError("CRATON_IDENTITY_TOKEN_KEY is no Ed25519 key")
    return "EdDSA", private, private.public_key()
