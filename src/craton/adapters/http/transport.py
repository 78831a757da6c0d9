"""A transport that sends what is written in one turn of the event loop together.

A server writes the head of an answer and its body one after the other; two calls of the system would take longer than
all the rest of a short answer.
"""

import asyncio
from typing import Any, Final

SENT_AT_ONCE: Final = 64 * 1024
"""The number of bytes that aren't held back, so that a long answer doesn't gather in memory."""


class JoiningTransport:
    """The part of a transport that uvicorn uses, around another transport."""

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._size = 0
        self.get_extra_info = transport.get_extra_info
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.is_closing = transport.is_closing
        self.abort = transport.abort

    def write(self, data: bytes) -> None:
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)
        self._size += len(data)
        if self._size >= SENT_AT_ONCE:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            held, self._held, self._size = self._held, [], 0
            if not self._transport.is_closing():
                self._transport.write(b"".join(held))
