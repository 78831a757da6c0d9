"""Crashes an application on purpose, in a process of its own, to check what is left of its work.

    with Process(data=folder, crash_at="commit.written:40") as doomed:
        sent = drive(doomed, [script] * 8)      # until it dies
    with Process(data=folder) as healed:
        repeat(healed, sent)                    # send what had no answer again, with its key
        ...                                     # now check the state

A script is a function that is given `send` and sends one command after the other. Every command has an idempotency
key, so a command without an answer can simply be sent again. `sent` holds all commands and their answers, in a form
from which a test computes the expected state.

The crash is a SIGKILL that the process gives itself at a named point (`craton.ports.crash`): no handler runs, nothing
is flushed. Everything here is the standard library's: a real process and a real HTTP client.
"""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Self
from uuid import uuid4

from craton.ports.crash import CRASH_POINTS

__all__ = [
    "CRASH_POINTS",
    "Client",
    "Command",
    "NoAnswer",
    "Process",
    "Reply",
    "Script",
    "Send",
    "Sent",
    "drive",
    "repeat",
]

# These bound work that would never end, and leave enough time for a slow and busy machine.
START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 120.0
DEATH_SECONDS: Final = 30.0
ANSWER_SECONDS: Final = 120.0
DRIVE_SECONDS: Final = 300.0
REPEAT_SECONDS: Final = 300.0
PAUSE_SECONDS: Final = 0.05
_CRATON: Final = "import sys; from craton.cli.main import run; sys.argv[0] = 'craton'; run()"


class NoAnswer(Exception):
    """The connection ended before there was an answer, so it is unknown whether the command ran."""


@dataclass(frozen=True)
class Reply:
    """An answer. `body` is the decoded JSON; None if the answer has no body."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def final(self) -> bool:
        """Whether this is the command's outcome (which may be a refusal), and not a request to try again."""
        return self.status < 500 and self.status != 429


@dataclass(frozen=True)
class Command:
    """A request that changes something, and its idempotency key."""

    path: str
    body: Any
    method: str = "POST"
    key: str = field(default_factory=lambda: uuid4().hex)


@dataclass
class Sent:
    """A command and its final answer; `reply` is None until there is one.

    `first` is the answer to the first attempt (None: the process was gone), `asked` the number of attempts.
    """

    command: Command
    reply: Reply | None = None
    first: Reply | None = None
    asked: int = 0

    def note(self, reply: Reply | None) -> None:
        self.asked += 1
        if self.asked == 1:
            self.first = reply
        if reply is not None and reply.final:
            self.reply = reply


Send = Callable[[Command], Reply]
Script = Callable[[Send], None]


