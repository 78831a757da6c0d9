"""The ASGI application: every module's routes, and the system's own routes."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from starlette.types import ASGIApp

from craton.adapters.callers import Callers
from craton.adapters.http.cors import sharing
from craton.adapters.http.documentation import documentation_lines
from craton.adapters.http.edge import Edge
from craton.adapters.http.endpoint import Endpoint
from craton.adapters.http.handlers import Handwritten
from craton.adapters.http.metrics import Metrics
from craton.adapters.http.openapi import Described, document
from craton.adapters.http.operations import operators_routes
from craton.adapters.http.router import Line, Router
from craton.adapters.http.system import system_lines
from craton.adapters.http.wiring import wrong_routes
from craton.application.api import OperationDefinition
from craton.application.errors import WiringError
from craton.application.module import handler_dependencies
from craton.application.routes import Route
from craton.runtime.app import App
from craton.runtime.commands.calls import Call


def asgi(app: App, *, origins: Sequence[str] = (), limited: bool = True) -> ASGIApp:
    """Return the ASGI application of a running `App`.

    `origins` are the web sites whose scripts may call it from a browser (`https://shop.example.com`). `limited`: the
    limits of the routes count.
    Raises `WiringError` for a mistake in the route tables.
    """
    mistakes = list(wrong_routes(app))
    if mistakes:
        raise WiringError("; ".join(mistakes))
    metrics, callers = Metrics(), Callers(app)
    lines: list[Line] = []
    described: list[Described] = []
    for name, route, call in _tables(app):
        is_here = name not in app.wiring.modules or name in app.modules
        if isinstance(route.handler, OperationDefinition):
            limits = app.running[name].limits if limited and name in app.running else None
            endpoint: ASGIApp = Endpoint(call, callers, route, route.handler, limits)
        else:
            given = app.running[name].provide(handler_dependencies(route.handler)) if is_here else {}
            endpoint = Handwritten(route.handler, route.access, callers, given)
        if is_here:
            public = route.access.public and route.method == "GET"
            lines.append(Line(name, route.method, route.path, endpoint, may_be_stored=public))
        described.append((name, route, endpoint))
    router = Router(
        [
            *lines,
            *system_lines(app, metrics),
            *documentation_lines(partial(document, app, described)),
        ]
    )
    middleware: list[Any] = [sharing(origins)] if origins else []
    return Edge(router, metrics, (*middleware, *app.middleware))


def _tables(app: App) -> Iterator[tuple[str, Route, Call]]:
    """Each route of the whole app, with its module's name and the function that calls its operation.

    Those of other services are described here, too, so that the description is the same wherever it is asked for.
    """
    for module in app.wiring.modules.values():
        for route in module.routes:
            yield module.name, route, app.call
    for route in operators_routes(app):
        yield "operations", route, app.operate
