"""What is awaited is bounded in time, and a cancellation stays a cancellation, whatever runs inside makes of it."""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any, Final, TypeVar

from craton.application.errors import DeadlineExceeded

T = TypeVar("T")

ATTEMPT_SECONDS: Final = 30.0
CANCEL_AGAIN_SECONDS: Final = 1.2
"""What was cancelled may take so long to tidy up before it is cancelled once more."""


async def attempt(work: Awaitable[object], seconds: float = ATTEMPT_SECONDS) -> None:
    """One attempt at what a module's own code does, ended from outside only when it is cancelled.

    Raises `TimeoutError`, and `RuntimeError` for a cancellation that nobody outside has asked for.
    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            await work
    except TimeoutError:
        if not limit.expired():
            raise
        raise TimeoutError(f"it didn't end within {seconds:.3g} seconds") from None
    except asyncio.CancelledError:
        raise RuntimeError("it was cancelled from within") from None
    finally:
        heed_cancellation()


async def in_time(seconds: float, work: Awaitable[T], *, executed: bool) -> T:
    """Await the answer to a caller. Raises `DeadlineExceeded`, whatever the work says when its time is over."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await work
    except Exception as problem:
        if not limit.expired():
            raise
        raise DeadlineExceeded("The deadline passed before the answer was there.", maybe_executed=executed) from problem


def heed_cancellation() -> None:
    """Raise `CancelledError` if the current task was cancelled, though something has made another error of it.

    Loops in the background ask at each turn, or they would go on for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def cancelled(tasks: Iterable[asyncio.Task[Any]], seconds: float) -> set[asyncio.Task[Any]]:
    """Cancel tasks, again and again, until they have ended or so many seconds are over. Returns those that go on."""
    running = set(tasks)
    until = asyncio.get_running_loop().time() + seconds
    while running and (left := until - asyncio.get_running_loop().time()) > 0:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=min(CANCEL_AGAIN_SECONDS, left))
    return running
