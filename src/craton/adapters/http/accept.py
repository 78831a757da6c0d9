"""Accepts connections from a socket that several processes share.

When many clients connect at once, the process that wakes first would take them all. So a process takes one connection
and pauses, which lets others take theirs; if there are still more then, it takes two, then four, until all are taken.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

import structlog

PAUSE_SECONDS: Final = 0.001
MOST_AT_ONCE: Final = 64
EXHAUSTED_SECONDS: Final = 1.0
"""The pause when the process can't open any more connections."""

log = structlog.get_logger("craton.http")


class SharedAccept:
    """Has one process take its share of the connections."""

    def __init__(self, listening: socket.socket, new_protocol: Callable[[], asyncio.Protocol]) -> None:
        self._listening = listening
        self._new_protocol = new_protocol
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[object]] = set()
        self._closed = False
        self._at_once = 1
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
            for _ in range(self._at_once):
                self._open(self._listening.accept()[0])
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            self._at_once = 1  # all are taken
        except OSError as problem:
            log.error("connections can't be accepted now", reason=str(problem))
            self._pause(EXHAUSTED_SECONDS)
        else:
            self._at_once = min(2 * self._at_once, MOST_AT_ONCE)
            self._pause(PAUSE_SECONDS)

    def _open(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        task = self._loop.create_task(self._loop.connect_accepted_socket(self._new_protocol, connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listening)
        self._loop.call_later(seconds, self._begin)
