"""How a service proves to another one which it is.

On one host the mode of the socket admits only processes of the same user, so a service simply says its name. Over a
network it sends a token (JWT, RFC 7519) that it has signed with its own Ed25519 key (RFC 8037) for this one receiver,
and that is valid for a minute. Checking a signature costs more than all else in a call, so a token that was checked is
remembered until it expires.
"""

import base64
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_private_key

from craton.adapters.services.server import Forbidden
from craton.adapters.services.wire import SERVICE_HEADER
from craton.application.errors import WiringError
from craton.domain import world

ALGORITHM: Final = "EdDSA"
VALID_SECONDS: Final = 60
RENEWED_SECONDS: Final = 20
"""A new token is made so long before the last one expires."""
LEEWAY_SECONDS: Final = 10
"""How far the clocks of two machines may differ."""
MAX_REMEMBERED: Final = 1_000

Sign = Callable[[str], Mapping[str, str]]
"""Takes the name of the service that is asked; returns the headers by which this one proves which it is."""


def naming(service: str) -> Sign:
    """Says the service's name, for sockets."""
    headers = {SERVICE_HEADER: service}
    return lambda _: headers


def named(headers: Mapping[bytes, bytes]) -> str:
    """The name that a service says, behind a socket that only processes of this user reach."""
    return headers.get(SERVICE_HEADER.encode(), b"").decode("latin-1")


class Signer:
    """Signs tokens with the key of a service, given as PEM. Raises `WiringError` for another key, or one that doesn't
    fit the public key."""

    def __init__(self, service: str, key: str, public_key: str = "") -> None:
        self._service = service
        try:
            found = load_pem_private_key(key.encode(), None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            found = None  # its text must not get into a message
        if not isinstance(found, Ed25519PrivateKey):
            raise WiringError(
                f"the key of {service} must be an Ed25519 key in PEM, such as openssl genpkey -algorithm ed25519 makes"
            ) from None
        if public_key and found.public_key() != _public_key(service, public_key):
            raise WiringError(f"the key of {service} isn't the one that its public_key in the topology belongs to")
        self._key = found
        self._tokens: dict[str, tuple[float, Mapping[str, str]]] = {}

    def __call__(self, audience: str) -> Mapping[str, str]:
        now = world.milliseconds() / 1_000
        expires, headers = self._tokens.get(audience, (0.0, {}))
        if expires - now < RENEWED_SECONDS or expires - now > VALID_SECONDS:
            expires = now + VALID_SECONDS
            claims = {"iss": self._service, "aud": audience, "iat": int(now), "exp": int(expires)}
            headers = {"authorization": f"Bearer {jwt.encode(claims, self._key, ALGORITHM)}"}
            self._tokens[audience] = expires, headers
        return headers


class Verifier:
    """Finds out which service has sent a request. `public_keys` are those of all services, as in the topology file."""

    def __init__(self, service: str, public_keys: Mapping[str, str]) -> None:
        self._service = service
        self._keys = {name: _public_key(name, text) for name, text in public_keys.items()}
        self._known: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def __call__(self, headers: Mapping[bytes, bytes]) -> str:
        scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            raise Forbidden("The request has no token of a service.")
        name, expires = self._known.get(token, ("", 0.0))
        if expires > world.milliseconds() / 1_000:
            return name
        name, expires = self._check(token)
        self._known[token] = name, expires
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        return name

    def _check(self, token: str) -> tuple[str, float]:
        try:
            claimed = str(jwt.decode(token, options={"verify_signature": False}).get("iss"))
            claims: dict[str, Any] = jwt.decode(
                token,
                self._keys[claimed],
                algorithms=[ALGORITHM],
                audience=self._service,
                issuer=claimed,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "iss", "aud"]},
            )
        except (jwt.InvalidTokenError, KeyError) as problem:
            raise Forbidden(f"The token of a service isn't valid here: {type(problem).__name__}.") from None
        if claims["exp"] - claims["iat"] > VALID_SECONDS + LEEWAY_SECONDS:
            raise Forbidden("The token of a service is valid for too long.")
        return claimed, float(claims["exp"])


def _public_key(service: str, text: str) -> Ed25519PublicKey:
    try:
        found = load_der_public_key(base64.b64decode(text, validate=True))
    except (ValueError, UnsupportedAlgorithm):
        found = None
    if not isinstance(found, Ed25519PublicKey):
        raise WiringError(
            f"the public_key of {service} must be the text between the lines that openssl pkey -pubout writes for its "
            f"Ed25519 key"
        )
    return found
