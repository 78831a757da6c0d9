"""One line of a route table, as a plain ASGI endpoint."""

from typing import Any, Final

import msgspec
from starlette.types import Receive, Scope, Send

from craton.adapters.http.addresses import address_of_client
from craton.adapters.http.binding import Binding
from craton.adapters.http.body import header
from craton.adapters.http.callers import Callers
from craton.adapters.http.conditions import etag, is_known, wanted_versions
from craton.adapters.http.problems import BadRequest, of_validation
from craton.adapters.http.replies import REPLAYED, Headers, Reply, of_problem, of_value
from craton.application.api import OperationDefinition
from craton.application.command_keys import CommandKey
from craton.application.context import Caller, Context, Precondition, context
from craton.application.routes import DEFAULT_TIMEOUT_SECONDS, Route
from craton.domain import Id, world
from craton.runtime.commands.calls import Call
from craton.runtime.commands.results import Answer
from craton.runtime.commands.use_cases import MAX_KEY_LENGTH

MAX_POSITIONS: Final = 50
CREATED_INSTEAD: Final = frozenset({301, 302, 303, 307, 308})
"""Statuses that send a browser on. A script can't follow them to another site; if it accepts JSON alone, it is 201."""


class Endpoint:
    """Calls one operation and answers with its result; how a failure is answered is seen to where it is caught."""

    def __init__(self, call: Call, callers: Callers, route: Route, operation: OperationDefinition) -> None:
        self.route = route
        self.binding = Binding(route, operation)
        self._call = call
        self._callers = callers
        self._operation = operation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reply = await self._respond(scope, receive)
        await reply.send(send)

    async def _respond(self, scope: Scope, receive: Receive) -> Reply:
        caller = await self._callers.admit(self.route.access, scope)
        try:
            arguments = await self.binding.arguments(scope, receive, caller)
        except msgspec.ValidationError as invalid:
            return of_problem(of_validation(invalid))
        self.route.access.admit_to(caller, arguments)
        answer = await self._call(self._operation, arguments, self._context(scope, caller, arguments))
        return self._success(scope, answer)

    def _context(self, scope: Scope, caller: Caller, arguments: dict[str, Any]) -> Context:
        return Context(
            id=context().id,
            actor=caller.id or None,
            caller=caller,
            address=address_of_client(scope),
            key=command_key(scope) if self._operation.kind == "command" else None,
            deadline=world.monotonic() + DEFAULT_TIMEOUT_SECONDS,
            positions=_positions(scope),
            precondition=self._precondition(scope, arguments),
        )

    def _precondition(self, scope: Scope, arguments: dict[str, Any]) -> Precondition | None:
        """If-Match is about the resource that the path names. A weak tag never matches there."""
        if self._operation.kind == "query":
            return None
        if header(scope, b"if-none-match") is not None:
            raise BadRequest(400, "malformed-header", "If-None-Match goes with GET and HEAD; a command takes If-Match.")
        seen = wanted_versions(scope)
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
        if self.route.location is not None:
            fields = {"id": result} if isinstance(result, Id) else msgspec.structs.asdict(result)
            headers.append((b"location", self.route.location.format(**fields).encode()))
        version = getattr(result, "version", None)
        if type(version) is int:
            headers.append((b"etag", etag(version).encode()))
            tells_all = getattr(type(result), "version_tells_all", True)
            if self.route.method == "GET" and tells_all and is_known(scope, etag(version)):
                return Reply(304, headers, b"")
        if result is None:
            return Reply(204 if self.route.status == 200 else self.route.status, headers, b"")
        status = self.route.status
        if status in CREATED_INSTEAD and (header(scope, b"accept") or "").strip().lower() == "application/json":
            status = 201
        return of_value({"id": result} if isinstance(result, Id) else result, status, headers)


def command_key(scope: Scope) -> CommandKey | None:
    """The request's Idempotency-Key, None if it has none. Raises `BadRequest`."""
    key = header(scope, b"idempotency-key")
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_KEY_LENGTH or not key.isprintable() or not key.isascii():
        raise BadRequest(
            400,
            "malformed-header",
            f"Idempotency-Key must have 1 to {MAX_KEY_LENGTH} printable ASCII characters.",
        )
    return CommandKey(key)


def _positions(scope: Scope) -> dict[str, int]:
    """Read `ledger=42, ordering=7`."""
    text = header(scope, b"craton-position")
    if not text:
        return {}
    positions: dict[str, int] = {}
    for part in text.split(",")[:MAX_POSITIONS]:
        module, _, position = part.strip().partition("=")
        if not module or not position.isascii() or not position.isdigit() or len(position) > 18:
            raise BadRequest(400, "malformed-header", "Craton-Position must be such as ledger=42.")
        positions[module] = int(position)
    return positions
