"""Processes that a supervisor starts: how they speak with it, and how it starts them again."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from craton.domain import world

K = TypeVar("K")

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 30.0
STEADY_SECONDS: Final = 60.0
"""A process that has served for so long is started again after the first pause."""
COMMAND: Final = "from craton.cli.main import run; run()"


class Child(msgspec.Struct, frozen=True):
    """What a process is given by its supervisor: its number, and open files, which it alone reads or writes."""

    number: int
    told: int
    """Where it writes, once, that it serves."""
    supervisor: int
    """Open as long as the supervisor lives."""

    def has_started(self, said: Sequence[str]) -> None:
        """Tell the supervisor that this process serves, and what is to be shown to people."""
        with os.fdopen(self.told, "w", encoding="utf-8") as told:
            told.write(json.dumps(list(said)))

    def end_with_supervisor(self) -> None:
        """End this process when the supervisor has ended, however it did."""
        asyncio.get_running_loop().add_reader(self.supervisor, self._end)

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self.supervisor)
        os.kill(os.getpid(), signal.SIGTERM)


class Pauses:
    """How long to wait before a process that has ended is started again: longer each time, unless it has served for a
    while."""

    def __init__(self) -> None:
        self._next = FIRST_PAUSE_SECONDS
        self._began = world.monotonic()

    def after_end(self) -> float:
        """The pause for a process that has just ended."""
        if world.monotonic() - self._began > STEADY_SECONDS:
            self._next = FIRST_PAUSE_SECONDS
        return self._next

    def over(self) -> None:
        """The pause is over, and the process is started."""
        self._next, self._began = min(2 * self._next, LONGEST_PAUSE_SECONDS), world.monotonic()


async def keep(
    running: MutableMapping[K, asyncio.subprocess.Process],
    key: K,
    start: Callable[[], Awaitable[object]],
    stopping: asyncio.Event,
    log: Any,
    what: str,
) -> None:
    """Start a process again each time it has ended, until all is to stop. `start` puts the new one into `running`."""
    pauses = Pauses()
    while True:
        process = running.get(key)
        code = None if process is None else await process.wait()
        if stopping.is_set():
            return
        pause = pauses.after_end()
        log.error(f"{what} has ended and is started again", exit_code=code, after_seconds=pause)
        await asyncio.sleep(pause)
        pauses.over()
        if stopping.is_set():
            return
        try:
            await start()
        except OSError as problem:  # there is no room for another process now
            running.pop(key, None)
            log.error(f"{what} can't be started", reason=str(problem))


async def end(process: asyncio.subprocess.Process, seconds: float) -> None:
    """Ask a process to end; kill it if it hasn't after some seconds."""
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        process.terminate()
        try:
            async with asyncio.timeout(seconds):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def told_by(
    process: asyncio.subprocess.Process, descriptor: int, stopping: asyncio.Event, seconds: float
) -> list[str] | None:
    """What a process says when it serves; None if it ends without having said it.

    If all is to stop, the process is ended, which ends the wait; `seconds` are those of `end`.
    """

    def read() -> list[str] | None:
        with os.fdopen(descriptor, encoding="utf-8") as told:
            text = told.read()
        said: list[str] | None = json.loads(text) if text else None
        return said

    telling, stop = asyncio.create_task(asyncio.to_thread(read)), asyncio.create_task(stopping.wait())
    await asyncio.wait([telling, stop], return_when=asyncio.FIRST_COMPLETED)
    if not telling.done():
        await end(process, seconds)
    stop.cancel()
    return await telling
