"""The routes that every application has and that need no token: health checks and metrics."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from craton.adapters.http.handlers import Handwritten
from craton.adapters.http.metrics import CONTENT_TYPE, Metrics
from craton.adapters.http.router import Line
from craton.application.access import public
from craton.runtime.app import App


def system_lines(app: App, metrics: Metrics) -> list[Line]:
    """The routes that tell whether the process runs, whether it can serve, and its metrics."""

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(_: Request) -> Response:
        failing = await app.failing()
        return JSONResponse(
            {"status": "failing" if failing else "ready", "failing": sorted(failing), "away": sorted(app.away)},
            503 if failing else 200,
            {"retry-after": "1"} if failing else {},
        )

    async def show_metrics(_: Request) -> Response:
        return Response(await metrics.text(app), media_type=CONTENT_TYPE)

    handlers = [("/health/live", live), ("/health/ready", ready), ("/metrics", show_metrics)]
    return [Line("the toolkit", "GET", path, Handwritten(handler, public, None)) for path, handler in handlers]
