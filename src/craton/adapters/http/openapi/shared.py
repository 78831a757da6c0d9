"""What operations have in common: described once, and referred to."""

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any, Final

from craton.application.page import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from craton.runtime.commands.use_cases import MAX_KEY_LENGTH

Schema = dict[str, Any]


def _header(name: str, description: str, **schema: Any) -> Schema:
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string", **schema}}


def _paging(name: str, description: str, **schema: Any) -> Schema:
    text = f"{description} A value outside the range means the default."
    return {"name": name, "in": "query", "description": text, "schema": {"type": "integer", "minimum": 1, **schema}}


PARAMETERS: Final[dict[str, Schema]] = {
    "IdempotencyKey": _header(
        "Idempotency-Key",
        "The same key with the same request gives the same answer, and no second effect.",
        minLength=1,
        maxLength=MAX_KEY_LENGTH,
        examples=["cart-7"],
    ),
    "IfMatch": _header(
        "If-Match",
        "Versions as they stood in ETag: the command is carried out if what the path names has one of them.",
        examples=['"3"'],
    ),
    "IfNoneMatch": _header(
        "If-None-Match", "Versions as they stood in ETag: what the caller has already isn't sent.", examples=['"3"']
    ),
    "CratonPosition": _header(
        "Craton-Position", "From a command's answer: wait until the view has got there.", examples=["ordering=42"]
    ),
    "Page": _paging("page", "Which page, from 1.", default=1),
    "PageSize": _paging("page_size", "How many at a time.", maximum=MAX_PAGE_SIZE, default=DEFAULT_PAGE_SIZE),
}

HEADERS: Final[dict[str, Schema]] = {
    "CratonPosition": {
        "description": "Where the log stood after the command. A query with it sees what the command has changed.",
        "schema": {"type": "string"},
    },
    "CratonRequestId": {
        "description": "The id under which the log tells of this request.",
        "schema": {"type": "string", "format": "uuid"},
    },
    "ETag": {"description": "The version, for If-Match and If-None-Match.", "schema": {"type": "string"}},
    "IdempotencyReplayed": {
        "description": "There if this is the answer that the key was given before.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Location": {
        "description": "Where that is of which the answer tells.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "RetryAfter": {
        "description": "In how many seconds it is worth another try.",
        "schema": {"type": "integer", "minimum": 0},
    },
}


def problem_response(status: int) -> Schema:
    """How a request is answered that fails with this status."""
    worth_a_repetition = status in (429, 503)
    return {
        "description": HTTPStatus(status).phrase,
        "headers": headers(["Craton-Request-Id", *(["Retry-After"] if worth_a_repetition else [])]),
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def problem_name(status: int) -> str:
    """`NotFound` for 404."""
    return HTTPStatus(status).phrase.title().replace(" ", "").replace("-", "")


def headers(names: Iterable[str]) -> Schema:
    """The headers of an answer: `Craton-Request-Id` is the component `CratonRequestId`."""
    return {name: {"$ref": f"#/components/headers/{name.replace('-', '')}"} for name in names}


def references(part: Any) -> Iterator[str]:
    """Everything that a part of a document refers to."""
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"]
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from references(inner)
