"""The replicas of a service, as a caller sees them: how busy each is, and whether it answers.

A call goes to the less busy of two replicas that are chosen at random ("The Power of Two Choices in Randomized Load
Balancing", Mitzenmacher 2001): nearly as even as asking the least busy of all, and no crowd runs after one of them. A
replica that fails isn't asked for a while; the pause doubles while it goes on failing.
"""

import asyncio
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import aiohttp
import structlog

from craton.application.errors import Unavailable
from craton.domain import world
from craton.runtime.topology import Address

FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 2.0
WAIT_SECONDS: Final = 0.5
"""How long a call waits for a pause to end."""
CONNECT_SECONDS: Final = 2.0
START_SECONDS: Final = 10.0
"""A replica that hasn't answered yet isn't reported for so long, because services start side by side."""
RESOLVE_SECONDS: Final = 5.0
"""How often the addresses behind a name are asked for again."""
IDLE_SECONDS: Final = 15.0
"""How long a connection is kept that isn't used: the other side keeps it a little longer."""
MAX_CONNECTIONS: Final = 256
"""How many calls to one replica are under way at the same time; others wait."""

_WATCHING: Final[Mapping[str, int]] = {
    "TCP_KEEPIDLE": 2,
    "TCP_KEEPINTVL": 1,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 5_000,
}
"""When a silent connection is asked after, how often, and how long sent data may stay unconfirmed (milliseconds)."""

log = structlog.get_logger("craton.services")


class _Connections:
    """Connections to one replica. Once they are given up, they are closed as soon as none is in use."""

    def __init__(self, connector: aiohttp.BaseConnector) -> None:
        self.session = aiohttp.ClientSession(
            connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        )
        self.in_use = 0
        self.is_given_up = False


