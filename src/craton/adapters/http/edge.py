"""The path of every request: it gets an id, is routed, counted and answered, whatever happens."""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from craton.adapters.http import problems
from craton.adapters.http.metrics import Metrics
from craton.adapters.http.replies import Headers, of_error, of_problem
from craton.adapters.http.router import Line, Router
from craton.adapters.received import ClientGone
from craton.application.context import Context, entered
from craton.application.errors import Unavailable
from craton.domain import world

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
PAGE_POLICY: Final = (
    b"default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
)
"""What a page may load and do, unless its handler sets another policy."""
HUNG_UP: Final = 499
"""The status that is counted when the client has gone before its request was complete."""
_REQUEST: Final = "craton.request"
_STORABLE: Final = frozenset({200, 304})

log = structlog.get_logger("craton.http")


class _Request(msgspec.Struct):
    """What is learned about a request on its way. Middleware may copy the scope, but the copy refers to this too."""

    id: str
    line: Line | None = None
    status: int = 0


class Edge:
    """The ASGI application. `middleware` comes between it and the routes, the first outermost."""

    def __init__(self, router: Router, metrics: Metrics, middleware: tuple[Callable[[ASGIApp], ASGIApp], ...]) -> None:
        self._metrics = metrics
        self._inner: ASGIApp = _Dispatch(router)
        for wrap in reversed(middleware):
            self._inner = wrap(self._inner)
        if middleware:
            self._inner = _Guarded(self._inner)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"only HTTP is served here, not {scope['type']}")
        started = world.monotonic()
        context = Context()
        request = scope[_REQUEST] = _Request(context.id)
        name = (b"craton-request-id", context.id.encode())

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                request.status = message["status"]
                headers = message["headers"] = list(message.get("headers", ()))
                headers.append(name)
                _close(headers, request)
            await send(message)

        with entered(context):
            await self._inner(scope, receive, send_on)
        method = scope["method"] if scope["method"] in METHODS else "other"
        path = request.line.path if request.line is not None else "unmatched"
        self._metrics.observe(method, path, request.status, world.monotonic() - started)


class _Guarded:
    """Answers the errors of middleware."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _answered(self._application, scope, receive, send, scope[_REQUEST])


class _Dispatch:
    """Lets the endpoint from the route table answer."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request: _Request = scope[_REQUEST]
        request.line, scope["path_params"] = self._router.find(scope["method"], scope["path"])
        if request.line is not None:
            # Answers that middleware itself sends don't get here. An endpoint's error is answered here, so that the
            # problem passes through the middleware like any other answer.
            await _answered(request.line.endpoint, scope, receive, send, request)
        elif methods := self._router.methods(scope["path"]):
            allow = (b"allow", ", ".join(methods).encode())
            await of_problem(problems.not_allowed(scope["method"], methods), allow).send(send)
        else:
            await of_problem(problems.make(404, "not-found", "There is nothing here.")).send(send)


async def _answered(application: ASGIApp, scope: Scope, receive: Receive, send: Send, request: _Request) -> None:
    """Let the application answer; if that fails, send a problem, unless the answer has begun or the client has gone."""
    try:
        await application(scope, receive, send)
        return
    except ClientGone:
        request.status = HUNG_UP
        return
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or not task.cancelling():
            log.exception("a request was cancelled by its own code", method=scope["method"], path=scope["path"])
            reply = of_problem(problems.internal(request.id))
        else:
            reply = of_problem(problems.stopping(maybe_executed=scope["method"] not in ("GET", "HEAD")))
    except Exception as error:
        found = of_error(error)
        if found is None:
            log.exception("a request failed", method=scope["method"], path=scope["path"])
        elif isinstance(error, Unavailable):
            log.warning("unavailable", method=scope["method"], path=scope["path"], reason=str(error))
        reply = found or of_problem(problems.internal(request.id))
    if not request.status:
        await reply.send(send)


def _close(headers: Headers, request: _Request) -> None:
    """Add headers that forbid caching, sniffing and framing of an answer, unless its handler has set them."""
    said = {name.lower(): value for name, value in headers}
    if b"x-content-type-options" not in said:
        headers.append((b"x-content-type-options", b"nosniff"))
    if b"cache-control" not in said:
        storable = request.line is not None and request.line.may_be_stored and request.status in _STORABLE
        headers.append((b"cache-control", b"no-cache" if storable else b"no-store"))
    if said.get(b"content-type", b"").startswith(b"text/html") and b"content-security-policy" not in said:
        headers.append((b"content-security-policy", PAGE_POLICY))
