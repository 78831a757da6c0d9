"""Finds out who calls, by the token in Authorization."""

from starlette.types import Scope

from craton.adapters.http.head import head_of
from craton.application.access import STRANGER, Access
from craton.application.context import Caller, Context, context
from craton.application.routes import DEFAULT_TIMEOUT_SECONDS
from craton.domain import Unauthenticated, world
from craton.runtime.app import App


class Callers:
    """Who a request is from. In an application without `authenticate` everybody is a stranger."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def admit(self, access: Access, scope: Scope) -> Caller:
        """Let a request pass its guard, and return who it is from. Raises `Unauthenticated` or `AccessDenied`.

        What needs no token isn't closed by one that has expired: a client sends it along until it has a new one.
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
