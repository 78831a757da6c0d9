"""Describes one operation of the document: what a route takes, and how it may answer."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from craton.adapters.http.binding import Binding
from craton.adapters.http.endpoint import CREATED_INSTEAD, Endpoint
from craton.adapters.http.openapi.schemas import Schemas
from craton.adapters.http.openapi.shared import Schema, headers, problem_name
from craton.application.access import Access
from craton.application.limits import Limit
from craton.application.routes import Route
from craton.domain import Id

_QUERY_PROBLEMS: Final = (400, 404, 422, 500, 503, 504)
_COMMAND_PROBLEMS: Final = (400, 404, 408, 409, 412, 413, 415, 422, 429, 500, 503, 504)
_GUARD_PROBLEMS: Final = (401, 403)


class Describer:
    """Describes operations. `guarded`: the application authenticates callers."""

    def __init__(self, schemas: Schemas, *, guarded: bool) -> None:
        self._schemas = schemas
        self._guarded = guarded

    def of_endpoint(self, name: str, module: str, endpoint: Endpoint) -> Schema:
        route, binding = endpoint.route, endpoint.binding
        operation = binding.operation
        entry = self._entry(name, module, operation.doc, route.access, route.limit)
        entry["parameters"] = list(self._parameters(binding))
        if binding.in_body:
            schema = self._schemas[binding.body_type]
            required = any(field not in operation.defaults for field in binding.in_body)
            entry["requestBody"] = {"required": required, "content": {"application/json": {"schema": schema}}}
        problems = _COMMAND_PROBLEMS if operation.kind == "command" else _QUERY_PROBLEMS
        if route.limit is not None:
            problems = (*problems, 429)
        return self._answered(entry, self._successes(endpoint), problems)

    def of_handler(self, name: str, module: str, route: Route) -> Schema:
        """The description of a route that is written by hand: its docstring, its path, and how it may fail."""
        entry = self._entry(name, module, getattr(route.handler, "__doc__", None) or "", route.access)
        in_path = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
        entry["parameters"] = [_in_path(name, {"type": "string"}) for name in in_path]
        if route.method in ("POST", "PUT", "PATCH"):
            entry["requestBody"] = {"content": {"application/json": {"schema": {"type": "object"}}}}
        return self._answered(
            entry, {str(route.status): {"description": HTTPStatus(route.status).phrase}}, _COMMAND_PROBLEMS
        )

    def _entry(self, name: str, tag: str, doc: str, access: Access, limit: Limit | None = None) -> Schema:
        summary, _, rest = doc.strip().partition("\n")
        most = "" if limit is None else f"At most {limit.count} times in {limit.seconds} seconds for each {limit.by}."
        description = " ".join([*rest.split(), *most.split(), self._told(access)])
        security: list[Any] = [{"token": []}] if self._guarded and not access.public else []
        return {
            "operationId": name,
            "tags": [tag],
            "summary": summary or name,
            "description": description,
            "security": security,
        }

    def _answered(self, entry: Schema, successes: Schema, problems: Sequence[int]) -> Schema:
        failing = sorted({*problems, *(_GUARD_PROBLEMS if self._guarded else ())})
        entry["responses"] = successes | {
            str(status): {"$ref": f"#/components/responses/{problem_name(status)}"} for status in failing
        }
        return entry

    def _told(self, access: Access) -> str:
        """A sentence about the callers that are admitted."""
        if access.public or not self._guarded:
            return "It needs no token."
        roles = " or ".join(sorted(access.roles or ()))
        if access.owner is not None:
            return f"Only for the caller that `{access.owner}` names" + (f", or the role {roles}." if roles else ".")
        return f"Only for the role {roles}." if roles else "It needs a token."

    def _parameters(self, binding: Binding) -> Sequence[Schema]:
        shared = ["IdempotencyKey"] if binding.operation.kind == "command" else ["CratonPosition"]
        if binding.operation.kind == "command" and binding.in_path:
            shared.append("IfMatch")
        if has_version(binding):
            shared.append("IfNoneMatch")
        if binding.paging:
            shared += ["Page", "PageSize"]
        return [
            *(_in_path(name, schema) for name, _, schema in self._schemas.parameters(binding.path_type)),
            *(
                {"name": name, "in": "query", "required": required, "schema": schema}
                for name, required, schema in self._schemas.parameters(binding.query_type)
            ),
            *({"$ref": f"#/components/parameters/{name}"} for name in shared),
        ]

    def _successes(self, endpoint: Endpoint) -> Schema:
        route, operation = endpoint.route, endpoint.binding.operation
        told = ["Craton-Request-Id"]
        if operation.kind == "command":
            told += ["Craton-Position", "Idempotency-Replayed"]
        if route.location is not None:
            told.append("Location")
        if "version" in getattr(operation.result, "__struct_fields__", ()):
            told.append("ETag")
        if operation.result in (None, type(None)):
            status = 204 if route.status == 200 else route.status
            return {str(status): {"description": HTTPStatus(status).phrase, "headers": headers(told)}}
        schema = self._schemas[operation.result]
        if isinstance(operation.result, type) and issubclass(operation.result, Id):
            schema = {"type": "object", "title": "Made", "properties": {"id": schema}, "required": ["id"]}
        statuses = [route.status, *([201] if route.status in CREATED_INSTEAD else [])]
        answers = {
            str(status): {
                "description": HTTPStatus(status).phrase,
                "headers": headers(told),
                "content": {"application/json": {"schema": schema}},
            }
            for status in statuses
        }
        if has_version(endpoint.binding):
            answers["304"] = {"description": HTTPStatus(304).phrase, "headers": headers(["Craton-Request-Id", "ETag"])}
        return answers


def has_version(binding: Binding) -> bool:
    """Whether it is a query of something that has a version, which is its ETag."""
    fields = getattr(binding.operation.result, "__struct_fields__", ())
    return binding.operation.kind == "query" and not binding.has_body and "version" in fields


def _in_path(name: str, schema: Schema) -> Schema:
    examples = {"example": schema["examples"][0]} if "examples" in schema else {}
    return {"name": name, "in": "path", "required": True, "schema": schema, **examples}
