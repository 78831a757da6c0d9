"""Bounds awaited work in time, and makes sure that a cancellation isn't lost, even if the work inside swallows it."""

import asyncio
from collections.abc import Awaitable, Coroutine, Generator, Iterable
from typing import Any, Final, TypeVar

from craton.application.errors import DeadlineExceeded

T = TypeVar("T")

ATTEMPT_SECONDS: Final = 30.0
CANCEL_AGAIN_SECONDS: Final = 1.2
"""How long cancelled work may take to tidy up before it is cancelled once more."""


async def attempt(work: Awaitable[object], seconds: float = ATTEMPT_SECONDS) -> None:
    """Run one attempt of a module's own code. Only a cancellation ends it from outside.

    Raises `TimeoutError`, and `RuntimeError` for a cancellation that came from inside the work.
    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            await work
    except TimeoutError:
        if not limit.expired():
            raise
        raise TimeoutError(f"the work didn't end within {seconds:.3g} seconds") from None
    except asyncio.CancelledError:
        raise RuntimeError("the work cancelled itself") from None
    finally:
        heed_cancellation()


class TimeOver(TimeoutError):
    """Work has taken more than its time."""


async def bounded(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Await work. Raises `TimeOver` when its time is over, whatever the work raises then.

    The work begins at once, and a timer is started only when it has to wait for something: most answers come from
    memory, in less time than a timer costs.
    """
    try:
        awaited = work.send(None)
    except StopIteration as ended:
        value: T = ended.value
        return value
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await _Begun(work, awaited)
    except Exception as problem:
        if not limit.expired():
            raise
        raise TimeOver from problem


class _Begun(Awaitable[T]):
    """A coroutine that has run until it had to wait for `awaited`."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], awaited: Any) -> None:
        self._coroutine = coroutine
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, T]:
        awaited = self._awaited
        try:
            while True:
                try:
                    sent = yield awaited
                except BaseException as thrown:
                    awaited = self._coroutine.throw(thrown)
                else:
                    awaited = self._coroutine.send(sent)
        except StopIteration as ended:
            value: T = ended.value
            return value


async def in_time(seconds: float, work: Coroutine[Any, Any, T], *, executed: bool) -> T:
    """Await the answer to a caller. Raises `DeadlineExceeded` when its time is over, whatever the work raises."""
    try:
        return await bounded(seconds, work)
    except TimeOver as over:
        raise DeadlineExceeded("The deadline passed before there was an answer.", maybe_executed=executed) from over


def heed_cancellation() -> None:
    """Raise `CancelledError` if the current task was cancelled, even if some code turned that into another error.

    Loops in the background call this at each turn; otherwise they would never end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def cancelled(tasks: Iterable[asyncio.Task[Any]], seconds: float) -> set[asyncio.Task[Any]]:
    """Cancel tasks repeatedly until they have ended or `seconds` are over. Returns those that are still running."""
    running = set(tasks)
    until = asyncio.get_running_loop().time() + seconds
    while running and (left := until - asyncio.get_running_loop().time()) > 0:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=min(CANCEL_AGAIN_SECONDS, left))
    return running
