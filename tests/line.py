"""The line to a database, which can fall silent: nothing is closed, and nothing comes through any more."""

import contextlib
import socket
import threading
from typing import Self
from urllib.parse import urlsplit


class Line:
    """Passes on what a process and its Postgres server say to each other, until it is told not to.

    It runs in threads, so that it serves tests with and without an event loop.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = parts.hostname or "127.0.0.1", parts.port or 5432
        self._listening = socket.create_server(("127.0.0.1", 0))
        user = parts.netloc.rpartition("@")[0]
        self.url = parts._replace(netloc=f"{user}@127.0.0.1:{self._listening.getsockname()[1]}").geturl()
        """The database's URL by way of this line."""
        self._sockets: list[socket.socket] = []
        self._flows: list[threading.Event] = []
        self._silent = False
        self._word = b""
        self._lock = threading.Lock()
        self.fell_silent = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # ends the thread that accepts
        self._listening.close()
        for flow in self._flows:
            flow.set()
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def silence(self) -> None:
        """Nothing comes through any more, neither on old connections nor on new ones."""
        self._silent = True
        self.forget()

    def silence_at(self, word: bytes) -> None:
        """Fall silent when the process next says this word to the server, who doesn't hear it."""
        self._word = word

    def forget(self) -> None:
        """Nothing comes through the connections that there are; new ones are like any other."""
        with self._lock:
            for flow in self._flows:
                flow.clear()
        self.fell_silent.set()

    def cut(self) -> None:
        """Close the connections that there are."""
        with self._lock:
            for one in self._sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def speak(self) -> None:
        """Everything comes through again, what was held back first."""
        self._silent, self._word = False, b""
        for flow in self._flows:
            flow.set()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listening.accept()
                there = socket.create_connection(self._target)
            except OSError:
                return
            flow = threading.Event()
            if not self._silent:
                flow.set()
            with self._lock:
                self._sockets += here, there
                self._flows.append(flow)
            for source, sink in ((here, there), (there, here)):
                threading.Thread(target=self._pass_on, args=(source, sink, flow, source is here), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, flow: threading.Event, outward: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if outward and self._word and self._word in data:
                    self.silence()
                flow.wait()
                sink.sendall(data)
            flow.wait()
            sink.shutdown(socket.SHUT_WR)
