"""A small HTTP/1.1 client: it sends what a test says, to the byte, and shows what came back."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import msgspec

TIMEOUT_SECONDS: Final = 300.0


class Response(msgspec.Struct, frozen=True):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The stable code of a problem."""
        assert self.headers["content-type"] == "application/problem+json", self.body
        return str(self.json["code"])

    @property
    def position(self) -> dict[str, str]:
        """What makes a later request see what this one has changed."""
        return {"Craton-Position": self.headers["craton-position"]}


class Client:
    """Sends each request over a connection of its own."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Response:
        return await self.request("GET", path, headers=headers)

    async def post(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Response:
        """Send a value as JSON; bytes go as they are."""
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.request("POST", path, raw, {"Content-Type": "application/json", **(headers or {})})

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Response:
        lines = {"Host": f"{self.host}:{self.port}", "Connection": "close", **(headers or {})}
        if body and "Transfer-Encoding" not in lines:
            lines.setdefault("Content-Length", str(len(body)))
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return await self.raw(head.encode("latin-1") + b"\r\n" + body)

    async def raw(self, request: bytes) -> Response:
        """Send these bytes and read one response."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection(self.host, self.port)
            sending = asyncio.create_task(_send(writer, request))
            try:
                return await _read(reader, head_only=request.startswith(b"HEAD "))
            finally:
                sending.cancel()
                await asyncio.wait([sending])
                writer.close()
                await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    async def pages(self, path: str, size: int) -> AsyncIterator[Any]:
        """All items of a list, page by page."""
        page = 1
        while items := (await self.get(f"{path}?page={page}&page_size={size}")).json["items"]:
            for item in items:
                yield item
            page += 1


async def _send(writer: asyncio.StreamWriter, request: bytes) -> None:
    try:
        writer.write(request)
        await writer.drain()
    except ConnectionError:
        """The server has answered without reading to the end."""


async def _read(reader: asyncio.StreamReader, *, head_only: bool) -> Response:
    status = int((await reader.readline()).split()[1])
    headers: dict[str, str] = {}
    while (line := await reader.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    body = b""
    if headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
    elif not head_only:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Response(status, headers, body)
