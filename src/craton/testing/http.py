"""HTTP in process: requests to an app without a socket."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

import msgspec
from starlette.types import ASGIApp, Message

Texts = Mapping[str, str]


class Response(msgspec.Struct, frozen=True):
    """The answer to a request."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The stable code of a problem."""
        if self.headers.get("content-type") != "application/problem+json":
            raise AssertionError(f"the answer is no problem: {self.status} {self.body!r}")
        return str(self.json["code"])

    @property
    def position(self) -> dict[str, str]:
        """The header with which a later request sees what this one has changed."""
        return {"Craton-Position": self.headers["craton-position"]}


class HttpClient:
    """Calls an ASGI application; `headers` go with each request."""

    def __init__(self, application: ASGIApp, headers: Texts | None = None) -> None:
        self.application = application
        self._headers = dict(headers or {})

    def with_token(self, token: str) -> "HttpClient":
        """The same client with an access token."""
        return HttpClient(self.application, {**self._headers, "Authorization": f"Bearer {token}"})

    async def get(self, path: str, headers: Texts | None = None) -> Response:
        return await self.request("GET", path, headers=headers)

    async def post(self, path: str, body: Any = None, headers: Texts | None = None) -> Response:
        return await self.request("POST", path, body, headers)

    async def put(self, path: str, body: Any = None, headers: Texts | None = None) -> Response:
        return await self.request("PUT", path, body, headers)

    async def delete(self, path: str, headers: Texts | None = None) -> Response:
        return await self.request("DELETE", path, headers=headers)

    async def request(self, method: str, path: str, body: Any = None, headers: Texts | None = None) -> Response:
        """Send a value as JSON; bytes go as they are. The path is encoded as in a URL, with its query."""
        raw = b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        kind = {"Content-Type": "application/json", "Content-Length": str(len(raw))} if raw else {}
        said = {"Host": "testing", **kind, **self._headers, **(headers or {})}
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": quote(path, safe="/%").encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in said.items()],
            "client": ("127.0.0.1", 0),
            "server": ("testing", 80),
        }
        answer = _Answer(raw)
        await self.application(scope, answer.receive, answer.send)
        return Response(answer.status, answer.headers, bytes(answer.body))


class _Answer:
    """One exchange, from the side of the server."""

    def __init__(self, body: bytes) -> None:
        self._unread: bytes | None = body
        self._is_complete = asyncio.Event()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()

    async def receive(self) -> Message:
        if self._unread is not None:
            body, self._unread = self._unread, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._is_complete.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode().lower(): value.decode("latin-1") for name, value in message["headers"]}
            return
        self.body += message.get("body", b"")
        if not message.get("more_body", False):
            self._is_complete.set()
