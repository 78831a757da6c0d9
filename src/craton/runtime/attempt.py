"""One attempt at what a module's own code does: bounded in time, and ended from outside only by whoever cancels it."""

import asyncio
from collections.abc import Awaitable
from typing import Final

ATTEMPT_SECONDS: Final = 30.0


async def attempt(work: Awaitable[None], seconds: float = ATTEMPT_SECONDS) -> None:
    """Await it. Raises `TimeoutError`, and `RuntimeError` for a cancellation that nobody outside has asked for."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise RuntimeError("it was cancelled from within") from None
