"""Accepts connections from a socket that several processes share."""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

import structlog

PAUSE_SECONDS: Final = 1.0

log = structlog.get_logger("craton.http")


class SharedAccept:
    """Takes one connection at a time, so that a process doesn't take all that have come while another is idle."""

    def __init__(self, listening: socket.socket, new_protocol: Callable[[], asyncio.Protocol]) -> None:
        self._listening = listening
        self._new_protocol = new_protocol
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[object]] = set()
        self._closed = False
        self._begin()

    def close(self) -> None:
        """Accept no more."""
        self._closed = True
        self._loop.remove_reader(self._listening)

    async def wait_closed(self) -> None:
        """Wait until the connections that were accepted last are open."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _begin(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another process was faster, or the client has gone
        except OSError as problem:  # there are no more file descriptors
            log.error("connections can't be accepted now", reason=str(problem))
            self._loop.remove_reader(self._listening)
            self._loop.call_later(PAUSE_SECONDS, self._begin)
            return
        connection.setblocking(False)
        task = self._loop.create_task(self._loop.connect_accepted_socket(self._new_protocol, connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
