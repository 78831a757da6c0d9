"""uvicorn's protocol, limited in bytes, lines and time, whatever a client sends or doesn't send.

A connection is always in one of these stages. In each stage except ANSWER a timer runs, which received bytes don't
restart. (In ANSWER the requests have deadlines of their own.)

    HEAD    a request's head isn't complete, or hasn't begun
    BODY    the head is complete, but the body isn't; the request may already be answered
    ANSWER  all requests are complete, but not all are answered
    IDLE    all requests are answered, and no other has begun

A client that doesn't read its answers is cut off as well. An error in a request is answered after the requests that
came before it, because those have run.
"""

import asyncio
from collections import Counter, deque
from enum import Enum, auto
from http import HTTPStatus
from math import inf
from operator import itemgetter
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from craton.adapters.addresses import address_of
from craton.adapters.http import problems
from craton.adapters.http.replies import of_problem
from craton.adapters.http.transport import JoiningTransport
from craton.domain import uuid7

MAX_CONNECTIONS: Final = 2_000
MAX_HEAD_BYTES: Final = 64 * 1024
"""The limit for a head, and for other bytes in a row that aren't a body: trailers and the framing of chunks."""
MAX_HEAD_LINES: Final = 100
UNREAD_SECONDS: Final = 20.0
"""How long a client may leave sent data unread, also when its connection is being closed."""
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
    """Counts the connections of each address: at most `share` per cent of all, so that one address can't block
    others."""

    def __init__(self, share: int) -> None:
        self._share = share
        self._held: Counter[str] = Counter()
        self.within = 0
        """The number of connections, without those beyond their address's share."""

    def take(self, address: str) -> None:
        self._held[address] += 1
        self.within += not self.has_too_many(address)

    def give_back(self, address: str) -> None:
        self.within -= not self.has_too_many(address)
        self._held[address] -= 1
        if not self._held[address]:
            del self._held[address]

    def has_too_many(self, address: str) -> bool:
        """Whether the address is over its share. Clients of a Unix socket have no address, so they share one count."""
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
        self._ends_at = inf
        """When the stage runs out."""
        self._unread_timer: asyncio.TimerHandle | None = None
        self._refusal: bytes | None = None
        super().connection_made(JoiningTransport(transport, self.loop))  # type: ignore[arg-type]  # it has what is used
        self._address = address_of(self.client[0]) if self.client else ""
        self._addresses.take(self._address)
        self._watch()
        self._is_too_many = self._there_are_too_many and not self._make_room()
        if self._is_too_many and len(self.connections) > 2 * MAX_CONNECTIONS:
            self._end()  # without an answer

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
        elif not self._in_body:  # a trailer isn't a header: it comes while the request is being carried out
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
        self._refuse(400, "malformed-request", "The received data isn't a proper HTTP request.")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._cut_off_later()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread_timer is not None and not self.transport.is_closing():
            self._unread_timer.cancel()
            self._unread_timer = None

    def _refuse(self, status: int, code: str, detail: str) -> None:
        """Read no more. When the complete requests are answered, answer with this, and close the connection."""
        if self._refusal is not None or self.transport.is_closing():
            return
        if self._receiving and self._in_body and self.cycle.response_complete:
            self._end()  # the faulty request is answered already
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
        """Close the idle connection whose time ends first; return whether there was one.

        If an address has too many connections, one of its own is closed.
        """
        others = (other for other in self.connections if isinstance(other, BoundedProtocol) and other is not self)
        if self._addresses.has_too_many(self._address):
            others = (other for other in others if other._address == self._address)
        silent = [(other._ends_at, other) for other in others if other._is_silent]
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
        """Note when the stage that the connection has entered runs out.

        A timer that runs is left alone unless it would come too late: most stages end long before their time.
        """
        at = (self._requests, self._stage)
        if at == self._watched:
            return
        self._watched = at
        seconds = STAGE_SECONDS.get(at[1])
        self._ends_at = inf if seconds is None else self.loop.time() + seconds
        if self._timer is None or self._ends_at < self._timer.when():
            self._start_timer()

    def _start_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if self._ends_at == inf else self.loop.call_at(self._ends_at, self._time_passed)

    def _time_passed(self) -> None:
        self._timer = None
        if self.loop.time() < self._ends_at:
            self._start_timer()
        else:
            self._run_out()

    def _run_out(self) -> None:
        match self._stage:
            case Stage.HEAD:
                self._refuse(408, "request-timeout", "The head of the request did not arrive in time.")
            case Stage.BODY if self.flow.read_paused:  # the server itself has paused reading
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
