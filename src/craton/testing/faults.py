"""A line between two processes, which can be cut, slowed, or made silent: for tests of what happens then.

with Line("postgresql://postgres@127.0.0.1:5432/test") as line:
    …a process that connects to line.url…
    line.black_hole()        # nothing is closed, and nothing comes through any more
    line.heal()              # everything comes through again, first what was held back, as TCP has it
    line.half_open("down")   # what the client says arrives; what the server says doesn't
    line.delay(0.2)          # everything arrives so many seconds later
    line.cut_after(100)      # a connection is reset when its server has said so many bytes from now on
    line.reset()             # every connection is reset, and new ones are too, until `heal`

A fault counts for the connections that there are and for new ones. The line runs in threads of its own, so that it
serves tests with and without an event loop.
"""

import contextlib
import socket
import struct
import threading
import time
from pathlib import Path
from typing import Final, Literal, Self
from urllib.parse import urlsplit

CHUNK_BYTES: Final = 64 * 1024
_RESET: Final = struct.pack("ii", 1, 0)
"""The socket option by which closing a connection resets it."""

Direction = Literal["up", "down"]
"""`up`: from the client to the server."""


class Connection:
    """One connection through a line: its two ends, and what holds it up."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.ends = client, server
        self.flows: dict[Direction, threading.Event] = {"up": threading.Event(), "down": threading.Event()}
        self.left: int | None = None
        """How many bytes its server may still say."""

    def reset(self) -> None:
        for end in self.ends:
            with contextlib.suppress(OSError):
                if end.family != socket.AF_UNIX:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.shutdown(socket.SHUT_RDWR)  # wakes the threads that read; the last of them closes it
        self.let_go()

    def let_go(self) -> None:
        for flow in self.flows.values():
            flow.set()


class Line:
    """Passes on what a client and a server say to each other.

    `target` is a URL with a host and a port (5432 without one), or the path of a socket. It listens on a free port of
    this host, or at the socket `at`.
    """

    def __init__(self, target: str | Path, *, at: Path | None = None) -> None:
        self._path = target if isinstance(target, Path) else None
        parts = urlsplit("" if isinstance(target, Path) else target)
        self._target = parts.hostname or "127.0.0.1", parts.port or 5432
        self._listening = _listen(at)
        self.port: int = 0 if at is not None else self._listening.getsockname()[1]
        """Where it listens."""
        user, at_sign, _ = parts.netloc.rpartition("@")
        self.url = parts._replace(netloc=f"{user}{at_sign}127.0.0.1:{self.port}").geturl()
        """The target's URL by way of this line."""
        self._connections: list[Connection] = []
        self._held: set[Direction] = set()
        self._delay = 0.0
        self._limit: int | None = None
        self._refuses = False
        self._word = b""
        self._lock = threading.Lock()
        self.has_accepted = threading.Event()
        """Set when a client has connected."""
        self.fell_silent = threading.Event()
        """Set when something was held back, or was to be from then on."""

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # ends the thread that accepts
        self._listening.close()
        for connection in self._connections:
            connection.let_go()
            for end in connection.ends:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    # --- faults --------------------------------------------------------------------------------------------------

    def black_hole(self) -> None:
        """Let nothing through any more, neither on old connections nor on new ones."""
        self._held = {"up", "down"}
        self.forget()

    def black_hole_at(self, word: bytes) -> None:
        """Do so when the client next says this word to the server, which doesn't hear it."""
        self._word = word

    def half_open(self, lost: Direction) -> None:
        """Let nothing through in one direction."""
        self._held = {lost}
        with self._lock:
            for connection in self._connections:
                connection.flows[lost].clear()
        self.fell_silent.set()

    def forget(self) -> None:
        """Let nothing through the connections that there are; new ones are like any other."""
        with self._lock:
            for connection in self._connections:
                for flow in connection.flows.values():
                    flow.clear()
        self.fell_silent.set()

    def delay(self, seconds: float) -> None:
        """Pass everything on so much later."""
        self._delay = seconds

    def cut(self) -> None:
        """Close the connections that there are."""
        with self._lock:
            for connection in self._connections:
                for end in connection.ends:
                    with contextlib.suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)

    def cut_after(self, count: int) -> None:
        """Reset each connection, old or new, when its server has said so many bytes from now on."""
        self._limit = count
        with self._lock:
            for connection in self._connections:
                connection.left = count

    def reset(self) -> None:
        """Reset the connections that there are, and each new one."""
        self._refuses = True
        with self._lock:
            for connection in self._connections:
                connection.reset()

    def heal(self) -> None:
        """Let everything through again, first what was held back."""
        self._held, self._word, self._delay, self._limit, self._refuses = set(), b"", 0.0, None, False
        with self._lock:
            for connection in self._connections:
                connection.left = None
                connection.let_go()

    # --- what passes ---------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            try:
                server = self._connect()
            except OSError:
                client.close()
                continue
            connection = Connection(client, server)
            with self._lock:
                for direction, flow in connection.flows.items():
                    if direction not in self._held:
                        flow.set()
                connection.left = self._limit
                self._connections.append(connection)
            self.has_accepted.set()
            if self._refuses:
                connection.reset()
            for way in ("up", "down"):
                threading.Thread(target=self._pass_on, args=(connection, way), daemon=True).start()

    def _connect(self) -> socket.socket:
        if self._path is None:
            return socket.create_connection(self._target)
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(str(self._path))
        except OSError:
            server.close()
            raise
        return server

    def _pass_on(self, connection: Connection, way: Direction) -> None:
        source, sink = connection.ends if way == "up" else reversed(connection.ends)
        flow = connection.flows[way]
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                if way == "up" and self._word and self._word in data:
                    self.black_hole()
                if self._delay:
                    time.sleep(self._delay)
                flow.wait()
                if way == "down" and connection.left is not None:
                    data = data[: connection.left]
                    connection.left -= len(data)
                self._say(connection, sink, data, way)
                if connection.left == 0:
                    connection.reset()
                    return
            flow.wait()
            sink.shutdown(socket.SHUT_WR)

    def _say(self, connection: Connection, sink: socket.socket, data: bytes, way: Direction) -> None:
        """Pass some bytes on. Tests of one protocol look at them here."""
        sink.sendall(data)


def _listen(at: Path | None) -> socket.socket:
    if at is None:
        return socket.create_server(("127.0.0.1", 0))
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(at))
    listening.listen()
    return listening