class Client:
    """A keep-alive connection to a process. Not for several threads at once."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        """Send a request. Raises `NoAnswer` when the connection ends before the answer is complete."""
        content = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": "application/json"} if content is not None else {}
        try:
            self._connection.request(method, path, content, {**sent, **(headers or {})})
            response = self._connection.getresponse()
            text = response.read()
        except (http.client.HTTPException, OSError) as problem:
            self._connection.close()
            raise NoAnswer(f"{method} {path}: {type(problem).__name__}: {problem}") from None
        names = {name.lower(): value for name, value in response.getheaders()}
        is_json = "json" in names.get("content-type", "")
        return Reply(response.status, names, json.loads(text) if text and is_json else None)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        return self.request("POST", path, body, headers)

    def send(self, command: Command) -> Reply:
        """Send a command with its key."""
        return self.request(command.method, command.path, command.body, {"idempotency-key": command.key})


class Process:
    """An application served by `craton up` in a process of its own, without demo data.

    `store` and `app` are the command's options, `crash_at` is `point` or `point:n`, `folder` is the working directory
    (the project's), and `prepare` runs in the new process before anything else, for example to set limits.
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
    ) -> None:
        self.data = data
        self.store = store
        self._app = app
        self._port = port
        self._folder = folder
        self._prepare = prepare
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith("CRATON_")
        } | dict(environment or {})
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
        """Kill the process if it still runs, and delete its output."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._out.close()
        self._err.close()

    # --- starting and stopping -----------------------------------------------------------------------------------

    def launch(self) -> None:
        """Start the process without waiting until it serves."""
        arguments = ["up", *([self._app] if self._app else []), "--port", str(self._port), "--empty"]
        arguments += ["--data", str(self.data), "--store", self.store]
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
        """Start the process and wait until it serves. Raises `RuntimeError` with its output if it doesn't start."""
        self.launch()
        deadline = time.monotonic() + START_SECONDS
        while (port := self._announced_port()) is None:
            if self.exit_code is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the process did not start (exit code {self.exit_code}): {self.output}{self.log}")
            time.sleep(0.01)
        self._port = port

    def stop(self, seconds: float = STOP_SECONDS) -> int:
        """Send SIGTERM and wait for the end; return the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def kill(self) -> None:
        """Kill the process from outside, and wait until it has ended."""
        self.signal(signal.SIGKILL)
        self.wait()

    def signal(self, number: signal.Signals) -> None:
        self._running.send_signal(number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for its end; return its exit code, or minus the number of the signal that killed it."""
        return self._running.wait(seconds)

    @property
    def exit_code(self) -> int | None:
        """The exit code; None while the process runs."""
        return self._running.poll()

    @property
    def killed(self) -> bool:
        """Whether it was killed by SIGKILL. Its connections end a moment before the process: this waits for that
        moment."""
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

    # --- output --------------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        return self._port

    @property
    def output(self) -> str:
        """The process's stdout so far."""
        return _written(self._out)

    @property
    def log(self) -> str:
        """The process's stderr so far."""
        return _written(self._err)

    def _announced_port(self) -> int | None:
        found = re.search(r"http://\S+:(\d+)\n(?s:.*)Ctrl-C", self.output)
        return int(found[1]) if found else None

    # --- requests ------------------------------------------------------------------------------------------------

    @contextmanager
    def client(self) -> Iterator[Client]:
        """A connection for the block."""
        with Client(self.port) as client:
            yield client

    def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        """Send one request on a connection of its own. Raises `NoAnswer`."""
        with self.client() as client:
            return client.request(method, path, body, headers)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        return self.request("POST", path, body, headers)


def drive(
    process: Process,
    scripts: Sequence[Script],
    *,
    seconds: float = DRIVE_SECONDS,
    until: Callable[[], bool] = lambda: False,
) -> list[Sent]:
    """Run the scripts in parallel, each on a connection of its own, until the process dies; return all sent commands.

    A script is repeated until the process no longer answers; all scripts end when `until` returns true, or after
    `seconds`. Where a crash was expected, assert `process.killed`.
    """
    deadline = time.monotonic() + seconds
    sent: list[Sent] = []
    failures: list[BaseException] = []
    stop = threading.Event()

    def run(script: Script) -> None:
        def send(command: Command) -> Reply:
            entry = Sent(command)
            sent.append(entry)
            try:
                reply = client.send(command)
            except NoAnswer:
                entry.note(None)
                raise
            entry.note(reply)
            return reply

        with process.client() as client:
            try:
                while not stop.is_set():
                    script(send)
            except NoAnswer:
                return
            except BaseException as problem:
                failures.append(problem)
                stop.set()

    threads = [threading.Thread(target=run, args=(script,), daemon=True) for script in scripts]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) and not stop.is_set():
        if time.monotonic() > deadline or until():
            stop.set()
        time.sleep(0.005)
    for thread in threads:
        thread.join(ANSWER_SECONDS)
    if failures:
        raise failures[0]
    return sent


def repeat(process: Process, sent: Sequence[Sent], *, clients: int = 8, seconds: float = REPEAT_SECONDS) -> None:
    """Send commands without a final answer again, with their keys, until each has one. Raises `TimeoutError`."""
    waiting = [entry for entry in sent if entry.reply is None]
    deadline = time.monotonic() + seconds
    failures: list[BaseException] = []

    def run() -> None:
        with process.client() as client:
            while waiting and not failures:
                try:
                    entry = waiting.pop()
                except IndexError:
                    return
                try:
                    _repeat_one(client, entry, deadline)
                except (NoAnswer, TimeoutError) as problem:
                    failures.append(problem)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def _repeat_one(client: Client, entry: Sent, deadline: float) -> None:
    while entry.reply is None:
        reply = client.send(entry.command)
        entry.note(reply)
        if entry.reply is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{entry.command.path} was still answered with {reply.status}: {reply.body}")
            time.sleep(PAUSE_SECONDS)


def _written(file: IO[bytes]) -> str:
    # Read at an explicit offset, because the file's own offset belongs to the process that writes.
    return os.pread(file.fileno(), 1 << 24, 0).decode(errors="replace")
