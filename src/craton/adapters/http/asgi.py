"""The ASGI application: every module's routes, and the system's own."""

from functools import partial
from importlib.resources import files
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from craton import __version__
from craton.adapters.http import problems
from craton.adapters.http.callers import finding_callers
from craton.adapters.http.endpoint import Endpoint
from craton.adapters.http.metrics import Metrics
from craton.adapters.http.openapi import document
from craton.adapters.http.sagas import saga_routes
from craton.adapters.http.system import describe_system, guarded, problem, system_routes
from craton.application.api import Operation
from craton.application.errors import WiringError
from craton.application.module import handler_asks
from craton.application.routes import Route as Line
from craton.runtime.app import App
from craton.runtime.sagas.desk import call_sagas

log = structlog.get_logger("craton.http")


def asgi(app: App) -> Starlette:
    """Return the ASGI application of a running `App`. Raises `WiringError` for two routes that are the same."""
    metrics = Metrics()
    find_caller = finding_callers(app)
    endpoints: list[tuple[str, Endpoint]] = []
    routes: list[Route] = []
    by_hand: list[tuple[str, Line]] = []
    owners: dict[tuple[str, str], str] = {}
    tables = [(module.name, module.routes, app.call) for module in app.modules.values()]
    if any(module.sagas for module in app.modules.values()):
        tables.append(("sagas", saga_routes, partial(call_sagas, app.running)))
    for name, table, call in tables:
        for line in table:
            if (line.method, line.path) in owners:
                both = f"{owners[line.method, line.path]} and {name}"
                raise WiringError(f"{line.method} {line.path} stands in the route tables twice: in {both}")
            owners[line.method, line.path] = name
            if isinstance(line.handler, Operation):
                endpoint = Endpoint(call, find_caller, line, line.handler, metrics)
                endpoints.append((name, endpoint))
                routes.append(Route(line.path, endpoint, methods=[line.method]))
            else:
                handler = partial(line.handler, **app.running[name].provide(handler_asks(line.handler)))
                by_hand.append((name, line))
                routes.append(Route(line.path, guarded(handler, line.access, find_caller), methods=[line.method]))
    openapi = document(app.name, __version__, endpoints, by_hand, guarded=find_caller is not None)
    openapi["paths"] |= describe_system(openapi["components"]["schemas"], guarded=find_caller is not None)
    docs = files("craton.adapters.http").joinpath("docs.html").read_text(encoding="utf-8")

    async def show_openapi(_: Request) -> Response:
        return JSONResponse(openapi)

    async def show_docs(_: Request) -> Response:
        return HTMLResponse(docs)

    application = Starlette(
        routes=[
            *sorted(routes, key=_literal_first),
            *system_routes(app, metrics, find_caller),
            Route("/openapi.json", show_openapi, methods=["GET"]),
            Route("/docs", show_docs, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _http_problem, Exception: _internal},
    )
    application.router.redirect_slashes = False  # the target of a redirect would be made from the client's own words
    return application


def _literal_first(route: Route) -> tuple[int, ...]:
    """`/transfers/batch` is tried before `/transfers/{id}`; else the order of the tables stays."""
    return tuple(part.startswith("{") for part in route.path.split("/"))


async def _http_problem(request: Request, error: Any) -> Response:
    codes = {
        404: ("not-found", "There is nothing here."),
        405: ("method-not-allowed", "Not with this method."),
    }
    code, detail = codes.get(error.status_code, ("refused", "The request was refused."))
    response = problem(problems.make(error.status_code, code, detail))
    response.headers.update(error.headers or {})
    return response


async def _internal(request: Request, error: Exception) -> Response:
    log.error("a request failed", path=request.url.path, exc_info=error)
    return problem(problems.make(500, "internal", "Something went wrong on our side."))
