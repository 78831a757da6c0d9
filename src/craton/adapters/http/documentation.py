"""The OpenAPI document, and the page on which it is read and tried."""

import hashlib
from importlib.resources import files
from typing import Any, Final

import msgspec
from starlette.types import Receive, Scope, Send

from craton.adapters.http.conditions import is_known
from craton.adapters.http.replies import Headers, Reply
from craton.adapters.http.router import Line

_OWNER: Final = "the toolkit"


class Asset:
    """Something that doesn't change while the process runs: a browser keeps it, and asks whether it still holds."""

    def __init__(self, body: bytes, content_type: str, *headers: tuple[bytes, bytes]) -> None:
        self._body = body
        self._tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        self._kept: Headers = [(b"etag", self._tag.encode()), (b"cache-control", b"no-cache")]
        self._told: Headers = [(b"content-type", content_type.encode()), (b"content-length", b"%d" % len(body))]
        self._told += [*self._kept, *headers]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reply = Reply(304, self._kept, b"") if is_known(scope, self._tag) else Reply(200, self._told, self._body)
        await reply.send(send)


async def _lead_to_docs(scope: Scope, receive: Receive, send: Send) -> None:
    await Reply(307, [(b"location", b"/docs"), (b"content-length", b"0")], b"").send(send)


def documentation_lines(openapi: dict[str, Any]) -> list[Line]:
    page = files("craton.adapters.http").joinpath("docs.html").read_bytes()
    assets = {
        "/openapi.json": Asset(msgspec.json.encode(openapi), "application/json"),
        "/docs": Asset(page, "text/html; charset=utf-8"),
    }
    return [
        Line(_OWNER, "GET", "/", _lead_to_docs),
        *(Line(_OWNER, "GET", path, asset) for path, asset in assets.items()),
    ]
