"""Binds path, query and body to the parameters of an operation, by name."""

import re
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive, Scope

from craton.adapters.arguments import fields_of, fill, own_id
from craton.adapters.http.body import parse, read
from craton.adapters.http.head import head_of
from craton.adapters.http.problems import BadRequest
from craton.application.api import OperationDefinition
from craton.application.codec import convert
from craton.application.context import Caller
from craton.application.page import Paging
from craton.application.routes import Route

MAX_QUERY_FIELDS = 50
_WITH_BODY = ("POST", "PUT", "PATCH")


class Binding:
    """Fills an operation's parameters for one route. Path and query are text; the body is typed strictly."""

    def __init__(self, route: Route, operation: OperationDefinition) -> None:
        self.operation = operation
        self._name = re.sub(r"\W+", "_", f"{operation}_{route.method}{route.path}")
        self.in_path = tuple(
            part.strip("{}") for part in route.path.split("/") if part.startswith("{") and part.endswith("}")
        )
        self.caller = route.caller
        rest = [name for name in operation.parameters if name not in self.in_path and name != self.caller]
        self.paging = next((name for name in rest if operation.parameters[name] is Paging), None)
        rest = [name for name in rest if name != self.paging]
        self.has_body = route.method in _WITH_BODY
        self.in_query = () if self.has_body else tuple(rest)
        self.in_body = tuple(rest) if self.has_body else ()
        self.path_type = self._struct("Path", self.in_path)
        self.query_type = self._struct("Query", self.in_query, forbid_unknown_fields=True)
        self.body_type = self._struct("Body", self.in_body, forbid_unknown_fields=True)

    def _struct(self, what: str, names: tuple[str, ...], **options: Any) -> type[msgspec.Struct]:
        return fields_of(self.operation, f"{self._name}_{what}", names, **options)

    async def arguments(self, scope: Scope, receive: Receive, caller: Caller) -> dict[str, Any]:
        """Return the arguments. Raises `BadRequest`, `msgspec.ValidationError`, or `Unauthenticated`."""
        arguments: dict[str, Any] = {}
        if self.caller is not None:
            arguments[self.caller] = own_id(self.operation, self.caller, caller)
        if self.in_path:
            fill(arguments, convert(scope["path_params"], self.path_type, strict=False))
        if self.has_body:
            fill(arguments, convert(await self._body(scope, receive), self.body_type))
        query = _query(scope) if scope["query_string"] else {}
        if self.paging:
            arguments[self.paging] = Paging.lenient(query.pop("page", None), query.pop("page_size", None))
        if query or self.in_query:
            fill(arguments, convert(query, self.query_type, strict=False))
        return arguments

    async def _body(self, scope: Scope, receive: Receive) -> Any:
        body = await read(scope, receive)
        if not body:
            return {}
        if head_of(scope).media_type != "application/json":
            raise BadRequest(415, "unsupported-media-type", "The body must be application/json.")
        return parse(body)


def _query(scope: Scope) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            scope["query_string"].decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS
        )
    except ValueError:
        raise BadRequest(400, "malformed-query", f"The query has more than {MAX_QUERY_FIELDS} fields.") from None
    query = dict(pairs)
    if len(query) < len(pairs):
        raise BadRequest(400, "malformed-query", "The query has a field twice.")
    return query
