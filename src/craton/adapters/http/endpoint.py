"""One line of a route table, as a plain ASGI endpoint."""

from typing import Any, Final

import msgspec
from starlette.types import Receive, Scope, Send

from craton.adapters.callers import Callers
from craton.adapters.http import problems
from craton.adapters.http.binding import Binding
from craton.adapters.http.head import RequestHead, etag, head_of
from craton.adapters.http.problems import BadRequest, of_validation
from craton.adapters.http.replies import REPLAYED, Headers, Reply, limit_headers, of_problem, of_value
from craton.application.api import OperationDefinition
from craton.application.context import Caller, Context, Precondition, context
from craton.application.routes import DEFAULT_TIMEOUT_SECONDS, Route
from craton.domain import Id, world
from craton.runtime.commands.calls import Call
from craton.runtime.commands.results import Answer
from craton.runtime.limits import Limits

CREATED_INSTEAD: Final = frozenset({301, 302, 303, 307, 308})
"""Statuses that redirect a browser. A script can't follow them to another site; if it accepts only JSON, it gets
201."""


class Endpoint:
    """Calls one operation and answers with its result. Failures are answered by `Edge`."""

    def __init__(
        self, call: Call, callers: Callers, route: Route, operation: OperationDefinition, limits: Limits | None
    ) -> None:
        self.route = route
        self.binding = Binding(route, operation)
        self._call = call
        self._callers = callers
        self._operation = operation
        self._name = f"{route.method} {route.path}"
        self._limits = None if route.limit is None else limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reply = await self._respond(scope, receive)
        await reply.send(send)

    async def _respond(self, scope: Scope, receive: Receive) -> Reply:
        caller = await self._callers.admit(self.route.access, head_of(scope).token)
        told: Headers = []
        if self._limits is not None and self.route.limit is not None:
            subject = caller.id if self.route.limit.by == "caller" and caller.id else head_of(scope).address
            taken = await self._limits.take(self._name, self.route.limit, subject)
            told = limit_headers(self.route.limit, taken)
            if not taken.is_admitted:
                return of_problem(problems.too_many(taken.seconds), *told, retry_after=taken.seconds)
        try:
            arguments = await self.binding.arguments(scope, receive, caller)
        except msgspec.ValidationError as invalid:
            return of_problem(of_validation(invalid))
        self.route.access.admit_to(caller, arguments)
        answer = await self._call(self._operation, arguments, self._context(scope, caller, arguments))
        reply = self._success(scope, answer)
        return reply._replace(headers=[*reply.headers, *told]) if told else reply

    def _context(self, scope: Scope, caller: Caller, arguments: dict[str, Any]) -> Context:
        head = head_of(scope)
        return Context(
            id=context().id,
            actor=caller.id or None,
            caller=caller,
            address=head.address,
            key=head.command_key if self._operation.kind == "command" else None,
            deadline=world.monotonic() + DEFAULT_TIMEOUT_SECONDS,
            positions=head.positions,
            precondition=self._precondition(head, arguments),
        )

    def _precondition(self, head: RequestHead, arguments: dict[str, Any]) -> Precondition | None:
        """The versions from If-Match, for the resource that the path names. A weak tag never matches there."""
        if self._operation.kind == "query":
            return None
        if head.get(b"if-none-match") is not None:
            raise BadRequest(400, "malformed-header", "If-None-Match goes with GET and HEAD; a command takes If-Match.")
        seen = head.wanted_versions
        if seen is None:
            return None
        subjects = tuple(arguments[name] for name in self.binding.in_path if isinstance(arguments[name], str))
        return Precondition(subjects, None if isinstance(seen, str) else seen)

    def _success(self, scope: Scope, answer: Answer) -> Reply:
        result: Any = answer.result
        headers: Headers = []
        if answer.position:
            headers.append((b"craton-position", f"{answer.module}={answer.position}".encode()))
        if answer.replayed:
            headers.append(REPLAYED)
        if answer.missing:
            headers.append((b"craton-missing", ", ".join(answer.missing).encode()))
        if self.route.location is not None:
            fields = {"id": result} if isinstance(result, Id) else msgspec.structs.asdict(result)
            headers.append((b"location", self.route.location.format(**fields).encode()))
        version = getattr(result, "version", None)
        if type(version) is int:
            headers.append((b"etag", etag(version).encode()))
            tells_all = getattr(type(result), "version_tells_all", True)
            if self.route.method == "GET" and tells_all and head_of(scope).knows(etag(version)):
                return Reply(304, headers, b"")
        if result is None:
            return Reply(204 if self.route.status == 200 else self.route.status, headers, b"")
        status = self.route.status
        if status in CREATED_INSTEAD and head_of(scope).accepts_json_alone:
            status = 201
        return of_value({"id": result} if isinstance(result, Id) else result, status, headers)
