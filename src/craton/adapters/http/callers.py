"""Finds the caller of a request by the token in Authorization."""

from starlette.types import Scope

from craton.adapters.http.head import head_of
from craton.application.access import STRANGER, Access
from craton.application.context import Caller, Context, context
from craton.application.routes import DEFAULT_TIMEOUT_SECONDS
from craton.domain import Unauthenticated, world
from craton.runtime.app import App


class Callers:
    """Finds the caller of each request. In an application without `authenticate` every caller is a stranger."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def admit(self, access: Access, scope: Scope) -> Caller:
        """Check a request against its guard, and return its caller. Raises `Unauthenticated` or `AccessDenied`.

        A public route ignores an expired token, because clients send their old token until they have a new one.
        """
        token = head_of(scope).token
        caller = STRANGER
        if token is not None and self._app.authenticate is not None:
            asked = Context(
                deadline=world.monotonic() + DEFAULT_TIMEOUT_SECONDS, correlation=context().id, causation=context().id
            )
            try:
                caller = (await self._app.call(self._app.authenticate, {"token": token}, asked)).result
            except Unauthenticated:
                if not access.public:
                    raise
        access.admit(caller)
        return caller
