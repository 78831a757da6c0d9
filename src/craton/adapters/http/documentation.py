"""The OpenAPI document, and the page that shows it and lets readers try requests.

The page is Swagger UI, whose files are unchanged in `docs/swagger-ui`. Among the well-maintained viewers it is the one
that loads nothing from other sites, and needs no inline styles and no `eval`.
"""

import asyncio
import hashlib
from collections.abc import Callable
from functools import cached_property
from importlib.resources import files
from typing import Any, Final

import msgspec
from starlette.types import Receive, Scope, Send

from craton.adapters.http.head import head_of
from craton.adapters.http.replies import Headers, Reply
from craton.adapters.http.router import Line

_OWNER: Final = "the toolkit"
_HTML, _SCRIPT, _STYLE, _IMAGE = "text/html; charset=utf-8", "text/javascript", "text/css", "image/png"
_FILES: Final = {
    "/docs": ("page.html", _HTML),
    "/docs/page.js": ("page.js", _SCRIPT),
    "/docs/page.css": ("page.css", _STYLE),
    "/docs/swagger-ui-bundle.js": ("swagger-ui/swagger-ui-bundle.js", _SCRIPT),
    "/docs/swagger-ui.css": ("swagger-ui/swagger-ui.css", _STYLE),
    "/docs/favicon-32x32.png": ("swagger-ui/favicon-32x32.png", _IMAGE),
}
_POLICY: Final = (
    b"content-security-policy",
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    b"frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
)
"""The page's styles contain images as data, and an image in an answer is shown as a blob."""


class Asset:
    """A file that doesn't change while the process runs: a browser keeps it, and asks whether it is still valid."""

    def __init__(self, read: Callable[[], bytes], content_type: str, *headers: tuple[bytes, bytes]) -> None:
        self._read = read
        self._headers = [(b"content-type", content_type.encode()), *headers]

    @cached_property
    def _body(self) -> bytes:
        return self._read()

    def _prepare(self) -> None:
        _ = self._tag

    @cached_property
    def _tag(self) -> str:
        return f'"{hashlib.sha256(self._body).hexdigest()[:32]}"'

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if "_tag" not in self.__dict__:
            await asyncio.to_thread(self._prepare)  # a document of many modules takes its time, once
        kept: Headers = [(b"etag", self._tag.encode()), (b"cache-control", b"no-cache")]
        if head_of(scope).knows(self._tag):
            reply = Reply(304, kept, b"")
        else:
            length = (b"content-length", b"%d" % len(self._body))
            reply = Reply(200, [*self._headers, length, *kept], self._body)
        await reply.send(send)


def documentation_lines(document: Callable[[], dict[str, Any]]) -> list[Line]:
    """The routes of the document, which is made at the first request, of the page's files, and of the redirect to
    it."""
    folder = files("craton.adapters.http").joinpath("docs")
    assets = {"/openapi.json": Asset(lambda: msgspec.json.encode(document()), "application/json")}
    for path, (name, content_type) in _FILES.items():
        assets[path] = Asset(folder.joinpath(name).read_bytes, content_type, *([_POLICY] if path == "/docs" else []))
    lines = [Line(_OWNER, "GET", path, asset) for path, asset in assets.items()]
    return [Line(_OWNER, "GET", "/", _lead_to_docs), *lines]


async def _lead_to_docs(scope: Scope, receive: Receive, send: Send) -> None:
    await Reply(307, [(b"location", b"/docs"), (b"content-length", b"0")], b"").send(send)
