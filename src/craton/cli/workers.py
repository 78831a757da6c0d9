"""Several processes of one application on one listening socket: `craton up --workers 4`.

The first process that is told to serve becomes the supervisor. It opens the socket, starts the workers, writes one
banner, and starts a worker again that has ended, after a pause that grows. It serves nothing and opens no store. Which
worker does the work in the background is settled by the leases, as between any processes.
"""

import asyncio
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import msgspec
import structlog

from craton.cli.children import COMMAND, Child, end, keep, told_by
from craton.cli.load import FAILED

VARIABLE: Final = "CRATON_WORKER"
"""How the supervisor tells a process that it is a worker, and which of its files are for it."""
TOGETHER_SECONDS: Final = 30.0
"""How long workers that have started wait for the others before they accept connections."""
KILL_SECONDS: Final = 12.0
"""A worker that hasn't ended after this time is killed; by itself it gives up after ten seconds."""

log = structlog.get_logger("craton.workers")


class Worker(Child, frozen=True):
    """What a worker is given."""

    listening: int
    go: int
    """Where it is told that all workers serve, so that it may accept connections: otherwise the first worker would take
    all that came before the others were there."""

    @staticmethod
    def from_environment() -> "Worker | None":
        """This process as a worker; None if it is none."""
        text = os.environ.get(VARIABLE)
        return None if text is None else msgspec.json.decode(text, type=Worker)

    def socket(self) -> socket.socket:
        listening = socket.socket(fileno=self.listening)
        listening.setblocking(False)
        return listening

    def all_have_started(self) -> asyncio.Future[None]:
        """A future that is done when all workers serve."""
        loop = asyncio.get_running_loop()
        started: asyncio.Future[None] = loop.create_future()

        def note() -> None:
            loop.remove_reader(self.go)
            os.close(self.go)
            started.set_result(None)

        loop.add_reader(self.go, note)
        return started


class Supervisor:
    """Runs the workers until it is told to stop. `tell` shows the banner, with the sentences of the first worker."""

    def __init__(self, count: int, listening: socket.socket, tell: Callable[[Sequence[str]], None]) -> None:
        self._count = count
        self._listening = listening
        self._tell = tell
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._waiting: list[int] = []
        """Where the workers that may not accept yet are told so, by closing it."""
        self._all_have_started = False
        self._stopping = asyncio.Event()
        self._alive, self._mine = os.pipe()  # closed with this process, which the workers notice

    async def run(self) -> int:
        """Return the exit code: 0, or that of the first worker if it can't start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stopping.set)
        with tempfile.TemporaryDirectory(prefix="craton-metrics-") as metrics:
            said = await self._start(1, metrics)
            if said is None:
                code = await self._running[1].wait()
                return 0 if self._stopping.is_set() else code or FAILED
            others = [asyncio.create_task(self._start(number, metrics)) for number in range(2, self._count + 1)]
            await asyncio.wait(others, timeout=TOGETHER_SECONDS)
            self._all_have_started = True
            self._let_accept()
            self._tell(said)
            keeping = [asyncio.create_task(self._keep(number, metrics)) for number in range(1, self._count + 1)]
            await self._stopping.wait()
            await asyncio.gather(*(end(process, KILL_SECONDS) for process in self._running.values()))
            for task in (*others, *keeping):
                task.cancel()
            await asyncio.wait([*others, *keeping])
        return 0

    async def _start(self, number: int, metrics: str) -> list[str] | None:
        """Start a worker, and wait until it serves. Returns what it says; None if it has ended instead."""
        (told, tell), (go, let_go) = os.pipe(), os.pipe()
        self._waiting.append(let_go)
        worker = Worker(number, tell, self._alive, self._listening.fileno(), go)
        try:
            self._running[number] = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                COMMAND,
                *sys.argv[1:],
                env={
                    **os.environ,
                    VARIABLE: msgspec.json.encode(worker).decode(),
                    "PROMETHEUS_MULTIPROC_DIR": metrics,
                },
                pass_fds=(worker.listening, worker.told, worker.go, worker.supervisor),
                start_new_session=True,  # Ctrl-C in a terminal is for the supervisor, which then ends the workers
            )
        except OSError:
            os.close(told)
            raise
        finally:
            os.close(tell)
            os.close(go)
        if self._all_have_started:
            self._let_accept()
        return await told_by(self._running[number], told, self._stopping, KILL_SECONDS)

    def _let_accept(self) -> None:
        while self._waiting:
            os.close(self._waiting.pop())

    async def _keep(self, number: int, metrics: str) -> None:
        """Start a worker again each time it has ended."""
        start = partial(self._start, number, metrics)
        await keep(self._running, number, start, self._stopping, log.bind(worker=number), "a worker")
