"""One line of a route table, as a plain ASGI endpoint."""

import asyncio
import re
import time
from typing import Any, Final

import msgspec
import structlog
from starlette.types import Receive, Scope, Send

from craton.adapters.http import problems
from craton.adapters.http.binding import Binding
from craton.adapters.http.body import ClientGone, header
from craton.adapters.http.callers import FindCaller, admit
from craton.adapters.http.metrics import Metrics
from craton.adapters.http.problems import BadRequest
from craton.application.api import Operation
from craton.application.codec import encode
from craton.application.context import Caller, Context, Precondition
from craton.application.errors import AnswerNotKept, KeyReused, Unavailable
from craton.application.routes import DEFAULT_TIMEOUT_SECONDS, Route
from craton.domain import DomainError, Id
from craton.runtime.calls import Call
from craton.runtime.use_cases import MAX_KEY_LENGTH, Answer

MAX_POSITIONS: Final = 50
_VERSION: Final = re.compile(r'"(0|[1-9][0-9]{0,17})"', re.ASCII).fullmatch
_JSON: Final = (b"content-type", b"application/json")
_REPLAYED: Final = (b"idempotency-replayed", b"true")

Response = tuple[int, list[tuple[bytes, bytes]], bytes]

log = structlog.get_logger("craton.http")


class Endpoint:
    """Calls one operation and answers with its result, or with a problem."""

    def __init__(
        self, call: Call, find_caller: FindCaller | None, route: Route, operation: Operation, metrics: Metrics
    ) -> None:
        self.route = route
        self.binding = Binding(route, operation)
        self._call = call
        self._find_caller = find_caller
        self._operation = operation
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        try:
            status, headers, body = await self._respond(scope, receive)
        except ClientGone:
            return
        self._metrics.observe(self.route.method, self.route.path, status, time.perf_counter() - started)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _respond(self, scope: Scope, receive: Receive) -> Response:
        try:
            caller = await admit(self._find_caller, self.route.access, scope)
            try:
                arguments = await self.binding.arguments(scope, receive, caller)
            except msgspec.ValidationError as invalid:
                return problems.response(problems.of_validation(invalid), [])
            self.route.access.admit_to(caller, arguments)
            answer = await self._call(self._operation, arguments, self._context(scope, caller, arguments))
            return self._success(answer)
        except BadRequest as bad:
            return problems.response(bad.problem, [])
        except (KeyReused, AnswerNotKept) as used:
            return problems.response(problems.of_key(used), [])
        except DomainError as refusal:
            return problems.response(
                problems.of_domain(refusal),
                [_REPLAYED] if getattr(refusal, "replayed", False) else [],
                retry_after=problems.retry_after(refusal),
            )
        except Unavailable as unavailable:
            log.warning("unavailable", operation=str(self._operation), reason=str(unavailable))
            problem = problems.of_unavailable(unavailable)
            return problems.response(problem, [], retry_after=unavailable.retry_after)
        except ClientGone:
            raise
        except asyncio.CancelledError:
            return problems.response(problems.stopping(maybe_executed=self._operation.kind == "command"), [])
        except Exception:
            log.exception("a request failed", operation=str(self._operation))
            return problems.response(problems.make(500, "internal", "Something went wrong on our side."), [])

    def _context(self, scope: Scope, caller: Caller | None, arguments: dict[str, Any]) -> Context:
        return Context(
            actor=None if caller is None else caller.id,
            caller=caller,
            key=idempotency_key(scope) if self._operation.kind == "command" else None,
            deadline=time.monotonic() + DEFAULT_TIMEOUT_SECONDS,
            positions=_positions(scope),
            precondition=self._precondition(scope, arguments),
        )

    def _precondition(self, scope: Scope, arguments: dict[str, Any]) -> Precondition | None:
        """If-Match is about the resource that the path names."""
        seen = header(scope, b"if-match")
        if seen is None or self._operation.kind == "query":
            return None
        match = _VERSION(seen.strip())
        if match is None and seen.strip() != "*":
            raise BadRequest(
                400, "malformed-header", 'If-Match must hold one version as it stood in ETag, such as "3".'
            )
        subjects = tuple(arguments[name] for name in self.binding.in_path if isinstance(arguments[name], str))
        return Precondition(subjects, int(match[1]) if match else None)

    def _success(self, answer: Answer) -> Response:
        result: Any = answer.result
        headers: list[tuple[bytes, bytes]] = []
        if answer.position:
            headers.append((b"craton-position", f"{answer.module}={answer.position}".encode()))
        if answer.replayed:
            headers.append(_REPLAYED)
        if self.route.location is not None:
            fields = {"id": result} if isinstance(result, Id) else msgspec.structs.asdict(result)
            headers.append((b"location", self.route.location.format(**fields).encode()))
        version = getattr(result, "version", None)
        if type(version) is int:
            headers.append((b"etag", b'"%d"' % version))
        if result is None:
            return (204 if self.route.status == 200 else self.route.status), headers, b""
        body = encode({"id": result} if isinstance(result, Id) else result)
        return self.route.status, [_JSON, (b"content-length", b"%d" % len(body)), *headers], body


def idempotency_key(scope: Scope) -> str | None:
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
    return key


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
