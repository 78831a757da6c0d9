"""Finds out who calls, by the token in Authorization."""

import time
from collections.abc import Awaitable, Callable

from starlette.types import Scope

from craton.adapters.http.body import header
from craton.application.access import Access
from craton.application.context import Caller, Context
from craton.application.routes import DEFAULT_TIMEOUT_SECONDS
from craton.domain import Unauthenticated
from craton.runtime.app import App

MAX_TOKEN_LENGTH = 4_096

FindCaller = Callable[[Scope], Awaitable[Caller | None]]


def finding_callers(app: App) -> FindCaller | None:
    """What finds the caller of a request (None: nobody said who he is); None if the application doesn't know callers.

    It raises `Unauthenticated` for a token that isn't valid, or isn't one.
    """
    authenticate = app.authenticate
    if authenticate is None:
        return None

    async def find(scope: Scope) -> Caller | None:
        said = header(scope, b"authorization")
        if said is None:
            return None
        scheme, _, token = said.partition(" ")
        if scheme.lower() != "bearer" or not 0 < len(token) <= MAX_TOKEN_LENGTH or not token.isascii():
            raise Unauthenticated()
        answer = await app.call(
            authenticate, {"token": token}, Context(deadline=time.monotonic() + DEFAULT_TIMEOUT_SECONDS)
        )
        caller: Caller = answer.result
        return caller

    return find


async def admit(find: FindCaller | None, access: Access, scope: Scope) -> Caller | None:
    """Let a request pass its guard, if the application knows callers; return who it is from."""
    if find is None:
        return None
    caller = await find(scope)
    access.admit(caller)
    return caller
