"""Endpoints that are written by hand: functions of a request, with a guard."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from craton.adapters.callers import Callers
from craton.adapters.http.head import head_of
from craton.application.access import STRANGER, Access
from craton.application.context import Context, context, entered
from craton.application.routes import DEFAULT_TIMEOUT_SECONDS
from craton.domain import world

Handler = Callable[..., Awaitable[Response]]


class Handwritten:
    """Lets a handler answer the callers that its guard admits; `given` are its parameters besides the request.

    Without `callers` no token is checked: a public handler answers whatever token a request carries.
    """

    def __init__(
        self, handler: Handler, access: Access, callers: Callers | None, given: dict[str, Any] | None = None
    ) -> None:
        self._handler = handler
        self._access = access
        self._callers = callers
        self._given = given or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = STRANGER if self._callers is None else await self._callers.admit(self._access, head_of(scope).token)
        asked = Context(
            id=context().id,
            actor=caller.id or None,
            caller=caller,
            address=head_of(scope).address,
            deadline=world.monotonic() + DEFAULT_TIMEOUT_SECONDS,
        )
        with entered(asked):
            response = await self._handler(Request(scope, receive), **self._given)
        await response(scope, receive, send)