class Endpoint:
    """One replica of a service, with its connections, which `connect` makes."""

    def __init__(self, name: str, place: str, base: str, connect: Callable[[], aiohttp.BaseConnector]) -> None:
        self.name = name
        self.base = base
        self.in_flight = 0
        self._place = place
        self._connect = connect
        self._connections = _Connections(connect())
        self._closing: set[asyncio.Task[None]] = set()
        self._pause = 0.0
        self._closed_at = self._answered_at = self.closed_until = 0.0
        self._expected_at = world.monotonic() + START_SECONDS
        self._is_reported = False

    @property
    def is_open(self) -> bool:
        """Whether it may be asked now."""
        return world.monotonic() >= self.closed_until

    @property
    def is_failing(self) -> bool:
        """Whether it hasn't answered when it was last asked."""
        return self._pause > 0.0

    @contextmanager
    def asking(self) -> Iterator[aiohttp.ClientSession]:
        """The session for a request that is made in the block."""
        connections = self._connections
        self.in_flight += 1
        connections.in_use += 1
        try:
            yield connections.session
        finally:
            self.in_flight -= 1
            connections.in_use -= 1
            self._close_if_unused(connections)

    def has_answered(self) -> None:
        self._answered_at = world.monotonic()
        if self._is_reported:
            log.info("a service answers again", service=self.name, address=self._place)
        self._pause, self._is_reported = 0.0, False

    def has_failed(self, began: float, reason: str) -> None:
        """Ask it no more for a while. `began`: when the request began that has failed. It says nothing if the replica
        has answered another request since, and nothing new if it has failed since."""
        if began < max(self._closed_at, self._answered_at):
            return
        if not self._is_reported and (self._answered_at or world.monotonic() > self._expected_at):
            log.warning("a service doesn't answer", service=self.name, address=self._place, reason=reason)
            self._is_reported = True
        self._pause = min(max(FIRST_PAUSE_SECONDS, 2 * self._pause), LONGEST_PAUSE_SECONDS)
        self._closed_at = world.monotonic()
        self.closed_until = self._closed_at + self._pause + world.jitter(self._pause / 2)

    def renew_connections(self) -> None:
        """Make new connections from now on, because the present ones may be dead without a word."""
        before, self._connections = self._connections, _Connections(self._connect())
        self._give_up(before)

    def leave(self) -> None:
        """Close its connections as soon as what is under way has ended: it isn't asked any more."""
        self._give_up(self._connections)

    def _give_up(self, connections: _Connections) -> None:
        connections.is_given_up = True
        self._close_if_unused(connections)

    def _close_if_unused(self, connections: _Connections) -> None:
        if connections.is_given_up and not connections.in_use:
            task = asyncio.create_task(connections.session.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        await asyncio.gather(self._connections.session.close(), *self._closing)


class Endpoints:
    """All replicas of one service. Names are resolved again and again, because replicas come and go."""

    def __init__(self, service: str, addresses: Sequence[Address]) -> None:
        self._service = service
        self._addresses = addresses
        self._known: dict[str, Endpoint] = {}
        self._resolved_at = -RESOLVE_SECONDS
        self._resolving: asyncio.Task[None] | None = None

    async def choose(self, deadline: float, avoided: Endpoint | None = None) -> Endpoint:
        """The replica to ask, if possible another one than `avoided`. Raises `Unavailable` if none may be asked soon.

        A short pause of all replicas is waited for, so that a connection that was broken costs no call its answer.
        """
        await self._resolve(deadline)
        opens = min((endpoint.closed_until for endpoint in self._known.values()), default=0.0)
        pause = opens - world.monotonic()
        if 0 < pause <= min(WAIT_SECONDS, deadline - world.monotonic()):
            await asyncio.sleep(pause)
        candidates = [endpoint for endpoint in self._known.values() if endpoint.is_open]
        others = [endpoint for endpoint in candidates if endpoint is not avoided]
        candidates = others or candidates
        if not candidates:
            raise Unavailable(f"The service {self._service} can't be reached now.", maybe_executed=False)
        if len(candidates) <= 2:
            return min(candidates, key=lambda endpoint: endpoint.in_flight)
        first = candidates.pop(int(world.jitter(len(candidates))) % len(candidates))
        second = candidates[int(world.jitter(len(candidates))) % len(candidates)]
        return first if first.in_flight <= second.in_flight else second

    @property
    def are_away(self) -> bool:
        """Whether none has answered when it was last asked."""
        return bool(self._known) and all(endpoint.is_failing for endpoint in self._known.values())

    async def close(self) -> None:
        if self._resolving is not None:
            self._resolving.cancel()
        await asyncio.gather(*(endpoint.close() for endpoint in self._known.values()))

    async def _resolve(self, deadline: float) -> None:
        """Look whether the addresses are still the same. Only the first look is waited for."""
        is_old = world.monotonic() - self._resolved_at >= RESOLVE_SECONDS
        if is_old and (self._resolving is None or self._resolving.done()):
            self._resolving = asyncio.create_task(self._look_up())
        if not self._known and self._resolving is not None:
            await asyncio.wait([self._resolving], timeout=max(0.0, deadline - world.monotonic()))

    async def _look_up(self) -> None:
        found: dict[str, Endpoint] = {}
        for address in self._addresses:
            if address.is_socket:
                found[address.text] = self._known.get(address.text) or self._of_socket(address)
                continue
            try:
                infos = await asyncio.get_running_loop().getaddrinfo(
                    address.host, address.port, type=socket.SOCK_STREAM
                )
            except OSError as problem:
                log.warning(
                    "the name of a service isn't known", service=self._service, host=address.host, reason=str(problem)
                )
                found |= {
                    text: endpoint for text, endpoint in self._known.items() if text.startswith(f"{address.text} ")
                }
                continue
            for _, _, _, _, place in infos:
                text = f"{address.text} {place[0]}"
                found[text] = self._known.get(text) or self._of_host(address, str(place[0]))
        gone = [endpoint for text, endpoint in self._known.items() if text not in found]
        self._known = found
        self._resolved_at = world.monotonic()
        for endpoint in gone:
            endpoint.leave()

    def _of_socket(self, address: Address) -> Endpoint:
        def connect() -> aiohttp.BaseConnector:
            return aiohttp.UnixConnector(address.path, limit=MAX_CONNECTIONS, keepalive_timeout=IDLE_SECONDS)

        return Endpoint(self._service, address.text, "http://service", connect)

    def _of_host(self, address: Address, host: str) -> Endpoint:
        def connect() -> aiohttp.BaseConnector:
            return aiohttp.TCPConnector(
                limit=MAX_CONNECTIONS,
                keepalive_timeout=IDLE_SECONDS,
                use_dns_cache=False,
                socket_factory=_watched_socket,
            )

        numeric = f"[{host}]" if ":" in host else host
        base = f"http://{numeric}:{address.port}"
        return Endpoint(self._service, base, base, connect)


def _watched_socket(info: Any) -> socket.socket:
    """A socket whose connection is given up when the other host is silent: it is asked after, and must say so."""
    family, kind, protocol, _, _ = info
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _WATCHING.items():
        if hasattr(socket, name):  # not every system has each of them
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made
