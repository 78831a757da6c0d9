"""Serves an ASGI application with uvicorn: with limits, and with a clean end at SIGTERM and SIGINT."""

import asyncio
import contextlib
import errno
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

import uvicorn

from craton.adapters.http.accept import SharedAccept
from craton.adapters.http.protocol import STAGE_SECONDS, Addresses, BoundedProtocol, Stage

ALL_ADDRESSES: Final = "::"
BACKLOG: Final = 2_048
LOOK_SECONDS: Final = 0.1
FINISH_SECONDS: Final = 4
"""How long requests may continue after the server was told to stop, in seconds."""


class _Server(uvicorn.Server):
    def __init__(
        self,
        config: uvicorn.Config,
        has_started: Callable[[], None],
        told_to_stop: Callable[[], None],
        shared_from: asyncio.Future[None] | None,
    ) -> None:
        super().__init__(config)
        self._shared_from = shared_from
        self._has_started = has_started
        self._told_to_stop = told_to_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._shared_from is None:
            await super().startup(sockets)
            self._has_started()
            return
        await super().startup([])
        self._has_started()
        while not self._shared_from.done() and not self.should_exit:
            await asyncio.wait([self._shared_from], timeout=LOOK_SECONDS)
        accepting: list[Any] = [SharedAccept(listening, self._new_protocol) for listening in sockets or ()]
        self.servers += accepting  # they are only closed

    def _new_protocol(self) -> asyncio.Protocol:
        protocol: Any = self.config.http_protocol_class
        made: asyncio.Protocol = protocol(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End with exit code 0 instead of by the signal, because stopping on request isn't a failure."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            self._told_to_stop()
        super().handle_exit(sig, frame)


def listen_at(path: Path) -> socket.socket:
    """Return a socket in the file system, which only processes of this user reach. Raises `OSError`.

    A file that a process has left which no longer runs is replaced.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as asking:
            asking.connect(str(path))
        raise OSError(errno.EADDRINUSE, "Another process listens there")
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)
    except FileNotFoundError:
        pass
    listening = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        listening.bind(str(path))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    finally:
        os.umask(before)
    return listening


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; `::` are all addresses of this host, IPv4 included. Raises `OSError`."""
    if host == ALL_ADDRESSES and not socket.has_dualstack_ipv6():
        host = "0.0.0.0"  # noqa: S104 — it is asked for
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    is_dual = host == ALL_ADDRESSES
    listening = socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=is_dual)
    listening.setblocking(False)
    return listening


@contextlib.asynccontextmanager
async def serving_beside(application: Any, listening: socket.socket) -> AsyncIterator[None]:
    """Serve beside the main server while the block lasts, for other services; then finish what runs."""
    server = _Beside(_config(application, address_share=100))
    running = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        while not server.started and not running.done():
            await asyncio.sleep(0.001)
        yield
    finally:
        server.should_exit = True
        await running


class _Beside(uvicorn.Server):
    """A server that leaves the signals to the main one."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    application: Any,
    listening: socket.socket,
    *,
    has_started: Callable[[], None] = lambda: None,
    told_to_stop: Callable[[], None] = lambda: None,
    address_share: int = 50,
    proxies: str = "",
    shared_from: asyncio.Future[None] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; then stop accepting and finish what runs, for four seconds at most.

    `has_started` is called when the server serves and a signal would end it cleanly; `told_to_stop` when the signal
    comes.
    `address_share` is the share of all connections, in per cent, that one address may hold: 100 behind a proxy.
    `proxies` are the addresses of the proxies whose X-Forwarded-For header is trusted. `shared_from`: other processes
    accept from the same socket, and this one begins when this future is done.
    """
    config = _config(application, address_share=address_share, proxies=proxies)
    await _Server(config, has_started, told_to_stop, shared_from).serve(sockets=[listening])


def _config(application: Any, *, address_share: int, proxies: str = "") -> uvicorn.Config:
    protocol: Any = partial(BoundedProtocol, addresses=Addresses(address_share))
    return uvicorn.Config(
        application,
        http=protocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
        timeout_keep_alive=int(STAGE_SECONDS[Stage.IDLE]),
        timeout_graceful_shutdown=FINISH_SECONDS,
    )
