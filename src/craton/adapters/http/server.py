"""Serves an ASGI application with uvicorn: bounded, and ended cleanly by SIGTERM and SIGINT."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from http import HTTPStatus
from types import FrameType
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from craton.adapters.http import problems

MAX_CONNECTIONS: Final = 2_000
MAX_HEADER_BYTES: Final = 64 * 1024
HEADER_TIMEOUT_SECONDS: Final = 10.0
KEEP_ALIVE_SECONDS: Final = 30
FINISH_SECONDS: Final = 4
"""So long requests may go on after the server was told to stop."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a bound on the size of a request's head and on the time it may take to arrive."""

    def connection_made(self, transport: Any) -> None:
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_timer is not None and self._head_bytes > MAX_HEADER_BYTES:
            self._refuse(431, "head-too-large", "The head of the request is too large.")

    def on_url(self, url: bytes) -> None:
        self._head_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes <= MAX_HEADER_BYTES:
            super().on_header(name, value)

    def on_message_begin(self) -> None:
        self._await_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self._head_bytes > MAX_HEADER_BYTES:
            self._refuse(431, "head-too-large", "The head of the request is too large.")
            return
        self._forget_timer()
        super().on_headers_complete()

    def _await_head(self) -> None:
        self._forget_timer()
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(
            HEADER_TIMEOUT_SECONDS,
            self._refuse,
            408,
            "request-timeout",
            "The head of the request did not arrive in time.",
        )

    def _forget_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: int, code: str, detail: str) -> None:
        self._forget_timer()
        if not self.transport.is_closing():
            _, headers, body = problems.response(problems.make(status, code, detail), [(b"connection", b"close")])
            head = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
            self.transport.write(
                b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (status, HTTPStatus(status).phrase.encode(), head, body)
            )
            self.transport.close()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, told_to_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._told_to_stop = told_to_stop

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End with exit code 0 rather than by the signal: being told to stop is no failure."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            self._told_to_stop()
        super().handle_exit(sig, frame)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises `OSError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=2048)
    listening.setblocking(False)
    return listening


async def serve(application: Any, listening: socket.socket, told_to_stop: Callable[[], None] = lambda: None) -> None:
    """Serve until SIGINT or SIGTERM; then stop accepting and finish what runs, for four seconds at most.

    `told_to_stop` is called when the signal comes.
    """
    config = uvicorn.Config(
        application,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=FINISH_SECONDS,
    )
    await _Server(config, told_to_stop).serve(sockets=[listening])
