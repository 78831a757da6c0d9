"""Errors as RFC 9457 problem details. Never an internal text, a stack trace or a secret."""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec

from craton.application.errors import AnswerNotKept, DeadlineExceeded, KeyReused, StaleVersion, Unavailable
from craton.domain import AccessDenied, DomainError, InvalidValue, NotFound, TooManyAttempts, Unauthenticated

CONTENT_TYPE: Final = b"application/problem+json"
_JSONS: Final = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "true or false",
    "array": "an array",
    "object": "an object",
    "null": "null",
}
_PYTHONS: Final = re.compile(rf"`({'|'.join(_JSONS)})`")


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong; `code` is stable, `detail` is for people."""

    type: str = msgspec.field(default_factory=lambda: "about:blank")
    title: str
    status: int
    code: str
    detail: str
    path: str | None = None
    """Where in the request the wrong value is, such as `$.money.amount`."""
    details: Any = None
    """The fields of the refusal."""
    maybe_executed: bool | None = None
    """For 503 and 504: whether the command may have run; repeat it with its Idempotency-Key."""
    request_id: str | None = None
    """For 500: what the log says of it stands under this id."""


class BadRequest(Exception):
    """The request can't be understood, or asks for what the protocol doesn't give."""

    def __init__(self, status: int, code: str, detail: str, *, path: str | None = None) -> None:
        super().__init__(detail)
        self.problem = make(status, code, detail, path=path)


def make(status: int, code: str, detail: str, **more: Any) -> Problem:
    return Problem(title=HTTPStatus(status).phrase, status=status, code=code, detail=detail, **more)


def of_validation(error: msgspec.ValidationError) -> Problem:
    """Split msgspec's "… - at `$.path`", and say what JSON calls it instead of Python."""
    message, _, path = str(error).partition(" - at `")
    message = _PYTHONS.sub(lambda name: _JSONS[name[1]], message)
    return make(422, "invalid-value", f"{message.rstrip('.')}.", path=path.rstrip("`") or "$")


def of_domain(error: DomainError) -> Problem:
    fields = error.details.__struct_fields__
    return make(_status(error), error.code, str(error), details=error.details if fields else None)


def of_key(problem: KeyReused | AnswerNotKept) -> Problem:
    return make(422 if isinstance(problem, KeyReused) else 409, problem.code, str(problem))


def of_unavailable(error: Unavailable) -> Problem:
    late = isinstance(error, DeadlineExceeded)
    detail = "The deadline passed." if late else "What this needs can't be reached now; try again."
    return make(504 if late else 503, error.code, detail, maybe_executed=error.maybe_executed)


def internal(request_id: str) -> Problem:
    """For a bug; what it is, the log tells."""
    return make(
        500,
        "internal",
        "Something went wrong on our side; the log knows it by the request's id.",
        request_id=request_id,
    )


def not_allowed(methods: Sequence[str]) -> Problem:
    """For a path that is there, but not with this method."""
    return make(405, "method-not-allowed", f"Not with this method. There is: {', '.join(methods)}.")


def stopping(*, maybe_executed: bool | None) -> Problem:
    """For a request that is cancelled, because the server ends before the answer is there."""
    return make(503, "unavailable", "The server is stopping; try again.", maybe_executed=maybe_executed)


_STATUSES: Final = (
    (StaleVersion, 412),
    (Unauthenticated, 401),
    (InvalidValue, 422),
    (NotFound, 404),
    (AccessDenied, 403),
    (TooManyAttempts, 429),
)


def _status(error: DomainError) -> int:
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 409)
