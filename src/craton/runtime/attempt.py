"""One attempt at what a module's own code does: bounded in time, and ended from outside only by whoever cancels it."""

import asyncio
from collections.abc import Awaitable
from typing import Final

ATTEMPT_SECONDS: Final = 30.0


async def attempt(work: Awaitable[object], seconds: float = ATTEMPT_SECONDS) -> None:
    """Await it. Raises `TimeoutError`, and `RuntimeError` for a cancellation that nobody outside has asked for."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            await work
    except TimeoutError:
        if not limit.expired():
            raise
        raise TimeoutError(f"it didn't end within {seconds:.3g} seconds") from None
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise RuntimeError("it was cancelled from within") from None
