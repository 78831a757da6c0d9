"""Errors as RFC 9457 problem details. They never contain internal texts, stack traces or secrets."""

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
    """A problem: `code` is stable, `detail` is for people."""

    type: str = msgspec.field(default_factory=lambda: "about:blank")
    title: str
    status: int
    code: str
    detail: str
    path: str | None = None
    """The place of the wrong value in the request, such as `$.money.amount`."""
    details: Any = None
    """The fields of the refusal."""
    maybe_executed: bool | None = None
    """For 503 and 504: whether the command may have run; repeat it with its Idempotency-Key to find out."""
    request_id: str | None = None
    """For 500: the id under which the log describes the error."""


class BadRequest(Exception):
    """The request can't be understood, or uses the protocol in an unsupported way."""

    def __init__(self, status: int, code: str, detail: str, *, path: str | None = None) -> None:
        super().__init__(detail)
        self.problem = make(status, code, detail, path=path)


def make(status: int, code: str, detail: str, **more: Any) -> Problem:
    return Problem(title=HTTPStatus(status).phrase, status=status, code=code, detail=detail, **more)


def of_validation(error: msgspec.ValidationError) -> Problem:
    """Split msgspec's "… - at `$.path`", and replace Python's names of types by JSON's."""
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
    detail = "The deadline passed." if late else "A part that this needs can't be reached now; try again."
    return make(504 if late else 503, error.code, detail, maybe_executed=error.maybe_executed)


def internal(request_id: str) -> Problem:
    """For a bug; the log describes it."""
    return make(
        500,
        "internal",
        "An error occurred on the server; the log describes it under the request's id.",
        request_id=request_id,
    )


def not_allowed(method: str, supported: Sequence[str]) -> Problem:
    """For a path that exists, but not with this method."""
    *others, last = supported
    names = f"{', '.join(others)} and {last}" if others else last
    return make(405, "method-not-allowed", f"This resource doesn't support {method}; it supports {names}.")


def too_many(seconds: int) -> Problem:
    """For a request beyond the limit of its route."""
    return make(429, "too-many-requests", f"There are too many such requests; try again in {seconds} seconds.")


def stopping(*, maybe_executed: bool | None) -> Problem:
    """For a request that is cancelled, because the server stops before it is answered."""
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
