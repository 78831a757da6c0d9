"""The routes that every application has: health, metrics, and what an operator needs."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from craton.adapters.http import problems
from craton.adapters.http.body import ClientGone
from craton.adapters.http.callers import FindCaller, admit
from craton.adapters.http.endpoint import idempotency_key
from craton.adapters.http.metrics import CONTENT_TYPE, Metrics
from craton.adapters.http.problems import BadRequest
from craton.application.access import Access, only, public
from craton.application.codec import encode, fingerprint
from craton.application.context import Context, entered
from craton.application.errors import KeyReused, MisuseError, Unavailable
from craton.application.routes import DEFAULT_TIMEOUT_SECONDS
from craton.domain import DomainError
from craton.ports import StoredResult, StoreUnavailable, UnitRefused
from craton.runtime.app import App
from craton.runtime.attempt import in_time
from craton.runtime.projections import Progress, ProjectionRunner

CONTENT_TYPE_OF_PROBLEMS = problems.CONTENT_TYPE.decode()

ADMIN = only("admin")

Handler = Callable[[Request], Awaitable[Response]]
Verb = Callable[[ProjectionRunner, StoredResult | None], Awaitable[Progress]]


def system_routes(app: App, metrics: Metrics, find_caller: FindCaller | None) -> list[Route]:
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
        runner = _find(app, request)
        return _not_found() if runner is None else _json(await runner.progress())

    async def rebuild(request: Request) -> Response:
        location = f"/v1/admin/projections/{request.path_params['name']}"
        return await _once(app, request, ProjectionRunner.rebuild, 202, {"location": location})

    async def roll_back(request: Request) -> Response:
        try:
            return await _once(app, request, ProjectionRunner.roll_back, 200, {})
        except MisuseError as refused:
            return problem(problems.make(409, "no-rollback", f"{refused}."))

    return [
        Route("/health/live", live, methods=["GET"]),
        Route("/health/ready", ready, methods=["GET"]),
        Route("/metrics", guarded(show_metrics, public, find_caller), methods=["GET"]),
        Route("/v1/admin/projections", guarded(bounded(projections), ADMIN, find_caller), methods=["GET"]),
        Route("/v1/admin/projections/{name}", guarded(bounded(progress), ADMIN, find_caller), methods=["GET"]),
        Route("/v1/admin/projections/{name}/rebuild", guarded(bounded(rebuild), ADMIN, find_caller), methods=["POST"]),
        Route(
            "/v1/admin/projections/{name}/rollback", guarded(bounded(roll_back), ADMIN, find_caller), methods=["POST"]
        ),
    ]


def problem(what: problems.Problem, retry_after: int = 1) -> Response:
    status, headers, body = problems.response(what, [], retry_after=retry_after)
    return Response(body, status, {name.decode(): value.decode() for name, value in headers})


async def _once(app: App, request: Request, verb: Verb, status: int, headers: dict[str, str]) -> Response:
    """Carry a verb out, or give the answer that its Idempotency-Key was given before."""
    runner = _find(app, request)
    if runner is None:
        return _not_found()
    key = idempotency_key(request.scope)
    if key is None:
        return _json(await verb(runner, None), status, headers)
    asked = StoredResult("admin", key, fingerprint([request.method, request.url.path]), "")
    before = await runner.replay(asked)
    if before is not None:
        return _json(before, status, headers | {"idempotency-replayed": "true"})
    return _json(await verb(runner, asked), status, headers)


def bounded(handler: Handler) -> Handler:
    """A handler that asks stores itself, and is answered by its deadline all the same."""

    async def in_time_or_not(request: Request) -> Response:
        return await in_time(DEFAULT_TIMEOUT_SECONDS, handler(request), executed=request.method != "GET")

    return in_time_or_not


def guarded(handler: Handler, access: Access, find_caller: FindCaller | None) -> Handler:
    """A handler behind its guard, whose failures are answered as problems."""

    async def guard(request: Request) -> Response:
        try:
            caller = await admit(find_caller, access, request.scope)
            actor = None if caller is None else caller.id
            with entered(Context(actor=actor, caller=caller, deadline=time.monotonic() + DEFAULT_TIMEOUT_SECONDS)):
                return await handler(request)
        except BadRequest as bad:
            return problem(bad.problem)
        except KeyReused as reused:
            return problem(problems.of_key(reused))
        except DomainError as refusal:
            return problem(problems.of_domain(refusal), problems.retry_after(refusal))
        except Unavailable as unavailable:
            return problem(problems.of_unavailable(unavailable), unavailable.retry_after)
        except ClientGone:
            return Response(status_code=499)  # nobody hears it
        except asyncio.CancelledError:
            return problem(problems.stopping(maybe_executed=request.method not in ("GET", "HEAD")))
        except UnitRefused:
            return problem(problems.make(503, "unavailable", "Another was faster; try again."))
        except StoreUnavailable:
            return problem(problems.make(503, "unavailable", "The store can't be reached now; try again."))

    return guard


def _find(app: App, request: Request) -> ProjectionRunner | None:
    """The projection that the path names, None if it names none. Raises `BadRequest` if it names more than one."""
    name = request.path_params["name"]
    found = app.find_projections(name)
    if len(found) > 1:
        full = ", ".join(full for full, runner in app.projections.items() if runner in found)
        raise BadRequest(422, "ambiguous-projection", f"{name} names more than one projection: {full}.")
    return found[0] if found else None


def _not_found() -> Response:
    return problem(problems.make(404, "projection-not-found", "There is no such projection."))


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(encode(value), status, headers, "application/json")


def describe_system(components: dict[str, Any], *, guarded: bool) -> dict[str, Any]:
    """The admin routes' part of the OpenAPI document; the schema of their answer is added to the components.

    `guarded`: they want an administrator's token.
    """
    (answer,), schemas = msgspec.json.schema_components((Progress,), ref_template="#/components/schemas/{name}")
    components.update(schemas)
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
    key = {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string"}}
    failure = {"content": {CONTENT_TYPE_OF_PROBLEMS: {"schema": {"$ref": "#/components/schemas/Problem"}}}}

    def entry(verb: str, summary: str, status: str, schema: Any, parameters: list[Any]) -> dict[str, Any]:
        content = {"application/json": {"schema": schema}}
        codes = ("400", "404", "409", "422", "503", *(("401", "403") if guarded else ()))
        failures = {code: {"description": "A problem.", **failure} for code in codes}
        return {
            **({"security": [{"token": []}]} if guarded else {}),
            "operationId": f"admin_{verb}",
            "tags": ["admin"],
            "summary": summary,
            "parameters": parameters,
            "responses": {status: {"description": summary, "content": content}, **failures},
        }

    every = {"type": "array", "items": answer}
    path = "/v1/admin/projections"
    return {
        path: {"get": entry("projections", "All projections.", "200", every, [])},
        f"{path}/{{name}}": {"get": entry("projection", "How a projection is doing.", "200", answer, [name])},
        f"{path}/{{name}}/rebuild": {"post": entry("rebuild", "Build it anew.", "202", answer, [name, key])},
        f"{path}/{{name}}/rollback": {"post": entry("rollback", "Go back by one.", "200", answer, [name, key])},
    }
