"""The routes that every application has: health, metrics, and what an operator needs."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from craton.adapters.http.callers import Callers
from craton.adapters.http.endpoint import command_key
from craton.adapters.http.handlers import Handwritten, bounded
from craton.adapters.http.metrics import CONTENT_TYPE, Metrics
from craton.adapters.http.problems import BadRequest
from craton.adapters.http.router import Line
from craton.application.access import only, public
from craton.application.codec import decode, encode, encode_text, fingerprint
from craton.application.errors import KeyReused, MisuseError
from craton.domain.world import now
from craton.ports import Changeset
from craton.runtime.app import App
from craton.runtime.commands.results import Request as Asked
from craton.runtime.projections.projection import CommitWith, ProjectionProgress, RunningProjection

PROJECTIONS: Final = "/v1/admin/projections"
ADMIN: Final = only("admin")

Verb = Callable[[RunningProjection, CommitWith], Awaitable[ProjectionProgress]]


def system_lines(app: App, metrics: Metrics, callers: Callers) -> list[Line]:
    """Health and metrics, and the projections' admin routes."""

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(_: Request) -> Response:
        failing = await app.failing()
        return JSONResponse(
            {"status": "failing" if failing else "ready", "failing": sorted(failing)},
            503 if failing else 200,
            {"retry-after": "1"} if failing else {},
        )

    async def show_metrics(_: Request) -> Response:
        return Response(await metrics.text(app), media_type=CONTENT_TYPE)

    async def projections(_: Request) -> Response:
        return _json([await runner.progress() for runner in app.projections.values()])

    async def progress(request: Request) -> Response:
        return _json(await _find(app, request).progress())

    async def rebuild(request: Request) -> Response:
        location = f"{PROJECTIONS}/{request.path_params['name']}"
        return await _once(_find(app, request), request, RunningProjection.rebuild, 202, {"location": location})

    async def roll_back(request: Request) -> Response:
        try:
            return await _once(_find(app, request), request, RunningProjection.roll_back, 200, {})
        except MisuseError as refused:
            raise BadRequest(409, "no-rollback", f"{refused}.") from None

    handlers = [
        ("GET", "/health/live", live, public),
        ("GET", "/health/ready", ready, public),
        ("GET", "/metrics", show_metrics, public),
        ("GET", PROJECTIONS, bounded(projections), ADMIN),
        ("GET", f"{PROJECTIONS}/{{name}}", bounded(progress), ADMIN),
        ("POST", f"{PROJECTIONS}/{{name}}/rebuild", bounded(rebuild), ADMIN),
        ("POST", f"{PROJECTIONS}/{{name}}/rollback", bounded(roll_back), ADMIN),
    ]
    return [
        Line("the toolkit", method, path, Handwritten(handler, access, None if access.public else callers))
        for method, path, handler, access in handlers
    ]


async def _once(
    runner: RunningProjection, request: Request, verb: Verb, status: int, headers: dict[str, str]
) -> Response:
    """Carry a verb out, or give the answer that its Idempotency-Key was given before."""
    key = command_key(request.scope)
    asked = None if key is None else Asked("admin", key.text, fingerprint([request.method, request.url.path]), now())
    store = runner.store
    before = None if asked is None else await store.find_result(asked.scope, asked.key)
    if asked is not None and before is not None:
        if before.fingerprint != asked.fingerprint:
            raise KeyReused()
        replayed = headers | {"idempotency-replayed": "true"}
        return _json(decode(ProjectionProgress, before.outcome), status, replayed)

    def answered(progress: ProjectionProgress) -> Changeset:
        return Changeset(result=None if asked is None else asked.answered(encode_text(progress)))

    return _json(await verb(runner, answered), status, headers)


def _find(app: App, request: Request) -> RunningProjection:
    """The projection that the path names. Raises `BadRequest` if it names none, or more than one."""
    name = request.path_params["name"]
    found = app.find_projections(name)
    if len(found) > 1:
        full = ", ".join(full for full, runner in app.projections.items() if runner in found)
        raise BadRequest(422, "ambiguous-projection", f"{name} names more than one projection: {full}.")
    if not found:
        raise BadRequest(404, "projection-not-found", "There is no such projection.")
    return found[0]


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(encode(value), status, headers, "application/json")
