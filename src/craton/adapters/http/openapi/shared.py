"""The parts that operations share: described once, and referred to."""

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
        "Versions from ETag headers: the command runs if the resource in the path has one of them.",
        examples=['"3"'],
    ),
    "IfNoneMatch": _header(
        "If-None-Match",
        "Versions from ETag headers: an answer that the caller already has isn't sent again.",
        examples=['"3"'],
    ),
    "CratonPosition": _header(
        "Craton-Position",
        "The header of a command's answer: the query waits until the view has reached this position.",
        examples=["ordering=42"],
    ),
    "Page": _paging("page", "The number of the page, from 1.", default=1),
    "PageSize": _paging(
        "page_size", "The number of entries on a page.", maximum=MAX_PAGE_SIZE, default=DEFAULT_PAGE_SIZE
    ),
}

HEADERS: Final[dict[str, Schema]] = {
    "CratonPosition": {
        "description": "The log's position after the command. A query that sends it sees what the command has changed.",
        "schema": {"type": "string"},
    },
    "CratonRequestId": {
        "description": "The id under which the server's log describes this request.",
        "schema": {"type": "string", "format": "uuid"},
    },
    "ETag": {"description": "The version, for If-Match and If-None-Match.", "schema": {"type": "string"}},
    "IdempotencyReplayed": {
        "description": "Present if this is the earlier answer to the same key.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Location": {
        "description": "The address of the resource that the answer is about.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "RetryAfter": {
        "description": "The number of seconds after which to try again.",
        "schema": {"type": "integer", "minimum": 0},
    },
}


def problem_response(status: int) -> Schema:
    """The answer to a request that fails with this status."""
    worth_a_repetition = status in (429, 503)
    return {
        "description": HTTPStatus(status).phrase,
        "headers": headers(["Craton-Request-Id", *(["Retry-After"] if worth_a_repetition else [])]),
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def problem_name(status: int) -> str:
    """The name of a status: `NotFound` for 404."""
    return HTTPStatus(status).phrase.title().replace(" ", "").replace("-", "")


def headers(names: Iterable[str]) -> Schema:
    """The headers of an answer, as references to components: `Craton-Request-Id` is `CratonRequestId`."""
    return {name: {"$ref": f"#/components/headers/{name.replace('-', '')}"} for name in names}


def references(part: Any) -> Iterator[str]:
    """All references within a part of a document."""
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"]
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from references(inner)
