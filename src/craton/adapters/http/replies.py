"""The answers to requests: status, headers and body; and a problem for each way in which a request can fail."""

from typing import Any, NamedTuple

from starlette.types import Send

from craton.adapters.http import problems
from craton.adapters.http.problems import BadRequest, Problem
from craton.application.codec import encode
from craton.application.errors import AnswerNotKept, KeyReused, Unavailable
from craton.application.limits import Limit
from craton.domain import DomainError, TooManyAttempts
from craton.ports import ChangesetRefused, StoreUnavailable
from craton.runtime.limits import Taken

Headers = list[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
REPLAYED = (b"idempotency-replayed", b"true")


class Reply(NamedTuple):
    status: int
    headers: Headers
    body: bytes

    async def send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


def of_value(value: Any, status: int, headers: Headers) -> Reply:
    """A value as JSON."""
    body = encode(value)
    return Reply(status, [JSON, (b"content-length", b"%d" % len(body)), *headers], body)


def of_problem(problem: Problem, *headers: tuple[bytes, bytes], retry_after: int = 1) -> Reply:
    """A problem; `retry_after`, in seconds, is sent with statuses after which a repetition makes sense."""
    body = encode(problem)
    told = [(b"content-type", problems.CONTENT_TYPE), (b"content-length", b"%d" % len(body)), *headers]
    if problem.status == 401:
        told.append((b"www-authenticate", b"Bearer"))
    if problem.status in (429, 503):
        told.append((b"retry-after", b"%d" % retry_after))
    return Reply(problem.status, told, body)


def limit_headers(limit: Limit, taken: Taken) -> Headers:
    """What a route's limit is, and what is left of it (draft-ietf-httpapi-ratelimit-headers)."""
    return [
        (b"ratelimit-policy", b'"default";q=%d;w=%d' % (limit.count, limit.seconds)),
        (b"ratelimit", b'"default";r=%d;t=%d' % (taken.remaining, taken.seconds)),
    ]


def of_error(error: Exception) -> Reply | None:
    """The answer to a failure of the request, of the domain or of something it needs; None if the failure is a bug."""
    match error:
        case BadRequest():
            return of_problem(error.problem)
        case KeyReused() | AnswerNotKept():
            return of_problem(problems.of_key(error))
        case DomainError():
            headers = [REPLAYED] if getattr(error, "replayed", False) else []
            seconds = error.retry_after if isinstance(error, TooManyAttempts) else 1
            return of_problem(problems.of_domain(error), *headers, retry_after=seconds)
        case Unavailable():
            return of_problem(problems.of_unavailable(error), retry_after=error.retry_after)
        case ChangesetRefused():
            return of_problem(problems.make(503, "unavailable", "The request conflicted with another one; try again."))
        case StoreUnavailable():
            return of_problem(problems.make(503, "unavailable", "The store can't be reached now; try again."))
        case _:
            return None
