"""Reads a request's body: limited in size and time, and as strict JSON."""

import json
import math
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.types import Receive, Scope

from craton.adapters.http.head import head_of
from craton.adapters.http.problems import BadRequest
from craton.adapters.received import TooLarge, received
from craton.runtime.process.attempt import TimeOver

MAX_BYTES: Final = 1024 * 1024
TIMEOUT_SECONDS: Final = 10.0


class _NotStrict(ValueError):
    """The body isn't strict JSON, though Python's parser would accept it."""


async def read(scope: Scope, receive: Receive, limit: int = MAX_BYTES) -> bytes:
    """Return the whole body. Raises `BadRequest` (413, 408) or `ClientGone`."""
    declared = head_of(scope).get(b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    try:
        return await received(receive, limit, TIMEOUT_SECONDS)
    except TooLarge:
        raise _too_large(limit) from None
    except TimeOver:
        raise BadRequest(408, "request-timeout", "The body did not arrive in time.") from None


async def read_bounded(request: Request, limit: int) -> bytes:
    """Return the raw body of a request, at most `limit` bytes, for a handler that is written by hand."""
    return await read(request.scope, request.receive, limit)


def _too_large(limit: int) -> BadRequest:
    return BadRequest(413, "body-too-large", f"The body is larger than {limit} bytes.")


def parse(body: bytes) -> Any:
    """Read strict JSON: UTF-8, no repeated keys, no NaN, no NUL, bounded nesting. Raises `BadRequest`."""
    try:
        text = body.decode()
        parsed = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
        if "\\u" in text:
            msgspec.json.decode(body)  # refuses halves of surrogate pairs, which the standard library accepts
            if _holds_nul(parsed):
                raise _NotStrict("a text holds a NUL character")
    except UnicodeDecodeError:
        raise _malformed("the body is not UTF-8") from None
    except RecursionError:
        raise _malformed("it is nested too deeply") from None
    except (json.JSONDecodeError, _NotStrict, msgspec.DecodeError) as problem:
        raise _malformed(str(problem)) from None
    except ValueError:  # Python's own message is meant for programmers
        raise _malformed("a number has more digits than can be read") from None
    return parsed


def _malformed(why: str) -> BadRequest:
    return BadRequest(400, "malformed-json", f"The body is not valid JSON: {why}.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _NotStrict("a key occurs twice")
    return members


def _no_constant(name: str) -> None:
    raise _NotStrict(f"{name} isn't a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _NotStrict(f"{text[:32]} is too large for a number")
    return number


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any("\0" in key or _holds_nul(member) for key, member in value.items())
    return isinstance(value, list) and any(map(_holds_nul, value))
