"""A small keep-alive HTTP/1.1 load generator for a ledger's transfers.

Each connection has one request under way at a time and sends the next as soon
as it has the whole answer. Needs the standard library only; runs on uvloop
where that is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import random
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, cast
from urllib.parse import urlsplit

WARM_UP_SECONDS = 0.5
NextMessage = Callable[[], bytes]
DEPOSIT = "1000000.00"
TRANSFER = "0.01"
CURRENCY = "EUR"
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)")
CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r]*\bchunked\b")
CLOSE = re.compile(rb"\r\nconnection:[^\r]*\bclose\b")
BODILESS_STATUSES = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes
    keeps_alive: bool

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status < 300


class BadConnectionError(Exception):
    """The connection closed, or what came over it is no HTTP response."""


def read_chunks(buffer: bytes, position: int) -> bytes | None:
    """The body in chunks that begins at `position`; None while it is incomplete."""
    chunks: list[bytes] = []
    while (line_end := buffer.find(b"\r\n", position)) >= 0:
        size = int(buffer[position:line_end].split(b";", 1)[0], 16)
        if size == 0:
            ends = buffer.find(b"\r\n\r\n", line_end) >= 0  # after trailers, if any
            return b"".join(chunks) if ends else None
        chunk_start = line_end + 2
        position = chunk_start + size + 2
        if position > len(buffer):
            return None
        chunks.append(buffer[chunk_start : chunk_start + size])
    return None


def parse_response(buffer: bytes) -> Response | None:
    """The final response in `buffer`; None while it is incomplete."""
    start = 0
    while True:
        head_end = buffer.find(b"\r\n\r\n", start)
        if head_end < 0:
            return None
        body_start = head_end + 4
        status = int(buffer[start + 9 : start + 12])
        if status >= 200:
            break
        start = body_start  # an interim response
    head = buffer[start:head_end].lower()
    keeps_alive = head.startswith(b"http/1.1") and CLOSE.search(head) is None
    if status in BODILESS_STATUSES:
        return Response(status, b"", keeps_alive)
    if CHUNKED.search(head):
        body = read_chunks(buffer, body_start)
        return None if body is None else Response(status, body, keeps_alive)
    length = CONTENT_LENGTH.search(head)
    if length is None:
        raise ValueError("a body without a length")
    body_end = body_start + int(length[1])
    if len(buffer) < body_end:
        return None
    return Response(status, buffer[body_start:body_end], keeps_alive)


class ClientProtocol(asyncio.Protocol):
    """One connection that carries one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._answer: asyncio.Future[Response] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        try:
            response = parse_response(self._buffer)
        except ValueError as error:
            self._fail(BadConnectionError(f"malformed response: {error}"))
        else:
            if response is not None:
                self._succeed(response)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(BadConnectionError(str(exc or "closed by the server")))

    def request(self, message: bytes) -> asyncio.Future[Response]:
        if self._transport is None:
            raise BadConnectionError("not connected")
        self._buffer = b""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(message)
        return self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def _succeed(self, response: Response) -> None:
        self._buffer = b""
        if not response.keeps_alive:
            self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(response)

    def _fail(self, error: Exception) -> None:
        self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


