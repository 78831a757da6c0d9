"""Finds callers from outside by their tokens."""

import hashlib
import re
from collections import OrderedDict
from typing import Final

from craton.application.access import STRANGER, Access
from craton.application.api import OperationDefinition
from craton.application.context import Caller, Context, context
from craton.application.routes import DEFAULT_TIMEOUT_SECONDS
from craton.domain import Unauthenticated, world
from craton.runtime.app import App
from craton.runtime.commands.use_cases import MAX_KEY_LENGTH

MAX_TOKEN_LENGTH: Final = 4_096
MAX_REMEMBERED: Final = 10_000
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII).fullmatch
"""RFC 6750, section 2.1."""


def bearer_token(authorization: str | None) -> str | None:
    """The token in an Authorization header, None if there is no header. Raises `Unauthenticated` for what isn't one."""
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or len(token) > MAX_TOKEN_LENGTH or not _TOKEN(token):
        raise Unauthenticated()
    return token


def is_client_key(text: str) -> bool:
    """Whether a client may use a text as its idempotency key."""
    return 1 <= len(text) <= MAX_KEY_LENGTH and text.isprintable() and text.isascii()


class Callers:
    """Finds the caller of each request. In an application without `authenticate` every caller is a stranger.

    Where another service finds callers, each is remembered for a moment, by the digest of its token: a user that was
    deleted or logged out may be admitted that much longer.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._known: OrderedDict[bytes, tuple[Caller, float]] = OrderedDict()

    async def admit(self, access: Access, token: str | None) -> Caller:
        """Check a request against its guard, and return its caller. Raises `Unauthenticated` or `AccessDenied`.

        A public route ignores an expired token, because clients send their old token until they have a new one.
        """
        caller = STRANGER
        if token is not None and self._app.authenticate is not None:
            try:
                caller = await self._find(self._app.authenticate, token)
            except Unauthenticated:
                if not access.public:
                    raise
        access.admit(caller)
        return caller

    def _is_elsewhere(self, authenticate: OperationDefinition) -> bool:
        return self._app.wiring.owner_of[authenticate.api] not in self._app.modules

    async def _find(self, authenticate: OperationDefinition, token: str) -> Caller:
        digest, now = b"", world.monotonic()
        if self._app.caller_seconds and self._is_elsewhere(authenticate):
            digest = hashlib.blake2b(token.encode()).digest()
            caller, until = self._known.get(digest, (STRANGER, 0.0))
            if now < until:
                return caller
        asked = Context(deadline=now + DEFAULT_TIMEOUT_SECONDS, correlation=context().id, causation=context().id)
        found: Caller = (await self._app.call(authenticate, {"token": token}, asked)).result
        if digest:
            self._known[digest] = found, now + self._app.caller_seconds
            if len(self._known) > MAX_REMEMBERED:
                self._known.popitem(last=False)
        return found
