"""The route table: which URL is which method of the API."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from craton.application.api import Operation, operation_of

DEFAULT_TIMEOUT_SECONDS: Final = 10.0


class Route(msgspec.Struct, frozen=True):
    """One line of the table. `handler` is an operation of an Api, or a Starlette handler written by hand."""

    method: str
    path: str
    handler: Operation | Callable[..., Any]
    status: int = 200
    location: str | None = None
    """Template of the Location header; `{id}` is the id that the method returned."""


class Routes:
    """A module's routes, in the order in which they are tried."""

    def __init__(self, *routes: Route) -> None:
        self._routes = routes

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)


def _route(method: str, path: str, handler: Callable[..., Any], status: int, location: str | None) -> Route:
    target = operation_of(handler) if hasattr(handler, "craton_kind") else handler
    return Route(method, path, target, status, location)


def get(path: str, handler: Callable[..., Any], *, status: int = 200) -> Route:
    return _route("GET", path, handler, status, None)


def post(path: str, handler: Callable[..., Any], *, status: int = 200, location: str | None = None) -> Route:
    return _route("POST", path, handler, status, location)


def put(path: str, handler: Callable[..., Any], *, status: int = 200) -> Route:
    return _route("PUT", path, handler, status, None)


def delete(path: str, handler: Callable[..., Any], *, status: int = 204) -> Route:
    return _route("DELETE", path, handler, status, None)
