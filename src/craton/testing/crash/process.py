"""An application in a process of its own, which can be killed."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Self

from craton.testing.crash.client import Client, Reply

# These bound what never ends, on a slow and busy machine, too.
START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 120.0
DEATH_SECONDS: Final = 30.0
_CRATON: Final = "import sys; from craton.cli.main import run; sys.argv[0] = 'craton'; run()"


class Process:
    """An application served by `craton up` in a process of its own, without demo data.

    `store` and `app` are what the command takes, `crash_at` is `point` or `point:n`, `folder` is the one it runs in
    (that of the project), `prepare` is run in the new process before anything else (to set limits there). `topology` is
    the file of one: then all its services and the gateway run, and `crash_at` is such as `shop=commit.written:9`, with
    the points at which a service dies each time it is started.
    """

    def __init__(
        self,
        *,
        data: Path,
        store: str = "sqlite",
        app: str | None = None,
        crash_at: str | None = None,
        port: int = 0,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        prepare: Callable[[], None] | None = None,
        topology: Path | None = None,
    ) -> None:
        self._topology = topology
        self.data = data
        self.store = store
        self._app = app
        self._port = port
        self._folder = folder
        self._prepare = prepare
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("CRATON_")},
            "CRATON_LIMITS": "off",  # it is asked more than anybody may ask
            "CRATON_GRPC_PORT": "0",  # so that processes that run at the same time don't get in each other's way
            **(environment or {}),
        }
        if crash_at is not None:
            self._environment["CRATON_CRASH_AT"] = crash_at
        self._process: subprocess.Popen[bytes] | None = None
        self._out: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 — closed by close
        self._err: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 — closed by close

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill it if it still runs, and forget what it said."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._out.close()
        self._err.close()

    # --- life and death ------------------------------------------------------------------------------------------

    def launch(self) -> None:
        """Start the process without waiting until it serves."""
        arguments = ["up", "--empty", "--data", str(self.data)]
        if self._topology is not None:
            arguments += ["--topology", str(self._topology)]
        else:
            arguments += [*([self._app] if self._app else []), "--port", str(self._port), "--store", self.store]
        self._process = subprocess.Popen(  # noqa: S603 — this very program
            [sys.executable, "-c", _CRATON, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            cwd=self._folder,
            env=self._environment,
            preexec_fn=self._prepare,  # noqa: PLW1509 — only what a test has asked for runs there
        )

    def start(self) -> None:
        """Start the process and wait until it serves. Raises `RuntimeError` with what it said when it does not."""
        self.launch()
        if not self.comes_up():
            raise RuntimeError(f"it did not start (exit code {self.exit_code}): {self.output}{self.log}")

    def comes_up(self) -> bool:
        """Wait until it serves; False if it ended before that, or takes too long."""
        deadline = time.monotonic() + START_SECONDS
        while (port := self._announced_port()) is None:
            if self.exit_code is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        self._port = port
        return True

    def stop(self, seconds: float = STOP_SECONDS) -> int:
        """Ask it to end (SIGTERM), wait for that; return its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def kill(self) -> None:
        """Kill it from outside, and wait until it is dead."""
        self.signal(signal.SIGKILL)
        self.wait()

    def signal(self, number: signal.Signals) -> None:
        self._running.send_signal(number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for its end; return its exit code, or minus the number of the signal that killed it."""
        return self._running.wait(seconds)

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._running.poll()

    @property
    def killed(self) -> bool:
        """Whether it died by SIGKILL, and by nothing else. Its connections end a moment before it: waits for that."""
        try:
            return self.wait(DEATH_SECONDS) == -signal.SIGKILL
        except subprocess.TimeoutExpired:
            return False

    @property
    def pid(self) -> int:
        return self._running.pid

    @property
    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise RuntimeError("the process was not started")
        return self._process

    # --- what it says --------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        return self._port

    @property
    def output(self) -> str:
        """What it has written to stdout."""
        return _written(self._out)

    @property
    def log(self) -> str:
        """What it has written to stderr."""
        return _written(self._err)

    def _announced_port(self) -> int | None:
        found = re.search(r"http://\S+:(\d+)\n(?s:.*)Ctrl-C", self.output)
        return int(found[1]) if found else None

    # --- asking it -----------------------------------------------------------------------------------------------

    @contextmanager
    def client(self) -> Iterator[Client]:
        """A connection of one's own."""
        with Client(self.port) as client:
            yield client

    def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        """Ask once, on a connection of its own. Raises `NoAnswer`."""
        with self.client() as client:
            return client.request(method, path, body, headers)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        return self.request("POST", path, body, headers)


def _written(file: IO[bytes]) -> str:
    # Read at an offset: the file's own one belongs to the process that writes.
    return os.pread(file.fileno(), 1 << 24, 0).decode(errors="replace")
