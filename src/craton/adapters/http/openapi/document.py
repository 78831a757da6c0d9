"""The whole document."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from starlette.types import ASGIApp

from craton.adapters.http.endpoint import Endpoint
from craton.adapters.http.openapi.operations import Describer
from craton.adapters.http.openapi.schemas import Schemas
from craton.adapters.http.openapi.shared import HEADERS, PARAMETERS, Schema, problem_name, problem_response, references
from craton.adapters.http.problems import Problem
from craton.application.routes import Route
from craton.runtime.app import App
from craton.runtime.operations.api import Operations

Described = tuple[str, Route, ASGIApp]
"""A route, its module's name, and its endpoint."""

_OPERATIONS: Final = (Operations.__doc__ or "").strip()


def document(app: App, described: Sequence[Described]) -> Schema:
    """Return the document of an application's routes; each is tagged with its module."""
    guarded = app.authenticate is not None
    names = _names(described)
    bindings = {
        name: endpoint.binding
        for name, (_, _, endpoint) in zip(names, described, strict=True)
        if isinstance(endpoint, Endpoint)
    }
    schemas = Schemas(
        [Problem, *(binding.operation.result for binding in bindings.values())],
        bodies={binding.body_type: f"{_camel(name)}Body" for name, binding in bindings.items() if binding.in_body},
        parameters=[kind for binding in bindings.values() for kind in (binding.path_type, binding.query_type)],
    )
    describe = Describer(schemas, guarded=guarded)
    paths: dict[str, Schema] = {}
    for name, (module, route, endpoint) in zip(names, described, strict=True):
        if isinstance(endpoint, Endpoint):
            entry = describe.of_endpoint(name, module, endpoint)
        else:
            entry = describe.of_handler(name, module, route)
        paths.setdefault(route.path, {})[route.method.lower()] = entry
    components: Schema = {
        "schemas": schemas.components,
        "parameters": PARAMETERS,
        "headers": HEADERS,
        "responses": {problem_name(status): problem_response(status) for status in _STATUSES},
    }
    if guarded:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    return {
        "openapi": "3.1.0",
        "info": _info(app),
        "servers": [{"url": "/"}],
        "tags": list(_tags(app, described)),
        "paths": paths,
        "components": _used(components, paths),
    }


_STATUSES: Final = (400, 401, 403, 404, 408, 409, 412, 413, 415, 422, 429, 500, 503, 504)


def _names(described: Sequence[Described]) -> list[str]:
    """A name such as `ordering.place` for each route; an operation's second route is `ordering.place_2`."""
    names: list[str] = []
    count: Counter[str] = Counter()
    for module, route, endpoint in described:
        handler: Any = route.handler
        name = f"{module}.{handler.name if isinstance(endpoint, Endpoint) else handler.__name__}"
        count[name] += 1
        names.append(name if count[name] == 1 else f"{name}_{count[name]}")
    return names


def _camel(name: str) -> str:
    """The name in camel case: `OrderingPlace` for `ordering.place`."""
    return "".join(part[:1].upper() + part[1:] for part in name.replace(".", "_").split("_"))


def _info(app: App) -> Schema:
    about = app.about
    info: Schema = {"title": app.name, "version": about.version}
    if about.description:
        info["description"] = about.description
    if about.contact:
        kind = "url" if "://" in about.contact else "email" if "@" in about.contact else "name"
        info["contact"] = {kind: about.contact}
    if about.licence:
        info["license"] = {"name": about.licence, "identifier": about.licence}
    return info


def _tags(app: App, described: Sequence[Described]) -> Iterator[Schema]:
    for name in dict.fromkeys(module for module, _, _ in described):
        if name in app.wiring.modules:
            text = (app.wiring.modules[name].api.__doc__ or "").strip().partition("\n")[0]
            yield {"name": name, "description": text or f"The module {name}."}
        else:
            yield {"name": name, "description": _OPERATIONS}


def _used(components: dict[str, Schema], paths: Schema) -> Schema:
    """The components that something refers to."""
    waiting: list[Any] = [paths]
    used: set[tuple[str, str]] = set()
    while waiting:
        for reference in references(waiting.pop()):
            _, _, kind, name = reference.split("/")
            if (kind, name) not in used:
                used.add((kind, name))
                waiting.append(components[kind][name])
    return {
        kind: {name: part for name, part in parts.items() if kind == "securitySchemes" or (kind, name) in used}
        for kind, parts in components.items()
    }
