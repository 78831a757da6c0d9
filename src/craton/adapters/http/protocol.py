"""uvicorn's protocol, bounded in bytes, in lines and in time, whatever a client sends, or doesn't.

A connection is at one of these stages, and at each a timer runs that no byte starts anew, but while a request is
answered, which has a deadline of its own:

    HEAD    it has begun a request (or none yet) whose head isn't complete
    BODY    the head is complete, the body isn't; the request may be answered already
    ANSWER  its requests are complete, and not all of them answered
    IDLE    all is answered, and nothing has begun

A client that doesn't read its answers is cut off as well. What is wrong with a request is answered after those that
came before it, for they have run.
"""

import asyncio
from collections import Counter, deque
from enum import Enum, auto
from http import HTTPStatus
from operator import itemgetter
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from craton.adapters.http import problems
from craton.adapters.http.addresses import address_of
from craton.adapters.http.replies import of_problem
from craton.domain import uuid7

MAX_CONNECTIONS: Final = 2_000
MAX_HEAD_BYTES: Final = 64 * 1024
"""Of a head; and of whatever else comes in a row that is no body: trailers, what is said about chunks."""
MAX_HEAD_LINES: Final = 100
UNREAD_SECONDS: Final = 20.0
"""So long a client may leave unread what it was sent, or what is left of it when its connection is closed."""
_ON_REFUSALS: Final = (
    (b"connection", b"close"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)


class Stage(Enum):
    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    IDLE = auto()


STAGE_SECONDS: Final = {Stage.HEAD: 10.0, Stage.BODY: 20.0, Stage.IDLE: 30.0}


class Addresses:
    """How many connections each address holds: `share` per cent of all at most, so that one can't keep others out."""

    def __init__(self, share: int) -> None:
        self._share = share
        self._held: Counter[str] = Counter()
        self.within = 0
        """How many connections there are without those that are more than their address may hold."""

    def take(self, address: str) -> None:
        self._held[address] += 1
        self.within += not self.has_too_many(address)

    def give_back(self, address: str) -> None:
        self.within -= not self.has_too_many(address)
        self._held[address] -= 1
        if not self._held[address]:
            del self._held[address]

    def has_too_many(self, address: str) -> bool:
        """Of a Unix socket's clients no address is known; what comes that way is bounded together with the rest."""
        return address != "" and self._held[address] > max(1, MAX_CONNECTIONS * self._share // 100)


class BoundedProtocol(HttpToolsProtocol):
    def __init__(self, *arguments: Any, addresses: Addresses, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._addresses = addresses

    def connection_made(self, transport: Any) -> None:
        self._requests = 0
        self._receiving = False
        self._in_body = False
        self._head_lines = 0
        self._head_bytes = 0
        self._unanswered: deque[RequestResponseCycle] = deque()
        self._watched: tuple[int, Stage] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._refusal: bytes | None = None
        super().connection_made(transport)
        self._address = address_of(self.client[0]) if self.client else ""
        self._addresses.take(self._address)
        self._watch()
        self._is_too_many = self._there_are_too_many and not self._make_room()
        if self._is_too_many and len(self.connections) > 2 * MAX_CONNECTIONS:
            self._end()  # not even to be told so

    def connection_lost(self, exc: Exception | None) -> None:
        self._addresses.give_back(self._address)
        for timer in (self._timer, self._unread_timer):
            if timer is not None:
                timer.cancel()
        for cycle in self._unanswered:
            cycle.disconnected = True
            cycle.message_event.set()
        super().connection_lost(exc)

    # --- what arrives --------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        while data and self._refusal is None and not self.transport.is_closing():
            room = MAX_HEAD_BYTES - self._head_bytes
            part, data = data[:room], data[room:]
            self._head_bytes += len(part)
            super().data_received(part)
            if self._head_bytes >= MAX_HEAD_BYTES:
                self._refuse(431, "head-too-large", "The head of the request is too large.")
        self._watch()

    def on_message_begin(self) -> None:
        self._requests += 1
        self._receiving, self._in_body, self._head_lines = True, False, 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_lines += 1
        if self._head_lines > MAX_HEAD_LINES:
            self._refuse(431, "head-too-large", f"The head of the request has more than {MAX_HEAD_LINES} lines.")
        elif not self._in_body:  # a trailer is no header: it comes when the request is being carried out
            super().on_header(name, value.rstrip(b" \t"))

    def on_headers_complete(self) -> None:
        self._head_bytes = 0
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            self._refuse(400, "malformed-header", "A request has one Host header.")
        elif self._is_too_many and self._there_are_too_many and not self.url.startswith(b"/health/"):
            self._refuse(503, "overloaded", "The server has more connections than it can serve; try again.")
        if self._refusal is None:
            super().on_headers_complete()
            self._in_body = True
            self._unanswered.append(self.cycle)

    def on_chunk_header(self) -> None:
        self._head_bytes = 0

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        if self._refusal is None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._receiving = False
        self._head_bytes = 0
        if self._refusal is None:
            super().on_message_complete()

    # --- what is answered ----------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        self._unanswered.popleft()
        super().on_response_complete()
        if self._refusal is not None:
            self._answer_with_refusal()
        elif self.transport.is_closing():
            self._cut_off_later()
        else:
            self._watch()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "malformed-request", "What was sent is no proper HTTP request.")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._cut_off_later()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread_timer is not None and not self.transport.is_closing():
            self._unread_timer.cancel()
            self._unread_timer = None

    def _refuse(self, status: int, code: str, detail: str) -> None:
        """Read no more; answer this when what was complete before is answered, and close."""
        if self._refusal is not None or self.transport.is_closing():
            return
        if self._receiving and self._in_body and self.cycle.response_complete:
            self._end()  # the request that goes wrong has its answer
            return
        known_as = (b"craton-request-id", uuid7().encode())
        _, headers, body = of_problem(problems.make(status, code, detail), *_ON_REFUSALS, known_as)
        head = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self._refusal = b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (status, HTTPStatus(status).phrase.encode(), head, body)
        self.pipeline = deque(waiting for waiting in self.pipeline if not waiting[0].more_body)
        self._answer_with_refusal()

    def _answer_with_refusal(self) -> None:
        if all(cycle.more_body for cycle in self._unanswered):
            if self._refusal is not None and not any(cycle.response_started for cycle in self._unanswered):
                self.transport.write(self._refusal)
            self._end()

    # --- more connections than the server serves ----------------------------------------------------------------

    @property
    def _there_are_too_many(self) -> bool:
        return self._addresses.within > MAX_CONNECTIONS or self._addresses.has_too_many(self._address)

    def _make_room(self) -> bool:
        """Close the connection on which nothing goes on and whose time is over first; return whether there was one.

        Where it is one address that has too many, it is one of its own.
        """
        others = (other for other in self.connections if isinstance(other, BoundedProtocol) and other is not self)
        if self._addresses.has_too_many(self._address):
            others = (other for other in others if other._address == self._address)
        silent = [(other._timer.when(), other) for other in others if other._is_silent and other._timer is not None]
        if silent:
            min(silent, key=itemgetter(0))[1]._end()
        return bool(silent)

    @property
    def _is_silent(self) -> bool:
        return not self._receiving and not self._unanswered and not self.transport.is_closing()

    # --- time ----------------------------------------------------------------------------------------------------

    @property
    def _stage(self) -> Stage:
        if self._receiving or not self._requests:
            return Stage.BODY if self._in_body else Stage.HEAD
        return Stage.ANSWER if self._unanswered else Stage.IDLE

    def _watch(self) -> None:
        """Have a timer run for the stage that the connection is at, from when it got there."""
        at = (self._requests, self._stage)
        if at != self._watched:
            self._watched = at
            if self._timer is not None:
                self._timer.cancel()
            seconds = STAGE_SECONDS.get(self._stage)
            self._timer = None if seconds is None else self.loop.call_later(seconds, self._run_out)

    def _run_out(self) -> None:
        match self._stage:
            case Stage.HEAD:
                self._refuse(408, "request-timeout", "The head of the request did not arrive in time.")
            case Stage.BODY if self.flow.read_paused:  # it is the server that doesn't read
                self._watched = None
                self._watch()
            case Stage.BODY:
                self._refuse(408, "request-timeout", "The body did not arrive in time.")
            case _:
                self._end()

    def _end(self) -> None:
        self.transport.close()
        self._cut_off_later()

    def _cut_off_later(self) -> None:
        if self._unread_timer is None:
            self._unread_timer = self.loop.call_later(UNREAD_SECONDS, self.transport.abort)
