"""The route table: it maps each URL to a method of the API."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from craton.application.access import Access, signed_in
from craton.application.api import OperationDefinition, operation_of
from craton.application.limits import Limit

DEFAULT_TIMEOUT_SECONDS: Final = 10.0


class Route(msgspec.Struct, frozen=True):
    """One line of the table. `handler` is an operation of an Api, or a Starlette handler written by hand.

    Such a handler is given the request, and the parameters that its annotations declare, as a service is.
    """

    method: str
    path: str
    handler: OperationDefinition | Callable[..., Any]
    status: int = 200
    location: str | None = None
    """The template of the Location header: `{id}` is the id that the method returns, `{name}` a field of its result."""
    caller: str | None = None
    """The parameter that holds the caller's own id: it is taken from the token, never from the request."""
    access: Access = signed_in
    """The guard of the route; it has an effect if the application authenticates callers."""
    limit: Limit | None = None
    """How many requests are admitted; those beyond are answered with status 429."""


class Routes:
    """A module's routes, in the order in which they are tried."""

    def __init__(self, *routes: Route) -> None:
        self._routes = routes

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)


def _route(method: str, path: str, handler: Callable[..., Any], **rest: Any) -> Route:
    target = operation_of(handler) if hasattr(handler, "craton_kind") else handler
    return Route(method, path, target, **rest)


def get(
    path: str,
    handler: Callable[..., Any],
    *,
    status: int = 200,
    caller: str | None = None,
    access: Access = signed_in,
    limit: Limit | None = None,
) -> Route:
    return _route("GET", path, handler, status=status, caller=caller, access=access, limit=limit)


def post(
    path: str,
    handler: Callable[..., Any],
    *,
    status: int = 200,
    location: str | None = None,
    caller: str | None = None,
    access: Access = signed_in,
    limit: Limit | None = None,
) -> Route:
    return _route("POST", path, handler, status=status, location=location, caller=caller, access=access, limit=limit)


def put(
    path: str,
    handler: Callable[..., Any],
    *,
    status: int = 200,
    caller: str | None = None,
    access: Access = signed_in,
    limit: Limit | None = None,
) -> Route:
    return _route("PUT", path, handler, status=status, caller=caller, access=access, limit=limit)


def delete(
    path: str,
    handler: Callable[..., Any],
    *,
    status: int = 204,
    caller: str | None = None,
    access: Access = signed_in,
    limit: Limit | None = None,
) -> Route:
    return _route("DELETE", path, handler, status=status, caller=caller, access=access, limit=limit)
