"""The OpenAPI 3.1 document, from the same table as the routes."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.types import ASGIApp

from craton import __version__
from craton.adapters.http.endpoint import Endpoint
from craton.adapters.http.problems import Problem
from craton.adapters.http.system import describe_system
from craton.application.codec import schema_of_scalar
from craton.application.page import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from craton.application.routes import Route
from craton.domain import Id
from craton.runtime.app import App

_REF: Final = "#/components/schemas/{name}"
_QUERY_PROBLEMS: Final = (400, 404, 422, 503, 504)
_COMMAND_PROBLEMS: Final = (400, 404, 408, 409, 412, 413, 415, 422, 429, 503, 504)
_HEADERS: Final = {
    "command": (
        (
            "Idempotency-Key",
            "The same key with the same request gives the same answer and no second effect.",
            "string",
        ),
        ("If-Match", "The version, as it stood in ETag, that the command relies on.", "string"),
    ),
    "query": (("Craton-Position", "Wait until the view has got there; from a command's answer.", "string"),),
}


Described = tuple[str, Route, ASGIApp]
"""A route, the module whose it is, and what answers it."""


def document(app: App, described: Sequence[Described]) -> dict[str, Any]:
    """Return the document of an application's routes; each is tagged with its module."""
    guarded = app.authenticate is not None
    endpoints = [(module, endpoint) for module, _, endpoint in described if isinstance(endpoint, Endpoint)]
    types = [kind for _, endpoint in endpoints for kind in _types(endpoint)]
    schemas, components = msgspec.json.schema_components(
        [Problem, *types], schema_hook=schema_of_scalar, ref_template=_REF
    )
    schema_of = iter(schemas[1:])
    paths: dict[str, dict[str, Any]] = {}
    for module, route, endpoint in described:
        if isinstance(endpoint, Endpoint):
            path, query, body, result = (next(schema_of) for _ in range(4))
            entry = _operation(module, endpoint, _Parts(components), path, query, body, result)
        else:
            entry = _described(module, route)
        if guarded:
            _close(entry, route)
        paths.setdefault(route.path, {})[route.method.lower()] = entry
    for _, endpoint in endpoints:
        for kind in _types(endpoint)[:3]:
            components.pop(kind.__name__, None)
    paths |= describe_system(components, guarded=guarded)
    return {
        "openapi": "3.1.0",
        "info": {"title": app.name, "version": __version__},
        "paths": paths,
        "components": {
            "schemas": components,
            **({"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}} if guarded else {}),
        },
    }


def _described(module: str, route: Route) -> dict[str, Any]:
    """What is known of a route that was written by hand: its docstring, and how it fails."""
    handler: Any = route.handler
    return {
        "operationId": f"{module}_{handler.__name__}",
        "tags": [module],
        "summary": (handler.__doc__ or "").partition("\n")[0],
        "requestBody": {"content": {"*/*": {}}},
        "responses": {
            str(route.status): {"description": HTTPStatus(route.status).phrase},
            **{str(status): _problem(status) for status in (*_COMMAND_PROBLEMS, 401)},
        },
    }


def _close(entry: dict[str, Any], route: Route) -> None:
    """Say of an operation that it wants a token, and what comes of a wrong one: where none is wanted, too."""
    if not route.access.public:
        entry["security"] = [{"token": []}]
    entry["responses"] |= {str(status): _problem(status) for status in (401, 403)}


class _Parts:
    """Looks through references to the object schemas of the request's parts."""

    def __init__(self, components: dict[str, Any]) -> None:
        self._components = components

    def resolve(self, schema: dict[str, Any]) -> dict[str, Any]:
        name = schema.get("$ref", "").rpartition("/")[2]
        found: dict[str, Any] = self._components[name] if name else schema
        return found


def _types(endpoint: Endpoint) -> tuple[Any, Any, Any, Any]:
    binding = endpoint.binding
    return binding.path_type, binding.query_type, binding.body_type, binding.operation.result


def _operation(
    module: str, endpoint: Endpoint, parts: _Parts, path: Any, query: Any, body: Any, result: Any
) -> dict[str, Any]:
    binding = endpoint.binding
    operation = binding.operation
    parameters = [*_parameters("path", parts.resolve(path)), *_parameters("query", parts.resolve(query))]
    if binding.paging:
        parameters += _paging()
    parameters += [
        {"name": name, "in": "header", "description": text, "schema": {"type": kind}}
        for name, text, kind in _HEADERS[operation.kind]
        if name != "If-Match" or binding.in_path
    ]
    entry: dict[str, Any] = {
        "operationId": f"{module}_{operation.name}",
        "tags": [module],
        "summary": operation.doc.partition("\n")[0],
        "parameters": parameters,
        "responses": _responses(endpoint, result),
    }
    if binding.in_body:
        schema = dict(parts.resolve(body))
        schema.pop("title", None)
        entry["requestBody"] = {
            "required": bool(schema.get("required")),
            "content": {"application/json": {"schema": schema}},
        }
    return entry


def _parameters(place: str, schema: dict[str, Any]) -> list[dict[str, Any]]:
    required = schema.get("required", ())
    return [
        {"name": name, "in": place, "required": place == "path" or name in required, "schema": kind}
        for name, kind in schema.get("properties", {}).items()
    ]


def _paging() -> list[dict[str, Any]]:
    note = "Values outside the range fall back to the default."
    size = {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": DEFAULT_PAGE_SIZE}
    return [
        {
            "name": "page",
            "in": "query",
            "description": note,
            "schema": {"type": "integer", "minimum": 1, "default": 1},
        },
        {"name": "page_size", "in": "query", "description": note, "schema": size},
    ]


def _responses(endpoint: Endpoint, result: Any) -> dict[str, Any]:
    route, operation = endpoint.route, endpoint.binding.operation
    answer = operation.result
    problems = _COMMAND_PROBLEMS if operation.kind == "command" else _QUERY_PROBLEMS
    responses: dict[str, Any] = {}
    if answer is None or answer is type(None):
        responses[str(204 if route.status == 200 else route.status)] = {"description": "Done."}
    else:
        if isinstance(answer, type) and issubclass(answer, Id):
            result = {"type": "object", "properties": {"id": result}, "required": ["id"]}
        responses[str(route.status)] = {
            "description": HTTPStatus(route.status).phrase,
            "content": {"application/json": {"schema": result}},
        }
    return responses | {str(status): _problem(status) for status in problems}


def _problem(status: int) -> dict[str, Any]:
    return {
        "description": HTTPStatus(status).phrase,
        "content": {"application/problem+json": {"schema": {"$ref": _REF.format(name="Problem")}}},
    }
