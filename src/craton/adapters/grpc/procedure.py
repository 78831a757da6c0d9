"""One line of a table of procedures: a call, from its message to its answer."""

from typing import Any, Final

import structlog
from google.protobuf.message import Message
from grpc import StatusCode
from grpc.aio import ServicerContext

from craton.adapters.addresses import address_of
from craton.adapters.callers import Callers, bearer_token, is_client_key
from craton.adapters.grpc.binding import Binding
from craton.adapters.grpc.statuses import Failure, Malformed, failure_of
from craton.application.command_keys import CommandKey
from craton.application.context import Context, entered
from craton.application.errors import Unavailable
from craton.application.routes import DEFAULT_TIMEOUT_SECONDS
from craton.application.rpcs import Rpc
from craton.domain import world
from craton.runtime.app import App
from craton.runtime.commands.results import Answer
from craton.runtime.commands.use_cases import MAX_KEY_LENGTH

DETAILS: Final = "grpc-status-details-bin"

log = structlog.get_logger("craton.grpc")


class Procedure:
    """Calls one operation and answers with its result or with a status.

    Metadata are the headers of HTTP: `authorization`, `idempotency-key`; with the answer come `craton-request-id` and
    `craton-position`.
    """

    def __init__(self, app: App, callers: Callers, rpc: Rpc, binding: Binding) -> None:
        self._app = app
        self._callers = callers
        self._rpc = rpc
        self._binding = binding

    async def respond(self, wire: bytes, call: ServicerContext[Any, Any]) -> Message:
        context = Context(address=_address(call.peer()), deadline=_deadline(call))
        told = [("craton-request-id", context.id)]
        try:
            with entered(context):
                answer = await self._answer(self._binding.read(wire), call, context)
                message = self._binding.answered(answer.result)
        except Exception as error:
            failure = failure_of(error, self._app.name)
            if failure is None:
                log.exception("a call failed", procedure=self._rpc.name, request_id=context.id)
                sentence = f"An error occurred on the server; the log describes it under {context.id}."
                failure = Failure(StatusCode.INTERNAL, sentence)
            elif isinstance(error, Unavailable):
                log.warning("unavailable", procedure=self._rpc.name, reason=str(error))
            await call.abort(failure.code, failure.sentence, (*told, (DETAILS, failure.packed())))
        if answer.position:
            told.append(("craton-position", f"{answer.module}={answer.position}"))
        if answer.replayed:
            told.append(("idempotency-replayed", "true"))
        call.set_trailing_metadata(tuple(told))
        return message

    async def _answer(self, message: Message, call: ServicerContext[Any, Any], context: Context) -> Answer:
        said = _metadata(call)
        access, operation = self._rpc.access, self._rpc.operation
        caller = await self._callers.admit(access, bearer_token(said.get("authorization")))
        arguments = self._binding.arguments(message, caller)
        access.admit_to(caller, arguments)
        asked = Context(
            id=context.id,
            actor=caller.id or None,
            caller=caller,
            address=context.address,
            key=_key(said.get("idempotency-key")) if operation.kind == "command" else None,
            deadline=context.deadline,
        )
        return await self._app.call(operation, arguments, asked)


def _metadata(call: ServicerContext[Any, Any]) -> dict[str, str]:
    said: dict[str, str] = {}
    for name, value in call.invocation_metadata() or ():
        if name in said and name in ("authorization", "idempotency-key"):
            raise Malformed(f"The metadata have {name} twice.")
        said[name] = value if isinstance(value, str) else value.decode("latin-1")
    return said


def _key(text: str | None) -> CommandKey | None:
    if text is None:
        return None
    if not is_client_key(text):
        raise Malformed(f"idempotency-key must have 1 to {MAX_KEY_LENGTH} printable ASCII characters.")
    return CommandKey(text)


def _deadline(call: ServicerContext[Any, Any]) -> float:
    """The caller's deadline, but never later than that of any other request."""
    left = call.time_remaining()
    return world.monotonic() + (DEFAULT_TIMEOUT_SECONDS if left is None else min(left, DEFAULT_TIMEOUT_SECONDS))


def _address(peer: str) -> str:
    """The network address in a peer such as `ipv4:127.0.0.1:4711` or `ipv6:%5B::1%5D:4711`."""
    host = peer.partition(":")[2].rpartition(":")[0]
    return address_of(host.replace("%5B", "").replace("%5D", "").strip("[]"))