class Client:
    """Sends requests over one connection and connects anew after it closed."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname is None:
            raise SystemExit(f"not an http:// address: {url}")
        self._host = parts.hostname
        self._port = parts.port or 80
        self._authority = parts.netloc
        self._protocol: ClientProtocol | None = None

    def message(self, path: str, body: dict[str, Any]) -> bytes:
        content = json.dumps(body, separators=(",", ":")).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._authority}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        return head.encode() + content

    async def send(self, message: bytes) -> Response:
        if self._protocol is None:
            loop = asyncio.get_running_loop()
            _, self._protocol = await loop.create_connection(ClientProtocol, self._host, self._port)
        try:
            response = await self._protocol.request(message)
        except BadConnectionError:
            self.close()
            raise
        if not response.keeps_alive:
            self.close()
        return response

    async def post(self, path: str, body: dict[str, Any]) -> Response:
        """Send a request that must succeed."""
        response = await self.send(self.message(path, body))
        if not response.succeeded:
            raise SystemExit(f"POST {path}: {response.status} {response.body!r}")
        return response

    def close(self) -> None:
        if self._protocol is not None:
            self._protocol.close()
            self._protocol = None


@dataclass
class Tally:
    latencies: list[float] = field(default_factory=list)
    errors: int = 0


def money(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": CURRENCY}


async def open_accounts(clients: Sequence[Client], count: int) -> list[str]:
    """Open the accounts and deposit into each of them, over all connections."""

    async def open_share(client: Client, share: int) -> list[str]:
        account_ids = []
        for _ in range(share):
            body = {"owner": "load", "currency": CURRENCY}
            account_id = json.loads((await client.post("/v1/accounts", body)).body)["id"]
            await client.post(f"/v1/accounts/{account_id}/deposits", {"money": money(DEPOSIT)})
            account_ids.append(account_id)
        return account_ids

    shares = [len(range(first, count, len(clients))) for first in range(len(clients))]
    opened = await asyncio.gather(*map(open_share, clients, shares))
    return [account_id for account_ids in opened for account_id in account_ids]


def transfer_picker(account_ids: Sequence[str], hot: bool) -> Callable[[], dict[str, Any]]:
    hot_id, *other_ids = account_ids

    def pick() -> dict[str, Any]:
        if hot:
            source, target = hot_id, random.choice(other_ids)
        else:
            source, target = random.sample(account_ids, 2)
        return {"source": source, "target": target, "money": money(TRANSFER)}

    return pick


async def send_until(client: Client, next_message: NextMessage, count_from: float, deadline: float) -> Tally:
    tally = Tally()
    while True:
        message = next_message()
        began = time.perf_counter()
        try:
            succeeded = (await client.send(message)).succeeded
        except (BadConnectionError, OSError):
            succeeded = False
        ended = time.perf_counter()
        if ended > deadline:
            return tally
        if ended < count_from:
            continue
        if succeeded:
            tally.latencies.append(ended - began)
        else:
            tally.errors += 1


def percentile_ms(sorted_seconds: Sequence[float], fraction: float) -> float:
    index = min(int(len(sorted_seconds) * fraction), len(sorted_seconds) - 1)
    return round(sorted_seconds[index] * 1000, 3)


async def measured(clients: Sequence[Client], next_message: NextMessage, seconds: float) -> dict[str, float]:
    """Let all clients send for `seconds`, after a warm-up that isn't counted, and close them; return the results."""
    count_from = time.perf_counter() + WARM_UP_SECONDS
    deadline = count_from + seconds
    tallies = await asyncio.gather(*(send_until(client, next_message, count_from, deadline) for client in clients))
    for client in clients:
        client.close()
    errors = sum(tally.errors for tally in tallies)
    latencies = sorted(latency for tally in tallies for latency in tally.latencies)
    if not latencies:
        raise SystemExit(f"no request succeeded; errors: {errors}")
    return {
        "rate": round(len(latencies) / seconds, 1),
        "p50_ms": percentile_ms(latencies, 0.50),
        "p99_ms": percentile_ms(latencies, 0.99),
        "errors": errors,
    }


async def run_transfers(options: argparse.Namespace) -> None:
    clients = [Client(options.url) for _ in range(options.connections)]
    pick = transfer_picker(await open_accounts(clients, options.accounts), options.hot)
    report = await measured(clients, lambda: clients[0].message("/v1/transfers", pick()), options.seconds)
    print(json.dumps(report), flush=True)


def new_event_loop() -> asyncio.AbstractEventLoop:
    loops = importlib.import_module("uvloop" if find_spec("uvloop") else "asyncio")
    return cast(asyncio.AbstractEventLoop, loops.new_event_loop())


def main() -> None:
    parser = argparse.ArgumentParser(description="Load a ledger over HTTP.")
    parser.add_argument("scenario", choices=["transfers"])
    parser.add_argument("--url", required=True, help="http://127.0.0.1:PORT")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--accounts", type=int, default=200)
    parser.add_argument("--hot", action="store_true", help="all out of one account")
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(run_transfers(parser.parse_args()))


if __name__ == "__main__":
    main()
