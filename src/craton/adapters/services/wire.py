"""What services send each other: calls as JSON, in the forms that arguments and results have in every other call, and
pages of logs as MessagePack, because the payloads of events are texts that needn't be escaped there.

Arguments equal to their defaults aren't sent: a service of an older version, which doesn't know the parameter yet, can
still carry the call out.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from craton.application.api import OperationDefinition
from craton.application.codec import decode, decode_known, encode, is_same
from craton.application.command_keys import CommandKey
from craton.application.context import Caller, Context
from craton.application.errors import (
    AnswerNotKept,
    CallFailed,
    DeadlineExceeded,
    KeyReused,
    MisuseError,
    Unavailable,
)
from craton.domain import DomainError, world
from craton.ports import FeedPage, StoredEvent
from craton.runtime.commands.refusals import Refusal, as_data, as_error, family, is_known, unknown
from craton.runtime.commands.results import Answer

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
"""The limit for arguments and for answers."""
MAX_PAGE_BYTES: Final = 256 * 1024 * 1024
"""The limit for a page that one unit alone makes larger than pages are otherwise."""
NOT_BEGUN: Final = b"craton-not-begun"
"""The header by which a service says whether nothing was done; without it, an answer is somebody else's."""
SERVICE_HEADER: Final = "craton-service"
"""Names the service that calls, where it needn't prove which it is."""


class CallMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A call, with what travels with it."""

    arguments: msgspec.Raw
    id: str
    actor: str | None = None
    tenant: str | None = None
    correlation: str | None = None
    causation: str | None = None
    key: CommandKey | None = None
    seconds: float | None = None
    """How long the caller waits for the answer: clocks of machines differ, so this isn't a time."""
    positions: dict[str, int] = {}
    caller: Caller | None = None
    """The caller from outside, of an operator's request. Calls between modules don't pass it on."""

    @staticmethod
    def of(operation: OperationDefinition, arguments: Mapping[str, Any], context: Context) -> "CallMessage":
        defaults = operation.defaults
        sent = {
            name: value
            for name, value in arguments.items()
            if name not in defaults or not is_same(value, defaults[name])
        }
        return CallMessage(
            arguments=msgspec.Raw(encode(sent)),
            id=context.id,
            actor=context.actor,
            tenant=context.tenant,
            correlation=context.correlation,
            causation=context.causation,
            key=context.key,
            positions=context.positions,
            caller=context.caller,
        )

    def bound(self, operation: OperationDefinition) -> dict[str, Any]:
        """The arguments by name. Raises `msgspec.DecodeError`."""
        given = decode(operation.arguments, bytes(self.arguments))
        return {name: getattr(given, name) for name in operation.parameters}

    @property
    def context(self) -> Context:
        return Context(
            id=self.id,
            actor=self.actor,
            tenant=self.tenant,
            correlation=self.correlation,
            causation=self.causation,
            key=self.key,
            deadline=None if self.seconds is None else world.monotonic() + self.seconds,
            positions=self.positions,
            caller=self.caller,
        )


FailureKind = Literal["unavailable", "deadline", "key-reused", "answer-not-kept", "misuse", "failed", "not-begun"]


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A call that has ended without an answer."""

    kind: FailureKind
    reason: str = ""
    maybe_executed: bool = False
    retry_after: int = 1

    @staticmethod
    def of(error: Exception) -> "Failure | None":
        """None for an error that is nobody's message but a bug."""
        match error:
            case Unavailable():
                return Failure(
                    kind="deadline" if isinstance(error, DeadlineExceeded) else "unavailable",
                    reason=str(error),
                    maybe_executed=error.maybe_executed,
                    retry_after=error.retry_after,
                )
            case KeyReused():
                return Failure(kind="key-reused")
            case AnswerNotKept():
                return Failure(kind="answer-not-kept")
            case MisuseError():
                return Failure(kind="misuse", reason=str(error))
            case _:
                return None

    @property
    def error(self) -> Exception:
        match self.kind:
            case "unavailable" | "not-begun":
                return Unavailable(self.reason, maybe_executed=self.maybe_executed, retry_after=self.retry_after)
            case "deadline":
                return DeadlineExceeded(self.reason, maybe_executed=self.maybe_executed)
            case "key-reused":
                return KeyReused()
            case "answer-not-kept":
                return AnswerNotKept()
            case "misuse":
                return MisuseError(self.reason)
            case "failed":
                return CallFailed(self.reason)


class AnswerMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to a call, a refusal by the domain, or a failure."""

    result: msgspec.Raw = msgspec.Raw(b"null")
    position: int = 0
    replayed: bool = False
    module: str = ""
    refusal: Refusal | None = None
    text: str = ""
    """The refusal in words, its family, and whether it may be taken back: for a caller that doesn't know its class."""
    family: str = ""
    temporary: bool = False
    failure: Failure | None = None

    @staticmethod
    def of(operation: OperationDefinition, answer: Answer) -> "AnswerMessage":
        return AnswerMessage(
            result=msgspec.Raw(operation.encode_result(answer.result)),
            position=answer.position,
            replayed=answer.replayed,
            module=answer.module,
        )

    @staticmethod
    def of_refusal(refusal: DomainError) -> "AnswerMessage":
        return AnswerMessage(
            refusal=as_data(refusal),
            text=str(refusal),
            family=family(refusal),
            temporary=refusal.temporary,
            replayed=bool(refusal.__dict__.get("replayed")),
        )

    def answer(self, operation: OperationDefinition) -> Answer:
        """The answer. Raises the refusal or the failure, and `msgspec.DecodeError`."""
        if self.failure is not None:
            raise self.failure.error
        if self.refusal is not None:
            if is_known(self.refusal):
                refusal = as_error(self.refusal)
            else:
                refusal = unknown(self.refusal, self.text, self.family, temporary=self.temporary)
            if self.replayed:
                refusal.__dict__["replayed"] = True
            raise refusal
        result = decode_known(operation.result, bytes(self.result))
        return Answer(result, self.position, replayed=self.replayed, module=self.module)


class PageMessage(msgspec.Struct, frozen=True, array_like=True):
    """A page of a log: events of the types that were asked for, and the position up to which none is missing."""

    position: int
    events: Sequence[tuple[str, int, str, str, int, str, str, datetime, int, bool]]

    @staticmethod
    def of(events: Sequence[StoredEvent], position: int) -> "PageMessage":
        return PageMessage(position, [msgspec.structs.astuple(event) for event in events])

    @property
    def page(self) -> FeedPage:
        return FeedPage([StoredEvent(*event) for event in self.events], self.position)


class HeadMessage(msgspec.Struct, frozen=True, array_like=True):
    """How far a log goes, and the id of its last event."""

    head: int
    id: str
