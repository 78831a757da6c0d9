"""Answers under idempotency keys: how they are kept, and how a repeated request gets them."""

from datetime import datetime
from typing import Any

import msgspec
import structlog

from craton.application.api import FINGERPRINT_FORM, OperationDefinition
from craton.application.codec import decode, encode_text, encode_to_keep, holds_secrets
from craton.application.errors import AnswerNotKept, KeyReused, Unavailable
from craton.domain import DomainError
from craton.ports import Records, StoredResult, StoreUnavailable
from craton.runtime.commands.refusals import Refusal, RefusedBefore, as_data, as_error

log = structlog.get_logger("craton.calls")


class Answer(msgspec.Struct, frozen=True):
    """The answer to a command or query; `position` is that of the last event it recorded, 0 if it recorded none."""

    result: Any
    position: int = 0
    replayed: bool = False
    module: str = ""
    """The module whose log has this position."""
    missing: tuple[str, ...] = ()
    """The services that should have answered, too, and haven't."""


class Request(msgspec.Struct, frozen=True):
    """A client's request under a key. `scope` is caller and operation, `fingerprint` that of the arguments."""

    scope: str
    key: str
    fingerprint: str
    time: datetime
    """When the request was made."""

    def answered(self, outcome: str) -> StoredResult:
        """The answer in its stored form."""
        return StoredResult(self.scope, self.key, self.fingerprint, outcome, self.time)


class _KeptAnswer(msgspec.Struct, frozen=True):
    """An answer in its stored form."""

    result: msgspec.Raw = msgspec.Raw(b"null")
    refusal: Refusal | None = None
    withheld: bool = False
    """Whether the answer itself isn't kept, because it may hold a secret."""


def kept_result(operation: OperationDefinition, request: Request | None, result: Any) -> StoredResult | None:
    """The stored form of a result; None if there is no key.

    Raises `NotStorable`, also without a key, so that a result doesn't pass or fail depending on the key.
    """
    wire = operation.encode_result(result)
    if request is None:
        return None
    kept = _KeptAnswer(withheld=True) if operation.answers_secrets else _KeptAnswer(msgspec.Raw(wire))
    return request.answered(encode_text(kept))


def require_refusal_can_be_kept(refusal: DomainError) -> None:
    """Raise `NotStorable` unless the refusal's details can be read back."""
    encode_to_keep(refusal.details, refusal.details_type(), f"the refusal {type(refusal).__name__}")


def kept_refusal(request: Request, refusal: DomainError) -> StoredResult:
    """The stored form of a refusal. Raises `NotStorable`."""
    require_refusal_can_be_kept(refusal)
    if holds_secrets(refusal.details_type()):
        kept = _KeptAnswer(refusal=as_data(refusal, details=False), withheld=True)
    else:
        kept = _KeptAnswer(refusal=as_data(refusal))
    return request.answered(encode_text(kept))


class Results:
    """The answers that one module has given to keys."""

    def __init__(self, module: str, records: Records) -> None:
        self._module = module
        self._records = records

    async def look_up(self, operation: OperationDefinition, request: Request) -> Answer | None:
        """The earlier answer to this key, or the one that another process has left meanwhile; None if there is none.

        Raises `KeyReused`, `AnswerNotKept`, or the refusal that was the answer; and `StoreUnavailable`, by which the
        command may have run.
        """
        try:
            stored = await self._records.find_result(request.scope, request.key)
        except StoreUnavailable as problem:
            raise StoreUnavailable(str(problem), maybe_executed=True) from problem
        if stored is None:
            return None
        if stored.fingerprint != request.fingerprint and stored.fingerprint.startswith(FINGERPRINT_FORM):
            raise KeyReused()
        kept = msgspec.json.decode(stored.outcome, type=_KeptAnswer)
        if kept.refusal is not None:
            error = RefusedBefore(reason=kept.refusal.code) if kept.withheld else as_error(kept.refusal)
            error.__dict__["replayed"] = True
            raise error
        if kept.withheld:
            raise AnswerNotKept()
        try:
            result = decode(operation.result, bytes(kept.result))
        except Exception as problem:
            log.warning(
                "a stored answer can't be decoded in its present form", operation=str(operation), reason=repr(problem)
            )
            raise AnswerNotKept() from problem
        return Answer(result, stored.position, replayed=True, module=self._module)

    async def given(self, operation: OperationDefinition, request: Request) -> Answer:
        """The answer to a key that the store has just reported as taken."""
        replay = await self.look_up(operation, request)
        if replay is None:
            raise Unavailable("The idempotency key was taken, but its answer is missing.", maybe_executed=True)
        return replay
