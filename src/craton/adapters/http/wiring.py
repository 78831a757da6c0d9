"""Finds the mistakes in route tables before the first request."""

import re
from collections.abc import Callable, Iterator
from inspect import iscoroutinefunction, signature
from string import Formatter
from typing import Any, Final

import msgspec

from craton.application.api import OperationDefinition
from craton.application.codec import schema_of_scalar
from craton.application.module import Module
from craton.application.page import Paging
from craton.application.routes import Route
from craton.domain import Id
from craton.runtime.app import App

_PART: Final = re.compile(r"\{[a-z_][a-z0-9_]*\}|[^{}]*", re.ASCII).fullmatch
_BODILESS: Final = (204, 205, 304)


def wrong_routes(app: App) -> Iterator[str]:
    """Yield a sentence for each mistake in the modules' route tables."""
    guarded = [
        f"{route.method} {route.path}"
        for module in app.modules.values()
        for route in module.routes
        if route.caller is not None or not route.access.public
    ]
    if guarded and app.authenticate is None:
        yield (
            f"app {app.name}: {guarded[0]} ({len(guarded)} such in all) is not for strangers, and nothing tells who "
            "calls: give the App an `authenticate`, or the route `access=public`"
        )
    for module in app.modules.values():
        for route in module.routes:
            where = f"module {module.name}: {route.method} {route.path}"
            yield from (f"{where}: {mistake}" for mistake in _mistakes(module, route))


def _mistakes(module: Module, route: Route) -> Iterator[str]:
    parts = route.path.split("/")
    if not route.path.startswith("/") or not all(map(_PART, parts)):
        yield "a path is such as /v1/orders/{order}; a part is either fixed or one parameter"
        return
    if isinstance(route.handler, OperationDefinition):
        in_path = [part[1:-1] for part in parts if part.startswith("{")]
        yield from _mistakes_of_call(module, route, route.handler, in_path)
    else:
        yield from _mistakes_of_handler(route.handler)
        if route.limit is not None:
            yield "only a route to an operation of the Api can have a limit; a handler written by hand counts by itself"
        if route.access.owner is not None or route.caller is not None:
            yield "a handler that is written by hand has no parameters that could be the caller; let it ask context()"


def _mistakes_of_handler(handler: Callable[..., Any]) -> Iterator[str]:
    name = getattr(handler, "__qualname__", repr(handler))
    parameters = list(signature(handler).parameters)
    if parameters[:1] == ["self"]:
        yield f"{name} is neither a @command nor a @query of an Api; name the method of the Api, and mark it there"
    elif not iscoroutinefunction(handler) or not parameters:
        yield f"{name} must be an async function of the request"


def _mistakes_of_call(
    module: Module, route: Route, operation: OperationDefinition, in_path: list[str]
) -> Iterator[str]:
    has = f"{operation} has {', '.join(operation.parameters) or 'none'}"
    if operation.api is not module.api:
        yield f"{operation} is another module's; a route calls its own module's {module.api.__name__}"
    if route.method == "GET" and operation.kind == "command":
        yield f"{operation} is a command, and whatever follows a link would give it; use post, put or delete"
    for name in in_path:
        if name not in operation.parameters:
            yield f"there is no parameter {name!r}; {has}"
    if len(set(in_path)) < len(in_path):
        yield "a parameter stands in the path twice"
    named = (f"caller={route.caller!r}", route.caller), (f"own({route.access.owner!r})", route.access.owner)
    for what, parameter in named:
        if parameter is not None and parameter not in operation.parameters:
            yield f"{what} names no parameter; {has}"
    if route.caller is not None and route.caller in in_path:
        yield f"{route.caller!r} comes from the caller's token, and can't stand in the path too"
    if route.caller is not None and route.access.public:
        yield "a stranger has no id that could be the caller's; leave `access` away"
    if operation.result in (None, type(None)):
        if route.location is not None and "{" in route.location:
            yield f"the location asks for fields of a result, and {operation} has none"
    else:
        if route.status in _BODILESS:
            yield f"an answer with status {route.status} has no body, and {operation} returns something"
        for name in _unknown_fields(route.location or "", operation.result):
            yield f"the location asks for {{{name}}}, which the result of {operation} hasn't"
    if route.method in ("GET", "DELETE"):
        for name, hint in operation.parameters.items():
            if name not in (*in_path, route.caller) and hint is not Paging and _has_parts(hint):
                yield f"{name!r} has parts, and can't stand in a query; use post or put, which have a body"


def _unknown_fields(template: str, result: Any) -> Iterator[str]:
    if isinstance(result, type) and issubclass(result, Id):
        known: tuple[str, ...] = ("id",)
    else:
        known = getattr(result, "__struct_fields__", ())
    yield from (name for _, name, _, _ in Formatter().parse(template) if name is not None and name not in known)


def _has_parts(hint: Any) -> bool:
    """Whether a value is an object or a list in JSON."""
    (schema,), components = msgspec.json.schema_components((hint,), schema_hook=schema_of_scalar)
    choices = schema.get("anyOf", [schema])
    resolved = [components.get(choice.get("$ref", "").rpartition("/")[2], choice) for choice in choices]
    return any(choice.get("type") in ("object", "array") for choice in resolved)
